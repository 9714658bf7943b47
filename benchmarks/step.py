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
_WARM_UP = 3  # steps of a training that do not count: the first ones find batches made ahead
_MOST_RATIO = 1.1
_MOST_WAIT_PERCENT = 2.0


@dataclass(frozen=True, slots=True)
class _Case:
    """A preset, steps that count in a round, and how many rounds at most."""

    preset: str
    steps: int
    most_rounds: int


_CASES = (_Case("quick", 10, 5), _Case("descspace", 4, 3))


def measure(runs: int) -> list[Figure]:
    """What a step of each preset takes, its bare arithmetic, and the share of waiting."""
    torch.set_num_threads(1)
    figures: list[Figure] = []
    with TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        for case in _CASES:
            figures += _measure(case, photos, min(runs, case.most_rounds))
    return figures


def _measure(case: _Case, photos: Path, rounds: int) -> list[Figure]:
    path = data_dir("resources") / "configs" / f"{case.preset}.yaml"
    config, own = resolve_settings(TrainConfig, from_file=read_yaml(path))
    last = _WARM_UP + case.steps
    settings = replace(
        config.train,
        steps=2 * last,  # it is stopped before; towards the end no more batches are made
        validation=replace(config.train.validation, every_steps=0),
        saving=replace(
            config.train.saving, every_s=1e9, log_every_steps=1, preview_every_steps=0
        ),
    )  # fmt: skip
    spec = make_spec(config.descriptor, own)
    _, split = open_and_split(
        photos, validation_share=config.train.photos.validation_share, context=JobContext()
    )
    bare = _bare_step(spec, split, settings)
    bare()
    bare_ms: list[float] = []
    step_ms: list[float] = []
    waits_percent: list[float] = []
    for _ in range(rounds):
        began_s = time.process_time()
        for _ in range(case.steps):
            bare()
        bare_ms.append(1000 * (time.process_time() - began_s) / case.steps)
        worked_s, waiting_share = _train(spec, split, settings, last)
        step_ms.append(1000 * worked_s / case.steps)
        waits_percent.append(100 * waiting_share)
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
            target=_MOST_WAIT_PERCENT,
        ),
    ]  # fmt: skip


def _descriptor(spec: DescriptorSpec) -> TrainableDescriptor:
    descriptor = build_descriptor(spec)
    assert isinstance(descriptor, TrainableDescriptor)
    return descriptor


def _bare_step(
    spec: DescriptorSpec, split: PhotoSplit, settings: TrainSettings
) -> Callable[[], None]:
    """Forward, loss, backward and optimiser on the first batch of the training."""
    descriptor = _descriptor(spec)
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


def _train(
    spec: DescriptorSpec, split: PhotoSplit, settings: TrainSettings, last: int
) -> tuple[float, float]:
    """Train until a step.

    Returns:
        Seconds that the processor worked in the steps after the first ones, and the share of time
        that they waited.
    """
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
            descriptor=_descriptor(spec),
            spec=spec,
            settings=settings,
            split=split,
            folder=run,
            device=_CPU,
            ranks=Ranks(),
            metadata={},
        )
        train(task, JobContext(emit=listen, finish=finish))
    counted = range(_WARM_UP + 1, last + 1)
    waited_s = sum(waits_s[step] for step in counted)
    return works_s[last] - works_s[_WARM_UP], waited_s / (ends_s[last] - ends_s[_WARM_UP])
