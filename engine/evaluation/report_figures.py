"""The drawings of a report as SVG: curves, samples of their lines, and pairs with their matches.

Sizes and colours stand in attributes, for painters that know no style sheet; the classes beside
them let a page put the colours of its own theme.  Descriptors differ in colour and in dashes, right
and wrong matches in colour, dashes and marks.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from engine.evaluation.report import SERIES_COLOURS, Figure, series_colour
from engine.geometry.coords import CellGrid, Resize

_DASHES: Final = ("", "8 4", "2 3", "10 3 2 3", "14 5", "5 2 1 2", "3 6", "12 3 5 3")
_INK, _GRID, _FONT = "#333333", "#dcdcdc", "Helvetica, Arial, Liberation Sans, sans-serif"

_PANEL_PX: Final = (340, 262)
_PLOT_LEFT, _PLOT_TOP, _PLOT_RIGHT, _PLOT_BOTTOM = 38.0, 28.0, 330.0, 222.0
_WHISKERS_UP_TO: Final = 4  # descriptors; more of them would stand in each other's way
_WHISKER_APART_PX: Final = 3.0

_PAIR_WIDTH_PX: Final = 640
_PAIR_HIGHEST_PX: Final = 320
_PAIR_GAP_PX: Final = 8
_EMBEDDED_EDGE_PX: Final = 480
_JPEG_QUALITY: Final = 80
_LINES_AT_MOST: Final = 60
_RIGHT, _WRONG = "#009e73", "#d55e00"
_MARK_PX: Final = 2.6
# Where the area of the first pixel begins: SVG measures from edges, not from pixel centres.
_EDGE_PX = CellGrid(1.0, 0.0).span_px(1)[0]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel.

    Attributes:
        series: number of the descriptor, for colour and dashes.
        xs: thresholds in px, ascending.
        ys: share at each.
        whiskers: (threshold, low, high) intervals that are known.
    """

    series: int
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    whiskers: tuple[tuple[float, float, float], ...] = ()


def draw_curves(title: str, curves: Sequence[Curve], *, series_count: int) -> Figure:
    """A panel of PCK over thresholds from 0 to the last one, shares from 0 to 1."""
    end_px = max((curve.xs[-1] for curve in curves), default=1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _PLOT_LEFT + x / end_px * (_PLOT_RIGHT - _PLOT_LEFT),
            _PLOT_BOTTOM - y * (_PLOT_BOTTOM - _PLOT_TOP),
        )

    parts = [_text(_PLOT_LEFT, 16, title, size=13, weight="bold")]
    for step in range(6):
        x, y = place(0, step / 5)
        parts.append(_line("grid", (x, y), (_PLOT_RIGHT, y), _GRID, 1.0))
        parts.append(_text(x - 7, y + 4, f"{step / 5:.1f}", anchor="end"))
        x, y = place(end_px * step / 5, 0)
        parts.append(_line("axis", (x, y), (x, y + 4), "#777777", 1.0))
        parts.append(_text(x, y + 17, f"{end_px * step / 5:g}", anchor="middle"))
    middle = (_PLOT_LEFT + _PLOT_RIGHT) / 2
    parts.append(_text(middle, _PANEL_PX[1] - 6, "threshold in px", anchor="middle"))
    drawn = sorted(curves, key=lambda curve: -curve.series)  # the first one lies on top
    if series_count <= _WHISKERS_UP_TO:
        for curve in drawn:
            aside = (curve.series - (series_count - 1) / 2) * _WHISKER_APART_PX
            for at, low, high in curve.whiskers:
                (x, top), (_, bottom) = place(at, high), place(at, low)
                ends = ((x + aside, top), (x + aside, bottom))
                parts.append(
                    _line(
                        f"s{curve.series % len(SERIES_COLOURS)} mark whisker",
                        *ends,
                        _colour(curve),
                        1.4,
                        0.75,
                    )
                )
    for curve in drawn:
        points = [place(x, y) for x, y in zip(curve.xs, curve.ys, strict=True)]
        path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
        parts.append(_series_path(curve.series, path))
    return Figure(_svg(_PANEL_PX, parts, title), _PANEL_PX, title)


def draw_sample(series: int, name: str) -> Figure:
    """A short line in the manner of a descriptor, for a legend."""
    size_px = (44, 14)
    return Figure(_svg(size_px, [_series_path(series, "M1 7L43 7")], ""), size_px, name)


def draw_judgement(right: bool, name: str) -> Figure:
    """A short line in the manner of right or wrong matches, for a legend."""
    size_px = (44, 14)
    ends = np.array([[5.0, 7.0]]), np.array([[39.0, 7.0]])
    return Figure(_svg(size_px, _match_lines(*ends, right=right), ""), size_px, name)


def draw_pair(
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    points_a: NDArray[np.float64],
    points_b: NDArray[np.float64],
    right: NDArray[np.bool_],
    *,
    title: str,
) -> tuple[Figure, int]:
    """Both images side by side, and a line from each point to its match.

    Args:
        images: ``(h, w, 3)`` float32 RGB in [0, 1], at the size that points are measured in.
        points_a: ``(N, 2)`` in pixels of the first image.
        points_b: ``(N, 2)`` in pixels of the second; NaN where nothing was found.
        right: ``(N,)`` which matches are right.
        title: what it shows, in words.

    Returns:
        The drawing, and how many lines it has: all, or some chosen at random, always the same.
    """
    sizes_px = [(image.shape[1], image.shape[0]) for image in images]
    room_px = _PAIR_WIDTH_PX - _PAIR_GAP_PX
    height = room_px / sum(width / height for width, height in sizes_px)
    height_px = max(1, round(min(height, _PAIR_HIGHEST_PX)))
    shown_px = [(max(1, round(w / h * height_px)), height_px) for w, h in sizes_px]
    left_b = shown_px[0][0] + _PAIR_GAP_PX
    parts = [
        _image(image, size_px, left)
        for image, size_px, left in zip(images, shown_px, (0, left_b), strict=True)
    ]
    found = np.flatnonzero(np.isfinite(points_b).all(axis=1))
    if len(found) > _LINES_AT_MOST:
        found = np.sort(np.random.default_rng(0).permutation(found)[:_LINES_AT_MOST])
    ends_a = Resize(sizes_px[0], shown_px[0]).forward(points_a) - _EDGE_PX
    ends_b = Resize(sizes_px[1], shown_px[1]).forward(points_b) - _EDGE_PX + [left_b, 0]
    for kind in (True, False):  # wrong ones last: they must not hide under the right ones
        chosen = found[right[found] == kind]
        parts += _match_lines(ends_a[chosen], ends_b[chosen], right=kind)
    size_px = (left_b + shown_px[1][0], height_px)
    return Figure(_svg(size_px, parts, title), size_px, title), len(found)


def _match_lines(
    starts: NDArray[np.float64], ends: NDArray[np.float64], *, right: bool
) -> list[str]:
    """All lines of one kind in three paths: a pale rim, the lines, the marks at both ends."""
    if len(starts) == 0:
        return []
    kind, colour = ("right", _RIGHT) if right else ("wrong", _WRONG)
    lines = "".join(
        f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"
        for (x0, y0), (x1, y1) in zip(starts, ends, strict=True)
    )
    dash = "" if right else ' stroke-dasharray="5 3"'
    marks = "".join(_mark(x, y, right=right) for x, y in np.concatenate([starts, ends]))
    mark_style = f'fill="{colour}"' if right else f'fill="none" stroke="{colour}"'
    style = f'fill="none" stroke="{colour}" stroke-width="1.1"{dash}'
    return [
        f'<path d="{lines}" fill="none" stroke="#ffffff" stroke-width="1.8" stroke-opacity="0.5"/>',
        f'<path class="{kind}" d="{lines}" {style}/>',
        f'<path d="{marks}" {mark_style} stroke-width="1.5"/>',
    ]


def _mark(x: float, y: float, *, right: bool) -> str:
    reach = _MARK_PX
    if right:
        turn = f"a{reach} {reach} 0 1 0 "
        return f"M{x - reach:.1f} {y:.1f}{turn}{2 * reach} 0{turn}{-2 * reach} 0Z"
    return (
        f"M{x - reach:.1f} {y - reach:.1f}l{2 * reach} {2 * reach}"
        f"M{x - reach:.1f} {y + reach:.1f}l{2 * reach} {-2 * reach}"
    )


def _image(pixels: NDArray[np.float32], size_px: tuple[int, int], left: int) -> str:
    scale = min(1.0, _EMBEDDED_EDGE_PX / max(pixels.shape[:2]))
    small_px = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(np.clip(pixels, 0, 1), small_px, interpolation=cv2.INTER_AREA)
    data = io.BytesIO()
    picture = PilImage.fromarray(np.rint(small * 255).astype(np.uint8))
    picture.save(data, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    code = base64.b64encode(data.getvalue()).decode("ascii")
    return (
        f'<image x="{left}" y="0" width="{size_px[0]}" height="{size_px[1]}" '
        f'preserveAspectRatio="none" xlink:href="data:image/jpeg;base64,{code}"/>'
    )


def _series_path(series: int, path: str) -> str:
    dashes = _DASHES[series % len(_DASHES)]
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path class="s{series % len(SERIES_COLOURS)} mark" d="{path}" fill="none" '
        f'stroke="{series_colour(series)}" stroke-width="2" stroke-linejoin="round"{dash}/>'
    )


def _colour(curve: Curve) -> str:
    return series_colour(curve.series)


def _line(
    kind: str,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    width: float,
    opacity: float = 1.0,
) -> str:
    return (
        f'<path class="{kind}" d="M{start[0]:.2f} {start[1]:.2f}L{end[0]:.2f} {end[1]:.2f}" '
        f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"/>'
    )


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: float = 12, weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text class="ink" x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{_INK}"{bold}>{printable(words)}</text>'
    )


def _svg(size_px: tuple[float, float], parts: Sequence[str], title: str) -> str:
    width, height = size_px
    named = f'role="img" aria-label="{printable(title)}"' if title else 'aria-hidden="true"'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="{_FONT}" {named}>' + "".join(parts) + "</svg>"
    )


def printable(text: str) -> str:
    """Text for SVG: escaped; signs that XML forbids become ``?``."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return escape(shown, {'"': "&quot;"})
