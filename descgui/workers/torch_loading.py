"""Loading torch without stalling the window."""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import logging
import os
import sys
from pathlib import Path

from engine.api import JobContext, Progress, Stage

logger = logging.getLogger(__name__)

# Below each package's folder, in order of dependence; the rest follows from these.
_LIBRARIES = {
    "cv2": ("cv2.abi3.so",),
    "torch": (
        "lib/libc10.so",
        "lib/libtorch_cpu.so",
        "lib/libtorch_cuda.so",
        "lib/libtorch.so",
        "lib/libtorch_python.so",
    ),
}
SWITCH_INTERVAL_S = 0.0005


def load_torch(context: JobContext) -> None:
    """Import torch and the engine's session in a worker thread.

    An ordinary import holds the interpreter lock while the dynamic linker reads hundreds of
    megabytes, which freezes the window for half a second.  A *foreign call* of ``dlopen`` releases
    the lock, and the import afterwards finds the libraries loaded.
    """
    context.emit(Progress(Stage.LOADING_TORCH, 0, 2))
    if sys.platform.startswith("linux"):
        link_ahead()
    # The window's thread waits at most this long for the lock while modules execute.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        context.cancel.check()
        importlib.import_module("torch")
        context.emit(Progress(Stage.LOADING_TORCH, 1, 2))
        context.cancel.check()
        importlib.import_module("engine.inspection.session")
        importlib.import_module("engine.descriptors.builtin")
        # It stays: the collector would search it on the window's thread, for 0.1 s each time.
        gc.freeze()
    finally:
        sys.setswitchinterval(interval_s)
    context.emit(Progress(Stage.LOADING_TORCH, 2, 2))


def link_ahead() -> None:
    """Let the dynamic linker read torch's and OpenCV's libraries while Python continues."""
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    for package, names in _LIBRARIES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or package in sys.modules:
            continue
        for name in names:
            library = Path(spec.origin).parent / name
            if library.exists() and not dlopen(os.fsencode(library), os.RTLD_LAZY):
                logger.info("%s was not linked ahead", library)
