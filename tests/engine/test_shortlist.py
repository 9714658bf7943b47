"""Shortlists by bfloat16 products, held against products in float64 and float32."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate, normalize

from engine.descriptors.daisy import Daisy, DaisyConfig
from engine.errors import JobCancelled
from engine.matching import reranking, shortlist
from engine.matching.nearest import (
    MOST_REACHING,
    Reaching,
    nearest,
    nearest_apart,
    nearest_both_ways,
)
from engine.progress import CancelToken

DIM = 32
BUDGET_BYTES = 64 << 20
ROUNDING = 2e-6  # of a float32 sum of DIM products of unit vectors
FEW = 16  # numbers of a vector whose products are exact, see whole()


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(*shape, DIM, generator=torch.manual_seed(seed)), dim=-1)


def assert_nearest(queries: torch.Tensor, candidates: list[torch.Tensor]) -> None:
    """What is found is as near as the nearest, and has its similarity."""
    index, similarity = shortlist.search(queries, candidates, budget_bytes=BUDGET_BYTES)
    everything = torch.cat(candidates).double()
    true = (queries.double() @ everything.T).amax(dim=0)
    scale = float(queries.norm(dim=-1).max() * everything.norm(dim=-1).max())
    torch.testing.assert_close(similarity.double(), true.amax(dim=1), rtol=0, atol=ROUNDING * scale)
    torch.testing.assert_close(
        true.gather(1, index[:, None])[:, 0], true.amax(dim=1), rtol=0, atol=ROUNDING * scale
    )


def test_random_descriptors_in_several_blocks() -> None:
    assert_nearest(unit(1, 700), [unit(5000, seed=1)])


def test_sets_of_descriptors_and_several_members_of_any_size() -> None:
    assert_nearest(unit(3, 90), [unit(5001, seed=1), unit(7, seed=2), unit(0), unit(4000, seed=3)])


def test_candidates_that_bfloat16_cannot_tell_apart() -> None:
    """Neighbours differ by a hundredth of bfloat16's rounding: only the bound keeps the best."""
    centres = unit(60, seed=1)
    steps = torch.linspace(0, 1, 40)[:, None, None]
    near = normalize(centres + 4e-4 * steps * unit(60, seed=2), dim=-1).reshape(-1, DIM)
    assert_nearest(unit(1, 300, seed=3), [near])
    assert_nearest(near[None, ::7], [near])


def test_the_best_candidate_is_kept_where_all_rounding_errors_hide_it() -> None:
    """1.0038 is rounded down to 1, 1.0040 up to 1.0078, and .9982 up to 1."""
    down, up, below = 1.0038, 1.0040, 0.9982
    half = DIM // 2
    query = torch.tensor([down] * half + [up] * half)
    best = torch.tensor([down] * half + [0] * half)
    other = torch.tensor([0] * half + [up, below] * (half // 2))
    assert query @ best > query @ other
    rough = [vector.bfloat16() for vector in (query, best, other)]
    assert rough[0] @ rough[1] < rough[0] @ rough[2]
    for candidates in (torch.stack((best, other)), torch.stack((other, best))):
        assert_nearest(query[None, None], [candidates])


def test_vectors_of_any_length() -> None:
    lengths = 10 ** torch.linspace(-3, 3, 500)[:, None]
    assert_nearest(unit(1, 200) * lengths[:200], [unit(500, seed=1) * lengths])


def test_the_first_of_identical_candidates_is_found_however_many_there_are() -> None:
    one = unit(1, seed=1)
    candidates = torch.cat((-one.expand(50, -1), one.expand(3000, -1)))
    index, similarity = shortlist.search(
        one.expand(1, 600, -1), [candidates, candidates], budget_bytes=BUDGET_BYTES
    )
    assert index.unique().tolist() == [50]
    torch.testing.assert_close(similarity, torch.ones(600), rtol=0, atol=ROUNDING)


def test_queries_that_resemble_nothing() -> None:
    """All similarities are negative, or zero for a zero vector."""
    ahead = normalize(1 + 0.1 * unit(900), dim=-1)
    queries = torch.cat((-ahead[:20], torch.zeros(2, DIM)))[None]
    assert_nearest(queries, [ahead])
    assert_nearest(queries, [ahead[:60]])
    index, similarity = shortlist.search(queries, [ahead], budget_bytes=BUDGET_BYTES)
    assert index[-2:].tolist() == [0, 0]
    assert similarity[-2:].tolist() == [0, 0]


def test_values_beyond_all_bounds_are_compared_in_float32() -> None:
    queries, candidates = unit(1, 40), unit(900, seed=1)
    queries[0, 3] *= 1e20
    candidates[5] *= 1e15
    candidates[6] *= 1e25
    plain = nearest(queries, [candidates], budget_bytes=BUDGET_BYTES, backend="torch")
    index, _ = shortlist.search(queries, [candidates], budget_bytes=BUDGET_BYTES)
    assert torch.equal(index, plain.index)
    queries[0, 4, 0] = torch.nan
    index, _ = shortlist.search(queries, [candidates], budget_bytes=BUDGET_BYTES)
    kept = torch.arange(40) != 4
    assert torch.equal(index[kept], plain.index[kept])


def whole(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors of length 1 in multiples of 1/1024.

    Products of sixteen such numbers are exact in float32, in whatever order they are added up, so
    everything must be equal to the last bit.  In bfloat16 they are rounded.
    """
    return (1023 * normalize(vectors, dim=-1)).round() / 1024


def rough(*shape: int, seed: int) -> torch.Tensor:
    return whole(torch.randn(*shape, FEW, generator=torch.manual_seed(seed)))


def smooth(rows: int, columns: int, seed: int) -> torch.Tensor:
    """``(rows * columns, 16)`` a map whose neighbouring cells are alike, as those of photos are."""
    size = (1, FEW, rows // 5 + 2, columns // 5 + 2)
    coarse = torch.randn(size, generator=torch.manual_seed(seed))
    return whole(interpolate(coarse, size=(rows, columns), mode="bicubic")[0].flatten(1).T)


def grid(rows: int, columns: int) -> torch.Tensor:
    """``(rows * columns, 2)`` x and y of cells."""
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1).float()


@contextlib.contextmanager
def in_bfloat16(able: bool = True) -> Iterator[list[str]]:
    """As on a processor that multiplies bfloat16, or on one that does not; which searches ran."""
    used: list[str] = []

    def watch(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            used.append(name)
            return function(*args, **named)

        return watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "in_hardware", lambda: able)
        patch.setattr(shortlist, "_LEAST_PAIRS", 1)
        for name in ("search", "search_apart", "search_both_ways"):
            patch.setattr(shortlist, name, watch(name, getattr(shortlist, name)))
        yield used


def assert_same_reaching(found: Reaching | None, expected: Reaching | None) -> None:
    assert found is not None
    assert expected is not None
    assert torch.equal(found.query, expected.query)
    assert torch.equal(found.candidate, expected.candidate)
    assert torch.equal(found.many, expected.many)


@pytest.mark.parametrize(
    "counts", [(700, 5000), (3000, 1500), (1500, 21_000), (3, 900), (600, 1), (1, 2000)]
)
def test_both_ways_are_found_exactly_from_one_product(counts: tuple[int, int]) -> None:
    a, b = (rough(count, seed=seed) for seed, count in enumerate(counts))
    alike = min(counts) // 2
    a[:alike] = whole(b[torch.randperm(counts[1])[:alike]] + 0.05 * torch.randn(alike, FEW))
    a[::7] = 0
    b[::11] = 0
    there, back = shortlist.search_both_ways(a, b, budget_bytes=BUDGET_BYTES)
    products = (a.double() @ b.double().T).float()
    for (index, similarity), matrix in ((there, products), (back, products.T)):
        torch.testing.assert_close(similarity, matrix.amax(dim=1), rtol=0, atol=0)
        first = matrix.numpy().argmax(axis=1)
        assert torch.equal(index, torch.from_numpy(first))


def test_rows_are_found_by_groups_once_they_know_similar_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []
    by_groups = reranking._near_rows_by_groups

    def watched(*args: Any) -> Any:
        looked.append(by_groups(*args))
        return looked[-1]

    monkeypatch.setattr(reranking, "_near_rows_by_groups", watched)
    b = rough(1000, seed=1)
    a = torch.cat([b, rough(2000, seed=2), b])
    (_, _), (index, similarity) = shortlist.search_both_ways(a, b, budget_bytes=BUDGET_BYTES)
    assert index.tolist() == list(range(1000))
    assert torch.equal(similarity, b.square().sum(dim=1))
    assert looked[0] is None
    assert sum(one is not None for one in looked) >= len(looked) - 2


def test_both_ways_the_first_of_identical_points_is_found_however_many_there_are() -> None:
    one, other = rough(2, seed=1)
    a = torch.cat([one.expand(40, -1), other.expand(900, -1), -one.expand(100, -1)])
    b = torch.cat([-one.expand(70, -1), other.expand(900, -1), one.expand(50, -1)])
    (there, _), (back, _) = shortlist.search_both_ways(a, b, budget_bytes=BUDGET_BYTES)
    assert there.tolist() == [970] * 40 + [70] * 900 + [0] * 100
    assert back.tolist() == [940] * 70 + [40] * 900 + [0] * 50


def test_both_ways_points_that_resemble_nothing_or_are_beyond_all_bounds() -> None:
    ahead = whole(1 + 0.1 * rough(900, seed=1))
    a, b = torch.cat([-ahead[:300], torch.zeros(2, FEW)]), ahead.clone()
    b[5] *= 2.0**60
    a[7] *= 2.0**64
    b[6] *= 2.0**80
    (there, value), (back, value_back) = shortlist.search_both_ways(a, b, budget_bytes=BUDGET_BYTES)
    products = a @ b.T
    assert torch.equal(there, torch.from_numpy(products.numpy().argmax(axis=1)))
    assert torch.equal(back, torch.from_numpy(products.numpy().argmax(axis=0)))
    assert torch.equal(value, products.amax(dim=1))
    assert torch.equal(value_back, products.amax(dim=0))
    a[4, 0] = torch.nan
    kept = torch.arange(len(a)) != 4
    (found, _), _ = shortlist.search_both_ways(a, b, budget_bytes=BUDGET_BYTES)
    assert torch.equal(found[kept], there[kept])


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    alike=st.booleans(),
    sizes=st.lists(st.sampled_from([(1, 1), (3, 21), (16, 8), (40, 30)]), min_size=1, max_size=3),
    set_size=st.integers(1, 3),
    queries=st.integers(1, 60),
    count=st.integers(1, 6),
    separation=st.sampled_from([0.0, 0.5, 1.0, 1.5, 4.0, 5.0, 25.0, 1e9]),
    budget_bytes=st.sampled_from([1 << 21, BUDGET_BYTES]),
)
def test_those_apart_are_the_ones_that_float32_finds(
    seed, alike, sizes, set_size, queries, count, separation, budget_bytes
):
    members = [
        smooth(*size, seed + number) if alike else rough(size[0] * size[1], seed=seed + number)
        for number, size in enumerate(sizes)
    ]
    everything = torch.cat(members)
    generator = torch.manual_seed(seed)
    chosen = torch.randint(len(everything), (set_size, queries), generator=generator)
    noise = torch.randn(set_size, queries, FEW, generator=generator)
    sets = whole(everything[chosen] + 0.05 * noise)
    sets[:, ::5] = 0
    sets[0, ::3] = 0
    positions = torch.cat([grid(*size) for size in sizes])
    asks = [0.7 + 0.3 * torch.rand(len(member), generator=generator) for member in members]
    asks[0][0] = sets[0, 1 % queries] @ members[0][0]  # reached, but by nothing

    def find():
        return nearest_apart(
            sets, members, positions, count=count, separation=separation,
            budget_bytes=budget_bytes, asks=asks,
        )  # fmt: skip

    with in_bfloat16(False) as used:
        expected = find()
    assert not used
    with in_bfloat16() as used:
        found = find()
    assert used == ["search_apart"]
    assert torch.equal(found.index, expected.index)
    assert torch.equal(found.similarity, expected.similarity)
    assert_same_reaching(found.reaching, expected.reaching)


@pytest.mark.parametrize("set_size", [1, 4])
@pytest.mark.parametrize("separation", [0.0, 4.0, 6.0])
def test_those_apart_on_a_map_are_found_without_comparing_all_in_float32(set_size, separation):
    map_ = smooth(60, 80, 3)
    sets = map_[torch.randint(len(map_), (set_size, 700), generator=torch.manual_seed(4))]
    index, similarity, left = shortlist.search_apart(
        sets, [map_], grid(60, 80), count=5, separation=separation, budget_bytes=BUDGET_BYTES
    )
    assert len(left) < 10
    with in_bfloat16(False):
        expected = nearest_apart(
            sets, [map_], grid(60, 80), count=5, separation=separation, budget_bytes=BUDGET_BYTES
        )
    done = torch.ones(700, dtype=torch.bool)
    done[left] = False
    assert torch.equal(index[done], expected.index[done])
    assert torch.equal(similarity[done], expected.similarity[done])


def test_a_pick_may_be_exactly_as_far_as_the_separation_and_circles_end_between_groups() -> None:
    """The cells are on one line, as far apart as float32 tells; all but one are too near."""
    line = rough(1, seed=1) * torch.linspace(1, 0.5, 1000)[:, None]
    line = (line * 1024).round() / 1024
    for start, separation in ((0.0, 640.0), (1e6, 640.0), (0.1, 64.3)):
        places = torch.zeros(1000, 2)
        places[:, 1] = start + torch.arange(1000)
        work = {"count": 2, "separation": separation, "budget_bytes": BUDGET_BYTES}
        with in_bfloat16(False):
            expected = nearest_apart(line[:1], [line], places, **work)
        with in_bfloat16():
            found = nearest_apart(line[:1], [line], places, **work)
        assert expected.index[0, 1] > 60
        assert torch.equal(found.index, expected.index)


def test_those_apart_of_queries_that_resemble_nothing_or_are_beyond_all_bounds() -> None:
    map_ = whole(1 + 0.1 * smooth(40, 40, 1))
    queries = torch.cat([-map_[:30], map_[:30], torch.zeros(50, FEW)])
    queries[35] *= 2.0**70
    map_[50] *= 2.0**70
    map_[51] *= 2.0**80
    for asks in (None, [torch.full((1600,), 0.5)], [torch.full((1600,), -0.5)]):
        work = {"count": 3, "separation": 3.0, "budget_bytes": BUDGET_BYTES, "asks": asks}
        with in_bfloat16(False):
            expected = nearest_apart(queries, [map_], grid(40, 40), **work)
        with in_bfloat16():
            found = nearest_apart(queries, [map_], grid(40, 40), **work)
        assert torch.equal(found.index, expected.index)
        assert torch.equal(found.similarity, expected.similarity)
        if asks is not None:
            assert_same_reaching(found.reaching, expected.reaching)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    alike=st.booleans(),
    sizes=st.lists(st.sampled_from([(1, 1), (3, 21), (40, 30)]), min_size=1, max_size=3),
    set_size=st.integers(1, 3),
    queries=st.integers(1, 60),
    least=st.sampled_from([-1.0, 0.0, 0.003, 0.5, 0.9]),
)
def test_the_nearest_of_sets_and_what_reaches_are_those_that_float32_finds(
    seed, alike, sizes, set_size, queries, least
):
    members = [
        smooth(*size, seed + number) if alike else rough(size[0] * size[1], seed=seed + number)
        for number, size in enumerate(sizes)
    ]
    everything = torch.cat(members)
    generator = torch.manual_seed(seed)
    chosen = torch.randint(len(everything), (set_size, queries), generator=generator)
    sets = everything[chosen]
    sets[:, ::5] = 0
    asks = [least + 0.1 * torch.rand(len(member), generator=generator) for member in members]
    asks[-1][-1] = torch.inf
    asks[0][0] = sets[0, 1 % queries] @ members[0][0]
    with in_bfloat16(False) as used:
        expected = nearest(sets, members, budget_bytes=BUDGET_BYTES, asks=asks)
    assert not used
    with in_bfloat16() as used:
        found = nearest(sets, members, budget_bytes=BUDGET_BYTES, asks=asks)
        assert nearest(sets, members, budget_bytes=BUDGET_BYTES).reaching is None
    assert used == ["search", "search"]
    assert torch.equal(found.index, expected.index)
    assert torch.equal(found.similarity, expected.similarity)
    assert torch.equal(found.query_member, expected.query_member)
    assert_same_reaching(found.reaching, expected.reaching)


def test_cells_that_ask_for_just_what_a_query_has_are_told_however_estimates_are_rounded() -> None:
    queries, candidates = rough(90, seed=1), rough(3000, seed=2)
    products = queries @ candidates.T
    asked = torch.randint(90, (3000,), generator=torch.manual_seed(3))
    asks = products[asked, torch.arange(3000)]
    told = []
    shortlist.search(
        queries[None], [candidates], budget_bytes=BUDGET_BYTES, asks=[asks],
        tell=lambda query, candidate: told.append(query * 3000 + candidate),
    )  # fmt: skip
    expected = (products >= asks).flatten().nonzero()[:, 0]
    assert torch.equal(torch.cat(told).sort().values, expected)


def test_queries_that_too_many_candidates_reach_are_named() -> None:
    one, other = rough(2, seed=1)
    candidates = torch.cat([one.expand(MOST_REACHING, -1), other.expand(MOST_REACHING + 1, -1)])
    asks = [torch.full((len(candidates),), 0.8)]
    queries = torch.stack([other, one, -one])
    with in_bfloat16() as used:
        found = nearest(queries, [candidates], budget_bytes=BUDGET_BYTES, asks=asks).reaching
        apart = nearest_apart(
            queries, [candidates], torch.zeros(len(candidates), 2), count=2, separation=1.0,
            budget_bytes=BUDGET_BYTES, asks=asks,
        ).reaching  # fmt: skip
    assert used == ["search", "search_apart"]
    for told in (found, apart):
        assert told is not None
        assert told.many.tolist() == [True, False, False]
        assert told.query.tolist() == [1] * MOST_REACHING
        assert told.candidate.tolist() == list(range(MOST_REACHING))


@pytest.fixture(scope="module")
def views() -> tuple[torch.Tensor, torch.Tensor]:
    """``(3072, 200)`` DAISY of two views of a photograph; one has a blank corner."""
    from skimage import data

    photo = torch.from_numpy(data.camera()[None, None] / 255.0).float()
    one = photo[..., 100:292, 80:336].clone()
    other = interpolate(photo[..., 90:282, 95:335], size=(192, 256), mode="bicubic")
    one[..., :60, :90] = 0.5
    daisy = Daisy(DaisyConfig(stride_px=4))
    maps = [daisy.describe(view.expand(1, 3, -1, -1))[0].values[0] for view in (one, other)]
    one, other = (values.flatten(1).T.contiguous() for values in maps)
    return one, other


def test_of_real_descriptors_the_same_are_found_as_in_float32(views) -> None:
    one, other = views
    positions = 4 * grid(48, 64)
    asks = [0.97 + 0.03 * torch.rand(len(other), generator=torch.manual_seed(0))]

    def find():
        return (
            nearest(one, [other], budget_bytes=BUDGET_BYTES, asks=asks),
            nearest_apart(
                one, [other], positions, count=5, separation=16.0, budget_bytes=BUDGET_BYTES,
                asks=asks,
            ),
            nearest_both_ways(one[None], other[None], budget_bytes=BUDGET_BYTES),
        )  # fmt: skip

    with in_bfloat16(False):
        alone, apart, both = find()
    with in_bfloat16() as used:
        found_alone, found_apart, found_both = find()
    assert used == ["search", "search_apart", "search_both_ways"]
    products = one.double() @ other.double().T
    for found, expected in (
        (found_alone.similarity, alone.similarity),
        (found_apart.similarity, apart.similarity),
        (found_both.similarity, both.similarity),
        (found_both.similarity_back, both.similarity_back),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    for index, similarity in (
        (found_alone.index, found_alone.similarity),
        (found_both.b_of_a, found_both.similarity),
    ):
        true = products.gather(1, index[:, None])[:, 0].float()
        torch.testing.assert_close(true, similarity, rtol=0, atol=ROUNDING)
    true = products.gather(0, found_both.a_of_b[None])[0].float()
    torch.testing.assert_close(true, found_both.similarity_back, rtol=0, atol=ROUNDING)
    true = products.gather(1, found_apart.index).float()
    torch.testing.assert_close(true, found_apart.similarity, rtol=0, atol=ROUNDING)
    places = positions[found_apart.index]
    gaps = (places[:, None] - places[:, :, None]).norm(dim=-1) + 1e9 * torch.eye(5)
    assert float(gaps.min()) >= 16
    surely = products >= asks[0] + ROUNDING
    maybe = products >= asks[0] - ROUNDING
    for told in (found_alone.reaching, found_apart.reaching):
        assert told is not None
        told_of = torch.zeros(products.shape, dtype=torch.bool)
        told_of[told.query, told.candidate] = True
        listed = ~told.many[:, None]
        assert not (surely & listed & ~told_of).any()
        assert not (told_of & ~maybe).any()
    assert 100 < int(surely.sum()) < surely.numel() / 50


def test_it_can_be_cancelled() -> None:
    cancel = CancelToken()
    cancel.cancel()
    settings_ = {"budget_bytes": BUDGET_BYTES, "cancel": cancel}
    with pytest.raises(JobCancelled):
        shortlist.search(unit(1, 40), [unit(900)], **settings_)
    with pytest.raises(JobCancelled):
        shortlist.search_both_ways(unit(40), unit(900), **settings_)
    with pytest.raises(JobCancelled):
        shortlist.search_apart(
            unit(1, 40), [unit(900)], grid(30, 30), count=2, separation=1.0, **settings_
        )


def test_it_is_used_where_the_processor_multiplies_bfloat16() -> None:
    queries, candidates = unit(1024), unit(1024, seed=1)
    apart = {"count": 2, "separation": 2.0}
    with in_bfloat16(False) as used:
        plain = nearest(queries, [candidates], budget_bytes=BUDGET_BYTES)
        nearest_apart(queries, [candidates], grid(32, 32), budget_bytes=BUDGET_BYTES, **apart)
        nearest_both_ways(queries[None], candidates[None], budget_bytes=BUDGET_BYTES)
    assert used == []
    with in_bfloat16() as used:
        found = nearest(queries, [candidates], budget_bytes=BUDGET_BYTES)
        assert torch.equal(found.index, plain.index)
        nearest(queries.double(), [candidates.double()], budget_bytes=BUDGET_BYTES)
        nearest(queries, [candidates], budget_bytes=1000)
        nearest(queries, [candidates], budget_bytes=BUDGET_BYTES, backend="torch")
        assert used == ["search"]
        nearest_both_ways(queries[None], candidates[None], budget_bytes=BUDGET_BYTES)
        nearest_both_ways(queries.view(2, 512, DIM), candidates[None], budget_bytes=BUDGET_BYTES)
        assert used[1:] == ["search_both_ways"]
        nearest_apart(queries, [candidates], grid(32, 32), budget_bytes=BUDGET_BYTES, **apart)
        nearest_apart(queries, [candidates], grid(32, 32), budget_bytes=200_000, **apart)
        assert used[2:] == ["search_apart"]


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("budget_bytes", [3 << 20, 12 << 20])
def test_no_search_takes_more_memory_than_its_budget(crowded: bool, budget_bytes: int) -> None:
    """Numpy's memory is counted, which is all but a tensor of some queries at a time."""
    map_ = unit(9000)
    if crowded:  # all but some rows differ by less than estimates tell
        map_ = normalize(map_[:1] + 1e-3 * map_, dim=1)
    sets = map_[:600][None]
    places = grid(90, 100)
    asks = [torch.full((9000,), 0.9)]
    works: tuple[Callable[[], Any], ...] = (
        lambda: shortlist.search(
            sets, [map_], budget_bytes=budget_bytes, asks=asks, tell=lambda *_: None
        ),
        lambda: shortlist.search_both_ways(sets[0], map_, budget_bytes=budget_bytes),
        lambda: shortlist.search_apart(
            sets, [map_], places, count=5, separation=4.0, budget_bytes=budget_bytes, asks=asks,
            tell=lambda *_: None,
        ),
    )  # fmt: skip
    for work in works:
        tracemalloc.start()
        work()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert budget_bytes / 8 < peak_bytes < budget_bytes
