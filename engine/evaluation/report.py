"""What the templates of a report draw: tables, figures and pictures of pairs.

Nothing here loads torch or draws a figure: figures are SVG already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal

from engine.evaluation.report_statistics import Statistics
from engine.evaluation.switches import QueryKind

if TYPE_CHECKING:
    from engine.figures.figure_content import CurvesFigure

REPORT_HTML: Final = "report.html"
REPORT_PDF: Final = "report.pdf"

NONE: Final = "\N{EN DASH}"
"""What a cell says that has no value."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A field of a table.

    Attributes:
        text: what it says.
        detail: smaller text below it.
        strong: whether it is the best of its column.
        bar: a share in [0, 1] that is drawn as a bar behind the text; None for no bar.
        series: number of the descriptor whose colour the bar has.
        interval: (low, value, high) that is drawn on the axis of its column; None for none.
        keys: what the number is, for programs that read the page.
    """

    text: str
    detail: str = ""
    strong: bool = False
    bar: float | None = None
    series: int = 0
    interval: tuple[float, float, float] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        group: a heading over this column and its neighbours of the same group.
        align: numbers are set to the right.
        axis: (low, high) ends of the axis that intervals are drawn on; None without any.
    """

    title: str
    group: str = ""
    align: Literal["left", "right"] = "right"
    axis: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows; a row of one cell is a heading among them."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing as SVG on a clear ground, in the colours of paper.

    Attributes:
        svg: as it stands in a page.
        title: what it shows.
        content: of a plot, from which other kinds of files are drawn; None of other drawings.
    """

    svg: str
    title: str
    content: CurvesFigure | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Drawings side by side with one legend; each of its entries has a drawn sample.

    Attributes:
        legend: a sample of each kind of line.
        figures: the drawings.
        caption: below them.
        title: what all of them show, in a few words.
    """

    legend: tuple[Figure, ...]
    figures: tuple[Figure, ...] = ()
    caption: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class PairPicture:
    """A pair of images with its matches.

    Attributes:
        title: which pair.
        detail: how it was measured.
        figure: both images with lines; None where they cannot be shown.
        note: what the lines are, or why there are none.
        command: opens the pair in the window.
    """

    title: str
    detail: str
    figure: Figure | None
    note: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report says; its template adds the sentences that are always the same.

    Attributes:
        title: what was measured, on what.
        subtitle: how, in a line.
        summary: what was found, in a paragraph.
        stats: of the results.
        tables: by section; a section without any says nothing that needs one.
        curves: PCK over the threshold, by list of queries.
        precision: of the matches as found over recall; none where these were not measured.
        judgements: legend of the pictures of pairs; None without pictures.
        worst: the pairs with the lowest PCK.
        problems: what was wrong with the data sets when they were opened.
        facts: the names and values of each run's fingerprint.
        command: makes this report again.
        beside: the files beside the page that hold the same to copy, in words; "" for none.
    """

    title: str
    subtitle: str
    summary: str
    stats: Statistics
    tables: Mapping[str, tuple[Table, ...]]
    curves: tuple[Figures, ...]
    precision: tuple[Figures, ...]
    judgements: Figures | None
    worst: tuple[PairPicture, ...]
    problems: tuple[str, ...]
    facts: tuple[Mapping[str, str], ...]
    command: str
    beside: str = ""

    @property
    def every_curve(self) -> tuple[Figures, ...]:
        """The plots of all sections, in order."""
        return (*self.curves, *self.precision)

    @property
    def every_table(self) -> tuple[Table, ...]:
        """The tables of all sections, in order."""
        return tuple(one for some in self.tables.values() for one in some)


def number_text(value: float | None) -> str:
    """A share with three decimals; a dash where it is not known."""
    return NONE if value is None else f"{value:.3f}"


def list_name(kind: QueryKind) -> str:
    """What a list of queries is called in a sentence."""
    return "Harris" if kind == "harris" else kind


def left_column(title: str) -> Column:
    """A column of words."""
    return Column(title, align="left")


def column_groups(columns: tuple[Column, ...]) -> list[tuple[str, int]]:
    """Neighbouring columns under one heading: (heading, how many); "" where there is none."""
    return [(group, len(list(same))) for group, same in groupby(columns, lambda one: one.group)]


def make_table(
    name: str, caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]
) -> Table:
    """A table; a text alone is a cell with nothing but that text."""
    cells = ([one if isinstance(one, Cell) else Cell(one) for one in row] for row in rows)
    return Table(name, caption, tuple(columns), tuple(map(tuple, cells)))
