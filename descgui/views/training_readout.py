"""The legend of training curves, which is also where their values are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from descgui.models.training_curves_data import Series, value_at
from descgui.views.panel_parts import tabular
from descgui.views.training_figures import value_text
from descgui.views.training_lines import MARK_PX, DrawnRun, run_color, run_pen, step_text
from engine.api import metric_info

_SAMPLE_PX: Final = QSize(34, 14)
_MOST_ROWS: Final = 4
_LEAST_LABEL_PX: Final = 150
_MOST_LABEL_PX: Final = 220
_PAD_PX: Final = 14
_WIDEST: Final = "−0.0000"


class CurvesReadout(QTableWidget):
    """A row for each run: its line, its name, and a column for each figure that is shown.

    Columns keep their widths whatever the values are, so that nothing jumps under the eye.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 1, parent)
        self._runs: tuple[DrawnRun, ...] = ()
        self._figures: tuple[str, ...] = ()
        self._weight = 0.0
        self._step: float | None = None
        self.setAccessibleName("Runs and their values")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setIconSize(_SAMPLE_PX)
        self.setWordWrap(False)
        self.setFont(tabular(self.font()))
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        header.setMinimumSectionSize(20)
        self.verticalHeader().setMinimumSectionSize(10)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 5)

    def show_runs(self, runs: Sequence[DrawnRun], figures: Sequence[str], weight: float) -> None:
        """Take the runs, the figures that are shown, and how much they are smoothed."""
        known = [(run.key, run.label, run.color_index, run.live) for run in self._runs]
        wanted = [(run.key, run.label, run.color_index, run.live) for run in runs]
        changed = known != wanted or tuple(figures) != self._figures
        self._runs, self._figures, self._weight = tuple(runs), tuple(figures), weight
        if changed:
            self._rebuild()
        self._fill()

    def show_step(self, step: float | None) -> None:
        """Show the values at a step, or the newest ones."""
        self._step = step
        self._fill()

    def text_of(self, key: str, figure: str) -> str:
        """What is written for a run and a figure."""
        row = [run.key for run in self._runs].index(key)
        item = self.item(row, 1 + self._figures.index(figure))
        return item.text() if item is not None else ""

    def natural_size(self) -> QSize:
        """What all columns and at most a few rows take."""
        rows = min(max(1, len(self._runs)), _MOST_ROWS)
        height = self.horizontalHeader().sizeHint().height() + rows * self._row_px() + 2
        hidden = len(self._runs) > rows > 0
        bar = self.verticalScrollBar().sizeHint().width() if hidden else 0
        return QSize(self._label_px() + self._values_px() + bar, height)

    def set_room(self, width_px: int) -> None:
        """Give the names what the columns of values leave over."""
        if len(self._runs) > _MOST_ROWS:
            width_px -= self.verticalScrollBar().sizeHint().width()
        self.setColumnWidth(0, max(self._narrow_label_px(), width_px - self._values_px()))
        bar = self.horizontalScrollBar().sizeHint().height()
        scrolls = self.columnWidth(0) + self._values_px() > width_px
        self.setFixedHeight(self.natural_size().height() + (bar if scrolls else 0))

    def _values_px(self) -> int:
        return len(self._figures) * self._column_px()

    def _row_px(self) -> int:
        return self.verticalHeader().defaultSectionSize()

    def _column_px(self) -> int:
        metrics = QFontMetrics(self.font())
        words = [metric_info(figure).heading for figure in self._figures]
        return max(metrics.horizontalAdvance(word) for word in (_WIDEST, *words)) + _PAD_PX

    def _narrow_label_px(self) -> int:
        return min(_LEAST_LABEL_PX, self._label_px())

    def _label_px(self) -> int:
        font = QFont(self.font())
        font.setBold(True)
        metrics = QFontMetrics(font)
        widest = max((metrics.horizontalAdvance(run.label) for run in self._runs), default=0)
        wanted = widest + _SAMPLE_PX.width() + 2 * _PAD_PX
        return min(max(wanted, _LEAST_LABEL_PX), _MOST_LABEL_PX)

    def _rebuild(self) -> None:
        self.setRowCount(len(self._runs))
        self.setColumnCount(1 + len(self._figures))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column, figure in enumerate(self._figures, 1):
            heading = QTableWidgetItem(metric_info(figure).heading)
            heading.setTextAlignment(right)
            self.setHorizontalHeaderItem(column, heading)
            self.setColumnWidth(column, self._column_px())
        first = QTableWidgetItem()
        first.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.setHorizontalHeaderItem(0, first)
        for row, run in enumerate(self._runs):
            name = QTableWidgetItem(self._sample(run), run.label)
            font = QFont(self.font())
            font.setBold(run.live)
            name.setFont(font)
            told = f"{run.label} (under way)" if run.live else run.label
            name.setToolTip(told)
            name.setData(Qt.ItemDataRole.AccessibleTextRole, told)
            self.setItem(row, 0, name)
            for column in range(1, 1 + len(self._figures)):
                cell = QTableWidgetItem()
                cell.setTextAlignment(right)
                self.setItem(row, column, cell)

    def _sample(self, run: DrawnRun) -> QIcon:
        ratio = self.devicePixelRatio()
        picture = QPixmap(_SAMPLE_PX * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_sample(painter, QPointF(0.0, 0.5 * _SAMPLE_PX.height()), run)
        painter.end()
        return QIcon(picture)

    def _fill(self) -> None:
        first = self.horizontalHeaderItem(0)
        if first is None:
            return
        words = "Newest" if self._step is None else f"Step {step_text(self._step)}"
        first.setText(f"{words} · smoothed" if self._weight > 0.0 else words)
        for row, run in enumerate(self._runs):
            for column, figure in enumerate(self._figures, 1):
                series = run.series.get(figure)
                value = float("nan") if series is None else self._value(series)
                cell = self.item(row, column)
                if cell is not None:
                    cell.setText(value_text(figure, value))

    def _value(self, series: Series) -> float:
        points = series.smooth(self._weight)
        if self._step is not None:
            return value_at(points, self._step)
        finite = points[np.isfinite(points[:, 1]), 1]
        return float(finite[-1]) if len(finite) else float("nan")


def paint_sample(painter: QPainter, left: QPointF, run: DrawnRun, *, width: float = 34.0) -> None:
    """Draw a piece of a run's line; with the dot of a run that is under way."""
    painter.save()
    painter.setPen(run_pen(run.color_index, width=2.0))
    end = QPointF(left.x() + width - 2.0, left.y())
    painter.drawLine(left, end)
    if run.live:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(run_color(run.color_index))
        painter.drawEllipse(end - QPointF(MARK_PX, 0.0), MARK_PX, MARK_PX)
    painter.restore()
