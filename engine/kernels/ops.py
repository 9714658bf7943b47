"""Operations with a CUDA kernel: checks, the choice of the way, and the launches.

Each operation is *defined* by its torch version, which calls this module first and does the work
itself when that returns ``None``.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import torch
from torch import Tensor

from engine.errors import KernelUnavailable
from engine.kernels import runtime

Backend = Literal["auto", "torch", "cuda"]
"""``auto``: the kernel where it runs, else torch, and the log says why, once; ``cuda``: the kernel
or :class:`engine.errors.KernelUnavailable`; ``torch``: never the kernel."""

KernelPath = Literal["fma", "mma"]
"""``mma``: tensor cores, from compute capability 8.0 on, where it is the default; ``fma``: float32
multiply-adds.  Both find the same, bit for bit."""

_TENSOR_CORES: Final = (8, 0)
_LIST: Final = 256  # as in cuda/hard_negatives.cu
_SAMPLED: Final = 4  # for k negatives, every so many-th tile is searched for bars
_WITNESS_SHARES: Final = 4  # shares of the candidates for each bar's witness
_THREADS: Final = 128
_FLAT_THREADS: Final = 256
_WARP: Final = 32
_SLOT: Final = 2  # int64 in a slot
_MOST_BLOCKS_Y_Z: Final = 65535
_MOST: Final = (1 << 31) - 1
_ELEMENTS: Final = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """What must be known of an engine in ``cuda/tiles.cuh``.

    Attributes:
        title: in the log.
        tile: queries of a tile, and candidates.
        blocks: that a multiprocessor runs at a time.
        most_tiles: of one share of the candidates, which a query may have to search again.
        shared_bytes: of a block, at least.
        slice_bytes: channels of one descriptor that are copied at a time; 0: it keeps no queries.
    """

    title: str
    tile: int
    blocks: int
    most_tiles: int
    shared_bytes: int
    slice_bytes: int


_ENGINES: Final[dict[KernelPath, _Engine]] = {
    "fma": _Engine(
        title="multiply-adds", tile=64, blocks=4, most_tiles=_MOST, shared_bytes=17408,
        slice_bytes=0,
    ),
    "mma": _Engine(
        title="tensor cores", tile=128, blocks=2, most_tiles=16, shared_bytes=6 * 8192,
        slice_bytes=64,
    ),
}  # fmt: skip

logger = logging.getLogger(__name__)
_said: set[str] = set()
_said_lock = threading.Lock()


class Launcher(Protocol):
    """Kernels of one file that can be launched: on a GPU, or emulated."""

    @property
    def multiprocessors(self) -> int:
        """How many there are, which decides how finely the work is cut."""

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a multiprocessor."""

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: int,
        *arguments: Tensor | int | float,
        shared_bytes: int = 0,
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
    path: KernelPath | None = None,
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
        path: of the kernel; None lets the GPU decide.

    Returns:
        ``(B, N, k, 2)`` int32 cells and ``(B, N, k)`` float32 similarities as
        :class:`engine.mining.hard_negatives.Negatives` has them; None where torch is to do it.

    Raises:
        KernelUnavailable: the kernel was demanded and cannot run.
    """

    def run(path: KernelPath) -> tuple[Tensor, Tensor]:
        offered, asked = same_elements(maps, queries)
        return launch_mining(
            _load("hard_negatives", offered, path), path, offered, asked, truth_cells, limits,
            pair_hashes, radius_cells=radius_cells, k=k, interval=interval, start=start,
        )  # fmt: skip

    return _choose("hard negatives", maps, (queries, truth_cells), backend, path, run)


def launch_mining(
    launcher: Launcher,
    path: KernelPath,
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
    number = batch * count
    if number * k == 0 or total == 0:
        return cells, values
    if batch > _MOST_BLOCKS_Y_Z or max(number * _WARP, height * width) > _MOST // 2:
        raise KernelUnavailable("There are more pairs of queries and cells than a kernel counts.")
    engine = _ENGINES[path]
    semi = int(limits is not None)
    grid = (height, width, columns, rows, interval, *start)
    broken = torch.empty((batch, total), dtype=torch.uint8, device=device)
    is_open = torch.empty((batch, count), dtype=torch.uint8, device=device)
    norms = torch.empty((batch, count), device=device)
    largest = torch.zeros(batch, device=device)
    bounds = norms if limits is None else limits.float().contiguous()  # hard ones read no limits
    launcher.launch(
        "measure_cells", (_ceil(total, _FLAT_THREADS), batch, 1), _FLAT_THREADS,
        maps, broken, largest, dim, *grid,
    )  # fmt: skip
    _launch_warps(launcher, "measure_queries", number, queries, truth, is_open, norms, number, dim)

    tiles = _ceil(total, engine.tile)
    blocks = batch * _ceil(count, engine.tile)
    splits = count_splits(engine, blocks, tiles, launcher)
    sampled = max(1, min(_SAMPLED, tiles // (_WITNESS_SHARES * k)))
    few = max(splits, min(_WITNESS_SHARES * k, _ceil(tiles, sampled)))
    slots = torch.empty(
        (number * (few if k > 1 else splits), _SLOT), dtype=torch.int64, device=device
    )
    lists = torch.empty((number if k > 1 else 0, _LIST), dtype=torch.int32, device=device)
    counts = torch.empty((len(lists),), dtype=torch.int32, device=device)
    bars = torch.empty((len(lists),), dtype=torch.int32, device=device)
    image = (
        maps, queries, truth, bounds, pair_hashes, broken, is_open, norms, largest, cells, values,
        count, dim, *grid, float(radius_cells**2), k, batch,
    )  # fmt: skip
    shared_bytes, keeps_queries = plan_shared(engine, dim * maps.element_size(), launcher)

    def find(splits: int, *, lists_all: bool = False, stride: int = 1, round_: int = 0) -> None:
        launcher.launch(
            "find", (_ceil(count, engine.tile), splits, batch), _THREADS, *image, slots, bars,
            counts, lists, semi, int(lists_all), stride, round_, int(keeps_queries),
            shared_bytes=shared_bytes,
        )  # fmt: skip

    if k > 1:
        # With so few cells that a list holds them, no bar is needed.
        shares = 0 if total <= _LIST else min(few, _ceil(tiles, sampled))
        if shares:
            find(shares, stride=sampled)
        _launch_flat(launcher, "set_bars", number, *image, slots, bars, counts, shares, semi)
        find(splits, lists_all=True)
        _launch_warps(launcher, "choose", number, *image, counts, lists, semi)
    for round_ in range(k):
        find(splits, round_=round_)
        _launch_warps(launcher, "settle", number, *image, slots, splits, semi, round_)
    return cells, values


def search_nearest(
    queries: Tensor,
    candidates: Sequence[Tensor],
    *,
    backend: Backend,
    path: KernelPath | None = None,
) -> tuple[Tensor, Tensor] | None:
    """Find the nearest neighbour of sets by the kernel, if it is wanted and can run.

    Args:
        queries: ``(L, N, D)`` sets of L descriptors, of any float dtype.
        candidates: ``(M, D)`` matrices, one per member.
        backend: the way.
        path: of the kernel; None lets the GPU decide.

    Returns:
        ``(N,)`` int64 indices and ``(N,)`` float32 similarities as
        :class:`engine.matching.nearest.Nearest` has them; None where torch is to do it.

    Raises:
        KernelUnavailable: the kernel was demanded and cannot run.
    """

    def run(path: KernelPath) -> tuple[Tensor, Tensor]:
        asked, *offered = same_elements(queries, *candidates)
        return launch_nearest(_load("nearest_levels", asked, path), path, asked, offered)

    return _choose("nearest neighbours", queries, tuple(candidates), backend, path, run)


def launch_nearest(
    launcher: Launcher, path: KernelPath, queries: Tensor, candidates: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The launches of :func:`search_nearest`; all tensors have the same dtype.

    Raises:
        KernelUnavailable: the sizes are beyond what the kernel can count.
    """
    queries = queries.contiguous()
    members, count, dim = queries.shape
    device = queries.device
    index = torch.full((count,), -1, dtype=torch.int64, device=device)
    similarity = torch.full((count,), -torch.inf, device=device)
    total = sum(len(member) for member in candidates)
    if members * count * total == 0:
        return index, similarity
    if members > _MOST_BLOCKS_Y_Z or max(members * count, total) * _WARP > _MOST // 2:
        raise KernelUnavailable("There are more queries or candidates than a kernel counts.")
    engine = _ENGINES[path]
    shared_bytes, keeps_queries = plan_shared(engine, dim * queries.element_size(), launcher)
    blocks = members * _ceil(count, engine.tile)
    keys = torch.zeros(count, dtype=torch.int64, device=device)
    query_norms = torch.empty((members, count), device=device)
    # The last number is that of the queries, which is of no use.
    largest = torch.zeros(len(candidates) + 1, device=device)
    _launch_warps(
        launcher, "measure_rows", members * count, queries, query_norms, largest[-1:],
        members * count, dim,
    )  # fmt: skip
    firsts = itertools.accumulate((len(member) for member in candidates), initial=0)
    for number, (member, first) in enumerate(zip(candidates, firsts, strict=False)):
        if len(member) == 0:
            continue
        offered = member.contiguous()
        norms = torch.empty(len(member), device=device)
        of_member = largest[number : number + 1]
        splits = count_splits(engine, blocks, _ceil(len(member), engine.tile), launcher)
        slots = torch.empty((members, count, splits, _SLOT), dtype=torch.int64, device=device)
        _launch_warps(
            launcher, "measure_rows", len(member), offered, norms, of_member, len(member), dim
        )
        launcher.launch(
            "find_nearest", (_ceil(count, engine.tile), splits, members), _THREADS, queries,
            offered, query_norms, norms, slots, count, len(member), dim, int(keeps_queries),
            shared_bytes=shared_bytes,
        )  # fmt: skip
        _launch_warps(
            launcher, "settle_nearest", count, queries, offered, query_norms, norms, of_member,
            slots, keys, index, similarity, count, len(member), dim, members, splits, first,
        )  # fmt: skip
    return index, similarity


def same_elements(*values: Tensor) -> tuple[Tensor, ...]:
    """All as they are where the kernels read their common dtype, else all as float32."""
    kinds = {value.dtype for value in values}
    if len(kinds) == 1 and kinds <= _ELEMENTS.keys():
        return values
    return tuple(value.float() for value in values)


def count_splits(engine: _Engine, blocks: int, tiles: int, launcher: Launcher) -> int:
    """Among how many blocks the candidates of a query are shared, so that the GPU is full."""
    wanted = _ceil(engine.blocks * launcher.multiprocessors, blocks)
    return min(max(wanted, _ceil(tiles, engine.most_tiles)), tiles, _MOST_BLOCKS_Y_Z)


def plan_shared(engine: _Engine, row_bytes: int, launcher: Launcher) -> tuple[int, bool]:
    """Shared memory of a block in bytes, and whether it keeps all channels of its queries.

    It does where as many such blocks fit as a multiprocessor is to run.
    """
    if engine.slice_bytes == 0:
        return engine.shared_bytes, False
    part = engine.tile * engine.slice_bytes
    kept = part * _ceil(row_bytes, engine.slice_bytes) + engine.shared_bytes // 2
    reserved = 1024  # by CUDA, of every block
    keeps = engine.blocks * (kept + reserved) <= launcher.shared_bytes
    return kept if keeps else engine.shared_bytes, keeps


def _choose(
    what: str,
    values: Tensor,
    others: tuple[Tensor, ...],
    backend: Backend,
    path: KernelPath | None,
    run: Callable[[KernelPath], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor] | None:
    if backend == "torch":
        return None
    on_gpu = values.is_cuda and all(other.device == values.device for other in others)
    if not on_gpu:
        if backend == "cuda":
            raise KernelUnavailable(f"The kernel for {what} needs all its input on one CUDA GPU.")
        return None
    try:
        chosen = _path_on(values.device, path)
        found = run(chosen)
    except (KernelUnavailable, torch.OutOfMemoryError) as error:
        reason = str(error) if isinstance(error, KernelUnavailable) else "The GPU's memory is full."
        if backend == "cuda":
            raise KernelUnavailable(reason) from error
        _say(logging.WARNING, f"{what}: computed by torch, not by the CUDA kernel. {reason}")
        return None
    title = _ENGINES[chosen].title
    _say(logging.INFO, f"{what}: computed by the CUDA kernel on {values.device}, with {title}")
    return found


def _path_on(device: torch.device, path: KernelPath | None) -> KernelPath:
    """The path that was asked for, else the best for the GPU."""
    has_tensor_cores = torch.cuda.get_device_capability(device) >= _TENSOR_CORES
    if path == "mma" and not has_tensor_cores:
        raise KernelUnavailable("The kernels use tensor cores from compute capability 8.0 on.")
    return path or ("mma" if has_tensor_cores else "fma")


def _say(level: int, text: str) -> None:
    """To the log, each sentence once in a process."""
    with _said_lock:
        if text in _said:
            return
        _said.add(text)
    logger.log(level, "%s", text)


def _load(name: str, values: Tensor, path: KernelPath) -> Launcher:
    index = values.device.index
    assert index is not None
    defines = (f"ELEMENT={_ELEMENTS[values.dtype]}", f"TENSOR_CORES={int(path == 'mma')}")
    return runtime.load(name, index, defines)


def _launch_flat(
    launcher: Launcher, name: str, total: int, *arguments: Tensor | int | float
) -> None:
    """One thread an element."""
    launcher.launch(name, (_ceil(total, _FLAT_THREADS), 1, 1), _FLAT_THREADS, *arguments)


def _launch_warps(
    launcher: Launcher, name: str, total: int, *arguments: Tensor | int | float
) -> None:
    """One warp an element."""
    _launch_flat(launcher, name, total * _WARP, *arguments)


def _ceil(number: int, unit: int) -> int:
    return math.ceil(number / unit)
