"""Matches single pairs of a finished evaluation again, to show where its matches went.

A result keeps counts, not points.  Queries, sizes and matching are those of the protocol that the
result was made with, so the same points come out; where they do not, because files have changed
since, that is said instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.data.hpatches import natural_key
from engine.descriptors.compute import get_built
from engine.descriptors.pairing import PairImage, choose_for_pair
from engine.descriptors.registry import DescriptorSpec, make_spec
from engine.errors import DatasetError, DescSpaceError, WeightsError
from engine.evaluation.datasets import EvaluationPair, open_evaluation_set
from engine.evaluation.measure import read_working_image
from engine.evaluation.oracle import MARK, describe_knowing
from engine.evaluation.pck import errors_px
from engine.evaluation.protocols import (
    Points,
    Protocol,
    WorkingImage,
    draw_queries,
    match_points,
    query_pool,
    resize_homography,
)
from engine.evaluation.result import EvaluationResult, PairRow
from engine.evaluation.stress import STRESS_KINDS
from engine.progress import JobContext, Progress, Stage
from engine.vocabulary import Side

_SAME_WITHIN = 0.02  # another device rounds in another way, and few matches hang on that


@dataclass(frozen=True, slots=True, eq=False)
class Rematch:
    """What became of the queries of one row.

    Attributes:
        pair: the pair and its files.
        images: both as they were evaluated, ``(h, w, 3)`` float32 RGB in [0, 1].
        points_a: ``(N, 2)`` queries in pixels of the first.
        found_b: ``(N, 2)`` matches in pixels of the second; NaN where nothing was found.
        errors_px: ``(N,)`` how far they are off, in the same pixels.
        farthest_px: the query that is farthest off, in pixels of its file.
    """

    pair: EvaluationPair
    images: tuple[NDArray[np.float32], NDArray[np.float32]]
    points_a: Points
    found_b: Points
    errors_px: NDArray[np.float64]
    farthest_px: tuple[float, float]


def rematch_rows(
    result: EvaluationResult,
    rows: Sequence[PairRow],
    *,
    device: torch.device,
    dataset: Path | None,
    context: JobContext,
) -> dict[PairRow, Rematch | str]:
    """Match the pairs of some rows again.

    Args:
        result: what the rows are of.
        rows: some of its rows.
        device: where to compute.
        dataset: where the sequences lie now; None for where they lay.
        context: told how many are done, and checked for cancelling.

    Returns:
        For each row its matches, or a sentence that tells why there are none.

    Raises:
        JobCancelled: ``context.cancel`` was raised.
    """
    try:
        pairs = _open_pairs(result, dataset)
    except DescSpaceError as error:
        return dict.fromkeys(rows, str(error))
    protocol = protocol_of(result.fingerprint)
    kept = _Kept(protocol)
    found: dict[PairRow, Rematch | str] = {}
    # Rows of a sequence follow each other, so that its first image is read and described once.
    ordered = sorted(rows, key=lambda row: (natural_key(row.sequence), row.descriptor))
    for done, row in enumerate(ordered):
        context.cancel.check()
        context.emit(Progress(Stage.WORST_PAIRS, done, len(rows)))
        try:
            found[row] = _rematch(result, row, pairs, kept, device, context)
        except DescSpaceError as error:
            found[row] = str(error)
    context.emit(Progress(Stage.WORST_PAIRS, len(rows), len(rows)))
    return found


def protocol_of(fingerprint: Mapping[str, Any]) -> Protocol:
    """The protocol that a fingerprint names."""
    sampler = fingerprint["sampler"]
    return Protocol(
        name=fingerprint["protocol"],
        thresholds_px=tuple(fingerprint["thresholds_px"]),
        matcher=fingerprint["matcher"],
        queries=tuple(sampler["queries"]),
        query_limit=sampler["query_limit"],
        long_edge_px=sampler["long_edge_px"],
        grid_stride_px=sampler["grid_stride_px"] or 1,  # None where nothing is searched on a grid
        seed=fingerprint["seed"],
    )


def descriptor_of(result: EvaluationResult, label: str) -> dict[str, Any]:
    """A descriptor's part of the fingerprint."""
    found: dict[str, Any] = next(
        one for one in result.fingerprint["descriptors"] if one["label"] == label
    )
    return found


@dataclass(slots=True, eq=False)
class _Kept:
    """What the pairs of one sequence share; another sequence pushes it out."""

    protocol: Protocol
    specs: dict[str, DescriptorSpec] = field(default_factory=dict)
    path: Path | None = None
    image: WorkingImage | None = None
    described: dict[str, PairImage] = field(default_factory=dict)

    def first_image(self, path: Path) -> WorkingImage:
        if self.image is None or path != self.path:
            self.image = read_working_image(path, None, self.protocol)
            self.path = path
            self.described.clear()
        return self.image


def _rematch(
    result: EvaluationResult,
    row: PairRow,
    pairs: Mapping[tuple[str, int], EvaluationPair],
    kept: _Kept,
    device: torch.device,
    context: JobContext,
) -> Rematch:
    protocol, one = kept.protocol, pairs[row.sequence, row.index]
    image_a = kept.first_image(one.pair.path_a)
    image_b = read_working_image(one.pair.path_b, one.stress, protocol)
    h_b_from_a = resize_homography(
        protocol, image_a.resize, image_b.resize, one.h_b_from_a(image_b.resize.from_size_px)
    )
    queries = draw_queries(
        protocol,
        query_pool(image_a, row.queries),
        h_b_from_a,
        image_b.size_px,
        sequence=row.sequence,
        index=row.index,
        kind=row.queries,
    )
    entry = descriptor_of(result, row.descriptor)
    if row.descriptor not in kept.specs:
        kept.specs[row.descriptor] = _spec(result, entry)
    descriptor = get_built(kept.specs[row.descriptor])

    def start(image: WorkingImage, side: Side) -> PairImage:
        return PairImage(
            descriptor=descriptor,
            pixels=image.pixels,
            side=side,
            device=str(device),
            precision=entry["precision"],
        )

    if row.descriptor not in kept.described:
        kept.described[row.descriptor] = start(image_a, "a")
    if len(queries.points_a) != row.count:
        raise _changed(one)
    if entry.get(MARK):
        levels_a, levels_b = describe_knowing(
            descriptor,
            (image_a.pixels, image_b.pixels),
            h_b_from_a,
            device=str(device),
            precision=entry["precision"],
            cancel=context.cancel,
        )
    else:
        described_a, described_b = kept.described[row.descriptor], start(image_b, "b")
        choice = choose_for_pair(described_a, described_b, context.cancel)
        levels_a = described_a.levels(choice, context.cancel)
        levels_b = described_b.levels(choice, context.cancel)
    found_b = match_points(
        protocol,
        levels_a,
        levels_b,
        queries,
        image_b.size_px,
        matcher=entry["matcher"],
        cancel=context.cancel,
    )
    errors = errors_px(found_b, queries.truth_b)
    for threshold, share in row.pck:
        if abs(float(np.mean(errors <= threshold)) - share) > _SAME_WITHIN:
            raise _changed(one)
    farthest = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
    x, y = image_a.resize.backward(queries.points_a[farthest]).tolist()
    return Rematch(
        pair=one,
        images=(image_a.pixels, image_b.pixels),
        points_a=queries.points_a,
        found_b=found_b,
        errors_px=errors,
        farthest_px=(x, y),
    )


def _open_pairs(
    result: EvaluationResult, dataset: Path | None
) -> dict[tuple[str, int], EvaluationPair]:
    named = str(result.sources.get("dataset", "")).strip().partition(":")[0]
    root = dataset or Path(str(result.sources.get("root", "")))
    before = result.fingerprint["dataset"]
    found = open_evaluation_set(
        f"{named}:{root}" if named in STRESS_KINDS else str(root), which=before["subset"]
    )
    if found.pairs_sha256 != before["pairs_sha256"]:
        raise DatasetError(root, "no longer holds the pairs that were measured")
    return {(s.name, one.pair.index): one for s in found.sequences for one in s.pairs}


def _spec(result: EvaluationResult, entry: Mapping[str, Any]) -> DescriptorSpec:
    values = dict(entry["config"])
    place = result.sources.get("weights", {}).get(entry["label"])
    if entry["weights_sha256"] is not None:
        if place is None:  # those that come with the program; nobody had to name them
            place = getattr(get_built(make_spec(entry["name"], values)), "weights_path", None)
        path = Path(str(place))
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(path, f"cannot be read ({error.strerror})") from error
        if digest != entry["weights_sha256"]:
            raise WeightsError(path, "no longer holds the weights that were measured")
        values["weights"] = str(path)
    return make_spec(entry["name"], values)


def _changed(one: EvaluationPair) -> DatasetError:
    return DatasetError(
        one.pair.path_b, "matches in another way now: a file or the program has changed since"
    )
