"""Rank the results of many evaluations on one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.layouts.building import fitting_folders
from engine.errors import ResultError
from engine.evaluation.leaderboard import Board, make_boards, write_leaderboard
from engine.evaluation.result import RESULT_FILE, EvaluationResult, read_result
from engine.evaluation.run_folder import SETTINGS_FILE, has_rows
from engine.jobs.command_line import LeaderboardOptions, command_line
from engine.jobs.report import run_names
from engine.progress import JobContext, Note, Saved

_DEPTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardJob:
    """Write the page.

    Attributes:
        options: which results, and where the page goes.
    """

    options: LeaderboardOptions

    def run(self, context: JobContext) -> tuple[Board, ...]:
        """Read and rank; a result that cannot be read is left out, and the page says why.

        Raises:
            DescSpaceError: there is no result, or the page cannot be written.
            JobCancelled: it was stopped; nothing was written.
        """
        places = _distinct(place for one in self.options.folders for place in _results_below(one))
        named: list[tuple[str, EvaluationResult]] = []
        left_out: list[str] = []
        for name, place in zip(run_names(places), places, strict=True):
            context.cancel.check()
            try:
                named.append((name, read_result(place)))
            except ResultError as error:
                left_out.append(str(error))
                context.emit(Note(str(error), "warning"))
        if not named:
            raise ResultError(self.options.folders[0], "holds no result of a finished evaluation")
        boards = make_boards(named, self.options.allow, self.options.by)
        write_leaderboard(
            self.options.out,
            boards,
            left_out=left_out,
            command=command_line("leaderboard", self.options),
        )
        context.emit(Saved(self.options.out, "leaderboard"))
        return boards


def _results_below(place: Path) -> Iterator[Path]:
    """The runs that a name means: itself one, or those in a folder.

    Raises:
        ResultError: there is no such file or folder.
    """
    if not place.exists():
        raise ResultError(place, "does not exist")
    if not place.is_dir():
        yield place
        return
    found = fitting_folders(place, lambda folder, _names: _is_run(folder), depth=_DEPTH)
    yield from (folder for folder, _ in found)


def _is_run(folder: Path) -> bool:
    # A result alone does not tell: trainings leave one of the same name.
    there = (folder / RESULT_FILE).is_file() and (folder / SETTINGS_FILE).is_file()
    return there or has_rows(folder)


def _distinct(places: Iterator[Path]) -> Sequence[Path]:
    """The places, each run once however it was named."""
    found: dict[Path, Path] = {}
    for place in places:
        run = place.parent if place.suffix == ".json" else place
        found.setdefault(run.resolve(), place)
    return tuple(found.values())
