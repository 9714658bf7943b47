"""The vote about a pair's relative scale, and MSNetV2 that goes by it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import Member, PairDescriptor
from engine.descriptors.msnet import MSNetV1, MSNetV2, build_network, mix_scales
from engine.descriptors.msnet_pair import MSNetV2Estimated, ScaleLook
from engine.descriptors.registry import build_descriptor, get_descriptor, make_spec
from engine.descriptors.scale_vote import vote_for_growth


def random_directions(count: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 32, generator=generator), dim=1)


def scattered(count: int, *, seed: int) -> Tensor:
    return 400 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)).double()


def similarity(growth: float, turn_deg: float) -> Tensor:
    turn = math.radians(turn_deg)
    rows = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    return growth * torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("growth", [0.5, 0.62, 0.8, 1.0, 1.3, 1.9])
@pytest.mark.parametrize("turn_deg", [0.0, 7.6, 173.0, 352.0])
def test_the_growth_of_a_known_movement_is_found_among_wrong_matches(
    growth: float, turn_deg: float
):
    """A third of the points are where they should be, the others anywhere."""
    points_a = scattered(240, seed=1)
    points_b = points_a @ similarity(growth, turn_deg).T + 50
    points_b[80:] = points_b[80:][torch.randperm(160, generator=torch.Generator().manual_seed(2))]
    vectors = random_directions(240, seed=3)
    vote = vote_for_growth(points_a, lambda _: vectors, points_b, lambda _: vectors)
    assert vote.growth == pytest.approx(growth, rel=0.03)
    assert 0 < vote.agreeing <= vote.lines


def test_the_images_are_told_the_scales_that_each_growth_means():
    points, vectors = scattered(60, seed=1), random_directions(60, seed=2)
    asked: dict[str, list[float]] = {"a": [], "b": []}

    def describe(side: str, scale: float) -> Tensor:
        asked[side].append(scale)
        return vectors

    vote_for_growth(points, lambda s: describe("a", s), points, lambda s: describe("b", s))
    root = math.sqrt(2)
    assert asked["a"] == pytest.approx([2, root, 1, 1, 1])
    assert asked["b"] == pytest.approx([1, 1, 1, root, 2])


@pytest.mark.parametrize("seed", range(8))
def test_wrong_matches_agree_on_nothing(seed: int):
    vectors = random_directions(300, seed=3)
    vote = vote_for_growth(
        scattered(300, seed=seed), lambda _: vectors,
        scattered(300, seed=100 + seed), lambda _: vectors,
    )  # fmt: skip
    assert (vote.growth, vote.agreeing) == (1.0, 0)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_points_agree_on_nothing(count: int):
    points, vectors = scattered(count, seed=1), random_directions(count, seed=2)
    vote = vote_for_growth(points, lambda _: vectors, points, lambda _: vectors)
    assert (vote.growth, vote.agreeing) == (1.0, 0)


def test_descriptors_that_are_all_alike_agree_on_nothing():
    points, vectors = scattered(200, seed=1), torch.ones(200, 8)
    vote = vote_for_growth(points, lambda _: vectors, points, lambda _: vectors)
    assert (vote.growth, vote.agreeing) == (1.0, 0)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.4, 2.0, 5.0])
def test_the_mix_is_the_one_of_msnet_v2(scale: float):
    network = build_network(weights=None, imagenet_weights=None)
    images = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        full, half = MSNetV1(network, None).describe(images)
        (mixed,) = MSNetV2(network, None, scale=torch.full((1, 40, 56), scale)).describe(images)
    torch.testing.assert_close(mix_scales(full.values, half.values, scale), mixed.values)


@pytest.fixture(scope="module")
def descriptor() -> MSNetV2Estimated:
    found = build_descriptor(make_spec("msnet_v2_estimated"))
    assert isinstance(found, MSNetV2Estimated)
    return found


def picture(growth: float, *, seed: int = 0) -> Tensor:
    """A random picture with structure of all sizes, shown so much larger about its middle."""
    generator = np.random.default_rng(seed)
    plane: NDArray[np.float32] = np.zeros((480, 640, 3), np.float32)
    for deviation in (1.5, 3, 6, 12):
        noise = generator.normal(size=plane.shape).astype(np.float32)
        layer = cv2.GaussianBlur(noise, (0, 0), deviation)
        plane += layer / layer.std()
    plane = np.clip(0.5 + plane / 10, 0, 1)
    shrunk = cv2.GaussianBlur(plane, (0, 0), 0.8 / growth)
    middle = np.array([320.0, 240.0])
    matrix = np.hstack(
        [growth / 2 * np.eye(2), (np.array([160, 120]) - growth / 2 * middle)[:, None]]
    )
    shown = cv2.warpAffine(shrunk, matrix, (320, 240), borderMode=cv2.BORDER_REFLECT)
    return torch.from_numpy(shown).permute(2, 0, 1)[None].contiguous()


def look(descriptor: MSNetV2Estimated, images: Tensor, side: str) -> ScaleLook:
    with torch.inference_mode():
        return descriptor.look(images, side, lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("growth", [1.0, 1.4, 1.8])
def test_a_pair_of_pictures_votes_for_its_scale_from_either_side(
    descriptor: MSNetV2Estimated, growth: float
):
    """Random weights are enough for pictures that differ in nothing else."""
    small, large = picture(1.0), picture(growth)
    step = 2 ** (1 / 8)
    choice = descriptor.choose(look(descriptor, small, "a"), look(descriptor, large, "b"))
    (member_a,), (member_b,) = choice.members_a, choice.members_b
    assert member_a == Member()
    assert growth / step <= 1 / member_b.scale <= growth * step
    back = descriptor.choose(look(descriptor, large, "a"), look(descriptor, small, "b"))
    assert back.members_b == (Member(),)
    assert growth / step <= 1 / back.members_a[0].scale <= growth * step
    if growth > 1:
        assert choice.text.startswith("b shows things ")
        assert back.text.startswith("a shows things ")
    else:
        assert choice.text.startswith("both show things at the same size; ")


def test_different_pictures_agree_on_nothing_and_two_blank_ones_are_alike(
    descriptor: MSNetV2Estimated,
):
    blank = torch.zeros(1, 3, 64, 64)
    pairs = ((picture(1.0), picture(1.0, seed=9)), (picture(1.0), blank), (blank, blank))
    for one, other in pairs:
        choice = descriptor.choose(look(descriptor, one, "a"), look(descriptor, other, "b"))
        assert (choice.members_a, choice.members_b) == ((Member(),), (Member(),))
        if one is not other:
            assert choice.text == "no scale is agreed on, so none is mixed in"


def test_members_are_described_as_msnet_v2_at_their_scale(descriptor: MSNetV2Estimated):
    images = picture(1.0)[:, :, :56, :72]
    checks: list[int] = []
    members = (Member(1.0), Member(0.5), Member(2**-0.25))
    with torch.inference_mode():
        levels = descriptor.describe_members(images, members, None, lambda: checks.append(1))
        assert [level.member for level in levels] == list(members)
        for level, scale in zip(levels, (1.0, 2.0, 2**0.25), strict=True):
            (expected,) = MSNetV2(descriptor.network, None, scale=scale).describe(images)
            torch.testing.assert_close(level.values, expected.values)
            assert level.grid == expected.grid
        (alone,) = descriptor.describe(images)
    assert len(checks) == 3
    assert torch.equal(alone.values, levels[0].values)
    assert alone.member == Member()


def test_it_is_registered_as_one_that_looks_at_pairs_and_knows_no_truth():
    entry = get_descriptor("msnet_v2_estimated")
    assert entry.by_pair
    assert entry.takes_weights
    assert isinstance(build_descriptor(make_spec("msnet_v2_estimated")), PairDescriptor)
    assert not get_descriptor("msnet_v2").by_pair
