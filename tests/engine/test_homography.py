"""Homographies, checked point by point, by differences, and by constructions."""

import json

import cv2
import numpy as np
import pytest

from engine.errors import HomographyError, OutputError
from engine.geometry.homography import (
    check_homography,
    estimate_homography,
    is_usable,
    local_scale,
    normalise,
    read_homography,
    warp_image,
    warp_points,
    write_homography,
)
from engine.geometry.visibility import covisible, project

TILTED = np.array([[1.2, 0.1, -30.0], [-0.05, 0.9, 20.0], [1e-4, -2e-4, 1.0]])
SIZE = (640, 480)


def shift(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def some_points(count=50, seed=0):
    return np.random.default_rng(seed).uniform([0, 0], np.array(SIZE) - 1, (count, 2))


# ---- points


def test_points_move_as_the_definition_says_one_by_one():
    moved = warp_points(TILTED, some_points())
    for (x, y), found in zip(some_points(), moved, strict=True):
        u, v, w = TILTED @ [x, y, 1]
        np.testing.assert_allclose(found, [u / w, v / w])


def test_points_keep_the_shape_they_came_in():
    points = some_points(24).reshape(2, 3, 4, 2)
    assert warp_points(TILTED, points).shape == points.shape
    np.testing.assert_allclose(
        warp_points(TILTED, points[1, 2, 3]), warp_points(TILTED, points)[1, 2, 3], rtol=1e-12
    )
    assert warp_points(TILTED, np.empty((0, 2))).shape == (0, 2)
    assert warp_points(TILTED, np.array([[3, 4]])).dtype == np.float64


def test_points_on_and_behind_the_horizon_have_no_image():
    """Depth is 1 - x / 100: positive left of x = 100 only."""
    h = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])
    moved = warp_points(h, np.array([[50.0, 10.0], [100.0, 10.0], [150.0, 10.0]]))
    np.testing.assert_allclose(moved[0], [100, 20])
    assert np.isnan(moved[1:]).all()


def test_points_that_are_not_finite_stay_nan_without_a_warning():
    points = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, np.inf], [1, 2.0]])
    moved = warp_points(TILTED, points)
    assert np.isnan(moved[:3]).all()
    assert np.isfinite(moved[3]).all()


def test_in_front_stays_in_front_through_inverse_and_product():
    there = warp_points(TILTED, some_points())
    np.testing.assert_allclose(warp_points(np.linalg.inv(TILTED), there), some_points())
    turn = np.array([[0, 1, 5], [-1, 0, 600], [0, 0, 1.0]])
    np.testing.assert_allclose(warp_points(turn @ TILTED, some_points()), warp_points(turn, there))


# ---- images


def blob_image(centre, size=SIZE, sigma_px=6.0):
    ys, xs = np.mgrid[: size[1], : size[0]].astype(np.float32)
    return np.exp(-((xs - centre[0]) ** 2 + (ys - centre[1]) ** 2) / (2 * sigma_px**2))


def centroid(image):
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image.astype(np.float64)
    return np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()


def test_a_whole_pixel_shift_moves_pixels_exactly():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    moved = warp_image(pixels, shift(4, -3), (30, 20))
    np.testing.assert_array_equal(moved[:17, 4:], pixels[3:, :26])
    assert not moved[17:].any()
    assert not moved[:, :4].any()


def test_an_enlargement_follows_pixel_centres():
    """A blob's centre lands where warp_points puts it; a half pixel would show."""
    h = np.array([[2.5, 0, 0.75], [0, 2.5, 0.75], [0, 0, 1.0]])
    start = np.array([60.3, 40.6])
    warped = warp_image(blob_image(start, (120, 90)), h, (300, 225))
    np.testing.assert_allclose(centroid(warped), warp_points(h, start), atol=0.02)


def test_an_image_of_its_own_coordinates_reads_the_inverse_map():
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]].astype(np.float32)
    warped = warp_image(np.stack([xs, ys], axis=-1), TILTED, (500, 400))
    points_b = np.stack(np.meshgrid(np.arange(500), np.arange(400)), axis=-1)
    points_a = warp_points(np.linalg.inv(TILTED), points_b)
    within = ((points_a >= 1) & (points_a <= np.array(SIZE) - 2)).all(axis=-1)
    assert within.mean() > 0.4
    assert np.abs(warped - points_a)[within].max() < 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_kind_of_pixels_is_kept_for_grey_and_colour(dtype):
    for shape in ((12, 16), (12, 16, 3)):
        pixels = np.ones(shape, dtype)
        warped = warp_image(pixels, np.eye(3), (16, 12))
        assert warped.dtype == dtype
        np.testing.assert_array_equal(warped, pixels)


def test_nothing_is_drawn_from_behind_the_camera():
    """Pixels of b beyond its own horizon show no ghost of a, whichever sign the matrix has."""
    h = np.array([[1, 0, 0], [0, 1, 0], [0.01, 0, 1.0]])  # b's horizon is at x = 100
    for sign in (1, -1):
        warped = warp_image(np.full((50, 4000), 255, np.uint8), sign * h, (200, 50))
        back = warp_points(
            np.linalg.inv(sign * h), np.stack(np.meshgrid(range(200), range(50)), -1)
        )
        assert not warped[np.isnan(back).any(axis=-1)].any()


def test_an_image_cannot_be_warped_by_a_singular_matrix():
    with pytest.raises(HomographyError, match="singular"):
        warp_image(np.zeros((4, 4), np.uint8), np.zeros((3, 3)), (4, 4))


# ---- local scale and rotation


def similarity(scale, degrees_on_screen):
    """Turns counter-clockwise on a screen whose y points down."""
    angle = np.radians(degrees_on_screen)
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, s, 7.0], [-s, c, -3.0], [0, 0, 1]])


@pytest.mark.parametrize("degrees", [-179, -90, -30, 0, 45, 90, 135, 180])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_a_similarity_has_its_own_scale_everywhere(scale, degrees):
    h = similarity(scale, degrees)
    np.testing.assert_allclose(local_scale(h, some_points()), scale)


def test_scale_under_perspective_agrees_with_small_differences():
    step = 1e-4
    points = some_points()
    along_x = (
        warp_points(TILTED, points + np.array([step, 0])) - warp_points(TILTED, points)
    ) / step
    along_y = (
        warp_points(TILTED, points + np.array([0, step])) - warp_points(TILTED, points)
    ) / step
    area = np.abs(along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0])
    np.testing.assert_allclose(local_scale(TILTED, points), np.sqrt(area), rtol=1e-5)


def test_scale_behind_the_horizon_is_nan():
    h = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])
    assert np.isnan(local_scale(h, np.array([150.0, 0.0])))
    assert local_scale(-3.0 * shift(1, 2), np.zeros((2, 2)))[0] != 1, "the negative is behind"


# ---- validity


def test_normalising_puts_the_first_pixel_in_front_at_depth_1():
    np.testing.assert_allclose(normalise(-7 * TILTED), TILTED)
    assert np.isfinite(warp_points(normalise(-7 * TILTED), some_points())).all()


def test_a_matrix_whose_first_pixel_is_on_the_horizon_is_normalised_all_the_same():
    h = np.array([[0.0, 1, 5], [-1, 0, 7], [0.01, 0.01, 0]])
    normal = normalise(-1000 * h)
    assert np.linalg.norm(normal) == pytest.approx(1)
    np.testing.assert_allclose(normal * np.linalg.norm(h), h * np.sign(np.linalg.det(h)))


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.zeros((3, 3)), "all its entries are zero"),
        (np.ones((3, 3)), "singular"),
        (np.diag([1.0, 1.0, 0.0]), "singular"),
        (np.diag([1.0, 1e-9, 1.0]), "singular"),
        (np.eye(2), r"not a 3 × 3 matrix but has the shape \(2, 2\)"),
        (np.ones(9), "not a 3 × 3"),
        (np.diag([1.0, np.nan, 1.0]), "not finite"),
        (np.diag([1.0, np.inf, 1.0]), "not finite"),
        # Rank 2, as a file of 6 digits holds it.
        (np.array([[1.23457, 2.34568, 345.679], [2.46914, 4.69136, 691.358], [1e-4, 2e-4, 1]]),
         "singular"),
    ],
)  # fmt: skip
def test_unusable_matrices_are_refused_with_the_reason(matrix, reason):
    assert not is_usable(matrix)
    with pytest.raises(HomographyError, match=reason) as caught:
        check_homography(matrix, "some/H_1_2")
    assert str(caught.value).startswith("some/H_1_2: ")


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        TILTED,
        -TILTED * 1e-12,
        TILTED * 1e200,
        shift(20_000, -9_000),
        np.diag([0.01, 0.01, 1]),
        np.diag([60.0, 60.0, 1]),
        np.array(
            [[2.3594, 0.0026252, -116.05], [0.5085, 2.302, -550.96], [0.0013826, 0.0001837, 1.0004]]
        ),
        np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    ],
)
def test_matrices_of_real_pairs_are_usable(matrix):
    assert is_usable(matrix)
    assert check_homography(matrix, "x").dtype == np.float64


# ---- files


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n0.5 -1 4\n0 1e-3 1\n",
        "1, 2, 3\n0.5, -1, 4\n0, 1e-3, 1",
        "[[1, 2, 3], [0.5, -1, 4], [0, 0.001, 1.0]]",
        "1 2 3 .5 -1 4 0 .001 1",
        "# made by hand\r\n1;2;3\r\n0.5;-1;4\r\n0;1E-3;1 # end\r\n",
        "\ufeff   1\t2\t3\n\n0.5 -1 4\n0 0.001 1\n\n",
        "-2 -4 -6\n-1 2 -8\n0 -2e-3 -2\n",
    ],
)
def test_nine_numbers_are_read_however_they_are_laid_out(tmp_path, text):
    path = tmp_path / "H_1_2"
    path.write_bytes(text.encode())
    np.testing.assert_allclose(read_homography(path), [[1, 2, 3], [0.5, -1, 4], [0, 1e-3, 1]])


@pytest.mark.parametrize("name", ["H_1_2", "h.txt", "h.csv", "h.npy", "h.json", "Ünïcode 字.json"])
def test_a_written_matrix_is_read_back_to_the_last_digit(tmp_path, name):
    matrix = normalise(TILTED + np.pi / 1e5)
    write_homography(tmp_path / name, matrix)
    np.testing.assert_array_equal(read_homography(tmp_path / name), matrix)
    if name == "h.json":
        assert np.array(json.loads((tmp_path / name).read_text())).shape == (3, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds 0 numbers"),
        (b"1 2 3\n4 5 6\n", "holds 6 numbers, and a homography has 9"),
        (b"1 " * 12, "holds 12 numbers"),
        (b"1 0 0 0 1 0 0 0 one", "holds 'one' where a number"),
        (b"nan 0 0 0 1 0 0 0 1", "not finite"),
        (b"1 0 0 0 1 0 0 0 inf", "not finite"),
        (b"1 2 3 2 4 6 0 0 1", "singular"),
        (b"\xff\xfe\x00\x01", "not a text file"),
        (b"0 " * 50_000, "too large"),
        (b"\x93NUMPY\x01\x00 rubbish", r"damaged \.npy"),
    ],
)
def test_files_that_hold_no_homography_are_refused_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "H_1_2"
    path.write_bytes(content)
    with pytest.raises(HomographyError, match=reason) as caught:
        read_homography(path)
    assert caught.value.path == path


def test_missing_files_folders_and_strange_arrays_are_refused(tmp_path):
    with pytest.raises(HomographyError, match="does not exist"):
        read_homography(tmp_path / "none")
    with pytest.raises(HomographyError, match="is a folder"):
        read_homography(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(HomographyError, match="cannot be read"):
        read_homography(tmp_path / "file" / "below")
    np.save(tmp_path / "h.npy", np.eye(4))
    with pytest.raises(HomographyError, match="3 × 3"):
        read_homography(tmp_path / "h.npy")
    np.save(tmp_path / "h.npy", np.eye(3) * 1j)
    with pytest.raises(HomographyError, match="not real numbers"):
        read_homography(tmp_path / "h.npy")
    np.save(tmp_path / "h.npy", np.array([{}], dtype=object))
    with pytest.raises(HomographyError, match="damaged"):
        read_homography(tmp_path / "h.npy")


def test_a_bad_matrix_or_folder_is_not_written(tmp_path):
    with pytest.raises(HomographyError, match="singular"):
        write_homography(tmp_path / "h", np.zeros((3, 3)))
    with pytest.raises(OutputError, match="folder does not exist"):
        write_homography(tmp_path / "none" / "h", np.eye(3))
    assert list(tmp_path.iterdir()) == []


def test_the_real_sequences_matrices_are_read(shared_data):
    h = read_homography(shared_data / "sequences" / "v_churchill" / "H_1_2")
    stored = np.loadtxt(shared_data / "sequences" / "v_churchill" / "H_1_2")
    np.testing.assert_allclose(warp_points(h, some_points()), warp_points(stored, some_points()))


# ---- estimation


def matches(count=300, wrong=0.5, noise_px=0.5, seed=0):
    generator = np.random.default_rng(seed)
    points_a = generator.uniform([0, 0], SIZE, (count, 2))
    points_b = warp_points(TILTED, points_a) + generator.normal(0, noise_px, (count, 2))
    lost = np.arange(count) < wrong * count
    points_b[lost] = generator.uniform([0, 0], SIZE, (int(lost.sum()), 2))
    return points_a, points_b, lost


@pytest.mark.parametrize("wrong", [0.0, 0.5, 0.75])
def test_the_true_homography_is_found_among_wrong_matches(wrong):
    points_a, points_b, lost = matches(wrong=wrong)
    found = estimate_homography(points_a, points_b, threshold_px=3.0, seed=1)
    assert found is not None
    corners = np.array([[0, 0], [639, 0], [0, 479], [639, 479.0]])
    error_px = warp_points(found.h_b_from_a, corners) - warp_points(TILTED, corners)
    assert np.linalg.norm(error_px, axis=1).max() < 1.0
    assert found.inlier[~lost].mean() > 0.98
    assert found.inlier.shape == lost.shape
    if wrong:
        assert found.inlier[lost].mean() < 0.02


def test_the_same_matches_and_seed_give_the_same_estimate():
    points_a, points_b, _ = matches(wrong=0.8)
    first, second = (
        estimate_homography(points_a, points_b, threshold_px=3.0, seed=7) for _ in range(2)
    )
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.h_b_from_a, second.h_b_from_a)
    np.testing.assert_array_equal(first.inlier, second.inlier)


def test_four_exact_matches_are_enough_and_three_are_not():
    corners = np.array([[0, 0], [639, 0], [0, 479], [639, 479.0]])
    found = estimate_homography(corners, warp_points(TILTED, corners), threshold_px=1.0, seed=0)
    assert found is not None
    assert found.inlier.all()
    np.testing.assert_allclose(normalise(found.h_b_from_a), TILTED, rtol=1e-3, atol=1e-3)
    for count in (0, 1, 3):
        few = corners[:count]
        assert estimate_homography(few, few, threshold_px=1.0, seed=0) is None


def test_matches_on_a_line_or_a_point_give_no_estimate():
    along = np.linspace(0, 100, 40)
    line = np.stack([along, 2 * along + 5], axis=1)
    plane = some_points(40)
    point = np.full((40, 2), 30.0)
    for points_a, points_b in ((line, line), (point, point), (plane, point), (plane, line)):
        assert estimate_homography(points_a, points_b, threshold_px=1.0, seed=0) is None


def test_pure_noise_raises_nothing():
    for seed in range(5):
        found = estimate_homography(
            some_points(60, seed), some_points(60, seed + 99), threshold_px=2.0, seed=seed
        )
        assert found is None or found.inlier.mean() < 0.3


def test_a_mirrored_image_gives_no_estimate():
    mirrored = some_points() * [-1, 1] + [639, 0]
    assert estimate_homography(some_points(), mirrored, threshold_px=1.0, seed=0) is None


def test_matches_that_are_not_finite_are_never_inliers():
    points_a, points_b, _ = matches(wrong=0.0, noise_px=0.0)
    points_a[3] = np.nan
    points_b[5] = np.inf
    found = estimate_homography(points_a, points_b, threshold_px=2.0, seed=0)
    assert found is not None
    assert set(np.flatnonzero(~found.inlier)) == {3, 5}
    nothing = np.full((9, 2), np.nan)
    assert estimate_homography(nothing, nothing, threshold_px=2.0, seed=0) is None


def test_inliers_are_in_front_even_where_the_first_pixel_is_behind():
    h = np.array([[7.0, 0, -800], [0, 1, 0], [0.01, 0.0, -1.0]])  # in front: x > 100
    points_a = np.random.default_rng(0).uniform([200, 0], [640, 480], (80, 2))
    points_b = warp_points(h, points_a)
    found = estimate_homography(points_a, points_b, threshold_px=1.0, seed=0)
    assert found is not None
    assert found.inlier.all()
    np.testing.assert_allclose(warp_points(found.h_b_from_a, points_a), points_b, atol=0.05)


# ---- visibility


def test_covisible_points_are_those_that_land_between_the_border_pixels_centres():
    points = np.array([[0, 0], [10, 5], [10.1, 5], [9, 5.1], [-0.1, 0], [np.nan, 1]])
    mask = covisible(points, np.eye(3), (11, 6))
    np.testing.assert_array_equal(mask, [True, True, False, False, False, False])


def test_projection_and_visibility_agree_with_a_loop():
    points = some_points(100)
    moved, visible = project(points, TILTED, (300, 200))
    assert 0 < visible.sum() < 100
    for point, found, seen in zip(points, moved, visible, strict=True):
        u, v, w = TILTED @ [*point, 1]
        np.testing.assert_allclose(found, [u / w, v / w])
        assert seen == (0 <= u / w <= 299 and 0 <= v / w <= 199)
    np.testing.assert_array_equal(covisible(points, TILTED, (300, 200)), visible)


def test_points_behind_the_camera_are_not_visible_and_raise_no_warning():
    h = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])
    assert not covisible(np.array([[150.0, 10.0], [100.0, 0.0]]), h, (10_000, 10_000)).any()


def test_opencv_agrees_about_points():
    expected = cv2.perspectiveTransform(some_points()[None], TILTED)[0]
    np.testing.assert_allclose(warp_points(TILTED, some_points()), expected)
