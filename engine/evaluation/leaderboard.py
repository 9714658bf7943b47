"""Many results on one page: ranked where their fingerprints agree, apart where they do not.

Figures compare only if everything but the descriptors was the same.  Results that agree make up a
board; two boards are never ranked against each other, and the page tells in which fields they
differ.  Fields may be declared harmless, which the page tells, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from engine.evaluation.comparison import MergedResults, merge_results
from engine.evaluation.fingerprint import differences
from engine.evaluation.report import (
    NONE,
    Cell,
    Column,
    Table,
    counted,
    left_column,
    list_name,
    make_table,
)
from engine.evaluation.report_html import write_page
from engine.evaluation.report_prose import (
    facts_of,
    gain_cell,
    pck_cell,
    remark_on,
    seconds_text,
    value_text,
)
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import EvaluationResult
from engine.evaluation.switches import QueryKind

LEADERBOARD_HTML: Final = "leaderboard.html"

_TEMPLATE: Final = "leaderboard.html.j2"


@dataclass(frozen=True, slots=True)
class Standing:
    """A descriptor's place on a board.

    Attributes:
        rank: 1 for the best; equal means share a rank.  None for a descriptor that was given the
            true scales, which is an upper bound and no competitor.
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
    """

    merged: MergedResults
    tolerated: Mapping[str, tuple[str, ...]]

    @cached_property
    def stats(self) -> Statistics:
        """Of the results."""
        return Statistics(self.merged)

    @property
    def title(self) -> str:
        """Data set and protocol."""
        fingerprint = self.merged.results[0].fingerprint
        part = "" if fingerprint.dataset.subset == "all" else f" ({fingerprint.dataset.subset})"
        return f"{fingerprint.dataset.name}{part}, protocol {fingerprint.protocol}"

    @property
    def queries(self) -> QueryKind | None:
        """The list of queries that decides: the first one; None where no pair has any."""
        return self.stats.lists[0] if self.stats.lists else None

    def standings(self) -> tuple[Standing, ...]:
        """The descriptors, best first, by their mean PCK at the main threshold."""
        if self.queries is None:
            return ()
        ranked = self.stats.ranked(self.queries)
        found, rank = [], 0
        for place, row in enumerate(ranked):
            if not place or row.pck != ranked[place - 1].pck:
                rank = place + 1
            oracle = self.merged.descriptor(row.descriptor).oracle
            found.append(self._standing(row.descriptor, None if oracle else rank))
        placed = {one.label for one in found}
        rest = (label for label in self.stats.labels_with(self.queries) if label not in placed)
        return (*found, *(self._standing(label, None) for label in rest))

    def _standing(self, label: str, rank: int | None) -> Standing:
        merged = self.merged
        runs = zip(merged.names, merged.results, strict=True)
        return Standing(rank, label, next(name for name, one in runs if label in one.labels))


def make_boards(
    named: Sequence[tuple[str, EvaluationResult]], allowed: Sequence[str] = ()
) -> tuple[Board, ...]:
    """Put results that compare on one board each.

    Args:
        named: (name, result) of finished evaluations.
        allowed: fields of the fingerprint that may differ on a board, by their dotted names, such
            as ``device``; ``versions`` stands for all that begin with ``versions.``.

    Returns:
        The boards in the order of their first results.
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
    return tuple(Board(merge_results(group), _tolerated(group)) for group in groups)


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
    """What the page shows of a board."""

    title: str
    detail: str
    standings: Table
    tolerated: Mapping[str, tuple[str, ...]]
    oracles: str
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
        row = board.stats.mean(leaders[0].label, "all", board.queries)
        assert row is not None
        share = f"{100 * (row.pck or 0):.1f} %"
        names = " and ".join(one.label for one in leaders)
        verb = "leads" if len(leaders) == 1 else "lead"
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
        tolerated=board.tolerated,
        oracles=" and ".join(oracles),
        facts={
            name: value
            for name, value in facts_of(fingerprint).items()
            if name not in board.tolerated
        },
    )


def _standings_table(board: Board) -> Table:
    stats, standings = board.stats, board.standings()
    lists = stats.lists
    columns = [left_column("rank"), left_column("descriptor"), left_column("run")]
    wanted = [(kind, limit) for kind in lists for limit in stats.thresholds_px]
    columns += [
        Column(f"≤ {limit:g} px", group=f"PCK, {list_name(kind)} queries") for kind, limit in wanted
    ]
    columns += [left_column(f"behind the first, ≤ {stats.main_px:g} px"), Column("an image")]
    timings = {one.descriptor: one for result in board.merged.results for one in result.timings}
    first = standings[0].label if standings else ""
    best = {
        key: max((row.pck or 0 for row in stats.ranked(key[0], limit=key[1])), default=None)
        for key in wanted
    }
    rows: list[list[Cell | str]] = []
    for one in standings:
        cells: list[Cell | str] = [NONE if one.rank is None else str(one.rank)]
        cells += [Cell(one.label, remark_on(board.merged, one.label)), one.run]
        for kind, limit in wanted:
            row = stats.mean(one.label, "all", kind, limit)
            strong = one.rank is not None and row is not None and row.pck == best[kind, limit]
            cells.append(pck_cell(row, strong=strong and len(standings) > 1))
        gain = None
        if one.label != first and board.queries is not None:
            gain = stats.gain(board.queries, one.label, first)
        cells.append(gain_cell(gain, {"descriptor": one.label}))
        timing = timings.get(one.label)
        cells.append(seconds_text(timing.s_per_image if timing else None))
        rows.append(cells)
    return make_table("standings", "", columns, rows)


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
