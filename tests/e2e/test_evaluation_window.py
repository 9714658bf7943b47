"""An evaluation in the real window: started, measured, inspected, interrupted by closing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices

from descgui.app import SETTINGS_FILE, Application
from descgui.models.bundle import make_models
from engine import api
from tests.e2e.driving import dispose

WAIT_MS = 90_000


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Two sequences of three pairs each, whose last pair no descriptor can match."""
    root = tmp_path / "séquences"
    for number, name in enumerate(("i_light", "v_turn")):
        folder = root / name
        folder.mkdir(parents=True)
        for index in (1, 2, 3, 4):
            seed = number if index < 4 else 100 + number
            noise = np.random.default_rng(seed).random((150, 200, 3)).astype(np.float32)
            picture = (255 * cv2.GaussianBlur(noise, (0, 0), 2.0)).astype(np.uint8)
            api.write_image(folder / f"{index}.png", picture)
            if index > 1:
                np.savetxt(folder / f"H_1_{index}", np.eye(3))
    return root


@pytest.fixture
def opened_pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been opened in a browser."""
    pages: list[str] = []

    def remember(url: QUrl) -> bool:
        pages.append(url.toLocalFile())
        return True

    monkeypatch.setattr(QDesktopServices, "openUrl", remember)
    return pages


@pytest.fixture
def open_window(qtbot: Any, fresh_home: Path, sequences: Path) -> Iterator[Any]:
    windows: list[Application] = []

    def make() -> Application:
        models = make_models(api.config_dir() / SETTINGS_FILE)
        models.evaluation.choice.update(dataset=str(sequences), more={"long_edge_px": 128})
        options = api.ViewOptions(images=(sequences / "i_light",), size=(1400, 900))
        window = Application(options, models)
        windows.append(window)
        window.show()
        qtbot.waitUntil(lambda: models.maps.ready and not window.busy, timeout=WAIT_MS)
        return window

    yield make
    dispose(qtbot, windows)


def test_one_click_measures_and_a_click_on_a_bar_opens_the_worst_pair(
    qtbot: Any, open_window: Any, opened_pages: list[str], sequences: Path
) -> None:
    window = open_window()
    models, panel = window.models, window.evaluation_panel
    window.actions["evaluate"].trigger()
    assert panel.isVisible()
    qtbot.mouseClick(panel.form.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: models.evaluation.shown.state.stage == "done" and bool(opened_pages),
        timeout=WAIT_MS,
    )
    assert panel.table.item(0, 0).text().startswith("0.")
    assert Path(opened_pages[0]).name == api.REPORT_HTML
    bars = panel.bars
    texts = [bars.model().index(line, 0).data() for line in range(bars.model().rowCount())]
    assert [text.partition(",")[0] for text in texts] == ["i_light", "v_turn"]
    where = bars.visualRect(bars.model().index(1, 0)).center()
    qtbot.mouseClick(bars.viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.waitUntil(
        lambda: (
            models.pair.state.pair.sequence == "v_turn" and models.matches.state.table is not None
        ),
        timeout=WAIT_MS,
    )
    assert models.pair.state.pair.index == 4  # the pair that cannot be matched
    correct = models.matches.state.correct(models.settings.state.correct_px)
    assert correct is not None
    assert correct.mean() < 0.5  # its wrong matches are drawn


def test_what_fails_sets_up_a_training_that_learns_from_it(
    qtbot: Any, open_window: Any, sequences: Path, tmp_path: Path
) -> None:
    """The worst pairs of an evaluation first, then pins with their true matches."""
    window = open_window()
    models, panel = window.models, window.evaluation_panel
    models.evaluation.choice.update(open_report=False)
    window.actions["evaluate"].trigger()
    qtbot.mouseClick(panel.form.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: models.evaluation.shown.state.stage == "done", timeout=WAIT_MS)
    qtbot.mouseClick(panel.learn_button, Qt.MouseButton.LeftButton)
    (run,) = models.evaluation.shown.state.content.folders
    form = window.training_panel.form
    assert form.isVisible()
    assert not panel.isVisible()
    assert form.preset.currentText() == "Fine-tune"
    assert form.descriptor.currentData() == "descspace-fast"
    (extra,) = form.extra.forms
    assert extra.field("train.extra.pairs").text() == str(run)
    assert extra.field("train.extra.share").number() == 0.25

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
        api.write_image(photos / f"{number}.png", noise)
    small = {"train.width": 48, "train.height": 36, "train.points": 30}
    choice = models.training.choice
    choice.update(changes={**choice.state.changes, **small})
    window.trainings.use_folder(photos)
    samples = models.training.samples
    qtbot.waitUntil(lambda: samples.state.found is not None, timeout=WAIT_MS)
    assert form.learned.isVisible()
    assert form.learned.sentence == (
        "Also learns from the worst 6 pairs of séquences: the trained weights can no longer be "
        "reported on 2 sequences (i_light, v_turn)."
    )
    assert form.start_button.isEnabled()

    window.window.show_workspace("inspect")
    window.probes.pin("a", 60.0, 50.0)
    button = window.probe.pins.learn_button
    qtbot.waitUntil(button.isEnabled, timeout=WAIT_MS)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(form.isVisible, timeout=WAIT_MS)
    table = Path(extra.field("train.extra.pairs").text())
    (pair,) = api.open_pair_set(table).pairs()
    assert pair.path_a == models.pair.state.pair.path_a


def test_closing_the_window_stops_the_run_and_the_next_window_continues_it(
    qtbot: Any, open_window: Any, opened_pages: list[str]
) -> None:
    first = open_window()
    first.models.evaluation.choice.update(open_report=False)
    closed = threading.Event()

    def hold(begun: Any, _record: Any) -> None:
        """Let the run wait after its first pair, however fast it is."""
        if begun.records:
            assert closed.wait(WAIT_MS / 1000)

    def close_after_one(shown: Any) -> None:
        if shown.stage == "running" and shown.done >= 1:
            first.models.evaluation.shown.changed.disconnect(close_after_one)
            first.window.close()
            closed.set()

    runs = first.evaluations.runs
    runs._measured.connect(hold, Qt.ConnectionType.DirectConnection)  # on the run's thread
    first.models.evaluation.shown.changed.connect(close_after_one)
    with qtbot.waitSignal(first.finished, timeout=WAIT_MS):
        runs.run()
    second = open_window()
    second.models.evaluation.choice.update(open_report=False)
    qtbot.waitUntil(lambda: len(second.models.evaluation.runs.state) == 1, timeout=WAIT_MS)
    (run,) = second.models.evaluation.runs.state
    assert not run.finished
    assert 0 < run.done < run.total
    second.actions["evaluate"].trigger()
    panel = second.evaluation_panel
    panel.past_tab.click()
    panel.runs.list.item(0).setSelected(True)
    qtbot.mouseClick(panel.runs.continue_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: second.models.evaluation.shown.state.stage == "done" and not second.busy,
        timeout=WAIT_MS,
    )
    assert second.models.evaluation.shown.state.content.done == 6
    assert opened_pages == []
