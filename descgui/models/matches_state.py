"""Many matches at once, and which of them are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from engine.api import MatchTable, PointsKind


@dataclass(frozen=True, slots=True, eq=False)
class MatchesState:
    """The asked-for matches and their filters.

    Attributes:
        points: how query points are chosen.
        count: how many.
        seed: of their choice.
        correct_px: a match this close to the truth is right.
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
    correct_px: float = 3.0
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

    def correct(self) -> NDArray[np.bool_] | None:
        """``(N,)`` which rows are right: by the truth, else by the estimate; None without both."""
        if self.table is None:
            return None
        known = np.isfinite(self.table.error_px)
        if known.any():
            return known & (self.table.error_px <= self.correct_px)
        return self.table.inlier if self.table.h_b_from_a is not None else None

    def verdicts(self) -> NDArray[np.int8] | None:
        """``(N,)`` 1 right, 0 wrong, -1 where the true point is unknown; None if all are."""
        correct = self.correct()
        if self.table is None or correct is None:
            return None
        known = np.isfinite(self.table.error_px)
        verdicts: NDArray[np.int8] = np.where(known | (not known.any()), correct, -1).astype(
            np.int8
        )
        return verdicts


class MatchesModel(QObject):
    """Holds :class:`MatchesState`.

    Signals:
        changed(MatchesState): after every change.
    """

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = MatchesState()

    @property
    def state(self) -> MatchesState:
        """The present state."""
        return self._state

    def update(self, **changes: Any) -> None:
        """Change some fields; silent when every value is the same as before."""
        if all(_same(getattr(self._state, name), value) for name, value in changes.items()):
            return
        self._state = replace(self._state, **changes)
        self.changed.emit(self._state)


def _same(old: Any, new: Any) -> bool:
    return old is new or (isinstance(new, bool | int | float | str) and old == new)
