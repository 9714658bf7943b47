"""Describing one image: device, precision, stopping, and running out of memory."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.descriptors.base import (
    DenseDescriptor,
    DescriptorMap,
    Levels,
    Member,
    PairDescriptor,
    TileableDescriptor,
)
from engine.descriptors.check import build_checked
from engine.descriptors.held_state import state_sha256
from engine.descriptors.memory import (
    Limits,
    MemoryModel,
    fewest_parts,
    largest_edge_px,
    measure_memory,
)
from engine.descriptors.networks import NetworkDescriptor, fold_norms
from engine.descriptors.registry import DescriptorSpec, get_descriptor
from engine.descriptors.stopping import large_in_parts, stop_between_modules
from engine.descriptors.tensors import lengths_across, unit_length
from engine.descriptors.tiles import describe_in_tiles, tile_count
from engine.devices import free_memory_bytes, ran_out_of_memory, resolve_device
from engine.errors import DescSpaceError, DeviceError
from engine.geometry.coords import CellGrid
from engine.progress import CancelToken, JobContext, Note, check_stop
from engine.vocabulary import Precision

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_LENGTH_TOLERANCE = 0.01
_KEPT_BUILT = 4
_TILES_A_SIDE = (2, 4)
# Below both, an image is described without a look at the memory: even attention of 12 heads that
# stores its matrices, over patches of 8 px, takes less.
_SMALL_PX = 500_000
_MOST_BYTES_PER_PX = 16 << 10
# What is free now will not be free to the last byte.
_SPARE_SHARE = 0.9

Value = TypeVar("Value")


@runtime_checkable
class StoppableDescriptor(Protocol):
    """A descriptor that works in parts and can be stopped between them."""

    def describe_stoppable(self, images: Tensor, check: Callable[[], None]) -> Levels:
        """As ``describe``; ``check`` is called now and then and may raise."""
        ...


_built_lock = threading.Lock()
_built: deque[tuple[DenseDescriptor, tuple[str, ...], str | None]] = deque(maxlen=_KEPT_BUILT)
_module_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_module_locks_lock = threading.Lock()
_memory_models: WeakKeyDictionary[DenseDescriptor, dict[bool, MemoryModel | None]] = (
    WeakKeyDictionary()
)
_log = logging.getLogger(__name__)


def describe_image(
    descriptor: DenseDescriptor,
    pixels: NDArray[np.float32],
    *,
    device: str,
    precision: Precision,
    members: tuple[Member, ...] | None = None,
    look: Any = None,
    context: JobContext | None = None,
) -> tuple[Levels, tuple[str, ...]]:
    """Describe one image.

    Args:
        descriptor: what to describe it with; its network is moved to the device.
        pixels: ``(H, W, 3)`` RGB in [0, 1], both sides at least 16.
        device: torch device name or "auto".
        precision: arithmetic; reduced only where the descriptor allows it.
        members: what the image's pair chose; None for an image without a partner.
        look: what the descriptor saw in the image before its pair chose.
        context: receives each note, and is checked for cancelling before, after and, where the
            descriptor works in parts, in between.

    Returns:
        Levels of a batch of one, float32, each vector of unit length or zero; and notes for the
        user, such as a fall-back to the CPU.

    Raises:
        DeviceError: no such device, or out of memory on the CPU too; there, mostly before it is
            used up.
        DescSpaceError: the descriptor (a plugin, say) returned no usable maps.
        JobCancelled: ``context.cancel`` was raised.
    """
    context = context or JobContext()
    check = context.cancel.check

    def describe(images: Tensor) -> Levels:
        if members is not None:
            if not isinstance(descriptor, PairDescriptor):
                raise ValueError("only a pair descriptor takes members")
            return descriptor.describe_members(images, members, look, check)
        if isinstance(descriptor, StoppableDescriptor):
            return descriptor.describe_stoppable(images, check)
        return descriptor.describe(images)

    @functools.cache
    def find_reach_px() -> int | None:
        """Asked only where tiles are needed: networks that come by their names measure it."""
        if members is not None or not isinstance(descriptor, TileableDescriptor):
            return None
        return descriptor.reach_px

    def in_tiles(images: Tensor, parts: int) -> Levels:
        reach_px = find_reach_px()
        assert reach_px is not None
        return describe_in_tiles(
            describe,
            images,
            parts=parts,
            reach_px=reach_px,
            period_px=descriptor.shift_period_px,
            check=check,
        )

    told: list[str] = []

    def describe_within_memory(images: Tensor) -> Levels:
        parts = 1
        if images.device.type == "cpu" and members is None:  # a GPU that is full says so
            parts, text = _parts_that_fit(descriptor, describe, images, find_reach_px)
            if text:
                told.append(text)
                context.emit(Note(text, "warning"))
        return describe(images) if parts == 1 else in_tiles(images, parts)

    def fewer_at_once() -> dict[int, Callable[[Tensor], Levels]]:
        sides = _TILES_A_SIDE if find_reach_px() is not None else ()
        return {parts * parts: partial(in_tiles, parts=parts) for parts in sides}

    levels, notes = run_on_image(
        descriptor,
        pixels,
        describe_within_memory,
        smaller=fewer_at_once,
        device=device,
        precision=precision,
        context=context,
    )
    found = _found_of(descriptor)
    for text in found:
        context.emit(Note(text, "warning"))
    notes = (*notes, *told, *found)
    with torch.inference_mode():
        levels, stretched = _checked(levels)
    if stretched:
        text = "The descriptor's vectors were not of unit length; they were brought to it."
        notes = (*notes, text)
        context.emit(Note(text, "warning"))
    return levels, notes


def _parts_that_fit(
    descriptor: DenseDescriptor,
    describe: Callable[[Tensor], Levels],
    images: Tensor,
    find_reach_px: Callable[[], int | None],
) -> tuple[int, str]:
    """Into how many parts each side is cut so that the computer's memory suffices, and a note.

    The system would end the program without a word if it did not.

    Raises:
        DeviceError: in no parts would it suffice.
    """
    height, width = images.shape[2:]
    pixels = height * width
    free = free_memory_bytes()
    if free is None:
        return 1, ""
    spare = int(_SPARE_SHARE * free)
    if pixels <= _SMALL_PX and pixels * _MOST_BYTES_PER_PX <= spare:
        return 1, ""
    model = _memory_of(descriptor, describe)
    if model is None:
        return 1, ""
    if model.peak_bytes(pixels) <= spare:
        return 1, ""
    reach_px = find_reach_px()
    limits = Limits(spare, reach_px, descriptor.shift_period_px)
    parts = fewest_parts(model, (width, height), limits)
    wanted_gib, spare_gib = model.peak_bytes(pixels) / 2**30, spare / 2**30
    taken = (
        f"An image of {width} × {height} pixels would take about {wanted_gib:.1f} GiB of memory in "
        f"one piece, and {spare_gib:.1f} GiB can be spared"
    )
    if parts is not None:
        count = tile_count((width, height), parts, limits.period_px)
        return parts, f"{taken}; it was described in {count} tiles."
    if reach_px is None:
        why = "no tiles can be used, as nothing limits how far this descriptor sees"
    else:
        why = "tiles would not fit either"
    edge = largest_edge_px(model, (width, height), limits)
    remedy = f"lower the long edge to {edge} pixels or less" if edge else "free some memory"
    raise DeviceError(f"{taken}; {why}: {remedy}.")


def _memory_of(
    descriptor: DenseDescriptor, describe: Callable[[Tensor], Levels]
) -> MemoryModel | None:
    """What a descriptor takes, measured once; None where that cannot be told."""
    reduced = torch.is_autocast_enabled("cpu")
    with contextlib.suppress(KeyError, TypeError):  # what cannot be remembered is measured again
        return _memory_models[descriptor][reduced]
    model = None
    try:
        model = measure_memory(describe, period_px=descriptor.shift_period_px)
    except Exception as error:  # a stranger's code; the image itself may go well
        _log.info("The memory that describing takes could not be measured: %s", error)
    with contextlib.suppress(TypeError):
        _memory_models.setdefault(descriptor, {})[reduced] = model
    return model


def run_on_image(
    descriptor: DenseDescriptor,
    pixels: NDArray[np.float32],
    work: Callable[[Tensor], Value],
    *,
    smaller: Callable[[], Mapping[int, Callable[[Tensor], Value]]] = dict,
    device: str,
    precision: Precision,
    context: JobContext,
) -> tuple[Value, tuple[str, ...]]:
    """Do some work of a descriptor on a device, or on the CPU where that runs out of memory.

    Takes and raises what :func:`describe_image` does.  ``work`` is called with the pixels as
    ``(1, 3, H, W)`` on the device; where it runs out of memory there, ``smaller`` is asked for work
    in as many tiles as its keys say, which is tried first.

    Returns:
        What the work returned, and notes for the user.
    """
    context.cancel.check()
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        context.emit(Note(text, "warning"))

    def work_on(place: torch.device, work: Callable[[Tensor], Value]) -> Value:
        with working(descriptor, place, precision, context.cancel):
            images = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
            images = images.to(place).permute(2, 0, 1)[None].contiguous()
            with large_in_parts(images):
                return work(images)

    if precision != "float32" and not descriptor.half_precision:
        note(f"This descriptor is not safe in {precision}; it was computed in float32.")
    chosen = resolve_device(device)
    done: list[Value] = []
    if chosen.type != "cpu":
        for tiles, attempt in itertools.chain([(1, work)], _lazily(smaller)):
            # The error's trace holds the failed attempt's tensors; they go when the block ends.
            with contextlib.suppress(torch.OutOfMemoryError):
                done.append(work_on(chosen, attempt))
                if tiles > 1:
                    note(f"{chosen} ran out of memory; this image was described in {tiles} tiles.")
                break
            torch.cuda.empty_cache()
        else:
            note(f"{chosen} ran out of memory; this image was described on the CPU.")
    try:
        result = done[0] if done else work_on(torch.device("cpu"), work)
    except (MemoryError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise DeviceError(
                f"There is not enough memory to describe {pixels.shape[1]} × {pixels.shape[0]} "
                "pixels; choose a smaller long edge or a larger stride."
            ) from error
        raise
    context.cancel.check()
    return result, tuple(notes)


def _lazily(smaller: Callable[[], Mapping[int, Value]]) -> Iterator[tuple[int, Value]]:
    yield from smaller().items()


@contextlib.contextmanager
def working(
    descriptor: DenseDescriptor, device: torch.device, precision: Precision, cancel: CancelToken
) -> Iterator[None]:
    """Inside the block the descriptor is on the device, and this thread alone uses it.

    Grad mode and autocast hold for this thread and this block only; autocast only where the
    descriptor allows it.  A pass through a network ends before its next module once ``cancel`` is
    raised.
    """
    stop_between_modules()
    with contextlib.ExitStack() as stack:
        stack.enter_context(cancel.everywhere())
        module = getattr(descriptor, "module", None)
        if isinstance(module, nn.Module):
            # A network is in one place at a time: another thread may want it elsewhere.
            with _module_locks_lock:
                lock = _module_locks.setdefault(module, threading.RLock())
            stack.enter_context(cancel.holding(lock))
            module.to(device)
        stack.enter_context(torch.inference_mode())
        if precision != "float32" and descriptor.half_precision:
            stack.enter_context(torch.autocast(device.type, dtype=_DTYPES[precision]))
        yield


def get_built(spec: DescriptorSpec, cancel: CancelToken | None = None) -> DenseDescriptor:
    """The descriptor of a spec, built once as long as its files stay the same.

    One that did not come with this program is checked when it is first built, which describes some
    small images; what is not as it declares is noted whenever it describes.  Where the cells of a
    network lie may have to be measured, which takes seconds.

    Args:
        spec: names it.
        cancel: stops waiting, loading and measuring.

    Raises:
        ConfigError: the spec does not fit the registered settings.
        WeightsError: its weights cannot be used.
        PluginError: it fails, or its length or stride is wrong.
        JobCancelled: ``cancel`` was raised.
    """
    cancel = cancel or CancelToken()
    stop_between_modules()
    with cancel.holding(_built_lock), cancel.everywhere():
        check_stop()
        return _build(spec, get_descriptor(spec.name).build, spec.weights_stamps(load=True))


@functools.lru_cache(maxsize=_KEPT_BUILT)
def _build(spec: DescriptorSpec, *_depends_on: Hashable) -> DenseDescriptor:
    descriptor, found = build_checked(spec)
    if isinstance(descriptor, NetworkDescriptor):
        fold_norms(descriptor.network)
    # Now, and not when it is asked for: describing may leave things of its own in a descriptor.
    _built.append((descriptor, found, state_sha256(descriptor)))
    return descriptor


def built_state(descriptor: DenseDescriptor) -> str | None:
    """SHA-256 of the weights that a descriptor really held when :func:`get_built` made it."""
    known = [state for one, _, state in _built if one is descriptor]
    return known[0] if known else state_sha256(descriptor)


def _found_of(descriptor: DenseDescriptor) -> tuple[str, ...]:
    """What is not as the descriptor declares it, in sentences."""
    return next((found for one, found, _ in _built if one is descriptor), ())


def predict_bytes(*, dim: int, grids: Sequence[CellGrid], size_px: tuple[int, int]) -> int:
    """Memory of the finished float32 maps of one image.

    Args:
        dim: length of a descriptor.
        grids: one per level.
        size_px: (width, height) of the described image.
    """
    width, height = size_px
    cells = sum(
        (int(width / grid.stride_px) + 1) * (int(height / grid.stride_px) + 1) for grid in grids
    )
    return 4 * dim * cells


def _checked(levels: Any) -> tuple[Levels, bool]:
    """The levels as the contract wants them; True if vectors had to be brought to unit length."""
    if not (
        isinstance(levels, tuple)
        and levels
        and all(isinstance(level, DescriptorMap) for level in levels)
    ):
        raise DescSpaceError("The descriptor must return a tuple of DescriptorMap.")
    result = []
    changed = False
    for level in levels:
        shape = tuple(level.values.shape)
        if len(shape) != 4 or shape[0] != 1 or 0 in shape:
            raise DescSpaceError(
                f"The descriptor returned a map of shape {shape} for one image instead of "
                "(1, D, height, width)."
            )
        values = level.values.float()
        lengths = lengths_across(values)
        if not bool(torch.isfinite(lengths).all()):
            raise DescSpaceError("The descriptor returned numbers that are not finite.")
        if bool(((lengths - 1).abs().gt(_LENGTH_TOLERANCE) & lengths.gt(0)).any()):
            values = unit_length(values)
            changed = True
        result.append(replace(level, values=values))
    dims = sorted({int(level.values.shape[1]) for level in result})
    if len(dims) > 1:
        raise DescSpaceError(f"The descriptor returned maps of different lengths: {dims}.")
    return tuple(result), changed
