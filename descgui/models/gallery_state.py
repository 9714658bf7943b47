"""Measured pairs as a list: their values by name, sorted and filtered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from descgui.models.pair_filter import PairFilter
from engine import api
from engine.api import metric_info, pck_name

if TYPE_CHECKING:
    from engine.api import MergedResults, PairRow

PictureKind = Literal["matches", "errors"]
Pair = tuple[str, int]


@lru_cache(maxsize=1)
def pair_values() -> Mapping[str, str]:
    """Names and titles of the values that are the same for all descriptors."""
    return {one.name: one.title.capitalize() for one in api.SLICINGS}


@dataclass(frozen=True, slots=True)
class WantedPicture:
    """A small picture of what a descriptor did on a pair.

    Attributes:
        label: of the descriptor.
        pair: sequence and number of the second image.
        queries: the list of queries.
        kind: what is drawn.
        right_px: a match this close to the truth is right.
        size_px: (width, height).
        row, content: the same as objects.
    """

    label: str
    pair: Pair
    queries: str
    kind: PictureKind
    right_px: float
    size_px: tuple[int, int]
    row: PairRow = field(compare=False, repr=False)
    content: MergedResults = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ListedPair:
    """A pair in the list.

    Attributes:
        pair: sequence and number of the second image.
        name: for the user to read.
        rows: by the label of the descriptor.
    """

    pair: Pair
    name: str
    rows: Mapping[str, PairRow]

    def values(self, label: str) -> dict[str, float | None]:
        """All values of a descriptor by name; none where it was not measured."""
        return values_of(self.rows.get(label))


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """All measured pairs with their values as columns, so that many are sorted in no time.

    Attributes:
        pairs: in the order of the results.
        names: of the values: PCK at each threshold, metrics, then those of the pair itself.
        columns: ``(N,)`` by label of the descriptor and name of the value; NaN for none.
        folded: the pairs' names as the filter compares them.
        parts: of the data set that pairs belong to, "" for none.
        part_of: ``(N,)`` the place of each pair's part in ``parts``.
    """

    pairs: tuple[ListedPair, ...] = ()
    names: tuple[str, ...] = ()
    columns: Mapping[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    folded: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    part_of: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    def column(self, label: str, name: str) -> NDArray[np.float64]:
        """``(N,)`` a value of all pairs by a descriptor; NaN where a pair has none."""
        missing = np.full(len(self.pairs), np.nan)
        return self.columns.get((label, name), missing)


def list_pairs(content: MergedResults, queries: str) -> PairTable:
    """The pairs that were measured with a list of queries; takes a second for ten thousand."""
    found: dict[Pair, dict[str, PairRow]] = {}
    titles = content.titles
    rows = [row for row in content.pairs if row.queries == queries]
    for row in rows:
        found.setdefault(row.key, {})[row.descriptor] = row
    pairs = tuple(
        ListedPair((sequence, index), titles(sequence, index), mine)
        for (sequence, index), mine in found.items()
    )
    columns: dict[tuple[str, str], NDArray[np.float64]] = {}
    for place, one in enumerate(pairs):
        for label, row in one.rows.items():
            for name, value in values_of(row).items():
                if (label, name) not in columns:
                    columns[label, name] = np.full(len(pairs), np.nan)
                if value is not None:
                    columns[label, name][place] = value
    subsets = [next(iter(one.rows.values())).subset for one in pairs]
    parts = tuple(dict.fromkeys(subsets))
    places = {part: place for place, part in enumerate(parts)}
    return PairTable(
        pairs,
        _value_names(rows),
        columns,
        tuple(one.name.casefold() for one in pairs),
        parts,
        np.array([places[part] for part in subsets], np.intp),
    )


def _value_names(rows: Iterable[PairRow]) -> tuple[str, ...]:
    """Names of the values of rows, each kind together."""
    rows = tuple(rows)
    limits = dict.fromkeys(limit for row in rows for limit, _ in row.pck)
    named = dict.fromkeys(name for row in rows for name, _ in row.metrics)
    known = dict.fromkeys(name for row in rows for name, _ in row.properties)
    return (*map(pck_name, limits), *named, *known)


def values_of(row: PairRow | None) -> dict[str, float | None]:
    """All values of a row by name."""
    if row is None:
        return {}
    pck = {pck_name(limit): share for limit, share in row.pck}
    return {**pck, **dict(row.metrics), **dict(row.properties)}


def title_of(name: str) -> str:
    """What people call a value."""
    return pair_values().get(name) or metric_info(name).title


def belongs_to_pair(name: str) -> bool:
    """Whether a value is the same for all descriptors."""
    return name in pair_values()


def chosen_pairs(
    table: PairTable,
    *,
    label: str,
    accepted: PairFilter,
    sort_by: str,
    worst_first: bool,
) -> NDArray[np.intp]:
    """The pairs that a filter accepts, sorted.

    Args:
        table: all.
        label: the descriptor whose values count.
        accepted: the filter.
        sort_by: name of a value; "" for the order of the results.
        worst_first: the worst values first (of values that are neither better nor worse, the
            smallest); pairs without the value always come last.

    Returns:
        ``(M,)`` their places in the table, in order.
    """
    columns = {name: table.column(label, name) for name in accepted.wanted}
    kept = accepted.accepts(table.folded, columns)
    if not sort_by:
        return kept
    lower = not belongs_to_pair(sort_by) and metric_info(sort_by).better == "lower"
    values = table.column(label, sort_by)[kept]
    order = np.argsort(-values if lower == worst_first else values, kind="stable")  # NaN comes last
    return kept[order]
