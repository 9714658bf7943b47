"""The layout of WxBS: ``KIND/NAME/01.png``, ``02.png`` and ``corrs.txt``.

D. Mishkin and others, "WxBS: wide baseline stereo generalizations", BMVC 2015.  The kind says what
differs between the images: G geometry, A appearance (season, age), L illumination, S sensor.  The
points are clicked by hand, a row ``x1 y1 x2 y2`` each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    pictures_by_stem,
    single_pair,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.truth.points import PointsSource

_POINTS: Final = "corrs.txt"
_FIRST: Final = ("01", "1")
_SECOND: Final = ("02", "2")
_DEPTH: Final = 3
UNCERTAINTY_PX: Final = 1.3
"""Standard deviation of a clicked point from the place that its partner has.

Estimated on eleven pairs of version 1.1: with the fundamental matrix of all other points of a pair,
half of the 314 points lie within 0.90 px of their epipolar lines, which is 0.67 of it.
"""


class WxbsReader:
    """Reads WxBS: a group for each pair, and a subset for each kind."""

    word: Final = "wxbs"
    layout: Final = "WxBS"
    group: Final = "pair"
    expected: Final = "folders KIND/NAME with two images 01 and 02 and the points in corrs.txt"

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one up to three levels down, holds ``corrs.txt`` and its images.

        One image is enough: of a pair that lacks the other one, :meth:`read` says so.
        """
        return any(fitting_folders(root, _fits_with_images, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Groups are called ``KIND/NAME``, since names repeat over kinds.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup | None] = []
        for folder, names in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            kind = folder.resolve().parent.name
            name = f"{kind}/{folder.resolve().name}"
            pictures = pictures_by_stem(names)
            images = [
                next((pictures[stem] for stem in stems if stem in pictures), None)
                for stems in (_FIRST, _SECOND)
            ]
            a, b = images
            if a is None or b is None:
                missing = _SECOND[0] if a is not None else _FIRST[0]
                problems.append(f"{name}: image {missing} is missing, so the pair is left out.")
                continue
            truth = PointsSource(folder / _POINTS, uncertainty_px=UNCERTAINTY_PX)
            groups.append(single_pair(name, folder / a, folder / b, truth, subset=kind))
        return finished_set(self, root, groups, problems)


def _fits(_folder: Path, names: Sequence[str]) -> bool:
    return _POINTS in names


def _fits_with_images(_folder: Path, names: Sequence[str]) -> bool:
    return _POINTS in names and not {*_FIRST, *_SECOND}.isdisjoint(pictures_by_stem(names))
