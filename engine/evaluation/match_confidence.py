"""The confidence of a list of queries, matched as ``match`` does it.

Queries are searched among the cells of the map, whatever the protocol offers, and every match lies
between them: the weights of the confidence were fitted to such matches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import Levels
from engine.evaluation.points import Points
from engine.evaluation.protocols import SEARCH_BUDGET_BYTES, describe_points, refine_matches
from engine.geometry.sampling import cell_places
from engine.matching.confidence import Evidence
from engine.matching.local_motion import compare_with_neighbours
from engine.matching.nearest import distance_ratio, nearest, nearest_apart
from engine.matching.plane_motion import compare_with_plane
from engine.progress import CancelToken
from engine.vocabulary import SEPARATION_PX


@dataclass(frozen=True, slots=True, eq=False)
class SoundMatches:
    """Matches with what speaks for them.

    Attributes:
        match_px: ``(N, 2)`` in working pixels of image b.
        evidence: of each.
    """

    match_px: Points
    evidence: Evidence


@torch.inference_mode()
def match_with_evidence(
    levels_a: Levels,
    query_px: Points,
    levels_b: Levels,
    textured: NDArray[np.bool_],
    *,
    vote_right: float | None,
    cancel: CancelToken,
) -> SoundMatches:
    """Match points of image a to the whole of image b, and back.

    Args:
        levels_a: maps of image a, a batch of one.
        query_px: ``(N, 2)`` points, in working pixels.
        levels_b: maps of image b.
        textured: ``(N,)`` False for queries that are no witnesses for their neighbours.
        vote_right: probability that the pair's vote is right; None where no pair votes.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    device = levels_b[0].values.device
    cells_a, places_a = _cells(levels_a)
    cells_b, places_b = _cells(levels_b)
    asked = describe_points(levels_a, query_px).to(device)
    found = nearest_apart(
        asked,
        cells_b,
        torch.from_numpy(places_b).to(device, torch.float32),
        count=2,
        separation=SEPARATION_PX,
        budget_bytes=SEARCH_BUDGET_BYTES,
        cancel=cancel,
    )
    similarity, second = found.similarity.T
    match_px = _between_cells(asked, levels_b, places_b[found.index[:, 0].cpu().numpy()], cancel)
    back = describe_points(levels_b, match_px).to(levels_a[0].values.device)
    home = nearest(back, cells_a, budget_bytes=SEARCH_BUDGET_BYTES, cancel=cancel)
    home_px = _between_cells(back, levels_a, places_a[home.index.cpu().numpy()], cancel)
    cycle_px = np.linalg.norm(home_px - query_px, axis=1)
    matches = query_px, match_px, textured, cycle_px
    return SoundMatches(
        match_px,
        Evidence(
            similarity=similarity.cpu().numpy(),
            ratio=distance_ratio(similarity, second).cpu().numpy(),
            cycle_px=cycle_px,
            motion=compare_with_neighbours(*matches),
            plane=compare_with_plane(*matches),
            vote_right=vote_right,
        ),
    )


def _cells(levels: Levels) -> tuple[list[Tensor], Points]:
    """``(M, D)`` of each level, and ``(M, 2)`` the places of all of them in working pixels."""
    vectors = [level.values[0].flatten(1).T.float() for level in levels]
    places = []
    for level in levels:
        rows, columns = level.values.shape[2:]
        places.append(cell_places(level.grid, (rows, columns), device=torch.device("cpu")).numpy())
    return vectors, np.concatenate(places).astype(np.float64)


def _between_cells(asked: Tensor, levels: Levels, cells_px: Points, cancel: CancelToken) -> Points:
    """Up to a cell from the most similar one."""
    return refine_matches(asked, levels, cells_px, reach_px=0.0, cancel=cancel)
