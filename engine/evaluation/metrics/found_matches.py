"""Matches as found: points that are each other's nearest, whatever the truth would have asked.

*Matching accuracy* is the share of the found matches within a distance of the truth; its mean over
pairs is the MMA of K. Mikolajczyk and C. Schmid (PAMI 2005) as M. Dusmanu et al. (D2-Net, CVPR
2019) average it: a pair without matches counts as 0.  *Average precision* ranks them by similarity
(compare V. Balntas et al., HPatches, CVPR 2017); it is the area under the *precision–recall curve*.
*Coverage* tells whether right matches lie all over what both images show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.truth.base import TruePoints, Visibility

AP_THRESHOLD_PX: Final = 3.0
"""A match this close to the truth is right, for average precision and for coverage."""

COVERAGE_RADIUS_PX: Final = 16.0
RECALLS: Final = tuple(step / 50 for step in range(51))
"""Where a precision–recall curve is read: recall from 0 to 1 in steps of 0.02."""

_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class FoundMatches:
    """The mutual matches of a pair, in working pixels.

    Attributes:
        points_a, points_b: ``(N, 2)`` both ends.
        similarity: ``(N,)``.
    """

    points_a: NDArray[np.float64]
    points_b: NDArray[np.float64]
    similarity: NDArray[np.float32]


def mutual_pairs(forward: NDArray[np.int64], backward: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which candidates are each other's nearest.

    Args:
        forward: ``(N,)`` for each point of image a the index of the nearest of image b; -1: none.
        backward: ``(M,)`` the other way round.

    Returns:
        ``(K, 2)`` indices of both, in the order of image a.
    """
    there = np.flatnonzero(forward >= 0)
    mutual = there[backward[forward[there]] == there]
    return np.stack([mutual, forward[mutual]], axis=1)


def match_errors_px(points_b: NDArray[np.float64], true: TruePoints) -> NDArray[np.float64]:
    """How far found points are from the true ones.

    Args:
        points_b: ``(N, 2)`` where the matches are.
        true: of the points that were matched.

    Returns:
        ``(N,)``; infinite where image b does not show the point, which cannot be right; NaN where
        the truth does not tell.  A point that leaves the image keeps its distance, since the truth
        may end within a threshold outside the border.
    """
    gap = points_b - true.points_px
    errors: NDArray[np.float64] = np.hypot(gap[:, 0], gap[:, 1])
    errors[np.isnan(errors) & (true.visibility == Visibility.OUTSIDE)] = np.inf
    errors[true.visibility == Visibility.OCCLUDED] = np.inf
    errors[true.visibility == Visibility.UNKNOWN] = np.nan
    errors[~np.isfinite(points_b).all(axis=1)] = np.inf
    return errors


def matching_accuracy(
    errors_px: NDArray[np.float64], thresholds_px: Sequence[float]
) -> tuple[float | None, ...]:
    """The share of the found matches within each threshold; 0 where there are none.

    Args:
        errors_px: ``(N,)`` from :func:`match_errors_px`; NaN is left out.
        thresholds_px: an error equal to one of them is right.

    Returns:
        A share for each threshold; None where there are matches, but no truth about any.
    """
    judged = errors_px[~np.isnan(errors_px)]
    if not len(judged):
        return (None if len(errors_px) else 0.0,) * len(thresholds_px)
    return tuple(float(np.count_nonzero(judged <= limit) / len(judged)) for limit in thresholds_px)


def average_precision(
    errors_px: NDArray[np.float64],
    similarity: NDArray[np.float32],
    threshold_px: float,
    partners: int,
) -> float | None:
    """The area under precision over recall, as similarity falls.

    Precision is the share of right ones among the most similar matches; recall the share of all
    points with a partner that are among these and right.  Matches of equal similarity enter
    together.

    Args:
        errors_px: ``(N,)``; NaN is left out.
        similarity: ``(N,)``.
        threshold_px: an error equal to it is right.
        partners: how many points of image a are shown by image b, found or not.  Right matches may
            be more, by some whose true points lie just outside image b.

    Returns:
        In [0, 1]; None without partners.
    """
    if not partners:
        return None
    found, kept = _ranked(errors_px, similarity, threshold_px)
    gained = np.diff(found, prepend=0)
    return float((found / kept * gained).sum() / max(partners, int(found[-1:].sum())))


def precision_at_recalls(
    errors_px: NDArray[np.float64],
    similarity: NDArray[np.float32],
    threshold_px: float,
    partners: int,
    recalls: Sequence[float] = RECALLS,
) -> tuple[float, ...]:
    """The precision–recall curve whose area is :func:`average_precision`.

    At each recall stands the precision of the fewest of the most similar matches that reach it,
    hence at 0 that of the fewest with a right one among them.  Nothing is smoothed: precision may
    rise with recall.

    Args:
        errors_px: ``(N,)``; NaN is left out.
        similarity: ``(N,)``.
        threshold_px: an error equal to it is right.
        partners: how many points of image a are shown by image b, found or not.
        recalls: in [0, 1].

    Returns:
        A share for each recall, 0 where no matches reach it; empty without partners.
    """
    if not partners:
        return ()
    found, kept = _ranked(errors_px, similarity, threshold_px)
    total = max(partners, int(found[-1:].sum()))
    shares = []
    for recall in recalls:
        # Rounding must not ask for one match more than the recall is made of.
        wanted = max(1, math.ceil(recall * total - 1e-9))
        first = int(np.searchsorted(found, wanted))
        shares.append(float(found[first] / kept[first]) if first < len(found) else 0.0)
    return tuple(shares)


def _ranked(
    errors_px: NDArray[np.float64], similarity: NDArray[np.float32], threshold_px: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many matches are right, of how many, as the least similarity of a match falls."""
    judged = ~np.isnan(errors_px)
    right, ranks = errors_px[judged] <= threshold_px, similarity[judged]
    order = np.argsort(-ranks, kind="stable")
    right, ranks = right[order], ranks[order]
    # Matches of equal similarity enter together.
    ends = np.flatnonzero(np.append(ranks[1:] != ranks[:-1], np.ones(len(ranks[:1]), bool)))
    found: NDArray[np.int64] = np.cumsum(right, dtype=np.int64)[ends]
    return found, ends + 1


def coverage(
    right_px: NDArray[np.float64], shown_px: NDArray[np.float64], radius_px: float
) -> float | None:
    """The share of what both images show that has a right match near it.

    Args:
        right_px: ``(N, 2)`` points of image a that are matched rightly.
        shown_px: ``(M, 2)`` places of a grid over image a that image b shows.
        radius_px: what is near.

    Returns:
        In [0, 1]; None where image b shows nothing of image a.
    """
    if not len(shown_px):
        return None
    if not len(right_px):
        return 0.0
    near = 0
    for begin in range(0, len(shown_px), _AT_ONCE):
        gaps = shown_px[begin : begin + _AT_ONCE, None] - right_px[None]
        near += int(np.count_nonzero((np.square(gaps).sum(axis=-1) <= radius_px**2).any(axis=1)))
    return near / len(shown_px)
