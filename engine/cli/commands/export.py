"""``export``: take the weights out of a training run."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.parser import Parser, Shell, Subparsers, add_command
from engine.progress import Stage


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "export",
        summary="take the weights out of a training run",
        usage="RUN --out FILE.safetensors [option …]",
        examples=(
            "export runs/1 --out msnet_v0.safetensors\n"
            "export runs/1 --which last --half --out small.safetensors\n"
            "export runs/1/weights/step-00000500.safetensors --out early.safetensors"
        ),
    )
    parser.description = (
        "Write the weights of a run as one file, with its settings, photos and figures in the\n"
        "header, ready for --weights."
    )
    group = parser.add_argument_group("what and where")
    group.add_argument("source", type=Path, metavar="RUN", help="a run's folder or weights file")
    group.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
    )
    group.add_argument(
        "--which",
        choices=("best", "last"),
        default="best",
        help="of a folder: what validated best, or what came last (default: best)",
    )
    group.add_argument(
        "--half", action="store_true", help="half precision: a file of half the size"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Write the file."""
    with shell.stage(Stage.LOADING_TORCH):
        from engine.jobs.export import ExportJob
    job = ExportJob(
        source=arguments.source,
        out=arguments.out,
        which=arguments.which,
        half=arguments.half,
    )
    header = job.run(shell.context())
    shell.sink.close()
    print(f"{header.get('descriptor', 'weights')} at step {header.get('step', '?')}: {job.out}")
    return 0
