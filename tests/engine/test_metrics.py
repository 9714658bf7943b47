"""The catalogue of metrics: names, order, and what is better."""

from __future__ import annotations

import pytest

from engine.metrics import (
    best_of,
    group_metrics,
    is_better,
    judge_of,
    metric_info,
    pck_name,
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
