"""Dense error: how far the matches of all pixels are from the truth.

*AEPE* is the mean distance of matches from true places, the average end-point error of optical flow
(S. Baker et al., IJCV 2011); PCK here is the share of pixels within a threshold, as in P. Truong et
al. (GLU-Net, CVPR 2020).  Matches of a grid become those of pixels by bilinear interpolation.
*Depth edges* are where the true places of neighbouring pixels break apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.pck import count_within
from engine.truth.base import TruePoints, Visibility

EDGE_BREAK_PX: Final = 2.0
"""True places that bend by more than this from pixel to pixel to pixel lie at a depth edge."""


@dataclass(frozen=True, slots=True)
class DenseError:
    """The errors of a pair's pixels, summed up.

    Attributes:
        pixels: how many have a true place.
        aepe_px: mean distance from it, over those that have a match; None without any.
        pck: share within each threshold, a pixel without a match being wrong; empty without pixels.
    """

    pixels: int
    aepe_px: float | None
    pck: tuple[float, ...]


def spread_matches(
    match_px: NDArray[np.float64], stride_px: int, size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """Matches of all pixels from those of a grid, bilinearly; beyond the last ones as far as these.

    What is interpolated is how far a point moves, so that a pixel beyond the last row of the grid
    moves as that row does.

    Args:
        match_px: ``(rows, columns, 2)`` matches of the places at multiples of the stride; NaN where
            there is none.
        stride_px: distance of the places; the first is the top-left pixel's centre.
        size_px: (width, height) of the image.

    Returns:
        ``(H, W, 2)``; NaN where a match that counts is missing.
    """
    rows, columns = match_px.shape[:2]
    ys, xs = np.mgrid[0:rows, 0:columns] * float(stride_px)
    moves = match_px - np.stack([xs, ys], axis=-1)
    for axis, (pixels, cells) in enumerate(((size_px[1], rows), (size_px[0], columns))):
        places = np.minimum(np.arange(pixels) / stride_px, cells - 1)
        before = places.astype(np.intp)
        after = np.minimum(before + 1, cells - 1)
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        share = (places - before).reshape(shape)
        near, far = moves.take(before, axis), moves.take(after, axis)
        # Where the share is 0 a missing far match does not count.
        moves = np.where(share > 0, near + share * (far - near), near)
    ys, xs = np.mgrid[0 : size_px[1], 0 : size_px[0]].astype(np.float64)
    spread: NDArray[np.float64] = moves + np.stack([xs, ys], axis=-1)
    return spread


def pixel_errors_px(
    match_px: NDArray[np.float64], true: TruePoints, *, occluded: bool
) -> NDArray[np.float64]:
    """How far matches of pixels are from the truth.

    Args:
        match_px: ``(N, 2)``; NaN where there is none.
        true: of the same pixels.
        occluded: whether pixels that something hides in image b count where their place is known.

    Returns:
        ``(M,)`` of the pixels with a true place inside image b; infinite without a match.
    """
    errors = all_errors_px(match_px, true)
    counted = true.visibility == Visibility.SEEN
    if occluded:
        known = np.isfinite(true.points_px).all(axis=1)
        counted = counted | ((true.visibility == Visibility.OCCLUDED) & known)
    chosen: NDArray[np.float64] = errors[counted]
    return chosen


def all_errors_px(match_px: NDArray[np.float64], true: TruePoints) -> NDArray[np.float64]:
    """``(N,)`` distances; infinite without a match, NaN without a true place."""
    gap = match_px - true.points_px
    errors: NDArray[np.float64] = np.hypot(gap[:, 0], gap[:, 1])
    errors[~np.isfinite(match_px).all(axis=1)] = np.inf
    errors[~np.isfinite(true.points_px).all(axis=1)] = np.nan
    return errors


def sum_up(errors_px: NDArray[np.float64], thresholds_px: Sequence[float]) -> DenseError:
    """Sum ``(M,)`` errors up; infinite ones have no match and enter PCK only."""
    count = len(errors_px)
    if not count:
        return DenseError(0, None, ())
    matched = errors_px[np.isfinite(errors_px)]
    return DenseError(
        count,
        float(matched.mean()) if len(matched) else None,
        tuple(right / count for right in count_within(errors_px, thresholds_px)),
    )


def edge_distances_px(
    true_px: NDArray[np.float64], *, break_px: float = EDGE_BREAK_PX
) -> NDArray[np.float64]:
    """How far each pixel is from the nearest depth edge.

    An edge is where the true place of a pixel differs by more than ``break_px`` from the middle of
    those of its two neighbours in a row or a column, that is, where half the second difference
    does.  An affine change, however strong, has none.

    Args:
        true_px: ``(H, W, 2)`` true places, also of what is hidden; NaN where they are not known.
        break_px: in pixels of image b.

    Returns:
        ``(H, W)``; infinite where the truth has no edge.
    """
    import cv2  # late: it takes 50 ms to load

    edge = np.zeros(true_px.shape[:2], np.bool_)
    for axis in (0, 1):
        before, middle, after = (
            true_px.take(range(start, true_px.shape[axis] - 2 + start), axis) for start in range(3)
        )
        bend = np.linalg.norm((before + after) / 2 - middle, axis=-1)
        inner = (slice(1, -1), slice(None)) if axis == 0 else (slice(None), slice(1, -1))
        edge[inner] |= bend > break_px  # False for NaN
    if not edge.any():
        return np.full(edge.shape, np.inf)
    distances = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances, np.float64)


def error_by_band(
    errors_px: NDArray[np.float64],
    distances_px: NDArray[np.float64],
    bands_px: Sequence[tuple[float, float]],
) -> tuple[float | None, ...]:
    """Mean error in each band of distance from an edge; None for a band without matched pixels.

    Args:
        errors_px: ``(N,)``; those that are not finite are left out.
        distances_px: ``(N,)`` of the same pixels.
        bands_px: (from, to) of each band, from included, to excluded, but for an infinite one.
    """
    known = np.isfinite(errors_px)
    means: list[float | None] = []
    for low, high in bands_px:
        inside = known & (distances_px >= low)
        inside &= (distances_px < high) | (high == np.inf)
        means.append(float(errors_px[inside].mean()) if inside.any() else None)
    return tuple(means)
