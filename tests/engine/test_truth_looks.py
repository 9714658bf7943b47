"""What a file with truth seems to hold, and what an opened truth tells."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import TruthError
from engine.truth.base import Truth, open_truth
from engine.truth.disparity import DisparitySource
from engine.truth.homography import HomographySource
from engine.truth.looks import TruthLook, look_at_truth, truth_summary
from engine.truth.points import HeldPointsSource

SIZE = WIDTH, HEIGHT = 60, 40
GREY, COLOURS = (HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)


def plain(truth: Truth) -> str:
    """The summary, with spaces that may break."""
    return truth_summary(truth).replace("\N{NO-BREAK SPACE}", " ")


def write_pfm(path: Path, values: np.ndarray) -> None:
    letter = "PF" if values.ndim == 3 else "Pf"
    head = f"{letter}\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode()
    path.write_bytes(head + values[::-1].astype("<f4").tobytes())


def write(path: Path, values: np.ndarray) -> None:
    if path.suffix == ".pfm":
        write_pfm(path, values)
    elif path.suffix == ".npy":
        np.save(path, values)
    else:
        assert cv2.imwrite(str(path), values)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("x.png", np.zeros(GREY, np.uint16), TruthLook(None, None, "16-bit", True, SIZE)),
        ("disp0.png", np.zeros(GREY, np.uint8), TruthLook(None, "disparity", "whole", True, SIZE)),
        ("my_depth.png", np.zeros(GREY, np.uint16), TruthLook(None, "depth", "16-bit", True, SIZE)),
        ("photo.png", np.zeros(COLOURS, np.uint8), TruthLook(None, None, "whole", True, None)),
        ("x.png", np.zeros(COLOURS, np.uint16), TruthLook("flow", "flow", "16-bit", True, SIZE)),
        ("x.pfm", np.zeros(GREY), TruthLook(None, "disparity", "float", True, SIZE)),
        ("x.pfm", np.zeros(COLOURS), TruthLook(None, "flow", "float", True, SIZE)),
        ("depth.pfm", np.zeros(GREY), TruthLook(None, "depth", "float", True, SIZE)),
        ("x.npy", np.zeros(GREY, np.uint16), TruthLook(None, None, "16-bit", False, SIZE)),
        ("x.npy", np.zeros(GREY, np.int32), TruthLook(None, None, "whole", False, SIZE)),
        ("x.npy", np.zeros((*GREY, 2), np.float32), TruthLook(None, "flow", "float", False, SIZE)),
        ("x.npy", np.eye(3), TruthLook("homography", None, "float", False, None)),
        ("x.npy", np.zeros((9, 4)) + 3, TruthLook("points", None, "float", False, None)),
    ],
)
def test_a_file_shows_what_it_seems_to_hold(tmp_path, name, values, expected):
    write(tmp_path / name, values)
    assert look_at_truth(tmp_path / name) == expected


def test_the_folder_names_the_kind_where_the_file_does_not(tmp_path):
    (tmp_path / "disp_occ_0").mkdir()
    write(tmp_path / "disp_occ_0" / "000000_10.png", np.zeros(GREY, np.uint16))
    assert look_at_truth(tmp_path / "disp_occ_0" / "000000_10.png").likely == "disparity"


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"PF\n", b"Pf\nx y\n1\n",
                                  b"\x93NUMPY\x01\x00"])  # fmt: skip
def test_what_is_cut_off_is_looked_at_without_a_fault(tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    assert look_at_truth(tmp_path / "x").size_px is None


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(TruthError, match="none: does not exist"):
        look_at_truth(tmp_path / "none")


def test_a_summary_shows_a_wrong_factor(tmp_path):
    stored = np.full(GREY, 30 * 8, np.uint8)  # 30 px at a factor of 8
    stored[:10] = 0
    write(tmp_path / "d.png", stored)
    sources = [DisparitySource(tmp_path / "d.png", None, factor) for factor in (8.0, 1.0)]
    right, wrong = (plain(open_truth(one, SIZE, SIZE)) for one in sources)
    # Of the lower three quarters, the right half of the columns lands in the right image.
    assert right == (
        "Image B shows 38 % of image A; 38 % is out of view, 25 % is not known. Points move by 30 "
        "to 30 px, half of them by 30 px or less."
    )
    assert wrong == "Image B shows no point of image A."


def test_a_summary_counts_the_listed_points():
    points = np.array([[1.0, 1.0], [2.0, 2.0], [30.0, 30.0]])
    found = HeldPointsSource.of(points, points + np.array([[0, 0], [0, 0], [900, 0]]))
    words = plain(found.open(SIZE, SIZE))
    assert words == "3 points are listed, and both images show 2 of them."
    still = plain(HomographySource.of(np.eye(3)).open(SIZE, SIZE))
    assert still.startswith("Image B shows 100 % of image A. Points move by 0 to 0 px")
