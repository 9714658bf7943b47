"""How curves of training runs are drawn: their pens and marks, the item that draws them, and axes.

Curves are drawn in pixels of the device instead of with pyqtgraph's own curves, so that widths,
dashes and marks are the same on the screen, on a fine screen, in a picture and in an SVG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QPainter,
    QPainterPath,
    QPalette,
    QPen,
    QPolygonF,
    QTransform,
)

from descgui.models.training_curves_data import Points, Series
from descgui.views.color_bar import nice_ticks, tick_text
from descgui.views.theme import theme_colors

HEADING_PX: Final = 19
ROOM_AT_END_PX: Final = 20
MARK_PX: Final = 3.6
_MARKS_EVERY_PX: Final = 110.0
_LEAST_MARK_GAP_PX: Final = 11.0
_THICKET: Final = 4.0
_PIECE: Final = 16
_LEAST_FIXED: Final = 1e-4
_WIDE_LOG_SPAN: Final = 2.0

# Okabe and Ito's, those first that stand out most on white and on black alike.
_COLORS: Final = (
    *("#0072B2", "#D55E00", "#CC79A7", "#009E73"),
    *("#56B4E9", "#E69F00", "#8A949E"),
)
# In widths of the pen.
_DASHES: Final = (
    *((), (5.0, 2.2), (1.4, 1.8), (6.0, 1.8, 1.4, 1.8)),
    *((11.0, 3.0), (6.0, 1.8, 1.4, 1.8, 1.4, 1.8)),
)


@dataclass(frozen=True, slots=True)
class Look:
    """The colours and the font of the plots."""

    ground: QColor
    ink: QColor
    quiet: QColor
    line: QColor
    font: QFont

    @classmethod
    def of_window(cls, palette: QPalette, font: QFont) -> Look:
        """As the theme says."""
        colors = theme_colors(palette)
        return cls.named(colors.base, colors.text, colors.subtle, colors.line, font)

    @classmethod
    def of_paper(cls, font: QFont) -> Look:
        """On white, whatever the theme."""
        return cls.named("#FFFFFF", "#1B1C1F", "#50565E", "#D0D4DA", font)

    @classmethod
    def named(cls, ground: str, ink: str, quiet: str, line: str, font: QFont) -> Look:
        """From names of colours."""
        return cls(QColor(ground), QColor(ink), QColor(quiet), QColor(line), font)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnRun:
    """One run as it is drawn."""

    key: str
    label: str
    color_index: int
    live: bool
    series: Mapping[str, Series]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A curve in the units of its axes.

    Attributes:
        points: ``(N, 2)``, all finite.
        pen: in pixels.
        symbol: number of the marks on it, None for none.
        all_marked: mark every point where there is room, not only a few.
        tip: end it with a filled mark, because it goes on.
    """

    points: Points
    pen: QPen
    symbol: int | None = None
    all_marked: bool = False
    tip: bool = False


def run_color(color_index: int) -> QColor:
    """The colour of a run."""
    return QColor(_COLORS[color_index % len(_COLORS)])


def run_pen(color_index: int, *, width: float = 1.8) -> QPen:
    """Colour and dash of a run; of the first six runs no two share either."""
    pen = QPen(run_color(color_index), width)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    dashes = _DASHES[color_index % len(_DASHES)]
    pen.setCapStyle(Qt.PenCapStyle.FlatCap if dashes else Qt.PenCapStyle.RoundCap)
    if dashes:
        pen.setDashPattern(list(dashes))
    return pen


def draw_symbol(
    painter: QPainter, number: int, centre: QPointF, color: QColor, ground: QColor
) -> None:
    """Draw the hollow mark of a figure of a plot: circle, square, triangle or diamond."""
    painter.setPen(QPen(color, 1.4))
    painter.setBrush(ground)
    x, y, size = centre.x(), centre.y(), MARK_PX
    corners = {
        1: [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        2: [(0.0, -1.1), (1.1, 0.8), (-1.1, 0.8)],
        3: [(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)],
    }.get(number % 4)
    if corners is None:
        painter.drawEllipse(centre, size, size)
    else:
        painter.drawPolygon(QPolygonF([QPointF(x + size * u, y + size * v) for u, v in corners]))


class LinesItem(pg.GraphicsObject):  # type: ignore[misc]
    """Draws all curves of one plot."""

    def __init__(self, view: Any) -> None:
        super().__init__()
        self._view = view
        self._lines: tuple[Line, ...] = ()
        self._ground = QColor()

    def set_lines(self, lines: Sequence[Line], ground: QColor) -> None:
        """Draw others from now on, the last ones on top."""
        self._lines, self._ground = tuple(lines), ground
        self.update()

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is drawn."""
        return self._lines

    def boundingRect(self) -> QRectF:
        return QRectF(self._view.viewRect())

    def viewRangeChanged(self, *_values: object) -> None:
        self.prepareGeometryChange()

    def paint(self, painter: QPainter, *_values: object) -> None:
        """Draw the lines, then the marks on top of all of them."""
        transform = painter.worldTransform()
        painter.save()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        placed = [(line, _placed(line.points, transform)) for line in self._lines]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for line, place in placed:
            if len(place) > 1:
                _stroke(painter, line.pen, place)
        for line, place in placed:
            self._mark(painter, line, place)
        painter.restore()

    def _mark(self, painter: QPainter, line: Line, place: Points) -> None:
        color = line.pen.color()
        if line.symbol is not None:
            for index in _marked(place[:, 0], every=line.all_marked):
                filled = line.tip and index == len(place) - 1
                ground = color if filled else self._ground
                draw_symbol(painter, line.symbol, QPointF(*place[index]), color, ground)
        elif len(place) and (line.tip or len(place) == 1):
            painter.setPen(QPen(self._ground, 1.2))
            painter.setBrush(color)
            painter.drawEllipse(QPointF(*place[-1]), MARK_PX + 0.6, MARK_PX + 0.6)


class HeadingItem(pg.GraphicsWidget):  # type: ignore[misc]
    """The title of a plot and what its marks stand for, cut short where there is no room."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(HEADING_PX)
        self._title, self._remark = "", ""
        self._keys: tuple[str, ...] = ()
        self._look: Look | None = None

    def say(self, title: str, keys: Sequence[str], remark: str, look: Look) -> None:
        """Show a title, the words of the marks in their order, and a quiet remark."""
        wanted = title, tuple(keys), remark, look
        if wanted != (self._title, self._keys, self._remark, self._look):
            self._title, self._keys, self._remark, self._look = wanted
            self.update()

    @property
    def remark(self) -> str:
        """What is said beside the title."""
        return self._remark

    def paint(self, painter: QPainter, *_values: object) -> None:
        """Draw one line of text and marks."""
        if self._look is None:
            return
        look, right, height = self._look, self.rect().width() - 4.0, self.rect().height()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bold = QFont(look.font)
        bold.setWeight(QFont.Weight.DemiBold)
        x = self._write(painter, 4.0, right, self._title, bold, look.ink)
        for number, word in enumerate(self._keys):
            if x + 30.0 > right:
                return
            centre = QPointF(x + 14.0 + MARK_PX, 0.5 * height)
            draw_symbol(painter, number, centre, look.quiet, look.ground)
            x = self._write(painter, centre.x() + 8.0, right, word, look.font, look.quiet)
        if self._remark:
            self._write(painter, x + 12.0, right, self._remark, look.font, look.quiet)

    def _write(
        self, painter: QPainter, x: float, right: float, text: str, font: QFont, ink: QColor
    ) -> float:
        """Write a word; where it ends."""
        metrics = QFontMetricsF(font)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0.0, right - x))
        painter.setFont(font)
        painter.setPen(ink)
        baseline = 0.5 * (self.rect().height() + metrics.ascent() - metrics.descent())
        painter.drawText(QPointF(x, baseline), shown)
        return x + metrics.horizontalAdvance(shown)


class TickedAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis with round numbers; on a logarithmic one, positions are powers of ten."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation, maxTickLength=-4)
        self.logarithmic = False
        # By how much the first and the last number may stand out beyond the plot.
        beyond_px = ROOM_AT_END_PX if orientation == "bottom" else HEADING_PX // 2
        self.setStyle(hideOverlappingLabels=beyond_px, tickTextOffset=4, autoExpandTextSpace=False)

    def dress(self, look: Look) -> None:
        """Take the colours and the font."""
        self.setPen(QPen(look.line, 1.0))
        self.setTickPen(QPen(look.line, 1.0))
        self.setTextPen(QPen(look.quiet))
        self.setStyle(tickFont=look.font)

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        along = self.orientation in ("top", "bottom")
        count = max(2, int(size / (72.0 if along else 20.0)))
        low, high = min(low, high), max(low, high)
        values = log_ticks(low, high, count) if self.logarithmic else nice_ticks(low, high, count)
        if along:  # steps are whole
            values = tuple(value for value in values if value == round(value))
        step = min(np.diff(values), default=1.0)
        return [(float(step), list(values))] if values else []

    def tickStrings(self, values: list[float], _scale: float, spacing: float) -> list[str]:
        if self.logarithmic:
            return [number_text(10.0**value) for value in values]
        if self.orientation in ("top", "bottom"):
            return [step_text(value) for value in values]
        if spacing < _LEAST_FIXED:
            return [number_text(round(value / spacing) * spacing) for value in values]
        return [tick_text(value, spacing) for value in values]


def log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Powers of ten at which a logarithmic axis has round numbers, some ``count`` of them."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return ()
    if high - low >= _WIDE_LOG_SPAN:
        decades = range(math.ceil(low), math.floor(high) + 1)
        return tuple(float(d) for d in decades[:: max(1, -(-len(decades) // (count + 1)))])
    for digits in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        decades = range(math.floor(low), math.floor(high) + 1)
        nice = (decade + math.log10(digit) for decade in decades for digit in digits)
        inside = tuple(value for value in nice if low <= value <= high)
        if 2 <= len(inside) <= count + 1:
            return inside
    return tuple(math.log10(v) for v in nice_ticks(10.0**low, 10.0**high, count) if v > 0.0)


def number_text(value: float) -> str:
    """A number in as few digits as it needs: ``0.05``, ``2e−7``."""
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def step_text(step: float) -> str:
    """A number of steps, its thousands apart: ``12 500`` with a narrow space."""
    return f"{step:,.0f}".replace(",", "\u202f")


def _placed(points: Points, transform: QTransform) -> Points:
    """``(N, 2)`` pixels; the views turn nothing, so a scale and a shift are all there is."""
    scale = np.array([transform.m11(), transform.m22()])
    placed: Points = points * scale + np.array([transform.dx(), transform.dy()])
    return placed


def _stroke(painter: QPainter, pen: QPen, place: Points) -> None:
    """Draw a line, finely where it is a thicket: there it is easier to read, and quick to draw.

    Qt strokes a long path of wide dashes in seconds: its time grows with the square of what
    crosses a row of pixels.  In pieces, and with fine pens, it takes milliseconds.
    """
    lengths = np.hypot(*np.diff(place, axis=0).T)
    run = np.concatenate([[0.0], np.cumsum(lengths)])
    if pen.widthF() <= 1.0 or run[-1] > _THICKET * (place[-1, 0] - place[0, 0]):
        ratio = painter.device().devicePixelRatio()
        fine = QPen(pen.color(), 1.0)
        fine.setCosmetic(True)  # one pixel of the device, for which Qt has a way of its own
        if pen.dashPattern():
            fine.setDashPattern([part * pen.widthF() * ratio for part in pen.dashPattern()])
        painter.setPen(fine)
        painter.drawPath(_path(place))
        return
    piece_pen = QPen(pen)
    for start in range(0, len(place) - 1, _PIECE):
        if pen.dashPattern():
            piece_pen.setDashOffset(float(run[start]) / pen.widthF())
        painter.setPen(piece_pen)
        painter.drawPath(_path(place[start : start + _PIECE + 1]))


def _path(place: Points) -> QPainterPath:
    path: QPainterPath = pg.arrayToQPath(
        np.ascontiguousarray(place[:, 0]),
        np.ascontiguousarray(place[:, 1]),
        connect="all",
        finiteCheck=False,
    )
    return path


def _marked(x: np.ndarray[Any, np.dtype[np.float64]], *, every: bool) -> list[int]:
    """Which points get a mark: as many as have room, or one here and there."""
    gap = _LEAST_MARK_GAP_PX if every else _MARKS_EVERY_PX
    # From the newest one on back, so that the end of a curve always shows what it is.
    chosen: list[int] = []
    for index in range(len(x) - 1, -1, -1):
        if not chosen or x[chosen[-1]] - x[index] >= gap:
            chosen.append(index)
    return chosen
