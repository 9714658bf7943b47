"""What confidences are worth: whether they come true, and how well they sort right from wrong.

*Expected calibration error*: matches in the order of their confidence are cut into 15 bins of equal
mass; the mean, over the bins, of how far the mean confidence is from the share that is right
(C. Guo et al., ICML 2017; bins of equal mass: K. Nguyen and B. O'Connor, EMNLP 2015).

*Precision at recall*: of the most confident matches that hold a share of all right ones, the share
that is right.

Both are of the matches of all pairs together: fifteen bins of a single pair would be mostly chance.
A pair keeps how many matches of each confidence it has, in whole percent, and how many of them are
right (*counts*).  Matches of equal confidence are not told apart: they enter together, and a
border of bins that cuts them leaves the same share of right ones on both sides.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.metrics import RECALL_PERCENTS, metric_name

BINS: Final = 15
PERCENTS: Final = 101
"""How many confidences in whole percent there are, 0 to 100."""

Counts = NDArray[Any]

_ROUNDING: Final = 1e-9


def count_by_percent(
    confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How many matches have each confidence, and how many of them are right.

    Args:
        confidence: ``(N,)`` in [0, 1]; NaN is left out.
        right: ``(N,)``.

    Returns:
        ``(101, 2)``.
    """
    known = np.isfinite(confidence)
    percent = np.rint(100.0 * confidence[known].astype(np.float64)).astype(np.intp)
    counts = np.bincount(percent, minlength=PERCENTS)
    return np.stack([counts, np.bincount(percent[right[known]], minlength=PERCENTS)], axis=1)


def calibration_error(counts: Counts) -> NDArray[np.float64]:
    """Expected calibration error of matches, or of several draws of them.

    Args:
        counts: ``(..., 101, 2)`` from :func:`count_by_percent`, or weighted sums of such.

    Returns:
        ``(...)``, in [0, 1]; NaN over no matches.
    """
    count, right = counts[..., 0], counts[..., 1]
    total = count.sum(axis=-1)
    end = np.cumsum(count, axis=-1)
    start = end - count
    share = right / np.maximum(count, _ROUNDING)
    gap = np.arange(PERCENTS) / 100.0 - share
    error = np.zeros(count.shape[:-1])
    for number in range(BINS):
        low, high = (total * part / BINS for part in (number, number + 1))
        inside = np.minimum(end, high[..., None]) - np.maximum(start, low[..., None])
        error += np.abs((np.maximum(inside, 0.0) * gap).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total > 0, error / total, np.nan), np.float64)


def precision_at_recall(counts: Counts, recall: float) -> NDArray[np.float64]:
    """Precision of the fewest of the most confident matches that hold a share of all right ones.

    Args:
        counts: as for :func:`calibration_error`.
        recall: the share, above 0 and at most 1.

    Returns:
        ``(...)``, in [0, 1]; NaN where nothing is right.
    """
    kept, found = (np.cumsum(counts[..., ::-1, one], axis=-1) for one in (0, 1))
    total = found[..., -1]
    reached = (found >= recall * total[..., None] - _ROUNDING).argmax(axis=-1)[..., None]
    there, of = (np.take_along_axis(one, reached, axis=-1)[..., 0] for one in (found, kept))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total > 0, there / of, np.nan), np.float64)


def measure_counts(counts: Counts) -> dict[str, NDArray[np.float64]]:
    """All that is measured of counts, by the names of the metrics.

    Args:
        counts: as for :func:`calibration_error`.
    """
    return {
        "calibration_error": calibration_error(counts),
        **{
            metric_name("precision_at_recall", percent): precision_at_recall(
                counts, percent / 100.0
            )
            for percent in RECALL_PERCENTS
        },
    }
