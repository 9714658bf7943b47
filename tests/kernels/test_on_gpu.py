"""The kernels on a real GPU: equal to torch, from any thread, on stream 0 only, without leaks."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import KernelUnavailable
from engine.matching.nearest import nearest
from engine.mining.hard_negatives import MiningKind, Negatives, find_hard_negatives

pytestmark = pytest.mark.gpu
KINDS: tuple[MiningKind, ...] = ("hard", "semi-hard", "k-hard", "k-semi-hard")


@pytest.fixture(autouse=True)
def exact_products() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip("pycuda", reason="PyCUDA is not installed")
    torch.backends.cuda.matmul.allow_tf32 = False


def whole_numbers(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator(device="cuda").manual_seed(seed)
    return torch.randint(-2, 3, shape, generator=generator, device="cuda").float()


def case(
    batch: int, count: int, dim: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    truth = torch.rand(batch, count, 2, device="cuda") * torch.tensor([width, height]).cuda()
    return (
        whole_numbers(batch, dim, height, width, seed=1),
        whole_numbers(batch, count, dim, seed=2),
        (truth * 4).round() / 4,
        torch.full((batch, count), -3.0, device="cuda"),
    )


def mine(values: tuple[Tensor, Tensor, Tensor, Tensor], backend: Any, **settings: Any) -> Negatives:
    known: dict[str, Any] = {
        "radius_cells": 3.0, "kind": "hard", "k": 1, "margin": 0.2, "seed": 5,
    }  # fmt: skip
    maps, queries, truth, positives = values
    return find_hard_negatives(
        maps, queries, truth, positives=positives, backend=backend, **{**known, **settings}
    )


def assert_equal(values: tuple[Tensor, Tensor, Tensor, Tensor], **settings: Any) -> None:
    mine_, twin = (mine(values, backend, **settings) for backend in ("cuda", "torch"))
    assert torch.equal(mine_.cells, twin.cells)
    assert torch.equal(mine_.similarity, twin.similarity)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "size", [(1, 1, 32, 1, 1), (3, 70, 33, 13, 11), (2, 200, 512, 30, 40), (2, 0, 64, 9, 9)]
)
def test_the_kernel_finds_what_torch_finds(
    dtype: torch.dtype, kind: MiningKind, size: tuple[int, int, int, int, int]
):
    maps, queries, truth, positives = case(*size)
    values = (maps.to(dtype), queries.to(dtype), truth, positives)
    assert_equal(values, kind=kind, k=3 if kind.startswith("k-") else 1)
    assert_equal(values, kind=kind, k=1, interval=2, start=(1, 0))


@pytest.mark.parametrize("size", [(16, 3000, 128, 60, 80), (4, 4096, 256, 120, 160)])
def test_the_kernel_finds_what_torch_finds_at_full_size(size: tuple[int, int, int, int, int]):
    assert_equal(case(*size))


def test_nearest_neighbours_are_torchs():
    queries = whole_numbers(3, 500, 128, seed=3)
    members = [whole_numbers(rows, 128, seed=rows) for rows in (4800, 0, 1201)]
    ours, twin = (
        nearest(queries, members, budget_bytes=1 << 24, backend=backend)
        for backend in ("cuda", "torch")
    )
    assert torch.equal(ours.index, twin.index)
    assert torch.equal(ours.similarity, twin.similarity)


def test_two_threads_mine_at_once_after_torch_has_worked():
    values = case(2, 300, 64, 30, 40)
    (values[0] @ values[0].transpose(2, 3)).sum()  # something is under way
    twin = mine(values, "torch")
    found: list[Negatives] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(mine(values, "cuda") for _ in range(20))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(found) == 40
    assert all(torch.equal(one.cells, twin.cells) for one in found)


def test_on_a_stream_of_torchs_own_the_kernel_is_refused_and_torch_is_right():
    values = case(1, 50, 32, 9, 9)
    twin = mine(values, "torch")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        with pytest.raises(KernelUnavailable, match="stream"):
            mine(values, "cuda")
        found = mine(values, "auto")
    stream.synchronize()
    assert torch.equal(found.cells, twin.cells)


def test_two_hundred_launches_leave_no_memory_behind():
    values = case(1, 500, 128, 60, 80)
    mine(values, "cuda")
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    free = torch.cuda.mem_get_info()[0]
    for _ in range(200):
        mine(values, "cuda")
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == held
    assert free - torch.cuda.mem_get_info()[0] < 4 << 20
