"""Exact nearest neighbours by a shortlist: bfloat16 products propose, float32 decides.

Processors that multiply bfloat16 in hardware (AMX, AVX512-BF16) do so three to eight times faster
than float32.  A product of rounded vectors differs from the true one by at most a bound that
follows from the rounding errors (Cauchy and Schwarz), so the best candidate of a query is among
those whose estimate lies within two bounds of the best estimate.  These few are compared again in
float32.  The CUDA kernel in ``cuda/fused.cuh`` works by the same rule.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.progress import CancelToken

_QUERIES: Final = 512  # of a block: enough for the product to run at full speed
_CANDIDATES: Final = 4096  # of a block: its estimates, 4 MiB, stay in the processor's cache
_GROUP: Final = 32  # candidates that are first compared with the threshold by their maximum alone
_MOST_GROUPS: Final = 16  # of a query and block; beyond, float32 is faster
_MOST_PAIRS: Final = 32 * _QUERIES  # of a block, for the same reason
_LEAST_PAIRS: Final = 1 << 20  # fewer are compared in less time than the preparations take
_DIMS: Final = range(16, 2049)
_BFLOAT16_ROUNDING: Final = 2.0**-8
_FLOAT32_ROUNDING: Final = 2.0**-24


@functools.cache
def in_hardware() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def pays(queries: Tensor, candidates: Sequence[Tensor], *, budget_bytes: int) -> bool:
    """Whether :func:`search` can be used, and is faster than products in float32.

    Args:
        queries: ``(L, N, D)`` sets.
        candidates: ``(M, D)`` matrices.
        budget_bytes: as for :func:`search`.
    """
    members, count, dim = queries.shape
    pairs = members * count * sum(len(member) for member in candidates)
    return (
        pairs >= _LEAST_PAIRS
        and dim in _DIMS
        and budget_bytes >= 8 * _GROUP * _QUERIES * dim
        and all(
            part.dtype == torch.float32 and part.device.type == "cpu"
            for part in (queries, *candidates)
        )
        and in_hardware()
    )


def search(
    queries: Tensor,
    candidates: Sequence[Tensor],
    *,
    budget_bytes: int,
    cancel: CancelToken | None = None,
) -> tuple[Tensor, Tensor]:
    """The nearest candidate of each set of descriptors, exact in float32.

    Args:
        queries: ``(L, N, D)`` float32 sets of L descriptors on the CPU, of any length.
        candidates: ``(M, D)`` float32 matrices, one per member.
        budget_bytes: memory that one block may take.
        cancel: checked once per block.

    Returns:
        ``(N,)`` int64 indices, rows of all members counted on, and ``(N,)`` float32 similarities.
        Of identical candidates, the first one is returned; candidates whose similarities differ
        by less than the rounding of a float32 sum may change places.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    members, count, dim = queries.shape
    asked = _Asked.of(queries.reshape(members * count, dim))
    rows = min(_CANDIDATES, max(_GROUP, budget_bytes // (8 * _QUERIES) // _GROUP * _GROUP))
    first = 0
    for member in candidates:
        for begin in range(0, len(member), rows):
            _compare(asked, member[begin : begin + rows], first + begin, cancel)
        first += len(member)
    best, index = asked.best.view(members, count), asked.index.view(members, count)
    similarity = best.amax(dim=0)
    # Members of a set that are equally similar: the lowest index wins.
    tied = torch.where(best == similarity, index, torch.iinfo(torch.int64).max)
    return tied.amin(dim=0), similarity


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The queries, and the best candidate of each until now.

    Attributes:
        exact: ``(N, D)`` float32.
        rounded: ``(N, D)`` bfloat16.
        norm: ``(N,)`` lengths of the rounded ones.
        error: ``(N,)`` lengths of what rounding changed.
        best: ``(N,)`` float32 similarities; -inf at first.
        index: ``(N,)`` int64; -1 at first.
    """

    exact: Tensor
    rounded: Tensor
    norm: Tensor
    error: Tensor
    best: Tensor
    index: Tensor

    @classmethod
    def of(cls, exact: Tensor) -> _Asked:
        rounded, norm, error = _round(exact)
        return cls(
            exact=exact,
            rounded=rounded,
            norm=norm,
            error=error,
            best=torch.full((len(exact),), -torch.inf),
            index=torch.full((len(exact),), -1),
        )


def _round(exact: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rounded = exact.to(torch.bfloat16)
    back = rounded.to(torch.float32)
    norm = torch.linalg.vector_norm(back, dim=1)
    error = torch.linalg.vector_norm(back.sub_(exact), dim=1)
    return rounded, norm, error


def _compare(asked: _Asked, candidates: Tensor, first: int, cancel: CancelToken | None) -> None:
    """Compare all queries with some candidates; ``first`` is the index of the first of these."""
    rounded, norm, error = _round(candidates)
    most_norm, most_error = norm.amax(), error.amax()
    missing = -len(candidates) % _GROUP
    if missing:  # zero vectors are never proposed
        rounded = torch.cat((rounded, rounded.new_zeros(missing, rounded.shape[1])))
    # Rounding the two vectors, then the sum in float32, then the estimate.
    dim = candidates.shape[1]
    bound = asked.error * (most_norm + most_error) + asked.norm * most_error
    bound += asked.norm * most_norm * (_BFLOAT16_ROUNDING + 4 * dim * _FLOAT32_ROUNDING)
    for begin in range(0, len(asked.exact), _QUERIES):
        if cancel is not None:
            cancel.check()
        block = slice(begin, begin + _QUERIES)
        unsettled = _shortlist(asked, block, bound[block], candidates, rounded, first)
        if bool(unsettled.any()):
            _decide_all(asked, begin + unsettled.nonzero()[:, 0], candidates, first)


def _shortlist(
    asked: _Asked, block: slice, bound: Tensor, candidates: Tensor, rounded: Tensor, first: int
) -> Tensor:
    """Let estimates propose and float32 decide.

    Returns:
        ``(N,)`` which queries of the block are still to be compared with all candidates: those
        that resemble none, and those with so many proposals that float32 is faster.
    """
    estimates = (rounded @ asked.rounded[block].T).view(torch.int16)
    # The bits of positive bfloat16 numbers are ordered as integers, where a maximum is several
    # times faster, and all negative ones are below them.
    grouped = estimates.view(-1, _GROUP, estimates.shape[1])
    highest = grouped.amax(dim=1)
    top = highest.amax(dim=0).view(torch.bfloat16).to(torch.float32)
    threshold = torch.maximum(top - 2 * bound, asked.best[block] - bound)
    unsettled = ~(threshold > 0)  # where the bound overflows or is not a number, too
    bits = threshold.to(torch.bfloat16).view(torch.int16)
    bits -= 1  # where rounding to the nearest went up
    proposed = highest >= bits
    proposed.logical_and_(~unsettled)
    crowded = proposed.sum(dim=0) > _MOST_GROUPS
    if bool(crowded.any()):
        unsettled |= crowded
        proposed.logical_and_(~crowded)
    group, query = proposed.nonzero(as_tuple=True)
    pair, place = (grouped[group, :, query] >= bits[query][:, None]).nonzero(as_tuple=True)
    if len(pair) > _MOST_PAIRS:
        return torch.ones_like(unsettled)
    row, query = group[pair] * _GROUP + place, query[pair]
    best, index = asked.best[block], asked.index[block]
    similarity = (candidates[row] * asked.exact[block][query]).sum(dim=1)
    found = best.scatter_reduce(0, query, similarity, "amax")
    winner = (similarity == found[query]).nonzero()[:, 0]
    lowest = torch.full_like(index, len(candidates))
    lowest.scatter_reduce_(0, query[winner], row[winner], "amin")
    better = found > best  # strictly: a later candidate never wins a tie
    index[better] = first + lowest[better]
    best.copy_(found)
    return unsettled


def _decide_all(asked: _Asked, queries: Tensor, candidates: Tensor, first: int) -> None:
    """Compare some queries with all candidates in float32."""
    value, place = (asked.exact[queries] @ candidates.T).max(dim=1)
    better = value > asked.best[queries]
    asked.best[queries[better]] = value[better]
    asked.index[queries[better]] = first + place[better]
