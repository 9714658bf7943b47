"""The plots of training curves: stacked, with one axis of steps that is zoomed in all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

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
from PySide6.QtWidgets import QFrame, QWidget

from descgui.models.training_curves_data import nearest
from descgui.views.training_chart import AXIS_PX, LEAST_PLOT_PX, ZOOM_PER_NOTCH, Chart
from descgui.views.training_figures import Plot
from descgui.views.training_lines import (
    ROOM_AT_END_PX,
    DrawnRun,
    Line,
    Look,
    TickedAxis,
)

_GOOD_PLOT_PX: Final = 92
_LEAST_COLUMN_PX: Final = 400
_STEPS_PX: Final = 20
_LABELLED_STEPS_PX: Final = 38
_LEAST_SPAN: Final = 4.0


class CurvePlots(pg.GraphicsView):  # type: ignore[misc]
    """Several plots with the same steps below one another, in columns where there is no room.

    The wheel zooms, a drag moves, a double click shows everything.  With the keyboard: left and
    right point at the step before and after, + and − zoom, 0 shows everything.

    Signals:
        step_pointed(object): the step pointed at, None when none is any more.
        zoom_changed(bool): whether less than everything is in view.
    """

    step_pointed = Signal(object)
    zoom_changed = Signal(bool)

    _plots: tuple[Plot, ...] = ()  # pyqtgraph calls resizeEvent() before our own part is made

    def __init__(self, parent: QWidget | None = None, *, paper: bool = False) -> None:
        super().__init__(parent, useOpenGL=False)
        self._paper = paper
        self._charts: list[Chart] = []
        self._runs: tuple[DrawnRun, ...] = ()
        self._weight = 0.0
        self._logarithmic = False
        self._look = Look.of_paper(self.font())
        self._chosen: tuple[float, float] | None = None
        self._pointed: float | None = None
        self._columns = 0
        self._step_axes: list[TickedAxis] = []
        self._ringed = False
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Training curves")
        self.setAccessibleDescription(
            "Left and right point at a step, plus and minus zoom, 0 shows everything."
        )
        self.scene().sigMouseMoved.connect(self._on_mouse)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, LEAST_PLOT_PX)

    def set_look(self, look: Look) -> None:
        """Take other colours."""
        self._look = look
        self.setBackground(look.ground)
        for chart in self._charts:
            chart.dress(look)
        for axis in self._step_axes:
            axis.dress(look)
        self._draw()

    def set_plots(self, plots: Sequence[Plot]) -> None:
        """Show these plots."""
        if tuple(plots) != self._plots:
            self._plots = tuple(plots)
            self._arrange()

    def draw(self, runs: Sequence[DrawnRun], *, weight: float, logarithmic: bool) -> None:
        """Draw runs.

        Args:
            runs: the later ones on top, those under way above all.
            weight: of the past in smoothing, 0 for none.
            logarithmic: whether values stand on logarithmic axes.
        """
        self._runs, self._weight, self._logarithmic = tuple(runs), weight, logarithmic
        self._draw()

    @property
    def plots(self) -> tuple[Plot, ...]:
        """What is shown."""
        return self._plots

    @property
    def steps_shown(self) -> tuple[float, float]:
        """The first and the last step in view."""
        return self._chosen or self._all_steps()

    @property
    def zoomed(self) -> bool:
        """Whether less than everything is in view."""
        return self._chosen is not None

    def lines_of(self, name: str) -> tuple[Line, ...]:
        """What is drawn in a plot, named as in its :class:`Plot`."""
        return next(chart.lines.lines for chart in self._charts if chart.plot.name == name)

    def remark_of(self, name: str) -> str:
        """What is said beside the title of a plot."""
        return next(chart.heading.remark for chart in self._charts if chart.plot.name == name)

    def values_shown(self, name: str) -> tuple[float, float]:
        """The lowest and the highest value that a plot's axis shows."""
        chart = next(chart for chart in self._charts if chart.plot.name == name)
        low, high = chart.view.viewRange()[1]
        return float(low), float(high)

    # Zoom

    def reset_zoom(self) -> None:
        """Show everything, and what comes."""
        self._choose(None)

    def show_steps(self, steps: tuple[float, float]) -> None:
        """Show only these steps."""
        self._choose(steps)

    def settle(self) -> None:
        """Lay everything out now instead of when Qt next has time, as before it is rendered."""
        if self.centralWidget is not None:
            self.centralWidget.layout.activate()
        self._draw()

    def zoom(self, around: float, factor: float) -> None:
        """Change the span of steps in view by a factor; a step stays where it is."""
        low, high = self.steps_shown
        first, last = self._all_steps()
        span = max((high - low) * factor, min(_LEAST_SPAN, last - first))
        if span >= last - first:
            self._choose(None)
            return
        share = (min(max(around, low), high) - low) / (high - low)
        self._choose(self._inside(around - share * span, span))

    def move(self, steps: float) -> None:
        """Move what is in view; it stays within what was measured."""
        if self._chosen is not None:
            low, high = self._chosen
            self._choose(self._inside(low + steps, high - low))

    def _inside(self, low: float, span: float) -> tuple[float, float]:
        first, last = self._all_steps()
        low = max(first, min(low, last - span))
        return low, low + span

    def _choose(self, steps: tuple[float, float] | None) -> None:
        if steps != self._chosen:
            was = self.zoomed
            self._chosen = steps
            self._draw()
            if was != self.zoomed:
                self.zoom_changed.emit(self.zoomed)

    def _all_steps(self) -> tuple[float, float]:
        ends = [(steps[0], steps[-1]) for steps in self._measured()]
        first = float(min((low for low, _ in ends), default=0.0))
        last = float(max((high for _, high in ends), default=1.0))
        return (first, last) if last > first else (first - 1.0, last + 1.0)

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
            for plot in self._plots:
                for figure in plot.figures:
                    series = run.series.get(figure)
                    if series is not None and len(series.points):
                        yield series.points[:, 0]

    def _on_mouse(self, place: QPointF) -> None:
        for chart in self._charts:
            if chart.view.sceneBoundingRect().contains(place):
                self.point_at(chart.view.step_at(place))
                for other in self._charts:
                    other.level.setVisible(other is chart)
                chart.level.setValue(float(chart.view.mapSceneToView(place).y()))
                return
        self.point_at(None)

    # Drawing

    def _arrange(self) -> None:
        """Lay out one chart for each plot, all new: an old layout keeps the sizes of its rows."""
        self.point_at(None)
        self._columns = self._best_columns(self.width(), self.height())
        rows = max(1, -(-len(self._plots) // self._columns))
        layout = pg.GraphicsLayout()
        layout.setContentsMargins(2, 2, ROOM_AT_END_PX, 2)
        layout.setSpacing(0)
        self._charts = [Chart(plot) for plot in self._plots]
        self._step_axes = []
        for number, chart in enumerate(self._charts):
            row, column = number // self._columns, number % self._columns
            layout.addItem(chart.heading, 2 * row, 2 * column, 1, 2)
            layout.addItem(chart.axis, 2 * row + 1, 2 * column)
            layout.addItem(chart.view, 2 * row + 1, 2 * column + 1)
            layout.layout.setRowStretchFactor(2 * row + 1, 1)
            layout.layout.setColumnStretchFactor(2 * column + 1, 1)
            if number + self._columns >= len(self._charts):
                layout.addItem(self._steps_axis(chart), 2 * row + 2, 2 * column + 1)
            chart.dress(self._look)
            chart.view.zoom_asked.connect(self.zoom)
            chart.view.move_asked.connect(self.move)
            chart.view.reset_asked.connect(self.reset_zoom)
        self.setCentralItem(layout)
        self.setMinimumHeight(rows * LEAST_PLOT_PX + self._steps_px())
        self._draw()

    def _steps_axis(self, chart: Chart) -> TickedAxis:
        axis = TickedAxis("bottom")
        axis.setHeight(self._steps_px())
        axis.linkToView(chart.view)
        if self._paper:
            axis.setLabel("Step", color=self._look.quiet.name())
        axis.dress(self._look)
        self._step_axes.append(axis)
        return axis

    def _steps_px(self) -> int:
        return _LABELLED_STEPS_PX if self._paper else _STEPS_PX

    def _best_columns(self, width: int, height: int) -> int:
        """One column; more only where its plots would be low and there is room beside them."""
        most = max(1, min(len(self._plots), width // _LEAST_COLUMN_PX))
        for columns in range(1, most + 1):
            rows = -(-len(self._plots) // columns)
            if (height - _STEPS_PX) / max(1, rows) >= _GOOD_PLOT_PX:
                return columns
        return most

    def _draw(self) -> None:
        steps = self.steps_shown
        width = (self.width() - ROOM_AT_END_PX) / max(1, self._columns) - AXIS_PX
        for chart in self._charts:
            chart.draw(self._runs, steps, width, self._weight, self._logarithmic, self._look)

    # Qt's own

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if self._plots and self._best_columns(self.width(), self.height()) != self._columns:
            self._arrange()
        elif self._plots:
            self._draw()

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
        """Get the ring, but not by the mouse."""
        super().focusInEvent(event)
        self._ringed = event.reason() in (
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
            Qt.FocusReason.ShortcutFocusReason,
        )
        self.viewport().update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        low, high = self.steps_shown
        around = self._pointed if self._pointed is not None else 0.5 * (low + high)
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self._point_beside(1 if key == Qt.Key.Key_Right else -1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(around, 1.0 / ZOOM_PER_NOTCH)
        elif key == Qt.Key.Key_Minus:
            self.zoom(around, ZOOM_PER_NOTCH)
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
            if by > 0:
                index = int(np.searchsorted(steps, start, side="right"))
            else:
                index = int(np.searchsorted(steps, start, side="left")) - 1
            if 0 <= index < len(steps) and low <= steps[index] <= high:
                found.append(float(steps[index]))
        if found:
            self.point_at(min(found) if by > 0 else max(found))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.hasFocus() and self._ringed:
            painter = QPainter(self.viewport())
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Accent), 1.0))
            painter.drawRect(QRectF(self.viewport().rect()).adjusted(0.5, 0.5, -0.5, -0.5))
