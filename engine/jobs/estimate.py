"""Time and memory of an evaluation, estimated from one measured pair.  Loads torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import DatasetError
from engine.evaluation.measure import DescriptorChoice, measure_pairs, shared_firsts
from engine.images import read_size
from engine.jobs.evaluate import prepare_evaluation
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext, Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an evaluation will take.

    Attributes:
        pairs: how many there are.
        groups: all groups of the set, or of the part of it, also those that were not chosen.
        images: how many pictures are read and described by each descriptor.
        seconds: for all of it, if every pair takes as long as the one that was measured.
        maps_bytes: memory for the maps that are held at once; what a network needs while it
            computes comes on top.
        measured: name of the pair that was measured.
        device: where.
    """

    pairs: int
    groups: tuple[str, ...]
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
        emit = context.emit  # what the run itself will say is not said twice
        context = replace(context, emit=lambda e: None if isinstance(e, Note) else emit(e))
        ready = prepare_evaluation(self.config, self.choices, self.data_folder, context)
        dataset = ready.dataset
        sample = dataset.groups[len(dataset.groups) // 2][:1]
        start_s = time.perf_counter()
        (record,) = measure_pairs(
            replace(dataset, groups=(sample,)),
            ready.protocol,
            ready.descriptors,
            device=ready.device,
            strict=False,
            context=context,
        )
        wall_s = time.perf_counter() - start_s
        pair = sample[0].pair
        if not record.timings:
            raise DatasetError(pair.path_b.parent, f"{pair.name} cannot be measured")
        pairs = dataset.pair_count
        images = pairs + shared_firsts(dataset)
        described_s = sum(one.describe_s / one.images for one in record.timings)
        matched_s = sum(one.match_s for one in record.timings)
        # Reading and drawing queries happen once a pair, beside the descriptors.
        rest_s = max(0.0, wall_s - 2 * described_s - matched_s)
        shares = [one.bytes_per_px for one in ready.descriptors]
        width, height = read_size(pair.path_b)
        edge = self.config.long_edge_px
        pixels = edge * edge * min(width, height) / max(width, height)
        return Estimate(
            pairs=pairs,
            groups=dataset.group_names,
            images=images,
            seconds=images * described_s + pairs * (matched_s + rest_s),
            maps_bytes=round(pixels * (sum(shares) + max(shares))),
            measured=pair.name,
            device=ready.device.type,
        )
