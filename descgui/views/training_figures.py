"""What the figures of a training run are called, and which of them share a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.api import group_metrics, metric_info, pck_name

_FIRST: Final = ("loss", pck_name(3.0))
FIRST_SHOWN: Final = tuple(metric_info(name).group.name for name in _FIRST)
"""Plots that are shown until a person chooses others."""

_LEAST_FIXED: Final = 0.001
_MOST_FIXED: Final = 1e4


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its name, its title, and the figures drawn in it, in their order."""

    name: str
    title: str
    figures: tuple[str, ...]


def plots_of(figures: Iterable[str]) -> tuple[Plot, ...]:
    """The plots for some figures, the well-known ones first; loss and PCK are always there."""
    some = set(figures)
    members = group_metrics([*some, *_FIRST])
    return tuple(
        Plot(group.name, group.heading, tuple(name for name in names if name in some))
        for group, names in members.items()
    )


def value_text(figure: str, value: float) -> str:
    """A value in few digits, with a true minus sign; a dash for none."""
    if not math.isfinite(value):
        return "–"
    if metric_info(figure).whole:
        return f"{value:.0f}"
    if value == 0.0 or _LEAST_FIXED <= abs(value) < _MOST_FIXED:
        digits = 0 if abs(value) >= 1000 else 2 if abs(value) >= 100 else 4
        text = f"{value:.{digits}f}"
    else:
        text = f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", "−")
