"""Which plugin file registered a descriptor before, so that a forgotten one can be named."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from engine.errors import OutputError
from engine.files import make_folder, parse_json, read_input, write_atomically
from engine.paths import cache_dir

_FILE: Final = "plugins.json"
_KEPT: Final = 200

_mentioned: dict[str, str] = {}


def remember(names: Iterable[str], path: Path) -> None:
    """Note that a file registered these descriptors; a note that cannot be kept is dropped."""
    kept = _read()
    new = {
        **{n: file for n, file in kept.items() if n not in names},
        **dict.fromkeys(names, str(path)),
    }
    if new != kept:
        latest = dict(list(new.items())[-_KEPT:])
        with contextlib.suppress(OutputError):
            text = json.dumps(latest, indent=1, ensure_ascii=False)
            write_atomically(make_folder(cache_dir()) / _FILE, text.encode("utf-8", "replace"))


def mention(files: Mapping[str, str]) -> None:
    """Note, for this process, which files the settings of a run name: descriptor -> file."""
    _mentioned.update(files)


def remembered_plugin(name: str) -> str | None:
    """The file, quoted for a shell, that registered a descriptor and is still there; else None."""
    file = _mentioned.get(name) or _read().get(name)
    return shlex.quote(file) if file is not None and Path(file).is_file() else None


def _read() -> dict[str, str]:
    try:
        values = parse_json(read_input(cache_dir() / _FILE, OutputError))
    except (OutputError, ValueError):
        return {}
    pairs = values.items() if isinstance(values, dict) else ()
    return {name: file for name, file in pairs if isinstance(file, str)}
