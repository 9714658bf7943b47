"""``doctor``: what is installed here, what is missing, and what cures it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from engine.cli.parser import Parser, Shell, Subparsers, add_command
from engine.progress import Stage

if TYPE_CHECKING:
    from engine.jobs.doctor import Diagnosis


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "doctor",
        summary="report versions, GPU, Qt's libraries and folders, with a cure for every problem",
        usage="[--json] [option …]",
        examples="doctor\ndoctor --json",
    )
    group = parser.add_argument_group("how to report")
    group.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Look and report: 1 when something that is needed is broken."""
    from engine.jobs.doctor import diagnosis_text, examine

    with shell.stage(Stage.EXAMINING):
        found = examine()
    shell.sink.close()
    print(as_json(found) if arguments.json else diagnosis_text(found))
    return 0 if found.sound else 1


def as_json(found: Diagnosis) -> str:
    """The report for programs: the fields of ``Diagnosis``, ``sound`` and ``kernels``."""
    import json

    values = {**dataclasses.asdict(found), "sound": found.sound, "kernels": found.kernels}
    return json.dumps(values, indent=2, ensure_ascii=False, default=str)
