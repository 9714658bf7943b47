"""The requests that the evaluation panel makes; controllers carry them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.api import CopyFormat, Table


class RunActions(Protocol):
    """Requests about the run that is, or will be, computed."""

    def run(self) -> None: ...
    def pause(self) -> None: ...
    def cancel(self) -> None: ...
    def resume(self, folder: Path | None = None) -> None: ...
    def copy_command(self) -> None: ...


class ResultActions(Protocol):
    """Requests about past runs and the results on display."""

    def show(self, folders: Sequence[Path]) -> None: ...
    def delete(self, folders: Sequence[Path]) -> None: ...
    def undo_delete(self) -> None: ...
    def open_report(self) -> None: ...
    def copy_table(self, kind: CopyFormat, table: Table) -> None: ...
    def open_pair(self, group: str, index: int, label: str, threshold_px: float) -> None: ...


class LearningActions(Protocol):
    """Requests to learn from what fails."""

    def learn_from_worst(self) -> None: ...


class DataActions(Protocol):
    """Requests about the data set."""

    def download(self, folder: Path) -> None: ...
    def cancel(self) -> None: ...
    def use_folder(self, folder: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class EvaluationActions:
    """All requests of the evaluation panel."""

    runs: RunActions
    results: ResultActions
    data: DataActions
    learning: LearningActions
