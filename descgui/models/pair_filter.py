"""Filters pairs by words and by conditions on their values, such as ``v_ overlap<0.5 scale>=2``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[np.float64]]

_CONDITION: Final = re.compile(r"([^\s<>=]+?)(<=|>=|<|>|=)(\S+)")
_COMPARISONS: Final[dict[str, Callable[[Any, float], Any]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class PairFilter:
    """What pairs have to satisfy.

    Attributes:
        words: each is part of the pair's name, in upper or lower case.
        conditions: (name of a value, comparison, number); a pair without that value fails.
        problem: a sentence about a part that was not understood and is ignored; "" without one.
    """

    words: tuple[str, ...] = ()
    conditions: tuple[tuple[str, str, float], ...] = ()
    problem: str = ""

    @property
    def wanted(self) -> frozenset[str]:
        """The names of the values that it asks for."""
        return frozenset(name for name, _, _ in self.conditions)

    def accepts(self, folded: Sequence[str], values: Columns) -> NDArray[np.intp]:
        """The places of the pairs that satisfy all of it.

        Args:
            folded: names of pairs, case-folded.
            values: ``(N,)`` by name, of all that are wanted; NaN where a pair has none.
        """
        kept = np.ones(len(folded), np.bool_)
        for name, sign, limit in self.conditions:
            kept &= _COMPARISONS[sign](values[name], limit)
        places = np.flatnonzero(kept)
        if not self.words:
            return places
        named = [all(word in folded[place] for word in self.words) for place in places.tolist()]
        return places[np.array(named, np.bool_)]


def parse_filter(text: str, known: Collection[str]) -> PairFilter:
    """Read a filter.

    Args:
        text: words and conditions, separated by spaces.
        known: names of values that conditions may be about, in any case.
    """
    names = {name.casefold(): name for name in known}
    words: list[str] = []
    conditions: list[tuple[str, str, float]] = []
    problems: list[str] = []
    for part in text.split():
        found = _CONDITION.fullmatch(part)
        if found is None:
            words.append(part.casefold())
            continue
        name = names.get(found[1].casefold())
        try:
            limit = float(found[3])
        except ValueError:
            problems.append(f"“{part}”: {found[3]} is no number.")
            continue
        if name is None:
            problems.append(f"“{part}”: there is {', '.join(sorted(known))}.")
        else:
            conditions.append((name, found[2], limit))
    return PairFilter(tuple(words), tuple(conditions), " ".join(problems[:1]))
