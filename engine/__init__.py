"""Descriptor Space's engine: dense descriptors, matching and measuring, without any window.

Start reading at :mod:`engine.api`, the only door for the window and the command line.
"""

__version__ = "0.1.0"
