"""What a coordinate means.

Points are (x, y); **the centre of the top-left pixel is (0, 0)**, as in OpenCV and HPatches.  An
image of width W therefore covers x from -0.5 to W - 0.5.  Three frames exist:

* *original*: pixels of the file, after EXIF rotation.  All that the user sees or types.
* *working*: pixels of the resized image that descriptors are computed on.
* *cells*: index into a dense map; placed in the working image by a :class:`CellGrid`.

This is the only engine file with a half-pixel in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

CORNER_PX: Final = 0.5
"""What points are larger by where (0, 0) is the corner of the top-left pixel, as COLMAP counts."""

Numbers = TypeVar("Numbers", bound=Any)  # a number, a numpy array or a tensor


@dataclass(frozen=True, slots=True)
class CellGrid:
    """Placement of a dense map in its image: cell ``i`` is centred on ``offset + stride * i``.

    Attributes:
        stride_px: distance of neighbouring cells, in pixels of the image that was described.
        offset_px: position of cell 0; a property of the layers, measured by the contract test.
    """

    stride_px: float
    offset_px: float

    def __post_init__(self) -> None:
        if not (self.stride_px > 0 and np.isfinite(self.stride_px) and np.isfinite(self.offset_px)):
            raise ValueError(
                f"no grid has stride {self.stride_px} px and offset {self.offset_px} px"
            )

    def to_px(self, cells: Numbers) -> Numbers:
        """Pixel positions of (fractional) cell indices."""
        moved: Numbers = self.offset_px + self.stride_px * cells  # type: ignore[assignment]
        return moved

    def to_cells(self, points_px: Numbers) -> Numbers:
        """Fractional cell indices of pixel positions."""
        moved: Numbers = (points_px - self.offset_px) / self.stride_px
        return moved

    def count(self, size_px: int) -> int:
        """How many cells have their centre between the centres of the first and last pixel."""
        return math.floor(self.to_cells(size_px - 1)) + 1

    def span_px(self, cells: int) -> tuple[float, float]:
        """Outer edges of the first and the last of ``cells`` cells, in pixels.

        A grid of stride 1 and offset 0 has a cell per pixel, so this is an image's extent too.
        """
        return self.to_px(-0.5), self.to_px(cells - 0.5)


@dataclass(frozen=True, slots=True)
class Resize:
    """The exact point transform of a resize that maps pixel areas onto each other.

    A resize from width W to width w maps the area ``[-0.5, W - 0.5]`` onto ``[-0.5, w - 0.5]``.

    Attributes:
        from_size_px: (width, height) before.
        to_size_px: (width, height) after.
    """

    from_size_px: tuple[int, int]
    to_size_px: tuple[int, int]

    @property
    def keeps_shape(self) -> bool:
        """Whether the sides keep their ratio, as far as whole pixels can: to half a pixel."""
        (width, height), (wide, high) = sorted((self.from_size_px, self.to_size_px))
        return abs(width * high - height * wide) <= max(wide, high) / 2

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Factors by which lengths along x and y grow."""
        return (
            self.to_size_px[0] / self.from_size_px[0],
            self.to_size_px[1] / self.from_size_px[1],
        )

    def matrix(self) -> NDArray[np.float64]:
        """The transform as a ``(3, 3)`` matrix, ``h_to_from_from``."""
        scale_x, scale_y = self.scale_xy
        return np.array(
            [
                [scale_x, 0.0, 0.5 * scale_x - 0.5],
                [0.0, scale_y, 0.5 * scale_y - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )

    def forward(self, points_px: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Points before the resize ``(..., 2)`` -> points after it, float64."""
        scale = np.array(self.scale_xy)
        moved: NDArray[np.float64] = (np.asarray(points_px, np.float64) + 0.5) * scale - 0.5
        return moved

    def backward(self, points_px: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Points after the resize ``(..., 2)`` -> points before it, float64."""
        scale = np.array(self.scale_xy)
        moved: NDArray[np.float64] = (np.asarray(points_px, np.float64) + 0.5) / scale - 0.5
        return moved

    def homography(self, other: Resize, h_b_from_a: NDArray[np.float64]) -> NDArray[np.float64]:
        """Carry ``h_b_from_a`` from original pixels to resized ones.

        Args:
            other: the resize of image b; ``self`` is the resize of image a.
            h_b_from_a: ``(3, 3)`` in pixels before both resizes.

        Returns:
            ``(3, 3)`` matrix between the resized images, with ``[2, 2]`` not normalised.
        """
        return other.matrix() @ h_b_from_a @ np.linalg.inv(self.matrix())


def inside(
    points_px: NDArray[np.floating[Any]], size_px: tuple[int, int], *, margin_px: float = 0.0
) -> NDArray[np.bool_]:
    """Which points lie between the centres of an image's border pixels.

    Args:
        points_px: ``(..., 2)`` points (x, y).
        size_px: (width, height).
        margin_px: how far inside they must lie.

    Returns:
        ``(...)`` booleans; False for points that are not finite.
    """
    points = np.asarray(points_px)
    high = np.array(size_px) - 1 - margin_px
    within = (points >= margin_px) & (points <= high)
    result: NDArray[np.bool_] = within[..., 0] & within[..., 1]  # faster than ``all``
    return result
