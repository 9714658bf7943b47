"""Unpacks archives from the network; none writes outside its folder or fills the disk.

An archive is unpacked whole or not at all.  What is refused: absolute names, ``..``, names that
another system would read as a drive or a parent folder, links, devices, more files or bytes than
allowed, and sizes that are not those announced.
"""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from engine.errors import DatasetError, OutputError, file_errors, quoted
from engine.files import input_size, part_path
from engine.progress import JobContext, Progress, Stage

_CHUNK_BYTES: Final = 1 << 20
_LONGEST_READ_BYTES: Final = 2 * _CHUNK_BYTES
_LONGEST_NAME: Final = 240
_RESERVE_BYTES: Final = 64 << 20
_BROKEN: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error),
    *(EOFError, NotImplementedError, RuntimeError, UnicodeError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may hold at most, so that a small file cannot fill a disk."""

    size_bytes: int = 16 << 30
    files: int = 20_000


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of an archive: its place, its announced size, and what opens it."""

    path: PurePosixPath
    size_bytes: int
    source: Any


def extract_archive(
    archive: Path, folder: Path, context: JobContext, *, limits: Limits | None = None
) -> None:
    """Unpack a zip or tar file into a folder that does not exist yet.

    Args:
        archive: the file; compressed tar files too.
        folder: made here, complete or not at all.
        context: receives progress, and is checked for cancelling.
        limits: see :class:`Limits`.

    Raises:
        DatasetError: it is no archive, it is broken, or something in it is refused; the message
            says what.
        OutputError: the folder exists, or cannot be written, or the disk is too small.
        JobCancelled: nothing is left behind.
    """
    if folder.exists():
        raise OutputError(folder, "exists already")
    input_size(archive, DatasetError)
    temporary = part_path(folder)
    try:
        with file_errors(OutputError, folder, "cannot be written"):
            temporary.mkdir(parents=True)
            try:
                unpack = _extract_zip if zipfile.is_zipfile(archive) else _extract_tar
                unpack(archive, temporary, context, limits or Limits())
            except _BROKEN as error:
                raise DatasetError(archive, f"is a broken archive ({error})") from error
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract_zip(archive: Path, folder: Path, context: JobContext, limits: Limits) -> None:
    with zipfile.ZipFile(archive) as opened:
        # A zip lists all sizes first, so that nothing is written for nothing.
        members = list(_checked(archive, _zip_members(archive, opened), limits))
        check_space(folder.parent, sum(member.size_bytes for member in members), "to unpack")
        for number, member in enumerate(members, start=1):
            with opened.open(member.source) as source:
                _write(archive, folder, member, source, context)
            context.emit(Progress(Stage.UNPACKING, number, len(members)))


def _extract_tar(archive: Path, folder: Path, context: JobContext, limits: Limits) -> None:
    with _TarSource(archive, limits) as plain, tarfile.open(fileobj=plain, mode="r:") as opened:
        count = 0
        for member in _checked(archive, _tar_members(archive, opened), limits):
            check_space(folder.parent, member.size_bytes, "to unpack")
            source = opened.extractfile(member.source)
            assert source is not None, "only files are members"
            with source:
                _write(archive, folder, member, source, context)
            count += 1
            context.emit(Progress(Stage.UNPACKING, count))
        while plain.read(_CHUNK_BYTES):  # the checksum of a compressed file is at its end
            context.cancel.check()
    context.emit(Progress(Stage.UNPACKING, count, count))


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DatasetError(archive, f"holds {quoted(info.filename)}, a link or device; refused")
        path = _safe_path(archive, info.filename)
        if not info.is_dir():
            yield _Member(path, info.file_size, info)


def _tar_members(archive: Path, opened: tarfile.TarFile) -> Iterator[_Member]:
    for info in opened:
        path = _safe_path(archive, info.name)
        if info.isreg():
            yield _Member(path, info.size, info)
        elif not info.isdir():
            raise DatasetError(archive, f"holds {quoted(info.name)}, a link or device; refused")


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    """The place of a member below the folder."""
    path = PurePosixPath(name)
    parts = path.parts
    unsafe = (
        path.is_absolute()
        or ".." in parts
        or any(sign in name for sign in ("\\", ":", "\0"))
        or any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME for part in parts)
    )
    if unsafe:
        raise DatasetError(archive, f"holds {quoted(name)}, which leaves the folder; refused")
    return path


def _checked(archive: Path, members: Iterator[_Member], limits: Limits) -> Iterator[_Member]:
    """Pass members on while they are within the limits; no name may come twice."""
    size = 0
    seen: set[str] = set()
    for member in members:
        size += member.size_bytes
        if member.size_bytes < 0 or size > limits.size_bytes:
            raise DatasetError(
                archive, f"would unpack to more than {limits.size_bytes / 1e9:.3g} GB; refused"
            )
        if len(seen) >= limits.files:
            raise DatasetError(archive, f"holds more than {limits.files} files; refused")
        key = str(member.path).casefold()  # some disks take both cases for one name
        if key in seen or not member.path.parts:
            raise DatasetError(archive, f"holds {quoted(str(member.path))} twice; refused")
        seen.add(key)
        yield member


def check_space(folder: Path, size_bytes: int, purpose: str) -> None:
    """Refuse before the disk is full.

    Args:
        folder: of the result; it exists.
        size_bytes: of what will be written.
        purpose: what the space is for, such as "to unpack".

    Raises:
        OutputError: there is less space, with some to spare.
    """
    free = shutil.disk_usage(folder).free
    if free < size_bytes + _RESERVE_BYTES:
        raise OutputError(
            folder,
            f"has {free / 1e9:.2f} GB free, and at least {size_bytes / 1e9:.2f} GB are needed "
            f"{purpose}",
        )


def _write(
    archive: Path, folder: Path, member: _Member, source: IO[bytes], context: JobContext
) -> None:
    target = folder.joinpath(*member.path.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.size_bytes
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            context.cancel.check()
            left -= len(chunk)
            if left < 0:
                break
            file.write(chunk)
    if left:
        raise DatasetError(
            archive, f"holds {quoted(str(member.path))} in another size than announced"
        )


class _TarSource(io.BufferedIOBase):
    """The plain bytes of a tar file, compressed or not, with a guard against hidden bombs.

    A header that claims to be long would be read into memory at once, and a compressed run of
    zeros costs its author nothing; both are refused.
    """

    def __init__(self, archive: Path, limits: Limits) -> None:
        super().__init__()
        self._archive = archive
        # Headers and padding come on top of what the files hold.
        self._limit_bytes = limits.size_bytes + limits.files * 4096 + (1 << 20)
        self._raw = archive.open("rb")
        self._file: IO[bytes] | gzip.GzipFile = self._raw
        if self._raw.read(2) == b"\x1f\x8b":
            self._file = gzip.GzipFile(fileobj=self._raw)
        self._raw.seek(0)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes; a file asks in pieces, only a header asks for all it has."""
        if size is None or not 0 <= size <= _LONGEST_READ_BYTES:
            raise DatasetError(self._archive, "holds a header of absurd length; refused")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position; in a compressed file everything before it is unpacked."""
        assert whence == io.SEEK_SET, "tarfile seeks from the start"
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        """The current position."""
        return self._file.tell()

    def _check(self, position: int) -> None:
        if position > self._limit_bytes:
            raise DatasetError(self._archive, "unpacks to more than is allowed; refused")
