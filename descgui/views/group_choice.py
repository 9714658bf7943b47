"""Which groups of a set are measured: a field, and the names with boxes to tick below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QWidget,
)

from descgui.views.panel_parts import Popup, Sentence, in_column, in_row, let_shrink, plain_tip

_WIDTH_PX: Final = 280
_ROW_PX: Final = 24
_ROWS: Final = 12
_TOLD: Final = 20  # names in the tooltip


class GroupChoice(QComboBox):
    """Says how many groups are measured, and opens the list of them.

    Signals:
        chosen(tuple[str, ...]): the user ticked these; empty for all.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Sequences, scenes or classes")
        let_shrink(self)
        self._names: tuple[str, ...] = ()
        self._ticked: tuple[str, ...] = ()
        self.popup = _GroupList(self)
        self.popup.changed.connect(self.chosen)
        self.show_choice((), ())

    def show_choice(self, names: Sequence[str], ticked: Sequence[str]) -> None:
        """Show what there is and what is ticked.

        Args:
            names: all groups; empty while they are not known.
            ticked: those that are measured; empty for all.
        """
        self._names, self._ticked = tuple(names), tuple(ticked)
        many = f"{len(self._names)} " if names else ""
        if not ticked:
            words = f"All {many}groups" if len(names) != 1 else "One group"
        elif len(ticked) == 1:
            words = ticked[0]
        else:
            words = f"{len(ticked)} of {many}groups" if names else f"{len(ticked)} groups"
        self.clear()
        self.addItem(words)
        told = ", ".join(ticked[:_TOLD]) + (", …" if len(ticked) > _TOLD else "")
        tip = told or "Choose sequences, scenes or classes"
        self.setToolTip(plain_tip(tip if names else f"{tip}: listed once the set is read"))
        self.setEnabled(len(names) > 1 or bool(ticked))
        if self.popup.isVisible():
            self.popup.show_ticks(self._ticked)

    def showPopup(self) -> None:
        """Open the list."""
        self.popup.fill(self._names or self._ticked, self._ticked)
        self.popup.setFixedWidth(max(_WIDTH_PX, self.width()))
        self.popup.adjustSize()
        corner = self.mapToGlobal(self.rect().bottomLeft())
        bottom = self.screen().availableGeometry().bottom()
        if corner.y() + self.popup.height() > bottom:
            corner = self.mapToGlobal(QPoint(0, -self.popup.height()))
        self.popup.move(corner)
        self.popup.show()
        self.popup.search.setFocus()


class _GroupList(Popup):
    """The names of the groups; it closes by a click elsewhere.

    Signals:
        changed(tuple[str, ...]): the user ticked these, in the order of the set; empty for all.
    """

    changed = Signal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName("Groups of the set")
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search groups")
        self.search.textChanged.connect(self._filter)
        self.list = QListWidget(self)
        self.list.setAccessibleName("Groups")
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setUniformItemSizes(True)
        self.list.itemChanged.connect(self._tell)
        self.hint = Sentence("Tick at least one.", self, quiet=True)
        self.tick_button = QPushButton("&Tick all", self)
        self.tick_button.setToolTip("Tick all groups in this list")
        self.tick_button.clicked.connect(lambda: self._set_shown(Qt.CheckState.Checked))
        self.clear_button = QPushButton("&Untick all", self)
        self.clear_button.setToolTip("Untick all groups in this list")
        self.clear_button.clicked.connect(lambda: self._set_shown(Qt.CheckState.Unchecked))
        buttons = in_row(None, self.tick_button, self.clear_button, 1)
        in_column(
            self, self.search, self.list, self.hint, buttons, margins_px=(8, 8, 8, 8), spacing_px=6
        )

    @property
    def ticked(self) -> tuple[str, ...]:
        """What is ticked, in the order of the set."""
        return tuple(
            item.text() for item in self._items() if item.checkState() == Qt.CheckState.Checked
        )

    def fill(self, names: Sequence[str], ticked: Sequence[str]) -> None:
        """List all groups anew."""
        self.list.blockSignals(True)
        self.list.clear()
        for name in names:
            item = QListWidgetItem(name, self.list)
            item.setToolTip(plain_tip(name))
            item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled)
            item.setSizeHint(QSize(0, _ROW_PX))
        self.list.blockSignals(False)
        self.list.setFixedHeight(_ROW_PX * min(_ROWS, max(2, len(names))) + 4)
        self.search.setVisible(len(names) > _ROWS)
        self.search.clear()
        self._filter("")
        self.show_ticks(ticked)

    def show_ticks(self, ticked: Sequence[str]) -> None:
        """Show what is ticked, silently; nothing means all of them."""
        wanted = frozenset(ticked)
        self.list.blockSignals(True)
        for item in self._items():
            on = not wanted or item.text() in wanted
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.list.blockSignals(False)
        self.hint.hide()

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(row) for row in range(self.list.count())]

    def _filter(self, text: str) -> None:
        for item in self._items():
            item.setHidden(text.casefold() not in item.text().casefold())

    def _set_shown(self, state: Qt.CheckState) -> None:
        self.list.blockSignals(True)
        for item in self._items():
            if not item.isHidden():
                item.setCheckState(state)
        self.list.blockSignals(False)
        self._tell()

    def _tell(self, _item: object = None) -> None:
        ticked = self.ticked
        self.hint.setVisible(not ticked)
        if ticked:
            self.changed.emit(() if len(ticked) == self.list.count() else ticked)
