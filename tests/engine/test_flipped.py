"""Descriptors of an image and of its mirror image, in one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.descspace_network import DescSpaceNetwork
from engine.descriptors.flipped import find_directions, join_flipped
from engine.descriptors.networks import make_network, weights_to_load
from engine.descriptors.registry import build_descriptor, make_spec

STRIDE_PX = 4


@pytest.fixture(scope="module")
def network() -> DescSpaceNetwork:
    weights = weights_to_load(None, "descspace")
    assert weights is not None
    return make_network(DescSpaceNetwork, weights).eval()


@pytest.fixture(scope="module")
def directions(network: DescSpaceNetwork) -> Tensor:
    return find_directions(network, stride_px=STRIDE_PX)


def picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(1, 1, height // 5, width // 5, generator=generator)
    return functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


def similarities(maps: Tensor) -> Tensor:
    """``(N, N)`` of all cells with each other."""
    cells = maps[0].flatten(1)
    return cells.mT @ cells


@torch.inference_mode()
def joined(network: DescSpaceNetwork, directions: Tensor, grey: Tensor) -> Tensor:
    return join_flipped(network, grey, network(grey), directions, stride_px=STRIDE_PX)


def test_two_places_are_as_similar_as_on_average_in_the_image_and_its_mirror_image(
    network: DescSpaceNetwork, directions: Tensor
):
    grey = picture(81, 121)
    with torch.inference_mode():
        flipped = network(grey.flip(3)).flip(3)  # 121 px: the last column is the first cell's
        mean = (similarities(network(grey)) + similarities(flipped)) / 2
        own = (similarities(network(grey)) - mean).abs().mean()
    found = similarities(joined(network, directions, grey))
    assert (found - mean).abs().mean() < 0.3 * own
    assert torch.corrcoef(torch.stack([found.flatten(), mean.flatten()]))[0, 1] > 0.99


def test_what_is_left_and_what_is_right_does_not_matter(
    network: DescSpaceNetwork, directions: Tensor
):
    grey = picture(81, 121)
    found = joined(network, directions, grey)
    mirrored = joined(network, directions, grey.flip(3)).flip(3)
    torch.testing.assert_close(similarities(mirrored), similarities(found), atol=2e-4, rtol=0)


@pytest.mark.parametrize("width", [241, 240, 239, 238])
def test_cells_lie_where_they_were_whatever_the_width(
    network: DescSpaceNetwork, directions: Tensor, width: int
):
    """The last columns are far from the left half: what is there must stay the same."""
    grey = picture(121, 241)
    whole = joined(network, directions, grey)[..., :30]
    cut = joined(network, directions, grey[..., :width])[..., :30]
    assert (whole * cut).sum(dim=1).min() > 0.999


@pytest.mark.parametrize("size_px", [(80, 120), (83, 119), (30, 122), (16, 16)])
def test_maps_are_as_large_as_those_of_the_network(
    network: DescSpaceNetwork, directions: Tensor, size_px: tuple[int, int]
):
    grey = picture(*size_px)
    both = joined(network, directions, grey)
    with torch.inference_mode():
        assert both.shape == network(grey).shape
    torch.testing.assert_close(both.norm(dim=1), torch.ones_like(both[:, 0]))


def test_directions_are_at_right_angles_and_the_same_each_time(
    network: DescSpaceNetwork, directions: Tensor
):
    assert directions.shape == (256, 128)
    torch.testing.assert_close(directions.mT @ directions, torch.eye(128), atol=1e-5, rtol=0)
    again = find_directions(network, stride_px=STRIDE_PX)
    torch.testing.assert_close(again, directions)


def test_reduced_precision_of_the_network_does_not_reduce_what_is_joined(
    network: DescSpaceNetwork, directions: Tensor
):
    grey = picture(60, 80)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = joined(network, directions, grey)
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced.norm(dim=1), torch.ones_like(reduced[:, 0]))


def test_the_robust_set_looks_at_mirrored_images_too_and_others_do_not():
    images = picture(60, 80).expand(1, 3, -1, -1)
    robust, balanced = (
        build_descriptor(make_spec(name)) for name in ("descspace-robust", "descspace")
    )
    with torch.inference_mode():
        (one,), (other,) = robust.describe(images), balanced.describe(images)
    assert one.values.shape == other.values.shape
    assert (one.values * other.values).sum(dim=1).mean() < 0.5
