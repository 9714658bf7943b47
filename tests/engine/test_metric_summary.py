"""The field's metrics over many pairs, against plain resampling, and in files."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.evaluation.metric_summary import (
    MetricRow,
    metric_columns,
    metric_gaps,
    summarise_metrics,
    weighted_auc,
)
from engine.evaluation.metrics.calibration import calibration_error, precision_at_recall
from engine.evaluation.metrics.recall_auc import recall_auc
from engine.evaluation.pck import bootstrap_mean
from engine.evaluation.result import NamedValues, PairRow

AUC = "corner_error[MAGSAC++ 3 px]"


def row(group: str, index: int, metrics: NamedValues, *, count: int = 10, queries: str = "harris"):
    return PairRow(
        descriptor="daisy", sequence=group, index=index, queries=queries,  # type: ignore[arg-type]
        count=count, pck=((5.0, 0.5),), counts_within=(0,) * 21, metrics=metrics,
    )  # fmt: skip


def some_rows(seed: int, groups: int = 7) -> list[PairRow]:
    random = np.random.default_rng(seed)
    return [
        row(
            f"g{group}", index,
            (
                ("aepe", float(random.exponential(3))),
                (AUC, None if random.random() < 0.2 else float(random.exponential(4))),
                ("pck_box@0.1", float(random.random())),
            ),
            count=int(random.integers(1, 40)),
        )
        for group in range(groups)
        for index in range(2, 2 + int(random.integers(1, 5)))
    ]  # fmt: skip


def summed(rows: list[PairRow], resamples: int = 0) -> dict[str, MetricRow]:
    found = summarise_metrics({"all": rows}, ["daisy"], ["harris"], seed=0, resamples=resamples)
    return {one.metric: one for one in found}


def test_means_areas_and_shares_of_points_are_those_of_plain_sums():
    rows = some_rows(0)
    found = summed(rows)
    values = [dict(one.metrics) for one in rows]
    assert found["aepe"].value == pytest.approx(
        math.fsum(one["aepe"] or 0 for one in values) / len(rows), abs=1e-9
    )
    for limit in (1, 3, 5, 10):
        area = recall_auc([one[AUC] for one in values], limit)
        assert found[f"corner_auc@{limit}[MAGSAC++ 3 px]"].value == area
    per_image = math.fsum(one["pck_box@0.1"] or 0 for one in values) / len(rows)
    right = math.fsum(
        (one["pck_box@0.1"] or 0) * r.count for one, r in zip(values, rows, strict=True)
    )
    assert found["pck_box@0.1"].value == pytest.approx(per_image, abs=1e-9)
    per_point = right / sum(one.count for one in rows)
    assert found["pck_box_points@0.1"].value == pytest.approx(per_point, abs=1e-9)
    assert found["pck_box@0.1"].queries == found["pck_box_points@0.1"].queries == "harris"
    assert found["aepe"].queries is None
    assert {one.pairs for one in found.values()} == {len(rows)}


def sure_row(group: str, index: int, confidences: tuple[tuple[int, int, int], ...]) -> PairRow:
    metrics = (("calibration_error", 0.5), ("precision_at_recall@80", None))
    return replace(row(group, index, metrics, count=99), confidences=confidences)


def test_confidences_of_all_pairs_are_judged_together_and_drawn_by_groups():
    rows = [
        sure_row("one", 2, ((0, 10, 0), (90, 20, 20))),
        sure_row("one", 3, ((90, 10, 7),)),
        sure_row("two", 2, ((40, 30, 3), (100, 5, 5))),
        sure_row("none", 2, ()),
    ]
    found = summed(rows, 50)

    def measured(chosen: list[PairRow]) -> tuple[float, float]:
        counts = np.zeros((101, 2))
        for one in chosen:
            for percent, count, right in one.confidences:
                counts[percent] += count, right
        return float(calibration_error(counts)), float(precision_at_recall(counts, 0.8))

    error, precision = found["calibration_error"], found["precision_at_recall@80"]
    assert (error.value, precision.value) == pytest.approx(measured(rows))
    assert (error.pairs, error.sequences, error.queries) == (3, 2, "harris")
    drawn = np.random.default_rng(0).integers(3, size=(50, 3))
    names = sorted({one.sequence for one in rows})
    several = [[one for at in draw for one in rows if one.sequence == names[at]] for draw in drawn]
    values = np.array([measured(one) for one in several])
    for place, metric in enumerate((error, precision)):
        known = values[:, place][~np.isnan(values[:, place])]
        assert metric.ends == pytest.approx(tuple(np.percentile(known, (2.5, 97.5))))
    unsure = summed([sure_row("one", 2, ((10, 4, 0),))])
    assert unsure["precision_at_recall@80"].value is None


def test_intervals_are_those_of_plain_resampling_of_whole_groups():
    rows, resamples = some_rows(1), 400
    found = summed(rows, resamples)
    groups = [one.sequence for one in rows]
    aepe = [dict(one.metrics)["aepe"] or 0.0 for one in rows]
    expected = bootstrap_mean(aepe, groups, seed=0, resamples=resamples)
    assert found["aepe"].ends == pytest.approx(expected.ends)
    names = sorted(set(groups))
    generator, areas, shares = np.random.default_rng(0), [], []
    for begin in range(0, resamples, 256):
        for draw in generator.integers(len(names), size=(min(256, resamples - begin), len(names))):
            drawn = [one for number in draw for one in rows if one.sequence == names[number]]
            areas.append(recall_auc([dict(one.metrics)[AUC] for one in drawn], 5))
            right = sum((dict(one.metrics)["pck_box@0.1"] or 0) * one.count for one in drawn)
            shares.append(right / sum(one.count for one in drawn))
    for name, plain in (("corner_auc@5[MAGSAC++ 3 px]", areas), ("pck_box_points@0.1", shares)):
        assert found[name].ends == pytest.approx(np.percentile(plain, (2.5, 97.5)), abs=1e-9)


@pytest.mark.parametrize("threshold", [1.0, 5.0, 100.0])
def test_the_area_of_repeated_errors_is_that_of_the_list_with_repetitions(threshold: float):
    random = np.random.default_rng(3)
    errors = np.append(random.exponential(4, 30).round(1), [np.inf, 0.0, 5.0])
    times = random.integers(0, 4, (20, 33)).astype(float)
    times[0] = 0
    areas = weighted_auc(errors, times, threshold)
    assert math.isnan(areas[0])
    for area, some in zip(areas[1:], times[1:], strict=True):
        repeated = np.repeat(errors, some.astype(int))
        assert area == pytest.approx(recall_auc(repeated.tolist(), threshold), abs=1e-9)


def test_missing_values_are_left_out_of_means_and_failures_stay_in_areas():
    rows = [
        row("a", 2, (("aepe", 2.0), (AUC, None))),
        row("b", 2, (("aepe", None), (AUC, 0.0))),
        row("c", 2, ()),  # no homography is known
    ]
    found = summed(rows)
    assert (found["aepe"].value, found["aepe"].pairs) == (2.0, 1)
    area = found["corner_auc@5[MAGSAC++ 3 px]"]
    assert (area.value, area.pairs, area.sequences) == (0.5, 2, 2)
    nothing = summed([row("a", 2, (("aepe", None),))])["aepe"]
    assert (nothing.value, nothing.ends, nothing.pairs) == (None, None, 0)
    assert summed([row("a", 2, ())]) == {}


def test_a_metric_of_the_pair_counts_once_whatever_lists_of_queries_there_are():
    rows = [row("a", 2, (("aepe", 2.0),)), row("a", 2, (("aepe", 2.0),), queries="uniform")]
    rows += [row("b", 2, (("aepe", 5.0),), queries="uniform")]  # its Harris list was empty
    found = summarise_metrics({"all": rows}, ["daisy"], ["harris", "uniform"], seed=0, resamples=0)
    assert [(one.metric, one.queries, one.value, one.pairs) for one in found] == [
        ("aepe", None, 3.5, 2)
    ]


def test_columns_come_in_the_order_of_the_catalogue():
    rows = [
        row("a", 2, ((AUC, 1.0), ("mma@10", 0.5), ("mma@2", 0.5))),
        row("b", 2, (("aepe", 1.0),)),
    ]
    assert metric_columns(rows) == ("aepe", "mma@2", "mma@10", AUC)


def test_what_the_truth_does_not_tell_is_said_once_for_each_metric():
    rows = [row("a", 2, ((AUC, 1.0),)), row("b", 2, ())]
    assert list(metric_gaps(rows, ("homography", "pose"))) == [
        "Corner error: of 1 of 2 pairs only, whose truth is a homography.",
        "Pose error: no pair's truth knows both cameras.",
    ]
    assert list(metric_gaps(rows, ())) == list(metric_gaps([], ("pose",))) == []


def test_rows_with_metrics_come_back_from_their_file_and_older_rows_have_none():
    one = replace(row("a", 2, (("aepe", 1.5), (AUC, None))), properties=(("scale", 2.0),))
    values = one.to_json()
    assert values["metrics"] == {"aepe": 1.5, AUC: None}
    assert PairRow.from_json(values) == one
    older = row("a", 2, ()).to_json()
    assert "metrics" not in older
    assert "properties" not in older
    assert PairRow.from_json(older).metrics == ()
