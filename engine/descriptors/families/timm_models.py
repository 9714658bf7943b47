"""``timm:MODEL``: the image models of the library timm.

R. Wightman, "PyTorch Image Models", 2019.  Models differ in what sizes of images they take: some
any, some any if they are told so when they are built, some one size that can be changed afterwards,
some one that can be chosen when they are built, and some one for ever.  :class:`TimmNetwork` tries
these in turn.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.checkpoints import load_state
from engine.descriptors.base import ExpectedInput
from engine.descriptors.checked_weights import Loading, watching_loads
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.families.efficientnet_names import of_efficientnet_pytorch, timm_names
from engine.descriptors.families.hub_files import cached_repos
from engine.descriptors.families.kept_values import keep, kept_at, read_kept
from engine.descriptors.families.libraries import random_weights, use_library
from engine.descriptors.families.timm_weights import (
    TimmModel,
    find_model,
    find_published,
    find_weights_bytes,
    known_model,
)
from engine.descriptors.known_models import KnownModel, read_sizes, timm_sizes_file
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.errors import ConfigError, DescSpaceError, WeightsError
from engine.progress import tell_choice
from engine.weight_names import fit_names
from engine.weight_titles import NO_WEIGHTS, RANDOM_WEIGHTS, weights_title

if TYPE_CHECKING:
    from pathlib import Path

_TRIED_MULTIPLES: Final = (1, 2, 4, 7, 8)
_ONE_SIZE: Final = "one size"
_VERSION: Final = 1  # of the search for a way; what another one found is looked for again
_REFUSALS: Final = (AssertionError, RuntimeError, ValueError, TypeError, IndexError)
_Outputs = tuple[Tensor, ...]


class TimmNetwork(FeatureNetwork):
    """A model of timm with its layers.

    Args:
        model: what to build.
        weights: the file with its weights; None for random ones.

    Raises:
        ConfigError: it takes no colour images.
        WeightsError: the file cannot be used.
        DescSpaceError: no way was found to have a map from it.
    """

    def __init__(self, model: TimmModel, weights: Path | None = None) -> None:
        super().__init__()
        self._model = model
        self._weights = weights
        self._state = None if weights is None else _load(model, weights)
        self.trained = weights is not None
        self._told = False
        self._options: dict[str, Any] = {}
        self.net = self._first()
        tell: Any = self.net.pretrained_cfg
        if tell["input_size"][0] != 3:
            raise ConfigError("descriptor", f"timm:{model.name} does not take colour images")
        self.expects = ExpectedInput(tuple(tell["mean"]), tuple(tell["std"]))
        self._usual_px: tuple[int, int] = tell["input_size"][1:]  # (height, width)
        self._size_px: tuple[int, int] | None = None  # what the network is set to
        self.architecture = f"timm {import_timm().__version__} {model.architecture}"
        self.layers = _layers(self.net)
        self.multiple_px = 1
        self.sizes = self._find_sizes()

    def untrained_twin(self) -> TimmNetwork:
        """The same architecture with random weights."""
        return self if self._weights is None else _untrained(self._model.name)

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> _Outputs:
        """See the base class."""
        height, width = inputs.shape[2:]
        self._set_size((height, width))
        if facet != "token":
            blocks = [self.layers[one].name for one in layers]
            return _facets(self.net, inputs, layers, blocks, facet)
        outputs = _outputs(self.net, inputs, layers, norm)
        return tuple(
            _as_map(values, self.layers[one], (height, width), _prefix_tokens(self.net))
            for one, values in zip(layers, outputs, strict=True)
        )

    # ---- building ------------------------------------------------------------------------------

    def _first(self) -> nn.Module:
        """The network, told at once that sizes vary if it can be told."""
        for options in ({"dynamic_img_size": True}, {}):
            try:
                net = self._build(options)
            except TypeError:
                if not options:
                    raise
                continue
            self._options = options
            return net
        raise AssertionError

    def _build(self, options: dict[str, Any]) -> nn.Module:
        timm = import_timm()
        loaded: dict[str, Any] = {}
        if self._state is not None:
            # timm adapts weights of other sizes, and the names that their authors gave them.
            loaded = {
                "pretrained": True,
                "pretrained_cfg_overlay": {"state_dict": dict(self._state), "custom_load": False},
            }
        given = {**self._model.create_arguments, **loaded, **options}
        with random_weights(), _weights_fault(self._weights), watching_loads() as loads:
            net: nn.Module = timm.create_model(self._model.build_name, num_classes=0, **given)
        if self._weights is not None:
            _refuse_half_loaded(self._weights, net, loads)
            if not self._told:
                _tell_left_out(self._weights, loads[-1])
            self._told = True
        return net.eval()

    def _find_sizes(self) -> str:
        """How it takes images of other sizes than its own; sets the multiples.

        Found by trying, and remembered for the architecture.

        Raises:
            DescSpaceError: it gives no map of any image.
        """
        ways = ["any size"]
        if not self._options:
            if hasattr(self.net, "set_input_size"):
                ways.append("set")
            ways.append("built anew")
        kept = kept_at("sizes", _VERSION, self.architecture)
        known = read_kept(kept) or {}
        way, multiple = known.get("way"), known.get("multiple_px")
        usable = way in (*ways, _ONE_SIZE) and isinstance(multiple, int) and multiple > 0
        # It has to work all the same: it is only not looked for.
        if usable and self._takes(str(way), int(multiple or 0)):
            return self.sizes
        largest = max(math.ceil(layer.stride_px) for layer in self.layers)
        tries = [(way, largest * times) for way in ways for times in _TRIED_MULTIPLES]
        for way, multiple in (*tries, (_ONE_SIZE, largest)):
            if self._takes(way, multiple):
                keep(kept, {"way": way, "multiple_px": multiple})
                return self.sizes
        fault = self._fault(self._usual_px)
        raise DescSpaceError(
            f"timm:{self._model.name} gives no map of an image of {self._usual_px[1]} × "
            f"{self._usual_px[0]} px: {fault}."
        ) from fault

    def _takes(self, way: str, multiple_px: int) -> bool:
        """Whether it describes images one way, which it is set to."""
        self.sizes, self.multiple_px = way, multiple_px
        if way != _ONE_SIZE:
            # Unlike its own size, and not square.
            return self._fault((2 * multiple_px, 3 * multiple_px)) is None
        self.fixed_size_px = (self._usual_px[1], self._usual_px[0])
        self._size_px = None
        self.net = self._build({})
        if self._fault(self._usual_px) is None:
            return True
        self.fixed_size_px = None
        return False

    def _fault(self, size: tuple[int, int]) -> Exception | None:
        """What keeps the network from describing an image of (height, width)."""
        try:
            with torch.inference_mode():
                self.features(
                    torch.zeros(1, 3, *size), range(len(self.layers)), facet="token", norm=False
                )
        except _REFUSALS as error:
            return error
        return None

    def _set_size(self, size: tuple[int, int]) -> None:
        """Prepare the network for inputs of (height, width)."""
        if self.sizes in ("any size", _ONE_SIZE) or size == self._size_px:
            return
        self._size_px = None
        if self.sizes == "set":
            setter: Any = self.net.set_input_size
            with random_weights():
                setter(img_size=size)
        else:
            device = next(self.net.parameters()).device
            if self._state is None:
                # The numbers drawn for one size are not those drawn for another.
                self._state = {name: one.cpu() for name, one in self.net.state_dict().items()}
            self.net = self._build({"img_size": size}).to(device)
        self._size_px = size


@functools.lru_cache(maxsize=1)
def _untrained(name: str) -> TimmNetwork:
    return TimmNetwork(find_model(name))


def import_timm() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    return use_library("timm", extra="timm")


# ---- what comes out ------------------------------------------------------------------------------


def _layers(net: nn.Module) -> tuple[Layer, ...]:
    """What timm tells of the places in a network whose output can be had."""
    blocks = {name for name, one in net.named_modules() if _has_attention(net, one)}
    told: Any = getattr(net, "feature_info", None) or ()
    layers = [
        Layer(
            str(one.get("module") or number),
            float(one["reduction"]),
            int(one["num_chs"]),
            one.get("module") in blocks,
        )
        for number, one in enumerate(told)
    ]
    return tuple(layers) or (Layer("last", 32.0, int(getattr(net, "num_features", 1))),)


def _outputs(net: nn.Module, inputs: Tensor, layers: Sequence[int], norm: bool) -> Sequence[Tensor]:
    ask: Any = net
    if hasattr(net, "forward_intermediates"):
        wanted = {"indices": list(layers), "intermediates_only": True, "output_fmt": "NCHW"}
        if norm:
            wanted["norm"] = True
        return list(ask.forward_intermediates(inputs, stop_early=True, **wanted))
    return [ask.forward_features(inputs)]


def _prefix_tokens(net: nn.Module) -> int:
    return int(getattr(net, "num_prefix_tokens", 0))


def _as_map(values: Tensor, layer: Layer, size: tuple[int, int], prefix: int) -> Tensor:
    """``(B, D, H', W')`` of a layer's output: a map, one with channels last, or tokens."""
    if values.ndim == 3:
        ratio = math.sqrt(size[0] * size[1] / max(1, values.shape[1] - prefix))
        rows, columns = round(size[0] / ratio), round(size[1] / ratio)
        tokens = values[:, values.shape[1] - rows * columns :]
        if tokens.shape[1] != rows * columns or values.shape[1] < rows * columns:
            raise ValueError(f"{values.shape[1]} tokens fit no grid")
        return _grid_of(tokens, rows, columns)
    if values.ndim != 4:
        raise ValueError(f"an output of {values.ndim} axes is no map")
    channels_last = values.shape[1] != layer.dim and values.shape[3] == layer.dim
    return values.permute(0, 3, 1, 2) if channels_last else values


def _has_attention(net: nn.Module, block: nn.Module) -> bool:
    attention = getattr(block, "attn", None)
    return hasattr(net, "num_prefix_tokens") and (
        getattr(attention, "qkv", None) is not None or hasattr(attention, "q_proj")
    )


def _facets(
    net: nn.Module, inputs: Tensor, layers: Sequence[int], blocks: Sequence[str], facet: Facet
) -> _Outputs:
    """Keys, queries or values of blocks, before positions are turned into them."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, _attention: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen[name] = given[0]

    with contextlib.ExitStack() as stack:
        for name in blocks:
            attention: Any = net.get_submodule(name).attn
            watching = attention.register_forward_pre_hook(functools.partial(keep, name))
            stack.callback(watching.remove)
        outputs = _outputs(net, inputs, layers, norm=False)
    maps = []
    for name, output in zip(blocks, outputs, strict=True):
        rows, columns = output.shape[2:]
        tokens = _part(net.get_submodule(name).attn, seen[name], facet)
        tokens = tokens[:, tokens.shape[1] - rows * columns :]
        maps.append(_grid_of(tokens, rows, columns))
    return tuple(maps)


def _grid_of(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """``(B, N, D)`` -> ``(B, D, rows, columns)``, row by row."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def _part(attention: Any, tokens: Tensor, facet: Facet) -> Tensor:
    """``(B, N, D)`` of what attention makes of its input, heads one behind the other."""
    number = ("query", "key", "value").index(facet)
    letter = "qkv"[number]
    joint = getattr(attention, "qkv", None)
    if joint is None:
        part: Tensor = getattr(attention, f"{letter}_proj")(tokens)
    else:
        bias = joint.bias
        if bias is None and getattr(attention, "q_bias", None) is not None:
            bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
        part = functional.linear(tokens, joint.weight, bias).chunk(3, dim=-1)[number]
    norm = getattr(attention, f"{letter}_norm", None)
    if norm is None or isinstance(norm, nn.Identity):
        return part
    heads = part.reshape(*part.shape[:2], attention.num_heads, -1).transpose(1, 2)
    normed: Tensor = norm(heads)
    return normed.transpose(1, 2).flatten(2)


def _load(model: TimmModel, path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by the network's names where they fit it as they are."""
    state, _ = load_state(path)
    try:
        with torch.device("meta"):
            net: Any = import_timm().create_model(
                model.build_name, num_classes=0, **model.create_arguments
            )
    except Exception:  # it cannot be made without numbers
        return state
    if of_efficientnet_pytorch(state):
        state = timm_names(state, net.state_dict())
    told = net.pretrained_cfg.get("classifier") or ()
    heads = (told,) if isinstance(told, str) else tuple(told)
    fit = fit_names(state, net.state_dict(), [f"{head}." for head in heads])
    return state if fit.problems else fit.tensors


def _refuse_half_loaded(path: Path, net: nn.Module, loads: Sequence[Loading]) -> None:
    """Weights that lack some of a network's pass timm, and these would stay random."""
    own = set(net.state_dict())
    missing = [name for name in loads[-1].missing if name in own] if loads else sorted(own)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(
            path,
            f"does not fit this model: {len(missing)} of its {len(own)} tensors are missing "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''})",
        )


@contextlib.contextmanager
def _weights_fault(path: Path | None) -> Iterator[None]:
    """Whatever timm says of weights that do not fit becomes a sentence."""
    try:
        yield
    except (RuntimeError, KeyError, AttributeError, ValueError) as error:
        if path is None:
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2])[:200]
        raise WeightsError(path, f"does not fit this model: {reason.rstrip('.')}") from error


def _tell_left_out(path: Path, loading: Loading) -> None:
    if loading.unexpected:
        tell_choice(
            f"{path}: this model does not have {len(loading.unexpected)} of the tensors, such as "
            f"{loading.unexpected[0]}; they are left out."
        )


def _weights_file(name: ModelName, config: BackboneConfig, *, load: bool) -> Path | None:
    if config.untrained or config.weights is not None:
        return None if config.untrained else config.weights
    model = find_model(name.model) if load else known_model(name.model)
    return None if model is None else model.find_file()


def _weights_title(name: ModelName, config: BackboneConfig) -> str:
    if config.untrained:
        return RANDOM_WEIGHTS
    if config.weights is not None:
        return weights_title(config.weights)
    model = known_model(name.model)
    if model is None:  # timm is not loaded yet, and this must be answered at once
        return ""
    try:
        return RANDOM_WEIGHTS if model.find_file() is None else model.weights_title
    except WeightsError:
        return NO_WEIGHTS


def _known_models() -> list[KnownModel]:
    """All architectures that timm lists."""
    timm = import_timm()
    published = {one.partition(".")[0] for one in timm.list_pretrained()}
    repos = set(cached_repos())
    cached = {
        model
        for model in published
        if timm.models.get_pretrained_cfg(model).hf_hub_id in repos
        and find_model(model).find_file() is not None
    }
    sizes = read_sizes(timm_sizes_file())
    return [
        KnownModel(
            f"timm:{model}",
            model,
            size.parameters if (size := sizes.get(model)) is not None else None,
            size.stride_px if size is not None else None,
            "cached" if model in cached else "download" if model in published else "none",
        )
        for model in timm.list_models()
    ]


@register_family(
    "timm",
    title="timm",
    config=BackboneConfig,
    summary="Any model of the library timm: its name there, hf-hub:OWNER/NAME or local-dir:FOLDER.",
    weights_title=_weights_title,
    models=_known_models,
    extra="timm",
    weights_file=_weights_file,
    published=lambda name: find_published(name.model),
    weights_bytes=lambda name: find_weights_bytes(name.model),
)
def build_timm(name: ModelName, config: BackboneConfig) -> BackboneDescriptor:
    """Build a model of timm, with the weights that are on this computer.

    Without any it has random ones, and says so.

    Raises:
        ConfigError: timm is not installed, or has no such model or layer.
        WeightsError: its weights cannot be used.
    """
    model = find_model(name.model)
    file = _weights_file(name, config, load=True)
    if file is None and not config.untrained:
        tell_choice(f"No weights of {name.at()} are on this computer{_cure(model)}")
    return BackboneDescriptor(name, TimmNetwork(model, file), config, weights_path=file)


def _cure(model: TimmModel) -> str:
    """The rest of a sentence on how to have the weights of a model."""
    if model.folder is not None:
        return f": {model.folder} holds none, so they are random numbers."
    if model.published is None:
        return ", and nobody published any with timm: they are random numbers."
    size = find_weights_bytes(model.name)
    much = f"about {max(1, round(size / 1e6))} MB" if size else "them"
    return f": random numbers. {model.published.remedy(much)}"
