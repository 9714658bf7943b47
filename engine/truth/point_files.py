"""Reads pairs of points from files of any common format; each format is a line in one table.

Points keep the order of the file.  Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import TruthError, quoted
from engine.file_kinds import name_kind
from engine.files import open_input, read_input, read_npz, read_number
from engine.geometry.coords import CORNER_PX

Points = NDArray[np.float64]
Images = tuple[str, str]
Content = TypeVar("Content")

_MOST_BYTES: Final = 256 << 20
_HEAD_BYTES: Final = 4096
_SHOWN_NAMES: Final = 6
_FARTHEST_PX: Final = 1e9
_COORDINATES: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class PointPairs:
    """What a file lists.

    Attributes:
        points_a: ``(N, 2)`` points of image a.
        points_b: ``(N, 2)`` their partners in image b.
        matched: the file carries scores, so a matcher found these pairs; False where nothing tells
            how they came about.
        keypoint_files: the other files that were read.
    """

    points_a: Points
    points_b: Points
    matched: bool = False
    keypoint_files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Format:
    """A format of files.

    Attributes:
        name: as messages say it.
        recognises: by the file's first bytes.
        read: its pairs of points; raises anything for a damaged file.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[Path, Images], PointPairs]


def read_point_pairs(path: Path, images: Images = ("", "")) -> PointPairs:
    """Read pairs of points; ``docs/GROUND_TRUTH.md`` lists the formats.

    Args:
        path: text or CSV with a row ``x1 y1 x2 y2`` for each pair, ``.npz``, ``.npy``, COLMAP's
            database, or its matches as text with keypoint files beside them; recognised by content.
        images: names or paths of image a and b, for files that list the matches of several pairs;
            "" where there is only one.

    Raises:
        TruthError: missing, damaged, or without pairs of points; or none of these images.
    """
    form = _format_of(path)
    try:
        return form.read(path, images)
    except TruthError:
        raise
    except Exception as error:  # a parser of foreign files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise TruthError(path, f"is a damaged {form.name} ({detail})") from error


def lists_points(path: Path) -> bool:
    """Whether a file lists pairs of points, of whichever images."""
    try:
        if _format_of(path) not in _OF_MANY:  # which other files and names may belong to
            read_point_pairs(path)
    except TruthError:
        return False
    return True


def _format_of(path: Path) -> _Format:
    with open_input(path, TruthError, missing="does not exist") as stream:
        head = stream.read(_HEAD_BYTES)
    return next(form for form in _FORMATS if form.recognises(head))


def _content(path: Path, missing: str = "does not exist") -> bytes:
    return read_input(path, TruthError, missing=missing, most_bytes=_MOST_BYTES)


def _pairs(path: Path, rows: NDArray[Any], *, matched: bool = False) -> PointPairs:
    """From ``(N, 4)`` numbers x1, y1, x2, y2."""
    table = np.asarray(rows, np.float64).reshape(-1, _COORDINATES)
    broken = np.flatnonzero(~(np.abs(table) <= _FARTHEST_PX).all(axis=1))
    if len(broken):
        raise TruthError(path, f"holds a point that is in no image (pair {broken[0] + 1})")
    return PointPairs(table[:, :2].copy(), table[:, 2:].copy(), matched)


# ---- tables as text ----------------------------------------------------------------------------

# Names of the four columns, compared without case and signs.
_COLUMN_NAMES: Final = (
    ("xa", "ya", "xb", "yb"),
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("u1", "v1", "u2", "v2"),
    ("u0", "v0", "u1", "v1"),
    ("srcx", "srcy", "trgx", "trgy"),
    ("srcx", "srcy", "dstx", "dsty"),
    ("leftx", "lefty", "rightx", "righty"),
)
_SCORE_COLUMNS: Final = frozenset({"similarity", "score", "confidence", "ratio", "distance"})


def _read_table(path: Path, _images: Images) -> PointPairs:
    lines = _content_lines(_text(path, _content(path)))
    if not lines:
        raise TruthError(path, "lists no points")
    first = _fields(lines[0][1])
    columns, matched = tuple(range(_COORDINATES)), False
    if not all(map(_is_number, first)):
        columns, matched = _named_columns(path, first)
        del lines[0]
    elif len(first) != _COORDINATES:
        raise TruthError(
            path,
            f"has {len(first)} columns, and pairs of points have 4 (x1 y1 x2 y2) or a line above "
            "them that names these",
        )
    rows = []
    for number, line in lines:
        fields = _fields(line)
        if len(fields) != len(first):
            reason = f"line {number} holds {len(fields)} values, and the first one {len(first)}"
            raise TruthError(path, reason)
        for place in columns:
            if not _is_number(fields[place]):
                reason = f"line {number} holds {quoted(fields[place][:20])} in place of a number"
                raise TruthError(path, reason)
        rows.append([read_number(fields[place]) for place in columns])
    return _pairs(path, np.array(rows), matched=matched)


def _named_columns(path: Path, header: Sequence[str]) -> tuple[tuple[int, ...], bool]:
    """Where x1, y1, x2 and y2 stand, and whether there are scores."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    for names in _COLUMN_NAMES:
        if all(plain.count(name) == 1 for name in names):
            return tuple(map(plain.index, names)), not _SCORE_COLUMNS.isdisjoint(plain)
    listed = ", ".join(header[:_SHOWN_NAMES])
    raise TruthError(path, f"names no columns x1, y1, x2 and y2 ({listed[:80]})")


def _content_lines(text: str) -> list[tuple[int, str]]:
    """The lines that hold something, with their numbers; comments stand behind # or %."""
    lines = ((number, re.split("[#%]", line)[0]) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line.strip("\r ")) for number, line in lines if line.strip()]


def _fields(line: str) -> list[str]:
    """The values of a line between semicolons, tabs, commas or spaces.

    The first of these that it has parts them, so behind the other two a comma is a decimal one.
    """
    for sign in ";\t":
        if sign in line:
            return [field.strip().strip('"').replace(",", ".") for field in line.split(sign)]
    if "," in line:
        return [field.strip().strip('"') for field in line.split(",")]
    return line.split()


def _is_number(word: str) -> bool:
    try:
        read_number(word)
    except ValueError:
        return False
    return True


def _text(path: Path, data: bytes) -> str:
    """The text in a file, in whichever Unicode its editor wrote it."""
    try:
        text = data.decode(json.detect_encoding(data)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        found = name_kind(path) or "neither text nor a NumPy file"
        raise TruthError(path, f"is {found}, and holds no pairs of points")
    return text


# ---- NumPy files -------------------------------------------------------------------------------

# Arrays of partners, in the order in which they are preferred.
_PARTNERS: Final = (
    ("mkpts0", "mkpts1"),
    ("matched_kpts0", "matched_kpts1"),
    ("mkpts0_f", "mkpts1_f"),
    ("pts0", "pts1"),
    ("points0", "points1"),
    ("points_a", "points_b"),
    ("pts1", "pts2"),
    ("points1", "points2"),
)
_KEYPOINTS: Final = (("keypoints0", "keypoints1"), ("kpts0", "kpts1"))
_INDICES: Final = ("matches0", "matches")
_ROWS: Final = ("matches", "corrs", "corr", "correspondences", "arr_0")
_SCORES: Final = (
    *("matching_scores0", "matching_scores", "match_confidence", "mconf", "confidence"),
    *("matched_confidences", "scores", "similarity"),
)


def _read_npz(path: Path, _images: Images) -> PointPairs:
    """An archive as matchers write it; its names say what is what."""
    damaged = "is a damaged .npz file"
    found = read_npz(path, TruthError, damaged=damaged, most_bytes=_MOST_BYTES)
    arrays = {name.lower(): _without_batch(array) for name, array in found.items()}
    rows = _partners(path, arrays)
    if rows is None:
        shapes = {name: " × ".join(map(str, array.shape)) for name, array in arrays.items()}
        listed = ", ".join(f"{name}: {shapes[name]}" for name in list(shapes)[:_SHOWN_NAMES])
        reason = f"holds no pairs of points under a known name ({listed or 'it holds nothing'})"
        raise TruthError(path, reason)
    return _pairs(path, rows, matched=any(name in arrays for name in _SCORES))


def _without_batch(array: NDArray[Any]) -> NDArray[Any]:
    """Without the leading axes of length 1 that networks leave."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array


def _partners(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """``(N, 4)`` numbers, None where no known names are there."""
    for first, second in _PARTNERS:
        if first in arrays and second in arrays:
            points = _points(path, arrays, first), _points(path, arrays, second)
            if len(points[0]) != len(points[1]):
                counts = f"{len(points[0])} and {len(points[1])}"
                raise TruthError(path, f"holds {counts} points in {first} and {second}")
            return np.hstack(points)
    for first, second in _KEYPOINTS:
        if first in arrays and second in arrays:
            points = _points(path, arrays, first), _points(path, arrays, second)
            index = next((name for name in _INDICES if name in arrays), "")
            if not index:
                reason = f"holds keypoints ({first}, {second}), but not which belong together"
                raise TruthError(path, f"{reason} (matches0 or matches)")
            pairs = _index_pairs(path, arrays[index], index, len(points[0]))
            return _joined(path, points, pairs)
    for name in _ROWS:
        if name in arrays and arrays[name].shape[1:] in ((_COORDINATES,), (2, 2)):
            return _real(path, arrays[name], name).reshape(-1, _COORDINATES)
    return None


def _points(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    points = _real(path, arrays[name], name)
    if points.size == 0:
        return np.empty((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        shape = " × ".join(map(str, points.shape))
        raise TruthError(path, f"holds {shape} numbers in {name} in place of N × 2")
    return points


def _real(path: Path, array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype.kind not in "fiu":
        raise TruthError(path, f"holds {array.dtype} values in {name}, not real numbers")
    return array


def _index_pairs(path: Path, matches: NDArray[Any], name: str, count: int) -> NDArray[Any]:
    """``(M, 2)`` indices, from these or from the partner of each point, below 0 for none."""
    if matches.dtype.kind in "iu" and matches.ndim == 2 and matches.shape[1] == 2:
        return matches
    if matches.dtype.kind in "iu" and matches.shape == (count,):
        signed = matches.astype(np.int64)
        matched = np.flatnonzero(signed >= 0)
        return np.stack([matched, signed[matched]], axis=1)
    shape = " × ".join(map(str, matches.shape))
    reason = f"holds {shape} {matches.dtype} values in {name} in place of {count} indices or N × 2"
    raise TruthError(path, reason)


def _joined(
    path: Path, points: tuple[NDArray[Any], NDArray[Any]], pairs: NDArray[Any]
) -> NDArray[Any]:
    """``(M, 4)`` points by their indices."""
    pairs = pairs.astype(np.int64).reshape(-1, 2)
    counts = [len(points[0]), len(points[1])]
    wrong = np.flatnonzero(((pairs < 0) | (pairs >= counts)).any(axis=1))
    if len(wrong):
        first, second = pairs[wrong[0]]
        reason = f"matches the keypoints {first} and {second}, and there are {counts[0]} and "
        raise TruthError(path, f"{reason}{counts[1]}, counted from 0")
    return np.hstack([points[0][pairs[:, 0]], points[1][pairs[:, 1]]])


def _read_npy(path: Path, _images: Images) -> PointPairs:
    array = np.load(io.BytesIO(_content(path)), allow_pickle=False)
    if array.shape[1:] not in ((_COORDINATES,), (2, 2)):
        shape = " × ".join(map(str, array.shape))
        raise TruthError(path, f"holds {shape} numbers, and pairs of points are N × 4")
    return _pairs(path, _real(path, array, "it"))


# ---- COLMAP ------------------------------------------------------------------------------------


def _read_colmap(path: Path, images: Images) -> PointPairs:
    """Matches as COLMAP's ``matches_importer`` reads them, by keypoints as ``feature_importer``.

    A block for each pair of images: a line with their names, a line with two indices for each
    match, and an empty line.  The keypoints of ``NAME`` are in ``NAME.txt`` below the list's
    folder.
    """
    names, lines = _chosen(path, _blocks(_text(path, _content(path))), images)
    try:
        numbers = [[int(word) for word in line.split()] for line in lines]
    except ValueError as error:
        raise TruthError(
            path, f"lists names in place of matches below {' '.join(names)}"
        ) from error
    if any(len(pair) != 2 for pair in numbers):
        raise TruthError(path, f"has a line without two indices below {' '.join(names)}")
    pairs = np.array(numbers, np.int64).reshape(-1, 2)
    files = tuple(path.parent / f"{name}.txt" for name in names)
    rows = _joined(path, (_colmap_keypoints(files[0]), _colmap_keypoints(files[1])), pairs)
    found = _pairs(path, _in_order(rows, names, images))
    return PointPairs(found.points_a, found.points_b, keypoint_files=files)


def _in_order(rows: NDArray[Any], names: Images, images: Images) -> NDArray[Any]:
    """``(N, 4)`` points of a listed pair, turned round where it is listed the other way round."""
    turned = _is_image(names[1], images[0]) and not _is_image(names[0], images[0])
    return rows[:, [2, 3, 0, 1]] if turned else rows


def _blocks(text: str) -> list[tuple[Images, list[str]]]:
    """The names and the lines of each pair."""
    blocks: list[tuple[Images, list[str]]] = []
    inside = False
    for line in map(str.strip, text.split("\n")):
        if not line:
            inside = False
        elif inside:
            blocks[-1][1].append(line)
        else:
            first, _, second = line.partition(" ")
            blocks.append(((first, second.strip()), []))
            inside = True
    return blocks


def _chosen(
    path: Path, listed: Sequence[tuple[Images, Content]], images: Images
) -> tuple[Images, Content]:
    """What is listed of a pair of images, in either order."""
    if not any(images):
        if len(listed) == 1:
            return listed[0]
        raise TruthError(path, f"lists {len(listed)} pairs of images, and which one is not said")
    fitting = [
        one
        for one in listed
        if any(all(map(_is_image, names, images)) for names in (one[0], one[0][::-1]))
    ]
    if len(fitting) == 1:
        return fitting[0]
    both = " and ".join(PurePosixPath(image).name for image in images)
    several = f"lists {len(fitting)} pairs of images called {both}"
    raise TruthError(path, several if fitting else f"lists no matches of {both}")


def _is_image(name: str, path: str) -> bool:
    """Whether a name, relative to some folder, can be that of a file, named by more or less."""
    parts, others = PurePosixPath(name).parts, PurePosixPath(Path(path).as_posix()).parts
    shared = min(len(parts), len(others))
    return shared > 0 and parts[-shared:] == others[-shared:]


def _colmap_keypoints(path: Path) -> Points:
    """``(N, 2)`` keypoints; COLMAP counts from the top-left pixel's corner."""
    missing = "does not exist, and the keypoints of its image are needed"
    header, _, rest = _text(path, _content(path, missing)).partition("\n")
    words = header.split()
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        raise TruthError(path, "does not begin with the number of keypoints and their dimension")
    rows = [line.split(maxsplit=2) for line in rest.split("\n") if line.strip()]
    if len(rows) != int(words[0]):
        raise TruthError(path, f"announces {int(words[0])} keypoints and holds {len(rows)}")
    if any(len(row) < 2 or not all(map(_is_number, row[:2])) for row in rows):
        raise TruthError(path, "has a line that does not begin with the place of a keypoint")
    places = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2)
    return places - CORNER_PX


def _is_colmap(head: bytes) -> bool:
    """Two words in the first line and two indices below: points have four numbers in a line."""
    lines = [line.split() for line in head.lstrip().split(b"\n")[:2]]
    below = lines[1] if len(lines) > 1 else []
    names_two = len(lines[0]) == 2 and not lines[0][0].startswith(b"#")
    return names_two and all(word.isdigit() for word in below)


# ---- COLMAP's database ---------------------------------------------------------------------------

_PAIR_FACTOR: Final = 2147483647
_VERIFIED_FIRST: Final = ("two_view_geometries", "matches")


def _read_database(path: Path, images: Images) -> PointPairs:
    """The verified matches of a pair in COLMAP's database, or its raw ones where none are.

    A pair has the number 2147483647 · i + j, of its images' numbers i < j, and keypoints count from
    the corner of the top-left pixel.
    """
    with contextlib.closing(
        sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    ) as database:
        names = dict(database.execute("SELECT image_id, name FROM images"))
        tables: dict[int, str] = {}
        for table in reversed(_VERIFIED_FIRST):
            query = f"SELECT pair_id FROM {table} WHERE rows > 0"  # noqa: S608 - a constant
            tables |= {pair: table for (pair,) in database.execute(query)}
        listed = [
            ((names[first], names[second]), (pair, first, second))
            for pair in tables
            for first, second in [divmod(pair, _PAIR_FACTOR)]
        ]
        found, (pair, first, second) = _chosen(path, listed, images)
        pairs = _blob(database, tables[pair], "pair_id", pair, "<u4")[:, :2]
        points = [
            _blob(database, "keypoints", "image_id", image, "<f4")[:, :2].astype(np.float64)
            for image in (first, second)
        ]
    rows = _joined(path, (points[0] - CORNER_PX, points[1] - CORNER_PX), pairs)
    return _pairs(path, _in_order(rows, found, images), matched=True)


def _blob(
    database: sqlite3.Connection, table: str, key: str, value: int, kind: str
) -> NDArray[Any]:
    """``(rows, columns)`` numbers of a table's row."""
    query = f"SELECT rows, cols, data FROM {table} WHERE {key} = ?"  # noqa: S608 - constants
    rows, columns, data = database.execute(query, (value,)).fetchone()
    return np.frombuffer(data, kind).reshape(rows, columns)


_COLMAP: Final = _Format("list of COLMAP's matches", _is_colmap, _read_colmap)
_DATABASE: Final = _Format(
    "COLMAP database", lambda head: head.startswith(b"SQLite format 3\0"), _read_database
)
_OF_MANY: Final = (_COLMAP, _DATABASE)
_FORMATS: Final = (
    _Format(".npz file", lambda head: head.startswith(b"PK\x03\x04"), _read_npz),
    _Format(".npy file", lambda head: head.startswith(b"\x93NUMPY"), _read_npy),
    _DATABASE,
    _COLMAP,
    _Format("table of points", lambda _head: True, _read_table),
)
"""All formats in the order in which they are tried; the last one takes what is left."""
