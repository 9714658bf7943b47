"""The first pairs of a training, as the network would see them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.views.panel_parts import muted

_GAP_PX = 8
_MOST_SCALE = 2.0


class ContactSheet(QWidget):
    """Pairs side by side in as many columns as make them largest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixmaps: tuple[QPixmap, ...] = ()
        self._words = ""
        self._pale = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Pairs of this training")

    def minimumSizeHint(self) -> QSize:
        return QSize(120, 60)

    def show_pairs(self, pictures: Sequence[NDArray[np.uint8]], *, pale: bool = False) -> None:
        """Draw pairs.

        Args:
            pictures: ``(H, 2 W, 3)`` RGB each, all of one size.
            pale: they are out of date.
        """
        self._pixmaps = tuple(_pixmap(picture) for picture in pictures)
        self._pale = pale
        self.setAccessibleDescription(
            f"{len(pictures)} pairs, both sides of each beside one another"
        )
        self.update()

    def fade(self, pale: bool) -> None:
        """Say by pale pictures that they are out of date."""
        if pale != self._pale:
            self._pale = pale
            self.update()

    def say(self, words: str) -> None:
        """What stands in the place of pictures while there are none."""
        self._words = words
        self.update()

    @property
    def count(self) -> int:
        """How many pairs are shown."""
        return len(self._pixmaps)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        if not self._pixmaps:
            painter.setPen(muted(self.palette()))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(16, 8, -16, -8), int(flags), self._words)
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setOpacity(0.35 if self._pale else 1.0)
        size = self._pixmaps[0].size()
        columns, scale = best_columns(
            len(self._pixmaps), (size.width(), size.height()), (self.width(), self.height())
        )
        width, height = round(size.width() * scale), round(size.height() * scale)
        line = QPen(self.palette().color(QPalette.ColorRole.Base), 2.0)
        for number, pixmap in enumerate(self._pixmaps):
            row, column = divmod(number, columns)
            place = QRect(column * (width + _GAP_PX), row * (height + _GAP_PX), width, height)
            painter.drawPixmap(QRectF(place), pixmap, QRectF(pixmap.rect()))
            painter.setPen(line)
            middle = place.left() + width / 2.0
            painter.drawLine(round(middle), place.top(), round(middle), place.bottom())


def best_columns(
    count: int, size_px: tuple[int, int], room_px: tuple[int, int]
) -> tuple[int, float]:
    """In how many columns pictures are largest, and how large.

    Args:
        count: of pictures, at least 1.
        size_px: (width, height) of each.
        room_px: (width, height) for all, with gaps between them.

    Returns:
        Columns, and the factor of both sides; never more than twice the size.
    """
    best = (1, 0.0)
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        wide = (room_px[0] - _GAP_PX * (columns - 1)) / (columns * size_px[0])
        high = (room_px[1] - _GAP_PX * (rows - 1)) / (rows * size_px[1])
        scale = min(wide, high, _MOST_SCALE)
        if scale > best[1]:
            best = (columns, scale)
    return best


def _pixmap(picture: NDArray[np.uint8]) -> QPixmap:
    height, width = picture.shape[:2]
    pixels = np.ascontiguousarray(picture)
    view = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(view.copy())  # the view dies with the array; the copy does not
