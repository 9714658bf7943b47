"""Lines between two panes, one for each match: right ones solid, wrong ones dashed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPoint, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPixmap, QRegion
from PySide6.QtWidgets import QWidget

from descgui.models import matches_state as verdict
from descgui.views.marks import EDGE, make_pen
from descgui.views.pictures import BACKGROUND
from descgui.views.viewport import Box, Viewport
from engine.api import RIGHT, WRONG

UNJUDGED: Final = "#E8E8E8"
"""Colour of matches without a known truth."""

_NO_TRUTH: Final = "#A0A0A0"
_BLANK: Final = "#8A8A8A"
_FINE_LINES: Final = 600
_EDGED_LINES: Final = 250
_MOVED_FINE_LINES: Final = 100
_SETTLE_MS: Final = 140
_DASH: Final = (5.0, 4.0)
_DOTS: Final = (1.0, 5.0)


def line_segments(
    points_a: NDArray[np.float64],
    points_b: NDArray[np.float64],
    view_a: Viewport,
    view_b: Viewport,
    box_a: Box,
    box_b: Box,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Lay matches over two canvases.

    Args:
        points_a: ``(N, 2)`` image points.
        points_b: ``(N, 2)`` their matches.
        view_a: viewport of the first canvas.
        view_b: viewport of the second canvas.
        box_a: the first canvas in the widget that is painted on.
        box_b: the second canvas there.

    Returns:
        ``(N, 4)`` ends x_a, y_a, x_b, y_b in that widget, and ``(N,)`` whether both ends are
        visible; a line to a point outside the view would be misleading.
    """
    ends_a = view_a.points_to_widget(points_a)
    ends_b = view_b.points_to_widget(points_b)
    seen = _within(ends_a, box_a) & _within(ends_b, box_b)
    corners = np.array([box_a.left, box_a.top, box_b.left, box_b.top])
    return np.concatenate([ends_a, ends_b], axis=1) + corners, seen


def lines_opacity(count: int) -> float:
    """How strongly lines are drawn: many must not hide the images."""
    return min(0.95, max(0.12, 1.5 / math.sqrt(max(1.0, count / 24.0))))


class MatchLines(QWidget):
    """Draws match lines between the panes; a transparent layer that ignores the mouse.

    Each canvas draws the part of the lines inside it (:meth:`paint_part`), so that marks and labels
    stay on top.  The lines are kept as a picture, so repainting a canvas is cheap.  While panes
    move, many lines are drawn without antialiasing, and with it once they stop.

    Signals:
        redrawn(): the lines look different.
    """

    redrawn = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self._segments: NDArray[np.float64] = np.zeros((0, 4))
        self._verdicts: NDArray[np.int8] | None = None
        self._canvases: tuple[Box, ...] = ()
        self._others: tuple[Box, ...] = ()
        self._kept: QPixmap | None = None
        self._moving = False
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self._draw_finely)
        self.hide()

    @property
    def count(self) -> int:
        """How many lines are visible."""
        return len(self._segments)

    def set_lines(
        self,
        segments: NDArray[np.float64],
        verdicts: NDArray[np.int8] | None,
        canvases: tuple[Box, ...] = (),
        others: tuple[Box, ...] = (),
        *,
        moving: bool,
    ) -> None:
        """Draw other lines.

        Args:
            segments: ``(N, 4)`` ends in this widget.
            verdicts: ``(N,)`` as :mod:`descgui.models.matches_state` numbers them; None where
                nothing is known.
            canvases: rectangles of this widget whose canvases draw their part themselves.
            others: rectangles behind which the lines pass.
            moving: more changes follow immediately.
        """
        if len(segments) == 0 and self.count == 0:
            return
        self._segments = segments
        self._verdicts = verdicts
        self._canvases, self._others = canvases, others
        self._kept = None
        self._moving = moving and len(segments) > _MOVED_FINE_LINES
        if self._moving:
            self._settle.start()
        self.setVisible(len(segments) > 0)
        self.update()
        self.redrawn.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        region = QRegion(event.rect())
        for box in (*self._canvases, *self._others):
            region -= QRect(round(box.left), round(box.top), round(box.width), round(box.height))
        gutter = self._gutter()
        if gutter is not None:
            region += gutter & event.rect()
        if region.isEmpty():
            return
        painter = QPainter(self)
        painter.setClipRegion(region)
        if gutter is not None:  # as dark as the canvases, or the lines would flicker across it
            painter.fillRect(gutter, QColor(BACKGROUND))
            painter.setPen(self.palette().color(QPalette.ColorRole.Mid))
            painter.drawLine(gutter.topLeft(), gutter.topRight())
            painter.drawLine(gutter.bottomLeft(), gutter.bottomRight())
        self.paint_part(painter, QRectF(region.boundingRect()), QPoint(0, 0))

    def paint_part(self, painter: QPainter, part: QRectF, corner: QPoint) -> None:
        """Draw a part of the lines into another widget.

        Args:
            painter: of that widget.
            part: what to draw, in that widget.
            corner: that widget's top-left corner in this one.
        """
        if self.count == 0:
            return
        ratio = self.devicePixelRatioF()
        wanted = QSize(math.ceil(self.width() * ratio), math.ceil(self.height() * ratio))
        if self._kept is None or self._kept.size() != wanted:
            self._kept = self._drawn(wanted, ratio)
        source = part.translated(QPointF(corner))
        painter.drawPixmap(
            part, self._kept, QRectF(source.topLeft() * ratio, source.size() * ratio)
        )

    def _gutter(self) -> QRect | None:
        """The gap between two canvases that stand side by side; None where a header lies there.

        It takes in the borders that face it, which would frame it brightly.
        """
        if len(self._canvases) != 2:
            return None
        left, right = sorted(self._canvases, key=lambda box: box.left)
        if left.right > right.left:
            return None
        top, bottom = max(left.top, right.top), min(left.bottom, right.bottom)
        first, last = round(left.right) - 1, round(right.left) + 1
        return QRect(first, round(top), last - first, round(bottom - top))

    def _drawn(self, size: QSize, ratio: float) -> QPixmap:
        kept = QPixmap(size)
        kept.setDevicePixelRatio(ratio)
        kept.fill(Qt.GlobalColor.transparent)
        layer = kept.copy()
        fine = self.count <= _FINE_LINES and not self._moving
        edged = self.count <= _EDGED_LINES
        # Drawn opaque and then faded as one layer: faster than transparent lines, which would also
        # add up to a solid sheet where thousands cross.
        inner = QPainter(layer)
        self._paint_lines(inner, fine=fine, edged=edged)
        inner.end()
        painter = QPainter(kept)
        painter.setOpacity(lines_opacity(self.count))
        painter.drawPixmap(0, 0, layer)
        painter.setOpacity(1.0)
        self._paint_ends(painter, edged=edged)
        painter.end()
        return kept

    def _paint_lines(self, painter: QPainter, *, fine: bool, edged: bool) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, fine)
        for group, color in self._groups():
            lines = [QLineF(*ends) for ends in group.tolist()]
            if edged and color != _BLANK:
                painter.setPen(make_pen(EDGE, 3.2))
                painter.drawLines(lines)
            if color == _BLANK:
                painter.setPen(make_pen(color, 1.2 if fine else 1.0, _DOTS))
            elif color == WRONG:
                # A coarse dashed line of width 1 is Qt's quick path; any other width is stroked.
                painter.setPen(make_pen(color, 1.6 if fine else 1.0, _DASH))
            else:
                painter.setPen(make_pen(color, 1.5))
            painter.drawLines(lines)

    def _paint_ends(self, painter: QPainter, *, edged: bool) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, edged)
        for group, color in self._groups():
            dots = [QPointF(x, y) for x, y in group.reshape(-1, 2).tolist()]
            if edged:
                painter.setPen(make_pen(EDGE, 7.0, round_=True))
                painter.drawPoints(dots)
            painter.setPen(make_pen(color, 4.6 if edged else 3.0, round_=True))
            painter.drawPoints(dots)

    def _groups(self) -> list[tuple[NDArray[np.float64], str]]:
        """Lines by colour; wrong ones first, so that right ones are drawn over them."""
        if self._verdicts is None:
            return [(self._segments, UNJUDGED)]
        order = (
            (verdict.BLANK, _BLANK),
            (verdict.UNSEEN, _NO_TRUTH),
            (verdict.UNJUDGED, UNJUDGED),
            (verdict.WRONG, WRONG),
            (verdict.RIGHT, RIGHT),
        )
        groups = [(self._segments[self._verdicts == one], color) for one, color in order]
        return [(group, color) for group, color in groups if len(group)]

    def _draw_finely(self) -> None:
        if self._moving:
            self._moving = False
            if self.count <= _FINE_LINES:
                self._kept = None
                self.update()
                self.redrawn.emit()


def _within(ends: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (
        (ends >= 0.0).all(axis=1) & (ends[:, 0] <= box.width) & (ends[:, 1] <= box.height)
    )
    return inside
