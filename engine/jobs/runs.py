"""Past evaluations: listed, read, compared, moved to the trash, restored."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.config import read_yaml
from engine.errors import DescSpaceError, OutputError, ResultError, file_errors
from engine.evaluation.comparison import MergedResults, merge_results
from engine.evaluation.result import RESULT_FILE, EvaluationResult, read_result
from engine.evaluation.run_folder import SETTINGS_FILE, has_rows, read_begun
from engine.jobs.settings import EvaluateConfig, resolve_settings
from engine.paths import began_s, runs_dir, user_data_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """An evaluation in a list.

    Attributes:
        folder: where it is.
        began_s: when, in seconds since the epoch.
        config: its settings; None where they cannot be read.
        done: how many pairs were measured or left out.
        total: of how many.
        finished: whether there is a result.
        problem: why it cannot be shown, "" where it can.
    """

    folder: Path
    began_s: float
    config: EvaluateConfig | None = None
    done: int = 0
    total: int = 0
    finished: bool = False
    problem: str = ""


def list_runs(folder: Path | None = None) -> tuple[RunInfo, ...]:
    """The evaluations in a folder (the user's own by default), newest first."""
    place = folder or runs_dir()
    if not place.is_dir():
        return ()
    found = [run_info(path) for path in place.iterdir() if path.is_dir() and _is_run(path)]
    return tuple(sorted(found, key=lambda run: (run.began_s, run.folder.name), reverse=True))


def run_info(folder: Path) -> RunInfo:
    """What a list shows of a run; a broken one is described, not raised."""
    info = RunInfo(folder=folder, began_s=began_s(folder))
    try:
        config, _ = run_settings(folder)
        info = replace(info, config=config)
        result = read_run(folder)
    except DescSpaceError as error:
        return replace(info, problem=str(error))
    if result is None:
        return info
    total = result.fingerprint.dataset.pairs
    return replace(info, done=len(result.seen), total=total, finished=result.finished)


def run_settings(folder: Path) -> tuple[EvaluateConfig, dict[str, Any]]:
    """The settings that a run was begun with, and those of its descriptors.

    Raises:
        ConfigError: they cannot be read.
    """
    return resolve_settings(EvaluateConfig, from_file=read_yaml(folder / SETTINGS_FILE))


def read_run(folder: Path) -> EvaluationResult | None:
    """Read a run, finished or not; None where nothing was written yet.

    Raises:
        ResultError: it cannot be read.
    """
    if (folder / RESULT_FILE).exists():
        return read_result(folder)
    begun = read_begun(folder)
    return None if begun is None else begun.result()


def read_runs(folders: Sequence[Path]) -> MergedResults:
    """Read one run, or several into one table with a warning for each way in which they differ.

    Raises:
        ResultError: one cannot be read, or one of several is not finished.
    """
    results = [read_result(f) for f in folders] if len(folders) > 1 else [read_run(folders[0])]
    named = [(run.name, one) for run, one in zip(folders, results, strict=True) if one is not None]
    if not named:
        raise ResultError(folders[0], "has measured nothing yet; continue it")
    return merge_results(named)


def trash_run(folder: Path) -> Path:
    """Move a run to the trash folder; returns where it is now.

    Raises:
        OutputError: it cannot be moved.
    """
    trash = user_data_dir() / "trash"
    target, number = trash / folder.name, 2
    while target.exists():
        target, number = trash / f"{folder.name}-{number}", number + 1
    _move(folder, target)
    return target


def restore_run(trashed: Path, folder: Path) -> None:
    """Move a run from the trash folder back to its place.

    Raises:
        OutputError: it is gone, or something else is in its place.
    """
    if folder.exists():
        raise OutputError(folder, "exists again, so the one in the trash was left there")
    _move(trashed, folder)


def _move(source: Path, target: Path) -> None:
    with file_errors(OutputError, source, f"cannot be moved to {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


def _is_run(folder: Path) -> bool:
    # A result alone does not tell: trainings leave one of the same name.
    with contextlib.suppress(OSError):  # a folder that may not be looked into is no run of ours
        return (folder / SETTINGS_FILE).exists() or has_rows(folder)
    return False
