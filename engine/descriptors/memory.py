"""How much memory describing an image takes, told from two small ones.

While a small image is described, every tensor that is made is noted: its size, and between which
operations it lives.  For an image of another size most of them grow with the number of pixels, the
matrices of attention with its square, and others not at all; two sizes tell which do what.  The
peak for any size is then the largest sum of what is alive at a time.  A peak alone would not do: in
a small image that of the convolutions hides that of attention, which grows faster.

What operations use inside themselves is not seen, such as the copies in another order that
convolutions multiply; a share and a constant make up for it (docs/PERFORMANCE.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from engine.descriptors.grid_measure import random_images
from engine.descriptors.stopping import WatchingMode
from engine.descriptors.tiles import largest_tile_px

_SIDES_PX: Final = (128, 256)
_LARGEST_EXPONENT: Final = 2.0  # attention's; nothing that describes images grows faster
_EXPONENTS: Final = 2  # to the nearest half: a row of pixels grows with the root
_SMALLEST_PX: Final = 16  # of the contract
_PARTS: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_UNSEEN: Final = 1.5
_UNSEEN_BYTES: Final = 128 << 20


@dataclass(frozen=True, slots=True, eq=False)
class MemoryModel:
    """What describing an image takes, by the image's size.

    Attributes:
        births: ``(N,)`` the operation that made each tensor.
        deaths: ``(N,)`` the one before which it was gone; for what was returned, a later one than
            for all else.
        sizes_bytes: ``(N,)`` for an image of ``pixels``.
        exponents: ``(N,)`` by which power of the number of pixels each grows.
        pixels: of the larger image that was measured.
    """

    births: NDArray[np.int64]
    deaths: NDArray[np.int64]
    sizes_bytes: NDArray[np.float64]
    exponents: NDArray[np.float64]
    pixels: int

    def peak_bytes(self, pixels: int) -> int:
        """The most memory that describing so many pixels takes at a time, the maps included."""
        sizes = self._sizes(pixels)
        change = np.zeros(int(self.deaths.max(initial=0)) + 1)
        np.add.at(change, self.births, sizes)
        np.subtract.at(change, self.deaths, sizes)
        return int(_UNSEEN * np.cumsum(change).max(initial=0.0)) + _UNSEEN_BYTES

    def maps_bytes(self, pixels: int) -> int:
        """The memory of the maps themselves."""
        kept = self.deaths == self.deaths.max(initial=0)
        return int(self._sizes(pixels)[kept].sum())

    def _sizes(self, pixels: int) -> NDArray[np.float64]:
        sizes: NDArray[np.float64] = self.sizes_bytes * (pixels / self.pixels) ** self.exponents
        return sizes


@dataclass(frozen=True, slots=True)
class Limits:
    """What describing may take, and how it can be cut.

    Attributes:
        spare_bytes: the memory that may be used.
        reach_px: see :class:`~engine.descriptors.base.TileableDescriptor`; None: in one piece only.
        period_px: the descriptor's shift period.
    """

    spare_bytes: int
    reach_px: int | None
    period_px: int


def fewest_parts(model: MemoryModel, size_px: tuple[int, int], limits: Limits) -> int | None:
    """Into how many parts each side of an image has to be cut so that the memory suffices.

    Args:
        model: of the descriptor.
        size_px: (width, height).
        limits: what may be taken.

    Returns:
        1 where the image can be described in one piece; None where no number of parts suffices.
    """
    pixels = math.prod(size_px)
    if model.peak_bytes(pixels) <= limits.spare_bytes:
        return 1
    if limits.reach_px is None:
        return None
    # While tiles are joined, each of their cells is there twice.
    left_bytes = limits.spare_bytes - 2 * model.maps_bytes(pixels)
    for parts in _PARTS:
        tile = [largest_tile_px(side, parts, limits.reach_px, limits.period_px) for side in size_px]
        if model.peak_bytes(math.prod(tile)) <= left_bytes:
            return parts
    return None


def largest_edge_px(model: MemoryModel, size_px: tuple[int, int], limits: Limits) -> int:
    """The long edge of the largest smaller image that can be described; 0 below 16 px.

    Args:
        model: of the descriptor.
        size_px: (width, height) of an image that is too large.
        limits: what may be taken.
    """
    long_px = max(size_px)
    fits, too_large = 0, long_px
    while too_large - fits > 1:
        edge = (fits + too_large) // 2
        smaller = tuple(max(1, round(side * edge / long_px)) for side in size_px)
        if fewest_parts(model, (smaller[0], smaller[1]), limits) is None:
            too_large = edge
        else:
            fits = edge
    return fits if fits >= _SMALLEST_PX else 0


def measure_memory(
    describe: Callable[[Tensor], Any], *, period_px: int, device: torch.device | str = "cpu"
) -> MemoryModel | None:
    """Measure by two small images how much memory describing takes.

    Args:
        describe: ``(1, 3, H, W)`` -> what holds the maps.
        period_px: sides are multiples of this, so that nothing is added to them.
        device: where it computes.

    Returns:
        The model; None where both images are described in different ways.
    """
    sides = [max(1, round(side / period_px)) * period_px for side in _SIDES_PX]
    if sides[0] == sides[1]:
        sides[1] += period_px
    small, large = (_record(describe, side, device) for side in sides)
    if [one[:2] for one in small] != [one[:2] for one in large]:
        return None
    births, deaths, sizes = (np.array(values) for values in zip(*large, strict=True))
    growth = np.log(np.maximum(1, sizes) / np.maximum(1, [size for _, _, size in small]))
    exponents = np.round(_EXPONENTS * growth / np.log((sides[1] / sides[0]) ** 2)) / _EXPONENTS
    return MemoryModel(
        births, deaths, sizes.astype(float), exponents.clip(0, _LARGEST_EXPONENT), sides[1] ** 2
    )


def _record(
    describe: Callable[[Tensor], Any], side_px: int, device: torch.device | str
) -> list[tuple[int, int, int]]:
    """(birth, death, bytes) of all tensors that are made of a square image, in order."""
    # In inference mode, and with images made in it, operations are not taken apart, and their parts
    # would not be seen.
    with torch.inference_mode(False), torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        images = random_images(1, (side_px, side_px), generator).to(device)
        watching = _Watching()
        with watching:
            kept = describe(images)
        watching.bury()
        del kept
    return watching.lives()


class _Watching(WatchingMode):  # type: ignore[no-untyped-call]
    """Inside the block every tensor that is made is noted, and when it is gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations = 0
        self._made: list[tuple[int, int]] = []  # birth, bytes
        self._deaths: dict[int, int] = {}
        self._alive: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.bury()
        known = {one._cdata for one in _storages((args, kwargs))}
        known |= {reference.cdata for reference in self._alive.values()}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage._cdata not in known:
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                known.add(reference.cdata)
                self._alive[len(self._made)] = reference
                self._made.append((self._operations, storage.nbytes()))
        self._operations += 1
        return result

    def bury(self) -> None:
        """Note which tensors are gone."""
        for number, reference in list(self._alive.items()):
            if reference.expired():  # type: ignore[no-untyped-call]
                self._deaths[number] = self._operations
                del self._alive[number]

    def lives(self) -> list[tuple[int, int, int]]:
        """See :func:`_record`."""
        return [
            (birth, self._deaths.get(number, self._operations + 1), size)
            for number, (birth, size) in enumerate(self._made)
        ]


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    """Where the numbers of all tensors among some values lie."""
    for one in tree_leaves(values):
        if isinstance(one, Tensor) and one.layout == torch.strided:
            yield one.untyped_storage()
