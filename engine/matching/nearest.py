"""Exact search among descriptors, in blocks that respect a memory budget.

Similarity is the dot product, which is the cosine for unit vectors; a zero vector (nothing to
describe) has similarity 0 with everything.  A *set* of descriptors per point is compared by its
best pair: the similarity of two sets is the largest over all (query member, candidate member).

Candidates are given as one matrix per set member.  Members may have different grids and so
different numbers of rows; an *index* counts the rows of all members, one member after the other.
**Ties go to the lowest index**, and to the lowest query member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from engine.descriptors.tensors import GROUP, largest_of_rows, raise_to_columns
from engine.kernels.ops import Backend, search_nearest
from engine.matching import shortlist
from engine.progress import CancelToken, check_stop

_NEAREST_BYTES_PER_PAIR = 8  # the block of similarities, and one more for a second query member
# The block of similarities, the part of it that a circle reaches, at most all of it, and the
# squared distances there.
_APART_BYTES_PER_PAIR = 20
_WIDEST_ROWS = 256  # enough queries for a matrix product to run at full speed
# On a processor a product is read again while it is in the cache, and square ones run fastest.
_SQUARE_ROWS = 1024
_CACHED_BYTES = 8 << 20
# Rounding of a float32 cosine near 1: without a floor, two identical candidates could differ by
# one rounding and have the ratio 0, "sure", where the truth is 1, "a coin toss".
_LEAST_SQUARED_DISTANCE = 1e-6

MOST_REACHING: Final = 256
"""So many candidates of a query are listed at most, see :class:`Reaching`."""


@dataclass(frozen=True, slots=True, eq=False)
class Reaching:
    """Which candidates are as similar to a query as they ask for, found by the way.

    Attributes:
        query: ``(K,)`` int64, ascending.
        candidate: ``(K,)`` int64, rows of all members counted on; ascending for each query.
        many: ``(N,)`` True for queries with more than 256 such candidates, none of which is listed.
    """

    query: Tensor
    candidate: Tensor
    many: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The best candidate of each query.

    Attributes:
        index: ``(N,)`` int64, rows of all members counted on; -1 where there is no candidate.
        similarity: ``(N,)`` float32; -inf where there is no candidate.
        query_member: ``(N,)`` int64, which member of the query's set won; -1 without candidate.
        candidate_member: ``(N,)`` int64, which member of the candidates won; -1 without one.
        reaching: what ``asks`` asked for; None where it did not, or where no similarities were
            computed that could tell.
    """

    index: Tensor
    similarity: Tensor
    query_member: Tensor
    candidate_member: Tensor
    reaching: Reaching | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """The best candidates of each query that are mutually apart, best first.

    Attributes:
        index: ``(N, K)`` int64, rows of all members counted on; -1 where there are no more.
        similarity: ``(N, K)`` float32; -inf where there are no more.
        reaching: what ``asks`` asked for; None where it did not.
    """

    index: Tensor
    similarity: Tensor
    reaching: Reaching | None = None


class _Listing:
    """Lists the candidates that reach what they ask for, block by block."""

    def __init__(self, asks: Sequence[Tensor], queries: int) -> None:
        self._asks = torch.cat(list(asks))
        self._counts = torch.zeros(queries, dtype=torch.int64, device=self._asks.device)
        self._found: list[tuple[Tensor, Tensor]] = []

    def look(self, similarity: Tensor, queries: Tensor, first: int) -> None:
        """Look at ``(N, M)`` similarities of queries ``(N,)`` and candidates from ``first``."""
        reached = similarity >= self._asks[first : first + similarity.shape[1]]
        query, candidate = reached.nonzero(as_tuple=True)
        self.add(queries[query], candidate + first)

    def add(self, query: Tensor, candidate: Tensor) -> None:
        """Add ``(K,)`` pairs that were not added before."""
        if not len(query):
            return
        self._counts += torch.bincount(query, minlength=len(self._counts))
        listed = self._counts[query] <= MOST_REACHING
        self._found.append((query[listed], candidate[listed]))

    def told(self) -> Reaching:
        """All that was found."""
        many = self._counts > MOST_REACHING
        nothing = self._counts[:0]
        parts = [(nothing, nothing), *self._found]
        query, candidate = (torch.cat(part) for part in zip(*parts, strict=True))
        listed = ~many[query]
        query, candidate = query[listed], candidate[listed]
        order = (query * len(self._asks) + candidate).argsort()
        return Reaching(query[order], candidate[order], many)


def plan_blocks(
    queries: int,
    candidates: int,
    *,
    bytes_per_pair: int,
    budget_bytes: int,
    widest_rows: int = _WIDEST_ROWS,
) -> tuple[int, int]:
    """Choose how many queries and candidates are compared at once.

    Args:
        queries: how many there are.
        candidates: how many there are, all members together.
        bytes_per_pair: memory that comparing one query with one candidate takes.
        budget_bytes: memory that one block may take.
        widest_rows: queries that a block has before it takes more candidates.

    Returns:
        (queries, candidates) of a block, both at least 1; their product times ``bytes_per_pair``
        exceeds the budget only if one single pair does.
    """
    pairs = max(1, budget_bytes // bytes_per_pair)
    rows_wanted = max(1, min(queries, widest_rows))
    columns = max(1, min(candidates, pairs // min(rows_wanted, pairs)))
    rows = max(1, min(queries, pairs // columns))
    return rows, columns


def nearest(
    queries: Tensor,
    candidates: Sequence[Tensor],
    *,
    budget_bytes: int,
    asks: Sequence[Tensor] | None = None,
    cancel: CancelToken | None = None,
    backend: Backend = "auto",
) -> Nearest:
    """Find the most similar candidate of each query.

    Args:
        queries: ``(N, D)``, or ``(L, N, D)`` for sets of L descriptors.
        candidates: ``(M, D)`` matrices, one per member, on the same device.
        asks: ``(M,)`` float32 for each member: candidates with at least this similarity are listed.
        budget_bytes: memory the comparison may take, its inputs and its result not counted.
        cancel: checked once per block.
        backend: on a CUDA GPU a kernel does the work where it can, with float32 sums whatever the
            dtype, and on a processor that multiplies bfloat16 a shortlist; ``torch`` and ``cuda``
            demand one way.

    Raises:
        JobCancelled: ``cancel`` was raised.
        KernelUnavailable: the kernel was demanded and cannot run.
    """
    sets = _as_sets(queries)
    count = sets.shape[1]
    if backend != "torch" and (sets.is_cuda or backend == "cuda"):
        if cancel is not None:
            cancel.check()
        searched = search_nearest(sets, candidates, backend=backend)
        if searched is not None:
            return Nearest(*searched, *winning_members(sets, candidates, searched[0]))
    listing = None if asks is None else _Listing(asks, count)
    if backend == "auto" and shortlist.pays(sets, candidates, budget_bytes=budget_bytes):
        index, best = shortlist.search(
            sets,
            candidates,
            budget_bytes=budget_bytes,
            asks=asks,
            tell=None if listing is None else listing.add,
            cancel=cancel,
        )
        query_member, candidate_member = winning_members(sets, candidates, index)
        reaching = None if listing is None else listing.told()
        return Nearest(index, best, query_member, candidate_member, reaching)
    best = sets.new_full((count,), -torch.inf)
    index = torch.full((count,), -1, dtype=torch.int64, device=sets.device)
    numbers = torch.arange(count, device=sets.device)
    total = sum(len(member) for member in candidates)
    rows, columns = _plan_products(count, total, budget_bytes=budget_bytes, device=sets.device)
    memory = sets.new_empty(rows * columns)
    for begin in range(0, count, rows):
        block = sets[:, begin : begin + rows]
        for first, part in shortlist.pieces(candidates, columns):
            if cancel is not None:
                cancel.check()
            similarity = memory[: block.shape[1] * len(part)].view(-1, len(part))
            value, place = largest_of_rows(set_similarity(block, part, out=similarity))
            if listing is not None:
                listing.look(similarity, numbers[begin : begin + rows], first)
            known = best[begin : begin + rows]
            better = value > known  # strictly: a later candidate never wins a tie
            known[better] = value[better]
            index[begin : begin + rows][better] = place[better] + first
    query_member, candidate_member = winning_members(sets, candidates, index)
    reaching = None if listing is None else listing.told()
    return Nearest(index, best, query_member, candidate_member, reaching)


@dataclass(frozen=True, slots=True, eq=False)
class BothWays:
    """The nearest of each point of two lists among the points of the other one.

    Attributes:
        b_of_a: ``(N,)`` int64, for each point of the first list; -1 where the other one is empty.
        similarity: ``(N,)`` float32, of these; -inf where the other list is empty.
        a_of_b: ``(M,)`` int64, for each point of the second list.
        similarity_back: ``(M,)`` float32, of these.
    """

    b_of_a: Tensor
    similarity: Tensor
    a_of_b: Tensor
    similarity_back: Tensor


def nearest_both_ways(
    points_a: Tensor,
    points_b: Tensor,
    *,
    budget_bytes: int,
    cancel: CancelToken | None = None,
) -> BothWays:
    """Find the nearest in both directions from one product of all points with all.

    Args:
        points_a: ``(K, N, D)`` sets of K descriptors.
        points_b: ``(L, M, D)`` sets of L descriptors, on the same device.
        budget_bytes: memory the comparison may take, its inputs and its result not counted.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    count_a, count_b = points_a.shape[1], points_b.shape[1]
    single = len(points_a) == len(points_b) == 1
    if single and shortlist.pays(points_a, list(points_b), budget_bytes=budget_bytes):
        (b_of_a, best_a), (a_of_b, best_b) = shortlist.search_both_ways(
            points_a[0], points_b[0], budget_bytes=budget_bytes, cancel=cancel
        )
        return BothWays(b_of_a, best_a, a_of_b, best_b)
    best_a, best_b = (points_a.new_full((count,), -torch.inf) for count in (count_a, count_b))
    b_of_a, a_of_b = (
        torch.full((count,), -1, dtype=torch.int64, device=points_a.device)
        for count in (count_a, count_b)
    )
    rows, columns = _plan_products(
        count_a, count_b, budget_bytes=budget_bytes, device=points_a.device
    )
    if rows > GROUP:
        rows -= rows % GROUP
    memory = points_a.new_empty(rows * columns)
    for begin in range(0, count_a, rows):
        block = points_a[:, begin : begin + rows]
        for first in range(0, count_b, columns):
            if cancel is not None:
                cancel.check()
            part = points_b[:, first : first + columns]
            similarity = memory[: block.shape[1] * part.shape[1]].view(block.shape[1], -1)
            set_similarity(block, part[0], out=similarity)
            for member in part[1:]:
                torch.maximum(similarity, set_similarity(block, member), out=similarity)
            value, place = largest_of_rows(similarity)
            known = best_a[begin : begin + rows]
            better = value > known  # strictly: a later one never wins a tie
            known[better] = value[better]
            b_of_a[begin : begin + rows][better] = place[better] + first
            raise_to_columns(
                best_b[first : first + columns], a_of_b[first : first + columns], similarity, begin
            )
    return BothWays(b_of_a, best_a, a_of_b, best_b)


def _plan_products(
    queries: int, candidates: int, *, budget_bytes: int, device: torch.device
) -> tuple[int, int]:
    """:func:`plan_blocks` for products of which no more than their largest values are read."""
    on_cpu = device.type == "cpu"
    rows, columns = plan_blocks(
        queries,
        candidates,
        bytes_per_pair=_NEAREST_BYTES_PER_PAIR,
        budget_bytes=min(budget_bytes, _CACHED_BYTES) if on_cpu else budget_bytes,
        widest_rows=_SQUARE_ROWS if on_cpu else _WIDEST_ROWS,
    )
    if columns > GROUP:
        columns -= columns % GROUP  # whole groups in all pieces but the last ones
    return rows, columns


def nearest_apart(
    queries: Tensor,
    candidates: Sequence[Tensor],
    positions: Tensor,
    *,
    count: int,
    separation: float,
    budget_bytes: int,
    asks: Sequence[Tensor] | None = None,
    cancel: CancelToken | None = None,
) -> Apart:
    """Find the ``count`` best candidates of each query that are mutually apart.

    Args:
        queries: ``(N, D)``, or ``(L, N, D)`` for sets of L descriptors.
        candidates: ``(M, D)`` matrices, one per member, on the same device.
        positions: ``(M, 2)`` where the candidates are, all members one after the other.
        count: how many to find, at least 1.
        separation: they are at least this far from each other, in the unit of ``positions``.
        budget_bytes: memory the comparison may take, its inputs and its result not counted; one
            query is compared with all candidates whatever that takes.
        asks: ``(M,)`` float32 for each member: candidates with at least this similarity are listed.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    sets = _as_sets(queries)
    listing = None if asks is None else _Listing(asks, sets.shape[1])
    twins = None
    if shortlist.pays(sets, candidates, budget_bytes=budget_bytes, apart=True):
        index, value, left = shortlist.search_apart(
            sets,
            candidates,
            positions,
            count=count,
            separation=separation,
            budget_bytes=budget_bytes,
            asks=asks,
            tell=None if listing is None else listing.add,
            cancel=cancel,
        )
        if asks is None or all(bool((one > 0).all()) for one in asks):
            left, twins = _without_twins(sets, left)  # no candidate reaches what is asked for
    else:
        index = torch.empty((sets.shape[1], count), dtype=torch.int64, device=sets.device)
        value = sets.new_empty(index.shape)
        left = torch.arange(len(index), device=sets.device)
    total = sum(len(member) for member in candidates)
    columns = total + -total % GROUP
    pairs = max(1, budget_bytes // _APART_BYTES_PER_PAIR)
    # More at once would drop the block out of the processor's cache between the rounds.
    rows = max(1, min(len(left), _WIDEST_ROWS, pairs // max(1, columns)))
    for begin in range(0, len(left), rows):
        some = left[begin : begin + rows]
        similarity = sets.new_full((len(some), columns), -torch.inf)
        for first, member in shortlist.pieces(candidates, max(1, total)):
            if cancel is not None:
                cancel.check()
            set_similarity(sets[:, some], member, out=similarity[:, first : first + len(member)])
        if listing is not None:
            listing.look(similarity[:, :total], some, 0)
        found = pick_apart(similarity, positions, count=count, separation=separation)
        index[some], value[some] = found.index, found.similarity
    if twins is not None and len(twins):
        index[twins], value[twins] = index[twins[:1]], value[twins[:1]]
    return Apart(index, value, None if listing is None else listing.told())


def _without_twins(sets: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Queries ``(K,)`` but for all zero vectors after the first one, and all zero vectors.

    Where images are blank there are many, and all have the same similarities.
    """
    blank = ~sets[:, numbers].any(dim=-1).any(dim=0)
    repeated = blank & (blank.cumsum(dim=0) > 1)
    return numbers[~repeated], numbers[blank]


def pick_apart(similarity: Tensor, positions: Tensor, *, count: int, separation: float) -> Apart:
    """Pick the best, then the best of those far enough from all picked, and so on.

    The largest similarity of every group of neighbouring candidates is kept.  A pick changes only
    the groups that reach into its circle, so all rounds but the first read a small part.

    Args:
        similarity: ``(N, M)``; **overwritten**.  Columns beyond the positions, with -inf, are
            never picked; a multiple of 64 columns saves a copy.
        positions: where the candidates are, ``(M, 2)`` or fewer.
        count: how many to pick, at least 1.
        separation: a candidate is passed over if it is nearer than this to a picked one; a
            candidate is never picked twice, also when this is 0.
    """
    queries, total = similarity.shape
    index = torch.full((queries, count), -1, dtype=torch.int64, device=similarity.device)
    value = similarity.new_full((queries, count), -torch.inf)
    if total == 0 or queries == 0:
        return Apart(index, value)
    similarity = pad(similarity, (0, -total % GROUP), value=-torch.inf)
    grouped = similarity.view(queries, -1, GROUP)
    places = pad(
        positions.to(similarity.dtype).T, (0, similarity.shape[1] - len(positions)), value=torch.inf
    )
    places = places.view(2, 1, -1, GROUP)
    lowest, highest = places.aminmax(dim=-1)
    members = torch.arange(GROUP, device=similarity.device)
    largest = grouped.amax(dim=-1)
    every = torch.arange(queries, device=similarity.device)
    for round_ in range(count):
        check_stop()
        best, group = largest.max(dim=1)
        member = grouped[every, group].argmax(dim=1)
        left = best > -torch.inf
        value[:, round_] = best
        index[:, round_] = torch.where(left, group * GROUP + member, -1)
        if round_ == count - 1 or not bool(left.any()):
            break
        picked = places[:, 0, group, member]
        outside = (lowest - picked[..., None]).clamp_min_(0)
        outside = torch.maximum(outside, picked[..., None] - highest).square_()
        reached = outside[0].add_(outside[1]) < separation**2
        query, near = reached.scatter_(1, group[:, None], True).nonzero(as_tuple=True)
        across, down = (places[:, 0, near] - picked[:, query, None]).square_()
        taken = across.add_(down) < separation**2
        taken |= (near == group[query])[:, None] & (members == member[query, None])
        block = grouped[query, near].masked_fill_(taken, -torch.inf)
        grouped[query, near] = block
        largest[query, near] = block.amax(dim=1)
    return Apart(index, value)


def pick_apart_one(
    similarity: NDArray[np.float32],
    positions: NDArray[np.float32],
    *,
    count: int,
    separation: float,
) -> list[int]:
    """:func:`pick_apart` for a single query in numpy: it never waits for a pool of threads.

    Args:
        similarity: ``(M,)``; **overwritten**.
        positions: ``(M, 2)`` where the candidates are.
        count: how many to pick.
        separation: as in :func:`pick_apart`.

    Returns:
        The picked indices, best first; fewer than ``count`` where there are no more.
    """
    xs, ys = np.ascontiguousarray(positions.T)
    picked: list[int] = []
    while len(picked) < count and similarity.size:
        place = int(similarity.argmax())
        if similarity[place] == -np.inf:
            break
        picked.append(place)
        if len(picked) == count:
            break
        squared = np.square(xs - xs[place])
        squared += np.square(ys - ys[place])
        np.copyto(similarity, -np.inf, where=squared < separation**2)
        similarity[place] = -np.inf
    return picked


def winning_members(
    queries: Tensor, candidates: Sequence[Tensor], index: Tensor
) -> tuple[Tensor, Tensor]:
    """Which members of the two sets met in a match.

    Args:
        queries: ``(N, D)``, or ``(L, N, D)`` for sets of L descriptors.
        candidates: ``(M, D)`` matrices, one per member.
        index: ``(N,)`` found candidates, rows of all members counted on; -1 for none.

    Returns:
        ``(N,)`` query members and ``(N,)`` candidate members, both -1 where the index is.
    """
    sets = _as_sets(queries)
    query_member = torch.full_like(index, -1)
    candidate_member = torch.full_like(index, -1)
    first = 0
    for number, member in enumerate(candidates):
        check_stop()
        mine = (index >= first) & (index < first + len(member))
        candidate_member[mine] = number
        if len(sets) == 1:
            query_member[mine] = 0
        else:
            won = member[index[mine] - first]
            query_member[mine] = (sets[:, mine] * won[None]).sum(dim=-1).argmax(dim=0)
        first += len(member)
    return query_member, candidate_member


def distance_ratio(best: Tensor, second: Tensor) -> Tensor:
    """How clear a match is: distance of the best over distance of the second best.

    The distance of two unit vectors with cosine s is sqrt(2 - 2 s); what is below the rounding of
    a float32 cosine counts as equal, so two perfect matches have the ratio 1.

    Args:
        best: ``(...)`` largest similarities.
        second: ``(...)`` similarities of the second best, -inf where there is none.

    Returns:
        ``(...)`` between 0 (sure) and 1 (ambiguous); 1 where there is no second.
    """
    nearer = (2 - 2 * best).clamp_min(_LEAST_SQUARED_DISTANCE)
    farther = (2 - 2 * second).clamp_min(_LEAST_SQUARED_DISTANCE)
    return torch.where(torch.isinf(farther), 1.0, (nearer / farther).sqrt())


def _as_sets(queries: Tensor) -> Tensor:
    return queries[None] if queries.ndim == 2 else queries


def set_similarity(queries: Tensor, candidates: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``(L, N, D)`` sets against ``(M, D)`` candidates: ``(N, M)`` best over the L members."""
    best = torch.mm(queries[0], candidates.T, out=out)
    for member in queries[1:]:
        torch.maximum(best, member @ candidates.T, out=best)
    return best
