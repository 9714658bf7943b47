"""Descriptor Space: without arguments the window, with a command one piece of work."""

import sys

from descgui.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
