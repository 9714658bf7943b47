"""What a report says, as plain blocks: the page for a browser and the PDF draw the same ones.

Nothing here loads torch or draws a figure: figures are SVG already.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import ResultError, file_errors
from engine.paths import write_atomically

REPORT_HTML: Final = "report.html"
REPORT_PDF: Final = "report.pdf"
REPORT_JSON: Final = "report.json"
_FORMAT: Final = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """A field of a table.

    Attributes:
        text: what it says.
        detail: what stands below it, smaller.
        strong: whether it is the best of its column.
        bar: a share in [0, 1] that is drawn as a bar behind the text; None for no bar.
        series: number of the descriptor whose colour the bar has.
        interval: (low, value, high) that is drawn on the axis of its column; None for none.
        keys: what the number is, as (name, value), for programs that read the page.
    """

    text: str
    detail: str = ""
    strong: bool = False
    bar: float | None = None
    series: int = 0
    interval: tuple[float, float, float] | None = None
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        group: a heading over this column and its neighbours of the same group.
        align: numbers are set to the right.
        weight: its share of the width where space is divided up.
        axis: (low, high) ends of the axis that intervals are drawn on; None without any.
    """

    title: str
    group: str = ""
    align: Literal["left", "right"] = "right"
    weight: float = 1.0
    axis: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; one with a single cell is a heading among the rows."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; a ``notice`` must be seen, a ``remark`` may be smaller."""

    text: str
    kind: Literal["plain", "remark", "notice"] = "plain"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing as SVG on a clear ground, in the colours of paper."""

    svg: str
    title: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Drawings side by side with one legend; each of its entries has a drawn sample."""

    legend: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    caption: str


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


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pairs of images, some side by side."""

    pairs: tuple[PairPicture, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """Something to copy into a terminal."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values."""

    entries: tuple[tuple[str, str], ...]


Block = Table | Paragraph | Figures | Pictures | Command | Facts


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report; ``anchor`` is its address in the page."""

    title: str
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        title: what was measured, on what.
        subtitle: how, in a line.
        summary: what was found, in a paragraph.
        notices: what must be known before any number is read.
        sections: the rest.
        footer: who made it.
    """

    title: str
    subtitle: str
    summary: str
    notices: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str


_CLASSES: Final[dict[str, Any]] = {
    one.__name__: one
    for one in (
        *(Cell, Column, Row, Table, Paragraph, Figure, Figures, PairPicture, Pictures),
        *(Command, Facts, Section, Report),
    )
}


def write_report_json(path: Path, report: Report) -> None:
    """Write a report so that another program can draw it.

    Raises:
        OutputError: it cannot be written.
    """
    values = {"format": _FORMAT, "report": _packed(report)}
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text.encode("utf-8", "replace"))


def read_report(path: Path) -> Report:
    """Read what :func:`write_report_json` wrote, or the one in a folder.

    Raises:
        ResultError: missing, unreadable, or something else.
    """
    path = path / REPORT_JSON if path.is_dir() else path
    missing = "does not exist; make the report first"
    with file_errors(ResultError, path, "cannot be read", missing=missing):
        data = path.read_bytes()
    try:
        values = json.loads(data)
        if values["format"] != _FORMAT:
            raise ResultError(path, f"is no report of format {_FORMAT}; make it again")
        report = _unpacked(values["report"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(path, f"is no report ({type(error).__name__}: {error})") from error
    if not isinstance(report, Report):
        raise ResultError(path, "is no report")
    return report


def _packed(value: Any) -> Any:
    if is_dataclass(value):
        named = {field.name: _packed(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__name__, **named}
    return [_packed(one) for one in value] if isinstance(value, tuple) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        named = {name: _unpacked(one) for name, one in value.items() if name != "is"}
        return _CLASSES[value["is"]](**named)
    return tuple(_unpacked(one) for one in value) if isinstance(value, list) else value
