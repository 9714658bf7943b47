"""What an evaluation writes: the schema, the tables, reading back, and putting results together."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.layouts.hpatches import kind_of
from engine.data.pairs import ImagePair
from engine.errors import OutputError, ResultError
from engine.evaluation.comparison import merge_results
from engine.evaluation.datasets import EvaluationPair
from engine.evaluation.fingerprint import Fingerprint, differences
from engine.evaluation.pck import bootstrap_mean
from engine.evaluation.result import (
    RESULT_FILE,
    EvaluationResult,
    LeftOut,
    PairRow,
    Sources,
    Timing,
    json_text,
    make_row,
    read_result,
    subsets_of,
    sum_metrics_up,
    summarise,
    threshold_name,
    write_result,
)
from engine.evaluation.run_folder import (
    Begun,
    PairRecord,
    add_record,
    begin_rows,
    has_rows,
    read_begun,
    rows_file,
)
from engine.jobs.evaluate import make_protocol
from engine.jobs.settings import EvaluateConfig
from engine.paths import data_dir
from tests.engine.json_schema import faults

SCHEMA = json.loads((data_dir("resources") / "schemas" / "result.schema.json").read_text("utf-8"))
PROTOCOL = make_protocol(EvaluateConfig(dataset="x", queries="both"))
KINDS = {"v_a": "viewpoint", "i_b": "illumination", "i_c": "illumination"}


def one_pair(sequence: str, index: int) -> EvaluationPair:
    pair = ImagePair(Path("1.png"), Path("2.png"), sequence=sequence, index=index)
    return EvaluationPair(pair, kind_of(sequence))


def some_rows(label: str, seed: int = 0) -> tuple[PairRow, ...]:
    random = np.random.default_rng(seed)
    rows = []
    for queries in ("harris", "uniform"):
        for sequence in KINDS:
            for index in (2, 3):
                errors = random.exponential(4, 40)
                errors[0] = np.nan
                rows.append(make_row(PROTOCOL, errors, label, one_pair(sequence, index), queries))
    return tuple(rows)


def some_result(label: str = "daisy", **changes: Any) -> EvaluationResult:
    rows = some_rows(label)
    fingerprint = {
        "protocol": "closed", "thresholds_px": [1.0, 3.0, 5.0], "matcher": "exact",
        "sampler": {
            "queries": ["harris", "uniform"], "query_limit": 1000, "long_edge_px": 640,
            "grid_stride_px": None,
        },
        "seed": 0,
        "dataset": {"name": "é", "subset": "all", "pairs": 6, "pairs_sha256": "0" * 64},
        "descriptors": [{
            "label": label, "name": "daisy", "config": {"stride_px": 2}, "weights_sha256": None,
            "trained": True, "levels": 1, "dim": 200, "matcher": "exact", "precision": "float32",
        }],
        "versions": {"project": "0.1.0", "torch": "2", "opencv": "5"},
        "device": "cpu",
    }  # fmt: skip
    # Differences only cause a warning: the rows stay those of the three thresholds.
    return EvaluationResult(
        fingerprint=Fingerprint.from_json({**fingerprint, **changes}),
        summary=summarise(rows, Fingerprint.from_json(fingerprint)),
        pairs=rows,
        left_out=(LeftOut("v_a", 4, None, "v_a 1 → 4 is left out: it is empty."),),
        problems=("i_b: image 4 is missing.",),
        timings=(Timing(label, 9, 4.5, 6, 3.0),),
        wall_s=8.25,
        sources=Sources(dataset="/daten/é", root="/daten/é", command="python …"),
    )


def test_a_result_keeps_to_the_schema_and_is_read_back_as_it_was(tmp_path: Path):
    result = some_result()
    paths = write_result(tmp_path, result)
    assert [path.name for path in paths] == ["result.json", "summary.csv", "pairs.csv"]
    assert faults(json.loads(paths[0].read_text("utf-8")), SCHEMA) == []
    assert read_result(tmp_path) == read_result(paths[0]) == result


AUC = "corner_error[MAGSAC++ 3 px]"
SWITCHES = {
    "chosen": ["dense", "homography"], "grid_stride_px": 4, "refined": False, "found_on": "grid",
    "keypoint_limit": 2048, "estimator": "opencv", "inlier_px": 3.0,
}  # fmt: skip


def some_result_with_metrics() -> EvaluationResult:
    plain = some_result(metrics=SWITCHES)
    rows = tuple(
        replace(
            row,
            metrics=(("aepe", float(row.index)), (AUC, None if row.index == 3 else 0.5)),
            properties=(("scale", 1.5), ("overlap", None)),
            confidences=((7, 10, 1), (100, row.index, 2)),
        )
        for row in plain.pairs
    )
    return replace(plain, pairs=rows, metrics=sum_metrics_up(rows, plain.fingerprint))


def test_the_fields_metrics_keep_to_the_schema_stand_in_the_tables_and_are_read_back(
    tmp_path: Path,
):
    result = some_result_with_metrics()
    assert [row.metric for row in result.metrics if row.subset == "all"] == [
        "aepe", *(f"corner_auc@{limit}[MAGSAC++ 3 px]" for limit in (1, 3, 5, 10))
    ]  # fmt: skip
    paths = write_result(tmp_path, result)
    assert faults(json.loads(paths[0].read_text("utf-8")), SCHEMA) == []
    assert read_result(tmp_path) == result
    with paths[1].open(encoding="utf-8") as file:
        summary = list(csv.DictReader(file))
    by_name = {row["metric"]: row for row in summary if row["subset"] == "all"}
    assert by_name["aepe"]["value"] == "2.5"
    assert by_name["pck@5"]["value"] == by_name["pck@5"]["pck"] != ""
    assert by_name["corner_auc@5[MAGSAC++ 3 px]"]["pairs"] == "6"
    with paths[2].open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert {(row["aepe"], row[AUC], row["scale"], row["overlap"]) for row in pairs} == {
        ("2.0", "0.5", "1.5", ""), ("3.0", "", "1.5", "")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        (("metrics", 0, "value"), 9.0, "aepe of daisy is not that of the pairs"),
        (("metrics", 0, "pairs"), 9, "the metrics are not those of the pairs"),
        (("metrics", 0, "low"), 99.0, "the interval of aepe of daisy is none"),
        (("pairs", 0, "metrics", "aepe"), "much", "metrics of .* cannot be"),
    ],
)
def test_metrics_that_were_changed_by_hand_are_refused(
    tmp_path: Path, place: tuple[Any, ...], value: Any, fault: str
):
    write_result(tmp_path, some_result_with_metrics())
    values = json.loads((tmp_path / "result.json").read_text("utf-8"))
    target = values
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    (tmp_path / "result.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(ResultError, match=fault):
        read_result(tmp_path)


def test_results_with_other_metrics_compare_unless_they_were_measured_in_another_way():
    plain, measured = some_result().fingerprint, some_result(metrics=SWITCHES).fingerprint
    assert differences(plain, measured) == ()
    assert differences(plain, measured, descriptors=True) != ()  # such a run cannot go on
    more = some_result(metrics={**SWITCHES, "chosen": ["dense"]}).fingerprint
    assert differences(measured, more) == ()
    finer = some_result(metrics={**SWITCHES, "inlier_px": 1.0}).fingerprint
    assert differences(measured, finer) == (("metrics.inlier_px", 3.0, 1.0),)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("summary", 0, "pck"), 1.5),
        (("summary", 0, "pck"), "0.5"),
        (("summary", 0, "subset"), 5),
        (("pairs", 0, "count"), 0),
        (("pairs", 0, "counts_within"), [1, 2]),
        (("fingerprint", "dataset", "pairs_sha256"), "abc"),
        (("fingerprint", "mood"), "good"),
        (("timings", "wall_s"), None),
    ],
)
def test_the_schema_refuses_what_is_wrong(place: tuple[Any, ...], value: Any):
    values = json.loads(json_text(some_result()))
    target = values
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    assert len(faults(values, SCHEMA)) == 1


def test_a_field_with_a_default_may_be_missing_and_is_written_where_it_differs():
    """So a new field is one entry, and files of earlier versions stay readable."""
    plain = some_result().fingerprint
    marked = replace(plain, descriptors=(replace(plain.descriptors[0], oracle=True),))
    assert "oracle" not in plain.to_json()["descriptors"][0]
    assert marked.to_json()["descriptors"][0]["oracle"] is True
    for one in (plain, marked):
        assert Fingerprint.from_json(json.loads(json.dumps(one.to_json()))) == one
    differing = differences(plain, marked, descriptors=True)
    assert differing == (("descriptors[0].oracle", None, True),)
    assert differences(plain, marked) == ()


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        (("seed",), "7", "fingerprint.seed is '7'"),
        (("seed",), True, "fingerprint.seed is True"),
        (("protocol",), "open", "fingerprint.protocol is 'open'"),
        (("thresholds_px", 0), None, r"fingerprint.thresholds_px\[0\] is None"),
        (("sampler",), [], r"fingerprint.sampler is \[\]"),
        (("descriptors", 0, "trained"), 1, r"fingerprint.descriptors\[0\].trained is 1"),
        (("dataset", "mood"), "good", "fingerprint.dataset.mood is not known to this version"),
    ],
)
def test_a_fingerprint_of_another_form_is_refused_and_its_place_named(
    place: tuple[Any, ...], value: Any, fault: str
):
    values = json.loads(json.dumps(some_result().fingerprint.to_json()))
    target = values
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    with pytest.raises(ValueError, match=fault):
        Fingerprint.from_json(values)


def test_undefined_numbers_are_null_and_nan_cannot_be_written():
    result = some_result()
    rows = [row for row in result.pairs if row.sequence == "v_a"]
    summary = summarise(
        [row for row in rows if row.queries == "harris"],
        result.fingerprint,
        subsets=("all", "viewpoint", "illumination"),
    )
    assert {row.pck for row in summary if row.queries == "uniform"} == {None}
    summary = tuple(row for row in summary if row.queries == "harris")
    by_subset = {row.subset: row for row in summary if row.threshold_px == 3}
    assert by_subset["illumination"].pck is None
    assert by_subset["illumination"].pairs == 0
    assert by_subset["viewpoint"].pck is not None
    assert by_subset["viewpoint"].low is None  # one sequence has no interval
    text = json_text(replace(result, summary=summary))
    assert "NaN" not in text
    assert faults(json.loads(text), SCHEMA) == []
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(replace(result, wall_s=float("nan")))


def test_the_summary_is_the_mean_of_the_rows_of_each_subset_harris_first():
    result = some_result()
    assert [row.queries for row in result.summary] == ["harris"] * 9 + ["uniform"] * 9
    for row in result.summary:
        mine = [
            (dict(pair.pck)[row.threshold_px], pair.sequence)
            for pair in result.pairs
            if pair.queries == row.queries
            and (row.subset == "all" or KINDS[pair.sequence] == row.subset)
        ]
        assert row.pairs == len(mine) == {"all": 6, "viewpoint": 2, "illumination": 4}[row.subset]
        assert row.pck == pytest.approx(sum(share for share, _ in mine) / len(mine))
        interval = bootstrap_mean([v for v, _ in mine], [name for _, name in mine], seed=0)
        assert row.ends == interval.ends


def test_a_row_counts_its_errors_and_what_was_not_found_is_wrong():
    errors = np.array([0.0, 1.0, 3.2, np.nan])
    row = make_row(PROTOCOL, errors, "d", one_pair("s", 2), "harris")
    assert row.count == 4
    assert row.pck == ((1.0, 0.5), (3.0, 0.5), (5.0, 0.75))
    assert row.counts_within[:3] == (1, 1, 2)
    assert row.counts_within[6:8] == (2, 3)  # 3 px and 3.5 px
    assert row.counts_within[20] == 3


def test_the_tables_hold_the_same_rows_as_the_file(tmp_path: Path):
    result = some_result()
    write_result(tmp_path, result)
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    assert len(pairs) == len(result.pairs)
    for line, row in zip(pairs, result.pairs, strict=True):
        assert (line["descriptor"], line["sequence"]) == (row.descriptor, row.sequence)
        assert (int(line["index"]), int(line["count"])) == (row.index, row.count)
        assert tuple(float(line[f"pck_{t}px"]) for t in (1, 3, 5)) == tuple(v for _, v in row.pck)
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        summary = list(csv.DictReader(file))
    assert [float(line["pck"]) for line in summary] == [row.pck for row in result.summary]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 3.0, 0.1 + 0.2, 1 / 3, 1000.0])
def test_a_threshold_keeps_all_its_digits_as_a_key(threshold: float):
    assert float(threshold_name(threshold)) == threshold
    assert threshold_name(5.0) == "5"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        ("{", "not JSON"),
        ("[]", "no evaluation result"),
        ('{"format": 99}', "has format 99, .* reads 2 at most; a later version wrote it"),
        ('{"format": true}', "is no evaluation result"),
        ('{"format": 0}', "is no evaluation result"),
        ('{"format": 2, "fingerprint": {"descriptors": []}}', "not a complete"),
        ('{"format": 2, "fingerprint": {"descriptors": [{"label": 3}]}}',
         r"not a complete .*fingerprint\.descriptors\[0\]\.label is 3"),
        ('{"format": 2, "fingerprint": {"mood": "good"}}',
         r"fingerprint\.mood is not known to this version"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_result_is_refused_in_a_sentence(
    tmp_path: Path, content: str | None, reason: str
):
    if content is not None:
        (tmp_path / "result.json").write_text(content, "utf-8")
    with pytest.raises(ResultError, match=reason) as refused:
        read_result(tmp_path)
    assert "result.json" in str(refused.value)


def test_a_result_that_cannot_be_written_is_told(tmp_path: Path):
    with pytest.raises(OutputError):
        write_result(tmp_path / "missing", some_result())


# ---- several results ---------------------------------------------------------------------------


def test_merging_like_results_warns_of_nothing_and_keeps_every_row():
    merged = merge_results([("one", some_result("daisy")), ("two", some_result("superpoint"))])
    assert merged.warnings == ()
    assert {row.descriptor for row in merged.summary} == {"daisy", "superpoint"}
    assert len(merged.summary) == 36
    assert [row.queries for row in merged.summary] == ["harris"] * 18 + ["uniform"] * 18


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("matcher", {"matcher": "flann"}),
        ("matcher", {"matcher": "consensus"}),
        ("seed", {"seed": 7}),
        ("thresholds_px", {"thresholds_px": [3.0]}),
        ("versions.torch", {"versions": {"project": "0.1.0", "torch": "3", "opencv": "5"}}),
        ("dataset.name", {"dataset": {"name": "f", "subset": "all", "pairs": 6,
                                      "pairs_sha256": "0" * 64}}),
        ("device", {"device": "NVIDIA H100"}),
    ],
)  # fmt: skip
def test_merging_unlike_results_warns_and_names_the_field(field: str, change: dict[str, Any]):
    merged = merge_results([("one", some_result()), ("two", some_result(**change))])
    (warning,) = merged.warnings
    assert f" differ in {field} (" in warning
    assert "one and two" in warning


def test_the_same_descriptor_of_two_runs_gets_the_names_of_the_runs():
    merged = merge_results([("one", some_result()), ("two", some_result()), ("two", some_result())])
    labels = [label for result in merged.results for label in result.labels]
    assert labels == ["daisy (one)", "daisy (two)", "daisy (two) #2"]
    assert {row.descriptor for row in merged.pairs} == set(labels)
    assert {row.descriptor for row in merged.summary} == set(labels)
    assert merged.warnings == ()


# ---- rows of a run under way -------------------------------------------------------------------

FINGERPRINT = some_result().fingerprint


def begun_in(folder: Path) -> Begun:
    return Begun(folder, FINGERPRINT, Sources(dataset="d", root="/r", weights={}, command="c"))


def some_records() -> list[PairRecord]:
    rows = some_rows("daisy")
    return [
        PairRecord("v_a", 2, (rows[0], rows[6]), (), (Timing("daisy", 2, 0.1 + 0.2, 1, 1 / 3),)),
        PairRecord("v_a", 3, (), (LeftOut("v_a", 3, None, "é is broken."),)),
        PairRecord("i_b", 2, (rows[2],), (LeftOut("i_b", 2, "uniform", "none."),)),
    ]


def written(folder: Path) -> bytes:
    begin_rows(begun_in(folder))
    for record in some_records():
        add_record(folder, record)
    return rows_file(folder, 0).read_bytes()


def test_records_are_read_back_as_they_were_written(tmp_path: Path):
    assert not has_rows(tmp_path)
    written(tmp_path)
    assert has_rows(tmp_path)
    assert read_begun(tmp_path, FINGERPRINT) == read_begun(tmp_path)
    assert read_begun(tmp_path) == replace(begun_in(tmp_path), records=tuple(some_records()))


def test_rows_of_earlier_versions_which_name_no_sources_are_read(tmp_path: Path):
    header, *lines = written(tmp_path).splitlines(keepends=True)
    values = json.loads(header)
    del values["sources"]
    rows_file(tmp_path, 0).write_bytes(b"".join([json.dumps(values).encode() + b"\n", *lines]))
    begun = read_begun(tmp_path, FINGERPRINT)
    assert begun.records == tuple(some_records())
    assert begun.result().sources == Sources()
    assert merge_results([("old", begun.result())]).root is None


def test_a_file_cut_anywhere_loses_the_torn_line_alone_and_can_be_continued(tmp_path: Path):
    """At every length: all whole lines are there, and what is appended stands on a new line."""
    data = written(tmp_path)
    path = rows_file(tmp_path, 0)
    records = some_records()
    for length in range(0, len(data), 13):
        path.write_bytes(data[:length])
        whole = max(0, data[:length].count(b"\n") - 1)
        assert read_begun(tmp_path, FINGERPRINT).records == tuple(records[:whole])
        begin_rows(begun_in(tmp_path))
        for record in records[whole:]:
            add_record(tmp_path, record)
        assert path.read_bytes() == data


def test_records_of_several_processes_are_put_together_without_repetition(tmp_path: Path):
    first, second, third = some_records()
    for rank, records in enumerate([[first, second], [second, third]]):
        begin_rows(begun_in(tmp_path), rank)
        for record in records:
            add_record(tmp_path, record, rank)
    assert sorted(r.key for r in read_begun(tmp_path, FINGERPRINT).records) == sorted(
        r.key for r in (first, second, third)
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "seed was 0 and is 1 now"),
        (
            {"descriptors": (replace(FINGERPRINT.descriptors[0], config={"stride_px": 4}),)},
            r"descriptors\[0\].config.stride_px was 2 and is 4 now",
        ),
    ],
)
def test_rows_that_were_made_in_another_way_are_not_continued(
    tmp_path: Path, change: dict[str, Any], field: str
):
    written(tmp_path)
    with pytest.raises(ResultError, match=field):
        read_begun(tmp_path, replace(FINGERPRINT, **change))


@pytest.mark.parametrize("damage", [b"nonsense\n", b'{"fingerprint": 1}\n'])
def test_damage_in_the_middle_is_told_and_not_passed_over(tmp_path: Path, damage: bytes):
    lines = written(tmp_path).splitlines(keepends=True)
    rows_file(tmp_path, 0).write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
    with pytest.raises(ResultError, match="line 3"):
        read_begun(tmp_path, FINGERPRINT)


def test_a_file_of_something_else_is_not_continued(tmp_path: Path):
    rows_file(tmp_path, 0).write_text('{"a": 1}\n')
    with pytest.raises(ResultError, match="holds no rows"):
        read_begun(tmp_path, FINGERPRINT)


# ---- files that are well-formed and mean nothing ------------------------------------------------


def edited(path: Path, place: tuple[Any, ...], value: Any) -> None:
    """Change one value of a JSON file, as an editor would."""
    whole = json.loads(path.read_text("utf-8"))
    target = whole
    for name in place[:-1]:
        target = target[name]
    target[place[-1]] = value
    path.write_text(json.dumps(whole), "utf-8")


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        (("pairs", 0, "descriptor"), "sift", "descriptor of"),
        (("pairs", 0, "sequence"), "../../etc", "sequence of"),
        (("pairs", 0, "sequence"), "..", "sequence of"),
        (("pairs", 0, "index"), -1, "index of"),
        (("pairs", 0, "index"), True, "index of"),
        (("pairs", 0, "index"), 2.5, "index of"),
        (("pairs", 0, "queries"), "sobol", "queries of"),
        (("pairs", 0, "count"), 0, "count of"),
        (("pairs", 0, "pck"), {"1": 0.2, "3": 1.2, "5": 1.3}, "pck of"),
        (("pairs", 0, "pck"), {"1": float("nan"), "3": 0.1, "5": 0.1}, "pck of"),
        (("pairs", 0, "pck"), {"1": 0.5, "3": 0.4, "5": 0.6}, "pck of"),
        (("pairs", 0, "pck"), {"1": 0.5}, "pck of"),
        (("pairs", 0, "counts_within"), [0] * 20, "counts_within of"),
        (("pairs", 0, "counts_within"), [0] * 20 + [41], "counts_within of"),
        (("pairs", 0, "counts_within"), [1] + [0] * 20, "counts_within of"),
        (("pairs", 0, "precision"), [0.5] * 50, "precision of"),
        (("pairs", 0, "precision"), [1.5] * 51, "precision of"),
        (("pairs", 0, "precision"), [None] * 51, "precision of"),
        (("pairs", 0, "confidences"), [[50, 2]], "confidences of"),
        (("pairs", 0, "confidences"), [[50, 2, 3]], "confidences of"),
        (("pairs", 0, "confidences"), [[101, 2, 1]], "confidences of"),
        (("pairs", 0, "confidences"), [[50, 2, 1], [40, 2, 1]], "confidences of"),
        (("pairs", 0, "confidences"), [[50, 20, 1], [60, 21, 1]], "confidences of"),
        (("pairs", 0, "confidences"), [[50, 2, 0.5]], "confidences of"),
        (("pairs", 1, "index"), 2, "queries of"),  # the same pair twice
        (("summary", 0, "pck"), 0.99, "summary's pck"),
        (("summary", 0, "pck"), 10**400, "not a complete evaluation result"),
        (("summary", 0, "low"), 0.99, "summary's interval"),
        (("summary", 0, "pairs"), 2, "not that of the pairs"),
    ],
)
def test_a_result_edited_by_hand_is_refused_with_its_field(
    tmp_path: Path, place: tuple[Any, ...], value: Any, word: str
):
    write_result(tmp_path, some_result())
    assert read_result(tmp_path) == some_result()
    edited(tmp_path / "result.json", place, value)
    with pytest.raises(ResultError, match=word):
        read_result(tmp_path)


def test_an_index_beyond_all_numbers_is_refused_with_its_line(tmp_path: Path):
    begin_rows(begun_in(tmp_path))
    add_record(tmp_path, some_records()[0])
    path = tmp_path / "rows.jsonl"
    head, line = path.read_text("utf-8").splitlines()
    values = json.loads(line) | {"index": float("inf")}
    path.write_text(f"{head}\n{json.dumps(values)}\n", "utf-8")
    with pytest.raises(ResultError, match="damaged in line 2"):
        read_begun(tmp_path)


@pytest.mark.parametrize("field", ["descriptor", "count", "pck"])
def test_rows_edited_by_hand_are_refused_with_their_line(tmp_path: Path, field: str):
    begin_rows(begun_in(tmp_path))
    for record in some_records():
        add_record(tmp_path, record)
    path = tmp_path / "rows.jsonl"
    lines = path.read_text("utf-8").splitlines()
    values = json.loads(lines[1])
    values["rows"][0][field] = {"descriptor": "x", "count": -3, "pck": {"1": 2}}[field]
    lines[1] = json.dumps(values)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(ResultError, match=f"damaged in line 2 .*{field} of"):
        read_begun(tmp_path)


# ---- parts of other sets -----------------------------------------------------------------------


def rows_of(parts: dict[str, str]) -> list[PairRow]:
    """A row of each group, with as many right of ten as the number in its name."""
    return [
        PairRow(
            *("d", group, 1, "harris", 10),
            tuple((limit, int(group[-1]) / 10) for limit in PROTOCOL.thresholds_px),
            (10,) * 21,
            subset=part,
        )
        for group, part in parts.items()
    ]


def test_the_summary_follows_the_parts_of_the_set():
    parts = {"kyiv1": "WGABS", "ettlingen3": "WGABS", "petrzin5": "WLABS", "alone9": ""}
    fingerprint = some_result("d").fingerprint
    rows = rows_of(parts)
    assert subsets_of(rows) == ("all", "WGABS", "WLABS")
    means = {
        row.subset: (row.pck, row.pairs, row.sequences)
        for row in summarise(rows, fingerprint)
        if row.queries == "harris" and row.threshold_px == 3
    }
    assert means == {
        "all": (pytest.approx((0.1 + 0.3 + 0.5 + 0.9) / 4), 4, 4),
        "WGABS": (pytest.approx(0.2), 2, 2),
        "WLABS": (pytest.approx(0.5), 1, 1),
    }


def test_the_parts_of_hpatches_come_in_the_order_of_papers():
    parts = {"i_a1": "illumination", "v_b2": "viewpoint", "x3": "another"}
    assert subsets_of(rows_of(parts)) == ("all", "viewpoint", "illumination", "another")


def test_a_summary_without_a_part_that_has_pairs_is_refused(tmp_path: Path):
    values = json.loads(json_text(some_result()))
    values["summary"] = [row for row in values["summary"] if row["subset"] != "viewpoint"]
    (tmp_path / RESULT_FILE).write_text(json.dumps(values))
    with pytest.raises(ResultError, match="not that of the pairs"):
        read_result(tmp_path)
