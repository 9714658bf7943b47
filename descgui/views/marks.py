"""What is drawn over an image: probes, matches, truth, errors, pins, and their labels.

A mark is a frozen dataclass that knows its image points.  Through a viewport it becomes shapes in
widget pixels, so it keeps its size at any zoom; only the 3 and 5 px rings grow with the image.
:func:`paint_marks` draws the shapes in the window, and a figure draws the same ones on paper.
Colours are the project's data colours, the same in both themes and on paper; marks of different
colours also differ in shape or line style.  Each line has a dark edge, so it shows on any picture.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
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
)

from descgui.views.viewport import Box, Viewport
from engine import api
from engine.api import (
    BEST,
    CYCLE,
    RIGHT,
    TRUTH,
    WRONG,
)
from engine.api import figure_content as content

Shapes = tuple[content.Shape, ...]

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

_DISC_RADIUS: Final = 8.0
_DISC_REACH: Final = _DISC_RADIUS + 1.5  # with its dark edge
_DISCS_APART: Final = 14.0  # between centres: rims may touch, numbers may not be covered
_ASIDE: Final = (20.0, 28.0, 38.0, 52.0, 68.0, 86.0)  # leads out of the rings at any zoom
_TURNS: Final = tuple(math.radians(turn) for turn in (0, 30, -30, 60, -60, 90, -90, 120, -120, 180))

_DASH: Final = (3.2, 1.6)
_PLATE_EDGE: Final = "#3A3C3F"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where marks are drawn: through which viewport, and in which widget rectangle."""

    view: Viewport
    area: Box


class Mark(Hashable, Protocol):
    """Something drawn over an image."""

    def shapes(self, stage: Stage) -> Shapes:
        """What it consists of, lowest first, in widget pixels."""
        ...


def pin_color(number: int) -> str:
    """Colour of the pin with a number; the colours repeat."""
    return PIN_COLORS[(number - 1) % len(PIN_COLORS)]


def label_font() -> QFont:
    """The font of labels: the window's, a little smaller, and half bold."""
    font = QFont(QGuiApplication.font())
    font.setPointSizeF(max(7.5, 0.9 * font.pointSizeF()))
    font.setWeight(QFont.Weight.DemiBold)
    return font


def place_label(anchor: api.Point, width: float, height: float, area: Box, *, gap: float) -> Box:
    """Where a label goes: up and right of its point, mirrored where room is short, always inside.

    Args:
        anchor: the widget point it belongs to.
        width: of the label.
        height: of the label.
        area: what it stays inside, if it fits.
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
    """The query point: four white arms around an open centre."""

    point_px: api.Point

    def shapes(self, stage: Stage) -> Shapes:
        at = stage.view.to_widget(self.point_px)
        dots = content.Disc(at, 2.1, fill=EDGE), content.Disc(at, 1.2, fill=PROBE)
        return *_edged(_arms(at, 5.0, 15.0), PROBE, 1.8), *dots


@dataclass(frozen=True, slots=True)
class BestMatch:
    """The best match: a yellow cross; ``color`` is a pin's colour for the match of a pin."""

    point_px: api.Point
    color: str = BEST

    def shapes(self, stage: Stage) -> Shapes:
        return _edged(_arms(stage.view.to_widget(self.point_px), 2.5, 11.5), self.color, 2.6)


@dataclass(frozen=True, slots=True)
class ExcludedCircle:
    """What self-similarity leaves out around the query: a dashed white circle in image pixels."""

    point_px: api.Point
    radius_px: float

    def shapes(self, stage: Stage) -> Shapes:
        """Nothing where it would be a dot."""
        radius = self.radius_px * stage.view.scale
        if radius < 3.0:
            return ()
        centre = stage.view.to_widget(self.point_px)
        circle = tuple(_arc(centre, radius, 0.0, 2 * math.pi, 96))
        return _edged((circle,), PROBE, 1.4, dashed=True)


@dataclass(frozen=True, slots=True)
class RegionBox:
    """What a query averages over: a dashed white box around its point, in image pixels."""

    point_px: api.Point
    size_px: tuple[float, float]

    def shapes(self, stage: Stage) -> Shapes:
        (x, y), (width, height) = self.point_px, self.size_px
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
        corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        frame = tuple(stage.view.to_widget(corner) for corner in corners)
        return _edged((frame,), PROBE, 1.4, dashed=True)


@dataclass(frozen=True, slots=True)
class CellFrame:
    """A cell that stands out: a yellow frame around its area, in image pixels.

    Attributes:
        corner_px: its top left corner.
        size_px: (width, height).
    """

    corner_px: api.Point
    size_px: tuple[float, float]

    def shapes(self, stage: Stage) -> Shapes:
        (x, y), (width, height) = self.corner_px, self.size_px
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y))
        frame = tuple(stage.view.to_widget(corner) for corner in corners)
        return _edged((frame,), BEST, 1.4)


@dataclass(frozen=True, slots=True)
class TruthPoint:
    """The true point in a white and sky-blue ring, and the rings of 3 and 5 image pixels.

    Where the 3 px ring would be too small to see, a ring of fixed size replaces it.
    """

    point_px: api.Point

    def radii(self, scale: float) -> tuple[float, ...]:
        """Of its rings in widget pixels, the inner one first."""
        inner, outer = (radius * scale for radius in RINGS_PX)
        return (inner if inner >= 6.5 else 6.0, *((outer,) if outer >= 11.0 else ()))

    def shapes(self, stage: Stage) -> Shapes:
        at = stage.view.to_widget(self.point_px)
        inner, *outer = self.radii(stage.view.scale)
        return (
            *(shape for radius in outer for shape in _ring(at, radius, 1.2, white=False)),
            *_ring(at, inner, 1.8, white=True),
            content.Disc(at, 2.6, fill=EDGE),
            content.Disc(at, 1.7, fill=TRUTH),
        )


@dataclass(frozen=True, slots=True)
class HiddenTruth:
    """Where the true point would be if nothing stood in front of it: an open, dashed ring."""

    point_px: api.Point

    def radii(self, _scale: float) -> tuple[float, ...]:
        """Of its ring in widget pixels."""
        return (6.5,)

    def shapes(self, stage: Stage) -> Shapes:
        (radius,) = self.radii(stage.view.scale)
        circle = tuple(_arc(stage.view.to_widget(self.point_px), radius, 0.0, 2 * math.pi, 24))
        return _edged((circle,), TRUTH, 1.8, dashed=True)


@dataclass(frozen=True, slots=True)
class PeakRing:
    """A further good match: a small disc that holds its rank.

    A disc that would cover a truth, or the disc of a better rank, is drawn aside, and a leader ends
    in a dot at the point.

    Attributes:
        point_px: the match.
        rank: 1 for the best.
        better_px: the matches of better ranks that have discs, too, the best first.
        truths: what no disc may cover.
    """

    point_px: api.Point
    rank: int
    better_px: tuple[api.Point, ...] = ()
    truths: tuple[TruthPoint | HiddenTruth, ...] = ()

    def shapes(self, stage: Stage) -> Shapes:
        point = stage.view.to_widget(self.point_px)
        at = _disc_places((*self.better_px, self.point_px), self.truths, stage)[-1]
        leader: Shapes = ()
        if at != point:
            dots = content.Disc(point, 2.9, fill=EDGE), content.Disc(point, 1.8, fill=BEST)
            leader = (*_edged(((point, at),), BEST, 1.3), *dots)
        return (
            *leader,
            content.Disc(at, _DISC_RADIUS, EDGE, 3.0, fill=EDGE, opacity=0.94),
            content.Disc(at, _DISC_RADIUS, BEST, 1.3),
            content.Words(at, str(self.rank), BEST, _number_size(str(self.rank), 0.88)),
        )


@dataclass(frozen=True, slots=True)
class ListedPoint:
    """A point whose partner the truth lists: a small, faint dot."""

    point_px: api.Point

    def shapes(self, stage: Stage) -> Shapes:
        at = stage.view.to_widget(self.point_px)
        edge = content.Disc(at, 2.8, fill=EDGE, opacity=0.55)
        return edge, content.Disc(at, 1.9, fill=TRUTH, opacity=0.85)


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """A line from the match to the true point: solid when right, dashed when wrong."""

    found_px: api.Point
    truth_px: api.Point
    right: bool

    def shapes(self, stage: Stage) -> Shapes:
        line = (stage.view.to_widget(self.found_px), stage.view.to_widget(self.truth_px))
        return _edged((line,), RIGHT if self.right else WRONG, 2.0, dashed=not self.right)


@dataclass(frozen=True, slots=True)
class CycleArrow:
    """An arrow from the query point to where matching back ends."""

    asked_px: api.Point
    cycle_px: api.Point

    def shapes(self, stage: Stage) -> Shapes:
        """Nothing where the arrow would be shorter than its own head."""
        start = stage.view.to_widget(self.asked_px)
        end = stage.view.to_widget(self.cycle_px)
        length = math.dist(start, end)
        if length < 7.0:
            return ()
        along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
        base = (end[0] - 8.0 * along[0], end[1] - 8.0 * along[1])
        across = (-4.5 * along[1], 4.5 * along[0])
        left = (base[0] + across[0], base[1] + across[1])
        right = (base[0] - across[0], base[1] - across[1])
        head = content.Stroke(((end, left, right, end),), EDGE, 1.2, fill=CYCLE)
        return *_edged(((start, base),), CYCLE, 1.8), head


@dataclass(frozen=True, slots=True)
class PinMark:
    """A pin whose tip is at its point, with its number in the head.

    Attributes:
        point_px: where the tip is.
        number: of the pin.
        found: True for the pin's match, drawn hollow; False for the query point, filled.
        selected: drawn with a white rim and a little larger.
    """

    point_px: api.Point
    number: int
    found: bool = False
    selected: bool = False

    def head(self, stage: Stage) -> api.Point:
        """Widget position of the middle of the head; below its tip at the upper edge."""
        x, y = stage.view.to_widget(self.point_px)
        upright = y - PIN_HEIGHT - PIN_HEAD - 3.0 >= stage.area.top
        return x, y - PIN_HEIGHT if upright else y + PIN_HEIGHT

    def hit(self, position: api.Point, stage: Stage) -> bool:
        """Whether a widget position is on the pin."""
        tip = stage.view.to_widget(self.point_px)
        head = self.head(stage)
        return math.dist(position, head) <= PIN_HEAD + 2.0 or math.dist(position, tip) <= 6.0

    def shapes(self, stage: Stage) -> Shapes:
        x, y = stage.view.to_widget(self.point_px)
        head = self.head(stage)
        down = 1.0 if head[1] < y else -1.0
        # Around the head from where the sides meet it: at 0.62 of its radius towards the tip.
        begin = math.asin(0.62)
        ends = (begin, -math.pi - begin) if down > 0 else (-begin, math.pi + begin)
        outline = (((x, y), *_arc(head, PIN_HEAD, *ends, 24), (x, y)),)
        color = pin_color(self.number)
        fill, ink = (EDGE, PROBE) if self.found else (color, readable_on(QColor(color)))
        rims = [content.Stroke(outline, EDGE, 6.0 if self.selected else 3.0)]
        if self.selected:
            rims.append(content.Stroke(outline, PROBE, 3.4))
        body = content.Stroke(outline, color, 2.0 if self.found else 0.0, fill=fill)
        number = str(self.number)
        return *rims, body, content.Words(head, number, ink, _number_size(number, 0.95))


@dataclass(frozen=True, slots=True)
class Label:
    """A short text beside a point, inside the canvas.

    Attributes:
        point_px: what it belongs to.
        text: one short line.
        color: of the stripe at its left edge; "" for none.
        dashed: break the stripe, as the lines of wrong matches are.
        gap: distance from the point, in widget pixels.
    """

    point_px: api.Point
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
        anchor = stage.view.to_widget(self.point_px)
        return place_label(anchor, width, metrics.height() + 5.0, inner, gap=self.gap)

    def shapes(self, stage: Stage) -> Shapes:
        box = self.box(stage)
        x, middle, indent = box.left + 5.0, box.top + box.height / 2, 11.0 if self.color else 6.0
        stripe = (((x, box.top + 4.0), (x, box.bottom - 4.0)),)
        dashes = (1.3, 0.9) if self.dashed else None
        room = box.width - indent - 6.0
        return (
            content.Stroke(_rounded(box, 4.5), _PLATE_EDGE, 1.0, fill=EDGE, opacity=0.84),
            *((content.Stroke(stripe, self.color, 3.0, dashes),) if self.color else ()),
            content.Words((box.left + indent, middle), self.text, "#F4F5F7", room=room),
        )


def paint_marks(
    painter: QPainter, marks: Iterable[Mark], stage: Stage, dirty: QRectF | None = None
) -> None:
    """Draw marks in order; those outside the stage, or outside ``dirty``, are left out."""
    area = stage.area
    frame = dirty or QRectF(area.left, area.top, area.width, area.height)
    for mark in marks:
        shapes, bounds = shaped(mark, stage)
        if bounds.intersects(frame):
            paint_shapes(painter, shapes)


@lru_cache(maxsize=2048)  # a mark is asked about when it appears, at each paint, and when it goes
def shaped(mark: Mark, stage: Stage) -> tuple[Shapes, QRectF]:
    """A mark's shapes, and the rectangle that they touch, which stays as it is."""
    shapes = mark.shapes(stage)
    return shapes, bounds_of(shapes)


def bounds_of(shapes: Shapes) -> QRectF:
    """The rectangle that shapes touch; words stay inside the disc or plate below them."""
    boxes = []
    for shape in shapes:
        match shape:
            case content.Stroke():
                xs, ys = zip(*chain.from_iterable(shape.lines), strict=True)
                reach = shape.width / 2
            case content.Disc():
                xs, ys = ((coordinate,) for coordinate in shape.centre)
                reach = shape.radius + shape.width / 2
            case _:
                continue
        boxes.append((min(xs) - reach, min(ys) - reach, max(xs) + reach, max(ys) + reach))
    if not boxes:
        return QRectF()
    left, top, right, bottom = zip(*boxes, strict=True)
    return QRectF(QPointF(min(left), min(top)), QPointF(max(right), max(bottom)))


def paint_shapes(painter: QPainter, shapes: Shapes) -> None:
    """Draw shapes in order, in the pixels of the painter."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    lines: content.Lines | None = None
    path = QPainterPath()
    for shape in shapes:
        match shape:
            case content.Stroke():
                painter.setPen(
                    make_pen(shape.colour, shape.width, shape.dashes, round_=shape.round)
                )
                painter.setBrush(_brush(shape.fill, shape.opacity))
                if shape.lines is not lines:  # rims have the lines of what they are around
                    lines, path = shape.lines, QPainterPath()
                    for begin, *rest in lines:
                        path.moveTo(*begin)
                        for point in rest:
                            path.lineTo(*point)
                painter.drawPath(path)
            case content.Disc():
                painter.setPen(make_pen(shape.colour, shape.width))
                painter.setBrush(_brush(shape.fill, shape.opacity))
                painter.drawEllipse(QPointF(*shape.centre), shape.radius, shape.radius)
            case content.Words():
                font = label_font()
                font.setPointSizeF(shape.size * font.pointSizeF())
                painter.setFont(font)
                painter.setPen(QColor(shape.colour))
                left, y = shape.at[0] - (0.0 if shape.room else 20.0), shape.at[1]
                side = Qt.AlignmentFlag.AlignLeft if shape.room else Qt.AlignmentFlag.AlignHCenter
                frame = QRectF(left, y - 20.0, shape.room + 40.0, 40.0)
                painter.drawText(frame, side | Qt.AlignmentFlag.AlignVCenter, shape.text)


@lru_cache(maxsize=64)  # each disc asks for those of better ranks
def _disc_places(
    points_px: tuple[api.Point, ...], truths: tuple[TruthPoint | HiddenTruth, ...], stage: Stage
) -> tuple[api.Point, ...]:
    """Where the discs of matches are drawn, in widget pixels.

    A disc is at its point, or else at the nearest place inside the stage where it covers nothing.
    """
    if not points_px:
        return ()
    before = _disc_places(points_px[:-1], truths, stage)
    point = stage.view.to_widget(points_px[-1])
    rings = [
        (stage.view.to_widget(truth.point_px), truth.radii(stage.view.scale)) for truth in truths
    ]

    def covered(at: api.Point) -> tuple[int, int]:
        """How many truths and how many discs a disc would cover."""
        hidden = sum(_covers_truth(math.dist(at, centre), radii) for centre, radii in rings)
        return hidden, sum(math.dist(at, other) < _DISCS_APART for other in before)

    best, least = point, covered(point)
    if least == (0, 0) or not _within(point, stage.area, 0.0):
        return *before, point
    centres = [centre for centre, _ in rings] + list(before)
    nearest = min(centres, key=lambda centre: math.dist(centre, point))
    away = math.atan2(point[1] - nearest[1], point[0] - nearest[0])
    for distance in _ASIDE:
        for turn in _TURNS:
            x = point[0] + distance * math.cos(away + turn)
            y = point[1] + distance * math.sin(away + turn)
            if _within((x, y), stage.area, _DISC_REACH) and (found := covered((x, y))) < least:
                best, least = (x, y), found
        if least == (0, 0):
            break
    return *before, best


def _covers_truth(distance: float, radii: tuple[float, ...]) -> bool:
    """Whether a disc so far from a truth covers its centre or one of its rings."""
    line = _DISC_REACH + 2.2
    return distance < line or any(abs(distance - radius) < line for radius in radii)


def _within(at: api.Point, area: Box, margin: float) -> bool:
    return (
        area.left + margin <= at[0] <= area.right - margin
        and area.top + margin <= at[1] <= area.bottom - margin
    )


@lru_cache(maxsize=128)
def _brush(fill: str, opacity: float) -> QBrush:
    if not fill:
        return QBrush(Qt.BrushStyle.NoBrush)
    color = QColor(fill)
    color.setAlphaF(opacity)
    return QBrush(color)


@lru_cache(maxsize=128)  # a pointer that moves asks for the same ones each time
def make_pen(
    color: str, width: float, dashes: tuple[float, float] | None = None, *, round_: bool = False
) -> QPen:
    """A pen whose dashes are in widths; width 0 draws nothing."""
    if width == 0.0:
        return QPen(Qt.PenStyle.NoPen)
    pen = QPen(QColor(color), width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap if round_ else Qt.PenCapStyle.FlatCap)
    if dashes is not None:
        pen.setDashPattern(dashes)
    return pen


def readable_on(color: QColor) -> str:
    """Black or white, whichever reads better on a colour."""
    light = 0.299 * color.redF() + 0.587 * color.greenF() + 0.114 * color.blueF()
    return EDGE if light > 0.5 else PROBE


def _arms(at: api.Point, start: float, end: float) -> content.Lines:
    x, y = at
    ways = ((1, 0), (-1, 0), (0, 1), (0, -1))
    return tuple(
        ((x + start * dx, y + start * dy), (x + end * dx, y + end * dy)) for dx, dy in ways
    )


def _ring(at: api.Point, radius: float, width: float, *, white: bool) -> Shapes:
    middle = (content.Disc(at, radius, PROBE, width + 1.0),) if white else ()
    rim = content.Disc(at, radius, EDGE, width + 2.6)
    return rim, *middle, content.Disc(at, radius, TRUTH, width)


def _edged(lines: content.Lines, color: str, width: float, *, dashed: bool = False) -> Shapes:
    """Lines on a dark edge."""
    under = content.Stroke(lines, EDGE, width + 2.4, round=True)
    return under, content.Stroke(lines, color, width, _DASH if dashed else None)


def _number_size(number: str, size: float) -> float:
    return size if len(number) < 3 else 0.78


def _arc(centre: api.Point, radius: float, begin: float, end: float, steps: int) -> list[api.Point]:
    """Points of an arc between two angles, from the x axis towards the y axis."""
    turns = [begin + (end - begin) * step / steps for step in range(steps + 1)]
    return [(centre[0] + radius * math.cos(t), centre[1] + radius * math.sin(t)) for t in turns]


def _rounded(box: Box, radius: float) -> content.Lines:
    """The outline of a rectangle with round corners."""
    left, right = box.left + radius, box.right - radius
    top, bottom = box.top + radius, box.bottom - radius
    points = []
    for quarter, centre in enumerate(((right, bottom), (left, bottom), (left, top), (right, top))):
        begin = quarter * math.pi / 2
        points += _arc(centre, radius, begin, begin + math.pi / 2, 4)
    return ((*points, points[0]),)
