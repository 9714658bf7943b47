"""Small pictures in lists, asked for when something that shows them is drawn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from PySide6.QtCore import QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QAbstractItemView

from descgui.views.alive import while_alive

Key = TypeVar("Key", bound=Hashable)


class Pictures(Protocol[Key]):
    """Small pictures by what they show."""

    def want(self, keys: Sequence[Key], show: Callable[[Key, QImage], object]) -> None:
        """Make these alone and show each; a null image where one cannot be made."""


class PictureCache(QObject, Generic[Key]):
    """Keeps the pictures that were seen last.

    Args:
        pictures: makes them.
        kept: how many.
        edge_px: larger ones are shrunk to this long edge; None keeps them as they are.
        accepts: whether a picture that was asked for is still of use when it comes.

    Signals:
        missed(): something was drawn without its picture; whoever knows what is in view calls
            :meth:`want` then.
        arrived(): there are more pictures.
    """

    missed = Signal()
    arrived = Signal()

    def __init__(
        self,
        pictures: Pictures[Key],
        parent: QObject | None = None,
        *,
        kept: int,
        edge_px: int | None = None,
        accepts: Callable[[Key], bool] = lambda _key: True,
    ) -> None:
        super().__init__(parent)
        self._pictures = pictures
        self._most = kept
        self._edge_px = edge_px
        self._accepts = accepts
        self._kept: OrderedDict[Key, QPixmap] = OrderedDict()
        self._missing = QTimer(self)
        self._missing.setSingleShot(True)
        self._missing.setInterval(0)
        self._missing.timeout.connect(self.missed)

    def picture(self, key: Key) -> QPixmap | None:
        """A picture; None until it is there.

        A null pixmap stands for one that cannot be made.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._missing.start()
        return None

    def want(self, keys: Sequence[Key]) -> None:
        """Make those of these that are missing, and none that was wanted before."""
        missing = [key for key in keys if key not in self._kept]
        self._pictures.want(missing, while_alive(self, self.put))

    def put(self, key: Key, image: QImage) -> None:
        """Take a picture; a null image where it cannot be made."""
        if not self._accepts(key):
            return
        edge_px = self._edge_px
        if edge_px is not None and max(image.width(), image.height()) > edge_px:
            image = image.scaled(
                edge_px,
                edge_px,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        self._kept[key] = QPixmap() if image.isNull() else QPixmap.fromImage(image)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        self.arrived.emit()

    def clear(self) -> None:
        """Keep none of them."""
        self._kept.clear()


def rows_in_view(view: QAbstractItemView) -> range:
    """The numbers of the rows of a list or table that are seen, also in part."""
    first = view.indexAt(QPoint(1, 1))
    if not first.isValid():
        return range(0)
    last = view.indexAt(QPoint(1, view.viewport().height() - 1))
    model = view.model()
    assert model is not None
    return range(first.row(), last.row() + 1 if last.isValid() else model.rowCount())
