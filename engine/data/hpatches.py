"""Sequences in HPatches' layout: numbered images of one plane, with the homographies between them.

A sequence is a folder with the images ``1``, ``2``, ... (any picture format; ``img1``, as in the
Oxford set, counts too) and a file ``H_1_k`` (or ``H1tokp``) for each further image, which maps
image 1 to image k; :mod:`engine.data.sequence_files` knows the other names that are understood.
Folders named ``i_*`` differ in lighting, ``v_*`` in viewpoint.  A folder with exactly two pictures
and no numbers is a free pair, without truth.

Opening reads names and matrices but decodes no picture.  What is broken is reported in a sentence
and left out; the rest stays usable.  Where a folder leaves a choice, of two files with the
homography to one image, say, a sentence reports which one is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.folders import file_names, is_picture, natural_key, sub_folders
from engine.data.pairs import ImagePair
from engine.data.sequence_files import (
    holds_homographies,
    holds_patches,
    looks_like_a_sequence,
    sort_files,
)
from engine.errors import DatasetError, HomographyError, quoted
from engine.files import named_path
from engine.geometry.homography import read_homography
from engine.truth.homography import HomographySource
from engine.vocabulary import SequenceKind

Subset = Literal["all", "viewpoint", "illumination"]

_DEPTH: Final = 6
_MOST_FOLDERS: Final = 20_000
_SHOWN_FOLDERS: Final = 3
_LONGEST_GAP: Final = 20  # missing numbers beyond it are not reported
_EXPECTED: Final = (
    "a sequence has images named 1, 2, ... (such as 1.ppm) and a file H_1_k for each further "
    "image k, and the folder may be one sequence or hold several"
)


@dataclass(frozen=True, slots=True)
class Sequence:
    """One plane, seen several times.

    Attributes:
        name: its folder's name, with the parent's before it where two have the same name.
        folder: where it is.
        numbers: the images' numbers, ascending, the first one 1, whatever its file is called.
        images: their files.
        homographies: for each image ``(3, 3)`` ``h_k_from_1`` in original pixels, the identity for
            image 1; None where the file is missing or unusable.
        kind: by the folder's name.
        problems: a sentence for everything that was left out or chosen.
        choices: those among them that say what was chosen.
    """

    name: str
    folder: Path
    numbers: tuple[int, ...]
    images: tuple[Path, ...]
    homographies: tuple[NDArray[np.float64] | None, ...] = field(compare=False)
    kind: SequenceKind
    problems: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    def pairs(self) -> tuple[ImagePair, ...]:
        """Image 1 against every other image whose homography is usable."""
        return tuple(
            ImagePair(
                path_a=self.images[0],
                path_b=image,
                truth=HomographySource.of(h_k_from_1),
                name=f"{self.name} 1 → {number}",
                sequence=self.name,
                index=number,
            )
            for number, image, h_k_from_1 in zip(
                self.numbers[1:], self.images[1:], self.homographies[1:], strict=True
            )
            if h_k_from_1 is not None
        )

    def pair(self, index: int) -> ImagePair:
        """The pair of image 1 and image ``index`` (2 to 6 in HPatches).

        Raises:
            DatasetError: there is no such pair, or it was left out; the message says why.
        """
        pairs = self.pairs()
        for pair in pairs:
            if pair.index == index:
                return pair
        known = ", ".join(str(pair.index) for pair in pairs)
        why = [problem for problem in self.problems if f"1 → {index} " in problem]
        reason = f" ({why[0].removesuffix('.')})" if why else ""
        raise DatasetError(
            self.folder, f"there is no pair 1 → {index}{reason}; there are pairs to {known}"
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """The sequences below a folder.

    Attributes:
        root: the folder that was opened.
        sequences: those with at least one usable pair, in natural order of their names.
        problems: every problem of every sequence, also of those that were left out whole.
    """

    root: Path
    sequences: tuple[Sequence, ...]
    problems: tuple[str, ...] = ()

    def pairs(self) -> tuple[ImagePair, ...]:
        """All pairs, sequence by sequence."""
        return tuple(pair for sequence in self.sequences for pair in sequence.pairs())

    def sequence(self, name: str) -> Sequence:
        """The sequence of this name.

        Raises:
            DatasetError: there is none.
        """
        for sequence in self.sequences:
            if sequence.name == name:
                return sequence
        raise DatasetError(self.root, f"there is no usable sequence {quoted(name)}")


def open_dataset(path: Path) -> Dataset:
    """Find the sequences in a folder: itself one, or holding some, up to six levels down.

    Raises:
        DatasetError: no such folder, or nothing usable in it; the message says what was expected
            and, where something came close, what was wrong with it.
    """
    root = named_path(path, DatasetError)
    _check_folder(root)
    found = []
    problems: list[str] = []
    patches: list[str] = []
    for folder, names in _candidates(root, problems, patches):
        sequence, faults = _read_sequence(folder, names)
        problems += faults
        if sequence is not None:
            found.append(sequence)
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
    counts = Counter(sequence.name for sequence in found)
    named = [
        replace(s, name=f"{s.folder.parent.name}/{s.name}") if counts[s.name] > 1 else s
        for s in found
    ]
    named.sort(key=lambda sequence: natural_key(sequence.name))
    return Dataset(root, tuple(named), tuple(problems))


def holds_sequences(root: Path) -> bool:
    """Whether a folder is or holds a sequence with homographies, or patches of HPatches."""
    patches: list[str] = []
    found = any(holds_homographies(names) for _, names in _candidates(root, [], patches))
    return found or bool(patches)


def subset(dataset: Dataset, which: Subset) -> Dataset:
    """The sequences of one kind; it may come out empty."""
    if which == "all":
        return dataset
    kept = tuple(sequence for sequence in dataset.sequences if sequence.kind == which)
    return replace(dataset, sequences=kept)


def pair_from_folder(folder: Path) -> ImagePair:
    """Open a folder that holds exactly two pictures as a pair without truth, in natural order.

    Raises:
        DatasetError: no such folder, or another number of pictures in it.
    """
    folder = named_path(folder, DatasetError)
    _check_folder(folder)
    names = file_names(folder)
    pictures = sorted((name for name in names if is_picture(name)), key=natural_key)
    if len(pictures) != 2:
        raise DatasetError(folder, f"holds {len(pictures)} pictures, and a pair has two")
    first, second = (folder / name for name in pictures)
    return ImagePair(path_a=first, path_b=second, name=f"{folder.resolve().name}")


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
                patches.append(folder.resolve().name)
            elif depth > 0:
                waiting += [(below, depth - 1) for below in reversed(sub_folders(folder))]
        except DatasetError as error:
            problems.append(str(error))


def _read_sequence(folder: Path, names: list[str]) -> tuple[Sequence | None, list[str]]:
    """A folder that looks like a sequence, and what is wrong with it; None if nothing is usable."""
    name = folder.resolve().name
    files = sort_files(sorted(names, key=natural_key))
    choices = [f"{name}: {files.choice}."] if files.choice else []
    problems = []
    missing = "" if 1 in files.images else f"image {files.called(1)} is missing"
    if not missing and not files.matrices:
        missing = "there is no file H_1_k"
    if missing:
        problems.append(f"{name}: {missing}, so the sequence is left out.")
        return None, [*choices, *problems]
    homographies: dict[int, NDArray[np.float64] | None] = {1: np.eye(3)}
    gaps = range(2, min(_LONGEST_GAP, max(*files.images, *files.matrices)))
    for number in sorted({*files.images, *files.matrices, *gaps} - {1}):
        left_out = f"so the pair 1 → {number} is left out"
        called = files.called(number)
        if number not in files.images:
            problems.append(f"{name}: image {called} is missing, {left_out}.")
            continue
        homographies[number] = None
        if number not in files.matrices:
            file = f"H_{files.called(1)}_{called}"
            problems.append(f"{name}: the file {file} is missing, {left_out}.")
            continue
        matrix, faults = _read_matrix(folder, files.matrices[number])
        homographies[number] = matrix
        if matrix is None:
            problems += [f"{name}: {fault}, {left_out}." for fault in faults]
        else:
            choices += [f"{name}: {fault}." for fault in faults]
    numbers = tuple(sorted(homographies))
    sequence = Sequence(
        name=name,
        folder=folder,
        numbers=numbers,
        images=tuple(folder / files.images[number] for number in numbers),
        homographies=tuple(homographies[number] for number in numbers),
        kind=kind_of(name),
        problems=(*choices, *problems),
        choices=tuple(choices),
    )
    return (sequence if sequence.pairs() else None), list(sequence.problems)


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


def kind_of(name: str) -> SequenceKind:
    """What differs in a sequence, by its name; a folder before it does not count."""
    name = name.rpartition("/")[2]
    if name.startswith("i_"):
        return "illumination"
    return "viewpoint" if name.startswith("v_") else "other"
