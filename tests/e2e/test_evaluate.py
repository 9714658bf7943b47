"""The command ``evaluate`` as a user types it: real files, real exit codes, and processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.e2e.in_process import run_here

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MAIN = str(REPOSITORY / "main.py")
SMALL = (
    *("--descriptor", "daisy", "--set", "stride_px=4"),
    *("--long-edge", "96", "--query-limit", "50", "--device", "cpu"),
)


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **changes}


def run(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, encoding="utf-8",
        timeout=170, check=False, env=environment(**changes),
    )  # fmt: skip


def lasting(folder: Path) -> list[Any]:
    values = json.loads((folder / "result.json").read_text("utf-8"))
    return [values["summary"], values["pairs"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ``hpatches/i_light`` and ``hpatches/v_moved``, three pairs each."""
    folder = tmp_path_factory.mktemp("daten é")
    random = np.random.default_rng(3)
    for name in ("i_light", "v_moved"):
        sequence = folder / "hpatches" / name
        sequence.mkdir(parents=True)
        noise = cv2.GaussianBlur(random.uniform(-1, 1, (90, 120, 3)), (0, 0), 2)
        plane = (255 * (0.5 + noise / (4 * noise.std())).clip(0, 1)).astype(np.uint8)
        for index in range(1, 5):
            step = 0 if name == "i_light" else 4 * (index - 1)
            shade = 1 - 0.1 * index
            ok, png = cv2.imencode(".png", (plane[step : step + 72, step : step + 96] * shade))
            assert ok
            (sequence / f"{index}.png").write_bytes(png.tobytes())
            if index > 1:
                (sequence / f"H_1_{index}").write_text(f"1 0 {-step}\n0 1 {-step}\n0 0 1\n")
    return folder


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and what was said in ``stdout.txt`` and ``stderr.txt``."""
    out = tmp_path_factory.mktemp("runs") / "one"
    done = run(MAIN, "evaluate", "--dataset", data / "hpatches", "--protocol", "closed", *SMALL,
               "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (out / "stdout.txt").write_text(done.stdout, "utf-8")
    (out / "stderr.txt").write_text(done.stderr, "utf-8")
    return out


def test_a_table_is_printed_and_a_line_for_each_pair_when_nobody_watches(finished: Path):
    table = (finished / "stdout.txt").read_text("utf-8")
    assert (
        "hpatches (all), HPatches sequences: 6 of 6 pairs, protocol closed, exact matching, on cpu"
        in table
    )
    assert "daisy ≤ 5 px" in table
    assert str(finished) in table
    lines = (finished / "stderr.txt").read_text("utf-8").splitlines()
    pairs = [line for line in lines if "1 → " in line]
    assert len(pairs) == 6
    assert pairs[0].startswith("1/6 i_light 1 → 2: daisy harris @1 ")
    summary = json.loads((finished / "result.json").read_text("utf-8"))["summary"]
    (best,) = [row for row in summary if row["subset"] == "all" and row["threshold_px"] == 5]
    assert best["pck"] > 0.8, "shifted and darker copies are easy"
    with (finished / "pairs.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


def test_the_command_in_the_result_measures_the_same_again(finished: Path, tmp_path: Path):
    import shlex

    values = json.loads((finished / "result.json").read_text("utf-8"))
    words = shlex.split(values["sources"]["command"])
    assert words[:2] == ["python", "main.py"]
    done = run_here(*words[2:], "--out", tmp_path / "again", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fingerprint"] == values["fingerprint"]
    assert lasting(tmp_path / "again") == lasting(finished)


def test_the_originals_way_with_a_config_and_an_override(data: Path, tmp_path: Path):
    done = run_here(
        "evaluate", "--config", REPOSITORY / "resources" / "configs" / "daisy.yaml",
        "--set", "dataset.test=HPATCHES_ILLUM", *SMALL, "--out", tmp_path / "out", "--quiet",
        DESCGUI_DATA=str(data),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    values = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert {row["sequence"] for row in values["pairs"]} == {"i_light"}
    assert values["fingerprint"]["protocol"] == "seed"
    assert values["fingerprint"]["matcher"] == "flann"


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C of another process")
def test_ctrl_c_keeps_what_was_measured_and_resume_goes_on(
    data: Path, finished: Path, tmp_path: Path
):
    out = tmp_path / "out"
    command = ["evaluate", "--dataset", str(data / "hpatches"), "--protocol", "closed", *SMALL,
               "--out", str(out)]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, MAIN, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "1 → 2" in line:
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=120)
    # A fast machine may have been done before the signal came.
    if process.returncode != 0:
        assert process.returncode == 130
        assert "--resume continues there" in rest
    done = run_here(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert lasting(out) == lasting(finished)


def test_two_processes_under_torchrun_find_what_one_finds(
    data: Path, finished: Path, tmp_path: Path
):
    out = tmp_path / "out"
    done = run(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, MAIN, "evaluate",
        "--dataset", data / "hpatches", "--protocol", "closed", *SMALL, "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("protocol closed") == 1, "only the first process speaks"
    assert lasting(out) == lasting(finished)
    assert (out / "rows-1.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "dataset: is not named"),
        (["--dataset", "/no/such/folder"], "/no/such/folder: does not exist"),
        (["--dataset", "{data}", "--descriptor", "dasiy"], "did you mean 'daisy'"),
        (["--dataset", "{data}", "--threshold", "-1"], "--threshold: -1 is out of range"),
        (["--dataset", "{data}", "--protocol", "dense", "--matcher", "flann"], "matched exactly"),
        (["--dataset", "{data}", "--resume"], "name the folder of the run"),
        (["--dataset", "{data}", "--out", "{finished}"], "continue it with --resume"),
        (["--dataset", "{data}", "--out", "{finished}", "--resume", "--seed", "5"],
         "seed was 0 and is 5 now"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_refused_in_one_sentence(
    words: list[str], reason: str, data: Path, finished: Path, tmp_path: Path
):
    names = {"data": str(data / "hpatches"), "finished": str(finished)}
    more = ["--protocol", "closed", *SMALL] if "{finished}" in words else []
    done = run_here(
        "evaluate", "--device", "cpu", *[word.format(**names) for word in words], *more,
        DESCGUI_HOME=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("main.py: ")
    assert reason in last
    assert "Traceback" not in done.stderr
