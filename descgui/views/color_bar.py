"""The scale of a map's colours: range, ticks, unit and title."""

from __future__ import annotations

import math
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.views.pixels import color_stops, rgb_image
from descgui.views.scene import Scale

_THICKNESS: Final = 10.0
_LEAST_PX: Final = 90.0  # of the bar with its numbers, beside a long title
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


def log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """At most ``count`` + 1 of 1, 3, 10, 30, … from low to high, above 0; else the tens alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    tens = [10.0**power for power in range(first, last + 1)]
    both = sorted([*tens, *(3 * ten for ten in tens)])
    found = [
        tuple(tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9))
        for ticks in (both, tens)
    ]
    return found[0] if len(found[0]) <= count + 1 else found[1]


def tick_text(value: float, step: float) -> str:
    """A tick's number with as many decimals as its step needs, and a true minus sign."""
    decimals = 0
    while decimals < 6 and abs(round(step, decimals) - step) > 1e-9 * max(1.0, abs(step)):
        decimals += 1
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{decimals}f}"


class ColorBar(QWidget):
    """A bar of colours with its title and its numbers; empty until a scale is set.

    Signals:
        pressed(): it was clicked, to change its colours.
    """

    pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Colour scale")
        self.scale: Scale | None = None
        """What is shown, None while empty."""
        self._colormap = "viridis"
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._describe()

    def show_scale(self, scale: Scale | None, colormap: str) -> None:
        """Show a scale and its marker, such as the best similarity; None shows nothing."""
        if (scale, colormap) != (self.scale, self._colormap):
            self.scale, self._colormap = scale, colormap
            self._describe()
            self.update()

    def sizeHint(self) -> QSize:
        height = QFontMetricsF(self._number_font()).height()
        return QSize(300, math.ceil(_THICKNESS + _TICK + height) + 9)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.sizeHint().height())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        inside = self.rect().contains(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and inside and self.scale is not None:
            self.pressed.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        event.accept()  # else the release would go to the widget behind

    def paintEvent(self, _event: QPaintEvent) -> None:
        scale = self.scale
        if scale is None:
            return
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(110)
        metrics = QFontMetricsF(self.font())
        title = f"{scale.title} ({scale.unit})" if scale.unit else scale.title
        numbers = QFontMetricsF(self._number_font())
        frame = QRectF(self.rect())
        half = numbers.horizontalAdvance("−0.00") / 2
        painter.setFont(self.font())
        painter.setPen(ink)
        room = max(0.45 * frame.width(), frame.width() - _LEAST_PX)
        width = min(metrics.horizontalAdvance(title), room)
        shown = metrics.elidedText(title, Qt.TextElideMode.ElideRight, width + 1.0)
        middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(frame.adjusted(2.0, 0.0, 0.0, 0.0), middle, shown)
        left = width + 12.0 + half
        bar = QRectF(left, 6.0, frame.width() - left - half - 2.0, _THICKNESS)
        stops = color_stops(self._colormap)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(bar, rgb_image(stops[None]))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(faint, 1.0))
        painter.drawRect(bar)
        painter.setFont(self._number_font())
        _paint_ticks(painter, bar, scale, ink, faint)
        if scale.marker is not None and math.isfinite(scale.marker):
            _paint_marker(painter, bar, _place(bar, scale, scale.marker), ink)

    def _number_font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(max(7.0, 0.85 * font.pointSizeF()))
        return font

    def _describe(self) -> None:
        text, tip = "No colours are shown.", ""
        if self.scale is not None:
            scale = self.scale
            text = f"{scale.title} from {scale.low:.3g} to {scale.high:.3g} {scale.unit}".strip()
            tip = f"{text}. Press to change range and colours."
        self.setAccessibleDescription(text)
        self.setToolTip(tip)


def _paint_marker(painter: QPainter, bar: QRectF, at: float, ink: QColor) -> None:
    """A notch across the bar with a dark and a light edge, readable on every colour."""
    ends = QPointF(at, bar.top() - 1.0), QPointF(at, bar.bottom() + 1.0)
    for color, width in ((QColor(16, 17, 20), 3.4), (QColor(255, 255, 255), 1.6)):
        painter.setPen(QPen(color, width))
        painter.drawLine(*ends)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(ink)
    tip = [(at, bar.top()), (at - 4.0, bar.top() - 4.0), (at + 4.0, bar.top() - 4.0)]
    painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in tip]))


def _paint_ticks(painter: QPainter, bar: QRectF, scale: Scale, ink: QColor, faint: QColor) -> None:
    metrics = QFontMetricsF(painter.font())
    room = 1.25 * metrics.horizontalAdvance("−0.00")
    count = max(1, int(bar.width() / room))
    if scale.logarithmic:
        ticks = log_ticks(scale.low, scale.high, count)
    else:
        ticks = nice_ticks(scale.low, scale.high, count)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else (abs(ticks[0]) if ticks else 1.0)
    for value in ticks:
        at = _place(bar, scale, value)
        text = f"{value:g}" if scale.logarithmic else tick_text(value, step)
        painter.setPen(QPen(faint, 1.0))
        painter.drawLine(QPointF(at, bar.bottom()), QPointF(at, bar.bottom() + _TICK))
        painter.setPen(ink)
        half = metrics.horizontalAdvance(text) / 2
        painter.drawText(QPointF(at - half, bar.bottom() + _TICK + metrics.ascent()), text)


def _place(bar: QRectF, scale: Scale, value: float) -> float:
    """Where a value is on the bar; values out of range are at its ends."""
    low, high = scale.low, scale.high
    if scale.logarithmic:
        low, high, value = (math.log10(max(one, 1e-12)) for one in (low, high, value))
    span = high - low
    share = (value - low) / span if span > 0 else 1.0
    return bar.left() + min(max(share, 0.0), 1.0) * bar.width()
