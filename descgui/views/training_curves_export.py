"""Training curves as a picture, as an SVG for a paper, and as a table for a spreadsheet."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pyqtgraph.exporters import ImageExporter, SVGExporter
from PySide6.QtCore import QBuffer, QIODevice, Qt
from PySide6.QtGui import QFontInfo

from descgui.models.training_curves_data import RunCurves
from descgui.views.theme import LIGHT
from descgui.views.training_chart import Style
from descgui.views.training_plots import CurvePlots, Groups
from engine.api import csv_text, write_atomically

SCALE: Final = 2
"""Pixels of a PNG per pixel that text and lines are sized for."""

_LEAST_WIDTH_PX: Final = 640
_PLOT_PX: Final = 190
_MARGIN_PX: Final = 40


def export_curves(
    path: Path, runs: Sequence[RunCurves], groups: Groups, style: Style, *,
    steps: tuple[float, float] | None, width_px: int,
) -> None:  # fmt: skip
    """Write a table for ``.csv``, a picture for ``.png``, else an SVG; all of it or nothing.

    Args:
        path: the file.
        runs: whose curves.
        groups: the metrics to show, by the plot they share.
        style: how they are drawn in the window; a figure is always on white.
        steps: the first and last step in the figure, None for all.
        width_px: of the figure; it is made wide enough to be read.

    Raises:
        OutputError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        names = [name for names in groups.values() for name in names]
        data = _table(runs, names, style.weight)
    else:
        plots = CurvePlots(paper=True)
        # Laid out like any widget, and never on the screen.
        plots.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
        plots.resize(max(width_px, _LEAST_WIDTH_PX), len(groups) * _PLOT_PX + 2 * _MARGIN_PX)
        plots.show()
        scale = SCALE if suffix == ".png" else 1
        plots.draw(runs, groups, replace(style, colors=LIGHT, scale=scale))
        if steps is not None:
            plots.show_steps(steps)
        plots.settle()  # once more, as pens need a little room
        data = _pixels(plots) if suffix == ".png" else _vectors(plots)
        plots.hide()  # pyqtgraph's close() takes the view apart while it is in use
        plots.deleteLater()
    write_atomically(path, data)


def _pixels(plots: CurvePlots) -> bytes:
    exporter = ImageExporter(plots.scene())
    exporter.parameters()["width"] = SCALE * plots.width()
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    exporter.export(toBytes=True).save(buffer, "PNG")
    return bytes(buffer.data().data())


def _vectors(plots: CurvePlots) -> bytes:
    svg: bytes = SVGExporter(plots.scene()).export(toBytes=True)
    # Qt writes its own word for the default font, which other programs do not know.
    family = html.escape(QFontInfo(plots.font()).family())
    return re.sub(rb'font-family="[^"]*"', f'font-family="{family}, sans-serif"'.encode(), svg)


def _table(runs: Iterable[RunCurves], metrics: Sequence[str], weight: float) -> bytes:
    """One row for each run and step: every metric as measured, and smoothed beside it.

    A cell is empty where nothing was measured at that step, and ``nan`` where it was not finite.
    """
    columns = [column for name in metrics for column in (name, f"{name} smoothed")]
    table: list[Iterable[object]] = [("run", "step", *columns)]
    for run in runs:
        rows: dict[float, dict[str, object]] = {}
        for name in metrics:
            if name in run.series:
                raw, smooth = run.series[name].points, run.series[name].smooth(weight)
                for (step, value), average in zip(raw.tolist(), smooth[:, 1].tolist(), strict=True):
                    row = rows.setdefault(step, {})
                    row |= {name: value, f"{name} smoothed": average}
        table += [(run.label, f"{s:.0f}", *map(rows[s].get, columns)) for s in sorted(rows)]
    return csv_text(table).encode()
