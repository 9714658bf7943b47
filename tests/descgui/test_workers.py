"""Lanes and latest-only queries: every submission ends as promised, on the window's thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from PySide6.QtCore import QThread

from descgui.workers.job_thread import JobFailure
from descgui.workers.lane import JobLane
from descgui.workers.latest_only import LatestOnly
from engine.api import DescSpaceError, JobContext, Note, Progress


class Gate:
    """Work that waits until it is let go, and notes that it started."""

    def __init__(self, result: Any = None) -> None:
        self.started = threading.Event()
        self.open = threading.Event()
        self.result = result

    def job(self, context: JobContext) -> Any:
        self.started.set()
        while not self.open.wait(0.005):
            context.cancel.check()
        return self.result

    def query(self) -> Any:
        self.started.set()
        assert self.open.wait(5)
        return self.result


class Record:
    """All signals of a lane in order, with the thread they arrived on."""

    def __init__(self, lane: JobLane) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.threads: set[QThread] = set()
        lane.started.connect(self.started)
        lane.succeeded.connect(self.succeeded)
        lane.failed.connect(self.failed)
        lane.cancelled.connect(self.cancelled)
        lane.busy_changed.connect(self.busy)
        lane.happened.connect(self.happened)

    def _add(self, *entry: Any) -> None:
        self.entries.append(entry)
        self.threads.add(QThread.currentThread())

    def started(self, key: str) -> None:
        self._add("started", key)

    def succeeded(self, key: str, result: Any) -> None:
        self._add("succeeded", key, result)

    def failed(self, key: str, failure: JobFailure) -> None:
        self._add("failed", key, failure.summary, failure.expected)

    def cancelled(self, key: str) -> None:
        self._add("cancelled", key)

    def busy(self, busy: bool) -> None:
        self._add("busy", busy)

    def happened(self, key: str, event: Any) -> None:
        self._add("happened", key, event)


@pytest.fixture
def lane(qtbot: Any) -> Any:
    made = JobLane()
    yield made
    made.close()
    qtbot.waitUntil(lambda: not made.busy)


@pytest.fixture
def queries(qtbot: Any) -> Any:
    made = LatestOnly()
    yield made
    made.close()


def wait_idle(qtbot: Any, lane: JobLane) -> None:
    qtbot.waitUntil(lambda: not lane.busy, timeout=5000)


def test_work_succeeds_and_idle_is_the_last_word(qtbot, lane):
    record = Record(lane)
    lane.submit("one", lambda _context: 1)
    lane.submit("two", lambda _context: 2)
    wait_idle(qtbot, lane)
    assert record.entries == [
        ("started", "one"),
        ("busy", True),
        ("succeeded", "one", 1),
        ("started", "two"),
        ("succeeded", "two", 2),
        ("busy", False),
    ]
    assert record.threads == {QThread.currentThread()}


def test_a_known_failure_keeps_its_sentence_and_the_lane_goes_on(qtbot, lane):
    record = Record(lane)

    def refuse(_context: JobContext) -> None:
        raise DescSpaceError("The file is missing.")

    lane.submit("bad", refuse)
    lane.submit("good", lambda _context: "fine")
    wait_idle(qtbot, lane)
    assert ("failed", "bad", "The file is missing.", True) in record.entries
    assert ("succeeded", "good", "fine") in record.entries


def test_a_bug_in_a_worker_is_told_as_one_and_logged(qtbot, lane, caplog):
    record = Record(lane)
    lane.submit("bug", lambda _context: 1 / 0)
    wait_idle(qtbot, lane)
    assert ("failed", "bug", "ZeroDivisionError: division by zero", False) in record.entries
    assert "division by zero" in caplog.text


def test_cancelling_stops_what_runs_and_withdraws_what_waits(qtbot, lane):
    record, gate = Record(lane), Gate()
    lane.submit("runs", gate.job)
    lane.submit("waits", lambda _context: pytest.fail("withdrawn work must not run"))
    assert gate.started.wait(5)
    lane.cancel()
    wait_idle(qtbot, lane)
    kinds = [entry for entry in record.entries if entry[0] not in ("busy", "started")]
    assert sorted(kinds) == [("cancelled", "runs"), ("cancelled", "waits")]
    assert record.entries[-1] == ("busy", False)


def test_newer_work_of_a_key_replaces_the_running_and_alone_reports(qtbot, lane):
    record, gate = Record(lane), Gate("old")
    lane.submit("maps", gate.job)
    assert gate.started.wait(5)
    lane.submit("maps", lambda _context: "new")
    wait_idle(qtbot, lane)
    assert [entry for entry in record.entries if entry[0] not in ("busy", "started")] == [
        ("succeeded", "maps", "new")
    ]


def test_progress_is_thinned_but_notes_and_the_last_step_pass(qtbot, lane):
    record = Record(lane)

    def chatter(context: JobContext) -> None:
        for done in range(1, 1001):
            context.emit(Progress("steps", done, 1000))
        context.emit(Note("done"))

    lane.submit("chatter", chatter)
    wait_idle(qtbot, lane)
    events = [entry[2] for entry in record.entries if entry[0] == "happened"]
    assert events[-2:] == [Progress("steps", 1000, 1000), Note("done")]
    assert len(events) < 200


def test_a_closed_lane_takes_nothing_more(qtbot, lane):
    record = Record(lane)
    lane.close()
    lane.submit("late", lambda _context: pytest.fail("a closed lane must not run anything"))
    assert not lane.busy
    assert record.entries == []


def test_the_latest_query_is_answered_and_the_overtaken_ones_are_not(qtbot, queries):
    answers: list[tuple[str, Any]] = []
    queries.answered.connect(lambda key, answer: answers.append((key, answer)))
    gate = Gate(0)
    queries.submit("probe", gate.query)
    assert gate.started.wait(5)
    for number in range(1, 50):
        queries.submit("probe", lambda number=number: number)
    gate.open.set()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == [("probe", 49)]


def test_queries_of_different_keys_do_not_replace_one_another(qtbot, queries):
    answers: dict[str, Any] = {}
    queries.answered.connect(answers.__setitem__)
    gate = Gate("first")
    queries.submit("shown", gate.query)
    queries.submit("compared", lambda: "second")
    gate.open.set()
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=5000)
    assert answers == {"shown": "first", "compared": "second"}


def test_a_dropped_query_never_answers(qtbot, queries):
    answers: list[str] = []
    queries.answered.connect(lambda key, _answer: answers.append(key))
    gate = Gate()
    queries.submit("probe", gate.query)
    queries.submit("other", lambda: None)
    queries.drop("probe")
    gate.open.set()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == ["other"]


def test_a_failing_query_reports_and_the_next_one_is_answered(qtbot, queries, caplog):
    failures: list[JobFailure] = []
    answers: list[Any] = []
    queries.failed.connect(lambda _key, failure: failures.append(failure))
    queries.answered.connect(lambda _key, answer: answers.append(answer))
    queries.submit("probe", lambda: 1 / 0)
    qtbot.waitUntil(lambda: bool(failures), timeout=5000)
    queries.submit("probe", lambda: "alive")
    qtbot.waitUntil(lambda: bool(answers), timeout=5000)
    assert not failures[0].expected
    assert answers == ["alive"]
