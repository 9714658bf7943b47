"""Reads the small pictures of the browser, and only those that are still in view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QImage

from descgui.models.messages import MessagesModel
from descgui.views.pixels import rgb_image
from descgui.workers.lane import JobLane
from engine import api

THUMBNAIL_EDGE_PX = 192
_BATCH = 4
Show = Callable[[Path, QImage], object]


class ThumbnailController(QObject):
    """Reads thumbnails in a lane of its own, in small batches."""

    def __init__(self, messages: MessagesModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: list[Path] = []
        self._reading: frozenset[Path] = frozenset()
        self.lane = JobLane(messages.report, self)

    def want(self, paths: Sequence[Path], show: Show) -> None:
        """Read some and show each; what was wanted before and is not among them is forgotten.

        Args:
            paths: the image files, the first one to be read first.
            show: called with a path and its thumbnail, null where the file cannot be read.
        """
        self._waiting = [path for path in reversed(paths) if path not in self._reading]
        if not self.lane.busy:
            self._next(show)

    def _next(self, show: Show) -> None:
        batch = [self._waiting.pop() for _ in range(min(_BATCH, len(self._waiting)))]
        self._reading = frozenset(batch)
        if batch:
            self.lane.submit(
                lambda context: [_load(path, context) for path in batch],
                key="thumbnails",
                done=lambda found: self._read(found, show),
            )

    def _read(self, found: list[tuple[Path, QImage]], show: Show) -> None:
        for path, picture in found:
            show(path, picture)
        self._next(show)


def _load(path: Path, context: api.JobContext) -> tuple[Path, QImage]:
    """On the worker's thread."""
    context.cancel.check()
    try:
        return path, rgb_image(api.read_thumbnail(path, long_edge_px=THUMBNAIL_EDGE_PX))
    except api.DescSpaceError:
        return path, QImage()
