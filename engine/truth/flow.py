"""Truth by optical flow: how far each pixel of an image moves to the other one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.files import sha256_of
from engine.truth.base import DenseTruth, Points, Size, TruePoints, Visibility, exact_points
from engine.truth.displacements import Displacements
from engine.truth.map_files import read_map
from engine.vocabulary import Side, TruthKind, TruthOrigin

_NAMES: Final = ("flow", "flow_fw", "forward_flow", "optical_flow", "uv")
_UNKNOWN_ABOVE: Final = 1e9
_KITTI_ZERO, _KITTI_STEPS_PER_PX = 2**15, 64.0
# |w + v|² < 0.01 (|w|² + |v|²) + 0.5 for the flows w and v there and back: N. Sundaram, T. Brox
# and K. Keutzer, Dense point trajectories by GPU-accelerated large displacement optical flow,
# ECCV 2010, equation 5.
_CHECK_SHARE, _CHECK_SQUARE_PX = 0.01, 0.5


@dataclass(frozen=True, slots=True)
class FlowSource:
    """Files with flow.

    Attributes:
        forward: from image a to image b, for each pixel of image a.
        backward: from image b to image a, for each pixel of image b; None where there is none.
        unoccluded: the forward flow again, known only where image b shows the point, as KITTI's
            ``flow_noc`` is; None where there is none.
        origin: who made it.
        uncertainty_px: standard deviation of the flow; None where nothing tells it.
    """

    forward: Path
    backward: Path | None = None
    unoccluded: Path | None = None
    origin: TruthOrigin = "given"
    uncertainty_px: float | None = None

    @property
    def kind(self) -> TruthKind:
        """Flow."""
        return "flow"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that there are."""
        return tuple(
            path for path in (self.forward, self.backward, self.unoccluded) if path is not None
        )

    def open(self, size_a_px: Size, size_b_px: Size) -> FlowTruth:
        """Read all files.

        Raises:
            TruthError: a file cannot be read, or has another size than its image.
        """
        return FlowTruth(
            Displacements.of(read_flow(self.forward, size_a_px)),
            _read_optional(self.backward, size_b_px),
            _read_optional(self.unoccluded, size_a_px),
            (size_a_px, size_b_px),
            float("nan") if self.uncertainty_px is None else self.uncertainty_px,
        )

    def identity(self) -> str:
        """Hashes of its files.

        Raises:
            TruthError: a file cannot be read.
        """
        hashes = [
            f"{name} {'none' if path is None else sha256_of(path, TruthError)}"
            for name, path in (
                ("forward", self.forward),
                ("backward", self.backward),
                ("unoccluded", self.unoccluded),
            )
        ]
        return f"flow {', '.join(hashes)}, uncertainty {self.uncertainty_px}"


@dataclass(frozen=True, slots=True, eq=False)
class FlowTruth(DenseTruth):
    """An opened flow.

    Without a backward flow, places in image a are found by turning the forward flow
    (:meth:`Displacements.inverse`), or what is unoccluded of it.

    A point is occluded where the flow there and back, read around its place, miss it by more than
    the rule of Sundaram et al. (ECCV 2010), or where its pixel is not in the unoccluded flow.  What
    has neither file is called seen, as a flow alone tells nothing about it.

    Attributes:
        forward: from image a to image b.
        backward: from image b to image a, None where it was not given.
        unoccluded: the part of the forward flow that image b shows, None where it was not given.
        sizes_px: (width, height) of both images.
        uncertainty_px: standard deviation of a place, NaN where nothing tells it.
    """

    forward: Displacements
    backward: Displacements | None
    unoccluded: Displacements | None
    sizes_px: tuple[Size, Size]
    uncertainty_px: float

    @property
    def kind(self) -> TruthKind:
        """Flow."""
        return "flow"

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """Unknown where the flow is, and between pixels that show different surfaces."""
        points = np.asarray(points_px, np.float64)
        there, back = self._ways(side)
        size_px = self.sizes_px[1 if side == "a" else 0]
        moved = there.read(points)
        found = exact_points(points + moved, size_px)
        visibility = found.visibility
        hidden = np.zeros(len(points), np.bool_)
        if back is not None:
            hidden |= _contradicted(moved, back.read(found.points_px), back.around(found.points_px))
        if side == "a" and self.unoccluded is not None:
            hidden |= ~self.unoccluded.knows(points)
        visibility[hidden & (visibility == Visibility.SEEN)] = Visibility.OCCLUDED
        known = np.isfinite(moved[:, 0])
        visibility[~known] = Visibility.UNKNOWN
        uncertainty = np.where(known, self.uncertainty_px, np.nan)
        return TruePoints(found.points_px, visibility, uncertainty)

    def _ways(self, side: Side) -> tuple[Displacements, Displacements | None]:
        """The flow from one side to the other, and the one back that it can be checked by."""
        if side == "a":
            return self.forward, self.backward
        if self.backward is not None:
            return self.backward, self.forward
        shown = self.forward if self.unoccluded is None else self.unoccluded
        return shown.inverse(self.sizes_px[1]), None


def _read_optional(path: Path | None, size_px: Size) -> Displacements | None:
    return None if path is None else Displacements.of(read_flow(path, size_px))


def _contradicted(there: Points, back: Points, around: Points) -> NDArray[np.bool_]:
    """Where the way back leads elsewhere.

    Args:
        there: ``(N, 2)`` displacements of points.
        back: ``(N, 2)`` those of their places, NaN where these are unknown or at an edge.
        around: ``(4, N, 2)`` those of the pixels around their places; at an edge, one of these that
            leads back is enough.

    Returns:
        ``(N,)``; False where nothing is known about the way back.
    """
    by_pixels = np.isfinite(around[..., 0])
    at_pixels = by_pixels.any(axis=0) & (_apart(there, around) | ~by_pixels).all(axis=0)
    contradicted: NDArray[np.bool_] = np.where(
        np.isfinite(back[:, 0]), _apart(there, back), at_pixels
    )
    return contradicted & np.isfinite(there[:, 0])


def _apart(there: Points, back: Points) -> NDArray[np.bool_]:
    """Where ``(..., N, 2)`` ways back miss those there, ``(..., N)``; True for unknown ones."""
    square = np.sum((there + back) ** 2, axis=-1)
    lengths = np.sum(there**2, axis=-1) + np.sum(back**2, axis=-1)
    near: NDArray[np.bool_] = square < _CHECK_SHARE * lengths + _CHECK_SQUARE_PX
    return ~near


def read_flow(path: Path, size_px: Size) -> NDArray[np.float32]:
    """Read a flow of any format; ``docs/GROUND_TRUTH.md`` lists them.

    Args:
        path: ``.flo``, KITTI's PNG of 16 bit, PFM, TIFF, OpenEXR, ``.npy``, ``.npz`` or HDF5.
        size_px: (width, height) of the image whose pixels move.

    Returns:
        ``(H, W, 2)`` displacements (x, y) in pixels, NaN where unknown.

    Raises:
        TruthError: it cannot be read, has another size, or holds no flow.
    """
    flow = _decoded(path, read_map(path, _NAMES, size_px=size_px, channels=True))
    if not np.isfinite(flow).any():
        raise TruthError(path, "tells of no pixel where it moves")
    return flow


def _decoded(path: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    """``(H, W, 2)`` of the numbers in a file; NaN where it marks a pixel as unknown."""
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.dtype == np.uint8:
        reason = "is a picture of 8 bit, as flow is shown in colours; KITTI's flow has 16 bit"
        raise TruthError(path, reason)
    if channels not in (2, 3):
        counted = "1 number" if channels == 1 else f"{channels} numbers"
        raise TruthError(path, f"holds {counted} for each pixel, and flow is 2")
    with np.errstate(invalid="ignore", over="ignore"):
        flow = values[..., :2].astype(np.float32)
        flow[~(np.abs(flow) <= _UNKNOWN_ABOVE).all(axis=2)] = np.nan
    if channels == 2:
        return flow
    third = values[..., 2]
    if values.dtype == np.uint16:
        flow = (flow - np.float32(_KITTI_ZERO)) / np.float32(_KITTI_STEPS_PER_PX)
    elif third.min() == third.max():  # a filler: PFM has no two channels
        return flow
    elif not ((third == 0) | (third == 1)).all():
        reason = "holds a third number for each pixel that is no mark of what is known (0 or 1)"
        raise TruthError(path, reason)
    flow[third == 0] = np.nan
    return flow
