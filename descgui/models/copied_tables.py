"""What a user copies from the tables of an evaluation, as the tables that reports are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from descgui.models.shown_metric import ShownMetric
from engine import api

if TYPE_CHECKING:
    from engine.api import MergedResults, MetricRow, SummaryRow


def means_table(content: MergedResults, *, queries: str, metric: ShownMetric) -> api.Table:
    """One metric by descriptor and subset, with intervals; the best of each column is bold."""
    rows = {(row.descriptor, row.subset): row for row in metric.rows_in(content, queries)}
    subsets = tuple(dict.fromkeys(row.subset for row in content.summary))
    choose = min if metric.lower_is_better else max
    best = {}
    for subset in subsets:
        found = [row.value for (_, part), row in rows.items() if part == subset]
        values = [value for value in found if value is not None]
        best[subset] = choose(values) if len(values) > 1 else None
    lines = tuple(
        (
            api.Cell(label),
            *(_cell(rows.get((label, subset)), metric, best[subset]) for subset in subsets),
        )
        for label in content.labels
    )
    columns = (api.Column("descriptor", align="left"), *map(api.Column, subsets))
    return api.Table("means", f"{metric.title}, {queries} queries, {content.title}", columns, lines)


def _cell(row: SummaryRow | MetricRow | None, metric: ShownMetric, best: float | None) -> api.Cell:
    if row is None or row.value is None:
        return api.Cell("\N{EN DASH}")
    ends = "" if row.ends is None else f"[{', '.join(map(metric.text, row.ends))}]"
    return api.Cell(metric.text(row.value), ends, strong=row.value == best)


def pairs_table(headings: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> api.Table:
    """Lines of a list of pairs, whose first two columns are words."""
    columns = (
        api.Column(heading, align="left" if place < 2 else "right")
        for place, heading in enumerate(headings)
    )
    cells = (tuple(map(api.Cell, line)) for line in lines)
    return api.Table("pairs", caption, tuple(columns), tuple(cells))
