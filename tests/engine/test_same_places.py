"""Which cells may hold a query's very descriptor: the cheap test never drops one that does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.inspection import described
from engine.matching.neighbours import Neighbours
from engine.matching.same_places import SAME, LeastLengths, likely_cells, may_hold, zoom_in


def patches(random: np.random.Generator, count: int, dim: int, alike: float) -> np.ndarray:
    """``(N, 9, D)`` unit vectors, the more alike the larger ``alike``."""
    vectors = random.standard_normal((count, 9, dim)) + alike * random.standard_normal(
        (count, 1, dim)
    )
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def holding(around: np.ndarray, queries: np.ndarray, width: int = 3) -> np.ndarray:
    """What is told of sets ``(N, L, D)`` and the middles of ``(N, 9, D)`` patches.

    Args:
        width: of the map of each patch; further columns are outside it.
    """
    likes = np.vecdot(around[:, None], queries[:, :, None])
    told = []
    for patch, like in zip(around, likes, strict=True):
        of_map = Neighbours(torch.from_numpy(patch.reshape(3, 3, -1)[:, :width]))
        least = LeastLengths(of_map)()[[width + 1]]
        told.append(may_hold(of_map.products, np.array([[1, 1]]), like[None], least)[0])
    return np.array(told)


def read(patch: np.ndarray, x: float, y: float) -> np.ndarray:
    """A patch at a place up to a cell from its middle, of unit length."""
    shares = [
        max(0, 1 - abs(x - i)) * max(0, 1 - abs(y - j)) for j in (-1, 0, 1) for i in (-1, 0, 1)
    ]
    total = np.array(shares) @ patch.astype(np.float64)
    return (total / np.linalg.norm(total)).astype(np.float32)


@pytest.mark.parametrize("alike", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("dim", [3, 16, 128])
def test_no_place_of_a_query_is_dropped(alike: float, dim: int) -> None:
    random = np.random.default_rng(dim)
    around = patches(random, 200, dim, alike)
    around[::7, 4] = around[::7, 3]  # equal cells
    around[::11, 5] = 0  # a cell that holds nothing
    places = random.uniform(-1, 1, (200, 2))
    queries = np.stack([read(one, *place) for one, place in zip(around, places, strict=True)])
    assert holding(around, queries[:, None]).all()


def test_nearly_opposite_cells_between_which_little_is_left_are_kept() -> None:
    random = np.random.default_rng(5)
    around = patches(random, 100, 8, 0.0)
    around[:, 5] = -around[:, 4] + 0.02 * around[:, 5]
    around[:, 5] /= np.linalg.norm(around[:, 5], axis=-1, keepdims=True)
    queries = np.stack([read(one, 0.5, 0.0) for one in around])
    outside = np.zeros((100, 9), bool)
    _, similarity = zoom_in(around, outside, queries[:, None])
    held = holding(around, queries[:, None])
    assert (similarity >= 1 - SAME).any()
    assert held[similarity >= 1 - SAME].all()


@pytest.mark.parametrize("alike", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("nothing", [0.0, 0.3, 0.7])
def test_one_of_the_cells_around_a_place_is_looked_at_and_never_one_that_holds_nothing(
    alike: float, nothing: float
) -> None:
    random = np.random.default_rng(11)
    height, width, dim = 9, 11, 6
    cells = random.standard_normal((height, width, dim)) + alike * random.standard_normal(dim)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    cells[random.random((height, width)) < nothing] = 0
    vectors = torch.from_numpy(cells.astype(np.float32)).view(-1, dim)
    least = LeastLengths(Neighbours(vectors.view(height, width, dim)))()
    assert np.isinf(least[~vectors.any(dim=1).numpy()]).all()
    asked = 0
    for x, y in random.uniform((0, 0), (width - 1, height - 1), (400, 2)):
        left, top = int(x), int(y)
        around = [(top + i) * width + left + j for i in (0, 1) for j in (0, 1)]
        shares = [(1 - abs(x - left - j)) * (1 - abs(y - top - i)) for i in (0, 1) for j in (0, 1)]
        total = np.array(shares) @ vectors[around].double().numpy()
        length = np.linalg.norm(total)
        if length < 1e-6:
            continue
        asked += 1
        query = (total / length).astype(np.float32)
        _, likely = likely_cells((vectors.numpy() @ query)[None], least)
        assert set(likely) & set(around)
        assert vectors[likely].any(dim=1).all()
    assert asked > 200


@pytest.mark.parametrize("apart", [1e-2, 3e-3, 1e-3])
def test_between_cells_that_are_nearly_alike_others_that_are_a_little_different_are_dropped(
    apart: float,
) -> None:
    """Smooth maps are everywhere nearly what was asked for."""
    random = np.random.default_rng(8)
    around = patches(random, 300, 384, 20.0)
    queries = np.stack([read(one, *random.uniform(-1, 1, 2)) for one in around])
    beside = queries + apart * random.standard_normal(queries.shape)
    beside /= np.linalg.norm(beside, axis=-1, keepdims=True)
    assert holding(around, queries[:, None]).all()
    assert not holding(around, beside[:, None].astype(np.float32)).any()


def test_other_queries_are_dropped_and_so_are_cells_outside_the_map() -> None:
    random = np.random.default_rng(1)
    around = patches(random, 100, 128, 0.0)
    others = patches(random, 100, 128, 0.0)[:, :2]
    assert not holding(around, others).any()
    queries = np.stack([read(one, 0.5, 0.0) for one in around])[:, None]
    assert holding(around, queries).all()
    assert not holding(around, queries, width=2).any()


@pytest.mark.parametrize("dim", [16, 384])
def test_every_cell_of_a_map_is_told_by_its_own_neighbours(dim: int) -> None:
    """At the borders, too, and by a set of two of which one is somewhere else."""
    random = np.random.default_rng(3)
    height, width = 5, 6
    vectors = patches(random, 1, dim, 1.0)[0, 0] + random.standard_normal((height, width, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    of_map = Neighbours(torch.from_numpy(vectors))
    least = LeastLengths(of_map)()
    rows, columns = (one.ravel() for one in np.mgrid[:height, :width])
    cells = np.stack([columns, rows], axis=1)
    for shift in (np.array([0.4, 0.3]), np.array([-0.2, 0.6]), np.array([0.0, 0.0])):
        places = np.clip(cells + shift, 0, (width - 1, height - 1))
        left, top = np.minimum(places.astype(int), (width - 2, height - 2)).T
        share_x, share_y = (places - np.stack([left, top], axis=1)).T[..., None]
        queries = (
            (1 - share_y) * ((1 - share_x) * vectors[top, left] + share_x * vectors[top, left + 1])
            + share_y * (1 - share_x) * vectors[top + 1, left]
            + share_y * share_x * vectors[top + 1, left + 1]
        )
        queries /= np.linalg.norm(queries, axis=-1, keepdims=True)
        others = patches(random, len(queries), dim, 0.0)[:, 0]
        sets = np.stack([others, queries.astype(np.float32)], axis=1)
        near = np.clip(
            cells[:, None] + [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)],
            0, (width - 1, height - 1),
        )  # fmt: skip
        around = vectors[near[..., 1], near[..., 0]]
        likes = np.vecdot(around[:, None], sets[:, :, None])
        assert may_hold(of_map.products, cells, likes, least).all()
        assert not may_hold(of_map.products, cells, likes[:, :1], least).any()


@pytest.mark.parametrize("members", [1, 3])
def test_leaving_out_cells_that_ask_for_too_much_loses_none(
    members: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(described, "_ALIKE_AT_ONCE", 30)
    generator = np.random.default_rng(4)
    vectors = generator.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    sets = generator.normal(size=(60, members, 8)).astype(np.float32)
    sets /= np.linalg.norm(sets, axis=2, keepdims=True)
    sets[:4, 0] = vectors[:4]
    like = np.einsum("nld,md->nlm", sets, vectors).max(axis=1)
    for least in (
        generator.uniform(0.5, 1.0, 300).astype(np.float32),
        np.full(300, 0.6, np.float32),  # all cells are left for some and none for others
        np.full(300, 2.0, np.float32),
    ):
        level = SimpleNamespace(vectors=torch.from_numpy(vectors))
        found = described._likely_cells(level, sets, like.max(axis=1), least)
        expected = likely_cells(like, least)
        assert set(zip(*map(np.ndarray.tolist, found), strict=True)) == set(
            zip(*map(np.ndarray.tolist, expected), strict=True)
        )
