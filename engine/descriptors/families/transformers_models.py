"""``transformers:MODEL``: the image models of the library transformers.

T. Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demos).
A model is a folder as ``save_pretrained`` writes it, a name on the Hugging Face hub whose files are
in the cache already (:mod:`.transformers_files`), or the bare name of a kind (``dinov2``), which
has random weights.  Which kinds there are is told by :mod:`.transformers_kinds`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from engine.checkpoints import load_state
from engine.descriptors.base import ExpectedInput
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
)
from engine.descriptors.families.hub_files import (
    CONFIG_FILE,
    HubRepo,
    Published,
    cached_repos,
)
from engine.descriptors.families.libraries import random_weights, use_library
from engine.descriptors.families.module_outputs import module_outputs
from engine.descriptors.families.transformers_files import (
    COLOUR_FILES,
    LIST_SUFFIX,
    WEIGHTS_FILES,
    FoundModel,
    colours_of,
    find_folder,
    find_model,
    is_hub_name,
    is_path,
    read_config,
    weights_files,
)
from engine.descriptors.families.transformers_kinds import KINDS, NAMES, Kind, Place, Unfit
from engine.descriptors.known_models import KnownModel
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.errors import ConfigError, DescSpaceError, WeightsError
from engine.progress import tell_choice
from engine.vocabulary import some_of
from engine.weight_titles import NO_WEIGHTS, RANDOM_WEIGHTS, weights_title

# What a config may hold that changes no map.
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
        kind = KINDS[found.kind]
        config = _config_of(library, found)
        if int(getattr(getattr(config, "backbone_config", config), "num_channels", 3)) != 3:
            raise _unfit(found, "takes no colour images")
        try:
            self._anatomy = kind.anatomy(config)
        except Unfit as error:
            raise _unfit(found, str(error)) from error
        self._found = found
        self.layers = tuple(one.layer for one in self._anatomy.places)
        self.multiple_px = self._anatomy.multiple_px
        self.fixed_size_px = self._anatomy.fixed_size_px
        self.trained = bool(weights)
        self.expects = ExpectedInput(*colours_of(found))
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

    def _run(self, inputs: Tensor, places: Sequence[Place], facet: Facet) -> list[Tensor]:
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


def _source(place: Place, facet: Facet) -> str:
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
    library: Any, kind: Kind, config: Any, weights: Sequence[Path], found: FoundModel
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


def _load(model: Any, kind: Kind, config: Any, weights: Sequence[Path]) -> nn.Module:
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
            shown = some_of(sorted(names), most=2)
            raise WeightsError(weights[0], f"does not fit this model: it {what} {shown}")
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


# ---- the family ----------------------------------------------------------------------------------


def _known_models() -> list[KnownModel]:
    """The models in the cache that can be opened, and the kinds."""
    cached = []
    for name in cached_repos():
        folder = find_folder(name)
        with contextlib.suppress(WeightsError):
            if folder is not None and read_config(folder / CONFIG_FILE).get("model_type") in NAMES:
                cached.append(KnownModel(f"transformers:{name}", name, weights="cached"))
    return cached + [KnownModel(f"transformers:{one}", one, weights="none") for one in NAMES]


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
    if not is_hub_name(name.model) or is_path(name.model):
        return None
    beside = (CONFIG_FILE, *(file for file, _part in COLOUR_FILES))
    return Published(
        HubRepo.parse(name.model),
        WEIGHTS_FILES,
        lists=tuple(f"{one}{LIST_SUFFIX}" for one in WEIGHTS_FILES),
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
    unknown = is_hub_name(name.model) and "huggingface_hub" not in sys.modules
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
