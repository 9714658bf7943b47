"""``match``: match points of one image to another, without a window."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.parser import (
    Parser,
    Shell,
    Subparsers,
    add_command,
    add_config_flags,
    add_descriptor_sources,
    add_maps_flag,
    add_pair_arguments,
    add_settings_file,
    settings_from,
    whole_number,
)
from engine.config import describe_options
from engine.errors import OutputError
from engine.jobs.settings import DescribeConfig, MatchConfig
from engine.progress import Stage

if TYPE_CHECKING:
    from engine.data.pairs import ImagePair
    from engine.jobs.match import MatchResult


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "match",
        summary="match points of one image to another and write them as CSV",
        usage="A B | SEQUENCE --out FILE [option …]",
        examples=(
            "match a.jpg b.jpg --out matches.csv\n"
            "match v_graf --pair 2 --descriptor daisy --points harris --count 500 "
            "--out m.csv --figure m.svg\n"
            "match a.jpg b.jpg --homography h.txt --set stride_px=2 --out m.csv\n"
            "match a.jpg b.jpg --config settings.yaml --out m.csv"
        ),
    )
    parser.description = (
        "Match points of one image to the whole of another and write one row for each, unfiltered:"
        "\nx_a, y_a, x_b, y_b, similarity, ratio, mutual, error_px (empty where the truth is "
        "unknown)."
    )
    add_pair_arguments(parser)
    group = parser.add_argument_group("what to write")
    group.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV file")
    group.add_argument("--figure", type=Path, metavar="FILE", help="drawing, .png or .svg")
    group.add_argument(
        "--figure-lines",
        type=whole_number(low=0),
        default=200,
        metavar="N",
        help="draw at most this many lines, chosen at random (default: 200)",
    )
    group = add_config_flags(parser, DescribeConfig, title="how to describe")
    add_descriptor_sources(group)
    add_maps_flag(group)
    add_settings_file(group)
    above = [info.name for info in describe_options(DescribeConfig)]
    add_config_flags(parser, MatchConfig, title="which points", leave_out=above)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Match and write."""
    from engine.jobs.open_pair import open_pair
    from engine.jobs.output import check_output

    config, values = settings_from(arguments, MatchConfig)
    pair = open_pair(arguments.images, pair_index=arguments.pair, homography=arguments.homography)
    inputs = [pair.path_a, pair.path_b, *arguments.maps, *filter(None, [arguments.homography])]
    check_output(arguments.out, inputs=inputs)
    if arguments.figure is not None:
        check_output(arguments.figure, suffixes=(".png", ".svg"), inputs=inputs)
        if arguments.figure.absolute() == arguments.out.absolute():
            raise OutputError(arguments.out, "is named both for the table and for the figure")
    with shell.stage(Stage.LOADING_TORCH):
        from engine.jobs.match import MatchJob
        from engine.jobs.recipe import load_descriptor_sources, make_recipe

    context = shell.context(config.device)
    load_descriptor_sources(arguments.plugins, context)
    job = MatchJob(
        pair=pair,
        recipe=make_recipe(config, values, maps=arguments.maps),
        points=config.points,
        count=config.count,
        seed=config.seed,
        separation_px=config.separation_px,
        out=arguments.out,
        figure=arguments.figure,
        figure_lines=arguments.figure_lines,
    )
    result = job.run(context)
    shell.sink.close()
    print(as_text(result, pair))
    return 0


def as_text(result: MatchResult, pair: ImagePair) -> str:
    """The result for a person, in a few lines."""
    summary = result.summary
    trained = all(info.trained for info in result.infos)
    name = pair.name or f"{pair.path_a.name} → {pair.path_b.name}"
    descriptor = f"{result.descriptor}{'' if trained else ' (untrained)'}"
    seconds = sum(info.seconds for info in result.infos) + result.table.seconds
    device = result.infos[0].device
    lines = [f"{name}: {summary.count} points by {descriptor} on {device} in {seconds:.1f} s"]
    if not summary.count:
        return lines[0] + "\nno point was found to match"
    lines.append(f"mutual  {100 * summary.mutual:.1f} %")
    if summary.pck:
        shares = "   ".join(f"{100 * share:.1f} % ≤ {limit:g} px" for limit, share in summary.pck)
        lines.append(f"PCK     {shares}   (of {summary.with_truth} whose true point is known)")
    elif result.table.h_b_from_a is not None:
        share = 100 * (summary.inliers or 0) / summary.count
        lines.append(f"no truth is known; {share:.1f} % agree with the estimated homography:")
        lines += ["  ".join(f"{value: .8e}" for value in row) for row in result.table.h_b_from_a]
    else:
        lines.append("no truth is known, and no homography could be estimated from the matches")
    return "\n".join(lines)
