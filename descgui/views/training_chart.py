"""One plot of training curves: its axes, the curves of a group of metrics, and the crosshair."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QColor, QGuiApplication, QPen

from descgui.models.training_curves_data import Points, RunCurves
from descgui.views.color_bar import nice_ticks, tick_text
from descgui.views.panel_parts import blended
from descgui.views.theme import ThemeColors
from descgui.views.training_lines import MARKS, WIDTH_PX, number_text, run_pen, step_text
from engine.api import MetricGroup, metric_info

ROOM_AT_END_PX: Final = 20
_TITLE_PX: Final = 19
_VALUES_PX: Final = 52
_PX_PER_VALUE: Final = 15
_LEAST_FIXED: Final = 1e-4
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
        self.series, logarithmic = run.series[name], self._chart.logarithmic
        series = self.series
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
        tip = int(self._live and first < end == len(self._points))  # marks filled at the end
        if self._marked or sparse:
            gap_px = _LEAST_MARK_GAP_PX if sparse else _MARKS_EVERY_PX
            seen = _spaced(seen, gap_px / px_per_step)
        else:
            seen = seen[len(seen) - tip :]
        brushes = [self._hollow] * (len(seen) - tip) + [self._filled] * tip
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
        for axis, beyond_px in ((values, _TITLE_PX // 2), (steps, ROOM_AT_END_PX)):
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
        self._say(names, style.colors)

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

    def _say(self, names: Sequence[str], colors: ThemeColors) -> None:
        """Title the plot: its group, what its marks stand for, and why there is nothing."""
        values = [curve.series.points[:, 1] for curve in self.drawn.values()]
        self.remark = ""
        if not self.lines:
            measured = any(np.isfinite(some).any() for some in values)
            self.remark = "nothing above zero here" if measured else "not measured yet"
        words = [
            f"{MARKS[number % len(MARKS)][2]}&nbsp;{html.escape(metric_info(name).label)}"
            for number, name in enumerate(names if len(names) > 1 else ())
        ]
        text = f"<b>{html.escape(self.group.heading)}</b>&nbsp;&nbsp; "
        quiet = "&nbsp;&nbsp; ".join([*words, self.remark])
        text += f"<span style='color:{colors.subtle}'>{quiet}</span>"
        if text != self.titleLabel.text:
            self.titleLabel.item.document().setDocumentMargin(0.0)
            size = f"{QGuiApplication.font().pointSizeF()}pt"
            self.setTitle(text, color=colors.text, justify="left", size=size)
            self.titleLabel.setMinimumSize(0.0, 0.0)
            self.titleLabel.setMaximumHeight(_TITLE_PX)
            self.layout.setRowFixedHeight(0, _TITLE_PX)


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
