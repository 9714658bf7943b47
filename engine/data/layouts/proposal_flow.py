"""The layouts of PF-PASCAL and PF-WILLOW: CSV lists of image pairs with landmarks.

B. Ham and others, "Proposal Flow: semantic correspondences from object proposals", TPAMI 2018.
The lists are those of I. Rocco, R. Arandjelović and J. Sivic, "Convolutional neural network
architecture for geometric matching", CVPR 2017: ``source_image``, ``target_image``, ``class`` and
the landmarks in ``XA``, ``YA``, ``XB``, ``YB``; or ``imageA``, ``imageB`` and ``XA1`` … ``YB10``.
Rows without landmarks have them in ``Annotations/CLASS/NAME.mat``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from engine.data.folders import natural_key
from engine.data.layouts.building import finished_set, first_line, fitting_folders, left_out
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import TruthError
from engine.files import is_file_there
from engine.truth.landmarks import LandmarksSource, read_table

_IMAGES, _MARKS = "JPEGImages", "Annotations"
_HEADERS: Final = (("source_image", "target_image"), ("imageA", "imageB"))
_CLASSES: Final = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
"""What the lists number from 1: the classes of PASCAL VOC."""
_DEPTH: Final = 1


class ProposalFlowReader:
    """Reads the lists of PF-PASCAL and PF-WILLOW: a group for each class of each list."""

    word: Final = "proposal-flow"
    layout: Final = "PF-PASCAL or PF-WILLOW"
    group: Final = "class"
    expected: Final = (
        "a CSV list with source_image, target_image, XA, YA, XB and YB, and the images"
    )

    def recognises(self, root: Path) -> bool:
        """Whether a file is such a list, or a folder, or one in it, holds one."""
        return _is_list(root) or any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """The lists are subsets, the classes of each are groups.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        lists = [root] if root.is_file() else []
        for folder, names in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            paths = (folder / name for name in sorted(names, key=natural_key))
            lists += [path for path in paths if _is_list(path)]
        groups = [group for path in lists for group in _read_list(path, problems)]
        return finished_set(self, root, groups, problems)


def _fits(folder: Path, names: Sequence[str]) -> bool:
    return any(name.endswith(".csv") and _is_list(folder / name) for name in names)


def _is_list(path: Path) -> bool:
    """Whether a table's first line names the columns of these lists."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    columns = {name.strip() for name in first_line(path).split(",")}
    return any(set(names) <= columns for names in _HEADERS)


def _read_list(path: Path, problems: list[str]) -> list[PairGroup]:
    split = path.stem.partition("_pairs")[0]
    try:
        rows = read_table(path)
    except TruthError as error:
        problems.append(str(error))
        return []
    base = _base(path, rows)
    pairs: dict[str, list[ImagePair]] = {}
    faults: Counter[str] = Counter()
    for number, row in enumerate(rows):
        names = next((keys for keys in _HEADERS if set(keys) <= set(row)), None)
        if names is None or base is None:
            faults["their images are missing"] += 1
            continue
        if row.get("flip", "0") not in ("", "0"):
            faults["they are mirrored copies of others"] += 1
            continue
        a, b = (_image(base, row[name]) for name in names)
        if not (is_file_there(a) and is_file_there(b)):
            faults["their images are missing"] += 1
            continue
        word = _class_of(row, a)
        truth = _truth(path, number, row, (a, b), word)
        if truth is None:
            faults[f"their landmarks are missing in {_MARKS}"] += 1
            continue
        group = f"{split}/{word}"
        pair = ImagePair(
            a, b, truth, f"{group} {a.stem} → {b.stem}", sequence=group, index=number + 1
        )
        pairs.setdefault(group, []).append(pair)
    problems += left_out(path.name, "row", faults)
    return [PairGroup(group, tuple(found), split) for group, found in pairs.items()]


def _base(path: Path, rows: Sequence[Mapping[str, str]]) -> Path | None:
    """The folder from which the list names its images; None where there are none."""
    for row in rows:
        name = next((row[keys[0]] for keys in _HEADERS if keys[0] in row), "")
        for base in (path.parent, path.parent.parent, path.parent / _IMAGES):
            if name and is_file_there(_image(base, name)):
                return base
    return None


def _image(base: Path, name: str) -> Path:
    """A file that a list names, in its folder or, moved there, right in the base."""
    relative = PurePosixPath(name)
    return base / (relative.name if base.name == _IMAGES else relative)


def _class_of(row: Mapping[str, str], image: Path) -> str:
    number = row.get("class", "")
    if number.isascii() and number.isdecimal() and 1 <= int(number) <= len(_CLASSES):
        return _CLASSES[int(number) - 1]
    return number or image.parent.name


def _truth(
    path: Path, number: int, row: Mapping[str, str], images: tuple[Path, Path], word: str
) -> LandmarksSource | None:
    """The landmarks of a row: in the list itself, else in a file for each image."""
    if "XA" in row or "XA1" in row:
        return LandmarksSource(path, row=number)
    marks = [image.parent.parent / _MARKS / word / f"{image.stem}.mat" for image in images]
    if not all(is_file_there(mark) for mark in marks):
        return None
    return LandmarksSource(marks[0], marks[1])
