"""Candidates that estimates propose, compared again in float32: which are best, which reach enough.

Each function looks at the estimates of one block.  Queries with too many proposals for this to be
faster, or with estimates that tell nothing, are compared with all its candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from engine.matching.estimates import (
    BYTES_PER_GROUP,
    FEW,
    GROUP,
    HIGHEST,
    LEAST,
    LOWEST,
    MOST_ROWS,
    PADDED,
    Estimates,
    Flags,
    Floats,
    Indices,
    affordable,
    least_rounded_to,
    rounded_bits,
)

Tell = Callable[[Tensor, Tensor], None]

_FOLDS: Final = 8  # parts of the columns that are laid on each other to find those near a row
_MOST_LOOKED: Final = 32  # one of so many groups and columns at most; beyond, another way is faster
_DECIDED_AT_ONCE: Final = 512  # rows that are compared in float32
_NO_INDEX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best candidate of each query until now.

    Attributes:
        similarity: ``(N,)``; -inf at first.
        index: ``(N,)``; -1 at first.
    """

    similarity: Floats
    index: Indices

    @classmethod
    def of_none(cls, count: int) -> Best:
        """No candidate yet for any of so many queries."""
        return cls(np.full(count, -np.inf, np.float32), np.full(count, -1, np.int64))

    def among(self, begin: int, end: int) -> Best:
        """Those of some queries, in the same memory."""
        return Best(self.similarity[begin:end], self.index[begin:end])

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
class Asks:
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
    def of(cls, asks: Tensor, tell: Tell) -> Asks:
        """What ``(M,)`` candidates ask for."""
        rows = np.full(-(-len(asks) // PADDED) * PADDED, np.inf, np.float32)
        rows[: len(asks)] = asks.detach().numpy()
        rows[np.isnan(rows)] = np.inf  # nothing reaches it
        return cls(rows, rows.reshape(-1, GROUP).min(axis=1), tell)


def raise_best(estimates: Estimates, best: Best) -> Flags:
    """Compare what the estimates propose.

    Returns:
        ``(B,)`` queries that are still to be compared with all rows: those that resemble none,
        and those with so many proposals that this is faster.
    """
    floor = np.maximum(estimates.floors(estimates.highest.max(axis=0)), best.similarity)
    threshold, settled = estimates.thresholds(floor)
    group, column = estimates.groups_reaching(estimates.highest >= threshold, settled)
    cells = estimates.grouped[group, :, column]
    pair, place = estimates.places_reaching(cells >= threshold[column, None], column, settled)
    row, column = group[pair] * GROUP + place, column[pair]
    query = estimates.block.query[column]
    best.raise_to(query, estimates.first + row, estimates.products(row, column))
    if estimates.block.blank.any():
        settled |= _raise_blank(estimates, best)
    return ~settled


def _raise_blank(estimates: Estimates, best: Best) -> Flags:
    """Take the product 0 of zero vectors with all finite ones into account; whose that is."""
    finite = np.isfinite(estimates.margin.reshape(-1, len(estimates.block)))
    done: Flags = estimates.block.blank & np.logical_and.reduce(finite, axis=0)
    query = done.nonzero()[0]
    best.raise_to(query, np.full(len(query), estimates.first), np.zeros(len(query), np.float32))
    return done


def raise_best_of_rows(estimates: Estimates, best: Best, margin: Floats) -> None:
    """Take the queries into account for the rows; both are single descriptors.

    Args:
        estimates: of the queries and the rows.
        best: of the rows; overwritten.
        margin: ``(M,)`` of the rows with any query, see ``Vectors.margins``.
    """
    (offered,), block = estimates.offered, estimates.block
    low = best.similarity - margin
    settled = (low > LEAST) & (low < np.inf)
    blank = offered.blank & np.isfinite(margin)
    pairs = _near_rows_by_groups(estimates, low, settled, blank)
    if pairs is None:
        row, column, settled = _near_rows_by_columns(estimates, best.similarity, margin)
    else:
        row, column = pairs
    best.raise_to(row, block.begin + column, estimates.products(row, column))
    if blank.any():  # their products with all finite vectors are 0
        row = blank.nonzero()[0]
        best.raise_to(row, np.full(len(row), block.begin), np.zeros(len(row), np.float32))
    left = np.flatnonzero(~(settled | blank))
    for begin in range(0, len(left), _DECIDED_AT_ONCE):
        some = left[begin : begin + _DECIDED_AT_ONCE]
        products = offered.exact[torch.from_numpy(some)] @ block.vectors.exact[0].T
        value, place = products.max(dim=1)
        best.raise_to(some, block.begin + place.numpy(), value.numpy())


def _near_rows_by_groups(
    estimates: Estimates, low: Floats, settled: Flags, blank: Flags
) -> tuple[Indices, Indices] | None:
    """Rows and columns ``(K,)`` whose estimates exceed numbers ``(M,)`` for the rows.

    Only groups are looked at whose largest estimate reaches what one of their rows asks for.
    These are few once most rows know a candidate that is nearly as good as their best; None
    where they are many, or where some rows know none.
    """
    if not (settled | blank).all():
        return None
    of_rows = np.full(len(estimates.bits), HIGHEST)
    of_rows[: len(low)][settled] = rounded_bits(low[settled])
    threshold = of_rows.reshape(-1, GROUP)
    reaching = estimates.highest >= threshold.min(axis=1)[:, None]
    if np.count_nonzero(reaching) * _MOST_LOOKED > reaching.size:
        return None
    group, column = np.divmod(np.flatnonzero(reaching), reaching.shape[1])
    cells = estimates.grouped[group, :, column]
    pair, place = np.divmod(np.flatnonzero(cells >= threshold[group]), GROUP)
    if len(pair) > len(low):
        return None
    return group[pair] * GROUP + place, column[pair]


def _near_rows_by_columns(
    estimates: Estimates, known: Floats, margin: Floats
) -> tuple[Indices, Indices, Flags]:
    """Rows and columns ``(K,)`` that may be as similar as the best column and what is known.

    Args:
        estimates: of the columns and the rows.
        known: ``(M,)`` largest similarity of the rows until now.
        margin: ``(M,)`` of the rows.

    Returns:
        Rows, columns, and ``(M,)`` False for rows that are to be compared with all columns.
    """
    count = len(known)
    folded = torch.from_numpy(estimates.bits[:count]).view(count, _FOLDS, -1)
    highest = folded.amax(dim=1)
    top = highest.amax(dim=1).numpy()
    low = np.maximum(least_rounded_to(top) - margin, known) - margin
    settled = (low > LEAST) & (low < np.inf)
    threshold = np.full(count, HIGHEST)
    threshold[settled] = rounded_bits(low[settled])
    row = np.flatnonzero(top >= threshold)
    if 2 * len(row) > count:  # then to look at all of them is faster
        row = np.arange(count)
        reaching = highest.numpy() >= threshold[:, None]
    else:
        reaching = highest.numpy()[row] >= threshold[row, None]
    most = max(FEW, len(estimates.block) // MOST_ROWS)
    room = estimates.room(BYTES_PER_GROUP)
    if np.count_nonzero(reaching) > room:
        few = affordable(np.count_nonzero(reaching, axis=1), most, room)
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


def tell_reaching(estimates: Estimates, asks: Asks, among: Flags) -> Flags:
    """Tell which rows are as similar to queries as they ask for.

    Args:
        estimates: of the queries and the rows.
        asks: what they ask for.
        among: ``(B,)`` the queries to tell of.

    Returns:
        ``(B,)`` those of them that so many rows may reach that comparing all is faster; nothing
        was told of them.
    """
    block, settled = estimates.block, among.copy()
    margin = estimates.margin[among[block.query]].max(initial=0)
    of_row, of_group = (
        np.where(low > LEAST, rounded_bits(np.maximum(low, LEAST)), LOWEST)
        for low in (asks.of_row - margin, asks.of_group - margin)
    )
    group, column = estimates.groups_reaching(estimates.highest >= of_group[:, None], settled)
    cells = estimates.grouped[group, :, column]
    least = of_row.reshape(-1, GROUP)[group]
    pair, place = estimates.places_reaching(cells >= least, column, settled)
    row, column = group[pair] * GROUP + place, column[pair]
    reached = estimates.products(row, column) >= asks.of_row[row]
    row, query = row[reached], block.query[column[reached]]
    if len(block.query) > len(block):  # several members of a set may reach the same
        query, row = np.divmod(np.unique(query * len(estimates.bits) + row), len(estimates.bits))
    if len(row):
        asks.tell(torch.from_numpy(query + block.begin), torch.from_numpy(row + estimates.first))
    return among & ~settled


def decide_all(estimates: Estimates, left: Flags, best: Best, asks: Asks | None) -> None:
    """Compare queries ``(B,)`` with all rows in float32."""
    if not left.any():
        return
    (offered,) = estimates.offered
    number = torch.from_numpy(left.nonzero()[0])
    sets = estimates.block.vectors.exact[:, number]
    for begin in range(0, len(offered.exact), _DECIDED_AT_ONCE):
        rows = offered.exact[begin : begin + _DECIDED_AT_ONCE]
        similarity = (sets @ rows.T).amax(dim=0)
        value, place = similarity.max(dim=1)
        place += estimates.first + begin
        best.raise_to(number.numpy(), place.numpy(), value.numpy())
        if asks is not None:
            least = torch.from_numpy(asks.of_row[begin : begin + len(rows)])
            query, row = (similarity >= least).nonzero(as_tuple=True)
            if len(row):
                asks.tell(number[query] + estimates.block.begin, row + (estimates.first + begin))
