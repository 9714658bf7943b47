"""Checks, before the work, whether its result can be written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from engine.errors import OutputError
from engine.files import is_stream, output_errors, part_path


def check_output(path: Path, *, suffixes: Iterable[str] = (), inputs: Iterable[Path] = ()) -> None:
    """Check before long work whether its result can be written; creates the folder.

    Args:
        path: the file to be written; an older file of this name will be replaced.
        suffixes: allowed endings in lower case with their dot; empty allows any.
        inputs: files that must not be overwritten.

    Raises:
        OutputError: it cannot be written, and why.
    """
    allowed = tuple(suffixes)
    if allowed and path.suffix.lower() not in allowed:
        raise OutputError(path, f"the name must end in {' or '.join(allowed)}")
    if path.is_dir():
        raise OutputError(path, "this is a folder, a file name is needed")
    if path.exists() and any(_same_file(path, other) for other in inputs):
        raise OutputError(path, "this is one of the inputs and will not be overwritten")
    with output_errors(path):
        if is_stream(path):
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        # Rights alone do not tell of read-only disks and network shares: try.
        trial = part_path(target)
        trial.touch(exist_ok=False)
        trial.unlink()


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
