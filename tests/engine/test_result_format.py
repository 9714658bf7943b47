"""What evaluations of all kinds of truth write keeps to the schema, and old files are read."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ResultError
from engine.evaluation.fingerprint import (
    Fingerprint,
    MeasuredDescriptor,
    MeasuredPairs,
    Sampler,
    Versions,
)
from engine.evaluation.metric_summary import MetricRow
from engine.evaluation.result import (
    FORMAT,
    EvaluationResult,
    LeftOut,
    PairRow,
    Sources,
    SummaryRow,
    Timing,
    json_text,
    read_result,
    write_result,
)
from engine.evaluation.switches import MetricSwitches
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.paths import data_dir
from engine.progress import JobContext
from tests.engine.json_schema import faults
from tests.engine.test_evaluate_job import DAISY, write_sequence
from tests.engine.test_result import some_result, some_result_with_metrics

SCHEMA = json.loads((data_dir("resources") / "schemas" / "result.schema.json").read_text("utf-8"))


def write_listed(folder: Path) -> Path:
    """A table of two pairs, each with the truth of some points, in parts and groups."""
    write_sequence(folder / "v_a", 1, images=2)
    points = np.random.default_rng(0).uniform(10, 60, (30, 2))
    matrix = np.loadtxt(folder / "v_a" / "H_1_2")
    there = np.c_[points, np.ones(30)] @ matrix.T
    rows = np.c_[points, there[:, :2] / there[:, 2:]]
    np.savetxt(folder / "points.txt", rows)
    table = folder / "pairs.csv"
    table.write_text(
        "image_a,image_b,truth,group,subset\n"
        "v_a/1.png,v_a/2.png,points:points.txt,one,day\n"
        "v_a/1.png,v_a/2.png,points:points.txt,two,night\n"
    )
    return table


def evaluate(dataset: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Measure, and read what was written."""
    config = EvaluateConfig(
        dataset=str(dataset), descriptor=("daisy",), device="cpu", long_edge_px=96,
        query_limit=40, **changes,
    )  # fmt: skip
    EvaluateJob(config=config, choices=choose_descriptors(config, DAISY), out=out).run(JobContext())
    values: dict[str, Any] = json.loads((out / "result.json").read_text("utf-8"))
    return values


def test_a_set_of_homographies_with_all_metrics_keeps_to_the_schema(tmp_path: Path):
    write_sequence(tmp_path / "set" / "v_a", 1, images=3)
    write_sequence(tmp_path / "set" / "i_b", 2, images=2)
    values = evaluate(
        tmp_path / "set", tmp_path / "out", metric=("all",), queries="both", protocol="dense",
        value_range=(0.0, 255.0), refine=True,
    )  # fmt: skip
    assert faults(values, SCHEMA) == []
    assert values["fingerprint"]["sampler"]["refined"] is True
    assert values["fingerprint"]["metrics"]["refined"] is True
    assert {row["subset"] for row in values["pairs"]} == {"viewpoint", "illumination"}
    assert values["fingerprint"]["value_range"] == [0.0, 255.0]
    assert {"metrics", "properties"} <= set(values["pairs"][0])
    assert any(row["queries"] is None for row in values["metrics"])
    assert json.loads(json_text(read_result(tmp_path / "out"))) == values


def test_a_set_of_listed_points_keeps_to_the_schema(tmp_path: Path):
    values = evaluate(write_listed(tmp_path), tmp_path / "out", refine=True)
    assert faults(values, SCHEMA) == []
    assert "refined" not in values["fingerprint"]["sampler"]  # nothing between is offered in closed
    assert {row["queries"] for row in values["pairs"]} == {"listed"}
    assert [row["subset"] for row in values["summary"]][::3] == ["all", "day", "night"]
    assert values["fingerprint"]["dataset"]["layout"] == "table of pairs"
    assert values["fingerprint"]["dataset"]["truths"] == ["points"]
    assert json.loads(json_text(read_result(tmp_path / "out"))) == values


PARTS = [
    (Fingerprint, ("fingerprint",), set()),
    (Sampler, ("fingerprint", "sampler"), set()),
    (MeasuredPairs, ("fingerprint", "dataset"), set()),
    (MeasuredDescriptor, ("fingerprint", "descriptors"), set()),
    (Versions, ("fingerprint", "versions"), set()),
    (MetricSwitches, ("fingerprint", "metrics"), set()),
    (PairRow, ("pairs",), set()),
    (SummaryRow, ("summary",), set()),
    (MetricRow, ("metrics",), set()),
    (LeftOut, ("left_out",), set()),
    (Timing, ("timings", "descriptors"), {"s_per_image", "s_per_pair"}),
    (Sources, ("sources",), set()),
]


@pytest.mark.parametrize(
    ("kind", "place", "derived"), PARTS, ids=lambda one: getattr(one, "__name__", "")
)
def test_the_schema_knows_each_field_that_is_written(
    kind: type, place: tuple[str, ...], derived: set[str]
):
    part = SCHEMA
    for name in place:
        part = part["properties"][name]
    part = part.get("items", part)
    assert set(part["properties"]) == {one.name for one in fields(kind)} | derived
    always = {one.name for one in fields(kind) if _is_always_there(kind, one)}
    assert set(part["required"]) == always | derived


def _is_always_there(kind: type, field: Field[Any]) -> bool:
    """Fingerprints leave out what is at its default, and rows the lists that are empty."""
    if kind is Sources:
        return True
    if kind is PairRow:
        return field.name not in ("metrics", "properties", "precision", "name", "confidences")
    return field.default is MISSING and field.default_factory is MISSING


def written_as_format_1(folder: Path, result: EvaluationResult) -> dict[str, Any]:
    """The same result as the first version wrote it."""
    (path, *_) = write_result(folder, result)
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    values["format"] = 1
    del values["sources"]["opened"]
    for row in values["pairs"]:
        del row["subset"]
    for row in values["summary"]:
        del row["sequences"]
    path.write_text(json.dumps(values), "utf-8")
    return values


@pytest.mark.parametrize("make", [some_result, some_result_with_metrics])
def test_a_file_of_the_format_before_is_read_as_if_it_were_of_this_one(tmp_path: Path, make: Any):
    result = make()
    values = written_as_format_1(tmp_path, result)
    assert faults(values, SCHEMA) != []
    assert read_result(tmp_path) == result
    assert (
        read_result(tmp_path).to_json()["format"]
        == FORMAT
        == SCHEMA["properties"]["format"]["const"]
    )


@pytest.mark.parametrize(("part", "name"), [("pairs", "counts_within"), ("summary", "sequences")])
def test_what_only_the_format_before_may_lack_is_missed_in_this_one(
    tmp_path: Path, part: str, name: str
):
    (path, *_) = write_result(tmp_path, some_result())
    values = json.loads(path.read_text("utf-8"))
    del values[part][0][name]
    path.write_text(json.dumps(values), "utf-8")
    with pytest.raises(ResultError, match=f"not a complete .*{name}"):
        read_result(tmp_path)
