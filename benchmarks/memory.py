"""The memory that whole programs take at their peaks, as the system counts it.

An evaluation must take as much for many sequences as for few, and a large pair what it was granted.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, summarise
from benchmarks.sequences import demo_sequences, link_sequences
from engine.images import write_image

_MAIN = Path(__file__).resolve().parent.parent / "main.py"
_FEW, _MANY = 4, 40
_LARGE_PX = (4000, 3000)
_FLAT = 1.1
_WATCH_S = 0.02


def measure(runs: int) -> list[Figure]:
    """A viewer with one pair, evaluations of few and many sequences, and a large pair."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        small = demo_sequences()
        first, second = (next(small[0].glob(f"{number}.*")) for number in (1, 2))
        large = [_write_large(folder / f"{name}.png") for name in "ab"]
        sets = {count: link_sequences(small, count, folder / str(count)) for count in (_FEW, _MANY)}

        def evaluate(count: int) -> float:
            out = Path(tempfile.mkdtemp(dir=folder)) / "run"
            return _peak_mb(
                "evaluate", "--dataset", str(sets[count]), "--descriptor", "daisy",
                "--set", "stride_px=8", "--long-edge", "320", "--out", str(out),
            )  # fmt: skip

        matching = (
            "match", *map(str, large), "--descriptor", "daisy", "--set", "stride_px=8",
            "--long-edge", "0", "--out", str(folder / "matches.csv"),
        )  # fmt: skip
        viewer, few, many, pair = [], [], [], []
        for _ in range(runs):
            view = ("view", str(first), str(second), "--screenshot", str(folder / "shot.png"))
            viewer.append(_peak_mb(*view))
            few.append(evaluate(_FEW))
            many.append(evaluate(_MANY))
            pair.append(_peak_mb(*matching))
    base = f"memory: an evaluation of {_FEW} sequences"
    width, height = _LARGE_PX
    return [
        summarise("memory: the viewer with a pair", viewer, unit="MB", note="640 px, PCA colours"),
        summarise(base, few, unit="MB", note="DAISY, long edge 320"),
        summarise(
            f"memory: an evaluation of {_MANY} sequences", many, unit="MB", ratio_to=base,
            target=_FLAT, of_ratio=True,
        ),
        summarise(
            f"memory: matching a pair of {width} × {height}", pair, unit="MB",
            note="DAISY, one descriptor every 8 px",
        ),
    ]  # fmt: skip


def _write_large(path: Path) -> Path:
    width, height = _LARGE_PX
    coarse = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    write_image(path, coarse.repeat(8, axis=0).repeat(8, axis=1))
    return path


def _peak_mb(*words: str) -> float:
    """Run the program; the largest memory that its process had, in 10⁶ bytes.

    Raises:
        RuntimeError: it failed.
    """
    process = subprocess.Popen(
        [sys.executable, str(_MAIN), *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    peak_mb = watch_peak_mb(process)
    if process.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with code {process.returncode}")
    return peak_mb


def watch_peak_mb(process: subprocess.Popen[bytes]) -> float:
    """Wait until a process ends; the largest memory that it had, in 10⁶ bytes.

    The system keeps the peak as long as the process lives, so only what it takes in its last
    moments can be missed.  Its ``ru_maxrss`` would not do: it is never less than the memory of the
    process that started it.

    Raises:
        RuntimeError: it ended before its memory could be read, or this is not Linux.
    """
    status = Path(f"/proc/{process.pid}/status")
    peak_mb = 0.0
    while process.poll() is None:
        with contextlib.suppress(OSError):  # ended since, or there is no /proc
            peak_mb = max(peak_mb, find_peak_mb(status.read_text(encoding="utf-8")) or 0.0)
        time.sleep(_WATCH_S)
    if not peak_mb:
        raise RuntimeError(f"{status}: the peak of its memory could not be read")
    return peak_mb


def find_peak_mb(status: str) -> float | None:
    """``VmHWM`` of the text of ``/proc/…/status``, in 10⁶ bytes; None for an ended process."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024 / 1e6
    return None
