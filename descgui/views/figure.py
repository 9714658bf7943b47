"""The pair as a figure for a paper: white ground, whole images, vector marks, one caption.

The figure shows what the panes show, drawn by the same painters, but the whole of each image
whatever part the panes are zoomed to.  Photographs and colours are embedded as pixels; marks,
lines, scale and text are vectors in SVG.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QImage, QPainter

from descgui.models.bundle import AppModels
from descgui.views import scene
from descgui.views.canvas import ImageCanvas
from descgui.views.color_bar import paint_scale
from descgui.views.figure_file import png_bytes, svg_bytes, write_whole
from descgui.views.legend import paint_legend
from descgui.views.marks import Stage, paint_marks
from descgui.views.match_lines import line_segments, lines_opacity, paint_ends, paint_lines
from descgui.views.pictures import Photo
from descgui.views.scene import PaneKey, PictureStore
from descgui.views.viewport import Box, Size, Viewport
from engine.api import DescSpaceError, ProbeAnswer

WIDTH_PX: Final = 1000
"""Width of a figure in which marks and text have a good size for two columns of a page."""

PAPER_WIDTH_M: Final = 0.17
"""Width that a figure asks for on paper."""

_MARGIN: Final = 12.0
_GAP: Final = 14.0
_SVG_SCALE: Final = 2.0
_INK: Final = "#1B1C1F"


class FigureError(DescSpaceError):
    """A figure could not be drawn or written."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One image of a figure: what it shows, and where."""

    key: PaneKey
    photo: Photo
    box: Box

    @property
    def view(self) -> Viewport:
        """The viewport that puts the whole image into the box."""
        return Viewport(self.box.width / self.photo.size_px[0], self.box.left, self.box.top)


def render_figure(models: AppModels, *, width_px: int = WIDTH_PX, scale: float = 3.0) -> QImage:
    """Draw the figure as pixels.

    Args:
        models: all of them.
        width_px: width that text and marks are sized for.
        scale: pixels of the result per such pixel.

    Returns:
        An opaque picture ``width_px * scale`` wide, marked to be 17 cm wide on paper.

    Raises:
        FigureError: no pair is open, or the figure would not fit into memory.
    """
    panels = _panels(models, width_px)
    height = _height(models, panels)
    picture = QImage(round(width_px * scale), math.ceil(height * scale), QImage.Format.Format_RGB32)
    if picture.isNull():
        raise FigureError("The figure is too large to be drawn. Choose a smaller width.")
    picture.fill(Qt.GlobalColor.white)
    painter = QPainter(picture)
    painter.scale(scale, scale)
    _paint(painter, models, panels, width_px, scale)
    painter.end()
    dots = round(picture.width() / PAPER_WIDTH_M)
    picture.setDotsPerMeterX(dots)
    picture.setDotsPerMeterY(dots)
    return picture


def write_svg(models: AppModels, path: Path, *, width_px: int = WIDTH_PX) -> None:
    """Draw the figure into an SVG file; an existing file is replaced only by a whole new one.

    Raises:
        FigureError: no pair is open, or the file cannot be written.
    """
    panels = _panels(models, width_px)
    height = math.ceil(_height(models, panels))

    def paint(painter: QPainter) -> None:
        painter.fillRect(QRectF(0, 0, width_px, height), QColor("white"))
        _paint(painter, models, panels, width_px, _SVG_SCALE)

    caption = " ".join(caption_lines(models))
    svg = svg_bytes(QSize(width_px, height), paint, title=_title(models), description=caption)
    _write(path, _sized(svg, height / width_px))


def write_png(
    models: AppModels, path: Path, *, width_px: int = WIDTH_PX, scale: float = 3.0
) -> None:
    """Draw the figure into a PNG file; an existing file is replaced only by a whole new one.

    Raises:
        FigureError: no pair is open, or the file cannot be written.
    """
    write_picture(render_figure(models, width_px=width_px, scale=scale), path)


def write_picture(picture: QImage, path: Path) -> None:
    """Write any picture as PNG.

    Raises:
        FigureError: the file cannot be written.
    """
    data = png_bytes(picture)
    if data is None:
        raise FigureError(f"The picture {path} could not be encoded.")
    _write(path, data)


def grab_canvas(canvas: ImageCanvas, *, scale: float = 1.0) -> QImage:
    """What a canvas shows, without its border, ``scale`` times as large as on the screen."""
    return canvas.grab_picture(scale=scale)


def caption_lines(models: AppModels) -> tuple[str, ...]:
    """What stands below the images: the facts of the probe and of the matches, if there are any."""
    lines = []
    for key in (PaneKey("a"), PaneKey("b"), PaneKey("a", True), PaneKey("b", True)):
        if key.compared and not models.compared.choice.name:
            continue
        answer = scene.answer_for(models, key)
        if answer is not None:
            title = scene.descriptor_title(models, scene.maps_of(models, key))
            lines.append(f"{title}: {_answer_text(answer)}")
    state = models.matches.state
    shown = state.shown()
    if state.table is not None and shown.any():
        title = scene.descriptor_title(models, models.maps)
        lines.append(f"{title}: {_matches_text(models)}")
    return tuple(lines)


def _answer_text(answer: ProbeAnswer) -> str:
    parts = []
    if answer.error_px is not None:
        parts.append(f"error {scene.px_text(answer.error_px)}")
    parts.append(f"similarity {answer.peaks[0].similarity:.3f}")
    parts.append(f"ratio {answer.ratio:.2f}")
    if answer.rank is not None:
        parts.append(f"rank of the true match {answer.rank}")
    if answer.cycle_error_px is not None:
        parts.append(f"cycle error {scene.px_text(answer.cycle_error_px)}")
    return ", ".join(parts)


def _matches_text(models: AppModels) -> str:
    state = models.matches.state
    shown = state.shown()
    count = int(shown.sum())
    correct = state.correct(models.settings.state.correct_px)
    if correct is None or state.table is None:
        return f"{count} matches"
    right = int((correct & shown).sum())
    if np.isfinite(state.table.error_px).any():
        text = "{right} of {count} matches ({share} %) within {px} px of the truth"
    else:
        text = "{right} of {count} matches ({share} %) agree with the estimated homography"
    share = f"{100 * right / count:.0f}"
    return text.format(
        right=right, count=count, share=share, px=f"{models.settings.state.correct_px:g}"
    )


def _panels(models: AppModels, width_px: int) -> tuple[Panel, ...]:
    """Whole images side by side, equally high."""
    state = models.pair.state
    if state is None:
        raise FigureError("No pair is open, so there is nothing to draw.")
    photos = {
        "a": Photo(state.image_a, state.display_a),
        "b": Photo(state.image_b, state.display_b),
    }
    keys = [PaneKey("a"), scene.second_key(models)]
    if models.compared.choice.name:
        probe = models.probe.probe
        keys.append(PaneKey("a" if probe is not None and probe.side == "b" else "b", True))
    aspects = [photos[key.side].size_px[0] / photos[key.side].size_px[1] for key in keys]
    room = width_px - 2 * _MARGIN - _GAP * (len(keys) - 1)
    height = room / sum(aspects)
    top = _MARGIN + _line_height()
    left = _MARGIN
    panels = []
    for key, aspect in zip(keys, aspects, strict=True):
        box = Box(left, top, height * aspect, height)
        panels.append(Panel(key, photos[key.side], box))
        left += box.width + _GAP
    return tuple(panels)


def _height(models: AppModels, panels: tuple[Panel, ...]) -> float:
    lines = len(caption_lines(models))
    legend = _strip_height() if _has_strip(models) else 0.0
    return panels[0].box.bottom + 6.0 + legend + lines * _line_height() + _MARGIN


def _paint(
    painter: QPainter,
    models: AppModels,
    panels: tuple[Panel, ...],
    width_px: int,
    pixel_ratio: float,
) -> None:
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    store = PictureStore()
    for panel in panels:
        _paint_panel(painter, models, panel, store, pixel_ratio)
    _paint_lines(painter, models, panels)
    for panel in panels:
        marks = scene.marks_for(models, panel.key)
        paint_marks(painter, marks, Stage(panel.view, panel.box))
    _paint_below(painter, models, panels, width_px)


def _paint_panel(
    painter: QPainter, models: AppModels, panel: Panel, store: PictureStore, pixel_ratio: float
) -> None:
    box = panel.box
    picture = QImage(
        max(1, round(box.width * pixel_ratio)),
        max(1, round(box.height * pixel_ratio)),
        QImage.Format.Format_RGB32,
    )
    view = Viewport(panel.view.scale, 0.0, 0.0)
    widget: Size = (math.ceil(box.width), math.ceil(box.height))
    overlay = scene.overlay_for(models, panel.key, store)
    inner = QPainter(picture)
    inner.fillRect(picture.rect(), QColor("white"))
    inner.scale(pixel_ratio, pixel_ratio)
    muted = overlay is not None and overlay.muted
    panel.photo.paint(inner, view, widget, pixel_ratio, muted=muted)
    if overlay is not None:
        overlay.paint(inner, view, panel.photo.size_px, widget, pixel_ratio)
    inner.end()
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawImage(QRectF(box.left, box.top, box.width, box.height), picture)
    letter = panel.key.side.upper() + ("′" if panel.key.compared else "")
    caption = scene.caption_for(models, panel.key)
    painter.setPen(QColor(_INK))
    painter.setFont(_font(bold=True))
    baseline = box.top - 6.0
    painter.drawText(QPointF(box.left, baseline), letter)
    metrics = QFontMetricsF(_font())
    indent = QFontMetricsF(_font(bold=True)).horizontalAdvance(letter) + 9.0
    text = "" if caption.busy or caption.problem else caption.text
    if caption.untrained:
        text = f"{text} (untrained)"
    shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, box.width - indent)
    painter.setFont(_font())
    painter.drawText(QPointF(box.left + indent, baseline), shown)


def _paint_lines(painter: QPainter, models: AppModels, panels: tuple[Panel, ...]) -> None:
    state = models.matches.state
    keep = state.shown()
    if state.table is None or not keep.any() or panels[1].key.side != "b":
        return
    first, second = panels[0], panels[1]
    segments, seen = line_segments(
        state.table.points_a[keep],
        state.table.points_b[keep],
        Viewport(first.view.scale, 0.0, 0.0),
        Viewport(second.view.scale, 0.0, 0.0),
        first.box,
        second.box,
    )
    verdicts = state.verdicts(models.settings.state.correct_px)
    if verdicts is not None:
        verdicts = verdicts[keep][seen]
    segments = segments[seen]
    edged = len(segments) <= 250
    painter.save()
    painter.setOpacity(lines_opacity(len(segments)))
    paint_lines(painter, segments, verdicts, fine=True, edged=edged)
    painter.setOpacity(1.0)
    paint_ends(painter, segments, verdicts, edged=edged)
    painter.restore()


def _paint_below(
    painter: QPainter, models: AppModels, panels: tuple[Panel, ...], width_px: int
) -> None:
    ink = QColor(_INK)
    top = panels[0].box.bottom + 6.0
    if _has_strip(models):
        strip = QRectF(_MARGIN, top, width_px - 2 * _MARGIN, _strip_height())
        scale_width = _paint_scale(painter, models, panels, strip, ink)
        painter.setFont(_font())
        legend = strip.adjusted(0.0, 0.0, -scale_width - 16.0, 0.0)
        if _has_marks(models):
            known = models.pair.state is not None and models.pair.state.pair.h_b_from_a is not None
            paint_legend(painter, legend, ink, with_truth=known)
        top = strip.bottom()
    metrics = QFontMetricsF(_font())
    painter.setPen(ink)
    painter.setFont(_font())
    for index, line in enumerate(caption_lines(models)):
        baseline = top + index * _line_height() + metrics.ascent() + 2.0
        most = width_px - 2 * _MARGIN
        shown = metrics.elidedText(line, Qt.TextElideMode.ElideRight, most)
        painter.drawText(QPointF(_MARGIN, baseline), shown)


def _paint_scale(
    painter: QPainter,
    models: AppModels,
    panels: tuple[Panel, ...],
    strip: QRectF,
    ink: QColor,
) -> float:
    """Draw the colour scale at the right end of a strip; its width, 0 for none."""
    scale = scene.scale_for(models, panels[0].key) or scene.scale_for(models, panels[1].key)
    if scale is None:
        return 0.0
    title = f"{scale.title} ({scale.unit})" if scale.unit else scale.title
    title_width = QFontMetricsF(_font()).horizontalAdvance(title)
    bar_width = min(220.0, 0.3 * strip.width())
    left = strip.right() - bar_width - 12.0
    painter.setFont(_font())
    painter.setPen(ink)
    place = QRectF(left - title_width - 20.0, strip.top(), title_width + 4.0, strip.height())
    painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, title)
    paint_scale(
        painter,
        QRectF(left, strip.top() + 6.0, bar_width, strip.height() - 6.0),
        colormap=models.settings.state.colormap,
        low=scale.low,
        high=scale.high,
        ink=ink,
        font=_font(),
        marker=scale.marker,
    )
    return bar_width + title_width + 36.0


def _has_marks(models: AppModels) -> bool:
    return any(scene.marks_for(models, PaneKey(side)) for side in ("a", "b"))


def _has_strip(models: AppModels) -> bool:
    keys = (PaneKey("a"), scene.second_key(models))
    return _has_marks(models) or any(scene.scale_for(models, key) is not None for key in keys)


def _title(models: AppModels) -> str:
    state = models.pair.state
    assert state is not None, "panels were laid out"
    named = state.pair.name
    return named or f"{state.image_a.path.name}, {state.image_b.path.name}"


def _font(*, bold: bool = False) -> QFont:
    font = QFont(QGuiApplication.font())
    font.setPointSizeF(9.5)
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font


def _line_height() -> float:
    return QFontMetricsF(_font()).height() + 4.0


def _strip_height() -> float:
    return QFontMetricsF(_font()).height() + 23.0


def _sized(svg: bytes, aspect: float) -> bytes:
    """Set the size on paper: Qt writes the size that the picture has on the screen."""
    width_mm = 1000 * PAPER_WIDTH_M
    size = f'<svg width="{width_mm:g}mm" height="{width_mm * aspect:.2f}mm"'.encode()
    return re.sub(rb'<svg width="[^"]*" height="[^"]*"', lambda _match: size, svg, count=1)


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise FigureError(f"The figure could not be written to {path}: {error}.") from error
