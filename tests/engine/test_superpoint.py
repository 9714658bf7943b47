"""SuperPoint: the user's weights file, and the same values as the layers written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.registry import build_descriptor, list_descriptors, make_spec
from engine.descriptors.superpoint import SuperPoint
from engine.errors import WeightsError

# The published file, by layer: (output channels, input channels, kernel edge).
LAYERS = {
    "conv1a": (64, 1, 3), "conv1b": (64, 64, 3), "conv2a": (64, 64, 3), "conv2b": (64, 64, 3),
    "conv3a": (128, 64, 3), "conv3b": (128, 128, 3), "conv4a": (128, 128, 3),
    "conv4b": (128, 128, 3), "convPa": (256, 128, 3), "convPb": (65, 256, 1),
    "convDa": (256, 128, 3), "convDb": (256, 256, 1),
}  # fmt: skip


def published_state(*, detector: bool = True) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name, (outputs, inputs, edge) in LAYERS.items():
        if detector or not name.startswith("convP"):
            spread = (2 / (inputs * edge * edge)) ** 0.5
            weight = torch.randn(outputs, inputs, edge, edge, generator=generator)
            state[f"{name}.weight"] = spread * weight
            state[f"{name}.bias"] = 0.01 * torch.randn(outputs, generator=generator)
    return state


def build(path: Path) -> SuperPoint:
    descriptor = build_descriptor(make_spec("superpoint", {"weights": path}))
    assert isinstance(descriptor, SuperPoint)
    return descriptor


@pytest.mark.parametrize("detector", [True, False])
def test_the_published_file_is_read_with_and_without_its_detector(
    tmp_path: Path, detector: bool
) -> None:
    torch.save(published_state(detector=detector), tmp_path / "superpoint_v1.pth")
    descriptor = build(tmp_path / "superpoint_v1.pth")
    names = set(descriptor.module.state_dict())
    assert names == set(published_state(detector=False))


def test_the_descriptors_are_those_of_the_layers_written_out(tmp_path: Path) -> None:
    state = published_state()
    torch.save(state, tmp_path / "w.pth")
    images = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))

    def layer(name: str, values: Tensor) -> Tensor:
        edge = LAYERS[name][2]
        return functional.conv2d(
            values, state[f"{name}.weight"], state[f"{name}.bias"], padding=edge // 2
        )

    values = 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]
    for block in "1234":
        values = layer(f"conv{block}b", layer(f"conv{block}a", values).relu()).relu()
        if block != "4":
            values = functional.max_pool2d(values, 2)
    values = functional.normalize(layer("convDb", layer("convDa", values).relu()), dim=1)
    (level,) = build(tmp_path / "w.pth").describe(images)
    assert (level.grid.stride_px, level.grid.offset_px) == (8.0, 3.5)
    torch.testing.assert_close(level.values, values, atol=1e-5, rtol=1e-4)


def test_without_weights_it_says_where_they_are_and_nothing_else_breaks() -> None:
    with pytest.raises(WeightsError, match=r"github\.com/magicleap.*non-commercial"):
        build_descriptor(make_spec("superpoint"))
    assert "superpoint" in [entry.name for entry in list_descriptors()]
    assert build_descriptor(make_spec("daisy")).dim == 200


def test_a_missing_file_and_one_of_another_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: there is no such file"):
        build(tmp_path / "none.pth")
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"resnet\.pth: is of another architecture"):
        build(tmp_path / "resnet.pth")


@pytest.mark.parametrize("width", range(16, 26))
def test_cells_are_kept_whose_centres_lie_in_the_image(tmp_path: Path, width: int) -> None:
    torch.save(published_state(), tmp_path / "w.pth")
    with torch.inference_mode():
        (level,) = build(tmp_path / "w.pth").describe(torch.rand(1, 3, 16, width))
    centres = [3.5 + 8 * index for index in range(10)]
    assert level.values.shape[2:] == (2, sum(centre <= width - 1 for centre in centres))
