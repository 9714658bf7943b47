"""``describe``: write the dense maps of one image."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.parser import (
    Parser,
    Shell,
    Subparsers,
    add_command,
    add_config_flags,
    add_descriptor_sources,
    add_settings_file,
    settings_from,
)
from engine.errors import ImageError
from engine.jobs.settings import DescribeConfig
from engine.progress import Stage


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "describe",
        summary="write the dense descriptor maps of an image",
        usage="IMAGE --out FILE [option …]",
        examples=(
            "describe a.jpg --descriptor daisy --out a.npz\n"
            "describe a.jpg --long-edge 0 --set stride_px=2 --out a.npz"
        ),
    )
    parser.description = (
        "Write the dense descriptor maps of an image with their stride and offset as .npz;\n"
        "'view A B --maps A.npz B.npz' shows such files, whichever program made them."
    )
    group = parser.add_argument_group("what to read and write")
    group.add_argument("image", type=Path, metavar="IMAGE", help="the image")
    group.add_argument("--out", type=Path, required=True, metavar="FILE", help="file, .npz")
    group = add_config_flags(parser, DescribeConfig, title="how to describe")
    add_descriptor_sources(group)
    add_settings_file(group)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Describe and write."""
    from engine.jobs.output import check_output

    config, values = settings_from(arguments, DescribeConfig)
    if not arguments.image.is_file():
        raise ImageError(arguments.image, "there is no such file")
    check_output(arguments.out, suffixes=(".npz",), inputs=[arguments.image])

    with shell.stage(Stage.LOADING_TORCH):
        from engine.jobs.describe import DescribeJob
        from engine.jobs.recipe import load_descriptor_sources, make_recipe

    context = shell.context(config.device)
    load_descriptor_sources(arguments.plugins, context)
    recipe = make_recipe(config, values)
    result = DescribeJob(image=arguments.image, recipe=recipe, out=arguments.out).run(context)
    shell.sink.close()
    info = result.info
    maps = "1 map" if info.levels == 1 else f"{info.levels} maps"
    print(
        f"{result.descriptor}{'' if info.trained else ' (untrained)'}: {maps} of "
        f"{info.cells[0]}×{info.cells[1]} cells, {info.dim} numbers each, one every "
        f"{info.stride_px:.4g} px, on {info.device} in {info.seconds:.1f} s"
    )
    return 0
