"""The command palette: every command that can be used now, found by a few letters of its name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import (
    QAction,
    QColor,
    QIcon,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPalette,
    QStandardItem,
    QStandardItemModel,
)
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QLabel,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from descgui.views.actions import Actions
from descgui.views.commands import MENU_TITLES, MENUS, SUBMENU_TITLES
from descgui.views.fuzzy import fuzzy_match, paint_matched
from descgui.views.list_keys import key_of, rows_of
from descgui.views.panel_parts import in_column
from descgui.views.theme import theme_colors

_ENTRY_ROLE = int(Qt.ItemDataRole.UserRole)
_WIDTH_PX = 560
_ROW_PX = 34
_ROWS = 10
_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, slots=True)
class PaletteEntry:
    """A command as the palette lists it."""

    action: QAction
    title: str
    menu: str
    shortcut: str
    places: tuple[int, ...] = ()


def paint_keys(painter: QPainter, right: int, rect: QRect, keys: str, colors: QPalette) -> int:
    """Draw a shortcut as key caps that end at ``right``; gives the x at which they begin."""
    theme = theme_colors(colors)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    metrics = painter.fontMetrics()
    height = metrics.height() + 4
    left = right
    for key in reversed(split_keys(keys)):
        width = max(metrics.horizontalAdvance(key) + 10, height)
        cap = QRect(left - width, rect.center().y() - height // 2 + 1, width, height)
        painter.setPen(QColor(theme.line))
        painter.setBrush(QColor(theme.window))
        painter.drawRoundedRect(cap, 4, 4)
        painter.setPen(QColor(theme.subtle))
        painter.drawText(cap, int(Qt.AlignmentFlag.AlignCenter), key)
        left -= width + 4
    painter.restore()
    return left


def split_keys(keys: str) -> list[str]:
    """``Ctrl++`` as ``Ctrl`` and ``+``."""
    if not keys:
        return []
    if keys.endswith("++"):
        return [*keys[:-2].split("+"), "+"]
    return [keys] if keys == "+" else keys.split("+")


class _EntryDelegate(QStyledItemDelegate):
    """Draws icon, title with the met letters in bold, menu, and key caps."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: _Index) -> QSize:
        return QSize(option.rect.width(), _ROW_PX)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        """Draw one entry."""
        entry: PaletteEntry = index.data(_ENTRY_ROLE)
        colors = theme_colors(option.palette)
        rect = option.rect.adjusted(4, 1, -4, -1)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colors.selected))
            painter.drawRoundedRect(rect, 5, 5)
        picture = QRect(rect.left() + 8, rect.center().y() - 7, 16, 16)
        if entry.action.isCheckable() and entry.action.isChecked():
            painter.setPen(QColor(colors.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(picture.adjusted(-3, -3, 3, 3), 4, 4)
        entry.action.icon().paint(painter, picture, Qt.AlignmentFlag.AlignCenter, QIcon.Mode.Normal)
        left = paint_keys(painter, rect.right() - 8, rect, entry.shortcut, option.palette)
        room = rect.adjusted(34, 0, left - rect.right(), 0)
        x = paint_matched(painter, room, entry.title, entry.places, option.font)
        painter.setFont(option.font)
        painter.setPen(QColor(colors.subtle))
        room = QRect(x + 10, rect.top(), left - x - 14, rect.height())
        menu = painter.fontMetrics().elidedText(
            entry.menu, Qt.TextElideMode.ElideRight, room.width()
        )
        painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), menu)
        painter.restore()


class CommandPalette(QDialog):
    """A list of commands under a field to type in; Enter runs the chosen one.

    It lives as long as its window; :meth:`pop_up` refills it.
    """

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._actions = actions
        self._window = parent
        self._entries: list[PaletteEntry] = []
        self.setObjectName("command_palette")
        self.setWindowTitle("Command palette")
        self.setAccessibleName("Command palette")
        self.field = QLineEdit()
        self.field.setPlaceholderText("Type the name of a command")
        self.field.setAccessibleName("Name of a command")
        self.field.setMinimumHeight(32)
        self.field.installEventFilter(self)
        self.items = QStandardItemModel(self)
        self.list = QListView()
        self.list.setModel(self.items)
        self.list.setItemDelegate(_EntryDelegate(self.list))
        self.list.setFrameShape(QFrame.Shape.NoFrame)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName("Commands that can be used now")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.empty = QLabel("No command that can be used now has this name.")
        self.empty.setProperty("subtle", True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setMinimumHeight(2 * _ROW_PX)
        in_column(self, self.field, self.list, self.empty, margins_px=(8, 8, 8, 8), spacing_px=8)
        self.field.textChanged.connect(self._list)
        self.list.clicked.connect(self._run)
        actions.recents.refilled.connect(self._on_recents)

    def pop_up(self) -> None:
        """Show over the top of the window, with nothing typed."""
        self._entries = self._collect()
        self.field.clear()
        self._list("")
        room = self._window.rect()
        self.setFixedWidth(min(_WIDTH_PX, room.width() - 32))
        top = self._window.mapToGlobal(room.topLeft())
        self.move(top.x() + (room.width() - self.width()) // 2, top.y() + 64)
        self.show()
        self.field.setFocus()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Move through the list and run from the field that is typed in."""
        key = key_of(event)
        if key is None:
            return False
        if key.type() == QEvent.Type.ShortcutOverride:
            # The window's own Esc and letters must not act while the palette is up.
            key.accept()
            return True
        rows = rows_of(key, page_rows=_ROWS - 1)
        if rows:
            self._step(rows, wrap=abs(rows) == 1)
        elif key.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._run(self.list.currentIndex())
        else:
            return False
        return True

    def titles(self) -> list[str]:
        """What is listed now, the best first."""
        return [
            self.items.index(row, 0).data(_ENTRY_ROLE).title for row in range(self.items.rowCount())
        ]

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw a thin outline: pop-ups have none of their own."""
        painter = QPainter(self)
        colors = theme_colors(self.palette())
        painter.setPen(QColor(colors.line))
        painter.setBrush(QColor(colors.base))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def _collect(self) -> list[PaletteEntry]:
        entries = []
        for menu, sections in MENUS.items():
            for command in itertools.chain.from_iterable(sections):
                action = self._actions[command.id]
                if not action.isEnabled() or command.id == "palette":
                    continue
                title = _plain(action.text())
                if command.submenu:
                    title = f"{_plain(SUBMENU_TITLES[command.submenu])}: {title}"
                elif command.group == "mode":
                    title = f"Show: {title}"
                elif command.id.startswith("dock_"):
                    title = f"Panel: {title}"
                elif command.group == "workspace":
                    title = f"Workspace: {title}"
                entries.append(
                    PaletteEntry(action, title, _plain(MENU_TITLES[menu]), _shortcut(action))
                )
        for action in self._actions.recents.actions():
            label = _plain(action.text().partition(" ")[2] or action.text())
            title = f"Open again: {label}"
            entries.append(PaletteEntry(action, title, "Recent", ""))
        return entries

    def _on_recents(self) -> None:
        """A pair that has just been opened changes the recent ones under an open palette."""
        if self.isVisible():
            self._entries = self._collect()
            self._list(self.field.text())

    def _list(self, typed: str) -> None:
        found = []
        for number, entry in enumerate(self._entries):
            match = fuzzy_match(typed, entry.title)
            if match is not None:
                found.append((-match.score if typed.strip() else 0, number, match.places, entry))
        found.sort(key=lambda item: item[:2])
        self.items.clear()
        for _score, _number, places, entry in found:
            item = QStandardItem(entry.title)
            shown = PaletteEntry(entry.action, entry.title, entry.menu, entry.shortcut, places)
            item.setData(shown, _ENTRY_ROLE)
            spoken = ", ".join(part for part in (entry.title, entry.menu, entry.shortcut) if part)
            item.setData(spoken, Qt.ItemDataRole.AccessibleTextRole)
            self.items.appendRow(item)
        self.list.setVisible(bool(found))
        self.empty.setVisible(not found)
        self.list.setFixedHeight(_ROW_PX * min(max(len(found), 1), _ROWS) + 2)
        self.adjustSize()
        if found:
            self.list.setCurrentIndex(self.items.index(0, 0))

    def _step(self, rows: int, *, wrap: bool) -> None:
        count = self.items.rowCount()
        if count == 0:
            return
        row = self.list.currentIndex().row() + rows
        row = row % count if wrap else min(max(row, 0), count - 1)
        self.list.setCurrentIndex(self.items.index(row, 0))

    def _run(self, index: QModelIndex) -> None:
        if not index.isValid():
            return
        entry: PaletteEntry = index.data(_ENTRY_ROLE)
        self.close()
        entry.action.trigger()


def _plain(text: str) -> str:
    return text.replace("&&", "\0").replace("&", "").replace("\0", "&").removesuffix("…")


def _shortcut(action: QAction) -> str:
    return action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
