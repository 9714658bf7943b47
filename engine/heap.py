"""The memory that the C library keeps for this process after it was freed; glibc's, on Linux."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3  # M_MMAP_THRESHOLD of <malloc.h>
_APART_BYTES: Final = 256 * 1024


def return_freed_memory() -> None:
    """Give what was freed back to the system.

    glibc's heap returns only what lies at its end, and the small arrays of kept images lie between
    the large ones that describing needs for a moment: without this a session grew by seven times
    what it kept.  Other systems' heaps need no such call.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def keep_large_arrays_apart() -> None:
    """From now on give arrays of more than 256 KiB back to the system as they are freed.

    glibc takes arrays up to the size of the largest that was ever freed (at most 32 MiB) from its
    heap, where small ones that stay come to lie between them: over hundreds of images the heap
    grows.  Asking the system for each large array costs a little time, so a window, whose answers
    take milliseconds, does better without.
    """
    tune = _of_glibc("mallopt")
    if tune is not None:
        tune(_MMAP_THRESHOLD, _APART_BYTES)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the C library, if it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None
