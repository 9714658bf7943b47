"""Studies the layers of the shown network in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.maps_controller import MapsController
from descgui.desktop import open_on_desktop
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice
from descgui.models.messages import Failure
from descgui.models.study_state import LayerScore, StudyState
from descgui.workers.lane import JobLane
from engine import api

if TYPE_CHECKING:
    from engine.api import StudyConfig, StudyResult


class StudyController(QObject):
    """Runs one study at a time, of the descriptor that is shown when it begins."""

    _measured = Signal(object)

    def __init__(
        self, models: AppModels, maps: MapsController, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._study = models.study
        self._maps = maps
        self._choice = DescriptorChoice()
        self.lane = JobLane(models.messages.report, self)
        self._measured.connect(self._on_measured)

    def start(self, config: StudyConfig) -> None:
        """Study the shown network's layers with its present settings."""
        if self._study.state.busy or self._models.engine.state.stage != "ready":
            return
        self._choice = choice = self._models.maps.choice
        config = _of_network(config, choice)
        self._study.set(StudyState("running", descriptor=choice.name))
        self.lane.submit(
            partial(_run, config, choice, self._listen),
            key="study",
            done=self._on_done,
            failed=self._on_failed,
            cancelled=lambda: self._study.update(stage="stopped", doing=""),
            happened=self._on_event,
        )

    def stop(self) -> None:
        """Stop; nothing is written."""
        if self._study.state.busy:
            self._study.update(stage="stopping")
            self.lane.cancel()

    def open_page(self) -> None:
        """Open the page with what was found in the browser."""
        folder = self._study.state.folder
        if folder is not None:
            open_on_desktop(folder / api.STUDY_HTML, self._models.messages)

    def show_best(self) -> None:
        """Describe the open pair by the best layer, with the settings that were studied."""
        if self._study.state.best:
            choice = replace(self._choice, name=self._study.state.best)
            self._maps.choose(self._models.maps, choice)

    def copy_command(self, config: StudyConfig) -> None:
        """Copy the command line of the same study."""
        choice = self._models.maps.choice
        command = _command(_of_network(config, choice), choice)
        QGuiApplication.clipboard().setText(command)
        self._models.messages.notify(f"Copied: {command}")

    def _listen(self, _done: int, _total: int, rows: Sequence[tuple[str, float]]) -> None:
        """Called by the worker after each pair."""
        self._measured.emit(tuple(LayerScore(name, pck) for name, pck in rows))

    def _on_measured(self, scores: tuple[LayerScore, ...]) -> None:
        if self._study.state.busy:
            self._study.update(scores=scores)

    def _on_event(self, event: api.Event) -> None:
        if isinstance(event, api.Progress):
            self._study.update(doing=str(event.stage), done=event.done, total=event.total)
        elif isinstance(event, api.Note):
            self._models.messages.log(event.text, event.level, topic="study")

    def _on_done(self, result: StudyResult) -> None:
        scores = []
        for layer in result.layers:
            mean = layer.mean()
            scores.append(LayerScore(layer.name, None if mean is None else mean.pck))
        self._study.update(
            stage="done",
            doing="",
            scores=tuple(scores),
            best=result.best.descriptor,
            best_layer=result.best.name,
            folder=result.folder,
        )
        self._models.messages.notify(
            f"The study of {self._choice.name} is done: {result.best.name} matches best."
        )

    def _on_failed(self, failure: Failure) -> None:
        self._study.update(stage="failed", doing="", message=failure.summary)
        if not failure.expected:
            self._models.messages.report(failure)


def _of_network(config: StudyConfig, choice: DescriptorChoice) -> StudyConfig:
    """The settings of a study of all layers of the chosen network."""
    name = api.network_of(choice.name)
    return replace(config, descriptor=choice.name if name is None else str(name.at()))


def _command(config: StudyConfig, choice: DescriptorChoice) -> str:
    own = dict(choice.values)
    weights = own.pop("weights", None)
    if weights:
        config = replace(config, descriptor=f"{config.descriptor}={weights}")
    options = api.StudyOptions(plugins=api.plugin_files([choice.name]))
    return api.command_line("study", config, options, own=own)


def _run(
    config: StudyConfig,
    choice: DescriptorChoice,
    listen: Callable[[int, int, Sequence[tuple[str, float]]], None],
    context: api.JobContext,
) -> StudyResult:
    """In the worker's thread."""
    folder: Path = api.new_run_dir("study")
    job = api.StudyJob(
        config=config,
        spec=api.choose_study(config, choice.values),
        out=folder,
        command=_command(config, choice),
        listener=listen,
    )
    return job.run(context)
