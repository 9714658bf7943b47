"""What a report says of the field's metrics and of slices, against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from engine.evaluation.comparison import merge_results
from engine.evaluation.fingerprint import Fingerprint
from engine.evaluation.metric_summary import MetricRow
from engine.evaluation.report import Cell, Table
from engine.evaluation.report_figures import write_curves
from engine.evaluation.report_html import write_report_html
from engine.evaluation.report_metrics import (
    definition_tables,
    metric_tables,
    slice_tables,
)
from engine.evaluation.report_prose import build_report
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import (
    EvaluationResult,
    NamedValues,
    PairRow,
    Sources,
    sum_metrics_up,
    summarise,
)
from engine.evaluation.slices import SLICINGS, slice_rows

AUC = "corner_error[MAGSAC++ 3 px]"
# Per pair: scale, angle, share at 5 px, AEPE, corner error.
PAIRS = {
    "v_a": ((1.2, 3.0, 0.9, 1.0, 0.5), (0.5, -170.0, 0.3, 8.0, None)),
    "v_b": ((3.0, 20.0, 0.5, 4.0, 2.0), (1.25, -15.0, 0.7, 2.0, 1.0)),
    "v_c": ((5.0, 91.0, 0.1, 20.0, 40.0), (0.0, 0.0, 0.0, 30.0, None)),
}


def rows_of(label: str, worse: float) -> tuple[PairRow, ...]:
    rows = []
    for name, pairs in PAIRS.items():
        for index, (scale, angle, share, aepe, corner) in enumerate(pairs, start=2):
            metrics: NamedValues = (("aepe", aepe + worse), (AUC, corner))
            rows.append(
                PairRow(
                    descriptor=label, sequence=name, index=index, queries="harris", count=10,
                    pck=((5.0, share),), counts_within=(0,) * 21, metrics=metrics,
                    properties=(("scale", scale), ("angle_deg", angle), ("overlap", None),
                                ("texture", 1.0)),
                    precision=tuple(share * (1 - step / 50) for step in range(51)) * (index == 2),
                )
            )  # fmt: skip
    return tuple(rows)


def result_of(label: str, worse: float = 0.0) -> EvaluationResult:
    fingerprint = Fingerprint.from_json({
        "protocol": "dense", "thresholds_px": [5.0], "matcher": "exact",
        "sampler": {"queries": ["harris"], "query_limit": 10, "long_edge_px": 640,
                    "grid_stride_px": 4},
        "seed": 0,
        "dataset": {"name": "set", "subset": "all", "pairs": 6, "pairs_sha256": "0" * 64},
        "descriptors": [{
            "label": label, "name": "daisy", "config": {}, "weights_sha256": None, "trained": True,
            "levels": 1, "dim": 8, "matcher": "exact", "precision": "float32",
        }],
        "versions": {"project": "1", "torch": "2", "opencv": "5"},
        "device": "cpu",
        "metrics": {"chosen": ["dense", "homography", "pose"], "grid_stride_px": 4,
                    "refined": False, "found_on": "grid", "keypoint_limit": 9,
                    "estimator": "opencv", "inlier_px": 3.0},
    })  # fmt: skip
    rows = rows_of(label, worse)
    return EvaluationResult(
        fingerprint=fingerprint, summary=summarise(rows, fingerprint), pairs=rows, left_out=(),
        problems=(), timings=(), wall_s=1.0, sources=Sources(),
        metrics=sum_metrics_up(rows, fingerprint),
    )  # fmt: skip


@pytest.fixture(scope="module")
def stats() -> Statistics:
    results = [("one", result_of("good")), ("two", result_of("bad", worse=3.0))]
    return Statistics(merge_results(results))


def cells_by(table: Table, **keys: str) -> list[Cell]:
    return [
        cell
        for row in table.rows
        for cell in row
        if all(cell.keys.get(name) == value for name, value in keys.items())
    ]


def test_precision_over_recall_is_the_mean_of_the_pairs_that_have_it(
    stats: Statistics, tmp_path: Path
):
    report = build_report(stats, worst=(), command="")
    (block,) = report.precision
    (plot,) = block.figures
    assert plot.content is not None
    good, bad = plot.content.curves
    first = (0.9 + 0.5 + 0.1) / 3  # at recall 0, of the first pair of each sequence
    assert good.ys == pytest.approx([first * (1 - step / 50) for step in range(51)])
    assert good.xs[::25] == (0.0, 0.5, 1.0)
    assert (good.name, bad.name, plot.content.x_label) == ("good", "bad", "recall")
    write_report_html(tmp_path / "report.html", report)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Precision over recall" in page
    assert [one.name for one in write_curves(tmp_path, report.every_curve, "pdf")] == [
        "pck-harris-queries-all.pdf", "precision-over-recall-all.pdf"
    ]  # fmt: skip


def test_without_matches_as_found_there_is_no_curve_of_precision(tmp_path: Path):
    one = result_of("good")
    bare = replace(one, pairs=tuple(replace(row, precision=()) for row in one.pairs))
    report = build_report(Statistics(merge_results([("one", bare)])), worst=(), command="")
    assert report.precision == ()
    write_report_html(tmp_path / "report.html", report)
    assert "Precision over recall" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_table_of_pairs_has_a_row_for_each_metric_and_marks_the_best(stats: Statistics):
    (table,) = metric_tables(stats)
    assert [row[0].text for row in table.rows] == [
        "AEPE (px)", *(f"corner AUC@{limit} (MAGSAC++ 3 px)" for limit in (1, 3, 5, 10))
    ]  # fmt: skip
    (good,) = cells_by(table, metric="aepe", descriptor="good", subset="all")
    (bad,) = cells_by(table, metric="aepe", descriptor="bad", subset="all")
    assert (good.text, bad.text) == (f"{65 / 6:.1f}", f"{65 / 6 + 3:.1f}")
    assert (good.strong, bad.strong) == (True, False)
    assert good.detail.startswith("[")
    assert table.rows[0][3].text == "6"


def test_only_what_was_measured_is_defined_each_with_its_source(stats: Statistics):
    (table,) = definition_tables(stats)
    assert [row[0].text for row in table.rows] == ["AEPE", "corner AUC@t"]
    assert all(cell.text for row in table.rows for cell in row)


def test_what_could_not_be_measured_is_said(stats: Statistics):
    assert stats.merged.unmeasured == ("Pose error: no pair's truth knows both cameras.",)


def test_slices_are_means_over_the_pairs_of_each_band(stats: Statistics):
    tables = {table.name: table for table in slice_tables(stats)}
    assert set(tables) == {"slices-pck", "slices-aepe", "slices-corner_auc@5[MAGSAC++ 3 px]"}
    bands = {row[0].text: row for row in tables["slices-aepe"].rows if len(row) > 1}
    # Of scale: 1.2 and 1.25; 0.5; 3; 5 and 0, which is no scale.
    assert bands["up to 1.25×"][1].text == "1.500"
    assert bands["1.25 to 2×"][1].text == "8.000"
    assert bands["2 to 4×"][1].text == "4.000"
    assert bands["over 4×"][1].text == "25.0"
    # Of angle: 3, -15 and 0; 20; none; -170 and 91.
    assert bands["up to 15°"][1].text == f"{33 / 3:.1f}"
    assert bands["over 90°"][1].text == f"{28 / 2:.1f}"
    assert "45 to 90°" not in bands
    assert [row[-1].text for row in tables["slices-pck"].rows if len(row) > 1] == [
        "2", "1", "1", "2", "3", "1", "2"
    ]  # fmt: skip
    areas = {row[0].text: row for row in tables["slices-corner_auc@5[MAGSAC++ 3 px]"].rows}
    # One error of 2 px: rises to 1 at 2 px, level up to 5.
    assert areas["2 to 4×"][1].text == f"{(1 + 3) / 5:.3f}"
    assert areas["over 4×"][1].text == "0.000"
    # A property that no pair differs in, or whose truth does not tell, makes no slices.
    assert not any("texture" in row[0].text or "overlap" in row[0].text for row in areas.values())


def test_parts_of_the_set_are_slices_and_many_of_them_leave_one_table(stats: Statistics):
    one = result_of("good")
    rows = tuple(replace(row, subset=f"part {row.sequence}") for row in one.pairs)
    metrics = sum_metrics_up(rows, one.fingerprint)
    summary = summarise(rows, one.fingerprint)
    parted = replace(one, pairs=rows, metrics=metrics, summary=summary)
    apart = Statistics(merge_results([("one", parted), ("two", replace(parted))]))
    (table,) = metric_tables(apart)  # 4 subsets of 2 descriptors would be 8 columns
    assert {column.group for column in table.columns} == {"", "all"}
    slices = {table.name: table for table in slice_tables(apart)}["slices-aepe"]
    places = [row[0].text for row in slices.rows]
    first = places.index("part of the set")
    assert [(row[0].text, row[1].text) for row in slices.rows[first + 1 :]] == [
        ("part v_a", "4.500"), ("part v_b", "3.000"), ("part v_c", "25.0")
    ]  # fmt: skip


def test_a_bound_belongs_to_the_band_below_and_unknown_rows_to_none():
    scale = next(one for one in SLICINGS if one.name == "scale")
    row = rows_of("x", 0)[0]
    for value, band in ((1.25, "up to 1.25×"), (0.8, "up to 1.25×"), (2.01, "2 to 4×")):
        assert scale.band(replace(row, properties=(("scale", value),))) == band
    assert scale.band(replace(row, properties=(("scale", None),))) is None
    assert scale.band(replace(row, properties=())) is None
    assert slice_rows([replace(row, properties=())], scale) == {}
    assert all(len(one.labels) == len(one.bounds) + 1 for one in SLICINGS)
    assert math.isinf(scale.measure(0.0))


def test_labels_that_two_runs_share_are_told_apart_in_metrics_too():
    merged = merge_results([("one", result_of("daisy")), ("two", result_of("daisy"))])
    assert {row.descriptor for row in merged.metrics} == {"daisy (one)", "daisy (two)"}
    assert isinstance(merged.metrics[0], MetricRow)


def test_the_page_shows_metrics_definitions_slices_and_remarks(stats: Statistics, tmp_path: Path):
    path = tmp_path / "report.html"
    write_report_html(path, build_report(stats, worst=(), command="make"))
    text = path.read_text("utf-8")
    for words in (
        "More metrics", "By what pairs are like", 'id="table-metrics-pairs"',
        'id="table-definitions"', 'id="table-slices-aepe"', "S. Baker et al., IJCV 2011",
        "no pair&#39;s truth knows both cameras", 'data-metric="corner_auc@5[MAGSAC++ 3 px]"',
    ):  # fmt: skip
        assert words in text
