"""What is to be trained, how far a training is, what it showed, and those of the past."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from descgui.models.training_curves_data import insert_frame, thin_frames
from engine.api import ConfigError, Preview, TrainConfig, data_dir, read_yaml, resolve_training

if TYPE_CHECKING:
    from engine.api import TrainingRunInfo, TrainingSamples

Stage = Literal[
    "none", "preparing", "running", "pausing", "paused", "stopping", "stopped", "failed", "done"
]
Curves = Mapping[str, NDArray[np.float64]]
Preset = Literal["quick", "strong", "msnet_v0"]

PRESETS: tuple[Preset, ...] = ("quick", "msnet_v0", "strong")
"""Names of the files in ``resources/configs`` that the form offers, the first one at first."""


def preset_values(preset: Preset) -> dict[str, Any]:
    """The settings of a preset under dotted names, such as ``optimiser.rate``.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    file = read_yaml(data_dir("resources") / "configs" / f"{preset}.yaml")
    return flat(file.get("train") or {})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under dotted names as sections: the inverse of :func:`flat`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return result


@dataclass(frozen=True, slots=True)
class TrainingChoice:
    """What a person wants to have trained.

    Attributes:
        folder: of photos; "" while none is chosen.
        descriptor: registered name.
        own: the descriptor's own settings that are not at their defaults.
        device: where.
        name: of the run and its folder; "" for one made from the time.
        preset: the settings to begin with.
        changes: dotted names below ``train`` -> values that differ from the preset's.
    """

    folder: str = ""
    descriptor: str = "msnet_v0"
    own: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    device: str = "auto"
    name: str = ""
    preset: Preset = PRESETS[0]
    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def config(self) -> TrainConfig:
        """The settings of the job.

        Raises:
            ConfigError: one has a wrong value, or no folder is chosen.
        """
        if not self.folder:
            raise ConfigError("train.photos.folder", "is not named; choose a folder of photos")
        values = {**preset_values(self.preset), **self.changes, "photos.folder": self.folder}
        config, _ = resolve_training(
            from_file={
                "descriptor": self.descriptor,
                "device": self.device,
                "train": nested(values),
            }
        )
        return config


@dataclass(frozen=True, slots=True, eq=False)
class SamplesState:
    """What is known about the chosen photos.

    Attributes:
        looking: they are being looked at.
        found: how many there are, with the first pairs; None before that is known.
        message: why they cannot be used.
        old: settings changed since, and the pairs would look different now.
    """

    looking: bool = False
    found: TrainingSamples | None = None
    message: str = ""
    old: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TrainingStatus:
    """How far the training of this window is.

    Attributes:
        stage: where it stands.
        folder: of the run.
        descriptor: what is trained.
        step, steps: done, and in all.
        steps_per_s: of the last half minute; None before that can be told.
        eta_s: seconds until it is done.
        figures: the latest of each kind, such as ``loss``, ``epoch`` and ``pck@3``.
        best: the best validation figure that was seen, and its step.
        saved_step: step of the last checkpoint.
        message: why it failed, as a sentence with the cure where there is one.
        notes: what a person should know.
    """

    stage: Stage = "none"
    folder: Path | None = None
    descriptor: str = ""
    step: int = 0
    steps: int = 0
    steps_per_s: float | None = None
    eta_s: float | None = None
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    best: tuple[float, int] | None = None
    saved_step: int | None = None
    message: str = ""
    notes: tuple[str, ...] = ()

    @property
    def busy(self) -> bool:
        """True while it computes or could go on at once."""
        return self.stage in ("preparing", "running", "pausing", "paused", "stopping")

    @property
    def can_resume(self) -> bool:
        """True for a run that is not finished and not under way."""
        return self.stage in ("stopped", "failed") and self.folder is not None


class TrainingModel(QObject):
    """Holds all about training.

    Signals:
        choice_changed(TrainingChoice): something else is to be trained.
        samples_changed(SamplesState): more, or less, is known about the photos.
        status_changed(TrainingStatus): the training went on.
        busy_changed(bool): a training began, or none is under way any more.
        metrics_added(list[tuple[int, dict]]): new figures of the live run: steps and values.
        curves_changed(): other runs' curves are shown, or curves were read anew.
        frame_added(Preview): one more picture of the watched run's probe.
        frames_changed(): other pictures are shown.
        runs_changed(tuple[TrainingRunInfo, ...]): the list of runs.
        plots_ready(): what draws curves is loaded.
    """

    choice_changed = Signal(object)
    samples_changed = Signal(object)
    status_changed = Signal(object)
    busy_changed = Signal(bool)
    metrics_added = Signal(object)
    curves_changed = Signal()
    frame_added = Signal(object)
    frames_changed = Signal()
    runs_changed = Signal(object)
    plots_ready = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._choice = TrainingChoice()
        self._samples = SamplesState()
        self._status = TrainingStatus()
        self._runs: tuple[TrainingRunInfo, ...] = ()
        self._shown: tuple[Path, ...] = ()
        self._colors: dict[Path, int] = {}
        self._curves: dict[Path, Curves] = {}
        self._live: dict[str, list[tuple[float, float]]] = {}
        self._live_frames: tuple[Preview, ...] = ()
        self._past_frames: tuple[Preview, ...] = ()
        self._watched: Path | None = None
        self._can_plot = False

    @property
    def choice(self) -> TrainingChoice:
        """What is to be trained."""
        return self._choice

    @property
    def samples(self) -> SamplesState:
        """What is known about the photos."""
        return self._samples

    @property
    def status(self) -> TrainingStatus:
        """How far the training is."""
        return self._status

    @property
    def runs(self) -> tuple[TrainingRunInfo, ...]:
        """The runs of the past and of now, the newest first."""
        return self._runs

    @property
    def shown(self) -> tuple[Path, ...]:
        """Folders of the runs whose curves are laid over one another, in order of their choice."""
        return self._shown

    def color_index(self, folder: Path) -> int:
        """Number of a shown run's colour; it stays as long as the run is shown."""
        return self._colors.get(folder, 0)

    @property
    def watched(self) -> Path | None:
        """Folder of the run whose probe is shown."""
        return self._watched

    @property
    def frames(self) -> tuple[Preview, ...]:
        """Pictures of the watched run's probe, by step."""
        live = self._watched is not None and self._watched == self._status.folder
        return self._live_frames if live else self._past_frames

    @property
    def can_plot(self) -> bool:
        """Whether what draws curves is loaded."""
        return self._can_plot

    def run(self, folder: Path) -> TrainingRunInfo | None:
        """What is known about a run of the list."""
        return next((run for run in self._runs if run.folder == folder), None)

    def curves(self, folder: Path) -> Curves | None:
        """Curves of a run; None while they are not read.  Those of the live run grow."""
        if folder == self._status.folder and (self._live or self._status.busy):
            return {name: np.array(points) for name, points in self._live.items()}
        return self._curves.get(folder)

    def update(self, **changes: Any) -> None:
        """Change some of the choice; silent when nothing changes."""
        new = replace(self._choice, **changes)
        if new != self._choice:
            self._choice = new
            self.choice_changed.emit(new)

    def set_samples(self, state: SamplesState) -> None:
        """Say what is known about the photos."""
        self._samples = state
        self.samples_changed.emit(state)

    def set_status(self, status: TrainingStatus) -> None:
        """Say how far the training is."""
        was_busy, self._status = self._status.busy, status
        self.status_changed.emit(status)
        if status.busy != was_busy:
            self.busy_changed.emit(status.busy)

    def begin_live(self, curves: Curves) -> None:
        """Begin the curves of the live run, with what an earlier part of it has left."""
        self._live = {
            name: [(float(step), float(value)) for step, value in points]
            for name, points in curves.items()
        }
        self.curves_changed.emit()

    def add_metrics(self, metrics: list[tuple[int, dict[str, float]]]) -> None:
        """Lengthen the curves of the live run."""
        for step, values in metrics:
            for name, value in values.items():
                self._live.setdefault(name, []).append((float(step), value))
        if metrics:
            self.metrics_added.emit(metrics)

    def set_shown(self, folders: tuple[Path, ...]) -> None:
        """Lay the curves of these runs over one another; silent when nothing changes."""
        if folders != self._shown:
            self._shown = folders
            self._colors = {key: value for key, value in self._colors.items() if key in folders}
            for folder in folders:
                if folder not in self._colors:
                    taken = self._colors.values()
                    self._colors[folder] = next(n for n in itertools.count() if n not in taken)
            self._curves = {key: value for key, value in self._curves.items() if key in folders}
            self.curves_changed.emit()

    def set_curves(self, folder: Path, curves: Curves) -> None:
        """Give the curves of a shown run."""
        self._curves[folder] = curves
        self.curves_changed.emit()

    def watch(self, folder: Path, frames: tuple[Preview, ...] = ()) -> None:
        """Show the probe of another run; of the live one the pictures are here already."""
        self._watched = folder
        self._past_frames = thin_frames(frames)
        self.frames_changed.emit()

    def begin_frames(self, frames: tuple[Preview, ...]) -> None:
        """Begin the pictures of the live run, with those of an earlier part of it."""
        self._watched = self._status.folder
        self._live_frames = thin_frames(frames)
        self.frames_changed.emit()

    def add_frame(self, frame: Preview) -> None:
        """Add a picture of the live run."""
        self._live_frames = thin_frames(insert_frame(self._live_frames, frame))
        if self._watched == self._status.folder:
            self.frame_added.emit(frame)

    def set_can_plot(self) -> None:
        """Say that what draws curves is loaded; silent the second time."""
        if not self._can_plot:
            self._can_plot = True
            self.plots_ready.emit()

    def set_runs(self, runs: tuple[TrainingRunInfo, ...]) -> None:
        """List other runs; silent when nothing changes."""
        if runs != self._runs:
            self._runs = runs
            self.runs_changed.emit(runs)


def name_problem(name: str) -> str:
    """Why a run cannot be called like this, "" where it can."""
    if name.strip() != name or name.startswith(".") or name.endswith("."):
        return "A run's name begins and ends with a letter, a digit or a sign of its own."
    if any(sign in name for sign in '/\\:*?"<>|') or not name.isprintable():
        return "A run's name is the name of a folder: it holds none of / \\ : * ? \" < > |"
    return ""
