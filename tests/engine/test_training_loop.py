"""The loop of training, on a network of a few hundred weights and pictures of 48 × 32 pixels."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.checkpoints import load_state
from engine.data.photos import PhotoSplit
from engine.data.synthetic import TrainingPairs
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.registry import DescriptorSpec
from engine.descriptors.tensors import unit_length
from engine.errors import (
    ConfigError,
    DatasetError,
    DescSpaceError,
    DeviceError,
    JobCancelled,
    OutputError,
    ResultError,
    WeightsError,
)
from engine.evaluation.protocols import QueryPoints
from engine.evaluation.ranks import Ranks
from engine.geometry.coords import CellGrid
from engine.progress import (
    CancelToken,
    Checkpoint,
    Event,
    JobContext,
    Metric,
    Note,
    PauseToken,
    Preview,
    Progress,
    Stage,
)
from engine.training.batches import PairNumbers, PhotoReader, Prefetcher
from engine.training.loop import TrainingState, TrainingTask, reduces, train
from engine.training.run_folder import EVENTS_FILE, EventsFile, RunFolder, read_events
from engine.training.schedule import RunningMean, make_optimiser, rate_at
from engine.training.settings import (
    LossSettings,
    MiningSettings,
    OptimiserSettings,
    PhotoSettings,
    SavingSettings,
    TrainSettings,
    ValidationSettings,
)
from engine.training.validation import ValidationPair, measure

CPU = torch.device("cpu")


class TinyNetwork(nn.Module):
    """All layers with state: normalisation, dropout, weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.2)
        self.second = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        generator = torch.Generator().manual_seed(1)
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.3, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        return unit_length(self.second(self.drop(self.norm(self.first(images)).relu())))


class TinyDescriptor:
    dim = 6
    shift_period_px = 4
    trained = False
    half_precision = True

    def __init__(self, levels: int = 1) -> None:
        self.module: nn.Module = TinyNetwork()
        self.levels = levels
        self.spoil: Callable[[Tensor], Tensor] = lambda values: values

    def describe(self, images: Tensor) -> Levels:
        values = self.module(images)
        if self.module.training:
            values = self.spoil(values)
        return (DescriptorMap(values, CellGrid(4.0, 0.0)),) * self.levels


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhotoSplit:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(9):
        noise = generator.uniform(0, 255, (40 + 4 * number, 60, 3)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
        picture = np.clip((smooth - 127) * 5 + 127, 0, 255).astype(np.uint8)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    names = tuple(f"{number}.png" for number in range(9))
    return PhotoSplit(folder, names[:7], names[7:])


def tiny_settings(**changes: Any) -> TrainSettings:
    settings = TrainSettings(
        steps=20,
        batch=2,
        width=48,
        height=32,
        points=40,
        photos=PhotoSettings(workers=2),
        mining=MiningSettings(kind="semi-hard", radius_px=8.0),
        optimiser=OptimiserSettings(rate=0.01, warmup_steps=3, clip_norm=1.0, ema=0.9),
        validation=ValidationSettings(every_steps=5, pairs=2, points=20),
        saving=SavingSettings(every_s=1e9, keep=2, log_every_steps=1, preview_every_steps=0),
    )
    return replace(settings, **changes)


def make_task(split: PhotoSplit, folder: Path, **changes: Any) -> TrainingTask:
    run = RunFolder(folder)
    run.begin(resume=run.begun)
    return TrainingTask(
        descriptor=changes.pop("descriptor", None) or TinyDescriptor(),
        spec=changes.pop("spec", DescriptorSpec("tiny")),
        settings=tiny_settings(**changes),
        split=split,
        folder=run,
        device=CPU,
        ranks=Ranks(),
        metadata={"descriptor": "tiny"},
    )


def run_task(task: TrainingTask, stop_after: int | None = None) -> tuple[list[Event], Any]:
    """Train, and stop after so many steps as a user would."""
    events: list[Event] = []
    cancel = CancelToken()

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.done == stop_after:
            assert event.stage is Stage.TRAINING
            cancel.cancel()

    context = JobContext(emit, cancel)
    if stop_after is None:
        return events, train(task, context)
    with pytest.raises(JobCancelled):
        train(task, context)
    return events, None


def curve(folder: Path) -> list[tuple[int, float]]:
    return [
        (event["step"], event["loss"])
        for event in read_events(folder / EVENTS_FILE)
        if event["type"] == "metric" and "loss" in event
    ]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("safe", [False, True])
def test_auto_takes_bfloat16_where_the_processor_has_it_and_the_network_bears_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool, safe: bool
):
    monkeypatch.setattr("engine.training.loop.in_hardware", lambda: fast)
    descriptor = TinyDescriptor()
    descriptor.half_precision = safe
    cpu = torch.device("cpu")
    taken = {
        precision: reduces(TrainSettings(precision=precision), descriptor, cpu)
        for precision in ("auto", "float32", "bfloat16")
    }
    assert taken == {"auto": fast and safe, "float32": False, "bfloat16": True}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mining": MiningSettings(kind="none"), "loss": LossSettings(kind="dual-softmax")},
        {"optimiser": OptimiserSettings(kind="adam", schedule="constant")},
    ],
)
def test_ten_steps_and_ten_more_are_twenty_steps_bit_for_bit(
    photos: PhotoSplit, tmp_path: Path, changes: dict[str, Any]
):
    run_task(make_task(photos, tmp_path / "whole", **changes))
    run_task(make_task(photos, tmp_path / "parts", **changes), stop_after=10)
    run_task(make_task(photos, tmp_path / "parts", **changes))
    whole, parts = (RunFolder(tmp_path / name).load_state() for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    for state in (whole, parts):
        state.pop("seconds")
    assert_same(whole, parts)
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")
    assert [step for step, _ in curve(tmp_path / "parts")] == list(range(1, 21))


def assert_same(one: Any, other: Any, where: str = "") -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}.{number}")
    else:
        assert one == other, where


def test_training_draws_no_number_from_torchs_own_generator(photos: PhotoSplit, tmp_path: Path):
    torch.manual_seed(4)
    expected = torch.rand(3)
    task = make_task(photos, tmp_path, steps=2)
    torch.manual_seed(4)
    run_task(task)
    assert torch.equal(torch.rand(3), expected)


def test_the_loss_falls_and_the_figures_are_told(photos: PhotoSplit, tmp_path: Path):
    task = make_task(
        photos, tmp_path, steps=60, mining=MiningSettings(kind="none"),
        loss=LossSettings(kind="dual-softmax", temperature=0.1),
        optimiser=OptimiserSettings(rate=0.02),
    )  # fmt: skip
    events, state = run_task(task)
    losses = [loss for _, loss in curve(tmp_path)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    steps = [event for event in events if isinstance(event, Metric) and "loss" in event.values]
    for name in (
        "loss", "distance", "similarity", "rate", "step_s", "data_wait_s", "data_wait_share",
        "epoch", "memory_mb", "gradient", "skipped",
    ):  # fmt: skip
        assert all(math.isfinite(event.values[name]) for event in steps), name
    assert steps[-1].values["epoch"] == pytest.approx(60 * 2 / 7)
    measured = [e for e in events if isinstance(e, Metric) and "pck@3" in e.values]
    assert [event.step for event in measured] == list(range(0, 61, 5))
    assert all(0 <= event.values["pck@1"] <= event.values["pck@5"] <= 1 for event in measured)
    assert state.best == max(event.values["pck@3"] for event in measured)
    assert json.loads((tmp_path / EVENTS_FILE).read_text().splitlines()[0])["type"] == "started"


def test_best_last_and_no_more_than_the_newest_checkpoints_are_kept(
    photos: PhotoSplit, tmp_path: Path
):
    saving = SavingSettings(every_s=0.0, keep=3, log_every_steps=5, preview_every_steps=0)
    task = make_task(photos, tmp_path, steps=7, saving=saving)
    events, _ = run_task(task)
    names = sorted(saved.path.name for saved in task.folder.saved_weights())
    assert [name for name in names if name.startswith("step")] == [
        f"step-{step:08d}.safetensors" for step in (5, 6, 7)
    ]
    assert "last.safetensors" in names
    weights, header = load_state(task.folder.weights_file("last"))
    assert header["descriptor"] == "tiny"
    assert json.loads(header["step"]) == 7
    # With a running mean, the mean is saved for use.
    state = task.folder.load_state()
    assert state is not None
    assert all(torch.equal(weights[name], state["mean"][name]) for name in weights)
    assert not torch.equal(weights["first.weight"], state["module"]["first.weight"])
    assert sum(isinstance(event, Checkpoint) for event in events) == 7
    assert not list(tmp_path.rglob("*.part"))


def test_what_a_killed_process_left_half_written_is_removed(photos: PhotoSplit, tmp_path: Path):
    task = make_task(photos, tmp_path, steps=2)
    run_task(task)
    part = tmp_path / "weights" / ".last.safetensors.1234abcd.part"
    part.write_bytes(b"half")
    with (tmp_path / EVENTS_FILE).open("ab") as file:
        file.write(b'{"type": "metric", "step": 99')
    task.folder.begin(resume=True)
    assert not part.exists()
    run_task(make_task(photos, tmp_path, steps=4))
    assert [step for step, _ in curve(tmp_path)] == [1, 2, 3, 4]


def test_what_a_run_wrote_that_was_killed_before_its_first_checkpoint_is_dropped(
    photos: PhotoSplit, tmp_path: Path
):
    """It begins from nothing, and would have its first validation twice."""
    run_task(make_task(photos, tmp_path / "whole", steps=2))
    run_task(make_task(photos, tmp_path / "parts", steps=2))
    RunFolder(tmp_path / "parts").state_file.unlink()
    run_task(make_task(photos, tmp_path / "parts", steps=2))
    whole, parts = (
        [(event["type"], event.get("step")) for event in read_events(tmp_path / name / EVENTS_FILE)]
        for name in ("whole", "parts")
    )
    assert parts == whole


def spoiled_at(steps: set[int]) -> TinyDescriptor:
    """A descriptor whose maps and statistics are not finite at some calls."""
    descriptor = TinyDescriptor()
    calls = iter(range(10_000))

    def spoil(values: Tensor) -> Tensor:
        if next(calls) not in steps:
            return values
        descriptor.module.norm.running_mean.fill_(torch.nan)
        return values * torch.nan

    descriptor.spoil = spoil
    return descriptor


def test_a_loss_that_is_not_finite_skips_the_step_and_is_counted(
    photos: PhotoSplit, tmp_path: Path
):
    for mining in (MiningSettings(kind="hard"), MiningSettings(kind="none")):
        folder = tmp_path / mining.kind
        descriptor = spoiled_at({3, 4, 9})
        task = make_task(
            photos, folder, descriptor=descriptor, steps=12, mining=mining, bad_steps=3
        )
        events, state = run_task(task)
        assert (state.step, state.skipped) == (12, 3)
        assert all(torch.isfinite(value).all() for value in descriptor.module.state_dict().values())
        metrics = [e for e in events if isinstance(e, Metric) and "skipped" in e.values]
        assert metrics[-1].values["skipped"] == 3
        assert "loss" not in metrics[3].values
        (folder / EVENTS_FILE).read_text().encode("ascii", "replace")
        assert "NaN" not in (folder / EVENTS_FILE).read_text()


def test_after_a_few_bad_steps_in_a_row_it_stops_and_keeps_the_last_good_weights(
    photos: PhotoSplit, tmp_path: Path
):
    descriptor = spoiled_at(set(range(6, 100)))
    task = make_task(photos, tmp_path, descriptor=descriptor, bad_steps=4)
    with pytest.raises(DescSpaceError, match="step 10: 4 steps in a row") as raised:
        run_task(task)
    assert "nan" in str(raised.value)
    assert str(task.folder.weights_file("last")) in str(raised.value)
    weights, _ = load_state(task.folder.weights_file("last"))  # refuses what is not finite
    assert weights
    state = task.folder.load_state()
    assert state is not None
    assert state["skipped"] == 4


def test_a_run_is_not_begun_twice_and_nothing_is_not_continued(photos: PhotoSplit, tmp_path: Path):
    run_task(make_task(photos, tmp_path, steps=1))
    with pytest.raises(OutputError, match=f"{tmp_path}.*--resume"):
        RunFolder(tmp_path).begin(resume=False)
    with pytest.raises(ResultError, match="no training run"):
        RunFolder(tmp_path / "other").begin(resume=True)


def test_a_truncated_state_is_refused_by_name(photos: PhotoSplit, tmp_path: Path):
    task = make_task(photos, tmp_path, steps=2)
    run_task(task)
    path = task.folder.state_file
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=str(path)):
            run_task(make_task(photos, tmp_path, steps=4))
    torch.save({"kind": "something"}, path)
    with pytest.raises(WeightsError, match="not the state"):
        run_task(make_task(photos, tmp_path, steps=4))


def test_a_state_of_another_network_or_optimiser_is_refused(photos: PhotoSplit, tmp_path: Path):
    run_task(make_task(photos, tmp_path, steps=2))
    with pytest.raises(WeightsError, match="is of 'tiny', not of 'other'"):
        run_task(make_task(photos, tmp_path, spec=DescriptorSpec("other")))
    wider = TinyDescriptor()
    wider.module.second = nn.Conv2d(8, 7, 3, stride=2, padding=1)
    with pytest.raises(WeightsError, match="another architecture"):
        run_task(make_task(photos, tmp_path, descriptor=wider))
    with pytest.raises(WeightsError, match="adamw"):
        run_task(make_task(photos, tmp_path, optimiser=OptimiserSettings(kind="adam")))


def test_other_photos_are_told_when_a_run_goes_on(photos: PhotoSplit, tmp_path: Path):
    run_task(make_task(photos, tmp_path, steps=2))
    fewer = replace(photos, training=photos.training[:-1])
    events, _ = run_task(make_task(fewer, tmp_path, steps=3))
    assert [e.level for e in events if isinstance(e, Note) and "photos" in e.text] == ["warning"]


def test_a_finished_run_is_left_as_it_is(photos: PhotoSplit, tmp_path: Path):
    run_task(make_task(photos, tmp_path, steps=3))
    before = RunFolder(tmp_path).load_state()
    _, state = run_task(make_task(photos, tmp_path, steps=3))
    assert state.step == 3
    after = RunFolder(tmp_path).load_state()
    assert before is not None
    assert after is not None
    assert_same(before["module"], after["module"])


def test_a_batch_that_cannot_be_shared_is_refused(photos: PhotoSplit, tmp_path: Path):
    task = replace(make_task(photos, tmp_path, batch=3), ranks=Ranks(0, 2))
    with pytest.raises(ConfigError, match=r"train\.batch"):
        train(task, JobContext())


def test_pausing_keeps_a_checkpoint_and_the_run_goes_on(photos: PhotoSplit, tmp_path: Path):
    events: list[Event] = []
    pause, cancel = PauseToken(), CancelToken()

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.done == 3 and event.stage is Stage.TRAINING:
            pause.pause()
        if isinstance(event, Checkpoint) and event.reason == "paused":
            assert pause.paused
            pause.resume()

    state = train(make_task(photos, tmp_path, steps=5), JobContext(emit, cancel, pause=pause))
    assert state.step == 5
    saved = [(e.step, e.reason) for e in events if isinstance(e, Checkpoint)]
    assert saved == [(3, "paused"), (5, "finished")]
    pause.pause()
    cancel.cancel()
    with pytest.raises(JobCancelled):
        pause.wait(cancel)


def test_too_little_memory_is_an_error_with_a_cure_and_keeps_what_was_reached(
    photos: PhotoSplit, tmp_path: Path
):
    events: list[Event] = []

    class Greedy(TinyDescriptor):
        def describe(self, images: Tensor) -> Levels:
            if Progress(Stage.TRAINING, 2, 5) in events:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().describe(images)

    task = make_task(photos, tmp_path, descriptor=Greedy(), steps=5)
    with pytest.raises(DeviceError, match="ran out of memory on cpu; a smaller batch"):
        train(task, JobContext(events.append))
    saved = [(e.step, e.reason) for e in events if isinstance(e, Checkpoint)]
    assert saved == [(2, "interrupted")]


def test_validation_finds_every_point_of_a_descriptor_that_knows_its_place():
    """The map holds positions on a sphere, so the nearest cell is the best match; a moved truth
    is off by exactly the move."""
    ys, xs = torch.meshgrid(torch.arange(0.0, 32, 4), torch.arange(0.0, 48, 4), indexing="ij")
    turns = torch.stack([xs / 40, ys / 40])
    values = torch.cat([turns.cos(), turns.sin()]) / math.sqrt(2)

    class Knowing(TinyDescriptor):
        def describe(self, images: Tensor) -> Levels:
            return (DescriptorMap(values.expand(len(images), 4, 8, 12), CellGrid(4.0, 0.0)),)

    points = np.array([[8.0, 4.0], [20.0, 16.0], [40.0, 28.0], [0.0, 0.0]])
    moves = np.array([[0.0, 0.0], [0.0, 0.9], [2.5, 0.0], [4.5, 0.0]])
    pair = ValidationPair(torch.zeros(2, 3, 32, 48), QueryPoints(points, points + moves))
    figures = measure(Knowing(), [pair], device=CPU, cancel=CancelToken())
    assert figures == {"pck@1": 0.5, "pck@3": 0.75, "pck@5": 1.0}
    assert measure(Knowing(), [], device=CPU, cancel=CancelToken()) == {}


def judged_by(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let validations find these values one after the other, then the last one for ever."""
    left = list(values)

    def measured(*_: Any, **__: Any) -> dict[str, float]:
        return {"pck@3": left.pop(0) if len(left) > 1 else left[0]}

    monkeypatch.setattr("engine.training.loop.measure", measured)


def test_a_run_without_progress_ends_when_its_patience_does(
    photos: PhotoSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    judged_by(monkeypatch, [0.1, 0.5, 0.4, 0.6, 0.3])  # at steps 0, 2, 4, 6, 8, …
    patient = ValidationSettings(every_steps=2, pairs=2, points=20, patience=3)
    events, state = run_task(make_task(photos, tmp_path / "run", validation=patient))
    assert (state.step, state.ended) == (12, "patience")
    assert (state.best, state.best_step, state.no_better) == (0.6, 6, 3)
    counted = [e.values["no_better"] for e in events
               if isinstance(e, Metric) and "no_better" in e.values]  # fmt: skip
    assert counted == [0, 0, 1, 0, 1, 2, 3]
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert "ends at step 12, after 3 validations" in note
    assert "those of step 6" in note
    weights = tmp_path / "run" / "weights"
    kept = {name: int(load_state(weights / f"{name}.safetensors")[1]["step"])
            for name in ("best", "last")}  # fmt: skip
    assert kept == {"best": 6, "last": 12}
    # Continued as it is, it ends at once; with more patience it goes on.
    _, again = run_task(make_task(photos, tmp_path / "run", validation=patient))
    assert (again.step, again.ended) == (12, "patience")
    patient = replace(patient, patience=5)
    _, more = run_task(make_task(photos, tmp_path / "run", validation=patient))
    assert (more.step, more.ended, more.no_better) == (16, "patience", 5)


def test_a_run_can_be_asked_to_end_well(photos: PhotoSplit, tmp_path: Path):
    finish, events = CancelToken(), []

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.done == 7:
            finish.cancel()

    state = train(make_task(photos, tmp_path / "run"), JobContext(emit, finish=finish))
    assert (state.step, state.ended) == (7, "asked")
    assert [event.reason for event in events if isinstance(event, Checkpoint)][-1] == "finished"
    (mark,) = [e for e in read_events(tmp_path / "run" / EVENTS_FILE) if e["type"] == "finished"]
    assert (mark["step"], mark["ended"]) == (7, "asked")


def test_a_state_of_an_earlier_version_has_counted_nothing(photos: PhotoSplit, tmp_path: Path):
    run_task(make_task(photos, tmp_path / "run"), stop_after=7)
    folder = RunFolder(tmp_path / "run")
    saved = folder.load_state()
    assert saved is not None
    assert saved.pop("no_better") >= 0
    del saved["ended"]
    folder.save_state({key: value for key, value in saved.items() if key not in ("format", "kind")})
    _, state = run_task(make_task(photos, tmp_path / "run"))
    assert (state.step, state.ended) == (20, "steps")


def test_patience_without_validations_is_refused(photos: PhotoSplit, tmp_path: Path):
    never = ValidationSettings(every_steps=0, patience=2)
    with pytest.raises(ConfigError, match=r"train\.validation\.patience"):
        run_task(make_task(photos, tmp_path / "run", validation=never))


def test_frozen_statistics_stay_as_they_were(photos: PhotoSplit, tmp_path: Path):
    for batch_norm, same in (("frozen", True), ("train", False)):
        descriptor = TinyDescriptor()
        before = descriptor.module.norm.running_mean.clone()
        task = make_task(
            photos, tmp_path / batch_norm, descriptor=descriptor, batch_norm=batch_norm, steps=2
        )
        run_task(task)
        assert torch.equal(before, descriptor.module.norm.running_mean) == same


def test_pictures_of_the_probe_are_drawn_and_kept_for_tensorboard(
    photos: PhotoSplit, tmp_path: Path
):
    saving = SavingSettings(every_s=1e9, keep=1, log_every_steps=1, preview_every_steps=2)
    mining = MiningSettings(kind="hard", radius_px=4)
    events, _ = run_task(make_task(photos, tmp_path, steps=4, saving=saving, mining=mining))
    previews = [event for event in events if isinstance(event, Preview)]
    assert [e.step for e in previews] == [0, 2, 4]
    assert all(list(e.pictures) == ["pair", "pca", "matches", "negatives"] for e in previews)
    pictures = [rgb for event in previews for rgb in event.pictures.values()]
    assert all(rgb.shape == (32, 96, 3) and rgb.dtype == np.uint8 for rgb in pictures)
    first, last = previews[0].pictures, previews[-1].pictures
    np.testing.assert_array_equal(first["pair"], last["pair"])
    assert not np.array_equal(first["pca"], last["pca"])

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"training/loss", "training/rate", "validation/pck_at_3"} <= set(board.Tags()["scalars"])
    assert {"pair", "pca", "matches", "negatives"} <= set(board.Tags()["images"])
    assert [point.step for point in board.Scalars("training/loss")] == [1, 2, 3, 4]


def test_all_levels_can_be_trained(photos: PhotoSplit, tmp_path: Path):
    both = make_task(
        photos, tmp_path / "2", descriptor=TinyDescriptor(2), loss=LossSettings(levels="all")
    )
    run_task(both)
    run_task(make_task(photos, tmp_path / "1"))
    # Two equal levels have the loss of one.
    for (_, one), (_, two) in zip(curve(tmp_path / "1"), curve(tmp_path / "2"), strict=True):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-4)


def test_the_parts_of_two_processes_are_the_batch_of_one(photos: PhotoSplit):
    settings = tiny_settings(batch=4)

    def batches(rank: int, world: int) -> list[TrainingPairs]:
        with Prefetcher(
            photos, settings, device=CPU, first_step=3, rank=rank, world=world, warn=print
        ) as made:
            return [made.next(CancelToken()) for _ in range(2)]

    for whole, first, second in zip(batches(0, 1), batches(0, 2), batches(1, 2), strict=True):
        for name in ("images_a", "images_b", "points_a", "points_b", "seen"):
            joined = torch.cat([getattr(first, name), getattr(second, name)])
            torch.testing.assert_close(joined, getattr(whole, name), atol=2e-6, rtol=0)


def test_every_photo_comes_once_an_epoch_and_pairs_differ(photos: PhotoSplit):
    numbers = PairNumbers(7, 3, "train")
    for epoch in range(3):
        drawn = [numbers.photo(7 * epoch + place) for place in range(7)]
        assert sorted(drawn) == list(range(7))
    assert len({numbers.key(n) for n in range(100)}) == 100
    assert numbers.key(0) != PairNumbers(7, 3, "validation").key(0)
    assert numbers.key(0) != PairNumbers(7, 4, "train").key(0)


def test_a_photo_that_cannot_be_read_is_replaced_and_told_once(tmp_path: Path, photos: PhotoSplit):
    (tmp_path / "a.png").write_bytes((photos.root / "0.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    told: list[str] = []
    reader = PhotoReader(
        tmp_path, ("a.png", "b.png"), size_px=(48, 32), budget_bytes=0, warn=told.append
    )
    for _ in range(2):
        np.testing.assert_array_equal(reader.read(1, (0, 0)), reader.read(0, (0, 0)))
    assert len(told) == 1
    assert str(tmp_path / "b.png") in told[0]
    (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError, match="not one of its photos"):
        reader.read(0, (0, 0))


def test_photos_are_kept_in_memory_up_to_the_budget(tmp_path: Path, photos: PhotoSplit):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((photos.root / "0.png").read_bytes())
    names = tuple(f"{number}.png" for number in range(3))
    reader = PhotoReader(tmp_path, names, size_px=(48, 32), budget_bytes=0, warn=print)
    one_bytes = reader._photos.get(0).nbytes
    reader = PhotoReader(
        tmp_path, names, size_px=(48, 32), budget_bytes=2 * one_bytes, warn=lambda _: None
    )
    for index in range(3):
        reader.read(index, (0, 0))
    for name in names:
        (tmp_path / name).unlink()
    reader.read(0, (1 << 31, 1 << 31))
    assert reader.read(2, (0, 0)).shape == (32, 48, 3)  # the next one that is still kept
    largest = (1 << 32) - 1
    assert reader.read(0, (largest, largest)).shape == (32, 48, 3)


def test_the_rate_rises_and_falls_as_the_schedule_says():
    cosine = OptimiserSettings(rate=2.0, warmup_steps=4, final_share=0.1)
    assert [rate_at(step, 104, cosine) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert rate_at(4, 104, cosine) == pytest.approx(2.0)
    assert rate_at(54, 104, cosine) == pytest.approx((2.0 + 0.2) / 2)
    assert rate_at(104, 104, cosine) == pytest.approx(0.2)
    rates = [rate_at(step, 104, cosine) for step in range(4, 105)]
    assert rates == sorted(rates, reverse=True)
    constant = OptimiserSettings(rate=2.0, schedule="constant")
    assert {rate_at(step, 9, constant) for step in range(9)} == {2.0}


def test_decay_spares_what_has_one_dimension():
    optimiser = make_optimiser(TinyNetwork(), OptimiserSettings(kind="adamw", weight_decay=0.3))
    for group in optimiser.param_groups:
        dims = {weight.ndim for weight in group["params"]}
        assert dims == ({4} if group["weight_decay"] else {1})


def test_the_running_mean_is_the_weighted_sum_of_all_weights():
    module = nn.Linear(1, 1, bias=False)
    values, mean, expected = [1.0, 5.0, -2.0, 7.0], None, 0.0
    for step, value in enumerate(values):
        module.weight.data.fill_(value)
        if mean is None:
            mean, expected = RunningMean(module, decay=0.25), value
            continue
        mean.update(module, step)
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert mean is not None
    assert float(mean.state["weight"]) == pytest.approx(expected)


def test_events_that_json_cannot_hold_become_null(tmp_path: Path):
    with contextlib.closing(EventsFile(tmp_path / "e.jsonl", last_step=0)) as events:
        events.add("metric", {"step": 1, "loss": math.nan, "deep": {"x": math.inf}, "näme": "é"})
    (line,) = read_events(tmp_path / "e.jsonl")
    assert line == {"type": "metric", "step": 1, "loss": None, "deep": {"x": None}, "näme": "é"}


def test_a_new_state_has_done_nothing():
    assert TrainingState() == TrainingState(step=0, skipped=0, best=None)
