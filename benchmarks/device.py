"""One device: describing by networks, exact nearest neighbours, and steps of training.

The same on a GPU as on a processor, so that ``bench --device cuda`` and ``--device cpu`` can be
laid side by side.  Times are those of the clock, from before the first operation until the device
has done the last one.  Bfloat16 is compared with float32, and eight images with one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.describe import BATCHES, DESCRIPTORS, SIZE_PX
from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.nearest import BUDGET_BYTES, SIZES, make_descriptors
from benchmarks.step import CASES, MOST_WAIT_PERCENT, WARM_UP, load_case, train_until
from benchmarks.training import write_photos
from engine.descriptors.compute import get_built, working
from engine.descriptors.registry import make_spec
from engine.devices import resolve_device
from engine.matching.nearest import nearest
from engine.progress import CancelToken
from engine.vocabulary import Precision

_PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def measure(runs: int, device_name: str = "auto") -> list[Figure]:
    """All figures of a device; ``auto`` is the best one.

    Raises:
        ConfigError: there is no such device.
    """
    device = resolve_device(device_name)
    figures: list[Figure] = []
    for name in DESCRIPTORS:
        figures += _measure_describing(name, device, runs)
    for queries, candidates in SIZES:
        figures += _measure_nearest(queries, candidates, device, runs)
    with TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        for case in CASES:
            figures += _measure_training(case.preset, photos, case.steps, device, runs)
    return figures


def _finished(device: torch.device, work: Callable[[], object]) -> None:
    """Do some work, and wait until the device has done it."""
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _measure_describing(name: str, device: torch.device, runs: int) -> list[Figure]:
    width, height = SIZE_PX
    descriptor, cancel = get_built(make_spec(name, {})), CancelToken()

    def describe(images: Tensor, precision: Precision) -> None:
        with working(descriptor, device, precision, cancel):
            descriptor.describe(images)

    works: dict[str, Callable[[], None]] = {}
    counts = {}
    for batch in BATCHES:
        images = torch.rand(batch, 3, height, width, generator=torch.manual_seed(0)).to(device)
        what = "an image" if batch == 1 else f"{batch} images"
        for precision in _PRECISIONS:
            title = f"{device}: {name}, {what}, {precision}"
            works[title] = partial(_finished, device, partial(describe, images, precision))
            counts[title] = batch
    base = next(iter(works))
    return [
        summarise(
            title,
            [1000 * time_s / counts[title] for time_s in times],
            unit="ms",
            ratio_to=None if title == base else base,
            note="for each image",
        )
        for title, times in take_turns(works, runs).items()
    ]


def _measure_nearest(
    queries: int, candidates: int, device: torch.device, runs: int
) -> list[Figure]:
    asked, offered = (one.to(device) for one in make_descriptors(queries, candidates))
    case = f"{device}: nearest, {queries:,} among {candidates:,}"
    ours, plain = case, f"{case}, float32 products"

    def search(*, by_torch: bool) -> None:
        with torch.inference_mode():
            nearest(
                asked,
                [offered],
                budget_bytes=BUDGET_BYTES,
                backend="torch" if by_torch else "auto",
            )

    works = {
        plain: partial(_finished, device, partial(search, by_torch=True)),
        ours: partial(_finished, device, partial(search, by_torch=False)),
    }
    return [
        summarise(
            title,
            [1000 * time_s for time_s in times],
            unit="ms",
            ratio_to=plain if title == ours else None,
        )
        for title, times in take_turns(works, runs).items()
    ]


def _measure_training(
    preset: str, photos: Path, steps: int, device: torch.device, runs: int
) -> list[Figure]:
    last = WARM_UP + steps
    case = load_case(preset, photos, last)
    courses = [train_until(case, last, device, first=WARM_UP) for _ in range(runs)]
    return [
        summarise(
            f"{device}: training, {preset}",
            [steps / course.took_s for course in courses],
            unit="steps/s",
            direction="higher",
            note=f"{case.settings.batch} pairs a step, {steps} steps a run",
        ),
        summarise(
            f"{device}: training, {preset}: waiting for pairs",
            [100 * course.waited_s / course.took_s for course in courses],
            unit="%",
            target=MOST_WAIT_PERCENT,
        ),
    ]
