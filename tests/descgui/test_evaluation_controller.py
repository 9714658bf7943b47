"""Evaluations in the window: started, paused, continued, compared, deleted."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices, QGuiApplication

from descgui.controllers import live_results
from descgui.controllers.estimate_controller import EstimateController
from descgui.controllers.evaluation_controller import EvaluationController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.results_controller import ResultsController
from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.evaluation_state import DEMO
from engine import api
from engine.images import write_image
from tests.descgui.pair_sets import a_group, a_set

WAIT_MS = 60_000
READY = EngineState("ready", (DescriptorChoiceInfo("daisy", "DAISY", "", "built-in", False, ()),))


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    """Two sequences of three pairs each."""
    root = tmp_path_factory.mktemp("data") / "séquences"
    for number, name in enumerate(("i_light", "v_turn")):
        folder = root / name
        folder.mkdir(parents=True)
        noise = np.random.default_rng(number).random((90, 120, 3)).astype(np.float32)
        picture = (255 * cv2.GaussianBlur(noise, (0, 0), 1.5)).astype(np.uint8)
        for index in (1, 2, 3, 4):
            write_image(folder / f"{index}.png", np.roll(picture, index, axis=1))
            if index > 1:
                shift = np.array([[1.0, 0, index - 1], [0, 1, 0], [0, 0, 1]])
                np.savetxt(folder / f"H_1_{index}", shift)
    return root


class Matches:
    """Counts the requests for matches."""

    def __init__(self):
        self.runs = 0

    def run(self):
        self.runs += 1


class World:
    """A controller with the models and controllers around it."""

    def __init__(self, sequences):
        self.models = make_models(None)
        self.model = self.models.evaluation
        self.pairs = PairController(self.models, lambda image: image.pixels)
        self.matches = Matches()
        self.results = ResultsController(self.models, self.pairs, self.matches)
        self.runs = EvaluationController(self.models, self.results)
        self.estimates = EstimateController(self.models)
        parts = (self.runs, self.results, self.estimates, self.pairs)
        self.lanes = [part.lane for part in parts]
        self.models.engine.set(READY)
        self.model.choice.update(
            dataset=str(sequences),
            descriptors=("daisy",),
            device="cpu",
            more={"long_edge_px": 96},
            open_report=False,
        )

    @property
    def stage(self):
        return self.model.shown.state.stage

    @property
    def quiet(self):
        return not any(lane.busy for lane in self.lanes)


@pytest.fixture
def make_world(qtbot, fresh_home, sequences):
    worlds = []

    def make():
        worlds.append(World(sequences))
        return worlds[-1]

    yield make
    for world in worlds:
        for lane in world.lanes:
            lane.close()
        qtbot.waitUntil(lambda world=world: world.quiet, timeout=WAIT_MS)


@pytest.fixture
def world(make_world):
    return make_world()


def wait_stage(qtbot, world, stage):
    qtbot.waitUntil(lambda: world.stage == stage and world.quiet, timeout=WAIT_MS)


def run_whole(qtbot, world):
    world.runs.run()
    wait_stage(qtbot, world, "done")
    return world.model.shown.state.content


def stop_after(world, pairs, stop):
    """Call ``stop`` when so many pairs are shown, for which the run waits, however fast it is."""
    asked = threading.Event()

    def hold(begun, _record):
        if len(begun.records) >= pairs:
            assert asked.wait(WAIT_MS / 1000)

    def look(shown):
        if shown.stage == "running" and shown.content and shown.content.done >= pairs:
            stop()
            asked.set()

    world.runs._measured.connect(hold, Qt.ConnectionType.DirectConnection)  # on the run's thread
    world.model.shown.changed.connect(look)
    return look


def test_the_form_begins_with_the_open_set_and_keeps_what_was_chosen_there(qtbot, tmp_path):
    models = make_models(None)
    results = ResultsController(models, PairController(models, lambda image: image), Matches())
    runs = EvaluationController(models, results)
    choice = models.evaluation.choice

    def open_set(root):
        models.browser.set_dataset(a_set(root, a_group(root, "v_one")))
        return choice.state.dataset

    one, two, chosen = (tmp_path / name for name in ("one", "two", "chosen"))
    choice.update(subset="viewpoint")
    assert open_set(api.cache_dir() / "demo-v7") == DEMO
    assert choice.state.subset == "viewpoint"
    assert open_set(one) == str(one)
    assert choice.state.subset == "all"  # its parts are others
    models.browser.set_filter(search="v")
    assert open_set(two) == str(two)
    choice.update(dataset=str(chosen))
    assert open_set(one) == str(chosen)
    runs.lane.close()
    results.lane.close()


def test_a_run_fills_the_table_as_it_goes_on_and_ends_with_the_result(qtbot, world, monkeypatch):
    monkeypatch.setattr(live_results, "LEAST_PAUSE_MS", 0)
    seen = []
    world.model.shown.changed.connect(
        lambda shown: seen.append((shown.stage, shown.content)) if shown.content else None
    )
    content = run_whole(qtbot, world)
    running = [content for stage, content in seen if stage == "running"]
    counts = [content.done for content in running]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert len(set(counts)) > 1
    assert {content.total for content in running} == {6}
    assert content.finished
    assert content.pairs == api.read_runs(content.folders).pairs
    assert any(row.low is not None for row in content.summary)
    assert [run.finished for run in world.model.runs.state] == [True]


def test_a_paused_run_goes_on_where_it_stopped_and_ends_like_an_undisturbed_one(qtbot, world):
    look = stop_after(world, 2, world.runs.pause)
    world.runs.run()
    wait_stage(qtbot, world, "paused")
    world.model.shown.changed.disconnect(look)
    before = world.model.shown.state.content
    assert 2 <= before.done < 6
    assert [run.done for run in world.model.runs.state] == [before.done]
    done = []
    world.model.shown.changed.connect(
        lambda shown: done.append(shown.content.done) if shown.content else None
    )
    world.runs.resume()
    wait_stage(qtbot, world, "done")
    assert min(done) >= before.done  # nothing is measured again
    paused = world.model.shown.state.content
    assert paused.folders == before.folders
    whole = run_whole(qtbot, world)
    assert whole.pairs == paused.pairs
    assert whole.summary == paused.summary


def test_a_cancelled_run_stays_in_the_list_and_another_window_continues_it(
    qtbot, make_world, sequences
):
    first = make_world()
    look = stop_after(first, 1, first.runs.cancel)
    first.runs.run()
    wait_stage(qtbot, first, "stopped")
    first.model.shown.changed.disconnect(look)
    second = make_world()
    second.results.refresh()
    qtbot.waitUntil(lambda: len(second.model.runs.state) == 1, timeout=WAIT_MS)
    (run,) = second.model.runs.state
    assert 0 < run.done < 6
    second.results.show([run.folder])
    qtbot.waitUntil(lambda: second.model.shown.state.content is not None, timeout=WAIT_MS)
    assert second.model.shown.state.can_continue
    assert second.model.shown.state.content.root == sequences
    second.runs.resume(run.folder)
    wait_stage(qtbot, second, "done")
    assert second.model.shown.state.content.total == 6
    assert len({(r.sequence, r.index) for r in second.model.shown.state.content.pairs}) == 6


def test_cancelling_a_paused_run_only_lets_go_of_it(qtbot, world):
    look = stop_after(world, 1, world.runs.pause)
    world.runs.run()
    wait_stage(qtbot, world, "paused")
    world.model.shown.changed.disconnect(look)
    world.runs.cancel()
    assert world.stage == "stopped"
    assert world.model.shown.state.can_continue


def test_what_cannot_be_run_is_told_in_its_sentence(qtbot, world, tmp_path):
    world.model.choice.update(dataset=str(tmp_path / "nothing"))
    world.runs.run()
    wait_stage(qtbot, world, "failed")
    assert "nothing: does not exist" in world.model.shown.state.message
    assert not api.runs_dir().exists()
    world.model.choice.update(more={"long_edge_px": -3})
    world.runs.run()
    assert "long_edge_px" in world.model.shown.state.message


def test_runs_are_thrown_away_and_brought_back(qtbot, world):
    content = run_whole(qtbot, world)
    (folder,) = content.folders
    world.results.delete([folder])
    qtbot.waitUntil(lambda: world.quiet and world.model.runs.state == (), timeout=WAIT_MS)
    assert not folder.exists()
    assert world.model.shown.state.content is None
    world.results.undo_delete()
    qtbot.waitUntil(lambda: world.quiet and len(world.model.runs.state) == 1, timeout=WAIT_MS)
    assert folder.exists()
    assert world.model.deleted.state == ()


def test_the_run_under_way_cannot_be_thrown_away(qtbot, world, monkeypatch):
    monkeypatch.setattr(live_results, "LEAST_PAUSE_MS", 0)
    tried = []

    def throw_away(shown):
        if shown.stage == "running" and shown.content and shown.content.done >= 1:
            world.results.delete(shown.content.folders)
            tried.append(shown.content.done)

    world.model.shown.changed.connect(throw_away)
    content = run_whole(qtbot, world)
    assert tried
    assert content.folders[0].exists()


def test_several_runs_are_compared_with_a_warning_where_they_differ(qtbot, world):
    first = run_whole(qtbot, world).folders[0]
    world.model.choice.update(more={"long_edge_px": 96, "seed": 5})
    second = run_whole(qtbot, world).folders[0]
    world.results.show([first, second])
    qtbot.waitUntil(
        lambda: len(world.model.shown.state.content.folders) == 2 and world.quiet, timeout=WAIT_MS
    )
    shown = world.model.shown.state
    assert len(shown.content.descriptors) == 2
    assert any("differ in seed" in note for note in shown.notes)


def test_the_report_is_written_when_the_run_is_done_and_opened_once(qtbot, world, monkeypatch):
    world.model.choice.update(open_report=True)
    pages = []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: not pages.append(Path(url.toLocalFile()))
    )
    content = run_whole(qtbot, world)
    qtbot.waitUntil(lambda: bool(pages) and world.quiet, timeout=WAIT_MS)
    assert pages == [content.folders[0] / api.REPORT_HTML]
    assert "daisy" in pages[0].read_text(encoding="utf-8")
    assert world.model.shown.state.report == pages[0]
    world.results.open_report()  # it is there: opened again, not written again
    assert pages == [pages[0]] * 2


def test_a_pair_is_opened_with_its_descriptor_its_threshold_and_matches(qtbot, world, sequences):
    run_whole(qtbot, world)
    world.results.open_pair("v_turn", 3, "daisy", 5.0)
    qtbot.waitUntil(lambda: world.quiet and world.models.pair.state is not None, timeout=WAIT_MS)
    pair = world.models.pair.state.pair
    assert (pair.sequence, pair.index) == ("v_turn", 3)
    assert pair.path_a.is_relative_to(sequences)
    assert world.models.maps.choice.name == "daisy"
    assert world.models.settings.state.correct_px == 5.0
    assert world.matches.runs == 1
    world.models.pair.set_pair(world.models.pair.state)  # a later pair is not matched by itself
    assert world.matches.runs == 1


def test_a_pair_whose_pictures_are_gone_is_told_and_leaves_the_open_one(qtbot, world, tmp_path):
    from dataclasses import replace

    run_whole(qtbot, world)
    shown = world.model.shown.state
    (result,) = shown.content.results
    lost = replace(result, sources=replace(result.sources, root=""))
    world.model.shown.set(replace(shown, content=replace(shown.content, results=(lost,))))
    world.results.open_pair("v_turn", 3, "daisy", 5.0)
    assert "moved or deleted" in world.models.messages.messages[-1].text
    assert world.models.pair.state is None


def test_an_estimate_is_made_only_while_somebody_looks(qtbot, world):
    world.model.visible.set(True)
    qtbot.waitUntil(lambda: world.model.estimate.state.estimate is not None, timeout=WAIT_MS)
    assert world.model.estimate.state.estimate.pairs == 6
    world.model.visible.set(False)
    world.model.choice.update(subset="viewpoint")
    assert world.model.estimate.state.estimate is None
    assert not world.estimates._timer.isActive()


def test_an_estimate_that_fails_says_why_beside_the_button_alone(qtbot, world, tmp_path):
    world.model.choice.update(dataset=str(tmp_path / "nothing"))
    world.model.visible.set(True)
    qtbot.waitUntil(lambda: world.model.estimate.state.message != "", timeout=WAIT_MS)
    assert "does not exist" in world.model.estimate.state.message
    assert world.models.messages.messages == ()


def test_the_command_of_the_choice_is_copied(qtbot, world, sequences):
    world.runs.copy_command()
    text = QGuiApplication.clipboard().text()
    assert "main.py evaluate" in text
    assert str(sequences) in text
    assert "--long-edge 96" in text
