"""Where a point of one image truly lies in the other, whatever this is known from.

A :class:`TruthSource` names what is known (a matrix, files) and is cheap to carry about; opened for
images of given sizes it is a :class:`Truth`, which answers for points of either side.  Points are
in original pixels, as :mod:`engine.geometry.coords` defines them, unless a truth was resized.
Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import Resize, inside
from engine.paths import FileStamp
from engine.vocabulary import Side, TruthKind, TruthOrigin, other_side

Points = NDArray[np.float64]
Matrix = NDArray[np.float64]
Size = tuple[int, int]
Box = tuple[float, float, float, float]
"""(x, y) of the top-left and of the bottom-right corner, in pixels."""


_KEPT_OPEN = 3


class Visibility(IntEnum):
    """What is known of a point's place in the other image."""

    UNKNOWN = 0
    """Nothing: the truth does not reach here."""
    SEEN = 1
    """Its place is known, inside the other image, and nothing stands before it."""
    OCCLUDED = 2
    """Something in the other image stands before it; its place may be known all the same."""
    OUTSIDE = 3
    """It leaves the other image."""

    @property
    def words(self) -> str:
        """As users read it of one point."""
        return _WORDS[self]


_WORDS = {
    Visibility.UNKNOWN: "no truth here",
    Visibility.SEEN: "seen",
    Visibility.OCCLUDED: "occluded",
    Visibility.OUTSIDE: "out of view",
}


@dataclass(frozen=True, slots=True, eq=False)
class TruePoints:
    """The true places of points in the other image.

    Attributes:
        points_px: ``(N, 2)``; NaN where no place is known.
        visibility: ``(N,)`` uint8, values of :class:`Visibility`.
        uncertainty_px: ``(N,)`` standard deviation of the places in pixels of the other image: 0
            where the truth is exact, NaN where no place is known or nothing tells how exact it is.
    """

    points_px: Points
    visibility: NDArray[np.uint8]
    uncertainty_px: NDArray[np.float64]

    @classmethod
    def none(cls, count: int) -> TruePoints:
        """Of points of which nothing is known."""
        nowhere = np.full(count, np.nan)
        unknown = np.full(count, Visibility.UNKNOWN, np.uint8)
        return cls(np.full((count, 2), np.nan), unknown, nowhere)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """``(N,)`` True where the other image shows the point."""
        shown: NDArray[np.bool_] = self.visibility == Visibility.SEEN
        return shown

    @property
    def seen_px(self) -> Points:
        """``(N, 2)`` the places that the other image shows, NaN elsewhere."""
        return np.where(self.seen[:, None], self.points_px, np.nan)


class Truth(Protocol):
    """The opened truth of a pair.  It never changes, so any thread may ask it."""

    @property
    def kind(self) -> TruthKind:
        """What it is known from."""

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """The true places of points.

        Args:
            side: the image with the points.
            points_px: ``(N, 2)``, anywhere, also beyond that image.
        """

    @property
    def listed_px(self) -> tuple[Points, Points] | None:
        """``(N, 2)`` points of image a, and in the same order their partners in image b.

        None where the truth is dense, that is, known all over the images.
        """

    def matrix_from(self, side: Side) -> NDArray[np.float64] | None:
        """The ``(3, 3)`` homography from one side to the other; None where the truth is none."""

    def resized(self, resize_a: Resize, resize_b: Resize) -> Truth:
        """The same truth between resized images."""


@runtime_checkable
class Boxed(Protocol):
    """A truth that knows where the object is whose points it lists."""

    @property
    def boxes_px(self) -> tuple[Box | None, Box | None]:
        """Of image a and image b, in pixels of the sizes that the truth is for."""


class Pinhole(Protocol):
    """A camera, as the error of a relative pose needs it."""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``(3, 3)`` from its coordinates to pixels."""

    @property
    def world_to_camera(self) -> NDArray[np.float64]:
        """``(3, 4)`` from the world's coordinates to its own."""

    def undistorted(self, points_px: Points) -> Points:
        """``(N, 2)`` where it would show points if its lens did not distort."""


@runtime_checkable
class Filmed(Protocol):
    """A truth that knows both cameras."""

    @property
    def cameras(self) -> tuple[Pinhole, Pinhole]:
        """Of image a and image b, in pixels of the sizes that the truth is for."""


class TruthSource(Protocol):
    """What a truth is known from; hashable, so that opened truths can be kept."""

    def __hash__(self) -> int: ...

    @property
    def kind(self) -> TruthKind:
        """What the truth is known from."""

    @property
    def origin(self) -> TruthOrigin:
        """Whether the data set gave it, or the program or its user made it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it is read from; none where all is in memory."""

    def open(self, size_a_px: Size, size_b_px: Size) -> Truth:
        """Read it for images of these sizes, (width, height) of the originals.

        Raises:
            DescSpaceError: a file cannot be read, or does not fit the images.
        """

    def identity(self) -> str:
        """What no other truth shares, as text: numbers, or hashes of files.

        Raises:
            FileError: a file cannot be read.
        """


def open_truth(source: TruthSource, size_a_px: Size, size_b_px: Size) -> Truth:
    """Open a truth, or return it where it was opened for these sizes shortly before.

    Raises:
        DescSpaceError: see :meth:`TruthSource.open`.
    """
    stamps = tuple(FileStamp.of(path) for path in source.files)
    return _opened(source, size_a_px, size_b_px, stamps)


@lru_cache(maxsize=_KEPT_OPEN)
def _opened(
    source: TruthSource, size_a_px: Size, size_b_px: Size, _stamps: tuple[object, ...]
) -> Truth:
    return source.open(size_a_px, size_b_px)


def exact_points(points_px: Points, size_px: Size) -> TruePoints:
    """Known, exact places: seen inside an image of this size, outside elsewhere.

    Args:
        points_px: ``(N, 2)``; a place that is not finite leaves the image.
        size_px: (width, height) of the image with these places.
    """
    within = inside(points_px, size_px)
    visibility = np.where(within, Visibility.SEEN, Visibility.OUTSIDE).astype(np.uint8)
    finite = np.isfinite(points_px)
    known = finite[:, 0] & finite[:, 1]  # faster than ``all``
    return TruePoints(points_px, visibility, np.where(known, 0.0, np.nan))


def snap(
    truth: Truth, side: Side, point_px: tuple[float, float], radius_px: float
) -> tuple[float, float]:
    """The listed point nearest to a point, or the point itself where none is near.

    Args:
        truth: where it is dense, nothing is listed.
        side: the image with the point.
        point_px: the point.
        radius_px: how near is near.
    """
    listed = truth.listed_px
    points = np.empty((0, 2)) if listed is None else listed[0 if side == "a" else 1]
    if not len(points):
        return point_px
    squared = np.square(points - np.array(point_px)).sum(axis=1)
    squared[np.isnan(squared)] = np.inf
    nearest = int(squared.argmin())
    if squared[nearest] > radius_px**2:
        return point_px
    x, y = points[nearest].tolist()
    return x, y


@dataclass(frozen=True, slots=True, eq=False)
class ResizedTruth:
    """A truth between resized images, for kinds that have no shorter way.

    Attributes:
        original: the truth between the images before.
        resize_a, resize_b: from original to working pixels.
    """

    original: Truth
    resize_a: Resize
    resize_b: Resize

    @property
    def kind(self) -> TruthKind:
        """That of the original."""
        return self.original.kind

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """After the resize."""
        return self.resize_a.to_size_px, self.resize_b.to_size_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """Ask the original; a standard deviation grows with the mean of both scales."""
        here, there = self._resizes(side)
        found = self.original.locate(side, here.backward(points_px))
        growth = sum(there.scale_xy) / 2
        return TruePoints(
            there.forward(found.points_px), found.visibility, growth * found.uncertainty_px
        )

    @property
    def listed_px(self) -> tuple[Points, Points] | None:
        """The listed points after the resize."""
        listed = self.original.listed_px
        if listed is None:
            return None
        return self.resize_a.forward(listed[0]), self.resize_b.forward(listed[1])

    def matrix_from(self, side: Side) -> NDArray[np.float64] | None:
        """The homography between the resized images, if the truth is one."""
        matrix = self.original.matrix_from(side)
        if matrix is None:
            return None
        here, there = self._resizes(side)
        return here.homography(there, matrix)

    def resized(self, resize_a: Resize, resize_b: Resize) -> Truth:
        """Resized again."""
        return ResizedTruth(self, resize_a, resize_b)

    def _resizes(self, side: Side) -> tuple[Resize, Resize]:
        both = (self.resize_a, self.resize_b)
        return both if side == "a" else both[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class SwappedTruth:
    """A truth whose image a is the pair's image b, and the other way round.

    Attributes:
        original: the truth between image b and image a.
    """

    original: Truth

    @property
    def kind(self) -> TruthKind:
        """That of the original."""
        return self.original.kind

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""
        size_b_px, size_a_px = self.original.sizes_px
        return size_a_px, size_b_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """Ask the original about its other side."""
        return self.original.locate(other_side(side), points_px)

    @property
    def listed_px(self) -> tuple[Points, Points] | None:
        """The listed points of image a, and their partners."""
        listed = self.original.listed_px
        return None if listed is None else listed[::-1]

    def matrix_from(self, side: Side) -> NDArray[np.float64] | None:
        """The original's homography from its other side, if it is one."""
        return self.original.matrix_from(other_side(side))

    def resized(self, resize_a: Resize, resize_b: Resize) -> Truth:
        """The original between resized images, swapped."""
        return SwappedTruth(self.original.resized(resize_b, resize_a))


class NoHomography:
    """What the kinds share that are no homography."""

    __slots__ = ()

    def matrix_from(self, _side: Side) -> None:
        """None: it is no homography."""
        return

    def resized(self: Truth, resize_a: Resize, resize_b: Resize) -> Truth:
        """The same between resized images, asked of the original ones."""
        return ResizedTruth(self, resize_a, resize_b)


class DenseTruth(NoHomography):
    """What these kinds share if they are known all over the images."""

    __slots__ = ()

    @property
    def listed_px(self) -> None:
        """None: it is dense."""
        return


def box_in(truth: Truth, side: Side) -> Box | None:
    """The box of the object whose points a truth lists; None where it knows of none."""
    if isinstance(truth, SwappedTruth):
        return box_in(truth.original, other_side(side))
    return truth.boxes_px[0 if side == "a" else 1] if isinstance(truth, Boxed) else None


def cameras_of(truth: Truth) -> tuple[tuple[Matrix, Matrix], tuple[Matrix, Matrix]] | None:
    """Both cameras that took the images of a pair.

    Returns:
        For image a and image b: ``(3, 3)`` from the camera's coordinates to pixels of the sizes
        that the truth is for, and ``(3, 4)`` from the world's coordinates to the camera's.  None
        where the truth knows of no cameras.
    """
    if isinstance(truth, ResizedTruth):
        found = cameras_of(truth.original)
        if found is None:
            return None
        (matrix_a, pose_a), (matrix_b, pose_b) = found
        resized_a, resized_b = (one.matrix() for one in (truth.resize_a, truth.resize_b))
        return (resized_a @ matrix_a, pose_a), (resized_b @ matrix_b, pose_b)
    if isinstance(truth, SwappedTruth):
        found = cameras_of(truth.original)
        return None if found is None else found[::-1]
    if not isinstance(truth, Filmed):
        return None
    a, b = truth.cameras
    return (a.matrix, a.world_to_camera), (b.matrix, b.world_to_camera)


def undistorted(truth: Truth, side: Side, points_px: Points) -> Points:
    """Where points of an image would be if its lens did not distort.

    Only such points obey the matrix of :func:`cameras_of`.

    Args:
        truth: of the pair.
        side: the image with the points.
        points_px: ``(N, 2)``, in pixels of the sizes that the truth is for.

    Returns:
        ``(N, 2)``; NaN where the lens shows nothing, and the points themselves where the truth
        knows of no cameras.
    """
    if isinstance(truth, ResizedTruth):
        resize = truth.resize_a if side == "a" else truth.resize_b
        return resize.forward(undistorted(truth.original, side, resize.backward(points_px)))
    if isinstance(truth, SwappedTruth):
        return undistorted(truth.original, other_side(side), points_px)
    if not isinstance(truth, Filmed):
        return points_px
    return truth.cameras[0 if side == "a" else 1].undistorted(points_px)
