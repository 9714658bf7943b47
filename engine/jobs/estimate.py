"""What an evaluation will take, told from one pair that is measured beforehand.  Loads torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.descriptors.pairing import describe_blank
from engine.devices import resolve_device
from engine.errors import DatasetError
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.measure import EvaluatedDescriptor, measure_pairs, prepare_descriptor
from engine.images import read_size
from engine.jobs.evaluate import DescriptorChoice, make_protocol
from engine.jobs.settings import EvaluateConfig
from engine.progress import Event, JobContext, Note

_PROBE_EDGE_PX: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an evaluation will take.

    Attributes:
        pairs: how many there are.
        images: how many pictures are read and described by each descriptor.
        seconds: for all of it, if every pair takes as long as the one that was measured.
        maps_bytes: memory for the maps that are held at once; what a network needs while it
            computes comes on top.
        measured: name of the pair that was measured.
        device: where.
    """

    pairs: int
    images: int
    seconds: float
    maps_bytes: int
    measured: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateJob:
    """Measure one pair in the middle of a data set; nothing is written.

    Attributes:
        config: the settings of the evaluation.
        choices: its descriptors.
        data_folder: where ``HPATCHES`` is looked for.
    """

    config: EvaluateConfig
    choices: Sequence[DescriptorChoice]
    data_folder: Path | None = None

    def run(self, context: JobContext) -> Estimate:
        """Measure.

        Raises:
            DescSpaceError: the evaluation could not run either.
            JobCancelled: it was stopped.
        """
        context = _without_notes(context)
        protocol = make_protocol(self.config)
        dataset = open_evaluation_set(
            self.config.dataset,
            which=self.config.subset,
            data_folder=self.data_folder,
            context=context,
        )
        device = resolve_device(self.config.device)
        descriptors = [
            prepare_descriptor(
                choice.label,
                choice.spec,
                protocol,
                device=device,
                precision=self.config.precision,
                context=context,
            )
            for choice in self.choices
        ]
        middle = dataset.sequences[len(dataset.sequences) // 2]
        sample = replace(middle, pairs=middle.pairs[:1])
        start_s = time.perf_counter()
        (record,) = measure_pairs(
            [sample], protocol, descriptors, device=device, strict=False, context=context
        )
        wall_s = time.perf_counter() - start_s
        pair = sample.pairs[0].pair
        if not record.timings:
            raise DatasetError(pair.path_b.parent, f"{pair.name} cannot be measured")
        pairs = dataset.pair_count
        images = pairs + len(dataset.sequences)
        described_s = sum(one.describe_s / one.images for one in record.timings)
        matched_s = sum(one.match_s for one in record.timings)
        # Reading and drawing queries happen once a pair, beside the descriptors.
        rest_s = max(0.0, wall_s - 2 * described_s - matched_s)
        shares = _bytes_per_pixel(descriptors, str(device), context)
        width, height = read_size(pair.path_b)
        edge = self.config.long_edge_px
        pixels = edge * edge * min(width, height) / max(width, height)
        return Estimate(
            pairs=pairs,
            images=images,
            seconds=images * described_s + pairs * (matched_s + rest_s),
            maps_bytes=round(pixels * (sum(shares) + max(shares))),
            measured=pair.name,
            device=device.type,
        )


def _bytes_per_pixel(
    descriptors: Sequence[EvaluatedDescriptor], device: str, context: JobContext
) -> list[float]:
    """What the maps of each descriptor take, from a small blank image."""
    shares = []
    for one in descriptors:
        levels = describe_blank(
            one.descriptor,
            _PROBE_EDGE_PX,
            device=device,
            precision=one.precision,
            cancel=context.cancel,
        )
        size = sum(level.values.element_size() * level.values.nelement() for level in levels)
        shares.append(size / _PROBE_EDGE_PX**2)
    return shares


def _without_notes(context: JobContext) -> JobContext:
    """The same context; what the run itself will say is not said twice."""

    def emit(event: Event) -> None:
        if not isinstance(event, Note):
            context.emit(event)

    return replace(context, emit=emit)
