"""Cameras in glue-factory's ``views.txt``: one line for each image.

A line is ``NAME R11 … R33 T1 T2 T3 MODEL WIDTH HEIGHT PARAMETERS``: the rotation and the shift from
the world to the camera, then the lens as in COLMAP's ``cameras.txt``, its principal point counted
from the corner of the top-left pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from engine.errors import TruthError, quoted
from engine.files import read_input, read_number
from engine.truth.cameras import Camera

_POSE: Final = 12
_FEWEST_WORDS: Final = 1 + _POSE + 3 + 3


def read_views(path: Path) -> dict[str, Camera]:
    """The cameras of a list of views by the names of their images, which may contain slashes.

    Empty lines, and lines that begin with ``#``, are passed over.

    Raises:
        TruthError: it cannot be read, holds no view, or a line is none.
    """
    try:
        lines = read_input(path, TruthError, missing="does not exist").decode().splitlines()
    except UnicodeDecodeError as error:
        raise TruthError(path, "is not a text file with a view on each line") from error
    found: dict[str, Camera] = {}
    for number, line in enumerate(lines, start=1):
        name, *words = line.split() or [""]
        if not name or name.startswith("#"):
            continue
        if len(words) + 1 < _FEWEST_WORDS:
            reason = (
                f"line {number} has {len(words) + 1} words, and a view at least {_FEWEST_WORDS}"
            )
            raise TruthError(path, reason)
        if name in found:
            raise TruthError(path, f"line {number} repeats the view {quoted(name)}")
        try:
            pose = np.array([read_number(word) for word in words[:_POSE]])
            model, width, height, *parameters = words[_POSE:]
            found[name] = Camera.of_colmap(
                model,
                (int(width), int(height)),
                [read_number(word) for word in parameters],
                np.column_stack([pose[:9].reshape(3, 3), pose[9:]]),
            )
        except ValueError as error:
            raise TruthError(path, f"line {number}: {error}") from error
    if not found:
        raise TruthError(path, "holds no view")
    return found
