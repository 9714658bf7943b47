"""Loading torch without stalling the window."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import os
import sys
from pathlib import Path

from engine.api import JobContext, Progress

logger = logging.getLogger(__name__)

# In order of dependence; the rest follows from these.
_LIBRARIES = (
    "libc10.so",
    "libtorch_cpu.so",
    "libtorch_cuda.so",
    "libtorch.so",
    "libtorch_python.so",
)
SWITCH_INTERVAL_S = 0.0005


def load_torch(context: JobContext) -> None:
    """Import torch and the engine's session in a worker thread.

    An ordinary import holds the interpreter lock while the dynamic linker reads hundreds of
    megabytes, which freezes the window for half a second.  A *foreign call* of ``dlopen`` releases
    the lock, and the import afterwards finds the libraries loaded.
    """
    context.emit(Progress("Loading PyTorch", 0, 2))
    if sys.platform.startswith("linux"):
        link_ahead()
    # The window's thread waits at most this long for the lock while modules execute.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        context.cancel.check()
        importlib.import_module("torch")
        context.emit(Progress("Loading PyTorch", 1, 2))
        context.cancel.check()
        importlib.import_module("engine.inspection.session")
        importlib.import_module("engine.descriptors.builtin")
    finally:
        sys.setswitchinterval(interval_s)
    context.emit(Progress("Loading PyTorch", 2, 2))


def link_ahead() -> None:
    """Let the dynamic linker read torch's libraries while the interpreter goes on."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None or "torch" in sys.modules:
        return
    folder = Path(spec.origin).parent / "lib"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    for name in _LIBRARIES:
        library = folder / name
        if library.exists() and not dlopen(os.fsencode(library), os.RTLD_LAZY):
            logger.info("%s was not linked ahead", library)
