"""How good a descriptor is by now, on pairs whose photos it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.data.photos import PhotoSplit
from engine.data.synthetic import TrainingPairs
from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.registry import DescriptorSpec
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.fingerprint import MeasuredDescriptor
from engine.evaluation.measure import EvaluatedDescriptor, measure_pairs
from engine.evaluation.pck import count_within, errors_px
from engine.evaluation.protocols import (
    SEARCH_BUDGET_BYTES,
    describe_points,
    grid_places,
)
from engine.evaluation.switches import Protocol
from engine.matching.nearest import nearest
from engine.metrics import PCK_THRESHOLDS_PX, pck_name
from engine.progress import CancelToken, JobContext
from engine.training.batches import PairNumbers, PhotoReader, pairs_of_photos
from engine.training.settings import TrainSettings

_GRID_PX: Final = 4
_AT_ONCE: Final = 4
# The same pairs in every run, whatever its seed, so that runs can be compared.
_SEED: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class ValidationPair:
    """One pair with its queries.

    Attributes:
        images: ``(2, 3, H, W)`` float32 in [0, 1], a and b.
        points_a: ``(N, 2)`` float64.
        truth_b: ``(N, 2)`` float64.
    """

    images: torch.Tensor
    points_a: NDArray[np.float64]
    truth_b: NDArray[np.float64]

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of both images."""
        return self.images.shape[3], self.images.shape[2]


def make_validation_pairs(
    split: PhotoSplit,
    settings: TrainSettings,
    *,
    cancel: CancelToken,
    device: torch.device,
) -> tuple[ValidationPair, ...]:
    """Make the pairs from photos that are kept apart; every photo once before any comes again.

    Raises:
        DatasetError: no photo can be read.
        JobCancelled: it was stopped.
    """
    reader = PhotoReader(
        split.root,
        split.validation,
        size_px=settings.photo_size_px,
        budget_bytes=0,
        warn=lambda _: None,  # opening the folder warns of them
    )
    numbers = PairNumbers(len(split.validation), _SEED, "validation")
    fewer = replace(settings, points=settings.validation.points)
    made: list[ValidationPair] = []
    for begin in range(0, settings.validation.pairs, _AT_ONCE):
        cancel.check()
        wanted = range(begin, min(begin + _AT_ONCE, settings.validation.pairs))
        pairs = pairs_of_photos(reader, numbers, wanted, fewer, device)
        made += [_one(pairs, place) for place in range(len(pairs))]
    return tuple(pair for pair in made if len(pair.points_a))


def measure(
    descriptor: DenseDescriptor,
    pairs: Sequence[ValidationPair],
    *,
    device: torch.device,
    cancel: CancelToken,
) -> dict[str, float]:
    """PCK of the protocol ``dense`` over pairs: names such as ``pck@3`` -> mean over pairs.

    Without any pair there are no figures.

    Raises:
        JobCancelled: it was stopped.
    """
    shares = []
    for pair in pairs:
        cancel.check()
        levels_a, levels_b = describe_pair(descriptor, pair, device)
        found = find_points(levels_a, levels_b, pair.points_a, pair.size_px, cancel=cancel)
        errors = errors_px(found, pair.truth_b)
        shares.append(np.array(count_within(errors, PCK_THRESHOLDS_PX)) / len(errors))
    if not shares:
        return {}
    means = np.mean(shares, axis=0)
    limits = zip(PCK_THRESHOLDS_PX, means, strict=True)
    return {pck_name(limit): float(mean) for limit, mean in limits}


def measure_sequences(
    descriptor: DenseDescriptor,
    spec: DescriptorSpec,
    folder: Path,
    *,
    device: torch.device,
    context: JobContext,
) -> dict[str, float]:
    """PCK of the protocol ``dense`` on sequences: names such as ``sequences pck@3``.

    Raises:
        DescSpaceError: the folder holds no sequences.
        JobCancelled: it was stopped.
    """
    protocol = Protocol(
        name="dense",
        thresholds_px=PCK_THRESHOLDS_PX,
        matcher="exact",
        queries=("harris",),
        query_limit=500,
        long_edge_px=640,
        grid_stride_px=_GRID_PX,
        seed=_SEED,
    )
    entry = MeasuredDescriptor(
        label="validation",
        name=spec.name,
        config={},
        weights_sha256=None,
        trained=descriptor.trained,
        levels=1,
        dim=descriptor.dim,
        matcher="exact",
        precision="float32",
    )
    measured = EvaluatedDescriptor(descriptor, entry)
    dataset = open_evaluation_set(str(folder), context=context)
    records = measure_pairs(
        dataset,
        protocol,
        [measured],
        device=device,
        strict=False,
        context=context,
    )
    shares: dict[float, list[float]] = {}
    for record in records:
        for row in record.rows:
            for limit, share in row.pck:
                shares.setdefault(limit, []).append(share)
    return {pck_name(px, sequences=True): float(np.mean(some)) for px, some in shares.items()}


@torch.inference_mode()
def describe_pair(
    descriptor: DenseDescriptor, pair: ValidationPair, device: torch.device
) -> tuple[Levels, Levels]:
    """The maps of both images, each a batch of one."""
    levels = descriptor.describe(pair.images.to(device))
    return (
        tuple(replace(level, values=level.values[:1]) for level in levels),
        tuple(replace(level, values=level.values[1:]) for level in levels),
    )


@torch.inference_mode()
def find_points(
    levels_a: Levels,
    levels_b: Levels,
    points_a: NDArray[np.float64],
    size_b_px: tuple[int, int],
    *,
    cancel: CancelToken,
) -> NDArray[np.float64]:
    """Where ``(N, 2)`` points of image a are found on the grid over image b, ``(N, 2)``."""
    places = grid_places(size_b_px, _GRID_PX)
    asked = describe_points(levels_a, points_a)
    offered = describe_points(levels_b, places)
    best = nearest(asked, list(offered), budget_bytes=SEARCH_BUDGET_BYTES, cancel=cancel)
    index = (best.index % len(places)).cpu().numpy()
    found: NDArray[np.float64] = places[index]
    return np.where((best.index >= 0).cpu().numpy()[:, None], found, np.nan)


def set_training_mode(module: nn.Module, *, training: bool, frozen_statistics: bool) -> None:
    """Switch a network between training and use.

    Args:
        module: the network.
        training: whether it is being trained.
        frozen_statistics: leave batch normalisation as in use, also while training.
    """
    module.train(training)
    if frozen_statistics:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()


def _one(pairs: TrainingPairs, place: int) -> ValidationPair:
    seen = pairs.seen[place].cpu().numpy()
    return ValidationPair(
        images=torch.stack([pairs.images_a[place], pairs.images_b[place]]).cpu(),
        points_a=pairs.points_a[place].cpu().numpy()[seen].astype(np.float64),
        truth_b=pairs.points_b[place].cpu().numpy()[seen].astype(np.float64),
    )
