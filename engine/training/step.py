"""One step: from a batch of pairs to a loss.  A plain function of what it is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.data.synthetic import TrainingPairs
from engine.descriptors.base import DescriptorMap, Levels
from engine.geometry.sampling import sample_map
from engine.mining.hard_negatives import find_hard_negatives
from engine.seeding import hash_numbers, purpose_number
from engine.training.losses import (
    contrastive_loss,
    dual_softmax_loss,
    masked_mean,
    pair_distances,
)
from engine.training.settings import LossSettings, MiningSettings


@dataclass(frozen=True, slots=True, eq=False)
class StepLoss:
    """What a batch came to.

    Attributes:
        loss: scalar with its graph, the mean over pairs.
        figures: further ``()`` means over pairs, without graph.
    """

    loss: Tensor
    figures: dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class _Mined:
    """Negatives of one direction: ``(B, N, k)`` similarities with their graph, and which exist."""

    distances: Tensor
    similarity: Tensor
    found: Tensor


def pair_loss(
    levels: Levels,
    pairs: TrainingPairs,
    *,
    loss: LossSettings,
    mining: MiningSettings,
    seed: int,
    step: int,
    first_pair: int,
) -> StepLoss:
    """The loss of a batch.

    Args:
        levels: maps of the images a followed by the images b, ``(2 B, D, H', W')`` each.
        pairs: the batch of B.
        loss: which loss.
        mining: which negatives.
        seed: of the run.
        step: counted from 0; with the seed it decides what mining draws.
        first_pair: the number of the first of these pairs in the whole batch of the step.
    """
    chosen = levels if loss.levels == "all" else levels[:1]
    found = [
        _level_loss(level, pairs, loss, mining, seed=seed, step=step, first_pair=first_pair)
        for level in chosen
    ]
    figures = {
        name: torch.stack([one.figures[name] for one in found]).mean() for name in found[0].figures
    }
    return StepLoss(torch.stack([one.loss for one in found]).mean(), figures)


def _level_loss(
    level: DescriptorMap,
    pairs: TrainingPairs,
    loss: LossSettings,
    mining: MiningSettings,
    *,
    seed: int,
    step: int,
    first_pair: int,
) -> StepLoss:
    count = len(pairs)
    # Not slices, whose gradients would each be filled up with zeros to the size of all.
    map_a, map_b = torch.split(level.values.float(), count)
    described_a = functional.normalize(sample_map(map_a, level.grid, pairs.points_a), dim=-1)
    described_b = functional.normalize(sample_map(map_b, level.grid, pairs.points_b), dim=-1)
    similarity = (described_a * described_b).sum(dim=-1)
    mined: tuple[_Mined, ...] = ()
    if mining.kind != "none":
        mined = tuple(
            _mine(
                level, map_, queries, points, similarity, pairs.seen, mining,
                seed=hash_numbers(seed, purpose_number(f"mining {direction}"), step),
                first_pair=first_pair,
            )
            for direction, map_, queries, points in (
                ("b", map_b, described_a, pairs.points_b),
                ("a", map_a, described_b, pairs.points_a),
            )
        )  # fmt: skip
    if loss.kind == "contrastive":
        value = contrastive_loss(
            described_a,
            described_b,
            pairs.seen,
            tuple(part.distances for part in mined),
            tuple(part.found for part in mined),
            margin=loss.margin,
        )
    else:
        value = dual_softmax_loss(
            described_a,
            described_b,
            pairs.points_a,
            pairs.points_b,
            pairs.seen,
            temperature=loss.temperature,
            ignored_px=loss.ignored_px,
            mined_a=mined[0].similarity if mined else None,
            mined_b=mined[1].similarity if mined else None,
        )
    with torch.no_grad():
        figures = {
            "distance": masked_mean(pair_distances(described_a, described_b), pairs.seen).mean(),
            "similarity": masked_mean(similarity, pairs.seen).mean(),
            "seen": pairs.seen.float().mean(),
        }
        if mined:
            figures["negative_similarity"] = masked_mean(
                torch.cat([part.similarity.flatten(1) for part in mined], dim=1),
                torch.cat([part.found.flatten(1) for part in mined], dim=1),
            ).mean()
    return StepLoss(value.mean(), figures)


def _mine(
    level: DescriptorMap,
    map_: Tensor,
    queries: Tensor,
    truth_px: Tensor,
    positives: Tensor,
    seen: Tensor,
    mining: MiningSettings,
    *,
    seed: int,
    first_pair: int,
) -> _Mined:
    """Mine one direction and read the negatives with their gradients."""
    assert mining.kind != "none"
    start = (0, 0)
    if mining.random_start:
        start = (
            hash_numbers(seed, 0) % mining.interval,
            hash_numbers(seed, 1) % mining.interval,
        )
    negatives = find_hard_negatives(
        map_.detach(),
        queries.detach(),
        level.grid.to_cells(truth_px),
        radius_cells=mining.radius_px / level.grid.stride_px,
        kind=mining.kind,
        k=mining.k if mining.kind.startswith("k-") else 1,
        margin=mining.margin,
        positives=positives.detach(),
        seed=seed,
        pairs=list(range(first_pair, first_pair + len(map_))),
        interval=mining.interval,
        start=start,
    )
    found = negatives.found & seen[..., None]
    batch = len(found)
    cells = negatives.cells.long().clamp_min(0)
    rows, columns = map_.shape[2:]
    places = cells[..., 1] * columns + cells[..., 0]
    places += torch.arange(batch, device=places.device).view(-1, 1, 1) * (rows * columns)
    # The numbers of a descriptor lie together, and so do those of its gradient, read like this.
    described = functional.embedding(places, map_.permute(0, 2, 3, 1).flatten(0, 2))
    similarity = (queries[:, :, None] * described).sum(dim=-1).masked_fill(~found, -torch.inf)
    return _Mined(pair_distances(queries[:, :, None], described), similarity, found)
