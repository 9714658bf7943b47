"""Runs evaluations beside the rest of the window.

A paused run is a stopped one: every measured pair is on the disk, so a run can be continued even
after the window was closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.live_results import LiveResults
from descgui.controllers.results_controller import ResultsController
from descgui.models.browser_state import BrowserState
from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import DEMO, RunStage, ShownRun
from descgui.models.messages import Failure
from descgui.models.result_tables import ResultTables
from descgui.workers.lane import JobLane
from engine import api

if TYPE_CHECKING:
    from engine.api import Begun, EvaluateConfig, EvaluateJob


COUNT_MS = 250


class EvaluationController(QObject):
    """Starts, pauses, cancels and continues evaluations, one at a time."""

    _measured = Signal(object, object)

    def __init__(
        self, models: AppModels, results: ResultsController, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._choice = models.evaluation.choice
        self._shown = models.evaluation.shown
        self._results = results
        self._ends_as: RunStage = "stopped"
        self._began: tuple[float, int] | None = None
        self.lane = JobLane(models.messages.report, self)
        self._live = LiveResults(self._show_so_far, models.messages.report, self)
        self._done = 0
        self._counting = QTimer(self, singleShot=True, interval=COUNT_MS)
        self._counting.timeout.connect(self._count)
        self._measured.connect(self._on_measured)
        self._opened: api.PairSet | None = None
        self._followed = DEMO
        models.browser.changed.connect(self._follow_browser)

    def run(self) -> None:
        """Measure the chosen descriptors."""
        if not self._free:
            return
        try:
            config = self._choice.state.config()
        except api.ConfigError as error:
            self._shown.set(ShownRun("failed", message=str(error)))
            return
        self._start(partial(_new_job, config))

    def resume(self, folder: Path | None = None) -> None:
        """Continue an unfinished run; None continues the run on display."""
        content = self._shown.state.content
        if folder is None and content is not None:
            folder = content.folders[0]
        if folder is not None and self._free:
            self._start(partial(_unfinished_job, folder))

    def pause(self) -> None:
        """Stop after the present step; the run stays on display and can be continued."""
        self._stop("pausing", "paused")

    def cancel(self) -> None:
        """Stop after the present step; the measured pairs stay among the past runs."""
        if self._shown.state.stage == "paused":
            self._shown.update(stage="stopped")
        else:
            self._stop("stopping", "stopped")

    def copy_command(self) -> None:
        """Copy the command line that runs the chosen evaluation."""
        try:
            command = _command(self._choice.state.config())
        except api.ConfigError as error:
            self._models.messages.notify(str(error), "warning")
            return
        QGuiApplication.clipboard().setText(command)
        self._models.messages.notify(f"Copied: {command}")

    def _follow_browser(self, state: BrowserState) -> None:
        """Choose the set that was opened, unless the user has chosen another one here."""
        if state.dataset is None or state.dataset is self._opened:
            return
        self._opened = state.dataset
        opened = DEMO if api.is_demo(state.dataset.root) else state.dataset.opened
        if self._choice.state.dataset == self._followed != opened:
            self._choice.update(dataset=opened, subset="all", groups=())
        self._followed = opened

    @property
    def lanes(self) -> tuple[JobLane, JobLane]:
        """Where it measures, and where it sums up what was measured."""
        return self.lane, self._live.lane

    @property
    def _free(self) -> bool:
        return self._models.engine.state.stage == "ready" and not self._shown.state.busy

    def _start(self, prepare: Callable[[], EvaluateJob]) -> None:
        def work(context: api.JobContext) -> ResultTables:
            job = replace(prepare(), listener=self._measured.emit)
            job.run(context)
            return ResultTables.of(api.read_runs([job.out]))

        self._began, self._done = None, 0
        self._shown.set(ShownRun("running"))
        self.lane.submit(
            work,
            key="evaluate",
            done=self._on_done,
            failed=self._on_failed,
            cancelled=lambda: self._live.finish(lambda: self._end(self._ends_as)),
            happened=self._on_event,
        )

    def _stop(self, stage: RunStage, ends_as: RunStage) -> None:
        if self._shown.state.busy:
            self._ends_as = ends_as
            self._shown.update(stage=stage, eta_s=None)
            self.lane.cancel()

    def _on_measured(self, begun: Begun, _record: object) -> None:
        """Follow a run, from before its first pair on."""
        self._done = len(begun.records)
        if not self._counting.isActive():
            self._count()
            self._counting.start()
        self._live.follow(begun)

    def _count(self) -> None:
        """Show how many pairs are done, and when all will be."""
        eta_s, shown = None, self._shown.state
        if self._began is None:
            self._began = time.monotonic(), self._done
        elif shown.stage == "running" and shown.tables is not None:
            began_s, before = self._began
            left = (shown.tables.total - self._done) / max(1, self._done - before)
            eta_s = (time.monotonic() - began_s) * left
        if shown.busy:
            self._shown.update(done=self._done, eta_s=eta_s)

    def _show_so_far(self, tables: ResultTables) -> None:
        self._shown.update(content=tables.content, tables=tables)

    def _on_event(self, event: api.Event) -> None:
        if isinstance(event, api.Note) and event.level == "warning":
            self._models.messages.log(event.text, "warning", topic="evaluation")
            self._shown.update(notes=(*self._shown.state.notes, event.text))

    def _on_done(self, tables: ResultTables) -> None:
        self._live.drop()
        self._end("done", content=tables.content, tables=tables)
        if self._choice.state.open_report:
            self._results.open_report()

    def _on_failed(self, failure: Failure) -> None:
        self._live.finish(partial(self._tell_failure, failure))

    def _tell_failure(self, failure: Failure) -> None:
        self._end("failed", message=failure.summary)
        if failure.expected and self._models.evaluation.visible.state:  # the panel shows it
            self._models.messages.log(failure.summary, "error", failure.trace)
        else:
            self._models.messages.notify(failure.summary, "error", failure.trace)

    def _end(self, stage: RunStage, **changes: object) -> None:
        self._counting.stop()
        self._shown.update(stage=stage, eta_s=None, **changes)
        self._results.refresh()


def _new_job(config: EvaluateConfig) -> EvaluateJob:
    """A job in a folder of its own (in the worker's thread)."""
    return api.EvaluateJob(
        config=config,
        choices=api.choose_descriptors(config, {}),
        out=api.new_run_dir("evaluate"),
        command=_command(config),
    )


def _unfinished_job(folder: Path) -> EvaluateJob:
    """A job that measures what is missing (in the worker's thread)."""
    config, values = api.run_settings(folder)
    return api.EvaluateJob(
        config=config,
        choices=api.choose_descriptors(config, values),
        out=folder,
        resume=True,
        command=_command(config, values),
    )


def _command(config: EvaluateConfig, own: Mapping[str, Any] | None = None) -> str:
    """The command line of an evaluation, with the plugins that it needs."""
    options = api.EvaluateOptions(plugins=api.plugin_files(api.descriptor_names(config)))
    return api.command_line("evaluate", config, options, own=own)
