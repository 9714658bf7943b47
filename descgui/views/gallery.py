"""Measured pairs as a grid of small pictures: a row for each pair, a column for each descriptor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QKeyEvent, QPainter, QPalette, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from descgui.models.gallery_state import (
    ListedPair,
    PairTable,
    PictureKind,
    WantedPicture,
    pair_values,
    title_of,
    values_of,
)
from descgui.views.panel_parts import blended, bold, muted, plain_tip, tabular
from descgui.views.row_table import Index
from descgui.views.thumbnails import PictureCache, Pictures, rows_in_view
from descgui.views.training_lines import number_text

if TYPE_CHECKING:
    from engine.api import MergedResults, Table

_NO_INDEX: Final = QModelIndex()
_PICTURE_ROLE: Final = int(Qt.ItemDataRole.UserRole)
_VALUE_ROLE: Final = _PICTURE_ROLE + 1
_KEPT_PICTURES: Final = 1024
_WIDTHS_PX: Final[dict[PictureKind, tuple[int, int]]] = {
    "matches": (200, 440),
    "errors": (120, 240),
}
_HEIGHTS: Final[dict[PictureKind, float]] = {"matches": 0.38, "errors": 0.72}
_STEP_PX: Final = 20
_MARGIN_PX: Final = 6
_NAME_PX: Final = 188


class PairPictures(Pictures[WantedPicture], Protocol):
    """Small pictures of measured pairs, their values, and their slices."""

    def tabulate(
        self, content: MergedResults, queries: str, show: Callable[[PairTable], object]
    ) -> None:
        """Collect the values of the pairs that were measured with a list of queries."""

    def slice(self, content: MergedResults, show: Callable[[Sequence[Table]], object]) -> None:
        """Measure the slices of results and show them, a table for each metric."""


class GalleryModel(QAbstractTableModel):
    """The listed pairs; the first column names them.

    Attributes:
        cache: of the pictures; the view says what is in view when one is missed.
    """

    def __init__(self, pictures: PairPictures, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._content: MergedResults | None = None
        self._labels: tuple[str, ...] = ()
        self._value = ""
        self._kind: PictureKind = "matches"
        self._right_px = 5.0
        self._size = QSize()
        self.set_room(0)
        self.cache = PictureCache(
            pictures,
            self,
            kept=_KEPT_PICTURES,
            accepts=lambda wanted: wanted.content is self._content,
        )
        self.cache.arrived.connect(self._draw_again)
        self.pairs: tuple[ListedPair, ...] = ()

    def show_pairs(
        self,
        content: MergedResults | None,
        pairs: Sequence[ListedPair],
        *,
        value: str,
        kind: PictureKind,
        right_px: float,
    ) -> None:
        """Show other pairs, or the same in another order or with other pictures.

        Args:
            content: the results they are of.
            pairs: in order.
            value: name of the value that stands below each picture.
            kind: of the pictures.
            right_px: a match this close to the truth is right.
        """
        self.beginResetModel()
        if content is not self._content:
            self.cache.clear()
        self._content, self.pairs = content, tuple(pairs)
        self._labels = content.labels if content is not None else ()
        self._value, self._kind, self._right_px = value, kind, right_px
        self.endResetModel()

    @property
    def picture_size(self) -> QSize:
        """Of each picture."""
        return self._size

    def set_room(self, width_px: int) -> None:
        """Let pictures be as wide as so many pixels, in steps, so that few are drawn again."""
        least, most = _WIDTHS_PX[self._kind]
        width = min(max(least, width_px // _STEP_PX * _STEP_PX), most)
        self._size = QSize(width, round(_HEIGHTS[self._kind] * width))

    def pair_at(self, index: Index) -> tuple[str, int, str] | None:
        """Sequence, number and label of a cell; the first label in the column of names."""
        if not index.isValid() or not self._labels:
            return None
        one = self.pairs[index.row()]
        label = self._labels[max(0, index.column() - 1)]
        return (*one.pair, label if label in one.rows else next(iter(one.rows)))

    def rowCount(self, parent: Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self.pairs)

    def columnCount(self, parent: Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else 1 + len(self._labels)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return "Pair" if section == 0 else self._labels[section - 1]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        one = self.pairs[index.row()]
        if index.column() == 0:
            return one.name if role == Qt.ItemDataRole.DisplayRole else self._told(one, role)
        row = one.rows.get(self._labels[index.column() - 1])
        if role == _PICTURE_ROLE:
            return None if row is None else self.cache.picture(self._key(one, row.descriptor))
        if role == _VALUE_ROLE:
            value = one.values(self._labels[index.column() - 1]).get(self._value)
            return "–" if value is None else f"{title_of(self._value)}  {value:.3f}"
        if role == Qt.ItemDataRole.ToolTipRole and row is not None:
            known = {name: value for name, value in values_of(row).items() if value is not None}
            lines = [f"{title_of(name)}: {number_text(value)}" for name, value in known.items()]
            return plain_tip("\n".join((one.name, row.descriptor, f"{row.count} queries", *lines)))
        return None

    def _told(self, one: ListedPair, role: int) -> Any:
        """What the pair is like, below its name."""
        if role not in (_VALUE_ROLE, Qt.ItemDataRole.ToolTipRole):
            return None
        values = values_of(next(iter(one.rows.values())))
        return (
            [
                f"{title} {number_text(value)}{'°' if name == 'angle_deg' else ''}"
                for name, title in pair_values().items()
                if (value := values.get(name)) is not None
            ]
            if role == _VALUE_ROLE
            else one.name
        )

    def want(self, rows: range) -> None:
        """Ask for the pictures of some rows that are not there, and for no other."""
        self.cache.want(
            [
                self._key(self.pairs[row], label)
                for row in rows
                for label in self._labels
                if label in self.pairs[row].rows
            ]
        )

    def _key(self, one: ListedPair, label: str) -> WantedPicture:
        assert self._content is not None
        row, size_px = one.rows[label], (self._size.width(), self._size.height())
        return WantedPicture(
            label, one.pair, row.queries, self._kind, self._right_px, size_px, row, self._content
        )

    def _draw_again(self) -> None:
        if self.pairs and self._labels:
            last = self.index(len(self.pairs) - 1, len(self._labels))
            self.dataChanged.emit(self.index(0, 1), last, [_PICTURE_ROLE])


class GalleryView(QTableView):
    """The grid; a click or Enter opens a pair.

    Signals:
        pair_chosen(str, int, str): sequence, number of the second image, label of the descriptor.
    """

    pair_chosen = Signal(str, int, str)

    def __init__(self, model: GalleryModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._gallery = model
        self.setModel(model)
        self.setItemDelegate(_CellDelegate(self))
        self.setAccessibleName("Measured pairs")
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.horizontalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.horizontalHeader().setHighlightSections(False)
        self.clicked.connect(self._choose)
        model.modelReset.connect(self._fit)
        model.cache.missed.connect(lambda: model.want(rows_in_view(self)))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._choose(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _fit(self) -> None:
        columns = max(1, self._gallery.columnCount() - 1)
        room_px = self.viewport().width() - _NAME_PX
        self._gallery.set_room(room_px // columns - 2 * _MARGIN_PX)
        picture, line = self._gallery.picture_size, self.fontMetrics().height()
        self.verticalHeader().setDefaultSectionSize(picture.height() + line + 3 * _MARGIN_PX)
        self.setColumnWidth(0, _NAME_PX)
        for column in range(1, self._gallery.columnCount()):
            self.setColumnWidth(column, picture.width() + 2 * _MARGIN_PX)

    def _choose(self, index: Index) -> None:
        chosen = self._gallery.pair_at(index)
        if chosen is not None:
            self.pair_chosen.emit(*chosen)


class _CellDelegate(QStyledItemDelegate):
    """Draws names with what a pair is like, and pictures with a value."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        palette = option.palette
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        text, base = (palette.color(r) for r in (QPalette.ColorRole.Text, QPalette.ColorRole.Base))
        if hovered or chosen:
            painter.fillRect(option.rect, blended(text, base, 0.10 if chosen else 0.05))
        painter.setPen(blended(text, base, 0.12))
        painter.drawLine(option.rect.bottomLeft(), option.rect.bottomRight())
        room = option.rect.adjusted(_MARGIN_PX, _MARGIN_PX, -_MARGIN_PX, -_MARGIN_PX)
        if index.column() == 0:
            self._draw_name(painter, option, room, index)
            return
        line = option.fontMetrics.height()
        frame = QRect(room.left(), room.top(), room.width(), room.height() - line - _MARGIN_PX // 2)
        picture = index.data(_PICTURE_ROLE)
        below = QRect(room.left(), frame.bottom() + _MARGIN_PX // 2, room.width(), line + 2)
        value = index.data(_VALUE_ROLE)
        if isinstance(picture, QPixmap) and not picture.isNull():
            painter.drawPixmap(frame.topLeft(), picture)
        else:
            painter.fillRect(frame, blended(text, base, 0.06))
            if isinstance(picture, QPixmap):
                painter.setPen(muted(palette))
                painter.drawText(frame, Qt.AlignmentFlag.AlignCenter, "no picture kept")
        painter.setPen(text)
        painter.setFont(tabular(option.font))
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, value)

    def _draw_name(
        self, painter: QPainter, option: QStyleOptionViewItem, room: QRect, index: Index
    ) -> None:
        palette, metrics = option.palette, option.fontMetrics
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        painter.setFont(bold(option.font))
        name = metrics.elidedText(str(index.data()), Qt.TextElideMode.ElideMiddle, room.width() - 8)
        painter.drawText(room, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, name)
        painter.setFont(tabular(option.font))
        painter.setPen(muted(palette))
        lines = room.adjusted(0, metrics.height() + 3, 0, 0)
        told = "\n".join(index.data(_VALUE_ROLE) or ())
        painter.drawText(lines, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, told)
