"""``bench``: measure the figures of docs/PERFORMANCE.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import engine
from engine.cli.parser import Parser, Shell, Subparsers, add_command, whole_number
from engine.errors import DescSpaceError


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "bench",
        summary="measure the program on this computer",
        usage="[--only NAME,…] [--json FILE] [option …]",
        examples="bench --only start,hover\nbench --json figures.json",
    )
    group = parser.add_argument_group("what to measure")
    group.add_argument("--only", metavar="NAME,…", help="only these; --list shows the names")
    group.add_argument("--list", action="store_true", help="list what can be measured")
    group.add_argument(
        "--runs",
        type=whole_number(low=1),
        metavar="N",
        help="repetitions of each measurement (default: 5)",
    )
    group.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    group.add_argument("--check", action="store_true", help="fail when a figure misses its target")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Run the benchmarks in a process of their own, away from what this one has loaded."""
    import subprocess

    checkout = Path(engine.__file__).resolve().parent.parent
    if not (checkout / "benchmarks" / "__main__.py").is_file():
        raise DescSpaceError("The benchmarks are part of the source tree, not of an installation.")
    command = [sys.executable, "-m", "benchmarks"]
    for flag, value in (("--only", arguments.only), ("--runs", arguments.runs)):
        if value is not None:
            command.append(f"{flag}={value}")
    if arguments.json is not None:
        command.append(f"--json={arguments.json.absolute()}")
    command += [f"--{name}" for name in ("list", "check") if getattr(arguments, name)]
    paths = [str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    shell.sink.close()
    done = subprocess.run(command, env=environment, check=False)
    shell.cancel.check()
    return 0 if done.returncode == 0 else 1
