"""The area under a recall curve, as the field computes it for poses and homographies.

The curve gives, for each error, the share of pairs with at most this error; it is linear between
the pairs' errors and constant from the last one up to the threshold.  Its area up to the threshold,
divided by the threshold, is the AUC (P.-E. Sarlin et al., SuperGlue, CVPR 2020, and its
successors).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def recall_auc(errors: Sequence[float | None], threshold: float) -> float | None:
    """AUC over pairs, in [0, 1].

    Args:
        errors: of each pair; None, NaN and infinity are failures, which count as no recall.
        threshold: in the unit of the errors, above 0.

    Returns:
        None over no pairs.
    """
    if not errors:
        return None
    known = np.array([np.inf if error is None else error for error in errors], np.float64)
    known[np.isnan(known)] = np.inf
    ordered = np.sort(known)
    recall = np.arange(1, len(ordered) + 1) / len(ordered)
    reached = int(np.searchsorted(ordered, threshold))  # those below the threshold
    places = np.concatenate([[0.0], ordered[:reached], [threshold]])
    last = recall[reached - 1] if reached else 0.0
    heights = np.concatenate([[0.0], recall[:reached], [last]])
    return float(np.trapezoid(heights, places) / threshold)
