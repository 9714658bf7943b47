"""Match points of one image to another, and write the table and a figure.  Loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.descriptors.registry import get_descriptor
from engine.errors import ConfigError
from engine.figures import write_figure
from engine.figures.figure_content import Paper
from engine.images import read_image
from engine.inspection.requests import MapInfo, MatchRequest, MatchTable
from engine.inspection.session import Session
from engine.jobs.match_files import write_matches
from engine.jobs.matches import MatchSummary, match_figure, summarise_matches
from engine.jobs.recipe import warn_if_untrained
from engine.matching.confidence import Uncalibrated, find_calibration
from engine.progress import JobContext, Progress, Saved, Stage
from engine.vocabulary import SIDES

RIGHT_PX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchResult:
    """What a :class:`MatchJob` found.

    Attributes:
        table: one row a query, unfiltered.
        summary: the table in figures.
        left_out: how many matches were not sure enough.
        descriptor: the descriptor's title.
        infos: what is known about the maps of image a and b.
    """

    table: MatchTable
    summary: MatchSummary
    left_out: int
    descriptor: str
    infos: tuple[MapInfo, MapInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchJob:
    """Describe both images of a pair and match points of a to the whole of b.

    Attributes:
        request: the pair, how it is described, and which points.
        out: file for the table, in the format of its ending; None writes none.
        figure: PNG, SVG or PDF file for the drawing; None draws none.
        figure_lines: how many lines the drawing has at most.
        paper: size, font and theme of the drawing; None for the usual ones.
        min_confidence: matches that are less sure are left out; 0 keeps all.
    """

    request: MatchRequest
    out: Path | None = None
    figure: Path | None = None
    figure_lines: int = 200
    paper: Paper | None = None
    min_confidence: float = 0.0

    def run(self, context: JobContext) -> MatchResult:
        """Describe, match and write.

        Raises:
            DescSpaceError: an image, the weights, the device or an output cannot be used; or
                matches are to be left out by their confidence, and there is none.
            JobCancelled: it was stopped.
        """
        session, request = Session(), self.request
        if self.min_confidence > 0:
            check_calibrated(request)
        context.emit(Progress(Stage.DESCRIBING, 0, 2))
        infos = []
        for side in SIDES:
            infos.append(session.describe(request.pair, side, request.recipe, context))
            context.emit(Progress(Stage.DESCRIBING, len(infos), 2))
        info_a, info_b = infos
        entry = get_descriptor(request.recipe.spec.name)
        warn_if_untrained(entry, info_a.trained and info_b.trained, context)
        context.cancel.check()
        table = session.match(request, context)
        context.cancel.check()
        asked = len(table.points_a)
        if self.min_confidence > 0:
            table = table.where(table.confidence >= self.min_confidence)
        if self.out is not None:
            write_matches(self.out, table, (request.pair.path_a, request.pair.path_b))
            context.emit(Saved(self.out, "matches"))
        if self.figure is not None:
            context.emit(Progress(Stage.DRAWING_FIGURE, 0, 1))
            self._draw(self.figure, table, entry.title, info_a, info_b)
            context.emit(Progress(Stage.DRAWING_FIGURE, 1, 1))
            context.emit(Saved(self.figure, "figure"))
        return MatchResult(
            table=table,
            summary=summarise_matches(table),
            left_out=asked - len(table.points_a),
            descriptor=entry.title,
            infos=(info_a, info_b),
        )

    def _draw(
        self, path: Path, table: MatchTable, descriptor: str, info_a: MapInfo, info_b: MapInfo
    ) -> None:
        pair = self.request.pair
        image_a, image_b = (
            read_image(pair.path(side), shown=pair.range_of(side), allow_cut=True) for side in SIDES
        )
        drawing = match_figure(
            table,
            (image_a.as_uint8(), image_b.as_uint8()),
            sizes_px=(info_a.size_px, info_b.size_px),
            name=pair.name,
            descriptor=descriptor,
            trained=info_a.trained and info_b.trained,
            points=self.request.points,
            right_px=RIGHT_PX,
            limit=self.figure_lines,
        )
        write_figure(path, drawing, self.paper)


def check_calibrated(request: MatchRequest) -> None:
    """Refuse to leave matches out by their confidence where there is none.

    Raises:
        ConfigError: the descriptor, its settings or the matches are not calibrated for.
    """
    found = find_calibration(
        request.recipe.spec,
        separation_px=request.separation_px,
        refined=request.refine,
        matcher=request.matcher,
    )
    if isinstance(found, Uncalibrated):
        reason = f"no match can be left out: confidences are not calibrated for {found.reason}"
        raise ConfigError("min_confidence", reason)
