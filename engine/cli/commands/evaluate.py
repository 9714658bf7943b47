"""``evaluate``: measure descriptors on pairs with known ground truth."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from engine.cli.command import Command, Shell, is_first_process, options_from, settings_from
from engine.errors import ConfigError
from engine.jobs.command_line import EvaluateOptions, command_line
from engine.jobs.settings import EvaluateConfig
from engine.metrics import metric_info, metric_text
from engine.paths import new_run_dir
from engine.progress import Event, JobContext, Progress, Stage, ignore_event
from engine.vocabulary import plural

if TYPE_CHECKING:
    from engine.evaluation.metric_summary import MetricRow
    from engine.evaluation.result import EvaluationResult, SummaryRow
    from engine.evaluation.run_folder import Begun, PairRecord

_METRIC_CELL = 26
_CELL_WIDTH: Final = 22


def run(arguments: Namespace, shell: Shell) -> int:
    """Measure and write."""
    options = options_from(arguments, EvaluateOptions)
    config, own = settings_from(arguments, EvaluateConfig)
    if not config.dataset:
        raise ConfigError("dataset", "is not named; name a folder or file with pairs, or 'demo'")
    if options.out is None and (options.resume or "RANK" in os.environ):
        raise ConfigError("out", "name the folder of the run, which all processes have to share")
    if options.download and "RANK" in os.environ:
        reason = "does not go with several processes; fetch with 'download NAME' before"
        raise ConfigError("download", reason)
    out = options.out or new_run_dir("evaluate")
    context = _context(shell) if is_first_process() else JobContext(ignore_event, shell.cancel)
    with shell.loading_torch():
        from engine.jobs.evaluate import EvaluateJob, choose_descriptors
        from engine.jobs.fetch import fetch_missing
        from engine.jobs.recipe import load_descriptor_sources

    def print_pair(begun: Begun, record: PairRecord | None) -> None:
        if record is not None:
            shell.sink.note(_pair_line(begun, record))

    load_descriptor_sources(options.plugins, context)
    choices = choose_descriptors(config, own)
    if options.download:
        fetch_missing([one.spec.choice for one in choices], context)
    written = EvaluateOptions(
        data=options.data,
        plugins=options.plugins,
        strict=options.strict,
        download=options.download,
    )
    job = EvaluateJob(
        config=config,
        choices=choices,
        out=out,
        resume=options.resume,
        strict=options.strict,
        data_folder=options.data,
        command=command_line("evaluate", config, written, own=own),
        listener=None if shell.sink.shows_bar or not is_first_process() else print_pair,
    )
    result = job.run(context)
    if is_first_process() and not options.no_report:
        from engine.jobs.report import ReportJob

        ReportJob(folders=(out,), out=out).run(context)
    shell.sink.close()
    if is_first_process() and options.json:
        from engine.evaluation.result import json_text

        shell.print(json_text(result), end="")
    elif is_first_process():
        shell.print("\n".join(as_text(result)))
        shell.print(f"\nresults: {out}")
    return 0


def as_text(result: EvaluationResult) -> Iterator[str]:
    """The table in the terminal, line by line."""
    from engine.data.layouts import group_word
    from engine.evaluation.pck import LEAST_SEQUENCES

    fingerprint = result.fingerprint
    dataset = fingerprint.dataset
    measured = {row.key for row in result.pairs}
    yield (
        f"{dataset.name} ({dataset.subset}), {dataset.layout}: {len(measured)} of {dataset.pairs} "
        f"pairs, "
        f"protocol {fingerprint.protocol_words}, {fingerprint.matcher} matching, "
        f"on {fingerprint.device}"
    )
    if dataset.truth_words:
        yield dataset.truth_words
    width = max(len(label) for label in result.labels)
    first = max(width + 10, len("uniform queries  "))
    subsets = dict.fromkeys(row.subset for row in result.summary)
    wide = max([_CELL_WIDTH, *(len(subset) + 2 for subset in subsets)])
    heading = "".join(f"{subset:<{wide}}" for subset in subsets)
    by_queries: dict[str, dict[tuple[str, float], dict[str, SummaryRow]]] = {}
    for row in result.summary:
        table = by_queries.setdefault(row.queries, {})
        table.setdefault((row.descriptor, row.threshold_px), {})[row.subset] = row
    for queries, table in by_queries.items():
        yield ""
        yield f"{f'{queries} queries':<{first}}{heading}".rstrip()
        for (label, threshold_px), cells in table.items():
            shown = "".join(f"{_cell(row):<{wide}}" for row in cells.values())
            yield f"{label:<{width}} ≤ {threshold_px:g} px".ljust(first) + shown.rstrip()
    yield from _metric_lines(result, width)
    if any(row.few for row in result.summary) or any(row.few for row in result.metrics):
        groups = plural(group_word(dataset.layout))
        yield f"intervals over fewer than {LEAST_SEQUENCES} {groups} mean little"
    yield ""
    for timing in result.timings:
        if timing.images:
            yield (
                f"{timing.descriptor:<{width}} {timing.s_per_image:.3f} s an image, "
                f"{timing.s_per_pair:.3f} s a pair"
            )
    if result.left_out:
        broken = sum(entry.queries is None for entry in result.left_out)
        yield (
            f"left out: {broken} broken pairs, {len(result.left_out) - broken} lists without any "
            "query (result.json says why)"
        )


def _metric_lines(result: EvaluationResult, width: int) -> Iterator[str]:
    """The field's metrics, each with a line for each descriptor, over all pairs of each subset."""
    from engine.evaluation.metric_summary import metric_gaps

    by_queries: dict[str | None, dict[tuple[str, str], dict[str, MetricRow]]] = {}
    for row in result.metrics:
        table = by_queries.setdefault(row.queries, {})
        table.setdefault((row.metric, row.descriptor), {})[row.subset] = row
    for queries, table in by_queries.items():
        titles = {name: metric_info(name).heading for name, _ in table}
        widest = max(map(len, titles.values()))
        subsets = dict.fromkeys(subset for cells in table.values() for subset in cells)
        heading = "".join(f"{subset:<{_METRIC_CELL}}" for subset in subsets)
        yield ""
        first = f"{queries} queries" if queries else "pairs"
        yield f"{first:<{widest + width + 2}}{heading}".rstrip()
        for (name, label), cells in table.items():
            shown = "".join(f"{_metric_cell(row):<{_METRIC_CELL}}" for row in cells.values())
            yield f"{titles[name]:<{widest}} {label:<{width}} {shown}".rstrip()
    metrics = result.fingerprint.metrics
    yield from metric_gaps(result.pairs, metrics.chosen if metrics else ())


def _metric_cell(row: MetricRow) -> str:
    if row.value is None:
        return "–"
    text = metric_text(row.metric, row.value)
    ends = (
        ""
        if row.ends is None
        else " [{}, {}]".format(*(metric_text(row.metric, end) for end in row.ends))
    )
    return text + ends


def _cell(row: SummaryRow) -> str:
    if row.pck is None:
        return "–"
    return f"{row.pck:.3f}" + ("" if row.ends is None else " [{:.3f}, {:.3f}]".format(*row.ends))


def _context(shell: Shell) -> JobContext:
    """A context whose progress is a bar, or nothing where each pair gets a line of its own."""

    def emit(event: Event) -> None:
        if shell.sink.shows_bar or not (
            isinstance(event, Progress) and event.stage is Stage.MEASURING_PAIRS
        ):
            shell.sink(event)

    return replace(shell.context(), emit=emit)


def _pair_line(begun: Begun, record: PairRecord) -> str:
    rows = [
        f"{row.descriptor} {row.queries} "
        + " ".join(f"@{threshold:g} {share:.3f}" for threshold, share in row.pck)
        for row in record.rows
    ]
    found = "; ".join(rows) if rows else "left out"
    done, dataset = len(begun.records), begun.fingerprint.dataset
    name = next((row.name for row in record.rows if row.name), dataset.title(*record.key))
    return f"{done}/{dataset.pairs} {name}: {found}"


COMMAND = Command(
    usage="--dataset SET --descriptor NAME [option …]",
    examples=(
        "evaluate --dataset demo --descriptor daisy --protocol dense",
        "evaluate --dataset hpatches --descriptor daisy --descriptor superpoint=sp.pth",
        "evaluate --dataset wxbs --subset WGABS --descriptor daisy --protocol dense",
        "evaluate --dataset hpatches --descriptor msnet_v0=RUN_DIR --out runs/1 --resume",
        "evaluate --config resources/configs/daisy.yaml --set dataset.test=HPATCHES_ILLUM",
    ),
    description="Measure how often a descriptor finds the true point (PCK), and write "
    "result.json,\nsummary.csv and pairs.csv. Under torchrun the processes share the groups.",
    options=(EvaluateConfig, EvaluateOptions),
    run=run,
    needs_torch=True,
)
