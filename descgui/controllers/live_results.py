"""Sums up what a running evaluation has measured, beside the window and a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from descgui.models.messages import Failure
from descgui.models.result_tables import ResultTables
from descgui.workers.lane import JobLane
from engine import api

if TYPE_CHECKING:
    from engine.api import Begun

LEAST_PAUSE_MS = 250
PAUSE_FACTOR = 10
"""Of the time that summing up took: it grows with the pairs, and would slow the measurement."""


class LiveResults(QObject):
    """Turns measured pairs into tables; the last ones are always shown.

    Args:
        show: called with the tables of what was measured so far.
        report: called with the reason where they could not be made.
        parent: owner.
    """

    def __init__(
        self,
        show: Callable[[ResultTables], object],
        report: Callable[[Failure], object],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._show = show
        self._report = report
        self._newest: Begun | None = None
        self._summed: Begun | None = None
        self._pause = QTimer(self, singleShot=True)
        self._pause.timeout.connect(self._sum_newest)
        self.lane = JobLane(report, self)
        self.lane.busy_changed.connect(self._sum_newest)

    def follow(self, begun: Begun) -> None:
        """Show what is measured so far, now or soon."""
        self._newest = begun
        self._sum_newest()

    def finish(self, then: Callable[[], object]) -> None:
        """Show what was measured last, then call ``then``; not if the window closes meanwhile."""
        self._pause.stop()
        if self._newest is None or self._newest is self._summed:
            self.drop()
            then()
            return
        self._sum_up(self._newest, then)

    def drop(self) -> None:
        """Show nothing more of this run."""
        self._pause.stop()
        self._newest = self._summed = None

    def _sum_newest(self, *_why: object) -> None:
        waits = self._pause.isActive() or self.lane.busy
        if self._newest is not None and self._newest is not self._summed and not waits:
            self._sum_up(self._newest, None)

    def _sum_up(self, begun: Begun, then: Callable[[], object] | None) -> None:
        self.lane.submit(
            lambda _context: _tables_so_far(begun),
            key="results",  # the last of a run replaces those before
            done=partial(self._on_summed, begun, then),
            failed=partial(self._on_failed, begun, then),
            cancelled=then,
        )

    def _on_summed(
        self, begun: Begun, then: Callable[[], object] | None, found: tuple[ResultTables, float]
    ) -> None:
        tables, took_s = found
        if self._newest is None:
            return  # dropped
        self._summed = begun
        self._pause.start(max(LEAST_PAUSE_MS, round(1000 * PAUSE_FACTOR * took_s)))
        self._show(tables)
        if then is not None:
            self.drop()
            then()

    def _on_failed(self, begun: Begun, then: Callable[[], object] | None, failure: Failure) -> None:
        self._summed = begun
        self._report(failure)
        if then is not None:
            self.drop()
            then()


def _tables_so_far(begun: Begun) -> tuple[ResultTables, float]:
    """The tables, and how many seconds they took (in the worker's thread)."""
    start_s = time.thread_time()
    tables = ResultTables.of(api.merge_results([("this run", begun.result())]))
    return tables, time.thread_time() - start_s
