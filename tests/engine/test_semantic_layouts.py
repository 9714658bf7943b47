"""Sets of semantic matching by their published schemas: SPair-71k, PF-PASCAL and PF-WILLOW."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from engine.data.layouts.proposal_flow import ProposalFlowReader
from engine.data.layouts.spair import SPairReader
from engine.errors import DatasetError

SIZE = (100, 80)


def make_spair(root: Path, pairs: dict[str, list[str]], *, listed: bool = True) -> Path:
    """Pairs by split; every name is ``NUMBER-SOURCE-TARGET:CLASS``, and the number is its shift."""
    for split, names in pairs.items():
        (root / "PairAnnotation" / split).mkdir(parents=True)
        for name in names:
            rest, _, category = name.partition(":")
            number, source, target = rest.split("-")
            (root / "JPEGImages" / category).mkdir(parents=True, exist_ok=True)
            for image in (source, target):
                (root / "JPEGImages" / category / f"{image}.jpg").touch()
            shift = int(number)
            told = {
                "src_kps": [[10, 20], [30, 40]],
                "trg_kps": [[10 + shift, 20], [30 + shift, 40]],
                "kps_ids": ["3", "7"],
                "src_bndbox": [5, 5, 35, 45],
                "trg_bndbox": [6, 6, 66, 36],
                "src_imsize": [*SIZE, 3],
                "trg_imsize": [*SIZE, 3],
            }
            (root / "PairAnnotation" / split / f"{name}.json").write_text(json.dumps(told))
        if listed:
            for size in ("large", "small"):
                (root / "Layout" / size).mkdir(parents=True, exist_ok=True)
                kept = names if size == "large" else names[:1]
                (root / "Layout" / size / f"{split}.txt").write_text("\n".join(kept) + "\n")
    return root


PAIRS = {
    "test": ["000001-2008_1-2008_2:cat", "000003-2008_2-2008_1:cat", "000002-2009_5-2009_6:bus"],
    "trn": ["000001-2008_1-2008_9:cat"],
}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("above", [True, False])
def test_spair_has_a_subset_for_each_split_and_a_group_for_each_of_its_classes(
    tmp_path, listed, above
):
    root = make_spair(tmp_path / "SPair-71k", PAIRS, listed=listed)
    root = tmp_path if above else root
    assert SPairReader().recognises(root)
    found = SPairReader().read(root)
    assert (found.layout, found.problems, found.subsets) == ("SPair-71k", (), ("test", "trn"))
    assert [(group.name, len(group.pairs)) for group in found.groups] == [
        ("test/bus", 1),
        ("test/cat", 2),
        ("trn/cat", 1),
    ]
    cats = found.group("test/cat")
    assert [(pair.index, cats.label(pair)) for pair in cats.pairs] == [
        (1, "2008_1 → 2008_2"),
        (3, "2008_2 → 2008_1"),
    ]
    pair = found.pair("test/cat", 3)
    assert pair.path_a.relative_to(tmp_path).as_posix() == "SPair-71k/JPEGImages/cat/2008_2.jpg"
    assert pair.path_b.name == "2008_1.jpg"
    truth = pair.truth.open(SIZE, SIZE)
    np.testing.assert_array_equal(truth.listed_px[1] - truth.listed_px[0], [[3, 0], [3, 0]])
    assert truth.ids == ("3", "7")
    assert truth.boxes_px[1] == (6, 6, 66, 36)


def test_spair_without_colons_in_its_names_is_read(tmp_path):
    root = make_spair(tmp_path, {"test": ["000001-2008_1-2008_2:cat"]})
    (file,) = (root / "PairAnnotation" / "test").iterdir()
    file.rename(file.with_name(file.name.replace(":", "_")))
    (pair,) = SPairReader().read(root).pairs()
    assert pair.sequence == "test/cat"
    shutil.rmtree(root / "Layout")
    assert SPairReader().read(root).pairs() == (pair,)


def test_what_spair_lacks_is_counted_and_left_out(tmp_path):
    root = make_spair(tmp_path, PAIRS)
    (root / "JPEGImages" / "cat" / "2008_9.jpg").unlink()
    (root / "PairAnnotation" / "test" / "000003-2008_2-2008_1:cat.json").unlink()
    with (root / "Layout" / "large" / "test.txt").open("a") as file:
        file.write("holiday\n\n")
    found = SPairReader().read(root)
    assert [(group.name, len(group.pairs)) for group in found.groups] == [
        ("test/bus", 1),
        ("test/cat", 1),
    ]
    assert found.problems == (
        "test: 1 pair is left out, because their files are missing in PairAnnotation/test.",
        "test: 1 pair is left out, because their names are not NUMBER-SOURCE-TARGET:CLASS.",
        "trn: 1 pair is left out, because an image is missing in JPEGImages.",
    )
    shutil.rmtree(root / "JPEGImages" / "bus")
    shutil.rmtree(root / "JPEGImages" / "cat")
    with pytest.raises(DatasetError, match="no usable pair"):
        SPairReader().read(root)
    assert not SPairReader().recognises(tmp_path / "JPEGImages")


# ---- PF-PASCAL and PF-WILLOW

PASCAL = ["source_image", "target_image", "class", "XA", "YA", "XB", "YB"]


def write_csv(path: Path, *rows: list[object]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def make_pascal(root: Path) -> Path:
    """A test list and a list for training, whose landmarks are in MATLAB files."""
    images, marks = root / "PF-dataset-PASCAL" / "JPEGImages", root / "PF-dataset-PASCAL"
    images.mkdir(parents=True)
    for number in range(4):
        (images / f"2008_{number}.jpg").touch()
        folder = marks / "Annotations" / "cat"
        folder.mkdir(parents=True, exist_ok=True)
        points = [[1, 2], [np.nan, np.nan] if number == 3 else [3, 4], [5 + number, 6]]
        savemat(folder / f"2008_{number}.mat", {"kps": points, "bbox": [[1, 1, 20, 30]]})
    names = [f"PF-dataset-PASCAL/JPEGImages/2008_{number}.jpg" for number in range(5)]
    write_csv(
        root / "test_pairs_pf_pascal.csv",
        PASCAL,
        [names[0], names[1], 8, "1;3", "2;4", "5;7", "6;8"],
        [names[1], names[2], 15, "1", "2", "3", "4"],
        [names[1], names[4], 8, "1", "2", "3", "4"],
    )
    write_csv(
        root / "trn_pairs.csv",
        ["source_image", "target_image", "class", "flip"],
        [names[2], names[3], 8, 0],
        [names[2], names[3], 8, 1],
    )
    return root


@pytest.mark.parametrize("moved", [False, True])
def test_the_lists_of_pf_pascal_are_subsets_and_their_classes_groups(tmp_path, moved):
    root = make_pascal(tmp_path)
    if moved:  # some put the lists beside JPEGImages
        root = tmp_path / "PF-dataset-PASCAL"
        for path in tmp_path.glob("*.csv"):
            path.rename(root / path.name)
    assert ProposalFlowReader().recognises(root)
    found = ProposalFlowReader().read(root)
    assert [(group.name, group.subset, len(group.pairs)) for group in found.groups] == [
        ("test/cat", "test", 1),
        ("test/person", "test", 1),
        ("trn/cat", "trn", 1),
    ]
    assert found.problems == (
        "test_pairs_pf_pascal.csv: 1 row is left out, because their images are missing.",
        "trn_pairs.csv: 1 row is left out, because they are mirrored copies of others.",
    )
    in_list = found.pair("test/cat", 1)
    assert (in_list.path_a.name, in_list.path_b.name) == ("2008_0.jpg", "2008_1.jpg")
    truth = in_list.truth.open(SIZE, SIZE)
    np.testing.assert_array_equal(truth.listed_px, [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    in_files = found.pair("trn/cat", 1).truth.open(SIZE, SIZE)
    assert in_files.ids == ("0", "2")
    np.testing.assert_array_equal(in_files.listed_px, [[[1, 2], [7, 6]], [[1, 2], [8, 6]]])
    assert in_files.boxes_px[0] == (1, 1, 20, 30)


def test_pf_willow_is_grouped_by_its_folders(tmp_path):
    for name in ("car(G)", "duck(S)"):
        (tmp_path / "PF-dataset" / name).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "PF-dataset" / name / f"{number}.png").touch()
    columns = [f"{axis}{n}" for axis in ("XA", "YA", "XB", "YB") for n in range(1, 11)]
    path = write_csv(
        tmp_path / "test_pairs_pf.csv",
        ["imageA", "imageB", *columns],
        *(
            [f"PF-dataset/{name}/1.png", f"PF-dataset/{name}/2.png", *range(40)]
            for name in ("duck(S)", "car(G)")
        ),
    )
    for root in (tmp_path, path):
        assert ProposalFlowReader().recognises(root)
        found = ProposalFlowReader().read(root)
        assert [group.name for group in found.groups] == ["test/car(G)", "test/duck(S)"]
        truth = found.pairs()[0].truth.open(SIZE, SIZE)
        np.testing.assert_array_equal(truth.listed_px[1], [[20 + n, 30 + n] for n in range(10)])


def test_other_tables_are_not_recognised_and_empty_ones_refused(tmp_path):
    path = write_csv(tmp_path / "pairs.csv", ["image_a", "image_b", "truth"], ["a", "b", ""])
    assert not ProposalFlowReader().recognises(tmp_path)
    assert not ProposalFlowReader().recognises(path)
    path = write_csv(tmp_path / "test_pairs.csv", PASCAL)
    assert ProposalFlowReader().recognises(tmp_path)
    with pytest.raises(DatasetError, match="holds no usable pair; PF-PASCAL or PF-WILLOW means"):
        ProposalFlowReader().read(tmp_path)
    path.write_bytes(b"source_image,target_image,XA\n\xff\xfe\n")
    with pytest.raises(DatasetError, match="neither JSON nor a CSV table"):
        ProposalFlowReader().read(tmp_path)
