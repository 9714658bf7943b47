"""Matches as a figure for a paper: both images side by side, lines that say right or wrong.

Right and wrong differ in colour (Okabe and Ito's green and vermilion, which colour-blind readers
tell apart), in line style and in the mark at the ends, so that the figure also survives grey
printing.  One layout feeds two painters: PNG by OpenCV and Pillow, SVG written out by hand.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from engine.geometry.coords import CellGrid, Resize
from engine.paths import write_atomically

FIGURE_SUFFIXES = (".png", ".svg")
_WIDTH_PX = 2000
_HIGHEST_PX = 1500
_NARROWEST_PX = 900
_MARGIN_PX = 24
_GAP_PX = 24
_FONT_PX = 30
_LEADING_PX = 42
_SAMPLE_PX = 90
_SUPERSAMPLING = 2
# Where the area of the first pixel begins: SVG measures from edges, not from pixel centres.
_EDGE_PX = CellGrid(1.0, 0.0).span_px(1)[0]
# As wide as both columns of a page (6.7 in) when placed at its own size.
_DOTS_PER_INCH = 300

Kind = Literal["right", "wrong", "agrees", "unknown"]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Style:
    colour: tuple[int, int, int]  # RGB
    dash_px: tuple[int, int] | None
    width_px: float
    rim_px: float  # a pale rim keeps a line apart from a picture of its own colour
    cross: bool


_STYLES: dict[Kind, _Style] = {
    "right": _Style((0, 158, 115), None, 2.2, 1.2, cross=False),
    "wrong": _Style((213, 94, 0), (14, 9), 2.6, 1.2, cross=True),
    "agrees": _Style((0, 114, 178), None, 2.2, 1.2, cross=False),
    "unknown": _Style((90, 90, 90), (3, 8), 1.8, 0.0, cross=False),
}
# Wrong matches are drawn last: they must not hide under the right ones.
_ORDER: tuple[Kind, ...] = ("unknown", "agrees", "right", "wrong")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchFigure:
    """What a figure shows.

    Attributes:
        image_a, image_b: ``(H, W, 3)`` uint8 RGB, of any size.
        size_a_px, size_b_px: (width, height) of the original files.
        points_a, points_b: ``(N, 2)`` matched points in pixels of the original files.
        kinds: ``(N,)`` what each match is.
        legend: words for the kinds that occur.
        caption: one line of text.
        limit: how many lines are drawn at most, drawn at random from all.
    """

    image_a: Pixels
    image_b: Pixels
    size_a_px: tuple[int, int]
    size_b_px: tuple[int, int]
    points_a: NDArray[np.float64]
    points_b: NDArray[np.float64]
    kinds: tuple[Kind, ...]
    legend: dict[Kind, str]
    caption: str
    limit: int = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """Everything in pixels of the figure; pixel centres are whole numbers."""

    size_px: tuple[int, int]
    panels: tuple[tuple[Pixels, int], tuple[Pixels, int]]  # pixels, left edge
    lines: tuple[tuple[NDArray[np.float64], NDArray[np.float64], Kind], ...]
    legend: tuple[tuple[float, float, Kind, str], ...]  # x, y of the middle of the sample
    caption: tuple[tuple[float, float, str], ...]


def write_figure(path: Path, figure: MatchFigure) -> None:
    """Draw a figure into a file: PNG or SVG by its suffix.

    Raises:
        OutputError: it cannot be written.
    """
    layout = _lay_out(figure)
    data = _svg(layout) if path.suffix.lower() == ".svg" else _png(layout)
    write_atomically(path, data)


def _lay_out(figure: MatchFigure) -> _Layout:
    aspects = [width / height for width, height in (figure.size_a_px, figure.size_b_px)]
    room = _WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX
    height = int(np.clip(room / sum(aspects), 16, _HIGHEST_PX))
    widths = [max(1, round(aspect * height)) for aspect in aspects]
    inner = max(sum(widths) + _GAP_PX, _NARROWEST_PX - 2 * _MARGIN_PX)
    left_a = _MARGIN_PX + (inner - sum(widths) - _GAP_PX) // 2
    lefts = (left_a, left_a + widths[0] + _GAP_PX)
    panel_a, panel_b = (
        (_resized(image, (width, height)), left)
        for image, width, left in zip((figure.image_a, figure.image_b), widths, lefts, strict=True)
    )

    def placed(
        points: NDArray[np.float64], size_px: tuple[int, int], panel: tuple[Pixels, int]
    ) -> NDArray[np.float64]:
        shown_px = (panel[0].shape[1], panel[0].shape[0])
        corner = np.array([panel[1], _MARGIN_PX], np.float64)
        return np.asarray(Resize(size_px, shown_px).forward(points) + corner, np.float64)

    ends_a = placed(figure.points_a, figure.size_a_px, panel_a)
    ends_b = placed(figure.points_b, figure.size_b_px, panel_b)
    chosen = np.arange(len(figure.kinds))
    if len(chosen) > figure.limit:
        chosen = np.sort(np.random.default_rng(0).permutation(len(chosen))[: figure.limit])
    order = sorted(chosen, key=lambda i: _ORDER.index(figure.kinds[i]))
    lines = tuple((ends_a[i], ends_b[i], figure.kinds[i]) for i in order)

    y = _MARGIN_PX + height + _LEADING_PX * 0.9
    x = float(_MARGIN_PX)
    legend = []
    for kind, words in figure.legend.items():
        needed = _SAMPLE_PX + 14 + _text_width(words)
        if x > _MARGIN_PX and x + needed > _MARGIN_PX + inner:
            x, y = float(_MARGIN_PX), y + _LEADING_PX
        legend.append((x + _SAMPLE_PX / 2, y, kind, words))
        x += needed + 60
    if legend:
        y += _LEADING_PX
    caption = []
    text = figure.caption
    if len(chosen) < len(figure.kinds):
        text += f" · {len(chosen)} of {len(figure.kinds)} lines drawn"
    for row in _wrapped(text, inner):
        caption.append((float(_MARGIN_PX), y, row))
        y += _LEADING_PX
    size_px = (inner + 2 * _MARGIN_PX, round(y - _LEADING_PX * 0.4) + _MARGIN_PX // 2)
    return _Layout(size_px, (panel_a, panel_b), lines, tuple(legend), tuple(caption))


def _resized(image: Pixels, size_px: tuple[int, int]) -> Pixels:
    shrinking = size_px[0] < image.shape[1]
    how = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size_px, interpolation=how), np.uint8)


def _wrapped(text: str, width_px: float) -> list[str]:
    rows: list[str] = []
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows else word
        if rows and _text_width(longer) <= width_px:
            rows[-1] = longer
        else:
            rows.append(word)
    return rows


def _png(layout: _Layout) -> bytes:
    width, height = layout.size_px
    canvas = np.full((height, width, 3), 255, np.uint8)
    for pixels, left in layout.panels:
        canvas[_MARGIN_PX : _MARGIN_PX + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    enlarged = cv2.resize(canvas, None, fx=_SUPERSAMPLING, fy=_SUPERSAMPLING)
    large: Pixels = np.asarray(enlarged, np.uint8)
    for start, end, kind in layout.lines:
        _paint_line(large, start, end, _STYLES[kind])
    for start, end, kind in layout.lines:
        for point in (start, end):
            _paint_mark(large, point, _STYLES[kind])
    for x, y, kind, _ in layout.legend:
        half = np.array([_SAMPLE_PX / 2 - 6, 0.0])
        ends = (np.array([x, y]) - half, np.array([x, y]) + half)
        _paint_line(large, *ends, _STYLES[kind])
        for point in ends:
            _paint_mark(large, point, _STYLES[kind])
    small = np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    picture = PilImage.fromarray(small)
    pen = ImageDraw.Draw(picture)
    for x, y, _, words in layout.legend:
        beside = x + _SAMPLE_PX / 2 + 14
        pen.text((beside, y), _drawable(words), fill=(0, 0, 0), font=_font(), anchor="lm")
    for x, y, row in layout.caption:
        pen.text((x, y), _drawable(row), fill=(0, 0, 0), font=_font(), anchor="lm")
    data = io.BytesIO()
    picture.save(data, format="PNG", dpi=(_DOTS_PER_INCH, _DOTS_PER_INCH))
    return data.getvalue()


_SHIFT = 4  # OpenCV takes points in sixteenths of a pixel


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """A point of the figure in OpenCV's fixed-point pixels of the enlarged canvas."""
    size = (2, 2)  # any size will do: the transform is linear
    larger = Resize(size, (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING))
    x, y = np.rint(larger.forward(point) * 2**_SHIFT)
    return int(x), int(y)


def _paint_line(
    canvas: Pixels, start: NDArray[np.float64], end: NDArray[np.float64], style: _Style
) -> None:
    strokes = [((255, 255, 255), style.width_px + style.rim_px)] if style.rim_px else []
    strokes.append((style.colour, style.width_px))
    for first, last in _dashes(start, end, style.dash_px):
        for colour, width_px in strokes:
            cv2.line(
                canvas, _fixed(first), _fixed(last), colour,
                max(1, round(width_px * _SUPERSAMPLING)), cv2.LINE_AA, _SHIFT,
            )  # fmt: skip


def _dashes(
    start: NDArray[np.float64], end: NDArray[np.float64], dash_px: tuple[int, int] | None
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    length = float(np.hypot(*(end - start)))
    if dash_px is None or length == 0:
        return [(start, end)]
    along = (end - start) / length
    return [
        (start + along * at, start + along * min(at + dash_px[0], length))
        for at in np.arange(0.0, length, sum(dash_px))
    ]


_MARK_PX = 6.0


def _paint_mark(canvas: Pixels, point: NDArray[np.float64], style: _Style) -> None:
    rims = (((255, 255, 255), 2.5), (style.colour, 0.0))
    for colour, rim_px in rims:
        if style.cross:
            reach = _MARK_PX + rim_px / 2
            for sign in (-1.0, 1.0):
                arm = np.array([reach, sign * reach])
                width = max(1, round((3.2 + rim_px) * _SUPERSAMPLING))
                cv2.line(
                    canvas, _fixed(point - arm), _fixed(point + arm), colour, width,
                    cv2.LINE_AA, _SHIFT,
                )  # fmt: skip
        else:
            radius = round((_MARK_PX - 1 + rim_px / 2) * _SUPERSAMPLING * 2**_SHIFT)
            cv2.circle(canvas, _fixed(point), radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # The typeface inside Pillow: the same on every computer.
    return ImageFont.load_default(_FONT_PX)


def _text_width(text: str) -> float:
    return float(_font().getlength(_drawable(text)))


def _drawable(text: str) -> str:
    """The text in signs that the typeface has; a sign it lacks becomes a word or ``?``."""
    words = text.replace("→", "to").replace("≤", "<=").replace("×", "x")
    font = _font()
    absent = bytes(font.getmask("\uffff"))
    return "".join(
        sign if sign.isspace() or bytes(font.getmask(sign)) != absent else "?" for sign in words
    )


def _svg(layout: _Layout) -> bytes:
    width, height = layout.size_px
    inches = (width / _DOTS_PER_INCH, height / _DOTS_PER_INCH)
    title = _svg_text(" ".join(row for _, _, row in layout.caption))
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
        'width="{:.4f}in" height="{:.4f}in" '.format(*inches)
        + f'viewBox="{_EDGE_PX} {_EDGE_PX} {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="{_FONT_PX}">',
        f"<title>{title}</title>",
        f'<rect x="{_EDGE_PX}" y="{_EDGE_PX}" width="{width}" height="{height}" fill="#fff"/>',
    ]
    for pixels, left in layout.panels:
        parts.append(
            f'<image x="{left + _EDGE_PX}" y="{_MARGIN_PX + _EDGE_PX}" width="{pixels.shape[1]}" '
            f'height="{pixels.shape[0]}" href="data:image/jpeg;base64,{_jpeg(pixels)}"/>'
        )
    for start, end, kind in layout.lines:
        parts.append(_svg_line(start, end, kind))
    for start, end, kind in layout.lines:
        parts += [_svg_mark(point, kind) for point in (start, end)]
    for x, y, kind, words in layout.legend:
        half = np.array([_SAMPLE_PX / 2 - 6, 0.0])
        ends = (np.array([x, y]) - half, np.array([x, y]) + half)
        parts.append(_svg_line(*ends, kind))
        parts += [_svg_mark(point, kind) for point in ends]
        parts.append(_svg_row(x + _SAMPLE_PX / 2 + 14, y, words))
    parts += [_svg_row(*row) for row in layout.caption]
    parts.append("</svg>\n")
    return "\n".join(parts).encode()


def _svg_row(x: float, y: float, words: str) -> str:
    # Moved down to the baseline by hand: few programs know dominant-baseline.
    return f'<text x="{x:.2f}" y="{y + 0.35 * _FONT_PX:.2f}">{_svg_text(words)}</text>'


def _svg_text(text: str) -> str:
    # XML forbids control characters, and a file name may hold them or half a surrogate pair.
    return escape("".join(c if c.isprintable() else "?" for c in text))


def _svg_line(start: NDArray[np.float64], end: NDArray[np.float64], kind: Kind) -> str:
    style = _STYLES[kind]
    path = f'd="M{start[0]:.2f} {start[1]:.2f}L{end[0]:.2f} {end[1]:.2f}" fill="none"'
    if style.dash_px is not None:
        path += ' stroke-dasharray="{} {}"'.format(*style.dash_px)
    rim = f'<path {path} stroke="#fff" stroke-width="{style.width_px + style.rim_px}"/>'
    line = (
        f'<path class="{kind}" {path} stroke="{_hex(style.colour)}" '
        f'stroke-width="{style.width_px}"/>'
    )
    return rim + line if style.rim_px else line


def _svg_mark(point: NDArray[np.float64], kind: Kind) -> str:
    style = _STYLES[kind]
    x, y = point
    if style.cross:
        arms = "".join(
            f"M{x - _MARK_PX:.2f} {y - sign * _MARK_PX:.2f}l{2 * _MARK_PX} {sign * 2 * _MARK_PX}"
            for sign in (-1, 1)
        )
        cross = '<path d="{}" fill="none" stroke="{}" stroke-width="{}"/>'
        return cross.format(arms, "#fff", 5.7) + cross.format(arms, _hex(style.colour), 3.2)
    return (
        f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{_MARK_PX - 1}" fill="{_hex(style.colour)}" '
        'stroke="#fff" stroke-width="1.2"/>'
    )


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _jpeg(pixels: Pixels) -> str:
    data = io.BytesIO()
    PilImage.fromarray(pixels).save(data, format="JPEG", quality=94, subsampling=0)
    return base64.b64encode(data.getvalue()).decode("ascii")
