"""Reads the small pictures of the browser."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QImage

from descgui.models.messages import MessagesModel
from descgui.views.pixels import rgb_image
from descgui.workers.in_view import InView
from engine import api

THUMBNAIL_EDGE_PX = 192


class ThumbnailController(InView[Path, QImage]):
    """Reads thumbnails; null ones where files cannot be read."""

    def __init__(self, messages: MessagesModel, parent: QObject | None = None) -> None:
        super().__init__(_load, messages.report, parent)


def _load(path: Path) -> QImage:
    """On the worker's thread."""
    try:
        return rgb_image(api.read_thumbnail(path, long_edge_px=THUMBNAIL_EDGE_PX))
    except api.DescSpaceError:
        return QImage()
