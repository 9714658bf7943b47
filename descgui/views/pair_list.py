"""The listed pairs as rows of one height: parts of the set, groups, and their pairs.

A flat list whose rows Qt itself counts: a tree, and a list that Python counts, ask for each row
before they show the first one, and with ten thousand pairs the window would stand still.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PySide6.QtCore import (
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QSize,
    QStringListModel,
    Qt,
)
from PySide6.QtGui import QFont, QPainter, QPalette, QPixmap, QPolygonF
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from descgui.models.browser_state import BrowserModel, BrowserState
from descgui.views.panel_parts import blended, draw_sign, muted, plain_tip
from descgui.views.thumbnails import PictureCache
from descgui.views.words import counted
from engine import api

Index = QModelIndex | QPersistentModelIndex

PICTURE_SIZE = QSize(56, 42)
_ROW_PX = PICTURE_SIZE.height() + 6
_INDENT_PX = 14
_GAP_PX = 8
_ARROW_PX = 12
_REST = "Others"


class Row(NamedTuple):
    """One row: a part of the set, a group with several pairs, or a pair.

    Attributes:
        part: the part of the set that it stands in.
        group: None for a part's own row.
        pair: None for a group's row; a group with one pair is that pair's row.
    """

    part: str
    group: api.PairGroup | None = None
    pair: api.ImagePair | None = None

    @property
    def inner(self) -> bool:
        """True for a pair below its group's row."""
        return self.pair is not None and self.group is not None and len(self.group.pairs) > 1


class PairList(QStringListModel):
    """The groups that pass the browser's filter; parts and groups unfold to what they hold.

    The strings stay empty: they only count the rows.
    """

    def __init__(
        self, browser: BrowserModel, thumbnails: PictureCache[Path], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.thumbnails = thumbnails
        self._browser = browser
        self._groups: tuple[api.PairGroup, ...] = ()
        self._parts: Mapping[str, tuple[api.PairGroup, ...]] = {}
        self._rows: list[Row] = []
        self._closed: set[str] = set()
        self._open: set[str] = set()
        self._current = ("", 0)
        browser.changed.connect(self._on_changed)
        self._on_changed(browser.state)

    # What it holds

    def row_at(self, index: Index) -> Row | None:
        """The row of an address; None for an invalid one."""
        return self._rows[index.row()] if index.isValid() else None

    def pair_at(self, index: Index) -> api.ImagePair | None:
        """The pair of a row; None for the row of a part or of a group with several pairs."""
        row = self.row_at(index)
        return None if row is None else row.pair

    def group_at(self, index: Index) -> api.PairGroup | None:
        """The group of a row; None for the row of a part."""
        row = self.row_at(index)
        return None if row is None else row.group

    def unfolds(self, index: Index) -> bool:
        """True for a row that holds others."""
        return index.isValid() and self.pair_at(index) is None

    def is_unfolded(self, index: Index) -> bool:
        """True where the rows that this one holds are listed."""
        row = self.row_at(index)
        if row is None or row.pair is not None:
            return False
        return row.part not in self._closed if row.group is None else row.group.name in self._open

    def index_of(self, group: str, number: int = 0) -> QModelIndex:
        """The row of a pair, or of a group where ``number`` is 0; invalid where not listed."""
        for place, row in enumerate(self._rows):
            if row.group is None or row.group.name != group:
                continue
            if number == 0 or (row.pair is not None and row.pair.index == number):
                return self.index(place)
        return QModelIndex()

    def holder_of(self, index: Index) -> QModelIndex:
        """The row that holds this one; invalid at the top."""
        row = self.row_at(index)
        if row is None or row.group is None:
            return QModelIndex()
        for place in range(index.row() - 1, -1, -1):
            above = self._rows[place]
            if above.group is None or (row.inner and above.pair is None):
                return self.index(place)
        return QModelIndex()

    def is_current(self, index: Index) -> bool:
        """True for the open pair and for its group."""
        row = self.row_at(index)
        if row is None or row.group is None or row.group.name != self._current[0]:
            return False
        return row.pair is None or row.pair.index == self._current[1]

    def path_of(self, index: Index) -> Path | None:
        """The image that a row shows; None for the row of a part."""
        row = self.row_at(index)
        if row is None or row.group is None:
            return None
        return row.pair.path_b if row.inner and row.pair else row.group.pairs[0].path_a

    # Unfolding

    def unfold(self, index: Index, unfolded: bool) -> None:
        """List what a row holds, or no longer."""
        row = self.row_at(index)
        if row is None or row.pair is not None or unfolded == self.is_unfolded(index):
            return
        first = index.row() + 1
        if unfolded:
            self._mark(row, unfolded)
            new = self._held(row)
            self._rows[first:first] = new
            self.insertRows(first, len(new))
        else:
            count = len(self._held(row))
            self._mark(row, unfolded)
            del self._rows[first : first + count]
            self.removeRows(first, count)

    def reveal(self, group: str, number: int) -> QModelIndex:
        """The row of a pair, unfolded; invalid where it does not pass the filter."""
        found = next((one for one in self._groups if one.name == group), None)
        if found is None:
            return QModelIndex()
        for place, row in enumerate(self._rows):
            if row.group is None and row.part == found.subset:
                self.unfold(self.index(place), True)
                break
        if len(found.pairs) > 1:
            self.unfold(self.index_of(group), True)
        return self.index_of(group, number)

    def _mark(self, row: Row, unfolded: bool) -> None:
        if row.group is None:
            (self._closed.discard if unfolded else self._closed.add)(row.part)
        else:
            (self._open.add if unfolded else self._open.discard)(row.group.name)

    def _held(self, row: Row) -> list[Row]:
        """What follows a row while it is unfolded."""
        if row.group is not None:
            return [Row(row.part, row.group, pair) for pair in row.group.pairs]
        groups = self._parts.get(row.part, ())
        return [held for group in groups for held in self._rows_of(group)]

    def _rows_of(self, group: api.PairGroup) -> list[Row]:
        if len(group.pairs) == 1:
            return [Row(group.subset, group, group.pairs[0])]
        row = Row(group.subset, group)
        return [row, *(self._held(row) if group.name in self._open else ())]

    # Qt's side

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Names for the screen and, in whole words, for screen readers."""
        row = self.row_at(index)
        if row is None:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _title(row)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(
                filter(None, (_title(row), self._second_line(row), *self._fold(index)))
            )
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self._tooltip(row))
        return None

    def second_line(self, index: Index) -> str:
        """What a row says below its name."""
        row = self.row_at(index)
        return "" if row is None else self._second_line(row)

    def _second_line(self, row: Row) -> str:
        if row.pair is not None:
            return f"{row.pair.path_a.name} → {row.pair.path_b.name}"
        if row.group is not None:
            return counted(len(row.group.pairs), "1 pair", "{n} pairs")
        groups = self._parts[row.part]
        pairs = sum(len(one.pairs) for one in groups)
        dataset = self._browser.state.dataset
        word = api.group_word("" if dataset is None else dataset.layout)
        return pairs_in_groups(pairs, len(groups), word)

    def _fold(self, index: Index) -> tuple[str, ...]:
        if not self.unfolds(index):
            return ()
        return ("unfolded" if self.is_unfolded(index) else "folded",)

    def _tooltip(self, row: Row) -> str:
        if row.group is None:
            return _title(row)
        if row.inner and row.pair is not None:
            return f"{row.pair.path_a}\n{row.pair.path_b}"
        files = () if row.pair is None else (str(row.pair.path_a), str(row.pair.path_b))
        return "\n".join((row.group.name, *files, *row.group.problems))

    def _on_changed(self, state: BrowserState) -> None:
        self._current = (state.group, state.index)
        groups = self._browser.listed()
        if groups is self._groups:
            return
        self._groups, self._parts = groups, self._browser.listed_parts()
        if state.dataset is None or not groups:
            self._closed, self._open = set(), set()
        if len(groups) == 1:
            self._open.add(groups[0].name)
        if state.search:  # a group may be listed for its pairs
            text = state.search.casefold()
            self._open |= {one.name for one in groups if text not in one.name.casefold()}
        if state.subset or not any(self._parts):  # the set names no parts, or one is chosen
            self._rows = [row for group in groups for row in self._rows_of(group)]
        else:
            self._rows = []
            for part in self._parts:
                row = Row(part)
                self._rows += [row, *(self._held(row) if part not in self._closed else ())]
        self.setStringList([""] * len(self._rows))


def pairs_in_groups(pairs: int, groups: int, word: str) -> str:
    """How many pairs there are, and in how many groups where these are not the pairs.

    Args:
        pairs: the number of pairs.
        groups: of groups.
        word: what the set calls a group.
    """
    said = counted(pairs, "1 pair", "{n} pairs")
    if groups == pairs:
        return said
    return f"{said} in {counted(groups, f'1 {word}', f'{{n}} {api.plural(word)}')}"


def _title(row: Row) -> str:
    if row.group is None:
        return row.part or _REST
    if row.pair is None:
        return row.group.name
    return row.group.label(row.pair) if row.inner else row.pair.name


class PairDelegate(QStyledItemDelegate):
    """Draws a row: an arrow where it unfolds, a thumbnail, a name, what it holds, a warning."""

    def __init__(self, listed: PairList, parent: QWidget) -> None:
        super().__init__(parent)
        self._list = listed

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: ARG002
        return QSize(120, _ROW_PX)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one row."""
        row = self._list.row_at(index)
        if row is None:
            return
        painter.save()
        palette, area = option.palette, QRect(option.rect)
        current = self._list.is_current(index)
        self._draw_ground(painter, option, current=current)
        left = area.left() + 6 + _INDENT_PX * row.inner
        if row.pair is None:
            _draw_arrow(
                painter, QRect(left, area.top(), _ARROW_PX, area.height()), palette,
                down=self._list.is_unfolded(index),
            )  # fmt: skip
        if row.pair is None or row.inner:
            left += _ARROW_PX + 2
        path = self._list.path_of(index)
        if path is not None:
            frame = QRect(left, area.top() + 3, PICTURE_SIZE.width(), PICTURE_SIZE.height())
            self._draw_picture(painter, frame, path, palette)
            left = frame.right() + 1 + _GAP_PX
        text = QRect(left, area.top() + 5, area.right() - 6 - left, area.height() - 10)
        warns = row.group is not None and not row.inner and bool(row.group.problems)
        self._draw_text(
            painter, text, index, palette, bold=current or row.group is None, warns=warns
        )
        painter.restore()

    def _draw_ground(
        self, painter: QPainter, option: QStyleOptionViewItem, *, current: bool
    ) -> None:
        palette, area, state = option.palette, option.rect, option.state
        base = palette.color(QPalette.ColorRole.Base)
        accent = palette.color(QPalette.ColorRole.Accent)
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, palette.color(QPalette.ColorRole.Highlight))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, blended(accent, base, 0.08))
        elif current:
            painter.fillRect(area, blended(accent, base, 0.12))
        if current:
            painter.fillRect(QRect(area.left(), area.top(), 3, area.height()), accent)

    def _draw_picture(self, painter: QPainter, frame: QRect, path: Path, palette: QPalette) -> None:
        picture: QPixmap | None = self._list.thumbnails.picture(path)
        if picture is not None and not picture.isNull():
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            source = picture.rect()
            shown = QSize(frame.size()).scaled(source.size(), Qt.AspectRatioMode.KeepAspectRatio)
            crop = QRect(source.topLeft(), shown)
            crop.moveCenter(source.center())
            painter.drawPixmap(frame, picture, crop)
            return
        ink = palette.color(QPalette.ColorRole.Text)
        painter.fillRect(frame, blended(ink, palette.color(QPalette.ColorRole.Base), 0.10))
        if picture is not None:
            where = QRect(0, 0, 16, 16)
            where.moveCenter(frame.center())
            draw_sign(painter, where, "error", palette)

    def _draw_text(
        self,
        painter: QPainter,
        area: QRect,
        index: Index,
        palette: QPalette,
        *,
        bold: bool,
        warns: bool,
    ) -> None:
        upper = QRect(area.left(), area.top(), area.width(), area.height() // 2)
        lower = QRect(area.left(), upper.bottom() + 1, area.width(), area.height() // 2)
        if warns:
            sign = QRect(upper.right() - 16, upper.center().y() - 8, 16, 16)
            draw_sign(painter, sign, "warning", palette)
            upper.adjust(0, 0, -20, 0)
        font = QFont(painter.font())
        font.setBold(bold)
        painter.setFont(font)
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        _draw_elided(painter, upper, str(index.data()))
        font.setBold(False)
        font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        painter.setPen(muted(palette))
        _draw_elided(painter, lower, self._list.second_line(index))


def _draw_arrow(painter: QPainter, area: QRect, palette: QPalette, *, down: bool) -> None:
    centre = QPointF(area.center())
    corners = [(-4, -2), (4, -2), (0, 3)] if down else [(-2, -4), (-2, 4), (3, 0)]
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(muted(palette))
    painter.drawPolygon(QPolygonF([centre + QPointF(x, y) for x, y in corners]))
    painter.restore()


def _draw_elided(painter: QPainter, area: QRect, text: str) -> None:
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
