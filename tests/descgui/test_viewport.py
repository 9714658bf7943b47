"""Zoom, pan, fit and linking, against points worked out by hand or by numpy."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descgui.views.viewport import (
    MAX_SCALE,
    Viewport,
    by_homography,
    by_truth,
    centred,
    clamped,
    covers,
    fit,
    linked,
    scale_limits,
    whole_extent,
)
from engine.api import Extent, HeldPointsSource

numbers = st.floats(-2000, 2000)
scales = st.floats(0.02, 60)
views = st.builds(Viewport, scales, numbers, numbers)


def test_the_corner_of_the_image_is_half_a_pixel_before_the_first_centre():
    view = Viewport(8.0, 100.0, 40.0)
    assert view.to_widget((0.0, 0.0)) == (104.0, 44.0)
    assert view.to_widget((-0.5, -0.5)) == (100.0, 40.0)
    assert view.to_widget((3.0, 1.0)) == (100.0 + 8 * 3.5, 40.0 + 8 * 1.5)


@given(views, numbers, numbers)
def test_going_to_the_widget_and_back_ends_where_it_began(view, x, y):
    assert view.to_image(view.to_widget((x, y))) == pytest.approx((x, y), abs=1e-6)


@given(views, numbers, numbers, st.floats(0.1, 10))
def test_zooming_keeps_the_point_under_the_pointer(view, x, y, factor):
    before = view.to_image((x, y))
    after = view.zoomed(factor, (x, y), low=0.01, high=64).to_image((x, y))
    assert after == pytest.approx(before, abs=1e-4)


def test_zooming_stops_at_the_limits():
    view = Viewport(1.0, 0.0, 0.0)
    assert view.zoomed(1e9, (5, 5), low=0.1, high=64).scale == 64
    assert view.zoomed(1e-9, (5, 5), low=0.1, high=64).scale == 0.1


@pytest.mark.parametrize("widget", [(700, 500), (300, 900), (101, 77)])
def test_a_fitted_image_lies_centred_inside_and_touches_two_edges(widget):
    box = fit((640, 480), widget, margin=10).image_box((640, 480))
    assert box.left >= 10 - 1e-9
    assert box.top >= 10 - 1e-9
    assert box.left + box.right == pytest.approx(widget[0])
    assert box.top + box.bottom == pytest.approx(widget[1])
    assert min(box.left, box.top) == pytest.approx(10)


def test_fitting_survives_a_widget_smaller_than_its_margins():
    assert fit((640, 480), (5, 5), margin=10).scale > 0


def test_a_tiny_image_is_not_blown_up_beyond_the_limit():
    assert fit((1, 1), (5000, 5000)).scale == MAX_SCALE


def test_a_point_is_shown_in_the_middle():
    assert centred((12.0, 34.0), 3.0, (400, 300)).to_widget((12.0, 34.0)) == (200.0, 150.0)


@given(views)
def test_snapping_moves_by_less_than_a_device_pixel_onto_the_grid(view):
    for ratio in (1.0, 1.5, 2.0):
        snapped = view.snapped(ratio)
        assert abs(snapped.left - view.left) <= 0.5 / ratio + 1e-9
        assert snapped.left * ratio == pytest.approx(round(snapped.left * ratio), abs=1e-6)
        assert snapped.scale == view.scale


@given(views)
def test_an_image_cannot_be_panned_out_of_sight(view):
    box = view.kept_in_sight((640, 480), (500, 400)).image_box((640, 480))
    shown_x = min(box.right, 500) - max(box.left, 0)
    shown_y = min(box.bottom, 400) - max(box.top, 0)
    assert shown_x >= min(48, box.width) - 1e-6
    assert shown_y >= min(48, box.height) - 1e-6


def test_visible_pixels_are_those_whose_square_meets_the_widget():
    view = Viewport(10.0, -25.0, 15.0)
    found = view.visible_pixels((8, 6), (30, 40))
    columns = [x for x in range(8) if -25 + 10 * x < 30 and -25 + 10 * (x + 1) > 0]
    rows = [y for y in range(6) if 15 + 10 * y < 40 and 15 + 10 * (y + 1) > 0]
    assert found == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_nothing_is_visible_beside_the_widget():
    x0, y0, x1, y1 = Viewport(1.0, 1000.0, 0.0).visible_pixels((10, 10), (50, 50))
    assert x1 <= x0 or y1 <= y0


def test_a_whole_extent_covers_the_same_box_as_the_image():
    view = Viewport(1.7, 3.0, 4.0)
    one, other = view.extent_box(whole_extent((30, 20))), view.image_box((30, 20))
    assert (one.left, one.top, one.right, one.bottom) == pytest.approx(
        (other.left, other.top, other.right, other.bottom)
    )


def test_an_extent_in_the_image_lands_where_its_corners_do():
    view = Viewport(2.0, 10.0, 20.0)
    box = view.extent_box(Extent(-1.5, 0.5, 6.5, 4.5))
    assert (box.left, box.top, box.right, box.bottom) == (8.0, 22.0, 24.0, 30.0)


def test_many_points_go_the_same_way_as_one():
    view = Viewport(2.5, -7.0, 3.0)
    points = np.random.default_rng(0).uniform(-5, 50, (20, 2))
    expected = [view.to_widget((x, y)) for x, y in points]
    np.testing.assert_allclose(view.points_to_widget(points), expected)


def test_clamping_ends_at_the_centres_of_border_pixels_and_covering_at_their_edges():
    assert clamped((-3.0, 99.0), (10, 8)) == (0.0, 7.0)
    assert covers((-0.5, 7.5), (10, 8))
    assert not covers((-0.51, 0.0), (10, 8))
    assert not covers((0.0, 7.6), (10, 8))


def test_plain_links_of_equal_images_and_panes_are_the_same_view():
    view = Viewport(3.3, -120.0, 55.0)
    found = linked(view, (640, 480), (500, 400), (640, 480), (500, 400), None)
    assert (found.scale, found.left, found.top) == pytest.approx((3.3, -120.0, 55.0))


def test_plain_links_of_unlike_images_show_the_same_share():
    view = centred((320 / 2 - 0.5, 60 - 0.5), 2.0, (400, 400))
    found = linked(view, (320, 240), (400, 400), (640, 480), (400, 400), None)
    assert found.scale == pytest.approx(1.0)
    assert found.to_image((200, 200)) == pytest.approx((320 - 0.5, 120 - 0.5))


def test_links_through_a_homography_show_the_counterpart_at_the_same_size():
    angle, grow = math.radians(20), 1.6
    h = np.array(
        [
            [grow * math.cos(angle), -grow * math.sin(angle), 30.0],
            [grow * math.sin(angle), grow * math.cos(angle), -12.0],
            [1e-4, 2e-4, 1.0],
        ]
    )
    view = centred((200.0, 150.0), 4.0, (500, 400))
    carry = partial(by_homography, h)
    found = linked(view, (640, 480), (500, 400), (900, 700), (500, 400), carry)

    def through(x, y):
        u, v, w = h @ (x, y, 1)
        return np.array([u / w, v / w])

    np.testing.assert_allclose(found.to_image((250, 200)), through(200.0, 150.0), atol=1e-9)
    step = 1e-4
    right = (through(200 + step, 150) - through(200 - step, 150)) / (2 * step)
    down = (through(200, 150 + step) - through(200, 150 - step)) / (2 * step)
    local = math.sqrt(abs(right[0] * down[1] - right[1] * down[0]))
    assert found.scale == pytest.approx(4.0 / local, rel=1e-6)


@pytest.mark.parametrize(
    "h",
    [
        np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0.0]]),
        np.diag([-1.0, 1.0, 1.0]),
        np.full((3, 3), np.nan),
        np.array([[1, 0, 0], [0, 1, 0], [-1 / 320, 0, 1.0]]) * 1.0,
    ],
)
def test_homographies_without_a_usable_answer_link_plainly(h):
    view = centred((320.0, 240.0), 2.0, (500, 400))
    carry = partial(by_homography, h)
    found = linked(view, (641, 481), (500, 400), (641, 481), (500, 400), carry)
    assert (found.scale, found.left, found.top) == pytest.approx((view.scale, view.left, view.top))


class ShiftedPlanes:
    """A truth that moves what is left of x = 100 by (-20, 0) and the rest by (-60, 0)."""

    listed_px = None

    def locate(self, _side, points):
        moved = points - np.where(points[:, :1] < 100, 20.0, 60.0) * np.array([1.0, 0])
        moved[points[:, 1] < 0] = np.nan
        return SimpleNamespace(points_px=moved)


def test_a_view_follows_what_most_of_its_middle_does():
    (x, y), growth = by_truth(ShiftedPlanes(), "a", 10.0, (50.0, 40.0))
    assert (x, y, growth) == pytest.approx((30.0, 40.0, 1.0))
    (x, y), growth = by_truth(ShiftedPlanes(), "a", 10.0, (150.0, 40.0))
    assert (x, y, growth) == pytest.approx((90.0, 40.0, 1.0))
    (x, _), _ = by_truth(ShiftedPlanes(), "a", 40.0, (100.0, 40.0))
    assert 40 < x < 80, "between both planes, so that it does not leap"
    (x, y), _ = by_truth(ShiftedPlanes(), "a", 30.0, (50.0, 0.0))
    assert (x, y) == pytest.approx((30.0, 0.0)), "half of the view is unknown"
    assert by_truth(ShiftedPlanes(), "a", 10.0, (50.0, -40.0)) is None


def test_a_view_follows_listed_points_that_are_in_sight_and_grows_with_them():
    here = np.array([[10.0, 10], [30, 10], [10, 30], [30, 30], [300, 300]])
    source = HeldPointsSource.of(here, 2 * here + 5)
    truth = source.open((800, 800), (800, 800))
    (x, y), growth = by_truth(truth, "a", 25.0, (18.0, 22.0))
    assert (x, y, growth) == pytest.approx((41.0, 49.0, 2.0))
    (x, y), growth = by_truth(truth, "b", 60.0, (41.0, 49.0))
    assert (x, y, growth) == pytest.approx((18.0, 22.0, 0.5))
    (x, y), growth = by_truth(truth, "a", 25.0, (290.0, 300.0))
    assert (x, y, growth) == pytest.approx((595.0, 605.0, 1.0)), "one point tells no growth"
    assert by_truth(truth, "a", 25.0, (150.0, 150.0)) is None


def test_scale_limits_let_every_image_be_seen_whole():
    for size in ((10, 10), (640, 480), (12000, 9000)):
        low, high = scale_limits(size)
        assert low <= fit(size, (400, 300)).scale <= high
