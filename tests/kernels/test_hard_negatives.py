"""The mining kernel, emulated, against the torch version that defines it.

Most descriptors here are small whole numbers: their sums are exact in any order, so ties are real
ties and the two versions must agree in every bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.mining import hard_negatives
from engine.mining.hard_negatives import MiningKind, find_hard_negatives
from engine.seeding import hash_numbers, to_bits

KINDS: tuple[MiningKind, ...] = ("hard", "semi-hard", "k-hard", "k-semi-hard")
ELEMENTS = {0: torch.float32, 1: torch.float16, 2: torch.bfloat16}
Emulate = Callable[..., Any]


def whole_numbers(*shape: int, seed: int, largest: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, shape, generator=generator).float()


def places(batch: int, count: int, height: int, width: int, seed: int) -> Tensor:
    """Quarter cells, so that some cells lie at a radius exactly; also outside the map."""
    size = torch.tensor([width + 6.0, height + 6.0])
    drawn = torch.rand(batch, count, 2, generator=torch.Generator().manual_seed(seed)) * size - 3
    return (drawn * 4).round() / 4


def both(
    launcher: Any, maps: Tensor, queries: Tensor, truth: Tensor, *, kind: MiningKind = "hard",
    k: int = 1, radius: float = 2.0, interval: int = 1, start: tuple[int, int] = (0, 0),
    positives: Tensor | None = None, margin: float = 0.1, pairs: list[int] | None = None,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:  # fmt: skip
    """(cells, similarities) of the kernel and of torch."""
    semi = "semi" in kind
    limits = hard_negatives._least_similarity(positives.float(), margin) if semi else None
    numbers = list(range(len(maps))) if pairs is None else pairs
    mine = ops.launch_mining(
        launcher, maps, queries, truth, limits,
        to_bits([hash_numbers(7, number) for number in numbers]),
        radius_cells=radius, k=k, interval=interval, start=start,
    )  # fmt: skip
    twin = find_hard_negatives(
        maps, queries, truth, radius_cells=radius, kind=kind, k=k, margin=margin,
        positives=positives, seed=7, pairs=pairs, interval=interval, start=start, backend="torch",
    )  # fmt: skip
    return mine, (twin.cells, twin.similarity)


def assert_equal(results: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    (cells, values), (twin_cells, twin_values) = results
    assert torch.equal(cells, twin_cells)
    assert torch.equal(values, twin_values)


@pytest.mark.parametrize("multiprocessors", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batch", "count", "dim", "height", "width", "interval", "start"),
    [
        (1, 1, 32, 1, 1, 1, (0, 0)),
        (2, 65, 33, 9, 15, 1, (0, 0)),
        (1, 64, 48, 8, 16, 1, (0, 0)),
        (3, 7, 100, 13, 11, 3, (2, 1)),
        (1, 5, 16, 1, 130, 2, (1, 0)),
    ],
)
def test_the_kernel_finds_what_torch_finds_ties_included(
    multiprocessors: int, kind: MiningKind, batch: int, count: int, dim: int, height: int,
    width: int, interval: int, start: tuple[int, int], emulate: Emulate,
):  # fmt: skip
    launcher = emulate("hard_negatives", 0, multiprocessors)
    maps = whole_numbers(batch, dim, height, width, seed=1, largest=1)
    queries = whole_numbers(batch, count, dim, seed=2, largest=1)
    truth = places(batch, count, height, width, seed=3)
    k = 3 if kind.startswith("k-") else 1
    positives = torch.linspace(-9, 1, batch * count).view(batch, count)
    results = both(
        launcher, maps, queries, truth, kind=kind, k=k, interval=interval, start=start,
        positives=positives, pairs=[2**33 + n for n in range(batch)],
    )  # fmt: skip
    assert_equal(results)


@pytest.mark.parametrize("element", [1, 2])
@pytest.mark.parametrize("kind", ["hard", "k-semi-hard"])
def test_half_precision_is_read_as_it_is(element: int, kind: MiningKind, emulate: Emulate):
    values = {
        "maps": whole_numbers(2, 40, 7, 10, seed=4),
        "queries": whole_numbers(2, 9, 40, seed=5),
    }
    typed = {name: tensor.to(ELEMENTS[element]) for name, tensor in values.items()}
    truth = places(2, 9, 7, 10, seed=6)
    results = both(
        emulate("hard_negatives", element), typed["maps"], typed["queries"], truth, kind=kind,
        k=2 if kind.startswith("k-") else 1, positives=torch.zeros(2, 9), margin=3.0,
    )  # fmt: skip
    assert_equal(results)


@pytest.mark.parametrize("dim", [32, 128, 512])
def test_real_descriptors_give_a_cell_as_good_as_torchs(dim: int, emulate: Emulate):
    generator = torch.Generator().manual_seed(dim)
    maps = torch.nn.functional.normalize(torch.randn(1, dim, 12, 17, generator=generator), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(1, 30, dim, generator=generator), dim=2)
    truth = places(1, 30, 12, 17, seed=7)
    (cells, values), (_, twin_values) = both(
        emulate("hard_negatives", 0, 3), maps, queries, truth, kind="k-hard", k=2
    )
    torch.testing.assert_close(values, twin_values, rtol=0, atol=1e-6)
    for number, place in np.ndindex(30, 2):
        x, y = cells[0, number, place].tolist()
        exact = queries[0, number].double() @ maps[0, :, y, x].double()
        assert float(values[0, number, place]) == pytest.approx(float(exact), abs=1e-6)
        assert (torch.tensor([x, y]) - truth[0, number]).norm() > 2


@pytest.mark.parametrize("kind", KINDS)
def test_discs_that_hold_every_cell_leave_nothing(kind: MiningKind, emulate: Emulate):
    k = 2 if kind.startswith("k-") else 1
    results = both(
        emulate("hard_negatives"), whole_numbers(1, 8, 5, 6, seed=8),
        whole_numbers(1, 3, 8, seed=9), torch.full((1, 3, 2), 2.0), kind=kind, k=k, radius=9.0,
        positives=torch.full((1, 3), -99.0),
    )  # fmt: skip
    assert_equal(results)
    assert (results[0][0] == -1).all()


def test_more_are_asked_for_than_there_are(emulate: Emulate):
    results = both(
        emulate("hard_negatives"), whole_numbers(1, 8, 3, 3, seed=10),
        whole_numbers(1, 2, 8, seed=11), torch.full((1, 2, 2), -9.0), kind="k-hard", k=12,
        radius=0.0,
    )  # fmt: skip
    assert_equal(results)
    assert (results[0][0][0, 0, 8] >= 0).all()
    assert (results[0][0][0, 0, 9:] == -1).all()


def test_a_map_of_equal_cells_gives_the_lowest_row_then_column(emulate: Emulate):
    maps = torch.ones(1, 8, 20, 20)
    truth = torch.tensor([[[0.0, 0.0], [19.0, 19.0], [1.0, 0.0]]])
    results = both(emulate("hard_negatives", 0, 9), maps, torch.ones(1, 3, 8), truth, radius=2.0)
    assert_equal(results)
    assert results[0][0][0, :, 0].tolist() == [[3, 0], [0, 0], [4, 0]]


def test_minus_zero_and_zero_are_a_tie(emulate: Emulate):
    maps = torch.tensor([1.0, -1.0]).expand(1, 1, 1, 2) * 0.0
    results = both(
        emulate("hard_negatives"), maps.contiguous().flip(3), torch.ones(1, 1, 1),
        torch.full((1, 1, 2), 50.0),
    )  # fmt: skip
    assert results[0][0].flatten().tolist() == [0, 0]
    assert_equal(results)


@pytest.mark.parametrize("element", list(ELEMENTS))
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_never_found(element: int, bad: float, emulate: Emulate):
    maps = whole_numbers(2, 20, 6, 6, seed=12).to(ELEMENTS[element])
    queries = whole_numbers(2, 4, 20, seed=13).to(ELEMENTS[element])
    truth = places(2, 4, 6, 6, seed=14)
    launcher = emulate("hard_negatives", element)
    best = both(launcher, maps, queries, truth)[0][0][0, 0, 0].tolist()
    maps[0, 19, best[1], best[0]] = bad
    queries[0, 1, 0] = bad
    truth[1, 2, 1] = bad
    results = both(launcher, maps, queries, truth)
    assert_equal(results)
    assert results[0][0][0, 0, 0].tolist() != best
    assert (results[0][0][[0, 1], [1, 2]] == -1).all()


@pytest.mark.parametrize(
    ("batch", "count", "start"), [(0, 4, (0, 0)), (2, 0, (0, 0)), (2, 4, (50, 0)), (2, 4, (0, 50))]
)
def test_no_image_no_query_and_no_cell_give_nothing(
    batch: int, count: int, start: tuple[int, int], emulate: Emulate
):
    results = both(
        emulate("hard_negatives"), torch.ones(batch, 8, 5, 5), torch.ones(batch, count, 8),
        torch.zeros(batch, count, 2), start=start,
    )  # fmt: skip
    assert_equal(results)


def test_tensors_that_are_views_are_read_right(emulate: Emulate):
    maps = whole_numbers(2, 6, 9, 24, seed=15).permute(0, 3, 1, 2)
    queries = whole_numbers(2, 24, 10, seed=16).transpose(1, 2)
    truth = places(2, 20, 6, 9, seed=17)[:, ::2]
    assert not maps.is_contiguous()
    assert_equal(both(emulate("hard_negatives"), maps, queries, truth))
