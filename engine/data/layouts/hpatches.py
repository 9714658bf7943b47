"""Sequences in HPatches' layout: numbered images of one plane, with the homographies between them.

A sequence is a folder with the images ``1``, ``2``, ... (any picture format; ``img1``, as in the
Oxford set, counts too) and a file ``H_1_k`` (or ``H1tokp``) for each further image, which maps
image 1 to image k; :mod:`engine.data.layouts.sequence_files` knows the other names that are
understood.  Folders named ``i_*`` differ in lighting, ``v_*`` in viewpoint.

Opening reads names and matrices but decodes no picture.  What is broken is reported in a sentence
and left out; the rest stays usable.  Where a folder leaves a choice, of two files with the
homography to one image, say, a sentence reports which one is used.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.data.folders import file_names, natural_key, sub_folders
from engine.data.layouts.building import free_name
from engine.data.layouts.sequence_files import (
    holds_homographies,
    holds_patches,
    looks_like_a_sequence,
    sort_files,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import DatasetError, HomographyError
from engine.geometry.homography import read_homography
from engine.truth.homography import HomographySource

_DEPTH: Final = 6
_MOST_FOLDERS: Final = 20_000
_SHOWN_FOLDERS: Final = 3
_LONGEST_GAP: Final = 20  # missing numbers beyond it are not reported
_EXPECTED: Final = (
    "a sequence has images named 1, 2, ... (such as 1.ppm) and a file H_1_k for each further "
    "image k, and the folder may be one sequence or hold several"
)


class HPatchesReader:
    """Reads folders of numbered images of one plane, with homographies from the first one."""

    word: Final = "hpatches"
    layout: Final = "HPatches sequences"
    group: Final = "sequence"
    expected: Final = "images 1, 2, … and a file H_1_k for each further image k, in folders"

    def recognises(self, root: Path) -> bool:
        """Whether a folder is or holds a sequence with homographies, or patches of HPatches."""
        patches: list[str] = []
        found = root.is_dir() and any(
            holds_homographies(names) for _, names in _candidates(root, [], patches)
        )
        return found or bool(patches)

    def read(self, root: Path) -> PairSet:
        """The sequences in a folder: itself one, or holding some, up to six levels down.

        A group is a sequence with at least one usable pair, named by its folder, with the parent's
        name before it where two have the same one.  Its pairs are image 1 against every other
        image whose homography is usable, and their numbers those of the other images.

        Raises:
            DatasetError: no such folder, or nothing usable in it; the message says what was
                expected and, where something came close, what was wrong with it.
        """
        _check_folder(root)
        found: list[tuple[Path, PairGroup]] = []
        problems: list[str] = []
        patches: list[str] = []
        for folder, names in _candidates(root, problems, patches):
            group = _read_sequence(folder, names)
            problems += group.problems
            if group.pairs:
                found.append((folder, group))
        if patches:
            listed = ", ".join(patches[:_SHOWN_FOLDERS])
            more = ", …" if len(patches) > _SHOWN_FOLDERS else ""
            reason = (
                f"holds patches of HPatches ({listed}{more}), as hpatches-release has them; whole "
                "images with their homographies are in hpatches-sequences-release"
            )
            if not found:
                raise DatasetError(root, reason)
            problems.append(f"{root}: {reason}.")
        if not found:
            first = [problem.removesuffix(".") for problem in problems[:2]]
            wrong = f" ({'; '.join(first)})" if first else ""
            raise DatasetError(root, f"holds no usable sequence{wrong}; {_EXPECTED}")
        counts = Counter(group.name for _, group in found)
        taken = {name for name, count in counts.items() if count == 1}
        groups = []
        for folder, group in found:
            if counts[group.name] > 1:
                name = free_name(f"{_name_of(folder.parent)}/{group.name}", taken)
                taken.add(name)
                group = _renamed(group, name)
            groups.append(group)
        groups.sort(key=lambda group: natural_key(group.name))
        return PairSet(root, self.layout, tuple(groups), tuple(problems))


def kind_of(name: str) -> str:
    """What differs in a sequence, by its name: viewpoint or illumination, "" where it is unknown.

    A folder before the name does not count.
    """
    name = name.rpartition("/")[2]
    if name.startswith("i_"):
        return "illumination"
    return "viewpoint" if name.startswith("v_") else ""


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise DatasetError(folder, "does not exist")
    if not folder.is_dir():
        raise DatasetError(folder, f"is a file, and a folder is wanted: {_EXPECTED}")


def _candidates(
    root: Path, problems: list[str], patches: list[str]
) -> Iterator[tuple[Path, list[str]]]:
    """Folders that look like sequences, with their files; sequences are not searched further.

    Args:
        root: the folder to search, ``_DEPTH`` levels deep.
        problems: receives what cannot be read.
        patches: receives the names of folders that hold patches in place of images.
    """
    waiting = [(root, _DEPTH)]
    count = 0
    while waiting:
        folder, depth = waiting.pop()
        count += 1
        if count > _MOST_FOLDERS:
            rest = f"holds more than {_MOST_FOLDERS} folders, and the rest was not searched"
            problems.append(f"{root}: {rest}.")
            return
        try:
            names = file_names(folder)
            if looks_like_a_sequence(names):
                yield folder, names
            elif holds_patches(names):
                patches.append(_name_of(folder))
            elif depth > 0:
                waiting += [(below, depth - 1) for below in reversed(sub_folders(folder))]
        except DatasetError as error:
            problems.append(str(error))


def _read_sequence(folder: Path, names: list[str]) -> PairGroup:
    """A folder that looks like a sequence, and what is wrong with it; it may have no pair."""
    name = _name_of(folder)
    files = sort_files(sorted(names, key=natural_key))
    choices = [f"{name}: {files.choice}."] if files.choice else []
    problems = []
    missing = "" if 1 in files.images else f"image {files.called(1)} is missing"
    if not missing and not files.matrices:
        missing = "there is no file H_1_k"
    if missing:
        problems.append(f"{name}: {missing}, so the sequence is left out.")
        return PairGroup(name, (), problems=(*choices, *problems))
    pairs = []
    gaps = range(2, min(_LONGEST_GAP, max(*files.images, *files.matrices)))
    for number in sorted({*files.images, *files.matrices, *gaps} - {1}):
        left_out = f"so the pair 1 → {number} is left out"
        called = files.called(number)
        if number not in files.images:
            problems.append(f"{name}: image {called} is missing, {left_out}.")
            continue
        if number not in files.matrices:
            file = f"H_{files.called(1)}_{called}"
            problems.append(f"{name}: the file {file} is missing, {left_out}.")
            continue
        matrix, faults = _read_matrix(folder, files.matrices[number])
        if matrix is None:
            problems += [f"{name}: {fault}, {left_out}." for fault in faults]
            continue
        choices += [f"{name}: {fault}." for fault in faults]
        pairs.append(
            ImagePair(
                path_a=folder / files.images[1],
                path_b=folder / files.images[number],
                truth=HomographySource.of(matrix),
                name=f"{name} 1 → {number}",
                sequence=name,
                index=number,
            )
        )
    return PairGroup(
        name=name,
        pairs=tuple(pairs),
        subset=kind_of(name),
        problems=(*choices, *problems),
        choices=tuple(choices),
    )


def _name_of(folder: Path) -> str:
    """What a folder is called: a link by its own name, as several may lead to one folder."""
    return Path(os.path.abspath(folder)).name  # noqa: PTH100 - resolve() follows links


def _renamed(group: PairGroup, name: str) -> PairGroup:
    """The group under another name; its problems keep the folder's."""
    pairs = tuple(
        replace(pair, name=f"{name} 1 → {pair.index}", sequence=name) for pair in group.pairs
    )
    return replace(group, name=name, pairs=pairs)


def _read_matrix(folder: Path, files: list[str]) -> tuple[NDArray[np.float64] | None, list[str]]:
    """The homography in the first usable one of the files that are named for it.

    Returns:
        The matrix, None if no file is usable; and what is wrong or was chosen, as phrases.
    """
    found: list[tuple[str, NDArray[np.float64]]] = []
    phrases: list[str] = []
    choices: list[str] = []
    for file in files:
        try:
            found.append((file, read_homography(folder / file, choices.append)))
        except HomographyError as error:
            phrases.append(f"{file} {error.reason}")
    if not found:
        return None, phrases[:1]
    (used, matrix), *others = found
    phrases = [f"{phrase}; {used} is used" for phrase in phrases]
    for file, other in others:
        if not np.allclose(matrix, other, rtol=1e-6, atol=1e-9):
            phrases.append(f"{used} is used, not {file}, which differs")
    return matrix, [*phrases, *(choice.removesuffix(".") for choice in choices)]
