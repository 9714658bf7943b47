"""The losses against plain sums, and their gradients against differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.training.losses import contrastive_loss, dual_softmax_loss, masked_mean, pair_distances


@pytest.fixture
def described(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Descriptors of 2 pairs with 5 points each, float64, unit length."""
    raw = torch.randn(2, 2, 5, 4, generator=generator, dtype=torch.float64)
    a, b = functional.normalize(raw, dim=-1)
    return a, b


@pytest.fixture
def points(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, 2, 5, 2, generator=generator, dtype=torch.float64) * 20
    return a, b


SEEN = torch.tensor([[True, True, False, True, True], [True, False, True, True, False]])


def test_the_contrastive_loss_is_the_sum_that_its_definition_says(described):
    a, b = described
    distances = torch.tensor([0.1, 0.7, 0.3, 0.49, 0.5], dtype=torch.float64).repeat(2, 1)[
        ..., None
    ]
    found = torch.tensor([True, True, True, False, True]).repeat(2, 1)[..., None]
    loss = contrastive_loss(a, b, SEEN, (distances,), (found,), margin=0.5)
    for pair in range(2):
        true = [
            math.dist(a[pair, n].tolist(), b[pair, n].tolist()) for n in range(5) if SEEN[pair, n]
        ]
        # Of the found ones 0.1 and 0.3 are nearer than the margin; 0.5 is not.
        expected = sum(true) / len(true) + ((0.5 - 0.1) + (0.5 - 0.3)) / 2
        assert float(loss[pair]) == pytest.approx(expected)


def test_the_dual_softmax_is_the_sum_that_its_definition_says(described, points):
    a, b = described
    points_a, points_b = points
    mined_a = torch.full((2, 5, 1), 0.3, dtype=torch.float64)
    mined_a[0, 0] = -torch.inf
    loss = dual_softmax_loss(
        a, b, points_a, points_b, SEEN, temperature=0.2, ignored_px=8.0, mined_a=mined_a
    )
    for pair in range(2):
        terms = []
        for n in range(5):
            if not SEEN[pair, n]:
                continue
            for queries, answers, places, mined in (
                (a, b, points_b, float(mined_a[pair, n, 0])),
                (b, a, points_a, -math.inf),
            ):
                weights = {
                    m: math.exp(float(queries[pair, n] @ answers[pair, m]) / 0.2)
                    for m in range(5)
                    if m == n
                    or (
                        bool(SEEN[pair, m])
                        and math.dist(places[pair, n].tolist(), places[pair, m].tolist()) > 8.0
                    )
                }
                below = sum(weights.values()) + math.exp(mined / 0.2)
                terms.append(-math.log(weights[n] / below))
        assert float(loss[pair]) == pytest.approx(sum(terms) / len(terms))


def test_the_gradients_are_those_of_small_differences(described, points):
    a, b = (part.clone().requires_grad_() for part in described)
    points_a, points_b = points
    mined = torch.tensor(0.2, dtype=torch.float64).repeat(2, 5, 3)

    def dual(a: Tensor, b: Tensor) -> Tensor:
        return dual_softmax_loss(
            a, b, points_a, points_b, SEEN, temperature=0.3, ignored_px=6.0,
            mined_a=mined, mined_b=mined,
        )  # fmt: skip

    def contrastive(a: Tensor, b: Tensor) -> Tensor:
        negatives = pair_distances(a[:, :, None], b.roll(1, 1)[:, :, None])
        # Far from the margin for every negative, where the loss has a corner.
        return contrastive_loss(
            a, b, SEEN, (negatives,), (torch.ones_like(negatives) > 0,), margin=3.0
        )

    assert torch.autograd.gradcheck(dual, (a, b))
    assert torch.autograd.gradcheck(contrastive, (a, b))


def test_equal_descriptors_have_a_gradient_of_zero():
    a = functional.normalize(torch.ones(1, 2, 3), dim=-1).requires_grad_()
    pair_distances(a, a.detach().clone()).sum().backward()
    assert torch.equal(a.grad, torch.zeros_like(a))


def test_a_pair_without_points_has_no_loss_and_no_gradient(described, points):
    a, b = (part.clone().requires_grad_() for part in described)
    none = torch.zeros(2, 5, dtype=torch.bool)
    empty = torch.zeros(2, 5, 1, dtype=torch.float64)
    for loss in (
        dual_softmax_loss(a, b, *points, none, temperature=0.1, ignored_px=4.0),
        contrastive_loss(a, b, none, (empty,), (none[..., None],), margin=0.5),
    ):
        assert loss.tolist() == [0.0, 0.0]
        a.grad = b.grad = None
        loss.sum().backward()
        assert torch.isfinite(a.grad).all()
        assert not a.grad.any()


def test_the_loss_of_a_pair_does_not_depend_on_the_pairs_beside_it(described, points):
    a, b = described
    settings = {"temperature": 0.1, "ignored_px": 4.0}
    both = dual_softmax_loss(a, b, *points, SEEN, **settings)
    for pair in range(2):
        one = slice(pair, pair + 1)
        alone = dual_softmax_loss(
            a[one], b[one], points[0][one], points[1][one], SEEN[one], **settings
        )
        torch.testing.assert_close(alone, both[one])


def test_a_mean_over_nothing_is_zero():
    assert masked_mean(torch.full((1, 2), torch.nan), torch.zeros(1, 2) > 0).tolist() == [0.0]
