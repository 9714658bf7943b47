"""The settings of an evaluation, declared once; needs neither numpy nor torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from engine.config import build_config, describe_options, merge, option, parse_overrides
from engine.errors import ConfigError
from engine.jobs.settings import SECTION, TRAIN_SECTION
from engine.vocabulary import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """What is measured, on what, and how."""

    dataset: str = option(
        "", help="folder of sequences; demo; HPATCHES, HPATCHES_ILLUM or HPATCHES_VIEW in the data "
        "folder; rotated:… and scaled:… make harder pairs of any of them",
    )  # fmt: skip
    descriptor: tuple[str, ...] = option(
        ("descspace",), help="registered names, each with its weights file or run folder behind '='"
    )
    protocol: Literal["seed", "closed", "dense"] = option(
        "closed", help="as the original's code measures; the same without its faults; or over the "
        "whole image",
    )  # fmt: skip
    subset: Literal["all", "viewpoint", "illumination", "540"] = option(
        "all", help="which sequences; 540 leaves the eight large ones of HPatches out"
    )
    threshold_px: tuple[float, ...] = option(
        (1.0, 3.0, 5.0), help="a match this close to the truth is right", unit="px",
        low=0.0, high=1000.0,
    )  # fmt: skip
    matcher: Literal["exact", "flann"] = option(
        "exact", help="exact search, or OpenCV's approximate one with its defaults"
    )
    queries: Literal["protocol", "harris", "uniform", "both"] = option(
        "protocol", help="the lists of queries; 'protocol' takes what the protocol says"
    )
    query_limit: int = option(
        1000, help="queries of a pair and list, at most", low=1, high=1_000_000
    )
    grid_stride_px: Literal[4, 1] = option(
        4, help="distance of the places searched by the protocol dense", unit="px"
    )
    long_edge_px: int = option(
        640, help="every image is brought to this long edge", unit="px", low=32, high=4096
    )
    seed: int = option(0, help="of the random choice of queries and of the intervals", low=0)
    device: str = option("auto", help="where to compute: auto, cpu, cuda or cuda:0")
    precision: Precision = option(
        "float32", help="arithmetic of networks; reduced only where it changes no match"
    )


def resolve_evaluation(
    *,
    from_file: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> tuple[EvaluateConfig, dict[str, Any]]:
    """Lay file, ``--set`` and flags over the defaults, in this order.

    One file may serve training and evaluation: a ``train`` section is left to the training.  The
    data set may also be written ``dataset.test``, as the original's configs have it.  A name
    that is no setting of the evaluation is one of the descriptor's own, as in
    :func:`engine.jobs.settings.resolve_settings`.

    Args:
        from_file: the values of a YAML file.
        overrides: texts ``name=value``.
        flags: values of the command line's own flags; None means not given.

    Returns:
        The settings, and those of the descriptors; see :func:`settings_of`.

    Raises:
        ConfigError: a setting with a wrong value, or a name written as two kinds of thing.
    """
    names = {field.name for field in fields(EvaluateConfig)}
    own: dict[str, Any] = {}
    descriptor: dict[str, Any] = {}
    for layer in (dict(from_file or {}), parse_overrides(overrides)):
        layer.pop(TRAIN_SECTION, None)
        section = layer.pop(SECTION, None)
        if section is not None and not isinstance(section, Mapping):
            raise ConfigError(SECTION, "is a section and needs names and values")
        if isinstance(layer.get("dataset"), Mapping):
            layer["dataset"] = _test_set(layer["dataset"])
        own |= {name: value for name, value in layer.items() if name in names}
        loose = {name: value for name, value in layer.items() if name not in names}
        descriptor = merge(descriptor, loose, section or {})
    own |= {name: value for name, value in (flags or {}).items() if value is not None}
    return build_config(EvaluateConfig, own), descriptor


def settings_of(name: str, names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are meant for one of several descriptors.

    Args:
        name: the descriptor's registered name.
        names: of all descriptors that take part.
        values: settings for the one there is, or sections by descriptor (``daisy.stride_px=4``).

    Raises:
        ConfigError: a setting that could be any descriptor's, or a section of none.
    """
    every = set(names)
    mine: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            if key not in every:
                raise ConfigError(key, f"is no descriptor here; there are {', '.join(every)}")
            mine |= value if key == name else {}
        elif len(every) == 1:
            mine[key] = value
        else:
            raise ConfigError(key, f"whose setting is this? Write it as {name}.{key}")
    return mine


def split_descriptor(text: str) -> tuple[str, Path | None]:
    """``NAME`` or ``NAME=FILE`` or ``NAME=RUN_DIR`` in its parts.

    Raises:
        ConfigError: there is no name, or nothing behind the equals sign.
    """
    name, equals, place = text.partition("=")
    if not name.strip() or (equals and not place.strip()):
        raise ConfigError("descriptor", f"{text!r} is neither NAME nor NAME=WEIGHTS")
    return name.strip(), Path(place.strip()).expanduser() if equals else None


def evaluate_command(
    config: EvaluateConfig,
    values: Mapping[str, Any],
    *,
    out: Path | None = None,
    data_folder: Path | None = None,
    plugins: Sequence[Path] = (),
    strict: bool = False,
) -> str:
    """The command line that measures the same again.

    Args:
        config: the settings.
        values: the descriptors' own settings, as from :func:`resolve_evaluation`.
        out: the run's folder; None leaves it out.
        data_folder: where ``HPATCHES`` is looked for.
        plugins: the person's own files.
        strict: whether a broken pair ends the run.
    """
    words = ["python", "main.py", "evaluate", "--dataset", config.dataset]
    for text in config.descriptor:
        words += ["--descriptor", text]
    for info in describe_options(EvaluateConfig):
        value = getattr(config, info.name)
        always = info.name == "protocol"
        if info.name in ("dataset", "descriptor") or (value == info.default and not always):
            continue
        name = info.name.removesuffix(f"_{info.unit}") if info.unit else info.name
        words += [f"--{name.replace('_', '-')}", _as_word(value)]
    for name, value in _flat(values):
        words += ["--set", f"{name}={_as_word(value)}"]
    for flag, paths in (("--plugin", plugins), ("--data", [data_folder]), ("--out", [out])):
        for path in paths:
            words += [flag, str(path)] if path is not None else []
    return shlex.join([*words, "--strict"] if strict else words)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_word(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ",".join(map(_as_word, value))
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    return repr(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _test_set(section: Mapping[str, Any]) -> Any:
    unknown = [name for name in section if name != "test"]
    if unknown or "test" not in section:
        raise ConfigError(
            f"dataset.{unknown[0]}" if unknown else "dataset",
            "an evaluation knows dataset.test alone",
        )
    return section["test"]
