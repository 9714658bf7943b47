"""Loading what draws curves without stalling the window."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from PySide6.QtCore import QObject, QTimer

from descgui.models.messages import Failure
from descgui.workers.lane import JobLane

_PLOTS: Final = "pyqtgraph"
# Qt's modules that it asks for, and of these all that it copies.
_QT_MODULES: Final = tuple(
    f"PySide6.{name}"
    for name in ("QtCore", "QtGui", "QtWidgets", "QtSvg", "QtOpenGL", "QtOpenGLWidgets", "QtTest")
)
_SLICE_S: Final = 0.005


class PlotLoader(QObject):
    """Imports pyqtgraph once, most of it in a worker's thread.

    PySide6 makes the Python type of a Qt class when it is first asked for, and does not guard its
    list of those still to be made: two threads that ask at once crash the program.  pyqtgraph asks
    for all of them, so they are made on the window's thread before, a few at a time.

    Args:
        report: called with the failure of an import.
    """

    def __init__(self, report: Callable[[Failure], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lane = JobLane(report, self)
        self._report = report
        self._loaded = _PLOTS in sys.modules
        self._loading = False
        self._waiting: list[Callable[[], object]] = []
        self._types: Iterator[None] = _make_types()
        self._turns = QTimer(self, interval=0)
        self._turns.timeout.connect(self._make_some_types)

    def load(self, then: Callable[[], object]) -> None:
        """Call ``then`` on the window's thread once plots can be made, at once if they can."""
        if self._loaded:
            then()
            return
        self._waiting.append(then)
        if not self._loading:
            self._loading = True
            self._turns.start()

    def _make_some_types(self) -> None:
        end_s = time.perf_counter() + _SLICE_S
        for _ in self._types:
            if time.perf_counter() > end_s:
                return
        self._turns.stop()
        self.lane.submit(
            lambda _context: importlib.import_module(_PLOTS),
            key=_PLOTS,
            done=self._on_loaded,
            failed=self._on_failed,
        )

    def _on_failed(self, failure: Failure) -> None:
        # Its thread may take longer to end than somebody takes to ask again.
        self._loading = False
        self._report(failure)

    def _on_loaded(self, _module: object) -> None:
        self._loaded = True
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()


def _make_types() -> Iterator[None]:
    """Make all types of Qt's modules, one at each step."""
    for name in _QT_MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:  # left out of some distributions, and pyqtgraph does without
            continue
        for member in dir(module):
            getattr(module, member, None)
            yield
