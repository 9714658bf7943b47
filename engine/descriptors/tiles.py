"""Describing a large image in tiles, with the same answer as in one piece.

A cell of a convolutional network depends on pixels up to a fixed distance, its reach.  Each tile is
described with that much of the image around it, and the cells around are cut off; the tiles begin
where the network's grids do, so their cells lie where the whole image's would.  What is left is the
rounding of convolutions of other sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.descriptors.base import Levels


def describe_in_tiles(
    describe: Callable[[Tensor], Levels],
    images: Tensor,
    *,
    parts: int,
    reach_px: int,
    period_px: int,
    check: Callable[[], None],
) -> Levels:
    """Describe images tile by tile.

    Args:
        describe: describes images of any size.
        images: ``(B, 3, H, W)``.
        parts: into how many tiles each side is cut, at most.
        reach_px: no descriptor depends on a pixel farther from its cell.
        period_px: an image moved by this many pixels gives the same map, moved; a multiple of all
            strides.
        check: called before each tile and may raise.

    Returns:
        As ``describe`` of the whole images.
    """
    margin_px = _up(reach_px, period_px)
    height, width = images.shape[2:]
    rows: list[Levels] = []
    for top, bottom in _cuts(height, parts, period_px):
        row: list[Levels] = []
        for left, right in _cuts(width, parts, period_px):
            check()
            from_y, from_x = max(0, top - margin_px), max(0, left - margin_px)
            tile = images[:, :, from_y : bottom + margin_px, from_x : right + margin_px]
            cut = []
            for level in describe(tile):
                stride_px = level.grid.stride_px
                own_rows = _own_cells(top, bottom, from_y, stride_px, height)
                own_columns = _own_cells(left, right, from_x, stride_px, width)
                # A copy, else the whole tile's map would stay in memory.
                cut.append(replace(level, values=level.values[:, :, own_rows, own_columns].clone()))
            row.append(tuple(cut))
        rows.append(_joined(row, dim=3))
    return _joined(rows, dim=2)


def tile_count(size_px: tuple[int, int], parts: int, period_px: int) -> int:
    """How many tiles an image of (width, height) is cut into: ``parts²`` or fewer."""
    return math.prod(len(list(_cuts(side, parts, period_px))) for side in size_px)


def largest_tile_px(size_px: int, parts: int, reach_px: int, period_px: int) -> int:
    """The longest side that a tile of an image's side has, with what is around it."""
    step_px = _up(size_px / parts, period_px)
    return min(size_px, step_px + 2 * _up(reach_px, period_px))


def _joined(pieces: Sequence[Levels], dim: int) -> Levels:
    return tuple(
        replace(levels[0], values=torch.cat([level.values for level in levels], dim=dim))
        for levels in zip(*pieces, strict=True)
    )


def _cuts(size_px: int, parts: int, period_px: int) -> Iterator[tuple[int, int]]:
    """Where tiles begin and end along one side: at multiples of the period, the last at the end."""
    step_px = _up(size_px / parts, period_px)
    for begin in range(0, size_px, step_px):
        yield begin, min(begin + step_px, size_px)


def _own_cells(begin: int, end: int, described_from: int, stride_px: float, size_px: int) -> slice:
    """The cells of a tile that are its own."""
    first = round((begin - described_from) / stride_px)
    return slice(first, None if end == size_px else first + round((end - begin) / stride_px))


def _up(number: float, multiple_of: int) -> int:
    return math.ceil(number / multiple_of) * multiple_of
