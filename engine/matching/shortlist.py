"""Exact nearest neighbours by a shortlist: bfloat16 products propose, float32 decides.

Processors that multiply bfloat16 in hardware (AMX, AVX512-BF16) do so many times as fast as
float32.  Such an *estimate* differs from the true product by at most a margin that follows from the
rounding errors of the two vectors (Cauchy and Schwarz), so the best candidate of a query is among
those whose estimates come near the best one.  These few are compared again in float32.  The CUDA
kernel in ``cuda/fused.cuh`` works by the same rule.

The searches go through blocks that fit a budget.  What is near enough to the best one, and why none
is missed, is in :mod:`engine.matching.estimates`; :mod:`engine.matching.reranking` compares it in
float32, and :mod:`engine.matching.suppression` picks those that are apart.

Products of matrices are torch's, on all its threads.  The many small steps that follow are numpy's:
each takes a few microseconds, and waits for no other thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from engine.descriptors.bfloat16 import in_hardware
from engine.matching.estimates import (
    PADDED,
    ROUNDED_AT_ONCE,
    SPARE,
    WIDTH,
    Block,
    Estimates,
    Memory,
    Vectors,
)
from engine.matching.reranking import (
    Asks,
    Best,
    Tell,
    decide_all,
    raise_best,
    raise_best_of_rows,
    tell_reaching,
)
from engine.matching.suppression import Places, pick
from engine.progress import CancelToken, check_stop

_COLUMNS: Final = 512  # of a block: enough for the product to run at full speed
_LEAST_COLUMNS: Final = 32  # with fewer it is slow
_ROWS: Final = 20_480  # of a block: fewer make more small steps, more fall out of the cache
_LEAST_PAIRS: Final = 1 << 20  # fewer are compared in less time than the preparations take
_BYTES_PER_PAIR: Final = 2  # the estimate
_ROUGHLY: Final = 6  # times as many vectors as others: their errors are not worth measuring
_DIMS: Final = range(16, 2049)


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
    left = budget_bytes - 4 * dim * ROUNDED_AT_ONCE
    rows = left // (SPARE * _BYTES_PER_PAIR * columns + 2 * dim)
    return max(0, min(_ROWS, rows) // PADDED * PADDED)


def _plan_apart(rows: int, dim: int, budget_bytes: int) -> tuple[int, bool]:
    """Most columns of a block that has all rows, and whether all rows are kept rounded.

    Otherwise they are rounded again for each block, which takes longer but less memory.
    """
    kept = 2 * dim * rows <= budget_bytes // 2
    left = budget_bytes - 2 * dim * (rows if kept else ROUNDED_AT_ONCE) - 4 * dim * ROUNDED_AT_ONCE
    columns = left // (SPARE * _BYTES_PER_PAIR * (rows + PADDED))
    return max(0, min(_COLUMNS, columns) // WIDTH * WIDTH), kept


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
    best = Best.of_none(count)
    rows = _plan_rows(max(_COLUMNS, members), dim, budget_bytes) or PADDED
    memory = Memory(budget_bytes - 2 * dim * rows)
    blocks = Block.cut(queries, _COLUMNS)
    asked = None if asks is None or tell is None else torch.cat(list(asks))
    for first, part in pieces(candidates, rows):
        offered = Vectors.of(part, measured=_ROUGHLY * members * count > len(part))
        wanted = None
        if asked is not None and tell is not None:
            wanted = Asks.of(asked[first : first + len(part)], tell)
        for block in blocks:
            if cancel is not None:
                cancel.check()
            estimates = Estimates.of(block, [offered], memory, first)
            mine = best.among(block.begin, block.end)
            left = raise_best(estimates, mine)
            if wanted is not None:
                left |= tell_reaching(estimates, wanted, ~left)
            decide_all(estimates, left, mine, wanted)
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
    blocks = Block.cut(points_a[None], _COLUMNS)
    best_a, best_b = Best.of_none(len(points_a)), Best.of_none(len(points_b))
    dim = points_a.shape[1]
    rows = _plan_rows(_COLUMNS, dim, budget_bytes) or PADDED
    memory = Memory(budget_bytes - 2 * dim * rows)
    for first, part in pieces([points_b], rows):
        offered = Vectors.of(part, measured=_ROUGHLY * len(points_a) > len(part))
        back = best_b.among(first, first + len(part))
        margin = offered.margins([block.vectors for block in blocks])
        for block in blocks:
            if cancel is not None:
                cancel.check()
            estimates = Estimates.of(block, [offered], memory, first)
            mine = best_a.among(block.begin, block.end)
            decide_all(estimates, raise_best(estimates, mine), mine, None)
            raise_best_of_rows(estimates, back, margin)
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
    offered = [Vectors.of(member, measured=measured, kept=kept) for member in candidates]
    places = Places.of(positions)
    wanted = None if asks is None or tell is None else Asks.of(torch.cat(list(asks)), tell)
    index = np.empty((total_queries, count), np.int64)
    similarity = np.empty((total_queries, count), np.float32)
    left = np.zeros(total_queries, np.bool_)
    memory = Memory(budget_bytes - 2 * dim * (total if kept else ROUNDED_AT_ONCE))
    for block in Block.cut(queries, columns):
        check_stop()
        if cancel is not None:
            cancel.check()
        estimates = Estimates.of(block, offered, memory, 0)
        mine = slice(block.begin, block.end)
        left[mine] = pick(estimates, places, separation, index[mine], similarity[mine])
        if wanted is not None:
            left[mine] |= tell_reaching(estimates, wanted, ~left[mine])
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
