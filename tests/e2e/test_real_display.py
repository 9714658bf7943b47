"""The window on an X display: the platform that people meet and that no other test uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def x_display() -> Iterator[str]:
    """A separate virtual X display, whose number the server chooses."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    command = [
        server,
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        "1280x800x24",
        "-nolisten",
        "tcp",
    ]
    process = subprocess.Popen(
        command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        with os.fdopen(reading, encoding="ascii") as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb ended before it had a display"
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def run_main(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``main.py``; the display variables are those given, and no others."""
    ours = {"DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "QT_LOGGING_RULES"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [sys.executable, "main.py", *words],
        cwd=REPOSITORY,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="X displays are Linux's")
def test_the_window_opens_on_x_and_saves_its_picture(x_display: str, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(noise).save(tmp_path / name)
    picture = tmp_path / "window.png"
    pair = (str(tmp_path / "a.png"), str(tmp_path / "b.png"))

    result = run_main(
        "view", *pair, "--descriptor", "daisy", "--size", "1000x700", "--screenshot", str(picture),
        DISPLAY=x_display, QT_QPA_PLATFORM="xcb",
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert "qt.qpa" not in result.stderr
    with Image.open(picture) as saved:
        assert saved.size == (1000, 700)
        assert np.unique(np.asarray(saved.convert("L"))).size > 10


@pytest.mark.skipif(sys.platform != "linux", reason="X displays are Linux's")
def test_asking_whether_a_display_answers_does_not_reset_it(x_display: str):
    """A server that loses its last client resets, and refuses new ones meanwhile."""
    code = (
        "from engine.jobs.qt_platform import display_problem\n"
        f"answers = [display_problem({{'DISPLAY': {x_display!r}}}) for _ in range(20)]\n"
        "assert answers == [''] * 20, answers\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_without_a_display_the_window_is_refused_in_a_sentence():
    result = run_main()
    assert result.returncode == 1
    assert "display" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
