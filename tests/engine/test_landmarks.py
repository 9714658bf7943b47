"""Landmarks in files that json, csv and SciPy wrote by the published schemas."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from engine.errors import TruthError
from engine.geometry.coords import Resize
from engine.truth.base import Visibility, open_truth
from engine.truth.landmarks import LandmarksSource

SIZE_A, SIZE_B = (500, 375), (320, 480)


def spair(path: Path, **changes: object) -> Path:
    """A pair's annotation as SPair-71k publishes it."""
    told = {
        "filename": "000001-2008_000001-2008_000002:cat",
        "src_imname": "2008_000001.jpg",
        "trg_imname": "2008_000002.jpg",
        "src_imsize": [500, 375, 3],
        "trg_imsize": [320, 480, 3],
        "src_bndbox": [10, 20, 210, 120],
        "trg_bndbox": [30, 40, 130, 340],
        "category": "cat",
        "src_pose": "Unspecified",
        "trg_pose": "Frontal",
        "src_kps": [[50, 60], [70, 80], [200, 100]],
        "trg_kps": [[100, 300], [90, 310], [60, 50]],
        "kps_ids": ["0", "4", "11"],
        "mirror": 0,
        "viewpoint_variation": 1,
        "scale_variation": 0,
        "truncation": 0,
        "occlusion": 0,
        **changes,
    }
    path.write_text(json.dumps({k: v for k, v in told.items() if v is not None}))
    return path


def opened(source: LandmarksSource):
    return source.open(SIZE_A, SIZE_B)


def test_a_pairs_annotation_gives_landmarks_ids_and_boxes(tmp_path):
    source = LandmarksSource(spair(tmp_path / "p.json"))
    truth = opened(source)
    assert (source.kind, truth.kind, source.origin) == ("landmarks", "landmarks", "given")
    assert truth.ids == ("0", "4", "11")
    a, b = truth.listed_px
    np.testing.assert_array_equal(a, [[50, 60], [70, 80], [200, 100]])
    np.testing.assert_array_equal(b, [[100, 300], [90, 310], [60, 50]])
    assert truth.boxes_px == ((10, 20, 210, 120), (30, 40, 130, 340))
    assert truth.sizes_px == (SIZE_A, SIZE_B)
    assert truth.matrix_from("a") is None
    assert truth.matrix_from("b") is None


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_place_is_known_at_landmarks_and_nowhere_else(tmp_path, side):
    truth = opened(LandmarksSource(spair(tmp_path / "p.json")))
    here, there = truth.listed_px if side == "a" else truth.listed_px[::-1]
    near, far = here + np.array([0.3, -0.3]), here + np.array([1.0, 0.0])
    asked = np.concatenate([near, far, [[np.nan, 0.0]]])
    found = truth.locate(side, asked)
    np.testing.assert_array_equal(found.points_px[:3], there)
    assert np.isnan(found.points_px[3:]).all()
    assert (found.visibility[:3] == Visibility.SEEN).all()
    assert (found.visibility[3:] == Visibility.UNKNOWN).all()
    assert np.isnan(found.uncertainty_px).all()


def test_an_uncertainty_that_is_known_is_told_and_grows_with_the_image(tmp_path):
    truth = opened(LandmarksSource(spair(tmp_path / "p.json"), uncertainty_px=3.0))
    a, _ = truth.listed_px
    np.testing.assert_array_equal(truth.locate("a", a).uncertainty_px, 3.0)
    halved = truth.resized(Resize(SIZE_A, SIZE_A), Resize(SIZE_B, (160, 240)))
    np.testing.assert_array_equal(halved.locate("a", a).uncertainty_px, 1.5)


def test_a_landmark_beyond_the_image_is_outside(tmp_path):
    path = spair(tmp_path / "p.json", trg_kps=[[100, 300], [-3, 310], [60, 480]])
    truth = opened(LandmarksSource(path))
    found = truth.locate("a", truth.listed_px[0])
    assert found.visibility.tolist() == [1, 3, 3]
    np.testing.assert_array_equal(found.points_px[1], [-3, 310])


def test_no_points_are_answered_and_no_landmarks_refused(tmp_path):
    truth = opened(LandmarksSource(spair(tmp_path / "p.json")))
    assert truth.locate("a", np.zeros((0, 2))).points_px.shape == (0, 2)
    empty = spair(tmp_path / "e.json", src_kps=[], trg_kps=[], kps_ids=[])
    with pytest.raises(TruthError, match="has no landmark that lies inside both images"):
        opened(LandmarksSource(empty))


def test_a_resize_moves_landmarks_and_boxes_as_it_moves_pixels(tmp_path):
    truth = opened(LandmarksSource(spair(tmp_path / "p.json")))
    resize_a, resize_b = Resize(SIZE_A, (250, 375)), Resize(SIZE_B, (160, 240))
    small = truth.resized(resize_a, resize_b)
    # Halving maps the centre x of a pixel to x / 2 - 1 / 4.
    np.testing.assert_allclose(small.listed_px[0][:, 0], truth.listed_px[0][:, 0] / 2 - 0.25)
    np.testing.assert_allclose(small.listed_px[0][:, 1], truth.listed_px[0][:, 1])
    np.testing.assert_allclose(small.listed_px[1], truth.listed_px[1] / 2 - 0.25)
    np.testing.assert_allclose(small.boxes_px[1], [14.75, 19.75, 64.75, 169.75])
    assert small.sizes_px == ((250, 375), (160, 240))
    found = small.locate("a", small.listed_px[0])
    np.testing.assert_allclose(found.points_px, small.listed_px[1])


def test_annotations_without_ids_and_boxes_are_read(tmp_path):
    path = spair(tmp_path / "p.json", kps_ids=None, src_bndbox=None, src_imsize=None)
    truth = opened(LandmarksSource(path))
    assert truth.ids == ("0", "1", "2")
    assert truth.boxes_px == (None, (30, 40, 130, 340))


def test_an_annotation_for_each_image_gives_what_both_show(tmp_path):
    for name, points, box in (
        ("a", {"0": [5, 6], "1": None, "2": [7, 8]}, [1, 2, 30, 40]),
        ("b", {"0": [50, 60], "1": [1, 1], "2": None}, [3, 4, 50, 60]),
    ):
        told = {"kps": points, "bndbox": box, "image_width": None}
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    truth = opened(LandmarksSource(tmp_path / "a.json", tmp_path / "b.json"))
    assert truth.ids == ("0",)
    np.testing.assert_array_equal(truth.listed_px, [[[5, 6]], [[50, 60]]])
    assert truth.boxes_px == ((1, 2, 30, 40), (3, 4, 50, 60))


def test_annotations_as_pf_pascal_has_them_are_read(tmp_path):
    nan = float("nan")
    savemat(tmp_path / "a.mat", {"kps": [[5.5, 6], [nan, nan], [7, 8]], "bbox": [[1, 2, 30, 40]]})
    savemat(tmp_path / "b.mat", {"kps": [[50, 60], [1, 1], [9, 10]], "bbox": [[3, 4, 50, 60]]})
    truth = opened(LandmarksSource(tmp_path / "a.mat", tmp_path / "b.mat"))
    assert truth.ids == ("0", "2")
    np.testing.assert_array_equal(truth.listed_px, [[[5.5, 6], [7, 8]], [[50, 60], [9, 10]]])
    assert truth.boxes_px == ((1, 2, 30, 40), (3, 4, 50, 60))


def test_rows_of_both_tables_are_read(tmp_path):
    with (tmp_path / "pascal.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source_image", "target_image", "class", "XA", "YA", "XB", "YB"])
        writer.writerow(["a.jpg", "b.jpg", 1, "1;2", "3;4", "5;6", "7;8"])
        writer.writerow(["a.jpg", "c.jpg", 1, "1.5;2;9", "3;4;9", "5;6;9", "7.25;8;"])
    truth = opened(LandmarksSource(tmp_path / "pascal.csv", row=1))
    np.testing.assert_array_equal(truth.listed_px, [[[1.5, 3], [2, 4]], [[5, 7.25], [6, 8]]])
    assert truth.boxes_px == (None, None)
    with (tmp_path / "willow.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"{axis}{n}" for axis in ("XA", "YA", "XB", "YB") for n in range(1, 11)]
        writer.writerow(["imageA", "imageB", *names])
        writer.writerow(["a.png", "b.png", *range(40)])
    truth = opened(LandmarksSource(tmp_path / "willow.csv"))
    np.testing.assert_array_equal(truth.listed_px[0], [[n, 10 + n] for n in range(10)])
    np.testing.assert_array_equal(truth.listed_px[1], [[20 + n, 30 + n] for n in range(10)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"src_kps": None}, "without src_kps"),
        ({"trg_kps": [[1, 2]]}, "3 points in src_kps and 1 in trg_kps"),
        ({"kps_ids": ["0", "0", "1"]}, "names a landmark twice"),
        ({"kps_ids": ["0"]}, "has not one of kps_ids for each point"),
        ({"src_kps": [[1, 2], [3, "x"], [5, 6]]}, r"has \[3, 'x'\] where x and y"),
        ({"src_kps": [[1, 2], [3, 10**400], [5, 6]]}, "where x and y"),
        ({"trg_bndbox": [5, 5, 5, 9]}, "which is no box"),
        ({"src_imsize": [500, 300, 3]}, "image a of 500 × 300 px, and the image has 500 × 375"),
    ],
)
def test_a_broken_annotation_is_refused_with_the_reason(tmp_path, changes, reason):
    with pytest.raises(TruthError, match=reason):
        opened(LandmarksSource(spair(tmp_path / "p.json", **changes)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "damaged JSON"),
        (b"\xff\xfe\x00", "neither JSON nor a CSV table"),
        (b"a,b\n1,2\n", "no columns XA, YA, XB, YB"),
        (b"XA,YA,XB,YB\n1,2;3,4,5\n", "columns of different lengths in row 1"),
        (b"XA,YA,XB,YB\n1,2,4,five\n", "a word among the numbers of row 1"),
        (b"XA,YA,XB,YB\n", "has 0 rows, and row 1 is asked for"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(TruthError, match=reason):
        opened(LandmarksSource(tmp_path / "x"))


def test_a_damaged_matlab_file_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"points": [[1, 2]]})
    (tmp_path / "b.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:150])
    for name, reason in (("a.mat", "is a MATLAB file without kps"), ("b.mat", "is a damaged MATL")):
        with pytest.raises(TruthError, match=reason):
            opened(LandmarksSource(tmp_path / name, tmp_path / name))


def test_the_identity_tells_files_and_rows_apart_and_open_truths_are_kept(tmp_path):
    one, two = (LandmarksSource(spair(tmp_path / name)) for name in ("1.json", "2.json"))
    assert one.identity() == two.identity()
    kept = open_truth(one, SIZE_A, SIZE_B)
    assert open_truth(one, SIZE_A, SIZE_B) is kept
    spair(two.path, trg_kps=[[1, 3], [90, 310], [60, 50]])
    assert one.identity() != two.identity()
    assert LandmarksSource(one.path, row=1).identity() != one.identity()
    assert one.files == (one.path,)
