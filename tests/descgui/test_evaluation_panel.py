"""The evaluation panel: draws its model and makes requests."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, DeviceChoice, EngineState
from descgui.models.evaluation_state import (
    Deleted,
    DownloadState,
    EstimateState,
    EvaluationChoice,
    ShownRun,
)
from descgui.models.result_tables import ListedRows, ResultTables, SequenceScores
from descgui.models.shown_metric import ShownMetric, shown_metrics, sorting_metrics
from descgui.views import dialogs
from descgui.views.evaluation_actions import EvaluationActions
from descgui.views.evaluation_panel import EvaluationPanel
from descgui.views.pair_lines import SCORE_ROLE
from descgui.views.words import clock_text
from engine.api import ConfigError, EvaluateConfig, Stage, list_descriptors
from engine.evaluation.comparison import merge_results
from engine.evaluation.fingerprint import (
    Fingerprint,
    MeasuredDescriptor,
    MeasuredPairs,
    Sampler,
    Versions,
)
from engine.evaluation.result import (
    EvaluationResult,
    LeftOut,
    PairRow,
    Sources,
    sum_metrics_up,
    summarise,
)
from engine.jobs.estimate import Estimate
from engine.jobs.runs import RunInfo


def entry(name, *, weights=False):
    return DescriptorChoiceInfo(name, name.upper(), f"about {name}", "built-in", weights, ())


READY = EngineState(
    "ready",
    (entry("precomputed"), entry("daisy"), entry("msnet_v0", weights=True)),
    (DeviceChoice("cpu", "CPU"),),
)


def row(sequence, index, label, share, queries="harris"):
    pck = ((1.0, share / 2), (5.0, share))
    part = "viewpoint" if sequence.startswith("v_") else "illumination"
    return PairRow(label, sequence, index, queries, 100, pck, (0,) * 21, subset=part)


ROWS = (
    row("i_light", 2, "daisy", 0.9),
    row("i_light", 2, "msnet_v0", 0.5),
    row("i_light", 3, "daisy", 0.7),
    row("i_light", 3, "msnet_v0", 0.6),
    row("v_turn", 2, "daisy", 0.4),
    row("v_turn", 2, "msnet_v0", 0.8),
)


def content(rows=ROWS, *, labels=("daisy", "msnet_v0"), finished=True, left_out=()):
    descriptors = tuple(
        MeasuredDescriptor(
            label=label, name=label, config={}, weights_sha256=None, trained=True, levels=1,
            dim=8, matcher="exact", precision="float32",
        )
        for label in labels
    )  # fmt: skip
    fingerprint = Fingerprint(
        protocol="closed",
        thresholds_px=tuple(limit for limit, _ in rows[0].pck),
        matcher="exact",
        sampler=Sampler(
            queries=tuple(sorted({row.queries for row in rows})), query_limit=100,
            long_edge_px=640, grid_stride_px=None,
        ),
        seed=0,
        dataset=MeasuredPairs(name="set", subset="all", pairs=3, pairs_sha256="0" * 64),
        descriptors=descriptors,
        versions=Versions(project="1", torch="2", opencv="5"),
        device="cpu",
    )  # fmt: skip
    result = EvaluationResult(
        fingerprint=fingerprint,
        summary=summarise(rows, fingerprint, resamples=0),
        pairs=rows,
        left_out=tuple(LeftOut("i_light", 2, "uniform", text) for text in left_out),
        problems=(),
        timings=(),
        wall_s=8.0 if finished else None,
        sources=Sources(root="/data/set"),
        folder=Path("/runs/evaluate-1"),
    )
    return merge_results([("evaluate-1", result)])


@pytest.fixture
def models(qapp, tmp_path):
    models = make_models(tmp_path / "settings.yaml")
    models.evaluation.choice.update(descriptors=("daisy",))
    return models


@pytest.fixture
def actions(asked):
    return EvaluationActions(asked, asked, asked, asked)


@pytest.fixture
def panel(qtbot, models, actions):
    made = EvaluationPanel(models, actions)
    qtbot.addWidget(made)
    made.resize(840, 360)
    models.engine.set(READY)
    made.show()
    return made


def cell(panel, line, column):
    return panel.table.item(line, column).text()


# ---- the form ----------------------------------------------------------------------------------


def test_nothing_can_be_run_before_the_engine_is_there_or_without_a_descriptor(
    qtbot, models, panel
):
    assert panel.form.run_button.isEnabled()
    models.evaluation.choice.update(descriptors=())
    assert not panel.form.run_button.isEnabled()
    assert "at least one" in panel.form.problem.sentence
    models.evaluation.choice.update(descriptors=("daisy",))
    models.engine.set(EngineState("loading"))
    assert not panel.form.run_button.isEnabled()


def test_ticks_weights_and_combos_go_into_the_model_and_into_the_job(monkeypatch, models, panel):
    rows = panel.form._rows
    assert list(rows) == ["daisy", "msnet_v0"]  # precomputed maps belong to single images
    rows["msnet_v0"].box.click()
    assert models.evaluation.choice.state.descriptors == ("daisy", "msnet_v0")
    assert rows["msnet_v0"].browse.isVisibleTo(panel.form)
    assert not rows["daisy"].browse.isVisibleTo(panel.form)
    answers = iter((None, Path("/w/a.pt")))  # first cancelled, then chosen
    monkeypatch.setattr(dialogs, "ask_file", lambda *_: next(answers))
    rows["msnet_v0"].browse.click()
    assert models.evaluation.choice.state.weights == {}
    rows["msnet_v0"].browse.click()
    assert models.evaluation.choice.state.weights == {"msnet_v0": str(Path("/w/a.pt"))}
    assert rows["msnet_v0"].weights.text() == "a.pt"
    form = panel.form
    form.subset.setCurrentIndex(form.subset.findData("540"))
    form.subset.activated.emit(form.subset.currentIndex())
    form.stress.setCurrentIndex(form.stress.findData("rotated"))
    form.stress.activated.emit(form.stress.currentIndex())
    form.protocols["dense"].click()
    assert "every place" in form.explanation.sentence
    config = models.evaluation.choice.state.config()
    assert config.dataset == "rotated:demo"
    assert config.descriptor == ("daisy", "msnet_v0=/w/a.pt")
    assert (config.subset, config.protocol) == ("540", "dense")


def test_a_device_that_is_not_listed_stays_chosen(models, panel):
    models.evaluation.choice.update(device="cuda:7")
    form = panel.form
    form.subset.setCurrentIndex(form.subset.findData("540"))
    form.subset.activated.emit(form.subset.currentIndex())
    assert models.evaluation.choice.state.subset == "540"
    assert models.evaluation.choice.state.device == "cuda:7"


def test_a_setting_out_of_range_is_named_by_the_choice():
    with pytest.raises(ConfigError, match="long_edge_px"):
        EvaluationChoice(more={"long_edge_px": 1}).config()


def test_data_sets_near_at_hand_are_listed_once_each(models, panel):
    models.settings.remember_folder("/data/one")
    models.settings.remember_folder("/data/two")
    combo = panel.form.dataset
    data = [combo.itemData(index) for index in range(combo.count())]
    assert data == ["demo", "/data/two", "/data/one"]
    models.evaluation.choice.update(dataset="/data/one")
    assert combo.currentData() == "/data/one"
    assert [combo.itemData(index) for index in range(combo.count())].count("/data/one") == 1


def an_estimate(*groups: str) -> Estimate:
    return Estimate(
        pairs=580, groups=groups, images=696, seconds=4000, maps_bytes=200_000_000, measured="x",
        device="cpu",
    )  # fmt: skip


def test_sequences_are_ticked_from_a_list_and_go_into_the_run(qtbot, models, panel):
    form, choice = panel.form, models.evaluation.choice
    assert not form.groups.isEnabled()  # what there is is not known yet
    models.evaluation.estimate.set(EstimateState(estimate=an_estimate("i_a", "v_b", "v_c")))
    assert form.groups.currentText() == "All 3 groups"
    panel.show()
    qtbot.mousePress(form.groups, Qt.MouseButton.LeftButton)
    popup = form.groups.popup
    assert popup.ticked == ("i_a", "v_b", "v_c")
    popup.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert choice.state.groups == ("v_b", "v_c")
    assert choice.state.config().group == ("v_b", "v_c")
    assert form.groups.currentText() == "2 of 3 groups"
    models.evaluation.estimate.set(EstimateState())  # it is measured again: the list stays
    assert popup.ticked == ("v_b", "v_c")
    popup.search.setText("B")
    popup.clear_button.click()
    assert choice.state.groups == ("v_c",)
    assert form.groups.currentText() == "v_c"
    popup.search.setText("v_")
    popup.clear_button.click()
    assert choice.state.groups == ("v_c",)  # nothing is no choice
    assert popup.hint.isVisible()
    popup.search.clear()
    popup.tick_button.click()
    assert choice.state.groups == ()
    assert popup.ticked == ("i_a", "v_b", "v_c")
    popup.hide()


def test_another_part_of_the_set_begins_with_all_its_groups(models, panel):
    form, choice = panel.form, models.evaluation.choice
    choice.update(groups=("v_b",))
    form.protocols["dense"].click()
    assert choice.state.groups == ("v_b",)
    form.subset.setCurrentIndex(form.subset.findData("viewpoint"))
    form.subset.activated.emit(form.subset.currentIndex())
    assert choice.state.groups == ()


def test_the_estimate_is_said_with_its_numbers_and_unknown_is_said_as_unknown(models, panel):
    assert "not known" in panel.form.estimate.sentence
    estimate = an_estimate("v_a", "v_b")
    models.evaluation.estimate.set(EstimateState(estimate=estimate))
    assert panel.form.estimate.sentence == "About 67 min for 580 pairs, and 200 MB for maps."
    models.evaluation.estimate.set(EstimateState(message="/x: does not exist."))
    assert panel.form.problem.sentence == "/x: does not exist."
    assert not panel.form.estimate.isVisibleTo(panel.form)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (7800, "2 h 10 min")],
)
def test_times_are_said_in_two_numbers_at_most(seconds, text):
    assert clock_text(seconds) == text


# ---- a run -------------------------------------------------------------------------------------


def test_a_run_under_way_shows_its_progress_and_its_means_so_far(models, panel):
    part = content(ROWS[:2], finished=False)
    models.evaluation.shown.set(ShownRun("running", part, eta_s=130))
    assert panel.status.text() == "1 of 3 pairs · 2 min left"
    assert (panel.bar.value(), panel.bar.maximum()) == (1, 3)
    models.evaluation.shown.update(done=2)  # its rows are not in the tables yet
    assert panel.status.text() == "2 of 3 pairs · 2 min left"
    assert (panel.bar.value(), panel.bar.maximum()) == (2, 3)
    assert [panel.pause_button.isVisible(), panel.cancel_button.isVisible()] == [True, True]
    assert not panel.report_button.isVisible()
    assert not panel.form.run_button.isEnabled()
    assert panel.table.columnCount() == 2, "there is no pair of the other part yet"
    assert [cell(panel, 0, column) for column in range(2)] == ["0.900", "0.900"]
    models.evaluation.shown.set(ShownRun("running", content(finished=False), eta_s=1))
    assert [cell(panel, 0, column) for column in range(3)] == ["0.667", "0.400", "0.800"]
    assert [cell(panel, 1, column) for column in range(3)] == ["0.633", "0.800", "0.550"]
    bold = [
        [panel.table.item(line, column).font().bold() for column in range(3)] for line in (0, 1)
    ]
    assert bold == [[True, False, True], [False, True, False]]


def test_another_threshold_changes_table_pairs_and_bars(models, panel):
    models.evaluation.shown.set(ShownRun("done", content()))
    assert panel.metrics.currentData() == "pck@5"
    panel.metrics.setCurrentIndex(0)
    assert cell(panel, 0, 0) == "0.333"
    assert panel.bars.model().index(0, 0).data(SCORE_ROLE).value == pytest.approx(0.4)


def test_the_chosen_threshold_stays_while_other_ones_are_offered(models, panel):
    models.evaluation.shown.set(ShownRun("done", content()))
    panel.metrics.setCurrentIndex(0)
    more = tuple(replace(one, pck=((0.5, 0.0), *one.pck)) for one in ROWS)
    models.evaluation.shown.set(ShownRun("done", content(more)))
    assert panel.metrics.currentData() == "pck@1"
    assert cell(panel, 0, 0) == "0.333"


def test_a_second_list_of_queries_can_be_chosen(models, panel):
    models.evaluation.shown.set(ShownRun("done", content()))
    assert not panel.queries.isVisible()
    both = (*ROWS, row("v_turn", 2, "daisy", 0.25, queries="uniform"))
    models.evaluation.shown.set(ShownRun("done", content(both)))
    assert panel.queries.isVisible()
    panel.queries.setCurrentIndex(panel.queries.findData("uniform"))
    assert cell(panel, 0, 0) == "0.250"
    panel.pairs_tab.click()
    assert panel.pairs.model().rowCount() == 1


def test_buttons_follow_the_stage(models, panel):
    part = content(ROWS[:2], finished=False)
    expected = {  # pause, continue, cancel, report
        "running": (True, False, True, False),
        "pausing": (True, False, True, False),
        "paused": (False, True, True, False),
        "stopped": (False, True, False, False),
        "failed": (False, True, False, False),
    }
    for stage, shown in expected.items():
        models.evaluation.shown.set(ShownRun(stage, part, message="It broke."))
        buttons = (
            panel.pause_button, panel.continue_button, panel.cancel_button, panel.report_button,
        )  # fmt: skip
        assert tuple(button.isVisible() for button in buttons) == shown, stage
    assert panel.failure.sentence == "It broke."
    models.evaluation.shown.set(ShownRun("done", content()))
    assert panel.report_button.isVisible()
    assert not panel.continue_button.isVisible()


def test_the_worst_pairs_of_one_finished_run_can_be_learned_from(models, panel, asked):
    one = content()
    two = merge_results([("a", one.results[0]), ("b", one.results[0])])
    for shown, offered in (
        (ShownRun("stopped", content(finished=False)), False),
        (ShownRun("done", two), False),
        (ShownRun("done", one), True),
    ):
        models.evaluation.shown.set(shown)
        assert panel.learn_button.isVisible() == offered
    panel.learn_button.click()
    assert asked.of("learn_from_worst") == [()]


def test_buttons_ask(models, panel, asked, monkeypatch):
    answers = iter((None, Path("/data/mine")))
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: next(answers))
    panel.form.run_button.click()
    panel.form.copy_button.click()
    panel.form.browse.click()
    panel.form.browse.click()
    models.evaluation.shown.set(ShownRun("running", content(finished=False)))
    panel.pause_button.click()
    panel.cancel_button.click()
    models.evaluation.shown.set(ShownRun("paused", content(finished=False)))
    panel.continue_button.click()
    models.evaluation.shown.set(ShownRun("done", content()))
    panel.report_button.click()
    assert [name for name, _ in asked.calls] == [
        "run", "copy_command", "use_folder", "pause", "cancel", "resume", "open_report"
    ]  # fmt: skip
    assert asked.of("use_folder") == [(Path("/data/mine"),)]
    assert asked.of("resume") == [()]


def test_warnings_and_pairs_left_out_are_told_and_counted(models, panel):
    texts = tuple(f"pair {number} is left out." for number in range(5))
    models.evaluation.shown.set(ShownRun("done", content(left_out=texts), notes=("Untrained.",)))
    assert panel.notes.sentence == "Untrained.\npair 0 is left out.\nAnd 4 more remarks."
    assert panel.notes.toolTip().count("\n") == 5


# ---- pairs -------------------------------------------------------------------------------------


def test_scores_of_sequences_are_means_and_name_the_worst_pair():
    listed = ListedRows.of(ROWS, ("daisy", "msnet_v0"), "harris")
    scores = SequenceScores(listed, ShownMetric(5.0))
    found = [(s.sequence, s.label, round(s.value, 3), s.pairs, s.worst, s.first) for s in scores]
    assert found == [
        ("i_light", "daisy", 0.8, 2, 3, True),
        ("i_light", "msnet_v0", 0.55, 2, 2, False),
        ("v_turn", "daisy", 0.4, 1, 2, True),
        ("v_turn", "msnet_v0", 0.8, 1, 2, False),
    ]


def test_a_click_on_a_bar_asks_for_the_worst_pair_of_that_sequence(qtbot, models, panel, asked):
    models.evaluation.shown.set(ShownRun("done", content()))
    index = panel.bars.model().index(1, 0)
    where = panel.bars.visualRect(index).center()
    qtbot.mouseClick(panel.bars.viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.keyClick(panel.bars, Qt.Key.Key_Up)
    qtbot.keyClick(panel.bars, Qt.Key.Key_Return)
    assert asked.of("open_pair") == [("i_light", 2, "msnet_v0", 5.0), ("i_light", 3, "daisy", 5.0)]


def test_pairs_are_listed_worst_first_and_a_click_asks_for_one(qtbot, models, panel, asked):
    models.evaluation.shown.set(ShownRun("done", content()))
    panel.pairs_tab.click()
    table = panel.pairs
    texts = [table.model().index(line, 2).data() for line in range(6)]
    assert texts == sorted(texts)
    where = table.visualRect(table.model().index(0, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.keyClick(table, Qt.Key.Key_Down)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert asked.of("open_pair") == [("v_turn", 2, "daisy", 5.0), ("i_light", 2, "msnet_v0", 5.0)]


def test_thousands_of_pairs_follow_another_threshold_at_once(models, panel):
    many = tuple(
        row(f"v_{sequence}", index, "daisy", (sequence * 7 + index) % 100 / 100)
        for sequence in range(400)
        for index in range(2, 7)
    )
    models.evaluation.shown.set(ShownRun("done", content(many)))
    panel.pairs_tab.click()
    began_s = time.perf_counter()
    panel.metrics.setCurrentIndex(0)
    assert time.perf_counter() - began_s < 10.0  # minutes, if each cell laid the columns out again
    shares = [float(panel.pairs.model().index(line, 2).data()) for line in range(len(many))]
    assert shares == sorted(shares)


def test_the_selected_pair_stays_selected_while_the_run_goes_on(models, panel):
    models.evaluation.shown.set(ShownRun("running", content(ROWS[:4], finished=False)))
    panel.pairs_tab.click()
    panel.pairs.setCurrentIndex(panel.pairs.lines.index(0, 0))
    before = panel.pairs.currentIndex().data()
    models.evaluation.shown.set(ShownRun("running", content(finished=False)))
    assert panel.pairs.model().rowCount() == 6
    assert panel.pairs.currentIndex().data() == before


def test_what_a_worker_has_collected_is_shown_and_not_collected_again(models, panel, monkeypatch):
    shown = content()
    tables = ResultTables.of(shown)
    for name in ("pairs", "titles", "left_out", "done"):
        monkeypatch.delattr(type(shown), name)
    models.evaluation.shown.set(ShownRun("done", shown, tables))
    panel.pairs_tab.click()
    for place in range(panel.metrics.count()):
        panel.metrics.setCurrentIndex(place)
    assert panel.pairs.model().rowCount() == 6
    assert panel.bars.model().rowCount() == 4
    drawn = []
    monkeypatch.setattr(panel.bars, "show_scores", lambda *_: drawn.append(1))
    models.evaluation.shown.update(reporting=True)
    assert panel.status.text().endswith("writing the report…")
    assert not drawn  # the same results


def test_home_and_end_go_to_the_first_and_the_last_pair(qtbot, models, panel):
    models.evaluation.shown.set(ShownRun("done", content()))
    panel.pairs_tab.click()
    for key, row in ((Qt.Key.Key_End, 5), (Qt.Key.Key_Home, 0)):
        qtbot.keyClick(panel.pairs, key)
        assert panel.pairs.currentIndex().row() == row


def test_values_are_found_wherever_a_row_has_them():
    rows = tuple(
        replace(ROWS[0], metrics=metrics)
        for metrics in (
            (("aepe", 1.0), ("ap", 2.0)),
            (("ap", 3.0), ("aepe", 4.0)),
            (("ap", 5.0),),
            (("aepe", None), ("ap", 6.0)),
            (),
            (("aepe", 7.0),),
        )
    )
    for metric in (ShownMetric(5.0, "aepe"), ShownMetric(5.0, "ap"), ShownMetric(5.0)):
        one_by_one = [metric.of_pair(row) for row in rows]
        wanted = [math.nan if value is None else value for value in one_by_one]
        np.testing.assert_array_equal(metric.of_pairs(rows), wanted)
    assert ShownMetric(2.0).of_pairs(rows).tolist() == [0.0] * 6  # measured at 1 and 5 px


def test_the_worst_of_equal_pairs_is_the_first_and_pairs_without_a_value_do_not_count():
    values = {2: 3.0, 3: 9.0, 4: 9.0, 5: None}
    rows = tuple(
        replace(ROWS[0], index=index, metrics=(("aepe", value),))
        for index, value in reversed(values.items())
    )
    unknown = replace(ROWS[4], metrics=(("aepe", None),))
    listed = ListedRows.of((*rows, unknown), ("msnet_v0", "daisy"), "harris")
    (score,) = SequenceScores(listed, ShownMetric(5.0, "aepe"))
    assert (score.pairs, score.value, score.worst, score.worst_value) == (3, 7.0, 3, 9.0)
    assert (score.series, score.label, score.first, score.reach) == (1, "daisy", True, 9.0)


# ---- other metrics -----------------------------------------------------------------------------

AUC = "corner_error[MAGSAC++ 3 px]"
MEASURED = tuple(
    replace(one, metrics=(("aepe", aepe), ("mma@3", aepe / 20), (AUC, corner)))
    for one, aepe, corner in zip(
        ROWS, (2.0, 4.0, 8.0, 12.0, 6.0, 3.0), (1.0, None, 2.0, 30.0, 4.0, 0.5), strict=True
    )
)


def measured_content():
    plain = content(MEASURED)
    result = plain.results[0]
    metrics = sum_metrics_up(MEASURED, result.fingerprint, resamples=0)
    return merge_results([("run", replace(result, metrics=metrics))])


def test_every_measured_metric_can_be_shown_behind_pck(models, panel):
    models.evaluation.shown.set(ShownRun("done", measured_content()))
    texts = [panel.metrics.itemText(place) for place in range(panel.metrics.count())]
    assert texts == [
        "PCK ≤ 1 px", "PCK ≤ 5 px", "AEPE (px)", "MMA@3",
        *(f"Corner AUC@{limit} (MAGSAC++ 3 px)" for limit in (1, 3, 5, 10)),
    ]  # fmt: skip
    assert panel.metrics.currentText() == "PCK ≤ 5 px"
    tip = panel.metrics.itemData(2, Qt.ItemDataRole.ToolTipRole)
    assert tip == "Mean distance of match and truth over all pixels that both images show."


def test_of_an_error_the_lowest_mean_is_bold_and_the_largest_pair_comes_first(models, panel):
    models.evaluation.shown.set(ShownRun("done", measured_content()))
    panel.metrics.setCurrentIndex(panel.metrics.findText("AEPE (px)"))
    assert panel.table.item(0, 0).text() == f"{16 / 3:.3f}"
    assert panel.table.item(1, 0).text() == f"{19 / 3:.3f}"
    assert panel.table.item(0, 0).font().bold()
    assert not panel.table.item(1, 0).font().bold()
    panel.pairs_tab.click()
    model = panel.pairs.model()
    assert panel.pairs.lines.title(2) == "AEPE (px)"
    shown = [model.index(line, 2).data() for line in range(6)]
    assert shown == ["12.0", "8.000", "6.000", "4.000", "3.000", "2.000"]
    first = panel.bars.model().index(0, 0).data(SCORE_ROLE)
    assert (first.value, first.worst, first.worst_value, first.reach) == (5.0, 3, 8.0, 12.0)


def test_of_an_area_pairs_show_their_errors_and_failures_come_first(models, panel, asked):
    models.evaluation.shown.set(ShownRun("done", measured_content()))
    panel.metrics.setCurrentIndex(panel.metrics.findText("Corner AUC@5 (MAGSAC++ 3 px)"))
    # Of daisy: errors of 1, 2 and 4 px; rises to 1/3 at 1, 2/3 at 2, 1 at 4, level up to 5.
    area = (1 / 6 + 1 / 2 + 2 * 5 / 6 + 1) / 5
    assert panel.table.item(0, 0).text() == f"{area:.3f}"
    panel.pairs_tab.click()
    model = panel.pairs.model()
    shown = [model.index(line, 2).data() for line in range(6)]
    assert shown == ["–", "30.0", "4.000", "2.000", "1.000", "0.500"]
    assert panel.pairs.lines.title(2) == "Corner error (px)"
    assert panel.metrics.toolTip().startswith("Corner AUC@5 (MAGSAC++ 3 px)\nArea under")
    panel._on_pair("i_light", 2, "daisy")
    assert asked.of("open_pair") == [("i_light", 2, "daisy", 5.0)]


def test_areas_of_one_error_sort_pairs_once():
    both = measured_content()
    keys = [one.key for one in sorting_metrics(both, "harris")]
    assert keys == ["pck@1", "pck@5", "aepe", "mma@3", "corner_auc@1[MAGSAC++ 3 px]"]
    assert len(shown_metrics(both, "harris")) == 8


# ---- the past ----------------------------------------------------------------------------------


def run_info(name, **changes):
    config = EvaluateConfig(dataset="/data/hpatches", descriptor=("daisy", "msnet_v0=/w.pt"))
    values = {"began_s": 1e9, "config": config, "done": 4, "total": 4, "finished": True}
    return RunInfo(folder=Path("/runs") / name, **{**values, **changes})


RUNS = (
    run_info("evaluate-3"),
    run_info("evaluate-2", done=1, finished=False),
    run_info("evaluate-1"),
    run_info("evaluate-0", problem="/runs/evaluate-0: is damaged."),
)


@pytest.fixture
def runs(panel, models):
    models.evaluation.runs.set(RUNS)
    panel.past_tab.click()
    return panel.runs


def choose(runs, *lines):
    runs.list.clearSelection()
    for line in lines:
        runs.list.item(line).setSelected(True)


def test_past_runs_are_named_and_counted(panel, runs):
    assert panel.past_tab.text() == "Past runs (4)"
    assert runs.list.item(0).text() == "daisy, msnet_v0 on hpatches"
    spoken = [runs.list.item(line).data(Qt.ItemDataRole.AccessibleTextRole) for line in range(4)]
    assert "closed · 4 pairs" in spoken[0]
    assert "closed · 1 of 4 pairs" in spoken[1]
    assert "Cannot be read" in spoken[3]


def test_one_selected_run_is_shown_several_are_compared(runs, asked):
    choose(runs, 0)
    assert asked.of("show") == [([RUNS[0].folder],)]
    assert not runs.compare_button.isEnabled()
    choose(runs, 0, 2)
    assert runs.compare_button.isEnabled()
    asked.calls.clear()
    runs.compare_button.click()
    assert asked.of("show") == [([RUNS[0].folder, RUNS[2].folder],)]
    choose(runs, 0, 1)  # one of them is not finished
    assert not runs.compare_button.isEnabled()


def test_only_an_unfinished_run_can_be_continued(runs, models, asked):
    choose(runs, 0)
    assert not runs.continue_button.isEnabled()
    choose(runs, 1)
    runs.continue_button.click()
    assert asked.of("resume") == [(RUNS[1].folder,)]
    models.evaluation.shown.set(ShownRun("running", content(finished=False)))
    assert not runs.continue_button.isEnabled()


def test_runs_are_deleted_by_button_or_key_and_can_be_restored(qtbot, runs, models, asked):
    choose(runs, 0, 3)
    runs.delete_button.click()
    choose(runs, 1)
    qtbot.keyClick(runs.list, Qt.Key.Key_Delete)
    assert asked.of("delete") == [([RUNS[0].folder, RUNS[3].folder],), ([RUNS[1].folder],)]
    assert not runs.undo_button.isVisible()
    models.evaluation.deleted.set((Deleted(Path("/trash/a"), Path("/runs/a")),))
    assert runs.deleted.sentence == "1 run is in the trash."
    runs.undo_button.click()
    assert len(asked.of("undo_delete")) == 1


def test_the_list_keeps_its_selection_when_it_is_read_again(runs, models):
    choose(runs, 2)
    models.evaluation.runs.set((run_info("evaluate-4"), *RUNS))
    assert runs.selected() == [RUNS[2].folder]


# ---- the download ------------------------------------------------------------------------------


def test_the_download_dialog_follows_the_download(models, panel, asked, monkeypatch, tmp_path):
    monkeypatch.setenv("DESCGUI_DATA", str(tmp_path / "not" / "there"))
    panel.form.download.click()
    dialog = panel.form.download_dialog
    assert "not/there/hpatches-sequences-release" in dialog.place.sentence
    dialog.load_button.click()
    assert asked.of("download") == [(tmp_path / "not" / "there",)]
    model = models.evaluation.download
    model.set(DownloadState(Stage.DOWNLOADING))
    assert dialog.status.sentence == "Connecting…"
    model.set(DownloadState(Stage.DOWNLOADING, 300, 1300, 10.0))
    assert dialog.status.sentence == "300 of 1300 MB · 10.0 MB/s · 2 min left"
    assert (dialog.bar.value(), dialog.bar.maximum()) == (300, 1300)
    dialog.cancel_button.click()
    assert len(asked.of("cancel")) == 1
    model.set(DownloadState("stopped"))
    assert "kept" in dialog.status.sentence
    assert dialog.load_button.text() == "Try again"
    model.set(DownloadState("failed", message="No address gave a usable archive."))
    assert dialog.failure.sentence == "No address gave a usable archive."
    model.set(DownloadState(Stage.CHECKING_DOWNLOAD, 5, 7))
    assert dialog.status.sentence == "Checking: 5 of 7 MB"
    model.set(DownloadState(Stage.UNPACKING, 5, None))
    assert dialog.status.sentence == "Unpacking: 5 of ? files"
    model.set(DownloadState("done", folder=tmp_path))
    assert not dialog.load_button.isVisible()


def test_another_place_for_the_download_can_be_chosen(panel, asked, monkeypatch, tmp_path):
    panel.form.download.click()
    dialog = panel.form.download_dialog
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: tmp_path / "disk")
    dialog.place_button.click()
    assert "disk/hpatches-sequences-release" in dialog.place.sentence
    dialog.load_button.click()
    assert asked.of("download") == [(tmp_path / "disk",)]


def test_a_folder_of_ones_own_is_offered_beside_the_download(panel, asked, monkeypatch, tmp_path):
    panel.form.download.click()
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: tmp_path)
    panel.form.download_dialog.folder_button.click()
    assert asked.of("use_folder") == [(tmp_path,)]
    assert not panel.form.download_dialog.isVisible()


def test_every_control_has_a_name_for_those_who_do_not_see_it(panel):
    from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QComboBox

    for kind in (QAbstractButton, QComboBox, QAbstractItemView):
        for control in panel.findChildren(kind):
            if control.isVisible() and not control.objectName().startswith("qt_"):
                inner = isinstance(control.parent(), QComboBox | QAbstractItemView)
                named = control.accessibleName() or getattr(control, "text", str)()
                assert inner or named, control


def test_the_model_knows_whether_the_panel_is_visible(models, panel):
    assert models.evaluation.visible.state
    panel.hide()
    assert not models.evaluation.visible.state


def test_the_panel_draws_in_its_least_size_and_with_long_names(qtbot, models, panel):
    rows = tuple(replace(one, descriptor=one.descriptor * 9) for one in ROWS)
    labels = [label * 9 for label in content().labels]
    models.evaluation.shown.set(ShownRun("done", content(rows, labels=labels)))
    panel.resize(panel.minimumSizeHint())
    assert not panel.grab().isNull()
    assert panel.bars.indexAt(QPoint(5, 5)).isValid()
    assert panel.bars.mapTo(panel, QPoint(0, 0)).y() > panel.table.mapTo(panel, QPoint(0, 0)).y()
    assert panel.bars.mapTo(panel, QPoint(panel.bars.width(), 0)).x() <= panel.width()
    panel.resize(1000, 360)
    assert panel.bars.mapTo(panel, QPoint(0, 0)).x() > panel.table.mapTo(panel, QPoint(0, 0)).x()


def test_the_form_says_which_weights_are_used_where_no_file_is_chosen(models, panel):
    list_descriptors()
    names = ("descspace", "superpoint")
    entries = (DescriptorChoiceInfo(name, name, "", "built-in", True, ()) for name in names)
    models.engine.set(EngineState("ready", tuple(entries)))
    models.evaluation.choice.update(descriptors=names)
    rows = panel.form._rows
    assert rows["descspace"].weights.text() == "Weights: as shipped"
    assert rows["superpoint"].weights.text() == "Weights: no file chosen"


# ---- copying -----------------------------------------------------------------------------------


def copied(panel, asked, text):
    """The table that a click on an entry of the menu asks for, and its kind."""
    (entry,) = (one for one in panel.copy_button.menu().actions() if one.text() == text)
    entry.trigger()
    return asked.of("copy_table")[-1]


def test_the_means_are_copied_as_they_are_shown(models, panel, asked):
    models.evaluation.shown.set(ShownRun("done", content()))
    kind, table = copied(panel, asked, "Copy as Markdown")
    assert kind == "markdown"
    assert [one.title for one in table.columns] == [
        "descriptor", "all", "viewpoint", "illumination",
    ]  # fmt: skip
    assert [[one.text for one in row] for row in table.rows] == [
        ["daisy", "0.667", "0.400", "0.800"],
        ["msnet_v0", "0.633", "0.800", "0.550"],
    ]
    assert [[one.strong for one in row] for row in table.rows] == [
        [False, True, False, True],
        [False, False, True, False],
    ]
    assert table.caption.startswith("PCK ≤ 5 px, harris queries, daisy, msnet_v0")


def test_the_pairs_are_copied_in_the_order_on_display(models, panel, asked):
    models.evaluation.shown.set(ShownRun("done", content()))
    panel.pairs_tab.click()
    kind, table = copied(panel, asked, "Copy as CSV")
    assert kind == "csv"
    shares = [row[2].text for row in table.rows]
    assert shares == sorted(shares)
    assert [one.text for one in table.rows[0]] == ["v_turn 1 → 2", "daisy", "0.400", "100"]
    panel.pairs.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    _, table = copied(panel, asked, "Copy as LaTeX")
    assert [row[2].text for row in table.rows] == shares[::-1]


def test_a_right_click_on_either_table_offers_the_same(panel):
    texts = [one.text() for one in panel.copy_button.menu().actions()]
    for table in (panel.table, panel.pairs):
        assert table.contextMenuPolicy() == Qt.ContextMenuPolicy.ActionsContextMenu
        assert [one.text() for one in table.actions()] == texts


def test_nothing_is_copied_where_nothing_is_shown(panel, asked):
    panel.copy_button.menu().actions()[0].trigger()
    assert not asked.calls
