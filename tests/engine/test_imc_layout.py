"""The layout of the Image Matching Challenge 2022, by its published description."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.layouts.imc import ImcReader
from engine.errors import DatasetError
from engine.truth.base import cameras_of, open_truth

SIZE = WIDTH, HEIGHT = 60, 40
IMAGES = ("a-1", "a-2", "b")


def flat(values: np.ndarray) -> str:
    return " ".join(str(float(one)) for one in values.ravel())


def make_scene(folder: Path, *pairs: tuple[str, object]) -> Path:
    """Image number n has the focal length 50 + n and stands n further left."""
    (folder / "images").mkdir(parents=True)
    rows = [["image_id", "camera_intrinsics", "rotation_matrix", "translation_vector"]]
    for number, name in enumerate(IMAGES):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        assert cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image)
        matrix = np.array([[50.0 + number, 0, 30], [0, 50 + number, 20], [0, 0, 1]])
        shift = np.array([number, 0.0, 0.0])
        rows.append([name, flat(matrix), flat(np.eye(3)), flat(shift)])
    for name, table in (
        ("calibration.csv", rows),
        (
            "pair_covisibility.csv",
            [
                ["pair", "covisibility", "fundamental_matrix"],
                *[[pair, overlap, flat(np.eye(3))] for pair, overlap in pairs],
            ],
        ),
    ):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(table)
    return folder


def test_pairs_that_overlap_enough_are_a_group_with_their_cameras(tmp_path):
    make_scene(tmp_path / "train" / "taj", ("b-a-1", 0.8), ("a-2-a-1", 0.1), ("b-a-2", 0.09))
    make_scene(tmp_path / "train" / "arc", ("b-a-1", 0.5))
    assert ImcReader().recognises(tmp_path)
    found = ImcReader().read(tmp_path)
    assert [(group.name, len(group.pairs)) for group in found.groups] == [("arc", 1), ("taj", 2)]
    assert found.problems == (
        "taj: 1 pair is left out, because their covisibility is not 0.1 or more.",
    )
    taj = found.group("taj")
    assert [taj.label(pair) for pair in taj.pairs] == ["b → a-1", "a-2 → a-1"]
    pair = taj.pairs[0]
    assert (pair.path_a.name, pair.path_b.name) == ("b.jpg", "a-1.jpg")
    (matrix_a, pose_a), (matrix_b, pose_b) = cameras_of(open_truth(pair.truth, SIZE, SIZE))
    np.testing.assert_allclose([matrix_a[0, 0], matrix_b[0, 0]], [52, 50])
    np.testing.assert_allclose(matrix_a[:2, 2], [30, 20])
    np.testing.assert_allclose([pose_a[:, 3], pose_b[:, 3]], [[2, 0, 0], [0, 0, 0]])


def test_what_a_scene_lacks_is_counted_and_left_out(tmp_path):
    folder = make_scene(tmp_path / "taj", ("b-a-1", 0.8), ("c-b", 0.8), ("b-a-2", "much"))
    text = (folder / "calibration.csv").read_text()
    (folder / "calibration.csv").write_text(text.replace("1.0 0.0 0.0 0.0 1.0", "0 0 0 0 1", 1))
    with pytest.raises(DatasetError, match="no usable pair"):
        ImcReader().read(tmp_path)
    (folder / "calibration.csv").write_text(text.replace("\nb,", "\nother,"))
    with pytest.raises(DatasetError, match=r"a camera is missing in calibration.csv, or is none"):
        ImcReader().read(tmp_path)
    (folder / "calibration.csv").write_text(text)
    found = ImcReader().read(tmp_path)
    assert len(found.pairs()) == 1
    assert found.problems == (
        "taj: 1 pair is left out, because an image is missing in images.",
        "taj: 1 pair is left out, because their covisibility is not 0.1 or more.",
    )
    (folder / "pair_covisibility.csv").write_text("first,second\n1,2\n")
    with pytest.raises(DatasetError, match="has no column pair"):
        ImcReader().read(tmp_path)
    (folder / "pair_covisibility.csv").unlink()
    assert not ImcReader().recognises(tmp_path)
