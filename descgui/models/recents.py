"""How a recently opened pair is written into the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine import api

_SEPARATOR = "\t"  # cannot be typed into a path by accident


@dataclass(frozen=True, slots=True)
class RecentPair:
    """A pair that was open once.

    Attributes:
        opened: what opens its set, a path or ``LAYOUT:PATH``; "" for a free pair.
        group, index: its place in the set.
        name: its name; "" in older settings, which know sequences alone.
        path_a, path_b: the files of a free pair.
    """

    opened: str = ""
    group: str = ""
    index: int = 0
    name: str = ""
    path_a: Path | None = None
    path_b: Path | None = None

    @property
    def label(self) -> str:
        """What a menu shows."""
        if self.opened:
            return self.name or f"{self.group} 1 → {self.index}"
        assert self.path_a is not None
        assert self.path_b is not None
        return f"{self.path_a.name} ↔ {self.path_b.name}"


def write_recent(pair: api.ImagePair, opened: str) -> str:
    """One line for the settings file.

    Args:
        pair: what was opened.
        opened: what opens its set; "" for a free pair.
    """
    if opened and pair.sequence:
        return _SEPARATOR.join((opened, pair.sequence, str(pair.index), pair.name))
    return _SEPARATOR.join((str(pair.path_a), str(pair.path_b)))


def read_recent(line: str) -> RecentPair | None:
    """The pair a settings line means; None if the line is not one."""
    match line.split(_SEPARATOR):
        case [opened, group, index, *name] if opened and index.isdecimal() and len(name) < 2:
            return RecentPair(opened, group, int(index), "".join(name))
        case [path_a, path_b] if path_a and path_b:
            return RecentPair(path_a=Path(path_a), path_b=Path(path_b))
        case _:
            return None
