"""The layout of the set homogr: ``NAMEA.jpg``, ``NAMEB.jpg`` and ``NAME_H_A_to_B.txt``.

Planar pairs of K. Lebeda, J. Matas and O. Chum, "Fixing the locally optimized RANSAC", BMVC 2012,
with the homographies as text; the matrix maps points of A to points of B.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.data.folders import natural_key
from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    homography_pair,
    pictures_by_stem,
)
from engine.data.pair_set import PairGroup, PairSet

_MATRIX_NAME: Final = re.compile(r"(.+)_H_A_to_B(?:\.\w+)?", re.IGNORECASE)
_DEPTH: Final = 1


class HomogrReader:
    """Reads folders of image pairs ``NAMEA``, ``NAMEB`` with a homography each."""

    word: Final = "homogr"
    layout: Final = "homogr"
    group: Final = "pair"
    expected: Final = "NAMEA.jpg, NAMEB.jpg and NAME_H_A_to_B.txt for each pair, in one folder"

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one in it, holds a file ``*_H_A_to_B*``."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """A group for each matrix.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup | None] = []
        for folder, names in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            pictures = pictures_by_stem(names)
            for matrix in sorted(names, key=natural_key):
                match = _MATRIX_NAME.fullmatch(matrix)
                if match is None:
                    continue
                name = match[1]
                images = [f"{name}{side}" for side in "AB"]
                missing = [image for image in images if image not in pictures]
                if missing:
                    problems.append(
                        f"{name}: image {missing[0]} is missing, so the pair is left out."
                    )
                    continue
                a, b = (folder / pictures[image] for image in images)
                groups.append(homography_pair(name, a, b, folder / matrix, problems))
        return finished_set(self, root, groups, problems)


def _fits(_folder: Path, names: Sequence[str]) -> bool:
    return any(map(_MATRIX_NAME.fullmatch, names))
