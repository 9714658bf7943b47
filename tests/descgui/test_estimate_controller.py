"""The estimate of an evaluation: measured when it is looked at, and never an outdated one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from descgui.controllers.estimate_controller import EstimateController
from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.models.evaluation_state import EstimateState, ShownRun
from engine import api

WAIT_MS = 10_000


class Engine:
    """Stands in for the engine's estimate.

    Attributes:
        asked: the subsets that were estimated, in order.
        held: while set, an estimate waits for ``go``, and does not listen to cancelling.
    """

    def __init__(self):
        self.asked = []
        self.held = False
        self.go = threading.Event()
        self.error = None

    def measure(self, config):
        self.asked.append(config.subset)
        if self.held:
            self.go.wait(10)
        if self.error is not None:
            raise self.error
        return f"estimate of {config.subset}"


@pytest.fixture
def engine(monkeypatch):
    made = Engine()

    @dataclass
    class Job:
        config: Any
        choices: Any

        def run(self, context):
            context.cancel.check()
            return made.measure(self.config)

    monkeypatch.setattr(api, "EstimateJob", Job, raising=False)
    monkeypatch.setattr(api, "choose_descriptors", lambda config, values: (), raising=False)
    yield made
    made.go.set()


@pytest.fixture
def models(qapp):
    models = make_models(None)
    models.engine.set(EngineState("ready"))
    return models


@pytest.fixture
def evaluation(models):
    return models.evaluation


@pytest.fixture
def estimates(models, engine, close_after):
    made = EstimateController(models)
    made._timer.setInterval(0)
    close_after(made.lane)
    return made


def wait_for(qtbot, evaluation, state):
    qtbot.waitUntil(lambda: evaluation.estimate.state == state, timeout=WAIT_MS)


def rest(qtbot, estimates):
    qtbot.waitUntil(
        lambda: not (estimates.lane.busy or estimates._timer.isActive()), timeout=WAIT_MS
    )


def test_the_choice_is_estimated_once_the_panel_is_visible(qtbot, engine, estimates, evaluation):
    evaluation.choice.update(subset="viewpoint")
    rest(qtbot, estimates)
    assert engine.asked == []
    evaluation.visible.set(True)
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate of viewpoint"))
    evaluation.visible.set(False)
    evaluation.visible.set(True)  # known already
    rest(qtbot, estimates)
    assert engine.asked == ["viewpoint"]


def test_an_estimate_waits_for_the_engine(qtbot, engine, estimates, evaluation, models):
    models.engine.set(EngineState("loading"))
    evaluation.visible.set(True)
    rest(qtbot, estimates)
    assert engine.asked == []
    models.engine.set(EngineState("ready"))
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate of all"))


def test_another_choice_is_estimated_anew_and_the_old_estimate_is_gone_at_once(
    qtbot, engine, estimates, evaluation
):
    evaluation.visible.set(True)
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate of all"))
    evaluation.choice.update(subset="540")
    assert evaluation.estimate.state == EstimateState()
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate of 540"))


def test_an_estimate_that_comes_too_late_is_not_shown(qtbot, engine, estimates, evaluation):
    seen = []
    evaluation.estimate.changed.connect(lambda state: seen.append(state.estimate))
    engine.held = True
    evaluation.visible.set(True)
    qtbot.waitUntil(lambda: engine.asked == ["all"], timeout=WAIT_MS)
    evaluation.choice.update(subset="540")
    estimates._timer.stop()  # the older one ends before the newer one is even asked for
    engine.held = False
    engine.go.set()
    qtbot.waitUntil(lambda: not estimates.lane.busy, timeout=WAIT_MS)
    assert evaluation.estimate.state == EstimateState()
    evaluation.visible.set(False)
    evaluation.visible.set(True)
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate of 540"))
    assert "estimate of all" not in seen


def test_a_run_takes_the_machine_for_itself_and_leaves_the_estimate_for_later(
    qtbot, engine, estimates, evaluation
):
    evaluation.shown.set(ShownRun("running"))
    evaluation.visible.set(True)
    rest(qtbot, estimates)
    assert engine.asked == []
    evaluation.shown.set(ShownRun("done"))
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate of all"))


@pytest.mark.parametrize("away", ["hidden", "running"])
def test_an_estimate_under_way_is_stopped_and_made_later(
    qtbot, engine, estimates, evaluation, away, monkeypatch
):
    stopped = []

    def measure(self, context):
        engine.asked.append(self.config.subset)
        while engine.held:
            if context.cancel.cancelled:
                stopped.append(True)
            context.cancel.check()
            threading.Event().wait(0.005)
        return "estimate"

    monkeypatch.setattr(api.EstimateJob, "run", measure)
    engine.held = True
    evaluation.visible.set(True)
    qtbot.waitUntil(lambda: engine.asked == ["all"], timeout=WAIT_MS)
    assert evaluation.estimate.state.measuring
    if away == "hidden":
        evaluation.visible.set(False)
    else:
        evaluation.shown.set(ShownRun("running"))
    qtbot.waitUntil(lambda: not estimates.lane.busy, timeout=WAIT_MS)
    assert stopped
    assert evaluation.estimate.state == EstimateState()
    engine.held = False
    evaluation.shown.set(ShownRun("stopped"))
    evaluation.visible.set(True)
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate"))


def test_a_panel_that_comes_back_before_the_estimate_stopped_gets_another(
    qtbot, engine, estimates, evaluation, monkeypatch
):
    def measure(self, context):
        engine.asked.append(self.config.subset)
        while len(engine.asked) == 1:
            context.cancel.check()
            threading.Event().wait(0.005)
        return "estimate"

    monkeypatch.setattr(api.EstimateJob, "run", measure)
    evaluation.visible.set(True)
    qtbot.waitUntil(lambda: engine.asked == ["all"], timeout=WAIT_MS)
    evaluation.visible.set(False)
    evaluation.visible.set(True)
    wait_for(qtbot, evaluation, EstimateState(estimate="estimate"))


def test_an_estimate_that_fails_says_why_beside_the_button_alone(
    qtbot, engine, estimates, evaluation, models
):
    engine.error = api.ConfigError("dataset", "does not exist")
    evaluation.visible.set(True)
    qtbot.waitUntil(lambda: evaluation.estimate.state.message != "", timeout=WAIT_MS)
    assert "does not exist" in evaluation.estimate.state.message
    assert models.messages.messages == ()


def test_a_wrong_setting_is_named_and_no_descriptor_is_left_to_the_form(
    qtbot, engine, estimates, evaluation
):
    evaluation.visible.set(True)
    evaluation.choice.update(descriptors=())
    rest(qtbot, estimates)
    assert evaluation.estimate.state == EstimateState()
    evaluation.choice.update(descriptors=("daisy",), more={"long_edge_px": -3})
    qtbot.waitUntil(lambda: "long_edge_px" in evaluation.estimate.state.message, timeout=WAIT_MS)
    assert engine.asked == []
