"""The pair as a figure for a paper: what the panes show, but the whole of each image.

The panes' own pictures and marks are handed to the engine, which lays them out and draws them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage, QPainter

from descgui.models import matches_state as verdict
from descgui.models.bundle import AppModels
from descgui.models.settings import FigureSettings
from descgui.views import scene
from descgui.views.legend import legend_entries
from descgui.views.marks import Shapes, Stage
from descgui.views.match_lines import lines_opacity
from descgui.views.pictures import Photo
from descgui.views.scene import PaneKey, PictureStore
from descgui.views.viewport import Box, Viewport
from engine import api
from engine.api import SIDES, Side
from engine.api import figure_content as content

_CM_PER_INCH: Final = 2.54
_WIDTH_PX: Final = 3000
_DOTS_PER_PIXEL: Final = 3.0  # of the pictures, for each pixel that marks are measured in
_WORDS: Final[dict[content.Judgement, str]] = {
    "right": "right",
    "wrong": "wrong",
    "unknown": "true point not in sight",
    "blank": "no texture",
}
_JUDGEMENTS: Final[dict[int, content.Judgement]] = {
    verdict.RIGHT: "right",
    verdict.WRONG: "wrong",
    verdict.UNSEEN: "unknown",
    verdict.BLANK: "blank",
    verdict.UNJUDGED: "agrees",
}


class FigureError(api.DescSpaceError):
    """A figure could not be drawn."""


def write_figure(
    figure: content.PairFigure, path: Path, settings: FigureSettings | None = None
) -> None:
    """Draw a figure of :func:`pair_figure` into a PNG, SVG or PDF file, by its suffix.

    It takes a second and more, and may be done on any thread.

    Args:
        figure: all that could be shown.
        path: the file.
        settings: what is shown, and how; the defaults for None.

    Raises:
        OutputError: the file cannot be written.
    """
    chosen = settings or FigureSettings()
    api.write_figure(path, chosen_content(figure, chosen), _paper(chosen))


def preview_png(figure: content.PairFigure, settings: FigureSettings, width_px: int) -> bytes:
    """A figure as a small PNG, with all proportions as they will be; on any thread.

    Args:
        figure: all that could be shown.
        settings: what is shown, and how.
        width_px: of the picture.
    """
    dots = max(1, round(width_px * _CM_PER_INCH / settings.width_cm))
    paper = replace(_paper(settings), dots_per_inch=dots)
    return api.render_figure(chosen_content(figure, settings), ".png", paper)


def chosen_content(figure: content.PairFigure, settings: FigureSettings) -> content.PairFigure:
    """A figure without what the settings leave out."""
    panels = tuple(
        replace(
            panel,
            letter=panel.letter if settings.titles else "",
            title=panel.title if settings.titles else "",
            shapes=panel.shapes if settings.marks else (),
        )
        for panel in figure.panels
    )
    lines: dict[str, Any] = {}
    if not settings.lines:
        lines = {"points_a": np.empty((0, 2)), "points_b": np.empty((0, 2)), "judgements": ()}
    return replace(
        figure,
        panels=panels,
        legend=figure.legend if settings.legend else (),
        scale=figure.scale if settings.scale else None,
        caption=figure.caption if settings.caption else (),
        **lines,
    )


def _paper(settings: FigureSettings) -> content.Paper:
    return content.Paper(
        width_cm=settings.width_cm,
        font_pt=settings.font_pt,
        theme=settings.theme,
        dots_per_inch=settings.dots_per_inch,
    )


def write_picture(picture: QImage, path: Path) -> None:
    """Write any picture.

    Raises:
        OutputError: the file cannot be written.
    """
    api.write_image(path, pixels_of(picture))


def pixels_of(picture: QImage) -> NDArray[np.uint8]:
    """``(H, W, 3)`` RGB of a picture."""
    plain = picture.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(plain.constBits(), np.uint8).reshape(plain.height(), plain.bytesPerLine())
    return rows[:, : 3 * plain.width()].reshape(plain.height(), plain.width(), 3).copy()


def pair_figure(models: AppModels, width_px: float = _WIDTH_PX) -> content.PairFigure:
    """What the panes show, as a figure.

    Args:
        models: all of the window.
        width_px: of all images together, at most.

    Raises:
        FigureError: no pair is open.
    """
    state = models.pair.state
    if state is None:
        raise FigureError("No pair is open, so there is nothing to draw.")
    keys = [PaneKey("a"), scene.second_key(models)]
    probe = models.probe.probe
    answering: Side = "a" if probe is not None and probe.side == "b" else "b"
    keys += [PaneKey(answering, number) for number in models.numbers if number]
    matched = 1 + models.numbers.index(models.matches.state.descriptor)
    if matched > 1 and models.matches.state.shown().any():
        keys.insert(1, replace(keys.pop(matched), side="b"))  # lines run between the first two
    shown = {"a": (state.image_a, state.display_a), "b": (state.image_b, state.display_b)}
    photos = [Photo(*shown[key.side]) for key in keys]
    aspects = [photo.size_px[0] / photo.size_px[1] for photo in photos]
    height_px = _WIDTH_PX / max(1.0, sum(aspects))
    share = min(1.0, width_px / _WIDTH_PX)
    panels = [
        _panel(models, key, photo, height_px, share)
        for key, photo in zip(keys, photos, strict=True)
    ]
    matches = models.matches.state
    keep = matches.shown()
    judgements: tuple[content.Judgement, ...] = ()
    lines: dict[str, Any] = {}
    if matches.table is not None and keep.any() and keys[1].side == "b":
        verdicts = matches.verdicts(models.settings.state.correct_px)
        judgements = tuple(
            "agrees" if verdicts is None else _JUDGEMENTS[verdicts[row]]
            for row in np.flatnonzero(keep)
        )
        lines = {
            "points_a": matches.table.points_a[keep],
            "points_b": matches.table.points_b[keep],
            "judgements": judgements,
            "opacity": lines_opacity(len(judgements)),
        }
    return content.PairFigure(
        title=state.pair.name or f"{state.image_a.path.name}, {state.image_b.path.name}",
        panels=tuple(panels),
        legend=_legend(models, judgements),
        scale=_scale(models, keys),
        caption=caption_lines(models),
        **lines,
    )


def _panel(
    models: AppModels, key: PaneKey, photo: Photo, height_px: float, share: float
) -> content.Panel:
    """The whole image of a pane with its colours, at most ``share * height_px`` high.

    Its marks are those of an image ``height_px`` high.
    """
    scale = min(1.0, share * height_px / photo.size_px[1])
    size = (max(1, round(scale * photo.size_px[0])), max(1, round(scale * photo.size_px[1])))
    picture = QImage(*size, QImage.Format.Format_RGB32)
    view = Viewport(scale, 0.0, 0.0)
    overlay = scene.overlay_for(models, key, PictureStore())
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    photo.paint(painter, view, size, 1.0, muted=overlay is not None and overlay.muted)
    if overlay is not None:
        overlay.paint(painter, view, photo.size_px, size, 1.0)
    painter.end()
    shape_scale = height_px / photo.size_px[1] / _DOTS_PER_PIXEL
    width, height = (shape_scale * length for length in photo.size_px)
    stage = Stage(Viewport(shape_scale, 0.0, 0.0), Box(0.0, 0.0, width, height))
    marks = scene.marks_for(models, key)
    caption = scene.caption_for(models, key)
    title = "" if caption.busy or caption.problem else caption.text
    own = scene.scale_for(models, key) if scene.has_own_ranges(models) else None
    if title and own is not None and overlay is not None:
        title = f"{title} · colours from {own.low:.2f} to {own.high:.2f}"
    return content.Panel(
        image=pixels_of(picture),
        size_px=photo.size_px,
        letter=key.letter,
        title=f"{title} (untrained)" if caption.untrained else title,
        shapes=tuple(shape for mark in marks for shape in mark.shapes(stage)),
        stage_px=width,
    )


def _legend(
    models: AppModels, judgements: tuple[content.Judgement, ...]
) -> tuple[tuple[content.Judgement | Shapes, str], ...]:
    """The symbols of the marks, else those of the lines."""
    states = scene.unseen_states(models)
    marked = any(scene.marks_for(models, PaneKey(side)) for side in SIDES)
    if states and not marked:
        return legend_entries(None, with_own=False, states=states)[: len(states)]
    if marked:
        truth = models.pair.state.truth if models.pair.state is not None else None
        own = any(scene.self_answer_for(models, PaneKey(side)) for side in SIDES)
        return legend_entries(truth, with_own=own, states=states)
    return tuple((kind, words) for kind, words in _WORDS.items() if kind in judgements)


def _scale(models: AppModels, keys: list[PaneKey]) -> content.ColorScale | None:
    scale = scene.scale_for(models, keys[0]) or scene.scale_for(models, keys[1])
    if scale is None or scene.has_own_ranges(models):
        return None
    return content.ColorScale(
        title=f"{scale.title} ({scale.unit})" if scale.unit else scale.title,
        low=scale.low,
        high=scale.high,
        colormap=models.settings.state.colormap,
        marker=scale.marker,
        logarithmic=scale.logarithmic,
    )


def caption_lines(models: AppModels) -> tuple[str, ...]:
    """The caption below the images: figures of the probe and of the matches, if there are any."""
    lines = []
    for key in (PaneKey(side, number) for number in models.numbers for side in SIDES):
        answer = scene.answer_for(models, key)
        if answer is not None:
            title = scene.descriptor_title(models, scene.maps_of(models, key))
            lines.append(f"{title}: {_answer_text(answer)}")
    state = models.matches.state
    shown = state.shown()
    if state.table is not None and shown.any():
        title = scene.descriptor_title(models, models.descriptors[state.descriptor])
        lines.append(f"{title}: {_matches_text(models)}")
    return tuple(lines)


def _answer_text(answer: api.ProbeAnswer) -> str:
    parts = []
    if answer.error_px is not None:
        parts.append(f"error {scene.px_text(answer.error_px)}")
    elif answer.request.pair.truth is not None:
        parts.append(answer.visibility.words)
    parts.append(f"similarity {answer.peaks[0].similarity:.3f}")
    if not answer.textured:
        parts.append("no texture")
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
    if state.table is None:
        return f"{count} matches"
    blank = int((shown & ~state.table.textured).sum())
    without = f", {blank} without texture" if blank else ""
    if correct is None:
        return f"{count} matches{without}"
    measured = np.isfinite(state.table.error_px)
    right, known = int((correct & shown).sum()), bool(measured.any())
    judged = int((measured & shown).sum()) if known else count - blank
    share = f"{right} of {judged} matches ({100 * right / max(1, judged):.0f} %)"
    if known:
        limit, truth = f"{models.settings.state.correct_px:g} px", state.table.truth
        whose = "" if truth in ("", "homography") else f" ({truth})"
        beyond = f", {count - judged} whose true point is not in sight" if count > judged else ""
        return f"{share} within {limit} of the truth{whose}{beyond}{without}"
    return f"{share} agree with the estimated homography{without}"
