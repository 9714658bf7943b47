"""Scale, angle, overlap and texture of pairs that were made with them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.evaluation.pair_properties import PROPERTIES, pair_properties
from engine.evaluation.protocols import WorkingImage
from engine.geometry.coords import Resize
from engine.geometry.homography import warp_points
from engine.truth.base import Truth
from engine.truth.homography import HomographyTruth
from engine.truth.points import PointsTruth

SIZE = (320, 240)


def turned(scale: float, angle_deg: float) -> NDArray[np.float64]:
    """OpenCV's own matrix: positive angles turn counter-clockwise, about the image's middle."""
    middle = ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)
    return np.vstack([cv2.getRotationMatrix2D(middle, angle_deg, scale), [0, 0, 1]])


def properties_of(truth: Truth, *, blank_share: float = 0.0) -> dict[str, float | None]:
    pixels = np.random.default_rng(0).random((SIZE[1], SIZE[0], 3)).astype(np.float32)
    pixels = 0.5 + 6 * (cv2.GaussianBlur(pixels, (0, 0), 3) - 0.5)
    pixels[:, : round(blank_share * SIZE[0])] = 0.5
    image = WorkingImage(pixels, Resize(SIZE, SIZE))
    return pair_properties((image, image), truth)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("angle", [-170.0, -30.0, 0.0, 90.0, 179.9])
def test_scale_and_angle_are_those_of_the_turn(scale: float, angle: float):
    h_b_from_a = turned(scale, angle)
    found = properties_of(HomographyTruth(h_b_from_a, (SIZE, SIZE)))
    assert tuple(found) == PROPERTIES
    assert found["scale"] == pytest.approx(scale, abs=1e-6)
    assert found["angle_deg"] == pytest.approx(angle, abs=1e-6)
    points = np.random.default_rng(1).uniform(100, 140, (40, 2))
    listed = PointsTruth.of(points, warp_points(h_b_from_a, points), (SIZE, SIZE))
    found = properties_of(listed)
    assert found["scale"] == pytest.approx(scale, abs=1e-6)
    assert found["angle_deg"] == pytest.approx(angle, abs=1e-6)
    assert found["overlap"] is None


def test_half_a_turn_has_one_angle_whichever_way_it_rounds():
    found = properties_of(HomographyTruth(turned(1.0, 180.0), (SIZE, SIZE)))
    assert abs(found["angle_deg"] or 0) == pytest.approx(180, abs=1e-6)


def test_the_overlap_is_the_share_of_the_first_image_that_the_second_shows():
    moved = np.array([[1.0, 0, 80], [0, 1, 0], [0, 0, 1]])
    found = properties_of(HomographyTruth(moved, (SIZE, SIZE)))
    assert found["overlap"] == pytest.approx(0.75, abs=0.02)
    away = np.array([[1.0, 0, 900], [0, 1, 0], [0, 0, 1]])
    found = properties_of(HomographyTruth(away, (SIZE, SIZE)))
    assert found == {"scale": None, "angle_deg": None, "overlap": 0.0, "texture": None}


def test_the_texture_is_the_share_of_what_both_show_that_has_some():
    plane = HomographyTruth(np.eye(3), (SIZE, SIZE))
    assert properties_of(plane)["texture"] == 1.0
    assert properties_of(plane, blank_share=0.5)["texture"] == pytest.approx(0.5, abs=0.06)


def test_two_listed_points_tell_neither_scale_nor_angle():
    points = np.array([[10.0, 10], [50, 80]])
    found = properties_of(PointsTruth.of(points, points, (SIZE, SIZE)))
    assert (found["scale"], found["angle_deg"]) == (None, None)
    same = np.full((5, 2), 20.0)
    assert properties_of(PointsTruth.of(same, same, (SIZE, SIZE)))["scale"] is None
    assert math.isfinite(found["texture"] or 0)
