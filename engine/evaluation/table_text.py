"""Tables as text to copy: Markdown as GitHub reads it, LaTeX with booktabs, and CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from engine.evaluation.report import Cell, Column, Table, column_groups
from engine.figures.figure_content import printable
from engine.files import csv_text

TableFormat = Literal["markdown", "latex"]
CopyFormat = Literal["markdown", "latex", "csv"]

TABLE_FILES: Final[Mapping[TableFormat, str]] = {"markdown": "tables.md", "latex": "tables.tex"}

_ENDS: Final = re.compile(r"\[(\S+), (\S+)\]")
_LONG_SIGNS: Final = 36  # words that are longer break into lines, in LaTeX
_MINUS: Final = "\N{MINUS SIGN}"
_BROKEN: Final = r">{\raggedright\arraybackslash}p{0.28\linewidth}"
_LATEX: Final = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
    '"': r"{\char34}",
    "-": "-{}",
    "\N{NO-BREAK SPACE}": "~", "\N{EN DASH}": "--", "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$", "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{MIDDLE DOT}": r"$\cdot$", "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{RIGHTWARDS ARROW}": r"$\to$", "\N{SQUARE ROOT}": r"$\surd$",
}  # fmt: skip
# Two hyphens, and only these, would become a dash.
_LATEX_SIGNS: Final = re.compile(f"-(?=-)|[{re.escape(''.join({*_LATEX} - {'-'}))}]")
_LATEX_HEAD: Final = (
    r"% Needs \usepackage{booktabs,array,textcomp} and, for words beyond Latin letters, "
    "LuaLaTeX or XeLaTeX."
)
# Letters around it make an underscore a part of a word.
_MARKDOWN: Final = re.compile(r"[\\`*|<>&$~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|\](?=[\[(:])")


def tables_text(kind: TableFormat, title: str, tables: Iterable[Table]) -> str:
    """All tables of a report, one below the other.

    Args:
        kind: how they are written.
        title: of the report.
        tables: those without a row are left out.
    """
    write = {"markdown": markdown_table, "latex": latex_table}[kind]
    head = f"# {markdown_text(title)}" if kind == "markdown" else f"{_LATEX_HEAD}\n% {_line(title)}"
    return "\n\n".join([head, *(write(one) for one in tables if one.rows)]) + "\n"


def table_text(kind: CopyFormat, table: Table) -> str:
    """One table, ending with its last line."""
    write = {"markdown": markdown_table, "latex": latex_table, "csv": csv_table}[kind]
    return f"{write(table).rstrip()}\n"


def csv_table(table: Table) -> str:
    """A table for spreadsheets: intervals have columns of their own, headings among rows none."""
    rows = [row for row in table.rows if len(row) == len(table.columns)]
    spread = [
        any(_ENDS.fullmatch(row[place].detail) for row in rows)
        for place in range(len(table.columns))
    ]
    heading = []
    for column, has_ends in zip(table.columns, spread, strict=True):
        title = f"{column.group}: {column.title}" if column.group else column.title
        heading += [title, f"{title}, low", f"{title}, high"] if has_ends else [title]
    lines = [heading]
    for row in rows:
        lines.append([])
        for cell, has_ends in zip(row, spread, strict=True):
            ends = _ENDS.fullmatch(cell.detail)
            aside = f" ({cell.detail})" if cell.detail and not ends else ""
            lines[-1].append(f"{cell.text}{aside}")
            lines[-1] += [*(ends.groups() if ends else ("", ""))] if has_ends else []
    plain = ([text.replace(_MINUS, "-") for text in line] for line in lines)
    return csv_text(plain)


def markdown_table(table: Table) -> str:
    """A table in GitHub's Markdown; what is best is bold, and intervals stand behind values.

    Headings over several columns become part of each, since Markdown has only one line of them.
    """
    titles = [
        f"{markdown_text(one.group)}: {markdown_text(one.title)}"
        if one.group
        else markdown_text(one.title)
        for one in table.columns
    ]
    rules = [":--" if one.align == "left" else "--:" for one in table.columns]
    lines = [_markdown_line(titles), _markdown_line(rules)]
    for row in table.rows:
        cells = list(map(_markdown_cell, row))
        if len(row) == 1:
            cells = [f"*{cells[0]}*", *([""] * (len(table.columns) - 1))]
        lines.append(_markdown_line(cells))
    above = [f"**{markdown_text(table.caption)}**", ""] if table.caption else []
    return "\n".join([*above, *lines])


def latex_table(table: Table) -> str:
    r"""A table in LaTeX with the rules of booktabs, as a float that ``\ref{tab:NAME}`` finds."""
    columns = table.columns
    places = "".join(_latex_column(table, place) for place in range(len(columns)))
    lines = [r"\begin{table}", r"  \centering"]
    if table.caption:
        lines.append(rf"  \caption{{{latex_text(table.caption)}}}")
    lines += [
        rf"  \label{{tab:{re.sub('[^A-Za-z0-9-]+', '-', table.name)}}}",
        rf"  \begin{{tabular}}{{{places}}}",
        r"    \toprule",
        *_latex_groups(columns),
        _latex_line([latex_text(one.title) for one in columns]),
        r"    \midrule",
    ]
    for number, row in enumerate(table.rows):
        if len(row) == 1:
            words = rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{latex_text(row[0].text)}}}}}"
            lines += [*([r"    \addlinespace"] if number else []), _latex_line([words])]
        else:
            lines.append(_latex_line(list(map(_latex_cell, row))))
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """Words that Markdown shows as they are, in a cell of a table or elsewhere."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", _line(text))


def latex_text(text: str) -> str:
    """Words that LaTeX prints as they are, within a row or elsewhere."""
    return _LATEX_SIGNS.sub(lambda found: _LATEX[found[0]], _line(text))


def _line(text: str) -> str:
    """The text on one line."""
    return printable(text).replace("\n", " ").strip()


def _markdown_cell(cell: Cell) -> str:
    text = f"**{markdown_text(cell.text)}**" if cell.strong else markdown_text(cell.text)
    return f"{text} {markdown_text(_aside(cell))}" if cell.detail else text


def _aside(cell: Cell) -> str:
    """The detail as it is written behind the text; that of a number has its own brackets."""
    detail = _line(cell.detail)
    return detail if detail.startswith("[") else f"({detail})"


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{latex_text(cell.text)}}}" if cell.strong else latex_text(cell.text)
    return rf"{text} {{\scriptsize {latex_text(_aside(cell))}}}" if cell.detail else text


def _latex_line(cells: Sequence[str]) -> str:
    first, *rest = cells
    # Behind the end of the line before, these would belong to its \\.
    first = f"{{{first[0]}}}{first[1:]}" if first.startswith(("[", "*")) else first
    return rf"    {' & '.join([first, *rest])} \\"


def _latex_column(table: Table, place: int) -> str:
    if table.columns[place].align == "right":
        return "r"
    cells = (row[place] for row in table.rows if len(row) == len(table.columns))
    longest = max((len(cell.text) + len(cell.detail) for cell in cells), default=0)
    return "l" if longest <= _LONG_SIGNS else _BROKEN


def _latex_groups(columns: tuple[Column, ...]) -> list[str]:
    """The line of headings over several columns, and a rule below each; none without any."""
    groups = column_groups(columns)
    if not any(heading for heading, _ in groups):
        return []
    cells, rules, first = [], [], 1
    for heading, count in groups:
        cells.append(
            rf"\multicolumn{{{count}}}{{c}}{{{latex_text(heading)}}}"
            if heading
            else " & ".join([""] * count)
        )
        if heading:
            rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return [_latex_line(cells), f"    {' '.join(rules)}"]
