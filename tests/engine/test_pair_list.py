"""Lists of pairs as hloc, glue-factory and SuperGlue write them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.layouts.pair_list import PairListReader
from engine.errors import DatasetError
from engine.truth.base import Visibility, cameras_of, open_truth

SIZE = WIDTH, HEIGHT = 60, 40
# The second camera stands 0.5 further right and is turned about its axis by a quarter.
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
SHIFT = np.array([-0.5, 0.25, 0.125])
K0 = np.array([[50.0, 0, 30.5], [0, 51, 20.5], [0, 0, 1]])
K1 = np.array([[70.0, 0, 31.5], [0, 71, 19.5], [0, 0, 1]])


def make_images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def text(*values: object) -> str:
    return " ".join(str(float(one)) for value in values for one in np.ravel(value))


def the_pair(root: Path):
    found = PairListReader().read(root)
    (pair,) = found.pairs()
    return found, pair


def test_pairs_are_grouped_by_the_folders_of_their_first_images(tmp_path):
    make_images(tmp_path, "park/1.png", "park/2.png", "hall/images/1.png", "hall/images/2.png")
    path = tmp_path / "pairs.txt"
    path.write_text(
        "# from overlaps\npark/1.png park/2.png 0.4\n\npark/2.png hall/images/1.png 0.1 7\n"
        "hall/images/1.png hall/images/2.png\n"
    )
    for root in (tmp_path, path):
        assert PairListReader().recognises(root)
        found = PairListReader().read(root)
        assert (found.layout, found.problems, found.subsets) == ("list of pairs", (), ())
        assert [(group.name, len(group.pairs)) for group in found.groups] == [
            ("hall", 1),
            ("park", 2),
        ]
        park = found.group("park")
        assert [(pair.index, park.label(pair)) for pair in park.pairs] == [
            (1, "1 → 2"),
            (2, "2 → 1"),
        ]
        assert all(pair.truth is None for pair in found.pairs())
        assert park.pairs[1].path_b == tmp_path / "hall" / "images" / "1.png"


def test_images_may_be_in_a_folder_beside_the_list_and_lists_be_several(tmp_path):
    make_images(tmp_path / "set" / "images", "1.png", "2.png", "3.png")
    (tmp_path / "set" / "pairs_easy.txt").write_text("1.png 2.png\n")
    (tmp_path / "set" / "hard-pairs.txt").write_text("1.png 3.png\n2.png 3.png\n")
    (tmp_path / "set" / "notes.txt").write_text("1.png 3.png\n")
    found = PairListReader().read(tmp_path)
    assert [(group.name, group.subset, len(group.pairs)) for group in found.groups] == [
        ("hard-pairs/set", "hard-pairs", 2),
        ("pairs_easy/set", "pairs_easy", 1),
    ]


def test_nine_numbers_are_a_homography(tmp_path):
    make_images(tmp_path, "1.png", "2.png")
    (tmp_path / "pairs.txt").write_text("1.png 2.png 2 0 10 0 2 6 0 0 2\n")
    _, pair = the_pair(tmp_path)
    found = open_truth(pair.truth, SIZE, SIZE).locate("a", np.array([[3.0, 4.0]]))
    np.testing.assert_allclose(found.points_px, [[8, 7]])


@pytest.mark.parametrize(
    ("line", "half"),
    [
        (text(K0, K1, TURN, SHIFT), 0.5),
        (text(K0, K1, np.vstack([np.column_stack([TURN, SHIFT]), [0, 0, 0, 1]])), 0.5),
        ("1 3 " + text(K0, K1, np.vstack([np.column_stack([TURN, SHIFT]), [0, 0, 0, 1]])), 0.0),
    ],
    ids=["glue-factory", "glue-factory 4 x 4", "SuperGlue"],
)
def test_more_numbers_are_both_cameras(tmp_path, line, half):
    make_images(tmp_path, "1.png", "2.png")
    (tmp_path / "pairs_calibrated.txt").write_text(f"1.png 2.png {line}\n")
    found, pair = the_pair(tmp_path)
    assert found.problems == ()
    truth = open_truth(pair.truth, SIZE, SIZE)
    (matrix_a, pose_a), (matrix_b, pose_b) = cameras_of(truth)
    # Glue-factory counts from the corner of the first pixel.
    off = [[0, 0, half], [0, 0, half], [0, 0, 0]]
    np.testing.assert_allclose(matrix_a, K0 - off)
    np.testing.assert_allclose(matrix_b, K1 - off)
    np.testing.assert_allclose(pose_a, np.eye(3, 4))
    np.testing.assert_allclose(pose_b, np.column_stack([TURN, SHIFT]))
    # Without depth, no place is known.
    assert truth.locate("a", np.array([[3.0, 4.0]])).visibility[0] == Visibility.UNKNOWN


def view(name: str, matrix: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> str:
    numbers = text(turn, shift)
    lens = text(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    return f"{name} {numbers} PINHOLE {WIDTH} {HEIGHT} {lens}\n"


@pytest.mark.parametrize("ending", ["npy", "png"])
def test_views_and_depth_maps_beside_the_list_are_dense_truth(tmp_path, ending):
    make_images(tmp_path / "images", "left.jpg", "right.jpg")
    (tmp_path / "pairs.txt").write_text("left.jpg right.jpg\n")
    # A wall at depth 2; the second camera stands further right by what moves it by five pixels.
    shift = np.array([-0.2, 0, 0])
    (tmp_path / "views.txt").write_text(
        view("left.jpg", K0, np.eye(3), np.zeros(3)) + view("right.jpg", K0, np.eye(3), shift)
    )
    (tmp_path / "depths").mkdir()
    for name in ("left", "right"):
        depth = np.full((HEIGHT, WIDTH), 2.0)
        if ending == "npy":
            np.save(tmp_path / "depths" / f"{name}.npy", depth)
        else:
            assert cv2.imwrite(
                str(tmp_path / "depths" / f"{name}.png"), (depth * 256).astype(np.uint16)
            )
    found, pair = the_pair(tmp_path)
    assert found.problems == ()
    truth = open_truth(pair.truth, SIZE, SIZE).locate("a", np.array([[30.0, 20.0], [2.0, 20.0]]))
    np.testing.assert_allclose(truth.points_px, [[25, 20], [-3, 20]])
    assert truth.visibility.tolist() == [Visibility.SEEN, Visibility.OUTSIDE]


def test_views_that_lack_images_or_depths_are_told(tmp_path):
    make_images(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "pairs.txt").write_text("1.png 2.png\n1.png 3.png\n")
    (tmp_path / "views.txt").write_text(
        view("1.png", K0, np.eye(3), np.zeros(3)) + view("2.png", K0, np.eye(3), SHIFT)
    )
    (tmp_path / "depths").mkdir()
    np.save(tmp_path / "depths" / "1.npy", np.ones((HEIGHT, WIDTH)))
    found = PairListReader().read(tmp_path)
    assert [pair.truth is None for pair in found.pairs()] == [False, True]
    assert found.problems == (
        "pairs.txt: 1 pair has no true places, because a depth map is missing.",
        "pairs.txt: 1 pair has no true places, because views.txt lacks an image.",
    )
    (tmp_path / "views.txt").write_text("1.png 1 0 0\n")
    found = PairListReader().read(tmp_path)
    assert [pair.truth for pair in found.pairs()] == [None, None]
    assert "views.txt: line 1 has 4 words" in found.problems[0]


def test_what_is_broken_in_a_list_is_counted(tmp_path):
    make_images(tmp_path, "1.png", "2.png")
    flat = text(K0, K1, np.zeros((3, 3)), SHIFT)
    (tmp_path / "pairs.txt").write_text(
        "1.png 2.png\n1.png 9.png\n1.png\n"
        "1.png 2.png 1 2 3\n1.png 2.png 1 2 3 4 5 6 7 8 nine\n1.png 2.png 1 2 3 2 4 6 0 0 1\n"
        f"1.png 2.png {flat}\n"
    )
    found = PairListReader().read(tmp_path)
    assert [pair.truth for pair in found.pairs()] == [None] * 5
    told = "\n".join(found.problems)
    for sentence in (
        "1 pair is left out, because an image is missing.",
        "1 pair is left out, because their lines hold one word.",
        "1 pair has no true places, because what 3 numbers mean is not known.",
        "1 pair has no true places, because a word stands among their numbers.",
        "1 pair has no true places, because their numbers are no truth (is singular",
        "1 pair has no true places, because their numbers are no truth (its pose holds no",
    ):
        assert f"pairs.txt: {sentence}" in told


def test_other_texts_are_no_lists(tmp_path):
    for name, content in (
        ("pairs.txt", "these are pairs of photos\n"),
        ("pairs.md", "1.png 2.png\n"),
        ("pairs_empty.txt", "# nothing\n"),
        ("pairs_binary.txt", "\0\0"),
    ):
        (tmp_path / name).write_text(content)
        assert not PairListReader().recognises(tmp_path / name)
    assert not PairListReader().recognises(tmp_path)
    assert not PairListReader().recognises(tmp_path / "nowhere")
    (tmp_path / "pairs.txt").write_text("1.png 2.png\n")
    with pytest.raises(DatasetError, match=r"no usable pair \(pairs.txt: 1 pair is left out, bec"):
        PairListReader().read(tmp_path)
