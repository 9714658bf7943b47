"""The most similar candidates by a shortlist: bfloat16 products propose, float32 decides.

For processors that multiply bfloat16 in hardware.  A product of rounded vectors is off by at most a
bound that follows from the rounding errors, so the most similar candidate of a query is among those
whose estimate comes close enough to the highest one.  These few are compared again in float32.

A float32 product is rounded, too, depending on the order of its sum, and that order depends on the
processor.  So that one chooses the same cells with and without a shortlist, a query is settled only
where one candidate beats all others by more than any order can change.  All other queries, and all
with anything unusual, are left to be compared with all candidates in float32:

* zero vectors, and queries or true places that are not finite,
* queries without a candidate that resembles them more than the map's mean does,
* queries with so many candidates near the best one that float32 is faster,
* vectors so short or so long that float32 loses digits of the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.descriptors.bfloat16 import ROUNDING, Rounded, in_hardware, sum_rounding
from engine.descriptors.tensors import GROUP
from engine.mining.candidates import Candidates

_ESTIMATES_BYTES: Final = 16 << 20  # of a block; larger ones leave the processor's caches
_BYTES_A_PLACE: Final = 24
_FEWEST_QUERIES: Final = 128  # of a block, which has a multiple of it: else products take longer
_MOST_QUERIES: Final = 12 * _FEWEST_QUERIES
_BAND_CELLS: Final = 8  # of rows whose queries stand together
_TRANSPOSED: Final = 1024  # candidates that change their layout at a time
_MEAN_OF: Final = 256  # candidates, at least; the mean need not be exact
_MEASURED: Final = 4  # candidates a query; with more, it does not pay to measure their rounding
_GROUP: Final = GROUP // 2  # candidates that are first compared with the threshold by their maximum
_USUAL_GROUPS: Final = 4  # a query, on average; beyond, those with too many are left to float32
_MOST_GROUPS: Final = 16
_USUAL_PAIRS: Final = 8
_MOST_PAIRS: Final = 32
_LEAST_PAIRS: Final = 1 << 20  # fewer are compared in less time than the preparations take
_DIMS: Final = range(32, 1025)
_LEAST_NORM: Final = 2.0**-40  # squares of what rounding changes are far above the least float32
_LEAST_THRESHOLD: Final = 2.0**-100  # zero vectors are never proposed
_EXCLUDED: Final = -(1 << 15)  # below the bits of all numbers but -0
_NEVER: Final = (1 << 15) - 1  # above the bits of all numbers


@dataclass(frozen=True, slots=True, eq=False)
class Shortlisted:
    """What was found of B times N queries.

    Attributes:
        places: ``(B, N, k)`` int64 of candidates, best first.
        similarity: ``(B, N, k)`` float32.
        settled: ``(B, N)`` False where a query is still to be compared with all candidates; what is
            said of it means nothing.
        finite: whether each map holds nothing but finite numbers; None where nobody looked.
    """

    places: Tensor
    similarity: Tensor
    settled: Tensor
    finite: list[bool | None]


def pays(
    grid: Candidates, queries: int, dim: int, device: torch.device, *, budget_bytes: int
) -> bool:
    """Whether :func:`most_similar` can be used, and is faster than products in float32.

    Args:
        grid: the candidates.
        queries: how many there are of each map.
        dim: of the descriptors.
        device: where they lie.
        budget_bytes: as for :func:`most_similar`.
    """
    return (
        grid.total * queries >= _LEAST_PAIRS
        and dim in _DIMS
        and device.type == "cpu"
        and _bytes_a_query(grid) * _FEWEST_QUERIES <= budget_bytes
        and in_hardware()
    )


def _bytes_a_query(grid: Candidates) -> int:
    """Of its estimates, and of its excluded places and what these are made from."""
    return 2 * grid.padded + _BYTES_A_PLACE * grid.around


def most_similar(
    grid: Candidates, maps: Tensor, queries: Tensor, truth: Tensor, k: int, *, budget_bytes: int
) -> Shortlisted:
    """The k most similar candidates of each query, where there is no doubt.

    Args:
        grid: the candidates.
        maps: ``(B, D, H, W)`` maps on the CPU.
        queries: ``(B, N, D)`` descriptors.
        truth: ``(B, N, 2)`` true places (x, y) in cells.
        k: how many; each is farther than the radius from those before it, too.
        budget_bytes: memory that what is computed of some queries at a time may take.
    """
    batch, count, dim = queries.shape
    found = Shortlisted(
        places=torch.zeros(batch, count, k, dtype=torch.int64),
        similarity=torch.zeros(batch, count, k),
        settled=torch.zeros(batch, count, dtype=torch.bool),
        finite=[None] * batch,
    )
    block = min(_ESTIMATES_BYTES // (2 * grid.padded), budget_bytes // _bytes_a_query(grid))
    block = min(max(block - block % _FEWEST_QUERIES, _FEWEST_QUERIES), _MOST_QUERIES)
    several = budget_bytes // (_BYTES_A_PLACE * grid.around + 8 * dim)
    several = max(block, several - several % block)
    # One for all blocks and maps: the system hands out fresh memory page by page.
    estimates = torch.empty(grid.padded * min(block, count), dtype=torch.int16)
    rows = torch.empty(grid.total, dim)
    order = _order(truth, block, grid.width)
    asked = left = 0
    for number in range(batch):
        if 2 * left > asked:  # these maps' descriptors are too much alike
            break
        candidates = _Offered.of(grid.offered(maps[number]), rows, count)
        found.finite[number] = candidates.finite
        for some in torch.split(order[number], several):
            places, values, settled = _search(
                grid,
                candidates,
                queries[number].index_select(0, some).float(),
                truth[number].index_select(0, some).float(),
                k,
                estimates,
                block,
            )
            found.places[number, some] = places
            found.similarity[number, some] = values
            found.settled[number, some] = settled
            asked += len(some)
            left += len(some) - int(settled.sum())
    return found


def _order(truth: Tensor, block: int, width: int) -> Tensor:
    """``(B, N)`` the order in which each map's queries are compared, in blocks.

    Neighbours stand together: most of their excluded cells are the same, so that these are
    overwritten while the caches hold them.  But each block has queries from the whole map.
    """
    x, y = truth.float().unbind(dim=-1)
    band = y.div(_BAND_CELLS).floor_()
    order = torch.add(x, band, alpha=2.0 * width).argsort(dim=1)
    blocks = -(-order.shape[1] // block)
    return torch.cat([order[:, first::blocks] for first in range(blocks)], dim=1)


def _search(
    grid: Candidates,
    candidates: _Offered,
    queries: Tensor,
    truth: Tensor,
    k: int,
    memory: Tensor,
    block: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """``(Q, k)`` places, ``(Q, k)`` similarities and ``(Q,)`` which queries are settled."""
    asked = Rounded.of(queries)
    doubt = candidates.doubt(asked)
    slack = 2 * asked.product_bound(candidates.norm, candidates.error) + doubt
    clear = (asked.norm >= _LEAST_NORM) & (candidates.norm >= _LEAST_NORM)
    clear &= torch.isfinite(truth.sum(dim=1))
    places = torch.empty(len(queries), k, dtype=torch.int64)
    values = torch.empty(len(queries), k)
    around = grid.places_around(truth)
    for begin in range(0, len(queries), block):
        part = slice(begin, begin + block)
        # The bits of positive bfloat16 numbers are ordered as integers, where a maximum is several
        # times as fast, and all negative ones are below them.
        estimates = memory[: grid.padded * len(queries[part])].view(grid.padded, -1)
        estimates[grid.total :] = _EXCLUDED
        products = estimates[: grid.total].view(torch.bfloat16)
        torch.mm(candidates.rounded, asked.values[part].T, out=products)
        estimates.scatter_(0, around[:, part], _EXCLUDED)
        for round_ in range(k):
            if round_:
                picked = grid.cells(places[part, round_ - 1])
                estimates.scatter_(0, grid.places_around(picked), _EXCLUDED)
            places[part, round_], values[part, round_] = _decide(
                estimates, candidates.exact, queries[part], slack[part], doubt[part], clear[part]
            )
    return places, values, clear


@dataclass(frozen=True, slots=True, eq=False)
class _Offered:
    """The candidates of one map.

    Which candidate is the most similar one does not change when all are moved by the same vector.
    So what is rounded is how far each is from their mean: the more alike they are, the smaller the
    rounding errors.

    Attributes:
        exact: ``(total, D)`` float32.
        rounded: ``(total, D)`` bfloat16, without the mean; zeros where one is not finite.
        norm: no rounded one is longer.
        error: rounding changed none by more.
        length: no candidate is longer.
        finite: whether all hold nothing but finite numbers.
    """

    exact: Tensor
    rounded: Tensor
    norm: Tensor
    error: Tensor
    length: Tensor
    finite: bool

    @classmethod
    def of(cls, columns: Tensor, memory: Tensor, queries: int) -> _Offered:
        """Prepare candidates.

        Args:
            columns: ``(D, total)`` float32.
            memory: ``(total, D)`` float32, for another layout where it is needed.
            queries: how many are to be compared with them.
        """
        exact = columns.T
        if not exact.is_contiguous():
            for begin in range(0, len(exact), _TRANSPOSED):  # at once, one thread would do it
                some = slice(begin, begin + _TRANSPOSED)
                memory[some] = exact[some]
            exact = memory
        mean = exact[:: max(1, len(exact) // _MEAN_OF)].mean(dim=0)
        if not bool(torch.isfinite(mean.sum())):
            mean = torch.zeros_like(mean)
        apart = Rounded.of(exact, mean, measure=_MEASURED * queries >= len(exact))
        norm = apart.norm.amax()
        finite = bool(torch.isfinite(norm))
        if not finite:
            broken = ~torch.isfinite(exact).all(dim=1)
            for part in (apart.values, apart.norm, apart.error):
                part[broken] = 0
            norm = apart.norm.amax()
        error = apart.error.amax()
        length = norm + error + torch.linalg.vector_norm(mean)
        return cls(exact, apart.values, norm, error, length, finite)

    def doubt(self, asked: Rounded) -> Tensor:
        """``(Q,)`` how far two differences between similarities of two candidates can be apart.

        Both are sums in float32, each in any order.
        """
        longest = self.length * (asked.norm + asked.error)
        return longest.mul_(4 * sum_rounding(self.exact.shape[1]))


def _decide(
    estimates: Tensor,
    offered: Tensor,
    queries: Tensor,
    slack: Tensor,
    doubt: Tensor,
    clear: Tensor,
) -> tuple[Tensor, Tensor]:
    """The best candidate of each query.

    Args:
        estimates: ``(padded, Q)`` int16, the bits of bfloat16 products.
        offered: ``(total, D)`` float32 candidates.
        queries: ``(Q, D)`` float32.
        slack: ``(Q,)`` how far the best candidate's product of rounded vectors can be below the
            highest one.
        doubt: ``(Q,)`` candidates whose float32 similarities differ by no more are not told apart.
        clear: ``(Q,)`` which queries to decide; set to False where no candidate is the best one
            beyond doubt.

    Returns:
        ``(Q,)`` int64 places and ``(Q,)`` float32 similarities, which mean nothing where it is not
        clear.
    """
    count = len(queries)
    grouped = estimates.view(-1, _GROUP, count)
    highest = grouped.amax(dim=1)
    top = highest.amax(dim=0).view(torch.bfloat16).to(torch.float32)
    # Both the highest estimate and that of the best candidate are rounded.
    threshold = (top * (1 - ROUNDING) - slack).mul_(1 - ROUNDING)
    clear &= threshold > _LEAST_THRESHOLD
    bits = threshold.to(torch.bfloat16).view(torch.int16)
    bits -= 1  # where rounding to the nearest went up
    bits.masked_fill_(~clear, _NEVER)
    group, query = (highest >= bits).nonzero(as_tuple=True)
    if len(query) > _USUAL_GROUPS * count:
        kept = _in_few(query, count, _MOST_GROUPS)
        group, query = group[kept], query[kept]
    pair, member = (grouped[group, :, query] >= bits[query][:, None]).nonzero(as_tuple=True)
    place, query = group[pair] * _GROUP + member, query[pair]
    if len(query) > _USUAL_PAIRS * count:
        kept = _in_few(query, count, _MOST_PAIRS)
        place, query = place[kept], query[kept]
    products = offered.index_select(0, place).mul_(queries.index_select(0, query))
    similarity = products.sum(dim=1)
    best = similarity.new_full((count,), -torch.inf)
    best.scatter_reduce_(0, query, similarity, "amax")
    near = (similarity >= (best - doubt)[query]).nonzero()[:, 0]
    rivals = query[near]
    clear &= torch.bincount(rivals, minlength=count) == 1  # 0: all its proposals were dropped
    chosen = torch.zeros(count, dtype=torch.int64)
    chosen[rivals] = place[near]
    return chosen, best


def _in_few(query: Tensor, count: int, most: int) -> Tensor:
    """Which proposals are of queries that have at most so many; those of the others are dropped."""
    return (torch.bincount(query, minlength=count) <= most)[query]
