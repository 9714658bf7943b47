"""Evaluations of the past, and what one will take, on small sequences that are measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import ConfigError, DatasetError, JobCancelled, OutputError, ResultError
from engine.evaluation.result import summarise
from engine.images import write_image
from engine.jobs.estimate import EstimateJob
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.runs import (
    list_runs,
    read_runs,
    restore_run,
    run_settings,
    trash_run,
)
from engine.jobs.settings import EvaluateConfig
from engine.paths import new_run_dir, runs_dir
from engine.progress import Event, JobContext, Progress


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sequence of light and one of viewpoint, two pairs each."""
    root = tmp_path_factory.mktemp("data") / "séquences"
    for number, name in enumerate(("i_light", "v_turn")):
        folder = root / name
        folder.mkdir(parents=True)
        noise = np.random.default_rng(number).random((90, 120, 3)).astype(np.float32)
        picture = (255 * cv2.GaussianBlur(noise, (0, 0), 1.5)).astype(np.uint8)
        for index in (1, 2, 3):
            write_image(folder / f"{index}.png", np.roll(picture, index, axis=1))
            if index > 1:
                shift = np.array([[1.0, 0, index - 1], [0, 1, 0], [0, 0, 1]])
                np.savetxt(folder / f"H_1_{index}", shift)
    return root


def config_for(sequences: Path, **changes: object) -> EvaluateConfig:
    values = {
        "dataset": str(sequences),
        "descriptor": ("daisy",),
        "long_edge_px": 96,
        "device": "cpu",
        **changes,
    }
    return EvaluateConfig(**values)  # type: ignore[arg-type]


def job_for(config: EvaluateConfig, out: Path, **changes: object) -> EvaluateJob:
    return EvaluateJob(config=config, choices=choose_descriptors(config, {}), out=out, **changes)


def stop_after(pairs: int) -> JobContext:
    """A context that is cancelled once so many pairs are done."""
    context = JobContext()

    def emit(event: Event) -> None:
        if event == Progress("pairs", pairs, 4):
            context.cancel.cancel()

    return JobContext(emit=emit, cancel=context.cancel)


def test_a_finished_run_is_listed_and_read_with_what_its_result_says(
    sequences: Path, fresh_home: Path
) -> None:
    out = new_run_dir("evaluate")
    result = job_for(config_for(sequences), out, command="main.py evaluate").run(JobContext())
    (info,) = list_runs()
    assert (info.folder, info.finished, info.done, info.total) == (out, True, 4, 4)
    assert info.config is not None
    assert info.config.dataset == str(sequences)
    run = read_runs([out])
    assert run.pairs == result.pairs
    assert run.summary == result.summary
    assert (run.root, run.done, run.total, run.finished) == (sequences, 4, 4, True)
    assert run.results[0].sources.command == "main.py evaluate"
    assert run.title == "daisy · séquences · closed"


def test_means_of_a_run_under_way_are_those_of_its_result(
    sequences: Path, fresh_home: Path
) -> None:
    config = config_for(sequences, protocol="dense")
    result = job_for(config, new_run_dir("evaluate")).run(JobContext())
    live = summarise(result.pairs, result.fingerprint, resamples=0)
    assert len(live) == len(result.summary)
    for mine, theirs in zip(live, result.summary, strict=True):
        assert (mine.descriptor, mine.subset, mine.queries, mine.threshold_px, mine.pairs) == (
            theirs.descriptor, theirs.subset, theirs.queries, theirs.threshold_px, theirs.pairs,
        )  # fmt: skip
        assert mine.pck == theirs.pck
        assert mine.ends is None
    assert {row.pck for row in summarise((), result.fingerprint, resamples=0)} == {None}


def test_an_unfinished_run_tells_how_far_it_is_and_can_be_continued_from_its_folder_alone(
    sequences: Path, fresh_home: Path
) -> None:
    out = new_run_dir("evaluate")
    with pytest.raises(JobCancelled):
        job_for(config_for(sequences), out).run(stop_after(3))
    (info,) = list_runs()
    assert (info.finished, info.done, info.total, info.problem) == (False, 3, 4, "")
    run = read_runs([out])
    assert [row.key for row in run.pairs] == [("i_light", 2), ("i_light", 3), ("v_turn", 2)]
    assert (run.root, run.done, run.total, run.finished) == (sequences, 3, 4, False)
    config, values = run_settings(out)
    assert config == config_for(sequences)
    choices = choose_descriptors(config, values)
    result = EvaluateJob(config=config, choices=choices, out=out, resume=True).run(JobContext())
    whole = job_for(config_for(sequences), new_run_dir("evaluate")).run(JobContext())
    assert result.pairs == whole.pairs
    assert list_runs()[0].finished


def test_a_run_without_points_opens_and_says_so_in_one_sentence(
    sequences: Path, fresh_home: Path
) -> None:
    """As runs of earlier versions are."""
    out = new_run_dir("evaluate")
    job_for(config_for(sequences), out).run(JobContext())
    assert read_runs([out]).notes == ()
    shutil.rmtree(out / "points")
    run = read_runs([out])
    assert len(run.pairs) == 4
    (note,) = run.notes
    assert note.startswith(f"{out.name} was measured before matches were kept: ")


def test_a_run_of_which_nothing_was_measured_is_refused_in_a_sentence(
    sequences: Path, fresh_home: Path
) -> None:
    out = new_run_dir("evaluate")
    with pytest.raises(JobCancelled):
        job_for(config_for(sequences), out).run(stop_after(1))
    (out / "rows.jsonl").write_bytes(b"")
    (info,) = list_runs()
    assert (info.done, info.total, info.finished, info.problem) == (0, 0, False, "")
    with pytest.raises(ResultError, match="measured nothing yet"):
        read_runs([out])


def test_two_runs_stand_in_one_table_with_a_warning_for_what_differs(
    sequences: Path, fresh_home: Path
) -> None:
    one, other = runs_dir() / "evaluate-1", runs_dir() / "evaluate-2"
    job_for(config_for(sequences), one).run(JobContext())
    job_for(config_for(sequences, seed=7), other).run(JobContext())
    both = read_runs([one, other])
    assert [d.label for d in both.descriptors] == ["daisy (evaluate-1)", "daisy (evaluate-2)"]
    assert [d.name for d in both.descriptors] == ["daisy", "daisy"]
    assert len(both.pairs) == 8
    assert any("differ in seed" in warning for warning in both.warnings)


def test_a_run_goes_to_the_trash_and_comes_back(sequences: Path, fresh_home: Path) -> None:
    out = new_run_dir("evaluate")
    job_for(config_for(sequences), out).run(JobContext())
    before = read_runs([out])
    trashed = trash_run(out)
    assert list_runs() == ()
    assert trashed.parent == fresh_home / "data" / "trash"
    restore_run(trashed, out)
    assert read_runs([out]) == before
    shutil.copytree(out, trashed)
    second = trash_run(out)  # one of that name lies there already
    assert second != trashed
    assert second.is_dir()
    out.mkdir()
    with pytest.raises(OutputError, match="exists again"):
        restore_run(second, out)


def test_training_runs_beside_them_are_not_listed(tmp_path):
    folder = tmp_path / "train-20260102-030405"
    folder.mkdir()
    (folder / "config.yaml").write_text("descriptor: msnet_v0\n", encoding="utf-8")
    (folder / "result.json").write_text('{"steps": 60}', encoding="utf-8")
    assert list_runs(tmp_path) == ()


def test_a_damaged_run_is_listed_with_its_problem_and_others_stay_usable(
    sequences: Path, fresh_home: Path
) -> None:
    good = new_run_dir("evaluate")
    job_for(config_for(sequences), good).run(JobContext())
    for name, damage in (("a", "{"), ("b", '{"fingerprint": 3}'), ("c", "[]")):
        bad = runs_dir() / f"evaluate-{name}"
        shutil.copytree(good, bad)
        (bad / "result.json").write_text(damage)
    for name, damage in (
        ("d", "descriptor: 2020-13-45"),
        ("e", "dataset: ~nobody_of_this_name"),
        ("f", "descriptor: " + "[" * 5000),
        ("g", "protocol: [1, 2]"),
    ):
        bad = runs_dir() / f"evaluate-{name}"
        shutil.copytree(good, bad)
        (bad / "evaluation.yaml").write_text(damage)
    (runs_dir() / "mine").mkdir()  # no run at all
    runs = {info.folder.name: info for info in list_runs()}
    assert len(runs) == 8
    assert runs[good.name].problem == ""
    assert {name for name, run in runs.items() if run.problem} == {
        f"evaluate-{name}" for name in "abcdfg"
    }


def test_new_folders_do_not_meet(fresh_home: Path) -> None:
    first = new_run_dir("evaluate")
    first.mkdir(parents=True)
    assert new_run_dir("evaluate") != first


def test_an_estimate_counts_pairs_and_images_and_writes_nothing(
    sequences: Path, fresh_home: Path
) -> None:
    config = config_for(sequences, descriptor=("daisy",))
    estimate = EstimateJob(config=config, choices=choose_descriptors(config, {})).run(JobContext())
    assert (estimate.pairs, estimate.images) == (4, 6)
    assert estimate.measured == "v_turn 1 → 2"
    assert 0 < estimate.seconds < 600
    # DAISY holds 200 float32 a cell of 2×2 px: 200 bytes a pixel, for two images of 96×72.
    assert estimate.maps_bytes == pytest.approx(2 * 96 * 72 * 200, rel=0.05)
    assert not runs_dir().exists()


def test_an_estimate_fails_with_the_sentence_that_the_run_would_fail_with(tmp_path: Path) -> None:
    config = config_for(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="nothing"):
        EstimateJob(config=config, choices=choose_descriptors(config, {})).run(JobContext())
    with pytest.raises(ConfigError, match="at least one"):
        choose_descriptors(config_for(tmp_path, descriptor=()), {})
