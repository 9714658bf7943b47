"""Python's garbage collector, kept on the window's thread."""

from __future__ import annotations

import gc
import time
from typing import Final

from PySide6.QtCore import QObject, QTimer

_INTERVAL_MS = 500
_MANY_NEW = 10_000
_LONGEST_WAIT = 20
_OLDEST: Final = 2
_GROWTH: Final = 1.25  # as Python's own collections have it
_LONGEST_KEPT_S: Final = 600.0


class Collector(QObject):
    """Collects garbage on the thread that it lives on, and nowhere else.

    Python collects on whatever thread allocates next.  A Qt object in a reference cycle would then
    be destroyed by a worker while the window delivers events to it, which ends the
    process.  Only cycles wait for the collector; all other objects go at once, as ever.

    While a worker loads a large library, which it freezes in the end, up to 20 turns are skipped:
    looking through all its new objects would stop the window for 0.3 s.

    All objects are looked through only once they have grown by a quarter since the last time, or
    after ten minutes: ten thousand pairs of images alone stop the window for 0.1 s on a slow
    computer, and may stay open for hours.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._skipped = 0
        self._old = 0
        self._looked_s = time.monotonic()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.collect)
        self._timer.start(_INTERVAL_MS)

    def collect(self) -> None:
        """Collect the generations that are due by Python's own thresholds."""
        if gc.get_count()[0] > _MANY_NEW and self._skipped < _LONGEST_WAIT:
            self._skipped += 1
            return
        self._skipped = 0
        if gc.get_count()[0] > _MANY_NEW:  # they will mostly stay: one look at them, not two
            gc.collect(_OLDEST - 1)
            return
        for generation, limit in enumerate(gc.get_threshold()):
            if limit == 0 or gc.get_count()[generation] <= limit:
                return
            if generation < _OLDEST:
                gc.collect(generation)
            else:
                self._collect_all()

    def _collect_all(self) -> None:
        count, kept_s = len(gc.get_objects(_OLDEST)), time.monotonic() - self._looked_s
        self._old = min(self._old, count)  # some were frozen, or are gone
        if count > _GROWTH * self._old or kept_s > _LONGEST_KEPT_S:
            gc.collect()
            self._old, self._looked_s = len(gc.get_objects(_OLDEST)), time.monotonic()

    def stop(self) -> None:
        """Leave collecting to Python again."""
        self._timer.stop()
        gc.enable()
