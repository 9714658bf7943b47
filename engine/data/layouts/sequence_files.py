"""Which files of a folder are the images and the homographies of a sequence, by their names.

The first image is called ``1``, ``0`` or ``ref``, and the homographies from it ``H_1_k``,
``H1tokp``, ``H_0_k``, ``H_ref_k`` and the like; the case of letters does not matter.  What the
first image is called is settled here: for all others it is number 1, and where the numbers of the
other images begin below 2 they move up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.geometry.matrix_files import MATRIX_SUFFIXES
from engine.images import IMAGE_SUFFIXES

_ONE, _ZERO, _REFERENCE = "1", "0", "ref"
_IMAGE_NAME: Final = re.compile(r"((?:img|image|im)?[_-]?)(\d{1,6}|ref)", re.IGNORECASE)
_MATRIX_NAME: Final = re.compile(
    r"H[_-]?(\d{1,6}|ref)(?:[_-]|[_-]?to[_-]?)(\d{1,6})p?(?:\.\w+)*", re.IGNORECASE
)
# A copy in these formats has lost nothing; HPatches itself has the first one.
_LOSSLESS: Final = (".ppm", ".pgm", ".png", ".tif", ".tiff", ".bmp")
# The files of hpatches-release beside ref.png: easy, hard and tough patches.
_PATCHES_NAME: Final = re.compile(r"[eht][1-5]\.png", re.IGNORECASE)
_FEWEST_PATCHES: Final = 3
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class SequenceFiles:
    """The files of a sequence.

    Attributes:
        reference: what the first image is called.
        shift: what the program's numbers of the other images are above those in the files' names.
        images: file of each image by the program's number; 1 is the first.
        matrices: files that are named for the homography to an image, by its number, in order.
        choice: a phrase on the picture format that was chosen; "" where there was one alone.
    """

    reference: str
    shift: int
    images: dict[int, str]
    matrices: dict[int, list[str]]
    choice: str

    def called(self, number: int) -> str:
        """What the files call an image, by the program's number."""
        return self.reference if number == 1 else str(number - self.shift)


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image file: the word before its number with the ending, and the number or ``ref``."""

    file: str
    format: tuple[str, str]
    word: str


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A file with a homography: from which image, and to which."""

    file: str
    reference: str
    number: int


def looks_like_a_sequence(names: Sequence[str]) -> bool:
    """True with a matrix file, or with an image 1 and another numbered one."""
    words = {picture.word for picture in map(_picture, names) if picture is not None}
    return (_ONE in words and len(words) > 1) or holds_homographies(names)


def holds_homographies(names: Sequence[str]) -> bool:
    """True with a matrix file."""
    return any(map(_matrix, names))


def holds_patches(names: Sequence[str]) -> bool:
    """True for a folder of HPatches' other release, whose files hold patches one below another."""
    count = sum(_PATCHES_NAME.fullmatch(name) is not None for name in names)
    return count >= _FEWEST_PATCHES and any(name.lower() == "ref.png" for name in names)


def sort_files(names: Sequence[str]) -> SequenceFiles:
    """Find the images and the homographies among the files of a folder, in the order given."""
    pictures = [picture for picture in map(_picture, names) if picture is not None]
    matrices = [matrix for matrix in map(_matrix, names) if matrix is not None]
    pictures, matrices, counting = _align(pictures, matrices)
    reference = _find_reference(pictures, matrices)
    matrices = [m for m in matrices if m.reference == reference and str(m.number) != reference]
    words = {picture.word for picture in pictures}
    if reference == _ONE and _ONE not in words:
        pictures = [replace(p, word=_ONE) if p.word == _REFERENCE else p for p in pictures]
    shift = _shift(reference, pictures, matrices)
    wanted = {reference, *(str(matrix.number) for matrix in matrices)}
    files, choice = _choose_files(pictures, wanted)
    choice = "; ".join(filter(None, (counting, choice)))
    images = {
        int(word) + shift: file
        for word, file in files.items()
        if word not in (reference, _REFERENCE) and int(word) + shift > 1
    }
    if reference in files:
        images[1] = files[reference]
    by_number: dict[int, list[str]] = {}
    for matrix in matrices:
        by_number.setdefault(matrix.number + shift, []).append(matrix.file)
    return SequenceFiles(reference, shift, images, by_number, choice)


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - 100,000 times


def _picture(name: str) -> _Picture | None:
    ending = _ending(name)
    match = _IMAGE_NAME.fullmatch(name[: len(name) - len(ending)])
    if match is None or ending not in IMAGE_SUFFIXES:
        return None
    return _Picture(name, (match[1].lower(), ending), _word(match[2]))


def _matrix(name: str) -> _Matrix | None:
    match = _MATRIX_NAME.fullmatch(name)
    if match is None or _ending(name) not in MATRIX_SUFFIXES:
        return None
    return _Matrix(name, _word(match[1]), int(match[2]))


def _word(text: str) -> str:
    return str(int(text)) if text.isdecimal() else text.lower()


def _align(
    pictures: list[_Picture], matrices: list[_Matrix]
) -> tuple[list[_Picture], list[_Matrix], str]:
    """Let images and homographies count from 1 where some count from 0 and the others from 1.

    Only where each image then has its homography, and each homography its image.

    Returns:
        Both, those that count from 0 moved up; and a phrase on that, "" if they agree.
    """
    words = {picture.word for picture in pictures}
    images = {int(word) for word in words if word.isdecimal()}
    starts = {matrix.reference for matrix in matrices}
    if _REFERENCE in words or len(starts) != 1 or not images:
        return pictures, matrices, ""
    (start,) = starts
    linked = {int(start), *(m.number for m in matrices)} if start in (_ZERO, _ONE) else set()
    if start == _ONE and linked == {number + 1 for number in images}:
        moved = [replace(picture, word=str(int(picture.word) + 1)) for picture in pictures]
        return moved, matrices, "its images count from 0 and its homographies from 1"
    if start == _ZERO and linked == {number - 1 for number in images}:
        raised = [replace(m, reference=_ONE, number=m.number + 1) for m in matrices]
        return pictures, raised, "its images count from 1 and its homographies from 0"
    return pictures, matrices, ""


def _find_reference(pictures: list[_Picture], matrices: list[_Matrix]) -> str:
    """What the first image is called: 1, unless the homographies start from another one."""
    starts = [matrix.reference for matrix in matrices]
    words = {picture.word for picture in pictures}
    usual = (_ONE, _REFERENCE, _ZERO)
    complete = [one for one in usual if one in starts and one in words]
    begun = [one for one in usual if one in starts]
    return next(iter((*complete, *begun)), _ONE)


def _shift(reference: str, pictures: list[_Picture], matrices: list[_Matrix]) -> int:
    """What is added to the other images' numbers, so that they begin at 2 at least."""
    if reference == _ONE:
        return 0
    numbers = [int(picture.word) for picture in pictures if picture.word.isdecimal()]
    others = [number for number in numbers if str(number) != reference]
    return max(0, 2 - min([*others, *(matrix.number for matrix in matrices)], default=2))


def _choose_files(pictures: list[_Picture], wanted: set[str]) -> tuple[dict[str, str], str]:
    """One file for each image: in the format in which the sequence is complete.

    Among several such formats a lossless one comes first, then the order of names decides.

    Returns:
        The files by number or ``ref``, and a phrase on what was chosen, "" without a choice.
    """
    held: dict[tuple[str, str], set[str]] = {}
    for picture in pictures:
        held.setdefault(picture.format, set()).add(picture.word)
    order = sorted(
        held,
        key=lambda one: (
            -len(held[one] & wanted),
            _LOSSLESS.index(one[1]) if one[1] in _LOSSLESS else len(_LOSSLESS),
        ),
    )
    files: dict[str, str] = {}
    for picture in sorted(pictures, key=lambda picture: order.index(picture.format)):
        files.setdefault(picture.word, picture.file)
    twice = [one for one in pictures if one.word in wanted and files[one.word] != one.file]
    if not twice:
        return files, ""
    if len(twice) == 1:
        (one,) = twice
        return files, f"image {one.word} is there twice; {files[one.word]} is used"
    listed = ", ".join(picture.file for picture in twice[:_SHOWN])
    more = ", …" if len(twice) > _SHOWN else ""
    used = f"{order[0][0]}*{order[0][1]}"
    return files, f"{len(twice)} images are there twice; {used} is used, not {listed}{more}"
