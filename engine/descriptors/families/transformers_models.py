"""``transformers:MODEL``: the image models of the library transformers.

T. Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demos).
A model is a folder as ``save_pretrained`` writes it (``config.json``, weights, and what says how
colours are normalised), a name on the Hugging Face hub whose files are in the cache already, or the
bare name of a kind (``dinov2``), which has random weights.  Nothing is downloaded, and code that a
folder brings along is never run.

Which kinds of models there are, and what is where inside them, is told by :data:`_KINDS`: of models
that include a text part or a mask decoder, only the image encoder is built.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import torch
from torch import Tensor, nn

from engine.checkpoints import load_state
from engine.descriptors.base import ExpectedInput
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.families.hub_files import (
    CONFIG_FILE,
    HubRepo,
    Published,
    cached_repos,
    listed_parts,
)
from engine.descriptors.families.libraries import FETCHES, random_weights, use_library
from engine.descriptors.families.module_outputs import module_outputs
from engine.descriptors.known_models import KnownModel
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.errors import ConfigError, DescSpaceError, WeightsError, quoted
from engine.files import parse_json, read_input
from engine.progress import tell_choice
from engine.weight_titles import NO_WEIGHTS, RANDOM_WEIGHTS, weights_title

_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
_LIST: Final = ".index.json"  # behind the name of weights in several parts
# Where it is told how colours are normalised, and under which name.
_COLOURS: Final = (("preprocessor_config.json", ""), ("processor_config.json", "image_processor"))
# What a config may hold beside the architecture: where to get code, kernels or weights from, and
# what to return, which is refused or decided here; and notes that change nothing.
_FOREIGN_CODE: Final = "auto_map"
_QUANTISED: Final = "quantization_config"
_LEFT_OUT: Final = frozenset(
    (
        *("_attn_implementation", "_attn_implementation_internal", "attn_implementation"),
        *("_experts_implementation", "experts_implementation", "fusion_config"),
        *("transformers_weights", "dtype", "torch_dtype", "_commit_hash", "return_dict"),
        *("output_hidden_states", "output_attentions", "is_causal", "tie_last_hidden_states"),
        *("out_features", "out_indices", "_out_features", "_out_indices", "stage_names"),
    )
)
_NOTES: Final = frozenset(
    (
        *("transformers_version", "_name_or_path", "name_or_path", "architectures"),
        *("id2label", "label2id", "dtype", "torch_dtype", "problem_type"),
    )
)
# Missing in weights, these change no map: they follow the last block, or stand for masked cells.
_UNUSED: Final = ("head.", "pooler.", "embeddings.mask_token")
# As wide as this, a transformer places its cells like a wide one, and is measured in no time.
_NARROW: Final = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "mlp_dim": 32,
}
_NARROW_STAGE: Final = 8
_CALM: Final = 0.02

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]
_IMAGENET: Final[Colours] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: Final[Colours] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
_HALF: Final[Colours] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the output of a layer is found.

    Attributes:
        layer: what is told of it.
        module: the module that gives it, by its name in the network.
        axes: of the output: ``(B, N, D)``, ``(B, H', W', D)`` or ``(B, D, H', W')``.
        item: of several maps that it gives, this one.
        attention: the module with the projections to query, key and value.
    """

    layer: Layer
    module: str
    axes: Literal["tokens", "NHWC", "NCHW"] = "tokens"
    item: int | None = None
    attention: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anatomy:
    """What is where in a network.

    Attributes:
        places: its layers, from the image to the end.
        multiple_px: see :class:`FeatureNetwork`.
        fixed_size_px: see :class:`FeatureNetwork`.
        prefix: tokens before those of the first row: class and registers.
        norm: the last normalisation, "" for none.
        normed: how many of the last layers it can be applied to.
        narrows: it can be built with few channels.
        call: what the network is called with beside the image.
    """

    places: tuple[_Place, ...]
    multiple_px: int
    fixed_size_px: tuple[int, int] | None = None
    prefix: int = 0
    norm: str = ""
    normed: int = 0
    narrows: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of model.

    Attributes:
        model: the class of the image encoder.
        anatomy: what is where, by its config.
        colours: mean and deviation that published weights were trained with.
        options: of the class.
        inside: what stands before its tensors in the weights of a larger model that the library
            does not take apart itself.
    """

    model: str
    anatomy: Callable[[Any], _Anatomy]
    colours: Colours = _IMAGENET
    options: Mapping[str, Any] = field(default_factory=dict)
    inside: str = ""


# ---- what is where -------------------------------------------------------------------------------


def _vit(
    blocks: str,
    norm: str,
    *,
    attention: str = "attention",
    prefix: int = 0,
    interpolate: bool = True,
) -> Callable[[Any], _Anatomy]:
    """A plain vision transformer; ``prefix`` does not count registers."""

    def anatomy(config: Any) -> _Anatomy:
        patch = _one_number(config.patch_size, "patches")
        if not hasattr(config, "rope_theta"):
            # A table of positions: transformers takes it for square wherever it resizes it.
            _one_number(config.image_size, "training images")
        places = tuple(
            _Place(
                Layer(f"blocks.{number}", float(patch), int(config.hidden_size), facets=True),
                f"{blocks}.{number}",
                attention=f"{blocks}.{number}.{attention}",
            )
            for number in range(int(config.num_hidden_layers))
        )
        return _Anatomy(
            places=places,
            multiple_px=patch,
            prefix=prefix + int(getattr(config, "num_register_tokens", 0)),
            norm=norm,
            normed=len(places),
            narrows=True,
            call={"interpolate_pos_encoding": True} if interpolate else {},
        )

    return anatomy


def _swin(config: Any) -> _Anatomy:
    patch = _one_number(config.patch_size, "patches")
    if config.use_absolute_embeddings:
        _one_number(config.image_size, "training images")
    places = tuple(
        _Place(
            Layer(f"stages.{number}", float(patch << number), int(config.embed_dim) << number),
            # Before cells are merged for the next stage, as in the library's SwinBackbone.
            f"encoder.layers.{number}.blocks.{depth - 1}",
        )
        for number, depth in enumerate(config.depths)
    )
    return _Anatomy(
        places=places,
        multiple_px=patch << (len(places) - 1),
        norm="layernorm",
        normed=1,
        # Otherwise blocks shrink their windows to a small image, and leave them so.
        call={"interpolate_pos_encoding": True, "always_partition": True},
    )


def _convnext(stages: str, norm: str = "", first_px: str = "") -> Callable[[Any], _Anatomy]:
    def anatomy(config: Any) -> _Anatomy:
        first = _one_number(getattr(config, first_px), "patches") if first_px else 4
        places = tuple(
            _Place(
                Layer(f"stages.{number}", float(first << number), int(dim)),
                f"{stages}.{number}",
                "NCHW",
            )
            for number, dim in enumerate(config.hidden_sizes)
        )
        return _Anatomy(
            places=places,
            multiple_px=first << (len(places) - 1),
            norm=norm,
            normed=1 if norm else 0,
        )

    return anatomy


def _sam(config: Any) -> _Anatomy:
    patch, size = int(config.patch_size), int(config.image_size)
    blocks = tuple(
        _Place(
            Layer(f"blocks.{number}", float(patch), int(config.hidden_size)),
            f"vision_encoder.layers.{number}",
            "NHWC",
        )
        for number in range(int(config.num_hidden_layers))
    )
    neck = _Place(
        Layer("neck", float(patch), int(config.output_channels)), "vision_encoder.neck", "NCHW"
    )
    return _Anatomy(
        places=(*blocks, neck), multiple_px=patch, fixed_size_px=(size, size), narrows=True
    )


def _sam2(config: Any) -> _Anatomy:
    hiera = config.backbone_config
    first = _one_number(hiera.patch_stride, "patches")
    halvings = int(hiera.num_query_pool_stages)
    strides = [first << min(number, halvings) for number in range(len(hiera.blocks_per_stage))]
    ends = [sum(hiera.blocks_per_stage[: number + 1]) - 1 for number in range(len(strides))]
    stages = tuple(
        _Place(
            Layer(f"stages.{number}", float(stride), int(hiera.embed_dim_per_stage[number])),
            f"backbone.blocks.{ends[number]}",
            "NHWC",
        )
        for number, stride in enumerate(strides)
    )
    # The neck gives its maps from coarse to fine; SAM 2 uses the finest of them.
    levels = tuple(
        _Place(
            Layer(f"fpn.{number}", float(strides[number]), int(config.fpn_hidden_size)),
            "neck",
            "NCHW",
            item=-(number + 1),
        )
        for number in range(int(config.num_feature_levels))
    )
    # Its table of positions is tiled by the windows of the first stage.
    tile_px = first * int(hiera.window_size_per_stage[0])
    return _Anatomy(
        places=(*stages, *levels),
        multiple_px=math.lcm(tile_px, strides[-1]),
        narrows=True,
    )


_KINDS: Final[Mapping[str, _Kind]] = {
    "dinov2": _Kind("Dinov2Model", _vit("encoder.layer", "layernorm", prefix=1, interpolate=False)),
    "dinov2_with_registers": _Kind(
        "Dinov2WithRegistersModel",
        _vit("encoder.layer", "layernorm", prefix=1, interpolate=False),
    ),
    "dinov3_vit": _Kind("DINOv3ViTModel", _vit("model.layer", "norm", prefix=1, interpolate=False)),
    "dinov3_convnext": _Kind("DINOv3ConvNextModel", _convnext("model.stages", "layer_norm")),
    "siglip_vision_model": _Kind(
        "SiglipVisionModel",
        _vit("encoder.layers", "post_layernorm", attention="self_attn"),
        _HALF,
    ),
    "clip_vision_model": _Kind(
        "CLIPVisionModel",
        _vit("encoder.layers", "post_layernorm", attention="self_attn", prefix=1),
        _CLIP,
    ),
    "vit_mae": _Kind("ViTMAEModel", _vit("layers", "layernorm", prefix=1)),
    "ijepa": _Kind("IJepaModel", _vit("layers", "layernorm")),
    "vit": _Kind(
        "ViTModel",
        _vit("layers", "layernorm", prefix=1),
        _HALF,
        {"add_pooling_layer": False},
    ),
    "swin": _Kind("SwinModel", _swin, options={"add_pooling_layer": False}),
    "convnext": _Kind("ConvNextModel", _convnext("encoder.stages", first_px="patch_size")),
    "convnextv2": _Kind("ConvNextV2Model", _convnext("encoder.stages", first_px="patch_size")),
    "sam_vision_model": _Kind("SamVisionModel", _sam),
    "sam2_vision_model": _Kind("Sam2VisionModel", _sam2, inside="vision_encoder."),
}
# Larger models, and the kind of their ``vision_config``.
_LARGER: Final[Mapping[str, str]] = {
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
    "sam": "sam_vision_model",
    "sam2": "sam2_vision_model",
    "sam2_video": "sam2_vision_model",
}
_NAMES: Final = (*_KINDS, *_LARGER)


class _Unfit(Exception):  # noqa: N818 - becomes a sentence where the name of the model is known
    """A model that cannot be opened; says why, as the rest of a sentence about it."""


def _one_number(sizes: Any, what: str) -> int:
    numbers = {int(one) for one in (sizes if isinstance(sizes, list | tuple) else [sizes])}
    if len(numbers) != 1:
        shown = " × ".join(str(one) for one in reversed(sizes))
        raise _Unfit(f"has {what} of {shown} px; only square ones can be used")
    return numbers.pop()


# ---- the network ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundModel:
    """What a name stands for.

    Attributes:
        kind: of the image encoder, one of those this module knows.
        config: of the image encoder, as JSON text.
        folder: with its files; None for the bare name of a kind.
    """

    kind: str
    config: str
    folder: Path | None


class TransformersNetwork(FeatureNetwork):
    """An image encoder of transformers with its layers.

    Args:
        found: what it is.
        weights: the files with its weights; none for random ones.
        narrow: build it with few channels, for measuring.

    Raises:
        ConfigError: the library is missing, or the model takes no colour images.
        WeightsError: a file cannot be used.
    """

    def __init__(
        self, found: FoundModel, weights: Sequence[Path] = (), *, narrow: bool = False
    ) -> None:
        super().__init__()
        library = import_transformers()
        kind = _KINDS[found.kind]
        config = _config_of(library, found)
        if int(getattr(getattr(config, "backbone_config", config), "num_channels", 3)) != 3:
            raise _unfit(found, "takes no colour images")
        try:
            self._anatomy = kind.anatomy(config)
        except _Unfit as error:
            raise _unfit(found, str(error)) from error
        self._found = found
        self.layers = tuple(one.layer for one in self._anatomy.places)
        self.multiple_px = self._anatomy.multiple_px
        self.fixed_size_px = self._anatomy.fixed_size_px
        self.trained = bool(weights)
        self.expects = ExpectedInput(*_colours(found))
        self.architecture = f"transformers {library.__version__} {found.kind} {_digest(config)}"
        narrow = narrow and self._anatomy.narrows
        if narrow:
            _narrow(config)
        self.net = _build(library, kind, config, weights, found)
        if narrow:
            _calm(self.net)

    def untrained_twin(self) -> TransformersNetwork:
        """A network with random weights whose cells lie at the same places; with fewer channels."""
        return _untrained(FoundModel(self._found.kind, self._found.config, None))

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        """See the base class."""
        places = [self._anatomy.places[one] for one in layers]
        height, width = inputs.shape[2:]
        outputs = self._run(inputs, places, facet)
        first_normed = len(self.layers) - self._anatomy.normed
        maps = []
        for number, place, values in zip(layers, places, outputs, strict=True):
            if norm and facet == "token" and self._anatomy.norm and number >= first_normed:
                values = self._normed(values, place.axes)
            stride = round(place.layer.stride_px)
            maps.append(
                _as_map(values, place.axes, (height // stride, width // stride), self._prefix)
            )
        return tuple(maps)

    @property
    def _prefix(self) -> int:
        return self._anatomy.prefix

    def _normed(self, values: Tensor, axes: str) -> Tensor:
        norm = self.net.get_submodule(self._anatomy.norm)
        if axes != "NCHW":
            return torch.as_tensor(norm(values))
        return torch.as_tensor(norm(values.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)

    def _run(self, inputs: Tensor, places: Sequence[_Place], facet: Facet) -> list[Tensor]:
        """What the modules give, up to the last of them that is asked for."""
        wanted = {_source(place, facet) for place in places}
        with contextlib.ExitStack() as stack:
            if self._found.kind == "swin":
                stack.enter_context(_SWIN_LOCK)
                for block in self._swin_blocks():
                    setting = block.register_forward_pre_hook(_set_shift)
                    stack.callback(setting.remove)
            call = {**self._anatomy.call, **self._order(inputs)}
            seen = module_outputs(self.net, wanted, lambda: self.net(inputs, **call))
        found = []
        for place in places:
            output = seen[_source(place, facet)]
            if isinstance(output, tuple):
                output = output[0]
            found.append(output if place.item is None else output[place.item])
        return found

    def _order(self, inputs: Tensor) -> dict[str, Tensor]:
        """What makes a masked autoencoder keep its patches in order."""
        if self._found.kind != "vit_mae":
            return {}
        count = math.prod(side // self.multiple_px for side in inputs.shape[2:])
        return {"noise": torch.arange(count, device=inputs.device).expand(len(inputs), -1)}

    def _swin_blocks(self) -> list[nn.Module]:
        stages: Any = self.net.get_submodule("encoder.layers")
        return [block for stage in stages for block in stage.blocks]


_SWIN_LOCK: Final = threading.Lock()


def _set_shift(block: nn.Module, given: tuple[Any, ...]) -> None:
    """Shift the windows of a Swin block as in training: not where one of them covers the map.

    The library changes a block for ever when it meets a small image.
    """
    sizes: tuple[int, int] = given[1]
    swin: Any = block
    if not hasattr(swin, "trained_shift"):
        swin.trained_shift = swin.shift_size
    swin.shift_size = 0 if min(sizes) <= swin.window_size else swin.trained_shift


def _source(place: _Place, facet: Facet) -> str:
    """The module whose output is wanted."""
    if facet == "token":
        return place.module
    # Before positions are turned into them.
    return f"{place.attention}.{facet[0]}_proj"


def _as_map(values: Tensor, axes: str, size: tuple[int, int], prefix: int) -> Tensor:
    """``(B, D, H', W')`` of an output."""
    if axes == "NCHW":
        return values
    if axes == "NHWC":
        return values.permute(0, 3, 1, 2)
    rows, columns = size
    if values.shape[1] != prefix + rows * columns:
        raise DescSpaceError(
            f"The network gives {values.shape[1]} tokens, not {prefix} and {rows} × {columns}."
        )
    tokens = values[:, prefix:]
    return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)


@functools.lru_cache(maxsize=1)
def _untrained(found: FoundModel) -> TransformersNetwork:
    return TransformersNetwork(found, narrow=True).eval()


# ---- building ------------------------------------------------------------------------------------


def import_transformers() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    return use_library("transformers", extra="transformers")


def _class(library: Any, name: str) -> Any:
    """A class of the library, which imports it only now."""
    try:
        return getattr(library, name)
    except Exception as error:  # whatever a broken installation raises
        raise ConfigError(
            "descriptor",
            f"transformers {library.__version__} does not load its {name} ({error}); main.py "
            "doctor may know why",
        ) from error


def _config_of(library: Any, found: FoundModel) -> Any:
    """The library's config of the image encoder."""
    kinds: Any = _class(library, "CONFIG_MAPPING")
    try:
        return kinds[found.kind].from_dict(json.loads(found.config))
    except Exception as error:  # the library's checks of a foreign file raise all kinds
        raise _unfit(
            found, f"has a config that transformers refuses: {_first_line(error)}"
        ) from error


def _build(
    library: Any, kind: _Kind, config: Any, weights: Sequence[Path], found: FoundModel
) -> nn.Module:
    model = _class(library, kind.model)
    config._attn_implementation = "sdpa" if model._supports_sdpa else "eager"
    if hasattr(config, "mask_ratio"):
        config.mask_ratio = 0.0
    with _quiet(library), random_weights():
        if weights:
            return _load(model, kind, config, weights).eval()
        try:
            net: nn.Module = model._from_config(config, dtype=torch.float32, **kind.options)
        except Exception as error:  # sizes that do not go together raise all kinds
            raise _unfit(found, f"cannot be built: {_first_line(error)}") from error
        return net.eval()


def _narrow(config: Any) -> None:
    """Few channels, instead of those that a config tells."""
    for name, value in _NARROW.items():
        if hasattr(config, name):
            setattr(config, name, value)
    hiera = getattr(config, "backbone_config", None)
    if hiera is not None:  # of SAM 2
        dims = [_NARROW_STAGE << number for number in range(len(hiera.blocks_per_stage))]
        hiera.hidden_size = dims[0]
        hiera.embed_dim_per_stage = dims
        hiera.num_attention_heads_per_stage = [1] * len(dims)
        config.backbone_channel_list = dims[::-1]
        config.fpn_hidden_size = _NARROW_STAGE


def _calm(net: nn.Module) -> None:
    """Small random weights: attention then looks at all cells alike, which leans to no side."""
    with random_weights(), torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=_CALM)


def _load(model: Any, kind: _Kind, config: Any, weights: Sequence[Path]) -> nn.Module:
    state: dict[str, Tensor] = {}
    for file in weights:
        state |= load_state(file)[0]
    if kind.inside and any(name.startswith(kind.inside) for name in state):
        state = {
            name.removeprefix(kind.inside): values
            for name, values in state.items()
            if name.startswith(kind.inside)
        }
    try:
        # The library knows the names that its earlier versions gave to tensors.
        net, told = model.from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            **kind.options,
        )
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(weights[0], f"does not fit this model: {_first_line(error)}") from error
    missing = [one for one in told["missing_keys"] if not one.startswith(_UNUSED)]
    # Heads, text parts and decoders are left out; more blocks than the config tells would be, too.
    parts = tuple(f"{one.module.partition('.')[0]}." for one in kind.anatomy(config).places)
    own = f"{model.base_model_prefix}."
    more = [one for one in told["unexpected_keys"] if one.removeprefix(own).startswith(parts)]
    for what, names in (("lacks", missing), ("also holds", more)):
        if names:
            shown = ", ".join(sorted(names)[:2])
            rest = f" and {len(names) - 2} more" if len(names) > 2 else ""
            raise WeightsError(weights[0], f"does not fit this model: it {what} {shown}{rest}")
    loaded: nn.Module = net
    return loaded


@contextlib.contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Keep the library's bars and reports off the terminal; what matters is said here."""
    logs: Any = library.utils.logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if bars:
            logs.enable_progress_bar()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200].rstrip(".") or type(error).__name__


def _digest(config: Any) -> str:
    """Eight digits that differ where anything differs that the config says of the architecture."""
    told = {name: value for name, value in config.to_dict().items() if name not in _NOTES}
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _unfit(found: FoundModel, reason: str) -> DescSpaceError:
    if found.folder is None:
        return ConfigError("descriptor", f"transformers:{found.kind} {reason}")
    return WeightsError(found.folder / CONFIG_FILE, reason)


# ---- files ---------------------------------------------------------------------------------------


def find_model(model: str) -> FoundModel:
    """What the name of a model stands for: a folder, a name on the hub, or a kind.

    Raises:
        ConfigError: nothing of this name is on this machine.
        WeightsError: the folder's config is missing, damaged, of a model without an image encoder,
            or wants code of its own to be run.
    """
    folder = find_folder(model)
    if folder is None:
        if model not in _NAMES:
            _unknown(model)
        kind = _LARGER.get(model, model)
        return FoundModel(kind, json.dumps({"model_type": kind}), None)
    path = folder / CONFIG_FILE
    values = _read_config(path)
    if values.get(_FOREIGN_CODE):
        raise WeightsError(path, "asks for code of its own to be run, which is never done")
    if values.get(_QUANTISED):
        raise WeightsError(path, "is of quantised weights; use those the model was trained with")
    told = values.get("model_type")
    if told in _KINDS:
        return FoundModel(str(told), _text(values), folder)
    if told is None and "architecture" in values:
        raise WeightsError(path, f"is of a model of timm: open it by timm:local-dir:{folder}")
    if told not in _LARGER:
        raise WeightsError(
            path,
            f"is of a model of the kind {quoted(told)}; known are the image encoders of "
            f"{_listed()}",
        )
    kind = _LARGER[str(told)]
    part = values.get("vision_config") or {}
    if not isinstance(part, dict):
        raise WeightsError(path, "has a vision_config that is no mapping")
    return FoundModel(kind, _text({**part, "model_type": kind}), folder)


def find_folder(model: str, *, load: bool = True) -> Path | None:
    """The folder with the files of a model: on this disk, or in the cache of the hub; else None.

    Args:
        model: the name.
        load: without it the cache is looked into only if the hub's library is loaded already.

    Raises:
        WeightsError: what is plainly a path leads to no folder.
    """
    path = Path(model).expanduser()
    try:
        if path.is_dir():
            return path
        if _is_path(model):
            reason = "is a file; name the folder that it lies in" if path.is_file() else ""
            raise WeightsError(path, reason or "there is no such folder")
    except ValueError:  # no path can have this name
        return None
    if not _is_hub_name(model) or (not load and "huggingface_hub" not in sys.modules):
        return None
    try:
        config = HubRepo.parse(model).cached((CONFIG_FILE,))
    except ConfigError:  # no name of the hub
        return None
    return None if config is None else config.parent


def _is_path(model: str) -> bool:
    """Plainly a path, whether there is something or not."""
    return Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1


def _is_hub_name(model: str) -> bool:
    return model.count("/") == 1 and not Path(model).is_dir()


def weights_files(folder: Path) -> tuple[Path, ...]:
    """The files with the weights of a folder, in the order they are read; none if it has none.

    Raises:
        WeightsError: the list of its files is damaged, or names files that are missing.
    """
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return (folder / name,)
        index = folder / f"{name}{_LIST}"
        if index.is_file():
            parts = listed_parts(index)
            for one in parts:
                if not (folder / one).is_file():
                    raise WeightsError(index, f"lists {quoted(one)}, which is not in its folder")
            return tuple(folder / one for one in parts)
    return ()


def _read_config(path: Path) -> dict[str, Any]:
    missing = "there is no such file, so its folder holds no model of transformers"
    try:
        values = parse_json(read_input(path, WeightsError, missing=missing))
    except ValueError as error:
        raise WeightsError(path, f"is damaged or no JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError(path, f"holds a {type(values).__name__}, not settings by name")
    return values


def _text(values: Mapping[str, Any]) -> str:
    """A config without what is never asked for, as text that can be compared."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cleaned(one) for name, one in value.items() if name not in _LEFT_OUT}
        return [cleaned(one) for one in value] if isinstance(value, list) else value

    return json.dumps(cleaned(dict(values)), sort_keys=True)


def _colours(found: FoundModel) -> Colours:
    """Mean and deviation by which colours in [0, 1] are normalised.

    The defaults of the library's image processors are no help: that of DINOv2 is CLIP's.
    """
    folder = found.folder
    usual = _KINDS[found.kind].colours
    if folder is None:
        return usual
    for name, part in _COLOURS:
        path = folder / name
        if not path.is_file():
            continue
        values = _read_config(path)
        told = values.get(part) if part else values
        if isinstance(told, dict):
            return _told_colours(path, told, usual)
    shown = ", ".join(f"{one:g}" for one in usual[0])
    tell_choice(
        f"{folder} does not say how colours are normalised: by the mean {shown}, as the published "
        f"weights of {found.kind} want it."
    )
    return usual


def _told_colours(path: Path, values: Mapping[str, Any], usual: Colours) -> Colours:
    rescaled = values.get("do_rescale", True)
    factor = values.get("rescale_factor", 1 / 255) if rescaled else 1.0
    normalised = values.get("do_normalize", True)
    told = (
        (values.get("image_mean", usual[0]), values.get("image_std", usual[1]))
        if normalised
        else (0.0, 1.0)
    )
    colours = []
    try:
        full = 255 * float(factor)  # what white becomes
        for one in told:
            numbers = [
                float(part) for part in (one if isinstance(one, list | tuple) else [one] * 3)
            ]
            colours.append((numbers[0] / full, numbers[1] / full, numbers[2] / full))
            if len(numbers) != 3 or not all(math.isfinite(part) for part in colours[-1]):
                raise ValueError
        if not min(colours[1]) > 0:
            raise ValueError
    except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        raise WeightsError(
            path, "has an image_mean, image_std or rescale_factor that cannot be used"
        ) from error
    return colours[0], colours[1]


def _unknown(model: str) -> NoReturn:
    known = [*_NAMES, *cached_repos()]
    near = difflib.get_close_matches(model, known, n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    if _is_hub_name(model):
        reason = f"is no folder, and not in the cache of the Hugging Face hub: {FETCHES} it"
    else:
        reason = f"is no folder, no OWNER/NAME of the Hugging Face hub, and none of {_listed()}"
    raise ConfigError("descriptor", f"transformers:{model} {reason}{hint}")


def _listed() -> str:
    return ", ".join(_NAMES)


def _known_models() -> list[KnownModel]:
    """The models in the cache that can be opened, and the kinds."""
    cached = []
    for name in cached_repos():
        folder = find_folder(name)
        with contextlib.suppress(WeightsError):
            if (
                folder is not None
                and _read_config(folder / CONFIG_FILE).get("model_type") in _NAMES
            ):
                cached.append(KnownModel(f"transformers:{name}", name, weights="cached"))
    return cached + [KnownModel(f"transformers:{one}", one, weights="none") for one in _NAMES]


def _weights_of(model: str, config: BackboneConfig, *, load: bool) -> tuple[Path, ...]:
    if config.untrained or config.weights is not None:
        return () if config.untrained or config.weights is None else (config.weights,)
    folder = find_folder(model, load=load)
    return () if folder is None else weights_files(folder)


def _weights_file(name: ModelName, config: BackboneConfig, *, load: bool) -> Path | None:
    files = _weights_of(name.model, config, load=load)
    return files[0] if files else None


def _published(name: ModelName) -> Published | None:
    """Whatever has the name of a repository of the hub and is no folder here."""
    if not _is_hub_name(name.model) or _is_path(name.model):
        return None
    beside = (CONFIG_FILE, *(file for file, _part in _COLOURS))
    return Published(
        HubRepo.parse(name.model),
        _WEIGHTS,
        lists=tuple(f"{one}{_LIST}" for one in _WEIGHTS),
        beside=beside,
    )


def _weights_title(name: ModelName, config: BackboneConfig) -> str:
    if not config.untrained and config.weights is not None:
        return weights_title(config.weights)
    try:
        file = _weights_file(name, config, load=False)
    except WeightsError:  # which is said when it is built
        return NO_WEIGHTS
    if file is not None:
        return f"{name.at().title}, {file.name}"
    unknown = _is_hub_name(name.model) and "huggingface_hub" not in sys.modules
    return "" if unknown else RANDOM_WEIGHTS


@register_family(
    "transformers",
    title="transformers",
    config=BackboneConfig,
    summary="Image models of the library transformers, from a folder or the cache of its hub.",
    weights_title=_weights_title,
    models=_known_models,
    opens=("/",),
    extra="transformers",
    weights_file=_weights_file,
    published=_published,
)
def build_transformers(name: ModelName, config: BackboneConfig) -> BackboneDescriptor:
    """Build a model of transformers.

    Raises:
        ConfigError: transformers is not installed, or there is no such model or layer.
        WeightsError: a file of the model cannot be used.
    """
    import_transformers()
    found = find_model(name.model)
    weights = _weights_of(name.model, config, load=True)
    if not weights and not config.untrained:
        where = "belong to the name of a kind" if found.folder is None else f"lie in {found.folder}"
        tell_choice(f"No weights {where}, so those of {name.at()} are random numbers.")
    network = TransformersNetwork(found, weights)
    whole = weights[0] if len(weights) == 1 else None
    return BackboneDescriptor(name, network, config, weights_path=whole)
