"""From the words of a command line to an exit code: 0 done, 1 refused or failed, 130 stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from engine.cli import STOPPED
from engine.cli.command import DrawPdf, OpenWindow, Shell
from engine.cli.parser import build_parser, parse
from engine.cli.terminal import TerminalSink
from engine.errors import DescSpaceError, JobCancelled
from engine.files import stdout_taken
from engine.jobs.command_line import ViewOptions
from engine.loading import link_in_background
from engine.progress import CancelToken

DONE, FAILED = 0, 1
_STDOUT, _STDERR = 1, 2


def main(
    words: Sequence[str],
    *,
    open_window: OpenWindow,
    draw_pdf: DrawPdf | None = None,
    program: str = "main.py",
) -> int:
    """Run one command line.

    Args:
        words: the arguments after the program's name.
        open_window: shows the window; given by the caller, since the engine knows no window.
        draw_pdf: draws a report as PDF, for the same reason.
        program: the name that the program was called by.

    Returns:
        The exit code.
    """
    _make_streams_safe()
    debug = "--debug" in words
    try:
        try:
            arguments = parse(build_parser(program), words)
        except SystemExit as asked:  # help or version, printed already
            sys.stdout.flush()
            return DONE if asked.code in (0, None) else FAILED
        if arguments.needs_torch:
            link_in_background()
        cancel = CancelToken()
        sink = TerminalSink(quiet=arguments.quiet)
        with (
            contextlib.closing(sink),
            _interrupts_cancel(cancel, sink),
            cancel.everywhere(),
            _results(arguments.options) as out,
        ):
            shell = Shell(sink, cancel, open_window, draw_pdf, out)
            code: int = arguments.run(arguments, shell)
            out.flush()
    except (JobCancelled, KeyboardInterrupt):
        return _say("Stopped.", STOPPED)
    except DescSpaceError as error:
        if debug:
            _print_trace(error)
        return _say(f"{program}: {_one_line(error)}", FAILED)
    except BrokenPipeError:
        # The program that read our output ended first (``… | head``): not a failure.  What is
        # still buffered would fail again when Python closes the stream.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except ModuleNotFoundError as error:
        fault = _plugin_fault(error)
        if fault is not None:
            return _say(f"{program}: {_one_line(fault)}", FAILED)
        if error.name is None or error.name.partition(".")[0] in ("engine", "descgui"):
            return _report_bug(error, program, debug)
        return _say(
            f"{program}: the package {error.name!r} is not installed; "
            "install this program again, or see what is missing with 'doctor'.",
            FAILED,
        )
    except Exception as error:
        fault = _plugin_fault(error)
        if fault is None:
            return _report_bug(error, program, debug)
        if debug:
            _print_trace(error)
        return _say(f"{program}: {_one_line(fault)}", FAILED)
    return code


def _results(options: tuple[type, ...]) -> contextlib.AbstractContextManager[TextIO]:
    """Where the results of a command go; a window has none, and prints as any program does."""
    has_window = not options or ViewOptions in options
    return contextlib.nullcontext(sys.stdout) if has_window else results_apart()


@contextlib.contextmanager
def results_apart() -> Iterator[TextIO]:
    """Inside the block stdout is stderr; gives the real one, for results alone.

    A program that reads results must not find a line of a plugin or a library among them, whether
    it was printed by Python, by C code, or by a process that was started.
    """
    real = sys.stdout
    with contextlib.ExitStack() as stack:
        stack.enter_context(stdout_taken())
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        kept = _moved_aside(real)
        if kept is None:
            yield real
            return
        # As the real one was made, and closed whatever happened to its reader.
        results = open(kept, "w", encoding=real.encoding, errors=real.errors)  # noqa: PTH123, SIM115
        try:
            yield results
            results.flush()
        finally:
            os.dup2(kept, _STDOUT)
            with contextlib.suppress(OSError):
                results.close()


def _moved_aside(stream: TextIO) -> int | None:
    """Another number for a stream's file, whose own then leads to stderr; None without a file."""
    try:
        if stream.fileno() != _STDOUT:
            return None
        stream.flush()
        kept = os.dup(_STDOUT)
        os.dup2(_STDERR, _STDOUT)
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        return None
    return kept


def _plugin_fault(error: Exception) -> DescSpaceError | None:
    """A sentence with file and line where an error arose in a plugin."""
    plugins = sys.modules.get("engine.descriptors.plugins")  # without it none was loaded
    found: DescSpaceError | None = plugins.plugin_fault(error) if plugins else None
    return found


def _make_streams_safe() -> None:
    """A terminal of another encoding shows a replacement instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _interrupts_cancel(cancel: CancelToken, sink: TerminalSink) -> Iterator[None]:
    """Inside the block Ctrl-C and SIGTERM ask the work to stop; a second Ctrl-C ends the process.

    Job queues and system shutdowns send SIGTERM; torchrun sends it too, after a Ctrl-C that its
    processes have seen themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and cancel.cancelled:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        cancel.cancel()
        sink.note("Stopping; press Ctrl-C again to quit at once.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _one_line(error: Exception) -> str:
    """An error's text on one line, whatever a foreign library put into it."""
    return " ".join(str(error).split())


def _say(sentence: str, code: int) -> int:
    # stderr may be closed, too.
    with contextlib.suppress(OSError, ValueError):
        print(sentence, file=sys.stderr, flush=True)
    return code


def _report_bug(error: Exception, program: str, debug: bool) -> int:
    """Anything but a DescSpaceError is a fault of the program: save its trace for a report."""
    summary = f"{program}: unexpected {type(error).__name__}: {_one_line(error)}"
    if debug:
        _print_trace(error)
        return _say(f"{summary}.", FAILED)
    path = _write_trace(error)
    where = f"the trace is in {path}" if path else "run it again with --debug to see the trace"
    return _say(f"{summary}; this is a fault of the program, {where}.", FAILED)


def _print_trace(error: Exception) -> None:
    import traceback

    traceback.print_exception(error)


def _write_trace(error: Exception) -> Path | None:
    import tempfile
    import traceback

    from engine.paths import log_dir, stamped

    text = f"{sys.argv}\n{''.join(traceback.format_exception(error))}"
    name = f"{stamped('fault')}-{os.getpid()}.txt"
    for folder in (log_dir(), Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return path
    return None
