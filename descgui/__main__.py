"""The installed command, ``python -m descgui`` and ``main.py``: the window or one piece of work."""

from __future__ import annotations

import gc
import os
import signal
import sys

# Nothing slow stands above the handlers that main() installs.
from engine.cli import STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engine.api import ViewOptions

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; Qt is loaded only when a window opens.

    Args:
        words: the arguments; None takes the process's own.

    Returns:
        The exit code: 0 done, 1 refused or failed, 130 stopped.
    """
    own_process = words is None
    if own_process:
        _stop_on_signals()
    from engine.cli.run import main as run_command_line

    program = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib takes time to load
    code = run_command_line(
        sys.argv[1:] if words is None else words,
        open_window=_open_window,
        draw_pdf=_draw_pdf,
        program="python -m descgui" if program == "__main__.py" else program,
    )
    if own_process:
        gc.freeze()  # all objects go now: to look for garbage among them takes Python 0.2 s
        # All is done; what Python still tears down must not change the exit code.
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return code


def _stop_on_signals() -> None:
    """End at once on Ctrl-C and SIGTERM: while modules load, nothing has to be put in order."""

    def stop(*_: object) -> None:
        sys.stderr.write("Stopped.\n")
        sys.stderr.flush()
        os._exit(STOPPED)

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)


def _open_window(options: ViewOptions) -> int:
    _stop_on_signals()  # until the window is there and ends in order
    from descgui.app import run_window

    return run_window(options)


def _draw_pdf(html: str, out: Path) -> None:
    """Draw a report's HTML for paper in a process of its own, so that this one stays without Qt."""
    import subprocess
    from pathlib import Path

    from engine.api import DescSpaceError

    # Found from wherever the person is: this package may not be installed.
    folders = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "descgui.report_pdf", str(out)],
        input=html,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, folders)),
            "PYTHONUTF8": "1",
            "QT_QPA_PLATFORM": "offscreen",
        },
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise DescSpaceError(lines[-1] if lines else f"{out}: the PDF could not be drawn.")


if __name__ == "__main__":
    sys.exit(main())
