"""Training curves: what is drawn, how it is smoothed and read, and what is exported."""

from __future__ import annotations

import csv
import itertools
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPalette, QWheelEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from descgui.models.bundle import make_models
from descgui.models.training_curves_data import (
    Series,
    nearest,
    smoothed,
    value_at,
    without_superseded,
)
from descgui.models.training_state import TrainingStatus
from descgui.views.theme import DARK, make_palette
from descgui.views.training_chart import ValueAxis
from descgui.views.training_curves import REDRAW_MS, TrainingCurves
from descgui.views.training_lines import run_pen, step_text
from descgui.views.training_readout import value_text


def curve(steps, values):
    return np.column_stack([np.asarray(steps, float), np.asarray(values, float)])


def run(name="a", *, live=False, **curves):
    return name, live, {key.replace("__", "@"): points for key, points in curves.items()}


STEPS = np.arange(0, 200, 5)
LOSS = curve(STEPS, 5.0 / (1.0 + STEPS))
PCK = curve([0, 50, 100, 150], [0.1, 0.3, 0.4, 0.5])


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def view(qtbot, models):
    made = TrainingCurves(models)
    qtbot.addWidget(made)
    made.resize(700, 420)
    made.show()
    return made


@pytest.fixture
def show(models):
    """Shows the curves of runs, by way of the model."""

    def show_runs(*runs):
        model = models.training
        model.status.set(TrainingStatus())
        for name, live, curves in runs:
            if live:
                model.status.set(TrainingStatus("running", Path(name)))
                model.curves.begin_live(Path(name), curves)
        model.curves.show(tuple(Path(name) for name, *_ in runs))
        for name, live, curves in runs:
            if not live:
                model.curves.set(Path(name), curves)

    return show_runs


@pytest.fixture
def messages(models):
    heard = []
    models.messages.notified.connect(lambda message: heard.append((message.text, message.level)))
    return heard


def points_of(line):
    """What was given to be drawn, ``(N, 2)``."""
    return np.column_stack(line.getOriginalDataset())


def color_of(line):
    return line.opts["pen"].color()


def text_of(view, run, metric):
    """What the table says of a run, under the heading of a metric."""
    table = view.readout
    headings = [table.horizontalHeaderItem(n).text() for n in range(table.columnCount())]
    rows = [table.item(n, 0).text() for n in range(table.rowCount())]
    return table.item(rows.index(run), headings.index(metric)).text()


def by_hand(values, weight):
    average, total, results = 0.0, 0, []
    for value in values:
        if not math.isfinite(value):
            results.append(math.nan)
            continue
        average = weight * average + (1 - weight) * value
        total += 1
        results.append(average / (1 - weight**total))
    return results


@pytest.mark.parametrize("weight", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 700])
def test_smoothing_is_the_corrected_average_that_a_plain_loop_finds(weight, count):
    values = np.random.default_rng(count).standard_normal(count)
    if count > 3:
        values[[1, count // 2]] = [np.nan, np.inf]
    np.testing.assert_allclose(
        smoothed(values, weight=weight), by_hand(values, weight), rtol=1e-9, atol=1e-12
    )


def test_a_constant_stays_what_it_is_from_the_first_value_on():
    np.testing.assert_allclose(smoothed(np.full(300, 3.25), weight=0.99), 3.25)


def test_without_weight_nothing_is_smoothed_and_without_values_there_is_nothing():
    np.testing.assert_array_equal(smoothed(np.array([2.0, -1.0]), weight=0.0), [2.0, -1.0])
    assert smoothed(np.empty(0), weight=0.9).shape == (0,)
    assert np.isnan(smoothed(np.array([np.nan, np.nan]), weight=0.9)).all()


def test_points_that_come_one_by_one_are_smoothed_as_if_they_had_come_at_once():
    values = np.random.default_rng(1).standard_normal(500)
    values[77] = np.nan
    series = Series(curve(range(200), values[:200]))
    assert len(series.smooth(0.9)) == 200
    for step in range(200, 500):
        series.append(step, values[step])
    np.testing.assert_allclose(series.smooth(0.9)[:, 1], by_hand(values, 0.9), rtol=1e-9)
    np.testing.assert_array_equal(series.points[:, 1], values)


def test_a_continued_run_replaces_the_steps_that_it_repeats():
    given_points = curve([0, 5, 10, 15], [4.0, 3.0, 2.0, 1.0])
    before = given_points.copy()
    series = Series(given_points)
    series.smooth(0.5)
    series.append(10, 9.0)
    np.testing.assert_array_equal(series.points, curve([0, 5, 10], [4.0, 3.0, 9.0]))
    np.testing.assert_allclose(series.smooth(0.5)[:, 1], by_hand([4.0, 3.0, 9.0], 0.5))
    np.testing.assert_array_equal(given_points, before)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(-5, 5)), max_size=40))
def test_what_stands_of_repeated_steps_is_what_a_slow_loop_keeps(pairs):
    kept = []
    for step, value in pairs:
        kept = [one for one in kept if one[0] < step]
        kept.append((float(step), value))
    points = np.array(pairs, float).reshape(-1, 2)
    np.testing.assert_array_equal(without_superseded(points), np.array(kept).reshape(-1, 2))


def test_a_value_is_read_at_the_nearest_step_and_not_far_beyond_the_ends():
    points = curve([0, 10, 20], [1.0, 2.0, 3.0])
    assert value_at(points, 14.0) == 2.0
    assert value_at(points, 16.0) == 3.0
    assert value_at(points, 29.0) == 3.0
    assert math.isnan(value_at(points, 31.0))
    assert math.isnan(value_at(np.empty((0, 2)), 3.0))
    assert nearest(np.array([0.0, 10.0]), 5.0) == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.72821, "0.7282"), (-0.5, "−0.5000"), (0.000513, "5.1e−4"), (0.0, "0.0000"),
     (741.004, "741.00"), (float("nan"), "–"), (float("inf"), "–")],
)  # fmt: skip
def test_values_are_short(value, text):
    assert value_text("loss", value) == text


@pytest.mark.parametrize(
    ("low", "high", "size_px", "texts"),
    [
        (-3.2, 1.1, 75, ["0.001", "0.01", "0.1", "1", "10"]),
        (-0.1, 1.0, 75, ["1", "2", "5", "10"]),
        (-0.1, 1.0, 30, ["1", "3", "10"]),
        (0.31, 0.46, 60, ["2.25", "2.5", "2.75"]),
        (-9.3, -2.9, 45, ["1e−9", "1e−7", "1e−5", "0.001"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round_numbers(qapp, low, high, size_px, texts):
    axis = ValueAxis("left")
    axis.setLogMode(y=True)
    ((spacing, values),) = axis.tickValues(low, high, size_px)
    assert axis.tickStrings(values, 1.0, spacing) == texts


@pytest.mark.parametrize(
    ("low", "high", "size_px", "texts"),
    [
        (-0.02, 0.85, 50, ["0.0", "0.5"]),
        (0.4, 4.7, 75, ["1", "2", "3", "4"]),
        (-3e-7, 3e-7, 45, ["−2e−7", "0", "2e−7"]),
    ],
)
def test_ticks_of_a_linear_axis_have_room_for_their_numbers(qapp, low, high, size_px, texts):
    axis = ValueAxis("left")
    ((spacing, values),) = axis.tickValues(low, high, size_px)
    assert axis.tickStrings(values, 1.0, spacing) == texts


def test_steps_are_told_with_their_thousands_apart():
    assert step_text(12500) == "12\u202f500"


def test_the_first_six_runs_differ_in_colour_and_in_dash():
    pens = [run_pen(number) for number in range(6)]
    assert len({pen.color().name() for pen in pens}) == 6
    assert len({tuple(pen.dashPattern()) for pen in pens}) == 6
    both = {(run_pen(n).color().name(), tuple(run_pen(n).dashPattern())) for n in range(42)}
    assert len(both) == 42


# The widget


def test_without_metrics_it_says_what_to_do(view, show):
    assert view.empty.isVisible()
    assert view.empty.text().startswith("No metrics yet:")
    assert not view.export_button.isEnabled()
    show(run())
    assert view.empty.isVisible()


def test_loss_and_pck_are_shown_first_below_one_another_with_the_same_steps(view, show):
    show(run(loss=LOSS, pck__3=PCK, rate=LOSS))
    assert view.chosen == ("loss", "pck")
    loss, pck = view.plots.chart("loss"), view.plots.chart("pck")
    assert [points_of(line).tolist() for line in loss.lines] == [LOSS.tolist()]
    assert [points_of(line).tolist() for line in pck.lines] == [PCK.tolist()]
    assert view.plots.steps_shown == pytest.approx((0.0, 195.0))
    assert loss.viewRange()[0] == pck.viewRange()[0]
    assert loss.vb.sceneBoundingRect().bottom() < pck.vb.sceneBoundingRect().top()
    low, high = pck.viewRange()[1]
    assert low < 0.1 < 0.5 < high


def test_metrics_of_a_run_are_sorted_into_plots(view, show):
    names = ["pck@5", "loss", "pck@10", "pck@1", "step_s", "data_wait_s", "epoch", "odd"]
    show(run(**dict.fromkeys([*names, "sequences pck@3"], PCK)))
    offered = {action.data(): action.text() for action in view.metrics_menu.actions()}
    assert list(offered) == ["loss", "pck", "sequences", "time", "odd"]
    assert offered["time"] == "Step time (s)"
    for name in ("sequences", "time", "odd"):
        view.choose(name, True)
    headings = [
        view.readout.horizontalHeaderItem(n).text() for n in range(1, view.readout.columnCount())
    ]
    assert headings == [
        "loss", "PCK@1", "PCK@5", "PCK@10", "sequence PCK@3", "step (s)", "data wait (s)", "odd",
    ]  # fmt: skip
    assert len(view.plots.chart("pck").lines) == 3
    title = view.plots.chart("pck").titleLabel.item.toPlainText().replace("\xa0", " ")
    assert title.split("  ") == ["Validation PCK", " ○ @1 px", " □ @5 px", " △ @10 px", " "]


def test_three_runs_lie_over_one_another_each_in_its_own_way(view, show):
    show(*(run(name, loss=LOSS * [1, 1 + n]) for n, name in enumerate("abc")))
    lines = view.plots.chart("loss").lines
    assert [points_of(line)[0, 1] for line in lines] == [5.0, 10.0, 15.0]
    assert len({color_of(line).name() for line in lines}) == 3
    assert len({tuple(line.opts["pen"].dashPattern()) for line in lines}) == 3
    assert view.readout.rowCount() == 3
    third = color_of(lines[2])
    show(run("c", loss=LOSS))
    (line,) = view.plots.chart("loss").lines
    assert color_of(line) == third


def test_smoothing_draws_the_average_and_what_was_measured_behind_it(view, show):
    noisy = curve(STEPS, np.random.default_rng(0).standard_normal(len(STEPS)))
    show(run(loss=noisy))
    view.smoothing_slider.setValue(90)
    raw, smooth = view.plots.chart("loss").lines
    np.testing.assert_array_equal(points_of(raw), noisy)
    np.testing.assert_allclose(points_of(smooth)[:, 1], by_hand(noisy[:, 1], 0.9))
    assert raw.opts["pen"].widthF() < smooth.opts["pen"].widthF()
    assert color_of(raw).lightness() > color_of(smooth).lightness()
    assert raw.zValue() < smooth.zValue()


def test_the_log_axis_does_without_zeros_and_says_when_nothing_is_left(view, show):
    loss, zeros = curve([0, 1, 2, 3], [0.0, 10.0, np.nan, 1000.0]), curve([0, 1], [0, 0])
    show(run(loss=loss, gradient=zeros, pck__3=curve([0, 1], [0.0, 0.1])))
    view.choose("gradient", True)
    view.choose("sequences", True)
    view.log_button.setChecked(True)
    (line,) = view.plots.chart("loss").lines
    np.testing.assert_allclose(np.column_stack(line.getData()), [[1, 1.0], [3, 3.0]])
    low, high = view.plots.chart("loss").viewRange()[1]
    assert 0.5 < low < 1.0
    assert 3.0 < high < 3.5
    assert view.plots.chart("gradient").remark == "nothing above zero here"
    view.grab()
    view.log_button.setChecked(False)
    assert len(view.plots.chart("loss").lines[0].getData()[0]) == 3
    assert view.plots.chart("gradient").remark == ""


def test_shares_stay_on_linear_axes_where_zero_has_a_place(view, show):
    show(run(loss=LOSS, pck__3=curve([0, 1], [0.0, 0.1])))
    view.log_button.setChecked(True)
    (line,) = view.plots.chart("pck").lines
    np.testing.assert_array_equal(np.column_stack(line.getData()), [[0, 0.0], [1, 0.1]])


def test_nan_and_single_and_constant_values_are_drawn(view, show):
    loss = curve([0, 1, 2, 3], [1.0, np.nan, np.inf, 2.0])
    show(run(loss=loss, pck__3=curve([0], [0.5])), run("b", loss=curve([0, 9], [1, 1])))
    view.smoothing_slider.setValue(50)
    assert all(np.isfinite(points_of(line)).all() for line in view.plots.chart("loss").lines)
    low, high = view.plots.chart("pck").viewRange()[1]
    assert low < 0.5 < high
    show(run(loss=curve([0, 1], [np.nan, np.nan])))
    assert view.plots.chart("loss").remark == "not measured yet"
    assert "not measured yet" in view.plots.chart("loss").titleLabel.text
    view.grab()


def test_live_points_are_drawn_together_and_not_each_for_itself(view, models, show, qtbot):
    show(run(live=True, loss=LOSS))
    drawn = []
    view.redrawn.connect(lambda: drawn.append(1))
    with qtbot.waitSignal(view.redrawn, timeout=20 * REDRAW_MS):
        for step in range(200, 2200):
            models.training.curves.grow([(step, {"loss": 0.5})])
        assert not drawn
    assert len(drawn) == 1
    (line,) = view.plots.chart("loss").lines
    assert points_of(line)[-1].tolist() == [2199.0, 0.5]
    assert len(line.getData()[0]) < 2000


def test_only_the_end_of_a_live_curve_has_a_filled_mark(view, show):
    many = curve(range(500), np.linspace(1, 2, 500))
    show(run(live=True, loss=many, pck__3=PCK, pck__5=PCK), run("b", loss=many, pck__3=PCK))
    filled = {}
    for chart in (view.plots.chart("loss"), view.plots.chart("pck")):
        for (folder, name), one in chart.drawn.items():
            brushes = [spot["brush"] for spot in one.marks.data]
            colors = [brush.color() == color_of(one.line) for brush in brushes]
            filled[folder.name, name] = colors
    assert filled["a", "loss"] == [True]
    assert filled["b", "loss"] == []
    assert filled["a", "pck@3"] == [False, False, False, True]
    assert filled["a", "pck@5"] == [False, False, False, True]
    assert filled["b", "pck@3"] == [False] * 4


def test_a_run_that_has_ended_is_no_longer_drawn_as_live(view, models, show):
    show(run(live=True, loss=curve(range(500), np.linspace(1, 2, 500))))
    (live,) = view.plots.chart("loss").drawn.values()
    assert len(live.marks.data) == 1
    assert view.readout.item(0, 0).font().bold()
    models.training.status.set(TrainingStatus("done", Path("a")))
    (ended,) = view.plots.chart("loss").drawn.values()
    assert len(ended.marks.data) == 0
    assert not view.readout.item(0, 0).font().bold()


def test_a_metric_that_is_new_in_a_live_run_gets_its_plot(view, models, show, qtbot):
    show(run(live=True, loss=LOSS))
    with qtbot.waitSignal(view.redrawn):
        models.training.curves.grow([(50, {"pck@1": 0.1, "pck@3": 0.2})])
    assert [len(points_of(line)) for line in view.plots.chart("pck").lines] == [1, 1]
    assert text_of(view, "a", "PCK@3") == "0.2000"


def test_points_of_a_run_that_is_not_shown_draw_nothing(view, models, show, qtbot):
    show(run("gone", live=True, loss=LOSS))
    show(run(loss=LOSS))
    with qtbot.assertNotEmitted(view.redrawn, wait=2 * REDRAW_MS):
        models.training.curves.grow([(300, {"loss": 1.0})])
    assert view.readout.rowCount() == 1


def test_points_that_came_while_it_was_hidden_are_drawn_when_it_is_shown(view, models, show):
    show(run(live=True, loss=LOSS))
    view.hide()
    models.training.curves.grow([(200, {"loss": 0.25})])
    assert points_of(view.plots.chart("loss").lines[0])[-1, 0] == 195.0
    view.show()
    assert points_of(view.plots.chart("loss").lines[0])[-1].tolist() == [200.0, 0.25]


def test_the_readout_gives_the_values_of_all_runs_at_the_step_pointed_at(view, show):
    other = curve([0, 100, 150], [7.0, 6.0, 5.0])
    show(run(loss=LOSS, pck__3=PCK), run("b", loss=other))
    assert text_of(view, "b", "loss") == "5.0000"
    widths = [view.readout.columnWidth(n) for n in range(view.readout.columnCount())]
    view.plots.point_at(98.0)
    assert view.readout.horizontalHeaderItem(0).text() == "Step 100"
    assert text_of(view, "a", "loss") == value_text("loss", 5.0 / 101.0)
    assert text_of(view, "a", "PCK@3") == "0.4000"
    assert text_of(view, "b", "loss") == "6.0000"
    assert text_of(view, "b", "PCK@3") == "–"
    assert [view.readout.columnWidth(n) for n in range(len(widths))] == widths
    view.plots.point_at(None)
    assert view.readout.horizontalHeaderItem(0).text() == "Newest"


def test_the_mouse_points_and_its_leaving_ends_it(view, show, qtbot):
    show(run(loss=LOSS, pck__3=PCK))
    pointed = []
    view.plots.step_pointed.connect(pointed.append)
    loss, pck = view.plots.chart("loss"), view.plots.chart("pck")
    qtbot.waitUntil(lambda: view.plots.viewport().width() > 300)
    view.plots.scene().sigMouseMoved.emit(loss.vb.sceneBoundingRect().center())
    assert pointed
    assert 0 < pointed[-1] < 195
    assert pointed[-1] in STEPS
    assert loss.cursor.value() == pck.cursor.value() == pointed[-1]
    assert loss.level.isVisible()
    assert not pck.level.isVisible()
    view.plots.scene().sigMouseMoved.emit(QPointF(2.0, 2.0))
    assert pointed[-1] is None
    assert not loss.cursor.isVisible()


def test_the_keyboard_points_and_zooms(view, show, qtbot):
    show(run(loss=LOSS), run("b", loss=curve([0, 7], [1, 2])))
    plots = view.plots
    pointed = []
    plots.step_pointed.connect(pointed.append)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        qtbot.keyClick(plots, key)
    assert pointed == [0.0, 5.0, 7.0, 5.0]
    qtbot.keyClick(plots, Qt.Key.Key_Plus)
    assert plots.zoomed
    assert view.reset_button.isEnabled()
    low, high = plots.steps_shown
    assert low <= 5.0 <= high
    assert high - low == pytest.approx(195 / 1.25)
    qtbot.keyClick(plots, Qt.Key.Key_0)
    assert plots.steps_shown == pytest.approx((0.0, 195.0))
    assert not view.reset_button.isEnabled()


def mouse(view, kind, x, y, *, buttons=Qt.MouseButton.NoButton, button=Qt.MouseButton.NoButton):
    target = view.plots.viewport()
    place = QPointF(x, y)
    event = QMouseEvent(
        kind, place, target.mapToGlobal(place), button, buttons, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(target, event)


def test_the_wheel_zooms_a_drag_moves_and_a_double_click_shows_all(view, show, qtbot):
    show(run(loss=LOSS, pck__3=PCK))
    view.plots.setFocus()
    qtbot.waitUntil(lambda: view.plots.viewport().width() > 300)
    target = view.plots.viewport()
    place = QPointF(0.6 * target.width(), 60.0)
    turned = QWheelEvent(
        place, target.mapToGlobal(place), QPoint(), QPoint(0, 240), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(target, turned)
    low, high = view.plots.steps_shown
    assert high - low == pytest.approx(195 * 1.02**-30)  # pyqtgraph's own speed
    loss, pck = (view.plots.chart(name).viewRange()[0] for name in ("loss", "pck"))
    assert loss == pck
    left = Qt.MouseButton.LeftButton
    kind = QEvent.Type
    mouse(view, kind.MouseMove, place.x(), 60)
    mouse(view, kind.MouseButtonPress, place.x(), 60, buttons=left, button=left)
    shifts = itertools.count(10)

    def dragged():  # pyqtgraph lets moves pass that follow one another too quickly
        mouse(view, kind.MouseMove, place.x() - next(shifts), 60, buttons=left)
        return view.plots.steps_shown[0] > low + 1.0

    qtbot.waitUntil(dragged)
    mouse(view, kind.MouseButtonRelease, place.x() - next(shifts), 60, button=left)
    moved = view.plots.steps_shown
    assert moved[1] - moved[0] == pytest.approx(high - low)
    for one in (
        kind.MouseButtonPress, kind.MouseButtonRelease, kind.MouseButtonDblClick,
        kind.MouseButtonRelease,
    ):  # fmt: skip
        held = left if one != kind.MouseButtonRelease else Qt.MouseButton.NoButton
        mouse(view, one, place.x(), 60, buttons=held, button=left)
    assert not view.plots.zoomed


def test_a_run_in_progress_is_drawn_above_all_others(view, show):
    show(run(live=True, loss=LOSS), run("b", loss=LOSS))
    colors = [color_of(line).name() for line in view.plots.chart("loss").lines]
    assert colors == [run_pen(1).color().name(), run_pen(0).color().name()]


def test_keys_that_qt_has_no_name_for_do_no_harm(view, show):
    show(run(loss=LOSS))
    event = QKeyEvent(QEvent.Type.KeyPress, 0x444, Qt.KeyboardModifier.NoModifier, "ф")
    QApplication.sendEvent(view.plots, event)
    assert not view.plots.zoomed


def test_more_runs_than_rows_scroll_and_hide_no_column(view, show, qtbot):
    show(*(run(str(n), loss=LOSS, pck__3=PCK) for n in range(9)))
    table = view.readout
    total = sum(table.columnWidth(n) for n in range(table.columnCount()))
    assert total <= table.viewport().width()
    qtbot.waitUntil(lambda: table.verticalScrollBar().maximum() > 0)


def test_zoom_keeps_the_step_under_the_mouse_and_stays_within_what_was_measured(
    view, models, show, qtbot
):
    show(run(live=True, loss=LOSS))
    plots = view.plots
    plots.zoom(100.0, 0.5)
    low, high = plots.steps_shown
    assert (100.0 - low) / (high - low) == pytest.approx(100.0 / 195.0)
    plots.move(1000.0)
    assert plots.steps_shown[1] == pytest.approx(195.0)
    plots.move(-1000.0)
    assert plots.steps_shown[0] == pytest.approx(0.0, abs=1e-9)
    for _ in range(60):
        plots.zoom(50.0, 0.5)
    kept = plots.steps_shown
    assert 3.9 <= kept[1] - kept[0] <= 4.0
    with qtbot.waitSignal(view.redrawn):
        models.training.curves.grow([(500, {"loss": 1.0})])
    assert plots.steps_shown == pytest.approx(kept)
    plots.zoom(50.0, 1e9)
    assert plots.steps_shown == pytest.approx((0.0, 500.0))
    assert not plots.zoomed


def test_all_steps_stay_in_view_while_points_arrive(view, models, show, qtbot):
    show(run(live=True, loss=LOSS))
    with qtbot.waitSignal(view.redrawn):
        models.training.curves.grow([(500, {"loss": 1.0})])
    assert view.plots.steps_shown == pytest.approx((0.0, 500.0))
    assert not view.reset_button.isEnabled()


def test_other_runs_are_shown_whole(view, show):
    show(run(loss=LOSS))
    view.plots.show_steps((20.0, 40.0))
    show(run(loss=LOSS), run("b", loss=LOSS))
    assert view.plots.steps_shown == pytest.approx((20.0, 40.0))
    show(run("c", loss=LOSS))
    assert not view.plots.zoomed


def test_values_fill_the_height_for_the_steps_in_view(view, show):
    show(run(loss=curve(range(100), [100.0] * 50 + [1.0, 2.0] * 25)))
    view.plots.show_steps((60.0, 90.0))
    low, high = view.plots.chart("loss").viewRange()[1]
    assert 0.5 < low < 1.0
    assert 2.0 < high < 2.5


def test_plots_are_chosen_in_a_menu_that_stays(view, show, qtbot):
    show(run(loss=LOSS, pck__3=PCK, rate=LOSS))
    actions = {action.data(): action for action in view.metrics_menu.actions()}
    assert {name for name, action in actions.items() if action.isChecked()} == {"loss", "pck"}
    view.metrics_menu.popup(view.mapToGlobal(view.rect().topLeft()))
    place = view.metrics_menu.actionGeometry(actions["rate"]).center()
    qtbot.mouseClick(view.metrics_menu, Qt.MouseButton.LeftButton, pos=place)
    assert view.chosen == ("loss", "pck", "rate")
    assert view.metrics_menu.isVisible()
    view.metrics_menu.close()
    for name in ("loss", "pck", "rate"):
        actions[name].setChecked(False)
    assert view.empty.isVisible()
    assert view.empty.text().startswith("No metrics are chosen")
    actions["rate"].toggle()
    assert not view.empty.isVisible()


def test_many_plots_in_little_room_stand_in_columns_or_scroll(view, show, qtbot):
    names = ("loss", "distance", "rate", "step_s", "gradient", "memory_mb")
    show(run(**dict.fromkeys(names, LOSS)))
    for name in ("similarity", "rate", "time", "gradient", "memory_mb"):
        view.choose(name, True)
    view.resize(320, 260)
    qtbot.waitUntil(lambda: view.plots.height() > view.height())
    lefts = {view.plots.chart(name).vb.sceneBoundingRect().left() for name in view.chosen}
    assert len(lefts) == 1
    view.resize(1700, 420)
    qtbot.waitUntil(lambda: view.plots.height() < view.height())
    lefts = {view.plots.chart(name).vb.sceneBoundingRect().left() for name in view.chosen}
    assert len(lefts) > 1


def test_the_theme_is_followed(view, show):
    show(run(loss=LOSS))
    light = view.grab().toImage().pixelColor(view.width() // 2, view.height() - 60)
    view.setPalette(make_palette(DARK))
    dark = view.grab().toImage().pixelColor(view.width() // 2, view.height() - 60)
    assert light.lightness() > 200
    assert dark.lightness() < 60
    assert view.plots.palette().color(QPalette.ColorRole.Base) == QColor(DARK.base)


def test_long_noisy_curves_are_drawn_of_few_points_and_finely(view, show):
    """Qt takes seconds for a long path of a pen wider than a pixel of the screen."""
    noise = np.random.default_rng(2).standard_normal(100_000)
    show(run(loss=curve(range(100_000), 1.0 + 0.3 * noise)), run("b", loss=LOSS * [500.0, 1.0]))
    noisy, calm = view.plots.chart("loss").lines
    assert noisy.opts["pen"].widthF() == 1.0
    assert calm.opts["pen"].widthF() > 1.0
    assert calm.opts["pen"].dashPattern()
    for weight in (0, 30, 99):
        view.smoothing_slider.setValue(weight)
        for line in view.plots.chart("loss").lines:
            assert len(line.getData()[0]) < 2 * view.plots.width()
    assert all(line.opts["pen"].widthF() > 1.0 for line in view.plots.chart("loss").lines[-2:])
    view.plots.show_steps((500.0, 520.0))
    assert all(len(line.getData()[0]) < 30 for line in view.plots.chart("loss").lines)


# Export


def test_the_table_holds_every_step_as_measured_and_smoothed(view, show, messages, tmp_path):
    loss = curve([0, 5, 10], [1.0, np.nan, 0.1 + 0.2])
    show(
        run("über, alles", loss=loss, pck__3=curve([0, 10], [0.25, 0.5])),
        run("b", loss=curve([1234567], [4.0])),
    )
    view.smoothing_slider.setValue(50)
    path = tmp_path / "Kurven ä.csv"
    view.export(path)
    assert messages == [(f"Saved {path}.", "info")]
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["step"]) for row in rows] == [
        ("über, alles", "0"), ("über, alles", "5"), ("über, alles", "10"), ("b", "1234567"),
    ]  # fmt: skip
    assert list(rows[0]) == ["run", "step", "loss", "loss smoothed", "pck@3", "pck@3 smoothed"]
    assert float(rows[2]["loss"]) == 0.1 + 0.2
    expected = by_hand(loss[:, 1], 0.5)
    assert float(rows[2]["loss smoothed"]) == pytest.approx(expected[2])
    assert math.isnan(float(rows[1]["loss"]))
    assert rows[1]["pck@3"] == ""
    assert rows[3]["pck@3 smoothed"] == ""


def test_the_picture_is_twice_as_fine_and_on_white_whatever_the_theme(view, show, tmp_path):
    view.setPalette(make_palette(DARK))
    show(run(loss=LOSS, pck__3=PCK))
    path = tmp_path / "curves.png"
    view.export(path)
    picture = QImage(str(path))
    assert picture.width() == 2 * view.plots.width()
    assert picture.pixelColor(2, 2) == QColor("white")
    plain = picture.convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.array(plain.constBits(), np.uint8).reshape(plain.height(), plain.width(), 4)
    blue = run_pen(0).color()
    found = (pixels[..., :3] == [blue.blue(), blue.green(), blue.red()]).all(axis=2).mean()
    assert 0.0003 < found < 0.05


def test_the_vector_picture_holds_lines_and_words_and_no_pixels(view, show, tmp_path):
    show(run("mine & yours", loss=LOSS), run("b", loss=LOSS))
    path = tmp_path / "curves.svg"
    view.export(path)
    assert QSvgRenderer(str(path)).isValid()
    text = path.read_text(encoding="utf-8")
    written = [one.text for one in ET.parse(path).iter() if one.tag.endswith("text")]
    words = [(text or "").strip() for text in written]
    assert "mine & yours" in words
    assert "Loss" in words
    assert "Step" in words
    assert "<image" not in text
    assert "stroke-dasharray" in text


@pytest.mark.parametrize("suffix", [".csv", ".png", ".svg"])
def test_a_file_that_cannot_be_written_is_named_in_one_sentence(
    view, show, messages, tmp_path, suffix
):
    show(run(loss=LOSS))
    path = tmp_path / "nowhere" / f"curves{suffix}"
    view.export(path)
    ((text, level),) = messages
    assert level == "error"
    assert str(path) in text
    assert text.endswith(".")
    assert not path.exists()


def test_what_was_there_stays_when_writing_fails(view, show, messages, tmp_path):
    show(run(loss=LOSS))
    folder = tmp_path / "curves.csv"
    folder.mkdir()
    (folder / "keep").touch()
    view.export(folder)
    assert [level for _, level in messages] == ["error"]
    assert (folder / "keep").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]


def test_the_tab_key_goes_through_the_bar_then_the_legend_then_the_plots(view, show, qtbot):
    show(run(loss=LOSS))
    order = [view.metrics_button]
    while order[-1] is not view.plots and len(order) < 20:
        following = order[-1].nextInFocusChain()
        while not (following.focusPolicy() & Qt.FocusPolicy.TabFocus and following.isVisible()):
            following = following.nextInFocusChain()
        order.append(following)
    assert order == [
        view.metrics_button, view.smoothing_slider, view.log_button, view.reset_button,
        view.export_button, view.readout, view.plots,
    ]  # fmt: skip


def test_every_control_says_what_it_is(view):
    for control in (
        view.metrics_button, view.smoothing_slider, view.log_button, view.reset_button,
        view.export_button, view.plots, view.readout,
    ):  # fmt: skip
        assert control.accessibleName()
