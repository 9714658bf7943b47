"""Ctrl-C and SIGTERM end every command in order, from the first module that it loads on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.images import write_image

REPOSITORY = Path(__file__).parents[2]
AT_IMPORT = """
import signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal({number})

sys.meta_path.insert(0, Interrupt())
"""


def run_and_interrupt(
    folder: Path, module: str, number: signal.Signals, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that gets a signal at the moment when it loads a module."""
    (folder / "sitecustomize.py").write_text(AT_IMPORT.format(module=module, number=int(number)))
    return subprocess.run(
        [sys.executable, "main.py", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder), "QT_QPA_PLATFORM": "offscreen"},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
@pytest.mark.parametrize(
    ("number", "module", "words"),
    [
        (signal.SIGINT, "engine.cli.run", ("--help",)),
        (signal.SIGTERM, "engine.cli.run", ("--help",)),
        (signal.SIGTERM, "yaml", ("doctor",)),
        (signal.SIGINT, "numpy", ("match", "a.png", "b.png", "--out", "m.csv")),
        (signal.SIGTERM, "torch", ("match", "a.png", "b.png", "--out", "m.csv")),
        (signal.SIGINT, "PySide6.QtWidgets", ("view", "a.png", "b.png", "--screenshot", "s.png")),
        (signal.SIGTERM, "descgui.app", ("view", "a.png", "b.png", "--screenshot", "s.png")),
    ],
)
def test_a_command_that_is_still_loading_ends_with_130(
    tmp_path: Path, fresh_home: Path, number: signal.Signals, module: str, words: tuple[str, ...]
):
    files = {name: str(tmp_path / name) for name in ("a.png", "b.png", "m.csv", "s.png")}
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.zeros((64, 64, 3), np.uint8))
    done = run_and_interrupt(tmp_path, module, number, *(files.get(word, word) for word in words))
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "Stopped."
    assert "Traceback" not in done.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [
        *(".png", ".png", ".py"),
    ]
