"""Descriptors that are told the truth before they describe, for rows that are marked so.

The original's MSNetV2 reads how much larger each image shows a place from the true homography, at
test time too.  Such a row says what a perfect estimate of the scale would be worth, and nothing of
what a user meets: it is called an *oracle* wherever it stands.  It exists in evaluations alone,
where the truth is known; no registered descriptor does this, so no window and no match can.  And
it is measured apart: what measures all other descriptors has no way to tell them the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.compute import describe_image
from engine.descriptors.msnet import MSNetV2
from engine.errors import ConfigError
from engine.evaluation.datasets import EvaluationPair, EvaluationSequence
from engine.evaluation.measure import (
    EvaluatedDescriptor,
    measure_rows,
    read_working_image,
)
from engine.evaluation.protocols import (
    WorkingImage,
    draw_queries,
    query_pool,
    resize_homography,
)
from engine.evaluation.result import Json, PairRow, Timing
from engine.evaluation.run_folder import PairRecord
from engine.evaluation.switches import Protocol, QueryKind
from engine.geometry.homography import local_scale
from engine.progress import CancelToken, Event, JobContext, ignore_event
from engine.vocabulary import Precision

MARK: Final = "oracle"
"""What stands behind such a descriptor's label, and the name of the field in the fingerprint."""

ScaleMap = NDArray[np.float32]


class _KnowingV2:
    """MSNetV2 for one image whose scales are known.

    Args:
        descriptor: the descriptor.
        scale: ``(H, W)`` how much larger the image shows each pixel's place than the other image.
    """

    dim = MSNetV2.dim
    shift_period_px = MSNetV2.shift_period_px
    half_precision = MSNetV2.half_precision

    def __init__(self, descriptor: MSNetV2, scale: ScaleMap) -> None:
        self.trained = descriptor.trained
        self.module: nn.Module = descriptor.network
        self._descriptor = descriptor
        self._scale = torch.from_numpy(scale)[None]

    def describe(self, images: Tensor) -> Levels:
        """Describe the image that the scales belong to, as a batch of one."""
        return self._descriptor.describe(images, self._scale.to(images.device))


def check_oracle(name: str, descriptor: DenseDescriptor) -> None:
    """Refuse a descriptor that could not use what an oracle is told.

    Raises:
        ConfigError: it is not MSNetV2.
    """
    if not isinstance(descriptor, MSNetV2):
        raise ConfigError("descriptor", f"{name!r} has no use for true scales; only msnet_v2 has")


def mark_oracles(fingerprint: Json, labels: Sequence[str]) -> Json:
    """The fingerprint, saying which descriptors were told the truth."""
    marked = [
        {**one, MARK: True} if one["label"] in labels else one for one in fingerprint["descriptors"]
    ]
    return {**fingerprint, "descriptors": marked}


def add_oracles(
    records: Iterable[PairRecord],
    sequences: Sequence[EvaluationSequence],
    protocol: Protocol,
    oracles: Sequence[EvaluatedDescriptor],
    *,
    device: torch.device,
    context: JobContext,
) -> Iterator[PairRecord]:
    """Measure descriptors that know the true scales, on pairs that others were measured on.

    Args:
        records: of :func:`~engine.evaluation.measure.measure_pairs`, for these sequences.
        sequences: what is measured.
        protocol: how.
        oracles: each passed :func:`check_oracle`; there may be none.
        device: where to compute.
        context: told what a person should know, and checked for cancelling.

    Yields:
        Each record, with the oracles' rows and times behind its own.

    Raises:
        DescSpaceError: a descriptor or the device failed.
        JobCancelled: ``context.cancel`` was raised.
    """
    pairs = [one for sequence in sequences for one in sequence.pairs]
    task: _PairTask | None = None
    for record, one in zip(records, pairs, strict=True):
        kinds = [
            kind
            for kind in protocol.queries
            if not {kind, None} & {entry.queries for entry in record.left_out}
        ]
        for oracle in oracles if kinds else ():
            if task is None or task.one != one:
                first = task.first if task and task.one.pair.path_a == one.pair.path_a else None
                task = _PairTask(
                    one, first or read_working_image(one.pair.path_a, None, protocol), protocol
                )
            rows, timing = task.measure(oracle, kinds, device, context)
            record = replace(record, rows=(*record.rows, *rows), timings=(*record.timings, timing))
        yield record


def true_scales(
    h_b_from_a: NDArray[Any], size_a_px: tuple[int, int], size_b_px: tuple[int, int]
) -> tuple[ScaleMap, ScaleMap]:
    """How much larger either image shows each of its pixels' places than the other does.

    Args:
        h_b_from_a: ``(3, 3)`` between the images as they are described.
        size_a_px: (width, height) of image a.
        size_b_px: (width, height) of image b.

    Returns:
        ``(H, W)`` of image a, and of image b; 1 where a place has no image in the other.
    """
    h_a_from_b = np.linalg.inv(h_b_from_a)
    return _scales(h_b_from_a, size_a_px), _scales(h_a_from_b, size_b_px)


def describe_knowing(
    descriptor: DenseDescriptor,
    pixels: tuple[NDArray[np.float32], NDArray[np.float32]],
    h_b_from_a: NDArray[Any],
    *,
    device: str,
    precision: Precision,
    cancel: CancelToken | None = None,
    emit: Callable[[Event], None] = ignore_event,
) -> tuple[Levels, Levels]:
    """Describe both images of a pair, telling the descriptor the true scales.

    Args:
        descriptor: passed :func:`check_oracle`.
        pixels: both images, ``(H, W, 3)`` RGB in [0, 1].
        h_b_from_a: ``(3, 3)`` between them.
        device: torch device name or "auto".
        precision: arithmetic.
        cancel: see :func:`~engine.descriptors.compute.describe_image`.
        emit: told each note.

    Raises:
        DeviceError, DescSpaceError, JobCancelled: as ``describe_image``.
    """
    assert isinstance(descriptor, MSNetV2), "check_oracle refuses others"
    (height_a, width_a), (height_b, width_b) = (image.shape[:2] for image in pixels)
    scales = true_scales(h_b_from_a, (width_a, height_a), (width_b, height_b))
    levels_a, levels_b = (
        describe_image(
            _KnowingV2(descriptor, scale),
            image,
            device=device,
            precision=precision,
            cancel=cancel,
            emit=emit,
        )[0]
        for image, scale in zip(pixels, scales, strict=True)
    )
    return levels_a, levels_b


@dataclass(slots=True, eq=False)
class _PairTask:
    """One pair, whose second image is read when it is needed."""

    one: EvaluationPair
    first: WorkingImage
    protocol: Protocol
    second: WorkingImage | None = None

    def measure(
        self,
        oracle: EvaluatedDescriptor,
        kinds: Sequence[QueryKind],
        device: torch.device,
        context: JobContext,
    ) -> tuple[list[PairRow], Timing]:
        """The rows of one descriptor, by the protocol's own queries."""
        context.cancel.check()
        pair = self.one.pair
        if self.second is None:
            self.second = read_working_image(pair.path_b, self.one.stress, self.protocol)
        h_b_from_a = resize_homography(
            self.protocol,
            self.first.resize,
            self.second.resize,
            self.one.h_b_from_a(self.second.resize.from_size_px),
        )
        start_s = time.perf_counter()
        levels_a, levels_b = describe_knowing(
            oracle.descriptor,
            (self.first.pixels, self.second.pixels),
            h_b_from_a,
            device=str(device),
            precision=oracle.precision,
            cancel=context.cancel,
            emit=context.emit,
        )
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # or its time would count as matching
        described_s = time.perf_counter()
        lists = {
            kind: draw_queries(
                self.protocol,
                query_pool(self.first, kind),
                h_b_from_a,
                self.second.size_px,
                sequence=pair.sequence,
                index=pair.index,
                kind=kind,
            )
            for kind in kinds
        }
        rows = measure_rows(
            oracle,
            levels_a,
            levels_b,
            lists,
            pair=pair,
            size_b_px=self.second.size_px,
            protocol=self.protocol,
            cancel=context.cancel,
        )
        ended_s = time.perf_counter()
        return rows, Timing(oracle.label, 2, described_s - start_s, 1, ended_s - described_s)


def _scales(h_other_from_this: NDArray[Any], size_px: tuple[int, int]) -> ScaleMap:
    width, height = size_px
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    growth = local_scale(h_other_from_this, np.stack([xs, ys], axis=-1))
    with np.errstate(divide="ignore"):
        scales = np.where(growth > 0, 1.0 / growth, np.nan)
    return np.nan_to_num(scales, nan=1.0, posinf=1.0).astype(np.float32)
