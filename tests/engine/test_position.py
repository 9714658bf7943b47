"""Position that was added to a network's features is found, measured and taken off again."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.denser import describe_denser
from engine.descriptors.grid_measure import measure_grid, random_images, symmetric_kernels
from engine.descriptors.networks import make_network
from engine.descriptors.position import (
    PositionalShare,
    PositionRemover,
    constant_image,
    positional_share,
)
from engine.descriptors.superpoint import SuperPoint, SuperPointNetwork
from engine.errors import ConfigError
from engine.geometry.coords import CellGrid
from engine.progress import CHOICES

DIM, CODES, REACH_PX = 24, 3, 18
GRID = CellGrid(4.0, 1.5)
SIZE_PX = (136, 120)
GREY = "a constant image of 136 × 120 px"
BORDER = "at 32 × 32 px all cells see beyond the border"


class Plain(nn.Module):
    """Convolutions that pad with zeros: each cell reads 18 px to either side of it, by hand.

    2 × 2 poolings put a cell into the middle of its 4 × 4 px; from there the first reaches 1.5 px,
    two convolutions before it 2 px, one between the two 2 px and three behind them 12 px.
    """

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1), nn.Tanh(),
            nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.Tanh(), nn.Conv2d(32, 32, 3, padding=1), nn.Tanh(),
            nn.Conv2d(32, dim, 3, padding=1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stem(images)
        return features


class Coded(nn.Module):
    """A plain network to which a code of the cell's place is added.

    Args:
        apart: whether content has no part in the code's three directions.
        strength: the code's size.
    """

    def __init__(self, *, apart: bool, strength: float = 20.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.plain = make_network(lambda: Plain(DIM - CODES if apart else DIM), None)
        turned = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator)).Q
        self.content = turned[:, : DIM - CODES] if apart else torch.eye(DIM)
        self.directions = turned[:, DIM - CODES :]
        self.strength = nn.Parameter(torch.tensor(strength))

    def code(self, rows: int, columns: int) -> Tensor:
        """``(CODES, rows, columns)``; a cell's mean over each is not zero."""
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        return torch.stack([(x / 9).sin() + 0.4, 0.5 * (y / 7).cos(), 0.1 * (x * y / 90).sin()])

    def clean(self, images: Tensor) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", self.content, self.plain(images))

    def forward(self, images: Tensor) -> Tensor:
        clean = self.clean(images)
        code = self.code(*clean.shape[2:])
        return clean + self.strength * torch.einsum("dk,khw->dhw", self.directions, code)

    def raw(self, images: Tensor) -> Levels:
        return (DescriptorMap(self(images), GRID),)


def textured(size_px: tuple[int, int] = SIZE_PX, count: int = 1) -> Tensor:
    return random_images(count, size_px, torch.Generator().manual_seed(11))


def interior(values: Tensor) -> Tensor:
    cells = math.ceil((REACH_PX - GRID.offset_px) / GRID.stride_px)
    return values[:, :, cells:-cells, cells:-cells]


def test_the_plain_network_reaches_as_far_as_was_counted() -> None:
    images = textured().requires_grad_()
    row, column = 15, 17
    cell = make_network(Plain, None)(images)[0, :, row, column]
    (gradient,) = torch.autograd.grad(cell.sin().sum(), images)
    rows, columns = gradient.abs().sum((0, 1)).nonzero(as_tuple=True)
    y_px, x_px = GRID.to_px(row), GRID.to_px(column)
    farthest = max(float((rows - y_px).abs().max()), float((columns - x_px).abs().max()))
    assert REACH_PX - 1 < farthest <= REACH_PX


@pytest.mark.parametrize("count", [1, 2])
def test_a_code_apart_from_content_is_taken_off_completely(count: int) -> None:
    network = Coded(apart=True)
    images = textured(count=count)
    with torch.inference_mode():
        remover = PositionRemover(network.raw, components=CODES, name="coded", reach_px=REACH_PX)
        (level,) = remover.describe(images)
        clean, coded = network.clean(images), network(images)
    spread = float(clean.std())
    assert float((coded - clean).abs().max()) > 5 * spread
    assert level.grid == GRID
    torch.testing.assert_close(level.values, clean, atol=2e-5 * spread, rtol=0)


def test_of_a_code_within_content_only_the_part_along_it_and_a_constant_is_lost() -> None:
    network = Coded(apart=False)
    images = textured()
    with torch.inference_mode():
        remover = PositionRemover(network.raw, components=CODES, name="coded", reach_px=REACH_PX)
        (level,) = remover.describe(images)
        (basis,) = remover.basis(SIZE_PX, torch.device("cpu"))
        clean = network.clean(images)
    # The directions are those of the code, in another order and turned among themselves.
    along = torch.linalg.svdvals(basis.T @ network.directions)
    torch.testing.assert_close(along, torch.ones(CODES), atol=1e-4, rtol=0)
    rest = torch.eye(DIM) - network.directions @ network.directions.T
    wanted = torch.einsum("de,behw->bdhw", rest, clean)
    torch.testing.assert_close(level.values, wanted, atol=1e-3 * float(clean.std()), rtol=0)


def test_fewer_directions_leave_the_weaker_code() -> None:
    network = Coded(apart=True)
    with torch.inference_mode():
        remover = PositionRemover(network.raw, components=2, name="coded", reach_px=REACH_PX)
        (level,) = remover.describe(textured())
        left = level.values - network.clean(textured())
    code = 20.0 * network.code(*left.shape[2:])
    inside = interior(code[None])[0].flatten(1)
    weakest = np.linalg.svd((inside - inside.mean(1, keepdim=True)).numpy())[0][:, 2]
    wanted = (torch.from_numpy(weakest) @ code.flatten(1)).square().sum()
    assert float(left.square().sum()) == pytest.approx(float(wanted), rel=1e-3)


def test_the_interior_of_a_network_that_only_pads_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = make_network(Plain, None)

    def raw(images: Tensor) -> Levels:
        return (DescriptorMap(network(images), GRID),)

    images = textured()
    with torch.inference_mode(), caplog.at_level(logging.WARNING, CHOICES):
        before = network(images)
        remover = PositionRemover(raw, components=CODES, name="plain", reach_px=REACH_PX)
        (level,) = remover.describe(images)
        remover.describe(textured((152, 120)))
        unaware = PositionRemover(raw, components=CODES, name="unaware").describe(images)[0]
    assert torch.equal(level.values, before)
    # The trap: without a reach the padding's directions are taken off the interior, too.
    changed = interior(unaware.values - before).norm() / interior(before).norm()
    assert float(changed) > 0.2
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"plain: {GREY} has the same descriptor everywhere, so no position was removed."
    ]


def test_superpoint_has_no_position_but_its_padding() -> None:
    descriptor = SuperPoint(make_network(SuperPointNetwork, None))
    with torch.inference_mode():
        remover = PositionRemover(
            descriptor.describe, components=4, name="superpoint", reach_px=descriptor.reach_px
        )
        assert [basis.shape for basis in remover.basis((176, 160), torch.device("cpu"))] == [
            (256, 0)
        ]


def test_what_is_less_than_asked_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    network = Coded(apart=True)
    with torch.inference_mode(), caplog.at_level(logging.WARNING, CHOICES):
        more = PositionRemover(network.raw, components=8, name="coded", reach_px=REACH_PX)
        more.describe(textured())
        small = PositionRemover(network.raw, components=2, name="small", reach_px=REACH_PX)
        (level,) = small.describe(textured((32, 32)))
        assert torch.equal(level.values, network(textured((32, 32))))
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"coded: {GREY} shows position along 3 directions only, not 8; these were removed.",
        f"small: {BORDER}, so no position could be told from it, and none was removed.",
    ]


@pytest.mark.parametrize(("components", "words"), [(0, "0 is not"), (DIM, "24 directions leave")])
def test_a_senseless_number_of_directions_is_refused(components: int, words: str) -> None:
    network = Coded(apart=True)
    with pytest.raises(ConfigError, match=f"remove_position: {words}"):
        PositionRemover(network.raw, components=components, name="coded").describe(textured())


def test_a_basis_is_measured_once_for_a_size_and_again_where_weights_change() -> None:
    network = Coded(apart=True)
    seen: list[tuple[int, ...]] = []

    def raw(images: Tensor) -> Levels:
        if bool((images == images.flatten()[0]).all()):
            seen.append(tuple(images.shape))
        return network.raw(images)

    remover = PositionRemover(raw, components=3, name="coded", reach_px=REACH_PX, module=network)
    for size_px in (SIZE_PX, (152, 120), SIZE_PX):
        with torch.inference_mode():
            remover.describe(textured(size_px))
    assert seen == [(1, 3, 120, 136), (1, 3, 120, 152)]
    with torch.no_grad():
        network.strength.zero_()
    with torch.inference_mode():
        (basis,) = remover.basis(SIZE_PX, torch.device("cpu"))
    assert basis.shape[1] == 0
    assert len(seen) == 3


def test_a_finer_map_takes_one_basis_for_all_shifts() -> None:
    network = Coded(apart=True)
    constant = []

    def raw(images: Tensor) -> Levels:
        constant.append(bool((images == images.flatten()[0]).all()))
        return network.raw(images)

    def clean(images: Tensor) -> Levels:
        return (DescriptorMap(network.clean(images), GRID),)

    remover = PositionRemover(raw, components=3, name="coded", reach_px=REACH_PX)
    with torch.inference_mode():
        (found,) = describe_denser(remover.describe, textured(), denser=4, check=lambda: None)
        (wanted,) = describe_denser(clean, textured(), denser=4, check=lambda: None)
    assert constant.count(True) == 1
    assert constant.count(False) == 16
    assert found.grid == CellGrid(1.0, 0.5)
    torch.testing.assert_close(
        found.values, wanted.values, atol=2e-5 * float(wanted.values.std()), rtol=0
    )


def test_what_a_caller_switches_on_for_itself_does_not_get_into_the_basis() -> None:
    """Autocast, training mode, inference mode and the smoothing of a measured grid."""
    network = Coded(apart=True)
    network.plain.stem.insert(1, nn.BatchNorm2d(16))

    def raw(images: Tensor) -> Levels:
        return (DescriptorMap(network(images).relu(), GRID),)  # smoothed, it passes everything

    def made() -> PositionRemover:
        return PositionRemover(raw, components=3, name="coded", reach_px=REACH_PX, module=network)

    network.eval()
    with torch.no_grad():
        (wanted,) = made().basis(SIZE_PX, torch.device("cpu"))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (found,) = made().basis(SIZE_PX, torch.device("cpu"))
    assert torch.equal(found, wanted)
    network.train()
    mean = network.plain.stem[1].running_mean.clone()  # type: ignore[union-attr, operator]
    (found,) = made().basis(SIZE_PX, torch.device("cpu"))
    assert torch.equal(found, wanted)
    assert torch.equal(network.plain.stem[1].running_mean, mean)  # type: ignore[arg-type]
    assert all(one.training for one in network.modules())
    network.eval()
    remover = made()
    measured = measure_grid(
        lambda images: remover.describe(images)[0].values, size_px=SIZE_PX, certain_px=0.2
    )
    assert measured.stride_px == (4.0, 4.0)
    assert measured.method == "gradient"
    (found,) = remover.basis(SIZE_PX, torch.device("cpu"))
    assert torch.equal(found, wanted)
    with symmetric_kernels([network], torch.Generator().manual_seed(0)):
        remover.basis(SIZE_PX, torch.device("cpu"))
    (found,) = remover.basis(SIZE_PX, torch.device("cpu"))
    assert torch.equal(found, wanted)


def test_gradients_pass_through_the_removal() -> None:
    network = Coded(apart=True)
    with torch.inference_mode():
        remover = PositionRemover(network.raw, components=3, name="coded", reach_px=REACH_PX)
        remover.describe(textured())
    remover.describe(textured())[0].values.square().mean().backward()
    assert all(float(one.grad.abs().sum()) > 0 for one in network.plain.parameters())


def known_share(network: Coded, images: int = 40) -> float:
    """The share by what was added: the code's variance over that of all, over many noises."""
    generator = torch.Generator().manual_seed(99)
    with torch.inference_mode():
        clean = torch.cat(
            [interior(network.clean(random_images(1, SIZE_PX, generator))) for _ in range(images)]
        )
        code = interior(network(textured()) - network.clean(textured()))
    own = (clean - clean.mean((2, 3), keepdim=True)).square().sum((1, 2, 3)).mean()
    added = (code - code.mean((2, 3), keepdim=True)).square().sum()
    return float(added / (added + own))


@pytest.mark.parametrize("strength", [0.3, 0.9, 3.0])
def test_the_share_is_that_of_the_code_that_was_added(strength: float) -> None:
    network = Coded(apart=True, strength=strength)
    wanted = known_share(network)
    found = positional_share(network.raw, SIZE_PX, reach_px=REACH_PX)
    assert found.of_noise == pytest.approx(wanted, abs=0.02)
    assert found.seen_in_constant == pytest.approx(wanted, abs=0.02)
    assert 0.05 < wanted < 0.95


def test_the_share_is_one_of_a_map_of_places_and_nought_of_convolutions() -> None:
    network = Coded(apart=True)

    def places(images: Tensor) -> Levels:
        code = network.code(images.shape[2] // 4, images.shape[3] // 4)
        return (DescriptorMap(functional.pad(code, (0, 0, 0, 0, 0, 1))[None], GRID),)

    def plain(images: Tensor) -> Levels:
        return (DescriptorMap(network.clean(images), GRID),)

    assert positional_share(places, SIZE_PX, reach_px=None).of_noise == pytest.approx(1.0)
    assert positional_share(places, SIZE_PX, reach_px=None).seen_in_constant == pytest.approx(1.0)
    found = positional_share(plain, SIZE_PX, reach_px=REACH_PX)
    assert found.of_noise < 0.01
    assert found.seen_in_constant == 0.0
    # What padding does to the cells near borders is there, for who asks for all cells.
    assert positional_share(plain, SIZE_PX, reach_px=None).of_noise > 0.1


def test_after_the_removal_no_share_is_left() -> None:
    network = Coded(apart=True)
    with torch.inference_mode():
        remover = PositionRemover(network.raw, components=CODES, name="coded", reach_px=REACH_PX)
        assert positional_share(network.raw, SIZE_PX, reach_px=REACH_PX).of_noise > 0.9
        assert positional_share(remover.describe, SIZE_PX, reach_px=REACH_PX).of_noise < 0.01


def test_a_position_that_only_texture_brings_out_is_not_seen_in_a_constant_image() -> None:
    """As where attention mixes in positions by what it sees."""
    network = Coded(apart=True)

    def raw(images: Tensor) -> Levels:
        contrast = images.std()
        clean, coded = network.clean(images), network(images)
        return (DescriptorMap(clean + 10 * contrast * (coded - clean), GRID),)

    assert positional_share(raw, SIZE_PX, reach_px=REACH_PX).of_noise > 0.9
    assert positional_share(raw, SIZE_PX, reach_px=REACH_PX).seen_in_constant == 0.0


def test_a_blank_descriptor_has_no_position() -> None:
    def raw(images: Tensor) -> Levels:
        return (DescriptorMap(torch.zeros(1, 3, 9, 9), GRID),)

    assert positional_share(raw, (36, 36), reach_px=None) == PositionalShare(0.0, 0.0)
    with pytest.raises(ValueError, match="fewer than two cells"):
        positional_share(raw, (36, 36), reach_px=17)
    with pytest.raises(ValueError, match="takes two"):
        positional_share(raw, (36, 36), reach_px=None, images=1)


def test_the_constant_image_is_as_large_as_what_is_described_and_grey() -> None:
    image = constant_image((40, 24))
    assert image.shape == (1, 3, 24, 40)
    assert bool((image == 0.5).all())
