"""How matches move with those around them, against plain loops and planted matches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.matching.local_motion import compare_with_neighbours

Points = NDArray[np.float64]


def agreement(points_a: Points, points_b: Points, trusted: NDArray[np.bool_], **settings) -> Points:
    at_home = np.zeros(len(points_a))
    return compare_with_neighbours(points_a, points_b, trusted, at_home, **settings).agreement


def residuals(points_a: Points, points_b: Points, **settings) -> Points:
    trusted = np.ones(len(points_a), np.bool_)
    at_home = np.zeros(len(points_a))
    return compare_with_neighbours(points_a, points_b, trusted, at_home, **settings).residual_px


def loop_over_neighbours(points_a: Points, points_b: Points, trusted: NDArray[np.bool_]) -> list:
    """The definition, one query and one pair of neighbours at a time."""
    found = []
    asked = [j for j in range(len(points_a)) if trusted[j] and np.isfinite(points_b[j]).all()]
    for i in range(len(points_a)):
        far = {j: math.dist(points_a[i], points_a[j]) for j in asked}
        near = sorted((j for j in asked if far[j] >= 8), key=lambda j: far[j])[:8]
        if len(near) < 4:
            found.append(math.nan)
            continue
        best = 0
        for one in near:
            gap_a, gap_b = points_a[one] - points_a[i], points_b[one] - points_b[i]
            growth = math.hypot(*gap_b) / math.hypot(*gap_a)
            if not 1 / 8 <= growth <= 8:
                continue
            turn = math.atan2(gap_b[1], gap_b[0]) - math.atan2(gap_a[1], gap_a[0])
            rotated = growth * np.array(
                [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
            )
            count = 0
            for other in near:
                expected = rotated @ (points_a[other] - points_a[i])
                off = math.dist(points_b[other] - points_b[i], expected)
                count += other != one and off <= 3
            best = max(best, count)
        found.append(best / (len(near) - 1))
    return found


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9, 80])
def test_the_agreement_of_neighbours_is_that_of_a_loop(count: int):
    random = np.random.default_rng(count)
    points_a = random.uniform(0, 200, (count, 2))
    points_b = bent(points_a)
    wrong = random.random(count) < 0.3
    points_b[wrong] = random.uniform(0, 200, (int(wrong.sum()), 2))
    points_b[random.random(count) < 0.05] = np.nan
    trusted = random.random(count) < 0.9
    twice = count // 20
    points_a[:twice] = points_a[twice : 2 * twice]
    trusted[:twice] = False  # or ties would make the choice of the nearest arbitrary
    expected = loop_over_neighbours(points_a, points_b, trusted)
    found = agreement(points_a, points_b, trusted, at_once=7)
    known = np.isfinite(points_b).all(axis=1)
    np.testing.assert_allclose(found[known], np.array(expected)[known] if count else [])


def bent(points: Points) -> Points:
    """A smooth movement that no plane makes, turned by 50° and half as large again."""
    x, y = points.T
    waves = np.stack([6 * np.sin(y / 40) + 2e-4 * x * y, 5 * np.cos(x / 50)], axis=1)
    turn = 1.5 * np.array([[0.643, -0.766], [0.766, 0.643]])
    return points @ turn.T + waves


def test_neighbours_agree_about_right_matches_on_a_bent_surface_and_not_about_wrong_ones():
    random = np.random.default_rng(0)
    points_a = random.uniform(0, 400, (500, 2))
    points_b = bent(points_a) + random.normal(0, 0.7, (500, 2))
    wrong = random.random(500) < 0.2
    points_b[wrong] = random.uniform(-300, 500, (int(wrong.sum()), 2))
    found = agreement(points_a, points_b, np.ones(500, np.bool_))
    assert np.median(found[~wrong]) > 0.5
    assert np.median(found[wrong]) < 0.2
    assert (found[~wrong].mean() - found[wrong].mean()) > 0.4


def test_matches_that_collapse_onto_one_place_do_not_agree():
    random = np.random.default_rng(0)
    points_a = random.uniform(0, 400, (200, 2))
    points_b = np.full((200, 2), 55.0) + random.normal(0, 0.1, (200, 2))
    assert agreement(points_a, points_b, np.ones(200, np.bool_)).max() == 0


def test_many_queries_have_no_more_witnesses_than_few():
    random = np.random.default_rng(0)
    few = random.uniform(0, 640, (1000, 2))
    many = np.concatenate([few, few + random.uniform(-3, 3, (1000, 2))])
    found = agreement(many, bent(many), np.ones(2000, np.bool_))
    assert np.isfinite(found).all()
    assert found.mean() > 0.75


# ---- residuals -----------------------------------------------------------------------------------


def test_the_residual_is_how_far_a_match_is_from_where_an_affine_map_puts_it():
    random = np.random.default_rng(1)
    points_a = random.uniform(0, 300, (200, 2))
    affine = np.array([[0.9, -0.4], [0.6, 1.3]])
    points_b = points_a @ affine.T + (40, -7)
    assert residuals(points_a, points_b).max() < 0.02  # the ridge leaves so much
    moved = points_b.copy()
    moved[::40] += (3, -4)
    found = residuals(points_a, moved)
    np.testing.assert_allclose(found[::40], 5, atol=0.05)
    np.testing.assert_allclose(found, residuals(points_a, moved, at_once=7), atol=1e-9)


def test_the_residual_does_not_listen_to_neighbours_that_are_wrong():
    random = np.random.default_rng(2)
    points_a = random.uniform(0, 400, (600, 2))
    points_b = bent(points_a)
    wrong = random.random(600) < 0.3
    points_b[wrong] = random.uniform(-300, 500, (int(wrong.sum()), 2))
    found = residuals(points_a, points_b)
    assert np.median(found[~wrong]) < 0.7
    assert (found[~wrong] > 3).mean() < 0.06
    away = np.linalg.norm(points_b - bent(points_a), axis=1)[wrong]
    assert (np.abs(found[wrong] - away) > 5).mean() < 0.1


def test_beside_a_step_in_depth_the_residual_tells_which_side_a_match_went_to():
    """Two planes that move by 2 and 12 px; beside the step some matches went to the other one."""
    x, y = (one.ravel() for one in np.meshgrid(np.arange(0, 200, 10.0), np.arange(0, 200, 10.0)))
    points_a = np.stack([x, y], axis=1)
    near = x >= 100
    points_b = points_a + np.stack([np.where(near, 12.0, 2.0), np.zeros_like(x)], axis=1)
    strayed = (x == 100) & (y % 50 == 0)
    points_b[strayed, 0] = points_a[strayed, 0] - 4.0
    found = residuals(points_a, points_b)
    away = np.abs(x - 100) > 40
    assert found[away].max() < 0.01
    assert found[strayed].min() > 4


def test_what_stands_beside_a_query_is_no_witness():
    points_a = np.array([(0, 0), (3, 0), (20, 0), (0, 20), (-20, 0), (0, -20), (20, 20.0)])
    points_b = points_a + np.array([5.0, 5.0])
    points_b[:2] += (1.8, 2.4)
    assert residuals(points_a, points_b)[0] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("count", [0, 3, 4])
def test_fewer_than_four_neighbours_tell_nothing(count: int):
    points = np.array([(0, 0), (20, 0), (0, 20), (20, 20), (-20, 0.0)])[: count + 1]
    trusted, at_home = np.arange(count + 1) > 0, np.zeros(count + 1)
    found = compare_with_neighbours(points, points + 5, trusted, at_home)
    numbers = (found.agreement[0], found.residual_px[0], found.returning[0])
    assert np.isfinite(numbers).tolist() == [count >= 4] * 3


def test_neighbours_in_a_line_and_matches_without_a_place_are_no_error():
    points_a = np.stack([np.arange(0, 300, 10.0), np.full(30, 7.0)], axis=1)
    points_b = points_a + np.array([20.0, 5.0])
    points_b[4] = np.nan
    found = compare_with_neighbours(points_a, points_b, np.ones(30, np.bool_), np.zeros(30))
    assert np.isnan([found.agreement[4], found.residual_px[4], found.returning[4]]).all()
    others = np.arange(30) != 4
    np.testing.assert_allclose(found.agreement[others], 1)
    assert found.residual_px[others].max() < 0.05


def test_the_share_of_returning_neighbours_is_that_of_the_sixteen_nearest():
    numbers = np.random.default_rng(8)
    points_a = numbers.uniform(0, 400, (120, 2))
    points_b = points_a + numbers.normal(0, 30, points_a.shape)
    cycle_px = numbers.uniform(0, 8, 120)
    trusted = numbers.random(120) < 0.7
    found = compare_with_neighbours(points_a, points_b, trusted, cycle_px, at_once=50)
    for i in range(120):
        far = np.linalg.norm(points_a - points_a[i], axis=1)
        near = [j for j in np.argsort(far) if trusted[j] and far[j] >= 8][:16]
        assert found.returning[i] == pytest.approx(np.mean(cycle_px[near] <= 4))
