"""What the panels of evaluations and trainings share: the form's frame, tabs, and lists of runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QComboBox,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QStackedWidget,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QWidget,
)

from descgui.models.engine_state import DeviceChoice
from descgui.views.icons import icon
from descgui.views.panel_parts import (
    PanelScroll,
    SegmentButton,
    field_row,
    icon_button,
    in_column,
    in_row,
    muted,
    plain_tip,
    refill,
    segment_row,
    tabular,
)

LEFT_PX = 276
PAD_PX = 6
RUN_ROLE = int(Qt.ItemDataRole.UserRole)
"""The run of a row."""

SECOND_ROLE = RUN_ROLE + 1
"""The second line of a row."""

FREE_ROLE = RUN_ROLE + 2
"""The first role that a list may use for data of its own."""

RowIndex = QModelIndex | QPersistentModelIndex


class ListedRun(Protocol):
    """A run with its folder, and why it cannot be shown ("" where it can)."""

    @property
    def folder(self) -> Path: ...
    @property
    def problem(self) -> str: ...


class RunDelegate(QStyledItemDelegate):
    """Draws a run in two lines, with a box to tick where it can be ticked."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: RowIndex) -> QSize:
        return QSize(120, 2 * option.fontMetrics.height() + 8)

    def initStyleOption(self, option: QStyleOptionViewItem, index: RowIndex) -> None:
        super().initStyleOption(option, index)
        option.text = ""
        if option.state & QStyle.StateFlag.State_MouseOver:
            option.backgroundBrush = option.palette.brush(QPalette.ColorRole.Midlight)

    def right_px(self, _index: RowIndex) -> int:
        """Width that the first line leaves free to its right."""
        return PAD_PX

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: RowIndex) -> None:
        super().paint(painter, option, index)
        self.initStyleOption(option, index)
        style, metrics = option.widget.style(), option.fontMetrics
        area = style.subElementRect(
            QStyle.SubElement.SE_ItemViewItemText, option, option.widget
        ).adjusted(PAD_PX // 2, 3, 0, -3)
        palette = option.palette
        for line, (text, ink, right_px) in enumerate(
            (
                (index.data(), palette.color(QPalette.ColorRole.Text), self.right_px(index)),
                (index.data(SECOND_ROLE), muted(palette), PAD_PX),
            )
        ):
            place = area.adjusted(0, line * (metrics.height() + 1), -right_px, 0)
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, place.width())
            painter.setPen(ink)
            painter.drawText(place, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft, shown)


def run_list(
    parent: QWidget,
    *,
    name: str,
    delegate: type[RunDelegate] = RunDelegate,
    selection: QAbstractItemView.SelectionMode,
) -> QListWidget:
    """An empty list of runs called ``name``; the delegate draws its rows."""
    made = QListWidget(parent)
    made.setAccessibleName(name)
    made.setFont(tabular(made.font()))
    made.setItemDelegate(delegate(made))
    made.setMouseTracking(True)
    made.setSelectionMode(selection)
    made.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return made


def run_item(run: ListedRun, title: str, second: str, *, about: str) -> QListWidgetItem:
    """A row; its tooltip is the run's problem, or else ``about`` and the folder."""
    item = QListWidgetItem(title)
    item.setData(RUN_ROLE, run)
    tell_run(item, run, title, second, about=about)
    return item


def tell_run(item: QListWidgetItem, run: ListedRun, title: str, second: str, *, about: str) -> None:
    """Change what a row tells about its run."""
    item.setData(SECOND_ROLE, second)
    item.setToolTip(plain_tip(run.problem or f"{about}\n{run.folder}"))
    item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{title}, {second}")


class RunsColumn(QWidget):
    """The left side of a panel: two tabs, the form of a new run and the list of past ones."""

    def __init__(self, form: QWidget, runs: QWidget, parent: QWidget, *, past: str) -> None:
        super().__init__(parent)
        self._past = past
        self.setFixedWidth(LEFT_PX)
        self.new_tab = SegmentButton("New", self)
        self.past_tab = SegmentButton(past, self)
        tabs = QButtonGroup(self)
        stack = QStackedWidget(self)
        stack.addWidget(form)
        stack.addWidget(runs)
        row = segment_row(tabs, (self.new_tab, self.past_tab))
        row.setContentsMargins(8, 6, 8, 2)
        self.new_tab.setChecked(True)
        tabs.idClicked.connect(stack.setCurrentIndex)
        in_column(self, row, (stack, 1), spacing_px=0)

    def show_count(self, count: int) -> None:
        """Show the number of past runs in the tab."""
        self.past_tab.setText(f"{self._past} ({count})" if count else self._past)


def lay_out_panel(panel: QWidget, left: RunsColumn, right: QWidget) -> None:
    """Lay out both sides of a panel, with a line between them."""
    line = QFrame(panel)
    line.setFixedWidth(1)
    line.setProperty("line", True)
    line.setStyleSheet("max-height: 16777215px;")
    in_row(panel, left, line, (right, 1), spacing_px=0)


class RunFoot(QWidget):
    """The foot of a form: notes, a button that starts the run, and one that copies its command.

    Attributes:
        column: the rows; the buttons come last.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        line = QFrame(self)
        line.setProperty("line", True)
        self.column = in_column(self, line, margins_px=(8, 0, 8, 8), spacing_px=4)

    def add_buttons(self, title: str, *, name: str) -> tuple[QPushButton, QToolButton]:
        """Add the button that starts the run, called ``name``, and the one that copies it."""
        start = QPushButton(icon("play"), title, self)
        start.setAccessibleName(name)
        tip = "Copy the command that does the same in a terminal"
        copy = icon_button("terminal", tip, self, name="Copy as command")
        self.column.addLayout(field_row(start, copy))
        return start, copy


def lay_out_form(form: QWidget, sections: Iterable[QWidget], foot: RunFoot) -> None:
    """Put the sections into a column that scrolls, above a foot that does not."""
    scroll = PanelScroll(form)
    scroll.column.setContentsMargins(8, 4, 8, 8)
    for section in sections:
        scroll.column.addWidget(section)
    scroll.column.addStretch(1)
    in_column(form, (scroll, 1), foot, spacing_px=0)


def list_devices(combo: QComboBox, devices: Iterable[DeviceChoice]) -> None:
    """List the devices, "Automatic" first; no signal is sent."""
    refill(combo, [("Automatic", "auto"), *((one.title, one.name) for one in devices)])


def add_folders(combo: QComboBox, folders: Iterable[str], *, icon_name: str = "") -> None:
    """Add folders by name, each once, with their paths as tooltips."""
    for folder in dict.fromkeys(folder for folder in folders if folder.strip()):
        combo.addItem(Path(folder).name or folder, folder)
        combo.setItemData(combo.count() - 1, plain_tip(folder), Qt.ItemDataRole.ToolTipRole)
        if icon_name:
            combo.setItemIcon(combo.count() - 1, icon(icon_name))
