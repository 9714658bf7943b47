"""The log: every message of the program, to filter, search and copy."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QSize,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QIcon,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QSplitter,
    QTableView,
    QWidget,
)

from descgui.desktop import open_on_desktop
from descgui.models.messages import KEPT_MESSAGES, Level, Message, MessagesModel
from descgui.views.icons import icon_pixmap
from descgui.views.panel_parts import icon_button, in_column, in_row, plain_tip
from descgui.views.row_table import Index, RowTable
from descgui.views.theme import theme_colors

_LEVELS: tuple[Level, ...] = ("info", "warning", "error")
_LEVEL_TITLES = ("All messages", "Warnings and errors", "Errors")
_ROOM_FOR_DETAIL_PX = 760
MESSAGE_ROLE = int(Qt.ItemDataRole.UserRole)


class LogModel(RowTable[Message]):
    """The messages as a table: time, level, topic, text."""

    def __init__(self, messages: MessagesModel, parent: QWidget | None = None) -> None:
        super().__init__(("Time", "Level", "Topic", "Message"), left=4, parent=parent)
        self.rows = list(messages.messages)
        messages.logged.connect(self._on_logged)

    def cell(self, row: Message, column: int, role: int) -> Any:
        if role == MESSAGE_ROLE:
            return row
        if role == Qt.ItemDataRole.DisplayRole:
            return (
                time.strftime("%H:%M:%S", time.localtime(row.time_s)),
                {"info": "Information", "warning": "Warning", "error": "Error"}[row.level],
                row.topic,
                " ".join(row.text.split()),
            )[column]
        if role == Qt.ItemDataRole.DecorationRole and column == 1:
            return _level_icon(row.level, getattr(theme_colors(), row.level))
        return plain_tip(row.text) if role == Qt.ItemDataRole.ToolTipRole else None

    def _on_logged(self, message: Message) -> None:
        if len(self.rows) >= KEPT_MESSAGES:
            self.remove(0)
        self.append(message)


@cache
def _level_icon(level: Level, color: str) -> QIcon:
    made = QIcon()
    for size_px in (16, 32):
        picture = icon_pixmap(level, QSize(size_px, size_px), QColor(color))
        made.addPixmap(picture)
        made.addPixmap(picture, QIcon.Mode.Selected)
    return made


class LogFilter(QSortFilterProxyModel):
    """Shows messages of at least one level that contain a text."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._least = 0
        self._search = ""

    def set_filter(self, *, least: Level, search: str) -> None:
        """Change what passes."""
        self._least = _LEVELS.index(least)
        self._search = search.casefold()
        self.invalidate()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        message = self.sourceModel().index(source_row, 0, source_parent).data(MESSAGE_ROLE)
        text = f"{message.topic}\n{message.text}\n{message.detail}".casefold()
        return _LEVELS.index(message.level) >= self._least and self._search in text


class _LogTable(QTableView):
    """A table in which Copy copies whole messages; :class:`KeyGuard` leaves it the key.

    Signals:
        copy_asked(): Copy was pressed.
    """

    copy_asked = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_asked.emit()
        else:
            super().keyPressEvent(event)


class LogPanel(QWidget):
    """The content of the log panel.

    Args:
        messages: the messages so far, and new ones.
        log_dir: folder of the log files.
    """

    def __init__(
        self, messages: MessagesModel, log_dir: Path, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._messages, self._log_dir = messages, log_dir
        self.model = LogModel(messages, self)
        self.filter = LogFilter(self)
        self.filter.setSourceModel(self.model)
        self.level = QComboBox()
        self.level.setAccessibleName("Lowest level shown")
        for level, text in zip(_LEVELS, _LEVEL_TITLES, strict=True):
            self.level.addItem(text, level)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search the log")
        self.search.setAccessibleName("Search the log")
        self.search.setClearButtonEnabled(True)
        self.count = QLabel()
        self.count.setProperty("subtle", True)
        self.table = self._make_table()
        self.detail = QPlainTextEdit()
        self.detail.setReadOnly(True)
        self.detail.setAccessibleName("The whole message")
        self._lay_out()
        self.level.currentIndexChanged.connect(self._on_filter)
        self.search.textChanged.connect(self._on_filter)
        self.table.selectionModel().selectionChanged.connect(self._show_detail)
        self.filter.rowsInserted.connect(self._on_rows)
        self.filter.rowsRemoved.connect(self._on_rows)
        self.table.scrollToBottom()
        self._show_count()
        self._show_detail()

    def copy(self) -> None:
        """Copy the selected messages, or all that are shown if none is selected."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        chosen = rows or range(self.filter.rowCount())
        messages = [self.filter.index(row, 0).data(MESSAGE_ROLE) for row in chosen]
        QGuiApplication.clipboard().setText("\n".join(_as_line(message) for message in messages))

    def open_folder(self) -> None:
        """Show the folder of the log files in the file manager."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        open_on_desktop(self._log_dir, self._messages)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave the width of a narrow panel to the table."""
        super().resizeEvent(event)
        self._show_detail()

    def _make_table(self) -> QTableView:
        table = _LogTable()
        table.setModel(self.filter)
        table.copy_asked.connect(self.copy)
        table.setAccessibleName("Messages")
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.setIconSize(QSize(16, 16))
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 8)
        header = table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setStretchLastSection(True)
        width = table.fontMetrics().horizontalAdvance
        for column, sample in enumerate(("00:00:00", "Information", "descriptors.base")):
            table.setColumnWidth(column, width(sample) + (40 if column == 1 else 20))
        return table

    def _lay_out(self) -> None:
        copy = icon_button("copy", "Copy the selected messages, or all", self, flat=True)
        copy.clicked.connect(self.copy)
        folder = icon_button("folder", "Open the log files' folder", self, flat=True)
        folder.clicked.connect(self.open_folder)
        parts = (self.level, (self.search, 1), self.count, copy, folder)
        bar = in_row(None, *parts, margins_px=(8, 6, 8, 0), spacing_px=8)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.table)
        split.addWidget(self.detail)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setChildrenCollapsible(False)
        in_column(self, bar, (split, 1))

    def _on_filter(self) -> None:
        self.filter.set_filter(least=self.level.currentData(), search=self.search.text())
        self._show_count()

    def _on_rows(self) -> None:
        self._show_count()
        bar = self.table.verticalScrollBar()
        if bar.value() >= bar.maximum() - 1:
            self.table.scrollToBottom()

    def _show_count(self) -> None:
        shown, total = self.filter.rowCount(), self.model.rowCount()
        self.count.setText(str(total) if shown == total else f"{shown} of {total}")

    def _show_detail(self) -> None:
        rows = self.table.selectionModel().selectedRows()
        self.detail.setVisible(len(rows) == 1 and self.width() >= _ROOM_FOR_DETAIL_PX)
        if len(rows) == 1:
            message = rows[0].data(MESSAGE_ROLE)
            self.detail.setPlainText("\n\n".join(filter(None, (message.text, message.detail))))


def _as_line(message: Message) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message.time_s))
    detail = f"\n{message.detail}" if message.detail else ""
    return f"{when}\t{message.level}\t{message.topic}\t{message.text}{detail}"
