"""What is to be trained, how far a training is, its curves and pictures, and past runs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from descgui.models.state import StateModel
from descgui.models.training_curves_data import RunCurves, Series, add_frames
from engine.api import (
    ConfigError,
    Preview,
    TrainConfig,
    data_dir,
    flatten,
    nest,
    read_yaml,
    resolve_settings,
)

if TYPE_CHECKING:
    from engine.api import TrainingRunInfo, TrainingSamples

Stage = Literal[
    "none",
    "preparing",
    "running",
    "pausing",
    "paused",
    "stopping",
    "finishing",
    "stopped",
    "failed",
    "done",
]
Curves = Mapping[str, NDArray[np.float64]]
Preset = Literal["quick", "strong", "msnet_v0", "fine_tune"]

PRESETS: tuple[Preset, ...] = ("quick", "msnet_v0", "strong", "fine_tune")
"""Names of the files in ``resources/configs`` that the form offers, the first one at first."""

FINE_TUNE: Preset = "fine_tune"
"""Starts from weights that are good already, and learns from failures."""

EXTRA_PAIRS = "train.extra.pairs"


@functools.cache
def preset_values(preset: Preset) -> Mapping[str, Any]:
    """The settings of a preset under dotted names, such as ``train.optimiser.rate``.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    return MappingProxyType(flatten({"train": _preset_file(preset).get("train") or {}}))


def preset_descriptor(preset: Preset) -> str:
    """The network that a preset was made for.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    return str(_preset_file(preset)["descriptor"])


def preset_own(preset: Preset) -> Mapping[str, Any]:
    """The settings of that network that a preset has, such as the weights it starts from.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    return MappingProxyType(dict(_preset_file(preset).get("settings") or {}))


@functools.cache
def _preset_file(preset: Preset) -> Mapping[str, Any]:
    return read_yaml(data_dir("resources") / "configs" / f"{preset}.yaml")


@dataclass(frozen=True, slots=True)
class TrainingChoice:
    """What is to be trained.

    Attributes:
        folder: of photos; "" while none is chosen.
        descriptor: registered name.
        own: the descriptor's own settings that are not at their defaults.
        device: where.
        name: of the run and its folder; "" for one made from the time.
        preset: where the settings start.
        changes: dotted names -> values that differ from the preset's.
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
        values = {
            **preset_values(self.preset),
            **self.changes,
            "train.photos.folder": self.folder,
            "descriptor": self.descriptor,
            "device": self.device,
        }
        config, _ = resolve_settings(TrainConfig, from_file=nest(values))
        return config


@dataclass(frozen=True, slots=True, eq=False)
class SamplesState:
    """What is known about the chosen photos.

    Attributes:
        reading: they are being read.
        found: how many there are, with the first pairs; None before that is known.
        message: why they cannot be used.
        old: settings changed since, and the pairs would be different now.
    """

    reading: bool = False
    found: TrainingSamples | None = None
    message: str = ""
    old: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TrainingStatus:
    """How far the training of this window is.

    Attributes:
        stage: where it stands.
        folder: of the run.
        step, steps: done, and in all.
        steps_per_s: of the last half minute; None before that is known.
        eta_s: seconds until it is done.
        figures: the latest of each kind, such as ``loss``, ``epoch`` and ``pck@3``.
        best: the best validation figure that was seen, and its step.
        patience: after how many validations without a new best the run ends; 0 for never.
        steps_per_epoch: how many steps go once through the photos; None while unknown.
        saved_step: step of the last checkpoint.
        message: why it failed, as a sentence with the cure where there is one.
        notes: warnings.
    """

    stage: Stage = "none"
    folder: Path | None = None
    step: int = 0
    steps: int = 0
    steps_per_s: float | None = None
    eta_s: float | None = None
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    best: tuple[float, int] | None = None
    patience: int = 0
    steps_per_epoch: float | None = None
    saved_step: int | None = None
    message: str = ""
    notes: tuple[str, ...] = ()

    @property
    def busy(self) -> bool:
        """True while it computes or is paused."""
        return self.stage in (
            "preparing",
            "running",
            "pausing",
            "paused",
            "stopping",
            "finishing",
        )

    def is_live(self, folder: Path) -> bool:
        """True for the folder of the run that is in progress."""
        return self.busy and folder == self.folder

    @property
    def can_resume(self) -> bool:
        """True for a run that is not finished and not under way."""
        return self.stage in ("stopped", "failed") and self.folder is not None


class CurvesModel(QObject):
    """The curves of the runs that are shown over one another; those of the live run grow.

    Signals:
        changed(): other runs are shown, or curves were read.
        grew(list[tuple[int, dict[str, float]]]): the live run's new values by step.
    """

    changed = Signal()
    grew = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._shown: tuple[Path, ...] = ()
        self._colors: dict[Path, int] = {}
        self._read: dict[Path, dict[str, Series]] = {}
        self._live: dict[str, Series] = {}
        self._live_folder: Path | None = None

    @property
    def shown(self) -> tuple[Path, ...]:
        """Folders of the shown runs, in the order they were chosen."""
        return self._shown

    def color_index(self, folder: Path) -> int:
        """Number of a shown run's colour; it stays as long as the run is shown."""
        return self._colors.get(folder, 0)

    def of(self, folder: Path) -> Curves | None:
        """Curves of a run; None while they are not read."""
        series = self.series(folder)
        return None if series is None else {name: one.points for name, one in series.items()}

    def series(self, folder: Path) -> Mapping[str, Series] | None:
        """The same, in the form that grows."""
        return self._live if folder == self._live_folder else self._read.get(folder)

    def show(self, folders: tuple[Path, ...]) -> None:
        """Show these runs; silent when they are shown already."""
        if folders == self._shown:
            return
        self._shown = folders
        self._colors = {key: value for key, value in self._colors.items() if key in folders}
        for folder in folders:
            taken = self._colors.values()
            free = next(number for number in itertools.count() if number not in taken)
            self._colors.setdefault(folder, free)
        self._read = {key: value for key, value in self._read.items() if key in folders}
        self.changed.emit()

    def set(self, folder: Path, curves: Curves) -> None:
        """Give the curves of a run; those of one that is not shown any more are dropped."""
        if folder in self._shown:
            self._read[folder] = {name: Series(points) for name, points in curves.items()}
            self.changed.emit()

    def begin_live(self, folder: Path, curves: Curves) -> None:
        """Make a run the live one, with the curves of an earlier part of it."""
        self._live_folder = folder
        self._live = {name: Series(points) for name, points in curves.items()}
        self.changed.emit()

    def grow(self, metrics: list[tuple[int, dict[str, float]]]) -> None:
        """Lengthen the curves of the live run."""
        for step, values in metrics:
            for name, value in values.items():
                self._live.setdefault(name, Series()).append(step, value)
        if metrics:
            self.grew.emit(metrics)


class FramesModel(QObject):
    """The pictures of the watched run's probe; those of the live run are kept, too.

    Signals:
        changed(): other pictures are shown.
        added(Preview): one more picture of the watched run.
    """

    changed = Signal()
    added = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._watched: Path | None = None
        self._past: tuple[Preview, ...] = ()
        self._live_folder: Path | None = None
        self._live: tuple[Preview, ...] = ()

    @property
    def watched(self) -> Path | None:
        """Folder of the watched run."""
        return self._watched

    @property
    def shown(self) -> tuple[Preview, ...]:
        """Pictures of the watched run, by step."""
        return self._live if self._watched == self._live_folder else self._past

    def watch(self, folder: Path, frames: tuple[Preview, ...] = ()) -> None:
        """Watch another run; the pictures of the live one are here already."""
        self._watched, self._past = folder, add_frames((), frames)
        self.changed.emit()

    def begin_live(self, folder: Path, frames: tuple[Preview, ...]) -> None:
        """Watch a run as the live one, with the pictures of an earlier part of it."""
        self._watched = self._live_folder = folder
        self._live = add_frames((), frames)
        self.changed.emit()

    def add(self, frame: Preview) -> None:
        """Add a picture of the live run."""
        self._live = add_frames(self._live, (frame,))
        if self._watched == self._live_folder:
            self.added.emit(frame)


class TrainingModel:
    """All that is known about training.

    Attributes:
        choice: what is to be trained.
        samples: what is known about the chosen photos.
        status: how far the training of this window is.
        runs: the present and the past runs, the newest first.
        can_plot: whether what draws curves is loaded.
        curves: of the runs that are shown.
        frames: pictures of the run that is watched.
    """

    def __init__(self) -> None:
        self.choice = StateModel(TrainingChoice())
        self.samples = StateModel(SamplesState())
        self.status = StateModel(TrainingStatus())
        self.runs = StateModel[tuple["TrainingRunInfo", ...]](())
        self.can_plot = StateModel(False)
        self.curves = CurvesModel()
        self.frames = FramesModel()

    @property
    def drawn(self) -> tuple[RunCurves, ...]:
        """The shown runs whose curves are read, in order of their choice."""
        status, curves = self.status.state, self.curves
        return tuple(
            RunCurves(folder, series, curves.color_index(folder), status.is_live(folder))
            for folder in curves.shown
            if (series := curves.series(folder)) is not None
        )


def name_problem(name: str) -> str:
    """Why a run cannot be called like this, "" where it can."""
    if name.strip() != name or name.startswith(".") or name.endswith("."):
        return "A run's name must not begin or end with a space or a dot."
    if any(sign in name for sign in '/\\:*?"<>|') or not name.isprintable():
        return "A run's name is the name of a folder and must not contain / \\ : * ? \" < > |"
    return ""
