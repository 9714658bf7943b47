"""Make the report of one or several finished evaluations.  Loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import config_values, option_text, override_texts
from engine.descriptors.registry import get_descriptor
from engine.devices import resolve_device
from engine.errors import DescSpaceError, ResultError
from engine.evaluation.rematch import Rematch, descriptor_of, rematch_rows
from engine.evaluation.report import REPORT_HTML, REPORT_JSON, Report, write_report_json
from engine.evaluation.report_content import (
    WorstPair,
    build_report,
    main_threshold_px,
    picture_of,
    worst_rows,
)
from engine.evaluation.report_html import write_report_html
from engine.evaluation.result import EvaluationResult, MergedResults, PairRow, merge_results
from engine.evaluation.result import read_result as read_result_file
from engine.jobs.command_line import ReportOptions, ViewOptions, command_line
from engine.paths import make_folder
from engine.progress import JobContext, Note, Saved


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """Write ``report.html``, and ``report.json`` for who draws it elsewhere.

    Attributes:
        folders: of the runs, or their ``result.json`` files; several become one table.
        out: folder to write into; made if it is not there.
        pictures: whether the worst pairs are matched again, to show them.
        dataset: where the sequences lie now; None for where they lay.
        command: the command that makes this report again.
    """

    folders: tuple[Path, ...]
    out: Path
    pictures: bool = True
    dataset: Path | None = None
    command: str = ""

    def run(self, context: JobContext) -> Report:
        """Read, match the worst pairs again, and write.

        Raises:
            DescSpaceError: a result cannot be read, or the report not be written.
            JobCancelled: it was stopped; nothing was written.
        """
        if not self.folders:
            raise ResultError(self.out, "is no report's folder without results; name at least one")
        names = run_names(self.folders)
        results = [read_result_file(folder) for folder in self.folders]
        merged = merge_results(tuple(zip(names, results, strict=True)))
        make_folder(self.out)
        for warning in merged.warnings:
            context.emit(Note(warning, "warning"))
        report = build_report(
            merged,
            names=names,
            worst=self._worst(merged, context),
            command=self.command
            or command_line("report", ReportOptions(folders=tuple(self.folders))),
        )
        context.cancel.check()
        for name, write in ((REPORT_JSON, write_report_json), (REPORT_HTML, write_report_html)):
            write(self.out / name, report)
        context.emit(Saved(self.out / REPORT_HTML, "report"))
        return report

    def _worst(self, merged: MergedResults, context: JobContext) -> tuple[WorstPair, ...]:
        rows = worst_rows(merged)
        found: dict[PairRow, Rematch | str] = {}
        if self.pictures:
            device = resolve_device(context.device)
            for result in merged.results:
                mine = [row for row in rows if row.descriptor in result.labels]
                found |= rematch_rows(
                    result, mine, device=device, dataset=self.dataset, context=context
                )
        limit = main_threshold_px(merged)
        worst = []
        for row in rows:
            result = next(one for one in merged.results if row.descriptor in one.labels)
            again = found.get(row, "")
            figure, note = None, again if isinstance(again, str) else ""
            if isinstance(again, Rematch):
                figure, note = picture_of(
                    row, again.images, again.points_a, again.found_b, again.errors_px,
                    threshold_px=limit,
                )  # fmt: skip
                if again.pair.stress is not None:
                    note += "; the command opens the pair as it was before it was turned or zoomed"
            elif note:
                note = f"No picture: {note}"
            command = command_line("view", _view_options(result, row, again, self.dataset))
            worst.append(WorstPair(row, figure, note, command))
        return tuple(worst)


def run_name(folder: Path) -> str:
    """What a run is called: its folder's name."""
    path = folder.absolute()
    return path.parent.name if path.suffix == ".json" else path.name


def run_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """A name for each run; where two would be alike, the whole path."""
    names = [run_name(folder) for folder in folders]
    return tuple(
        name if names.count(name) == 1 else str(folder)
        for name, folder in zip(names, folders, strict=True)
    )


def _view_options(
    result: EvaluationResult, row: PairRow, again: Rematch | str, dataset: Path | None
) -> ViewOptions:
    entry = descriptor_of(result, row.descriptor)
    weights = result.sources.get("weights", {}).get(row.descriptor)
    if isinstance(again, Rematch):
        folder = again.pair.pair.path_a.parent
        probe_px = again.farthest_px if again.pair.stress is None else None
    else:
        root = dataset or Path(str(result.sources.get("root", "")))
        folder, probe_px = root if root.name == row.sequence else root / row.sequence, None
    return ViewOptions(
        images=(folder.resolve(),),
        pair_index=row.index,
        descriptor=entry["name"],
        weights=Path(weights) if weights else None,
        settings=_own_settings(entry),
        probe_px=None if probe_px is None else (round(probe_px[0], 1), round(probe_px[1], 1)),
    )


def _own_settings(entry: dict[str, Any]) -> tuple[str, ...]:
    """The settings that differ from the descriptor's own."""
    try:
        usual = config_values(get_descriptor(entry["name"]).config())
    except DescSpaceError:  # a person's own descriptor, which is not loaded now
        usual = {}
    plain = {name: option_text(value) for name, value in usual.items()}
    return override_texts(
        {
            name: value
            for name, value in sorted(entry["config"].items())
            if plain.get(name) != option_text(value)
        }
    )
