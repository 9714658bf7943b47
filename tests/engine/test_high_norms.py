"""Cells that are far longer than the others are marked, and no others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.descriptors.high_norms import cell_norms, high_norm_cells, high_norm_threshold


def norms_of(sigma: float, *, count: int = 4, scale: float = 50.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return scale * (sigma * torch.randn(count, 37, 37, generator=generator)).exp()


def test_norms_are_the_lengths_of_features() -> None:
    features = torch.zeros(2, 3, 2, 2)
    features[0, :, 0, 1] = torch.tensor([2.0, 3.0, 6.0])
    features[1, 2, 1, 0] = -5.0
    assert cell_norms(features).tolist() == [[[0, 7], [0, 0]], [[0, 0], [5, 0]]]
    assert cell_norms(features.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.1, 0.3])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 500.0])
def test_no_cell_is_marked_where_all_are_of_a_kind(sigma: float, scale: float) -> None:
    assert not bool(high_norm_cells(norms_of(sigma, scale=scale)).any())


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("times", [3.0, 10.0])
def test_exactly_the_planted_cells_are_marked(sigma: float, times: float) -> None:
    norms = norms_of(sigma)
    planted = torch.rand(norms.shape, generator=torch.Generator().manual_seed(6)) < 0.02
    planted[3] = False  # one image has none, and is not measured by the others
    norms[planted] *= times
    norms[0] *= 20
    assert planted.sum() > 50
    assert torch.equal(high_norm_cells(norms), planted)


def test_a_cell_of_twice_the_length_is_marked_only_beyond_five_deviations() -> None:
    norms = norms_of(0.3, count=1)
    norms[0, 0, 0] = norms.median() * 3.0  # 3.7 deviations
    norms[0, 0, 1] = norms.median() * 6.0  # 6.0 deviations
    found = high_norm_cells(norms)
    assert found.nonzero().tolist() == [[0, 0, 1]]


def test_lengths_that_hardly_differ_take_a_factor_of_two() -> None:
    norms = norms_of(0.001, count=1)
    norms[0, 3, 4], norms[0, 5, 6] = 95.0, 105.0
    assert high_norm_cells(norms).nonzero().tolist() == [[0, 5, 6]]
    assert float(high_norm_threshold(norms)[0]) == pytest.approx(100.0, rel=1e-3)


def test_empty_cells_do_not_count_and_an_empty_image_has_none() -> None:
    norms = torch.zeros(2, 10, 10)
    norms[0, :2] = 50.0
    norms[0, 0, 0] = 500.0
    found = high_norm_cells(norms)
    assert found.nonzero().tolist() == [[0, 0, 0]]
    assert high_norm_threshold(norms)[1] == float("inf")
