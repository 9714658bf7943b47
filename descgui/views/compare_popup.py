"""The descriptors side by side: added, removed and put in order where the Compare button stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from PySide6.QtCore import QPoint, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QWidget

from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.views.descriptor_list import DescriptorDelegate, fill, grouped, widen
from descgui.views.panel_parts import (
    Popup,
    Sentence,
    field_row,
    icon_button,
    in_column,
    narrow_combo,
)
from descgui.views.ports import Describing
from descgui.views.scene import descriptor_title
from engine.api import PRECOMPUTED

_NUMBER_ROLE: Final = int(Qt.ItemDataRole.UserRole)
_NETWORK: Final = "network…"
_WIDTH_PX: Final = 300
_ROW_PX: Final = 26


class ComparePopup(Popup):
    """A list of the shown descriptors, the first one on top; it closes by a click elsewhere.

    Signals:
        network_requested(MapsModel): a network is to be opened in this place.
    """

    network_requested = Signal(object)

    def __init__(self, models: AppModels, describing: Describing, parent: QWidget) -> None:
        super().__init__(parent)
        self._models = models
        self._describing = describing
        self._filling = False
        # Beside the list: a drag copies what its rows hold, which a choice does not allow.
        self._listed: dict[int, DescriptorChoice] = {}
        self.setAccessibleName("Compared descriptors")
        self.list = QListWidget(self)
        self.list.setAccessibleName("Descriptors, the first one on top")
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._dropped = QTimer(self, singleShot=True, interval=0)  # after the list is done with it
        self._dropped.timeout.connect(self._take_order)
        self.list.model().rowsMoved.connect(self._dropped.start)
        self.list.currentRowChanged.connect(self._show_buttons)
        self.hint = Sentence("Drag to change the order of the panes.", self, quiet=True)
        self.add = narrow_combo(self, name="Add a descriptor", chosen=self._on_add)
        self.add.setItemDelegate(DescriptorDelegate(self.add))
        self.remove_button = icon_button("remove", "Remove the selected descriptor", self)
        self.remove_button.clicked.connect(self._on_remove)
        delete = QShortcut(QKeySequence.StandardKey.Delete, self.list, self._on_remove)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        row = field_row(self.add, self.remove_button)
        in_column(self, self.list, self.hint, row, margins_px=(8, 8, 8, 8), spacing_px=6)
        for maps in models.descriptors:
            maps.choice_changed.connect(self._fill)
        models.engine.changed.connect(self._fill)
        self._fill()

    def pop_up(self, below: QWidget) -> None:
        """Appear below a button, within its window."""
        self._fill()
        self.adjustSize()
        corner = below.mapToGlobal(below.rect().bottomLeft())
        right = below.window().mapToGlobal(QPoint(below.window().width(), 0)).x()
        self.move(min(corner.x(), right - self.width() - 4), corner.y() + 2)
        self.show()
        self.list.setFocus()

    def sizeHint(self) -> QSize:
        return QSize(_WIDTH_PX, super().sizeHint().height())

    # Drawing the models

    def _fill(self, *_state: object) -> None:
        if self._filling:
            return
        self._filling = True
        models, row = self._models, self.list.currentRow()
        self.list.clear()
        self._listed = {number: models.descriptors[number].choice for number in models.numbers}
        for number in models.numbers:
            maps = models.descriptors[number]
            item = QListWidgetItem(descriptor_title(models, maps) or maps.choice.name)
            item.setToolTip(item.text())
            item.setSizeHint(QSize(0, _ROW_PX))
            item.setData(_NUMBER_ROLE, number)
            self.list.addItem(item)
        self.list.setCurrentRow(min(row, self.list.count() - 1))
        self.list.setFixedHeight(_ROW_PX * len(models.descriptors) + 4)
        self.add.clear()
        full = self._free is None
        self.add.addItem("No more than four" if full else "Add a descriptor…", "")
        state, times = models.engine.state, models.times
        # The files of precomputed maps are chosen elsewhere.
        offered = tuple(info for info in state.descriptors if info.name != PRECOMPUTED)
        fill(self.add, grouped(replace(state, descriptors=offered), times, _no_weights), times)
        if offered:
            self.add.insertSeparator(self.add.count())
        self.add.addItem("Another network…", _NETWORK)
        self.add.setEnabled(not full and state.stage == "ready")
        widen(self.add)
        self._filling = False
        self._show_buttons()

    def _show_buttons(self, *_row: object) -> None:
        several = self.list.count() > 1
        self.remove_button.setEnabled(several and self.list.currentRow() >= 0)
        self.hint.setVisible(several)

    @property
    def _free(self) -> MapsModel | None:
        return next((maps for maps in self._models.compared if not maps.choice.name), None)

    # What users do

    def _on_add(self, _index: int) -> None:
        name, free = str(self.add.currentData()), self._free
        if not name or free is None:
            return
        if name == _NETWORK:
            self.close()
            self.network_requested.emit(free)
        else:
            self._describing.choose(free, DescriptorChoice(name))

    def _on_remove(self) -> None:
        row = self.list.currentRow()
        if self.list.count() > 1 and row >= 0:
            choices = self._choices()
            del choices[row]
            self._choose(choices)

    def _take_order(self) -> None:
        self._choose(self._choices())

    def _choices(self) -> list[DescriptorChoice]:
        rows = (self.list.item(row) for row in range(self.list.count()))
        return [self._listed[row.data(_NUMBER_ROLE)] for row in rows]

    def _choose(self, choices: list[DescriptorChoice]) -> None:
        """Put the choices into the places of the panes; the places after them become free."""
        self._filling = True
        places = self._models.descriptors
        free = [DescriptorChoice()] * (len(places) - len(choices))
        for maps, choice in zip(places, (*choices, *free), strict=True):
            if maps.choice != choice:
                self._describing.choose(maps, choice)
        self._filling = False
        self._fill()


def _no_weights(_name: str) -> None:
    """A descriptor is added without a weights file of the user's."""
