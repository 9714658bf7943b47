"""Where things live on this computer: the project's data files and the user's folders."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import appdirs

APP_NAME = "descriptor-space"
_HOME_VARIABLE = "DESCGUI_HOME"
_STAMP_FORMAT, _STAMP = "%Y%m%d-%H%M%S", re.compile(r"\d{8}-\d{6}")


@dataclass(frozen=True, slots=True)
class FileStamp:
    """A file as it is now; another stamp means that it may hold something else.

    Attributes:
        path: absolute, links not followed.
        mtime_ns: time of the last change; -1 where there is no such file.
        size_bytes: its length; -1 where there is no such file.
    """

    path: str
    mtime_ns: int
    size_bytes: int

    @classmethod
    def of(cls, path: Path | str) -> FileStamp:
        """The stamp of a file; reads only the folder's entry."""
        absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() would read links
        try:
            found = os.stat(absolute)  # noqa: PTH116
        except (OSError, ValueError):
            return cls(absolute, -1, -1)
        return cls(absolute, found.st_mtime_ns, found.st_size)


def _user_dir(kind: str, fallback: str) -> Path:
    """A per-user folder; below ``DESCGUI_HOME`` if set, as tests and portable set-ups do."""
    home = os.environ.get(_HOME_VARIABLE)
    return Path(home) / kind if home else Path(fallback)


def cache_dir() -> Path:
    """Things that can be made again: demo sequences, thumbnails, compiled kernels."""
    return _user_dir("cache", appdirs.user_cache_dir(APP_NAME, appauthor=False))


def config_dir() -> Path:
    """Settings and the last session."""
    return _user_dir("config", appdirs.user_config_dir(APP_NAME, appauthor=False))


def log_dir() -> Path:
    """Rotating log files."""
    return _user_dir("log", appdirs.user_log_dir(APP_NAME, appauthor=False))


def user_data_dir() -> Path:
    """What the user would miss: runs and downloaded data sets."""
    return _user_dir("data", appdirs.user_data_dir(APP_NAME, appauthor=False))


def runs_dir() -> Path:
    """Where runs go unless a folder is named."""
    return user_data_dir() / "runs"


def new_run_dir(kind: Literal["evaluate", "study", "train"], *, runs: Path | None = None) -> Path:
    """A folder for a new run, named by its kind and the time; it does not exist yet.

    Args:
        kind: of the run.
        runs: the folder above; :func:`runs_dir` by default.
    """
    return unused_dir((runs or runs_dir()) / stamped(kind))


def unused_dir(wanted: Path) -> Path:
    """A folder that does not exist: the wanted one, or with the first free number from 2 on."""
    folder, number = wanted, 2
    while folder.exists():
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return folder


def stamped(word: str) -> str:
    """A word and the present time, such as ``train-20250131-120500``."""
    return time.strftime(f"{word}-{_STAMP_FORMAT}")


def began_s(folder: Path) -> float:
    """When a run began, in seconds since the epoch: by its name, else by its folder; 0 if neither.

    A run that is continued keeps its name.
    """
    stamp = _STAMP.search(folder.name)
    if stamp is not None:
        with contextlib.suppress(ValueError, OverflowError):
            return time.mktime(time.strptime(stamp[0], _STAMP_FORMAT))
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def checkout_dir() -> Path | None:
    """The folder with the project's sources; None where the program was installed."""
    root = Path(__file__).resolve().parent.parent
    found = all((root / name).is_file() for name in ("main.py", "pyproject.toml"))
    return root if found else None


def program_call() -> str:
    """What starts the program in the command lines that it writes."""
    return APP_NAME if checkout_dir() is None else "python main.py"


def data_dir(name: str) -> Path:
    """The project's own folder ``cuda`` or ``resources``, in a checkout and in an installed wheel.

    ``cuda`` is data and is never imported: NVIDIA's namespace package has the same name.

    Raises:
        FileNotFoundError: the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the folder {name!r} is missing from this installation; reinstall it")
