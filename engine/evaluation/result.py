"""What an evaluation found, as plain data, and its files: ``result.json`` and two tables as CSV.

The file's fields are explained in docs/PROTOCOLS.md and checked by
``resources/schemas/result.schema.json``.  Undefined numbers are None, which JSON writes as null.
``summary`` and ``pairs`` hold nothing that depends on time, so the same command writes them alike.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultError
from engine.evaluation.pck import CURVE_PX, Interval, bootstrap_mean, count_within
from engine.evaluation.switches import QUERY_KINDS, Protocol, QueryKind
from engine.paths import write_atomically
from engine.vocabulary import SequenceKind

FORMAT: Final = 1
RESULT_FILE: Final = "result.json"
PAIRS_CSV: Final = "pairs.csv"
SUMMARY_CSV: Final = "summary.csv"

SubsetName = Literal["all", "viewpoint", "illumination"]
SUBSETS: Final[tuple[SubsetName, ...]] = ("all", "viewpoint", "illumination")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PairRow:
    """One descriptor on one pair with one list of queries.

    Attributes:
        descriptor: its label in the fingerprint.
        sequence: name of the sequence.
        index: number of the second image.
        queries: which list.
        count: how many queries there were, at least 1.
        pck: (threshold in px, share within it), ascending.
        counts_within: how many errors do not exceed each of :data:`~engine.evaluation.pck.CURVE_PX`
            (0, 0.5, ..., 10 px).
    """

    descriptor: str
    sequence: str
    index: int
    queries: QueryKind
    count: int
    pck: tuple[tuple[float, float], ...]
    counts_within: tuple[int, ...]

    def to_json(self) -> Json:
        """As in the file."""
        return {
            "descriptor": self.descriptor,
            "sequence": self.sequence,
            "index": self.index,
            "queries": self.queries,
            "count": self.count,
            "pck": {threshold_name(threshold): share for threshold, share in self.pck},
            "counts_within": list(self.counts_within),
        }

    @classmethod
    def from_json(cls, values: Json) -> PairRow:
        """Back from the file."""
        return cls(
            descriptor=str(values["descriptor"]),
            sequence=str(values["sequence"]),
            index=int(values["index"]),
            queries=values["queries"],
            count=int(values["count"]),
            pck=tuple((float(name), float(share)) for name, share in values["pck"].items()),
            counts_within=tuple(int(count) for count in values["counts_within"]),
        )


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A mean over pairs; ``pck`` is None over no pairs, ``low`` and ``high`` below two sequences.

    Attributes:
        descriptor: its label in the fingerprint.
        subset: which sequences.
        queries: which list.
        threshold_px: what counts as right.
        pck: mean over pairs of the share of queries that are right.
        low, high: 95 % interval of it, by bootstrap over sequences.
        pairs: how many pairs it is the mean of.
    """

    descriptor: str
    subset: SubsetName
    queries: QueryKind
    threshold_px: float
    pck: float | None
    low: float | None
    high: float | None
    pairs: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A pair, or one list of queries of it, that was not measured.

    Attributes:
        sequence: name of the sequence.
        index: number of the second image.
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

    def to_json(self) -> Json:
        """As in the file, with the means that a person wants."""
        return {
            "descriptor": self.descriptor,
            "images": self.images,
            "describe_s": self.describe_s,
            "pairs": self.pairs,
            "match_s": self.match_s,
            "s_per_image": self.describe_s / self.images if self.images else None,
            "s_per_pair": self.match_s / self.pairs if self.pairs else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """All that ``result.json`` holds.

    Attributes:
        fingerprint: how the numbers were made; results with another one are not comparable.
        summary: means by list of queries (Harris first), descriptor, subset and threshold.
        pairs: one row per pair, descriptor and list of queries.
        left_out: the pairs that were not measured.
        problems: what was wrong with the data set when it was opened, a sentence each.
        timings: one entry per descriptor.
        wall_s: seconds the last run took, reading included.
        sources: what the numbers were made from on this computer: ``dataset`` (the name as it was
            given), ``root`` (its folder), ``weights`` (label -> file) and ``command``.
    """

    fingerprint: Json
    summary: tuple[SummaryRow, ...]
    pairs: tuple[PairRow, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...]
    timings: tuple[Timing, ...]
    wall_s: float
    sources: Json

    @property
    def labels(self) -> tuple[str, ...]:
        """The descriptors, in order."""
        return tuple(one["label"] for one in self.fingerprint["descriptors"])

    def to_json(self) -> Json:
        """As in the file."""
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "summary": [_plain(row) for row in self.summary],
            "pairs": [row.to_json() for row in self.pairs],
            "left_out": [_plain(entry) for entry in self.left_out],
            "problems": list(self.problems),
            "timings": {
                "wall_s": self.wall_s,
                "descriptors": [timing.to_json() for timing in self.timings],
            },
            "sources": self.sources,
        }


def make_row(
    protocol: Protocol,
    errors: NDArray[np.float64],
    *,
    descriptor: str,
    sequence: str,
    index: int,
    queries: QueryKind,
) -> PairRow:
    """Sum ``(N,)`` errors of at least one query up; NaN is never right."""
    within = count_within(errors, protocol.thresholds_px)
    return PairRow(
        descriptor=descriptor,
        sequence=sequence,
        index=index,
        queries=queries,
        count=len(errors),
        pck=tuple(
            (threshold, count / len(errors))
            for threshold, count in zip(protocol.thresholds_px, within, strict=True)
        ),
        counts_within=count_within(errors, CURVE_PX),
    )


def summarise(
    rows: Sequence[PairRow],
    *,
    labels: Sequence[str],
    queries: Sequence[QueryKind],
    thresholds_px: Sequence[float],
    kinds: Mapping[str, SequenceKind],
    seed: int,
) -> tuple[SummaryRow, ...]:
    """The means of all rows, by list of queries, descriptor, subset and threshold.

    Args:
        rows: of all pairs, in any order.
        labels: the descriptors, in the order of the table.
        queries: the lists, in the order of the table.
        thresholds_px: those of the rows.
        kinds: sequence -> kind.
        seed: of the bootstrap.
    """
    ordered = sorted(rows, key=lambda row: (row.sequence, row.index))
    summary = []
    for kind in queries:
        for label in labels:
            mine = [row for row in ordered if row.descriptor == label and row.queries == kind]
            for subset in SUBSETS:
                chosen = [row for row in mine if subset in ("all", kinds[row.sequence])]
                names = [row.sequence for row in chosen]
                for place, threshold in enumerate(thresholds_px):
                    shares = [row.pck[place][1] for row in chosen]
                    mean = bootstrap_mean(shares, names, seed=seed) if shares else None
                    summary.append(_summary_row(label, subset, kind, threshold, mean, len(shares)))
    return tuple(summary)


def write_result(folder: Path, result: EvaluationResult) -> tuple[Path, ...]:
    """Write ``result.json``, ``summary.csv`` and ``pairs.csv`` into a folder; returns the paths.

    Raises:
        OutputError: one cannot be written.
    """
    files = {
        RESULT_FILE: json_text(result),
        SUMMARY_CSV: _csv(_summary_table(result.summary)),
        PAIRS_CSV: _csv(_pairs_table(result.pairs)),
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode("utf-8"))
    return tuple(folder / name for name in files)


def json_text(result: EvaluationResult) -> str:
    """``result.json`` as text, a line for each row."""
    values = result.to_json()
    parts = []
    for name, value in values.items():
        if isinstance(value, list) and value:
            rows = ",\n".join(f"  {dump_line(row)}" for row in value)
            parts.append(f" {json.dumps(name)}: [\n{rows}\n ]")
        else:
            parts.append(f" {json.dumps(name)}: {_dump_block(value)}")
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
        ResultError: missing, not JSON, of another format, or not complete.
    """
    path = path / RESULT_FILE if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultError(
            path, "does not exist; the evaluation may not have been finished"
        ) from error
    except OSError as error:
        raise ResultError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ResultError(path, f"is not JSON ({error})") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ResultError(path, f"is no evaluation result of format {FORMAT}")
    try:
        return EvaluationResult(
            fingerprint=_checked_fingerprint(values["fingerprint"]),
            summary=tuple(SummaryRow(**row) for row in values["summary"]),
            pairs=tuple(PairRow.from_json(row) for row in values["pairs"]),
            left_out=tuple(LeftOut(**entry) for entry in values["left_out"]),
            problems=tuple(values["problems"]),
            timings=tuple(_read_timing(entry) for entry in values["timings"]["descriptors"]),
            wall_s=float(values["timings"]["wall_s"]),
            sources=dict(values["sources"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"is not a complete evaluation result ({type(error).__name__}: {error})"
        raise ResultError(path, reason) from error


# ---- comparing ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MergedResults:
    """Several results in one table.

    Attributes:
        results: as they were, with labels that are told apart.
        warnings: a sentence for every field of the fingerprints that differs.
    """

    results: tuple[EvaluationResult, ...]
    warnings: tuple[str, ...]

    @property
    def summary(self) -> tuple[SummaryRow, ...]:
        """All rows, Harris first, then in the order of the results."""
        rows = [row for result in self.results for row in result.summary]
        return tuple(sorted(rows, key=lambda row: QUERY_KINDS.index(row.queries)))

    @property
    def pairs(self) -> tuple[PairRow, ...]:
        """All rows, in the order of the results."""
        return tuple(row for result in self.results for row in result.pairs)


def merge_results(named: Sequence[tuple[str, EvaluationResult]]) -> MergedResults:
    """Put results into one table, and say what makes them unlike.

    A label that several results use gets the result's name behind it.  What the descriptors
    themselves are may differ, since that is what a table compares.

    Args:
        named: (name, such as the run folder's; result), at least one.
    """
    every = [label for _, result in named for label in result.labels]
    repeated = {label for label in every if every.count(label) > 1}
    taken: set[str] = set()
    results = []
    for name, result in named:
        new = {}
        for label in result.labels:
            wanted = f"{label} ({name})" if label in repeated else label
            new[label] = untaken(wanted, taken)
            taken.add(new[label])
        results.append(_relabelled(result, new))
    warnings = []
    first_name, first = named[0]
    for name, result in named[1:]:
        for field, one, other in differences(first.fingerprint, result.fingerprint):
            warnings.append(
                f"{first_name} and {name} are not comparable: they differ in {field} "
                f"({_shown(one)} and {_shown(other)})."
            )
    return MergedResults(tuple(results), tuple(warnings))


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], *, descriptors: bool = False
) -> tuple[tuple[str, Any, Any], ...]:
    """The fields, by dotted name, in which two fingerprints differ, and both values.

    Args:
        one: a fingerprint.
        other: another one.
        descriptors: whether the descriptors have to be the same too.
    """
    flat_one, flat_other = dict(_flatten(one)), dict(_flatten(other))
    fields = [*flat_one, *(field for field in flat_other if field not in flat_one)]
    return tuple(
        (field, flat_one.get(field), flat_other.get(field))
        for field in fields
        if flat_one.get(field) != flat_other.get(field)
        and (descriptors or not field.startswith("descriptors"))
    )


def _flatten(values: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(values, list) and any(isinstance(value, Mapping) for value in values):
        yield f"{prefix}.count", len(values)
        for number, value in enumerate(values):
            yield from _flatten(value, f"{prefix}[{number}]")
    else:
        yield prefix, values


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else f"{text[:21]}…"


def untaken(wanted: str, taken: Collection[str]) -> str:
    """A label that is not taken: the wanted one, or it with a number behind it."""
    label, number = wanted, 2
    while label in taken:
        label, number = f"{wanted} #{number}", number + 1
    return label


def _relabelled(result: EvaluationResult, new: Mapping[str, str]) -> EvaluationResult:
    descriptors = [{**one, "label": new[one["label"]]} for one in result.fingerprint["descriptors"]]
    weights = result.sources.get("weights", {})
    return replace(
        result,
        fingerprint={**result.fingerprint, "descriptors": descriptors},
        summary=tuple(replace(row, descriptor=new[row.descriptor]) for row in result.summary),
        pairs=tuple(replace(row, descriptor=new[row.descriptor]) for row in result.pairs),
        timings=tuple(replace(one, descriptor=new[one.descriptor]) for one in result.timings),
        sources={
            **result.sources,
            "weights": {new[label]: path for label, path in weights.items() if label in new},
        },
    )


# ---- small parts -------------------------------------------------------------------------------


def _summary_row(
    label: str,
    subset: SubsetName,
    queries: QueryKind,
    threshold_px: float,
    mean: Interval | None,
    pairs: int,
) -> SummaryRow:
    value, low, high = (mean.mean, mean.low, mean.high) if mean else (None, None, None)
    return SummaryRow(label, subset, queries, threshold_px, value, low, high, pairs)


def _plain(row: SummaryRow | LeftOut) -> Json:
    return {name: getattr(row, name) for name in row.__slots__}


def _dump_block(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    return text.replace("\n", "\n ")


def _checked_fingerprint(values: Json) -> Json:
    if not all(isinstance(one["label"], str) for one in values["descriptors"]):
        raise ValueError("a descriptor has no label")
    return values


def _read_timing(values: Json) -> Timing:
    return Timing(
        descriptor=str(values["descriptor"]),
        images=int(values["images"]),
        describe_s=float(values["describe_s"]),
        pairs=int(values["pairs"]),
        match_s=float(values["match_s"]),
    )


def _summary_table(rows: Sequence[SummaryRow]) -> list[list[Any]]:
    return [
        list(SummaryRow.__slots__),
        *[[_cell(getattr(row, name)) for name in SummaryRow.__slots__] for row in rows],
    ]


def _pairs_table(rows: Sequence[PairRow]) -> list[list[Any]]:
    thresholds = [threshold for threshold, _ in rows[0].pck] if rows else []
    return [
        ["descriptor", "sequence", "index", "queries", "count"]
        + [f"pck_{threshold_name(threshold)}px" for threshold in thresholds],
        *[
            [row.descriptor, row.sequence, row.index, row.queries, row.count]
            + [repr(share) for _, share in row.pck]
            for row in rows
        ],
    ]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else value


def _csv(table: list[list[Any]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()
