"""The evaluation as a whole: the same twice, interrupted, with broken files, and under stress."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
import yaml

from engine.cli.command import options_from, settings_from
from engine.cli.parser import build_parser, parse
from engine.config import build_config
from engine.descriptors import pairing, registry
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.daisy import DaisyConfig
from engine.descriptors.registry import DescriptorEntry
from engine.errors import (
    ConfigError,
    DatasetError,
    JobCancelled,
    OutputError,
    ResultError,
    WeightsError,
)
from engine.evaluation.datasets import LARGE_SEQUENCES, open_evaluation_set
from engine.evaluation.pair_properties import PROPERTIES
from engine.evaluation.points import read_points
from engine.evaluation.result import EvaluationResult, json_text, read_result
from engine.evaluation.run_folder import Begun, PairRecord
from engine.files import sha256_of
from engine.geometry.coords import CellGrid
from engine.jobs.command_line import EvaluateOptions, command_line
from engine.jobs.evaluate import EvaluateJob, choose_descriptors, find_weights
from engine.jobs.settings import (
    EvaluateConfig,
    resolve_settings,
    settings_of,
    split_descriptor,
)
from engine.matching import confidence
from engine.paths import data_dir
from engine.progress import CancelToken, JobContext, Note, Progress
from tests.engine.json_schema import faults

SCHEMA = json.loads((data_dir("resources") / "schemas" / "result.schema.json").read_text("utf-8"))
REPOSITORY = Path(__file__).resolve().parent.parent.parent
SIZE_PX = (96, 72)
DAISY = {"stride_px": 4, "rings": 1, "radius_px": 6.0}
PAIRS = 9


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_sequence(folder: Path, seed: int, *, images: int = 4) -> None:
    """Image 1 is soft coloured noise; the others are seen through small known homographies."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    width, height = SIZE_PX
    noise = cv2.GaussianBlur(random.uniform(-1, 1, (height, width, 3)), (0, 0), 2.5)
    first = (255 * (0.5 + noise / (4 * noise.std())).clip(0, 1)).astype(np.uint8)
    cv2.imwrite(str(folder / "1.png"), first)
    for index in range(2, images + 1):
        h_k_from_1 = np.eye(3)
        if folder.name.startswith("v_"):
            h_k_from_1 = np.eye(3) + random.normal(0, [[0.05] * 2 + [3]] * 2 + [[2e-4] * 2 + [0]])
        warped = cv2.warpPerspective(first, h_k_from_1, SIZE_PX)
        darker = (warped * (1 - 0.15 * index)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), darker)
        np.savetxt(folder / f"H_1_{index}", h_k_from_1)


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Three sequences with three pairs each."""
    folder = tmp_path / "Sequenzen é"
    for seed, name in enumerate(("i_light", "v_far", "v_near")):
        write_sequence(folder / name, seed)
    return folder


def make_job(dataset: Path | str, out: Path, **changes: object) -> EvaluateJob:
    how = {name: changes.pop(name) for name in ("resume", "strict", "listener", "data_folder")
           if name in changes}  # fmt: skip
    config = EvaluateConfig(
        **{  # type: ignore[arg-type]
            "dataset": str(dataset), "descriptor": ("daisy",), "device": "cpu", "long_edge_px": 96,
            "query_limit": 60,
            "protocol": "dense", **changes,
        }
    )  # fmt: skip
    return EvaluateJob(config=config, choices=choose_descriptors(config, DAISY), out=out, **how)


def evaluate(dataset: Path | str, out: Path, **changes: object) -> EvaluationResult:
    return make_job(dataset, out, **changes).run(JobContext())


def lasting(result: EvaluationResult) -> str:
    """The parts of the file that must not depend on time."""
    values = json.loads(json_text(result))
    return json.dumps([values["summary"], values["pairs"], values["left_out"]])


def notes_of(events: list[object]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


# ---- the same twice ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["seed", "closed", "dense"])
def test_the_same_command_twice_writes_the_same_bytes(
    protocol: str, sequences: Path, tmp_path: Path
):
    matcher = "flann" if protocol == "seed" else "exact"
    one, two = (
        evaluate(sequences, tmp_path / name, protocol=protocol, matcher=matcher) for name in "ab"
    )
    assert lasting(one) == lasting(two)
    assert len(one.pairs) == PAIRS * len(one.fingerprint.sampler.queries)
    files = [(tmp_path / name / "pairs.csv").read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert read_result(tmp_path / "a") == one


def test_a_pair_is_measured_alike_alone_and_among_others(sequences: Path, tmp_path: Path):
    together = evaluate(sequences, tmp_path / "all")
    alone = evaluate(sequences / "v_near", tmp_path / "one")
    assert alone.pairs == tuple(row for row in together.pairs if row.sequence == "v_near")


def test_another_seed_asks_about_other_points(sequences: Path, tmp_path: Path):
    one, two = (evaluate(sequences, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert [row.counts_within for row in one.pairs] != [row.counts_within for row in two.pairs]


def test_rows_stand_harris_first_and_in_the_order_of_the_folder(sequences: Path, tmp_path: Path):
    result = evaluate(sequences, tmp_path / "out")
    keys = [(row.queries, row.sequence, row.index) for row in result.pairs]
    assert keys == sorted(keys)
    assert {key[0] for key in keys} == {"harris", "uniform"}


def test_image_1_is_described_once_however_many_pairs_it_has(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    described = []

    def count(descriptor: object, pixels: np.ndarray, **how: object) -> object:
        described.append(pixels.shape)
        return describe_image(descriptor, pixels, **how)

    describe_image = pairing.describe_image
    monkeypatch.setattr(pairing, "describe_image", count)
    result = evaluate(sequences, tmp_path / "out")
    assert len(described) == 1 + 3 * 4  # the trial, and three sequences of four images
    assert result.timings[0].images == 12
    assert result.timings[0].pairs == PAIRS


def test_describing_and_matching_are_timed_by_the_clock_of_the_job(sequences: Path, tmp_path: Path):
    ticks = itertools.count()
    job = replace(make_job(sequences, tmp_path / "out"), clock=lambda: float(next(ticks)))
    (timing,) = job.run(JobContext()).timings
    assert (timing.describe_s, timing.match_s) == (PAIRS, PAIRS)  # one tick a pair for each
    assert next(ticks) == 3 * PAIRS


def test_several_descriptors_are_asked_about_the_same_points(sequences: Path, tmp_path: Path):
    config = EvaluateConfig(
        dataset=str(sequences), descriptor=("daisy", "daisy"), device="cpu", long_edge_px=96
    )
    choices = choose_descriptors(config, DAISY)
    assert [choice.label for choice in choices] == ["daisy", "daisy #2"]
    result = EvaluateJob(config=config, choices=choices, out=tmp_path / "out").run(JobContext())
    one, two = (
        [replace(row, descriptor="") for row in result.pairs if row.descriptor == label]
        for label in result.labels
    )
    assert one == two


# ---- interrupted -------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_where_it_stopped(sequences: Path, tmp_path: Path):
    whole = evaluate(sequences, tmp_path / "whole")
    out, cancel, events = tmp_path / "stopped", CancelToken(), []
    seen = []

    def stop_after_two(begun: Begun, record: PairRecord | None) -> None:
        done = len(begun.records)
        seen.append((done, begun.fingerprint.dataset.pairs))
        assert begun.records[-1:] == (() if record is None else (record,))
        if done == 2:
            cancel.cancel()

    with pytest.raises(JobCancelled):
        make_job(sequences, out, listener=stop_after_two).run(
            JobContext(emit=events.append, cancel=cancel)
        )
    assert seen == [(0, PAIRS), (1, PAIRS), (2, PAIRS)]
    assert any("2 pairs are kept" in text for text in notes_of(events))
    assert not (out / "result.json").exists()
    assert not [thread for thread in threading.enumerate() if "read-ahead" in thread.name]

    events = []
    again = make_job(sequences, out, resume=True).run(JobContext(emit=events.append))
    assert f"Continuing: 2 of {PAIRS} pairs are done." in notes_of(events)
    assert max(e.done for e in events if isinstance(e, Progress)) == PAIRS - 2
    assert lasting(again) == lasting(whole)
    # Once more, with nothing left to do.
    assert lasting(evaluate(sequences, out, resume=True)) == lasting(whole)


def test_a_run_cut_at_any_byte_ends_with_the_same_rows(sequences: Path, tmp_path: Path):
    whole = evaluate(sequences, tmp_path / "whole")
    data = (tmp_path / "whole" / "rows.jsonl").read_bytes()
    cuts = np.random.default_rng(0).integers(0, len(data), 8).tolist()
    for number, cut in enumerate([0, len(data) - 1, *cuts]):
        out = tmp_path / f"cut {number}"
        out.mkdir()
        (out / "rows.jsonl").write_bytes(data[:cut])
        assert lasting(evaluate(sequences, out, resume=True)) == lasting(whole)


def test_what_a_killed_process_left_half_written_is_removed(sequences: Path, tmp_path: Path):
    out = tmp_path / "out"
    evaluate(sequences, out)
    points = next(folder for folder in (out / "points").iterdir() if folder.is_dir())
    parts = points / ".4.npz.5ecf9dee.part", out / ".result.json.12345678.part"
    for part in parts:
        part.write_bytes(b"half")
    with pytest.raises(OutputError):
        evaluate(sequences, out)
    assert all(part.exists() for part in parts), "nothing changes in a run that is not continued"
    evaluate(sequences, out, resume=True)
    assert not list(out.rglob("*.part"))


# Torch is loaded once and the runs are forked, so ten of them take seconds.
_KILLER = """
import os, random, signal, sys, time
sys.path.insert(0, {repository!r})
import tifffile
import torch
torch.set_num_threads(1)
from pathlib import Path
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext

config = EvaluateConfig(dataset={dataset!r}, descriptor=("daisy",), device="cpu",
                        long_edge_px=96, query_limit=60, protocol="dense")
job = EvaluateJob(config=config, choices=choose_descriptors(config, {daisy!r}),
                  out=Path({out!r}), resume=True)

def start():
    child = os.fork()
    if child == 0:
        job.run(JobContext())
        os._exit(0)
    return child

def ended(child):
    return os.waitpid(child, os.WNOHANG) != (0, 0)

def written():
    return rows.stat().st_size if rows.exists() else 0

pick = random.Random(5)
rows, killed, sizes, attempts = Path({out!r}) / "rows.jsonl", 0, [], 0
while killed < 10 and attempts < 60:
    attempts += 1
    before, over = written(), False
    child = start()
    if attempts % 2:  # just after it got on by a line
        while not over and written() <= before:
            time.sleep(0.001)
            over = ended(child)
        time.sleep(0 if over else pick.uniform(0, 0.02))
    else:
        time.sleep(pick.uniform(0, 0.2))
    if over or ended(child):
        continue
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    killed += 1
    sizes.append(written())
child = start()
_, status = os.waitpid(child, 0)
print(killed, len(set(sizes)), os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
def test_ten_kills_at_random_moments_change_no_row(tmp_path: Path):
    folder = tmp_path / "sequences"
    for seed, name in enumerate(("i_one", "i_two", "v_one", "v_two")):
        write_sequence(folder / name, seed, images=6)
    out = tmp_path / "killed"
    code = _KILLER.format(
        repository=str(REPOSITORY), dataset=str(folder), daisy=DAISY, out=str(out)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=170,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    killed, moments, status = map(int, done.stdout.split())
    assert killed == 10, "the run was over before it could be killed ten times"
    assert moments >= 4, "the kills struck at too few different moments"
    assert status == 0
    undisturbed = evaluate(folder, tmp_path / "undisturbed")
    assert lasting(read_result(out)) == lasting(undisturbed)
    for key in undisturbed.seen:
        one, other = (read_points(place, *key) for place in (out, tmp_path / "undisturbed"))
        assert one.images == other.images
        for kind in ("harris", "uniform"):
            for mine, its in zip(one.points[kind], other.points[kind], strict=True):
                np.testing.assert_array_equal(mine.match_px, its.match_px)


def test_confidences_come_with_their_counts_and_the_weights_in_the_fingerprint(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = {
        "most": 1.0,
        "constant": -1.0,
        "similarity": 3.0,
        "log_ratio": -1.0,
        "log_cycle": -0.5,
    }
    fitted = {"weights_sha256": None, "alone": weights, "together": weights | {"agreement": 1.0}}
    path = tmp_path / "confidence.json"
    path.write_text(json.dumps({"descriptors": {"daisy": fitted}}))
    monkeypatch.setattr(confidence, "calibration_file", lambda: path)
    how = {"metric": ("confidence",), "query_limit": 20}
    notes: list[object] = []
    other = make_job(sequences, tmp_path / "other", **how)
    result = other.run(JobContext(emit=notes.append))  # other settings than those of a daisy
    assert result.metrics == ()
    assert any("not calibrated for daisy with these settings" in one for one in notes_of(notes))
    usual = replace(other, choices=choose_descriptors(other.config, {}), out=tmp_path / "usual")
    result = usual.run(JobContext())
    names = [
        row.metric for row in result.metrics if row.queries == "harris" and row.subset == "all"
    ]
    assert names == [
        "calibration_error", *(f"precision_at_recall@{one}" for one in (50, 80, 95))
    ]  # fmt: skip
    assert result.fingerprint.descriptors[0].calibration_sha256 == sha256_of(path, ResultError)
    for row in result.pairs:
        assert 0 < sum(count for _, count, _ in row.confidences) <= row.count
        assert dict(row.metrics).keys() == set(names)
    assert read_result(tmp_path / "usual") == result
    assert faults(json.loads(json_text(result)), SCHEMA) == []


def test_the_fields_metrics_are_the_same_after_a_stop_and_change_no_pck(
    sequences: Path, tmp_path: Path
):
    how = {"metric": ("all",), "metric_stride_px": 8, "query_limit": 20}
    whole = evaluate(sequences, tmp_path / "whole", **how)
    names = {row.metric.partition("@")[0] for row in whole.metrics}
    assert names == {
        "pck_image", "pck_image_points", "aepe", "dense_pck", "matches", "mma", "ap", "coverage",
        "corner_auc", "round_trip", "returned", "stability", "steady",
    }  # fmt: skip
    assert read_result(tmp_path / "whole") == whole
    cancel = CancelToken()

    def stop(_begun: Begun, record: PairRecord | None) -> None:
        if record is not None and record.key == ("v_far", 2):
            cancel.cancel()

    with pytest.raises(JobCancelled):
        make_job(sequences, tmp_path / "cut", listener=stop, **how).run(JobContext(cancel=cancel))
    resumed = evaluate(sequences, tmp_path / "cut", resume=True, **how)
    assert resumed.metrics == whole.metrics
    assert resumed.pairs == whole.pairs
    plain = evaluate(sequences, tmp_path / "plain", query_limit=20)
    assert plain.summary == whole.summary
    assert plain.metrics == ()
    assert {name for name, _ in plain.pairs[0].properties} == set(PROPERTIES)


def test_an_estimator_that_is_not_installed_is_named_before_the_work(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "poselib", None)
    job = make_job(sequences, tmp_path / "run", metric=("homography",), estimator="poselib")
    with pytest.raises(ConfigError, match=r"'poselib' is not installed: run .*poselib"):
        job.run(JobContext())
    assert not (tmp_path / "run").exists()


def test_a_folder_with_an_evaluation_is_not_overwritten(sequences: Path, tmp_path: Path):
    evaluate(sequences, tmp_path / "out")
    with pytest.raises(OutputError, match="holds an evaluation already; continue it with --resume"):
        evaluate(sequences, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"seed": 9}, "seed was 0 and is 9"), ({"protocol": "closed"}, "protocol was dense"),
     ({"threshold_px": (2.0,)}, "thresholds_px"), ({"subset": "viewpoint"}, "dataset.subset")],
)  # fmt: skip
def test_a_run_is_not_continued_in_another_way_and_the_difference_is_named(
    sequences: Path, tmp_path: Path, change: dict[str, object], field: str
):
    evaluate(sequences, tmp_path / "out")
    with pytest.raises(ResultError, match=field):
        evaluate(sequences, tmp_path / "out", resume=True, **change)


# ---- broken pairs ------------------------------------------------------------------------------


def test_a_broken_pair_is_left_out_counted_and_told_and_the_rest_is_as_before(
    sequences: Path, tmp_path: Path
):
    sound = evaluate(sequences, tmp_path / "sound")
    (sequences / "v_far" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (sequences / "i_light" / "1.png").unlink()
    (sequences / "i_light" / "1.png").write_bytes(b"")
    events: list[object] = []
    result = make_job(sequences, tmp_path / "out").run(JobContext(emit=events.append))
    broken = {("v_far", 3), ("i_light", 2), ("i_light", 3), ("i_light", 4)}
    assert {(entry.sequence, entry.index) for entry in result.left_out} == broken
    assert all(entry.queries is None for entry in result.left_out)
    assert result.pairs == tuple(
        row for row in sound.pairs if (row.sequence, row.index) not in broken
    )
    told = notes_of(events)
    assert sum("left out" in text for text in told) == 4
    assert any("3.png" in text and "damaged" in text for text in told)
    assert any("1.png" in entry.reason and "empty" in entry.reason for entry in result.left_out)
    illumination = [row for row in result.summary if row.subset == "illumination"]
    assert {(row.pck, row.pairs) for row in illumination} == {(None, 0)}


def test_strict_ends_at_a_broken_pair(sequences: Path, tmp_path: Path):
    (sequences / "v_far" / "3.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"v_far 1 → 3 .*3\.png"):
        evaluate(sequences, tmp_path / "out", strict=True)
    kept = (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == 1 + 3 + 1  # the header, i_light, and v_far 1 → 2


def test_strict_refuses_a_folder_in_which_something_is_missing(sequences: Path, tmp_path: Path):
    (sequences / "v_near" / "H_1_3").unlink()
    with pytest.raises(DatasetError, match="H_1_3 is missing"):
        evaluate(sequences, tmp_path / "out", strict=True)
    result = evaluate(sequences, tmp_path / "out")
    assert any("H_1_3 is missing" in problem for problem in result.problems)
    assert result.fingerprint.dataset.pairs == PAIRS - 1


def test_a_pair_without_any_query_is_counted_and_has_no_row(sequences: Path, tmp_path: Path):
    away = np.array([[1, 0, 5000], [0, 1, 0], [0, 0, 1.0]])
    np.savetxt(sequences / "v_far" / "H_1_2", away)
    flat = np.full((SIZE_PX[1], SIZE_PX[0], 3), 99, np.uint8)
    cv2.imwrite(str(sequences / "v_near" / "1.png"), flat)
    result = evaluate(sequences, tmp_path / "out")
    assert {(e.sequence, e.index, e.queries) for e in result.left_out} == {
        ("v_far", 2, "harris"), ("v_far", 2, "uniform"),
        ("v_near", 2, "harris"), ("v_near", 3, "harris"), ("v_near", 4, "harris"),
    }  # fmt: skip
    near = [row for row in result.pairs if row.sequence == "v_near"]
    assert {row.queries for row in near} == {"uniform"}
    assert "no harris query of the first image is seen in the second" in result.left_out[0].reason


# ---- data sets ---------------------------------------------------------------------------------


class Colour:
    """A pixel's colour, which neither turns nor grows with the image."""

    dim = 4
    shift_period_px = 1
    trained = False
    half_precision = False

    def describe(self, images: torch.Tensor) -> Levels:
        values = torch.cat([images - 0.5, torch.full_like(images[:, :1], 0.3)], dim=1)
        values = torch.nn.functional.normalize(values, dim=1)
        return (DescriptorMap(values, CellGrid(1.0, 0.0)),)


@pytest.fixture
def colour(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.list_descriptors()
    entry = DescriptorEntry("colour", "Colour", "", DaisyConfig, lambda _: Colour(), "test")
    monkeypatch.setitem(registry._ENTRIES, "colour", entry)


@pytest.mark.usefixtures("colour")
@pytest.mark.parametrize("kind", ["rotated", "scaled"])
def test_under_stress_the_truth_follows_the_picture(kind: str, tmp_path: Path):
    """Each place of the plane has a colour of its own, so only a wrong truth can miss it."""
    folder = tmp_path / "set" / "v_colours"
    folder.mkdir(parents=True)
    x, y = np.meshgrid(np.linspace(20, 250, 160), np.linspace(20, 250, 120))
    plane = np.stack([x, y, 0.5 * (255 - x) + 0.25 * y], axis=2).astype(np.uint8)
    for index in range(1, 6):
        cv2.imwrite(str(folder / f"{index}.png"), plane)
        np.savetxt(folder / f"H_1_{index}", np.eye(3))
    events: list[object] = []
    result = make_job(
        f"{kind}:{folder.parent}", tmp_path / "out", descriptor=("colour",), long_edge_px=160,
        queries="uniform",
    ).run(JobContext(emit=events.append))  # fmt: skip
    assert result.fingerprint.dataset.name == f"{kind}:set"
    assert len(result.pairs) == 4
    for row in result.pairs:
        assert row.count >= 10
        assert dict(row.pck)[5.0] > 0.9, row
    assert any("untrained" in text for text in notes_of(events))


def test_stress_changes_pairs_and_fingerprint_but_not_the_first_image(
    sequences: Path, tmp_path: Path
):
    plain = evaluate(sequences, tmp_path / "plain")
    turned = evaluate(f"rotated:{sequences}", tmp_path / "turned")
    assert turned.fingerprint.dataset.name == f"rotated:{sequences.name}"
    hashes = {r.fingerprint.dataset.pairs_sha256 for r in (plain, turned)}
    assert len(hashes) == 2
    means = [next(row.pck for row in r.summary if row.threshold_px == 5) for r in (plain, turned)]
    assert means[1] < 0.7 * means[0], "DAISY does not survive a turn"


def test_the_540_pairs_leave_the_eight_large_sequences_out(tmp_path: Path):
    for name in ("i_dc", "v_talent", "v_small", "i_small"):
        write_sequence(tmp_path / "hpatches" / name, 0, images=2)
    every = open_evaluation_set(str(tmp_path / "hpatches"))
    few = open_evaluation_set(str(tmp_path / "hpatches"), which="540")
    all_names, few_names = (
        {pairs[0].pair.sequence for pairs in found.groups} for found in (every, few)
    )
    assert all_names - few_names == {"i_dc", "v_talent"}
    assert len(LARGE_SEQUENCES) == 8
    assert 580 - 5 * len(LARGE_SEQUENCES) == 540
    assert every.pairs_sha256 != few.pairs_sha256


def test_single_groups_are_measured_in_the_order_of_the_set_and_told_apart(tmp_path: Path):
    for name in ("i_one", "v_a", "v_b", "v_c", "v_d"):
        write_sequence(tmp_path / "set" / name, 0, images=2)
    folder = str(tmp_path / "set")
    every = open_evaluation_set(folder)
    few = open_evaluation_set(folder, only=("v_b", "i_one"))
    assert [pairs[0].pair.sequence for pairs in few.groups] == ["i_one", "v_b"]
    assert few.group_names == every.group_names == ("i_one", "v_a", "v_b", "v_c", "v_d")
    assert few.subset == "i_one, v_b"
    assert few.pairs_sha256 != every.pairs_sha256
    part = open_evaluation_set(folder, which="viewpoint", only=("v_a",))
    assert (part.subset, part.group_names) == ("viewpoint, v_a", ("v_a", "v_b", "v_c", "v_d"))
    whole = open_evaluation_set(folder, only=every.group_names)
    assert (whole.subset, whole.pairs_sha256) == ("all", every.pairs_sha256)
    with pytest.raises(ConfigError, match="'v_e' is no group of the set; did you mean 'v_"):
        open_evaluation_set(folder, only=("v_a", "v_e"))
    with pytest.raises(ConfigError, match="it has 'v_a', 'v_b', 'v_c' and 1 more"):
        open_evaluation_set(folder, which="viewpoint", only=("pool",))


def test_hpatches_is_found_in_the_data_folder_by_the_words_of_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for name in ("i_one", "v_one", "v_two"):
        write_sequence(tmp_path / "hpatches-sequences-release" / name, 0, images=2)
    for word, names in (
        ("HPATCHES", ["i_one", "v_one", "v_two"]),
        ("HPATCHES_ILLUM", ["i_one"]),
        ("rotated:HPATCHES_VIEW", ["v_one", "v_two"]),
    ):
        found = open_evaluation_set(word, data_folder=tmp_path)
        assert [pairs[0].pair.sequence for pairs in found.groups] == names
    monkeypatch.setenv("DESCGUI_DATA", str(tmp_path))
    assert open_evaluation_set("HPATCHES").pair_count == 3
    assert caplog.records == []
    write_sequence(tmp_path / "sequences" / "v_other", 0, images=2)
    assert open_evaluation_set("HPATCHES").pair_count == 3
    (said,) = caplog.messages
    assert said.endswith(
        "hpatches-sequences-release is taken for HPATCHES, not sequences beside it."
    )
    with pytest.raises(ConfigError, match="does not go with"):
        open_evaluation_set("HPATCHES_ILLUM", which="viewpoint")


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("", ConfigError, "is not named"),
        ("rotated:", ConfigError, "is not named"),
        ("/missing/folder", DatasetError, "does not exist"),
        ("HPATCHES", DatasetError, "holds no HPatches"),
    ],
)
def test_a_data_set_that_is_not_there_is_refused_in_a_sentence(
    name: str, error: type[Exception], reason: str, tmp_path: Path
):
    with pytest.raises(error, match=reason):
        open_evaluation_set(name, data_folder=tmp_path)


def test_a_subset_without_sequences_is_refused(tmp_path: Path):
    write_sequence(tmp_path / "set" / "i_one", 0, images=2)
    with pytest.raises(
        DatasetError, match="no pair of the subset 'viewpoint'; its subsets are illumination, 540"
    ):
        open_evaluation_set(str(tmp_path / "set"), which="viewpoint")


# ---- settings ----------------------------------------------------------------------------------


def test_a_command_parses_back_into_the_settings_it_was_made_from():
    config = EvaluateConfig(
        dataset="a b", descriptor=("daisy", "msnet-v0=x y.pth"), protocol="seed",
        threshold_px=(0.5, 3.0), matcher="flann", seed=4, subset="540", grid_stride_px=1,
    )  # fmt: skip
    values = {"daisy": {"stride_px": 2, "normalisation": "full"}}
    options = EvaluateOptions(out=Path("o u t"), data=Path("d"), strict=True)
    words = shlex.split(command_line("evaluate", config, options, own=values))
    assert words[:3] == ["python", "main.py", "evaluate"]
    parsed = parse(build_parser("main.py"), words[2:])
    assert settings_from(parsed, EvaluateConfig) == (config, values)
    read = options_from(parsed, EvaluateOptions)
    assert (read.out, read.data, read.strict) == (Path("o u t"), Path("d"), True)


def test_the_words_of_the_originals_configs_are_understood():
    file = {"descriptor": "daisy", "dataset": {"test": "HPATCHES"}, "settings": {"stride_px": 4}}
    config, values = resolve_settings(
        EvaluateConfig,
        from_file=file,
        overrides=["dataset.test=HPATCHES_ILLUM", "normalisation=full"],
    )
    assert config.dataset == "HPATCHES_ILLUM"
    assert config.descriptor == ("daisy",)
    assert values == {"stride_px": 4, "normalisation": "full"}
    with pytest.raises(ConfigError, match=r"dataset\.tset"):
        resolve_settings(EvaluateConfig, overrides=["dataset.tset=HPATCHES"])


def test_a_training_config_serves_an_evaluation_as_well():
    file = {"descriptor": "msnet_v0", "train": {"steps": 10}}
    config, values = resolve_settings(
        EvaluateConfig, from_file=file, overrides=["dataset.test=HPATCHES"]
    )
    assert config.descriptor == ("msnet_v0",)
    assert values == {}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "resources" / "configs").glob("*.yaml")))
def test_every_config_that_names_a_test_set_is_one_of_an_evaluation(path: Path):
    values = yaml.safe_load(path.read_text("utf-8"))
    if "test" not in (values.get("dataset") or {}):
        pytest.skip("not for an evaluation")
    config, settings = resolve_settings(EvaluateConfig, from_file=values)
    assert config.dataset == "HPATCHES"
    for text in config.descriptor:
        name, _ = split_descriptor(text)
        entry = registry.get_descriptor(name)
        build_config(entry.config, settings_of(name, [name], settings))


def test_settings_of_several_descriptors_must_say_whose_they_are():
    values = {"daisy": {"stride_px": 4}}
    assert settings_of("daisy", ["daisy", "superpoint"], values) == {"stride_px": 4}
    assert settings_of("superpoint", ["daisy", "superpoint"], values) == {}
    with pytest.raises(ConfigError, match=r"Write it as daisy\.stride_px"):
        settings_of("daisy", ["daisy", "superpoint"], {"stride_px": 4})
    with pytest.raises(ConfigError, match="no descriptor here"):
        settings_of("daisy", ["daisy"], {"daisi": {"stride_px": 4}})


@pytest.mark.parametrize("text", ["", "=x", "daisy=", "  "])
def test_a_descriptor_without_name_or_file_is_refused(text: str):
    with pytest.raises(ConfigError, match="NAME=WEIGHTS"):
        split_descriptor(text)


def test_precomputed_maps_of_single_images_cannot_be_evaluated():
    config = EvaluateConfig(dataset="x", descriptor=("precomputed",))
    with pytest.raises(ConfigError, match="single images"):
        choose_descriptors(config, {})


def test_of_a_run_folder_the_last_checkpoint_is_taken(tmp_path: Path):
    file = tmp_path / "some.pth"
    assert find_weights(file) == file  # not looked at; the descriptor says what is wrong
    with pytest.raises(WeightsError, match="no checkpoint"):
        find_weights(tmp_path)
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("best.safetensors", "step-900.safetensors", "step-1000.safetensors", "log.txt"):
        (weights / name).touch()
    assert find_weights(tmp_path).name == "step-1000.safetensors"
    (weights / "last.safetensors").touch()
    assert find_weights(tmp_path).name == "last.safetensors"


def test_the_settings_of_a_run_are_kept_and_repeat_it(sequences: Path, tmp_path: Path):
    first = evaluate(sequences, tmp_path / "a")
    values = yaml.safe_load((tmp_path / "a" / "evaluation.yaml").read_text("utf-8"))
    config, settings = resolve_settings(EvaluateConfig, from_file=values)
    again = EvaluateJob(
        config=config, choices=choose_descriptors(config, settings), out=tmp_path / "b"
    ).run(JobContext())
    assert again.fingerprint == first.fingerprint
    assert lasting(again) == lasting(first)


def test_two_processes_share_the_sequences_and_find_the_same(sequences: Path, tmp_path: Path):
    """Two gloo ranks, forked off one process that has loaded torch; then one more run resumes."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork processes")
    out = tmp_path / "shared"
    code = f"""
import os, socket, sys
sys.path.insert(0, {str(REPOSITORY)!r})
import tifffile
import torch
torch.set_num_threads(1)
from pathlib import Path
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
config = EvaluateConfig(dataset={str(sequences)!r}, descriptor=("daisy",), device="cpu",
                        long_edge_px=96, query_limit=60, protocol="dense")
job = EvaluateJob(config=config, choices=choose_descriptors(config, {DAISY!r}),
                  out=Path({str(out)!r}))
children = []
for rank in range(2):
    child = os.fork()
    if child == 0:
        os.environ |= {{"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}}
        result = job.run(JobContext())
        os._exit(0 if len(result.pairs) == {2 * PAIRS} else 3)
    children.append(child)
print(*[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["0", "0"], done.stderr
    alone = evaluate(sequences, tmp_path / "alone")
    assert lasting(read_result(out)) == lasting(alone)
    lines = [len((out / name).read_text("utf-8").splitlines()) for name in
             ("rows.jsonl", "rows-1.jsonl")]  # fmt: skip
    assert lines == [1 + 6, 1 + 3]  # sequences 1 and 3, and sequence 2
    assert lasting(evaluate(sequences, out, resume=True)) == lasting(alone)


# ---- values of the files -----------------------------------------------------------------------


def test_a_range_of_values_changes_what_is_seen_and_is_in_the_fingerprint(
    sequences: Path, tmp_path: Path
):
    """The same values in another unit are the same pictures once their range is named."""
    own = evaluate(sequences, tmp_path / "own")
    clipped = evaluate(sequences, tmp_path / "clipped", value_range=(100.0, 130.0))
    assert [row.counts_within for row in clipped.pairs] != [row.counts_within for row in own.pairs]
    assert own.fingerprint.value_range is None
    assert "value_range" not in json.loads(json_text(own))["fingerprint"]
    for file in sequences.glob("*/*.png"):
        eight = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), eight.astype(np.uint16) * 3 + 40)
    moved = evaluate(sequences, tmp_path / "moved", value_range=(40 + 300.0, 40 + 390.0))
    assert moved.fingerprint.value_range == (340, 430)
    found = [row.counts_within for row in moved.pairs]
    assert found == [row.counts_within for row in clipped.pairs]
    assert read_result(tmp_path / "moved") == moved
    with pytest.raises(ResultError, match="value_range"):
        evaluate(sequences, tmp_path / "moved", resume=True)
    with pytest.raises(ConfigError, match="white"):
        evaluate(sequences, tmp_path / "wrong", value_range=(9.0, 1.0))


def test_what_the_window_shows_although_it_is_cut_short_is_not_measured(
    sequences: Path, tmp_path: Path
):
    first = cv2.imread(str(sequences / "v_near" / "2.png"))
    encoded = cv2.imencode(".jpg", first)[1].tobytes()
    (sequences / "v_near" / "2.png").write_bytes(encoded[:-200])
    result = evaluate(sequences, tmp_path / "out")
    assert len({row.key for row in result.pairs}) == PAIRS - 1
    assert any("cut short" in entry.reason for entry in result.left_out)


def test_remarks_on_the_images_are_told_while_they_are_measured(sequences: Path, tmp_path: Path):
    place = sequences / "v_near" / "2.png"
    values = cv2.imread(str(place))[..., ::-1].astype(np.float32) / 255
    values[0, 0] = np.nan
    tifffile.imwrite(place, values, photometric="rgb")
    events: list[object] = []
    result = make_job(sequences, tmp_path / "out").run(JobContext(events.append))
    assert len({row.key for row in result.pairs}) == PAIRS
    told = [text for text in notes_of(events) if text.startswith("v_near/2.png holds no finite")]
    assert len(told) == 1
