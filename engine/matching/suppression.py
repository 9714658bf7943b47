"""The best candidates that are mutually apart: non-maximum suppression among estimates.

The best one is picked, those too near to it are taken out, and so on.  Each round reads only what
may be picked next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from engine.matching.estimates import (
    GROUP,
    LOWEST,
    PADDED,
    WIDE,
    Bits,
    Estimates,
    Flags,
    Floats,
    Indices,
    least_rounded_to,
)
from engine.matching.reranking import Best

_LOOKED_AT_ONCE: Final = 1024  # rows or groups that stay in the cache


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where the rows are.

    Attributes:
        xs, ys: ``(P,)`` of each; those that stand for no candidate are where the last one is.
        low, high: ``(2, W)`` the least and the largest x and y of wide groups.
    """

    xs: Floats
    ys: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, positions: Tensor) -> Places:
        """Where ``(M, 2)`` candidates are."""
        count = len(positions)
        rows = np.empty((2, -(-count // PADDED) * PADDED), np.float32)
        rows[:, :count] = positions.detach().to(torch.float32).T.numpy()
        rows[:, count:] = rows[:, count - 1 : count]
        wide = rows.reshape(2, -1, PADDED)
        return cls(rows[0], rows[1], wide.min(axis=2), wide.max(axis=2))


@dataclass(frozen=True, slots=True, eq=False)
class _Circles:
    """A circle around a picked row for each query of a block.

    Attributes:
        row: ``(B,)`` in the middle.
        limit: its squared radius, which no row in it has.
        near: ``(W, B)`` the wide groups of rows that it may reach.
    """

    row: Indices
    limit: np.float32
    near: Flags

    @classmethod
    def around(cls, row: Indices, radius: float, places: Places) -> _Circles:
        # Rounding makes a difference smaller by a 2^-24th at most, and so this is larger than any
        # difference of rows that are within the radius.
        reach = np.float64(radius * (1 + 2.0**-20))
        low = np.nextafter((places.low - reach).astype(np.float32), np.float32(-np.inf))
        high = np.nextafter((places.high + reach).astype(np.float32), np.float32(np.inf))
        x, y = places.xs[row], places.ys[row]
        near: Flags = x > low[0, :, None]
        near &= x < high[0, :, None]
        near &= y > low[1, :, None]
        near &= y < high[1, :, None]
        return cls(row, np.float32(min(radius**2, float(np.finfo(np.float32).max))), near)

    def hold(self, query: Indices, row: Indices, places: Places) -> Flags:
        """Whether rows ``(K,)`` are in the circles of queries ``(K,)``, or in the middle."""
        middle = self.row[query]
        squared = np.square(places.xs[row] - places.xs[middle])
        squared += np.square(places.ys[row] - places.ys[middle])
        held: Flags = squared < self.limit
        held |= row == middle
        return held

    def hold_of(self, query: Indices, group: Indices, places: Places) -> Flags:
        """``(K, 32)`` the same of the rows of groups ``(K,)``."""
        middle = self.row[query]
        squared = np.square(places.xs.reshape(-1, GROUP)[group] - places.xs[middle, None])
        squared += np.square(places.ys.reshape(-1, GROUP)[group] - places.ys[middle, None])
        held: Flags = squared < self.limit
        own = np.flatnonzero(middle // GROUP == group)
        held[own, middle[own] % GROUP] = True
        return held


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """Estimates of groups that were read.

    Attributes:
        group, column: ``(K,)`` whose they are.
        cells: ``(K, 32)`` the lowest number for rows that are not to be picked, or known exactly.
        highest: ``(K,)`` the largest of each group.
    """

    group: Indices
    column: Indices
    cells: Bits
    highest: Bits

    @classmethod
    def nothing(cls) -> _Read:
        none = np.empty(0, np.int64)
        return cls(none, none, np.empty((0, GROUP), np.int16), np.empty(0, np.int16))

    @classmethod
    def of(cls, group: Indices, column: Indices, cells: Bits) -> _Read:
        return cls(group, column, cells, cells.max(axis=1))

    def and_more(self, more: _Read) -> _Read:
        return _Read(
            np.concatenate([self.group, more.group]),
            np.concatenate([self.column, more.column]),
            np.concatenate([self.cells, more.cells]),
            np.concatenate([self.highest, more.highest]),
        )

    def take_out(self, circle: _Circles, query_of: Indices, places: Places) -> None:
        """Take out the rows in the circles of the columns' queries."""
        near = np.flatnonzero(circle.near[self.group // WIDE, query_of[self.column]])
        for begin in range(0, len(near), _LOOKED_AT_ONCE):
            some = near[begin : begin + _LOOKED_AT_ONCE]
            cells = self.cells[some]
            held = circle.hold_of(query_of[self.column[some]], self.group[some], places)
            np.copyto(cells, LOWEST, where=held)
            self.cells[some] = cells
            self.highest[some] = cells.max(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """Rows that were compared in float32.

    Attributes:
        query, row: ``(K,)`` which ones.
        similarity: ``(K,)`` -inf for those that are not to be picked.
    """

    query: Indices
    row: Indices
    similarity: Floats

    @classmethod
    def nothing(cls) -> _Compared:
        none = np.empty(0, np.int64)
        return cls(none, none, np.empty(0, np.float32))

    def and_more(self, query: Indices, row: Indices, similarity: Floats) -> _Compared:
        return _Compared(
            np.concatenate([self.query, query]),
            np.concatenate([self.row, row]),
            np.concatenate([self.similarity, similarity]),
        )

    def take_out(self, circle: _Circles, places: Places) -> None:
        """Take out the rows in the circles of their queries."""
        self.similarity[circle.hold(self.query, self.row, places)] = -np.inf


def pick(
    estimates: Estimates, places: Places, separation: float, index: Indices, similarity: Floats
) -> Flags:
    """Pick the best row of each query, then the best of those far enough from it, and so on.

    Estimates of groups are read once, when one of them may be picked next, and rows are
    compared in float32 once, too.  What a circle around a pick takes out is taken out of what
    was read, and later of what is read later.

    Args:
        estimates: of the queries and the rows.
        places: where the rows are.
        separation: picked ones are at least this far from each other.
        index: ``(B, K)``; overwritten.
        similarity: ``(B, K)``; overwritten.

    Returns:
        ``(B,)`` queries that are still to be compared with all rows.
    """
    query_of = estimates.block.query
    unread = estimates.highest.copy()  # the lowest number for groups that were read
    beyond = unread.reshape(-1, WIDE, len(query_of)).max(axis=1)  # for those in circles' reach
    settled = np.ones(len(estimates.block), np.bool_)
    read, compared = _Read.nothing(), _Compared.nothing()
    circles: list[_Circles] = []
    for round_ in range(index.shape[1]):
        floor = estimates.floors(beyond.max(axis=0))
        _raise_floor(estimates, floor, read)
        np.maximum.at(floor, compared.query, compared.similarity)
        threshold, known = estimates.thresholds(floor)
        if round_:  # all that is left may be within reach of the circles
            threshold[(settled & ~known)[query_of]] = 1
        group, column = estimates.groups_reaching(unread >= threshold, settled)
        if len(group):
            unread[group, column] = LOWEST
            more = _Read.of(group, column, estimates.grouped[group, :, column])
            for circle in circles:
                more.take_out(circle, query_of, places)
            _raise_floor(estimates, floor, more)
            threshold, known = estimates.thresholds(floor)
            read = read.and_more(more)
        settled &= known
        near = np.flatnonzero(read.highest >= threshold[read.column])
        reaching = read.cells[near] >= threshold[read.column[near], None]
        pair, place = estimates.places_reaching(reaching, read.column[near], settled)
        number = near[pair]
        row, column = read.group[number] * GROUP + place, read.column[number]
        compared = compared.and_more(query_of[column], row, estimates.products(row, column))
        best = Best.of_none(len(estimates.block))
        best.raise_to(compared.query, compared.row, compared.similarity)
        settled &= best.index >= 0
        index[:, round_], similarity[:, round_] = best.index, best.similarity
        if round_ + 1 < index.shape[1]:
            read.cells[number, place] = LOWEST
            read.highest[near] = read.cells[near].max(axis=1)
            circle = _Circles.around(np.maximum(best.index, 0), separation, places)
            circles.append(circle)
            read.take_out(circle, query_of, places)
            compared.take_out(circle, places)
            by_member = beyond.reshape(len(beyond), -1, len(estimates.block))
            np.copyto(by_member, LOWEST, where=circle.near[:, None])
    return ~settled


def _raise_floor(estimates: Estimates, floor: Floats, read: _Read) -> None:
    least = least_rounded_to(read.highest) - estimates.margin[read.column]
    np.maximum.at(floor, estimates.block.query[read.column], least)
