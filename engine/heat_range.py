"""Which similarities the first and the last colour of heat maps stand for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

from engine.config import build_config, option, option_text
from engine.errors import ConfigError

HeatRangeKind = Literal["percentile", "relative", "fixed"]
"""How heat maps get their range."""

HEAT_RANGE_KINDS: Final[tuple[HeatRangeKind, ...]] = get_args(HeatRangeKind)

_NUMBERS: Final[dict[HeatRangeKind, tuple[str, ...]]] = {
    "percentile": ("low_percent", "high_percent"),
    "relative": ("span",),
    "fixed": ("low", "high"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRange:
    """The range of heat maps; the numbers of kinds that are not in use are kept.

    Raises:
        ConfigError: the last colour does not stand for more than the first.
    """

    kind: HeatRangeKind = option(
        "percentile", help="fitted to each query, relative to the best match, or fixed"
    )
    low_percent: float = option(
        20.0, help="similarities at this percentile or below have the first colour",
        unit="percent", low=0.0, high=100.0, title="From percentile",
    )  # fmt: skip
    high_percent: float = option(
        100.0, help="similarities at this percentile or above have the last colour",
        unit="percent", low=0.0, high=100.0, title="To percentile",
    )  # fmt: skip
    span: float = option(
        0.3, help="how far below the best match the first colour is, as a cosine",
        low=0.01, high=2.0, title="Below the best match",
    )  # fmt: skip
    low: float = option(
        0.0, help="cosine of the first colour", low=-1.0, high=1.0, title="From cosine"
    )
    high: float = option(
        1.0, help="cosine of the last colour", low=-1.0, high=1.0, title="To cosine"
    )

    def __post_init__(self) -> None:
        for low, high in (("low_percent", "high_percent"), ("low", "high")):
            first, last = getattr(self, low), getattr(self, high)
            if not first < last:
                raise ConfigError(
                    f"heat_range.{high}",
                    f"the end ({last:g}) has to be above the start ({first:g})",
                )

    def __str__(self) -> str:
        """As an option has it: ``percentile:20,100``, ``relative:0.3`` or ``fixed:0,1``."""
        numbers = tuple(getattr(self, name) for name in heat_range_numbers(self.kind))
        return f"{self.kind}:{option_text(numbers)}"


FITTED: Final = HeatRange()
"""Each map from its 20th percentile, so that the least similar fifth shares one colour."""


def heat_range_numbers(kind: HeatRangeKind) -> tuple[str, ...]:
    """The names of the numbers that a kind of range uses."""
    return _NUMBERS[kind]


@lru_cache(maxsize=4)
def parse_heat_range(text: str, name: str = "heat_range") -> HeatRange:
    """A range from its text; a kind without numbers has the default ones.

    Args:
        text: as :meth:`HeatRange.__str__` writes it.
        name: of the setting, for the message.

    Raises:
        ConfigError: an unknown kind, or numbers that are missing, out of range or do not rise.
    """
    kind, _, rest = text.strip().partition(":")
    numbers = _NUMBERS.get(kind, ())  # type: ignore[call-overload]
    given = rest.split(",") if rest else []
    if not numbers or (given and len(given) != len(numbers)):
        raise ConfigError(name, f"{text!r} is none of percentile:LOW,HIGH, relative:SPAN, "
                          "fixed:LOW,HIGH")  # fmt: skip
    values = {"kind": kind, **dict(zip(numbers, given, strict=False))}
    return build_config(HeatRange, values, where=name)
