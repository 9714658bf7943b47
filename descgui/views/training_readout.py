"""The legend of training curves, which is also where their values are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QAbstractItemView, QFrame, QTableWidget, QTableWidgetItem, QWidget

from descgui.models.training_curves_data import RunCurves, Series, value_at
from descgui.views.panel_parts import bold, tabular
from descgui.views.training_lines import SAMPLE_PX, run_icon, step_text
from engine.api import metric_info

_MOST_ROWS: Final = 4
_LEAST_LABEL_PX: Final = 150
_MOST_LABEL_PX: Final = 220
_PAD_PX: Final = 14
_WIDEST: Final = "−0.0000"
_LEAST_FIXED: Final = 0.001
_MOST_FIXED: Final = 1e4


class CurvesReadout(QTableWidget):
    """A row for each run: its line, its name, and a column for each metric that is shown.

    Columns keep their widths whatever the values are, so that nothing jumps.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 1, parent)
        self._runs: tuple[RunCurves, ...] = ()
        self._metrics: tuple[str, ...] = ()
        self._weight = 0.0
        self._step: float | None = None
        self.setAccessibleName("Runs and their values")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setIconSize(SAMPLE_PX)
        self.setWordWrap(False)
        self.setFont(tabular(self.font()))
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(10)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 5)
        self.horizontalHeader().setMinimumSectionSize(20)
        self.horizontalHeader().setSectionResizeMode(self.horizontalHeader().ResizeMode.Fixed)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setSectionsClickable(False)

    def show_runs(self, runs: Sequence[RunCurves], metrics: Sequence[str], weight: float) -> None:
        """Take the runs, the metrics that are shown, and how much they are smoothed."""
        known = [(run.folder, run.color_index, run.live) for run in self._runs]
        wanted = [(run.folder, run.color_index, run.live) for run in runs]
        rebuilt = known != wanted or tuple(metrics) != self._metrics
        self._runs, self._metrics, self._weight = tuple(runs), tuple(metrics), weight
        if rebuilt:
            self._rebuild()
        self._fill()

    def show_step(self, step: float | None) -> None:
        """Show the values at a step, or the newest ones."""
        self._step = step
        self._fill()

    def natural_size(self) -> QSize:
        """What all columns and at most a few rows take."""
        rows = min(max(1, len(self._runs)), _MOST_ROWS)
        row_px = self.verticalHeader().defaultSectionSize()
        height = self.horizontalHeader().sizeHint().height() + rows * row_px + 2
        return QSize(self._label_px() + self._values_px() + self._bar_px(), height)

    def set_room(self, width_px: int) -> None:
        """Give the names what the columns of values leave over."""
        room = width_px - self._bar_px()
        least = min(_LEAST_LABEL_PX, self._label_px())
        self.setColumnWidth(0, max(least, room - self._values_px()))
        scrolls = self.columnWidth(0) + self._values_px() > room
        bar = self.horizontalScrollBar().sizeHint().height() if scrolls else 0
        self.setFixedHeight(self.natural_size().height() + bar)

    def _bar_px(self) -> int:
        scrolls = len(self._runs) > _MOST_ROWS
        return self.verticalScrollBar().sizeHint().width() if scrolls else 0

    def _values_px(self) -> int:
        return sum(map(self._column_px, self._metrics))

    def _column_px(self, metric: str) -> int:
        texts = _WIDEST, metric_info(metric).heading
        return max(map(self.fontMetrics().horizontalAdvance, texts)) + _PAD_PX

    def _label_px(self) -> int:
        metrics = QFontMetrics(bold(self.font()))
        widest = max((metrics.horizontalAdvance(run.label) for run in self._runs), default=0)
        wanted = widest + SAMPLE_PX.width() + 2 * _PAD_PX
        return min(max(wanted, _LEAST_LABEL_PX), _MOST_LABEL_PX)

    def _rebuild(self) -> None:
        self.setRowCount(len(self._runs))
        self.setColumnCount(1 + len(self._metrics))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        first = QTableWidgetItem()
        first.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.setHorizontalHeaderItem(0, first)
        for column, name in enumerate(self._metrics, 1):
            heading = QTableWidgetItem(metric_info(name).heading)
            heading.setTextAlignment(right)
            self.setHorizontalHeaderItem(column, heading)
            self.setColumnWidth(column, self._column_px(name))
        for row, run in enumerate(self._runs):
            icon = run_icon(run.color_index, live=run.live, ratio=self.devicePixelRatio())
            label = QTableWidgetItem(icon, run.label)
            words = f"{run.label} (in progress)" if run.live else run.label
            label.setToolTip(words)
            label.setData(Qt.ItemDataRole.AccessibleTextRole, words)
            if run.live:
                label.setFont(bold(self.font()))
            self.setItem(row, 0, label)
            for column in range(1, 1 + len(self._metrics)):
                cell = QTableWidgetItem()
                cell.setTextAlignment(right)
                self.setItem(row, column, cell)

    def _fill(self) -> None:
        first = self.horizontalHeaderItem(0)
        if first is None:
            return
        words = "Newest" if self._step is None else f"Step {step_text(self._step)}"
        first.setText(f"{words} · smoothed" if self._weight > 0.0 else words)
        for row, run in enumerate(self._runs):
            for column, name in enumerate(self._metrics, 1):
                series = run.series.get(name)
                value = math.nan if series is None else self._value(series)
                cell = self.item(row, column)
                if cell is not None:
                    cell.setText(value_text(name, value))

    def _value(self, series: Series) -> float:
        points = series.smooth(self._weight)
        if self._step is not None:
            return value_at(points, self._step)
        newest = (value for value in points[::-1, 1] if math.isfinite(value))
        return float(next(newest, math.nan))


def value_text(metric: str, value: float) -> str:
    """A value in few digits, with a true minus sign; a dash for none."""
    if not math.isfinite(value):
        return "–"
    if metric_info(metric).whole:
        text = f"{value:.0f}"
    elif value == 0.0 or _LEAST_FIXED <= abs(value) < _MOST_FIXED:
        text = f"{value:.{0 if abs(value) >= 1000 else 2 if abs(value) >= 100 else 4}f}"
    else:
        text = f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", "−")
