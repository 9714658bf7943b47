"""The tables of a report about the field's metrics, and about what pairs are like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from engine.evaluation.comparison import MergedResults
from engine.evaluation.metric_summary import MetricRow, summarise_metrics
from engine.evaluation.pck import RESAMPLES, bootstrap_mean
from engine.evaluation.report import (
    NONE,
    Cell,
    Column,
    Table,
    left_column,
    list_name,
    make_table,
)
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import PairRow
from engine.evaluation.slices import SLICINGS, slice_rows
from engine.evaluation.switches import QueryKind
from engine.metrics import evaluation_metrics, metric_info, metric_stem, metric_text

_COLUMNS_AT_MOST: Final = 6  # descriptors under the subsets, beside each other
_PCK: Final = "pck"
_CHIEF: Final = (
    *("pck_box@0.1", "pck_box_points@0.1", "aepe", "mma@3"),
    *("corner_auc@5", "pose_auc@10", "calibration_error", "round_trip", "stability"),
)
"""The metrics of which slices and standings are shown; without their settings."""


def metric_tables(stats: Statistics) -> Iterator[Table]:
    """The means or areas of all metrics: a table for each list of queries, and one of pairs."""
    subsets = stats.subsets
    if len(subsets) * len(stats.labels) > _COLUMNS_AT_MOST:
        subsets = subsets[:1]  # slices have the chief metrics of the others
    for kind in dict.fromkeys(row.queries for row in stats.merged.metrics):
        rows = [row for row in stats.merged.metrics if row.queries == kind]
        yield _metric_table(stats, kind, subsets, rows)


def _metric_table(
    stats: Statistics,
    kind: QueryKind | None,
    subsets: Sequence[str],
    rows: Sequence[MetricRow],
) -> Table:
    found = {(row.metric, row.subset, row.descriptor): row for row in rows}
    labels = [label for label in stats.labels if any(row.descriptor == label for row in rows)]
    table: list[list[Cell | str]] = []
    for name in dict.fromkeys(row.metric for row in rows):
        table.append([metric_info(name).heading])
        for subset in subsets:
            mine = [found.get((name, subset, label)) for label in labels]
            best = _best(stats, name, mine)
            table[-1] += [metric_cell(row, strong=row is not None and row in best) for row in mine]
            table[-1].append(str(max((row.pairs for row in mine if row is not None), default=0)))
    columns = [left_column("metric")]
    for subset in subsets:
        columns += [Column(title, group=subset) for title in (*labels, "pairs")]
    of = f"of {list_name(kind)} queries" if kind else "of pairs"
    return make_table(f"metrics-{kind or 'pairs'}", f"Metrics {of}", columns, table)


def _best(stats: Statistics, name: str, rows: Sequence[MetricRow | None]) -> list[MetricRow]:
    """Of several descriptors that may be called best, those that are."""
    apart = stats.merged.uncompeting
    judged = [
        (row.value, row)
        for row in rows
        if row is not None and row.value is not None and row.descriptor not in apart
    ]
    better = metric_info(name).better
    if len(judged) < 2 or better is None:
        return []
    values = [value for value, _ in judged]
    best = max(values) if better == "higher" else min(values)
    return [row for value, row in judged if value == best]


def definition_tables(stats: Statistics) -> Iterator[Table]:
    """What each metric is, and where that is from."""
    measured = {metric_stem(row.metric) for row in stats.merged.metrics}
    rows = [
        [info.title, info.definition, info.reference]
        for info in evaluation_metrics()
        if info.name in measured
    ]
    if rows:
        columns = list(map(left_column, ("metric", "definition", "source")))
        yield make_table("definitions", "Definitions", columns, rows)


def metric_cell(row: MetricRow | None, *, strong: bool = False) -> Cell:
    """A mean or area with its interval; a dash where there is none."""
    if row is None or row.value is None:
        return Cell(NONE)
    keys = {"metric": row.metric, "descriptor": row.descriptor, "subset": row.subset}
    ends = ""
    if row.ends is not None:
        ends = f"[{', '.join(metric_text(row.metric, end) for end in row.ends)}]"
    return Cell(metric_text(row.metric, row.value), ends, strong=strong, keys=keys)


def slice_tables(stats: Statistics) -> Iterator[Table]:
    """PCK and the chief of the other metrics by what pairs are like, a table for each."""
    if not stats.lists:
        return
    kind = stats.lists[0]
    rows = [row for row in stats.merged.pairs if row.queries == kind]
    slices = list(_slices(stats, rows))
    if not slices:
        return
    found: dict[tuple[str, str], dict[tuple[str, str], MetricRow]] = {}
    for heading, bands in slices:
        for row in _band_rows(stats, bands, kind):
            found.setdefault((row.metric, heading), {})[row.subset, row.descriptor] = row
    labels = stats.labels_with(kind)
    for name in (_PCK, *chief_metrics(stats)):
        table: list[Sequence[Cell | str]] = []
        for heading, bands in slices:
            mine = found.get((name, heading), {})
            if not mine:
                continue
            table.append([heading])
            for band, some in bands.items():
                cells = [metric_cell(mine.get((band, label))) for label in labels]
                pairs = len({row.key for row in some})
                table.append([band, *cells, str(pairs)])
        if table:
            title = f"PCK at {stats.main_px:g} px" if name == _PCK else metric_info(name).heading
            yield make_table(
                f"slices-{name}",
                f"{title} by what pairs are like, {list_name(kind)} queries",
                [left_column(""), *map(Column, labels), Column("pairs")],
                table,
            )


def slices_of(merged: MergedResults) -> tuple[Table, ...]:
    """The tables of :func:`slice_tables`, which take seconds for many pairs."""
    return tuple(slice_tables(Statistics(merged)))


def _slices(
    stats: Statistics, rows: Sequence[PairRow]
) -> Iterator[tuple[str, Mapping[str, Sequence[PairRow]]]]:
    """The heading and the bands of each property in which pairs differ, then the set's parts."""
    for slicing in SLICINGS:
        bands = slice_rows(rows, slicing)
        if len(bands) > 1:
            yield f"{slicing.title}: {slicing.explanation}", bands
    if len(stats.subsets) > 1:
        parts = {part: [row for row in rows if row.subset == part] for part in stats.subsets[1:]}
        yield "part of the set", {part: some for part, some in parts.items() if some}


def chief_metrics(stats: Statistics) -> tuple[str, ...]:
    """The names of the metrics that stand for the others, of those that were measured."""
    measured = dict.fromkeys(row.metric for row in stats.merged.metrics)
    return tuple(name for wanted in _CHIEF for name in measured if name.partition("[")[0] == wanted)


def _band_rows(
    stats: Statistics, bands: Mapping[str, Sequence[PairRow]], kind: QueryKind
) -> Iterator[MetricRow]:
    """Means and areas of each band and descriptor, with intervals; bands stand for subsets."""
    seed = stats.merged.results[0].fingerprint.seed
    for band, rows in bands.items():
        for label in stats.labels:
            mine = [row for row in rows if row.descriptor == label]
            shares = [row.share(stats.main_px) for row in mine]
            if not shares:
                continue
            groups = [row.sequence for row in mine]
            mean = bootstrap_mean(shares, groups, seed=seed)
            low, high = mean.ends or (None, None)
            counts = (len(mine), len(set(groups)))
            yield MetricRow(label, band, kind, _PCK, mean.mean, low, high, *counts)
    yield from summarise_metrics(bands, stats.labels, [kind], seed=seed, resamples=RESAMPLES)
