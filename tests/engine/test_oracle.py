"""The row that receives the true scales, and is never presented as a descriptor."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from engine.cli.commands.evaluate import as_text
from engine.cli.run import main
from engine.descriptors.msnet import MSNetV2, build_network
from engine.descriptors.registry import list_descriptors, make_spec
from engine.errors import ConfigError, JobCancelled
from engine.evaluation.comparison import merge_results
from engine.evaluation.oracle import describe_knowing, true_scales
from engine.evaluation.points import read_points
from engine.evaluation.report_prose import build_report
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import EvaluationResult, read_result
from engine.geometry.homography import warp_points
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.report import ReportJob
from engine.jobs.settings import EvaluateConfig, resolve_settings
from engine.paths import data_dir
from engine.progress import CancelToken, Event, JobContext, Note

SIZE_PX = (96, 72)
ALL = ("msnet_v2", "oracle:msnet_v2", "msnet_v2_estimated")
TWICE = np.array([[2.0, 0, -48], [0, 2, -36], [0, 0, 1]])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def soft_noise(seed: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(generator.uniform(-1, 1, (*SIZE_PX[::-1], 3)), (0, 0), 2)
    return (255 * (0.5 + noise / (4 * noise.std())).clip(0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose light changes, and one that comes nearer: twice as large, then four times."""
    folder = tmp_path_factory.mktemp("Sequenzen é")
    for seed, (name, step) in enumerate((("i_light", np.eye(3)), ("v_near", TWICE))):
        (folder / name).mkdir()
        first = soft_noise(seed)
        cv2.imwrite(str(folder / name / "1.png"), first)
        h_k_from_1 = np.eye(3)
        for index in (2, 3):
            h_k_from_1 = step @ h_k_from_1
            warped = cv2.warpPerspective(first, h_k_from_1, SIZE_PX)
            cv2.imwrite(str(folder / name / f"{index}.png"), (0.9 * warped).astype(np.uint8))
            np.savetxt(folder / name / f"H_1_{index}", h_k_from_1)
    return folder


def make_job(dataset: Path, out: Path, *descriptors: str, **changes: object) -> EvaluateJob:
    config = EvaluateConfig(
        dataset=str(dataset), device="cpu", long_edge_px=96, query_limit=40,
        descriptor=descriptors, **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    return EvaluateJob(config=config, choices=choose_descriptors(config, {}), out=out)


@pytest.fixture(scope="module")
def finished(sequences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "drei"
    make_job(sequences, out, *ALL).run(JobContext())
    return out


@pytest.fixture(scope="module")
def result(finished: Path) -> EvaluationResult:
    return read_result(finished)


def counts(result: EvaluationResult, label: str) -> dict[tuple[str, int], tuple[int, ...]]:
    return {
        (row.sequence, row.index): row.counts_within
        for row in result.pairs
        if row.descriptor == label
    }


# ---- the scales it receives ---------------------------------------------------------------------


def test_true_scales_are_how_much_larger_an_image_shows_a_square_than_the_other():
    """Against the area of small squares, carried to the other image corner by corner."""
    h_b_from_a = np.array([[1.3, 0.2, 4.0], [-0.1, 0.8, 9.0], [1e-3, -5e-4, 1.0]])
    scales_a, scales_b = true_scales(h_b_from_a, (40, 30), (50, 20))
    assert scales_a.shape == (30, 40)
    assert scales_b.shape == (20, 50)
    assert scales_a.dtype == scales_b.dtype == np.float32
    corners = 0.05 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    for scales, h_other_from_this in (
        (scales_a, h_b_from_a),
        (scales_b, np.linalg.inv(h_b_from_a)),
    ):
        for x, y in ((0, 0), (7, 11), (39, 19)):
            moved = warp_points(h_other_from_this, corners + np.array([x, y])).astype(np.float32)
            area = cv2.contourArea(moved)
            assert scales[y, x] == pytest.approx(0.1 / np.sqrt(area), rel=2e-3)


def test_places_without_an_image_in_the_other_have_the_scale_one():
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [-0.1, 0, 1]])  # x = 10 goes to infinity
    scales, _ = true_scales(horizon, (20, 4), (20, 4))
    assert np.isfinite(scales).all()
    assert (scales[:, 10] == 1).all()


def test_both_images_are_described_as_msnet_v2_at_their_true_scales():
    descriptor = MSNetV2(build_network(weights=None, imagenet_weights=None), None)
    pixels = soft_noise(0)[:, :, ::-1].astype(np.float32) / 255
    shrunk = np.linalg.inv(TWICE)
    for h_b_from_a, scale_a, scale_b in ((TWICE, 1.0, 2.0), (shrunk, 2.0, 1.0)):
        found = describe_knowing(
            descriptor, (pixels, pixels), h_b_from_a, device="cpu", precision="float32"
        )
        images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
        for levels, scale in zip(found, (scale_a, scale_b), strict=True):
            network = descriptor.network
            with torch.inference_mode():
                (expected,) = MSNetV2(network, None, scale=scale).describe(images)
            (level,) = levels
            torch.testing.assert_close(level.values, expected.values)
            assert level.grid == expected.grid


def test_it_asks_the_same_queries_and_differs_only_where_scales_differ(result: EvaluationResult):
    plain, oracle = counts(result, "msnet_v2"), counts(result, "msnet_v2 (oracle)")
    assert plain.keys() == oracle.keys() == counts(result, "msnet_v2_estimated").keys()
    assert len(plain) == 4
    asked = {}
    for row in result.pairs:
        asked.setdefault((row.sequence, row.index), set()).add(row.count)
    assert all(len(numbers) == 1 for numbers in asked.values())
    for key, within in oracle.items():
        assert (within == plain[key]) == key[0].startswith("i_")


# ---- its name -----------------------------------------------------------------------------------


def test_the_word_stands_in_every_file_and_table(finished: Path, result: EvaluationResult):
    assert result.labels == ("msnet_v2", "msnet_v2 (oracle)", "msnet_v2_estimated")
    stored = json.loads((finished / "result.json").read_text(encoding="utf-8"))
    marks = [one.get("oracle") for one in stored["fingerprint"]["descriptors"]]
    assert marks == [None, True, None]
    for name in ("summary.csv", "pairs.csv"):
        with (finished / name).open(encoding="utf-8", newline="") as file:
            labels = {row["descriptor"] for row in csv.DictReader(file)}
        assert labels == set(result.labels)
    table = "\n".join(as_text(result))
    assert table.count("msnet_v2 (oracle)") == 4  # three thresholds and the time
    timing = next(one for one in result.timings if one.descriptor == "msnet_v2 (oracle)")
    assert (timing.images, timing.pairs) == (8, 4)


def test_the_files_field_is_in_the_schema(result: EvaluationResult):
    path = data_dir("resources") / "schemas" / "result.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    entry = schema["properties"]["fingerprint"]["properties"]["descriptors"]["items"]
    assert entry["properties"]["oracle"] == {"const": True}
    for one in result.fingerprint.to_json()["descriptors"]:
        assert set(entry["required"]) <= set(one) <= set(entry["properties"])


def test_the_report_says_it_and_never_calls_it_the_best(finished: Path, result: EvaluationResult):
    out = finished.parent / "bericht"
    ReportJob(folders=(finished,), out=out).run(JobContext())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "msnet_v2 (oracle)" in page
    assert "given the true scales" in page
    # Figures that put it before all others.
    raised = tuple(
        replace(row, pck=1.0) if row.descriptor == "msnet_v2 (oracle)" else row
        for row in result.summary
    )
    merged = merge_results([("run", replace(result, summary=raised))])
    report = build_report(Statistics(merged), worst=[], command="")
    assert "oracle" not in report.summary
    (table,) = report.tables["results"]
    strong = {row[0].text for row in table.rows if any(cell.strong for cell in row)}
    assert strong
    assert "msnet_v2 (oracle)" not in strong
    (remark,) = (row[0].detail for row in table.rows if "oracle" in row[0].text)
    assert remark == "given the true scales"
    worst = Statistics(merge_results([("run", result)])).worst_rows()
    assert {row.descriptor for row in worst} <= {"msnet_v2", "msnet_v2_estimated"}


def test_alone_it_has_a_summary_and_its_matches_are_kept(sequences: Path, tmp_path: Path):
    alone = make_job(sequences, tmp_path / "r", "oracle:msnet_v2").run(JobContext())
    rows = Statistics(merge_results([("run", alone)])).worst_rows(limit=2)
    assert {row.descriptor for row in rows} == {"msnet_v2 (oracle)"}
    for row in rows:
        points = read_points(tmp_path / "r", *row.key).points[row.queries][0]
        assert np.mean(points.errors_px <= 3) == dict(row.pck)[3.0]


def test_a_run_warns_of_it_and_is_repeated_and_continued_as_it_was(
    sequences: Path, tmp_path: Path, result: EvaluationResult
):
    events: list[Event] = []
    cancel = CancelToken()

    def stop(event: Event) -> None:
        events.append(event)
        if len(list((tmp_path / "r").glob("rows*.jsonl"))) and any(
            getattr(one, "done", 0) == 2 for one in events
        ):
            cancel.cancel()

    job = make_job(sequences, tmp_path / "r", *ALL)
    with pytest.raises(JobCancelled):
        job.run(JobContext(stop, cancel))
    warnings = [e.text for e in events if isinstance(e, Note) and e.level == "warning"]
    assert any("msnet_v2 (oracle) is given the true scales" in text for text in warnings)
    settings = yaml.safe_load((tmp_path / "r" / "evaluation.yaml").read_text(encoding="utf-8"))
    assert settings["descriptor"] == list(ALL)
    config, values = resolve_settings(EvaluateConfig, from_file=settings)
    again = EvaluateJob(
        config=config, choices=choose_descriptors(config, values), out=tmp_path / "r", resume=True
    )
    assert again.run(JobContext()).pairs == result.pairs


def test_labels_tell_several_apart(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").touch()
    names = (f"oracle:msnet_v2={tmp_path / 'a.safetensors'}", "msnet_v2",
             f"oracle:msnet_v2={tmp_path / 'b.safetensors'}")  # fmt: skip
    choices = choose_descriptors(EvaluateConfig(descriptor=names), {})
    assert [choice.label for choice in choices] == [
        *("msnet_v2 (a, oracle)", "msnet_v2", "msnet_v2 (b, oracle)"),
    ]
    assert [choice.oracle for choice in choices] == [True, False, True]


# ---- where it cannot be ------------------------------------------------------------------------


def test_only_msnet_v2_can_be_told(sequences: Path, tmp_path: Path):
    for name in ("oracle:daisy", "oracle:msnet_v2_estimated"):
        with pytest.raises(ConfigError, match="no use for true scales"):
            make_job(sequences, tmp_path / "r", name).run(JobContext())
        assert not (tmp_path / "r").exists()


def test_no_descriptor_of_the_window_and_of_single_pairs_is_one(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert not [entry.name for entry in list_descriptors() if "oracle" in entry.name]
    with pytest.raises(ConfigError, match="oracle:msnet_v2"):
        make_spec("oracle:msnet_v2")
    code = main(
        ["match", str(sequences / "v_near"), "--descriptor", "oracle:msnet_v2",
         "--out", str(tmp_path / "m.csv")],
        open_window=lambda _: pytest.fail("no window"),
    )  # fmt: skip
    assert code == 1
    assert "there is no 'oracle:msnet_v2'" in capsys.readouterr().err
