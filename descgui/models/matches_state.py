"""Many matches at once, and which of them are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.api import MatchTable, PointsKind


@dataclass(frozen=True, slots=True, eq=False)
class MatchesState:
    """The asked-for matches and their filters.

    Attributes:
        points: how query points are chosen.
        count: how many.
        seed: of their choice.
        min_similarity: matches below are hidden.
        max_ratio: matches above are hidden (1 shows all).
        mutual_only: hide matches that do not match back.
        visible: draw them at all.
        table: the result, None before the first.
        running: being computed now.
    """

    points: PointsKind = "harris"
    count: int = 200
    seed: int = 0
    min_similarity: float = -1.0
    max_ratio: float = 1.0
    mutual_only: bool = False
    visible: bool = True
    table: MatchTable | None = None
    running: bool = False

    def shown(self) -> NDArray[np.bool_]:
        """``(N,)`` which rows of the table pass the filters; empty without a table."""
        if self.table is None or not self.visible:
            return np.zeros(0, dtype=np.bool_)
        keep: NDArray[np.bool_] = (self.table.similarity >= self.min_similarity) & (
            self.table.ratio <= self.max_ratio
        )
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
        """``(N,)`` 1 right, 0 wrong, -1 where the true point is unknown; None if all are."""
        correct = self.correct(correct_px)
        if self.table is None or correct is None:
            return None
        known = np.isfinite(self.table.error_px)
        verdicts: NDArray[np.int8] = np.where(known | (not known.any()), correct, -1).astype(
            np.int8
        )
        return verdicts
