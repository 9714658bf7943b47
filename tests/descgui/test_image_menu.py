"""The menu of a right click, and the table of query and pins."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from descgui.controllers.truth_controller import TruthController
from descgui.models.bundle import make_models
from descgui.models.maps_state import DescriptorChoice
from descgui.models.probe_state import Pin, Probe
from descgui.models.readings_table import readings_table
from descgui.views.canvas import ImageCanvas
from descgui.views.image_menu import coordinates_text, image_menu
from descgui.views.pictures import Photo
from engine import api
from tests.descgui.test_file_controllers import open_in


@pytest.fixture
def models(qapp, tmp_path):
    made = make_models(None)
    open_in(made, tmp_path)
    made.maps.choose(DescriptorChoice("daisy"))
    return made


@pytest.fixture
def menu(qtbot, models, asked):
    parent = QWidget()
    qtbot.addWidget(parent)

    def make(side, point_px):
        return image_menu(
            models, side, point_px, probing=asked, truths=asked, zoom_here=asked.zoom_here,
            save=asked.save, parent=parent,
        )  # fmt: skip

    return make


def choose(menu, words):
    (action,) = [one for one in menu.actions() if words in one.text().replace("&", "")]
    assert action.isEnabled()
    action.trigger()


def test_every_entry_is_about_the_point_that_was_clicked(menu, models, asked, tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[7, 12] = (1, 2, 255)
    state = models.pair.state
    image = api.Image(tmp_path / "2.png", pixels)
    models.pair.set_pair(type(state)(state.pair, state.image_a, image, pixels, pixels, state.truth))
    shown = menu("b", (12.25, 6.75))
    assert shown.actions()[0].text() == "B  12.25, 6.75"
    choose(shown, "Copy coordinates")
    assert QGuiApplication.clipboard().text() == "12.25, 6.75"
    choose(shown, "Copy values (1, 2, 255)")
    assert QGuiApplication.clipboard().text() == "1, 2, 255"
    for words in ("Pin here", "Zoom here", "Save view"):
        choose(shown, words)
    assert asked.calls == [("pin", ("b", 12.25, 6.75)), ("zoom_here", ()), ("save", ())]


@pytest.mark.parametrize(("side", "expected"), [("b", ((1, 2), (8, 9))), ("a", ((8, 9), (1, 2)))])
def test_a_point_becomes_the_true_match_of_the_selected_pin(menu, models, asked, side, expected):
    other = "a" if side == "b" else "b"
    models.pins.set_pins((Pin(4, Probe(other, (1, 2))),))
    entry = next(one for one in menu(side, (8, 9)).actions() if "true" in one.text())
    assert not entry.isEnabled(), "no pin is selected"
    models.pins.select(4)
    choose(menu(side, (8, 9)), "Use as true match of pin 4")
    assert asked.of("use_point") == [expected]
    entry = next(one for one in menu(other, (8, 9)).actions() if "true" in one.text())
    assert not entry.isEnabled(), "the pin is in the same image"


def test_true_points_add_up_and_the_last_word_on_a_point_holds(models, asked):
    truths = TruthController(models, asked)
    for a_px, b_px in (
        ((1.0, 2.0), (3.0, 4.0)),
        ((5.0, 6.0), (7.0, 8.0)),
        ((1.0, 2.0), (9.0, 9.0)),
    ):
        truths.use_point(a_px, b_px)
    source = models.pair.state.pair.truth
    assert source.rows == ((5.0, 6.0, 7.0, 8.0), (1.0, 2.0, 9.0, 9.0))
    assert source.origin == "pins"
    found = models.pair.state.truth.locate("a", np.array([[1.0, 2.0]])).points_px
    np.testing.assert_allclose(found, [[9.0, 9.0]])


def test_a_right_click_asks_for_the_menu_and_a_right_drag_pans(qtbot, models):
    canvas = ImageCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    canvas.set_photo(Photo(models.pair.state.image_a, models.pair.state.display_a))
    asked, clicked = [], []
    canvas.menu_requested.connect(lambda x, y, _where: asked.append((round(x), round(y))))
    canvas.clicked.connect(lambda x, y: clicked.append((x, y)))
    place = canvas.viewport.to_widget((10, 5))
    start = QPoint(round(place[0]), round(place[1]))
    qtbot.mouseClick(canvas, Qt.MouseButton.RightButton, pos=start)
    assert asked == [(10, 5)]
    before = canvas.viewport
    qtbot.mousePress(canvas, Qt.MouseButton.RightButton, pos=start)
    qtbot.mouseMove(canvas, start + QPoint(30, 0))
    qtbot.mouseRelease(canvas, Qt.MouseButton.RightButton, pos=start + QPoint(30, 0))
    assert (asked, clicked) == ([(10, 5)], [])
    assert canvas.viewport != before
    canvas.centre_on((3.0, 4.0), factor=2.0)
    assert canvas.viewport.to_image((150, 100)) == pytest.approx((3.0, 4.0), abs=0.2)


def test_a_box_drawn_with_shift_is_cut_to_the_image_and_neither_pans_nor_pins(qtbot, models):
    canvas = ImageCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    canvas.set_photo(Photo(models.pair.state.image_a, models.pair.state.display_a))
    boxes, clicked = [], []
    canvas.region_chosen.connect(lambda *box: boxes.append(box))
    canvas.clicked.connect(lambda x, y: clicked.append((x, y)))
    view = canvas.viewport

    def drag(start, end):
        first, last = (QPoint(*map(round, view.to_widget(one))) for one in (start, end))
        shift = Qt.KeyboardModifier.ShiftModifier
        qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, shift, first)
        qtbot.mouseMove(canvas, last)
        canvas.grab()
        qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, shift, last)

    drag((10, 5), (16, 9))
    assert boxes[0] == pytest.approx((13, 7, 6, 4), abs=0.3)
    drag((26, 16), (40, 30))
    x, y, width, height = boxes[1]
    assert (x + width / 2, y + height / 2) == pytest.approx((29.5, 19.5))
    assert (clicked, canvas.viewport) == ([], view)
    drag((10, 5), (10, 5))
    assert len(boxes) == 2
    assert len(clicked) == 1, "a click with Shift pins a point as ever"


def answer(models, side, point_px, **changes):
    request = api.ProbeRequest(
        pair=models.pair.state.pair, recipe=None, side=side, point_px=point_px
    )
    values = {
        "request": request, "peaks": (api.Peak((11.5, 2.0), 0.91234),), "ratio": 0.5, "heat": None,
        "heat_extent": api.Extent(0, 0, 1, 1), "truth_px": (10.0, 2.0), "error_px": 1.5, "rank": 3,
        "cycle_px": None, "cycle_error_px": None, "seconds": 0.1, "visibility": api.Visibility.SEEN,
    }  # fmt: skip
    return api.ProbeAnswer(**(values | changes))


def test_query_and_pins_become_a_table_by_every_descriptor(models):
    models.compared[0].choose(DescriptorChoice("net"))
    models.pins.set_pins(
        (
            Pin(
                3,
                Probe("b", (4.0, 5.0)),
                answer(models, "b", (4.0, 5.0), truth_px=None, confidence=0.875),
            ),
        )
    )
    models.probe.move(Probe("a", (1.0, 2.25)))
    models.probe.set_answer(answer(models, "a", (1.0, 2.25)))
    text = api.table_text("csv", readings_table(models))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["point"], row["descriptor"]) for row in rows] == [
        ("probe", "daisy"), ("probe", "net"), ("pin 3", "daisy"), ("pin 3", "net"),
    ]  # fmt: skip
    first = rows[0]
    assert (first["image"], first["x_px"], first["y_px"]) == ("A", "1", "2.25")
    assert (first["match_x_px"], first["similarity"], first["error_px"]) == ("11.5", "0.912", "1.5")
    assert (first["truth"], first["true_x_px"], first["rank"]) == ("seen", "10", "3")
    assert (first["ratio"], first["confidence"], rows[2]["confidence"]) == ("0.5", "", "0.875")
    assert rows[1]["match_x_px"] == rows[1]["similarity"] == ""
    assert (rows[2]["image"], rows[2]["true_x_px"]) == ("B", "")
    markdown = api.table_text("markdown", readings_table(models)).splitlines()
    lines = [line for line in markdown if line.startswith("|")]
    assert len(lines) == 2 + 4
    assert "| pin 3 | B |" in lines[-1]


def test_coordinates_have_no_needless_digits():
    assert coordinates_text((300.0, 20.126)) == "300, 20.13"
