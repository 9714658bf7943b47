"""Which points of image a are seen in image b."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import inside
from engine.geometry.homography import warp_points


def project(
    points_a: NDArray[Any], h_b_from_a: NDArray[Any], size_b_px: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Carry points to image b and find which of them land inside it.

    Args:
        points_a: ``(..., 2)`` points of image a.
        h_b_from_a: ``(3, 3)``.
        size_b_px: (width, height) of image b.

    Returns:
        ``(..., 2)`` points of image b, NaN where a point has no image, and ``(...)`` True between
        the centres of image b's border pixels.
    """
    points_b = warp_points(h_b_from_a, points_a)
    return points_b, inside(points_b, size_b_px)


def covisible(
    points_a: NDArray[Any], h_b_from_a: NDArray[Any], size_b_px: tuple[int, int]
) -> NDArray[np.bool_]:
    """``(...)`` True for the points ``(..., 2)`` of image a that image b shows as well."""
    return project(points_a, h_b_from_a, size_b_px)[1]
