"""Pages of a PDF that are filled from top to bottom: text, pictures and page breaks.

Lengths are in points (1/72 inch) from the page's top-left corner.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QByteArray, QMarginsF, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontDatabase,
    QFontMetricsF,
    QPageLayout,
    QPageSize,
    QPainter,
    QPdfWriter,
    QPen,
    QTextLayout,
    QTextOption,
)
from PySide6.QtSvg import QSvgRenderer

from engine.api import DescSpaceError

INK = QColor("#1f2328")
SOFT = QColor("#59636e")
RULE = QColor("#d0d5da")
FAINT = QColor("#f3f4f5")

_DOTS_PER_INCH = 1200
_POINTS_PER_INCH = 72
_MARGIN_PT = 44.0
_FOOT_PT = 22.0
_LEADING = 1.32
_NO_BREAK = "\N{NO-BREAK SPACE}"
_SVG_FONT = re.compile(r'font-family="[^"]*"')
_SANS = ("Helvetica Neue", "Arial", "Liberation Sans", "Noto Sans", "DejaVu Sans")
_MONO = ("Menlo", "Consolas", "DejaVu Sans Mono", "Liberation Mono", "Noto Sans Mono")


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How text looks; ``size_pt`` is the font's."""

    size_pt: float
    colour: QColor
    bold: bool = False
    mono: bool = False
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft


@dataclass(frozen=True, slots=True, eq=False)
class LaidText:
    """Text broken into lines; ``line_pt`` is their distance."""

    layout: QTextLayout
    style: TextStyle
    line_pt: float

    @property
    def height_pt(self) -> float:
        """Of all lines."""
        return self.line_pt * self.layout.lineCount()


class Pages:
    """A PDF under way; ``y_pt`` is where the next thing goes.

    Args:
        writer: where the pages go; its page size and resolution are set here.
        footer: stands at the foot of each page, beside its number.

    Raises:
        DescSpaceError: there is no font, or the file cannot be written.
    """

    def __init__(self, writer: QPdfWriter, *, footer: str) -> None:
        self._families = _choose_families()
        writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
        writer.setPageMargins(QMarginsF(0, 0, 0, 0), QPageLayout.Unit.Point)
        writer.setResolution(_DOTS_PER_INCH)
        self._writer = writer
        self._unit = _DOTS_PER_INCH / _POINTS_PER_INCH
        page = writer.pageLayout().fullRect(QPageLayout.Unit.Point)
        self.left_pt = _MARGIN_PT
        self.width_pt = page.width() - 2 * _MARGIN_PT
        self._top_pt = _MARGIN_PT
        self._bottom_pt = page.height() - _MARGIN_PT - _FOOT_PT
        self._footer = footer
        self.number = 1
        self.y_pt = self._top_pt
        self._painter = QPainter()
        if not self._painter.begin(writer):
            raise DescSpaceError("The PDF cannot be begun; is there room on the disk?")
        self._painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_foot()

    def end(self) -> None:
        """Finish the last page."""
        self._painter.end()

    # ---- the page ------------------------------------------------------------------------------

    @property
    def room_pt(self) -> float:
        """What is left of this page."""
        return self._bottom_pt - self.y_pt

    @property
    def page_pt(self) -> float:
        """Height of an empty page."""
        return self._bottom_pt - self._top_pt

    def need(self, height_pt: float) -> bool:
        """Turn the page unless so much is left of it; True if it was turned."""
        if self.room_pt >= height_pt or self.y_pt <= self._top_pt:
            return False
        self.turn()
        return True

    def turn(self) -> None:
        """Go on at the top of a new page."""
        self._writer.newPage()
        self.number += 1
        self.y_pt = self._top_pt
        self._draw_foot()

    def skip(self, height_pt: float) -> None:
        """Leave a gap; none at the top of a page."""
        if self.y_pt > self._top_pt:
            self.y_pt = min(self.y_pt + height_pt, self._bottom_pt)

    # ---- text ----------------------------------------------------------------------------------

    def lay_out(self, text: str, style: TextStyle, width_pt: float) -> LaidText:
        """Break text into lines, also where it says so; a word that is too long is broken too."""
        font = self._font(style)
        # A layout knows no paragraphs; this sign breaks a line.
        lines = [_printable(line) for line in text.split("\n")]
        layout = QTextLayout("\N{LINE SEPARATOR}".join(lines), font, self._writer)
        option = QTextOption(style.align)
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        layout.setCacheEnabled(True)
        line_pt = style.size_pt * _LEADING
        layout.beginLayout()
        count = 0
        while (line := layout.createLine()).isValid():
            line.setLineWidth(max(1.0, width_pt) * self._unit)
            line.setPosition(QPointF(0.0, count * line_pt * self._unit))
            count += 1
        layout.endLayout()
        return LaidText(layout, style, line_pt)

    def draw_text(self, laid: LaidText, x_pt: float, y_pt: float) -> None:
        """Draw all lines, the first one's top at ``y_pt``."""
        self._painter.setPen(laid.style.colour)
        laid.layout.draw(self._painter, QPointF(x_pt * self._unit, y_pt * self._unit))

    def flow(self, text: str, style: TextStyle, *, after_pt: float = 0.0) -> None:
        """Running text over the whole width, broken between lines where the page ends."""
        laid = self.lay_out(text, style, self.width_pt)
        for number in range(laid.layout.lineCount()):
            self.need(laid.line_pt)
            line = laid.layout.lineAt(number)
            self._painter.setPen(style.colour)
            shift = QPointF(self.left_pt * self._unit, self.y_pt * self._unit - line.y())
            line.draw(self._painter, shift)
            self.y_pt += laid.line_pt
        self.skip(after_pt)

    def text_width_pt(self, text: str, style: TextStyle) -> float:
        """Width of text on one line."""
        metrics = QFontMetricsF(self._font(style), self._writer)
        return float(metrics.horizontalAdvance(_printable(text))) / self._unit

    # ---- drawings ------------------------------------------------------------------------------

    def draw_line(
        self,
        start_pt: tuple[float, float],
        end_pt: tuple[float, float],
        colour: QColor,
        width_pt: float = 0.6,
    ) -> None:
        """A straight line."""
        pen = QPen(colour, width_pt * self._unit)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        self._painter.setPen(pen)
        self._painter.drawLine(self._point(*start_pt), self._point(*end_pt))

    def fill(self, x_pt: float, y_pt: float, width_pt: float, height_pt: float, c: QColor) -> None:
        """A filled rectangle."""
        self._painter.fillRect(self._rect(x_pt, y_pt, width_pt, height_pt), c)

    def draw_dot(self, x_pt: float, y_pt: float, radius_pt: float, colour: QColor) -> None:
        """A filled circle."""
        self._painter.setPen(Qt.PenStyle.NoPen)
        self._painter.setBrush(colour)
        radius = radius_pt * self._unit
        self._painter.drawEllipse(self._point(x_pt, y_pt), radius, radius)
        self._painter.setBrush(Qt.BrushStyle.NoBrush)

    def draw_svg(self, svg: str, x_pt: float, y_pt: float, size_pt: tuple[float, float]) -> None:
        """A drawing, stretched to a size; its lines stay lines."""
        # Qt takes a list of families for the name of one.
        own_font = _SVG_FONT.sub(f'font-family="{self._families[0]}"', svg, count=1)
        renderer = QSvgRenderer(QByteArray(own_font.encode("utf-8")))
        self._painter.save()
        renderer.render(self._painter, self._rect(x_pt, y_pt, *size_pt))
        self._painter.restore()

    # ---- small parts ---------------------------------------------------------------------------

    def _draw_foot(self) -> None:
        y_pt = self._bottom_pt + _FOOT_PT - 8
        style = TextStyle(7, SOFT)
        page = self.lay_out(str(self.number), style, 40)
        width_pt = self.text_width_pt(str(self.number), style)
        right_pt = self.left_pt + self.width_pt
        self.draw_text(page, right_pt - width_pt, y_pt)
        metrics = QFontMetricsF(self._font(style), self._writer)
        short = metrics.elidedText(
            _printable(self._footer), Qt.TextElideMode.ElideRight, (self.width_pt - 40) * self._unit
        )
        self.draw_text(self.lay_out(short, style, self.width_pt - 30), self.left_pt, y_pt)

    def _font(self, style: TextStyle) -> QFont:
        font = QFont([self._families[1 if style.mono else 0]])
        font.setPointSizeF(style.size_pt)
        font.setBold(style.bold)
        return font

    def _point(self, x_pt: float, y_pt: float) -> QPointF:
        return QPointF(x_pt * self._unit, y_pt * self._unit)

    def _rect(self, x_pt: float, y_pt: float, width_pt: float, height_pt: float) -> QRectF:
        unit = self._unit
        return QRectF(x_pt * unit, y_pt * unit, width_pt * unit, height_pt * unit)


def _choose_families() -> tuple[str, str]:
    there = QFontDatabase.families()
    if not there:
        raise DescSpaceError(
            "The PDF needs a font and this computer has none; install one, such as the package "
            "fonts-dejavu-core."
        )
    return _first_of(_SANS, there), _first_of(_MONO, there)


def _first_of(wanted: Sequence[str], there: Sequence[str]) -> str:
    return next((name for name in wanted if name in there), there[0])


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() or sign == _NO_BREAK else "?" for sign in text)
