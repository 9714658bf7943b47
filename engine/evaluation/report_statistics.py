"""The figures of a report: what is best, by how much, where, and which pairs are worst.

Means and intervals are those of the results; the rest is computed from their rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from engine.data.folders import natural_key
from engine.evaluation.comparison import MergedResults
from engine.evaluation.datasets import ALL
from engine.evaluation.pck import CURVE_PX, LEAST_SEQUENCES, Interval, bootstrap_mean
from engine.evaluation.result import PairRow, SummaryRow, subsets_of
from engine.evaluation.switches import QUERY_KINDS, QueryKind

WORST_PAIRS: Final = 12
_PREFERRED_PX: Final = 5.0


@dataclass(frozen=True, slots=True)
class Gain:
    """How far one descriptor is ahead of another on the pairs that both have.

    Attributes:
        interval: the mean difference.
        ahead: the number of groups on which the first one is ahead.
        sequences: of how many.
    """

    interval: Interval
    ahead: int
    sequences: int

    @property
    def certain(self) -> bool:
        """Whether the interval does not contain 0, and rests on enough groups to mean that."""
        ends = self.interval.ends
        return not self.few and ends is not None and (ends[0] > 0 or ends[1] < 0)

    @property
    def few(self) -> bool:
        """Whether the interval means little, over so few groups."""
        return self.sequences < LEAST_SEQUENCES


class Statistics:
    """Figures of one or several results."""

    def __init__(self, merged: MergedResults) -> None:
        self.merged = merged
        self.labels = merged.labels
        self.series = {label: place for place, label in enumerate(self.labels)}

    @property
    def group(self) -> str:
        """What a group of pairs is called: as the set calls it, where all results agree."""
        return self.merged.group

    @cached_property
    def lists(self) -> tuple[QueryKind, ...]:
        """The lists of queries that have rows of pairs, Harris first."""
        there = {row.queries for row in self.merged.pairs}
        return tuple(kind for kind in QUERY_KINDS if kind in there)

    @cached_property
    def thresholds_px(self) -> tuple[float, ...]:
        """Of all results, ascending."""
        return tuple(sorted(set().union(*self._limits)))

    @cached_property
    def main_px(self) -> float:
        """The threshold of single figures: 5 px if all have it, else the largest they share."""
        common = set.intersection(*self._limits)
        return _PREFERRED_PX if _PREFERRED_PX in common or not common else max(common)

    @cached_property
    def rows(self) -> Mapping[tuple[str, QueryKind], Mapping[tuple[str, int], PairRow]]:
        """The rows of pairs by descriptor and list, then by pair."""
        found: dict[tuple[str, QueryKind], dict[tuple[str, int], PairRow]] = {}
        for row in self.merged.pairs:
            mine = found.setdefault((row.descriptor, row.queries), {})
            mine[row.key] = row
        return found

    @cached_property
    def subsets(self) -> tuple[str, ...]:
        """All, and the parts that differ from it."""
        differ = len(set(self.subset_of.values())) > 1
        return subsets_of(self.merged.pairs) if differ else (ALL,)

    @cached_property
    def subset_of(self) -> Mapping[str, str]:
        """The part of the set that each group belongs to, "" for none."""
        return {row.sequence: row.subset for row in self.merged.pairs}

    def labels_with(self, kind: QueryKind) -> tuple[str, ...]:
        """The descriptors that were measured with a list."""
        return tuple(label for label in self.labels if (label, kind) in self.rows)

    def mean(
        self, label: str, subset: str, kind: QueryKind, limit: float | None = None
    ) -> SummaryRow | None:
        """A row of the summary, at the main threshold by default; None where there is none."""
        return self._means.get((label, subset, kind, self.main_px if limit is None else limit))

    def ranked(
        self, kind: QueryKind, subset: str = ALL, limit: float | None = None
    ) -> list[SummaryRow]:
        """The means of the descriptors that may be called best, best first.

        Those that do not compete may not, unless they are alone.
        """
        every = [self.mean(label, subset, kind, limit) for label in self.labels_with(kind)]
        apart = self.merged.uncompeting
        if set(self.labels_with(kind)) <= apart:
            apart = frozenset()
        known = [row for row in every if row and row.pck is not None]
        judged = [row for row in known if row.descriptor not in apart]
        return sorted(judged, key=lambda row: -(row.pck or 0))

    def curve(self, label: str, kind: QueryKind, subset: str) -> tuple[float, ...]:
        """The mean share within each threshold of a curve; empty without any pair."""
        rows = self.rows[label, kind].values()
        return mean_curve([row for row in rows if subset in (ALL, row.subset)])

    def precision_curve(self, label: str, subset: str) -> tuple[float, ...]:
        """The mean precision at each recall of matches as found; empty where none was measured."""
        mine = {row.key: row for row in self.merged.pairs if row.descriptor == label}
        curves = [row.precision for row in mine.values() if subset in (ALL, row.subset)]
        known = [one for one in curves if one]
        return tuple(sum(shares) / len(known) for shares in zip(*known, strict=True))

    def whiskers(
        self, label: str, kind: QueryKind, subset: str
    ) -> tuple[tuple[float, float, float], ...]:
        """(threshold, low, high) of the intervals on a curve."""
        limits = [limit for limit in self.thresholds_px if limit <= CURVE_PX[-1]]
        means = [self.mean(label, subset, kind, limit) for limit in limits]
        return tuple((row.threshold_px, *row.ends) for row in means if row and row.ends)

    def by_sequence(self, kind: QueryKind) -> dict[str, dict[str, float | None]]:
        """Mean PCK at the main threshold: group -> descriptor -> mean, hardest first."""
        shares: dict[str, dict[str, list[float]]] = {}
        for label in self.labels_with(kind):
            for row in self.rows[label, kind].values():
                mine = shares.setdefault(row.sequence, {}).setdefault(label, [])
                mine += [share for limit, share in row.pck if limit == self.main_px]
        means = {
            name: {label: sum(some) / len(some) if some else None for label, some in mine.items()}
            for name, mine in shares.items()
        }

        def overall(name: str) -> float:
            known = [mean for mean in means[name].values() if mean is not None]
            return sum(known) / len(known) if known else 0.0

        names = sorted(means, key=lambda name: (overall(name), natural_key(name)))
        return {name: means[name] for name in names}

    def gain(self, kind: QueryKind, better: str, other: str, subset: str = ALL) -> Gain | None:
        """How far one is ahead at the main threshold; None where they have no pair in common."""
        mine, its = self.rows[better, kind], self.rows[other, kind]
        common = sorted(
            (key for key, row in mine.items() if key in its and subset in (ALL, row.subset)),
            key=lambda key: (natural_key(key[0]), key[1]),
        )
        if not common:
            return None
        limit = self.main_px
        gaps = [mine[key].share(limit) - its[key].share(limit) for key in common]
        names = [sequence for sequence, _ in common]
        sums = dict.fromkeys(names, 0.0)
        for name, gap in zip(names, gaps, strict=True):
            sums[name] += gap
        seed = self.merged.results[0].fingerprint.seed
        ahead = sum(gap > 0 for gap in sums.values())
        return Gain(bootstrap_mean(gaps, names, seed=seed), ahead, len(sums))

    def worst_rows(
        self, *, limit: int = WORST_PAIRS, labels: Collection[str] | None = None
    ) -> tuple[PairRow, ...]:
        """The rows with the lowest PCK: each descriptor's in turn, each pair of images once.

        In turn, because one descriptor that fails everywhere would else take all places.

        Args:
            limit: how many, at most.
            labels: of these descriptors alone; None for all that may be called best.

        Returns:
            At most ``limit`` rows, by descriptor (best first), then by PCK.
        """
        if not self.lists:
            return ()
        ranked = [
            row.descriptor
            for row in self.ranked(self.lists[0])
            if labels is None or row.descriptor in labels
        ]
        taken: set[tuple[str, int]] = set()

        def fresh(label: str) -> Iterator[PairRow]:
            """The rows of a descriptor, worst first, whose pair no other one has taken."""
            rows = self.rows[label, self.lists[0]].values()
            by_name = sorted(rows, key=lambda row: (natural_key(row.sequence), row.index))
            for row in sorted(by_name, key=lambda row: row.share(self.main_px)):
                if row.key not in taken:
                    taken.add(row.key)
                    yield row

        turns = deque(map(fresh, ranked))
        chosen: list[PairRow] = []
        while turns and len(chosen) < limit:
            turn = turns.popleft()
            if (row := next(turn, None)) is not None:
                chosen.append(row)
                turns.append(turn)
        return tuple(sorted(chosen, key=lambda row: ranked.index(row.descriptor)))

    @cached_property
    def _limits(self) -> list[set[float]]:
        return [set(result.fingerprint.thresholds_px) for result in self.merged.results]

    @cached_property
    def _means(self) -> dict[tuple[str, str, QueryKind, float], SummaryRow]:
        return {
            (row.descriptor, row.subset, row.queries, row.threshold_px): row
            for row in self.merged.summary
        }


def mean_curve(rows: Sequence[PairRow]) -> tuple[float, ...]:
    """The mean over rows of the share within each threshold of a curve; empty without rows."""
    if not rows:
        return ()
    return tuple(
        sum(row.counts_within[place] / row.count for row in rows) / len(rows)
        for place in range(len(CURVE_PX))
    )
