"""Calibrated cameras: where each stands, and which pixel a direction meets through its lens.

A camera looks along its z axis, x points right and y down.  Its depth is the z of a point in its
own coordinates, not the length of the ray.  Lenses are COLMAP's models, under its names and with
its parameters (``src/colmap/sensor/models.h``), but pixels are the program's, so that COLMAP's
principal point loses half a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import CORNER_PX, Resize
from engine.truth.base import Matrix, Points, Size

_ROUNDS: Final = 50
_STEP: Final = 1e-6
_WIDEST: Final = 1.55  # radians from the axis; at a quarter turn a ray is no point of a plane
_CONVERGED: Final = 1e-9
_SAME_RAY: Final = 1e-6
_NO_ROTATION: Final = 1e-2
_SHORTEST_PX, _FARTHEST_PX = 1e-3, 1e7


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera with its pose.

    Attributes:
        model: COLMAP's name of the lens.
        size_px: (width, height) of its image.
        intrinsics: ``fx, fy, cx, cy`` in pixels, (0, 0) being the centre of the top-left one.
        distortion: the lens's other parameters in COLMAP's order.
        pose: twelve numbers, ``world_to_camera`` row by row.
    """

    model: str
    size_px: Size
    intrinsics: tuple[float, float, float, float]
    distortion: tuple[float, ...]
    pose: tuple[float, ...]

    @classmethod
    def pinhole(cls, matrix: Matrix, world_to_camera: Matrix, size_px: Size) -> Camera:
        """A camera without distortion.

        Args:
            matrix: ``(3, 3)`` from its coordinates to pixels, without skew.
            world_to_camera: ``(3, 4)``.
            size_px: (width, height).

        Raises:
            ValueError: a number is not finite, a focal length not positive, or the pose no motion.
        """
        numbers = np.asarray(matrix, np.float64)
        intrinsics = tuple(float(numbers[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return cls._checked("PINHOLE", size_px, intrinsics, (), world_to_camera)

    @classmethod
    def of_colmap(
        cls, model: str, size_px: Size, parameters: Sequence[float], world_to_camera: Matrix
    ) -> Camera:
        """A camera as COLMAP's files have it.

        Args:
            model: COLMAP's name of the lens.
            size_px: (width, height).
            parameters: in COLMAP's order; (0, 0) is the corner of the top-left pixel.
            world_to_camera: ``(3, 4)``.

        Raises:
            ValueError: the model is not known, its parameters are not as many, a number is not
                finite, a focal length not positive, or the pose no motion.
        """
        lens = _LENSES.get(model)
        if lens is None:
            raise ValueError(f"cameras of the model {model} are not read, {', '.join(_LENSES)} are")
        expected = lens.focals + 2 + lens.parameters
        if len(parameters) != expected:
            raise ValueError(f"{model} has {expected} parameters, not {len(parameters)}")
        focals = parameters[: lens.focals]
        x, y = (centre - CORNER_PX for centre in parameters[lens.focals : lens.focals + 2])
        intrinsics = (focals[0], focals[-1], x, y)
        return cls._checked(
            model, size_px, intrinsics, parameters[lens.focals + 2 :], world_to_camera
        )

    @classmethod
    def _checked(
        cls,
        model: str,
        size_px: Size,
        intrinsics: Sequence[float],
        distortion: Sequence[float],
        world_to_camera: Matrix,
    ) -> Camera:
        pose = np.asarray(world_to_camera, np.float64)
        if not all(map(math.isfinite, (*intrinsics, *distortion, *pose.ravel()))):
            raise ValueError("a number is not finite")
        if min(intrinsics[:2]) <= 0:
            raise ValueError("a focal length is not positive")
        if min(intrinsics[:2]) < _SHORTEST_PX or max(map(abs, intrinsics)) > _FARTHEST_PX:
            raise ValueError("a focal length or principal point is none that a camera can have")
        if min(size_px) < 1:
            raise ValueError(f"an image has no size of {size_px[0]} × {size_px[1]}")
        rotation = pose[:, :3]
        if (
            np.abs(rotation).max() > 1 + _NO_ROTATION
            or np.abs(rotation @ rotation.T - np.eye(3)).max() > _NO_ROTATION
            or np.linalg.det(rotation) < 0
        ):
            raise ValueError("its pose holds no rotation")
        fx, fy, x, y = map(float, intrinsics)
        numbers = tuple(map(float, pose.ravel()))
        return cls(model, size_px, (fx, fy, x, y), tuple(map(float, distortion)), numbers)

    @property
    def matrix(self) -> Matrix:
        """``(3, 3)`` from the camera's coordinates to pixels, the lens left out."""
        fx, fy, x, y = self.intrinsics
        return np.array([[fx, 0.0, x], [0.0, fy, y], [0.0, 0.0, 1.0]])

    @property
    def world_to_camera(self) -> Matrix:
        """``(3, 4)`` from the world's coordinates to the camera's."""
        return np.array(self.pose).reshape(3, 4)

    def rays(self, points_px: Points) -> Points:
        """Directions of points: ``(N, 2)`` x and y at depth 1; NaN where the lens shows none."""
        fx, fy, x, y = self.intrinsics
        flat = (np.asarray(points_px, np.float64) - [x, y]) / [fx, fy]
        bend = _LENSES[self.model].bend
        return flat if bend is None else _straightened(bend, flat, self.distortion)

    def project(self, points: Points) -> Points:
        """Pixels of points.

        Args:
            points: ``(N, 3)`` in the camera's coordinates.

        Returns:
            ``(N, 2)``, also beyond the image; NaN behind the camera, and where the lens's model
            folds back what it does not show.
        """
        fx, fy, x, y = self.intrinsics
        with np.errstate(divide="ignore", invalid="ignore"):
            rays = np.where(points[:, 2:] > 0, points[:, :2] / points[:, 2:], np.nan)
        bend = _LENSES[self.model].bend
        if bend is None:
            with np.errstate(over="ignore"):
                return rays * [fx, fy] + [x, y]
        with np.errstate(all="ignore"):
            bent = bend(rays, *self.distortion)
            again = _straightened(bend, bent, self.distortion)
            folded = ~(np.abs(again - rays).max(axis=1) <= _SAME_RAY * (1 + np.abs(rays).max(1)))
        bent[folded] = np.nan
        return bent * [fx, fy] + [x, y]

    def resized(self, resize: Resize) -> Camera:
        """The camera of the same image at another size."""
        (fx, fy, x, y), (scale_x, scale_y) = self.intrinsics, resize.scale_xy
        x, y = resize.forward(np.array([x, y])).tolist()
        return replace(
            self, size_px=resize.to_size_px, intrinsics=(fx * scale_x, fy * scale_y, x, y)
        )

    def undistorted(self, points_px: Points) -> Points:
        """``(N, 2)`` where the camera would show points if its lens did not distort."""
        fx, fy, x, y = self.intrinsics
        return self.rays(points_px) * [fx, fy] + [x, y]


def pose_matrix(quaternion: Sequence[float], translation: Sequence[float]) -> Matrix:
    """``(3, 4)`` of a rotation as Hamilton's quaternion w, x, y, z, of any length, and a shift.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    length = math.hypot(*quaternion)
    if not (0 < length < math.inf):
        raise ValueError("its pose holds no rotation")
    w, x, y, z = (number / length for number in quaternion)
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.column_stack([np.array(rotation), np.asarray(translation, np.float64)])


# ---- lenses ----------------------------------------------------------------------------------

_Bend = Callable[..., Points]
"""From ``(N, 2)`` rays to where the lens puts them, in focal lengths; then its parameters."""


@dataclass(frozen=True, slots=True)
class _Lens:
    """A model of COLMAP's.

    Attributes:
        focals: how many focal lengths its parameters begin with.
        parameters: how many stand behind the principal point.
        bend: its distortion; None for none.
    """

    focals: int
    parameters: int
    bend: _Bend | None


def _polynomial(
    rays: Points,
    k1: float,
    k2: float = 0.0,
    p1: float = 0.0,
    p2: float = 0.0,
    *more: float,
) -> Points:
    """Brown's model, with the rational part of OpenCV's ``k3`` to ``k6``."""
    k3, k4, k5, k6 = more or (0.0,) * 4
    r2: NDArray[np.float64] = (rays**2).sum(axis=1)
    growth = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return rays * growth[:, None] + _decentred(rays, p1, p2)


def _decentred(rays: Points, p1: float, p2: float) -> Points:
    x, y = rays.T
    r2 = x**2 + y**2
    return np.stack(
        [2 * p1 * x * y + p2 * (r2 + 2 * x**2), 2 * p2 * x * y + p1 * (r2 + 2 * y**2)], axis=1
    )


def _by_angle(rays: Points) -> tuple[Points, NDArray[np.float64]]:
    """Rays as long as their angle from the axis, and that angle squared."""
    length = np.hypot(*rays.T)
    angle = np.arctan(length)
    share = np.where(length > 0, angle / np.where(length > 0, length, 1.0), 1.0)
    return rays * share[:, None], angle**2


def _fisheye(
    rays: Points, k1: float = 0.0, k2: float = 0.0, k3: float = 0.0, k4: float = 0.0
) -> Points:
    """Equidistant, with a polynomial of the angle."""
    angles, t2 = _by_angle(rays)
    growth: NDArray[np.float64] = 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
    return angles * growth[:, None]


def _thin_prism(rays: Points, k1: float, k2: float, p1: float, p2: float, *more: float) -> Points:
    """Equidistant, then a polynomial, decentred, and with a thin prism (ETH3D's)."""
    k3, k4, s1, s2 = more
    angles, t2 = _by_angle(rays)
    growth = 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))
    prism = t2[:, None] * [s1, s2]
    return angles * growth[:, None] + _decentred(angles, p1, p2) + prism


def _field_of_view(rays: Points, omega: float) -> Points:
    """By one angle (Devernay and Faugeras, "Straight lines have to be straight", 2001)."""
    if abs(omega) < _STEP:
        return rays.copy()
    length = np.hypot(*rays.T)
    wide = 2 * math.tan(omega / 2)
    safe = np.where(length > 0, length, 1.0)
    growth = np.where(length > 0, np.arctan(wide * safe) / (omega * safe), wide / omega)
    return rays * growth[:, None]


_LENSES: Final[Mapping[str, _Lens]] = {
    "SIMPLE_PINHOLE": _Lens(1, 0, None),
    "PINHOLE": _Lens(2, 0, None),
    "SIMPLE_RADIAL": _Lens(1, 1, _polynomial),
    "RADIAL": _Lens(1, 2, _polynomial),
    "OPENCV": _Lens(2, 4, _polynomial),
    "FULL_OPENCV": _Lens(2, 8, _polynomial),
    "SIMPLE_RADIAL_FISHEYE": _Lens(1, 1, _fisheye),
    "RADIAL_FISHEYE": _Lens(1, 2, _fisheye),
    "OPENCV_FISHEYE": _Lens(2, 4, _fisheye),
    "SIMPLE_FISHEYE": _Lens(1, 0, _fisheye),
    "FISHEYE": _Lens(2, 0, _fisheye),
    "THIN_PRISM_FISHEYE": _Lens(2, 8, _thin_prism),
    "FOV": _Lens(2, 1, _field_of_view),
}


def _straightened(bend: _Bend, bent: Points, parameters: tuple[Any, ...]) -> Points:
    """The rays that a lens puts at ``(N, 2)`` places, by Newton's method; NaN where none is found.

    It starts from the place itself, at the centre of which every model is the identity, drawn out
    for models of the angle.
    """
    length = np.hypot(*bent.T)
    if bend in (_fisheye, _thin_prism):
        angle = np.minimum(length, _WIDEST)
        drawn_out = np.tan(angle) / np.where(length > 0, length, 1.0)
        rays = bent * np.where(length > 0, drawn_out, 1.0)[:, None]
    else:
        rays = bent.copy()
    moving = np.arange(len(bent))
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            here = rays[moving]
            off = bend(here, *parameters) - bent[moving]
            step = _STEP * (1 + np.abs(here).max(axis=1, initial=0.0, keepdims=True))
            along_x, along_y = (
                (bend(here + step * axis, *parameters) - bend(here - step * axis, *parameters))
                / (2 * step)
                for axis in (np.array([1.0, 0.0]), np.array([0.0, 1.0]))
            )
            area = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
            rays[moving] = here - np.stack(
                [
                    (off[:, 0] * along_y[:, 1] - off[:, 1] * along_y[:, 0]) / area,
                    (along_x[:, 0] * off[:, 1] - along_x[:, 1] * off[:, 0]) / area,
                ],
                axis=1,
            )
            rays[moving[~(area > 0)]] = np.nan  # where the model folds back, it shows nothing
            moving = moving[(area > 0) & (np.abs(off).max(axis=1) > _CONVERGED / 100)]
            if not len(moving):
                break
        found = np.abs(bend(rays, *parameters) - bent).max(axis=1) <= _CONVERGED
    rays[~found] = np.nan
    return rays
