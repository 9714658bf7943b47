"""The plots of training curves: one per group of metrics, all zoomed over the same steps."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QGraphicsGridLayout, QWidget

from descgui.models.training_curves_data import RunCurves, nearest
from descgui.views.theme import LIGHT
from descgui.views.training_chart import ROOM_AT_END_PX, Chart, Style
from descgui.views.training_lines import run_pen
from engine.api import MetricGroup

Groups = Mapping[MetricGroup, tuple[str, ...]]
"""Names of metrics by the plot they share."""

_ZOOM: Final = 1.25
_LEAST_PLOT_PX: Final = 62
_GOOD_PLOT_PX: Final = 92
_LEAST_COLUMN_PX: Final = 400
_STEPS_PX: Final = 20
_LABELLED_STEPS_PX: Final = 38
_LEGEND_COLUMN_PX: Final = 240
_PAPER_MARGIN_PX: Final = 12
_LEAST_SPAN: Final = 4.0
_ROOM_BESIDE: Final = 0.012


class CurvePlots(pg.GraphicsView):  # type: ignore[misc]
    """Several plots over the same steps below one another, in columns where there is no room.

    The wheel zooms, a drag moves, a double click shows everything.  With the keyboard: left and
    right point at the step before and after, + and − zoom, 0 shows everything.

    Signals:
        step_pointed(object): the step pointed at, or None.
        zoom_changed(bool): whether less than everything is in view.

    Args:
        parent: what it belongs to.
        paper: whether it is a figure of its own, with a legend and a title for the steps.
    """

    step_pointed = Signal(object)
    zoom_changed = Signal(bool)

    _charts: tuple[Chart, ...] = ()  # pyqtgraph calls resizeEvent() before our own part is made

    def __init__(self, parent: QWidget | None = None, *, paper: bool = False) -> None:
        super().__init__(parent, useOpenGL=False)
        self._paper = paper
        self._sheet = pg.GraphicsWidget()
        self.setCentralItem(self._sheet)
        self._made: dict[MetricGroup, Chart] = {}
        self._runs: tuple[RunCurves, ...] = ()
        self._groups: Groups = {}
        self._measured_span = (0.0, 1.0)
        self._chosen: tuple[float, float] | None = None
        self._pointed: float | None = None
        self._columns = 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Training curves")
        self.setAccessibleDescription(
            "Left and right point at a step, plus and minus zoom, 0 shows everything."
        )
        self.scene().sigMouseMoved.connect(self._on_mouse)
        self.scene().sigMouseClicked.connect(self._on_click)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, _LEAST_PLOT_PX)

    def draw(self, runs: Sequence[RunCurves], groups: Groups, style: Style) -> None:
        """Draw the curves of runs: the later ones on top, those in progress above all."""
        self.setBackground(style.colors.base)
        self._runs = tuple(sorted(runs, key=lambda run: run.live))
        rearranged = list(groups) != list(self._groups)
        self._groups = groups
        if rearranged:
            self._arrange()
        for chart in self._charts:
            chart.draw(self._runs, groups[chart.group], style)
        if groups:
            self._fit_steps()

    def settle(self) -> None:
        """Lay out everything and fit it to the steps in view."""
        for chart in self._charts:
            self._sheet.layout().activate()
            chart.layout.activate()
            chart.settle()

    def chart(self, name: str) -> Chart:
        """The plot of a group of metrics."""
        return next(chart for chart in self._charts if chart.group.name == name)

    # Zoom

    @property
    def zoomed(self) -> bool:
        """Whether less than everything is in view."""
        return self._chosen is not None

    @property
    def steps_shown(self) -> tuple[float, float]:
        """The first and the last step in view."""
        return self._chosen or self._measured_span

    def show_steps(self, steps: tuple[float, float]) -> None:
        """Show only these steps."""
        room = _ROOM_BESIDE * (steps[1] - steps[0])
        self._charts[0].setXRange(steps[0] - room, steps[1] + room, padding=0.0)
        self._follow(self._charts[0].vb)

    def reset_zoom(self) -> None:
        """Show everything, and what comes."""
        if self._charts:
            self.show_steps(self._measured_span)

    def zoom(self, around: float, factor: float) -> None:
        """Change the span of steps in view by a factor; a step stays where it is."""
        view = self._charts[0].vb
        view.scaleBy(x=factor, center=(around, 0.0))
        self._follow(view)

    def move(self, steps: float) -> None:
        """Move what is in view; it stays within what was measured."""
        view = self._charts[0].vb
        view.translateBy(x=steps)
        self._follow(view)

    def _fit_steps(self) -> None:
        """Keep the zoom within what was measured; all of it is in view unless zoomed in."""
        ends = [(float(steps[0]), float(steps[-1])) for steps in self._measured()]
        low = min((first for first, _ in ends), default=0.0)
        high = max((last for _, last in ends), default=1.0)
        low, high = (low, high) if high > low else (low - 1.0, high + 1.0)
        self._measured_span = low, high
        room, least = _ROOM_BESIDE * (high - low), min(_LEAST_SPAN, high - low)
        for chart in self._charts:
            chart.setLimits(xMin=low - room, xMax=high + room, minXRange=least)
        self.show_steps(self.steps_shown)

    def _follow(self, view: pg.ViewBox) -> None:
        """Show in all plots the steps that one of them shows."""
        low, high = view.viewRange()[0]
        for chart in self._charts:
            chart.setXRange(low, high, padding=0.0)
        self.settle()
        (first, last), was = self._measured_span, self.zoomed
        room = _ROOM_BESIDE / (1.0 + 2.0 * _ROOM_BESIDE) * (high - low)
        whole = high - low - 2.0 * room > (1.0 - 1e-6) * (last - first)
        self._chosen = None if whole else (max(first, low + room), min(last, high - room))
        if was != self.zoomed:
            self.zoom_changed.emit(self.zoomed)

    def _on_view(self) -> None:
        self._follow(self.sender())

    # Pointing

    def point_at(self, step: float | None) -> None:
        """Point at the measured step nearest to a step, or at none."""
        if step is not None:
            asked = step
            near = [float(steps[nearest(steps, asked)]) for steps in self._measured()]
            step = min(near, key=lambda one: abs(one - asked), default=None)
        for chart in self._charts:
            chart.cursor.setVisible(step is not None)
            if step is None:
                chart.level.hide()
            else:
                chart.cursor.setValue(step)
        if step != self._pointed:
            self._pointed = step
            self.step_pointed.emit(step)

    def _measured(self) -> Iterator[NDArray[np.float64]]:
        """The steps of every curve that is shown."""
        for run in self._runs:
            for name in chain.from_iterable(self._groups.values()):
                if name in run.series and len(run.series[name].points):
                    yield run.series[name].points[:, 0]

    def _on_mouse(self, place: QPointF) -> None:
        under = next((c for c in self._charts if c.vb.sceneBoundingRect().contains(place)), None)
        if under is None:
            self.point_at(None)
            return
        point = under.vb.mapSceneToView(place)
        self.point_at(point.x())
        for chart in self._charts:
            chart.level.setVisible(chart is under)
        under.level.setValue(point.y())

    def _on_click(self, event: Any) -> None:
        if event.double():
            self.reset_zoom()

    # Layout

    def _arrange(self) -> None:
        """Lay out the plots in a new grid: an old one keeps the sizes of its rows."""
        self.point_at(None)
        self._charts = tuple(self._made.get(group) or self._make(group) for group in self._groups)
        self._columns = self._best_columns()
        margin = _PAPER_MARGIN_PX if self._paper else 2
        grid = QGraphicsGridLayout()
        grid.setContentsMargins(margin, margin, ROOM_AT_END_PX, margin)
        grid.setSpacing(0.0)
        for chart in self._made.values():
            chart.setVisible(chart in self._charts)
        for number, chart in enumerate(self._charts):
            chart.showAxis("bottom", number + self._columns >= len(self._charts))
            grid.addItem(chart, number // self._columns + 1, number % self._columns)
        if self._paper:
            legend = self._make_legend()
            grid.addItem(legend, 0, 0, 1, self._columns)
            grid.setRowFixedHeight(0, legend.height())
        self._sheet.setLayout(grid)
        self._share_height()
        self.setMinimumHeight(self._rows() * _LEAST_PLOT_PX + self._steps_px())

    def _share_height(self) -> None:
        """Make all plots equally high; the steps below the last ones need room, too."""
        rows, grid = self._rows(), self._sheet.layout()
        height_px = max(1, (self.height() - self._steps_px()) // max(1, rows))
        for row in range(1, rows + 1):
            grid.setRowStretchFactor(row, height_px + (row == rows) * self._steps_px())

    def _rows(self) -> int:
        return -(-len(self._groups) // max(1, self._columns))

    def _make(self, group: MetricGroup) -> Chart:
        chart = self._made[group] = Chart(group)
        chart.setParentItem(self._sheet)
        if self._paper:
            chart.setLabel("bottom", "Step", color=LIGHT.subtle)
        chart.getAxis("bottom").setHeight(self._steps_px())
        chart.vb.sigRangeChangedManually.connect(self._on_view)
        return chart

    def _make_legend(self) -> pg.LegendItem:
        size = f"{self.font().pointSizeF()}pt"
        columns = max(1, self.width() // _LEGEND_COLUMN_PX)
        legend = pg.LegendItem(colCount=columns, labelTextColor=LIGHT.text, labelTextSize=size)
        legend.setParentItem(self._sheet)
        legend.setFlag(legend.GraphicsItemFlag.ItemIgnoresTransformations, False)
        for run in self._runs:
            legend.addItem(pg.PlotDataItem(pen=run_pen(run.color_index)), html.escape(run.label))
        return legend

    def _steps_px(self) -> int:
        return _LABELLED_STEPS_PX if self._paper else _STEPS_PX

    def _best_columns(self) -> int:
        """One column; more only where its plots would be low and there is room beside them."""
        most: int = min(len(self._groups), self.width() // _LEAST_COLUMN_PX)
        rows: int = max(1, (self.height() - _STEPS_PX) // _GOOD_PLOT_PX)
        return max(1, min(most, -(-len(self._groups) // rows)))

    # Qt's own

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if self._charts and self._best_columns() != self._columns:
            self._arrange()
            self._fit_steps()
        elif self._charts:
            self._share_height()
            self.settle()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom; but scroll where the plots do not all fit, unless they have the focus."""
        around = self.parentWidget()
        scrolls = around is not None and around.height() < self.height()
        if scrolls and not self.hasFocus():
            event.ignore()
        else:
            super().wheelEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.point_at(None)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.point_at(None)
        self.viewport().update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        low, high = self.steps_shown
        around = self._pointed if self._pointed is not None else 0.5 * (low + high)
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self._point_beside(1 if key == Qt.Key.Key_Right else -1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(around, 1.0 / _ZOOM)
        elif key == Qt.Key.Key_Minus:
            self.zoom(around, _ZOOM)
        elif key in (Qt.Key.Key_0, Qt.Key.Key_Home):
            self.reset_zoom()
        else:
            # Not to pyqtgraph's: it would send the key to its scene and call it done.
            event.ignore()

    def _point_beside(self, by: int) -> None:
        """Point at the measured step after (1) or before (-1) the one pointed at, in view."""
        low, high = self.steps_shown
        start = self._pointed
        if start is None:
            start = high + 1.0 if by < 0 else low - 1.0
        found = []
        for steps in self._measured():
            side: Literal["left", "right"] = "right" if by > 0 else "left"
            index = int(np.searchsorted(steps, start, side=side)) - (by < 0)
            if 0 <= index < len(steps) and low <= steps[index] <= high:
                found.append(float(steps[index]))
        if found:
            self.point_at(min(found) if by > 0 else max(found))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        by_key = self.window().testAttribute(Qt.WidgetAttribute.WA_KeyboardFocusChange)
        if self.hasFocus() and by_key:
            painter = QPainter(self.viewport())
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Accent), 1.0))
            painter.drawRect(QRectF(self.viewport().rect()).adjusted(0.5, 0.5, -0.5, -0.5))
