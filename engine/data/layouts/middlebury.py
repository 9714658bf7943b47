"""The layouts of the Middlebury stereo pages: rectified pairs with disparity maps.

| year | left and right | their maps | what a stored number is divided by |
|---|---|---|---|
| 2001, 2003 | ``im2``, ``im6`` | ``disp2``, ``disp6`` | 8, 4 or 16, by scene |
| 2005, 2006 | ``view1``, ``view5`` | ``disp1``, ``disp5`` | 1, 2 or 3, by the images' size |
| 2014, 2021 | ``im0``, ``im1`` | ``disp0.pfm``, ``disp1.pfm`` | 1 |
| MiddEval3 | ``im0``, ``im1`` | ``disp0GT.pfm`` | 1 |

A file ``datasets.xml`` beside the scenes, as OpenCV's copy of the sets has it, states factors in
lines ``NAME "FACTOR" "UNKNOWN"``; without it those of the published scenes are known.  Sources:
D. Scharstein and R. Szeliski, IJCV 2002; D. Scharstein and others, GCPR 2014.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    pictures_by_stem,
    single_pair,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.errors import DatasetError, ImageError
from engine.files import read_input
from engine.images import read_size
from engine.truth.disparity import DisparitySource

_FACTORS: Final = "datasets.xml"
_LINE: Final = re.compile(r'([\w.-]+)\s+"(\d+(?:\.\d+)?)"\s+"-?[\d.]+"')
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_FLOATS: Final = ".pfm"
_DEPTH: Final = 2
_LEVELS_UP: Final = 2
_PUBLISHED: Final[Mapping[str, float]] = {
    **dict.fromkeys(("barn1", "barn2", "bull", "map", "poster", "sawtooth", "venus"), 8.0),
    "cones": 4.0,
    "conesh": 2.0,
    "conesf": 1.0,
    "teddy": 4.0,
    "teddyh": 2.0,
    "teddyf": 1.0,
    "tsukuba": 16.0,
}
"""Of 2001 and 2003, by the scene's folder in lower case."""
_VIEW_ROWS: Final[Mapping[int, float]] = {1110: 1.0, 555: 2.0, 370: 3.0}
"""Of 2005 and 2006, by the height of the images: full, half and third size."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How the files of a scene are called without their endings, left before right."""

    images: tuple[str, str]
    maps: tuple[str, str]


_VIEWS: Final = _Form(("view1", "view5"), ("disp1", "disp5"))
_FORMS: Final = (
    _Form(("im0", "im1"), ("disp0", "disp1")),
    _Form(("im0", "im1"), ("disp0GT", "disp1GT")),
    _Form(("im2", "im6"), ("disp2", "disp6")),
    _VIEWS,
)


class MiddleburyReader:
    """Reads scenes of the Middlebury stereo sets: a group for each."""

    word: Final = "middlebury"
    layout: Final = "Middlebury stereo"
    group: Final = "scene"
    expected: Final = (
        "folders with im2, im6, disp2 and disp6; view1, view5, disp1 and disp5; or im0, im1, "
        "disp0.pfm and disp1.pfm"
    )

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one up to two levels down, holds two views and a map of theirs."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Image a is the left one; the right map is used where it is there.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        stated: dict[Path, Mapping[str, float]] = {}
        groups: list[PairGroup | None] = []
        for folder, names in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            form = _form(names)
            assert form is not None
            groups.append(_scene(folder, form, pictures_by_stem(names), stated, problems))
        return finished_set(self, root, groups, problems)


def _fits(_folder: Path, names: Sequence[str]) -> bool:
    return _form(names) is not None


def _form(names: Sequence[str]) -> _Form | None:
    stems = {name.rpartition(".")[0] for name in names}
    return next((form for form in _FORMS if {*form.images, form.maps[0]} <= stems), None)


def _scene(
    folder: Path,
    form: _Form,
    files: Mapping[str, str],
    stated: dict[Path, Mapping[str, float]],
    problems: list[str],
) -> PairGroup | None:
    """The pair of a scene; None where something is wrong with it, which is reported."""
    name = folder.resolve().name
    missing = [stem for stem in (*form.images, form.maps[0]) if stem not in files]
    if missing:
        problems.append(f"{name}: {missing[0]} is no picture, so the pair is left out.")
        return None
    a, b = (folder / files[stem] for stem in form.images)
    left = folder / files[form.maps[0]]
    right = folder / files[form.maps[1]] if form.maps[1] in files else None
    factor = None
    if left.suffix.lower() != _FLOATS:
        factor = _stated(folder, stated, problems) or _known(form, name, a)
        if factor is None:
            problems.append(
                f"{name}: how many of the numbers in {left.name} make a pixel is not known, so the "
                f'pair is left out; a line {name} "FACTOR" "0" in {_FACTORS} says it.'
            )
            return None
    return single_pair(name, a, b, DisparitySource(left, right, factor))


def _stated(
    folder: Path, stated: dict[Path, Mapping[str, float]], problems: list[str]
) -> float | None:
    """The factor that the nearest ``datasets.xml`` states for a scene's folder."""
    place = folder.resolve()
    for above in (place, *place.parents[:_LEVELS_UP]):
        path = above / _FACTORS
        if path not in stated:
            stated[path] = {}
            if path.is_file():
                try:
                    text = read_input(path, DatasetError).decode(errors="replace")
                except DatasetError as error:
                    problems.append(str(error))
                else:
                    lines = _LINE.findall(_COMMENT.sub("", text))
                    stated[path] = {name: float(factor) for name, factor in lines}
        if stated[path].get(place.name):
            return stated[path][place.name]
    return None


def _known(form: _Form, name: str, image: Path) -> float | None:
    if form is _VIEWS:
        try:
            return _VIEW_ROWS.get(read_size(image)[1])
        except ImageError:
            return None
    return _PUBLISHED.get(name.lower())
