"""A step of training, beside its bare arithmetic on a fixed batch.

A preset's training, without validation and saving, takes turns with the same network's forward
pass, loss, backward pass and optimiser on one batch that stays.  What is left between the two is
making the pairs and keeping the books.  Both get one thread of torch and are measured by the
processor's time, which leaves out what other programs do and counts what the training's other
threads do, as if no core were free for them.  How long it waits for pairs is told by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.figure import Figure, summarise
from benchmarks.training import write_photos
from engine.config import read_yaml
from engine.data.photos import PhotoSplit, open_and_split
from engine.descriptors.base import TrainableDescriptor
from engine.descriptors.registry import DescriptorSpec, build_descriptor, make_spec
from engine.evaluation.ranks import Ranks
from engine.jobs.settings import TrainConfig, resolve_settings
from engine.paths import data_dir
from engine.progress import CancelToken, Event, JobContext, Metric
from engine.training.batches import PairNumbers, PhotoReader, pairs_of_photos
from engine.training.loop import TrainingTask, reduces, train
from engine.training.run_folder import RunFolder
from engine.training.schedule import make_optimiser
from engine.training.settings import TrainSettings
from engine.training.step import pair_loss

_CPU = torch.device("cpu")
WARM_UP = 3  # steps of a training that do not count: the first ones find batches made ahead
_MOST_RATIO = 1.1
MOST_WAIT_PERCENT = 2.0


@dataclass(frozen=True, slots=True)
class _Case:
    """A preset, steps that count in a round, and how many rounds at most."""

    preset: str
    steps: int
    most_rounds: int


CASES = (_Case("quick", 10, 5), _Case("descspace", 4, 3))


@dataclass(frozen=True, slots=True)
class LoadedCase:
    """A preset's training, without validation and saving.

    Attributes:
        spec: what is trained.
        split: the photos.
        settings: of the training.
    """

    spec: DescriptorSpec
    split: PhotoSplit
    settings: TrainSettings


@dataclass(frozen=True, slots=True)
class Course:
    """What the steps of a training took that count.

    Attributes:
        worked_s: the processor's time of the whole process.
        took_s: by the clock.
        waited_s: of that, for pairs.
    """

    worked_s: float
    took_s: float
    waited_s: float


def measure(runs: int) -> list[Figure]:
    """What a step of each preset takes, its bare arithmetic, and the share of waiting."""
    torch.set_num_threads(1)
    figures: list[Figure] = []
    with TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        for case in CASES:
            figures += _measure(case, photos, min(runs, case.most_rounds))
    return figures


def load_case(preset: str, photos: Path, last: int) -> LoadedCase:
    """A preset's training on some photos, which will be stopped after step ``last``."""
    path = data_dir("resources") / "configs" / f"{preset}.yaml"
    config, own = resolve_settings(TrainConfig, from_file=read_yaml(path))
    settings = replace(
        config.train,
        steps=2 * last,  # it is stopped before; towards the end no more batches are made
        validation=replace(config.train.validation, every_steps=0),
        saving=replace(
            config.train.saving, every_s=1e9, log_every_steps=1, preview_every_steps=0
        ),
    )  # fmt: skip
    _, split = open_and_split(
        photos, validation_share=config.train.photos.validation_share, context=JobContext()
    )
    return LoadedCase(make_spec(config.descriptor, own), split, settings)


def _measure(case: _Case, photos: Path, rounds: int) -> list[Figure]:
    last = WARM_UP + case.steps
    loaded = load_case(case.preset, photos, last)
    bare = _bare_step(loaded)
    bare()
    bare_ms: list[float] = []
    step_ms: list[float] = []
    waits_percent: list[float] = []
    for _ in range(rounds):
        began_s = time.process_time()
        for _ in range(case.steps):
            bare()
        bare_ms.append(1000 * (time.process_time() - began_s) / case.steps)
        course = train_until(loaded, last, _CPU, first=WARM_UP)
        step_ms.append(1000 * course.worked_s / case.steps)
        waits_percent.append(100 * course.waited_s / course.took_s)
    name = f"training step, {case.preset}, processor's time"
    base = f"{name}: bare arithmetic"
    return [
        summarise(base, bare_ms, unit="ms"),
        summarise(
            name, step_ms, unit="ms", ratio_to=base, target=_MOST_RATIO, of_ratio=True,
            note=f"{case.steps} steps a run, photos in memory",
        ),
        summarise(
            f"training step, {case.preset}: waiting for pairs", waits_percent, unit="%",
            target=MOST_WAIT_PERCENT,
        ),
    ]  # fmt: skip


def _descriptor(spec: DescriptorSpec) -> TrainableDescriptor:
    descriptor = build_descriptor(spec)
    assert isinstance(descriptor, TrainableDescriptor)
    return descriptor


def _bare_step(case: LoadedCase) -> Callable[[], None]:
    """Forward, loss, backward and optimiser on the first batch of the training."""
    split, settings = case.split, case.settings
    descriptor = _descriptor(case.spec)
    reader = PhotoReader(
        split.root, split.training, size_px=settings.photo_size_px, budget_bytes=1 << 30, warn=print
    )
    numbers = PairNumbers(len(split.training), settings.seed, "train")
    pairs = pairs_of_photos(reader, numbers, range(settings.batch), settings, _CPU)
    images = torch.cat([pairs.images_a, pairs.images_b])
    # Weights that learned one batch by heart would give gradients too small for fast arithmetic.
    optimiser = make_optimiser(descriptor.module, replace(settings.optimiser, rate=0.0))
    reduced = reduces(settings, descriptor, _CPU)

    def step() -> None:
        descriptor.module.train()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            levels = descriptor.describe(images)
        found = pair_loss(
            levels, pairs, loss=settings.loss, mining=settings.mining, seed=settings.seed, step=0,
            first_pair=0,
        )  # fmt: skip
        torch.autograd.backward(found.loss)
        optimiser.step()

    return step


def train_until(case: LoadedCase, last: int, device: torch.device, *, first: int) -> Course:
    """Train until step ``last``; the steps after ``first`` count."""
    finish = CancelToken()
    ends_s: dict[int, float] = {}
    works_s: dict[int, float] = {}
    waits_s: dict[int, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Metric):
            ends_s[event.step] = time.perf_counter()
            works_s[event.step] = time.process_time()
            waits_s[event.step] = event.values["data_wait_s"]
            if event.step == last:
                finish.cancel()

    with TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.begin(resume=False)
        task = TrainingTask(
            descriptor=_descriptor(case.spec),
            spec=case.spec,
            settings=case.settings,
            split=case.split,
            folder=run,
            device=device,
            ranks=Ranks(),
            metadata={},
        )
        train(task, JobContext(emit=listen, finish=finish))
    return Course(
        worked_s=works_s[last] - works_s[first],
        took_s=ends_s[last] - ends_s[first],
        waited_s=sum(waits_s[step] for step in range(first + 1, last + 1)),
    )
