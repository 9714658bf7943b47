"""The command line: one module a command, and nothing heavy loaded before it is needed."""
