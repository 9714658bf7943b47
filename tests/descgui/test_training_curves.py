"""Training curves: what is drawn, how it is smoothed and read, and what is exported."""

from __future__ import annotations

import csv
import itertools
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPalette, QWheelEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from descgui.models.training_curves_data import (
    RunCurves,
    Series,
    nearest,
    smoothed,
    thinned,
    value_at,
    without_superseded,
)
from descgui.views.theme import DARK, make_palette
from descgui.views.training_chart import in_view
from descgui.views.training_curves import REDRAW_MS, TrainingCurves
from descgui.views.training_figures import FIRST_SHOWN, plots_of, value_text
from descgui.views.training_lines import log_ticks, number_text, run_pen, step_text


def curve(steps, values):
    return np.column_stack([np.asarray(steps, float), np.asarray(values, float)])


def run(key="a", *, color=0, live=False, label="", **curves):
    named = {name.replace("__", "@"): points for name, points in curves.items()}
    return RunCurves(key, label or f"run {key}", named, color, live)


STEPS = np.arange(0, 200, 5)
LOSS = curve(STEPS, 5.0 / (1.0 + STEPS))
PCK = curve([0, 50, 100, 150], [0.1, 0.3, 0.4, 0.5])


@pytest.fixture
def view(qtbot):
    made = TrainingCurves()
    qtbot.addWidget(made)
    made.resize(700, 420)
    made.show()
    return made


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


@given(st.integers(1, 400), st.integers(1, 50), st.integers(0, 5))
def test_thinning_keeps_ends_and_extremes_and_only_points_there_are(count, buckets, seed):
    points = curve(range(count), np.random.default_rng(seed).standard_normal(count))
    few = thinned(points, buckets=buckets)
    assert len(few) <= max(4 * buckets, min(count, 4 * buckets))
    np.testing.assert_array_equal(few[[0, -1]], points[[0, -1]])
    assert few[:, 1].min() == points[:, 1].min()
    assert few[:, 1].max() == points[:, 1].max()
    assert (np.diff(few[:, 0]) > 0).all()
    np.testing.assert_array_equal(points[few[:, 0].astype(int)], few)


def test_a_value_is_read_at_the_nearest_step_and_not_far_beyond_the_ends():
    points = curve([0, 10, 20], [1.0, 2.0, 3.0])
    assert value_at(points, 14.0) == 2.0
    assert value_at(points, 16.0) == 3.0
    assert value_at(points, 29.0) == 3.0
    assert math.isnan(value_at(points, 31.0))
    assert math.isnan(value_at(np.empty((0, 2)), 3.0))
    assert nearest(np.array([0.0, 10.0]), 5.0) == 0


def test_a_logarithmic_axis_leaves_out_what_is_not_above_zero():
    points = curve([0, 1, 2, 3, 4], [100.0, 0.0, -3.0, np.nan, 0.01])
    np.testing.assert_allclose(in_view(points, (0, 4), logarithmic=True), [[0, 2.0], [4, -2.0]])


def test_what_is_in_view_goes_on_by_one_point_on_either_side():
    points = curve(range(10), range(10))
    shown = in_view(points, (3.5, 5.5), logarithmic=False)
    np.testing.assert_array_equal(shown[:, 0], [3, 4, 5, 6])


def test_figures_of_a_run_are_sorted_into_plots():
    names = ["pck@5", "loss", "pck@10", "pck@1", "step_s", "data_wait_s", "epoch", "odd"]
    plots = {plot.name: plot.figures for plot in plots_of([*names, "sequences pck@3"])}
    assert plots["pck"] == ("pck@1", "pck@5", "pck@10")
    assert plots["sequences"] == ("sequences pck@3",)
    assert plots["time"] == ("step_s", "data_wait_s")
    assert plots["odd"] == ("odd",)
    assert "epoch" not in plots
    assert [plot.name for plot in plots_of([])] == list(FIRST_SHOWN)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.72821, "0.7282"), (-0.5, "−0.5000"), (0.000513, "5.1e−4"), (0.0, "0.0000"),
     (741.004, "741.00"), (float("nan"), "–"), (float("inf"), "–")],
)  # fmt: skip
def test_values_are_short(value, text):
    assert value_text("loss", value) == text


def test_ticks_of_a_logarithmic_axis_are_round_numbers():
    wide, narrow = log_ticks(-3.2, 1.1, 5), log_ticks(-0.1, 1.0, 5)
    assert [number_text(10**tick) for tick in wide] == ["0.001", "0.01", "0.1", "1", "10"]
    assert [number_text(10**tick) for tick in narrow] == ["1", "2", "5", "10"]
    low = log_ticks(-0.1, 1.0, 2)
    assert [number_text(10**tick) for tick in low] == ["1", "3", "10"]
    within = log_ticks(0.31, 0.46, 4)
    assert [number_text(10**tick) for tick in within] == ["2.25", "2.5", "2.75"]
    assert log_ticks(1.0, 1.0, 4) == ()
    assert step_text(12500) == "12\u202f500"


def test_the_first_six_runs_differ_in_colour_and_in_dash():
    pens = [run_pen(number) for number in range(6)]
    assert len({pen.color().name() for pen in pens}) == 6
    assert len({tuple(pen.dashPattern()) for pen in pens}) == 6
    both = {(run_pen(n).color().name(), tuple(run_pen(n).dashPattern())) for n in range(42)}
    assert len(both) == 42


# The widget


def test_without_figures_it_says_what_to_do(view):
    assert view.empty.isVisible()
    assert view.empty.text().startswith("No figures yet:")
    assert not view.export_button.isEnabled()
    view.set_runs([run()])
    assert view.empty.isVisible()


def test_loss_and_pck_are_shown_first_below_one_another_with_the_same_steps(view):
    view.set_runs([run(loss=LOSS, pck__3=PCK, rate=LOSS)])
    assert view.chosen == ("loss", "pck")
    (loss,) = view.plots.lines_of("loss")
    (pck,) = view.plots.lines_of("pck")
    np.testing.assert_array_equal(loss.points, LOSS)
    np.testing.assert_array_equal(pck.points, PCK)
    assert view.plots.steps_shown == (0.0, 195.0)
    low, high = view.plots.values_shown("pck")
    assert low < 0.1 < 0.5 < high


def test_three_runs_lie_over_one_another_each_in_its_own_way(view):
    view.set_runs([run(key, color=n, loss=LOSS * [1, 1 + n]) for n, key in enumerate("abc")])
    lines = view.plots.lines_of("loss")
    assert [line.points[0, 1] for line in lines] == [5.0, 10.0, 15.0]
    assert len({line.pen.color().name() for line in lines}) == 3
    assert len({tuple(line.pen.dashPattern()) for line in lines}) == 3
    assert view.readout.rowCount() == 3
    view.set_runs([run("c", color=2, loss=LOSS)])
    (line,) = view.plots.lines_of("loss")
    assert line.pen.color() == lines[2].pen.color()


def test_smoothing_draws_the_average_and_what_was_measured_behind_it(view):
    noisy = curve(STEPS, np.random.default_rng(0).standard_normal(len(STEPS)))
    view.set_runs([run(loss=noisy)])
    view.smoothing_slider.setValue(90)
    raw, smooth = view.plots.lines_of("loss")
    np.testing.assert_array_equal(raw.points, noisy)
    np.testing.assert_allclose(smooth.points[:, 1], by_hand(noisy[:, 1], 0.9))
    assert raw.pen.widthF() < smooth.pen.widthF()
    assert raw.pen.color().lightness() > smooth.pen.color().lightness()


def test_the_log_axis_does_without_zeros_and_says_when_nothing_is_left(view):
    view.set_runs([run(loss=curve([0, 1, 2], [0.0, 10.0, 1000.0]), skipped=curve([0, 1], [0, 0]))])
    view.choose("skipped", True)
    view.log_button.setChecked(True)
    (line,) = view.plots.lines_of("loss")
    np.testing.assert_allclose(line.points, [[1, 1.0], [2, 3.0]])
    assert view.plots.remark_of("skipped") == "nothing above zero here"
    assert view.plots.remark_of("pck") == "not measured yet"
    view.grab()
    view.log_button.setChecked(False)
    assert len(view.plots.lines_of("loss")[0].points) == 3


def test_nan_and_single_and_constant_values_are_drawn(view):
    loss = curve([0, 1, 2, 3], [1.0, np.nan, np.inf, 2.0])
    view.set_runs([run(loss=loss, pck__3=curve([0], [0.5])), run("b", loss=curve([0, 9], [1, 1]))])
    view.smoothing_slider.setValue(50)
    assert all(np.isfinite(line.points).all() for line in view.plots.lines_of("loss"))
    low, high = view.plots.values_shown("pck")
    assert low < 0.5 < high
    view.set_runs([run(loss=curve([0, 1], [np.nan, np.nan]))])
    assert view.plots.remark_of("loss") == "not measured yet"
    view.grab()


def test_live_points_are_drawn_together_and_not_each_for_itself(view, qtbot):
    view.set_runs([run(loss=LOSS, live=True)])
    drawn = []
    view.redrawn.connect(lambda: drawn.append(1))
    with qtbot.waitSignal(view.redrawn, timeout=20 * REDRAW_MS):
        for step in range(200, 2200):
            view.append("a", step, {"loss": 0.5})
        assert not drawn
    assert len(drawn) == 1
    (line,) = view.plots.lines_of("loss")
    assert line.points[-1].tolist() == [2199.0, 0.5]
    assert len(line.points) < 2000
    assert line.tip


def test_a_figure_that_is_new_in_a_live_run_gets_its_plot(view, qtbot):
    view.set_runs([run(loss=LOSS, live=True)])
    with qtbot.waitSignal(view.redrawn):
        view.append("a", 50, {"pck@1": 0.1, "pck@3": 0.2})
    assert [len(line.points) for line in view.plots.lines_of("pck")] == [1, 1]
    assert view.readout.text_of("a", "pck@3") == "0.2000"


def test_points_of_a_run_that_is_not_shown_are_passed_over(view):
    view.set_runs([run(loss=LOSS)])
    view.append("gone", 3, {"loss": 1.0})
    assert view.readout.rowCount() == 1


def test_points_that_came_while_it_was_hidden_are_drawn_when_it_is_shown(view):
    view.set_runs([run(loss=LOSS, live=True)])
    view.hide()
    view.append("a", 200, {"loss": 0.25})
    assert view.plots.lines_of("loss")[0].points[-1, 0] == 195.0
    view.show()
    assert view.plots.lines_of("loss")[0].points[-1].tolist() == [200.0, 0.25]


def test_the_readout_gives_the_values_of_all_runs_at_the_step_pointed_at(view):
    other = curve([0, 100, 150], [7.0, 6.0, 5.0])
    view.set_runs([run(loss=LOSS, pck__3=PCK), run("b", color=1, loss=other)])
    assert view.readout.text_of("b", "loss") == "5.0000"
    widths = [view.readout.columnWidth(n) for n in range(view.readout.columnCount())]
    view.plots.point_at(98.0)
    assert view.readout.horizontalHeaderItem(0).text() == "Step 100"
    assert view.readout.text_of("a", "loss") == value_text("loss", 5.0 / 101.0)
    assert view.readout.text_of("a", "pck@3") == "0.4000"
    assert view.readout.text_of("b", "loss") == "6.0000"
    assert view.readout.text_of("b", "pck@3") == "–"
    assert [view.readout.columnWidth(n) for n in range(len(widths))] == widths
    view.plots.point_at(None)
    assert view.readout.horizontalHeaderItem(0).text() == "Newest"


def test_the_mouse_points_and_its_leaving_ends_it(view, qtbot):
    view.set_runs([run(loss=LOSS)])
    pointed = []
    view.plots.step_pointed.connect(pointed.append)
    qtbot.waitUntil(lambda: view.plots.viewport().width() > 300)
    view.plots.scene().sigMouseMoved.emit(QPointF(0.5 * view.plots.width(), 60.0))
    assert pointed
    assert 0 < pointed[-1] < 195
    assert pointed[-1] in STEPS
    view.plots.scene().sigMouseMoved.emit(QPointF(2.0, 2.0))
    assert pointed[-1] is None


def test_the_keyboard_points_and_zooms(view, qtbot):
    view.set_runs([run(loss=LOSS), run("b", color=1, loss=curve([0, 7], [1, 2]))])
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
    assert plots.steps_shown == (0.0, 195.0)
    assert not view.reset_button.isEnabled()


def mouse(view, kind, x, y, *, buttons=Qt.MouseButton.NoButton, button=Qt.MouseButton.NoButton):
    target = view.plots.viewport()
    place = QPointF(x, y)
    event = QMouseEvent(
        kind, place, target.mapToGlobal(place), button, buttons, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(target, event)


def test_the_wheel_zooms_a_drag_moves_and_a_double_click_shows_all(view, qtbot):
    view.set_runs([run(loss=LOSS)])
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
    assert high - low == pytest.approx(195 / 1.25**2)
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


def test_a_run_under_way_is_drawn_above_all_others(view):
    view.set_runs([run(loss=LOSS, live=True), run("b", color=1, loss=LOSS)])
    colors = [line.pen.color().name() for line in view.plots.lines_of("loss")]
    assert colors == [run_pen(1).color().name(), run_pen(0).color().name()]


def test_keys_that_qt_has_no_name_for_do_no_harm(view):
    view.set_runs([run(loss=LOSS)])
    event = QKeyEvent(QEvent.Type.KeyPress, 0x444, Qt.KeyboardModifier.NoModifier, "ф")
    QApplication.sendEvent(view.plots, event)
    assert not view.plots.zoomed


def test_more_runs_than_rows_scroll_and_hide_no_column(view):
    view.set_runs([run(str(n), color=n, loss=LOSS, pck__3=PCK) for n in range(9)])
    table = view.readout
    total = sum(table.columnWidth(n) for n in range(table.columnCount()))
    assert total <= table.viewport().width()
    assert table.verticalScrollBar().maximum() > 0


def test_zoom_keeps_the_step_under_the_mouse_and_stays_within_what_was_measured(view):
    view.set_runs([run(loss=LOSS)])
    plots = view.plots
    plots.zoom(100.0, 0.5)
    low, high = plots.steps_shown
    assert (100.0 - low) / (high - low) == pytest.approx(100.0 / 195.0)
    plots.move(1000.0)
    assert plots.steps_shown[1] == pytest.approx(195.0)
    plots.move(-1000.0)
    assert plots.steps_shown[0] == pytest.approx(0.0)
    for _ in range(60):
        plots.zoom(50.0, 0.5)
    assert plots.steps_shown[1] - plots.steps_shown[0] >= 4.0
    view.append("a", 500, {"loss": 1.0})
    plots.zoom(50.0, 1e9)
    assert plots.steps_shown == (0.0, 500.0)
    assert not plots.zoomed


def test_values_fill_the_height_for_the_steps_in_view(view):
    view.set_runs([run(loss=curve(range(100), [100.0] * 50 + [1.0, 2.0] * 25))])
    view.plots.show_steps((60.0, 90.0))
    low, high = view.plots.values_shown("loss")
    assert 0.5 < low < 1.0
    assert 2.0 < high < 2.5


def test_plots_are_chosen_in_a_menu_that_stays(view, qtbot):
    view.set_runs([run(loss=LOSS, pck__3=PCK, rate=LOSS)])
    actions = {action.data(): action for action in view.figures_menu.actions()}
    assert {name for name, action in actions.items() if action.isChecked()} == {"loss", "pck"}
    actions["rate"].toggle()
    assert view.chosen == ("loss", "pck", "rate")
    for name in ("loss", "pck", "rate"):
        actions[name].setChecked(False)
    assert view.empty.isVisible()
    assert view.empty.text().startswith("No figures are chosen")
    actions["rate"].toggle()
    assert not view.empty.isVisible()


def test_many_plots_in_little_room_stand_in_columns_or_scroll(view, qtbot):
    names = ("loss", "distance", "rate", "step_s", "gradient", "memory_mb")
    view.set_runs([run(**dict.fromkeys(names, LOSS))])
    for name in ("similarity", "rate", "time", "gradient", "memory_mb"):
        view.choose(name, True)
    view.resize(320, 260)
    qtbot.waitUntil(lambda: view.plots.height() > view.height())
    view.resize(1700, 420)
    qtbot.waitUntil(lambda: view.plots.height() < view.height())


def test_the_theme_is_followed(view):
    view.set_runs([run(loss=LOSS)])
    light = view.grab().toImage().pixelColor(view.width() // 2, view.height() - 60)
    view.setPalette(make_palette(DARK))
    dark = view.grab().toImage().pixelColor(view.width() // 2, view.height() - 60)
    assert light.lightness() > 200
    assert dark.lightness() < 60
    assert view.plots.palette().color(QPalette.ColorRole.Base) == QColor(DARK.base)


# Export


def test_the_table_holds_every_step_as_measured_and_smoothed(view, tmp_path):
    loss = curve([0, 5, 10], [1.0, np.nan, 0.1 + 0.2])
    view.set_runs([
        run(label="über, alles", loss=loss, pck__3=curve([0, 10], [0.25, 0.5])),
        run("b", color=1, loss=curve([1234567], [4.0])),
    ])  # fmt: skip
    view.smoothing_slider.setValue(50)
    path = tmp_path / "Kurven ä.csv"
    written = []
    view.exported.connect(written.append)
    view.export(path)
    assert written == [path]
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["step"]) for row in rows] == [
        ("über, alles", "0"), ("über, alles", "5"), ("über, alles", "10"), ("run b", "1234567"),
    ]  # fmt: skip
    assert list(rows[0]) == ["run", "step", "loss", "loss smoothed", "pck@3", "pck@3 smoothed"]
    assert float(rows[2]["loss"]) == 0.1 + 0.2
    expected = by_hand(loss[:, 1], 0.5)
    assert float(rows[2]["loss smoothed"]) == pytest.approx(expected[2])
    assert math.isnan(float(rows[1]["loss"]))
    assert rows[1]["pck@3"] == ""
    assert rows[3]["pck@3 smoothed"] == ""


def test_the_picture_is_twice_as_fine_and_on_white_whatever_the_theme(view, tmp_path):
    view.setPalette(make_palette(DARK))
    view.set_runs([run(loss=LOSS, pck__3=PCK)])
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


def test_the_vector_picture_holds_lines_and_words_and_no_pixels(view, tmp_path):
    view.set_runs([run(label="mine & yours", loss=LOSS), run("b", color=1, loss=LOSS)])
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
def test_a_file_that_cannot_be_written_is_named_in_one_sentence(view, tmp_path, suffix):
    view.set_runs([run(loss=LOSS)])
    path = tmp_path / "nowhere" / f"curves{suffix}"
    said = []
    view.export_failed.connect(said.append)
    view.export(path)
    assert len(said) == 1
    assert str(path) in said[0]
    assert said[0].endswith(".")
    assert not path.exists()


def test_what_was_there_stays_when_writing_fails(view, tmp_path):
    view.set_runs([run(loss=LOSS)])
    folder = tmp_path / "curves.csv"
    folder.mkdir()
    (folder / "keep").touch()
    said = []
    view.export_failed.connect(said.append)
    view.export(folder)
    assert len(said) == 1
    assert (folder / "keep").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]


def test_the_tab_key_goes_through_the_bar_then_the_legend_then_the_plots(view, qtbot):
    view.set_runs([run(loss=LOSS)])
    order = [view.figures_button]
    while order[-1] is not view.plots and len(order) < 20:
        following = order[-1].nextInFocusChain()
        while not (following.focusPolicy() & Qt.FocusPolicy.TabFocus and following.isVisible()):
            following = following.nextInFocusChain()
        order.append(following)
    assert order == [
        view.figures_button, view.smoothing_slider, view.log_button, view.reset_button,
        view.export_button, view.readout, view.plots,
    ]  # fmt: skip


def test_every_control_says_what_it_is(view):
    for control in (
        view.figures_button, view.smoothing_slider, view.log_button, view.reset_button,
        view.export_button, view.plots, view.readout,
    ):  # fmt: skip
        assert control.accessibleName()
