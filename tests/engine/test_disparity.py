"""Truth by disparity: made pairs against a loop over pixels, real ones against photos."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from engine.errors import TruthError
from engine.geometry.coords import Resize
from engine.images import read_image
from engine.truth.base import Visibility, open_truth
from engine.truth.disparity import DisparitySource, DisparityTruth, carried_over

SIZE_PX = (60, 20)


def two_planes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A slanted wall, and a board of constant disparity 15 in front of it, in both images.

    The wall has d = 4 + 0.1 x in the left image, so x' = 0.9 x - 4 in the right one, and there
    d = 4 + 0.1 (x' + 4) / 0.9.
    """
    left = np.tile(4 + 0.1 * np.arange(60.0), (20, 1))
    right = np.tile(4 + 0.1 * (np.arange(60.0) + 4) / 0.9, (20, 1))
    left[5:15, 30:45] = 15
    right[5:15, 15:30] = 15
    return left, right


@pytest.fixture
def source(tmp_path: Path) -> DisparitySource:
    paths = (tmp_path / "left.pfm", tmp_path / "right.pfm")
    for path, disparity in zip(paths, two_planes(), strict=True):
        assert cv2.imwrite(str(path), disparity.astype(np.float32))
    return DisparitySource(*paths)


@pytest.fixture
def pixels_px() -> NDArray[np.float64]:
    grid = np.meshgrid(np.arange(60.0), np.arange(20.0))
    return np.stack(grid, axis=-1).reshape(-1, 2)


def plainly(
    own: NDArray[np.float64], other: NDArray[np.float64], towards: int
) -> list[tuple[float, Visibility]]:
    """What becomes of every pixel, by one look at the wall and the board."""
    found = []
    for y in range(20):
        for x in range(60):
            there = x + towards * own[y, x]
            if not 0 <= there <= 59:
                found.append((there, Visibility.OUTSIDE))
                continue
            nearest = other[y, math.floor(there + 0.5)]
            hidden = nearest == 15 and own[y, x] < 14
            found.append((there, Visibility.OCCLUDED if hidden else Visibility.SEEN))
    return found


@pytest.mark.parametrize("side", ["a", "b"])
def test_both_maps_tell_every_place_and_what_is_hidden(
    source: DisparitySource, side: str, pixels_px: NDArray[np.float64]
):
    left, right = two_planes()
    truth = open_truth(source, SIZE_PX, SIZE_PX)
    found = truth.locate(side, pixels_px)
    wanted = plainly(left, right, -1) if side == "a" else plainly(right, left, 1)
    places = np.array([place for place, _ in wanted])
    assert found.visibility.tolist() == [kind for _, kind in wanted]
    assert np.abs(found.points_px[:, 0] - places).max() < 1e-5
    assert np.array_equal(found.points_px[:, 1], pixels_px[:, 1])
    assert (found.visibility == Visibility.OCCLUDED).sum() >= 10
    assert np.isnan(found.uncertainty_px).all()  # floats do not tell how exact they are


def test_one_map_tells_the_same_as_far_as_it_reaches(
    source: DisparitySource, pixels_px: NDArray[np.float64]
):
    both = source.open(SIZE_PX, SIZE_PX)
    one = DisparitySource(source.left).open(SIZE_PX, SIZE_PX)
    assert np.array_equal(
        one.locate("a", pixels_px).visibility, both.locate("a", pixels_px).visibility
    )
    found, wanted = one.locate("b", pixels_px), both.locate("b", pixels_px)
    # What the left image does not show has no disparity of its own in the right one; at the last
    # pixel before the wall's end both answers are right.
    hidden = found.visibility[wanted.visibility == Visibility.OCCLUDED]
    assert (hidden == Visibility.UNKNOWN).mean() > 0.8
    known = found.seen & wanted.seen
    assert known.sum() > 0.95 * wanted.seen.sum()
    assert np.abs(found.points_px - wanted.points_px)[known].max() < 1e-4


def test_a_map_carried_over_equals_a_fine_z_buffer():
    """The rule, played with a thousand points a pixel instead of straight lines' ends."""
    generator = np.random.default_rng(3)
    left = generator.uniform(2, 2.5, (1, 40)).astype(np.float32)
    left[0, 12:18] += 9
    left[0, 25] = np.nan
    fine = np.arange(-500, 39_501) / 1000
    low = np.clip(np.floor(fine).astype(int), 0, 39)
    high, near = np.clip(low + 1, 0, 39), np.clip(np.floor(fine + 0.5).astype(int), 0, 39)
    share = np.clip(fine - low, 0, 1)
    straight = left[0, low] + share * (left[0, high] - left[0, low])
    joined = np.abs(left[0, high] - left[0, low]) <= 1
    disparity = np.where(joined, straight, left[0, near])
    wanted = np.full(40, -np.inf)
    for place, value in zip(fine - disparity, disparity, strict=True):
        if not np.isnan(place) and abs(place - round(place)) < 0.002 and 0 <= round(place) < 40:
            wanted[round(place)] = max(wanted[round(place)], value)
    found = carried_over(left, 40)[0]
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted))
    assert np.abs(found - wanted)[np.isfinite(wanted)].max() < 0.01


def test_between_pixels_the_board_and_the_wall_are_never_mixed(source: DisparitySource):
    truth = source.open(SIZE_PX, SIZE_PX)
    points_px = np.random.default_rng(0).uniform([25, 6], [50, 14], (500, 2))
    found = truth.locate("a", points_px)
    disparity = (points_px - found.points_px)[found.seen, 0]
    wall = 4 + 0.1 * points_px[found.seen, 0]
    # Beside the board the wall continues flat for half a pixel at most.
    assert (np.minimum(np.abs(disparity - 15), np.abs(disparity - wall)) < 0.051).all()
    inner = found.seen & (points_px[:, 0] > 45.5)
    assert inner.any()


@pytest.mark.parametrize(
    ("dtype", "factor", "given"), [(np.uint8, 4.0, 4.0), (np.uint16, 256.0, None)]
)
def test_pngs_are_divided_by_their_factor_and_zero_is_unknown(
    tmp_path: Path, pixels_px: NDArray[np.float64], dtype: type, factor: float, given: float | None
):
    left, right = two_planes()
    exact = DisparityTruth(left.astype("f4"), right.astype("f4"), (0.0, 0.0))
    paths = (tmp_path / "left.png", tmp_path / "right.png")
    for path, disparity in zip(paths, (left, right), strict=True):
        stored = np.rint(disparity * factor).astype(dtype)
        stored[0, 50] = 0
        assert cv2.imwrite(str(path), stored)
    found = DisparitySource(*paths, factor=given).open(SIZE_PX, SIZE_PX).locate("a", pixels_px)
    wanted = exact.locate("a", pixels_px)
    assert found.visibility[50] == Visibility.UNKNOWN
    assert np.isnan(found.points_px[50]).all()
    both = found.seen & wanted.seen
    assert both.sum() > 0.98 * wanted.seen.sum()
    assert np.abs(found.points_px - wanted.points_px)[both].max() <= 0.5 / factor + 1e-5
    errors = (found.points_px - wanted.points_px)[both, 0]
    assert np.allclose(found.uncertainty_px[both], 1 / factor / math.sqrt(12))
    assert np.std(errors) < 1.5 / factor / math.sqrt(12)


def test_infinity_is_unknown_in_floats(tmp_path: Path):
    path = tmp_path / "left.pfm"
    left = two_planes()[0].astype(np.float32)
    left[:, 20:22] = np.inf
    cv2.imwrite(str(path), left)
    truth = DisparitySource(path).open(SIZE_PX, SIZE_PX)
    found = truth.locate("a", np.array([[20.0, 3.0], [21.4, 3.0], [23.0, 3.0]]))
    assert found.visibility.tolist() == [Visibility.UNKNOWN, Visibility.UNKNOWN, Visibility.SEEN]


def test_maps_that_contradict_each_other_say_nothing(tmp_path: Path):
    paths = (tmp_path / "left.npy", tmp_path / "right.npy")
    np.save(paths[0], np.full((20, 60), 8.0))
    np.save(paths[1], np.full((20, 60), 6.5))
    found = DisparitySource(*paths).open(SIZE_PX, SIZE_PX).locate("a", np.array([[30.0, 4.0]]))
    assert found.visibility.tolist() == [Visibility.UNKNOWN]
    assert np.isnan(found.points_px).all()
    assert np.isnan(found.uncertainty_px).all()


def test_the_truth_of_resized_images_is_the_same_place(source: DisparitySource):
    truth = source.open(SIZE_PX, SIZE_PX)
    half, double = Resize(SIZE_PX, (30, 10)), Resize(SIZE_PX, (120, 40))
    points_px = np.array([[10.0, 3.0], [35.0, 9.0]])
    found = truth.resized(half, double).locate("a", half.forward(points_px))
    assert np.allclose(found.points_px, double.forward(truth.locate("a", points_px).points_px))


@pytest.mark.parametrize("scene", ["barn2", "cones", "sawtooth", "venus"])
def test_real_pairs_show_the_same_colours_at_both_places(shared_data: Path, scene: str):
    """Half a pixel aside the colours fit less well, and what is hidden does not fit at all."""
    folder, factor = shared_data / "middlebury" / scene, 4.0 if scene == "cones" else 8.0
    left, right = (
        cv2.GaussianBlur(read_image(folder / name).as_float(), (0, 0), 1)
        for name in ("im2.png", "im6.png")
    )
    size_px = (left.shape[1], left.shape[0])
    source = DisparitySource(folder / "disp2.png", folder / "disp6.png", factor)
    truth = source.open(size_px, size_px)
    grid = np.meshgrid(np.arange(0.0, size_px[0], 2), np.arange(0.0, size_px[1], 2))
    points_px = np.stack(grid, axis=-1).reshape(-1, 2)
    for side, here, there in (("a", left, right), ("b", right, left)):
        found = truth.locate(side, points_px)
        own = here[points_px[:, 1].astype(int), points_px[:, 0].astype(int)]

        def gap(which: NDArray[np.bool_], aside_px: float) -> float:
            xs, ys = (found.points_px[which] + [aside_px, 0]).T  # noqa: B023
            shown = [map_coordinates(one, (ys, xs), order=1) for one in np.moveaxis(there, 2, 0)]  # noqa: B023
            return float(np.abs(np.stack(shown, axis=-1) - own[which]).mean())  # noqa: B023

        assert found.seen.mean() > 0.8
        straight = gap(found.seen, 0.0)
        assert straight < min(gap(found.seen, 0.5), gap(found.seen, -0.5))
        assert straight < 0.5 * gap(found.visibility == Visibility.OCCLUDED, 0.0)


def save(path: Path, array: NDArray[np.float64] | NDArray[np.uint8]) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "factor", "said"),
    [
        (np.ones((20, 61)), None, "has 61 × 20 pixels, and its image has 60 × 20"),
        (np.ones((20, 60, 2)), None, "holds 2 numbers a pixel"),
        (np.ones((20, 60), np.uint8), None, "state the factor"),
        (np.ones((20, 60)), 0.0, "cannot be divided by the factor 0"),
        (np.full((20, 60), np.inf), None, "knows the disparity of no pixel"),
        (np.full((20, 60), -3.0), None, "knows the disparity of no pixel"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(
    tmp_path: Path, array: NDArray[np.float64], factor: float | None, said: str
):
    path = save(tmp_path / "left.npy", array)
    with pytest.raises(TruthError, match=said):
        DisparitySource(path, factor=factor).open(SIZE_PX, SIZE_PX)


def test_images_of_different_heights_are_no_rectified_pair(source: DisparitySource):
    with pytest.raises(TruthError, match="have 20 and 21 rows: they are not rectified"):
        source.open(SIZE_PX, (60, 21))


def test_its_identity_follows_the_content_and_the_factor(source: DisparitySource, tmp_path: Path):
    known = {source.identity(), DisparitySource(source.left).identity()}
    known.add(DisparitySource(source.left, source.right, factor=2.0).identity())
    source.left.write_bytes(source.left.read_bytes()[:-4] + bytes(4))
    known.add(source.identity())
    assert len(known) == 4


def test_a_map_of_what_both_images_show_decides_what_is_hidden(tmp_path: Path) -> None:
    # KITTI's two maps: all places, and those not occluded; sparse, as a laser gives them.
    everywhere = np.zeros((20, 60), np.uint16)
    everywhere[::2, 10:50:3] = 8 * 256
    everywhere[0, 1] = 8 * 256  # leaves the right image
    shown = everywhere.copy()
    shown[:10, 19:28] = 0
    shown[0, 1] = 0
    paths = (tmp_path / "occ.png", tmp_path / "noc.png")
    for path, stored in zip(paths, (everywhere, shown), strict=True):
        assert cv2.imwrite(str(path), stored)
    source = DisparitySource(paths[0], unoccluded=paths[1])
    assert source.files == paths
    assert source.identity() != DisparitySource(paths[0], paths[1]).identity()
    truth = source.open(SIZE_PX, SIZE_PX)
    rows, columns = np.nonzero(everywhere)
    found = truth.locate("a", np.column_stack([columns, rows]).astype(np.float64))
    for row, column, place, visibility in zip(
        rows, columns, found.points_px, found.visibility, strict=True
    ):
        assert tuple(place) == (column - 8, row)
        expected = (
            Visibility.OUTSIDE
            if column < 8
            else Visibility.SEEN
            if shown[row, column]
            else Visibility.OCCLUDED
        )
        assert visibility == expected, (row, column)
    # Of the right image, only what both show is known.
    back = truth.locate("b", np.array([[14.0, 0.0], [14.0, 10.0], [15.0, 10.0]]))
    assert back.visibility.tolist() == [Visibility.UNKNOWN, Visibility.SEEN, Visibility.UNKNOWN]
    assert tuple(back.points_px[1]) == (22, 10)
