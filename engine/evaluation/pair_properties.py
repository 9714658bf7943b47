"""What a pair is like, from its truth and its images: how hard it is, and in which way.

Plain numbers, kept in each row, by which results are sliced.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.protocols import WorkingImage
from engine.matching.texture import texture_at
from engine.truth.base import Points, Truth

PROPERTIES: Final = ("scale", "angle_deg", "overlap", "texture")
"""Their names: factor by which lengths grow from image a to image b; angle by which things turn,
counter-clockwise as seen, −180 to 180; share of image a that image b shows; share of that with
texture."""

_LONG_EDGE_PLACES: Final = 48
_STEP_PX: Final = 1.0
_LEAST_LISTED: Final = 3


def pair_properties(
    images: tuple[WorkingImage, WorkingImage], truth: Truth
) -> dict[str, float | None]:
    """The properties of a pair in working pixels, by name; None for what the truth does not tell.

    Where the truth is dense, scale and angle are medians over places of a grid, each from the
    truth a pixel to the right and a pixel below; where it is a list of points, those of the
    similarity that fits the list best.

    Args:
        images: both.
        truth: between them.
    """
    if truth.listed_px is not None:
        shown = truth.locate("a", truth.listed_px[0]).seen
        points_a, points_b = (points[shown] for points in truth.listed_px)
        scale, angle_deg = _of_list(points_a, points_b)
        overlap = None
    else:
        places = _places(images[0].size_px)
        there = truth.locate("a", places)
        points_a, overlap = places[there.seen], float(there.seen.mean())
        steps = [
            truth.locate("a", points_a + step).seen_px - there.points_px[there.seen]
            for step in ((_STEP_PX, 0.0), (0.0, _STEP_PX))
        ]
        scale, angle_deg = _of_steps(np.stack(steps, axis=-1) / _STEP_PX)
    return {
        "scale": scale,
        "angle_deg": angle_deg,
        "overlap": overlap,
        "texture": _textured_share(images[0], points_a),
    }


def _places(size_px: tuple[int, int]) -> Points:
    """The middles of equal squares over an image, row by row."""
    stride = max(1.0, max(size_px) / _LONG_EDGE_PLACES)
    xs, ys = (np.arange((stride - 1) / 2, size - 0.5, stride) for size in size_px)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    return grid.reshape(-1, 2).astype(np.float64)


def _of_steps(jacobians: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Median scale and angle of ``(N, 2, 2)`` derivatives, of which some are NaN."""
    known = jacobians[np.isfinite(jacobians).all(axis=(1, 2))]
    if not len(known):
        return None, None
    scale = float(np.median(np.sqrt(np.abs(np.linalg.det(known)))))
    # The rotation nearest to a matrix; y points down, so that counter-clockwise is negative.
    cosines = known[:, 0, 0] + known[:, 1, 1]
    sines = known[:, 1, 0] - known[:, 0, 1]
    return scale, _median_angle_deg(-np.arctan2(sines, cosines))


def _of_list(points_a: Points, points_b: Points) -> tuple[float | None, float | None]:
    """Scale and angle of the similarity that takes one list to the other (S. Umeyama, 1991)."""
    if len(points_a) < _LEAST_LISTED:
        return None, None
    a, b = (points - points.mean(axis=0) for points in (points_a, points_b))
    spread = float(np.square(a).sum())
    if spread == 0:
        return None, None
    along = float((a * b).sum()) / spread
    across = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    scale = float(np.hypot(along, across))
    return scale, float(np.degrees(-np.arctan2(across, along))) if scale else None


def _median_angle_deg(angles: NDArray[np.float64]) -> float:
    """The angle in the middle of others, which may lie about 180°."""
    mean = float(np.angle(np.exp(1j * angles).mean()))
    apart = (angles - mean + np.pi) % (2 * np.pi) - np.pi
    middle = mean + float(np.median(apart))
    return float(np.degrees((middle + np.pi) % (2 * np.pi) - np.pi))


def _textured_share(image: WorkingImage, points_px: Points) -> float | None:
    """The share of points with texture around them; None without points."""
    return float(texture_at(image.texture, points_px).mean()) if len(points_px) else None
