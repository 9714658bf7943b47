"""Queries of which only the latest waits: what the mouse asks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QThreadPool, Signal

from descgui.models.messages import Failure
from descgui.workers.job_thread import failure_of
from engine.api import CancelToken, JobCancelled

Compute = Callable[[], Any]


@dataclass(slots=True, eq=False)
class _Query:
    """A query that waits or runs; ``wanted`` until it is withdrawn."""

    key: Hashable
    compute: Compute
    done: Callable[[Any], object]
    wanted: bool = True


class LatestOnly(QObject):
    """Computes keyed queries on one thread of its own; newer ones replace those that wait.

    A query that runs is answered even if a newer one waits: a pointer that moves faster than
    queries are answered would see nothing until it rests.  Answers to a key come in the order of
    its queries.

    Args:
        failed: called with the key of a query that failed, and the reason, unless a newer one
            waits.
    """

    _computed = Signal(object, object)

    def __init__(
        self, failed: Callable[[Hashable, Failure], object], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._failed = failed
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._pool.setExpiryTimeout(-1)
        self._waiting: dict[Hashable, _Query] = {}
        self._running: _Query | None = None
        self._closed = False
        self._stop = CancelToken()
        self._computed.connect(self._finish)

    @property
    def busy(self) -> bool:
        """True while a query runs or waits."""
        return self._running is not None or bool(self._waiting)

    def submit(self, compute: Compute, *, key: Hashable, done: Callable[[Any], object]) -> None:
        """Ask a query.

        Args:
            compute: called on the query thread; must not touch widgets or models.
            key: a newer query of the same key replaces this one while it waits.
            done: called with the answer on the window's thread.
        """
        if self._closed:
            return
        self._waiting[key] = _Query(key, compute, done)
        self._start_next()

    def drop(self, key: Hashable | None = None) -> None:
        """Withdraw a key's queries, or all: no answer to what was asked so far will come."""
        for name in [name for name in self._waiting if key in (None, name)]:
            del self._waiting[name]
        if self._running is not None and key in (None, self._running.key):
            self._running.wanted = False

    def close(self) -> None:
        """Drop everything, accept no more, and wait for the running query's next check."""
        self._closed = True
        self.drop()
        self._stop.cancel()
        self._pool.waitForDone()

    def _start_next(self) -> None:
        if self._running is not None or not self._waiting:
            return
        query = self._running = self._waiting.pop(next(iter(self._waiting)))
        self._pool.start(lambda: self._compute(query))

    def _compute(self, query: _Query) -> None:
        """On the query thread: whatever happens becomes one signal."""
        try:
            with self._stop.everywhere():
                answer = query.compute()
        except JobCancelled:
            self._computed.emit(None, None)  # it was dropped before
        except Exception as error:  # the border of the thread
            self._computed.emit(None, failure_of(error, str(query.key)))
        else:
            self._computed.emit(answer, None)

    def _finish(self, answer: Any, failure: Any) -> None:
        query, self._running = self._running, None
        assert query is not None
        overtaken = query.key in self._waiting
        self._start_next()  # before the answer is drawn, so that both cores have work
        if not query.wanted:
            return
        if failure is None:
            query.done(answer)
        elif not overtaken:
            self._failed(query.key, failure)
