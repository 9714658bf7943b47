"""The settings of a training run as file, command line and form give them; needs no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from engine.config import (
    build_config,
    config_values,
    describe_options,
    merge,
    option,
    parse_overrides,
)
from engine.errors import ConfigError
from engine.jobs.evaluate_settings import EvaluateConfig
from engine.jobs.settings import SECTION
from engine.training.settings import TrainSettings

_CONFIG_NAMES: Final = frozenset({"descriptor", "device", "train"})
_OTHER_NAMES: Final = {info.name for info in describe_options(EvaluateConfig)} - _CONFIG_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What is trained, where, and how."""

    descriptor: str = option("msnet_v0", help="registered name; 'descriptors' lists them")
    device: str = option("auto", help="where to compute: auto, cpu, cuda or cuda:0")
    train: TrainSettings = field(default_factory=TrainSettings)


def resolve_training(
    *,
    from_file: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    original: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[TrainConfig, dict[str, Any]]:
    """Lay file, ``--set``, the original's overrides and flags over the defaults, in this order.

    Args:
        from_file: the values of a YAML file; what is there for evaluations is passed over.
        overrides: texts ``train.steps=500`` or, for the descriptor's own, ``settings.name=value``.
        original: nested values that overrides in the original's names came to; see
            :mod:`engine.jobs.original_overrides`.
        flags: nested values of the command line's own flags; None means not given.

    Returns:
        The settings, and the descriptor's own.

    Raises:
        ConfigError: a setting has a wrong name or value.
    """
    mine = {name: v for name, v in (from_file or {}).items() if name not in _OTHER_NAMES}
    values = merge(mine, parse_overrides(overrides), original or {}, _given(flags or {}))
    own = values.pop(SECTION, None) or {}
    if not isinstance(own, Mapping):
        raise ConfigError(SECTION, "is a section and needs names and values")
    return build_config(TrainConfig, values), dict(own)


def config_text(config: TrainConfig, own: Mapping[str, Any]) -> str:
    """The settings as the text of a config file, which :func:`resolve_training` reads back."""
    values = config_values(config)
    if own:
        values[SECTION] = dict(own)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def differing(before: TrainConfig, now: TrainConfig) -> tuple[str, ...]:
    """The dotted names of the settings in which two runs differ."""
    one, other = _flat(config_values(before)), _flat(config_values(now))
    return tuple(name for name in one if one[name] != other.get(name))


def override_lines(
    names: Iterable[str],
    before: tuple[TrainConfig, Mapping[str, Any]] | None,
    now: tuple[TrainConfig, Mapping[str, Any]],
    *,
    sources: Mapping[str, str],
) -> tuple[str, ...]:
    """What overrides changed, a line for each, so that nobody trains something else unawares.

    Args:
        names: dotted names that were overridden.
        before: the settings and the descriptor's own without the overrides; None if they were
            wrong without them.
        now: the same with them.
        sources: dotted name -> where the override came from, for those that came from elsewhere.
    """
    old, new = ({} if both is None else _flat_all(*both) for both in (before, now))
    lines = []
    for name in names:
        value = _as_word(new.get(name))
        source = f" ({sources[name]})" if name in sources else ""
        if name not in old:
            lines.append(f"{name}: is {value}{source}")
        elif old[name] == new.get(name):
            lines.append(f"{name}: stays {value}{source}")
        else:
            lines.append(f"{name}: {_as_word(old[name])} becomes {value}{source}")
    return tuple(lines)


def overridden_names(overrides: Iterable[str]) -> tuple[str, ...]:
    """The dotted names that texts ``name=value`` set, each once.

    Raises:
        ConfigError: a text is no override.
    """
    return tuple(_flat(parse_overrides(overrides)))


def train_command(
    config: TrainConfig,
    own: Mapping[str, Any],
    *,
    run_dir: Path | None = None,
    plugins: Iterable[Path] = (),
) -> str:
    """The command line that trains the same again."""
    words = ["python", "main.py", "train"]
    plain = _flat(config_values(TrainConfig()))
    for name, value in _flat(config_values(config)).items():
        if value == plain[name]:
            continue
        if name == "train.photos.folder":
            words += ["--photos", str(value)]
        else:
            words += ["--set", f"{name}={_as_word(value)}"]
    for name, value in _flat(dict(own)).items():
        words += ["--set", f"{SECTION}.{name}={_as_word(value)}"]
    for plugin in plugins:
        words += ["--plugin", str(plugin)]
    if run_dir is not None:
        words += ["--run-dir", str(run_dir)]
    return shlex.join(words)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values without those that are None."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = _given(value)
            if inner:
                result[name] = inner
        elif value is not None:
            result[name] = value
    return result


def _flat_all(config: TrainConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    return _flat({**config_values(config), SECTION: dict(own)})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= _flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


def _as_word(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
