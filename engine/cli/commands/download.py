"""``download``: download a data set."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.cli.command import Command, Shell, options_from
from engine.config import REQUIRED, option


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """What to download, and where to."""

    name: Literal["hpatches"] = option(
        REQUIRED, help="the 116 sequences, over 1 GB", flag="", group="what and where to"
    )
    dir: Path | None = option(
        None, help="folder that gets them; 'evaluate --dataset HPATCHES' looks in the default one "
        "(default: DESCGUI_DATA, else your data folder)", folder=True,
    )  # fmt: skip


def run(arguments: Namespace, shell: Shell) -> int:
    """Download and unpack."""
    from engine.data.download import download_hpatches
    from engine.evaluation.datasets import find_data_folder

    folder = find_data_folder(options_from(arguments, DownloadOptions).dir)
    place = download_hpatches(folder, shell.context())
    shell.sink.close()
    shell.print(place)
    shell.sink.note(f"Measure on it with 'evaluate --dataset {place}', or 'view' a sequence.")
    return 0


COMMAND = Command(
    usage="hpatches [--dir DIR]",
    examples=("download hpatches", "download hpatches --dir /data"),
    description="Download the image sequences of HPatches (Balntas and others, CVPR 2017) and "
    "unpack them.\nIf the download breaks off or is stopped, the same command continues it.",
    options=(DownloadOptions,),
    run=run,
)
