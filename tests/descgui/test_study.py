"""Studying the layers of the shown network: the job, its dialog, and what follows from it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.maps_controller import MapsController
from descgui.controllers.study_controller import StudyController
from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.study_state import LayerScore, StudyState
from descgui.views.study_dialog import StudyDialog
from engine import api
from engine.api import StudyConfig

WAIT_MS = 10_000
CONFIG = StudyConfig(dataset="demo", pairs=3)


class Engine(QObject):
    """Owns no session: nothing is described here."""

    ready = Signal()
    plugin_loaded = Signal()
    session = None


@pytest.fixture
def models(qapp):
    made = make_models(None)
    made.engine.set(EngineState("ready"))
    made.maps.choose(DescriptorChoice("timm:net@2", {"facet": "key", "weights": "/w.pth"}))
    return made


@pytest.fixture
def studies(models, close_after):
    maps = MapsController(models, Engine())
    made = StudyController(models, maps)
    close_after(maps.lane)
    close_after(made.lane)
    return made


def layer(name, pck):
    return SimpleNamespace(name=name, mean=lambda: pck and SimpleNamespace(pck=pck))


@pytest.fixture
def study_with(monkeypatch, tmp_path):
    """Puts a function in the place of the engine's study; gives the jobs that were made."""
    jobs = []

    def use(run):
        def job(**given):
            jobs.append(SimpleNamespace(**given))
            return SimpleNamespace(run=lambda context: run(jobs[-1], context))

        monkeypatch.setitem(vars(api), "StudyJob", job)
        monkeypatch.setitem(vars(api), "choose_study", lambda config, own: (config, dict(own)))
        monkeypatch.setitem(vars(api), "new_run_dir", lambda _kind: tmp_path)
        return jobs

    return use


def wait_for(qtbot, models, studies, stage):
    qtbot.waitUntil(lambda: models.study.state.stage == stage, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not studies.lane.busy, timeout=WAIT_MS)


def test_a_study_is_of_all_layers_with_the_shown_settings_and_tells_scores_meanwhile(
    qtbot, models, studies, study_with, tmp_path
):
    seen = []
    models.study.changed.connect(lambda state: seen.append(state))

    def run(job, context):
        context.emit(api.Progress(api.Stage.MEASURING_PAIRS, 1, 3))
        job.listener(1, 3, (("blocks.0", 0.25), ("blocks.1", 0.5)))
        best = SimpleNamespace(descriptor="timm:net@1", name="blocks.1")
        layers = (layer("blocks.0", 0.3), layer("blocks.1", 0.6), layer("blocks.2", None))
        return SimpleNamespace(layers=layers, best=best, folder=tmp_path)

    jobs = study_with(run)
    studies.start(CONFIG)
    studies.start(CONFIG)
    wait_for(qtbot, models, studies, "done")
    assert len(jobs) == 1
    config, own = jobs[0].spec
    assert (config.descriptor, config.pairs) == ("timm:net", 3)
    assert own == {"facet": "key", "weights": "/w.pth"}
    assert "study timm:net=/w.pth --dataset demo --pairs 3 --set facet=key" in jobs[0].command
    assert (LayerScore("blocks.0", 0.25), LayerScore("blocks.1", 0.5)) in [
        one.scores for one in seen
    ]
    assert ("pairs", 1, 3) in [(one.doing, one.done, one.total) for one in seen]
    state = models.study.state
    assert [one.pck for one in state.scores] == [0.3, 0.6, None]
    assert (state.best, state.folder) == ("timm:net@1", tmp_path)
    models.maps.choose(DescriptorChoice("daisy"))
    studies.show_best()
    assert models.maps.choice.name == "timm:net@1"
    assert models.maps.choice.values == {"facet": "key", "weights": "/w.pth"}


def test_a_study_can_be_stopped_and_one_that_fails_says_why(qtbot, models, studies, study_with):
    begun = threading.Event()

    def run_on(_job, context):
        begun.set()
        while not threading.Event().wait(0.01):
            context.cancel.check()

    study_with(run_on)
    studies.start(CONFIG)
    qtbot.waitUntil(begun.is_set, timeout=WAIT_MS)
    studies.stop()
    assert models.study.state.stage == "stopping"
    wait_for(qtbot, models, studies, "stopped")

    def fail(_job, _context):
        raise api.DescSpaceError("The data set is empty.")

    study_with(fail)
    studies.start(CONFIG)
    wait_for(qtbot, models, studies, "failed")
    assert models.study.state.message == "The data set is empty."
    assert models.study.state.folder is None


def test_the_command_of_a_study_is_copied(models, studies):
    studies.copy_command(replace(CONFIG, remove_position=2))
    text = QGuiApplication.clipboard().text()
    assert "study timm:net=/w.pth" in text
    assert "--remove-position 2" in text


# ---- the dialog ----------------------------------------------------------------------------------


@pytest.fixture
def dialog(qtbot, models, asked):
    made = StudyDialog(models, asked)
    qtbot.addWidget(made)
    made.show()
    return made


def test_a_study_starts_with_what_is_set(qtbot, dialog, models, asked):
    assert "All layers of timm:net" in dialog.network.sentence
    models.settings.update(precision="bfloat16")
    dialog.form.set_values({"pairs": 5})
    dialog.start_button.click()
    (config,) = asked.of("start")[0]
    assert (config.dataset, config.pairs, config.precision) == ("demo", 5, "bfloat16")
    dialog.copy_button.click()
    assert asked.of("copy_command")[0][0] == config


def test_without_a_network_nothing_can_be_started(dialog, models):
    models.maps.choose(DescriptorChoice("daisy"))
    assert not dialog.start_button.isEnabled()
    assert "Open a network first" in dialog.network.sentence


def test_random_weights_are_told_before_a_study(dialog, models):
    assert not dialog.untrained.isVisible()
    info = SimpleNamespace(trained=False)
    models.maps.set_status("a", MapStatus("ready", info=info))
    assert "random numbers" in dialog.untrained.sentence


def test_progress_scores_and_the_end_are_shown(dialog, models, asked):
    scores = (LayerScore("blocks.0", 0.25), LayerScore("blocks.1", None))
    models.study.set(StudyState("running", "timm:net", "pairs", 2, 20, scores))
    assert dialog.status.sentence == "Pairs: 2 of 20"
    assert (dialog.bar.value(), dialog.bar.maximum()) == (2, 20)
    cells = [[dialog.table.index(row, column).data() for column in (0, 1)] for row in (0, 1)]
    assert cells == [["blocks.0", "0.250"], ["blocks.1", "–"]]
    assert not dialog.start_button.isVisible()
    assert not dialog.form.isEnabled()
    assert not dialog.grab().isNull()
    dialog.stop_button.click()
    assert asked.of("stop") == [()]
    models.study.update(
        stage="done", best="timm:net@0", best_layer="blocks.0", folder=Path("/runs/study")
    )
    assert "blocks.0 matches best" in dialog.status.sentence
    dialog.page_button.click()
    dialog.best_button.click()
    assert asked.of("open_page") == [()]
    assert asked.of("show_best") == [()]
    models.study.set(StudyState("failed", message="The data set is empty."))
    assert dialog.failure.sentence == "The data set is empty."
    assert not dialog.best_button.isVisible()


def test_a_folder_of_sequences_can_be_chosen(dialog, models, asked, monkeypatch, tmp_path):
    monkeypatch.setattr("descgui.views.dialogs.ask_folder", lambda *_: tmp_path)
    dialog.browse.click()
    dialog.start_button.click()
    assert asked.of("start")[0][0].dataset == str(tmp_path)
    assert models.settings.state.recent_folders == (str(tmp_path),)
    assert dialog.dataset.currentText() == tmp_path.name
