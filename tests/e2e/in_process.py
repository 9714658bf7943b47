"""Command lines that run in the process of the tests.

A new process needs two seconds for loading torch, which is loaded here.  What a test says about
processes themselves (their start, signals, exit) needs real ones.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

import pytest

import descgui.__main__
from engine.cli.run import main


def run_here(
    *words: object, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the words of a command line that opens no window, as ``main.py`` does.

    Args:
        words: after the program's name.
        folder: the working directory.
        environment: variables to change meanwhile.
    """
    line = [str(word) for word in words]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        if folder is not None:
            patch.chdir(folder)
        code = main(line, open_window=_no_window, draw_pdf=descgui.__main__._draw_pdf)
    return subprocess.CompletedProcess(line, code, out.getvalue(), errors.getvalue())


def _no_window(_options: object) -> int:
    pytest.fail("a window was opened")
