"""Measure descriptors on pairs whose truth is known, and write the result.  Loads torch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from engine.data.folders import natural_key
from engine.data.layouts import group_word
from engine.descriptors.plugins import plugin_record
from engine.descriptors.registry import make_spec
from engine.devices import resolve_device
from engine.errors import (
    ConfigError,
    DatasetError,
    JobCancelled,
    OutputError,
    WeightsError,
)
from engine.evaluation.comparison import untaken
from engine.evaluation.datasets import EvaluationPair, EvaluationSet, open_evaluation_set
from engine.evaluation.fingerprint import Fingerprint
from engine.evaluation.learned import (
    Marks,
    check_not_learned,
    groups_with,
    images_of,
    learned_by,
    shared_images,
)
from engine.evaluation.measure import (
    DescriptorChoice,
    EvaluatedDescriptor,
    check_truths,
    make_fingerprint,
    measure_pairs,
    prepare_descriptor,
)
from engine.evaluation.metrics.estimators import check_estimator
from engine.evaluation.points import POINTS_FOLDER
from engine.evaluation.ranks import Ranks, joined_ranks, own_device
from engine.evaluation.result import (
    EvaluationResult,
    Sources,
    Timing,
    subsets_of,
    sum_metrics_up,
    summarise,
    write_result,
)
from engine.evaluation.run_folder import (
    SETTINGS_FILE,
    Begun,
    PairRecord,
    add_record,
    begin_rows,
    has_rows,
    read_begun,
)
from engine.evaluation.switches import (
    DRAWN_QUERIES,
    DrawnQueries,
    MetricSwitches,
    Protocol,
    default_queries,
)
from engine.files import make_folder, remove_parts, write_atomically
from engine.imagefiles.value_range import check_value_range
from engine.jobs.settings import (
    ORACLE_PREFIX,
    EvaluateConfig,
    config_text,
    settings_of,
    split_descriptor,
)
from engine.metrics import METRIC_FAMILIES
from engine.progress import JobContext, Note, Progress, Saved, Stage
from engine.vocabulary import PRECOMPUTED, counted, some_of
from engine.writer_lock import sole_writer

_WEIGHT_SUFFIXES: Final = frozenset({".safetensors", ".pt", ".pth", ".ckpt"})

Listener = Callable[[Begun, PairRecord | None], None]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An evaluation that can begin."""

    protocol: Protocol
    dataset: EvaluationSet
    device: torch.device
    descriptors: tuple[EvaluatedDescriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateJob:
    """Measure descriptors on a data set.

    Attributes:
        config: the settings.
        choices: the descriptors, from :func:`choose_descriptors`.
        out: the run's folder; made if it is not there.
        resume: continue what was begun in that folder.
        strict: end at the first broken pair instead of leaving it out.
        data_folder: where ``HPATCHES`` is looked for.
        command: the command that repeats this run, for the report.
        listener: called from the working thread before the first pair and after each that this
            process measured, with all that is done so far and the pair's record.
        clock: what describing and matching are timed by, in seconds; ``time.thread_time`` leaves
            out what other programs and the thread that reads images do.
    """

    config: EvaluateConfig
    choices: tuple[DescriptorChoice, ...]
    out: Path
    resume: bool = False
    strict: bool = False
    data_folder: Path | None = None
    command: str = ""
    listener: Listener | None = None
    clock: Callable[[], float] = time.perf_counter

    def run(self, context: JobContext) -> EvaluationResult:
        """Measure, and write ``result.json`` and its tables.

        Under ``torchrun`` the groups are shared among the processes; all of them return the
        whole result, and the first one writes it.

        Raises:
            DescSpaceError: the data set, a descriptor, the device or the folder cannot be used;
                or, with ``strict``, a pair is broken.
            JobCancelled: it was stopped; what was measured stays in the folder.
        """
        start_s = time.perf_counter()
        ready = prepare_evaluation(
            self.config, self.choices, self.data_folder, context, strict=self.strict
        )
        dataset, device = ready.dataset, ready.device
        fingerprint = make_fingerprint(ready.protocol, dataset, ready.descriptors, device)
        with joined_ranks(device) as ranks, contextlib.ExitStack() as held:
            begun = self._begin(ranks, dataset, fingerprint, held)
            before = len(begun.records)
            if before:
                text = f"Continuing: {before} of {dataset.pair_count} pairs are done."
                context.emit(Note(text))
            todo = _without(dataset.groups, begun.records)[ranks.rank :: ranks.world]
            total = sum(map(len, todo))
            context.emit(Progress(Stage.MEASURING_PAIRS, 0, total))
            if self.listener is not None:
                self.listener(begun, None)
            found: list[PairRecord] = []
            begin_rows(begun, ranks.rank)
            try:
                for record in measure_pairs(
                    replace(dataset, groups=todo),
                    ready.protocol,
                    ready.descriptors,
                    device=device,
                    strict=self.strict,
                    context=context,
                    clock=self.clock,
                ):
                    add_record(self.out, record, ranks.rank)
                    found.append(replace(record, points=None))
                    context.emit(Progress(Stage.MEASURING_PAIRS, len(found), total))
                    if self.listener is not None:
                        done = replace(begun, records=(*begun.records, *found))
                        self.listener(done, record)
            except JobCancelled:
                kept = f"{before + len(found)} pairs are kept in {self.out}"
                context.emit(Note(f"{kept}; --resume continues there."))
                raise
            records = (*begun.records, *(one for part in ranks.gather(found) for one in part))
            result = _sum_up(replace(begun, records=records), dataset)
            result = replace(result, wall_s=time.perf_counter() - start_s)
            if ranks.rank == 0:
                for path in write_result(self.out, result):
                    context.emit(Saved(path, path.stem))
        return result

    def _begin(
        self,
        ranks: Ranks,
        dataset: EvaluationSet,
        fingerprint: Fingerprint,
        held: contextlib.ExitStack,
    ) -> Begun:
        """Make the folder, lock it, and read what was measured in it before, by any process."""

        def lock_and_read() -> tuple[PairRecord, ...]:
            if ranks.rank == 0:
                held.enter_context(sole_writer(self.out))
            before = self._read_before(fingerprint)
            if ranks.rank == 0:  # the others write only once this one has read, too
                points = self.out / POINTS_FOLDER
                remove_parts(self.out, *(points.iterdir() if points.is_dir() else ()))
            return before

        gathered = ranks.gather_work(lock_and_read)
        known = {one.key for one in dataset.pairs()}
        merged = {one.key: one for part in reversed(gathered) for one in part}
        if ranks.rank == 0:
            self._write_settings()
        weights = {c.label: dict(c.spec.settings).get("weights") for c in self.choices}
        sources = Sources(
            dataset=self.config.dataset,
            root=str(dataset.root.absolute()),
            opened=dataset.opened,
            weights={label: str(path) for label, path in weights.items() if path},
            command=self.command,
        )
        records = tuple(record for key, record in sorted(merged.items()) if key in known)
        return Begun(self.out, fingerprint, sources, records)

    def _read_before(self, fingerprint: Fingerprint) -> tuple[PairRecord, ...]:
        make_folder(self.out)
        if not has_rows(self.out):
            return ()
        if not self.resume:
            raise OutputError(
                self.out,
                "holds an evaluation already; continue it with --resume, or name another folder",
            )
        begun = read_begun(self.out, fingerprint)
        return () if begun is None else begun.records

    def _write_settings(self) -> None:
        """The settings in the words of a config file, so that the run can be repeated."""
        named = []
        for choice in self.choices:
            weights = dict(choice.spec.settings).get("weights")
            name = f"{ORACLE_PREFIX if choice.oracle else ''}{choice.spec.name}"
            named.append(f"{name}={weights}" if weights else name)
        settings = {
            choice.spec.name: {k: v for k, v in choice.spec.settings if k != "weights"}
            for choice in self.choices
        }
        own = settings if len(settings) > 1 else next(iter(settings.values()))
        plugins = plugin_record(settings)
        text = config_text(replace(self.config, descriptor=tuple(named)), own, plugins)
        write_atomically(self.out / SETTINGS_FILE, text.encode("utf-8"))


def prepare_evaluation(
    config: EvaluateConfig,
    choices: Sequence[DescriptorChoice],
    data_folder: Path | None,
    context: JobContext,
    *,
    strict: bool = False,
) -> Prepared:
    """Find the pairs and the device, and build the descriptors.

    Raises:
        DescSpaceError: one of them cannot be used; or, with ``strict``, a pair is broken.
    """
    protocol = make_protocol(config)
    dataset = open_evaluation_set(
        config.dataset,
        which=config.subset,
        only=config.group,
        data_folder=data_folder,
        context=context,
    )
    for problem in dataset.problems:
        if strict:
            raise DatasetError(dataset.root, problem.removesuffix("."))
        context.emit(Note(problem, "warning"))
    marks = {choice.label: learned_by(choice.spec) for choice in choices}
    if config.without_learned:
        dataset = _without_learned(dataset, marks, config, data_folder, context)
    for label, some in marks.items():
        check_not_learned(dataset, label, some, can_leave_out=True)
    check_truths(protocol, dataset, choices)
    device = own_device(resolve_device(config.device))
    descriptors = tuple(
        prepare_descriptor(
            choice, protocol, device=device, precision=config.precision, context=context
        )
        for choice in choices
    )
    return Prepared(protocol, dataset, device, descriptors)


def _without_learned(
    dataset: EvaluationSet,
    marks: Mapping[str, Marks],
    config: EvaluateConfig,
    data_folder: Path | None,
    context: JobContext,
) -> EvaluationSet:
    """The groups of a set with no image that any of the descriptors learned from.

    Raises:
        DatasetError: there is none.
    """
    every = frozenset(mark for some in marks.values() for mark in some)
    left_out = groups_with(dataset, frozenset(shared_images(images_of(dataset), every)))
    if not left_out:
        return dataset
    rest = [name for group in dataset.groups if (name := group[0].pair.sequence) not in left_out]
    labels = " and ".join(label for label, some in marks.items() if some)
    word = group_word(dataset.layout)
    if not rest:
        reason = f"has no {word} without images that {labels} learned from; report another set"
        raise DatasetError(dataset.root, reason)
    text = f"{labels} learned from images of {counted(len(left_out), word)} "
    context.emit(Note(f"{text}({some_of(left_out)}): left out.", "warning"))
    return open_evaluation_set(
        config.dataset, which=config.subset, only=rest, data_folder=data_folder, context=context
    )


def make_protocol(config: EvaluateConfig) -> Protocol:
    """The protocol that the settings describe.

    Raises:
        ConfigError: settings that do not go together.
    """
    lists: Mapping[str, tuple[DrawnQueries, ...]] = {
        "protocol": default_queries(config.protocol),
        "harris": ("harris",),
        "uniform": ("uniform",),
        "both": DRAWN_QUERIES,
    }
    return Protocol(
        name=config.protocol,
        thresholds_px=tuple(sorted(set(config.threshold_px))),
        matcher=config.matcher,
        queries=lists[config.queries],
        query_limit=config.query_limit,
        long_edge_px=config.long_edge_px,
        grid_stride_px=config.grid_stride_px,
        refined=config.refine,
        seed=config.seed,
        value_range=config.value_range and check_value_range(*config.value_range),
        metrics=_metric_switches(config),
    )


def _metric_switches(config: EvaluateConfig) -> MetricSwitches:
    """The metrics that the settings choose.

    Raises:
        ConfigError: the estimator that one of them needs is not installed.
    """
    chosen = METRIC_FAMILIES if "all" in config.metric else config.metric
    switches = MetricSwitches(
        chosen=tuple(family for family in METRIC_FAMILIES if family in chosen),
        grid_stride_px=config.metric_stride_px,
        refined=config.refine,
        found_on=config.found_on,
        keypoint_limit=config.keypoint_limit,
        estimator=config.estimator,
        inlier_px=config.inlier_px,
    )
    if switches.estimates:
        check_estimator(switches.estimator)
    return switches


def choose_descriptors(
    config: EvaluateConfig, values: Mapping[str, Any]
) -> tuple[DescriptorChoice, ...]:
    """Write down the descriptors that take part, each with a label of its own.

    Args:
        config: names them.
        values: their own settings; see :func:`engine.jobs.settings.settings_of`.

    Raises:
        ConfigError: an unknown descriptor or setting, or none at all.
        WeightsError: a run folder without a checkpoint.
    """
    named = [split_descriptor(text) for text in config.descriptor]
    if not named:
        raise ConfigError("descriptor", "at least one is needed")
    names = [name.removeprefix(ORACLE_PREFIX) for name, _ in named]
    if PRECOMPUTED in names:
        raise ConfigError("descriptor", f"{PRECOMPUTED!r} has maps of single images only")
    choices: list[DescriptorChoice] = []
    for name, (written, place) in zip(names, named, strict=True):
        oracle = written != name
        own = settings_of(name, names, values)
        if place is not None:
            own["weights"] = str(find_weights(place))
        remarks = ["oracle"] if oracle else []
        if config.matcher == "consensus":
            remarks.append(config.matcher)
        if [one for one, _ in named].count(written) > 1 and place is not None:
            remarks.insert(0, place.stem)
        label = f"{name} ({', '.join(remarks)})" if remarks else name
        label = untaken(label, [choice.label for choice in choices])
        choices.append(DescriptorChoice(label, make_spec(name, own), oracle))
    return tuple(choices)


def find_weights(place: Path) -> Path:
    """The weights at a place: a file itself, or the last checkpoint of a run's folder.

    In a folder (or its ``weights``) a file named ``last`` is taken, else the one whose name comes
    last in natural order; the one named ``best`` only where it is alone.

    Raises:
        WeightsError: there is none.
    """
    if not place.is_dir():
        return place
    folder = place / "weights" if (place / "weights").is_dir() else place
    files = [file for file in folder.iterdir() if file.suffix.lower() in _WEIGHT_SUFFIXES]
    if not files:
        raise WeightsError(place, "holds no checkpoint (a file such as weights/last.safetensors)")
    files.sort(key=lambda f: (f.stem == "last", f.stem != "best", natural_key(f.name)))
    return files[-1]


def _without(
    groups: Sequence[tuple[EvaluationPair, ...]], done: Sequence[PairRecord]
) -> tuple[tuple[EvaluationPair, ...], ...]:
    """What is left to do: the pairs of each group that are not done; finished ones left out."""
    keys = {record.key for record in done}
    left = (tuple(one for one in group if one.key not in keys) for group in groups)
    return tuple(group for group in left if group)


def _sum_up(begun: Begun, dataset: EvaluationSet) -> EvaluationResult:
    """The result of a run whose pairs are all done, in the order of the data set."""
    fingerprint = begun.fingerprint
    place = {one.key: number for number, one in enumerate(dataset.pairs())}
    records = sorted(begun.records, key=lambda record: place[record.key])
    rows = [row for record in records for row in record.rows]
    rows.sort(
        key=lambda row: (
            fingerprint.sampler.queries.index(row.queries),
            fingerprint.labels.index(row.descriptor),
        )
    )
    return EvaluationResult(
        fingerprint=fingerprint,
        summary=summarise(rows, fingerprint, subsets=subsets_of(dataset.pairs())),
        pairs=tuple(rows),
        left_out=tuple(entry for record in records for entry in record.left_out),
        problems=dataset.problems,
        timings=tuple(_add_up(label, records) for label in fingerprint.labels),
        wall_s=None,
        sources=begun.sources,
        folder=begun.folder,
        metrics=sum_metrics_up(rows, fingerprint),
    )


def _add_up(label: str, records: Sequence[PairRecord]) -> Timing:
    mine = [one for record in records for one in record.timings if one.descriptor == label]
    return Timing(
        label,
        sum(one.images for one in mine),
        sum(one.describe_s for one in mine),
        sum(one.pairs for one in mine),
        sum(one.match_s for one in mine),
    )
