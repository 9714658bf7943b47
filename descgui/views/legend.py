"""What the marks mean, in one line, as far as it fits."""

from __future__ import annotations

import math
from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.views.marks import (
    BestMatch,
    PeakRing,
    Reticle,
    Shapes,
    Stage,
    TruthPoint,
    paint_shapes,
)
from descgui.views.viewport import Box, Viewport
from engine.api import RIGHT, WRONG, figure_content

_SCALE = 0.72
_SYMBOL = 26.0
_GAP = 7.0
_PART = 16.0
_LINE: Final = (((-18.0, 0.0), (18.0, 0.0)),)


def _stage() -> Stage:
    """A zoom at which both the 3 px and the 5 px ring are drawn."""
    x, y = Viewport(2.6, 0.0, 0.0).to_widget((0.0, 0.0))
    return Stage(Viewport(2.6, -x, -y), Box(-50.0, -50.0, 100.0, 100.0))


_STAGE: Final = _stage()


class MarkLegend(QWidget):
    """The symbols with their names; those that do not fit are left out.  It emits nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._with_truth = False
        self.setAccessibleName("Meaning of the marks")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._describe()

    def set_truth(self, known: bool) -> None:
        """Whether a truth is known, so that its marks can appear."""
        if known != self._with_truth:
            self._with_truth = known
            self._describe()
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
        for shapes, words in legend_entries(with_truth=self._with_truth):
            width = _SYMBOL + _GAP + QFontMetricsF(self.font()).horizontalAdvance(words)
            if left + width > frame.right():
                break
            painter.save()
            painter.translate(left + _SYMBOL / 2, frame.center().y())
            painter.scale(_SCALE, _SCALE)
            paint_shapes(painter, shapes)
            painter.restore()
            painter.setFont(self.font())
            painter.setPen(ink)
            place = QRectF(left + _SYMBOL + _GAP, frame.top(), width, frame.height())
            middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(place, middle, words)
            left += width + _PART

    def _describe(self) -> None:
        words = legend_entries(with_truth=self._with_truth)
        self.setAccessibleDescription(", ".join(name for _, name in words))


def legend_entries(*, with_truth: bool) -> tuple[tuple[Shapes, str], ...]:
    """Symbols, as shapes about (0, 0), with their words; some appear only with a known truth."""
    truth = (
        (TruthPoint((0.0, 0.0)).shapes(_STAGE), "truth, 3 and 5 px"),
        ((figure_content.Stroke(_LINE, RIGHT, 3.3),), "right"),
        ((figure_content.Stroke(_LINE, WRONG, 3.3, (2.4, 1.7)),), "wrong"),
    )
    return (
        (Reticle((0.0, 0.0)).shapes(_STAGE), "query"),
        (BestMatch((0.0, 0.0)).shapes(_STAGE), "best match"),
        *(truth if with_truth else ()),
        (PeakRing((0.0, 0.0), 2).shapes(_STAGE), "next best"),
    )
