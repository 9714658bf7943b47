"""The numbers under the cursor, and the list of pins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt

from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Pin, Probe
from descgui.views import scene
from descgui.views.probe_panel import DASH, ProbePanel
from engine.api import (
    DescriptorSpec,
    Extent,
    HomographySource,
    ImagePair,
    Peak,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
    Visibility,
)

PAIR = ImagePair(Path("/1.png"), Path("/2.png"), HomographySource.of(np.eye(3)))
READY = EngineState(
    "ready",
    tuple(
        DescriptorChoiceInfo(name, title, "", "built-in", False, ())
        for name, title in (("daisy", "DAISY"), ("net", "A net"))
    ),
)


def answer(pair=PAIR, **changes):
    request = ProbeRequest(
        pair=pair, recipe=Recipe(spec=DescriptorSpec("daisy")), side="a", point_px=(312.4, 204.0)
    )
    values = {
        "request": request,
        "peaks": tuple(Peak((100.0 + i, 50.25), 0.9 - i / 10) for i in range(3)),
        "ratio": 0.8125, "heat": None, "heat_extent": Extent(0, 0, 1, 1),
        "truth_px": (101.5, 50.0), "error_px": 1.52, "rank": 4,
        "cycle_px": (313.0, 204.0), "cycle_error_px": 0.6, "seconds": 0.0043,
    }  # fmt: skip
    return ProbeAnswer(**{**values, **changes})


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def panel(qtbot, models, asked):
    made = ProbePanel(models, asked, asked, asked, delay_ms=0)
    qtbot.addWidget(made)
    made.resize(260, 640)
    made.show()
    return made


@pytest.fixture
def ready(panel, models):
    models.engine.set(READY)
    models.maps.choose(DescriptorChoice("daisy"))
    models.pair.set_pair(PairState(PAIR, None, None, None, None))
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready"))
    models.probe.move(Probe("a", (312.4, 204.0)))
    return panel


def text(panel, row, descriptor=0):
    return panel.cell(row, descriptor).reading.text


def heard(signal):
    seen = []
    signal.connect(lambda *values: seen.append(values[0] if values else None))
    return seen


def test_an_answer_is_read_out_row_by_row(ready, models):
    models.probe.set_answer(answer())
    assert ready.asked.reading.text == "A   312.4, 204.0 px"
    assert {row: text(ready, row) for row in (
        "match", "similarity", "ratio", "truth", "error", "rank", "cycle", "time"
    )} == {
        "match": "100.0, 50.2 px", "similarity": "0.900", "ratio": "0.812",
        "truth": "101.5, 50.0 px", "error": "right  1.5 px", "rank": "4",
        "cycle": "0.6 px", "time": "4.3 ms",
    }  # fmt: skip
    assert ready.cell("similarity").reading.share == pytest.approx(0.9)


def test_right_and_wrong_follow_the_threshold_of_the_matches(ready, models):
    models.probe.set_answer(answer(error_px=2.0))
    assert ready.cell("error").reading.right is True
    models.settings.update(correct_px=1.0)
    assert ready.cell("error").reading.right is False
    assert "wrong" in text(ready, "error")
    assert "1 px" in ready.cell("error").toolTip()


def test_without_truth_its_rows_say_why_they_are_empty(ready, models):
    free = ImagePair(Path("/1"), Path("/2"))
    models.probe.set_answer(answer(free, truth_px=None, error_px=None, rank=None))
    for row in ("truth", "error", "rank"):
        assert text(ready, row) == DASH
        assert "no ground truth" in ready.cell(row).toolTip()


@pytest.mark.parametrize(
    ("state", "words", "why"),
    [
        (Visibility.OUTSIDE, "out of view", "leaves the other image. It would be at 101.5, 50.0"),
        (Visibility.OCCLUDED, "occluded", "hides the true point. It would be at 101.5, 50.0"),
        (Visibility.UNKNOWN, "no truth here", "(homography) says nothing about this point"),
    ],
)
def test_the_states_of_a_true_point_are_told_apart(ready, models, state, words, why):
    place = None if state is Visibility.UNKNOWN else (101.5, 50.0)
    models.probe.set_answer(answer(truth_px=place, error_px=None, rank=None, visibility=state))
    assert text(ready, "truth") == words
    assert text(ready, "error") == text(ready, "rank") == DASH
    for row in ("truth", "error", "rank"):
        assert why in ready.cell(row).toolTip()


def test_a_truth_that_was_made_here_says_so_beside_every_figure(ready, models):
    made = replace(PAIR, truth=HomographySource.of(np.eye(3), "estimated"))
    models.probe.set_answer(answer(made, truth_uncertainty_px=0.5, visibility=Visibility.SEEN))
    assert text(ready, "truth") == "101.5, 50.0 ± 0.5 px  estimated"
    assert text(ready, "error") == "right  1.5 px  estimated"
    assert "homography, estimated" in ready.cell("truth").toolTip()


def test_what_was_not_asked_or_is_no_set_is_a_dash_with_a_reason(ready, models):
    models.probe.set_answer(answer(cycle_px=None, cycle_error_px=None))
    assert text(ready, "cycle") == text(ready, "members") == DASH
    assert ready.cell("cycle").toolTip() == "Being computed."
    assert "not a set" in ready.cell("members").toolTip()


def test_a_panel_that_is_due_is_read_out_with_the_way_back_and_waits_for_it_once(
    qtbot, models, asked, ready
):
    late = ProbePanel(models, asked, asked, asked, delay_ms=60)
    qtbot.addWidget(late)
    read = []
    late._read_all = lambda *_change: read.append(models.probe.answer)
    first = answer(cycle_px=None, cycle_error_px=None)
    models.probe.set_answer(first)
    qtbot.waitUntil(lambda: late._overdue, timeout=5000)
    assert read == []  # a way back that is missing in every other reading would flicker
    whole = answer()
    models.probe.set_answer(whole)
    assert read == [whole]
    models.probe.set_answer(first)
    qtbot.waitUntil(lambda: len(read) == 2, timeout=5000)  # none comes: read without it
    assert read == [whole, first]


def test_an_empty_panel_says_what_is_missing_step_by_step(panel, models):
    def why():
        return panel.cell("match").toolTip()

    assert why() == "No pair is open."
    models.pair.set_pair(PairState(PAIR, None, None, None, None))
    assert why() == "No descriptor is chosen."
    models.maps.choose(DescriptorChoice("daisy"))
    assert why() == "The images are not described yet."
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready"))
    assert why() == "Move the mouse over an image."


def test_leaving_the_image_empties_all_rows(ready, models):
    models.probe.set_answer(answer())
    models.probe.move(None)
    assert text(ready, "match") == DASH
    assert ready.asked.reading.text == DASH
    assert ready.peaks.index(0, 1).data() == ""


def test_the_compared_descriptor_has_its_own_column_on_the_same_rows(ready, models):
    cell = ready.cell("error", descriptor=1)
    assert not cell.isVisible()
    models.compared[0].choose(DescriptorChoice("net"))
    models.probe.set_answer(answer())
    models.probe.set_answer(answer(error_px=40.0, seconds=0.02), 1)
    assert cell.isVisible()
    assert (text(ready, "error"), text(ready, "error", descriptor=1)) == (
        "right  1.5 px",
        "wrong  40.0 px",
    )
    assert cell.geometry().top() == ready.cell("error").geometry().top()
    models.compared[0].choose(DescriptorChoice())
    assert not cell.isVisible()


def test_nothing_moves_while_hovering(ready, models, qapp):
    models.probe.set_answer(answer())
    qapp.processEvents()
    names = ("match", "similarity", "error", "rank", "time")
    before = [ready.cell(name).geometry() for name in names]
    long = Peak((12345.67, 12345.67), -1.0, "a very long name of members", 123.4)
    models.probe.set_answer(
        answer(peaks=(long,) * 3, error_px=99999.9, rank=1234567, truth_px=(99999.9, 99999.9))
    )
    qapp.processEvents()
    ready.grab()
    assert [ready.cell(name).geometry() for name in names] == before


def test_the_confidence_comes_with_the_way_back_or_says_why_there_is_none(ready, models):
    cell = ready.cell("confidence")
    models.probe.set_answer(answer(cycle_px=None, cycle_error_px=None))
    assert (cell.reading.text, cell.reading.why) == (DASH, "Being computed.")
    models.probe.set_answer(answer(confidence=0.934, confident_px=7.25))
    assert (cell.reading.text, cell.reading.share) == ("93 %", 0.934)
    assert "within 7.2 px of the true point" in cell.reading.why
    assert "other matches" in cell.reading.why
    models.probe.set_answer(answer(textured=False))
    assert cell.reading.text == DASH
    assert "no texture" in cell.reading.why
    models.probe.set_answer(answer(not_calibrated="daisy with these settings"))
    assert cell.reading.text == "not calibrated for daisy with these settings"
    assert cell.reading.short == "not calibrated"
    assert cell.reading.share is None
    assert "would be wrong" in cell.reading.why


def test_the_match_says_how_certain_its_place_is(ready, models):
    models.probe.set_answer(answer(peaks=(Peak((100.0, 50.25), 0.9, uncertainty_px=0.74),)))
    assert text(ready, "match") == "100.0, 50.2 ± 0.7 px"
    assert "standard deviation" in ready.cell("match").reading.why


def test_peaks_are_listed_best_first_in_a_table_of_fixed_height(ready, models):
    assert ready.peaks.rowCount() == models.settings.state.peaks == 5
    models.probe.set_answer(answer())
    shown = [[ready.peaks.index(row, column).data() for column in range(4)] for row in range(5)]
    assert shown == [
        ["1", "100.0", "50.2", "0.900"],
        ["2", "101.0", "50.2", "0.800"],
        ["3", "102.0", "50.2", "0.700"],
        ["4", "", "", ""],
        ["5", "", "", ""],
    ]
    models.settings.update(peaks=2)
    assert ready.peaks.rowCount() == 2


def test_members_that_met_have_the_room_that_numbers_leave(ready, models, qapp):
    header, view = ready._peaks_view.horizontalHeader(), ready._peaks_view
    models.probe.set_answer(answer())
    qapp.processEvents()
    assert view.isColumnHidden(4)
    numbers = [header.sectionSize(column) for column in (1, 2, 3)]
    assert max(numbers) - min(numbers) <= 1
    met = "scale 0.97 ↔ 1.4, +34°"
    models.probe.set_answer(answer(peaks=(Peak((1234.5, 50.25), 0.9, met),)))
    qapp.processEvents()
    assert not view.isColumnHidden(4)
    assert ready.peaks.index(0, 4).data(Qt.ItemDataRole.ToolTipRole) == met
    assert ready.peaks.index(0, 4).data() == "0.97 ↔ 1.4, +34°"
    for column in (1, 2, 3):
        text = ready.peaks.index(0, column).data()
        width = view.fontMetrics().horizontalAdvance(text) + 6
        assert width <= header.sectionSize(column) < 1.5 * header.sectionSizeHint(3)
    ready.resize(500, 700)
    qapp.processEvents()
    assert header.sectionSize(4) == view.viewport().width() - sum(map(header.sectionSize, range(4)))


def pins(count):
    return tuple(Pin(number, Probe("a", (10.0 * number, 5.0))) for number in range(1, count + 1))


def row_texts(panel, row):
    table = panel.pins.table
    return [table.index(row, column).data() for column in range(table.columnCount())]


def test_pins_are_listed_and_their_answers_come_later(ready, models):
    models.pins.set_pins(pins(2))
    assert row_texts(ready, 1) == ["2", "A 20, 5", "–", "–", "–"]
    models.pins.set_answer(2, answer())
    assert row_texts(ready, 1) == ["2", "A 20, 5", "100, 50", "0.900", "1.5"]
    assert "Right" in ready.pins.table.index(1, 0).data(Qt.ItemDataRole.ToolTipRole)
    models.settings.update(correct_px=1.0)
    assert "Wrong" in ready.pins.table.index(1, 0).data(Qt.ItemDataRole.ToolTipRole)


def test_a_click_selects_a_pin_and_the_model_selects_a_row(ready, models, qtbot):
    models.pins.set_pins(pins(3))
    view = ready.pins.view
    place = view.visualRect(ready.pins.table.index(2, 1)).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert models.pins.selected == 3
    models.pins.select(1)
    assert view.currentIndex().row() == 0
    models.pins.select(0)
    assert not view.selectionModel().hasSelection()


def test_an_answer_or_a_new_pin_keeps_the_selection(ready, models):
    models.pins.set_pins(pins(2))
    models.pins.select(2)
    models.pins.set_answer(1, answer())
    models.pins.set_pins(pins(3))
    assert models.pins.selected == 2
    assert ready.pins.view.currentIndex().row() == 1


def test_pins_show_their_match_by_each_compared_descriptor(ready, models):
    models.pins.set_pins(pins(2))
    models.descriptors[1].choose(DescriptorChoice("daisy"))
    assert [row_texts(ready, row)[0] for row in range(4)] == ["1", "", "2", ""]
    models.pins.set_answer(2, answer(), 1)
    assert row_texts(ready, 2) == ["2", "A 20, 5", "–", "–", "–"]
    assert row_texts(ready, 3)[2:] == ["100, 50", "0.900", "1.5"]
    assert "daisy" in row_texts(ready, 3)[1].lower()
    ready.pins.view.setCurrentIndex(ready.pins.table.index(3, 1))
    assert models.pins.selected == 2
    assert ready.pins.view.currentIndex().row() == 3
    models.pins.select(1)
    assert ready.pins.view.currentIndex().row() == 0
    models.descriptors[1].choose(DescriptorChoice(""))
    assert ready.pins.table.rowCount() == 2


def test_pins_are_removed_and_cleared_by_asking(ready, models, qtbot, asked):
    models.pins.set_pins(pins(2))
    assert not ready.pins.remove_button.isEnabled()
    models.pins.select(2)
    ready.pins.remove_button.click()
    qtbot.keyClick(ready.pins.view, Qt.Key.Key_Delete)
    ready.pins.clear_button.click()
    assert asked.calls == [("remove_pin", (2,)), ("remove_pin", (2,)), ("clear_pins", ())]
    assert len(models.pins.pins) == 2


def test_a_moved_pin_is_shown_at_its_new_place(ready, models):
    models.pins.set_pins(pins(1))
    models.pins.set_pins((replace(models.pins.pins[0], probe=Probe("b", (7.0, 8.0))),))
    assert row_texts(ready, 0)[1] == "B 7, 8"


def test_the_panel_can_be_narrow(ready, models):
    models.compared[0].choose(DescriptorChoice("net"))
    models.pins.set_pins(pins(4))
    assert ready.minimumSizeHint().width() <= 260
    assert ready.pins.minimumSizeHint().width() <= 244


def test_read_outs_follow_the_mouse_a_little_later_and_miss_nothing(qtbot, models, asked):
    """The window's own panel waits for a pause, so that the heat map is painted first."""
    panel = ProbePanel(models, asked, asked, asked)
    qtbot.addWidget(panel)
    for x in range(20):
        models.probe.move(Probe("a", (float(x), 5.0)))
    assert "19.0" not in panel.asked.reading.text
    qtbot.waitUntil(lambda: "19.0, 5.0" in panel.asked.reading.text, timeout=2000)


@pytest.mark.parametrize(("width_px", "columns"), [(165, 1), (320, 2)])
def test_four_descriptors_are_read_out_in_as_many_columns_as_there_is_room_for(
    qtbot, ready, models, width_px, columns
):
    for maps, name in zip(models.compared, ("net", "daisy", "net"), strict=True):
        maps.choose(DescriptorChoice(name, {"rings": 2}))
    for number in range(4):
        models.probe.set_answer(answer(error_px=float(10 + number)), number)
    ready.resize(width_px, 900)
    cells = [ready.cell("error", number) for number in range(4)]
    qtbot.waitUntil(lambda: (cells[1].y() == cells[0].y()) == (columns == 2))
    assert [cell.reading.text for cell in cells] == [f"wrong  {10 + n}.0 px" for n in range(4)]
    rows = [number // columns for number in range(4)]
    tops = sorted({cell.y() for cell in cells})
    assert [tops.index(cell.y()) for cell in cells] == rows
    seen = [labels[0].isVisible() for labels in ready._titles]
    assert seen == [block in rows for block in range(4)]


def test_a_query_without_texture_says_so_beside_its_similarity(ready, models):
    models.probe.set_answer(answer(textured=False))
    assert text(ready, "similarity") == "no texture  0.900"
    assert "no texture" in ready.cell("similarity").toolTip()
    models.probe.set_answer(answer())
    assert text(ready, "similarity") == "0.900"


def test_weights_of_a_training_run_are_named_in_the_heading(ready, models, tmp_path):
    weights = tmp_path / "quick-3" / "weights" / "step-00000600.safetensors"
    models.maps.choose(DescriptorChoice("net", {"weights": str(weights)}))
    heading = ready._headings[0]
    assert heading.text() == "quick-3, step 600 · A net"
    caption = scene.caption_for(models, scene.PaneKey("a"))
    assert "quick-3, step 600 · A net" in caption.text


def test_pins_are_learned_from_where_their_true_matches_are_known(ready, models, asked):
    models.pins.set_pins((Pin(1, Probe("a", (10.0, 20.0))),))
    button = ready.pins.learn_button
    assert button.isVisible()
    assert not button.isEnabled()
    assert "no ground truth" in button.toolTip()
    truth = PAIR.open_truth((40, 30), (40, 30))
    models.pair.set_pair(PairState(PAIR, None, None, None, None, truth))
    assert button.isEnabled()
    button.click()
    assert asked.of("learn_from_pins") == [()]
    models.pins.set_pins(())
    assert not button.isVisible()
