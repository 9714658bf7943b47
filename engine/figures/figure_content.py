"""What figures show, as plain data that needs no matplotlib.

Points are (x, y) in original pixels of the image they belong to; all other lengths are in points
(1/72 inch) of the printed figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.vocabulary import Colormap, FigureTheme

Judgement = Literal["right", "wrong", "agrees", "unknown"]
MarkKind = Literal["asked", "best", "next", "truth", "pin", "found"]
Symbol = Judgement | MarkKind
Point = tuple[float, float]
Pixels = NDArray[np.uint8]


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
class Mark:
    """A symbol at a point of an image.

    Attributes:
        kind: what it marks: a query, its best match, a next best one, the true point, a pin, or
            the match of a pin.
        point_px: where.
        colour: hexadecimal; "" for the kind's own.
        text: the number in a pin or in a next best match.
        selected: a pin with a white rim.
    """

    kind: MarkKind
    point_px: Point
    colour: str = ""
    text: str = ""
    selected: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """From a found point to the true one, or an arrow from a query to its match back."""

    kind: Literal["right", "wrong", "cycle"]
    start_px: Point
    end_px: Point


@dataclass(frozen=True, slots=True)
class Label:
    """Text beside a point; a stripe at its edge shows whether the match is right."""

    point_px: Point
    text: str
    judgement: Judgement | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One image of a figure.

    Attributes:
        image: ``(H, W, 3)`` RGB, the whole image at any size.
        size_px: (width, height) of the original, which points are measured in.
        letter: the bold name above it.
        title: the text after the letter; shortened where it is too long.
        marks: drawn over the image, lowest first.
    """

    image: Pixels
    size_px: tuple[int, int]
    letter: str = ""
    title: str = ""
    marks: tuple[Mark | Segment | Label, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColorScale:
    """A bar of colours from ``low`` to ``high``, with a marker at one value."""

    title: str
    low: float
    high: float
    colormap: Colormap
    marker: float | None = None


def _no_points() -> NDArray[np.float64]:
    return np.empty((0, 2))


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
        legend: symbols with their words.
        scale: the scale of the colours over the images.
        caption: paragraphs below.
        bare: the images and lines alone, without a margin.
    """

    title: str
    panels: tuple[Panel, ...]
    points_a: NDArray[np.float64] = field(default_factory=_no_points)
    points_b: NDArray[np.float64] = field(default_factory=_no_points)
    judgements: tuple[Judgement, ...] = ()
    limit: int | None = None
    opacity: float = 1.0
    legend: tuple[tuple[Symbol, str], ...] = ()
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
    """

    series: int
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    whiskers: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class CurvesFigure:
    """A plot of shares from 0 to 1 over x from 0 to the last value of any curve.

    Attributes:
        title: above it.
        x_label: below the axis.
        curves: the first one is drawn on top.
        series_count: how many series there are in all; whiskers of a few stand side by side.
    """

    title: str
    x_label: str
    curves: tuple[Curve, ...]
    series_count: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A short line for a legend: of a series, or of right or wrong matches."""

    title: str
    line: int | Judgement


Content = PairFigure | CurvesFigure | Sample
