"""What weights are called wherever the program speaks about them.  Nothing here imports torch."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Final

from engine.paths import FileStamp

WEIGHTS_FOLDER: Final = "weights"
"""Of a training run, with the weights of its checkpoints."""

STEP_NAME: Final = re.compile(r"step-(\d+)\.safetensors")
SHIPPED_WEIGHTS: Final = "as shipped"
RANDOM_WEIGHTS: Final = "random numbers"
NO_WEIGHTS: Final = "no file chosen"
WEIGHTS_IN_FILE: Final = "in the file"
_LONGEST_HEADER_BYTES: Final = 100 << 20


def weights_title(path: Path) -> str:
    """What a weights file is called: run and step where a training wrote it, else its name.

    Reads the header of a file that does not have the step in its name; of a file that cannot be
    read the name alone is told.
    """
    if path.parent.name != WEIGHTS_FOLDER or not path.parent.parent.name:
        return path.name
    found = STEP_NAME.fullmatch(path.name)
    step = found[1] if found else _step_inside(FileStamp.of(path))
    run = path.parent.parent.name
    if not step:
        return f"{run}, {path.stem}"
    return f"{run}, step {int(step)}{' (best)' if path.stem == 'best' else ''}"


@functools.lru_cache(maxsize=64)
def _step_inside(stamp: FileStamp) -> str:
    """The step that a ``.safetensors`` file's header tells, "" for none."""
    try:
        with Path(stamp.path).open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(_LONGEST_HEADER_BYTES, stamp.size_bytes):
                return ""
            step = json.loads(stream.read(length))["__metadata__"]["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return step if isinstance(step, str) and step.isdecimal() else ""
