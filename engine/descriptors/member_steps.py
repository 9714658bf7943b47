"""Members that follow from a member: what undoes it, and the steps in which a pair refines it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from engine.descriptors.base import Member

_LEAST_TILT: Final = 1.05
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
    return [
        replace(
            member,
            scale=member.scale * math.sqrt(tilt),
            tilt=tilt,
            tilt_deg=number * 180 / count,
        )
        for tilt in tilts
        for count in (_directions(tilt),)
        for number in range(count)
    ]


def near(member: Member, *, turn_deg: float, growth: float, tilt: float) -> list[Member]:
    """A step each way along each parameter.

    Args:
        member: where the steps begin.
        turn_deg: by which it is turned.
        growth: factor above 1 by which it is scaled.
        tilt: factor above 1 by which a tilt grows; its direction turns by ``turn_deg`` too.
    """
    steps = [
        replace(member, angle_deg=(member.angle_deg + turn) % 360) for turn in (turn_deg, -turn_deg)
    ]
    steps += [replace(member, scale=member.scale * factor) for factor in (growth, 1 / growth)]
    if member.tilt > _LEAST_TILT:
        steps += [_with_tilt(member, member.tilt * factor) for factor in (tilt, 1 / tilt)]
        steps += [
            replace(member, tilt_deg=(member.tilt_deg + turn) % 180)
            for turn in (turn_deg, -turn_deg)
        ]
    return steps


def _with_tilt(member: Member, tilt: float) -> Member:
    """Another tilt in the same direction; the area stays as it is, and 1 is the least."""
    kept = max(1.0, tilt)
    return replace(member, scale=member.scale * math.sqrt(kept / member.tilt), tilt=kept)


def _directions(tilt: float) -> int:
    return next((count for limit, count in _DIRECTIONS.items() if tilt <= limit), 8)
