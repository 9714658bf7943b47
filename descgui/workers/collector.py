"""Python's garbage collector, kept on the window's thread."""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

_INTERVAL_MS = 500
_MANY_NEW = 10_000
_LONGEST_WAIT = 20


class Collector(QObject):
    """Collects garbage on the thread that it lives on, and nowhere else.

    Python collects on whatever thread allocates next.  A Qt object in a reference cycle would then
    be destroyed by a worker while the window delivers events to it, which ends the
    process.  Only cycles wait for the collector; all other objects go at once, as ever.

    While a worker loads a large library, which it freezes in the end, up to 20 turns are skipped:
    looking through all its new objects would stop the window for 0.3 s.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._skipped = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.collect)
        self._timer.start(_INTERVAL_MS)

    def collect(self) -> None:
        """Collect the generations that are due by Python's own thresholds."""
        if gc.get_count()[0] > _MANY_NEW and self._skipped < _LONGEST_WAIT:
            self._skipped += 1
            return
        self._skipped = 0
        for generation, limit in enumerate(gc.get_threshold()):
            if limit == 0 or gc.get_count()[generation] <= limit:
                return
            gc.collect(generation)

    def stop(self) -> None:
        """Leave collecting to Python again."""
        self._timer.stop()
        gc.enable()
