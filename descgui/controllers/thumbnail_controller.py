"""Reads the small pictures of the browser, the last wanted first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QImage

from descgui.models.messages import MessagesModel
from descgui.views.pixels import rgb_image
from descgui.workers.lane import JobLane
from engine import api

THUMBNAIL_EDGE_PX = 192
_BATCH = 8
Show = Callable[[Path, QImage], object]


class ThumbnailController(QObject):
    """Reads thumbnails in a lane of its own, in small batches."""

    def __init__(self, messages: MessagesModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted: dict[Path, Show] = {}
        self.lane = JobLane(messages.report, self)

    def want(self, path: Path, show: Show) -> None:
        """Read one and show it; those that were asked for last are read first.

        Args:
            path: the image file.
            show: called with the path and the thumbnail, null where the file cannot be read.
        """
        self._wanted.setdefault(path, show)
        if not self.lane.busy:
            self._next()

    def _next(self) -> None:
        batch = [self._wanted.popitem() for _ in range(min(_BATCH, len(self._wanted)))]
        if batch:
            self.lane.submit(
                lambda context: [(show, *_load(path, context)) for path, show in batch],
                key="thumbnails",
                done=self._read,
            )

    def _read(self, found: list[tuple[Show, Path, QImage]]) -> None:
        for show, path, picture in found:
            show(path, picture)
        self._next()


def _load(path: Path, context: api.JobContext) -> tuple[Path, QImage]:
    """On the worker's thread."""
    context.cancel.check()
    try:
        return path, rgb_image(api.read_thumbnail(path, long_edge_px=THUMBNAIL_EDGE_PX))
    except api.DescSpaceError:
        return path, QImage()
