"""Views of what both images show of a plane, held against homographies that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Member, Part
from engine.descriptors.members import describe_member, make_view, member_matrix, view_growth
from engine.descriptors.shared_plane import SharedViews, find_shared_views
from engine.geometry.coords import CellGrid
from engine.geometry.homography import warp_points
from engine.geometry.sampling import warp_images

SIZE_A, SIZE_B = (320, 240), (300, 200)
TILTED = np.array([[1.1, 0.15, -20.0], [-0.1, 0.9, 12.0], [6e-4, -3e-4, 1.0]])
CLOSE_UP = np.array([[0.4, 0.05, 60.0], [-0.05, 0.4, 50.0], [0.0, 0.0, 1.0]])  # image a is one


def matches(matrix: NDArray[np.float64], *, wrong: int = 0) -> tuple[Tensor, Tensor]:
    """150 points of image a that image b shows, some of them matched wrongly."""
    random = np.random.default_rng(0)
    points = random.uniform((0, 0), SIZE_A, (4000, 2))
    found = warp_points(matrix, points)
    seen = ((found >= 0) & (found <= np.array(SIZE_B) - 1)).all(axis=1)
    points, found = points[seen][:150], found[seen][:150]
    found[:wrong] = random.uniform((0, 0), SIZE_B, (wrong, 2))
    return torch.from_numpy(points), torch.from_numpy(found)


def shared(matrix: NDArray[np.float64], *, wrong: int = 0) -> SharedViews | None:
    return find_shared_views(*matches(matrix, wrong=wrong), size_a_px=SIZE_A, size_b_px=SIZE_B)


@pytest.mark.parametrize("wrong", [0, 100])
def test_image_a_is_seen_as_image_b_sees_it(wrong: int):
    views = shared(TILTED, wrong=wrong)
    assert views is not None
    assert views.of_b is None
    matrix, size_px = member_matrix(views.of_a, SIZE_A)
    assert size_px == SIZE_B
    points, found = matches(TILTED)
    moved = torch.from_numpy(warp_points(matrix.numpy(), points.numpy()))
    torch.testing.assert_close(moved, found, atol=0.01, rtol=0)


def test_the_view_of_image_a_is_image_b():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 17, 22, generator=generator)
    image_a = torch.nn.functional.interpolate(coarse, size=(240, 320), mode="bicubic")
    matrix = torch.from_numpy(TILTED)[None]
    image_b = warp_images(image_a, matrix, SIZE_B, outside="edge")
    views = shared(TILTED)
    assert views is not None
    torch.testing.assert_close(make_view(image_a, views.of_a).images, image_b, atol=1e-3, rtol=0)


def test_both_are_cut_to_what_the_close_up_shows():
    views = shared(CLOSE_UP)
    assert views is not None
    assert views.of_b is not None
    for member, size_px in ((views.of_a, SIZE_A), (views.of_b, SIZE_B)):
        assert member_matrix(member, size_px)[1] == (141, 113)
    matrix_a, _ = member_matrix(views.of_a, SIZE_A)
    matrix_b, _ = member_matrix(views.of_b, SIZE_B)
    edges = warp_points(np.linalg.inv(matrix_b.numpy()), np.array([[-0.5, -0.5], [140.05, 112.05]]))
    np.testing.assert_allclose(edges, [[59.5, 33.55], [200.05, 146.1]], atol=0.02)
    points, found = matches(CLOSE_UP)
    np.testing.assert_allclose(
        warp_points(matrix_a.numpy(), points.numpy()),
        warp_points(matrix_b.numpy(), found.numpy()),
        atol=0.01,
    )
    assert view_growth(views.of_b, SIZE_B) == pytest.approx(
        math.sqrt(140.55 * 112.55 / (300 * 200)), rel=1e-3
    )


@pytest.mark.parametrize("leans", [4e-4, 8e-4])
def test_there_are_none_where_both_show_the_same_unless_in_perspective(leans: float):
    matrix = np.eye(3)
    matrix[2, 0] = leans
    views = find_shared_views(*matches(matrix), size_a_px=SIZE_A, size_b_px=SIZE_A)
    assert (views is not None) == (leans > 5e-4)


@pytest.mark.parametrize(
    ("matrix", "wrong"),
    [
        (TILTED, 125),  # nearly all matches are wrong
        (np.array([[-1.0, 0.0, 299.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), 0),  # mirrored
        (np.array([[0.05, 0.0, 100.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), 0),  # from its edge
        (np.array([[0.1, 0.0, 100.0], [0.0, 0.1, 90.0], [0.0, 0.0, 1.0]]), 0),  # a tenth as large
    ],
)
def test_there_are_no_views_of_what_is_no_plane_or_not_worthwhile(
    matrix: NDArray[np.float64], wrong: int
):
    assert shared(matrix, wrong=wrong) is None


def test_few_matches_are_not_enough():
    few = tuple(one[:29] for one in matches(TILTED))
    assert find_shared_views(*few, size_a_px=SIZE_A, size_b_px=SIZE_B) is None


def test_cells_outside_a_part_are_empty_and_those_inside_are_of_unit_length():
    def describe(images: Tensor) -> DescriptorMap:
        values = images[:, :, ::4, ::4] + 1
        return DescriptorMap(values / values.norm(dim=1, keepdim=True), CellGrid(4.0, 0.0))

    member = Member(part=Part((100.0, 60.0), (81.0, 41.0)))
    level = describe_member(torch.rand(1, 3, 240, 320), member, describe)
    assert level.member == member
    lengths = level.values[0].norm(dim=0)
    rows, columns = lengths.nonzero(as_tuple=True)
    assert (int(columns.min()) * 4, int(columns.max()) * 4) == (60, 140)
    assert (int(rows.min()) * 4, int(rows.max()) * 4) == (40, 80)
    torch.testing.assert_close(lengths[rows, columns], torch.ones(len(rows)))


def test_what_lies_behind_a_view_in_perspective_is_not_shown():
    def describe(images: Tensor) -> DescriptorMap:
        return DescriptorMap(torch.ones_like(images[:, :1, ::4, ::4]), CellGrid(4.0, 0.0))

    member = Member(part=Part((250.0, 120.0), (400.0, 400.0), (0.008, 0.0)))
    level = describe_member(torch.rand(1, 1, 240, 320), member, describe)
    shown = level.values[0, 0].any(dim=0).nonzero()[:, 0] * 4
    assert int(shown.min()) > 250 - 1 / 0.008  # where the horizon is
    assert int(shown.max()) == 316
