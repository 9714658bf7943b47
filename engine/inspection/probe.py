"""Where one point of one image is in the other, and how sure that is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.data.pairs import ImagePair
from engine.inspection.described import Described, Found, Points, implied_turn_deg
from engine.inspection.requests import Peak, Point, ProbeAnswer, ProbeRequest, SelfSimilarity
from engine.matching.confidence import (
    Evidence,
    Uncalibrated,
    find_calibration,
    weigh_evidence,
)
from engine.matching.local_motion import LocalMotion
from engine.matching.nearest import distance_ratio, pick_apart_one, winning_members
from engine.matching.plane_motion import PlaneMotion
from engine.matching.similarity import cell_similarity, similarity_map
from engine.truth.base import TruePoints, Truth, Visibility
from engine.vocabulary import Side

_TRUTH_RADIUS_PX = 3.0
_MOST_IN_REGION = 16  # along either side


def answer_probe(request: ProbeRequest, asked: Described, other: Described) -> ProbeAnswer:
    """Answer a probe.

    Args:
        request: the question.
        asked: maps of the image with the point.
        other: maps of the image that is searched.
    """
    start = time.perf_counter()
    point = np.array([request.point_px], np.float64)
    assert np.isfinite(point).all(), "a point on the screen is finite"
    with torch.inference_mode():
        within = _points_within(request, asked)
        queries = asked.describe_points(within, device=other.device)
        if len(within) > 1:
            queries = functional.normalize(queries.mean(dim=1, keepdim=True), dim=-1)
        similarities = [cell_similarity(level, queries[:, 0]) for level in other.levels]
        flat = np.concatenate([one.ravel() for one in similarities])
        picked = pick_apart_one(
            flat.copy(),
            other.places.numpy(),
            count=max(2, request.peaks),
            separation=request.separation_px,
        )
        best, second = torch.from_numpy(np.append(flat[picked[:2]], [-np.inf] * (len(picked) < 2)))
        two = torch.tensor([[*picked[:2], -1][:2]], device=other.device)
        textured = asked.has_texture(within).any(keepdims=True)
        textured &= asked.describes(point, winning_members(queries, other.vectors, two[:, 0])[0])
        told = textured & ~other.repeats(queries, two)
        index = torch.tensor(picked[: max(1, request.peaks)], device=other.device)
        repeated = queries.expand(-1, len(index), -1)
        found = other.find_between_cells(
            repeated,
            index,
            best=1,
            refined=textured.repeat(len(index)),
            similarities=similarities,
        )
        members = _members_texts(asked, other, repeated, index)
        own = _search_own(request, asked, queries.to(asked.device))
    peaks = _as_peaks(found, flat[picked].tolist(), members)
    true = true_points(request.pair, request.side, point, asked, other)
    seen, truth = bool(true.seen[0]), true.points_px[0]
    uncertainty_px = float(true.uncertainty_px[0])
    answer = ProbeAnswer(
        request=request,
        peaks=peaks,
        ratio=float(distance_ratio(best, second)),
        textured=bool(told[0] and not found.twice[0]),
        heat=similarity_map(other.levels, similarities) if request.heat else None,
        heat_extent=other.extent,
        visibility=Visibility(int(true.visibility[0])),
        truth_px=_as_point(truth) if np.isfinite(truth).all() else None,
        truth_uncertainty_px=uncertainty_px if math.isfinite(uncertainty_px) else None,
        error_px=math.dist(peaks[0].point_px, truth) if seen else None,
        rank=_rank(other, similarities, truth) if seen else None,
        cycle_px=None,
        cycle_error_px=None,
        seconds=time.perf_counter() - start,
        own=own,
    )
    return add_way_back(answer, asked, other) if request.cycle else answer


def add_way_back(answer: ProbeAnswer, asked: Described, other: Described) -> ProbeAnswer:
    """The answer with the match of its found point back in the asking image.

    Args:
        answer: to a probe, of the same maps.
        asked: maps of the image with the point.
        other: maps of the image that was searched.
    """
    with torch.inference_mode():
        cycle_px = _match_back(asked, other, np.array([answer.found_px]))
    error_px = math.dist(cycle_px, answer.request.point_px)
    with_way = replace(answer, cycle_px=cycle_px, cycle_error_px=error_px)
    return _add_confidence(with_way, asked, other)


def _add_confidence(answer: ProbeAnswer, asked: Described, other: Described) -> ProbeAnswer:
    """The answer with its confidence, or why there is none.

    No other points are asked: eight more queries would take far longer than the probe.
    """
    request = answer.request
    found = find_calibration(request.recipe.spec, separation_px=request.separation_px)
    if request.region_px is not None:
        found = Uncalibrated("means of boxes")
    if isinstance(found, Uncalibrated):
        return replace(answer, not_calibrated=found.reason)
    assert answer.cycle_px is not None
    gap_px = np.array([answer.cycle_px]) - request.point_px
    evidence = Evidence(
        similarity=np.array([answer.peaks[0].similarity]),
        ratio=np.array([answer.ratio]),
        cycle_px=asked.lengths_px(gap_px),
        motion=LocalMotion.unknown(1),
        plane=PlaneMotion.unknown(1),
        vote_right=asked.info.vote_right,
    )
    sure = float(weigh_evidence(found, evidence, np.array([answer.textured]))[0])
    return replace(
        answer,
        confidence=None if math.isnan(sure) else sure,
        confident_px=other.info.confident_px,
    )


def _points_within(request: ProbeRequest, asked: Described) -> Points:
    """``(N, 2)`` the points whose descriptors ask: the point, or a grid in the box around it.

    The grid is as fine as the cells are, up to a limit, and keeps to the image.
    """
    if request.region_px is None:
        return np.array([request.point_px], np.float64)
    axes = []
    for centre, length, size in zip(
        request.point_px, request.region_px, asked.info.size_px, strict=True
    ):
        count = min(max(math.ceil(length / asked.info.stride_px), 1), _MOST_IN_REGION)
        steps = (np.arange(count) + 0.5) / count - 0.5
        axes.append(np.clip(centre + steps * length, 0, size - 1))
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)


def true_points(
    pair: ImagePair, side: Side, points_px: Points, asked: Described, other: Described
) -> TruePoints:
    """The true places of points in the other image; unknown ones without a truth.

    Args:
        pair: with the truth, if there is any.
        side: the image with the points.
        points_px: ``(N, 2)``.
        asked: maps of that image.
        other: maps of the other image.
    """
    truth = opened_truth(pair, side, asked, other)
    if truth is None:
        return TruePoints.none(len(points_px))
    return truth.locate(side, points_px)


def opened_truth(pair: ImagePair, side: Side, asked: Described, other: Described) -> Truth | None:
    """What is known of the pair of which these are the maps of one side and of the other."""
    sizes_px = asked.info.size_px, other.info.size_px
    return pair.open_truth(*(sizes_px if side == "a" else sizes_px[::-1]))


def _search_own(request: ProbeRequest, asked: Described, queries: Tensor) -> SelfSimilarity | None:
    """Where else in its own image the set of descriptors ``(L, 1, D)`` of the point fits."""
    if request.exclude_px is None:
        return None
    radius_px = asked.original_px(request.exclude_px)
    similarities = [cell_similarity(level, queries[:, 0]) for level in asked.levels]
    flat = np.concatenate([one.ravel() for one in similarities])
    places = asked.places.numpy()
    allowed = np.concatenate([_peak_cells(one).ravel() for one in similarities])
    away_px = np.linalg.norm(asked.resize.backward(places) - request.point_px, axis=1)
    allowed &= away_px > radius_px
    picked = pick_apart_one(
        np.where(allowed, flat, -np.inf).astype(np.float32),
        places,
        count=request.peaks,
        separation=request.separation_px,
    )
    index = torch.tensor(picked, dtype=torch.int64, device=asked.device)
    repeated = queries.expand(-1, len(index), -1)
    textured = asked.has_texture(_points_within(request, asked)).any(keepdims=True)
    heat = None
    if request.heat:
        heat = similarity_map(asked.levels, similarities)
        _cut_out(heat, asked, request.point_px, radius_px)
    return SelfSimilarity(
        peaks=_as_peaks(
            asked.find_between_cells(repeated, index, best=0, refined=textured.repeat(len(index))),
            flat[picked].tolist(),
            _members_texts(asked, asked, repeated, index),
        ),
        heat=heat,
        heat_extent=asked.extent,
        excluded_px=radius_px,
    )


def _peak_cells(similarity: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``(H', W')`` True where a cell is no less similar than the eight around it."""
    down = similarity.copy()
    np.maximum(down[1:], similarity[:-1], out=down[1:])
    np.maximum(down[:-1], similarity[1:], out=down[:-1])
    highest = down.copy()
    np.maximum(highest[:, 1:], down[:, :-1], out=highest[:, 1:])
    np.maximum(highest[:, :-1], down[:, 1:], out=highest[:, :-1])
    return similarity >= highest


def _cut_out(
    heat: NDArray[np.float32], asked: Described, point_px: Point, radius_px: float
) -> None:
    """Write NaN into the ``(H, W)`` pixels of a heat map that are within a radius of a point."""
    height, width = heat.shape
    xs = asked.resize.backward(np.stack([np.arange(width), np.zeros(width)], axis=1))[:, 0]
    ys = asked.resize.backward(np.stack([np.zeros(height), np.arange(height)], axis=1))[:, 1]
    (left, right), (top, bottom) = (
        np.searchsorted(places, (centre - radius_px, centre + radius_px), side="left")
        + np.array([0, 1])
        for places, centre in ((xs, point_px[0]), (ys, point_px[1]))
    )
    near_x, near_y = xs[left:right] - point_px[0], ys[top:bottom] - point_px[1]
    within = near_x**2 + near_y[:, None] ** 2 <= radius_px**2
    heat[top:bottom, left:right][within] = np.nan


def _members_texts(asked: Described, found: Described, queries: Tensor, index: Tensor) -> list[str]:
    """Which members of two sets match at each found cell, in words; "" where no image has a set.

    Args:
        asked: maps of the image with the points.
        found: maps of the image that was searched.
        queries: ``(L, N, D)`` the sets that were searched for.
        index: ``(N,)`` the found cells.
    """
    if len(asked.levels) == 1 and len(found.levels) == 1:
        return [""] * len(index)
    texts = []
    for pair in zip(*winning_members(queries, found.vectors, index), strict=True):
        one, two = asked.levels[int(pair[0])].member, found.levels[int(pair[1])].member
        turn = implied_turn_deg(one, two)
        angle = f", {turn:+.0f}°" if round(turn) else ""
        texts.append(f"scale {one.growth:.2g} ↔ {two.growth:.2g}{angle}")
    return texts


def _match_back(asked: Described, other: Described, found_px: Points) -> Point:
    """The best match, in the asking image, of one point ``(1, 2)`` of the other."""
    queries = other.describe_points(found_px, device=asked.device)
    similarities = [cell_similarity(level, queries[:, 0]) for level in asked.levels]
    best = int(np.concatenate([one.ravel() for one in similarities]).argmax())
    index = torch.tensor([best], device=asked.device)
    found = asked.find_between_cells(
        queries, index, best=1, refined=other.has_texture(found_px), similarities=similarities
    )
    return _as_point(found.places_px[0])


def _rank(other: Described, similarities: Sequence[NDArray[np.float32]], truth_px: Points) -> int:
    """1 + how many places are more similar than the best one near the truth ``(2,)``."""
    merged, places = other.merge_levels(similarities)
    squared = np.square(places - truth_px.astype(np.float32)).sum(axis=1)
    near = squared <= max(_TRUTH_RADIUS_PX, other.info.stride_px) ** 2
    if not near.any():  # beyond the border cells
        near = squared == squared.min()
    return 1 + int((merged > merged[near].max()).sum())


def _as_peaks(
    found: Found, similarities: Sequence[float], members: Sequence[str]
) -> tuple[Peak, ...]:
    each = zip(found.places_px, similarities, members, found.uncertainty_px, strict=False)
    return tuple(
        Peak(_as_point(place), similarity, text, float(uncertainty_px))
        for place, similarity, text, uncertainty_px in each
    )


def _as_point(place: Points) -> Point:
    x, y = place.tolist()
    return x, y
