"""The listed sequences as a tree with thumbnails: model and drawing."""

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
from engine.api import ImagePair, Sequence

Index = QModelIndex | QPersistentModelIndex

SEQUENCE_SIZE = QSize(60, 45)
PAIR_SIZE = QSize(52, 39)
_GAP_PX = 8
_KEPT_THUMBNAILS = 4096
_KEPT_EDGE_PX = 160
#: Kinds are distinguished by their word; the colour only helps the eye.
_KIND_COLOURS = {"viewpoint": QColor("#0072B2"), "illumination": QColor("#E69F00")}


class SequenceTree(QAbstractItemModel):
    """The sequences that pass the browser's filter; each has its pairs as children.

    Thumbnails are asked for when a row is first drawn, so only rows that are seen cost anything.
    """

    def __init__(
        self, browser: BrowserModel, thumbnails: Thumbnails, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._reader = thumbnails
        self._browser = browser
        self._sequences: tuple[Sequence, ...] = ()
        self._pairs: tuple[tuple[ImagePair, ...], ...] = ()
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

    def sequence_at(self, index: Index) -> Sequence | None:
        """The sequence of a row, or of the row above a pair."""
        if not index.isValid():
            return None
        return self._sequences[self._place(index)[0]]

    def pair_at(self, index: Index) -> ImagePair | None:
        """The pair of a row; None for a sequence's row."""
        if not index.isValid():
            return None
        row, child = self._place(index)
        return None if child is None else self._pairs[row][child]

    def pairs_of(self, index: Index) -> tuple[ImagePair, ...]:
        """All pairs of the sequence of a row."""
        return self._pairs[self._place(index)[0]] if index.isValid() else ()

    def pairs_text(self, index: Index) -> str:
        """How many pairs the sequence of a row has, in words."""
        return counted(len(self.pairs_of(index)), "1 pair", "{n} pairs")

    def problems_of(self, index: Index) -> tuple[str, ...]:
        """What was wrong in the folder of the sequence of a row."""
        sequence = self.sequence_at(index)
        return sequence.problems if sequence is not None else ()

    def index_of(self, sequence: str, number: int = 0) -> QModelIndex:
        """The row of a pair, or of a sequence when ``number`` is 0; invalid if not listed."""
        for row, item in enumerate(self._sequences):
            if item.name == sequence:
                parent = self.index(row, 0)
                if number == 0:
                    return parent
                for child, pair in enumerate(self._pairs[row]):
                    if pair.index == number:
                        return self.index(child, 0, parent)
        return QModelIndex()

    def is_current(self, index: Index) -> bool:
        """True for the open pair and for its sequence."""
        sequence, pair = self.sequence_at(index), self.pair_at(index)
        if sequence is None or sequence.name != self._current[0]:
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
        for row, pairs in enumerate(self._pairs):
            parent = self.index(row, 0)
            for child, pair in enumerate(pairs):
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
        """A row's address: pairs carry the row of their sequence plus one."""
        if column != 0 or not 0 <= row < self.rowCount(parent):
            return QModelIndex()
        return self.createIndex(row, 0, parent.row() + 1 if parent.isValid() else 0)

    def parent(self, index: Index = QModelIndex()) -> Any:  # noqa: B008
        """The sequence of a pair."""
        above = index.internalId() if index.isValid() else 0
        return self.createIndex(above - 1, 0, 0) if above else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        if not parent.isValid():
            return len(self._sequences)
        return 0 if parent.internalId() else len(self._pairs[parent.row()])

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: ARG002, B008
        return 1

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Names for the screen and, in whole words, for screen readers."""
        sequence = self.sequence_at(index)
        if sequence is None:
            return None
        pair = self.pair_at(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return sequence.name if pair is None else f"1 → {pair.index}"
        if role == Qt.ItemDataRole.AccessibleTextRole:
            if pair is not None:
                return f"{sequence.name}, image 1 to image {pair.index}"
            kind = (sequence.kind,) if sequence.kind in _KIND_COLOURS else ()
            return ", ".join((sequence.name, *kind, self.pairs_text(index)))
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(index, sequence, pair)
        return None

    def _tooltip(self, index: Index, sequence: Sequence, pair: ImagePair | None) -> str:
        if pair is not None:
            return f"{pair.path_a}\n{pair.path_b}"
        return "\n".join([sequence.name, *self.problems_of(index)])

    def _on_changed(self, state: BrowserState) -> None:
        listed = self._browser.listed()
        same = len(listed) == len(self._sequences) and all(
            new is old for new, old in zip(listed, self._sequences, strict=True)
        )
        self._current = (state.sequence, state.index)
        if same:
            if self._sequences:
                self.dataChanged.emit(self.index(0, 0), self.index(len(listed) - 1, 0))
            return
        self.beginResetModel()
        self._sequences = listed
        self._pairs = tuple(tuple(sequence.pairs()) for sequence in listed)
        self.endResetModel()

    @staticmethod
    def _place(index: Index) -> tuple[int, int | None]:
        above = index.internalId()
        return (above - 1, index.row()) if above else (index.row(), None)


class SequenceDelegate(QStyledItemDelegate):
    """Draws a sequence (thumbnail, name, kind, pairs, warning) or a pair (thumbnail, numbers)."""

    def __init__(self, tree: SequenceTree, parent: QWidget) -> None:
        super().__init__(parent)
        self._tree = tree

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: ARG002
        size = SEQUENCE_SIZE if self._tree.pair_at(index) is None else PAIR_SIZE
        return QSize(120, size.height() + 6)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one row."""
        sequence = self._tree.sequence_at(index)
        if sequence is None:
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
        size = SEQUENCE_SIZE if pair is None else PAIR_SIZE
        frame = QRect(area.left() + 6, area.top() + 3, size.width(), size.height())
        pairs = self._tree.pairs_of(index)
        path = pair.path_b if pair is not None else pairs[0].path_a if pairs else None
        self._draw_thumbnail(painter, frame, path, palette)
        text = area.adjusted(frame.right() - area.left() + _GAP_PX, 3, -6, -3)
        if pair is None:
            self._draw_sequence(painter, text, index, sequence, palette, bold=current)
        else:
            self._draw_pair(painter, text, pair, palette, bold=current)
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

    def _draw_sequence(
        self,
        painter: QPainter,
        area: QRect,
        index: Index,
        sequence: Sequence,
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
        _draw_elided(painter, name, sequence.name)
        font.setBold(False)
        font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        left = lower.left()
        colour = _KIND_COLOURS.get(sequence.kind)
        if colour is not None:
            width = painter.fontMetrics().horizontalAdvance(sequence.kind) + 12
            badge = QRectF(left + 0.5, lower.center().y() - 7.5, width, 16.0)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(colour, 1.2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(badge, 8.0, 8.0)
            painter.setPen(palette.color(QPalette.ColorRole.Text))
            painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, sequence.kind)
            left += width + 7
        painter.setPen(muted(palette))
        count = self._tree.pairs_text(index)
        _draw_elided(painter, QRect(left, lower.top(), lower.right() - left, lower.height()), count)

    def _draw_pair(
        self,
        painter: QPainter,
        area: QRect,
        pair: ImagePair,
        palette: QPalette,
        *,
        bold: bool,
    ) -> None:
        font = QFont(painter.font())
        font.setBold(bold)
        painter.setFont(font)
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        numbers = f"1 → {pair.index}"
        _draw_elided(painter, area, numbers)
        used = painter.fontMetrics().horizontalAdvance("1 → 88") + 10
        font.setBold(False)
        font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        painter.setPen(muted(palette))
        _draw_elided(painter, area.adjusted(used, 0, 0, 0), pair.path_b.name)


def _draw_elided(painter: QPainter, area: QRect, text: str) -> None:
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
