"""Runs evaluations beside the rest of the window.

A paused run is a stopped one: every measured pair is on the disk, so a run can be continued even
after the window was closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.results_controller import ResultsController
from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import RunStage, ShownRun
from descgui.models.messages import Failure
from descgui.workers.lane import JobLane
from engine import api

if TYPE_CHECKING:
    from engine.api import EvaluateConfig, EvaluateJob, PairRecord, RunContent


class EvaluationController(QObject):
    """Starts, pauses, cancels and continues evaluations, one at a time."""

    _began = Signal(object)
    _measured = Signal(object, int, int)

    def __init__(
        self, models: AppModels, results: ResultsController, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._choice = models.evaluation.choice
        self._shown = models.evaluation.shown
        self._results = results
        self._ends_as: RunStage = "stopped"
        self._pairs_began_s: float | None = None
        self.lane = JobLane(models.messages.report, self)
        self._began.connect(self._on_began)
        self._measured.connect(self._on_measured)

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
            command = api.command_line("evaluate", self._choice.state.config())
        except api.ConfigError as error:
            self._models.messages.notify(str(error), "warning")
            return
        QGuiApplication.clipboard().setText(command)
        self._models.messages.notify(f"Copied: {command}")

    @property
    def _free(self) -> bool:
        return self._models.engine.state.stage == "ready" and not self._shown.state.busy

    def _start(self, prepare: Callable[[], tuple[EvaluateJob, RunContent]]) -> None:
        def work(context: api.JobContext) -> RunContent:
            job, content = prepare()
            self._began.emit(content)
            replace(job, listener=self._measured.emit).run(context)
            return api.read_run(job.out)

        self._pairs_began_s = None
        self._shown.set(ShownRun("running"))
        self.lane.submit(
            work,
            key="evaluate",
            done=self._on_done,
            failed=self._on_failed,
            cancelled=lambda: self._end(self._ends_as),
            happened=self._on_event,
        )

    def _stop(self, stage: RunStage, ends_as: RunStage) -> None:
        if self._shown.state.busy:
            self._ends_as = ends_as
            self._shown.update(stage=stage, eta_s=None)
            self.lane.cancel()

    def _on_began(self, content: RunContent) -> None:
        self._shown.update(content=content)

    def _on_measured(self, record: PairRecord, done: int, total: int) -> None:
        """Add a pair; ``done`` and ``total`` count the pairs since the run was continued."""
        shown = self._shown.state
        content = shown.content
        assert content is not None
        rows = (*content.rows, *record.rows)
        eta_s = None
        if self._pairs_began_s is not None and shown.stage == "running":
            eta_s = (time.monotonic() - self._pairs_began_s) / done * (total - done)
        content = replace(
            content,
            rows=rows,
            summary=api.means(rows, [one.label for one in content.descriptors]),
            left_out=(*content.left_out, *(entry.reason for entry in record.left_out)),
            done=content.done + 1,
            total=content.done + 1 - done + total,
        )
        self._shown.update(content=content, eta_s=eta_s)

    def _on_event(self, event: api.Event) -> None:
        match event:
            case api.Progress(api.Stage.MEASURING_PAIRS, 0):
                self._pairs_began_s = time.monotonic()
            case api.Note(text, "warning"):
                self._models.messages.log(text, "warning", topic="evaluation")
                self._shown.update(notes=(*self._shown.state.notes, text))

    def _on_done(self, content: RunContent) -> None:
        self._end("done", content=content)
        if self._choice.state.open_report:
            self._results.open_report()

    def _on_failed(self, failure: Failure) -> None:
        self._end("failed", message=failure.summary)
        if failure.expected and self._models.evaluation.visible.state:  # the panel shows it
            self._models.messages.log(failure.summary, "error", failure.trace)
        else:
            self._models.messages.notify(failure.summary, "error", failure.trace)

    def _end(self, stage: RunStage, **changes: object) -> None:
        self._shown.update(stage=stage, eta_s=None, **changes)
        self._results.refresh()


def _new_job(config: EvaluateConfig) -> tuple[EvaluateJob, RunContent]:
    """A job in a folder of its own, and its empty results (in the worker's thread)."""
    job = api.EvaluateJob(
        config=config,
        choices=api.choose_descriptors(config, {}),
        out=api.new_run_dir("evaluate"),
        command=api.command_line("evaluate", config),
    )
    dataset = api.open_evaluation_set(
        config.dataset, which=config.subset, data_folder=job.data_folder
    )
    weights = [dict(choice.spec.settings).get("weights") for choice in job.choices]
    labels = [choice.label for choice in job.choices]
    return job, api.RunContent(
        folders=(job.out,),
        title=api.run_title(labels, config.dataset, config.protocol),
        descriptors=tuple(
            api.MeasuredDescriptor(
                label=choice.label,
                name=choice.spec.name,
                weights=Path(str(file)) if file else None,
            )
            for choice, file in zip(job.choices, weights, strict=True)
        ),
        rows=(),
        summary=(),
        warnings=dataset.problems,
        done=0,
        total=dataset.pair_count,
        finished=False,
        root=dataset.root,
        changed=api.is_changed(config.dataset),
        command=job.command,
    )


def _unfinished_job(folder: Path) -> tuple[EvaluateJob, RunContent]:
    """A job that measures what is missing, and the results so far (in the worker's thread)."""
    config, values = api.run_settings(folder)
    job = api.EvaluateJob(
        config=config,
        choices=api.choose_descriptors(config, values),
        out=folder,
        resume=True,
        command=api.command_line("evaluate", config, own=values),
    )
    return job, api.read_run(folder)
