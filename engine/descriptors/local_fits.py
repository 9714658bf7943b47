"""Members that fit parts of a scene, from matches.

Seen near enough, a change of view is affine; under strong perspective, or where a scene is deep,
it differs from part to part.  So the matches that votes agree about are grouped by place, and each
group shows how its part was turned, resized and squeezed.  (Affine simulation as in ASIFT, Morel
and Yu, SIAM J. Imaging Sciences 2009, where what is to be simulated is measured, not tried.)

Nothing is assumed of the scene as a whole, and nothing is warped by more than one affine map: the
members go into the set like all others, and each may win anywhere.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import Member
from engine.descriptors.member_steps import is_worthwhile, member_from

_LEAST: Final = 10  # matches for any fit
_OF_A_PART: Final = 20  # matches, on average
_REACH: Final = 0.1  # of the image's diagonal: deviation of the weights around a part's middle
_ELSEWHERE: Final = 1e-3  # weight far away, so that a part in one line is determined too
_OUTLIER_PX: Final = 12.0
_ROUNDS: Final = 10
_SAME: Final = 0.25  # maps that differ by less are bridged by the network


def fit_members(
    points_px: Tensor, places_px: Tensor, *, parts: int, size_px: tuple[int, int]
) -> list[Member]:
    """How an image has to be changed to look like another one, in several of its parts.

    Args:
        points_px: ``(N, 2)`` in the image.
        places_px: ``(N, 2)`` where they were found in the other one; some may be wrong.
        parts: the largest number of members.
        size_px: (width, height) of the image.

    Returns:
        Different members; none where matches are few, or where the image would have to be mirrored,
        seen from its edge, or many times as large or small.
    """
    points, places = (one.double().cpu().numpy() for one in (points_px, places_px))
    if len(points) < _LEAST:
        return []
    reach_px = _REACH * math.hypot(*size_px)
    maps: list[NDArray[np.float64]] = []
    for middle in _middles(points, min(parts, max(1, len(points) // _OF_A_PART))):
        distances_px = np.linalg.norm(points - middle, axis=1)
        weights = np.exp(-0.5 * (distances_px / reach_px) ** 2) + _ELSEWHERE
        linear = _fit_linear(points, places, weights)
        if is_worthwhile(linear) and all(
            np.linalg.norm(linear @ np.linalg.inv(one) - np.eye(2), 2) > _SAME for one in maps
        ):
            maps.append(linear)
    return [member_from(torch.from_numpy(one)) for one in maps]


def _middles(points: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    """``(parts, 2)`` means of clusters, always the same ones."""
    chosen = points[:1]
    while len(chosen) < parts:  # the farthest from those before
        distances = np.linalg.norm(points[:, None] - chosen[None], axis=2).min(axis=1)
        chosen = np.concatenate([chosen, points[[distances.argmax()]]])
    labels = np.linalg.norm(points[:, None] - chosen[None], axis=2).argmin(axis=1)
    _, _, middles = cv2.kmeans(
        points.astype(np.float32),
        parts,
        labels.astype(np.int32),
        (cv2.TERM_CRITERIA_MAX_ITER, 20, 0.0),
        1,
        cv2.KMEANS_USE_INITIAL_LABELS,
    )
    return np.asarray(middles, dtype=np.float64)


def _fit_linear(
    points: NDArray[np.float64], places: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The linear part of the affine map by weighted least squares, in which outliers fade away.

    Iteratively reweighted by the Geman-McClure function.
    """
    rows = np.column_stack([points, np.ones(len(points))])
    trusted = weights
    solved = np.zeros((3, 2))
    for _ in range(_ROUNDS):
        root = np.sqrt(trusted)[:, None]
        solved = np.linalg.lstsq(root * rows, root * places, rcond=None)[0]
        errors_px = np.linalg.norm(places - rows @ solved, axis=1)
        trusted = weights / (1 + (errors_px / _OUTLIER_PX) ** 2) ** 2
    linear: NDArray[np.float64] = solved[:2].T
    return linear
