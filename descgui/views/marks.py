"""What is drawn over an image: probes, matches, truth, errors, pins, and their labels.

A mark is a frozen dataclass that knows its image points.  It is painted through a viewport in
widget pixels, so it keeps its size at any zoom; only the 3 and 5 px rings grow with the image.
Colours are the project's data colours, the same in both themes and on paper; every one of them
also differs in shape or line style.  Each line has a dark edge and is thus seen on any picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QPainter,
    QPainterPath,
    QPen,
    QPolygonF,
)

from descgui.views.viewport import Box, Viewport
from engine.api import BEST, CYCLE, RIGHT, TRUTH, WRONG, Point

PROBE: Final = "#FFFFFF"
EDGE: Final = "#101114"

PIN_COLORS: Final = (
    "#E69F00",
    "#CC79A7",
    "#0072B2",
    "#56B4E9",
    "#F0E442",
    "#009E73",
    "#D55E00",
)

RINGS_PX: Final = (3.0, 5.0)
"""Radii around the truth, in image pixels."""

PIN_HEAD: Final = 9.5
"""Radius of a pin's head; its tip is at the point."""

PIN_HEIGHT: Final = 19.0
"""From the tip to the centre of the head."""

_DASH: Final = (3.2, 1.6)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where marks are drawn: through which viewport, and in which widget rectangle."""

    view: Viewport
    area: Box

    def to_widget(self, point_px: Point) -> Point:
        """Widget position of an image point."""
        return self.view.to_widget(point_px)


class Mark(Protocol):
    """Something drawn over an image."""

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        ...

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it; the painter is antialiased and in widget pixels."""
        ...


def pin_color(number: int) -> str:
    """Colour of the pin with a number; pins take turns."""
    return PIN_COLORS[(number - 1) % len(PIN_COLORS)]


def label_font() -> QFont:
    """The font of labels: the window's, a little smaller, and half bold."""
    font = QFont(QGuiApplication.font())
    font.setPointSizeF(max(7.5, 0.9 * font.pointSizeF()))
    font.setWeight(QFont.Weight.DemiBold)
    return font


def place_label(anchor: Point, width: float, height: float, area: Box, *, gap: float) -> Box:
    """Where a label goes: right above its point, mirrored where there is no room, always inside.

    Args:
        anchor: the widget point it belongs to.
        width: of the label.
        height: of the label.
        area: what it must not leave, as far as it fits in.
        gap: distance kept from the point along each axis.
    """
    left = anchor[0] + gap
    if left + width > area.right:
        left = anchor[0] - gap - width
    top = anchor[1] - gap - height
    if top < area.top:
        top = anchor[1] + gap
    left = max(area.left, min(left, area.right - width))
    top = max(area.top, min(top, area.bottom - height))
    return Box(left, top, width, height)


@dataclass(frozen=True, slots=True)
class Reticle:
    """The asked point: four white arms around a free centre."""

    point_px: Point

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _around(stage.to_widget(self.point_px), 18.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        x, y = stage.to_widget(self.point_px)
        _stroke(painter, _arms(x, y, 5.0, 15.0), PROBE, 1.8)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(EDGE))
        painter.drawEllipse(QPointF(x, y), 2.1, 2.1)
        painter.setBrush(QColor(PROBE))
        painter.drawEllipse(QPointF(x, y), 1.2, 1.2)


@dataclass(frozen=True, slots=True)
class BestMatch:
    """The best match: a yellow cross; ``color`` is a pin's colour for the match of a pin."""

    point_px: Point
    color: str = BEST

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _around(stage.to_widget(self.point_px), 15.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        x, y = stage.to_widget(self.point_px)
        _stroke(painter, _arms(x, y, 2.5, 11.5), self.color, 2.6)


@dataclass(frozen=True, slots=True)
class PeakRing:
    """A further good match: a small disc that holds its rank."""

    point_px: Point
    rank: int

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _around(stage.to_widget(self.point_px), 12.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        centre = QPointF(*stage.to_widget(self.point_px))
        painter.setPen(QPen(QColor(EDGE), 3.0))
        painter.setBrush(QColor(16, 17, 20, 190))
        painter.drawEllipse(centre, 8.0, 8.0)
        painter.setPen(QPen(QColor(BEST), 1.3))
        painter.drawEllipse(centre, 8.0, 8.0)
        _centred_text(painter, centre, str(self.rank), BEST, 0.88)


@dataclass(frozen=True, slots=True)
class TruthPoint:
    """The true point in a white and sky-blue ring, and the rings of 3 and 5 image pixels.

    Where the 3 px ring would be too small to see, a ring of fixed size stands in for it.
    """

    point_px: Point

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _around(
            stage.to_widget(self.point_px), max(10.0, RINGS_PX[1] * stage.view.scale + 3.0)
        )

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        centre = QPointF(*stage.to_widget(self.point_px))
        inner, outer = (radius * stage.view.scale for radius in RINGS_PX)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if outer >= 11.0:
            _ring(painter, centre, outer, 1.2, white=False)
        _ring(painter, centre, inner if inner >= 6.5 else 6.0, 1.8, white=True)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(EDGE))
        painter.drawEllipse(centre, 2.6, 2.6)
        painter.setBrush(QColor(TRUTH))
        painter.drawEllipse(centre, 1.7, 1.7)


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """From the found to the true point: solid when right, dashed when wrong."""

    found_px: Point
    truth_px: Point
    right: bool

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _spanned(stage.to_widget(self.found_px), stage.to_widget(self.truth_px), 4.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        path = QPainterPath(QPointF(*stage.to_widget(self.found_px)))
        path.lineTo(QPointF(*stage.to_widget(self.truth_px)))
        _stroke(painter, path, RIGHT if self.right else WRONG, 2.0, dashed=not self.right)


@dataclass(frozen=True, slots=True)
class CycleArrow:
    """From the asked point to where the match back ends."""

    asked_px: Point
    cycle_px: Point

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _spanned(stage.to_widget(self.asked_px), stage.to_widget(self.cycle_px), 12.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it; an arrow shorter than its own head is left out."""
        start = stage.to_widget(self.asked_px)
        end = stage.to_widget(self.cycle_px)
        length = math.dist(start, end)
        if length < 7.0:
            return
        along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
        base = (end[0] - 8.0 * along[0], end[1] - 8.0 * along[1])
        across = (-4.5 * along[1], 4.5 * along[0])
        shaft = QPainterPath(QPointF(*start))
        shaft.lineTo(QPointF(*base))
        _stroke(painter, shaft, CYCLE, 1.8)
        head = QPolygonF(
            [
                QPointF(*end),
                QPointF(base[0] + across[0], base[1] + across[1]),
                QPointF(base[0] - across[0], base[1] - across[1]),
            ]
        )
        painter.setPen(QPen(QColor(EDGE), 1.2))
        painter.setBrush(QColor(CYCLE))
        painter.drawPolygon(head)


@dataclass(frozen=True, slots=True)
class PinMark:
    """A pin whose tip is at its point, with its number in the head.

    Attributes:
        point_px: where the tip is.
        number: of the pin.
        found: True for the match of the pin, drawn hollow; False for the asked point, filled.
        selected: drawn with a white rim and a little larger.
    """

    point_px: Point
    number: int
    found: bool = False
    selected: bool = False

    def head(self, stage: Stage) -> Point:
        """Widget position of the middle of the head; below its tip at the upper edge."""
        x, y = stage.to_widget(self.point_px)
        upright = y - PIN_HEIGHT - PIN_HEAD - 3.0 >= stage.area.top
        return x, y - PIN_HEIGHT if upright else y + PIN_HEIGHT

    def hit(self, position: Point, stage: Stage) -> bool:
        """Whether a widget position is on the pin."""
        tip = stage.to_widget(self.point_px)
        head = self.head(stage)
        return math.dist(position, head) <= PIN_HEAD + 2.0 or math.dist(position, tip) <= 6.0

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        return _spanned(stage.to_widget(self.point_px), self.head(stage), PIN_HEAD + 5.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        x, y = stage.to_widget(self.point_px)
        head = self.head(stage)
        away = 1.0 if head[1] < y else -1.0
        color = QColor(pin_color(self.number))
        shape = QPainterPath(QPointF(x, y))
        shape.lineTo(x - 0.78 * PIN_HEAD, head[1] + away * 0.62 * PIN_HEAD)
        shape.lineTo(x + 0.78 * PIN_HEAD, head[1] + away * 0.62 * PIN_HEAD)
        shape.closeSubpath()
        disc = QPainterPath()
        disc.addEllipse(QPointF(*head), PIN_HEAD, PIN_HEAD)
        shape = shape.united(disc)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(EDGE), 6.0 if self.selected else 3.0))
        painter.drawPath(shape)
        if self.selected:
            painter.setPen(QPen(QColor(PROBE), 3.4))
            painter.drawPath(shape)
        painter.setPen(QPen(color, 2.0) if self.found else Qt.PenStyle.NoPen)
        painter.setBrush(QColor(EDGE) if self.found else color)
        painter.drawPath(shape)
        ink = PROBE if self.found else readable_on(color)
        _centred_text(painter, QPointF(*head), str(self.number), ink, 0.95)


@dataclass(frozen=True, slots=True)
class Label:
    """A sentence's worth of text beside a point, inside the canvas.

    Attributes:
        point_px: what it belongs to.
        text: one short line.
        color: of the stripe at its left edge; "" for none.
        dashed: break the stripe, as the lines of wrong matches are.
        gap: distance from the point, in widget pixels.
    """

    point_px: Point
    text: str
    color: str = ""
    dashed: bool = False
    gap: float = 11.0

    def box(self, stage: Stage) -> Box:
        """The widget rectangle of its plate."""
        metrics = QFontMetricsF(label_font())
        width = metrics.horizontalAdvance(self.text) + (17.0 if self.color else 12.0)
        area = stage.area
        inner = Box(area.left + 3.0, area.top + 3.0, area.width - 6.0, area.height - 6.0)
        anchor = stage.to_widget(self.point_px)
        return place_label(anchor, width, metrics.height() + 5.0, inner, gap=self.gap)

    def bounds(self, stage: Stage) -> QRectF:
        """The widget rectangle it touches."""
        box = self.box(stage)
        return QRectF(box.left - 2.0, box.top - 2.0, box.width + 4.0, box.height + 4.0)

    def paint(self, painter: QPainter, stage: Stage) -> None:
        """Draw it."""
        box = self.box(stage)
        plate = QRectF(box.left, box.top, box.width, box.height)
        painter.setPen(QPen(QColor(255, 255, 255, 46), 1.0))
        painter.setBrush(QColor(16, 17, 20, 214))
        painter.drawRoundedRect(plate, 4.5, 4.5)
        text = plate.adjusted(6.0, 0.0, -6.0, 0.0)
        if self.color:
            text.setLeft(plate.left() + 11.0)
            stripe = QPen(QColor(self.color), 3.0)
            stripe.setCapStyle(Qt.PenCapStyle.FlatCap)
            if self.dashed:
                stripe.setDashPattern([1.3, 0.9])
            painter.setPen(stripe)
            x = plate.left() + 5.0
            painter.drawLine(QPointF(x, plate.top() + 4.0), QPointF(x, plate.bottom() - 4.0))
        painter.setFont(label_font())
        painter.setPen(QColor("#F4F5F7"))
        painter.drawText(
            text, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self.text
        )


def paint_marks(
    painter: QPainter, marks: Iterable[Mark], stage: Stage, dirty: QRectF | None = None
) -> None:
    """Draw marks in order; those outside the stage, or outside ``dirty``, are left out."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    area = stage.area
    frame = dirty or QRectF(area.left, area.top, area.width, area.height)
    for mark in marks:
        if mark.bounds(stage).intersects(frame):
            mark.paint(painter, stage)


def readable_on(color: QColor) -> str:
    """Black or white, whichever reads better on a colour."""
    light = 0.299 * color.redF() + 0.587 * color.greenF() + 0.114 * color.blueF()
    return EDGE if light > 0.5 else PROBE


def _around(centre: Point, reach: float) -> QRectF:
    return QRectF(centre[0] - reach, centre[1] - reach, 2 * reach, 2 * reach)


def _spanned(one: Point, other: Point, reach: float) -> QRectF:
    left, right = sorted((one[0], other[0]))
    top, bottom = sorted((one[1], other[1]))
    return QRectF(left - reach, top - reach, right - left + 2 * reach, bottom - top + 2 * reach)


def _arms(x: float, y: float, start: float, end: float) -> QPainterPath:
    path = QPainterPath()
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        path.moveTo(x + start * dx, y + start * dy)
        path.lineTo(x + end * dx, y + end * dy)
    return path


def _ring(painter: QPainter, centre: QPointF, radius: float, width: float, *, white: bool) -> None:
    painter.setPen(QPen(QColor(EDGE), width + 2.6))
    painter.drawEllipse(centre, radius, radius)
    if white:
        painter.setPen(QPen(QColor(PROBE), width + 1.0))
        painter.drawEllipse(centre, radius, radius)
    painter.setPen(QPen(QColor(TRUTH), width))
    painter.drawEllipse(centre, radius, radius)


def _stroke(
    painter: QPainter, path: QPainterPath, color: str, width: float, *, dashed: bool = False
) -> None:
    """Draw a line with a dark edge; both are broken where it is dashed."""
    painter.setBrush(QBrush(Qt.BrushStyle.NoBrush))
    under = QPen(QColor(EDGE), width + 2.4)
    under.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(under)
    painter.drawPath(path)
    over = QPen(QColor(color), width)
    over.setCapStyle(Qt.PenCapStyle.FlatCap)
    if dashed:
        over.setDashPattern(_DASH)
    painter.setPen(over)
    painter.drawPath(path)


def _centred_text(painter: QPainter, centre: QPointF, text: str, color: str, size: float) -> None:
    font = label_font()
    font.setPointSizeF(size * font.pointSizeF() if len(text) < 3 else 0.78 * font.pointSizeF())
    font.setWeight(QFont.Weight.Bold)
    painter.setFont(font)
    painter.setPen(QColor(color))
    frame = QRectF(centre.x() - 20.0, centre.y() - 20.0, 40.0, 40.0)
    painter.drawText(frame, Qt.AlignmentFlag.AlignCenter, text)
