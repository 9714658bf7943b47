"""Lines that open a pair: made when they come into view, so that there may be thousands of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QAbstractTableModel, QEvent, QModelIndex, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from descgui.views.panel_parts import plain_tip, tabular
from descgui.views.row_table import LEFT, RIGHT, Index

SCORE_ROLE: Final = int(Qt.ItemDataRole.UserRole)
_NO_INDEX: Final = QModelIndex()
_WORDS: Final = 2
_SPACING_PX: Final = 6


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list.

    Attributes:
        texts: by column; the first two name the line.
        pair: group and number of the pair that it opens, and label.
        tip: its tooltip.
        score: what its bar shows.
    """

    texts: tuple[str, ...]
    pair: tuple[str, int, str]
    tip: str
    score: object = None


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that are not yet made.

    Attributes:
        ids: what each line stands for, in order.
        make: makes the line at a place.
        keys: what the lines are sorted by, for a column: an array, or a list of the same length.
    """

    ids: Sequence[Hashable] = ()
    make: Callable[[int], Line] = lambda _place: Line((), ("", 0, ""), "")
    keys: Callable[[int], NDArray[Any] | Sequence[Any]] = lambda _column: ()


class LineModel(QAbstractTableModel):
    """Shows lines, sorted by a column or as they come."""

    def __init__(self, titles: Sequence[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._titles = list(titles)
        self._lines = Lines()
        self._made: dict[int, Line] = {}
        self._order: list[int] = []
        self._sorting: tuple[int, bool] | None = None

    def show_lines(self, lines: Lines) -> None:
        """Show other lines, in the order that was chosen."""
        self.beginResetModel()
        self._lines, self._made = lines, {}
        self._order = self._sorted()
        self.endResetModel()

    def set_title(self, column: int, text: str) -> None:
        """Call a column otherwise."""
        if self._titles[column] != text:
            self._titles[column] = text
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, column, column)

    def title(self, column: int) -> str:
        """What a column is called."""
        return self._titles[column]

    def line_at(self, row: int) -> Line:
        """The line of a row."""
        place = self._order[row]
        if place not in self._made:
            self._made[place] = self._lines.make(place)
        return self._made[place]

    def id_at(self, row: int) -> Hashable:
        """What the line of a row stands for."""
        return self._lines.ids[self._order[row]]

    def row_of(self, wanted: Hashable) -> int:
        """The row of what a line stands for; -1 for none."""
        ids = self._lines.ids
        place = next((place for place, one in enumerate(ids) if one == wanted), -1)
        return -1 if place < 0 else self._order.index(place)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self._sorting = column, order == Qt.SortOrder.DescendingOrder
        self.layoutAboutToBeChanged.emit()
        kept = self.persistentIndexList()
        places = [self._order[one.row()] for one in kept]
        self._order = self._sorted()
        rows = {place: row for row, place in enumerate(self._order)} if kept else {}
        moved = [
            self.index(rows[place], one.column()) for place, one in zip(places, kept, strict=True)
        ]
        self.changePersistentIndexList(kept, moved)
        self.layoutChanged.emit()

    def index(self, row: int, column: int, _parent: Index = _NO_INDEX) -> QModelIndex:
        """Unchecked: the view asks for each of thousands of rows."""
        return self.createIndex(row, column)

    def rowCount(self, parent: Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._order)

    def columnCount(self, parent: Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._titles)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return LEFT if index.column() < _WORDS else RIGHT
        if role == Qt.ItemDataRole.DisplayRole:
            return self.line_at(index.row()).texts[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self.line_at(index.row()).tip)
        if role == SCORE_ROLE and index.column() == 0:
            return self.line_at(index.row()).score
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        shown = role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal
        return self._titles[section] if shown else None

    def _sorted(self) -> list[int]:
        count = len(self._lines.ids)
        if self._sorting is None:
            return list(range(count))
        column, reverse = self._sorting
        keys = self._lines.keys(column)
        if isinstance(keys, np.ndarray):
            order: list[int] = np.argsort(-keys if reverse else keys, kind="stable").tolist()
            return order
        return sorted(range(count), key=keys.__getitem__, reverse=reverse)


class PairLines(QTableView):
    """A list of such lines; a click or Enter opens the pair.

    Signals:
        pair_chosen(str, int, str): sequence, number of the second image, label of the descriptor.
    """

    pair_chosen = Signal(str, int, str)

    def __init__(self, parent: QWidget | None, *, name: str, titles: Sequence[str]) -> None:
        super().__init__(parent)
        self.lines = LineModel(titles, self)
        self.setModel(self.lines)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setAccessibleName(name)
        self.setFont(tabular(self.font()))
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header, rows = self.horizontalHeader(), self.verticalHeader()
        header.setDefaultAlignment(LEFT)
        header.setHighlightSections(False)
        for one in (header, rows):
            one.setResizeContentsPrecision(0)  # widths fit the visible lines
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._fit_rows()
        self.clicked.connect(self._choose)

    def show_lines(self, lines: Lines) -> None:
        """Show other lines; the selected one stays, and so does the scroll position."""
        current, top = self.currentIndex(), self.verticalScrollBar().value()
        wanted = self.lines.id_at(current.row()) if current.isValid() else None
        self.lines.show_lines(lines)
        row = -1 if wanted is None else self.lines.row_of(wanted)
        if row >= 0:
            self.setCurrentIndex(self.lines.index(row, 0))
            self.verticalScrollBar().setValue(top)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit_rows()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        ends = {Qt.Key.Key_Home: 0, Qt.Key.Key_End: self.lines.rowCount() - 1}
        row = ends.get(Qt.Key(event.key()), -1)
        if row >= 0:  # a table would go to the ends of the line
            self.setCurrentIndex(self.lines.index(row, 0))
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._choose(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _fit_rows(self) -> None:
        """Make all rows as high as a line of text."""
        height_px = self.fontMetrics().height() + _SPACING_PX
        self.verticalHeader().setMinimumSectionSize(height_px)
        self.verticalHeader().setDefaultSectionSize(height_px)

    def _choose(self, index: Index) -> None:
        self.pair_chosen.emit(*self.lines.line_at(index.row()).pair)
