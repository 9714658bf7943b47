"""From the events of a training to the window's model, and the controller without an engine."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from descgui.controllers import live_training
from descgui.controllers.engine_controller import EngineController
from descgui.controllers.live_training import LiveTraining
from descgui.controllers.training_controller import TrainingController
from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.workers.plot_loading import PlotLoader
from engine import api

RUN = Path("/runs/eins")
TRAINING = api.Stage.TRAINING
WAIT_MS = 10_000
OWN_SETTINGS = SimpleNamespace(train=SimpleNamespace(validation=SimpleNamespace(patience=4)))


def picture(step, value=0):
    return api.Preview(step, {"pair": np.full((2, 4, 3), value, np.uint8)})


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(live_training, "time", made)
    return made


@pytest.fixture
def models(qapp):
    return make_models(None)


@pytest.fixture
def saved():
    return []


@pytest.fixture
def live(models, saved):
    return LiveTraining(models.training, models.messages, saved.append)


def status_of(live, *events):
    """The status after these events have reached the model."""
    for event in events:
        live.happened(event)
    live._flush()
    return live._model.status.state


# ---- one event after the other -----------------------------------------------------------------


def test_a_checkpoint_ahead_of_the_progress_moves_the_step_and_an_older_one_does_not(live):
    live.begin(RUN)
    status = status_of(live, api.Progress(TRAINING, 0, 100), api.Progress(TRAINING, 10, 100))
    assert (status.stage, status.step, status.steps) == ("running", 10, 100)
    status = status_of(live, api.Checkpoint(12, "periodic", RUN))
    assert (status.step, status.saved_step) == (12, 12)
    status = status_of(live, api.Progress(TRAINING, 20, 100), api.Checkpoint(19, "periodic", RUN))
    assert (status.step, status.saved_step) == (20, 19)


def test_only_the_checkpoint_of_a_pause_that_was_asked_for_pauses(live):
    live.begin(RUN)
    status_of(live, api.Progress(TRAINING, 0, 100), api.Progress(TRAINING, 5, 100))
    assert status_of(live, api.Checkpoint(5, "paused", RUN)).stage == "running"
    live.set_stage("pausing")
    assert status_of(live, api.Checkpoint(6, "periodic", RUN)).stage == "pausing"
    assert status_of(live, api.Checkpoint(7, "paused", RUN)).stage == "paused"


def test_the_run_s_entry_is_read_when_it_begins_and_after_each_checkpoint(live, saved):
    live.begin(RUN)
    live.happened(api.Progress(api.Stage.READING_PHOTOS, 1, 9))
    assert saved == []
    live.happened(api.Progress(TRAINING, 0, 100))
    live.happened(api.Progress(TRAINING, 1, 100))
    assert saved == [RUN]
    live.happened(api.Checkpoint(3, "periodic", RUN))
    assert saved == [RUN, RUN]


def test_photos_are_counted_before_the_first_step(live):
    live.begin(RUN)
    status = status_of(live, api.Progress(api.Stage.READING_PHOTOS, 30, 200))
    assert (status.stage, status.step, status.steps) == ("preparing", 30, 200)


def test_speed_and_remaining_time_are_of_the_last_half_minute(live, clock):
    live.begin(RUN)
    status_of(live, api.Progress(TRAINING, 0, 1000))
    for _ in range(40):  # 10 steps a second
        clock.now_s += 1.0
        status = status_of(live, api.Progress(TRAINING, live.status.step + 10, 1000))
    assert status.steps_per_s == pytest.approx(10.0)
    assert status.eta_s == pytest.approx(60.0)
    for _ in range(31):  # half as fast from now on
        clock.now_s += 1.0
        status = status_of(live, api.Progress(TRAINING, live.status.step + 5, 1000))
    assert status.steps_per_s == pytest.approx(5.0)
    live.set_stage("paused")
    clock.now_s += 10.0
    live.set_stage("running")
    assert status_of(live).steps_per_s is None  # the pause does not count
    for _ in range(3):
        clock.now_s += 1.0
        status = status_of(live, api.Progress(TRAINING, live.status.step + 5, 1000))
    assert status.steps_per_s == pytest.approx(5.0)


def test_the_best_figure_is_that_of_the_judge_and_stays(live):
    live.begin(RUN)
    status = status_of(live, api.Progress(TRAINING, 0, 100), api.Metric(1, {"loss": 3.0}))
    assert status.best is None
    for step, share, best in ((2, 0.4, (0.4, 2)), (4, 0.7, (0.7, 4)), (6, 0.5, (0.7, 4))):
        status = status_of(live, api.Metric(step, {"pck@3": share, "pck@1": 0.9}))
        assert status.best == best
    assert dict(status.figures) == {"loss": 3.0, "pck@3": 0.5, "pck@1": 0.9}


def test_a_resumed_run_keeps_of_its_past_what_the_checkpoint_had_reached(live):
    past = {
        "loss": np.array([(1.0, 5.0), (4.0, 4.0), (6.0, 3.0)]),
        "pck@3": np.array([(2.0, 0.6), (4.0, 0.5), (6.0, 0.9)]),
        "late": np.array([(6.0, 1.0)]),
    }
    live.begin(RUN)
    live.show_past(past, (picture(0), picture(2)))
    status = status_of(live, api.Progress(TRAINING, 4, 100))
    assert (status.step, dict(status.figures)) == (4, {"loss": 4.0, "pck@3": 0.5})
    assert status.best == (0.6, 2)
    status_of(live, api.Metric(5, {"loss": 3.5}))
    curves = live._model.curves.of(RUN)
    assert curves["loss"].tolist() == [[1, 5], [4, 4], [5, 3.5]]
    assert [frame.step for frame in live._model.frames.shown] == [0, 2]


def test_warnings_are_shown_and_everything_else_only_logged(models, live):
    live.begin(RUN)
    status = status_of(live, api.Note("One.", "warning"), api.Note("Two."))
    assert status.notes == ("One.",)
    assert [message.text for message in models.messages.messages] == ["One.", "Two."]


def test_a_new_run_begins_without_what_the_last_one_left_unsaid(live):
    live.begin(RUN)
    live.happened(api.Progress(TRAINING, 0, 100))
    live.happened(api.Metric(1, {"loss": 9.0}))
    live.begin(Path("/runs/zwei"))
    status = status_of(live)
    assert (status.stage, status.folder.name, status.best) == ("preparing", "zwei", None)
    assert live._model.curves.of(Path("/runs/zwei")) == {}


def test_a_stop_before_the_first_step_is_not_undone_by_it(live):
    live.begin(RUN)
    live.set_stage("stopping")
    assert status_of(live, api.Progress(TRAINING, 0, 100)).stage == "stopping"


# ---- the controller, with an engine that does nothing ------------------------------------------


def replace(monkeypatch, **names):
    """Replace names of the engine's interface without loading those that need torch."""
    for name, value in names.items():
        monkeypatch.setitem(vars(api), name, value)


class Engine:
    """Stands in for the engine: its jobs do what a test says, its runs are a list."""

    def __init__(self, monkeypatch):
        self.jobs = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.work = lambda context: None
        self.fault = None
        self.ended = "steps"
        replace(
            monkeypatch,
            TrainJob=self.make_job,
            list_training_runs=lambda also: (),
            read_training_run=self.read_run,
            read_curves=lambda folder: {},
            read_previews=lambda folder: (),
        )

    def make_job(self, **values):
        self.entered.set()
        self.go.wait(10)
        return SimpleNamespace(**values, run=lambda context: self.run(values, context))

    def run(self, values, context):
        self.jobs.append(values)
        self.work(context)
        if self.fault is not None:
            raise self.fault
        figures = {"pck@3": 0.5}
        return SimpleNamespace(
            step=7, best=0.75, best_step=6, figures=figures, ended=self.ended, no_better=3
        )

    def read_run(self, folder):
        return SimpleNamespace(
            folder=folder, began_s=0.0, problem="", step=1, config=OWN_SETTINGS, own={"a": 1}
        )


@pytest.fixture
def engine(monkeypatch):
    return Engine(monkeypatch)


@pytest.fixture
def trainings(qtbot, fresh_home, engine, models):
    models.engine.set(EngineState("ready"))
    made = TrainingController(
        models, EngineController(models), SimpleNamespace(), PlotLoader(models.messages.report)
    )
    yield made
    engine.go.set()
    for lane in made.lanes:
        lane.close()
    qtbot.waitUntil(lambda: not any(lane.busy for lane in made.lanes), timeout=WAIT_MS)


def wait_stage(qtbot, models, stage):
    qtbot.waitUntil(lambda: models.training.status.state.stage == stage, timeout=WAIT_MS)


def choose(models, tmp_path, name="eins"):
    models.training.choice.update(folder=str(tmp_path), name=name, device="cpu")


def test_a_finished_run_says_its_steps_and_its_best(qtbot, models, engine, trainings, tmp_path):
    said = []
    models.messages.notified.connect(lambda message: said.append(message.text))
    choose(models, tmp_path)
    assert trainings.start() is None
    wait_stage(qtbot, models, "done")
    assert said == [
        "The training “eins” is finished after 7 steps. Its best PCK@3 was 0.750, at step 6."
    ]
    (job,) = engine.jobs
    assert (job["run_dir"].name, job["resume"]) == ("eins", False)
    assert [run.folder.name for run in models.training.runs.state] == []


def test_a_run_stopped_while_it_is_prepared_never_trains(
    qtbot, models, engine, trainings, tmp_path
):
    engine.go.clear()
    choose(models, tmp_path)
    trainings.start()
    qtbot.waitUntil(engine.entered.is_set, timeout=WAIT_MS)
    trainings.stop()
    engine.go.set()
    wait_stage(qtbot, models, "stopped")
    qtbot.waitUntil(lambda: not trainings.run_lane.busy, timeout=WAIT_MS)
    assert engine.jobs == []


def test_pause_and_continue_reach_the_job(qtbot, models, engine, trainings, tmp_path):
    def work(context):
        context.emit(api.Progress(TRAINING, 0, 100))
        while not context.pause.paused:
            context.cancel.check()
        context.emit(api.Checkpoint(3, "paused", tmp_path))
        context.pause.wait(context.cancel)

    engine.work = work
    choose(models, tmp_path)
    trainings.start()
    wait_stage(qtbot, models, "running")
    trainings.pause()
    wait_stage(qtbot, models, "paused")
    assert models.training.status.state.saved_step == 3
    assert trainings.start() is None  # one at a time
    trainings.unpause()
    wait_stage(qtbot, models, "done")
    assert len(engine.jobs) == 1


def test_a_fault_is_told_with_the_checkpoint_that_is_left(
    qtbot, models, engine, trainings, tmp_path
):
    engine.work = lambda context: context.emit(api.Checkpoint(3, "periodic", tmp_path))
    engine.fault = api.DescSpaceError("The disk is full.")
    choose(models, tmp_path)
    trainings.start()
    wait_stage(qtbot, models, "failed")
    status = models.training.status.state
    assert status.message == (
        "The disk is full. The last checkpoint is kept; Resume continues from there."
    )


def test_a_run_is_resumed_with_its_own_settings(qtbot, models, engine, trainings, tmp_path):
    trainings.resume(tmp_path / "alt")
    wait_stage(qtbot, models, "done")
    (job,) = engine.jobs
    assert (job["config"], job["own"], job["resume"]) == (OWN_SETTINGS, {"a": 1}, True)
    assert models.training.status.state.patience == 4


def test_a_run_whose_patience_is_exhausted_says_so(qtbot, models, engine, trainings, tmp_path):
    said = []
    models.messages.notified.connect(lambda message: said.append(message.text))
    engine.ended = "patience"
    trainings.resume(tmp_path / "alt")
    wait_stage(qtbot, models, "done")
    assert said == [
        (
            "The training “alt” is finished after 7 steps, 3 checks after its best. "
            "Its best PCK@3 was 0.750, at step 6."
        )
    ]


def test_keeping_the_best_ends_the_job_early_and_well(qtbot, models, engine, trainings, tmp_path):
    def work(context):
        context.emit(api.Progress(TRAINING, 0, 100))
        while not context.finish.cancelled:
            context.cancel.check()

    engine.work = work
    choose(models, tmp_path)
    trainings.start()
    wait_stage(qtbot, models, "running")
    trainings.finish()
    wait_stage(qtbot, models, "done")


def test_a_taken_name_starts_nothing(models, engine, trainings, tmp_path):
    choose(models, tmp_path)
    taken = api.runs_dir() / "eins"
    taken.mkdir(parents=True)
    assert trainings.start() == taken
    assert models.training.status.state.stage == "none"
    assert not engine.entered.is_set()


def test_curves_are_read_once_for_each_run_that_is_shown(qtbot, models, trainings, monkeypatch):
    read = []
    curves = {"loss": np.zeros((1, 2))}
    replace(monkeypatch, read_curves=lambda folder: read.append(folder) or curves)
    one, two = Path("/runs/1"), Path("/runs/2")
    trainings.overlay((one, two, one))
    qtbot.waitUntil(lambda: not trainings.side_lane.busy, timeout=WAIT_MS)
    trainings.overlay((one,))
    trainings.overlay((one, two))
    qtbot.waitUntil(lambda: not trainings.side_lane.busy, timeout=WAIT_MS)
    assert read == [one, two, two]
    assert set(models.training.curves.of(two)) == {"loss"}
