"""Two windows and a terminal on the same folders: nothing is torn, and who is locked out is told.

Two monkeys share a home folder, with its settings and runs; meanwhile commands continue one
training and one evaluation in the same folder of runs, two of a kind at a time.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.soak import monkey
from benchmarks.soak.ledger import ROOT, Ledger, kill, quiet_environment
from benchmarks.soak.samples import DAISY, TRAINING, make_samples, settings

_LEAST_S = 30.0
_LONGEST_S = 150.0
_LOCKED = "is being written by"
_REFUSALS = (_LOCKED, "holds a training run already", "could be continued", "holds an evaluation",
             "--resume")  # fmt: skip


def run(ledger: Ledger, deadline_s: float) -> None:
    """Run rounds until ``time.monotonic()`` reaches the deadline."""
    samples = make_samples(ROOT / "samples").resolve()
    if deadline_s - time.monotonic() <= _LEAST_S:
        print(f"A round takes {_LEAST_S:g} s: give it more.", flush=True)
    while (left_s := deadline_s - time.monotonic()) > _LEAST_S:
        number = ledger.count("rounds")
        with tempfile.TemporaryDirectory(prefix="soak-") as place:
            _round(ledger, Path(place), samples, number, min(left_s, _LONGEST_S))
        ledger.save()


def repeat(folder: Path) -> None:
    """Run a round again."""
    facts = json.loads((folder / "fault.json").read_text("utf-8"))
    samples = make_samples(ROOT / "samples").resolve()
    ledger = Ledger("shared", facts["seed"])
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        _round(ledger, Path(place), samples, facts["number"], facts["seconds"])
    print(ledger.summary())


def _round(ledger: Ledger, place: Path, samples: Path, number: int, seconds: float) -> None:
    details = {"number": number, "seed": ledger.seed, "seconds": seconds}
    until_s = time.monotonic() + seconds
    windows = [2 * number, 2 * number + 1]
    home = place / "home"
    processes = [
        monkey.begin_process(place, samples, ledger.seed, one, seconds, home="home")
        for one in windows
    ]
    rng = random.Random(f"{ledger.seed}/{number}")
    try:
        while time.monotonic() < until_s:
            _terminal(ledger, home, samples, rng, details)
        for process in processes:
            monkey.wait_for(process, seconds)
    finally:
        for process in processes:
            kill(process)
    for one, process in zip(windows, processes, strict=True):
        found = monkey.end_process(place, process, one, seconds)
        ledger.count("actions in windows", found["counts"].get("actions", 0))
        for fault in found["faults"]:
            files = {f"said-{one}.txt": place / f"said-{one}.txt"}
            ledger.fault(f"window: {fault['key']}", fault["text"], files=files,
                         details=details)  # fmt: skip
    _look_over(ledger, home, details)


def _terminal(
    ledger: Ledger, home: Path, samples: Path, rng: random.Random, details: dict[str, Any]
) -> None:
    """Two commands on one run at a time."""
    runs = home / "data" / "runs"
    training = ["train", "--photos", str(samples / "photos"), "--run-dir", str(runs / "same"),
                *settings(*TRAINING, "steps=8")]  # fmt: skip
    evaluation = ["evaluate", "--dataset", str(samples / "sequences"), *DAISY, "--query-limit",
                  "40", "--out", str(runs / "evaluate-20260101-000000")]  # fmt: skip
    words = rng.choice((training, evaluation))
    pair = [
        subprocess.Popen(
            [sys.executable, "main.py", *words, *extra],
            env=quiet_environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )
        for extra in (["--resume"], rng.choice(([], ["--resume"])))
    ]  # fmt: skip
    try:
        heard = [process.communicate()[1] for process in pair]
    finally:
        for process in pair:
            kill(process)
    for process, said in zip(pair, heard, strict=True):
        ledger.count("commands")
        last = said.strip().splitlines()[-1] if said.strip() else ""
        if _LOCKED in last:
            ledger.count("commands that were locked out")
        refused = process.returncode == 1 and any(reason in last for reason in _REFUSALS)
        if "Traceback" in said or "unexpected" in last or not (process.returncode == 0 or refused):
            key = f"{words[0]} ends with {process.returncode}: {last[-100:]}"
            ledger.fault(key, said, files={}, details=details)


def _look_over(ledger: Ledger, home: Path, details: dict[str, Any]) -> None:
    """Every file that they shared must be whole: runs, settings, and no lock left."""
    from descgui.models.settings import Settings
    from engine.api import ConfigError, build_config, read_yaml
    from engine.jobs.runs import list_runs
    from engine.jobs.training_runs import list_training_runs

    runs = home / "data" / "runs"
    problems = [(info.folder, info.problem) for info in list_training_runs(runs)]
    problems += [(info.folder, info.problem) for info in list_runs(runs)]
    broken = [f"{folder.name}: {problem}" for folder, problem in problems if problem]
    try:
        file = home / "config" / "settings.yaml"
        if file.exists() and file.read_bytes()[:8] != b"theme: [":
            build_config(Settings, read_yaml(file))
    except ConfigError as error:
        # A monkey damages the settings on purpose, and may have been the last one to do so.
        ledger.count("rounds that ended with damaged settings")
        print(error, flush=True)
    left = [one.name for one in (runs.rglob("*.part") if runs.is_dir() else ())]
    ledger.count("runs that were shared", len(list(runs.iterdir())) if runs.is_dir() else 0)
    if broken or left:
        key = (broken or left)[0]
        ledger.fault(f"left torn: {key[-120:]}", json.dumps([broken, left]), files={"runs": runs},
                     details=details)  # fmt: skip
