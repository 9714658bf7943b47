"""The report on paper: pages, their content, and unusual content."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup, escape
from PIL import Image
from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QColor, QPdfWriter, QTextBlock, QTextDocument
from pytestqt.qtbot import QtBot

from descgui.report_pdf import main
from descgui.views.report_pdf import lay_out, write_report_pdf
from engine.api import DescSpaceError, data_dir
from engine.evaluation.report import Cell, Column, Figure, Figures, PairPicture, Table
from engine.evaluation.report_html import templates
from engine.figures.figure_content import printable

REPOSITORY = Path(__file__).resolve().parent.parent.parent
A4_PT = (595, 842)
LayOut = Callable[[str], QTextDocument]
DRAW: Any = templates("paper").get_template("paper.html.j2").module


def drawing(inside: str = '<path d="M10 10L90 40" stroke="#123456" stroke-width="2"/>') -> Figure:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 100 50" width="100" height="50" font-family="Some, List">{inside}</svg>'
    )
    return Figure(svg, "a drawing")


def photo() -> Figure:
    data = io.BytesIO()
    Image.effect_noise((64, 32), 60).convert("RGB").save(data, format="JPEG")
    code = base64.b64encode(data.getvalue()).decode("ascii")
    return drawing(
        f'<image x="0" y="0" width="100" height="50" xlink:href="data:image/jpeg;base64,{code}"/>'
    )


def number_table(descriptors: int, rows: int) -> Markup:
    names = [f"descriptor {n}" for n in range(descriptors)]
    columns = (Column("sequence", align="left"), *(Column(name, align="left") for name in names))
    cells = [
        (
            Cell(f"v_sequence{row}"),
            *(Cell("0.123", bar=0.123, series=n) for n in range(descriptors)),
        )
        for row in range(rows)
    ]
    return DRAW.table(Table("t", "A caption", columns, ((Cell("viewpoint"),), *cells)))


def paragraph(text: str, kind: str = "plain") -> Markup:
    return Markup(f'<p class="{kind}">{escape(text)}</p>')


def whole(
    *sections: tuple[str, str, Markup], notices: tuple[str, ...] = (), title: str = "A title"
) -> str:
    head = {
        "title": title,
        "subtitle": "how",
        "summary": "Found in words.",
        "stats": {"merged": {"warnings": notices}},
    }
    return printable(str(DRAW.whole(head, sections, "end")))


def a_report(*blocks: Markup, notices: tuple[str, ...] = ()) -> str:
    return whole(("part", "Part", Markup("\n").join(blocks)), notices=notices)


def page_count(path: Path) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def drawn(path: Path) -> bytes:
    """All commands of a PDF's pages, unpacked."""
    data = path.read_bytes()
    unpacked = []
    for found in re.finditer(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        try:
            unpacked.append(zlib.decompress(found[1]))
        except zlib.error:
            continue
    return b"\n".join(unpacked)


def text_of(path: Path) -> str:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (package poppler-utils)")
    done = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], capture_output=True, check=True, text=True,
        encoding="utf-8",
    )  # fmt: skip
    return " ".join(done.stdout.split())


@pytest.fixture
def laid_out(qapp: object) -> Iterator[LayOut]:
    """Lays reports out; what it needs lives until the test ends."""
    kept: list[object] = []

    def lay(report: str) -> QTextDocument:
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        writer = QPdfWriter(buffer)
        document = lay_out(report, writer)
        kept.extend((document, writer, buffer))
        return document

    yield lay
    while kept:
        kept.pop(0)


def blocks_of(document: QTextDocument) -> list[QTextBlock]:
    blocks = [document.firstBlock()]
    while blocks[-1].next().isValid():
        blocks.append(blocks[-1].next())
    return blocks


def page_of(document: QTextDocument, block: QTextBlock) -> int:
    middle = document.documentLayout().blockBoundingRect(block).center().y()
    return int(middle // document.pageSize().height())


def test_a_report_becomes_a_pdf_on_a4_with_vector_figures_and_pictures(
    qapp: object, tmp_path: Path
):
    plain, pictured = tmp_path / "plain.pdf", tmp_path / "größe 日本.pdf"
    figures = Figures((drawing(),), (drawing(), drawing()), "caption")
    assert write_report_pdf(a_report(DRAW.figures(figures)), plain) == 1
    data = plain.read_bytes()
    assert data.startswith(b"%PDF-")
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert box is not None
    assert tuple(round(float(value)) for value in box.groups()) == A4_PT
    assert b"/Subtype /Image" not in data
    commands = drawn(plain)
    red, green, blue = (value / 255 for value in (0x12, 0x34, 0x56))
    strokes = re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) (?:RG|SCN)", commands)
    assert any(
        tuple(map(float, one)) == pytest.approx((red, green, blue), abs=0.01) for one in strokes
    )
    pair = PairPicture("v_x 1 → 2", "daisy 0.1", photo(), "note", "python main.py view v_x")
    write_report_pdf(a_report(DRAW.pictures((pair,))), pictured)
    assert b"/Subtype /Image" in pictured.read_bytes()


def test_all_words_and_numbers_stand_on_the_pages(qapp: object, tmp_path: Path):
    path = tmp_path / "r.pdf"
    table = Table(
        "t",
        "Means",
        (
            Column("name", align="left"),
            Column("here", group="group"),
            Column("gap", axis=(-1.0, 1.0)),
        ),
        (
            (Cell("first", "untrained"), Cell("0.654", "[0.612, 0.697]"), Cell("–")),
            (Cell("second"), Cell("0.123"), Cell("+0.531", interval=(0.2, 0.531, 0.8))),
        ),
    )  # fmt: skip
    report = a_report(
        DRAW.table(table),
        paragraph("Running text.", "remark"),
        DRAW.facts({"protocol": "closed", "hash": "ab" * 32}),
        DRAW.command("python main.py report runs/1"),
        DRAW.pictures(
            [PairPicture("v_x 1 → 2", "daisy 0.101", None, "No picture: gone.", "view v_x")]
        ),
        notices=("They differ in protocol.",),
    )
    write_report_pdf(report, path)
    text = text_of(path)
    for words in (
        *("A title", "Found in words.", "They differ in protocol.", "Part", "Means", "group"),
        *("first", "untrained", "0.654", "[0.612, 0.697]", "second", "0.123", "+0.531"),
        *("Running text.", "protocol closed", "python main.py report runs/1", "ab" * 32),
        *("v_x 1 → 2", "daisy 0.101", "No picture: gone."),
    ):
        assert words in text, words


def test_long_tables_run_over_pages_and_repeat_their_heading(qapp: object, tmp_path: Path):
    path = tmp_path / "r.pdf"
    pages = write_report_pdf(a_report(number_table(8, 116)), path)
    assert 2 <= pages <= 6
    assert page_count(path) == pages
    text = text_of(path)
    assert text.count("descriptor 7") == pages
    assert all(f"v_sequence{row} " in text for row in range(116))


@pytest.mark.parametrize(
    "block",
    [
        DRAW.table(Table("t", "", (Column("a"),), ())),
        DRAW.table(
            Table("t", "c", (Column("x" * 500), Column("y")), ((Cell("z" * 500), Cell("")),))
        ),
        number_table(24, 3),
        paragraph("word " * 5000),
        paragraph(""),
        paragraph("\x00\x1b\ud800 control"),
        DRAW.figures(Figures(())),
        DRAW.figures(Figures(tuple(drawing() for _ in range(40)))),
        DRAW.pictures(()),
        DRAW.pictures([PairPicture("t" * 300, "d" * 900, Figure("<svg", ""), "", "c" * 900)]),
        DRAW.command("x" * 3000),
        DRAW.facts({"name" * 50: "value" * 300}),
    ],
    ids=[
        *("empty table", "wide words", "many columns", "long text", "no text", "hostile text"),
        *("no figures", "long legend", "no pictures", "broken tower", "long command", "long facts"),
    ],
)  # fmt: skip
def test_odd_content_is_drawn_all_the_same(
    qtbot: QtBot, qtlog: object, tmp_path: Path, block: Markup
):
    path = tmp_path / "r.pdf"
    with qtlog.disabled():  # type: ignore[attr-defined] # Qt says that "<svg" is no drawing
        pages = write_report_pdf(a_report(block), path)
    assert page_count(path) == pages >= 1


def test_text_never_leaves_its_column(laid_out: LayOut):
    for text in ("short", "word " * 40, "unbroken" * 60, "a/very/long/path/" * 20):
        for columns in (1, 4, 16):
            titles = tuple(Column(f"column {n}") for n in range(columns))
            row = tuple(Cell(text, text) for _ in range(columns))
            table = DRAW.table(Table("t", text, titles, (row,)))
            document = laid_out(a_report(table, DRAW.command(text)))
            for block in (one for one in blocks_of(document) if one.text()):
                lines = [block.layout().lineAt(n) for n in range(block.layout().lineCount())]
                assert all(line.naturalTextWidth() <= line.width() + 100 for line in lines)
                left = document.documentLayout().blockBoundingRect(block).left()
                right = max((left + line.width() for line in lines), default=0)
                assert right <= document.pageSize().width() + 1


def test_numbers_stay_on_one_line_where_the_page_is_wide_enough(
    laid_out: LayOut,
):
    columns = (Column("name", align="left"), *(Column(f"{n}", group="g") for n in range(9)))
    cells = tuple(Cell("0.654", "[0.612, 0.697]") for _ in range(9))
    words = "settings = 1, " * 12
    document = laid_out(
        a_report(
            DRAW.table(Table("t", "", columns, ((Cell("a descriptor"), *cells),))),
            DRAW.table(
                Table("u", "", (Column("what"), Column("why")), ((Cell("v_x"), Cell(words)),))
            ),
        )
    )
    counts = {" ".join(b.text().split()): b.layout().lineCount() for b in blocks_of(document)}
    assert counts["0.654 [0.612, 0.697]"] == 2
    assert counts["a descriptor"] == counts["v_x"] == 1
    assert counts[words.strip()] > 1


def test_a_heading_is_not_left_alone_at_the_foot_of_a_page(
    laid_out: LayOut,
):
    seen = set()
    for lines in range(25, 60):
        filler = Markup("\n").join(paragraph("line") for _ in range(lines))
        document = laid_out(
            whole(("first", "First", filler), ("second", "Second", number_table(2, 4)))
        )
        by_text = {block.text(): block for block in blocks_of(document)}
        pages = [page_of(document, by_text[text]) for text in ("Second", "v_sequence3")]
        assert pages[0] == pages[1]
        seen.add(pages[0])
    assert seen == {0, 1}


def test_a_file_that_cannot_be_written_is_refused_and_an_old_one_stays(
    qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(DescSpaceError, match="cannot be written"):
        write_report_pdf(a_report(), tmp_path / "no folder" / "r.pdf")
    old = tmp_path / "old.pdf"
    old.write_bytes(b"old")

    def fail(*_arguments: object, **_named: object) -> None:
        raise DescSpaceError("A fault.")

    monkeypatch.setattr("descgui.views.report_pdf.lay_out", fail)
    with pytest.raises(DescSpaceError, match="A fault"):
        write_report_pdf(a_report(), old)
    assert old.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.pdf"]


def test_a_computer_without_fonts_is_told_what_to_install(
    qapp: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("descgui.views.report_pdf.QFontDatabase.families", staticmethod(list))
    with pytest.raises(DescSpaceError, match="fonts-dejavu-core"):
        write_report_pdf(a_report(), tmp_path / "r.pdf")
    assert list(tmp_path.iterdir()) == []


def test_the_process_for_pdfs_needs_no_display_and_no_torch(tmp_path: Path):
    code = (
        "import sys; from descgui.report_pdf import main; code = main(sys.argv[1:]);"
        "print(*sorted({'torch', 'cv2', 'PySide6.QtWidgets'} & set(sys.modules))); sys.exit(code)"
    )
    environment = {"PATH": "", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.pdf")], input=a_report(number_table(2, 3)),
        capture_output=True, text=True, check=False, env=environment, encoding="utf-8",
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["1"]), done.stderr
    assert page_count(tmp_path / "out.pdf") == 1


def test_what_the_process_cannot_do_it_says_in_a_sentence(
    qapp: object,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(a_report().encode())))
    assert main([]) == 1
    assert "usage" in capsys.readouterr().err
    assert main([str(tmp_path / "no folder" / "out.pdf")]) == 1
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert said.count("\n") == 1


def test_ink_is_dark_enough_to_read_on_white_paper():
    def luminance(colour: QColor) -> float:
        parts = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in (colour.redF(), colour.greenF(), colour.blueF())
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    style = (data_dir("resources") / "report" / "paper.css").read_text(encoding="utf-8")
    inks = re.findall(r"[{ ]color: (#[0-9a-f]{6})", style)
    assert len(inks) >= 2
    for ink in inks:
        assert 1.05 / (luminance(QColor(ink)) + 0.05) >= 4.5
