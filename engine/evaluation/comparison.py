"""One or several results in one table, with a warning for every way in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.data.layouts import group_word
from engine.evaluation.fingerprint import MeasuredDescriptor, differences
from engine.evaluation.metric_summary import MetricRow, metric_gaps
from engine.evaluation.result import EvaluationResult, PairRow, SummaryRow
from engine.evaluation.stress import STRESS_KINDS
from engine.evaluation.switches import QUERY_KINDS


@dataclass(frozen=True, slots=True)
class MergedResults:
    """One or several results in one table.

    Attributes:
        names: what each result is called, such as its folder's name.
        results: as they were, with distinct labels.
        warnings: a sentence for every field of the fingerprints that differs.
    """

    names: tuple[str, ...]
    results: tuple[EvaluationResult, ...]
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Descriptors, data set and protocol, in a line."""
        sets = sorted({one.fingerprint.dataset.name for one in self.results})
        protocols = sorted({one.fingerprint.protocol for one in self.results})
        return " · ".join(map(", ".join, (self.labels, sets, protocols)))

    @property
    def descriptors(self) -> tuple[MeasuredDescriptor, ...]:
        """All descriptors, in the order of the table."""
        return tuple(one for result in self.results for one in result.fingerprint.descriptors)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the rows of the descriptors are called."""
        return tuple(one.label for one in self.descriptors)

    @property
    def uncompeting(self) -> frozenset[str]:
        """The labels that may not be called best.

        Those that were given the true scales, and those that were matched by consensus where
        others were not: neighbours' help says nothing about a descriptor.
        """
        helped = [one.label for one in self.descriptors if one.matcher == "consensus"]
        if len(helped) == len(self.descriptors):
            helped = []
        oracles = [one.label for one in self.descriptors if one.oracle]
        return frozenset((*helped, *oracles))

    @property
    def summary(self) -> tuple[SummaryRow, ...]:
        """All rows, Harris first, then in the order of the results."""
        rows = [row for result in self.results for row in result.summary]
        return tuple(sorted(rows, key=lambda row: QUERY_KINDS.index(row.queries)))

    @property
    def metrics(self) -> tuple[MetricRow, ...]:
        """All means and areas of the field's metrics, by list of queries, then by result."""
        rows = [row for result in self.results for row in result.metrics]
        lists = (*QUERY_KINDS, None)
        return tuple(sorted(rows, key=lambda row: lists.index(row.queries)))

    @property
    def pairs(self) -> tuple[PairRow, ...]:
        """All rows, in the order of the results."""
        return tuple(row for result in self.results for row in result.pairs)

    @property
    def has_pairs(self) -> bool:
        """Whether there are any rows."""
        return any(result.pairs for result in self.results)

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for each pair or list of queries that was not measured."""
        return tuple(entry.reason for result in self.results for entry in result.left_out)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the results differ, what was wrong with the data, and what is missing."""
        problems = [problem for result in self.results for problem in result.problems]
        return (*self.warnings, *problems, *self.unmeasured, *self.without_points)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """A sentence for each metric that was asked for and that not every pair's truth tells."""
        gaps = [
            text
            for one in self.results
            if one.fingerprint.metrics is not None
            for text in metric_gaps(one.pairs, one.fingerprint.metrics.chosen)
        ]
        return tuple(dict.fromkeys(gaps))

    @property
    def without_points(self) -> tuple[str, ...]:
        """A sentence for each result that has no points."""
        return tuple(
            f"{name} was measured before matches were kept: reports show no pictures of its pairs."
            for name, one in zip(self.names, self.results, strict=True)
            if one.pairs and not one.has_points
        )

    @property
    def done(self) -> int:
        """How many pairs were measured or left out."""
        return len(frozenset().union(*(one.seen for one in self.results)))

    @property
    def total(self) -> int:
        """Of how many."""
        return max(one.fingerprint.dataset.pairs for one in self.results)

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return all(one.finished for one in self.results)

    @property
    def seconds(self) -> float | None:
        """How long the last part of a single run took; None where that is not known."""
        return self.results[0].wall_s if len(self.results) == 1 else None

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the results are, for those that have files."""
        return tuple(one.folder for one in self.results if one.folder is not None)

    @property
    def root(self) -> Path | None:
        """Folder of the images; None where the results differ in it or it is not known."""
        roots = {one.sources.root for one in self.results}
        return Path(roots.pop()) if len(roots) == 1 and "" not in roots else None

    @property
    def opened(self) -> str | None:
        """What opens the set of pairs in the window; None where :attr:`root` is."""
        if self.root is None:
            return None
        return self.results[0].sources.opened or str(self.root)

    @property
    def changed(self) -> bool:
        """Whether the pairs are not those on the disk (``rotated:``, ``scaled:``)."""
        names = [one.fingerprint.dataset.name.partition(":")[0] for one in self.results]
        return any(name in STRESS_KINDS for name in names)

    @property
    def group(self) -> str:
        """What a group of pairs is called: as the set calls it, where all results agree."""
        words = {group_word(one.fingerprint.dataset.layout) for one in self.results}
        return words.pop() if len(words) == 1 else "group"

    @property
    def titles(self) -> Callable[[str, int], str]:
        """What users call a pair, by its group and its number."""
        names = {row.key: row.name for row in self.pairs if row.name}
        title = self.results[0].fingerprint.dataset.title
        return lambda group, index: names.get((group, index)) or title(group, index)

    def result_of(self, label: str) -> EvaluationResult:
        """The result that a descriptor belongs to."""
        return next(one for one in self.results if label in one.labels)

    def weights_of(self, label: str) -> Path | None:
        """The weights file of a descriptor; None where it needed none."""
        file = self.result_of(label).sources.weights.get(label)
        return Path(file) if file else None

    def descriptor(self, label: str) -> MeasuredDescriptor:
        """A descriptor by its label."""
        return next(one for one in self.descriptors if one.label == label)


def merge_results(named: Sequence[tuple[str, EvaluationResult]]) -> MergedResults:
    """Put results into one table, and report how they differ.

    A label that several results use gets the result's name behind it.  What the descriptors
    themselves are may differ, since that is what a table compares.

    Args:
        named: (name, such as the run folder's; result), at least one.
    """
    every = [label for _, result in named for label in result.labels]
    repeated = {label for label in every if every.count(label) > 1}
    taken: set[str] = set()
    results = []
    for name, result in named:
        new = {}
        for label in result.labels:
            wanted = f"{label} ({name})" if label in repeated else label
            new[label] = untaken(wanted, taken)
            taken.add(new[label])
        results.append(_relabelled(result, new) if repeated else result)
    first_name, first = named[0]
    warnings = [
        f"{first_name} and {name} are not comparable: they differ in {field} "
        f"({_shown(one)} and {_shown(other)})."
        for name, result in named[1:]
        for field, one, other in differences(first.fingerprint, result.fingerprint)
    ]
    return MergedResults(tuple(name for name, _ in named), tuple(results), tuple(warnings))


def untaken(wanted: str, taken: Collection[str]) -> str:
    """A label that is not taken: the wanted one, or it with a number behind it."""
    label, number = wanted, 2
    while label in taken:
        label, number = f"{wanted} #{number}", number + 1
    return label


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else f"{text[:21]}…"


def _relabelled(result: EvaluationResult, new: Mapping[str, str]) -> EvaluationResult:
    descriptors = [replace(one, label=new[one.label]) for one in result.fingerprint.descriptors]
    weights = {new[label]: path for label, path in result.sources.weights.items() if label in new}
    return replace(
        result,
        fingerprint=replace(result.fingerprint, descriptors=tuple(descriptors)),
        summary=tuple(replace(row, descriptor=new[row.descriptor]) for row in result.summary),
        pairs=tuple(replace(row, descriptor=new[row.descriptor]) for row in result.pairs),
        metrics=tuple(replace(row, descriptor=new[row.descriptor]) for row in result.metrics),
        timings=tuple(replace(one, descriptor=new[one.descriptor]) for one in result.timings),
        sources=replace(result.sources, weights=weights),
    )
