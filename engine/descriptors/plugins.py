"""Descriptors from outside: a person's own Python file, and installed packages.

A plugin is ordinary Python that registers descriptors when it runs, as the built-in modules do::

    from engine.descriptors.registry import register_descriptor

    @register_descriptor("mine", title="My network", config=MyConfig)
    def build(config: MyConfig) -> MyDescriptor:
        return MyDescriptor(config)

Its folder is put at the end of Python's search path, so that it can import files beside it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import sys
import threading
import traceback
import types
from dataclasses import is_dataclass
from pathlib import Path

from engine.config import describe_options
from engine.descriptors.registry import DescriptorEntry, list_descriptors, replacing_source
from engine.errors import ConfigError, PluginError, file_errors

ENTRY_POINT_GROUP = "descriptor_space.descriptors"

logger = logging.getLogger(__name__)

_loaded: dict[Path, tuple[str, tuple[str, ...]]] = {}
_entry_point_problems: dict[str, str | None] = {}
_lock = threading.RLock()


def load_plugin(path: Path) -> tuple[str, ...]:
    """Run a person's Python file and register its descriptors.

    A file that was loaded before and has not changed is not run again; one that has changed
    replaces what it registered.  A file that fails leaves everything as it was.

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
        digest = hashlib.sha256(source).hexdigest()
        known = _loaded.get(path)
        if known is not None and known[0] == digest:
            return known[1]
        names = _run_and_register(path, source)
        _loaded[path] = (digest, names)
        return names


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


def _read(path: Path) -> bytes:
    with file_errors(PluginError, path, "cannot be read", missing="there is no such file"):
        return path.read_bytes()


def _run_and_register(path: Path, source: bytes) -> tuple[str, ...]:
    """Run the file as a module of its own; a failure leaves registry and modules as before."""
    name = f"descriptor_space_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
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
    return tuple(entry.name for entry in entries)


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
        message = str(error).strip().rstrip(".")
        reason = type(error).__name__ + (f": {message}" if message else "")
        raise PluginError(path, f"{_line(path, error)}{reason}") from error


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
        with replacing_source(f"{package} (package)"):
            point.load()
    except (Exception, SystemExit) as error:  # a stranger's code: anything may come
        logger.warning("entry point %s of %s failed", point.value, package, exc_info=True)
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        return f"The package {package} adds no descriptors, since {point.value} failed ({reason})."
    return None
