"""``demo``: write the sequences that the window opens when it has nothing else."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from engine.cli.command import Command, Shell, options_from
from engine.config import REQUIRED, option


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Where the demo goes."""

    folder: Path = option(
        REQUIRED, help="folder; created if it is missing", flag="", metavar="DIR", group="where to"
    )


def run(arguments: Namespace, shell: Shell) -> int:
    """Write the demo."""
    from engine.data.demo import write_demo
    from engine.data.layouts.hpatches import HPatchesReader

    folder = write_demo(options_from(arguments, DemoOptions).folder, shell.context())
    shell.sink.close()
    for group in HPatchesReader().read(folder).groups:
        shell.print(group.pairs[0].path_a.parent)
    shell.sink.note("Open one of them with 'view', or their folder to browse all.")
    return 0


COMMAND = Command(
    usage="DIR [option …]",
    examples=("demo sequences",),
    description="Write sequences of photographs with known homographies and light changes, in the "
    "layout of\nHPatches. They are made from photographs inside scikit-image: nothing is "
    "downloaded.",
    options=(DemoOptions,),
    run=run,
)
