"""Hard negatives: cells of the other image that look like a query and are wrong.

After the mining of universal correspondence networks (C. Choy and others, NeurIPS 2016).  A *cell*
is a candidate for a query if it is farther than a radius from the query's true place.

``hard``
    the most similar candidate.
``semi-hard``
    of the candidates nearer to the query than its true counterpart is, plus a margin, the one with
    the smallest hash: a random one that can be drawn again.
``k-hard``, ``k-semi-hard``
    the k best by the same order, each also farther than the radius from all before it.

What every implementation must agree on:

* Distances between cells are compared as ``(x - tx)² + (y - ty)² <= radius²`` in float32, in cells;
  a cell at the radius exactly is not a candidate.
* With ``interval`` s and ``start`` (x0, y0) only the cells x0 + s·i, y0 + s·j count.
* Similarity is the dot product.  Ties go to the lowest row, then to the lowest column.
* A cell is near enough for ``semi-hard`` if ``similarity > 1 - (d + margin)² / 2`` in float32, with
  d = sqrt(max(0, 2 - 2 p)) and p the similarity of the true pair: for unit vectors that is
  "distance < d + margin".
* The hash is :func:`engine.seeding.hash_numbers` of (seed, pair, query, cell), where cell is
  row · W + column of the whole map; it is a different one for every cell, so there are no ties.
* A cell or query that holds a value that is not finite is never a match: no candidate.
* Where there is no candidate (left), the cell is (-1, -1) and the similarity -inf.

Sums in float32 are rounded, in an order that depends on the way; similarities that differ by no
more than that count as equal.  On processors that multiply bfloat16 in hardware, a shortlist finds
the most similar cells in a fraction of the time; see :mod:`engine.mining.shortlist`.  It finds the
cells that comparing all in float32 finds; the similarities of unit vectors differ by less than
1e-6.  Semi-hard ones are always drawn from products in float32: these take an eighth of the time,
and most of the rest goes into the hashes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from engine.descriptors.tensors import largest_of_rows
from engine.kernels.ops import Backend, KernelPath, mine_negatives
from engine.mining.candidates import Candidates
from engine.mining.shortlist import most_similar, pays
from engine.seeding import hash_next, hash_numbers, in_unsigned_order, to_bits

MiningKind = Literal["hard", "semi-hard", "k-hard", "k-semi-hard"]

MINING_BUDGET_BYTES: Final = 32 << 20
"""Memory that one block of queries may take; larger blocks leave the processor's caches."""

_BYTES_HARD: Final = 8  # a similarity, and a hash or what the search for the best takes
_BYTES_SEMI: Final = 24  # the similarities, hashes, their in-between values and masks
_LAST: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Negatives:
    """Mined cells.

    Attributes:
        cells: ``(B, N, k, 2)`` int32 (x, y) of the map's cells; -1 where there is none.
        similarity: ``(B, N, k)`` float32; -inf where there is none.
    """

    cells: Tensor
    similarity: Tensor

    @property
    def found(self) -> Tensor:
        """``(B, N, k)`` True where there is one."""
        return self.cells[..., 0] >= 0


@torch.no_grad()
def find_hard_negatives(
    maps: Tensor,
    queries: Tensor,
    truth_cells: Tensor,
    *,
    radius_cells: float,
    kind: MiningKind,
    k: int,
    margin: float,
    positives: Tensor | None,
    seed: int,
    pairs: list[int] | None = None,
    interval: int = 1,
    start: tuple[int, int] = (0, 0),
    budget_bytes: int = MINING_BUDGET_BYTES,
    backend: Backend = "auto",
    path: KernelPath | None = None,
) -> Negatives:
    """Find the hard negatives of every query among all cells of a map; see the module's head.

    Args:
        maps: ``(B, D, H, W)`` float32 maps of the other images.
        queries: ``(B, N, D)`` float32 descriptors.
        truth_cells: ``(B, N, 2)`` float32 true places (x, y) in cells, also outside the map.
        radius_cells: candidates are farther than this from the true place; at least 0.
        kind: which ones.
        k: how many; 1 unless the kind is one of k.
        margin: for semi-hard ones.
        positives: ``(B, N)`` similarity of each query and its true counterpart; semi-hard ones
            need it.
        seed: of the semi-hard draws.
        pairs: B numbers for the hash; 0, 1, ... when not given.
        interval: only every so many-th cell is a candidate, along x and y.
        start: (x, y) of the first candidate cell.
        budget_bytes: memory a block of queries may take; at least one query at a time is compared
            with all cells.
        backend: ``auto``: on a CUDA GPU a kernel where it can, and on a processor that multiplies
            bfloat16 a shortlist for hard ones; ``torch`` and ``cuda`` demand one way.
        path: of the kernel, for tests and benchmarks; None lets the GPU decide.

    Returns:
        The negatives, best first.

    Raises:
        KernelUnavailable: the kernel was demanded and cannot run.
    """
    batch, dim, height, width = maps.shape
    count = queries.shape[1]
    semi = kind in ("semi-hard", "k-semi-hard")
    if k < 1 or (k > 1 and not kind.startswith("k-")):
        raise ValueError(f"{kind} mining finds one negative a query, not {k}")
    if semi and positives is None:
        raise ValueError(f"{kind} mining needs the similarities of the true pairs")
    numbers = range(batch) if pairs is None else pairs
    hashes = to_bits([hash_numbers(seed, number) for number in numbers], device=maps.device)
    if backend != "torch" and (maps.is_cuda or backend == "cuda"):
        limits = (
            _least_similarity(positives.float(), margin) if positives is not None and semi else None
        )
        mined = mine_negatives(
            maps,
            queries,
            truth_cells,
            limits,
            hashes,
            radius_cells=radius_cells,
            k=k,
            interval=interval,
            start=start,
            backend=backend,
            path=path,
        )
        if mined is not None:
            return Negatives(*mined)
    grid = Candidates(
        columns=len(range(width)[start[0] :: interval]),
        rows=len(range(height)[start[1] :: interval]),
        start=start,
        interval=interval,
        width=width,
        radius=radius_cells,
    )
    cells = torch.full((batch, count, k, 2), -1, dtype=torch.int32, device=maps.device)
    values = torch.full((batch, count, k), -torch.inf, dtype=torch.float32, device=maps.device)
    if count == 0 or grid.total == 0:
        return Negatives(cells, values)
    left = torch.ones(batch, count, dtype=torch.bool, device=maps.device)
    finite: list[bool | None] = [None] * batch
    estimated = (
        backend == "auto"
        and not semi
        and pays(grid, count, dim, maps.device, budget_bytes=budget_bytes)
    )
    if estimated:
        found = most_similar(grid, maps, queries, truth_cells, k, budget_bytes=budget_bytes)
        cells.copy_(grid.cells(found.places))
        values.copy_(found.similarity)
        left, finite = ~found.settled, list(found.finite)
    bytes_a_pair = _BYTES_SEMI if semi else _BYTES_HARD
    block = max(1, min(count, budget_bytes // (bytes_a_pair * grid.padded)))
    if estimated:  # what is left comes in pairs
        block = max(2, block - block % 2)
    # One for all blocks: the system hands out fresh memory page by page, which takes as long as a
    # third of the product.
    whole = torch.empty(block, grid.padded, device=maps.device)
    # Blocks of a map follow one another: what it offers is read once.
    offered_by = functools.lru_cache(maxsize=1)(lambda number: grid.offered(maps[number]))
    for parts in _in_blocks(left, block, in_pairs=estimated):
        pair = torch.cat([torch.full_like(part, number) for number, part in parts])
        query = torch.cat([part for _, part in parts])
        asked, truth = queries[pair, query].float(), truth_cells[pair, query].float()
        similarity = whole[: len(query)]
        similarity[:, grid.total :] = -torch.inf
        begin = 0
        for number, part in parts:
            offered = offered_by(number)
            rows = slice(begin, begin + len(part))
            products = similarity[rows, : grid.total]
            torch.mm(asked[rows], offered, out=products)
            if finite[number] is None:
                finite[number] = _all_finite(offered)
            if not finite[number]:
                products.masked_fill_(~torch.isfinite(offered).all(dim=0), -torch.inf)
            begin += len(part)
        if not (_all_finite(asked) and _all_finite(truth)):
            usable = torch.isfinite(asked).all(dim=1) & torch.isfinite(truth).all(dim=1)
            similarity.masked_fill_(~usable[:, None], -torch.inf)
        grid.exclude(similarity, truth)
        if positives is not None and semi:
            limit = _least_similarity(positives[pair, query].float(), margin)
            similarity.masked_fill_(~(similarity > limit[:, None]), -torch.inf)
            of_query = hash_next(hashes[pair], query.int())
            mined = _smallest_hashes(grid, similarity, k, of_query)
        else:
            mined = _most_similar(grid, similarity, k)
        cells[pair, query], values[pair, query] = mined
    return Negatives(cells, values)


def _in_blocks(left: Tensor, block: int, *, in_pairs: bool) -> Iterator[list[tuple[int, Tensor]]]:
    """Queries of neighbouring maps, in blocks.

    Args:
        left: ``(B, N)`` which queries.
        block: how many a block has at most; an even number for pairs.
        in_pairs: name the last one of an odd number twice, so that no product has a single row: the
            sums of these are in another order.

    Yields:
        Numbers of maps, and of each ``(Q,)`` int64 numbers of queries.
    """
    parts: list[tuple[int, Tensor]] = []
    taken = 0
    for number, of_map in enumerate(left):
        query = of_map.nonzero()[:, 0]
        if in_pairs and len(query) % 2:
            query = torch.cat((query, query[-1:]))
        for part in torch.split(query, block):
            if taken + len(part) > block:
                yield parts
                parts, taken = [], 0
            if len(part):
                parts.append((number, part))
                taken += len(part)
    if parts:
        yield parts


def _all_finite(values: Tensor) -> bool:
    """False where one is not; also where their sum overflows, which is rare and only costs time."""
    return bool(torch.isfinite(values.sum()))


def _most_similar(grid: Candidates, similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of ``(Q, padded)`` similarities, which are overwritten."""
    cells, values = [], []
    for round_ in range(k):
        best, place = largest_of_rows(similarity)  # of equal values the first, so the lowest row
        cell = grid.cells(place)
        cells.append(torch.where((best > -torch.inf)[:, None], cell, -1.0))
        values.append(best)
        if round_ < k - 1:
            grid.exclude(similarity, cell)
            # A radius below 0 would exclude nothing, and the same cell would come again.
            similarity.scatter_(1, place[:, None], -torch.inf)
    return torch.stack(cells, dim=1).int(), torch.stack(values, dim=1)


def _smallest_hashes(
    grid: Candidates, similarity: Tensor, k: int, of_query: Tensor
) -> tuple[Tensor, Tensor]:
    """Of the candidates left (not -inf), the k with the smallest hashes, which begin so."""
    x, y = grid.columns_and_rows(torch.arange(grid.padded, device=similarity.device))
    cell_numbers = (y * grid.width + x).int()  # row · W + column of the whole map
    order = in_unsigned_order(hash_next(of_query[:, None], cell_numbers[None]))
    # The largest number means "no candidate"; a candidate that has it by chance is recognised by
    # its similarity.
    order.masked_fill_(similarity == -torch.inf, _LAST)
    cells, values = [], []
    for round_ in range(k):
        place = order.argmin(dim=1)
        value = similarity.gather(1, place[:, None])[:, 0]
        cell = grid.cells(place)
        cells.append(torch.where((value > -torch.inf)[:, None], cell, -1.0))
        values.append(value)
        if round_ < k - 1:
            for changed, fill in ((similarity, -torch.inf), (order, _LAST)):
                grid.exclude(changed, cell, fill)
                changed.scatter_(1, place[:, None], fill)
    return torch.stack(cells, dim=1).int(), torch.stack(values, dim=1)


def _least_similarity(positives: Tensor, margin: float) -> Tensor:
    """The similarity that a semi-hard negative must exceed."""
    distance = (2 - 2 * positives).clamp_min(0).sqrt()
    return 1 - (distance + margin).square() / 2
