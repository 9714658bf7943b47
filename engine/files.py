"""Files in and out: read within bounds or refused with a reason, written whole or not at all.

Whatever the person names, a pipe, a device, a file of 40 GB or one that a parser chokes on, becomes
one sentence here, so that no reader has to think of it again.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import stat
import uuid
import zipfile
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import yaml

from engine.errors import DescSpaceError, OutputError, file_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

FileFault = Callable[[Path, str], DescSpaceError]
"""Makes the error of a file from its path and the reason."""

_MOST_TEXT_BYTES, _MOST_ARRAY_BYTES = 16 << 20, 1 << 30
_PART_BYTES = 1 << 20
_NAME_BYTES = 180  # file systems allow 255; the rest is for what a temporary name adds
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
_YAML_DEPTH, _YAML_NODES = 32, 20_000


def named_path(path: Path | str, fault: FileFault) -> Path:
    """The path that a caller named, as text or not.

    Raises:
        DescSpaceError: of the kind ``fault``; the text is empty, which :class:`~pathlib.Path` would
            take for the current folder.
    """
    if isinstance(path, str) and not path.strip():
        raise fault(Path("''"), "is an empty path, and a file or folder must be named")
    return Path(path)


def is_there(path: Path) -> bool:
    """Whether anything has this path; False also for one that nothing can have.

    A path that was read from a list may be of any length and hold any character, for which
    :meth:`pathlib.Path.exists` raises errors.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file_there(path: Path) -> bool:
    """Whether a regular file has this path; False also for one that nothing can have."""
    return os.path.isfile(path)  # noqa: PTH113


@contextlib.contextmanager
def open_input(path: Path, fault: FileFault, *, missing: str = "") -> Iterator[BinaryIO]:
    """Open a regular file for reading in binary.

    A pipe would wait for its writer and a device may never end, so neither is read.

    Args:
        path: the file; links are followed.
        fault: makes the error.
        missing: the reason where the file does not exist, "" for the system's.

    Raises:
        DescSpaceError: of the kind ``fault``; it cannot be opened, or is no regular file.
    """
    with (
        file_errors(fault, path, "cannot be read", missing=missing),
        open(path, "rb", opener=_without_waiting) as stream,
    ):
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise fault(path, f"is {'a pipe' if stat.S_ISFIFO(mode) else 'a device'}, not a file")
        yield stream


def input_size(path: Path, fault: FileFault, *, missing: str = "") -> int:
    """The bytes of a regular file, which can be read.

    Raises:
        DescSpaceError: of the kind ``fault``; it cannot be opened, or is no regular file.
    """
    with open_input(path, fault, missing=missing) as stream:
        return os.fstat(stream.fileno()).st_size


def read_input(
    path: Path, fault: FileFault, *, missing: str = "", most_bytes: int = _MOST_TEXT_BYTES
) -> bytes:
    """Read a regular file of limited size.

    Args:
        path: the file; links are followed.
        fault: makes the error.
        missing: the reason where the file does not exist, "" for the system's.
        most_bytes: longer files are refused.

    Raises:
        DescSpaceError: of the kind ``fault``; it cannot be read, is no regular file or too long.
    """
    with open_input(path, fault, missing=missing) as stream:
        size = os.fstat(stream.fileno()).st_size
        # A buffer as large as the limit would be a gigabyte for some kinds of files.
        data = stream.read(size + 1) if size <= most_bytes else b""
        while size < len(data) <= most_bytes:  # it grows, or tells no size, like those in /proc
            size = len(data)
            data += stream.read(_PART_BYTES)
    if max(size, len(data)) > most_bytes:
        raise fault(path, f"is larger than {most_bytes / 2**20:.0f} MB, too large for what it is")
    return data


def sha256_of(path: Path, fault: FileFault) -> str:
    """The SHA-256 of a regular file's bytes, in hexadecimal.

    Raises:
        DescSpaceError: of the kind ``fault``; it cannot be read, or is no regular file.
    """
    digest = hashlib.sha256()
    with open_input(path, fault, missing="does not exist") as stream:
        while part := stream.read(_PART_BYTES):
            digest.update(part)
    return digest.hexdigest()


def read_npz(
    path: Path,
    fault: FileFault,
    *,
    missing: str = "",
    damaged: str = "is not a NumPy archive, or is damaged",
    most_bytes: int = _MOST_ARRAY_BYTES,
) -> dict[str, NDArray[Any]]:
    """Read the arrays of a NumPy archive; pickled objects are refused.

    Args:
        path: the file; links are followed.
        fault: makes the error.
        missing: the reason where the file does not exist, "" for the system's.
        damaged: the reason where it cannot be understood.
        most_bytes: archives that unpack to more are refused.

    Raises:
        DescSpaceError: of the kind ``fault``; it cannot be read, is no NumPy archive, is damaged,
            or too large.
    """
    import numpy as np  # the command line prints its help without it

    with open_input(path, fault, missing=missing) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                size_bytes = sum(member.file_size for member in archive.infolist())
            if size_bytes <= most_bytes:
                stream.seek(0)
                with np.load(stream, allow_pickle=False) as stored:
                    arrays = {name: stored[name] for name in stored.files}
                # A member that does not begin as an array comes as its bytes.
                if all(isinstance(array, np.ndarray) for array in arrays.values()):
                    return arrays
                raise ValueError("holds a member that is no array")
        except OSError:
            raise
        except Exception as error:  # whatever a damaged archive makes its parsers raise
            raise fault(path, damaged) from error
    raise fault(path, f"unpacks to {size_bytes / 2**30:.1f} GB, too large for what it is")


def parse_json(data: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text that holds plain data.

    Raises:
        ValueError: it is not YAML, names a value twice, is nested too deeply, or is larger than
            any settings once its aliases are followed.
    """
    try:
        loader = _BoundedLoader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{error.problem}{where}") from error
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except Exception as error:  # constructors of scalars raise what their types happen to raise
        raise ValueError(" ".join(str(error).split())) from error


class _BoundedLoader(yaml.SafeLoader):
    """Plain data of limited depth and size, each name of a mapping given once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._size_of: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count every node as often as aliases repeat it."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        alias = self.check_event(yaml.AliasEvent)
        before = self._nodes
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        size = self._size_of.get(id(node)) if alias else 1 + self._nodes - before
        if size is None:
            raise _refused("holds itself", mark)
        self._nodes = before + size
        self._size_of[id(node)] = size
        if self._nodes > _YAML_NODES:
            raise _refused(f"holds more than {_YAML_NODES} values", mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse depth before Python's stack does."""
        self._check_depth()
        return super().compose_mapping_node(anchor)

    def compose_sequence_node(self, anchor: Any) -> yaml.SequenceNode:
        """Refuse depth before Python's stack does."""
        self._check_depth()
        return super().compose_sequence_node(anchor)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a name that is given twice: one of the values would be lost without a word."""
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refused(f"names {key.value[:80]!r} twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def _check_depth(self) -> None:
        if self._depth > _YAML_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _refused("nested too deeply", mark)


def _refused(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


_STDOUT_NAMES: Final = frozenset(("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"))
_stdout_is_taken = False


def read_number(word: str) -> float:
    """The number that a word in a file stands for.

    Raises:
        ValueError: it stands for none; nor does ``1_0``, which Python takes for 10.
    """
    if "_" in word:
        raise ValueError(f"could not convert string to float: {word!r}")
    return float(word)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV; floats with all their digits, None as an empty cell.

    A spreadsheet would run a text that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, so
    such a cell gets an apostrophe in front, unless it is a number.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        try:
            float(value)
        except ValueError:
            return f"'{value}"
    return value


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file completely or not at all, as seen by any reader.

    A link stays, and the file it points to is written.  What is no file, such as ``/dev/stdout`` or
    a pipe, is written to as a stream.

    Args:
        path: the file.
        content: all of it.
        durable: also after a power cut, which takes the time of a disk.

    Raises:
        OutputError: the folder is missing or may not be written to, the disk is full, ...
    """
    with output_errors(path):
        if is_stream(path):
            _write_stream(path, content)
            return
        target = Path(os.path.realpath(path))
        part = part_path(target)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                if durable:  # else a power cut may leave the new name on an empty file
                    os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the system raises inside the block into an :class:`~engine.errors.OutputError`."""
    failure = "cannot be written"
    missing = f"{failure}: its folder does not exist"
    with file_errors(OutputError, path, failure, missing=missing):
        yield


@contextlib.contextmanager
def stdout_taken() -> Iterator[None]:
    """Inside the block standard output is for what a command says, and no output goes there."""
    global _stdout_is_taken
    before, _stdout_is_taken = _stdout_is_taken, True
    try:
        yield
    finally:
        _stdout_is_taken = before


def is_stream(path: Path) -> bool:
    """Whether writing to a path means to send bytes along, not to make a file.

    Raises:
        OSError: the path cannot be looked at.
        OutputError: it is standard output, which is taken.
    """
    if _stdout_is_taken and path.absolute().as_posix() in _STDOUT_NAMES:
        raise OutputError(path, "is where this command says what it did: name a file")
    if path.absolute().parts[1:2] in (("dev",), ("proc",)):
        return path.exists()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def part_path(target: Path, name: str = "") -> Path:
    """A hidden name beside a file or folder for what is not complete yet; no two are the same.

    Args:
        target: the file or folder to be.
        name: its last part, where another one is wanted.
    """
    kept = os.fsencode(name or target.name)[:_NAME_BYTES].decode(errors="ignore")
    return target.with_name(f".{kept}.{uuid.uuid4().hex[:8]}.part")


def remove_parts(*folders: Path) -> None:
    """Remove what killed processes were writing in folders, by :func:`part_path`.

    Call it only where no other process writes there.
    """
    for folder in folders:
        for part in folder.glob(".*.????????.part"):
            with contextlib.suppress(OSError):
                part.unlink()


def make_folder(path: Path) -> Path:
    """Create a folder with its parents, unless it exists.

    Raises:
        OutputError: it cannot be created.
    """
    with file_errors(OutputError, path, "cannot be created"):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _write_stream(path: Path, content: bytes) -> None:
    descriptor = _without_waiting(str(path), os.O_WRONLY | os.O_APPEND)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe without waiting for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
