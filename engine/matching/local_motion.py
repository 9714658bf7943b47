"""How the matches of nearby queries move, and whether a match moves with them.

No plane is assumed: a scene may bend, and may break apart between distant points.  Three numbers
tell how a match fits in.  The *agreement* is the share of the nearest eight queries that move as it
does; it asks about a turn and a change of size alone, so a few neighbours settle it even where most
are wrong.  The *residual* is how far the match lies from where an affine map of the nearest sixteen
puts it; it is finer, as it does not depend on how precise any single one is.  And where image b
shows nothing of the surroundings, their matches may agree, but few of them are *returning* ones.

Nothing here imports torch until matches are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.matching.abreast import abreast

SAME_PX: Final = 3.0
"""Neighbours that are off by no more than so many pixels, as described, agree."""

RETURNING_PX: Final = 4.0
"""Matches return whose own match in image a is this near the query, in pixels as described."""

LEAST_APART_PX: Final = 8.0
"""Queries nearer than this see the same, and so err together; they are no witnesses."""

WITNESSES: Final = 1000
"""How many queries of a table are witnesses, at most: more would stand too near each other."""

AGREEING: Final = 8
"""How many nearby queries are asked whether they agree."""

FITTED: Final = 16
"""How many nearby queries an affine map is fitted to."""

FARTHEST_GROWTH: Final = 8.0
"""No image shows things so many times as large as the other one: matches that collapse onto one
place, or fly apart, agree about nothing."""

_LEAST_NEIGHBOURS: Final = 4  # three fit any affine map
_AT_ONCE: Final = 512
_WIDTHS_PX: Final = (64.0, 32.0, 16.0, 8.0, 4.0, 2.0)  # of the weights of errors, fit by fit
_RIDGE: Final = 1e-5  # for neighbours in a line

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LocalMotion:
    """How each of ``N`` matches fits in with those of nearby queries.

    Attributes:
        agreement: ``(N,)`` share of the neighbours that agree, 0 to 1.
        residual_px: ``(N,)`` distance from where the neighbours put the match, in pixels of image b
            as described.
        returning: ``(N,)`` share of the neighbours whose matches return, 0 to 1.

    All are NaN where fewer than four neighbours are known.
    """

    agreement: Numbers
    residual_px: Numbers
    returning: Numbers

    @classmethod
    def unknown(cls, count: int) -> LocalMotion:
        """That of matches whose neighbours are not asked."""
        return cls(*(np.full(count, np.nan) for _ in range(3)))


def compare_with_neighbours(
    points_a: Numbers,
    points_b: Numbers,
    trusted: Flags,
    cycle_px: Numbers,
    *,
    at_once: int = _AT_ONCE,
) -> LocalMotion:
    """Compare each match with those of the nearest queries that are at least 8 px away.

    *Agreement.*  Of eight, one and the query say how the surroundings are turned and resized; the
    others agree with these two if their matches lie where that puts them, to within 3 px.  The
    neighbour that most of the others agree with counts.

    *Residual.*  Sixteen say by an affine map where the match of the query should be.  It is fitted
    by weighted least squares, again and again, with Geman and McClure's weights of the errors,
    whose width is halved from 64 to 2 px: graduated non-convexity (Black and Rangarajan, IJCV
    1996).  The first errors are those from the median of the matches, or too many wrong ones
    would keep the fit.

    *Returning.*  How many of these sixteen return.

    Args:
        points_a: ``(N, 2)`` queries, in pixels of image a as described.
        points_b: ``(N, 2)`` their matches, in those of image b.
        trusted: ``(N,)`` False for queries that are not asked: their matches tell nothing.
        cycle_px: ``(N,)`` how far from the query its match's own match in image a is, in pixels of
            that as described.
        at_once: how many queries are compared at a time.
    """
    place = np.ascontiguousarray(points_a).view(np.complex128)[:, 0]
    match = np.ascontiguousarray(points_b).view(np.complex128)[:, 0]
    asked = as_witnesses(trusted & np.isfinite(match))
    found = LocalMotion.unknown(len(place))
    if len(asked) < _LEAST_NEIGHBOURS:
        return found
    count, returns = min(FITTED, len(asked)), cycle_px <= RETURNING_PX

    def compare(block: slice) -> None:
        away = np.abs(place[block, None] - place[asked])
        away[away < LEAST_APART_PX] = np.inf
        nearest = np.argpartition(away, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(away, nearest, axis=1).argsort(axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)
        known = np.isfinite(np.take_along_axis(away, nearest, axis=1))
        known &= np.isfinite(match[block, None])
        there = asked[nearest]
        gap_a = np.where(known, place[there] - place[block, None], 0.0)
        gap_b = np.where(known, match[there] - match[block, None], 0.0)
        near = slice(None, AGREEING)
        found.agreement[block] = _agreement(gap_a[:, near], gap_b[:, near], known[:, near])
        found.residual_px[block] = _residuals_px(gap_a, gap_b, known)
        counts = known.sum(axis=1)
        shares = (returns[there] & known).sum(axis=1) / np.maximum(counts, 1)
        found.returning[block] = np.where(counts >= _LEAST_NEIGHBOURS, shares, np.nan)

    abreast(compare, len(place), least=at_once, at_once=at_once)
    return found


def as_witnesses(told: Flags) -> NDArray[np.intp]:
    """Indices of those of ``(N,)`` queries that tell something: evenly, and not too many."""
    asked = np.flatnonzero(told)
    if len(asked) <= WITNESSES:
        return asked
    return asked[np.linspace(0, len(asked) - 1, WITNESSES).round().astype(np.intp)]


def _agreement(
    gap_a: NDArray[np.complex128], gap_b: NDArray[np.complex128], known: Flags
) -> Numbers:
    """Shares of ``(N, K)`` neighbours, by where they and their matches are from the query."""
    counts = known.sum(axis=1)
    # A complex number turns and resizes.
    change = gap_b / np.where(known, gap_a, 1.0)
    growth = np.abs(change)
    sound = known & (growth >= 1 / FARTHEST_GROWTH) & (growth <= FARTHEST_GROWTH)
    off = np.abs(gap_b[:, None, :] - change[:, :, None] * gap_a[:, None, :])
    agree = (off <= SAME_PX) & sound[:, :, None] & known[:, None, :]
    others = agree.sum(axis=2).max(axis=1) - 1  # a neighbour agrees with itself
    shares = np.maximum(others, 0) / np.maximum(counts - 1, 1)
    return np.where(counts >= _LEAST_NEIGHBOURS, shares, np.nan)


def _residuals_px(
    gap_a: NDArray[np.complex128], gap_b: NDArray[np.complex128], known: Flags
) -> Numbers:
    """How far ``(N, K)`` neighbours put the matches of ``(N,)`` queries from where they are."""
    scale = np.abs(gap_a).max(axis=1, keepdims=True)
    x = gap_a / np.where(scale > 0, scale, 1.0)
    rows: NDArray[Any] = np.stack([np.ones_like(x.real), x.real, x.imag], axis=2)
    targets = np.stack([gap_b.real, gap_b.imag], axis=2)
    ridge = _RIDGE * np.diag([_RIDGE, 1.0, 1.0])
    asked = known | ~known.any(axis=1, keepdims=True)  # a median of nothing would be a warning
    middle = np.nanmedian(np.where(asked[:, :, None], targets, np.nan), axis=1, keepdims=True)
    errors_px = np.linalg.norm(targets - middle, axis=2)
    for width_px in _WIDTHS_PX:
        weights = known / (1 + (errors_px / width_px) ** 2) ** 2
        weighed = rows.swapaxes(1, 2) * weights[:, None]
        affine = np.linalg.solve(weighed @ rows + ridge, weighed @ targets)
        errors_px = np.linalg.norm(targets - rows @ affine, axis=2)
    found: Numbers = np.linalg.norm(affine[:, 0], axis=1)
    return np.where(known.sum(axis=1) >= _LEAST_NEIGHBOURS, found, np.nan)
