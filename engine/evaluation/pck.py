"""PCK, and how far it can be trusted.

PCK is the share of query points whose match is within a threshold of the true point; a distance
equal to the threshold counts, a point that is not finite does not.  Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CURVE_PX: Final = tuple(step / 2 for step in range(21))
"""The thresholds of a PCK curve: 0 to 10 px in steps of a half."""

RESAMPLES: Final = 10_000
LEAST_SEQUENCES: Final = 5
"""Intervals over fewer sequences mean little, and nothing is concluded from them: drawn from two, a
95 % interval is from one sequence's mean to the other's, whatever further sequences would show."""

PERCENTILES: Final = (2.5, 97.5)
"""The ends of a 95 % interval."""

DRAWS_AT_ONCE: Final = 256
"""Whatever is to draw the same groups from a seed makes its draws in parts of this size."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends (low, high) of its 95 % interval; None where there is none."""

    mean: float
    ends: tuple[float, float] | None


def errors_px(found_px: NDArray[Any], truth_px: NDArray[Any]) -> NDArray[np.float64]:
    """``(N,)`` distances of ``(N, 2)`` found points from the true ones."""
    gap = np.asarray(found_px, np.float64) - np.asarray(truth_px, np.float64)
    distance: NDArray[np.float64] = np.hypot(gap[:, 0], gap[:, 1])
    return distance


def count_within(errors: NDArray[np.float64], thresholds_px: Sequence[float]) -> tuple[int, ...]:
    """How many of ``(N,)`` errors do not exceed each threshold."""
    return tuple(int(np.count_nonzero(errors <= threshold)) for threshold in thresholds_px)


def bootstrap_mean(
    values: Sequence[float], groups: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """The mean over pairs and its 95 % interval, by drawing whole sequences with repetition.

    The pairs of a sequence share an image and are not independent, so a sequence is drawn with all
    its pairs or not at all (the percentile bootstrap of Efron and Tibshirani, 1993).  The same
    groups and seed draw the same sequences, whatever the values: give it the differences of two
    descriptors for the interval of their difference.

    Args:
        values: one figure per pair, at least one.
        groups: name of the pair's sequence.
        seed: of the draws.
        resamples: how many draws.

    Returns:
        The mean, and no interval where there is only one sequence or no draw.
    """
    if not values:
        raise ValueError("there is no mean of no values")
    names = sorted(set(groups))
    place = {name: number for number, name in enumerate(names)}
    member = np.array([place[name] for name in groups])
    sums = np.bincount(member, weights=np.asarray(values, np.float64), minlength=len(names))
    counts = np.bincount(member, minlength=len(names))
    mean = float(sums.sum() / counts.sum())
    if len(names) < 2 or not resamples:
        return Interval(mean, None)
    generator = np.random.default_rng(seed)
    means = []
    for begin in range(0, resamples, DRAWS_AT_ONCE):
        shape = (min(DRAWS_AT_ONCE, resamples - begin), len(names))
        drawn = generator.integers(len(names), size=shape)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), PERCENTILES)
    return Interval(mean, (float(low), float(high)))
