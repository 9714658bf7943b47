"""Runs evaluations beside the rest of the window, and keeps those of the past.

A paused run is a stopped one: all it measured is on the disk, pair by pair, so continuing needs
nothing in memory, also after the window was closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.pair_controller import PairController
from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import (
    Deleted,
    DownloadState,
    EstimateState,
    EvaluationChoice,
    ShownRun,
    Stage,
)
from descgui.models.maps_state import DescriptorChoice
from descgui.models.messages import Failure
from descgui.workers.job_thread import Work
from descgui.workers.lane import JobLane
from engine import api

if TYPE_CHECKING:
    from engine.api import EvaluateJob, PairRecord, RunContent

ESTIMATE_AFTER_MS = 700
_RUN, _REPORT, _ESTIMATE, _LIST, _DOWNLOAD = "evaluate", "report", "estimate", "runs", "download"
_SHOW, _DELETE, _RESTORE = "show run", "delete run", "restore run"


class EvaluationController(QObject):
    """Starts, stops and continues evaluations, and answers what their panel asks for.

    Signals:
        report_ready(Path): a report was written and is wanted now.
    """

    report_ready = Signal(object)
    _began = Signal(int, object)
    _measured = Signal(int, object, int, int)

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        pairs: PairController,
        matches: MatchesController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.evaluation
        self._pairs = pairs
        self._matches = matches
        self._number = 0
        self._leg_start_s: float | None = None
        self._ended_as: Stage = "stopped"
        self._wants_matches = False
        self._wants_estimate = False
        self._load_start: tuple[float, int] | None = None
        self.run_lane = JobLane(models.messages.report, self)
        self.side_lane = JobLane(models.messages.report, self)
        self.download_lane = JobLane(models.messages.report, self)
        self._began.connect(self._on_began)
        self._measured.connect(self._on_measured)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(ESTIMATE_AFTER_MS)
        self._timer.timeout.connect(self._estimate)
        self._model.choice_changed.connect(self._choice_changed)
        models.pair.changed.connect(self._pair_changed)
        engine.ready.connect(self.refresh)

    @property
    def lanes(self) -> tuple[JobLane, JobLane, JobLane]:
        """What has to come to rest before the window can end."""
        return self.run_lane, self.side_lane, self.download_lane

    # ---- the run -------------------------------------------------------------------------------

    def run(self) -> None:
        """Measure what is chosen."""
        if self._model.shown.busy or not self._ready:
            return
        try:
            config = self._model.choice.config()
        except api.ConfigError as error:
            self._model.show(ShownRun("failed", message=str(error)))
            return

        def prepare() -> tuple[EvaluateJob, RunContent]:
            job = api.EvaluateJob(
                config=config,
                choices=api.choose_descriptors(config, {}),
                out=api.new_run_dir("evaluate"),
                command=api.evaluate_command(config, {}),
            )
            return job, _empty_content(job)

        self._start(prepare)

    def resume(self, folder: Path | None = None) -> None:
        """Continue a run that is not finished: the shown one, or the one in a folder."""
        content = self._model.shown.content
        if folder is None and content is not None:
            folder = content.folders[0]
        if folder is None or self._model.shown.busy or not self._ready:
            return
        wanted = folder

        def prepare() -> tuple[EvaluateJob, RunContent]:
            config, values = api.run_settings(wanted)
            job = api.EvaluateJob(
                config=config,
                choices=api.choose_descriptors(config, values),
                out=wanted,
                resume=True,
                command=api.evaluate_command(config, values),
            )
            return job, api.read_run(wanted)

        self._start(prepare)

    def pause(self) -> None:
        """Stop after the present step; the run stays shown and can be continued."""
        self._stop("pausing", "paused")

    def cancel(self) -> None:
        """Stop after the present step; what was measured stays among the past runs."""
        if self._model.shown.stage == "paused":
            self._model.show(replace(self._model.shown, stage="stopped"))
        else:
            self._stop("stopping", "stopped")

    def set_weights(self, descriptor: str, file: Path) -> None:
        """Take a weights file for a descriptor."""
        weights = {**self._model.choice.weights, descriptor: str(file)}
        self._model.update(weights=MappingProxyType(weights))

    def copy_command(self) -> None:
        """Copy the command line that measures what is chosen."""
        try:
            command = api.evaluate_command(self._model.choice.config(), {})
        except api.ConfigError as error:
            self._models.messages.notify(str(error), "warning")
            return
        QGuiApplication.clipboard().setText(command)
        self._models.messages.notify(f"Copied: {command}")

    # ---- the past ------------------------------------------------------------------------------

    def refresh(self) -> None:
        """List the runs again."""
        if self._ready:
            self._submit(self.side_lane, _LIST, _list_runs)

    def show(self, folders: Sequence[Path]) -> None:
        """Show a run of the past, or several in one table."""
        if self._ready and folders and not self._model.shown.busy:
            self._submit(self.side_lane, _SHOW, lambda _context: _read(tuple(folders)))

    def delete(self, folders: Sequence[Path]) -> None:
        """Move runs to the trash folder; the one under way stays."""
        shown = self._model.shown
        kept = shown.content.folders if shown.busy and shown.content is not None else ()
        chosen = tuple(folder for folder in folders if folder not in kept)
        if self._ready and chosen:
            self._submit(self.side_lane, _DELETE, lambda _context: _trash(chosen))

    def undo_delete(self) -> None:
        """Bring back what was thrown away last."""
        deleted = self._model.deleted
        if self._ready and deleted:
            self._submit(self.side_lane, _RESTORE, lambda _context: _restore(deleted))

    def make_report(self) -> None:
        """Write the report of what is shown, if it is not there, and open it."""
        shown = self._model.shown
        if shown.report is not None and shown.report.exists():
            self.report_ready.emit(shown.report)
        elif shown.content is not None and shown.content.finished and self._ready:
            self._model.show(replace(shown, reporting=True))
            self._submit(self.side_lane, _REPORT, partial(_write_report, shown.content.folders))

    def open_pair(self, sequence: str, index: int, label: str, threshold_px: float) -> None:
        """Show a measured pair, with the descriptor of its row and many matches."""
        content = self._model.shown.content
        if content is None:
            return
        if content.root is None:
            self._models.messages.notify(
                "The pictures of this run are not where they were.", "warning"
            )
            return
        measured = next((one for one in content.descriptors if one.label == label), None)
        if measured is not None and self._models.engine.state.descriptor(measured.name):
            weights = {"weights": str(measured.weights)} if measured.weights else {}
            self._models.maps.choose(DescriptorChoice(measured.name, MappingProxyType(weights)))
        if content.changed:
            self._models.messages.notify(
                "The pair is shown as it is on the disk: without rotation or scaling."
            )
        self._models.settings.override(correct_px=max(threshold_px, 0.1))
        self._models.matches.update(visible=True)
        self._wants_matches = True
        self._pairs.open_folder(content.root, sequence=sequence, index=index)

    # ---- the download --------------------------------------------------------------------------

    def download(self, folder: Path) -> None:
        """Load HPatches into a folder, or continue that."""
        if not self._model.download.busy:
            self._load_start = None
            self._model.set_download(DownloadState("loading"))
            self._submit(self.download_lane, _DOWNLOAD, partial(api.download_hpatches, folder))

    def cancel_download(self) -> None:
        """Stop loading; what was loaded is kept."""
        self.download_lane.cancel()

    def use_folder(self, folder: Path) -> None:
        """Measure on a folder of sequences."""
        self._models.settings.remember_folder(str(folder))
        self._model.update(dataset=str(folder))

    # ---- the estimate --------------------------------------------------------------------------

    def want_estimate(self, wanted: bool) -> None:
        """Measure beforehand what the choice takes, as long as somebody looks."""
        self._wants_estimate = wanted
        if wanted and self._model.estimate.estimate is None:
            self._timer.start()
        elif not wanted:
            self._timer.stop()
            self.side_lane.cancel(_ESTIMATE)

    def _choice_changed(self, _choice: EvaluationChoice) -> None:
        self.side_lane.cancel(_ESTIMATE)
        self._model.set_estimate(EstimateState())
        if self._wants_estimate:
            self._timer.start()

    def _estimate(self) -> None:
        if not self._ready or self._model.shown.busy or not self._model.choice.descriptors:
            return
        try:
            config = self._model.choice.config()
        except api.ConfigError as error:
            self._model.set_estimate(EstimateState(message=str(error)))
            return

        def measure(context: api.JobContext) -> object:
            job = api.EstimateJob(config=config, choices=api.choose_descriptors(config, {}))
            return job.run(context)

        self._model.set_estimate(EstimateState(measuring=True))
        self._submit(self.side_lane, _ESTIMATE, measure)

    # ---- what comes back -----------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        return self._models.engine.state.stage == "ready"

    def _submit(self, lane: JobLane, key: str, work: Work) -> None:
        listen = {_RUN: self._run_happened, _DOWNLOAD: self._download_happened}
        lane.submit(
            work,
            key=key,
            done=partial(self._succeeded, key),
            failed=partial(self._failed, key),
            cancelled=partial(self._cancelled, key),
            happened=listen.get(key),
        )

    def _start(self, prepare: Callable[[], tuple[EvaluateJob, RunContent]]) -> None:
        self._number += 1
        self._leg_start_s = None
        number = self._number
        self._timer.stop()
        self.side_lane.cancel(_ESTIMATE)

        def work(context: api.JobContext) -> RunContent:
            job, content = prepare()
            self._began.emit(number, content)

            def listen(record: PairRecord, done: int, total: int) -> None:
                self._measured.emit(number, record, done, total)

            replace(job, listener=listen).run(context)
            return api.read_run(job.out)

        self._model.show(ShownRun("running"))
        self._submit(self.run_lane, _RUN, work)

    def _stop(self, stage: Stage, end: Stage) -> None:
        if self._model.shown.busy:
            self._ended_as = end
            self._model.show(replace(self._model.shown, stage=stage, eta_s=None))
            self.run_lane.cancel(_RUN)

    def _on_began(self, number: int, content: RunContent) -> None:
        if number == self._number and self._model.shown.busy:
            self._model.show(replace(self._model.shown, content=content))

    def _on_measured(self, number: int, record: PairRecord, done: int, total: int) -> None:
        shown = self._model.shown
        if number != self._number or shown.content is None:
            return
        content = shown.content
        rows = (*content.rows, *record.rows)
        before = content.done if done == 1 else content.done - (done - 1)
        labels = [one.label for one in content.descriptors]
        eta_s = None
        if self._leg_start_s is not None and shown.stage == "running":
            eta_s = (time.monotonic() - self._leg_start_s) / done * (total - done)
        content = replace(
            content,
            rows=rows,
            summary=api.means(rows, labels),
            left_out=(*content.left_out, *(entry.reason for entry in record.left_out)),
            done=before + done,
            total=before + total,
        )
        self._model.show(replace(shown, content=content, eta_s=eta_s))

    def _run_happened(self, event: api.Event) -> None:
        match event:
            case api.Progress(api.Stage.MEASURING_PAIRS, 0):
                self._leg_start_s = time.monotonic()
            case api.Note(text, "warning"):
                shown = self._model.shown
                self._models.messages.log(text, "warning", topic="evaluation")
                self._model.show(replace(shown, notes=(*shown.notes, text)))

    def _download_happened(self, event: api.Event) -> None:
        if not isinstance(event, api.Progress):
            if isinstance(event, api.Note):
                self._models.messages.log(event.text, event.level, topic="download")
            return
        speed = None
        if event.stage is api.Stage.DOWNLOADING:
            now_s = time.monotonic()
            if self._load_start is None:
                self._load_start = (now_s, event.done)
            start_s, before = self._load_start
            if now_s - start_s > 1.0:
                speed = (event.done - before) / (now_s - start_s)
        stages = {
            api.Stage.DOWNLOADING: "loading",
            api.Stage.CHECKING_DOWNLOAD: "checking",
        }
        state = DownloadState(
            stages.get(event.stage, "unpacking"),  # type: ignore[arg-type]
            event.done,
            event.total,
            speed,
        )
        self._model.set_download(state)

    def _succeeded(self, key: str, result: Any) -> None:
        model = self._model
        if key == _RUN:
            shown = replace(model.shown, stage="done", content=result, eta_s=None)
            model.show(shown)
            self._after_run()
            if model.choice.open_report:
                self.make_report()
        elif key == _LIST:
            runs, folder = result
            model.set_data_folder(folder)
            model.set_runs(runs)
        elif key == _SHOW:
            content, report = result
            stage: Stage = "done" if content.finished else "stopped"
            if not model.shown.busy:
                model.show(ShownRun(stage, content, notes=content.warnings, report=report))
        elif key == _DELETE:
            self._forget(tuple(one.folder for one in result))
            model.set_deleted(result)
            self.refresh()
        elif key == _RESTORE:
            model.set_deleted(())
            self.refresh()
        elif key == _REPORT:
            folders, page = result
            content = model.shown.content
            if content is not None and content.folders == folders:
                model.show(replace(model.shown, report=page, reporting=False))
            self.report_ready.emit(page)
        elif key == _ESTIMATE:
            model.set_estimate(EstimateState(estimate=result))
        elif key == _DOWNLOAD:
            model.set_download(DownloadState("done", folder=result))
            self.use_folder(result)
            self._models.messages.notify(f"HPatches is in {result}.")

    def _failed(self, key: str, failure: Failure) -> None:
        model = self._model
        if key == _ESTIMATE:
            model.set_estimate(EstimateState(message=failure.summary))
            return
        if key == _RUN:
            shown = replace(model.shown, stage="failed", message=failure.summary, eta_s=None)
            model.show(shown)
            self._after_run()
            if failure.expected and self._wants_estimate:  # the panel says it, and is looked at
                self._models.messages.log(failure.summary, "error", failure.trace)
                return
        elif key == _DOWNLOAD:
            model.set_download(DownloadState("failed", message=failure.summary))
        elif key == _REPORT:
            model.show(replace(model.shown, reporting=False))
        elif key in (_DELETE, _RESTORE):
            self.refresh()
        self._models.messages.notify(failure.summary, "error", failure.trace)

    def _cancelled(self, key: str) -> None:
        if key == _RUN:
            self._model.show(replace(self._model.shown, stage=self._ended_as, eta_s=None))
            self._after_run()
        elif key == _DOWNLOAD:
            self._model.set_download(DownloadState("stopped"))
        elif key == _ESTIMATE:
            self._model.set_estimate(EstimateState())
        elif key == _REPORT:
            self._model.show(replace(self._model.shown, reporting=False))

    def _after_run(self) -> None:
        """List the run among the past ones, and look at the next one's time again."""
        self.refresh()
        self.want_estimate(self._wants_estimate)

    def _forget(self, folders: tuple[Path, ...]) -> None:
        """Show nothing of what is gone."""
        content = self._model.shown.content
        if content is not None and set(content.folders) & set(folders):
            self._model.show(ShownRun())

    def _pair_changed(self) -> None:
        if self._wants_matches:
            self._wants_matches = False
            self._matches.run()


def _empty_content(job: EvaluateJob) -> RunContent:
    """A run of which nothing was measured yet (on the worker's thread)."""
    dataset = api.open_evaluation_set(
        job.config.dataset, which=job.config.subset, data_folder=job.data_folder
    )
    labels = [choice.label for choice in job.choices]
    return api.RunContent(
        folders=(job.out,),
        title=api.run_title(labels, job.config.dataset, job.config.protocol),
        descriptors=tuple(
            api.MeasuredDescriptor(
                label=choice.label,
                name=choice.spec.name,
                weights=_path(dict(choice.spec.settings).get("weights")),
            )
            for choice in job.choices
        ),
        rows=(),
        summary=(),
        warnings=dataset.problems,
        done=0,
        total=dataset.pair_count,
        finished=False,
        root=dataset.root,
        changed=api.is_changed(job.config.dataset),
        command=job.command,
    )


def _path(value: object) -> Path | None:
    return Path(str(value)) if value else None


def _list_runs(_context: api.JobContext) -> tuple[object, Path]:
    return api.list_runs(), api.find_data_folder()


def _read(folders: tuple[Path, ...]) -> tuple[RunContent, Path | None]:
    page = folders[0] / api.REPORT_HTML
    return api.read_runs(folders), page if len(folders) == 1 and page.exists() else None


def _trash(folders: tuple[Path, ...]) -> tuple[Deleted, ...]:
    return tuple(Deleted(api.trash_run(folder), folder) for folder in folders)


def _restore(deleted: tuple[Deleted, ...]) -> None:
    for one in deleted:
        api.restore_run(one.trashed, one.folder)


def _write_report(
    folders: tuple[Path, ...], context: api.JobContext
) -> tuple[tuple[Path, ...], Path]:
    out = folders[0]
    if len(folders) > 1:
        # The same runs compared again take the same folder.
        out = api.user_data_dir() / "reports" / "+".join(folder.name for folder in folders)[:120]
    api.ReportJob(folders=folders, out=out).run(context)
    return folders, out / api.REPORT_HTML
