"""``demo``: write the sequences that the window opens when it has nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.parser import Parser, Shell, Subparsers, add_command


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "demo",
        summary="write the demo sequences into a folder",
        usage="DIR [option …]",
        examples="demo sequences",
    )
    parser.description = (
        "Write sequences of photographs with known homographies and light changes, in the layout "
        "of\nHPatches. They are made from photographs inside scikit-image: nothing is downloaded."
    )
    group = parser.add_argument_group("where to")
    group.add_argument("folder", type=Path, metavar="DIR", help="folder; made if it is missing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Write the demo."""
    from engine.jobs.demo import DemoJob

    dataset = DemoJob(folder=arguments.folder).run(shell.context())
    shell.sink.close()
    for sequence in dataset.sequences:
        print(sequence.folder)
    shell.sink.note("Open one of them with 'view', or their folder to browse all.")
    return 0
