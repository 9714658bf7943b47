"""From settings to a recipe, and the descriptors that are not built in.  Loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.descriptors.plugins import load_entry_points, load_plugin
from engine.descriptors.registry import DescriptorEntry, make_spec
from engine.errors import ConfigError, quoted
from engine.inspection.requests import Recipe
from engine.jobs.settings import DescribeConfig
from engine.progress import JobContext, Note
from engine.vocabulary import PRECOMPUTED


def load_descriptor_sources(plugins: Sequence[Path], context: JobContext) -> None:
    """Register the descriptors of installed packages and of plugin files.

    A broken package is reported and left out; a broken file, which was asked for, is an error.

    Raises:
        PluginError: a file failed to load.
    """
    for problem in load_entry_points():
        context.emit(Note(problem, "warning"))
    for path in plugins:
        context.emit(Note(f"Running the code in {path}, given by --plugin."))
        names = load_plugin(path)
        context.emit(Note(f"{path.name} added {', '.join(names)}."))


def make_recipe(
    config: DescribeConfig, values: Mapping[str, Any], *, maps: tuple[Path, Path] | None = None
) -> Recipe:
    """Write down how images become maps.

    Args:
        config: the job's settings.
        values: the descriptor's own settings.
        maps: for the descriptor ``precomputed``: the map files of both images.

    Raises:
        ConfigError: an unknown descriptor or setting, a value out of range, or map files without
            ``precomputed`` or the other way round.
    """
    if maps and config.descriptor != PRECOMPUTED:
        raise ConfigError("maps", f"go with {PRECOMPUTED!r}, not with {quoted(config.descriptor)}")
    if config.descriptor == PRECOMPUTED and not maps:
        raise ConfigError("maps", f"{PRECOMPUTED!r} needs the map files of both images")
    values = dict(values)
    if config.weights is not None:
        values["weights"] = str(config.weights)
    return Recipe(
        spec=make_spec(config.descriptor, values),
        long_edge_px=config.long_edge_px,
        device=config.device,
        precision=config.precision,
        map_files=maps,
    )


def warn_if_untrained(entry: DescriptorEntry, trained: bool, context: JobContext) -> None:
    """Never let random weights pass in silence."""
    if not trained:
        cure = "; name a weights file to use trained ones" if entry.takes_weights else ""
        text = f"{entry.title} is untrained: it has random weights, and results show no more{cure}."
        context.emit(Note(text, "warning"))
