"""Results by what pairs are like: the bands of each property, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from descgui.views.panel_parts import bold, muted, tabular
from descgui.views.row_table import RowTable

if TYPE_CHECKING:
    from engine.api import Cell, Table

_COLUMN_PX: Final = 190


class SliceTable(RowTable["tuple[Cell, ...]"]):
    """The rows of one table of slices; a row of one cell is a heading."""

    def __init__(self, titles: Sequence[str], view: QWidget, parent: QObject | None = None) -> None:
        super().__init__(tuple(titles), left=1, parent=parent)
        self._view = view

    def cell(self, row: tuple[Cell, ...], column: int, role: int) -> Any:
        """See the base class."""
        heading = len(row) == 1
        if column >= len(row):
            return None
        one = row[column]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{one.text}  {one.detail}" if one.detail else one.text
        if role == Qt.ItemDataRole.FontRole and heading:
            return bold(self._view.font())
        if role == Qt.ItemDataRole.ForegroundRole and column == len(self._titles) - 1:
            return muted(self._view.palette())
        return None


class SlicesView(QTableView):
    """One table of slices."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Results by what pairs are like")
        self.setFont(tabular(self.font()))
        self.setShowGrid(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)

    def show_table(self, table: Table) -> None:
        """Show another table."""
        old = self.model()
        model = SliceTable([column.title for column in table.columns], self, self)
        model.show_rows(table.rows)
        self.setModel(model)
        if old is not None:
            old.deleteLater()
        self.clearSpans()
        for place, row in enumerate(table.rows):
            if len(row) == 1:
                self.setSpan(place, 0, 1, len(table.columns))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setDefaultSectionSize(_COLUMN_PX)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
