"""Evaluations of the past: listed, read, compared, thrown away, brought back.  Loads torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.config import read_yaml
from engine.data.hpatches import kind_of
from engine.errors import DescSpaceError, OutputError, ResultError, file_errors
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.result import (
    RESULT_FILE,
    SUBSETS,
    EvaluationResult,
    Json,
    PairRow,
    SummaryRow,
    merge_results,
    read_result,
)
from engine.evaluation.run_folder import has_rows, read_records, rows_file
from engine.jobs.command_line import command_line
from engine.jobs.evaluate import SETTINGS_FILE
from engine.jobs.settings import (
    EvaluateConfig,
    resolve_settings,
    split_descriptor,
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDescriptor:
    """A descriptor of a run, so that it can be shown again.

    Attributes:
        label: what its rows are called.
        name: registered name.
        weights: its weights file, None without one.
    """

    label: str
    name: str
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContent:
    """One run, finished or not, or several in one table.

    Attributes:
        folders: of the runs.
        title: what a person calls it.
        descriptors: in the order of the table.
        rows: of all pairs.
        summary: means; without intervals where a run is not finished.
        left_out: sentences about pairs that were not measured.
        warnings: what makes runs unlike, and what was wrong with the data.
        done: how many pairs were measured or left out.
        total: of how many.
        finished: whether all of it is there.
        root: folder of the sequences, None where they differ or are not known.
        changed: whether the pairs are not those on the disk (``rotated:``, ``scaled:``).
        seconds: how long the last part of it took; None where that is not known.
        command: the command that measures it again, "" for several.
    """

    folders: tuple[Path, ...]
    title: str
    descriptors: tuple[MeasuredDescriptor, ...]
    rows: tuple[PairRow, ...]
    summary: tuple[SummaryRow, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    done: int
    total: int
    finished: bool
    root: Path | None = None
    changed: bool = False
    seconds: float | None = None
    command: str = ""


def list_runs(folder: Path | None = None) -> tuple[RunInfo, ...]:
    """The evaluations in a folder (the person's own by default), the newest first."""
    place = folder or runs_dir()
    if not place.is_dir():
        return ()
    found = [run_info(path) for path in place.iterdir() if path.is_dir() and _is_run(path)]
    return tuple(sorted(found, key=lambda run: (run.began_s, run.folder.name), reverse=True))


def run_info(folder: Path) -> RunInfo:
    """What a list says about a run; a broken one is told, not raised."""
    info = RunInfo(folder=folder, began_s=began_s(folder))
    try:
        config, _ = run_settings(folder)
        info = replace(info, config=config)
        if (folder / RESULT_FILE).exists():
            values = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
            total = int(values["fingerprint"]["dataset"]["pairs"])
            return replace(info, done=total, total=total, finished=True)
        fingerprint = _fingerprint(folder)
        if fingerprint is None:
            return info
        done = len(read_records(folder, fingerprint))
        return replace(info, done=done, total=int(fingerprint["dataset"]["pairs"]))
    except DescSpaceError as error:
        return replace(info, problem=str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return replace(info, problem=f"{folder}: is damaged ({type(error).__name__}: {error}).")


def run_settings(folder: Path) -> tuple[EvaluateConfig, dict[str, Any]]:
    """The settings that a run was begun with, and those of its descriptors.

    Raises:
        ConfigError: they cannot be read.
    """
    return resolve_settings(EvaluateConfig, from_file=read_yaml(folder / SETTINGS_FILE))


def read_run(folder: Path) -> RunContent:
    """Read a run, finished or not.

    Raises:
        DescSpaceError: it cannot be read.
    """
    if (folder / RESULT_FILE).exists():
        return _of_results([folder], (read_result(folder),), ())
    config, values = run_settings(folder)
    fingerprint = _fingerprint(folder)
    records = () if fingerprint is None else read_records(folder, fingerprint)
    rows = tuple(row for record in records for row in record.rows)
    named = [split_descriptor(text) for text in config.descriptor]
    labels = [name for name, _ in named]
    if fingerprint is not None:
        labels = [one["label"] for one in fingerprint["descriptors"]]
    return RunContent(
        folders=(folder,),
        title=run_title(labels, config.dataset, config.protocol),
        descriptors=tuple(
            MeasuredDescriptor(label=label, name=name, weights=weights)
            for label, (name, weights) in zip(labels, named, strict=True)
        ),
        rows=rows,
        summary=means(rows, labels),
        left_out=tuple(entry.reason for record in records for entry in record.left_out),
        done=len(records),
        total=0 if fingerprint is None else int(fingerprint["dataset"]["pairs"]),
        finished=False,
        root=_root_of(config),
        changed=is_changed(config.dataset),
        command=command_line("evaluate", config, own=values),
    )


def read_runs(folders: Sequence[Path]) -> RunContent:
    """Read finished runs into one table, with a warning for each way in which they differ.

    Raises:
        DescSpaceError: one cannot be read, or is not finished.
    """
    if len(folders) == 1:
        return read_run(folders[0])
    merged = merge_results([(folder.name, read_result(folder)) for folder in folders])
    return _of_results(folders, merged.results, merged.warnings)


def means(rows: Sequence[PairRow], labels: Sequence[str]) -> tuple[SummaryRow, ...]:
    """The table of a run that is under way: means as in the result, without intervals."""
    sums: dict[tuple[str, str, str, float], list[float]] = {}
    for row in rows:
        for subset in ("all", kind_of(row.sequence)):
            for threshold_px, share in row.pck:
                key = (row.queries, row.descriptor, subset, threshold_px)
                sums.setdefault(key, []).append(share)
    queries = sorted({row.queries for row in rows})  # Harris comes first by its name
    thresholds = [threshold_px for threshold_px, _ in rows[0].pck] if rows else []
    table = []
    for kind in queries:
        for label in labels:
            for subset in SUBSETS:
                for threshold_px in thresholds:
                    shares = sums.get((kind, label, subset, threshold_px), [])
                    mean = sum(shares) / len(shares) if shares else None
                    table.append(
                        SummaryRow(label, subset, kind, threshold_px, mean, None, None, len(shares))
                    )
    return tuple(table)


def run_title(labels: Sequence[str], dataset: str, protocol: str) -> str:
    """What a run is called: descriptors, data set and protocol."""
    stress, colon, rest = dataset.rpartition(":")
    plain = Path(rest).name or rest
    return f"{', '.join(labels)} · {stress}{colon}{plain} · {protocol}"


def is_changed(dataset: str) -> bool:
    """Whether a data set's name stands for other pairs than those on the disk."""
    return dataset.partition(":")[0] in ("rotated", "scaled")


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
    """Bring a run back from the trash folder to where it was.

    Raises:
        OutputError: it is gone, or something stands in its place.
    """
    if folder.exists():
        raise OutputError(folder, "exists again, so the one in the trash was left there")
    _move(trashed, folder)


def _move(source: Path, target: Path) -> None:
    with file_errors(OutputError, source, f"cannot be moved to {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


def _is_run(folder: Path) -> bool:
    return (folder / SETTINGS_FILE).exists() or has_rows(folder) or (folder / RESULT_FILE).exists()


def _fingerprint(folder: Path) -> Json | None:
    """The first line of the rows, None where nothing was written yet."""
    path = rows_file(folder, 0)
    try:
        with path.open("rb") as file:
            line = file.readline()
        if not line.endswith(b"\n"):
            return None
        fingerprint: Json = json.loads(line)["fingerprint"]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResultError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(path, "holds no rows of an evaluation") from error
    return fingerprint


def _of_results(
    folders: Sequence[Path], results: Sequence[EvaluationResult], warnings: Sequence[str]
) -> RunContent:
    first = results[0]
    descriptors = tuple(_described(one, result) for result in results for one in _parts(result))
    labels = [one.label for one in descriptors]
    roots = {str(result.sources["root"]) for result in results if result.sources.get("root")}
    names = {str(result.fingerprint["dataset"]["name"]) for result in results}
    protocols = {str(result.fingerprint["protocol"]) for result in results}
    pairs = [int(result.fingerprint["dataset"]["pairs"]) for result in results]
    summary = [row for result in results for row in result.summary]
    return RunContent(
        folders=tuple(folders),
        title=run_title(labels, ", ".join(sorted(names)), ", ".join(sorted(protocols))),
        descriptors=descriptors,
        rows=tuple(row for result in results for row in result.pairs),
        summary=tuple(sorted(summary, key=lambda row: row.queries)),
        left_out=tuple(entry.reason for result in results for entry in result.left_out),
        warnings=(*warnings, *(text for result in results for text in result.problems)),
        done=max(pairs),
        total=max(pairs),
        finished=True,
        root=Path(roots.pop()) if len(roots) == 1 else None,
        changed=any(is_changed(name) for name in names),
        seconds=first.wall_s if len(results) == 1 else None,
        command=str(first.sources.get("command", "")) if len(results) == 1 else "",
    )


def _root_of(config: EvaluateConfig) -> Path | None:
    try:
        return open_evaluation_set(config.dataset, which=config.subset).root
    except DescSpaceError:  # moved or deleted since: the rows can still be read
        return None


def _parts(result: EvaluationResult) -> Sequence[Mapping[str, Any]]:
    parts: Sequence[Mapping[str, Any]] = result.fingerprint["descriptors"]
    return parts


def _described(part: Mapping[str, Any], result: EvaluationResult) -> MeasuredDescriptor:
    weights = result.sources.get("weights", {}).get(part["label"])
    return MeasuredDescriptor(
        label=str(part["label"]),
        name=str(part["name"]),
        weights=Path(weights) if weights else None,
    )
