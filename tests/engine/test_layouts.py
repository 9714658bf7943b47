"""Which layout a folder has, and what is said where none or several fit."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.data import layouts
from engine.data.folders import file_names
from engine.data.layouts import fitting_readers, open_pair_set, readers, split_layout
from engine.data.pair_set import PairGroup, PairSet, is_group_name
from engine.data.pairs import ImagePair
from engine.errors import ConfigError, DatasetError
from engine.images import read_size

MATRIX = "1 0 {k}\n0 1 0\n0 0 1\n"


def make_sequence(folder: Path, count=3) -> Path:
    folder.mkdir(parents=True)
    for k in range(1, count + 1):
        (folder / f"{k}.png").touch()
        if k > 1:
            (folder / f"H_1_{k}").write_text(MATRIX.format(k=k))
    return folder


def test_sequences_are_recognised_and_become_groups_of_their_kind(tmp_path):
    for name in ("v_wall", "i_lamp", "own"):
        make_sequence(tmp_path / name)
    found = open_pair_set(tmp_path)
    assert (found.layout, found.root, found.problems) == ("HPatches sequences", tmp_path, ())
    assert [(group.name, group.subset) for group in found.groups] == [
        ("i_lamp", "illumination"),
        ("own", ""),
        ("v_wall", "viewpoint"),
    ]
    assert found.subsets == ("illumination", "viewpoint")
    assert [(pair.sequence, pair.index) for pair in found.only("viewpoint").pairs()] == [
        ("v_wall", 2),
        ("v_wall", 3),
    ]
    assert [found.groups[0].label(pair) for pair in found.groups[0].pairs] == ["1 → 2", "1 → 3"]


def test_a_folder_of_two_pictures_is_a_set_of_one_pair(tmp_path):
    for name in ("img10.png", "img9.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    found = open_pair_set(tmp_path)
    ((pair,),) = (group.pairs for group in found.groups)
    assert (pair.path_a.name, pair.path_b.name) == ("img9.jpg", "img10.png")
    assert (pair.name, pair.sequence, pair.index) == (tmp_path.name, tmp_path.name, 1)
    assert found.layout == "two images"
    assert found.groups[0].label(pair) == tmp_path.name
    (tmp_path / "img9.jpg").unlink()
    with pytest.raises(DatasetError, match="holds 1 pictures"):
        open_pair_set(tmp_path, "two-images")


def test_a_pair_that_was_left_out_is_refused_with_the_reason(tmp_path):
    (make_sequence(tmp_path / "v_x", count=4) / "3.png").unlink()
    found = open_pair_set(tmp_path)
    assert found.pair("v_x", 4).index == 4
    with pytest.raises(DatasetError, match=r"no pair 3 \(v_x: image 3 is missing.* are 2, 4\."):
        found.pair("v_x", 3)
    with pytest.raises(DatasetError, match=r"no pair 7; its pairs are 2, 4\."):
        found.pair("v_x", 7)
    with pytest.raises(DatasetError, match="no usable group 'v_y'"):
        found.pair("v_y", 2)


def test_an_unknown_folder_names_the_layouts_that_are_understood(tmp_path):
    for number in range(3):
        (tmp_path / f"photo{number}.jpg").touch()
    with pytest.raises(DatasetError, match="none of the layouts that are understood") as caught:
        open_pair_set(tmp_path)
    for reader in readers():
        assert f"{reader.layout} ({reader.word})" in str(caught.value)
        with pytest.raises(DatasetError) as asked:
            open_pair_set(tmp_path, reader.word)
        assert str(tmp_path) in str(asked.value)
    with pytest.raises(DatasetError, match="does not exist"):
        open_pair_set(tmp_path / "none")
    with pytest.raises(DatasetError, match="does not exist"):
        open_pair_set(tmp_path / "none", "two-images")


@dataclass(frozen=True)
class Greedy:
    """Fits every folder."""

    word: str = "greedy"
    layout: str = "anything at all"
    expected: str = "a folder"

    def recognises(self, root: Path) -> bool:
        return root.is_dir()

    def read(self, root: Path) -> PairSet:
        pair = ImagePair(root / "a", root / "b", name="g one", sequence="g", index=1)
        return PairSet(root, self.layout, (PairGroup("g", (pair,)),))


def test_where_two_layouts_fit_the_choice_is_said_and_can_be_asked_for(tmp_path, monkeypatch):
    make_sequence(tmp_path / "v_wall")
    monkeypatch.setattr(layouts, "_READERS", (*layouts._READERS, Greedy()))
    assert [reader.word for reader in fitting_readers(tmp_path)] == ["hpatches", "greedy"]
    found = open_pair_set(tmp_path)
    assert found.layout == "HPatches sequences"
    (problem,) = found.problems
    assert "is read as HPatches sequences" in problem
    assert f"greedy:{tmp_path} for anything at all" in problem
    assert split_layout(f"greedy:{tmp_path}") == ("greedy", str(tmp_path))
    asked = open_pair_set(tmp_path, "greedy")
    assert (asked.layout, asked.problems) == ("anything at all", ())
    with pytest.raises(ConfigError, match="no 'gredy'; known are hpatches"):
        open_pair_set(tmp_path, "gredy")


def test_two_pictures_are_a_pair_only_where_nothing_else_fits(tmp_path):
    make_sequence(tmp_path / "v_x", count=2)
    found = open_pair_set(tmp_path / "v_x")
    assert (found.layout, found.problems) == ("HPatches sequences", ())


def test_only_the_word_of_a_layout_is_taken_from_a_path():
    assert split_layout("hpatches:C:/data") == ("hpatches", "C:/data")
    for text in ("C:/data", "/data/a:b", "rotated:demo", ""):
        assert split_layout(text) == ("", text)


def test_words_of_layouts_can_be_typed_and_mean_one_thing():
    words = [reader.word for reader in readers()]
    assert len(set(words)) == len(words)
    assert all(word == word.lower() and word.replace("-", "").isalnum() for word in words)
    assert not {"demo", "rotated", "scaled"} & set(words)


def test_a_folder_is_looked_at_again_after_it_changed(tmp_path):
    folder = make_sequence(tmp_path / "v_wall")
    long_ago = time.time() - 1000
    os.utime(folder, (long_ago, long_ago))
    for _ in range(2):
        assert len(open_pair_set(folder).pairs()) == 2
    (folder / "3.png").unlink()
    assert len(open_pair_set(folder).pairs()) == 1
    assert file_names(folder) == file_names(folder) != []
    file_names(folder).clear()
    assert file_names(folder) != []


@pytest.mark.parametrize(
    ("folder", "word", "pairs"),
    [
        ("sequences", "hpatches", 20),
        ("homogr", "homogr", 6),
        ("wxbs", "wxbs", 11),
        ("middlebury", "middlebury", 4),
    ],
)
def test_every_set_for_developing_has_one_layout_and_opens_whole(shared_data, folder, word, pairs):
    root = shared_data / folder
    assert [reader.word for reader in fitting_readers(root)] == [word]
    found = open_pair_set(root)
    assert (len(found.pairs()), found.problems) == (pairs, ())
    for pair in found.pairs():
        truth = pair.open_truth(read_size(pair.path_a), read_size(pair.path_b))
        assert truth is not None
        assert pair.truth.identity()


NO_NAMES = {"long": "x" * 300 + ".png", "zero": "x\0y.png"}


def write_text_model(folder: Path, *names: str) -> None:
    """A COLMAP model whose images show the same five points."""
    folder.mkdir(exist_ok=True)
    (folder / "cameras.txt").write_text("1 SIMPLE_PINHOLE 200 100 150 100 50\n")
    shown = " ".join(f"{10 * at} {7 * at} {at}" for at in range(5))
    lines = [f"{at} 1 0 0 0 {at} 0 0 1 {name}\n{shown}\n" for at, name in enumerate(names, 1)]
    (folder / "images.txt").write_text("".join(lines))


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
@pytest.mark.parametrize("word", ["manifest", "pair-list", "proposal-flow", "colmap"])
def test_a_list_that_names_what_no_file_can_be_called_loses_that_pair_alone(tmp_path, word, name):
    for image in ("a.png", "b.png"):
        (tmp_path / image).touch()
    if word == "manifest":
        rows = f"image_a,image_b\n{name},b.png\na.png,b.png\n"
        (tmp_path / "pairs.csv").write_text(rows)
    elif word == "pair-list":
        (tmp_path / "pairs.txt").write_text(f"a.png b.png\na.png {name}\n{name} b.png\n")
    elif word == "proposal-flow":
        marks = '8,"1","2","3","4"\n'
        header = "source_image,target_image,class,XA,YA,XB,YB\n"
        rows = f"{name},b.png,{marks}a.png,b.png,{marks}"
        (tmp_path / "test_pairs.csv").write_text(header + rows)
    else:
        write_text_model(tmp_path, "a.png", "b.png", name)
    found = open_pair_set(tmp_path, word)
    assert [(pair.path_a.name, pair.path_b.name) for pair in found.pairs()] == [("a.png", "b.png")]
    assert found.problems
    assert all(problem.isprintable() for problem in found.problems)


def test_points_beside_a_table_of_pairs_do_not_make_it_wxbs(tmp_path):
    for image in ("a.png", "b.png"):
        (tmp_path / image).touch()
    (tmp_path / "corrs.txt").write_text("1 2 3 4\n5 6 7 8\n")
    (tmp_path / "pairs.csv").write_text("image_a,image_b,truth\na.png,b.png,corrs.txt\n")
    found = open_pair_set(tmp_path)
    assert (found.layout, found.problems) == ("table of pairs", ())


def test_names_of_groups_and_subsets_that_no_run_could_keep_are_changed_and_told(tmp_path):
    for image in ("a.png", "b.png", "c\x07.png"):
        (tmp_path / image).touch()
    names = ("../../out", "/out", "x\x1b[2J", "..", "fine")
    rows = [f"a.png,b.png,{name},all\n" for name in names]
    rows.append("a.png,c\x07.png,fine,all\n")
    (tmp_path / "pairs.csv").write_text("image_a,image_b,group,subset\n" + "".join(rows))
    found = open_pair_set(tmp_path)
    called = [group.name for group in found.groups]
    assert sorted(called) == ["fine", "group", "out", "out (2)", "x\\x1b[2J"]
    assert all(is_group_name(name) and name.isprintable() for name in called)
    assert found.subsets == ("all (subset)",)
    assert all(pair.name.isprintable() for pair in found.pairs())
    assert found.group("fine").pairs[1].path_b.name == "c\x07.png"
    assert {pair.sequence for pair in found.pairs()} == set(called)
    assert "The group '..' is called 'group' here." in found.problems
    assert "The subset 'all' is called 'all (subset)' here." in found.problems
