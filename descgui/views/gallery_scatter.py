"""Two values of each measured pair against one another: of two descriptors, or of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPalette, QPen
from PySide6.QtWidgets import QWidget

from descgui.models.gallery_state import (
    ListedPair,
    PairTable,
    belongs_to_pair,
    title_of,
)
from descgui.views.panel_parts import blended, muted
from descgui.views.training_lines import number_text
from engine.api import SERIES, metric_info

_SIZE_PX: Final = 9.0
_MANY: Final = 2000
_SMALL_PX: Final = 5.0  # of many points, which would hide each other
_SHARE_ROOM: Final = 0.03
_CARD_GAP_PX: Final = 14
_PAD_PX: Final = 6


@dataclass(frozen=True, slots=True)
class AxisChoice:
    """What an axis shows: a value, and the descriptor whose value it is."""

    value: str
    label: str

    @property
    def title(self) -> str:
        """As it stands beside the axis."""
        title = title_of(self.value)
        return title if belongs_to_pair(self.value) else f"{title}, {self.label}"

    def of(self, pair: ListedPair) -> float | None:
        """The value of a pair."""
        return pair.values(self.label).get(self.value)

    def column(self, table: PairTable) -> NDArray[np.float64]:
        """``(N,)`` the value of all pairs, NaN for none."""
        return table.column(self.label, self.value)


class GalleryScatter(pg.PlotWidget):  # type: ignore[misc]
    """A point for each pair; the pointer shows its name and picture, a click opens it.

    Signals:
        pair_pointed(object): the :class:`ListedPair` under the pointer, None beside all.
        pair_chosen(object): the clicked one.
    """

    pair_pointed = Signal(object)
    pair_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Values of pairs against one another")
        self.setMenuEnabled(False)
        self.hideButtons()
        self._table = PairTable()
        self._pointed: int | None = None
        self._card: tuple[str, QImage] | None = None
        self._diagonal = pg.InfiniteLine(angle=45)
        self.addItem(self._diagonal, ignoreBounds=True)
        # One item for each part of the set: points that look alike are drawn much faster.
        self._clouds: dict[str, pg.ScatterPlotItem] = {}
        self._places = np.empty((0, 2))
        self._legend = self.addLegend(offset=(10, 10))
        self.restyle()

    def show_pairs(
        self, table: PairTable, chosen: NDArray[np.intp], x: AxisChoice, y: AxisChoice
    ) -> int:
        """Draw the chosen pairs that have both values; returns how many do."""
        self._table = table
        self._places = np.column_stack([x.column(table), y.column(table)])
        drawn = chosen[np.isfinite(self._places[chosen]).all(axis=1)]
        self._draw(drawn, np.unique(table.part_of[chosen]))
        same = x.value == y.value and x.label != y.label
        self._diagonal.setVisible(same)
        self.setLabel("bottom", x.title)
        self.setLabel("left", y.title)
        for number, choice in enumerate((x, y)):
            self._set_range("xy"[number], choice, self._places[drawn, number])
        self._point_at(None)
        return len(drawn)

    def _draw(self, drawn: NDArray[np.intp], parts: NDArray[np.intp]) -> None:
        """Draw the points, those of each part in a colour of its own."""
        for cloud in self._clouds.values():
            self.removeItem(cloud)
        self._clouds.clear()
        self._legend.clear()
        mine = self._table.part_of[drawn]
        for number, place in enumerate(parts.tolist()):
            part, some = self._table.parts[place], drawn[mine == place]
            cloud = pg.ScatterPlotItem(
                x=self._places[some, 0],
                y=self._places[some, 1],
                data=some,
                size=_SIZE_PX if len(drawn) < _MANY else _SMALL_PX,
                brush=pg.mkBrush(SERIES[number % len(SERIES)]),
                pen=self._outline(),
                hoverable=True,
                tip=None,
            )
            cloud.sigClicked.connect(self._on_click)
            cloud.sigHovered.connect(self._on_hover)
            self.addItem(cloud)
            self._clouds[part] = cloud
            if len(parts) > 1:
                self._legend.addItem(cloud, part or "other")

    def restyle(self) -> None:
        """Take the colours of the palette."""
        palette = self.palette()
        text, base = (palette.color(r) for r in (QPalette.ColorRole.Text, QPalette.ColorRole.Base))
        self.setBackground(base)
        for side in ("bottom", "left"):
            axis = self.getAxis(side)
            axis.setPen(blended(text, base, 0.3))
            axis.setTextPen(muted(palette))
        self._legend.setLabelTextColor(text)
        for _, label in self._legend.items:
            label.setText(label.text)  # it is written anew only then
        for cloud in self._clouds.values():
            cloud.setPen(self._outline())
        self._diagonal.setPen(QPen(blended(text, base, 0.25), 0))

    def _outline(self) -> QPen:
        """Parts points that lie on one another."""
        pen: QPen = pg.mkPen(self.palette().color(QPalette.ColorRole.Base), width=1)
        return pen

    def set_card(self, pair: ListedPair, text: str, picture: QImage) -> None:
        """Show words and a picture beside the pointed pair, if it is still pointed at."""
        if self._pointed is not None and pair is self._table.pairs[self._pointed]:
            self._card = text, picture
            self.viewport().update()

    def _set_range(self, axis: str, choice: AxisChoice, values: NDArray[np.float64]) -> None:
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        if metric_info(choice.value).group.unit == "" and low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        room = _SHARE_ROOM * ((high - low) or 1.0)
        setter = self.setXRange if axis == "x" else self.setYRange
        setter(low - room, high + room, padding=0)

    def _on_click(self, _item: Any, points: Sequence[Any], _event: Any) -> None:
        if len(points):
            self.pair_chosen.emit(self._table.pairs[int(points[0].data())])

    def _on_hover(self, cloud: Any, points: Sequence[Any], _event: Any) -> None:
        if len(points):
            self._point_at(int(points[0].data()))
        elif self._pointed is not None:
            part = self._table.parts[self._table.part_of[self._pointed]]
            if self._clouds.get(part) is cloud:
                self._point_at(None)

    def _point_at(self, place: int | None) -> None:
        """Point at the pair at a place of the table."""
        if place == self._pointed:
            return
        self._pointed, self._card = place, None
        points = place is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if points else Qt.CursorShape.ArrowCursor)
        self.viewport().update()
        self.pair_pointed.emit(None if place is None else self._table.pairs[place])

    def drawForeground(self, painter: QPainter, rect: Any) -> None:
        """Draw the card of the pointed pair beside it."""
        super().drawForeground(painter, rect)
        if self._card is None or self._pointed is None:
            return
        x, y = self._places[self._pointed].tolist()
        at = self.mapFromScene(self.getViewBox().mapViewToScene(QPointF(x, y)))
        text, picture = self._card
        painter.save()
        painter.resetTransform()
        metrics = painter.fontMetrics()
        lines = text.split("\n")
        width = max(picture.width(), *(metrics.horizontalAdvance(line) for line in lines))
        height = picture.height() + len(lines) * metrics.height() + 3 * _PAD_PX
        left = at.x() + _CARD_GAP_PX
        if left + width + 2 * _PAD_PX > self.viewport().width():
            left = max(0, at.x() - _CARD_GAP_PX - width - 2 * _PAD_PX)
        top = min(max(0, at.y() - height // 2), max(0, self.viewport().height() - height))
        palette = self.palette()
        ink, base = (palette.color(r) for r in (QPalette.ColorRole.Text, QPalette.ColorRole.Base))
        painter.setPen(blended(ink, base, 0.35))
        painter.setBrush(QColor(base))
        painter.drawRoundedRect(left, top, width + 2 * _PAD_PX, height, 4, 4)
        painter.drawImage(left + _PAD_PX, top + _PAD_PX, picture)
        painter.setPen(ink)
        for number, line in enumerate(lines):
            baseline = top + 2 * _PAD_PX + picture.height() + number * metrics.height()
            painter.drawText(left + _PAD_PX, baseline + metrics.ascent(), line)
        painter.restore()


def card_text(pair: ListedPair, choices: Sequence[AxisChoice]) -> str:
    """Name and values of a pair."""
    lines = [pair.name]
    for choice in choices:
        value = choice.of(pair)
        lines.append(f"{choice.title}: {'–' if value is None else number_text(value)}")
    return "\n".join(lines)
