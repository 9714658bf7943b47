"""``kornia:MODEL``: the networks of the library kornia that describe whole images.

E. Riba et al., "Kornia: an Open Source Differentiable Computer Vision Library for PyTorch", WACV
2020.  Kornia detects points and describes them; here the maps are taken from which it reads the
descriptions, and maps from inside.  Its descriptors of patches (HardNet and others) give no maps,
and DeDoDe-G is left out: kornia builds it only by downloading its DINOv2.

=============  =====================================================================  ============
name           paper                                                                  last layer
=============  =====================================================================  ============
disk           M. Tyszkiewicz et al., NeurIPS 2020                                    descriptors
dedode-b       J. Edstedt et al., 3DV 2024; -c4, -so2: G. Bökman et al., CVPR 2024    descriptors
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

Weights are those that kornia or torch downloaded before; nothing is downloaded here.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

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
from engine.descriptors.families.hub_files import Published
from engine.descriptors.families.libraries import FETCHES, random_weights, use_library
from engine.descriptors.families.module_outputs import module_outputs
from engine.descriptors.grid_measure import MeasuredGrid
from engine.descriptors.known_models import KnownModel
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.descriptors.tensors import to_luminance
from engine.errors import ConfigError, quoted
from engine.geometry.coords import CellGrid
from engine.progress import tell_choice
from engine.weight_titles import RANDOM_WEIGHTS, weights_title

_AS_THEY_ARE: Final = ExpectedInput((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_IMAGENET: Final = ExpectedInput((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HUB: Final = "https://huggingface.co/kornia"
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


def _make_dedode(_kornia: Any) -> nn.Module:
    # Its detector is not needed, and kornia's module is not imported by its name.
    models: Any = use_library("kornia.feature.dedode.dedode_models", extra="kornia")
    net: nn.Module = models.get_descriptor("B")
    for part in net.modules():
        if hasattr(part, "amp"):
            setattr(part, "amp", False)  # noqa: B010 - whoever calls it decides how precise it is
    return net


def _dedode(weights: str) -> _Model:
    stages = tuple(
        _place(f"stages.{number}", 1 << number, dim, "encoder", number)
        for number, dim in enumerate((64, 128, 256, 512))
    )
    return _Model(
        architecture="dedode-b",
        make=_make_dedode,
        call=lambda net, image: net(image),
        places=(*stages, _place("descriptors", 1, 256)),
        multiple_px=8,
        url=f"{_HUB}/dedode/resolve/main/{weights}.pth",
        expects=_IMAGENET,
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


def _dense_sift() -> _Model:
    return _Model(
        architecture="dense-sift",
        make=lambda kornia: kornia.feature.DenseSIFTDescriptor(padding=_SIFT_PADDING),
        call=lambda net, image: net(image),
        places=(_place("descriptors", 1, 128),),
        multiple_px=1,
        grey=True,
    )


_WIDE: Final = (16, 32, 64, 128)
_MODELS: Final[Mapping[str, _Model]] = {
    "disk": _disk("depth"),
    "disk-epipolar": _disk("epipolar"),
    "dedode-b": _dedode("dedode_descriptor_B"),
    "dedode-b-c4": _dedode("B_C4_Perm_descriptor_setting_C"),
    "dedode-b-so2": _dedode("B_SO2_Spread_descriptor_setting_C"),
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
    if name.lower().startswith("dedode-g"):
        reason = "kornia builds DeDoDe-G only by downloading its DINOv2; take dedode-b"
    else:
        near = difflib.get_close_matches(name.lower(), _MODELS, n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        reason = f"kornia has no {quoted(name)} that gives maps; known: {', '.join(_MODELS)}{hint}"
    raise ConfigError("descriptor", reason)


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
    load_into(net, {**constants, **state}, path=file, ignore_prefixes=model.unneeded)


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
    return None if model is None or not model.url else Published(url=model.url)


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
            weights="download" if model.url else "here",
        )
        for name, model in _MODELS.items()
    ]


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
            f"No weights of {name.at()} are on this computer: random numbers. {FETCHES} "
            f"them from {published.address}."
        )
    return BackboneDescriptor(name, network, config, weights_path=weights)
