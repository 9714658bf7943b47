"""The kernels on a real GPU: equal to torch, from any thread, on stream 0 only, without leaks."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import KernelUnavailable
from engine.kernels import ops, runtime
from engine.kernels.compile import kernel_source
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


@pytest.fixture(params=["fma", "mma"])
def path(request: pytest.FixtureRequest) -> Any:
    if request.param == "mma" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU's tensor cores are not used")
    return request.param


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


def real_case(
    batch: int, count: int, dim: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Smooth maps of unit vectors and queries near some of them: near ties are everywhere."""
    generator = torch.Generator(device="cuda").manual_seed(3)
    coarse = torch.randn(
        batch, dim, height // 5 + 2, width // 5 + 2, generator=generator, device="cuda"
    )
    maps = torch.nn.functional.interpolate(
        coarse, size=(height, width), mode="bilinear", align_corners=True
    )
    maps = torch.nn.functional.normalize(maps, dim=1)
    shape = (batch, 1, count)
    drawn = torch.randint(height * width, shape, generator=generator, device="cuda")
    queries = maps.flatten(2).gather(2, drawn.expand(-1, dim, -1)).transpose(1, 2)
    queries = (
        queries + 0.1 * torch.randn(queries.shape, generator=generator, device="cuda") / dim**0.5
    )
    _, _, truth, _ = case(batch, count, dim, height, width)
    positives = torch.full((batch, count), 0.7, device="cuda")
    return maps, torch.nn.functional.normalize(queries, dim=2), truth, positives


def mine(values: tuple[Tensor, Tensor, Tensor, Tensor], backend: Any, **settings: Any) -> Negatives:
    known: dict[str, Any] = {
        "radius_cells": 3.0, "kind": "hard", "k": 1, "margin": 0.2, "seed": 5,
    }  # fmt: skip
    maps, queries, truth, positives = values
    return find_hard_negatives(
        maps, queries, truth, positives=positives, backend=backend, **{**known, **settings}
    )


def assert_equal(values: tuple[Tensor, Tensor, Tensor, Tensor], path: Any, **settings: Any) -> None:
    mine_ = mine(values, "cuda", path=path, **settings)
    twin = mine(values, "torch", **settings)
    assert torch.equal(mine_.cells, twin.cells)
    assert torch.equal(mine_.similarity, twin.similarity)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "size", [(1, 1, 32, 1, 1), (3, 70, 33, 13, 11), (2, 200, 512, 30, 40), (2, 0, 64, 9, 9)]
)
def test_the_kernel_finds_what_torch_finds(
    dtype: torch.dtype, kind: MiningKind, size: tuple[int, int, int, int, int], path: Any
):
    maps, queries, truth, positives = case(*size)
    values = (maps.to(dtype), queries.to(dtype), truth, positives)
    assert_equal(values, path, kind=kind, k=3 if kind.startswith("k-") else 1)
    assert_equal(values, path, kind=kind, k=1, interval=2, start=(1, 0))


@pytest.mark.parametrize("size", [(16, 3000, 128, 60, 80), (4, 4096, 256, 120, 160)])
def test_the_kernel_finds_what_torch_finds_at_full_size(
    size: tuple[int, int, int, int, int], path: Any
):
    assert_equal(case(*size), path)
    assert_equal(case(*size), path, kind="k-hard", k=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_both_paths_find_the_same_at_full_size_bit_for_bit(dtype: torch.dtype, kind: MiningKind):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU's tensor cores are not used")
    maps, queries, truth, positives = real_case(4, 3000, 128, 60, 80)
    values = (maps.to(dtype), queries.to(dtype), truth, positives)
    k = 3 if kind.startswith("k-") else 1
    one, other = (mine(values, "cuda", kind=kind, k=k, path=path) for path in ("fma", "mma"))
    assert torch.equal(one.cells, other.cells)
    assert torch.equal(one.similarity, other.similarity)
    again = mine(values, "cuda", kind=kind, k=k, path="mma")
    assert torch.equal(other.cells, again.cells)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dim", [32, 77, 512])
def test_no_sum_on_this_gpu_is_farther_from_the_similarity_than_the_bound(
    dtype: torch.dtype, dim: int, path: Any
):
    """What is known of tensor cores was measured by others, on other GPUs."""
    generator = torch.Generator(device="cuda").manual_seed(dim)
    scales = 10 ** (3 * torch.randn(500, 1, generator=generator, device="cuda")).clamp(-2, 2)
    rows = torch.randn(500, dim, generator=generator, device="cuda")
    rows[::2] = rows[::2].abs()  # long sums without cancelling, and with it
    rows = (rows * scales).to(dtype)
    queries, candidates = rows[:128].contiguous(), rows[128:].contiguous()
    sums, exact, bounds = (torch.full((128, 372), torch.nan, device="cuda") for _ in range(3))
    engine = ops._ENGINES[path]
    # The headers are in another folder, where the cache would not see them change.
    headers = b"".join(p.read_bytes() for p in sorted(kernel_source("").parent.glob("*.cuh")))
    known = int.from_bytes(hashlib.sha256(headers).digest()[:4], "big")
    cores = int(path == "mma")
    defines = (f"ELEMENT={ops._ELEMENTS[dtype]}", f"TENSOR_CORES={cores}", f"HEADERS={known}")
    module = runtime.load(str(Path(__file__).parent / "sums"), 0, defines)
    for first in range(0, 128, engine.tile):
        part = slice(first, first + engine.tile)
        module.launch(
            "compare_sums", (1, 1, 1), 128, queries[part].contiguous(), candidates, sums[part],
            exact[part], bounds[part], engine.tile, 372, dim, 0, shared_bytes=engine.shared_bytes,
        )  # fmt: skip
    if path == "fma":
        assert torch.equal(sums, exact)
    assert ((sums - exact).abs() <= bounds).all()
    truth = queries.double() @ candidates.double().T
    magnitudes = queries.double().abs() @ candidates.double().abs().T
    assert ((exact - truth).abs() <= dim * 2.0**-24 * magnitudes).all()


def test_nearest_neighbours_are_torchs(path: Any):
    queries = whole_numbers(3, 500, 128, seed=3)
    members = [whole_numbers(rows, 128, seed=rows) for rows in (4800, 0, 1201)]
    twin = nearest(queries, members, budget_bytes=1 << 24, backend="torch")
    found = ops.search_nearest(queries, members, backend="cuda", path=path)
    assert found is not None
    assert torch.equal(found[0], twin.index)
    assert torch.equal(found[1], twin.similarity)
    ours = nearest(queries, members, budget_bytes=1 << 24, backend="cuda")
    assert torch.equal(ours.index, twin.index)
    assert torch.equal(ours.query_member, twin.query_member)


def test_two_threads_mine_at_once_after_torch_has_worked(path: Any):
    values = case(2, 300, 64, 30, 40)
    (values[0] @ values[0].transpose(2, 3)).sum()  # something is under way
    twin = mine(values, "torch")
    found: list[Negatives] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(mine(values, "cuda", path=path) for _ in range(20))
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


def test_two_hundred_launches_leave_no_memory_behind(path: Any):
    values = case(1, 500, 128, 60, 80)
    mine(values, "cuda", path=path)
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    free = torch.cuda.mem_get_info()[0]
    for _ in range(200):
        mine(values, "cuda", path=path)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == held
    assert free - torch.cuda.mem_get_info()[0] < 4 << 20
