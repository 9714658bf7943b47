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
Emulate = Callable[..., Any]


def whole_numbers(*shape: int, seed: int) -> Tensor:
    """Small ones: their sums are exact in any order, so that ties are ties in both versions."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


def assert_equal(launcher: Any, queries: Tensor, candidates: Sequence[Tensor]) -> Tensor:
    index, similarity = ops.launch_nearest(launcher, queries, candidates)
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
    emulate: Emulate,
):  # fmt: skip
    queries = whole_numbers(levels, count, dim, seed=1)
    candidates = [whole_numbers(rows, dim, seed=rows) for rows in members]
    index = assert_equal(emulate("nearest_levels", 0, multiprocessors), queries, candidates)
    assert (index >= 0).all()


@pytest.mark.parametrize("element", [1, 2])
def test_half_precision_is_read_as_it_is(element: int, emulate: Emulate):
    queries = whole_numbers(2, 9, 40, seed=2).to(ELEMENTS[element])
    candidates = [whole_numbers(33, 40, seed=3).to(ELEMENTS[element])]
    assert_equal(emulate("nearest_levels", element), queries, candidates)


@pytest.mark.parametrize("dim", [128, 512])
def test_real_descriptors_find_their_own_copies(dim: int, emulate: Emulate):
    generator = torch.Generator().manual_seed(dim)
    unit = torch.nn.functional.normalize(torch.randn(150, dim, generator=generator), dim=1)
    order = torch.randperm(150, generator=generator)
    members = [unit[order[:40]], unit[order[40:]]]
    index, similarity = ops.launch_nearest(emulate("nearest_levels", 0, 3), unit[None], members)
    assert torch.equal(order[index], torch.arange(150))
    torch.testing.assert_close(similarity, torch.ones(150), rtol=0, atol=1e-6)


def test_equal_candidates_give_the_first_of_the_first_member(emulate: Emulate):
    ones = torch.ones(1, 3, 8)
    index, _ = ops.launch_nearest(
        emulate("nearest_levels", 0, 9), ones, [torch.zeros(5, 8), torch.ones(300, 8)] * 2
    )
    assert index.tolist() == [5, 5, 5]


@pytest.mark.parametrize(("count", "members"), [(0, (3,)), (4, ()), (4, (0, 0))])
def test_no_query_and_no_candidate_give_nothing(
    count: int, members: tuple[int, ...], emulate: Emulate
):
    candidates = [torch.ones(rows, 8) for rows in members]
    index = assert_equal(emulate("nearest_levels"), torch.ones(1, count, 8), candidates)
    assert (index == -1).all()


def test_what_is_not_a_number_is_nobodys_neighbour(emulate: Emulate):
    candidates = torch.eye(8)
    queries = torch.eye(8)[None, :3].clone()
    candidates[1] = torch.nan
    queries[0, 2] = torch.nan
    index, similarity = ops.launch_nearest(emulate("nearest_levels"), queries, [candidates])
    assert index.tolist() == [0, 0, -1]  # the second has lost its twin: all others are as far
    assert similarity.tolist() == [1.0, 0.0, -torch.inf]


def test_similarities_below_zero_keep_their_order(emulate: Emulate):
    candidates = torch.tensor([[-3.0], [-1.0], [-2.0], [-1.0]])
    index, similarity = ops.launch_nearest(
        emulate("nearest_levels"), torch.ones(1, 1, 1), [candidates]
    )
    assert (index.item(), similarity.item()) == (1, -1.0)


def test_on_the_cpu_the_kernel_can_be_demanded_in_vain_only():
    with pytest.raises(KernelUnavailable, match="CUDA GPU"):
        nearest(torch.ones(2, 4), [torch.ones(3, 4)], budget_bytes=1000, backend="cuda")
