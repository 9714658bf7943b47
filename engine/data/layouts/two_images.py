"""A folder with just two pictures: one pair, without truth."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.data.folders import file_names, is_picture, natural_key
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import DatasetError


class TwoImagesReader:
    """Reads a folder that holds exactly two pictures, in natural order of their names."""

    word: Final = "two-images"
    layout: Final = "two images"
    group: Final = "pair"
    expected: Final = "a folder with exactly two pictures"

    def recognises(self, root: Path) -> bool:
        """Whether a folder holds two pictures."""
        return root.is_dir() and len(_pictures(root)) == 2

    def read(self, root: Path) -> PairSet:
        """One group with one pair, both of the folder's name.

        Raises:
            DatasetError: no such folder, or another number of pictures in it.
        """
        if not root.is_dir():
            raise DatasetError(root, "is no folder" if root.exists() else "does not exist")
        pictures = _pictures(root)
        if len(pictures) != 2:
            raise DatasetError(root, f"holds {len(pictures)} pictures, and a pair has two")
        first, second = (root / name for name in pictures)
        name = root.resolve().name
        pair = ImagePair(path_a=first, path_b=second, name=name, sequence=name, index=1)
        return PairSet(root, self.layout, (PairGroup(name, (pair,)),))


def _pictures(folder: Path) -> list[str]:
    return sorted(filter(is_picture, file_names(folder)), key=natural_key)
