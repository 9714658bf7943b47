"""Members of a set: changed images and their maps laid back, held against known constructions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import DescriptorMap, Member
from engine.descriptors.member_steps import member_from, tilted
from engine.descriptors.members import (
    _blur_for,
    describe_member,
    make_view,
    member_matrix,
    to_view,
)
from engine.descriptors.tensors import unit_length
from engine.geometry.coords import CellGrid

PIXELS = CellGrid(1.0, 0.0)


def colours(images: Tensor) -> DescriptorMap:
    """Every pixel described by its own colour."""
    return DescriptorMap(unit_length(images), PIXELS)


def smooth_image(height: int, width: int, *, seed: int = 0) -> Tensor:
    """``(1, 3, height, width)`` without anything finer than 16 pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 16 + 2, width // 16 + 2, generator=generator)
    return functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


def test_an_image_that_is_not_changed_is_itself():
    image = smooth_image(40, 61)
    assert torch.equal(make_view(image, Member()).images, image)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_go_counter_clockwise_and_lose_nothing(quarters: int):
    image = smooth_image(48, 64)
    view = make_view(image, Member(angle_deg=90.0 * quarters))
    torch.testing.assert_close(
        view.images, torch.rot90(image, quarters, dims=(2, 3)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    "member",
    [
        Member(0.5),
        Member(0.7, 30.0),
        Member(1.4, 200.0),
        Member(0.8, 45.0, tilt=2.0, tilt_deg=20.0),
    ],
)
def test_all_of_the_image_is_in_its_view_and_the_view_is_no_larger(member: Member):
    width, height = 90, 50
    matrix, size_px = member_matrix(member, (width, height))
    corners = torch.tensor(
        [[x, y, 1.0] for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)],
        dtype=torch.float64,
    )
    moved = (corners @ matrix.T)[:, :2]
    high = torch.tensor(size_px, dtype=torch.float64) - 0.5
    assert (moved >= -0.5 - 1e-9).all()
    assert (moved <= high + 1e-9).all()
    torch.testing.assert_close(moved.amin(dim=0), torch.full((2,), -0.5, dtype=torch.float64))
    assert (high - moved.amax(dim=0) < 1).all()


def test_a_tilt_divides_lengths_along_its_direction_alone():
    matrix, _ = member_matrix(Member(tilt=2.0, tilt_deg=30.0), (100, 100))
    way = math.radians(30.0)
    along = torch.tensor([math.cos(way), -math.sin(way)], dtype=torch.float64)
    across = torch.tensor([math.sin(way), math.cos(way)], dtype=torch.float64)
    torch.testing.assert_close(matrix[:2, :2] @ along, along / 2)
    torch.testing.assert_close(matrix[:2, :2] @ across, across)


def test_fine_texture_becomes_grey_when_it_shrinks_instead_of_noise():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = ((rows + columns) % 2).float().expand(1, 3, 64, 64).contiguous()
    small = make_view(board, Member(0.4, 20.0)).images[..., 8:-8, 8:-8]
    assert (small - 0.5).abs().max() < 0.05


def test_a_point_that_shrinks_is_blurred_alike_in_all_directions():
    point = torch.zeros(1, 2, 65, 65)
    point[:, :, 32, 32] = 1
    for turn_deg in (0.0, 33.0):
        linear = member_matrix(Member(0.25, turn_deg), (65, 65))[0][:2, :2]
        blurred = _blur_for(point, linear)
        # Pixels have a deviation of half a pixel, four times as wide before the image shrinks.
        variance = 0.5**2 * (4**2 - 1)
        axis = torch.arange(-32, 33, dtype=torch.float64)
        squared = axis[:, None].square() + axis.square()
        expected = torch.exp(-0.5 * squared / variance)
        expected[(axis.abs() > 5)[:, None] | (axis.abs() > 5)] = 0  # 2.5 deviations, rounded up
        expected = (expected / expected.sum()).float().expand_as(blurred)
        torch.testing.assert_close(blurred, expected, rtol=0.0, atol=1e-8)


def test_a_squeeze_blurs_along_itself_alone():
    columns = torch.arange(64)
    stripes = (columns % 2).float().expand(1, 3, 64, 64)
    along = make_view(stripes.contiguous(), Member(tilt=3.0, tilt_deg=0.0)).images
    across = make_view(stripes.contiguous(), Member(tilt=3.0, tilt_deg=90.0)).images
    assert along[..., 4:-4, 4:-4].std() < 0.05
    assert across[..., 4:-4, 4:-4].std() > 0.4


@pytest.mark.parametrize(
    "member",
    [
        Member(0.5),
        Member(1.3),
        Member(1.0, 37.0),
        Member(0.8, 300.0),
        Member(1.2, 15.0, tilt=1.5, tilt_deg=70.0),
    ],
)
def test_a_map_laid_back_describes_the_places_of_the_image(member: Member):
    image = smooth_image(96, 128)
    level = describe_member(image, member, colours)
    assert level.member == member
    rows, columns = level.values.shape[2:]
    xs = level.grid.to_px(torch.arange(columns, dtype=torch.float64))
    ys = level.grid.to_px(torch.arange(rows, dtype=torch.float64))
    inner_x, inner_y = (xs > 6) & (xs < 121), (ys > 6) & (ys < 89)
    xs, ys = xs[inner_x], ys[inner_y]
    # The truth, read by another way of interpolating.
    places = torch.stack(torch.meshgrid(2 * xs / 127 - 1, 2 * ys / 95 - 1, indexing="xy"), -1)
    truth = functional.grid_sample(image, places.float()[None], align_corners=True)
    found = level.values[:, :, inner_y][..., inner_x]
    similarity = (unit_length(truth) * found).sum(dim=1)
    assert similarity.min() > 0.995


def test_points_go_into_the_view_where_the_view_shows_them():
    image = torch.zeros(1, 1, 60, 80)
    image[..., 29:32, 49:52] = 1
    view = make_view(image, Member(1.0, 75.0))
    x, y = to_view(view, torch.tensor([[50.0, 30.0]], dtype=torch.float64))[0].tolist()
    shown = view.images[0, 0]
    total = shown.sum()
    rows = torch.arange(shown.shape[0], dtype=torch.float32)
    columns = torch.arange(shown.shape[1], dtype=torch.float32)
    assert float((shown.sum(dim=0) * columns).sum() / total) == pytest.approx(x, abs=0.05)
    assert float((shown.sum(dim=1) * rows).sum() / total) == pytest.approx(y, abs=0.05)


# ---- steps between members ---------------------------------------------------------------------


def area(member: Member) -> float:
    matrix, _ = member_matrix(member, (100, 100))
    return float(torch.linalg.det(matrix[:2, :2]))


def test_tilted_members_keep_their_area_and_go_all_around():
    found = tilted(Member(0.5, 30.0), (1.4, 2.0))
    assert len(found) == 4 + 6
    assert len(set(found)) == len(found)
    for member in found:
        assert area(member) == pytest.approx(0.25)
        assert 0 <= member.tilt_deg < 180


@pytest.mark.parametrize(
    "member", [Member(0.5, 200.0), Member(1.3, 20.0, 2.5, 130.0), Member(2.0, 340.0, 1.2, 5.0)]
)
def test_a_linear_map_is_the_member_that_makes_it(member: Member):
    linear = member_matrix(member, (64, 48))[0][:2, :2]
    found = member_from(linear)
    torch.testing.assert_close(member_matrix(found, (64, 48))[0][:2, :2], linear)
    assert (found.scale, found.tilt) == pytest.approx((member.scale, member.tilt))
    assert 0 <= found.angle_deg < 360
    assert 0 <= found.tilt_deg < 180


@pytest.mark.parametrize("member", [Member(0.25), Member(0.4, 20.0), Member(0.5, 10.0, 2.0, 30.0)])
def test_reduced_arithmetic_draws_the_same_view(member: Member) -> None:
    """A ramp shows by its values where they were read: places rounded to 8 bits are 2 px off."""
    ramp = (torch.arange(640) / 640).expand(1, 1, 480, 640).contiguous()
    exact = make_view(ramp, member).images
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drawn = make_view(ramp, member).images
    torch.testing.assert_close(drawn, exact, rtol=0.0, atol=0.0)
