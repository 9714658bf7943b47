"""The memory that whole programs take at their peaks, as the system counts it.

An evaluation must take as much for many sequences as for few, and a large pair what it was granted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, summarise
from engine.data.demo import demo_dataset
from engine.images import write_image

_MAIN = Path(__file__).resolve().parent.parent / "main.py"
_FEW, _MANY = 4, 40
_LARGE_PX = (4000, 3000)
_FLAT = 1.1


def measure(runs: int) -> list[Figure]:
    """A viewer with one pair, evaluations of few and many sequences, and a large pair."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        small = sorted(path for path in demo_dataset().iterdir() if path.is_dir())
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


def link_sequences(sequences: list[Path], count: int, folder: Path) -> Path:
    """A set of as many sequences, each a link to one of those given."""
    folder.mkdir()
    for number in range(count):
        target = sequences[number % len(sequences)]
        (folder / f"{target.name[:2]}{number:04}").symlink_to(target, target_is_directory=True)
    return folder


def _peak_mb(*words: str) -> float:
    """Run the program; the largest memory that its process had, in 10⁶ bytes."""
    process = subprocess.Popen(
        [sys.executable, str(_MAIN), *words],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with code {process.returncode}")
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return used.ru_maxrss * unit_bytes / 1e6
