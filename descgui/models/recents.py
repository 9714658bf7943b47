"""How a recently opened pair is written into the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.api import ImagePair

_SEPARATOR = "\t"  # cannot be typed into a path by accident


@dataclass(frozen=True, slots=True)
class RecentPair:
    """A pair that was open once.

    Attributes:
        root: folder of its data set; None for a free pair.
        sequence, index: its place in the data set.
        path_a, path_b: the files of a free pair.
    """

    root: Path | None = None
    sequence: str = ""
    index: int = 0
    path_a: Path | None = None
    path_b: Path | None = None

    @property
    def label(self) -> str:
        """What a menu shows."""
        if self.root is not None:
            return f"{self.sequence} 1 → {self.index}"
        assert self.path_a is not None
        assert self.path_b is not None
        return f"{self.path_a.name} ↔ {self.path_b.name}"


def write_recent(pair: ImagePair, root: Path | None) -> str:
    """One line for the settings file."""
    if root is not None and pair.sequence:
        return _SEPARATOR.join((str(root), pair.sequence, str(pair.index)))
    return _SEPARATOR.join((str(pair.path_a), str(pair.path_b)))


def read_recent(line: str) -> RecentPair | None:
    """The pair a settings line means; None if the line is not one."""
    match line.split(_SEPARATOR):
        case [root, sequence, index] if root and index.isdecimal():
            return RecentPair(Path(root), sequence, int(index))
        case [path_a, path_b] if path_a and path_b:
            return RecentPair(path_a=Path(path_a), path_b=Path(path_b))
        case _:
            return None
