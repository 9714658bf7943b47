"""Trains in the background of the window, and manages past runs.

A paused run stays in memory and has a checkpoint; a stopped one continues from its checkpoint, also
after the window was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.live_training import LiveTraining
from descgui.controllers.maps_controller import MapsController
from descgui.desktop import open_on_desktop
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
from descgui.workers.plot_loading import PlotLoader
from descgui.workers.priority import leave_room
from engine import api

if TYPE_CHECKING:
    from engine.api import TrainingRunInfo, TrainingState, TrainJob

SAMPLES_AFTER_MS = 700
_OURS = "descspace-fast"  # the rival of what has no shipped weights of its own
Prepared = tuple["TrainJob", Curves, tuple[api.Preview, ...]]


class TrainingController(QObject):
    """Starts, pauses, stops and resumes trainings, and answers what their panel asks for.

    Signals:
        evaluation_wanted(): a network was chosen in the evaluation, which is to be shown.
        pair_wanted(): a network describes the pair, which should come into sight.
    """

    evaluation_wanted = Signal()
    pair_wanted = Signal()

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        maps: MapsController,
        plot_loader: PlotLoader,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.training
        self._maps = maps
        self._plot_loader = plot_loader
        self._pause = api.PauseToken()
        self._finish = api.CancelToken()
        self._visible = False
        self._added: tuple[Path, ...] = ()
        self._before = self._model.choice.state
        self.live = LiveTraining(self._model, models.messages, self._read_entry, self)
        self.run_lane = JobLane(models.messages.report, self)
        self.side_lane = JobLane(models.messages.report, self)
        self.photos_lane = JobLane(models.messages.report, self)
        self._sampling = QTimer(self)
        self._sampling.setSingleShot(True)
        self._sampling.setInterval(SAMPLES_AFTER_MS)
        self._sampling.timeout.connect(self._take_samples)
        self._model.choice.changed.connect(self._on_choice)
        engine.ready.connect(self._on_ready)

    @property
    def lanes(self) -> tuple[JobLane, JobLane, JobLane]:
        """What must be idle before the window can end."""
        return self.run_lane, self.side_lane, self.photos_lane

    # ---- the run -------------------------------------------------------------------------------

    def start(self) -> Path | None:
        """Train what is chosen, in a folder of its own; returns the folder that has its name."""
        name = self._model.choice.state.name
        if not self._free or name_problem(name):
            return None
        folder = api.runs_dir() / name if name else api.new_run_dir("train")
        if folder.exists():
            return folder
        self._run_chosen(folder, resume=False)
        return None

    def start_as(self, name: str) -> None:
        """Train what is chosen under another name."""
        self._model.choice.update(name=name)
        self.start()

    def resume_chosen(self, folder: Path) -> None:
        """Continue the run in a folder with the settings of the form."""
        if self._free:
            self._run_chosen(folder, resume=True)

    def resume(self, folder: Path) -> None:
        """Continue a run with its own settings."""

        def prepare(_context: api.JobContext) -> Prepared:
            info = api.read_training_run(folder)
            if info.config is None:
                raise api.DescSpaceError(info.problem)
            job = api.TrainJob(config=info.config, own=info.own, run_dir=folder, resume=True)
            return job, *_read_past(folder)

        if self._free:
            self._run(folder, prepare)

    def pause(self) -> None:
        """Pause after the current step and save a checkpoint."""
        if self.live.status.stage == "running":
            self._pause.pause()
            self.live.set_stage("pausing")

    def unpause(self) -> None:
        """Continue a paused run."""
        if self.live.status.stage in ("pausing", "paused"):
            self._pause.resume()
            self.live.set_stage("running")

    def stop(self) -> None:
        """Stop after the current step and save a checkpoint."""
        if self.live.status.busy:
            self.live.set_stage("stopping")
            self.run_lane.cancel()

    def finish(self) -> None:
        """End the run well after the current step: its best weights are the result."""
        if self.live.status.stage == "running":
            self.live.set_stage("finishing")
            self._finish.cancel()

    def copy_command(self) -> None:
        """Copy the command line that trains what is chosen."""
        choice, messages = self._model.choice.state, self._models.messages
        try:
            config = choice.config()
        except api.ConfigError as error:
            messages.notify(str(error), "warning")
            return
        folder = api.runs_dir() / choice.name if choice.name else Path("runs") / "my-run"
        plugins = api.plugin_files([config.descriptor])
        options = api.TrainOptions(run_dir=folder, plugins=plugins)
        command = api.command_line("train", config, options, own=choice.own)
        QGuiApplication.clipboard().setText(command)
        messages.notify(f"Copied: {command}")

    @property
    def _ready(self) -> bool:
        return self._models.engine.state.stage == "ready"

    @property
    def _free(self) -> bool:
        """Whether a training may begin: one at a time."""
        return self._ready and not self.live.status.busy and not self.run_lane.busy

    def _run_chosen(self, folder: Path, *, resume: bool) -> None:
        choice = self._model.choice.state
        try:
            config = choice.config()
        except api.ConfigError as error:
            self.live.show(TrainingStatus("failed", message=str(error)))
            return

        def prepare(_context: api.JobContext) -> Prepared:
            own = dict(choice.own)
            job = api.TrainJob(config=config, own=own, run_dir=folder, resume=resume)
            return job, *(_read_past(folder) if resume else ({}, ()))

        self._run(folder, prepare)

    def _run(self, folder: Path, prepare: Callable[[api.JobContext], Prepared]) -> None:
        self.live.begin(folder)
        others = tuple(other for other in self._model.curves.shown if other != folder)
        self.overlay((folder, *others))
        self.run_lane.submit(
            prepare, key="train", done=self._train, failed=self._on_failed, cancelled=self._end
        )

    def _train(self, prepared: Prepared) -> None:
        if self.live.status.stage == "stopping":
            self._end()
            return
        job, curves, frames = prepared
        self.live.show_past(curves, frames)
        self._pause = pause = api.PauseToken()
        self._finish = finish = api.CancelToken()
        patience = job.config.train.validation.patience
        self.live.show(replace(self.live.status, patience=patience))

        def work(context: api.JobContext) -> TrainingState:
            leave_room()
            return job.run(replace(context, pause=pause, finish=finish))

        self.run_lane.submit(
            work,
            key="train",
            done=self._on_done,
            failed=self._on_failed,
            cancelled=self._end,
            happened=self.live.happened,
        )

    def _on_done(self, result: TrainingState) -> None:
        folder = self.live.status.folder
        name = folder.name if folder is not None else ""
        early = result.ended == "patience"
        why = f", {result.no_better} checks after its best" if early else ""
        words = f"The training “{name}” is finished after {result.step} steps{why}."
        judge = api.judge_of(result.figures)
        if judge is not None and result.best is not None:
            title = api.metric_info(judge).title
            words += f" Its best {title} was {result.best:.3f}, at step {result.best_step}."
        self._end("done")
        self._models.messages.notify(words, topic="training")

    def _on_failed(self, failure: Failure) -> None:
        message = failure.summary
        if self.live.status.saved_step is not None:
            message += " The last checkpoint is kept; Resume continues from there."
        self._end("failed", message=message)
        self._models.messages.notify(message, "error", failure.trace, topic="training")

    def _end(self, stage: Stage = "stopped", *, message: str = "") -> None:
        self.live.set_stage(stage, message=message)
        self.refresh()

    # ---- photos --------------------------------------------------------------------------------

    def use_folder(self, folder: Path) -> None:
        """Train on the photos in a folder."""
        self._models.settings.remember_photos(str(folder))
        self._model.choice.update(folder=str(folder))

    def read_photos(self) -> None:
        """Count the photos and make the first pairs again."""
        self._sampling.stop()
        self._take_samples()

    def _on_choice(self, choice: TrainingChoice) -> None:
        before, self._before = self._before, choice
        samples = self._model.samples
        if choice.folder != before.folder:
            samples.set(SamplesState())
            self.read_photos()
        elif (choice.preset, choice.changes) != (before.preset, before.changes):
            samples.update(old=samples.state.found is not None)
            if self._visible:
                self._sampling.start()

    def _take_samples(self) -> None:
        if not self._ready or not self._model.choice.state.folder:
            return
        samples = self._model.samples
        try:
            config = self._model.choice.state.config()
        except api.ConfigError as error:
            samples.set(SamplesState(message=str(error)))
            return
        samples.update(reading=True, message="")
        self.photos_lane.submit(
            lambda context: api.TrainingSamplesJob(config=config).run(context),
            key="samples",
            done=lambda found: samples.set(SamplesState(found=found)),
            failed=lambda failure: samples.set(SamplesState(message=failure.summary)),
            cancelled=lambda: samples.update(reading=False),
        )

    # ---- runs ----------------------------------------------------------------------------------

    def want(self, wanted: bool) -> None:
        """Keep runs and photos up to date while the panel is visible."""
        self._visible = wanted
        if not wanted:
            return
        if self._ready:
            self._plot_loader.load(lambda: self._model.can_plot.set(True))
        self.refresh()
        samples = self._model.samples.state
        if samples.found is None or samples.old:  # settings may have changed while nobody looked
            self._sampling.start()

    def refresh(self) -> None:
        """List the runs again."""
        added = self._added
        self._aside("runs", lambda _context: api.list_training_runs(also=added), self._set_runs)

    def add_run(self, folder: Path) -> None:
        """List and show a run from another folder."""
        self._added = tuple(dict.fromkeys((folder, *self._added)))
        self.refresh()
        self.overlay((*self._model.curves.shown, folder))
        self.watch(folder)

    def show_folder(self, folder: Path) -> None:
        """Show a run's folder in the desktop's file manager."""
        open_on_desktop(folder, self._models.messages)

    def overlay(self, folders: tuple[Path, ...]) -> None:
        """Show the curves of these runs in one another's plots."""
        curves = self._model.curves
        curves.show(tuple(dict.fromkeys(folders)))
        for folder in curves.shown:
            if curves.of(folder) is None:
                self._read_curves(folder)

    def watch(self, folder: Path) -> None:
        """Show the probe of a run."""
        frames = self._model.frames
        if folder == frames.watched:
            return
        if folder == self.live.status.folder:
            frames.watch(folder)
        else:
            self._aside(
                "frames",
                lambda _context: api.read_previews(folder),
                lambda read: frames.watch(folder, read),
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
        self.pair_wanted.emit()

    def compare_with_shipped(self, run: TrainingRunInfo, weights: Path) -> None:
        """Show a run's network, and beside it the same one with the weights that are shipped."""
        if run.config is None:
            return
        self.use_in_viewer(run, weights)
        shipped = DescriptorChoice(shipped_rival(run.config.descriptor))
        places = self._models.compared
        if all(place.choice != shipped for place in places):
            free = next((place for place in places if not place.choice.name), places[-1])
            free.choose(shipped)

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
        """Write a run's weights to a file."""
        self._aside(
            "export",
            lambda context: api.ExportJob(source=weights, out=out).run(context),
            lambda _header: self._models.messages.notify(f"Exported the weights to {out}."),
        )

    def _on_ready(self) -> None:
        self.want(self._visible)

    def _aside(self, key: Hashable, work: Work, done: Callable[[Any], object]) -> None:
        """Do something beside the training."""
        if self._ready:
            self.side_lane.submit(work, key=key, done=done)

    def _read_curves(self, folder: Path) -> None:
        self._aside(
            ("curves", folder),
            lambda _context: api.read_curves(folder),
            lambda read: self._model.curves.set(folder, read),
        )

    def _read_entry(self, folder: Path) -> None:
        """Bring a run's entry of the list up to date."""
        self._aside("entry", lambda _context: api.read_training_run(folder), self._set_entry)

    def _set_entry(self, entry: TrainingRunInfo) -> None:
        others = (run for run in self._model.runs.state if run.folder != entry.folder)
        runs = sorted((entry, *others), key=lambda run: run.began_s, reverse=True)
        self._model.runs.set(tuple(runs))

    def _set_runs(self, runs: tuple[TrainingRunInfo, ...]) -> None:
        """List the runs; at first show the newest one instead of empty axes."""
        first = not self._model.runs.state
        self._model.runs.set(runs)
        if not first or self._model.curves.shown or self._model.frames.watched is not None:
            return
        newest = next((run for run in runs if not run.problem and run.step), None)
        if newest is not None:
            self.overlay((newest.folder,))
            self.watch(newest.folder)


def shipped_rival(descriptor: str) -> str:
    """The descriptor with shipped weights that a trained one is compared with: itself if it can."""
    own = api.weights_in_use(descriptor) == api.SHIPPED_WEIGHTS
    return descriptor if own else _OURS


def _read_past(folder: Path) -> tuple[Curves, tuple[api.Preview, ...]]:
    """Curves and pictures of the part that is done; a run can continue without them."""
    try:
        return api.read_curves(folder), api.read_previews(folder)
    except api.DescSpaceError:
        return {}, ()
