"""The vote of a pair, held against constructions whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Member
from engine.descriptors.members import make_view, member_matrix
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


def vectors(count: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 32, generator=generator), dim=1)


def places(count: int, *, seed: int = 1) -> Tensor:
    return 300 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))


def test_points_that_move_alike_agree_and_others_do_not():
    described, asked = vectors(60), places(60)
    offered = asked + torch.tensor([70.0, -20.0])
    offered[40:] += torch.arange(1, 21)[:, None] * 100.0  # each goes its own way
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    offering = MemberPoints(Member(), described[order], offered[order])
    assert count_agreeing(MemberPoints(Member(), described, asked), offering, bin_px=30) == 40


def test_a_cluster_that_the_border_of_bins_cuts_is_one():
    described = vectors(40)
    asked = torch.zeros(40, 2)
    offered = torch.full((40, 2), 29.5)
    offered[::2] += 1.0  # bins of 30 px: half of them lie beyond the border
    offering = MemberPoints(Member(), described, offered)
    assert count_agreeing(MemberPoints(Member(), described, asked), offering, bin_px=30) == 40


def test_bins_are_between_the_pixels_of_both_images():
    described, asked = vectors(30), torch.zeros(30, 2)
    offered = torch.linspace(0, 29, 30)[:, None].expand(30, 2)
    small, large = (MemberPoints(Member(scale), described, offered) for scale in (0.5, 2.0))
    for scale, offering, expected in ((1.0, large, 29), (0.5, large, 20), (0.5, small, 10)):
        asking = MemberPoints(Member(scale), described, asked)
        assert count_agreeing(asking, offering, bin_px=10) == expected


def test_agreed_places_are_those_of_the_most_trusted_vote_in_pixels_of_the_image_as_it_was():
    """One vote finds 20 of 40 points, the other, less trusted, 30 of which 10 are the same."""
    described, asked = vectors(40), places(40)
    far = torch.arange(1, 41)[:, None] * torch.tensor([400.0, 300.0])

    def vote(first: int, last: int, moved_px: float) -> Vote:
        offered = asked + moved_px
        wrong = (torch.arange(40) < first) | (torch.arange(40) >= last)
        offered[wrong] += far[wrong]
        offering = MemberPoints(Member(0.5), described, offered)
        return Vote("a", MemberPoints(Member(), described, asked), offering, last - first, 0)

    index, places_px = agreed_places([vote(0, 20, 70.0), vote(10, 40, 30.0)], bin_px=10)
    assert index.tolist() == list(range(40))
    moved_px = torch.tensor([70.0] * 20 + [30.0] * 20)[:, None]
    # Pixel x of an image is pixel (x + 0.5) / 2 - 0.5 of its half.
    back = (places_px + 0.5) / 2 - 0.5
    torch.testing.assert_close(back, (asked + moved_px).double(), atol=1e-4, rtol=0)


def test_mutual_places_need_no_agreement_about_the_movement():
    described, asked = vectors(40), places(40)
    offered = asked + torch.arange(40)[:, None] * torch.tensor([4.0, -3.0])
    offering = MemberPoints(Member(0.5), described.roll(5, 0), offered.roll(5, 0))
    described_a = torch.cat([described, described[:1] + 0.5 * described[1:2]])  # not mutual
    asking = MemberPoints(Member(), described_a, torch.cat([asked, asked[:1]]))
    index, places_px = mutual_places(Vote("a", asking, offering, 1, 0))
    assert index.tolist() == list(range(40))
    expected = (offered.double() + 0.5) / 0.5 - 0.5
    torch.testing.assert_close(places_px, expected, atol=1e-4, rtol=0)


def test_points_that_no_vote_agrees_about_have_no_place():
    asking = MemberPoints(Member(), vectors(0), places(0))
    offering = MemberPoints(Member(), vectors(4), places(4))
    index, places_px = agreed_places([Vote("a", asking, offering, 0, 0)], bin_px=10)
    assert (len(index), places_px.shape) == (0, (0, 2))


def test_matches_from_border_to_border_do_not_count():
    described, asked = vectors(40), places(40)
    ends = torch.arange(40) < 20
    offered_ends = torch.arange(40) % 20 < 10  # a border may match what lies inside, either way
    asking = MemberPoints(Member(), described, asked, ends)
    offering = MemberPoints(Member(), described, asked + 30, offered_ends)
    assert count_agreeing(asking, offering, bin_px=20) == 30
    assert count_agreeing(replace(asking, at_border=None), offering, bin_px=20) == 40
    # But they show where things are as well as others do.
    vote = Vote("a", asking, offering, 30, 0)
    for index, _ in (mutual_places(vote), agreed_places([vote], bin_px=20)):
        assert index.tolist() == list(range(40))


def test_cells_within_four_of_a_border_lie_there():
    made = DescriptorMap(vectors(40 * 30).T.reshape(1, 32, 30, 40), CellGrid(4.0, 0.0))
    found = offer(made, Member(), every=1).at_border
    assert found is not None
    # An image of 160 × 120: its last cells lie 3 px from its last pixels.
    inside = ~found.view(30, 40)
    assert inside[5:26, 5:36].all()
    assert inside.sum() == 21 * 31
    coarse = offer(made, Member(), every=2).at_border
    assert coarse is not None
    assert torch.equal(coarse.view(15, 20), found.view(30, 40)[::2, ::2])


@pytest.mark.parametrize(("scale", "reach_px"), [(1.0, 16.0), (0.5, 32.0)])
def test_points_at_a_border_are_as_near_to_it_in_the_changed_image(scale: float, reach_px: float):
    edge_px = 320
    image = torch.zeros(1, 1, edge_px, edge_px)
    member = Member(scale, 90.0)
    view = make_view(image, member)
    cells = round(edge_px * scale) // 4
    made = DescriptorMap(vectors(cells * cells).T.reshape(1, 32, cells, cells), CellGrid(4.0, 0.0))
    last = edge_px - 1.0
    near, far = reach_px - 0.5, reach_px + 0.5
    points_px = torch.tensor(
        [[near, 160.0], [far, 160.0], [160.0, last - near], [160.0, last - far], [0.0, 0.0]],
        dtype=torch.float64,
    )
    asking = ask(view, made, member, points_px, size_px=(edge_px, edge_px))
    assert asking.at_border is not None
    assert asking.at_border.tolist() == [True, False, True, False, True]


def test_matches_that_are_not_mutual_have_no_vote():
    one = vectors(1)
    asking = MemberPoints(Member(), one.expand(5, -1), places(5))
    offering = MemberPoints(Member(), one, places(1))
    assert count_agreeing(asking, offering, bin_px=1000) == 1


def test_an_image_without_points_votes_for_nothing():
    asking = MemberPoints(Member(), vectors(0), places(0))
    offering = MemberPoints(Member(), vectors(4), places(4))
    assert count_agreeing(asking, offering, bin_px=10) == 0


def test_scales_meet_as_they_are_told_and_ties_go_to_the_least_change():
    nothing = vectors(0), places(0)
    asking = [MemberPoints(Member(scale, angle), *nothing) for scale in (0.5, 1.0)
              for angle in (180.0, 330.0, 0.0)]  # fmt: skip
    offering = [MemberPoints(Member(scale), vectors(3), places(3)) for scale in (1.0, 0.5)]
    votes = hold_vote(asking, offering, side="a", scales=((0.5, 1.0), (0.5, 0.5)), bin_px=30)
    changes = [(vote.member.scale, vote.member.angle_deg) for vote in in_order(votes)]
    assert changes == [(growth, angle) for growth in (1.0, 0.5) for angle in (0.0, 330.0, 180.0)]


def test_what_chance_gives_at_a_pair_of_scales_does_not_count():
    """Half size sees 12 points agree under every turn and 20 under one, full size 15 under one."""
    described, asked = vectors(40), places(40)
    own_ways = torch.arange(1, 41)[:, None] * torch.tensor([400.0, 300.0])
    offered = asked + 50

    def asks(scale: float, turn: int, agreeing: int) -> MemberPoints:
        moved = asked.clone()
        moved[agreeing:] -= own_ways[agreeing:]
        return MemberPoints(Member(scale, turn * 90.0), described, moved)

    asking = [asks(0.5, turn, count) for turn, count in enumerate((12, 20, 12, 12))]
    asking += [asks(1.0, turn, count) for turn, count in enumerate((1, 1, 15, 1))]
    offering = [MemberPoints(Member(1.0), described, offered)]
    scales = ((0.5, 1.0), (1.0, 1.0))
    votes = in_order(hold_vote(asking, offering, side="a", scales=scales, bin_px=10))
    found = [(vote.member.scale, vote.member.angle_deg, vote.agreeing) for vote in votes[:2]]
    assert found == [(1.0, 180.0, 15), (0.5, 90.0, 20)]


@pytest.mark.parametrize("tilt", [1.0, 1.7])
def test_a_vote_says_how_image_a_is_changed_whichever_image_asks(tilt: float):
    nothing = vectors(0), places(0)
    changed = Member(0.4, 70.0, tilt, 25.0 if tilt > 1 else 0.0)
    asking, offering = MemberPoints(changed, *nothing), MemberPoints(Member(0.5), *nothing)
    linear = {}
    for side in ("a", "b"):
        member = Vote(side, asking, offering, 3, 0).member
        linear[side] = member_matrix(member, (64, 48))[0][:2, :2]
    expected = member_matrix(changed, (64, 48))[0][:2, :2] / 0.5
    torch.testing.assert_close(linear["a"], expected)
    torch.testing.assert_close(linear["b"], torch.linalg.inv(expected))


def test_points_are_corners_and_no_two_share_a_cell():
    image = torch.zeros(1, 1, 64, 96)
    image[..., 20:44, 30:60] = 1
    found = find_points(image, 4)
    truth = torch.tensor([[29.5, 19.5], [59.5, 19.5], [29.5, 43.5], [59.5, 43.5]]).double()
    assert torch.cdist(truth, found).amin(dim=1).max() < 4
    everywhere = find_points(torch.rand(1, 2, 50, 70, generator=torch.Generator().manual_seed(0)),
                             1000)  # fmt: skip
    cells = {(int(x) // 8, int(y) // 8) for x, y in everywhere.tolist()}
    assert len(cells) == len(everywhere) == 7 * 9


@pytest.mark.parametrize("every", [1, 2, 3])
def test_offered_cells_lie_where_the_map_says(every: int):
    values = torch.arange(5 * 7).float().view(1, 1, 5, 7)
    made = offer(DescriptorMap(values, CellGrid(4.0, 1.5)), Member(), every=every)
    for vector, (x, y) in zip(made.vectors[:, 0].tolist(), made.places.tolist(), strict=True):
        assert vector == ((y - 1.5) / 4) * 7 + (x - 1.5) / 4
    assert len(made.vectors) == len(range(0, 5, every)) * len(range(0, 7, every))
