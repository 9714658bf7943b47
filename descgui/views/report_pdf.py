"""A report as PDF: the same blocks as its page for a browser, on A4, with vector graphics.

Needs a ``QGuiApplication`` and no window; ``python -m descgui.report_pdf`` brings its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QIODevice, QSaveFile, Qt
from PySide6.QtGui import QColor, QPdfWriter

from descgui.views.report_pages import FAINT, INK, RULE, SOFT, LaidText, Pages, TextStyle
from engine.api import (
    Cell,
    Column,
    Command,
    DescSpaceError,
    Facts,
    Figure,
    Figures,
    PairPicture,
    Paragraph,
    Pictures,
    Report,
    Row,
    Section,
    Table,
    series_colour,
)

_BODY = TextStyle(9.5, INK)
_SMALL = TextStyle(8, SOFT)
_HEADING = TextStyle(13, INK, bold=True)
_NOTICE_FILL, _NOTICE_EDGE = QColor("#fff4e0"), QColor("#c56a00")
_TRACK = QColor("#eceef0")
_TABLE_PT, _DETAIL_PT = 8.2, 6.6
_TABLE_SCALES = (1.0, 0.93, 0.87, 0.81, 0.75)
_WRAPPED_SCALE = 0.9
_KEPT_TOGETHER = 10  # rows; a table that short is not broken where it fits on a page
_CELL_GAP_PT, _ROW_GAP_PT = 9.0, 3.4
_BAR_PT, _INTERVAL_PT = 44.0, 50.0
_PICTURE_GAP_PT = 16.0
_PX_TO_PT = 0.75
Item = TypeVar("Item")
_RIGHT_EDGE = Qt.AlignmentFlag.AlignRight


def write_report_pdf(report: Report, path: Path) -> int:
    """Draw a report into a file; it is there completely or not at all.

    Returns:
        How many pages it has.

    Raises:
        DescSpaceError: it cannot be written, or there is no font.
    """
    file = QSaveFile(str(path))
    if not file.open(QIODevice.OpenModeFlag.WriteOnly):
        raise DescSpaceError(f"{path}: cannot be written ({file.errorString()}).")
    writer = QPdfWriter(file)
    writer.setTitle(report.title)
    writer.setCreator("Descriptor Space")
    pages = Pages(writer, footer=report.title)
    try:
        _Painter(pages).draw(report)
    finally:
        pages.end()
    if not file.commit():
        raise DescSpaceError(f"{path}: cannot be written ({file.errorString()}).")
    return pages.number


class _Painter:
    """Draws the blocks of a report one below the other."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def draw(self, report: Report) -> None:
        pages = self._pages
        pages.flow(report.title, TextStyle(20, INK, bold=True), after_pt=3)
        pages.flow(report.subtitle, TextStyle(9, SOFT), after_pt=10)
        if report.notices:
            self._notice("\n".join(["These runs were made in different ways.", *report.notices]))
        pages.flow(report.summary, TextStyle(10.5, INK), after_pt=6)
        for section in report.sections:
            self._section(section)
        pages.skip(14)
        pages.flow(report.footer, _SMALL)

    def _section(self, section: Section) -> None:
        pages = self._pages
        pages.skip(16)
        pages.need(min(pages.page_pt, self._beginning_pt(section)))
        y_pt = pages.y_pt
        pages.draw_line((pages.left_pt, y_pt), (pages.left_pt + pages.width_pt, y_pt), RULE)
        pages.y_pt += 8
        pages.flow(section.title, _HEADING, after_pt=5)
        for block in section.blocks:
            match block:
                case Paragraph(text, "notice"):
                    self._notice(text)
                case Paragraph(text, kind):
                    pages.flow(text, _SMALL if kind == "remark" else _BODY, after_pt=6)
                case Table():
                    _TablePainter(pages, block).draw()
                case Figures():
                    self._figures(block)
                case Pictures(pairs):
                    self._pictures(pairs)
                case Command(text):
                    self._command(text, pages.left_pt, pages.width_pt)
                case Facts(entries):
                    self._facts(entries)

    def _beginning_pt(self, section: Section) -> float:
        """About the height of a heading with what must follow it on the same page."""
        height_pt = 40.0
        for block in section.blocks:
            match block:
                case Paragraph(text):
                    laid = self._pages.lay_out(text, _BODY, self._pages.width_pt)
                    height_pt += min(laid.height_pt, 60) + 6
                case Figures(_, figures):
                    height_pt += 50 + max(
                        (one.size_px[1] * _PX_TO_PT for one in figures), default=0
                    )
                case Table():
                    return height_pt + _TablePainter(self._pages, block).beginning_pt
                case Pictures(pairs):
                    width_pt = (self._pages.width_pt - _PICTURE_GAP_PT) / 2
                    row = [_PicturePainter(self._pages, pair, width_pt) for pair in pairs[:2]]
                    return height_pt + max((one.height_pt for one in row), default=0.0)
                case _:
                    return height_pt + 60
        return height_pt

    def _notice(self, text: str) -> None:
        pages = self._pages
        laid = pages.lay_out(text, _BODY, pages.width_pt - 20)
        height_pt = laid.height_pt + 10
        pages.need(height_pt)
        pages.fill(pages.left_pt, pages.y_pt, pages.width_pt, height_pt, _NOTICE_FILL)
        pages.fill(pages.left_pt, pages.y_pt, 3, height_pt, _NOTICE_EDGE)
        pages.draw_text(laid, pages.left_pt + 12, pages.y_pt + 5)
        pages.y_pt += height_pt
        pages.skip(8)

    def _figures(self, block: Figures) -> None:
        pages = self._pages
        tallest = max((figure.size_px[1] * _PX_TO_PT for figure in block.figures), default=0.0)
        pages.need(min(pages.page_pt, tallest + 50))
        self._legend(block.legend)
        for row in _rows_of(block.figures, 3):
            width_pt = (pages.width_pt - 2 * 8) / 3
            sizes_pt = [_fitted(one, width_pt) for one in row]
            height_pt = max(height for _, height in sizes_pt)
            pages.need(height_pt)
            for place, (one, size_pt) in enumerate(zip(row, sizes_pt, strict=True)):
                pages.draw_svg(one.svg, pages.left_pt + place * (width_pt + 8), pages.y_pt, size_pt)
            pages.y_pt += height_pt
            pages.skip(4)
        if block.caption:
            pages.flow(block.caption, _SMALL, after_pt=8)

    def _legend(self, entries: Sequence[Figure]) -> None:
        pages = self._pages
        style = TextStyle(8.5, INK)
        x_pt, line_pt = 0.0, 13.0
        pages.need(line_pt)
        for one in entries:
            width_pt, height_pt = (_PX_TO_PT * side for side in one.size_px)
            room_pt = pages.width_pt - width_pt - 6
            text_pt = min(pages.text_width_pt(one.title, style) + 1, room_pt)
            if x_pt and x_pt + width_pt + 6 + text_pt > pages.width_pt:
                x_pt = 0.0
                pages.y_pt += line_pt
                pages.need(line_pt)
            laid = pages.lay_out(one.title, style, text_pt)
            at_pt = pages.left_pt + x_pt
            pages.draw_svg(one.svg, at_pt, pages.y_pt, (width_pt, height_pt))
            pages.draw_text(laid, at_pt + width_pt + 6, pages.y_pt)
            pages.y_pt += laid.height_pt - laid.line_pt
            x_pt += width_pt + 6 + text_pt + 18
        pages.y_pt += line_pt
        pages.skip(4)

    def _pictures(self, pairs: Sequence[PairPicture]) -> None:
        pages = self._pages
        width_pt = (pages.width_pt - _PICTURE_GAP_PT) / 2
        for row in _rows_of(pairs, 2):
            drawn = [_PicturePainter(pages, pair, width_pt) for pair in row]
            height_pt = max(one.height_pt for one in drawn)
            pages.need(height_pt)
            for place, one in enumerate(drawn):
                one.draw(pages.left_pt + place * (width_pt + _PICTURE_GAP_PT), pages.y_pt)
            pages.y_pt += height_pt
            pages.skip(14)

    def _command(self, text: str, x_pt: float, width_pt: float) -> None:
        pages = self._pages
        laid = pages.lay_out(text, _COMMAND, width_pt - 14)
        pages.need(laid.height_pt + 8)
        _draw_command(pages, laid, x_pt, pages.y_pt, width_pt)
        pages.y_pt += laid.height_pt + 8
        pages.skip(8)

    def _facts(self, entries: Sequence[tuple[str, str]]) -> None:
        pages = self._pages
        for name, value in entries:
            left = pages.lay_out(name, TextStyle(8.2, SOFT), 130)
            right = pages.lay_out(value, TextStyle(8.2, INK), pages.width_pt - 140)
            height_pt = max(left.height_pt, right.height_pt) + 4
            pages.need(height_pt)
            pages.draw_text(left, pages.left_pt, pages.y_pt + 2)
            pages.draw_text(right, pages.left_pt + 140, pages.y_pt + 2)
            pages.y_pt += height_pt
            end_pt = pages.left_pt + pages.width_pt
            pages.draw_line((pages.left_pt, pages.y_pt), (end_pt, pages.y_pt), RULE, 0.4)
        pages.skip(10)


# ---- pairs of images ---------------------------------------------------------------------------

_COMMAND = TextStyle(6.8, INK, mono=True)


class _PicturePainter:
    """One pair with its title and its command, laid out to a width."""

    def __init__(self, pages: Pages, pair: PairPicture, width_pt: float) -> None:
        self._pages, self._pair, self._width_pt = pages, pair, width_pt
        self._title = pages.lay_out(pair.title, TextStyle(9, INK, bold=True), width_pt)
        self._detail = pages.lay_out(pair.detail, TextStyle(7.6, SOFT), width_pt)
        self._note = pages.lay_out(pair.note, TextStyle(7.6, SOFT), width_pt)
        self._command = pages.lay_out(pair.command, _COMMAND, width_pt - 14)
        size_pt = (0.0, 0.0) if pair.figure is None else _fitted(pair.figure, width_pt)
        texts = (self._title, self._detail, self._note, self._command)
        room_pt = pages.page_pt - sum(text.height_pt for text in texts) - 30
        if size_pt[1] > room_pt > 0:  # a tower of a picture
            size_pt = (size_pt[0] * room_pt / size_pt[1], room_pt)
        self._size_pt = size_pt
        self.height_pt = sum(text.height_pt for text in texts) + size_pt[1] + 20

    def draw(self, x_pt: float, y_pt: float) -> None:
        pages = self._pages
        for laid in (self._title, self._detail):
            pages.draw_text(laid, x_pt, y_pt)
            y_pt += laid.height_pt
        y_pt += 3
        if self._pair.figure is not None:
            pages.draw_svg(self._pair.figure.svg, x_pt, y_pt, self._size_pt)
            y_pt += self._size_pt[1] + 3
        pages.draw_text(self._note, x_pt, y_pt)
        y_pt += self._note.height_pt + 3
        _draw_command(pages, self._command, x_pt, y_pt, self._width_pt)


def _draw_command(pages: Pages, laid: LaidText, x_pt: float, y_pt: float, width_pt: float) -> None:
    pages.fill(x_pt, y_pt, width_pt, laid.height_pt + 8, FAINT)
    pages.draw_text(laid, x_pt + 7, y_pt + 4)


# ---- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _LaidCell:
    text: LaidText
    detail: LaidText | None

    @property
    def height_pt(self) -> float:
        return self.text.height_pt + (self.detail.height_pt if self.detail else 0.0)


class _TablePainter:
    """A table whose heading comes again on each page."""

    def __init__(self, pages: Pages, table: Table) -> None:
        self._pages, self._table = pages, table
        places = range(len(table.columns))
        for self._scale in _TABLE_SCALES:
            naturals = [self._natural_pt(place, self._scale) for place in places]
            if sum(naturals) <= pages.width_pt:
                break
        else:
            if max(naturals) > 0.4 * pages.width_pt:  # long text breaks into lines at any size
                self._scale = _WRAPPED_SCALE
                naturals = [self._natural_pt(place, self._scale) for place in places]
        self._widths_pt = _shared_widths(
            naturals,
            [column.weight for column in table.columns],
            pages.width_pt,
            stretch=any(cell.bar is not None for row in table.rows for cell in row.cells),
        )

    def draw(self) -> None:
        pages = self._pages
        if len(self._table.rows) <= _KEPT_TOGETHER:
            pages.need(min(pages.page_pt, self.beginning_pt))
        if self._table.caption:
            pages.need(70)
            pages.flow(self._table.caption, _SMALL, after_pt=3)
        self._draw_head()
        for place, row in enumerate(self._table.rows):
            if len(row.cells) == 1 and len(self._table.columns) > 1:
                self._draw_group(row)
            else:
                self._draw_row(row, last=place == len(self._table.rows) - 1)
        pages.skip(8)

    @property
    def beginning_pt(self) -> float:
        """About the height of what stays on one page: all of a short table, the head of others."""
        rows = self._table.rows
        kept = rows if len(rows) <= _KEPT_TOGETHER else rows[:2]
        heights = [
            2 * _ROW_GAP_PT
            + max(
                self._lay_out(cell, column, width_pt).height_pt
                for cell, column, width_pt in zip(
                    row.cells, self._table.columns, self._widths_pt, strict=False
                )
            )
            for row in kept
        ]
        return sum(heights) + 50

    @property
    def _total_pt(self) -> float:
        return sum(self._widths_pt)

    def _natural_pt(self, place: int, scale: float) -> float:
        column = self._table.columns[place]
        style, small = (
            TextStyle(_TABLE_PT * scale, INK, bold=True),
            TextStyle(_DETAIL_PT * scale, INK),
        )
        width_pt = self._pages.text_width_pt(column.title, style)
        for row in self._table.rows:
            if len(row.cells) != len(self._table.columns):
                continue
            cell = row.cells[place]
            text_pt = self._pages.text_width_pt(cell.text, style)
            detail_pt = self._pages.text_width_pt(cell.detail, small) if cell.detail else 0.0
            graphic_pt = _graphic_pt(cell, column)
            width_pt = max(width_pt, max(text_pt, detail_pt) + graphic_pt)
        return width_pt + _CELL_GAP_PT + 1  # or rounding would break the widest text

    def _draw_head(self) -> None:
        pages, columns = self._pages, self._table.columns
        style = TextStyle(_TABLE_PT * self._scale, INK, bold=True)
        laid = [
            pages.lay_out(column.title, _aligned(style, column), width_pt - _CELL_GAP_PT)
            for column, width_pt in zip(columns, self._widths_pt, strict=True)
        ]
        tallest_pt = max(text.height_pt for text in laid)
        groups = any(column.group for column in columns)
        pages.need(tallest_pt + (16 if groups else 4) + 30)
        if groups:
            self._draw_groups(style)
        x_pt = pages.left_pt
        for text, width_pt in zip(laid, self._widths_pt, strict=True):
            pages.draw_text(text, x_pt, pages.y_pt + tallest_pt - text.height_pt)
            x_pt += width_pt
        pages.y_pt += tallest_pt + 3
        pages.draw_line((pages.left_pt, pages.y_pt), (x_pt - _CELL_GAP_PT, pages.y_pt), INK, 0.7)

    def _draw_groups(self, style: TextStyle) -> None:
        pages = self._pages
        x_pt = pages.left_pt
        both = zip(self._table.columns, self._widths_pt, strict=True)
        for title, members in groupby(both, key=lambda pair: pair[0].group):
            width_pt = sum(width for _, width in members)
            if title:
                middle = TextStyle(
                    style.size_pt, INK, bold=True, align=Qt.AlignmentFlag.AlignHCenter
                )
                laid = pages.lay_out(title, middle, width_pt - _CELL_GAP_PT)
                pages.draw_text(laid, x_pt, pages.y_pt)
                y_pt = pages.y_pt + style.size_pt * 1.32 + 2
                pages.draw_line((x_pt + 4, y_pt), (x_pt + width_pt - _CELL_GAP_PT, y_pt), RULE)
            x_pt += width_pt
        pages.y_pt += style.size_pt * 1.32 + 5

    def _draw_group(self, row: Row) -> None:
        pages = self._pages
        style = TextStyle(_TABLE_PT * self._scale, INK, bold=True)
        laid = pages.lay_out(row.cells[0].text.capitalize(), style, pages.width_pt)
        if pages.need(laid.height_pt + 30):
            self._draw_head()
        pages.draw_text(laid, pages.left_pt, pages.y_pt + 5)
        pages.y_pt += laid.height_pt + 7

    def _draw_row(self, row: Row, *, last: bool) -> None:
        pages, columns = self._pages, self._table.columns
        laid = [
            self._lay_out(cell, column, width_pt)
            for cell, column, width_pt in zip(row.cells, columns, self._widths_pt, strict=True)
        ]
        barred = any(cell.bar is not None for cell in row.cells)
        gap_pt = 1.2 if barred else _ROW_GAP_PT
        height_pt = max(one.height_pt for one in laid) + 2 * gap_pt
        if pages.need(height_pt):
            self._draw_head()
        x_pt, y_pt = pages.left_pt, pages.y_pt + gap_pt
        for cell, column, one, width_pt in zip(
            row.cells, columns, laid, self._widths_pt, strict=True
        ):
            self._draw_cell(cell, column, one, x_pt, y_pt, width_pt - _CELL_GAP_PT)
            x_pt += width_pt
        pages.y_pt += height_pt
        if last or not barred:
            end_pt = pages.left_pt + self._total_pt - _CELL_GAP_PT
            pages.draw_line((pages.left_pt, pages.y_pt), (end_pt, pages.y_pt), RULE, 0.4)

    def _lay_out(self, cell: Cell, column: Column, width_pt: float) -> _LaidCell:
        style = TextStyle(_TABLE_PT * self._scale, INK, bold=cell.strong)
        small = TextStyle(_DETAIL_PT * self._scale, SOFT)
        room_pt = width_pt - _CELL_GAP_PT
        if cell.bar is not None:
            room_pt = self._pages.text_width_pt(cell.text, style) + 0.5
        elif cell.interval is not None:
            room_pt -= _INTERVAL_PT
        return _LaidCell(
            self._pages.lay_out(cell.text, _aligned(style, column), room_pt),
            self._pages.lay_out(cell.detail, _aligned(small, column), room_pt)
            if cell.detail
            else None,
        )

    def _draw_cell(
        self,
        cell: Cell,
        column: Column,
        laid: _LaidCell,
        x_pt: float,
        y_pt: float,
        width_pt: float,
    ) -> None:
        pages = self._pages
        text_x_pt = x_pt
        if cell.bar is not None:
            number_pt = pages.text_width_pt(cell.text, laid.text.style)
            bar_pt = max(4.0, width_pt - number_pt - 5)
            top_pt = y_pt + 0.5 * (laid.text.line_pt - 5.5)
            pages.fill(x_pt, top_pt, bar_pt, 5.5, _TRACK)
            pages.fill(x_pt, top_pt, bar_pt * cell.bar, 5.5, QColor(series_colour(cell.series)))
            text_x_pt = x_pt + bar_pt + 5
        elif cell.interval is not None and column.axis is not None:
            self._draw_interval(cell.interval, column.axis, x_pt, y_pt + 0.5 * laid.height_pt)
            text_x_pt = x_pt + _INTERVAL_PT
        pages.draw_text(laid.text, text_x_pt, y_pt)
        if laid.detail is not None:
            pages.draw_text(laid.detail, text_x_pt, y_pt + laid.text.height_pt)

    def _draw_interval(
        self,
        interval: tuple[float, float, float],
        axis: tuple[float, float],
        x_pt: float,
        y_pt: float,
    ) -> None:
        room_pt = _INTERVAL_PT - 8

        def place(value: float) -> float:
            return x_pt + room_pt * (value - axis[0]) / (axis[1] - axis[0])

        low, value, high = interval
        pages = self._pages
        pages.draw_line((place(0), y_pt - 5), (place(0), y_pt + 5), RULE, 0.7)
        pages.draw_line((place(low), y_pt), (place(high), y_pt), INK, 0.9)
        pages.draw_dot(place(value), y_pt, 1.7, INK)


def _graphic_pt(cell: Cell, column: Column) -> float:
    if cell.bar is not None:
        return _BAR_PT
    return _INTERVAL_PT if cell.interval is not None and column.axis is not None else 0.0


def _aligned(style: TextStyle, column: Column) -> TextStyle:
    if column.align == "left":
        return style
    return TextStyle(style.size_pt, style.colour, style.bold, style.mono, _RIGHT_EDGE)


def _shared_widths(
    naturals: Sequence[float], weights: Sequence[float], width_pt: float, *, stretch: bool
) -> list[float]:
    """Widths of columns: as they like if that fits, else those that want most give way.

    Args:
        naturals: what each would like.
        weights: how space is divided among those that cannot have what they like.
        width_pt: what there is.
        stretch: whether to use all of it.
    """
    if sum(naturals) <= width_pt:
        spare = (width_pt - sum(naturals)) / len(naturals) if stretch else 0.0
        return [natural + spare for natural in naturals]
    widths = [0.0] * len(naturals)
    open_places = list(range(len(naturals)))
    left_pt = width_pt
    while open_places:
        whole = sum(weights[place] for place in open_places)
        content = [p for p in open_places if naturals[p] <= left_pt * weights[p] / whole]
        if not content:
            for place in open_places:
                widths[place] = left_pt * weights[place] / whole
            break
        for place in content:
            widths[place] = naturals[place]
            left_pt -= naturals[place]
        open_places = [place for place in open_places if place not in content]
    return widths


def _fitted(figure: Figure, width_pt: float) -> tuple[float, float]:
    width, height = figure.size_px
    scale = width_pt / width
    return width * scale, height * scale


def _rows_of(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    return [items[begin : begin + count] for begin in range(0, len(items), count)]
