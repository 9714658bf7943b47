"""Maps finer than a network makes them, from shifted copies of the image.

A network of stride ``s`` describes the image once for every shift by a multiple of ``s / K``.  The
cells of these ``K`` × ``K`` maps, put between each other, make a map of stride ``s / K``.  Nothing
is interpolated: each cell is what the network makes of the image around the cell's own place.

For convolutions and poolings this is the map that the same network has with its strides replaced by
dilation (à trous; M. Holschneider et al., 1989), except near borders: a shifted copy continues with
the image's border pixels where the network would pad.  Attention sees the same content in all
copies, cut into other patches, so there it is a finer map but not one that any other network makes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import Levels
from engine.errors import ConfigError
from engine.geometry.coords import CellGrid

DescribeLevels = Callable[[Tensor], Levels]
"""``(B, 3, H, W)`` -> levels, of unit length or not."""

_SETTING: Final = "denser"


def check_denser(denser: int, grids: Sequence[CellGrid]) -> None:
    """Refuse a factor by which a map cannot be made finer.

    Args:
        denser: by how much the strides are divided; 1 changes nothing.
        grids: of all levels.

    Raises:
        ConfigError: it does not divide all strides into whole pixels.
    """
    if denser < 1:
        raise ConfigError(_SETTING, f"{denser} is not a factor of a stride; 1 changes nothing")
    for stride_px in (grid.stride_px for grid in grids):
        if denser > 1 and stride_px != round(stride_px):
            raise ConfigError(
                _SETTING,
                f"the image is shifted by whole pixels, and cells that are {stride_px:g} px apart "
                "allow only 1",
            )
        if denser > 1 and round(stride_px) % denser:
            fitting = [one for one in range(1, round(stride_px) + 1) if round(stride_px) % one == 0]
            raise ConfigError(
                _SETTING,
                f"{denser} does not divide the stride of {stride_px:g} px; possible are "
                f"{', '.join(map(str, fitting))}",
            )


def denser_grid(grid: CellGrid, denser: int) -> CellGrid:
    """Where the cells of the finer map lie.

    Every ``denser``-th cell is one of the coarse map.  The finer map begins with the cells between
    that still lie in the image before the coarse map's first one.
    """
    step_px = grid.stride_px / denser
    return CellGrid(step_px, grid.offset_px - _before(grid, denser) * step_px)


def denser_period_px(period_px: int, grids: Sequence[CellGrid], denser: int) -> int:
    """The shift period of the finer descriptor.

    Args:
        period_px: of the coarse one.
        grids: of its levels.
        denser: by how much the strides are divided.
    """
    # A map that was enlarged repeats itself only after several cells, and goes on doing so.
    same = all(grid.stride_px == period_px for grid in grids)
    return period_px // denser if same else period_px


def describe_denser(
    describe: DescribeLevels, images: Tensor, *, denser: int, check: Callable[[], None]
) -> Levels:
    """Describe images by maps that are finer in both directions.

    Memory is bounded by one description and the finer maps; time grows with the square of
    ``denser``.  Levels of different strides are all divided, each by its own shifts.

    Args:
        describe: called once for every pair of shifts, with images of the size of ``images``.
        images: ``(B, 3, H, W)``.
        denser: by how much the strides are divided.
        check: called before each description and may raise.

    Returns:
        A level for each of ``describe``, on :func:`denser_grid`.  Cells that would lie outside the
        image are left out.  Where the stride does not divide the image's size, up to
        ``denser / 2`` cells at the right and the bottom are missing, as the coarse map ends there.

    Raises:
        ConfigError: ``denser`` does not divide all strides into whole pixels.
    """
    check()
    first = describe(images)
    grids = [level.grid for level in first]
    check_denser(denser, grids)
    if denser == 1:
        return first
    height, width = images.shape[2:]
    finer = [denser_grid(grid, denser) for grid in grids]
    results = []
    for level, grid in zip(first, finer, strict=True):
        batch, dim, rows, columns = level.values.shape
        size = min(rows * denser, grid.count(height)), min(columns * denser, grid.count(width))
        results.append(level.values.new_empty(batch, dim, *size))
    # Which cell of the finer map the first cell is, for each shift and level.
    places = [_places(grid, denser) for grid in grids]
    shifts = sorted({shift for one in places for shift in one})
    for down, across in itertools.product(shifts, shifts):
        wanted = [
            (number, one[down], one[across])
            for number, one in enumerate(places)
            if down in one and across in one
        ]
        if not wanted:
            continue
        if (down, across) == (0, 0):
            levels = first
        else:
            check()
            levels = describe(shifted(images, down, across))
        for number, row, column in wanted:
            cells = results[number][:, :, row::denser, column::denser]
            rows, columns = cells.shape[2:]
            cells.copy_(levels[number].values[:, :, :rows, :columns])
    return tuple(
        replace(level, values=values, grid=grid)
        for level, values, grid in zip(first, results, finer, strict=True)
    )


def _before(grid: CellGrid, denser: int) -> int:
    """How many finer cells lie in the image before the coarse map's first cell."""
    return max(0, min(denser - 1, math.floor(grid.offset_px * denser / grid.stride_px)))


def _places(grid: CellGrid, denser: int) -> dict[int, int]:
    """Shift in px -> which finer cell the first cell of an image that is shifted by it becomes.

    An image is shifted by ``d`` if its pixel ``x`` shows what was at ``x + d``.
    """
    step_px = round(grid.stride_px) // denser
    before = _before(grid, denser)
    return {(place - before) * step_px: place for place in range(denser)}


def shifted(images: Tensor, down_px: int, across_px: int) -> Tensor:
    """Images of the same size that begin so far down and right; border pixels fill the rest."""
    height, width = images.shape[2:]
    left, top = max(0, -across_px), max(0, -down_px)
    inside = images[
        :,
        :,
        max(0, down_px) : height + min(0, down_px),
        max(0, across_px) : width + min(0, across_px),
    ]
    padding = (left, max(0, across_px), top, max(0, down_px))
    return functional.pad(inside, padding, mode="replicate")
