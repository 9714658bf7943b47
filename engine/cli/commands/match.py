"""``match``: match points of one image to another, without a window."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.command import Command, Shell, options_from, settings_from
from engine.config import REQUIRED, option
from engine.errors import OutputError
from engine.jobs.command_line import (
    MapFiles,
    OwnSettings,
    PairOptions,
    PairRangeOptions,
    SettingsFile,
)
from engine.jobs.settings import MatchConfig
from engine.vocabulary import PRECOMPUTED, FigureTheme

if TYPE_CHECKING:
    from engine.data.pairs import ImagePair
    from engine.jobs.match import MatchResult


@dataclass(frozen=True, kw_only=True)
class MatchOptions(SettingsFile, MapFiles, OwnSettings, PairRangeOptions, PairOptions):
    """What is matched and written."""

    out: Path = option(
        REQUIRED, help="table of matches: .npz names its arrays as hloc and vismatch do, .txt is "
        "COLMAP's list with keypoint files beside it, every other ending is CSV",
        group="what to write",
    )  # fmt: skip
    figure: Path | None = option(None, help="drawing, .png, .svg or .pdf")
    figure_lines: int = option(200, help="draw at most this many lines, chosen at random", low=0)
    figure_width_cm: float = option(17.0, help="of the drawing", unit="cm", low=3.0, high=100.0)
    figure_font: str = option("DejaVu Sans", help="of the drawing, an installed family")
    figure_theme: FigureTheme = option("light", help="dark on white, or light on dark")


def run(arguments: Namespace, shell: Shell) -> int:
    """Match and write."""
    from engine.figures import FIGURE_SUFFIXES, check_font
    from engine.figures.figure_content import Paper
    from engine.imagefiles.value_range import parse_pair_ranges
    from engine.jobs.match_files import other_files
    from engine.jobs.open_pair import open_pair
    from engine.jobs.output import check_output

    options = options_from(arguments, MatchOptions)
    standing = {} if options.maps is None else {"descriptor": PRECOMPUTED}
    config, own = settings_from(arguments, MatchConfig, **standing)
    pair = open_pair(
        options.images,
        group=options.group,
        pair_index=options.pair_index,
        homography=options.homography,
        truth=options.truth,
        ranges=parse_pair_ranges(options.value_range, options.value_range_b),
    )
    images = pair.path_a, pair.path_b
    inputs = [*images, *(options.maps or ())]
    inputs += [] if options.homography is None else [options.homography]
    inputs += [] if pair.truth is None else pair.truth.files
    for path in (options.out, *other_files(options.out, images)):
        check_output(path, inputs=inputs)
    if options.figure is not None:
        check_output(options.figure, suffixes=FIGURE_SUFFIXES, inputs=inputs)
        check_font(options.figure_font)
        if options.figure.absolute() == options.out.absolute():
            raise OutputError(options.out, "is named both for the table and for the figure")
    with shell.loading_torch():
        from engine.inspection.requests import MatchRequest
        from engine.jobs.fetch import fetch_missing
        from engine.jobs.match import MatchJob
        from engine.jobs.recipe import load_descriptor_sources, make_recipe

    context = shell.context(config.device)
    load_descriptor_sources(options.plugins, context)
    recipe = make_recipe(config, own, maps=options.maps)
    if options.download:
        fetch_missing([recipe.spec.choice], context)
    request = MatchRequest(
        pair=pair,
        recipe=recipe,
        points=config.points,
        count=config.count,
        seed=config.seed,
        separation_px=config.separation_px,
        refine=config.refine,
        matcher=config.matcher,
    )
    job = MatchJob(
        request=request,
        out=options.out,
        figure=options.figure,
        figure_lines=options.figure_lines,
        paper=Paper(
            width_cm=options.figure_width_cm,
            font=options.figure_font,
            theme=options.figure_theme,
        ),
        min_confidence=config.min_confidence,
    )
    result = job.run(context)
    shell.sink.close()
    shell.print(as_text(result, pair))
    return 0


def as_text(result: MatchResult, pair: ImagePair) -> str:
    """The result as a few lines of text."""
    summary = result.summary
    trained = all(info.trained for info in result.infos)
    name = pair.name or f"{pair.path_a.name} → {pair.path_b.name}"
    descriptor = f"{result.descriptor}{'' if trained else ' (untrained)'}"
    seconds = sum(info.seconds for info in result.infos) + result.table.seconds
    device = result.infos[0].device
    lines = [f"{name}: {summary.count} points by {descriptor} on {device} in {seconds:.1f} s"]
    lines += [
        f"image {side}  {info.values}"
        for side, info in zip("AB", result.infos, strict=True)
        if info.values
    ]
    vote = result.infos[0].weak_vote or result.infos[0].chosen
    lines += [f"vote    {vote}"] if vote else []
    if not summary.count:
        none = f"none of {result.left_out} matches is" if result.left_out else ""
        nothing = f"{none} sure enough" if none else "no point was found to match"
        return "\n".join([*lines, nothing])
    if result.table.matcher == "consensus":
        moved = int(result.table.moved.sum())
        lines.append(
            f"matcher consensus; {moved} of {summary.count} matches moved by their neighbours"
        )
    blank = summary.count - summary.textured
    if summary.textured:
        of = f"   (of {summary.textured} with texture)" if blank else ""
        lines.append(f"mutual  {100 * summary.mutual:.1f} %{of}")
        lines.append(
            f"place   ± {summary.uncertainty_px:.2f} px along an axis (standard deviation, median)"
        )
        lines.append(f"sure    {_confidence(result)}")
    if blank:
        lines.append(
            f"{blank} of {summary.count} points have no texture around them, or the same one "
            "elsewhere, and similarity means nothing there"
        )
    if summary.pck:
        shares = "   ".join(f"{100 * share:.1f} % ≤ {limit:g} px" for limit, share in summary.pck)
        lines.append(f"PCK     {shares}   (of {summary.with_truth} whose true point image B shows)")
        lines.append(f"truth   {result.table.truth}: {summary.states}")
    elif result.table.h_b_from_a is not None:
        share = 100 * (summary.inliers or 0) / max(1, summary.textured)
        whose = f"of the {summary.textured} with texture " if blank else ""
        lines.append(
            f"{_no_truth(result)}; {share:.1f} % {whose}agree with the estimated homography:"
        )
        lines += ["  ".join(f"{value: .8e}" for value in row) for row in result.table.h_b_from_a]
    else:
        lines.append(f"{_no_truth(result)}, and no homography could be estimated from the matches")
    return "\n".join(lines)


def _confidence(result: MatchResult) -> str:
    """How sure the matches are."""
    from engine.jobs.matches import SURE

    table, summary = result.table, result.summary
    if table.not_calibrated:
        return f"not calibrated for {table.not_calibrated}"
    of = f", {result.left_out} less sure ones left out" if result.left_out else ""
    return (
        f"{summary.sure} of {summary.textured} by at least {100 * SURE:.0f} %, median "
        f"{100 * summary.confidence:.0f} %   (to be within {result.infos[1].confident_px:.1f} px "
        f"of the true point{of})"
    )


def _no_truth(result: MatchResult) -> str:
    """Why there is no error."""
    if not result.table.truth:
        return "no truth is known"
    words = result.summary.states
    return f"the truth ({result.table.truth}) shows the true point of no query in image B ({words})"


COMMAND = Command(
    usage="A B | SET --out FILE [option …]",
    examples=(
        "match a.jpg b.jpg --out matches.csv",
        "match v_graf --pair 2 --descriptor daisy --count 500 --out m.csv --figure m.svg",
        "match a.jpg b.jpg --homography h.txt --set stride_px=2 --out m.csv",
        "match left.png right.png --truth disparity:l.png,r.png,factor=4 --out m.csv",
        "match a.jpg b.jpg --truth corrs.txt --points listed --out m.csv",
        "match a.jpg b.jpg --config settings.yaml --out m.csv",
        "match a.jpg b.jpg --matcher consensus --out m.csv",
        "match a.jpg b.jpg --out colmap/matches.txt",
    ),
    description="Match points of one image to the whole of another and write one row for each, "
    "unfiltered\nunless --min-confidence is given: x_a, y_a, x_b, y_b, similarity, ratio, mutual, "
    "error_px (empty where\nimage B does not show the true point), texture (false where similarity "
    "means nothing), truth\n(seen, occluded, outside or unknown), truth_from (what it is known "
    "from), uncertainty_px\n(standard deviation of x_b and y_b; a cell where the match was not "
    "refined), confidence\n(probability that the match is within 3 px, as described, of the true "
    "point; empty where\nit is not known).  The same as .npz or as COLMAP's text, by the ending of "
    "--out.",
    options=(MatchOptions, MatchConfig),
    run=run,
    needs_torch=True,
)
