"""Truth by lists of points: known at these points alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DescSpaceError, TruthError
from engine.geometry.coords import Resize
from engine.truth.base import Visibility, open_truth
from engine.truth.points import SNAP_PX, HeldPointsSource, PointsSource, PointsTruth

SIZE_A, SIZE_B = (100, 80), (60, 50)


def truth_of(points_a: np.ndarray, points_b: np.ndarray) -> PointsTruth:
    return HeldPointsSource.of(points_a, points_b).open(SIZE_A, SIZE_B)


def test_the_nearest_listed_point_within_reach_answers_and_nothing_else_does():
    """Against a loop over all pairs, with listed points so close that several are in reach."""
    random = np.random.default_rng(1)
    points_a = random.uniform(0, 12, (400, 2))
    points_b = random.uniform(0, 45, (400, 2))
    asked = np.vstack([random.uniform(-1, 13, (500, 2)), points_a[:50], [[math.nan, 3.0]]])
    found = truth_of(points_a, points_b).locate("a", asked)
    reached = 0
    for place, visibility, point in zip(found.points_px, found.visibility, asked, strict=True):
        distances = [math.dist(point, listed) for listed in points_a]
        nearest = min(range(400), key=distances.__getitem__) if point[0] == point[0] else 0
        if distances[nearest] <= SNAP_PX:
            reached += 1
            assert tuple(place) == tuple(points_b[nearest])
            assert visibility == Visibility.SEEN
        else:
            assert np.isnan(place).all()
            assert visibility == Visibility.UNKNOWN
    assert 300 < reached < 551


def test_both_directions_are_known_and_partners_beyond_the_image_are_outside():
    points_a = np.array([[10.0, 10.0], [20.0, 20.0], [98.0, 70.0]])
    points_b = np.array([[30.0, 30.0], [-5.0, 20.0], [59.0, 49.0]])
    truth = truth_of(points_a, points_b)
    there = truth.locate("a", points_a + 0.3)
    np.testing.assert_array_equal(there.points_px, points_b)
    assert list(there.visibility) == [Visibility.SEEN, Visibility.OUTSIDE, Visibility.SEEN]
    back = truth.locate("b", points_b[[2, 0]])
    np.testing.assert_array_equal(back.points_px, points_a[[2, 0]])
    assert np.isnan(there.uncertainty_px).all()


def test_of_points_that_are_listed_twice_the_first_counts():
    points_a = np.array([[10.0, 10.0], [10.0, 10.0], [10.5, 10.0]])
    points_b = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    found = truth_of(points_a, points_b).locate("a", np.array([[10.0, 10.0], [10.5, 10.0]]))
    np.testing.assert_array_equal(found.points_px, points_b[[0, 2]])


def test_a_stated_uncertainty_comes_with_every_known_place_and_grows_with_the_image(tmp_path: Path):
    path = tmp_path / "corrs.txt"
    path.write_text("10 10 30 30\n20 20 5 5\n")
    truth = open_truth(PointsSource(path, uncertainty_px=2.0), SIZE_A, SIZE_B)
    found = truth.locate("a", np.array([[10.0, 10.0], [50.0, 50.0]]))
    np.testing.assert_array_equal(found.uncertainty_px, [2.0, np.nan])
    wider = truth.resized(Resize(SIZE_A, SIZE_A), Resize(SIZE_B, (120, 100)))
    assert wider.locate("a", np.array([[10.0, 10.0]])).uncertainty_px[0] == 4.0
    assert wider.listed_px is not None
    np.testing.assert_allclose(wider.listed_px[1], [[60.5, 60.5], [10.5, 10.5]])


def test_resized_lists_still_know_their_points():
    random = np.random.default_rng(2)
    points_a, points_b = random.uniform(0, 79, (50, 2)), random.uniform(0, 49, (50, 2))
    points_a[:, 0] += np.arange(50) * 0.4
    smaller = truth_of(points_a, points_b).resized(
        Resize(SIZE_A, (33, 27)), Resize(SIZE_B, (31, 17))
    )
    assert smaller.listed_px is not None
    for side, (here, there) in (("a", smaller.listed_px), ("b", smaller.listed_px[::-1])):
        found = smaller.locate(side, here)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.points_px, there, atol=1e-9)


def test_a_list_of_another_pair_is_refused(tmp_path: Path):
    path = tmp_path / "corrs.txt"
    path.write_text("10 10 300 30\n200 20 5 5\n")
    with pytest.raises(TruthError, match=r"2 pairs of points, and none .* \(100 × 80 and 60 × 50"):
        PointsSource(path).open(SIZE_A, SIZE_B)
    with pytest.raises(DescSpaceError, match="None of the pairs"):
        HeldPointsSource(((1.0, 1.0, 200.0, 1.0),)).open(SIZE_A, SIZE_B)


def test_the_identity_is_that_of_the_points_whatever_the_format(tmp_path: Path):
    (tmp_path / "p.txt").write_text("10 10 30 30\n20 20 5 5\n")
    (tmp_path / "p.csv").write_text("x2,y2,x1,y1\n30,30,10,10\n5,5,20,20\n")
    (tmp_path / "q.txt").write_text("10 10 30 30\n20 20 5 5.001\n")
    same = {PointsSource(tmp_path / name).identity() for name in ("p.txt", "p.csv")}
    held = HeldPointsSource(((10.0, 10.0, 30.0, 30.0), (20.0, 20.0, 5.0, 5.0)))
    assert same == {held.identity()}
    others = (
        PointsSource(tmp_path / "q.txt"),
        PointsSource(tmp_path / "p.txt", uncertainty_px=1.0),
    )
    assert len({*same, *(one.identity() for one in others)}) == 3


def test_what_a_matcher_found_is_an_estimate_and_pins_are_pins(tmp_path: Path):
    (tmp_path / "p.txt").write_text("10 10 30 30\n")
    (tmp_path / "m.csv").write_text("x_a,y_a,x_b,y_b,similarity\n10,10,30,30,0.9\n")
    assert PointsSource.of(tmp_path / "p.txt").origin == "given"
    assert PointsSource.of(tmp_path / "m.csv").origin == "estimated"
    pins = HeldPointsSource.of(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
    assert (pins.origin, pins.rows) == ("pins", ((1.0, 2.0, 3.0, 4.0),))
    again = HeldPointsSource(((1.0, 2.0, 3.0, 4.0),))
    assert (pins, hash(pins)) == (again, hash(again))


def test_a_changed_list_is_read_again(tmp_path: Path):
    path = tmp_path / "p.txt"
    for partner in ("30 30", "31 30.5"):
        path.write_text(f"10 10 {partner}\n")
        truth = open_truth(PointsSource(path), SIZE_A, SIZE_B)
        expected = [float(number) for number in partner.split()]
        np.testing.assert_array_equal(
            truth.locate("a", np.array([[10.0, 10.0]])).points_px[0], expected
        )
