"""Settings that are declared once and read everywhere: file, command line, form.

A settings class is a frozen, keyword-only dataclass whose fields are made by :func:`option`::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class DaisyConfig:
        radius_px: float = option(15.0, help="distance of the outermost ring", unit="px", low=1.0)

Field types may be ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal[...]``,
``tuple[T, ...]``, any of these ``| None``, or another settings class (a section).
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from engine.errors import ConfigError

Config = TypeVar("Config")
_KEY = "option"


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One setting, as a form or a help page shows it.

    Attributes:
        name: field name, with its unit as a suffix where it has one; a form may put the names of
            its sections before it, with dots.
        kind: what may be entered; ``file`` is a path to an existing file, and ``folder``, which a
            form has to say by itself, one to an existing folder.
        default: the value when nothing is said.
        choices: the allowed words of a ``choice``.
        optional: None (``none`` in text, an empty field in a form) is allowed.
        low, high: inclusive bounds of numbers, each None when unbounded.
    """

    name: str
    kind: Literal["bool", "int", "float", "text", "file", "folder", "choice", "numbers"]
    default: Any
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False

    @property
    def label(self) -> str:
        """The name as words, without sections and unit: ``warp.radius_px`` -> ``Radius``."""
        last = self.name.rpartition(".")[2]
        name = last.removesuffix(f"_{self.unit}") if self.unit else last
        return name.replace("_", " ").capitalize()


def option(
    default: Any,
    *,
    help: str,  # noqa: A002 - the word argparse and every form use
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a setting: a dataclass field that knows its help, unit and range."""
    metadata = {_KEY: {"help": help, "unit": unit, "low": low, "high": high}}
    return dataclasses.field(default=default, metadata=metadata)


def describe_options(config: type) -> tuple[OptionInfo, ...]:
    """The settings of a class in order of declaration; sections are left out."""
    hints = typing.get_type_hints(config)
    infos = []
    for field in dataclasses.fields(config):
        hint, optional = _without_none(hints[field.name])
        if dataclasses.is_dataclass(hint):
            continue
        factory = field.default_factory
        infos.append(
            OptionInfo(
                name=field.name,
                kind=_kind(hint),
                default=field.default if factory is dataclasses.MISSING else factory(),
                choices=tuple(str(word) for word in typing.get_args(hint))
                if typing.get_origin(hint) is Literal
                else (),
                optional=optional,
                **field.metadata.get(_KEY, {"help": ""}),
            )
        )
    return tuple(infos)


def build_config(config: type[Config], values: Mapping[str, Any], *, where: str = "") -> Config:
    """Make a settings object from plain values, strictly.

    Args:
        config: the settings class.
        values: field name -> value, as from YAML or a form; text is accepted for any kind.
        where: dotted prefix for messages.

    Raises:
        ConfigError: an unknown name (with the nearest known one) or a value out of its range.
    """
    hints = typing.get_type_hints(config)
    fields = {field.name: field for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    made: dict[str, Any] = {}
    for name, value in values.items():
        dotted = f"{where}.{name}" if where else str(name)
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ConfigError(dotted, "there is no such setting" + (hint if fields else ""))
        made[name] = _coerce(hints[name], value, fields[name].metadata.get(_KEY, {}), dotted)
    return config(**made)


def config_values(config: Any) -> dict[str, Any]:
    """A settings object as plain YAML-able values: the inverse of :func:`build_config`."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Path):
            return str(value)
        return [plain(part) for part in value] if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(config)
    return result


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``a.b=c`` texts into nested plain values; each right side is read as YAML.

    What YAML would take for a date, or cannot read, stays the text it is.

    Raises:
        ConfigError: a text without ``=``, a name with an empty part, or a name that is both a value
            and a section.
    """
    result: dict[str, Any] = {}
    for text in assignments:
        name, equals, right = text.partition("=")
        parts = [part.strip() for part in name.split(".")]
        if not (equals and all(parts)):
            raise ConfigError(text, "an override is written name=value")
        both = ConfigError(name.strip(), "is given both as a value and as a section")
        *sections, last = parts
        target = result
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise both
        value = _read_override(right)
        if isinstance(target.get(last), dict) and not isinstance(value, dict):
            raise both
        target[last] = value
    return result


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: unreadable, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigError(str(path), f"is not valid YAML ({error})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(str(path), "must hold names and values")
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay nested values over one another; later layers win, section by section."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below = result.get(name)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                result[name] = merge(below, value)
            else:
                result[name] = merge(value) if isinstance(value, Mapping) else value
    return result


def _read_override(text: str) -> Any:
    """One right side as YAML, or the text itself."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    known = isinstance(value, str | bool | int | float | list | dict) or value is None
    return value if known else text.strip()


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        assert len(rest) == 1, f"a setting has one type, not {hint}"
        return rest[0], True
    return hint, False


def _kind(hint: Any) -> Any:
    if typing.get_origin(hint) is Literal:
        return "choice"
    if typing.get_origin(hint) is tuple:
        return "numbers"
    return {bool: "bool", int: "int", float: "float", str: "text", Path: "file"}[hint]


def _coerce(hint: Any, value: Any, limits: Mapping[str, Any], where: str) -> Any:
    hint, optional = _without_none(hint)
    if value is None or (optional and value in ("", "none")):
        if optional:
            return None
        raise ConfigError(where, "needs a value")
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(where, "is a section and needs names and values")
        return build_config(typing.cast("type[Any]", hint), value, where=where)
    if typing.get_origin(hint) is Literal:
        words = typing.get_args(hint)
        for word in words:  # a form and a command line say the number 2 as the text "2"
            if (type(value) is type(word) and value == word) or value == str(word):
                return word
        raise ConfigError(where, f"{value!r} is not one of {', '.join(map(str, words))}")
    if typing.get_origin(hint) is tuple:
        parts = value
        if isinstance(value, str):
            parts = value.split(",") if value.strip() else []
        if not isinstance(parts, list | tuple):
            parts = [parts]
        inner = typing.get_args(hint)[0]
        return tuple(_coerce(inner, part, limits, where) for part in parts)
    return _coerce_scalar(hint, value, limits, where)


def _coerce_scalar(hint: type, value: Any, limits: Mapping[str, Any], where: str) -> Any:
    if hint is bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ConfigError(where, f"{value!r} is neither true nor false")
    if hint in (str, Path):
        if isinstance(value, bool) or not isinstance(value, str | Path | int | float):
            raise ConfigError(where, f"{value!r} is not text")
        return Path(value).expanduser() if hint is Path else str(value)  # type: ignore[arg-type]
    number = _number(hint, value, where)
    low, high = limits.get("low"), limits.get("high")
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = " and ".join(
            text
            for text in (
                f"at least {_shown(low)}" if low is not None else "",
                f"at most {_shown(high)}" if high is not None else "",
            )
            if text
        )
        raise ConfigError(where, f"{_shown(number)} is out of range, it must be {bounds}")
    return number


def _number(hint: type, value: Any, where: str) -> int | float:
    word = "a whole number" if hint is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigError(where, f"{value!r} is not {word}")
    try:
        if hint is int and not isinstance(value, float):
            with contextlib.suppress(ValueError):
                return int(value)  # a float would lose the last digits of a large seed
        number = float(value)
    except (ValueError, OverflowError):
        raise ConfigError(where, f"{value!r} is not {word}") from None
    if not math.isfinite(number) or (hint is int and number != int(number)):
        raise ConfigError(where, f"{value!r} is not {word}")
    return int(number) if hint is int else number


def _shown(number: float) -> str:
    """A number with all its digits, and without a needless ``.0``."""
    return repr(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
