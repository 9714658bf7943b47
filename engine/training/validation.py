"""How good a descriptor is by now, on pairs whose photos it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from engine.data.photos import PhotoSplit
from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.registry import DescriptorSpec
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.fingerprint import MeasuredDescriptor
from engine.evaluation.measure import EvaluatedDescriptor, measure_pairs
from engine.evaluation.points import PairPoints
from engine.evaluation.protocols import QueryPoints, match_points
from engine.evaluation.switches import Protocol
from engine.metrics import PCK_THRESHOLDS_PX, pck_name
from engine.progress import CancelToken, JobContext
from engine.training.batches import PairNumbers, PhotoReader, pairs_of_photos
from engine.training.settings import TrainSettings

_AT_ONCE: Final = 4
# The same pairs in every run, whatever its seed, so that runs can be compared.
_SEED: Final = 0
_PROTOCOL: Final = Protocol(
    name="dense",
    thresholds_px=PCK_THRESHOLDS_PX,
    matcher="exact",
    queries=("harris",),
    query_limit=500,
    long_edge_px=640,
    grid_stride_px=4,
    seed=_SEED,
)


@dataclass(frozen=True, slots=True, eq=False)
class ValidationPair:
    """One pair with its queries.

    Attributes:
        images: ``(2, 3, H, W)`` float32 in [0, 1], a and b.
        queries: in pixels of image a, with their true points in image b.
    """

    images: torch.Tensor
    queries: QueryPoints

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
        for place, seen in enumerate(pairs.seen):
            both = (pairs.images_a[place], pairs.images_b[place])
            points = (pairs.points_a[place][seen], pairs.points_b[place][seen])
            queries = QueryPoints(*(part.cpu().double().numpy() for part in points))
            made.append(ValidationPair(torch.stack(both).cpu(), queries))
    return tuple(pair for pair in made if len(pair.queries.query_px))


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
        found = match_pair(pair, describe_pair(descriptor, pair, device), cancel=cancel)
        shares.append([np.mean(found.errors_px <= limit) for limit in PCK_THRESHOLDS_PX])
    if not shares:
        return {}
    names = map(pck_name, PCK_THRESHOLDS_PX)
    return dict(zip(names, np.mean(shares, axis=0).tolist(), strict=True))


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
        dataset, _PROTOCOL, [measured], device=device, strict=False, context=context
    )
    rows = [row for record in records for row in record.rows]
    if not rows:
        return {}
    return {
        pck_name(limit, sequences=True): float(np.mean([row.share(limit) for row in rows]))
        for limit in PCK_THRESHOLDS_PX
    }


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


def match_pair(
    pair: ValidationPair, levels: tuple[Levels, Levels], *, cancel: CancelToken
) -> PairPoints:
    """Match a pair's queries over the whole image b, as the protocol ``dense`` does it."""
    return match_points(
        _PROTOCOL, *levels, pair.queries, pair.size_px, matcher="exact", cancel=cancel
    )


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
