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
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from engine.descriptors.tensors import GROUP, largest_of_rows
from engine.kernels.ops import Backend, KernelPath, mine_negatives
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
        backend: on a CUDA GPU a kernel does the work where it can; ``torch`` and ``cuda`` demand
            one way.
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
    numbers = list(range(batch)) if pairs is None else pairs
    if backend != "torch" and (maps.is_cuda or backend == "cuda"):
        limits = (
            _least_similarity(positives.float(), margin) if positives is not None and semi else None
        )
        hashes = to_bits([hash_numbers(seed, number) for number in numbers], device=maps.device)
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
    grid = _Grid(
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
    bytes_a_pair = _BYTES_SEMI if semi else _BYTES_HARD
    block = max(1, min(count, budget_bytes // (bytes_a_pair * grid.padded)))
    # One for all blocks: the system hands out fresh memory page by page, which takes as long as a
    # third of the product.
    whole = torch.empty(block, grid.padded, device=maps.device)
    for number in range(batch):
        offered = maps[number, :, start[1] :: interval, start[0] :: interval].reshape(dim, -1)
        offered = offered.float()
        broken = None if _all_finite(offered) else ~torch.isfinite(offered).all(dim=0)
        for begin in range(0, count, block):
            part = slice(begin, begin + block)
            asked = queries[number, part].float()
            truth = truth_cells[number, part].float()
            similarity = whole[: len(asked)]
            similarity[:, grid.total :] = -torch.inf
            products = similarity[:, : grid.total]
            torch.mm(asked, offered, out=products)
            if broken is not None:
                products.masked_fill_(broken, -torch.inf)
            if not (_all_finite(asked) and _all_finite(truth)):
                usable = torch.isfinite(asked).all(dim=1) & torch.isfinite(truth).all(dim=1)
                products.masked_fill_(~usable[:, None], -torch.inf)
            grid.exclude(similarity, truth)
            if positives is not None and semi:
                pair = numbers[number]
                limit = _least_similarity(positives[number, part].float(), margin)
                similarity.masked_fill_(~(similarity > limit[:, None]), -torch.inf)
                found = _smallest_hashes(grid, similarity, k, seed, pair, begin)
            else:
                found = _most_similar(grid, similarity, k)
            cells[number, part], values[number, part] = found
    return Negatives(cells, values)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Grid:
    """The candidate cells, row by row; behind them, places of none fill up the last group."""

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

    def exclude(self, values: Tensor, centres: Tensor, fill: float = -torch.inf) -> None:
        """Overwrite ``(Q, padded)`` values within the radius of ``(Q, 2)`` centres, in place.

        Only the square around each centre is searched: the whole grid would take longer than the
        search itself.
        """
        reach = math.ceil(self.radius / self.interval) + 1
        steps = torch.arange(-reach, reach + 1, device=values.device)
        origin = centres.new_tensor(self.start)
        # A centre far outside, or none at all, is moved to where it excludes nothing.
        far = 4.0 * (max(self.columns, self.rows) + reach) * self.interval
        centres = torch.nan_to_num(centres, nan=-far).clamp(-far, far)
        nearest = ((centres - origin) / self.interval).round().long()
        column = nearest[:, :1] + steps
        row = nearest[:, 1:] + steps
        across = (self.start[0] + self.interval * column - centres[:, :1]).square_()
        down = (self.start[1] + self.interval * row - centres[:, 1:]).square_()
        across.masked_fill_((column < 0) | (column >= self.columns), torch.inf)
        down.masked_fill_((row < 0) | (row >= self.rows), torch.inf)
        close = down[:, :, None] + across[:, None, :] <= self.radius**2
        place = (row * self.columns)[:, :, None] + column[:, None, :]
        place.masked_fill_(close.logical_not_(), self.total)
        values.scatter_(1, place.flatten(1), fill)

    def columns_and_rows(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """(x, y) of places, in cells of the whole map."""
        row = places.div(self.columns, rounding_mode="floor")
        column = places - row * self.columns
        return self.start[0] + self.interval * column, self.start[1] + self.interval * row

    def cells(self, places: Tensor) -> Tensor:
        """(x, y) of ``(Q,)`` places, float32."""
        return torch.stack(self.columns_and_rows(places), dim=1).float()


def _all_finite(values: Tensor) -> bool:
    """False where one is not; also where their sum overflows, which is rare and only costs time."""
    return bool(torch.isfinite(values.sum()))


def _most_similar(grid: _Grid, similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
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
    grid: _Grid, similarity: Tensor, k: int, seed: int, pair: int, first_query: int
) -> tuple[Tensor, Tensor]:
    """Of the candidates left (not -inf), the k with the smallest hashes."""
    device = similarity.device
    numbers = torch.arange(
        first_query, first_query + len(similarity), dtype=torch.int32, device=device
    )
    of_query = hash_next(to_bits(hash_numbers(seed, pair), device=device), numbers)
    x, y = grid.columns_and_rows(torch.arange(grid.padded, device=device))
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
