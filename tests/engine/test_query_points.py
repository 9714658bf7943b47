"""Query points: known places, Harris against its formula, and repeatability."""

import cv2
import numpy as np
import pytest

from engine.matching.query_points import choose_points, harris_response

KINDS = ["grid", "random", "harris"]


def noise(width=160, height=120, seed=0):
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (height // 8, width // 8, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(
        np.uint8
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin_px", [0, 7, 7.5])
def test_points_lie_inside_the_margin_and_number_at_most_what_was_asked(kind, margin_px):
    points = choose_points(noise(), kind, 150, 3, margin_px=margin_px)
    assert points.dtype == np.float64
    assert points.shape[1] == 2
    assert 130 <= len(points) <= 150
    assert (points >= margin_px).all()
    assert (points <= np.array([159, 119]) - margin_px).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_points(kind):
    first, second = (choose_points(noise(), kind, 50, 9) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    if kind != "grid":
        assert not np.array_equal(first, choose_points(noise(), kind, 50, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_hopeless_questions_give_no_points_rather_than_an_error(kind):
    assert choose_points(noise(), kind, 0, 0).shape == (0, 2)
    assert choose_points(noise(), kind, -5, 0).shape == (0, 2)
    assert choose_points(noise(), kind, 10, 0, margin_px=80).shape == (0, 2)


@pytest.mark.parametrize("value", [0, 0.1, 77, 255])
def test_a_flat_image_has_no_harris_points_and_keeps_the_others(value):
    flat = np.full((40, 50, 3), value, np.float32 if value == 0.1 else np.uint8)
    assert choose_points(flat, "harris", 100, 0).shape == (0, 2)
    assert len(choose_points(flat, "random", 100, 0)) == 100
    assert len(choose_points(flat, "grid", 100, 0)) > 80


def test_a_grid_is_regular_and_its_cells_are_nearly_square():
    points = choose_points(noise(640, 480), "grid", 500, 0)
    xs, ys = np.unique(points[:, 0].round(6)), np.unique(points[:, 1].round(6))
    assert len(points) == len(xs) * len(ys) == 500
    step_x, step_y = np.diff(xs), np.diff(ys)
    np.testing.assert_allclose(step_x, step_x[0], atol=1e-4)
    np.testing.assert_allclose(step_y, step_y[0], atol=1e-4)
    assert 0.8 < step_x[0] / step_y[0] < 1.25
    np.testing.assert_allclose(points.mean(axis=0), [319.5, 239.5])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 13, 97, 101, 499, 1009])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1000, 20), (33, 33)])
def test_a_grid_of_any_count_uses_most_of_it(count, size):
    points = choose_points(np.zeros((size[1], size[0], 3), np.uint8), "grid", count, 0)
    assert 0.75 * count <= len(points) <= count
    assert len(np.unique(points, axis=0)) == len(points)


def test_random_points_cover_the_image_evenly():
    points = choose_points(noise(), "random", 8000, 0)
    counts, _, _ = np.histogram2d(*points.T, bins=4, range=[[0, 159], [0, 119]])
    assert counts.min() > 400
    assert counts.max() < 600


def test_harris_points_are_pixels_above_the_90th_percentile_and_never_repeat():
    pixels = noise()
    points = choose_points(pixels, "harris", 10_000, 0)
    response = harris_response(pixels)
    columns, rows = points.astype(int).T
    np.testing.assert_array_equal(points, points.astype(int))
    strong = response > np.percentile(response, 90)
    assert strong[rows, columns].all()
    assert len(np.unique(points, axis=0)) == len(points) == strong.sum()


def test_a_margin_does_not_change_what_counts_as_strong():
    everywhere = {tuple(p) for p in choose_points(noise(), "harris", 10_000, 0)}
    inner = {tuple(p) for p in choose_points(noise(), "harris", 10_000, 0, margin_px=20)}
    assert inner == {p for p in everywhere if 20 <= p[0] <= 139 and 20 <= p[1] <= 99}


def test_the_harris_response_follows_its_formula():
    """det - 0.04 trace² of Sobel products summed over 2 × 2 pixels, by loops."""
    grey = noise(24, 16)[..., 0]
    response = harris_response(grey)
    image = grey.astype(np.float64)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)
    products = np.zeros((16, 24, 3))
    for y in range(1, 15):
        for x in range(1, 23):
            patch = image[y - 1 : y + 2, x - 1 : x + 2]
            dx, dy = (patch * sobel).sum(), (patch * sobel.T).sum()
            products[y, x] = dx * dx, dx * dy, dy * dy
    expected = np.zeros((16, 24))
    for y in range(3, 13):
        for x in range(3, 21):
            a, b, c = products[y - 1 : y + 1, x - 1 : x + 1].sum(axis=(0, 1))
            expected[y, x] = a * c - b * b - 0.04 * (a + c) ** 2
    inner = np.s_[3:13, 3:21]
    ratio = np.polyfit(expected[inner].ravel(), response[inner].ravel(), 1)[0]
    assert ratio > 0, "OpenCV scales its gradients"
    np.testing.assert_allclose(
        response[inner], ratio * expected[inner], atol=1e-3 * np.abs(response[inner]).max()
    )


def test_corners_of_a_square_are_found_and_the_range_of_values_does_not_matter():
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 20:40] = 200
    corners = np.array([[19.5, 19.5], [39.5, 19.5], [19.5, 39.5], [39.5, 39.5]])
    for pixels in (image, image.astype(np.uint16) * 257, image.astype(np.float32) / 255):
        points = choose_points(pixels, "harris", 1000, 0)
        nearest = np.linalg.norm(points[:, None] - corners, axis=2)
        assert (nearest.min(axis=1) < 4).all()
        assert (nearest.min(axis=0) < 1.5).all()


def test_the_picture_is_left_as_it_was():
    pixels = noise()
    copy = pixels.copy()
    for kind in KINDS:
        choose_points(pixels, kind, 20, 0, margin_px=3)
    np.testing.assert_array_equal(pixels, copy)
