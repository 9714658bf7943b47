"""What the panels of evaluations and trainings share: the form's frame, tabs, and lists of runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QComboBox,
    QFrame,
    QHBoxLayout,
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
    column,
    field_row,
    icon_button,
    muted,
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


def row_size(option: QStyleOptionViewItem) -> QSize:
    """The size of two lines with a margin."""
    return QSize(120, 2 * option.fontMetrics.height() + 8)


def paint_ground(painter: QPainter, option: QStyleOptionViewItem) -> None:
    """Fill the background of a selected row, or of one under the cursor."""
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
    """Draw both lines of a row, and a frame if it has the keyboard focus.

    Args:
        painter: of the list.
        option: position and state of the row.
        index: the row.
        left_px: margin to the left of both lines.
        right_px: margin to the right of the first line.
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
    item.setData(SECOND_ROLE, second)
    item.setToolTip(run.problem or f"{about}\n{run.folder}")
    item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{title}, {second}")
    return item


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
        column(self, row, stack, fill=stack, spacing_px=0)

    def show_count(self, count: int) -> None:
        """Show the number of past runs in the tab."""
        self.past_tab.setText(f"{self._past} ({count})" if count else self._past)


def lay_out_panel(panel: QWidget, left: RunsColumn, right: QWidget) -> None:
    """Lay out both sides of a panel, with a line between them."""
    line = QFrame(panel)
    line.setFixedWidth(1)
    line.setProperty("line", True)
    line.setStyleSheet("max-height: 16777215px;")
    layout = QHBoxLayout(panel)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addWidget(left)
    layout.addWidget(line)
    layout.addWidget(right, 1)


class RunFoot(QWidget):
    """The foot of a form: notes, a button that starts the run, and one that copies its command.

    Attributes:
        column: the rows; the buttons come last.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        line = QFrame(self)
        line.setProperty("line", True)
        self.column = column(self, line, margins_px=(8, 0, 8, 8), spacing_px=4)

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
    column(form, scroll, foot, fill=scroll, spacing_px=0)


def list_devices(combo: QComboBox, devices: Iterable[DeviceChoice]) -> None:
    """List the devices, "Automatic" first; no signal is sent."""
    refill(combo, [("Automatic", "auto"), *((one.title, one.name) for one in devices)])


def add_folders(combo: QComboBox, folders: Iterable[str], *, icon_name: str = "") -> None:
    """Add folders by name, each once, with their paths as tooltips."""
    for folder in dict.fromkeys(folders):
        combo.addItem(Path(folder).name or folder, folder)
        combo.setItemData(combo.count() - 1, folder, Qt.ItemDataRole.ToolTipRole)
        if icon_name:
            combo.setItemIcon(combo.count() - 1, icon(icon_name))
