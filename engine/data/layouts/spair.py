"""The layout of SPair-71k: ``JPEGImages/CLASS``, ``PairAnnotation/SPLIT`` and ``Layout/large``.

J. Min and others, "SPair-71k: a large-scale benchmark for semantic correspondence",
arXiv:1908.10543, 2019.  A pair's file is called ``NUMBER-SOURCE-TARGET:CLASS.json``, which tells
its images and its class, so that no annotation is opened before its pair is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.data.folders import file_names, natural_key, sub_folders
from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    left_out,
    pictures_by_stem,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import DatasetError
from engine.files import read_input
from engine.truth.landmarks import LandmarksSource

_IMAGES, _PAIRS, _LISTS = "JPEGImages", "PairAnnotation", "Layout"
_SIZES: Final = ("large", "small")
# Where file systems allow no colon, copies have an underscore.
_PAIR_NAME: Final = re.compile(r"(\d+)-([^-]+)-([^-]+)[:_]([A-Za-z]+)")
_DEPTH: Final = 1


class SPairReader:
    """Reads SPair-71k: a group for each class of each split."""

    word: Final = "spair"
    layout: Final = "SPair-71k"
    group: Final = "class"
    expected: Final = (
        "the folders JPEGImages and PairAnnotation, and Layout with the lists of splits"
    )

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one in it, holds JPEGImages and PairAnnotation."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """The splits are subsets, the classes of each are groups.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup] = []
        for folder, _ in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            images = {
                below.name: {
                    stem: below / name for stem, name in pictures_by_stem(file_names(below)).items()
                }
                for below in sub_folders(folder / _IMAGES)
            }
            for split in sub_folders(folder / _PAIRS):
                groups += _read_split(folder, split, images, problems)
        return finished_set(self, root, groups, problems)


Images = dict[str, dict[str, Path]]
"""For each class the images by their names without the ending."""


@dataclass(frozen=True, slots=True)
class _Pair:
    number: int
    source: str
    target: str
    file: str


def _fits(folder: Path, _names: Sequence[str]) -> bool:
    return (folder / _IMAGES).is_dir() and (folder / _PAIRS).is_dir()


def _read_split(
    folder: Path, split: Path, images: Images, problems: list[str]
) -> Iterator[PairGroup]:
    """The groups of a split, a class each."""
    there = {name.removesuffix(".json"): name for name in file_names(split) if _is_json(name)}
    wanted = _listed(folder, split.name, problems)
    faults: Counter[str] = Counter()
    by_class: dict[str, list[_Pair]] = {}
    for name in sorted(there) if wanted is None else wanted:
        match = _PAIR_NAME.fullmatch(name)
        file = there.get(name) or there.get(name.replace(":", "_"))
        if match is None:
            faults["their names are not NUMBER-SOURCE-TARGET:CLASS"] += 1
        elif file is None:
            faults[f"their files are missing in {_PAIRS}/{split.name}"] += 1
        elif not {match[2], match[3]} <= images.get(match[4], {}).keys():
            faults[f"an image is missing in {_IMAGES}"] += 1
        else:
            pair = _Pair(int(match[1]), match[2], match[3], file)
            by_class.setdefault(match[4], []).append(pair)
    problems += left_out(split.name, "pair", faults)
    for word, found in sorted(by_class.items(), key=lambda item: natural_key(item[0])):
        yield _group(split, word, found, images)


def _group(split: Path, word: str, found: list[_Pair], images: Images) -> PairGroup:
    group = f"{split.name}/{word}"
    shown = images[word]
    pairs = tuple(
        ImagePair(
            shown[one.source],
            shown[one.target],
            LandmarksSource(split / one.file),
            name=f"{group} {one.source} → {one.target}",
            sequence=group,
            index=one.number,
        )
        for one in sorted(found, key=lambda one: one.number)
    )
    return PairGroup(group, pairs, split.name)


def _listed(folder: Path, split: str, problems: list[str]) -> list[str] | None:
    """The names of a split's pairs in ``Layout``; None where there is no list."""
    for size in _SIZES:
        path = folder / _LISTS / size / f"{split}.txt"
        if path.is_file():
            try:
                lines = read_input(path, DatasetError).decode(errors="replace").splitlines()
            except DatasetError as error:
                problems.append(str(error))
                continue
            return [line.strip().removesuffix(".json") for line in lines if line.strip()]
    return None


def _is_json(name: str) -> bool:
    return name.endswith(".json")
