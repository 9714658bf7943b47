"""What to evaluate, how far an evaluation is, what it found, and the past runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from descgui.models.state import StateModel
from engine.api import EvaluateConfig, Stage, build_config

if TYPE_CHECKING:
    from descgui.models.result_tables import ResultTables
    from engine.api import Estimate, MergedResults, RunInfo

RunStage = Literal["none", "running", "pausing", "paused", "stopping", "stopped", "done", "failed"]

DEMO = "demo"
IN_FORM = ("dataset", "descriptor", "protocol", "subset", "group", "device")
"""Settings with a field of their own; the form lists all others under "More settings"."""


@dataclass(frozen=True, slots=True)
class EvaluationChoice:
    """The evaluation to run.

    Attributes:
        dataset: what opens a set of pairs, or ``demo``.
        stress: how the pairs are warped to make them harder; "" for not at all.
        subset: which part of the set.
        groups: which sequences, scenes or classes of that part; empty for all.
        protocol: see docs/PROTOCOLS.md.
        device: torch device name, or ``auto``.
        descriptors: registered names.
        weights: descriptor -> weights file.
        more: all other settings that differ from their defaults.
        open_report: open the report when the run is done.
    """

    dataset: str = DEMO
    stress: Literal["", "rotated", "scaled"] = ""
    subset: str = "all"
    groups: tuple[str, ...] = ()
    protocol: Literal["seed", "closed", "dense"] = "closed"
    device: str = "auto"
    descriptors: tuple[str, ...] = ("descspace-fast",)
    weights: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    more: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    open_report: bool = True

    def config(self) -> EvaluateConfig:
        """The settings of the job.

        Raises:
            ConfigError: a setting has a wrong value.
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
            "group": self.groups,
            "device": self.device,
        }
        return build_config(EvaluateConfig, values)


@dataclass(frozen=True, slots=True)
class EstimateState:
    """The time and memory that the chosen evaluation takes.

    Attributes:
        measuring: a sample pair is being measured.
        estimate: None while unknown.
        message: why it stays unknown.
    """

    measuring: bool = False
    estimate: Estimate | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ShownRun:
    """The run on display: the present one, or a past one.

    Attributes:
        stage: where it stands.
        content: the results so far.
        tables: the same as the panel's tables need it, made in a worker's thread; None where the
            panel may make it.
        done: pairs that are done while it runs; the tables may know fewer.
        eta_s: seconds until it is done; None while unknown.
        message: why it failed, in one sentence.
        notes: warnings about the results.
        report: the report's page, None before it was written.
        reporting: the report is being written.
    """

    stage: RunStage = "none"
    content: MergedResults | None = None
    tables: ResultTables | None = None
    done: int = 0
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
        """True for a run that ended before all pairs were measured."""
        finished = self.content is not None and self.content.finished
        return self.stage in ("paused", "stopped", "failed") and not finished


@dataclass(frozen=True, slots=True)
class Deleted:
    """A run in the trash, and the folder it came from."""

    trashed: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class DownloadState:
    """Progress of a download.

    Attributes:
        stage: the engine's stage while it runs, else how it ended.
        done, total: in MB, or in files while unpacking; total None when unknown.
        mb_per_s: speed; None while unknown.
        message: why it failed.
        folder: the data set, once it is there.
    """

    stage: Stage | Literal["none", "stopped", "failed", "done"] = "none"
    done: int = 0
    total: int | None = None
    mb_per_s: float | None = None
    message: str = ""
    folder: Path | None = None

    @property
    def busy(self) -> bool:
        """True while it runs."""
        return isinstance(self.stage, Stage)


@dataclass(frozen=True)
class EvaluationModels:
    """All state of evaluations.

    Attributes:
        choice: the evaluation to run.
        estimate: the time and memory it takes.
        shown: the run on display.
        runs: the past runs, newest first.
        deleted: the runs deleted last, which can be restored.
        download: progress of the HPatches download.
        visible: whether the panel is visible.
    """

    choice: StateModel[EvaluationChoice] = field(
        default_factory=partial(StateModel, EvaluationChoice())
    )
    estimate: StateModel[EstimateState] = field(
        default_factory=partial(StateModel, EstimateState())
    )
    shown: StateModel[ShownRun] = field(default_factory=partial(StateModel, ShownRun()))
    runs: StateModel[tuple[RunInfo, ...]] = field(default_factory=lambda: StateModel(()))
    deleted: StateModel[tuple[Deleted, ...]] = field(default_factory=lambda: StateModel(()))
    download: StateModel[DownloadState] = field(
        default_factory=partial(StateModel, DownloadState())
    )
    visible: StateModel[bool] = field(default_factory=partial(StateModel, False))
