"""Heat maps and peaks, held against loops and against surfaces with a known top."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.descriptors.base import DescriptorMap
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import sample_map, sample_rows
from engine.matching.similarity import (
    Upsampler,
    cell_similarity,
    lay_out,
    peaks_between_cells,
    refine_peaks,
    similarity_map,
)


def loop_bilinear(values: np.ndarray, grid: CellGrid, x: float, y: float) -> float:
    """Bilinear value at one pixel, written as the four corners of its cell."""
    height, width = values.shape
    cell_x = min(max((x - grid.offset_px) / grid.stride_px, 0.0), width - 1.0)
    cell_y = min(max((y - grid.offset_px) / grid.stride_px, 0.0), height - 1.0)
    left, top = math.floor(cell_x), math.floor(cell_y)
    total = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            weight = (1 - abs(cell_x - column)) * (1 - abs(cell_y - row))
            if weight > 0:
                total += weight * float(values[row, column])
    return total


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    cells=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    size_px=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    stride_px=st.sampled_from([1.0, 2.0, 4.0, 8.0, 3.7, 0.5]),
    offset_px=st.sampled_from([0.0, 3.5, 1.5, -2.0, 0.3]),
)
def test_enlarging_is_bilinear_at_every_pixel_for_any_grid(
    seed, cells, size_px, stride_px, offset_px
):
    grid = CellGrid(stride_px, offset_px)
    values = np.random.default_rng(seed).random((cells[1], cells[0]), dtype=np.float32)
    enlarged = Upsampler(grid, cells, size_px)(values)
    expected = [
        [loop_bilinear(values, grid, x, y) for x in range(size_px[0])] for y in range(size_px[1])
    ]
    assert enlarged.dtype == np.float32
    np.testing.assert_allclose(enlarged, np.array(expected), atol=1e-6)


def test_a_map_that_holds_its_own_position_is_enlarged_to_the_pixel_positions():
    grid = CellGrid(8.0, 3.5)
    ys, xs = np.mgrid[:6, :9].astype(np.float32)
    enlarge = Upsampler(grid, (9, 6), (72, 48))
    rows, columns = np.mgrid[4:44, 4:68]
    np.testing.assert_allclose(enlarge(grid.to_px(xs))[4:44, 4:68], columns, atol=1e-5)
    np.testing.assert_allclose(enlarge(grid.to_px(ys))[4:44, 4:68], rows, atol=1e-5)


@pytest.mark.parametrize("stride_px", [1.0, 4.0, 3.7])
def test_a_map_is_read_alike_in_numpy_and_in_torch(generator, stride_px):
    values = torch.randn(1, 6, 9, 7, generator=generator)
    grid = CellGrid(stride_px, 1.5)
    points = np.random.default_rng(0).uniform(-5, 40, (60, 2))
    points[0] = grid.to_px(np.array([6.0, 8.0]))  # the last cell
    rows = values[0].permute(1, 2, 0).reshape(63, 6).numpy()
    found = sample_rows(rows, (7, 9), grid, points)
    expected = sample_map(values, grid, torch.from_numpy(points)[None])[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "dim"), [((5, 4), 8), ((37, 41), 128), ((90, 3), 60), ((2, 2), 9000)]
)
def test_equal_cells_are_equally_similar_wherever_they_are(generator, cells, dim):
    vector = torch.nn.functional.normalize(torch.randn(dim, generator=generator), dim=0)
    query = torch.nn.functional.normalize(torch.randn(1, dim, generator=generator), dim=1)
    values = vector[None, :, None, None].expand(1, dim, cells[1], cells[0])
    level = lay_out(DescriptorMap(values, CellGrid(4.0, 0.0)), (4 * cells[0], 4 * cells[1]))
    found = cell_similarity(level, query)
    np.testing.assert_allclose(found, float(query[0] @ vector), atol=1e-6)
    assert len(np.unique(found)) == 1


def test_enlarging_leaves_the_values_as_they_were():
    values = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    before = values.copy()
    Upsampler(CellGrid(4.0, 0.0), (5, 4), (20, 16))(values)
    np.testing.assert_array_equal(values, before)


def random_level(generator, height, width, dim, grid):
    values = torch.randn(1, dim, height, width, generator=generator)
    return DescriptorMap(torch.nn.functional.normalize(values, dim=1), grid)


@pytest.mark.parametrize("members", [1, 3])
def test_the_heat_map_of_several_grids_is_what_a_loop_makes(generator, members):
    size_px = (23, 17)
    maps = [
        random_level(generator, 5, 6, 4, CellGrid(4.0, 0.0)),
        random_level(generator, 2, 3, 4, CellGrid(8.0, 3.5)),
    ]
    queries = torch.nn.functional.normalize(torch.randn(members, 4, generator=generator), dim=1)
    levels = [lay_out(one, size_px) for one in maps]
    scores = [cell_similarity(level, queries) for level in levels]
    heat = similarity_map(levels, scores)

    best = []
    for one in maps:
        cells = np.full(one.values.shape[2:], -np.inf)
        for (row, column), _ in np.ndenumerate(cells):
            vector = one.values[0, :, row, column].numpy()
            cells[row, column] = max(float(q @ vector) for q in queries.numpy())
        best.append(cells)
    for y in range(size_px[1]):
        for x in range(size_px[0]):
            values = [
                loop_bilinear(cells, one.grid, x, y) for cells, one in zip(best, maps, strict=True)
            ]
            assert heat[y, x] == pytest.approx(max(values), abs=1e-6)


def test_a_laid_out_level_is_one_contiguous_matrix_that_reads_like_the_map(generator):
    one = random_level(generator, 5, 6, 4, CellGrid(4.0, 1.0))
    level = lay_out(one, (24, 20))
    assert level.vectors.is_contiguous()
    assert level.cells == (6, 5)
    torch.testing.assert_close(level.values, one.values)
    points = torch.rand(1, 9, 2, generator=generator) * 20
    torch.testing.assert_close(
        sample_map(level.values, level.grid, points), sample_map(one.values, one.grid, points)
    )
    assert level.values.data_ptr() == level.vectors.data_ptr()


def test_half_precision_maps_are_laid_out_in_float32(generator):
    one = random_level(generator, 2, 2, 4, CellGrid(4.0, 0.0))
    half = DescriptorMap(one.values.half(), one.grid)
    assert lay_out(half, (8, 8)).vectors.dtype == torch.float32


@settings(max_examples=100)
@given(
    top=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    bends=st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)),
    tilt=st.floats(-0.9, 0.9),
)
def test_the_top_of_a_paraboloid_is_found_exactly(top, bends, tilt):
    twist = tilt * math.sqrt(bends[0] * bends[1])  # below 1: still a hill
    ys, xs = np.mgrid[-1:2, -1:2]
    dx, dy = xs - top[0], ys - top[1]
    hill = 0.9 - bends[0] * dx**2 / 2 - bends[1] * dy**2 / 2 - twist * dx * dy
    np.testing.assert_allclose(refine_peaks(hill[None]), [top], atol=1e-9)


def test_a_top_outside_the_cell_is_held_at_half_a_cell():
    ys, xs = np.mgrid[-1:2, -1:2]
    hill = -((xs - 2.0) ** 2) - (ys + 0.9) ** 2
    np.testing.assert_allclose(refine_peaks(hill[None].astype(float)), [[0.5, -0.5]])


@pytest.mark.parametrize(
    "surface",
    [
        lambda x, y: 0 * x,
        lambda x, y: x + 2.0 * y,
        lambda x, y: x**2 + y**2,
        lambda x, y: x * y,
        lambda x, y: -(x**2) + y**2 + 0.1 * x,
    ],
    ids=["flat", "slope", "pit", "saddle", "ridge"],
)
def test_a_surface_without_a_top_does_not_move_the_peak(surface):
    ys, xs = np.mgrid[-1:2, -1:2].astype(float)
    np.testing.assert_array_equal(refine_peaks(surface(xs, ys)[None]), [[0.0, 0.0]])


def test_at_the_border_a_peak_moves_along_it_and_in_a_corner_it_stays():
    ys, xs = np.mgrid[-1:2, -1:2].astype(float)
    left = -((xs + 0.3) ** 2) - (ys - 0.25) ** 2
    top = -((xs + 0.3) ** 2) - (ys - 0.25) ** 2
    left[:, 0] = top[0, :] = np.nan
    np.testing.assert_allclose(refine_peaks(left[None]), [[0.0, 0.25]], atol=1e-9)
    np.testing.assert_allclose(refine_peaks(top[None]), [[-0.3, 0.0]], atol=1e-9)
    corner = left.copy()
    corner[2, :] = np.nan
    alone = np.full((3, 3), np.nan)
    alone[1, 1] = 0.7
    np.testing.assert_array_equal(refine_peaks(np.stack([corner, alone])), np.zeros((2, 2)))


def test_no_peaks_give_no_shifts():
    assert refine_peaks(np.zeros((0, 3, 3))).shape == (0, 2)


def read_between(around: np.ndarray, x: float, y: float) -> np.ndarray:
    """A 3 × 3 map around cell (0, 0), interpolated at (x, y) by a loop, of unit length."""
    total = np.zeros(around.shape[-1])
    for row in range(3):
        for column in range(3):
            share = max(0, 1 - abs(x - column + 1)) * max(0, 1 - abs(y - row + 1))
            total += share * around[row, column]
    return total / np.linalg.norm(total)


def unit_cells(seed: int, count: int) -> np.ndarray:
    """``(N, 3, 3, 16)`` cells that differ, but not from their neighbours as from anything."""
    random = np.random.default_rng(seed)
    cells = random.normal(size=(count, 1, 1, 16)) + random.normal(size=(count, 3, 3, 16))
    return (cells / np.linalg.norm(cells, axis=-1, keepdims=True)).astype(np.float32)


def find_peaks(around, outside, queries, reach):
    """:func:`peaks_between_cells` of cells in rows and columns: the shifts."""
    count, *_, dim = around.shape
    shift, _ = peaks_between_cells(
        around.reshape(count, 9, dim), outside.reshape(count, 9), queries, reach
    )
    return shift


def test_a_descriptor_is_found_where_it_was_read_between_cells():
    around = unit_cells(0, 200)
    places = np.random.default_rng(1).uniform(-0.95, 0.95, (200, 2))
    queries = np.stack(
        [read_between(a, *place) for a, place in zip(around, places, strict=True)]
    ).astype(np.float32)[:, None]
    outside = np.zeros((200, 3, 3), np.bool_)
    found = find_peaks(around, outside, queries, np.ones(200))
    assert np.abs(found - places).max() < 0.07
    near = find_peaks(around, outside, queries, np.full(200, 0.5))
    assert np.abs(near).max() <= 0.5


def test_the_place_between_cells_is_the_most_similar_one_a_loop_finds():
    around = unit_cells(2, 12)
    sets = unit_cells(3, 12)[:, 0, :2]  # two members each
    outside = np.zeros((12, 3, 3), np.bool_)
    found = find_peaks(around, outside, sets, np.ones(12))
    steps = np.linspace(-1, 1, 41)
    for cells, members, (x, y) in zip(around, sets, found, strict=True):
        best = max(float((members @ read_between(cells, u, v)).max()) for u in steps for v in steps)
        assert float((members @ read_between(cells, x, y)).max()) > best - 0.01
    _, value = peaks_between_cells(
        around.reshape(12, 9, 16), outside.reshape(12, 9), sets, np.ones(12)
    )
    for cells, members, (x, y), one in zip(around, sets, found, value, strict=True):
        there = read_between(cells, round(8 * x) / 8, round(8 * y) / 8)
        assert one == pytest.approx(float((members @ there).max()), abs=1e-5)


def test_places_between_cells_keep_inside_the_map_and_equal_cells_move_nothing():
    around = unit_cells(4, 50)
    queries = np.stack([read_between(one, -0.7, 0.4) for one in around]).astype(np.float32)
    outside = np.zeros((50, 3, 3), np.bool_)
    outside[:, :, 0] = True
    found = find_peaks(around, outside, queries[:, None], np.ones(50))
    assert (found[:, 0] >= 0).all()
    outside[:] = True
    outside[:, 1, 1] = False
    alone = find_peaks(around, outside, queries[:, None], np.ones(50))
    np.testing.assert_array_equal(alone, np.zeros((50, 2)))
    for cells in (np.zeros_like(around), np.broadcast_to(around[:1, :1, :1], around.shape)):
        whole = np.zeros((50, 3, 3), np.bool_)
        flat = find_peaks(cells, whole, queries[:, None], np.ones(50))
        np.testing.assert_array_equal(flat, np.zeros((50, 2)))
    none = find_peaks(around[:0], outside[:0], queries[:0, None], np.ones(0))
    assert none.shape == (0, 2)
