"""Truth by depth and poses: a point is lifted to where its ray meets the scene, and seen again.

Depth is the z of a place in its camera's coordinates, in the unit of the poses.  One tolerance says
what is the same surface, a share of depth: 5 %, as dense matching has it (J. Edstedt et al., "DKM",
CVPR 2023, and "RoMa", CVPR 2024; "LoFTR", CVPR 2021, allows 20 %).  A point that lands where image
b shows something nearer by more than that is occluded.  If image b looks past it, at something
farther, both depths contradict each other, and nothing is known; neither is where image b has no
depth.

Between pixels the inverse of depth is read, because on a plane it is linear, and depth is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.files import sha256_of
from engine.geometry.coords import Resize, inside
from engine.truth.base import DenseTruth, Points, Size, TruePoints, Visibility
from engine.truth.cameras import Camera
from engine.truth.map_files import read_map
from engine.truth.surfaces import are_apart, read_surface
from engine.vocabulary import Side, TruthKind, TruthOrigin

SAME_SURFACE: Final = 0.05
"""Depths that differ by a larger share are of two surfaces."""

_NAMES: Final = ("depth", "depthmap", "depth_map")


@dataclass(frozen=True, slots=True)
class DepthSource:
    """Depth maps of both images, and their cameras.

    Attributes:
        depth_a: the map of image a, any file that :func:`read_map` reads; None for none, and then
            only the cameras are known.
        depth_b: that of image b.
        camera_a, camera_b: in one world.
        factor: what a stored number is divided by to give the unit of the poses.  None stands for 1
            of floats; whole numbers need one (1000 in ScanNet, 256 in glue-factory's PNGs).
        same_surface: depths that differ by a larger share are of two surfaces.
        origin: who made them.
    """

    depth_a: Path | None
    depth_b: Path | None
    camera_a: Camera
    camera_b: Camera
    factor: float | None = None
    same_surface: float = SAME_SURFACE
    origin: TruthOrigin = "given"

    @property
    def kind(self) -> TruthKind:
        """Depth."""
        return "depth"

    @property
    def files(self) -> tuple[Path, ...]:
        """The maps; the cameras are in memory."""
        return tuple(path for path in (self.depth_a, self.depth_b) if path is not None)

    def open(self, size_a_px: Size, size_b_px: Size) -> DepthTruth:
        """Read the maps.

        A map or a camera of another size than its image covers the same area, if its sides have the
        same ratio.

        Raises:
            TruthError: a map cannot be read, a map or a camera has another shape than its image, or
                the factor is missing or no positive number.
        """
        cameras: list[Camera] = []
        nearness: list[NDArray[np.float32]] = []
        steps: list[float] = []
        for side, path, camera, size_px in (
            ("a", self.depth_a, self.camera_a, size_a_px),
            ("b", self.depth_b, self.camera_b, size_b_px),
        ):
            resize = Resize(camera.size_px, size_px)
            if not resize.keeps_shape:
                (width, height), (wide, high) = camera.size_px, size_px
                raise TruthError(
                    path or f"image {side}",
                    f"its camera is one of {width} × {height} pixels, and the image has "
                    f"{wide} × {high}, which is another shape",
                )
            cameras.append(camera.resized(resize))
            if path is None:
                nearness.append(np.full((1, 1), np.nan, np.float32))
                steps.append(math.nan)
                continue
            inverse, step = _read_nearness(path, self.factor, size_px)
            nearness.append(inverse)
            steps.append(step)
        return DepthTruth(
            nearness=(nearness[0], nearness[1]),
            cameras=(cameras[0], cameras[1]),
            steps=(steps[0], steps[1]),
            same_surface=self.same_surface,
        )

    def identity(self) -> str:
        """The cameras and settings, and the hashes of the maps."""
        hashes = (
            "none" if path is None else sha256_of(path, TruthError)
            for path in (self.depth_a, self.depth_b)
        )
        settings = (self.camera_a, self.camera_b, self.factor, self.same_surface)
        return " ".join((*map(repr, settings), *hashes))


@dataclass(frozen=True, slots=True, eq=False)
class DepthTruth(DenseTruth):
    """Opened depth maps with their cameras.

    Attributes:
        nearness: ``(H, W)`` float32 inverses of the depths of both images, NaN for unknown; each
            covers the area of its image, in pixels of its own.
        cameras: of both images.
        steps: how finely either depth is stored, in the unit of the poses; NaN for floats, which do
            not tell it.
        same_surface: depths that differ by a larger share are of two surfaces.
    """

    nearness: tuple[NDArray[np.float32], NDArray[np.float32]]
    cameras: tuple[Camera, Camera]
    steps: tuple[float, float]
    same_surface: float = SAME_SURFACE

    @property
    def kind(self) -> TruthKind:
        """Depth."""
        return "depth"

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""
        return self.cameras[0].size_px, self.cameras[1].size_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """By reprojection; the other image's depth tells what is hidden.

        The uncertainty is that of rounding to the stored step of depth; NaN where floats are
        stored.
        """
        here, there = (0, 1) if side == "a" else (1, 0)
        other = self.cameras[there]
        nearness = self._read(here, points_px)
        depth = 1 / nearness
        seen_again = self._lifted(here, points_px, depth)
        places = other.project(seen_again)
        lifted = np.isfinite(seen_again).all(axis=1)
        outside = lifted & ~inside(places, other.size_px)
        with np.errstate(divide="ignore"):
            expected = 1 / seen_again[:, 2]
        found = self._read(there, places)
        apart = are_apart(found, expected, jump=self.same_surface, relative=True)
        visibility = np.full(len(places), Visibility.UNKNOWN, np.uint8)
        visibility[~apart] = Visibility.SEEN
        visibility[apart & (found > expected)] = Visibility.OCCLUDED
        visibility[outside] = Visibility.OUTSIDE
        places[visibility == Visibility.UNKNOWN] = np.nan
        uncertainty_px = np.full(len(places), np.nan)
        if not math.isnan(self.steps[here]):
            farther = self._lifted(here, points_px, depth + self.steps[here])
            moved_px = np.linalg.norm(other.project(farther) - places, axis=1)
            uncertainty_px = moved_px / math.sqrt(12)
        return TruePoints(places, visibility, uncertainty_px)

    def _lifted(self, image: int, points_px: Points, depth: NDArray[np.float64]) -> Points:
        """``(N, 3)`` what an image shows at points, in the coordinates of the other camera."""
        camera, other = self.cameras[image], self.cameras[1 - image]
        rays = np.column_stack([camera.rays(points_px), np.ones(len(points_px))])
        mine, its = camera.world_to_camera, other.world_to_camera
        with np.errstate(over="ignore", invalid="ignore"):
            world = (rays * depth[:, None] - mine[:, 3]) @ np.linalg.inv(mine[:, :3]).T
            lifted: Points = world @ its[:, :3].T + its[:, 3]
        return lifted

    def _read(self, image: int, points_px: Points) -> NDArray[np.float64]:
        """``(N,)`` inverse depths."""
        values, size_px = self.nearness[image], self.sizes_px[image]
        of_map_px = (values.shape[1], values.shape[0])
        if of_map_px != size_px:  # outer pixels of a coarse map reach up to the border
            moved = Resize(size_px, of_map_px).forward(points_px)
            within = np.clip(moved, 0, np.array(of_map_px) - 1)
            points_px = np.where(inside(points_px, size_px)[:, None], within, np.nan)
        return read_surface(values, points_px, jump=self.same_surface, relative=True)


def _read_nearness(
    path: Path, factor: float | None, size_px: Size
) -> tuple[NDArray[np.float32], float]:
    """Inverse depths with NaN for unknown, and how finely depth is stored, in the poses' unit."""
    stored = read_map(path, _NAMES)
    if stored.ndim != 2:
        raise TruthError(path, f"holds {stored.shape[2]} numbers a pixel, and a depth is one")
    of_map_px = (stored.shape[1], stored.shape[0])
    if not Resize(size_px, of_map_px).keeps_shape:
        (width, height), (wide, high) = of_map_px, size_px
        raise TruthError(
            path,
            f"has {width} × {height} pixels, and its image has {wide} × {high}, which is another "
            "shape",
        )
    whole = stored.dtype.kind in "iu"
    if factor is None and whole:
        reason = (
            "holds whole numbers; state the factor, that is, how many of them make one unit of the "
            "poses"
        )
        raise TruthError(path, reason)
    per_unit = 1.0 if factor is None else factor
    if not (per_unit > 0 and math.isfinite(per_unit)):
        raise TruthError(path, f"cannot be divided by the factor {per_unit:g}")
    known = np.isfinite(stored) & (stored > 0)
    if not known.any():
        raise TruthError(path, "knows the depth of no pixel")
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        inverse = (per_unit / np.where(known, stored, np.nan).astype(np.float64)).astype(np.float32)
    inverse[~(np.isfinite(inverse) & (inverse > 0))] = np.nan  # beyond what a float can hold
    return inverse, 1 / per_unit if whole else math.nan
