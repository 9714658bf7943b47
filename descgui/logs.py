"""Everything the program says ends up in one place: a rotating file, and the log panel.

Python's logging, Qt's own messages and uncaught exceptions are sent there.  An uncaught exception
is a bug: it is reported with its trace, and the window stays open.  None of this may
fail, call itself, or block: whatever arrives while a message is being delivered goes to the file
alone.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from PySide6.QtCore import (
    QMessageLogContext,
    QObject,
    Qt,
    QtMsgType,
    Signal,
    qInstallMessageHandler,
)

from descgui.models.messages import Level, Message, MessagesModel
from engine.api import CHOICES, DescSpaceError

logger = logging.getLogger(__name__)

LOG_NAME = "descriptor-space.log"
_FILE_BYTES = 1_000_000
_FILES_KEPT = 5
_OURS = ("descgui", "engine", "qt", "main", "__main__")
_FORMAT = "%(asctime)s %(levelname)-8s %(threadName)s %(name)s: %(message)s"
_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}
# The offscreen platform says these of every window; they tell nothing about the program.
_QT_NOISE = ("This plugin does not support propagateSizeHints()",)


@dataclass(frozen=True, slots=True)
class CrashReport:
    """An uncaught exception.

    Attributes:
        summary: its kind and its text, in one line.
        trace: the whole trace.
        thread: where it happened.
        time_s: seconds since the epoch.
    """

    summary: str
    trace: str
    thread: str
    time_s: float


class Logs(QObject):
    """The installed hooks; made by :func:`install`, undone by :meth:`uninstall`.

    Signals:
        crashed(CrashReport): an exception was not caught; always delivered on the window's thread
            if the receiver is one of its objects.
    """

    crashed = Signal(object)
    _recorded = Signal(str, str, str, str)
    _said = Signal(str, str)

    def __init__(self, messages: MessagesModel, log_dir: Path) -> None:
        super().__init__()
        self._messages = messages
        self._busy = threading.local()
        self._delivering = False
        self.path = log_dir / LOG_NAME
        self._file = self._open_file()
        self._panel = _PanelHandler(self)
        self._panel.addFilter(_is_worth_showing)
        self._old_level = logging.getLogger().level
        self._old_hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        # Queued, so that a message said while the panel is drawn does not draw it again.
        queued = Qt.ConnectionType.QueuedConnection
        self._recorded.connect(self._show, queued)
        self._said.connect(self._notify, queued)
        messages.logged.connect(self._write_down)
        self._hook_up()

    def uninstall(self) -> None:
        """Put everything back as it was and close the file."""
        self._messages.logged.disconnect(self._write_down)
        root = logging.getLogger()
        root.removeHandler(self._panel)
        if self._file is not None:
            root.removeHandler(self._file)
            self._file.close()
        root.setLevel(self._old_level)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._old_hooks
        qInstallMessageHandler(self._old_qt_handler)
        warnings.showwarning = self._old_showwarning

    def _open_file(self) -> logging.Handler | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.handlers.RotatingFileHandler(
                self.path, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8"
            )
        except OSError as error:
            self._messages.log(f"No log file is written: {error}.", "warning", topic="log")
            return None
        handler.setFormatter(logging.Formatter(_FORMAT))
        handler.addFilter(_is_worth_showing)
        return handler

    def _hook_up(self) -> None:
        root = logging.getLogger()
        root.setLevel(min(root.level or logging.INFO, logging.INFO))
        root.addHandler(self._panel)
        if self._file is not None:
            root.addHandler(self._file)
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception
        sys.unraisablehook = self._on_unraisable
        self._old_qt_handler = qInstallMessageHandler(self._on_qt_message)
        self._old_showwarning = warnings.showwarning
        warnings.showwarning = _log_warning

    # From anywhere, on any thread -----------------------------------------------------------------

    def pass_on(self, level: Level, text: str, detail: str, topic: str) -> None:
        """Bring a log record to the window's thread; dropped if that is what is being done."""
        if not self._delivering:
            self._recorded.emit(level, text, detail, topic)

    def _on_qt_message(self, kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
        if getattr(self._busy, "qt", False) or text in _QT_NOISE:
            return
        self._busy.qt = True
        try:
            category = context.category or "default"
            name = "qt" if category == "default" else f"qt.{category.removeprefix('qt.')}"
            logging.getLogger(name).log(_QT_LEVELS.get(kind, logging.WARNING), "%s", text)
        finally:
            self._busy.qt = False

    def _on_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
        *,
        thread: str = "",
    ) -> None:
        if not issubclass(kind, Exception) or getattr(self._busy, "crash", False):
            # Ctrl+C ends the program; a fault in here must not call itself.
            self._old_hooks[0](kind, error, trace)
            return
        self._busy.crash = True
        try:
            name = thread or threading.current_thread().name
            lines = "".join(traceback.format_exception(kind, error, trace))
            if isinstance(error, DescSpaceError):
                self._said.emit(str(error), lines)
                return
            summary = " ".join(f"{kind.__name__}: {error}".split())
            self._to_file(logging.CRITICAL, f"{summary}\n{lines}")
            self.pass_on("error", summary, lines, "bug")
            self.crashed.emit(CrashReport(summary, lines, name, time.time()))
        except Exception:  # the last line of defence must hold
            self._old_hooks[0](kind, error, trace)
        finally:
            self._busy.crash = False

    def _on_thread_exception(self, caught: threading.ExceptHookArgs) -> None:
        if caught.exc_type is SystemExit or caught.exc_value is None:
            return
        thread = "" if caught.thread is None else caught.thread.name
        self._on_exception(caught.exc_type, caught.exc_value, caught.exc_traceback, thread=thread)

    def _on_unraisable(self, caught: Any) -> None:
        where = f" in {caught.object!r}" if caught.object is not None else ""
        logger.error(
            "%s%s",
            caught.err_msg or "an exception was ignored",
            where,
            exc_info=(type(caught.exc_value), caught.exc_value, caught.exc_traceback),
        )

    def _to_file(self, level: int, text: str, name: str = "window") -> None:
        if self._file is not None:
            record = logging.LogRecord(name, level, "", 0, "%s", (text,), None)
            self._file.handle(record)

    # On the window's thread -----------------------------------------------------------------------

    def _show(self, level: Level, text: str, detail: str, topic: str) -> None:
        self._delivering = True
        try:
            say = self._messages.notify if topic == CHOICES else self._messages.log
            say(text, level, detail, topic)
        finally:
            self._delivering = False

    def _notify(self, text: str, detail: str) -> None:
        self._messages.notify(text, "error", detail)

    def _write_down(self, message: Message) -> None:
        """Keep in the file what the window says by itself."""
        if self._delivering:
            return
        levels = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
        detail = f"\n{message.detail}" if message.detail else ""
        self._to_file(levels[message.level], message.text + detail, f"window.{message.topic}")


class _PanelHandler(logging.Handler):
    """Hands log records to the window's thread."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.INFO)
        self._logs = logs
        self._trace_formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Split a record into its sentence and its trace, and pass it on."""
        try:
            level: Level = (
                "error"
                if record.levelno >= logging.ERROR
                else "warning"
                if record.levelno >= logging.WARNING
                else "info"
            )
            detail = ""
            if record.exc_info and record.exc_info[0] is not None:
                detail = self._trace_formatter.formatException(record.exc_info)
            self._logs.pass_on(level, record.getMessage(), detail, record.name)
        except Exception:  # a record that cannot be formatted must not stop its caller
            self.handleError(record)


def install(messages: MessagesModel, log_dir: Path) -> Logs:
    """Lead logging, Qt's messages and uncaught exceptions into a file and the log panel.

    Args:
        messages: the model behind the log panel; lives on the calling (the window's) thread.
        log_dir: folder of the rotating files; without it being writable only the panel is fed.

    Returns:
        To be kept; connect its ``crashed`` to a method of the window.
    """
    return Logs(messages, log_dir)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Our own lines from information up, other packages' from warnings up."""
    ours = record.name.partition(".")[0] in _OURS or record.name.startswith("window")
    return record.levelno >= (logging.INFO if ours else logging.WARNING)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001 - the signature is Python's
    line: str | None = None,  # noqa: ARG001
) -> None:
    logging.getLogger("py.warnings").warning(
        "%s: %s (%s:%d)", category.__name__, message, filename, lineno
    )
