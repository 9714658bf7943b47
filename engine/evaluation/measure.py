"""Measures pairs one by one; one pair is in memory at a time, and a few images read ahead."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import cv2
import torch

import engine
from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.compute import built_state, describe_image, get_built
from engine.descriptors.pairing import PairImage, describe_blank, describe_both
from engine.descriptors.plugins import code_sha256, plugin_name
from engine.descriptors.registry import UPSAMPLER, DescriptorSpec, get_descriptor
from engine.errors import (
    ConfigError,
    DatasetError,
    DescSpaceError,
    ImageError,
    WeightsError,
)
from engine.evaluation.datasets import EvaluationPair, EvaluationSet
from engine.evaluation.fingerprint import (
    Fingerprint,
    MeasuredDescriptor,
    MeasuredPairs,
    Sampler,
    Versions,
)
from engine.evaluation.metrics.estimators import poselib_version
from engine.evaluation.oracle import check_oracle, describe_knowing
from engine.evaluation.pair_metrics import (
    MeasuredMaps,
    confidence_values,
    count_confidences,
    measure_pair,
    measure_queries,
    precision_curve,
)
from engine.evaluation.pair_properties import pair_properties
from engine.evaluation.points import MeasuredImage, MeasuredPair, PairPoints, Points
from engine.evaluation.protocols import (
    QueryPoints,
    WorkingImage,
    draw_queries,
    make_working_image,
    match_points,
    pair_seed,
    query_pool,
    resize_truth,
)
from engine.evaluation.result import LeftOut, PairRow, Timing, make_row
from engine.evaluation.run_folder import PairRecord
from engine.evaluation.stress import Stress
from engine.evaluation.switches import (
    QUERY_KINDS,
    DrawnQueries,
    Protocol,
    QueryKind,
    matcher_for,
    queries_for,
)
from engine.files import sha256_of
from engine.geometry.coords import inside
from engine.images import read_image
from engine.matching.confidence import Calibration, Uncalibrated, find_calibration
from engine.progress import Event, JobContext, Note
from engine.truth.base import Truth
from engine.vocabulary import SEPARATION_PX, Precision

Value = TypeVar("Value")

_READ_AHEAD: Final = 2
_BLANK_EDGE_PX: Final = 64
_RESPONSES: Final = 4


@dataclass(frozen=True, slots=True)
class DescriptorChoice:
    """A descriptor that is to be measured.

    Attributes:
        label: what its rows are called.
        spec: its name and settings.
        oracle: it is given the true scales, and its label says so.
    """

    label: str
    spec: DescriptorSpec
    oracle: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedDescriptor:
    """A descriptor that takes part.

    Attributes:
        descriptor: what describes.
        entry: what the fingerprint says of it.
        calibration: what makes confidences of evidence; None where there is none, or none is asked
            for.
        bytes_per_px: memory that its maps take for each pixel of an image.
    """

    descriptor: DenseDescriptor
    entry: MeasuredDescriptor
    bytes_per_px: float = 0.0
    calibration: Calibration | None = None


def prepare_descriptor(
    choice: DescriptorChoice,
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
    label, descriptor, notes = choice.label, get_built(choice.spec, context.cancel), []
    if precision != "float32" and not descriptor.half_precision:
        notes.append(f"{label} is not safe in {precision} and is computed in float32.")
        precision = "float32"
    registered = get_descriptor(choice.spec.name)
    response = _response(descriptor, device=str(device), precision=precision, context=context)
    levels = describe_blank(
        descriptor, _BLANK_EDGE_PX, device=str(device), precision=precision, cancel=context.cancel
    )
    if not descriptor.trained:
        notes.append(f"{label} is untrained: it has random weights, and results show no more.")
    if choice.oracle:
        check_oracle(choice.spec.name, descriptor)
        notes.append(f"{label} is given the true scales: its figures are an upper bound.")
    for text in notes:
        context.emit(Note(text, "warning"))
    matcher = matcher_for(protocol, len(levels))
    if matcher != protocol.matcher:
        text = f"{label} is a set of {len(levels)} descriptors and is matched exactly, not by "
        context.emit(Note(f"{text}{protocol.matcher}."))
    calibration = _calibration(choice, protocol, context)
    settings = dict(choice.spec.settings)
    weights = settings.pop("weights", None)
    place = getattr(descriptor, "weights_path", None) or weights
    for name, value in settings.items():
        if ("weights" in name or name == UPSAMPLER) and value:
            settings[name] = f"sha256:{_weights_sha256(value)}"
    entry = MeasuredDescriptor(
        label=label,
        name=choice.spec.name,
        config=json.loads(json.dumps(settings)),  # as it will be read back
        weights_sha256=_weights_sha256(place) if place else None,
        trained=bool(descriptor.trained),
        levels=len(levels),
        dim=int(levels[0].values.shape[1]),
        matcher=matcher,
        precision=precision,
        oracle=choice.oracle,
        plugin=plugin_name(registered),
        code_sha256=code_sha256(registered),
        state_sha256=built_state(descriptor),
        response=response,
        calibration_sha256=None if calibration is None else calibration.sha256,
    )
    size = sum(level.values.element_size() * level.values.nelement() for level in levels)
    return EvaluatedDescriptor(descriptor, entry, size / _BLANK_EDGE_PX**2, calibration)


def _calibration(
    choice: DescriptorChoice, protocol: Protocol, context: JobContext
) -> Calibration | None:
    """What makes confidences of the descriptor's matches, if they are asked for; a note if none."""
    if "confidence" not in protocol.metrics.chosen:
        return None
    # With the true scales its matches are others.
    found = (
        Uncalibrated(choice.label)
        if choice.oracle
        else find_calibration(choice.spec, separation_px=SEPARATION_PX)
    )
    if isinstance(found, Calibration):
        return found
    text = f"Confidences are not calibrated for {found.reason}, and not measured."
    context.emit(Note(text, "warning"))
    return None


def _response(
    descriptor: DenseDescriptor, *, device: str, precision: Precision, context: JobContext
) -> tuple[float, ...]:
    """What a descriptor makes of an image that never changes, in a few numbers about 1 in size.

    They are the shares of random patterns in its maps.  Another seed, offset, library or weights
    file changes all of them; another order of sums changes the fourth decimal at most.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(_BLANK_EDGE_PX, _BLANK_EDGE_PX, 3, generator=generator).numpy()
    silent = JobContext(cancel=context.cancel)
    levels, _ = describe_image(
        descriptor, pixels, device=device, precision=precision, context=silent
    )
    numbers: list[float] = []
    maps = torch.cat([level.values.flatten().double().cpu() for level in levels])
    for _ in range(_RESPONSES):
        pattern = torch.randn(len(maps), generator=generator, dtype=torch.float64)
        numbers.append(round(float(maps @ pattern) / max(1e-12, float(maps.norm())), 4))
    return (*numbers, *(round(place, 4) for level in levels for place in astuple(level.grid)))


def make_fingerprint(
    protocol: Protocol,
    dataset: EvaluationSet,
    descriptors: Sequence[EvaluatedDescriptor],
    device: torch.device,
) -> Fingerprint:
    """All that the numbers depend on."""
    return Fingerprint(
        protocol=protocol.name,
        thresholds_px=protocol.thresholds_px,
        matcher=protocol.matcher,
        sampler=Sampler(
            queries=_all_queries(protocol, dataset),
            query_limit=protocol.query_limit,
            long_edge_px=protocol.long_edge_px,
            grid_stride_px=protocol.grid_stride_px if protocol.name == "dense" else None,
            refined=protocol.refines,
        ),
        seed=protocol.seed,
        dataset=MeasuredPairs(
            name=dataset.name,
            subset=dataset.subset,
            pairs=dataset.pair_count,
            pairs_sha256=dataset.pairs_sha256,
            truths=dataset.truths,
            layout=dataset.layout,
        ),
        descriptors=tuple(one.entry for one in descriptors),
        versions=Versions(
            project=engine.__version__,
            torch=str(torch.__version__),
            opencv=cv2.__version__,
            poselib=poselib_version() if protocol.metrics.uses_poselib else None,
        ),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        value_range=None if protocol.value_range is None else protocol.value_range.ends,
        metrics=protocol.metrics if protocol.metrics.chosen else None,
    )


def _all_queries(protocol: Protocol, dataset: EvaluationSet) -> tuple[QueryKind, ...]:
    """The lists of queries that the pairs have, by the kinds of their truths."""
    found = {name for kind in dataset.kinds for name in queries_for(protocol, kind)}
    return tuple(name for name in QUERY_KINDS if name in found)


def check_truths(
    protocol: Protocol, dataset: EvaluationSet, choices: Sequence[DescriptorChoice]
) -> None:
    """Refuse what needs homographies where the truth of a pair is none.

    Raises:
        ConfigError: the protocol ``seed``, or a descriptor that is given the true scales.
    """
    others = [kind for kind in dataset.kinds if kind != "homography"]
    if not others:
        return
    known = f"the truth of pairs of {dataset.name} is known from {' and '.join(others)}"
    if protocol.name == "seed":
        raise ConfigError(
            "protocol", f"'seed' goes with homographies, and {known}; choose 'closed' or 'dense'"
        )
    for choice in choices:
        if choice.oracle:
            reason = f"{choice.label!r} takes true scales from homographies, and {known}"
            raise ConfigError("descriptor", reason)


def measure_pairs(
    dataset: EvaluationSet,
    protocol: Protocol,
    descriptors: Sequence[EvaluatedDescriptor],
    *,
    device: torch.device,
    strict: bool,
    context: JobContext,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[PairRecord]:
    """Measure all descriptors on all pairs of a data set.

    Image a is read and described once for neighbouring pairs that share it, and images are read
    ahead in a thread.

    Args:
        dataset: with the pairs that are to be measured.
        protocol: how.
        descriptors: what.
        device: where to compute.
        strict: whether a broken pair ends it.
        context: receives each note once, and is checked for cancelling.
        clock: what describing and matching are timed by, in seconds.

    Yields:
        A record for each pair, in order.

    Raises:
        DatasetError: a pair is broken, and ``strict``.
        DescSpaceError: a descriptor or the device failed.
        JobCancelled: ``context.cancel`` was raised.
    """
    context = noting_once(context)
    task = None
    with contextlib.closing(read_pairs(dataset, protocol, strict=strict, context=context)) as pairs:
        for one, read in pairs:
            if isinstance(read, LeftOut):
                yield PairRecord(*one.key, (), (read,))
                continue
            first, second = read
            if task is None or task.first is not first:
                task = _SharedFirst(first, protocol, descriptors, device, context, clock)
            yield task.measure(one, second)


def read_pairs(
    dataset: EvaluationSet, protocol: Protocol, *, strict: bool, context: JobContext
) -> Generator[tuple[EvaluationPair, tuple[ReadImage, ReadImage] | LeftOut], None, None]:
    """Read the images of a data set's pairs, ahead in a thread; a generator that must be closed.

    Args:
        dataset: with the pairs.
        protocol: what becomes of the images.
        strict: whether a broken pair ends it.
        context: receives each note, and is checked for cancelling.

    Yields:
        Each pair, in order, with its images, or why it is left out.  The first image of
        neighbouring pairs with the same file is the same object.

    Raises:
        DatasetError: a pair is broken, and ``strict``.
        JobCancelled: ``context.cancel`` was raised.
    """
    reading = _read_ahead(_readings(dataset, protocol))
    try:
        for _, pairs in itertools.groupby(dataset.pairs(), key=_first_image):
            first = next(reading).result()
            for one in pairs:
                context.cancel.check()
                second = next(reading).result()
                for read in (first, second):
                    for note in read.notes if isinstance(read, ReadImage) else ():
                        context.emit(Note(note, "warning"))
                if isinstance(first, ReadImage) and isinstance(second, ReadImage):
                    broken = _fault_of_truth(one, first, second)
                    if broken is None:
                        yield one, (first, second)
                        continue
                    wrong: object = broken
                else:
                    wrong = second if isinstance(first, ReadImage) else first
                fault = f"{one.pair.name} is left out: {wrong}"
                if strict:
                    raise DatasetError(one.pair.path_b.parent, fault.removesuffix("."))
                context.emit(Note(fault, "warning"))
                yield one, LeftOut(*one.key, None, fault)
    finally:
        reading.close()


def _fault_of_truth(
    one: EvaluationPair, first: ReadImage, second: ReadImage
) -> DescSpaceError | None:
    """Why the truth of a pair cannot be used; it stays open for who asks next."""
    try:
        one.open_truth(first.working.resize.from_size_px, second.working.resize.from_size_px)
    except DescSpaceError as error:
        return error
    return None


def draw_lists(
    protocol: Protocol,
    one: EvaluationPair,
    images: tuple[ReadImage, ReadImage],
    pools: dict[DrawnQueries, Points],
) -> tuple[dict[QueryKind, QueryPoints], list[LeftOut]]:
    """Draw the queries of a pair.

    Args:
        protocol: which lists, where the truth is dense; else the points that it lists.
        one: the pair.
        images: both images, as read.
        pools: of the first image; filled as needed.

    Returns:
        The lists that hold queries, and why others hold none.
    """
    pair, first = one.pair, images[0]
    truth = working_truth(protocol, one, images)
    listed = truth.listed_px
    lists, left_out = {}, []
    for kind in queries_for(protocol, truth.kind):
        if kind == "listed":
            assert listed is not None, "truths of these kinds list points"
            pool = listed[0][inside(listed[0], first.working.size_px)]
        else:
            if kind not in pools:
                pools[kind] = query_pool(first.working, kind)
            pool = pools[kind]
        queries = draw_queries(
            protocol,
            pool,
            truth,
            sequence=pair.sequence,
            index=pair.index,
            kind=kind,
        )
        if len(queries.query_px):
            lists[kind] = queries
        else:
            reason = f"{pair.name}: no {kind} query of the first image is seen in the second one."
            left_out.append(LeftOut(pair.sequence, pair.index, kind, reason))
    return lists, left_out


def working_truth(
    protocol: Protocol, one: EvaluationPair, images: tuple[ReadImage, ReadImage]
) -> Truth:
    """The truth of a pair in working pixels.

    Raises:
        DescSpaceError: a file of the truth cannot be read, or does not fit the images.
    """
    resize_a, resize_b = (image.working.resize for image in images)
    original = one.open_truth(resize_a.from_size_px, resize_b.from_size_px)
    return resize_truth(protocol, resize_a, resize_b, original)


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """An image of a pair.

    Attributes:
        working: at the size it is measured at.
        measured: what is kept of it.
        notes: what was said when it was read.
    """

    working: WorkingImage
    measured: MeasuredImage
    notes: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class _SharedFirst:
    """Neighbouring pairs with one first image, and what they share of it, made when needed."""

    first: ReadImage
    protocol: Protocol
    descriptors: Sequence[EvaluatedDescriptor]
    device: torch.device
    context: JobContext
    clock: Callable[[], float]
    described: dict[str, PairImage] = field(default_factory=dict)
    pools: dict[DrawnQueries, Points] = field(default_factory=dict)

    def measure(self, one: EvaluationPair, second: ReadImage) -> PairRecord:
        """Measure all descriptors with all lists of queries."""
        pair, size_b_px = one.pair, second.working.size_px
        images = (self.first, second)
        truth = working_truth(self.protocol, one, images)
        lists, left_out = draw_lists(self.protocol, one, images, self.pools)
        both = (self.first.working, second.working)
        properties = pair_properties(both, truth) if lists else {}
        rows: list[PairRow] = []
        timings: list[Timing] = []
        points: dict[QueryKind, tuple[PairPoints, ...]] = dict.fromkeys(lists, ())
        for each in self.descriptors if lists else ():
            label, start_s = each.entry.label, self.clock()
            (levels_a, levels_b), vote_right, count = self._describe(each, second.working, truth)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # or its time would count as matching
            described_s = self.clock()
            for kind, queries in lists.items():
                found = match_points(
                    self.protocol,
                    levels_a,
                    levels_b,
                    queries,
                    size_b_px,
                    matcher=each.entry.matcher,
                    cancel=self.context.cancel,
                )
                points[kind] = (*points[kind], found)
            match_s = self.clock() - described_s
            timings.append(Timing(label, count, described_s - start_s, 1, match_s))
            maps = MeasuredMaps(
                switches=self.protocol.metrics,
                images=both,
                levels=(levels_a, levels_b),
                truth=truth,
                seed=pair_seed(self.protocol.seed, *one.key, "estimator"),
                cancel=self.context.cancel,
                calibration=each.calibration,
                vote_right=vote_right,
            )
            of_pair, precision = measure_pair(maps), precision_curve(maps)
            for kind in lists:
                found = points[kind][-1]
                counts = count_confidences(maps, found)
                metrics = of_pair | measure_queries(maps, found) | confidence_values(counts)
                rows.append(
                    make_row(
                        self.protocol, found.errors_px, label, one, kind,
                        metrics=metrics, properties=properties, precision=precision,
                        confidences=counts,
                    )
                )  # fmt: skip
        return PairRecord(
            pair.sequence,
            pair.index,
            tuple(rows),
            tuple(left_out),
            tuple(timings),
            MeasuredPair((self.first.measured, second.measured), points) if points else None,
        )

    def _describe(
        self, one: EvaluatedDescriptor, second: WorkingImage, truth: Truth
    ) -> tuple[tuple[Levels, Levels], float | None, int]:
        """The maps of both images, how sure their vote is, and how many images were described."""
        label, precision, first = one.entry.label, one.entry.precision, self.first.working
        device = str(self.device)
        if one.entry.oracle:
            h_b_from_a = truth.matrix_from("a")
            assert h_b_from_a is not None, "check_truths refuses others"
            both = describe_knowing(
                one.descriptor,
                (first.pixels, second.pixels),
                h_b_from_a,
                device=device,
                precision=precision,
                context=self.context,
            )
            return both, None, 2
        start = partial(PairImage, descriptor=one.descriptor, device=device, precision=precision)
        count = 1 if label in self.described else 2
        if count == 2:
            self.described[label] = start(pixels=first.pixels, side="a")
        image_b = start(pixels=second.pixels, side="b")
        made_a, made_b = describe_both(self.described[label], image_b, self.context)
        return (made_a.levels, made_b.levels), made_a.vote_right, count


def _readings(
    dataset: EvaluationSet, protocol: Protocol
) -> Iterator[Callable[[], ReadImage | ImageError]]:
    """What has to be read, in order: image a, then image b of all neighbours that share it."""
    read = partial(_read, dataset.root, protocol)
    for path_a, pairs in itertools.groupby(dataset.pairs(), key=_first_image):
        yield partial(read, path_a, None)
        for one in pairs:
            yield partial(read, one.pair.path_b, one.stress)


def shared_firsts(dataset: EvaluationSet) -> int:
    """How often an image a is read: once for neighbouring pairs that share it."""
    return sum(1 for _ in itertools.groupby(dataset.pairs(), key=_first_image))


def _first_image(one: EvaluationPair) -> Path:
    return one.pair.path_a


def _read(
    root: Path, protocol: Protocol, path: Path, stress: Stress | None
) -> ReadImage | ImageError:
    """An image as the protocol wants it, changed first where that makes it harder."""
    try:
        image = read_image(path, shown=protocol.value_range)
        sha256 = sha256_of(path, ImageError)
    except ImageError as error:
        return error
    pixels = image.pixels if stress is None else stress.apply(image.pixels)
    working = make_working_image(protocol, pixels)
    name = (path.relative_to(root) if path.is_relative_to(root) else path.absolute()).as_posix()
    notes = tuple(f"{name} {note}" for note in image.notes)
    return ReadImage(working, MeasuredImage(name, sha256, working.resize), notes)


def _read_ahead(tasks: Iterable[Callable[[], Value]]) -> Generator[Future[Value], None, None]:
    """Run tasks in a thread, a few ahead of the consumer; a generator that must be closed."""
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


def noting_once(context: JobContext) -> JobContext:
    """The same context, but a note that every image repeats is emitted once."""
    emitted: set[str] = set()

    def emit(event: Event) -> None:
        if not (isinstance(event, Note) and event.text in emitted):
            context.emit(event)
        if isinstance(event, Note):
            emitted.add(event.text)

    return replace(context, emit=emit)


def _weights_sha256(place: object) -> str:
    path = Path(str(place))
    return sha256_of(path, WeightsError)
