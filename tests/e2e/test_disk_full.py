"""A disk that is full at the start, in the middle and at the end: one sentence, nothing torn.

The limit on the size of a file stands in for it: it fails at the same calls, after as many bytes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.in_process import run_here

resource = pytest.importorskip("resource", reason="no limits on the size of files here")
DAISY = ("--descriptor", "daisy", "--set", "stride_px=8", "--device", "cpu")
TINY = (
    "batch=1", "width=48", "height=32", "points=40", "steps=3", "mining.kind=none",
    "loss.kind=dual-softmax", "validation.every_steps=2", "validation.pairs=1",
    "saving.log_every_steps=1", "saving.preview_every_steps=1", "saving.every_s=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos/0.png`` and so on, and the sequence ``sets/v_moved`` of three images."""
    folder = tmp_path_factory.mktemp("inputs")
    noise = cv2.GaussianBlur(np.random.default_rng(3).uniform(-1, 1, (90, 120, 3)), (0, 0), 2)
    plane = (255 * (0.5 + noise / (4 * noise.std())).clip(0, 1)).astype(np.uint8)
    for place in ("photos", "sets/v_moved"):
        (folder / place).mkdir(parents=True)
    for number in range(4):
        cv2.imwrite(str(folder / "photos" / f"{number}.png"), np.roll(plane, 20 * number, 1))
    for index in range(1, 4):
        step = 4 * (index - 1)
        moved = plane[step : step + 72, step : step + 96]
        cv2.imwrite(str(folder / "sets" / "v_moved" / f"{index}.png"), moved)
        if index > 1:
            matrix = f"1 0 {-step}\n0 1 {-step}\n0 0 1\n"
            (folder / "sets" / "v_moved" / f"H_1_{index}").write_text(matrix)
    return folder


def run(*words: object, limit_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command line here; Python ignores the signal that the limit sends.

    Nor does Python notice that the limit cuts off what it compiles: modules that are imported here
    for the first time must not be kept so, or no later process could import them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    keeps = sys.dont_write_bytecode
    if limit_bytes is not None:
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        return run_here(*words, CUDA_VISIBLE_DEVICES="")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = keeps


def refused(done: subprocess.CompletedProcess[str], out: Path) -> str:
    """The one sentence; nothing of what could not be written may stand under its name."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("main.py: "), done.stderr
    assert sentence.endswith("cannot be written (File too large)."), sentence
    assert [path for path in out.rglob("*") if path.name.endswith((".part", ".tmp"))] == []
    return sentence


@pytest.mark.parametrize(
    ("limit_bytes", "name", "left"),
    [
        (10, ".writer.json", ()),
        (500, "config.yaml", ()),
        (30_000, "last.pt", ("config.yaml", "events.jsonl")),
    ],
)
def test_training(
    inputs: Path, tmp_path: Path, fresh_home: Path, limit_bytes: int, name: str, left: tuple[str]
):
    settings = [word for setting in TINY for word in ("--set", f"train.{setting}")]
    done = run("train", "--photos", inputs / "photos", "--run-dir", tmp_path / "run", *settings,
               limit_bytes=limit_bytes)  # fmt: skip
    assert name in refused(done, tmp_path)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.name for path in files if "tensorboard" not in path.parts} == set(left)


def test_an_evaluation_keeps_what_was_measured_and_continues_once_there_is_room(
    inputs: Path, tmp_path: Path, fresh_home: Path
):
    out = tmp_path / "out"
    words = ("evaluate", "--dataset", inputs / "sets", *DAISY, "--query-limit", 30, "--out", out)
    assert "evaluation.yaml" in refused(run(*words, limit_bytes=200), tmp_path)
    measuring = refused(run(*words, limit_bytes=1200), tmp_path)
    assert "rows.jsonl" in measuring or "2.npz" in measuring
    again = run(*words, "--resume")
    assert again.returncode == 0, again.stderr
    page = (out / "report.html").read_bytes()
    assert "report.html" in refused(run("report", out, limit_bytes=9000), tmp_path)
    assert (out / "report.html").read_bytes() == page
    whole = (out / "result.json").stat().st_size
    (out / "result.json").unlink()
    # Seconds are written with as many digits as they have, so a few bytes come and go.
    assert "result.json" in refused(run(*words, "--resume", limit_bytes=whole - 200), tmp_path)
    assert not (out / "result.json").exists()


def test_matches_and_maps(inputs: Path, tmp_path: Path, fresh_home: Path):
    one, two = (inputs / "sets" / "v_moved" / f"{index}.png" for index in (1, 2))
    table, maps = tmp_path / "m.csv", tmp_path / "maps.npz"
    matching = run("match", one, two, *DAISY, "--out", table, limit_bytes=300)
    assert "m.csv" in refused(matching, tmp_path)
    describing = run("describe", one, *DAISY, "--out", maps, limit_bytes=300)
    assert "maps.npz" in refused(describing, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [fresh_home.name]
