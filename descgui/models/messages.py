"""Messages for the user: passing ones, and the log of all of them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Signal

Level = Literal["info", "warning", "error"]
KEPT_MESSAGES = 2000


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence.

    Attributes:
        text: whole sentences, shown as they are.
        level: how bad it is.
        detail: a trace or a tool's whole output, behind a button; may be empty.
        time_s: seconds since the epoch.
        topic: who speaks, for the log.
    """

    text: str
    level: Level = "info"
    detail: str = ""
    time_s: float = 0.0
    topic: str = "window"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why work in the background failed.

    Attributes:
        summary: one sentence for the user.
        trace: for a bug report.
        expected: False for a bug.
    """

    summary: str
    trace: str
    expected: bool


class MessagesModel(QObject):
    """The log, and what is worth a notification.

    Signals:
        logged(Message): a line for the log.
        notified(Message): the same, and worth showing over the window.
    """

    logged = Signal(object)
    notified = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._messages: deque[Message] = deque(maxlen=KEPT_MESSAGES)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The last messages, oldest first."""
        return tuple(self._messages)

    def log(self, text: str, level: Level = "info", detail: str = "", topic: str = "log") -> None:
        """Put a line into the log only."""
        self._add(text, level, detail, topic)

    def notify(
        self, text: str, level: Level = "info", detail: str = "", topic: str = "window"
    ) -> None:
        """Show a sentence over the window, and log it."""
        self.notified.emit(self._add(text, level, detail, topic))

    def report(self, failure: Failure) -> None:
        """Show why work failed, with the trace where it is a bug."""
        self.notify(failure.summary, "error", "" if failure.expected else failure.trace)

    def _add(self, text: str, level: Level, detail: str, topic: str) -> Message:
        message = Message(text, level, detail, time.time(), topic)
        self._messages.append(message)
        self.logged.emit(message)
        return message
