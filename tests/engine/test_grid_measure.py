"""Grids are measured within a tenth of a pixel of what the layers of a network give by hand.

A layer with kernel k, stride s, dilation d and padding p on the left puts its cell i on cell
``s i + (d (k - 1)) / 2 - p`` of its input: strides multiply, and offsets add up, each in strides of
its input.  A transposed one puts its cells between those of its input the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors import grid_measure
from engine.descriptors.grid_measure import (
    MeasuredGrid,
    NoInfluenceError,
    fitting_size,
    measure_grid,
    random_images,
    sees_border,
    symmetric_kernels,
    without_pull,
)

TOLERANCE_PX = 0.1
SMALL_PX = {4: (116, 112), 14: (196, 182)}


class Residual(nn.Module):
    """A block with a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        return functional.relu(values + self.body(values))


class Transformer(nn.Module):
    """Patches, a class token, positions, and attention of every patch to every other."""

    def __init__(self, patch_px: int, *, linear: bool = False) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.embed: nn.Module = (
            nn.Linear(3 * patch_px**2, 48) if linear else nn.Conv2d(3, 48, patch_px, patch_px)
        )
        self.token = nn.Parameter(torch.randn(1, 1, 48))
        self.positions = nn.Parameter(0.3 * torch.randn(1, 601, 48))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(3)
        )
        self.prefix = 1

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = (side // self.patch_px for side in images.shape[2:])
        if isinstance(self.embed, nn.Linear):
            unfolded = functional.unfold(images, self.patch_px, stride=self.patch_px)
            tokens = self.embed(unfolded.transpose(1, 2))
        else:
            tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
        tokens = tokens + self.positions[:, : tokens.shape[1]]
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = torch.cat([tokens, tokens], dim=1)[:, self.prefix :][:, : rows * columns]
        return tokens.transpose(1, 2).reshape(len(images), 48, rows, columns)


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0, gap: int = 1):
    return nn.Conv2d(inputs, outputs, kernel, stride, pad, dilation=gap)


# Offsets by hand: see the first lines of this file.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], float, float]] = {
    "padded and strided twice": (
        lambda: chain(conv(3, 16, 3, 2, 1), nn.ReLU(), conv(16, 32, 3, 2, 1)), 4, 0.0
    ),
    "without padding": (
        lambda: chain(conv(3, 16, 5), nn.ReLU(), conv(16, 32, 3, 2)), 2, 2 + 1
    ),
    "even kernels": (
        lambda: chain(conv(3, 16, 4, 2, 1), nn.ReLU(), conv(16, 32, 4, 2, 1)), 4, 0.5 + 2 * 0.5
    ),
    "padded on one side, as TensorFlow does": (
        lambda: chain(nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 16, 3, 2), nn.ReLU()), 2, 1.0
    ),
    "pooled three times, as SuperPoint": (
        lambda: chain(
            conv(3, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
            conv(16, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
            conv(16, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), conv(32, 32, 3, 1, 1),
        ), 8, 0.5 + 2 * 0.5 + 4 * 0.5,
    ),
    "a mean and a largest number over three": (
        lambda: chain(
            conv(3, 16, 7, 2, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.AvgPool2d(3, 2), conv(16, 32, 1),
        ), 8, 4 * 1.0,
    ),
    "dilated": (
        lambda: chain(conv(3, 16, 3, 2, 1), nn.ReLU(), conv(16, 32, 3, 1, 3, gap=4)),
        2, 2 * (4 - 3),
    ),
    "residual blocks": (
        lambda: chain(conv(3, 16, 7, 2, 3), nn.MaxPool2d(3, 2, 1), Residual(16), Residual(16)),
        4, 0.0,
    ),
    # Each cell becomes two, a quarter of a cell to either side.
    "transposed": (
        lambda: chain(conv(3, 16, 4, 4), nn.ReLU(), nn.ConvTranspose2d(16, 32, 2, 2)),
        2, 1.5 - 1.0,
    ),
    "enlarged": (
        lambda: chain(
            conv(3, 16, 3, 4, 1), nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        ), 2, 0.0 - 1.0,
    ),
    # As is done to get a vector for every pixel: cells of eight pixels all come from one.
    "enlarged to the image": (
        lambda: chain(
            conv(3, 16, 4, 4), nn.ReLU(), conv(16, 32, 2, 2), nn.Upsample(scale_factor=8),
        ), 1, 0.0,
    ),
    "finer than the image": (
        lambda: chain(conv(3, 16, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(16, 32, 2, 2)),
        0.5, -0.25,
    ),
    "a transformer on patches of 14": (lambda: Transformer(14), 14, 6.5),
    "a transformer with a linear embedding": (lambda: Transformer(8, linear=True), 8, 3.5),
}  # fmt: skip


def build(name: str) -> tuple[nn.Module, float, float]:
    make, stride_px, offset_px = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make().eval(), stride_px, offset_px


def unit(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: functional.normalize(network(images), dim=1)


def check(found: MeasuredGrid, stride_px: float, offset_px: float) -> None:
    assert found.stride_px == pytest.approx((stride_px, stride_px), abs=1e-9)
    assert found.offset_px == pytest.approx((offset_px, offset_px), abs=TOLERANCE_PX)


@pytest.mark.parametrize("name", NETWORKS)
def test_strides_and_offsets_are_those_of_the_layers(name: str) -> None:
    network, stride_px, offset_px = build(name)
    found = measure_grid(unit(network), size_px=fitting_size(stride_px), networks=[network])
    assert found.method == "gradient"
    check(found, stride_px, offset_px)
    assert found.error_px < TOLERANCE_PX / 2


def test_switching_derivatives_off_does_not_hide_them() -> None:
    network, stride_px, offset_px = build("pooled three times, as SuperPoint")

    @torch.no_grad()
    def described(images: Tensor) -> Tensor:
        return unit(network)(images).detach()

    found = measure_grid(described, size_px=fitting_size(stride_px), networks=[network])
    assert found.method == "gradient"
    check(found, stride_px, offset_px)


@pytest.mark.parametrize("name", ["even kernels", "a transformer on patches of 14"])
def test_without_derivatives_the_image_is_changed_line_by_line(name: str) -> None:
    network, stride_px, offset_px = build(name)

    def through_bytes(images: Tensor) -> Tensor:
        pixels = (images.numpy() * 255).astype("uint8")
        return unit(network)(torch.from_numpy(pixels).float() / 255)

    found = measure_grid(through_bytes, size_px=SMALL_PX[stride_px], networks=[network])
    assert found.method == "differences"
    check(found, stride_px, offset_px)


def test_what_is_no_network_is_measured_too() -> None:
    """Means over blocks of 6 x 6 pixels, of numpy: by hand, stride 6 and offset 2.5."""

    def blocks(images: Tensor) -> Tensor:
        pixels = images.numpy()
        batch, _, height, width = pixels.shape
        cut = pixels[:, :, : height // 6 * 6, : width // 6 * 6]
        means = cut.reshape(batch, 3, height // 6, 6, width // 6, 6).mean(axis=(3, 5))
        return torch.from_numpy(means)

    found = measure_grid(blocks, size_px=fitting_size(6))
    assert found.method == "differences"
    check(found, 6, 2.5)


@pytest.mark.parametrize(("shift_px", "expected_px"), [(1, 1.0), (3, 3.0)])
def test_a_map_that_was_moved_is_found_where_it_is(shift_px: int, expected_px: float) -> None:
    network, stride_px, _ = build("padded and strided twice")

    def moved(images: Tensor) -> Tensor:
        return unit(network)(images.roll((-shift_px, -shift_px), dims=(2, 3)))

    found = measure_grid(moved, size_px=fitting_size(stride_px), networks=[network])
    check(found, stride_px, expected_px)


def test_tokens_taken_one_too_early_lie_one_patch_off() -> None:
    network, stride_px, offset_px = build("a transformer on patches of 14")
    network.prefix = 0  # the class token becomes the first cell, and all others follow
    found = measure_grid(unit(network), size_px=fitting_size(stride_px), networks=[network])
    assert found.offset_px[0] == pytest.approx(offset_px - 14, abs=TOLERANCE_PX)
    assert found.offset_px[1] == pytest.approx(offset_px, abs=TOLERANCE_PX)


def test_swapped_axes_show_as_a_crossed_grid() -> None:
    network, stride_px, _ = build("padded and strided twice")
    size_px = fitting_size(stride_px)
    straight = measure_grid(unit(network), size_px=size_px, networks=[network])
    swapped = measure_grid(
        lambda images: unit(network)(images).transpose(2, 3), size_px=size_px, networks=[network]
    )
    assert straight.crossed_px < 0.1
    assert swapped.crossed_px > stride_px / 2


def test_what_sees_no_pixel_has_no_place() -> None:
    with pytest.raises(NoInfluenceError):
        measure_grid(lambda images: torch.ones(len(images), 4, 9, 9), size_px=(40, 36))
    with pytest.raises(ValueError, match="less than two cells"):
        measure_grid(lambda images: images.mean(dim=(2, 3), keepdim=True), size_px=(40, 36))


def test_a_network_is_the_same_after_it_was_measured() -> None:
    network, stride_px, _ = build("residual blocks")
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure_grid(unit(network), size_px=fitting_size(stride_px), networks=[network])
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)

    inside = []

    def broken(images: Tensor) -> Tensor:
        inside.append(torch.equal(before["0.weight"], network.state_dict()["0.weight"]))
        raise KeyError(images.shape)

    with pytest.raises(KeyError):
        measure_grid(broken, size_px=fitting_size(stride_px), networks=[network])
    assert inside == [False]
    assert torch.equal(before["0.weight"], network.state_dict()["0.weight"])


def test_kernels_are_symmetric_while_they_are_measured() -> None:
    network = conv(3, 4, 5)
    with symmetric_kernels([network], torch.Generator().manual_seed(0)):
        kernel = network.weight.detach()
        assert torch.allclose(kernel, kernel.flip(2))
        assert torch.allclose(kernel, kernel.flip(3))
        assert torch.allclose(kernel.square().sum(dim=(1, 2, 3)), torch.ones(4))


def test_the_same_seed_measures_the_same_and_no_global_number_is_drawn() -> None:
    network, stride_px, _ = build("enlarged")
    state = torch.get_rng_state()
    one, two = (
        measure_grid(unit(network), size_px=fitting_size(stride_px), networks=[network])
        for _ in range(2)
    )
    # Sums over threads may differ in their last digit.
    for name in (
        "stride_px",
        "offset_px",
        "stride_error_px",
        "error_px",
        "spread_px",
        "crossed_px",
    ):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-9), name
    assert (one.crossed, one.method) == (two.crossed, two.method)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_keep_off_black_and_white() -> None:
    images = random_images(2, (50, 40), torch.Generator().manual_seed(0))
    assert images.shape == (2, 3, 40, 50)
    assert 0.25 <= float(images.min()) < float(images.max()) <= 0.75


@pytest.mark.parametrize("stride_px", [0.5, 1, 4, 14, 16])
def test_fitting_images_have_room_and_two_different_sides(stride_px: float) -> None:
    width, height = fitting_size(stride_px)
    assert width != height
    assert height >= 8 * stride_px + 2 * 48
    assert math.isclose(height % max(1, stride_px), 0)


def test_places_drawn_to_the_middle_are_stretched_again() -> None:
    """True cells at 3 + 32 n in 224 px, all an eighth nearer to the middle at 111.5."""
    middle_px, shrunk = 111.5, 7 / 8
    drawn_px = middle_px + (3 - middle_px) * shrunk
    found = MeasuredGrid((28.0, 28.0), (drawn_px, drawn_px), 0.1, 0.1, 1, 0, False, "gradient")
    right = without_pull(found, size_px=(224, 224), stride_px=32.0)
    assert right.stride_px == (32.0, 32.0)
    assert right.offset_px == pytest.approx((3.0, 3.0))
    assert right.error_px >= found.error_px


def test_whether_a_cell_sees_the_border_is_found() -> None:
    narrow = nn.Conv2d(3, 4, 9, 4, 4)
    assert not sees_border(narrow, size_px=(64, 64), device="cpu")
    wide = nn.Sequential(narrow, nn.Conv2d(4, 4, 15, 1, 7))
    assert sees_border(wide, size_px=(64, 64), device="cpu")


def test_rounds_that_agree_by_chance_are_not_taken_for_certain() -> None:
    cells = torch.arange(8)
    scatter_px = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)

    def measured(signs: tuple[float, ...]) -> grid_measure.MeasuredGrid:
        one = [
            grid_measure._Positions(cells, cells.flip(0), 4.0 * cells + 1.5 + sign * scatter_px, 12)
            for sign in signs
        ]
        return grid_measure._fit([(each, each) for each in one], (48, 48), 4.0, "gradient")

    # Every round puts cell 0 at 1.5 px, but each cell a pixel off, to one side or the other.
    found = measured((1.0, -1.0, 1.0))
    assert found.offset_px == pytest.approx((1.5, 1.5))
    assert 0.25 < found.error_px < 1.0  # the mean of 24 cells: 0.24 px, by three rounds only
    # What the cells do in every round is their pattern, not chance.
    assert measured((1.0, 1.0, 1.0)).error_px == pytest.approx(0, abs=1e-9)
