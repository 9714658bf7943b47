"""The field's metrics over many pairs: means or areas under curves, with intervals.

Intervals draw whole groups of pairs, as those of PCK do.  All metrics of a table share the draws,
so that thirty of them take little longer than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.metrics.calibration import PERCENTS, measure_counts
from engine.evaluation.metrics.recall_auc import recall_auc
from engine.evaluation.pck import DRAWS_AT_ONCE, LEAST_SEQUENCES, PERCENTILES
from engine.evaluation.switches import QueryKind
from engine.metrics import (
    METRIC_FAMILIES,
    MetricFamily,
    group_metrics,
    metric_info,
    metric_number,
    summaries_of,
)

if TYPE_CHECKING:
    from engine.evaluation.result import PairRow


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric over the pairs of a subset.

    Attributes:
        descriptor: its label in the fingerprint.
        subset: which pairs.
        queries: which list; None for a metric that does not depend on queries.
        metric: its name in :mod:`engine.metrics`.
        value: the mean, or the area under the curve; None where no pair has a value.
        low, high: 95 % interval, by bootstrap over groups; None below two groups.
        pairs: how many pairs it is made from; for a curve, failed ones are among them.
        sequences: of how many groups these are.
    """

    descriptor: str
    subset: str
    queries: QueryKind | None
    metric: str
    value: float | None
    low: float | None
    high: float | None
    pairs: int
    sequences: int

    @property
    def ends(self) -> tuple[float, float] | None:
        """(low, high); None where there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def few(self) -> bool:
        """Whether there is an interval that means little, over so few groups."""
        return self.ends is not None and self.sequences < LEAST_SEQUENCES


def summarise_metrics(
    rows: Mapping[str, Sequence[PairRow]],
    labels: Sequence[str],
    lists: Sequence[QueryKind],
    *,
    seed: int,
    resamples: int,
) -> tuple[MetricRow, ...]:
    """The metrics of all rows: those of each list of queries, then those of the pairs.

    Args:
        rows: by subset, each in the same order.
        labels: the descriptors, in the order of the table.
        lists: the lists of queries, in order.
        seed: of the draws.
        resamples: how many; 0 for no intervals.
    """
    found = []
    for queries in (*lists, None):
        for label in labels:
            for subset, some in rows.items():
                mine = _rows_of(some, label, queries)
                found += [
                    MetricRow(label, subset, queries, *values)
                    for values in _summed(mine, queries, seed=seed, resamples=resamples)
                ]
    return tuple(found)


def metric_columns(rows: Iterable[PairRow]) -> tuple[str, ...]:
    """The names of all values that rows have, in the catalogue's order."""
    names = {name for row in rows for name, _ in row.metrics}
    return tuple(name for members in group_metrics(names).values() for name in members)


def metric_gaps(rows: Sequence[PairRow], chosen: Sequence[MetricFamily]) -> Iterator[str]:
    """A sentence for each metric that was asked for and that no or not every pair's truth tells."""
    keys = {row.key for row in rows}
    for family in METRIC_FAMILIES:
        if family not in chosen or family not in _NEEDS or not keys:
            continue
        first = _FIRST_NAMES[family]
        known = {row.key for row in rows if any(name.startswith(first) for name, _ in row.metrics)}
        if not known:
            yield f"{_TITLES[family]}: no pair's truth {_NEEDS[family]}."
        elif len(known) < len(keys):
            count = f"{len(known)} of {len(keys)} pairs"
            yield f"{_TITLES[family]}: of {count} only, whose truth {_NEEDS[family]}."


_FIRST_NAMES: Final[Mapping[MetricFamily, str]] = {
    "box": "pck_box",
    "dense": "aepe",
    "found": "mma",
    "homography": "corner_error",
    "pose": "pose_error",
    "round_trip": "round_trip",
    "stability": "stability",
}
_TITLES: Final[Mapping[MetricFamily, str]] = {
    "box": "PCK of boxes",
    "dense": "Dense error",
    "found": "Matches as found",
    "homography": "Corner error",
    "pose": "Pose error",
    "round_trip": "Round trip",
    "stability": "Stability",
}
_NEEDS: Final[Mapping[MetricFamily, str]] = {
    "box": "knows the box of its object",
    "dense": "reaches all over the images",
    "found": "reaches all over the images",
    "homography": "is a homography",
    "pose": "knows both cameras",
    "round_trip": "is needed",
    "stability": "reaches all over the images",
}


def _rows_of(rows: Sequence[PairRow], label: str, queries: QueryKind | None) -> tuple[PairRow, ...]:
    """The rows of a list; without one, the first row of each pair."""
    mine = [row for row in rows if row.descriptor == label]
    if queries is not None:
        return tuple(row for row in mine if row.queries == queries)
    first = {row.key: row for row in reversed(mine)}
    return tuple(first[key] for key in dict.fromkeys(row.key for row in mine))


def _summed(
    rows: Sequence[PairRow], queries: QueryKind | None, *, seed: int, resamples: int
) -> Iterator[tuple[str, float | None, float | None, float | None, int, int]]:
    """Name, value, interval, pairs and groups of each metric of some rows."""
    names = [
        name
        for value in metric_columns(rows)
        for name in summaries_of(value)
        if metric_info(name).by_queries == (queries is not None)
    ]
    if not names:
        return
    values = [dict(row.metrics) for row in rows]
    groups = [row.sequence for row in rows]
    draws = _Draws(groups, seed=seed, resamples=resamples)
    means: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    curves: dict[str, NDArray[np.float64]] = {}
    pooled = [name for name in names if metric_info(name).average == "pooled"]
    counts = _counts_of(rows) if pooled else np.zeros((0, PERCENTS, 2))
    together = measure_counts(counts.sum(axis=0))
    for name in names:
        if name in pooled:
            continue
        info = metric_info(name)
        of = info.of or name
        told = np.array([of in one for one in values])
        found = np.array([np.nan if one.get(of) is None else one[of] for one in values], np.float64)
        if info.average == "curve":
            curves[name] = np.where(told, np.nan_to_num(found, nan=np.inf), np.nan)
            continue
        weights = np.ones(len(rows))
        if info.average == "queries":
            weights = np.array([row.count for row in rows], np.float64)
        weights = np.where(np.isnan(found), 0.0, weights)
        means[name] = np.nan_to_num(found) * weights, weights
    ends = draws.of_means(means) | draws.of_curves(curves) | draws.of_counts(pooled, counts)
    for name in names:
        value: float | None
        if name in curves:
            there = ~np.isnan(curves[name])
            value = recall_auc(curves[name][there].tolist(), metric_number(name) or 1.0)
        elif name in pooled:
            there = counts[..., 0].sum(axis=1) > 0
            value = _known(float(together[name]))
        else:
            there = means[name][1] > 0
            total, weight = (float(one.sum()) for one in means[name])
            value = total / weight if weight else None
        sequences = {group for group, one in zip(groups, there, strict=True) if one}
        low, high = ends.get(name, (None, None)) if len(sequences) > 1 else (None, None)
        yield name, value, low, high, int(there.sum()), len(sequences)


def _counts_of(rows: Sequence[PairRow]) -> NDArray[np.float64]:
    """``(N, 101, 2)`` how many matches of each pair have which confidence."""
    counts = np.zeros((len(rows), PERCENTS, 2))
    for number, row in enumerate(rows):
        for percent, count, right in row.confidences:
            counts[number, percent] = count, right
    return counts


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


class _Draws:
    """Groups of pairs drawn with repetition: the same ones as for the intervals of PCK."""

    def __init__(self, groups: Sequence[str], *, seed: int, resamples: int) -> None:
        names = sorted(set(groups))
        place = {name: number for number, name in enumerate(names)}
        self._count = len(names)
        self._member = np.array([place[name] for name in groups], np.intp)
        self._seed = seed
        self._resamples = resamples if len(names) > 1 else 0

    def of_means(
        self, values: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    ) -> dict[str, tuple[float, float]]:
        """Intervals of sums of ``(N,)`` values over sums of ``(N,)`` weights."""
        if not values or not self._resamples:
            return {}
        sums, weights = (
            np.stack([self._by_group(one[part]) for one in values.values()], axis=1)
            for part in (0, 1)
        )
        drawn = []
        for times in self._times():
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn.append((times @ sums) / (times @ weights))
        return self._ends(tuple(values), np.concatenate(drawn))

    def of_curves(
        self, errors: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, tuple[float, float]]:
        """Intervals of areas under recall curves of ``(N,)`` errors; NaN is left out."""
        if not errors or not self._resamples:
            return {}
        drawn = []
        for times in self._times():
            areas = []
            for name, some in errors.items():
                there = ~np.isnan(some)
                weights = times[:, self._member[there]]
                areas.append(weighted_auc(some[there], weights, metric_number(name) or 1.0))
            drawn.append(np.stack(areas, axis=1))
        return self._ends(tuple(errors), np.concatenate(drawn))

    def of_counts(
        self, names: Sequence[str], counts: NDArray[np.float64]
    ) -> dict[str, tuple[float, float]]:
        """Intervals of what is measured of sums of ``(N, 101, 2)`` counts of confidences."""
        if not names or not self._resamples:
            return {}
        flat = counts.reshape(len(counts), -1)
        of_groups = np.zeros((self._count, flat.shape[1]))
        np.add.at(of_groups, self._member, flat)
        drawn = []
        for times in self._times():
            sums = (times @ of_groups).reshape(len(times), *counts.shape[1:])
            measured = measure_counts(sums)
            drawn.append(np.stack([measured[name] for name in names], axis=1))
        return self._ends(tuple(names), np.concatenate(drawn))

    def _by_group(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(
            self._member, weights=values, minlength=self._count
        ).astype(np.float64)
        return sums

    def _times(self) -> Iterator[NDArray[np.float64]]:
        """``(R, G)`` how often each group was drawn, in parts."""
        generator = np.random.default_rng(self._seed)
        for begin in range(0, self._resamples, DRAWS_AT_ONCE):
            many = min(DRAWS_AT_ONCE, self._resamples - begin)
            drawn = generator.integers(self._count, size=(many, self._count))
            rows = self._count * np.arange(many)[:, None]
            times = np.bincount((drawn + rows).ravel(), minlength=many * self._count)
            yield times.reshape(many, self._count).astype(np.float64)

    def _ends(
        self, names: Sequence[str], drawn: NDArray[np.float64]
    ) -> dict[str, tuple[float, float]]:
        ends = {}
        for name, column in zip(names, drawn.T, strict=True):
            known = column[~np.isnan(column)]  # a draw may have no pair with a value
            if len(known):
                low, high = np.percentile(known, PERCENTILES)
                ends[name] = (float(low), float(high))
        return ends


def weighted_auc(
    errors: NDArray[np.float64], times: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """:func:`recall_auc` of many draws of the same errors.

    Args:
        errors: ``(N,)``; infinite where a pair failed.
        times: ``(R, N)`` how often each one was drawn.
        threshold: above 0.

    Returns:
        ``(R,)``; NaN where nothing was drawn.
    """
    order = np.argsort(errors)
    ordered, weights = errors[order], times[:, order]
    total = weights.sum(axis=1)
    reached = int(np.searchsorted(ordered, threshold))
    ordered, weights = ordered[:reached], weights[:, :reached]
    start = np.zeros((len(times), 1))
    risen = np.cumsum(weights, axis=1)
    before = np.hstack([start, risen])[:, :reached]
    # Of the errors that were drawn, the last one up to each.
    passed = np.hstack([start, np.maximum.accumulate(np.where(weights > 0, ordered, 0.0), axis=1)])
    # Up to an error the curve rises by the first of its draws; the others stand above it.
    steps = (ordered - passed[:, :reached]) * (before + 0.5) * (weights > 0)
    level = risen[:, -1] if reached else np.zeros(len(times))
    area = steps.sum(axis=1) + (threshold - passed[:, -1]) * level
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(area / total / threshold, np.float64)
