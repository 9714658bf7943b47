"""Describing by networks: one image of 640×480, and eight at a time.

What describes in the program is compared with the same network as it was trained, in float32:
without folded normalisations.  Beside each time stands the share of the rate at which this
processor multiplies large float32 matrices.  Where it multiplies bfloat16 in hardware, the same is
measured in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.peers import share_threads
from benchmarks.rates import matrix_rate
from engine.descriptors.base import DenseDescriptor
from engine.descriptors.bfloat16 import in_hardware
from engine.descriptors.compute import get_built, working
from engine.descriptors.registry import build_descriptor, make_spec
from engine.progress import CancelToken
from engine.vocabulary import Precision

SIZE_PX = (640, 480)
DESCRIPTORS = ("descspace-fast", "msnet_v0")
BATCHES = (1, 8)
# Of the plain network in float32.
_TARGET_REDUCED = 1 / 3
_TARGET = 2 / 3  # where bfloat16 is not in hardware


def measure(runs: int) -> list[Figure]:
    """Each network and number of images, in each arithmetic, turn and turn about."""
    threads = share_threads()
    rate = matrix_rate()
    figures = [
        summarise(
            "float32 products", [rate], unit="GFLOP/s", note=f"2048 × 2048, {threads} threads"
        )
    ]
    for name in DESCRIPTORS:
        for batch in BATCHES:
            figures += _measure_one(name, batch, runs, rate)
    return figures


def _measure_one(name: str, batch: int, runs: int, rate: float) -> list[Figure]:
    spec = make_spec(name, {})
    width, height = SIZE_PX
    images = torch.rand(batch, 3, height, width, generator=torch.manual_seed(0))
    cpu, cancel = torch.device("cpu"), CancelToken()
    plain, folded = build_descriptor(spec), get_built(spec)

    def describe(descriptor: DenseDescriptor, precision: Precision) -> None:
        with working(descriptor, cpu, precision, cancel):
            descriptor.describe(images)

    with FlopCounterMode(display=False) as counter:
        describe(plain, "float32")
    operations = 1e-9 * counter.get_total_flops()
    what = f"{name}, {'an image' if batch == 1 else f'{batch} images'}"
    base = f"{what}: plain, float32"
    works: dict[str, Callable[[], None]] = {
        base: lambda: describe(plain, "float32"),
        f"{what}: float32": lambda: describe(folded, "float32"),
    }
    targets = {f"{what}: float32": _TARGET}
    if in_hardware():
        works[f"{what}: bfloat16"] = lambda: describe(folded, "bfloat16")
        targets = {f"{what}: bfloat16": _TARGET_REDUCED}
    figures = []
    for title, times in take_turns(works, runs).items():
        reached = operations / sorted(times)[len(times) // 2]
        figures.append(
            summarise(
                title, [1000 * time_s for time_s in times], unit="ms",
                ratio_to=None if title == base else base, target=targets.get(title),
                of_ratio=title in targets,
                note=f"{operations:.1f} GFLOP, {100 * reached / rate:.0f} % of float32 products",
            )
        )  # fmt: skip
    return figures
