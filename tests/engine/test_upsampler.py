"""Upsamplers from files: finer maps whose cells lie where they were measured, or a refusal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from engine.descriptors.base import ExpectedInput
from engine.descriptors.compute import built_state, get_built
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.families.grids import known_grid
from engine.descriptors.families.upsampler import Upsampler
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import make_spec
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, DescSpaceError, WeightsError
from engine.geometry.coords import CellGrid

STRIDE_PX = 4
DIM = 6


class Patches(FeatureNetwork):
    """Means over patches, or about every fourth pixel, where padded convolutions place cells."""

    def __init__(self, *, corner: bool = False) -> None:
        super().__init__()
        self.architecture = f"patches {corner}"
        self.layers = (Layer("plain", STRIDE_PX, DIM),)
        self.expects = ExpectedInput((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        grid = CellGrid(STRIDE_PX, 0.0 if corner else (STRIDE_PX - 1) / 2)
        self.known_grids = {0: known_grid(grid)}
        self.multiple_px = STRIDE_PX
        self.trained = False
        generator = torch.Generator().manual_seed(1)
        size, padding = (3, 1) if corner else (STRIDE_PX, 0)
        self.embed = nn.Conv2d(3, DIM, size, STRIDE_PX, padding, bias=False)
        with torch.no_grad():
            weights = torch.randn(DIM, 3, 1, 1, generator=generator)
            self.embed.weight.copy_(weights.expand_as(self.embed.weight))

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        return tuple(self.embed(inputs) for _ in layers)


class Bilinear(nn.Module):
    """A cell a pixel."""

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        size = (image.shape[2], image.shape[3])
        return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


class Corners(nn.Module):
    """The outermost cells stay the outermost, as no network places them."""

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        size = (image.shape[2] // 2, image.shape[3] // 2)
        return functional.interpolate(coarse, size=size, mode="bilinear", align_corners=True)


class JointBilateral(nn.Module):
    """Means of nine cells, weighted by their distance and how alike the image is there."""

    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        size = (image.shape[2], image.shape[3])
        rows, columns = coarse.shape[2], coarse.shape[3]
        small = functional.adaptive_avg_pool2d(image, [rows, columns])
        places = []
        for axis, (fine, few) in enumerate(((size[0], rows), (size[1], columns))):
            along = (torch.arange(fine) + 0.5) * few / fine - 0.5
            places.append(along.view(-1, 1) if axis == 0 else along.view(1, -1))
        total = torch.zeros(1, coarse.shape[1], size[0], size[1])
        weights = torch.zeros(1, 1, size[0], size[1])
        padded = functional.pad(coarse, [1, 1, 1, 1], mode="replicate")
        looks = functional.pad(small, [1, 1, 1, 1], mode="replicate")
        row = places[0].round().long() + 1
        column = places[1].round().long() + 1
        for down in range(-1, 2):
            for right in range(-1, 2):
                y, x = (row + down).clamp(0, rows + 1), (column + right).clamp(0, columns + 1)
                near = (places[0] + 1 - y) ** 2 + (places[1] + 1 - x) ** 2
                alike = (image - looks[:, :, y, x]).square().sum(1, keepdim=True)
                weight = torch.exp(-near / 0.7 - 0.1 * alike)
                total = total + weight * padded[:, :, y, x]
                weights = weights + weight
        return total / weights


class Swapped(Bilinear):
    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        return super().forward(image, coarse.transpose(2, 3))


class Undefined(Bilinear):
    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        return super().forward(image, coarse) / 0.0


class Fewer(nn.Module):
    def forward(self, image: Tensor, coarse: Tensor) -> Tensor:
        return coarse[:, :3]


def scripted(module: nn.Module, folder: Path) -> Path:
    file = folder / f"{type(module).__name__}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(
            module.eval(), (torch.rand(1, 3, 48, 64), torch.rand(1, DIM, 12, 16))
        )
        traced.save(str(file))
    return file


def exported(module: nn.Module, folder: Path) -> Path:
    file = folder / "upsampler.pt2"
    high, wide = Dim("h", min=2, max=512), Dim("w", min=2, max=512)
    program = torch.export.export(
        module.eval(),
        (torch.rand(1, 3, 48, 64), torch.rand(1, DIM, 12, 16)),
        dynamic_shapes=({2: STRIDE_PX * high, 3: STRIDE_PX * wide}, {2: high, 3: wide}),
    )
    torch.export.save(program, file)
    return file


def upsampled_by(file: Path, network: FeatureNetwork, **settings: Any) -> BackboneDescriptor:
    return BackboneDescriptor(
        ModelName("patches", "net", ()), network, BackboneConfig(upsampler=file, **settings)
    )


@pytest.fixture(autouse=True)
def as_when_describing(fresh_home: Path) -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("save", [scripted, exported])
def test_a_map_is_what_the_file_makes_of_the_image_and_the_coarse_map(
    save: Any, tmp_path: Path, images: Tensor
):
    network = Patches()
    descriptor = upsampled_by(save(Bilinear(), tmp_path), network)
    (level,) = descriptor.describe(images)
    coarse = network.embed(images)
    wanted = functional.interpolate(coarse, size=(48, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(level.values, unit_length(wanted))
    assert (level.grid.stride_px, level.grid.offset_px) == pytest.approx((1.0, 0.0), abs=0.02)
    assert descriptor.grid == level.grid
    assert descriptor.reach_px is None


def test_weights_that_follow_the_image_do_not_move_cells(tmp_path: Path):
    descriptor = upsampled_by(scripted(JointBilateral(), tmp_path), Patches())
    assert descriptor.grid.stride_px == 1.0
    assert descriptor.grid.offset_px == pytest.approx(0.0, abs=0.1)
    found = descriptor.measured_layer(0)
    assert found.offset_px == pytest.approx((0.0, 0.0), abs=0.1)


def test_cells_that_begin_in_the_corner_are_found_there(tmp_path: Path, images: Tensor):
    # The file takes cell 0 to lie at 1.5 px, but it lies at 0.
    descriptor = upsampled_by(scripted(Bilinear(), tmp_path), Patches(corner=True))
    assert (descriptor.grid.stride_px, descriptor.grid.offset_px) == (1.0, -0.5)
    (level,) = descriptor.describe(images)
    # The first of 64 columns would lie 1.5 px before the image.
    assert level.values.shape[2:] == (47, 63)


def test_edges_lie_where_the_image_has_them_wherever_cells_are(tmp_path: Path):
    descriptor = upsampled_by(scripted(JointBilateral(), tmp_path), Patches(corner=True))
    image = torch.zeros(1, 3, 64, 64)
    image[:, 0, :, :32], image[:, 1, :, 32:] = 1, 1
    (level,) = descriptor.describe(image)
    row = level.values[0, :, 32]
    left, right = (row[:, one, None] for one in (8, -8))
    lefts = int(((row * left).sum(0) > (row * right).sum(0)).sum())
    assert float(level.grid.to_px(lefts - 0.5)) == pytest.approx(31.5, abs=1.0)


def test_joined_layers_and_other_sizes_of_images_are_enlarged_too(tmp_path: Path):
    descriptor = upsampled_by(scripted(Bilinear(), tmp_path), Patches())
    (level,) = descriptor.describe(torch.rand(1, 3, 37, 50))
    assert level.values.shape == (1, DIM, 37, 50)


@pytest.mark.parametrize(
    ("upsampler", "words"),
    [
        (Corners(), "the same for images of all sizes"),
        (Swapped(), "does not place its cells in rows and columns"),
        (Undefined(), "numbers that are not finite"),
        (Fewer(), "as many channels and at least as many cells are needed"),
    ],
)
def test_an_upsampler_that_gives_no_finer_map_is_refused(
    upsampler: nn.Module, words: str, tmp_path: Path
):
    with pytest.raises(DescSpaceError, match=words):
        upsampled_by(scripted(upsampler, tmp_path), Patches())


def test_a_map_of_another_number_of_channels_is_refused_in_a_sentence(tmp_path: Path):
    upsampler = Upsampler(exported(Bilinear(), tmp_path))
    with pytest.raises(DescSpaceError, match=r"cannot enlarge a map of 5 × 12 × 16 .*Export it"):
        upsampler(torch.rand(1, 3, 48, 64), torch.rand(1, 5, 12, 16))


def test_a_program_of_one_input_is_no_upsampler(tmp_path: Path):
    file = tmp_path / "one.pt2"
    torch.export.save(torch.export.export(nn.ReLU(), (torch.rand(1, 3, 8, 8),)), file)
    with pytest.raises(WeightsError, match="takes 1 inputs; an upsampler takes two"):
        Upsampler(file)
    with pytest.raises(WeightsError, match="no such file"):
        Upsampler(tmp_path / "none.pt2")


def test_finer_twice_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="denser=2 cannot be used"):
        upsampled_by(scripted(Bilinear(), tmp_path), Patches(), denser=2)


def test_another_file_is_another_descriptor_and_another_state(tmp_path: Path):
    states, built = set(), []
    for module in (Bilinear(), JointBilateral()):
        file = scripted(module, tmp_path).rename(tmp_path / "upsampler.pt")
        spec = make_spec("exported:" + str(network_file(tmp_path)), {"upsampler": str(file)})
        assert str(file) in [str(stamp.path) for stamp in spec.weights_stamps()]
        built.append(get_built(spec))
        states.add(built_state(built[-1]))
    assert built[0] is not built[1]
    assert len(states) == 2


def network_file(folder: Path) -> Path:
    file = folder / "net.pt2"
    if not file.exists():
        sides = {2: STRIDE_PX * Dim("h", min=2, max=512), 3: STRIDE_PX * Dim("w", min=2, max=512)}
        program = torch.export.export(
            nn.Conv2d(3, DIM, STRIDE_PX, STRIDE_PX),
            (torch.rand(1, 3, 48, 64),),
            dynamic_shapes=(sides,),
        )
        torch.export.save(program, file)
    return file
