"""From words to an exit code: what each kind of end looks like."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.cli.command import OpenWindow, Shell
from engine.cli.run import _interrupts_cancel, main
from engine.cli.terminal import TerminalSink
from engine.errors import DescSpaceError, JobCancelled
from engine.jobs.command_line import ViewOptions
from engine.progress import CancelToken, Metric, Note, Progress, Saved

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def off_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")


def never(options: ViewOptions) -> int:
    pytest.fail("no window was asked for")


def raising(error: BaseException) -> OpenWindow:
    def open_window(options: ViewOptions) -> int:
        raise error

    return open_window


def test_without_a_command_the_window_opens_and_its_code_is_returned():
    asked: list[ViewOptions] = []

    def open_window(options: ViewOptions) -> int:
        asked.append(options)
        return 7

    assert main([], open_window=open_window) == 7
    assert asked == [ViewOptions()]


def test_without_a_display_no_window_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if sys.platform != "linux":
        pytest.skip("other systems always have a display")
    for variable in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    assert main([], open_window=never) == 1
    said = capsys.readouterr().err
    assert "no display" in said
    assert "'match', 'describe'" in said
    assert said.count("\n") == 1


def test_a_screenshot_is_made_off_screen_where_there_is_no_display(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    if sys.platform != "linux":
        pytest.skip("other systems always have a display")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "")
    words = ["view", "--screenshot", str(tmp_path / "a.png")]
    platforms: list[str | None] = []

    def open_window(options: ViewOptions) -> int:
        platforms.append(os.environ.get("QT_QPA_PLATFORM"))
        return 0

    assert main(words, open_window=open_window) == 0
    assert platforms == ["offscreen"]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["match", "--help"]])
def test_what_is_only_printed_ends_with_0(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(words, open_window=never) == 0
    assert capsys.readouterr().out


def test_a_refusal_is_one_sentence_on_stderr_and_1(capsys: pytest.CaptureFixture[str]):
    error = DescSpaceError("a.png: cannot be read\n  because of two lines.")
    assert main([], open_window=raising(error), program="prog") == 1
    captured = capsys.readouterr()
    assert captured.err == "prog: a.png: cannot be read because of two lines.\n"
    assert captured.out == ""


def test_wrong_usage_is_1_and_not_argparse_s_2(capsys: pytest.CaptureFixture[str]):
    assert main(["match", "--nonsense"], open_window=never) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("error", [JobCancelled(), KeyboardInterrupt()])
def test_stopped_work_is_130(error: BaseException, capsys: pytest.CaptureFixture[str]):
    assert main([], open_window=raising(error)) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_a_fault_of_the_program_is_one_sentence_and_a_file_with_the_trace(
    fresh_home: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([], open_window=raising(ValueError("broken\nbadly"))) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unexpected ValueError: broken badly" in said
    (path,) = (fresh_home / "log").iterdir()
    assert str(path) in said
    assert "open_window" in path.read_text(encoding="utf-8")


def test_a_fault_is_told_where_no_log_can_be_written(
    fresh_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (fresh_home / "log").touch()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(fresh_home / "log" / "tmp"))
    assert main([], open_window=raising(ValueError("broken"))) == 1
    assert "--debug" in capsys.readouterr().err


def test_debug_shows_the_trace_of_a_fault_and_of_a_refusal(capsys: pytest.CaptureFixture[str]):
    for error in (ValueError("broken"), DescSpaceError("refused.")):
        assert main(["--debug"], open_window=raising(error)) == 1
        assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_missing_package_is_named(capsys: pytest.CaptureFixture[str]):
    error = ModuleNotFoundError("No module named 'torch._C'", name="torch._C")
    assert main([], open_window=raising(error)) == 1
    assert "the package 'torch._C' is not installed" in capsys.readouterr().err


def leave_early(code: str) -> tuple[bytes, bytes, int]:
    """Read one line of a program's output and leave: that line, its errors and its exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        process.stdout.close()
        return line, process.stderr.read(), process.wait(timeout=60)


def test_a_reader_that_left_early_is_no_failure():
    """The output is larger than a pipe's buffer, and ``head`` reads one line of it."""
    code = (
        "import sys\n"
        "from engine.cli.run import main\n"
        "def window(options):\n"
        "    print('x' * 100 + '\\n' * 100_000, flush=True)\n"
        "    return 0\n"
        "sys.exit(main([], open_window=window))"
    )
    assert leave_early(code)[1:] == (b"", 0)


def test_a_reader_of_results_that_left_early_is_no_failure():
    code = (
        "import sys\n"
        "from argparse import Namespace\n"
        "from engine.cli import run\n"
        "def command(arguments, shell):\n"
        "    print('beside')\n"
        "    shell.print('x' * 100 + '\\n' * 100_000)\n"
        "    return 0\n"
        "asked = Namespace(run=command, quiet=False, options=(int,), needs_torch=False)\n"
        "run.parse = lambda parser, words: asked\n"
        "sys.exit(run.main([], open_window=None))"
    )
    assert leave_early(code) == (b"x" * 100 + b"\n", b"beside\n", 0)


def test_a_terminal_of_another_encoding_shows_a_stand_in(monkeypatch: pytest.MonkeyPatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stderr", stream)
    assert main([], open_window=raising(DescSpaceError("日本.png: no.")), program="p") == 1
    stream.seek(0)
    assert stream.read() == "p: \\u65e5\\u672c.png: no.\n"


def test_the_first_interrupt_asks_and_leaves_the_work_to_end_itself(
    capsys: pytest.CaptureFixture[str],
):
    cancel = CancelToken()
    before = signal.getsignal(signal.SIGINT)
    with _interrupts_cancel(cancel, TerminalSink()):
        signal.raise_signal(signal.SIGINT)
        assert cancel.cancelled
    assert signal.getsignal(signal.SIGINT) is before
    assert "Stopping" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot interrupt itself there")
def test_the_second_interrupt_ends_the_process():
    code = (
        "import signal\n"
        "from engine.cli.run import _interrupts_cancel\n"
        "from engine.cli.terminal import TerminalSink\n"
        "from engine.progress import CancelToken\n"
        "with _interrupts_cancel(CancelToken(), TerminalSink()):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    print('never', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout == "still here\n"
    assert done.returncode == -signal.SIGINT


def test_interrupts_are_left_alone_on_another_thread():
    """Python takes signals on the main thread only, so the window's threads must not try."""
    ends: list[int] = []
    thread = threading.Thread(target=lambda: ends.append(main([], open_window=lambda options: 3)))
    thread.start()
    thread.join()
    assert ends == [3]


class TestTerminalSink:
    def test_lines_are_printed_for_a_file(self, capsys: pytest.CaptureFixture[str], tmp_path: Path):
        sink = TerminalSink(bar=False)
        sink(Progress("describing", 0, 2))
        sink(Progress("describing", 1, 2))
        sink(Progress("describing", 2, 2))
        sink(Progress("drawing", 0, 1))
        sink(Progress("drawing", 1, 1))
        sink(Progress("drawing", 0, 1))  # of the next small file
        sink(Note("The [CPU] is used."))
        sink(Saved(tmp_path, "matches"))
        sink(Metric(3, {"loss": 0.123456}))
        assert capsys.readouterr().err.splitlines() == [
            "describing: 2 of 2",
            "drawing …",
            "The [CPU] is used.",
            f"Saved matches: {tmp_path}",
            "step 3: loss 0.1235",
        ]

    def test_long_stages_speak_from_time_to_time(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ):
        clock = iter([0.0, 1.0, 2.5, 3.0, 5.0])
        monkeypatch.setattr("time.monotonic", lambda: next(clock))
        sink = TerminalSink(bar=False)
        for done in range(5):
            sink(Progress("reading", done))
        assert capsys.readouterr().err.splitlines() == ["reading: 2", "reading: 4"]

    def test_quiet_leaves_warnings(self, capsys: pytest.CaptureFixture[str], tmp_path: Path):
        sink = TerminalSink(quiet=True, bar=False)
        sink(Progress("describing", 2, 2))
        sink(Note("not this"))
        sink(Saved(tmp_path, "matches"))
        sink(Note("untrained", "warning"))
        sink(Note("untrained", "warning"))  # of the other image of the pair
        assert capsys.readouterr().err == "warning: untrained\n"

    def test_a_bar_is_drawn_and_taken_away(self, capsys: pytest.CaptureFixture[str]):
        sink = TerminalSink(bar=True)
        sink(Progress("describing", 1, 2))
        sink(Note("a [bold]note[/bold]"))
        sink.close()
        sink(Note("after"))
        captured = capsys.readouterr()
        assert "a [bold]note[/bold]" in captured.err
        assert captured.err.endswith("after\n")
        assert captured.out == ""


def test_names_of_files_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]):
    sink = TerminalSink()
    sink(Note("a\x1b[2J.png is left out.", "warning"))
    sink(Saved(Path("b\x07.csv"), "matches"))
    Shell(sink, CancelToken(), lambda _: 0).print("c\x1b]0;x\x07 1\nd\u202e 2")
    shown = capsys.readouterr()
    assert shown.err == "warning: a\\x1b[2J.png is left out.\nSaved matches: b\\x07.csv\n"
    assert shown.out == "c\\x1b]0;x\\x07 1\nd\\u202e 2\n"
