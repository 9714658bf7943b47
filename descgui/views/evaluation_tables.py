"""What an evaluation found: the table of means, the list of pairs, and a bar for each sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import (
    QAbstractListModel,
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QKeyEvent,
    QPainter,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from descgui.views.panel_parts import blended, muted, tabular
from engine.api import SERIES

if TYPE_CHECKING:
    from engine.api import PairRow, SummaryRow

SUBSETS = ("all", "viewpoint", "illumination")
SCORE_ROLE = int(Qt.ItemDataRole.UserRole)
_Index = QModelIndex | QPersistentModelIndex
_NO_INDEX = QModelIndex()
_PAD_PX = 6


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """One descriptor on one sequence.

    Attributes:
        sequence: name of the sequence.
        label: of the descriptor.
        series: number of the descriptor, for its colour.
        share: mean PCK of the sequence's pairs.
        pairs: how many they are.
        worst: number of the second image of the worst pair.
        worst_share: PCK of that pair.
        first: whether it is the first one of its sequence in the list.
    """

    sequence: str
    label: str
    series: int
    share: float
    pairs: int
    worst: int
    worst_share: float
    first: bool


def share_at(row: PairRow, threshold_px: float) -> float:
    """PCK of a row at one of its thresholds; 0 where it has no such threshold."""
    return dict(row.pck).get(threshold_px, 0.0)


def sequence_scores(
    rows: Sequence[PairRow], labels: Sequence[str], *, queries: str, threshold_px: float
) -> tuple[SequenceScore, ...]:
    """Means by sequence, in the order in which the sequences come, descriptors side by side."""
    found: dict[str, dict[str, list[PairRow]]] = {}
    for row in rows:
        if row.queries == queries:
            found.setdefault(row.sequence, {}).setdefault(row.descriptor, []).append(row)
    scores = []
    for sequence, by_label in found.items():
        first = True
        for series, label in enumerate(labels):
            mine = by_label.get(label, [])
            if mine:
                worst = min(mine, key=lambda row: (share_at(row, threshold_px), row.index))
                total = sum(share_at(row, threshold_px) for row in mine)
                scores.append(
                    SequenceScore(
                        sequence, label, series, total / len(mine), len(mine), worst.index,
                        share_at(worst, threshold_px), first,
                    )
                )  # fmt: skip
                first = False
    return tuple(scores)


def series_color(series: int) -> QColor:
    """The colour of a descriptor; the label beside it says the same."""
    return QColor(SERIES[series % len(SERIES)])


_TEXTS = Qt.ItemDataRole.UserRole
_WIDEST_INTERVAL = ".88–1.00"
_CELL_MARGIN_PX = 10


class SummaryTable(QTableWidget):
    """PCK by descriptor and subset; the best of each column is bold."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(SUBSETS), parent)
        self.setAccessibleName("PCK by descriptor and subset")
        self.setHorizontalHeaderLabels(["All"])
        for column, short, long in (
            (1, "View.", "Viewpoint"),
            (2, "Illum.", "Illumination"),
        ):
            heading = QTableWidgetItem(short)
            heading.setToolTip(long)
            self.setHorizontalHeaderItem(column, heading)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setShowGrid(False)
        self.setFont(tabular(self.font()))
        self.setWordWrap(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(30)
        header.setHighlightSections(False)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.verticalHeader().setHighlightSections(False)

    def show_summary(
        self,
        summary: Sequence[SummaryRow],
        labels: Sequence[str],
        *,
        queries: str,
        threshold_px: float,
    ) -> None:
        """Draw the means at one threshold."""
        cells: dict[tuple[str, str], SummaryRow] = {
            (row.descriptor, row.subset): row
            for row in summary
            if row.queries == queries and row.threshold_px == threshold_px
        }
        self.setRowCount(len(labels))
        self.setVerticalHeaderLabels(list(labels))
        for column, subset in enumerate(SUBSETS):
            column_rows = [cells.get((label, subset)) for label in labels]
            values = [row.pck for row in column_rows if row is not None and row.pck is not None]
            best = max(values, default=None)
            for line, row in enumerate(column_rows):
                self.setItem(line, column, self._cell(row, best if len(values) > 1 else None))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show the intervals where they fit; the tooltips have them anyway."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        bold = QFont(self.font())
        bold.setBold(True)
        wanted = QFontMetrics(bold).horizontalAdvance(_WIDEST_INTERVAL) + _CELL_MARGIN_PX
        roomy = self.columnWidth(0) >= wanted
        for line in range(self.rowCount()):
            for column in range(self.columnCount()):
                item = self.item(line, column)
                if item is not None and item.data(_TEXTS):
                    item.setText(item.data(_TEXTS)[int(roomy)])
            self.resizeRowToContents(line)

    def _cell(self, row: SummaryRow | None, best: float | None) -> QTableWidgetItem:
        item = QTableWidgetItem("–")
        item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        if row is None or row.pck is None:
            item.setToolTip("No pair of this kind yet")
            return item
        mean = text = f"{row.pck:.3f}"
        tip = f"{row.pairs} pairs"
        if row.low is not None and row.high is not None:
            # Without leading zeros: three columns have to fit beside the bars.
            text += f"\n{row.low:.2f}–{row.high:.2f}".replace("0.", ".")
            tip += (
                "\n" + f"95 % interval {row.low:.3f} to {row.high:.3f}, by bootstrap over sequences"
            )
        item.setText(text)
        item.setData(_TEXTS, (mean, text))
        item.setToolTip(tip)
        if row.pck == best:
            font = QFont(self.font())
            font.setBold(True)
            item.setFont(font)
        return item


class _PairModel(QAbstractTableModel):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._rows: tuple[PairRow, ...] = ()
        self._threshold_px = 0.0

    def set_rows(self, rows: tuple[PairRow, ...], threshold_px: float) -> None:
        """Show other rows."""
        if threshold_px == self._threshold_px and rows[: len(self._rows)] == self._rows:
            if len(rows) > len(self._rows):  # the run went on: keep selection and place
                self.beginInsertRows(QModelIndex(), len(self._rows), len(rows) - 1)
                self._rows = rows
                self.endInsertRows()
            return
        self.beginResetModel()
        self._rows, self._threshold_px = rows, threshold_px
        self.endResetModel()

    def row_at(self, line: int) -> PairRow:
        """A row."""
        return self._rows[line]

    def rowCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else 4

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or role != Qt.ItemDataRole.DisplayRole:
            return None
        return ("Pair", "Descriptor", "PCK", "Queries")[section]

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Texts, and numbers to sort by."""
        row, column = self._rows[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return (
                f"{row.sequence} 1 → {row.index}",
                row.descriptor,
                f"{share_at(row, self._threshold_px):.3f}",
                str(row.count),
            )[column]
        if role == SCORE_ROLE:
            share = share_at(row, self._threshold_px)
            return (f"{row.sequence} {row.index:06d}", row.descriptor, share, row.count)[column]
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= 2:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"Click to open {row.sequence} 1 → {row.index} with its matches"
        return None


class PairTable(QTableView):
    """All pairs, the worst first.

    Signals:
        pair_chosen(str, int, str): sequence, number of the second image, label of the descriptor.
    """

    pair_chosen = Signal(str, int, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _PairModel(self)
        self._proxy = QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._model)
        self._proxy.setSortRole(SCORE_ROLE)
        self.setModel(self._proxy)
        self.setAccessibleName("Pairs")
        self.setFont(tabular(self.font()))
        self.setSortingEnabled(True)
        self.sortByColumn(2, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.clicked.connect(self._choose)

    def show_rows(self, rows: tuple[PairRow, ...], *, queries: str, threshold_px: float) -> None:
        """Show the rows of one list of queries."""
        self._model.set_rows(tuple(row for row in rows if row.queries == queries), threshold_px)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._choose(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _choose(self, index: QModelIndex) -> None:
        row = self._model.row_at(self._proxy.mapToSource(index).row())
        self.pair_chosen.emit(row.sequence, row.index, row.descriptor)


class _BarModel(QAbstractListModel):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._scores: tuple[SequenceScore, ...] = ()

    def set_scores(self, scores: tuple[SequenceScore, ...]) -> None:
        """Show other bars; the same bars with other lengths keep selection and place."""
        if [(s.sequence, s.label) for s in scores] == [(s.sequence, s.label) for s in self._scores]:
            self._scores = scores
            if scores:
                self.dataChanged.emit(self.index(0), self.index(len(scores) - 1))
            return
        self.beginResetModel()
        self._scores = scores
        self.endResetModel()

    def rowCount(self, parent: _Index = _NO_INDEX) -> int:
        return 0 if parent.isValid() else len(self._scores)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The score, and the same in words."""
        score = self._scores[index.row()]
        if role == SCORE_ROLE:
            return score
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{score.sequence}, {score.label}: {score.share:.3f}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return (
                f"{score.sequence}, {score.label}: {score.share:.3f} over {score.pairs} pairs.\n"
                f"Click to open the worst, 1 → {score.worst} ({score.worst_share:.3f})."
            )
        return None


class _BarDelegate(QStyledItemDelegate):
    """Draws a bar with its names before it and its number behind."""

    def __init__(self, parent: QWidget, columns: Callable[[], tuple[int, int]]) -> None:
        super().__init__(parent)
        self._columns = columns

    def sizeHint(self, option: QStyleOptionViewItem, _index: _Index) -> QSize:
        return QSize(120, option.fontMetrics.height() + 5)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        """Draw one row."""
        score: SequenceScore = index.data(SCORE_ROLE)
        palette, role = option.palette, QPalette.ColorRole
        area: QRect = option.rect
        names_px, labels_px = self._columns()
        state = option.state
        painter.save()
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, palette.color(role.Highlight))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, palette.color(role.Midlight))
        if score.first and index.row() > 0 and labels_px:
            painter.setPen(palette.color(role.Mid))
            painter.drawLine(area.topLeft(), area.topRight())
        metrics = option.fontMetrics
        middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        left = area.left() + _PAD_PX
        painter.setPen(palette.color(role.Text))
        if score.first:
            name = metrics.elidedText(score.sequence, Qt.TextElideMode.ElideMiddle, names_px)
            painter.drawText(QRect(left, area.top(), names_px, area.height()), middle, name)
        left += names_px + _PAD_PX
        if labels_px:
            painter.setPen(muted(palette))
            label = metrics.elidedText(score.label, Qt.TextElideMode.ElideRight, labels_px)
            painter.drawText(QRect(left, area.top(), labels_px, area.height()), middle, label)
            left += labels_px + _PAD_PX
        number_px = metrics.horizontalAdvance("0.000")
        right = area.right() - _PAD_PX - number_px - _PAD_PX
        track = QRectF(left, area.top() + 4, max(right - left, 8), area.height() - 8)
        base, color = palette.color(role.Base), series_color(score.series)
        painter.fillRect(track, blended(palette.color(role.Text), base, 0.08))
        done = QRectF(track.left(), track.top(), score.share * track.width(), track.height())
        painter.fillRect(done, color)
        # The worst pair as a tick on the bar: how much the mean hides.
        worst = track.left() + score.worst_share * track.width()
        painter.setPen(QPen(palette.color(role.Text), 1.5))
        painter.drawLine(round(worst), round(track.top()), round(worst), round(track.bottom()))
        painter.setPen(palette.color(role.Text))
        number = QRect(area.right() - _PAD_PX - number_px, area.top(), number_px, area.height())
        painter.drawText(number, middle, f"{score.share:.3f}")
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(palette.color(role.Accent))
            painter.drawRect(area.adjusted(0, 0, -1, -1))
        painter.restore()


class SequenceBars(QListView):
    """A bar for each sequence and descriptor, with a tick at the worst pair.

    Signals:
        pair_chosen(str, int, str): sequence, number of the worst pair's second image, label.
    """

    pair_chosen = Signal(str, int, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _BarModel(self)
        self._names: tuple[str, ...] = ()
        self._labels: tuple[str, ...] = ()
        self.setModel(self._model)
        self.setItemDelegate(_BarDelegate(self, self._columns))
        self.setAccessibleName("PCK by sequence")
        self.setFont(tabular(self.font()))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.clicked.connect(self._choose)

    def show_scores(self, scores: tuple[SequenceScore, ...]) -> None:
        """Draw other bars."""
        self._names = tuple(dict.fromkeys(score.sequence for score in scores))
        self._labels = tuple(dict.fromkeys(score.label for score in scores))
        self._model.set_scores(scores)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._choose(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _columns(self) -> tuple[int, int]:
        """Widths of the names and, with several descriptors, of their labels."""
        metrics, room = self.fontMetrics(), self.viewport().width()
        names = max((metrics.horizontalAdvance(name) for name in self._names), default=0)
        labels = max((metrics.horizontalAdvance(label) for label in self._labels), default=0)
        return (
            min(names, round(0.3 * room)),
            min(labels, round(0.3 * room)) if len(self._labels) > 1 else 0,
        )

    def _choose(self, index: QModelIndex) -> None:
        score: SequenceScore = index.data(SCORE_ROLE)
        self.pair_chosen.emit(score.sequence, score.worst, score.label)
