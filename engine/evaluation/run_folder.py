"""The folder of a run while it is under way: what has been measured survives the process.

``rows.jsonl`` holds a first line with the fingerprint and then one line a pair, each on the disk
before the next pair begins.  A process that ends in the middle of a line leaves a torn one, which
is dropped.  Further processes of the same run write ``rows-1.jsonl``, ``rows-2.jsonl``, ...
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from engine.errors import OutputError, ResultError
from engine.evaluation.result import (
    Json,
    LeftOut,
    PairRow,
    Timing,
    differences,
    dump_line,
)

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
    """

    sequence: str
    index: int
    rows: tuple[PairRow, ...]
    left_out: tuple[LeftOut, ...] = ()
    timings: tuple[Timing, ...] = ()

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
            "timings": [
                [one.descriptor, one.images, one.describe_s, one.pairs, one.match_s]
                for one in self.timings
            ],
        }

    @classmethod
    def from_json(cls, values: Json) -> PairRecord:
        """Back from the file."""
        sequence, index = str(values["sequence"]), int(values["index"])
        return cls(
            sequence,
            index,
            tuple(PairRow.from_json(row) for row in values["rows"]),
            tuple(LeftOut(sequence, index, *entry) for entry in values["left_out"]),
            tuple(Timing(*entry) for entry in values["timings"]),
        )


def rows_file(folder: Path, rank: int) -> Path:
    """The file that the process of this rank writes."""
    return folder / ("rows.jsonl" if rank == 0 else f"rows-{rank}.jsonl")


def has_rows(folder: Path) -> bool:
    """Whether an evaluation was begun in a folder."""
    return any(folder.glob(_PATTERN))


def read_records(folder: Path, fingerprint: Json) -> tuple[PairRecord, ...]:
    """What was measured in a folder, by all processes; a torn last line is passed over.

    Raises:
        ResultError: a file cannot be read, is damaged, or was made in another way; the message
            names the first field of the fingerprint that differs.
    """
    records: dict[tuple[str, int], PairRecord] = {}
    for path in sorted(folder.glob(_PATTERN)):
        header, lines, _ = _read_lines(path)
        if header is None:
            continue
        _check_same(path, header, fingerprint)
        for number, values in enumerate(lines, start=2):
            try:
                record = PairRecord.from_json(values)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ResultError(path, f"is damaged in line {number}") from error
            records.setdefault(record.key, record)
    return tuple(records.values())


class RowsFile:
    """Appends records; a context manager.

    Args:
        path: the file; continued if it is there, behind its last whole line.
        fingerprint: its first line, if it is new.

    Raises:
        OutputError: it cannot be written.
        ResultError: it is there and damaged.
    """

    def __init__(self, path: Path, fingerprint: Json) -> None:
        self._path = path
        self._file = self._open(path)
        if self._file.tell() == 0:
            self._append({"fingerprint": fingerprint})

    def add(self, record: PairRecord) -> None:
        """Write a record and wait until it is on the disk.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(record.to_json())

    def __enter__(self) -> RowsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _append(self, values: Json) -> None:
        try:
            self._file.write(dump_line(values).encode("utf-8") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(self._path, f"cannot be written ({error.strerror})") from error

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        length = _read_lines(path)[2] if path.exists() else 0
        try:
            file = path.open("ab")
            file.truncate(length)
            file.seek(length)
        except OSError as error:
            raise OutputError(path, f"cannot be written ({error.strerror})") from error
        return file


def _read_lines(path: Path) -> tuple[Json | None, list[Json], int]:
    """The fingerprint, the records, and the length in bytes of all that is whole."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultError(path, f"cannot be read ({error.strerror})") from error
    whole = data[: data.rfind(b"\n") + 1]  # a line without its end is torn
    values = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise ResultError(path, f"is damaged in line {number}") from error
    if not values:
        return None, [], 0
    if not all(isinstance(value, dict) for value in values) or "fingerprint" not in values[0]:
        raise ResultError(path, "holds no rows of an evaluation")
    return values[0]["fingerprint"], values[1:], len(whole)


def _check_same(path: Path, before: Json, now: Json) -> None:
    found = differences(before, now, descriptors=True)
    if found:
        field, one, other = found[0]
        raise ResultError(
            path.parent,
            f"holds an evaluation that was made in another way and cannot be continued: {field} "
            f"was {one} and is {other} now",
        )
