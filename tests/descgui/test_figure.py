"""The figure for a paper: complete, white, to scale, and written whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from descgui.models.bundle import AppModels, make_models
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Pin, Probe
from descgui.views.figure import FigureError, caption_lines, pair_figure, write_figure
from descgui.views.marks import Stage
from descgui.views.scene import PaneKey, marks_for
from descgui.views.viewport import Box, Viewport
from engine.api import (
    DescSpaceError,
    Extent,
    HomographySource,
    Image,
    ImagePair,
    MatchTable,
    Peak,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
    Visibility,
    figure_content,
)
from engine.descriptors.registry import DescriptorSpec
from engine.figures import render_figure


def solid(name: str, size: tuple[int, int], colour: tuple[int, int, int]) -> Image:
    return Image(Path(name), np.full((size[1], size[0], 3), colour, np.uint8))


@pytest.fixture
def models(qapp, tmp_path) -> AppModels:
    made = make_models(tmp_path / "settings.yaml")
    one, other = solid("1.png", (60, 40), (200, 30, 30)), solid("2.png", (30, 40), (30, 30, 200))
    source = HomographySource.of(np.eye(3))
    made.pair.set_pair(
        PairState(
            ImagePair(one.path, other.path, source, "v_ä 1 → 2"),
            one,
            other,
            one.as_uint8(),
            other.as_uint8(),
            source.open(one.size_px, other.size_px),
        )
    )
    made.maps.choose(DescriptorChoice("daisy"))
    made.view.update(mode="image")
    return made


def ask(models: AppModels) -> None:
    pair = models.pair.state.pair
    request = ProbeRequest(
        pair=pair, recipe=Recipe(spec=DescriptorSpec("daisy")), side="a", point_px=(15.0, 20.0)
    )
    models.probe.move(Probe("a", (15.0, 20.0)))
    models.probe.set_answer(
        ProbeAnswer(
            request=request,
            peaks=(Peak((16.0, 20.0), 0.912),),
            ratio=0.75,
            heat=np.random.default_rng(0).random((10, 8), dtype=np.float32),
            heat_extent=Extent(-0.5, -0.5, 29.5, 39.5),
            truth_px=(15.0, 20.0),
            error_px=1.0,
            rank=4,
            cycle_px=None,
            cycle_error_px=None,
            seconds=0.001,
        )
    )


def table(errors) -> MatchTable:
    count = len(errors)
    places = np.random.default_rng(1).uniform(2, 28, (count, 2))
    return MatchTable(
        points_a=places,
        points_b=places,
        similarity=np.full(count, 0.9, np.float32),
        ratio=np.full(count, 0.5, np.float32),
        mutual=np.ones(count, np.bool_),
        error_px=np.asarray(errors, np.float64),
    )


def rows_of(picture: QImage) -> np.ndarray:
    plain = picture.convertToFormat(QImage.Format.Format_RGBA8888)
    raw = np.array(plain.constBits(), np.uint8).reshape(plain.height(), plain.bytesPerLine())
    return raw[:, : 4 * plain.width()].reshape(plain.height(), plain.width(), 4)[..., :3]


def drawn(models: AppModels, dots_per_inch: int = 100) -> np.ndarray:
    """The figure as ``(H, W, 3)`` pixels."""
    paper = figure_content.Paper(dots_per_inch=dots_per_inch)
    picture = QImage.fromData(render_figure(pair_figure(models), ".png", paper))
    return rows_of(picture)


def test_the_figure_shows_both_whole_images_equally_high_on_white(models):
    pixels = drawn(models)
    assert pixels.shape[1] == int(17 / 2.54 * 100)
    assert (pixels[0] == 255).all()
    assert (pixels[-1] == 255).all()
    red = (pixels == (200, 30, 30)).all(axis=2)
    blue = (pixels == (30, 30, 200)).all(axis=2)
    red_rows, blue_rows = np.flatnonzero(red.any(axis=1)), np.flatnonzero(blue.any(axis=1))
    assert abs(len(red_rows) - len(blue_rows)) <= 2
    red_columns = np.flatnonzero(red.any(axis=0))
    blue_columns = np.flatnonzero(blue.any(axis=0))
    assert red_columns[-1] < blue_columns[0]
    assert len(red_columns) / len(blue_columns) == pytest.approx(2.0, rel=0.03)


def test_the_caption_says_what_is_not_in_sight_and_who_made_the_truth(models):
    ask(models)
    hidden = replace(models.probe.answer, error_px=None, rank=None, visibility=Visibility.OCCLUDED)
    models.probe.set_answer(hidden)
    (line,) = caption_lines(models)
    assert line.startswith("daisy: occluded, similarity 0.912")
    models.probe.move(None)
    found = replace(table([1.0, 9.0, np.nan, np.nan]), truth="homography, estimated")
    models.matches.update(table=found)
    (line,) = caption_lines(models)
    assert line == (
        "daisy: 1 of 2 matches (50 %) within 3 px of the truth (homography, estimated), 2 whose "
        "true point is not in sight"
    )


def test_dots_per_inch_multiply_pixels_and_leave_the_layout(models):
    small, large = drawn(models, 60), drawn(models, 150)
    assert large.shape[1] == pytest.approx(2.5 * small.shape[1], abs=3)
    assert large.shape[0] == pytest.approx(2.5 * small.shape[0], abs=3)


def test_the_caption_gives_descriptor_error_and_rank(models):
    assert caption_lines(models) == ()
    ask(models)
    (line,) = caption_lines(models)
    assert line.startswith("daisy: error 1.0 px, similarity 0.912")
    assert "4" in line


def test_the_caption_counts_right_matches(models):
    models.matches.update(table=table([0.5] * 6 + [9.0] * 2))
    (line,) = caption_lines(models)
    assert "6 of 8 matches (75 %) within 3 px" in line


def test_matches_without_any_truth_are_counted_and_not_judged(models):
    models.matches.update(table=table([np.nan] * 5))
    assert caption_lines(models) == ("daisy: 5 matches",)


def test_the_heat_map_is_drawn_over_the_second_image_with_its_scale(models):
    ask(models)
    plain = drawn(models)
    assert pair_figure(models).scale is None
    models.view.update(mode="heat")
    scale = pair_figure(models).scale
    assert (scale.title, scale.marker) == ("Cosine similarity", 0.912)
    heat = drawn(models)
    rows = min(len(heat), len(plain)) - 40
    changed = (heat[:rows] != plain[:rows]).any(axis=2)
    assert changed[:, 360:].mean() > 0.3
    assert changed[:, :300].mean() < 0.1


def words_in(panel) -> list[str]:
    return [shape.text for shape in panel.shapes if isinstance(shape, figure_content.Words)]


def test_the_figure_has_every_mark_of_the_panes_at_its_place(models):
    ask(models)
    models.pins.set_pins((Pin(1, Probe("a", (20.0, 10.0))),))
    figure = pair_figure(models)
    for panel, key in zip(figure.panels, (PaneKey("a"), PaneKey("b")), strict=True):
        width, height = panel.size_px
        view = Viewport(panel.stage_px / width, 0.0, 0.0)
        stage = Stage(view, Box(0.0, 0.0, panel.stage_px, view.scale * height))
        shown = marks_for(models, key)
        assert panel.shapes == tuple(shape for mark in shown for shape in mark.shapes(stage))
    assert words_in(figure.panels[0]) == ["1"]
    assert words_in(figure.panels[1]) == ["✓ 1.0 px   0.912"]
    words = [word for _, word in figure.legend]
    assert words == ["query", "best match", "truth, 3 and 5 px", "right", "wrong", "next best"]


def test_the_asked_point_is_drawn_where_it_is_in_the_image(models):
    ask(models)
    pixels = drawn(models, 300)
    red = np.argwhere((pixels == (200, 30, 30)).all(axis=2))
    (top, left), (bottom, right) = red.min(axis=0), red.max(axis=0)
    white = (pixels[top:bottom, left:right] == 255).all(axis=2)
    y, x = np.argwhere(white).mean(axis=0)
    assert x == pytest.approx((15.5 / 60) * (right - left), abs=2)
    assert y == pytest.approx((20.5 / 40) * (bottom - top), abs=2)


def test_matches_are_judged_as_in_the_panes(models):
    models.matches.update(table=table([0.5] * 6 + [9.0] * 2 + [np.nan]))
    figure = pair_figure(models)
    assert figure.judgements == ("right",) * 6 + ("wrong",) * 2 + ("unknown",)
    np.testing.assert_array_equal(figure.points_b, models.matches.state.table.points_b)
    models.matches.update(table=table([np.nan] * 5))
    assert pair_figure(models).judgements == ("agrees",) * 5


def test_the_svg_keeps_marks_as_vectors_and_embeds_two_images(models, tmp_path):
    ask(models)
    models.view.update(mode="heat")
    path = tmp_path / "Abbildung ä.svg"
    write_figure(pair_figure(models), path)
    text = path.read_text(encoding="utf-8")
    assert text.count("<image") >= 2
    assert text.count("<path") > 5
    assert "v_ä 1 → 2" in text
    renderer = QSvgRenderer(str(path))
    assert renderer.isValid()
    assert renderer.viewBoxF().width() / 72 * 2.54 == pytest.approx(17, abs=0.01)


def test_the_svg_looks_like_the_picture(models, tmp_path):
    models.matches.update(table=table([0.5] * 6 + [9.0] * 2))
    write_figure(pair_figure(models), tmp_path / "figure.svg")
    picture = drawn(models)
    image = QImage(picture.shape[1], picture.shape[0], QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    QSvgRenderer(str(tmp_path / "figure.svg")).render(painter)
    painter.end()
    difference = np.abs(rows_of(image).astype(int) - picture.astype(int))
    assert difference.mean() < 6


def test_the_file_is_of_the_kind_that_its_name_says(models, tmp_path):
    for suffix, begins in ((".png", b"\x89PNG"), (".svg", b"<svg"), (".pdf", b"%PDF-")):
        write_figure(pair_figure(models), tmp_path / f"figure{suffix}")
        assert (tmp_path / f"figure{suffix}").read_bytes().startswith(begins)
    assert QImage(str(tmp_path / "figure.png")).width() == int(17 / 2.54 * 450)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_folder_that_does_not_exist_is_named_in_the_refusal(models, tmp_path, suffix):
    path = tmp_path / "nowhere" / f"figure{suffix}"
    with pytest.raises(DescSpaceError, match="nowhere"):
        write_figure(pair_figure(models), path)
    assert not path.exists()


def test_without_a_pair_there_is_no_figure(qapp, tmp_path):
    with pytest.raises(FigureError, match="No pair"):
        pair_figure(make_models(tmp_path / "settings.yaml"))


def test_a_comparison_adds_a_third_image(models):
    two = drawn(models)
    models.compared[0].choose(DescriptorChoice("superpoint"))
    three = drawn(models)
    assert [panel.letter for panel in pair_figure(models).panels] == ["A", "B", "B′"]
    blue = (three == (30, 30, 200)).all(axis=2)
    row = blue[three.shape[0] // 2]
    assert np.count_nonzero(np.diff(row.astype(int)) == 1) == 2
    assert three.shape[0] < two.shape[0]


def test_the_panel_of_the_descriptor_that_matched_stands_beside_the_query(models):
    models.compared[0].choose(DescriptorChoice("superpoint"))
    models.matches.update(table=table([1.0, 9.0]), descriptor=1)
    figure = pair_figure(models)
    assert [panel.letter for panel in figure.panels] == ["A", "B′", "B"]
    assert figure.caption[-1].startswith("superpoint: ")
    models.matches.update(descriptor=0)
    assert [panel.letter for panel in pair_figure(models).panels] == ["A", "B", "B′"]


def test_with_a_range_for_each_descriptor_each_panel_says_its_own(models):
    models.compared[0].choose(DescriptorChoice("superpoint"))
    models.view.update(mode="heat")
    for maps in models.descriptors[:2]:
        for side in ("a", "b"):
            maps.set_status(side, MapStatus("ready"))
    ask(models)
    answer = models.probe.answer
    heat = np.linspace(0.0, 1.0, answer.heat.size, dtype=np.float32).reshape(answer.heat.shape)
    models.probe.set_answer(replace(answer, heat=heat))
    models.probe.set_answer(replace(answer, heat=3.0 + heat), 1)
    assert pair_figure(models).scale.high > 3.9
    models.view.update(own_ranges=True)
    figure = pair_figure(models)
    assert figure.scale is None
    _, first, second = (panel.title.rpartition("colours from ")[2] for panel in figure.panels)
    assert [float(word) for word in first.split(" to ")] == pytest.approx([0.0, 1.0], abs=0.2)
    assert [float(word) for word in second.split(" to ")] == pytest.approx([3.0, 4.0], abs=0.2)


def test_matches_without_texture_are_marked_and_counted(models):
    known = table([np.nan] * 3)
    textured = np.array([True, False, False])
    models.matches.update(table=replace(known, textured=textured))
    figure = pair_figure(models)
    assert figure.judgements == ("agrees", "blank", "blank")
    assert "3 matches, 2 without texture" in figure.caption[-1]


def test_a_smaller_picture_has_the_same_layout_and_marks(models):
    whole, small = pair_figure(models), pair_figure(models, 30)
    for one, other in zip(whole.panels, small.panels, strict=True):
        assert (one.shapes, one.stage_px) == (other.shapes, other.stage_px)
        assert other.image.shape[1] < one.image.shape[1]
