"""One plot of training curves: its title, its axes, what is drawn in it, and the crosshair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Signal
from PySide6.QtGui import QPen

from descgui.models.training_curves_data import Points, thinned
from descgui.views.panel_parts import blended
from descgui.views.training_figures import Plot
from descgui.views.training_lines import (
    HEADING_PX,
    DrawnRun,
    HeadingItem,
    Line,
    LinesItem,
    Look,
    TickedAxis,
    run_pen,
)
from engine.api import metric_info

LEAST_PLOT_PX: Final = 62
AXIS_PX: Final = 52
ZOOM_PER_NOTCH: Final = 1.25
_PX_PER_BUCKET: Final = 3.0
_MARK_ALL_BELOW: Final = 60
_NOTCH: Final = 120.0
_ROOM_ABOVE: Final = 0.08
_ROOM_BESIDE: Final = 0.012
_FAINT: Final = 0.4


class StepsView(pg.ViewBox):  # type: ignore[misc]
    """A plot's inside: the wheel and a drag ask for other steps, a double click for all of them.

    Signals:
        zoom_asked(float, float): around which step, and by which factor the span changes.
        move_asked(float): by how many steps.
        reset_asked(): show everything.
    """

    zoom_asked = Signal(float, float)
    move_asked = Signal(float)
    reset_asked = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self.disableAutoRange()

    def step_at(self, scene_place: QPointF) -> float:
        """The step under a place of the scene."""
        return float(self.mapSceneToView(scene_place).x())

    def wheelEvent(self, event: Any, axis: int | None = None) -> None:
        del axis  # the one that the mouse is over: steps are all that is zoomed
        factor = ZOOM_PER_NOTCH ** (-event.delta() / _NOTCH)
        self.zoom_asked.emit(self.step_at(event.scenePos()), factor)
        event.accept()

    def mouseDragEvent(self, event: Any, axis: int | None = None) -> None:
        del axis
        event.accept()
        before, now = self.mapToView(event.lastPos()), self.mapToView(event.pos())
        self.move_asked.emit(float(before.x() - now.x()))

    def mouseClickEvent(self, event: Any) -> None:
        """Show everything again on a double click."""
        if event.double():
            event.accept()
            self.reset_asked.emit()


class Chart:
    """The items of one plot."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self.heading = HeadingItem()
        self.axis = TickedAxis("left")
        self.axis.setWidth(AXIS_PX)
        self.view = StepsView()
        self.view.setMinimumHeight(LEAST_PLOT_PX - HEADING_PX)
        self.axis.linkToView(self.view)
        self.lines = LinesItem(self.view)
        self.view.addItem(self.lines, ignoreBounds=True)
        self.cursor = pg.InfiniteLine(angle=90)
        self.level = pg.InfiniteLine(angle=0)
        for line in (self.cursor, self.level):
            line.setZValue(10)
            line.hide()
            self.view.addItem(line, ignoreBounds=True)

    def dress(self, look: Look) -> None:
        """Take the colours and the font."""
        self.axis.dress(look)
        self.axis.setGrid(110)
        self.view.setBorder(QPen(look.line, 1.0))
        pen = QPen(look.quiet, 1.0)
        pen.setCosmetic(True)
        self.cursor.setPen(pen)
        pen.setDashPattern([2.0, 3.0])
        self.level.setPen(pen)

    def draw(
        self, runs: Sequence[DrawnRun], steps: tuple[float, float], width_px: float,
        weight: float, logarithmic: bool, look: Look,
    ) -> None:  # fmt: skip
        """Draw what is in view."""
        self.axis.logarithmic = logarithmic
        several = len(self.plot.figures) > 1
        buckets = max(16, int(width_px / _PX_PER_BUCKET))
        faint: list[Line] = []
        strong: list[Line] = []
        for run in sorted(runs, key=lambda run: run.live):  # the one under way on top
            pen = run_pen(run.color_index)
            pale = QPen(blended(pen.color(), look.ground, _FAINT), 1.0)
            for number, figure in enumerate(self.plot.figures):
                series = run.series.get(figure)
                if series is None:
                    continue
                points = in_view(series.smooth(weight), steps, logarithmic=logarithmic)
                sparse = len(points) <= _MARK_ALL_BELOW
                symbol = number if several or sparse else None
                drawn = thinned(points, buckets=buckets)
                strong.append(Line(drawn, pen, symbol, sparse, run.live))
                if weight > 0.0:
                    raw = in_view(series.points, steps, logarithmic=logarithmic)
                    faint.append(Line(thinned(raw, buckets=buckets), pale))
        self.lines.set_lines([*faint, *strong], look.ground)
        self._fit(steps, [line.points for line in (*faint, *strong)])
        self._title(runs, logarithmic, look)

    def _fit(self, steps: tuple[float, float], drawn: Sequence[Points]) -> None:
        """Let the values in view fill the height."""
        values = [points[:, 1] for points in drawn if len(points)]
        low = min((float(some.min()) for some in values), default=0.0)
        high = max((float(some.max()) for some in values), default=1.0)
        if high <= low:
            # A constant curve runs through the middle.
            low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
        room = _ROOM_ABOVE * (high - low)
        beside = _ROOM_BESIDE * (steps[1] - steps[0])
        self.view.setRange(
            xRange=(steps[0] - beside, steps[1] + beside),
            yRange=(low - room, high + room),
            padding=0.0,
            disableAutoRange=False,
        )

    def _title(self, runs: Sequence[DrawnRun], logarithmic: bool, look: Look) -> None:
        figures = self.plot.figures
        keys = [metric_info(figure).label for figure in figures] if len(figures) > 1 else []
        remark = ""
        if not any(len(line.points) for line in self.lines.lines):
            measured = any(
                np.isfinite(run.series[figure].points[:, 1]).any()
                for run in runs
                for figure in figures
                if figure in run.series
            )
            if not measured:
                remark = "not measured yet"
            elif logarithmic:
                remark = "nothing above zero here"
            else:
                remark = "nothing measured here"
        self.heading.say(self.plot.title, keys, remark, look)


def in_view(points: Points, steps: tuple[float, float], *, logarithmic: bool) -> Points:
    """The points that can be drawn, and one more on either side so that the line goes on.

    Args:
        points: ``(N, 2)`` of step and value, steps rising.
        steps: first and last step in view.
        logarithmic: give the power of ten of each value; those not above zero are left out.

    Returns:
        ``(M, 2)``, all finite.
    """
    first = max(0, int(np.searchsorted(points[:, 0], steps[0], side="left")) - 1)
    last = int(np.searchsorted(points[:, 0], steps[1], side="right")) + 1
    some = points[first:last]
    kept = np.isfinite(some[:, 1])
    if logarithmic:
        kept &= some[:, 1] > 0.0
    if not kept.all():
        some = some[kept]
    if logarithmic:
        some = np.column_stack([some[:, 0], np.log10(some[:, 1])])
    return some
