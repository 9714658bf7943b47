"""The installed command, ``python -m descgui`` and ``main.py``: the window or one piece of work."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.run import main as run_command_line

if TYPE_CHECKING:
    from engine.api import ViewOptions


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; Qt is loaded only when a window opens.

    Args:
        words: the arguments; None takes the process's own.

    Returns:
        The exit code: 0 done, 1 refused or failed, 130 stopped.
    """
    program = Path(sys.argv[0]).name
    return run_command_line(
        sys.argv[1:] if words is None else words,
        open_window=_open_window,
        draw_pdf=_draw_pdf,
        program="python -m descgui" if program == "__main__.py" else program,
    )


def _open_window(options: ViewOptions) -> int:
    from descgui.app import run_window

    return run_window(options)


def _draw_pdf(html: str, out: Path) -> None:
    """Draw a report's HTML for paper in a process of its own, so that this one stays without Qt."""
    import subprocess

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
