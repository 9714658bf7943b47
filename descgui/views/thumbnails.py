"""Small pictures of image files, asked for when something that shows them is drawn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage, QPixmap

from descgui.views.ports import Thumbnails

_KEPT = 512
_KEPT_EDGE_PX = 160


class ThumbnailCache(QObject):
    """Keeps the thumbnails that were seen last.

    Signals:
        missed(): something was drawn without its thumbnail; whoever knows what is in view calls
            :meth:`want` then.
        arrived(): there are more thumbnails.
    """

    missed = Signal()
    arrived = Signal()

    def __init__(self, reader: Thumbnails, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reader = reader
        self._kept: OrderedDict[Path, QPixmap] = OrderedDict()
        self._missing = QTimer(self)
        self._missing.setSingleShot(True)
        self._missing.setInterval(0)
        self._missing.timeout.connect(self.missed)

    def picture(self, path: Path) -> QPixmap | None:
        """The thumbnail of an image; None until it is there.

        A null pixmap stands for an image that cannot be read.
        """
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        self._missing.start()
        return None

    def want(self, paths: Sequence[Path]) -> None:
        """Read those of these that are missing, and none that was wanted before."""
        self._reader.want([path for path in paths if path not in self._kept], self.put)

    def put(self, path: Path, image: QImage) -> None:
        """Take a thumbnail; a null image where the file cannot be read."""
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
        self._kept[path] = pixmap
        self._kept.move_to_end(path)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.arrived.emit()
