"""Describing one image: notes, stopping, fall-backs, and what a stranger's descriptor returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.checkpoints import save_safetensors
from engine.descriptors import compute
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.compute import describe_image, get_built, predict_bytes
from engine.descriptors.daisy import Daisy, DaisyConfig
from engine.descriptors.msnet import MSNetV0, build_network
from engine.descriptors.registry import make_spec
from engine.errors import DescSpaceError, DeviceError, JobCancelled
from engine.geometry.coords import CellGrid
from engine.progress import Event, JobContext, Note

PIXELS = np.random.default_rng(0).random((40, 52, 3), dtype=np.float32)
GRID = CellGrid(1.0, 0.0)


class Own:
    """A descriptor that returns what a test wants, and remembers how it was called."""

    dim, shift_period_px, trained = 3, 1, True

    def __init__(self, answer: Callable[[Tensor], object], *, half_precision: bool = False) -> None:
        self.half_precision = half_precision
        self.answer = answer
        self.seen: list[str] = []

    def describe(self, images: Tensor) -> Levels:
        self.seen.append(
            f"{images.device.type} inference={torch.is_inference_mode_enabled()} "
            f"autocast={torch.is_autocast_enabled('cpu')}"
        )
        return self.answer(images)  # type: ignore[return-value]


def unit(images: Tensor) -> Levels:
    return (DescriptorMap(torch.nn.functional.normalize(images, dim=1), GRID),)


def test_an_image_is_described_as_a_batch_of_one() -> None:
    levels, notes = describe_image(Daisy(DaisyConfig()), PIXELS, device="cpu", precision="float32")
    batch = torch.from_numpy(PIXELS).permute(2, 0, 1)[None]
    torch.testing.assert_close(levels[0].values, Daisy(DaisyConfig()).describe(batch)[0].values)
    assert notes == ()


def test_other_strides_in_memory_change_nothing() -> None:
    view = np.ascontiguousarray(PIXELS[::-1])[::-1]
    one, _ = describe_image(Daisy(DaisyConfig()), PIXELS, device="cpu", precision="float32")
    other, _ = describe_image(Daisy(DaisyConfig()), view, device="cpu", precision="float32")
    assert torch.equal(one[0].values, other[0].values)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_is_refused_with_a_note_where_it_is_not_safe(precision: str) -> None:
    events: list[Event] = []
    own = Own(unit)
    _, notes = describe_image(
        own,
        PIXELS,
        device="cpu",
        precision=precision,  # type: ignore[arg-type]
        context=JobContext(emit=events.append),
    )
    assert own.seen == ["cpu inference=True autocast=False"]
    assert precision in notes[0]
    assert events == [Note(notes[0], "warning")]


def test_reduced_precision_is_used_where_it_is_safe_and_gives_float32() -> None:
    own = Own(lambda images: unit(images.bfloat16()), half_precision=True)
    levels, notes = describe_image(own, PIXELS, device="cpu", precision="bfloat16")
    assert own.seen == ["cpu inference=True autocast=True"]
    assert levels[0].values.dtype == torch.float32
    assert notes == ()
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_network_is_described_in_every_precision(precision: str) -> None:
    network = MSNetV0(build_network(weights=None, imagenet_weights=None), None)
    exact, _ = describe_image(network, PIXELS, device="cpu", precision="float32")
    found, _ = describe_image(network, PIXELS, device="cpu", precision=precision)  # type: ignore[arg-type]
    assert float((exact[0].values * found[0].values).sum(dim=1).min()) > 0.99


def test_vectors_that_are_too_long_are_shortened_with_a_note() -> None:
    own = Own(lambda images: (DescriptorMap(images + 1, GRID),))
    levels, notes = describe_image(own, PIXELS, device="cpu", precision="float32")
    torch.testing.assert_close(levels[0].values.norm(dim=1), torch.ones(1, 40, 52))
    assert "unit length" in notes[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: images, "must return a tuple of DescriptorMap"),
        (lambda images: (), "must return a tuple of DescriptorMap"),
        (lambda images: (images,), "must return a tuple of DescriptorMap"),
        (lambda images: (DescriptorMap(images[0], GRID),), r"shape \(3, 40, 52\)"),
        (lambda images: (DescriptorMap(images.repeat(2, 1, 1, 1), GRID),), r"shape \(2, 3,"),
        (lambda images: (DescriptorMap(images * torch.nan, GRID),), "not finite"),
        (lambda images: (*unit(images), *unit(images[:, :2])), r"different lengths: \[2, 3\]"),
    ],
)
def test_what_is_no_map_is_refused_in_a_sentence(
    answer: Callable[[Tensor], object], message: str
) -> None:
    with pytest.raises(DescSpaceError, match=message):
        describe_image(Own(answer), PIXELS, device="cpu", precision="float32")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="abacus"):
        describe_image(Daisy(DaisyConfig()), PIXELS, device="abacus", precision="float32")


def test_work_that_was_stopped_before_or_meanwhile_gives_nothing() -> None:
    context = JobContext()

    def cancel_meanwhile(images: Tensor) -> Levels:
        context.cancel.cancel()
        return unit(images)

    with pytest.raises(JobCancelled):
        describe_image(
            Own(cancel_meanwhile), PIXELS, device="cpu", precision="float32", context=context
        )
    own = Own(unit)
    with pytest.raises(JobCancelled):
        describe_image(own, PIXELS, device="cpu", precision="float32", context=context)
    assert own.seen == []


def test_a_full_accelerator_falls_back_to_the_cpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The device "meta" stands in for the accelerator: every computer has it."""

    def answer(images: Tensor) -> Levels:
        if images.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return unit(images)

    monkeypatch.setattr(compute, "resolve_device", lambda name: torch.device("meta"))
    own = Own(answer)
    levels, notes = describe_image(own, PIXELS, device="auto", precision="float32")
    assert levels[0].values.device.type == "cpu"
    assert [seen.split()[0] for seen in own.seen] == ["meta", "cpu"]
    assert "ran out of memory" in notes[0]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_a_full_computer_is_said_with_a_cure(error: Exception) -> None:
    def answer(images: Tensor) -> Levels:
        raise error

    with pytest.raises(DeviceError, match="52 × 40 pixels; choose a smaller long edge"):
        describe_image(Own(answer), PIXELS, device="cpu", precision="float32")


def test_other_failures_of_a_descriptor_stay_what_they_are() -> None:
    def answer(images: Tensor) -> Levels:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        describe_image(Own(answer), PIXELS, device="cpu", precision="float32")


def test_a_descriptor_is_built_once_per_spec_and_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(path, build_network(weights=None, imagenet_weights=None).state_dict(), {})
    spec = make_spec("msnet_v0", {"weights": path})
    first = get_built(spec)
    assert get_built(make_spec("msnet_v0", {"weights": path})) is first
    assert get_built(make_spec("msnet_v1", {"weights": path})) is not first
    os.utime(path, ns=(1, 1))
    assert get_built(spec) is not first


def test_only_the_latest_few_are_kept() -> None:
    first = get_built(make_spec("daisy", {"stride_px": 11}))
    for stride_px in range(12, 17):
        get_built(make_spec("daisy", {"stride_px": stride_px}))
    assert get_built(make_spec("daisy", {"stride_px": 11})) is not first


@pytest.mark.parametrize("size_px", [(64, 48), (161, 95)])
@pytest.mark.parametrize("stride_px", [1, 2, 5])
def test_predicted_memory_is_close_above_the_real_one(
    size_px: tuple[int, int], stride_px: int
) -> None:
    daisy = Daisy(DaisyConfig(stride_px=stride_px))
    values = daisy.describe(torch.zeros(1, 3, size_px[1], size_px[0]))[0].values
    real = values.numel() * values.element_size()
    predicted = predict_bytes(dim=daisy.dim, grids=[daisy.grid], size_px=size_px)
    assert real <= predicted <= 1.35 * real


@pytest.mark.parametrize(
    ("most_px", "seen", "note"),
    [
        (40 * 52, 1, ""),
        (26 * 34, 1 + 4, "described in 4 tiles"),
        (19 * 21, 1 + 1 + 16, "described in 16 tiles"),
        (0, 1 + 1 + 1 + 1, "described on the CPU"),
    ],
)
def test_a_full_accelerator_takes_smaller_tiles_before_the_cpu_does_the_work(
    monkeypatch: pytest.MonkeyPatch, most_px: int, seen: int, note: str
) -> None:
    """The device "meta" holds no numbers: what it would compute, the CPU gives."""

    def answer(images: Tensor) -> Levels:
        height, width = images.shape[2:]
        if images.device.type != "cpu" and height * width > most_px:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return unit(torch.ones(1, 3, height, width))

    monkeypatch.setattr(compute, "resolve_device", lambda name: torch.device("meta"))
    own = Own(answer)
    own.reach_px = 4  # type: ignore[attr-defined]
    levels, notes = describe_image(own, PIXELS, device="auto", precision="float32")
    assert levels[0].values.shape == (1, 3, 40, 52)
    assert len(own.seen) == seen
    assert [note in text for text in notes] == ([True] if note else [])


def test_tiles_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    context = JobContext()

    def answer(images: Tensor) -> Levels:
        if images.shape[2] == PIXELS.shape[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        context.cancel.cancel()
        return unit(torch.ones(1, 3, *images.shape[2:]))

    monkeypatch.setattr(compute, "resolve_device", lambda name: torch.device("meta"))
    own = Own(answer)
    own.reach_px = 4  # type: ignore[attr-defined]
    with pytest.raises(JobCancelled):
        describe_image(own, PIXELS, device="auto", precision="float32", context=context)
    assert len(own.seen) == 2
