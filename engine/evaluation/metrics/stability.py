"""Round trips and stability: what a descriptor's matches say of themselves.

*Round trip*: a query is matched to the other image and its match back; the distance from where it
began needs no truth (*forward-backward error*, Z. Kalal et al., ICPR 2010).

*Stability*: the query and the same query moved by one pixel are both matched.  By how much their
matches differ is compared with by how much the true points differ.  A match that jumps has a large
error even where it is right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

STEPS_PX: Points = np.array([[1.0, 0.0], [0.0, 1.0]])
"""``(2, 2)`` by how much queries are moved: a pixel to the right, and a pixel down."""


def round_trip_px(query_px: Points, returned_px: Points) -> NDArray[np.float64]:
    """``(N,)`` distances of queries from where their matches are matched back to; NaN for none."""
    gap = returned_px - query_px
    distance: NDArray[np.float64] = np.hypot(gap[:, 0], gap[:, 1])
    return distance


def stability_px(
    match_px: Points, moved_match_px: Points, true_px: Points, moved_true_px: Points
) -> NDArray[np.float64]:
    """By how much steps of matches differ from the true steps.

    Args:
        match_px: ``(N, 2)`` matches of the queries.
        moved_match_px: ``(S, N, 2)`` matches of the queries moved by each of S steps.
        true_px: ``(N, 2)`` true points of the queries.
        moved_true_px: ``(S, N, 2)`` true points of the moved queries.

    Returns:
        ``(S, N)`` lengths; NaN where a match or a true point is not known.
    """
    gap = (moved_match_px - match_px) - (moved_true_px - true_px)
    distance: NDArray[np.float64] = np.hypot(gap[..., 0], gap[..., 1])
    return distance


def median_known(values: NDArray[np.float64]) -> float | None:
    """Median of those that are not NaN; None without any."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def share_within(values: NDArray[np.float64], limit: float) -> float | None:
    """The share of those that are not NaN that do not exceed a limit; None without any."""
    known = values[~np.isnan(values)]
    return float(np.count_nonzero(known <= limit) / len(known)) if len(known) else None
