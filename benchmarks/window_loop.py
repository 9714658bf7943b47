"""What benchmarks share that open the window: a platform without a display, and the loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, MutableMapping

_LOOK_MS = 50
_TICK_MS = 5
_LATE_S = 60.0


def use_offscreen(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let Qt draw into memory where there is no display, unless a platform is named."""
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")


class WindowLoop:
    """The loop of a window, which sleeps between events, as in the running program.

    A busy loop would keep the interpreter lock from the query thread.
    """

    def __init__(self) -> None:
        from PySide6.QtCore import QEventLoop, QTimer

        self._loop = QEventLoop()
        self._late = QTimer(singleShot=True)
        self._late.timeout.connect(lambda: self._loop.exit(1))

    def quit(self) -> None:
        """Leave the loop."""
        self._loop.quit()

    def run(self, seconds: float) -> None:
        """Until :meth:`quit` is called.

        Raises:
            RuntimeError: that took longer.
        """
        self._late.start(round(1000 * seconds))
        if self._loop.exec() != 0:
            raise RuntimeError("the window did not answer")
        self._late.stop()

    def rest(self, milliseconds: int) -> None:
        """For so long."""
        from PySide6.QtCore import QTimer

        QTimer.singleShot(milliseconds, self.quit)
        self.run(_LATE_S + milliseconds / 1000)

    def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Until something is done, which is looked at every 50 ms."""
        from PySide6.QtCore import QTimer

        look = QTimer(interval=_LOOK_MS)
        look.timeout.connect(lambda: self.quit() if done() else None)
        look.start()
        self.run(seconds)
        look.stop()


class StallWatch:
    """How late the events of a window are: a timer rings every 5 ms, or as soon as it can.

    Attributes:
        late_ms: milliseconds that each ring came late.
    """

    def __init__(self) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.late_ms: list[float] = []
        self._last_s = 0.0
        self._timer = QTimer(interval=_TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._ring)

    def start(self) -> None:
        """Watch from now on."""
        self._last_s = time.perf_counter()
        self._timer.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.stop()

    def _ring(self) -> None:
        now_s = time.perf_counter()
        self.late_ms.append(max(0.0, 1000 * (now_s - self._last_s) - _TICK_MS))
        self._last_s = now_s
