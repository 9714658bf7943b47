"""``export``: take the weights out of a training run."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.cli.command import Command, Shell, options_from
from engine.config import REQUIRED, option


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which weights, and where to."""

    source: Path = option(
        REQUIRED, help="a run's folder or weights file", flag="", metavar="RUN",
        group="what and where to",
    )  # fmt: skip
    out: Path = option(REQUIRED, help="the .safetensors file to write")
    which: Literal["best", "last"] = option(
        "best", help="of a folder: the best in validation, or the last"
    )
    half: bool = option(False, help="half precision: a file of half the size")


def run(arguments: Namespace, shell: Shell) -> int:
    """Write the file."""
    with shell.loading_torch():
        from engine.jobs.export import ExportJob
    options = options_from(arguments, ExportOptions)
    job = ExportJob(source=options.source, out=options.out, which=options.which, half=options.half)
    header = job.run(shell.context())
    shell.sink.close()
    shell.print(
        f"{header.get('descriptor', 'weights')} at step {header.get('step', '?')}: {job.out}"
    )
    return 0


COMMAND = Command(
    usage="RUN --out FILE.safetensors [option …]",
    examples=(
        "export runs/1 --out msnet_v0.safetensors",
        "export runs/1 --which last --half --out small.safetensors",
        "export runs/1/weights/step-00000500.safetensors --out early.safetensors",
    ),
    description="Write the weights of a run as one file, with its settings, photos and figures in "
    "the\nheader, ready for --weights.",
    options=(ExportOptions,),
    run=run,
    needs_torch=True,
)
