"""The options of commands besides their settings, and the writer of command lines.

Parser and writer read the same declarations, so a line that is written parses back into what it was
written from.  Nothing here loads numpy, torch or Qt: the command line needs these options before
anything else.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from engine.config import (
    REQUIRED,
    OptionInfo,
    describe_options,
    option,
    option_text,
    override_texts,
    parse_overrides,
)
from engine.errors import ConfigError, quoted
from engine.jobs.settings import SECTION, STRICT
from engine.matching.colouring import MOST_COMPONENTS
from engine.paths import program_call
from engine.vocabulary import MOST_COMPARED, SIDES, Colormap, Panel, PcaFit, Side, ViewMode

Theme = Literal["light", "dark"]


@dataclass(frozen=True, kw_only=True)
class Plugins:
    """Descriptors from files."""

    plugins: tuple[Path, ...] = option(
        (), help="Python file that registers a descriptor; its code will run", flag="--plugin",
        metavar="FILE", repeated=True, group="descriptor",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Which pair."""

    images: tuple[Path, ...] = option(
        (), help="two images, or a folder or file with pairs, whose layout is recognised "
        "(LAYOUT:PATH names it)", flag="", metavar="A B | SET", group="which pair",
    )  # fmt: skip
    group: str | None = option(
        None, help="of a set with several groups of pairs (sequences, scenes): the name of one",
        metavar="NAME",
    )  # fmt: skip
    pair_index: int | None = option(
        None, help="of a group: the number of a pair, in HPatches that of its second image, 2 to "
        "6; the first pair by default",
        low=1, flag="--pair", metavar="K",
    )  # fmt: skip
    homography: Path | None = option(
        None, help="of two images: 3×3 numbers that map pixels of A to pixels of B"
    )
    truth: str | None = option(
        None, help="of two images: ground truth of any kind: homography, points, landmarks, flow "
        "(there, and back), disparity (left, and right), depth (of A, of B, cameras=…); KIND: "
        "before it says which, factor=N by what whole numbers are divided",
        metavar="[KIND:]FILE[,FILE]",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RangeOption:
    """Which sample values are black and white."""

    value_range: str | None = option(
        None, help="which values of the image files are black and white, such as 0,4095; write "
        "--range=BLACK,WHITE if BLACK is negative; by default what a file states or its values "
        "suggest ('auto')",
        flag="--range", metavar="BLACK,WHITE", group="which values",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PairRangeOptions(RangeOption):
    """Which sample values of each of two images are black and white."""

    value_range_b: str | None = option(
        None, help="the same for the second image, where it differs", flag="--range-b",
        metavar="BLACK,WHITE",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OwnSettings(Plugins):
    """A descriptor's own settings."""

    settings: tuple[str, ...] = option(
        (), help="a setting of the descriptor, such as stride_px=4; can be given several times",
        flag="--set", metavar="NAME=VALUE", repeated=True,
    )  # fmt: skip
    download: bool = option(
        False, help="fetch the published weights of a network named by its library, such as "
        "timm:resnet18, if they are not on this computer",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MapFiles:
    """Maps that another program made."""

    maps: tuple[Path, Path] | None = option(
        None, help="precomputed maps of both images (.npz, .npy or .pt), for the descriptor "
        "'precomputed'", metavar="A B", separator=" ",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ViewOptions(MapFiles, OwnSettings, PairRangeOptions, PairOptions):
    """How to open the window; the defaults open it as it was left.

    ``images`` are none, one folder or file with pairs, one session, or two image files;
    naming ``plugins`` is consent to run them.
    """

    descriptor: str | None = option(None, help="registered name; 'descriptors' lists them")
    weights: Path | None = option(None, help="its weights file")
    device: str = option("auto", help="auto, cpu, cuda or cuda:0")
    long_edge_px: int | None = option(
        None, help="shrink images to this long edge before they are described; 0 keeps them; by "
        "default what the settings say", unit="px", low=0, high=8192,
    )  # fmt: skip
    compare: tuple[str, ...] = option(
        (), help="a descriptor beside the first, at the same cursor; can be given three times",
        metavar="NAME", repeated=True,
    )  # fmt: skip
    compare_settings: tuple[str, ...] = option(
        (), help="a setting of the N-th compared descriptor, such as 1.radius_px=8 or "
        "2.weights=FILE; can be given several times", flag="--compare-set",
        metavar="N.NAME=VALUE", repeated=True,
    )  # fmt: skip
    probe_px: tuple[float, float] | None = option(
        None, help="put the probe on this pixel of the first image, such as 300,400; write "
        "--probe=X,Y if X is negative", flag="--probe", metavar="X,Y", group="what to show",
    )  # fmt: skip
    pins: tuple[str, ...] = option(
        (), help="pin this pixel of the first image, such as 300,400, or b:300,400 of the second; "
        "can be given several times", flag="--pin", metavar="[b:]X,Y", repeated=True,
    )  # fmt: skip
    zoom: tuple[float, float, float, float] | None = option(
        None, help="show this part of the first image as large as it goes, in pixels; write "
        "--zoom=LEFT,… if LEFT is negative", metavar="LEFT,TOP,WIDTH,HEIGHT",
    )  # fmt: skip
    zoom_b: tuple[float, float, float, float] | None = option(
        None, help="the same of the second image", metavar="LEFT,TOP,WIDTH,HEIGHT"
    )
    linked: bool = option(False, help="pan and zoom both panes together", flag="--link")
    mode: ViewMode | None = option(
        None, help="what the panes show: images, PCA colours, these over the images, the "
        "similarity map, or the other image warped",
    )  # fmt: skip
    pca: tuple[int, int, int] | None = option(
        None, help="numbers of the PCA components that are red, green and blue; a negative one is "
        "flipped, such as 1,3,-2; write --pca=R,G,B if the first is negative",
        low=-MOST_COMPONENTS, high=MOST_COMPONENTS, metavar="R,G,B",
    )  # fmt: skip
    pca_fit: PcaFit | None = option(
        None, help="images that the PCA colours are fitted on; 'file' needs --pca-basis"
    )
    pca_basis: Path | None = option(None, help="a saved PCA basis to colour by")
    pca_foreground: float | None = option(
        None, help="show only where the first PCA component is above this share of its range; a "
        "negative one shows what is below; write --pca-foreground=SHARE then",
        low=-1.0, high=1.0, metavar="SHARE",
    )  # fmt: skip
    self_similarity_px: float | None = option(
        None, help="show as well where else in its own image the probe's descriptor fits, outside "
        "of this radius around it in pixels as described", low=0.0, high=4096.0,
        flag="--self-similarity", metavar="PX",
    )  # fmt: skip
    own_ranges: bool = option(
        False, help="fit the colours of the similarity map for each descriptor alone"
    )
    heat_range: str | None = option(
        None, help="similarities of the first and the last colour: percentile:LOW,HIGH of each "
        "map, relative:SPAN below the best match, or fixed:LOW,HIGH", metavar="KIND:NUMBERS",
    )  # fmt: skip
    colormap: Colormap | None = option(
        None, help="colours of similarities and other maps; turbo is not perceptually uniform"
    )
    matches: int | None = option(None, help="match this many points", low=1, high=1_000_000)
    matches_by: int = option(
        0, help="match by the N-th compared descriptor", low=0, high=MOST_COMPARED, metavar="N"
    )
    theme: Theme | None = option(None, help="its colours", group="window")
    panel: Panel | None = option(None, help="open a panel, such as training", metavar="NAME")
    size: tuple[int, int] | None = option(
        None, help="its size, such as 1280x800", metavar="WxH", separator="x",
        low=200, high=16384,
    )  # fmt: skip
    screenshot: Path | None = option(
        None, help="save the window there once computing is done, and quit; needs no display"
    )


def parse_compared(options: ViewOptions) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The compared descriptors and their settings.

    Raises:
        ConfigError: there are too many, or a setting belongs to none of them.
    """
    if len(options.compare) > MOST_COMPARED:
        raise ConfigError(
            "compare", f"can be given {MOST_COMPARED} times, not {len(options.compare)}"
        )
    names = {str(number): name for number, name in enumerate(options.compare, start=1)}
    settings = parse_overrides(options.compare_settings)
    for number, own in settings.items():
        if number not in names or not isinstance(own, dict):
            raise ConfigError(
                "compare-set",
                f"begins with the number of a compared descriptor, such as 1.weights=FILE, not "
                f"with {number!r}",
            )
    if options.matches_by > len(names):
        raise ConfigError(
            "matches-by",
            f"is the number of a compared descriptor, and --compare is given {len(names)} times",
        )
    return tuple((name, settings.get(number, {})) for number, name in names.items())


def parse_pins(texts: Iterable[str]) -> tuple[tuple[Side, tuple[float, float]], ...]:
    """The image and the pixel of each pin.

    Raises:
        ConfigError: one is not ``[SIDE:]X,Y``.
    """
    found: list[tuple[Side, tuple[float, float]]] = []
    for text in texts:
        word, colon, rest = text.rpartition(":")
        side = SIDES[-1] if word == "b" else SIDES[0]
        try:
            x, y = (float(part) for part in rest.split(","))
        except ValueError:
            x = y = math.nan
        if not (math.isfinite(x) and math.isfinite(y)) or (colon and word not in SIDES):
            raise ConfigError("pin", f"{quoted(text)} is not X,Y or b:X,Y")
        found.append((side, (x, y)))
    return tuple(found)


def pin_options(pins: Iterable[tuple[Side, tuple[float, float]]]) -> tuple[str, ...]:
    """``pins`` from which :func:`parse_pins` reads this back."""
    return tuple(f"{'b:' if side == 'b' else ''}{option_text(point_px)}" for side, point_px in pins)


def compared_options(
    compared: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``compare`` and ``compare_settings`` from which :func:`parse_compared` reads this back."""
    chosen = tuple(compared)
    settings = {str(n): dict(sorted(own.items())) for n, (_, own) in enumerate(chosen, start=1)}
    return (
        tuple(name for name, _ in chosen),
        override_texts({number: own for number, own in settings.items() if own}),
    )


@dataclass(frozen=True, kw_only=True)
class SettingsFile:
    """A file with any of the settings."""

    config: Path | None = option(
        None, help="YAML file with these settings by their full names, such as long_edge_px, and "
        "the descriptor's own under 'settings:'; --set and flags override it", group="descriptor",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(SettingsFile, OwnSettings):
    """Where an evaluation reads and writes."""

    data: Path | None = option(
        None, help="folder that contains HPatches (default: DESCGUI_DATA, else your data folder)",
        folder=True, group="what to measure",
    )  # fmt: skip
    out: Path | None = option(
        None, help="folder of this run (default: a new one)", folder=True, group="where to write"
    )
    resume: bool = option(False, help="continue the run in that folder")
    strict: bool = option(False, help="stop at a broken pair instead of leaving it out")
    json: bool = option(False, help="print result.json instead of a table")
    no_report: bool = option(False, help="write no report.html")


@dataclass(frozen=True, kw_only=True)
class StudyOptions(OwnSettings):
    """Where a study reads and writes."""

    data: Path | None = option(
        None, help="folder that contains HPatches (default: DESCGUI_DATA, else your data folder)",
        folder=True, group="what to study",
    )  # fmt: skip
    out: Path | None = option(
        None, help="folder for study.html, study.json and study.csv (default: a new one)",
        folder=True, group="where to write",
    )  # fmt: skip
    json: bool = option(False, help="print study.json instead of a table")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Plugins):
    """What a training reads and where it writes."""

    config: Path | None = option(
        None, help="YAML file with the settings; --resume without it uses the run's own",
        group="what to train",
    )  # fmt: skip
    settings: tuple[str, ...] = option(
        (), help="a setting, such as train.steps=500 or train.warp.rotation_deg=45; the "
        "descriptor's own begin with 'settings.'; can be given several times",
        flag="--set", metavar="NAME=VALUE", repeated=True,
    )  # fmt: skip
    overrides: tuple[str, ...] = option(
        (), help="settings by the names of MSNet's published code, such as TRAIN.BATCH_SIZE 4",
        flag="", metavar="NAME VALUE",
    )  # fmt: skip
    run_dir: Path | None = option(
        None, help="folder of this run (default: a new one)", folder=True, group="where to write"
    )
    resume: bool = option(False, help="continue from the last checkpoint in that folder")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Which runs a report is about, and where it goes."""

    folders: tuple[Path, ...] = option(
        REQUIRED, help="folder of a run, or its result.json", flag="", metavar="DIR",
        group="what to read and write",
    )  # fmt: skip
    out: Path | None = option(
        None, help="folder to write into (default: the run's; needed for several runs)",
        folder=True,
    )  # fmt: skip
    pdf: bool = option(False, help="write report.pdf too")
    tables: tuple[Literal["markdown", "latex"], ...] = option(
        ("markdown", "latex"), help="write its tables as text to copy: tables.md, and tables.tex "
        "for booktabs; '' for none",
    )  # fmt: skip
    figures: tuple[Literal["pdf", "svg", "png"], ...] = option(
        ("pdf",), help="write its curves into the folder figures, as files of these kinds; '' for "
        "none",
    )  # fmt: skip
    dataset: Path | None = option(
        None, help="where the images are now (default: where they were)", folder=True,
        group="the worst pairs",
    )  # fmt: skip
    no_pictures: bool = option(False, help="do not show them")


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions:
    """Which results are ranked, and where the page goes."""

    folders: tuple[Path, ...] = option(
        REQUIRED, help="folder of a run, its result.json, or a folder with runs below it", flag="",
        metavar="DIR", group="what to read and write",
    )  # fmt: skip
    out: Path = option(Path("leaderboard.html"), help="the page", metavar="FILE")
    by: str = option(
        "", help="rank by this metric, such as mma@3, corner_auc@5 or pck@1 (default: PCK at 5 px)",
        metavar="METRIC",
    )  # fmt: skip
    allow: tuple[str, ...] = option(
        (), help="a field of the fingerprint that may differ within a board, such as device or "
        "versions; the page names it; can be given several times", metavar="FIELD", repeated=True,
    )  # fmt: skip


def command_line(
    command: str,
    *parts: Any,
    own: Mapping[str, Any] | None = None,
    program: str = "",
) -> str:
    """The line that runs a command, quoted for a POSIX shell.

    Args:
        command: its name.
        parts: objects with its settings and options; what is at its default is left out.
        own: the descriptor's own settings.
        program: how the program itself is called, inserted as it is; by default as this
            installation is.
    """
    return f"{program or program_call()} {shlex.join([command, *option_words(*parts, own=own)])}"


def option_words(*parts: Any, own: Mapping[str, Any] | None = None) -> list[str]:
    """Settings and options as the words of a command line; see :func:`command_line`."""
    places: list[str] = []
    flags: list[str] = []
    for part in parts:
        kind: type = type(part)
        for info in describe_options(kind, sections=True):
            value = attrgetter(info.name)(part)
            if info.always or info.required or value != info.default:
                (places if info.flag == "" else flags).extend(_words(info, value))
    if any(isinstance(part, STRICT) for part in parts):
        own = {SECTION: own or {}}
    for text in override_texts(own or {}):
        flags += ["--set", text]
    return [*places, *flags]


def _words(info: OptionInfo, value: Any) -> list[str]:
    """One option as the words of a command line."""
    if info.flag is None:
        return ["--set", *override_texts({info.name: value})]
    if info.kind == "bool":
        return [info.flag if value else f"--no-{info.flag.removeprefix('--')}"]
    if info.repeated:
        return [word for part in value for word in _flagged(info.flag, _text(part))]
    if info.flag and info.separator != " ":
        return _flagged(info.flag, _text(value, info.separator))
    words = [_text(part) for part in (value if info.kind == "numbers" else [value])]
    return [info.flag, *words] if info.flag else words


def _text(value: Any, separator: str = ",") -> str:
    text = option_text(value, separator)
    return f"./{text}" if isinstance(value, Path) and text.startswith("-") else text


def _flagged(flag: str, text: str) -> list[str]:
    """A flag with its value; one word where the value would pass for a flag itself."""
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]
