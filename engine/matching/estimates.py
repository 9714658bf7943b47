"""Estimates of products, in bfloat16, and the thresholds that no good candidate misses.

Let s be a product in float32, e the float32 sum of bfloat16 products of which the estimate is the
rounded value, and m the margin: abs(e - s) <= m.  The sum behind the largest estimate of a query
was no smaller than the number half way down from it to the next bfloat16 number, so the largest
product is at least that number less m.  Call this the *floor*.  A candidate that reaches the floor
has e >= floor - m, and as rounding keeps the order, its estimate is at least that, rounded.

The bits of positive bfloat16 numbers are ordered as integers, for which a maximum is several times
as fast, and all negative ones are below them.  So all thresholds are positive, and what would need
another one is compared in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.descriptors.bfloat16 import Rounded

Floats = NDArray[np.float32]
Bits = NDArray[np.int16]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

GROUP: Final = 32
"""Rows that are first compared with a threshold by their maximum alone."""

WIDE: Final = 8
"""Groups that are asked together whether a circle reaches them."""

PADDED: Final = GROUP * WIDE
"""Estimates have a multiple of so many rows."""

WIDTH: Final = 32
"""Their columns are a multiple of it, or vector instructions are slow."""

MOST_ROWS: Final = 32
"""A query proposes one of so many rows at most; beyond, float32 is faster."""

FEW: Final = 16
"""Groups and rows that any query may propose."""

BYTES_PER_GROUP: Final = 512
"""32 estimates, in several steps."""

SPARE: Final = 2
"""So many times the memory of estimates is taken: as much again for what is read of them."""

ROUNDED_AT_ONCE: Final = 4096
"""Vectors: fewer make more small steps, more leave the cache."""

LEAST: Final = np.float32(2.0**-100)
"""Sums of products that vanish are smaller."""

LOWEST: Final = np.int16(-(2**15))
"""The bits below those of all estimates."""

HIGHEST: Final = np.int16(2**15 - 1)
"""The bits of no estimate, above all of them."""

_MOST_GROUPS: Final = 4  # as MOST_ROWS, of groups
_BYTES_PER_ROW: Final = 256  # numbers, in several steps
_MULTIPLIED_AT_ONCE: Final = 1 << 16  # numbers that stay in the cache
_VANISHING: Final = 2.0**-58  # shorter vectors may have squares that vanish


class Memory:
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
class Vectors:
    """Vectors, what rounding them to bfloat16 makes of them, and which are zero.

    :class:`Rounded` alone is too little for a search: it has to answer queries of any length, where
    squares vanish and products with zero vectors are known, and decides by the exact vectors.

    Attributes:
        exact: ``(N, D)`` float32; for queries ``(L, B, D)``, N = L * B.
        rounded: the N vectors in bfloat16; not kept where they are rounded again each time.
        blank: ``(N,)`` True for zero vectors.
    """

    exact: Tensor
    rounded: Rounded
    blank: Flags

    @classmethod
    def of(cls, exact: Tensor, *, measured: bool, kept: bool = True) -> Vectors:
        """Round vectors; unless measured, their errors are the largest that rounding can make."""
        exact = exact.detach()
        flat = exact.reshape(-1, exact.shape[-1])
        rounded = Rounded.of(flat, measure=measured, keep=kept, at_once=ROUNDED_AT_ONCE)
        blank = (rounded.norm == 0).numpy()
        if blank.any():  # or so short that their squares vanish
            blank[blank] = ~flat[torch.from_numpy(blank)].any(dim=1).numpy()
        rounded.norm.add_(_VANISHING)
        rounded.error.add_(_VANISHING)
        return cls(exact, rounded, blank)

    def pieces(self) -> Iterator[Tensor]:
        """The vectors in bfloat16, one piece after the other."""
        if len(self.rounded.values):
            yield self.rounded.values
        else:
            for part in torch.split(self.exact, ROUNDED_AT_ONCE):
                yield part.to(torch.bfloat16)

    def margins(self, others: Sequence[Vectors]) -> Floats:
        """``(N,)`` how far sums behind estimates are from products with any other, at most.

        With D dimensions, D roundings of these products are due, and 2 D of the estimates where a
        processor rounds twice for each term.  The bound has 4 D: the rest pays for its own
        rounding.  Where anything overflows, it is infinite or NaN.
        """
        rounded = [one.rounded for one in others]
        norm = np.max([one.norm.numpy().max(initial=0) for one in rounded])
        error = np.max([one.error.numpy().max(initial=0) for one in rounded])
        bound = self.rounded.product_bound(float(norm), float(error))
        return bound.add_(float(LEAST)).numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some of the queries: B sets of L descriptors, each of them a column of the estimates.

    Attributes:
        begin, end: the first of these queries, and the first after them.
        vectors: their C = L * B descriptors, those of the first member first.
        columns: ``(D, C')`` these in bfloat16, and zero vectors up to a multiple of 32.
        query: ``(C,)`` the query of each column, counted from the first one of the block.
        blank: ``(B,)`` which queries have nothing but zero vectors.
    """

    begin: int
    end: int
    vectors: Vectors
    columns: Tensor
    query: Indices
    blank: Flags

    @classmethod
    def cut(cls, queries: Tensor, columns: int) -> list[Block]:
        """Cut ``(L, N, D)`` queries into blocks of at most so many columns."""
        members, total, dim = queries.shape
        whole = Vectors.of(queries, measured=True)
        values = whole.rounded.values.view(members, total, dim)
        norm, error = (
            one.view(members, total) for one in (whole.rounded.norm, whole.rounded.error)
        )
        blank = whole.blank.reshape(members, total)
        size = max(1, columns // max(1, members))
        blocks = []
        for begin in range(0, total, size):
            some = slice(begin, begin + size)
            mine = values[:, some].reshape(-1, dim)
            vectors = Vectors(
                exact=whole.exact[:, some],
                rounded=Rounded(mine, norm[:, some].flatten(), error[:, some].flatten()),
                blank=blank[:, some].ravel(),
            )
            count = len(mine) // members
            blocks.append(
                cls(
                    begin=begin,
                    end=begin + count,
                    vectors=vectors,
                    columns=functional.pad(mine, (0, 0, 0, -len(mine) % WIDTH)).T,
                    query=np.tile(np.arange(count), members),
                    blank=np.logical_and.reduce(blank[:, some], axis=0),
                )
            )
        return blocks

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """The queries of a block and some candidates, the *rows*.

    Attributes:
        block: the queries.
        offered: the candidates, in one or several parts.
        first: index of the first candidate.
        bits: ``(P, C')`` estimates; rows that stand for no candidate have the lowest number.
        highest: ``(G, C)`` the largest of each group of rows.
        margin: ``(C,)`` see :meth:`Vectors.margins`.
        spare_bytes: memory for what is read of the estimates.
    """

    block: Block
    offered: Sequence[Vectors]
    first: int
    bits: Bits
    highest: Bits
    margin: Floats
    spare_bytes: int

    @classmethod
    def of(cls, block: Block, offered: Sequence[Vectors], memory: Memory, first: int) -> Estimates:
        """Multiply a block with candidates, of which ``first`` is the first one's index."""
        count = sum(len(one.exact) for one in offered)
        columns = block.columns
        bits = memory.of(-(-count // PADDED) * PADDED, columns.shape[1])
        tensor = torch.from_numpy(bits)
        begin = 0
        for one in offered:
            for rows in one.pieces():
                out = tensor[begin : begin + len(rows)].view(torch.bfloat16)
                torch.mm(rows, columns, out=out)
                begin += len(rows)
        bits[count:] = LOWEST
        highest = tensor.view(-1, GROUP, bits.shape[1]).amax(dim=1).numpy()
        margin = block.vectors.margins(offered)
        highest = highest[:, : len(margin)]
        return cls(block, offered, first, bits, highest, margin, memory.spare_bytes)

    @property
    def grouped(self) -> Bits:
        """``(G, 32, C)`` estimates."""
        return self.bits.reshape(-1, GROUP, self.bits.shape[1])

    def floors(self, top: Bits) -> Floats:
        """``(B,)`` what queries' best rows reach at least, by the largest estimates ``(C,)``."""
        floor = least_rounded_to(top) - self.margin
        found: Floats = floor.reshape(-1, len(self.block)).max(axis=0)
        return found

    def thresholds(self, floor: Floats) -> tuple[Bits, Flags]:
        """``(C,)`` estimates that rows have at least which reach a floor ``(B,)``.

        And ``(B,)`` False where the floor is too low to tell; no estimate reaches these thresholds.
        """
        low = floor - self.margin.reshape(-1, len(self.block))
        settled = np.logical_and.reduce((low > LEAST) & (low < np.inf), axis=0)
        low[:, ~settled] = 1
        threshold = rounded_bits(low)
        threshold[:, ~settled] = HIGHEST
        return threshold.reshape(-1), settled

    def groups_reaching(self, reaching: Flags, settled: Flags) -> tuple[Indices, Indices]:
        """Groups and columns ``(K,)`` that reach their thresholds ``(G, C)``, of settled queries.

        Queries with too many of them are no longer ``settled``, which is changed.
        """
        group, column = np.divmod(np.flatnonzero(reaching), reaching.shape[1])
        query = self.block.query[column]
        most = self._most(len(reaching) // _MOST_GROUPS)
        settled &= affordable(self._counted(query), most, self.room(BYTES_PER_GROUP))
        if not settled.all():
            kept = settled[query]
            group, column = group[kept], column[kept]
        return group, column

    def places_reaching(
        self, reaching: Flags, column: Indices, settled: Flags
    ) -> tuple[Indices, Indices]:
        """Which of ``(K, 32)`` rows of groups reach their thresholds, of settled queries alone.

        Args:
            reaching: whose estimates do; overwritten.
            column: ``(K,)`` of the groups.
            settled: ``(B,)`` no longer True for queries with too many of them.
        """
        query = self.block.query[column]
        most = self._most(len(self.bits) // MOST_ROWS)
        room = self.room(_BYTES_PER_ROW)
        if np.count_nonzero(reaching) > room:
            counts = self._counted(query, np.count_nonzero(reaching, axis=1))
            settled &= affordable(counts, most, room)
            reaching[~settled[query]] = False
        pair, place = np.divmod(np.flatnonzero(reaching), GROUP)
        query = query[pair]
        settled &= affordable(self._counted(query), most, room)
        if not settled.all():
            kept = settled[query]
            pair, place = pair[kept], place[kept]
        return pair, place

    def _counted(self, query: Indices, counts: Indices | None = None) -> Indices:
        """``(B,)`` how often each query is among ``(K,)``, or the sums of its ``(K,)`` counts."""
        return np.bincount(query, counts, len(self.block)).astype(np.int64)

    def _most(self, least: int) -> int:
        """How many proposals the vectors of a query may have all together."""
        return max(FEW, least) * (len(self.block.query) // len(self.block))

    def room(self, size_bytes: int) -> int:
        """How many proposals of this size memory is spared for."""
        return self.spare_bytes // SPARE // size_bytes

    def products(self, row: Indices, column: Indices) -> Floats:
        """``(K,)`` products of rows and columns ``(K,)`` in float32."""
        columns = self.block.vectors.exact.numpy()
        if len(self.offered) == 1:
            return _products(self.offered[0].exact.numpy(), row, columns, column)
        found = np.empty(len(row), np.float32)
        first = 0
        for one in self.offered:
            mine = np.flatnonzero((row >= first) & (row < first + len(one.exact)))
            found[mine] = _products(one.exact.numpy(), row[mine] - first, columns, column[mine])
            first += len(one.exact)
        return found


def affordable(counts: Indices, most: int, room: int) -> Flags:
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


def least_rounded_to(bits: Bits) -> Floats:
    """The least float32 numbers that are rounded to positive bfloat16 numbers; -inf for others."""
    least = ((bits.astype(np.int32) << 16) - 0x8000).view(np.float32)
    found: Floats = np.where(bits > 0, least, np.float32(-np.inf))
    return found


def rounded_bits(values: Floats) -> Bits:
    """Positive float32 numbers, rounded to bfloat16; ties are rounded down."""
    found: Bits = ((values.view(np.int32) + 0x7FFF) >> 16).astype(np.int16)
    return found
