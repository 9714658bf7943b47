"""The jobs of training and export: what they refuse, keep and say."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine.checkpoints import load_state
from engine.cli.command import options_from, settings_from
from engine.cli.parser import build_parser, parse
from engine.config import ConfigError, build_config, config_values, read_yaml
from engine.data.photos import open_photos, split_photos
from engine.descriptors.registry import build_descriptor, make_spec
from engine.errors import DatasetError, DescSpaceError, JobCancelled, OutputError, WeightsError
from engine.jobs.command_line import TrainOptions, command_line
from engine.jobs.export import ExportJob
from engine.jobs.settings import (
    TrainConfig,
    config_text,
    differing,
    resolve_settings,
)
from engine.jobs.train import TrainJob
from engine.jobs.training_runs import (
    TrainingSamplesJob,
    list_training_runs,
    read_curves,
    read_previews,
    read_training_run,
)
from engine.paths import data_dir, new_run_dir
from engine.progress import CancelToken, Event, JobContext, Note, Preview, Progress
from engine.training.batches import Prefetcher

TINY = (
    *("train.steps=3", "train.batch=1", "train.width=48", "train.height=32", "train.points=30"),
    *("train.validation.every_steps=2", "train.validation.pairs=1", "train.validation.points=20"),
    *("train.saving.preview_every_steps=0", "train.saving.log_every_steps=1"),
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Fotos é")
    generator = np.random.default_rng(0)
    for number in range(5):
        noise = generator.uniform(0, 255, (40, 56, 3)).astype(np.float32)
        picture = np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 127) * 5 + 127, 0, 255)
        encoded = cv2.imencode(".png", picture.astype(np.uint8))[1]
        (folder / f"{number}.png").write_bytes(encoded.tobytes())
    return folder


def make_job(photos: Path | None, run_dir: Path, *overrides: str, **job: Any) -> TrainJob:
    config, own = resolve_settings(
        TrainConfig,
        overrides=[*TINY, *overrides],
        flags={"device": "cpu", "train": {"photos": {"folder": photos}}},
    )
    return TrainJob(config=config, own=own, run_dir=run_dir, **job)


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three steps."""
    run_dir = tmp_path_factory.mktemp("runs") / "eins"
    make_job(photos, run_dir).run(JobContext())
    return run_dir


def test_a_run_leaves_all_that_it_promises(finished: Path, photos: Path):
    assert sorted(path.name for path in finished.iterdir()) == [
        *("config.yaml", "events.jsonl", "result.json", "state", "tensorboard", "weights"),
    ]
    result = json.loads((finished / "result.json").read_text(encoding="utf-8"))
    assert result["steps"] == 3
    assert set(result["validation"]) == {"pck@1", "pck@3", "pck@5"}
    for line in (finished / "events.jsonl").read_text(encoding="utf-8").splitlines():
        assert "type" in json.loads(line)
    header = load_state(finished / "weights" / "last.safetensors")[1]
    assert header["descriptor"] == "msnet_v0"
    assert header["photos"] == f"4 photos in {photos.name}"
    for name in ("config", "command", "hardware", "versions", "photos_sha256", "seconds"):
        assert header[name]
    # Weights are shared; the path of the photos on this computer must not be.
    assert not [value for value in header.values() if str(photos.parent) in value]


def test_trained_weights_make_a_trained_descriptor(finished: Path):
    weights = finished / "weights" / "last.safetensors"
    images = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    maps = []
    for values in ({"untrained": True}, {"weights": str(weights)}):
        descriptor = build_descriptor(make_spec("msnet_v0", values))
        assert descriptor.trained == ("weights" in values)
        with torch.inference_mode():
            maps.append(descriptor.describe(images)[0].values)
    assert not torch.allclose(maps[0], maps[1], atol=1e-3)


def test_the_settings_of_a_run_are_read_back_as_they_were(finished: Path, photos: Path):
    config, own = resolve_settings(TrainConfig, from_file=read_yaml(finished / "config.yaml"))
    assert config.train.photos.folder == photos.absolute()
    assert (config, own) == (make_job(photos, finished).config, {})


def test_a_run_goes_on_and_says_what_is_different(photos: Path, tmp_path: Path):
    cancel = CancelToken()

    def stop(event: Event) -> None:
        if event == Progress("training", 2, 3):
            cancel.cancel()

    with pytest.raises(JobCancelled):
        make_job(photos, tmp_path / "r").run(JobContext(stop, cancel))
    with pytest.raises(OutputError, match="--resume"):
        make_job(photos, tmp_path / "r").run(JobContext())
    events: list[Event] = []
    job = make_job(photos, tmp_path / "r", "train.steps=5", resume=True)
    result = job.run(JobContext(events.append))
    assert result.step == 5
    done = [e.done for e in events if isinstance(e, Progress) and e.stage == "training"]
    assert done == [2, 3, 4, 5]
    warnings = [e.text for e in events if isinstance(e, Note) and e.level == "warning"]
    assert warnings == ["The run continues with other settings: train.steps."]


def test_a_run_without_a_checkpoint_starts_from_the_beginning(photos: Path, tmp_path: Path):
    """As after a sudden end in the first seconds."""
    job = make_job(photos, tmp_path / "r", resume=True)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.yaml").write_text(config_text(job.config, {}), encoding="utf-8")
    events: list[Event] = []
    assert job.run(JobContext(events.append)).step == 3
    assert any(isinstance(e, Note) and "starts from the beginning" in e.text for e in events)


@pytest.mark.parametrize(
    ("overrides", "photos_named", "error", "text"),
    [
        ((), False, ConfigError, r"train\.photos\.folder"),
        (("train.photos.folder=/no/such/folder",), None, DatasetError, "/no/such/folder"),
        (("descriptor=daisy",), True, ConfigError, "no weights that could be trained"),
        (("descriptor=nothing",), True, ConfigError, "nothing"),
        (("settings.nothing=1",), True, ConfigError, "nothing"),
        (("device=cuda:77",), True, DescSpaceError, "cuda:77"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, overrides, photos_named, error, text
):
    config, own = resolve_settings(
        TrainConfig,
        overrides=[*TINY, *overrides],
        flags={"train": {"photos": {"folder": photos}}} if photos_named else {},
    )
    run_dir = tmp_path / "r"
    with pytest.raises(error, match=text):
        TrainJob(config=config, own=own, run_dir=run_dir).run(JobContext())
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_unreadable_photos_are_told_a_few_by_name(tmp_path: Path, photos: Path):
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(8):
        (folder / f"broken{number}.jpg").touch()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    events: list[Event] = []
    make_job(folder, tmp_path / "r", "train.steps=1").run(JobContext(events.append))
    warnings = [e.text for e in events if isinstance(e, Note) and e.level == "warning"]
    assert len(warnings) == 6
    assert warnings[-1].startswith("3 more")


def test_settings_are_strict_and_dotted():
    config, own = resolve_settings(
        TrainConfig,
        from_file={
            "descriptor": "msnet_v1",
            "dataset": {"test": "HPATCHES"},  # for the evaluation, which may share the file
            "protocol": "dense",
            "train": {"steps": 7, "warp": {"rotation_deg": 1}},
            "settings": {"a": 1},
        },
        overrides=["train.warp.rotation_deg=45", "settings.b=2", "train.loss.kind=dual-softmax"],
        flags={"device": "cpu"},
    )
    assert (config.descriptor, config.device, config.train.steps) == ("msnet_v1", "cpu", 7)
    assert config.train.warp.rotation_deg == 45.0
    assert own == {"a": 1, "b": 2}
    for text in ("train.stepz=1", "train.warp.turn=3", "train.steps=0"):
        with pytest.raises(ConfigError, match=text.partition("=")[0].replace(".", r"\.")):
            resolve_settings(TrainConfig, overrides=[text])
    with pytest.raises(ConfigError, match=r"trains: .* did you mean 'train'"):
        resolve_settings(TrainConfig, overrides=["trains.steps=1"])
    with pytest.raises(ConfigError, match="settings"):
        resolve_settings(TrainConfig, from_file={"settings": 3})


def test_the_settings_survive_a_file_and_a_command_line(tmp_path: Path):
    config, own = resolve_settings(TrainConfig, overrides=[
            *TINY, "train.mining.kind=k-hard", "train.mining.random_start=true",
            "train.validation.sequences=some/ö dir", "settings.imagenet_weights=x.pth",
        ],
        flags={"train": {"photos": {"folder": Path("a b/ü")}}},
    )  # fmt: skip
    path = tmp_path / "c.yaml"
    path.write_text(config_text(config, own), encoding="utf-8")
    assert resolve_settings(TrainConfig, from_file=read_yaml(path)) == (config, own)
    options = TrainOptions(run_dir=Path("r"), plugins=(Path("p.py"),))
    words = shlex.split(command_line("train", config, options, own=own))
    assert words[:3] == ["python", "main.py", "train"]
    parsed = parse(build_parser("main.py"), words[2:])
    assert settings_from(parsed, TrainConfig) == (config, own)
    assert options_from(parsed, TrainOptions).run_dir == Path("r")
    assert options_from(parsed, TrainOptions).plugins == (Path("p.py"),)
    other = replace(config, train=replace(config.train, steps=9))
    assert differing(config, other) == ("train.steps",)


@pytest.mark.parametrize("name", ["msnet_v0", "msnet_v1", "msnet_v2", "quick", "strong"])
def test_the_shipped_settings_are_valid(name: str):
    file = data_dir("resources") / "configs" / f"{name}.yaml"
    config, own = resolve_settings(TrainConfig, from_file=read_yaml(file))
    make_spec(config.descriptor, own)
    original = name.startswith("msnet")
    assert config.descriptor == (name if original else "msnet_v0")
    if original:  # the recipe in figures
        train = config.train
        assert (train.batch, train.size_px, train.points) == (1, (320, 240), 3000)
        assert (train.warp.scale_low, train.warp.scale_high) == (0.9, 1.0)
        assert (train.warp.rotation_deg, train.warp.perspective) == (7.5, 0.6)
        assert (train.loss.kind, train.loss.margin, train.mining.kind) == (
            "contrastive", 0.5, "hard",
        )  # fmt: skip
        optimiser = train.optimiser
        assert (optimiser.kind, optimiser.rate, optimiser.weight_decay) == ("adam", 1e-4, 5e-4)
        assert train.validation.every_steps == 1000
        assert train.steps == 3 * 118_287
    assert build_config(TrainConfig, config_values(config)) == config


def test_exported_weights_are_the_runs_with_its_header(finished: Path, tmp_path: Path):
    out = tmp_path / "neu ö.safetensors"
    header = ExportJob(source=finished, out=out, which="last").run(JobContext())
    weights, stored = load_state(out)
    original, _ = load_state(finished / "weights" / "last.safetensors")
    assert stored == header
    assert stored["descriptor"] == "msnet_v0"
    assert all(torch.equal(weights[name], original[name]) for name in original)
    single = ExportJob(
        source=finished / "weights" / "last.safetensors", out=tmp_path / "b.safetensors"
    )
    single.run(JobContext())
    assert load_state(tmp_path / "b.safetensors")[1] == header


def test_weights_taken_in_place_of_those_asked_for_are_named(finished: Path, tmp_path: Path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "last.safetensors").write_bytes(
        (finished / "weights" / "last.safetensors").read_bytes()
    )
    for which, notes in (("best", 1), ("last", 0)):
        events: list[Event] = []
        job = ExportJob(source=tmp_path, out=tmp_path / f"{which}.safetensors", which=which)
        job.run(JobContext(events.append))
        said = [event.text for event in events if isinstance(event, Note)]
        assert said == [f"{tmp_path} holds no best weights; its last ones are taken."] * notes


def test_half_precision_halves_the_file_and_hardly_moves_a_descriptor(
    finished: Path, tmp_path: Path
):
    paths = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    for path, half in zip(paths, (False, True), strict=True):
        ExportJob(source=finished, out=path, half=half).run(JobContext())
    assert paths[1].stat().st_size < 0.55 * paths[0].stat().st_size
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, half = (
            build_descriptor(make_spec("msnet_v0", {"weights": str(path)})).describe(images)
            for path in paths
        )
    assert float((whole[0].values * half[0].values).sum(dim=1).min()) > 0.999


def test_an_export_of_nothing_is_refused(tmp_path: Path, finished: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "a.safetensors"
    with pytest.raises(WeightsError, match="holds no weights yet"):
        ExportJob(source=empty, out=out).run(JobContext())
    with pytest.raises(WeightsError, match="no such file"):
        ExportJob(source=tmp_path / "no.safetensors", out=out).run(JobContext())
    with pytest.raises(OutputError, match=r"\.safetensors"):
        ExportJob(source=finished, out=tmp_path / "a.pt").run(JobContext())
    inside = finished / "weights" / "last.safetensors"
    with pytest.raises(OutputError, match="not be overwritten"):
        ExportJob(source=inside, out=inside).run(JobContext())


def test_the_runs_of_the_past_are_listed_newest_first_and_read(
    photos: Path, tmp_path: Path, finished: Path
):
    runs = tmp_path / "runs"
    assert list_training_runs(runs) == ()
    for name, steps in (("a", 2), ("b", 3)):
        make_job(photos, runs / name, f"train.steps={steps}").run(JobContext())
    os.utime(runs / "a" / "config.yaml", (1e9, 1e9))
    (runs / "no run").mkdir()
    (runs / "evaluation").mkdir()
    (runs / "evaluation" / "evaluation.yaml").touch()
    (runs / "broken").mkdir()
    (runs / "broken" / "config.yaml").write_text("train: {steps: none}", encoding="utf-8")
    (runs / "b" / "result.json").unlink()  # as of a run that was ended
    infos = {info.folder.name: info for info in list_training_runs(runs)}
    assert list(infos)[-1] == "a"
    assert set(infos) == {"a", "b", "broken"}
    assert (infos["a"].step, infos["a"].finished, infos["a"].problem) == (2, True, "")
    assert (infos["b"].step, infos["b"].finished) == (3, False)
    assert "train.steps" in infos["broken"].problem
    assert infos["a"].config == read_training_run(runs / "a").config
    assert {saved.path.name for saved in infos["a"].checkpoints} >= {
        "step-00000002.safetensors", "last.safetensors",
    }  # fmt: skip
    curves = read_curves(finished)
    assert curves["loss"][:, 0].tolist() == [1, 2, 3]
    assert curves["pck@3"][:, 0].tolist() == [0, 2, 3]
    assert read_training_run(finished).best == curves["pck@3"][:, 1].max()


def test_a_figure_that_no_float_can_hold_is_passed_over(tmp_path: Path):
    """JSON allows integers of any length; the events of a run are text that anyone may edit."""
    huge = "1" + "0" * 400
    lines = [f'{{"type": "metric", "step": 1, "loss": {huge}, "rate": 0.5}}',
             f'{{"type": "metric", "step": {huge}, "rate": 0.5}}',
             '{"type": "metric", "step": 2, "loss": 0.25}']  # fmt: skip
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    curves = {name: curve.tolist() for name, curve in read_curves(tmp_path).items()}
    assert curves == {"rate": [[1, 0.5]], "loss": [[2, 0.25]]}


def test_a_new_run_gets_a_folder_of_its_own(tmp_path: Path):
    first = new_run_dir("train", runs=tmp_path)
    first.mkdir()
    assert not new_run_dir("train", runs=tmp_path).exists()
    assert new_run_dir("train", runs=tmp_path).parent == tmp_path


def test_sample_pairs_are_those_that_the_run_will_see_first(photos: Path, tmp_path: Path):
    job = make_job(photos, tmp_path)
    events: list[Event] = []
    samples = TrainingSamplesJob(config=job.config, count=3).run(JobContext(events.append))
    assert (samples.training, samples.validation, samples.problems) == (4, 1, ())
    assert [picture.shape for picture in samples.pictures] == [(32, 96, 3)] * 3
    assert events[-1] == Progress("sample pairs", 3, 3)
    split = split_photos(open_photos(photos), validation_share=0.05)
    with Prefetcher(
        split,
        job.config.train,
        device=torch.device("cpu"),
        first_step=0,
        rank=0,
        world=1,
        warn=print,
    ) as batches:
        for picture in samples.pictures:
            pairs = batches.next(CancelToken())
            seen = torch.cat([pairs.images_a[0], pairs.images_b[0]], dim=2).permute(1, 2, 0)
            assert np.abs(seen.numpy() * 255 - picture).max() <= 0.51
    with pytest.raises(ConfigError, match="folder"):
        TrainingSamplesJob(config=make_job(None, tmp_path).config).run(JobContext())


def test_the_pictures_of_a_run_are_read_back_as_they_were(photos: Path, tmp_path: Path):
    drawn: list[Preview] = []

    def listen(event: Event) -> None:
        if isinstance(event, Preview):
            drawn.append(event)

    settings = ("train.saving.preview_every_steps=1", "train.steps=5")
    make_job(photos, tmp_path / "run", *settings).run(JobContext(emit=listen))
    read = read_previews(tmp_path / "run")
    assert [one.step for one in read] == [one.step for one in drawn]
    for mine, theirs in zip(read, drawn, strict=True):
        assert list(mine.pictures) == list(theirs.pictures)
        for name, rgb in mine.pictures.items():
            np.testing.assert_array_equal(rgb, theirs.pictures[name])
    few = read_previews(tmp_path / "run", most=3)
    assert sorted({one.step for one in few}) == [0, 2, 5]


def test_a_run_without_pictures_or_with_a_damaged_log_of_them_yields_what_there_is(
    finished: Path, tmp_path: Path
):
    assert read_previews(finished) == ()
    assert read_previews(tmp_path) == ()
    board = tmp_path / "tensorboard"
    board.mkdir()
    (board / "events.out.tfevents.1.x").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00torn")
    assert read_previews(tmp_path) == ()


def test_a_run_that_ended_early_is_finished_until_it_is_taken_up_again(
    photos: Path, tmp_path: Path
):
    # Nothing changes, so no validation is better than the first.
    still = ("train.steps=50", "train.optimiser.rate=0", "train.batch_norm=frozen")
    changes = (*still, "train.validation.patience=2")
    state = make_job(photos, tmp_path / "run", *changes).run(JobContext())
    assert (state.step, state.ended) == (4, "patience")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["ended"] == "patience"
    assert read_training_run(tmp_path / "run").finished
    changes = (*still, "train.validation.patience=0")
    cancel = CancelToken()

    def stop_at_six(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 6:
            cancel.cancel()

    with pytest.raises(JobCancelled):
        make_job(photos, tmp_path / "run", *changes, resume=True).run(
            JobContext(stop_at_six, cancel)
        )
    assert not read_training_run(tmp_path / "run").finished
