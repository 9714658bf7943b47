"""What the panels of long runs have in common: new and past runs to the left, results beside."""

from __future__ import annotations

from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from descgui.views.panel_parts import SegmentButton, segment_row

LEFT_PX = 276


class RunsColumn(QWidget):
    """The left of a panel: the form for a new run, and the list of the past ones, as two tabs.

    Attributes:
        new_tab: shows the form.
        past_tab: shows the list.
    """

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
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(row)
        layout.addWidget(stack, 1)

    def show_count(self, count: int) -> None:
        """Say in the tab how many past runs there are."""
        self.past_tab.setText(f"{self._past} ({count})" if count else self._past)


def lay_out_panel(panel: QWidget, left: RunsColumn, right: QWidget) -> None:
    """Put both sides into a panel, with a line between them."""
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
