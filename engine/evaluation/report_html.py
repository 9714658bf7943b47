"""A report as HTML: one page for a browser that loads and runs nothing, or pages for a PDF."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import Any, Final, Literal

import jinja2

import engine
from engine.colors import SERIES_ON_PAPER
from engine.evaluation.report import Report, Table, column_groups, list_name
from engine.evaluation.report_prose import LISTED_AT_MOST
from engine.figures.figure_content import INKS, printable
from engine.files import write_atomically
from engine.paths import data_dir
from engine.vocabulary import counted, plural

Medium = Literal["page", "paper"]
_REPORT: Final = "report.html.j2"

_VARIABLES: Final = {
    **{colour: f"c{number}" for number, colour in enumerate(SERIES_ON_PAPER)},
    INKS["light"].ink: "ink",
    INKS["light"].soft: "soft",
    INKS["light"].rule: "rule",
}

# Widths on paper in signs of a table's font: of a line, of a column whose text breaks, and of what
# stands in or beside a column.
_PAPER_SIGNS: Final = 97.5
_LONGEST_SIGNS: Final = 24
_INTERVAL_SIGNS: Final = 9
_GAP_SIGNS: Final = 1.7
_SCALES: Final = (100, 93, 87, 81, 75)


def write_report_html(path: Path, report: Report) -> None:
    """Write the page for a browser.

    Raises:
        OutputError: it cannot be written.
    """
    # In parts: as one text, a page with its pictures would be in memory twice more.
    parts = templates("page").get_template(_REPORT).generate(report=report)
    write_atomically(path, b"".join(part.encode("utf-8", "replace") for part in parts))


def write_page(path: Path, template: str, **content: object) -> None:
    """Write another page of the same look.

    Args:
        path: the file.
        template: of the page.
        content: what its template names.

    Raises:
        OutputError: it cannot be written.
    """
    text = templates("page").get_template(template).render(**content)
    write_atomically(path, text.encode("utf-8", "replace"))


def paper_html(report: Report) -> str:
    """The report in the HTML that Qt can lay out on pages; drawings are images with data of SVG."""
    return printable(templates("paper").get_template(_REPORT).render(report=report))


@functools.cache  # compiling them takes a third of a second
def templates(medium: Medium) -> jinja2.Environment:
    """The templates of a report; whatever a name contains, they show it as text."""
    folder = data_dir("resources") / "report"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "column_groups": column_groups,
        "counted": counted,
        "plural": plural,
        "themed": themed,
        "data_url": data_url,
        "font_scale": font_scale,
        "list_name": list_name,
    }
    environment.globals |= {
        "medium": f"{medium}.html.j2",
        "listed_at_most": LISTED_AT_MOST,
        "scales": _SCALES,
        "series_colours": SERIES_ON_PAPER,
        # Style and drawings are taken as they are: all foreign text in them is escaped.
        "style": (folder / f"{medium}.css").read_text(encoding="utf-8"),
        "version": engine.__version__,
    }
    return environment


def themed(svg: str) -> str:
    """A drawing in the colours of the page's theme instead of those of paper."""
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f": {colour}", f": var(--{variable})")
    return svg


def data_url(svg: Any) -> str:
    """A drawing as an address that holds all of it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(str(svg).encode()).decode('ascii')}"


def font_scale(table: Table) -> int:
    """The largest scale, in %, at which a table's numbers stay on one line; 0 where none does."""
    signs = 0.0
    for place, column in enumerate(table.columns):
        cells = [row[place] for row in table.rows if len(row) == len(table.columns)]
        details = max((len(one.detail) for one in cells), default=0)
        widest = max(max((len(one.text) for one in cells), default=0), 0.7 * details)
        widest += _INTERVAL_SIGNS if column.axis else 0
        signs += min(max(widest, 1.05 * len(column.title)), _LONGEST_SIGNS) + _GAP_SIGNS
    return next((scale for scale in _SCALES if scale * signs <= 100 * _PAPER_SIGNS), 0)
