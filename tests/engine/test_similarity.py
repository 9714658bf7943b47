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
