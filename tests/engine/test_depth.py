"""Truth by depth and poses: planes against their homographies, and a board in front of one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.geometry.coords import Resize
from engine.geometry.homography import warp_points
from engine.truth.base import Visibility, cameras_of, open_truth
from engine.truth.cameras import Camera
from engine.truth.depth import DepthSource, DepthTruth

SIZES_PX = ((80, 60), (72, 64))
MATRIX_A = np.array([[70.0, 0, 40.2], [0, 72, 29.1], [0, 0, 1]])
MATRIX_B = np.array([[66.0, 0, 33.7], [0, 61, 30.8], [0, 0, 1]])
TURN = cv2.Rodrigues(np.array([0.05, -0.2, 0.1]))[0]
SHIFT = np.array([-0.6, 0.1, 0.15])
NORMAL, DISTANCE = np.array([0.15, -0.1, 1.0]) / math.hypot(0.15, 0.1, 1), 5.0
"""The plane ``NORMAL · x = DISTANCE`` in camera a, which stands askew in the world."""
A_FROM_WORLD = np.column_stack([cv2.Rodrigues(np.array([0.4, 0.3, -0.9]))[0], [3.0, -2, 7]])
B_FROM_WORLD = np.column_stack([TURN @ A_FROM_WORLD[:, :3], TURN @ A_FROM_WORLD[:, 3] + SHIFT])
CAMERA_A = Camera.pinhole(MATRIX_A, A_FROM_WORLD, SIZES_PX[0])
CAMERA_B = Camera.pinhole(MATRIX_B, B_FROM_WORLD, SIZES_PX[1])
H_B_FROM_A = MATRIX_B @ (TURN + np.outer(SHIFT, NORMAL) / DISTANCE) @ np.linalg.inv(MATRIX_A)


def depth_of(
    matrix: NDArray[np.float64],
    normal: NDArray[np.float64],
    distance: float,
    size_px: tuple[int, int],
) -> NDArray[np.float64]:
    """Of a plane, where each pixel's ray meets it."""
    xs, ys = np.meshgrid(np.arange(size_px[0]), np.arange(size_px[1]))
    rays = np.stack([xs, ys, np.ones_like(xs)], axis=-1) @ np.linalg.inv(matrix).T
    return distance / (rays @ normal)


DEPTHS = (
    depth_of(MATRIX_A, NORMAL, DISTANCE, SIZES_PX[0]),
    depth_of(MATRIX_B, TURN @ NORMAL, DISTANCE + float(TURN @ NORMAL @ SHIFT), SIZES_PX[1]),
)


@pytest.fixture
def source(tmp_path: Path) -> DepthSource:
    paths = (tmp_path / "a.npy", tmp_path / "b.npy")
    for path, depth in zip(paths, DEPTHS, strict=True):
        np.save(path, depth)
    return DepthSource(*paths, CAMERA_A, CAMERA_B)


@pytest.fixture
def points_px() -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0, np.array(SIZES_PX[0]) - 1, (400, 2))


def test_the_depth_of_a_plane_is_its_homography(
    source: DepthSource, points_px: NDArray[np.float64]
):
    """Also between pixels, where depth itself would not be linear."""
    truth = open_truth(source, *SIZES_PX)
    found = truth.locate("a", points_px)
    wanted = warp_points(H_B_FROM_A, points_px)
    assert np.abs(found.points_px - wanted).max() < 1e-4
    within = ((wanted >= 0) & (wanted <= np.array(SIZES_PX[1]) - 1)).all(axis=1)
    expected = np.where(within, Visibility.SEEN, Visibility.OUTSIDE)
    assert found.visibility.tolist() == expected.tolist()
    assert 0.2 < within.mean() < 0.98
    back = truth.locate("b", found.points_px[within])
    assert np.abs(back.points_px - points_px[within]).max() < 1e-3
    assert np.isnan(found.uncertainty_px).all()  # floats do not tell how exact they are


def with_a_board(source: DepthSource) -> tuple[DepthSource, NDArray[np.float64]]:
    """A board at half the depth, parallel to camera a; and its corners in image b."""
    corners = np.array([[0.3, -0.4, 2.4], [1.1, -0.4, 2.4], [1.1, 0.4, 2.4], [0.3, 0.4, 2.4]])
    shown = []
    for path, depth, matrix, turn, shift in (
        (source.depth_a, DEPTHS[0], MATRIX_A, np.eye(3), np.zeros(3)),
        (source.depth_b, DEPTHS[1], MATRIX_B, TURN, SHIFT),
    ):
        seen = (corners @ turn.T + shift) @ matrix.T
        outline = seen[:, :2] / seen[:, 2:]
        board = depth_of(
            matrix, turn[:, 2], 2.4 + float(turn[:, 2] @ shift), (depth.shape[1], depth.shape[0])
        )
        ys, xs = np.mgrid[: depth.shape[0], : depth.shape[1]]
        inside = np.ones(depth.shape, bool)
        for (x, y), (next_x, next_y) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            inside &= (next_x - x) * (ys - y) - (next_y - y) * (xs - x) > 0
        np.save(path, np.where(inside, board, depth))
        shown.append(outline)
    return source, shown[1]


def test_what_the_board_hides_is_occluded_and_its_place_is_known(
    source: DepthSource, points_px: NDArray[np.float64]
):
    given, outline = with_a_board(source)
    truth = given.open(*SIZES_PX)
    found = truth.locate("a", points_px)
    behind = warp_points(H_B_FROM_A, points_px)
    on_plane = np.abs(found.points_px - behind).max(axis=1) < 1e-3
    contour = outline.astype(np.float32)
    depth_px = np.array([cv2.pointPolygonTest(contour, tuple(map(float, p)), True) for p in behind])
    sure = on_plane & (np.abs(depth_px) > 1) & (found.visibility != Visibility.OUTSIDE)
    hidden = found.visibility == Visibility.OCCLUDED
    assert np.array_equal(hidden[sure], depth_px[sure] > 1)
    assert hidden.sum() > 10
    on_board = found.seen & ~on_plane
    assert on_board.sum() > 10
    nearness = truth.nearness[0].astype(float)
    assert set(np.round(1 / nearness[(1 / nearness) < 3], 5)) == {2.4}
    board = (np.column_stack([points_px, np.ones(400)]) @ np.linalg.inv(MATRIX_A).T) * 2.4
    there = (board @ TURN.T + SHIFT) @ MATRIX_B.T
    # A place is of the plane or of the board, and never between the two.
    assert np.abs(found.points_px - there[:, :2] / there[:, 2:])[on_board].max() < 1e-3


def test_depth_that_looks_past_a_point_says_nothing(source: DepthSource):
    np.save(source.depth_b, DEPTHS[1] * 1.06)
    point = np.array([[40.0, 30.0]])
    found = source.open(*SIZES_PX).locate("a", point)
    assert found.visibility.tolist() == [Visibility.UNKNOWN]
    assert np.isnan(found.points_px).all()
    np.save(source.depth_b, DEPTHS[1] / 1.06)
    assert source.open(*SIZES_PX).locate("a", point).visibility.tolist() == [Visibility.OCCLUDED]
    loose = dataclasses.replace(source, same_surface=0.1)
    assert loose.open(*SIZES_PX).locate("a", point).seen.all()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, 1e-310, 1e300])
def test_without_depth_nothing_is_known(source: DepthSource, bad: float):
    point = np.array([[40.0, 30.0], [np.nan, 3.0], [-1.0, 3.0]])
    for path, depth, spot in (
        (source.depth_a, DEPTHS[0], point[0]),
        (source.depth_b, DEPTHS[1], warp_points(H_B_FROM_A, point[0])),
    ):
        holed = depth.copy()
        x, y = np.rint(spot).astype(int)
        holed[y, x] = bad
        np.save(path, holed)
        found = source.open(*SIZES_PX).locate("a", point)
        assert found.visibility.tolist() == [Visibility.UNKNOWN] * 3
        assert np.isnan(found.points_px).all()
        assert np.isnan(found.uncertainty_px).all()
        np.save(path, depth)


def test_whole_numbers_are_divided_and_tell_how_uncertain_they_are(
    source: DepthSource, tmp_path: Path, points_px: NDArray[np.float64]
):
    points_px = np.rint(points_px)  # between pixels rounding errors average out
    exact = source.open(*SIZES_PX).locate("a", points_px)
    paths = (tmp_path / "a.png", tmp_path / "b.png")
    for path, depth in zip(paths, DEPTHS, strict=True):
        assert cv2.imwrite(str(path), np.rint(depth * 50).astype(np.uint16))
    rounded = DepthSource(*paths, CAMERA_A, CAMERA_B, factor=50)
    found = rounded.open(*SIZES_PX).locate("a", points_px)
    both = found.seen & exact.seen
    assert both.sum() > 0.95 * exact.seen.sum()
    errors_px = np.linalg.norm(found.points_px - exact.points_px, axis=1)[both]
    share = errors_px / found.uncertainty_px[both]
    # Rounding errors are spread evenly: their standard deviation is a half step over √3.
    assert share.max() < 1.02 * math.sqrt(3)
    assert 0.9 < np.sqrt((share**2).mean()) < 1.1
    with pytest.raises(TruthError, match="state the factor, that is"):
        dataclasses.replace(rounded, factor=None).open(*SIZES_PX)


def test_a_point_that_comes_to_lie_behind_the_camera_leaves_the_image(source: DepthSource):
    turned = np.column_stack([np.diag([-1.0, 1, -1]) @ A_FROM_WORLD[:, :3], [0.0, 0, -20]])
    behind = dataclasses.replace(source, camera_b=Camera.pinhole(MATRIX_B, turned, SIZES_PX[1]))
    found = behind.open(*SIZES_PX).locate("a", np.array([[40.0, 30.0]]))
    assert found.visibility.tolist() == [Visibility.OUTSIDE]
    assert np.isnan(found.points_px).all()


def test_lenses_bend_both_ends(source: DepthSource, points_px: NDArray[np.float64]):
    """The same scene through a lens: places move to where OpenCV projects them."""
    bend = (-0.08, 0.02, 0.001, -0.002)
    lens_b = dataclasses.replace(CAMERA_B, model="OPENCV", distortion=bend)
    lens_a = dataclasses.replace(CAMERA_A, model="OPENCV", distortion=bend)
    depth = DISTANCE / (
        np.column_stack([lens_a.rays(np.argwhere(np.ones((60, 80)))[:, ::-1]), np.ones(4800)])
        @ NORMAL
    )
    np.save(source.depth_a, depth.reshape(60, 80))
    given = dataclasses.replace(source, camera_a=lens_a, camera_b=lens_b, same_surface=0.2)
    found = given.open(*SIZES_PX).locate("a", np.rint(points_px))
    flat = cv2.undistortPoints(np.rint(points_px)[:, None], MATRIX_A, np.array(bend), P=MATRIX_A)
    rays = np.column_stack([flat[:, 0], np.ones(400)]) @ np.linalg.inv(MATRIX_A).T
    lifted = rays * (DISTANCE / (rays @ NORMAL))[:, None]
    wanted, _ = cv2.projectPoints(lifted, cv2.Rodrigues(TURN)[0], SHIFT, MATRIX_B, np.array(bend))
    known = found.seen
    assert known.sum() > 150
    assert np.abs(found.points_px - wanted[:, 0])[known].max() < 0.01


def test_the_cameras_are_known_also_without_depth(source: DepthSource):
    bare = DepthSource(None, None, CAMERA_A, CAMERA_B)
    truth = bare.open(*SIZES_PX)
    assert truth.locate("a", np.array([[4.0, 5.0]])).visibility.tolist() == [Visibility.UNKNOWN]
    (matrix_a, pose_a), (matrix_b, pose_b) = cameras_of(truth)
    assert np.array_equal(matrix_a, MATRIX_A)
    assert np.array_equal(matrix_b, MATRIX_B)
    assert np.allclose(pose_b[:, :3] @ pose_a[:, :3].T, TURN)
    assert bare.identity() != source.identity()
    assert bare.files == ()


def test_the_truth_of_resized_images_is_the_same_place(source: DepthSource):
    truth = source.open(*SIZES_PX)
    resizes = (Resize(SIZES_PX[0], (40, 30)), Resize(SIZES_PX[1], (144, 128)))
    points_px = np.array([[40.0, 30.0], [33.3, 21.2]])
    found = truth.resized(*resizes).locate("a", resizes[0].forward(points_px))
    assert np.allclose(found.points_px, resizes[1].forward(truth.locate("a", points_px).points_px))


def test_maps_and_cameras_of_half_the_size_cover_the_same_area(
    source: DepthSource, points_px: NDArray[np.float64]
):
    """On a plane all is exact, but for the outermost half pixel of a coarse map."""
    exact = source.open(*SIZES_PX).locate("a", points_px)
    for at, (path, size_px) in enumerate(((source.depth_a, (40, 30)), (source.depth_b, (36, 32)))):
        centres = Resize(SIZES_PX[at], size_px)
        matrix = centres.matrix() @ (MATRIX_A, MATRIX_B)[at]
        normal = (NORMAL, TURN @ NORMAL)[at]
        distance = (DISTANCE, DISTANCE + float(TURN @ NORMAL @ SHIFT))[at]
        np.save(path, depth_of(matrix, normal, distance, size_px))
    found = source.open(*SIZES_PX).locate("a", points_px)
    inner = ((points_px > 1) & (points_px < np.array(SIZES_PX[0]) - 2)).all(axis=1)
    assert np.array_equal(found.visibility[inner], exact.visibility[inner])
    assert np.abs(found.points_px - exact.points_px)[inner].max() < 1e-4
    assert np.nanmax(np.abs(found.points_px - exact.points_px)) < 0.2
    doubled = [Resize(size_px, (2 * size_px[0], 2 * size_px[1])) for size_px in SIZES_PX]
    twice = source.open(*(resize.to_size_px for resize in doubled))
    again = twice.locate("a", doubled[0].forward(points_px))
    known = np.isfinite(found.points_px).all(axis=1) & inner
    assert np.allclose(again.points_px[known], doubled[1].forward(found.points_px[known]))


def test_a_camera_of_another_shape_than_its_image_is_refused(source: DepthSource):
    with pytest.raises(TruthError, match="its camera is one of 80 × 60 pixels, and the image has"):
        source.open((160, 130), SIZES_PX[1])


@pytest.mark.parametrize(
    ("array", "factor", "said"),
    [
        (np.ones((60, 81)), None, "has 81 × 60 pixels, and its image has 80 × 60"),
        (np.arange(60 * 80 * 3).reshape(60, 80, 3), None, "holds 3 numbers a pixel"),
        (np.ones((60, 80)), -1.0, "cannot be divided by the factor -1"),
        (np.zeros((60, 80)), None, "knows the depth of no pixel"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(
    source: DepthSource, array: NDArray[np.float64], factor: float | None, said: str
):
    np.save(source.depth_a, array)
    with pytest.raises(TruthError, match=said):
        dataclasses.replace(source, factor=factor).open(*SIZES_PX)


def test_its_identity_follows_the_cameras_the_settings_and_the_content(source: DepthSource):
    known = {source.identity(), dataclasses.replace(source, camera_b=CAMERA_A).identity()}
    known.add(dataclasses.replace(source, same_surface=0.2).identity())
    np.save(source.depth_a, DEPTHS[0] * 2)
    known.add(source.identity())
    assert len(known) == 4


def test_no_points_are_answered_by_no_places(source: DepthSource):
    truth = source.open(*SIZES_PX)
    assert isinstance(truth, DepthTruth)
    assert len(truth.locate("b", np.empty((0, 2))).visibility) == 0
