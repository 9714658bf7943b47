"""Which members of two images' sets see the same: a vote of the pair.

Every member of an image says: if the image is turned, shrunk and tilted like this, then it looks
like the other one, moved.  Points of the image are matched to the other one under each member;
where the member is right, many of those matches agree about the movement.  The size of the largest
cluster of movements, less what chance gives, is the member's vote.  (Hough voting as in Lowe,
"Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004, section 7.3, with the turn
and the scale given by the member.)

The image that shows less asks: all its points may be found in the other one.  The vote sees only
the two images, and chooses its own points.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import DescriptorMap, Member
from engine.descriptors.member_steps import undoing
from engine.descriptors.members import View, read_view, to_view
from engine.descriptors.tensors import largest_of_rows, unit_length
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import cell_places
from engine.progress import check_stop
from engine.vocabulary import Side

_WINDOW_PX: Final = 7
_CELL_PX: Final = 8
_AT_BORDER_PX: Final = 16.0  # four cells


@dataclass(frozen=True, slots=True, eq=False)
class MemberPoints:
    """An image under one member, at the places that take part in the vote.

    One image asks by its corners, the other one offers the cells of its map.

    Attributes:
        member: how the image was changed.
        vectors: ``(K, D)`` unit descriptors of the places.
        places: ``(K, 2)`` float32 in the changed image.
        at_border: ``(K,)`` which of them lie at a border of the image; None: none.
    """

    member: Member
    vectors: Tensor
    places: Tensor
    at_border: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """How many points agree that two members show the same.

    Attributes:
        side: the image that asks.
        asking: its points.
        offering: cells of the other one, which is not turned.
        agreeing: size of the largest cluster, in points.
        chance: what it would be if the two images had nothing in common.
    """

    side: Side
    asking: MemberPoints
    offering: MemberPoints
    agreeing: float
    chance: float

    @property
    def beyond_chance(self) -> float:
        """What members are ranked by, in points."""
        return self.agreeing - self.chance

    @property
    def member(self) -> Member:
        """How image a has to be changed to look like image b as it is."""
        asking, other = self.asking.member, self.offering.member.scale
        if self.side == "a":
            return replace(asking, scale=asking.scale / other)
        back = undoing(asking)
        return replace(back, scale=back.scale * other)


def find_points(grey: Tensor, count: int) -> Tensor:
    """Corners, spread over an image: the best of each cell, and of those the best of all.

    Args:
        grey: ``(1, C, H, W)``; channels are added up.
        count: the largest number of corners.

    Returns:
        ``(K, 2)`` float64 pixels, on the image's device.
    """
    columns = grey.shape[3]
    across = functional.pad(grey, (1, 1, 0, 0), mode="replicate")
    down = functional.pad(grey, (0, 0, 1, 1), mode="replicate")
    dx = (across[..., 2:] - across[..., :-2]) / 2
    dy = (down[..., 2:, :] - down[..., :-2, :]) / 2
    products = torch.cat(
        [(one * two).sum(dim=1, keepdim=True) for one, two in ((dx, dx), (dy, dy), (dx, dy))], dim=1
    )
    xx, yy, xy = functional.avg_pool2d(
        products, _WINDOW_PX, stride=1, padding=_WINDOW_PX // 2, count_include_pad=False
    )[0]
    # The smaller eigenvalue of the structure tensor (Shi and Tomasi, CVPR 1994).
    strength = (xx + yy) / 2 - (((xx - yy) / 2).square() + xy.square()).sqrt()
    best, index = functional.max_pool2d(
        strength[None, None], _CELL_PX, ceil_mode=True, return_indices=True
    )
    chosen = best.flatten().topk(min(count, best.numel())).indices
    flat = index.flatten()[chosen]
    return torch.stack([flat % columns, flat // columns], dim=1).double()


def ask(
    view: View,
    made: DescriptorMap,
    member: Member,
    points_px: Tensor,
    *,
    size_px: tuple[int, int],
) -> MemberPoints:
    """An image of (width, height) under one member, read at its points ``(K, 2)``."""
    vectors = unit_length(read_view(view, made, points_px[None])[0], dim=1)
    at_border = _from_border(points_px, size_px) * member.growth <= _AT_BORDER_PX
    return MemberPoints(member, vectors, to_view(view, points_px).float(), at_border)


def offer(made: DescriptorMap, member: Member, *, every: int) -> MemberPoints:
    """An image under one member, at one cell of its map in ``every``, along either axis."""
    values = made.values[0, :, ::every, ::every]
    rows, columns = values.shape[1:]
    grid = CellGrid(made.grid.stride_px * every, made.grid.offset_px)
    places = cell_places(grid, (rows, columns), device=values.device)
    size_px = tuple(round(edge * made.grid.stride_px) for edge in made.values.shape[:1:-1])
    at_border = _from_border(places, size_px) <= _AT_BORDER_PX
    return MemberPoints(member, values.flatten(1).T.contiguous(), places.float(), at_border)


def _from_border(points_px: Tensor, size_px: tuple[int, ...]) -> Tensor:
    """``(K,)`` distances of points from the nearest border of an image of (width, height)."""
    last = points_px.new_tensor(size_px) - 1
    return torch.minimum(points_px, last - points_px).amin(dim=1)


def count_agreeing(asking: MemberPoints, offering: MemberPoints, *, bin_px: float) -> float:
    """The size of the largest cluster of movements among the mutual matches of two members.

    Matches from border to border do not count: a border cuts off what a network sees, and where
    there is little else to see, that looks the same in any two images.

    Args:
        asking: points of one image.
        offering: cells of the other.
        bin_px: movements this near each other agree, in pixels between those of both images.
    """
    asked, found = _mutual_matches(asking, offering)
    if asking.at_border is not None and offering.at_border is not None:
        told = ~(asking.at_border[asked] & offering.at_border[found])
        asked, found = asked[told], found[told]
    return float(_largest_cluster(asking, offering, asked, found, bin_px).sum())


def agreed_places(votes: Sequence[Vote], *, bin_px: float) -> tuple[Tensor, Tensor]:
    """Where the largest clusters of several votes find the points that asked.

    Args:
        votes: of the same points of the same image, the most trusted first; a point that is in
            several clusters is where the first one has it.  At least one.
        bin_px: see :func:`count_agreeing`.

    Returns:
        ``(N,)`` which points, ascending, and ``(N, 2)`` float64 their places in the other image.
    """
    first = votes[0].asking.places
    count = len(first)
    places_px = torch.zeros(count, 2, dtype=torch.float64, device=first.device)
    known = torch.zeros(count, dtype=torch.bool, device=first.device)
    for vote in votes:
        asked, found = _mutual_matches(vote.asking, vote.offering)
        inside = _largest_cluster(vote.asking, vote.offering, asked, found, bin_px)
        asked, found = asked[inside], found[inside]
        new = ~known[asked]
        places_px[asked[new]] = _unshrunk(vote.offering, found[new])
        known[asked] = True
    index = known.nonzero()[:, 0]
    return index, places_px[index]


def mutual_places(vote: Vote) -> tuple[Tensor, Tensor]:
    """Where a vote's members find each other's points, whether they agree about movements or not.

    Returns:
        ``(N,)`` which points asked, and ``(N, 2)`` float64 their places in the other image.
    """
    asked, found = _mutual_matches(vote.asking, vote.offering)
    return asked, _unshrunk(vote.offering, found)


def _unshrunk(offering: MemberPoints, cells: Tensor) -> Tensor:
    """``(N, 2)`` float64 places of some cells in the image as it was: outer edges met."""
    return (offering.places[cells].double() + 0.5) / offering.member.scale - 0.5


def _mutual_matches(asking: MemberPoints, offering: MemberPoints) -> tuple[Tensor, Tensor]:
    """Which points asked, and which cells they found, ``(N,)`` both."""
    device = asking.vectors.device
    if len(asking.vectors) == 0 or len(offering.vectors) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return nothing, nothing
    check_stop()
    _, found = largest_of_rows(asking.vectors @ offering.vectors.T)
    # Of all points, the one that found the cell is the most similar to it.
    _, back = largest_of_rows(offering.vectors[found] @ asking.vectors.T)
    asked = (back == torch.arange(len(found), device=device)).nonzero()[:, 0]
    return asked, found[asked]


def _largest_cluster(
    asking: MemberPoints, offering: MemberPoints, asked: Tensor, found: Tensor, bin_px: float
) -> Tensor:
    """``(N,)`` which matches of two members are in their largest cluster of movements."""
    if not len(asked):
        return torch.zeros_like(asked, dtype=torch.bool)
    moved = offering.places[found] - asking.places[asked]
    # Between both images' pixels: by those of the larger view alone, a bin would cover much of the
    # smaller one, and chance would fill it; by those of the smaller view, small ones would win.
    growth = math.sqrt(asking.member.growth * offering.member.growth)
    bins = torch.floor(moved / (bin_px * growth)).long()
    bins = bins - bins.amin(dim=0)
    columns, rows = (bins.amax(dim=0) + 1).tolist()
    counts = torch.bincount(bins[:, 1] * columns + bins[:, 0], minlength=rows * columns)
    grid = counts.view(1, 1, rows, columns).float()
    # Four neighbouring bins together: a cluster that a border cuts is still one.
    windows = functional.avg_pool2d(
        functional.pad(grid, (1, 1, 1, 1)), 2, stride=1, divisor_override=1
    )[0, 0]
    row, column = divmod(int(windows.argmax()), windows.shape[1])
    last = torch.tensor([column, row], device=bins.device)
    return ((bins == last) | (bins == last - 1)).all(dim=1)


def hold_vote(
    asking: Sequence[MemberPoints],
    offering: Sequence[MemberPoints],
    *,
    side: Side,
    scales: Sequence[tuple[float, float]],
    bin_px: float,
) -> list[Vote]:
    """Members of one image against members of the other.

    Args:
        asking: of the image that asks, each scale under the same turns.
        offering: of the other one.
        side: which image asks.
        scales: which scale of the former is held against which of the latter.
        bin_px: see :func:`count_agreeing`.

    Returns:
        Votes, in no order.
    """
    votes = []
    for one_scale, other_scale in scales:
        asked = [one for one in asking if one.member.scale == one_scale]
        (other,) = (other for other in offering if other.member.scale == other_scale)
        counts = [count_agreeing(one, other, bin_px=bin_px) for one in asked]
        # Under most turns the images have nothing in common.  How many agree by chance depends on
        # the scales: the more cells are offered and the smaller the views, the more.
        chance = statistics.median(counts)
        votes += [
            Vote(side, one, other, count, chance) for one, count in zip(asked, counts, strict=True)
        ]
    return votes


def in_order(votes: Sequence[Vote]) -> list[Vote]:
    """The most agreed on first; where as many agree, the smaller change."""

    def rank(vote: Vote) -> tuple[float, float, float]:
        member = vote.member
        turn_deg = min(member.angle_deg % 360, -member.angle_deg % 360)
        return (-vote.beyond_chance, abs(math.log2(member.growth)), turn_deg)

    return sorted(votes, key=rank)
