"""Lanes and latest-only queries: every submission ends as promised, on the window's thread."""

from __future__ import annotations

import gc
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QObject, QThread

from descgui.models.messages import Failure
from descgui.workers.collector import Collector
from descgui.workers.job_thread import failure_of
from descgui.workers.lane import JobLane
from descgui.workers.latest_only import LatestOnly
from engine import api
from engine.api import DescSpaceError, JobContext, Note, Progress
from engine.descriptors import plugins, registry
from engine.progress import check_stop


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
    """A lane's calls in order, with the thread they came on."""

    def __init__(self, lane: JobLane) -> None:
        self.lane = lane
        self.entries: list[tuple[Any, ...]] = []
        self.threads: set[QThread] = set()
        lane.busy_changed.connect(partial(self._add, "busy"))

    def submit(self, key: str, work: Any) -> None:
        """Submit work and record each of its callbacks."""
        self.lane.submit(
            work,
            key=key,
            started=partial(self._add, "started", key),
            happened=partial(self._add, "happened", key),
            done=partial(self._add, "succeeded", key),
            failed=lambda found: self._add("failed", key, found.summary, found.expected),
            cancelled=partial(self._add, "cancelled", key),
        )

    def _add(self, *entry: Any) -> None:
        self.entries.append(entry)
        self.threads.add(QThread.currentThread())


@pytest.fixture
def lane(qtbot: Any) -> Any:
    made = JobLane(lambda failure: pytest.fail(failure.summary))
    yield made
    made.close()
    qtbot.waitUntil(lambda: not made.busy)


@pytest.fixture
def queries(qtbot: Any) -> Any:
    made = LatestOnly(lambda _key, failure: pytest.fail(failure.summary))
    yield made
    made.close()


def wait_idle(qtbot: Any, lane: JobLane) -> None:
    qtbot.waitUntil(lambda: not lane.busy, timeout=5000)


def test_work_succeeds_and_idle_is_the_last_word(qtbot, lane):
    record = Record(lane)
    record.submit("one", lambda _context: 1)
    record.submit("two", lambda _context: 2)
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

    record.submit("bad", refuse)
    record.submit("good", lambda _context: "fine")
    wait_idle(qtbot, lane)
    assert ("failed", "bad", "The file is missing.", True) in record.entries
    assert ("succeeded", "good", "fine") in record.entries


def test_a_bug_in_a_worker_is_told_as_one_and_logged(qtbot, lane, caplog):
    record = Record(lane)
    record.submit("bug", lambda _context: 1 / 0)
    wait_idle(qtbot, lane)
    assert ("failed", "bug", "ZeroDivisionError: division by zero", False) in record.entries
    assert "division by zero" in caplog.text


def test_cancelling_stops_what_runs_and_withdraws_what_waits(qtbot, lane):
    record, gate = Record(lane), Gate()
    record.submit("runs", gate.job)
    record.submit("waits", lambda _context: pytest.fail("withdrawn work must not run"))
    assert gate.started.wait(5)
    lane.cancel()
    wait_idle(qtbot, lane)
    kinds = [entry for entry in record.entries if entry[0] not in ("busy", "started")]
    assert sorted(kinds) == [("cancelled", "runs"), ("cancelled", "waits")]
    assert record.entries[-1] == ("busy", False)


def test_newer_work_of_a_key_replaces_the_running_and_alone_reports(qtbot, lane):
    record, gate = Record(lane), Gate("old")
    record.submit("maps", gate.job)
    assert gate.started.wait(5)
    record.submit("maps", lambda _context: "new")
    wait_idle(qtbot, lane)
    assert [entry for entry in record.entries if entry[0] not in ("busy", "started")] == [
        ("succeeded", "maps", "new")
    ]


def test_replaced_work_that_ends_well_all_the_same_reports_nothing(qtbot, lane):
    record, gate = Record(lane), Gate()

    def deaf(_context: JobContext) -> str:
        gate.query()
        return "old"

    record.submit("maps", deaf)
    assert gate.started.wait(5)
    record.submit("maps", lambda _context: "new")
    gate.open.set()
    wait_idle(qtbot, lane)
    assert [entry for entry in record.entries if entry[0] == "succeeded"] == [
        ("succeeded", "maps", "new")
    ]


@pytest.mark.parametrize("ending", ["well", "badly", "stopped"])
def test_withdrawn_work_reports_nothing_although_it_may_have_ended(qtbot, lane, ending):
    record, gate = Record(lane), Gate()

    def work(context: JobContext) -> None:
        if ending == "stopped":
            gate.job(context)
        gate.started.set()
        if ending == "badly":
            raise DescSpaceError("The file is missing.")

    record.submit("runs", work)
    record.submit("waits", lambda _context: pytest.fail("withdrawn work must not run"))
    record.submit("stays", lambda _context: "fine")
    assert gate.started.wait(5)
    if ending != "stopped":
        assert lane._thread.wait(5000)  # its end is on the way to this thread
    lane.withdraw("waits")
    lane.withdraw("runs")
    wait_idle(qtbot, lane)
    assert [entry for entry in record.entries if entry[0] not in ("busy", "started")] == [
        ("succeeded", "stays", "fine")
    ]


def test_a_failure_without_an_end_of_its_own_goes_to_the_lane(qtbot):
    failures: list[Failure] = []
    lane = JobLane(failures.append)
    lane.submit(lambda _context: 1 / 0, key="bug")
    wait_idle(qtbot, lane)
    assert [failure.summary for failure in failures] == ["ZeroDivisionError: division by zero"]


def test_progress_is_thinned_but_notes_and_the_last_step_pass(qtbot, lane):
    record = Record(lane)

    def chatter(context: JobContext) -> None:
        for done in range(1, 1001):
            context.emit(Progress("steps", done, 1000))
        context.emit(Note("done"))

    record.submit("chatter", chatter)
    wait_idle(qtbot, lane)
    events = [entry[2] for entry in record.entries if entry[0] == "happened"]
    assert events[-2:] == [Progress("steps", 1000, 1000), Note("done")]
    assert len(events) < 200


def test_a_closed_lane_takes_nothing_more(qtbot, lane):
    record = Record(lane)
    lane.close()
    record.submit("late", lambda _context: pytest.fail("a closed lane must not run anything"))
    assert not lane.busy
    assert record.entries == []


def test_of_the_waiting_queries_the_latest_is_answered_and_the_running_one_before_it(
    qtbot, queries
):
    answers: list[Any] = []
    gate = Gate(0)
    queries.submit(gate.query, key="probe", done=answers.append)
    assert gate.started.wait(5)
    for number in range(1, 50):
        queries.submit(lambda number=number: number, key="probe", done=answers.append)
    gate.open.set()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == [0, 49]


def test_queries_of_different_keys_do_not_replace_one_another(qtbot, queries):
    answers: dict[str, Any] = {}
    gate = Gate("first")
    for key, compute in (("shown", gate.query), ("compared", lambda: "second")):
        queries.submit(compute, key=key, done=partial(answers.__setitem__, key))
    gate.open.set()
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=5000)
    assert answers == {"shown": "first", "compared": "second"}


def test_a_dropped_query_never_answers(qtbot, queries):
    answers: list[str] = []
    gate = Gate()
    for key, compute in (("probe", gate.query), ("other", lambda: None)):
        queries.submit(compute, key=key, done=lambda _answer, key=key: answers.append(key))
    queries.drop("probe")
    gate.open.set()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == ["other"]


def test_what_ran_and_what_waited_when_a_key_was_dropped_never_answers(qtbot, queries):
    answers: list[Any] = []
    gate = Gate("ran")
    queries.submit(gate.query, key="probe", done=answers.append)
    assert gate.started.wait(5)
    queries.submit(lambda: "waited", key="probe", done=answers.append)
    queries.drop("probe")
    queries.submit(lambda: "asked since", key="probe", done=answers.append)
    gate.open.set()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == ["asked since"]


def test_a_failure_that_a_newer_query_has_overtaken_is_not_reported(qtbot, queries):
    answers: list[Any] = []
    gate = Gate(0)
    queries.submit(lambda: 1 / gate.query(), key="probe", done=answers.append)
    assert gate.started.wait(5)
    queries.submit(lambda: "alive", key="probe", done=answers.append)
    gate.open.set()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == ["alive"]


def test_a_failing_query_reports_and_the_next_one_is_answered(qtbot, caplog):
    failures: list[Failure] = []
    answers: list[Any] = []
    queries = LatestOnly(lambda _key, failure: failures.append(failure))
    queries.submit(lambda: 1 / 0, key="probe", done=answers.append)
    qtbot.waitUntil(lambda: bool(failures), timeout=5000)
    queries.submit(lambda: "alive", key="probe", done=answers.append)
    qtbot.waitUntil(lambda: bool(answers), timeout=5000)
    assert not failures[0].expected
    assert answers == ["alive"]
    queries.close()


def checking(started: threading.Event) -> None:
    """Work of the engine that has no token in hand; it takes five seconds."""
    started.set()
    for _ in range(1000):
        check_stop()
        threading.Event().wait(0.005)
    pytest.fail("it was not stopped")


def test_a_running_query_ends_at_its_next_check_when_all_is_closed(qtbot):
    answers: list[Any] = []
    queries = LatestOnly(lambda _key, failure: pytest.fail(failure.summary))
    started = threading.Event()
    queries.submit(partial(checking, started), key="probe", done=answers.append)
    assert started.wait(5)
    queries.close()
    qtbot.waitUntil(lambda: not queries.busy, timeout=5000)
    assert answers == []


def test_work_that_hands_its_token_to_nobody_ends_at_its_next_check(qtbot, lane):
    ends: list[str] = []
    started = threading.Event()
    lane.submit(
        lambda _context: checking(started), key="work", cancelled=lambda: ends.append("cancelled")
    )
    assert started.wait(5)
    lane.cancel()
    wait_idle(qtbot, lane)
    assert ends == ["cancelled"]


class Cycle(QObject):
    """Qt's side is destroyed with the cycle that Python's side is in."""

    def __init__(self, died_on: list[QThread]) -> None:
        super().__init__()
        self.me = self
        self.destroyed.connect(lambda: died_on.append(QThread.currentThread()))


def test_garbage_is_collected_on_the_windows_thread_alone(qtbot, lane):
    collector = Collector()
    died_on: list[QThread] = []
    try:
        Cycle(died_on)

        def allocate(_context: JobContext) -> int:
            return len([[number] for number in range(100_000)])

        lane.submit(allocate, key="busy")
        wait_idle(qtbot, lane)
        assert died_on == []
        gc.collect()
        assert died_on == [QThread.currentThread()]
        kept = [[number] for number in range(5_000)]
        Cycle(died_on)
        collector.collect()
        assert len(died_on) == 2
        assert len(kept) == 5_000
    finally:
        collector.stop()
        gc.disable()


def test_the_collector_lets_a_library_load_but_does_not_wait_for_ever(qapp):
    collector = Collector()
    died_on: list[QThread] = []
    gc.collect()
    try:
        Cycle(died_on)
        kept = [[number] for number in range(60_000)]
        for _ in range(20):
            collector.collect()
        assert died_on == []
        collector.collect()
        assert len(died_on) == 1
        # One look was enough: the next one passes over what the library left.
        assert {id(kept[0]), id(kept[-1])} <= set(map(id, gc.get_objects(2)))
    finally:
        collector.stop()
        gc.disable()


def test_all_objects_are_looked_through_only_after_they_grew(qapp, monkeypatch):
    full, seconds = [], [0.0]
    collect = gc.collect

    def note(generation: int = 2) -> int:
        full.append(generation == 2)
        return collect(generation)

    monkeypatch.setattr(gc, "collect", note)
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    collector = Collector()

    def allocate(many: int) -> list[list[int]]:
        """Enough turns for a full collection to be due, and this many objects that stay."""
        kept = []
        for _ in range(130):
            kept += [[number] for number in range(many // 130)]
            young = [[number] for number in range(1000)]
            collector.collect()
            del young
        return kept

    try:
        kept = [allocate(40_000)]
        assert any(full)
        full.clear()
        kept.append(allocate(2_000))
        assert full
        assert not any(full)
        kept.append(allocate(100_000))
        assert any(full)
        full.clear()
        seconds[0] = 601.0
        kept.append(allocate(2_000))
        assert any(full)
    finally:
        collector.stop()
        gc.disable()


def test_an_error_in_a_plugin_is_one_sentence_with_its_line_and_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.list_descriptors()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from engine.descriptors.registry import register_descriptor\n"
        "@dataclass(frozen=True)\n"
        "class Config:\n"
        "    pass\n"
        "@register_descriptor('fails', title='Fails', config=Config)\n"
        "def build(config):\n"
        "    return undefined\n"
    )
    (name,) = api.load_plugin(path)
    (entry,) = [one for one in api.list_descriptors() if one.name == name]
    with pytest.raises(NameError) as caught:
        entry.build(entry.config())
    failure = failure_of(caught.value, "describing")
    assert failure.expected
    assert failure.summary.startswith(f"{path}: line 8: NameError: name 'undefined'")
    assert not failure_of(NameError("ours"), "describing").expected
