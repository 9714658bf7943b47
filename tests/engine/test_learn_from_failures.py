"""A planted failure, one texture family at one scale, is found, learned from, and repaired.

The network is small and its photos are grey, so it has never learned to read colours.  Pairs of one
texture show the same colours under other brightness: it fails there.  The worst pairs of an
evaluation then teach it, and other pairs of that texture show whether it has learned.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from engine.checkpoints import load_state, save_safetensors
from engine.config import read_yaml
from engine.data.photos import open_photos, split_photos
from engine.errors import ConfigError, DatasetError, WeightsError
from engine.evaluation.learned import learned_from, mark_image
from engine.evaluation.result import read_result
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.export import ExportJob
from engine.jobs.settings import EvaluateConfig, StudyConfig, TrainConfig, resolve_settings
from engine.jobs.study import StudyJob, choose_study
from engine.jobs.train import TrainJob
from engine.progress import Event, JobContext, Note
from tests.engine.learning_textures import (
    FAILING,
    KNOWN,
    SIZE_PX,
    texture_name,
    write_pairs,
    write_photos,
)
from tests.engine.small_network import registered

NAME = "small"
MAIN_PX = 5.0


@pytest.fixture
def small() -> Iterator[None]:
    """The network among the descriptors."""
    with registered(NAME):
        yield


RECIPE = (
    *("train.batch=4", "train.width=48", "train.height=36", "train.points=120"),
    *("train.warp.scale_low=0.85", "train.warp.scale_high=0.9", "train.warp.rotation_deg=2"),
    *("train.warp.perspective=0", "train.warp.detail=1.25"),
    *("train.light.local_light=0.5", "train.light.local_light_share=0.5"),
    *("train.light.brightness=0.1", "train.light.contrast=0.2", "train.light.saturation=0"),
    *("train.light.hue_deg=0", "train.light.blur_share=0", "train.light.motion_share=0"),
    *("train.light.noise=0.02", "train.light.noise_share=0.5", "train.light.jpeg_share=0"),
    *("train.loss.kind=dual-softmax", "train.loss.temperature=0.05", "train.loss.ignored_px=4"),
    *("train.mining.kind=none", "train.validation.every_steps=0"),
    *("train.saving.preview_every_steps=0", "train.optimiser.weight_decay=0"),
)


def train(photos: Path, run_dir: Path, *overrides: str) -> Path:
    """Train, and return the last weights."""
    config, own = resolve_settings(
        TrainConfig,
        overrides=[*RECIPE, *overrides],
        flags={"device": "cpu", "descriptor": NAME, "train": {"photos": {"folder": photos}}},
    )
    TrainJob(config=config, own=own, run_dir=run_dir).run(JobContext())
    return run_dir / "weights" / "last.safetensors"


def evaluate(
    pairs: Path,
    weights: Path,
    out: Path,
    events: list[Event] | None = None,
    **changes: Any,
) -> dict[str, float]:
    """PCK by texture."""
    config = EvaluateConfig(
        dataset=str(pairs), descriptor=(f"{NAME}={weights}",), protocol="dense",
        grid_stride_px=1, long_edge_px=SIZE_PX[0], query_limit=80, threshold_px=(MAIN_PX,),
        device="cpu", **changes,
    )  # fmt: skip
    job = EvaluateJob(config=config, choices=choose_descriptors(config, {}), out=out)
    result = job.run(JobContext() if events is None else JobContext(events.append))
    shares: dict[str, list[float]] = {}
    for row in result.pairs:
        shares.setdefault(row.sequence, []).append(row.share(MAIN_PX))
    return {name: mean(some) for name, some in shares.items()}


def header(weights: Path) -> dict[str, str]:
    return load_state(weights)[1]


def test_few_steps_on_the_worst_pairs_repair_a_planted_failure(small: None, tmp_path: Path):
    write_photos(tmp_path / "photos", 40)
    develop = [*((texture, 2) for texture in KNOWN), (FAILING, 8)]
    held_out = [(texture, 5) for texture in (*KNOWN, FAILING)]
    base = train(
        tmp_path / "photos", tmp_path / "base", "train.steps=30", "train.optimiser.rate=4e-3"
    )
    run = tmp_path / "development run"
    evaluate(write_pairs(tmp_path / "development", develop, seed=1), base, run)
    tuned = train(
        tmp_path / "photos", tmp_path / "tuned", "train.steps=50", "train.optimiser.rate=2e-3",
        f"settings.weights={base}", f"train.extra.pairs={run}", "train.extra.worst=8",
    )  # fmt: skip
    pairs = write_pairs(tmp_path / "held out", held_out, seed=2)
    before, after = (
        evaluate(pairs, weights, tmp_path / name)
        for weights, name in ((base, "before"), (tuned, "after"))
    )
    failing = texture_name(FAILING)
    assert before.pop(failing) < 0.25
    assert after.pop(failing) > 0.75
    assert mean(before.values()) > 0.98
    assert mean(after.values()) >= mean(before.values()) - 0.005


# ---- what was learned from is not reported -------------------------------------------------------

FEW = ("train.steps=1", "train.batch=2", "train.extra.share=0.5")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 6)
    return tmp_path / "photos"


def learn(photos: Path, run_dir: Path, pairs: Path, *overrides: str) -> Path:
    """Weights that learned from pairs, and from nothing long enough to matter."""
    return train(photos, run_dir, *FEW, f"train.extra.pairs={pairs}", *overrides)


@pytest.fixture
def learned(small: None, photos: Path, tmp_path: Path) -> Path:
    """Weights that learned from two textures, out of a folder that is gone since."""
    pairs = write_pairs(tmp_path / "gone", [(KNOWN[0], 1), (KNOWN[2], 1)], seed=3)
    weights = learn(photos, tmp_path / "learned", pairs)
    shutil.rmtree(tmp_path / "gone")
    return weights


def with_copies(folder: Path) -> Path:
    """A set with two known textures under other names, and one that is new."""
    write_pairs(folder, [(KNOWN[0], 1), (KNOWN[2], 1), (KNOWN[1], 1)], seed=3)
    table = (folder / "pairs.csv").read_text(encoding="utf-8")
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        path.rename(folder / f"renamed {number}.png")
        table = table.replace(path.name, f"renamed {number}.png")
    (folder / "pairs.csv").write_text(table, encoding="utf-8")
    return folder / "pairs.csv"


def test_weights_are_not_reported_on_copies_of_the_images_they_learned_from(
    learned: Path, tmp_path: Path
):
    pairs = with_copies(tmp_path / "set")
    with pytest.raises(DatasetError) as caught:
        evaluate(pairs, learned, tmp_path / "run")
    assert caught.value.reason == (
        "cannot be reported: the weights of small learned from 4 of its 6 images, in clouds 2, "
        "dots 1.7; --without-learned reports the other 1 group"
    )
    assert not (tmp_path / "run").exists()


def test_the_groups_that_nothing_was_learned_from_are_reported(learned: Path, tmp_path: Path):
    pairs = with_copies(tmp_path / "set")
    events: list[Event] = []
    found = evaluate(pairs, learned, tmp_path / "run", events, without_learned=True)
    assert set(found) == {"clouds 4"}
    assert read_result(tmp_path / "run").fingerprint.dataset.subset == "clouds 4"
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "small learned from images of 2 groups (clouds 2, dots 1.7): left out." in notes


def test_where_nothing_is_left_to_report_that_is_said(learned: Path, tmp_path: Path):
    pairs = write_pairs(tmp_path / "set", [(KNOWN[0], 1)], seed=3)
    with pytest.raises(DatasetError, match="has no group without images that small learned from"):
        evaluate(pairs, learned, tmp_path / "run", without_learned=True)
    with pytest.raises(DatasetError, match="in clouds 2; report another set"):
        evaluate(pairs, learned, tmp_path / "run")


def test_other_images_are_reported_as_always(learned: Path, tmp_path: Path):
    pairs = write_pairs(tmp_path / "set", [(KNOWN[0], 1), (KNOWN[2], 1)], seed=4)
    assert set(evaluate(pairs, learned, tmp_path / "run")) == {"clouds 2", "dots 1.7"}


def test_a_study_of_what_was_learned_from_is_refused(learned: Path, tmp_path: Path):
    config = StudyConfig(
        descriptor=f"{NAME}={learned}", dataset=str(with_copies(tmp_path / "set")), device="cpu"
    )
    job = StudyJob(config=config, spec=choose_study(config, {}), out=tmp_path / "study")
    with pytest.raises(DatasetError, match=r"4 of its 6 images, .*; report another set"):
        job.run(JobContext())


def test_what_was_learned_from_goes_on_from_weights_to_weights(
    learned: Path, photos: Path, tmp_path: Path
):
    more = write_pairs(tmp_path / "more", [(KNOWN[1], 1)], seed=5)
    second = learn(photos, tmp_path / "second", more, f"settings.weights={learned}")
    third = train(photos, tmp_path / "third", "train.steps=1", f"settings.weights={second}")
    out = tmp_path / "exported.safetensors"
    ExportJob(source=third, out=out, half=True).run(JobContext())
    paths = [*(tmp_path / "more").glob("*.png")]
    expected = learned_from(learned) | {mark_image(path) for path in paths}
    assert len(expected) == 6
    for weights in (second, third, out):
        assert learned_from(weights) == expected


def test_a_run_that_goes_on_without_its_extra_pairs_does_not_forget_them(
    learned: Path, photos: Path
):
    run_dir, before = learned.parent.parent, learned_from(learned)
    config, own = resolve_settings(
        TrainConfig,
        from_file=read_yaml(run_dir / "config.yaml"),
        overrides=["train.extra.pairs=", "train.steps=2"],
    )
    TrainJob(config=config, own=own, run_dir=run_dir, resume=True).run(JobContext())
    assert header(learned)["step"] == "2"
    assert learned_from(learned) == before


def test_weights_name_what_they_learned_from_but_no_place_on_this_computer(
    learned: Path, tmp_path: Path
):
    told = header(learned)
    assert told["extra_pairs"] == "2 pairs of pairs.csv"
    assert "pairs: pairs.csv" in told["config"]
    assert not [value for value in told.values() if str(tmp_path) in value]


def test_marks_that_cannot_be_read_are_no_marks_of_nothing(learned: Path, tmp_path: Path):
    weights, told = load_state(learned)
    for text in ("[]", "{", json.dumps({"short": 3}), json.dumps({"0" * 64: "3"})):
        path = tmp_path / "damaged.safetensors"
        save_safetensors(path, weights, {**told, "learned_images": text})
        with pytest.raises(WeightsError, match="holds no hashes of images under learned_images"):
            learned_from(path)


# ---- what judges a run is not learned from -------------------------------------------------------


def test_sequences_that_judge_the_run_are_not_learned_from(
    small: None, photos: Path, tmp_path: Path
):
    pairs = write_pairs(tmp_path / "set", [(KNOWN[0], 2)], seed=6)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    judged = f"train.validation.sequences={tmp_path / 'copy'}"
    with pytest.raises(ConfigError) as caught:
        learn(photos, tmp_path / "run", pairs, judged)
    assert "4 images of" in str(caught.value)
    assert "(in clouds 2) would judge the run, and the weights learn from them" in str(caught.value)
    assert not (tmp_path / "run").exists()  # so the same command may be tried again
    weights = learn(photos, tmp_path / "run", pairs)
    with pytest.raises(ConfigError, match="would judge the run"):
        train(photos, tmp_path / "next", *FEW, f"settings.weights={weights}", judged)


def test_photos_kept_apart_are_not_learned_from(small: None, photos: Path, tmp_path: Path):
    pairs = write_pairs(tmp_path / "set", [(KNOWN[0], 1)], seed=7)
    kept = split_photos(open_photos(photos), validation_share=0.05).validation[0]
    shutil.copy(tmp_path / "set" / "clouds-2-0-b.png", photos / kept)
    with pytest.raises(ConfigError, match=f"{kept} would judge the run as photos kept apart"):
        learn(photos, tmp_path / "run", pairs)
