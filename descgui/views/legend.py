"""What the marks mean, in as many lines as it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.views.marks import (
    BestMatch,
    ExcludedCircle,
    HiddenTruth,
    ListedPoint,
    PeakRing,
    Reticle,
    Shapes,
    Stage,
    TruthPoint,
    paint_shapes,
)
from descgui.views.viewport import Box, Viewport
from engine import api
from engine.api import (
    LISTED_TRUTHS,
    OCCLUDED,
    OUTSIDE,
    RIGHT,
    WRONG,
    Visibility,
    figure_content,
)

_SCALE = 0.72
_SYMBOL = 26.0
_GAP = 7.0
_PART = 16.0
_LEFT = 2.0
_LEAST_PX = 150
_EXCLUDED: Final = 4.6
_LINE: Final = (((-18.0, 0.0), (18.0, 0.0)),)


_STATE_SHAPES: Final[Mapping[Visibility, Shapes]] = {
    Visibility.OCCLUDED: (figure_content.Disc((0.0, 0.0), 9.0, fill=OCCLUDED),),
    Visibility.OUTSIDE: (figure_content.Disc((0.0, 0.0), 9.0, fill=OUTSIDE),),
    Visibility.UNKNOWN: (figure_content.Disc((0.0, 0.0), 8.0, "#808080", 1.6),),
}


def _stage() -> Stage:
    """A zoom at which both the 3 px and the 5 px ring are drawn."""
    x, y = Viewport(2.6, 0.0, 0.0).to_widget((0.0, 0.0))
    return Stage(Viewport(2.6, -x, -y), Box(-50.0, -50.0, 100.0, 100.0))


_STAGE: Final = _stage()


class MarkLegend(QWidget):
    """The symbols with their names, in lines as wide as the widget.  It emits nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._truth: api.Truth | None = None
        self._with_own = False
        self._states: tuple[Visibility, ...] = ()
        self.setAccessibleName("Meaning of the marks")
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._describe()

    def set_truth(self, truth: api.Truth | None) -> None:
        """What is known of the pair, so that its marks can appear."""
        if truth is not self._truth:
            self._truth = truth
            self._describe()
            self.update()

    def set_own(self, searched: bool) -> None:
        """Whether the query's own image is searched, so that its circle can appear."""
        if searched != self._with_own:
            self._with_own = searched
            self._describe()
            self.update()

    def set_states(self, states: tuple[Visibility, ...]) -> None:
        """Which colours stand for a state in place of a number."""
        if states != self._states:
            self._states = states
            self._describe()
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(300, self.heightForWidth(300))

    def minimumSizeHint(self) -> QSize:
        return QSize(_LEAST_PX, self.heightForWidth(max(self.width(), _LEAST_PX)))

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        """As many lines as it takes."""
        rows = len(self._lines(width))
        return math.ceil(max(26.0, rows * self._line_height()))

    def _line_height(self) -> float:
        return max(22.0, QFontMetricsF(self.font()).height() + 4.0)

    def _lines(self, width: float) -> list[list[tuple[Shapes, str]]]:
        """The entries by line."""
        metrics = QFontMetricsF(self.font())
        lines: list[list[tuple[Shapes, str]]] = [[]]
        left = _LEFT
        for entry in self._entries():
            entry_width = _SYMBOL + _GAP + metrics.horizontalAdvance(entry[1])
            if lines[-1] and left + entry_width > width:
                lines.append([])
                left = _LEFT
            lines[-1].append(entry)
            left += entry_width + _PART
        return lines

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        ink.setAlpha(190)
        metrics = QFontMetricsF(self.font())
        middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        lines = self._lines(self.width())
        height = self.height() / len(lines)
        for number, entries in enumerate(lines):
            left = _LEFT
            for shapes, words in entries:
                width = _SYMBOL + _GAP + metrics.horizontalAdvance(words)
                painter.save()
                painter.translate(left + _SYMBOL / 2, (number + 0.5) * height)
                painter.scale(_SCALE, _SCALE)
                paint_shapes(painter, shapes)
                painter.restore()
                painter.setFont(self.font())
                painter.setPen(ink)
                place = QRectF(left + _SYMBOL + _GAP, number * height, width, height)
                painter.drawText(place, middle, words)
                left += width + _PART

    def _describe(self) -> None:
        self.updateGeometry()
        self.setAccessibleDescription(", ".join(name for _, name in self._entries()))

    def _entries(self) -> tuple[tuple[Shapes, str], ...]:
        return legend_entries(self._truth, with_own=self._with_own, states=self._states)


def legend_entries(
    truth: api.Truth | None, *, with_own: bool, states: tuple[Visibility, ...] = ()
) -> tuple[tuple[Shapes, str], ...]:
    """Symbols, as shapes about (0, 0), with their words.

    Args:
        truth: include those that appear with this truth.
        with_own: include those that appear only where the query's own image is searched.
        states: begin with the colours of these states.
    """
    true = (
        (TruthPoint((0.0, 0.0)).shapes(_STAGE), "truth, 3 and 5 px"),
        ((figure_content.Stroke(_LINE, RIGHT, 3.3),), "right"),
        ((figure_content.Stroke(_LINE, WRONG, 3.3, (2.4, 1.7)),), "wrong"),
    )
    hidden = ((HiddenTruth((0.0, 0.0)).shapes(_STAGE), "occluded"),)
    listed = ((ListedPoint((0.0, 0.0)).shapes(_STAGE), "listed truth"),)
    is_listed = truth is not None and truth.kind in LISTED_TRUTHS
    may_hide = truth is not None and truth.kind != "homography" and not is_listed
    own = ((ExcludedCircle((0.0, 0.0), _EXCLUDED).shapes(_STAGE), "left out"),)
    return (
        *((_STATE_SHAPES[state], state.words) for state in states),
        (Reticle((0.0, 0.0)).shapes(_STAGE), "query"),
        *(own if with_own else ()),
        (BestMatch((0.0, 0.0)).shapes(_STAGE), "best match"),
        *(listed if is_listed else ()),
        *(true if truth is not None else ()),
        *(hidden if may_hide else ()),
        (PeakRing((0.0, 0.0), 2).shapes(_STAGE), "next best"),
    )
