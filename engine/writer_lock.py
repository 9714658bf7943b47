"""One writer at a time in a folder: two of them would mix their rows and checkpoints.

The operating system holds the lock (:mod:`filelock`), so it ends with its process, however that
ends.  File systems without such locks get a file with the process's number instead, which filelock
recognises as stale once that process is gone.  Who holds it stands beside it, for the message.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import OutputError, quoted
from engine.files import make_folder, output_errors, parse_json, read_input, write_atomically


@contextlib.contextmanager
def sole_writer(folder: Path, entry: str = "") -> Iterator[None]:
    """Hold the right to write into a folder inside the block; the folder is made if needed.

    Args:
        folder: of a run.
        entry: the name in the folder that will be written, where others may be written meanwhile.

    Raises:
        OutputError: another process, or another thread of this one, holds it, and which; or the
            folder cannot be written.
    """
    import filelock  # the command line prints its help without it

    make_folder(folder)
    stem = f".{entry}-writer" if entry else ".writer"
    lock = filelock.FileLock(folder / f"{stem}.lock", blocking=False, thread_local=False)
    owner = folder / f"{stem}.json"
    with output_errors(folder):
        try:
            lock.acquire()
        except filelock.Timeout as error:  # an OSError, too
            raise OutputError(folder / entry, f"is being written by {_holder(owner)}") from error
    try:
        facts = {"pid": os.getpid(), "host": socket.gethostname()}
        write_atomically(owner, json.dumps(facts).encode())
        yield
    finally:
        # Removed while still held: a process that opened it before, and locks it now, notices that
        # its file is gone.
        for file in (owner, folder / f"{stem}.lock"):
            with contextlib.suppress(OSError):
                file.unlink()
        lock.release()


def _holder(owner: Path) -> str:
    """Who holds a lock, as well as can be said."""
    try:
        facts: Any = parse_json(read_input(owner, OutputError))
        pid, host = int(facts["pid"]), str(facts["host"])
    except (OutputError, ValueError, TypeError, KeyError, OverflowError):
        return "another process; wait for it, or stop it"
    if host != socket.gethostname():
        return f"process {pid} on {quoted(host)}; wait for it, or stop it there"
    if pid == os.getpid():
        return "this program already; wait for it, or stop it"
    return f"process {pid}; wait for it, or stop it"
