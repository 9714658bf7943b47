"""PCK at α · max(box side): a match is right within a share of the object's size.

Proposed for joints of people by Y. Yang and D. Ramanan (PAMI 2013); in semantic matching the box is
that of the object in the searched image (J. Min et al., SPair-71k, 2019).  Papers average it in two
ways, which differ by several points: *per image*, the mean of the pairs' shares, and *per point*,
the share of all points of all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class BoxPck:
    """PCK over pairs, averaged in both ways; None without any point.

    Attributes:
        per_image: mean over the pairs that have points of the share of their points.
        per_point: share of all points.
    """

    per_image: float | None
    per_point: float | None


def longest_side_px(box: Box) -> float:
    """The longer side of a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    return max(right - left, bottom - top)


def count_in_box(errors_px: NDArray[np.float64], side_px: float, alpha: float) -> int:
    """How many of ``(N,)`` errors do not exceed ``alpha`` times a box's longer side; NaN never."""
    return int(np.count_nonzero(errors_px <= alpha * side_px))


def average_shares(counts: Sequence[tuple[int, int]]) -> BoxPck:
    """PCK over pairs.

    Args:
        counts: (right points, points) of each pair.
    """
    shares = [right / points for right, points in counts if points]
    every = sum(points for _, points in counts)
    if not every:
        return BoxPck(None, None)
    return BoxPck(sum(shares) / len(shares), sum(right for right, _ in counts) / every)
