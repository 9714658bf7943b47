"""Hard negatives against a plain loop over all cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.mining import shortlist
from engine.mining.hard_negatives import MiningKind, Negatives, find_hard_negatives
from engine.seeding import hash_numbers


@pytest.fixture(autouse=True, params=["float32", "shortlist"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By products in float32, and by shortlists although these maps are too small for them."""
    shortlisted = request.param == "shortlist"
    monkeypatch.setattr(shortlist, "in_hardware", lambda: shortlisted)
    monkeypatch.setattr(shortlist, "_LEAST_PAIRS", 1)
    monkeypatch.setattr(shortlist, "_DIMS", range(1, 100))


KINDS: tuple[MiningKind, ...] = ("hard", "semi-hard", "k-hard", "k-semi-hard")


def unit(*shape: int, dim: int, seed: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(values, dim=dim)


def mine(maps: Tensor, queries: Tensor, truth: Tensor, **settings: object) -> Negatives:
    known: dict[str, object] = {
        "radius_cells": 2.0, "kind": "hard", "k": 1, "margin": 0.1, "positives": None, "seed": 7,
    }  # fmt: skip
    return find_hard_negatives(maps, queries, truth, **{**known, **settings})


def loop(
    maps: Tensor,
    queries: Tensor,
    truth: Tensor,
    *,
    radius: float,
    kind: str,
    k: int,
    margin: float,
    positives: Tensor,
    seed: int,
    interval: int = 1,
    start: tuple[int, int] = (0, 0),
) -> list[list[list[tuple[int, int]]]]:
    """The definition, one cell at a time, in Python's own arithmetic."""
    batch, _, height, width = maps.shape
    result = []
    for b in range(batch):
        of_batch = []
        for n in range(queries.shape[1]):
            candidates = []
            for y in range(start[1], height, interval):
                for x in range(start[0], width, interval):
                    tx, ty = truth[b, n].tolist()
                    if (x - tx) ** 2 + (y - ty) ** 2 <= radius**2:
                        continue
                    similarity = float(queries[b, n] @ maps[b, :, y, x])
                    if "semi" in kind:
                        near = math.sqrt(max(0.0, 2 - 2 * similarity))
                        true = math.sqrt(max(0.0, 2 - 2 * float(positives[b, n])))
                        if not near < true + margin:
                            continue
                        order = (hash_numbers(seed, b, n, y * width + x), 0, 0)
                    else:
                        order = (-similarity, y, x)
                    candidates.append((order, x, y))
            picked: list[tuple[int, int]] = []
            for _, x, y in sorted(candidates):
                if len(picked) < k and all(
                    (x - px) ** 2 + (y - py) ** 2 > radius**2 for px, py in picked
                ):
                    picked.append((x, y))
            of_batch.append(picked + [(-1, -1)] * (k - len(picked)))
        result.append(of_batch)
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("interval", "start", "budget"), [(1, (0, 0), 1 << 28), (3, (2, 1), 1 << 28), (1, (0, 0), 1)]
)
def test_mined_cells_are_those_of_a_loop_over_all_cells(
    kind: MiningKind, interval: int, start: tuple[int, int], budget: int
):
    maps = unit(2, 6, 9, 11, dim=1, seed=0)
    queries = unit(2, 7, 6, dim=2, seed=1)
    truth = torch.rand(2, 7, 2, generator=torch.Generator().manual_seed(2)) * 14 - 2
    positives = torch.linspace(0.2, 0.9, 14).view(2, 7)
    k = 4 if kind.startswith("k-") else 1
    found = mine(
        maps, queries, truth, kind=kind, k=k, margin=0.2, positives=positives,
        interval=interval, start=start, budget_bytes=budget,
    )  # fmt: skip
    expected = loop(
        maps, queries, truth, radius=2.0, kind=kind, k=k, margin=0.2, positives=positives, seed=7,
        interval=interval, start=start,
    )  # fmt: skip
    assert found.cells.dtype == torch.int32
    np.testing.assert_array_equal(found.cells.numpy(), np.array(expected))
    for b, n, place in np.ndindex(*found.similarity.shape):
        x, y = found.cells[b, n, place].tolist()
        if x < 0:
            assert found.similarity[b, n, place] == -torch.inf
        else:
            expected_value = float(queries[b, n] @ maps[b, :, y, x])
            assert float(found.similarity[b, n, place]) == pytest.approx(expected_value, abs=1e-6)


def test_ties_go_to_the_lowest_row_then_the_lowest_column():
    maps = unit(1, 4, 1, 1, dim=1, seed=3).expand(1, 4, 5, 6)
    queries = maps[0, :, 0, 0][None, None]
    for truth, expected in (((3.0, 2.0), (0, 0)), ((0.0, 0.0), (2, 0)), ((2.0, 0.0), (0, 0))):
        found = mine(maps, queries, torch.tensor([[truth]]), radius_cells=1.0)
        assert tuple(found.cells[0, 0, 0].tolist()) == expected


@pytest.mark.parametrize("radius", [0.4, 2.0, 7.5])
@pytest.mark.parametrize("budget", [1, 1 << 16, 1 << 28])
def test_the_best_of_a_large_map_are_those_of_a_plain_search(radius: float, budget: int):
    """Of small whole numbers, whose products are exact, so that many cells are equally good."""
    draw = torch.Generator().manual_seed(20)
    maps = torch.randint(-3, 4, (2, 5, 24, 32), generator=draw).float()
    queries = torch.randint(-3, 4, (2, 40, 5), generator=draw).float()
    truth = torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(21)) * 40 - 4
    found = mine(maps, queries, truth, radius_cells=radius, budget_bytes=budget)
    ys, xs = torch.meshgrid(torch.arange(24), torch.arange(32), indexing="ij")
    across, down = xs.flatten() - truth[..., :1], ys.flatten() - truth[..., 1:]
    similarity = torch.einsum("bnd,bdm->bnm", queries, maps.flatten(2))
    similarity.masked_fill_(across.square() + down.square() <= radius**2, -torch.inf)
    best, place = similarity.max(dim=2)
    expected = torch.stack([place % 32, place // 32], dim=-1).int()
    assert torch.equal(found.cells[:, :, 0], expected)
    assert torch.equal(found.similarity[:, :, 0], best)


def test_a_cell_at_the_radius_exactly_is_no_candidate():
    maps = torch.zeros(1, 2, 1, 8)
    maps[0, 0] = torch.arange(8.0, 0.0, -1.0) / 8  # the nearer to the left, the more similar
    queries = torch.tensor([[[1.0, 0.0]]])
    for radius, column in ((2.0, 3), (1.99, 2), (0.0, 1)):
        found = mine(maps, queries, torch.zeros(1, 1, 2), radius_cells=radius)
        assert found.cells[0, 0, 0].tolist() == [column, 0]


def test_where_every_cell_is_too_near_there_is_none():
    maps, queries = unit(1, 4, 3, 3, dim=1, seed=4), unit(1, 2, 4, dim=2, seed=5)
    for kind in KINDS:
        k = 2 if kind.startswith("k-") else 1
        found = mine(
            maps, queries, torch.ones(1, 2, 2), radius_cells=5.0, kind=kind, k=k,
            positives=torch.zeros(1, 2),
        )  # fmt: skip
        assert not found.found.any()
        assert (found.cells == -1).all()
        assert (found.similarity == -torch.inf).all()


def test_no_query_and_no_cell_give_no_negative():
    assert mine(torch.ones(2, 3, 4, 4), torch.ones(2, 0, 3), torch.ones(2, 0, 2)).cells.shape == (
        2, 0, 1, 2,
    )  # fmt: skip
    found = mine(torch.ones(1, 3, 4, 4), torch.ones(1, 2, 3), torch.ones(1, 2, 2), start=(9, 9))
    assert not found.found.any()


def test_what_is_not_finite_is_never_mined():
    maps, queries = unit(1, 4, 4, 5, dim=1, seed=6), unit(1, 3, 4, dim=2, seed=7)
    truth = torch.zeros(1, 3, 2)
    first = mine(maps, queries, truth).cells[0, 0, 0].tolist()
    maps[0, :, first[1], first[0]] = torch.nan
    queries[0, 1] = torch.nan
    truth[0, 2] = torch.inf
    found = mine(maps, queries, truth)
    assert found.found[0, :, 0].tolist() == [True, False, False]
    assert found.cells[0, 0, 0].tolist() != first
    assert torch.isfinite(found.similarity[0, 0]).all()


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_one_place_that_is_not_finite_spares_the_other_queries(broken: float):
    maps, queries = unit(1, 4, 6, 6, dim=1, seed=23), unit(1, 3, 4, dim=2, seed=24)
    truth = torch.full((1, 3, 2), 2.0)
    whole = mine(maps, queries, truth)
    truth[0, 1, 0] = broken
    found = mine(maps, queries, truth)
    assert found.found[0, :, 0].tolist() == [True, False, True]
    assert torch.equal(found.cells[0, ::2], whole.cells[0, ::2])


def test_a_semi_hard_draw_changes_with_seed_pair_and_query_and_nothing_else():
    maps = unit(1, 4, 12, 12, dim=1, seed=8)
    queries = unit(1, 1, 4, dim=2, seed=9).expand(1, 20, 4)
    truth = torch.full((1, 20, 2), -50.0)
    settings = {"kind": "semi-hard", "positives": torch.zeros(1, 20)}
    drawn = mine(maps, queries, truth, **settings).cells
    assert torch.equal(drawn, mine(maps, queries, truth, **settings, budget_bytes=1).cells)
    assert not torch.equal(drawn, mine(maps, queries, truth, **{**settings, "seed": 8}).cells)
    assert not torch.equal(drawn, mine(maps, queries, truth, **settings, pairs=[1]).cells)
    assert len(set(map(tuple, drawn[0, :, 0].tolist()))) > 10  # equal queries, other draws


def test_more_than_one_negative_is_refused_unless_the_kind_says_k():
    with pytest.raises(ValueError, match="one negative"):
        mine(torch.ones(1, 2, 3, 3), torch.ones(1, 1, 2), torch.ones(1, 1, 2), k=2)
    with pytest.raises(ValueError, match="similarities"):
        mine(torch.ones(1, 2, 3, 3), torch.ones(1, 1, 2), torch.ones(1, 1, 2), kind="semi-hard")
