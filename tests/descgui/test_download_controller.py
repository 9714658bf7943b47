"""The download of HPatches: its progress, its ends, and the folder it leads to."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from descgui.controllers.download_controller import DownloadController
from descgui.models.bundle import make_models
from engine import api
from engine.progress import Note, Progress, Stage

WAIT_MS = 10_000


@pytest.fixture
def models(qapp):
    return make_models(None)


@pytest.fixture
def state(models):
    return models.evaluation.download


@pytest.fixture
def downloads(models, close_after):
    made = DownloadController(models)
    close_after(made.lane)
    return made


@pytest.fixture
def load_with(monkeypatch):
    """Puts a function in the place of the engine's download."""
    return lambda load: monkeypatch.setattr(api, "download_hpatches", load, raising=False)


def wait_for(qtbot, state, stage):
    qtbot.waitUntil(lambda: state.state.stage == stage, timeout=WAIT_MS)


def test_a_download_tells_how_far_it_is_and_its_folder_is_chosen(
    qtbot, models, downloads, state, load_with, tmp_path
):
    def load(folder: Path, context):
        context.emit(Progress(Stage.DOWNLOADING, 3, 10))
        context.emit(Progress(Stage.CHECKING_DOWNLOAD, 10, 10))
        context.emit(Progress(Stage.UNPACKING, 7, 7))
        context.emit(Note("One file was skipped.", "warning"))
        return folder / "hpatches"

    load_with(load)
    stages = []
    state.changed.connect(lambda now: stages.append((now.stage, now.done)))
    downloads.download(tmp_path)
    wait_for(qtbot, state, "done")
    assert stages[0] == (Stage.DOWNLOADING, 0)
    assert (Stage.UNPACKING, 7) in stages
    assert models.evaluation.choice.state.dataset == str(tmp_path / "hpatches")
    assert models.settings.state.recent_folders == (str(tmp_path / "hpatches"),)
    texts = [message.text for message in models.messages.messages]
    assert texts == ["One file was skipped.", f"HPatches is in {tmp_path / 'hpatches'}."]


def test_a_stopped_download_says_that_it_can_go_on(qtbot, downloads, state, load_with, tmp_path):
    begun = threading.Event()

    def load(folder: Path, context):
        begun.set()
        while True:
            context.cancel.check()
            threading.Event().wait(0.01)

    load_with(load)
    downloads.download(tmp_path)
    qtbot.waitUntil(begun.is_set, timeout=WAIT_MS)
    downloads.cancel()
    wait_for(qtbot, state, "stopped")


def test_a_failed_download_says_why(qtbot, models, downloads, state, load_with, tmp_path):
    def load(folder: Path, context):
        raise api.DatasetError(folder, "holds nothing")

    load_with(load)
    downloads.download(tmp_path)
    wait_for(qtbot, state, "failed")
    assert "holds nothing" in state.state.message
    assert "holds nothing" in models.messages.messages[-1].text


def test_a_second_download_waits_for_no_first_one_but_is_refused(
    qtbot, downloads, state, load_with, tmp_path
):
    folders, go = [], threading.Event()

    def load(folder: Path, context):
        folders.append(folder)
        go.wait(10)
        return folder

    load_with(load)
    downloads.download(tmp_path / "first")
    downloads.download(tmp_path / "second")
    go.set()
    wait_for(qtbot, state, "done")
    assert folders == [tmp_path / "first"]


def test_the_speed_counts_only_what_this_download_loaded(downloads, state, monkeypatch):
    clock = iter((100.0, 100.5, 102.0, 104.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    speeds = []
    for done in (500, 503, 510, 540):  # 500 MB were on the disk before
        downloads._on_event(Progress(Stage.DOWNLOADING, done, 1300))
        speeds.append(state.state.mb_per_s)
    downloads._on_event(Progress(Stage.UNPACKING, 1, 9))
    assert speeds == [None, None, 5.0, 10.0]
    assert state.state.mb_per_s is None
