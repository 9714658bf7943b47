"""Members that follow from something: from one that they undo or lean beyond, or from a map."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import Member

_OTHER_TURN_DEG: Final = 50.0  # neighbours of 12 or of 8 turns find the same
_OTHER_OCTAVES: Final = 0.6
_LITTLE_TURNED_DEG: Final = 45.0
_STRONGEST_TILT: Final = 6.0
_LARGEST_GROWTH: Final = 5.0  # either way; a view takes memory by its area
# ASIFT (Morel and Yu, SIAM J. Imaging Sciences 2009) samples directions the finer, the stronger the
# tilt; between these, a network that was trained on tilts bridges the rest.
_DIRECTIONS: Final = {1.4: 4, 2.0: 6, 2.8: 8}


def undoing(member: Member) -> Member:
    """What turns, resizes and stretches a changed image back.

    An image changed by a member looks like another as it is; then this one, so changed, looks like
    the image.
    """
    # The inverse of a squeeze is a squeeze across it and a growth of all.
    return Member(
        scale=member.tilt / member.scale,
        angle_deg=-member.angle_deg % 360,
        tilt=member.tilt,
        tilt_deg=(member.tilt_deg + member.angle_deg + 90) % 180 if member.tilt > 1 else 0.0,
    )


def tilted(member: Member, tilts: tuple[float, ...]) -> list[Member]:
    """An upright member seen from many sides; areas stay as they are.

    Args:
        member: without a tilt of its own.
        tilts: each above 1.
    """
    result = []
    for tilt in tilts:
        scale = member.scale * math.sqrt(tilt)
        count = next((count for limit, count in _DIRECTIONS.items() if tilt <= limit), 8)
        result += [
            replace(member, scale=scale, tilt=tilt, tilt_deg=number * 180 / count)
            for number in range(count)
        ]
    return result


def contradicts(one: Member, other: Member) -> bool:
    """Whether two ways of changing an image cannot both be right, tilts aside."""
    turn_deg = abs((one.angle_deg - other.angle_deg + 180) % 360 - 180)
    octaves = abs(math.log2(one.growth / other.growth))
    return turn_deg > _OTHER_TURN_DEG or octaves > _OTHER_OCTAVES


def is_moderate(member: Member) -> bool:
    """Whether a changed image is still much like the image as it was."""
    turn_deg = abs((member.angle_deg + 180) % 360 - 180)
    return turn_deg <= _LITTLE_TURNED_DEG and abs(math.log2(member.growth)) <= 1


def is_worthwhile(linear: NDArray[np.float64]) -> bool:
    """Whether an image changed by a linear map ``(2, 2)`` is worth describing.

    It is not mirrored, seen from its edge, or many times as large or small.
    """
    long, short = np.linalg.svd(linear, compute_uv=False)
    growth = math.sqrt(max(0.0, float(np.linalg.det(linear))))
    within = 1 / _LARGEST_GROWTH <= growth <= _LARGEST_GROWTH
    return bool(within and long <= _STRONGEST_TILT * short)


def member_from(linear: Tensor) -> Member:
    """The member that changes an image by a linear map.

    Args:
        linear: ``(2, 2)``, of positive determinant.
    """
    turned, (long, short), back = torch.linalg.svd(linear.double().cpu())
    rotation = turned @ back
    tilt = float(long / short)
    squeezed = back[1]  # along it, lengths are divided
    return Member(
        scale=float(long),
        angle_deg=math.degrees(math.atan2(rotation[0, 1], rotation[0, 0])) % 360,
        tilt=tilt,
        tilt_deg=math.degrees(math.atan2(-squeezed[1], squeezed[0])) % 180 if tilt > 1 else 0.0,
    )
