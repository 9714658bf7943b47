"""Past evaluations: listed, shown, deleted, restored, and reported."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PySide6.QtGui import QDesktopServices, QGuiApplication

from descgui.controllers.results_controller import ResultsController
from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.models.evaluation_state import Deleted, ShownRun
from engine import api
from engine.errors import OutputError, ResultError

WAIT_MS = 10_000


@dataclass(frozen=True)
class Content:
    """Stands in for the results of a run."""

    folders: tuple[Path, ...]
    finished: bool = True
    notes: tuple[str, ...] = ("They differ.",)
    opened: str | None = None
    changed: bool = False
    descriptors: tuple[Any, ...] = ()
    title: str = "daisy · demo · closed"
    done: int = 4
    total: int = 4
    labels: tuple[str, ...] = ("daisy",)
    summary: tuple[Any, ...] = ()
    pairs: tuple[Any, ...] = ()
    left_out: tuple[str, ...] = ()
    titles: Any = None

    def weights_of(self, label):
        return None


class Disk:
    """Stands in for the engine's folders of runs.

    Attributes:
        runs: what is listed.
        trashed: what was moved to the trash, in order.
        go: reading waits for it while it is not set.
    """

    def __init__(self):
        self.runs = ("a", "b")
        self.trashed = []
        self.restored = []
        self.go = threading.Event()
        self.go.set()
        self.error = None

    def read(self, folders):
        self.go.wait(10)
        return Content(tuple(folders), finished=folders[0].name != "unfinished")

    def trash(self, folder):
        if self.error is not None:
            raise self.error
        self.trashed.append(folder)
        return Path("/trash") / folder.name

    def restore(self, trashed, folder):
        self.restored.append((trashed, folder))


class Report:
    """Stands in for the engine's job that writes a report."""

    made: list[tuple[tuple[Path, ...], Path]]
    error: Exception | None

    def __init__(self, *, folders, out):
        self.folders, self.out = folders, out

    def run(self, context):
        if Report.error is not None:
            raise Report.error
        Report.made.append((self.folders, self.out))


@pytest.fixture
def disk(monkeypatch):
    made = Disk()
    Report.made, Report.error = [], None
    fakes = {
        "list_runs": lambda: made.runs,
        "read_runs": made.read,
        "trash_run": made.trash,
        "restore_run": made.restore,
        "ReportJob": Report,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(api, name, fake, raising=False)
    yield made
    made.go.set()


@pytest.fixture
def pages(monkeypatch):
    """What was opened in the browser."""
    opened: list[Path] = []

    def remember(url):
        opened.append(Path(url.toLocalFile()))
        return True

    monkeypatch.setattr(QDesktopServices, "openUrl", remember)
    return opened


@pytest.fixture
def models(qapp):
    models = make_models(None)
    models.engine.set(EngineState("ready"))
    return models


@pytest.fixture
def evaluation(models):
    return models.evaluation


@pytest.fixture
def results(models, disk, asked, close_after):
    made = ResultsController(models, asked, asked)
    close_after(made.lane)
    return made


def rest(qtbot, results):
    qtbot.waitUntil(lambda: not results.lane.busy, timeout=WAIT_MS)


def last_message(models):
    return models.messages.messages[-1].text


ONE, TWO = Path("/runs/one"), Path("/runs/two")


def test_runs_are_listed_once_the_engine_is_ready(qtbot, results, models, evaluation):
    models.engine.set(EngineState("loading"))
    results.refresh()
    rest(qtbot, results)
    assert evaluation.runs.state == ()
    models.engine.set(EngineState("ready"))
    qtbot.waitUntil(lambda: evaluation.runs.state == ("a", "b"), timeout=WAIT_MS)


def test_a_past_run_is_shown_with_its_stage_and_its_warnings(qtbot, results, evaluation):
    results.show([ONE])
    rest(qtbot, results)
    shown = evaluation.shown.state
    assert (shown.stage, shown.content.folders, shown.notes) == ("done", (ONE,), ("They differ.",))
    results.show([Path("/runs/unfinished")])
    rest(qtbot, results)
    assert evaluation.shown.state.stage == "stopped"


def test_a_running_evaluation_is_not_replaced_by_a_past_one(qtbot, results, evaluation, disk):
    disk.go.clear()
    results.show([ONE])
    evaluation.shown.set(ShownRun("running"))  # begun while the past one was being read
    disk.go.set()
    rest(qtbot, results)
    assert evaluation.shown.state.stage == "running"
    results.show([TWO])
    assert not results.lane.busy


def test_deleted_runs_can_be_restored(qtbot, results, evaluation, disk):
    results.delete([ONE, TWO])
    rest(qtbot, results)
    assert disk.trashed == [ONE, TWO]
    assert evaluation.deleted.state == (
        Deleted(Path("/trash/one"), ONE),
        Deleted(Path("/trash/two"), TWO),
    )
    assert evaluation.runs.state == ("a", "b")  # listed again
    results.undo_delete()
    rest(qtbot, results)
    assert disk.restored == [(Path("/trash/one"), ONE), (Path("/trash/two"), TWO)]
    assert evaluation.deleted.state == ()


def test_the_running_evaluation_is_never_deleted(qtbot, results, evaluation, disk):
    evaluation.shown.set(ShownRun("running", Content((ONE,))))
    results.delete([ONE, TWO])
    rest(qtbot, results)
    assert disk.trashed == [TWO]
    assert evaluation.shown.state.content == Content((ONE,))


def test_what_was_deleted_is_no_longer_shown(qtbot, results, evaluation):
    evaluation.shown.set(ShownRun("done", Content((ONE, TWO))))
    results.delete([TWO])
    rest(qtbot, results)
    assert evaluation.shown.state.content is None


def test_two_deletions_in_a_row_both_happen(qtbot, results, disk):
    disk.go.clear()
    results.show([ONE])  # keeps the lane busy
    results.delete([ONE])
    results.delete([TWO])
    disk.go.set()
    rest(qtbot, results)
    assert disk.trashed == [ONE, TWO]


def test_a_run_that_cannot_be_deleted_is_named_and_the_list_is_read_again(
    qtbot, results, evaluation, disk, models
):
    disk.error = OutputError(ONE, "cannot be moved")
    results.delete([ONE])
    rest(qtbot, results)
    assert "cannot be moved" in last_message(models)
    assert evaluation.deleted.state == ()
    assert evaluation.runs.state == ("a", "b")


def test_a_report_is_written_beside_its_run_and_opened(qtbot, results, evaluation, pages):
    evaluation.shown.set(ShownRun("done", Content((ONE,))))
    results.open_report()
    assert evaluation.shown.state.reporting
    rest(qtbot, results)
    assert Report.made == [((ONE,), ONE)]
    assert pages == [ONE / api.REPORT_HTML]
    shown = evaluation.shown.state
    assert (shown.report, shown.reporting) == (ONE / api.REPORT_HTML, False)


def test_a_report_of_several_runs_has_a_folder_of_its_own(qtbot, results, evaluation, pages):
    evaluation.shown.set(ShownRun("done", Content((ONE, TWO))))
    results.open_report()
    rest(qtbot, results)
    assert Report.made[0][1] == api.user_data_dir() / "reports" / "one+two"


def test_a_report_that_is_there_is_opened_at_once(results, evaluation, pages, tmp_path):
    page = tmp_path / api.REPORT_HTML
    page.touch()
    evaluation.shown.set(ShownRun("done", Content((tmp_path,)), report=page))
    results.open_report()
    assert pages == [page]
    assert Report.made == []


def test_a_report_belongs_to_its_own_run_alone(qtbot, results, evaluation, pages):
    evaluation.shown.set(ShownRun("done", Content((ONE,))))
    results.open_report()
    evaluation.shown.set(ShownRun("done", Content((TWO,))))  # another run is shown meanwhile
    rest(qtbot, results)
    assert pages == [ONE / api.REPORT_HTML]
    assert evaluation.shown.state.report is None


def test_a_report_that_fails_says_why_and_can_be_tried_again(
    qtbot, results, evaluation, pages, models
):
    Report.error = ResultError(ONE, "holds no results")
    evaluation.shown.set(ShownRun("done", Content((ONE,))))
    results.open_report()
    rest(qtbot, results)
    assert "holds no results" in last_message(models)
    assert not evaluation.shown.state.reporting
    assert pages == []


def test_an_unfinished_run_has_no_report(results, evaluation):
    evaluation.shown.set(ShownRun("stopped", Content((ONE,), finished=False)))
    results.open_report()
    assert not results.lane.busy
    assert not evaluation.shown.state.reporting


def test_a_pair_is_matched_once_it_is_open_and_only_then(results, evaluation, asked, models):
    measured = SimpleNamespace(label="mine", name="daisy")
    content = Content((ONE,), opened="/data", descriptors=(measured,))
    evaluation.shown.set(ShownRun("done", content))
    results.open_pair("v_turn", 3, "mine", 5.0)
    assert asked.of("open_set") == [("/data", "v_turn", 3)]
    assert models.settings.state.correct_px == 5.0
    assert asked.of("run") == []
    models.pair.changed.emit(None)
    assert asked.of("run") == [()]
    models.pair.changed.emit(None)  # a later pair is not matched by itself
    assert asked.of("run") == [()]


def test_a_pair_of_warped_images_is_shown_as_it_is_on_the_disk(results, evaluation, models):
    content = Content((ONE,), opened="/data", changed=True)
    evaluation.shown.set(ShownRun("done", content))
    results.open_pair("v_turn", 3, "mine", 5.0)
    assert "without rotation or scaling" in last_message(models)
    evaluation.shown.set(ShownRun("done", replace(content, opened=None)))
    results.open_pair("v_turn", 3, "mine", 5.0)
    assert "moved or deleted" in last_message(models)


def test_a_table_is_put_on_the_clipboard_as_text(results):
    table = api.Table(
        "t",
        "",
        (api.Column("a"), api.Column("b")),
        ((api.Cell("0.5", "[0.25, 0.75]"), api.Cell("9")),),
    )
    results.copy_table("csv", table)
    assert QGuiApplication.clipboard().text() == 'a,"a, low","a, high",b\n0.5,0.25,0.75,9\n'
    results.copy_table("markdown", table)
    assert (
        QGuiApplication.clipboard().text() == "| a | b |\n| --: | --: |\n| 0.5 [0.25, 0.75] | 9 |\n"
    )
