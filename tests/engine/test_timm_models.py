"""Models of timm as descriptors, against timm itself and against grids derived by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.descriptors.base import DenseDescriptor
from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.timm_models import TimmNetwork, import_timm
from engine.descriptors.families.timm_weights import find_model
from engine.descriptors.registry import build_descriptor, make_spec
from engine.errors import ConfigError, WeightsError
from engine.paths import cache_dir

IMAGE = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(3))


def build(name: str, **values: Any) -> BackboneDescriptor:
    descriptor = build_descriptor(make_spec(name, values))
    assert isinstance(descriptor, BackboneDescriptor)
    return descriptor


@pytest.mark.parametrize(
    ("name", "stride_px", "offset_px", "dim"),
    [
        ("timm:test_vit", 16, 7.5, 64),
        ("timm:test_vit@2", 16, 7.5, 64),
        ("timm:test_vit3@0", 16, 7.5, 96),
        # a patch of 4 pixels, then three of 2 cells: 1.5, + 4 / 2, + 8 / 2, + 16 / 2
        ("timm:test_convnext@0", 4, 1.5, 24),
        ("timm:test_convnext@1", 8, 3.5, 32),
        ("timm:test_convnext", 32, 15.5, 64),
        # padded convolutions with odd kernels leave cell 0 on pixel 0
        ("timm:test_efficientnet@blocks.2", 8, 0.0, 32),
        ("timm:test_mambaout@2", 16, 0.0, 48),
    ],
)
def test_the_measured_grid_is_that_derived_from_the_layers(
    name: str, stride_px: float, offset_px: float, dim: int
) -> None:
    descriptor = build(name)
    assert isinstance(descriptor, DenseDescriptor)
    assert descriptor.grid.stride_px == stride_px
    assert descriptor.grid.offset_px == pytest.approx(offset_px, abs=0.1)
    with torch.inference_mode():
        (level,) = descriptor.describe(IMAGE)
    assert descriptor.dim == dim
    assert level.values.shape[:2] == (1, dim)
    assert not descriptor.trained


def own_values(name: str, layer: int) -> torch.Tensor:
    """What timm itself makes of the image."""
    network = TimmNetwork(find_model(name))
    told = network.expects
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (told.mean, told.std))
    net: Any = network.net
    with torch.inference_mode():
        (values,) = net.forward_intermediates(
            (IMAGE - mean) / std, indices=[layer], intermediates_only=True, output_fmt="NCHW"
        )
    assert isinstance(values, torch.Tensor)
    return values


@pytest.mark.parametrize(
    ("model", "layer"), [("test_vit", 3), ("test_convnext", 1), ("test_mambaout", 2)]
)
def test_values_are_those_of_timm(model: str, layer: int) -> None:
    descriptor = build(f"timm:{model}@{layer}", norm=False)
    with torch.inference_mode():
        (level,) = descriptor.raw_layers(IMAGE, (layer,))
    assert torch.allclose(level.values, own_values(model, layer), atol=1e-5)


def test_the_last_normalisation_can_be_left_out() -> None:
    with torch.inference_mode():
        with_norm, without = (
            build("timm:test_vit@3", norm=norm).describe(IMAGE)[0] for norm in (True, False)
        )
    assert not torch.allclose(with_norm.values, without.values, atol=1e-2)


def test_tokens_stand_at_their_patches() -> None:
    """Changing one patch changes its own token most, and no prefix token is among them."""
    network = TimmNetwork(find_model("test_vit3"))
    changed = IMAGE.clone()
    changed[..., 32:48, 80:96] = 1 - changed[..., 32:48, 80:96]
    with torch.inference_mode():
        one, other = (
            network.features(each, (0,), facet="token", norm=False)[0] for each in (IMAGE, changed)
        )
    difference = (one - other).norm(dim=1)[0]
    assert difference.shape == (6, 8)
    assert divmod(int(difference.argmax()), 8) == (2, 5)


@pytest.mark.parametrize("facet", ["query", "key", "value"])
@pytest.mark.parametrize("model", ["test_vit", "eva02_tiny_patch14_224"])
def test_facets_are_what_attention_computes_from_its_input(
    model: str, facet: str, not_measured: None
) -> None:
    descriptor = build(f"timm:{model}@2", facet=facet)
    seen: list[torch.Tensor] = []
    net: Any = descriptor.network.net
    attention = net.blocks[2].attn
    part = ("query", "key", "value").index(facet)
    linear = (
        attention.qkv if attention.qkv is not None else getattr(attention, f"{'qkv'[part]}_proj")
    )
    attention.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    with torch.no_grad():
        (level,) = descriptor.raw_layers(IMAGE, (2,))
    made = linear(seen[0]).detach()
    if attention.qkv is not None:
        # EVA keeps a bias for queries and values beside the layer, and none for keys.
        if getattr(attention, "q_bias", None) is not None:
            torch.nn.init.ones_(attention.q_bias)
            torch.nn.init.ones_(attention.v_bias)
            with torch.no_grad():
                (level,) = descriptor.raw_layers(IMAGE, (2,))
            made = made + torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(made.shape[-1] // 3)
        made = made.chunk(3, dim=-1)[part]
    rows, columns = level.values.shape[2:]
    wide = -(-IMAGE.shape[3] // descriptor.network.multiple_px)
    tokens = made[0, net.num_prefix_tokens :].reshape(-1, wide, made.shape[-1])[:rows, :columns]
    assert torch.allclose(level.values[0].permute(1, 2, 0), tokens, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "way"),
    [
        ("test_vit", "any size"),
        ("test_resnet", "any size"),
        ("levit_128s", "one size"),
        ("pit_ti_224", "one size"),
    ],
)
def test_a_way_to_the_size_of_the_image_is_found(model: str, way: str) -> None:
    network = TimmNetwork(find_model(model))
    assert network.sizes == way
    assert (network.fixed_size_px is not None) == (way == "one size")


@pytest.mark.parametrize("one_size", [True, False])
def test_a_way_that_was_found_is_taken_at_once_and_left_where_it_no_longer_leads(
    one_size: bool, fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, fault = "test_resnet", TimmNetwork._fault
    if one_size:
        monkeypatch.setattr(
            TimmNetwork,
            "_fault",
            lambda self, size: fault(self, size) if size == self._usual_px else ValueError("no"),
        )
    tried: list[tuple[str, int]] = []
    takes = TimmNetwork._takes

    def noted(self: TimmNetwork, way: str, multiple_px: int) -> bool:
        tried.append((way, multiple_px))
        return takes(self, way, multiple_px)

    monkeypatch.setattr(TimmNetwork, "_takes", noted)
    first = TimmNetwork(find_model(model))
    found = (first.sizes, first.multiple_px)
    searched = len(tried)
    assert searched == (11 if one_size else 1)
    tried.clear()
    second = TimmNetwork(find_model(model))
    assert (second.sizes, second.multiple_px) == found
    assert second.fixed_size_px == first.fixed_size_px
    assert tried == [found]
    (kept,) = (cache_dir() / "sizes").iterdir()
    for text in (
        '{"way": "set", "multiple_px": 7}',
        '{"way": "any size", "multiple_px": 0}',
        '{"way": 3}',
        "[",
    ):
        kept.write_text(text)
        third = TimmNetwork(find_model(model))
        assert (third.sizes, third.multiple_px) == found


def test_random_weights_are_always_the_same_and_disturb_no_one() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, other = (build("timm:test_vit@1").describe(IMAGE)[0].values for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_weights_of_a_file_are_used(tmp_path: Path, prefix: str) -> None:
    net = import_timm().create_model("test_vit", num_classes=10)  # with a head, as files have
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(1.5)
    file = tmp_path / "mine.safetensors"
    save_file({f"{prefix}{name}": one.contiguous() for name, one in net.state_dict().items()}, file)
    descriptor = build("timm:test_vit@2", weights=str(file))
    assert descriptor.trained
    held = descriptor.network.net.state_dict()
    assert torch.equal(held["blocks.1.mlp.fc1.weight"], net.state_dict()["blocks.1.mlp.fc1.weight"])
    assert not torch.equal(
        descriptor.describe(IMAGE)[0].values, build("timm:test_vit@2").describe(IMAGE)[0].values
    )


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    net = import_timm().create_model("test_convnext")
    save_file({name: one.contiguous() for name, one in net.state_dict().items()}, file)
    with pytest.raises(WeightsError, match=r"other\.safetensors.*does not fit this model"):
        build("timm:test_vit", weights=str(file))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("timm:test_vitt", "near: test_vit"),
        ("timm:test_vit@12", "0 to 5"),
        ("timm:test_resnet@9", "act1"),
    ],
)
def test_what_is_not_there_is_told(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(name)


def test_a_batch_is_described_as_its_images_are() -> None:
    descriptor = build("timm:test_convnext@1,2")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        both = descriptor.describe(images)[0].values
        alone = torch.cat([descriptor.describe(one[None])[0].values for one in images])
    assert torch.allclose(both, alone, atol=1e-5)
