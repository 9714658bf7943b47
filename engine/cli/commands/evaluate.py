"""``evaluate``: measure descriptors on sequences whose truth is known."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.parser import (
    Parser,
    Shell,
    Subparsers,
    add_command,
    add_config_flags,
    add_descriptor_sources,
    add_settings_file,
)
from engine.config import describe_options, read_yaml
from engine.errors import ConfigError
from engine.jobs.evaluate_settings import EvaluateConfig, evaluate_command, resolve_evaluation
from engine.paths import new_run_dir
from engine.progress import Event, JobContext, Progress, Stage, ignore_event

if TYPE_CHECKING:
    from engine.evaluation.result import EvaluationResult, SummaryRow
    from engine.evaluation.run_folder import PairRecord


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "evaluate",
        summary="measure descriptors on HPatches or sequences like it",
        usage="--dataset DIR --descriptor NAME [option …]",
        examples=(
            "evaluate --dataset demo --descriptor daisy --protocol dense\n"
            "evaluate --dataset hpatches --descriptor daisy --descriptor superpoint=sp.pth "
            "--out runs/1\n"
            "evaluate --dataset hpatches --descriptor msnet_v0=RUN_DIR --out runs/1 --resume\n"
            "evaluate --config resources/configs/daisy.yaml --set dataset.test=HPATCHES_ILLUM"
        ),
    )
    parser.description = (
        "Measure how often a descriptor finds the true point (PCK), and write result.json,\n"
        "summary.csv and pairs.csv. Under torchrun the sequences are shared among the processes."
    )
    group = parser.add_argument_group("what to measure")
    group.add_argument(
        "--descriptor",
        action="append",
        metavar="NAME[=FILE]",
        help="registered name, with its weights file or a run's folder, whose last checkpoint is "
        "taken; may be given more than once; oracle:msnet_v2 is told the true scales "
        "(default: daisy)",
    )
    add_descriptor_sources(group)
    add_settings_file(group)
    group.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder that holds HPatches (default: DESCGUI_DATA, else the person's own)",
    )
    group = parser.add_argument_group("where to write")
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of this run (default: a new one)"
    )
    group.add_argument(
        "--resume", action="store_true", help="continue what was begun in that folder"
    )
    group.add_argument(
        "--strict", action="store_true", help="end at a broken pair instead of leaving it out"
    )
    group.add_argument("--json", action="store_true", help="print result.json instead of a table")
    group.add_argument("--no-report", action="store_true", help="write no report.html")
    add_config_flags(parser, EvaluateConfig, title="how to measure", leave_out=["descriptor"])
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Measure and write."""
    flags = {info.name: getattr(arguments, info.name) for info in describe_options(EvaluateConfig)}
    config, values = resolve_evaluation(
        from_file=read_yaml(arguments.config) if arguments.config is not None else None,
        overrides=arguments.settings,
        flags=flags,
    )
    if not config.dataset:
        raise ConfigError("dataset", "is not named; name a folder of sequences, or 'demo'")
    out = arguments.out
    if out is None and (arguments.resume or "RANK" in os.environ):
        raise ConfigError("out", "name the folder of the run, which all processes have to share")
    if out is None:
        out = new_run_dir("evaluate")
    # Of several processes only the first one speaks.
    speaks = int(os.environ.get("RANK", "0")) == 0
    context = _context(shell) if speaks else JobContext(ignore_event, shell.cancel)
    with shell.stage(Stage.LOADING_TORCH):
        from engine.jobs.evaluate import EvaluateJob, choose_descriptors
        from engine.jobs.recipe import load_descriptor_sources

    load_descriptor_sources(arguments.plugins, context)
    job = EvaluateJob(
        config=config,
        choices=choose_descriptors(config, values),
        out=out,
        resume=arguments.resume,
        strict=arguments.strict,
        data_folder=arguments.data,
        command=evaluate_command(
            config,
            values,
            data_folder=arguments.data,
            plugins=arguments.plugins,
            strict=arguments.strict,
        ),
        listener=None if shell.sink.shows_bar or not speaks else _Teller(shell),
    )
    result = job.run(context)
    if speaks and not arguments.no_report:
        from engine.jobs.report import ReportJob

        ReportJob(folders=(out,), out=out).run(context)
    shell.sink.close()
    if speaks and arguments.json:
        from engine.evaluation.result import json_text

        print(json_text(result), end="")
    elif speaks:
        print("\n".join(as_text(result)))
        print(f"\nresults: {out}")
    return 0


def as_text(result: EvaluationResult) -> Iterator[str]:
    """The table for a person, line by line."""
    fingerprint = result.fingerprint
    dataset = fingerprint["dataset"]
    measured = {(row.sequence, row.index) for row in result.pairs}
    yield (
        f"{dataset['name']} ({dataset['subset']}): {len(measured)} of {dataset['pairs']} pairs, "
        f"protocol {fingerprint['protocol']}, {fingerprint['matcher']} matching, "
        f"on {fingerprint['device']}"
    )
    width = max(len(label) for label in result.labels)
    first = max(width + 10, len("uniform queries  "))
    heading = "".join(f"{name:<22}" for name in ("all", "viewpoint", "illumination"))
    by_queries: dict[str, dict[tuple[str, float], dict[str, SummaryRow]]] = {}
    for row in result.summary:
        table = by_queries.setdefault(row.queries, {})
        table.setdefault((row.descriptor, row.threshold_px), {})[row.subset] = row
    for queries, table in by_queries.items():
        yield ""
        yield f"{f'{queries} queries':<{first}}{heading}".rstrip()
        for (label, threshold_px), cells in table.items():
            shown = "".join(f"{_cell(row):<22}" for row in cells.values())
            yield f"{label:<{width}} ≤ {threshold_px:g} px".ljust(first) + shown.rstrip()
    yield ""
    for timing in result.timings:
        values = timing.to_json()
        if timing.images:
            yield (
                f"{timing.descriptor:<{width}} {values['s_per_image']:.3f} s an image, "
                f"{values['s_per_pair']:.3f} s a pair"
            )
    if result.left_out:
        broken = sum(entry.queries is None for entry in result.left_out)
        yield (
            f"left out: {broken} broken pairs, {len(result.left_out) - broken} lists without any "
            "query (result.json says why)"
        )


def _cell(row: SummaryRow) -> str:
    if row.pck is None:
        return "–"
    if row.low is None or row.high is None:
        return f"{row.pck:.3f}"
    return f"{row.pck:.3f} [{row.low:.3f}, {row.high:.3f}]"


def _context(shell: Shell) -> JobContext:
    """A context whose progress is a bar, or nothing where each pair gets a line of its own."""

    def emit(event: Event) -> None:
        if shell.sink.shows_bar or not (
            isinstance(event, Progress) and event.stage is Stage.MEASURING_PAIRS
        ):
            shell.sink(event)

    return replace(shell.context(), emit=emit)


class _Teller:
    """Says a line for each pair."""

    def __init__(self, shell: Shell) -> None:
        self._sink = shell.sink

    def __call__(self, record: PairRecord, done: int, total: int) -> None:
        rows = [
            f"{row.descriptor} {row.queries} "
            + " ".join(f"@{threshold:g} {share:.3f}" for threshold, share in row.pck)
            for row in record.rows
        ]
        found = "; ".join(rows) if rows else "left out"
        self._sink.note(f"{done}/{total} {record.sequence} 1 → {record.index}: {found}")
