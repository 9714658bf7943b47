"""A pair of images and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.geometry.visibility import facing
from engine.imagefiles.value_range import ValueRange
from engine.vocabulary import Side


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two image files, with the homography between them where it is known.

    Attributes:
        path_a, path_b: the files.
        h_b_from_a: ``(3, 3)`` float64 in pixels of the original files (after EXIF rotation); None
            when no truth is known.  It has the sign of its file until :meth:`facing` chose one.
        name: for the user to read, such as ``v_churchill 1 → 2``.
        sequence: name of the sequence it belongs to, "" for a free pair.
        index: number of the second image in its sequence, 0 for a free pair.
        range_a, range_b: which values of the files are black and white; None for what each file
            states or its values suggest.
    """

    path_a: Path
    path_b: Path
    h_b_from_a: NDArray[np.float64] | None = field(default=None, compare=False)
    name: str = ""
    sequence: str = ""
    index: int = 0
    range_a: ValueRange | None = None
    range_b: ValueRange | None = None

    def path(self, side: Side) -> Path:
        """The file on one side."""
        return self.path_a if side == "a" else self.path_b

    def range_of(self, side: Side) -> ValueRange | None:
        """Which values of the file on one side are black and white."""
        return self.range_a if side == "a" else self.range_b

    def facing(self, size_a_px: tuple[int, int], size_b_px: tuple[int, int]) -> ImagePair:
        """The pair with what both images show in front of its homography.

        Points are visible only by such a homography: whoever knows the (width, height) of the
        original images asks for it.  See :func:`engine.geometry.visibility.facing`.
        """
        if self.h_b_from_a is None:
            return self
        return replace(self, h_b_from_a=facing(self.h_b_from_a, size_a_px, size_b_px))

    def homography_from(self, side: Side) -> NDArray[np.float64] | None:
        """``(3, 3)`` matrix from the given side to the other one, None without truth."""
        if self.h_b_from_a is None or side == "a":
            return self.h_b_from_a
        inverse: NDArray[np.float64] = np.linalg.inv(self.h_b_from_a).astype(np.float64)
        return inverse
