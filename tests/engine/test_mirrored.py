"""Places of cells found by mirroring: those that follow from kernels, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors.grid_measure import MeasuredGrid
from engine.descriptors.mirrored import mirrored_grid

GREY = (0.5, 0.5, 0.5)


def net(*layers: nn.Module) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
    return nn.Sequential(*layers).eval()


def find(
    network: nn.Module,
    stride_px: float,
    size_px: tuple[int, int] = (112, 96),
    map_of: Callable[[Tensor], Tensor] | None = None,
) -> MeasuredGrid | None:
    def run(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(network(images - 0.5))

    return mirrored_grid(
        map_of or run, size_px=size_px, stride_px=stride_px, blank=GREY, networks=(network,)
    )


def padded(stride: int) -> nn.Conv2d:
    return nn.Conv2d(3, 8, 3, stride, 1)


@pytest.mark.parametrize(
    ("network", "stride_px", "offset_px"),
    [
        (net(padded(2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)), 4, 0.0),
        (net(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, 2)), 2, 2.0),
        (net(nn.Conv2d(3, 8, 8, 8), nn.GELU()), 8, 3.5),
        (net(padded(1), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1)), 2, 0.5),
        # Padded on one side only, as TensorFlow's "same" does at a stride of 2.
        (net(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2)), 2, 1.0),
        (net(padded(1), nn.ConvTranspose2d(8, 4, 1)), 1, 0.0),
    ],
)
def test_cells_lie_exactly_where_kernels_and_strides_put_them(
    network: nn.Module, stride_px: int, offset_px: float
):
    found = find(network, stride_px)
    assert found is not None
    assert found.offset_px == (offset_px, offset_px)
    assert (found.stride_px, found.error_px) == ((stride_px, stride_px), 0.0)
    assert found.method == "mirror"


def test_x_and_y_are_found_for_themselves():
    found = find(net(nn.Conv2d(3, 8, 3, 2, (0, 1)), nn.ReLU()), 2)
    assert found is not None
    assert found.offset_px == (0.0, 1.0)


def test_cells_that_see_beyond_the_only_size_of_images_are_not_drawn_to_its_middle():
    # Each cell sees 160 px of an image of 160.
    layers: list[nn.Module] = []
    for number in range(8):
        layers += [nn.Conv2d(12 if number else 3, 12, 3, 2 if number < 4 else 1, 1), nn.ReLU()]
    found = find(net(*layers), 16, (160, 160))
    assert found is not None
    assert found.offset_px == pytest.approx((0.0, 0.0), abs=0.25)
    assert found.error_px < 0.15


def test_nothing_is_found_for_a_stride_that_is_another_one():
    assert find(net(padded(2)), 4) is None
    assert find(net(padded(2)), 2.5) is None


class Coded(nn.Module):
    """A code of the place is added, as in networks that are told positions."""

    def forward(self, images: Tensor) -> Tensor:
        cells = functional.avg_pool2d(images, 4)
        return cells + torch.linspace(-1, 1, cells.shape[3])


def test_nothing_is_found_where_maps_are_not_mirrored_with_their_images():
    assert find(Coded(), 4) is None


def test_a_period_that_the_image_has_no_room_for_is_not_tried():
    found = mirrored_grid(
        Coded(), size_px=(96, 96), stride_px=4, blank=(0.5, 0.5, 0.5), period_px=64
    )
    assert found is None


def test_a_map_with_its_axes_swapped_has_no_place():
    network: Any = net(padded(2), nn.ReLU())

    def swapped(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(network(images - 0.5)).transpose(2, 3)

    assert find(network, 2, (96, 96), swapped) is None
