"""What readers of folders share: names in natural order, and nothing that is hidden."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from engine.errors import DatasetError, file_errors
from engine.images import IMAGE_SUFFIXES
from engine.paths import FileStamp

_KEPT_LISTINGS: Final = 1024
_SETTLED_S: Final = 2.0


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
    return list(_listed(folder).files)


def sub_folders(folder: Path) -> list[Path]:
    """Folders in a folder in natural order, hidden ones left out.

    Raises:
        DatasetError: the folder cannot be read.
    """
    return [folder / name for name in _listed(folder).folders]


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is in a folder, hidden names left out."""

    files: tuple[str, ...]
    folders: tuple[str, ...]


def _listed(folder: Path) -> _Listing:
    """The listing of a folder, or that of shortly before: every reader of a layout asks for it."""
    stamp = FileStamp.of(folder)
    age_s = time.time() - stamp.mtime_ns / 1e9
    # Within one tick of the file system's clock a folder may change without a later time.
    return _kept(folder, stamp) if age_s > _SETTLED_S else _scan(folder)


@lru_cache(maxsize=_KEPT_LISTINGS)
def _kept(folder: Path, _stamp: FileStamp) -> _Listing:
    return _scan(folder)


def _scan(folder: Path) -> _Listing:
    files: list[str] = []
    folders: list[str] = []
    with file_errors(DatasetError, folder, "cannot be read"), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    return _Listing(tuple(files), tuple(sorted(folders, key=natural_key)))
