"""The commands.  Each module has ``add_parser(commands)`` and ``run(arguments, shell)``."""
