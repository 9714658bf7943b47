"""Exact search, held against loops that know nothing of blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from engine.errors import JobCancelled
from engine.matching.nearest import (
    MOST_REACHING,
    distance_ratio,
    nearest,
    nearest_apart,
    nearest_both_ways,
    pick_apart,
    pick_apart_one,
    plan_blocks,
    winning_members,
)
from engine.progress import CancelToken

DIM = 6


def exact_vectors(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """Unit vectors with four entries of ±½, some zero vectors.

    All their dot products are multiples of ¼ and exact in float32, so that ties are real ties.
    """
    flat = np.zeros((int(np.prod(shape)), DIM), np.float32)
    for row in flat:
        if rng.random() > 0.1:
            row[rng.permutation(DIM)[:4]] = rng.choice([-0.5, 0.5], 4)
    return torch.from_numpy(flat.reshape(*shape, DIM))


def loop_best(sets: np.ndarray, members: list[np.ndarray], query: int):
    """(similarity, index, query member, candidate member) by one loop over everything."""
    best = (-math.inf, -1, -1, -1)
    index = 0
    for candidate_member, rows in enumerate(members):
        for row in rows:
            for query_member in range(len(sets)):
                value = float(
                    sum(a * b for a, b in zip(sets[query_member, query], row, strict=True))
                )
                if value > best[0]:
                    best = (value, index, query_member, candidate_member)
            index += 1
    return best


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(0, 7),
    query_members=st.integers(1, 3),
    sizes=st.lists(st.integers(0, 9), min_size=0, max_size=3),
    budget_bytes=st.integers(0, 600),
)
def test_the_nearest_of_sets_is_what_a_loop_finds_for_any_shape_and_budget(
    seed, queries, query_members, sizes, budget_bytes
):
    rng = np.random.default_rng(seed)
    sets = exact_vectors(rng, query_members, queries)
    members = [exact_vectors(rng, size) for size in sizes]
    found = nearest(sets, members, budget_bytes=budget_bytes)
    for query in range(queries):
        expected = loop_best(sets.numpy(), [m.numpy() for m in members], query)
        got = (
            found.similarity[query].item(),
            found.index[query].item(),
            found.query_member[query].item(),
            found.candidate_member[query].item(),
        )
        assert got == expected
    assert found.index.shape == (queries,)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(0, 5),
    query_members=st.integers(1, 2),
    sizes=st.lists(st.integers(0, 9), min_size=0, max_size=3),
    count=st.integers(1, 5),
    separation=st.sampled_from([0.0, 1.0, 2.0, 5.0, 100.0]),
    budget_bytes=st.integers(0, 2000),
)
def test_the_best_apart_are_what_a_greedy_loop_picks_for_any_shape_and_budget(
    seed, queries, query_members, sizes, count, separation, budget_bytes
):
    rng = np.random.default_rng(seed)
    sets = exact_vectors(rng, query_members, queries)
    members = [exact_vectors(rng, size) for size in sizes]
    places = torch.from_numpy(rng.integers(0, 6, (sum(sizes), 2)).astype(np.float32))
    found = nearest_apart(
        sets, members, places, count=count, separation=separation, budget_bytes=budget_bytes
    )
    rows = [row for member in members for row in member.numpy()]
    for query in range(queries):
        values = [max(float(q @ row) for q in sets[:, query].numpy()) for row in rows]
        expected: list[int] = []
        for index in sorted(range(len(rows)), key=lambda i: (-values[i], i)):
            far = all(math.dist(places[index], places[o]) >= separation for o in expected)
            if far and len(expected) < count:
                expected.append(index)
        similarities = [values[i] for i in expected]
        one = np.array(values, np.float32)
        assert expected == pick_apart_one(one, places.numpy(), count=count, separation=separation)
        missing = count - len(expected)
        assert found.index[query].tolist() == expected + [-1] * missing
        assert found.similarity[query].tolist() == similarities + [-math.inf] * missing
    assert found.index.shape == (queries, count)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    values=st.sampled_from([3, 1000]),
    shape=st.sampled_from([(16, 8), (19, 21)]),
    separation=st.sampled_from([0.0, 1.5, 4.0, 30.0]),
)
def test_on_whole_maps_the_best_apart_are_what_a_single_query_picks(
    seed, values, shape, separation
):
    rng = np.random.default_rng(seed)
    rows, columns = shape
    cells = np.stack(np.mgrid[0:rows, 0:columns], axis=-1).reshape(-1, 2)
    places = np.concatenate([cells, 2 * cells]).astype(np.float32)
    similarity = rng.integers(0, values, (9, len(places))).astype(np.float32)
    picked = pick_apart(
        torch.from_numpy(similarity.copy()),
        torch.from_numpy(places),
        count=6,
        separation=separation,
    )
    for one, got in zip(similarity, picked.index.tolist(), strict=True):
        expected = pick_apart_one(one.copy(), places, count=6, separation=separation)
        assert got == expected + [-1] * (6 - len(expected))


@given(
    queries=st.integers(0, 3000),
    candidates=st.integers(0, 10**6),
    budget_bytes=st.integers(0, 10**8),
)
def test_a_block_never_takes_more_than_the_budget_unless_one_pair_does(
    queries, candidates, budget_bytes
):
    rows, columns = plan_blocks(queries, candidates, bytes_per_pair=8, budget_bytes=budget_bytes)
    assert rows >= 1
    assert columns >= 1
    assert rows * columns * 8 <= max(8, budget_bytes)


def test_a_large_budget_takes_everything_in_one_block():
    assert plan_blocks(500, 19_200, bytes_per_pair=8, budget_bytes=10**9) == (500, 19_200)


class LargestResult(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.size_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor) and not func.is_view:
                self.size_bytes = max(self.size_bytes, made.numel() * made.element_size())
        return result


def test_no_operation_of_the_search_makes_a_tensor_larger_than_its_budget(generator):
    sets = torch.randn(2, 300, 8, generator=generator)
    members = [torch.randn(2000, 8, generator=generator), torch.randn(500, 8, generator=generator)]
    places = torch.rand(2500, 2, generator=generator) * 100
    with LargestResult() as largest:
        nearest(sets, members, budget_bytes=40_000)
    assert 15_000 < largest.size_bytes <= 20_000  # two blocks are alive at once
    with LargestResult() as largest:
        nearest_apart(sets, members, places, count=3, separation=9, budget_bytes=200_000)
    assert 20_000 < largest.size_bytes <= 100_000


def test_real_numbers_are_searched_as_exactly_as_float64_does(generator):
    queries = torch.nn.functional.normalize(torch.randn(50, 32, generator=generator), dim=1)
    map_ = torch.nn.functional.normalize(torch.randn(700, 32, generator=generator), dim=1)
    expected = (queries.double() @ map_.double().T).max(dim=1)
    found = nearest(queries, [map_], budget_bytes=30_000)
    assert torch.equal(found.index, expected.indices)
    torch.testing.assert_close(found.similarity, expected.values.float())


def test_a_zero_vector_is_never_nan_and_prefers_the_first_candidate():
    found = nearest(torch.zeros(1, 4), [torch.zeros(3, 4), torch.eye(4)], budget_bytes=100)
    assert found.similarity.tolist() == [0.0]
    assert found.index.tolist() == [0]


def test_members_of_a_missing_match_are_minus_one():
    query, candidate = winning_members(torch.eye(2), [torch.eye(2)], torch.tensor([-1, 1]))
    assert query.tolist() == [-1, 0]
    assert candidate.tolist() == [-1, 0]


def test_a_search_that_was_cancelled_stops():
    token = CancelToken()
    token.cancel()
    with pytest.raises(JobCancelled):
        nearest(torch.eye(3), [torch.eye(3)], budget_bytes=1000, cancel=token)
    with pytest.raises(JobCancelled):
        nearest_both_ways(torch.eye(3)[None], torch.eye(3)[None], budget_bytes=99, cancel=token)
    with pytest.raises(JobCancelled):
        nearest_apart(
            torch.eye(3),
            [torch.eye(3)],
            torch.zeros(3, 2),
            count=2,
            separation=1,
            budget_bytes=1000,
            cancel=token,
        )


def test_a_candidate_exactly_as_far_as_the_separation_may_be_second():
    similarity = torch.tensor([[0.9, 0.8, 0.7]])
    places = torch.tensor([[0.0, 0.0], [3.0, 3.9], [3.0, 4.0]])
    picked = pick_apart(similarity, places, count=2, separation=5.0)
    assert picked.index.tolist() == [[0, 2]]


def test_the_ratio_is_the_quotient_of_the_distances_of_unit_vectors():
    query = torch.tensor([1.0, 0.0])
    one = torch.tensor([math.cos(0.1), math.sin(0.1)])
    two = torch.tensor([math.cos(0.5), math.sin(0.5)])
    expected = (query - one).norm() / (query - two).norm()
    torch.testing.assert_close(distance_ratio(query @ one, query @ two), expected)


def test_two_perfect_matches_and_a_lack_of_a_second_are_both_ambiguous():
    just_below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    best = torch.tensor([1.0, 1.0, 1.0, 0.3, 1.0])
    second = torch.tensor([1.0, just_below_one, -math.inf, -math.inf, 0.5])
    ratio = distance_ratio(best, second)
    assert ratio[:4].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert ratio[4] < 0.01


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    counts=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    members=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    budget_bytes=st.integers(0, 600),
)
def test_both_ways_are_what_numpy_finds_in_one_matrix_for_any_shape_and_budget(
    seed, counts, members, budget_bytes
):
    rng = np.random.default_rng(seed)
    a, b = (exact_vectors(rng, *shape) for shape in zip(members, counts, strict=True))
    found = nearest_both_ways(a, b, budget_bytes=budget_bytes)
    matrix = torch.einsum("knd,lmd->klnm", a, b).amax(dim=(0, 1)).numpy()
    for axis, index, similarity in (
        (1, found.b_of_a, found.similarity),
        (0, found.a_of_b, found.similarity_back),
    ):
        if matrix.size:
            assert index.tolist() == matrix.argmax(axis=axis).tolist()
            assert similarity.tolist() == matrix.max(axis=axis).tolist()
        else:
            assert (index == -1).all()
            assert (similarity == -math.inf).all()
        assert len(index) == len(similarity) == matrix.shape[1 - axis]


@pytest.mark.parametrize("counts", [(3000, 2000), (2048, 4096), (70, 3000), (3000, 33)])
def test_both_ways_the_first_of_many_equal_ones_wins_in_groups_and_blocks(counts):
    rng = np.random.default_rng(6)
    a, b = (exact_vectors(rng, count) for count in counts)
    found = nearest_both_ways(a[None], b[None], budget_bytes=1 << 22)
    matrix = (a @ b.T).numpy()
    np.testing.assert_array_equal(found.b_of_a, matrix.argmax(axis=1))
    np.testing.assert_array_equal(found.a_of_b, matrix.argmax(axis=0))


def test_both_ways_are_what_two_searches_find_among_real_descriptors():
    generator = torch.manual_seed(3)
    a, b = (torch.nn.functional.normalize(torch.randn(1, n, 32, generator=generator), dim=2)
            for n in (1500, 1100))  # fmt: skip
    found = nearest_both_ways(a, b, budget_bytes=1 << 22)
    there, back = (nearest(one, list(other), budget_bytes=1 << 22, backend="torch")
                   for one, other in ((a, b), (b, a)))  # fmt: skip
    assert torch.equal(found.b_of_a, there.index)
    assert torch.equal(found.a_of_b, back.index)
    torch.testing.assert_close(found.similarity, there.similarity, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.similarity_back, back.similarity, atol=1e-6, rtol=0)


@pytest.mark.parametrize("members", [(640,), (64, 129, 1000), (3000,)])
def test_of_many_equal_candidates_the_first_wins_in_groups_pieces_and_members(members):
    rng = np.random.default_rng(5)
    candidates = [exact_vectors(rng, count) for count in members]
    queries = exact_vectors(rng, 1500)
    found = nearest(queries, candidates, budget_bytes=1 << 22, backend="torch")
    similarity = queries @ torch.cat(candidates).T
    first = torch.from_numpy(similarity.numpy().argmax(axis=1))
    assert torch.equal(found.index, first)
    assert torch.equal(found.similarity, similarity[torch.arange(len(first)), first])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.sampled_from([0, 1, 3, 64, 130]), min_size=1, max_size=3),
    set_size=st.integers(1, 3),
    count=st.integers(0, 40),
    budget=st.sampled_from([1, 500, 3000, 1 << 20]),
)
def test_both_searches_list_the_candidates_that_reach_what_they_ask_for(
    seed, sizes, set_size, count, budget
):
    rng = np.random.default_rng(seed)
    queries = exact_vectors(rng, set_size, count)
    members = [exact_vectors(rng, size) for size in sizes]
    asks = [torch.from_numpy(rng.choice([0.25, 0.5, 1.0, 2.0], size)).float() for size in sizes]
    every, least = torch.cat(members).numpy(), torch.cat(asks).numpy()
    similarity = np.einsum("lnd,md->lnm", queries.numpy(), every).max(axis=0, initial=-np.inf)
    expected = np.argwhere(similarity >= least) if len(every) else np.zeros((0, 2), np.int64)
    positions = torch.from_numpy(rng.uniform(0, 50, (len(every), 2))).float()
    found = nearest(queries, members, budget_bytes=budget, asks=asks, backend="torch")
    apart = nearest_apart(
        queries, members, positions, count=2, separation=5.0, budget_bytes=budget, asks=asks
    )
    for told in (found.reaching, apart.reaching):
        assert told is not None
        np.testing.assert_array_equal(torch.stack([told.query, told.candidate], dim=1), expected)
        assert told.many.tolist() == [False] * count
    assert nearest(queries, members, budget_bytes=budget).reaching is None


@pytest.mark.parametrize("budget", [20_000, 1 << 24])
def test_queries_that_too_many_candidates_reach_are_named_and_not_listed(budget):
    one, other = torch.eye(2, 8)
    candidates = torch.cat([one.repeat(MOST_REACHING, 1), other.repeat(MOST_REACHING + 1, 1)])
    asks = [torch.full((len(candidates),), 0.5)]
    queries = torch.stack([other, one, -one])
    for told in (
        nearest(queries, [candidates], budget_bytes=budget, asks=asks, backend="torch").reaching,
        nearest_apart(
            queries, [candidates], torch.zeros(len(candidates), 2), count=1, separation=1.0,
            budget_bytes=budget, asks=asks,
        ).reaching,
    ):  # fmt: skip
        assert told is not None
        assert told.many.tolist() == [True, False, False]
        assert told.query.tolist() == [1] * MOST_REACHING
        assert told.candidate.tolist() == list(range(MOST_REACHING))
