"""Trains beside the rest of the window, and keeps the runs of the past.

A run that rests is held in memory and has a checkpoint besides; one that was stopped goes on from
its checkpoint, also after the window was closed.
"""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice
from descgui.models.messages import Failure
from descgui.models.training_state import (
    Curves,
    SamplesState,
    Stage,
    TrainingChoice,
    TrainingStatus,
    name_problem,
)
from descgui.workers.job_thread import Work
from descgui.workers.lane import JobLane
from descgui.workers.priority import leave_room
from engine import api

if TYPE_CHECKING:
    from engine.api import CheckpointReason, TrainingRunInfo, TrainJob, TrainResult

SAMPLES_AFTER_MS = 700
FLUSH_MS = 200
SPEED_OVER_S = 30.0
_TRAIN, _SAMPLES, _LIST, _LOOK, _EXPORT, _PLOTS = (
    *("train", "samples", "runs", "look", "export", "plots"),
)
_CURVES, _FRAMES = "curves ", "frames"


class TrainingController(QObject):
    """Starts, rests, stops and resumes trainings, and answers what their panel asks for.

    Signals:
        evaluation_wanted(): a network was chosen in the evaluation, which is to be shown.
    """

    evaluation_wanted = Signal()
    _began = Signal(int, object, object, object)

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        maps: MapsController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.training
        self._maps = maps
        self._number = 0
        self._pause = api.PauseToken()
        self._ended_as: Stage = "stopped"
        self._past: Curves = {}
        self._at_work = False
        self._looked_at = False
        self._looked_before = False
        self._added: tuple[Path, ...] = ()
        self._metrics: list[tuple[int, dict[str, float]]] = []
        self._fresh: TrainingStatus | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self.run_lane = JobLane(models.messages.report, self)
        self.side_lane = JobLane(models.messages.report, self)
        self.photos_lane = JobLane(models.messages.report, self)
        self._began.connect(self._on_began)
        self._flushing = self._timer(FLUSH_MS, self._flush)
        self._sampling = self._timer(SAMPLES_AFTER_MS, self._take_samples)
        self._model.choice_changed.connect(self._choice_changed)
        self._last_choice = self._model.choice
        engine.ready.connect(self._engine_ready)

    def _timer(self, interval_ms: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval_ms)
        timer.timeout.connect(slot)
        return timer

    @property
    def lanes(self) -> tuple[JobLane, JobLane, JobLane]:
        """What has to come to rest before the window can end."""
        return self.run_lane, self.side_lane, self.photos_lane

    # ---- the run -------------------------------------------------------------------------------

    def start(self) -> Path | None:
        """Train what is chosen, in a folder of its own; returns the folder that has its name."""
        name = self._model.choice.name
        if not self._free or name_problem(name):
            return None
        folder = api.runs_dir() / name if name else api.new_run_dir("train")
        if folder.exists():
            return folder
        self._start_chosen(folder, resume=False)
        return None

    def start_as(self, name: str) -> None:
        """Train what is chosen under another name."""
        self._model.update(name=name)
        self.start()

    def resume_chosen(self, folder: Path) -> None:
        """Continue the run in a folder with the settings of the form."""
        if self._free:
            self._start_chosen(folder, resume=True)

    def resume(self, folder: Path) -> None:
        """Continue a run with its own settings."""

        def prepare() -> TrainJob:
            info = api.read_training_run(folder)
            if info.config is None:
                raise api.DescSpaceError(info.problem)
            return api.TrainJob(config=info.config, own=info.own, run_dir=folder, resume=True)

        if self._free:
            self._start(folder, prepare)

    def pause(self) -> None:
        """Rest after the present step; a checkpoint is kept."""
        if self._model.status.stage == "running":
            self._pause.pause()
            self._say(stage="pausing", eta_s=None)

    def unpause(self) -> None:
        """End the rest."""
        if self._model.status.stage in ("pausing", "paused"):
            self._marks.clear()
            self._pause.resume()
            self._say(stage="running")

    def stop(self) -> None:
        """Stop after the present step; a checkpoint is kept."""
        if self._model.status.busy:
            self._say(stage="stopping", eta_s=None, steps_per_s=None)
            self.run_lane.cancel(_TRAIN)

    def copy_command(self) -> None:
        """Copy the command line that trains what is chosen."""
        choice = self._model.choice
        try:
            config = choice.config()
        except api.ConfigError as error:
            self._models.messages.notify(str(error), "warning")
            return
        folder = api.runs_dir() / choice.name if choice.name else None
        command = api.train_command(config, choice.own, run_dir=folder or Path("runs") / "my-run")
        QGuiApplication.clipboard().setText(command)
        self._models.messages.notify(f"Copied: {command}")

    # ---- photos --------------------------------------------------------------------------------

    def use_folder(self, folder: Path) -> None:
        """Train on the photos in a folder."""
        self._models.settings.remember_photos(str(folder))
        self._model.update(folder=str(folder))

    def look_again(self) -> None:
        """Count the photos and make the first pairs anew."""
        self._sampling.stop()
        self._take_samples()

    # ---- the past ------------------------------------------------------------------------------

    def want(self, wanted: bool) -> None:
        """Keep the list of runs and the photos fresh, as long as somebody looks."""
        self._looked_at = wanted
        if not wanted:
            return
        if self._ready:
            self._submit(self.side_lane, _PLOTS, _load_plots)
            self.refresh()
        if self._model.samples.found is None and self._model.choice.folder:
            self._sampling.start()

    def refresh(self) -> None:
        """List the runs again."""
        if self._ready:
            added = self._added
            self._submit(self.side_lane, _LIST, lambda _context: _list_runs(added))

    def add_run(self, folder: Path) -> None:
        """List a run that lies elsewhere, too, and show it."""
        self._added = tuple(dict.fromkeys((folder, *self._added)))
        self.refresh()
        self.overlay((*self._model.shown, folder))
        self.watch(folder)

    def overlay(self, folders: tuple[Path, ...]) -> None:
        """Lay the curves of these runs over one another."""
        self._model.set_shown(tuple(dict.fromkeys(folders)))
        for folder in self._model.shown:
            if self._model.curves(folder) is None and self._ready:
                self._submit(self.side_lane, _CURVES + str(folder), partial(_read_curves, folder))

    def watch(self, folder: Path) -> None:
        """Show the probe of a run."""
        if folder == self._model.watched:
            return
        if folder == self._model.status.folder:
            self._model.watch(folder)
        elif self._ready:
            self._submit(
                self.side_lane, _FRAMES, lambda _context: (folder, api.read_previews(folder))
            )

    def use_in_viewer(self, run: TrainingRunInfo, weights: Path) -> None:
        """Describe the open pair with a run's network."""
        if run.config is None:
            return
        values = MappingProxyType({**run.own, "weights": str(weights)})
        choice = DescriptorChoice(run.config.descriptor, values)
        if choice == self._models.maps.choice:
            self._maps.refresh()  # the file may have changed since
        else:
            self._models.maps.choose(choice)

    def evaluate(self, run: TrainingRunInfo, weights: Path) -> None:
        """Choose a run's network in the evaluation."""
        if run.config is None:
            return
        name, choice = run.config.descriptor, self._models.evaluation.choice
        choice.update(
            descriptors=(name,),
            weights=MappingProxyType({**choice.state.weights, name: str(weights)}),
        )
        self.evaluation_wanted.emit()

    def export(self, weights: Path, out: Path) -> None:
        """Write a run's weights into a file of their own."""
        if self._ready:
            self._submit(self.side_lane, _EXPORT, partial(_export, weights, out))

    # ---- inside --------------------------------------------------------------------------------

    def _submit(self, lane: JobLane, key: str, work: Work) -> None:
        lane.submit(
            work,
            key=key,
            done=partial(self._succeeded, key),
            failed=partial(self._failed, key),
            cancelled=partial(self._cancelled, key),
            happened=self._run_happened if key == _TRAIN else None,
        )

    @property
    def _ready(self) -> bool:
        return self._models.engine.state.stage == "ready"

    @property
    def _free(self) -> bool:
        """Whether a training may begin: one at a time."""
        return self._ready and not self._model.status.busy and not self.run_lane.busy

    def _engine_ready(self) -> None:
        if self._looked_at:
            self.want(True)

    def _choice_changed(self, choice: TrainingChoice) -> None:
        before, self._last_choice = self._last_choice, choice
        if choice.folder != before.folder:
            self._model.set_samples(SamplesState())
            if choice.folder:
                self.look_again()
        elif (choice.preset, choice.changes) != (before.preset, before.changes):
            samples = self._model.samples
            self._model.set_samples(replace(samples, old=samples.found is not None))
            if choice.folder and self._looked_at:
                self._sampling.start()

    def _take_samples(self) -> None:
        if not self._ready or not self._model.choice.folder:
            return
        try:
            config = self._model.choice.config()
        except api.ConfigError as error:
            self._model.set_samples(SamplesState(message=str(error)))
            return
        self._model.set_samples(replace(self._model.samples, looking=True, message=""))
        self._submit(
            self.photos_lane,
            _SAMPLES,
            lambda context: api.TrainingSamplesJob(config=config).run(context),
        )

    def _start_chosen(self, folder: Path, *, resume: bool) -> None:
        try:
            config = self._model.choice.config()
        except api.ConfigError as error:
            self._model.set_status(TrainingStatus("failed", message=str(error)))
            return
        own = dict(self._model.choice.own)
        self._start(
            folder, lambda: api.TrainJob(config=config, own=own, run_dir=folder, resume=resume)
        )

    def _start(self, folder: Path, prepare: Callable[[], TrainJob]) -> None:
        self._number += 1
        number = self._number
        self._pause = pause = api.PauseToken()
        self._forget()
        shown = tuple(one for one in self._model.shown if one != folder)
        self._model.set_status(TrainingStatus("preparing", folder))
        self._model.begin_live({})
        self._model.begin_frames(())
        self.overlay((folder, *shown))

        def work(context: api.JobContext) -> TrainResult:
            leave_room()
            job = prepare()
            past: Curves = {}
            frames: tuple[api.Preview, ...] = ()
            if job.resume:
                past, frames = _read_past(folder)
            self._began.emit(number, job, past, frames)
            return job.run(replace(context, pause=pause))

        self._submit(self.run_lane, _TRAIN, work)

    def _forget(self) -> None:
        """Drop what is still to be told of an earlier run."""
        self._past = {}
        self._at_work = False
        self._metrics = []
        self._fresh = None
        self._marks.clear()

    def _on_began(
        self, number: int, job: TrainJob, past: Curves, frames: tuple[api.Preview, ...]
    ) -> None:
        if number != self._number:
            return
        self._past = past
        self._say(descriptor=job.config.descriptor)
        self._model.begin_frames(frames)

    def _say(self, **changes: Any) -> None:
        """Change the status now, with all that waits to be told."""
        self._fresh = replace(self._fresh or self._model.status, **changes)
        self._flush()

    def _soon(self, **changes: Any) -> None:
        """Change the status with the next flush: events may come faster than eyes follow."""
        self._fresh = replace(self._fresh or self._model.status, **changes)
        if not self._flushing.isActive():
            self._flushing.start()

    def _flush(self) -> None:
        self._flushing.stop()
        metrics, self._metrics = self._metrics, []
        if self._fresh is not None:
            status, self._fresh = self._fresh, None
            self._model.set_status(status)
        self._model.add_metrics(metrics)

    # ---- what comes back -----------------------------------------------------------------------

    def _run_happened(self, event: api.Event) -> None:
        match event:
            case api.Progress():
                self._on_progress(event)
            case api.Metric(step, values):
                self._on_metric(step, values)
            case api.Preview():
                self._model.add_frame(event)
            case api.Checkpoint(step, reason):
                self._on_checkpoint(step, reason)
            case api.Note(text, level):
                self._models.messages.log(text, level, topic="training")
                if level == "warning":
                    status = self._fresh or self._model.status
                    self._soon(notes=(*status.notes, text))

    def _on_progress(self, event: api.Progress) -> None:
        total = event.total or 0
        if event.stage is not api.Stage.TRAINING:
            self._soon(step=event.done, steps=total)
            return
        now_s = time.monotonic()
        if not self._at_work:
            self._at_work = True
            self._model.begin_live(
                {name: points[points[:, 0] <= event.done] for name, points in self._past.items()}
            )
            self._past = {}
            self._soon(
                stage="running",
                step=event.done,
                steps=total,
                best=self._best_so_far(),
                figures=self._last_figures(),
            )
            self._read_live()
            return
        self._marks.append((now_s, event.done))
        while now_s - self._marks[0][0] > SPEED_OVER_S:
            self._marks.popleft()
        start_s, before = self._marks[0]
        changes: dict[str, Any] = {"step": event.done, "steps": total}
        stage = (self._fresh or self._model.status).stage
        if stage == "running" and now_s - start_s > 1.0 and event.done > before:
            speed = (event.done - before) / (now_s - start_s)
            changes |= {"steps_per_s": speed, "eta_s": (total - event.done) / speed}
        self._soon(**changes)

    def _on_metric(self, step: int, values: dict[str, float]) -> None:
        self._metrics.append((step, values))
        status = self._fresh or self._model.status
        figures = MappingProxyType({**status.figures, **values})
        best, judge = status.best, api.judge_of(values)
        if judge is not None and api.is_better(judge, values[judge], than=best and best[0]):
            best = (values[judge], step)
        self._soon(figures=figures, best=best)

    def _last_figures(self) -> Mapping[str, float]:
        """The newest figures of an earlier part of the run."""
        curves = self._model.curves(self._model.status.folder or Path()) or {}
        return MappingProxyType(
            {name: float(points[-1, 1]) for name, points in curves.items() if len(points)}
        )

    def _best_so_far(self) -> tuple[float, int] | None:
        curves = self._model.curves(self._model.status.folder or Path()) or {}
        judge = api.judge_of(curves)
        return None if judge is None else api.best_of(judge, curves[judge].tolist())

    def _on_checkpoint(self, step: int, reason: CheckpointReason) -> None:
        # Progress is reported only now and then: the step may be behind what is saved already.
        status = self._fresh or self._model.status
        self._soon(saved_step=step, step=max(step, status.step))
        if reason == "paused" and status.stage == "pausing":
            self._say(stage="paused", eta_s=None, steps_per_s=None)
        self._read_live()

    def _read_live(self) -> None:
        """Bring the live run's entry of the list up to date."""
        folder = self._model.status.folder
        if folder is not None:
            self._submit(self.side_lane, _LOOK, lambda _context: api.read_training_run(folder))

    def _succeeded(self, key: str, result: Any) -> None:
        model = self._model
        if key == _TRAIN:
            self._end("done", self._words_at_end(result))
        elif key == _LIST:
            model.set_runs(result)
            self._show_newest()
        elif key == _LOOK:
            others = tuple(run for run in model.runs if run.folder != result.folder)
            runs = (result, *others)
            model.set_runs(tuple(sorted(runs, key=lambda run: run.began_s, reverse=True)))
        elif key == _SAMPLES:
            model.set_samples(SamplesState(found=result))
        elif key.startswith(_CURVES):
            folder, curves = result
            if folder in model.shown:
                model.set_curves(folder, curves)
        elif key == _FRAMES:
            model.watch(*result)
        elif key == _EXPORT:
            self._models.messages.notify(f"The weights are in {result}.")
        elif key == _PLOTS:
            model.set_can_plot()

    def _show_newest(self) -> None:
        """Show the last run when the panel is first looked at, instead of empty axes."""
        if self._looked_before:
            return
        self._looked_before = True
        newest = next((run for run in self._model.runs if not run.problem and run.step), None)
        if newest is not None and not self._model.shown and self._model.watched is None:
            self.overlay((newest.folder,))
            self.watch(newest.folder)

    def _failed(self, key: str, failure: Failure) -> None:
        if key == _SAMPLES:
            self._model.set_samples(SamplesState(message=failure.summary))
            return
        if key == _TRAIN:
            message = self._with_cure(failure.summary)
            self._end("failed", message=message)
            self._models.messages.notify(message, "error", failure.trace, topic="training")
            return
        self._models.messages.report(failure)

    def _cancelled(self, key: str) -> None:
        if key == _TRAIN:
            self._end("stopped")
        elif key == _SAMPLES:
            self._model.set_samples(replace(self._model.samples, looking=False))

    def _end(self, stage: Stage, words: str = "", *, message: str = "") -> None:
        self._say(stage=stage, eta_s=None, steps_per_s=None, message=message)
        if words:
            self._models.messages.notify(words, topic="training")
        self.refresh()

    def _words_at_end(self, result: TrainResult) -> str:
        name = result.run_dir.name
        words = f"The training “{name}” is finished after {result.steps} steps."
        judge = api.judge_of(result.figures)
        if judge is None or result.best is None:
            return words
        title = api.metric_info(judge).title
        return f"{words} Its best {title} was {result.best:.3f}, at step {result.best_step}."

    def _with_cure(self, reason: str) -> str:
        """The reason of a failure, and what can be done about it."""
        if (self._fresh or self._model.status).saved_step is None:
            return reason
        return f"{reason.rstrip()} The last checkpoint is kept; Resume continues from there."


def _list_runs(added: tuple[Path, ...]) -> tuple[TrainingRunInfo, ...]:
    runs = {run.folder: run for run in api.list_training_runs()}
    runs |= {folder: api.read_training_run(folder) for folder in added}
    return tuple(sorted(runs.values(), key=lambda run: run.began_s, reverse=True))


def _read_curves(folder: Path, _context: api.JobContext) -> tuple[Path, Curves]:
    return folder, api.read_curves(folder)


def _export(weights: Path, out: Path, context: api.JobContext) -> Path:
    api.ExportJob(source=weights, out=out).run(context)
    return out


def _read_past(folder: Path) -> tuple[Curves, tuple[api.Preview, ...]]:
    """Curves and pictures of what was done before; a run without them can go on all the same."""
    try:
        return api.read_curves(folder), api.read_previews(folder)
    except api.DescSpaceError:
        return {}, ()


def _load_plots(_context: api.JobContext) -> None:
    """Import what draws curves: too slow for the window's thread."""
    importlib.import_module("pyqtgraph")
