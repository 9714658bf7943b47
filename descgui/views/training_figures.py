"""What the figures of a training run are called, and which of them share a plot."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FIRST_SHOWN: Final = ("loss", "pck")
"""Plots that are shown until a person chooses others."""

_PCK = re.compile(r"(sequences )?pck@([0-9.]+)")
_HIDDEN: Final = frozenset({"epoch"})  # the step in another unit
_LEAST_FIXED: Final = 0.001
_MOST_FIXED: Final = 1e4

_PLOTS: Final = (
    ("loss", "Loss"),
    ("pck", "Validation PCK"),
    ("sequences", "PCK on sequences"),
    ("similarity", "Distance and similarity"),
    ("rate", "Learning rate"),
    ("time", "Time of a step (s)"),
    ("gradient", "Norm of the gradient"),
    ("seen", "Share of points seen in both"),
    ("skipped", "Steps skipped"),
    ("memory_mb", "Peak memory (MB)"),
    ("data_wait_share", "Data wait, share of a step"),
    ("validation_s", "Time of a validation (s)"),
)
_WORDS: Final = {
    "loss": "loss",
    "distance": "distance",
    "similarity": "similarity",
    "rate": "rate",
    "step_s": "all",
    "data_wait_s": "data wait",
    "gradient": "gradient",
    "seen": "seen",
    "skipped": "skipped",
    "memory_mb": "MB",
    "data_wait_share": "wait share",
    "validation_s": "validation",
}
_HOMES: Final = {
    "distance": "similarity",
    "step_s": "time",
    "data_wait_s": "time",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its name, its title, and the figures drawn in it, in their order."""

    name: str
    title: str
    figures: tuple[str, ...]


def plots_of(figures: Iterable[str]) -> tuple[Plot, ...]:
    """The plots for some figures, the well-known ones first; loss and PCK are always there."""
    members: dict[str, set[str]] = {name: set() for name in FIRST_SHOWN}
    for figure in figures:
        if figure not in _HIDDEN:
            members.setdefault(_home_of(figure), set()).add(figure)
    titles = dict(_PLOTS)
    order = [name for name in titles if name in members]
    order += sorted(name for name in members if name not in titles)
    return tuple(
        Plot(
            name,
            titles.get(name, name),
            tuple(sorted(members[name], key=_place)),
        )
        for name in order
    )


def figure_word(figure: str) -> str:
    """What a figure is called beside others of its plot: ``@3 px``, ``data wait``."""
    found = _PCK.fullmatch(figure)
    if found is not None:
        return f"@{found[2]} px"
    word = _WORDS.get(figure)
    return word if word else figure


def column_word(figure: str) -> str:
    """What a figure is called where its plot is not named: ``PCK @3 px``."""
    found = _PCK.fullmatch(figure)
    if found is not None:
        kind = "seq." if found[1] else "PCK"
        return f"{kind} @{found[2]}"
    return "step (s)" if figure == "step_s" else figure_word(figure)


def value_text(figure: str, value: float) -> str:
    """A value in few digits, with a true minus sign; a dash for none."""
    if not math.isfinite(value):
        return "–"
    if figure.endswith("_mb"):
        return f"{value:.0f}"
    if value == 0.0 or _LEAST_FIXED <= abs(value) < _MOST_FIXED:
        digits = 0 if abs(value) >= 1000 or figure == "skipped" else 2 if abs(value) >= 100 else 4
        text = f"{value:.{digits}f}"
    else:
        text = f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", "−")


def _home_of(figure: str) -> str:
    found = _PCK.fullmatch(figure)
    if found is not None:
        return "sequences" if found[1] else "pck"
    return _HOMES.get(figure, figure)


def _place(figure: str) -> tuple[float, str]:
    found = _PCK.fullmatch(figure)
    if found is not None:
        return float(found[2]), figure
    return float(list(_WORDS).index(figure)) if figure in _WORDS else math.inf, figure
