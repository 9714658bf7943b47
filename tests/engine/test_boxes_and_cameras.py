"""What a truth may know besides places, before and after its images are resized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from engine.geometry.coords import Resize
from engine.truth.base import (
    Box,
    Matrix,
    Points,
    ResizedTruth,
    box_in,
    cameras_of,
    undistorted,
)
from engine.truth.homography import HomographyTruth
from engine.truth.landmarks import LandmarksTruth
from engine.truth.points import PointsTruth

RESIZES = Resize((200, 100), (100, 25)), Resize((50, 50), (100, 150))


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    matrix: Matrix
    world_to_camera: Matrix

    def undistorted(self, points_px: Points) -> Points:
        return points_px + 2 * self.matrix[0, 0]


@dataclass(frozen=True, slots=True, eq=False)
class Known(HomographyTruth):
    """A homography that also knows a box and two cameras."""

    @property
    def boxes_px(self) -> tuple[Box | None, Box | None]:
        return (9.5, 19.5, 59.5, 49.5), None

    @property
    def cameras(self) -> tuple[Camera, Camera]:
        matrix = np.array([[300.0, 0, 80], [0, 310, 40], [0, 0, 1]])
        moved = np.column_stack([np.eye(3), [1.0, 2, 3]])
        return Camera(matrix, np.eye(3, 4)), Camera(2 * matrix, moved)


SIZES = ((200, 100), (50, 50))
KNOWN, PLAIN = Known(np.eye(3), SIZES), HomographyTruth(np.eye(3), SIZES)


def test_a_box_is_that_of_its_image():
    assert box_in(KNOWN, "a") == (9.5, 19.5, 59.5, 49.5)
    assert box_in(KNOWN, "b") is None
    assert box_in(PLAIN, "a") is None


def test_landmarks_know_their_boxes_and_resize_them():
    points = PointsTruth.of(np.ones((1, 2)), np.ones((1, 2)), SIZES)
    truth = LandmarksTruth(("ear",), points, ((9.5, 19.5, 59.5, 49.5), None))
    resized = truth.resized(*RESIZES)
    # Edges between pixels stay edges between pixels: a half as wide, a quarter as high.
    assert box_in(resized, "a") == pytest.approx((4.5, 4.5, 29.5, 12.0))
    assert box_in(resized, "b") is None


def test_a_resized_camera_sees_each_point_where_the_resize_takes_its_pixel():
    resized = ResizedTruth(KNOWN, *RESIZES)
    before, after = cameras_of(KNOWN), cameras_of(resized)
    assert before is not None
    assert after is not None
    world = np.array([0.3, -0.2, 4.0, 1.0])
    for (matrix, pose), (new_matrix, new_pose), resize in zip(before, after, RESIZES, strict=True):
        seen, again = matrix @ pose @ world, new_matrix @ new_pose @ world
        assert again[:2] / again[2] == pytest.approx(resize.forward(seen[:2] / seen[2]))
    assert cameras_of(PLAIN) is None
    assert cameras_of(ResizedTruth(PLAIN, *RESIZES)) is None


def test_points_are_straightened_by_the_camera_of_their_side_in_pixels_before_a_resize():
    points_px = np.array([[3.0, 4.0], [10.5, 20.0]])
    assert np.array_equal(undistorted(KNOWN, "a", points_px), points_px + 600)
    assert np.array_equal(undistorted(KNOWN, "b", points_px), points_px + 1200)
    resized = ResizedTruth(KNOWN, *RESIZES)
    # Image b grows to 100 × 150 from 50 × 50.
    assert undistorted(resized, "b", points_px) == pytest.approx(np.add(points_px, (2400, 3600)))
    assert undistorted(PLAIN, "a", points_px) is points_px
