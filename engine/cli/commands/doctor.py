"""``doctor``: what is installed here, what is missing, and what cures it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from engine.cli.parser import Parser, Shell, Subparsers, add_command

if TYPE_CHECKING:
    from engine.jobs.doctor import Diagnosis, FolderState


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
    from engine.jobs.doctor import examine

    with shell.stage("looking at packages, GPU and folders"):
        found = examine()
    shell.sink.close()
    print(as_json(found) if arguments.json else as_text(found))
    return 0 if found.sound else 1


def as_json(found: Diagnosis) -> str:
    """The report for programs: the fields of ``Diagnosis``, and ``sound``."""
    import json

    values = {**dataclasses.asdict(found), "sound": found.sound}
    return json.dumps(values, indent=2, ensure_ascii=False, default=str)


def as_text(found: Diagnosis) -> str:
    """The report for a person."""
    rows = [
        ("Descriptor Space", found.project),
        ("system", found.system),
        ("Python", found.python),
        *((name, version or "not installed") for name, version in found.packages.items()),
        ("Qt", found.qt or "does not load"),
        ("GPU", _gpus(found)),
        ("torch built for", f"CUDA {found.cuda_build}" if found.cuda_build else "CPU"),
        ("nvcc", found.nvcc or "not found (needed only for own CUDA kernels)"),
        ("PyCUDA", found.pycuda or "not installed (needed only for own CUDA kernels)"),
        ("display", found.display),
        *((f"folder for {f.purpose}", _folder(f)) for f in found.folders),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    lines.append("")
    if not found.problems:
        lines.append("Nothing is wrong.")
    for problem in found.problems:
        lines += [f"{problem.level}: {problem.text}", f"  cure: {problem.cure}"]
    return "\n".join(lines)


def _gpus(found: Diagnosis) -> str:
    if found.gpus:
        return ", ".join(
            f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB, compute capability {gpu.capability})"
            for gpu in found.gpus
        )
    return ", ".join(found.driver_gpus) + " (not usable by torch)" if found.driver_gpus else "none"


def _folder(folder: FolderState) -> str:
    state = "writable" if folder.writable else "NOT writable"
    return f"{folder.path} ({state}, {folder.free_bytes / 2**30:.1f} GiB free)"
