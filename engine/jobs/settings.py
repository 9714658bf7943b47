"""The jobs' settings, declared once: the YAML file, the command line's flags and forms read them.

Nothing here loads numpy or torch, so that the command line can print its help at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from engine.config import build_config, merge, option, parse_overrides
from engine.errors import ConfigError
from engine.vocabulary import PointsKind, Precision

SECTION = "settings"
TRAIN_SECTION = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig:
    """How an image becomes dense maps."""

    descriptor: str = option("descspace", help="registered name; 'descriptors' lists them")
    weights: Path | None = option(None, help="weights file of the descriptor")
    long_edge_px: int = option(
        640, help="shrink images to this long edge first; 0 keeps their size", unit="px",
        low=0, high=16384,
    )  # fmt: skip
    device: str = option("auto", help="where to compute: auto, cpu, cuda or cuda:0")
    precision: Precision = option(
        "float32", help="arithmetic of networks; reduced only where it changes no match"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchConfig(DescribeConfig):
    """How points of one image are matched to another image."""

    points: PointsKind = option("harris", help="how points are chosen")
    count: int = option(500, help="how many points at most", low=1, high=1_000_000)
    seed: int = option(0, help="of the random choice of points", low=0)
    separation_px: float = option(
        16.0, help="the second best match of the ratio is at least this far from the best",
        unit="px", low=1.0, high=4096.0,
    )  # fmt: skip


Config = TypeVar("Config", bound=DescribeConfig)


def resolve_settings(
    config: type[Config],
    *,
    from_file: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, Any]]:
    """Lay file, ``--set`` and flags over the defaults, in this order.

    A name is one of the job's settings or, failing that, one of the descriptor's own, which stand
    in the section ``settings`` and may be written ``settings.stride_px`` or just ``stride_px``.

    Args:
        config: the job's settings class.
        from_file: the values of a YAML file.
        overrides: texts ``name=value``.
        flags: values of the command line's own flags; None means not given.

    Returns:
        The job's settings, and the descriptor's own as plain values, checked by
        :func:`engine.descriptors.registry.make_spec`.

    Raises:
        ConfigError: a job's setting with a wrong value, or a name written as two kinds of thing.
    """
    names = {field.name for field in fields(config)}
    layers = [dict(from_file or {}), parse_overrides(overrides)]
    own: dict[str, Any] = {}
    descriptor: dict[str, Any] = {}
    for layer in layers:
        section = layer.pop(SECTION, None)
        if section is not None and not isinstance(section, Mapping):
            raise ConfigError(SECTION, "is a section and needs names and values")
        own = merge(own, {name: value for name, value in layer.items() if name in names})
        loose = {name: value for name, value in layer.items() if name not in names}
        descriptor = merge(descriptor, loose, section or {})
    own = merge(own, {k: v for k, v in (flags or {}).items() if v is not None})
    return build_config(config, own), descriptor
