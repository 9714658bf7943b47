"""Descriptor Space's engine: dense descriptors, matching and measuring, without any window.

Start reading at :mod:`engine.api`, the only door for the window and the command line.
"""

import os

# Read by torch when it first allocates: tensors of 2 MB and more lie in large pages, where Linux
# has them on request.  Describing takes a tenth less, as fewer pages are to be cleared and mapped.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

SPIN_COUNT = "20000"
"""How often torch's threads look for work before they sleep, where its OpenMP is GNU's.

That of GNU is 300,000, about 15 ms.  Where other programs take the cores, a thread then spins while
the one that it waits for cannot run, and describing an image takes many times as long.
"""
if "OMP_WAIT_POLICY" not in os.environ:  # the user's word for the same
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)

__version__ = "0.1.0"
