"""Truth by a list of points: known at these points, and nowhere between them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import DescSpaceError, TruthError
from engine.geometry.coords import inside
from engine.truth.base import NoHomography, Points, Size, TruePoints, Visibility, exact_points
from engine.truth.point_files import Images, read_point_pairs
from engine.vocabulary import Side, TruthKind, TruthOrigin

SNAP_PX: Final = 0.5
"""A point this close to a listed one, in original pixels, has that one's partner."""


@dataclass(frozen=True, slots=True)
class PointsSource:
    """Pairs of points in a file.

    Attributes:
        path: the file, of any format that :func:`read_point_pairs` knows.
        origin: who made it.
        uncertainty_px: standard deviation of the listed places; None where nothing tells it.
        images: names of both images, for a file that lists several pairs.
        keypoint_files: the other files that belong to it.
    """

    path: Path
    origin: TruthOrigin = "given"
    uncertainty_px: float | None = None
    images: Images = ("", "")
    keypoint_files: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls, path: Path, images: Images = ("", ""), uncertainty_px: float | None = None
    ) -> PointsSource:
        """From a file that a user names as truth.

        What a matcher found, as its scores tell, is an estimate and no given truth.

        Raises:
            TruthError: it cannot be read.
        """
        found = read_point_pairs(path, images)
        origin: TruthOrigin = "estimated" if found.matched else "given"
        return cls(path, origin, uncertainty_px, images, found.keypoint_files)

    @property
    def kind(self) -> TruthKind:
        """A list of points."""
        return "points"

    @property
    def files(self) -> tuple[Path, ...]:
        """The list, and the keypoints that it refers to."""
        return (self.path, *self.keypoint_files)

    def open(self, size_a_px: Size, size_b_px: Size) -> PointsTruth:
        """Read the list.

        Raises:
            TruthError: it cannot be read, or no pair lies inside these images.
        """
        found = read_point_pairs(self.path, self.images)
        truth = PointsTruth.of(
            found.points_a, found.points_b, (size_a_px, size_b_px), self.uncertainty_px
        )
        if not truth.reaches_both:
            sizes = " and ".join(f"{width} × {height}" for width, height in truth.sizes_px)
            count = len(found.points_a)
            reason = f"lists {count} pairs of points, and none lies inside its images ({sizes})"
            raise TruthError(self.path, reason)
        return truth

    def identity(self) -> str:
        """A hash of the points themselves, which no other format changes."""
        found = read_point_pairs(self.path, self.images)
        return _identity(np.hstack([found.points_a, found.points_b]), self.uncertainty_px)


@dataclass(frozen=True, slots=True)
class HeldPointsSource:
    """Pairs of points in memory, such as the user's pins.

    Attributes:
        rows: x and y in image a, and x and y in image b, in original pixels.
        origin: who made them.
        uncertainty_px: standard deviation of the places; None where nothing tells it.
    """

    rows: tuple[tuple[float, float, float, float], ...]
    origin: TruthOrigin = "pins"
    uncertainty_px: float | None = None

    @classmethod
    def of(
        cls, points_a: NDArray[Any], points_b: NDArray[Any], origin: TruthOrigin = "pins"
    ) -> HeldPointsSource:
        """From ``(N, 2)`` points and their partners."""
        rows = np.hstack([np.asarray(points_a, np.float64), np.asarray(points_b, np.float64)])
        return cls(tuple((float(x), float(y), float(u), float(v)) for x, y, u, v in rows), origin)

    @property
    def kind(self) -> TruthKind:
        """A list of points."""
        return "points"

    @property
    def files(self) -> tuple[Path, ...]:
        """None: all is in memory."""
        return ()

    def open(self, size_a_px: Size, size_b_px: Size) -> PointsTruth:
        """Ready for look-ups.

        Raises:
            DescSpaceError: no pair lies inside these images.
        """
        table = self._table()
        sizes = (size_a_px, size_b_px)
        truth = PointsTruth.of(table[:, :2], table[:, 2:], sizes, self.uncertainty_px)
        if not truth.reaches_both:
            raise DescSpaceError("None of the pairs of points lies inside both images.")
        return truth

    def identity(self) -> str:
        """A hash of the points."""
        return _identity(self._table(), self.uncertainty_px)

    def _table(self) -> NDArray[np.float64]:
        return np.array(self.rows, np.float64).reshape(-1, 4)


def _identity(table: NDArray[np.float64], uncertainty_px: float | None) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(table, "<f8").tobytes()).hexdigest()
    known = "unknown" if uncertainty_px is None else f"{uncertainty_px!r} px"
    return f"{len(table)} points {digest}, uncertainty {known}"


@dataclass(frozen=True, slots=True, eq=False)
class PointsTruth(NoHomography):
    """An opened list of points.

    Attributes:
        points_a, points_b: ``(N, 2)`` partners.
        sizes_px: (width, height) of both images.
        uncertainty_px: standard deviation of a place, NaN where nothing tells it.
        orders: the points of image a and of image b from left to right.
    """

    points_a: Points
    points_b: Points
    sizes_px: tuple[Size, Size]
    uncertainty_px: float
    orders: tuple[NDArray[np.intp], NDArray[np.intp]]

    @classmethod
    def of(
        cls,
        points_a: Points,
        points_b: Points,
        sizes_px: tuple[Size, Size],
        uncertainty_px: float | None = None,
    ) -> PointsTruth:
        """From ``(N, 2)`` points and their partners."""
        by_x = [np.argsort(points[:, 0], kind="stable") for points in (points_a, points_b)]
        uncertainty = float("nan") if uncertainty_px is None else uncertainty_px
        return cls(points_a, points_b, sizes_px, uncertainty, (by_x[0], by_x[1]))

    @property
    def kind(self) -> TruthKind:
        """A list of points."""
        return "points"

    @property
    def listed_px(self) -> tuple[Points, Points]:
        """The list."""
        return self.points_a, self.points_b

    @property
    def reaches_both(self) -> bool:
        """Whether any pair lies inside both images."""
        size_a_px, size_b_px = self.sizes_px
        return bool(np.any(inside(self.points_a, size_a_px) & inside(self.points_b, size_b_px)))

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """The partner of the nearest listed point within :data:`SNAP_PX`; elsewhere unknown.

        Of points that are listed twice, the first one counts.
        """
        here, there = self.points_a, self.points_b
        order, size_px = self.orders[0], self.sizes_px[1]
        if side == "b":
            here, there, order, size_px = there, here, self.orders[1], self.sizes_px[0]
        nearest = _nearest(here, order, np.asarray(points_px, np.float64))
        known = nearest >= 0
        places = np.full((len(nearest), 2), np.nan)
        places[known] = there[nearest[known]]
        found = exact_points(places, size_px)
        return TruePoints(
            places,
            np.where(known, found.visibility, Visibility.UNKNOWN).astype(np.uint8),
            np.where(known, self.uncertainty_px, np.nan),
        )


def _nearest(listed: Points, order: NDArray[np.intp], points: Points) -> NDArray[np.intp]:
    """The index of the nearest listed point within :data:`SNAP_PX`, -1 where there is none.

    Args:
        listed: ``(M, 2)``.
        order: ``(M,)`` the listed points from left to right.
        points: ``(N, 2)``; those that are not finite are near nothing.
    """
    best = np.full(len(points), -1, np.intp)
    best_square = np.full(len(points), SNAP_PX**2)
    places = listed[order]
    asked = np.flatnonzero(np.isfinite(points).all(axis=1))
    # Of the few listed points in the same column of pixels, one after the other for all points.
    next_one = np.searchsorted(places[:, 0], points[asked, 0] - SNAP_PX, "left")
    end = np.searchsorted(places[:, 0], points[asked, 0] + SNAP_PX, "right")
    while len(asked):
        more = next_one < end
        asked, next_one, end = asked[more], next_one[more], end[more]
        square = np.sum((places[next_one] - points[asked]) ** 2, axis=1)
        closer = (square < best_square[asked]) | ((square <= SNAP_PX**2) & (best[asked] < 0))
        best[asked[closer]] = order[next_one[closer]]
        best_square[asked[closer]] = square[closer]
        next_one = next_one + 1
    return best
