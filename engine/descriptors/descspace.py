"""descspace: a compact network, and sets of its descriptors over scales, turns and tilts.

The idea is the original's: the network is not trained to ignore scale and turn.  A pixel is
described by a *set*, one descriptor for each way the image was changed, and sets are compared by
their best pair.  What is ours is that a pair of images votes for the few members that matter
(:mod:`engine.descriptors.vote`): only one image is expanded, and wrong members, which add false
minima, stay out.  Around the winners, members are fitted to parts of the scene
(:mod:`engine.descriptors.local_fits`).  Relatives: GIFT (Liu and others, NeurIPS 2019), ASIFT
(Morel and Yu, 2009).

Every member is described three times, as it is, at half and at a quarter of its size, and the three
are concatenated in one vector: two places are as similar as their near, wide and far
surroundings are, each with its share.  That is scoring at the same offset, where a set scores any
against any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from engine.config import option
from engine.descriptors.base import Choice, DescriptorMap, Levels, Member
from engine.descriptors.descspace_network import DescSpaceNetwork, normalise_locally
from engine.descriptors.flipped import find_directions, join_flipped
from engine.descriptors.local_fits import fit_members
from engine.descriptors.member_steps import contradicts, is_moderate, tilted
from engine.descriptors.members import describe_member, lay_on, make_view, view_growth
from engine.descriptors.networks import NetworkDescriptor, make_network, weights_to_load
from engine.descriptors.registry import register_descriptor
from engine.descriptors.shared_plane import SharedViews, find_shared_views
from engine.descriptors.support import Support
from engine.descriptors.tensors import made_unit_length, to_luminance
from engine.descriptors.vote import (
    MemberPoints,
    Vote,
    agreed_places,
    ask,
    count_agreeing,
    find_points,
    hold_vote,
    in_order,
    mutual_places,
    offer,
)
from engine.geometry.coords import CellGrid
from engine.progress import check_stop
from engine.vocabulary import Side

_SHIPPED: Final = "descspace"
_LEADERS: Final = 3  # the best coarse vote is not always the right one
_CLEAR: Final = 3.0  # a vote is trusted that exceeds chance by this many times chance
_TRUSTED: Final = 0.7  # a vote that is less likely to be right is weak, see docs/EXPERIMENTS.md
_TRIED: Final = 4  # winners that contradict one another, tried where a vote is weak
_WORTH_A_TRY: Final = 0.15  # a weak vote that is not hopeless adds its member
_HALF: Final = Member(0.5)
_QUARTER: Final = Member(0.25)
_ENLARGED_PX: Final = 896  # images are enlarged at most to this edge, see docs/EXPERIMENTS.md
_LARGEST_PX: Final = 2048  # and no view is longer: memory and time grow with its area
_CLOSELY: Final = ((_HALF, 0.4),)  # by what a second look compares beside the near surroundings
_REMEMBERED_PX: Final = 1_000_000  # the maps of a larger image are not kept for its description
_NO_MAPS: Final[Mapping[Member, DescriptorMap]] = {}
_WORTH_SAYING: Final = 1.1  # smaller tilts are noise of the fit
_GRID: Final = CellGrid(float(DescSpaceNetwork.stride_px), DescSpaceNetwork.offset_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPlan:
    """Which members a pair votes about, and how many it keeps.

    Attributes:
        asking_a: which scale of image a, under all turns, asks which of image b, which is not
            turned; their quotients are the relative scales that are considered.
        asking_b: which scale of image b, under all turns, asks which of image a: where image b is
            a close-up, it shows few points of image a, but image a shows all of its points.
        turns: how many, evenly over the circle.
        points: corners of an image that vote.
        bin_px: movements this near each other agree, see
            :func:`~engine.descriptors.vote.count_agreeing`.
        every: an image offers one cell in so many, along either axis.
        kept: members of image a, as they were voted for, that the pair is described by.
        parts: to how many parts of the scene members are fitted at most, see
            :func:`~engine.descriptors.local_fits.fit_members`.
        kept_beside: members that were voted for, kept besides the fitted ones where the vote is
            clear.
        kept_beside_plane: how many fitted members, and how many that were voted for, are kept
            besides a plane that is compared by itself; None: as many as without one.
        tilts: squeezes that are tried around the winner before.
        rounds: how often members are fitted, each time to the matches of those before.
        luck: by this factor more points agree about the best fitted member than if as few were
            fitted as by ``BALANCED``, where the winner is wrong.
        tight_px, fits: where this share of the best member's votes agree this closely, it fits the
            whole scene, and the pair keeps no other; ``tight_px`` is measured as ``bin_px``.
        least: members with less than this share of the best one's votes, both beyond what chance
            gives, are left out.
        detail: the images are described this much enlarged where no member fits the whole scene,
            but see ``_ENLARGED_PX``.
        area: the largest area of all views of a pair together, in images, about.
        flipped: every view is described mirrored as well, see :mod:`~engine.descriptors.flipped`.
        given_away: by the near surroundings to the wider ones, this share of theirs, where one
            member fits the whole scene.
        plane_again: a plane is measured again, by image a as it was seen the first time.
        sure: a vote that is less likely to be right is held again, see :meth:`DescSpace.choose`.
    """

    asking_a: tuple[tuple[float, float], ...]
    asking_b: tuple[tuple[float, float], ...] = ()
    turns: int = 12
    points: int = 600
    bin_px: float = 20.0
    every: int = 2
    kept: int = 4
    parts: int = 0
    kept_beside: int = 2
    kept_beside_plane: tuple[int, int] | None = None
    tilts: tuple[float, ...] = ()
    rounds: int = 2
    luck: float = 1.0
    tight_px: float = 10.0
    fits: float = 0.8
    least: float = 0.3
    detail: float = 1.0
    area: float = 24.0
    flipped: bool = False
    given_away: float = 0.0
    plane_again: bool = False
    sure: float = 0.0


# Half size is enough to vote by; a view that asks is made under all turns, so it is no larger, and
# what it is held against is larger where it shows things smaller.
_TO_A_QUARTER: Final = ((0.5, 0.35), (0.5, 0.5), (0.5, 0.7), (0.5, 1.0), (0.35, 1.0), (0.25, 1.0))
_FROM_TWO_TO_FOUR: Final = ((0.25, 0.5), (0.25, 0.7), (0.25, 1.0))
BALANCED: Final = SetPlan(
    asking_a=_TO_A_QUARTER,
    asking_b=_FROM_TWO_TO_FOUR,
    turns=8,
    parts=3,
    rounds=1,
    detail=1.3,
    area=7.0,
)
ROBUST: Final = SetPlan(
    asking_a=_TO_A_QUARTER,
    asking_b=_FROM_TWO_TO_FOUR,
    kept=5,
    parts=9,
    kept_beside=3,
    kept_beside_plane=(3, 2),
    tilts=(1.4, 2.0),
    luck=1.35,
    detail=2.0,
    flipped=True,
    given_away=0.3,
    plane_again=True,
    sure=0.9,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescSpaceConfig:
    """Settings of descspace."""

    weights: Path | None = option(
        None, help="trained weights (.safetensors); none: those that come with the program"
    )
    untrained: bool = option(False, help="random weights instead, as before any training")
    half_share: float = option(
        0.3, help="how much of the similarity is that of the surroundings at half size; 0: none",
        low=0.0, high=0.5,
    )  # fmt: skip
    quarter_share: float = option(
        0.2, help="how much of it is that of the surroundings at a quarter of the size; 0: none",
        low=0.0, high=0.4,
    )  # fmt: skip

    @property
    def weights_file(self) -> Path | None:
        """The file with the network's weights; None for random ones."""
        return weights_to_load(self.weights, _SHIPPED, untrained=self.untrained)

    @property
    def wider(self) -> tuple[tuple[Member, float], ...]:
        """What is described beside the near surroundings, each with its share."""
        shares = ((_HALF, self.half_share), (_QUARTER, self.quarter_share))
        return tuple((member, share) for member, share in shares if share)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What descspace remembers of an image until a pair votes.

    Attributes:
        grey: ``(1, 1, H, W)``.
        points_px: ``(K, 2)`` corners.
        asking: under all turns, at these points.
        offering: not turned, at the cells of a map.
        maps: the maps whose cells these are, of the near surroundings unless ``closely``; none of a
            large image.
        closely: whether it is a second look, by more than the near surroundings.
    """

    grey: Tensor
    points_px: Tensor
    asking: tuple[MemberPoints, ...]
    offering: tuple[MemberPoints, ...]
    maps: Mapping[Member, DescriptorMap] = field(default_factory=dict)
    closely: bool = False

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the image."""
        height, width = self.grey.shape[2:]
        return width, height


class DescSpaceFast(NetworkDescriptor[DescSpaceNetwork]):
    """One descriptor a cell.

    Args:
        network: trained or not.
        weights_path: the file its weights are from; None for random ones.
        wider: further sizes at which surroundings are described, and their shares of the similarity
            of two places; together less than 1.
    """

    def __init__(
        self,
        network: DescSpaceNetwork,
        weights_path: Path | None,
        *,
        wider: tuple[tuple[Member, float], ...],
    ) -> None:
        super().__init__(network, weights_path)
        self.wider = wider
        self.dim = DescSpaceNetwork.dim * (1 + len(wider))
        smallest = min((member.scale for member, _ in wider), default=1.0)
        self.shift_period_px = round(DescSpaceNetwork.shift_period_px / smallest)
        # The views' own filters reach a few of their pixels farther.
        self.reach_px: int | None = round((DescSpaceNetwork.reach_px + 4) / smallest)

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; one level, see the contract."""
        return (self._describe_one(_grey(images), self.wider),)

    def _describe_near(self, grey: Tensor) -> DescriptorMap:
        return DescriptorMap(self.network(grey), _GRID)

    def _describe_part(self, grey: Tensor, known: DescriptorMap | None) -> DescriptorMap:
        """What is compared of an image at one size.

        Args:
            grey: the image at that size.
            known: what :meth:`_describe_near` makes of it, where that is known.
        """
        return known or self._describe_near(grey)

    def _describe_one(
        self,
        grey: Tensor,
        wider: tuple[tuple[Member, float], ...],
        maps: Mapping[Member, DescriptorMap] = _NO_MAPS,
    ) -> DescriptorMap:
        near = self._describe_part(grey, maps.get(Member()))
        if not wider:
            return near
        batch, dim, rows, columns = near.values.shape
        # Lengths whose squares add up to 1: dot products are weighted means of those of the parts.
        own_share = 1 - sum(share for _, share in wider)

        def wide_parts() -> Iterator[Tensor]:
            for member, share in wider:
                view = make_view(grey, member)
                made = self._describe_part(view.images, maps.get(member))
                yield lay_on(_GRID, (rows, columns), view, made).mul_(math.sqrt(share))

        if near.values.requires_grad:
            # Each part that is put where it belongs would cost a copy of all on the way back.
            joined = torch.cat([near.values * math.sqrt(own_share), *wide_parts()], dim=1)
            return DescriptorMap(joined, _GRID)  # whole images alone are learned from: none is zero
        # Parts are put where they belong one by one: to join them in the end would take as much
        # memory again.  Channels lie together, as in the parts.
        joined = near.values.new_empty(batch, rows, columns, dim * (1 + len(wider)))
        joined = joined.permute(0, 3, 1, 2)
        torch.mul(near.values, math.sqrt(own_share), out=joined[:, :dim])
        for number, part in enumerate(wide_parts(), start=1):
            joined[:, number * dim : (number + 1) * dim].copy_(part)
        return DescriptorMap(made_unit_length(joined), _GRID)  # any part may be zero


class DescSpace(DescSpaceFast):
    """A set of descriptors a cell, chosen by the pair as a plan says."""

    def __init__(
        self,
        network: DescSpaceNetwork,
        weights_path: Path | None,
        *,
        wider: tuple[tuple[Member, float], ...],
        plan: SetPlan,
    ) -> None:
        super().__init__(network, weights_path, wider=wider)
        self.reach_px = None  # turned members lie elsewhere in every tile
        self.plan = plan
        self._directions = (
            find_directions(network, stride_px=DescSpaceNetwork.stride_px) if plan.flipped else None
        )

    def look(self, images: Tensor, side: Side, check: Callable[[], None]) -> Look:
        """Describe what votes: few points under many members, many under few."""
        return self._look(_grey(images), side, check, closely=False)

    def _look(self, grey: Tensor, side: Side, check: Callable[[], None], *, closely: bool) -> Look:
        plan = self.plan
        own, other = plan.asking_a, plan.asking_b
        if side == "b":
            own, other = other, own
        points_px = find_points(normalise_locally(grey), plan.points)
        turned = [
            Member(scale, turn * 360 / plan.turns)
            for scale in _distinct(asks for asks, _ in own)
            for turn in range(plan.turns)
        ]
        asking = [
            self._ask(grey, points_px, member, closely=closely)
            for member in _checking(turned, check)
        ]
        upright = [Member(scale) for scale in _distinct(offers for _, offers in other)]
        maps = {
            one: self._describe_view(grey, one, closely=closely)
            for one in _checking(upright, check)
        }
        offering = tuple(offer(made, one, every=plan.every) for one, made in maps.items())
        kept = maps if grey.numel() <= _REMEMBERED_PX else _NO_MAPS
        return Look(grey, points_px, tuple(asking), offering, kept, closely)

    def choose(self, look_a: Look, look_b: Look) -> Choice:
        """Let the pair vote; if it is likely to be right, describe by the winners.

        A vote that is not, as the plan says, is held again, by images mirrored as well and by wider
        surroundings.  Of the two the one counts that is the more likely to be right.
        """
        votes, fine, support = self.vote(look_a, look_b)
        if support.right < self.plan.sure:
            closer_a = self._look(look_a.grey, "a", check_stop, closely=True)
            closer_b = self._look(look_b.grey, "b", check_stop, closely=True)
            again = self.vote(closer_a, closer_b)
            if again[2].right > support.right:
                look_a, look_b, (votes, fine, support) = closer_a, closer_b, again
        edge_px = max(*look_a.grey.shape[2:], *look_b.grey.shape[2:])
        largest, area = max(1.0, _LARGEST_PX / edge_px), self.plan.area
        weak = support.right < _TRUSTED
        shared = self._find_shared_views(look_a, look_b, votes, fine)
        if support.right < _WORTH_A_TRY and shared is None:
            told = "the images are compared as they are"
            weak_vote = f"Weak vote: {_in_words((fine or votes)[0], support)}, so {told}."
            return Choice((Member(),), (Member(),), told, weak_vote, support.right)
        alone = not weak and not fine and self._fits(votes[0])
        if alone:
            kept, detail = votes[:1], 1.0  # surroundings tell more than detail here
        else:
            kept = self._keep(votes, fine, weak=weak, beside_plane=shared is not None)
            detail = max(1.0, min(self.plan.detail, _ENLARGED_PX / edge_px))
        choice = _as_choice(
            kept, shared, support, look_a, look_b, detail=detail, largest=largest, area=area
        )
        if alone and self.plan.given_away:
            choice = replace(
                choice,
                members_a=tuple(replace(one, wide=True) for one in choice.members_a),
                members_b=tuple(replace(one, wide=True) for one in choice.members_b),
            )
        if not weak:
            return choice
        told = f"Weak vote: {choice.text}, so the images are also compared as they are."
        return replace(choice, weak_vote=told)

    def vote(self, look_a: Look, look_b: Look) -> tuple[list[Vote], list[Vote], Support]:
        """Let the pair vote, and fit members to parts of the scene around the winners.

        Returns:
            Votes for members that were tried, votes for members that were fitted, both the best
            ones first, and what speaks for the best one of all.  No member is fitted where the
            winner fits the whole scene or where too little is agreed about.
        """
        plan = self.plan
        votes = in_order(
            hold_vote(look_a.asking, look_b.offering, side="a", scales=plan.asking_a,
                      bin_px=plan.bin_px)
            + hold_vote(look_b.asking, look_a.offering, side="b", scales=plan.asking_b,
                        bin_px=plan.bin_px)
        )  # fmt: skip
        support = _support(votes, [], luck=1.0)
        if self._fits(votes[0]) and support.right >= _TRUSTED:
            return votes, [], support
        found = self._fit_around(look_a, look_b, votes)
        # Where that is weak, what contradicts the winner may have led its fits astray, or what fits
        # the scene may be behind.
        leaders = votes
        for _ in range(_TRIED):
            if found[2].right >= _TRUSTED or not leaders:
                break
            leader = leaders[0]
            against = [vote for vote in votes if contradicts(vote.member, leader.member)]
            alike = [vote for vote in votes if vote is not leader and vote not in against]
            leaders = [vote for vote in leaders if vote in against]
            led = [leader, *alike, *against]
            if led[:_LEADERS] != votes[:_LEADERS]:  # else these fits are known
                tried = self._fit_around(look_a, look_b, led)
                found = max(found, tried, key=lambda one: one[2].right)
        return found

    def _fit_around(
        self, look_a: Look, look_b: Look, votes: list[Vote]
    ) -> tuple[list[Vote], list[Vote], Support]:
        """Take the first vote for the winner; see :meth:`vote`."""
        asker, other = (look_a, look_b) if votes[0].side == "a" else (look_b, look_a)
        fine = self._fit_parts(asker, other, votes)
        return votes, fine, _support(votes, fine, luck=self.plan.luck)

    def _keep(
        self, votes: list[Vote], fine: list[Vote], *, weak: bool, beside_plane: bool
    ) -> list[Vote]:
        """Votes for the members of a pair that no single one fits, the best ones first."""
        plan = self.plan
        # Members that are fitted to a vote hardly above chance may all be wrong.
        clear = votes[0].beyond_chance >= _CLEAR * votes[0].chance
        most = plan.kept_beside if fine and clear else plan.kept
        if beside_plane and plan.kept_beside_plane is not None:
            fitted, most = plan.kept_beside_plane
            fine = fine[:fitted]
        kept = _with_share(votes, plan.least)[:most]
        moderate = is_moderate((fine or votes)[0].member)
        if (weak or moderate) and all(vote.member != Member() for vote in kept):
            # The network alone finds much of a scene that is neither turned nor much resized, and
            # all of an image in itself.
            upright = [vote for vote in votes if vote.member == Member()][:1]
            kept = [*(kept if weak else kept[: max(1, most - 1)]), *upright]
        return [*_with_share(fine, plan.least), *kept] if fine else kept

    def _fits(self, vote: Vote) -> bool:
        """Whether what agreed about a member agrees closely: the scene is changed by it alone."""
        close = count_agreeing(vote.asking, vote.offering, bin_px=self.plan.tight_px)
        return vote.agreeing > 0 and close >= self.plan.fits * vote.agreeing

    def _fit_parts(self, asker: Look, other: Look, votes: list[Vote]) -> list[Vote]:
        """Votes for members between and beyond the coarse ones, the best ones first.

        There are none where too little is agreed about.
        """
        plan = self.plan
        if not plan.parts:
            return []
        leaders = [vote for vote in votes[:_LEADERS] if vote.side == votes[0].side]
        for member in tilted(leaders[0].asking.member, plan.tilts):
            leaders.append(self._vote_for(member, asker, leaders[0]))
        leaders = in_order(leaders)[:_LEADERS]
        scale = leaders[0].offering.member
        best = replace(leaders[0], offering=self._offer_all(other, scale))
        fine: list[Vote] = []
        for _ in range(plan.rounds):
            index, places_px = agreed_places([*fine, *leaders], bin_px=plan.bin_px)
            members = fit_members(
                asker.points_px[index],
                places_px,
                parts=plan.parts,
                size_px=asker.size_px,
            )
            fine = in_order(
                [
                    self._vote_for(replace(member, scale=member.scale * scale.scale), asker, best)
                    for member in members
                ]
            )
        return fine

    def _find_shared_views(
        self, look_a: Look, look_b: Look, votes: list[Vote], fine: list[Vote]
    ) -> SharedViews | None:
        """What both images show of the plane that the most matches of any vote agree about."""
        found = [
            self._plane_of(vote, look_a, look_b) for vote in (*fine[:_LEADERS], *votes[:_LEADERS])
        ]
        best = max(
            (one for one in found if one is not None), key=lambda one: one.matches, default=None
        )
        if best is None or not self.plan.plane_again:
            return best
        # Image a in the right perspective is matched by more points, with cells half as far apart.
        own = Member(min(1.0, math.sqrt(_REMEMBERED_PX / look_b.grey.numel())))
        seen = replace(best.of_a, scale=best.of_a.scale * own.scale)
        asking = self._ask(look_a.grey, look_a.points_px, seen, closely=look_a.closely)
        again = Vote("a", asking, self._offer_all(look_b, own), agreeing=0.0, chance=0.0)
        closer = self._plane_of(again, look_a, look_b)
        return best if closer is None or closer.matches <= best.matches else closer

    def _plane_of(self, vote: Vote, look_a: Look, look_b: Look) -> SharedViews | None:
        index, places_px = mutual_places(vote)
        asked_px = (look_a if vote.side == "a" else look_b).points_px[index]
        points_px = (asked_px, places_px) if vote.side == "a" else (places_px, asked_px)
        return find_shared_views(*points_px, size_a_px=look_a.size_px, size_b_px=look_b.size_px)

    def _vote_for(self, member: Member, asker: Look, like: Vote) -> Vote:
        """A vote for another member of the image that asks, else as ``like``."""
        asking = self._ask(asker.grey, asker.points_px, member, closely=asker.closely)
        agreeing = count_agreeing(asking, like.offering, bin_px=self.plan.bin_px)
        return replace(like, asking=asking, agreeing=agreeing)

    def describe_members(
        self,
        images: Tensor,
        members: tuple[Member, ...],
        look: Look | None,
        check: Callable[[], None],
    ) -> Levels:
        """Describe an image by these members, a level each."""
        grey = _grey(images)
        # The look holds maps of the image as it is, at several sizes.
        maps = look.maps if look is not None and look.grey.device == grey.device else _NO_MAPS
        levels = []
        for member in _checking(members, check):
            changed = replace(member, wide=False)
            known = maps if changed == Member() else _NO_MAPS
            wider = _more_of(self.wider, self.plan.given_away) if member.wide else self.wider
            describe = partial(self._describe_one, wider=wider, maps=known)
            levels.append(replace(describe_member(grey, changed, describe), member=member))
        return tuple(levels)

    def _describe_part(self, grey: Tensor, known: DescriptorMap | None) -> DescriptorMap:
        made = super()._describe_part(grey, known)
        if self._directions is None:
            return made
        stride_px = DescSpaceNetwork.stride_px
        joined = join_flipped(
            self.network, grey, made.values, self._directions, stride_px=stride_px
        )
        return replace(made, values=joined)

    def _ask(
        self, grey: Tensor, points_px: Tensor, member: Member, *, closely: bool
    ) -> MemberPoints:
        view = make_view(grey, member)
        made = self._describe_to_vote(view.images, closely=closely)
        size_px = grey.shape[3], grey.shape[2]
        return ask(view, made, member, points_px, size_px=size_px)

    def _offer_all(self, look: Look, member: Member) -> MemberPoints:
        """All cells of an image that is not turned: more places, closer together."""
        made = look.maps.get(member) or self._describe_view(look.grey, member, closely=look.closely)
        return offer(made, member, every=1)

    def _describe_view(self, grey: Tensor, member: Member, *, closely: bool) -> DescriptorMap:
        return self._describe_to_vote(make_view(grey, member).images, closely=closely)

    def _describe_to_vote(self, grey: Tensor, *, closely: bool) -> DescriptorMap:
        return self._describe_one(grey, _CLOSELY) if closely else self._describe_near(grey)


def _more_of(
    wider: tuple[tuple[Member, float], ...], given_away: float
) -> tuple[tuple[Member, float], ...]:
    """Larger shares, in proportion, by what the near surroundings give away of theirs."""
    taken = sum(share for _, share in wider)
    return tuple((one, share * (1 + given_away * (1 - taken) / taken)) for one, share in wider)


def _grey(images: Tensor) -> Tensor:
    """``(B, 3, H, W)`` RGB in [0, 1] -> ``(B, 1, H, W)``, all that is used."""
    return to_luminance(images)[:, None]


def _with_share(votes: list[Vote], share: float) -> list[Vote]:
    """Those of votes, the best one first, that are not far behind the best one."""
    best = votes[0].beyond_chance
    return [vote for vote in votes if vote.beyond_chance >= min(share * best, best)]


def _support(votes: list[Vote], fine: list[Vote], *, luck: float) -> Support:
    """What speaks for the winner of a vote, and for the members that were fitted around it."""
    winner = votes[0]
    rivals = [vote.beyond_chance for vote in votes if contradicts(vote.member, winner.member)]
    return Support(
        agreeing=winner.agreeing,
        chance=winner.chance,
        fitted=fine[0].agreeing if fine else winner.agreeing,
        rival=max([0.0, *rivals]),
        luck=luck if fine else 1.0,
    )


def _as_choice(
    votes: list[Vote],
    shared: SharedViews | None,
    support: Support,
    look_a: Look,
    look_b: Look,
    *,
    detail: float,
    largest: float,
    area: float,
) -> Choice:
    """The members of votes, and those that show what both images do.

    The image that shows things smaller is described at the scale ``detail``, the other one as the
    best vote relates them, or both smaller where that would be much to describe.

    Args:
        votes: the best one first.
        shared: what both images show.
        support: what speaks for the best vote.
        look_a: image a.
        look_b: image b.
        detail: of the best one's.
        largest: members under which image a would grow by more are left out, except the best one.
        area: the largest area of all views together, in images, about.
    """
    scale_b = detail * min(1.0, 1 / votes[0].member.growth)
    of_a, of_b = [vote.member for vote in votes], [Member()]
    if shared is not None:
        of_a.append(shared.of_a)
        of_b += [shared.of_b] if shared.of_b is not None else []
    of_a = [of_a[0], *(one for one in of_a[1:] if one.growth * scale_b <= largest)]
    areas = [view_growth(one, look_a.size_px) ** 2 for one in of_a]
    areas += [view_growth(one, look_b.size_px) ** 2 for one in of_b]
    scale_b *= min(1.0, math.sqrt(area / (scale_b**2 * sum(areas))))
    members_a, members_b = (
        tuple(dict.fromkeys(replace(one, scale=one.scale * scale_b) for one in members))
        for members in (of_a, of_b)
    )
    told = _in_words(votes[0], support)
    if shared is not None:
        told += f"; {shared.matches} matches lie on a plane, which is also compared by itself"
    return Choice(members_a, members_b, told, vote_right=support.right)


def _in_words(vote: Vote, support: Support) -> str:
    """What the pair decided, in words, and how sure that is."""
    member = vote.member
    turn_deg = (member.angle_deg + 180) % 360 - 180
    larger = "b" if member.growth >= 1 else "a"
    parts = []
    if abs(math.log2(member.growth)) > 0.1:
        times = max(member.growth, 1 / member.growth)
        parts.append(f"{larger} shows things {times:.2g} times as large")
    if round(turn_deg):
        way = "counter-clockwise" if turn_deg > 0 else "clockwise"
        parts.append(f"b is turned {abs(turn_deg):.0f}° {way}")
    if member.tilt > _WORTH_SAYING:
        parts.append(f"b is tilted by {math.degrees(math.acos(1 / member.tilt)):.0f}°")
    changes = ", ".join(parts) or "both show things at the same size"
    return f"{changes}; {support.in_words()}"


def _checking(members: Iterable[Member], check: Callable[[], None]) -> Iterator[Member]:
    for member in members:
        check()
        yield member


def _distinct(scales: Iterable[float]) -> list[float]:
    return sorted(set(scales), reverse=True)


def _load(config: DescSpaceConfig) -> tuple[DescSpaceNetwork, Path | None]:
    """The network, and the file its weights are from."""
    return make_network(DescSpaceNetwork, config.weights_file), config.weights_file


@register_descriptor(
    "descspace-fast",
    title="descspace, fast",
    config=DescSpaceConfig,
    summary="A compact network of our own, one descriptor a cell.",
)
def build_descspace_fast(config: DescSpaceConfig) -> DescSpaceFast:
    """Build the network alone."""
    return DescSpaceFast(*_load(config), wider=config.wider)


@register_descriptor(
    "descspace",
    title="descspace",
    config=DescSpaceConfig,
    summary="A compact network of our own, in sets that the pair votes for and fits to the scene.",
    by_pair=True,
)
def build_descspace(config: DescSpaceConfig) -> DescSpace:
    """Build the balanced set."""
    return DescSpace(*_load(config), wider=config.wider, plan=BALANCED)


@register_descriptor(
    "descspace-robust",
    title="descspace, robust",
    config=DescSpaceConfig,
    summary="As descspace, with more turns and tilts, and more members fitted to the scene.",
    by_pair=True,
)
def build_descspace_robust(config: DescSpaceConfig) -> DescSpace:
    """Build the robust set."""
    return DescSpace(*_load(config), wider=config.wider, plan=ROBUST)
