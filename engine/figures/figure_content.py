"""What figures show, as plain data that needs no matplotlib.

Matched points are (x, y) in original pixels of the image they belong to.  Shapes over an image are
in pixels of a screen, from the image's top-left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.vocabulary import Colormap, FigureTheme

Judgement = Literal["right", "wrong", "agrees", "unknown", "blank"]
"""What is known about a match; ``blank``: nothing, because its query has no texture."""

Point = tuple[float, float]
Lines = tuple[tuple[Point, ...], ...]
Pixels = NDArray[np.uint8]


def printable(text: str) -> str:
    """The text without control characters and half surrogates, which no kind of file takes."""
    return "".join(sign if sign.isprintable() or sign in "\n\xa0" else "?" for sign in text)


@dataclass(frozen=True, slots=True)
class Inks:
    """The colours of a theme: of words, of lesser words, of rules, and of the ground."""

    ink: str
    soft: str
    rule: str
    ground: str


INKS: Final[dict[FigureTheme, Inks]] = {
    "light": Inks("#1f2328", "#59636e", "#d9dde1", "#ffffff"),
    "dark": Inks("#e4e7ea", "#a3acb6", "#343a41", "#15181c"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """How a figure is printed.

    Attributes:
        width_cm: of the whole figure.
        font: a family; the default comes with matplotlib and is thus on every computer.
        font_pt: size of most text.
        theme: dark on white, or light on dark.
        clear: leave the ground transparent.
        dots_per_inch: of PNG, and of photographs inside SVG and PDF.
        jpeg_quality: of photographs inside SVG, 1 to 95.
    """

    width_cm: float = 17.0
    font: str = "DejaVu Sans"
    font_pt: float = 7.5
    theme: FigureTheme = "light"
    clear: bool = False
    dots_per_inch: int = 300
    jpeg_quality: int = 94


@dataclass(frozen=True, slots=True)
class Stroke:
    """Lines through points, and what they enclose.

    Attributes:
        lines: points of each.
        colour: hexadecimal.
        width: 0 draws no line.
        dashes: on and off, in widths.
        fill: colour of what is enclosed; "" leaves it clear.
        opacity: of the fill.
        round: round off the ends.
    """

    lines: Lines
    colour: str
    width: float
    dashes: tuple[float, float] | None = None
    fill: str = ""
    opacity: float = 1.0
    round: bool = False


@dataclass(frozen=True, slots=True)
class Disc:
    """A circle; ``opacity`` is its fill's."""

    centre: Point
    radius: float
    colour: str = ""
    width: float = 0.0
    fill: str = ""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Words:
    """Bold text.

    Attributes:
        at: its centre, or the middle of its left edge if it has to keep to a room.
        text: one line.
        colour: hexadecimal.
        size: a share of the font of labels.
        room: how wide it may be; 0 sets it around its centre.
    """

    at: Point
    text: str
    colour: str
    size: float = 1.0
    room: float = 0.0


Shape = Stroke | Disc | Words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One image of a figure.

    Attributes:
        image: ``(H, W, 3)`` RGB, the whole image at any size.
        size_px: (width, height) of the original, which points are measured in.
        letter: the bold name above it.
        title: the text after the letter; shortened where it is too long.
        shapes: drawn over the image, lowest first, in pixels of an image ``stage_px`` wide.
        stage_px: see there.
    """

    image: Pixels
    size_px: tuple[int, int]
    letter: str = ""
    title: str = ""
    shapes: tuple[Shape, ...] = ()
    stage_px: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColorScale:
    """A bar of colours from ``low`` to ``high``, with a marker at one value.

    Attributes:
        logarithmic: equal factors are equal lengths; ``low`` is above 0 then.
    """

    title: str
    low: float
    high: float
    colormap: Colormap
    marker: float | None = None
    logarithmic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairFigure:
    """Whole images side by side, equally high, with the matches between the first two.

    Attributes:
        title: what it shows, for the file's own description.
        panels: two or more.
        points_a, points_b: ``(N, 2)`` matched points; rows that are not finite are left out.
        judgements: of each match.
        limit: how many lines are drawn at most, chosen at random but always the same.
        opacity: of the lines, 0 to 1.
        legend: kinds of matches, or shapes about (0, 0) in pixels of a screen, with their words.
        scale: the scale of the colours over the images.
        caption: paragraphs below.
        bare: the images and lines alone, without a margin.
    """

    title: str
    panels: tuple[Panel, ...]
    points_a: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    points_b: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    judgements: tuple[Judgement, ...] = ()
    limit: int | None = None
    opacity: float = 1.0
    legend: tuple[tuple[Judgement | tuple[Shape, ...], str], ...] = ()
    scale: ColorScale | None = None
    caption: tuple[str, ...] = ()
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot.

    Attributes:
        series: number of the descriptor, for colour and dashes.
        xs: ascending.
        ys: the value at each.
        whiskers: (x, low, high) intervals that are known.
        name: what a legend calls it.
    """

    series: int
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    whiskers: tuple[tuple[float, float, float], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class CurvesFigure:
    """A plot of shares from 0 to 1 over x from 0 to the last value of any curve.

    Attributes:
        title: above it.
        x_label: below the axis.
        curves: the first one is drawn on top.
        series_count: how many series there are in all; whiskers of a few stand side by side.
        ticks: words at places along x, which has no other value then, so values are marked.
        legend: whether a legend inside the plot names the curves.
    """

    title: str
    x_label: str
    curves: tuple[Curve, ...]
    series_count: int
    ticks: tuple[tuple[float, str], ...] = ()
    legend: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """A short line for a legend: of a series, or of right or wrong matches."""

    title: str
    line: int | Judgement


Content = PairFigure | CurvesFigure | Sample
