"""Run benchmarks, each in its own process, and print their figures.

python -m benchmarks --only start,hover --json figures.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.figure import Figure, Row, make_rows, table
from benchmarks.recording import Recorded, add_report, make_report, write_json

# Module in this folder -> what it measures.
BENCHMARKS = {
    "start": "from the command to the first painted window, and stalls while torch loads",
    "hover": "from a pointer event to the painted heat map",
    "window": "the next pair, and stalls by the theme, workspaces and panels",
    "nearest": "exact nearest neighbours, compared with faiss",
    "daisy": "DAISY, compared with scikit-image and OpenCV",
    "describe": "describing by networks, beside the rate of the processor",
    "pairs": "a pair by sets, from its files to all matches",
    "match": "the match command, from its start to the table",
    "mining": "hard negatives, on the processor and by the CUDA kernel, compared with torch",
    "training": "from a pointer event to the painted heat map during a training",
    "load": "stalls of the window during a training, while the pointer moves",
    "step": "a training's step, beside its bare arithmetic",
    "memory": "what whole programs take at their peaks",
    "growth": "how times grow with images, maps, sets, sequences and listed pairs",
    "evaluation": "what an evaluation and its report take beyond describing and matching",
    "study": "what a study of layers takes beyond describing once and matching",
    "device": "describing, nearest neighbours and training on one device, see --device",
}
# They take minutes each, and run when they are asked for.
LONG = ("training", "load", "step", "memory", "growth", "evaluation", "study", "device")
_ON_A_DEVICE = ("device", "mining")
_KEEP_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
_TIMEOUT_S = 1800
_LONG_TIMEOUT_S = 4 * 3600


def main(words: list[str] | None = None) -> int:
    """Run the selected benchmarks; 1 if one failed or, with --check, missed a target, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME,…")
    parser.add_argument("--runs", type=int, default=4, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--device", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--against", type=Path, metavar="FILE")
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--install-peers", action="store_true")
    parser.add_argument("--measure", choices=BENCHMARKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.list:
        for name, words_for_it in BENCHMARKS.items():
            print(f"{name}  {words_for_it}{' (only when asked for)' if name in LONG else ''}")
        return 0
    if arguments.install_peers:
        return peers.install()
    if arguments.runs < 1:
        print("--runs must be at least 1.", file=sys.stderr)
        return 1
    if arguments.measure:
        _measure(arguments.measure, arguments.runs, arguments.json, arguments.device)
        return 0
    if arguments.device is not None and (problem := _why_not_on(arguments.device)):
        print(problem, file=sys.stderr)
        return 1
    if arguments.only is None and arguments.device is not None:
        names = list(_ON_A_DEVICE)
    elif arguments.only is None:
        names = [name for name in BENCHMARKS if name not in LONG]
    else:
        names = [name.strip() for name in arguments.only.split(",") if name.strip()]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown or not names:
        print(
            f"There is no benchmark {', '.join(map(repr, unknown)) or 'of that name'}; "
            f"known: {', '.join(BENCHMARKS)}.",
            file=sys.stderr,
        )
        return 1
    elsewhere = [name for name in names if name not in _ON_A_DEVICE]
    if arguments.device is not None and elsewhere:
        print(f"--device is for {' and '.join(_ON_A_DEVICE)} alone.", file=sys.stderr)
        return 1
    recorded = None
    if arguments.against is not None:
        try:
            recorded = Recorded(arguments.against)
        except LookupError as error:
            print(error, file=sys.stderr)
            return 1
    figures, failed = _run_all(names, arguments.runs, arguments.device)
    rows = _rows_of(figures)
    print(table(rows))
    if arguments.json is not None:
        write_json(make_report(rows), arguments.json)
    if arguments.record is not None:
        add_report(make_report(rows), arguments.record)
    worse = {} if recorded is None else recorded.worse(rows)
    if recorded is not None and worse:
        again = [name for name, found in figures.items() if {one.name for one in found} & {*worse}]
        print(f"measuring {', '.join(again)} again, as ratios are worse", file=sys.stderr)
        figures, failed_again = _run_all(again, arguments.runs, arguments.device)
        failed |= failed_again
        still = recorded.worse(_rows_of(figures))
        worse = {name: words for name, words in still.items() if name in worse}
    for line in worse.values():
        print(line, file=sys.stderr)
    missed = arguments.check and any(row.met is False for row in rows)
    return 1 if failed or missed or worse else 0


def _why_not_on(device: str) -> str:
    """Why nothing can be measured on a device, as a sentence; "" where it can."""
    from engine.devices import resolve_device
    from engine.errors import DescSpaceError

    try:
        resolve_device(device)
    except DescSpaceError as error:
        return f"--device {device}: {error}"
    return ""


def _run_all(
    names: list[str], runs: int, device: str | None = None
) -> tuple[dict[str, list[Figure]], bool]:
    """The figures of each benchmark, and whether one failed."""
    figures: dict[str, list[Figure]] = {}
    failed = False
    for name in names:
        print(f"measuring {name} ({BENCHMARKS[name]}) …", file=sys.stderr, flush=True)
        try:
            figures[name] = _run_one(name, runs, device)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{name} failed: {error}", file=sys.stderr)
            failed = True
    return figures, failed


def _rows_of(figures: Mapping[str, Sequence[Figure]]) -> list[Row]:
    return make_rows([figure for found in figures.values() for figure in found])


def _run_one(name: str, runs: int, device: str | None = None) -> list[Figure]:
    """Measure in a new process, where no other benchmark has loaded anything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", "--measure", name]
        chosen = [] if device is None else [f"--device={device}"]
        # Images of containers often forbid Python to keep what it compiles, so that each start
        # compiles the program's modules anew, which people's own computers keep.
        variables = {key: told for key, told in os.environ.items() if key != _KEEP_NO_BYTECODE}
        done = subprocess.run(
            [*command, f"--runs={runs}", f"--json={path}", *chosen],
            env=variables,
            stdout=sys.stderr,
            timeout=_LONG_TIMEOUT_S if name in LONG else _TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0 or not path.is_file():
            raise RuntimeError(f"its process ended with code {done.returncode}")
        plain: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [Figure(**values) for values in plain]


def _measure(name: str, runs: int, path: Path | None, device: str | None) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    if name == "device" and device is not None:
        figures = module.measure(runs, device)
    else:
        figures = module.measure(runs)
    text = json.dumps([asdict(figure) for figure in figures], ensure_ascii=False)
    if path is None:
        print(text)
    else:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
