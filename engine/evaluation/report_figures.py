"""The drawings of a report as SVG: curves, samples of their lines, and pairs with their matches.

Their ground is clear and their colours are those of paper; a page puts its theme's in their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.report import Figure, Figures
from engine.figures import render_figure, write_figure
from engine.figures.figure_content import (
    Content,
    CurvesFigure,
    Judgement,
    PairFigure,
    Panel,
    Paper,
    Sample,
)
from engine.figures.figure_content import Curve as Curve
from engine.files import make_folder

FigureFormat = Literal["pdf", "svg", "png"]

FIGURES_FOLDER: Final = "figures"

_COLUMN: Final = Paper(width_cm=8.6, font_pt=7.5)
_PLOT: Final = Paper(width_cm=9.0, font_pt=9.0, clear=True)
_LAYERS: Final = Paper(width_cm=12.0, font_pt=9.0, clear=True)
_SAMPLE: Final = Paper(width_cm=1.16, clear=True)
_PAIR: Final = Paper(width_cm=8.5, clear=True, jpeg_quality=80)
_LINES_AT_MOST: Final = 60


def draw_curves(title: str, x_label: str, curves: Sequence[Curve], *, series_count: int) -> Figure:
    """A plot of shares from 0 to 1: of PCK over thresholds, or of precision over recall."""
    content = CurvesFigure(title, x_label, tuple(curves), series_count)
    return replace(_drawn(content, _PLOT), content=content)


def write_curves(folder: Path, blocks: Sequence[Figures], kind: FigureFormat) -> Iterator[Path]:
    """Write each plot to a file of its own, with its legend inside, for a column of a paper.

    Args:
        folder: the plots' own; made if it is not there.
        blocks: drawings, of which those with content are written.
        kind: of the files.

    Raises:
        OutputError: one cannot be written.
    """
    taken: set[str] = set()
    for block in blocks:
        for one in block.figures:
            if one.content is None:
                continue
            title = f"{block.title}: {one.title}"
            plain = re.sub(r"[^\w.]+", "-", title.lower()).strip("-.")
            name = next(name for name in _numbered(plain) if name.casefold() not in taken)
            taken.add(name.casefold())
            path = make_folder(folder) / f"{name}.{kind}"
            write_figure(path, replace(one.content, title=title, legend=True), _COLUMN)
            yield path


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def draw_layers(title: str, curves: Sequence[Curve], ticks: Sequence[tuple[float, str]]) -> Figure:
    """A plot of PCK over layers, whose numbers are the ticks, shares from 0 to 1."""
    content = CurvesFigure(title, "layer", tuple(curves), len(curves), tuple(ticks))
    return _drawn(content, _LAYERS)


def draw_sample(line: int | Judgement, name: str) -> Figure:
    """A short line for a legend, drawn as a descriptor's curve or as matches of a kind."""
    return _drawn(Sample(name, line), _SAMPLE)


def draw_pair(
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    sizes_px: tuple[tuple[int, int], tuple[int, int]],
    points_a: NDArray[np.float64],
    points_b: NDArray[np.float64],
    right: NDArray[np.bool_],
    *,
    title: str,
) -> tuple[Figure, int]:
    """Both images side by side, and a line from each point to its match.

    Args:
        images: ``(h, w, 3)`` RGB, the whole images at any size.
        sizes_px: (width, height) of each that points are measured in.
        points_a: ``(N, 2)`` in pixels of the first image.
        points_b: ``(N, 2)`` in pixels of the second; NaN where nothing was found.
        right: ``(N,)`` which matches are right.
        title: what it shows, in words.

    Returns:
        The drawing, and how many lines it has: all, or some chosen at random, always the same.
    """
    content = PairFigure(
        title=title,
        panels=tuple(
            Panel(image=image, size_px=size_px)
            for image, size_px in zip(images, sizes_px, strict=True)
        ),
        points_a=points_a,
        points_b=points_b,
        judgements=tuple("right" if one else "wrong" for one in right),
        limit=_LINES_AT_MOST,
        bare=True,
    )
    found = int(np.isfinite(points_b).all(axis=1).sum())
    return _drawn(content, _PAIR), min(found, _LINES_AT_MOST)


def _drawn(content: Content, paper: Paper) -> Figure:
    return Figure(render_figure(content, ".svg", paper).decode(), content.title)
