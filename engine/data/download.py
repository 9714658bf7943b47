"""Loads files from the network, continued where they broke off; checks and unpacks HPatches.

Several addresses are tried in order.  What was loaded of a file stays beside its place as ``.part``
until the file is whole, even if the user stops it or the program ends.  The SHA-256 of a file
is written down when it could be used the first time; a later file of the same name that differs
is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import queue
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import engine
from engine.data.archives import Limits, check_space, extract_archive
from engine.data.layouts.hpatches import HPatchesReader
from engine.errors import DatasetError, DownloadError, OutputError, file_errors
from engine.files import is_stream, make_folder, parse_json, read_input, write_atomically
from engine.paths import user_data_dir
from engine.progress import JobContext, Note, Progress, Stage
from engine.writer_lock import sole_writer

HPATCHES_URLS: Final = (
    "https://huggingface.co/datasets/vbalnt/hpatches/resolve/main/hpatches-sequences-release.zip",
    "http://icvl.ee.ic.ac.uk/vbalnt/hpatches/hpatches-sequences-release.tar.gz",
)
"""Where the image sequences of HPatches (Balntas and others, CVPR 2017) are, tried in order."""

HPATCHES_FOLDER: Final = "hpatches-sequences-release"
RECORDS_FILE: Final = "downloads.json"

_CHUNK_BYTES: Final = 1 << 18
_MB: Final = 1_000_000
_LOOK_EVERY_S: Final = 0.2
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_GIVE_UP_AT: Final = frozenset({400, 401, 403, 404, 405, 410, 451})


_Item = http.client.HTTPResponse | bytes | Exception | None


class _UnsafeRedirectError(Exception):
    """A server names an address that must not be followed."""


class _ChangedError(DownloadError):
    """A file is not what it was the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is known of a file before it is loaded.

    Attributes:
        size_bytes: its length; a file of another length is refused.  None if unknown.
        secrets: headers for this address alone, not for those that it redirects to.
        unpacks: it will be unpacked, which takes at least its size again.
    """

    size_bytes: int | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    unpacks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a file that breaks off is tried again.

    Attributes:
        retries: times in a row without one new byte.
        pause_s: before the first of them; each further pause is twice as long.
        timeout_s: silence after which a connection counts as broken.
    """

    retries: int = 4
    pause_s: float = 1.0
    timeout_s: float = 20.0


def download_hpatches(
    folder: Path,
    context: JobContext,
    *,
    urls: Sequence[str] | None = None,
    limits: Limits | None = None,
    patience: Patience | None = None,
) -> Path:
    """Load and unpack the sequences of HPatches, unless they are there.

    Args:
        folder: where the folder of the sequences goes and, meanwhile, the archive.
        context: receives progress in MB and in files, and is checked for cancelling.
        urls: zip or tar archives, tried in order; None for :data:`HPATCHES_URLS`.
        limits: what an archive may hold.
        patience: with each address.

    Returns:
        The folder of the sequences.

    Raises:
        DownloadError: no address gave a usable archive, or one differs from what it was before.
        OutputError: the folder cannot be written, another process is loading into it, or the
            disk is too small.
        JobCancelled: what was loaded is kept; the same call continues there.
    """
    place = folder / HPATCHES_FOLDER
    if place.exists():
        try:
            HPatchesReader().read(place)
        except DatasetError as error:
            raise OutputError(
                place, f"is in the way: move it elsewhere ({error.reason})"
            ) from error
        context.emit(Note(f"{place} is there already; nothing was loaded."))
        return place
    with sole_writer(folder, HPATCHES_FOLDER):
        return _load_from_any(
            HPATCHES_URLS if urls is None else urls, place, context, limits or Limits(), patience
        )


def _load_from_any(
    urls: Sequence[str], place: Path, context: JobContext, limits: Limits, patience: Patience | None
) -> Path:
    failures = []
    for url in urls:
        try:
            return _load_and_unpack(url, place, context, limits, patience)
        except _ChangedError:
            raise  # the file must not be replaced from another address
        except (DownloadError, DatasetError) as error:
            failures.append(str(error).removesuffix("."))
            context.emit(Note(str(error), "warning"))
    raise DownloadError("No address gave a usable archive", "; ".join(failures))


def _load_and_unpack(
    url: str, place: Path, context: JobContext, limits: Limits, patience: Patience | None
) -> Path:
    archive = place.parent / _file_name(url)
    digest = fetch(url, archive, context, patience=patience, wanted=Wanted(unpacks=True))
    known = _recorded(archive.name)
    try:
        if known is not None and known["sha256"] != digest:
            raise _ChangedError(
                url,
                f"the file is not the one of {known['date']} (SHA-256 {digest[:12]}… instead of "
                f"{known['sha256'][:12]}…) and was deleted; if a new version was published, "
                f"remove its entry from {_records_path()}",
            )
        _unpack(archive, place, context, limits)
    except (DownloadError, DatasetError):
        archive.unlink(missing_ok=True)
        raise
    _record(archive.name, url, digest)
    archive.unlink()
    return place


def fetch(
    url: str,
    target: Path,
    context: JobContext,
    *,
    patience: Patience | None = None,
    wanted: Wanted | None = None,
) -> str:
    """Load one file, continuing at what is there of it.

    Args:
        url: http or https.
        target: the file, there when it is whole; until then there is a ``.part`` file beside it.
        context: receives progress, and is checked for cancelling.
        patience: see :class:`Patience`.
        wanted: see :class:`Wanted`.

    Returns:
        The file's SHA-256.

    Raises:
        DownloadError: the address refuses it, or breaks off again and again.
        OutputError: the file cannot be written, or the disk is too small.
        JobCancelled: what was loaded is kept.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(url, "is no address that begins with http:// or https://")
    patience = patience or Patience()
    part = _Part(target)
    with file_errors(OutputError, target, "cannot be written"):
        if not target.exists():
            _load_all(url, part, context, patience, wanted or Wanted())
        return _sha256(target, context)


def _load_all(
    url: str, part: _Part, context: JobContext, patience: Patience, wanted: Wanted
) -> None:
    """Connect again until the file is whole, or no connection brings anything new."""
    best, fruitless = part.size_bytes, 0
    while True:
        context.cancel.check()
        reason = _load_some(url, part, context, patience, wanted)
        if not reason:
            part.finish()
            return
        if part.size_bytes > best:
            best, fruitless = part.size_bytes, 0
        else:
            fruitless += 1
        if fruitless > patience.retries:
            raise DownloadError(url, f"{reason}, also after {patience.retries} further attempts")
        context.cancel.sleep(patience.pause_s * 2 ** max(fruitless - 1, 0))


def _load_some(
    url: str, part: _Part, context: JobContext, patience: Patience, wanted: Wanted
) -> str:
    """One connection; returns why the file is not whole yet, "" when it is."""
    headers = {
        "User-Agent": f"descriptor-space/{engine.__version__}",
        "Accept-Encoding": "identity",  # else lengths would be those of compressed data
    }
    have = part.size_bytes
    if have:
        headers["Range"] = f"bytes={have}-"
        if part.validator:
            headers["If-Range"] = part.validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - fetch() checked it
    for name, value in wanted.secrets.items():
        request.add_unredirected_header(name, value)
    stream = _Stream(request, patience.timeout_s)
    try:
        first = stream.next(context)
        if isinstance(first, Exception):
            return _judge_failure(url, part, first)
        assert isinstance(first, http.client.HTTPResponse)
        begin, total = _place_of(first, have)
        if begin is None:
            part.clear()
            return "the server sends another part of the file than was asked for"
        size = wanted.size_bytes
        if size is not None and total not in (None, size):
            part.clear()
            raise DownloadError(url, f"the server sends {total} bytes instead of {size}")
        total = size if total is None else total
        if total is not None:
            needed, purpose = total - begin, "to load the file"
            if wanted.unpacks:  # at least as much again
                needed, purpose = needed + total, "to load and unpack the file"
            check_space(part.path.parent, needed, purpose)
        tag = first.headers.get("ETag", "")
        # What tells this state of the file from later ones; a weak tag does not.
        validator = tag if tag.startswith('"') else first.headers.get("Last-Modified", "")
        with part.writing(begin, validator) as file:
            while True:
                _tell(context, begin, total)
                chunk = stream.next(context)
                if chunk is None or isinstance(chunk, Exception):
                    break
                assert isinstance(chunk, bytes)
                begin += len(chunk)
                if size is not None and begin > size:
                    break
                file.write(chunk)
        if size is not None and begin > size:
            part.clear()
            raise DownloadError(url, f"the server sends more than the {size} bytes of the file")
        if isinstance(chunk, Exception):
            return f"the connection broke off ({_reason_of(chunk)})"
        if total is not None and begin < total:
            return f"the connection ended after {begin} of the {total} bytes announced"
        return "" if begin else "the file is empty"
    finally:
        stream.left.set()


def _judge_failure(url: str, part: _Part, error: Exception) -> str:
    """What a refused or failed connection means; some end all trying."""
    if isinstance(error, _UnsafeRedirectError):
        raise DownloadError(url, str(error)) from error
    if not isinstance(error, urllib.error.HTTPError):
        return f"cannot be reached ({_reason_of(error)})"
    error.close()
    if error.code in _GIVE_UP_AT:
        raise DownloadError(url, f"the server refuses it ({error.code} {error.reason})")
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        match = _CONTENT_RANGE.fullmatch(error.headers.get("Content-Range", ""))
        if match and match[3] == str(part.size_bytes):
            return ""  # all of it was loaded, and the program ended before it noted that
        part.clear()
    return f"the server answers {error.code} {error.reason}"


def _place_of(head: http.client.HTTPResponse, have: int) -> tuple[int | None, int | None]:
    """Where the body begins in the file (None: elsewhere than asked), and the file's length."""
    if head.status != http.HTTPStatus.PARTIAL_CONTENT:
        length = head.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    match = _CONTENT_RANGE.fullmatch(head.headers.get("Content-Range", ""))
    if match is None or match[1] is None or int(match[1]) != have:
        return None, None
    return have, int(match[3]) if match[3] != "*" else int(match[2]) + 1


def _reason_of(error: Exception) -> str:
    """A network fault in few words."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(str(text).split()).removesuffix(".")


def _tell(context: JobContext, done_bytes: int, total_bytes: int | None) -> None:
    total = None if total_bytes is None else max(1, -(-total_bytes // _MB))
    whole = total_bytes is not None and done_bytes >= total_bytes
    done = total if whole and total is not None else done_bytes // _MB
    context.emit(Progress(Stage.DOWNLOADING, done, total))


def _sha256(path: Path, context: JobContext) -> str:
    digest = hashlib.sha256()
    total, done = max(1, -(-path.stat().st_size // _MB)), 0
    with path.open("rb") as file:
        while chunk := file.read(4 * _CHUNK_BYTES):
            context.cancel.check()
            digest.update(chunk)
            done += len(chunk)
            context.emit(Progress(Stage.CHECKING_DOWNLOAD, min(total, -(-done // _MB)), total))
    return digest.hexdigest()


def _unpack(archive: Path, place: Path, context: JobContext, limits: Limits) -> None:
    """Unpack beside the place, see whether it is a data set, and only then put it there."""
    whole = place.with_name(f".{place.name}.unpacked")
    shutil.rmtree(whole, ignore_errors=True)  # of a process that ended just before the renaming
    try:
        extract_archive(archive, whole, context, limits=limits)
        try:
            HPatchesReader().read(whole)
        except DatasetError as error:
            reason = f"holds no image sequences ({error.reason})"
            raise DatasetError(archive, reason.replace(str(whole), ".")) from error
        entries = list(whole.iterdir())
        # The archive wraps all sequences in one folder, which is dropped.
        inner = entries[0] if len(entries) == 1 and _holds_folders(entries[0]) else whole
        with file_errors(OutputError, place, "cannot be created"):
            inner.rename(place)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())


def _file_name(url: str) -> str:
    name = Path(urlsplit(url).path).name
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "archive"


# ---- what was loaded before --------------------------------------------------------------------


def _records_path() -> Path:
    return user_data_dir() / RECORDS_FILE


def _read_records() -> dict[str, Any]:
    path = _records_path()
    if not path.exists():
        return {}
    try:
        values = parse_json(read_input(path, OutputError))
    except ValueError as error:
        # Without them a changed file would pass for the first of its name.
        raise OutputError(path, f"cannot be read; repair or delete it ({error})") from error
    return values if isinstance(values, dict) else {}


def _recorded(name: str) -> Mapping[str, str] | None:
    """SHA-256 and date of a file that could be used before."""
    entry = _read_records().get(name)
    if isinstance(entry, dict) and isinstance(entry.get("sha256"), str):
        return {"sha256": entry["sha256"], "date": str(entry.get("date", "an earlier day"))}
    return None


def _record(name: str, url: str, digest: str) -> None:
    records = _read_records()
    records.setdefault(
        name, {"sha256": digest, "url": url, "date": time.strftime("%Y-%m-%d", time.gmtime())}
    )
    path = _records_path()
    make_folder(path.parent)
    write_atomically(path, json.dumps(records, indent=1).encode("utf-8"))


# ---- one file and one connection ---------------------------------------------------------------


class _Part:
    """What is there of a file, and which state of the server's file it belongs to."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.txt")

    @property
    def size_bytes(self) -> int:
        """How much of it was loaded."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str:
        """The server's mark of the state that was being loaded; "" if it gave none."""
        with contextlib.suppress(OutputError):  # also what is no file, such as a pipe
            mark = read_input(self._note, OutputError).decode("latin-1").strip()
            return mark if mark.isprintable() else ""
        return ""

    @contextlib.contextmanager
    def writing(self, begin: int, validator: str) -> Iterator[Any]:
        """The file, opened behind its first ``begin`` bytes."""
        for path in (self._note, self.path):
            if is_stream(path):  # a pipe would wait for a reader
                path.unlink()
        self._note.write_text(validator, encoding="latin-1")
        with self.path.open("ab") as file:
            file.truncate(begin)
            try:
                yield file
            finally:
                file.flush()

    def clear(self) -> None:
        """Start over next time."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """The file is whole: give it its name."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self._target)
        self._note.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows other addresses, but never from an encrypted one to one that is not."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        target = urlsplit(newurl)
        allowed = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if target.scheme not in allowed:
            fp.close()  # nobody else does when this raises
            raise _UnsafeRedirectError(f"it sends us on to {target.scheme}://{target.netloc}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Stream:
    """A connection that is read in a thread of its own.

    A name server or a socket can hang longer than a user waits, and nothing can wake it; so the
    thread is left behind in that case and ends by itself at its timeout.  It touches no file.
    """

    def __init__(self, request: urllib.request.Request, timeout_s: float) -> None:
        self._request = request
        self._timeout_s = timeout_s
        self.left = threading.Event()
        self._items: queue.Queue[_Item] = queue.Queue(maxsize=8)
        threading.Thread(target=self._read, name="download", daemon=True).start()

    def next(self, context: JobContext) -> _Item:
        """The head, then pieces of the body, at last None or what went wrong."""
        while True:
            context.cancel.check()
            with contextlib.suppress(queue.Empty):
                return self._items.get(timeout=_LOOK_EVERY_S)

    def _read(self) -> None:
        try:
            opener = urllib.request.build_opener(_Redirects)
            with opener.open(self._request, timeout=self._timeout_s) as response:
                self._put(response)
                while not self.left.is_set() and (chunk := response.read1(_CHUNK_BYTES)):
                    self._put(chunk)
            self._put(None)
        except Exception as error:  # the border of the thread
            if not self._put(error) and isinstance(error, urllib.error.HTTPError):
                error.close()

    def _put(self, item: _Item) -> bool:
        """Hand over; returns whether somebody still takes it."""
        while not self.left.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_LOOK_EVERY_S)
                return True
        return False
