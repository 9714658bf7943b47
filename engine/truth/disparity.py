"""Truth by disparity: how far a point of a rectified stereo pair lies to the left in image b.

Image a is the left one.  The pixel at x of the left image lies at x - d in the right one, in the
same row, and the pixel at x of the right image at x + d in the left one.

One rule says what hides what, the left-right check: a point is carried over and the disparity
there is read.  If it is larger by more than a pixel, something nearer stands there, and the point
is occluded (Scharstein and Szeliski, "A Taxonomy and Evaluation of Dense Two-Frame Stereo
Correspondence Algorithms", 2002, section 5.1); if it is smaller by more than a pixel, the maps
contradict each other, and nothing is known.  Where the right map is not given it is made by
carrying over the left one, the nearest surface counting: then what another point of the left image
covers is occluded.  A second left map that knows only what both images show, as KITTI's
``disp_noc`` does, decides instead for points of the left image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.files import sha256_of
from engine.geometry.coords import inside
from engine.truth.base import DenseTruth, Points, Size, TruePoints, Visibility
from engine.truth.map_files import read_map
from engine.truth.surfaces import read_surface
from engine.vocabulary import Side, TruthKind, TruthOrigin

SAME_SURFACE_PX: Final = 1.0
"""Disparities that differ by more are of two surfaces, be it of neighbours or of both images.

No surface that both images show in the same order gets further apart within a pixel: that is the
limit of the disparity's gradient (Burt and Julesz, "A disparity gradient limit for binocular
fusion", 1980).  Cross-checks use the same pixel.
"""

_NAMES: Final = ("disparity", "disp")
_PER_PX_16: Final = 256.0  # KITTI's
_MOST_COLUMNS: Final = 3  # whole numbers in a span of at most two pixels


@dataclass(frozen=True, slots=True)
class DisparitySource:
    """Disparity maps of a rectified stereo pair.

    Attributes:
        left: the map of image a, any file that :func:`read_map` reads.
        right: the map of image b, where there is one.
        factor: what a stored number is divided by to give pixels.  None stands for 256 of 16-bit
            numbers, as KITTI has them, and for 1 of floats; 8-bit numbers need one (Middlebury
            names it beside its maps).
        origin: who made them.
        unoccluded: the left map again, known only where image b shows the point, as KITTI's
            ``disp_noc`` is; None where there is none.
    """

    left: Path
    right: Path | None = None
    factor: float | None = None
    origin: TruthOrigin = "given"
    unoccluded: Path | None = None

    @property
    def kind(self) -> TruthKind:
        """Disparity."""
        return "disparity"

    @property
    def files(self) -> tuple[Path, ...]:
        """The maps."""
        return tuple(path for path in (self.left, self.right, self.unoccluded) if path is not None)

    def open(self, size_a_px: Size, size_b_px: Size) -> DisparityTruth:
        """Read the maps.

        Raises:
            TruthError: a map cannot be read or does not fit its image, the images have rows of
                different numbers, or the factor is missing or no positive number.
        """
        if size_a_px[1] != size_b_px[1]:
            raise TruthError(
                self.left,
                f"is a disparity map, and its images have {size_a_px[1]} and {size_b_px[1]} rows: "
                "they are not rectified",
            )
        left, step_px = _read_disparity(self.left, self.factor, size_a_px)
        shown = None
        if self.unoccluded is not None:
            shown, _ = _read_disparity(self.unoccluded, self.factor, size_a_px)
        if self.right is None:
            both_show = left if shown is None else shown
            right, right_step_px = carried_over(both_show, size_b_px[0]), step_px
        else:
            right, right_step_px = _read_disparity(self.right, self.factor, size_b_px)
        return DisparityTruth(
            left, right, (step_px, right_step_px), None if shown is None else np.isfinite(shown)
        )

    def identity(self) -> str:
        """The factor, and the hashes of the maps."""
        hashes = (sha256_of(path, TruthError) for path in self.files)
        unoccluded = () if self.unoccluded is None else ("unoccluded",)
        return " ".join((repr(self.factor), *hashes, *unoccluded))


@dataclass(frozen=True, slots=True, eq=False)
class DisparityTruth(DenseTruth):
    """Opened disparity maps.

    Attributes:
        left: ``(H, W)`` float32 disparities of image a in pixels, NaN for unknown.
        right: ``(H, W')`` those of image b.
        steps_px: how finely either map is stored; NaN for floats, which do not tell it.
        shown: ``(H, W)`` which pixels of image a image b shows; None where only the left-right
            check tells.
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    steps_px: tuple[float, float]
    shown: NDArray[np.bool_] | None = None

    @property
    def kind(self) -> TruthKind:
        """Disparity."""
        return "disparity"

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""
        (height, left), (_, right) = self.left.shape, self.right.shape
        return (left, height), (right, height)

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """By the side's own map; what is hidden is told by ``shown``, else by the other side's map.

        The uncertainty is that of rounding to the stored step; NaN where floats are stored.
        """
        if side == "a":
            own, other, towards, step_px = self.left, self.right, -1.0, self.steps_px[0]
        else:
            own, other, towards, step_px = self.right, self.left, 1.0, self.steps_px[1]
        disparity = read_surface(own, points_px, jump=SAME_SURFACE_PX)
        places = np.array(points_px, np.float64)
        places[:, 0] += towards * disparity
        nearer = read_surface(other, places, jump=SAME_SURFACE_PX) - disparity
        known = np.isfinite(disparity)
        outside = known & ~inside(places, (other.shape[1], other.shape[0]))
        visibility = np.full(len(places), Visibility.UNKNOWN, np.uint8)
        visibility[np.abs(nearer) <= SAME_SURFACE_PX] = Visibility.SEEN
        visibility[nearer > SAME_SURFACE_PX] = Visibility.OCCLUDED
        if side == "a" and self.shown is not None:
            columns, rows = np.floor(np.asarray(points_px)[known] + 0.5).astype(np.intp).T
            visibility[known] = np.where(
                self.shown[rows, columns], Visibility.SEEN, Visibility.OCCLUDED
            )
        visibility[outside] = Visibility.OUTSIDE
        places[visibility == Visibility.UNKNOWN] = np.nan
        uncertainty_px = np.where(np.isfinite(places[:, 0]), step_px / math.sqrt(12), np.nan)
        return TruePoints(places, visibility, uncertainty_px)


def carried_over(left: NDArray[np.float32], width_px: int) -> NDArray[np.float32]:
    """The disparities of the right image as far as the left one's tell them.

    Neighbours on one surface are joined by a straight line, a surface ends half a pixel beyond its
    last pixel, and where several reach a pixel of the right image the nearest one counts.

    Args:
        left: ``(H, W)`` disparities of the left image, NaN for unknown.
        width_px: of the right image.

    Returns:
        ``(H, width_px)``; NaN where no point of the left image comes to lie.
    """
    height, width = left.shape
    nearest = np.full((height, width_px), -np.inf)
    rows = np.broadcast_to(np.arange(height)[:, None], left.shape)
    disparity = left.astype(np.float64)
    places = np.arange(width) - disparity

    def put(
        rows: NDArray[np.intp], columns: NDArray[Any], values: NDArray[Any], where: NDArray[Any]
    ) -> None:
        with np.errstate(invalid="ignore"):
            there = where & (columns >= 0) & (columns < width_px)
        np.maximum.at(nearest, (rows[there], columns[there].astype(np.intp)), values[there])

    with np.errstate(invalid="ignore", divide="ignore"):
        rise = np.diff(disparity)
        joined = np.abs(rise) <= SAME_SURFACE_PX
        begin, end = places[:, :-1], places[:, 1:]
        for number in range(_MOST_COLUMNS):
            columns = np.ceil(begin) + number
            share = np.where(end > begin, (columns - begin) / (end - begin), 0.0)
            put(rows[:, 1:], columns, disparity[:, :-1] + share * rise, joined & (columns <= end))
        beside = np.zeros((height, 1), bool)
        known = np.isfinite(disparity)
        first = known & ~np.concatenate([beside, joined], axis=1)
        last = known & ~np.concatenate([joined, beside], axis=1)
        before, behind = np.ceil(places - 0.5), np.floor(places + 0.5)
        put(rows, before, disparity, first & (before <= places))
        put(rows, behind, disparity, last & (behind >= places))
    return np.where(np.isfinite(nearest), nearest, np.nan).astype(np.float32)


def _read_disparity(
    path: Path, factor: float | None, size_px: Size
) -> tuple[NDArray[np.float32], float]:
    """A map in pixels with NaN for unknown, and how finely it is stored."""
    stored = read_map(path, _NAMES, size_px=size_px)
    if stored.ndim != 2:
        raise TruthError(path, f"holds {stored.shape[2]} numbers a pixel, and a disparity is one")
    whole = stored.dtype.kind in "iu"
    if factor is None and whole and stored.dtype != np.uint16:
        reason = "holds whole numbers; state the factor, that is, how many of them make a pixel"
        raise TruthError(path, reason)
    per_px = factor if factor is not None else _PER_PX_16 if whole else 1.0
    if not (per_px > 0 and math.isfinite(per_px)):
        raise TruthError(path, f"cannot be divided by the factor {per_px:g}")
    # 0 marks the unknown in whole numbers, infinity in floats; -1 is found in both.
    known = stored > 0 if whole else np.isfinite(stored) & (stored >= 0)
    if not known.any():
        raise TruthError(path, "knows the disparity of no pixel")
    disparity = np.where(known, stored, np.nan) / per_px
    return disparity.astype(np.float32), 1 / per_px if whole else math.nan
