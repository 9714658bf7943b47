"""Rotated and zoomed pairs: the image and the ground truth change together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.evaluation.stress import Stress, StressKind, choose_stress
from engine.geometry.homography import local_scale, warp_points

SIZE_PX = (181, 120)


def picture_of_spots(points: np.ndarray, size_px: tuple[int, int] = SIZE_PX) -> np.ndarray:
    """A grey picture with a soft bright spot around each point."""
    ys, xs = np.mgrid[0 : size_px[1], 0 : size_px[0]]
    grey = np.zeros(xs.shape)
    for x, y in points:
        grey += np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 2.5**2))
    return np.repeat((255 * grey.clip(0, 1))[..., None], 3, axis=2).astype(np.uint8)


def centre_of_mass(picture: np.ndarray, near: np.ndarray, reach_px: float) -> np.ndarray:
    ys, xs = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    weight = picture[..., 0] * (np.hypot(xs - near[0], ys - near[1]) < reach_px)
    return np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()


@pytest.mark.parametrize(
    "stress",
    [Stress(angle_deg=30), Stress(angle_deg=-135), Stress(scale=2.5), Stress(scale=0.4)],
)
def test_what_is_seen_moves_to_where_the_matrix_says(stress: Stress):
    """Three spots near the centre, found again by their centres of mass."""
    spots = np.array([[80.0, 55.0], [105.0, 52.0], [92.0, 76.0]])
    changed = stress.apply(picture_of_spots(spots))
    assert changed.shape == (SIZE_PX[1], SIZE_PX[0], 3)
    assert changed.dtype == np.uint8
    for place in warp_points(stress.matrix(SIZE_PX), spots):
        found = centre_of_mass(changed, place, reach_px=8 * stress.scale)
        np.testing.assert_allclose(found, place, atol=0.3)


@pytest.mark.parametrize("stress", [Stress(angle_deg=77), Stress(scale=3.0), Stress(scale=0.3)])
def test_the_centre_stays_and_lengths_and_angles_change_as_said(stress: Stress):
    centre = np.array([(SIZE_PX[0] - 1) / 2, (SIZE_PX[1] - 1) / 2])
    matrix = stress.matrix(SIZE_PX)
    np.testing.assert_allclose(warp_points(matrix, centre), centre, atol=1e-9)
    assert local_scale(matrix, centre) == pytest.approx(stress.scale)
    right = warp_points(matrix, centre + np.array([1.0, 0.0])) - centre
    assert np.degrees(np.arctan2(-right[1], right[0])) == pytest.approx(stress.angle_deg)


def test_a_quarter_turn_of_a_square_is_the_one_numpy_makes():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(Stress(angle_deg=90).apply(pixels), np.rot90(pixels))


def test_missing_pixels_are_black_and_a_zoom_crops():
    white = np.full((120, 181, 3), 255, np.uint8)
    small = Stress(scale=0.5).apply(white)
    assert (small[:25] == 0).all()
    assert (small[40:80, 60:120] == 255).all()
    assert (Stress(scale=2.0).apply(white) == 255).all()


def test_fine_texture_is_blurred_before_it_is_shrunk():
    """Of noise, the mean of many pixels is left; four neighbours alone would keep half of it."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3)).astype(np.uint8)
    stress = Stress(scale=0.25)
    rough = cv2.warpPerspective(noise, stress.matrix((160, 160)), (160, 160))
    inner = (slice(65, 95), slice(65, 95))
    assert rough[inner].std() > 30
    assert stress.apply(noise)[inner].std() < 15


@pytest.mark.parametrize("kind", ["rotated", "scaled"])
def test_a_pair_always_gets_the_same_change_and_another_pair_another(kind: StressKind):
    first = choose_stress(kind, "v_graf", 3)
    assert first == choose_stress(kind, "v_graf", 3)
    others = {choose_stress(kind, "v_graf", 4), choose_stress(kind, "i_graf", 3)}
    assert len(others | {first}) == 3


def test_turns_cover_the_circle_and_zooms_both_sides_of_one_but_not_the_middle():
    turns = [choose_stress("rotated", f"s{n}", 2).angle_deg for n in range(400)]
    counts, _ = np.histogram(turns, bins=8, range=(-180, 180))
    assert counts.sum() == 400
    assert counts.min() > 25
    octaves = np.log2([choose_stress("scaled", f"s{n}", 2).scale for n in range(400)])
    assert ((np.abs(octaves) >= 1) & (np.abs(octaves) <= 2)).all()
    assert 150 < (octaves > 0).sum() < 250
    assert np.abs(octaves).std() > 0.2
