"""MSNet: architecture, weights, the two scales and their mix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.checkpoints import save_safetensors
from engine.descriptors.base import TrainableDescriptor
from engine.descriptors.msnet import MSNetNetwork, MSNetV0, MSNetV1, MSNetV2, build_network
from engine.descriptors.registry import build_descriptor, make_spec
from engine.errors import ConfigError, WeightsError


def random_images(height: int = 40, width: int = 56) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def torchvision_state() -> dict[str, Tensor]:
    """Names and shapes of torchvision's resnet18, as its documentation lists them."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            inputs = channels // 2 if stage > 1 and block == 0 else channels
            shapes[f"{name}.conv1.weight"] = (channels, inputs, 3, 3)
            norm(f"{name}.bn1", channels)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{name}.bn2", channels)
            if inputs != channels:
                shapes[f"{name}.downsample.0.weight"] = (channels, inputs, 1, 1)
                norm(f"{name}.downsample.1", channels)
    shapes["fc.weight"], shapes["fc.bias"] = (1000, 512), (1000,)
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.zeros((), dtype=torch.long)
        if name.endswith("tracked")
        else 0.05 * torch.rand(shape, generator=generator) + (0.5 if "var" in name else 0.0)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("name", ["msnet_v0", "msnet_v1", "msnet_v2"])
def test_untrained_networks_say_so_and_are_always_the_same(name: str) -> None:
    one, other = (build_descriptor(make_spec(name, {"untrained": True})) for _ in range(2))
    assert not one.trained
    assert isinstance(one, TrainableDescriptor)
    assert isinstance(other, TrainableDescriptor)
    for left, right in zip(
        one.module.state_dict().values(), other.module.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right)


def test_building_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    build_network(weights=None, imagenet_weights=None)
    assert torch.equal(torch.get_rng_state(), state)


def test_imagenet_weights_of_torchvision_reach_the_backbone_and_leave_it_untrained(
    tmp_path: Path,
) -> None:
    state = torchvision_state()
    torch.save(state, tmp_path / "resnet18.pth")
    spec = make_spec("msnet_v0", {"imagenet_weights": tmp_path / "resnet18.pth"})
    descriptor = build_descriptor(spec)
    assert isinstance(descriptor, MSNetV0)
    assert not descriptor.trained
    backbone = descriptor.network.backbone.state_dict()
    assert len(backbone) == sum(
        name.startswith(("conv1", "bn1", "layer1", "layer2")) for name in state
    )
    for name, tensor in backbone.items():
        assert torch.equal(tensor, state[name])


@pytest.mark.parametrize("beside", [{"untrained": True}, {"imagenet_weights": Path("r.pth")}])
def test_weights_beside_which_others_do_not_count_are_named(
    tmp_path: Path, beside: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "msnet.safetensors"
    save_safetensors(path, MSNetNetwork().state_dict(), {})
    build_descriptor(make_spec("msnet_v0", {"weights": path}))
    assert caplog.messages == []
    build_descriptor(make_spec("msnet_v0", {"weights": path, **beside}))
    (said,) = caplog.messages
    assert said.startswith(f"{path}: all weights are taken from this file")


def test_imagenet_weights_of_a_deeper_network_are_refused(tmp_path: Path) -> None:
    state = torchvision_state()
    state["layer1.2.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    torch.save(state, tmp_path / "resnet34.pth")
    with pytest.raises(WeightsError, match=r"layer1\.2\.conv1\.weight is unknown"):
        build_network(weights=None, imagenet_weights=tmp_path / "resnet34.pth")


def test_saved_weights_make_a_trained_network_with_the_same_maps(tmp_path: Path) -> None:
    network = build_network(weights=None, imagenet_weights=None)
    with torch.no_grad():
        network.head[0].weight += 0.01
    path = tmp_path / "msnet.safetensors"
    save_safetensors(path, network.state_dict(), {})
    descriptor = build_descriptor(make_spec("msnet_v0", {"weights": path}))
    assert descriptor.trained
    with torch.inference_mode():
        expected = MSNetV0(network, None).describe(random_images())[0].values
        found = descriptor.describe(random_images())[0].values
    assert torch.equal(found, expected)


def test_c3_is_resnet_18_up_to_the_second_stage_with_small_strides() -> None:
    """The first cells by plain convolutions, from the layers' definition."""
    network = build_network(weights=None, imagenet_weights=None).eval()
    state = network.backbone.state_dict()
    images = random_images()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def norm(values: Tensor, name: str) -> Tensor:
        parts = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(values, *parts)

    def conv(values: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return functional.conv2d(values, state[f"{name}.weight"], stride=stride, padding=padding)

    values = norm(conv((images - mean) / deviation, "conv1", 2, 3), "bn1").relu()
    values = functional.max_pool2d(values, 3, stride=2, padding=1)
    for name in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        inner = norm(conv(values, f"{name}.conv1", 1, 1), f"{name}.bn1").relu()
        inner = norm(conv(inner, f"{name}.conv2", 1, 1), f"{name}.bn2")
        if name == "layer2.0":
            values = norm(conv(values, f"{name}.downsample.0", 1, 0), f"{name}.downsample.1")
        values = (inner + values).relu()
    with torch.inference_mode():
        found = network.backbone(images)
    assert found.shape == (1, 128, 10, 14)
    torch.testing.assert_close(found, values, atol=1e-4, rtol=1e-4)


def test_v1_adds_the_half_scale_to_v0() -> None:
    """The second level by hand: mean of 2 × 2 cells, the head, and linear interpolation back."""
    network = build_network(weights=None, imagenet_weights=None)
    with torch.inference_mode():
        full, half = MSNetV1(network, None).describe(random_images())
        (alone,) = MSNetV0(network, None).describe(random_images())
        features = network.backbone(random_images())
        coarse = network.head(features.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5)))
    assert torch.equal(full.values, alone.values)
    assert (full.member.scale, half.member.scale) == (1.0, 0.5)
    # Cell 5 lies a quarter of a coarse cell beyond the centre of coarse cell 2; cell 4 before it.
    row, column = 4, 5
    mixed = sum(
        weight_y * weight_x * coarse[0, :, y, x]
        for y, weight_y in ((2, 0.75), (1, 0.25))
        for x, weight_x in ((2, 0.75), (3, 0.25))
    )
    expected = functional.normalize(mixed, dim=0)
    torch.testing.assert_close(half.values[0, :, row, column], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_v2_mixes_the_levels_of_v1_by_scale(scale: float) -> None:
    network = build_network(weights=None, imagenet_weights=None)
    with torch.inference_mode():
        full, half = MSNetV1(network, None).describe(random_images())
        (mixed,) = MSNetV2(network, None, scale=scale).describe(random_images())
    expected = (2 - scale) * full.values + (scale - 1) * half.values
    torch.testing.assert_close(mixed.values, functional.normalize(expected, dim=1))


def test_v2_takes_a_scale_for_every_pixel_and_clamps_it() -> None:
    network = build_network(weights=None, imagenet_weights=None)
    scale = torch.full((1, 40, 56), 0.3)
    scale[:, :, 28:] = 7.0
    with torch.inference_mode():
        full, half = MSNetV1(network, None).describe(random_images())
        (mixed,) = MSNetV2(network, None, scale=scale).describe(random_images())
    torch.testing.assert_close(mixed.values[..., :7], full.values[..., :7])
    torch.testing.assert_close(mixed.values[..., 7:], half.values[..., 7:])


def test_a_scale_outside_the_trained_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"msnet_v2\.scale: 3 is out of range"):
        make_spec("msnet_v2", {"scale": 3})


def test_every_weight_gets_a_gradient_from_what_is_described() -> None:
    network = build_network(weights=None, imagenet_weights=None)
    direction = torch.randn(1, 128, 1, 1, generator=torch.Generator().manual_seed(1))
    levels = MSNetV1(network, None).describe(random_images(24, 24))
    torch.stack([(level.values * direction).sum() for level in levels]).sum().backward()
    assert isinstance(network, MSNetNetwork)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name
