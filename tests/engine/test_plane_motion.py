"""The plane that the most matches lie on: which matches make it, and how far others are from it."""

from __future__ import annotations

import numpy as np
import pytest

from engine.geometry.homography import warp_points
from engine.matching.local_motion import WITNESSES
from engine.matching.plane_motion import compare_with_plane

TILTED = np.array([[0.8, 0.1, 12.0], [-0.05, 0.9, 7.0], [4e-4, -2e-4, 1.0]])


def matches(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Queries all over an image of 400 × 300, and right matches on one tilted plane."""
    points_a = np.random.default_rng(seed).uniform((0, 0), (400, 300), (count, 2))
    return points_a, warp_points(TILTED, points_a), np.ones(count, np.bool_), np.zeros(count)


def test_matches_are_compared_with_the_plane_that_the_most_lie_on():
    points_a, points_b, trusted, cycle_px = matches(100)
    points_b[:25] += [60.0, 80.0]  # a second plane, moved by 100 px
    found = compare_with_plane(points_a, points_b, trusted, cycle_px)
    assert found.share == pytest.approx(0.75)
    np.testing.assert_allclose(found.residual_px[:25], 100.0, atol=0.1)
    np.testing.assert_allclose(found.residual_px[25:], 0.0, atol=0.1)


def test_matches_that_do_not_return_and_queries_that_tell_nothing_make_no_plane():
    points_a, points_b, trusted, cycle_px = matches(100)
    points_b[:40] += [60.0, 80.0]
    points_b[40:80] -= [60.0, 80.0]
    trusted[:40] = False
    cycle_px[40:80] = 4.1
    found = compare_with_plane(points_a, points_b, trusted, cycle_px)
    assert found.share == 1.0
    np.testing.assert_allclose(found.residual_px[:80], 100.0, atol=0.1)
    np.testing.assert_allclose(found.residual_px[80:], 0.0, atol=0.1)


@pytest.mark.parametrize("count", [0, 7])
def test_few_matches_make_no_plane(count: int):
    found = compare_with_plane(*matches(count))
    assert found.share == 0.0
    assert np.isposinf(found.residual_px).all()
    assert found.residual_px.shape == (count,)


def test_matches_in_a_line_make_no_plane():
    points_a, _, trusted, cycle_px = matches(50)
    points_a[:, 1] = 20.0
    found = compare_with_plane(points_a, points_a + 5.0, trusted, cycle_px)
    assert found.share == 0.0
    assert np.isposinf(found.residual_px).all()


def test_a_query_beyond_the_horizon_is_infinitely_far():
    points_a, points_b, trusted, cycle_px = matches(60)
    points_a[0] = [-5000.0, 0.0]  # the plane's depth is 0 at x = -2500
    points_b[0] = [10.0, 10.0]
    cycle_px[0] = 50.0
    found = compare_with_plane(points_a, points_b, trusted, cycle_px)
    assert np.isposinf(found.residual_px[0])
    assert np.isfinite(found.residual_px[1:]).all()


def test_of_many_matches_some_make_the_plane_and_all_are_compared():
    points_a, points_b, trusted, cycle_px = matches(3 * WITNESSES)
    points_b[::2] += [60.0, 80.0]
    points_b[::10] -= [60.0, 80.0]
    found = compare_with_plane(points_a, points_b, trusted, cycle_px)
    assert found.share == pytest.approx(0.6, abs=0.02)
    wrong = (np.arange(len(points_a)) % 2 == 0) & (np.arange(len(points_a)) % 10 != 0)
    np.testing.assert_allclose(found.residual_px[wrong], 100.0, atol=0.1)
    np.testing.assert_allclose(found.residual_px[~wrong], 0.0, atol=0.1)
