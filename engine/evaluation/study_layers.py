"""Measures all layers of a network on the pairs of a data set; one pass serves all layers.

Each image is described once, at the size and by the antialiasing of the protocol ``dense``; the
queries of ``closed`` are asked of the same maps.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.compute import describe_image, run_on_image, working
from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.high_norms import cell_norms, high_norm_cells
from engine.descriptors.memory import MemoryModel, measure_memory
from engine.descriptors.position import PositionRemover, positional_shares, without_directions
from engine.descriptors.tensors import unit_length
from engine.devices import free_memory_bytes
from engine.errors import ConfigError, DescSpaceError, DeviceError
from engine.evaluation.datasets import EvaluationSet
from engine.evaluation.layer_measures import effective_rank, shift_sensitivity
from engine.evaluation.measure import EvaluatedDescriptor, ReadImage, draw_lists, read_pairs
from engine.evaluation.points import PairPoints, Points
from engine.evaluation.protocols import match_points
from engine.evaluation.result import LeftOut, PairRow, make_row
from engine.evaluation.study import (
    MAIN_PROTOCOL,
    PROTOCOLS,
    LayerRow,
    StudyTimes,
    Variant,
    layer_means,
)
from engine.evaluation.study_report import LayerView
from engine.evaluation.switches import DrawnQueries, Protocol
from engine.matching.projection import fit_basis, project
from engine.progress import JobContext, Progress, Stage
from engine.vocabulary import Precision

_RANK_CELLS: Final = 128  # of an image and layer
_RANK_VECTORS: Final = 2048  # of a layer
_SHOWN_IMAGES: Final = 2  # that are looked at beyond their matches
_EDGE_PX: Final = 224  # of images that measures beside PCK are made with
_TIMING_S: Final = 0.1  # is spent on a layer that is quick to describe by, for the shortest time
_MOST_TIMED: Final = 5
_PCA_CELLS: Final = 20_000
_SPARE_SHARE: Final = 0.9
_KEPT_MAPS: Final = 8  # raw, of unit length, without position: of two images and the reference

_log = logging.getLogger(__name__)

Listener = Callable[[int, int, Sequence[tuple[str, float]]], None]


@dataclass(frozen=True, slots=True, eq=False)
class LayerMaps:
    """An image described by every layer.

    Attributes:
        raw: as the network gives vectors; of unit length where nothing else is known.
        plain: of unit length.
        clean: of unit length, position taken off; empty where it is not.
        directions: how many were taken off each layer.
    """

    raw: tuple[Levels, ...]
    plain: tuple[Levels, ...]
    clean: tuple[Levels, ...] = ()
    directions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredLayers:
    """All that was measured.

    Attributes:
        layers: in order.
        rows: PCK of every pair, by variant.
        points: queries and matches of the protocol that layers are ranked by: variant, then pair.
        views: of the reference image, a layer each.
        reference: the image that they are of.
        left_out: pairs that were not measured.
        times: what took how long.
    """

    layers: tuple[LayerRow, ...]
    rows: dict[Variant, list[PairRow]]
    points: dict[Variant, dict[tuple[str, int], PairPoints]]
    views: tuple[LayerView, ...]
    reference: ReadImage
    left_out: tuple[LeftOut, ...]
    times: StudyTimes


class StudiedDescriptor:
    """A descriptor whose layers are studied; one without layers counts as its only layer.

    Args:
        evaluated: the descriptor.
        layers: numbers of the layers, ascending; only of a network with layers.
        components: how many directions of position are taken off; 0 for none.
        device: where to compute.
        clock: what times are taken by, in seconds.

    Raises:
        ConfigError: position is to be taken off a descriptor that has no layers.
    """

    def __init__(
        self,
        evaluated: EvaluatedDescriptor,
        layers: Sequence[int],
        *,
        components: int,
        device: torch.device,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self.descriptor: DenseDescriptor = evaluated.descriptor
        self.name = evaluated.entry.name
        self.device = device
        self.precision: Precision = evaluated.entry.precision
        self.network = self.descriptor if isinstance(self.descriptor, BackboneDescriptor) else None
        self.layers = tuple(layers) if self.network is not None else (0,)
        self.images = 0
        self.describe_s = 0.0
        self._memory: tuple[MemoryModel | None] | None = None
        self._fitting_pixels = 0
        self._remover: PositionRemover | None = None
        if components and self.network is None:
            raise ConfigError(
                "remove_position", f"{self.name} has no features before they are of unit length"
            )
        if components and self.network is not None:
            self._remover = self.network.remover_of(self.layers, components)

    @property
    def removes(self) -> bool:
        """Whether position is taken off."""
        return self._remover is not None

    def identify(self, place: int) -> tuple[str, str]:
        """A layer's own name, and the name by which other commands describe with it."""
        if self.network is None:
            return self.name, self.name
        number = self.layers[place]
        return self.network.layers[number].name, str(self.network.name.at(str(number)))

    def describe(self, pixels: NDArray[np.float32], context: JobContext) -> LayerMaps:
        """Describe ``(H, W, 3)`` RGB in [0, 1] by all layers.

        Raises:
            DeviceError, DescSpaceError, JobCancelled: as
                :func:`~engine.descriptors.compute.describe_image`.
        """
        self.images += 1
        if self.network is None:
            start_s = self.now_s()
            levels, _ = describe_image(
                self.descriptor,
                pixels,
                device=str(self.device),
                precision=self.precision,
                context=context,
            )
            self.describe_s += self.now_s() - start_s
            return LayerMaps((levels,), (levels,))

        def work(images: Tensor) -> tuple[Levels, Sequence[Tensor]]:
            self._check_memory(images, context)
            start_s = self.now_s()
            levels = self._raw(images, context)
            self.describe_s += self.now_s() - start_s
            bases: Sequence[Tensor] = ()
            if self._remover is not None:
                height, width = images.shape[2:]
                bases = self._remover.basis((width, height), images.device)
            return levels, bases

        (levels, bases), _ = run_on_image(
            self.descriptor,
            pixels,
            work,
            device=str(self.device),
            precision=self.precision,
            context=context,
        )
        with torch.inference_mode():
            start_s = self.now_s()
            plain = [(replace(one, values=unit_length(one.values)),) for one in levels]
            self.describe_s += self.now_s() - start_s
            clean = [
                (replace(one, values=unit_length(without_directions(one.values, basis))),)
                for one, basis in zip(levels, bases, strict=bool(bases))
            ]
        for place, (one,) in enumerate(plain):
            if not bool(torch.isfinite(one.values).all()):
                layer = self.identify(place)[0]
                raise DescSpaceError(
                    f"Layer {layer} of {self.name} gave numbers that are not finite; leave it out "
                    "with --layers, or use --precision float32."
                )
        directions = tuple(int(basis.shape[1]) for basis in bases)
        return LayerMaps(tuple((one,) for one in levels), tuple(plain), tuple(clean), directions)

    def norms(
        self, pixels: NDArray[np.float32], maps: LayerMaps, context: JobContext
    ) -> tuple[Tensor, ...]:
        """``(1, H', W')`` lengths of each layer's vectors before any last normalisation.

        Args:
            pixels: ``(H, W, 3)`` RGB in [0, 1].
            maps: of this image, which tell the lengths where nothing normalises.
            context: as for :meth:`describe`.

        Returns:
            Nothing where lengths are not known.
        """
        network = self.network
        if network is None:
            return ()
        levels: Levels = tuple(level for (level,) in maps.raw)
        if network.normalises:
            check = context.cancel.check
            levels, _ = run_on_image(
                self.descriptor,
                pixels,
                lambda images: network.raw_layers(images, self.layers, check, norm=False),
                device=str(self.device),
                precision=self.precision,
                context=context,
            )
        with torch.inference_mode():
            return tuple(cell_norms(level.values) for level in levels)

    def shares(self, context: JobContext) -> tuple[tuple[float, float], ...]:
        """Position's share of each layer's variance, and how much of it a constant image shows."""

        def describe(images: Tensor) -> Levels:
            context.cancel.check()
            if self.network is None:
                return self.descriptor.describe(images)
            return tuple(
                replace(one, values=unit_length(one.values)) for one in self._raw(images, context)
            )

        with working(self.descriptor, self.device, self.precision, context.cancel):
            found = positional_shares(describe, (_EDGE_PX, _EDGE_PX), device=self.device)
        if self.network is None:  # the members of a set are alike
            mean = [sum(values) / len(found) for values in zip(*map(_pair, found), strict=True)]
            return ((mean[0], mean[1]),)
        return tuple(map(_pair, found))

    def describe_ms(self, pixels: NDArray[np.float32], place: int, context: JobContext) -> float:
        """The shortest time of a few in which one layer alone describes an image."""

        def work(images: Tensor) -> None:
            if self.network is None:
                self.descriptor.describe(images)
            else:
                self.network.raw_layers(images, (self.layers[place],), context.cancel.check)

        times: list[float] = []
        with working(self.descriptor, self.device, self.precision, context.cancel):
            images = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
            images = images.to(self.device).permute(2, 0, 1)[None].contiguous()
            while not times or (sum(times) < _TIMING_S and len(times) < _MOST_TIMED):
                context.cancel.check()
                start_s = self.now_s()
                work(images)
                times.append(self.now_s() - start_s)
        return 1000 * min(times)

    def _check_memory(self, images: Tensor, context: JobContext) -> None:
        """Refuse an image whose maps would not fit: the system would end the program instead.

        Raises:
            DeviceError: they would not.
        """
        height, width = images.shape[2:]
        pixels = height * width
        free = free_memory_bytes() if images.device.type == "cpu" else None
        if free is None or pixels <= self._fitting_pixels:
            return
        spare = int(_SPARE_SHARE * free)
        model = self._measure_memory(context)
        wanted = 0
        if model is not None:
            wanted = model.peak_bytes(pixels) + _KEPT_MAPS * model.maps_bytes(pixels)
        if wanted > spare:
            many = len(self.layers)
            layers = f"{many} layers" if many > 1 else "one layer"
            raise DeviceError(
                f"Describing an image of {width} × {height} pixels by {layers} of {self.name} "
                f"would take about {wanted / 2**30:.1f} GiB of memory, and "
                f"{spare / 2**30:.1f} GiB can be spared: choose a smaller long edge or fewer "
                "layers."
            )
        self._fitting_pixels = pixels

    def _measure_memory(self, context: JobContext) -> MemoryModel | None:
        """What describing by all layers takes, measured once; None where that cannot be told."""
        if self._memory is None:
            period_px = self.descriptor.shift_period_px
            try:
                found = measure_memory(lambda small: self._raw(small, context), period_px=period_px)
            except Exception as error:  # of whatever library computes; the image itself may go well
                _log.info("The memory that layers take could not be measured: %s", error)
                found = None
            self._memory = (found,)
        return self._memory[0]

    def _raw(self, images: Tensor, context: JobContext) -> Levels:
        assert self.network is not None
        return self.network.raw_layers(images, self.layers, context.cancel.check)

    def now_s(self) -> float:
        """The time by the clock, when all that was begun on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self._clock()


def measure_layers(
    studied: StudiedDescriptor,
    dataset: EvaluationSet,
    protocol: Protocol,
    *,
    context: JobContext,
    listener: Listener | None = None,
) -> MeasuredLayers:
    """Measure all layers on all pairs.

    Args:
        studied: what to measure.
        dataset: the pairs.
        protocol: ``dense``, with one list of queries; ``closed`` asks the same queries.
        context: receives each note and the progress, and is checked for cancelling.
        listener: called after each pair with how many are done, how many there are, and each
            layer's mean so far.

    Raises:
        DescSpaceError: a descriptor or the device failed, or no pair could be measured.
        JobCancelled: ``context.cancel`` was raised.
    """
    gathering = _Gathering(studied, protocol, studied.now_s())
    total = dataset.pair_count
    context.emit(Progress(Stage.MEASURING_PAIRS, 0, total))
    first: ReadImage | None = None
    maps_a = LayerMaps((), ())
    pools: dict[DrawnQueries, Points] = {}
    left_out: list[LeftOut] = []
    with contextlib.closing(read_pairs(dataset, protocol, strict=False, context=context)) as pairs:
        for done, (one, read) in enumerate(pairs, start=1):
            if isinstance(read, LeftOut):
                left_out.append(read)
                context.emit(Progress(Stage.MEASURING_PAIRS, done, total))
                continue
            if read[0] is not first:
                first, pools = read[0], {}
                maps_a = studied.describe(first.working.pixels, context)
                gathering.look_at(first, maps_a, context)
            lists, empty = draw_lists(protocol, one, read, pools)
            left_out += empty
            for kind, queries in lists.items():
                maps_b = studied.describe(read[1].working.pixels, context)
                gathering.look_at(None, maps_b, context)
                start_s = studied.now_s()
                for variant, levels_a, levels_b in _variants(studied, maps_a, maps_b):
                    found = match_points(
                        replace(protocol, name=variant.protocol),
                        levels_a,
                        levels_b,
                        queries,
                        read[1].working.size_px,
                        matcher="exact",
                        cancel=context.cancel,
                    )
                    label = studied.identify(studied.layers.index(variant.layer))[1]
                    row = make_row(protocol, found.errors_px, label, one, kind)
                    gathering.rows.setdefault(variant, []).append(row)
                    if variant.protocol == MAIN_PROTOCOL:
                        gathering.points.setdefault(variant, {})[one.key] = found
                gathering.match_s += studied.now_s() - start_s
            context.emit(Progress(Stage.MEASURING_PAIRS, done, total))
            if listener is not None:
                listener(done, total, gathering.means())
    if gathering.reference is None or not gathering.rows:
        raise DescSpaceError(
            f"No pair of {dataset.root} could be measured: "
            f"{left_out[0].reason if left_out else 'there is none'}"
        )
    return gathering.finish(tuple(left_out), context)


def _variants(
    studied: StudiedDescriptor, maps_a: LayerMaps, maps_b: LayerMaps
) -> Iterator[tuple[Variant, Levels, Levels]]:
    for place, number in enumerate(studied.layers):
        for removed, a, b in (
            (False, maps_a.plain, maps_b.plain),
            (True, maps_a.clean, maps_b.clean),
        ):
            if a:
                for name in PROTOCOLS:
                    yield Variant(number, name, removed), a[place], b[place]


@dataclass(slots=True, eq=False)
class _Gathering:
    """What is collected while pairs are measured."""

    studied: StudiedDescriptor
    protocol: Protocol
    start_s: float
    rows: dict[Variant, list[PairRow]] = field(default_factory=dict)
    points: dict[Variant, dict[tuple[str, int], PairPoints]] = field(default_factory=dict)
    match_s: float = 0.0
    reference: ReadImage | None = None
    reference_maps: LayerMaps | None = None
    shown: list[ReadImage] = field(default_factory=list)
    norms: list[tuple[Tensor, ...]] = field(default_factory=list)
    samples: list[list[Tensor]] = field(default_factory=list)

    def look_at(self, first: ReadImage | None, maps: LayerMaps, context: JobContext) -> None:
        """Take what is needed of an image's maps; ``first`` is given for images 1."""
        if not self.samples:
            self.samples = [[] for _ in maps.plain]
        if first is not None and self.reference is None:
            self.reference, self.reference_maps = first, maps
        if first is not None and len(self.shown) < _SHOWN_IMAGES:
            self.shown.append(first)
            self.norms.append(self.studied.norms(first.working.pixels, maps, context))
        with torch.inference_mode():
            for sample, plain in zip(self.samples, maps.plain, strict=True):
                if sum(map(len, sample)) < _RANK_VECTORS:
                    sample.append(_some_cells(plain))

    def means(self) -> tuple[tuple[str, float], ...]:
        """Each layer's mean PCK so far."""
        found = []
        for place, number in enumerate(self.studied.layers):
            rows = self.rows.get(Variant(number, MAIN_PROTOCOL), [])
            shares = [row.share(self.protocol.thresholds_px[-1]) for row in rows]
            if shares:
                found.append((self.studied.identify(place)[0], sum(shares) / len(shares)))
        return tuple(found)

    def finish(self, left_out: tuple[LeftOut, ...], context: JobContext) -> MeasuredLayers:
        """Measure what needs no pair, and sum up."""
        assert self.reference is not None
        assert self.reference_maps is not None
        describe_s, images = self.studied.describe_s, self.studied.images
        steps = len(self.shown) + 1 + len(self.studied.layers)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            context.cancel.check()
            context.emit(Progress(Stage.MEASURING_LAYERS, done, steps))

        changes: list[list[float]] = [[] for _ in self.studied.layers]
        for first in self.shown:
            still, moved = (
                self.studied.describe(_part(first.working.pixels, start_px), context).plain
                for start_px in (0, 1)
            )
            with torch.inference_mode():
                for place, (plain, other) in enumerate(zip(still, moved, strict=True)):
                    found = [shift_sensitivity(a, b) for a, b in zip(plain, other, strict=True)]
                    known = [one for one in found if one is not None]
                    changes[place] += [sum(known) / len(known)] if known else []
            step()
        shares = self.studied.shares(context)
        step()
        layers, views = [], []
        for place in range(len(self.studied.layers)):
            changed = changes[place]
            row = self._layer(place, context)
            layers.append(
                replace(
                    row,
                    positional_share=shares[place][0],
                    seen_in_constant=shares[place][1],
                    shift_sensitivity=sum(changed) / len(changed) if changed else None,
                )
            )
            views.append(self._view(place))
            step()
        rest_s = self.studied.now_s() - self.start_s - describe_s - self.match_s
        return MeasuredLayers(
            layers=tuple(layers),
            rows=self.rows,
            points=self.points,
            views=tuple(views),
            reference=self.reference,
            left_out=left_out,
            times=StudyTimes(images, describe_s, self.match_s, rest_s),
        )

    def _layer(self, place: int, context: JobContext) -> LayerRow:
        assert self.reference is not None
        assert self.reference_maps is not None
        levels = self.reference_maps.plain[place]
        finest = min(levels, key=lambda level: level.grid.stride_px)
        sample = torch.cat(self.samples[place])
        high = [high_norm_cells(norms[place]) for norms in self.norms if norms]
        part = _part(self.reference.working.pixels)
        name, descriptor = self.studied.identify(place)
        cells = sum(one.numel() for one in high)
        directions = self.reference_maps.directions
        return LayerRow(
            number=self.studied.layers[place],
            name=name,
            descriptor=descriptor,
            stride_px=finest.grid.stride_px,
            offset_px=finest.grid.offset_px,
            dim=int(finest.values.shape[1]),
            cells=(int(finest.values.shape[3]), int(finest.values.shape[2])),
            pck=layer_means(self.rows, self.studied.layers[place], seed=self.protocol.seed),
            effective_rank=effective_rank(sample),
            rank_vectors=len(sample),
            removed_directions=directions[place] if directions else 0,
            high_norm_share=sum(int(one.sum()) for one in high) / cells if cells else None,
            median_norm=float(self.norms[0][place].median()) if self.norms[0] else None,
            describe_ms=self.studied.describe_ms(part, place, context),
            timed_px=part.shape[0],
            map_bytes=sum(4 * level.values.numel() for level in levels),
        )

    def _view(self, place: int) -> LayerView:
        assert self.reference_maps is not None
        with torch.inference_mode():
            values = self.reference_maps.plain[place][0].values[0].permute(1, 2, 0).cpu()
            flat = values.reshape(-1, values.shape[2])
            name = self.studied.identify(place)[1]
            basis = fit_basis([flat], sample_limit=_PCA_CELLS, fitted_on=name)
            pca = project(basis, values)
            if not self.norms[0]:
                return LayerView(pca, None, 0)
            norms = self.norms[0][place]
            return LayerView(pca, norms[0].cpu().numpy(), int(high_norm_cells(norms).sum()))


def _some_cells(levels: Levels) -> Tensor:
    """``(N, D)`` vectors of some cells, drawn without repetition; the draw depends on their number.

    Cells of a grid would meet the same place of a pattern again and again.
    """
    parts = []
    for level in levels:
        vectors = level.values[0].flatten(1).T
        count = math.ceil(_RANK_CELLS / len(levels))
        chosen = np.random.default_rng(0).permutation(len(vectors))[:count]
        parts.append(vectors[torch.from_numpy(chosen).to(vectors.device)].cpu())
    return torch.cat(parts)


def _part(pixels: NDArray[np.float32], start_px: int = 0) -> NDArray[np.float32]:
    """A square from the middle of an image, begun so many pixels farther right and down.

    A pixel less than the image at most, so that it can begin a pixel on.
    """
    height, width = pixels.shape[:2]
    edge_px = min(_EDGE_PX, height - 1, width - 1)
    top, left = ((side - 1 - edge_px) // 2 + start_px for side in (height, width))
    part: NDArray[np.float32] = np.ascontiguousarray(
        pixels[top : top + edge_px, left : left + edge_px]
    )
    return part


def _pair(share: Any) -> tuple[float, float]:
    return share.of_noise, share.seen_in_constant
