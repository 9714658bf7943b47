"""The contract that every registered descriptor must meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.registry import (
    build_descriptor,
    get_descriptor,
    list_descriptors,
    make_spec,
)
from engine.descriptors.superpoint import SuperPointNetwork
from engine.errors import ConfigError

COMPUTED = [entry.name for entry in list_descriptors() if entry.name != "precomputed"]


def random_superpoint(path: Path) -> Path:
    """Random weights of SuperPoint's shape, the same every time."""
    generator = torch.Generator().manual_seed(7)
    state = {}
    for name, tensor in SuperPointNetwork().state_dict().items():
        spread = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim == 4 else 0.01
        state[name] = spread * torch.randn(tensor.shape, generator=generator)
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_superpoint(tmp_path_factory.mktemp("weights") / "superpoint.safetensors")


@pytest.fixture(params=COMPUTED)
def descriptor(request: pytest.FixtureRequest, weights: Path) -> DenseDescriptor:
    names = {field.name for field in fields(get_descriptor(request.param).config)}
    # Where cells lie follows from the layers; trained weights lean as they have learned to.
    values: dict[str, object] = {"untrained": True} if "untrained" in names else {}
    if request.param == "superpoint":
        values = {"weights": weights}
    return build_descriptor(make_spec(request.param, values))


@pytest.fixture(autouse=True)
def no_gradients(request: pytest.FixtureRequest) -> Iterator[None]:
    with torch.set_grad_enabled("gradient" in request.node.name):
        yield


def smooth_noise(batch: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    """Random images with structure of several sizes, as photos have, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(batch, 3, height, width)
    for cell_px in (3, 8, 20):
        shape = (batch, 3, height // cell_px + 2, width // cell_px + 2)
        coarse = torch.rand(shape, generator=generator)
        fine = nn.functional.interpolate(
            coarse, size=(height, width), mode="bilinear", align_corners=False
        )
        image += fine / 3
    return image


def assert_same(one: Levels, other: Levels, *, atol: float = 0.0) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert (left.grid, left.member) == (right.grid, right.member)
        torch.testing.assert_close(left.values, right.values, atol=atol, rtol=0)


def test_the_protocol_is_kept(descriptor: DenseDescriptor) -> None:
    assert isinstance(descriptor, DenseDescriptor)
    assert descriptor.dim >= 1
    assert descriptor.shift_period_px >= 1


@pytest.mark.parametrize("size_px", [(16, 16), (17, 16), (16, 31), (33, 47), (64, 50)])
def test_any_size_gives_unit_vectors_that_cover_the_image(
    descriptor: DenseDescriptor, size_px: tuple[int, int]
) -> None:
    height, width = size_px
    for level in descriptor.describe(smooth_noise(2, height, width)):
        batch, dim, rows, columns = level.values.shape
        assert (batch, dim) == (2, descriptor.dim)
        assert level.values.dtype == torch.float32
        lengths = level.values.norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-4, rtol=0)
        for cells, size in ((rows, height), (columns, width)):
            first_px, last_px = level.grid.to_px(0), level.grid.to_px(cells - 1)
            assert 0 <= first_px < level.grid.stride_px
            assert size - 1 - level.grid.stride_px < last_px <= size - 1


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_one_colour_gives_unit_or_zero_vectors_and_no_nan(
    descriptor: DenseDescriptor, value: float
) -> None:
    for level in descriptor.describe(torch.full((1, 3, 37, 41), value)):
        lengths = level.values.norm(dim=1)
        assert bool(((lengths - 1).abs().lt(1e-4) | lengths.eq(0)).all())


def test_the_same_image_gives_the_same_maps(descriptor: DenseDescriptor) -> None:
    images = smooth_noise(1, 40, 52)
    assert_same(descriptor.describe(images), descriptor.describe(images.clone()))


def test_describing_draws_from_no_global_generator_and_changes_no_input(
    descriptor: DenseDescriptor,
) -> None:
    images = smooth_noise(1, 32, 32)
    before, state = images.clone(), torch.get_rng_state()
    descriptor.describe(images)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_is_described_as_its_images_are(descriptor: DenseDescriptor) -> None:
    images = smooth_noise(3, 35, 44)
    together = descriptor.describe(images)
    for index in range(3):
        alone = descriptor.describe(images[index : index + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one.values[0], all_of_them.values[index], atol=1e-4, rtol=0)


def test_an_image_moved_by_the_shift_period_gives_the_moved_map(
    descriptor: DenseDescriptor,
) -> None:
    """Two crops of one picture, apart by the period; what is far from their borders is compared."""
    period_px = descriptor.shift_period_px
    # What sees the image made small sees far.
    margin_px = max(72, 7 * period_px)
    size_px = 80 + 2 * (margin_px + period_px)
    picture = smooth_noise(1, size_px + period_px, size_px + 2 * period_px)
    first = picture[:, :, :size_px, :size_px]
    second = picture[:, :, period_px:, 2 * period_px :]
    for one, other in zip(descriptor.describe(first), descriptor.describe(second), strict=True):
        cells = round(period_px / one.grid.stride_px)
        margin = round(margin_px / one.grid.stride_px)
        moved = one.values[:, :, cells:, 2 * cells :]
        rows, columns = moved.shape[2:]
        inside = (..., slice(margin, rows - margin), slice(margin, columns - margin))
        cosine = (moved[inside] * other.values[:, :, :rows, :columns][inside]).sum(dim=1)
        assert cosine.numel() >= 25
        assert float(cosine.min()) >= 0.99


def test_the_cells_lie_where_the_grid_says_by_the_centroid_of_their_gradient(
    descriptor: DenseDescriptor,
) -> None:
    """What a cell reads is centred on the cell: squared gradients, averaged over many pictures.

    Neighbours over a whole period are averaged, because a map that was enlarged reads cells of a
    coarser grid: one cell leans to the nearest of those, its neighbour the other way.  Kernels are
    made symmetric first: random ones lean, and further the wider a network sees.
    """
    for layer in getattr(descriptor, "module", nn.Identity()).modules():
        if isinstance(layer, nn.Conv2d):
            kernel = layer.weight.detach()
            for axes in ((2,), (3,)):
                kernel = (kernel + kernel.flip(axes)) / 2
            layer.weight = nn.Parameter(kernel)
    generator = torch.Generator().manual_seed(1)
    size_px, count = 125, 8
    images = smooth_noise(count, size_px, size_px, seed=3).requires_grad_()
    levels = descriptor.describe(images)
    for level in levels:
        together = max(2, round(descriptor.shift_period_px / level.grid.stride_px))
        first = int(level.grid.to_cells(size_px // 2)) - (together - 1) // 2
        influence = torch.zeros(size_px, size_px)
        for cell in range(first, first + together):
            direction = torch.randn(count, descriptor.dim, generator=generator)
            total = (level.values[:, :, cell, cell] * direction).sum()
            (gradient,) = torch.autograd.grad(total, images, retain_graph=True)
            # Each picture counts alike, however strong its gradients are.
            energy = gradient.square().sum(dim=1)
            influence += (energy / energy.sum(dim=(1, 2), keepdim=True)).sum(dim=0)
        share = influence / influence.sum()
        positions = torch.arange(float(size_px))
        for axis in (0, 1):
            found_px = float((share.sum(dim=axis) * positions).sum())
            # Tighter than the smallest offset, half a pixel, could be wrong by.
            middle = first + (together - 1) / 2
            assert found_px == pytest.approx(level.grid.to_px(middle), abs=0.4)


def test_reduced_precision_changes_little_where_it_is_said_to_be_safe(
    descriptor: DenseDescriptor,
) -> None:
    if not descriptor.half_precision:
        pytest.skip("not said to be safe")
    images = smooth_noise(1, 96, 96)
    exact = descriptor.describe(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = descriptor.describe(images)
    for one, other in zip(exact, reduced, strict=True):
        assert other.values.dtype == torch.float32
        cosine = (one.values * other.values).sum(dim=1)
        assert float(cosine.min()) >= 0.99
        assert float(cosine.mean()) >= 0.999


@pytest.mark.gpu
def test_cuda_and_cpu_agree(descriptor: DenseDescriptor) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    images = smooth_noise(2, 50, 67)
    on_cpu = descriptor.describe(images)
    if isinstance(module := getattr(descriptor, "module", None), nn.Module):
        module.to("cuda")
    on_cuda = descriptor.describe(images.to("cuda"))
    for one, other in zip(on_cpu, on_cuda, strict=True):
        assert other.values.is_cuda
        assert float((one.values * other.values.cpu()).sum(dim=1).min()) >= 0.9999


def test_precomputed_maps_are_listed_and_refuse_to_compute() -> None:
    with pytest.raises(ConfigError, match="give a map file for each image"):
        build_descriptor(make_spec("precomputed"))
