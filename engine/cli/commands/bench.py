"""``bench``: measure the figures of docs/PERFORMANCE.md."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import engine
from engine.cli.command import Command, Shell, options_from
from engine.config import option
from engine.errors import DescSpaceError
from engine.jobs.command_line import option_words


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure."""

    only: str | None = option(
        None, help="only these; --list shows the names", metavar="NAME,…", group="what to measure"
    )
    device: str | None = option(
        None,
        help="describing, nearest neighbours, training and mining on cpu, cuda, cuda:0, … "
        "(instead of the usual ones)",
        metavar="NAME",
    )
    list: bool = option(False, help="list what can be measured")
    runs: int | None = option(None, help="repetitions of each measurement (default: 4)", low=1)
    json: Path | None = option(None, help="write the figures to this file, too")
    check: bool = option(False, help="fail when a figure misses its target")
    against: Path | None = option(
        None, help="fail when a ratio is 20 % worse than in this file, which --record wrote"
    )
    record: Path | None = option(None, help="add the figures to those recorded in this file")
    install_peers: bool = option(
        False, help="make the environment of the libraries that are compared with, and end"
    )


def run(arguments: Namespace, shell: Shell) -> int:
    """Run the benchmarks in a process of their own, away from what this one has loaded."""
    checkout = Path(engine.__file__).resolve().parent.parent
    if not (checkout / "benchmarks" / "__main__.py").is_file():
        raise DescSpaceError("The benchmarks are part of the source tree, not of an installation.")
    options = options_from(arguments, BenchOptions)
    files = {name: getattr(options, name) for name in ("json", "against", "record")}
    options = replace(
        options, **{name: file.absolute() for name, file in files.items() if file is not None}
    )
    command = [sys.executable, "-m", "benchmarks", *option_words(options)]
    paths = [str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    shell.sink.close()
    done = subprocess.run(command, env=environment, stdout=shell.out, check=False)
    shell.cancel.check()
    return 0 if done.returncode == 0 else 1


COMMAND = Command(
    usage="[--only NAME,…] [--json FILE] [option …]",
    examples=("bench --only start,hover", "bench --json figures.json"),
    options=(BenchOptions,),
    run=run,
)
