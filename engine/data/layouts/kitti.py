"""The layouts of KITTI's stereo and flow, of 2012 and of 2015.

A scene has two frames, ``NUMBER_10.png`` and ``NUMBER_11.png``, of a left and a right camera.
Stereo is the first frame of both cameras, flow both frames of the left one.  The images of 2015 are
in ``image_2`` and ``image_3``, those of 2012 in ``colored_0`` and ``colored_1`` or, in grey,
``image_0`` and ``image_1``.  Maps named ``occ`` know all places, those named ``noc`` just what both
images show: what only the first one knows is hidden in the second image or outside it.

A. Geiger, P. Lenz and R. Urtasun, "Are we ready for autonomous driving?", CVPR 2012; M. Menze and
A. Geiger, "Object scene flow for autonomous vehicles", CVPR 2015.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.data.folders import file_names
from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    left_out,
    single_pair,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.truth.base import TruthSource
from engine.truth.disparity import DisparitySource
from engine.truth.flow import FlowSource

_FIRST_FRAME: Final = re.compile(r"(\d+)_10\.png")
_DEPTH: Final = 2
_PER_PX: Final = 256.0


@dataclass(frozen=True, slots=True)
class _Part:
    """Stereo or flow of one year: folders, and how its frames are called.

    Attributes:
        name: the subset.
        images: folders of image a and of image b.
        second: ending of the name of image b.
        maps: folders of the maps ``occ`` and ``noc``.
        truth: from the files of both maps, the second one where there is one.
    """

    name: str
    images: tuple[str, str]
    second: str
    maps: tuple[str, str]
    truth: Callable[[Path, Path | None], TruthSource]


def _disparity(known: Path, unoccluded: Path | None) -> TruthSource:
    return DisparitySource(known, factor=_PER_PX, unoccluded=unoccluded)


def _flow(known: Path, unoccluded: Path | None) -> TruthSource:
    return FlowSource(known, unoccluded=unoccluded)


def _parts(left: str, right: str, disparities: tuple[str, str]) -> tuple[_Part, ...]:
    return (
        _Part("stereo", (left, right), "_10.png", disparities, _disparity),
        _Part("flow", (left, left), "_11.png", ("flow_occ", "flow_noc"), _flow),
    )


_FORMS: Final = (
    _parts("image_2", "image_3", ("disp_occ_0", "disp_noc_0")),
    _parts("colored_0", "colored_1", ("disp_occ", "disp_noc")),
    _parts("image_0", "image_1", ("disp_occ", "disp_noc")),
)
"""The first form whose left images and maps are there is read, so colour comes before grey."""


class KittiReader:
    """Reads KITTI: a group for each scene, and a subset each for stereo and flow."""

    word: Final = "kitti"
    layout: Final = "KITTI stereo and flow"
    group: Final = "scene"
    expected: Final = (
        "folders image_2 and image_3 (2015) or colored_0 and colored_1 (2012), beside disp_occ_0, "
        "disp_occ or flow_occ"
    )

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one up to two levels down, holds folders so named."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Groups are called ``stereo/NUMBER`` and ``flow/NUMBER``.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup] = []
        for folder, _ in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            form = next(form for form in _FORMS if _has(folder, form))
            for part in form:
                groups += _pairs(folder, part, problems)
        return finished_set(self, root, groups, problems)


def _fits(folder: Path, _names: Sequence[str]) -> bool:
    return any(_has(folder, form) for form in _FORMS)


def _has(folder: Path, form: Sequence[_Part]) -> bool:
    maps = (name for part in form for name in part.maps)
    return (folder / form[0].images[0]).is_dir() and any((folder / name).is_dir() for name in maps)


def _pairs(folder: Path, part: _Part, problems: list[str]) -> Iterator[PairGroup]:
    a, b, occ, noc = (_files(folder / name) for name in (*part.images, *part.maps))
    faults: Counter[str] = Counter()
    for name in sorted({*occ, *noc}):
        match = _FIRST_FRAME.fullmatch(name)
        if match is None:
            continue
        second = match[1] + part.second
        if name not in a:
            faults[f"an image is missing in {part.images[0]}"] += 1
        elif second not in b:
            faults[f"an image is missing in {part.images[1]}"] += 1
        else:
            truth = part.truth(occ.get(name) or noc[name], noc.get(name))
            yield single_pair(
                f"{part.name}/{match[1]}", a[name], b[second], truth, subset=part.name
            )
    problems += left_out(part.name, "pair", faults)


def _files(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in file_names(folder)} if folder.is_dir() else {}
