"""Queries of which only the latest answer matters: what the mouse asks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from PySide6.QtCore import QObject, QThreadPool, Signal

from descgui.models.messages import Failure
from descgui.workers.job_thread import failure_of

Compute = Callable[[], Any]


class LatestOnly(QObject):
    """Computes keyed queries on one thread of its own; newer ones replace those that wait.

    An answer that a newer query of the same key has overtaken is dropped.

    Args:
        failed: called with the key of a query that failed, and the reason.
    """

    _computed = Signal(object, int, object, object)

    def __init__(
        self, failed: Callable[[Hashable, Failure], object], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._failed = failed
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._pool.setExpiryTimeout(-1)
        self._tickets: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, Compute] = {}
        self._done: dict[Hashable, Callable[[Any], object]] = {}
        self._running = False
        self._closed = False
        self._computed.connect(self._finish)

    @property
    def busy(self) -> bool:
        """True while a query runs or waits."""
        return self._running or bool(self._waiting)

    def submit(self, compute: Compute, *, key: Hashable, done: Callable[[Any], object]) -> None:
        """Ask a query.

        Args:
            compute: called on the query thread; must not touch widgets or models.
            key: a newer query of the same key replaces this one.
            done: called with the answer on the window's thread.
        """
        if self._closed:
            return
        self._done[key] = done
        self._tickets[key] = self._tickets.get(key, 0) + 1
        self._waiting[key] = compute
        self._start_next()

    def drop(self, key: Hashable | None = None) -> None:
        """Withdraw a key's query, or all: no answer to what was asked so far will come."""
        for name in [name for name in self._tickets if key in (None, name)]:
            self._tickets[name] += 1
            self._waiting.pop(name, None)

    def close(self) -> None:
        """Drop everything, accept no more, and wait for the running query (milliseconds)."""
        self._closed = True
        self.drop()
        self._pool.waitForDone()

    def _start_next(self) -> None:
        if self._running or not self._waiting:
            return
        key = next(iter(self._waiting))
        compute = self._waiting.pop(key)
        ticket = self._tickets[key]
        self._running = True
        self._pool.start(lambda: self._compute(key, ticket, compute))

    def _compute(self, key: Hashable, ticket: int, compute: Compute) -> None:
        """On the query thread: whatever happens becomes one signal."""
        try:
            answer = compute()
        except Exception as error:  # the border of the thread
            self._computed.emit(key, ticket, None, failure_of(error, str(key)))
        else:
            self._computed.emit(key, ticket, answer, None)

    def _finish(self, key: Hashable, ticket: int, answer: Any, failure: Any) -> None:
        self._running = False
        self._start_next()  # before the answer is drawn, so that both cores have work
        if ticket != self._tickets.get(key):
            return
        if failure is None:
            self._done[key](answer)
        else:
            self._failed(key, failure)
