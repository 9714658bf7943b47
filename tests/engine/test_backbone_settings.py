"""Settings of every network that is opened by its name: position taken off, and denser maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.descriptors import compute
from engine.descriptors.base import ExpectedInput
from engine.descriptors.families import grids
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.model_names import ModelName
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError

DIM = 8
STRIDE_PX = 4


class CodedNetwork(FeatureNetwork):
    """Two layers of a patch embedding; to the second one a code of the place is added, as in a ViT.

    ``reaches`` says whether its cells see the whole image, as attention lets them.
    """

    def __init__(self, *, code: float = 3.0, reaches: bool = True) -> None:
        super().__init__()
        self.architecture = f"coded {code} {reaches}"
        self.layers = (Layer("plain", STRIDE_PX, DIM), Layer("coded", STRIDE_PX, DIM, reaches))
        self.expects = ExpectedInput((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.multiple_px = STRIDE_PX
        self.trained = False
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.embed = nn.Conv2d(3, DIM, STRIDE_PX, STRIDE_PX, bias=False)
            direction = torch.randn(DIM)
        self.direction = direction / direction.norm()
        self.code = code

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        plain = self.embed(inputs)
        along_x = torch.linspace(-1, 1, plain.shape[3])
        outputs = [plain, plain + self.code * self.direction[:, None, None] * along_x]
        return tuple(outputs[one] for one in layers)


def described_by(network: FeatureNetwork, *layers: str, **settings: Any) -> BackboneDescriptor:
    name = ModelName("coded", "net", layers)
    return BackboneDescriptor(name, network, BackboneConfig(**settings))


@pytest.fixture(autouse=True)
def as_when_describing(fresh_home: Path) -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def images() -> Tensor:
    return torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def test_removed_position_is_the_map_of_the_same_network_without_its_code(images: Tensor):
    network = CodedNetwork()
    clean = described_by(network, "coded", remove_position=1).describe(images)[0].values
    plain = network.embed(images)
    along = torch.einsum("d,bdhw->bhw", network.direction, plain)
    wanted = unit_length(plain - network.direction[:, None, None] * along[:, None])
    torch.testing.assert_close(clean, wanted, atol=1e-4, rtol=0)
    with_it = described_by(network, "coded").describe(images)[0].values
    assert float((with_it - wanted).abs().max()) > 0.1


def test_position_is_removed_from_layers_in_one_pass_as_from_each_alone(images: Tensor):
    network = CodedNetwork()
    both = described_by(network, remove_position=1).describe_layers(images, (0, 1))
    for number, name in enumerate(("plain", "coded")):
        alone = described_by(network, name, remove_position=1).describe(images)
        torch.testing.assert_close(both[number][0].values, alone[0].values)


def test_raw_layers_keep_the_position_that_describing_takes_off(images: Tensor):
    network = CodedNetwork()
    raw = described_by(network, remove_position=1).raw_layers(images, (0, 1))
    outputs = network.features(images, (0, 1), facet="token", norm=True)
    for level, output in zip(raw, outputs, strict=True):
        torch.testing.assert_close(level.values, output[:, :, : level.values.shape[2]])


def test_a_denser_map_holds_the_coarse_one_and_what_the_network_makes_between(images: Tensor):
    network = CodedNetwork()
    coarse = described_by(network, "plain")
    fine = described_by(network, "plain", denser=2)
    assert (fine.grid.stride_px, fine.shift_period_px) == (2.0, 2)
    assert coarse.grid.offset_px == pytest.approx(1.5)
    (level,) = fine.describe(images)
    assert level.grid == fine.grid
    # Between two patches lies the patch that begins two pixels later.
    between = unit_length(network.embed(images[:, :, 2:, 2:]))
    place_px = coarse.grid.offset_px + 2
    place = round((place_px - fine.grid.offset_px) / fine.grid.stride_px)
    torch.testing.assert_close(
        level.values[:, :, place::2, place::2][:, :, : between.shape[2], : between.shape[3]],
        between[:, :, : level.values[:, :, place::2].shape[2]],
    )


def test_a_stride_that_cannot_be_divided_is_refused_when_it_is_built():
    with pytest.raises(ConfigError, match="3 does not divide the stride of 4 px"):
        described_by(CodedNetwork(), "plain", denser=3)


def test_describing_denser_can_be_stopped_between_two_copies(images: Tensor):
    looks = 0

    def stop_at_the_third() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        described_by(CodedNetwork(), denser=4).describe_stoppable(images, stop_at_the_third)


def test_a_reach_is_measured_once_and_remembered(monkeypatch: pytest.MonkeyPatch):
    network = CodedNetwork(reaches=False, code=0.0)
    # A patch of 4 px around 1.5 px reaches 1.5 px.
    assert described_by(network).reach_of(0) == 2
    monkeypatch.setattr(grids, "measured_reach_px", None)
    assert described_by(network).reach_of(0) == 2
    assert described_by(CodedNetwork()).reach_of(1) is None


def test_a_network_that_holds_a_code_of_the_place_is_not_cut_into_tiles():
    network = CodedNetwork(reaches=False)
    network.pos_embed = nn.Parameter(torch.zeros(DIM, 1, 1))
    assert described_by(network).reach_px is None


def test_an_image_that_does_not_fit_is_described_in_tiles_alike(monkeypatch: pytest.MonkeyPatch):
    descriptor = described_by(CodedNetwork(reaches=False, code=0.0), "plain")
    pixels = torch.rand(600, 800, 3, generator=torch.Generator().manual_seed(0)).numpy()

    def describe() -> tuple[Any, tuple[str, ...]]:
        return compute.describe_image(descriptor, pixels, device="cpu", precision="float32")

    whole, notes = describe()
    assert notes == ()
    model = compute._memory_of(descriptor, descriptor.describe)
    assert model is not None
    spare = model.peak_bytes(pixels.shape[0] * pixels.shape[1]) - 1
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: spare / compute._SPARE_SHARE)
    tiles, (note,) = describe()
    assert "tiles" in note
    torch.testing.assert_close(tiles[0].values, whole[0].values)
    assert tiles[0].grid == whole[0].grid
