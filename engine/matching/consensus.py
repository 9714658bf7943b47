"""Neighbourhood consensus: which of its best places a query matches, by what its neighbours say.

A nearest neighbour asks each query alone.  Here it brings its most similar places that are apart,
the *candidates*, and the queries around it tell them apart: where a scene moves, what is near moves
likewise.  No plane, and nothing global, is assumed: a scene may bend, and may break apart between
distant points.

Of each query the nearest others are asked, at least 8 px away.  A candidate of the query and the
likeliest one of a neighbour say how the surroundings are turned and resized.  The other neighbours
*support* the candidate as far as their candidates, weighted by how likely these are, lie where that
puts them.  The neighbour that speaks most for the candidate counts, itself weighted by how likely
its candidate is.

A candidate's score is the logarithm of how much farther its descriptor is than the nearest one, at
most 0, and a multiple of its support.  Candidates are as likely as a softmax of the scores says, so
that those which the neighbours support weigh more in the next of a few rounds (a relaxation, as by
A. Rosenfeld et al., IEEE Trans. SMC 1976; the idea of asking neighbours for matches: I. Rocco et
al., NCNet, NeurIPS 2018).

The nearest candidate stays unless another one has clearly more support.  So a query keeps it if it
has no neighbours, if these agree about nothing, or if they speak for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.matching.local_motion import LEAST_APART_PX, WITNESSES
from engine.matching.nearest import distance_ratio
from engine.progress import CancelToken

CANDIDATES: Final = 5
"""How many places of a query are told apart."""

NEIGHBOURS: Final = 16
"""How many nearby queries are asked."""

FARTHEST_GROWTH: Final = 5.0
"""How many times as large as in the other image things may be: candidates that collapse onto one
place, or fly apart, agree about nothing."""

SAME_PX: Final = 3.0
SAME_SHARE: Final = 0.3
"""Neighbours agree to within so many pixels, or so much of the distance between their matches."""

SUPPORT_WEIGHT: Final = 1.5
"""What full support is worth in logarithms of descriptors' distances."""

LEAST_SUPPORT_GAIN: Final = 0.01
"""How much more support than the nearest candidate another one needs to take its place."""

SHARPNESS: Final = 4.0
"""Candidates are as likely as exp(SHARPNESS * score)."""

ROUNDS: Final = 3

_PLACES_PER_PX: Final = 64  # in which distances are ordered: finer ones are the same
_BYTES_PER_COMPARISON: Final = 16  # a few temporary numbers
_WIDEST_ROWS: Final = 64  # more queries at once would drop out of the processor's cache
_NEIGHBOUR_ROWS: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """Which candidates were chosen.

    Attributes:
        choice: ``(N,)`` int64 column of the candidates; 0, the nearest, wherever nothing speaks
            against it.
        support: ``(N,)`` float32 of the chosen one by the neighbours, 0 to 1.
    """

    choice: Tensor
    support: Tensor


def reach_consensus(
    points_px: Tensor,
    candidates_px: Tensor,
    similarity: Tensor,
    trusted: Tensor,
    *,
    budget_bytes: int,
    cancel: CancelToken | None = None,
) -> Consensus:
    """Choose one of the candidates of each query.

    The same queries get the same answer, whatever the budget is.

    Args:
        points_px: ``(N, 2)`` queries, in pixels of their image as described.
        candidates_px: ``(N, K, 2)`` their candidates, mutually apart, in pixels of the other image
            as described; from whichever member of a set, on the same device.
        similarity: ``(N, K)`` of these, falling; -inf where there is no candidate.
        trusted: ``(N,)`` False for queries that are not asked about others: their matches tell
            nothing.
        budget_bytes: memory that comparing may take, its inputs and its result not counted.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    count = len(similarity)
    there = torch.isfinite(similarity)
    points, places = points_px.float(), candidates_px.float()
    places = torch.where(there[..., None], places, 0.0)
    nearness = torch.log(distance_ratio(similarity[:, :1], similarity))
    nearness = nearness.masked_fill(~there, -torch.inf)
    witnesses = (trusted & there[:, 0]).nonzero()[:, 0]
    if len(witnesses) > WITNESSES:
        spread = torch.linspace(0, len(witnesses) - 1, WITNESSES, dtype=torch.float64)
        witnesses = witnesses[spread.round().long().to(witnesses.device)]
    if count == 0 or len(witnesses) < 2:
        return Consensus(
            torch.zeros(count, dtype=torch.int64, device=similarity.device),
            similarity.new_zeros(count),
        )
    asked = _Asked(points[witnesses], places[witnesses], _likely(nearness[witnesses]))
    each, known = _neighbours(points, asked.points, cancel)
    for _ in range(ROUNDS - 1):
        support = _support(
            asked.points, asked.places, each[witnesses], known[witnesses], asked,
            budget_bytes=budget_bytes, cancel=cancel,
        )  # fmt: skip
        scores = nearness[witnesses] + SUPPORT_WEIGHT * support
        asked = _Asked(asked.points, asked.places, _likely(scores))
    support = _support(points, places, each, known, asked, budget_bytes=budget_bytes, cancel=cancel)
    support = support.masked_fill(~there, 0.0)
    gain = support - support[:, :1]
    scores = (nearness + SUPPORT_WEIGHT * support).masked_fill(
        gain < LEAST_SUPPORT_GAIN, -torch.inf
    )
    scores[:, 0] = SUPPORT_WEIGHT * support[:, 0]
    choice = scores.argmax(dim=1)  # of equal ones the first
    return Consensus(choice, support.gather(1, choice[:, None])[:, 0])


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The ``W`` queries that are asked about others.

    Attributes:
        points: ``(W, 2)``.
        places: ``(W, K, 2)`` their candidates.
        likely: ``(W, K)`` how likely these are, together 1.
    """

    points: Tensor
    places: Tensor
    likely: Tensor


def _likely(scores: Tensor) -> Tensor:
    return torch.softmax(SHARPNESS * scores, dim=1)


def _neighbours(points: Tensor, asked: Tensor, cancel: CancelToken | None) -> tuple[Tensor, Tensor]:
    """The nearest of ``(W, 2)`` points to each of ``(N, 2)``.

    Returns:
        ``(N, M)`` their numbers, and whether they are far enough away to be asked.  Of equally near
        ones those with the lowest numbers.
    """
    count = min(NEIGHBOURS, len(asked))
    numbers, known = [], []
    order = torch.arange(len(asked), device=asked.device)
    none = torch.iinfo(torch.int64).max
    for begin in range(0, len(points), _NEIGHBOUR_ROWS):
        if cancel is not None:
            cancel.check()
        away = (points[begin : begin + _NEIGHBOUR_ROWS, None] - asked).square().sum(dim=-1)
        # Whole numbers in which no two are equal: places on a grid are often equally far, and
        # which of equal ones is found first differs between devices.
        key = (away * _PLACES_PER_PX**2).round_().long() * len(asked) + order
        key[away < LEAST_APART_PX**2] = none
        nearest, number = key.topk(count, dim=1, largest=False, sorted=True)
        numbers.append(number)
        known.append(nearest < none)
    return torch.cat(numbers), torch.cat(known)


def _support(
    points: Tensor,
    places: Tensor,
    neighbours: Tensor,
    known: Tensor,
    asked: _Asked,
    *,
    budget_bytes: int,
    cancel: CancelToken | None,
) -> Tensor:
    """``(N, K)`` how much of the neighbours' candidates moves as each candidate does.

    Args:
        points: ``(N, 2)`` queries.
        places: ``(N, K, 2)`` their candidates.
        neighbours: ``(N, M)`` numbers of those that are asked.
        known: ``(N, M)`` False for those that are not.
        asked: all that are.
        budget_bytes: memory that comparing may take.
        cancel: checked once per block.
    """
    support = places.new_empty(places.shape[:2])
    one = neighbours.shape[1] ** 2 * places.shape[1] * asked.places.shape[1]
    rows = max(1, min(_WIDEST_ROWS, budget_bytes // (_BYTES_PER_COMPARISON * one)))
    likeliest = asked.likely.argmax(dim=1)
    others = ~torch.eye(neighbours.shape[1], dtype=torch.bool, device=places.device)
    for begin in range(0, len(points), rows):
        if cancel is not None:
            cancel.check()
        part = slice(begin, begin + rows)
        there, said = neighbours[part], known[part]
        # A complex number that turns and resizes: the gap in image b by that in image a, for each
        # candidate of the query, neighbour, and candidate of that.
        gap_a = asked.points[there] - points[part, None]
        squared = torch.where(said, gap_a.square().sum(dim=-1), 1.0)
        x_a, y_a = (gap_a / squared[..., None])[:, None, :, None].unbind(dim=-1)
        x_b, y_b = (asked.places[there][:, None] - places[part, :, None, None]).unbind(dim=-1)
        across, down = x_b * x_a + y_b * y_a, y_b * x_a - x_b * y_a
        growth = across.square() + down.square()
        sound = said[:, None, :, None] & (growth >= FARTHEST_GROWTH**-2)
        sound &= growth <= FARTHEST_GROWTH**2
        likely = torch.where(sound, asked.likely[there][:, None], 0.0)
        # Each neighbour, by its likeliest candidate, says what the others are to agree with.
        first = likeliest[there][:, None, :, None].expand(-1, places.shape[1], -1, 1)
        x, y, size, weight = (
            one.gather(3, first)[..., 0] for one in (across, down, growth, likely)
        )
        off = (x[..., None, None] - across[:, :, None]).square_()
        off += (y[..., None, None] - down[:, :, None]).square_()
        allowed = torch.maximum(
            (SAME_PX**2 / squared)[:, None, None], (SAME_SHARE**2 * size)[..., None]
        )
        agreeing = torch.where(off <= allowed[..., None], likely[:, :, None], 0.0).sum(dim=-1)
        spoken = (agreeing * others).sum(dim=-1) * weight
        support[part] = spoken.amax(dim=-1) / (NEIGHBOURS - 1)
    return support
