"""The plots of training curves: one per group of metrics, all zoomed over the same steps."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QGuiApplication,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QGraphicsGridLayout, QWidget

from descgui.models.training_curves_data import Points, RunCurves, nearest
from descgui.views.color_bar import nice_ticks, tick_text
from descgui.views.panel_parts import blended
from descgui.views.theme import LIGHT, ThemeColors
from descgui.views.training_lines import MARKS, WIDTH_PX, number_text, run_pen, step_text
from engine.api import MetricGroup, metric_info

Groups = Mapping[MetricGroup, tuple[str, ...]]
"""Names of metrics by the plot they share."""

_ZOOM: Final = 1.25
_LEAST_PLOT_PX: Final = 62
_GOOD_PLOT_PX: Final = 92
_LEAST_COLUMN_PX: Final = 400
_TITLE_PX: Final = 19
_VALUES_PX: Final = 52
_PX_PER_VALUE: Final = 15
_LEAST_FIXED: Final = 1e-4
_STEPS_PX: Final = 20
_LABELLED_STEPS_PX: Final = 38
_LEGEND_COLUMN_PX: Final = 240
_PAPER_MARGIN_PX: Final = 12
_ROOM_AT_END_PX: Final = 20
_LEAST_SPAN: Final = 4.0
_ROOM_BESIDE: Final = 0.012
_PEAKS_PER_PX: Final = 0.5
_MEANS_PER_PX: Final = 0.25
_FAINT: Final = 0.4
_THICKET: Final = 4.0
_SPARSE: Final = 60
_LEAST_MARK_GAP_PX: Final = 11.0
_MARKS_EVERY_PX: Final = 110.0


@dataclass(frozen=True, slots=True)
class Style:
    """How all curves are drawn.

    Attributes:
        weight: of the past in smoothing, 0 for none.
        logarithmic: whether values are on logarithmic axes where that suits them.
        colors: of the ground, the text and the axes.
        scale: pixels of the device per pixel that lines are sized for.
    """

    weight: float
    logarithmic: bool
    colors: ThemeColors
    scale: float


class StepAxis(pg.AxisItem):  # type: ignore[misc]
    """Whole steps, their thousands apart."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[Any, list[float]]]:
        return [level for level in super().tickValues(low, high, size) if level[0] >= 1.0]

    def tickStrings(self, values: list[float], _scale: float, _spacing: float) -> list[str]:
        return [step_text(value) for value in values]


class ValueAxis(pg.AxisItem):  # type: ignore[misc]
    """Values at round numbers, as many as there is room for, also on a logarithmic axis."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        count = int(size / _PX_PER_VALUE)
        if self.logMode:
            values = log_ticks(low, high, max(2, count))
        else:
            values = nice_ticks(low, high, max(3, count))
        return [(values[1] - values[0] if len(values) > 1 else 1.0, list(values))]

    def tickStrings(self, values: list[float], _scale: float, spacing: float) -> list[str]:
        if self.logMode:
            return [number_text(10.0**value) for value in values]
        if spacing < _LEAST_FIXED:
            return [number_text(round(value / spacing) * spacing) for value in values]
        return [tick_text(value, spacing) for value in values]


def log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Powers of ten at which a logarithmic axis has round numbers, about ``count`` of them."""
    whole = range(math.floor(low), math.floor(high) + 1)
    for digits in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        nice = (decade + math.log10(digit) for decade in whole for digit in digits)
        inside = tuple(value for value in nice if low <= value <= high)
        if 2 <= len(inside) <= count + 1:
            return inside
    if len(inside) > 1:
        return inside[:: math.ceil(len(inside) / (count + 1))]
    return tuple(math.log10(value) for value in nice_ticks(10.0**low, 10.0**high, count))


class Curve:
    """One metric of one run: its line, the values as measured behind it, and its marks.

    Args:
        chart: the plot it belongs to.
        symbol: pyqtgraph's name of its marks.
        size_px: of its marks.
    """

    def __init__(self, chart: Chart, symbol: str, size_px: float) -> None:
        self._chart = chart
        self.raw = chart.plot(antialias=True, autoDownsampleFactor=_PEAKS_PER_PX)
        self.line = chart.plot(antialias=True)
        self.marks = pg.ScatterPlotItem(symbol=symbol, size=size_px)
        chart.addItem(self.marks, ignoreBounds=True)
        self.items = self.raw, self.line, self.marks
        self._drawn: tuple[object, ...] = ()

    def draw(self, run: RunCurves, name: str, style: Style, *, marked: bool) -> None:
        """Take points and style; marks distinguish it from other metrics if ``marked``."""
        series, logarithmic = run.series[name], self._chart.logarithmic
        wanted = series, series.appended, run.live, run.color_index, style, logarithmic, marked
        if wanted == self._drawn:
            return
        self._drawn = wanted
        self._live, self._marked, self._scale = run.live, marked, style.scale
        self._pen, ground = run_pen(run.color_index), QColor(style.colors.base)
        color = self._pen.color()
        self._mark_pen = pg.mkPen(color, width=1.4 * style.scale)
        self._hollow, self._filled = pg.mkBrush(ground), pg.mkBrush(color)
        self._points = _drawable(series.smooth(style.weight), logarithmic=logarithmic)
        for level, item in enumerate(self.items):
            item.setZValue(2 * level + run.live)
        smooth = style.weight > 0.0
        raw = _drawable(series.points, logarithmic=logarithmic) if smooth else self._points[:0]
        faint = pg.mkPen(blended(color, ground, _FAINT))
        self.raw.setLogMode(False, logarithmic)
        self.raw.setData(raw, pen=faint)
        self.line.setLogMode(False, logarithmic)
        self.line.opts["autoDownsampleFactor"] = _MEANS_PER_PX if smooth else _PEAKS_PER_PX
        self.line.setDownsampling(method="mean" if smooth else "peak")
        self.line.setData(self._points)

    def settle(self) -> None:
        """Fit width and marks to the steps and values in view."""
        (low, high), (bottom, top) = self._chart.vb.viewRange()
        px_per_step = max(1.0, self._chart.vb.width()) / (high - low)
        pen = self._fitting_pen(px_per_step, self._chart.vb.height() / (top - bottom))
        if pen != self.line.opts["pen"]:
            self.line.setPen(pen)
        first, end = np.searchsorted(self._points[:, 0], (low, high))
        seen = self._points[first:end]
        sparse = len(seen) <= _SPARSE
        tip = self._live and end == len(self._points)
        if self._marked or sparse:
            gap_px = _LEAST_MARK_GAP_PX if sparse else _MARKS_EVERY_PX
            seen = _spaced(seen, gap_px / px_per_step)
        else:
            seen = seen[-1:] if tip else seen[:0]
        brushes = [self._hollow] * len(seen)
        brushes[-1:] = [self._filled] * len(seen[-1:]) if tip else brushes[-1:]
        values = np.log10(seen[:, 1]) if self._chart.logarithmic else seen[:, 1]
        self.marks.setData(seen[:, 0], values, pen=self._mark_pen, brush=brushes)

    def _fitting_pen(self, px_per_step: float, px_per_value: float) -> QPen:
        """The run's pen, but a fine one for a thicket: easier to read, and quick to draw.

        Qt strokes a long path of a wide pen in seconds: its time grows with the square of what
        crosses a row of pixels.  Lines as fine as a pixel of the device take milliseconds.
        """
        width = WIDTH_PX * self._scale
        pen = QPen(self._pen)
        pen.setCosmetic(True)
        pen.setWidthF(width)
        steps, values = self.line.getData()
        if steps is not None and len(steps):
            climb_px = np.abs(np.diff(values)).sum() * px_per_value
            if climb_px > _THICKET * (steps[-1] - steps[0]) * px_per_step:
                pen.setWidthF(1.0)
                if pen.dashPattern():
                    pen.setDashPattern([part * width for part in self._pen.dashPattern()])
        return pen


class Chart(pg.PlotItem):  # type: ignore[misc]
    """The plot of one group of metrics."""

    def __init__(self, group: MetricGroup) -> None:
        values, steps = ValueAxis("left"), StepAxis("bottom")
        super().__init__(axisItems={"left": values, "bottom": steps}, enableMenu=False)
        self.group = group
        self.logarithmic = False
        self.remark = ""
        self._colors: ThemeColors | None = None
        self.drawn: dict[tuple[Path, str], Curve] = {}
        self.hideButtons()
        self.setMouseEnabled(x=True, y=False)
        self.setDownsampling(auto=True, mode="peak")
        self.setClipToView(True)
        self.enableAutoRange(x=False, y=True)
        self.setAutoVisible(y=True)
        values.setWidth(_VALUES_PX)
        for axis, beyond_px in ((values, _TITLE_PX // 2), (steps, _ROOM_AT_END_PX)):
            axis.setStyle(
                tickTextOffset=4,
                tickLength=-4,
                autoExpandTextSpace=False,
                hideOverlappingLabels=beyond_px,
            )
        self.cursor, self.level = pg.InfiniteLine(angle=90), pg.InfiniteLine(angle=0)
        for line in (self.cursor, self.level):
            line.setZValue(10)
            line.hide()
            self.addItem(line, ignoreBounds=True)

    @property
    def lines(self) -> list[pg.PlotDataItem]:
        """What is drawn, the topmost last: values as measured, then smoothed ones."""
        items = [item for curve in self.drawn.values() for item in (curve.raw, curve.line)]
        drawn = [item for item in items if item.getOriginalDataset()[0] is not None]
        return sorted(drawn, key=lambda item: float(item.zValue()))

    def draw(self, runs: Sequence[RunCurves], names: Sequence[str], style: Style) -> None:
        """Draw metrics of runs, those in progress on top."""
        self.logarithmic = style.logarithmic and self.group.axis == "log"
        self.getAxis("left").setLogMode(y=self.logarithmic)
        before, self.drawn = self.drawn, {}
        for run in runs:
            for number, name in enumerate(names):
                if name in run.series:
                    key = run.folder, name
                    symbol, size_px, _ = MARKS[number % len(MARKS)]
                    curve = before.pop(key) if key in before else Curve(self, symbol, size_px)
                    curve.draw(run, name, style, marked=len(names) > 1)
                    self.drawn[key] = curve
        for gone in before.values():
            for item in gone.items:
                self.removeItem(item)
        self._dress(style.colors)
        self._say(runs, names, style.colors)

    def settle(self) -> None:
        """Fit all to the steps in view."""
        self.vb.updateAutoRange()
        for curve in self.drawn.values():
            curve.settle()

    def _dress(self, colors: ThemeColors) -> None:
        if colors == self._colors:
            return
        self._colors = colors
        line, quiet = pg.mkPen(colors.line), pg.mkPen(colors.subtle)
        for name in ("left", "bottom"):
            axis = self.getAxis(name)
            axis.setPen(line)
            axis.setTickPen(line)
            axis.setTextPen(quiet)
        self.getAxis("left").setGrid(110)
        self.vb.setBorder(line)
        self.cursor.setPen(quiet)
        self.level.setPen(pg.mkPen(colors.subtle, dash=[2.0, 3.0]))

    def _say(self, runs: Sequence[RunCurves], names: Sequence[str], colors: ThemeColors) -> None:
        """Title the plot: its group, what its marks stand for, and why there is nothing."""
        some = [
            run.series[name].points[:, 1] for run in runs for name in names if name in run.series
        ]
        if self.lines:
            self.remark = ""
        elif any(np.isfinite(values).any() for values in some):
            self.remark = "nothing above zero here"
        else:
            self.remark = "not measured yet"
        keys = [
            f"{MARKS[number % len(MARKS)][2]}&nbsp;{html.escape(metric_info(name).label)}"
            for number, name in enumerate(names)
        ]
        words = "&nbsp;&nbsp; ".join([*(keys if len(keys) > 1 else []), self.remark])
        title = f"<b>{html.escape(self.group.heading)}</b>&nbsp;&nbsp; "
        text = f"{title}<span style='color:{colors.subtle}'>{words}</span>"
        if text != self.titleLabel.text:
            self.titleLabel.item.document().setDocumentMargin(0.0)
            size = f"{QGuiApplication.font().pointSizeF()}pt"
            self.setTitle(text, color=colors.text, justify="left", size=size)
            self.titleLabel.setMinimumSize(0.0, 0.0)
            self.titleLabel.setMaximumHeight(_TITLE_PX)
            self.layout.setRowFixedHeight(0, _TITLE_PX)


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
        self._ringed = False
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
        for chart in self._charts[:1]:
            chart.setXRange(steps[0] - room, steps[1] + room, padding=0.0)
            self._follow(chart.vb)

    def reset_zoom(self) -> None:
        """Show everything, and what comes."""
        self.show_steps(self._measured_span)

    def zoom(self, around: float, factor: float) -> None:
        """Change the span of steps in view by a factor; a step stays where it is."""
        for chart in self._charts[:1]:
            chart.vb.scaleBy(x=factor, center=(around, 0.0))
            self._follow(chart.vb)

    def move(self, steps: float) -> None:
        """Move what is in view; it stays within what was measured."""
        for chart in self._charts[:1]:
            chart.vb.translateBy(x=steps)
            self._follow(chart.vb)

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
        grid.setContentsMargins(margin, margin, _ROOM_AT_END_PX, margin)
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
        if self.hasFocus() and self._ringed:
            painter = QPainter(self.viewport())
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Accent), 1.0))
            painter.drawRect(QRectF(self.viewport().rect()).adjusted(0.5, 0.5, -0.5, -0.5))


def _drawable(points: Points, *, logarithmic: bool) -> Points:
    """The points that can be drawn: finite ones, above zero on a logarithmic axis."""
    kept = np.isfinite(points[:, 1])
    if logarithmic:
        kept &= points[:, 1] > 0.0
    return points if kept.all() else points[kept]


def _spaced(points: Points, gap: float) -> Points:
    """The last point and some before it, about ``gap`` steps or more apart."""
    if not len(points):
        return points
    steps = points[:, 0]
    wanted = np.arange(steps[-1], steps[0] - gap, -gap)
    chosen: Points = points[np.unique(np.searchsorted(steps, wanted))]
    return chosen
