"""Unit length, and the largest of rows, however numbers lie in memory."""

from __future__ import annotations

import pytest
import torch

from engine.descriptors.tensors import (
    GROUP,
    largest_of_rows,
    lengths_across,
    made_unit_length,
    unit_length,
)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_lengths_are_one_or_zero_in_every_layout(dim: int):
    values = 10.0 ** torch.linspace(-20, 6, 5 * 6 * 7).view(5, 6, 7)
    values[1, 2, 3] = -4.0
    values.select((dim + 1) % 3, 0).zero_()
    found = unit_length(values, dim=dim, smallest=1e-3)
    lengths = values.double().square().sum(dim=dim, keepdim=True).sqrt()
    expected = torch.where(lengths >= 1e-3, values / lengths, 0.0).float()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_lengths_across_channels_are_those_of_vectors_in_every_layout(layout: torch.memory_format):
    values = torch.randn(2, 37, 5, 6, generator=torch.Generator().manual_seed(0))
    values[1, :, 2, 3] = 0
    values[0, 7, 1, 1], values[0, 9, 4, 4] = torch.inf, torch.nan
    found = lengths_across(values.to(memory_format=layout))
    expected = values.double().square().sum(dim=1).sqrt().float()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0, equal_nan=True)
    assert found[1, 2, 3] == 0


@pytest.mark.parametrize("dim", [0, 1])
def test_the_gradient_is_finite_and_zero_at_a_zero_vector(dim: int):
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    values = (values if dim == 1 else values.T.contiguous()).requires_grad_()
    unit_length(values, dim=dim)[0, 0].backward()
    assert values.grad is not None
    gradient = values.grad if dim == 1 else values.grad.T
    torch.testing.assert_close(gradient, torch.tensor([[0.128, -0.096], [0.0, 0.0]]))


@pytest.mark.parametrize("dim", [0, 1])
def test_values_that_nothing_else_holds_are_overwritten_with_the_same(dim: int):
    values = torch.randn(9, 9, generator=torch.manual_seed(1))
    values.select(1 - dim, 3).zero_()
    expected = unit_length(values, dim=dim)
    found = made_unit_length(values, dim=dim)
    assert found.data_ptr() == values.data_ptr()
    assert torch.equal(found, expected)


def test_values_that_learn_are_left_as_they_are():
    values = torch.randn(4, 8, generator=torch.manual_seed(1)).requires_grad_()
    before = values.detach().clone()
    (made_unit_length(2 * values)[:, 0].sum()).backward()
    found = values.grad
    values.grad = None
    (unit_length(2 * values)[:, 0].sum()).backward()
    assert found is not None
    assert torch.equal(found, values.grad)
    assert torch.equal(values, before)


@pytest.mark.parametrize("columns", [1, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP, 4 * GROUP + 17])
@pytest.mark.parametrize("levels", [3, 1000])
def test_the_largest_of_rows_is_the_first_one(columns: int, levels: int):
    """Few different values make ties, also between whole groups and what follows them."""
    values = torch.randint(levels, (200, columns), generator=torch.manual_seed(2)).float()
    best, place = largest_of_rows(values)
    assert torch.equal(best, values.amax(dim=1))
    assert torch.equal(place, values.argmax(dim=1))


@pytest.mark.parametrize("at", [(0,), (2 * GROUP + 3,), (5, 2 * GROUP + 3), (GROUP, GROUP + 1)])
def test_what_is_no_number_counts_as_the_largest(at: tuple[int, ...]):
    values = torch.rand(1, 2 * GROUP + 9, generator=torch.manual_seed(3))
    values[0, list(at)] = torch.nan
    best, place = largest_of_rows(values)
    assert best.isnan().all()
    assert place.tolist() == [at[0]]
