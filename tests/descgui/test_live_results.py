"""Results so far: summed up beside the window, a few times a second, and the last ones always."""

from __future__ import annotations

import threading
import time

import pytest
from PySide6.QtTest import QTest

from descgui.controllers import live_results
from descgui.controllers.live_results import LiveResults
from descgui.models.result_tables import ResultTables
from engine import api

WAIT_MS = 10_000


class Begun:
    """Stands in for what was measured so far.

    Attributes:
        go: summing up waits for it.
        threads: those that summed it up.
    """

    def __init__(self, done, go=None, error=None):
        self.done, self.go, self.error = done, go, error
        self.threads = []

    def result(self):
        self.threads.append(threading.current_thread())
        if self.go is not None:
            assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return self.done


@pytest.fixture
def seen():
    return []


@pytest.fixture
def failures():
    return []


@pytest.fixture
def live(qapp, seen, failures, close_after, monkeypatch):
    monkeypatch.setattr(api, "merge_results", lambda named: named[0][1], raising=False)
    monkeypatch.setattr(ResultTables, "of", classmethod(lambda cls, done: done))
    made = LiveResults(seen.append, failures.append)
    close_after(made.lane)
    return made


def wait_until_quiet(qtbot, live):
    qtbot.waitUntil(lambda: not live.lane.busy, timeout=WAIT_MS)


def test_the_first_results_come_at_once_and_in_another_thread(qtbot, live, seen):
    begun = Begun(0)
    live.follow(begun)
    qtbot.waitUntil(lambda: seen == [0], timeout=WAIT_MS)
    (thread,) = begun.threads
    assert thread is not threading.current_thread()


def test_many_pairs_are_shown_a_few_times_and_the_last_is_among_them(qtbot, live, seen):
    for done in range(300):
        live.follow(Begun(done))
        QTest.qWait(1)
    qtbot.waitUntil(lambda: bool(seen) and seen[-1] == 299, timeout=WAIT_MS)
    assert seen == sorted(seen)
    took_s = 0.3  # at least: each of the 300 pairs waited for a thousandth
    assert 2 <= len(seen) < 300 * took_s


def test_the_last_pair_is_shown_though_no_other_follows(qtbot, live, seen):
    live.follow(Begun(0))
    qtbot.waitUntil(lambda: seen == [0], timeout=WAIT_MS)
    live.follow(Begun(1))
    assert seen == [0]  # the pause is not over
    qtbot.waitUntil(lambda: seen == [0, 1], timeout=WAIT_MS)
    wait_until_quiet(qtbot, live)
    QTest.qWait(2 * live_results.LEAST_PAUSE_MS)
    assert seen == [0, 1]  # nothing is summed up twice


def test_pairs_that_come_while_others_are_summed_up_are_not_lost(qtbot, live, seen):
    go = threading.Event()
    live.follow(Begun(1, go))
    for done in (2, 3):
        live.follow(Begun(done))
    assert seen == []
    go.set()
    qtbot.waitUntil(lambda: seen == [1, 3], timeout=WAIT_MS)


def test_summing_up_takes_a_small_share_of_the_time(qtbot, live, seen, monkeypatch):
    clock = iter((0.0, 0.1))
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    live.follow(Begun(0))
    qtbot.waitUntil(lambda: seen == [0], timeout=WAIT_MS)
    assert live._pause.interval() == live_results.PAUSE_FACTOR * 100


@pytest.mark.parametrize("summing", [False, True])
def test_the_end_waits_for_the_last_results(qtbot, live, seen, summing):
    go = threading.Event()
    live.follow(Begun(1, go))
    if not summing:
        go.set()
        qtbot.waitUntil(lambda: seen == [1], timeout=WAIT_MS)
    live.follow(Begun(2))
    live.finish(lambda: seen.append("end"))
    go.set()
    qtbot.waitUntil(lambda: "end" in seen, timeout=WAIT_MS)
    assert seen[-2:] == [2, "end"]


def test_the_end_comes_at_once_where_nothing_is_to_be_shown(qtbot, live, seen):
    live.finish(lambda: seen.append("nothing"))
    assert seen == ["nothing"]
    live.follow(Begun(1))
    qtbot.waitUntil(lambda: seen == ["nothing", 1], timeout=WAIT_MS)
    live.finish(lambda: seen.append("end"))
    assert seen == ["nothing", 1, "end"]


def test_the_end_comes_also_where_summing_up_fails(qtbot, live, seen, failures):
    live.follow(Begun(1, error=ZeroDivisionError("oops")))
    live.finish(lambda: seen.append("end"))
    qtbot.waitUntil(lambda: seen == ["end"], timeout=WAIT_MS)
    assert [failure.summary for failure in failures] == ["ZeroDivisionError: oops"]


def test_what_is_dropped_is_not_shown_and_the_next_run_begins_at_once(qtbot, live, seen):
    go = threading.Event()
    live.follow(Begun(1, go))
    live.drop()
    go.set()
    wait_until_quiet(qtbot, live)
    assert seen == []
    live.follow(Begun(2))
    qtbot.waitUntil(lambda: seen == [2], timeout=WAIT_MS)
    live.finish(lambda: None)
    live.follow(Begun(3))
    assert live.lane.busy  # the pause of the run before does not count
    qtbot.waitUntil(lambda: seen == [2, 3], timeout=WAIT_MS)
