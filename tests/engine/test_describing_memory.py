"""What describing takes is told from two small images, and large ones are cut or refused by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors import compute, memory
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.compute import describe_image
from engine.descriptors.daisy import Daisy, DaisyConfig
from engine.descriptors.memory import (
    Limits,
    MemoryModel,
    fewest_parts,
    largest_edge_px,
    measure_memory,
)
from engine.descriptors.networks import make_network
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.superpoint import SuperPoint, SuperPointNetwork
from engine.descriptors.tensors import unit_length
from engine.errors import DeviceError, JobCancelled
from engine.geometry.coords import CellGrid
from engine.progress import JobContext, Note

REPOSITORY = Path(__file__).parents[2]
MIB = 1 << 20


def seen_bytes(model: MemoryModel, pixels: int) -> float:
    """The peak without what is added for things that are not seen."""
    return (model.peak_bytes(pixels) - memory._UNSEEN_BYTES) / memory._UNSEEN


def measured(describe: Callable[[Tensor], Any], period_px: int = 8) -> MemoryModel:
    with torch.inference_mode():
        model = measure_memory(describe, period_px=period_px)
    assert model is not None
    return model


def test_the_peak_is_the_most_that_is_alive_at_a_time() -> None:
    def describe(images: Tensor) -> Tensor:
        wide = images.repeat(1, 4, 1, 1)  # 48 bytes a pixel
        double = wide + wide  # 48 more: the peak
        del wide
        one = double[:, :1]  # a view takes nothing
        half = functional.avg_pool2d(one, 2)  # 1
        del one, double
        return half.repeat(1, 8, 1, 1)  # 8 more

    model = measured(describe)
    for pixels in (256**2, 1_000_000, 12_000_000):
        assert seen_bytes(model, pixels) == pytest.approx(96 * pixels, rel=1e-6)
        assert model.maps_bytes(pixels) == pytest.approx(8 * pixels, rel=1e-6)


def test_attention_shows_though_convolutions_take_more_of_a_small_image() -> None:
    def describe(images: Tensor) -> Tensor:
        wide = images.repeat(1, 100, 1, 1)  # 1200 bytes a pixel
        tokens = functional.avg_pool2d(wide[:, :3], 8).flatten(2)
        del wide
        scores = tokens.transpose(1, 2) @ tokens  # 4 bytes a pair of patches
        return tokens @ scores.softmax(dim=-1)  # and once more

    model = measured(describe)
    small, large = 256**2, 4_000_000
    assert seen_bytes(model, small) == pytest.approx(1200 * small, rel=0.01)
    pairs = (large / 64) ** 2
    assert seen_bytes(model, large) == pytest.approx(8 * pairs, rel=0.01)


def test_weights_and_what_is_kept_for_later_do_not_grow() -> None:
    table = torch.zeros(1000)

    def describe(images: Tensor) -> Tensor:
        doubled = table + table
        return images[:, :1] * doubled[0]

    model = measured(describe)
    assert seen_bytes(model, 10_000_000) == pytest.approx(4000 + 4 * 10_000_000, rel=1e-3)


def test_the_parts_of_operations_are_seen_in_inference_mode_too() -> None:
    """There ``linear`` is one operation, whose copy of a transposed image would be missed."""
    model = measured(lambda images: functional.group_norm(images.transpose(2, 3), 3))
    assert seen_bytes(model, 1_000_000) >= 2 * 12 * 1_000_000


def test_what_works_differently_in_a_larger_image_is_not_told() -> None:
    def describe(images: Tensor) -> Tensor:
        return torch.cat([band * 2 for band in images.split(64, dim=2)], dim=2)

    assert measure_memory(describe, period_px=8) is None
    assert measure_memory(Daisy(DaisyConfig(), tile_px=128).describe, period_px=2) is None


REAL = """
import json, sys
import torch
from engine.descriptors.memory import measure_memory
from tests.engine.test_describing_memory import made

descriptor = made(sys.argv[1])
width, height = 1024, 768
model = measure_memory(descriptor.describe, period_px=descriptor.shift_period_px)
images = torch.rand(1, 3, height, width)

def now(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

open("/proc/self/clear_refs", "w").write("5")
before = now("VmRSS")
with torch.inference_mode():
    kept = descriptor.describe(images)
print(json.dumps([now("VmHWM") - before, model.peak_bytes(width * height)]))
"""


def made(name: str) -> Any:
    if name == "superpoint":
        return SuperPoint(make_network(SuperPointNetwork, None))
    return build_descriptor(make_spec(name, {}))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["msnet_v1", "superpoint"])
def test_the_peak_that_is_told_is_above_the_real_one_and_not_far(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAL, name],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    real, told = map(float, re.findall(r"\d+", done.stdout))
    assert real <= told <= 1.6 * real + memory._UNSEEN_BYTES


def linear(bytes_per_px: float, maps_per_px: float = 0.0) -> MemoryModel:
    return MemoryModel(
        births=np.array([0, 1]),
        deaths=np.array([1, 2]),
        sizes_bytes=np.array([bytes_per_px * 1000, maps_per_px * 1000]),
        exponents=np.array([1.0, 1.0]),
        pixels=1000,
    )


def test_as_few_parts_are_taken_as_suffice() -> None:
    model, size_px = linear(1000.0, 10.0), (4000, 2000)
    whole = model.peak_bytes(4000 * 2000)
    assert fewest_parts(model, size_px, Limits(whole, 40, 8)) == 1
    assert fewest_parts(model, size_px, Limits(whole - 1, 40, 8)) == 2
    # Tiles of 2080 × 1080 px, and the map twice.
    wanted = model.peak_bytes(2080 * 1080) + 2 * 80_000_000
    assert fewest_parts(model, size_px, Limits(wanted, 40, 8)) == 2
    assert fewest_parts(model, size_px, Limits(wanted - 1, 40, 8)) == 3
    assert fewest_parts(model, size_px, Limits(300 * MIB, 40, 8)) is None
    assert fewest_parts(model, size_px, Limits(whole - 1, None, 8)) is None


@pytest.mark.parametrize("reach_px", [None, 40])
def test_the_largest_edge_is_the_last_that_fits(reach_px: int | None) -> None:
    model, size_px = linear(1000.0, 10.0), (4000, 3000)
    limits = Limits(400 * MIB, reach_px, 8)
    assert fewest_parts(model, size_px, limits) is None or reach_px
    edge = largest_edge_px(model, size_px, Limits(300 * MIB, reach_px, 8))
    limits = Limits(300 * MIB, reach_px, 8)
    assert 100 < edge < 4000
    assert fewest_parts(model, (edge, round(edge * 0.75)), limits) is not None
    assert fewest_parts(model, (edge + 1, round((edge + 1) * 0.75)), limits) is None
    assert largest_edge_px(model, size_px, Limits(MIB, reach_px, 8)) == 0


class Counted:
    """A descriptor that remembers the sizes of what it described."""

    trained = half_precision = True

    def __init__(self, inner: Any, *, tileable: bool) -> None:
        self.inner = inner
        self.dim, self.shift_period_px = inner.dim, inner.shift_period_px
        self.seen: list[tuple[int, int]] = []
        if tileable:
            self.reach_px = inner.reach_px

    def describe(self, images: Tensor) -> Levels:
        self.seen.append((images.shape[3], images.shape[2]))
        levels: Levels = self.inner.describe(images)
        return levels


PIXELS = np.random.default_rng(0).random((300, 410, 3), dtype=np.float32)


@pytest.mark.parametrize("name", ["superpoint", "msnet_v0"])
def test_an_image_that_would_take_too_much_is_described_in_tiles_with_the_same_answer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = Counted(made(name), tileable=True)
    whole, notes = describe_image(descriptor, PIXELS, device="cpu", precision="float32")
    assert notes == ()
    assert descriptor.seen == [(410, 300)]
    descriptor.seen.clear()
    model = measured(descriptor.inner.describe, descriptor.shift_period_px)
    free = int((model.peak_bytes(410 * 300) - MIB) / 0.9)
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: free)
    events: list[Any] = []
    tiled, notes = describe_image(
        descriptor,
        PIXELS,
        device="cpu",
        precision="float32",
        context=JobContext(emit=events.append),
    )
    measures = 2
    count = len(descriptor.seen) - measures
    assert count >= 4
    assert (410, 300) not in descriptor.seen
    assert notes[0].startswith("An image of 410 × 300 pixels would take about 0.")
    assert notes[0].endswith(f"; it was described in {count} tiles.")
    assert events == [Note(notes[0], "warning")]
    for one, other in zip(tiled, whole, strict=True):
        assert one.grid == other.grid
        torch.testing.assert_close(one.values, other.values, atol=1e-5, rtol=0)
    describe_image(descriptor, PIXELS, device="cpu", precision="float32")
    assert len(descriptor.seen) == measures + 2 * count  # measured once


def test_what_cannot_be_cut_is_refused_before_with_the_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    descriptor = Counted(made("superpoint"), tileable=False)
    model = measured(descriptor.inner.describe)
    free = int(0.8 * model.peak_bytes(410 * 300))
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: free)
    with pytest.raises(DeviceError) as caught:
        describe_image(descriptor, PIXELS, device="cpu", precision="float32")
    assert (410, 300) not in descriptor.seen
    text = str(caught.value)
    found = re.fullmatch(
        r"An image of 410 × 300 pixels would take about ([\d.]+) GiB of memory in one piece, and "
        r"([\d.]+) GiB can be spared; no tiles can be used, as nothing limits how far this "
        r"descriptor sees: lower the long edge to (\d+) pixels or less\.",
        text,
    )
    assert found, text
    assert float(found[1]) == pytest.approx(model.peak_bytes(410 * 300) / 2**30, abs=0.051)
    assert float(found[2]) == pytest.approx(0.9 * free / 2**30, abs=0.051)
    edge = int(found[3])
    smaller = np.ascontiguousarray(PIXELS[: round(300 * edge / 410), :edge])
    levels, notes = describe_image(descriptor, smaller, device="cpu", precision="float32")
    assert notes == ()
    assert levels[0].values.shape[1] == 256


def test_what_fits_in_no_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: 5 * MIB)
    with pytest.raises(DeviceError, match="tiles would not fit either: free some memory"):
        describe_image(made("superpoint"), PIXELS, device="cpu", precision="float32")


@pytest.mark.parametrize("free", [None, 1 << 40])
def test_enough_or_unknown_memory_changes_nothing(
    free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: free)
    descriptor = Counted(made("msnet_v0"), tileable=True)
    _, notes = describe_image(descriptor, PIXELS, device="cpu", precision="float32")
    assert notes == ()
    assert descriptor.seen == [(410, 300)]


class Large:
    """Takes images of one size only, or stops; its weights are none."""

    dim, shift_period_px, trained, half_precision = 3, 1, True, True
    __slots__ = ("error",)  # and can be kept in no weak dictionary

    def __init__(self, error: Exception) -> None:
        self.error = error

    def describe(self, images: Tensor) -> Levels:
        if images.shape[3] != 410:
            raise self.error
        return (DescriptorMap(unit_length(images), CellGrid(1.0, 0.0)),)


def test_what_does_not_describe_small_images_is_described_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: 200 * MIB)
    one = Large(ValueError("this network takes images of 410 px"))
    levels, notes = describe_image(one, PIXELS, device="cpu", precision="float32")
    assert levels[0].values.shape == (1, 3, 300, 410)
    assert notes == ()


def test_measuring_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "free_memory_bytes", lambda: 200 * MIB)
    with pytest.raises(JobCancelled):
        describe_image(Large(JobCancelled()), PIXELS, device="cpu", precision="float32")
