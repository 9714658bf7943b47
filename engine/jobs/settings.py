"""The settings of all jobs, and the stack that resolves them: file, ``--set``, names, flags.

Nothing here loads numpy or torch, so that the command line can print its help at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import yaml

from engine.config import (
    build_config,
    config_values,
    flatten,
    merge,
    option,
    parse_overrides,
    typed_path,
)
from engine.descriptors.model_names import FILE_FAMILIES
from engine.descriptors.remembered import mention
from engine.errors import ConfigError, quoted
from engine.metrics import MetricFamily
from engine.training.settings import TrainSettings
from engine.vocabulary import SEPARATION_PX, PairMatcher, PointsKind, Precision

Config = TypeVar("Config")

SECTION: Final = "settings"
"""The section with a descriptor's own settings."""

ORACLE_PREFIX: Final = "oracle:"
"""Before a descriptor's name: it is given the true scales."""

PLUGIN: Final = "plugin"
"""The section that tells which files registered the descriptors of a run.  Nothing runs them."""

_DEVICE_HELP: Final = "where to compute: auto, cpu, cuda or cuda:0"
_PRECISION_HELP: Final = "arithmetic of networks; reduced only where it changes no match"


# What evaluate and study ask alike, each among its own settings.


def _grid_stride_px() -> Any:
    return option(4, help="spacing of the places that the protocol 'dense' searches", unit="px")


def _measured_edge_px() -> Any:
    return option(640, help="resize every image to this long edge", unit="px", low=32, high=4096)


def _value_range() -> Any:
    return option(
        None, help="which values of the image files are black and white, such as 0,4095; by "
        "default what each file states or its values suggest",
        flag="--range", metavar="BLACK,WHITE",
    )  # fmt: skip


def _measuring_seed() -> Any:
    return option(0, help="seed of the random choice of queries and of the intervals", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig:
    """How an image becomes dense maps."""

    descriptor: str = option(
        "descspace", help="registered name; 'descriptors' lists them", group="descriptor"
    )
    weights: Path | None = option(None, help="weights file of the descriptor")
    long_edge_px: int = option(
        640, help="shrink images to this long edge first; 0 keeps their size", unit="px",
        low=0, high=16384,
    )  # fmt: skip
    device: str = option("auto", help=_DEVICE_HELP)
    precision: Precision = option("float32", help=_PRECISION_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchConfig(DescribeConfig):
    """How points of one image are matched to another image."""

    points: PointsKind = option("harris", help="how points are chosen", group="which points")
    count: int = option(500, help="number of points, at most", low=1, high=1_000_000)
    seed: int = option(0, help="seed of the random choice of points", low=0)
    separation_px: float = option(
        SEPARATION_PX, unit="px",
        help="for the ratio, the second best match is at least this far from the best, in pixels "
        f"as described; confidences are known at {SEPARATION_PX:g} px only",
        low=1.0, high=4096.0,
    )  # fmt: skip
    refine: bool = option(
        True, help="look for matches between the cells of image B's map; without it a match is "
        "the centre of the most similar cell"
    )  # fmt: skip
    matcher: PairMatcher = option(
        "exact", help="the most similar place for each point; or that of its best places, apart "
        "from each other, which the points around it speak for"
    )  # fmt: skip
    min_confidence: float = option(
        0.0, help="leave out matches that are less sure than this, and those whose confidence is "
        "not known; 0 keeps all", low=0.0, high=1.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """What is measured, on what, and how."""

    dataset: str = option(
        "", help="folder or file with pairs, whose layout is recognised (LAYOUT:PATH names it); "
        "demo; HPATCHES, HPATCHES_ILLUM or HPATCHES_VIEW in the data folder; rotated:… and "
        "scaled:… make harder pairs of any of them",
        group="what to measure",
    )  # fmt: skip
    descriptor: tuple[str, ...] = option(
        ("descspace",), help="registered name, with its weights file or the folder of a run, whose "
        "last checkpoint is used; can be given several times; oracle:msnet_v2 knows the true "
        "scales", metavar="NAME[=FILE]", repeated=True, always=True,
    )  # fmt: skip
    protocol: Literal["seed", "closed", "dense"] = option(
        "closed", help="as the original's code measures; the same without its faults; or over the "
        "whole image", group="how to measure", always=True,
    )  # fmt: skip
    subset: str = option(
        "all", help="which part of the set, by the name that the set gives it, such as viewpoint; "
        "540 leaves out the eight large sequences of HPatches"
    )  # fmt: skip
    group: tuple[str, ...] = option(
        (), help="only this sequence, scene or class of the set; can be given several times; by "
        "default all of them", metavar="NAME", repeated=True,
    )  # fmt: skip
    without_learned: bool = option(
        False, help="leave out every sequence, scene or class with an image that the weights of a "
        "descriptor learned from, instead of refusing the set"
    )  # fmt: skip
    threshold_px: tuple[float, ...] = option(
        (1.0, 3.0, 5.0), help="a match within this distance of the truth is right", unit="px",
        low=0.0, high=1000.0,
    )  # fmt: skip
    matcher: Literal[PairMatcher, "flann"] = option(
        "exact", help="the most similar place, by exact search; that of several places which the "
        "queries around speak for; or OpenCV's approximate search with its defaults"
    )  # fmt: skip
    queries: Literal["protocol", "harris", "uniform", "both"] = option(
        "protocol",
        help="the lists of queries where the truth is dense; 'protocol' uses those of "
        "the protocol; a truth that lists points makes these the queries",
    )
    query_limit: int = option(
        1000, help="queries of a pair and list, at most", low=1, high=1_000_000
    )
    grid_stride_px: Literal[4, 1] = _grid_stride_px()
    refine: bool = option(
        False, help="look for matches between the places that the protocol 'dense' and the metrics "
        "beyond PCK search, as match does",
    )  # fmt: skip
    long_edge_px: int = _measured_edge_px()
    value_range: tuple[float, float] | None = _value_range()
    seed: int = _measuring_seed()
    device: str = option("auto", help=_DEVICE_HELP)
    precision: Precision = option("float32", help=_PRECISION_HELP)
    metric: tuple[Literal["all", MetricFamily], ...] = option(
        (), help="also measure these: PCK within a share of the object's box; the error of all "
        "pixels; mutual matches as found; corners of the homography, or the pose, estimated from "
        "these; round trips; how matches move with their queries; by default only what costs "
        "nothing", group="metrics beyond PCK",
    )  # fmt: skip
    found_on: Literal["grid", "keypoints"] = option(
        "grid", help="among which points of both images mutual matches are found"
    )
    keypoint_limit: int = option(2048, help="keypoints of an image, at most", low=1, high=1_000_000)
    metric_stride_px: int = option(
        4, help="spacing of the grid that these metrics match and search", unit="px", low=1, high=64
    )
    estimator: Literal["opencv", "poselib"] = option(
        "opencv", help="of homographies and poses: MAGSAC++ in OpenCV, or PoseLib"
    )
    inlier_px: float = option(
        3.0, help="a match this close to what is estimated is an inlier", unit="px", low=0.01,
        high=1000.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """Whose layers are studied, on what, and how."""

    descriptor: str = option(
        "", help="a network by its name, such as timm:resnet18 (with @3,7 only these layers), or "
        "any registered name; with its weights file", flag="", metavar="NAME[=FILE]",
        group="what to study",
    )  # fmt: skip
    dataset: str = option(
        "", help="as for evaluate: a folder or file with pairs, demo, HPATCHES, …"
    )
    layers: str = option(
        "all", help="which layers: all, or their numbers or names", metavar="all|N,N,…"
    )
    pairs: int = option(
        20, help="how many pairs, at most, spread over the groups; 0 for all", low=0,
        group="how to measure",
    )  # fmt: skip
    remove_position: int = option(
        0, help="also measure with this many directions of position taken off", low=0, high=64
    )
    query_limit: int = option(300, help="queries of a pair, at most", low=1, high=1_000_000)
    grid_stride_px: Literal[4, 1] = _grid_stride_px()
    long_edge_px: int = _measured_edge_px()
    value_range: tuple[float, float] | None = _value_range()
    seed: int = _measuring_seed()
    device: str = option("auto", help=_DEVICE_HELP)
    precision: Precision = option("float32", help=_PRECISION_HELP)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What is trained, where, and how."""

    descriptor: str = option(
        "msnet_v0", help="registered name; 'descriptors' lists them", group="what to train"
    )
    device: str = option("auto", help=_DEVICE_HELP)
    train: TrainSettings = field(default_factory=TrainSettings)


STRICT: Final = (TrainConfig,)
"""Classes that take a descriptor's own settings in their section only: theirs have sections, too,
and a misspelt one must not pass for a descriptor's."""


def resolve_settings(
    config: type[Config],
    *,
    from_file: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    original: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, Any]]:
    """Lay file, ``--set``, the original's names and flags over the defaults, in this order.

    A descriptor's own settings are in the section ``settings``.  Except for a training they may
    also be written beside the job's: ``settings.stride_px`` or just ``stride_px``.  One file may
    serve training and evaluation: each skips what only the other knows.  Plugins that a file names
    are not run, but it is remembered that they were.  The data set may also be
    written ``dataset.test``, as the original's configs have it.

    Args:
        config: the job's settings class.
        from_file: the values of a YAML file.
        overrides: texts ``name=value``.
        original: nested values that overrides in the original's names became; see
            :mod:`engine.jobs.original_overrides`.
        flags: nested values of the command line's own flags, of those that were given.

    Returns:
        The job's settings, and the descriptor's own as plain values, which
        :func:`engine.descriptors.registry.make_spec` checks.

    Raises:
        ConfigError: a job's setting with a wrong name or value, or a name that is used both for a
            value and for a section.
    """
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]
    other = EvaluateConfig if config is TrainConfig else TrainConfig
    foreign = {field.name for field in fields(other)} - names
    file = {name: value for name, value in (from_file or {}).items() if name not in foreign}
    plugins = file.pop(PLUGIN, None)
    if isinstance(plugins, Mapping):
        mention({name: _file_of(one) for name, one in plugins.items()})
    job: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for layer in (file, parse_overrides(overrides), dict(original or {}), dict(flags or {})):
        section = layer.pop(SECTION, None)
        if not isinstance(section, Mapping | None):
            raise ConfigError(SECTION, "is a section and needs names and values")
        if isinstance(layer.get("dataset"), Mapping):
            layer["dataset"] = _test_set(layer["dataset"])
        loose = [] if config in STRICT else [name for name in layer if name not in names]
        own = merge(own, {name: layer.pop(name) for name in loose}, section or {})
        job = merge(job, layer)
    return build_config(config, job), own


def settings_of(name: str, names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are meant for one of several descriptors.

    Args:
        name: the descriptor's registered name.
        names: of all descriptors that take part.
        values: settings of the only one, or sections by descriptor (``daisy.stride_px=4``).

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
            raise ConfigError(key, f"which descriptor is this for? Write it as {name}.{key}")
    return mine


def descriptor_names(config: EvaluateConfig) -> tuple[str, ...]:
    """The registered names of the descriptors that an evaluation is about.

    Raises:
        ConfigError: one of them is written in a wrong way.
    """
    named = (split_descriptor(text)[0] for text in config.descriptor)
    return tuple(name.removeprefix(ORACLE_PREFIX) for name in named)


def split_descriptor(text: str) -> tuple[str, Path | None]:
    """``NAME`` or ``NAME=FILE`` or ``NAME=RUN_DIR`` in its parts.

    A name that is itself a file has no other weights, and may hold an equals sign.

    Raises:
        ConfigError: there is no name, or nothing behind the equals sign.
    """
    if text.strip().partition(":")[0].removeprefix(ORACLE_PREFIX) in FILE_FAMILIES:
        return text.strip(), None
    name, equals, place = text.partition("=")
    if not name.strip() or (equals and not place.strip()):
        raise ConfigError("descriptor", f"{quoted(text)} is neither NAME nor NAME=WEIGHTS")
    return name.strip(), typed_path(place.strip(), "descriptor") if equals else None


def config_text(
    config: EvaluateConfig | TrainConfig,
    own: Mapping[str, Any],
    plugins: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """The settings as the text of a config file, which :func:`resolve_settings` reads back.

    Args:
        config: the job's settings.
        own: the descriptor's own.
        plugins: see :func:`engine.descriptors.plugins.plugin_record`.
    """
    values = config_values(config)
    if plugins:
        values[PLUGIN] = {name: dict(one) for name, one in plugins.items()}
    if own:
        values[SECTION] = dict(own)
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def differing(before: TrainConfig, now: TrainConfig) -> tuple[str, ...]:
    """The dotted names of the settings in which two runs differ."""
    one, other = flatten(config_values(before)), flatten(config_values(now))
    return tuple(name for name in one if one[name] != other.get(name))


def _file_of(plugin: Any) -> str:
    return str(plugin.get("file", "")) if isinstance(plugin, Mapping) else str(plugin)


def _test_set(section: Mapping[str, Any]) -> Any:
    unknown = [name for name in section if name != "test"]
    if unknown or "test" not in section:
        raise ConfigError(
            f"dataset.{unknown[0]}" if unknown else "dataset",
            "an evaluation knows only dataset.test",
        )
    return section["test"]
