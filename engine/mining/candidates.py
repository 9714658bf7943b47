"""The cells of a map that can be mined, numbered row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.descriptors.tensors import GROUP

_REACH_SLACK: Final = 1 / 64  # of a candidate; what float32 rounds of places is less


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Candidates:
    """The candidate cells; behind them, places of none fill up the last group."""

    columns: int
    rows: int
    start: tuple[int, int]
    interval: int
    width: int
    radius: float

    @property
    def total(self) -> int:
        """How many candidates there are."""
        return self.columns * self.rows

    @property
    def padded(self) -> int:
        """With at least one place of none, in whole groups."""
        return (self.total // GROUP + 1) * GROUP

    def offered(self, map_: Tensor) -> Tensor:
        """``(D, total)`` float32 descriptors of a ``(D, H, W)`` map."""
        x, y = self.start
        return map_[:, y :: self.interval, x :: self.interval].flatten(1).float()

    def exclude(self, values: Tensor, centres: Tensor, fill: float = -torch.inf) -> None:
        """Overwrite ``(Q, padded)`` values within the radius of ``(Q, 2)`` centres, in place."""
        values.scatter_(1, self.places_around(centres).T, fill)

    def places_around(self, centres: Tensor) -> Tensor:
        """``(around, Q)`` places within the radius of ``(Q, 2)`` centres; the rest are of none.

        Only the square around each centre is searched: the whole grid would take longer than the
        search for the most similar candidate itself.
        """
        x, y = centres.T.contiguous()
        column, across = self._window(x, self.start[0], self.columns)
        row, down = self._window(y, self.start[1], self.rows)
        close = (down[:, None] + across).le_(self.radius**2)
        # Times 0 or 1: choosing by a mask takes ten times as long.
        past = (row * self.columns - self.total)[:, None] + column
        return past.mul_(close.int()).add_(self.total).flatten(0, 1).long()

    @property
    def around(self) -> int:
        """How many places :meth:`places_around` gives for a centre."""
        return self._size(self.columns) * self._size(self.rows)

    def _size(self, count: int) -> int:
        return min(2 * self._reach(count) + 1, count)

    def _reach(self, count: int) -> int:
        return int(min(self.radius / self.interval + 0.5 + _REACH_SLACK, count))

    def _window(self, centres: Tensor, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Numbers along one axis, all that can be near, and their squared distances in cells.

        Args:
            centres: ``(Q,)`` in cells; infinite ones and such as are not numbers are near nothing.
            start: the first candidate's cell.
            count: how many candidates there are.

        Returns:
            ``(S, Q)`` int32 and ``(S, Q)`` of the centres' type.
        """
        size = self._size(count)
        nearest = ((centres - start) / self.interval).round_().nan_to_num_()
        first = nearest.sub_(self._reach(count)).clamp_(0, count - size).int()
        steps = torch.arange(size, dtype=torch.int32, device=centres.device)
        numbers = first + steps[:, None]
        return numbers, (start + self.interval * numbers - centres).square_()

    def columns_and_rows(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """(x, y) of places, in cells of the whole map."""
        row = places.div(self.columns, rounding_mode="floor")
        column = places - row * self.columns
        return self.start[0] + self.interval * column, self.start[1] + self.interval * row

    def cells(self, places: Tensor) -> Tensor:
        """(x, y) of places, float32, along a new last dimension."""
        return torch.stack(self.columns_and_rows(places), dim=-1).float()
