"""The plane that the most matches of a pair lie on, and how far each match is from it.

Neighbours that are wrong together agree with each other: points beside image b match the next
window of a façade, row by row.  The plane that the most of all matches lie on says where such
points are.  How much that tells depends on the *share* of matches that lie on it: it is large where
one plane fills the images, and small where a scene is deep or where hardly any match is right.

Nothing here imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.geometry.homography import estimate_homography, warp_points
from engine.matching.local_motion import RETURNING_PX, as_witnesses

ON_PLANE_PX: Final = 3.0
"""Matches this near to where the plane puts them lie on it, in pixels of image b as described."""

LEAST_RETURNING: Final = 8
"""Fewer matches tell no plane: any four lie on one."""

_SEED: Final = 0

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PlaneMotion:
    """How each of ``N`` matches fits in with the plane that the most matches lie on.

    Attributes:
        share: of the matches that return, the share that lies on the plane; 0 without a plane, NaN
            where the other matches of the pair are not known.
        residual_px: ``(N,)`` distance from where the plane puts the match, in pixels of image b as
            described; infinite where it puts it nowhere.
    """

    share: float
    residual_px: Numbers

    @classmethod
    def unknown(cls, count: int) -> PlaneMotion:
        """That of matches without any others."""
        return cls(math.nan, np.full(count, np.inf))


def compare_with_plane(
    points_a: Numbers, points_b: Numbers, trusted: NDArray[np.bool_], cycle_px: Numbers
) -> PlaneMotion:
    """Find the plane that the most returning matches lie on, and compare all matches with it.

    Args:
        points_a: ``(N, 2)`` queries, in pixels of image a as described.
        points_b: ``(N, 2)`` their matches, in those of image b.
        trusted: ``(N,)`` False for queries whose matches tell nothing.
        cycle_px: ``(N,)`` how far from the query its match's own match in image a is, in pixels of
            that as described.
    """
    returning = as_witnesses(trusted & (cycle_px <= RETURNING_PX))
    plane = None
    if len(returning) >= LEAST_RETURNING:
        plane = estimate_homography(
            points_a[returning], points_b[returning], threshold_px=ON_PLANE_PX, seed=_SEED
        )
    if plane is None:
        return PlaneMotion(0.0, np.full(len(points_a), np.inf))
    residual_px = np.linalg.norm(warp_points(plane.h_b_from_a, points_a) - points_b, axis=1)
    residual_px[np.isnan(residual_px)] = np.inf  # beyond the plane's horizon
    return PlaneMotion(float(plane.inlier.mean()), residual_px)
