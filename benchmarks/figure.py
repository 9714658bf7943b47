"""A measured figure, and a table of figures."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value, its spread, and its target.

    Attributes:
        name: what was measured, such as ``first paint, warm``; unique among all figures.
        median: middle of the runs.
        low, high: smallest and largest of the runs.
        unit: of these three, such as ``ms``.
        n: how many runs.
        target: limit for the median, or for the ratio where ``of_ratio`` is set; None for a figure
            without a target.
        ratio_to: name of the figure to compare this one with, measured turn and turn about in the
            same session.  Ratios also hold on other computers, times do not.
        of_ratio: the target is one for the ratio.
        direction: whether ``lower`` or ``higher`` is better.
        note: conditions that a reader must know.
    """

    name: str
    median: float
    low: float
    high: float
    unit: str
    n: int
    target: float | None = None
    ratio_to: str | None = None
    of_ratio: bool = False
    direction: Direction = "lower"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure beside what it is compared with, as ``--json`` writes it.

    Attributes:
        name, unit, direction, target, note: as those of :class:`Figure`.
        value, low, high, runs: its median, its ends, and how many runs.
        reference: name of what it is compared with; None where it is compared with nothing, or
            that could not be measured.
        ratio: of the two medians.
        met: whether the target is met; None without a target, or where it is one for the ratio and
            the reference is missing.
    """

    name: str
    value: float
    unit: str
    low: float
    high: float
    runs: int
    reference: str | None
    ratio: float | None
    direction: Direction
    target: float | None
    of_ratio: bool
    met: bool | None
    note: str


def make_rows(figures: Sequence[Figure]) -> list[Row]:
    """Compare figures with those they refer to."""
    known = {figure.name: figure for figure in figures}
    return [_make_row(figure, known.get(figure.ratio_to or "")) for figure in figures]


def _make_row(figure: Figure, base: Figure | None) -> Row:
    ratio = figure.median / base.median if base is not None and base.median else None
    held = ratio if figure.of_ratio else figure.median
    met = None
    if figure.target is not None and held is not None:
        met = held <= figure.target if figure.direction == "lower" else held >= figure.target
    return Row(
        name=figure.name,
        value=figure.median,
        unit=figure.unit,
        low=figure.low,
        high=figure.high,
        runs=figure.n,
        reference=base.name if base is not None else None,
        ratio=ratio,
        direction=figure.direction,
        target=figure.target,
        of_ratio=figure.of_ratio,
        met=met,
        note=figure.note,
    )


def take_turns(
    works: Mapping[str, Callable[[], float | None]], runs: int
) -> dict[str, list[float]]:
    """Time several ways to do the same, turn and turn about, after one round to warm up.

    Args:
        works: each does its work once and returns the seconds it took; None: measured from here.
        runs: rounds that count.

    Returns:
        For each its times, in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(runs + 1):
        for name, work in works.items():
            began_s = time.perf_counter()
            told_s = work()
            took_s = time.perf_counter() - began_s if told_s is None else told_s
            if round_:
                times[name].append(took_s)
    return times


def summarise(
    name: str,
    samples: Sequence[float],
    *,
    unit: str,
    target: float | None = None,
    ratio_to: str | None = None,
    of_ratio: bool = False,
    direction: Direction = "lower",
    note: str = "",
) -> Figure:
    """Make a figure from the samples of all runs.

    Raises:
        ValueError: no samples, or one that is not finite.
    """
    if not samples or not all(math.isfinite(sample) for sample in samples):
        raise ValueError(f"{name} needs finite samples, got {list(samples)}")
    return Figure(
        name=name,
        median=statistics.median(samples),
        low=min(samples),
        high=max(samples),
        unit=unit,
        n=len(samples),
        target=target,
        ratio_to=ratio_to,
        of_ratio=of_ratio,
        direction=direction,
        note=note,
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as text in columns.

    Where a figure is compared with no other, its ratio is that to its target.
    """
    head = ("figure", "median", "low … high", "spread", "n", "ratio", "target", "")
    lines_of_cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in lines_of_cells) for column in range(len(head))]
    lines = []
    for row in lines_of_cells:
        cells = [
            cell.ljust(width) if column in (0, 5, 7) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths[:-1]))
    lines += [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    spread = (row.high - row.low) / row.value if row.value else math.nan
    verdict = {None: "", True: "met", False: "MISSED"}[row.met]
    return (
        row.name,
        f"{_number(row.value)} {row.unit}",
        f"{_number(row.low)} … {_number(row.high)}",
        "" if math.isnan(spread) else f"{100 * spread:.0f} %",
        str(row.runs),
        _ratio(row),
        _target(row),
        verdict,
    )


def _ratio(row: Row) -> str:
    if row.ratio is not None:
        return f"{row.ratio:.2f} × {row.reference}"
    if row.target and not row.of_ratio:
        return f"{row.value / row.target:.2f} × target"
    return ""


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≤" if row.direction == "lower" else "≥"
    return f"{sign} {_number(row.target)} {'×' if row.of_ratio else row.unit}"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
