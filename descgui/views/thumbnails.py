"""The listed groups as a tree with thumbnails: model and drawing."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractItemModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
)
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from descgui.models.browser_state import BrowserModel, BrowserState
from descgui.views.panel_parts import blended, draw_sign, muted
from descgui.views.ports import Thumbnails
from descgui.views.words import counted
from engine.api import ImagePair, PairGroup

Index = QModelIndex | QPersistentModelIndex

GROUP_SIZE = QSize(60, 45)
PAIR_SIZE = QSize(52, 39)
_GAP_PX = 8
_KEPT_THUMBNAILS = 4096
_KEPT_EDGE_PX = 160
#: Subsets are distinguished by their word; the colour only helps the eye.
_SUBSET_COLOURS = {"viewpoint": QColor("#0072B2"), "illumination": QColor("#E69F00")}


class GroupTree(QAbstractItemModel):
    """The groups that pass the browser's filter; each has its pairs as children.

    Thumbnails are asked for when a row is first drawn, so only rows that are seen cost anything.
    """

    def __init__(
        self, browser: BrowserModel, thumbnails: Thumbnails, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._reader = thumbnails
        self._browser = browser
        self._groups: tuple[PairGroup, ...] = ()
        self._current = ("", 0)
        self._thumbnails: OrderedDict[Path, QPixmap | None] = OrderedDict()
        self._wanted: list[Path] = []
        self._asking = QTimer(self)
        self._asking.setSingleShot(True)
        self._asking.setInterval(0)
        self._asking.timeout.connect(self._ask)
        browser.changed.connect(self._on_changed)
        self._on_changed(browser.state)

    # What the tree holds

    def group_at(self, index: Index) -> PairGroup | None:
        """The group of a row, or of the row above a pair."""
        if not index.isValid():
            return None
        return self._groups[self._place(index)[0]]

    def pair_at(self, index: Index) -> ImagePair | None:
        """The pair of a row; None for a group's row."""
        if not index.isValid():
            return None
        row, child = self._place(index)
        return None if child is None else self._groups[row].pairs[child]

    def pairs_of(self, index: Index) -> tuple[ImagePair, ...]:
        """All pairs of the group of a row."""
        return self._groups[self._place(index)[0]].pairs if index.isValid() else ()

    def pairs_text(self, index: Index) -> str:
        """How many pairs the group of a row has, in words."""
        return counted(len(self.pairs_of(index)), "1 pair", "{n} pairs")

    def problems_of(self, index: Index) -> tuple[str, ...]:
        """What was left out of the group of a row, or chosen in it."""
        group = self.group_at(index)
        return group.problems if group is not None else ()

    def index_of(self, group: str, number: int = 0) -> QModelIndex:
        """The row of a pair, or of a group when ``number`` is 0; invalid if not listed."""
        for row, item in enumerate(self._groups):
            if item.name == group:
                parent = self.index(row, 0)
                if number == 0:
                    return parent
                for child, pair in enumerate(item.pairs):
                    if pair.index == number:
                        return self.index(child, 0, parent)
        return QModelIndex()

    def is_current(self, index: Index) -> bool:
        """True for the open pair and for its group."""
        group, pair = self.group_at(index), self.pair_at(index)
        if group is None or group.name != self._current[0]:
            return False
        return pair is None or pair.index == self._current[1]

    # Thumbnails

    def thumbnail(self, path: Path) -> QPixmap | None:
        """The thumbnail of an image; None until it is there (it is asked for then).

        A null pixmap stands for an image that cannot be read.
        """
        if path in self._thumbnails:
            self._thumbnails.move_to_end(path)
            return self._thumbnails[path]
        self._remember(path, None)
        self._wanted.append(path)
        self._asking.start()
        return None

    def set_thumbnail(self, path: Path, image: QImage) -> None:
        """Show a thumbnail; a null image where the file cannot be read."""
        pixmap = QPixmap()
        if not image.isNull():
            if max(image.width(), image.height()) > _KEPT_EDGE_PX:
                image = image.scaled(
                    _KEPT_EDGE_PX,
                    _KEPT_EDGE_PX,
                    Qt.AspectRatioMode.KeepAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
            pixmap = QPixmap.fromImage(image)
        self._remember(path, pixmap)
        for row, group in enumerate(self._groups):
            parent = self.index(row, 0)
            for child, pair in enumerate(group.pairs):
                if child == 0 and pair.path_a == path:
                    self.dataChanged.emit(parent, parent)
                if pair.path_b == path:
                    index = self.index(child, 0, parent)
                    self.dataChanged.emit(index, index)

    def _remember(self, path: Path, pixmap: QPixmap | None) -> None:
        self._thumbnails[path] = pixmap
        self._thumbnails.move_to_end(path)
        while len(self._thumbnails) > _KEPT_THUMBNAILS:
            self._thumbnails.popitem(last=False)

    def _ask(self) -> None:
        wanted, self._wanted = self._wanted, []
        for path in wanted:
            self._reader.want(path, self.set_thumbnail)

    # Qt's side

    def index(
        self, row: int, column: int, parent: Index = QModelIndex()  # noqa: B008
    ) -> QModelIndex:  # fmt: skip
        """A row's address: pairs carry the row of their group plus one."""
        if column != 0 or not 0 <= row < self.rowCount(parent):
            return QModelIndex()
        return self.createIndex(row, 0, parent.row() + 1 if parent.isValid() else 0)

    def parent(self, index: Index = QModelIndex()) -> Any:  # noqa: B008
        """The group of a pair."""
        above = index.internalId() if index.isValid() else 0
        return self.createIndex(above - 1, 0, 0) if above else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        if not parent.isValid():
            return len(self._groups)
        return 0 if parent.internalId() else len(self._groups[parent.row()].pairs)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: ARG002, B008
        return 1

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Names for the screen and, in whole words, for screen readers."""
        group = self.group_at(index)
        if group is None:
            return None
        pair = self.pair_at(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return group.name if pair is None else group.label(pair)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            if pair is not None:
                return f"{group.name}, {group.label(pair)}"
            part = (group.subset,) if group.subset else ()
            return ", ".join((group.name, *part, self.pairs_text(index)))
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(index, group, pair)
        return None

    def _tooltip(self, index: Index, group: PairGroup, pair: ImagePair | None) -> str:
        if pair is not None:
            return f"{pair.path_a}\n{pair.path_b}"
        return "\n".join([group.name, *self.problems_of(index)])

    def _on_changed(self, state: BrowserState) -> None:
        listed = self._browser.listed()
        same = len(listed) == len(self._groups) and all(
            new is old for new, old in zip(listed, self._groups, strict=True)
        )
        self._current = (state.group, state.index)
        if same:
            if self._groups:
                self.dataChanged.emit(self.index(0, 0), self.index(len(listed) - 1, 0))
            return
        self.beginResetModel()
        self._groups = listed
        self.endResetModel()

    @staticmethod
    def _place(index: Index) -> tuple[int, int | None]:
        above = index.internalId()
        return (above - 1, index.row()) if above else (index.row(), None)


class GroupDelegate(QStyledItemDelegate):
    """Draws a group (thumbnail, name, kind, pairs, warning) or a pair (thumbnail, numbers)."""

    def __init__(self, tree: GroupTree, parent: QWidget) -> None:
        super().__init__(parent)
        self._tree = tree

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: ARG002
        size = GROUP_SIZE if self._tree.pair_at(index) is None else PAIR_SIZE
        return QSize(120, size.height() + 6)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one row."""
        group = self._tree.group_at(index)
        if group is None:
            return
        painter.save()
        state, palette, area = option.state, option.palette, option.rect
        selected = bool(state & QStyle.StateFlag.State_Selected)
        current = self._tree.is_current(index)
        base = palette.color(QPalette.ColorRole.Base)
        accent = palette.color(QPalette.ColorRole.Accent)
        if selected:
            painter.fillRect(area, palette.color(QPalette.ColorRole.Highlight))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, blended(accent, base, 0.08))
        elif current:
            painter.fillRect(area, blended(accent, base, 0.12))
        if current:
            painter.fillRect(QRect(area.left(), area.top(), 3, area.height()), accent)
        pair = self._tree.pair_at(index)
        size = GROUP_SIZE if pair is None else PAIR_SIZE
        frame = QRect(area.left() + 6, area.top() + 3, size.width(), size.height())
        pairs = self._tree.pairs_of(index)
        path = pair.path_b if pair is not None else pairs[0].path_a if pairs else None
        self._draw_thumbnail(painter, frame, path, palette)
        text = area.adjusted(frame.right() - area.left() + _GAP_PX, 3, -6, -3)
        if pair is None:
            self._draw_group(painter, text, index, group, palette, bold=current)
        else:
            self._draw_pair(painter, text, pair, group.label(pair), palette, bold=current)
        painter.restore()

    def _draw_thumbnail(
        self, painter: QPainter, frame: QRect, path: Path | None, palette: QPalette
    ) -> None:
        base, ink = palette.color(QPalette.ColorRole.Base), palette.color(QPalette.ColorRole.Text)
        thumbnail = self._tree.thumbnail(path) if path is not None else QPixmap()
        if thumbnail is not None and not thumbnail.isNull():
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            source = thumbnail.rect()
            shown = QSize(frame.size()).scaled(source.size(), Qt.AspectRatioMode.KeepAspectRatio)
            crop = QRect(source.topLeft(), shown)
            crop.moveCenter(source.center())
            painter.drawPixmap(frame, thumbnail, crop)
            return
        painter.fillRect(frame, blended(ink, base, 0.10))
        if thumbnail is not None:
            where = QRect(0, 0, 16, 16)
            where.moveCenter(frame.center())
            draw_sign(painter, where, "error", palette)

    def _draw_group(
        self,
        painter: QPainter,
        area: QRect,
        index: Index,
        group: PairGroup,
        palette: QPalette,
        *,
        bold: bool,
    ) -> None:
        font = QFont(painter.font())
        upper = QRect(area.left(), area.top(), area.width(), area.height() // 2)
        lower = QRect(area.left(), upper.bottom() + 1, area.width(), area.height() // 2)
        name = upper
        if self._tree.problems_of(index):
            sign = QRect(upper.right() - 16, upper.center().y() - 8, 16, 16)
            draw_sign(painter, sign, "warning", palette)
            name = upper.adjusted(0, 0, -20, 0)
        font.setBold(bold)
        painter.setFont(font)
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        _draw_elided(painter, name, group.name)
        font.setBold(False)
        font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        left = lower.left()
        colour = _SUBSET_COLOURS.get(group.subset, muted(palette))
        if group.subset:
            width = painter.fontMetrics().horizontalAdvance(group.subset) + 12
            badge = QRectF(left + 0.5, lower.center().y() - 7.5, width, 16.0)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(colour, 1.2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(badge, 8.0, 8.0)
            painter.setPen(palette.color(QPalette.ColorRole.Text))
            painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, group.subset)
            left += width + 7
        painter.setPen(muted(palette))
        count = self._tree.pairs_text(index)
        _draw_elided(painter, QRect(left, lower.top(), lower.right() - left, lower.height()), count)

    def _draw_pair(
        self,
        painter: QPainter,
        area: QRect,
        pair: ImagePair,
        label: str,
        palette: QPalette,
        *,
        bold: bool,
    ) -> None:
        font = QFont(painter.font())
        font.setBold(bold)
        painter.setFont(font)
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        _draw_elided(painter, area, label)
        used = painter.fontMetrics().horizontalAdvance(label) + 10
        font.setBold(False)
        font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        painter.setPen(muted(palette))
        _draw_elided(painter, area.adjusted(used, 0, 0, 0), pair.path_b.name)


def _draw_elided(painter: QPainter, area: QRect, text: str) -> None:
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
