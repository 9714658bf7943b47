"""Draws the small pictures of measured pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PySide6.QtCore import QObject
from PySide6.QtGui import QImage

from descgui.models.gallery_state import PairTable, WantedPicture, list_pairs
from descgui.models.messages import MessagesModel
from descgui.workers.in_view import InView
from descgui.workers.plot_loading import PlotLoader
from engine import api


class GalleryController(InView[WantedPicture, QImage]):
    """Draws pictures from the points that a run kept; null ones where they or images are gone."""

    def __init__(
        self, messages: MessagesModel, plot_loader: PlotLoader, parent: QObject | None = None
    ) -> None:
        super().__init__(_draw, messages.report, parent)
        self._plot_loader = plot_loader

    def tabulate(
        self, content: api.MergedResults, queries: str, show: Callable[[PairTable], object]
    ) -> None:
        """Collect the values of pairs and show them; what was asked before is dropped.

        Args:
            content: the results.
            queries: the list of queries.
            show: called with the values.
        """

        def work(_context: api.JobContext) -> PairTable:
            return list_pairs(content, queries)

        # The plot of these values would stop the window while it is imported.
        self._plot_loader.load(lambda: self.lane.submit(work, key="table", done=show))

    def slice(
        self, content: api.MergedResults, show: Callable[[Sequence[api.Table]], object]
    ) -> None:
        """Measure the slices of results and show them; slices that were asked before are dropped.

        Args:
            content: the results.
            show: called with a table for each metric; none where all pairs are alike.
        """
        self.lane.submit(lambda _context: api.slices_of(content), key="slices", done=show)


def _draw(wanted: WantedPicture) -> QImage:
    """On the worker's thread."""
    root = wanted.content.root
    if root is None:
        return QImage()
    try:
        pixels = api.pair_picture(
            wanted.content,
            wanted.row,
            root=root,
            kind=wanted.kind,
            right_px=wanted.right_px,
            size_px=wanted.size_px,
        )
    except api.DescSpaceError:
        return QImage()
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    view = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return view.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)  # owns its pixels
