"""One job in one thread, ending with exactly one signal."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from descgui.models.messages import Failure
from engine import api
from engine.api import CancelToken, DescSpaceError, Event, JobCancelled, JobContext, Progress

logger = logging.getLogger(__name__)

Work = Callable[[JobContext], Any]
PROGRESS_INTERVAL_S = 0.05


def failure_of(error: Exception, what: str) -> Failure:
    """Turn whatever escaped from a worker into something that can be shown; bugs are logged."""
    trace = "".join(traceback.format_exception(error))
    fault = error if isinstance(error, DescSpaceError) else api.plugin_fault(error)
    if fault is not None:
        return Failure(str(fault), trace, expected=True)
    logger.error("%s failed\n%s", what, trace)
    return Failure(f"{type(error).__name__}: {error}", trace, expected=False)


class JobThread(QThread):
    """Runs one piece of work; connect to its signals before :meth:`start`.

    Signals:
        happened(Event): progress (at most 20 a second), notes and metrics.
        succeeded(object): the result.
        failed(Failure): the reason.
        cancelled(): it was stopped on demand.
    """

    happened = Signal(object)
    succeeded = Signal(object)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(
        self, name: str, work: Work, *, device: str = "auto", parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.name = name
        self._work = work
        self._last_progress_s = 0.0
        self.cancel_token = CancelToken()
        self._context = JobContext(emit=self._relay, cancel=self.cancel_token, device=device)

    def run(self) -> None:
        """Do the work (called by Qt in the new thread); nothing may escape from here."""
        try:
            self.cancel_token.check()
            with self.cancel_token.everywhere():
                result = self._work(self._context)
        except JobCancelled:
            self.cancelled.emit()
        except Exception as error:  # the border of the thread: PySide would only print it
            self.failed.emit(failure_of(error, self.name))
        else:
            self.succeeded.emit(result)

    def _relay(self, event: Event) -> None:
        if isinstance(event, Progress) and event.done != event.total:
            now_s = time.monotonic()
            if now_s - self._last_progress_s < PROGRESS_INTERVAL_S:
                return
            self._last_progress_s = now_s
        self.happened.emit(event)
