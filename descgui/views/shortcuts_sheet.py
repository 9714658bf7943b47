"""All shortcuts on one page, made from the commands themselves, so that it is never out of date."""

from __future__ import annotations

import itertools

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHeaderView,
    QLabel,
    QLineEdit,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from descgui.views.actions import Actions
from descgui.views.commands import MENU_TITLES, MENUS, shown_keys
from descgui.views.palette import paint_keys
from descgui.views.panel_parts import in_column
from descgui.views.theme import theme_colors

_ROW_PX = 28
_HEADING_PX = 38
_KEYS_ROLE = int(Qt.ItemDataRole.UserRole)
_Index = QModelIndex | QPersistentModelIndex


class _KeysDelegate(QStyledItemDelegate):
    """Draws headings, and the shortcuts of a command as key caps."""

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        height = _ROW_PX if index.parent().isValid() else _HEADING_PX
        return QSize(super().sizeHint(option, index).width(), height)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        """Draw one cell."""
        keys = index.data(_KEYS_ROLE)
        if not keys:
            super().paint(painter, option, index)
            return
        colors = theme_colors(option.palette)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(colors.selected))
        right = option.rect.right() - 8
        for number, shortcut in enumerate(reversed(keys)):
            if number:
                painter.setPen(QColor(colors.subtle))
                text = "or"
                width = painter.fontMetrics().horizontalAdvance(text)
                where = option.rect.adjusted(0, 0, 0, 0)
                where.setRight(right - 2)
                where.setLeft(right - 2 - width)
                painter.drawText(where, int(Qt.AlignmentFlag.AlignCenter), text)
                right -= width + 8
            right = paint_keys(painter, right, option.rect, shortcut, option.palette)


class ShortcutsSheet(QDialog):
    """A searchable list of all shortcuts, by menu, and of what the mouse does."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts")
        self.resize(560, 640)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search for a command or a key")
        self.search.setAccessibleName("Search for a command or a key")
        self.search.setClearButtonEnabled(True)
        self.tree = QTreeWidget()
        self.tree.setColumnCount(2)
        self.tree.setHeaderHidden(True)
        self.tree.setRootIsDecorated(False)
        self.tree.setItemsExpandable(False)
        self.tree.setIndentation(12)
        self.tree.setFrameShape(QFrame.Shape.StyledPanel)
        self.tree.setItemDelegate(_KeysDelegate(self.tree))
        self.tree.setAccessibleName("Shortcuts")
        self.tree.header().setStretchLastSection(False)
        self.tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.tree.header().setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        self.tree.header().resizeSection(1, 236)
        self.empty = QLabel("No command or key has this name.")
        self.empty.setProperty("subtle", True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.hide()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        in_column(
            self,
            self.search,
            (self.tree, 1),
            (self.empty, 1),
            buttons,
            margins_px=(12, 12, 12, 12),
            spacing_px=8,
        )
        self._fill(actions)
        self.search.textChanged.connect(self._filter)

    def rows(self) -> list[tuple[str, str, str]]:
        """What is listed now: heading, command, shortcuts."""
        return [
            (heading.text(0), row.text(0), row.text(1))
            for heading in self._headings()
            for row in (heading.child(place) for place in range(heading.childCount()))
            if not row.isHidden()
        ]

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.search.setFocus()

    def _headings(self) -> list[QTreeWidgetItem]:
        root = self.tree.invisibleRootItem()
        return [root.child(place) for place in range(root.childCount())]

    def _fill(self, actions: Actions) -> None:
        for menu, sections in MENUS.items():
            rows = []
            for command in itertools.chain.from_iterable(sections):
                shortcuts = shown_keys(command.keys)
                if shortcuts:
                    text = actions[command.id].text().replace("&", "").removesuffix("…")
                    rows.append((text, command.tip, shortcuts))
            self._add_group(MENU_TITLES[menu].replace("&", ""), rows)
        self._add_group(
            "Over an image",
            [
                ("Move the query or the selected pin by a pixel", "", ["Arrow keys"]),
                ("Move it by ten pixels", "", ["Shift+Arrow keys"]),
                ("Pin the query", "", ["Enter"]),
                ("Deselect the pin", "", ["Esc"]),
            ],
        )
        self._add_group(
            "Mouse",
            [
                ("Find the match of a point", "", ["Move over an image"]),
                ("Ask by the mean descriptor of a box", "", ["Shift+Drag"]),
                ("Copy a point or its values, and more", "", ["Right click"]),
                ("Pin a point", "", ["Click"]),
                ("Zoom about the pointer", "", ["Wheel"]),
                ("Open images or a folder", "", ["Drop"]),
            ],
        )
        self.tree.expandAll()

    def _add_group(self, title: str, rows: list[tuple[str, str, list[str]]]) -> None:
        heading = QTreeWidgetItem(self.tree, [title])
        heading.setFlags(Qt.ItemFlag.ItemIsEnabled)
        font = heading.font(0)
        font.setBold(True)
        heading.setFont(0, font)
        for text, tip, shortcuts in rows:
            row = QTreeWidgetItem(heading, [text, "  ".join(shortcuts)])
            row.setToolTip(0, tip)
            row.setData(1, _KEYS_ROLE, shortcuts)

    def _filter(self, typed: str) -> None:
        wanted = typed.casefold().split()
        for heading in self._headings():
            seen = 0
            for place in range(heading.childCount()):
                row = heading.child(place)
                text = f"{heading.text(0)} {row.text(0)} {row.text(1)}".casefold()
                row.setHidden(not all(word in text for word in wanted))
                seen += not row.isHidden()
            heading.setHidden(seen == 0)
        found = bool(self.rows())
        self.tree.setVisible(found)
        self.empty.setVisible(not found)
