"""Answers for all cells of an image at once: winning members, ends of cycles, and errors.

The cells asked are those of the first level.  Where asking every one would take too long, every
second, third, ... in both directions is asked, and the answer is a map that much smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.pairs import ImagePair
from engine.errors import DescSpaceError
from engine.geometry.coords import CellGrid
from engine.geometry.homography import local_scale
from engine.inspection.described import Described, Points, implied_turn_deg
from engine.inspection.match_table import SEARCH_BUDGET_BYTES, blocks
from engine.inspection.probe import opened_truth
from engine.inspection.requests import ErrorsAnswer, Extent, ScalarMap, WinnersAnswer
from engine.matching.nearest import Nearest, nearest
from engine.progress import JobContext, Stage
from engine.vocabulary import Side

# Multiplications one map may take: some five seconds on two cores, as long on a small GPU.
_WORK = 2e11
_WORK_ON_ACCELERATOR = 1e13


def find_winners(
    pair: ImagePair, side: Side, asked: Described, other: Described, context: JobContext
) -> WinnersAnswer:
    """Which members of the two sets met, for the cells of one image.

    Scale and angle are those of image b against image a, in original pixels, whatever the side;
    NaN where there is nothing to describe.

    Args:
        pair: for the truth.
        side: the image whose cells are asked.
        asked: its maps.
        other: maps of the other image.
        context: receives progress, and is checked for cancelling.

    Raises:
        JobCancelled: ``context.cancel`` was raised.
    """
    cells = _choose_cells(asked, other)
    pairs = [[(one.member, two.member) for two in other.levels] for one in asked.levels]
    # Members compare working images, which were resized by factors of their own.
    resized = math.sqrt(math.prod(asked.resize.scale_xy) / math.prod(other.resize.scale_xy))
    growth = np.array([[one.scale / two.scale for one, two in row] for row in pairs]) * resized
    turn_deg = np.array([[implied_turn_deg(one, two) for one, two in row] for row in pairs])
    scale, angle_deg = np.empty((2, len(cells.points)))
    with torch.inference_mode():
        for part in blocks(len(cells.points), Stage.COMPARING_MEMBERS, context):
            queries = asked.describe_points(cells.points[part], device=other.device)
            found = _search(queries, other, context)
            won = found.query_member.cpu().numpy(), found.candidate_member.cpu().numpy()
            something = _holds_something(queries)
            scale[part] = np.where(something, np.log2(growth[won]), np.nan)
            angle_deg[part] = np.where(something, turn_deg[won], np.nan)
    sign = 1
    if side == "b":  # so far a against b
        sign = -1
        angle_deg = np.where(angle_deg == 180, angle_deg, -angle_deg)
    true_scale = None
    truth = opened_truth(pair, side, asked, other)
    h_other_from_asked = None if truth is None else truth.matrix_from(side)
    if h_other_from_asked is not None:
        true_log2 = np.log2(local_scale(h_other_from_asked, cells.points))
        true_scale = cells.as_map(sign * true_log2, "log2")
    return WinnersAnswer(
        scale=cells.as_map(sign * scale, "log2"),
        angle=cells.as_map(angle_deg, "°"),
        true_scale=true_scale,
    )


def find_cycle_errors(asked: Described, other: Described, context: JobContext) -> ScalarMap:
    """How far from where it began each cell of one image ends, matched there and back.

    Both matches are the places that a probe finds.  In original pixels; NaN where there is nothing
    to describe.

    Args:
        asked: maps of the image whose cells are asked.
        other: maps of the other image.
        context: receives progress, and is checked for cancelling.

    Raises:
        JobCancelled: ``context.cancel`` was raised.
    """
    cells = _choose_cells(asked, other)
    count = len(cells.points)
    matches, something = np.empty((count, 2)), np.empty(count, np.bool_)
    with torch.inference_mode():
        for part in blocks(count, Stage.MATCHING_THERE, context):
            queries = asked.describe_points(cells.points[part], device=other.device)
            matches[part] = _search_places(queries, cells.points[part], asked, other, context)
            something[part] = _holds_something(queries)
        # Cells without texture stay at cells' centres, and many share one; it is asked once.
        places, of_cell = np.unique(matches, axis=0, return_inverse=True)
        ends = np.empty((len(places), 2))
        for part in blocks(len(places), Stage.MATCHING_BACK, context):
            queries = other.describe_points(places[part], device=asked.device)
            ends[part] = _search_places(queries, places[part], other, asked, context)
    error = np.linalg.norm(ends[of_cell] - cells.points, axis=1)
    return cells.as_map(np.where(something, error, np.nan), "px")


def find_errors(
    pair: ImagePair, side: Side, asked: Described, other: Described, context: JobContext
) -> ErrorsAnswer:
    """How far the match of each cell of one image is from its true point.

    The match is the place that a probe finds.  Cells whose true point is not seen are not matched.

    Args:
        pair: with a truth that is known all over its images.
        side: the image whose cells are asked.
        asked: its maps.
        other: maps of the other image.
        context: receives progress, and is checked for cancelling.

    Raises:
        DescSpaceError: there is no such truth, or it cannot be read.
        JobCancelled: ``context.cancel`` was raised.
    """
    truth = opened_truth(pair, side, asked, other)
    if truth is None or truth.listed_px is not None:
        raise DescSpaceError(
            "An error map needs a truth that is known all over the images, and this pair has "
            + ("none." if truth is None else f"a list ({truth.kind}).")
        )
    cells = _choose_cells(asked, other)
    true = truth.locate(side, cells.points)
    seen = np.flatnonzero(true.seen)
    error = np.full(len(cells.points), np.nan)
    with torch.inference_mode():
        for part in blocks(len(seen), Stage.MATCHING, context):
            mine = seen[part]
            queries = asked.describe_points(cells.points[mine], device=other.device)
            found = _search_places(queries, cells.points[mine], asked, other, context)
            gap = np.linalg.norm(found - true.points_px[mine], axis=1)
            error[mine] = np.where(_holds_something(queries), gap, np.nan)
    return ErrorsAnswer(
        errors=cells.as_map(error, "px"), states=true.visibility.reshape(cells.shape)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The cells that are asked.

    Attributes:
        points: ``(N, 2)`` in original pixels, row by row.
        shape: (rows, columns).
        extent: the area they stand for.
    """

    points: Points
    shape: tuple[int, int]
    extent: Extent

    def as_map(self, values: NDArray[np.float64], unit: str) -> ScalarMap:
        return ScalarMap(values.reshape(self.shape).astype(np.float32), self.extent, unit)


def _choose_cells(asked: Described, other: Described) -> _Cells:
    level = asked.levels[0]
    width, height = level.cells
    candidates = sum(len(vectors) for vectors in other.vectors)
    work = width * height * len(asked.levels) * candidates * asked.info.dim
    limit = _WORK if asked.device.type == "cpu" else _WORK_ON_ACCELERATOR
    step = max(1, math.ceil(math.sqrt(work / limit)))
    # The middle one of every ``step`` cells, so that the thinned grid covers the same area.
    first = min((step - 1) / 2, (min(width, height) - 1) / 2)
    first = float(math.floor(first))
    columns, rows = np.arange(first, width, step), np.arange(first, height, step)
    grid = CellGrid(level.grid.stride_px * step, float(level.grid.to_px(first)))
    working = level.grid.to_px(np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2))
    return _Cells(
        points=asked.resize.backward(working),
        shape=(len(rows), len(columns)),
        extent=asked.extent_of(grid, (len(columns), len(rows))),
    )


def _search_places(
    queries: Tensor, points: Points, asked: Described, other: Described, context: JobContext
) -> Points:
    """``(N, 2)`` where the sets of points ``(N, 2)`` are in the other image, as a probe tells."""
    found = _search(queries, other, context, asks=other.asks)
    return other.find_between_cells(
        queries,
        found.index,
        best=len(found.index),
        refined=asked.has_texture(points),
        reaching=found.reaching,
    ).places_px


def _search(
    queries: Tensor, map_: Described, context: JobContext, *, asks: list[Tensor] | None = None
) -> Nearest:
    return nearest(
        queries,
        map_.vectors,
        budget_bytes=SEARCH_BUDGET_BYTES,
        asks=asks,
        cancel=context.cancel,
    )


def _holds_something(queries: Tensor) -> NDArray[np.bool_]:
    """``(L, N, D)`` sets: ``(N,)`` False where all members are zero."""
    something: NDArray[np.bool_] = (queries != 0).any(dim=-1).any(dim=0).cpu().numpy()
    return something
