"""What was found out about a network by running it, kept in the user's cache for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from engine.errors import OutputError
from engine.files import make_folder, parse_json, read_input, write_atomically
from engine.paths import cache_dir


def kept_at(folder: str, *known: object) -> Path:
    """The file for what is found out.

    Args:
        folder: of the cache, for one kind of findings.
        known: all that they depend on beside torch.
    """
    text = repr((torch.__version__, *known))
    return cache_dir() / folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def read_kept(path: Path) -> dict[str, Any] | None:
    """What was kept in a file; None where nothing was, or it is damaged."""
    try:
        values = parse_json(read_input(path, OutputError))
    except (OutputError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def keep(path: Path, values: dict[str, Any]) -> None:
    """Keep values; where that fails they are found out again."""
    with contextlib.suppress(OutputError):
        make_folder(path.parent)
        write_atomically(path, json.dumps(values).encode())
