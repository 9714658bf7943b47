"""The table of a check, for a terminal and for other programs.  Loads torch."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any, Final

from engine.descriptors.check import CheckReport
from engine.descriptors.findings import Verdict

_WORDS: Final[dict[Verdict, str]] = {
    "ok": "ok",
    "differs": "DIFFERS",
    "refused": "WRONG",
    "unknown": "unknown",
}
_WIDTH: Final = 96


def report_text(report: CheckReport, title: str, source: str) -> str:
    """The table for a person: a line for each finding, and below it what it means."""
    rows = [
        (_WORDS[one.verdict], one.name, one.declared or "–", one.measured or "–")
        for one in report.findings
    ]
    heading = ("", "", "declared", "measured")
    widths = [max(len(row[column]) for row in (heading, *rows)) for column in range(3)]
    indent = " " * (2 + widths[0] + 2)
    lines = [f"{report.name}  —  {title}  [{source}]"]
    for row, one in zip((heading, *rows), (None, *report.findings), strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        lines.append(f"  {'  '.join([*cells, row[3]])}".rstrip())
        if one is not None and one.text:
            lines += textwrap.wrap(
                one.sentence, _WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    wrong, differing = len(report.refusals), len(report.warnings)
    unknown = sum(one.verdict == "unknown" for one in report.findings)
    parts = [
        f"{wrong} wrong" if wrong else "",
        f"{differing} different from what is declared" if differing else "",
        f"{unknown} unknown" if unknown else "",
    ]
    summary = ", ".join(filter(None, parts)) or "all as declared"
    return "\n".join([*lines, f"  {summary}; {report.seconds:.1f} s"])


def report_json(report: CheckReport, source: str) -> dict[str, Any]:
    """The same as plain values."""
    return {"source": source, **asdict(report)}
