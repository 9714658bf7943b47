"""Work in the background, one piece after another, apart from the window's thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from descgui.models.messages import Failure
from descgui.workers.job_thread import JobThread, Work
from engine.api import Event


@dataclass(frozen=True, slots=True)
class _Submission:
    """Work with its ends."""

    work: Work
    device: str
    started: Callable[[], object] | None
    happened: Callable[[Event], object] | None
    done: Callable[[Any], object] | None
    failed: Callable[[Failure], object]
    cancelled: Callable[[], object] | None


class JobLane(QObject):
    """Runs work one piece at a time, in order of submission.

    Work submitted under a key replaces the waiting work of that key and stops the running one.
    Every submission ends with exactly one call of ``done``, ``failed`` or ``cancelled``, on the
    window's thread; a submission that is replaced or withdrawn ends without any.

    Args:
        report: called with the failure of work that was submitted without an end of its own.

    Signals:
        busy_changed(bool): False is the last signal after the last work.
    """

    busy_changed = Signal(bool)

    def __init__(self, report: Callable[[Failure], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._report = report
        self._waiting: dict[Hashable, _Submission] = {}
        self._thread: JobThread | None = None
        self._running: tuple[Hashable, _Submission | None] | None = None  # None: withdrawn
        self._closed = False

    @property
    def busy(self) -> bool:
        """True while anything runs or waits."""
        return self._thread is not None or bool(self._waiting)

    def has(self, key: Hashable) -> bool:
        """True while work of this key runs or waits."""
        return key in self._waiting or self._runs(key)

    def submit(
        self,
        work: Work,
        *,
        key: Hashable,
        done: Callable[[Any], object] | None = None,
        failed: Callable[[Failure], object] | None = None,
        cancelled: Callable[[], object] | None = None,
        happened: Callable[[Event], object] | None = None,
        started: Callable[[], object] | None = None,
        device: str = "auto",
    ) -> None:
        """Queue work.

        Args:
            work: called in a thread of its own with the context of the job.
            key: names the work; newer work of the same key replaces it.
            done: called with the result.
            failed: called with the reason; without it the lane reports the failure.
            cancelled: called when the work was stopped, before or after it began.
            happened: called with each event of the running work.
            started: called when the work begins to run.
            device: torch device name, or "auto".
        """
        if self._closed:
            return
        was_busy = self.busy
        self._waiting[key] = _Submission(
            work, device, started, happened, done, failed or self._report, cancelled
        )
        if self._runs(key):
            self._stop()
        self._start_next()
        if not was_busy:
            self.busy_changed.emit(True)

    def cancel(self, key: Hashable | None = None) -> None:
        """Stop the work of a key, or all work; what has finished by then still reports it."""
        for name in [name for name in self._waiting if key in (None, name)]:
            stopped = self._waiting.pop(name)
            if stopped.cancelled is not None:
                stopped.cancelled()
        if key is None or self._runs(key):
            self._stop()

    def withdraw(self, key: Hashable) -> None:
        """Stop the work of a key, whose result nobody wants: none of its ends is called any more.

        It may have finished, with its result on the way to this thread.
        """
        self._waiting.pop(key, None)
        if self._runs(key):
            self._running = key, None
            self._stop()

    def close(self) -> None:
        """Stop all work and accept no more; ``busy_changed(False)`` follows if it was busy."""
        self._closed = True
        self.cancel()

    def _runs(self, key: Hashable) -> bool:
        return self._running is not None and self._running[0] == key

    def _stop(self) -> None:
        if self._thread is not None:
            self._thread.cancel_token.cancel()

    def _start_next(self) -> None:
        if self._thread is not None or not self._waiting:
            return
        key = next(iter(self._waiting))
        job = self._waiting.pop(key)
        thread = JobThread(str(key), job.work, device=job.device, parent=self)
        thread.happened.connect(self._on_event)
        thread.succeeded.connect(self._on_success)
        thread.failed.connect(self._on_failure)
        thread.cancelled.connect(self._on_cancelled)
        thread.finished.connect(self._on_finished)
        self._thread, self._running = thread, (key, job)
        thread.start()
        if job.started is not None:
            job.started()

    @property
    def _reporting(self) -> _Submission | None:
        """The running work, unless it was withdrawn or replaced: then only the newer reports."""
        if self._running is None or self._running[0] in self._waiting:
            return None
        return self._running[1]

    def _on_event(self, event: Event) -> None:
        job = self._reporting
        if job is not None and job.happened is not None:
            job.happened(event)

    def _on_success(self, result: Any) -> None:
        job = self._reporting
        if job is not None and job.done is not None:
            job.done(result)

    def _on_failure(self, failure: Failure) -> None:
        job = self._reporting
        if job is not None:
            job.failed(failure)

    def _on_cancelled(self) -> None:
        job = self._reporting
        if job is not None and job.cancelled is not None:
            job.cancelled()

    def _on_finished(self) -> None:
        thread, self._thread, self._running = self._thread, None, None
        if thread is not None:
            thread.wait()  # finished() comes just before the thread really ends
            thread.deleteLater()
        self._start_next()
        if not self.busy:
            self.busy_changed.emit(False)
