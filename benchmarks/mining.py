"""Mining hard negatives: the kernel's two paths compared with torch implementations.

All of them get the same bfloat16 descriptors, except one that gives the kernel float32.  The torch
versions score in float32, because bfloat16 scores lose the order of the best candidates: ``torch,
float32`` converts the descriptors to float32 and multiplies with TF32 allowed.  ``torch, bfloat16``
multiplies and scores in bfloat16, for comparison only.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.figure import Figure, summarise
from engine.kernels.ops import Backend, KernelPath
from engine.mining.hard_negatives import find_hard_negatives

RADIUS_CELLS = 4.0
_BLOCK_BYTES = 256 << 20
_WARM_UP = 3
_SEVERAL = 5  # negatives per query


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


SIZES = (
    Size(1, 3000, 60, 80, 128),
    Size(16, 3000, 60, 80, 128),
    Size(8, 4096, 120, 160, 128),
    Size(4, 4096, 120, 160, 256),
)


def measure(runs: int) -> list[Figure]:
    """Time, share of the lower bounds, and peak extra memory at every size; nothing without GPU."""
    if not torch.cuda.is_available():
        print("mining is not measured: torch finds no CUDA GPU", file=sys.stderr)
        return []
    torch.backends.cuda.matmul.allow_tf32 = True
    rate, bandwidth = _matrix_rate(runs), _bandwidth(runs)
    figures = [
        summarise("dense bf16 products", rate, unit="TFLOP/s"),
        summarise("copy", bandwidth, unit="GB/s"),
    ]
    for size in SIZES:
        figures += _measure_size(
            size, runs, statistics.median(rate) * 1e12, statistics.median(bandwidth) * 1e9
        )
    return figures


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
) -> object:
    return find_hard_negatives(
        maps, queries, truth, radius_cells=RADIUS_CELLS, kind="hard" if k == 1 else "k-hard", k=k,
        margin=0.0, positives=None, seed=0, budget_bytes=_BLOCK_BYTES, backend=backend, path=path,
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
