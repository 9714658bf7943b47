"""Everything that is said or goes wrong arrives in the file and in the panel, and nowhere loops."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QThread, qCritical, qInstallMessageHandler, qWarning
from pytestqt.qtbot import QtBot

from descgui.logs import LOG_NAME, CrashReport, Logs, install
from descgui.models.messages import Message, MessagesModel
from engine.api import ConfigError
from engine.progress import tell_choice


class Receiver(QObject):
    """Stands in for the window: takes reports and records the calling thread."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[CrashReport] = []
        self.threads: list[QThread] = []

    def take(self, report: CrashReport) -> None:
        self.reports.append(report)
        self.threads.append(QThread.currentThread())


@pytest.fixture
def messages(qapp: object) -> MessagesModel:
    return MessagesModel()


@pytest.fixture
def logs(messages: MessagesModel, tmp_path: Path) -> Iterator[Logs]:
    logs = install(messages, tmp_path / "log")
    yield logs
    logs.uninstall()


def wait_for(qtbot: QtBot, messages: MessagesModel, part: str) -> Message:
    def found() -> list[Message]:
        return [message for message in messages.messages if part in message.text]

    qtbot.waitUntil(lambda: bool(found()))
    return found()[0]


def in_file(logs: Logs) -> str:
    return logs.path.read_text(encoding="utf-8")


def raise_into_hook(error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        sys.excepthook(*sys.exc_info())


def test_a_log_record_reaches_the_file_and_the_panel(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    logging.getLogger("engine.images").warning("a grüne %s", "photo")
    message = wait_for(qtbot, messages, "a grüne photo")
    assert (message.level, message.topic) == ("warning", "engine.images")
    assert "a grüne photo" in in_file(logs)


def test_what_a_reader_chose_is_shown_over_the_window(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    logging.getLogger("engine.images").warning("for the log alone")
    with qtbot.waitSignal(messages.notified) as notified:
        tell_choice("h.npz: holds several 3 × 3 matrices (H, K); H is used.")
    assert notified.args[0].text == "h.npz: holds several 3 × 3 matrices (H, K); H is used."
    assert notified.args[0].level == "warning"
    assert "H is used" in in_file(logs)


def test_a_record_with_a_trace_keeps_it_behind_the_sentence(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("descgui.x").exception("division went wrong")
    message = wait_for(qtbot, messages, "division went wrong")
    assert message.text == "division went wrong"
    assert "ZeroDivisionError" in message.detail


def test_other_packages_are_heard_from_warnings_up_only(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    logging.getLogger("PIL.PngImagePlugin").info("chatter")
    logging.getLogger("PIL.PngImagePlugin").warning("real trouble")
    wait_for(qtbot, messages, "real trouble")
    assert all("chatter" not in message.text for message in messages.messages)
    assert "chatter" not in in_file(logs)


def test_records_of_other_threads_are_shown_on_the_window_s_thread(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    seen: list[int] = []
    messages.logged.connect(lambda _message: seen.append(threading.get_ident()))
    thread = threading.Thread(target=logging.getLogger("engine").error, args=("from afar",))
    thread.start()
    thread.join()
    wait_for(qtbot, messages, "from afar")
    assert set(seen) == {threading.get_ident()}


def test_qt_s_own_messages_are_led_in(qtbot: QtBot, logs: Logs, messages: MessagesModel):
    qWarning("a crooked timer")
    qCritical("a broken painter")
    assert wait_for(qtbot, messages, "a crooked timer").level == "warning"
    assert wait_for(qtbot, messages, "a broken painter").level == "error"
    assert "a broken painter" in in_file(logs)


def test_a_message_said_while_one_is_shown_goes_to_the_file_and_ends_there(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    """A panel that warns whenever it draws a line would otherwise feed itself for ever."""

    def echo(message: Message) -> None:
        logging.getLogger("descgui").warning("drawing %s", message.text)
        qWarning("while drawing")

    messages.logged.connect(echo)
    logging.getLogger("descgui").warning("first")
    wait_for(qtbot, messages, "first")
    logging.getLogger("engine").warning("last")
    wait_for(qtbot, messages, "last")
    assert [message.text for message in messages.messages] == ["first", "last"]
    assert "drawing first" in in_file(logs)
    assert "while drawing" in in_file(logs)


def test_what_the_window_says_itself_is_kept_in_the_file(logs: Logs, messages: MessagesModel):
    messages.notify("The été file is damaged.", "error", "its trace")
    assert "The été file is damaged." in in_file(logs)
    assert "its trace" in in_file(logs)


def test_an_uncaught_exception_is_reported_with_its_trace(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    receiver = Receiver()
    logs.crashed.connect(receiver.take)
    raise_into_hook(ValueError("two\nlines"))
    qtbot.waitUntil(lambda: len(receiver.reports) == 1)
    report = receiver.reports[0]
    assert report.summary == "ValueError: two lines"
    assert "raise_into_hook" in report.trace
    assert report.thread == threading.current_thread().name
    assert wait_for(qtbot, messages, "ValueError").level == "error"
    assert "raise_into_hook" in in_file(logs)


def test_an_exception_in_another_thread_is_reported_on_the_window_s_thread(
    qtbot: QtBot, logs: Logs
):
    receiver = Receiver()
    logs.crashed.connect(receiver.take)

    def fail() -> None:
        raise RuntimeError("far away")

    thread = threading.Thread(target=fail, name="worker 7")
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: len(receiver.reports) == 1)
    assert receiver.reports[0].thread == "worker 7"
    assert receiver.threads == [receiver.thread()]


def test_a_thread_that_ends_by_sys_exit_is_not_reported(logs: Logs, messages: MessagesModel):
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()
    assert in_file(logs) == ""


def test_an_error_meant_for_the_person_is_said_and_not_called_a_fault(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    receiver = Receiver()
    logs.crashed.connect(receiver.take)
    with qtbot.waitSignal(messages.notified) as notified:
        raise_into_hook(ConfigError("theme", "is blue"))
    assert notified.args[0].text == "theme: is blue."
    assert "ConfigError" in notified.args[0].detail
    assert receiver.reports == []


def test_a_fault_in_the_report_itself_does_not_call_itself(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
):
    class HopelessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    calls = []
    monkeypatch.setattr(logs, "_old_hooks", (lambda *caught: calls.append(caught), None, None))
    raise_into_hook(HopelessError())
    assert len(calls) == 1


def test_ctrl_c_goes_the_usual_way(logs: Logs, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(logs, "_old_hooks", (lambda *caught: calls.append(caught[0]), None, None))
    raise_into_hook(KeyboardInterrupt())
    assert calls == [KeyboardInterrupt]


def test_python_s_warnings_and_ignored_exceptions_are_kept(
    qtbot: QtBot, logs: Logs, messages: MessagesModel
):
    warnings.showwarning("old habit", UserWarning, "x.py", 3)

    class Sticky:
        def __del__(self) -> None:
            raise ValueError("at the very end")

    Sticky()
    gc.collect()
    wait_for(qtbot, messages, "old habit")
    assert "at the very end" in in_file(logs)


def test_the_file_is_rolled_over_before_it_grows_without_bound(logs: Logs):
    for _ in range(60):
        logging.getLogger("engine").info("x" * 50_000)
    files = sorted(logs.path.parent.iterdir())
    assert len(files) > 2
    assert all(file.stat().st_size <= 1_000_000 for file in files)


def test_without_a_folder_to_write_in_the_panel_still_works(
    qtbot: QtBot, messages: MessagesModel, tmp_path: Path
):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    logs = install(messages, blocked)
    try:
        assert "No log file is written" in messages.messages[0].text
        logging.getLogger("engine").info("still heard")
        wait_for(qtbot, messages, "still heard")
    finally:
        logs.uninstall()


def test_uninstalling_puts_everything_back(messages: MessagesModel, tmp_path: Path):
    def state() -> tuple[object, ...]:
        root = logging.getLogger()
        qt_handler = qInstallMessageHandler(None)
        qInstallMessageHandler(qt_handler)
        return (
            sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning,
            tuple(root.handlers), root.level, qt_handler,
        )  # fmt: skip

    before = state()
    logs = install(messages, tmp_path)
    assert state() != before
    logs.uninstall()
    assert state() == before
    logging.getLogger("engine").error("not heard")
    assert messages.messages == ()
    assert "not heard" not in (tmp_path / LOG_NAME).read_text()
