"""What the marks mean, in one line, as far as there is room."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.views.marks import BestMatch, Mark, PeakRing, Reticle, Stage, TruthPoint
from descgui.views.viewport import Box, Viewport
from engine.api import RIGHT, WRONG

_SYMBOL = 26.0
_GAP = 7.0
_PART = 16.0


Painting = Callable[[QPainter, QPointF], None]
LegendSymbol = Literal["asked", "best", "truth", "right", "wrong", "next"]


class MarkLegend(QWidget):
    """The symbols with their names; those that do not fit are left out.  It emits nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._with_truth = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._tell()

    def set_truth(self, known: bool) -> None:
        """Whether a truth is known, so that its marks can appear."""
        if known != self._with_truth:
            self._with_truth = known
            self._tell()
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(300, math.ceil(max(26.0, QFontMetricsF(self.font()).height() + 4.0)))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        ink.setAlpha(190)
        frame = QRectF(self.rect())
        left = 2.0
        for symbol, words in legend_words(with_truth=self._with_truth):
            width = _SYMBOL + _GAP + QFontMetricsF(self.font()).horizontalAdvance(words)
            if left + width > frame.right():
                break
            _PAINTINGS[symbol](painter, QPointF(left + _SYMBOL / 2, frame.center().y()))
            painter.setFont(self.font())
            painter.setPen(ink)
            place = QRectF(left + _SYMBOL + _GAP, frame.top(), width, frame.height())
            middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(place, middle, words)
            left += width + _PART

    def _tell(self) -> None:
        self.setAccessibleName("Meaning of the marks")
        words = legend_words(with_truth=self._with_truth)
        self.setAccessibleDescription(", ".join(name for _, name in words))


def legend_words(*, with_truth: bool) -> tuple[tuple[LegendSymbol, str], ...]:
    """The symbols with their words; some appear only where a truth is known."""
    judged: tuple[tuple[LegendSymbol, str], ...] = (
        ("truth", "truth, 3 and 5 px"),
        ("right", "right"),
        ("wrong", "wrong"),
    )
    return (
        ("asked", "asked"),
        ("best", "best match"),
        *(judged if with_truth else ()),
        ("next", "next best"),
    )


def _mark(mark: Mark) -> Painting:
    def draw(painter: QPainter, centre: QPointF) -> None:
        # At this zoom the 3 px ring stands alone, the 5 px ring around it.
        view = Viewport(2.6, 0.0, 0.0)
        at = view.to_widget((0.0, 0.0))
        painter.save()
        painter.translate(centre)
        painter.scale(0.72, 0.72)
        painter.translate(-at[0], -at[1])
        mark.paint(painter, Stage(view, Box(-50.0, -50.0, 100.0, 100.0)))
        painter.restore()

    return draw


def _line(color: str, *, dashed: bool) -> Painting:
    def draw(painter: QPainter, centre: QPointF) -> None:
        pen = QPen(QColor(color), 2.4)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
        if dashed:
            pen.setDashPattern([2.4, 1.7])
        painter.setPen(pen)
        painter.drawLine(
            QLineF(centre.x() - _SYMBOL / 2, centre.y(), centre.x() + _SYMBOL / 2, centre.y())
        )

    return draw


_PAINTINGS: Final[dict[LegendSymbol, Painting]] = {
    "asked": _mark(Reticle((0.0, 0.0))),
    "best": _mark(BestMatch((0.0, 0.0))),
    "truth": _mark(TruthPoint((0.0, 0.0))),
    "right": _line(RIGHT, dashed=False),
    "wrong": _line(WRONG, dashed=True),
    "next": _mark(PeakRing((0.0, 0.0), 2)),
}
