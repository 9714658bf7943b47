"""The match command, as a process: from its start to the table, 500 points, warm disk."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.sequences import demo_sequences

_TARGETS_S = {"descspace-fast": 2.2, "descspace": 3.0, "descspace-robust": 4.5}
_MAIN = Path(__file__).resolve().parent.parent / "main.py"


def command(first: Path, second: Path, name: str, table: Path) -> list[str]:
    """The words of the command that is timed."""
    return [
        "match", str(first), str(second), "--descriptor", name, "--points", "harris",
        "--count", "500", "--out", str(table),
    ]  # fmt: skip


def measure(runs: int) -> list[Figure]:
    """Each form of descspace on the demo's first pair, and the import of torch, turn about."""
    folder = demo_sequences()[0]
    first, second = (next(folder.glob(f"{number}.*")) for number in (1, 2))
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "matches.csv"

        def run(*words: str) -> float:
            began_s = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - began_s

        def match(name: str) -> float:
            table.unlink(missing_ok=True)
            return run(str(_MAIN), *command(first, second, name, table))

        def torch_alone() -> float:
            return run("-c", "import torch")

        bare = "import torch, as a process"
        works = {name: partial(match, name) for name in _TARGETS_S}
        times = take_turns({bare: torch_alone, **works}, runs)
    figures = [summarise(bare, times[bare], unit="s")]
    for name, target_s in _TARGETS_S.items():
        figures.append(
            summarise(f"match, {name}", times[name], unit="s", target=target_s, ratio_to=bare)
        )
    return figures
