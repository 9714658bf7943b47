"""A truth whose second image is drawn anew: turned, zoomed, or seen from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import inside
from engine.geometry.homography import local_scale, warp_points
from engine.truth.base import NoHomography, Points, Size, TruePoints, Truth, Visibility
from engine.truth.homography import HomographyTruth
from engine.vocabulary import Side, TruthKind


def moved_truth(original: Truth, h_moved_from_b: NDArray[np.float64]) -> Truth:
    """The truth after image b was drawn anew by a homography, on a canvas of the same size.

    Args:
        original: the truth before.
        h_moved_from_b: ``(3, 3)``.
    """
    h_b_from_a = original.matrix_from("a")
    if h_b_from_a is not None:
        return HomographyTruth(h_moved_from_b @ h_b_from_a, original.sizes_px)
    return _MovedTruth(original, h_moved_from_b)


@dataclass(frozen=True, slots=True, eq=False)
class _MovedTruth(NoHomography):
    """Carries the places of image b, for kinds that are no homography.

    Attributes:
        original: the truth before.
        h_moved_from_b: ``(3, 3)`` by which image b was drawn.
    """

    original: Truth
    h_moved_from_b: NDArray[np.float64]

    @property
    def kind(self) -> TruthKind:
        """That of the original."""
        return self.original.kind

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """Those of the original: the canvas stays."""
        return self.original.sizes_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """Ask the original, and carry its places or the points.

        What left image b is not on the new canvas either, which is black there.
        """
        if side == "b":
            h_b_from_moved = np.linalg.inv(self.h_moved_from_b)
            return self.original.locate("b", warp_points(h_b_from_moved, points_px))
        found = self.original.locate("a", points_px)
        places = warp_points(self.h_moved_from_b, found.points_px)
        left = ~inside(places, self.sizes_px[1]) & (found.visibility != Visibility.UNKNOWN)
        return TruePoints(
            places,
            np.where(left, Visibility.OUTSIDE, found.visibility).astype(np.uint8),
            found.uncertainty_px * local_scale(self.h_moved_from_b, found.points_px),
        )

    @property
    def listed_px(self) -> tuple[Points, Points] | None:
        """The listed points, those of image b carried."""
        listed = self.original.listed_px
        return None if listed is None else (listed[0], warp_points(self.h_moved_from_b, listed[1]))
