"""``report``: make the report of finished evaluations, several in one."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from engine.cli.parser import Parser, Shell, Subparsers, add_command
from engine.errors import ConfigError
from engine.progress import Stage


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "report",
        summary="make the report of evaluations, several runs in one",
        usage="DIR… [option …]",
        examples=(
            "report runs/1\n"
            "report runs/1 runs/2 --out runs/both --pdf\n"
            "report runs/1 --dataset /data/hpatches"
        ),
    )
    parser.description = (
        "Write report.html, one file without anything to load, and report.json from the results of "
        "'evaluate'.\nThe worst pairs are matched again to show them, where their images can be "
        "reached."
    )
    group = parser.add_argument_group("what to read and write")
    group.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="folder of a run, or its result.json"
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write into (default: the run's; needed for several runs)",
    )
    group.add_argument("--pdf", action="store_true", help="write report.pdf too")
    group = parser.add_argument_group("the worst pairs")
    group.add_argument(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="where the sequences lie now (default: where they lay)",
    )
    group.add_argument(
        "--no-pictures", action="store_true", help="do not match them again: quick, no pictures"
    )
    group.add_argument(
        "--device", default="auto", metavar="NAME", help="where to compute (default: auto)"
    )
    group.add_argument(
        "--plugin",
        dest="plugins",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="Python file that registers a descriptor of the results; its code will run",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Make the report."""
    out = arguments.out
    if out is None and len(arguments.folders) > 1:
        raise ConfigError("out", "name the folder for the report of several runs")
    if out is None:
        (folder,) = arguments.folders
        out = folder.parent if folder.suffix == ".json" else folder
    with shell.stage(Stage.LOADING_TORCH):
        from engine.evaluation.report import REPORT_HTML, REPORT_JSON, REPORT_PDF
        from engine.jobs.recipe import load_descriptor_sources
        from engine.jobs.report import ReportJob

    context = shell.context(arguments.device)
    load_descriptor_sources(arguments.plugins, context)
    job = ReportJob(
        folders=tuple(arguments.folders),
        out=out,
        pictures=not arguments.no_pictures,
        dataset=arguments.dataset,
        command=_command(arguments),
    )
    report = job.run(context)
    if arguments.pdf:
        if shell.draw_pdf is None:
            raise ConfigError("pdf", "this program cannot draw a PDF; use main.py")
        with shell.stage(Stage.DRAWING_PDF):
            shell.draw_pdf(out / REPORT_JSON, out / REPORT_PDF)
    shell.sink.close()
    print(report.summary)
    print(f"\nreport: {out / REPORT_HTML}")
    if arguments.pdf:
        print(f"as PDF: {out / REPORT_PDF}")
    return 0


def _command(arguments: argparse.Namespace) -> str:
    words = ["python", "main.py", "report", *map(str, arguments.folders)]
    words += ["--out", str(arguments.out)] if arguments.out is not None else []
    words += ["--pdf"] if arguments.pdf else []
    words += ["--dataset", str(arguments.dataset)] if arguments.dataset is not None else []
    words += ["--no-pictures"] if arguments.no_pictures else []
    for plugin in arguments.plugins:
        words += ["--plugin", str(plugin)]
    return shlex.join(words)
