"""Loading torch without stalling the window."""

from __future__ import annotations

import importlib
import sys

from engine import api
from engine.api import JobContext, Progress, Stage

SWITCH_INTERVAL_S = 0.0005


def load_torch(context: JobContext) -> None:
    """Import torch and the engine's session in a worker thread."""
    context.emit(Progress(Stage.LOADING_TORCH, 0, 2))
    api.link_ahead()
    # The window's thread waits at most this long for the lock while modules execute.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with api.loading("torch"):
            context.cancel.check()
            importlib.import_module("torch")
            context.emit(Progress(Stage.LOADING_TORCH, 1, 2))
            context.cancel.check()
            importlib.import_module("engine.inspection.session")
            importlib.import_module("engine.descriptors.builtin")
    finally:
        sys.setswitchinterval(interval_s)
    context.emit(Progress(Stage.LOADING_TORCH, 2, 2))
