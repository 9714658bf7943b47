"""The command line: one module a command, and nothing heavy loaded before it is needed."""

STOPPED = 130
"""Exit code of what Ctrl-C or SIGTERM ended, as shells have it."""
