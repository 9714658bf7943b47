"""Pixel centres, cells, resizes and sampling: each against a construction with a known answer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.geometry.coords import CellGrid, Resize, inside
from engine.geometry.sampling import sample_map

sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000))


# ---- cells


@pytest.mark.parametrize(
    ("stride_px", "offset_px"), [(8.0, 3.5), (4.0, 0.0), (1.0, 0.0), (2.5, -1)]
)
def test_cell_i_is_centred_on_offset_plus_stride_times_i(stride_px, offset_px):
    grid = CellGrid(stride_px, offset_px)
    cells = np.arange(5.0)
    np.testing.assert_allclose(grid.to_px(cells), [offset_px + stride_px * i for i in range(5)])
    np.testing.assert_allclose(grid.to_cells(grid.to_px(cells)), cells)
    assert grid.to_px(0) == offset_px
    assert grid.to_cells(offset_px) == 0


def test_cells_work_alike_on_numbers_arrays_and_tensors():
    grid = CellGrid(8.0, 3.5)
    assert grid.to_px(2) == 19.5
    torch.testing.assert_close(grid.to_px(torch.tensor([2.0, 0.5])), torch.tensor([19.5, 7.5]))
    torch.testing.assert_close(grid.to_cells(torch.tensor([19.5])), torch.tensor([2.0]))


@pytest.mark.parametrize(
    ("stride_px", "offset_px"),
    [(0, 0), (-1, 0), (float("nan"), 0), (float("inf"), 0), (1, float("nan")), (1, float("inf"))],
)
def test_an_impossible_grid_is_refused(stride_px, offset_px):
    with pytest.raises(ValueError, match="no grid has stride"):
        CellGrid(stride_px, offset_px)


# ---- resizes


@given(sizes, sizes)
def test_a_resize_maps_the_area_of_the_image_onto_the_area_of_the_new_one(before, after):
    resize = Resize(before, after)
    edges = np.array([[-0.5, -0.5], [before[0] - 0.5, before[1] - 0.5]])
    expected = np.array([[-0.5, -0.5], [after[0] - 0.5, after[1] - 0.5]])
    np.testing.assert_allclose(resize.forward(edges), expected, atol=1e-9)
    np.testing.assert_allclose(resize.backward(expected), edges, atol=1e-9)


@given(sizes, sizes, st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_matrix_forward_and_backward_are_one_and_the_same_map(before, after, x, y):
    resize = Resize(before, after)
    forward = resize.forward(np.array([x, y]))
    np.testing.assert_allclose((resize.matrix() @ [x, y, 1])[:2], forward, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(resize.backward(forward), [x, y], rtol=1e-9, atol=1e-6)


def test_halving_puts_the_first_pixel_between_the_first_two():
    """Pixel 0 of the half-size image covers pixels 0 and 1, whose middle is 0.5."""
    resize = Resize((640, 480), (320, 240))
    np.testing.assert_allclose(resize.backward(np.zeros(2)), [0.5, 0.5])
    assert resize.scale_xy == (0.5, 0.5)


def test_points_keep_their_shape_and_become_float64():
    resize = Resize((10, 10), (20, 5))
    points = np.zeros((2, 3, 2), np.float32)
    assert resize.forward(points).shape == (2, 3, 2)
    assert resize.forward(points).dtype == resize.backward(points).dtype == np.float64


def test_a_carried_homography_sends_resized_points_where_the_original_ones_went():
    h_b_from_a = np.array([[1.1, 0.1, -9], [-0.2, 0.9, 30], [1e-4, 2e-4, 1]])
    resize_a, resize_b = Resize((1000, 700), (640, 448)), Resize((800, 1200), (427, 640))
    carried = resize_a.homography(resize_b, h_b_from_a)
    for point in np.random.default_rng(0).uniform(0, 700, (20, 2)):
        u, v, w = h_b_from_a @ [*point, 1]
        expected = resize_b.forward(np.array([u / w, v / w]))
        u, v, w = carried @ [*resize_a.forward(point), 1]
        np.testing.assert_allclose([u / w, v / w], expected)


# ---- inside


def test_inside_ends_at_the_border_pixels_centres():
    points = np.array([[0, 0], [9, 4], [9.01, 4], [-0.01, 0], [5, 4.01], [np.nan, 1], [np.inf, 1]])
    np.testing.assert_array_equal(
        inside(points, (10, 5)), [True, True, False, False, False, False, False]
    )


def test_a_margin_moves_the_border_inwards():
    points = np.array([[2, 2], [7, 2], [1.9, 2], [7.1, 2]])
    np.testing.assert_array_equal(inside(points, (10, 5), margin_px=2), [True, True, False, False])
    assert inside(np.zeros((4, 3, 2)), (1, 1)).shape == (4, 3)
    assert not inside(np.zeros(2), (5, 5), margin_px=3)


# ---- sampling


def position_map(grid: CellGrid, width: int, height: int, dtype=torch.float32) -> torch.Tensor:
    """``(1, 2, height, width)``: each cell holds its own pixel position."""
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return grid.to_px(torch.stack([xs, ys]).to(dtype))[None]


@pytest.mark.parametrize("grid", [CellGrid(8.0, 3.5), CellGrid(4.0, 0.0), CellGrid(1.0, 0.0)])
@pytest.mark.parametrize("size", [(12, 10), (7, 13), (2, 2)])
def test_a_map_that_holds_its_own_position_is_read_back_exactly(grid, size):
    values = position_map(grid, *size)
    high = grid.to_px(torch.tensor([size[0] - 1.0, size[1] - 1.0]))
    generator = torch.Generator().manual_seed(0)
    share = torch.rand((1, 50, 2), generator=generator)
    asked = grid.offset_px + share * (high - grid.offset_px)
    torch.testing.assert_close(sample_map(values, grid, asked), asked, atol=1e-4, rtol=0)


def test_outside_the_outermost_cells_the_nearest_cell_is_read():
    grid = CellGrid(8.0, 3.5)
    values = position_map(grid, 5, 4)
    asked = torch.tensor([[[-100.0, -100.0], [1000.0, 10.0], [0.0, 0.0]]])
    expected = torch.tensor([[[3.5, 3.5], [35.5, 10.0], [3.5, 3.5]]])
    torch.testing.assert_close(sample_map(values, grid, asked), expected, atol=1e-4, rtol=0)


def test_a_point_between_four_cells_is_their_bilinear_mix():
    values = torch.tensor([[[[1.0, 3.0], [10.0, 30.0]]]])
    asked = torch.tensor([[[0.25, 0.5], [1.0, 0.0]]])
    top, bottom = 0.75 * 1 + 0.25 * 3, 0.75 * 10 + 0.25 * 30
    expected = torch.tensor([[[(top + bottom) / 2], [3.0]]])
    torch.testing.assert_close(sample_map(values, CellGrid(1.0, 0.0), asked), expected)


def test_each_image_of_a_batch_is_read_at_its_own_points():
    grid = CellGrid(2.0, 0.0)
    values = torch.cat([position_map(grid, 6, 6), -position_map(grid, 6, 6)])
    asked = torch.tensor([[[1.0, 2.0]], [[7.0, 3.0]]])
    torch.testing.assert_close(
        sample_map(values, grid, asked), torch.tensor([[[1.0, 2.0]], [[-7.0, -3.0]]])
    )


def test_no_points_and_one_cell_are_no_trouble():
    grid = CellGrid(8.0, 3.5)
    assert sample_map(position_map(grid, 5, 4), grid, torch.empty(1, 0, 2)).shape == (1, 0, 2)
    single = torch.full((1, 3, 1, 1), 7.0)
    read = sample_map(single, grid, torch.tensor([[[0.0, 0.0], [50.0, 9.0]]]))
    torch.testing.assert_close(read, torch.full((1, 2, 3), 7.0))


def test_points_in_double_precision_may_ask_a_map_in_half():
    grid = CellGrid(4.0, 0.0)
    values = position_map(grid, 8, 8, torch.bfloat16)
    asked = torch.tensor([[[4.0, 8.0]]], dtype=torch.float64)
    read = sample_map(values, grid, asked)
    assert read.dtype == torch.bfloat16
    torch.testing.assert_close(read.double(), asked, atol=0.25, rtol=0)


def test_half_precision_maps_are_read_as_finely_as_they_are_stored():
    """Sampling places must not be rounded to the map's precision: at x = 300 of 320 cells,
    bfloat16 would be a whole cell off."""
    values = torch.zeros(1, 1, 1, 320, dtype=torch.bfloat16)
    values[..., 301] = 1
    read = sample_map(values, CellGrid(1.0, 0.0), torch.tensor([[[300.25, 0.0], [301.0, 0.0]]]))
    torch.testing.assert_close(read[0, :, 0].float(), torch.tensor([0.25, 1.0]), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("size", "other", "same"),
    [
        ((1920, 1440), (256, 192), True),
        ((1297, 840), (324, 210), True),  # 324.25 × 210
        ((640, 480), (640, 480), True),
        ((640, 480), (640, 481), False),
        ((1296, 968), (640, 480), False),  # ScanNet's photos and its depth
        ((640, 480), (480, 640), False),
    ],
)
def test_a_resize_keeps_the_shape_as_far_as_whole_pixels_can(size, other, same):
    assert Resize(size, other).keeps_shape is same
    assert Resize(other, size).keeps_shape is same
