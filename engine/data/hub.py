"""Loads files from the Hugging Face hub into its cache, where every library finds them.

The hub's own library asks for a file's size and hash, knows the user's login, and names the places;
the body is loaded by :mod:`engine.data.download`, which shows progress, can be stopped at any
moment and continues where it was.  A file gets its name in the cache only when its hash is that
which the hub told.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from engine.data.download import Patience, Wanted, fetch
from engine.errors import DownloadError, OutputError, file_errors
from engine.files import make_folder, write_atomically
from engine.progress import JobContext
from engine.writer_lock import sole_writer

OFFLINE_REASON: Final = "is not asked, because HF_HUB_OFFLINE forbids it; unset it to download"

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_MOST_BYTES: Final = 50_000_000_000
_LOOK_EVERY_S: Final = 0.2
_TRY_AGAIN_AT: Final = frozenset({408, 429, 500, 502, 503, 504})

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the hub, as the hub tells of it.

    Attributes:
        repo: ``owner/name``.
        revision: that was asked for.
        name: path inside the repository.
        commit: that the revision stands for now.
        digest: SHA-256, or for small files git's SHA-1.
        size_bytes: its length.
    """

    repo: str
    revision: str
    name: str
    commit: str
    digest: str
    size_bytes: int

    @property
    def url(self) -> str:
        """Its address; the commit in it keeps it the same."""
        url: str = _hub().hf_hub_url(
            self.repo, self.name, revision=self.commit, endpoint=_constants().ENDPOINT
        )
        return url


def ask_hub(
    repo: str,
    revision: str,
    names: Sequence[str],
    context: JobContext,
    *,
    patience: Patience | None = None,
) -> HubFile | None:
    """What the hub tells of the first of some files that a repository has.

    Args:
        repo: ``owner/name``.
        revision: branch, tag or commit.
        names: paths inside the repository.
        context: checked for cancelling.
        patience: with a hub that does not answer.

    Returns:
        None if the repository has none of them.

    Raises:
        DownloadError: the hub cannot be reached or refuses, or tells no hash of the file.
        JobCancelled: it was stopped.
    """
    patience = patience or Patience()
    for name in names:
        found = _ask(repo, revision, name, context, patience)
        if found is not None:
            return found
    return None


def download_hub_file(
    file: HubFile, context: JobContext, *, patience: Patience | None = None
) -> Path:
    """Load a file into the hub's cache, unless it is there.

    Returns:
        Its place in the cache.

    Raises:
        DownloadError: it cannot be loaded, or is not what the hub told.
        OutputError: the cache cannot be written, another process is loading the same file, or the
            disk is too small.
        JobCancelled: what was loaded is kept; the same call continues there.
    """
    cache = Path(_constants().HF_HUB_CACHE)
    folder = cache / f"models--{file.repo.replace('/', '--')}"
    blob = folder / "blobs" / file.digest
    pointer = folder / "snapshots" / file.commit / Path(*file.name.split("/"))
    with sole_writer(blob.parent, blob.name):
        if not pointer.is_file():
            if not (blob.is_file() and blob.stat().st_size == file.size_bytes):
                _load_blob(file, blob, context, patience)
            with file_errors(OutputError, pointer, "cannot be written"):
                _point(pointer, blob)
        if file.revision != file.commit:
            ref = folder / "refs" / Path(*file.revision.split("/"))
            make_folder(ref.parent)
            write_atomically(ref, file.commit.encode())
    return pointer


def offline() -> bool:
    """Whether the user forbids all network, by ``HF_HUB_OFFLINE``."""
    return bool(_constants().HF_HUB_OFFLINE)


def download_torch_file(
    url: str,
    target: Path,
    context: JobContext,
    *,
    sha256_start: str,
    patience: Patience | None = None,
) -> Path:
    """Load a file of torch's hub, whose names tell how the SHA-256 of the content begins.

    Args:
        url: its address.
        target: where it goes; nothing is loaded if it is there.
        sha256_start: the beginning of its SHA-256.
        context: receives progress, and is checked for cancelling.
        patience: with the server.

    Raises:
        DownloadError: it cannot be loaded, or has another hash.
        OutputError: it cannot be written, another process is loading it, or the disk is too small.
        JobCancelled: what was loaded is kept; the same call continues there.
    """
    with sole_writer(target.parent, target.name):
        if not target.is_file():
            _load_checked(
                url,
                target,
                lambda _loaded, sha256: sha256.startswith(sha256_start),
                context,
                patience,
                Wanted(),
            )
    return target


# ---- asking --------------------------------------------------------------------------------------


def _ask(
    repo: str, revision: str, name: str, context: JobContext, patience: Patience
) -> HubFile | None:
    hub, errors = _hub(), importlib.import_module("huggingface_hub.errors")
    endpoint: str = _constants().ENDPOINT
    place = f"{endpoint}/{repo}"
    if offline():
        raise DownloadError(place, OFFLINE_REASON)
    url = hub.hf_hub_url(repo, name, revision=revision, endpoint=endpoint)
    for attempt in range(patience.retries + 1):
        try:
            told = _in_thread(
                lambda: hub.get_hf_file_metadata(
                    url, timeout=patience.timeout_s, endpoint=endpoint
                ),
                context,
            )
            break
        except errors.RemoteEntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            reason = "is open only to those who accepted its terms there and are logged in"
            raise DownloadError(place, f"{reason} (hf auth login)") from error
        except errors.RevisionNotFoundError as error:
            raise DownloadError(place, f"has no revision {revision!r}") from error
        except errors.RepositoryNotFoundError as error:
            reason = "does not exist, or is open only to those who are logged in (hf auth login)"
            raise DownloadError(place, reason) from error
        except Exception as error:  # whatever its network library raises
            if attempt == patience.retries or not _may_pass(error):
                raise DownloadError(place, _reason(error)) from error
            context.cancel.sleep(patience.pause_s * 2**attempt)
    return _checked(repo, revision, name, told, url)


def _checked(repo: str, revision: str, name: str, told: Any, url: str) -> HubFile:
    commit, digest, size = told.commit_hash, told.etag, told.size
    if not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise DownloadError(url, "the server tells no commit, as a hub would")
    if not (isinstance(digest, str) and (_SHA256.fullmatch(digest) or _GIT_SHA1.fullmatch(digest))):
        raise DownloadError(url, "the server tells no hash of the file, so it is not loaded")
    if not (isinstance(size, int) and 0 < size <= _MOST_BYTES):
        raise DownloadError(url, "the server tells no size of the file that could be true")
    return HubFile(repo, revision, name, commit, digest, size)


def _may_pass(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is None or response.status_code in _TRY_AGAIN_AT


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None and response.status_code in (401, 403):
        return f"the server refuses it without a login ({response.status_code}; hf auth login)"
    if response is not None:
        return f"the server answers {response.status_code} {response.reason_phrase}".rstrip()
    if "timeout" in type(error).__name__.lower():
        return "cannot be reached (no answer in time)"
    words = str(error).split("\n", 1)[0] or type(error).__name__
    return f"cannot be reached ({' '.join(words.split()).rstrip('.')})"


def _in_thread(work: Callable[[], _Answer], context: JobContext) -> _Answer:
    """The result of work that nothing can wake; it is left behind when the user stops."""
    done = threading.Event()
    results: list[_Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # the border of the thread
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="ask-hub", daemon=True).start()
    while not done.wait(_LOOK_EVERY_S):
        context.cancel.check()
    context.cancel.check()
    if errors:
        raise errors[0]
    return results[0]


# ---- the cache -----------------------------------------------------------------------------------


def _load_blob(file: HubFile, blob: Path, context: JobContext, patience: Patience | None) -> None:
    wanted = Wanted(size_bytes=file.size_bytes, secrets=_login(file.url))

    def right(loaded: Path, sha256: str) -> bool:
        small = _GIT_SHA1.fullmatch(file.digest) is not None
        return (_git_sha1(loaded) if small else sha256) == file.digest

    _load_checked(file.url, blob, right, context, patience, wanted)


def _load_checked(
    url: str,
    target: Path,
    right: Callable[[Path, str], bool],
    context: JobContext,
    patience: Patience | None,
    wanted: Wanted,
) -> None:
    """Load a file, and give it its name if it is the right one."""
    loading = target.with_name(f"{target.name}.incomplete")
    again = True
    while again:
        # What was there of it may have been of another file; then it is loaded once more.
        again = any(target.parent.glob(f"{loading.name}*"))
        sha256 = fetch(url, loading, context, patience=patience, wanted=wanted)
        with file_errors(OutputError, target, "cannot be written"):
            if right(loading, sha256):
                loading.replace(target)
                return
            loading.unlink()
    raise DownloadError(url, "what was loaded is not what its hash tells, and was deleted")


def _point(pointer: Path, blob: Path) -> None:
    """Give a blob its readable name; it moves there where links cannot be made."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        pointer.unlink()  # to what is gone
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except (OSError, NotImplementedError):
        blob.replace(pointer)


def _git_sha1(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _login(url: str) -> dict[str, str]:
    """The user's login, for the hub itself alone."""
    if urlsplit(url).netloc != urlsplit(_constants().ENDPOINT).netloc:
        return {}
    token = None if _constants().HF_HUB_DISABLE_IMPLICIT_TOKEN else _hub().get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _hub() -> Any:
    return importlib.import_module("huggingface_hub")


def _constants() -> Any:
    return importlib.import_module("huggingface_hub.constants")
