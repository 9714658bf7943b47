"""A table of pairs that anyone can write in a minute, as CSV.

The first line names the columns::

    image_a,image_b,truth,group,subset
    left.png,right.png,disparity:left.pfm|right.pfm,table,indoors
    1.jpg,2.jpg,H_1_2,wall,outdoors

Only ``image_a`` and ``image_b`` are needed.  Paths are relative to the table; the truth is a file
whose kind is recognised, or ``KIND:FILE`` as :mod:`engine.truth.named` reads it, or empty.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.data.folders import natural_key
from engine.data.layouts.building import finished_set, first_line, fitting_folders, renamed
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import DatasetError, FileError
from engine.files import csv_text, is_file_there, make_folder, read_input, write_atomically
from engine.truth.base import TruthSource
from engine.truth.named import named_truth

_ENDINGS: Final = (".csv", ".tsv")
_NEEDED: Final = ("image_a", "image_b")
_COLUMNS: Final = (*_NEEDED, "truth", "group", "subset")
_SIGNS: Final = (",", ";", "\t")
_MOST_TOLD: Final = 50


class ManifestReader:
    """Reads a table of pairs."""

    word: Final = "manifest"
    layout: Final = "table of pairs"
    group: Final = "group"
    expected: Final = (
        "a CSV file with the columns image_a and image_b, and perhaps truth, group, subset"
    )

    def recognises(self, root: Path) -> bool:
        """Whether a file is such a table, or a folder holds one."""
        return _is_table(root) or any(fitting_folders(root, _fits, depth=0))

    def read(self, root: Path) -> PairSet:
        """Pairs without a group are groups of their own.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        tables = [root] if root.is_file() else []
        for folder, names in fitting_folders(root, _fits, depth=0, problems=problems):
            paths = (folder / name for name in sorted(names, key=natural_key))
            tables += [path for path in paths if _is_table(path)]
        pairs: dict[tuple[str, str], list[ImagePair]] = defaultdict(list)
        for table in tables:
            _read_table(table, pairs, problems)
        return finished_set(self, root, _groups(pairs), problems)


def write_point_pair(
    folder: Path, images: tuple[Path, Path], rows: Sequence[tuple[float, float, float, float]]
) -> Path:
    """Write a table with one pair whose truth is a list of points, which the reader reads back.

    Args:
        folder: a new folder to write into; it is made.
        images: image a and image b, which stay where they are.
        rows: x and y in image a, and x and y in image b, in original pixels.

    Returns:
        The table.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(folder)
    points, table = folder / "points.txt", folder / "pairs.csv"
    text = "".join(" ".join(map(repr, row)) + "\n" for row in rows)
    write_atomically(points, text.encode("ascii"))
    cells = (*(str(path.absolute()) for path in images), f"points:{points.name}")
    write_atomically(table, csv_text([(*_NEEDED, "truth"), cells]).encode("utf-8"))
    return table


def _fits(folder: Path, names: Sequence[str]) -> bool:
    return any(_is_table(folder / name) for name in names)


def _is_table(path: Path) -> bool:
    """Whether a table's first line names both images."""
    if path.suffix.lower() not in _ENDINGS or not path.is_file():
        return False
    line = first_line(path).lower()
    return set(_NEEDED) <= {name.strip().strip('"') for name in line.split(_sign(line))}


def _sign(header: str) -> str:
    """What stands between the values of a table."""
    return max(_SIGNS, key=header.count)


def _read_table(
    path: Path, pairs: dict[tuple[str, str], list[ImagePair]], problems: list[str]
) -> None:
    """Add the rows of a table to the pairs of their (subset, group)."""
    try:
        text = read_input(path, DatasetError).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_sign(first_line(path)))
        rows = [(lines.line_num, [value.strip() for value in row]) for row in lines]
    except (DatasetError, UnicodeDecodeError, csv.Error) as error:
        told = (
            error if isinstance(error, DatasetError) else DatasetError(path, f"is no CSV ({error})")
        )
        problems.append(str(told))
        return
    rows = [(line, row) for line, row in rows if any(row) and not row[0].startswith("#")]
    header = [name.lower() for name in rows[0][1]] if rows else []
    unknown = [name for name in header if name not in _COLUMNS]
    if unknown:
        known = ", ".join(_COLUMNS)
        problems.append(f"{path.name}: the column {unknown[0]} is passed over; known are {known}.")
    faults: list[str] = []
    for line, row in rows[1:]:
        cells = dict(zip(header, row, strict=False))
        try:
            _add(path, line, cells, pairs, problems)
        except FileError as error:
            reason = f"{error.path.name or error.path} {error.reason}"
            faults.append(f"{path.name}, line {line}: {reason}, so the pair is left out.")
    problems += faults[:_MOST_TOLD]
    if len(faults) > _MOST_TOLD:
        problems.append(f"{path.name}: {len(faults) - _MOST_TOLD} more lines are left out.")


def _add(
    path: Path,
    line: int,
    cells: dict[str, str],
    pairs: dict[tuple[str, str], list[ImagePair]],
    problems: list[str],
) -> None:
    """Add a row.

    Raises:
        FileError: an image is missing, or its truth is unusable.
    """
    images = []
    for name in _NEEDED:
        if not cells.get(name):
            raise DatasetError(name, "is empty")
        image = path.parent / cells[name]
        if not is_file_there(image):
            raise DatasetError(image, "does not exist")
        images.append(image)
    a, b = images
    truth: TruthSource | None = None
    if cells.get("truth"):

        def tell(sentence: str) -> None:
            problems.append(f"{path.name}, line {line}: {sentence}")

        truth = named_truth(cells["truth"], path.parent, (a, b), tell)
    own = f"{a.stem} → {b.stem}"
    group = cells.get("group") or own
    found = pairs[cells.get("subset") or "", group]
    name = group if group == own else f"{group} {own}"
    found.append(ImagePair(a, b, truth, name, sequence=group, index=len(found) + 1))


def _groups(pairs: Mapping[tuple[str, str], list[ImagePair]]) -> Iterator[PairGroup]:
    """The groups; one that is in several subsets has the subset before its name."""
    counts = Counter(group for _, group in pairs)
    for (subset, name), found in pairs.items():
        group = PairGroup(name, tuple(found), subset)
        yield group if counts[name] == 1 else renamed(group, f"{subset}/{name}")
