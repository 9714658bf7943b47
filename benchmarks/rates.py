"""What this processor multiplies in a second: the floor that other benchmarks are held against."""

from __future__ import annotations

import time

import torch

_SIDE = 2048
_LONG_S = 0.5


def matrix_rate(dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of a large square product by torch's present number of threads, the best of some."""
    left, right = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
    torch.mm(left, right)
    best_s, began_s = float("inf"), time.perf_counter()
    while time.perf_counter() - began_s < _LONG_S:
        start_s = time.perf_counter()
        torch.mm(left, right)
        best_s = min(best_s, time.perf_counter() - start_s)
    return 2e-9 * _SIDE**3 / best_s
