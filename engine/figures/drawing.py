"""Draws figures with matplotlib: the one module that imports it.

Only its object API is used, and its settings are changed for the time of one drawing under a lock,
so that figures may be drawn on any thread and a program that uses matplotlib itself notices
nothing.  A figure of images is drawn on a sheet without axes, in points from the top-left corner:
matplotlib takes longer to make axes than to draw what is on them.

What is right or wrong differs in colour, in line style and in the marks at the ends, so that it
survives grey printing.
"""

from __future__ import annotations

import base64
import io
import math
import os
import re
import threading
import warnings
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from engine import colors
from engine.errors import ConfigError, quoted
from engine.figures.figure_content import (
    INKS,
    Content,
    Curve,
    CurvesFigure,
    Disc,
    Judgement,
    PairFigure,
    Panel,
    Paper,
    Sample,
    Shape,
    Stroke,
    Words,
    printable,
)
from engine.geometry.coords import CellGrid
from engine.paths import cache_dir

# Its list of fonts is a cache like ours; a folder that the user chose is respected.
os.environ.setdefault("MPLCONFIGDIR", str(cache_dir() / "matplotlib"))

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D, ScaledTranslation

_lock = threading.Lock()

_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_POINTS_PER_INCH: Final = 72.0
_CM_PER_INCH: Final = 2.54
_EDGE: Final = "#101114"  # around marks, so that they are seen on any picture
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # words stay words
    "svg.hashsalt": "descriptor-space",
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a file's name may hold dollar signs
    "path.simplify": False,
    "axes.facecolor": "none",
}
_UNDATED: Final[dict[str, dict[str, Any]]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
}

_MARGIN_PT: Final = 6.0
_GAP_PT: Final = 6.0
_BARE_GAP_PT: Final = 3.0
_LEADING: Final = 1.4
_RIMMED_UP_TO: Final = 250  # matches; rims of more would hide the images
_HIGHEST: Final = 0.75  # of the width, for images
_SAMPLE_PT: Final = 22.0
_SYMBOL_PT: Final = 14.0
_LEGEND_PIXEL_PT: Final = 0.35
_LABEL_FONT_PX: Final = 12.0  # of the window
_SCALE_PT: Final = 100.0
_DISC_PT: Final = 2.7
_DOT_PT: Final = 0.01  # long is the line whose round ends are a disc
_CROSS_PT: Final = 3.3
_CROSS_LINE_PT: Final = 0.95
_MARK_RIM_PT: Final = 0.6
_PHOTO: Final = "photo"  # holds an image's place in SVG


@dataclass(frozen=True, slots=True)
class _Line:
    """How matches are drawn; dashes are in widths of the line."""

    colour: str
    width_pt: float
    dashes: tuple[float, float] | None = None
    rim_pt: float = 0.3  # white, keeps a line apart from a picture of its own colour
    end: str = "o"


_LINES: Final[dict[Judgement, _Line]] = {
    "blank": _Line(colors.UNKNOWN, 0.35, (0.8, 3.2), rim_pt=0.0),
    "unknown": _Line(colors.UNKNOWN, 0.5, (1.7, 4.4), rim_pt=0.0),
    "agrees": _Line(colors.AGREES, 0.62),
    "right": _Line(colors.RIGHT, 0.62),
    "wrong": _Line(colors.WRONG, 0.75, (4.7, 3.0), end="x"),
}
"""In the order of drawing: wrong matches must not hide under right ones."""

_DASHES: Final = (
    *((), (4, 2), (1, 1.5), (5, 1.5, 1, 1.5)),
    *((7, 2.5), (2.5, 1, 0.5, 1), (1.5, 3), (6, 1.5, 2.5, 1.5)),
)
_WHISKERS_UP_TO: Final = 4  # descriptors; the whiskers of more would overlap
_WHISKER_APART_PT: Final = 2.25
_TICK_PT: Final = 3.5  # long, and as far from its number
_LABEL_GAP_PT: Final = 3.0
_TITLE_GAP_PT: Final = 6.0


def render(content: Content, suffix: str, paper: Paper) -> bytes:
    """Draw a figure; see :func:`engine.figures.render_figure`."""
    with _lock, mpl.rc_context(), warnings.catch_warnings():
        # A sign that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        theme = INKS[paper.theme]
        inks: dict[Any, Any] = {"text.color": theme.ink, "axes.labelcolor": theme.ink}
        for axis in ("xtick", "ytick"):
            inks |= {f"{axis}.color": theme.soft, f"{axis}.labelcolor": theme.ink}
        # Kept as they are where they can be enlarged, and smoothed where they become pixels.
        inks["image.interpolation"] = "bilinear" if suffix == ".png" else "none"
        mpl.rcParams.update(
            {"font.family": find_font(paper.font), "font.size": paper.font_pt, **inks}
        )
        photos: list[_Photo] | None = [] if suffix == ".svg" else None
        match content:
            case PairFigure():
                figure = _pair(content, paper, photos)
            case CurvesFigure():
                figure = _curves(content, paper)
            case Sample():
                figure = _sample(content, paper)
        if paper.clear:
            figure.patch.set_visible(False)
        data = io.BytesIO()
        # A photograph hardly shrinks any further, and takes three times as long.
        quick: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if suffix == ".png" else {}
        figure.savefig(
            data, format=suffix[1:], dpi=paper.dots_per_inch, metadata=_UNDATED[suffix],
            facecolor=theme.ground, **quick,
        )  # fmt: skip
        if photos is None:
            # Its parts refer to each other: the images of one figure after the other would stay in
            # memory until Python looks for such cycles.
            figure.clear()
    if photos is None:
        return data.getvalue()
    return _plain_svg(data.getvalue().decode(), content.title, photos, paper.jpeg_quality).encode()


def find_font(font: str) -> str:
    """The family as it was asked for.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        findfont(FontProperties(family=font), fallback_to_default=False)
    except ValueError as error:
        raise ConfigError("figure_font", f"no font {quoted(font)} is installed") from error
    return font


def _plain_svg(svg: str, title: str, photos: list[_Photo], jpeg_quality: int) -> str:
    """SVG that can be embedded in a page: no prologue, no global style, no repeated names."""
    head, body = svg[svg.index("<svg") :].split(">", 1)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r' style="image-rendering:[^"]*"', "", body)
    left = iter(photos)
    body = re.sub(
        rf'<g id="{_PHOTO}">.*?</g>', lambda _: next(left).svg(jpeg_quality), body, flags=re.DOTALL
    )
    body = body.replace('<g id="', '<g class="')
    named = f'role="img" stroke-linejoin="round"><title>{escape(printable(title))}</title>'
    return f"{head} {named}{body}"


# ---- text ----------------------------------------------------------------------------------------


def _width_pt(text: str, font_pt: float, *, bold: bool = False) -> float:
    font = FontProperties(weight="bold" if bold else "normal", size=font_pt)
    # It measures in pixels of 72 to the inch, which are points.
    return float(text_to_path.get_text_width_height_descent(printable(text), font, False)[0])


def _wrapped(text: str, width_pt: float, font_pt: float) -> list[str]:
    rows: list[str] = []
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows else word
        if rows and _width_pt(longer, font_pt) <= width_pt:
            rows[-1] = longer
        else:
            rows.append(word)
    return rows


def _shortened(text: str, width_pt: float, font_pt: float) -> str:
    if _width_pt(text, font_pt) <= width_pt:
        return text
    while text and _width_pt(f"{text}…", font_pt) > width_pt:
        text = text[:-1]
    return f"{text}…"


# ---- images and matches --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class _Photo:
    """An image of an SVG, which matplotlib would compress as PNG first."""

    pixels: NDArray[np.uint8]
    box: _Box

    def svg(self, quality: int) -> str:
        """Its element, with the image as JPEG."""
        data = io.BytesIO()
        colours = 0 if quality > 90 else 2  # whole, or a quarter of them
        PilImage.fromarray(self.pixels).save(
            data, "JPEG", quality=quality, subsampling=colours, optimize=True
        )
        box, text = self.box, base64.b64encode(data.getvalue()).decode("ascii")
        place = f'x="{box.left:.6g}" y="{box.top:.6g}"'
        size = f'width="{box.width:.6g}" height="{box.height:.6g}" preserveAspectRatio="none"'
        return f'<image {place} {size} xlink:href="data:image/jpeg;base64,{text}"/>'


class _Sheet:
    """An empty figure that is drawn on in points from its top-left corner, later over earlier.

    Images are below all else.
    """

    def __init__(
        self, width_pt: float, height_pt: float, paper: Paper, photos: list[_Photo] | None = None
    ) -> None:
        """``photos`` receives the images, where matplotlib is not to write them into the file."""
        self.paper = paper
        self.figure = Figure(figsize=(width_pt / _POINTS_PER_INCH, height_pt / _POINTS_PER_INCH))
        self.size_pt = (width_pt, height_pt)
        inches = Affine2D().translate(0.0, -height_pt).scale(1.0, -1.0).scale(1 / _POINTS_PER_INCH)
        self._points = inches + self.figure.dpi_scale_trans
        self._photos = photos
        self._layers = 0

    def put(self, artist: Artist) -> None:
        """Put something over all that is there."""
        self._layers += 1
        artist.set(zorder=self._layers, clip_on=False, transform=self._points)
        self.figure.add_artist(artist)

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Text with its middle at a height, beginning at ``x`` unless aligned otherwise."""
        self.put(Text(x, y, printable(words), **{"va": "center_baseline", **style}))

    def image(self, pixels: NDArray[np.uint8], box: _Box) -> None:
        """An image in a rectangle."""
        dots = self.paper.dots_per_inch / _POINTS_PER_INCH
        size = (max(1, round(box.width * dots)), max(1, round(box.height * dots)))
        if size[0] < pixels.shape[1]:
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        if self._photos is not None:
            self._photos.append(_Photo(pixels, box))
            corner = [(box.left, box.top)] * 2
            self.stroke(corner, _codes(2), 0.0, edgecolor="none", gid=_PHOTO)
            return
        width, height = self.size_pt
        place = (box.left / width, 1.0 - (box.top + box.height) / height)
        axes = self.figure.add_axes((*place, box.width / width, box.height / height))
        axes.set_axis_off()
        axes.imshow(pixels, aspect="auto")

    def stroke(self, points: Any, codes: list[Any], width_pt: float, **style: Any) -> None:
        """Lines through points; see matplotlib's paths for the codes."""
        patch = PathPatch(Outline(points, codes), linewidth=width_pt)
        patch.set(**{"facecolor": "none", "capstyle": "butt", **style})
        self.put(patch)

    def matches(self, ends: dict[Judgement, NDArray[np.float64]], opacity: float = 1.0) -> None:
        """Lines between matched places, ``(N, 2, 2)`` of each kind, below the marks at both.

        Lines of a kind are one shape, so that many clear ones do not add up to a solid sheet.
        """
        there = [(_LINES[kind], kind, ends[kind]) for kind in _LINES if len(ends.get(kind, ()))]
        crowded = sum(len(places) for _, _, places in there) > _RIMMED_UP_TO
        for line, kind, places in there:
            rims = [] if crowded or not line.rim_pt else [("white", line.width_pt + line.rim_pt)]
            for ink, ink_pt in (*rims, (line.colour, line.width_pt)):
                # matplotlib counts dashes in widths of the line: those of the rim must be as long.
                dashes = line.dashes and tuple(one * line.width_pt / ink_pt for one in line.dashes)
                style = {"edgecolor": ink, "linestyle": (0, dashes), "alpha": opacity}
                style["gid"] = kind if ink == line.colour else ""
                self.stroke(places.reshape(-1, 2), _codes(2) * len(places), ink_pt, **style)
        for line, kind, places in there:
            marks, width_pt, style = _marks(line, places, 0.55 if crowded else 1.0)
            inks = [] if crowded else [("white", width_pt + _MARK_RIM_PT)]
            for ink, ink_pt in (*inks, (line.colour, width_pt)):
                style |= {"edgecolor": ink, "gid": f"{kind} ends"}
                self.stroke(marks, _codes(2) * (len(marks) // 2), ink_pt, **style)


def _marks(
    line: _Line, places: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float64], float, dict[str, Any]]:
    """The marks at both ends of lines: ends ``(M, 2)`` of short lines, their width and style.

    matplotlib's own markers would be written one by one, which takes longer than all the rest.
    """
    if line.end == "o":
        arms = _DOT_PT / 2 * np.array([[(-1.0, 0.0), (1.0, 0.0)]])
        # Snapped to whole pixels, a dot would shrink to nothing.
        style: dict[str, Any] = {"capstyle": "round", "snap": False}
        width_pt = scale * _DISC_PT
    else:
        diagonals = np.array([[(-1.0, -1.0), (1.0, 1.0)], [(-1.0, 1.0), (1.0, -1.0)]])
        arms, style, width_pt = scale * _CROSS_PT / 2 * diagonals, {}, _CROSS_LINE_PT
    return (places.reshape(-1, 1, 1, 2) + arms).reshape(-1, 2), width_pt, style


def _pair(content: PairFigure, paper: Paper, photos: list[_Photo] | None) -> Figure:
    """Lay a figure of images out and draw it."""
    line_pt = _LEADING * paper.font_pt
    margin, gap = (0.0, _BARE_GAP_PT) if content.bare else (_MARGIN_PT, _GAP_PT)
    width = paper.width_cm / _CM_PER_INCH * _POINTS_PER_INCH
    inner = width - 2 * margin
    aspects = [panel.size_px[0] / panel.size_px[1] for panel in content.panels]
    gaps = gap * (len(aspects) - 1)
    height = min((inner - gaps) / sum(aspects), _HIGHEST * width)
    if content.bare:
        width = inner = height * sum(aspects) + gaps
    titled = any(panel.letter or panel.title for panel in content.panels)
    top = margin + (line_pt if titled else 0.0)
    left = margin + (inner - height * sum(aspects) - gaps) / 2
    boxes = []
    for aspect in aspects:
        boxes.append(_Box(left, top, height * aspect, height))
        left += height * aspect + gap

    shown = _shown_matches(content)
    y = top + height + (0.0 if content.bare else 0.45 * line_pt)
    scale = min(_SCALE_PT, 0.3 * inner) if content.scale is not None else 0.0
    title = content.scale.title if content.scale is not None else ""
    room = inner - (scale + _width_pt(title, paper.font_pt) + 24.0 if scale else 0.0)
    symbols, words_y, y = [], y + 0.5 * line_pt, y
    x = margin
    for symbol, words in content.legend:
        sample = _SYMBOL_PT if isinstance(symbol, tuple) else _SAMPLE_PT
        needed = sample + 4.0 + _width_pt(words, paper.font_pt)
        if x > margin and x + needed > margin + room:
            x, words_y = margin, words_y + 1.2 * line_pt
        symbols.append((symbol, x, words_y, words, sample))
        x += needed + 12.0
    if symbols or scale:
        y = words_y + 0.7 * line_pt + (0.5 * line_pt if scale and words_y < y + line_pt else 0.0)
    rows = []
    caption = list(content.caption)
    if caption and len(shown) < len(content.judgements):
        caption[-1] += f" · {len(shown)} of {len(content.judgements)} lines drawn"
    for paragraph in caption:
        for row in _wrapped(paragraph, inner, paper.font_pt):
            rows.append((y + 0.5 * line_pt, row))
            y += line_pt
    if not content.bare:
        y += 0.4 * margin

    sheet = _Sheet(width, y, paper, photos)
    for panel, box in zip(content.panels, boxes, strict=True):
        _draw_panel(sheet, panel, box)
    first, second = content.panels[:2]
    ends = np.stack(
        [
            _placed(content.points_a[shown], first, boxes[0]),
            _placed(content.points_b[shown], second, boxes[1]),
        ],
        axis=1,
    )
    judged = np.array(content.judgements, object)[shown]
    sheet.matches({kind: ends[judged == kind] for kind in _LINES}, content.opacity)
    for panel, box in zip(content.panels, boxes, strict=True):
        _draw_shapes(sheet, panel.shapes, (box.left, box.top), box.width / panel.stage_px)
    for symbol, x, at, words, sample in symbols:
        if isinstance(symbol, tuple):
            _draw_shapes(sheet, symbol, (x + sample / 2, at), _LEGEND_PIXEL_PT)
        else:
            sheet.matches({symbol: np.array([[[x + 2.0, at], [x + sample - 2.0, at]]])})
        sheet.text(x + sample + 4.0, at, words)
    if content.scale is not None:
        _draw_scale(sheet, content, width - margin - scale, top + height + 0.7 * line_pt, scale)
    for at, row in rows:
        sheet.text(margin, at, row)
    return sheet.figure


def _shown_matches(content: PairFigure) -> NDArray[np.intp]:
    """Rows that are drawn: all finite ones, or a fixed choice of them."""
    finite = np.isfinite(content.points_a).all(axis=1) & np.isfinite(content.points_b).all(axis=1)
    shown = np.flatnonzero(finite)
    if content.limit is not None and len(shown) > content.limit:
        shown = np.sort(np.random.default_rng(0).permutation(shown)[: content.limit])
    return shown


def _placed(points_px: Any, panel: Panel, box: _Box) -> NDArray[np.float64]:
    """``(N, 2)`` points of an image -> places on the sheet."""
    points = np.asarray(points_px, np.float64).reshape(-1, 2)
    placed = np.empty_like(points)
    for axis, (start, length) in enumerate(((box.left, box.width), (box.top, box.height))):
        low, high = CellGrid(1.0, 0.0).span_px(panel.size_px[axis])
        placed[:, axis] = start + (points[:, axis] - low) / (high - low) * length
    return placed


def _draw_panel(sheet: _Sheet, panel: Panel, box: _Box) -> None:
    sheet.image(panel.image, box)
    font_pt = sheet.paper.font_pt
    y = box.top - 0.55 * _LEADING * font_pt
    sheet.text(box.left, y, panel.letter, weight="bold")
    indent = _width_pt(panel.letter, font_pt, bold=True) + 4.5
    sheet.text(box.left + indent, y, _shortened(panel.title, box.width - indent, font_pt))


def _draw_scale(sheet: _Sheet, content: PairFigure, left: float, top: float, width: float) -> None:
    scale = content.scale
    assert scale is not None, "asked only for one"
    whole_width, whole_height = sheet.size_pt
    place = (left / whole_width, 1 - (top + 5.0) / whole_height)
    axes = sheet.figure.add_axes((*place, (width - 6.0) / whole_width, 5.0 / whole_height))
    low, high = scale.low, scale.high if scale.high > scale.low else scale.low + 1.0
    ramp = np.linspace(0.0, 1.0, 256)[None]
    marker = scale.marker
    if scale.logarithmic:
        low, high = math.log10(low), math.log10(high)
        marker = math.log10(marker) if marker is not None and marker > 0 else None
    axes.imshow(ramp, cmap=scale.colormap, extent=(low, high, 0.0, 1.0), aspect="auto")
    axes.set_yticks([])
    if scale.logarithmic:
        decades = [*range(math.ceil(low), math.floor(high) + 1)]
        axes.set_xticks(decades, [f"{10.0**decade:g}" for decade in decades])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(length=2.0, pad=1.5, width=0.5)
    axes.spines[:].set_linewidth(0.5)
    if marker is not None and math.isfinite(marker):
        at = min(max(marker, low), high)
        effects = [withStroke(linewidth=1.8, foreground=_EDGE)]
        axes.plot([at, at], [0.0, 1.0], color="white", lw=0.8, clip_on=False, path_effects=effects)
        axes.plot([at], [1.3], "v", color=mpl.rcParams["text.color"], ms=3.5, clip_on=False)
        axes.set_ylim(0.0, 1.0)
    axes.set_xlim(low, high)
    sheet.text(left - 10.0, top + 2.5, scale.title, ha="right")


# ---- shapes over images --------------------------------------------------------------------------


def _draw_shapes(
    sheet: _Sheet, shapes: tuple[Shape, ...], corner: tuple[float, float], pixel_pt: float
) -> None:
    """Draw shapes whose pixels are so many points wide and count from a corner on the sheet."""

    def placed(points: Any) -> NDArray[np.float64]:
        return np.asarray(points, np.float64) * pixel_pt + corner

    for shape in shapes:
        match shape:
            case Stroke():
                codes = [code for line in shape.lines for code in _codes(len(line))]
                points = placed([at for line in shape.lines for at in line])
                sheet.stroke(
                    points, codes, shape.width * pixel_pt, linestyle=(0, shape.dashes),
                    edgecolor=shape.colour if shape.width else "none",
                    facecolor=(shape.fill, shape.opacity) if shape.fill else "none",
                    capstyle="round" if shape.round else "butt",
                )  # fmt: skip
            case Disc():
                disc = Circle(tuple(placed(shape.centre)), shape.radius * pixel_pt)
                disc.set_facecolor((shape.fill, shape.opacity) if shape.fill else "none")
                disc.set(edgecolor=shape.colour or "none", linewidth=shape.width * pixel_pt)
                sheet.put(disc)
            case Words():
                x, y = placed(shape.at)
                size = shape.size * _LABEL_FONT_PX * pixel_pt
                words = shape.text.replace("  ", 2 * _NO_BREAK)  # SVG would join the spaces
                if shape.room:  # made for the window's font, which may be narrower
                    size *= min(1.0, shape.room * pixel_pt / _width_pt(words, size, bold=True))
                side = "left" if shape.room else "center"
                sheet.text(x, y, words, color=shape.colour, weight="bold", size=size, ha=side)


def _codes(count: int) -> list[Any]:
    """Of one line through so many points."""
    return [Outline.MOVETO] + [Outline.LINETO] * (count - 1)


# ---- curves --------------------------------------------------------------------------------------


def _series_style(series: int) -> dict[str, Any]:
    dashes = _DASHES[series % len(_DASHES)]
    return {
        "color": colors.SERIES_ON_PAPER[series % len(colors.SERIES_ON_PAPER)],
        "linewidth": 1.5,
        "linestyle": (0, dashes) if dashes else "-",
        "solid_capstyle": "butt",
        "clip_on": False,
    }


def _curves(content: CurvesFigure, paper: Paper) -> Figure:
    inches = paper.width_cm / _CM_PER_INCH
    figure = Figure(figsize=(inches, 0.77 * inches))
    axes = figure.add_axes((0.112, 0.153, 0.859, 0.74))
    end = max((curve.xs[-1] for curve in content.curves), default=1.0)
    axes.set_xlim(0.0, end)
    axes.set_ylim(0.0, 1.0)
    _draw_axes(axes, content, end, paper)
    drawn = []
    for curve in sorted(content.curves, key=_by_series, reverse=True):
        style = _series_style(curve.series)
        marker = "o" if content.ticks else ""
        drawn += axes.plot(curve.xs, curve.ys, marker=marker, markersize=3, **style)
        if content.series_count <= _WHISKERS_UP_TO and curve.whiskers:
            aside = (curve.series - (content.series_count - 1) / 2) * _WHISKER_APART_PT
            shift = ScaledTranslation(aside / _POINTS_PER_INCH, 0.0, figure.dpi_scale_trans)
            xs, lows, highs = zip(*curve.whiskers, strict=True)
            axes.vlines(
                xs, lows, highs, style["color"], linewidth=1.05, alpha=0.75, clip_on=False,
                transform=axes.transData + shift, gid="whisker",
            )  # fmt: skip
    if content.legend:
        names = [printable(curve.name) for curve in sorted(content.curves, key=_by_series)]
        axes.legend(
            drawn[::-1], names, loc="best", frameon=False, fontsize=0.92 * paper.font_pt,
            handlelength=2.6,
        )  # fmt: skip
    return figure


def _draw_axes(axes: Axes, content: CurvesFigure, end: float, paper: Paper) -> None:
    """Rules, ticks and words around a plot, from 0 to ``end`` and 0 to 1.

    What matplotlib draws by itself measures all words several times, which takes longer than all
    the rest of a plot.
    """
    axes.set_axis_off()
    theme = INKS[paper.theme]

    def word(
        at: tuple[float, float], aside_pt: tuple[float, float], text: str, **style: Any
    ) -> None:
        x, y = (one / _POINTS_PER_INCH for one in aside_pt)
        shift = ScaledTranslation(x, y, axes.figure.dpi_scale_trans)
        axes.text(*at, printable(text), transform=axes.transData + shift, **style)

    shares = [step / 5 for step in range(6)]
    axes.hlines(shares, 0.0, end, theme.rule, linewidth=0.75, clip_on=False, zorder=0)
    for share in shares:
        word((0.0, share), (-_TICK_PT, 0.0), f"{share:.1f}", ha="right", va="center_baseline")
    ticks = content.ticks or [(end * share, f"{end * share:g}") for share in shares]
    axes.plot(
        [place for place, _ in ticks], [0.0] * len(ticks), color=theme.soft, linestyle="none",
        marker=TICKDOWN, markersize=_TICK_PT, markeredgewidth=0.8, clip_on=False,
    )  # fmt: skip
    for place, text in ticks:
        word((place, 0.0), (0.0, -2 * _TICK_PT), text, ha="center", va="top")
    below_pt = 2 * _TICK_PT + paper.font_pt + _LABEL_GAP_PT
    word((end / 2, 0.0), (0.0, -below_pt), content.x_label, ha="center", va="top")
    style = {"weight": "bold", "size": 1.08 * paper.font_pt}
    word((0.0, 1.0), (0.0, _TITLE_GAP_PT), content.title, **style)


def _by_series(curve: Curve) -> int:
    return curve.series


def _sample(content: Sample, paper: Paper) -> Figure:
    sheet = _Sheet(paper.width_cm / _CM_PER_INCH * _POINTS_PER_INCH, 10.0, paper)
    width, height = sheet.size_pt
    if isinstance(content.line, int):
        line = Line2D([1.0, width - 1.0], [height / 2] * 2, **_series_style(content.line))
        sheet.put(line)
    else:
        ends = np.array([[[3.0, height / 2], [width - 3.0, height / 2]]])
        sheet.matches({content.line: ends})
    return sheet.figure
