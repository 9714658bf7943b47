"""Loading large libraries in less time, and without holding up what else the process does.

Nothing slow is imported here: the command line and the window begin with it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Final

logger = logging.getLogger(__name__)

# Below each package's folder, in order of dependence; the rest follows from these.
_LIBRARIES: Final = {
    "cv2": ("cv2.abi3.so",),
    "torch": (
        "lib/libc10.so",
        "lib/libtorch_cpu.so",
        "lib/libtorch_cuda.so",
        "lib/libtorch.so",
        "lib/libtorch_python.so",
    ),
}


def link_ahead() -> None:
    """Let the dynamic linker read torch's and OpenCV's libraries while Python continues.

    An import holds the interpreter lock while the linker reads hundreds of megabytes.  A *foreign
    call* of ``dlopen`` releases the lock, and the import afterwards finds the libraries loaded.
    Call it from a thread that may wait; on systems other than Linux it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    from importlib.util import find_spec

    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    for package, names in _LIBRARIES.items():
        spec = None if package in sys.modules else find_spec(package)
        if spec is None or spec.origin is None:
            continue
        folder = os.path.dirname(spec.origin)  # noqa: PTH120 - pathlib takes time to load
        for name in names:
            library = os.path.join(folder, name)  # noqa: PTH118
            if os.path.exists(library) and not dlopen(  # noqa: PTH110
                os.fsencode(library), os.RTLD_LAZY
            ):
                logger.info("%s was not linked ahead", library)


def link_in_background() -> threading.Thread:
    """Run :func:`link_ahead` in a thread of its own; the process waits for it when it ends."""
    thread = threading.Thread(target=link_ahead, name="link ahead")
    thread.start()
    return thread


@contextlib.contextmanager
def loading(library: str) -> Iterator[None]:
    """Inside the block, import a large library and what builds on it without collecting garbage.

    Hundreds of thousands of objects come and stay: while they are made, Python's collector would
    look through them again and again, and later on with each full collection, as well as when the
    process ends.  What has been made by the end of the block is never looked through again.

    Args:
        library: the name of its package.  Once it is loaded, the block does nothing special.
    """
    if library in sys.modules:
        yield
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collects:
            gc.enable()
