"""Shortlists by bfloat16 products, held against products in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from engine.errors import JobCancelled
from engine.matching import shortlist
from engine.matching.nearest import nearest, nearest_both_ways
from engine.progress import CancelToken

DIM = 32
BUDGET_BYTES = 64 << 20
ROUNDING = 2e-6  # of a float32 sum of DIM products of unit vectors


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


def test_it_can_be_cancelled() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(JobCancelled):
        shortlist.search(unit(1, 40), [unit(900)], budget_bytes=BUDGET_BYTES, cancel=cancel)


def test_it_is_used_where_the_processor_multiplies_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries, candidates = unit(1024), [unit(1024, seed=1)]
    used = []
    search = shortlist.search

    def watched(*args: object, **settings: object) -> object:
        used.append(True)
        return search(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(shortlist, "search", watched)
    for able in (False, True):
        monkeypatch.setattr(shortlist, "in_hardware", lambda able=able: able)
        found = nearest(queries, candidates, budget_bytes=BUDGET_BYTES)
        plain = nearest(queries, candidates, budget_bytes=BUDGET_BYTES, backend="torch")
        assert torch.equal(found.index, plain.index)
        assert len(used) == able
        both = nearest_both_ways(queries[None], candidates[0][None], budget_bytes=BUDGET_BYTES)
        assert torch.equal(both.b_of_a, plain.index)
        assert len(used) == 3 * able
    nearest(queries.double(), [candidates[0].double()], budget_bytes=BUDGET_BYTES)
    nearest(queries, candidates, budget_bytes=1000)
    assert len(used) == 3
