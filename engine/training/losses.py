"""What training makes small.

Every loss is a figure per pair, so that the mean over pairs is the same however the pairs are
spread over processes.  A pair without any usable point has the loss 0 and no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(
    described_a: Tensor,
    described_b: Tensor,
    seen: Tensor,
    negative_distances: tuple[Tensor, ...],
    negatives_found: tuple[Tensor, ...],
    *,
    margin: float,
) -> Tensor:
    """The original's loss: true pairs together, mined negatives apart by a margin.

    The mean distance of the true pairs, plus the mean of (margin − distance) over the mined
    negatives that are nearer than the margin.

    Args:
        described_a: ``(B, N, D)`` descriptors of unit length at points of images a.
        described_b: ``(B, N, D)`` at their true points.
        seen: ``(B, N)`` which points count.
        negative_distances: from each direction ``(B, N, k)`` distances of queries to negatives.
        negatives_found: likewise, True where there is one.
        margin: 0.5 in the original.

    Returns:
        ``(B,)``.
    """
    positive = masked_mean(pair_distances(described_a, described_b), seen)
    if not negative_distances:
        return positive
    distances = torch.cat([part.flatten(1) for part in negative_distances], dim=1)
    found = torch.cat([part.flatten(1) for part in negatives_found], dim=1)
    return positive + masked_mean(margin - distances, found & (distances < margin))


def dual_softmax_loss(
    described_a: Tensor,
    described_b: Tensor,
    points_a: Tensor,
    points_b: Tensor,
    seen: Tensor,
    *,
    temperature: float,
    ignored_px: float,
    mined_a: Tensor | None = None,
    mined_b: Tensor | None = None,
) -> Tensor:
    """InfoNCE (van den Oord et al., 2018) in both directions over all covisible points.

    Each point must find its counterpart among those of all points of the pair, and the other way
    round: −log of the product of the two softmaxes at the true pair, as in LoFTR (Sun et al., CVPR
    2021), halved.  Points whose true place is within a radius of the query's own are neither right
    nor wrong and are left out.

    Args:
        described_a: ``(B, N, D)`` descriptors of unit length at points of images a.
        described_b: ``(B, N, D)`` at their true points.
        points_a: ``(B, N, 2)`` pixels.
        points_b: ``(B, N, 2)`` pixels.
        seen: ``(B, N)`` which points count.
        temperature: similarities are divided by it.
        ignored_px: the radius; 0 leaves no other point out.
        mined_a: ``(B, N, k)`` similarities of points of a to mined negatives in b, -inf where there
            is none; further wrong answers for them.
        mined_b: likewise from b to a.

    Returns:
        ``(B,)``.
    """
    logits = described_a @ described_b.transpose(1, 2) / temperature
    found = [
        _log_chance(logits, _left_out(points_b, seen, ignored_px), mined_a, temperature),
        _log_chance(
            logits.transpose(1, 2), _left_out(points_a, seen, ignored_px), mined_b, temperature
        ),
    ]
    return masked_mean(-(found[0] + found[1]) / 2, seen)


def pair_distances(described_a: Tensor, described_b: Tensor) -> Tensor:
    """Euclidean distances along the last axis; the gradient at distance 0 is 0, not NaN."""
    distances: Tensor = torch.linalg.vector_norm(described_a - described_b, dim=-1)
    return distances


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``(B, M)`` values where the mask is True: ``(B,)``; 0 where it never is."""
    total = torch.where(mask, values, 0.0).sum(dim=1)
    return total / mask.sum(dim=1).clamp_min(1)


def _left_out(points_px: Tensor, seen: Tensor, ignored_px: float) -> Tensor:
    """``(B, N, N)`` which answers (columns) do not count for which queries (rows)."""
    squared = (points_px[:, :, None] - points_px[:, None]).square().sum(dim=-1)
    near = (squared <= ignored_px**2) & (ignored_px > 0)
    itself = torch.eye(points_px.shape[1], dtype=torch.bool, device=points_px.device)
    # A query that is itself unseen keeps its own answer, so that no row is empty.
    return (near | ~seen[:, None]) & ~itself


def _log_chance(
    logits: Tensor, left_out: Tensor, mined: Tensor | None, temperature: float
) -> Tensor:
    """``(B, N)`` logarithm of each row's softmax at its own column."""
    rows = logits.masked_fill(left_out, -torch.inf)
    if mined is not None:
        rows = torch.cat([rows, mined / temperature], dim=2)
    own = functional.log_softmax(rows, dim=2)
    return own.diagonal(dim1=1, dim2=2)
