"""Mining hard negatives: on the processor, and the CUDA kernel's two paths where there is a GPU.

On the processor, one size takes turns with what one would write by hand (``torch.cdist``, a mask,
the smallest) and with the bare float32 product in blocks of the same size, which is the floor of
any search in float32.  Where bfloat16 is in hardware, so do the search in float32 and the bare
bfloat16 product, the floor of what is done there.

On a GPU all ways get the same bfloat16 descriptors, except one that gives the kernel float32.  The
torch versions score in float32, because bfloat16 scores lose the order of the best candidates:
``torch, float32`` converts the descriptors to float32 and multiplies with TF32 allowed.  ``torch,
bfloat16`` multiplies and scores in bfloat16, for comparison only.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.peers import share_threads
from engine.descriptors.bfloat16 import in_hardware
from engine.kernels.ops import Backend, KernelPath
from engine.mining.hard_negatives import MINING_BUDGET_BYTES, Negatives, find_hard_negatives

RADIUS_CELLS = 4.0
_BLOCK_BYTES = 256 << 20
_BFLOAT16_QUERIES = 1536  # of a block, with which these products are the fastest
_WARM_UP = 3
_SEVERAL = 5  # negatives per query
_NOISE = 0.05  # of each number of a query, which is its true cell with noise
_NEAR_TIE = 1e-5  # two cells whose similarities differ by less are equally good


@dataclass(frozen=True, slots=True)
class Size:
    """One case: B images, N queries each, a map of H × W cells with D channels."""

    batch: int
    queries: int
    height: int
    width: int
    dim: int

    def __str__(self) -> str:
        return f"({self.batch}, {self.queries}, {self.width}×{self.height}, {self.dim})"

    @property
    def flops(self) -> float:
        """Flops of the products, two for each multiply-add."""
        return 2.0 * self.batch * self.queries * self.height * self.width * self.dim

    @property
    def least_bytes(self) -> float:
        """Bytes to read both inputs once in bfloat16 and to write both results once."""
        read = 2.0 * self.dim * (self.height * self.width + self.queries)
        return self.batch * (read + 12.0 * self.queries)


CPU_SIZE = Size(4, 3000, 60, 80, 128)
SIZES = (
    Size(1, 3000, 60, 80, 128),
    Size(16, 3000, 60, 80, 128),
    Size(8, 4096, 120, 160, 128),
    Size(4, 4096, 120, 160, 256),
)


def measure(runs: int) -> list[Figure]:
    """The processor's times; on a GPU also the share of the lower bounds and peak extra memory."""
    figures = _measure_cpu(runs)
    if not torch.cuda.is_available():
        print("mining on a GPU is not measured: torch finds no CUDA GPU", file=sys.stderr)
        return figures
    torch.backends.cuda.matmul.allow_tf32 = True
    rate, bandwidth = _matrix_rate(runs), _bandwidth(runs)
    figures += [
        summarise("dense bf16 products", rate, unit="TFLOP/s"),
        summarise("copy", bandwidth, unit="GB/s"),
    ]
    for size in SIZES:
        figures += _measure_size(
            size, runs, statistics.median(rate) * 1e12, statistics.median(bandwidth) * 1e9
        )
    return figures


def _measure_cpu(runs: int) -> list[Figure]:
    share_threads()
    size = CPU_SIZE
    maps, queries, truth = _descriptors(size)
    block = MINING_BUDGET_BYTES // (8 * size.height * size.width)
    scores = torch.empty(block, size.height * size.width)

    def product() -> None:
        for image in range(size.batch):
            for asked in torch.split(queries[image], block):
                torch.mm(asked, maps[image].flatten(1), out=scores[: len(asked)])

    def mine() -> None:
        found.append(_mine(maps, queries, truth, "auto", budget_bytes=MINING_BUDGET_BYTES))

    def mine_in_float32() -> None:
        plain.append(_mine(maps, queries, truth, "torch", budget_bytes=MINING_BUDGET_BYTES))

    def by_distance() -> None:
        nearest.append(_by_distance(maps, queries, truth))

    found: list[Negatives] = []
    plain: list[Negatives] = []
    nearest: list[Tensor] = []
    ours, cdist, bare = (
        f"{way} {size}" for way in ("mining", "cdist, mask and min", "bare float32 product")
    )
    works: dict[str, Callable[[], None]] = {ours: mine, cdist: by_distance, bare: product}
    others: dict[str, Callable[[], None]] = {}
    if in_hardware():
        others[f"mining in float32 {size}"] = mine_in_float32
        others[f"bare bfloat16 product {size}"] = _bfloat16_product(maps, queries)
    times = take_turns({**works, **others}, runs)
    _check_same(maps, queries, found[-1], nearest[-1])
    if plain and not torch.equal(found[-1].cells, plain[-1].cells):
        raise RuntimeError("mining chose other cells than in float32")
    times_ms = {name: [1000 * time_s for time_s in times_s] for name, times_s in times.items()}
    return [
        summarise(bare, times_ms[bare], unit="ms", ratio_to=cdist),
        summarise(cdist, times_ms[cdist], unit="ms"),
        summarise(
            ours, times_ms[ours], unit="ms", ratio_to=cdist, target=1 / 6, of_ratio=True,
            note="the same cells as by cdist",
        ),
        summarise(
            f"{ours}, beside the product", times_ms[ours], unit="ms", ratio_to=bare, of_ratio=True,
            target=0.6 if in_hardware() else None,
        ),
        *(summarise(name, times_ms[name], unit="ms", ratio_to=bare) for name in others),
    ]  # fmt: skip


def _bfloat16_product(maps: Tensor, queries: Tensor) -> Callable[[], None]:
    """The products of all cells and queries, rounded before, in blocks of queries."""
    cells = maps.flatten(2).transpose(1, 2).contiguous().bfloat16()
    asked = queries.bfloat16()
    scores = torch.empty(cells.shape[1] * _BFLOAT16_QUERIES, dtype=torch.bfloat16)

    def product() -> None:
        for image in range(len(cells)):
            for part in torch.split(asked[image], _BFLOAT16_QUERIES):
                out = scores[: cells.shape[1] * len(part)].view(-1, len(part))
                torch.mm(cells[image], part.T, out=out)

    return product


def _descriptors(size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of random unit vectors, queries that resemble their true cells, and where these are."""
    draw = torch.Generator().manual_seed(0)
    map_shape = (size.batch, size.dim, size.height, size.width)
    maps = normalize(torch.randn(map_shape, generator=draw), dim=1)
    corner = torch.tensor([size.width - 1.0, size.height - 1.0])
    truth = torch.rand((size.batch, size.queries, 2), generator=draw) * corner
    column, row = truth.round().long().unbind(dim=-1)
    places = (row * size.width + column)[:, None].expand(-1, size.dim, -1)
    queries = maps.flatten(2).gather(2, places).transpose(1, 2)
    noise = _NOISE * torch.randn(queries.shape, generator=draw)
    return maps, normalize(queries + noise, dim=2), truth


def _by_distance(maps: Tensor, queries: Tensor, truth: Tensor) -> Tensor:
    """``(B, N)`` which cell of each map is nearest, written as one would by hand."""
    height, width = maps.shape[2:]
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([xs.flatten(), ys.flatten()], dim=1).float()
    distance = torch.cdist(queries, maps.flatten(2).transpose(1, 2))
    close = torch.cdist(truth, cells) <= RADIUS_CELLS
    return distance.masked_fill_(close, torch.inf).min(dim=2).indices


def _check_same(maps: Tensor, queries: Tensor, found: Negatives, nearest: Tensor) -> None:
    column, row = found.cells[:, :, 0].long().unbind(dim=-1)
    ours = row * maps.shape[3] + column
    pair, query = (ours != nearest).nonzero(as_tuple=True)
    other = (queries[pair, query] * maps.flatten(2)[pair, :, nearest[pair, query]]).sum(dim=1)
    if bool((other - found.similarity[pair, query, 0] > _NEAR_TIE).any()):
        raise RuntimeError("mining chose other cells than the plain search")


def _measure_size(size: Size, runs: int, rate: float, bandwidth: float) -> list[Figure]:
    generator = torch.Generator(device="cuda").manual_seed(0)
    map_shape = (size.batch, size.dim, size.height, size.width)
    maps = torch.randn(map_shape, generator=generator, device="cuda").bfloat16()
    asked = (size.batch, size.queries, size.dim)
    queries = torch.randn(asked, generator=generator, device="cuda").bfloat16()
    corner = torch.tensor([size.width, size.height], device="cuda", dtype=torch.float32)
    shape = (size.batch, size.queries, 2)
    truth = torch.rand(shape, generator=generator, device="cuda") * corner
    wide = (maps.float(), queries.float())
    compiled = torch.compile(_unfused)
    ways: dict[str, Callable[[], object]] = {
        "torch, float32": lambda: _unfused(maps, queries, truth, torch.float32),
        "torch, bfloat16": lambda: _unfused(maps, queries, truth, torch.bfloat16),
        "torch, in blocks": lambda: _mine(maps, queries, truth, "torch"),
        "torch.compile": lambda: compiled(maps, queries, truth, torch.float32),
        "kernel, tensor cores": lambda: _mine(maps, queries, truth, "cuda", path="mma"),
        "kernel, multiply-adds": lambda: _mine(maps, queries, truth, "cuda", path="fma"),
        "kernel, tensor cores, float32 given": lambda: _mine(*wide, truth, "cuda", path="mma"),
        f"kernel, tensor cores, {_SEVERAL} a query": lambda: _mine(
            maps, queries, truth, "cuda", path="mma", k=_SEVERAL
        ),
    }
    floor_ms = 1e3 * max(size.flops / rate, size.least_bytes / bandwidth)
    figures: list[Figure] = []
    base = f"torch, float32 {size}"
    for way, work in ways.items():
        name = f"{way} {size}"
        try:
            times, extra = _time(work, runs)
        except Exception as error:  # a failed compiler, full memory: measure the others
            print(f"{name} is left out: {type(error).__name__}: {error}", flush=True)
            continue
        share = 100 * floor_ms / statistics.median(times)
        note = f"{extra / 2**20:.2f} MiB extra, {share:.1f} % of the rate of the higher bound"
        figures.append(summarise(name, times, unit="ms", ratio_to=base, note=note))
    return figures


def _mine(
    maps: Tensor,
    queries: Tensor,
    truth: Tensor,
    backend: Backend,
    *,
    path: KernelPath | None = None,
    k: int = 1,
    budget_bytes: int = _BLOCK_BYTES,
) -> Negatives:
    return find_hard_negatives(
        maps, queries, truth, radius_cells=RADIUS_CELLS, kind="hard" if k == 1 else "k-hard", k=k,
        margin=0.0, positives=None, seed=0, budget_bytes=budget_bytes, backend=backend, path=path,
    )  # fmt: skip


def _unfused(
    maps: Tensor, queries: Tensor, truth: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Compute all similarities at once, mask them, and take the largest."""
    height, width = maps.shape[2:]
    scores = queries.to(dtype) @ maps.flatten(2).to(dtype)
    across = torch.arange(width, device=maps.device) - truth[..., :1]
    down = torch.arange(height, device=maps.device) - truth[..., 1:]
    close = down.square()[..., :, None] + across.square()[..., None, :] <= RADIUS_CELLS**2
    best = scores.masked_fill(close.flatten(2), -torch.inf).max(dim=2)
    return best.values, best.indices


def _time(work: Callable[[], object], runs: int) -> tuple[list[float], int]:
    """Milliseconds of each run by CUDA events, and the peak extra memory in bytes."""
    for _ in range(_WARM_UP):
        work()
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(max(runs, 10)):
        began = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        began.record()
        result = work()
        ended.record()
        ended.synchronize()
        times.append(began.elapsed_time(ended))
        del result
    return times, torch.cuda.max_memory_allocated() - held


def _matrix_rate(runs: int) -> list[float]:
    """TFLOP/s of a large square product in bfloat16."""
    side = 8192
    left, right = (torch.randn(side, side, device="cuda").bfloat16() for _ in range(2))
    times, _ = _time(lambda: left @ right, runs)
    return [2 * side**3 / (1e9 * time) for time in times]


def _bandwidth(runs: int) -> list[float]:
    """GB/s of a copy, counting reads and writes."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times, _ = _time(lambda: target.copy_(source), runs)
    return [2 * source.numel() / (1e6 * time) for time in times]
