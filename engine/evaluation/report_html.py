"""A report as one page for a browser: all in one file, nothing loaded, no script."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import jinja2

from engine.evaluation.report import SERIES_COLOURS, Column, Report
from engine.paths import data_dir, write_atomically

_TEMPLATE: Final = "report.html.j2"
_STYLE: Final = "report.css"


def write_report_html(path: Path, report: Report) -> None:
    """Write the page.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomically(path, report_html(report).encode("utf-8", "replace"))


def report_html(report: Report) -> str:
    """The page.  Whatever a name contains, it is shown as text."""
    folder = data_dir("resources") / "report"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["column_groups"] = column_groups
    environment.tests["block"] = lambda value, name: type(value).__name__ == name
    style = (folder / _STYLE).read_text(encoding="utf-8")
    # The template takes style and drawings as they are: all foreign text in them is escaped.
    return environment.get_template(_TEMPLATE).render(
        report=report,
        style=style,
        series_count=len(SERIES_COLOURS),
    )


def column_groups(columns: tuple[Column, ...]) -> list[tuple[str, int]]:
    """Neighbouring columns under one heading: (heading, how many); "" where there is none."""
    groups: list[tuple[str, int]] = []
    for column in columns:
        if groups and column.group and groups[-1][0] == column.group:
            groups[-1] = (column.group, groups[-1][1] + 1)
        else:
            groups.append((column.group, 1))
    return groups
