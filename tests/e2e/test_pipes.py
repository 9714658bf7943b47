"""A pipe or device named as an input is refused in a sentence; nothing waits for its other end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.cli.run import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")

DAISY = ("--descriptor", "daisy", "--set", "stride_px=8", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds ``a.png``, ``b.png``, an ``empty`` folder, and a pipe under every name in use."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), noise)
    for name in (
        "pipe.png", "pipe.txt", "pipe.yaml", "pipe.npz", "pipe.npy", "pipe.pth", "pipe.py",
        "pipe.safetensors", "run/result.json",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("match pipe.png b.png --out m.csv", "pipe.png"),
        ("match a.png pipe.png --out m.csv", "pipe.png"),
        ("match a.png b.png --homography pipe.txt --out m.csv", "pipe.txt"),
        ("match a.png b.png --homography pipe.npy --out m.csv", "pipe.npy"),
        ("match a.png b.png --maps pipe.npz pipe.npz --out m.csv", "pipe.npz"),
        ("match a.png b.png --plugin pipe.py --out m.csv", "pipe.py"),
        ("match a.png b.png --descriptor msnet_v0 --weights pipe.pth --out m.csv", "pipe.pth"),
        ("match a.png b.png --descriptor msnet_v0 --weights pipe.safetensors --out m.csv",
         "pipe.safetensors"),
        ("evaluate --config pipe.yaml --out e", "pipe.yaml"),
        ("train --config pipe.yaml --photos . --run-dir t", "pipe.yaml"),
        ("report run", "result.json"),
        ("export pipe.safetensors --out w.safetensors", "pipe.safetensors"),
        ("describe pipe.png --out maps.npz", "pipe.png"),
    ],
)  # fmt: skip
def test_a_pipe_is_refused(
    folder: Path,
    fresh_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    name: str,
):
    monkeypatch.chdir(folder)
    line = words.split()
    if line[0] in ("match", "describe") and not {"--maps", "--descriptor"} & set(line):
        line += DAISY
    assert main(line, open_window=lambda _: 0) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert name in sentence
    assert "not a file" in sentence or "is a pipe" in sentence, sentence
