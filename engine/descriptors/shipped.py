"""Weights that come with the program."""

from __future__ import annotations

from pathlib import Path

from engine.paths import data_dir


def weights_to_load(given: Path | None, shipped: str, *, untrained: bool = False) -> Path | None:
    """Which weights file a network starts from.

    Args:
        given: a person's own file; it goes before everything.
        shipped: name of the file in ``resources/weights``, without its ending.
        untrained: the person wants random weights.

    Returns:
        The file; None for random weights, wanted or for want of a file.
    """
    if given is not None or untrained:
        return given
    path = data_dir("resources") / "weights" / f"{shipped}.safetensors"
    return path if path.is_file() else None
