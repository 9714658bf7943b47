"""``kornia:MODEL``: the networks of the library kornia that describe whole images.

E. Riba et al., "Kornia: an Open Source Differentiable Computer Vision Library for PyTorch", WACV
2020.  Kornia detects points and describes them; here the maps are taken from which it reads the
descriptions, and maps from inside.  Its descriptors of patches (HardNet and others) give no maps.

=============  =====================================================================  ============
name           paper                                                                  last layer
=============  =====================================================================  ============
disk           M. Tyszkiewicz et al., NeurIPS 2020                                    descriptors
dedode-b, -g   J. Edstedt et al., 3DV 2024; -c4, -so2: G. Bökman et al., CVPR 2024    descriptors
xfeat          G. Potje et al., CVPR 2024                                             descriptors
aliked-…       X. Zhao et al., IEEE TIM 2023                                          features
loftr          J. Sun et al., CVPR 2021                                               coarse
sold2          R. Pautrat et al., CVPR 2021                                           descriptors
dense-sift     D. Lowe, IJCV 2004                                                     descriptors
=============  =====================================================================  ============

ALIKED's features are what its descriptors are computed from, by sampling around each point; LoFTR's
are those of its network for one image, before both images are looked at.

Where cells lie is measured.  XFeat joins paths that disagree: it adds means of squares to padded
convolutions, which lie 1.5 px apart, and maps of deeper blocks as if they lay 4 and 12 px further
on.  What each path weighs is up to the trained weights, so its cells were placed by these.

DeDoDe-G reads a frozen DINOv2 beside its own layers, whose weights are a file of their own: as its
authors published them, or timm, which calls its tensors the same.

Weights are those that kornia or torch downloaded before; nothing is downloaded here.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.checkpoints import load_into, load_state
from engine.descriptors.base import ExpectedInput
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.families.grids import known_grid
from engine.descriptors.families.hub_files import HubRepo, Published
from engine.descriptors.families.libraries import random_weights, use_library
from engine.descriptors.families.module_outputs import module_outputs
from engine.descriptors.grid_measure import MeasuredGrid
from engine.descriptors.known_models import KnownModel, WeightsState
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.descriptors.tensors import to_luminance
from engine.errors import ConfigError, WeightsError, quoted
from engine.geometry.coords import CellGrid
from engine.progress import tell_choice
from engine.weight_titles import RANDOM_WEIGHTS, weights_title

_AS_THEY_ARE: Final = ExpectedInput((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_IMAGENET: Final = ExpectedInput((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HUB: Final = "https://huggingface.co/kornia"
_DINOV2: Final = Published(
    HubRepo("timm/vit_large_patch14_dinov2.lvd142m"),
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
)
_VGG19_CLASSIFIER: Final = ((4096, 25088), (4096, 4096), (1000, 4096))
_DINOV2_PX: Final = 518
_SIFT_PADDING: Final = 5
_LAST: Final = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a map is found.

    Attributes:
        layer: what is told of it; its stride is exact here.
        module: the module that gives it, by its name in the network; ``_LAST`` for the last map.
        item: of the maps that the module gives, this one.
    """

    layer: Layer
    module: str = _LAST
    item: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A network of kornia.

    Attributes:
        architecture: what the places of its cells depend on; the same for several weights.
        make: builds it with random weights, from the library.
        call: gives the last map, from the network and its input.
        places: of its maps, from the image to the end.
        known_grids: where their cells were found by hand, see :class:`FeatureNetwork`.
        multiple_px: sides of its input are multiples of this.
        url: where kornia has its weights from; "" if it has none.
        inside: what stands before its tensors there, if other tensors are published with them.
        rename: other names of tensors there, and the network's own.
        unneeded: beginnings of the names of tensors there that it lacks.
        expects: colours.
        grey: it takes grey images.
        inner: the module inside that has weights of its own; "" if none has.
        inner_weights: where these are.
    """

    architecture: str
    make: Callable[[Any], nn.Module]
    call: Callable[[Any, Tensor], Tensor]
    places: tuple[_Place, ...]
    multiple_px: int
    known_grids: Mapping[int, MeasuredGrid] = field(default_factory=dict)
    url: str = ""
    inside: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    unneeded: tuple[str, ...] = ()
    expects: ExpectedInput = _AS_THEY_ARE
    grey: bool = False
    inner: str = ""
    inner_weights: Published | None = None

    @property
    def published(self) -> Published | None:
        """Where its weights can be had; None if it has none."""
        if not self.url:
            return None
        owner, _, path = self.url.removeprefix(_HUB).partition("/resolve/main/")
        repo = HubRepo(f"kornia{owner}") if self.url.startswith(_HUB) else None
        names = (path,) if repo is not None else ()
        return Published(repo, names, url=self.url, inner=self.inner_weights)


def _place(
    name: str, stride: int, dim: int, module: str = _LAST, item: int | None = None
) -> _Place:
    return _Place(Layer(name, float(stride), dim), module, item)


def _disk(weights: str) -> _Model:
    down = tuple(
        _place(f"down.{number}", 1 << number, dim, f"unet.path_down.{number}")
        for number, dim in enumerate((16, 32, 64, 64, 64))
    )
    up = tuple(
        _place(f"up.{number}", 8 >> number, 64, f"unet.path_up.{number}") for number in range(3)
    )
    return _Model(
        architecture="disk",
        make=lambda kornia: kornia.feature.DISK(),
        call=lambda net, image: net.heatmap_and_dense_descriptors(image)[1],
        places=(*down, *up, _place("descriptors", 1, 128)),
        multiple_px=16,
        url=f"{_HUB}/disk/resolve/main/{weights}-save.pth",
        inside="extractor.",
    )


class _FrozenDinov2(nn.Module):
    """In place of kornia's own, which downloads its weights and hides them from torch.

    Args:
        amp, amp_dtype, dinov2_weights: as kornia gives them; they are not needed.
    """

    def __init__(
        self,
        amp: bool = False,  # noqa: ARG002
        amp_dtype: Any = None,  # noqa: ARG002
        dinov2_weights: Any = None,  # noqa: ARG002
    ) -> None:
        super().__init__()
        make: Any = use_library("kornia.feature.dedode.transformer", extra="kornia").vit_large
        self.backbone = make(
            img_size=_DINOV2_PX, patch_size=14, init_values=1.0, ffn_layer="mlp", block_chunks=0
        )

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """The map of one scale and its size, as kornia's own."""
        rows, columns = (side // 14 for side in image.shape[2:])
        tokens: Tensor = self.backbone.forward_features(image)["x_norm_patchtokens"]
        return [tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)], [(rows, columns)]


class _NoClassifier(TorchFunctionMode):
    """VGG19's classifier, which DeDoDe throws away at once, is not filled with random numbers.

    They are 124 million, took nine tenths of the time to build DeDoDe-B, and 500 MB that nobody
    reads.  (On the meta device they would cost nothing either, but filling there imports sympy.)
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        filled = given.get("tensor")  # as torch.nn.init names it
        if filled is not None and filled.shape in _VGG19_CLASSIFIER:
            return filled
        return func(*args, **given)


def _make_dedode(_kornia: Any, kind: str = "B") -> nn.Module:
    # Its detector is not needed, and kornia's module is not imported by its name.
    models: Any = use_library("kornia.feature.dedode.dedode_models", extra="kornia")
    encoder: Any = use_library("kornia.feature.dedode.encoder", extra="kornia")
    theirs = encoder.FrozenDINOv2
    encoder.FrozenDINOv2 = _FrozenDinov2  # it takes no other, and would download
    try:
        with _NoClassifier():
            net: nn.Module = models.get_descriptor(kind)
    finally:
        encoder.FrozenDINOv2 = theirs
    for part in net.modules():
        if hasattr(part, "amp"):
            setattr(part, "amp", False)  # noqa: B010 - whoever calls it decides how precise it is
    return net


# Its layers are DeDoDe-B's, where cells are measured, and patches of 14 px.  To be measured, its
# ViT-L would have to be built twice and differentiated, which takes minutes.
_DEDODE_G_GRIDS: Final = {
    number: known_grid(CellGrid(stride_px, (stride_px - 1) / 2))
    for number, stride_px in enumerate((1, 2, 4, 8, 14, 1))
}


def _dedode(weights: str, kind: str = "B") -> _Model:
    stages = tuple(
        _place(f"stages.{number}", 1 << number, dim, "encoder", number)
        for number, dim in enumerate((64, 128, 256, 512))
    )
    large = kind == "G"
    return _Model(
        architecture=f"dedode-{kind.lower()}",
        make=functools.partial(_make_dedode, kind=kind),
        call=lambda net, image: net(image),
        places=(
            *stages,
            *([_place("dinov2", 14, 1024, "encoder", 4)] if large else []),
            _place("descriptors", 1, 256),
        ),
        multiple_px=56 if large else 8,
        known_grids=_DEDODE_G_GRIDS if large else {},
        url=f"{_HUB}/dedode/resolve/main/{weights}.pth",
        expects=_IMAGENET,
        inner="encoder.frozen_dinov2.backbone" if large else "",
        inner_weights=_DINOV2 if large else None,
    )


# Stride, the first cell's place and its error: best matches between photos and enlarged copies of
# them, by the published weights.  Cells that lie d px beyond their assumed place are matched
# (factor - 1) d px too far.  Mutual matches of nine photos, enlarged 1.25, 1.5 and 2 times; for
# block5 all matches of four photos, enlarged 1.5 and 2 times.
_XFEAT_PX: Final = (
    (4.0, 1.7, 0.1), (8.0, 1.2, 0.3), (16.0, 5.8, 0.7), (32.0, 12.0, 4.0), (8.0, 2.9, 0.4),
)  # fmt: skip


def _xfeat() -> _Model:
    blocks = ((2, 4, 24), (3, 8, 64), (4, 16, 64), (5, 32, 64))
    places = tuple(
        _place(f"block{number}", stride, dim, f"block{number}") for number, stride, dim in blocks
    )
    return _Model(
        architecture="xfeat",
        make=lambda kornia: kornia.feature.XFeatModel(),
        call=lambda net, image: net(image)[0],
        places=(*places, _place("descriptors", 8, 64)),
        multiple_px=32,
        known_grids={
            number: known_grid(CellGrid(stride, place), error_px=error, method="enlarging")
            for number, (stride, place, error) in enumerate(_XFEAT_PX)
        },
        url="https://github.com/verlab/accelerated_features/raw/main/weights/xfeat.pt",
    )


def _aliked(variant: str, dims: tuple[int, int, int, int]) -> _Model:
    name = f"aliked-{variant}"
    blocks = tuple(
        _place(f"block{number + 1}", stride, dim, f"block{number + 1}")
        for number, (stride, dim) in enumerate(zip((1, 2, 8, 32), dims, strict=True))
    )
    return _Model(
        architecture=name,
        make=lambda kornia: kornia.feature.ALIKED(name),
        call=lambda net, image: net.extract_dense_map(image)[0],
        places=(*blocks, _place("features", 1, dims[3])),
        multiple_px=32,
        url=f"{_HUB}/aliked/resolve/main/{name}.pth",
    )


def _loftr(weights: str) -> _Model:
    return _Model(
        architecture="loftr",
        make=lambda kornia: kornia.feature.LoFTR(None).backbone,
        call=lambda net, image: net(image)[0],
        places=(
            _place("layer1", 2, 128, "layer1"),
            _place("layer2", 4, 196, "layer2"),
            _place("coarse", 8, 256, "layer3_outconv"),
        ),
        multiple_px=8,
        url=f"{_HUB}/loftr/resolve/main/{weights}.ckpt",
        inside="backbone.",
        grey=True,
    )


def _sold2() -> _Model:
    decoder = "heatmap_decoder.conv_block_lst.2"
    return _Model(
        architecture="sold2",
        make=lambda kornia: kornia.feature.SOLD2(pretrained=False).model,
        call=lambda net, image: net(image)["descriptors"],
        places=(
            _place("backbone", 4, 256, "backbone_net"),
            _place("descriptors", 4, 128, "descriptor_decoder"),
        ),
        multiple_px=64,
        url=f"{_HUB}/sold2/resolve/main/sold2_wireframe.pth",
        rename={f"{decoder}.{part}": f"{decoder}.0.{part}" for part in ("weight", "bias")},
        unneeded=("w_junc", "w_heatmap", "w_desc"),
        grey=True,
    )


# Steps of brightness show the place, see the tests: a cell balances one half a pixel behind the one
# of its number.  Derivatives leave half a pixel open, as all bins are divided by their length.
_SIFT_GRID: Final = known_grid(CellGrid(1.0, 0.5), method="mirror")


def _dense_sift() -> _Model:
    return _Model(
        architecture="dense-sift",
        make=lambda kornia: kornia.feature.DenseSIFTDescriptor(padding=_SIFT_PADDING),
        call=lambda net, image: net(image),
        places=(_place("descriptors", 1, 128),),
        multiple_px=1,
        known_grids={0: _SIFT_GRID},
        grey=True,
    )


_WIDE: Final = (16, 32, 64, 128)
_MODELS: Final[Mapping[str, _Model]] = {
    "disk": _disk("depth"),
    "disk-epipolar": _disk("epipolar"),
    "dedode-b": _dedode("dedode_descriptor_B"),
    "dedode-b-c4": _dedode("B_C4_Perm_descriptor_setting_C"),
    "dedode-b-so2": _dedode("B_SO2_Spread_descriptor_setting_C"),
    "dedode-g": _dedode("dedode_descriptor_G", "G"),
    "dedode-g-c4": _dedode("G_C4_Perm_descriptor_setting_C", "G"),
    "dedode-g-so2": _dedode("G_SO2_Spread_descriptor_setting_C", "G"),
    "xfeat": _xfeat(),
    "aliked-t16": _aliked("t16", (8, 16, 32, 64)),
    "aliked-n16": _aliked("n16", _WIDE),
    "aliked-n16rot": _aliked("n16rot", _WIDE),
    "aliked-n32": _aliked("n32", _WIDE),
    "loftr": _loftr("loftr_outdoor"),
    "loftr-indoor": _loftr("loftr_indoor_ds_new"),
    "sold2": _sold2(),
    "dense-sift": _dense_sift(),
}


class _Whole(nn.Module):
    """A network and what is called of it, so that its last map is a module's output, too."""

    def __init__(self, net: nn.Module, call: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self._call = call

    def forward(self, image: Tensor) -> Tensor:
        return self._call(self.net, image)


class KorniaNetwork(FeatureNetwork):
    """A network of kornia with its layers.

    Args:
        name: as in the table above.
        weights: the file with its weights; None for random ones.

    Raises:
        ConfigError: there is none of this name, or the library is missing.
        WeightsError: the file cannot be used.
    """

    def __init__(self, name: str, weights: Path | None = None) -> None:
        super().__init__()
        kornia = import_kornia()
        self._name = name
        self._model = model = find_model(name)
        with random_weights():
            net = model.make(kornia).eval()
        if weights is not None:
            _load(net, model, weights)
        self._weights = weights
        self.whole = _Whole(net, model.call)
        self.architecture = f"kornia {kornia.__version__} {model.architecture}"
        self.layers = tuple(one.layer for one in model.places)
        self.known_grids = model.known_grids
        self.steering_layers = tuple(
            part
            for path, part in net.named_modules()
            if path.endswith("offset_conv") and isinstance(part, nn.Conv2d)
        )
        self.expects = model.expects
        self.multiple_px = model.multiple_px
        self.trained = weights is not None or not model.url

    def untrained_twin(self) -> KorniaNetwork:
        """The same architecture with random weights."""
        return self if self._weights is None else _untrained(self._name)

    def features(
        self,
        inputs: Tensor,
        layers: Sequence[int],
        *,
        facet: Facet,  # noqa: ARG002 - no layer has attention
        norm: bool,  # noqa: ARG002 - nor a last normalisation
    ) -> tuple[Tensor, ...]:
        """See the base class."""
        places = [self._model.places[one] for one in layers]
        if self._model.grey:
            inputs = to_luminance(inputs)[:, None]
        names = {_path(one) for one in places}
        seen = module_outputs(self, names, lambda: self.whole(inputs))
        return tuple(_map_of(seen[_path(one)], one) for one in places)


def _path(place: _Place) -> str:
    return f"whole.net.{place.module}" if place.module else "whole"


def _map_of(output: Any, place: _Place) -> Tensor:
    """The first of several kinds of outputs, and of several maps the one that is meant."""
    values: Tensor = output if place.item is None else output[0][place.item]
    return values


@functools.lru_cache(maxsize=1)
def _untrained(name: str) -> KorniaNetwork:
    return KorniaNetwork(name).eval()


def import_kornia() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    return use_library("kornia", extra="kornia")


def find_model(name: str) -> _Model:
    """What a name stands for.

    Raises:
        ConfigError: there is none of this name.
    """
    if name in _MODELS:
        return _MODELS[name]
    near = difflib.get_close_matches(name.lower(), _MODELS, n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise ConfigError(
        "descriptor",
        f"kornia has no {quoted(name)} that gives maps; known: {', '.join(_MODELS)}{hint}",
    )


def _load(net: nn.Module, model: _Model, file: Path) -> None:
    state = load_state(file)[0]
    if model.inside and any(name.startswith(model.inside) for name in state):
        state = {
            name.removeprefix(model.inside): values
            for name, values in state.items()
            if name.startswith(model.inside)
        }
    state = {model.rename.get(name, name): values for name, values in state.items()}
    # Constants of a network, which some files lack.
    kept = {name for name, _values in net.named_parameters()}
    constants = {
        name: values
        for name, values in net.state_dict().items()
        if name not in kept and not name.endswith(("running_mean", "running_var"))
    }
    if model.inner:
        state |= _inner_state(net.get_submodule(model.inner), model, file)
    load_into(net, {**constants, **state}, path=file, ignore_prefixes=model.unneeded)


def _inner_state(inner: nn.Module, model: _Model, outer: Path) -> dict[str, Tensor]:
    """The tensors of the network inside one, from a file of their own, as those of the whole.

    Raises:
        WeightsError: the file is not on this computer, or cannot be used.
    """
    published = model.inner_weights
    file = None if published is None else published.cached()
    if published is None or file is None:
        wanted = "" if published is None else f", those of {published.address}"
        raise WeightsError(
            outer, f"is used with the weights of a DINOv2 that are not on this computer{wanted}"
        )
    state = load_state(file)[0]
    # Only training needs it, and timm has none.
    state.setdefault("mask_token", inner.get_parameter("mask_token").detach())
    load_into(inner, state, path=file)
    return {f"{model.inner}.{name}": values for name, values in inner.state_dict().items()}


def _weights_file(
    name: ModelName,
    config: BackboneConfig,
    *,
    load: bool,  # noqa: ARG001 - the library is never needed for it
) -> Path | None:
    if config.untrained or config.weights is not None:
        return None if config.untrained else config.weights
    published = _published(name)
    return None if published is None else published.cached()


def _published(name: ModelName) -> Published | None:
    model = _MODELS.get(name.model)
    return None if model is None else model.published


class _NumbersThatAreRead(TorchFunctionMode):
    """On the meta device: what DINOv2 reads while it is built has its numbers all the same."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **{**(kwargs or {}), **read})


@functools.lru_cache
def _model_bytes(name: str) -> tuple[int, int]:
    """Of the tensors of a network, built without memory for them, and of the one inside it."""
    model = find_model(name)
    with torch.device("meta"), _NumbersThatAreRead():
        net = model.make(import_kornia())
    inner = [net.get_submodule(model.inner)] if model.inner else []
    whole_bytes, inner_bytes = (
        sum(one.nbytes for part in parts for one in part.state_dict().values())
        for parts in ([net], inner)
    )
    return whole_bytes, inner_bytes


def _weights_bytes(name: ModelName) -> int | None:
    """About how much a download brings; None if that cannot be told.

    Raises:
        ConfigError: there is no such model, or kornia is not installed.
    """
    model = find_model(name.model)
    if model.inside:
        return None  # other tensors are published with its own
    whole_bytes, inner_bytes = _model_bytes(name.model)
    inner_is_there = model.inner_weights is not None and model.inner_weights.cached() is not None
    return whole_bytes - inner_bytes * inner_is_there


def _weights_title(name: ModelName, config: BackboneConfig) -> str:
    if name.model in _MODELS and not _MODELS[name.model].url:
        return ""
    file = _weights_file(name, config, load=False)
    return RANDOM_WEIGHTS if file is None else weights_title(file)


def _known_models() -> list[KnownModel]:
    """All that gives maps."""
    return [
        KnownModel(
            f"kornia:{name}",
            name,
            stride_px=model.places[-1].layer.stride_px,
            weights=_state_of(model.published),
        )
        for name, model in _MODELS.items()
    ]


def _state_of(published: Published | None) -> WeightsState:
    if published is None:
        return "here"  # it has none to learn
    if published.cached() is not None:
        return "cached"
    return "download" if published.fetchable else "by-hand"


@register_family(
    "kornia",
    title="kornia",
    config=BackboneConfig,
    summary="Networks of the library kornia for local features: disk, xfeat, dedode-b and others.",
    weights_title=_weights_title,
    models=_known_models,
    extra="kornia",
    weights_file=_weights_file,
    published=_published,
    weights_bytes=_weights_bytes,
)
def build_kornia(name: ModelName, config: BackboneConfig) -> BackboneDescriptor:
    """Build a network of kornia, with the weights that are on this computer.

    Raises:
        ConfigError: kornia is not installed, or has no such model or layer.
        WeightsError: its weights cannot be used.
    """
    weights = _weights_file(name, config, load=True)
    network = KorniaNetwork(name.model, weights)
    published = _published(name)
    if published is not None and weights is None and not config.untrained:
        tell_choice(
            f"No weights of {name.at()} are on this computer: random numbers. {published.remedy()}"
        )
    return BackboneDescriptor(name, network, config, weights_path=weights)
