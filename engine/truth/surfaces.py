"""Reading dense truth between its pixels, without mixing what lies on both sides of an edge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import inside

Values = NDArray[np.float64]


def read_surface(
    values: NDArray[Any], points_px: NDArray[Any], *, jump: float, relative: bool = False
) -> Values:
    """Read a map at points, as the surface continues that the nearest pixel shows.

    The four pixels around a point are weighted bilinearly, those left out that are unknown, or
    that differ from the nearest one by more than a jump: they show another surface, and a mixture
    of both would be the place of neither.  What is left is weighted up, so beside an edge a slope
    continues flat, over at most half a pixel.

    Args:
        values: ``(H, W)`` floats; NaN for unknown.
        points_px: ``(N, 2)`` points (x, y) in pixels of the map.
        jump: the largest difference within one surface.
        relative: the jump is a share of the larger of both values.

    Returns:
        ``(N,)``; NaN where the nearest pixel is unknown, for points beyond the centres of the
        border pixels, and for points that are not finite.
    """
    height, width = values.shape
    points = np.asarray(points_px, np.float64)
    within = inside(points, (width, height))
    places = np.where(within[:, None], points, 0.0)
    low = np.floor(places).astype(np.intp)
    share = places - low
    high = np.minimum(low + 1, [width - 1, height - 1])
    near = np.floor(places + 0.5).astype(np.intp)
    nearest = values[near[:, 1], near[:, 0]].astype(np.float64)
    total, weights = np.zeros(len(points)), np.zeros(len(points))
    for ys, y_share in ((low[:, 1], 1 - share[:, 1]), (high[:, 1], share[:, 1])):
        for xs, x_share in ((low[:, 0], 1 - share[:, 0]), (high[:, 0], share[:, 0])):
            corner = values[ys, xs].astype(np.float64)
            kept = ~are_apart(corner, nearest, jump=jump, relative=relative)
            weight = np.where(kept, x_share * y_share, 0.0)
            total += weight * np.where(kept, corner, 0.0)
            weights += weight
    with np.errstate(invalid="ignore", divide="ignore"):
        read: Values = total / weights
    read[~within] = np.nan
    return read


def are_apart(
    one: NDArray[Any], other: NDArray[Any], *, jump: float, relative: bool = False
) -> NDArray[np.bool_]:
    """``(...)`` where values differ by more than a jump; True for unknown ones."""
    with np.errstate(invalid="ignore", over="ignore"):
        limit = jump * np.maximum(np.abs(one), np.abs(other)) if relative else jump
        same: NDArray[np.bool_] = np.abs(one - other) <= limit
    return ~same
