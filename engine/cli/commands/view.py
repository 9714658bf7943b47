"""``view``: open the window on a pair, or save a picture of it."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from engine.cli.command import Command, Shell, options_from
from engine.config import describe_options, parse_overrides
from engine.errors import ConfigError, DescSpaceError, FileError
from engine.files import input_size
from engine.jobs.command_line import ViewOptions, parse_compared, parse_pins
from engine.vocabulary import PRECOMPUTED, SESSION_SUFFIX

_BESIDE_SESSION = ("images", "plugins", "device", "theme", "panel", "size", "screenshot")
SCREENSHOT_SUFFIXES = (".png", ".jpg", ".jpeg")


def run(arguments: Namespace, shell: Shell) -> int:
    """Open the window with the given options."""
    return _open(view_options(arguments), shell)


def view_options(arguments: Namespace) -> ViewOptions:
    """The options, checked as far as that is possible without loading anything.

    Raises:
        DescSpaceError: a file is missing, or options contradict each other.
    """
    from engine.heat_range import parse_heat_range
    from engine.imagefiles.value_range import parse_pair_ranges
    from engine.jobs.open_pair import check_images
    from engine.jobs.output import check_output

    options = options_from(arguments, ViewOptions)
    given = (options.group, options.pair_index, options.homography, options.truth)
    if options.images or any(one is not None for one in given):
        check_images(
            options.images,
            group=options.group,
            pair_index=options.pair_index,
            homography=options.homography,
            truth=options.truth,
        )
    _check_session(options)
    parse_overrides(options.settings)
    parse_compared(options)
    parse_pins(options.pins)
    for name in ("zoom", "zoom_b"):
        part = getattr(options, name)
        if part is not None and min(part[2:]) <= 0:
            raise ConfigError(name, "its width and height must be above 0")
    parse_pair_ranges(options.value_range, options.value_range_b)
    if options.heat_range is not None:
        parse_heat_range(options.heat_range)
    if options.pca is not None and 0 in options.pca:
        raise ConfigError("pca", "counts components from 1; 0 is none")
    if options.pca_fit == "file" and options.pca_basis is None:
        raise ConfigError("pca_fit", "is 'file', so --pca-basis must name the file")
    if options.pca_basis is not None and options.pca_fit not in (None, "file"):
        raise ConfigError("pca_basis", f"is already fitted, not on {options.pca_fit!r}")
    if options.truth is not None:
        from engine.truth.named import check_named  # late: it loads readers of all kinds

        check_named(options.truth, Path())
    files = (options.homography, options.weights, options.pca_basis, *options.plugins)
    for path in (*files, *(options.maps or ())):
        if path is not None:
            input_size(path, FileError, missing="there is no such file")
    if options.screenshot is not None:
        check_output(options.screenshot, suffixes=SCREENSHOT_SUFFIXES, inputs=options.images)
    if options.maps is None:
        return options
    if options.descriptor not in (None, PRECOMPUTED):
        raise ConfigError(
            "maps", f"go with the descriptor 'precomputed', not with {options.descriptor!r}"
        )
    return replace(options, descriptor=PRECOMPUTED)


def _check_session(options: ViewOptions) -> None:
    """Refuse what a session itself says.

    Raises:
        ConfigError: names the option.
    """
    if len(options.images) != 1 or options.images[0].suffix != SESSION_SUFFIX:
        return
    for info in describe_options(ViewOptions):
        if info.name not in _BESIDE_SESSION and getattr(options, info.name) != info.default:
            raise ConfigError(info.name, "is what the session says; leave it out, or name images")


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
    if options.download:
        _fetch(options, shell)
    return shell.open_window(options)


def _fetch(options: ViewOptions, shell: Shell) -> None:
    """Fetch the weights that the window will need, before it opens."""
    with shell.loading_torch():
        from engine.jobs.fetch import fetch_missing

    own = {**parse_overrides(options.settings)}
    if options.weights is not None:
        own["weights"] = str(options.weights)
    choices = [(options.descriptor, own)] if options.descriptor else []
    choices += parse_compared(options)
    fetch_missing(choices, shell.context())
    shell.sink.close()


COMMAND = Command(
    usage="A B | SET | SESSION [option …]",
    examples=(
        "view a.jpg b.jpg --homography h.txt --descriptor daisy",
        "view left.png right.png --truth flow:forward.flo,backward.flo",
        "view v_graf --pair 3 --descriptor superpoint --weights superpoint_v1.pth",
        "view wxbs --group kyiv",
        "view v_graf --descriptor daisy --compare superpoint --compare descspace-fast",
        "view v_graf --probe 300,400 --mode heat --screenshot graf.png",
        "view a.jpg b.jpg --maps a.npz b.npz",
        "view graf.descspace",
    ),
    options=(ViewOptions,),
    run=run,
)
