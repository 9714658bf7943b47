"""Large arrays go back to the system as they are freed."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from engine.heap import keep_large_arrays_apart, return_freed_memory

class Info(ctypes.Structure):
    # Of struct mallinfo2: hblkhd is the memory that lies apart.
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost",
    )]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Info
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "apart":
    keep_large_arrays_apart()
library.free(library.malloc(16 << 20))  # glibc learns that such arrays come and go
before = library.mallinfo2().hblkhd
kept = library.malloc(8 << 20)
print(library.mallinfo2().hblkhd - before >= 8 << 20)
library.free(kept)
return_freed_memory()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
@pytest.mark.parametrize(("how", "apart"), [("apart", "True"), ("as it is", "False")])
def test_a_large_array_lies_apart_from_the_heap_once_that_was_asked_for(how: str, apart: str):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False
    )
    if "mallinfo2" in done.stderr:
        pytest.skip("a C library without mallinfo2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == apart
