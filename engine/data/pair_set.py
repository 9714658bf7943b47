"""Sets of pairs: one type, which the readers of all layouts make.

A set is groups of pairs.  A group is what its pairs share (a sequence, a scene, a class of
objects), and intervals are drawn over whole groups.  Opening a set reads names and lists, but
decodes no picture and no dense truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from engine.data.pairs import ImagePair
from engine.errors import DatasetError, quoted

_SHOWN: Final = 20
WHOLE_SET: Final = "all"
"""What stands for all subsets where one is chosen, so that none may be called so."""


def is_group_name(value: object) -> bool:
    """Whether something can be a group's name: some text that leads out of no folder."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts


def is_subset_name(value: str) -> bool:
    """Whether a text can be a subset's name; "" is none."""
    return value != WHOLE_SET and value.isprintable()


@dataclass(frozen=True, slots=True)
class PairGroup:
    """Pairs that share something.

    Attributes:
        name: unique in its set.
        pairs: at least one; ``pair.sequence`` is the group's name, and ``pair.index`` is at least 1
            and unique in it.
        subset: the part of the set that it belongs to, as the set names its parts; "" for none.
        problems: a sentence for everything that was left out of it or chosen.
        choices: those among them that say what was chosen where the files left a choice.
    """

    name: str
    pairs: tuple[ImagePair, ...]
    subset: str = ""
    problems: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    def label(self, pair: ImagePair) -> str:
        """What a pair is called within its group: its name without the group's before it."""
        return pair.name.removeprefix(self.name).strip() or pair.name


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs below a folder.

    Attributes:
        root: the folder or file that was opened.
        layout: what the reader calls the layout, such as "HPatches sequences".
        groups: with at least one pair each, in natural order of their names.
        problems: a sentence for everything that was left out or chosen, also in groups that were
            left out whole.
        choices: those among them that say what was chosen for the set as a whole.
        opened: what opens it again: its absolute path, behind ``WORD:`` if the layout was asked
            for.
    """

    root: Path
    layout: str
    groups: tuple[PairGroup, ...]
    problems: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    opened: str = ""

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

    def pair(self, name: str, index: int) -> ImagePair:
        """The pair with this number in the group of this name.

        Raises:
            DatasetError: there is none; the message says why it was left out, if it was.
        """
        group = self.group(name)
        for pair in group.pairs:
            if pair.index == index:
                return pair
        known = ", ".join(str(pair.index) for pair in group.pairs[:_SHOWN])
        more = ", …" if len(group.pairs) > _SHOWN else ""
        why = [problem for problem in group.problems if f"→ {index} " in problem]
        reason = f" ({why[0].removesuffix('.')})" if why else ""
        raise DatasetError(
            self.root, f"{name} has no pair {index}{reason}; its pairs are {known}{more}"
        )

    def only(self, subset: str) -> PairSet:
        """The groups of one part; there may be none."""
        return replace(self, groups=tuple(one for one in self.groups if one.subset == subset))


class PairSetReader(Protocol):
    """Reads one layout; :mod:`engine.data.layouts` lists them all."""

    @property
    def word(self) -> str:
        """What asks for the layout in ``WORD:PATH``: lower-case letters, digits and hyphens."""

    @property
    def layout(self) -> str:
        """What users call the layout; ``PairSet.layout`` of what it reads."""

    @property
    def group(self) -> str:
        """What users call a group, such as "scene"; "pair" where each pair is a group."""

    @property
    def expected(self) -> str:
        """A phrase on the files that it looks for, for whoever named something else."""

    def recognises(self, root: Path) -> bool:
        """Whether a folder or file seems to have this layout; looks at names, and is quick.

        Raises:
            DatasetError: the folder cannot be read.
        """

    def read(self, root: Path) -> PairSet:
        """Read it.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
