"""The files of a model of transformers: its config, its weights, and its colours.

A model is a folder as ``save_pretrained`` writes it, or a name on the Hugging Face hub whose files
are in the cache already.  Nothing is downloaded, and code that a folder brings along is never run.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from engine.descriptors.families.hub_files import CONFIG_FILE, HubRepo, cached_repos, listed_parts
from engine.descriptors.families.libraries import FETCHES
from engine.descriptors.families.transformers_kinds import KINDS, LARGER, NAMES, Colours
from engine.errors import ConfigError, WeightsError, quoted
from engine.files import parse_json, read_input
from engine.progress import tell_choice

WEIGHTS_FILES: Final = ("model.safetensors", "pytorch_model.bin")
LIST_SUFFIX: Final = ".index.json"  # behind the name of weights in several parts
# Where a folder says how colours are normalised, and under which name.
COLOUR_FILES: Final = (
    ("preprocessor_config.json", ""),
    ("processor_config.json", "image_processor"),
)
# What a config may hold beside the architecture: where to get code, kernels or weights from, and
# what to return, which is refused or decided here.
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


def find_model(model: str) -> FoundModel:
    """What the name of a model stands for: a folder, a name on the hub, or a kind.

    Raises:
        ConfigError: nothing of this name is on this machine.
        WeightsError: the folder's config is missing, damaged, of a model without an image encoder,
            or wants code of its own to be run.
    """
    folder = find_folder(model)
    if folder is None:
        if model not in NAMES:
            _unknown(model)
        kind = LARGER.get(model, model)
        return FoundModel(kind, json.dumps({"model_type": kind}), None)
    path = folder / CONFIG_FILE
    values = read_config(path)
    if values.get(_FOREIGN_CODE):
        raise WeightsError(path, "asks for code of its own to be run, which is never done")
    if values.get(_QUANTISED):
        raise WeightsError(path, "is of quantised weights; use those the model was trained with")
    told = values.get("model_type")
    if told in KINDS:
        return FoundModel(str(told), _text(values), folder)
    if told is None and "architecture" in values:
        raise WeightsError(path, f"is of a model of timm: open it by timm:local-dir:{folder}")
    if told not in LARGER:
        raise WeightsError(
            path,
            f"is of a model of the kind {quoted(told)}; known are the image encoders of "
            f"{_listed()}",
        )
    kind = LARGER[str(told)]
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
        if is_path(model):
            reason = "is a file; name the folder that it lies in" if path.is_file() else ""
            raise WeightsError(path, reason or "there is no such folder")
    except ValueError:  # no path can have this name
        return None
    if not is_hub_name(model) or (not load and "huggingface_hub" not in sys.modules):
        return None
    try:
        config = HubRepo.parse(model).cached((CONFIG_FILE,))
    except ConfigError:  # no name of the hub
        return None
    return None if config is None else config.parent


def is_path(model: str) -> bool:
    """Plainly a path, whether there is something or not."""
    return Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1


def is_hub_name(model: str) -> bool:
    """Whether it has the form OWNER/NAME and is no folder here."""
    return model.count("/") == 1 and not Path(model).is_dir()


def weights_files(folder: Path) -> tuple[Path, ...]:
    """The files with the weights of a folder, in the order they are read; none if it has none.

    Raises:
        WeightsError: the list of its files is damaged, or names files that are missing.
    """
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return (folder / name,)
        index = folder / f"{name}{LIST_SUFFIX}"
        if index.is_file():
            parts = listed_parts(index)
            for one in parts:
                if not (folder / one).is_file():
                    raise WeightsError(index, f"lists {quoted(one)}, which is not in its folder")
            return tuple(folder / one for one in parts)
    return ()


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a JSON file.

    Raises:
        WeightsError: there is none, or it is damaged.
    """
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


def colours_of(found: FoundModel) -> Colours:
    """Mean and deviation by which colours in [0, 1] are normalised.

    The defaults of the library's image processors are no help: that of DINOv2 is CLIP's.

    Raises:
        WeightsError: what a file says of it cannot be used.
    """
    folder = found.folder
    usual = KINDS[found.kind].colours
    if folder is None:
        return usual
    for name, part in COLOUR_FILES:
        path = folder / name
        if not path.is_file():
            continue
        values = read_config(path)
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
    known = [*NAMES, *cached_repos()]
    near = difflib.get_close_matches(model, known, n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    if is_hub_name(model):
        reason = f"is no folder, and not in the cache of the Hugging Face hub: {FETCHES} it"
    else:
        reason = f"is no folder, no OWNER/NAME of the Hugging Face hub, and none of {_listed()}"
    raise ConfigError("descriptor", f"transformers:{model} {reason}{hint}")


def _listed() -> str:
    return ", ".join(NAMES)
