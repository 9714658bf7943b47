"""Writing results: whole files or none, and never over what they were made from."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.errors import OutputError


def check_output(path: Path, *, suffixes: Iterable[str] = (), inputs: Iterable[Path] = ()) -> None:
    """Look before long work whether its result can be written; makes the folder.

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rights alone do not tell of read-only disks and network shares: try.
        trial = _beside(path)
        trial.touch(exist_ok=False)
        trial.unlink()
    except (OSError, ValueError) as error:
        raise OutputError(path, f"cannot be written ({_reason(error)})") from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and move it there when the block ends well.

    Raises:
        OutputError: the disk is full, the folder is gone, the file may not be replaced, ...
    """
    trial = _beside(path)
    try:
        yield trial
        trial.replace(path)
    except OSError as error:
        raise OutputError(path, f"cannot be written ({_reason(error)})") from error
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # Short, so that a name at the limit of the file system does not break it; same suffix, since
    # some writers choose the format by it.
    return path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
