"""Measures pairs one after the other; only one sequence is in memory at a time."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import cv2
import torch

import engine
from engine.data.pairs import ImagePair
from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.compute import get_built
from engine.descriptors.pairing import PairImage, choose_for_pair, describe_blank
from engine.descriptors.registry import DescriptorSpec
from engine.errors import DatasetError, ImageError, WeightsError
from engine.evaluation.datasets import EvaluationPair, EvaluationSequence, EvaluationSet
from engine.evaluation.protocols import (
    Points,
    QueryPoints,
    WorkingImage,
    draw_queries,
    make_working_image,
    match_errors,
    query_pool,
    resize_homography,
)
from engine.evaluation.result import Json, LeftOut, PairRow, Timing, make_row
from engine.evaluation.run_folder import PairRecord
from engine.evaluation.stress import Stress
from engine.evaluation.switches import Matcher, Protocol, QueryKind, matcher_for
from engine.images import read_image
from engine.progress import CancelToken, Event, JobContext, Note
from engine.vocabulary import Precision, Side

Value = TypeVar("Value")

_READ_AHEAD: Final = 2
_BLANK_EDGE_PX: Final = 64
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EvaluatedDescriptor:
    """A descriptor that takes part.

    Attributes:
        label: what its rows are called.
        spec: its name and settings.
        descriptor: the thing itself.
        level_count: how many maps it makes of an image.
        dim: length of a descriptor.
        matcher: how it is matched.
        precision: arithmetic.
        weights: its weights file, None without one.
    """

    label: str
    spec: DescriptorSpec
    descriptor: DenseDescriptor
    level_count: int
    dim: int
    matcher: Matcher
    precision: Precision
    weights: Path | None

    def to_json(self) -> Json:
        """Its part of the fingerprint; hashes stand for the places of files with weights."""
        config = {name: value for name, value in self.spec.settings if name != "weights"}
        for name, value in config.items():
            if "weights" in name and value:
                config[name] = f"sha256:{_sha256(Path(value))}"
        return {
            "label": self.label,
            "name": self.spec.name,
            "config": config,
            "weights_sha256": None if self.weights is None else _sha256(self.weights),
            "trained": bool(self.descriptor.trained),
            "levels": self.level_count,
            "dim": self.dim,
            "matcher": self.matcher,
            "precision": self.precision,
        }


def prepare_descriptor(
    label: str,
    spec: DescriptorSpec,
    protocol: Protocol,
    *,
    device: torch.device,
    precision: Precision,
    context: JobContext,
) -> EvaluatedDescriptor:
    """Build a descriptor and try it on a blank image, so that faults show before the long work.

    Raises:
        DescSpaceError: its settings, its weights or the device cannot be used.
    """
    descriptor = get_built(spec)
    if precision != "float32" and not descriptor.half_precision:
        context.emit(
            Note(f"{label} is not safe in {precision} and is computed in float32.", "warning")
        )
        precision = "float32"
    levels = describe_blank(
        descriptor, _BLANK_EDGE_PX, device=str(device), precision=precision, cancel=context.cancel
    )
    if not descriptor.trained:
        context.emit(
            Note(f"{label} is untrained: it has random weights, and results show no more.",
                 "warning")
        )  # fmt: skip
    if matcher_for(protocol, len(levels)) != protocol.matcher:
        context.emit(
            Note(f"{label} is a set of {len(levels)} descriptors and is matched exactly, not by "
                 f"{protocol.matcher}.")
        )  # fmt: skip
    weights = getattr(descriptor, "weights_path", None) or dict(spec.settings).get("weights")
    return EvaluatedDescriptor(
        label=label,
        spec=spec,
        descriptor=descriptor,
        level_count=len(levels),
        dim=int(levels[0].values.shape[1]),
        matcher=matcher_for(protocol, len(levels)),
        precision=precision,
        weights=Path(weights) if weights else None,
    )


def make_fingerprint(
    protocol: Protocol,
    dataset: EvaluationSet,
    descriptors: Sequence[EvaluatedDescriptor],
    device: torch.device,
) -> Json:
    """All that the numbers depend on, as plain JSON values."""
    values = {
        "protocol": protocol.name,
        "thresholds_px": protocol.thresholds_px,
        "matcher": protocol.matcher,
        "sampler": {
            "queries": protocol.queries,
            "query_limit": protocol.query_limit,
            "long_edge_px": protocol.long_edge_px,
            "grid_stride_px": protocol.grid_stride_px if protocol.over_grid else None,
        },
        "seed": protocol.seed,
        "dataset": {
            "name": dataset.name,
            "subset": dataset.subset,
            "pairs": dataset.pair_count,
            "pairs_sha256": dataset.pairs_sha256,
        },
        "descriptors": [one.to_json() for one in descriptors],
        "versions": {
            "project": engine.__version__,
            "torch": str(torch.__version__),
            "opencv": cv2.__version__,
        },
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
    plain: Json = json.loads(json.dumps(values))
    return plain


def measure_pairs(
    sequences: Sequence[EvaluationSequence],
    protocol: Protocol,
    descriptors: Sequence[EvaluatedDescriptor],
    *,
    device: torch.device,
    strict: bool,
    context: JobContext,
) -> Iterator[PairRecord]:
    """Measure all descriptors on all pairs of some sequences.

    Image 1 of a sequence is read and described once, and images are read ahead in a thread.

    Args:
        sequences: with the pairs that are to be measured, at least one each.
        protocol: how.
        descriptors: what.
        device: where to compute.
        strict: whether a broken pair ends it.
        context: told what a person should know, once each, and checked for cancelling.

    Yields:
        A record for each pair, in order.

    Raises:
        DatasetError: a pair is broken, and ``strict``.
        DescSpaceError: a descriptor or the device failed.
        JobCancelled: ``context.cancel`` was raised.
    """
    context = _telling_once(context)
    reading = _read_ahead(_readings(sequences, protocol))
    try:
        for sequence in sequences:
            first: _FirstImage | None = None
            fault = ""
            try:
                first = _FirstImage(next(reading).result())
            except ImageError as error:
                fault = str(error)
            for one in sequence.pairs:
                context.cancel.check()
                waiting = next(reading)
                record: PairRecord | None = None
                if first is not None:
                    try:
                        image_b = waiting.result()
                    except ImageError as error:
                        fault = str(error)
                    else:
                        task = _PairTask(one, first, image_b, protocol, device, context)
                        record = task.measure(descriptors)
                if record is None:
                    record = _broken(one.pair, fault)
                    if strict:
                        raise DatasetError(one.pair.path_b.parent, record.left_out[0].reason[:-1])
                    context.emit(Note(record.left_out[0].reason, "warning"))
                yield record
    finally:
        reading.close()


@dataclass(slots=True, eq=False)
class _FirstImage:
    """Image 1 of a sequence, and what all its pairs share, made when first needed."""

    image: WorkingImage
    described: dict[str, PairImage] = field(default_factory=dict)
    pools: dict[QueryKind, Points] = field(default_factory=dict)

    def pool(self, kind: QueryKind) -> Points:
        """See :func:`~engine.evaluation.protocols.query_pool`."""
        if kind not in self.pools:
            self.pools[kind] = query_pool(self.image, kind)
        return self.pools[kind]


@dataclass(frozen=True, slots=True, eq=False)
class _PairTask:
    """One pair with both images read."""

    one: EvaluationPair
    first: _FirstImage
    image_b: WorkingImage
    protocol: Protocol
    device: torch.device
    context: JobContext

    @property
    def pair(self) -> ImagePair:
        """The pair as it is on disk."""
        return self.one.pair

    def measure(self, descriptors: Sequence[EvaluatedDescriptor]) -> PairRecord:
        """Measure all descriptors with all lists of queries."""
        lists = {kind: self._queries(kind) for kind in self.protocol.queries}
        left_out = tuple(
            LeftOut(
                self.pair.sequence,
                self.pair.index,
                kind,
                f"{self.pair.name}: no {kind} query of image 1 is seen in image {self.pair.index}.",
            )
            for kind, queries in lists.items()
            if len(queries.points_a) == 0
        )
        lists = {kind: queries for kind, queries in lists.items() if len(queries.points_a)}
        rows: list[PairRow] = []
        timings = []
        for one in descriptors if lists else ():
            mine, timing = self._measure_one(one, lists)
            rows += mine
            timings.append(timing)
        return PairRecord(
            self.pair.sequence, self.pair.index, tuple(rows), left_out, tuple(timings)
        )

    def _queries(self, kind: QueryKind) -> QueryPoints:
        resize_a, resize_b = self.first.image.resize, self.image_b.resize
        original = self.one.h_b_from_a(resize_b.from_size_px)
        h_b_from_a = resize_homography(self.protocol, resize_a, resize_b, original)
        return draw_queries(
            self.protocol,
            self.first.pool(kind),
            h_b_from_a,
            self.image_b.size_px,
            sequence=self.pair.sequence,
            index=self.pair.index,
            kind=kind,
        )

    def _measure_one(
        self, one: EvaluatedDescriptor, lists: dict[QueryKind, QueryPoints]
    ) -> tuple[list[PairRow], Timing]:
        images = 1
        start_s = time.perf_counter()
        if one.label not in self.first.described:
            self.first.described[one.label] = self._start(one, self.first.image, "a")
            images = 2
        image_a, image_b = self.first.described[one.label], self._start(one, self.image_b, "b")
        choice = choose_for_pair(image_a, image_b, self.context.cancel)
        levels_a, levels_b = (
            image.levels(choice, self.context.cancel) for image in (image_a, image_b)
        )
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # or its time would count as matching
        described_s = time.perf_counter()
        rows = measure_rows(
            one,
            levels_a,
            levels_b,
            lists,
            pair=self.pair,
            size_b_px=self.image_b.size_px,
            protocol=self.protocol,
            cancel=self.context.cancel,
        )
        ended_s = time.perf_counter()
        return rows, Timing(one.label, images, described_s - start_s, 1, ended_s - described_s)

    def _start(self, one: EvaluatedDescriptor, image: WorkingImage, side: Side) -> PairImage:
        return PairImage(
            descriptor=one.descriptor,
            pixels=image.pixels,
            side=side,
            device=str(self.device),
            precision=one.precision,
            emit=self.context.emit,
        )


def read_working_image(path: Path, stress: Stress | None, protocol: Protocol) -> WorkingImage:
    """Read an image of a pair as the protocol wants it, changed first where that makes it harder.

    Raises:
        ImageError: the file cannot be read.
    """
    pixels = read_image(path).pixels
    return make_working_image(protocol, pixels if stress is None else stress.apply(pixels))


def measure_rows(
    one: EvaluatedDescriptor,
    levels_a: Levels,
    levels_b: Levels,
    lists: Mapping[QueryKind, QueryPoints],
    *,
    pair: ImagePair,
    size_b_px: tuple[int, int],
    protocol: Protocol,
    cancel: CancelToken,
) -> list[PairRow]:
    """Match all lists of queries of a pair: a row each.

    Args:
        one: the descriptor that made the maps.
        levels_a: maps of the working image a, a batch of one.
        levels_b: maps of the working image b.
        lists: at least one query each.
        pair: what the rows are named after.
        size_b_px: (width, height) of the working image b.
        protocol: how.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    rows = []
    for kind, queries in lists.items():
        errors = match_errors(
            protocol, levels_a, levels_b, queries, size_b_px, matcher=one.matcher, cancel=cancel
        )
        row = make_row(
            protocol,
            errors,
            descriptor=one.label,
            sequence=pair.sequence,
            index=pair.index,
            queries=kind,
        )
        rows.append(row)
    return rows


def _broken(pair: ImagePair, fault: str) -> PairRecord:
    reason = f"{pair.name} is left out: {fault}"
    return PairRecord(
        pair.sequence, pair.index, (), (LeftOut(pair.sequence, pair.index, None, reason),)
    )


def _readings(
    sequences: Sequence[EvaluationSequence], protocol: Protocol
) -> Iterator[Callable[[], WorkingImage]]:
    """What has to be read, in order: of each sequence image 1, then the other ones."""
    for sequence in sequences:
        yield partial(read_working_image, sequence.pairs[0].pair.path_a, None, protocol)
        for one in sequence.pairs:
            yield partial(read_working_image, one.pair.path_b, one.stress, protocol)


def _read_ahead(tasks: Iterable[Callable[[], Value]]) -> Generator[Future[Value], None, None]:
    """Do tasks in a thread, a few ahead of who asks for them; a generator that must be closed."""
    waiting: deque[Future[Value]] = deque()
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > _READ_AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _telling_once(context: JobContext) -> JobContext:
    """The same context, but a note that every image would repeat is passed on once."""
    told: set[str] = set()

    def emit(event: Event) -> None:
        if isinstance(event, Note):
            if event.text in told:
                return
            told.add(event.text)
        context.emit(event)

    return JobContext(emit, context.cancel, context.device)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise WeightsError(path, f"cannot be read ({error.strerror})") from error
    return digest.hexdigest()
