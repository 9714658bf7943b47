"""What a model's name means to timm: its architecture, its colours, and where its weights are.

Three kinds of names: timm's own (``resnet18.a1_in1k``), a repository of the Hugging Face hub whose
files are in the cache (``hf-hub:owner/name``), and a folder (``local-dir:/folder``).  The latter
two hold a ``config.json``, which comes from strangers: only what describes the network is taken
from it.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from engine.descriptors.families.hub_files import (
    CONFIG_FILE,
    WEIGHTS_FILES,
    HubRepo,
    Published,
    folder_weights,
    safe_file_name,
)
from engine.descriptors.families.libraries import FETCHES, use_library
from engine.errors import ConfigError, WeightsError, quoted
from engine.files import parse_json, read_input

HUB_SOURCE: Final = "hf-hub:"
FOLDER_SOURCE: Final = "local-dir:"

# Of timm's function that builds a model: what loads weights, and what is given by this program.
_NOT_OF_THE_NETWORK: Final = frozenset(
    {"cache_dir", "checkpoint_path", "exportable", "features_only", "no_jit", "num_classes"}
    | {"out_indices", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "scriptable"}
)
# Of timm's description of weights: where they are.
_PLACES: Final = frozenset(
    {"custom_load", "file", "hf_hub_filename", "hf_hub_id", "source", "state_dict", "url"}
)
_BYTES_PER_NUMBER: Final = 4


@dataclass(frozen=True, slots=True)
class TimmModel:
    """What a name means.

    Attributes:
        name: the name.
        build_name: what timm's ``create_model`` is told.
        facts: timm's ``pretrained_cfg`` without the places of weights; None for timm's own.
        arguments: further ones of ``create_model``.
        published: its weights; None if nobody published any.
        folder: that holds the model.
    """

    name: str
    build_name: str
    facts: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    published: Published | None = None
    folder: Path | None = None

    @property
    def architecture(self) -> str:
        """All that decides where the network's cells lie."""
        arguments = f" {dict(self.arguments)}" if self.arguments else ""
        return f"{self.build_name.partition('.')[0]}{arguments}"

    def find_file(self) -> Path | None:
        """The file with its weights on this computer; None if there is none.

        Raises:
            WeightsError: the model's folder holds several.
        """
        if self.folder is not None:
            return folder_weights(self.folder)
        return None if self.published is None else self.published.cached()

    @property
    def weights_title(self) -> str:
        """What the weights that :meth:`find_file` finds are called."""
        if self.folder is not None:
            return f"{self.folder.name} (folder)"
        return "" if self.published is None else f"{self.published.title} (cache)"

    @property
    def create_arguments(self) -> dict[str, Any]:
        """For timm's ``create_model``, besides the name."""
        facts = {} if self.facts is None else {"pretrained_cfg": dict(self.facts)}
        return {**self.arguments, **facts}


def find_model(name: str) -> TimmModel:
    """What a name means.  Loads timm.

    Raises:
        ConfigError: timm is not installed, or the name means no model, or one whose
            ``config.json`` is not on this computer.
        WeightsError: a folder, or its ``config.json``, cannot be used.
    """
    timm = use_library("timm", extra="timm")
    if name.startswith(FOLDER_SOURCE):
        folder = Path(name.removeprefix(FOLDER_SOURCE)).expanduser()
        if not folder.is_dir():
            raise WeightsError(folder, "is no folder")
        found = _read_config(timm, name, folder / CONFIG_FILE, folder=folder)
    elif name.startswith(HUB_SOURCE):
        repo = HubRepo.parse(name.removeprefix(HUB_SOURCE))
        config = repo.cached([CONFIG_FILE])
        if config is None:
            raise ConfigError(
                "descriptor",
                f"timm:{name} is not on this computer; {FETCHES} it from {Published(repo).address}",
            )
        found = _read_config(timm, name, config, repo=repo)
    else:
        found = _own_model(timm, name)
    _known[name] = found
    return found


def find_published(name: str) -> Published | None:
    """Where the weights of a model can be had; None if nobody published any.

    Raises:
        ConfigError: as :func:`find_model`, but a repository need not be on this computer.
        WeightsError: likewise.
    """
    if name.startswith(HUB_SOURCE):
        repo = HubRepo.parse(name.removeprefix(HUB_SOURCE))
        if repo.cached([CONFIG_FILE]) is None:
            return Published(repo, beside=(CONFIG_FILE,))
    return find_model(name).published


def known_model(name: str) -> TimmModel | None:
    """What :func:`find_model` found before, at once; None if it was not asked."""
    return _known.get(name)


_known: dict[str, TimmModel] = {}


@functools.lru_cache(maxsize=256)
def find_weights_bytes(name: str) -> int | None:
    """About how long the file with a model's weights is; None if that cannot be told.

    The network is built without memory for its numbers, so this takes less than a second.

    Raises:
        ConfigError: as :func:`find_model`.
        WeightsError: likewise.
    """
    import torch

    if name.startswith(HUB_SOURCE) and name not in _known:
        return None  # its architecture is known only once its config.json is here
    model = find_model(name)
    timm = use_library("timm", extra="timm")
    try:
        with torch.device("meta"):
            net = timm.create_model(model.build_name, **model.create_arguments)
    except Exception:  # some architectures compute with their numbers while they are built
        return None
    return _BYTES_PER_NUMBER * sum(int(one.numel()) for one in net.state_dict().values())


def _own_model(timm: Any, name: str) -> TimmModel:
    architecture, _, tag = name.partition(".")
    _check_architecture(timm, architecture)
    published = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in timm.models.get_arch_pretrained_cfgs(architecture):
        listed = ", ".join(one.partition(".")[2] for one in published) or "none"
        raise ConfigError(
            "descriptor",
            f"timm knows no weights {quoted(tag)} of {architecture}; there are {listed}",
        )
    told = timm.models.get_pretrained_cfg(name)
    return TimmModel(name, name, published=None if told is None else _published(told))


def _published(told: Any) -> Published | None:
    url = told.url if isinstance(told.url, str) else ""
    if not told.hf_hub_id:
        return Published(url=url) if url and not told.custom_load else None
    names: tuple[str, ...] = WEIGHTS_FILES
    named = told.hf_hub_filename
    if named and named not in names:
        stem, dot, suffix = named.rpartition(".")
        safe = (f"{stem}.safetensors",) if dot and suffix == "bin" else ()
        names = (*safe, named)
    repo = HubRepo.parse(told.hf_hub_id)
    return Published(repo, names, "" if told.custom_load else url)


def _check_architecture(timm: Any, name: str) -> None:
    if not timm.models.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise ConfigError("descriptor", f"timm {timm.__version__} has no {quoted(name)}{hint}")


# ---- config.json ---------------------------------------------------------------------------------


def _read_config(
    timm: Any, name: str, path: Path, *, folder: Path | None = None, repo: HubRepo | None = None
) -> TimmModel:
    data = read_input(path, WeightsError, missing="is missing, and timm needs it")
    try:
        config = parse_json(data)
        architecture, facts, arguments = _parts(config)
        names: tuple[str, ...] = WEIGHTS_FILES
        if facts.get("hf_hub_filename"):
            names = (safe_file_name(facts["hf_hub_filename"]), *names)
        known = {one.name for one in fields(timm.models.PretrainedCfg)} - _PLACES
        facts = {key: value for key, value in facts.items() if key in known}
        _check_facts(facts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(path, f"does not describe a model of timm ({error})") from error
    _check_architecture(timm, architecture)
    published = None if repo is None else Published(repo, names, beside=(CONFIG_FILE,))
    return TimmModel(name, architecture, facts, arguments, published, folder)


def _parts(config: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Architecture, facts about the weights, and arguments, from either of timm's two layouts."""
    if not isinstance(config, dict):
        raise TypeError("it is no mapping")
    architecture = config.get("architecture")
    if not isinstance(architecture, str):
        raise TypeError("it names no architecture")
    facts = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    if not (isinstance(facts, dict) and isinstance(arguments, dict)):
        raise TypeError("pretrained_cfg and model_args are mappings")
    facts = dict(facts)
    if "num_classes" in config:
        facts["num_classes"] = config["num_classes"]
    kept = {key: value for key, value in arguments.items() if key not in _NOT_OF_THE_NETWORK}
    if kept.get("in_chans") == 3:  # as everywhere here
        del kept["in_chans"]
    return architecture.partition(".")[0], facts, kept


def _check_facts(facts: dict[str, Any]) -> None:
    """Bring numbers into their form, or say what is wrong with them."""
    for key in ("mean", "std"):
        if key in facts:
            numbers = tuple(float(one) for one in facts[key])
            low = 0.0 if key == "std" else -math.inf
            if len(numbers) != 3 or not all(math.isfinite(one) and one > low for one in numbers):
                raise ValueError(f"{key} is {quoted(facts[key])}")
            facts[key] = numbers
    if "input_size" in facts:
        sizes = tuple(facts["input_size"])
        if len(sizes) != 3 or not all(type(one) is int and 0 < one <= 8192 for one in sizes):
            raise ValueError(f"input_size is {quoted(facts['input_size'])}")
        facts["input_size"] = sizes
