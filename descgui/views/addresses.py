"""From what is dropped or pasted to the paths of files.

An address on the network names no file here, and an empty one names nothing: neither ever becomes a
path, since an empty path would be the current folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PySide6.QtCore import QUrl

from engine.api import ConfigError, typed_path

_ADDRESS: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+://|data:|mailto:|file:)")
_QUOTED: Final = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_WORDS_OF_FILE_MANAGERS: Final = ("copy", "cut")  # stand before the addresses they copied
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Addressed:
    """What some addresses or a text name.

    Attributes:
        paths: of files and folders, which need not exist.
        foreign: the first address that is no file of this computer; "" if there is none.
    """

    paths: tuple[Path, ...] = ()
    foreign: str = ""

    @property
    def refusal(self) -> str:
        """Why the foreign address cannot be opened, in a sentence."""
        shown = self.foreign[:_SHOWN] + ("…" if len(self.foreign) > _SHOWN else "")
        return f"{shown} is no file on this computer: save it first, and open that file."


def read_urls(urls: Iterable[QUrl]) -> Addressed:
    """The files that addresses name."""
    paths: list[Path] = []
    foreign = ""
    for url in urls:
        if not url.isLocalFile():
            foreign = foreign or url.toDisplayString()
        elif url.toLocalFile():
            paths += _paths_of(url.toLocalFile())
    return Addressed(tuple(paths), foreign)


def read_text(text: str) -> Addressed:
    """The files that lines of text name: as paths, in quotes or not, or as addresses."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0] in _WORDS_OF_FILE_MANAGERS:
        del lines[0]
    paths: list[Path] = []
    for word in (word for line in lines for word in _unquoted(line)):
        if _ADDRESS.match(word):
            found = read_urls([QUrl(word)])
            if found.foreign:
                return Addressed(tuple(paths), word)
            paths += found.paths
        else:
            paths += _paths_of(word)
    return Addressed(tuple(paths))


def _unquoted(line: str) -> list[str]:
    """The words in quotes where a line holds nothing else, or else the line."""
    if _QUOTED.sub("", line).strip():
        return [line]
    words = [one or other for one, other in _QUOTED.findall(line)]
    return [word.strip() for word in words if word.strip()]


def _paths_of(text: str) -> tuple[Path, ...]:
    """The path that a text names; none where it can be no file's name."""
    try:
        return (typed_path(text, "address"),)
    except ConfigError:
        return ()
