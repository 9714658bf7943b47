"""Sequences in HPatches' layout: numbered images of one plane, with the homographies between them.

A sequence is a folder with the images ``1``, ``2``, ... (any picture format; ``img1``, as in the
Oxford set, counts too) and a file ``H_1_k`` (or ``H1tokp``) for each further image, which maps
image 1 to image k.  Folders named ``i_*`` differ in lighting, ``v_*`` in viewpoint.  A folder with
exactly two pictures and no numbers is a free pair, without truth.

Opening reads names and matrices but decodes no picture.  What is broken is reported in a sentence
and left out; the rest stays usable.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.pairs import ImagePair
from engine.errors import DatasetError, HomographyError, file_errors, quoted
from engine.geometry.homography import read_homography
from engine.images import IMAGE_SUFFIXES
from engine.vocabulary import SequenceKind

Subset = Literal["all", "viewpoint", "illumination"]

_IMAGE_NAME: Final = re.compile(r"(?:img)?(\d{1,6})", re.IGNORECASE)
_MATRIX_NAME: Final = re.compile(r"H_?1(?:_|to)(\d{1,6})p?(?:\.(?:txt|csv|json|npy))?")
_DEPTH: Final = 2
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
        numbers: the images' numbers, ascending, the first one 1.
        images: their files.
        homographies: for each image ``(3, 3)`` ``h_k_from_1`` in original pixels, the identity for
            image 1; None where the file is missing or unusable.
        kind: by the folder's name.
        problems: a sentence for everything that was left out.
    """

    name: str
    folder: Path
    numbers: tuple[int, ...]
    images: tuple[Path, ...]
    homographies: tuple[NDArray[np.float64] | None, ...] = field(compare=False)
    kind: SequenceKind
    problems: tuple[str, ...] = ()

    def pairs(self) -> tuple[ImagePair, ...]:
        """Image 1 against every other image whose homography is usable."""
        return tuple(
            ImagePair(
                path_a=self.images[0],
                path_b=image,
                h_b_from_a=h_k_from_1,
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
    """Find the sequences in a folder: itself one, or holding some, up to two levels down.

    Raises:
        DatasetError: no such folder, or nothing usable in it; the message says what was expected
            and, where something came close, what was wrong with it.
    """
    root = Path(path)
    _check_folder(root)
    found = []
    problems: list[str] = []
    for folder, names in _candidates(root, _DEPTH, problems):
        sequence, faults = _read_sequence(folder, names)
        problems += faults
        if sequence is not None:
            found.append(sequence)
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
    folder = Path(folder)
    _check_folder(folder)
    names = _file_names(folder)
    pictures = sorted((name for name in names if _is_picture(name)), key=natural_key)
    if len(pictures) != 2:
        raise DatasetError(folder, f"holds {len(pictures)} pictures, and a pair has two")
    first, second = (folder / name for name in pictures)
    return ImagePair(path_a=first, path_b=second, name=f"{folder.resolve().name}")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``img2`` before ``img10``, whatever the case of letters."""
    parts = re.split(r"(\d+)", name.casefold())
    numbers = (part.isdecimal() and part.isascii() for part in parts)
    return tuple(
        (0, int(part), "") if is_number else (1, 0, part)
        for part, is_number in zip(parts, numbers, strict=True)
        if part
    )


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise DatasetError(folder, "does not exist")
    if not folder.is_dir():
        raise DatasetError(folder, f"is a file, and a folder is wanted: {_EXPECTED}")


def _file_names(folder: Path) -> list[str]:
    """Names of the files in a folder, hidden ones left out."""
    with file_errors(DatasetError, folder, "cannot be read"), os.scandir(folder) as entries:
        return [e.name for e in entries if not e.name.startswith(".") and e.is_file()]


def _sub_folders(folder: Path) -> list[Path]:
    """Folders in a folder in natural order, hidden ones left out."""
    with file_errors(DatasetError, folder, "cannot be read"), os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    return [folder / name for name in sorted(names, key=natural_key)]


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - 100,000 times


def _image_number(name: str) -> int | None:
    match = _IMAGE_NAME.fullmatch(os.path.splitext(name)[0])  # noqa: PTH122
    return int(match[1]) if match and _is_picture(name) else None


def _looks_like_a_sequence(names: list[str]) -> bool:
    """True with a matrix file, or with an image 1 and another numbered one."""
    numbers = {_image_number(name) for name in names} - {None}
    return (1 in numbers and len(numbers) > 1) or any(_MATRIX_NAME.fullmatch(n) for n in names)


def _candidates(folder: Path, depth: int, problems: list[str]) -> Iterator[tuple[Path, list[str]]]:
    """Folders that look like sequences, with their files; sequences are not searched further."""
    try:
        names = _file_names(folder)
        if _looks_like_a_sequence(names):
            yield folder, names
            return
        below = _sub_folders(folder) if depth > 0 else []
    except DatasetError as error:
        problems.append(str(error))
        return
    for sub_folder in below:
        yield from _candidates(sub_folder, depth - 1, problems)


def _read_sequence(folder: Path, names: list[str]) -> tuple[Sequence | None, list[str]]:
    """A folder that looks like a sequence, and what is wrong with it; None if nothing is usable."""
    name = folder.resolve().name
    problems: list[str] = []
    images: dict[int, str] = {}
    matrices: dict[int, str] = {}
    for file in sorted(names, key=natural_key):
        number = _image_number(file)
        match = _MATRIX_NAME.fullmatch(file)
        if number is not None and number in images:
            problems.append(f"{name}: image {number} is there twice; {images[number]} is used.")
        elif number is not None:
            images[number] = file
        elif match and int(match[1]) not in matrices:
            matrices[int(match[1])] = file
    images.pop(0, None)
    if 1 not in images:
        problems.append(f"{name}: image 1 is missing, so the sequence is left out.")
        return None, problems
    if not matrices:
        problems.append(f"{name}: there is no file H_1_k, so the sequence is left out.")
        return None, problems
    homographies: dict[int, NDArray[np.float64] | None] = {1: np.eye(3)}
    gaps = range(2, min(_LONGEST_GAP, max(*images, *matrices)))
    for number in sorted({*images, *matrices, *gaps} - {1}):
        left_out = f"so the pair 1 → {number} is left out"
        if number not in images:
            problems.append(f"{name}: image {number} is missing, {left_out}.")
            continue
        homographies[number] = None
        if number not in matrices:
            problems.append(f"{name}: the file H_1_{number} is missing, {left_out}.")
            continue
        try:
            homographies[number] = read_homography(folder / matrices[number])
        except HomographyError as error:
            problems.append(f"{name}: {matrices[number]} {error.reason}, {left_out}.")
    numbers = tuple(sorted(homographies))
    sequence = Sequence(
        name=name,
        folder=folder,
        numbers=numbers,
        images=tuple(folder / images[number] for number in numbers),
        homographies=tuple(homographies[number] for number in numbers),
        kind=kind_of(name),
        problems=tuple(problems),
    )
    return (sequence if sequence.pairs() else None), problems


def kind_of(name: str) -> SequenceKind:
    """What differs in a sequence, by its name; a folder before it does not count."""
    name = name.rpartition("/")[2]
    if name.startswith("i_"):
        return "illumination"
    return "viewpoint" if name.startswith("v_") else "other"
