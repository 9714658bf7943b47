"""Operations with a CUDA kernel: checks, the choice of the way, and the launches.

Each operation is *defined* by its torch version, which calls this module first and does the work
itself when it hears ``None``.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

from engine.errors import KernelUnavailable
from engine.kernels import runtime

Backend = Literal["auto", "torch", "cuda"]
"""``auto``: the kernel where it runs, else torch, and the log says why, once; ``cuda``: the kernel
or :class:`engine.errors.KernelUnavailable`; ``torch``: never the kernel."""

_TILE: Final = 64  # queries and candidates of a block; cuda/fused.cuh has the same number
_THREADS: Final = 128
_MARKING_THREADS: Final = 256
_BLOCKS_PER_MULTIPROCESSOR: Final = 4
_MOST_BLOCKS_Y_Z: Final = 65535
_MOST: Final = (1 << 31) - 1
_ELEMENTS: Final = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}

logger = logging.getLogger(__name__)
_said: set[str] = set()
_said_lock = threading.Lock()


class Launcher(Protocol):
    """Kernels of one file that can be launched: on a GPU, or emulated."""

    @property
    def multiprocessors(self) -> int:
        """How many there are, which decides how finely the work is cut."""

    def launch(
        self, name: str, grid: tuple[int, int, int], block: int, *arguments: Tensor | int | float
    ) -> None:
        """Start a kernel."""


def mine_negatives(
    maps: Tensor,
    queries: Tensor,
    truth_cells: Tensor,
    limits: Tensor | None,
    pair_hashes: Tensor,
    *,
    radius_cells: float,
    k: int,
    interval: int,
    start: tuple[int, int],
    backend: Backend,
) -> tuple[Tensor, Tensor] | None:
    """Mine hard negatives by the kernel, if it is wanted and can run.

    Args:
        maps: ``(B, D, H, W)`` maps of any float dtype.
        queries: ``(B, N, D)`` descriptors.
        truth_cells: ``(B, N, 2)`` true places (x, y) in cells.
        limits: ``(B, N)`` similarities that semi-hard negatives must exceed; None for hard ones.
        pair_hashes: ``(B,)`` int32 bits of the hash of (seed, pair).
        radius_cells: candidates are farther than this; at least 0.
        k: how many.
        interval: only every so many-th cell is a candidate.
        start: (x, y) of the first candidate cell.
        backend: the way.

    Returns:
        ``(B, N, k, 2)`` int32 cells and ``(B, N, k)`` float32 similarities as
        :class:`engine.mining.hard_negatives.Negatives` has them; None where torch is to do it.

    Raises:
        KernelUnavailable: the kernel was demanded and cannot run.
    """

    def run() -> tuple[Tensor, Tensor]:
        offered, asked = same_elements(maps, queries)
        return launch_mining(
            _load("hard_negatives", offered), offered, asked, truth_cells, limits, pair_hashes,
            radius_cells=radius_cells, k=k, interval=interval, start=start,
        )  # fmt: skip

    return _choose("hard negatives", maps, (queries, truth_cells), backend, run)


def launch_mining(
    launcher: Launcher,
    maps: Tensor,
    queries: Tensor,
    truth_cells: Tensor,
    limits: Tensor | None,
    pair_hashes: Tensor,
    *,
    radius_cells: float,
    k: int,
    interval: int,
    start: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """The launches of :func:`mine_negatives`; maps and queries have the same dtype.

    Raises:
        KernelUnavailable: the sizes are beyond what the kernel can count.
    """
    maps, queries = maps.contiguous(), queries.contiguous()
    truth = truth_cells.float().contiguous()
    batch, dim, height, width = maps.shape
    count, device = queries.shape[1], maps.device
    columns = len(range(start[0], width, interval))
    rows = len(range(start[1], height, interval))
    total = columns * rows
    cells = torch.full((batch, count, k, 2), -1, dtype=torch.int32, device=device)
    values = torch.full((batch, count, k), -torch.inf, device=device)
    if batch * count * k == 0 or total == 0:
        return cells, values
    if batch > _MOST_BLOCKS_Y_Z or max(batch * count * k * 2, batch * total) > _MOST - _TILE:
        raise KernelUnavailable("There are more pairs of queries and cells than a kernel counts.")
    grid = (height, width, columns, rows, interval, *start)
    splits = count_splits(batch * _ceil(count, _TILE), _ceil(total, _TILE), launcher)
    broken_cells = torch.empty((batch, total), dtype=torch.uint8, device=device)
    broken_queries = torch.empty((batch, count), dtype=torch.uint8, device=device)
    keys = torch.empty((batch, count, splits), dtype=torch.int64, device=device)
    best = torch.empty((batch, count, splits), device=device)
    bars = best if limits is None else limits.float().contiguous()  # hard ones read no limits
    _launch_flat(
        launcher, "mark_broken_cells", batch * total, maps, broken_cells, batch, dim, *grid
    )
    _launch_flat(
        launcher, "mark_broken_queries", batch * count, queries, truth, broken_queries,
        batch * count, dim,
    )  # fmt: skip
    for round_ in range(k):
        launcher.launch(
            "find_hard" if limits is None else "find_semi_hard",
            (_ceil(count, _TILE), splits, batch), _THREADS,
            maps, queries, truth, bars, pair_hashes, broken_cells, broken_queries, cells, keys,
            best, count, dim, *grid, float(radius_cells**2), round_, k,
        )  # fmt: skip
        _launch_flat(
            launcher, "merge_negatives", batch * count, keys, best, cells, values, batch * count,
            splits, columns, interval, *start, round_, k,
        )  # fmt: skip
    return cells, values


def search_nearest(
    queries: Tensor, candidates: Sequence[Tensor], *, backend: Backend
) -> tuple[Tensor, Tensor] | None:
    """Find the nearest neighbour of sets by the kernel, if it is wanted and can run.

    Args:
        queries: ``(L, N, D)`` sets of L descriptors, of any float dtype.
        candidates: ``(M, D)`` matrices, one per member.
        backend: the way.

    Returns:
        ``(N,)`` int64 indices and ``(N,)`` float32 similarities as
        :class:`engine.matching.nearest.Nearest` has them; None where torch is to do it.

    Raises:
        KernelUnavailable: the kernel was demanded and cannot run.
    """

    def run() -> tuple[Tensor, Tensor]:
        asked, *offered = same_elements(queries, *candidates)
        return launch_nearest(_load("nearest_levels", asked), asked, offered)

    return _choose("nearest neighbours", queries, tuple(candidates), backend, run)


def launch_nearest(
    launcher: Launcher, queries: Tensor, candidates: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The launches of :func:`search_nearest`; all tensors have the same dtype.

    Raises:
        KernelUnavailable: the sizes are beyond what the kernel can count.
    """
    queries = queries.contiguous()
    members, count, dim = queries.shape
    index = torch.full((count,), -1, dtype=torch.int64, device=queries.device)
    similarity = torch.full((count,), -torch.inf, device=queries.device)
    total = sum(len(member) for member in candidates)
    if members * count * total == 0:
        return index, similarity
    if members > _MOST_BLOCKS_Y_Z or max(count, total) > _MOST - _TILE:
        raise KernelUnavailable("There are more queries or candidates than a kernel counts.")
    blocks = members * _ceil(count, _TILE)
    cuts = [count_splits(blocks, _ceil(len(member), _TILE), launcher) for member in candidates]
    firsts = itertools.accumulate((len(member) for member in candidates), initial=0)
    slots = members * sum(cuts)
    # Members without a row are not searched: their slots must say so.
    keys = torch.zeros((count, slots), dtype=torch.int64, device=queries.device)
    first_slot = 0
    for member, first, splits in zip(candidates, firsts, cuts, strict=False):
        if len(member) > 0:
            launcher.launch(
                "find_nearest", (_ceil(count, _TILE), splits, members), _THREADS,
                queries, member.contiguous(), keys, count, len(member), dim, first, slots,
                first_slot,
            )  # fmt: skip
        first_slot += members * splits
    _launch_flat(launcher, "merge_nearest", count, keys, index, similarity, count, slots)
    return index, similarity


def same_elements(*values: Tensor) -> tuple[Tensor, ...]:
    """All as they are where the kernels read their common dtype, else all as float32."""
    kinds = {value.dtype for value in values}
    if len(kinds) == 1 and kinds <= _ELEMENTS.keys():
        return values
    return tuple(value.float() for value in values)


def count_splits(blocks: int, tiles: int, launcher: Launcher) -> int:
    """Among how many blocks the candidates of a query are shared, so that the GPU is full."""
    wanted = _ceil(_BLOCKS_PER_MULTIPROCESSOR * launcher.multiprocessors, blocks)
    return max(1, min(wanted, tiles, _MOST_BLOCKS_Y_Z))


def _choose(
    what: str,
    values: Tensor,
    others: tuple[Tensor, ...],
    backend: Backend,
    run: Callable[[], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor] | None:
    if backend == "torch":
        return None
    on_gpu = values.is_cuda and all(other.device == values.device for other in others)
    if not on_gpu:
        if backend == "cuda":
            raise KernelUnavailable(f"The kernel for {what} needs all its input on one CUDA GPU.")
        return None
    try:
        found = run()
    except (KernelUnavailable, torch.OutOfMemoryError) as error:
        reason = str(error) if isinstance(error, KernelUnavailable) else "The GPU's memory is full."
        if backend == "cuda":
            raise KernelUnavailable(reason) from error
        _say(logging.WARNING, f"{what}: computed by torch, not by the CUDA kernel. {reason}")
        return None
    _say(logging.INFO, f"{what}: computed by the CUDA kernel on {values.device}")
    return found


def _say(level: int, text: str) -> None:
    """To the log, each sentence once in a process."""
    with _said_lock:
        if text in _said:
            return
        _said.add(text)
    logger.log(level, "%s", text)


def _load(name: str, values: Tensor) -> Launcher:
    index = values.device.index
    assert index is not None
    return runtime.load(name, index, (f"ELEMENT={_ELEMENTS[values.dtype]}",))


def _launch_flat(
    launcher: Launcher, name: str, total: int, *arguments: Tensor | int | float
) -> None:
    """One thread an element."""
    launcher.launch(name, (_ceil(total, _MARKING_THREADS), 1, 1), _MARKING_THREADS, *arguments)


def _ceil(number: int, unit: int) -> int:
    return math.ceil(number / unit)
