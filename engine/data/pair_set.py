"""Sets of pairs: one type, which the readers of all layouts make.

A set is groups of pairs.  A group is what its pairs share (a sequence, a scene, a class of
objects), and intervals are drawn over whole groups.  Opening a set reads names and lists, but
decodes no picture and no dense truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from engine.data.pairs import ImagePair
from engine.errors import DatasetError, quoted


@dataclass(frozen=True, slots=True)
class PairGroup:
    """Pairs that share something.

    Attributes:
        name: unique in its set.
        pairs: at least one; ``pair.sequence`` is the group's name, and ``pair.index`` is unique in
            it.
        subset: the part of the set that it belongs to, as the set names its parts; "" for none.
        choices: a sentence for each thing that was chosen where the files left a choice.
    """

    name: str
    pairs: tuple[ImagePair, ...]
    subset: str = ""
    choices: tuple[str, ...] = ()

    def pair(self, index: int) -> ImagePair | None:
        """The pair with this number, None where there is none."""
        return next((pair for pair in self.pairs if pair.index == index), None)


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs below a folder.

    Attributes:
        root: the folder or file that was opened.
        layout: what the reader calls the layout, such as "HPatches sequences".
        groups: with at least one pair each, in natural order of their names.
        problems: a sentence for everything that was left out or chosen.
    """

    root: Path
    layout: str
    groups: tuple[PairGroup, ...]
    problems: tuple[str, ...] = ()

    @property
    def subsets(self) -> tuple[str, ...]:
        """The parts that it has, in order of their first group."""
        return tuple(dict.fromkeys(group.subset for group in self.groups if group.subset))

    def pairs(self) -> tuple[ImagePair, ...]:
        """All pairs, group by group."""
        return tuple(pair for group in self.groups for pair in group.pairs)

    def group(self, name: str) -> PairGroup:
        """The group of this name.

        Raises:
            DatasetError: there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise DatasetError(self.root, f"holds no usable group {quoted(name)}")

    def only(self, subset: str) -> PairSet:
        """The groups of one part; there may be none."""
        return replace(self, groups=tuple(one for one in self.groups if one.subset == subset))


class PairSetReader(Protocol):
    """Reads one layout; :mod:`engine.data.layouts` lists them all."""

    @property
    def layout(self) -> str:
        """What users call the layout."""

    def recognises(self, root: Path) -> bool:
        """Whether a folder or file seems to have this layout; looks at names, and is quick."""

    def read(self, root: Path) -> PairSet:
        """Read it.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
