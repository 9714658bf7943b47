"""The set-to-set nearest neighbour, emulated, against the torch version that defines it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import KernelUnavailable
from engine.kernels import ops
from engine.matching.nearest import nearest

ELEMENTS = {0: torch.float32, 1: torch.float16, 2: torch.bfloat16}
PATHS = ("fma", "mma")
Emulate = Callable[..., Any]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    return request.param


def whole_numbers(*shape: int, seed: int) -> Tensor:
    """Small ones: their sums are exact in any order, so that ties are ties in both versions."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


def assert_equal(launcher: Any, path: Any, queries: Tensor, candidates: Sequence[Tensor]) -> Tensor:
    index, similarity = ops.launch_nearest(launcher, path, queries, candidates)
    twin = nearest(
        queries.float(), [member.float() for member in candidates], budget_bytes=4000,
        backend="torch",
    )  # fmt: skip
    assert torch.equal(index, twin.index)
    assert torch.equal(similarity, twin.similarity)
    return index


@pytest.mark.parametrize("multiprocessors", [1, 5])
@pytest.mark.parametrize(
    ("levels", "count", "dim", "members"),
    [
        (1, 1, 32, (1,)),
        (3, 70, 33, (130, 0, 65)),
        (2, 64, 16, (64,)),
        (4, 5, 100, (9, 200, 3, 1)),
        (1, 129, 8, (63, 64)),
    ],
)
def test_the_kernel_finds_what_torch_finds_ties_included(
    multiprocessors: int, levels: int, count: int, dim: int, members: tuple[int, ...],
    path: str, emulate: Emulate,
):  # fmt: skip
    queries = whole_numbers(levels, count, dim, seed=1)
    candidates = [whole_numbers(rows, dim, seed=rows) for rows in members]
    index = assert_equal(
        emulate("nearest_levels", path, 0, multiprocessors), path, queries, candidates
    )
    assert (index >= 0).all()


@pytest.mark.parametrize("element", [1, 2])
def test_half_precision_is_read_as_it_is(element: int, path: str, emulate: Emulate):
    queries = whole_numbers(2, 9, 40, seed=2).to(ELEMENTS[element])
    candidates = [whole_numbers(33, 40, seed=3).to(ELEMENTS[element])]
    assert_equal(emulate("nearest_levels", path, element), path, queries, candidates)


@pytest.mark.parametrize("dim", [128, 512])
def test_real_descriptors_find_their_own_copies(dim: int, path: str, emulate: Emulate):
    generator = torch.Generator().manual_seed(dim)
    unit = torch.nn.functional.normalize(torch.randn(150, dim, generator=generator), dim=1)
    order = torch.randperm(150, generator=generator)
    members = [unit[order[:40]], unit[order[40:]]]
    index, similarity = ops.launch_nearest(
        emulate("nearest_levels", path, 0, 3), path, unit[None], members
    )
    assert torch.equal(order[index], torch.arange(150))
    torch.testing.assert_close(similarity, torch.ones(150), rtol=0, atol=1e-6)


def test_equal_candidates_give_the_first_of_the_first_member(path: str, emulate: Emulate):
    ones = torch.ones(1, 3, 8)
    index, _ = ops.launch_nearest(
        emulate("nearest_levels", path, 0, 9),
        path,
        ones,
        [torch.zeros(5, 8), torch.ones(300, 8)] * 2,
    )
    assert index.tolist() == [5, 5, 5]


@pytest.mark.parametrize(("count", "members"), [(0, (3,)), (4, ()), (4, (0, 0))])
def test_no_query_and_no_candidate_give_nothing(
    count: int, members: tuple[int, ...], path: str, emulate: Emulate
):
    candidates = [torch.ones(rows, 8) for rows in members]
    index = assert_equal(emulate("nearest_levels", path), path, torch.ones(1, count, 8), candidates)
    assert (index == -1).all()


def test_what_is_not_a_number_is_nobodys_neighbour(path: str, emulate: Emulate):
    candidates = torch.eye(8)
    queries = torch.eye(8)[None, :3].clone()
    candidates[1] = torch.nan
    queries[0, 2] = torch.nan
    index, similarity = ops.launch_nearest(
        emulate("nearest_levels", path), path, queries, [candidates]
    )
    assert index.tolist() == [0, 0, -1]  # the second has lost its twin: all others are as far
    assert similarity.tolist() == [1.0, 0.0, -torch.inf]


def test_similarities_below_zero_keep_their_order(path: str, emulate: Emulate):
    candidates = torch.tensor([[-3.0], [-1.0], [-2.0], [-1.0]])
    index, similarity = ops.launch_nearest(
        emulate("nearest_levels", path), path, torch.ones(1, 1, 1), [candidates]
    )
    assert (index.item(), similarity.item()) == (1, -1.0)


def test_on_the_cpu_the_kernel_can_be_demanded_in_vain_only():
    with pytest.raises(KernelUnavailable, match="CUDA GPU"):
        nearest(torch.ones(2, 4), [torch.ones(3, 4)], budget_bytes=1000, backend="cuda")


def test_both_paths_find_the_same_bit_for_bit(emulate: Emulate):
    """Smooth sequences of descriptors, so that many are near ties."""
    generator = torch.Generator().manual_seed(4)
    coarse = torch.randn(1, 96, 40, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=900, mode="linear")[0].T
    unit = torch.nn.functional.normalize(fine, dim=1)
    queries = torch.stack([unit[5:600:10], unit[9:604:10]])
    members = [unit[:333].contiguous(), unit[333:].contiguous()]
    for element, dtype in ELEMENTS.items():
        asked, offered = queries.to(dtype), [member.to(dtype) for member in members]
        found = [
            ops.launch_nearest(
                emulate("nearest_levels", path, element, multiprocessors, eager=eager), path,
                asked, offered,
            )
            for path, multiprocessors, eager in (
                ("fma", 1, False), ("mma", 1, True), ("mma", 9, False),
            )
        ]  # fmt: skip
        for other in found[1:]:
            assert torch.equal(found[0][0], other[0])
            assert torch.equal(found[0][1], other[1])


def test_near_ties_that_tf32_confuses_are_told_apart(emulate: Emulate):
    """Candidate j is the query, longer by the j-th of shuffled steps, and something across."""
    generator = torch.Generator().manual_seed(5)
    query = torch.nn.functional.normalize(torch.randn(64, generator=generator).double(), dim=0)
    order = torch.randperm(400, generator=generator)
    across = torch.randn(400, 64, generator=generator).double()
    across -= (across @ query)[:, None] * query
    gains = 1 + 2e-6 * order.double()
    candidates = gains[:, None] * query + 0.3 * torch.nn.functional.normalize(across, dim=1)
    cut, cut_query = (
        (values.float().view(torch.int32) & -8192).view(torch.float32)
        for values in (candidates, query)
    )
    assert int((cut @ cut_query).argmax()) != int(order.argmax())  # TF32 alone would be wrong
    index, _ = ops.launch_nearest(
        emulate("nearest_levels", "mma"), "mma", query.float()[None, None],
        [candidates[:150].float().contiguous(), candidates[150:].float().contiguous()],
    )  # fmt: skip
    assert index.item() == int(order.argmax())


def test_what_is_infinite_wins_where_it_is_no_nan(path: str, emulate: Emulate):
    candidates = whole_numbers(200, 16, seed=6)
    candidates[70, 3] = torch.inf
    candidates[90, 5] = torch.nan
    candidates[110] = 0.0
    candidates[110, :2] = 3e38
    queries = whole_numbers(1, 40, 16, seed=7)
    queries[0, 7, 2] = torch.inf
    every = (queries[0].double() @ candidates.double().T).float()
    every = torch.where(every.isnan(), -torch.inf, every)
    index, similarity = ops.launch_nearest(
        emulate("nearest_levels", path), path, queries, [candidates]
    )
    assert torch.equal(similarity, every.max(dim=1).values)
    assert torch.equal(index, every.argmax(dim=1))
    assert similarity.isinf().any()
    assert similarity.isfinite().any()
