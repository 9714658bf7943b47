"""What is to be evaluated, how far an evaluation is, what it found, and those of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QObject, Signal

from engine.api import EvaluateConfig, build_config

if TYPE_CHECKING:
    from engine.api import Estimate, RunContent, RunInfo

Protocol = Literal["seed", "closed", "dense"]
Stage = Literal["none", "running", "pausing", "paused", "stopping", "stopped", "done", "failed"]
Stress = Literal["", "rotated", "scaled"]
DownloadStage = Literal["none", "loading", "checking", "unpacking", "stopped", "failed", "done"]

DEMO = "demo"
IN_FORM = ("dataset", "descriptor", "protocol", "subset", "device")
"""Settings of an evaluation that have a field of their own; all others stand in a form."""


@dataclass(frozen=True, slots=True)
class EvaluationChoice:
    """What a person wants to have measured.

    Attributes:
        dataset: a folder, or ``demo``.
        stress: whether the pairs are made harder.
        subset: which sequences.
        protocol: how.
        device: where.
        descriptors: registered names.
        weights: descriptor -> weights file.
        more: all other settings that are not at their defaults.
        open_report: show the report when it is done.
    """

    dataset: str = DEMO
    stress: Stress = ""
    subset: str = "all"
    protocol: Protocol = "closed"
    device: str = "auto"
    descriptors: tuple[str, ...] = ("descspace-fast",)
    weights: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    more: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    open_report: bool = True

    def config(self) -> EvaluateConfig:
        """The settings of the job.

        Raises:
            ConfigError: one has a wrong value.
        """
        names = [
            f"{name}={self.weights[name]}" if self.weights.get(name) else name
            for name in self.descriptors
        ]
        values = {
            **self.more,
            "dataset": f"{self.stress}:{self.dataset}" if self.stress else self.dataset,
            "descriptor": tuple(names),
            "protocol": self.protocol,
            "subset": self.subset,
            "device": self.device,
        }
        return build_config(EvaluateConfig, values)


@dataclass(frozen=True, slots=True, eq=False)
class EstimateState:
    """What the chosen evaluation will take; ``message`` says why that is not known."""

    measuring: bool = False
    estimate: Estimate | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ShownRun:
    """The run that is shown: the one under way, or one of the past.

    Attributes:
        stage: where it stands.
        content: what was found so far.
        eta_s: seconds until it is done; None where that cannot be told yet.
        message: why it failed, as one sentence.
        notes: what a person should know about the results.
        report: the report's page, None before it was written.
        reporting: the report is being written.
    """

    stage: Stage = "none"
    content: RunContent | None = None
    eta_s: float | None = None
    message: str = ""
    notes: tuple[str, ...] = ()
    report: Path | None = None
    reporting: bool = False

    @property
    def busy(self) -> bool:
        """True while it computes."""
        return self.stage in ("running", "pausing", "stopping")

    @property
    def can_continue(self) -> bool:
        """True for a run that is not finished and not under way."""
        finished = self.content is not None and self.content.finished
        return self.stage in ("paused", "stopped", "failed") and not finished


@dataclass(frozen=True, slots=True)
class Deleted:
    """A run in the trash: where it is, and where it was."""

    trashed: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class DownloadState:
    """How far a download is.

    Attributes:
        stage: where it stands.
        done, total: in MB, or in files while unpacking; total None when unknown.
        mb_per_s: how fast it comes, None before that can be told.
        message: why it failed.
        folder: where the data set is, once it is.
    """

    stage: DownloadStage = "none"
    done: int = 0
    total: int | None = None
    mb_per_s: float | None = None
    message: str = ""
    folder: Path | None = None

    @property
    def busy(self) -> bool:
        """True while it goes on."""
        return self.stage in ("loading", "checking", "unpacking")


class EvaluationModel(QObject):
    """Holds all about evaluations.

    Signals:
        choice_changed(EvaluationChoice): something else is to be measured.
        estimate_changed(EstimateState): what that will take.
        shown_changed(ShownRun): the shown run went on, or another one is shown.
        runs_changed(tuple[RunInfo, ...]): the list of runs.
        deleted_changed(tuple[Deleted, ...]): what can be brought back.
        download_changed(DownloadState): the download went on.
    """

    choice_changed = Signal(object)
    estimate_changed = Signal(object)
    shown_changed = Signal(object)
    runs_changed = Signal(object)
    deleted_changed = Signal(object)
    download_changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._choice = EvaluationChoice()
        self._estimate = EstimateState()
        self._shown = ShownRun()
        self._runs: tuple[RunInfo, ...] = ()
        self._deleted: tuple[Deleted, ...] = ()
        self._download = DownloadState()
        self._data_folder: Path | None = None

    @property
    def choice(self) -> EvaluationChoice:
        """What is to be measured."""
        return self._choice

    @property
    def estimate(self) -> EstimateState:
        """What that will take."""
        return self._estimate

    @property
    def shown(self) -> ShownRun:
        """The run that is shown."""
        return self._shown

    @property
    def runs(self) -> tuple[RunInfo, ...]:
        """The runs of the past, the newest first."""
        return self._runs

    @property
    def deleted(self) -> tuple[Deleted, ...]:
        """What was thrown away last and can be brought back."""
        return self._deleted

    @property
    def download(self) -> DownloadState:
        """How far the download is."""
        return self._download

    @property
    def data_folder(self) -> Path | None:
        """Where data sets are loaded to; None until it is known."""
        return self._data_folder

    def update(self, **changes: Any) -> None:
        """Change some of the choice; silent when nothing changes."""
        new = replace(self._choice, **changes)
        if new != self._choice:
            self._choice = new
            self.choice_changed.emit(new)

    def set_estimate(self, state: EstimateState) -> None:
        """Say what the choice will take."""
        self._estimate = state
        self.estimate_changed.emit(state)

    def show(self, run: ShownRun) -> None:
        """Show another run, or another state of it."""
        self._shown = run
        self.shown_changed.emit(run)

    def set_runs(self, runs: tuple[RunInfo, ...]) -> None:
        """List other runs; silent when nothing changes."""
        if runs != self._runs:
            self._runs = runs
            self.runs_changed.emit(runs)

    def set_deleted(self, deleted: tuple[Deleted, ...]) -> None:
        """Say what can be brought back; silent when nothing changes."""
        if deleted != self._deleted:
            self._deleted = deleted
            self.deleted_changed.emit(deleted)

    def set_download(self, state: DownloadState) -> None:
        """Say how far the download is; silent when nothing changes."""
        if state != self._download:
            self._download = state
            self.download_changed.emit(state)

    def set_data_folder(self, folder: Path) -> None:
        """Say where data sets are loaded to."""
        self._data_folder = folder
