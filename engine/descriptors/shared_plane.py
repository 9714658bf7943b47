"""Views that show both images of a pair the same part of a plane.

What a network says of a place depends on its surroundings.  Where one image shows more than the
other, or shows it in another perspective, the surroundings differ although the place is the same.
Where many matches agree about one plane, image a is seen as image b sees it, and both are cut to
what both show.  Like all members, these go into the set beside the others: what does not lie on the
plane is found by those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import Member, Part
from engine.descriptors.member_steps import is_worthwhile, member_from
from engine.geometry.homography import estimate_homography, jacobian, warp_points
from engine.geometry.visibility import shared_outline

_ON_PLANE_PX: Final = 8.0  # the cells of a view at half size are as far apart
# Matches on a plane, and their share of all.  Of unrelated photos at most 29 lie on one, and at
# most a fifth; see docs/EXPERIMENTS.md.
_LEAST: Final = 30
_LEAST_SHARE: Final = 0.22
_LEAST_EDGE_PX: Final = 48.0  # of what both show
_LEANS: Final = 1.2  # times as far away on one side of what both show
_NEARLY_ALL: Final = 0.8  # of an image: nothing is cut off


@dataclass(frozen=True, slots=True)
class SharedViews:
    """Members that show what both images do.

    Attributes:
        of_a: image a, as image b at its own scale shows the plane.
        of_b: the part of image b; None where that is nearly all of it.
        matches: how many lie on the plane.
    """

    of_a: Member
    of_b: Member | None
    matches: int


def find_shared_views(
    points_a_px: Tensor,
    points_b_px: Tensor,
    *,
    size_a_px: tuple[int, int],
    size_b_px: tuple[int, int],
) -> SharedViews | None:
    """What both images show of the plane that the most matches agree about.

    Args:
        points_a_px: ``(N, 2)`` points of image a.
        points_b_px: ``(N, 2)`` where they were found in image b; some may be wrong.
        size_a_px: (width, height) of image a.
        size_b_px: (width, height) of image b.

    Returns:
        The members; None where too few matches agree about one plane, where the images share hardly
        anything, where both show nearly the same and no perspective sets it apart from a member for
        the whole image, or where image a would have to be seen from its edge or many times as large
        or small.
    """
    points_a, points_b = (one.double().cpu().numpy() for one in (points_a_px, points_b_px))
    found = estimate_homography(points_a, points_b, threshold_px=_ON_PLANE_PX, seed=0)
    if found is None or found.inlier.sum() < max(_LEAST, _LEAST_SHARE * len(points_a)):
        return None
    h_b_from_a = found.h_b_from_a
    shared = shared_outline(h_b_from_a, size_a_px, size_b_px)
    if len(shared) < 3:
        return None
    outline = warp_points(h_b_from_a, shared)
    # The outline joins the centres of pixels.
    low = np.clip(outline.min(axis=0) - 0.5, -0.5, None)
    high = np.clip(outline.max(axis=0) + 0.5, None, np.array(size_b_px) - 0.5)
    whole = math.prod(high - low) >= _NEARLY_ALL * math.prod(size_b_px)
    if whole:
        low, high = np.array([-0.5, -0.5]), np.array(size_b_px) - 0.5
    if min(high - low) < _LEAST_EDGE_PX:
        return None
    left_in_a = math.prod(np.ptp(shared, axis=0) + 1) / math.prod(size_a_px)
    depths = shared @ h_b_from_a[2, :2] + h_b_from_a[2, 2]
    cut = not whole or left_in_a < _NEARLY_ALL
    of_a = _as_seen(h_b_from_a, (low + high) / 2, high - low)
    if of_a is None or not (cut or depths.max() > _LEANS * depths.min()):
        return None
    of_b = None if whole else Member(part=Part(_pair(low + high, 0.5), _pair(high - low)))
    return SharedViews(of_a, of_b, int(found.inlier.sum()))


def _as_seen(
    h_b_from_a: NDArray[np.float64], middle_b: NDArray[np.float64], extent: NDArray[np.float64]
) -> Member | None:
    """Image a as image b shows it around ``middle_b``, ``extent`` wide and high."""
    middle_a = warp_points(np.linalg.inv(h_b_from_a), middle_b)
    depth = float(h_b_from_a[2] @ [*middle_a, 1.0])
    if not depth > 0:
        return None
    linear = jacobian(h_b_from_a, middle_a)
    if not is_worthwhile(linear):
        return None
    member = member_from(torch.from_numpy(linear))
    perspective = _pair(h_b_from_a[2, :2], 1 / depth)
    part = Part(_pair(middle_a), _pair(extent, 1 / member.scale), perspective)
    return replace(member, part=part)


def _pair(values: NDArray[np.float64], factor: float = 1.0) -> tuple[float, float]:
    x, y = (factor * values).tolist()
    return x, y
