"""descspace: what its vectors hold, and which members a pair keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.descriptors.base import Member
from engine.descriptors.descspace import (
    DescSpace,
    DescSpaceFast,
    Look,
    SetPlan,
    build_network,
)
from engine.descriptors.descspace_network import DescSpaceNetwork
from engine.descriptors.members import make_view
from engine.descriptors.tensors import to_luminance
from engine.descriptors.vote import MemberPoints
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import sample_map


@pytest.fixture(scope="module")
def network() -> DescSpaceNetwork:
    return build_network(None)


def photo(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(1, 3, height // 6, width // 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


def describe(network: DescSpaceNetwork, images: Tensor, half_share: float) -> Tensor:
    with torch.inference_mode():
        (level,) = DescSpaceFast(network, None, half_share=half_share).describe(images)
    return level.values[0].flatten(1)


def test_similarity_is_the_mean_of_near_and_wide_surroundings(network: DescSpaceNetwork):
    images = photo(96, 120)
    near = describe(network, images, 0.0)
    both = describe(network, images, 0.3)
    assert (len(near), len(both)) == (128, 256)
    # The wide part, by another way: the half image described, and read at every other cell of it.
    with torch.inference_mode():
        half = network(make_view(to_luminance(images)[:, None], Member(0.5)).images)
    ys, xs = torch.meshgrid(4.0 * torch.arange(24), 4.0 * torch.arange(30), indexing="ij")
    places = torch.stack([xs, ys], dim=-1).view(1, -1, 2)
    # Pixel x of the image is pixel (x + 0.5) / 2 - 0.5 of its half.
    read = sample_map(half, CellGrid(4.0, 0.0), (places + 0.5) / 2 - 0.5)[0]
    wide = torch.nn.functional.normalize(read, dim=1).T
    expected = 0.7 * near.T @ near + 0.3 * wide.T @ wide
    torch.testing.assert_close(both.T @ both, expected, atol=1e-4, rtol=0)


def test_without_a_share_for_it_the_half_image_is_not_described(network: DescSpaceNetwork):
    alone = DescSpaceFast(network, None, half_share=0.0)
    assert (alone.dim, alone.shift_period_px) == (128, 16)
    both = DescSpaceFast(network, None, half_share=0.5)
    assert (both.dim, both.shift_period_px) == (256, 32)


# ---- what a pair keeps --------------------------------------------------------------------------

PLAN = SetPlan(asking_a=((0.5, 0.5),), kept=3, least=0.3)


def looks(agreeing: list[int], *, spread_px: float = 24.0) -> tuple[Look, Look]:
    """Looks at a pair in which so many points agree under each turn of image a.

    Their movements differ by up to ``spread_px``, in pixels of image b as it was.
    """
    points, grey = 100, torch.zeros(1, 1, 16, 16)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(points, 32, generator=generator), dim=1)
    places = 80 * torch.rand(points, 2, generator=generator)
    far = 100.0 * torch.arange(1.0, points + 1)[:, None]
    asking = []
    for turn, count in enumerate(agreeing):
        moved = places + spread_px / 2 * torch.rand(points, 2, generator=generator)
        moved[count:] -= far[count:]  # each its own way
        asking.append(MemberPoints(Member(0.5, turn * 30.0), vectors, moved))
    offering = (MemberPoints(Member(0.5), vectors, places + 30),)
    return Look(grey, places.double(), tuple(asking), ()), Look(grey, places.double(), (), offering)


def turns_kept(
    network: DescSpaceNetwork, plan: SetPlan, agreeing: list[int], *, spread_px: float = 24.0
) -> list[float]:
    descriptor = DescSpace(network, None, half_share=0.0, plan=plan)
    choice = descriptor.choose(*looks(agreeing, spread_px=spread_px))
    return [member.angle_deg for member in choice.members_a]


def test_members_far_behind_the_best_one_are_left_out(network: DescSpaceNetwork):
    assert turns_kept(network, PLAN, [10, 60, 10, 30, 10, 12]) == [30.0, 90.0]


def test_a_member_that_fits_the_whole_scene_closely_is_kept_alone(network: DescSpaceNetwork):
    agreeing = [10, 60, 10, 30, 10, 12]
    assert turns_kept(network, PLAN, agreeing, spread_px=8.0) == [30.0]
    assert len(turns_kept(network, PLAN, agreeing, spread_px=24.0)) == 2


def test_images_are_enlarged_where_no_member_fits_and_only_so_far(network: DescSpaceNetwork):
    agreeing = [10, 60, 10, 30, 10, 12]
    for plan, edge_px, spread_px, expected in (
        (PLAN, 16, 24.0, 1.0),
        (replace(PLAN, detail=1.4), 16, 24.0, 1.4),
        (replace(PLAN, detail=1.4), 16, 8.0, 1.0),  # the member that fits is kept alone
        (replace(PLAN, detail=2.0), 640, 24.0, 1.4),
        (replace(PLAN, detail=2.0), 1200, 24.0, 1.0),
    ):
        descriptor = DescSpace(network, None, half_share=0.0, plan=plan)
        look_a, look_b = looks(agreeing, spread_px=spread_px)
        look_a = replace(look_a, grey=torch.zeros(1, 1, 12, edge_px))
        choice = descriptor.choose(look_a, look_b)
        assert [member.scale for member in choice.members_b] == [pytest.approx(expected)]


def test_no_more_members_are_kept_than_planned(network: DescSpaceNetwork):
    assert turns_kept(network, PLAN, [50, 60, 45, 40, *[5] * 8]) == [30.0, 0.0, 60.0]


def test_where_no_member_stands_out_several_get_a_chance(network: DescSpaceNetwork):
    assert turns_kept(network, PLAN, [10] * 6) == [0.0, 30.0, 60.0]
