"""Files that hold a network: what is asked of any of them before a library reads it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from engine.errors import WeightsError, file_errors
from engine.file_kinds import name_kind
from engine.files import input_size


def check_file(file: Path, *, ours: Sequence[str], wanted: str) -> None:
    """Refuse what is no file, or is another kind of file.

    Args:
        file: what was named.
        ours: what :func:`engine.file_kinds.name_kind` calls the right kinds.
        wanted: what is needed, in words.

    Raises:
        WeightsError: it is missing, no regular file, empty, or of another kind.
    """
    if input_size(file, WeightsError, missing="there is no such file") == 0:
        raise WeightsError(file, "is empty")
    kind = name_kind(file)
    if kind and kind not in ours:
        raise WeightsError(file, f"is {kind}, not {wanted}")


def sha256_of(*files: Path) -> bytes:
    """SHA-256 over the content of files, one behind the other.

    Raises:
        WeightsError: one cannot be read.
    """
    whole = hashlib.sha256()
    for file in files:
        with file_errors(WeightsError, file, "cannot be read"), file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.digest()


def reason_of(error: BaseException) -> str:
    """What a library says, as a part of a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    traced = any("Traceback" in line for line in lines[:2])
    said = [line.partition(": ")[2] for line in lines if re.match(r"\w*Error: ", line)]
    text = " ".join(said[-1:] or lines[-1:] if traced else lines[:2])
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    return (text or type(error).__name__)[:200].rstrip(". ")
