"""Training curves as a picture, as an SVG for a paper, and as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QImage, QPainter

from descgui.models.training_curves_data import Points
from descgui.views.figure_file import png_bytes, svg_bytes, write_whole
from descgui.views.training_figures import Plot
from descgui.views.training_lines import DrawnRun, Look
from descgui.views.training_plots import CurvePlots
from descgui.views.training_readout import paint_sample
from engine.api import DescSpaceError

SCALE: Final = 2.0
"""Pixels of a PNG per pixel that text and lines are sized for."""

_LEAST_WIDTH_PX: Final = 640
_LEAST_PLOT_PX: Final = 190
_MARGIN_PX: Final = 12
_SAMPLE_PX: Final = 34.0


class CurvesError(DescSpaceError):
    """Curves could not be written."""


class Sheet:
    """The curves on paper: a legend above the plots, all of them below one another.

    Args:
        plots: what to show.
        runs: whose curves.
        weight: of the past in smoothing.
        logarithmic: whether values stand on logarithmic axes.
        steps: the first and last step to show, None for all.
        width_px: how wide; it is made wide enough to be read.
    """

    def __init__(
        self, plots: Sequence[Plot], runs: Sequence[DrawnRun], *, weight: float,
        logarithmic: bool, steps: tuple[float, float] | None, width_px: int,
    ) -> None:  # fmt: skip
        self._runs = tuple(runs)
        self._font = QFont(QGuiApplication.font())
        self._width = max(width_px, _LEAST_WIDTH_PX)
        self._rows = self._legend_rows()
        self._legend_px = math.ceil(len(self._rows) * self._line_px()) + _MARGIN_PX
        self._plots = CurvePlots(paper=True)
        # Laid out like any widget, and never on the screen.
        self._plots.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
        height = len(plots) * _LEAST_PLOT_PX + 40
        self._plots.resize(self._width - 2 * _MARGIN_PX, height)
        self._plots.set_look(Look.of_paper(self._font))
        self._plots.show()
        self._plots.set_plots(plots)
        self._plots.draw(runs, weight=weight, logarithmic=logarithmic)
        if steps is not None:
            self._plots.show_steps(steps)
        self._plots.settle()
        self.size = QSize(self._width, self._plots.height() + self._legend_px + 2 * _MARGIN_PX)

    def close(self) -> None:
        """Let go of the plots."""
        self._plots.hide()  # pyqtgraph's close() takes the view apart while it is in use
        self._plots.deleteLater()

    def paint(self, painter: QPainter) -> None:
        """Draw it from (0, 0) to :attr:`size`."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(QRectF(QPointF(), self.size.toSizeF()), QColor("white"))
        self._paint_legend(painter)
        top = self._legend_px + _MARGIN_PX
        place = QRectF(_MARGIN_PX, top, self._plots.width(), self._plots.height())
        self._plots.render(painter, place, self._plots.viewport().rect())

    def _line_px(self) -> float:
        return QFontMetricsF(self._font).height() + 4.0

    def _legend_rows(self) -> list[list[tuple[float, DrawnRun]]]:
        """Where each entry begins, in rows that fit."""
        metrics = QFontMetricsF(self._font)
        rows: list[list[tuple[float, DrawnRun]]] = []
        x = math.inf
        for run in self._runs:
            needed = _SAMPLE_PX + 6.0 + metrics.horizontalAdvance(run.label)
            if x + needed > self._width - _MARGIN_PX:
                rows.append([])
                x = _MARGIN_PX + 6.0
            rows[-1].append((x, run))
            x += needed + 20.0
        return rows

    def _paint_legend(self, painter: QPainter) -> None:
        metrics = QFontMetricsF(self._font)
        for number, row in enumerate(self._rows):
            middle = _MARGIN_PX + (number + 0.5) * self._line_px()
            for x, run in row:
                paint_sample(painter, QPointF(x, middle), run, width=_SAMPLE_PX)
                painter.setPen(QColor("#1B1C1F"))
                painter.setFont(self._font)
                left = x + _SAMPLE_PX + 6.0
                shown = metrics.elidedText(
                    run.label, Qt.TextElideMode.ElideRight, self._width - _MARGIN_PX - left
                )
                baseline = middle + 0.5 * (metrics.ascent() - metrics.descent())
                painter.drawText(QPointF(left, baseline), shown)


def write_curves_png(path: Path, sheet: Sheet) -> None:
    """Write the sheet as a picture, ``SCALE`` pixels for each of its own.

    Raises:
        CurvesError: the file cannot be written.
    """
    picture = QImage(sheet.size * SCALE, QImage.Format.Format_RGB32)
    picture.setDevicePixelRatio(SCALE)
    if picture.isNull():
        raise CurvesError("The curves are too large for a picture. Show fewer figures.")
    painter = QPainter(picture)
    sheet.paint(painter)
    painter.end()
    data = png_bytes(picture)
    if data is None:
        raise CurvesError("The curves could not be encoded as PNG.")
    _write(path, data)


def write_curves_svg(path: Path, sheet: Sheet) -> None:
    """Write the sheet as an SVG whose lines and words are vectors.

    Raises:
        CurvesError: the file cannot be written.
    """
    _write(path, svg_bytes(sheet.size, sheet.paint, title="Training curves"))


def write_curves_csv(
    path: Path, runs: Sequence[DrawnRun], figures: Sequence[str], *, weight: float
) -> None:
    """Write one row for each run and step: every figure as measured, and smoothed beside it.

    A cell is empty where nothing was measured at that step, and ``nan`` where it was not finite.

    Raises:
        CurvesError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [word for figure in figures for word in (figure, f"{figure} smoothed")]
    writer.writerow(["run", "step", *columns])
    for run in runs:
        table: dict[float, list[str]] = {}
        for number, figure in enumerate(figures):
            series = run.series.get(figure)
            if series is not None:
                _enter(table, 2 * number, series.points, len(columns))
                _enter(table, 2 * number + 1, series.smooth(weight), len(columns))
        writer.writerows([run.label, f"{step:.0f}", *table[step]] for step in sorted(table))
    _write(path, text.getvalue().encode())


def _enter(table: dict[float, list[str]], column: int, points: Points, columns: int) -> None:
    for step, value in np.asarray(points).tolist():
        table.setdefault(step, [""] * columns)[column] = repr(value)


WRITERS: Final[dict[str, Callable[[Path, Sheet], None]]] = {
    ".png": write_curves_png,
    ".svg": write_curves_svg,
}


def _write(path: Path, data: bytes) -> None:
    """Write all of a file or nothing."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise CurvesError(
            f"The curves could not be written to {path}: {str(error).rstrip('.')}."
        ) from error
