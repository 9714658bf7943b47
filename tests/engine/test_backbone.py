"""What all networks of other libraries share: colours, padding, cells, joined layers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

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
from engine.errors import ConfigError, DescSpaceError
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import cell_places

pytestmark = pytest.mark.usefixtures("fresh_home")


class Means(FeatureNetwork):
    """Layer ``n`` is the mean of every 4 · 2ⁿ pixels, with colours as the network gets them."""

    def __init__(self, fixed_size_px: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.architecture = "means"
        self.layers = tuple(Layer(f"stage{n}", 4.0 * 2**n, 3) for n in range(3))
        self.expects = ExpectedInput((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
        self.multiple_px = 16
        self.fixed_size_px = fixed_size_px
        self.trained = False
        self.seen: list[Tensor] = []

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        if inputs.shape[2] % 16 or inputs.shape[3] % 16:
            raise ValueError("sides must be multiples of 16")
        self.seen.append(inputs)
        return tuple(functional.avg_pool2d(inputs, 4 * 2**layer) for layer in layers)


def describe_by(*layers: str, network: FeatureNetwork | None = None) -> BackboneDescriptor:
    name = ModelName("test", "means", layers)
    return BackboneDescriptor(name, network or Means(), BackboneConfig())


@pytest.mark.parametrize(
    ("layer", "stride_px", "offset_px"), [(0, 4, 1.5), (1, 8, 3.5), (2, 16, 7.5)]
)
def test_cells_lie_where_the_layers_put_them(layer: int, stride_px: int, offset_px: float) -> None:
    grid = describe_by(str(layer)).grid
    assert grid.stride_px == stride_px
    assert grid.offset_px == pytest.approx(offset_px, abs=0.1)


def test_a_grid_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    describe_by("1")
    for measure in ("mirrored_grid", "measure_grid"):
        monkeypatch.setattr(f"engine.descriptors.families.grids.{measure}", None)
    assert describe_by("1").grid == CellGrid(8.0, 3.5)
    with pytest.raises(TypeError):  # another layer has to be measured
        describe_by("0")


def test_colours_are_as_the_network_expects_and_sides_are_filled_up() -> None:
    network = Means()
    image = torch.rand(1, 3, 37, 50, generator=torch.Generator().manual_seed(1))
    (level,) = describe_by("0", network=network).describe(image)
    seen = network.seen[-1]
    assert seen.shape == (1, 3, 48, 64)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    assert torch.allclose(seen[..., :37, :50], (image - mean) / std)
    assert torch.equal(seen[..., 37:, :50], seen[..., 36:37, :50].expand(-1, -1, 11, -1))
    assert level.values.shape == (1, 3, 9, 12)  # the centre of no cell lies outside the image
    assert torch.allclose(level.values.norm(dim=1), torch.ones(1, 9, 12))


def test_blue_comes_first_where_the_network_wants_it_first() -> None:
    network = Means()
    network.expects = replace(network.expects, channels="BGR")
    image = torch.zeros(1, 3, 32, 32)
    image[:, 2] = 1
    describe_by("0", network=network).describe(image)
    assert network.seen[-1][0, :, 0, 0].tolist() == pytest.approx(
        [0.5 / 0.2, -0.4 / 0.3, -0.3 / 0.4]
    )


def test_layers_are_joined_at_the_cells_of_the_finest_one() -> None:
    """A coarse map of a plane, read between its cells, is the plane itself."""
    network = Means()
    network.expects = ExpectedInput((0.0,) * 3, (1.0,) * 3)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    image = torch.stack([x / 200, y / 200, torch.full_like(x, 0.5)])[None]
    (level,) = describe_by("0", "2", network=network).describe(image)
    assert level.grid == CellGrid(4.0, 1.5)
    assert level.values.shape == (1, 6, 24, 32)
    places_px = cell_places(level.grid, (24, 32), device=torch.device("cpu")).float()
    wanted = torch.stack(
        [places_px[:, 0] / 200, places_px[:, 1] / 200, torch.full((24 * 32,), 0.5)], dim=1
    )
    wanted = functional.normalize(wanted, dim=1).T.reshape(3, 24, 32) / 2**0.5
    inner = (slice(2, -2), slice(2, -2))  # beyond the last coarse cell there is nothing to read
    for part in (level.values[0, :3], level.values[0, 3:]):
        assert torch.allclose(part[:, *inner], wanted[:, *inner], atol=3e-3)  # 6 px would be .02


def test_all_layers_come_from_one_pass() -> None:
    network = Means()
    descriptor = describe_by("0", network=network)
    for layer in range(3):
        descriptor.grid_of(layer)
    network.seen.clear()
    image = torch.rand(1, 3, 64, 64)
    found = descriptor.describe_layers(image, range(3))
    assert len(network.seen) == 1
    for layer, levels in enumerate(found):
        (alone,) = describe_by(str(layer)).describe(image)
        assert torch.equal(levels[0].values, alone.values)
        assert levels[0].grid == alone.grid


@pytest.mark.parametrize("size_px", [(64, 48), (100, 30), (400, 300), (128, 128)])
def test_one_size_is_filled_by_the_whole_image_and_places_stay_true(
    size_px: tuple[int, int],
) -> None:
    """Brightness rises along x and y: every cell has to hold the brightness of its own place."""
    width, height = size_px
    network = Means(fixed_size_px=(128, 128))
    network.expects = ExpectedInput((0.0,) * 3, (1.0,) * 3)
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    image = torch.stack([0.2 + x / (2 * width), 0.2 + y / (2 * height), torch.full_like(x, 0.5)])
    descriptor = describe_by("0", network=network)
    (level,) = descriptor.raw_layers(image[None], (0,))
    scale = min(128 / width, 128 / height)
    assert level.grid.stride_px == pytest.approx(4 / scale)
    rows, columns = level.values.shape[2:]
    assert network.seen[-1].shape == (1, 3, 128, 128)
    places = cell_places(level.grid, (rows, columns), device=torch.device("cpu")).float()
    assert float(places[-1, 0]) <= width - 1
    assert float(places[-1, 1]) <= height - 1
    wanted = torch.stack([0.2 + places[:, 0] / (2 * width), 0.2 + places[:, 1] / (2 * height)])
    found = level.values[0, :2].flatten(1)
    off_px = (found - wanted).reshape(2, rows, columns)[:, 1:-1, 1:-1] * 2 * max(width, height)
    assert float(off_px.abs().max()) < 0.2


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [((), (2,)), (("0",), (0,)), (("-1",), (2,)), (("stage1",), (1,)), (("2", "0", "-1"), (0, 2))],
)
def test_layers_are_named_by_number_or_name(
    layers: tuple[str, ...], wanted: tuple[int, ...]
) -> None:
    assert describe_by(*layers).dim == 3 * len(wanted)
    assert describe_by(*layers).grid.stride_px == 4 * 2 ** wanted[0]


@pytest.mark.parametrize("layer", ["3", "-4", "stage9", "x"])
def test_a_layer_that_is_not_there_is_told_with_those_that_are(layer: str) -> None:
    with pytest.raises(ConfigError, match=r"no layer .*0 to 2 \(stage0 to stage2\)"):
        describe_by(layer)


def test_a_facet_needs_attention() -> None:
    with pytest.raises(ConfigError, match="no attention with a key"):
        BackboneDescriptor(ModelName("test", "means"), Means(), BackboneConfig(facet="key"))


def test_an_image_smaller_than_a_cell_is_refused_with_the_reason() -> None:
    with pytest.raises(DescSpaceError, match="no cell in an image of 20 × 7 px"):
        describe_by("2").describe(torch.rand(1, 3, 7, 20))


class Still(Means):
    """No pixel changes what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.architecture = "still"

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        return tuple(
            torch.ones_like(one) for one in super().features(inputs, layers, facet=facet, norm=norm)
        )


class Stretched(Means):
    """Its cells are twice as far apart along x."""

    def __init__(self) -> None:
        super().__init__()
        self.architecture = "stretched"

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        return tuple(functional.avg_pool2d(inputs, (4, 8)) for _ in layers)


class Mixed(Means):
    """Every cell reads pixels from all over the image."""

    def __init__(self) -> None:
        super().__init__(fixed_size_px=(128, 96))
        self.architecture = "mixed"
        drawn = torch.randn(32 * 24, 32 * 24, generator=torch.Generator().manual_seed(1))
        self.mix = nn.Parameter(drawn)

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        (cells,) = super().features(inputs, (0,), facet=facet, norm=norm)
        return tuple((cells.flatten(2) @ self.mix).reshape(cells.shape) for _ in layers)


class Aside(Means):
    """Its cells begin elsewhere along x than along y."""

    def __init__(self) -> None:
        super().__init__()
        self.architecture = "aside"

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        return super().features(inputs.roll(1, dims=3), layers, facet=facet, norm=norm)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Still, "no pixel"),
        (Stretched, "along x"),
        (Mixed, "no place that could be measured"),
        (Aside, "only equal offsets"),
    ],
)
def test_cells_that_cannot_be_placed_are_refused(network: type[Means], reason: str) -> None:
    with pytest.raises(DescSpaceError, match=reason):
        describe_by("0", network=network())


@pytest.mark.parametrize(("error_px", "told"), [(0.2, False), (0.4, True)])
def test_a_doubtful_place_is_told(
    error_px: float, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measure = grids.measure_grid
    monkeypatch.setattr(grids, "mirrored_grid", lambda *_a, **_k: None)
    monkeypatch.setattr(
        grids, "measure_grid", lambda *a, **k: replace(measure(*a, **k), error_px=error_px)
    )
    describe_by("1")
    assert ("placed within ± 0.4 px" in caplog.text) is told


def test_trained_weights_that_keep_cells_in_place_are_measured_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random weights mix the image; those of this file do not, those of another one do again."""

    def trained(mix: Tensor) -> Mixed:
        network = Mixed()
        network.trained = True
        network.mix.data.copy_(mix)
        monkeypatch.setattr(network, "untrained_twin", Mixed)
        return network

    in_place = torch.eye(32 * 24)
    grid = describe_by("0", network=trained(in_place)).grid
    assert grid.stride_px == 4
    assert grid.offset_px == pytest.approx(1.5, abs=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(grids, "measure_grid", None)
        assert describe_by("0", network=trained(in_place)).grid == grid
    with pytest.raises(DescSpaceError, match="no place that could be measured"):
        describe_by("0", network=trained(Mixed().mix.data))


def test_what_is_remembered_is_not_believed_when_it_is_damaged(fresh_home: Path) -> None:
    describe_by("1")
    (kept,) = fresh_home.rglob("grids/*.json")
    kept.write_text('{"stride_px": [5, 5]}')
    assert describe_by("1").grid == CellGrid(8.0, 3.5)
