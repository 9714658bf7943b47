"""What layers are like: known ranks and shares of position, and maps that move as they should."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.grid_measure import random_images
from engine.descriptors.position import positional_share, positional_shares
from engine.descriptors.tensors import unit_length
from engine.evaluation.layer_measures import effective_rank, shift_sensitivity
from engine.geometry.coords import CellGrid

PIXELS = CellGrid(1.0, 0.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- effective rank ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 40])
def test_directions_that_are_used_alike_all_count(count: int):
    assert effective_rank(torch.eye(5).repeat(count // 5, 1)) == pytest.approx(5)


def test_vectors_on_one_line_have_rank_one():
    assert effective_rank(draw(50, 1) * draw(1, 7, seed=1)) == pytest.approx(1, abs=1e-5)


def test_unequal_directions_count_by_the_entropy_of_their_singular_values():
    # Singular values 3 and 1: shares 3/4 and 1/4, whatever the vectors are turned by.
    turned = torch.linalg.qr(draw(6, 6))[0]
    matrix = torch.zeros(4, 6)
    matrix[0, 0], matrix[1, 1] = 3, 1
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(matrix @ turned) == pytest.approx(math.exp(entropy), rel=1e-5)


def test_nothing_has_rank_zero():
    assert effective_rank(torch.zeros(4, 3)) == 0


# ---- shifts --------------------------------------------------------------------------------------


def convolved(image: Tensor, stride: int) -> DescriptorMap:
    weights = draw(8, 3, 4 if stride > 1 else 3, 4 if stride > 1 else 3, seed=2)
    padding = 0 if stride > 1 else 1
    values = torch.nn.functional.conv2d(image, weights, stride=stride, padding=padding)
    grid = PIXELS if stride == 1 else CellGrid(float(stride), 1.5)
    return DescriptorMap(unit_length(values), grid)


def shifts(stride: int) -> float | None:
    image = torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(3))
    return shift_sensitivity(
        convolved(image[:, :, :-1, :-1], stride), convolved(image[:, :, 1:, 1:], stride)
    )


def test_a_convolution_of_stride_1_moves_with_the_image():
    assert shifts(1) == pytest.approx(0, abs=1e-6)


def test_patches_of_noise_are_other_patches_a_pixel_on():
    change = shifts(4)
    assert change is not None
    # Half of a patch's pixels are not in the four that are read around: far from moving along.
    assert 0.2 < change < 1.0


def test_a_map_that_is_drawn_anew_changes_as_much_as_another_place():
    maps = [DescriptorMap(unit_length(draw(1, 32, 40, 40, seed=seed)), PIXELS) for seed in (0, 1)]
    assert shift_sensitivity(*maps) == pytest.approx(1, abs=0.02)


def test_maps_with_nothing_to_compare_have_no_sensitivity():
    alike = DescriptorMap(torch.ones(1, 4, 9, 9) / 2, PIXELS)
    assert shift_sensitivity(alike, alike) is None
    single = DescriptorMap(unit_length(draw(1, 4, 1, 1)), PIXELS)
    assert shift_sensitivity(single, single) is None


# ---- position ------------------------------------------------------------------------------------


def content(images: Tensor) -> Tensor:
    """The image's pixels, every second one: what changes with what is seen."""
    return images[:, :, ::2, ::2]


def coded(images: Tensor) -> Tensor:
    values = content(images)
    along_x = torch.linspace(-1, 1, values.shape[3]).expand_as(values[:, :1])
    return torch.cat([values, along_x], dim=1)


def levels_of(images: Tensor) -> Levels:
    grid = CellGrid(2.0, 0.0)
    return (DescriptorMap(content(images), grid), DescriptorMap(coded(images), grid))


def test_the_share_of_a_planted_code_is_its_share_of_the_variance():
    size_px = (64, 48)
    noise = content(random_images(64, size_px, torch.Generator().manual_seed(9)))
    of_content = float(noise.var(dim=(2, 3), unbiased=False).sum(dim=1).mean())
    of_code = float(torch.linspace(-1, 1, 32).var(unbiased=False))
    plain, with_code = positional_shares(levels_of, size_px, images=8)
    assert plain.of_noise < 0.03
    assert with_code.of_noise == pytest.approx(of_code / (of_code + of_content), abs=0.03)
    assert with_code.seen_in_constant == pytest.approx(with_code.of_noise, abs=0.03)


def test_a_level_has_the_same_share_alone_and_among_others():
    size_px = (64, 48)
    _, among = positional_shares(levels_of, size_px)
    alone = positional_share(lambda images: levels_of(images)[1:], size_px, reach_px=None)
    assert among == alone
