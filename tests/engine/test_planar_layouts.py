"""Sets of single pairs of a plane: homogr and EVD, whole and broken."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.layouts.evd import EvdReader
from engine.data.layouts.homogr import HomogrReader
from engine.errors import DatasetError

SHIFT = "1 0 {x}\n0 1 0\n0 0 1\n"


def make_homogr(folder: Path, **shifts: int) -> Path:
    """Pairs by name, whose matrix shifts by so many pixels; images are empty, as none is opened."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, x in shifts.items():
        for side in "AB":
            (folder / f"{name}{side}.jpg").touch()
        (folder / f"{name}_H_A_to_B.txt").write_text(SHIFT.format(x=x))
    return folder


def make_evd(folder: Path, **shifts: int) -> Path:
    for place in ("1", "2", "h"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for name, x in shifts.items():
        (folder / "1" / f"{name}.png").touch()
        (folder / "2" / f"{name}.png").touch()
        (folder / "h" / f"{name}.txt").write_text(SHIFT.format(x=x))
    return folder


READERS = pytest.mark.parametrize(
    ("reader", "make"),
    [(HomogrReader(), make_homogr), (EvdReader(), make_evd)],
    ids=["homogr", "evd"],
)


@READERS
def test_each_name_is_a_group_of_one_pair_with_its_matrix_from_the_first_image(
    tmp_path, reader, make
):
    root = make(tmp_path / "set", wall10=10, wall9=9)
    (root / "readme.md").touch()
    assert reader.recognises(root)
    found = reader.read(root)
    assert (found.layout, found.problems, found.subsets) == (reader.layout, (), ())
    assert [group.name for group in found.groups] == ["wall9", "wall10"]
    for group, shift in zip(found.groups, (9, 10), strict=True):
        (pair,) = group.pairs
        assert (pair.name, pair.sequence, pair.index) == (group.name, group.name, 1)
        truth = pair.truth.open((100, 80), (100, 80))
        np.testing.assert_allclose(truth.locate("a", [[5.0, 6.0]]).points_px, [[5 + shift, 6]])
    if isinstance(reader, EvdReader):
        assert found.groups[0].pairs[0].path_a == root / "1" / "wall9.png"
        assert found.groups[0].pairs[0].path_b == root / "2" / "wall9.png"
    else:
        assert found.groups[0].pairs[0].path_a == root / "wall9A.jpg"
        assert found.groups[0].pairs[0].path_b == root / "wall9B.jpg"


@READERS
def test_folders_of_such_sets_open_too_and_names_that_repeat_get_their_folders(
    tmp_path, reader, make
):
    make(tmp_path / "old", wall=1, tree=2)
    make(tmp_path / "new", wall=3)
    assert reader.recognises(tmp_path)
    found = reader.read(tmp_path)
    names = [group.name for group in found.groups]
    assert len(set(names)) == 3
    assert "tree" in names
    for group in found.groups:
        assert {(pair.sequence, pair.name) for pair in group.pairs} == {(group.name, group.name)}
    if isinstance(reader, HomogrReader):
        assert names == ["tree", "new/wall", "old/wall"]


@READERS
def test_what_is_broken_is_told_and_left_out(tmp_path, reader, make):
    root = make(tmp_path / "set", good=1, flat=2, lost=3, bare=4)
    matrix, image, other = (
        ("{}_H_A_to_B.txt", "{}A.jpg", "{}B.jpg")
        if isinstance(reader, HomogrReader)
        else ("h/{}.txt", "1/{}.png", "2/{}.png")
    )
    (root / matrix.format("flat")).write_text("1 2 3 2 4 6 0 0 1")
    (root / image.format("lost")).unlink()
    (root / other.format("bare")).unlink()
    found = reader.read(root)
    assert [group.name for group in found.groups] == ["good"]
    assert len(found.problems) == 3
    assert any("flat" in problem and "is singular" in problem for problem in found.problems)
    assert all(problem.endswith("so the pair is left out.") for problem in found.problems)
    for name in ("lost", "bare"):
        assert any(name in problem and "is missing" in problem for problem in found.problems)


@READERS
def test_nothing_usable_is_refused_with_what_was_wrong_and_expected(tmp_path, reader, make):
    root = make(tmp_path / "set", flat=2)
    for path in root.rglob("flat*.txt"):
        path.write_text("no numbers")
    with pytest.raises(DatasetError, match=r"no usable pair \(flat: .*'no'.*means"):
        reader.read(root)


@READERS
def test_other_folders_are_not_recognised(tmp_path, reader, make):
    assert not reader.recognises(tmp_path)
    assert not reader.recognises(tmp_path / "nowhere")
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "H_1_2").touch()
    assert not reader.recognises(tmp_path)
    assert not reader.recognises(tmp_path / "H_1_2")


def test_a_picture_without_loss_is_used_where_there_are_several(tmp_path):
    root = make_homogr(tmp_path, wall=1)
    (root / "wallA.png").touch()
    (pair,) = HomogrReader().read(root).pairs()
    assert (pair.path_a.name, pair.path_b.name) == ("wallA.png", "wallB.jpg")


def test_the_six_pairs_of_homogr_open(shared_data):
    found = HomogrReader().read(shared_data / "homogr")
    assert found.problems == ()
    assert [group.name for group in found.groups] == [
        *("Boston", "BostonLib", "BruggeTower", "Brussels", "CapitalRegion", "WhiteBoard")
    ]
    for pair in found.pairs():
        a, b = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (pair.path_a, pair.path_b))
        matrix = pair.truth.h_b_from_a
        shown, right = (
            cv2.warpPerspective(image, matrix, b.shape[::-1]) for image in (np.ones_like(a), a)
        )
        wrong = cv2.warpPerspective(a, np.linalg.inv(matrix), b.shape[::-1])
        overlap = b[shown > 0].astype(float)
        assert np.corrcoef(right[shown > 0], overlap)[0, 1] > 0.3, pair.name
        right_off, wrong_off = (np.abs(one[shown > 0] - overlap).mean() for one in (right, wrong))
        assert right_off < 0.7 * wrong_off, pair.name
