"""Descriptor Space's engine: dense descriptors, matching and measuring, without any window.

Start reading at :mod:`engine.api`, the only door for the window and the command line.
"""

import os

# Read by torch when it first allocates: tensors of 2 MB and more lie in large pages, where Linux
# has them on request.  Describing takes a tenth less, as fewer pages are to be cleared and mapped.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
