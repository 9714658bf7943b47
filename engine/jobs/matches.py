"""A table of matches in figures, and as a drawing.  Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.figures.figure_content import Judgement, PairFigure, Panel
from engine.inspection.requests import MatchTable
from engine.metrics import PCK_THRESHOLDS_PX
from engine.truth.base import Visibility
from engine.vocabulary import PointsKind

SURE = 0.9
"""A match at least this sure is counted as such."""

_POINT_KINDS = {"grid": "grid", "random": "random", "harris": "Harris", "listed": "listed"}


@dataclass(frozen=True, slots=True)
class MatchSummary:
    """A table of matches in figures.

    Attributes:
        count: rows.
        textured: rows whose query has texture around it.
        mutual: share of these that are mutual, NaN of none.
        with_truth: rows whose true point image b shows.
        occluded: rows whose true point is hidden in image b.
        outside: rows whose true point leaves image b.
        pck: (threshold in px, share of these within it); empty without any.
        inliers: textured rows that agree with the estimated homography; None without an estimate.
        uncertainty_px: median over textured rows, NaN of none.
        confidence: median over the rows that have one, NaN of none.
        sure: how many of these are at least :data:`SURE` sure.
    """

    count: int
    textured: int
    mutual: float
    with_truth: int
    occluded: int
    outside: int
    pck: tuple[tuple[float, float], ...]
    inliers: int | None
    uncertainty_px: float
    confidence: float
    sure: int

    @property
    def states(self) -> str:
        """How many true points are in which state, in words; of those states that occur."""
        unknown = self.count - self.with_truth - self.occluded - self.outside
        counts = (
            (self.with_truth, "seen"),
            (self.occluded, "occluded"),
            (self.outside, "out of view"),
            (unknown, "unknown"),
        )
        return ", ".join(f"{count} {words}" for count, words in counts if count)


def summarise_matches(table: MatchTable) -> MatchSummary:
    """Count what is right at :data:`~engine.metrics.PCK_THRESHOLDS_PX`, where that is known."""
    count = len(table.points_a)
    errors = table.error_px[np.isfinite(table.error_px)]
    known = table.confidence[np.isfinite(table.confidence)]
    return MatchSummary(
        count=count,
        textured=int(table.textured.sum()),
        mutual=float(np.mean(table.mutual[table.textured]))
        if table.textured.any()
        else float("nan"),
        with_truth=len(errors),
        occluded=int(np.count_nonzero(table.visibility == Visibility.OCCLUDED)),
        outside=int(np.count_nonzero(table.visibility == Visibility.OUTSIDE)),
        pck=tuple((limit, float(np.mean(errors <= limit))) for limit in PCK_THRESHOLDS_PX)
        if len(errors)
        else (),
        inliers=None if table.h_b_from_a is None else int(np.count_nonzero(table.inlier)),
        uncertainty_px=table.median_uncertainty_px(table.textured),
        confidence=float(np.median(known)) if len(known) else float("nan"),
        sure=int(np.count_nonzero(known >= SURE)),
    )


def match_figure(
    table: MatchTable,
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    *,
    sizes_px: tuple[tuple[int, int], tuple[int, int]],
    name: str,
    descriptor: str,
    trained: bool,
    points: PointsKind,
    right_px: float,
    limit: int,
) -> PairFigure:
    """Prepare the drawing of a table; :func:`engine.figures.write_figure` draws it.

    Args:
        table: the matches.
        images: ``(H, W, 3)`` uint8 RGB of both images, of any size.
        sizes_px: (width, height) of the original files.
        name: what the pair is called.
        descriptor: what the descriptor is called.
        trained: the caption mentions False.
        points: how the queries were chosen.
        right_px: a match this close to the truth is right.
        limit: how many lines to draw at most.
    """
    kinds, words = _judged(table, right_px)
    counts = {kind: kinds.count(kind) for kind in words}
    summary = summarise_matches(table)
    parts = [name] if name else []
    parts.append(descriptor if trained else f"{descriptor} (untrained)")
    parts.append(f"{summary.count} {_POINT_KINDS[points]} points")
    parts += _verdict(summary)
    if table.truth not in ("", "homography"):
        parts.append(f"truth: {table.truth}")
    caption = " · ".join(parts)
    panels = [Panel(image=i, size_px=s) for i, s in zip(images, sizes_px, strict=True)]
    return PairFigure(
        title=caption,
        panels=tuple(panels),
        points_a=table.points_a,
        points_b=table.points_b,
        judgements=kinds,
        legend=tuple((kind, f"{words[kind]} ({counts[kind]})") for kind in words if counts[kind]),
        caption=(caption,),
        limit=limit,
    )


def _judged(
    table: MatchTable, right_px: float
) -> tuple[tuple[Judgement, ...], dict[Judgement, str]]:
    """What each match is, and the words for that."""
    errors = table.error_px
    if np.isfinite(errors).any():
        words: dict[Judgement, str] = {
            "right": f"within {right_px:g} px of the truth",
            "wrong": "farther off",
            "unknown": _not_seen(table),
        }
        kinds = [_by_error(error_px, right_px) for error_px in errors]
    elif table.h_b_from_a is not None:
        words = {"agrees": "agrees with the estimated homography", "unknown": "does not"}
        kinds = ["agrees" if agrees else "unknown" for agrees in table.inlier]
    else:
        words = {"agrees": "match"}
        kinds = ["agrees"] * len(errors)
    if not np.isfinite(errors).any():
        words["blank"] = "no texture"
        pairs = zip(kinds, table.textured, strict=True)
        kinds = [kind if textured else "blank" for kind, textured in pairs]
    return tuple(kinds), words


def _not_seen(table: MatchTable) -> str:
    """What is the matter with the true points that image b does not show."""
    states = [Visibility.OCCLUDED, Visibility.OUTSIDE, Visibility.UNKNOWN]
    words = [state.words for state in states if (table.visibility == state).any()]
    return " or ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]])


def _by_error(error_px: float, right_px: float) -> Judgement:
    if not np.isfinite(error_px):
        return "unknown"
    return "right" if error_px <= right_px else "wrong"


def _verdict(summary: MatchSummary) -> Sequence[str]:
    blank = summary.count - summary.textured
    return [*_agreement(summary), *([f"{blank} without texture"] if blank else [])]


def _agreement(summary: MatchSummary) -> Sequence[str]:
    if summary.pck:
        shares = [
            f"{100 * share:.1f} % within {limit:g} px" for limit, share in summary.pck if limit > 1
        ]
        return [f"{', '.join(shares)}, of {summary.with_truth} with a true point in sight"]
    if summary.inliers is not None:
        return [f"{summary.inliers} agree with the estimated homography"]
    return []
