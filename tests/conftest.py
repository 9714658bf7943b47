"""Shared by all tests: a separate home folder, few threads, a seed, and no threads left running.

Torch is imported inside the fixtures that need it, so that tests of the window and of plain Python
start at once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import torch

REPOSITORY = Path(__file__).resolve().parent.parent

# Read when Qt, pyqtgraph and OpenMP are loaded, which pytest-qt may do before any fixture runs.
os.environ["PYQTGRAPH_QT_LIB"] = "PySide6"
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

_THREAD_GRACE_MS = 10_000  # a busy computer may take seconds to end one

# How long an example takes tells how busy the computer is, and nothing about the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes in a test's id by their number: what they hold may differ between two processes.

    The time in a gzip header does, and then the test processes disagree on which tests there are.
    """
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays: looking through it again and again took a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power, and where the disk is busy, most of a training's test is waiting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which also fails for a file that is closed
        yield


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder for the whole run: the user's settings, cache and logs stay untouched.

    What is costly to make (the demo sequences) is made once a run.  A test that reads or writes
    settings takes ``fresh_home`` instead.
    """
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        _move_home(patch, folder)
        yield folder


@pytest.fixture
def fresh_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder for one test."""
    folder = tmp_path / "home"
    folder.mkdir()
    _move_home(monkeypatch, folder)
    yield folder
    _move_qt_settings(home)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real photos and sequences: ``DESCGUI_DATA``, else beside the checkout."""
    named = os.environ.get("DESCGUI_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: DESCGUI_DATA is {named or 'not set'}, {folder} does not exist")
    return folder


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device in turn; CUDA is skipped where there is none."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda:0" if request.param == "cuda" else "cpu")


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers on the CPU, the same for every test."""
    import torch

    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def no_thread_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a Qt test that ends while a QThread it started still runs.

    Such a thread would be destroyed while running, which ends the whole process.
    """
    if not {"qapp", "qtbot"} & set(request.fixturenames):
        yield
        return

    import shiboken6
    from PySide6.QtCore import QThread

    started: list[QThread] = []
    start = QThread.start

    def remember(thread: QThread, *priority: QThread.Priority) -> None:
        started.append(thread)
        start(thread, *priority)

    # Controllers and models refer to one another in cycles.  They are collected on this thread:
    # Qt crashes on their timers when a worker's thread happens to collect them.
    gc.disable()
    # Not by the fixture `monkeypatch`: asked for here, it would be undone after every other fixture
    # of the test instead of before those that the test names ahead of it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QThread, "start", remember)
        yield
    left = [
        type(thread).__name__
        for thread in started
        if shiboken6.isValid(thread) and not thread.wait(_THREAD_GRACE_MS)
    ]
    gc.collect()
    gc.freeze()  # what stays is not searched again after every test
    gc.enable()
    assert not left, f"threads still running at the end of the test: {', '.join(left)}"


def _move_home(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("DESCGUI_HOME", str(folder))
    for kind in ("CONFIG", "DATA", "STATE"):
        patch.setenv(f"XDG_{kind}_HOME", str(folder / "xdg" / kind.lower()))
    patch.setenv("TORCH_HOME", str(folder / "torch"))
    patch.setenv("HF_HOME", str(folder / "huggingface"))
    hub = sys.modules.get("huggingface_hub.constants")
    if hub is not None:  # it read the variable when it was imported
        patch.setattr(hub, "HF_HUB_CACHE", str(folder / "huggingface" / "hub"))
    _move_qt_settings(folder)


def _move_qt_settings(folder: Path) -> None:
    from PySide6.QtCore import QSettings

    for settings_format in (QSettings.Format.IniFormat, QSettings.Format.NativeFormat):
        QSettings.setPath(settings_format, QSettings.Scope.UserScope, str(folder / "qsettings"))
