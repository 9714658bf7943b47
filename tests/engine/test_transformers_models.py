"""Models of transformers: tiny ones are built, saved to a folder and read back."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.descriptors.base import DescriptorMap
from engine.descriptors.families.backbone import BackboneConfig, BackboneDescriptor
from engine.descriptors.families.torchvision_operators import ensure_torchvision
from engine.descriptors.families.transformers_models import build_transformers
from engine.descriptors.model_names import parse_model_name
from engine.descriptors.registry import list_families, make_spec, weights_in_use
from engine.errors import ConfigError, DescSpaceError, WeightsError
from engine.progress import CHOICES

ensure_torchvision()
transformers: Any = pytest.importorskip("transformers")

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
MLP = {"intermediate_size": 48}
TEXT = {**SIZES, **MLP, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
CONV = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
HIERA = {
    "backbone_config": {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "embed_dim_per_stage": [8, 16, 32, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [4, 2, 4, 2],
        "global_attention_blocks": [3],
    },
    "backbone_channel_list": [64, 32, 16, 8],
    "fpn_hidden_size": 16,
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Reference = Callable[[Any, Tensor], Tensor]
Grid = tuple[float, float]  # stride, offset


@dataclass(frozen=True)
class Case:
    """A tiny model.

    ``grids`` are derived by hand from its convolutions.  ``reference`` is what the library itself
    gives for the last layer of an image of ``size_px`` on either side.
    """

    whole: str
    settings: Mapping[str, Any]
    grids: Mapping[str, Grid]
    reference: Reference
    size_px: int = 64
    part: Callable[[Any], Any] = field(default=lambda whole: whole)
    resizes: bool = True


def make(case: Case) -> Any:
    config_class = getattr(transformers, case.whole).config_class
    torch.manual_seed(3)
    net = getattr(transformers, case.whole)(config_class(**case.settings)).eval()
    # As they are drawn, many tensors are zero or one and would hide what is not loaded.
    with torch.no_grad():
        for value in net.parameters():
            if value.ndim < 2 or float(value.std()) == 0:
                value.add_(torch.randn_like(value) * 0.1)
    return net


def blocks(patch: int) -> dict[str, Grid]:
    return {f"blocks.{number}": (float(patch), (patch - 1) / 2) for number in range(3)}


def tokens(prefix: int) -> Reference:
    """Tokens after the last normalisation, as a square map."""

    def reference(net: Any, inputs: Tensor) -> Tensor:
        found = net(inputs).last_hidden_state[:, prefix:]
        side = round(found.shape[1] ** 0.5)
        return found.unflatten(1, (side, side)).permute(0, 3, 1, 2)

    return reference


def clip_tokens(net: Any, inputs: Tensor) -> Tensor:
    found = net.post_layernorm(net(inputs).last_hidden_state[:, 1:])
    return found.unflatten(1, (4, 4)).permute(0, 3, 1, 2)


def mae_tokens(net: Any, inputs: Tensor) -> Tensor:
    """By a ViT, which has the same blocks and masks nothing."""
    settings = {name: getattr(net.config, name) for name in ("image_size", "patch_size")}
    plain = transformers.ViTConfig(**SIZES, **MLP, **settings)
    vit = transformers.ViTModel(plain, add_pooling_layer=False).eval()
    vit.load_state_dict(net.state_dict())
    return tokens(1)(vit, inputs)


def neck(net: Any, inputs: Tensor) -> Tensor:
    found: Tensor = net(inputs).last_hidden_state
    return found


def finest_but_two(net: Any, inputs: Tensor) -> Tensor:
    found: Tensor = net(inputs).fpn_hidden_states[2]
    return found


def pyramid(first: int, count: int) -> dict[str, Grid]:
    strides = [first * 2**number for number in range(count)]
    return {f"stages.{number}": (stride, (stride - 1) / 2) for number, stride in enumerate(strides)}


# A stem of kernel 7, stride 4 and padding 3 begins at pixel 0; each pooling of 2 moves half a cell.
SAM2 = {
    "stages.0": (4, 0),
    "stages.1": (8, 2),
    "stages.2": (16, 6),
    "stages.3": (32, 14),
    "fpn.0": (4, 0),
    "fpn.1": (8, 2),
    "fpn.2": (16, 6),
}
CASES: dict[str, Case] = {
    "dinov2": Case(
        "Dinov2ForImageClassification",
        {**SIZES, "image_size": 56, "patch_size": 14},
        blocks(14),
        tokens(1),
        56,
        lambda whole: whole.dinov2,
    ),
    "dinov2_with_registers": Case(
        "Dinov2WithRegistersModel",
        {**SIZES, "image_size": 56, "patch_size": 14, "num_register_tokens": 3},
        blocks(14),
        tokens(4),
        56,
    ),
    "dinov3_vit": Case(
        "DINOv3ViTModel",
        {**SIZES, **MLP, "image_size": 64, "patch_size": 16, "num_register_tokens": 2},
        blocks(16),
        tokens(3),
    ),
    "dinov3_convnext": Case("DINOv3ConvNextModel", CONV, pyramid(4, 4), tokens(1)),
    "siglip": Case(
        "SiglipModel",
        {
            "text_config": TEXT,
            "vision_config": {**SIZES, **MLP, "image_size": 64, "patch_size": 16},
        },
        blocks(16),
        tokens(0),
        part=lambda whole: whole.vision_model,
    ),
    "clip": Case(
        "CLIPModel",
        {
            "text_config": TEXT,
            "vision_config": {**SIZES, **MLP, "image_size": 64, "patch_size": 16},
        },
        blocks(16),
        clip_tokens,
        part=lambda whole: whole.vision_model,
    ),
    "vit_mae": Case(
        "ViTMAEForPreTraining",
        {
            **SIZES,
            **MLP,
            "image_size": 64,
            "patch_size": 16,
            "decoder_hidden_size": 32,
            "decoder_num_attention_heads": 2,
            "decoder_num_hidden_layers": 1,
        },
        blocks(16),
        mae_tokens,
        part=lambda whole: whole.vit,
    ),
    "ijepa": Case(
        "IJepaModel",
        {**SIZES, **MLP, "image_size": 56, "patch_size": 14},
        blocks(14),
        tokens(0),
        56,
    ),
    "vit": Case(
        "ViTForImageClassification",
        {**SIZES, **MLP, "image_size": 64, "patch_size": 16},
        blocks(16),
        tokens(1),
        part=lambda whole: whole.vit,
    ),
    "swin": Case(
        "SwinForImageClassification",
        {
            "image_size": 64,
            "patch_size": 4,
            "window_size": 4,
            "embed_dim": 8,
            "depths": [2, 2, 2],
            "num_heads": [1, 2, 4],
        },
        pyramid(4, 3),
        tokens(0),
        part=lambda whole: whole.swin,
    ),
    "sam": Case(
        "SamModel",
        {
            "vision_config": {
                **SIZES,
                "image_size": 128,
                "patch_size": 16,
                "output_channels": 16,
                "window_size": 3,
                "global_attn_indexes": [1],
                "mlp_dim": 32,
            }
        },
        {**blocks(16), "neck": (16.0, 7.5)},
        neck,
        128,
        lambda whole: whole.vision_encoder,
        resizes=False,
    ),
    "sam2": Case(
        "Sam2Model",
        {"vision_config": HIERA},
        SAM2,
        finest_but_two,
        part=lambda whole: whole.vision_encoder,
    ),
    "sam2_video": Case(
        "Sam2VideoModel",
        {"vision_config": HIERA},
        SAM2,
        finest_but_two,
        part=lambda whole: whole.vision_encoder,
    ),
    "convnext": Case(
        "ConvNextForImageClassification",
        CONV,
        pyramid(4, 4),
        neck,
        part=lambda whole: whole.convnext,
    ),
    "convnextv2": Case("ConvNextV2Model", CONV, pyramid(4, 4), neck),
}
PLAIN = [
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "siglip",
    "clip",
    "vit_mae",
    "ijepa",
    "vit",
]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Saves a model at the first question for it."""
    root = tmp_path_factory.mktemp("transformers")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            make(CASES[name]).save_pretrained(path)
            mean, std = IMAGENET
            colours = {"image_mean": mean, "image_std": std}
            (path / "preprocessor_config.json").write_text(json.dumps(colours))
        return path

    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any, **_named: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def build(model: Path | str, **settings: Any) -> BackboneDescriptor:
    name = parse_model_name(f"transformers:{model}")
    assert name is not None
    return build_transformers(name, BackboneConfig(**settings))


def last_map(descriptor: BackboneDescriptor, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return descriptor.raw_layers(images, [len(descriptor.layers) - 1])[0].values


def image(size_px: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, size_px, size_px, generator=torch.Generator().manual_seed(seed))


def normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in IMAGENET)
    return (images - mean) / std


@pytest.mark.parametrize("name", CASES)
def test_a_saved_folder_gives_what_the_library_gives(
    name: str, folders: Callable[[str], Path], no_network: None
):
    case = CASES[name]
    descriptor = build(folders(name))
    images = image(case.size_px)
    with torch.inference_mode():
        expected = case.reference(case.part(make(case)), normalised(images))
    found = last_map(descriptor, images)
    assert descriptor.trained
    assert found.shape == expected.shape
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


# The video model's pictures pass through the same encoder as those of sam2.
@pytest.mark.parametrize("name", [name for name in CASES if name != "sam2_video"])
def test_cells_are_measured_where_the_convolutions_put_them(
    name: str, folders: Callable[[str], Path]
):
    descriptor = build(folders(name))
    assert [layer.name for layer in descriptor.layers] == list(CASES[name].grids)
    for number, (stride_px, offset_px) in enumerate(CASES[name].grids.values()):
        measured = descriptor.measured_layer(number)
        assert measured.stride_px == pytest.approx((stride_px,) * 2, abs=0.01), number
        assert measured.error_px < 0.1, number
        grid = descriptor.grid_of(number)
        assert grid.stride_px == stride_px, number
        assert grid.offset_px == pytest.approx(offset_px, abs=0.06), number


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.resizes])
def test_a_change_of_the_image_shows_most_in_the_cell_that_lies_there(
    name: str, folders: Callable[[str], Path]
):
    """Tokens that are taken for columns, or begin at a register, show it elsewhere."""
    descriptor = build(folders(name))
    step = descriptor.network.multiple_px
    height, width = 6 * step, 9 * step
    before = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    row, column = 1, 6
    for number in (0, len(descriptor.layers) - 1):
        with torch.inference_mode():
            first = descriptor.raw_layers(before, [number])[0]
            after = before.clone()
            stride = round(first.grid.stride_px)
            top, left = row * stride, column * stride
            after[..., top : top + stride, left : left + stride] += 2.0
            second = descriptor.raw_layers(after, [number])[0]
        change = (second.values - first.values).square().sum(dim=1)[0]
        assert change.shape == (height // stride, width // stride)
        assert divmod(int(change.argmax()), change.shape[1]) == (row, column), number


@pytest.mark.parametrize("name", PLAIN)
def test_every_block_can_be_asked_for_and_its_attention_too(
    name: str, folders: Callable[[str], Path], not_measured: None
):
    case = CASES[name]
    images = image(case.size_px)
    net = case.part(make(case))
    settings: dict[str, Any] = {"output_hidden_states": True}
    if name == "vit_mae":
        net.config.mask_ratio = 0.0
        settings["noise"] = torch.arange(16.0)[None]
    with torch.inference_mode():
        hidden = net(normalised(images), **settings).hidden_states
        attention = next(
            module
            for path, module in net.named_modules()
            if path.endswith((".1.attention", ".1.self_attn"))
        )
        norm = net.get_submodule(
            next(
                path
                for path, _module in net.named_modules()
                if path.endswith((".1.norm1", ".1.layer_norm1", ".1.layernorm_before"))
            )
        )
        keys = attention.k_proj(norm(hidden[1]))
        found = build(folders(name), norm=False).raw_layers(images, [0, 1])
        (key_map,) = build(folders(name), facet="key").raw_layers(images, [1])
    for expected, level in ((hidden[1], found[0]), (hidden[2], found[1]), (keys, key_map)):
        rows, columns = level.values.shape[2:]
        shown = expected[:, -rows * columns :]
        torch.testing.assert_close(
            level.values.flatten(2).transpose(1, 2), shown, atol=2e-5, rtol=1e-4
        )


def test_a_pyramid_has_no_keys(folders: Callable[[str], Path]):
    with pytest.raises(ConfigError, match=r"layer stages\.2 of .* has no attention with a key"):
        build(folders("swin"), facet="key")


def test_the_last_normalisation_can_be_left_out(folders: Callable[[str], Path]):
    images = image(56)
    folder = folders("dinov2")
    normed, plain = last_map(build(folder), images), last_map(build(folder, norm=False), images)
    layernorm = make(CASES["dinov2"]).dinov2.layernorm
    with torch.inference_mode():
        again = layernorm(plain.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(normed, again, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(normed, plain, atol=0.1)


def test_a_small_image_leaves_no_trace_in_a_swin(folders: Callable[[str], Path]):
    """The library itself makes its windows smaller then, for ever."""
    large = image(128)
    fresh = last_map(build(folders("swin")), large)
    used = build(folders("swin"))
    last_map(used, image(16, seed=2))
    torch.testing.assert_close(last_map(used, large), fresh)


def test_layers_of_one_pass_are_those_of_several(folders: Callable[[str], Path]):
    descriptor = build(folders("sam2"))
    images = image(96)
    with torch.inference_mode():
        together = descriptor.raw_layers(images, range(len(descriptor.layers)))
        for number, one in enumerate(together):
            (alone,) = descriptor.raw_layers(images, [number])
            torch.testing.assert_close(one.values, alone.values)


def test_images_are_resized_for_a_model_of_one_size(folders: Callable[[str], Path]):
    descriptor = build(folders("sam"))
    with torch.inference_mode():
        (level,) = descriptor.describe(torch.rand(1, 3, 32, 64))
    assert isinstance(level, DescriptorMap)
    assert level.grid.stride_px == pytest.approx(8)
    assert level.grid.offset_px == pytest.approx(3.5)
    assert level.values.shape[2:] == (4, 8)


# ---- weights -------------------------------------------------------------------------------------


def state_of(descriptor: BackboneDescriptor) -> dict[str, Tensor]:
    return dict(descriptor.module.state_dict())


def test_random_weights_are_drawn_on_request_and_the_same_every_time(
    folders: Callable[[str], Path],
):
    folder = folders("dinov2")
    first, second = (state_of(build(folder, untrained=True)) for _ in range(2))
    loaded = state_of(build(folder))
    name = "net.encoder.layer.0.attention.q_proj.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], loaded[name])
    assert not build(folder, untrained=True).trained
    assert weights_in_use(f"transformers:{folder}", {"untrained": True}) == "random numbers"
    assert weights_in_use(f"transformers:{folder}") == "dinov2, model.safetensors"


def test_a_folder_without_weights_and_a_bare_kind_are_untrained(
    folders: Callable[[str], Path],
    tmp_path: Path,
    no_network: None,
    caplog: pytest.LogCaptureFixture,
):
    shutil.copy(folders("vit") / "config.json", tmp_path)
    descriptor = build(tmp_path)
    assert not descriptor.trained
    assert f"No weights lie in {tmp_path}, so those of" in caplog.text
    assert weights_in_use(f"transformers:{tmp_path}") == "random numbers"
    assert not build("sam2@0").trained


@pytest.mark.parametrize("way", ["pickle", "shards", "file"])
def test_weights_come_from_files_of_torch_from_shards_and_from_a_chosen_file(
    way: str, folders: Callable[[str], Path], tmp_path: Path
):
    whole = folders("dinov2")
    state = load_file(whole / "model.safetensors")
    shutil.copy(whole / "config.json", tmp_path)
    settings: dict[str, Any] = {}
    if way == "pickle":
        torch.save(state, tmp_path / "pytorch_model.bin")
    elif way == "shards":
        halves = [dict(list(state.items())[part::2]) for part in range(2)]
        listed = {}
        for number, half in enumerate(halves):
            file = f"model-0000{number + 1}-of-00002.safetensors"
            save_file(half, tmp_path / file)
            listed |= dict.fromkeys(half, file)
        index = {"metadata": {}, "weight_map": listed}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        settings["weights"] = whole / "model.safetensors"
    found, expected = build(tmp_path, **settings), build(whole)
    assert found.trained
    for name, value in state_of(expected).items():
        torch.testing.assert_close(state_of(found)[name], value)


def test_half_precision_weights_are_computed_with_in_full(
    folders: Callable[[str], Path], tmp_path: Path
):
    shutil.copytree(folders("dinov2"), tmp_path, dirs_exist_ok=True)
    state = load_file(tmp_path / "model.safetensors")
    save_file({name: one.half() for name, one in state.items()}, tmp_path / "model.safetensors")
    assert {one.dtype for one in state_of(build(tmp_path)).values()} == {torch.float32}


def test_a_name_of_the_hub_is_found_in_its_cache(
    folders: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_network: None,
):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--someone--tiny-vit"
    shutil.copytree(folders("vit"), model / "snapshots" / "abc")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    assert build("someone/tiny-vit").trained
    assert weights_in_use("transformers:someone/tiny-vit") == "tiny-vit, model.safetensors"
    with pytest.raises(ConfigError, match="near: someone/tiny-vit"):
        build("someone/tiny-vitt")
    family = next(one for one in list_families() if one.name == "transformers")
    known = {one.name: one.weights for one in family.models()}
    assert known["transformers:someone/tiny-vit"] == "cached"
    assert known["transformers:dinov2"] == "none"


# ---- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        ({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}, 0.2, 0.6),
        ({"image_mean": 0.5, "image_std": 0.25}, 0.5, 0.25),
        ({"do_normalize": False}, 0.0, 1.0),
        ({"do_normalize": False, "do_rescale": False}, 0.0, 1 / 255),
        ({"image_mean": 1.0, "image_std": 1.0, "rescale_factor": 1 / 127.5}, 0.5, 0.5),
    ],
)
@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_colours_are_normalised_as_the_folder_says(
    settings: dict[str, Any],
    mean: float,
    std: float,
    file: str,
    folders: Callable[[str], Path],
    tmp_path: Path,
):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folders("vit") / name, tmp_path)
    told = settings if file.startswith("pre") else {"image_processor": settings}
    (tmp_path / file).write_text(json.dumps(told))
    expects = build(tmp_path).expects
    assert (expects.mean[1], expects.std[1]) == pytest.approx((mean, std))


def test_without_a_word_on_colours_those_of_the_published_weights_are_taken_and_told(
    folders: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folders("dinov2") / name, tmp_path)
    expects = build(tmp_path).expects
    assert (expects.mean, expects.std) == IMAGENET
    assert [one.name for one in caplog.records] == [CHOICES]
    assert "does not say how colours are normalised" in caplog.text


# ---- what cannot be opened -----------------------------------------------------------------------


def changed(folder: Path, target: Path, **values: Any) -> Path:
    """A copy of a folder with another config."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **values}))
    return target


def test_a_config_that_wants_code_to_be_run_is_refused(
    folders: Callable[[str], Path], tmp_path: Path
):
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    code = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    with pytest.raises(WeightsError, match="asks for code of its own to be run, which is never"):
        build(changed(folders("vit"), tmp_path, auto_map=code))


def test_kernels_that_a_config_names_are_not_asked_for(
    folders: Callable[[str], Path], tmp_path: Path, no_network: None
):
    folder = changed(
        folders("vit"),
        tmp_path,
        _attn_implementation="kernels-community/flash-attn",
        attn_implementation="kernels-community/flash-attn",
        transformers_weights="../elsewhere.safetensors",
        output_hidden_states=True,
        return_dict=False,
    )
    images = image(64)
    torch.testing.assert_close(
        last_map(build(folder), images), last_map(build(folders("vit")), images)
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "bert"}, "is of a model of the kind 'bert'; known are the image encoders"),
        ({"model_type": None}, "is of a model of the kind None"),
        (
            {"model_type": None, "architecture": "vit"},
            "is of a model of timm: open it by timm:local",
        ),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "is of quantised weights"),
        ({"hidden_size": "wide"}, "has a config that transformers refuses"),
        ({"hidden_size": 33}, "does not fit this model"),
        ({"num_hidden_layers": 5}, "does not fit this model: it lacks .* and 34 more"),
        ({"num_hidden_layers": 2}, "does not fit this model: it also holds dinov2.encoder.layer.2"),
        ({"num_channels": 4}, "takes no colour images"),
        ({"patch_size": [8, 16]}, "has patches of 16 × 8 px; only square ones can be used"),
        ({"image_size": [32, 128]}, "has training images of 128 × 32 px"),
    ],
)
def test_a_config_that_does_not_fit_is_named_with_the_reason(
    values: dict[str, Any], reason: str, folders: Callable[[str], Path], tmp_path: Path
):
    with pytest.raises(WeightsError, match=reason) as raised:
        build(changed(folders("dinov2"), tmp_path, **values))
    assert str(raised.value).startswith(str(tmp_path))


def test_damaged_and_missing_files_are_named(folders: Callable[[str], Path], tmp_path: Path):
    folder = tmp_path / "vit"
    with pytest.raises(WeightsError, match="vit: there is no such folder"):
        build(folder)
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"config\.json: there is no such file"):
        build(folder)
    shutil.copytree(folders("vit"), folder, dirs_exist_ok=True)
    with pytest.raises(WeightsError, match="is a file; name the folder"):
        build(folder / "model.safetensors")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"model\.safetensors: is damaged"):
        build(folder)
    weights.unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../vit/model.safetensors"}}))
    with pytest.raises(WeightsError, match="which is not in its folder"):
        build(folder)
    index.unlink()
    (folder / "config.json").write_text('{"model_type": "vit", ')
    with pytest.raises(WeightsError, match=r"config\.json: is damaged or no JSON"):
        build(folder)


def test_code_in_a_file_of_weights_is_not_run(folders: Callable[[str], Path], tmp_path: Path):
    class Planted:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "it ran",))

    shutil.copy(folders("vit") / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Planted()}))
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin"):
        build(tmp_path)
    assert not (tmp_path / "it ran").exists()


def test_an_unknown_name_is_answered_with_near_ones(no_network: None):
    with pytest.raises(ConfigError, match="near: dinov2"):
        build("dinov22")
    with pytest.raises(
        DescSpaceError,
        match="not in the cache of the Hugging Face hub: Open network… or --download fetches it",
    ):
        build("nobody/nothing")


def test_what_places_cells_is_in_the_name_of_the_architecture(
    folders: Callable[[str], Path], tmp_path: Path
):
    one = build(folders("dinov3_convnext"))
    same = changed(folders("dinov3_convnext"), tmp_path / "same", transformers_version="4.0.0")
    other = changed(folders("dinov3_convnext"), tmp_path / "other", layer_norm_eps=1e-3)
    name = one.network.architecture
    assert name.startswith(f"transformers {transformers.__version__} dinov3_convnext ")
    assert build(same).network.architecture == name
    assert build(other).network.architecture != name


def test_a_name_of_this_family_works_wherever_a_descriptor_is_named(
    folders: Callable[[str], Path],
):
    spec = make_spec(f"transformers:{folders('vit')}@0,2")
    assert dict(spec.settings)["facet"] == "token"
