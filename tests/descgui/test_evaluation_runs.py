"""An evaluation run with a stand-in for the engine's job: stages, outcomes, remaining time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from descgui.controllers import live_results
from descgui.controllers.evaluation_controller import EvaluationController
from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.models.evaluation_state import ShownRun
from descgui.models.result_tables import ResultTables
from engine import api
from engine.errors import DatasetError
from engine.progress import Note

WAIT_MS = 10_000
NEW = Path("/runs/new")


@dataclass(frozen=True)
class Content:
    """Stands in for the results of a run."""

    done: int
    total: int = 4
    finished: bool = False
    folders: tuple[Path, ...] = (NEW,)
    title: str = "daisy · demo · closed"
    labels: tuple[str, ...] = ("daisy",)
    summary: tuple[Any, ...] = ()
    pairs: tuple[Any, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    titles: Callable[[str, int], str] | None = None

    @property
    def records(self) -> range:
        return range(self.done)

    def result(self) -> Content:
        return self


class Measuring:
    """Stands in for the engine's job.

    Attributes:
        folders: of the runs that were begun, with whether they were resumed.
        step: each pair waits for one release, or for the end of the run.
        error: raised after the first pair.
    """

    def __init__(self):
        self.folders = []
        self.step = threading.Semaphore(0)
        self.free = False
        self.error = None

    def run(self, job, context):
        self.folders.append((job.out, job.resume))
        job.listener(Content(1 if job.resume else 0), None)
        context.emit(Note("The network is untrained.", "warning"))
        context.emit(Note("Just so you know."))
        for done in range(2 if job.resume else 1, 5):
            while not (self.free or self.step.acquire(timeout=0.005)):
                context.cancel.check()
            context.cancel.check()
            job.listener(Content(done), "record")
            if self.error is not None:
                raise self.error


@dataclass(frozen=True)
class Job:
    """The engine's job, as the window makes it."""

    config: Any
    choices: Any
    out: Path
    command: str
    resume: bool = False
    listener: Callable[..., None] | None = None


@pytest.fixture
def measuring(monkeypatch):
    made = Measuring()
    monkeypatch.setattr(Job, "run", lambda job, context: made.run(job, context), raising=False)
    fakes = {
        "EvaluateJob": Job,
        "choose_descriptors": lambda config, values: (),
        "new_run_dir": lambda kind: NEW,
        "run_settings": lambda folder: (SimpleNamespace(descriptor=("daisy",)), {}),
        "command_line": lambda *args, **named: "main.py evaluate",
        "merge_results": lambda named: named[0][1],
        "read_runs": lambda folders: Content(4, finished=True, folders=tuple(folders)),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(api, name, fake, raising=False)
    yield made
    made.free = True


@pytest.fixture
def models(qapp):
    models = make_models(None)
    models.engine.set(EngineState("ready"))
    models.evaluation.choice.update(descriptors=("daisy",), open_report=False)
    return models


@pytest.fixture
def shown(models):
    return models.evaluation.shown


@pytest.fixture
def runs(models, measuring, asked, close_after):
    made = EvaluationController(models, asked)
    for lane in made.lanes:
        close_after(lane)
    return made


def wait_for(qtbot, shown, stage):
    qtbot.waitUntil(lambda: shown.state.stage == stage, timeout=WAIT_MS)


def wait_for_pairs(qtbot, shown, done):
    qtbot.waitUntil(
        lambda: shown.state.content is not None and shown.state.content.done == done,
        timeout=WAIT_MS,
    )


def test_pairs_are_shown_as_they_are_measured_and_then_the_result(
    qtbot, runs, shown, measuring, asked
):
    seen = []
    shown.changed.connect(lambda state: seen.append(state.content and state.content.done))
    runs.run()
    assert shown.state.stage == "running"
    for done in (0, 1):
        wait_for_pairs(qtbot, shown, done)
        measuring.step.release()
    measuring.free = True
    wait_for(qtbot, shown, "done")
    assert seen[0] is None
    counts = [done for done in seen if done is not None]
    assert counts == sorted(counts)
    assert counts[-1] == 4
    assert shown.state.content.finished
    assert shown.state.tables.content is shown.state.content
    assert asked.calls == [("refresh", ())]  # listed among the past runs; no report is wanted


def test_the_report_is_opened_after_the_run_where_it_is_wanted(
    qtbot, runs, shown, models, measuring, asked
):
    models.evaluation.choice.update(open_report=True)
    measuring.free = True
    runs.run()
    wait_for(qtbot, shown, "done")
    assert [name for name, _ in asked.calls] == ["refresh", "open_report"]


def test_one_run_at_a_time_and_none_before_the_engine_is_there(
    qtbot, runs, shown, models, measuring
):
    models.engine.set(EngineState("loading"))
    runs.run()
    runs.resume(NEW)
    assert shown.state.stage == "none"
    models.engine.set(EngineState("ready"))
    runs.run()
    wait_for_pairs(qtbot, shown, 0)
    runs.run()
    runs.resume(Path("/runs/other"))
    measuring.free = True
    wait_for(qtbot, shown, "done")
    assert measuring.folders == [(NEW, False)]


def test_a_paused_run_continues_in_its_folder(qtbot, runs, shown, measuring):
    runs.run()
    wait_for_pairs(qtbot, shown, 0)
    runs.pause()
    assert shown.state.stage == "pausing"
    wait_for(qtbot, shown, "paused")
    times = []
    shown.changed.connect(
        lambda state: times.append((state.content and state.content.done, state.eta_s))
    )
    runs.resume()
    wait_for_pairs(qtbot, shown, 1)
    measuring.free = True
    wait_for(qtbot, shown, "done")
    assert measuring.folders == [(NEW, False), (NEW, True)]
    assert dict(reversed(times))[1] is None  # before its first pair nothing is known


def test_a_cancelled_run_ends_stopped_also_from_a_pause(qtbot, runs, shown):
    runs.run()
    wait_for_pairs(qtbot, shown, 0)
    runs.cancel()
    assert shown.state.stage == "stopping"
    wait_for(qtbot, shown, "stopped")
    runs.resume()
    wait_for_pairs(qtbot, shown, 1)
    runs.pause()
    wait_for(qtbot, shown, "paused")
    runs.cancel()
    assert shown.state.stage == "stopped"


def test_a_past_run_on_display_is_left_alone_by_pause(runs, shown):
    shown.set(ShownRun("done", Content(4, finished=True)))
    runs.pause()
    runs.cancel()
    assert shown.state.stage == "done"


def test_the_time_left_counts_only_the_pairs_of_this_run(qtbot, runs, shown, monkeypatch):
    clock = iter((100.0, 110.0, 116.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    shown.set(ShownRun("running", tables=ResultTables.of(Content(40, total=50))))
    times = []
    for done in (40, 41, 42):  # forty pairs were measured before
        runs._done = done
        runs._count()
        times.append((shown.state.done, shown.state.eta_s))
    assert times == [(40, None), (41, 90.0), (42, 64.0)]
    shown.update(stage="pausing")
    runs._done = 43
    runs._count()
    assert (shown.state.done, shown.state.eta_s) == (43, None)
    shown.update(stage="paused")
    runs._done = 44
    runs._count()
    assert shown.state.done == 43


def test_pairs_are_counted_while_the_tables_wait(qtbot, runs, shown, measuring, monkeypatch):
    monkeypatch.setattr(live_results, "LEAST_PAUSE_MS", 3_600_000)
    runs.run()
    wait_for_pairs(qtbot, shown, 0)
    for _ in range(2):
        measuring.step.release()
    qtbot.waitUntil(lambda: shown.state.done == 2, timeout=WAIT_MS)
    assert shown.state.content.done == 0
    runs.pause()
    wait_for(qtbot, shown, "paused")
    assert shown.state.content.done == 2  # the last ones are never lost


def test_warnings_stay_beside_the_results(qtbot, runs, shown, models, measuring):
    measuring.free = True
    runs.run()
    wait_for(qtbot, shown, "done")
    assert shown.state.notes == ("The network is untrained.",)
    assert [message.text for message in models.messages.messages] == ["The network is untrained."]


@pytest.mark.parametrize(("visible", "notified"), [(True, 0), (False, 1)])
def test_a_failed_run_says_why_once(qtbot, runs, shown, models, measuring, visible, notified):
    notices = []
    models.messages.notified.connect(notices.append)
    models.evaluation.visible.set(visible)
    measuring.error, measuring.free = DatasetError(Path("/data"), "is damaged"), True
    runs.run()
    wait_for(qtbot, shown, "failed")
    assert "is damaged" in shown.state.message
    assert shown.state.content.done == 1  # what was measured stays on display
    assert shown.state.can_continue
    assert len(notices) == notified
    assert "is damaged" in models.messages.messages[-1].text


def test_a_bug_is_notified_even_where_the_panel_shows_it(qtbot, runs, shown, models, measuring):
    notices = []
    models.messages.notified.connect(notices.append)
    models.evaluation.visible.set(True)
    measuring.error, measuring.free = ZeroDivisionError("oops"), True
    runs.run()
    wait_for(qtbot, shown, "failed")
    assert len(notices) == 1


def test_a_wrong_setting_is_named_and_nothing_begins(runs, shown, models, measuring):
    models.evaluation.choice.update(more={"long_edge_px": -3})
    runs.run()
    assert shown.state.stage == "failed"
    assert "long_edge_px" in shown.state.message
    assert not runs.lane.busy
    runs.copy_command()
    assert "long_edge_px" in models.messages.messages[-1].text
