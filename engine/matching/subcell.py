"""Where between the cells of a map a query is, and how far that can be trusted.

A search ends at a place: a cell, or a place of some grid.  Around it the map is read as everywhere,
interpolated bilinearly and brought to unit length, and asked how similar it is to the query:

1. at places a step apart, as far as the place may move: the most similar one is taken.  A step is
   a pixel, or a quarter of a cell if that is more;
2. at 7 × 7 places around that one, which get the weights exp(100 · similarity), or sharper ones
   where the map changes slowly.  Their weighted mean is the new place (a *soft argmax*);
3. once more around the new place, so that the mean does not lean towards the first window.

Where the map is the same all around, or holds nothing, a place stays as it is.

The *uncertainty* of a place is the spread of its last weights: their standard deviation along an
axis, the root of the mean of both variances.

No descriptor is interpolated for that.  The product of a query with a sum of cells is the sum of
the products, and the squared length of the sum is made from the products of neighbouring cells,
which are those of the map (:mod:`engine.matching.neighbours`).  So the products of a query with
the cells around its start serve all places of all three steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import CellGrid
from engine.matching.abreast import abreast
from engine.matching.neighbours import Neighbours
from engine.matching.similarity import ROUNDING

SHARPNESS: Final = 100.0
"""Weights are exp(SHARPNESS * similarity), or sharper where the map changes slowly."""

LEAST_CONTRAST: Final = 4.0
"""Logarithm of the largest weight over a weight of mean similarity, at least: on a slowly changing
map, the mean would otherwise be that of the window, and the spread the window's."""

_STEP_PX: Final = 1.0
_STEPS_A_CELL: Final = 4
_WINDOW: Final = 3  # steps to either side
_FLAT: Final = 1e-4  # no place is told from others whose similarity is within this on the average
_TINY: Final = 1e-9  # of a cell
_LEAST_SQUARED_LENGTH: Final = 1e-6
_STARTS_AT_ONCE: Final = 1024
_WORTH_A_THREAD: Final = 256

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """Places between cells.

    Attributes:
        places_px: ``(N, 2)`` in pixels of the image that was described.
        uncertainty_px: ``(N,)`` of each along an axis; a cell where nothing was refined, and never
            more than that.
    """

    places_px: Numbers
    uncertainty_px: Numbers


def refine_places(
    neighbours: Neighbours,
    grid: CellGrid,
    queries: NDArray[np.float32],
    start_px: Numbers,
    *,
    reach_px: float | Numbers,
) -> Refined:
    """Refine the places at which queries were found.

    No place leaves the map, or goes farther beyond its outermost cells than it was.

    Args:
        neighbours: the map.
        grid: placement of its cells in the image that was described.
        queries: ``(N, D)`` unit vectors; of sets, the members that were found.
        start_px: ``(N, 2)`` where they were found.
        reach_px: how far from there a place may be along either axis; one for all, or ``(N,)``.
    """
    each = np.arange(len(queries))
    return refine_best(neighbours, grid, queries, start_px, each, reach_px=reach_px)


def refine_best(
    neighbours: Neighbours,
    grid: CellGrid,
    queries: NDArray[np.float32],
    starts_px: Numbers,
    owner: NDArray[np.int64],
    *,
    reach_px: float | Numbers,
) -> Refined:
    """Refine from the best of several starts for each query.

    Args:
        neighbours: as the other arguments, that of :func:`refine_places`.
        grid: of the map.
        queries: ``(N, D)``.
        starts_px: ``(M, 2)``, at least one for each query.
        owner: ``(M,)`` ascending, the query that starts there.  Of starts that lead to equally
            similar places the first counts.
        reach_px: one for all, or ``(N,)``.
    """
    count = len(queries)
    if count == 0:
        return Refined(np.empty((0, 2)), np.empty(0))
    reach = np.broadcast_to(np.asarray(reach_px, np.float64) / grid.stride_px, count)
    window, farthest = _steps(grid, _WINDOW), float(reach.max(initial=0.0))
    steps = _steps(grid, math.floor(farthest * grid.stride_px / _step_px(grid) + _TINY))
    start, first = grid.to_cells(starts_px), np.searchsorted(owner, np.arange(count + 1))
    far_cells = farthest + float(window[-1])
    all_patches = _read_patches(neighbours, queries, owner, start, far_cells)

    def refine(part: slice) -> tuple[Numbers, Numbers]:
        mine = slice(int(first[part.start]), int(first[part.stop]))
        origin, asking = start[mine], owner[mine]
        patches = all_patches.take(mine)
        place, similarity = _most_similar(patches, origin, reach[asking], steps)
        if len(origin) > part.stop - part.start:
            chosen = _first_best(similarity, first[part] - mine.start)
            patches, origin, place = patches.take(chosen), origin[chosen], place[chosen]
        far = reach[part, None]
        for _ in range(2):
            places, surface = _surface(patches, place, window)
            mean, deviation, told = _weigh(places, surface)
            place = np.clip(mean, origin - far, origin + far)
        cells = np.where(told[:, None], place, origin)
        return cells, np.where(told, np.minimum(deviation, 1.0), 1.0)

    at_once = max(1, _STARTS_AT_ONCE * count // max(1, len(start)))
    parts = abreast(refine, count, least=_WORTH_A_THREAD, at_once=at_once)
    cells, spread = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Refined(grid.to_px(cells), grid.stride_px * spread)


def _first_best(similarity: Numbers, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(N,)`` the highest of ``(M,)``, the first of equal ones, from each of ``(N,)`` on."""
    similarity = similarity.copy()
    similarity[first] += ROUNDING
    counts = np.diff(first, append=len(similarity))
    best = np.flatnonzero(similarity == np.maximum.reduceat(similarity, first).repeat(counts))
    found: NDArray[np.int64] = best[np.searchsorted(best, first)]
    return found


def _most_similar(
    patches: _Patches, start: Numbers, reach: Numbers, steps: Numbers
) -> tuple[Numbers, Numbers]:
    """The first step: the most similar places, a step apart from each other.

    Args:
        patches: of ``N`` queries.
        start: ``(N, 2)`` in cells.
        reach: ``(N,)`` how far from there a place may be, in cells.
        steps: ``(P,)`` from the start to the places, along either axis.

    Returns:
        ``(N, 2)`` places in cells, of equally similar ones the nearest to ``start``, and ``(N,)``
        similarities there; -inf where the map holds nothing.
    """
    places, surface = _surface(patches, start, steps)
    far = np.maximum(np.abs(steps)[:, None], np.abs(steps)) - _TINY
    surface[far > reach[:, None, None]] = -np.inf
    # Between equally similar places no rounding decides: beside cells that hold nothing there are
    # several, and where all are, the start stays.
    squared = np.square(steps)
    away = (squared[:, None] + squared) / max(_TINY, 2 * squared[-1])
    flat = surface.reshape(len(surface), -1)
    each, middle = np.arange(len(flat)), len(steps) ** 2 // 2
    chosen = (surface - ROUNDING * away).reshape(flat.shape).argmax(axis=1)
    chosen[flat[each, chosen] <= flat[:, middle] + ROUNDING] = middle
    rows, columns = np.divmod(chosen, len(steps))
    return np.stack([places[each, 0, columns], places[each, 1, rows]], axis=1), flat[each, chosen]


def _step_px(grid: CellGrid) -> float:
    return max(_STEP_PX, grid.stride_px / _STEPS_A_CELL)


def _steps(grid: CellGrid, count: int) -> Numbers:
    """``(2 * count + 1,)`` from a place to those around it along an axis, in cells."""
    return np.arange(-count, count + 1, dtype=np.float64) * (_step_px(grid) / grid.stride_px)


@dataclass(frozen=True, slots=True, eq=False)
class _Patches:
    """What is known of the cells around the start of each of ``N`` queries: ``K`` by ``K`` cells.

    Attributes:
        cells: ``(N, 2, K)`` columns and rows of the cells; those outside the map are filled with
            its border.
        low: ``(N, 2, 1)`` the smallest column and row that a place may have.
        high: ``(N, 2, 1)`` the largest.
        own: ``(N, K, K)`` products (row, column) of the query with the cells.
        pairs: ``(N, 2K - 1, 2K - 1)`` what a squared length is made of: products of each cell with
            itself and its neighbours, see :class:`~engine.matching.neighbours.NeighbourProducts`.
    """

    cells: Numbers
    low: Numbers
    high: Numbers
    own: NDArray[np.float32]
    pairs: NDArray[np.float32]

    def take(self, chosen: NDArray[np.int64] | slice) -> _Patches:
        """The patches of some queries."""
        cells, low, high = self.cells[chosen], self.low[chosen], self.high[chosen]
        return _Patches(cells, low, high, self.own[chosen], self.pairs[chosen])


def _read_patches(
    neighbours: Neighbours,
    queries: NDArray[np.float32],
    asking: NDArray[np.int64],
    start: Numbers,
    far_cells: float,
) -> _Patches:
    """The patches from which all places up to so many cells from starts are read.

    Args:
        neighbours: the map.
        queries: ``(N, D)``.
        asking: ``(M,)`` which query each patch is for.
        start: ``(M, 2)`` in cells.
        far_cells: how far from there.
    """
    height, width = neighbours.vectors.shape[:2]
    last = np.array([[width - 1.0], [height - 1.0]])
    begin, end = np.floor(start - far_cells + _TINY), np.ceil(start + far_cells - _TINY)
    edge = int((end - begin).max(initial=0.0)) + 1
    cells = begin[:, :, None] + np.arange(float(edge))
    columns, rows = np.clip(cells, 0, last).astype(np.int64).swapaxes(0, 1)
    there = (rows[:, :, None] * width + columns[:, None]).reshape(len(start), edge * edge)
    first_column, first_row = begin.astype(np.int64).T
    return _Patches(
        cells,
        low=np.minimum(start[:, :, None], 0) - _TINY,
        high=np.maximum(start[:, :, None], last) + _TINY,
        own=neighbours.products_with(queries, asking, there).reshape(len(start), edge, edge),
        pairs=neighbours.products.windows(first_row, first_column, edge),
    )


def _surface(patches: _Patches, centre: Numbers, steps: Numbers) -> tuple[Numbers, Numbers]:
    """How similar the map is to queries at places around centres.

    Args:
        patches: of ``N`` queries.
        centre: ``(N, 2)`` in cells.
        steps: ``(P,)`` from the centre to the places along either axis, ascending.

    Returns:
        ``(N, 2, P)`` x and y of the places' columns and rows, and ``(N, P, P)`` (row, column)
        similarities; -inf outside the map, and where it holds nothing.
    """
    place = centre[:, :, None] + steps
    outside = (place < patches.low) | (place > patches.high)
    share = np.maximum(0, 1 - np.abs(place[:, :, :, None] - patches.cells[:, :, None]))
    each = np.empty((*share.shape[:3], 2 * share.shape[3] - 1))
    np.square(share, out=each[..., ::2])
    np.multiply(2 * share[..., :-1], share[..., 1:], out=each[..., 1::2])
    product = share[:, 1] @ patches.own @ share[:, 0].swapaxes(1, 2)
    squared = each[:, 1] @ patches.pairs @ each[:, 0].swapaxes(1, 2)
    lost = squared < _LEAST_SQUARED_LENGTH
    lost |= outside[:, 1, :, None]
    lost |= outside[:, 0, None]
    surface = product / np.sqrt(np.maximum(squared, _LEAST_SQUARED_LENGTH))
    surface[lost] = -np.inf
    return place, surface


def _weigh(places: Numbers, surface: Numbers) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """The soft argmax of ``(N, P, P)`` similarities at ``(N, 2, P)`` x and y.

    Returns:
        ``(N, 2)`` weighted mean, ``(N,)`` spread, and ``(N,)`` False where the surface tells none.
    """
    known = surface > -np.inf
    highest = surface.max(axis=(1, 2), initial=-1.0)
    count = np.maximum(known.sum(axis=(1, 2)), 1)
    contrast = highest - surface.sum(axis=(1, 2), where=known) / count
    told = contrast > _FLAT
    sharpness = np.maximum(SHARPNESS, LEAST_CONTRAST / np.maximum(contrast, _FLAT))
    weights = np.exp(sharpness[:, None, None] * (surface - highest[:, None, None]))
    weights[~told] = 1.0
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    along = np.stack([weights.sum(axis=1), weights.sum(axis=2)], axis=1)  # columns, rows
    mean = np.vecdot(along, places)
    variances = np.vecdot(along, np.square(places - mean[:, :, None]))
    return mean, np.sqrt(variances.mean(axis=1)), told
