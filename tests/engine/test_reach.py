"""The measured reach is the one that the layers give by hand, and none where all is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors.descspace_network import DescSpaceNetwork
from engine.descriptors.networks import make_network
from engine.descriptors.reach import measured_reach_px
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.superpoint import SuperPoint, SuperPointNetwork
from engine.geometry.coords import CellGrid


def conv(inputs: int, outputs: int, kernel: int, **kwargs: Any) -> nn.Conv2d:
    generator = torch.Generator().manual_seed(4)
    layer = nn.Conv2d(inputs, outputs, kernel, **kwargs)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    return layer


# (layers, grid, shift period, reach by hand).  A kernel k with dilation d on a map of stride s
# reads s d (k - 1) / 2 px to either side.
BY_HAND: tuple[tuple[Callable[[], nn.Module], CellGrid, int, int], ...] = (
    (lambda: conv(3, 4, 1), CellGrid(1.0, 0.0), 1, 0),
    (lambda: conv(3, 4, 5, padding=2), CellGrid(1.0, 0.0), 1, 2),
    (lambda: conv(3, 4, (3, 9), padding=(1, 4)), CellGrid(1.0, 0.0), 1, 4),
    (lambda: conv(3, 4, (9, 3), padding=(4, 1)), CellGrid(1.0, 0.0), 1, 4),
    # Even patches: a cell in the middle of 8 px reads 3.5 px to either side.
    (lambda: conv(3, 4, 8, stride=8), CellGrid(8.0, 3.5), 8, 4),
    # 2 + 2 · 2 · 1 + 4 · 3
    (
        lambda: nn.Sequential(
            conv(3, 4, 5, stride=2, padding=2), nn.ReLU(),
            conv(4, 4, 3, stride=2, padding=2, dilation=2), nn.ReLU(),
            conv(4, 4, 7, padding=3),
        ),
        CellGrid(4.0, 0.0), 4, 18,
    ),
    # 2 × 2 poolings, 0.5 + 2 · 0.5 px, then 4 · 50 px: more than the first images show.
    (
        lambda: nn.Sequential(
            nn.MaxPool2d(2), nn.MaxPool2d(2), conv(3, 4, (1, 11), padding=(0, 50), dilation=10)
        ),
        CellGrid(4.0, 1.5), 4, 202,
    ),
    # Dead rectifiers: nothing of any image comes through.
    (
        lambda: nn.Sequential(conv(3, 4, 3, padding=1), Shifted(-1e3), nn.ReLU()),
        CellGrid(1.0, 0.0), 1, 1,
    ),
    # Enlarged: cells read the 3.5 px about the middle of a coarse one, and lie up to 3 px beside
    # that middle.
    (
        lambda: nn.Sequential(conv(3, 4, 8, stride=8), nn.UpsamplingNearest2d(scale_factor=4)),
        CellGrid(2.0, 0.5), 8, 7,
    ),
)  # fmt: skip


class Shifted(nn.Module):
    """Adds a number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, values: Tensor) -> Tensor:
        return values + self.by


@pytest.mark.parametrize(("made", "grid", "period_px", "reach_px"), BY_HAND)
def test_convolutions_reach_as_far_as_was_counted(
    made: Callable[[], nn.Module], grid: CellGrid, period_px: int, reach_px: int
) -> None:
    network = made()
    with torch.inference_mode():
        found = measured_reach_px(network, grid=grid, period_px=period_px)
    assert found == reach_px


@pytest.mark.parametrize("name", ["msnet_v0", "msnet_v1", "superpoint", "descspace"])
def test_the_built_in_networks_reach_as_far_as_they_declare(name: str) -> None:
    if name == "superpoint":
        one: Any = SuperPoint(make_network(SuperPointNetwork, None))
        grid, period_px = one.grid, one.shift_period_px
    elif name == "descspace":
        one = make_network(DescSpaceNetwork, None).eval()
        grid, period_px = CellGrid(4.0, 0.0), one.shift_period_px
        found = measured_reach_px(lambda x: one(x[:, :1]), grid=grid, period_px=period_px)
        assert found == one.reach_px
        return
    else:
        one = build_descriptor(make_spec(name, {"untrained": True}))
        period_px = one.shift_period_px
    found = [
        measured_reach_px(
            lambda x, level=level: one.describe(x)[level].values,
            grid=one.describe(torch.zeros(1, 3, 64, 64))[level].grid,
            period_px=period_px,
        )
        for level in range(len(one.describe(torch.zeros(1, 3, 64, 64))))
    ]
    assert max(found) == one.reach_px


def attention(images: Tensor) -> Tensor:
    patches = functional.avg_pool2d(images, 8)
    tokens = patches.flatten(2).transpose(1, 2)
    seen = functional.scaled_dot_product_attention(tokens, tokens, tokens)
    return seen.transpose(1, 2).reshape(patches.shape)


def by_hand(images: Tensor) -> Tensor:
    patches = functional.avg_pool2d(images, 8)
    tokens = patches.flatten(2)
    seen = tokens @ (tokens.transpose(1, 2) @ tokens).softmax(dim=-1)
    return seen.reshape(patches.shape)


def normalised(images: Tensor) -> Tensor:
    return functional.group_norm(functional.avg_pool2d(images, 8), 3)


def squeezed(images: Tensor) -> Tensor:
    return functional.avg_pool2d(images, 8) * images.mean((2, 3), keepdim=True).sigmoid()


def in_numpy(images: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(images.detach())[:, :, ::8, ::8].copy())


def of_bytes(images: Tensor) -> Tensor:
    return (images * 255).byte().float()[:, :, ::8, ::8]


@pytest.mark.parametrize("map_of", [attention, by_hand, normalised, squeezed, of_bytes])
def test_what_sees_the_whole_image_or_has_no_derivative_has_no_reach(
    map_of: Callable[[Tensor], Tensor],
) -> None:
    grid = CellGrid(8.0, 3.5)
    assert measured_reach_px(map_of, grid=grid, period_px=8, largest_px=512) is None


@pytest.mark.parametrize("map_of", [attention, by_hand])
def test_attention_is_not_looked_for_in_large_images(map_of: Callable[[Tensor], Tensor]) -> None:
    seen = []

    def noting(images: Tensor) -> Tensor:
        seen.append(images.shape[2])
        return map_of(images)

    assert measured_reach_px(noting, grid=CellGrid(8.0, 3.5), period_px=8) is None
    assert seen == [128]


def test_numpy_has_no_reach() -> None:
    grid = CellGrid(8.0, 0.0)
    assert measured_reach_px(in_numpy, grid=grid, period_px=8) is None


def test_a_reach_beyond_a_quarter_of_the_largest_image_is_none() -> None:
    network = conv(3, 2, (1, 5), padding=(0, 40), dilation=20)
    grid = CellGrid(1.0, 0.0)
    assert measured_reach_px(network, grid=grid, period_px=1, largest_px=128) is None
    assert measured_reach_px(network, grid=grid, period_px=1, largest_px=256) == 40


def test_gaps_in_kernels_are_looked_across() -> None:
    """In the first image, of 128 px, all pixels but the one in the middle lie outside."""
    network = conv(3, 2, (1, 3), padding=(0, 70), dilation=70)
    grid = CellGrid(1.0, 0.0)
    assert measured_reach_px(network, grid=grid, period_px=1) == 70


def test_branches_that_start_from_zero_show_with_other_kernels() -> None:
    """A residual branch whose last kernel is zero, as training often begins."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = conv(3, 3, 7, padding=3)
            nn.init.zeros_(self.branch.weight)

        def forward(self, values: Tensor) -> Tensor:
            found: Tensor = values + self.branch(values)
            return found

    network = Residual()
    grid = CellGrid(1.0, 0.0)
    assert measured_reach_px(network, grid=grid, period_px=1) == 0
    assert measured_reach_px(network, grid=grid, period_px=1, networks=[network]) == 3
    assert not bool(network.branch.weight.any())
