"""A measured figure, and a table of figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured value, its spread, and its target.

    Attributes:
        name: what was measured, such as ``first paint, warm``; unique among all figures.
        median: middle of the runs.
        low, high: smallest and largest of the runs.
        unit: of these three, such as ``ms``.
        n: how many runs.
        target: upper limit for the median; None for a figure without a target.
        ratio_to: name of the figure to compare this one with, measured in the same session.
            Ratios also hold on other computers, times do not.
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
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.median <= self.target


def summarise(
    name: str,
    samples: Sequence[float],
    *,
    unit: str,
    target: float | None = None,
    ratio_to: str | None = None,
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
        note=note,
    )


def table(figures: Sequence[Figure]) -> str:
    """The figures as text in columns.

    The ratio refers to the figure named, or else to the target: below 1 is better than the target.
    """
    head = ("figure", "median", "low … high", "spread", "n", "ratio", "target", "")
    rows = [head, *(_row(figure, {f.name: f for f in figures}) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, 5, 7) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths[:-1]))
    lines += [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join(lines)


def _row(figure: Figure, others: dict[str, Figure]) -> tuple[str, ...]:
    spread = (figure.high - figure.low) / figure.median if figure.median else math.nan
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
    return (
        figure.name,
        f"{_number(figure.median)} {figure.unit}",
        f"{_number(figure.low)} … {_number(figure.high)}",
        "" if math.isnan(spread) else f"{100 * spread:.0f} %",
        str(figure.n),
        _ratio(figure, others),
        "" if figure.target is None else f"≤ {_number(figure.target)} {figure.unit}",
        verdict,
    )


def _ratio(figure: Figure, others: dict[str, Figure]) -> str:
    base = others.get(figure.ratio_to or "")
    if base is not None and base.median:
        return f"{figure.median / base.median:.2f} × {base.name}"
    if figure.target:
        return f"{figure.median / figure.target:.2f} × target"
    return ""


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
