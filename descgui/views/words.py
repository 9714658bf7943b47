"""Numbers as words: sizes, durations and counts as every view writes them."""

from __future__ import annotations

import re

QUERY_LISTS = {
    "harris": "Harris corners",
    "uniform": "Uniform points",
    "listed": "Listed points",
}
"""What users call the lists of queries of an evaluation."""

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86400.0


def counted(number: int, one: str, many: str) -> str:
    """``one`` or ``many``, with the number in the place of ``{n}``."""
    return (one if number == 1 else many).replace("{n}", str(number))


def size_text(size_bytes: float) -> str:
    """A size of memory: ``900 B``, ``14.6 MB``, ``3 GB``; 1 kB is 1000 bytes."""
    units = ["B", "kB", "MB", "GB"]
    while size_bytes >= 1000.0 and len(units) > 1:
        size_bytes /= 1000.0
        del units[0]
    return f"{size_bytes:.1f}".removesuffix(".0") + f" {units[0]}"


def duration_text(seconds: float) -> str:
    """A short time: ``12 ms``, ``3.4 s``."""
    return f"{seconds * 1000.0:.0f} ms" if seconds < 1.0 else f"{seconds:.1f} s"


def clock_text(seconds: float) -> str:
    """A long time: ``40 s``, ``3 min`` or ``2 h 10 min``."""
    if seconds < 1.5 * _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / _MINUTE_S)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def age_text(seconds: float) -> str:
    """How long ago something was, in one unit."""
    for size_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= size_s:
            return f"{int(seconds / size_s)} {unit} ago"
    return "just now"


def short_device(title: str) -> str:
    """``CPU (2 threads)`` as ``CPU · 2 threads``."""
    return re.sub(r" \((.*)\)$", r" · \1", title)
