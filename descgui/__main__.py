"""The installed command, ``python -m descgui`` and ``main.py``: the window or one piece of work."""

from __future__ import annotations

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
        program="python -m descgui" if program == "__main__.py" else program,
    )


def _open_window(options: ViewOptions) -> int:
    from descgui.app import run_window

    return run_window(options)


if __name__ == "__main__":
    sys.exit(main())
