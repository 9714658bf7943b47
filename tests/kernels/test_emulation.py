"""The emulated instructions against plain loops, and tiles against the bound of their error.

The layouts of fragments are written down here as the PTX manual has them, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

ELEMENTS = {0: torch.float32, 1: torch.float16, 2: torch.bfloat16}
Emulate = Callable[..., Any]


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cut_to_tf32(values: Tensor) -> Tensor:
    return (values.view(torch.int32) & -8192).view(torch.float32)


def packed(values: Tensor) -> NDArray[np.uint32]:
    """The bits of ``(32, registers · elements)`` values, as 32 lanes hold them in registers."""
    kept = values.contiguous()
    if kept.element_size() == 4:
        return kept.view(torch.int32).numpy().view(np.uint32)
    return kept.view(torch.int16).numpy().view(np.uint32)


@pytest.mark.parametrize(
    ("name", "dtype", "depth"),
    [
        ("multiply_bf16", torch.bfloat16, 16),
        ("multiply_fp16", torch.float16, 16),
        ("multiply_tf32", torch.float32, 8),
    ],
)
def test_a_warp_multiplies_matrices(name: str, dtype: torch.dtype, depth: int, emulate: Emulate):
    left, right = drawn(16, depth, seed=1).to(dtype), drawn(depth, 8, seed=2).to(dtype)
    start = drawn(16, 8, seed=3)
    lane = torch.arange(32)
    group, inner = lane // 4, lane % 4
    if depth == 16:
        a = [left[group + 8 * (i // 2 % 2), inner * 2 + i % 2 + 8 * (i // 4)] for i in range(8)]
        b = [right[inner * 2 + i % 2 + 8 * (i // 2), group] for i in range(4)]
    else:
        a = [left[group + 8 * (i % 2), inner + 4 * (i // 2)] for i in range(4)]
        b = [right[inner + 4 * i, group] for i in range(2)]
    own = [(group + 8 * (i // 2), inner * 2 + i % 2) for i in range(4)]
    sums = torch.stack([start[place] for place in own], dim=1).contiguous()
    registers = [
        torch.from_numpy(packed(torch.stack(part, dim=1)).view(np.int32)) for part in (a, b)
    ]
    emulate("instructions", "mma").launch(name, (1, 1, 1), 32, *registers, sums)
    if depth == 8:
        left, right = cut_to_tf32(left), cut_to_tf32(right)
    truth = left.double() @ right.double() + start.double()
    wanted = torch.stack([truth[place] for place in own], dim=1)
    torch.testing.assert_close(sums.double(), wanted, rtol=0, atol=2e-6)


def test_an_addend_far_below_the_largest_is_lost_as_it_may_be_on_a_gpu(emulate: Emulate):
    """Beside 2^24 four ones are below the 24th bit, each alone: nothing of them is left."""
    ones = torch.full((32, 4), 1.0)
    right = torch.tensor([1.0, 0.0]).repeat(32, 1)
    sums = torch.full((32, 4), 2.0**24)
    emulate("instructions", "mma").launch(
        "multiply_tf32", (1, 1, 1), 32, ones.view(torch.int32), right.view(torch.int32), sums
    )
    assert (sums == 2.0**24).all()


def test_matrices_are_loaded_as_they_lie_and_turned(emulate: Emulate):
    memory = torch.arange(32 * 8, dtype=torch.int16).view(32, 8)
    rows = torch.randperm(32, generator=torch.Generator().manual_seed(4)).int()
    plain, turned = (torch.zeros(32, 4, dtype=torch.int32) for _ in range(2))
    emulate("instructions", "mma").launch(
        "load_matrices", (1, 1, 1), 32, memory, rows, plain, turned, shared_bytes=512
    )
    matrices = memory[rows.long()].view(4, 8, 8)
    for lane, matrix in np.ndindex(32, 4):
        group, inner = lane // 4, lane % 4
        row = matrices[matrix, group, 2 * inner : 2 * inner + 2].tolist()
        column = matrices[matrix, 2 * inner : 2 * inner + 2, group].tolist()
        for found, two in ((plain, row), (turned, column)):
            assert int(found[lane, matrix]) == two[0] + (two[1] << 16)


@pytest.mark.parametrize("eager", [False, True])
def test_copies_come_when_they_are_waited_for_or_before(eager: bool, emulate: Emulate):
    memory = torch.arange(12.0)
    seen = torch.zeros(4, 4)
    emulate("instructions", "mma", eager=eager).launch(
        "copy_in_groups", (1, 1, 1), 1, memory, seen, shared_bytes=48
    )
    assert seen[0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert seen[1].tolist() == [0.0] * 4
    assert seen[2].tolist() == ([8.0, 9.0, 10.0, 11.0] if eager else [-1.0] * 4)
    assert seen[3].tolist() == [8.0, 9.0, 10.0, 11.0]


@pytest.mark.parametrize("element", list(ELEMENTS))
@pytest.mark.parametrize(
    ("count", "total", "dim", "keeps"),
    [(128, 130, 32, True), (5, 3, 512, False), (40, 129, 100, True), (9, 7, 77, False)],
)
def test_no_sum_is_farther_from_the_similarity_than_the_bound(
    element: int, count: int, total: int, dim: int, keeps: bool, emulate: Emulate
):
    """Of all scales, and cut by the tensor cores as badly as they may."""
    scales = 10 ** (3 * drawn(count + total, 1, seed=dim)).clamp(-2, 2)
    rows = (drawn(count + total, dim, seed=dim + 1).abs() * scales).to(ELEMENTS[element])
    rows[::2] = rows[::2].sign() * rows[::2] * drawn(dim, seed=5).sign().to(rows.dtype)
    queries, candidates = rows[:count].contiguous(), rows[count:].contiguous()
    sums, exact, bounds = (torch.full((count, total), torch.nan) for _ in range(3))
    kept = (-(-dim * queries.element_size() // 64) + 3) * 8192
    emulate("sums", "mma", element).launch(
        "compare_sums", (1, 1, 1), 128, queries, candidates, sums, exact, bounds, count, total,
        dim, int(keeps), shared_bytes=kept if keeps else 6 * 8192,
    )  # fmt: skip
    truth = queries.double() @ candidates.double().T
    magnitudes = queries.double().abs() @ candidates.double().abs().T
    assert ((exact - truth).abs() <= dim * 2.0**-24 * magnitudes).all()
    assert ((sums - exact).abs() <= bounds).all()
    assert (sums != exact).any()  # otherwise nothing has been put to the test
    # The bound is no more than a few times what it must be: loose, it would cost searches.
    norms = queries.double().norm(dim=1)[:, None] * candidates.double().norm(dim=1)
    assert (bounds <= norms * (2.0**-8.5 if element == 0 else dim * 2.0**-20)).all()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("element", list(ELEMENTS))
def test_a_tile_is_right_whenever_its_copies_come(
    element: int, eager: bool, keeps: bool, emulate: Emulate
):
    """Whole numbers, so that sums are exact; several tiles, and more slices than stages."""
    generator = torch.Generator().manual_seed(6)
    values = torch.randint(-2, 3, (120 + 300, 144), generator=generator).to(ELEMENTS[element])
    queries, candidates = values[:120].contiguous(), values[120:].contiguous()
    sums, exact, bounds = (torch.zeros(120, 300) for _ in range(3))
    kept = (-(-144 * values.element_size() // 64) + 3) * 8192
    emulate("sums", "mma", element, eager=eager).launch(
        "compare_sums", (1, 1, 1), 128, queries, candidates, sums, exact, bounds, 120, 300, 144,
        int(keeps), shared_bytes=kept if keeps else 6 * 8192,
    )  # fmt: skip
    assert torch.equal(sums, queries.float() @ candidates.float().T)
