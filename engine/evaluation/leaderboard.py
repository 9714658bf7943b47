"""Many results on one page: ranked where their fingerprints agree, apart where they do not.

Figures compare only if everything but the descriptors was the same.  Results that agree make up a
board; two boards are never ranked against each other, and the page tells in which fields they
differ.  Fields may be declared harmless, which the page tells, too.  What decides is the mean PCK
at the main threshold, or any metric of the catalogue that the results have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError, quoted
from engine.evaluation.comparison import MergedResults, merge_results
from engine.evaluation.datasets import ALL
from engine.evaluation.fingerprint import differences
from engine.evaluation.metric_summary import MetricRow
from engine.evaluation.report import (
    NONE,
    Cell,
    Column,
    Table,
    left_column,
    list_name,
    make_table,
)
from engine.evaluation.report_html import write_page
from engine.evaluation.report_metrics import chief_metrics, metric_cell
from engine.evaluation.report_prose import (
    facts_of,
    gain_cell,
    pck_cell,
    remark_on,
    seconds_text,
    value_text,
)
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import EvaluationResult, SummaryRow
from engine.evaluation.switches import QueryKind
from engine.metrics import metric_info, metric_text, pck_name
from engine.vocabulary import counted, plural

LEADERBOARD_HTML: Final = "leaderboard.html"

_TEMPLATE: Final = "leaderboard.html.j2"


@dataclass(frozen=True, slots=True)
class Standing:
    """A descriptor's place on a board.

    Attributes:
        rank: 1 for the best; equal values share a rank.  None for a descriptor without a value,
            for one that was given the true scales, which is an upper bound and no competitor, and
            for one that was matched by consensus where others were not.
        label: of the descriptor; unique on its board.
        run: name of the run it was measured in.
    """

    rank: int | None
    label: str
    run: str


@dataclass(frozen=True)
class Board:
    """Results that may be compared.

    Attributes:
        merged: the results, with distinct labels.
        tolerated: the fields that were declared harmless and differ: name -> values.
        by: the metric that decides, without the settings of its estimator; "" for PCK at the main
            threshold.
    """

    merged: MergedResults
    tolerated: Mapping[str, tuple[str, ...]]
    by: str = ""

    @cached_property
    def stats(self) -> Statistics:
        """Of the results."""
        return Statistics(self.merged)

    @property
    def title(self) -> str:
        """Data set and protocol, and the matchers if they are not the usual one."""
        fingerprint = self.merged.results[0].fingerprint
        part = "" if fingerprint.dataset.subset == "all" else f" ({fingerprint.dataset.subset})"
        matchers = dict.fromkeys(one.fingerprint.matcher for one in self.merged.results)
        matching = "" if set(matchers) == {"exact"} else f", {' and '.join(matchers)} matching"
        return f"{fingerprint.dataset.name}{part}, protocol {fingerprint.protocol_words}{matching}"

    @property
    def queries(self) -> QueryKind | None:
        """The list of queries that decides: the first one; None where no pair has any."""
        return self.stats.lists[0] if self.stats.lists else None

    @property
    def metric(self) -> str:
        """The name of the metric that decides, with the settings of its estimator."""
        name = self.by or pck_name(self.stats.main_px)
        return next((one for one in self.metrics if _plain(one) == name), name)

    @property
    def ranked_by(self) -> str:
        """The same in words."""
        return metric_info(self.metric).title

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics beside PCK that a result has."""
        return tuple(dict.fromkeys(row.metric for row in self.merged.metrics))

    def value(self, label: str, metric: str = "") -> MetricRow | SummaryRow | None:
        """What a descriptor reached over all pairs, with the first list of queries.

        Args:
            label: of the descriptor.
            metric: with its settings; "" for the one that decides.
        """
        return self._values.get((label, metric or self.metric))

    def standings(self) -> tuple[Standing, ...]:
        """The descriptors, best first, by the metric that decides."""
        if self.queries is None:
            return ()
        labels = self.stats.labels_with(self.queries)
        rows = {label: self.value(label) for label in labels}
        known = {label: row.value for label, row in rows.items() if row and row.value is not None}
        apart = self.merged.uncompeting
        sign = 1 if metric_info(self.metric).better == "lower" else -1
        order = sorted((sign * value, labels.index(label)) for label, value in known.items())
        competing = [value for value, place in order if labels[place] not in apart]
        found = [
            self._standing(label, None if label in apart else 1 + competing.index(value))
            for value, label in ((value, labels[place]) for value, place in order)
        ]
        first = [one for one in found if one.rank is not None]
        rest = (self._standing(label, None) for label in labels if label not in known)
        return (*first, *(one for one in found if one.rank is None), *rest)

    @cached_property
    def _values(self) -> dict[tuple[str, str], MetricRow | SummaryRow]:
        lists = (self.queries, None)
        found: dict[tuple[str, str], MetricRow | SummaryRow] = {
            (row.descriptor, row.metric): row
            for row in self.merged.metrics
            if row.subset == ALL and row.queries in lists
        }
        for row in self.merged.summary:
            if row.subset == ALL and row.queries == self.queries:
                found[row.descriptor, pck_name(row.threshold_px)] = row
        return found

    def _standing(self, label: str, rank: int | None) -> Standing:
        merged = self.merged
        runs = zip(merged.names, merged.results, strict=True)
        return Standing(rank, label, next(name for name, one in runs if label in one.labels))


def make_boards(
    named: Sequence[tuple[str, EvaluationResult]], allowed: Sequence[str] = (), by: str = ""
) -> tuple[Board, ...]:
    """Put results that compare on one board each.

    Args:
        named: (name, result) of finished evaluations.
        allowed: fields of the fingerprint that may differ on a board, by their dotted names, such
            as ``device``; ``versions`` stands for all that begin with ``versions.``.
        by: the metric that decides, such as ``mma@3``; "" for PCK at the main threshold.

    Returns:
        The boards in the order of their first results; those of consensus come last.

    Raises:
        ConfigError: no result has this metric, or neither high nor low values of it are better.
    """
    groups: list[list[tuple[str, EvaluationResult]]] = []
    for name, result in named:
        for group in groups:
            fields = [field for field, *_ in _unlike(group[0][1], result)]
            if all(_is_allowed(field, allowed) for field in fields):
                group.append((name, result))
                break
        else:
            groups.append([(name, result)])
    # Nearest neighbours tell what descriptors are worth, so theirs come first.
    groups.sort(key=lambda group: group[0][1].fingerprint.matcher == "consensus")
    boards = tuple(Board(merge_results(group), _tolerated(group), by) for group in groups)
    if by:
        _check_metric(boards, by)
    return boards


def _check_metric(boards: Sequence[Board], by: str) -> None:
    known = dict.fromkeys(
        _plain(name)
        for board in boards
        for name in (*map(pck_name, board.stats.thresholds_px), *board.metrics)
    )
    ranking = [name for name in known if metric_info(name).better is not None]
    if by in ranking:
        return
    text = f"the results can be ranked by {', '.join(ranking)}"
    if by in known:
        raise ConfigError("by", f"neither many nor few {quoted(by)} are better; {text}")
    raise ConfigError("by", f"no result has {quoted(by)}; {text}")


def _plain(metric: str) -> str:
    """The name of a metric without the settings of its estimator."""
    return metric.partition("[")[0]


def _unlike(one: EvaluationResult, other: EvaluationResult) -> tuple[tuple[str, Any, Any], ...]:
    return differences(one.fingerprint, other.fingerprint)


def _is_allowed(field: str, allowed: Sequence[str]) -> bool:
    return any(field == one or field.startswith(f"{one}.") for one in allowed)


def _tolerated(group: Sequence[tuple[str, EvaluationResult]]) -> dict[str, tuple[str, ...]]:
    """The fields that differ within a board, with their values in order of appearance."""
    first = group[0][1]
    fields = dict.fromkeys(field for _, one in group[1:] for field, *_ in _unlike(first, one))
    flats = [one.fingerprint.flat() for _, one in group]
    return {
        field: tuple(dict.fromkeys(value_text(flat.get(field)) for flat in flats))
        for field in fields
    }


# ---- the page ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSection:
    """What the page shows of a board.

    Attributes:
        title: data set and protocol.
        detail: how many pairs and results.
        standings: the table.
        ranked_by: what decides, and what that is.
        compares: whether it tells how far each descriptor is behind the first.
        groups: what the set calls its groups of pairs.
        tolerated: fields that differ and were declared harmless, with their values.
        oracles: the descriptors that were given the true scales.
        helped: those that were matched by consensus where others were not.
        facts: the names and values of the fingerprint.
    """

    title: str
    detail: str
    standings: Table
    ranked_by: str
    compares: bool
    groups: str
    tolerated: Mapping[str, tuple[str, ...]]
    oracles: str
    helped: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardPage:
    """What the template draws."""

    title: str
    subtitle: str
    summary: str
    boards: tuple[BoardSection, ...]
    apart: Table | None
    left_out: tuple[str, ...]
    command: str


def write_leaderboard(
    path: Path, boards: Sequence[Board], *, left_out: Sequence[str], command: str
) -> None:
    """Write the page.

    Args:
        path: the file.
        boards: at least one.
        left_out: a sentence for each result that could not be read.
        command: makes the page again.

    Raises:
        OutputError: it cannot be written.
    """
    results = [one for board in boards for one in board.merged.results]
    count = sum(len(board.merged.labels) for board in boards)
    page = LeaderboardPage(
        title="Leaderboard",
        subtitle=f"{counted(len(results), 'result')} · {counted(count, 'descriptor')} · "
        f"{counted(len(boards), 'board')}",
        summary=summary_of(boards),
        boards=tuple(map(_section, boards)),
        apart=_apart(boards) if len(boards) > 1 else None,
        left_out=tuple(left_out),
        command=command,
    )
    write_page(path, _TEMPLATE, leaderboard=page)


def summary_of(boards: Sequence[Board]) -> str:
    """Who leads each board, in sentences."""
    sentences = []
    for board in boards:
        leaders = [one for one in board.standings() if one.rank == 1]
        if not leaders or board.queries is None:
            sentences.append(f"On {board.title}, no descriptor can be ranked.")
            continue
        row = board.value(leaders[0].label)
        assert row is not None
        assert row.value is not None
        names = " and ".join(one.label for one in leaders)
        verb = "leads" if len(leaders) == 1 else "lead"
        if board.by:
            unit = metric_info(board.metric).group.unit
            value = f"{metric_text(board.metric, row.value)}{f' {unit}' if unit else ''}"
            sentences.append(f"On {board.title}, {names} {verb} with {board.ranked_by} of {value}.")
            continue
        share = f"{100 * row.value:.1f} %"
        sentences.append(
            f"On {board.title}, {names} {verb} with {share} of the {list_name(board.queries)} "
            f"queries within {board.stats.main_px:g} px."
        )
    if len(boards) > 1:
        sentences.append(
            "The boards were measured in different ways, so figures of one must not be read "
            "against those of another."
        )
    return " ".join(sentences)


def _section(board: Board) -> BoardSection:
    fingerprint = board.merged.results[0].fingerprint
    oracles = [one.label for one in board.merged.descriptors if one.oracle]
    return BoardSection(
        title=board.title,
        detail=f"{counted(fingerprint.dataset.pairs, 'pair')}, "
        f"{counted(len(board.merged.results), 'result')}",
        standings=_standings_table(board),
        ranked_by=_ranking_words(board),
        compares=not board.by,
        groups=plural(board.stats.group),
        tolerated=board.tolerated,
        oracles=" and ".join(oracles),
        helped=" and ".join(sorted(board.merged.uncompeting.difference(oracles))),
        facts={
            name: value
            for name, value in facts_of(fingerprint).items()
            if name not in board.tolerated
        },
    )


def _ranking_words(board: Board) -> str:
    """What decides, and what that is."""
    info = metric_info(board.metric)
    if info.definition:
        return f"{info.title}: {info.definition}"
    limit = f" (at most {board.by.partition('@')[2]} px)" if board.by else ""
    words = "the mean over pairs of the share of queries that are matched within the threshold"
    return words + limit


def _standings_table(board: Board) -> Table:
    stats, standings = board.stats, board.standings()
    metrics = dict.fromkeys(
        (*([board.metric] if board.metric in board.metrics else []), *chief_metrics(stats))
    )
    lists = stats.lists
    columns = [left_column("rank"), left_column("descriptor"), left_column("run")]
    wanted = [(kind, limit) for kind in lists for limit in stats.thresholds_px]
    columns += [
        Column(f"≤ {limit:g} px", group=f"PCK, {list_name(kind)} queries") for kind, limit in wanted
    ]
    columns += [Column(metric_info(name).heading) for name in metrics]
    if not board.by:
        columns.append(left_column(f"behind the first, ≤ {stats.main_px:g} px"))
    columns.append(Column("an image"))
    timings = {one.descriptor: one for result in board.merged.results for one in result.timings}
    first = standings[0].label if standings else ""
    best = {
        key: max((row.pck or 0 for row in stats.ranked(key[0], limit=key[1])), default=None)
        for key in wanted
    }
    tops = {name: _best_value(board, name, standings) for name in metrics}
    rows: list[list[Cell | str]] = []
    for one in standings:
        cells: list[Cell | str] = [NONE if one.rank is None else str(one.rank)]
        cells += [Cell(one.label, remark_on(board.merged, one.label)), one.run]
        for kind, limit in wanted:
            row = stats.mean(one.label, "all", kind, limit)
            strong = one.rank is not None and row is not None and row.pck == best[kind, limit]
            cells.append(pck_cell(row, strong=strong and len(standings) > 1))
        for name in metrics:
            found = board.value(one.label, name)
            assert not isinstance(found, SummaryRow)
            leads = found is not None and found.value is not None and found.value == tops[name]
            cells.append(metric_cell(found, strong=leads and one.rank is not None))
        if not board.by:
            gain = None
            if one.label != first and board.queries is not None:
                gain = stats.gain(board.queries, one.label, first)
            cells.append(gain_cell(gain, {"descriptor": one.label}))
        timing = timings.get(one.label)
        cells.append(seconds_text(timing.s_per_image if timing else None))
        rows.append(cells)
    return make_table("standings", "", columns, rows)


def _best_value(board: Board, metric: str, standings: Sequence[Standing]) -> float | None:
    """The best value of those that compete; None where fewer than two do, or none is better."""
    better = metric_info(metric).better
    apart = board.merged.uncompeting
    found = [board.value(one.label, metric) for one in standings if one.label not in apart]
    values = [row.value for row in found if row is not None and row.value is not None]
    if better is None or len(values) < 2:
        return None
    return max(values) if better == "higher" else min(values)


def _apart(boards: Sequence[Board]) -> Table:
    """The fields in which the boards differ: why they are not ranked together."""
    flats = [board.merged.results[0].fingerprint.flat() for board in boards]
    fields = dict.fromkeys(_differing_fields(boards))
    columns = [left_column("field"), *(left_column(board.title) for board in boards)]
    rows = [[field, *(value_text(flat.get(field)) for flat in flats)] for field in fields]
    return make_table("apart", "", columns, rows)


def _differing_fields(boards: Sequence[Board]) -> Iterator[str]:
    first = boards[0].merged.results[0]
    for board in boards[1:]:
        for field, *_ in _unlike(first, board.merged.results[0]):
            yield field
