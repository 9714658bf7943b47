"""Which sample value is black and which is white; loads nothing, so that options can use it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.config import option_text
from engine.errors import ConfigError

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The sample values that are black (0) and white (1) to descriptors and on the screen."""

    black: float
    white: float

    def __str__(self) -> str:
        """As an option has it, with all digits: ``0,4095``."""
        return option_text(self.ends)

    @property
    def ends(self) -> tuple[float, float]:
        """(black, white)."""
        return self.black, self.white

    @property
    def words(self) -> str:
        """For people: ``0 to 4095``; fractions with six digits."""
        return f"{_short(self.black)} to {_short(self.white)}"


def parse_value_range(text: str | None, name: str = "range") -> ValueRange | None:
    """``BLACK,WHITE`` as a range; None for ``auto``, for nothing, and for the file's own range.

    Args:
        text: as the user writes it.
        name: of the setting, for the message.

    Raises:
        ConfigError: not two finite numbers, or white is not above black.
    """
    if text is None or text.strip().lower() in ("", AUTO):
        return None
    try:
        black, white = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(name, f"{text!r} is neither BLACK,WHITE nor auto") from None
    return check_value_range(black, white, name)


def parse_pair_ranges(
    both: str | None, b: str | None
) -> tuple[ValueRange | None, ValueRange | None]:
    """The ranges of image a and b: one for both, unless b has its own.

    Raises:
        ConfigError: as :func:`parse_value_range`.
    """
    first = parse_value_range(both)
    return first, first if b is None else parse_value_range(b, "range_b")


def check_value_range(black: float, white: float, name: str = "range") -> ValueRange:
    """A range of two numbers.

    Raises:
        ConfigError: they are not finite, or white is not above black.
    """
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise ConfigError(name, f"white ({white:g}) has to be above black ({black:g})")
    return ValueRange(black, white)


def _short(value: float) -> str:
    text = f"{value:.10g}" if value == int(value) and abs(value) < 1e7 else f"{value:.6g}"
    return text.replace("-", "−")
