"""Many matches: requested, filtered, summarised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt

from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.models.maps_state import DescriptorChoice
from descgui.models.pair_state import PairState
from descgui.views.matches_panel import ErrorHistogram, MatchesPanel, transfer_errors
from engine.api import ImagePair, MatchTable


def table(errors, **changes):
    count = len(errors)
    values = {
        "points_a": np.zeros((count, 2)),
        "points_b": np.zeros((count, 2)),
        "similarity": np.linspace(0.1, 0.9, count, dtype=np.float32),
        "ratio": np.full(count, 0.5, dtype=np.float32),
        "mutual": np.ones(count, dtype=np.bool_),
        "error_px": np.asarray(errors, dtype=np.float64),
        "seconds": 0.25,
    }
    return MatchTable(**{**values, **changes})


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def panel(qtbot, models, asked):
    made = MatchesPanel(models, matching=asked, files=asked, truths=asked)
    qtbot.addWidget(made)
    made.resize(260, 800)
    made.show()
    return made


@pytest.fixture
def ready(panel, models):
    models.engine.set(EngineState("ready"))
    models.pair.set_pair(PairState(ImagePair(Path("/1"), Path("/2")), None, None, None, None))
    models.maps.choose(DescriptorChoice("daisy"))
    return panel


def heard(signal):
    seen = []
    signal.connect(lambda *_: seen.append(True))
    return seen


def enter(qtbot, box, text):
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


def test_which_descriptor_matches_is_asked_only_while_there_are_several(qtbot, models, asked):
    panel = MatchesPanel(models, asked, asked, asked)
    qtbot.addWidget(panel)
    panel.show()
    assert not panel.descriptor.isVisible()
    models.compared[1].choose(DescriptorChoice("net"))
    assert panel.descriptor.isVisible()
    assert [panel.descriptor.itemData(row) for row in range(panel.descriptor.count())] == [0, 2]
    panel.descriptor.setCurrentIndex(1)
    panel.descriptor.activated.emit(1)
    assert asked.of("match_by") == [(2,)]


def test_matching_waits_for_engine_pair_and_descriptor_and_says_for_which(panel, models):
    assert "loaded" in panel.hint.sentence
    models.engine.set(EngineState("ready"))
    assert "pair" in panel.hint.sentence
    models.pair.set_pair(PairState(ImagePair(Path("/1"), Path("/2")), None, None, None, None))
    assert "descriptor" in panel.hint.sentence
    assert not panel.run_button.isEnabled()
    models.maps.choose(DescriptorChoice("daisy"))
    assert panel.hint.sentence == ""
    assert panel.run_button.isEnabled()


def test_buttons_ask_and_change_with_the_work(ready, models, asked):
    ready.run_button.click()
    models.matches.update(running=True)
    assert not ready.run_button.isVisible()
    assert ready.busy.isVisible()
    ready.cancel_button.click()
    assert not ready.clear_button.isEnabled()
    assert not ready.export_button.isEnabled()
    models.matches.update(running=False, table=table([1.0]))
    ready.clear_button.click()
    ready.export_button.click()
    assert [name for name, _ in asked.calls] == ["run", "cancel", "clear", "save_matches"]


def test_points_count_and_seed_go_into_the_model(ready, models, qtbot):
    ready.points.setCurrentIndex(ready.points.findData("random"))
    ready.points.activated.emit(ready.points.currentIndex())
    enter(qtbot, ready.count, "37")
    enter(qtbot, ready.seed, "9")
    state = models.matches.state
    assert (state.points, state.count, state.seed) == ("random", 37, 9)
    assert isinstance(state.count, int)
    models.matches.update(points="grid")
    assert not ready.seed.isEnabled()


def test_filters_go_into_the_model_from_slider_and_box(ready, models, qtbot):
    enter(qtbot, ready.correct.box, "4.5")
    assert models.settings.state.correct_px == 4.5
    ready.correct.slider.setValue(0)
    assert models.settings.state.correct_px == pytest.approx(0.1)
    assert ready.correct.box.number() == pytest.approx(0.1)
    ready.correct.slider.setValue(1000)
    assert models.settings.state.correct_px == pytest.approx(100.0)
    ready.similarity.slider.setValue(750)
    assert models.matches.state.min_similarity == pytest.approx(0.5)
    enter(qtbot, ready.ratio.box, "0.8")
    assert models.matches.state.max_ratio == 0.8
    assert ready.ratio.slider.value() == 800
    ready.mutual.click()
    ready.visible.click()
    assert models.matches.state.mutual_only
    assert not models.matches.state.visible


def test_matches_that_are_not_sure_enough_are_hidden_in_percent(ready, models, qtbot):
    sure = np.array([0.2, 0.89, 0.9, 0.97, np.nan], np.float32)
    models.matches.update(table=table([1.0] * 5, confidence=sure))
    enter(qtbot, ready.sure.box, "90")
    assert models.matches.state.min_confidence == 0.9
    assert ready.sure.slider.value() == 900
    assert ready.sure.box.text() == "90 %"
    assert models.matches.state.shown().tolist() == [False, False, True, True, False]
    assert ready.summary.sentence.startswith("2 of 5 matches shown")
    ready.sure.slider.setValue(150)
    assert models.matches.state.min_confidence == pytest.approx(0.15)
    assert not ready.calibration.isVisible()


def test_without_confidences_none_is_asked_for_and_nothing_is_hidden(ready, models):
    models.matches.update(min_confidence=0.9)
    assert ready.sure.isEnabled()
    models.matches.update(table=table([1.0] * 3, not_calibrated="daisy with these settings"))
    assert not ready.sure.isEnabled()
    assert models.matches.state.shown().all()
    assert ready.calibration.isVisible()
    assert ready.calibration.sentence == (
        "No confidences: not calibrated for daisy with these settings."
    )
    models.matches.update(table=None)
    assert not ready.calibration.isVisible()


def test_what_the_model_holds_is_shown_and_not_written_back(ready, models):
    models.settings.update(correct_px=5.0)
    models.matches.update(min_similarity=0.3, max_ratio=0.7, mutual_only=True)
    told = heard(models.matches.changed)
    assert ready.correct.box.number() == 5.0
    assert ready.similarity.box.number() == 0.3
    assert ready.ratio.slider.value() == 700
    assert ready.mutual.isChecked()
    assert told == []


def test_right_and_wrong_are_counted_among_those_shown_with_a_known_truth(ready, models):
    errors = [0.5, 2.0, 3.0, 3.5, 40.0, np.nan]
    models.matches.update(table=table(errors))
    assert ready.summary.sentence == "6 of 6 matches shown · 250 ms"
    spread = np.array([0.4, 0.6, 0.8, 1.0, 4.0, np.nan])
    models.matches.update(table=replace(table(errors), uncertainty_px=spread))
    assert (
        ready.summary.sentence
        == "6 of 6 matches shown · 250 ms · ±\N{NO-BREAK SPACE}0.8\N{NO-BREAK SPACE}px (median)"
    )
    assert ready.verdicts.sentence == "3 right · 2 wrong · 60.0 % · 1 not in sight"
    models.matches.update(min_similarity=0.25)  # hides the first
    assert ready.summary.sentence.startswith("5 of 6")
    assert ready.verdicts.sentence.startswith("2 right · 2 wrong · 50.0 %")
    models.settings.update(correct_px=0.1)
    assert ready.verdicts.sentence.startswith("0 right · 4 wrong")


def test_pck_at_one_three_and_five_is_that_of_a_loop(ready, models):
    errors = np.random.default_rng(3).gamma(1.2, 3.0, 200)
    errors[::17] = np.nan
    found = table(errors)
    models.matches.update(table=found, min_similarity=0.5)
    for rows, keep in (("all", [True] * 200), ("shown", found.similarity >= 0.5)):
        for threshold_px in (1.0, 3.0, 5.0):
            known = [e for e, kept in zip(errors, keep, strict=True) if kept and e == e]
            share = sum(e <= threshold_px for e in known) / len(known)
            assert ready.pck_cells[rows, threshold_px].text() == f"{100 * share:.1f} %"


def test_without_truth_the_estimate_is_summed_up(ready, models):
    shift = np.array([[1.0, 0.0, 10.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    points = np.array([[0.0, 0.0], [5.0, 5.0], [9.0, 2.0]])
    found = points + np.array([[10.0, 1.0], [10.0, 2.0], [90.0, 0.0]])
    models.matches.update(
        table=table(
            [np.nan] * 3, points_a=points, points_b=found, h_b_from_a=shift,
            inlier=np.array([True, True, False]),
        )
    )  # fmt: skip
    assert ready.estimate.sentence == (
        "Estimated homography: 2 of 3 matches agree, median error 1.50 px"
    )
    assert ready.verdicts.sentence == "2 inliers · 1 outliers · 66.7 %"
    assert not ready.histogram.isVisible()
    models.matches.update(table=table([np.nan] * 3))
    assert "No homography" in ready.estimate.sentence
    assert not ready.verdicts.isVisible()


def test_transfer_errors_are_distances_to_the_warped_points():
    h = np.array([[1.1, 0.02, 3.0], [-0.01, 0.9, 2.0], [1e-4, 2e-4, 1.0]])
    rng = np.random.default_rng(0)
    points, found = rng.uniform(0, 100, (7, 2)), rng.uniform(0, 100, (7, 2))
    errors = transfer_errors(table([0.0] * 7, points_a=points, points_b=found, h_b_from_a=h))
    for (x, y), target, error in zip(points, found, errors, strict=True):
        u, v, w = h @ [x, y, 1.0]
        assert error == pytest.approx(np.hypot(u / w - target[0], v / w - target[1]))


def test_no_match_hidden_matches_and_no_points_are_told_apart(ready, models):
    models.matches.update(table=table([1.0, 2.0]), min_similarity=1.0)
    assert "passes these filters" in ready.none_left.sentence
    models.matches.update(visible=False)
    assert "not drawn" in ready.none_left.sentence
    models.matches.update(table=table([]))
    assert "No point" in ready.none_left.sentence
    models.matches.update(table=None)
    assert ready.none_left.sentence == ""
    assert ready.nothing.isVisible()


def test_the_histogram_counts_every_known_error_once(qtbot):
    histogram = ErrorHistogram()
    qtbot.addWidget(histogram)
    errors = np.array([0.0, 0.01, 0.5, 2.9, 3.0, 3.1, 50.0, 5000.0, np.nan])
    for logarithmic in (True, False):
        histogram.show_errors(errors, threshold_px=3.0, logarithmic=logarithmic)
        right, wrong = histogram.counts()
        assert (right.sum(), wrong.sum()) == (5, 3)
        assert right[0] >= 2, "what is below the axis is in the first bar"
        assert wrong[-1] >= 1, "what is beyond the axis is in the last bar"
        assert not right[np.flatnonzero(wrong)[0] + 1 :].any()
        histogram.grab()
    assert "5 of 8" in histogram.accessibleDescription()


def test_an_empty_histogram_is_drawn(qtbot):
    histogram = ErrorHistogram()
    qtbot.addWidget(histogram)
    histogram.show_errors(np.array([np.nan]), threshold_px=3.0, logarithmic=False)
    assert histogram.counts()[0].sum() == 0
    histogram.grab()


def test_typing_is_not_disturbed_by_news(ready, models, qtbot):
    ready.count.setFocus()
    ready.count.selectAll()
    qtbot.keyClicks(ready.count, "12")
    models.matches.update(table=table([1.0]))
    assert ready.count.text() == "12"


def test_the_panel_can_be_narrow(ready, models):
    models.matches.update(table=table([1.0, np.nan]))
    assert ready.minimumSizeHint().width() <= 260


def test_matches_without_texture_count_in_pck_and_not_in_the_estimate(ready, models):
    textured = np.array([True, True, False, False, True])
    inlier = np.array([True, False, False, False, True])
    models.matches.update(
        table=table([np.nan] * 5, h_b_from_a=np.eye(3), inlier=inlier, textured=textured)
    )
    assert "2 of 3 matches with texture agree" in ready.estimate.text()
    assert "2 inliers · 1 outliers · 66.7 % · 2 without texture" in ready.verdicts.text()
    assert "2 of 5 points have no texture" in ready.texture.text()
    assert ready.texture.isVisible()
    models.matches.update(table=table([0.5, 9, 0.5, 0.5, 9], textured=textured))
    assert "3 right · 2 wrong" in ready.verdicts.text()
    assert ready.pck_cells["all", 3.0].text() == "60.0 %"
    assert "counted in PCK" in ready.texture.text()
    models.matches.update(table=table([0.5, 9]))
    assert not ready.texture.isVisible()
