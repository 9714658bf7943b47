"""Other implementations to compare with, in an environment of their own.

The program does not depend on them, so they never share an environment with it.  A worker process
imports one of them, keeps its inputs, and times its own work, with as many threads as ours has.
``python main.py bench --install-peers`` makes the environment; without it, what is compared with
them has no ratio.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engine.paths import cache_dir

PACKAGES = ("faiss-cpu", "opencv-contrib-python-headless", "scikit-image")
_WORKER = Path(__file__).with_name("peer_worker.py")


def python() -> Path:
    """The interpreter of the environment, which may not exist."""
    place = cache_dir() / "benchmarks" / "peers"
    windows = sys.platform == "win32"
    return place / ("Scripts/python.exe" if windows else "bin/python")


def install() -> int:
    """Make the environment anew; returns pip's exit status."""
    place = python().parent.parent
    venv.create(place, clear=True, with_pip=True)
    command = [str(python()), "-m", "pip", "install", "--quiet", *PACKAGES]
    return subprocess.run(command, check=False).returncode


def share_threads() -> int:
    """Let torch use as many threads as a peer gets, one a core and at most two; how many."""
    import torch

    threads = min(2, os.cpu_count() or 1)
    torch.set_num_threads(threads)
    return threads


def join(
    stack: contextlib.ExitStack,
    works: dict[str, Callable[[], float | None]],
    title: str,
    name: str,
    *,
    threads: int,
    **arrays: NDArray[np.generic],
) -> None:
    """Add a peer's work to those that take turns, until the stack ends; if it is there.

    Args:
        stack: ends its process.
        works: by title.
        title: the peer's in ``works``.
        name, threads, arrays: as for :class:`Peer`.
    """
    try:
        works[title] = stack.enter_context(Peer(name, threads=threads, **arrays)).run
    except RuntimeError as error:
        print(f"{name} is not measured: {error}", file=sys.stderr)


class Peer:
    """One piece of work of another implementation, in a process that stays.

    Args:
        name: of the work, one of those in ``peer_worker.py``.
        threads: it may use.
        arrays: its inputs.

    Raises:
        RuntimeError: there is no such environment, or the work cannot be prepared.
    """

    def __init__(self, name: str, *, threads: int, **arrays: NDArray[np.generic]) -> None:
        if not python().is_file():
            raise RuntimeError("there is no environment of peers: bench --install-peers makes it")
        self._folder = tempfile.TemporaryDirectory()
        inputs = Path(self._folder.name) / "inputs.npz"
        np.savez(inputs, allow_pickle=False, **arrays)
        self._process = subprocess.Popen(
            [str(python()), str(_WORKER), name, str(threads), str(inputs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def run(self) -> float:
        """Do the work once; returns the seconds that it took in its process."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._folder.cleanup()
            raise RuntimeError(f"the peer ended with code {self._process.returncode}")
        return float(json.loads(line))
