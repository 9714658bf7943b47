"""Draw a report as PDF in a process of its own: ``python -m descgui.report_pdf OUT < HTML``.

``HTML`` is a report's HTML for paper.  No display is needed: unless told otherwise, Qt draws
offscreen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

_USAGE = "usage: python -m descgui.report_pdf OUT.pdf < REPORT.html"


def main(words: Sequence[str] | None = None) -> int:
    """Read, draw and write.

    Args:
        words: the arguments; None takes the process's own.

    Returns:
        0 done, 1 refused or failed, with one sentence on stderr.
    """
    words = sys.argv[1:] if words is None else words
    if len(words) != 1:
        return _refuse(_USAGE)
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from engine.api import DescSpaceError

    html = sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        from PySide6.QtGui import QGuiApplication

        from descgui.views.report_pdf import write_report_pdf

        # Kept in a name: fonts live as long as the application does.
        application = QGuiApplication.instance() or QGuiApplication(["report-pdf"])
        pages = write_report_pdf(html, Path(words[0]))
        del application
    except DescSpaceError as error:
        return _refuse(str(error))
    sys.stdout.write(f"{pages}\n")
    return 0


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
