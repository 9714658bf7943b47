"""Mining by shortlists of bfloat16 products, held against products with all cells in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from engine.descriptors.bfloat16 import Rounded
from engine.mining import hard_negatives, shortlist
from engine.mining.candidates import Candidates
from engine.mining.hard_negatives import Negatives, find_hard_negatives

DIM = 48
SIMILARITY = 1e-6  # what the similarities of unit vectors may differ by


@pytest.fixture(autouse=True)
def _small_maps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "_LEAST_PAIRS", 1)
    monkeypatch.setattr(shortlist, "in_hardware", lambda: True)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[shortlist.Shortlisted]:
    """What the shortlists found."""
    results = []
    most_similar = hard_negatives.most_similar

    def watched(*args: object, **settings: object) -> shortlist.Shortlisted:
        results.append(most_similar(*args, **settings))
        return results[-1]

    monkeypatch.setattr(hard_negatives, "most_similar", watched)
    return results


def unit(*shape: int, dim: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=dim)


def places(batch: int, count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Inside the map and up to three cells outside."""
    drawn = torch.rand(batch, count, 2, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.tensor([width + 5.0, height + 5.0]) - 3


def read(maps: Tensor, truth: Tensor, noise: float, seed: int = 0) -> Tensor:
    """Queries that resemble their true cells."""
    height, width = maps.shape[2:]
    column = truth[..., 0].round().long().clamp(0, width - 1)
    row = truth[..., 1].round().long().clamp(0, height - 1)
    images = torch.arange(len(maps))[:, None]
    queries = maps.permute(0, 2, 3, 1)[images, row, column]
    drawn = torch.randn(queries.shape, generator=torch.Generator().manual_seed(seed))
    return normalize(queries + noise * drawn, dim=2)


def mine(maps: Tensor, queries: Tensor, truth: Tensor, **settings: object) -> Negatives:
    known: dict[str, object] = {
        "radius_cells": 3.0, "kind": "hard", "k": 1, "margin": 0.1, "positives": None, "seed": 7,
    }  # fmt: skip
    return find_hard_negatives(maps, queries, truth, **{**known, **settings})


def assert_same(
    maps: Tensor,
    queries: Tensor,
    truth: Tensor,
    *,
    tolerance: float = SIMILARITY,
    **settings: object,
) -> Negatives:
    """A shortlist finds the cells that comparing all finds, and their similarities."""
    found = mine(maps, queries, truth, **settings)
    plain = mine(maps, queries, truth, **settings, backend="torch")
    assert torch.equal(found.cells, plain.cells)
    torch.testing.assert_close(found.similarity, plain.similarity, rtol=0, atol=tolerance)
    return found


@pytest.mark.parametrize("radius", [0.0, 0.7, 3.0, 8.5, 200.0, 1e9])
def test_random_descriptors(radius: float) -> None:
    maps, truth = unit(2, DIM, 23, 31, dim=1), places(2, 300, 23, 31)
    found = assert_same(maps, read(maps, truth, 0.05), truth, radius_cells=radius)
    assert bool(found.found.all()) == (radius < 100)


def test_few_queries_are_left(searched: list[shortlist.Shortlisted]) -> None:
    maps, truth = unit(2, DIM, 40, 50, dim=1), places(2, 600, 40, 50)
    assert_same(maps, read(maps, truth, 0.05), truth)
    assert searched[0].settled.float().mean() > 0.98


@pytest.mark.parametrize("dim", [32, 33, 200])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_dimension_and_layout(dim: int, layout: torch.memory_format) -> None:
    maps, truth = unit(1, dim, 20, 30, dim=1), places(1, 200, 20, 30)
    queries = read(maps, truth, 0.05)
    assert_same(maps.contiguous(memory_format=layout), queries, truth)


@pytest.mark.parametrize("number", [torch.bfloat16, torch.float64])
def test_other_numbers_than_float32(number: torch.dtype) -> None:
    maps, truth = unit(1, DIM, 20, 30, dim=1), places(1, 200, 20, 30)
    queries = read(maps, truth, 0.05)
    assert_same(maps.to(number), queries.to(number), truth.to(number))


@pytest.mark.parametrize(
    ("interval", "start"), [(1, (4, 2)), (2, (1, 0)), (3, (2, 1)), (40, (0, 0))]
)
@pytest.mark.parametrize("radius", [0.0, 2.5, 7.0])
def test_only_some_cells_are_candidates(
    interval: int, start: tuple[int, int], radius: float
) -> None:
    maps, truth = unit(2, DIM, 37, 41, dim=1), places(2, 150, 37, 41)
    queries = read(maps, truth, 0.05)
    assert_same(maps, queries, truth, interval=interval, start=start, radius_cells=radius)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("radius", [0.0, 2.0, 6.0])
def test_several_negatives(k: int, radius: float, searched: list[shortlist.Shortlisted]) -> None:
    maps, truth = unit(2, DIM, 30, 30, dim=1), places(2, 200, 30, 30)
    queries = read(maps, truth, 0.05)
    assert_same(maps, queries, truth, kind="k-hard", k=k, radius_cells=radius)
    assert searched[0].settled.float().mean() > 0.5


def test_more_negatives_than_a_map_has() -> None:
    maps, truth = unit(1, DIM, 8, 9, dim=1), places(1, 60, 8, 9)
    found = assert_same(maps, read(maps, truth, 0.05), truth, kind="k-hard", k=12, radius_cells=4)
    assert not found.found.all()


def test_in_blocks_of_any_size(
    searched: list[shortlist.Shortlisted], monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, truth = unit(3, DIM, 20, 30, dim=1), places(3, 700, 20, 30)
    queries = read(maps, truth, 0.05)
    whole = assert_same(maps, queries, truth)
    monkeypatch.setattr(shortlist, "_MOST_QUERIES", shortlist._FEWEST_QUERIES)
    least = (2 * 640 + 24 * 7 * 7) * shortlist._FEWEST_QUERIES
    for budget in (1, least - 1, least, 2 * least, 1 << 20):
        found = assert_same(maps, queries, truth, budget_bytes=budget)
        assert torch.equal(found.cells, whole.cells)
    assert len(searched) == 4
    for one in searched:
        assert one.settled.float().mean() > 0.95


def smooth(seed: int, *, spread: float) -> Tensor:
    """A map whose neighbours resemble each other, as those of networks do."""
    coarse = unit(1, DIM, 7, 9, dim=1, seed=seed)
    map_ = torch.nn.functional.interpolate(coarse, (42, 54), mode="bilinear")
    return normalize(1 / DIM**0.5 + spread * map_, dim=1)


@pytest.mark.parametrize("spread", [10.0, 1.0, 0.3, 0.1, 0.01])
def test_maps_whose_cells_resemble_each_other(spread: float) -> None:
    maps, truth = smooth(1, spread=spread), places(1, 400, 42, 54)
    assert_same(maps, read(maps, truth, 0.02 * min(spread, 1)), truth)


def test_what_all_cells_have_in_common_costs_no_digits(
    searched: list[shortlist.Shortlisted],
) -> None:
    maps, truth = smooth(1, spread=0.3), places(1, 400, 42, 54)
    assert_same(maps, read(maps, truth, 0.01), truth)
    assert searched[0].settled.float().mean() > 0.8


def test_cells_that_bfloat16_cannot_tell_apart() -> None:
    """Neighbours differ by a hundredth of bfloat16's rounding: only the bound keeps the best."""
    centres = unit(1, DIM, 6, 1, dim=1, seed=1)
    steps = torch.linspace(0, 1, 40)
    maps = normalize(centres + 4e-4 * steps * unit(1, DIM, 6, 40, dim=1, seed=2), dim=1)
    truth = torch.tensor([0.0, -30.0]).expand(1, 300, 2)
    queries = normalize(unit(1, 300, DIM, dim=2, seed=3) + 2 * centres[:, :, 0, 0], dim=2)
    assert_same(maps, queries, truth)


def test_cells_that_float32_cannot_tell_apart(searched: list[shortlist.Shortlisted]) -> None:
    """Their similarities differ by less than a sum in float32, which depends on its order."""
    centres = unit(1, DIM, 12, 1, dim=1, seed=1)
    maps = centres + 3e-8 * torch.randn(1, DIM, 12, 40, generator=torch.Generator().manual_seed(2))
    truth = places(1, 300, 12, 40)
    queries = normalize(unit(1, 300, DIM, dim=2, seed=3) + 0.5 * centres[:, :, 0, 0], dim=2)
    assert_same(maps, queries, truth)
    assert not searched[0].settled.any()


@pytest.mark.parametrize(("map_scale", "query_scale"), [(1, 1), (1e-23, 1), (1, 1e-23)])
def test_the_best_cell_is_kept_where_all_rounding_errors_hide_it(
    map_scale: float, query_scale: float
) -> None:
    """1.0039 is rounded down to 1, and 1.00391 up to 1.0078."""
    down, up, half = 1.0039, 1.00391, DIM // 2
    query = torch.tensor([down] * half + [up] * half)
    best = torch.tensor([down] * half + [-up] * (half - 6) + [0] * 6)
    other = torch.tensor([-down] * (half - 6) + [0] * 5 + [-0.01] + [up] * half)
    assert query @ best > query @ other
    rough = [vector.bfloat16().float() for vector in (query, best, other)]
    assert rough[0] @ rough[1] < 0.9 * rough[0] @ rough[2]
    for first, second in ((best, other), (other, best)):
        # With their opposites, so that their mean is zero.
        maps = map_scale * torch.stack((first, second, -first, -second), dim=1)[None, :, None]
        queries = query_scale * query.expand(1, 4, -1)
        found = assert_same(maps, queries, torch.full((1, 4, 2), -30.0), tolerance=5e-5)
        assert found.cells[0, :, 0, 0].tolist() == [int(second is best)] * 4


def test_the_first_of_identical_cells_is_found_however_many_there_are() -> None:
    one = unit(DIM, dim=0)
    maps = unit(1, DIM, 20, 30, dim=1, seed=1)
    maps[0, :, 4:12, 5:25] = one[:, None, None]
    truth = places(1, 200, 20, 30)
    truth[0, 0] = -30.0
    found = assert_same(maps, one.expand(1, 200, -1), truth, radius_cells=5.0)
    assert found.cells[0, 0, 0].tolist() == [5, 4]
    twice = torch.cat((maps, maps), dim=3)
    queries = read(maps, truth, 0.05)
    found = assert_same(twice, queries, torch.full_like(truth, -30.0))
    assert int(found.cells[..., 0].max()) < 30


def test_a_map_of_equal_cells_is_given_up_soon(searched: list[shortlist.Shortlisted]) -> None:
    maps = unit(1, DIM, 1, 1, dim=1).expand(3, DIM, 20, 30)
    truth = places(3, 200, 20, 30)
    assert_same(maps, read(maps, truth, 0.05), truth)
    assert not searched[0].settled.any()
    assert searched[0].finite == [True, None, None]


def test_zero_vectors() -> None:
    maps, truth = unit(1, DIM, 20, 30, dim=1), places(1, 100, 20, 30)
    queries = read(maps, truth, 0.05)
    maps[:, :, 3:9, 10:] = 0
    queries[0, 5:9] = 0
    assert_same(maps, queries, truth)
    ahead = normalize(1 + 0.1 * maps, dim=1)
    ahead[:, :, 3:9, 10:] = 0
    assert_same(ahead, -queries.abs(), truth)  # zero is the most similar
    assert_same(torch.zeros_like(maps), queries, truth)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_never_mined(
    broken: float, searched: list[shortlist.Shortlisted]
) -> None:
    maps, truth = unit(2, DIM, 20, 30, dim=1), places(2, 100, 20, 30)
    queries = read(maps, truth, 0.05)
    first = mine(maps, queries, truth).cells[0, :, 0].long()
    maps[0, 3, first[:40, 1], first[:40, 0]] = broken
    queries[0, 50, 2] = broken
    truth[0, 60, 1] = broken
    truth[0, 61, 0] = broken
    found = assert_same(maps, queries, truth)
    assert found.found[0, :, 0].logical_not().nonzero()[:, 0].tolist() == [50, 60, 61]
    assert searched[-1].finite == [False, True]
    assert searched[-1].settled[0].float().mean() > 0.8
    assert not (found.cells[0, :40, 0] == first[:40]).all(dim=1).any()


def test_vectors_of_any_length() -> None:
    maps, truth = unit(1, DIM, 20, 30, dim=1), places(1, 200, 20, 30)
    queries = read(maps, truth, 0.05)
    lengths = 10 ** torch.linspace(-3, 3, 600).view(1, 1, 20, 30)
    assert_same(maps * lengths, queries, truth, tolerance=1e-3)
    lengths = 10 ** torch.linspace(-30, 15, 200).view(1, 200, 1)
    assert torch.equal(
        mine(maps, queries * lengths, truth).cells,
        mine(maps, queries * lengths, truth, backend="torch").cells,
    )
    for scale in (1e-30, 1e-18, 1e-12, 1e15, 3e18, 1e30):
        assert torch.equal(
            mine(scale * maps, queries, truth).cells,
            mine(scale * maps, queries, truth, backend="torch").cells,
        )


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # that the switch tells of another one
def test_where_bfloat16_is_emulated() -> None:
    maps, truth = unit(2, DIM, 23, 31, dim=1), places(2, 300, 23, 31)
    queries = read(maps, truth, 0.05)
    with torch.backends.mkldnn.flags(enabled=False):
        assert_same(maps, queries, truth)
        assert_same(maps, queries, truth, kind="k-hard", k=3)


def test_float32_never_multiplies_a_single_row(
    searched: list[shortlist.Shortlisted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of such a product is in another order, so that near ties could end otherwise."""
    rows = []
    multiply = torch.mm

    def watched(left: Tensor, right: Tensor, **settings: Tensor) -> Tensor:
        if left.dtype == torch.float32:
            rows.append(len(left))
        return multiply(left, right, **settings)

    maps, truth = unit(2, DIM, 20, 30, dim=1), places(2, 200, 20, 30)
    queries = read(maps, truth, 0.05)
    queries[0, 7] = 0
    queries[1, 3:6] = 0
    monkeypatch.setattr(torch, "mm", watched)
    found = mine(maps, queries, truth)
    left = (~searched[0].settled).sum(dim=1).tolist()
    assert left[0] % 2 == 1
    assert rows == [count + count % 2 for count in left]
    rows.clear()
    mine(maps[:1], queries[:1, 7:8], truth[:1, 7:8])
    assert rows == [2]
    monkeypatch.undo()
    assert torch.equal(found.cells, mine(maps, queries, truth, backend="torch").cells)


def test_it_is_used_where_it_pays(
    searched: list[shortlist.Shortlisted], monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, truth = unit(1, DIM, 20, 30, dim=1), places(1, 50, 20, 30)
    queries = read(maps, truth, 0.05)
    positives = torch.zeros(1, 50)
    mine(maps, queries, truth)
    mine(maps, queries, truth, kind="k-hard", k=2)
    assert len(searched) == 2
    mine(maps, queries, truth, backend="torch")
    mine(maps, queries, truth, kind="semi-hard", positives=positives)
    mine(maps, queries, truth, kind="k-semi-hard", k=2, positives=positives)
    mine(maps[:, :31], queries[:, :, :31], truth)
    mine(maps, queries, truth, budget_bytes=1000)
    monkeypatch.setattr(shortlist, "_LEAST_PAIRS", 20 * 30 * 50 + 1)
    mine(maps, queries, truth)
    monkeypatch.setattr(shortlist, "_LEAST_PAIRS", 20 * 30 * 50)
    monkeypatch.setattr(shortlist, "in_hardware", lambda: False)
    mine(maps, queries, truth)
    assert len(searched) == 2


@pytest.mark.parametrize("radius", [0.0, 0.5, 1.0, 2.49, 2.5, 2.51, 6.0, 13.0, 1e9, float("inf")])
@pytest.mark.parametrize(
    ("interval", "start"), [(1, (0, 0)), (1, (3, 2)), (2, (1, 0)), (5, (4, 4))]
)
def test_the_places_around_a_centre_are_those_of_a_search(
    radius: float, interval: int, start: tuple[int, int]
) -> None:
    height, width = 11, 14
    grid = Candidates(
        columns=len(range(start[0], width, interval)), rows=len(range(start[1], height, interval)),
        start=start, interval=interval, width=width, radius=radius,
    )  # fmt: skip
    drawn = torch.rand(400, 2, generator=torch.Generator().manual_seed(3)) * 40 - 13
    drawn[:200] = (2 * drawn[:200]).round() / 2
    drawn[-4:] = torch.tensor([[torch.nan, 2], [2, torch.inf], [-1e30, 3], [-1000.0, 5]])
    around = grid.places_around(drawn)
    assert around.shape == (grid.around, len(drawn))
    assert grid.around <= max(grid.total, (radius / interval + 2) ** 2 * 4)
    cells = grid.cells(torch.arange(grid.total))
    near = (drawn[:, None] - cells).square().sum(dim=2) <= radius**2
    for centre, expected in enumerate(near):
        found = around[:, centre].unique()
        assert found[found < grid.total].tolist() == expected.nonzero()[:, 0].tolist()
        assert found[found >= grid.total].tolist() in ([], [grid.total])


@pytest.mark.parametrize("origin", [None, 0.3])
@pytest.mark.parametrize("measure", [True, False])
def test_products_of_rounded_vectors_are_within_the_bound(
    origin: float | None, measure: bool
) -> None:
    """Also where every error has the same sign: 1.0038 is rounded down to 1."""
    left = torch.cat((3 * unit(50, DIM, dim=1), torch.full((1, DIM), 1.0038)))
    right = torch.cat((unit(60, DIM, dim=1, seed=1), torch.full((1, DIM), 1.0038)))
    moved = right if origin is None else right - origin
    one = Rounded.of(left, measure=measure)
    two = Rounded.of(right, None if origin is None else torch.full((DIM,), origin), measure=measure)
    assert torch.equal(two.values, moved.bfloat16())
    products, exact = (
        first.double() @ second.double().T
        for first, second in ((one.values, two.values), (left, moved))
    )
    bound = one.product_bound(two.norm.amax(), two.error.amax())
    assert ((products - exact).abs().amax(dim=1) <= bound).all()
    norm = one.values.float().norm(dim=1)
    error = (one.values.float() - left).norm(dim=1)
    if measure:
        torch.testing.assert_close(one.norm, norm)
        torch.testing.assert_close(one.error, error)
    else:
        assert (one.norm >= norm).all()
        assert (one.error >= error).all()
        assert (one.error <= 4 * error).all()


@pytest.mark.parametrize("measure", [True, False])
def test_the_same_is_known_of_rounded_vectors_that_are_not_kept(measure: bool) -> None:
    vectors = 3 * unit(50, DIM, dim=1)
    kept = Rounded.of(vectors, measure=measure)
    known = Rounded.of(vectors, measure=measure, keep=False, at_once=7)
    assert known.values.shape == (0, DIM)
    assert torch.equal(known.norm, kept.norm)
    assert torch.equal(known.error, kept.error)
