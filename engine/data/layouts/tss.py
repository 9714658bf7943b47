"""The layout of TSS: ``SET/NAME`` with two images, and ``flow1.flo`` and ``flow2.flo``.

T. Taniai, S. Sinha and Y. Sato, "Joint recovery of dense correspondence and cosegmentation in two
images", CVPR 2016.  The flow is known on the object.  Where ``flip_gt.txt`` holds a 1, the objects
look in opposite directions, and each flow leads to the mirrored copy of the other image, as in the
evaluation of I. Rocco, R. Arandjelović and J. Sivic, CVPR 2017.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.data.layouts.building import (
    finished_set,
    first_line,
    fitting_folders,
    left_out,
    single_pair,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.truth.base import TruthSource
from engine.truth.flow import FlowSource
from engine.truth.mirrored import MirroredFlowSource

_IMAGES: Final = ("image1.png", "image2.png")
_FLOWS: Final = ("flow1.flo", "flow2.flo")
_FLIP: Final = "flip_gt.txt"
_DEPTH: Final = 3


class TssReader:
    """Reads TSS: a group for each pair, and a subset for each of its three sets."""

    word: Final = "tss"
    layout: Final = "TSS"
    group: Final = "pair"
    expected: Final = "folders SET/NAME with image1.png, image2.png, flow1.flo and flow2.flo"

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one up to three levels down, holds files so named."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Groups are called ``SET/NAME``.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup] = []
        faults: Counter[str] = Counter()
        for folder, names in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            place = folder.resolve()
            missing = [name for name in (*_IMAGES, *_FLOWS) if name not in names]
            if missing:
                faults[f"{missing[0]} is missing"] += 1
                continue
            a, b, forward, backward = (folder / name for name in (*_IMAGES, *_FLOWS))
            flipped = _FLIP in names and first_line(folder / _FLIP) == "1"
            truth: TruthSource = (
                MirroredFlowSource(forward, backward) if flipped else FlowSource(forward, backward)
            )
            part = place.parent.name
            groups.append(single_pair(f"{part}/{place.name}", a, b, truth, subset=part))
        problems += left_out(root.resolve().name, "pair", faults)
        return finished_set(self, root, groups, problems)


def _fits(_folder: Path, names: Sequence[str]) -> bool:
    return _FLOWS[0] in names and any(name in names for name in _IMAGES)
