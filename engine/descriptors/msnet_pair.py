"""MSNetV2 with scales that it finds by itself.

The original reads how much larger each image shows things from the true homography, at test time
too, which is unknown when two new images are matched.  Here the pair is asked instead: see
:mod:`engine.descriptors.scale_vote`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from engine.descriptors.base import Choice, Levels, Member
from engine.descriptors.msnet import (
    MSNetConfig,
    MSNetNetwork,
    MSNetV1,
    MSNetV2,
    load_network,
    mix_scales,
)
from engine.descriptors.networks import NetworkDescriptor
from engine.descriptors.registry import register_descriptor
from engine.descriptors.scale_vote import ScaleVote, vote_for_growth
from engine.descriptors.tensors import to_luminance, unit_length
from engine.descriptors.vote import find_points
from engine.geometry.sampling import sample_map
from engine.vocabulary import Side

_POINTS: Final = 600
# Growths this coarse share their maps among the pairs of an image; the mix hardly sees it.
_STEPS_PER_OCTAVE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class ScaleLook:
    """What is remembered of an image until its pair votes.

    Attributes:
        points_px: ``(K, 2)`` corners.
        full, half: ``(K, D)`` their descriptors at full and at half scale.
    """

    points_px: Tensor
    full: Tensor
    half: Tensor

    def at_scale(self, scale: float) -> Tensor:
        """``(K, D)`` descriptors for an image that shows things so much larger than the other."""
        return mix_scales(self.full, self.half, scale)


class MSNetV2Estimated(NetworkDescriptor[MSNetNetwork]):
    """One descriptor a cell, mixed from full and half scale as the pair votes."""

    dim = MSNetV2.dim
    shift_period_px = MSNetV2.shift_period_px

    def describe(self, images: Tensor) -> Levels:
        """Describe images without a partner: as MSNetV2 at scale 1; see the contract."""
        return self._at_scale(images, 1.0)

    def look(
        self,
        images: Tensor,
        side: Side,  # noqa: ARG002 - both sides are treated the same
        check: Callable[[], None],
    ) -> ScaleLook:
        """Describe the corners of a ``(1, 3, H, W)`` image at both scales, for either side."""
        check()
        points_px = find_points(to_luminance(images)[:, None], _POINTS)
        levels = MSNetV1(self.network, self.weights_path).describe(images)
        full, half = (
            unit_length(sample_map(level.values, level.grid, points_px[None].float())[0], dim=1)
            for level in levels
        )
        return ScaleLook(points_px, full, half)

    def choose(self, look_a: ScaleLook, look_b: ScaleLook) -> Choice:
        """Let the matches of the corners vote; without agreement nothing is mixed in."""
        vote = vote_for_growth(look_a.points_px, look_a.at_scale, look_b.points_px, look_b.at_scale)
        steps = round(_STEPS_PER_OCTAVE * math.log2(vote.growth))
        growth = 2.0 ** (steps / _STEPS_PER_OCTAVE)
        # A member's scale is how the image is changed: what shows things larger is shrunk.
        member_a, member_b = Member(min(1.0, growth)), Member(min(1.0, 1 / growth))
        return Choice((member_a,), (member_b,), _in_words(vote, growth))

    def describe_members(
        self,
        images: Tensor,
        members: tuple[Member, ...],
        look: ScaleLook | None,  # noqa: ARG002 - it holds corners alone
        check: Callable[[], None],
    ) -> Levels:
        """As :meth:`describe`, by the members that were chosen."""
        levels = []
        for member in members:
            check()
            (level,) = self._at_scale(images, 1.0 / member.scale)
            levels.append(replace(level, member=member))
        return tuple(levels)

    def _at_scale(self, images: Tensor, scale: float) -> Levels:
        return MSNetV2(self.network, self.weights_path, scale=scale).describe(images)


def _in_words(vote: ScaleVote, growth: float) -> str:
    if not vote.agreeing:
        return "no scale is agreed on, so none is mixed in"
    side, larger = ("b", growth) if growth >= 1 else ("a", 1 / growth)
    agree = f"{vote.agreeing} of {vote.lines} lines between matches agree"
    if larger == 1:
        return f"both show things at the same size; {agree}"
    return f"{side} shows things {larger:.2g} times as large; {agree}"


@register_descriptor(
    "msnet_v2_estimated",
    title="MSNetV2 (scale from the pair)",
    config=MSNetConfig,
    summary="MSNetV2 with the relative scale that the two images vote for.",
    by_pair=True,
)
def build_msnet_v2_estimated(config: MSNetConfig) -> MSNetV2Estimated:
    """Build MSNetV2 that asks the pair."""
    return MSNetV2Estimated(*load_network(config))
