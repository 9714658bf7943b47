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
the products, and the squared length of the sum is made from the products of neighbouring cells: so
a patch of 4 × 4 cells serves all places, where cells are 4 px apart or more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.geometry.coords import CellGrid

SHARPNESS: Final = 100.0
"""Weights are exp(SHARPNESS * similarity), or sharper where the map changes slowly."""

LEAST_CONTRAST: Final = 4.0
"""Logarithm of the largest weight over a weight of mean similarity, at least: on a slowly changing
map, the mean would otherwise be that of the window, and the spread the window's."""

_STEP_PX: Final = 1.0
_STEPS_A_CELL: Final = 4
_WINDOW: Final = 3  # steps to either side
_FLAT: Final = 1e-4  # no place is told from others whose similarity is within this on the average
_SAME: Final = 1e-6  # rounding
_TINY: Final = 1e-9  # of a cell
_LEAST_SQUARED_LENGTH: Final = 1e-6
_READ_AT_ONCE: Final = 1 << 22  # numbers of descriptors, of all queries together

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
    vectors: Tensor,
    grid: CellGrid,
    queries: NDArray[np.float32],
    start_px: Numbers,
    *,
    reach_px: float | Numbers,
) -> Refined:
    """Refine the places at which queries were found.

    No place leaves the map, or goes farther beyond its outermost cells than it was.

    Args:
        vectors: ``(H', W', D)`` a map, of unit length or zero; any strides, any device.
        grid: placement of its cells in the image that was described.
        queries: ``(N, D)`` unit vectors; of sets, the members that were found.
        start_px: ``(N, 2)`` where they were found.
        reach_px: how far from there a place may be along either axis; one for all, or ``(N,)``.
    """
    best_px, _ = most_similar_places(vectors, grid, queries, start_px, reach_px=reach_px)
    return soft_places(vectors, grid, queries, start_px, best_px, reach_px=reach_px)


def most_similar_places(
    vectors: Tensor,
    grid: CellGrid,
    queries: NDArray[np.float32],
    start_px: Numbers,
    *,
    reach_px: float | Numbers,
) -> tuple[Numbers, Numbers]:
    """The first step: the most similar places, a step apart from each other.

    The arguments are those of :func:`refine_places`.

    Returns:
        ``(N, 2)`` places, ``start_px`` where none is more similar, and ``(N,)`` similarities there;
        -inf where the map holds nothing.
    """
    reach = np.broadcast_to(np.asarray(reach_px, np.float64) / grid.stride_px, len(start_px))
    count = math.floor(reach.max(initial=0.0) * grid.stride_px / _step_px(grid) + _TINY)
    steps = _steps(grid, count)
    far = np.maximum(np.abs(steps)[:, None], np.abs(steps)) - _TINY
    start = grid.to_cells(start_px)
    found, similarity = start.copy(), np.empty(len(start))
    middle = len(steps) ** 2 // 2
    for part in _parts(len(start), vectors.shape[2], steps):
        places, surface = _surface(vectors, queries[part], start[part], start[part], steps)
        surface[far > reach[part, None, None]] = -np.inf
        flat = surface.reshape(len(surface), -1)
        each = np.arange(len(flat))
        chosen = flat.argmax(axis=1)
        # Where all places are equally similar, no rounding decides.
        chosen[flat[each, chosen] <= flat[:, middle] + _SAME] = middle
        rows, columns = np.divmod(chosen, len(steps))
        found[part] = np.stack([places[each, 0, columns], places[each, 1, rows]], axis=1)
        similarity[part] = flat[each, chosen]
    return grid.to_px(found), similarity


def soft_places(
    vectors: Tensor,
    grid: CellGrid,
    queries: NDArray[np.float32],
    start_px: Numbers,
    near_px: Numbers,
    *,
    reach_px: float | Numbers,
) -> Refined:
    """The second and third step: the weighted means around the most similar places.

    The arguments are those of :func:`refine_places`, and ``near_px``, ``(N, 2)``: the most similar
    places near ``start_px``.
    """
    steps = _steps(grid, _WINDOW)
    reach = np.broadcast_to(np.asarray(reach_px, np.float64) / grid.stride_px, len(start_px))
    start, cells = grid.to_cells(start_px), grid.to_cells(near_px)
    spread = np.empty(len(start))
    for part in _parts(len(start), vectors.shape[2], steps):
        mine, origin, far = cells[part], start[part], reach[part, None]
        for _ in range(2):
            places, surface = _surface(vectors, queries[part], mine, origin, steps)
            mean, deviation, told = _weigh(places, surface)
            mine = np.clip(mean, origin - far, origin + far)
        cells[part] = np.where(told[:, None], mine, origin)
        spread[part] = np.where(told, np.minimum(deviation, 1.0), 1.0)
    return Refined(grid.to_px(cells), grid.stride_px * spread)


def _step_px(grid: CellGrid) -> float:
    return max(_STEP_PX, grid.stride_px / _STEPS_A_CELL)


def _steps(grid: CellGrid, count: int) -> Numbers:
    """``(2 * count + 1,)`` from a place to those around it along an axis, in cells."""
    return np.arange(-count, count + 1, dtype=np.float64) * (_step_px(grid) / grid.stride_px)


def _parts(count: int, dim: int, steps: Numbers) -> list[slice]:
    """Cut queries into parts whose patches of cells fit into the memory."""
    at_once = max(1, _READ_AT_ONCE // (_edge(steps) ** 2 * max(1, dim)))
    return [slice(begin, begin + at_once) for begin in range(0, count, at_once)]


def _edge(steps: Numbers) -> int:
    """Cells along an axis that are needed to read these steps from anywhere."""
    return math.ceil(float(steps[-1] - steps[0]) - _TINY) + 2


def _surface(
    vectors: Tensor,
    queries: NDArray[np.float32],
    centre: Numbers,
    start: Numbers,
    steps: Numbers,
) -> tuple[Numbers, Numbers]:
    """How similar the map is to queries at places around centres.

    The map and the queries are those of :func:`refine_places`; ``start`` and ``centre`` are
    ``(N, 2)`` in cells, and ``steps`` is ``(P,)`` from the centre to the places, along either axis,
    ascending.

    Returns:
        ``(N, 2, P)`` x and y of the places' columns and rows, and ``(N, P, P)`` (row, column)
        similarities; -inf outside the map, and where it holds nothing.
    """
    edge = _edge(steps)
    last = np.array([[vectors.shape[1] - 1.0], [vectors.shape[0] - 1.0]])
    low, high = np.minimum(start[:, :, None], 0), np.maximum(start[:, :, None], last)
    first = np.floor(centre + steps[0])[:, :, None]
    cells = first + np.arange(edge)
    columns, rows = np.clip(cells, 0, last).astype(np.int64).swapaxes(0, 1)
    patch = _read(vectors, rows, columns)
    place = centre[:, :, None] + steps
    outside = (place < low - _TINY) | (place > high + _TINY)
    share = np.maximum(0, 1 - np.abs(place[:, :, :, None] - cells[:, :, None]))
    share_x, share_y = share.swapaxes(0, 1)
    next_x, next_y = (share[..., :-1] * share[..., 1:]).swapaxes(0, 1)
    turned_x, turned_next_x = (one.transpose(0, 2, 1) for one in (share_x, next_x))
    square_x = np.square(turned_x)

    product = share_y @ np.vecdot(patch, queries[:, None, None]) @ turned_x
    right = np.vecdot(patch[:, :, :-1], patch[:, :, 1:])
    down = np.vecdot(patch[:, :-1], patch[:, 1:])
    across = np.vecdot(patch[:, :-1, :-1], patch[:, 1:, 1:])
    across = across + np.vecdot(patch[:, :-1, 1:], patch[:, 1:, :-1])
    squared = np.square(share_y) @ (np.vecdot(patch, patch) @ square_x + 2 * right @ turned_next_x)
    squared += 2 * next_y @ (down @ square_x + across @ turned_next_x)
    lost = outside[:, 1, :, None] | outside[:, 0, None] | (squared < _LEAST_SQUARED_LENGTH)
    surface = product / np.sqrt(np.maximum(squared, _LEAST_SQUARED_LENGTH))
    surface[lost] = -np.inf
    return place, surface


def _read(
    vectors: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """``(N, K, K, D)`` the cells of ``(N, K)`` rows and ``(N, K)`` columns."""
    if vectors.device.type == "cpu" and vectors.dtype == torch.float32:
        read: NDArray[np.float32] = vectors.numpy()[rows[:, :, None], columns[:, None]]
        return read
    at = (torch.from_numpy(one).to(vectors.device) for one in (rows[:, :, None], columns[:, None]))
    there: NDArray[np.float32] = vectors[tuple(at)].float().cpu().numpy()
    return there


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
