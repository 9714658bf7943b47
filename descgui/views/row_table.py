"""The one table model: rows of values under titled columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

Row = TypeVar("Row")
Index = QModelIndex | QPersistentModelIndex

_NO_INDEX = QModelIndex()
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class RowTable(QAbstractTableModel, Generic[Row]):
    """Rows of any kind; a subclass says what stands in a cell.

    Args:
        titles: of the columns.
        left: how many columns, from the first, are aligned left; numbers are aligned right.

    Attributes:
        rows: what is shown.
    """

    def __init__(
        self, titles: tuple[str, ...], *, left: int = 0, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self._titles = titles
        self._left = left

    def cell(self, row: Row, column: int, role: int) -> Any:
        """What a cell says in a role, None for nothing of its own."""
        raise NotImplementedError

    def show_rows(self, rows: Iterable[Row], *, same: bool = False) -> None:
        """Show other rows; ``same``: only their contents changed, not what they stand for."""
        if same:
            self.rows = list(rows)
            self.refresh()
        else:
            self.beginResetModel()
            self.rows = list(rows)
            self.endResetModel()

    def append(self, row: Row) -> None:
        """Add a row at the end."""
        place = len(self.rows)
        self.beginInsertRows(QModelIndex(), place, place)
        self.rows.append(row)
        self.endInsertRows()

    def remove(self, place: int) -> None:
        """Remove a row."""
        self.beginRemoveRows(QModelIndex(), place, place)
        del self.rows[place]
        self.endRemoveRows()

    def refresh(self) -> None:
        """Draw all cells again."""
        if self.rows:
            last = self.index(len(self.rows) - 1, len(self._titles) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def rowCount(self, parent: Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._titles)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(index.column())
        return self.cell(self.rows[index.row()], index.column(), role)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(section)
        return self._titles[section] if role == Qt.ItemDataRole.DisplayRole else None

    def _alignment(self, column: int) -> Qt.AlignmentFlag:
        return LEFT if column < self._left else RIGHT
