"""Filters pairs by words and by conditions on their values, such as ``v_ overlap<0.5 scale>=2``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

Values = Mapping[str, float | None]

_CONDITION: Final = re.compile(r"([^\s<>=]+?)(<=|>=|<|>|=)(\S+)")
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
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

    def accepts(self, name: str, values: Values) -> bool:
        """Whether a pair satisfies all of it."""
        folded = name.casefold()
        if not all(word in folded for word in self.words):
            return False
        for value_name, sign, limit in self.conditions:
            value = values.get(value_name)
            if value is None or not _COMPARISONS[sign](value, limit):
                return False
        return True


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
