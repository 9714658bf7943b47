"""``download``: download a data set, or the weights of a named network."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.cli.command import Command, Shell, options_from
from engine.config import REQUIRED, option
from engine.errors import ConfigError

_HPATCHES: Final = "hpatches"


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """What to download, and where to."""

    names: tuple[str, ...] = option(
        REQUIRED, help="hpatches: the 116 sequences, over 1 GB; or names of networks, such as "
        "timm:resnet18, whose weights go where their library looks for them",
        flag="", metavar="NAME", group="what and where to",
    )  # fmt: skip
    dir: Path | None = option(
        None, help="folder that gets the sequences; 'evaluate --dataset HPATCHES' looks in the "
        "default one (default: DESCGUI_DATA, else your data folder)", folder=True,
    )  # fmt: skip


def run(arguments: Namespace, shell: Shell) -> int:
    """Download, and unpack what is packed."""
    options = options_from(arguments, DownloadOptions)
    networks = tuple(name for name in options.names if name != _HPATCHES)
    for name in networks:
        if ":" not in name:
            raise ConfigError(
                "download", f"{name!r} is neither {_HPATCHES} nor a name such as timm:resnet18"
            )
    if options.dir is not None and networks:
        raise ConfigError("dir", "is for data sets; weights go where their library looks for them")
    if _HPATCHES in options.names:
        _download_hpatches(options.dir, shell)
    if networks:
        with shell.loading_torch():
            from engine.jobs.fetch import FetchJob

        files = FetchJob(names=networks).run(shell.context())
        shell.sink.close()
        for file in files:
            shell.print(file)
    return 0


def _download_hpatches(named: Path | None, shell: Shell) -> None:
    from engine.data.download import download_hpatches
    from engine.evaluation.datasets import find_data_folder

    place = download_hpatches(find_data_folder(named), shell.context())
    shell.sink.close()
    shell.print(place)
    shell.sink.note(f"Measure on it with 'evaluate --dataset {place}', or 'view' a sequence.")


COMMAND = Command(
    usage="NAME … [--dir DIR]",
    examples=(
        "download hpatches",
        "download hpatches --dir /data",
        "download timm:resnet18 timm:vit_small_patch14_dinov2.lvd142m",
    ),
    description="Download the image sequences of HPatches (Balntas and others, CVPR 2017) and "
    "unpack them,\nor the published weights of networks by their names.\n"
    "If the download breaks off or is stopped, the same command continues it.",
    options=(DownloadOptions,),
    run=run,
)
