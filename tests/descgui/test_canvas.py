"""The canvas: exact pixels, honest hit-testing, and repainting only what changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPointingDevice,
    QWheelEvent,
)
from PySide6.QtTest import QTest

from descgui.views.canvas import FIT_MARGIN, WHEEL_STEP, ImageCanvas
from descgui.views.color_bar import ColorBar, log_ticks, nice_ticks, tick_text
from descgui.views.marks import (
    BestMatch,
    CycleArrow,
    ErrorLine,
    Label,
    PeakRing,
    PinMark,
    Reticle,
    Stage,
    TruthPoint,
    bounds_of,
    paint_shapes,
    pin_color,
    place_label,
    readable_on,
)
from descgui.views.match_lines import MatchLines, line_segments
from descgui.views.pictures import BACKGROUND, Mipmap, Overlay, Photo
from descgui.views.pixels import prepare_display, rgb_image
from descgui.views.scene import Scale
from descgui.views.viewport import Box, Viewport, whole_extent
from engine.api import Extent, Image

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier


def photo_of(pixels: np.ndarray) -> Photo:
    image = Image(Path("photo.png"), pixels)
    return Photo(image, prepare_display(image))


def grey(width: int, height: int, value: int = 0) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def colour(picture: QImage, x: float, y: float) -> tuple[int, int, int]:
    return QColor(picture.pixel(int(x), int(y))).getRgb()[:3]


@pytest.fixture
def canvas(qtbot):
    widget = ImageCanvas()
    qtbot.addWidget(widget)
    widget.resize(400, 300)
    widget.set_photo(photo_of(grey(64, 48, 90)))
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def move(canvas: ImageCanvas, x: float, y: float, buttons=Qt.MouseButton.NoButton) -> None:
    place = QPointF(x, y)
    event = QMouseEvent(
        QEvent.Type.MouseMove, place, canvas.mapToGlobal(place), Qt.MouseButton.NoButton,
        buttons, NONE,
    )  # fmt: skip
    canvas.mouseMoveEvent(event)


def wheel(canvas: ImageCanvas, x: float, y: float, *, angle: int = 0, pixels: int = 0) -> None:
    place = QPointF(x, y)
    event = QWheelEvent(
        place, canvas.mapToGlobal(place), QPoint(0, pixels), QPoint(0, angle),
        Qt.MouseButton.NoButton, NONE, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    canvas.wheelEvent(event)


def test_one_bright_pixel_lands_exactly_where_the_viewport_says(canvas):
    pixels = grey(64, 48)
    pixels[20, 30] = 255
    canvas.set_photo(photo_of(pixels))
    canvas.set_viewport(Viewport(8.0, -60.0, -40.0))
    picture = canvas.grab().toImage()
    left, top = -60 + 8 * 30, -40 + 8 * 20
    for y in range(top - 2, top + 10):
        for x in range(left - 2, left + 10):
            inside = left <= x < left + 8 and top <= y < top + 8
            assert colour(picture, x, y) == ((255, 255, 255) if inside else (0, 0, 0)), (x, y)
    centre = canvas.viewport.to_widget((30.0, 20.0))
    assert centre == (left + 4, top + 4)


def test_one_bright_pixel_is_one_device_pixel_at_one_to_one(canvas):
    pixels = grey(64, 48)
    pixels[11, 23] = 255
    canvas.set_photo(photo_of(pixels))
    canvas.one_to_one()
    x, y = canvas.viewport.to_widget((23.0, 11.0))
    picture = canvas.grab().toImage()
    assert colour(picture, x, y) == (255, 255, 255)
    assert colour(picture, x + 1, y) == (0, 0, 0)
    assert colour(picture, x, y - 1) == (0, 0, 0)


def test_smooth_enlargement_is_centred_on_the_pixel(canvas):
    pixels = grey(64, 48)
    pixels[24, 32] = 255
    canvas.set_photo(photo_of(pixels))
    canvas.set_viewport(Viewport(5.0, 30.0, 20.0))
    picture = canvas.grab().toImage()
    rows = np.array([[colour(picture, x, y)[0] for x in range(170, 220)] for y in range(120, 170)])
    weights = rows.astype(float) / rows.sum()
    x = (weights.sum(axis=0) * np.arange(170, 220)).sum() + 0.5
    y = (weights.sum(axis=1) * np.arange(120, 170)).sum() + 0.5
    assert (x, y) == pytest.approx(canvas.viewport.to_widget((32.0, 24.0)), abs=0.15)


def test_shrunk_images_show_their_mean_not_single_pixels(canvas):
    checks = grey(2000, 1600)
    checks[::2, ::2] = 255
    checks[1::2, 1::2] = 255
    canvas.set_photo(photo_of(checks))
    picture = canvas.grab().toImage()
    values = [colour(picture, x, 150)[0] for x in range(150, 250)]
    assert min(values) > 110
    assert max(values) < 145


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_deep_zoom_into_a_large_image_shows_its_own_pixels(canvas, dtype):
    top = np.iinfo(dtype).max
    pixels = np.zeros((2100, 2300, 3), dtype)
    pixels[1234, 987] = (top, 0, 0)
    image = Image(Path("photo.png"), pixels)
    canvas.set_photo(Photo(image, prepare_display(image, long_edge_px=500)))
    canvas.set_viewport(Viewport(10.0, 200.0 - 9870, 150.0 - 12340))
    picture = canvas.grab().toImage()
    assert colour(picture, 205, 155) == (255, 0, 0)
    assert colour(picture, 199, 155) == (0, 0, 0)
    assert colour(picture, 210, 155) == (0, 0, 0)


def test_the_ground_beside_the_image_is_the_same_dark_grey(canvas):
    canvas.set_viewport(Viewport(1.0, 100.0, 100.0))
    assert QColor(*colour(canvas.grab().toImage(), 20, 20)) == QColor(BACKGROUND)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_border_is_the_outermost_pixel_at_any_scale(canvas, scale):
    """Lines of matches cover it between two canvases, and half a pixel would be left of it."""
    picture = QImage(canvas.size() * scale, QImage.Format.Format_RGB32)
    picture.setDevicePixelRatio(scale)
    canvas.render(picture)
    border, ground = colour(picture, 0, 150), QColor(BACKGROUND).getRgb()[:3]
    assert border != ground
    width, height = picture.width(), picture.height()
    for x, y in ((width - scale, 1), (width - 1, height - 1), (1, height - scale), (scale - 1, 1)):
        assert colour(picture, x, y) == border
    for x, y in ((width - scale - 1, scale), (scale, scale), (scale, height - scale - 1)):
        assert colour(picture, x, y) == ground


def test_an_overlay_covers_its_extent_and_never_more_than_the_image(canvas):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    red = Mipmap(rgb_image(np.full((3, 4, 3), (255, 0, 0), np.uint8)))
    canvas.set_overlay(Overlay(red, Extent(31.5, 15.5, 90.0, 60.0)))
    picture = canvas.grab().toImage()
    x, y = 40 + 4 * 32, 40 + 4 * 16
    assert colour(picture, x + 1, y + 1) == (255, 0, 0)
    assert colour(picture, x - 2, y + 1) == (90, 90, 90)
    assert colour(picture, x + 1, y - 2) == (90, 90, 90)
    assert QColor(*colour(picture, 40 + 4 * 64 + 1, y + 1)) == QColor(BACKGROUND)


def test_opacity_blends_the_overlay_with_the_image(canvas):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    white = Mipmap(rgb_image(grey(8, 6, 250)))
    canvas.set_overlay(Overlay(white, whole_extent((64, 48)), opacity=0.25))
    assert colour(canvas.grab().toImage(), 150, 120)[0] == pytest.approx(90 + 0.25 * 160, abs=2)


@pytest.mark.parametrize("live", [False, True])
def test_live_and_kept_overlays_look_the_same(canvas, live):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    overlay = Overlay(Mipmap(rgb_image(pixels)), whole_extent((64, 48)), 0.6, True, live)
    canvas.set_overlay(overlay)
    picture = canvas.grab().toImage()
    plain = Overlay(overlay.picture, overlay.extent, 0.6, True, not live)
    canvas.set_overlay(plain)
    assert canvas.grab().toImage() == picture


class PaintWatcher(QObject):
    """Records the rectangles that a widget has to paint."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[QRect] = []

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.painted.append(event.rect())
        return False


def test_a_moved_mark_repaints_its_surroundings_alone(canvas, qtbot):
    canvas.set_marks([Reticle((10.0, 10.0))])
    QCoreApplication.processEvents()
    watcher = PaintWatcher()
    canvas.installEventFilter(watcher)
    canvas.set_marks([Reticle((12.0, 10.0))])
    qtbot.waitUntil(lambda: len(watcher.painted) > 0)
    assert all(rect.width() < 80 and rect.height() < 80 for rect in watcher.painted)
    watcher.painted.clear()
    canvas.set_marks([Reticle((12.0, 10.0))])
    QCoreApplication.processEvents()
    assert watcher.painted == []


def test_every_mark_paints_within_its_bounds():
    marks = [
        Reticle((20.0, 20.0)),
        BestMatch((20.0, 20.0)),
        PeakRing((20.0, 20.0), 12),
        TruthPoint((20.0, 20.0)),
        ErrorLine((10.0, 12.0), (30.0, 20.0), False),
        CycleArrow((10.0, 12.0), (30.0, 20.0)),
        PinMark((20.0, 20.0), 3, selected=True),
        PinMark((20.0, 0.0), 123, found=True),
        Label((20.0, 20.0), "✗ 12.3 px   0.912", "#D55E00", dashed=True),
    ]
    for scale in (0.5, 1.0, 9.0):
        stage = Stage(Viewport(scale, 100.0, 60.0), Box(0.0, 0.0, 500.0, 400.0))
        for mark in marks:
            picture = QImage(500, 400, QImage.Format.Format_ARGB32_Premultiplied)
            picture.fill(Qt.GlobalColor.transparent)
            painter = QPainter(picture)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            paint_shapes(painter, mark.shapes(stage))
            painter.end()
            raw = np.array(picture.constBits(), np.uint8).reshape(400, 500, 4)
            rows, columns = np.nonzero(raw[..., 3])
            assert len(rows) > 0, (mark, scale)
            bounds = bounds_of(mark.shapes(stage))
            assert bounds.left() - 1 <= columns.min(), (mark, scale)
            assert columns.max() <= bounds.right() + 1, (mark, scale)
            assert bounds.top() - 1 <= rows.min(), (mark, scale)
            assert rows.max() <= bounds.bottom() + 1, (mark, scale)


def test_an_arrow_that_goes_nowhere_is_left_out():
    stage = Stage(Viewport(1.0, 0.0, 0.0), Box(0.0, 0.0, 50.0, 50.0))
    assert CycleArrow((20.0, 20.0), (21.0, 20.0)).shapes(stage) == ()
    assert CycleArrow((20.0, 20.0), (41.0, 20.0)).shapes(stage) != ()


@pytest.mark.parametrize("anchor", [(5, 5), (395, 5), (5, 295), (395, 295), (200, 150), (-90, 900)])
def test_labels_stay_inside_the_canvas(anchor):
    box = place_label(anchor, 120.0, 20.0, Box(0.0, 0.0, 400.0, 300.0), gap=10.0)
    assert box.left >= 0
    assert box.top >= 0
    assert box.right <= 400
    assert box.bottom <= 300


def test_labels_do_not_cover_their_point_where_there_is_room():
    for anchor in [(200.0, 150.0), (390.0, 150.0), (200.0, 4.0), (395.0, 2.0)]:
        box = place_label(anchor, 120.0, 20.0, Box(0.0, 0.0, 400.0, 300.0), gap=10.0)
        assert not (box.left < anchor[0] < box.right and box.top < anchor[1] < box.bottom)


def test_pin_colours_take_turns_and_numbers_are_readable():
    assert pin_color(1) != pin_color(2)
    assert pin_color(1) == pin_color(8)
    assert readable_on(QColor("#0072B2")) != readable_on(QColor("#F0E442"))


def test_the_pointer_reports_image_points_and_that_it_left(canvas, qtbot):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    with qtbot.waitSignal(canvas.pointer_moved) as moved:
        move(canvas, 42.0, 50.0)
    assert moved.args == pytest.approx([0.0, 2.0])
    with qtbot.waitSignal(canvas.pointer_left):
        move(canvas, 5.0, 5.0)
    with qtbot.assertNotEmitted(canvas.pointer_left):
        move(canvas, 6.0, 6.0)


def test_points_on_the_outer_half_of_border_pixels_are_those_pixels(canvas, qtbot):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    with qtbot.waitSignal(canvas.pointer_moved) as moved:
        move(canvas, 40.5, 40 + 4 * 48 - 0.5)
    assert moved.args == [0.0, 47.0]


def test_the_wheel_zooms_about_the_pointer(canvas, qtbot):
    before = canvas.viewport
    point = before.to_image((250.0, 100.0))
    with qtbot.waitSignal(canvas.moved_by_user):
        wheel(canvas, 250.0, 100.0, angle=120)
    assert canvas.viewport.scale == pytest.approx(before.scale * WHEEL_STEP)
    assert canvas.viewport.to_image((250.0, 100.0)) == pytest.approx(point, abs=0.2)


def test_touchpads_that_send_pixels_zoom_too(canvas):
    before = canvas.viewport.scale
    wheel(canvas, 200.0, 150.0, pixels=-40)
    assert canvas.viewport.scale == pytest.approx(before / WHEEL_STEP)


def test_pinching_zooms_by_its_own_factor(canvas):
    before = canvas.viewport.scale
    event = QNativeGestureEvent(
        Qt.NativeGestureType.ZoomNativeGesture, QPointingDevice.primaryPointingDevice(), 2,
        QPointF(200, 150), QPointF(200, 150), QPointF(200, 150), 0.25, QPointF(),
    )  # fmt: skip
    assert canvas.event(event)
    assert canvas.viewport.scale == pytest.approx(1.25 * before)


def test_a_short_press_clicks_and_a_long_one_pans(canvas, qtbot):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    with qtbot.waitSignal(canvas.clicked) as clicked:
        QTest.mousePress(canvas, LEFT, NONE, QPoint(80, 60))
        move(canvas, 82.0, 61.0, LEFT)
        QTest.mouseRelease(canvas, LEFT, NONE, QPoint(80, 60))
    assert clicked.args == pytest.approx([9.5, 4.5])
    before = canvas.viewport
    with qtbot.assertNotEmitted(canvas.clicked), qtbot.waitSignal(canvas.moved_by_user):
        QTest.mousePress(canvas, LEFT, NONE, QPoint(80, 60))
        move(canvas, 100.0, 75.0, LEFT)
        assert canvas.cursor().shape() == Qt.CursorShape.ClosedHandCursor
        QTest.mouseRelease(canvas, LEFT, NONE, QPoint(100, 75))
    assert (canvas.viewport.left, canvas.viewport.top) == (before.left + 20, before.top + 15)


def test_a_click_beside_the_image_is_no_click(canvas, qtbot):
    canvas.set_viewport(Viewport(1.0, 100.0, 100.0))
    with qtbot.assertNotEmitted(canvas.clicked):
        QTest.mouseClick(canvas, LEFT, NONE, QPoint(20, 20))


def test_the_middle_button_pans_at_once(canvas):
    before = canvas.viewport
    middle = Qt.MouseButton.MiddleButton
    QTest.mousePress(canvas, middle, NONE, QPoint(100, 100))
    move(canvas, 102.0, 101.0, middle)
    QTest.mouseRelease(canvas, middle, NONE, QPoint(102, 101))
    assert canvas.viewport.left == pytest.approx(before.left + 2, abs=0.51)


def test_pins_are_found_by_head_and_tip_the_topmost_first(canvas):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    tip = canvas.viewport.to_widget((30.0, 30.0))
    pins = [PinMark((30.0, 30.0), 1), PinMark((30.0, 30.0), 2)]
    canvas.set_marks([*pins, PinMark((30.0, 30.0), 3, found=True)])
    assert canvas.pin_at(tip).number == 2
    assert canvas.pin_at((tip[0], tip[1] - 19)).number == 2
    assert canvas.pin_at((tip[0] + 14, tip[1])) is None
    assert canvas.pin_at((tip[0], tip[1] + 19)) is None


def test_a_pin_at_the_upper_edge_hangs_down_and_is_found_there(canvas):
    canvas.set_viewport(Viewport(4.0, 40.0, 0.0))
    canvas.set_marks([PinMark((30.0, 0.0), 1)])
    tip = canvas.viewport.to_widget((30.0, 0.0))
    assert canvas.pin_at((tip[0], tip[1] + 19)).number == 1


def test_dragging_a_pin_keeps_the_grip_and_stays_in_the_image(canvas, qtbot):
    canvas.set_viewport(Viewport(4.0, 40.0, 40.0))
    canvas.set_marks([PinMark((30.0, 30.0), 7)])
    tip = canvas.viewport.to_widget((30.0, 30.0))
    head = QPoint(round(tip[0]), round(tip[1]) - 19)
    with qtbot.waitSignal(canvas.pin_pressed) as pressed:
        QTest.mousePress(canvas, LEFT, NONE, head)
    assert pressed.args == [7]
    with qtbot.waitSignal(canvas.pin_dragged) as dragged:
        move(canvas, head.x() + 40, head.y() - 20, LEFT)
    assert dragged.args == pytest.approx([7, 40.0, 25.0], abs=0.2)
    with qtbot.waitSignal(canvas.pin_dropped) as dropped, qtbot.assertNotEmitted(canvas.clicked):
        QTest.mouseRelease(canvas, LEFT, NONE, QPoint(5000, 5000))
    assert dropped.args == [7, 63.0, 47.0]


@pytest.mark.parametrize(
    ("key", "modifier", "signal", "args"),
    [
        (Qt.Key.Key_Left, NONE, "step_requested", [-1.0, 0.0]),
        (Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier, "step_requested", [0.0, 10.0]),
        (Qt.Key.Key_Return, NONE, "confirm_requested", []),
        (Qt.Key.Key_Delete, NONE, "remove_requested", []),
        (Qt.Key.Key_Backspace, NONE, "remove_requested", []),
        (Qt.Key.Key_Escape, NONE, "dismiss_requested", []),
    ],
)
def test_keys_ask_for_what_they_mean(canvas, qtbot, key, modifier, signal, args):
    with qtbot.waitSignal(getattr(canvas, signal)) as found:
        QTest.keyClick(canvas, key, modifier)
    assert found.args == args


def test_arrows_with_control_are_left_to_the_window(canvas, qtbot):
    with qtbot.assertNotEmitted(canvas.step_requested):
        QTest.keyClick(canvas, Qt.Key.Key_Left, Qt.KeyboardModifier.ControlModifier)


def test_a_fitted_canvas_stays_fitted_and_a_zoomed_one_keeps_its_centre(canvas):
    canvas.resize(800, 500)
    assert canvas.viewport.image_box((64, 48)).height == pytest.approx(500 - 2 * FIT_MARGIN)
    canvas.zoom_by(3.0)
    centre = canvas.viewport.to_image((400.0, 250.0))
    canvas.resize(500, 400)
    assert canvas.viewport.to_image((250.0, 200.0)) == pytest.approx(centre, abs=0.1)


def test_an_image_of_the_same_size_keeps_the_view_and_another_is_fitted(canvas):
    canvas.set_viewport(Viewport(9.0, -50.0, -60.0))
    canvas.set_photo(photo_of(grey(64, 48, 20)))
    assert canvas.viewport == Viewport(9.0, -50.0, -60.0)
    canvas.set_photo(photo_of(grey(65, 48, 20)))
    assert canvas.fitted


def test_a_canvas_without_an_image_takes_every_event_in_silence(qtbot):
    widget = ImageCanvas()
    qtbot.addWidget(widget)
    widget.resize(200, 150)
    widget.show()
    widget.fit()
    widget.one_to_one()
    wheel(widget, 10, 10, angle=120)
    move(widget, 10, 10)
    QTest.mouseClick(widget, LEFT, NONE, QPoint(10, 10))
    assert QColor(*colour(widget.grab().toImage(), 50, 50)) == QColor(BACKGROUND)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0, 8.0, 40.0])
def test_every_zoom_paints_without_a_warning(canvas, scale):
    canvas.set_viewport(Viewport(scale, 10.0, 10.0))
    canvas.set_marks([TruthPoint((5.0, 5.0)), Label((63.0, 47.0), "0.912", "#009E73")])
    assert not canvas.grab().isNull()


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0.0, 1.0, 5, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (-1.0, 1.0, 4, (-1.0, -0.5, 0.0, 0.5, 1.0)),
        (0.43, 0.96, 3, (0.6, 0.8)),
        (0.0, 23.0, 5, (0.0, 5.0, 10.0, 15.0, 20.0)),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low, high, count, expected):
    assert nice_ticks(low, high, count) == pytest.approx(expected)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_without_a_range_there_are_no_ticks(low, high):
    assert nice_ticks(low, high, 5) == ()


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0.3, 100, 8, (0.3, 1, 3, 10, 30, 100)),
        (0.3, 100, 3, (1, 10, 100)),
        (2, 40, 5, (3, 10, 30)),
    ],
)
def test_a_logarithmic_scale_is_ticked_at_ones_and_threes(low, high, count, ticks):
    assert log_ticks(low, high, count) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [(0.6, 0.2, "0.6"), (0.25, 0.25, "0.25"), (-0.5, 0.5, "−0.5"), (-0.0, 0.5, "0.0"), (5, 5, "5")],
)
def test_tick_numbers_have_the_decimals_that_their_step_needs(value, step, text):
    assert tick_text(value, step) == text


def test_the_colour_bar_says_its_range_to_those_who_cannot_see_it(qtbot):
    bar = ColorBar()
    qtbot.addWidget(bar)
    bar.resize(bar.sizeHint())
    bar.show_scale(Scale("A→B→A error", 0.0, 12.5, "px", marker=4.0), "cividis")
    bar.show()
    assert not bar.grab().isNull()
    assert "12.5 px" in bar.accessibleDescription()
    bar.show_scale(None, "cividis")
    assert bar.accessibleDescription() == "No colours are shown."
    assert not bar.grab().isNull()


def test_match_lines_join_the_matched_points_and_skip_those_out_of_sight():
    points_a = np.array([[1.0, 2.0], [3.0, 4.0], [500.0, 1.0]])
    points_b = np.array([[5.0, 6.0], [-90.0, 1.0], [5.0, 6.0]])
    view_a, view_b = Viewport(2.0, 10.0, 20.0), Viewport(3.0, 0.0, 0.0)
    box_a, box_b = Box(8.0, 30.0, 200.0, 100.0), Box(220.0, 30.0, 200.0, 100.0)
    segments, seen = line_segments(points_a, points_b, view_a, view_b, box_a, box_b)
    assert seen.tolist() == [True, False, False]
    start = np.add(view_a.to_widget((1.0, 2.0)), (8.0, 30.0))
    end = np.add(view_b.to_widget((5.0, 6.0)), (220.0, 30.0))
    np.testing.assert_allclose(segments[0], [*start, *end])


def test_right_lines_are_solid_and_wrong_ones_broken(qtbot):
    lines = MatchLines(None)
    qtbot.addWidget(lines)
    lines.resize(200, 60)
    segments = np.array([[10.0, 15.0, 190.0, 15.0], [10.0, 45.0, 190.0, 45.0]])
    lines.set_lines(segments, np.array([1, 0], np.int8), moving=False)
    picture = QImage(200, 60, QImage.Format.Format_RGB32)
    picture.fill(Qt.GlobalColor.white)
    lines.render(picture)
    right = [colour(picture, x, 15) for x in range(20, 180)]
    wrong = [colour(picture, x, 45) for x in range(20, 180)]
    assert all(green > red for red, green, _ in right)
    orange = [red > green + 40 for red, green, _ in wrong]
    assert 0.3 < np.mean(orange) < 0.8


def test_matches_nobody_can_judge_are_drawn_and_none_hides_the_lines(qtbot):
    lines = MatchLines(None)
    qtbot.addWidget(lines)
    lines.resize(100, 40)
    lines.set_lines(np.array([[0.0, 0.0, 50.0, 20.0]]), None, moving=True)
    assert lines.count == 1
    assert not lines.grab().isNull()
    lines.set_lines(np.zeros((0, 4)), None, moving=False)
    assert not lines.isVisible()
