"""Places between cells, held against a slow loop and known shifts; borders, flat maps and sets."""

import math

import cv2
import numpy as np
import pytest
import torch

from engine.descriptors.base import DescriptorMap, Member
from engine.descriptors.daisy import Daisy, DaisyConfig
from engine.evaluation.protocols import describe_points, refine_matches
from engine.geometry.coords import CellGrid
from engine.matching.neighbours import Neighbours
from engine.matching.subcell import refine_places
from engine.progress import CancelToken


def smooth_map(rows: int, columns: int, seed: int, *, waves: float = 0.5) -> np.ndarray:
    """``(H', W', 16)`` float32 unit vectors that change by waves, a little at a time."""
    random = np.random.default_rng(seed)
    frequencies, phases = random.normal(0, waves, (2, 16)), random.uniform(0, 6, 16)
    ys, xs = np.mgrid[:rows, :columns].astype(float)
    vectors = np.cos(xs[..., None] * frequencies[0] + ys[..., None] * frequencies[1] + phases)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def read(vectors: np.ndarray, x: float, y: float) -> np.ndarray:
    """The map at a place in cells, of unit length; beyond the border, as at the border.

    Zero where next to nothing is left between the cells.
    """
    rows, columns, dim = vectors.shape
    x, y = min(max(x, 0.0), columns - 1.0), min(max(y, 0.0), rows - 1.0)
    total = np.zeros(dim)
    for row in range(math.floor(y), min(math.floor(y) + 2, rows)):
        for column in range(math.floor(x), min(math.floor(x) + 2, columns)):
            share = (1 - abs(x - column)) * (1 - abs(y - row))
            total += share * vectors[row, column].astype(float)
    length = np.linalg.norm(total)
    return total / length if length >= 1e-3 else np.zeros(dim)


def refine_slowly(vectors, grid, query, start_px, reach_px):
    """One query, by loops over places, each of which is interpolated: place and uncertainty."""
    rows, columns, _ = vectors.shape
    last_px = [grid.to_px(columns - 1), grid.to_px(rows - 1)]
    low = [min(grid.offset_px, one) for one in start_px]
    high = [max(last, one) for last, one in zip(last_px, start_px, strict=True)]
    step_px = max(1.0, grid.stride_px / 4)

    def similarities(centre, count):
        for dy in range(-count, count + 1):
            for dx in range(-count, count + 1):
                place = (centre[0] + dx * step_px, centre[1] + dy * step_px)
                if all(
                    a - 1e-9 <= one <= b + 1e-9 for a, one, b in zip(low, place, high, strict=True)
                ):
                    here = read(vectors, *(grid.to_cells(one) for one in place))
                    if here.any():
                        yield place, float(here @ query)

    count = int(reach_px / step_px + 1e-9)

    def nearness(place):
        away_px = math.dist(place, start_px)
        return -1e-6 * away_px**2 / (2 * (count * step_px) ** 2)

    near = max(similarities(start_px, count), key=lambda one: one[1] + nearness(one[0]))[0]
    for _ in range(2):
        found = list(similarities(near, 3))
        best, mean = max(s for _, s in found), sum(s for _, s in found) / len(found)
        if best - mean <= 1e-4:
            return start_px, grid.stride_px
        sharpness = max(100.0, 4.0 / (best - mean))
        weights = [math.exp(sharpness * (s - best)) for _, s in found]
        total = sum(weights)
        middle = [
            sum(w * place[axis] for w, (place, _) in zip(weights, found, strict=True)) / total
            for axis in (0, 1)
        ]
        variance = sum(
            w * ((place[0] - middle[0]) ** 2 + (place[1] - middle[1]) ** 2)
            for w, (place, _) in zip(weights, found, strict=True)
        ) / (2 * total)
        near = [
            min(max(m, s - reach_px), s + reach_px) for m, s in zip(middle, start_px, strict=True)
        ]
    return near, min(math.sqrt(variance), grid.stride_px)


@pytest.mark.parametrize(
    ("stride_px", "offset_px", "reach_px"),
    [(4.0, 1.5, 4.0), (8.0, 3.5, 8.0), (2.0, 0.0, 4.0), (1.0, 0.5, 1.0), (3.0769, 1.1, 4.0)],
)
def test_places_and_uncertainties_are_those_of_a_loop(stride_px, offset_px, reach_px):
    """Also at the borders and corners, and beyond the outermost cells."""
    grid = CellGrid(stride_px, offset_px)
    vectors = smooth_map(9, 11, 3)
    random = np.random.default_rng(4)
    noise = random.normal(0, 0.15, vectors.shape)
    vectors = vectors + noise.astype(np.float32)
    vectors[3:5, 2:5] = 0  # cells that hold nothing
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    true = random.uniform((0, 0), (10, 8), (24, 2))
    queries = np.stack([read(vectors, *place) for place in true]).astype(np.float32)
    start_px = grid.to_px(true) + random.uniform(-reach_px, reach_px, true.shape)
    start_px[:4] = grid.to_px(np.array([[0, 0], [10, 0], [10, 8], [-0.4, 3.2]]))
    found = refine_places(
        Neighbours(torch.from_numpy(vectors)), grid, queries, start_px, reach_px=reach_px
    )
    for number, (query, start) in enumerate(zip(queries, start_px, strict=True)):
        place, spread = refine_slowly(vectors, grid, query, start.tolist(), reach_px)
        np.testing.assert_allclose(found.places_px[number], place, atol=1e-4)
        assert found.uncertainty_px[number] == pytest.approx(spread, abs=1e-4)
    moved = np.abs(found.places_px - start_px).max(axis=1)
    assert (moved <= reach_px + 1e-9).all()
    assert (moved > 0.1).any()


def test_a_symmetric_peak_is_found_exactly_wherever_it_lies():
    """(cos ax, sin ax, cos ay, sin ay): the similarity is a cosine of the distance on each axis."""
    ys, xs = np.mgrid[:24, :24] * 0.06
    parts = [np.cos(xs), np.sin(xs), np.cos(ys), np.sin(ys)]
    vectors = torch.from_numpy((np.stack(parts, axis=-1) / math.sqrt(2)).astype(np.float32))
    true = np.random.default_rng(0).uniform(8, 15, (60, 2))
    angles = true * 0.06
    sides = [np.cos(angles[:, 0]), np.sin(angles[:, 0]), np.cos(angles[:, 1]), np.sin(angles[:, 1])]
    queries = (np.stack(sides, axis=-1) / math.sqrt(2)).astype(np.float32)
    start = np.round(true) + np.random.default_rng(1).integers(-3, 4, true.shape)
    found = refine_places(Neighbours(vectors), CellGrid(1, 0), queries, start, reach_px=4)
    assert np.abs(found.places_px - true).max() < 0.02


@pytest.mark.parametrize("shift_px", [(0.25, 0.5), (1.75, -0.75), (-1.5, 2.25)])
def test_an_image_that_moved_by_parts_of_a_pixel_is_found_there(shift_px):
    """Both images are means over 4 × 4 px of one drawing, so the shift is exact."""
    random = np.random.default_rng(5)
    noise = random.normal(size=(2, 4 * 96, 4 * 96))
    drawing = sum(
        cv2.GaussianBlur(one, (0, 0), sigma) * sigma
        for one, sigma in zip(noise, (10, 25), strict=True)
    )
    drawing = (drawing - drawing.min()) / np.ptp(drawing)

    def shown(left: int, top: int) -> torch.Tensor:
        part = drawing[top : top + 320, left : left + 320].reshape(80, 4, 80, 4).mean(axis=(1, 3))
        return torch.from_numpy(part.astype(np.float32)).expand(1, 3, 80, 80)

    dx, dy = (round(4 * one) for one in shift_px)
    descriptor = Daisy(DaisyConfig())
    a, b = descriptor.describe(shown(32, 32)), descriptor.describe(shown(32 + dx, 32 + dy))
    query_px = random.integers(24, 56, (60, 2)).astype(float)
    true = query_px - shift_px
    start_px = 4 * np.round(true / 4)
    found = refine_matches(
        describe_points(a, query_px), b, start_px, reach_px=4, cancel=CancelToken()
    )
    assert np.abs(np.median(found - true, axis=0)).max() < 0.1
    assert np.linalg.norm(found - true, axis=1).mean() < 0.2 < np.abs(start_px - true).mean()


def test_where_nothing_is_told_apart_a_place_stays_and_a_cell_is_uncertain():
    grid = CellGrid(4, 1.5)
    same = np.tile(smooth_map(1, 1, 0)[0, 0], (7, 8, 1))
    start = grid.to_px(np.array([[3.0, 3.0], [0.0, 6.0], [3.4, 2.7]]))
    for vectors in (same, np.zeros_like(same)):
        found = refine_places(
            Neighbours(torch.from_numpy(vectors)), grid, same[0, :3], start, reach_px=4
        )
        np.testing.assert_array_equal(found.places_px, start)
        np.testing.assert_array_equal(found.uncertainty_px, [4.0, 4.0, 4.0])
    alone = refine_places(
        Neighbours(torch.from_numpy(same[:1, :1])), grid, same[0, :1], start[:1], reach_px=4
    )
    np.testing.assert_array_equal(alone.places_px, start[:1])
    none = refine_places(
        Neighbours(torch.from_numpy(same)), grid, same[0, :0], start[:0], reach_px=4
    )
    assert none.places_px.shape == (0, 2)


def test_a_ridge_is_less_certain_than_a_peak():
    peaked = smooth_map(9, 9, 2)
    ridge = np.repeat(peaked[:, :1], 9, axis=1)  # the same along x
    spread = []
    for vectors in (peaked, ridge):
        query = vectors[4, 4][None]
        found = refine_places(
            Neighbours(torch.from_numpy(vectors)),
            CellGrid(4, 0),
            query,
            np.full((1, 2), 16.0),
            reach_px=4,
        )
        assert np.abs(found.places_px - 16).max() < 0.3
        spread.append(found.uncertainty_px[0])
    assert spread[1] > 1.2 * spread[0]


def test_the_members_that_met_are_compared_each_on_its_own_grid():
    """Of two members of a query, one is found in a map with cells 4 px apart, the other at 2 px."""
    one, two = smooth_map(20, 20, 6, waves=0.4), smooth_map(40, 40, 7, waves=0.2)
    grids = CellGrid(4, 1.5), CellGrid(2, 0.5)
    levels = tuple(
        DescriptorMap(torch.from_numpy(vectors).permute(2, 0, 1)[None], grid, Member())
        for vectors, grid in zip((one, two), grids, strict=True)
    )
    true = np.array([[33.3, 41.8], [20.2, 52.9], [45.6, 30.4]])
    asked = describe_points(levels, true)
    asked[0, 1:] = 0  # the second map alone knows the others
    start = np.round(true / 4) * 4
    found = refine_matches(asked, levels, start, reach_px=4, cancel=CancelToken())
    assert np.abs(found - true).max() < 0.3
