"""The scale of a map's colours: range, ticks, unit and title."""

from __future__ import annotations

import math
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.views.pixels import color_stops

_THICKNESS: Final = 10.0
_TICK: Final = 3.0
_NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def nice_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """At most ``count`` + 1 round numbers from low to high, evenly spaced; empty for no range."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low) or count < 1:
        return ()
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in _NICE if nice * power >= rough * (1.0 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def tick_text(value: float, step: float) -> str:
    """A tick's number with as many decimals as its step needs, and a true minus sign."""
    decimals = 0
    while decimals < 6 and abs(round(step, decimals) - step) > 1e-9 * max(1.0, abs(step)):
        decimals += 1
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{decimals}f}"


def paint_scale(
    painter: QPainter,
    frame: QRectF,
    *,
    colormap: str,
    low: float,
    high: float,
    ink: QColor,
    font: QFont,
    vertical: bool = False,
    marker: float | None = None,
) -> None:
    """Draw a bar of colours with ticks below it (or right of it), for the window and for paper.

    Args:
        painter: any.
        frame: where; the bar takes its upper (or left) edge, the ticks the rest.
        colormap: viridis or cividis.
        low: value of the first colour.
        high: value of the last colour.
        ink: colour of ticks and numbers.
        font: of the numbers.
        vertical: low at the bottom, high at the top.
        marker: a value to point at, or None.
    """
    metrics = QFontMetricsF(font)
    stops = color_stops(colormap)
    row = stops[::-1, None] if vertical else stops[None]
    bar = (
        QRectF(frame.left(), frame.top(), _THICKNESS, frame.height())
        if vertical
        else QRectF(frame.left(), frame.top(), frame.width(), _THICKNESS)
    )
    length = bar.height() if vertical else bar.width()

    def place(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 1.0
        share = min(max(share, 0.0), 1.0)
        return bar.bottom() - share * length if vertical else bar.left() + share * length

    painter.save()
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawImage(bar, _strip(row.tobytes(), row.shape[1], row.shape[0]))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    faint = QColor(ink)
    faint.setAlpha(110)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(faint, 1.0))
    painter.drawRect(bar)
    painter.setFont(font)
    room = 2.4 * metrics.height() if vertical else 1.25 * metrics.horizontalAdvance("−0.00")
    ticks = nice_ticks(low, high, max(1, int(length / room)))
    step = ticks[1] - ticks[0] if len(ticks) > 1 else (abs(ticks[0]) if ticks else 1.0)
    for value in ticks:
        at = place(value)
        text = tick_text(value, step)
        painter.setPen(QPen(faint, 1.0))
        if vertical:
            painter.drawLine(QPointF(bar.right(), at), QPointF(bar.right() + _TICK, at))
            painter.setPen(ink)
            painter.drawText(QPointF(bar.right() + _TICK + 3.0, at + 0.36 * metrics.ascent()), text)
        else:
            painter.drawLine(QPointF(at, bar.bottom()), QPointF(at, bar.bottom() + _TICK))
            painter.setPen(ink)
            half = metrics.horizontalAdvance(text) / 2
            painter.drawText(QPointF(at - half, bar.bottom() + _TICK + metrics.ascent()), text)
    if marker is not None and math.isfinite(marker):
        _paint_marker(painter, bar, place(marker), ink, vertical=vertical)
    painter.restore()


class ColorBar(QWidget):
    """A bar of colours with its title and its numbers; empty until a scale is set.

    It emits nothing.
    """

    def __init__(
        self,
        orientation: Qt.Orientation = Qt.Orientation.Horizontal,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._vertical = orientation == Qt.Orientation.Vertical
        self._title = ""
        self._colormap = "viridis"
        self.shown_range: tuple[float, float] | None = None
        self._unit = ""
        self._marker: float | None = None
        fixed, wide = QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred
        self.setSizePolicy(*((fixed, wide) if self._vertical else (wide, fixed)))
        self._tell()

    def set_scale(self, title: str, low: float, high: float, unit: str, colormap: str) -> None:
        """Show a scale; silent when nothing changes."""
        new = (title, (low, high), unit, colormap)
        if new != (self._title, self.shown_range, self._unit, self._colormap):
            self._title, self.shown_range, self._unit, self._colormap = new
            self._tell()
            self.update()

    def set_marker(self, value: float | None) -> None:
        """Point at a value, such as the best similarity."""
        if value != self._marker:
            self._marker = value
            self.update()

    def clear(self) -> None:
        """Show nothing."""
        if self.shown_range is not None:
            self.shown_range = None
            self._marker = None
            self._tell()
            self.update()

    def sizeHint(self) -> QSize:
        metrics = QFontMetricsF(self._number_font())
        if self._vertical:
            return QSize(math.ceil(_THICKNESS + 6 + metrics.horizontalAdvance("−00.00")) + 6, 160)
        return QSize(300, math.ceil(_THICKNESS + _TICK + metrics.height()) + 9)

    def minimumSizeHint(self) -> QSize:
        hint = self.sizeHint()
        return QSize(hint.width(), 80) if self._vertical else QSize(120, hint.height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        if self.shown_range is None:
            return
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        metrics = QFontMetricsF(self.font())
        title = f"{self._title} ({self._unit})" if self._unit else self._title
        numbers = self._number_font()
        frame = QRectF(self.rect())
        half = QFontMetricsF(numbers).horizontalAdvance("−0.00") / 2
        painter.setFont(self.font())
        painter.setPen(ink)
        if self._vertical:
            frame.adjust(2.0, metrics.height() + 8.0, -2.0, -8.0)
            painter.drawText(QPointF(2.0, metrics.ascent() + 1.0), title)
        else:
            width = min(metrics.horizontalAdvance(title), 0.45 * frame.width())
            shown = metrics.elidedText(title, Qt.TextElideMode.ElideRight, width + 1.0)
            middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(frame.adjusted(2.0, 0.0, 0.0, 0.0), middle, shown)
            frame.adjust(width + 12.0 + half, 6.0, -half - 2.0, 0.0)
        paint_scale(
            painter,
            frame,
            colormap=self._colormap,
            low=self.shown_range[0],
            high=self.shown_range[1],
            ink=ink,
            font=numbers,
            vertical=self._vertical,
            marker=self._marker,
        )

    def _number_font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(max(7.0, 0.85 * font.pointSizeF()))
        return font

    def _tell(self) -> None:
        self.setAccessibleName("Colour scale")
        if self.shown_range is None:
            self.setAccessibleDescription("Nothing is shown in colours.")
            self.setToolTip("")
            return
        low, high = self.shown_range
        text = f"{self._title} from {low:.3g} to {high:.3g} {self._unit}"
        self.setAccessibleDescription(text.strip())
        self.setToolTip(text.strip())


def _strip(data: bytes, width: int, height: int) -> QImage:
    view = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return view.copy()


def _paint_marker(
    painter: QPainter, bar: QRectF, at: float, ink: QColor, *, vertical: bool
) -> None:
    """A notch across the bar with a dark and a light edge, readable on every colour."""
    if vertical:
        ends = QPointF(bar.left() - 1.0, at), QPointF(bar.right() + 1.0, at)
        tip = [(bar.left() - 1.0, at), (bar.left() - 6.0, at - 4.0), (bar.left() - 6.0, at + 4.0)]
    else:
        ends = QPointF(at, bar.top() - 1.0), QPointF(at, bar.bottom() + 1.0)
        tip = [(at, bar.top()), (at - 4.0, bar.top() - 4.0), (at + 4.0, bar.top() - 4.0)]
    painter.setPen(QPen(QColor(16, 17, 20), 3.4))
    painter.drawLine(*ends)
    painter.setPen(QPen(QColor(255, 255, 255), 1.6))
    painter.drawLine(*ends)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(ink)
    painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in tip]))
