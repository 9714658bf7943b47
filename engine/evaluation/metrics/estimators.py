"""Robust estimates of a pair's geometry from its matches, by the libraries that the field uses.

The estimator alone moves an AUC by up to ten points, so its name and its settings belong to a
metric's name and to the fingerprint.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.evaluation.metrics.pose_auc import RelativePose
from engine.evaluation.switches import Estimator
from engine.extras import install_command
from engine.geometry.homography import (
    CONFIDENCE,
    MAX_ITERATIONS,
    estimate_homography,
    is_usable,
    magsac_parameters,
)

Points = NDArray[np.float64]


def check_estimator(estimator: Estimator) -> None:
    """Whether an estimator can be used.

    Raises:
        ConfigError: its library is not installed.
    """
    if estimator == "poselib":
        _poselib()


def poselib_version() -> str:
    """The version of PoseLib, which is installed."""
    return importlib.metadata.version("poselib")


def homography_from(
    estimator: Estimator, points_a: Points, points_b: Points, *, inlier_px: float, seed: int
) -> NDArray[np.float64] | None:
    """The homography that matches agree on.

    Args:
        estimator: ``opencv`` for MAGSAC++ in OpenCV (D. Barath et al., CVPR 2020), ``poselib`` for
            LO-RANSAC in PoseLib (V. Larsson).
        points_a: ``(N, 2)`` points of image a.
        points_b: ``(N, 2)`` their matches in image b.
        inlier_px: a match this close to its place in image b is an inlier.
        seed: of the random samples.

    Returns:
        ``(3, 3)``; None where there is no usable one.

    Raises:
        ConfigError: the estimator is not installed.
    """
    if estimator == "opencv":
        found = estimate_homography(points_a, points_b, threshold_px=inlier_px, seed=seed)
        return None if found is None else found.h_b_from_a
    poselib = _poselib()
    if len(points_a) < 4:
        return None
    options = _poselib_options(seed) | {"max_reproj_error": inlier_px}
    matrix = np.asarray(poselib.estimate_homography(points_a, points_b, options, {})[0], np.float64)
    return matrix if np.isfinite(matrix).all() and is_usable(matrix) else None


def pose_from(
    estimator: Estimator,
    points_a: Points,
    points_b: Points,
    intrinsics: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    inlier_px: float,
    seed: int,
) -> RelativePose | None:
    """The relative pose that matches agree on, by an essential matrix of five points.

    Args:
        estimator: as for :func:`homography_from`.
        points_a: ``(N, 2)`` points of image a.
        points_b: ``(N, 2)`` their matches in image b.
        intrinsics: ``(3, 3)`` of both cameras, without skew, in pixels with the centre of the
            top-left one at (0, 0).
        inlier_px: a match this close to its epipolar line is an inlier.
        seed: of the random samples.

    Returns:
        With a translation of length 1; None where there is none.

    Raises:
        ConfigError: the estimator is not installed.
    """
    if len(points_a) < 5:
        return None
    estimate = _opencv_pose if estimator == "opencv" else _poselib_pose
    found = estimate(points_a, points_b, intrinsics, inlier_px, seed)
    if found is None:
        return None
    whole = np.isfinite(found.rotation).all() and np.isfinite(found.translation).all()
    return found if whole and np.linalg.norm(found.translation) > 0 else None


def _opencv_pose(
    points_a: Points,
    points_b: Points,
    intrinsics: tuple[NDArray[np.float64], NDArray[np.float64]],
    inlier_px: float,
    seed: int,
) -> RelativePose | None:
    import cv2

    # In units of the focal lengths both cameras are the same one.
    normal_a, normal_b = (
        (points - matrix[:2, 2]) / (matrix[0, 0], matrix[1, 1])
        for points, matrix in zip((points_a, points_b), intrinsics, strict=True)
    )
    focal_px = float(np.mean([matrix[axis, axis] for matrix in intrinsics for axis in (0, 1)]))
    parameters = magsac_parameters(inlier_px / focal_px, seed)
    essential: Any
    none, one = np.zeros(0), np.eye(3)
    try:
        essential, mask = cv2.findEssentialMat(normal_a, normal_b, one, one, none, none, parameters)
        if essential is None or np.shape(essential) != (3, 3):
            return None
        _, rotation, translation, _ = cv2.recoverPose(essential, normal_a, normal_b, one, mask=mask)
    except cv2.error:  # raised for some degenerate samples, where others give None
        return None
    return RelativePose(
        np.asarray(rotation, np.float64), np.asarray(translation, np.float64).ravel()
    )


def _poselib_pose(
    points_a: Points,
    points_b: Points,
    intrinsics: tuple[NDArray[np.float64], NDArray[np.float64]],
    inlier_px: float,
    seed: int,
) -> RelativePose | None:
    cameras = [
        {
            "model": "PINHOLE",
            "width": 1,  # pinholes have no use for sizes
            "height": 1,
            "params": [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]],
        }
        for matrix in intrinsics
    ]
    options = _poselib_options(seed) | {"max_epipolar_error": inlier_px}
    pose, facts = _poselib().estimate_relative_pose(points_a, points_b, *cameras, options, {})
    if not facts.get("num_inliers"):
        return None
    return RelativePose(np.asarray(pose.R, np.float64), np.asarray(pose.t, np.float64).ravel())


def _poselib_options(seed: int) -> dict[str, Any]:
    return {
        "success_prob": CONFIDENCE,
        "max_iterations": MAX_ITERATIONS,
        "seed": seed % (2**31),
    }


def _poselib() -> Any:
    try:
        return importlib.import_module("poselib")
    except ImportError as error:
        reason = f"'poselib' is not installed: run {install_command('poselib')}, or choose 'opencv'"
        raise ConfigError("estimator", reason) from error
