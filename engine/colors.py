"""Colours that carry a meaning, the same in the window, in figures and in reports.

All come from the palette of Okabe and Ito (2008), which people with any colour vision can tell
apart; what they mark also differs in shape or line style.
"""

from __future__ import annotations

from typing import Final

RIGHT: Final = "#009E73"
"""A match within the threshold of the true point."""

WRONG: Final = "#D55E00"
"""A match beyond it."""

AGREES: Final = "#0072B2"
"""A match that agrees with an estimated homography, or that nothing is known about, on paper."""

UNKNOWN: Final = "#5A5A5A"
"""A match whose true point is unknown, on paper."""

TRUTH: Final = "#56B4E9"
"""The true point."""

BEST: Final = "#F0E442"
"""The best match of a query."""

CYCLE: Final = "#CC79A7"
"""The return match of an A→B→A check."""

OCCLUDED: Final = "#CC79A7"
"""Where the truth says that something hides the point in the other image."""

OUTSIDE: Final = "#AEB6BF"
"""Where the truth says that the point leaves the other image."""

SERIES: Final = (
    *("#0072B2", "#D55E00", "#CC79A7", "#009E73"),
    *("#8A949E", "#56B4E9", "#E69F00", "#F0E442"),
)
"""Colours of several descriptors or runs on a screen, light or dark."""

SERIES_ON_PAPER: Final = (
    *("#0b66a8", "#c56a00", "#a3417c", "#00795a"),
    *("#5b6670", "#2f93cc", "#7d5d14", "#1b1b1b"),
)
"""The same hues, darkened for white paper."""

ERROR_RANGE_PX: Final = (0.3, 100.0)
"""Errors of matches at both ends of a map's colours, on a logarithmic scale."""
