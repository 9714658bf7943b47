"""Exact nearest neighbours by a shortlist: bfloat16 products propose, float32 decides.

Processors that multiply bfloat16 in hardware (AMX, AVX512-BF16) do so many times as fast as
float32.  Such an *estimate* differs from the true product by at most a margin that follows from the
rounding errors of the two vectors (Cauchy and Schwarz), so the best candidate of a query is among
those whose estimates come near the best one.  These few are compared again in float32.  The CUDA
kernel in ``cuda/fused.cuh`` works by the same rule.

Let s be a product in float32, e the float32 sum of bfloat16 products of which the estimate is the
rounded value, and m the margin: abs(e - s) <= m.  The sum behind the largest estimate of a query
was no smaller than the number half way down from it to the next bfloat16 number, so the largest
product is at least that number less m.  Call this the *floor*.  A candidate that reaches the floor
has e >= floor - m, and as rounding keeps the order, its estimate is at least that, rounded.

The bits of positive bfloat16 numbers are ordered as integers, for which a maximum is several times
as fast, and all negative ones are below them.  So all thresholds are positive, and what would need
another one is compared in float32.

Products of matrices are torch's, on all its threads.  The many small steps that follow are numpy's:
each takes a few microseconds, and waits for no other thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.descriptors.bfloat16 import FLOAT32_ROUNDING, ROUNDING, in_hardware
from engine.progress import CancelToken, check_stop

Floats = NDArray[np.float32]
Bits = NDArray[np.int16]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
Tell = Callable[[Tensor, Tensor], None]

_COLUMNS: Final = 512  # of a block: enough for the product to run at full speed
_LEAST_COLUMNS: Final = 32  # with fewer it is slow
_ROWS: Final = 20_480  # of a block: fewer make more small steps, more fall out of the cache
_GROUP: Final = 32  # rows that are first compared with a threshold by their maximum alone
_WIDE: Final = 8  # groups that are asked together whether a circle reaches them
_PADDED: Final = _GROUP * _WIDE
_FOLDS: Final = 8  # parts of the columns that are laid on each other to find those near a row
_WIDTH: Final = 32  # columns are a multiple of it, or vector instructions are slow
_MOST_GROUPS: Final = 4  # a query proposes one of so many at most; beyond, float32 is faster
_MOST_ROWS: Final = 32  # the same of rows
_MOST_LOOKED: Final = 32  # one of so many groups and columns at most; beyond, another way is faster
_FEW: Final = 16  # groups and rows that any query may propose
_LEAST_PAIRS: Final = 1 << 20  # fewer are compared in less time than the preparations take
_BYTES_PER_PAIR: Final = 2  # the estimate
_SPARE: Final = 2  # as much again is for what is read of them
_BYTES_PER_GROUP: Final = 512  # 32 estimates, in several steps
_BYTES_PER_ROW: Final = 256  # numbers, likewise
_ROUNDED_AT_ONCE: Final = 4096  # vectors: fewer make more small steps, more leave the cache
_MULTIPLIED_AT_ONCE: Final = 1 << 16  # numbers that stay in the cache
_LOOKED_AT_ONCE: Final = 1024  # rows or groups that do
_DECIDED_AT_ONCE: Final = 512  # rows that are compared in float32
_ROUGHLY: Final = 6  # times as many vectors as others: their errors are not worth measuring
_DIMS: Final = range(16, 2049)
_VANISHING: Final = 2.0**-58  # shorter vectors may have squares that vanish
_LEAST: Final = np.float32(2.0**-100)  # sums of products that vanish are smaller
_NO_INDEX: Final = 2**63 - 1
_LOWEST: Final = np.int16(-(2**15))
_HIGHEST: Final = np.int16(2**15 - 1)  # the bits of no estimate


def pays(
    queries: Tensor, candidates: Sequence[Tensor], *, budget_bytes: int, apart: bool = False
) -> bool:
    """Whether the searches of this module can be used, and are faster than products in float32.

    Args:
        queries: ``(L, N, D)`` sets.
        candidates: ``(M, D)`` matrices.
        budget_bytes: as for :func:`search`.
        apart: the search is :func:`search_apart`, where a block has all candidates.
    """
    members, count, dim = queries.shape
    total = sum(len(member) for member in candidates)
    if apart:
        fits = _plan_apart(total, dim, budget_bytes)[0] >= max(_LEAST_COLUMNS, members)
    else:
        fits = _plan_rows(max(_COLUMNS, members), dim, budget_bytes) > 0
    return (
        members * count * total >= _LEAST_PAIRS
        and dim in _DIMS
        and fits
        and all(
            part.dtype == torch.float32 and part.device.type == "cpu"
            for part in (queries, *candidates)
        )
        and in_hardware()
    )


def _plan_rows(columns: int, dim: int, budget_bytes: int) -> int:
    """Rows of a block, a multiple of 256; 0 where the budget is too small for any."""
    left = budget_bytes - 4 * dim * _ROUNDED_AT_ONCE
    rows = left // (_SPARE * _BYTES_PER_PAIR * columns + 2 * dim)
    return max(0, min(_ROWS, rows) // _PADDED * _PADDED)


def _plan_apart(rows: int, dim: int, budget_bytes: int) -> tuple[int, bool]:
    """Most columns of a block that has all rows, and whether all rows are kept rounded.

    Otherwise they are rounded again for each block, which takes longer but less memory.
    """
    kept = 2 * dim * rows <= budget_bytes // 2
    left = (
        budget_bytes - 2 * dim * (rows if kept else _ROUNDED_AT_ONCE) - 4 * dim * _ROUNDED_AT_ONCE
    )
    columns = left // (_SPARE * _BYTES_PER_PAIR * (rows + _PADDED))
    return max(0, min(_COLUMNS, columns) // _WIDTH * _WIDTH), kept


@np.errstate(over="ignore", invalid="ignore")
def search(
    queries: Tensor,
    candidates: Sequence[Tensor],
    *,
    budget_bytes: int,
    asks: Sequence[Tensor] | None = None,
    tell: Tell | None = None,
    cancel: CancelToken | None = None,
) -> tuple[Tensor, Tensor]:
    """The nearest candidate of each set of descriptors, exact in float32.

    Args:
        queries: ``(L, N, D)`` float32 sets of L descriptors on the CPU, of any length.
        candidates: ``(M, D)`` float32 matrices, one per member.
        budget_bytes: memory that one block may take.
        asks: ``(M,)`` float32 for each member: candidates with at least this similarity are told.
        tell: takes ``(K,)`` int64 queries and ``(K,)`` int64 such candidates, rows of all members
            counted on: each pair once, in any order.
        cancel: checked once per block.

    Returns:
        ``(N,)`` int64 indices, rows of all members counted on, and ``(N,)`` float32 similarities.
        Of identical candidates, the first one is returned; candidates whose similarities differ
        by less than the rounding of a float32 sum may change places.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    members, count, dim = queries.shape
    best = _Best.of_none(count)
    rows = _plan_rows(max(_COLUMNS, members), dim, budget_bytes) or _PADDED
    memory = _Memory(budget_bytes - 2 * dim * rows)
    blocks = _Block.cut(queries, _COLUMNS)
    asked = None if asks is None or tell is None else torch.cat(list(asks))
    for first, part in pieces(candidates, rows):
        offered = _Rounded.of(part, measured=_ROUGHLY * members * count > len(part))
        wanted = None
        if asked is not None and tell is not None:
            wanted = _Asks.of(asked[first : first + len(part)], tell)
        for block in blocks:
            if cancel is not None:
                cancel.check()
            pairs = _Pairs.of(block, [offered], memory, first)
            mine = best.among(block.begin, block.end)
            left = pairs.raise_best(mine)
            if wanted is not None:
                left |= pairs.tell_reaching(wanted, ~left)
            pairs.decide_all(left, mine, wanted)
    return torch.from_numpy(best.index), torch.from_numpy(best.similarity)


@np.errstate(over="ignore", invalid="ignore")
def search_both_ways(
    points_a: Tensor,
    points_b: Tensor,
    *,
    budget_bytes: int,
    cancel: CancelToken | None = None,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The nearest of each point of two lists among the other one's, by one product of all with all.

    Args:
        points_a: ``(N, D)`` float32 on the CPU.
        points_b: ``(M, D)`` likewise.
        budget_bytes: memory that one block may take.
        cancel: checked once per block.

    Returns:
        Indices and similarities for the points of a, then for those of b, each as those of
        :func:`search`.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    blocks = _Block.cut(points_a[None], _COLUMNS)
    best_a, best_b = _Best.of_none(len(points_a)), _Best.of_none(len(points_b))
    dim = points_a.shape[1]
    rows = _plan_rows(_COLUMNS, dim, budget_bytes) or _PADDED
    memory = _Memory(budget_bytes - 2 * dim * rows)
    for first, part in pieces([points_b], rows):
        offered = _Rounded.of(part, measured=_ROUGHLY * len(points_a) > len(part))
        back = best_b.among(first, first + len(part))
        margin = offered.margins([block.rounded for block in blocks])
        for block in blocks:
            if cancel is not None:
                cancel.check()
            pairs = _Pairs.of(block, [offered], memory, first)
            mine = best_a.among(block.begin, block.end)
            pairs.decide_all(pairs.raise_best(mine), mine, None)
            pairs.raise_best_of_rows(back, margin)
    there, home = (
        (torch.from_numpy(best.index), torch.from_numpy(best.similarity))
        for best in (best_a, best_b)
    )
    return there, home


@np.errstate(over="ignore", invalid="ignore")
def search_apart(
    queries: Tensor,
    candidates: Sequence[Tensor],
    positions: Tensor,
    *,
    count: int,
    separation: float,
    budget_bytes: int,
    asks: Sequence[Tensor] | None = None,
    tell: Tell | None = None,
    cancel: CancelToken | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best candidates of each set of descriptors that are mutually apart.

    Args:
        queries: as for :func:`search`.
        candidates: as for :func:`search`.
        positions: ``(M, 2)`` where the candidates are, all members one after the other.
        count: how many to find, at least 1.
        separation: they are at least this far from each other, in the unit of ``positions``.
        budget_bytes: memory that one block may take.
        asks: as for :func:`search`.
        tell: as for :func:`search`.
        cancel: checked once per block.

    Returns:
        ``(N, K)`` int64 indices and ``(N, K)`` float32 similarities, as those of :func:`search`;
        and ``(R,)`` int64 queries that have to be compared in float32, for which nothing was found
        and nothing told: those that resemble too few or too many candidates.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    members, total_queries, dim = queries.shape
    total = sum(len(member) for member in candidates)
    columns, kept = _plan_apart(total, dim, budget_bytes)
    measured = _ROUGHLY * members * total_queries > total
    offered = [_Rounded.of(member, measured=measured, kept=kept) for member in candidates]
    places = _Places.of(positions)
    wanted = None if asks is None or tell is None else _Asks.of(torch.cat(list(asks)), tell)
    index = np.empty((total_queries, count), np.int64)
    similarity = np.empty((total_queries, count), np.float32)
    left = np.zeros(total_queries, np.bool_)
    memory = _Memory(budget_bytes - 2 * dim * (total if kept else _ROUNDED_AT_ONCE))
    for block in _Block.cut(queries, columns):
        check_stop()
        if cancel is not None:
            cancel.check()
        pairs = _Pairs.of(block, offered, memory, 0)
        mine = slice(block.begin, block.end)
        left[mine] = pairs.pick(places, separation, index[mine], similarity[mine])
        if wanted is not None:
            left[mine] |= pairs.tell_reaching(wanted, ~left[mine])
    return (
        torch.from_numpy(index),
        torch.from_numpy(similarity),
        torch.from_numpy(left.nonzero()[0]),
    )


def pieces(candidates: Sequence[Tensor], rows: int) -> Iterator[tuple[int, Tensor]]:
    """Cut every member into pieces of at most ``rows``, each with the index of its first row."""
    firsts = itertools.accumulate((len(member) for member in candidates), initial=0)
    for first, member in zip(firsts, candidates, strict=False):
        for begin in range(0, len(member), rows):
            yield first + begin, member[begin : begin + rows]


class _Memory:
    """Memory for the estimates of one block after the other: new pages take time.

    Args:
        budget_bytes: what the estimates may take, and what is read of them.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._bits = np.empty(0, np.int16)

    def of(self, rows: int, columns: int) -> Bits:
        """``(rows, columns)`` of anything."""
        if len(self._bits) < rows * columns:
            self._bits = np.empty(0, np.int16)  # frees the former
            self._bits = np.empty(rows * columns, np.int16)
        return self._bits[: rows * columns].reshape(rows, columns)

    @property
    def spare_bytes(self) -> int:
        """What is left of it."""
        return max(0, self._budget_bytes - self._bits.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The best candidate of each query until now.

    Attributes:
        similarity: ``(N,)``; -inf at first.
        index: ``(N,)``; -1 at first.
    """

    similarity: Floats
    index: Indices

    @classmethod
    def of_none(cls, count: int) -> _Best:
        return cls(np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64))

    def among(self, begin: int, end: int) -> _Best:
        """Those of some queries, in the same memory."""
        return _Best(self.similarity[begin:end], self.index[begin:end])

    def raise_to(self, query: Indices, index: Indices, similarity: Floats) -> None:
        """Take ``(K,)`` candidates into account; the lowest index wins, and earlier ones do."""
        found = self.similarity.copy()
        np.maximum.at(found, query, similarity)
        better = found > self.similarity
        won = (similarity == found[query]) & better[query]
        lowest = np.full(len(found), _NO_INDEX)
        np.minimum.at(lowest, query[won], index[won])
        self.index[better] = lowest[better]
        self.similarity[better] = found[better]


@dataclass(frozen=True, slots=True, eq=False)
class _Rounded:
    """Vectors, and what rounding them to bfloat16 makes of them.

    Attributes:
        exact: ``(N, D)`` float32; for queries ``(L, B, D)``, N = L * B.
        values: ``(N, D)`` bfloat16; ``(0, D)`` where they are rounded again each time.
        norm: ``(N,)`` lengths, no smaller than the true ones.
        error: ``(N,)`` lengths of what rounding changes, no smaller than the true ones.
        blank: ``(N,)`` True for zero vectors.
    """

    exact: Tensor
    values: Tensor
    norm: Floats
    error: Floats
    blank: Flags

    @classmethod
    def of(cls, exact: Tensor, *, measured: bool, kept: bool = True) -> _Rounded:
        """Round vectors; unless measured, their errors are the largest that rounding can make."""
        exact = exact.detach()
        flat = exact.reshape(-1, exact.shape[-1])
        count = len(flat)
        norm, error = torch.empty(count), torch.empty(count)
        values = torch.empty((count if kept else 0, flat.shape[1]), dtype=torch.bfloat16)
        for begin in range(0, count, _ROUNDED_AT_ONCE):
            some = slice(begin, begin + _ROUNDED_AT_ONCE)
            part = flat[some]
            if kept:
                values[some].copy_(part)
            torch.linalg.vector_norm(part, dim=1, out=norm[some])
            if measured:
                rounded = values[some] if kept else part.to(torch.bfloat16)
                changed = rounded.to(torch.float32).sub_(part)
                torch.linalg.vector_norm(changed, dim=1, out=error[some])
        blank = (norm == 0).numpy()
        if blank.any():  # or so short that their squares vanish
            blank[blank] = ~flat[torch.from_numpy(blank)].any(dim=1).numpy()
        norm += _VANISHING
        error = error.add_(_VANISHING) if measured else norm * ROUNDING
        return cls(exact, values, norm.numpy(), error.numpy(), blank)

    def pieces(self) -> Iterator[Tensor]:
        """The vectors in bfloat16, one piece after the other."""
        if len(self.values):
            yield self.values
        else:
            for part in torch.split(self.exact, _ROUNDED_AT_ONCE):
                yield part.to(torch.bfloat16)

    def margins(self, others: Sequence[_Rounded]) -> Floats:
        """``(N,)`` how far sums behind estimates are from products with any other, at most.

        With q and c for the vectors, dq and dc for their errors, it is |dq| |c| + |q + dq| |dc| for
        rounding them, and D roundings of |q + dq| |c + dc| for each of the two sums; four of them
        pay for the rounding of this bound, too.  Where anything overflows, it is infinite or NaN.
        """
        norm = np.max([one.norm.max(initial=0) for one in others])
        error = np.max([one.error.max(initial=0) for one in others])
        rounding = np.float32(2 * self.values.shape[1] * FLOAT32_ROUNDING)
        longest = self.norm + self.error
        found: Floats = self.error * norm + longest * error
        found += 2 * longest * (norm + error) * rounding + _LEAST
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some of the queries: B sets of L descriptors, each of them a column of the estimates.

    Attributes:
        begin, end: the first of these queries, and the first after them.
        rounded: their C = L * B descriptors, those of the first member first.
        columns: ``(D, C')`` these in bfloat16, and zero vectors up to a multiple of 32.
        query: ``(C,)`` the query of each column, counted from the first one of the block.
        blank: ``(B,)`` which queries have nothing but zero vectors.
    """

    begin: int
    end: int
    rounded: _Rounded
    columns: Tensor
    query: Indices
    blank: Flags

    @classmethod
    def cut(cls, queries: Tensor, columns: int) -> list[_Block]:
        """Cut ``(L, N, D)`` queries into blocks of at most so many columns."""
        members, total, dim = queries.shape
        whole = _Rounded.of(queries, measured=True)
        values = whole.values.view(members, total, dim)
        norm, error = (one.reshape(members, total) for one in (whole.norm, whole.error))
        blank = whole.blank.reshape(members, total)
        size = max(1, columns // max(1, members))
        blocks = []
        for begin in range(0, total, size):
            some = slice(begin, begin + size)
            mine = values[:, some].reshape(-1, dim)
            rounded = _Rounded(
                exact=whole.exact[:, some],
                values=mine,
                norm=norm[:, some].ravel(),
                error=error[:, some].ravel(),
                blank=blank[:, some].ravel(),
            )
            count = len(mine) // members
            blocks.append(
                cls(
                    begin=begin,
                    end=begin + count,
                    rounded=rounded,
                    columns=functional.pad(mine, (0, 0, 0, -len(mine) % _WIDTH)).T,
                    query=np.tile(np.arange(count), members),
                    blank=np.logical_and.reduce(blank[:, some], axis=0),
                )
            )
        return blocks

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True, eq=False)
class _Asks:
    """What rows ask for.

    Attributes:
        of_row: ``(P,)`` infinite for those that stand for no candidate.
        of_group: ``(G,)`` the least of each group.
        tell: takes what is found.
    """

    of_row: Floats
    of_group: Floats
    tell: Tell

    @classmethod
    def of(cls, asks: Tensor, tell: Tell) -> _Asks:
        rows = np.full(-(-len(asks) // _PADDED) * _PADDED, np.inf, np.float32)
        rows[: len(asks)] = asks.detach().numpy()
        rows[np.isnan(rows)] = np.inf  # nothing reaches it
        return cls(rows, rows.reshape(-1, _GROUP).min(axis=1), tell)


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
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
    def of(cls, positions: Tensor) -> _Places:
        count = len(positions)
        rows = np.empty((2, -(-count // _PADDED) * _PADDED), np.float32)
        rows[:, :count] = positions.detach().to(torch.float32).T.numpy()
        rows[:, count:] = rows[:, count - 1 : count]
        wide = rows.reshape(2, -1, _PADDED)
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
    def around(cls, row: Indices, radius: float, places: _Places) -> _Circles:
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

    def hold(self, query: Indices, row: Indices, places: _Places) -> Flags:
        """Whether rows ``(K,)`` are in the circles of queries ``(K,)``, or in the middle."""
        middle = self.row[query]
        squared = np.square(places.xs[row] - places.xs[middle])
        squared += np.square(places.ys[row] - places.ys[middle])
        held: Flags = squared < self.limit
        held |= row == middle
        return held

    def hold_of(self, query: Indices, group: Indices, places: _Places) -> Flags:
        """``(K, 32)`` the same of the rows of groups ``(K,)``."""
        middle = self.row[query]
        squared = np.square(places.xs.reshape(-1, _GROUP)[group] - places.xs[middle, None])
        squared += np.square(places.ys.reshape(-1, _GROUP)[group] - places.ys[middle, None])
        held: Flags = squared < self.limit
        own = np.flatnonzero(middle // _GROUP == group)
        held[own, middle[own] % _GROUP] = True
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
        return cls(none, none, np.empty((0, _GROUP), np.int16), np.empty(0, np.int16))

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

    def take_out(self, circle: _Circles, query_of: Indices, places: _Places) -> None:
        """Take out the rows in the circles of the columns' queries."""
        near = np.flatnonzero(circle.near[self.group // _WIDE, query_of[self.column]])
        for begin in range(0, len(near), _LOOKED_AT_ONCE):
            some = near[begin : begin + _LOOKED_AT_ONCE]
            cells = self.cells[some]
            held = circle.hold_of(query_of[self.column[some]], self.group[some], places)
            np.copyto(cells, _LOWEST, where=held)
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

    def take_out(self, circle: _Circles, places: _Places) -> None:
        """Take out the rows in the circles of their queries."""
        self.similarity[circle.hold(self.query, self.row, places)] = -np.inf


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """The queries of a block and some candidates, the *rows*.

    Attributes:
        block: the queries.
        offered: the candidates, in one or several parts.
        first: index of the first candidate.
        bits: ``(P, C')`` estimates; rows that stand for no candidate have the lowest number.
        highest: ``(G, C)`` the largest of each group of rows.
        margin: ``(C,)`` see :meth:`_Rounded.margins`.
        spare_bytes: memory for what is read of the estimates.
    """

    block: _Block
    offered: Sequence[_Rounded]
    first: int
    bits: Bits
    highest: Bits
    margin: Floats
    spare_bytes: int

    @classmethod
    def of(cls, block: _Block, offered: Sequence[_Rounded], memory: _Memory, first: int) -> _Pairs:
        count = sum(len(one.exact) for one in offered)
        columns = block.columns
        bits = memory.of(-(-count // _PADDED) * _PADDED, columns.shape[1])
        tensor = torch.from_numpy(bits)
        begin = 0
        for one in offered:
            for rows in one.pieces():
                out = tensor[begin : begin + len(rows)].view(torch.bfloat16)
                torch.mm(rows, columns, out=out)
                begin += len(rows)
        bits[count:] = _LOWEST
        highest = tensor.view(-1, _GROUP, bits.shape[1]).amax(dim=1).numpy()
        margin = block.rounded.margins(offered)
        highest = highest[:, : len(margin)]
        return cls(block, offered, first, bits, highest, margin, memory.spare_bytes)

    def raise_best(self, best: _Best) -> Flags:
        """Compare what the estimates propose.

        Returns:
            ``(B,)`` queries that are still to be compared with all rows: those that resemble none,
            and those with so many proposals that this is faster.
        """
        floor = np.maximum(self._floors(self.highest.max(axis=0)), best.similarity)
        threshold, settled = self._thresholds(floor)
        group, column = self._groups_reaching(self.highest >= threshold, settled)
        cells = self._grouped[group, :, column]
        pair, place = self._places_reaching(cells >= threshold[column, None], column, settled)
        row, column = group[pair] * _GROUP + place, column[pair]
        best.raise_to(self.block.query[column], self.first + row, self._products(row, column))
        if self.block.blank.any():
            settled |= self._raise_blank(best)
        return ~settled

    def _raise_blank(self, best: _Best) -> Flags:
        """Take the product 0 of zero vectors with all finite ones into account; whose that is."""
        finite = np.isfinite(self.margin.reshape(-1, len(self.block)))
        done: Flags = self.block.blank & np.logical_and.reduce(finite, axis=0)
        query = done.nonzero()[0]
        best.raise_to(query, np.full(len(query), self.first), np.zeros(len(query), np.float32))
        return done

    def raise_best_of_rows(self, best: _Best, margin: Floats) -> None:
        """Take the queries into account for the rows; both are single descriptors.

        Args:
            best: of the rows; overwritten.
            margin: ``(M,)`` of the rows with any query, see :meth:`_Rounded.margins`.
        """
        (offered,) = self.offered
        low = best.similarity - margin
        settled = (low > _LEAST) & (low < np.inf)
        blank = offered.blank & np.isfinite(margin)
        pairs = self._near_rows_by_groups(low, settled, blank)
        if pairs is None:
            row, column, settled = self._near_rows_by_columns(best.similarity, margin)
        else:
            row, column = pairs
        best.raise_to(row, self.block.begin + column, self._products(row, column))
        if blank.any():  # their products with all finite vectors are 0
            row = blank.nonzero()[0]
            best.raise_to(row, np.full(len(row), self.block.begin), np.zeros(len(row), np.float32))
        left = np.flatnonzero(~(settled | blank))
        for begin in range(0, len(left), _DECIDED_AT_ONCE):
            some = left[begin : begin + _DECIDED_AT_ONCE]
            products = offered.exact[torch.from_numpy(some)] @ self.block.rounded.exact[0].T
            value, place = products.max(dim=1)
            best.raise_to(some, self.block.begin + place.numpy(), value.numpy())

    def _near_rows_by_groups(
        self, low: Floats, settled: Flags, blank: Flags
    ) -> tuple[Indices, Indices] | None:
        """Rows and columns ``(K,)`` whose estimates exceed numbers ``(M,)`` for the rows.

        Only groups are looked at whose largest estimate reaches what one of their rows asks for.
        These are few once most rows know a candidate that is nearly as good as their best; None
        where they are many, or where some rows know none.
        """
        if not (settled | blank).all():
            return None
        of_rows = np.full(len(self.bits), _HIGHEST)
        of_rows[: len(low)][settled] = _rounded_bits(low[settled])
        threshold = of_rows.reshape(-1, _GROUP)
        reaching = self.highest >= threshold.min(axis=1)[:, None]
        if np.count_nonzero(reaching) * _MOST_LOOKED > reaching.size:
            return None
        group, column = np.divmod(np.flatnonzero(reaching), reaching.shape[1])
        cells = self._grouped[group, :, column]
        pair, place = np.divmod(np.flatnonzero(cells >= threshold[group]), _GROUP)
        if len(pair) > len(low):
            return None
        return group[pair] * _GROUP + place, column[pair]

    def _near_rows_by_columns(
        self, known: Floats, margin: Floats
    ) -> tuple[Indices, Indices, Flags]:
        """Rows and columns ``(K,)`` that may be as similar as the best column and what is known.

        Args:
            known: ``(M,)`` largest similarity of the rows until now.
            margin: ``(M,)`` of the rows.

        Returns:
            Rows, columns, and ``(M,)`` False for rows that are to be compared with all columns.
        """
        count = len(known)
        folded = torch.from_numpy(self.bits[:count]).view(count, _FOLDS, -1)
        highest = folded.amax(dim=1)
        top = highest.amax(dim=1).numpy()
        low = np.maximum(_least_rounded_to(top) - margin, known) - margin
        settled = (low > _LEAST) & (low < np.inf)
        threshold = np.full(count, _HIGHEST)
        threshold[settled] = _rounded_bits(low[settled])
        row = np.flatnonzero(top >= threshold)
        if 2 * len(row) > count:  # then to look at all of them is faster
            row = np.arange(count)
            reaching = highest.numpy() >= threshold[:, None]
        else:
            reaching = highest.numpy()[row] >= threshold[row, None]
        most = max(_FEW, len(self.block) // _MOST_ROWS)
        room = self._room(_BYTES_PER_GROUP)
        if np.count_nonzero(reaching) > room:
            few = _few(np.count_nonzero(reaching, axis=1), most, room)
            reaching[~few] = False
            settled[row[~few]] = False
        pair, fold = np.divmod(np.flatnonzero(reaching), reaching.shape[1])
        row = row[pair]
        cells = folded.numpy()[row, :, fold]
        pair, place = np.divmod(np.flatnonzero(cells >= threshold[row, None]), _FOLDS)
        row, column = row[pair], place * folded.shape[2] + fold[pair]
        settled &= np.bincount(row, minlength=count) <= most
        kept = settled[row]
        return row[kept], column[kept], settled

    def tell_reaching(self, asks: _Asks, among: Flags) -> Flags:
        """Tell which rows are as similar to queries as they ask for.

        Args:
            asks: what they ask for.
            among: ``(B,)`` the queries to tell of.

        Returns:
            ``(B,)`` those of them that so many rows may reach that comparing all is faster; nothing
            was told of them.
        """
        settled = among.copy()
        margin = self.margin[among[self.block.query]].max(initial=0)
        of_row, of_group = (
            np.where(low > _LEAST, _rounded_bits(np.maximum(low, _LEAST)), _LOWEST)
            for low in (asks.of_row - margin, asks.of_group - margin)
        )
        group, column = self._groups_reaching(self.highest >= of_group[:, None], settled)
        cells = self._grouped[group, :, column]
        least = of_row.reshape(-1, _GROUP)[group]
        pair, place = self._places_reaching(cells >= least, column, settled)
        row, column = group[pair] * _GROUP + place, column[pair]
        reached = self._products(row, column) >= asks.of_row[row]
        row, query = row[reached], self.block.query[column[reached]]
        if len(self.block.query) > len(self.block):  # several members of a set may reach the same
            query, row = np.divmod(np.unique(query * len(self.bits) + row), len(self.bits))
        if len(row):
            asks.tell(
                torch.from_numpy(query + self.block.begin), torch.from_numpy(row + self.first)
            )
        return among & ~settled

    def decide_all(self, left: Flags, best: _Best, asks: _Asks | None) -> None:
        """Compare queries ``(B,)`` with all rows in float32."""
        if not left.any():
            return
        (offered,) = self.offered
        number = torch.from_numpy(left.nonzero()[0])
        sets = self.block.rounded.exact[:, number]
        for begin in range(0, len(offered.exact), _DECIDED_AT_ONCE):
            rows = offered.exact[begin : begin + _DECIDED_AT_ONCE]
            similarity = (sets @ rows.T).amax(dim=0)
            value, place = similarity.max(dim=1)
            place += self.first + begin
            best.raise_to(number.numpy(), place.numpy(), value.numpy())
            if asks is not None:
                least = torch.from_numpy(asks.of_row[begin : begin + len(rows)])
                query, row = (similarity >= least).nonzero(as_tuple=True)
                if len(row):
                    asks.tell(number[query] + self.block.begin, row + (self.first + begin))

    def pick(self, places: _Places, separation: float, index: Indices, similarity: Floats) -> Flags:
        """Pick the best row of each query, then the best of those far enough from it, and so on.

        Estimates of groups are read once, when one of them may be picked next, and rows are
        compared in float32 once, too.  What a circle around a pick takes out is taken out of what
        was read, and later of what is read later.

        Args:
            places: where the rows are.
            separation: as for :func:`search_apart`.
            index: ``(B, K)``; overwritten.
            similarity: ``(B, K)``; overwritten.

        Returns:
            ``(B,)`` queries that are still to be compared with all rows.
        """
        query_of = self.block.query
        unread = self.highest.copy()  # the lowest number for groups that were read
        beyond = unread.reshape(-1, _WIDE, len(query_of)).max(axis=1)  # for those in circles' reach
        settled = np.ones(len(self.block), np.bool_)
        read, compared = _Read.nothing(), _Compared.nothing()
        circles: list[_Circles] = []
        for round_ in range(index.shape[1]):
            floor = self._floors(beyond.max(axis=0))
            self._raise_floor(floor, read)
            np.maximum.at(floor, compared.query, compared.similarity)
            threshold, known = self._thresholds(floor)
            if round_:  # all that is left may be within reach of the circles
                threshold[(settled & ~known)[query_of]] = 1
            group, column = self._groups_reaching(unread >= threshold, settled)
            if len(group):
                unread[group, column] = _LOWEST
                more = _Read.of(group, column, self._grouped[group, :, column])
                for circle in circles:
                    more.take_out(circle, query_of, places)
                self._raise_floor(floor, more)
                threshold, known = self._thresholds(floor)
                read = read.and_more(more)
            settled &= known
            near = np.flatnonzero(read.highest >= threshold[read.column])
            reaching = read.cells[near] >= threshold[read.column[near], None]
            pair, place = self._places_reaching(reaching, read.column[near], settled)
            number = near[pair]
            row, column = read.group[number] * _GROUP + place, read.column[number]
            compared = compared.and_more(query_of[column], row, self._products(row, column))
            best = _Best.of_none(len(self.block))
            best.raise_to(compared.query, compared.row, compared.similarity)
            settled &= best.index >= 0
            index[:, round_], similarity[:, round_] = best.index, best.similarity
            if round_ + 1 < index.shape[1]:
                read.cells[number, place] = _LOWEST
                read.highest[near] = read.cells[near].max(axis=1)
                circle = _Circles.around(np.maximum(best.index, 0), separation, places)
                circles.append(circle)
                read.take_out(circle, query_of, places)
                compared.take_out(circle, places)
                by_member = beyond.reshape(len(beyond), -1, len(self.block))
                np.copyto(by_member, _LOWEST, where=circle.near[:, None])
        return ~settled

    def _raise_floor(self, floor: Floats, read: _Read) -> None:
        least = _least_rounded_to(read.highest) - self.margin[read.column]
        np.maximum.at(floor, self.block.query[read.column], least)

    @property
    def _grouped(self) -> Bits:
        """``(G, 32, C)`` estimates."""
        return self.bits.reshape(-1, _GROUP, self.bits.shape[1])

    def _floors(self, top: Bits) -> Floats:
        """``(B,)`` what queries' best rows reach at least, by the largest estimates ``(C,)``."""
        floor = _least_rounded_to(top) - self.margin
        found: Floats = floor.reshape(-1, len(self.block)).max(axis=0)
        return found

    def _thresholds(self, floor: Floats) -> tuple[Bits, Flags]:
        """``(C,)`` estimates that rows have at least which reach a floor ``(B,)``.

        And ``(B,)`` False where the floor is too low to tell; no estimate reaches these thresholds.
        """
        low = floor - self.margin.reshape(-1, len(self.block))
        settled = np.logical_and.reduce((low > _LEAST) & (low < np.inf), axis=0)
        low[:, ~settled] = 1
        threshold = _rounded_bits(low)
        threshold[:, ~settled] = _HIGHEST
        return threshold.reshape(-1), settled

    def _groups_reaching(self, reaching: Flags, settled: Flags) -> tuple[Indices, Indices]:
        """Groups and columns ``(K,)`` that reach their thresholds ``(G, C)``, of settled queries.

        Queries with too many of them are no longer ``settled``, which is changed.
        """
        group, column = np.divmod(np.flatnonzero(reaching), reaching.shape[1])
        query = self.block.query[column]
        most = self._most(len(reaching) // _MOST_GROUPS)
        settled &= _few(self._counted(query), most, self._room(_BYTES_PER_GROUP))
        if not settled.all():
            kept = settled[query]
            group, column = group[kept], column[kept]
        return group, column

    def _places_reaching(
        self, reaching: Flags, column: Indices, settled: Flags
    ) -> tuple[Indices, Indices]:
        """Which of ``(K, 32)`` rows of groups reach their thresholds, of settled queries alone.

        Args:
            reaching: whose estimates do; overwritten.
            column: ``(K,)`` of the groups.
            settled: ``(B,)`` no longer True for queries with too many of them.
        """
        query = self.block.query[column]
        most = self._most(len(self.bits) // _MOST_ROWS)
        room = self._room(_BYTES_PER_ROW)
        if np.count_nonzero(reaching) > room:
            settled &= _few(self._counted(query, np.count_nonzero(reaching, axis=1)), most, room)
            reaching[~settled[query]] = False
        pair, place = np.divmod(np.flatnonzero(reaching), _GROUP)
        query = query[pair]
        settled &= _few(self._counted(query), most, room)
        if not settled.all():
            kept = settled[query]
            pair, place = pair[kept], place[kept]
        return pair, place

    def _counted(self, query: Indices, counts: Indices | None = None) -> Indices:
        """``(B,)`` how often each query is among ``(K,)``, or the sums of its ``(K,)`` counts."""
        return np.bincount(query, counts, len(self.block)).astype(np.int64)

    def _most(self, least: int) -> int:
        """How many proposals the vectors of a query may have all together."""
        return max(_FEW, least) * (len(self.block.query) // len(self.block))

    def _room(self, size_bytes: int) -> int:
        """How many proposals of this size memory is spared for."""
        return self.spare_bytes // _SPARE // size_bytes

    def _products(self, row: Indices, column: Indices) -> Floats:
        """``(K,)`` products of rows and columns ``(K,)`` in float32."""
        columns = self.block.rounded.exact.numpy()
        if len(self.offered) == 1:
            return _products(self.offered[0].exact.numpy(), row, columns, column)
        found = np.empty(len(row), np.float32)
        first = 0
        for one in self.offered:
            mine = np.flatnonzero((row >= first) & (row < first + len(one.exact)))
            found[mine] = _products(one.exact.numpy(), row[mine] - first, columns, column[mine])
            first += len(one.exact)
        return found


def _few(counts: Indices, most: int, room: int) -> Flags:
    """Whose ``(N,)`` proposals are few, and find room, which those with the fewest get first."""
    few: Flags = counts <= most
    if counts.sum() > room:
        order = np.argsort(counts, kind="stable")
        few[order[counts[order].cumsum() > room]] = False
    return few


def _products(rows: Floats, row: Indices, columns: Floats, column: Indices) -> Floats:
    """``(K,)`` products of rows ``(M, D)`` and columns, which are counted as ``(L, B, D)`` are."""
    members, count, dim = columns.shape
    step = min(max(1, _MULTIPLIED_AT_ONCE // dim), max(1, len(row)))
    one, other = np.empty((step, dim), np.float32), np.empty((step, dim), np.float32)
    found = np.empty(len(row), np.float32)
    for begin in range(0, len(row), step):
        size = min(step, len(row) - begin)
        part = slice(begin, begin + size)
        _gather(rows, row[part], one[:size])
        if members == 1:
            _gather(columns[0], column[part], other[:size])
        else:
            other[:size] = columns[column[part] // count, column[part] % count]
        np.einsum("nd,nd->n", one[:size], other[:size], out=found[part])
    return found


def _gather(rows: Floats, row: Indices, out: Floats) -> None:
    if rows.flags.c_contiguous:
        np.take(rows, row, axis=0, out=out, mode="clip")
    else:  # take() would copy all of them first
        out[...] = rows[row]


def _least_rounded_to(bits: Bits) -> Floats:
    """The least float32 numbers that are rounded to positive bfloat16 numbers; -inf for others."""
    least = ((bits.astype(np.int32) << 16) - 0x8000).view(np.float32)
    found: Floats = np.where(bits > 0, least, np.float32(-np.inf))
    return found


def _rounded_bits(values: Floats) -> Bits:
    """Positive float32 numbers, rounded to bfloat16; ties are rounded down."""
    found: Bits = ((values.view(np.int32) + 0x7FFF) >> 16).astype(np.int16)
    return found
