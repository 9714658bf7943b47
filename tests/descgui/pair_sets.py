"""Sets of pairs without files, for tests of the window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from engine.api import HomographySource, ImagePair, PairGroup, PairSet


def a_group(
    root: Path,
    name: str,
    subset: str = "",
    numbers: Iterable[int] = (2, 3),
    problems: Sequence[str] = (),
) -> PairGroup:
    """Image 1 of a sequence against others, nothing of which is on the disk."""
    pairs = tuple(
        ImagePair(
            path_a=root / name / "1.ppm",
            path_b=root / name / f"{number}.ppm",
            truth=HomographySource.of(np.eye(3)),
            name=f"{name} 1 → {number}",
            sequence=name,
            index=number,
        )
        for number in numbers
    )
    return PairGroup(name, pairs, subset, tuple(problems))


def a_set(root: Path, *groups: PairGroup, problems: Sequence[str] = ()) -> PairSet:
    """A set of such groups."""
    return PairSet(root, "HPatches sequences", groups, tuple(problems), opened=str(root))
