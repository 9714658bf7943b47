"""Which points of an image are asked about.

Nothing here imports torch, so that points can be shown before it is loaded.
"""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import inside
from engine.vocabulary import PixelPoints

_HARRIS_BLOCK: Final = 2
_HARRIS_APERTURE: Final = 3
_HARRIS_K: Final = 0.04
_HARRIS_PERCENTILE: Final = 90.0
_LEAST_QUALITY: Final = 1e-4
_APART_PX: Final = 4


def choose_points(
    pixels: NDArray[Any], kind: PixelPoints, count: int, seed: int, *, margin_px: float = 0
) -> NDArray[np.float64]:
    """Choose query points in an image.

    Args:
        pixels: ``(H, W, 3)`` RGB or ``(H, W)`` grey; any numeric dtype.
        kind: ``grid``, as many evenly spread points as fit a regular grid; ``random``, uniform over
            the area between the border pixels' centres; ``harris``, pixels drawn without repetition
            from those whose Harris response (block 2, aperture 3, k 0.04) is above the image's 90th
            percentile.
        count: how many at most.  Fewer come back where a grid does not come out even, where an
            image has too few corners (a flat one has none), or where the margin leaves no room.
        seed: of the random choice; the same image and seed give the same points.
        margin_px: how far they keep from the border pixels' centres.

    Returns:
        ``(N, 2)`` points (x, y) in pixels of this image.
    """
    height, width = pixels.shape[:2]
    high = np.array([width - 1 - margin_px, height - 1 - margin_px], np.float64)
    if count <= 0 or (high < margin_px).any():
        return np.empty((0, 2))
    generator = np.random.default_rng(seed)
    if kind == "grid":
        return _grid(high, count, margin_px)
    if kind == "random":
        return generator.uniform(margin_px, high, size=(count, 2))
    response = harris_response(pixels)
    strong = response > np.percentile(response, _HARRIS_PERCENTILE)
    edge = math.ceil(margin_px)
    strong[:edge] = strong[height - edge :] = False
    strong[:, :edge] = strong[:, width - edge :] = False
    ys, xs = np.nonzero(strong)
    chosen = generator.choice(len(xs), size=min(count, len(xs)), replace=False)
    return np.stack([xs[chosen], ys[chosen]], axis=1).astype(np.float64)


def choose_listed(
    points_px: NDArray[np.float64], size_px: tuple[int, int], count: int, seed: int
) -> NDArray[np.float64]:
    """Choose from ``(N, 2)`` points those inside an image; of more than ``count`` a random draw.

    Args:
        points_px: the points.
        size_px: (width, height) of the image.
        count: how many at most.
        seed: of the random choice, which keeps their order.
    """
    within = points_px[inside(points_px, size_px)]
    if len(within) <= count:
        return within
    generator = np.random.default_rng(seed)
    return within[np.sort(generator.choice(len(within), size=max(0, count), replace=False))]


def find_keypoints(pixels: NDArray[Any], count: int) -> NDArray[np.float64]:
    """The corners with the strongest Harris response (block 2, aperture 3, k 0.04), 4 px apart.

    Args:
        pixels: ``(H, W, 3)`` RGB or ``(H, W)`` grey; any numeric dtype.
        count: how many at most, at least 1.

    Returns:
        ``(N, 2)`` points (x, y), the strongest first; local maxima of at least a ten thousandth of
        the strongest response.  A flat image has none.
    """
    found: Any = cv2.goodFeaturesToTrack(  # None where there is none, which its stubs lack
        _grey(pixels),
        maxCorners=count,
        qualityLevel=_LEAST_QUALITY,
        minDistance=_APART_PX,
        blockSize=_HARRIS_BLOCK,
        useHarrisDetector=True,
        k=_HARRIS_K,
    )
    return np.asarray([] if found is None else found, np.float64).reshape(-1, 2)


def harris_response(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Harris and Stephens' corner measure (1988) at every pixel.

    Args:
        pixels: ``(H, W, 3)`` RGB or ``(H, W)`` grey; any numeric dtype.

    Returns:
        ``(H, W)``, in units that depend on the range of the pixels; 0 on flat ground.
    """
    response = cv2.cornerHarris(_grey(pixels), _HARRIS_BLOCK, _HARRIS_APERTURE, _HARRIS_K)
    return np.asarray(response, np.float32)


def _grey(pixels: NDArray[Any]) -> NDArray[np.float32]:
    grey = pixels.astype(np.float32)
    if grey.ndim == 3:
        grey = np.asarray(cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY), np.float32)
    return grey


def _grid(high: NDArray[np.float64], count: int, low: float) -> NDArray[np.float64]:
    """At most ``count`` points in the middles of equal cells over ``[low, high]``."""
    room = high - low
    ideal = math.sqrt(count * (room[0] + 1) / (room[1] + 1))
    # Of the numbers of columns and rows around square cells, those that use most of the points.
    near_columns = [math.floor(ideal) + step for step in (-1, 0, 1, 2)]
    near_rows = [max(1, math.floor(count / ideal) + step) for step in (0, 1)]
    tried = {min(count, max(1, n)) for n in (*near_columns, *(count // n for n in near_rows))}
    columns = max(sorted(tried), key=lambda n: (n * (count // n), -abs(n - ideal)))
    rows = count // columns
    xs = low + room[0] * (2 * np.arange(columns) + 1) / (2 * columns)
    ys = low + room[1] * (2 * np.arange(rows) + 1) / (2 * rows)
    grid_x, grid_y = np.meshgrid(xs, ys)
    return np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)
