"""Settings that are declared once and read everywhere: file, command line, form.

A settings class is a frozen, keyword-only dataclass whose fields are made by :func:`option`::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class DaisyConfig:
        radius_px: float = option(15.0, help="distance of the outermost ring", unit="px", low=1.0)

Field types may be ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal[...]``,
``tuple[T, ...]``, ``tuple[T, T]``, any of these ``| None``, or another settings class (a section).
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import functools
import json
import math
import types
import typing
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from engine.errors import ConfigError, quoted
from engine.files import parse_yaml, read_input

Config = TypeVar("Config")
REQUIRED: Any = dataclasses.MISSING
"""The default of an option that must be given."""

_KEY = "option"
_LINE_ENDS = str.maketrans({"\x85": "\\N", "\u2028": "\\L", "\u2029": "\\P"})


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One setting, as a form, a help page or a command line shows it.

    Attributes:
        name: field name, with its unit as a suffix where it has one, behind the names of its
            sections, with dots.
        kind: what may be entered; ``file`` and ``folder`` are paths to something that exists.
        default: the value when nothing is given; None where it is required.
        choices: the allowed words of a ``choice``, or of ``choices``, which are several words.
        choice_titles: what forms call them, in their order; empty where the words will do.
        optional: None (``none`` in text, an empty field in a form) is allowed.
        title: replaces the name in forms, where the name is too short without its section.
        low, high: inclusive bounds of numbers, each None when unbounded.
        flag: its flag on a command line; "" for an argument without one, None for a setting of a
            section that only ``--set`` reaches.
        metavar: placeholder for the value on help pages.
        group: heading on help pages; "" continues the one before.
        repeated: a command line has the flag once for each value.
        separator: between the values of a ``numbers`` option in text; a space makes them words.
        required: it has no default.
        always: written into command lines even at its default, which may change some day.
    """

    name: str
    kind: Literal["bool", "int", "float", "text", "file", "folder", "choice", "choices", "numbers"]
    default: Any
    help: str
    unit: str = ""
    title: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    choice_titles: tuple[str, ...] = ()
    optional: bool = False
    flag: str | None = None
    metavar: str = ""
    group: str = ""
    repeated: bool = False
    separator: str = ","
    required: bool = False
    always: bool = False

    @property
    def label(self) -> str:
        """The title, or the name as words without its unit: ``warp.radius_px`` -> ``Radius``."""
        return self.title or _bare_name(self.name, self.unit).replace("_", " ").capitalize()

    @property
    def range_text(self) -> str:
        """The allowed values in words, "" when all of the kind are."""
        if self.choices:
            return " | ".join(self.choices)
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"{self.low:.10g} to {self.high:.10g}{unit}"
        if self.low is not None:
            return f"at least {self.low:.10g}{unit}"
        return "" if self.high is None else f"at most {self.high:.10g}{unit}"


def option(
    default: Any,
    *,
    help: str,  # noqa: A002 - the word argparse and every form use
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    folder: bool = False,
    **words: Any,
) -> Any:
    """Declare a setting: a dataclass field that knows its help, unit and range.

    ``default`` is :data:`REQUIRED` where there is none; ``folder`` marks a path to a folder;
    ``words`` are further fields of :class:`OptionInfo`: ``title`` and ``choice_titles`` for forms;
    ``flag``, ``metavar``, ``group``, ``repeated``, ``separator`` and ``always`` for command lines.
    """
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "folder": folder, **words}
    return dataclasses.field(default=default, metadata={_KEY: metadata})


@functools.cache
def describe_options(config: type, *, sections: bool = False) -> tuple[OptionInfo, ...]:
    """The settings of a class in order of declaration.

    Args:
        config: the class.
        sections: include those of its sections, under dotted names, behind its own.
    """
    return tuple(_describe(config, "", sections))


def _describe(config: type, prefix: str, sections: bool) -> Iterator[OptionInfo]:
    hints = _hints_of(config)
    inner = []
    for field in dataclasses.fields(config):
        hint, optional = _without_none(hints[field.name])
        if dataclasses.is_dataclass(hint):
            inner.append((typing.cast("type", hint), f"{prefix}{field.name}."))
            continue
        words = {"help": "", **field.metadata.get(_KEY, {})}
        folder = words.pop("folder", False)
        flag = "--" + _bare_name(field.name, words.get("unit", "")).replace("_", "-")
        kind: Any = "folder" if folder else _kind(hint)
        info = OptionInfo(
            name=prefix + field.name,
            kind=kind,
            default=_default(field),
            choices=_choices(hint),
            optional=optional,
            required=field.default is field.default_factory is dataclasses.MISSING,
            **{"flag": None if prefix else flag, **words},
        )
        yield info
    for section, name in inner if sections else ():
        yield from _describe(section, name, sections)


@functools.lru_cache(maxsize=256)
def _hints_of(config: Hashable) -> Mapping[str, Any]:
    """The types of the settings of a class; evaluating their text takes most of building one."""
    return typing.get_type_hints(config)


def read_option(config: type, name: str, value: Any) -> Any:
    """The value of one setting, checked as :func:`build_config` does it.

    Args:
        config: the settings class.
        name: of the setting, with dots if it is in a section.
        value: as from YAML or a form; text is accepted for any kind.

    Raises:
        ConfigError: the value is wrong.
    """
    section, _, rest = name.partition(".")
    hint = _hints_of(config)[section]
    if rest:
        return read_option(hint, rest, value)
    metadata = next(field.metadata for field in dataclasses.fields(config) if field.name == name)
    return _coerce(hint, value, metadata.get(_KEY, {}), name)


def build_config(config: type[Config], values: Mapping[str, Any], *, where: str = "") -> Config:
    """Make a settings object from plain values, strictly.

    Args:
        config: the settings class.
        values: field name -> value, as from YAML or a form; text is accepted for any kind.
        where: dotted prefix for messages.

    Raises:
        ConfigError: an unknown name (with the nearest known one) or a value out of its range.
    """
    hints = _hints_of(typing.cast("Hashable", config))
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


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names: ``{"a": {"b": 1}}`` -> ``{"a.b": 1}``."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flatten(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under dotted names as sections: the inverse of :func:`flatten`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return result


def option_text(value: Any, separator: str = ",") -> str:
    """A value as a command line or a file has it; settings read it back."""
    if isinstance(value, tuple | list):
        return separator.join(map(option_text, value))
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    return _shown(value) if isinstance(value, float) else str(value)


def override_texts(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Nested values as texts ``a.b=c``: :func:`parse_overrides` reads them back."""
    texts = []
    for name, value in flatten(values).items():
        text = option_text(value) or "[]"
        # What YAML would read as something else is quoted.
        quoted = isinstance(value, str) and _read_override(value) != value
        texts.append(f"{name}={_in_quotes(value) if quoted else text}")
    return tuple(texts)


def _in_quotes(text: str) -> str:
    """A text as JSON writes it, which YAML reads, but for the line ends that only YAML knows."""
    return json.dumps(text, ensure_ascii=False).translate(_LINE_ENDS)


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
    data = read_input(path, lambda path, reason: ConfigError(str(path), reason))
    try:
        values = parse_yaml(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "cannot be read (it is not text in UTF-8)") from error
    except ValueError as error:
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
        value = parse_yaml(text)
    except ValueError:
        return text
    known = isinstance(value, str | bool | int | float | list | dict) or value is None
    return value if known else text.strip()


def _bare_name(name: str, unit: str) -> str:
    """A name without its sections and its unit."""
    last = name.rpartition(".")[2]
    return last.removesuffix(f"_{unit}") if unit else last


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    made = field.default_factory
    return None if made is dataclasses.MISSING else made()


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
        inner = typing.get_args(hint)[0]
        return "choices" if typing.get_origin(inner) is Literal else "numbers"
    return {bool: "bool", int: "int", float: "float", str: "text", Path: "file"}[hint]


def _choices(hint: Any) -> tuple[str, ...]:
    """The words that a setting of one or of several words allows."""
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    return tuple(map(str, typing.get_args(hint))) if typing.get_origin(hint) is Literal else ()


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
        for word in words:  # a form and a command line give the number 2 as the text "2"
            if (type(value) is type(word) and value == word) or value == str(word):
                return word
        raise ConfigError(where, f"{quoted(value)} is not one of {', '.join(map(str, words))}")
    if typing.get_origin(hint) is tuple:
        parts = value
        if isinstance(value, str):
            separator = limits.get("separator", ",")
            text = value.lower() if separator.isalpha() else value
            parts = text.split(separator) if text.strip() else []
        if not isinstance(parts, list | tuple):
            parts = [parts]
        inner, *others = typing.get_args(hint)
        if Ellipsis not in others and len(parts) != 1 + len(others):
            raise ConfigError(where, f"{quoted(value)} is not {limits.get('metavar', 'a group')}")
        return tuple(_coerce(inner, part, limits, where) for part in parts)
    return _coerce_scalar(hint, value, limits, where)


def typed_path(text: str, where: str) -> Path:
    """The path that a person typed, with ``~`` for a home folder; nothing has to be there.

    Args:
        text: the path.
        where: what it was typed for, as errors name it.

    Raises:
        ConfigError: it is empty, names a user that does not exist, or can be no file's name.
    """
    if not text.strip():  # it would be the current folder
        raise ConfigError(where, "is empty, and a path is needed")
    try:
        path = Path(text).expanduser()
        path.lstat()
    except RuntimeError as error:  # no such user
        raise ConfigError(where, f"{quoted(text)} cannot be found ({error})") from error
    except ValueError as error:  # a zero byte
        raise ConfigError(where, f"{quoted(text)} cannot be used ({error})") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            reason = f"{quoted(text)} cannot be used ({error.strerror})"
            raise ConfigError(where, reason) from error
    return path


def _coerce_scalar(hint: type, value: Any, limits: Mapping[str, Any], where: str) -> Any:
    if hint is bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ConfigError(where, f"{quoted(value)} is neither true nor false")
    if hint in (str, Path):
        if isinstance(value, bool) or not isinstance(value, str | Path | int | float):
            raise ConfigError(where, f"{quoted(value)} is not text")
        if hint is str:
            return str(value)
        return typed_path(str(value), where)
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
        raise ConfigError(where, f"{quoted(value)} is not {word}")
    try:
        if hint is int and not isinstance(value, float):
            with contextlib.suppress(ValueError):
                return int(value)  # a float would lose the last digits of a large seed
        number = float(value)
    except (ValueError, OverflowError):
        raise ConfigError(where, f"{quoted(value)} is not {word}") from None
    if not math.isfinite(number) or (hint is int and number != int(number)):
        raise ConfigError(where, f"{quoted(value)} is not {word}")
    return int(number) if hint is int else number


def _shown(number: float) -> str:
    """A number with all its digits, and without a needless ``.0``."""
    return repr(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
