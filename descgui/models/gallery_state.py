"""Measured pairs as a list: their values by name, sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

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
    _values: dict[str, dict[str, float | None]] = field(default_factory=dict, repr=False)

    def values(self, label: str) -> dict[str, float | None]:
        """All values of a descriptor by name; none where it was not measured."""
        if label not in self._values:  # once: ten thousand pairs are sorted again and again
            self._values[label] = values_of(self.rows.get(label))
        return self._values[label]


def list_pairs(content: MergedResults, queries: str) -> tuple[ListedPair, ...]:
    """The pairs that were measured with a list of queries, in the order of the results."""
    found: dict[Pair, dict[str, PairRow]] = {}
    for row in content.pairs:
        if row.queries == queries:
            found.setdefault(row.key, {})[row.descriptor] = row
    return tuple(
        ListedPair((sequence, index), f"{sequence} 1 → {index}", rows)
        for (sequence, index), rows in found.items()
    )


def value_names(pairs: Iterable[ListedPair]) -> tuple[str, ...]:
    """Names of the values that the pairs have: PCK at each threshold, metrics, then the pair's."""
    rows = [row for one in pairs for row in one.rows.values()]
    # Rows of one measurement have the same names, so there are few lists of them.
    limits = dict.fromkeys(tuple(limit for limit, _ in row.pck) for row in rows)
    named = dict.fromkeys(tuple(name for name, _ in row.metrics) for row in rows)
    known = dict.fromkeys(tuple(name for name, _ in row.properties) for row in rows)
    pcks = dict.fromkeys(pck_name(limit) for some in limits for limit in some)
    others = dict.fromkeys(name for some in (*named, *known) for name in some)
    return (*pcks, *others)


def values_of(row: PairRow | None) -> dict[str, float | None]:
    """All values of a row by name."""
    if row is None:
        return {}
    pck = {pck_name(limit): share for limit, share in row.pck}
    return {**pck, **dict(row.metrics), **dict(row.properties)}


def part_of(pair: ListedPair) -> str:
    """The part of the data set that a pair belongs to, "" for none."""
    return next(iter(pair.rows.values())).subset


def title_of(name: str) -> str:
    """What people call a value."""
    return pair_values().get(name) or metric_info(name).title


def belongs_to_pair(name: str) -> bool:
    """Whether a value is the same for all descriptors."""
    return name in pair_values()


def chosen_pairs(
    pairs: Sequence[ListedPair],
    *,
    label: str,
    accepted: PairFilter,
    sort_by: str,
    worst_first: bool,
) -> tuple[ListedPair, ...]:
    """The pairs that a filter accepts, sorted.

    Args:
        pairs: all.
        label: the descriptor whose values count.
        accepted: the filter.
        sort_by: name of a value; "" for the order of the results.
        worst_first: the worst values first (of values that are neither better nor worse, the
            smallest); pairs without the value always come last.
    """
    known = [(one, one.values(label)) for one in pairs]
    kept = [(one, values) for one, values in known if accepted.accepts(one.name, values)]
    if not sort_by:
        return tuple(one for one, _ in kept)
    lower = not belongs_to_pair(sort_by) and metric_info(sort_by).better == "lower"
    sign = -1.0 if lower == worst_first else 1.0

    def place(entry: tuple[ListedPair, dict[str, float | None]]) -> tuple[bool, float]:
        value = entry[1].get(sort_by)
        return (True, 0.0) if value is None or math.isnan(value) else (False, sign * value)

    return tuple(one for one, _ in sorted(kept, key=place))
