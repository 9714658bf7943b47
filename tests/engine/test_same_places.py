"""Which cells may hold a query's very descriptor: the cheap test never drops one that does."""

import numpy as np
import pytest

from engine.matching.same_places import SAME, may_hold, zoom_in


def patches(random: np.random.Generator, count: int, dim: int, alike: float) -> np.ndarray:
    """``(N, 9, D)`` unit vectors, the more alike the larger ``alike``."""
    vectors = random.standard_normal((count, 9, dim)) + alike * random.standard_normal(
        (count, 1, dim)
    )
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


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
    assert may_hold(around, np.zeros((200, 9), bool), queries[:, None]).all()


def test_nearly_opposite_cells_between_which_little_is_left_are_kept() -> None:
    random = np.random.default_rng(5)
    around = patches(random, 100, 8, 0.0)
    around[:, 5] = -around[:, 4] + 0.02 * around[:, 5]
    around[:, 5] /= np.linalg.norm(around[:, 5], axis=-1, keepdims=True)
    queries = np.stack([read(one, 0.5, 0.0) for one in around])
    outside = np.zeros((100, 9), bool)
    _, similarity = zoom_in(around, outside, queries[:, None])
    held = may_hold(around, outside, queries[:, None])
    assert (similarity >= 1 - SAME).any()
    assert held[similarity >= 1 - SAME].all()


def test_other_queries_are_dropped_and_so_are_cells_outside_the_map() -> None:
    random = np.random.default_rng(1)
    around = patches(random, 100, 128, 0.0)
    others = patches(random, 100, 128, 0.0)[:, :2]
    inside = np.zeros((100, 9), bool)
    assert not may_hold(around, inside, others).any()
    queries = np.stack([read(one, 0.5, 0.0) for one in around])[:, None]
    outside = inside.copy()
    outside[:, (2, 5, 8)] = True
    assert may_hold(around, inside, queries).all()
    assert not may_hold(around, outside, queries).any()
