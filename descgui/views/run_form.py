"""What the forms share in which a long run is put together: their frame and their lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QFrame, QPushButton, QToolButton, QVBoxLayout, QWidget

from descgui.models.engine_state import DeviceChoice
from descgui.views.icons import icon
from descgui.views.panel_parts import PanelScroll, field_row, icon_button

_TOOLTIP = Qt.ItemDataRole.ToolTipRole


class RunFoot(QWidget):
    """The foot of a form below its line: what is in the way, a button to start, one to copy.

    Attributes:
        column: where rows go; the buttons come last.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        line = QFrame(self)
        line.setProperty("line", True)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(8, 0, 8, 8)
        self.column.setSpacing(4)
        self.column.addWidget(line)

    def add_buttons(self, title: str, *, name: str) -> tuple[QPushButton, QToolButton]:
        """Add the button that starts the run, called ``name``, and the one that copies it."""
        start = QPushButton(icon("play"), title, self)
        start.setAccessibleName(name)
        copy = icon_button(
            "terminal",
            "Copy as command: the same from a terminal",
            self,
            name="Copy as command",
        )
        self.column.addLayout(field_row(start, copy))
        return start, copy


def lay_out_form(form: QWidget, sections: Iterable[QWidget], foot: RunFoot) -> None:
    """Put sections into a column that scrolls, and the foot below it where it is always seen."""
    scroll = PanelScroll(form)
    scroll.column.setContentsMargins(8, 4, 8, 8)
    for section in sections:
        scroll.column.addWidget(section)
    scroll.column.addStretch(1)
    layout = QVBoxLayout(form)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addWidget(scroll, 1)
    layout.addWidget(foot)


def list_devices(combo: QComboBox, devices: Iterable[DeviceChoice]) -> None:
    """List what can compute, first of all the best there is; no signal is sent."""
    with QSignalBlocker(combo):
        combo.clear()
        combo.addItem("Best there is", "auto")
        for device in devices:
            combo.addItem(device.title, device.name)


def add_folders(combo: QComboBox, folders: Iterable[str], *, icon_name: str = "") -> None:
    """Add folders by their names, each once; where they are stands in their tooltips."""
    for folder in dict.fromkeys(folders):
        title = Path(folder).name or folder
        if icon_name:
            combo.addItem(icon(icon_name), title, folder)
        else:
            combo.addItem(title, folder)
        combo.setItemData(combo.count() - 1, folder, _TOOLTIP)
