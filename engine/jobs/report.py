"""Make the report of one or several finished evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.byte_cache import ByteCache
from engine.config import config_values, option_text, override_texts
from engine.data.layouts import split_layout
from engine.descriptors.registry import get_descriptor
from engine.errors import DescSpaceError, ResultError
from engine.evaluation.comparison import merge_results
from engine.evaluation.fingerprint import MeasuredDescriptor
from engine.evaluation.points import MeasuredImage, check_unchanged, read_points
from engine.evaluation.report import REPORT_HTML, PairPicture, Report
from engine.evaluation.report_figures import (
    FIGURES_FOLDER,
    FigureFormat,
    draw_pair,
    write_curves,
)
from engine.evaluation.report_html import write_report_html
from engine.evaluation.report_prose import build_report, pair_in_words
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import PairRow, Sources, read_result
from engine.evaluation.stress import Stress, stress_of
from engine.evaluation.table_text import TABLE_FILES, TableFormat, tables_text
from engine.files import make_folder, write_atomically
from engine.imagefiles.value_range import ValueRange
from engine.images import as_uint8, read_image
from engine.jobs.command_line import ReportOptions, ViewOptions, command_line
from engine.progress import JobContext, Note, Progress, Saved, Stage

_KEPT_BYTES: Final = 64 << 20
_Kept = ByteCache[tuple[Path, str, ValueRange | None, Stress | None], NDArray[np.uint8]]
"""Images by file, content, range and change: pairs of a group share their first image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """Write ``report.html``, and what is copied into other documents beside it.

    Attributes:
        folders: of the runs, or their ``result.json`` files; several become one table.
        out: folder to write into; made if it is not there.
        pictures: whether to show the worst pairs with their matches.
        dataset: where the images are now; None for where they were.
        command: the command that makes this report again.
        tables: how its tables are written beside it, as text to copy.
        figures: the kinds of files that its curves are written to, below ``figures``.
    """

    folders: tuple[Path, ...]
    out: Path
    pictures: bool = True
    dataset: Path | None = None
    command: str = ""
    tables: tuple[TableFormat, ...] = ("markdown", "latex")
    figures: tuple[FigureFormat, ...] = ()

    def run(self, context: JobContext) -> Report:
        """Read, draw the worst pairs, and write.

        Raises:
            DescSpaceError: a result cannot be read, or the report not be written.
            JobCancelled: it was stopped; nothing was written.
        """
        if not self.folders:
            raise ResultError(self.out, "is no report's folder without results; name at least one")
        results = [read_result(folder) for folder in self.folders]
        merged = merge_results(list(zip(run_names(self.folders), results, strict=True)))
        make_folder(self.out)
        for warning in merged.warnings:
            context.emit(Note(warning, "warning"))
        stats = Statistics(merged)
        rows = stats.worst_rows()
        worst = []
        kept: _Kept = ByteCache(_KEPT_BYTES, keep_at_least=0)
        for done, row in enumerate(rows):
            context.cancel.check()
            context.emit(Progress(Stage.WORST_PAIRS, done, len(rows)))
            worst.append(self._picture(stats, row, kept))
        command = self.command or command_line("report", ReportOptions(folders=self.folders))
        report = build_report(stats, worst=worst, command=command, beside=self._beside(stats))
        context.cancel.check()
        write_report_html(self.out / REPORT_HTML, report)
        context.emit(Saved(self.out / REPORT_HTML, "report"))
        for path in self._write_copies(report, context):
            context.emit(Saved(path, path.stem))
        return report

    def _beside(self, stats: Statistics) -> tuple[str, ...]:
        """What is written beside the page, by name."""
        figures = [f"{FIGURES_FOLDER}/*.{kind}" for kind in self.figures if stats.lists]
        return (*(TABLE_FILES[kind] for kind in self.tables), *figures)

    def _write_copies(self, report: Report, context: JobContext) -> Iterator[Path]:
        """Write the tables and the curves; yields the files."""
        for table in self.tables:
            path = self.out / TABLE_FILES[table]
            text = tables_text(table, report.title, report.every_table)
            write_atomically(path, text.encode("utf-8"))
            yield path
        for kind in self.figures:
            for path in write_curves(self.out / FIGURES_FOLDER, report.every_curve, kind):
                context.cancel.check()
                yield path

    def _picture(self, stats: Statistics, row: PairRow, kept: _Kept) -> PairPicture:
        """A pair with its matches, where they were kept and its images can be read."""
        result = stats.merged.result_of(row.descriptor)
        one = stats.merged.descriptor(row.descriptor)
        root = self.dataset or (Path(result.sources.root) if result.sources.root else None)
        view = ViewOptions(
            images=(_opened(result.sources, self.dataset),),
            group=row.sequence,
            pair_index=row.index,
            descriptor=one.name,
            weights=stats.merged.weights_of(row.descriptor),
            settings=_own_settings(one),
            value_range=option_text(result.fingerprint.value_range)
            if result.fingerprint.value_range
            else None,
            long_edge_px=result.fingerprint.sampler.long_edge_px,
        )
        title, detail = pair_in_words(stats, row)
        plain = PairPicture(title, detail, None, "", command_line("view", view))
        if not (self.pictures and result.folder is not None and result.has_points):
            return plain
        if root is None:
            return replace(plain, note="No picture: the folder of the images is not known.")
        stress = stress_of(result.fingerprint.dataset.name, *row.key)
        ends = result.fingerprint.value_range
        shown = None if ends is None else ValueRange(*ends)
        try:
            pair = read_points(result.folder, *row.key)
            first, second = pair.images
            images = (
                _read(root / first.path, first, shown, kept),
                _read(root / second.path, second, shown, kept, stress),
            )
        except DescSpaceError as error:
            return replace(plain, note=f"No picture: {error}")
        points = pair.points[row.queries][result.labels.index(row.descriptor)]
        right = points.errors_px <= stats.main_px
        sizes_px = (first.resize.to_size_px, second.resize.to_size_px)
        figure, drawn = draw_pair(
            images, sizes_px, points.query_px, points.match_px, right, title=title
        )
        count = round(row.share(stats.main_px) * row.count)
        note = f"{count} right and {row.count - count} wrong matches"
        note += "" if drawn == row.count else f"; {drawn} of them are drawn"
        if stress is not None:
            note += "; the command opens the pair as it was before it was turned or zoomed"
        else:
            farthest = int(np.argmax(np.nan_to_num(points.errors_px, nan=np.inf)))
            x, y = first.resize.backward(points.query_px[farthest]).tolist()
            view = replace(view, probe_px=(round(x, 1), round(y, 1)))
        return PairPicture(title, detail, figure, note, command_line("view", view))


def run_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """A name for each run: its folder's; where two would have the same, the whole path."""
    places = [f.absolute().parent if f.suffix == ".json" else f.absolute() for f in folders]
    names = [place.name for place in places]
    return tuple(
        name if names.count(name) == 1 else str(folder)
        for name, folder in zip(names, folders, strict=True)
    )


def _read(
    path: Path,
    image: MeasuredImage,
    shown: ValueRange | None,
    kept: _Kept,
    stress: Stress | None = None,
) -> NDArray[np.uint8]:
    """``(H, W, 3)`` pixels of an image as it was before it was brought to the measured size.

    Raises:
        ImageError: it cannot be read, or it is not the one that was measured.
    """
    key = (path, image.sha256, shown, stress)
    known = kept.get(key)
    if known is None:
        pixels = read_image(path, shown=shown).pixels
        check_unchanged(path, image)
        known = as_uint8(pixels if stress is None else stress.apply(pixels))
        kept.put(key, known, known.nbytes)
    return known


def _opened(sources: Sources, moved: Path | None) -> Path:
    """What opens the set of pairs, with the layout that was asked for; ``.`` where nobody knows.

    Args:
        sources: of the result.
        moved: the folder of its images, where it is another one now.
    """
    layout, place = split_layout(sources.opened or sources.root)
    path = Path(place)
    if moved is not None:
        within = path.relative_to(sources.root) if sources.opened else Path()
        path = (moved / within).resolve()
    return Path(f"{layout}:{path}") if layout else path


def _own_settings(one: MeasuredDescriptor) -> tuple[str, ...]:
    """The settings that differ from the descriptor's own."""
    try:
        usual = config_values(get_descriptor(one.name).config())
    except DescSpaceError:  # a plugin's descriptor that is not loaded now
        usual = {}
    plain = {name: option_text(value) for name, value in usual.items()}
    return override_texts(
        {n: value for n, value in sorted(one.config.items()) if plain.get(n) != option_text(value)}
    )
