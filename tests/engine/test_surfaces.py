"""Reading dense truth between pixels: exact on a surface, and never a mixture of two."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from engine.truth.surfaces import are_apart, read_surface


@pytest.fixture
def points_px() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, [11, 8], (500, 2))


def test_on_one_surface_it_is_bilinear(points_px: np.ndarray):
    values = np.random.default_rng(1).uniform(0, 1, (9, 12))
    read = read_surface(values, points_px, jump=5)
    assert np.allclose(read, map_coordinates(values, points_px.T[::-1], order=1), atol=1e-12)


def test_beside_an_edge_every_value_is_of_the_side_of_the_nearest_pixel(points_px: np.ndarray):
    values = np.full((9, 12), 2.0)
    values[:, 6:] = 30.0
    read = read_surface(values, points_px, jump=1)
    assert np.allclose(read, np.where(points_px[:, 0] < 5.5, 2.0, 30.0))
    parted = read_surface(values, points_px, jump=0.9, relative=True)
    assert np.allclose(parted, np.where(points_px[:, 0] < 5.5, 2.0, 30.0))
    mixed = read_surface(values, points_px, jump=0.95, relative=True)
    assert ((mixed > 3) & (mixed < 29)).any()


def test_unknown_pixels_take_no_part(points_px: np.ndarray):
    ys, xs = np.mgrid[:9, :12]
    values = 3.0 + 0 * xs * ys
    values[4, 5] = np.nan
    near = np.hypot(*(points_px - [5, 4]).T) < 0.4
    read = read_surface(values, points_px, jump=1)
    assert np.isnan(read[near]).all()
    far = np.abs(points_px - [5, 4]).max(axis=1) > 0.5
    assert np.allclose(read[far], 3.0)


def test_a_jump_is_a_difference_or_a_share_of_the_larger_value():
    one, other = np.array([10.0, 1.0, np.nan, -2.0]), np.array([10.6, 1.6, 1.0, 2.0])
    assert are_apart(one, other, jump=0.61).tolist() == [False, False, True, True]
    assert are_apart(one, other, jump=0.06, relative=True).tolist() == [False, True, True, True]


@pytest.mark.parametrize("point", [(-0.1, 2), (3, 8.1), (np.nan, 1), (np.inf, 1)])
def test_beyond_the_border_pixels_nothing_is_known(point: tuple[float, float]):
    read = read_surface(np.ones((9, 12)), np.array([point]), jump=1)
    assert read.shape == (1,)
    assert np.isnan(read).all()


def test_no_points_are_answered_by_no_values():
    assert read_surface(np.ones((9, 12)), np.empty((0, 2)), jump=1).shape == (0,)
