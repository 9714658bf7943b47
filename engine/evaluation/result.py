"""What an evaluation found, as plain data, and its files: ``result.json`` and two tables as CSV.

The file's fields are explained in docs/PROTOCOLS.md and checked by
``resources/schemas/result.schema.json``.  Undefined numbers are None, which JSON writes as null.
Files of the formats before the present one are brought up to it as they are read.
``summary`` and ``pairs`` hold nothing that depends on time, so the same command writes the same.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.data.folders import natural_key
from engine.data.layouts.hpatches import kind_of
from engine.data.pair_set import is_group_name, is_subset_name
from engine.errors import ResultError, quoted
from engine.evaluation.datasets import ALL, EvaluationPair
from engine.evaluation.fingerprint import Fingerprint, Json, plain_titles
from engine.evaluation.metric_summary import MetricRow, metric_columns, summarise_metrics
from engine.evaluation.metrics.calibration import PERCENTS
from engine.evaluation.metrics.found_matches import RECALLS
from engine.evaluation.pck import (
    CURVE_PX,
    LEAST_SEQUENCES,
    RESAMPLES,
    bootstrap_mean,
    count_within,
)
from engine.evaluation.points import has_points
from engine.evaluation.switches import Protocol, QueryKind
from engine.files import csv_text, parse_json, read_input, write_atomically

FORMAT: Final = 2
"""Of the files that are written: 1 knew sequences of HPatches alone; 2 has parts and groups of any
set of pairs, and other metrics beside PCK."""
RESULT_FILE: Final = "result.json"
RESULT_BYTES: Final = 1 << 30  # ten thousand pairs and ten descriptors take 50 MB
PAIRS_CSV: Final = "pairs.csv"
SUMMARY_CSV: Final = "summary.csv"
_COUNTED: Final = ("descriptor", "subset", "queries", "threshold_px", "pairs", "sequences")

_NAMED: Final = ("metrics", "properties")

_NOTHING: Final[Mapping[str, float | None]] = MappingProxyType({})

_FIRST_SUBSETS: Final = ("viewpoint", "illumination")


NamedValues = tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class PairRow:
    """One descriptor on one pair with one list of queries.

    Attributes:
        descriptor: its label in the fingerprint.
        sequence: name of the pair's group.
        index: its number in the group; of its second image, in a sequence.
        queries: which list.
        count: how many queries there were, at least 1.
        pck: (threshold in px, share within it), ascending.
        counts_within: how many errors do not exceed each of :data:`~engine.evaluation.pck.CURVE_PX`
            (0, 0.5, ..., 10 px).
        metrics: (name, value) of the field's metrics; None where one is undefined or failed.
        properties: (name, value) of what the pair is like; None where its truth does not tell.
        subset: the part of the set that the pair belongs to, "" for none.
        precision: of the matches as found, at each of
            :data:`~engine.evaluation.metrics.found_matches.RECALLS`, to a millionth; empty where
            it was not measured.
        name: what the set calls the pair; "" where its group and its number say it.
        confidences: (confidence in whole percent, how many queries have it, how many of these are
            right), ascending; empty where it was not measured.
    """

    descriptor: str
    sequence: str
    index: int
    queries: QueryKind
    count: int
    pck: tuple[tuple[float, float], ...]
    counts_within: tuple[int, ...]
    metrics: NamedValues = ()
    properties: NamedValues = ()
    subset: str = ""
    precision: tuple[float, ...] = ()
    name: str = ""
    confidences: tuple[tuple[int, int, int], ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """The pair: its group and its number."""
        return self.sequence, self.index

    def share(self, threshold_px: float) -> float:
        """PCK at one of its thresholds; 0 where it has no such threshold."""
        for limit, share in self.pck:  # millions of times: no dictionary
            if limit == threshold_px:
                return share
        return 0.0

    def to_json(self) -> Json:
        """As in the file; lists of values that are empty are left out."""
        values = asdict(self)
        named = {name: dict(values.pop(name)) for name in _NAMED}
        pck = {threshold_name(limit): share for limit, share in self.pck}
        for optional in ("precision", "name", "confidences"):
            if not values[optional]:
                del values[optional]
        return values | {"pck": pck} | {name: some for name, some in named.items() if some}

    @classmethod
    def from_json(cls, values: Json) -> PairRow:
        """Back from the file."""
        pck = tuple((float(name), float(share)) for name, share in values["pck"].items())
        named = {name: tuple(values.get(name, {}).items()) for name in _NAMED}
        lists = {
            "counts_within": tuple(values["counts_within"]),
            "precision": tuple(values.get("precision", ())),
            "confidences": tuple(tuple(one) for one in values.get("confidences", ())),
        }
        return cls(**values | named | lists | {"pck": pck})


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A mean over pairs; ``pck`` is None over no pairs, ``low`` and ``high`` below two groups.

    Attributes:
        descriptor: its label in the fingerprint.
        subset: ``all``, or the part of the set whose pairs these are.
        queries: which list.
        threshold_px: what counts as right.
        pck: mean over pairs of the share of queries that are right.
        low, high: 95 % interval of it, by bootstrap over groups.
        pairs: how many pairs it is the mean of.
        sequences: how many groups these are of.
    """

    descriptor: str
    subset: str
    queries: QueryKind
    threshold_px: float
    pck: float | None
    low: float | None
    high: float | None
    pairs: int
    sequences: int

    @property
    def value(self) -> float | None:
        """The mean, as rows of other metrics call theirs."""
        return self.pck

    @property
    def few(self) -> bool:
        """Whether there is an interval that means little, over so few groups."""
        return self.ends is not None and self.sequences < LEAST_SEQUENCES

    @property
    def ends(self) -> tuple[float, float] | None:
        """(low, high); None where there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A pair, or one list of queries of it, that was not measured.

    Attributes:
        sequence: name of the pair's group.
        index: its number in the group.
        queries: the list that came out empty; None where the whole pair is broken.
        reason: a sentence.
    """

    sequence: str
    index: int
    queries: QueryKind | None
    reason: str


@dataclass(frozen=True, slots=True)
class Timing:
    """What one descriptor took.

    Attributes:
        descriptor: its label in the fingerprint.
        images: how many images were described.
        describe_s: seconds for all of them.
        pairs: how many pairs were matched.
        match_s: seconds for all of them.
    """

    descriptor: str
    images: int
    describe_s: float
    pairs: int
    match_s: float

    @property
    def s_per_image(self) -> float | None:
        """Seconds to describe an image, None where there was none."""
        return self.describe_s / self.images if self.images else None

    @property
    def s_per_pair(self) -> float | None:
        """Seconds to match a pair, None where there was none."""
        return self.match_s / self.pairs if self.pairs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the numbers were made from on this computer.

    Attributes:
        dataset: the data set's name as it was given.
        root: the folder of its images.
        opened: what opens it in the window, as a path or ``LAYOUT:PATH``; "" for ``root``.
        weights: label -> file.
        command: the command that measures the same again.
    """

    dataset: str = ""
    root: str = ""
    opened: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """What an evaluation found, finished or not.

    Attributes:
        fingerprint: how the numbers were made; results with another one are not comparable.
        summary: means by list of queries (Harris first), descriptor, subset and threshold; without
            intervals while it is not finished.
        pairs: one row per pair, descriptor and list of queries.
        left_out: the pairs that were not measured.
        problems: what was wrong with the data set when it was opened, a sentence each.
        timings: one entry per descriptor; none while it is not finished.
        wall_s: seconds the last run took, reading included; None while it is not finished.
        sources: where things are on this computer.
        folder: where its files are; None for a result that has none.
        metrics: the field's metrics over the pairs of each subset, by list of queries, descriptor,
            subset and metric.
    """

    fingerprint: Fingerprint
    summary: tuple[SummaryRow, ...]
    pairs: tuple[PairRow, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...]
    timings: tuple[Timing, ...]
    wall_s: float | None
    sources: Sources
    folder: Path | None = field(default=None, compare=False)
    metrics: tuple[MetricRow, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The descriptors, in order."""
        return self.fingerprint.labels

    @property
    def finished(self) -> bool:
        """Whether all pairs are done."""
        return self.wall_s is not None

    @property
    def has_points(self) -> bool:
        """Whether its matches were kept; earlier versions did not."""
        return self.folder is not None and has_points(self.folder)

    @property
    def seen(self) -> frozenset[tuple[str, int]]:
        """The pairs, as (group, index), that were measured or left out."""
        left_out = {(entry.sequence, entry.index) for entry in self.left_out}
        return frozenset(left_out | {row.key for row in self.pairs})

    def to_json(self) -> Json:
        """As in the file."""
        timings = [
            asdict(one) | {"s_per_image": one.s_per_image, "s_per_pair": one.s_per_pair}
            for one in self.timings
        ]
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint.to_json(),
            "summary": [asdict(row) for row in self.summary],
            **({"metrics": [asdict(row) for row in self.metrics]} if self.metrics else {}),
            "pairs": [row.to_json() for row in self.pairs],
            "left_out": [asdict(entry) for entry in self.left_out],
            "problems": list(self.problems),
            "timings": {"wall_s": self.wall_s, "descriptors": timings},
            "sources": asdict(self.sources),
        }

    @classmethod
    def from_json(cls, values: Json, folder: Path) -> EvaluationResult:
        """Back from the file in a folder."""
        fingerprint = Fingerprint.from_json(values["fingerprint"])
        timings = values["timings"]["descriptors"]
        names = [field.name for field in fields(Timing)]
        rows = tuple(PairRow.from_json(row) for row in values["pairs"])
        summary = tuple(SummaryRow(**row) for row in values["summary"])
        metrics = tuple(MetricRow(**row) for row in values.get("metrics", ()))
        check_rows(rows, fingerprint)
        _check_summary(summary, rows, fingerprint)
        _check_metrics(metrics, rows, fingerprint)
        return cls(
            fingerprint=fingerprint,
            summary=summary,
            pairs=rows,
            left_out=tuple(LeftOut(**entry) for entry in values["left_out"]),
            problems=tuple(values["problems"]),
            timings=tuple(Timing(*(entry[name] for name in names)) for entry in timings),
            wall_s=float(values["timings"]["wall_s"]),
            sources=Sources(**values["sources"]),
            folder=folder,
            metrics=metrics,
        )


def check_rows(rows: Iterable[PairRow], fingerprint: Fingerprint) -> None:
    """Whether a measurement of this fingerprint can have made these rows.

    A file that was edited by hand, or put together from two runs, may be well-formed and still
    mean nothing.

    Raises:
        ValueError: it cannot, and which field tells.
    """
    seen = set()
    for row in rows:
        place = (row.descriptor, row.key, row.queries)
        shares = [share for _, share in row.pck]
        within = row.counts_within
        sound = {
            "descriptor": row.descriptor in fingerprint.labels,
            "sequence": is_group_name(row.sequence),
            "subset": is_subset_name(row.subset),
            "name": row.name.isprintable(),
            "index": _is_count(row.index),
            "queries": row.queries in fingerprint.sampler.queries and place not in seen,
            "count": _is_count(row.count) and row.count > 0,
            "pck": tuple(limit for limit, _ in row.pck) == fingerprint.thresholds_px
            and all(0 <= share <= 1 for share in shares)
            and shares == sorted(shares),
            "counts_within": len(within) == len(CURVE_PX)
            and all(map(_is_count, within))
            and list(within) == sorted(within)
            and within[-1] <= row.count,
            "precision": not row.precision
            or (len(row.precision) == len(RECALLS) and all(map(_is_share, row.precision))),
            "confidences": _are_confidences(row.confidences, row.count),
            **{name: all(map(_is_known, dict(getattr(row, name)).values())) for name in _NAMED},
        }
        for name, is_sound in sound.items():
            if not is_sound:
                value = quoted(getattr(row, name))
                raise ValueError(f"{name} of {row.sequence} {row.index} cannot be {value}")
        seen.add(place)


def _are_confidences(counted: tuple[tuple[int, int, int], ...], most: int) -> bool:
    if not all(len(list(one)) == 3 and all(map(_is_count, one)) for one in counted):
        return False
    percents = [percent for percent, _, _ in counted]
    return (
        percents == sorted(set(percents))
        and all(percent < PERCENTS for percent in percents)
        and all(0 < count >= right for _, count, right in counted)
        and sum(count for _, count, _ in counted) <= most
    )


def _is_known(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(float(str(value))))


def _is_share(value: object) -> bool:
    return value is not None and _is_known(value) and 0 <= float(str(value)) <= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def with_subset(row: Json) -> Json:
    """A row of a file, which of format 1 has sequences of HPatches alone, and no subset."""
    return {"subset": kind_of(str(row["sequence"])), **row}


def _from_format_1(values: Json) -> Json:
    """The content of a file as the present format has it; what is there stays as it is."""
    rows = [with_subset(row) for row in values["pairs"]]

    def sequences(mean: Json) -> int:
        return len(
            {
                row["sequence"]
                for row in rows
                if (row["descriptor"], row["queries"]) == (mean["descriptor"], mean["queries"])
                and mean["subset"] in (ALL, row["subset"])
            }
        )

    summary = [{"sequences": sequences(mean), **mean} for mean in values["summary"]]
    return {**values, "pairs": rows, "summary": summary}


def _check_summary(
    summary: Iterable[SummaryRow], rows: Iterable[PairRow], fingerprint: Fingerprint
) -> None:
    """Whether a summary is that of its rows.

    Raises:
        ValueError: it is not, and where.
    """
    summary, rows = tuple(summary), tuple(rows)
    # Files of format 1 have a mean of each kind of HPatches, also of one without pairs.
    subsets = tuple(dict.fromkeys(row.subset for row in summary)) or (ALL,)
    if subsets[0] != ALL or not set(subsets_of(rows)) <= set(subsets):
        raise ValueError("the summary is not that of the pairs")
    expected = summarise(rows, fingerprint, resamples=0, subsets=subsets)
    for one, other in itertools.zip_longest(summary, expected):
        names = {
            name for name in _COUNTED if getattr(one, name, None) != getattr(other, name, None)
        }
        if one is None or other is None or names:
            raise ValueError("the summary is not that of the pairs")
        if one.pck != other.pck and not (
            one.pck is not None and other.pck is not None and math.isclose(one.pck, other.pck)
        ):
            raise ValueError(f"the summary's pck of {one.descriptor} is not that of the pairs")
        if one.ends is not None and not 0 <= one.ends[0] <= one.ends[1] <= 1:
            raise ValueError(f"the summary's interval of {one.descriptor} is none")


def _check_metrics(
    metrics: Iterable[MetricRow], rows: Iterable[PairRow], fingerprint: Fingerprint
) -> None:
    """Whether a summary of metrics is that of its rows.

    Raises:
        ValueError: it is not, and where.
    """
    expected = sum_metrics_up(rows, fingerprint, resamples=0)
    for one, other in itertools.zip_longest(metrics, expected):
        if one is None or other is None or _ids(one) != _ids(other):
            raise ValueError("the metrics are not those of the pairs")
        if one.value != other.value and not (
            one.value is not None
            and other.value is not None
            and math.isclose(one.value, other.value)
        ):
            raise ValueError(f"{one.metric} of {one.descriptor} is not that of the pairs")
        if not all(map(_is_known, (one.low, one.high))) or (
            one.ends is not None and one.ends[0] > one.ends[1]
        ):
            raise ValueError(f"the interval of {one.metric} of {one.descriptor} is none")


def _ids(row: MetricRow) -> tuple[object, ...]:
    return row.descriptor, row.subset, row.queries, row.metric, row.pairs, row.sequences


def make_row(
    protocol: Protocol,
    errors_px: NDArray[np.float64],
    descriptor: str,
    one: EvaluationPair,
    queries: QueryKind,
    *,
    metrics: Mapping[str, float | None] = _NOTHING,
    properties: Mapping[str, float | None] = _NOTHING,
    precision: Sequence[float] = (),
    confidences: NDArray[np.int64] | None = None,
) -> PairRow:
    """Sum ``(N,)`` errors of at least one query up; NaN is never right."""
    count, limits = len(errors_px), protocol.thresholds_px
    within = count_within(errors_px, limits)
    return PairRow(
        descriptor=descriptor,
        sequence=one.pair.sequence,
        index=one.pair.index,
        queries=queries,
        count=count,
        pck=tuple((limit, right / count) for limit, right in zip(limits, within, strict=True)),
        counts_within=count_within(errors_px, CURVE_PX),
        metrics=tuple(metrics.items()),
        properties=tuple(properties.items()),
        subset=one.subset,
        precision=tuple(round(share, 6) for share in precision),
        confidences=() if confidences is None else _counted(confidences),
        name="" if one.pair.name in plain_titles(*one.key) else one.pair.name,
    )


def _counted(counts: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """The confidences that occur, of ``(101, 2)`` counts."""
    return tuple(
        (percent, count, right) for percent, (count, right) in enumerate(counts.tolist()) if count
    )


def sum_metrics_up(
    rows: Iterable[PairRow],
    fingerprint: Fingerprint,
    *,
    resamples: int = RESAMPLES,
    subsets: Sequence[str] = (),
) -> tuple[MetricRow, ...]:
    """The field's metrics over all rows; see :func:`summarise`."""
    ordered = sorted(rows, key=lambda row: row.key)
    by_subset: dict[str, list[PairRow]] = {
        subset: [row for row in ordered if subset in (ALL, row.subset)]
        for subset in subsets or subsets_of(ordered)
    }
    return summarise_metrics(
        by_subset,
        fingerprint.labels,
        fingerprint.sampler.queries,
        seed=fingerprint.seed,
        resamples=resamples,
    )


def subsets_of(pairs: Iterable[PairRow | EvaluationPair]) -> tuple[str, ...]:
    """``all``, then the parts of the set that pairs belong to, those of HPatches as papers do."""
    parts = {one.subset for one in pairs} - {""}
    known = [part for part in _FIRST_SUBSETS if part in parts]
    return (ALL, *known, *sorted(parts - set(known), key=natural_key))


def summarise(
    rows: Iterable[PairRow],
    fingerprint: Fingerprint,
    *,
    resamples: int = RESAMPLES,
    subsets: Sequence[str] = (),
) -> tuple[SummaryRow, ...]:
    """The means of all rows, by list of queries, descriptor, subset and threshold.

    Args:
        rows: of all pairs, in any order.
        fingerprint: names what they are of.
        resamples: draws of the bootstrap; 0 for means without intervals.
        subsets: ``all`` and other parts; none for those of the rows.
    """
    ordered = sorted(rows, key=lambda row: row.key)
    subsets = subsets or subsets_of(ordered)
    summary = []
    for kind in fingerprint.sampler.queries:
        for label in fingerprint.labels:
            mine = [row for row in ordered if row.descriptor == label and row.queries == kind]
            for subset in subsets:
                chosen = [row for row in mine if subset in (ALL, row.subset)]
                names = [row.sequence for row in chosen]
                for place, limit in enumerate(fingerprint.thresholds_px):
                    shares = [row.pck[place][1] for row in chosen]
                    how = {"seed": fingerprint.seed, "resamples": resamples}
                    mean = bootstrap_mean(shares, names, **how) if shares else None
                    low, high = (mean.ends if mean else None) or (None, None)
                    value = mean.mean if mean else None
                    ends, counts = (low, high), (len(shares), len(set(names)))
                    row = SummaryRow(label, subset, kind, limit, value, *ends, *counts)
                    summary.append(row)
    return tuple(summary)


def write_result(folder: Path, result: EvaluationResult) -> tuple[Path, ...]:
    """Write ``result.json``, ``summary.csv`` and ``pairs.csv`` into a folder; returns the paths.

    Raises:
        OutputError: one cannot be written.
    """
    limits = result.fingerprint.thresholds_px
    names = ["descriptor", "sequence", "index", "queries", "count", "subset"]
    columns = metric_columns(result.pairs)
    traits = tuple(dict.fromkeys(name for row in result.pairs for name, _ in row.properties))
    heads = [f"pck_{threshold_name(limit)}px" for limit in limits]
    pairs: list[list[Any]] = [[*names, *heads, *columns, *traits]]
    for row in result.pairs:
        metrics, known = dict(row.metrics), dict(row.properties)
        shares = [share for _, share in row.pck]
        named = [metrics.get(name) for name in columns] + [known.get(name) for name in traits]
        pairs.append(_cells(row, names) + shares + named)
    names = [field.name for field in fields(SummaryRow)]
    summary: list[list[Any]] = [[*names, "metric", "value"]]
    summary += [
        [*_cells(one, names), f"pck@{threshold_name(one.threshold_px)}", one.pck]
        for one in result.summary
    ]
    summary += [
        [*(getattr(one, name, None) for name in names), one.metric, one.value]
        for one in result.metrics
    ]
    files = {
        RESULT_FILE: json_text(result),
        SUMMARY_CSV: csv_text(summary),
        PAIRS_CSV: csv_text(pairs),
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode("utf-8"))
    return tuple(folder / name for name in files)


def json_text(result: EvaluationResult) -> str:
    """``result.json`` as text, a line for each row."""
    return json_lines(result.to_json())


def json_lines(values: Json) -> str:
    """JSON as text, with a line for each entry of a list at its top."""
    parts = []
    for name, value in values.items():
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {dump_line(row)}" for row in value) + "\n ]"
        else:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
            text = text.replace("\n", "\n ")
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def threshold_name(threshold_px: float) -> str:
    """A threshold as a key: ``5``, ``0.5``; all its digits."""
    short = f"{threshold_px:g}"
    return short if float(short) == threshold_px else repr(threshold_px)


def dump_line(value: Any) -> str:
    """JSON on one line; NaN is refused, since JSON has none."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_result(path: Path) -> EvaluationResult:
    """Read ``result.json``, or the one in a run folder.

    Raises:
        ResultError: missing, not JSON, of a later format, or not complete.
    """
    path = path / RESULT_FILE if path.is_dir() else path
    missing = "does not exist; the evaluation may not have been finished"
    data = read_input(path, ResultError, missing=missing, most_bytes=RESULT_BYTES)
    try:
        values = parse_json(data)
    except ValueError as error:
        raise ResultError(path, f"is not JSON ({error})") from error
    version = values.get("format") if isinstance(values, dict) else None
    if not _is_count(version) or not version:
        raise ResultError(path, "is no evaluation result")
    if version > FORMAT:
        reason = f"has format {version}, and this version of the program reads {FORMAT} at most"
        raise ResultError(path, f"{reason}; a later version wrote it, and reads it")
    try:
        values = _from_format_1(values) if version == 1 else values
        return EvaluationResult.from_json(values, path.parent)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"is not a complete evaluation result ({type(error).__name__}: {error})"
        raise ResultError(path, reason) from error


def _cells(row: PairRow | SummaryRow, names: Sequence[str]) -> list[Any]:
    return [getattr(row, name) for name in names]
