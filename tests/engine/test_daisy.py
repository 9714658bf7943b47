"""DAISY against scikit-image's, against sums written out, and against itself in tiles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.feature import daisy as reference_daisy
from torch import Tensor

from engine.descriptors.daisy import Daisy, DaisyConfig, Normalisation
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.tensors import to_luminance
from engine.errors import ConfigError, JobCancelled
from engine.images import read_image, resize_pixels


def describe(daisy: Daisy, grey: NDArray[np.floating]) -> Tensor:
    """``(D, H', W')`` of a grey image ``(H, W)``."""
    image = torch.tensor(grey, dtype=torch.float32).expand(1, 3, -1, -1)
    return daisy.describe(image)[0].values[0]


def random_grey(height: int, width: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random((height, width))


@pytest.mark.parametrize(
    ("normalisation", "reference"), [("none", "off"), ("full", "l2"), ("partial", "daisy")]
)
def test_photos_are_described_as_by_scikit_image(
    normalisation: Normalisation, reference: str
) -> None:
    """Conventions differ: its bins start at -pi, it leaves a border and never smooths first."""
    grey = data.camera()[100:340, 120:380] / 255.0
    expected = reference_daisy(grey, step=5, radius=15, normalization=reference)
    rows, columns, dim = expected.shape
    expected = np.roll(expected.reshape(rows, columns, 25, 8), -4, axis=3)
    expected = expected.reshape(rows, columns, dim)
    expected /= np.linalg.norm(expected, axis=2, keepdims=True)
    daisy = Daisy(DaisyConfig(normalisation=normalisation, presmooth_px=0.0, stride_px=5))
    assert daisy.grid.to_px(3) - 15 == 2.0  # our cells lie 2 px beside those of a stride of 5
    shifted = np.pad(grey, ((2, 0), (2, 0)), mode="edge")
    mine = describe(daisy, shifted).numpy()[:, 3 : 3 + rows, 3 : 3 + columns]
    cosine = (mine.transpose(1, 2, 0) * expected).sum(axis=2)
    assert float(cosine.mean()) >= 0.99
    wrong = (np.roll(mine, 8, axis=0).transpose(1, 2, 0) * expected).sum(axis=2)
    assert float(wrong.mean()) < 0.97


def test_a_descriptor_is_the_gaussian_average_of_gradients_at_each_ring_position() -> None:
    """Every histogram of one cell by plain sums over all corners between pixels."""
    grey = random_grey(70, 74)
    daisy = Daisy(
        DaisyConfig(radius_px=6.0, rings=2, histograms=5, orientations=4, normalisation="none",
                    presmooth_px=0.0, stride_px=3)
    )  # fmt: skip
    row, column = 10, 12
    centre_x, centre_y = daisy.grid.to_px(column), daisy.grid.to_px(row)
    places = [(0.0, 0.0, 1.5)]
    for ring in (1, 2):
        for index in range(5):
            angle = 2 * math.pi * index / 5
            places.append((3 * ring * math.cos(angle), 3 * ring * math.sin(angle), 1.5 * ring))
    expected = np.zeros((len(places), 4))
    for y in range(69):
        for x in range(73):
            block = grey[y : y + 2, x : x + 2]
            step_x = (block[0, 1] - block[0, 0] + block[1, 1] - block[1, 0]) / 2
            step_y = (block[1, 0] - block[0, 0] + block[1, 1] - block[0, 1]) / 2
            length, direction = math.hypot(step_x, step_y), math.atan2(step_y, step_x)
            bins = [
                length * math.exp(4 / math.pi * (math.cos(direction - k * math.pi / 2) - 1))
                for k in range(4)
            ]
            for index, (shift_x, shift_y, sigma) in enumerate(places):
                away_x, away_y = x + 0.5 - centre_x - shift_x, y + 0.5 - centre_y - shift_y
                bell = math.exp(-(away_x**2 + away_y**2) / (2 * sigma**2)) / sigma**2
                expected[index] += bell * np.array(bins)
    flat = expected.reshape(-1) / np.linalg.norm(expected)
    mine = describe(daisy, grey)[:, row, column].numpy()
    np.testing.assert_allclose(mine, flat, atol=2e-3)


def gaussian_rows(centres_px: NDArray[np.float64], sigma_px: float, count: int) -> Tensor:
    """The whole matrix of Gaussians about some centres, cut at four deviations.

    Sample ``i`` lies at ``i - 0.5``; all the outermost ones stand for what lies beyond them.
    """
    matrix = torch.zeros(len(centres_px), count, dtype=torch.float64)
    for row, centre_px in enumerate(centres_px):
        for tap in range(-100, count + 100):
            away = (tap - 0.5 - centre_px) / sigma_px
            if abs(away) <= 4:
                matrix[row, min(max(tap, 0), count - 1)] += math.exp(-away * away / 2)
    return matrix / matrix.sum(dim=1, keepdim=True)


@pytest.mark.parametrize(("stride_px", "height", "width"), [(1, 40, 75), (3, 61, 40), (5, 97, 203)])
def test_blocks_along_the_diagonal_give_what_whole_matrices_give(
    stride_px: int, height: int, width: int
) -> None:
    """Two images, of several blocks, with cells whose reach ends outside."""
    config = DaisyConfig(
        radius_px=5.3, rings=1, histograms=3, normalisation="full", stride_px=stride_px
    )
    daisy = Daisy(config)
    images = torch.rand(2, 3, height, width, generator=torch.manual_seed(1))
    gradients = daisy._oriented_gradients(to_luminance(images)).permute(1, 2, 0, 3).double()
    ys, xs = (daisy.grid.to_px(np.arange(daisy.grid.count(size))) for size in (height, width))
    places = [(0.0, 0.0)]
    places += [
        (5.3 * math.cos(a), 5.3 * math.sin(a)) for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)
    ]
    histograms = [
        gaussian_rows(ys + shift_y, 2.65, height + 1)
        @ gradients
        @ gaussian_rows(xs + shift_x, 2.65, width + 1).T
        for shift_x, shift_y in places
    ]
    expected = torch.nn.functional.normalize(torch.cat(histograms, dim=1), dim=1)
    values = daisy.describe(images)[0].values
    torch.testing.assert_close(values.double(), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("stride_px", [2, 4, 6])
def test_thinning_the_gradients_changes_less_than_a_thousandth(stride_px: int) -> None:
    grey = random_grey(96, 96, seed=2)
    thinned = Daisy(DaisyConfig(normalisation="full", stride_px=stride_px))
    plain = Daisy(DaisyConfig(normalisation="full", stride_px=stride_px))
    plain._coarse_px = 1
    assert thinned._coarse_px > 1
    cosine = (describe(thinned, grey) * describe(plain, grey)).sum(dim=0)
    assert float(cosine.min()) >= 0.9999


@pytest.mark.parametrize("stride_px", [1, 2, 3])
def test_tiles_give_what_one_piece_gives(stride_px: int) -> None:
    grey = random_grey(121, 108)
    whole = describe(Daisy(DaisyConfig(stride_px=stride_px, radius_px=9.0)), grey)
    tiled = describe(Daisy(DaisyConfig(stride_px=stride_px, radius_px=9.0), tile_px=36), grey)
    torch.testing.assert_close(tiled, whole, atol=2e-6, rtol=0)


def test_work_in_tiles_can_be_stopped() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        Daisy(DaisyConfig(), tile_px=32).describe_stoppable(torch.rand(1, 3, 128, 128), check)
    assert calls == 3


def test_a_brighter_and_a_more_contrasty_image_are_described_alike() -> None:
    grey = random_grey(64, 64)
    daisy = Daisy(DaisyConfig())
    one, other = describe(daisy, grey), describe(daisy, 0.3 + 0.5 * grey)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_an_edge_of_one_direction_fills_the_bin_of_that_direction_most() -> None:
    """Brightness grows towards +y, which is bin 2 of 8, in all 25 histograms."""
    grey = np.repeat(np.linspace(0, 1, 80)[:, None], 80, axis=1)
    values = describe(Daisy(DaisyConfig()), grey)[:, 20, 20].reshape(25, 8)
    assert values.argmax(dim=1).tolist() == [2] * 25


def test_ring_positions_go_from_x_towards_y() -> None:
    """One bright dot: of the outer ring, the histogram that lies on it is the fullest."""
    for index in range(8):
        grey = np.zeros((90, 90))
        angle = 2 * math.pi * index / 8
        x, y = round(44 + 15 * math.cos(angle)), round(44 + 15 * math.sin(angle))
        grey[y, x] = 1.0
        daisy = Daisy(DaisyConfig(stride_px=1, normalisation="none"))
        values = describe(daisy, grey)[:, 44, 44].reshape(25, 8)
        assert int(values.norm(dim=1)[17:].argmax()) == index


def test_sift_normalisation_bounds_every_entry() -> None:
    """The bound is met before the last scaling, so a little more is left over."""
    grey = np.zeros((64, 64))
    grey[:, 32:] = 1.0
    sharp = describe(Daisy(DaisyConfig(normalisation="full")), grey)[:, 16, 16]
    clipped = describe(Daisy(DaisyConfig(normalisation="sift")), grey)[:, 16, 16]
    assert float(clipped.max()) < 0.8 * float(sharp.max())
    assert float(clipped.norm()) == pytest.approx(1.0, abs=1e-5)


def test_partial_normalisation_gives_every_histogram_the_same_weight() -> None:
    values = describe(Daisy(DaisyConfig(normalisation="partial")), random_grey(64, 64))
    lengths = values.unflatten(0, (25, 8)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.2), atol=1e-4, rtol=0)


def test_noise_of_rounding_is_not_a_direction() -> None:
    grey = 0.5 + 1e-7 * random_grey(40, 40)
    assert not bool(describe(Daisy(DaisyConfig()), grey).any())
    assert not bool(describe(Daisy(DaisyConfig(normalisation="partial")), grey).any())


@pytest.mark.parametrize(
    "settings",
    [
        {"radius_px": 1.0, "rings": 8},
        {"radius_px": 60.0},
        {"rings": 1, "histograms": 1, "orientations": 2},
        {"stride_px": 64},
        {"presmooth_px": 10.0},
    ],
)
def test_settings_at_the_ends_of_their_ranges_describe_a_small_image(
    settings: dict[str, float],
) -> None:
    daisy = build_descriptor(make_spec("daisy", settings))
    assert isinstance(daisy, Daisy)
    values = daisy.describe(torch.rand(1, 3, 16, 19))[0].values
    lengths = values.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "value"), [("stride_px", 0), ("rings", 2.5), ("normalisation", "l1"), ("radius", 3)]
)
def test_settings_that_make_no_sense_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"daisy.{name}"):
        make_spec("daisy", {name: value})


def test_most_points_of_a_real_pair_are_found_again(shared_data: Path) -> None:
    """300 corners of v_churchill, image 1, searched over all cells of image 2."""
    import cv2

    folder = shared_data / "sequences" / "v_churchill"
    h_b_from_a = np.loadtxt(folder / "H_1_2")
    images = [read_image(folder / f"{number}.ppm").pixels for number in (1, 2)]
    height, width = images[0].shape[:2]
    scale = 480 / max(height, width)
    size_px = (round(width * scale), round(height * scale))
    small = [resize_pixels(image, size_px, antialias=True) for image in images]
    daisy = Daisy(DaisyConfig(stride_px=2))
    maps = [
        daisy.describe(torch.from_numpy(image).permute(2, 0, 1)[None])[0].values[0]
        for image in small
    ]
    corners = cv2.goodFeaturesToTrack(small[0].mean(axis=2), 600, 0.01, 5)[:, 0]
    cells = np.unique(np.round(daisy.grid.to_cells(corners)).astype(int), axis=0)
    inside = (cells >= 0).all(axis=1) & (cells < np.array(maps[0].shape[:0:-1])).all(axis=1)
    cells = cells[inside]
    to_original = np.array([width, height]) / np.array(size_px)
    points_a = (daisy.grid.to_px(cells) + 0.5) * to_original - 0.5
    truth = np.c_[points_a, np.ones(len(points_a))] @ h_b_from_a.T
    truth = truth[:, :2] / truth[:, 2:]
    seen = ((truth >= 0) & (truth <= np.array([width, height]) - 1)).all(axis=1)
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(seen))[:300]
    queries = maps[0][:, cells[chosen, 1], cells[chosen, 0]]
    found = (queries.T @ maps[1].flatten(1)).argmax(dim=1).numpy()
    found_cells = np.stack([found % maps[1].shape[2], found // maps[1].shape[2]], axis=1)
    points_b = (daisy.grid.to_px(found_cells) + 0.5) * to_original - 0.5
    errors_px = np.linalg.norm(points_b - truth[chosen], axis=1)
    assert float((errors_px <= 5).mean()) >= 0.7
