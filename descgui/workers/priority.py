"""Long work that yields the processor to work that the user waits for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from PySide6.QtCore import QThread

NICENESS = 15


def leave_room() -> None:
    """Let this thread take only the time that others leave, and so the threads it begins.

    Call it in a thread that ends with its work: an ordinary user cannot raise the priority again.
    On Linux each thread has a niceness of its own, which those of OpenMP inherit; elsewhere Qt
    lowers the priority of this thread alone.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):  # a sandbox may refuse it; the work continues
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    else:
        QThread.currentThread().setPriority(QThread.Priority.LowestPriority)
