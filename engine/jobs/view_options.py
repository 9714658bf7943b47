"""What the window shall show when it opens, and the command that says so.

Nothing here loads numpy, torch or Qt: the command line builds these options before anything else.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.vocabulary import Panel, ViewMode

Theme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """How to open the window; the defaults open it as it was left.

    Attributes:
        images: nothing, one folder (a sequence or a folder of sequences), or two image files.
        pair_index: number of the second image in the sequence; None for the first pair.
        homography: file with ``h_b_from_a`` of two image files.
        descriptor: registered name; None for the one in the settings.
        weights: weights file of that descriptor.
        settings: its other settings, each ``name=value``.
        device: torch device name or "auto".
        probe_px: point (x, y) of the first image, in pixels of its file.
        mode: what the panes show; None for the settings' choice.
        compare: second descriptor beside the first.
        matches: how many points to match at once.
        theme: colours of the window; None for the settings' choice.
        size: (width, height) of the window in device-independent pixels.
        panel: opened and in front of its tabs.
        screenshot: save the window there once computing is done, then end.
        plugins: Python files that register descriptors; naming them here is consent to run them.
        maps: precomputed maps of the two images, for the descriptor ``precomputed``.
    """

    images: tuple[Path, ...] = ()
    pair_index: int | None = None
    homography: Path | None = None
    descriptor: str | None = None
    weights: Path | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"
    probe_px: tuple[float, float] | None = None
    mode: ViewMode | None = None
    compare: str | None = None
    matches: int | None = None
    theme: Theme | None = None
    size: tuple[int, int] | None = None
    panel: Panel | None = None
    screenshot: Path | None = None
    plugins: tuple[Path, ...] = ()
    maps: tuple[Path, ...] = ()


def view_command(options: ViewOptions, *, program: str = "python main.py") -> str:
    """The command line that opens the window in this state, quoted for a POSIX shell.

    Args:
        options: the state; the command line parses back into the same options.
        program: how the program itself is called, put in as it is.
    """
    words = ["view", *map(str, options.images)]
    single: tuple[tuple[str, object], ...] = (
        ("--pair", options.pair_index),
        ("--homography", options.homography),
        ("--descriptor", options.descriptor),
        ("--weights", options.weights),
        ("--device", None if options.device == "auto" else options.device),
        ("--mode", options.mode),
        ("--compare", options.compare),
        ("--matches", options.matches),
        ("--theme", options.theme),
        ("--panel", options.panel),
        ("--screenshot", options.screenshot),
    )
    for flag, value in single:
        if value is not None:
            words += [flag, str(value)]
    if options.probe_px is not None:
        # One word, so that a negative x is not taken for a flag.
        words.append("--probe={:.10g},{:.10g}".format(*options.probe_px))
    if options.size is not None:
        words += ["--size", "{}x{}".format(*options.size)]
    for flag, values in (("--set", options.settings), ("--plugin", options.plugins)):
        for item in values:
            words += [flag, str(item)]
    if options.maps:
        words += ["--maps", *map(str, options.maps)]
    return f"{program} {shlex.join(words)}"
