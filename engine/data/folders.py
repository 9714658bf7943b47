"""What readers of folders share: names in natural order, and nothing that is hidden."""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine.errors import DatasetError, file_errors
from engine.images import IMAGE_SUFFIXES


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``img2`` before ``img10``, whatever the case of letters."""
    parts = re.split(r"(\d+)", name.casefold())
    numbers = (part.isdecimal() and part.isascii() for part in parts)
    return tuple(
        (0, int(part), "") if is_number else (1, 0, part)
        for part, is_number in zip(parts, numbers, strict=True)
        if part
    )


def is_picture(name: str) -> bool:
    """True for a file that is named as a picture."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - 100,000 times


def file_names(folder: Path) -> list[str]:
    """Names of the files in a folder in any order, hidden ones left out.

    Raises:
        DatasetError: the folder cannot be read.
    """
    with file_errors(DatasetError, folder, "cannot be read"), os.scandir(folder) as entries:
        return [e.name for e in entries if not e.name.startswith(".") and e.is_file()]


def sub_folders(folder: Path) -> list[Path]:
    """Folders in a folder in natural order, hidden ones left out.

    Raises:
        DatasetError: the folder cannot be read.
    """
    with file_errors(DatasetError, folder, "cannot be read"), os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    return [folder / name for name in sorted(names, key=natural_key)]
