"""A finer map is the one of the same network with its strides replaced by dilation."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors.base import DescriptorMap, Levels, Member
from engine.descriptors.denser import (
    check_denser,
    denser_grid,
    denser_period_px,
    describe_denser,
)
from engine.descriptors.networks import make_network
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.superpoint import SuperPoint, SuperPointNetwork
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, JobCancelled
from engine.geometry.coords import CellGrid


def noise(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def nothing() -> None:
    """Let everything go on."""


class Strided(nn.Module):
    """Convolutions and poolings that shrink, by layers of (kind, kernel, stride).

    With ``padded`` kernels they put cell ``i`` of a map of stride ``s`` on ``s i``; without, with
    kernels as wide as their strides, into the middle of its ``s`` pixels.
    """

    def __init__(self, layers: tuple[tuple[str, int, int], ...]) -> None:
        super().__init__()
        self.layers = layers
        channels, made = 3, []
        generator = torch.Generator().manual_seed(7)
        for kind, kernel, _ in layers:
            wide = channels if kind == "pool" else channels + 3
            weight = torch.randn(wide, channels, kernel, kernel, generator=generator)
            made.append(nn.Parameter(weight / (kernel * math.sqrt(channels))))
            channels = wide
        self.weights = nn.ParameterList(made)

    def forward(self, images: Tensor, *, dilated: bool = False) -> Tensor:
        """``dilated``: a cell for every pixel, the first one where the strided map has it."""
        values, apart = images, 1
        for (kind, kernel, stride), weight in zip(self.layers, self.weights, strict=True):
            padding = kernel // 2 if kernel % 2 else 0
            gap, step = (apart, 1) if dilated else (1, stride)
            if kind == "pool":
                values = functional.max_pool2d(
                    values, kernel, step, padding=0 if dilated else padding, dilation=gap
                )
                lost = padding * gap if dilated else 0
                if lost:  # a pooling pads by half its kernel at most; what is lost is put back
                    values = functional.pad(values, (lost,) * 4)
            else:
                values = functional.conv2d(
                    values, weight, stride=step, padding=padding * gap, dilation=gap
                ).tanh()
            apart *= stride
        return values


CENTRED = (("conv", 3, 2), ("conv", 3, 1), ("pool", 2, 2), ("conv", 3, 1), ("pool", 2, 2))
ON_CORNERS = (("conv", 5, 2), ("pool", 3, 2), ("conv", 3, 1), ("conv", 3, 2))
IN_MIDDLES = (("conv", 2, 2), ("pool", 2, 2), ("conv", 3, 1), ("conv", 2, 2))
# Reach of these networks, by hand, with room to spare.
REACH_PX = 36


def offset_px(layers: tuple[tuple[str, int, int], ...]) -> float:
    """By hand: a layer with an even kernel and no padding moves cells by half a cell."""
    found, apart = 0.0, 1
    for _, kernel, stride in layers:
        found += 0.0 if kernel % 2 else apart * (kernel - 1) / 2
        apart *= stride
    return found


@pytest.mark.parametrize("layers", [ON_CORNERS, IN_MIDDLES, CENTRED])
@pytest.mark.parametrize("denser", [2, 4, 8])
@pytest.mark.parametrize("size", [(128, 144), (125, 139)])
def test_it_is_the_dilated_network_away_from_borders(
    layers: tuple[tuple[str, int, int], ...], denser: int, size: tuple[int, int]
) -> None:
    network = Strided(layers).eval()
    grid = CellGrid(8.0, offset_px(layers))
    images = noise(*size, batch=2)
    with torch.inference_mode():
        twin = network(images, dilated=True)
        (level,) = describe_denser(
            lambda some: (DescriptorMap(network(some), grid),),
            images,
            denser=denser,
            check=nothing,
        )
    assert level.grid.stride_px == 8 / denser
    compared = 0
    for row in range(level.values.shape[2]):
        for column in range(level.values.shape[3]):
            y_px, x_px = level.grid.to_px(row), level.grid.to_px(column)
            if min(y_px, x_px, size[0] - 1 - y_px, size[1] - 1 - x_px) < REACH_PX:
                continue
            # The twin has a cell for every pixel, cell 0 where the strided map has its own.
            place = int(y_px - grid.offset_px), int(x_px - grid.offset_px)
            found, wanted = level.values[:, :, row, column], twin[:, :, place[0], place[1]]
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
            compared += 1
    least = (size[0] - 2 * REACH_PX) * (size[1] - 2 * REACH_PX) / level.grid.stride_px**2
    assert compared >= 0.7 * least


def test_offsets_of_the_test_networks_are_the_two_that_occur() -> None:
    assert [offset_px(one) for one in (ON_CORNERS, IN_MIDDLES)] == [0.0, 3.5]


def painted(grid: CellGrid) -> tuple[list[Tensor], Callable[[Tensor], Levels]]:
    """A descriptor whose cells are the numbers that an image has at their places, rounded down."""
    seen: list[Tensor] = []

    def describe(images: Tensor) -> Levels:
        seen.append(images)
        counts = [grid.count(size) for size in images.shape[2:]]
        at = [(grid.offset_px + grid.stride_px * torch.arange(n)).floor().long() for n in counts]
        return (DescriptorMap(images[:, :, at[0][:, None], at[1]], grid),)

    return seen, describe


@pytest.mark.parametrize("offset", [0.0, 3.5, 7.0, 2.0])
@pytest.mark.parametrize("denser", [1, 2, 4, 8])
def test_cells_lie_where_the_grid_says_in_order_and_inside(offset: float, denser: int) -> None:
    """The image holds its own coordinates, so every cell tells where it is."""
    height, width = 50, 61
    ys, xs = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    images = torch.stack([xs, ys, xs + ys])[None]
    seen, describe = painted(CellGrid(8.0, offset))
    (level,) = describe_denser(describe, images, denser=denser, check=nothing)
    assert len(seen) == denser**2
    assert {tuple(one.shape) for one in seen} == {tuple(images.shape)}
    rows, columns = level.values.shape[2:]
    wanted_x = level.grid.to_px(torch.arange(columns)).floor()
    wanted_y = level.grid.to_px(torch.arange(rows)).floor()
    torch.testing.assert_close(level.values[0, 0], wanted_x.expand(rows, columns))
    torch.testing.assert_close(level.values[0, 1], wanted_y[:, None].expand(rows, columns))
    assert 0 <= level.grid.offset_px < 8
    assert level.grid.to_px(columns - 1) <= width - 1
    assert level.grid.to_px(rows - 1) <= height - 1
    if denser > 1:
        assert level.grid.offset_px < 8 / denser or offset > 7 - 8 / denser
        missing = width - 1 - level.grid.to_px(columns - 1), height - 1 - level.grid.to_px(rows - 1)
        assert max(missing) < 8 / denser * (denser / 2 + 1) or offset == 7.0


def test_borders_continue_with_the_images_border_pixels() -> None:
    seen, describe = painted(CellGrid(4.0, 1.5))
    images = noise(17, 18)
    describe_denser(describe, images, denser=4, check=nothing)
    rows, columns = torch.arange(17), torch.arange(18)
    wanted = [
        images[:, :, (rows + down).clamp(0, 16)[:, None], (columns + across).clamp(0, 17)]
        for down in (-1, 0, 1, 2)
        for across in (-1, 0, 1, 2)
    ]
    for one in seen:
        assert sum(torch.equal(one, other) for other in wanted) == 1


@pytest.mark.parametrize("name", ["msnet_v0", "msnet_v1", "superpoint"])
def test_every_cell_of_the_coarse_map_is_one_of_the_finer(name: str) -> None:
    descriptor = (
        SuperPoint(make_network(SuperPointNetwork, None))
        if name == "superpoint"
        else build_descriptor(make_spec(name, {"untrained": True}))
    )
    images = noise(96, 104)
    with torch.inference_mode():
        coarse = descriptor.describe(images)
        finer = describe_denser(descriptor.describe, images, denser=2, check=nothing)
    assert len(finer) == len(coarse)
    for one, other in zip(coarse, finer, strict=True):
        assert other.member == one.member
        skipped = round((one.grid.offset_px - other.grid.offset_px) / other.grid.stride_px)
        again = other.values[:, :, skipped::2, skipped::2]
        rows, columns = again.shape[2:]
        assert rows >= one.values.shape[2] - 1
        assert torch.equal(again, one.values[:, :, :rows, :columns])


def test_levels_of_different_strides_are_each_divided() -> None:
    fine, coarse = Strided(IN_MIDDLES[:2]).eval(), Strided(IN_MIDDLES).eval()
    grids = CellGrid(4.0, 1.5), CellGrid(8.0, 3.5)

    def describe(images: Tensor) -> Levels:
        return (
            DescriptorMap(unit_length(fine(images)), grids[0]),
            DescriptorMap(unit_length(coarse(images)), grids[1], Member(scale=0.5)),
        )

    images = noise(64, 72)
    with torch.inference_mode():
        both = describe_denser(describe, images, denser=4, check=nothing)
        for number in (0, 1):
            (alone,) = describe_denser(
                lambda some, number=number: (describe(some)[number],),
                images,
                denser=4,
                check=nothing,
            )
            assert both[number].grid == alone.grid == denser_grid(grids[number], 4)
            assert torch.equal(both[number].values, alone.values)
    assert both[1].member == Member(scale=0.5)


@pytest.mark.parametrize(
    ("denser", "stride_px", "words"),
    [
        (3, 8.0, "denser: 3 does not divide the stride of 8 px; possible are 1, 2, 4, 8."),
        (0, 8.0, "denser: 0 is not a factor of a stride; 1 changes nothing."),
        (2, 16.5, "whole pixels, and cells that are 16.5 px apart allow only 1."),
    ],
)
def test_what_does_not_divide_a_stride_is_refused_in_a_sentence(
    denser: int, stride_px: float, words: str
) -> None:
    grids = [CellGrid(24.0, 0.0), CellGrid(stride_px, 0.0)]
    with pytest.raises(ConfigError, match=words):
        check_denser(denser, grids)
    with pytest.raises(ConfigError, match=words):
        describe_denser(
            lambda images: (DescriptorMap(images, grids[1]),),
            noise(32, 32),
            denser=denser,
            check=nothing,
        )


def test_it_can_be_stopped_between_two_shifts() -> None:
    seen, describe = painted(CellGrid(4.0, 0.0))

    def check() -> None:
        if len(seen) == 3:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        describe_denser(describe, noise(32, 32), denser=4, check=check)
    assert len(seen) == 3


@pytest.mark.parametrize(("name", "wanted_px"), [("msnet_v0", 1), ("msnet_v1", 8)])
def test_an_image_moved_by_the_period_gives_the_same_map_moved(name: str, wanted_px: int) -> None:
    descriptor = build_descriptor(make_spec(name, {"untrained": True}))
    picture = noise(176 + wanted_px, 176 + wanted_px)
    with torch.inference_mode():
        grids = [level.grid for level in descriptor.describe(noise(32, 32))]
        assert denser_period_px(descriptor.shift_period_px, grids, 4) == wanted_px
        here, there = (
            describe_denser(descriptor.describe, images, denser=4, check=nothing)
            for images in (picture[:, :, :176, :176], picture[:, :, wanted_px:, wanted_px:])
        )
    for one, other in zip(here, there, strict=True):
        assert one.grid.stride_px == 1
        inside = slice(76, 84)  # farther than the reach, 61 px, from all borders
        moved = slice(76 + wanted_px, 84 + wanted_px)
        torch.testing.assert_close(
            other.values[:, :, inside, inside], one.values[:, :, moved, moved], atol=1e-5, rtol=0
        )
