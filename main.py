"""Descriptor Space: opens the window without arguments, or runs a command."""

import sys

from descgui.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
