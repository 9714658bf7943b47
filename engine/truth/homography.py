"""Truth by a homography: exact wherever both images show its plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import Resize
from engine.geometry.homography import read_homography, warp_points
from engine.geometry.visibility import facing
from engine.progress import Tell, tell_choice
from engine.truth.base import Points, Size, TruePoints, exact_points
from engine.vocabulary import Side, TruthKind, TruthOrigin


@dataclass(frozen=True, slots=True)
class HomographySource:
    """A homography in original pixels (after EXIF rotation), of either sign.

    Attributes:
        numbers: its nine numbers ``h_b_from_a``, row by row.
        origin: who made it.
    """

    numbers: tuple[float, ...]
    origin: TruthOrigin = "given"

    @classmethod
    def of(cls, h_b_from_a: NDArray[Any], origin: TruthOrigin = "given") -> HomographySource:
        """From a ``(3, 3)`` matrix."""
        return cls(tuple(float(number) for number in np.ravel(h_b_from_a)), origin)

    @classmethod
    def read(cls, path: Path, tell: Tell = tell_choice) -> HomographySource:
        """From a file of any format that :func:`read_homography` knows.

        Raises:
            HomographyError: it holds no usable homography.
        """
        return cls.of(read_homography(path, tell))

    @property
    def kind(self) -> TruthKind:
        """A homography."""
        return "homography"

    @property
    def files(self) -> tuple[Path, ...]:
        """None: the matrix is in memory."""
        return ()

    @property
    def h_b_from_a(self) -> NDArray[np.float64]:
        """The ``(3, 3)`` matrix."""
        return np.array(self.numbers).reshape(3, 3)

    def open(self, size_a_px: Size, size_b_px: Size) -> HomographyTruth:
        """With the sign that has in front of it what both images show."""
        matrix = facing(self.h_b_from_a, size_a_px, size_b_px)
        return HomographyTruth(matrix, (size_a_px, size_b_px))

    def identity(self) -> str:
        """Its numbers."""
        return " ".join(map(repr, self.numbers))


@dataclass(frozen=True, slots=True, eq=False)
class HomographyTruth:
    """An opened homography.

    Attributes:
        h_b_from_a: ``(3, 3)``, what both images show is in front.
        sizes_px: (width, height) of both images.
    """

    h_b_from_a: NDArray[np.float64]
    sizes_px: tuple[Size, Size]

    @property
    def kind(self) -> TruthKind:
        """A homography."""
        return "homography"

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """Exact; what is behind the plane's horizon leaves the other image."""
        size_px = self.sizes_px[1 if side == "a" else 0]
        return exact_points(warp_points(self.matrix_from(side), points_px), size_px)

    @property
    def listed_px(self) -> None:
        """None: it is dense."""
        return

    def matrix_from(self, side: Side) -> NDArray[np.float64]:
        """The matrix, or its inverse."""
        if side == "a":
            return self.h_b_from_a
        inverse: NDArray[np.float64] = np.linalg.inv(self.h_b_from_a).astype(np.float64)
        return inverse

    def resized(self, resize_a: Resize, resize_b: Resize) -> HomographyTruth:
        """The homography between the resized images."""
        matrix = resize_a.homography(resize_b, self.h_b_from_a)
        return HomographyTruth(matrix, (resize_a.to_size_px, resize_b.to_size_px))
