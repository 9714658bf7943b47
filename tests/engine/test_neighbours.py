"""Products of queries with a few cells, by whichever way they are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.matching.neighbours import Neighbours


def vectors_and_queries(dim: int = 24) -> tuple[torch.Tensor, NDArray[np.float32]]:
    generator = torch.Generator().manual_seed(4)
    vectors = torch.randn(30, 40, dim, generator=generator)
    return vectors, torch.randn(50, dim, generator=generator).numpy()


@pytest.mark.parametrize("count", [0, 1, 20, 900])
@pytest.mark.parametrize("edge", [1, 9, 100])
@pytest.mark.parametrize("sort", [True, False])
def test_products_are_those_of_each_query_with_its_own_cells(count, edge, sort) -> None:
    vectors, queries = vectors_and_queries()
    numbers = np.random.default_rng(5)
    asking = numbers.integers(0, len(queries), count)
    asking = np.sort(asking) if sort else asking
    cells = numbers.integers(0, 1200, (count, edge))  # of few cells some come twice
    found = Neighbours(vectors).products_with(queries, asking, cells)
    expected = (vectors.view(1200, -1).numpy()[cells] * queries[asking, None]).sum(axis=2)
    assert found.shape == (count, edge)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("lay_out", ["channels apart", "half precision", "a few cells"])
def test_maps_of_any_kind_have_products(lay_out: str) -> None:
    vectors, queries = vectors_and_queries()
    if lay_out == "channels apart":
        vectors = vectors.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    elif lay_out == "half precision":
        vectors = vectors.bfloat16()
    else:  # where all pairs are fewer than those that are asked for
        vectors = vectors[:3, :2].contiguous()
    total = vectors.shape[0] * vectors.shape[1]
    asking = np.arange(800) % len(queries)
    cells = np.random.default_rng(6).integers(0, total, (800, 9))
    found = Neighbours(vectors).products_with(queries, asking, cells)
    rows = vectors.float().reshape(total, -1).numpy()
    np.testing.assert_allclose(found, (rows[cells] * queries[asking, None]).sum(axis=2), atol=1e-4)


def test_nobody_is_told_that_sparse_tensors_may_change(recwarn: pytest.WarningsRecorder) -> None:
    vectors, queries = vectors_and_queries()
    cells = np.random.default_rng(7).integers(0, 1200, (len(queries), 100))
    Neighbours(vectors).products_with(queries, np.arange(len(queries)), cells)
    assert not recwarn.list
