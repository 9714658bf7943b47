"""Many matches at once, and which of them are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine import api
from engine.api import PointsKind

RIGHT, WRONG, UNSEEN, BLANK, UNJUDGED = 1, 0, -1, -2, 2
"""What is known of a match: right or wrong, by the truth or else by the estimate; its true point is
not in sight; without a truth, its query has no texture, or nothing is known."""


FILTERS: Final = ("min_similarity", "max_ratio", "min_confidence", "mutual_only", "visible")
"""What of a :class:`MatchesState` decides which matches are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class MatchesState:
    """The asked-for matches and their filters.

    Attributes:
        descriptor: number of the one that matches, from 0, the shown one.
        points: how query points are chosen.
        count: how many.
        seed: of their choice.
        min_similarity: matches below are hidden.
        max_ratio: matches above are hidden (1 shows all).
        min_confidence: matches that are less sure are hidden, and those without a confidence (0
            shows all); it counts only where the table has confidences at all.
        mutual_only: hide matches that do not match back.
        visible: draw them at all.
        table: the result, None before the first.
        running: being computed now.
    """

    descriptor: int = 0
    points: PointsKind = "harris"
    count: int = 200
    seed: int = 0
    min_similarity: float = -1.0
    max_ratio: float = 1.0
    min_confidence: float = 0.0
    mutual_only: bool = False
    visible: bool = True
    table: api.MatchTable | None = None
    running: bool = False

    def shown(self) -> NDArray[np.bool_]:
        """``(N,)`` which rows of the table pass the filters; empty without a table."""
        if self.table is None or not self.visible:
            return np.zeros(0, dtype=np.bool_)
        keep: NDArray[np.bool_] = (self.table.similarity >= self.min_similarity) & (
            self.table.ratio <= self.max_ratio
        )
        if self.min_confidence > 0 and not self.table.not_calibrated:
            keep &= self.table.confidence >= self.min_confidence
        return keep & self.table.mutual if self.mutual_only else keep

    def correct(self, correct_px: float) -> NDArray[np.bool_] | None:
        """``(N,)`` which rows are right: by the truth, else by the estimate; None without both."""
        if self.table is None:
            return None
        known = np.isfinite(self.table.error_px)
        if known.any():
            return known & (self.table.error_px <= correct_px)
        return self.table.inlier if self.table.h_b_from_a is not None else None

    def verdicts(self, correct_px: float) -> NDArray[np.int8] | None:
        """``(N,)`` what is known of each row, in the numbers above; None if that is nothing."""
        if self.table is None:
            return None
        correct, known = self.correct(correct_px), np.isfinite(self.table.error_px)
        if known.any() and correct is not None:
            verdicts = np.where(known, correct, UNSEEN)
        elif correct is None and self.table.textured.all():
            return None
        else:
            judged = UNJUDGED if correct is None else correct
            verdicts = np.where(self.table.textured, judged, BLANK)
        return verdicts.astype(np.int8)
