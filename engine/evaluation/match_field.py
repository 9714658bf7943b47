"""Matches of a whole grid of places, both ways: what dense errors and found matches are made of.

Places of image a lie on a grid that begins at the centre of the top-left pixel, and are searched
among those of the same grid over image b, exactly.  Where refinement is on, the match is the place
around the best one at which the map of image b is most similar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import Levels
from engine.evaluation.points import Points
from engine.evaluation.protocols import describe_points, search_places
from engine.geometry.coords import inside
from engine.matching.similarity import peaks_between_cells
from engine.progress import CancelToken

_QUERIES_AT_ONCE: Final = 4096
_REFINED_AT_ONCE: Final = 512
_FINEST_PX: Final = 0.5
# Of the cells around a found one, the offsets (x, y), by rows.
_AROUND: Final = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Where points were found.

    Attributes:
        index: ``(N,)`` of the place among those that were searched.
        match_px: ``(N, 2)`` that place, or the refined one near it.
        similarity: ``(N,)`` cosine with the place.
    """

    index: NDArray[np.int64]
    match_px: Points
    similarity: NDArray[np.float32]


@torch.inference_mode()
def match_places(
    levels: Levels,
    query_px: Points,
    searched: Levels,
    size_px: tuple[int, int],
    places_px: Points,
    *,
    refine_px: float | None,
    cancel: CancelToken,
) -> Matches:
    """Match points of one image to places of the other.

    Args:
        levels: maps of the image with the points, a batch of one.
        query_px: ``(N, 2)`` points.
        searched: maps of the other image.
        size_px: (width, height) of the other image.
        places_px: ``(M, 2)`` places there, at least one.
        refine_px: how far from the best place, along either axis, a better one is looked for;
            None for not at all.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    device = searched[0].values.device
    parts: list[tuple[NDArray[np.int64], Points, NDArray[np.float32]]] = []
    for begin in range(0, len(query_px), _QUERIES_AT_ONCE):
        asked = describe_points(levels, query_px[begin : begin + _QUERIES_AT_ONCE]).to(device)
        found, similarity = search_places(asked, searched, places_px, cancel)
        index = found.cpu().numpy()
        match_px = places_px[index]
        if refine_px is not None:
            match_px = _refined_px(asked, searched, size_px, match_px, refine_px, cancel)
        parts.append((index, match_px, similarity.cpu().numpy()))
    if not parts:
        return Matches(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0, np.float32))
    indices, matches, similarities = zip(*parts, strict=True)
    return Matches(np.concatenate(indices), np.concatenate(matches), np.concatenate(similarities))


def grid_shape(size_px: tuple[int, int], stride_px: int) -> tuple[int, int]:
    """(rows, columns) of the grid over an image of (width, height)."""
    return -(-size_px[1] // stride_px), -(-size_px[0] // stride_px)


def _refined_px(
    asked: Tensor,
    searched: Levels,
    size_px: tuple[int, int],
    match_px: Points,
    reach_px: float,
    cancel: CancelToken,
) -> Points:
    """``(N, 2)`` where near their matches the maps are most similar to ``(L, N, D)`` sets.

    The place is looked for by halves, until it lies between neighbouring cells of the maps.
    """
    finest_px = min(level.grid.stride_px for level in searched)
    refined = match_px.copy()
    for begin in range(0, len(match_px), _REFINED_AT_ONCE):
        part = slice(begin, begin + _REFINED_AT_ONCE)
        step_px = 2 * reach_px
        while step_px > max(finest_px, _FINEST_PX) or step_px == 2 * reach_px:
            cancel.check()
            step_px /= 2
            shift = _shift_px(asked[:, part], searched, size_px, refined[part], step_px)
            refined[part] += shift
    return refined


def _shift_px(
    sets: Tensor, searched: Levels, size_px: tuple[int, int], at_px: Points, step_px: float
) -> Points:
    """How far from ``(N, 2)`` places, within a step along either axis, the maps are more similar.

    Nine places a step apart are read, and what lies between them is interpolated.
    """
    around_px = at_px[:, None] + step_px * _AROUND
    offered = describe_points(searched, around_px.reshape(-1, 2))
    offered = offered.view(len(searched), len(at_px), len(_AROUND), -1)
    # The member of the searched image that made the match, with the best one of the queries.
    middle = offered[:, :, len(_AROUND) // 2]
    member = torch.einsum("lnd,mnd->lmn", sets, middle).amax(dim=0).argmax(dim=0)
    won = offered[member, torch.arange(len(at_px), device=member.device)]
    shift, _ = peaks_between_cells(
        won.float().cpu().numpy(),
        ~inside(around_px, size_px),
        sets.permute(1, 0, 2).float().cpu().numpy(),
        np.ones(len(at_px)),
    )
    return step_px * shift
