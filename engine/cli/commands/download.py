"""``download``: load a data set from the network."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.parser import Parser, Shell, Subparsers, add_command


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "download",
        summary="load the HPatches sequences from the network",
        usage="hpatches [--dir DIR]",
        examples="download hpatches\ndownload hpatches --dir /data",
    )
    parser.description = (
        "Load the image sequences of HPatches (Balntas and others, CVPR 2017) and unpack them.\n"
        "What was loaded is kept when it breaks off or is stopped; the same command continues."
    )
    group = parser.add_argument_group("what and where to")
    group.add_argument(
        "name", choices=["hpatches"], metavar="hpatches", help="the 116 sequences, over 1 GB"
    )
    group.add_argument(
        "--dir",
        type=Path,
        metavar="DIR",
        help="folder that gets them, where 'evaluate --dataset HPATCHES' looks if it is the "
        "default (default: DESCGUI_DATA, else the person's own)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Load and unpack."""
    from engine.data.download import download_hpatches
    from engine.evaluation.datasets import find_data_folder

    place = download_hpatches(find_data_folder(arguments.dir), shell.context())
    shell.sink.close()
    print(place)
    shell.sink.note(f"Measure on it with 'evaluate --dataset {place}', or 'view' a sequence.")
    return 0
