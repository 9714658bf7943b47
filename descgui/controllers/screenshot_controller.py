"""Saves a picture of the window once nothing is left to compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from descgui.models.bundle import AppModels
from descgui.models.messages import Message

_LOOK_EVERY_MS = 40
_CALM_LOOKS = 4  # a finished step may start the next one through a queued signal


class ScreenshotController(QObject):
    """Waits until the window is idle, grabs it, and reports the exit code to end with.

    Args:
        path: the picture to write.
        at_rest: True while nothing runs or waits.
        grab: writes the window to a file; False if that failed.

    Signals:
        done(int): 0, or 1 if something that was asked for failed.
    """

    done = Signal(int)

    def __init__(
        self,
        models: AppModels,
        path: Path,
        *,
        at_rest: Callable[[], bool],
        grab: Callable[[Path], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._path = path
        self._at_rest = at_rest
        self._grab = grab
        self._calm = 0
        self._failures: list[str] = []
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_EVERY_MS)
        self._timer.timeout.connect(self._look)
        models.messages.logged.connect(self._note)

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, a sentence each."""
        return tuple(self._failures)

    def start(self) -> None:
        """Begin to wait."""
        self._timer.start()

    def _note(self, message: Message) -> None:
        if message.level == "error" and message.text not in self._failures:
            self._failures.append(message.text)

    def _look(self) -> None:
        self._calm = self._calm + 1 if self._at_rest() else 0
        if self._calm < _CALM_LOOKS:
            return
        self._timer.stop()
        if not self._grab(self._path):
            self._failures.append(f"{self._path}: the picture cannot be written.")
        self.done.emit(1 if self._failures else 0)
