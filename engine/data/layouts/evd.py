"""The layout of EVD: ``1/NAME.png``, ``2/NAME.png`` and ``h/NAME.txt``.

The Extreme View Dataset of D. Mishkin, J. Matas and M. Perdoch, "MODS: fast and robust method for
two-view matching", CVIU 2015.  The matrix maps points of the image in ``1`` to the one in ``2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.data.folders import file_names, natural_key
from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    homography_pair,
    pictures_by_stem,
)
from engine.data.pair_set import PairGroup, PairSet

_FOLDERS: Final = ("1", "2", "h")
_DEPTH: Final = 1


class EvdReader:
    """Reads folders ``1`` and ``2`` of images, and ``h`` of homographies of the same names."""

    word: Final = "evd"
    layout: Final = "EVD"
    group: Final = "pair"
    expected: Final = "folders 1 and 2 with an image of each pair and h with its homography"

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one in it, holds the folders 1, 2 and h."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """A group for each name.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup | None] = []
        for folder, _ in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            first, second, matrices = (folder / name for name in _FOLDERS)
            files = {
                side: _by_stem(side, pictures_by_stem(file_names(side))) for side in (first, second)
            }
            files[matrices] = _by_stem(
                matrices, {Path(name).stem: name for name in sorted(file_names(matrices))}
            )
            for name in sorted(set().union(*files.values()), key=natural_key):
                missing = [place.name for place in files if name not in files[place]]
                if missing:
                    problems.append(
                        f"{name}: its file in {missing[0]} is missing, so the pair is left out."
                    )
                    continue
                a, b, matrix = (files[place][name] for place in files)
                groups.append(homography_pair(name, a, b, matrix, problems))
        return finished_set(self, root, groups, problems)


def _by_stem(folder: Path, names: dict[str, str]) -> dict[str, Path]:
    return {stem: folder / name for stem, name in names.items()}


def _fits(folder: Path, _names: Sequence[str]) -> bool:
    return all((folder / name).is_dir() for name in _FOLDERS)
