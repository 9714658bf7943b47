"""Downloads HPatches, and chooses the data set to evaluate on."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject

from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import DownloadState
from descgui.models.messages import Failure
from descgui.workers.lane import JobLane
from engine import api

_SPEED_AFTER_S = 1.0


class DownloadController(QObject):
    """Runs one download at a time; an interrupted one continues where it stopped."""

    def __init__(self, models: AppModels, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._state = models.evaluation.download
        self._began: tuple[float, int] | None = None
        self.lane = JobLane(models.messages.report, self)

    def download(self, folder: Path) -> None:
        """Download HPatches into a folder, or continue there."""
        if self._state.state.busy:
            return
        self._began = None
        self._state.set(DownloadState(api.Stage.DOWNLOADING))
        self.lane.submit(
            partial(api.download_hpatches, folder),
            key="download",
            done=self._on_done,
            failed=self._on_failed,
            cancelled=lambda: self._state.set(DownloadState("stopped")),
            happened=self._on_event,
        )

    def cancel(self) -> None:
        """Stop the download; the part on the disk is kept."""
        self.lane.cancel()

    def use_folder(self, folder: Path) -> None:
        """Evaluate on a folder with pairs."""
        self._models.settings.remember_folder(str(folder))
        self._models.evaluation.choice.update(dataset=str(folder), groups=())

    def _on_event(self, event: api.Event) -> None:
        match event:
            case api.Note(text, level):
                self._models.messages.log(text, level, topic="download")
            case api.Progress(stage, done, total):
                speed = self._speed(done) if stage is api.Stage.DOWNLOADING else None
                self._state.set(DownloadState(stage, done, total, speed))

    def _speed(self, done_mb: int) -> float | None:
        """MB per second since the download began or continued; None in its first second."""
        now_s = time.monotonic()
        if self._began is None:
            self._began = now_s, done_mb
        began_s, before_mb = self._began
        passed_s = now_s - began_s
        return (done_mb - before_mb) / passed_s if passed_s > _SPEED_AFTER_S else None

    def _on_done(self, folder: Path) -> None:
        self._state.set(DownloadState("done", folder=folder))
        self.use_folder(folder)
        self._models.messages.notify(f"HPatches is in {folder}.")

    def _on_failed(self, failure: Failure) -> None:
        self._state.set(DownloadState("failed", message=failure.summary))
        self._models.messages.report(failure)
