"""Pictures side by side, as large as fits: the pairs of a training, and its live probe."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QStyle, QWidget

from descgui.models.training_curves_data import Picture
from descgui.views.panel_parts import muted
from descgui.views.pixels import rgb_image

_GAP_PX = 8.0
_CAPTION_PX = 18.0
_PALE = 0.35


class PictureGrid(QWidget):
    """Pictures in as many columns as make them largest, or words while there are none.

    Args:
        parent: what it belongs to.
        alignment: where they are if they do not fill the widget.
        most_scale: how much they are enlarged at most.
        halved: whether a line parts the halves of each picture.
    """

    def __init__(
        self, parent: QWidget | None = None, *,
        alignment: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignCenter,
        most_scale: float = math.inf, halved: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._alignment, self._most_scale, self._halved = alignment, most_scale, halved
        self._pixmaps: tuple[QPixmap, ...] = ()
        self._captions: tuple[str, ...] = ()
        self._words = ""
        self._pale = False
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setMinimumSize(80, 60)

    def show_pictures(self, pictures: Sequence[Picture], captions: Sequence[str] = ()) -> None:
        """Show pictures, the first one first; their captions appear if there are several."""
        self._pixmaps = tuple(QPixmap.fromImage(rgb_image(picture)) for picture in pictures)
        self._captions = tuple(captions)
        self.fade(False)
        self.update()

    def fade(self, pale: bool) -> None:
        """Show by paleness that the pictures are out of date."""
        if pale != self._pale:
            self._pale = pale
            self.update()

    def say(self, words: str) -> None:
        """Show words while there are no pictures."""
        self._words = words
        self.update()

    @property
    def count(self) -> int:
        """How many pictures are shown."""
        return len(self._pixmaps)

    @property
    def captions(self) -> tuple[str, ...]:
        """The captions of the pictures."""
        return self._captions

    def places(self) -> tuple[QRectF, ...]:
        """Where the pictures are drawn, in the aspect that they have."""
        if not self._pixmaps:
            return ()
        above = _CAPTION_PX if self.count > 1 and self._captions else 0.0
        size = self._pixmaps[-1].size().toSizeF()
        room = self.width(), self.height()
        columns, scale = best_columns(
            self.count, size.toTuple(), room, above_px=above, most=self._most_scale
        )
        cell = QSizeF(max(1.0, scale * size.width()), max(1.0, scale * size.height()))
        across, down = cell.width() + _GAP_PX, cell.height() + above + _GAP_PX
        rows = math.ceil(self.count / columns)
        taken = QSizeF(columns * across - _GAP_PX, rows * down - _GAP_PX).toSize()
        direction = Qt.LayoutDirection.LeftToRight
        corner = QStyle.alignedRect(direction, self._alignment, taken, self.rect()).topLeft()
        places = []
        for number, pixmap in enumerate(self._pixmaps):
            row, column = divmod(number, columns)
            box = QRectF(QPointF(column * across, row * down + above) + corner.toPointF(), cell)
            fitted = pixmap.size().toSizeF().scaled(cell, Qt.AspectRatioMode.KeepAspectRatio)
            place = QRectF(QPointF(), fitted)
            place.moveCenter(box.center())
            places.append(place)
        return tuple(places)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        if not self._pixmaps:
            painter.setPen(muted(self.palette()))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(16, 8, -16, -8), int(flags), self._words)
            return
        painter.setOpacity(_PALE if self._pale else 1.0)
        ratio, role = self.devicePixelRatioF(), QPalette.ColorRole
        for number, (pixmap, place) in enumerate(zip(self._pixmaps, self.places(), strict=True)):
            size = (place.size() * ratio).toSize().expandedTo(QSize(1, 1))
            smooth = Qt.TransformationMode.SmoothTransformation
            fitted = pixmap.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, smooth)
            fitted.setDevicePixelRatio(ratio)
            painter.drawPixmap(place.topLeft(), fitted)
            if self._halved:
                painter.setPen(QPen(self.palette().color(role.Base), 2.0))
                middle = place.center().x()
                painter.drawLine(QPointF(middle, place.top()), QPointF(middle, place.bottom()))
            if self.count > 1 and self._captions:
                painter.setPen(self.palette().color(role.WindowText))
                line = QRectF(place.left(), place.top() - _CAPTION_PX, place.width(), _CAPTION_PX)
                painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, self._captions[number])


def best_columns(
    count: int, size_px: tuple[float, float], room_px: tuple[float, float], *,
    above_px: float = 0.0, most: float = math.inf,
) -> tuple[int, float]:  # fmt: skip
    """In how many columns pictures are largest, and how large.

    Args:
        count: of pictures, at least 1.
        size_px: (width, height) of each.
        room_px: (width, height) for all, with gaps between them.
        above_px: room above each.
        most: limit of the factor.

    Returns:
        Columns, and the factor of both sides.
    """
    best = (1, 0.0)
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        wide = (room_px[0] - _GAP_PX * (columns - 1)) / (columns * size_px[0])
        high = (room_px[1] - _GAP_PX * (rows - 1) - above_px * rows) / (rows * size_px[1])
        scale = min(wide, high, most)
        if scale > best[1]:
            best = (columns, scale)
    return best
