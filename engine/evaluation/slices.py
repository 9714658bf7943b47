"""Results by what pairs are like: the rows of a run, cut into bands of a property.

Bounds are fixed, so that the slices of one run are those of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.evaluation.result import PairRow


@dataclass(frozen=True, slots=True)
class Slicing:
    """How rows are cut by a property.

    Attributes:
        name: of the property in rows.
        title: what users call it.
        explanation: what it is, in a line.
        bounds: between the bands, ascending; a bound belongs to the band below.
        labels: of the bands, one more than bounds.
        measure: what of the property is compared with the bounds.
    """

    name: str
    title: str
    explanation: str
    bounds: tuple[float, ...]
    labels: tuple[str, ...]
    measure: Callable[[float], float] = float

    def band(self, row: PairRow) -> str | None:
        """The band that a row belongs to; None where its property is not known."""
        value = dict(row.properties).get(self.name)
        if value is None:
            return None
        measured = self.measure(value)
        return self.labels[sum(measured > bound for bound in self.bounds)]


def _apart(scale: float) -> float:
    """A scale in either direction: 0.5 and 2 are the same change."""
    return max(scale, 1 / scale) if scale > 0 else math.inf


SLICINGS: Final = (
    Slicing(
        "scale",
        "change of scale",
        "median factor by which lengths grow or shrink between the images",
        (1.25, 2.0, 4.0),
        ("up to 1.25×", "1.25 to 2×", "2 to 4×", "over 4×"),
        _apart,
    ),
    Slicing(
        "angle_deg",
        "turn",
        "median angle by which things turn between the images, either way",
        (15.0, 45.0, 90.0),
        ("up to 15°", "15 to 45°", "45 to 90°", "over 90°"),
        abs,
    ),
    Slicing(
        "overlap",
        "overlap",
        "share of image a that image b shows",
        (0.25, 0.5, 0.75),
        ("up to 25 %", "25 to 50 %", "50 to 75 %", "over 75 %"),
    ),
    Slicing(
        "texture",
        "texture",
        "share of what both images show that has texture in image a",
        (0.5, 0.75, 0.9),
        ("up to 50 %", "50 to 75 %", "75 to 90 %", "over 90 %"),
    ),
)


def slice_rows(rows: Iterable[PairRow], slicing: Slicing) -> Mapping[str, Sequence[PairRow]]:
    """Rows by band, in the order of the bands; empty bands and unknown properties are left out."""
    found: dict[str, list[PairRow]] = {label: [] for label in slicing.labels}
    for row in rows:
        band = slicing.band(row)
        if band is not None:
            found[band].append(row)
    return {label: some for label, some in found.items() if some}
