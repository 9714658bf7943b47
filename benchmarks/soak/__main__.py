"""Run programs for long and look for faults; what was found is kept and can be repeated.

python -m benchmarks.soak --time 30m --kinds kills,fuzz
python -m benchmarks.soak --repeat .cache/soak/faults/fuzz-001
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.soak.ledger import Ledger
from benchmarks.window_loop import use_offscreen

# Module in this folder -> its share of the time, and what it does.
KINDS = {
    "fuzz": (4, "damaged files for every reader"),
    "kills": (5, "commands that are killed at random moments, and continued"),
    "monkey": (8, "random clicks, keys, drags and drops in the real window"),
    "hover": (4, "a pointer that moves for minutes: memory stays flat"),
    "shared": (2, "two windows and a terminal on the same folders"),
}
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_CLEAN_UP_S = 30.0


def main(words: list[str] | None = None) -> int:
    """Run the chosen kinds one after another; 1 if any has a fault on record, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--time", default="30m", metavar="90s|30m|2h", help="for all kinds")
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="NAME,…")
    parser.add_argument("--seed", type=int, default=0, help="of kinds that are begun now")
    parser.add_argument("--repeat", type=Path, metavar="FOLDER", help="try a kept fault again")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.repeat is not None:
        facts = json.loads((arguments.repeat / "fault.json").read_text("utf-8"))
        importlib.import_module(f"benchmarks.soak.{facts['kind']}").repeat(arguments.repeat)
        return 0
    total_s = _seconds(arguments.time)
    if arguments.one:
        _run_one(arguments.one, arguments.seed, total_s)
        return 0
    kinds = [name for name in arguments.kinds.split(",") if name]
    unknown = [name for name in kinds if name not in KINDS]
    if unknown or not kinds or not total_s:
        print(f"Known kinds: {', '.join(KINDS)}; a time is 90s, 30m or 2h.", file=sys.stderr)
        return 1
    shares = sum(KINDS[name][0] for name in kinds)
    failed = False
    for name in kinds:
        seconds = total_s * KINDS[name][0] / shares
        print(f"{name}: {KINDS[name][1]}, for {seconds / 60:.1f} min …", flush=True)
        command = [sys.executable, "-m", "benchmarks.soak", "--one", name]
        failed |= (
            _run_process([*command, f"--time={seconds:.0f}s", f"--seed={arguments.seed}"]) != 0
        )
    for name in kinds:
        ledger = Ledger.load(name)
        print(ledger.summary())
        for key, fault in ledger.faults.items():
            failed = True
            print(f"  {key} ({fault['times']} times): {fault['folder']}")
    return 1 if failed else 0


def _run_process(command: list[str]) -> int:
    """Run a process in a session of its own; it cleans up when this one is stopped."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        try:
            process.wait(_CLEAN_UP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run_one(kind: str, seed: int, seconds: float) -> None:
    if hasattr(os, "nice"):
        os.nice(10)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    use_offscreen()
    ledger = Ledger.load(kind, seed=seed)
    try:
        importlib.import_module(f"benchmarks.soak.{kind}").run(ledger, time.monotonic() + seconds)
    finally:
        ledger.save()


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)([smh]?)", text.strip())
    return int(match[1]) * _UNITS_S[match[2] or "s"] if match else 0.0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
