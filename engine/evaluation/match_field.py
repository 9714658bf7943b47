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
from engine.evaluation.protocols import (
    SEARCH_BUDGET_BYTES,
    describe_points,
    refine_matches,
    search_places,
)
from engine.matching.nearest import nearest_both_ways
from engine.progress import CancelToken

_QUERIES_AT_ONCE: Final = 4096


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
        places_px: ``(M, 2)`` places there, at least one.
        refine_px: how far from the best place, along either axis, the match may be; None for none.
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
            match_px = refine_matches(asked, searched, match_px, reach_px=refine_px, cancel=cancel)
        parts.append((index, match_px, similarity.cpu().numpy()))
    if not parts:
        return Matches(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0, np.float32))
    indices, matches, similarities = zip(*parts, strict=True)
    return Matches(np.concatenate(indices), np.concatenate(matches), np.concatenate(similarities))


@torch.inference_mode()
def match_both_ways(
    levels_a: Levels,
    places_a: Points,
    levels_b: Levels,
    places_b: Points,
    *,
    refine_px: float | None,
    cancel: CancelToken,
) -> tuple[Matches, NDArray[np.int64]]:
    """:func:`match_places` from image a to image b, and the nearest place of each one of b.

    Each two places are compared once, which takes about half as long for sets of descriptors.

    Args:
        levels_a: maps of image a, a batch of one.
        places_a: ``(N, 2)`` places of image a, at least one.
        levels_b: maps of image b.
        places_b: ``(M, 2)`` places of image b, at least one.
        refine_px: as for :func:`match_places`.
        cancel: checked once per block.

    Returns:
        The matches of image a's places, and ``(M,)`` index of the nearest one for those of image b;
        ties go to the lowest index.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    device = levels_b[0].values.device
    best_a, best_b = (torch.full((len(one),), -torch.inf) for one in (places_a, places_b))
    there, back = (torch.zeros(len(one), dtype=torch.int64) for one in (places_a, places_b))
    sizes = [sum(4 * one.values.shape[1] for one in levels) for levels in (levels_a, levels_b)]
    step = max(1, SEARCH_BUDGET_BYTES // max(sizes))
    for first_b in range(0, len(places_b), step):
        offered = describe_points(levels_b, places_b[first_b : first_b + step])
        part_b = slice(first_b, first_b + step)
        for first_a in range(0, len(places_a), step):
            part_a = slice(first_a, first_a + step)
            asked = describe_points(levels_a, places_a[part_a]).to(device)
            found = nearest_both_ways(
                asked, offered, budget_bytes=SEARCH_BUDGET_BYTES, cancel=cancel
            )
            _keep_better(best_a[part_a], there[part_a], found.similarity, found.b_of_a, first_b)
            _keep_better(best_b[part_b], back[part_b], found.similarity_back, found.a_of_b, first_a)
    index = there.numpy()
    match_px = places_b[index]
    if refine_px is not None:
        refined = [
            refine_matches(
                describe_points(levels_a, places_a[part]).to(device),
                levels_b,
                match_px[part],
                reach_px=refine_px,
                cancel=cancel,
            )
            for part in (
                slice(begin, begin + _QUERIES_AT_ONCE)
                for begin in range(0, len(places_a), _QUERIES_AT_ONCE)
            )
        ]
        match_px = np.concatenate(refined)
    return Matches(index, match_px, best_a.numpy()), back.numpy()


def _keep_better(best: Tensor, index: Tensor, value: Tensor, place: Tensor, first: int) -> None:
    """Where a block has more similar ones, write their similarity and their index, counted on."""
    value, place = value.to(best), place.to(index)
    better = value > best  # strictly: a later one never wins a tie
    best[better] = value[better]
    index[better] = place[better] + first


def grid_shape(size_px: tuple[int, int], stride_px: int) -> tuple[int, int]:
    """(rows, columns) of the grid over an image of (width, height)."""
    return -(-size_px[1] // stride_px), -(-size_px[0] // stride_px)
