"""Results of an evaluation: the table of means, the list of pairs, and a bar for each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QPainter,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from descgui.models.result_tables import ListedRows, SequenceScore, SequenceScores, Title
from descgui.models.shown_metric import ShownMetric
from descgui.views.pair_lines import SCORE_ROLE, Line, Lines, PairLines
from descgui.views.panel_parts import blended, bold, muted, plain_tip, tabular
from engine.api import SERIES, plural

if TYPE_CHECKING:
    from engine.api import MergedResults, MetricRow, PairRow, SummaryRow

_HEADINGS = {"all": "All", "viewpoint": "View.", "illumination": "Illum."}
_STRETCHED_COLUMNS = 4
_TEXTS = Qt.ItemDataRole.UserRole
_WIDEST_INTERVAL = ".88–1.00"
_CELL_MARGIN_PX = 10
_PAD_PX = 6
_BAR_COLUMN = 2
_LARGEST_SHARE = 0.34
_Index = QModelIndex | QPersistentModelIndex


class SummaryTable(QTableWidget):
    """A metric by descriptor and subset; the best of each column is bold."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 0, parent)
        self.setAccessibleName("Means by descriptor and subset")
        self._subsets: tuple[str, ...] = ()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setShowGrid(False)
        self.setFont(tabular(self.font()))
        self.setWordWrap(False)
        self.horizontalHeader().setMinimumSectionSize(30)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)

    def show_summary(self, content: MergedResults, *, queries: str, metric: ShownMetric) -> None:
        """Draw the means or areas of one metric."""
        labels, groups = content.labels, plural(content.group)
        cells: dict[tuple[str, str], SummaryRow | MetricRow] = {
            (row.descriptor, row.subset): row for row in metric.rows_in(content, queries)
        }
        self._show_subsets(tuple(dict.fromkeys(row.subset for row in content.summary)))
        self.setRowCount(len(labels))
        self.setVerticalHeaderLabels(list(labels))
        for column, subset in enumerate(self._subsets):
            column_rows = [cells.get((label, subset)) for label in labels]
            values = [r.value for r in column_rows if r is not None and r.value is not None]
            best = (min if metric.lower_is_better else max)(values) if len(values) > 1 else None
            for line, row in enumerate(column_rows):
                self.setItem(line, column, _mean_cell(row, metric, best, self.font(), groups))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show the intervals where they fit; the tooltips always do."""
        super().resizeEvent(event)
        self._fit()

    def _show_subsets(self, subsets: tuple[str, ...]) -> None:
        """A column for each; few share the width, and many are scrolled."""
        if subsets == self._subsets:
            return
        self._subsets = subsets
        self.setColumnCount(len(subsets))
        for column, subset in enumerate(subsets):
            heading = QTableWidgetItem(_HEADINGS.get(subset, subset))
            heading.setToolTip(subset.capitalize() if subset in _HEADINGS else plain_tip(subset))
            self.setHorizontalHeaderItem(column, heading)
        modes = QHeaderView.ResizeMode
        few = len(subsets) <= _STRETCHED_COLUMNS
        self.horizontalHeader().setSectionResizeMode(modes.Stretch if few else modes.Interactive)

    def _fit(self) -> None:
        wanted = (
            QFontMetrics(bold(self.font())).horizontalAdvance(_WIDEST_INTERVAL) + _CELL_MARGIN_PX
        )
        roomy = self.columnWidth(0) >= wanted
        for line in range(self.rowCount()):
            for column in range(self.columnCount()):
                item = self.item(line, column)
                if item is not None and item.data(_TEXTS):
                    item.setText(item.data(_TEXTS)[int(roomy)])
            self.resizeRowToContents(line)


def _mean_cell(
    row: SummaryRow | MetricRow | None,
    metric: ShownMetric,
    best: float | None,
    font: QFont,
    groups: str,
) -> QTableWidgetItem:
    item = QTableWidgetItem("–")
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    if row is None or row.value is None:
        item.setToolTip("No pair of this part has a value")
        return item
    mean = text = metric.text(row.value)
    tip = f"{row.pairs} pairs"
    if row.ends is not None:
        low, high = map(metric.text, row.ends)
        if not row.few:
            short = f"{low}–{high}"
            if metric.is_share_over_pairs:
                # Without leading zeros: three columns have to fit next to the bars.
                short = "{:.2f}–{:.2f}".format(*row.ends).replace("0.", ".")
            text += f"\n{short}"
        tip += f"\n95 % interval {low} to {high}, by bootstrap over {groups}"
        if row.few:
            tip += f"; over only {row.sequences} of them it means little"
    item.setText(text)
    item.setData(_TEXTS, (mean, text))
    item.setToolTip(plain_tip(tip))
    if row.value == best:
        item.setFont(bold(font))
    return item


class PairTable(PairLines):
    """All pairs, the worst first."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, name="Pairs", titles=("Pair", "Descriptor", "PCK", "Queries"))
        self._metric: ShownMetric | None = None
        self.setItemDelegate(_LineDelegate(self))
        self.setSortingEnabled(True)
        self.sortByColumn(2, Qt.SortOrder.AscendingOrder)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def show_rows(self, listed: ListedRows, *, title: Title, metric: ShownMetric) -> None:
        """Show the rows of one list of queries."""
        chosen = listed.rows
        if metric != self._metric:
            self._worst_first(metric)
        self._metric = metric
        # No value, such as of a homography that could not be estimated, is worse than any.
        worst = math.inf if metric.low_pairs_are_better else -math.inf
        values = listed.values(metric)
        values = np.where(np.isnan(values), worst, values)

        def keys(column: int) -> NDArray[Any] | Sequence[Any]:
            if column == 2:
                return values
            name = ("key", "descriptor", "", "count")[column]
            return [getattr(row, name) for row in chosen]

        self.show_lines(
            Lines(
                chosen,
                lambda place: _pair_line(chosen[place], metric, title),
                keys,
            )
        )
        self.setColumnHidden(1, not listed.several)
        for column in (1, 2, 3):  # once: a header that does so by itself asks at each change
            self.resizeColumnToContents(column)

    def texts(self) -> tuple[list[str], list[tuple[str, ...]]]:
        """Its headings and its lines, in the order on display."""
        lines = self.lines
        headings = [lines.title(column) for column in range(lines.columnCount())]
        return headings, [lines.line_at(row).texts for row in range(lines.rowCount())]

    def _worst_first(self, metric: ShownMetric) -> None:
        """Name the column of values, and keep the worst first where it was."""
        self.lines.set_title(2, metric.pair_title)
        low_first, high_first = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
        if self.horizontalHeader().sortIndicatorSection() == 2:
            self.sortByColumn(2, high_first if metric.low_pairs_are_better else low_first)


def _pair_line(row: PairRow, metric: ShownMetric, title: Title) -> Line:
    value, name = metric.of_pair(row), title(*row.key)
    text = "–" if value is None else metric.pair_text(value)
    return Line(
        (name, row.descriptor, text, str(row.count)),
        (row.sequence, row.index, row.descriptor),
        f"Click to open {name} with its matches",
    )


class SequenceBars(PairLines):
    """A bar for each group and descriptor, with a tick at the worst pair."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, name="Means", titles=("Group", "Descriptor", "", "PCK"))
        self.setItemDelegate(_LineDelegate(self))
        self.horizontalHeader().hide()
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.horizontalHeader().setMinimumSectionSize(8)
        self.horizontalHeader().setSectionResizeMode(_BAR_COLUMN, QHeaderView.ResizeMode.Stretch)

    def show_scores(self, scores: SequenceScores, title: Title, group: str) -> None:
        """Draw other bars, of what the set calls a group so."""
        self.setAccessibleName(f"Means by {group}")
        self.lines.set_title(0, group.capitalize())
        self.setColumnHidden(1, not scores.several)

        def make(place: int) -> Line:
            score = scores[place]
            worst = title(score.sequence, score.worst)
            return Line(
                (score.sequence, score.label, "", score.texts[0]),
                (score.sequence, score.worst, score.label),
                f"{score.sequence}, {score.label}: {score.texts[0]} over {score.pairs} pairs.\n"
                f"Click to open the worst, {worst} ({score.texts[1]}).",
                score,
            )

        self.show_lines(Lines(scores.ids, make))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Leave most of the width to the bars."""
        largest = round(_LARGEST_SHARE * self.viewport().width())
        for column in (0, 1):
            self.setColumnWidth(column, min(self.sizeHintForColumn(column), largest))
        self.resizeColumnToContents(3)


class _LineDelegate(QStyledItemDelegate):
    """Spaces lines, draws bars, names each sequence once, and greys labels next to bars."""

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        return QSize(super().sizeHint(option, index).width(), option.fontMetrics.height() + 6)

    def initStyleOption(self, option: QStyleOptionViewItem, index: _Index) -> None:
        super().initStyleOption(option, index)
        score = _score_of(index)
        if score is not None and index.column() == 0 and not score.first:
            option.text = ""
        elif score is not None and index.column() == 1:
            palette = option.palette
            palette.setColor(QPalette.ColorRole.Text, muted(palette))
            option.palette = palette

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        super().paint(painter, option, index)
        score, view = _score_of(index), self.parent()
        if score is None:
            return
        assert isinstance(view, SequenceBars)
        text, base, line = (
            option.palette.color(role)
            for role in (QPalette.ColorRole.Text, QPalette.ColorRole.Base, QPalette.ColorRole.Mid)
        )
        if score.first and index.row() > 0 and not view.isColumnHidden(1):
            painter.setPen(line)
            painter.drawLine(option.rect.topLeft(), option.rect.topRight())
        if index.column() != _BAR_COLUMN:
            return
        track = QRectF(option.rect).adjusted(_PAD_PX, 4, -_PAD_PX, -4)
        painter.fillRect(track, blended(text, base, 0.08))
        done = QRectF(track)
        done.setWidth(score.value / score.reach * track.width())
        # The label next to the bar means the same as its colour.
        painter.fillRect(done, QColor(SERIES[score.series % len(SERIES)]))
        # The worst pair as a tick on the bar: how much the mean hides.
        worst = round(track.left() + score.worst_value / score.reach * track.width())
        painter.setPen(QPen(text, 1.5))
        painter.drawLine(worst, round(track.top()), worst, round(track.bottom()))


def _score_of(index: _Index) -> SequenceScore | None:
    score: SequenceScore | None = index.sibling(index.row(), 0).data(SCORE_ROLE)
    return score
