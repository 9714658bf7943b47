"""``describe``: write the dense maps of one image."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from engine.cli.command import Command, Shell, options_from, settings_from
from engine.config import REQUIRED, option
from engine.errors import ImageError
from engine.files import input_size
from engine.jobs.command_line import OwnSettings, RangeOption, SettingsFile
from engine.jobs.settings import DescribeConfig


@dataclass(frozen=True, kw_only=True)
class DescribeOptions(SettingsFile, OwnSettings, RangeOption):
    """What is read and written."""

    image: Path = option(
        REQUIRED, help="the image", flag="", metavar="IMAGE", group="what to read and write"
    )
    out: Path = option(REQUIRED, help="file, .npz")


def run(arguments: Namespace, shell: Shell) -> int:
    """Describe and write."""
    from engine.imagefiles.value_range import parse_value_range
    from engine.jobs.output import check_output

    options = options_from(arguments, DescribeOptions)
    config, own = settings_from(arguments, DescribeConfig)
    input_size(options.image, ImageError, missing="there is no such file")
    shown = parse_value_range(options.value_range)
    check_output(options.out, suffixes=(".npz",), inputs=[options.image])

    with shell.loading_torch():
        from engine.descriptors.registry import get_descriptor
        from engine.jobs.describe import DescribeJob
        from engine.jobs.fetch import fetch_missing
        from engine.jobs.recipe import load_descriptor_sources, make_recipe

    context = shell.context(config.device)
    load_descriptor_sources(options.plugins, context)
    recipe = make_recipe(config, own)
    if options.download:
        fetch_missing([recipe.spec.choice], context)
    job = DescribeJob(image=options.image, recipe=recipe, out=options.out, shown=shown)
    info = job.run(context)
    shell.sink.close()
    title = get_descriptor(config.descriptor).title
    maps = "1 map" if info.levels == 1 else f"{info.levels} maps"
    shell.print(
        f"{title}{'' if info.trained else ' (untrained)'}: {maps} of "
        f"{info.cells[0]}×{info.cells[1]} cells, {info.dim} numbers each, one every "
        f"{info.stride_px:.4g} px, on {info.device} in {info.seconds:.1f} s"
    )
    if info.values:
        shell.print(f"values  {info.values}")
    return 0


COMMAND = Command(
    usage="IMAGE --out FILE [option …]",
    examples=(
        "describe a.jpg --descriptor daisy --out a.npz",
        "describe a.jpg --long-edge 0 --set stride_px=2 --out a.npz",
    ),
    description="Write the dense descriptor maps of an image with their stride and offset as "
    ".npz;\n'view A B --maps A.npz B.npz' shows such files, whichever program made them.",
    options=(DescribeConfig, DescribeOptions),
    run=run,
    needs_torch=True,
)
