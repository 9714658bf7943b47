"""Jobs one after another, apart from the window's thread and from other lanes."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from descgui.workers.job_thread import JobFailure, JobThread, Work


class JobLane(QObject):
    """Runs keyed work one at a time, in order of submission.

    Work submitted under a key replaces the waiting work of that key and stops the running one.
    Every submission ends with exactly one of ``succeeded``, ``failed`` or ``cancelled``, unless it
    is replaced while it waits: then only the newer one reports.

    Signals:
        started(str): key of the work that begins to run.
        happened(str, Event): key and event of the running work.
        succeeded(str, object): key and result.
        failed(str, JobFailure): key and reason.
        cancelled(str): key of stopped or withdrawn work.
        busy_changed(bool): False is the last signal after the last work.
    """

    started = Signal(str)
    happened = Signal(str, object)
    succeeded = Signal(str, object)
    failed = Signal(str, object)
    cancelled = Signal(str)
    busy_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: dict[str, tuple[Work, str]] = {}
        self._thread: JobThread | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """True while anything runs or waits."""
        return self._thread is not None or bool(self._waiting)

    @property
    def running(self) -> str:
        """Key of the running work, "" when idle."""
        return self._thread.name if self._thread is not None else ""

    def submit(self, key: str, work: Work, *, device: str = "auto") -> None:
        """Queue work under a key."""
        if self._closed:
            return
        was_busy = self.busy
        self._waiting[key] = (work, device)
        if self._thread is not None and self._thread.name == key:
            self._thread.cancel_token.cancel()
        self._start_next()
        if not was_busy:
            self.busy_changed.emit(True)

    def cancel(self, key: str | None = None) -> None:
        """Stop the work of a key, or all work."""
        for waiting in [name for name in self._waiting if key in (None, name)]:
            del self._waiting[waiting]
            self.cancelled.emit(waiting)
        if self._thread is not None and key in (None, self._thread.name):
            self._thread.cancel_token.cancel()

    def close(self) -> None:
        """Stop all work and accept no more; ``busy_changed(False)`` follows if it was busy."""
        self._closed = True
        self.cancel()

    def _start_next(self) -> None:
        if self._thread is not None or not self._waiting:
            return
        key = next(iter(self._waiting))
        work, device = self._waiting.pop(key)
        thread = JobThread(key, work, device=device, parent=self)
        thread.happened.connect(self._relay_event)
        thread.succeeded.connect(self._relay_success)
        thread.failed.connect(self._relay_failure)
        thread.cancelled.connect(self._relay_cancelled)
        thread.finished.connect(self._finish)
        self._thread = thread
        thread.start()
        self.started.emit(key)

    def _relay_event(self, event: Any) -> None:
        self.happened.emit(self.running, event)

    def _relay_success(self, result: Any) -> None:
        key = self.running
        if key in self._waiting:  # replaced while it ran: the newer one reports
            return
        self.succeeded.emit(key, result)

    def _relay_failure(self, failure: JobFailure) -> None:
        key = self.running
        if key not in self._waiting:
            self.failed.emit(key, failure)

    def _relay_cancelled(self) -> None:
        key = self.running
        if key not in self._waiting:
            self.cancelled.emit(key)

    def _finish(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.wait()  # finished() comes just before the thread really ends
            thread.deleteLater()
        self._start_next()
        if not self.busy:
            self.busy_changed.emit(False)
