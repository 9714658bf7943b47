"""Vectors are brought to unit length alike, however their numbers lie in memory."""

from __future__ import annotations

import pytest
import torch

from engine.descriptors.tensors import unit_length


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_lengths_are_one_or_zero_in_every_layout(dim: int):
    values = 10.0 ** torch.linspace(-20, 6, 5 * 6 * 7).view(5, 6, 7)
    values[1, 2, 3] = -4.0
    values.select((dim + 1) % 3, 0).zero_()
    found = unit_length(values, dim=dim, smallest=1e-3)
    lengths = values.double().square().sum(dim=dim, keepdim=True).sqrt()
    expected = torch.where(lengths >= 1e-3, values / lengths, 0.0).float()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dim", [0, 1])
def test_the_gradient_is_finite_and_zero_at_a_zero_vector(dim: int):
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    values = (values if dim == 1 else values.T.contiguous()).requires_grad_()
    unit_length(values, dim=dim)[0, 0].backward()
    assert values.grad is not None
    gradient = values.grad if dim == 1 else values.grad.T
    torch.testing.assert_close(gradient, torch.tensor([[0.128, -0.096], [0.0, 0.0]]))
