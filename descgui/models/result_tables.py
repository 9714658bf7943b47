"""Results of an evaluation as the panel's tables need them, made in a worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from descgui.models.shown_metric import ShownMetric, shown_metrics

if TYPE_CHECKING:
    from engine.api import MergedResults, PairRow

Title = Callable[[str, int], str]
"""What users call a pair, by its group and its number."""


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """One descriptor on one group of pairs.

    Attributes:
        sequence: name of the group.
        label: of the descriptor.
        series: number of the descriptor, for its colour.
        value: mean over the group's pairs.
        pairs: how many they are.
        worst: number of the worst pair.
        worst_value: of that pair.
        texts: both values in words.
        reach: the value at which a bar is full.
        first: whether it is the first one of its group in the list.
    """

    sequence: str
    label: str
    series: int
    value: float
    pairs: int
    worst: int
    worst_value: float
    texts: tuple[str, str]
    reach: float
    first: bool


@dataclass(frozen=True, slots=True, eq=False)
class ListedRows:
    """The rows of one list of queries, and the bar that each is part of.

    Attributes:
        queries: which list.
        labels: of the descriptors.
        rows: in the order of the results.
        indices: ``(N,)`` the number of each row's pair in its group.
        bars: group and label of the descriptor; groups as they come, descriptors side by side.
        series: ``(B,)`` the number of each bar's descriptor.
        bar_of: ``(N,)`` the place of each row's bar.
        several: whether the rows are of more than one descriptor.
    """

    queries: str
    labels: tuple[str, ...]
    rows: tuple[PairRow, ...]
    indices: NDArray[np.intp]
    bars: tuple[tuple[str, str], ...]
    series: NDArray[np.intp]
    bar_of: NDArray[np.intp]
    several: bool
    _values: dict[ShownMetric, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[PairRow], labels: Sequence[str], queries: str) -> ListedRows:
        """Those of a list of queries, of all that a result has."""
        places = {label: place for place, label in enumerate(labels)}
        groups: dict[str, int] = {}
        chosen, codes, indices = [], [], []
        for row in rows:
            if row.queries == queries:
                group = groups.setdefault(row.sequence, len(groups))
                chosen.append(row)
                codes.append(group * len(labels) + places[row.descriptor])
                indices.append(row.index)
        there, bar_of = np.unique(np.array(codes, np.intp), return_inverse=True)
        names = list(groups)
        series = there % len(labels)
        bars = [
            (names[group], labels[place])
            for group, place in zip((there // len(labels)).tolist(), series.tolist(), strict=True)
        ]
        return cls(
            queries=queries,
            labels=tuple(labels),
            rows=tuple(chosen),
            indices=np.array(indices, np.intp),
            bars=tuple(bars),
            series=series,
            bar_of=bar_of,
            several=len(set(series.tolist())) > 1,
        )

    def values(self, metric: ShownMetric) -> NDArray[np.float64]:
        """``(N,)`` a metric of all rows, NaN for none; collected once."""
        if metric not in self._values:
            self._values[metric] = metric.of_pairs(self.rows)
        return self._values[metric]


class SequenceScores(Sequence[SequenceScore]):
    """Means by group, in the order in which the groups come, descriptors side by side.

    A pair without a value is left out.  Each score is made when it is asked for: there may be tens
    of thousands.

    Attributes:
        several: whether they are of more than one descriptor.
    """

    def __init__(self, listed: ListedRows, metric: ShownMetric) -> None:
        values = listed.values(metric)
        known = np.flatnonzero(~np.isnan(values))
        values, bar_of, indices = values[known], listed.bar_of[known], listed.indices[known]
        badness = values if metric.low_pairs_are_better else -values
        worst_first = np.lexsort((indices, -badness, bar_of))
        self._bars, first = np.unique(bar_of[worst_first], return_index=True)
        worst = worst_first[first]
        self._counts = np.bincount(bar_of)[self._bars]
        self._means = np.bincount(bar_of, weights=values)[self._bars] / self._counts
        self._worst, self._worst_values = indices[worst], values[worst]
        self._reach = 1.0 if metric.is_share else float(values.max(initial=0.0)) or 1.0
        self._listed, self._metric = listed, metric
        self.several = len(set(listed.series[self._bars].tolist())) > 1

    @property
    def ids(self) -> Sequence[tuple[str, str]]:
        """Group and label of each."""
        bars = self._listed.bars
        if len(self) == len(bars):
            return bars
        return [bars[bar] for bar in self._bars.tolist()]

    def __len__(self) -> int:
        return len(self._bars)

    @overload
    def __getitem__(self, place: int) -> SequenceScore: ...
    @overload
    def __getitem__(self, place: slice) -> list[SequenceScore]: ...
    def __getitem__(self, place: int | slice) -> SequenceScore | list[SequenceScore]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        bar = self._bars[place]
        sequence, label = self._listed.bars[bar]
        before = self._listed.bars[self._bars[place - 1]][0] if place else None
        value, worst_value = float(self._means[place]), float(self._worst_values[place])
        return SequenceScore(
            sequence=sequence,
            label=label,
            series=int(self._listed.series[bar]),
            value=value,
            pairs=int(self._counts[place]),
            worst=int(self._worst[place]),
            worst_value=worst_value,
            texts=(self._metric.pair_text(value), self._metric.pair_text(worst_value)),
            reach=self._reach,
            first=sequence != before,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ListTables:
    """What tables show of one list of queries.

    Attributes:
        metrics: all that can be shown, in their order.
        rows: of all pairs.
        scores: of the groups, by metric.
    """

    metrics: tuple[ShownMetric, ...]
    rows: ListedRows
    scores: Mapping[ShownMetric, SequenceScores]


@dataclass(frozen=True, slots=True, eq=False)
class ResultTables:
    """What the panel shows of results.

    Attributes:
        content: the results.
        title: what was measured, in a line.
        done, total: how many pairs were measured or left out, of how many.
        left_out: a sentence for each pair that was left out.
        notes: how the results differ, what was wrong with the data, and what is missing.
        pair_title: what users call a pair.
        lists: by the list of queries.
    """

    content: MergedResults
    title: str
    done: int
    total: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    pair_title: Title
    lists: Mapping[str, ListTables]

    @classmethod
    def of(cls, content: MergedResults) -> ResultTables:
        """Collect it: half a second for ten thousand pairs and two descriptors."""
        rows, labels = content.pairs, content.labels
        lists: dict[str, ListTables] = {}
        for queries in sorted({row.queries for row in content.summary}):
            metrics = shown_metrics(content, queries)
            listed = ListedRows.of(rows, labels, queries)
            scores = {metric: SequenceScores(listed, metric) for metric in metrics}
            lists[queries] = ListTables(metrics, listed, scores)
        return cls(
            content=content,
            title=content.title,
            done=content.done,
            total=content.total,
            left_out=content.left_out,
            notes=content.notes,
            pair_title=content.titles,
            lists=lists,
        )
