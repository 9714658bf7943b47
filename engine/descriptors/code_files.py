"""Which files a descriptor's code is in: the file that registers it, and what it imports beside it.

Two runs are comparable only if the same code ran.  The imports of a file are read without running
anything, those inside functions included, and followed through all files that are *local*: a
person's own, as opposed to Python's, installed packages and this program, whose versions are known.
What a file imports by a name it computes is found only once it was imported.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path

import engine
from engine.errors import PluginError
from engine.files import read_input

Files = dict[Path, bytes]

_PROGRAM = Path(engine.__file__).resolve().parent
_INSTALLED = ("site-packages", "dist-packages")


def code_files(start: Path, *, within: Path | None = None, also: Iterable[str] = ()) -> Files:
    """The contents of a file and of all local files it imports, by path.

    Args:
        start: the file.
        within: a folder outside of which nothing is local; None for all that is neither Python's
            nor installed nor this program's.
        also: names of further modules, which were imported while it ran.
    """
    search = _Search(start.absolute(), within and within.resolve())
    search.add(search.start, package="")
    for name in also:
        search.follow(name)
    return search.files


def digest(files: Files, start: Path) -> str:
    """SHA-256 over names and contents; the same wherever the files lie."""
    whole = hashlib.sha256()
    folder = start.absolute().parent
    named = sorted(
        (path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name, content)
        for path, content in files.items()
    )
    for name, content in named:
        whole.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()


def is_local(path: Path, within: Path | None = None) -> bool:
    """Whether a file is a person's own, see :func:`code_files`."""
    if within is not None:
        return path.resolve().is_relative_to(within)
    resolved = path.resolve()
    return not (
        resolved.is_relative_to(_PROGRAM)
        or any(part in _INSTALLED for part in resolved.parts)
        or any(resolved.is_relative_to(folder) for folder in _python_folders())
    )


@functools.cache
def _python_folders() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


@dataclass(slots=True)
class _Search:
    """What was found so far."""

    start: Path
    within: Path | None
    files: Files = field(default_factory=dict)

    def add(self, path: Path, package: str) -> None:
        """A local file, and what it imports; ``package`` is what its relative imports start at."""
        if path in self.files:
            return
        try:
            content = read_input(path, PluginError)
        except PluginError:
            return
        self.files[path] = content
        if path.suffix != ".py":
            return
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError):
            return
        for name in _imported(tree, package):
            self.follow(name)

    def follow(self, name: str) -> None:
        """A module by its dotted name, with the packages it is in."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            dotted = ".".join(parts[:count])
            path = self._file_of(dotted)
            if path is not None and is_local(path, self.within):
                is_package = path.stem == "__init__"
                self.add(path, dotted if is_package else dotted.rpartition(".")[0])

    def _file_of(self, name: str) -> Path | None:
        module = sys.modules.get(name)
        if module is not None:
            file = getattr(module, "__file__", None)
            return Path(file) if isinstance(file, str) else None
        folders: list[str] | None = [*sys.path, str(self.start.parent)]
        origin = None
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            try:
                spec = PathFinder.find_spec(".".join(parts[:count]), folders)
            except (ImportError, ValueError):
                return None
            if spec is None:
                return None
            origin = spec.origin
            folders = list(spec.submodule_search_locations or ())
        return Path(origin) if origin and spec is not None and spec.has_location else None


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: max(0, len(package.split(".")) - node.level + 1)]
            base = ".".join(filter(None, [*(above if node.level else []), node.module or ""]))
            if base:
                yield base
            yield from (".".join(filter(None, [base, alias.name])) for alias in node.names)
