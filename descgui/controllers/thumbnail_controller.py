"""Reads the small pictures of the browser, the last wanted first."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from descgui.models.messages import MessagesModel
from descgui.views.pixels import rgb_image
from descgui.workers.lane import JobLane
from engine import api

THUMBNAIL_EDGE_PX = 192
_BATCH = 8


class ThumbnailController(QObject):
    """Reads thumbnails in a lane of its own, in small batches.

    Signals:
        ready(Path, QImage): a thumbnail; a null image where the file cannot be read.
    """

    ready = Signal(object, object)

    def __init__(self, messages: MessagesModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted: list[Path] = []
        self.lane = JobLane(messages.report, self)

    def want(self, path: Path) -> None:
        """Ask for one; rows that came into view last are read first."""
        if path not in self._wanted:
            self._wanted.append(path)
        if not self.lane.busy:
            self._next()

    def _next(self) -> None:
        batch = [self._wanted.pop() for _ in range(min(_BATCH, len(self._wanted)))]
        if batch:
            self.lane.submit(
                lambda context: [_load(path, context) for path in batch],
                key="thumbnails",
                done=self._read,
            )

    def _read(self, found: list[tuple[Path, QImage]]) -> None:
        for path, picture in found:
            self.ready.emit(path, picture)
        self._next()


def _load(path: Path, context: api.JobContext) -> tuple[Path, QImage]:
    """On the worker's thread."""
    context.cancel.check()
    try:
        return path, rgb_image(api.read_thumbnail(path, long_edge_px=THUMBNAIL_EDGE_PX))
    except api.DescSpaceError:
        return path, QImage()
