"""Tables to copy: Markdown read by another library, LaTeX by a plain reader; and the figures."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from pylatexenc.latexwalker import (
    LatexEnvironmentNode,
    LatexMacroNode,
    LatexSpecialsNode,
    LatexWalker,
    get_default_latex_context_db,
)
from pylatexenc.macrospec import MacroSpec

from engine.cli.run import main
from engine.evaluation.report import Cell, Column, Figures, Table, left_column
from engine.evaluation.report_figures import Curve, draw_curves, draw_sample, write_curves
from engine.evaluation.result import write_result
from engine.evaluation.table_text import (
    latex_table,
    latex_text,
    markdown_table,
    table_text,
    tables_text,
)
from engine.jobs.report import ReportJob
from engine.progress import JobContext
from tests.engine.test_report import a_result

MARKDOWN = MarkdownIt("commonmark").enable("table")
NAMES = st.text(
    st.sampled_from("ab0_*`|<>&$~[]()\\#!^{}%\"'-:é −≤\xa0\n") | st.characters(codec="utf-8"),
    min_size=1, max_size=12,
).filter(lambda name: shown(name) != "")  # fmt: skip


def table_of(name: str, *, strong: bool = False) -> Table:
    """A table with one name everywhere that a name may stand."""
    columns = (left_column(name), Column(name, group=name), Column("b", group=name))
    rows = (
        (Cell(name),),
        (Cell(name, name), Cell("0.5", "[0.25, 0.75]", strong=strong), Cell(name, strong=True)),
    )
    return Table("t", name, columns, rows)


def shown(text: str) -> str:
    """A name as a line shows it: signs that cannot be printed become question marks."""
    plain = "".join(c if c.isprintable() or c in "\n\xa0" else "?" for c in text)
    return plain.replace("\n", " ").strip()


def rendered(markdown: str) -> list[list[str]]:
    """The rows of the first table, its heading first, as another library understands them."""
    rows: list[list[str]] = []
    inside = False
    for token in MARKDOWN.parse(markdown):
        if token.type == "tr_open":
            rows.append([])
        inside = token.type in ("th_open", "td_open") or (inside and token.type == "inline")
        if inside and token.type == "inline":
            kinds = {one.type for one in token.children or ()}
            assert kinds <= {
                "text",
                "text_special",
                "strong_open",
                "strong_close",
                "em_open",
                "em_close",
            }
            rows[-1].append("".join(one.content for one in token.children or ()))
    return rows


@settings(max_examples=60)
@given(NAMES)
@example("a|b_c*d`e<f>[g](h)\\")
def test_another_reader_of_markdown_sees_every_name_as_it_is(name: str):
    title, heading, row = rendered(markdown_table(table_of(name)))
    text = shown(name)
    assert title == [text, f"{text}: {text}", f"{text}: b"]
    assert heading == [text, "", ""]
    aside = text if text.startswith("[") else f"({text})"
    assert row == [f"{text} {aside}", "0.5 [0.25, 0.75]", text]


PRINTED = {
    **{rf"\{sign}": sign for sign in "{}&%$#_"},
    "$-$": "−",
    r"$\times$": "×",
    r"$\le$": "≤",
    r"$\ge$": "≥",
    r"$^\circ$": "°",
    r"$\cdot$": "·",
    r"$\to$": "→",
    r"$\surd$": "√",
    "--": "–",
    "~": "\N{NO-BREAK SPACE}",
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"{\char34}": '"',
    r"\textasciigrave{}": "`",
    r"\ldots{}": "…",
    "{}": "",
    "{[}": "[",
    "{*}": "*",
}
"""What LaTeX prints for what is written, by its manual."""
_WRITTEN = re.compile("|".join(re.escape(one) for one in sorted(PRINTED, key=len, reverse=True)))


def printed(latex: str) -> str:
    """What LaTeX prints; a sign with a meaning of its own must not be left."""
    left = _WRITTEN.sub("", latex)
    assert not re.search(r"[\\{}&%$#^]|(?<!\\)_", left), latex
    return _WRITTEN.sub(lambda found: PRINTED[found[0]], latex)


@settings(max_examples=60)
@given(NAMES)
@example("--[a]--- \\_%")
def test_latex_prints_every_name_as_it_is(name: str):
    assert printed(latex_text(name)) == shown(name)


KNOWN = {
    *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule"),
    *("cmidrule", "multicolumn", "addlinespace", "textbf", "emph", "scriptsize", "char"),
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
    *("textasciigrave", "ldots", "times", "le", "ge", "circ", "cdot", "to", "surd"),
    *("raggedright", "arraybackslash", "linewidth", "\\", "{", "}", "&", "%", "$", "#", "_"),
}
"""The commands of LaTeX, booktabs, array and textcomp that tables use, by their manuals."""
_PARSED = get_default_latex_context_db()
_PARSED.add_context_category(
    "tables", macros=[MacroSpec("multicolumn", "{{{"), MacroSpec("cmidrule", "")], prepend=True
)


def nodes_in(nodes: Any) -> Iterator[Any]:
    """All nodes of parsed LaTeX, however deep."""
    for node in nodes or ():
        if node is None:
            continue
        yield node
        inner = getattr(node, "nodelist", None)
        arguments = getattr(getattr(node, "nodeargd", None), "argnlist", None)
        yield from nodes_in(inner)
        yield from nodes_in(arguments)


def tables_in(latex: str) -> list[tuple[str, list[int]]]:
    """The columns of each tabular, and how many each of its rows has, as another parser sees it.

    Fails for braces and environments that do not match, and for unknown commands.
    """
    walker = LatexWalker(latex, latex_context=_PARSED, tolerant_parsing=False)
    nodes, _, _ = walker.get_latex_nodes()
    every = list(nodes_in(nodes))
    macros = {node.macroname for node in every if node.isNodeType(LatexMacroNode)}
    assert macros <= KNOWN, macros - KNOWN
    found = []
    for node in every:
        if not (node.isNodeType(LatexEnvironmentNode) and node.environmentname == "tabular"):
            continue
        spec = node.nodeargd.argnlist[-1].latex_verbatim()[1:-1]
        rows, cells = [], 1
        for inner in node.nodelist:
            if inner.isNodeType(LatexMacroNode) and inner.macroname == "\\":
                rows.append(cells)
                cells = 1
            elif inner.isNodeType(LatexMacroNode) and inner.macroname == "multicolumn":
                cells += int(inner.nodeargd.argnlist[0].latex_verbatim().strip("{}")) - 1
            elif inner.isNodeType(LatexSpecialsNode) and inner.specials_chars == "&":
                cells += 1
        found.append((spec, rows))
    return found


def column_count(spec: str) -> int:
    """How many columns a tabular's argument declares."""
    return len(re.findall(r"p\{[^}]*\}|[lrc]", re.sub(r">\{[^}]*\}", "", spec)))


@settings(max_examples=40)
@given(NAMES)
@example("--[a]--- \\_%")
@example("*")
def test_another_parser_of_latex_finds_every_row_complete(name: str):
    table = table_of(name)
    ((spec, rows),) = tables_in(latex_table(table))
    wide = len(table.columns)
    assert column_count(spec) == wide
    assert rows == [wide] * len(rows)
    # Headings over columns, the headings, and the rows.
    assert len(rows) == 2 + len(table.rows)


def test_a_table_in_latex_has_its_headings_rules_and_rows():
    table = Table(
        "summary/harris",
        "Means, 95 %",
        (left_column("descriptor"), Column("≤ 1 px", group="all"), Column("≤ 3 px", group="all")),
        (
            (Cell("[raw]", "untrained"), Cell("0.5", "[0.4, 0.6]", strong=True), Cell("0.7")),
            (Cell("others"),),
            (Cell("a_b"), Cell("0.1"), Cell("–")),
        ),
    )
    assert latex_table(table).split("\n") == [
        r"\begin{table}",
        r"  \centering",
        r"  \caption{Means, 95 \%}",
        r"  \label{tab:summary-harris}",
        r"  \begin{tabular}{lrr}",
        r"    \toprule",
        r"     & \multicolumn{2}{c}{all} \\",
        r"    \cmidrule(lr){2-3}",
        r"    descriptor & $\le$ 1 px & $\le$ 3 px \\",
        r"    \midrule",
        r"    {[}raw] {\scriptsize (untrained)} & \textbf{0.5} {\scriptsize [0.4, 0.6]} & 0.7 \\",
        r"    \addlinespace",
        r"    \multicolumn{3}{l}{\emph{others}} \\",
        r"    a\_b & 0.1 & -- \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def test_a_spreadsheet_gets_numbers_with_a_column_for_each_end_of_an_interval():
    table = Table(
        "t",
        "",
        (left_column("descriptor"), Column("x", group="all"), Column("pairs")),
        (
            (Cell("others"),),
            (Cell("=a", "untrained"), Cell("−0.5", "[−0.75, −0.25]", strong=True), Cell("7")),
            (Cell("b,c"), Cell("–"), Cell("9")),
        ),
    )
    lines = list(csv.reader(io.StringIO(table_text("csv", table))))
    assert lines == [
        ["descriptor", "all: x", "all: x, low", "all: x, high", "pairs"],
        ["'=a (untrained)", "-0.5", "-0.75", "-0.25", "7"],
        ["b,c", "–", "", "", "9"],
    ]


# ---- files beside the report -------------------------------------------------------------------


def test_the_tables_beside_a_report_hold_its_means_and_intervals(tmp_path: Path):
    result = a_result(("daisy", "a_b"))
    write_result(tmp_path, result)
    ReportJob(folders=(tmp_path,), out=tmp_path, pictures=False).run(JobContext())
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    first = text[text.index("**Mean PCK") :]
    heading, *rows = rendered(first)
    for row in result.summary:
        line = next(one for one in rows if one[0] == row.descriptor)
        ends = "" if row.ends is None else " [{:.3f}, {:.3f}]".format(*row.ends)
        place = heading.index(f"{row.subset}: ≤ {row.threshold_px:g} px")
        assert line[place] == f"{row.pck:.3f}{ends}"
    latex = (tmp_path / "tables.tex").read_text(encoding="utf-8")
    found = tables_in(latex)
    assert len(found) == latex.count(r"\begin{tabular}") > 3
    for spec, counts in found:
        assert set(counts) == {column_count(spec)}
    assert latex.count(r"\begin{tabular}") == text.count("\n| :-- ") == latex.count(r"\toprule")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "tables.md and tables.tex beside this page hold the same to copy." in page
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ([], ["figures", "tables.md", "tables.tex"]),
        (["--tables", "latex", "--figures", "png,svg"], ["figures", "tables.tex"]),
        (["--tables", "", "--figures", ""], []),
    ],
    ids=["by default", "chosen", "none"],
)
def test_the_command_writes_what_was_chosen(tmp_path: Path, words: list[str], there: list[str]):
    (tmp_path / "run").mkdir()
    write_result(tmp_path / "run", a_result())
    out = tmp_path / "out"
    command = ["report", str(tmp_path / "run"), "--out", str(out), "--no-pictures", *words]
    assert main(command, open_window=lambda _: 1) == 0
    assert sorted(path.name for path in out.iterdir() if path.name != "report.html") == there
    if there:
        kinds = {"png", "svg"} if words else {"pdf"}
        names = [f"pck-harris-queries-{part}" for part in ("all", "illumination", "viewpoint")]
        found = sorted(path.name for path in (out / "figures").iterdir())
        assert found == sorted(f"{name}.{kind}" for name in names for kind in kinds)


def test_a_plot_in_a_file_names_its_curves_and_names_that_look_alike_do_not_collide(
    tmp_path: Path,
):
    curve = Curve(1, (0.0, 10.0), (0.0, 1.0), name="its name")
    titles = ("a/b", "A b", "../..")
    plots = tuple(draw_curves(title, "x", [curve], series_count=2) for title in titles)
    block = Figures((draw_sample(1, "its name"),), plots, title="PCK")
    assert "its name" not in plots[0].svg
    paths = list(write_curves(tmp_path / "figures", [block], "svg"))
    assert [path.name for path in paths] == ["pck-a-b.svg", "pck-a-b-2.svg", "pck.svg"]
    assert all("its name" in path.read_text(encoding="utf-8") for path in paths)
    (path, *_) = write_curves(tmp_path / "figures", [block], "png")
    with Image.open(path) as picture:
        assert picture.width == pytest.approx(8.6 / 2.54 * 300, abs=1)


def test_text_that_no_file_takes_does_not_stop_a_table():
    table = Table("t", "", (left_column("a"),), ((Cell("\ud800\x00b"),),))
    for kind in ("markdown", "latex"):
        assert "??b" in tables_text(kind, "t", [table]).encode("utf-8").decode("utf-8")  # type: ignore[arg-type]
