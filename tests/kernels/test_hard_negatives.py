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

PATHS = ("fma", "mma")
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


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    return request.param


def both(
    launcher: Any, path: Any, maps: Tensor, queries: Tensor, truth: Tensor, *,
    kind: MiningKind = "hard", k: int = 1, radius: float = 2.0,
    interval: int = 1, start: tuple[int, int] = (0, 0),
    positives: Tensor | None = None, margin: float = 0.1, pairs: list[int] | None = None,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:  # fmt: skip
    """(cells, similarities) of the kernel and of torch."""
    semi = "semi" in kind
    limits = hard_negatives._least_similarity(positives.float(), margin) if semi else None
    numbers = list(range(len(maps))) if pairs is None else pairs
    mine = ops.launch_mining(
        launcher, path, maps, queries, truth, limits,
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
    width: int, interval: int, start: tuple[int, int], path: str, emulate: Emulate,
):  # fmt: skip
    launcher = emulate("hard_negatives", path, 0, multiprocessors)
    maps = whole_numbers(batch, dim, height, width, seed=1, largest=1)
    queries = whole_numbers(batch, count, dim, seed=2, largest=1)
    truth = places(batch, count, height, width, seed=3)
    k = 3 if kind.startswith("k-") else 1
    positives = torch.linspace(-9, 1, batch * count).view(batch, count)
    results = both(
        launcher, path, maps, queries, truth, kind=kind, k=k, interval=interval, start=start,
        positives=positives, pairs=[2**33 + n for n in range(batch)],
    )  # fmt: skip
    assert_equal(results)


@pytest.mark.parametrize("element", [1, 2])
@pytest.mark.parametrize("kind", ["hard", "k-semi-hard"])
def test_half_precision_is_read_as_it_is(
    element: int, kind: MiningKind, path: str, emulate: Emulate
):
    values = {
        "maps": whole_numbers(2, 40, 7, 10, seed=4),
        "queries": whole_numbers(2, 9, 40, seed=5),
    }
    typed = {name: tensor.to(ELEMENTS[element]) for name, tensor in values.items()}
    truth = places(2, 9, 7, 10, seed=6)
    results = both(
        emulate("hard_negatives", path, element), path, typed["maps"], typed["queries"], truth,
        kind=kind, k=2 if kind.startswith("k-") else 1, positives=torch.zeros(2, 9), margin=3.0,
    )  # fmt: skip
    assert_equal(results)


@pytest.mark.parametrize("dim", [32, 128, 512])
def test_real_descriptors_give_a_cell_as_good_as_torchs(dim: int, path: str, emulate: Emulate):
    generator = torch.Generator().manual_seed(dim)
    maps = torch.nn.functional.normalize(torch.randn(1, dim, 12, 17, generator=generator), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(1, 30, dim, generator=generator), dim=2)
    truth = places(1, 30, 12, 17, seed=7)
    (cells, values), (_, twin_values) = both(
        emulate("hard_negatives", path, 0, 3), path, maps, queries, truth, kind="k-hard", k=2
    )
    torch.testing.assert_close(values, twin_values, rtol=0, atol=1e-6)
    for number, place in np.ndindex(30, 2):
        x, y = cells[0, number, place].tolist()
        exact = queries[0, number].double() @ maps[0, :, y, x].double()
        assert float(values[0, number, place]) == pytest.approx(float(exact), abs=1e-6)
        assert (torch.tensor([x, y]) - truth[0, number]).norm() > 2


@pytest.mark.parametrize("kind", KINDS)
def test_discs_that_hold_every_cell_leave_nothing(kind: MiningKind, path: str, emulate: Emulate):
    k = 2 if kind.startswith("k-") else 1
    results = both(
        emulate("hard_negatives", path), path, whole_numbers(1, 8, 5, 6, seed=8),
        whole_numbers(1, 3, 8, seed=9), torch.full((1, 3, 2), 2.0), kind=kind, k=k, radius=9.0,
        positives=torch.full((1, 3), -99.0),
    )  # fmt: skip
    assert_equal(results)
    assert (results[0][0] == -1).all()


def test_more_are_asked_for_than_there_are(path: str, emulate: Emulate):
    results = both(
        emulate("hard_negatives", path), path, whole_numbers(1, 8, 3, 3, seed=10),
        whole_numbers(1, 2, 8, seed=11), torch.full((1, 2, 2), -9.0), kind="k-hard", k=12,
        radius=0.0,
    )  # fmt: skip
    assert_equal(results)
    assert (results[0][0][0, 0, 8] >= 0).all()
    assert (results[0][0][0, 0, 9:] == -1).all()


def test_a_map_of_equal_cells_gives_the_lowest_row_then_column(path: str, emulate: Emulate):
    maps = torch.ones(1, 8, 20, 20)
    truth = torch.tensor([[[0.0, 0.0], [19.0, 19.0], [1.0, 0.0]]])
    results = both(
        emulate("hard_negatives", path, 0, 9), path, maps, torch.ones(1, 3, 8), truth, radius=2.0
    )
    assert_equal(results)
    assert results[0][0][0, :, 0].tolist() == [[3, 0], [0, 0], [4, 0]]


def test_minus_zero_and_zero_are_a_tie(path: str, emulate: Emulate):
    maps = torch.tensor([1.0, -1.0]).expand(1, 1, 1, 2) * 0.0
    results = both(
        emulate("hard_negatives", path), path, maps.contiguous().flip(3), torch.ones(1, 1, 1),
        torch.full((1, 1, 2), 50.0),
    )  # fmt: skip
    assert results[0][0].flatten().tolist() == [0, 0]
    assert_equal(results)


@pytest.mark.parametrize("element", list(ELEMENTS))
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_never_found(element: int, bad: float, path: str, emulate: Emulate):
    maps = whole_numbers(2, 20, 6, 6, seed=12).to(ELEMENTS[element])
    queries = whole_numbers(2, 4, 20, seed=13).to(ELEMENTS[element])
    truth = places(2, 4, 6, 6, seed=14)
    launcher = emulate("hard_negatives", path, element)
    best = both(launcher, path, maps, queries, truth)[0][0][0, 0, 0].tolist()
    maps[0, 19, best[1], best[0]] = bad
    queries[0, 1, 0] = bad
    truth[1, 2, 1] = bad
    results = both(launcher, path, maps, queries, truth)
    assert_equal(results)
    assert results[0][0][0, 0, 0].tolist() != best
    assert (results[0][0][[0, 1], [1, 2]] == -1).all()


@pytest.mark.parametrize(
    ("batch", "count", "start"), [(0, 4, (0, 0)), (2, 0, (0, 0)), (2, 4, (50, 0)), (2, 4, (0, 50))]
)
def test_no_image_no_query_and_no_cell_give_nothing(
    batch: int, count: int, start: tuple[int, int], path: str, emulate: Emulate
):
    results = both(
        emulate("hard_negatives", path), path, torch.ones(batch, 8, 5, 5),
        torch.ones(batch, count, 8), torch.zeros(batch, count, 2), start=start,
    )  # fmt: skip
    assert_equal(results)


def test_tensors_that_are_views_are_read_right(path: str, emulate: Emulate):
    maps = whole_numbers(2, 6, 9, 24, seed=15).permute(0, 3, 1, 2)
    queries = whole_numbers(2, 24, 10, seed=16).transpose(1, 2)
    truth = places(2, 20, 6, 9, seed=17)[:, ::2]
    assert not maps.is_contiguous()
    assert_equal(both(emulate("hard_negatives", path), path, maps, queries, truth))


def smooth_map(batch: int, dim: int, height: int, width: int, seed: int) -> Tensor:
    """Unit vectors that change slowly, so that the best cells lie together."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, dim, height // 5 + 2, width // 5 + 2, generator=generator)
    fine = torch.nn.functional.interpolate(
        coarse, size=(height, width), mode="bilinear", align_corners=True
    )
    return torch.nn.functional.normalize(fine, dim=1)


def queries_from(maps: Tensor, count: int, seed: int) -> Tensor:
    """Descriptors of drawn cells, with noise."""
    batch, dim = maps.shape[:2]
    generator = torch.Generator().manual_seed(seed)
    flat = maps.flatten(2)
    drawn = torch.randint(flat.shape[2], (batch, 1, count), generator=generator)
    found = flat.gather(2, drawn.expand(-1, dim, -1)).transpose(1, 2)
    noise = 0.1 * torch.randn(found.shape, generator=generator) / dim**0.5
    return torch.nn.functional.normalize(found + noise, dim=2)


def opened(launcher: Any) -> list[int]:
    """How many queries were searched for in each of the last rounds."""
    return [int(arguments[6].sum()) for name, arguments in launcher.launched if name == "settle"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("element", list(ELEMENTS))
def test_both_paths_find_the_same_on_smooth_maps_bit_for_bit(
    kind: MiningKind, element: int, emulate: Emulate
):
    """Eager and late copies, queries kept in shared memory and not, and splits differ, too."""
    maps = smooth_map(1, 48, 24, 40, seed=18).to(ELEMENTS[element])
    queries = queries_from(maps.float(), 30, seed=19).to(ELEMENTS[element])
    truth = places(1, 30, 24, 40, seed=20)
    settings: dict[str, Any] = {
        "kind": kind, "k": 3 if kind.startswith("k-") else 1, "radius": 3.0,
        "positives": torch.full((1, 30), 0.7),
    }  # fmt: skip
    results = []
    for path, multiprocessors, eager, kib in (
        ("fma", 1, False, 0), ("mma", 1, True, 228), ("mma", 5, False, 0),
    ):  # fmt: skip
        launcher = emulate(
            "hard_negatives", path, element, multiprocessors, eager=eager, shared_kib=kib
        )
        results.append(both(launcher, path, maps, queries, truth, **settings))
        if settings["k"] > 1:
            assert opened(launcher) == [0, 0, 0]  # the lists held all that was needed
    (cells, values), (_, twin_values) = results[0]
    for (other_cells, other_values), _ in results[1:]:
        assert torch.equal(cells, other_cells)
        assert torch.equal(values, other_values)
    if "semi" not in kind:
        torch.testing.assert_close(values, twin_values, rtol=0, atol=1e-6)
    assert (cells >= 0).any()


@pytest.mark.parametrize("kind", ["hard", "k-hard"])
def test_near_ties_that_tf32_confuses_are_told_apart(kind: MiningKind, emulate: Emulate):
    """All cells are within 1e-4 of each other, ten times below what TF32 can see.

    Cell j is the query plus (j-th of shuffled steps of 1e-7) along the query, so that the order is
    known.  The bits that TF32 drops differ from cell to cell, and its order is another one.
    """
    dim, height, width = 64, 20, 25
    generator = torch.Generator().manual_seed(21)
    query = torch.nn.functional.normalize(torch.randn(dim, generator=generator).double(), dim=0)
    order = torch.randperm(height * width, generator=generator)
    across = torch.randn(height * width, dim, generator=generator).double()
    across -= (across @ query)[:, None] * query
    gains = 1 + 2e-6 * order.double()
    maps = (gains[:, None] * query + 0.3 * torch.nn.functional.normalize(across, dim=1)).float()
    cut = (maps.view(torch.int32) & -8192).view(torch.float32)
    cut_query = (query.float().view(torch.int32) & -8192).view(torch.float32)
    best = int(order.argmax())
    assert int((cut @ cut_query).argmax()) != best  # TF32 alone would be wrong
    launcher = emulate("hard_negatives", "mma")
    (cells, _), _ = both(
        launcher, "mma", maps.T.reshape(1, dim, height, width).contiguous(),
        query.float()[None, None], torch.full((1, 1, 2), -99.0), kind=kind,
        k=4 if kind == "k-hard" else 1, radius=0.0,
    )  # fmt: skip
    wanted = order.argsort(descending=True)[: cells.shape[2]]
    assert (cells[0, 0, :, 1] * width + cells[0, 0, :, 0]).tolist() == wanted.tolist()


@pytest.mark.parametrize("multiprocessors", [1, 6])
def test_two_near_ties_that_tf32_takes_for_each_other_are_told_apart_wherever_they_lie(
    multiprocessors: int, emulate: Emulate
):
    """In one thread's part of a tile, in two, in two tiles, in two shares; the better one first or
    second.  All other cells are far behind, so that the second best is known by these alone."""
    dim, apart = 64, (1, 2, 8, 16, 64, 128, 300)
    generator = torch.Generator().manual_seed(37)

    def cut(values: Tensor) -> Tensor:
        return (values.float().view(torch.int32) & -8192).view(torch.float32)

    unit = torch.nn.functional.normalize
    queries = unit(torch.randn(2 * len(apart), dim, generator=generator).double(), dim=1)
    cells = 0.02 * torch.randn(20 * 40, dim, generator=generator).double()
    wanted = []
    for number, query in enumerate(queries):
        while True:
            across = torch.randn(2, dim, generator=generator).double()
            across -= (across @ query)[:, None] * query
            pair = torch.tensor([[1 + 1e-5], [1.0]]) * query + 0.3 * unit(across, dim=1)
            better, worse = (cut(pair) @ cut(query)).tolist()
            if worse > better:
                break
        distance = apart[number // 2]
        places_of_pair = [29 * number + 3, 29 * number + 3 + distance]
        if number % 2:
            places_of_pair.reverse()
        cells[places_of_pair] = pair
        wanted.append(places_of_pair[0])
    (found, _), _ = both(
        emulate("hard_negatives", "mma", 0, multiprocessors), "mma",
        cells.float().T.reshape(1, dim, 20, 40).contiguous(), queries.float()[None],
        torch.full((1, len(queries), 2), -99.0), radius=1.0,
    )  # fmt: skip
    assert (found[0, :, 0, 1] * 40 + found[0, :, 0, 0]).tolist() == wanted


@pytest.mark.parametrize("kind", ["k-hard", "k-semi-hard"])
def test_bars_from_some_of_the_tiles_let_everything_through_that_is_picked(
    kind: MiningKind, path: str, emulate: Emulate
):
    """So many tiles that not all are searched for bars; many ties, and picks next to each other."""
    launcher = emulate("hard_negatives", path, 2)
    results = both(
        launcher, path, whole_numbers(1, 32, 36, 60, seed=34).bfloat16(),
        whole_numbers(1, 9, 32, seed=35).bfloat16(), places(1, 9, 36, 60, seed=36), kind=kind,
        k=2, radius=1.0, positives=torch.full((1, 9), -9.0),
    )  # fmt: skip
    assert_equal(results)
    strides = [arguments[-3] for name, arguments in launcher.launched if name == "find"]
    assert strides == [2 if path == "mma" else 4, 1, 1, 1]
    assert opened(launcher) == [0, 0]


@pytest.mark.parametrize("kind", ["k-hard", "k-semi-hard"])
def test_queries_with_more_cells_worth_a_look_than_a_list_holds_are_searched_again(
    kind: MiningKind, path: str, emulate: Emulate
):
    """A map of equal cells, where all are as good; in the other image nothing is too much."""
    maps = torch.ones(2, 16, 18, 30)
    maps[1] = whole_numbers(16, 18, 30, seed=22, largest=9)
    queries = torch.ones(2, 3, 16)
    queries[1] = whole_numbers(3, 16, seed=23, largest=9)
    launcher = emulate("hard_negatives", path)
    results = both(
        launcher, path, maps, queries, places(2, 3, 18, 30, seed=24), kind=kind, k=4,
        positives=torch.full((2, 3), -1e6), margin=5.0,
    )  # fmt: skip
    assert_equal(results)
    assert (opened(launcher)[0] == 3) is (kind == "k-hard")  # hashes are never equal
    assert (results[0][0] >= 0).all()


def test_huge_descriptors_whose_errors_know_no_bound_are_compared_one_by_one(
    path: str, emulate: Emulate
):
    """The norms' products overflow, and so do the sums of all queries but two."""
    maps = whole_numbers(1, 8, 12, 20, seed=25).abs() * 1e19
    queries = whole_numbers(1, 5, 8, seed=26).abs()
    queries[0, 2:] *= 1e20
    results = both(
        emulate("hard_negatives", path), path, maps, queries, places(1, 5, 12, 20, seed=27),
        kind="k-hard", k=2,
    )  # fmt: skip
    assert torch.isfinite(results[0][1]).all(dim=2).tolist() == [[True] * 2 + [False] * 3]
    assert_equal(results)


def test_descriptors_too_small_to_be_squared_are_found_as_well(path: str, emulate: Emulate):
    maps = whole_numbers(1, 8, 6, 7, seed=28) * 2.0**-100
    queries = whole_numbers(1, 4, 8, seed=29)
    assert_equal(
        both(emulate("hard_negatives", path), path, maps, queries, places(1, 4, 6, 7, seed=30))
    )


@pytest.mark.parametrize("element", list(ELEMENTS))
@pytest.mark.parametrize(("height", "width"), [(16, 32), (13, 7)])
def test_copies_by_pieces_and_one_by_one_read_the_same(
    element: int, height: int, width: int, emulate: Emulate
):
    """Rows of the map that start at multiples of 16 bytes, and not, channels likewise."""
    for dim in (64, 61):
        maps = whole_numbers(2, dim, height, width, seed=31).to(ELEMENTS[element])
        queries = whole_numbers(2, 6, dim, seed=32).to(ELEMENTS[element])
        assert_equal(
            both(
                emulate("hard_negatives", "mma", element), "mma", maps, queries,
                places(2, 6, height, width, seed=33),
            )
        )  # fmt: skip
