"""The figure for a paper: complete, white, to scale, and written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from descgui.models.bundle import AppModels, make_models
from descgui.models.maps_state import DescriptorChoice
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Probe
from descgui.views.canvas import ImageCanvas
from descgui.views.figure import (
    FigureError,
    caption_lines,
    grab_canvas,
    render_figure,
    write_png,
    write_svg,
)
from descgui.views.pictures import Photo
from engine.api import Extent, Image, ImagePair, MatchTable, Peak, ProbeAnswer, ProbeRequest, Recipe
from engine.descriptors.registry import DescriptorSpec


def solid(name: str, size: tuple[int, int], colour: tuple[int, int, int]) -> Image:
    return Image(Path(name), np.full((size[1], size[0], 3), colour, np.uint8))


@pytest.fixture
def models(qapp, tmp_path) -> AppModels:
    made = make_models(tmp_path / "settings.yaml")
    one, other = solid("1.png", (60, 40), (200, 30, 30)), solid("2.png", (30, 40), (30, 30, 200))
    made.pair.set_pair(
        PairState(
            ImagePair(one.path, other.path, np.eye(3), "v_ä 1 → 2"),
            one,
            other,
            one.as_uint8(),
            other.as_uint8(),
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


def test_the_figure_shows_both_whole_images_equally_high_on_white(models):
    pixels = rows_of(render_figure(models, width_px=600, scale=1.0))
    assert pixels.shape[1] == 600
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


def test_the_scale_multiplies_pixels_and_leaves_the_layout(models):
    small = render_figure(models, width_px=400, scale=1.0)
    large = render_figure(models, width_px=400, scale=2.5)
    assert large.width() == 1000
    assert large.height() == pytest.approx(2.5 * small.height(), abs=3)
    assert large.width() / large.dotsPerMeterX() == pytest.approx(0.17, rel=1e-3)


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
    plain = render_figure(models, width_px=500, scale=1.0)
    models.view.update(mode="heat")
    heat = render_figure(models, width_px=500, scale=1.0)
    assert heat.size() == plain.size()
    changed = (rows_of(heat) != rows_of(plain)).any(axis=2)
    assert changed[:, 260:].mean() > 0.3


def test_the_svg_keeps_marks_as_vectors_and_embeds_two_images(models, tmp_path):
    ask(models)
    models.view.update(mode="heat")
    path = tmp_path / "Abbildung ä.svg"
    write_svg(models, path, width_px=500)
    text = path.read_text(encoding="utf-8")
    assert text.count("<image") >= 2
    assert text.count("<path") > 5
    assert "v_ä 1 → 2" in text
    assert "Sans Serif" not in text
    renderer = QSvgRenderer(str(path))
    assert renderer.isValid()
    assert renderer.viewBox().width() == 500
    assert 'width="170mm"' in text


def test_the_svg_looks_like_the_picture(models, tmp_path):
    models.matches.update(table=table([0.5] * 6 + [9.0] * 2))
    write_svg(models, tmp_path / "figure.svg", width_px=500)
    picture = render_figure(models, width_px=500, scale=1.0)
    drawn = QImage(picture.size(), QImage.Format.Format_RGB32)
    drawn.fill(Qt.GlobalColor.white)
    painter = QPainter(drawn)
    QSvgRenderer(str(tmp_path / "figure.svg")).render(painter)
    painter.end()
    difference = np.abs(rows_of(drawn).astype(int) - rows_of(picture).astype(int))
    assert difference.mean() < 6


def test_a_png_is_written_whole(models, tmp_path):
    path = tmp_path / "figure.png"
    write_png(models, path, width_px=300, scale=2.0)
    assert QImage(str(path)).width() == 600


@pytest.mark.parametrize("write", [write_png, write_svg])
def test_a_folder_that_does_not_exist_is_named_in_the_refusal(models, tmp_path, write):
    path = tmp_path / "nowhere" / "figure.out"
    with pytest.raises(FigureError, match="nowhere"):
        write(models, path)
    assert not path.exists()


def test_without_a_pair_there_is_no_figure(qapp, tmp_path):
    with pytest.raises(FigureError, match="No pair"):
        render_figure(make_models(tmp_path / "settings.yaml"))


def test_a_comparison_adds_a_third_image(models):
    two = render_figure(models, width_px=600, scale=1.0)
    models.compared.choose(DescriptorChoice("superpoint"))
    three = render_figure(models, width_px=600, scale=1.0)
    blue = (rows_of(three) == (30, 30, 200)).all(axis=2)
    row = blue[three.height() // 2]
    assert np.count_nonzero(np.diff(row.astype(int)) == 1) == 2
    assert three.height() < two.height()


def test_a_grabbed_canvas_is_as_large_as_asked_and_has_no_border(qtbot):
    canvas = ImageCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(200, 150)
    image = solid("1.png", (60, 40), (200, 30, 30))
    canvas.set_photo(Photo(image, image.as_uint8()))
    canvas.show()
    picture = grab_canvas(canvas, scale=2.0)
    ratio = canvas.devicePixelRatioF()
    assert (picture.width(), picture.height()) == (400 * ratio, 300 * ratio)
    assert QColor(picture.pixel(0, 0)) == QColor("#1E1F22")
    assert QColor(picture.pixel(200, 150)) == QColor(200, 30, 30)
