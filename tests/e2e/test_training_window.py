"""A training in the real window: started, watched, paused, stopped, resumed, used, interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PySide6.QtCore import Qt

from descgui.app import SETTINGS_FILE, Application
from descgui.models.bundle import make_models
from descgui.views import dialogs
from engine import api
from engine.checkpoints import load_state
from tests.e2e.driving import dispose

WAIT_MS = 120_000
TINY = {
    "train.steps": 100_000,
    "train.batch": 1,
    "train.width": 48,
    "train.height": 32,
    "train.points": 30,
    "train.validation.every_steps": 2,
    "train.validation.pairs": 1,
    "train.validation.points": 20,
    "train.saving.log_every_steps": 1,
    "train.saving.preview_every_steps": 2,
    "train.saving.every_s": 1000.0,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "Fotos ü"
    folder.mkdir()
    for number in range(5):
        noise = np.random.default_rng(number).random((96, 128, 3)).astype(np.float32)
        picture = (255 * cv2.GaussianBlur(noise, (0, 0), 2.0)).astype(np.uint8)
        api.write_image(folder / f"{number}.png", picture)
    return folder


@pytest.fixture
def open_window(qtbot: Any, fresh_home: Path, photos: Path) -> Iterator[Any]:
    windows: list[Application] = []

    def make() -> Application:
        models = make_models(api.config_dir() / SETTINGS_FILE)
        models.settings.update(long_edge_px=96)
        models.training.choice.update(device="cpu", changes=TINY)
        pictures = tuple(photos / f"{number}.png" for number in (0, 1))
        options = api.ViewOptions(images=pictures, size=(1400, 1000), device="cpu")
        window = Application(options, models)
        windows.append(window)
        window.show()
        qtbot.waitUntil(lambda: models.maps.ready and not window.busy, timeout=WAIT_MS)
        return window

    yield make
    dispose(qtbot, windows)


def wait_stage(qtbot: Any, window: Application, stage: str) -> None:
    status = window.models.training.status
    qtbot.waitUntil(
        lambda: status.state.stage == stage and (stage == "paused" or not window.busy),
        timeout=WAIT_MS,
    )


def wait_steps(qtbot: Any, window: Application, steps: int) -> None:
    status = window.models.training.status
    qtbot.waitUntil(
        lambda: status.state.stage == "running" and status.state.step >= steps,
        timeout=WAIT_MS,
    )


def click(qtbot: Any, button: Any) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_from_a_folder_of_photos_to_a_network_in_the_viewer_and_the_evaluation(
    qtbot: Any, open_window: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few steps may make the network worse, which would leave no best weights.
    monkeypatch.setattr("engine.training.loop.is_better", lambda *_, **__: True)
    window = open_window()
    training, panel = window.models.training, window.training_panel
    window.actions["train"].trigger()
    assert panel.isVisible()
    assert not panel.form.start_button.isEnabled()
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: photos)
    click(qtbot, panel.form.browse)
    qtbot.waitUntil(lambda: panel.sheet.count == 8, timeout=WAIT_MS)
    assert "photos to train on" in panel.form.count.sentence

    click(qtbot, panel.form.start_button)
    wait_steps(qtbot, window, 5)
    qtbot.waitUntil(lambda: len(training.frames.shown) >= 3, timeout=WAIT_MS)
    folder = training.status.state.folder
    assert folder is not None
    assert panel.curves is not None
    assert panel.curves.isVisible()
    assert {"loss", "pck@3"} <= set(training.curves.of(folder))

    click(qtbot, panel.pause_button)
    wait_stage(qtbot, window, "paused")
    rested_at = training.status.state.step
    click(qtbot, panel.continue_button)
    wait_steps(qtbot, window, rested_at + 2)
    click(qtbot, panel.stop_button)
    wait_stage(qtbot, window, "stopped")
    stopped_at = training.status.state.step
    click(qtbot, panel.resume_button)
    wait_steps(qtbot, window, stopped_at + 2)
    losses = training.curves.of(folder)["loss"]
    assert losses[:, 0].tolist() == list(range(1, len(losses) + 1))

    # The weights learnt so far can be used during the training.
    panel.past_tab.click()
    panel.runs.list.setCurrentRow(0)
    qtbot.waitUntil(panel.runs.view_button.isEnabled, timeout=WAIT_MS)
    weights = panel.runs.weights
    click(qtbot, panel.runs.view_button)
    maps = window.models.maps
    assert dict(maps.choice.values) == {"weights": str(weights)}
    qtbot.waitUntil(lambda: maps.ready and not window.maps.lane.busy, timeout=WAIT_MS)
    info = maps.status("a").info
    assert info is not None
    assert info.trained
    click(qtbot, panel.runs.evaluate_button)
    assert window.evaluation_panel.isVisible()
    choice = window.models.evaluation.choice.state
    assert (choice.descriptors, choice.weights) == (("msnet_v0",), {"msnet_v0": str(weights)})
    assert choice.config().descriptor == (f"msnet_v0={weights}",)

    # The best is kept: the run has ended, and its network can be used at once.
    window.actions["train"].trigger()
    panel.new_tab.click()
    qtbot.waitUntil(panel.finish_button.isEnabled, timeout=WAIT_MS)
    click(qtbot, panel.finish_button)
    wait_stage(qtbot, window, "done")
    assert not panel.resume_button.isVisible()
    best = load_state(folder / "weights" / "best.safetensors")[0]
    click(qtbot, panel.use_button)
    qtbot.waitUntil(lambda: maps.ready and not window.busy, timeout=WAIT_MS)
    used = load_state(Path(str(dict(maps.choice.values)["weights"])))[0]
    assert all((used[name] == values).all() for name, values in best.items())


def test_closing_asks_first_keeps_a_checkpoint_and_the_next_window_resumes(
    qtbot: Any, open_window: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [False, True]
    asked: list[tuple[str, int]] = []

    def answer(_parent: object, name: str, step: int) -> bool:
        asked.append((name, step))
        return answers.pop(0)

    monkeypatch.setattr(dialogs, "stops_training", answer)
    first = open_window()
    first.models.training.choice.update(folder=str(photos), name="abends")
    first.trainings.start()
    wait_steps(qtbot, first, 3)
    first.window.close()
    assert first.window.isVisible()  # the first answer is no
    wait_steps(qtbot, first, first.models.training.status.state.step + 2)
    with qtbot.waitSignal(first.finished, timeout=WAIT_MS):
        first.window.close()
    assert [name for name, _ in asked] == ["abends", "abends"]
    folder = api.user_data_dir() / "runs" / "abends"
    kept = int(load_state(folder / "weights" / "last.safetensors")[1]["step"])
    assert kept >= 5

    second = open_window()
    second.actions["train"].trigger()
    panel, training = second.training_panel, second.models.training
    qtbot.waitUntil(lambda: bool(training.frames.shown), timeout=WAIT_MS)  # the last run is shown
    assert training.curves.shown == (folder,)
    panel.past_tab.click()
    panel.runs.list.setCurrentRow(0)
    click(qtbot, panel.runs.resume_button)
    wait_steps(qtbot, second, kept + 1)
    assert asked[2:] == []
    second.trainings.stop()
    qtbot.waitUntil(lambda: not second.busy, timeout=WAIT_MS)
    second.window.close()  # nothing is trained: nobody is asked
    qtbot.waitUntil(lambda: second.closed, timeout=WAIT_MS)
    assert len(asked) == 2


def test_a_taken_name_is_asked_about_in_words(
    qtbot: Any, open_window: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, bool]] = []

    def answer(_parent: object, name: str, *, proposal: str, can_resume: bool) -> str:
        asked.append((name, proposal, can_resume))
        return "new" if len(asked) == 1 else "cancel"

    monkeypatch.setattr(dialogs, "ask_taken_run", answer)
    window = open_window()
    training = window.models.training
    (api.user_data_dir() / "runs" / "eins").mkdir(parents=True)
    training.choice.update(folder=str(photos), name="eins", changes={**TINY, "train.steps": 2})
    window.actions["train"].trigger()
    click(qtbot, window.training_panel.form.start_button)
    wait_stage(qtbot, window, "done")
    assert training.status.state.folder.name == "eins-2"
    click(qtbot, window.training_panel.form.start_button)
    assert asked == [("eins", "eins-2", False), ("eins-2", "eins-2-2", True)]
    assert training.status.state.stage == "done"
