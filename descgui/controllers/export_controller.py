"""Takes pictures, figures, matches and commands out of the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QGuiApplication, QImage

from descgui.controllers.start_controller import current_options, left_out
from descgui.models.bundle import AppModels
from descgui.models.readings_table import readings_table
from descgui.models.saved_session import Part
from descgui.models.settings import FigureSettings
from descgui.views import figure
from descgui.workers.lane import JobLane
from engine import api
from engine.api import Side

_PREVIEW_PX = 1000
Grab = Callable[[], QImage]


class ExportController(QObject):
    """Writes what is shown; every failure is one sentence and every success names its file.

    Args:
        lane: draws figures.
        grab_panes: the panes as a picture, at the screen's resolution.
        grab_window: the whole window.
        parts_in_sight: what shows of each image that is not fitted.
    """

    def __init__(
        self,
        models: AppModels,
        lane: JobLane,
        *,
        grab_panes: Grab,
        grab_window: Grab,
        parts_in_sight: Callable[[], Mapping[Side, Part]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._lane = lane
        self._grab_panes = grab_panes
        self._grab_window = grab_window
        self._parts_in_sight = parts_in_sight

    def save_panes(self, path: Path) -> None:
        """Write what the panes show as a picture."""
        self._try(path, lambda: figure.write_picture(self._grab_panes(), path))

    def save_picture(self, picture: QImage, path: Path) -> None:
        """Write a picture of one pane."""
        self._try(path, lambda: figure.write_picture(picture, path))

    def save_readings(self, path: Path) -> None:
        """Write the probe and the pins as CSV, or as Markdown by the file's ending."""
        kind: api.CopyFormat = "markdown" if path.suffix.lower() == ".md" else "csv"
        text = api.table_text(kind, readings_table(self._models))
        self._try(path, lambda: api.write_atomically(path, text.encode("utf-8")))

    def copy_readings(self, kind: api.CopyFormat) -> None:
        """Put the probe and the pins on the clipboard, as CSV or Markdown."""
        QGuiApplication.clipboard().setText(api.table_text(kind, readings_table(self._models)))
        self._models.messages.notify("The points are on the clipboard.")

    def save_window(self, path: Path) -> None:
        """Write the whole window as a picture."""
        self._try(path, lambda: figure.write_picture(self._grab_window(), path))

    def save_figure(self, path: Path) -> None:
        """Write a figure for a paper: SVG, PDF or PNG by its suffix."""
        try:
            drawn = figure.pair_figure(self._models)
        except api.DescSpaceError as error:
            self._models.messages.notify(str(error), "error")
            return
        self._lane.submit(
            partial(_write_figure, drawn, path, self._models.settings.state.figure),
            key=f"figure {path}",
            done=lambda _: self._saved(path),
        )

    def preview_figure(self, show: Callable[[bytes], object], say: Callable[[str], object]) -> None:
        """Draw the figure as a small PNG; a newer request replaces one that waits.

        Args:
            show: gets the bytes.
            say: gets the reason where there is nothing to draw.
        """
        try:
            drawn = figure.pair_figure(self._models, _PREVIEW_PX)
        except api.DescSpaceError as error:
            say(str(error))
            return
        self._lane.submit(
            partial(_draw_preview, drawn, self._models.settings.state.figure),
            key="figure preview",
            done=show,
            failed=lambda failure: say(failure.summary),
        )

    def save_matches(self, path: Path) -> None:
        """Write all matches, unfiltered, in the format of the file's ending."""
        table, opened = self._models.matches.state.table, self._models.pair.state
        if table is not None and opened is not None:
            images = opened.pair.path_a, opened.pair.path_b
            self._try(path, lambda: api.write_matches(path, table, images))

    def copy_panes(self) -> None:
        """Put what the panes show on the clipboard."""
        QGuiApplication.clipboard().setImage(self._grab_panes())
        self._models.messages.notify("The picture is on the clipboard.")

    def copy_command(self) -> None:
        """Put the command that opens this very view on the clipboard."""
        options = current_options(self._models, self._parts_in_sight())
        command = api.command_line("view", options)
        QGuiApplication.clipboard().setText(command)
        missing = left_out(self._models)
        beyond = (
            f"\nLeft out: {', '.join(missing)}. File ▸ Save session… keeps these, too."
            if missing
            else ""
        )
        self._models.messages.notify(f"On the clipboard: {command}{beyond}")

    def _try(self, path: Path, write: Callable[[], None]) -> None:
        try:
            write()
        except api.DescSpaceError as error:
            self._models.messages.notify(str(error), "error")
        else:
            self._saved(path)

    def _saved(self, path: Path) -> None:
        self._models.messages.notify(f"Saved as {path}.")


def _write_figure(
    drawn: api.figure_content.PairFigure,
    path: Path,
    settings: FigureSettings,
    _context: api.JobContext,
) -> None:
    figure.write_figure(drawn, path, settings)


def _draw_preview(
    drawn: api.figure_content.PairFigure, settings: FigureSettings, _context: api.JobContext
) -> bytes:
    return figure.preview_png(drawn, settings, _PREVIEW_PX)
