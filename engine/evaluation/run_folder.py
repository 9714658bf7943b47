"""The folder of a run while it is under way: what has been measured survives the process.

``rows.jsonl`` begins with a line for the fingerprint and the sources; then each pair has a line.
Each line is on the disk before the next pair begins, and the points of its pair before the line.
A process that ends in the middle of a line leaves a torn one, which is dropped.  Further processes
of the same run write ``rows-1.jsonl``, ``rows-2.jsonl``, ...
"""

from __future__ import annotations

import os
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Final

from engine.errors import OutputError, ResultError, file_errors
from engine.evaluation.fingerprint import Fingerprint, Json, difference_text, differences
from engine.evaluation.points import MeasuredPair, write_points
from engine.evaluation.result import (
    RESULT_BYTES,
    EvaluationResult,
    LeftOut,
    PairRow,
    Sources,
    Timing,
    check_rows,
    dump_line,
    sum_metrics_up,
    summarise,
    with_subset,
)
from engine.files import parse_json, read_input

SETTINGS_FILE: Final = "evaluation.yaml"
_PATTERN: Final = "rows*.jsonl"


@dataclass(frozen=True, slots=True)
class PairRecord:
    """All that was found about one pair.

    Attributes:
        sequence: name of the sequence.
        index: number of the second image.
        rows: one per list of queries and descriptor.
        left_out: why there are fewer, or none.
        timings: one per descriptor, for this pair alone; image 1 counts where it was described.
        points: the matches; None without any, and for a record that was read from the rows.
    """

    sequence: str
    index: int
    rows: tuple[PairRow, ...]
    left_out: tuple[LeftOut, ...] = ()
    timings: tuple[Timing, ...] = ()
    points: MeasuredPair | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, int]:
        """What no other pair shares."""
        return self.sequence, self.index

    def to_json(self) -> Json:
        """As in the file."""
        return {
            "sequence": self.sequence,
            "index": self.index,
            "rows": [row.to_json() for row in self.rows],
            "left_out": [[entry.queries, entry.reason] for entry in self.left_out],
            "timings": [astuple(one) for one in self.timings],
        }

    @classmethod
    def from_json(cls, values: Json) -> PairRecord:
        """Back from the file."""
        sequence, index = str(values["sequence"]), int(values["index"])
        return cls(
            sequence,
            index,
            tuple(PairRow.from_json(with_subset(row)) for row in values["rows"]),
            tuple(LeftOut(sequence, index, *entry) for entry in values["left_out"]),
            tuple(Timing(*entry) for entry in values["timings"]),
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that may not be finished.

    Attributes:
        folder: where it is.
        fingerprint: how it measures.
        sources: where things are on this computer; empty in runs of earlier versions.
        records: the pairs that are done.
    """

    folder: Path
    fingerprint: Fingerprint
    sources: Sources
    records: tuple[PairRecord, ...] = ()

    def result(self) -> EvaluationResult:
        """What is known so far: rows in the order they were measured, means without intervals."""
        rows = tuple(row for record in self.records for row in record.rows)
        return EvaluationResult(
            fingerprint=self.fingerprint,
            summary=summarise(rows, self.fingerprint, resamples=0),
            pairs=rows,
            left_out=tuple(entry for record in self.records for entry in record.left_out),
            problems=(),
            timings=(),
            wall_s=None,
            sources=self.sources,
            folder=self.folder,
            metrics=sum_metrics_up(rows, self.fingerprint, resamples=0),
        )


def rows_file(folder: Path, rank: int) -> Path:
    """The file that the process of this rank writes."""
    return folder / ("rows.jsonl" if rank == 0 else f"rows-{rank}.jsonl")


def has_rows(folder: Path) -> bool:
    """Whether an evaluation was begun in a folder."""
    return any(folder.glob(_PATTERN))


def read_begun(folder: Path, expected: Fingerprint | None = None) -> Begun | None:
    """What was measured in a folder, by all processes; a torn last line is passed over.

    Args:
        folder: of the run.
        expected: how it has to have been made; None for any way.

    Returns:
        None where nothing was written yet.

    Raises:
        ResultError: a file cannot be read, is damaged, or was made in another way; the message
            names the first field of the fingerprint that differs.
    """
    records: dict[tuple[str, int], PairRecord] = {}
    sources = Sources()
    for path in sorted(folder.glob(_PATTERN)):
        lines, _ = _read_lines(path)
        if not lines:
            continue
        try:
            before = Fingerprint.from_json(lines[0]["fingerprint"])
            sources = Sources(**lines[0].get("sources", {}))
        except (TypeError, ValueError, OverflowError) as error:
            raise ResultError(path, f"was written by another version ({error})") from error
        expected = expected or before
        if found := differences(before, expected, descriptors=True):
            raise ResultError(
                folder,
                "holds an evaluation that was made in another way and cannot be continued: "
                f"{difference_text(*found[0])}",
            )
        for number, values in enumerate(lines[1:], start=2):
            try:
                record = PairRecord.from_json(values)
                check_rows(record.rows, before)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"is damaged in line {number} ({error})"
                raise ResultError(path, reason) from error
            records.setdefault(record.key, record)
    if expected is None:
        return None
    return Begun(folder, expected, sources, tuple(records.values()))


def begin_rows(begun: Begun, rank: int = 0) -> None:
    """Begin the file of the process of this rank, or continue it after its last whole line.

    Raises:
        OutputError: it cannot be written.
        ResultError: it is there and damaged.
    """
    path = rows_file(begun.folder, rank)
    lines, length = _read_lines(path) if path.exists() else ([], 0)
    _write(path, b"", at=length)
    if not lines:
        header = {"fingerprint": begun.fingerprint.to_json(), "sources": asdict(begun.sources)}
        _write(path, dump_line(header).encode() + b"\n")


def add_record(folder: Path, record: PairRecord, rank: int = 0) -> None:
    """Write a record with its points, and wait until both are on the disk.

    Raises:
        OutputError: they cannot be written.
    """
    if record.points is not None:
        write_points(folder, record.sequence, record.index, record.points)
    _write(rows_file(folder, rank), dump_line(record.to_json()).encode() + b"\n")


def _write(path: Path, data: bytes, *, at: int | None = None) -> None:
    """Append to a file, cut to ``at`` bytes first."""
    with file_errors(OutputError, path, "cannot be written"), path.open("ab") as file:
        if at is not None:
            file.truncate(at)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_lines(path: Path) -> tuple[list[Json], int]:
    """All whole lines, and their length in bytes."""
    data = read_input(path, ResultError, most_bytes=RESULT_BYTES)
    whole = data[: data.rfind(b"\n") + 1]  # a line without its end is torn
    values = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            values.append(parse_json(line))
        except ValueError as error:
            raise ResultError(path, f"is damaged in line {number}") from error
    if values and not (isinstance(values[0], dict) and "fingerprint" in values[0]):
        raise ResultError(path, "holds no rows of an evaluation")
    return values, len(whole)
