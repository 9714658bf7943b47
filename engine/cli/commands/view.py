"""``view``: open the window on a pair, or save a picture of it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

from engine.cli.parser import (
    Parser,
    Shell,
    Subparsers,
    add_command,
    add_descriptor_sources,
    add_maps_flag,
    add_pair_arguments,
    whole_number,
)
from engine.config import parse_overrides
from engine.errors import ConfigError, DescSpaceError, FileError
from engine.jobs.view_options import Theme, ViewOptions
from engine.vocabulary import Panel, ViewMode

SCREENSHOT_SUFFIXES = (".png", ".jpg", ".jpeg")
_SMALLEST_SIDE, _LARGEST_SIDE = 200, 16384


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "view",
        summary="open the window on two images or a sequence",
        usage="A B | SEQUENCE [option …]",
        examples=(
            "view a.jpg b.jpg --homography h.txt --descriptor daisy\n"
            "view v_graf --pair 3 --descriptor superpoint --weights superpoint_v1.pth\n"
            "view v_graf --probe 300,400 --mode heat --screenshot graf.png\n"
            "view a.jpg b.jpg --maps a.npz b.npz"
        ),
    )
    add_pair_arguments(parser)
    group = parser.add_argument_group("descriptor")
    group.add_argument("--descriptor", metavar="NAME", help="'descriptors' lists them")
    group.add_argument("--weights", type=Path, metavar="FILE", help="its weights file")
    add_descriptor_sources(group)
    add_maps_flag(group)
    group.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:0 (default: auto)"
    )
    group.add_argument("--compare", metavar="NAME", help="a second descriptor beside the first")
    group = parser.add_argument_group("what to show")
    group.add_argument(
        "--probe",
        type=_point,
        metavar="X,Y",
        help="put the probe on this pixel of the first image; write --probe=X,Y if X is negative",
    )
    group.add_argument(
        "--mode",
        choices=get_args(ViewMode),
        metavar="|".join(get_args(ViewMode)),
        help="what the panes show: images, PCA colours, these over the images, the similarity map, "
        "or the other image warped",
    )
    group.add_argument(
        "--matches",
        type=whole_number(low=1, high=1_000_000),
        metavar="N",
        help="match this many points",
    )
    group = parser.add_argument_group("window")
    group.add_argument(
        "--theme", choices=get_args(Theme), metavar="|".join(get_args(Theme)), help="its colours"
    )
    group.add_argument(
        "--panel", choices=get_args(Panel), metavar="NAME", help="open a panel, such as training"
    )
    group.add_argument("--size", type=_size, metavar="WxH", help="its size, such as 1280x800")
    group.add_argument(
        "--screenshot",
        type=Path,
        metavar="FILE",
        help="save the window there once computing is done, and end; needs no display",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Open the window as the arguments say."""
    return _open(options_from(arguments), shell)


def run_without_arguments(_arguments: argparse.Namespace, shell: Shell) -> int:
    """Open the window as it was left."""
    return _open(ViewOptions(), shell)


def options_from(arguments: argparse.Namespace) -> ViewOptions:
    """Check the arguments as far as that goes without loading anything.

    Raises:
        DescSpaceError: a file is missing, or options contradict each other.
    """
    from engine.jobs.open_pair import check_images
    from engine.jobs.output import check_output

    images = tuple(arguments.images)
    if images or arguments.pair is not None or arguments.homography is not None:
        check_images(images, pair_index=arguments.pair, homography=arguments.homography)
    parse_overrides(arguments.settings)
    needed = [arguments.homography, arguments.weights, *arguments.plugins, *arguments.maps]
    for path in needed:
        if path is not None and not path.is_file():
            raise FileError(path, "there is no such file")
    descriptor = arguments.descriptor
    if arguments.maps and descriptor not in (None, "precomputed"):
        raise ConfigError("maps", f"go with the descriptor 'precomputed', not with {descriptor!r}")
    if arguments.screenshot is not None:
        check_output(arguments.screenshot, suffixes=SCREENSHOT_SUFFIXES, inputs=images)
    return ViewOptions(
        images=images,
        pair_index=arguments.pair,
        homography=arguments.homography,
        descriptor="precomputed" if arguments.maps else descriptor,
        weights=arguments.weights,
        settings=tuple(arguments.settings),
        device=arguments.device,
        probe_px=arguments.probe,
        mode=arguments.mode,
        compare=arguments.compare,
        matches=arguments.matches,
        theme=arguments.theme,
        panel=arguments.panel,
        size=arguments.size,
        screenshot=arguments.screenshot,
        plugins=tuple(arguments.plugins),
        maps=tuple(arguments.maps),
    )


def _open(options: ViewOptions, shell: Shell) -> int:
    from engine.jobs import qt_platform

    if options.screenshot is not None and qt_platform.display_problem():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    problem = qt_platform.window_problem()
    if problem:
        raise DescSpaceError(
            f"No window can be opened: {problem}; without one, 'match', 'describe', 'demo', "
            "'doctor' and 'view … --screenshot FILE' work."
        )
    return shell.open_window(options)


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y such as 300,400") from None
    if not (abs(x) < 1e9 and abs(y) < 1e9):  # also refuses NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a point of an image")
    return x, y


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH such as 1280x800")
    size = int(width), int(height)
    if not all(_SMALLEST_SIDE <= side <= _LARGEST_SIDE for side in size):
        raise argparse.ArgumentTypeError(
            f"{text!r} is out of range, sides go from {_SMALLEST_SIDE} to {_LARGEST_SIDE}"
        )
    return size
