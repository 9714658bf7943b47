"""Trainings in the window: started, paused, stopped, resumed, inspected, used."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest
from PySide6.QtGui import QGuiApplication

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.training_controller import TrainingController
from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.messages import Failure
from descgui.workers.plot_loading import PlotLoader
from engine import api
from engine.checkpoints import load_state

WAIT_MS = 60_000
READY = EngineState(
    "ready", (DescriptorChoiceInfo("msnet_v0", "MSNetV0", "", "built-in", True, ()),)
)
TINY = MappingProxyType(
    {
        "train.steps": 6,
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
)
ENDLESS = MappingProxyType({**TINY, "train.steps": 100_000})


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five photos, and a file that only looks like one."""
    folder = tmp_path_factory.mktemp("fotos") / "Größe 日本"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(5):
        noise = generator.uniform(0, 255, (40, 56, 3)).astype(np.float32)
        picture = np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 127) * 5 + 127, 0, 255)
        encoded = cv2.imencode(".png", picture.astype(np.uint8))[1]
        (folder / f"{number}.png").write_bytes(encoded.tobytes())
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


class Maps:
    """Counts how often maps were looked at again."""

    def __init__(self):
        self.refreshed = 0

    def refresh(self):
        self.refreshed += 1


class World:
    """A controller with the models and controllers around it."""

    def __init__(self):
        self.models = make_models(None)
        self.model = self.models.training
        self.engine = EngineController(self.models)
        self.maps = Maps()
        self.plot_loader = PlotLoader(self.models.messages.report)
        self.trainings = TrainingController(self.models, self.engine, self.maps, self.plot_loader)
        self.models.engine.set(READY)
        self.said = []
        self.models.messages.notified.connect(self.said.append)

    def choose(self, photos, changes=TINY, **more):
        self.model.choice.update(folder=str(photos), device="cpu", changes=changes, **more)

    @property
    def stage(self):
        return self.model.status.state.stage

    @property
    def step(self):
        return self.model.status.state.step

    @property
    def quiet(self):
        return not any(lane.busy for lane in self.trainings.lanes)


@pytest.fixture
def make_world(qtbot, fresh_home):
    worlds = []

    def make():
        worlds.append(World())
        return worlds[-1]

    yield make
    for world in worlds:
        for lane in world.trainings.lanes:
            lane.close()
        qtbot.waitUntil(lambda world=world: world.quiet, timeout=WAIT_MS)


@pytest.fixture
def world(make_world):
    return make_world()


def wait_stage(qtbot, world, stage):
    qtbot.waitUntil(lambda: world.stage == stage and world.quiet, timeout=WAIT_MS)


def begin_endless(qtbot, world, photos, *, steps=2):
    world.choose(photos, ENDLESS)
    world.trainings.start()
    qtbot.waitUntil(lambda: world.stage == "running" and world.step >= steps, timeout=WAIT_MS)


def entry_of(model, folder):
    return next((run for run in model.runs.state if run.folder == folder), None)


def folder_state(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- photos ------------------------------------------------------------------------------------


def test_a_chosen_folder_is_counted_and_its_first_pairs_are_made(qtbot, world, photos):
    world.choose("", TINY)
    world.trainings.use_folder(photos)
    qtbot.waitUntil(lambda: world.model.samples.state.found is not None, timeout=WAIT_MS)
    found = world.model.samples.state.found
    assert found.training + found.validation == 5
    assert len(found.problems) == 1
    assert "broken.jpg" in found.problems[0]
    assert {picture.shape for picture in found.pictures} == {(32, 96, 3)}
    assert world.models.settings.state.recent_photos == (str(photos),)


def test_pairs_are_made_anew_when_settings_change_while_somebody_looks(qtbot, world, photos):
    world.choose(photos)
    qtbot.waitUntil(lambda: world.model.samples.state.found is not None, timeout=WAIT_MS)
    before = world.model.samples.state.found
    world.trainings.want(True)
    world.choose(photos, {**TINY, "train.width": 64})
    assert world.model.samples.state.old
    qtbot.waitUntil(lambda: world.model.samples.state.found is not before, timeout=WAIT_MS)
    assert world.model.samples.state.found.pictures[0].shape == (32, 128, 3)
    assert not world.model.samples.state.old


def test_pairs_are_made_anew_for_settings_that_changed_while_nobody_looked(qtbot, world, photos):
    world.choose(photos)
    qtbot.waitUntil(lambda: world.model.samples.state.found is not None, timeout=WAIT_MS)
    world.choose(photos, {**TINY, "train.width": 64})
    assert world.model.samples.state.old
    world.trainings.want(True)
    qtbot.waitUntil(lambda: not world.model.samples.state.old, timeout=WAIT_MS)
    assert world.model.samples.state.found.pictures[0].shape == (32, 128, 3)


def test_a_folder_without_photos_is_named_with_the_reason(qtbot, world, tmp_path):
    world.trainings.use_folder(tmp_path)
    qtbot.waitUntil(lambda: bool(world.model.samples.state.message), timeout=WAIT_MS)
    assert str(tmp_path) in world.model.samples.state.message
    assert "no picture" in world.model.samples.state.message


# ---- the run -----------------------------------------------------------------------------------


def test_a_run_tells_its_steps_figures_and_pictures_and_ends_with_a_notification(
    qtbot, world, photos
):
    world.choose(photos, name="erste")
    stages = []
    world.model.status.changed.connect(lambda status: stages.append(status.stage))
    world.trainings.start()
    wait_stage(qtbot, world, "done")
    status = world.model.status.state
    assert stages[0] == "preparing"
    assert (status.step, status.steps, status.saved_step) == (6, 6, 6)
    assert status.figures["loss"] > 0
    assert {"epoch", "memory_mb", "data_wait_share", "pck@3"} <= set(status.figures)
    folder = status.folder
    assert folder.name == "erste"
    curves, stored = world.model.curves.of(folder), api.read_curves(folder)
    assert set(curves) == set(stored)
    for name in stored:  # no point is lost or doubled on the way to the window
        np.testing.assert_allclose(curves[name], stored[name])
    assert [frame.step for frame in world.model.frames.shown] == [0, 2, 4, 6]
    assert set(world.model.frames.shown[0].pictures) == {"pair", "pca", "matches", "negatives"}
    assert [run.finished for run in world.model.runs.state] == [True]
    (message,) = world.said
    assert "erste" in message.text
    assert "6 steps" in message.text


def test_a_resting_run_keeps_a_checkpoint_does_no_step_and_goes_on(qtbot, world, photos):
    begin_endless(qtbot, world, photos)
    world.trainings.pause()
    assert world.stage == "pausing"
    qtbot.waitUntil(lambda: world.stage == "paused", timeout=WAIT_MS)
    status = world.model.status.state
    assert status.saved_step == status.step
    kept = load_state(status.folder / "weights" / "last.safetensors")[1]
    assert int(kept["step"]) == status.step
    before = folder_state(status.folder)
    with qtbot.waitSignal(world.model.runs.changed, timeout=1000, raising=False):
        world.trainings.refresh()
    assert world.model.status.state.step == status.step
    assert folder_state(status.folder) == before
    world.trainings.unpause()
    qtbot.waitUntil(lambda: world.step > status.step + 2, timeout=WAIT_MS)
    assert world.stage == "running"
    world.trainings.stop()
    wait_stage(qtbot, world, "stopped")


def test_a_stopped_run_is_resumed_by_another_window_where_it_stood(qtbot, make_world, photos):
    first = make_world()
    begin_endless(qtbot, first, photos, steps=3)
    first.trainings.stop()
    wait_stage(qtbot, first, "stopped")
    stopped = first.model.status.state
    assert stopped.saved_step == stopped.step >= 3
    assert stopped.can_resume
    second = make_world()
    steps = []
    figures = []

    def look(status):
        steps.append((status.stage, status.step))
        if status.stage == "running":
            figures.append(status.figures)

    second.model.status.changed.connect(look)
    second.trainings.resume(stopped.folder)
    qtbot.waitUntil(
        lambda: second.stage == "running" and second.step > stopped.step + 1,
        timeout=WAIT_MS,
    )
    second.trainings.stop()
    wait_stage(qtbot, second, "stopped")
    assert min(step for stage, step in steps if stage == "running") >= stopped.step
    losses = second.model.curves.of(stopped.folder)["loss"]
    # The first value shown is the earlier part's last loss, or one of the new part.
    known = losses[losses[:, 0] >= stopped.step, 1]
    assert figures[0]["loss"] in [pytest.approx(loss) for loss in known]
    assert losses[0, 0] == 1  # the first part's curve is there, too
    assert (np.diff(losses[:, 0]) > 0).all()
    assert second.model.frames.shown[0].step == 0
    np.testing.assert_allclose(losses, api.read_curves(stopped.folder)["loss"])


def test_a_run_is_ended_with_its_best_and_is_compared_with_what_is_shipped(qtbot, world, photos):
    begin_endless(qtbot, world, photos, steps=4)
    qtbot.waitUntil(lambda: world.model.status.state.best is not None, timeout=WAIT_MS)
    world.trainings.finish()
    assert world.stage == "finishing"
    wait_stage(qtbot, world, "done")
    qtbot.waitUntil(lambda: bool(world.model.runs.state), timeout=WAIT_MS)
    (run,) = world.model.runs.state
    assert run.finished
    assert run.step == world.step  # list and head agree
    weights = run.checkpoints[-1].path
    for _ in range(2):  # once is enough
        world.trainings.compare_with_shipped(run, weights)
    shown = [(one.choice.name, dict(one.choice.values)) for one in world.models.descriptors]
    assert shown[:3] == [("msnet_v0", {"weights": str(weights)}), ("msnet_v0", {}), ("", {})]


def test_patience_ends_a_run_and_is_known_to_the_window(qtbot, world, photos):
    patient = {
        "train.validation.patience": 2,
        "train.optimiser.rate": 0.0,
        "train.batch_norm": "frozen",
    }
    world.choose(photos, MappingProxyType({**ENDLESS, **patient}))
    world.trainings.start()
    wait_stage(qtbot, world, "done")
    status = world.model.status.state
    assert (status.step, status.patience, status.figures["no_better"]) == (4, 2, 2)
    assert status.steps_per_epoch == pytest.approx(4.0)  # of five photos one is kept apart
    assert "2 checks after its best" in world.said[-1].text


def test_stopping_a_resting_run_ends_it(qtbot, world, photos):
    begin_endless(qtbot, world, photos)
    world.trainings.pause()
    qtbot.waitUntil(lambda: world.stage == "paused", timeout=WAIT_MS)
    world.trainings.stop()
    wait_stage(qtbot, world, "stopped")


def test_only_one_training_runs_at_a_time(qtbot, world, photos):
    begin_endless(qtbot, world, photos)
    folder = world.model.status.state.folder
    # It is in the list before its first checkpoint.
    qtbot.waitUntil(lambda: entry_of(world.model, folder) is not None, timeout=WAIT_MS)
    assert entry_of(world.model, folder).checkpoints == ()
    world.trainings.start()
    world.trainings.resume(folder)
    assert world.model.status.state.folder == folder
    assert world.stage == "running"
    world.trainings.stop()
    wait_stage(qtbot, world, "stopped")
    assert [run.folder for run in world.model.runs.state] == [folder]


def test_a_taken_name_is_asked_about_and_can_be_resumed_with_more_steps(qtbot, world, photos):
    world.choose(photos, name="eins")
    world.trainings.start()
    wait_stage(qtbot, world, "done")
    folder = world.model.status.state.folder
    world.choose(photos, {**TINY, "train.steps": 9})
    assert world.trainings.start() == folder
    assert world.stage == "done"
    assert api.unused_dir(folder).name == "eins-2"
    world.trainings.resume_chosen(folder)
    wait_stage(qtbot, world, "done")
    assert world.model.status.state.step == 9
    assert world.model.curves.of(folder)["loss"][:, 0].tolist() == list(range(1, 10))
    world.trainings.start_as("eins-2")
    wait_stage(qtbot, world, "done")
    assert world.model.status.state.folder.name == "eins-2"


def test_a_run_that_fails_says_why_and_what_helps(qtbot, world, photos):
    world.choose(
        photos, {**TINY, "train.optimiser.rate": 10.0, "train.bad_steps": 1, "train.steps": 500}
    )
    world.model.choice.update(folder=str(photos / "nirgends"))
    world.trainings.start()
    wait_stage(qtbot, world, "failed")
    assert "there is no such folder" in world.model.status.state.message
    assert world.said[-1].level == "error"
    assert world.said[-1].text == world.model.status.state.message


def test_a_descriptor_without_weights_cannot_be_trained(qtbot, world, photos):
    world.choose(photos, descriptor="daisy")
    world.trainings.start()
    wait_stage(qtbot, world, "failed")
    assert "daisy" in world.model.status.state.message


def test_a_failure_names_the_checkpoint_that_is_left(world):
    failure = Failure("No photos.", "", expected=True)
    for checkpoints, more in (
        ((), ""),
        ((3,), " The last checkpoint is kept; Resume continues from there."),
    ):
        world.trainings.live.begin(Path("/runs/eins"))
        for step in checkpoints:
            world.trainings.live.happened(api.Checkpoint(step, "periodic", Path("last")))
        world.trainings.live._flush()
        world.trainings._on_failed(failure)
        assert world.model.status.state.message == f"No photos.{more}"


# ---- the past ----------------------------------------------------------------------------------


def test_past_runs_are_listed_and_the_newest_is_shown_at_first(qtbot, make_world, photos):
    first = make_world()
    first.choose(photos)
    first.trainings.start()
    wait_stage(qtbot, first, "done")
    folder = first.model.status.state.folder
    second = make_world()
    assert not second.model.can_plot.state
    second.trainings.want(True)
    qtbot.waitUntil(lambda: bool(second.model.frames.shown) and second.quiet, timeout=WAIT_MS)
    assert second.model.can_plot.state
    assert second.model.curves.shown == (folder,)
    assert second.model.curves.of(folder)["loss"].shape == (6, 2)
    assert [frame.step for frame in second.model.frames.shown] == [0, 2, 4, 6]
    for mine, theirs in zip(second.model.frames.shown, first.model.frames.shown, strict=True):
        for name, picture in theirs.pictures.items():  # kept without loss
            np.testing.assert_array_equal(mine.pictures[name], picture)
    second.trainings.overlay(())
    assert second.model.curves.shown == ()
    assert second.model.curves.of(folder) is None


def test_a_run_that_lies_elsewhere_can_be_listed(qtbot, world, photos, tmp_path):
    config = api.resolve_settings(
        api.TrainConfig,
        from_file={"train": {"photos": {"folder": str(photos)}, "steps": 1, "width": 48,
                             "height": 32, "points": 30, "batch": 1,
                             "validation": {"every_steps": 0}}}
    )[0]  # fmt: skip
    api.TrainJob(config=config, run_dir=tmp_path / "anderswo").run(api.JobContext(device="cpu"))
    world.trainings.add_run(tmp_path / "anderswo")
    qtbot.waitUntil(lambda: world.quiet and bool(world.model.runs.state), timeout=WAIT_MS)
    assert [run.folder.name for run in world.model.runs.state] == ["anderswo"]
    assert world.model.curves.shown == (tmp_path / "anderswo",)
    world.trainings.add_run(tmp_path)  # no run at all
    qtbot.waitUntil(lambda: world.quiet and len(world.model.runs.state) == 2, timeout=WAIT_MS)
    assert [run.folder for run in world.model.runs.state if run.problem] == [tmp_path]


def test_a_trained_network_goes_into_the_viewer_the_evaluation_and_a_file(
    qtbot, world, photos, tmp_path
):
    world.choose(photos)
    world.trainings.start()
    wait_stage(qtbot, world, "done")
    (run,) = world.model.runs.state
    best = run.checkpoints[-1].path
    world.trainings.use_in_viewer(run, best)
    choice = world.models.maps.choice
    assert (choice.name, dict(choice.values)) == ("msnet_v0", {"weights": str(best)})
    world.trainings.use_in_viewer(run, best)  # the file may have changed meanwhile
    assert world.maps.refreshed == 1
    wanted = []
    world.trainings.evaluation_wanted.connect(lambda: wanted.append(True))
    world.trainings.evaluate(run, best)
    assert wanted == [True]
    assert world.models.evaluation.choice.state.descriptors == ("msnet_v0",)
    assert world.models.evaluation.choice.state.weights == {"msnet_v0": str(best)}
    out = tmp_path / "mein netz.safetensors"
    world.trainings.export(best, out)
    qtbot.waitUntil(lambda: world.quiet, timeout=WAIT_MS)
    assert load_state(out)[0].keys() == load_state(best)[0].keys()
    assert str(out) in world.said[-1].text


def test_the_copied_command_trains_the_same(world, photos):
    world.choose(photos, name="eins")
    world.trainings.copy_command()
    command = QGuiApplication.clipboard().text()
    assert command.startswith("python main.py train")
    assert "train.steps=6" in command
    assert "--run-dir" in command
    assert "runs/eins" in command
    world.model.choice.update(own={"weights": "/w/first.pt"})
    world.trainings.copy_command()
    assert "settings.weights=/w/first.pt" in QGuiApplication.clipboard().text()
    world.model.choice.update(folder="")
    world.trainings.copy_command()
    assert "choose a folder" in world.said[-1].text


def test_a_name_that_is_no_folder_name_starts_nothing(world, photos):
    for name in ("../x", "a/b", ".hidden", "x ", "a:b"):
        world.choose(photos, name=name)
        world.trainings.start()
        assert world.stage == "none"


def test_events_that_come_fast_change_the_window_a_few_times_a_second(qtbot, world):
    changes, added = [], []
    world.model.status.changed.connect(lambda status: changes.append(status.step))
    world.model.curves.grew.connect(added.append)
    live = world.trainings.live
    live.begin(Path("/runs/eins"))
    del changes[:]
    live.happened(api.Progress(api.Stage.TRAINING, 0, 500))
    for step in range(1, 501):
        live.happened(api.Progress(api.Stage.TRAINING, step, 500))
        live.happened(api.Metric(step, {"loss": 1.0 / step}))
    qtbot.waitUntil(lambda: bool(added), timeout=WAIT_MS)
    assert [len(some) for some in added] == [500]
    assert changes == [500]
    assert world.model.status.state.figures["loss"] == 1 / 500


def test_the_home_folder_holds_the_runs(world, fresh_home):
    assert Path(fresh_home) in api.new_run_dir("train").parents
