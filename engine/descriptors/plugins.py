"""Descriptors from outside: a person's own Python file, and installed packages.

A plugin is ordinary Python that registers descriptors when it runs, as the built-in modules do::

    from engine.descriptors.registry import register_descriptor

    @register_descriptor("mine", title="My network", config=MyConfig)
    def build(config: MyConfig) -> MyDescriptor:
        return MyDescriptor(config)

Its folder is put at the end of Python's search path, so that it can import files beside it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.metadata
import logging
import sys
import threading
import traceback
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path

from engine.config import describe_options
from engine.descriptors.code_files import Files, code_files, digest, is_local
from engine.descriptors.registry import (
    BUILT_IN,
    DescriptorEntry,
    list_descriptors,
    replacing_source,
)
from engine.descriptors.remembered import remember
from engine.errors import ConfigError, DescSpaceError, PluginError
from engine.files import read_input

ENTRY_POINT_GROUP = "descriptor_space.descriptors"
_MODULE = "descriptor_space_plugin_"
_PACKAGE = " (package)"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file that was run.

    Attributes:
        names: of the descriptors it registered.
        files: its code and that of the local modules it imports, as it was run.
        imported: names of modules that were imported while it ran.
    """

    names: tuple[str, ...]
    files: Files
    imported: tuple[str, ...] = ()


_loaded: dict[Path, _Loaded] = {}
_entry_point_problems: dict[str, str | None] = {}
_lock = threading.RLock()


def load_plugin(path: Path) -> tuple[str, ...]:
    """Run a person's Python file and register its descriptors.

    A file that was loaded before is not run again unless it, or a local module that it imports, has
    changed; then it replaces what it registered, and its local modules are imported afresh.  A file
    that fails leaves everything as it was.

    Args:
        path: the file.  Its code may do anything, so ask the person first.

    Returns:
        Names of the descriptors it registered.

    Raises:
        PluginError: it cannot be read, fails (with the line), or registers nothing.
    """
    with _lock:
        path = path.expanduser().absolute()
        source = _read(path)
        known = _loaded.get(path)
        if known is not None and code_files(path, also=known.imported) == known.files:
            return known.names
        with _importing_afresh(known.files if known is not None else {}):
            _loaded[path] = _run_and_register(path, source)
        remember(_loaded[path].names, path)
        return _loaded[path].names


def load_entry_points() -> tuple[str, ...]:
    """Register the descriptors of installed packages; each package is loaded once.

    Returns:
        A sentence for each package that failed; the others are usable.
    """
    with _lock:
        for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
            if point.value not in _entry_point_problems:
                _entry_point_problems[point.value] = _load_entry_point(point)
        return tuple(problem for problem in _entry_point_problems.values() if problem)


def is_plugin(entry: DescriptorEntry) -> bool:
    """Whether a descriptor came from a person's file or an installed package."""
    return Path(entry.source) in _loaded or entry.source.endswith(_PACKAGE)


def code_sha256(entry: DescriptorEntry) -> str:
    """SHA-256 over a descriptor's code: its file, and the local modules that it imports.

    Of a built-in one those are this program's descriptors, of an installed package its modules.
    Of a person's file it is the code as it was run, even if the file has changed since.
    """
    loaded = _loaded.get(Path(entry.source))
    if loaded is not None:
        return digest(loaded.files, Path(entry.source))
    start = Path(sys.modules[entry.build.__module__].__file__ or "")
    return _digest_within(start, _folder_of(entry))


def plugin_name(entry: DescriptorEntry) -> str | None:
    """Name of the file or the package that a descriptor came from; None for a built-in one."""
    if entry.source == BUILT_IN:
        return None
    if entry.source.endswith(_PACKAGE):
        return entry.source.removesuffix(_PACKAGE)
    return Path(entry.source).name


def plugin_files(names: Iterable[str]) -> tuple[Path, ...]:
    """The files that registered these descriptors, which a command line has to name."""
    wanted = set(names)
    return tuple(path for path, loaded in _loaded.items() if wanted.intersection(loaded.names))


def plugin_record(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """For the settings of a run: descriptor's name -> ``file`` and ``code_sha256``."""
    return {
        name: {"file": str(path), "code_sha256": digest(_loaded[path].files, path)}
        for name in names
        for path in plugin_files([name])
    }


@functools.cache
def _digest_within(start: Path, folder: Path) -> str:
    return digest(code_files(start, within=folder), start)


def _folder_of(entry: DescriptorEntry) -> Path:
    """Where the code of a descriptor lies that came with this program or with a package."""
    module = sys.modules[entry.build.__module__]
    if entry.source == BUILT_IN:
        return Path(__file__).resolve().parent
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file = Path(top.__file__ or module.__file__ or "").resolve()
    return file.parent if file.stem == "__init__" else file


def plugin_fault(error: BaseException) -> PluginError | None:
    """An error that arose in the code of a plugin or a package, as a sentence with file and line.

    Returns:
        None where no line of theirs led to it, or where it is a sentence already.
    """
    if isinstance(error, DescSpaceError) or not (_loaded or _entry_point_problems):
        return None
    folders = [_folder_of(e) for e in list_descriptors() if e.source.endswith(_PACKAGE)]
    files = {str(path) for loaded in _loaded.values() for path in loaded.files}
    files |= {str(path) for path in _loaded}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        theirs = frame.filename in files or any(
            is_local(Path(frame.filename), folder) for folder in folders
        )
        if theirs and frame.lineno:
            return PluginError(Path(frame.filename), f"line {frame.lineno}: {_reason(error)}")
    return None


def _reason(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    message = next(iter(str(error).strip().splitlines()), "").rstrip(".:")
    return type(error).__name__ + (f": {message}" if message else "")


@contextlib.contextmanager
def _importing_afresh(files: Files) -> Iterator[None]:
    """Inside the block modules from these files are not imported yet; they return if it fails."""
    paths = {str(path) for path in files}
    taken = {
        name: module
        for name, module in list(sys.modules.items())
        if getattr(module, "__file__", None) in paths and not name.startswith(_MODULE)
    }
    for name in taken:
        del sys.modules[name]
    # Bytecode is kept by the second: a change within one, of the same length, would not be seen.
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        sys.modules.update(taken)
        raise
    finally:
        sys.dont_write_bytecode = writes


def _read(path: Path) -> bytes:
    return read_input(path, PluginError, missing="there is no such file")


def _run_and_register(path: Path, source: bytes) -> _Loaded:
    """Run the file as a module of its own; a failure leaves registry and modules as before."""
    name = f"{_MODULE}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    before, modules = sys.modules.get(name), set(sys.modules)
    # Dataclasses and pickles look their module up by name.
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        with replacing_source(str(path)):
            _run(path, source, module)
            entries = [entry for entry in list_descriptors() if entry.source == str(path)]
            _check(path, entries)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    imported = tuple(sorted(set(sys.modules) - modules - {name}))
    files = {**code_files(path, also=imported), path: source}
    return _Loaded(tuple(entry.name for entry in entries), files, imported)


def _run(path: Path, source: bytes, module: types.ModuleType) -> None:
    """Compile and run; whatever goes wrong there becomes a sentence with the line."""
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - what plugins are
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.filename == str(path) and error.lineno else ""
        raise PluginError(path, f"{where}{error.msg}") from error
    except ConfigError as error:
        raise PluginError(path, f"{_line(path, error)}{str(error).rstrip('.')}") from error
    except (Exception, SystemExit) as error:  # a stranger's code: anything may come
        logger.info("plugin %s failed", path, exc_info=True)
        raise PluginError(path, f"{_line(path, error)}{_reason(error)}") from error


def _line(path: Path, error: BaseException) -> str:
    """``line N: `` for the innermost line of the file that led to the error, else nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path) and frame.lineno]
    return f"line {lines[-1]}: " if lines else ""


def _check(path: Path, entries: list[DescriptorEntry]) -> None:
    if not entries:
        raise PluginError(
            path, "registers no descriptor; decorate a builder by register_descriptor"
        )
    for entry in entries:
        if not is_dataclass(entry.config):
            raise PluginError(path, f"the settings of {entry.name!r} are not a dataclass")
        try:
            describe_options(entry.config)
        except (KeyError, NameError, TypeError, AssertionError) as error:
            raise PluginError(
                path, f"the settings of {entry.name!r} have a field of an unknown type ({error})"
            ) from error


def _load_entry_point(point: importlib.metadata.EntryPoint) -> str | None:
    """Import one package's module; returns what went wrong."""
    package = point.dist.name if point.dist is not None else point.value
    try:
        with replacing_source(f"{package}{_PACKAGE}"):
            point.load()
    except (Exception, SystemExit) as error:  # a stranger's code: anything may come
        logger.warning("entry point %s of %s failed", point.value, package, exc_info=True)
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        return f"The package {package} adds no descriptors, since {point.value} failed ({reason})."
    return None
