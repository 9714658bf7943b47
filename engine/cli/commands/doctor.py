"""``doctor``: what is installed here, what is missing, and how to fix it."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.cli.command import Command, Shell, options_from
from engine.config import option
from engine.progress import Stage

if TYPE_CHECKING:
    from engine.jobs.doctor import Diagnosis


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """How to report."""

    json: bool = option(False, help="print the report as JSON", group="how to report")


def run(arguments: Namespace, shell: Shell) -> int:
    """Check and report: 1 when something that is needed is broken."""
    from engine.jobs.doctor import diagnosis_text, examine

    with shell.stage(Stage.EXAMINING):
        found = examine(shell.cancel)
    shell.sink.close()
    shell.print(
        as_json(found) if options_from(arguments, DoctorOptions).json else diagnosis_text(found)
    )
    return 0 if found.sound else 1


def as_json(found: Diagnosis) -> str:
    """The report for programs: the fields of ``Diagnosis``, ``sound`` and ``kernels``."""
    values = {**dataclasses.asdict(found), "sound": found.sound, "kernels": found.kernels}
    return json.dumps(values, indent=2, ensure_ascii=False, default=str)


COMMAND = Command(
    usage="[--json] [option …]",
    examples=("doctor", "doctor --json"),
    description="Check versions, GPU, Qt's libraries and folders, and suggest a fix for every "
    "problem.",
    options=(DoctorOptions,),
    run=run,
)
