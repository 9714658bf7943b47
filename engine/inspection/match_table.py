"""Many points of image a matched to image b, with all that is known about each match."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from engine.geometry.homography import estimate_homography, warp_points
from engine.inspection.described import Described, Points
from engine.inspection.probe import true_points
from engine.inspection.requests import MatchRequest, MatchTable
from engine.matching.confidence import (
    Evidence,
    Uncalibrated,
    find_calibration,
    weigh_evidence,
)
from engine.matching.consensus import CANDIDATES, reach_consensus
from engine.matching.local_motion import compare_with_neighbours
from engine.matching.nearest import (
    Apart,
    distance_ratio,
    nearest,
    nearest_apart,
    winning_members,
)
from engine.matching.plane_motion import compare_with_plane
from engine.progress import JobContext, Progress, Stage
from engine.vocabulary import SEPARATION_PX

SEARCH_BUDGET_BYTES = 64 << 20
"""Memory that one block of a search may take."""

_QUERIES_AT_ONCE = 1024
_INLIER_PX = 3.0
_LEAST_MUTUAL = 16


def make_table(
    request: MatchRequest, points_a: Points, a: Described, b: Described, context: JobContext
) -> MatchTable:
    """Match points.

    The homography is estimated from the mutual matches of queries with texture, or from all
    matches of these where mutual ones are few; such a match agrees with it within 3 px or one cell
    of image b, whichever is more.

    Args:
        request: the question.
        points_a: ``(N, 2)`` queries in original pixels.
        a: maps of image a.
        b: maps of image b.
        context: receives progress, and is checked for cancelling, once per block.

    Raises:
        JobCancelled: ``context.cancel`` was raised.
    """
    start = time.perf_counter()
    count = len(points_a)
    points_b, returned = np.empty((count, 2)), np.empty((count, 2))
    similarity, ratio = np.empty(count, np.float32), np.empty(count, np.float32)
    uncertainty_px = np.empty(count)
    textured, moved = a.has_texture(points_a), np.zeros(count, np.bool_)
    with torch.inference_mode():
        places_b = b.places.to(b.device)
        asks_a, asks_b = (a.asks, b.asks) if request.refine else (None, None)
        chosen, stage = None, Stage.MATCHING
        if request.matcher == "consensus" and count:
            chosen, moved = _choose_by_consensus(request, points_a, textured, a, b, context)
            stage = Stage.MATCHING_BACK
        for part in blocks(count, stage, context):
            queries = a.describe_points(points_a[part], device=b.device)
            if chosen is None:
                found = nearest_apart(
                    queries,
                    b.vectors,
                    places_b,
                    count=2,
                    separation=request.separation_px,
                    budget_bytes=SEARCH_BUDGET_BYTES,
                    asks=asks_b,
                    cancel=context.cancel,
                )
            else:
                found = Apart(chosen.index[part], chosen.similarity[part])
            match, other = found.similarity.T
            similarity[part] = match.cpu().numpy()
            # The match may be less similar than the other one, where neighbours chose it.
            ratio[part] = distance_ratio(match, other).clamp_max_(1.0).cpu().numpy()
            members, _ = winning_members(queries, b.vectors, found.index[:, 0])
            described = textured[part] & a.describes(points_a[part], members)
            textured[part] = described & ~b.repeats(queries, found.index)
            # Those that moved are not their query's best in the map, and come last.
            order = np.argsort(moved[part], kind="stable")
            places = b.find_between_cells(
                queries[:, order],
                found.index[order, 0],
                best=len(order) - int(moved[part].sum()),
                refined=described[order] & request.refine,
                reaching=found.reaching,
            )
            points_b[part][order] = places.places_px
            uncertainty_px[part][order] = places.uncertainty_px
            textured[part] &= ~places.twice[np.argsort(order)]
            back = b.describe_points(points_b[part], device=a.device)
            home = nearest(
                back,
                a.vectors,
                budget_bytes=SEARCH_BUDGET_BYTES,
                asks=asks_a,
                cancel=context.cancel,
            )
            again = b.has_texture(points_b[part]) & request.refine
            returned[part] = a.find_between_cells(
                back, home.index, best=len(back[0]), refined=again, reaching=home.reaching
            ).places_px
    mutual = np.square(returned - points_a).sum(axis=1) <= a.info.stride_px**2
    evidence = _evidence(points_a, points_b, returned, similarity, ratio, textured, a, b)
    calibration = find_calibration(
        request.recipe.spec,
        separation_px=request.separation_px,
        refined=request.refine,
        matcher=request.matcher,
    )
    h_b_from_a, inlier = _estimate(
        points_a, points_b, mutual, textured, b.info.stride_px, request.seed
    )
    true = true_points(request.pair, "a", points_a, a, b)
    return MatchTable(
        points_a=points_a,
        points_b=points_b,
        uncertainty_px=uncertainty_px,
        similarity=similarity,
        ratio=ratio,
        mutual=mutual,
        error_px=np.linalg.norm(points_b - true.seen_px, axis=1),
        visibility=true.visibility,
        truth=request.pair.truth_words,
        h_b_from_a=h_b_from_a,
        inlier=inlier,
        textured=textured,
        confidence=weigh_evidence(calibration, evidence, textured),
        not_calibrated=calibration.reason if isinstance(calibration, Uncalibrated) else "",
        evidence=evidence,
        matcher=request.matcher,
        moved=moved,
        seconds=time.perf_counter() - start,
    )


def _choose_by_consensus(
    request: MatchRequest,
    points_a: Points,
    textured: NDArray[np.bool_],
    a: Described,
    b: Described,
    context: JobContext,
) -> tuple[Apart, NDArray[np.bool_]]:
    """The cells that queries are matched to by consensus.

    Args:
        request: the question.
        points_a: ``(N, 2)`` queries in original pixels.
        textured: ``(N,)`` False for those without texture: they are asked nothing.
        a: maps of image a.
        b: maps of image b.
        context: as for :func:`make_table`.

    Returns:
        The chosen cell and the most similar of the others, and ``(N,)`` whether the chosen one is
        not the most similar of all.
    """
    places_b = b.places.to(b.device)
    separation = max(request.separation_px, SEPARATION_PX)
    told, parts = np.zeros(len(points_a), np.bool_), []
    for part in blocks(len(points_a), Stage.MATCHING_THERE, context):
        queries = a.describe_points(points_a[part], device=b.device)
        found = nearest_apart(
            queries,
            b.vectors,
            places_b,
            count=CANDIDATES,
            separation=separation,
            budget_bytes=SEARCH_BUDGET_BYTES,
            cancel=context.cancel,
        )
        members, _ = winning_members(queries, b.vectors, found.index[:, 0])
        told[part] = textured[part] & a.describes(points_a[part], members)
        told[part] &= ~b.repeats(queries, found.index[:, :2])
        parts.append(found)
    index = torch.cat([one.index for one in parts])
    similarity = torch.cat([one.similarity for one in parts])
    choice = reach_consensus(
        torch.from_numpy(a.resize.forward(points_a)).to(b.device),
        places_b[index],
        similarity,
        torch.from_numpy(told).to(b.device),
        budget_bytes=SEARCH_BUDGET_BYTES,
        cancel=context.cancel,
    ).choice
    columns = torch.stack([choice, (choice == 0).long()], dim=1)  # the best of the others
    chosen = Apart(index.gather(1, columns), similarity.gather(1, columns))
    return chosen, (choice > 0).cpu().numpy()


def _evidence(
    points_a: Points,
    points_b: Points,
    returned: Points,
    similarity: NDArray[np.float32],
    ratio: NDArray[np.float32],
    textured: NDArray[np.bool_],
    a: Described,
    b: Described,
) -> Evidence:
    """What speaks for each match, in pixels as described."""
    cycle_px = a.lengths_px(returned - points_a)
    matches = a.resize.forward(points_a), b.resize.forward(points_b), textured, cycle_px
    return Evidence(
        similarity=similarity,
        ratio=ratio,
        cycle_px=cycle_px,
        motion=compare_with_neighbours(*matches),
        plane=compare_with_plane(*matches),
        vote_right=a.info.vote_right,
    )


def blocks(count: int, stage: Stage, context: JobContext) -> Iterator[slice]:
    """Cut ``count`` queries into blocks; between them tell the progress and check for cancelling.

    Raises:
        JobCancelled: ``context.cancel`` was raised.
    """
    for begin in range(0, count, _QUERIES_AT_ONCE):
        context.cancel.check()
        yield slice(begin, begin + _QUERIES_AT_ONCE)
        context.emit(Progress(stage, min(count, begin + _QUERIES_AT_ONCE), count))


def _estimate(
    points_a: Points,
    points_b: Points,
    mutual: NDArray[np.bool_],
    textured: NDArray[np.bool_],
    cell_px: float,
    seed: int,
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]:
    """The homography that the matches agree on, and which of all matches agree."""
    threshold_px = max(_INLIER_PX, cell_px)
    trusted = mutual & textured
    if trusted.sum() < _LEAST_MUTUAL:
        trusted = textured
    estimate = estimate_homography(
        points_a[trusted], points_b[trusted], threshold_px=threshold_px, seed=seed
    )
    if estimate is None:
        return None, np.zeros_like(mutual)
    moved = warp_points(estimate.h_b_from_a, points_a)
    near = np.linalg.norm(moved - points_b, axis=1) <= threshold_px
    return estimate.h_b_from_a, near & textured
