"""Networks of kornia: their maps are kornia's own, and their cells lie where they are said to."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from engine.descriptors.families import kornia_models
from engine.descriptors.families.backbone import BackboneConfig, BackboneDescriptor
from engine.descriptors.families.grids import measure_layer
from engine.descriptors.families.kornia_models import KorniaNetwork, build_kornia
from engine.descriptors.families.libraries import use_library
from engine.descriptors.grid_measure import symmetric_kernels
from engine.descriptors.model_names import parse_model_name
from engine.descriptors.registry import list_families, weights_in_use
from engine.descriptors.tensors import to_luminance
from engine.errors import ConfigError, WeightsError
from engine.jobs.fetch import model_weights_state

pytest.importorskip("kornia")
kornia: Any = use_library("kornia", extra="kornia")

NAMES = ["disk", "dedode-b", "xfeat", "aliked-t16", "aliked-n16", "loftr", "sold2", "dense-sift"]


@pytest.fixture(autouse=True)
def no_network_and_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any, **_named: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)


def build(model: str, **settings: Any) -> BackboneDescriptor:
    name = parse_model_name(f"kornia:{model}")
    assert name is not None
    return build_kornia(name, BackboneConfig(**settings))


def image(width: int = 112, height: int = 112) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps(network: KorniaNetwork, images: Tensor, layers: Sequence[int]) -> tuple[Tensor, ...]:
    return network.features(network.as_expected(images), layers, facet="token", norm=True)


# ---- the library's own numbers -------------------------------------------------------------------


def dedode(net: nn.Module, images: Tensor) -> Tensor:
    whole = kornia.feature.DeDoDe(descriptor_model="B")
    whole.descriptor.load_state_dict(net.state_dict())
    found: Tensor = whole.describe(images)
    return found


def loftr(net: nn.Module, images: Tensor) -> Tensor:
    whole = kornia.feature.LoFTR(None).eval()
    whole.backbone.load_state_dict(net.state_dict())
    whole.pos_encoding = nn.Identity()
    found: Tensor = whole.extract_features(to_luminance(images)[:, None])["coarse"]
    return found


def sold2(net: nn.Module, images: Tensor) -> Tensor:
    whole = kornia.feature.SOLD2(pretrained=False).eval()
    whole.model.load_state_dict(net.state_dict())
    whole.junc_detect_thresh = 2.0  # no corners between which it would look for lines, for seconds
    found: Tensor = whole(to_luminance(images)[:, None])["dense_desc"]
    return found


REFERENCES: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[int, int]]] = {
    "disk": (lambda net, images: net.heatmap_and_dense_descriptors(images)[1], (112, 96)),
    "dedode-b": (dedode, (112, 56)),
    "xfeat": (lambda net, images: net(images)[0], (96, 64)),
    "aliked-t16": (lambda net, images: net.extract_dense_map(images)[0], (96, 64)),
    "loftr": (loftr, (96, 64)),
    "sold2": (sold2, (128, 64)),
    "dense-sift": (
        lambda _net, images: kornia.feature.DenseSIFTDescriptor(padding=5)(
            to_luminance(images)[:, None]
        ),
        (57, 45),
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_last_map_is_the_one_that_kornia_reads_descriptions_from(name: str):
    reference, (width, height) = REFERENCES[name]
    network: Any = KorniaNetwork(name).eval()
    images = image(width, height)
    with torch.inference_mode():
        expected = reference(network.whole.net, images)
        (found,) = maps(network, images, [len(network.layers) - 1])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_layers_have_the_size_that_is_told(name: str):
    network = KorniaNetwork(name).eval()
    width, height = network.input_size_px(130, 70)  # no multiple of anything
    with torch.inference_mode():
        found = maps(network, image(width, height), range(len(network.layers)))
    for layer, values in zip(network.layers, found, strict=True):
        rows, columns = (side // round(layer.stride_px) for side in (height, width))
        assert values.shape[:2] == (1, layer.dim), layer.name
        less = 1 if name == "dense-sift" else 0  # as many places as four bins of 4 px fit into
        assert values.shape[2:] == (rows - less, columns - less), layer.name


# ---- where cells lie -----------------------------------------------------------------------------

# Padded convolutions keep the first cell on the first pixel, and means or maxima of squares put it
# into the middle of one; a 4 px bin of SIFT lies half a pixel before one.
CELLS = [
    ("disk", "down.0", 1, 0.0),
    ("disk", "down.3", 8, 3.5),
    ("disk", "up.0", 8, 3.5),
    ("disk", "up.2", 2, 0.5),
    ("disk", "descriptors", 1, 0.0),
    ("dedode-b", "stages.0", 1, 0.0),
    ("aliked-t16", "block2", 2, 0.5),
    ("aliked-t16", "block3", 8, 3.5),
    ("aliked-t16", "features", 1, 0.0),
    ("loftr", "layer1", 2, 0.0),
]


@pytest.mark.parametrize(("name", "layer", "stride_px", "offset_px"), CELLS)
def test_cells_are_measured_where_kernels_put_them(
    name: str, layer: str, stride_px: int, offset_px: float
):
    network = KorniaNetwork(name).eval()
    number = [one.name for one in network.layers].index(layer)
    found = measure_layer(network, number, facet="token")
    assert found.stride_px == (stride_px, stride_px)
    assert found.offset_px == pytest.approx((offset_px, offset_px), abs=0.1)
    assert found.method == "mirror"


def test_what_steers_deformable_convolutions_says_nothing_while_cells_are_measured():
    network = KorniaNetwork("aliked-t16")
    steering = network.steering_layers
    assert steering
    with torch.no_grad():
        for layer in steering:
            layer.weight.fill_(0.5)
    with symmetric_kernels((network,), torch.Generator().manual_seed(0)):
        assert not any(layer.weight.any() for layer in steering)
    assert all((layer.weight == 0.5).all() for layer in steering)


def test_cells_of_xfeat_lie_where_its_published_weights_put_them():
    found = build("xfeat").measured_layer(4)
    assert (found.stride_px, found.offset_px) == ((8, 8), (2.9, 2.9))
    assert found.method == "enlarging"


@pytest.mark.parametrize("brighter", [True, False])
@pytest.mark.parametrize("along", ["x", "y"])
def test_dense_sift_lies_where_a_single_step_turns_it_over(along: str, brighter: bool):
    """Along a row the bins of a vertical edge mirror one another about the cell that is on it."""
    images = torch.full((1, 3, 60, 60), float(not brighter))
    images[..., 30:] = float(brighter)  # an edge at 29.5
    descriptor = build("dense-sift")
    with torch.inference_mode():
        (level,) = descriptor.raw_layers(images if along == "x" else images.mT, [0])
    values = level.values[0] if along == "x" else level.values[0].mT
    bins = values[:, 20].reshape(8, 4, 4, -1).sum(dim=(0, 1 if along == "x" else 2))
    balance = (bins * torch.tensor([-1.5, -0.5, 0.5, 1.5])[:, None]).sum(dim=0)
    near = range(24, 35)
    crossing = next(n for n in near if balance[n] >= 0 >= balance[n + 1])
    share = float(balance[crossing] / (balance[crossing] - balance[crossing + 1]))
    position = level.grid.offset_px + level.grid.stride_px * (crossing + share)
    assert position == pytest.approx(29.5, abs=0.01)


# ---- DeDoDe-G ------------------------------------------------------------------------------------


def test_only_what_is_kept_of_dedode_is_filled_with_random_numbers():
    """Of VGG19 it keeps the convolutions, 13 million numbers; the classifier has 124 million."""
    filled: list[int] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in (torch.ops.aten.normal_.default, torch.ops.aten.uniform_.default):
                filled.append(args[0].numel())
            return func(*args, **(kwargs or {}))

    with Count():
        network = KorniaNetwork("dedode-b")
    kept = sum(one.numel() for one in network.parameters())
    assert kept < sum(filled) < 5 * kept  # some layers fill themselves and are filled again


@pytest.fixture
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A DINOv2 of one block instead of 24: as wide, and in the same place."""
    inside: Any = use_library("kornia.feature.dedode.transformer", extra="kornia")
    whole: Any = use_library("kornia.feature.dedode.transformer.dinov2", extra="kornia")
    heads = {"embed_dim": 1024, "num_heads": 16}
    small = functools.partial(whole.DinoVisionTransformer, **heads, depth=1)
    monkeypatch.setattr(inside, "vit_large", small)
    uncached = kornia_models._model_bytes.__wrapped__
    monkeypatch.setattr(kornia_models, "_model_bytes", functools.cache(uncached))


def test_dedode_g_opens_with_a_dinov2_of_random_numbers(
    one_block: None, caplog: pytest.LogCaptureFixture
):
    found = build("dedode-g")
    assert not found.trained
    assert "No weights of kornia:dedode-g are on this computer: random numbers" in caplog.text
    with torch.inference_mode():
        levels = found.raw_layers(image(112, 56), range(6))
    assert [tuple(one.values.shape[1:]) for one in levels] == [
        *((64, 56, 112), (128, 28, 56), (256, 14, 28), (512, 7, 14)),
        *((1024, 4, 8), (256, 56, 112)),
    ]
    images = image(56, 56).requires_grad_()
    found.network.features(images, [4], facet="token", norm=True)[0].sum().backward()
    assert images.grad is not None, "kornia's own has none"


def test_what_dedode_g_computes_is_what_kornias_own_modules_do(one_block: None):
    network: Any = KorniaNetwork("dedode-g").eval()
    theirs: Any = use_library("kornia.feature.dedode.encoder", extra="kornia").FrozenDINOv2
    state = network.whole.net.encoder.frozen_dinov2.backbone.state_dict()
    images = image(112, 56)
    with torch.inference_mode():
        (expected,), _sizes = theirs(amp=False, dinov2_weights=state)(images)
        (found,) = network.features(images, [4], facet="token", norm=True)
    torch.testing.assert_close(found, expected)


def test_patches_of_dedode_g_are_measured_where_they_are_said_to_be(one_block: None):
    network = KorniaNetwork("dedode-g").eval()
    said = measure_layer(network, 4, facet="token")
    network.known_grids = {}
    found = measure_layer(network, 4, facet="token")
    assert found.stride_px == said.stride_px == (14, 14)
    assert found.offset_px == pytest.approx(said.offset_px, abs=0.1)


def numbers_bytes(state: dict[str, Tensor]) -> int:
    return sum(one.nbytes for one in state.values())


def told_mb() -> float | None:
    return model_weights_state("kornia:dedode-g").size_mb


def test_weights_of_dedode_g_are_two_files(one_block: None, not_measured: None, tmp_path: Path):
    random: Any = KorniaNetwork("dedode-g")
    net = random.whole.net
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.25)
    inner = "encoder.frozen_dinov2.backbone."
    state = net.state_dict()
    file = tmp_path / "dedode_descriptor_G.pth"
    torch.save({one: v for one, v in state.items() if not one.startswith(inner)}, file)
    with pytest.raises(WeightsError, match=r"weights of a DINOv2 .*timm/vit_large_patch14_dinov2"):
        build("dedode-g", weights=file)
    dinov2 = {one.removeprefix(inner): v for one, v in state.items() if one.startswith(inner)}
    assert told_mb() == pytest.approx((file.stat().st_size + numbers_bytes(dinov2)) / 1e6, rel=0.01)
    cache = tmp_path / "torch" / "hub" / "checkpoints" / "dinov2_vitl14_pretrain.pth"
    cache.parent.mkdir(parents=True)
    torch.save(dinov2, cache)
    assert told_mb() == pytest.approx(file.stat().st_size / 1e6, rel=0.01)
    for names in ("authors", "timm"):
        if names == "timm":  # whose file lacks what only a training needs
            del dinov2["mask_token"]
            torch.save(dinov2, cache)
        found = build("dedode-g", weights=file)
        assert found.trained
        loaded = found.module.state_dict()
        for one, value in state.items():
            if names == "authors" or not one.endswith("mask_token"):
                torch.testing.assert_close(loaded[f"whole.net.{one}"], value)


# ---- weights -------------------------------------------------------------------------------------


def published(name: str, net: nn.Module) -> dict[str, Any]:
    """The weights of a network as their authors published them."""
    state = {one: values.clone() for one, values in net.state_dict().items()}
    if name == "disk":
        return {"extractor": state, "other": {"scale": torch.ones(2)}}
    if name == "aliked-n16":
        del state["dkd.hw_grid"]
    if name == "loftr":
        inside = {f"backbone.{one}": values for one, values in state.items()}
        return {"state_dict": {**inside, "loftr_coarse.weight": torch.ones(2)}}
    if name == "sold2":
        for part in ("weight", "bias"):
            place = "heatmap_decoder.conv_block_lst.2"
            state[f"{place}.{part}"] = state.pop(f"{place}.0.{part}")
        words = ("w_junc", "w_heatmap", "w_desc")
        return {"model_state_dict": {**state, **dict.fromkeys(words, torch.ones(1))}, "epoch": 3}
    return state


FILES = {
    "disk": "depth-save.pth",
    "dedode-b": "dedode_descriptor_B.pth",
    "xfeat": "xfeat.pt",
    "aliked-n16": "aliked-n16.pth",
    "loftr": "loftr_outdoor.ckpt",
    "sold2": "sold2_wireframe.pth",
}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *((name, "chosen") for name in FILES),
        *((name, "cache") for name in FILES if name != "dedode-b"),  # 100 MB, and named alike
    ],
)
def test_weights_come_from_the_cache_or_a_chosen_file(
    name: str, place: str, not_measured: None, tmp_path: Path
):
    random: Any = KorniaNetwork(name)
    assert not random.trained
    net = random.whole.net
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.25)
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    file = (cache if place == "cache" else tmp_path) / FILES[name]
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(published(name, net), file)
    settings = {} if place == "cache" else {"weights": file}
    found = build(name, **settings)
    assert found.trained
    assert weights_in_use(f"kornia:{name}", settings) == FILES[name]
    loaded = found.module.state_dict()
    for one, value in net.state_dict().items():
        torch.testing.assert_close(loaded[f"whole.net.{one}"], value)
    assert found.weights_path == file
    assert not build(name, untrained=True).trained


@pytest.mark.parametrize("name", ["dedode-b", "xfeat", "sold2"])
def test_a_download_is_as_large_as_the_file(name: str, tmp_path: Path):
    net: Any = KorniaNetwork(name).whole.net
    torch.save(published(name, net), tmp_path / "file.pth")
    told_mb = model_weights_state(f"kornia:{name}").size_mb
    assert told_mb == pytest.approx((tmp_path / "file.pth").stat().st_size / 1e6, rel=0.05)


def test_the_size_of_a_file_that_holds_more_than_the_network_is_not_known():
    assert model_weights_state("kornia:loftr").size_mb is None


def test_random_weights_are_told_with_what_fetches_the_published_ones(
    caplog: pytest.LogCaptureFixture,
):
    assert not build("aliked-t16").trained
    assert "No weights of kornia:aliked-t16 are on this computer: random numbers" in caplog.text
    assert "Open network… or --download fetches them from huggingface.co/kornia" in caplog.text
    caplog.clear()
    build("aliked-t16", untrained=True)
    assert "random numbers" not in caplog.text


def test_a_file_of_another_network_is_refused(tmp_path: Path):
    file = tmp_path / "other.pth"
    torch.save(published("xfeat", kornia.feature.XFeatModel()), file)
    with pytest.raises(WeightsError, match=r"other\.pth: is of another architecture"):
        build("disk", weights=file)


def test_sift_has_nothing_to_learn():
    assert build("dense-sift").trained
    assert weights_in_use("kornia:dense-sift") == ""


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ConfigError, match="near: xfeat"):
        build("XFeat2")


@pytest.mark.parametrize(
    ("model", "repo", "file"),
    [("disk", "kornia/disk", "depth-save.pth"), ("loftr", "kornia/loftr", "loftr_outdoor.ckpt")],
)
def test_files_on_the_hub_are_fetched_by_its_means(model: str, repo: str, file: str):
    family = next(one for one in list_families() if one.name == "kornia")
    name = parse_model_name(f"kornia:{model}")
    assert name is not None
    assert family.published is not None
    published = family.published(name)
    assert published is not None
    assert published.repo is not None
    assert (published.repo.name, published.names) == (repo, (file,))


def test_all_of_them_are_listed():
    family = next(one for one in list_families() if one.name == "kornia")
    assert {f"kornia:{name}" for name in NAMES} <= {one.name for one in family.models()}
