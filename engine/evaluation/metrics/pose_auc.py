"""Pose error: the larger of the angles by which rotation and direction of translation are off.

The length of the translation is not known from two views, nor is its sign told apart, so its angle
is at most 90° (P.-E. Sarlin et al., SuperGlue, CVPR 2020).  Over many pairs it becomes an AUC, see
:mod:`engine.evaluation.metrics.recall_auc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class RelativePose:
    """Where camera b is, seen from camera a: ``x_b = rotation @ x_a + translation``.

    Attributes:
        rotation: ``(3, 3)``.
        translation: ``(3,)``, of any length where only its direction is known.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    @classmethod
    def between(
        cls, a_from_world: NDArray[np.float64], b_from_world: NDArray[np.float64]
    ) -> RelativePose:
        """From the ``(3, 4)`` matrices that map points of the world into both cameras."""
        rotation: NDArray[np.float64] = b_from_world[:, :3] @ a_from_world[:, :3].T
        return cls(rotation, b_from_world[:, 3] - rotation @ a_from_world[:, 3])


def rotation_error_deg(estimated: NDArray[Any], true: NDArray[Any]) -> float:
    """Angle of the rotation between two ``(3, 3)`` rotations, 0 to 180."""
    between = np.asarray(estimated, np.float64).T @ np.asarray(true, np.float64)
    # atan2 stays exact near 0, where the arc cosine of the trace loses half its digits.
    axis = (
        between[2, 1] - between[1, 2],
        between[0, 2] - between[2, 0],
        between[1, 0] - between[0, 1],
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(between) - 1.0)))


def direction_error_deg(estimated: NDArray[Any], true: NDArray[Any]) -> float:
    """Angle between two ``(3,)`` translations whose signs do not count, 0 to 90.

    Returns:
        NaN where one of them has no direction.
    """
    one, other = np.asarray(estimated, np.float64), np.asarray(true, np.float64)
    if not (np.linalg.norm(one) and np.linalg.norm(other)):
        return float("nan")
    across, along = np.linalg.norm(np.cross(one, other)), abs(float(one @ other))
    return float(np.degrees(np.arctan2(across, along)))


def pose_error_deg(estimated: RelativePose | None, true: RelativePose) -> float | None:
    """The larger of both angles.

    Returns:
        None where nothing was estimated, or the true cameras are in one place.
    """
    if estimated is None:
        return None
    error = max(
        rotation_error_deg(estimated.rotation, true.rotation),
        direction_error_deg(estimated.translation, true.translation),
        key=lambda angle: (np.isnan(angle), angle),
    )
    return error if np.isfinite(error) else None
