"""``study``: which layer of a network matches best, and what each is like."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.cli.command import Command, Shell, options_from, settings_from
from engine.jobs.command_line import StudyOptions, command_line
from engine.jobs.settings import StudyConfig
from engine.paths import new_run_dir

if TYPE_CHECKING:
    from engine.evaluation.study import LayerPck, StudyResult


def run(arguments: Namespace, shell: Shell) -> int:
    """Study and write."""
    options = options_from(arguments, StudyOptions)
    config, own = settings_from(arguments, StudyConfig)
    out = options.out or new_run_dir("study")
    with shell.loading_torch():
        from engine.jobs.fetch import fetch_missing
        from engine.jobs.recipe import load_descriptor_sources
        from engine.jobs.study import StudyJob, choose_study

    load_descriptor_sources(options.plugins, shell.context())
    spec = choose_study(config, own)
    if options.download:
        fetch_missing([spec.choice], shell.context())
    written = StudyOptions(data=options.data, plugins=options.plugins, download=options.download)
    job = StudyJob(
        config=config,
        spec=spec,
        out=out,
        data_folder=options.data,
        command=command_line("study", config, written, own=own),
    )
    result = job.run(shell.context())
    shell.sink.close()
    if options.json:
        from engine.evaluation.result import json_lines

        shell.print(json_lines(result.to_json()), end="")
    else:
        shell.print("\n".join(as_text(result)))
        shell.print(f"\nresults: {out}")
    return 0


def as_text(result: StudyResult) -> Iterator[str]:
    """The table in the terminal, line by line."""
    from engine.evaluation.study import MAIN_PX
    from engine.evaluation.study_report import summary_of

    names = [f"{layer.number} {layer.name}" for layer in result.layers]
    width = max(map(len, (*names, "layer")))
    removed = f"{'without position':<22}" if result.components else ""
    yield (
        f"{'layer':<{width}}  {f'dense ≤ {MAIN_PX:g} px':<22}{removed}{'closed':<22}rank   position"
        "  shift   ms"
    )
    for name, layer in zip(names, result.layers, strict=True):
        cells = [layer.mean()]
        if result.components:
            cells.append(layer.mean(removed=True))
        cells.append(layer.mean(protocol="closed"))
        rank = _number(layer.effective_rank, ".1f")
        position = _number(layer.positional_share, ".3f")
        shift = _number(layer.shift_sensitivity, ".3f")
        yield (
            f"{name:<{width}}  {''.join(f'{_cell(one):<22}' for one in cells)}{rank:<7}"
            f"{position:<10}{shift:<8}{_number(layer.describe_ms, '.0f')}"
        )
    yield ""
    yield summary_of(result)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _cell(mean: LayerPck | None) -> str:
    if mean is None or mean.pck is None:
        return "–"
    known = mean.low is not None and mean.high is not None
    return f"{mean.pck:.3f}" + (f" [{mean.low:.3f}, {mean.high:.3f}]" if known else "")


COMMAND = Command(
    usage="NAME --dataset SET [option …]",
    examples=(
        "study timm:resnet18 --dataset demo",
        "study timm:vit_small_patch14_dinov2 --dataset hpatches --layers 5,8,11 --pairs 50",
        "study timm:vit_small_patch14_dinov2 --dataset demo --remove-position 8 --out FOLDER",
        "study daisy --dataset demo",
    ),
    description="Describe pairs with known ground truth by all layers of a network, one pass for "
    "each image,\nand write study.html, study.json and study.csv: how often each layer finds the "
    "true point (PCK),\nwhich one is best, and what each is like.",
    options=(StudyConfig, StudyOptions),
    run=run,
    needs_torch=True,
)
