"""What the readers of layouts share: searching folders, and making groups of single pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from engine.data.folders import file_names, is_picture, natural_key, sub_folders
from engine.data.pair_set import (
    WHOLE_SET,
    PairGroup,
    PairSet,
    PairSetReader,
    is_group_name,
    is_subset_name,
)
from engine.data.pairs import ImagePair
from engine.errors import DatasetError, HomographyError, printable, quoted
from engine.files import open_input
from engine.truth.base import TruthSource
from engine.truth.homography import HomographySource

_MOST_FOLDERS: Final = 20_000
_SHOWN_PROBLEMS: Final = 2
_LONGEST_START: Final = 1 << 14
# Of several copies of a picture, one that has lost nothing is used.
_LOSSLESS: Final = (".png", ".ppm", ".pgm", ".tif", ".tiff", ".bmp")

Fits = Callable[[Path, Sequence[str]], bool]
"""Whether a folder with files of these names is what a reader looks for."""


def fitting_folders(
    root: Path, fits: Fits, *, depth: int, problems: list[str] | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """The folders that fit, with the names of their files; these are not searched further.

    Args:
        root: the folder to search; nothing is found in a file.
        fits: what is looked for.
        depth: how many levels below the root are searched; 0 for the root alone.
        problems: receives a sentence on each folder that cannot be read.
    """
    if not root.is_dir():
        return
    waiting = [(root, depth)]
    count = 0
    while waiting:
        folder, levels = waiting.pop()
        count += 1
        if count > _MOST_FOLDERS:
            if problems is not None:
                problems.append(
                    f"{root}: holds more than {_MOST_FOLDERS} folders, and the rest was not "
                    "searched."
                )
            return
        try:
            names = file_names(folder)
            if fits(folder, names):
                yield folder, names
            elif levels > 0:
                waiting += [(below, levels - 1) for below in reversed(sub_folders(folder))]
        except DatasetError as error:
            if problems is not None:
                problems.append(str(error))


def first_line(path: Path) -> str:
    """The first line of a text file that is neither empty nor a comment; "" where there is none.

    A long line is cut, and what is no text gives "" or a line that no list begins with: this is for
    recognising lists, whose readers say what is wrong with them.
    """
    try:
        with open_input(path, DatasetError) as stream:
            text = stream.read(_LONGEST_START).decode("utf-8-sig", errors="replace")
    except DatasetError:
        return ""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def pictures_by_stem(names: Iterable[str]) -> dict[str, str]:
    """Picture files by their names without the ending; of several one without loss, if any."""
    found: dict[str, str] = {}
    ranked = sorted(names, key=lambda name: (_loss(name), natural_key(name)))
    for name in ranked:
        if is_picture(name):
            found.setdefault(Path(name).stem, name)
    return found


def single_pair(
    name: str,
    path_a: Path,
    path_b: Path,
    truth: TruthSource | None,
    *,
    subset: str = "",
    choices: Sequence[str] = (),
) -> PairGroup:
    """A group of one pair, both of the same name.

    Args:
        name: unique in its set.
        path_a: image a.
        path_b: image b.
        truth: what is known between them.
        subset: the part of the set that it belongs to.
        choices: a sentence for each thing that was chosen.
    """
    pair = ImagePair(path_a, path_b, truth, name=name, sequence=name, index=1)
    return PairGroup(name, (pair,), subset, problems=tuple(choices), choices=tuple(choices))


def homography_pair(
    name: str, path_a: Path, path_b: Path, matrix: Path, problems: list[str]
) -> PairGroup | None:
    """A group of one pair with a homography from a to b; None where its file is unusable.

    Args:
        name: unique in its set.
        path_a: image a.
        path_b: image b.
        matrix: the file of the homography, of any known format.
        problems: receives what is wrong with it or was chosen.
    """
    choices: list[str] = []
    try:
        truth = HomographySource.read(matrix, choices.append)
    except HomographyError as error:
        problems.append(f"{name}: {matrix.name} {error.reason}, so the pair is left out.")
        return None
    problems += choices
    return single_pair(name, path_a, path_b, truth, choices=choices)


def left_out(place: str, what: str, faults: Mapping[str, int]) -> list[str]:
    """Sentences on what was left out of large sets: one for each reason, with its count.

    Args:
        place: the part of the set.
        what: is counted, a noun that takes an s.
        faults: how often each reason occurred; a clause, such as "its image is missing".
    """
    return [
        f"{place}: {count} {what}{' is' if count == 1 else 's are'} left out, because {reason}."
        for reason, count in faults.items()
    ]


def finished_set(
    reader: PairSetReader, root: Path, groups: Iterable[PairGroup | None], problems: Sequence[str]
) -> PairSet:
    """A set of these groups in natural order; where names repeat, with their folders before them.

    Args:
        reader: whose layout it is.
        root: the folder or file that was opened.
        groups: what was found; None for what was left out.
        problems: a sentence for everything that was left out or chosen.

    Raises:
        DatasetError: there are none; the message says what was wrong, and what was expected.
    """
    usable = (group for group in groups if group is not None)
    kept = _told_apart(sorted(usable, key=lambda group: natural_key(group.name)))
    if not kept:
        first = [problem.removesuffix(".") for problem in problems[:_SHOWN_PROBLEMS]]
        wrong = f" ({'; '.join(first)})" if first else ""
        raise DatasetError(
            root, f"holds no usable pair{wrong}; {reader.layout} means {reader.expected}"
        )
    return PairSet(root, reader.layout, kept, tuple(problems))


def _told_apart(groups: Sequence[PairGroup]) -> tuple[PairGroup, ...]:
    """Groups whose names are unique: a repeated one gets its folder's name, then a number."""
    repeated = {name for name, count in Counter(g.name for g in groups).items() if count > 1}
    taken: set[str] = {group.name for group in groups} - repeated
    apart = []
    for group in groups:
        if group.name in repeated:
            name = free_name(f"{group.pairs[0].path_a.resolve().parent.name}/{group.name}", taken)
            taken.add(name)
            apart.append(renamed(group, name))
        else:
            apart.append(group)
    return tuple(apart)


def free_name(wanted: str, taken: Collection[str]) -> str:
    """A name that no other group has: the one that is wanted, or that and a number."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted} ({number})", number + 1
    return name


def renamed(group: PairGroup, name: str) -> PairGroup:
    """A group under another name, which its pairs take over."""
    pairs = tuple(
        replace(pair, sequence=name, name=name + pair.name.removeprefix(group.name))
        for pair in group.pairs
    )
    return replace(group, name=name, pairs=pairs)


def usable_names(groups: Sequence[PairGroup]) -> tuple[tuple[PairGroup, ...], list[str]]:
    """Groups with names that can be written down and printed: lists may call them anything.

    Returns:
        The groups, and a sentence for each group and subset whose name was changed.
    """
    taken = {group.name for group in groups}
    told: dict[str, None] = {}
    return tuple(_with_usable_names(group, taken, told) for group in groups), list(told)


def _with_usable_names(group: PairGroup, taken: set[str], told: dict[str, None]) -> PairGroup:
    if not (group.name.isprintable() and is_group_name(group.name)):
        parts = [part for part in printable(group.name).split("/") if part.strip(". ")]
        name = free_name("/".join(parts) or "group", taken)
        taken.add(name)
        told[f"The group {quoted(group.name)} is called {quoted(name)} here."] = None
        group = renamed(group, name)
    if not is_subset_name(group.subset):
        subset = printable(group.subset)
        subset = f"{subset} (subset)" if subset == WHOLE_SET else subset
        told[f"The subset {quoted(group.subset)} is called {quoted(subset)} here."] = None
        group = replace(group, subset=subset)
    if not all(pair.name.isprintable() for pair in group.pairs):
        pairs = tuple(replace(pair, name=printable(pair.name)) for pair in group.pairs)
        group = replace(group, pairs=pairs)
    return group


def _loss(name: str) -> int:
    ending = Path(name).suffix.lower()
    return _LOSSLESS.index(ending) if ending in _LOSSLESS else len(_LOSSLESS)
