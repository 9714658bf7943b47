"""Which images weights learned from; on a set that holds any of them, they are not reported.

Weights that learned from pairs of a set carry the marks of these pairs' images in their header, and
so do weights that were trained on from them.  A mark is the length and the SHA-256 of the image
file, so a copy is recognised under any name and in any folder; an image that was encoded anew is
another one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.checkpoints import read_header
from engine.data.layouts import group_word
from engine.descriptors.registry import DescriptorSpec
from engine.errors import DatasetError, ImageError, WeightsError
from engine.evaluation.datasets import EvaluationSet
from engine.files import input_size, sha256_of
from engine.vocabulary import counted, some_of

HEADER_NAME: Final = "learned_images"
"""Under this name the header of a weights file holds the marks."""

_HASH_DIGITS: Final = 64


@dataclass(frozen=True, slots=True, order=True)
class ImageMark:
    """What tells an image file from all others, wherever it lies.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        size_bytes: how many there are; files of other sizes need not be read.
    """

    sha256: str
    size_bytes: int


Marks = frozenset[ImageMark]
NO_MARKS: Final[Marks] = frozenset()


def mark_image(path: Path) -> ImageMark:
    """The mark of an image file.

    Raises:
        ImageError: it cannot be read.
    """
    return ImageMark(sha256_of(path, ImageError), input_size(path, ImageError))


def shared_images(paths: Iterable[Path], marks: Collection[ImageMark]) -> tuple[Path, ...]:
    """The files that have one of the marks, each once; those that cannot be read have none."""
    if not marks:
        return ()
    sizes = {mark.size_bytes for mark in marks}
    return tuple(path for path in dict.fromkeys(paths) if _is_among(path, marks, sizes))


def _is_among(path: Path, marks: Collection[ImageMark], sizes: Collection[int]) -> bool:
    try:
        return input_size(path, ImageError) in sizes and mark_image(path) in marks
    except ImageError:  # whoever needs its pixels says so
        return False


def images_of(dataset: EvaluationSet) -> tuple[Path, ...]:
    """The image files of all pairs, each once."""
    pairs = (one.pair for one in dataset.pairs())
    return tuple(dict.fromkeys(path for pair in pairs for path in (pair.path_a, pair.path_b)))


def header_text(marks: Marks) -> str:
    """Marks as the header of a weights file holds them; :func:`learned_from` reads them back."""
    return json.dumps({mark.sha256: mark.size_bytes for mark in sorted(marks)})


def learned_by(spec: DescriptorSpec) -> Marks:
    """The images that the weights of a descriptor learned from, as far as its files tell.

    Raises:
        ConfigError: a setting has a wrong value.
        WeightsError: a file cannot be read, or holds something else among its marks.
    """
    named = [value for name, value in spec.settings if "weights" in name and value]
    own = spec.weights_file
    files = dict.fromkeys(Path(str(one)) for one in (*named, *([] if own is None else [own])))
    return NO_MARKS.union(*(learned_from(file) for file in files if file.is_file()))


def learned_from(weights: Path) -> Marks:
    """The images that the weights in a file learned from, as far as its header tells.

    Raises:
        WeightsError: the file cannot be read, or holds something else among its marks.
    """
    text = read_header(weights).get(HEADER_NAME, "")
    if not text:
        return NO_MARKS
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(map(_is_mark, values, values.values())):
        raise WeightsError(weights, f"holds no hashes of images under {HEADER_NAME} in its header")
    return frozenset(ImageMark(sha256, size_bytes) for sha256, size_bytes in values.items())


def _is_mark(sha256: str, size_bytes: Any) -> bool:
    return len(sha256) == _HASH_DIGITS and type(size_bytes) is int and size_bytes >= 0


def groups_with(dataset: EvaluationSet, images: Collection[Path]) -> tuple[str, ...]:
    """The names of the groups that have any of these images."""
    return tuple(
        group[0].pair.sequence
        for group in dataset.groups
        if any(one.pair.path_a in images or one.pair.path_b in images for one in group)
    )


def check_not_learned(
    dataset: EvaluationSet, label: str, marks: Marks, *, can_leave_out: bool = False
) -> None:
    """Refuse to report weights on images that they learned from.

    Args:
        dataset: what they would be reported on.
        label: what the descriptor with these weights is called.
        marks: of the images that they learned from.
        can_leave_out: whether the command has ``--without-learned``, for the message.

    Raises:
        DatasetError: the set holds some of these images; the message says how many and where.
    """
    if not marks:
        return
    images = images_of(dataset)
    shared = frozenset(shared_images(images, marks))
    if not shared:
        return
    groups, word = groups_with(dataset, shared), group_word(dataset.layout)
    rest = len(dataset.groups) - len(groups)
    way = "report another set"
    if rest and can_leave_out:
        way = f"--without-learned reports the other {counted(rest, word)}"
    raise DatasetError(
        dataset.root,
        f"cannot be reported: the weights of {label} learned from {len(shared)} of its "
        f"{len(images)} images, in {some_of(groups)}; {way}",
    )
