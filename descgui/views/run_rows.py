"""Rows of the lists of past runs: a title, and what is said in passing in a second line."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from descgui.views.panel_parts import Sentence, muted, tabular

RUN_ROLE = int(Qt.ItemDataRole.UserRole)
"""The run of a row."""

SECOND_ROLE = RUN_ROLE + 1
"""The second line of a row."""

FREE_ROLE = RUN_ROLE + 2
"""The first role that is left for what only one of the lists knows."""

PAD_PX = 6
RowIndex = QModelIndex | QPersistentModelIndex


class ListedRun(Protocol):
    """What any run tells of itself."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    @property
    def problem(self) -> str:
        """Why it cannot be shown, "" where it can."""


def row_size(option: QStyleOptionViewItem) -> QSize:
    """Two lines and some air."""
    return QSize(120, 2 * option.fontMetrics.height() + 8)


def paint_ground(painter: QPainter, option: QStyleOptionViewItem) -> None:
    """Fill a row that is selected or pointed at."""
    role = QPalette.ColorRole
    if option.state & QStyle.StateFlag.State_Selected:
        painter.fillRect(option.rect, option.palette.color(role.Highlight))
    elif option.state & QStyle.StateFlag.State_MouseOver:
        painter.fillRect(option.rect, option.palette.color(role.Midlight))


def paint_lines(
    painter: QPainter,
    option: QStyleOptionViewItem,
    index: RowIndex,
    *,
    left_px: int,
    right_px: int = PAD_PX,
) -> None:
    """Draw both lines of a row, and a frame where the keyboard is.

    Args:
        painter: draws.
        option: the row's place and state.
        index: the row.
        left_px: what both lines leave free to their left.
        right_px: what the first line leaves free to its right; the second needs only the margin.
    """
    palette, area, metrics = option.palette, option.rect, option.fontMetrics
    inks = (palette.color(QPalette.ColorRole.Text), muted(palette))
    texts = (index.data(), index.data(SECOND_ROLE))
    for line, (text, ink, right) in enumerate(zip(texts, inks, (right_px, PAD_PX), strict=True)):
        top = 3 + line * (metrics.height() + 1)
        place: QRect = area.adjusted(left_px, top, -right, -3)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, place.width())
        painter.setPen(ink)
        painter.drawText(place, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft, shown)
    if option.state & QStyle.StateFlag.State_HasFocus:
        painter.setPen(palette.color(QPalette.ColorRole.Accent))
        painter.drawRect(area.adjusted(0, 0, -1, -1))


def run_list(
    parent: QWidget,
    *,
    name: str,
    delegate: type[QStyledItemDelegate],
    selection: QAbstractItemView.SelectionMode,
) -> QListWidget:
    """An empty list of runs, called ``name``, whose rows a delegate draws."""
    made = QListWidget(parent)
    made.setAccessibleName(name)
    made.setFont(tabular(made.font()))
    made.setItemDelegate(delegate(made))
    made.setMouseTracking(True)
    made.setSelectionMode(selection)
    made.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return made


def run_item(run: ListedRun, title: str, second: str, *, about: str) -> QListWidgetItem:
    """A row; its tooltip says what is wrong with the run, else ``about`` and the folder."""
    item = QListWidgetItem(title)
    item.setData(RUN_ROLE, run)
    item.setData(SECOND_ROLE, second)
    item.setToolTip(run.problem or f"{about}\n{run.folder}")
    item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{title}, {second}")
    return item


def list_column(parent: QWidget, hint: Sentence, rows: QListWidget) -> QVBoxLayout:
    """The column of a list below what is said while it is empty; buttons follow."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(8, 4, 8, 8)
    layout.setSpacing(6)
    layout.addWidget(hint)
    layout.addWidget(rows, 1)
    return layout
