"""Study the layers of a network: which one matches best, and what each is like.  Loads torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.config import config_values, option_text, override_texts
from engine.descriptors.base import PairDescriptor
from engine.descriptors.families.backbone import BackboneDescriptor, find_layers
from engine.descriptors.model_names import parse_model_name
from engine.descriptors.plugins import plugin_files
from engine.descriptors.registry import DescriptorSpec, get_descriptor, make_spec
from engine.devices import resolve_device
from engine.errors import ConfigError, DescSpaceError
from engine.evaluation.datasets import EvaluationPair, EvaluationSet, open_evaluation_set
from engine.evaluation.learned import check_not_learned, learned_by
from engine.evaluation.measure import (
    DescriptorChoice,
    EvaluatedDescriptor,
    make_fingerprint,
    noting_once,
    prepare_descriptor,
)
from engine.evaluation.points import PairPoints
from engine.evaluation.protocols import measured_resize
from engine.evaluation.report import PairPicture
from engine.evaluation.report_figures import draw_pair
from engine.evaluation.result import PairRow, Sources
from engine.evaluation.study import (
    MAIN_PROTOCOL,
    MAIN_PX,
    STUDY_HTML,
    THRESHOLDS_PX,
    StudyResult,
    Variant,
    check_unused,
    spread_pairs,
    write_study,
)
from engine.evaluation.study_layers import (
    Listener,
    MeasuredLayers,
    StudiedDescriptor,
    measure_layers,
)
from engine.evaluation.study_report import write_study_page
from engine.evaluation.switches import Protocol
from engine.files import make_folder
from engine.geometry.coords import Resize
from engine.imagefiles.value_range import check_value_range
from engine.images import as_uint8, read_image
from engine.jobs.command_line import ViewOptions, command_line
from engine.jobs.evaluate import find_weights
from engine.jobs.settings import StudyConfig, split_descriptor
from engine.progress import JobContext, Note, Progress, Saved, Stage
from engine.vocabulary import PRECOMPUTED

_WORST_PAIRS: Final = 3
_ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyJob:
    """Study the layers of a network.

    Attributes:
        config: the settings.
        spec: the descriptor, from :func:`choose_study`.
        out: folder to write into; made if it is not there.
        data_folder: where ``HPATCHES`` is looked for.
        command: the command that repeats this study, for the page.
        listener: called from the working thread after each pair with how many are done, how many
            there are, and each layer's (name, mean PCK) so far.
        clock: what times are taken by, in seconds; ``time.process_time`` leaves out what other
            programs take meanwhile.
    """

    config: StudyConfig
    spec: DescriptorSpec
    out: Path
    data_folder: Path | None = None
    command: str = ""
    listener: Listener | None = None
    clock: Callable[[], float] = time.perf_counter

    def run(self, context: JobContext) -> StudyResult:
        """Measure, and write ``study.html``, ``study.json`` and ``study.csv``.

        Raises:
            DescSpaceError: the data set, the network, the device or the folder cannot be used.
            JobCancelled: it was stopped; nothing was written.
        """
        context = noting_once(context)
        make_folder(self.out)
        check_unused(self.out)
        protocol = _protocol(self.config)
        dataset = open_evaluation_set(
            self.config.dataset, data_folder=self.data_folder, context=context
        )
        problems = list(dataset.problems)
        for problem in problems:
            context.emit(Note(problem, "warning"))
        check_not_learned(dataset, self.spec.name, learned_by(self.spec))
        dataset = spread_pairs(dataset, self.config.pairs)
        device = resolve_device(self.config.device)
        evaluated = prepare_descriptor(
            DescriptorChoice(self.spec.name, self.spec),
            protocol,
            device=device,
            precision=self.config.precision,
            context=context,
        )
        layers = self._layers(evaluated, problems, context)
        studied = StudiedDescriptor(
            evaluated,
            layers,
            components=self.config.remove_position,
            device=device,
            clock=self.clock,
        )
        measured = measure_layers(
            studied, dataset, protocol, context=context, listener=self.listener
        )
        result = StudyResult(
            fingerprint=make_fingerprint(protocol, dataset, [evaluated], device),
            components=self.config.remove_position,
            layers=measured.layers,
            rows=measured.rows,
            reference=(
                measured.reference.measured.path,
                measured.reference.working.size_px,
            ),
            left_out=measured.left_out,
            problems=tuple(problems),
            times=measured.times,
            sources=self._sources(dataset),
            folder=self.out,
        )
        worst = self._worst(result, measured, dataset, protocol, context)
        context.cancel.check()
        paths = write_study(self.out, result)
        write_study_page(
            self.out / STUDY_HTML,
            result,
            reference=measured.reference.working.pixels,
            views=measured.views,
            worst=worst,
        )
        for path in (self.out / STUDY_HTML, *paths):
            context.emit(Saved(path, path.stem))
        return result

    def _sources(self, dataset: EvaluationSet) -> Sources:
        weights = dict(self.spec.settings).get("weights")
        return Sources(
            dataset=self.config.dataset,
            root=str(dataset.root.absolute()),
            weights={self.spec.name: str(weights)} if weights else {},
            command=self.command,
        )

    def _layers(
        self, evaluated: EvaluatedDescriptor, problems: list[str], context: JobContext
    ) -> tuple[int, ...]:
        """The numbers of the layers whose cells can be placed.

        Raises:
            ConfigError: there is no such layer, the descriptor has none, or it looks at pairs.
            DescSpaceError: no layer's cells can be placed.
        """
        descriptor = evaluated.descriptor
        if isinstance(descriptor, PairDescriptor):
            raise ConfigError(
                "descriptor", f"{self.spec.name!r} describes pairs of images, and has no layers"
            )
        if not isinstance(descriptor, BackboneDescriptor):
            if self.config.layers != _ALL:
                raise ConfigError("layers", f"{self.spec.name!r} has no layers to choose from")
            return (0,)
        name, words = descriptor.name, _words(self.config.layers)
        facet = descriptor.facet
        wanted: Sequence[int]
        if words:
            wanted = find_layers(replace(name, layers=words), descriptor.layers, facet)
        elif name.layers:
            wanted = descriptor.chosen
        else:
            wanted = [
                number
                for number, layer in enumerate(descriptor.layers)
                if facet == "token" or layer.facets
            ]
        usable, fault = [], ""
        for number in wanted:
            context.cancel.check()
            try:
                descriptor.grid_of(number, context.cancel.check)
            except DescSpaceError as error:
                fault = f"Layer {number} is left out. {error}"
                problems.append(fault)
                context.emit(Note(fault, "warning"))
            else:
                usable.append(number)
        if not usable:
            raise DescSpaceError(fault)
        return tuple(usable)

    def _worst(
        self,
        result: StudyResult,
        measured: MeasuredLayers,
        dataset: EvaluationSet,
        protocol: Protocol,
        context: JobContext,
    ) -> tuple[PairPicture, ...]:
        """The pairs that the best layer matches worst, with commands that open them."""
        found = measured.points.get(Variant(result.best.number, MAIN_PROTOCOL), {})
        pairs = {one.key: one for one in dataset.pairs()}
        rows = result.worst(_WORST_PAIRS)
        pictures = []
        for done, row in enumerate(rows):
            context.cancel.check()
            context.emit(Progress(Stage.WORST_PAIRS, done, len(rows)))
            points = found[row.key]
            pictures.append(
                self._picture(result, row, pairs[row.key], dataset.opened, points, protocol)
            )
        return tuple(pictures)

    def _picture(
        self,
        result: StudyResult,
        row: PairRow,
        one: EvaluationPair,
        opened: str,
        points: PairPoints,
        protocol: Protocol,
    ) -> PairPicture:
        pair = one.pair
        images = []
        resizes: list[Resize] = []
        for path, stress in ((pair.path_a, None), (pair.path_b, one.stress)):
            image = read_image(path, shown=protocol.value_range)
            images.append(as_uint8(image.pixels if stress is None else stress.apply(image.pixels)))
            resizes.append(measured_resize(image.size_px, protocol.long_edge_px))
        title = one.pair.name
        right = points.errors_px <= MAIN_PX
        figure, drawn = draw_pair(
            (images[0], images[1]),
            (resizes[0].to_size_px, resizes[1].to_size_px),
            points.query_px,
            points.match_px,
            right,
            title=title,
        )
        count = int(right.sum())
        note = f"{count} right and {row.count - count} wrong matches"
        note += "" if drawn == row.count else f"; {drawn} of them are drawn"
        view = ViewOptions(
            images=(Path(opened),),
            group=row.sequence,
            pair_index=row.index,
            descriptor=result.best.descriptor,
            weights=dict(self.spec.settings).get("weights"),
            settings=self._own_settings(),
            plugins=plugin_files([self.spec.name]),
            value_range=option_text(self.config.value_range) if self.config.value_range else None,
            long_edge_px=protocol.long_edge_px,
        )
        if one.stress is None:
            farthest = int(np.argmax(np.nan_to_num(points.errors_px, nan=np.inf)))
            x, y = resizes[0].backward(points.query_px[farthest]).tolist()
            view = replace(view, probe_px=(round(x, 1), round(y, 1)))
        else:
            note += "; the command opens the pair as it was before it was turned or zoomed"
        shares = [
            f"layer {layer.number} {share:.3f}"
            for layer in (result.best, *result.rivals[:2])
            for share in _share_of(result, layer.number, row.key)
        ]
        return PairPicture(title, " · ".join(shares), figure, note, command_line("view", view))

    def _own_settings(self) -> tuple[str, ...]:
        """The settings that differ from the descriptor's own, but for its weights."""
        usual = config_values(get_descriptor(self.spec.name).config())
        own = {
            name: value
            for name, value in self.spec.settings
            if name != "weights" and option_text(value) != option_text(usual.get(name))
        }
        return override_texts(own)


def choose_study(config: StudyConfig, own: Mapping[str, Any]) -> DescriptorSpec:
    """Write down the descriptor whose layers are studied.

    Args:
        config: names it.
        own: its own settings.

    Raises:
        ConfigError: an unknown descriptor or setting, or none, or one that has maps of single
            images only.
        WeightsError: a run folder without a checkpoint.
    """
    if not config.dataset.strip():
        raise ConfigError("dataset", "is not named; name a folder or file with pairs, or 'demo'")
    name, place = split_descriptor(config.descriptor)
    if name == PRECOMPUTED:
        raise ConfigError("descriptor", f"{PRECOMPUTED!r} has maps of single images only")
    _words(config.layers)
    model = parse_model_name(name)
    if model is not None and model.layers and config.layers != _ALL:
        raise ConfigError("layers", f"are named twice: by {name!r}, and as {config.layers!r}")
    values = dict(own)
    if place is not None:
        values["weights"] = str(find_weights(place))
    return make_spec(name, values)


def _share_of(result: StudyResult, layer: int, key: tuple[str, int]) -> list[float]:
    rows = result.rows.get(Variant(layer, MAIN_PROTOCOL), ())
    return [row.share(MAIN_PX) for row in rows if row.key == key]


def _words(layers: str) -> tuple[str, ...]:
    """The layers that a text names; none where it means all.

    Raises:
        ConfigError: it names nothing.
    """
    words = tuple(word.strip() for word in layers.split(","))
    if not all(words):
        raise ConfigError("layers", f"{layers!r} names no layers; write all, or 0,3,11")
    return () if words == (_ALL,) else words


def _protocol(config: StudyConfig) -> Protocol:
    return Protocol(
        name=MAIN_PROTOCOL,
        thresholds_px=THRESHOLDS_PX,
        matcher="exact",
        queries=("harris",),
        query_limit=config.query_limit,
        long_edge_px=config.long_edge_px,
        grid_stride_px=config.grid_stride_px,
        seed=config.seed,
        value_range=config.value_range and check_value_range(*config.value_range),
    )
