"""The catalogue of metrics: names, order, and what is better."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.metrics import (
    best_of,
    evaluation_metrics,
    group_metrics,
    is_better,
    judge_of,
    metric_info,
    metric_name,
    metric_number,
    pck_name,
    summaries_of,
)


def test_metrics_share_plots_in_the_order_of_the_catalogue():
    names = ["pck@5", "odd", "pck@10", "loss", "data_wait_s", "pck@1", "step_s", "epoch"]
    groups = group_metrics([*names, "sequences pck@3"])
    assert [(group.name, members) for group, members in groups.items()] == [
        ("loss", ("loss",)),
        ("pck", ("pck@1", "pck@5", "pck@10")),
        ("sequences", ("sequences pck@3",)),
        ("time", ("step_s", "data_wait_s")),
        ("odd", ("odd",)),
    ]


def test_people_read_titles_labels_and_units():
    assert metric_info("pck@3").title == "PCK@3"
    assert metric_info("sequences pck@2.5").title == "sequence PCK@2.5"
    assert metric_info("pck@3").label == "@3 px"
    assert metric_info("step_s").heading == "step (s)"
    assert metric_info("memory_mb").group.heading == "Peak memory (MB)"
    assert metric_info("loss").heading == metric_info("loss").label == "loss"


def test_sequences_judge_a_run_where_they_are_measured():
    assert judge_of(["loss", "pck@3", "sequences pck@3"]) == "sequences pck@3"
    assert judge_of({"pck@1": 0.2, "pck@3": 0.5}) == "pck@3"
    assert judge_of(["loss", "pck@1"]) is None
    assert pck_name(3.0, sequences=True) == "sequences pck@3"


def test_high_shares_and_low_losses_are_better():
    assert is_better("pck@3", 0.5, than=0.4)
    assert not is_better("pck@3", 0.4, than=0.4)
    assert is_better("loss", 0.5, than=0.6)
    assert not is_better("loss", 0.7, than=0.6)
    assert is_better("loss", 9.0, than=None)
    with pytest.raises(ValueError, match="neither better nor worse"):
        is_better("rate", 0.1, than=0.2)


def test_the_best_is_the_first_of_equals():
    points = [(0, 0.2), (10, 0.7), (20, 0.7), (30, 0.1)]
    assert best_of("pck@3", points) == (0.7, 10)
    assert best_of("loss", points) == (0.1, 30)
    assert best_of("loss", []) is None


# ---- metrics of evaluations --------------------------------------------------------------------


def test_a_metric_of_evaluations_tells_its_number_and_the_settings_of_its_estimator():
    name = metric_name("corner_auc", 3.0, settings="MAGSAC++ 1.5 px")
    assert name == "corner_auc@3[MAGSAC++ 1.5 px]"
    info = metric_info(name)
    assert info.title == "corner AUC@3 (MAGSAC++ 1.5 px)"
    assert info.definition.count("3 px") == 2
    assert info.of == "corner_error[MAGSAC++ 1.5 px]"
    assert metric_number(name) == 3
    assert metric_number("aepe") is None
    assert metric_info("edge_error@0").title == "AEPE 0 to 4 px from edges"
    assert metric_info("edge_error@16").title == "AEPE 16 px and more from edges"


def test_every_summary_says_which_value_of_a_pair_it_is_made_from():
    values = ("pck_box@0.1", "corner_error[x]", "pose_error[x]", "mma@10", "aepe", "odd")
    for value in values:
        for name in summaries_of(value):
            assert (metric_info(name).of or name) == value
    assert summaries_of("pose_error[x]") == ("pose_auc@5[x]", "pose_auc@10[x]", "pose_auc@20[x]")
    assert summaries_of("pck_box@0.1") == ("pck_box@0.1", "pck_box_points@0.1")


def test_metrics_of_evaluations_are_ordered_by_group_and_number_and_all_are_defined():
    groups = group_metrics(["mma@10", "corner_auc@10[x]", "aepe_all", "mma@2", "aepe"])
    assert list(groups.values()) == [
        ("aepe", "aepe_all"), ("mma@2", "mma@10"), ("corner_auc@10[x]",)
    ]  # fmt: skip
    for info in evaluation_metrics():
        assert info.definition
        assert info.reference
        assert "{" not in info.title + info.definition
        assert info.source == "evaluation"


def test_the_protocols_page_gives_every_definition_in_the_same_words():
    page = (Path(__file__).parents[2] / "docs" / "PROTOCOLS.md").read_text("utf-8")
    for info in evaluation_metrics():
        assert f"| {info.heading} | {info.definition} | {info.reference} |" in page
