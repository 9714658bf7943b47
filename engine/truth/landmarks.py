"""Truth by landmarks: points of the same meaning on two objects of one class.

The left ear of one cat matches the left ear of another.  No geometry joins the images, so a place
is known at the landmarks alone, and only of those that both images show.  Metrics for such pairs
measure errors by the size of the object, so its box is kept for each image.

Formats, recognised by content:

* SPair-71k's annotation of a pair, JSON (J. Min and others, arXiv:1908.10543, 2019): ``src_kps``,
  ``trg_kps``, ``kps_ids``, ``src_bndbox``, ``trg_bndbox``, ``src_imsize``, ``trg_imsize``;
* an annotation for each image: SPair-71k's JSON (``kps`` by id, null where hidden; ``bndbox``) or
  PF-PASCAL's MATLAB file (``kps`` of ``(N, 2)``, NaN where hidden; ``bbox``);
* a row of a table of pairs, CSV: PF-PASCAL's (``XA``, ``YA``, ``XB``, ``YB``, numbers joined by
  ``;``) or PF-WILLOW's (``XA1`` … ``YB10``); B. Ham and others, "Proposal Flow", TPAMI 2018.

Numbers are taken as they stand, as all published evaluations do: 0 is the centre of the first
pixel.  Nothing here imports torch.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import TruthError, quoted
from engine.files import parse_json, read_input, sha256_of
from engine.geometry.coords import Resize
from engine.paths import FileStamp
from engine.truth.base import Box, NoHomography, Points, Size, TruePoints, Truth
from engine.truth.matlab_file import MATLAB_HEAD, read_matlab
from engine.truth.points import PointsTruth
from engine.vocabulary import Side, TruthKind, TruthOrigin

_MOST_TABLE_BYTES: Final = 64 << 20
_KEPT_TABLES: Final = 4
_JOINED: Final = ("XA", "YA", "XB", "YB")
_NUMBERED: Final = re.compile(r"(XA|YA|XB|YB)(\d+)")


@dataclass(frozen=True, slots=True)
class LandmarksSource:
    """Landmarks in files.

    Attributes:
        path: the annotation of the pair, the table with its row, or the annotation of image a.
        path_b: the annotation of image b, where each image has its own; else None.
        row: which row of a table it is, the first one below the header being 0.
        uncertainty_px: standard deviation of a place; None where nothing tells it, as in all
            published sets.
        origin: who made it.
    """

    path: Path
    path_b: Path | None = None
    row: int = 0
    uncertainty_px: float | None = None
    origin: TruthOrigin = "given"

    @property
    def kind(self) -> TruthKind:
        """Landmarks."""
        return "landmarks"

    @property
    def files(self) -> tuple[Path, ...]:
        """The annotations, or the table."""
        return (self.path,) if self.path_b is None else (self.path, self.path_b)

    def open(self, size_a_px: Size, size_b_px: Size) -> LandmarksTruth:
        """The landmarks that both images show.

        Raises:
            TruthError: a file cannot be read, holds no landmarks, or is about images of other
                sizes.
        """
        found = self._read()
        sizes = (size_a_px, size_b_px)
        _check_sizes(self.path, found.sizes_px, sizes)
        points = PointsTruth.of(*found.points_px, sizes, self.uncertainty_px)
        if not points.reaches_both:
            raise TruthError(self.path, "has no landmark that lies inside both images")
        return LandmarksTruth(found.ids, points, found.boxes_px)

    def identity(self) -> str:
        """The files' hashes, and the row."""
        hashes = [sha256_of(path, TruthError) for path in self.files]
        known = "unknown" if self.uncertainty_px is None else f"{self.uncertainty_px!r} px"
        return " ".join((*hashes, f"row {self.row}, uncertainty {known}"))

    def _read(self) -> _Landmarks:
        if self.path_b is not None:
            return _joined(_read_image(self.path), _read_image(self.path_b))
        data = _content(self.path)
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return _of_pair(self.path, _parsed(self.path, data))
        return _of_row(self.path, self.row)


@dataclass(frozen=True, slots=True, eq=False)
class LandmarksTruth(NoHomography):
    """Opened landmarks.

    Attributes:
        ids: what each landmark is called, as the data set calls it; no two are the same.
        points: the landmarks, in the order of their names.
        boxes_px: around the object in each image, None where the files do not say.
    """

    ids: tuple[str, ...]
    points: Truth
    boxes_px: tuple[Box | None, Box | None]

    @property
    def kind(self) -> TruthKind:
        """Landmarks."""
        return "landmarks"

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""
        return self.points.sizes_px

    @property
    def listed_px(self) -> tuple[Points, Points] | None:
        """The landmarks."""
        return self.points.listed_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """The partner of a landmark within :data:`~engine.truth.points.SNAP_PX`, else unknown."""
        return self.points.locate(side, points_px)

    def resized(self, resize_a: Resize, resize_b: Resize) -> LandmarksTruth:
        """Landmarks and boxes in the resized images."""
        box_a, box_b = self.boxes_px
        boxes = (_resized_box(box_a, resize_a), _resized_box(box_b, resize_b))
        return LandmarksTruth(self.ids, self.points.resized(resize_a, resize_b), boxes)


def _resized_box(box: Box | None, resize: Resize) -> Box | None:
    if box is None:
        return None
    (left, top), (right, bottom) = resize.forward(np.reshape(box, (2, 2))).tolist()
    return left, top, right, bottom


# ---- files -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Landmarks:
    """What a file says of a pair."""

    ids: tuple[str, ...]
    points_px: tuple[Points, Points]
    boxes_px: tuple[Box | None, Box | None]
    sizes_px: tuple[Size | None, Size | None] = (None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _OneImage:
    """What a file says of one image: the landmarks that it shows, by id."""

    points_px: Mapping[str, tuple[float, float]]
    box_px: Box | None
    size_px: Size | None


def _content(path: Path) -> bytes:
    return read_input(path, TruthError, missing="does not exist", most_bytes=_MOST_TABLE_BYTES)


def _parsed(path: Path, data: bytes) -> Mapping[str, Any]:
    try:
        value = parse_json(data)
    except ValueError as error:
        raise TruthError(path, f"is damaged JSON ({error})") from error
    if not isinstance(value, dict):
        raise TruthError(path, "is JSON, but not an annotation with names and values")
    return value


def _of_pair(path: Path, told: Mapping[str, Any]) -> _Landmarks:
    """SPair-71k's annotation of a pair."""
    sides = [_points(path, told, name) for name in ("src_kps", "trg_kps")]
    if len(sides[0]) != len(sides[1]):
        raise TruthError(
            path, f"has {len(sides[0])} points in src_kps and {len(sides[1])} in trg_kps"
        )
    named = told.get("kps_ids", range(len(sides[0])))
    if not isinstance(named, (list, range)) or len(named) != len(sides[0]):
        raise TruthError(path, "has not one of kps_ids for each point")
    ids = tuple(str(one) for one in named)
    if len(set(ids)) != len(ids):
        raise TruthError(path, "names a landmark twice in kps_ids")
    boxes = [_box(path, told, name) for name in ("src_bndbox", "trg_bndbox")]
    sizes = [_size(told.get(name)) for name in ("src_imsize", "trg_imsize")]
    return _Landmarks(ids, (sides[0], sides[1]), (boxes[0], boxes[1]), (sizes[0], sizes[1]))


def _read_image(path: Path) -> _OneImage:
    data = _content(path)
    if data.startswith(MATLAB_HEAD):
        return _of_matlab(path, data)
    told = _parsed(path, data)
    points = told.get("kps")
    if not isinstance(points, dict):
        raise TruthError(path, "has no kps with landmarks by their ids")
    return _OneImage(
        {str(one): _pair_of(path, place) for one, place in points.items() if place is not None},
        _box(path, told, "bndbox"),
        _size([told.get("image_width"), told.get("image_height")]),
    )


def _of_matlab(path: Path, data: bytes) -> _OneImage:
    """PF-PASCAL's annotation of an image."""
    try:
        told = read_matlab(data)
    except ValueError as error:
        raise TruthError(path, f"is a damaged MATLAB file ({error})") from error
    points = told.get("kps")
    if points is None:
        raise TruthError(path, "is a MATLAB file without kps")
    box = told["bbox"].ravel() if "bbox" in told else None
    if points.ndim != 2 or points.shape[1] != 2:
        raise TruthError(path, f"has kps of the shape {points.shape}, not N × 2")
    shown = {
        str(number): (float(x), float(y))
        for number, (x, y) in enumerate(points)
        if np.isfinite((x, y)).all()
    }
    return _OneImage(
        shown, None if box is None else _box(path, {"bbox": box.tolist()}, "bbox"), None
    )


def _joined(a: _OneImage, b: _OneImage) -> _Landmarks:
    """The landmarks that both images show."""
    ids = tuple(one for one in a.points_px if one in b.points_px)
    points = [
        np.array([image.points_px[one] for one in ids], np.float64).reshape(-1, 2)
        for image in (a, b)
    ]
    return _Landmarks(ids, (points[0], points[1]), (a.box_px, b.box_px), (a.size_px, b.size_px))


def _of_row(path: Path, row: int) -> _Landmarks:
    """A row of a table of pairs."""
    rows = read_table(path)
    if row >= len(rows):
        raise TruthError(path, f"has {len(rows)} rows, and row {row + 1} is asked for")
    told = rows[row]
    if all(name in told for name in _JOINED):
        columns = {name: told[name].replace(",", ";").split(";") for name in _JOINED}
    else:
        columns = {name: [] for name in _JOINED}
        for name, number in sorted(
            (match[1], int(match[2])) for match in map(_NUMBERED.fullmatch, told) if match
        ):
            columns[name].append(told[f"{name}{number}"])
    where = f"row {row + 1}"
    numbers = {name: _numbers(path, texts, where) for name, texts in columns.items()}
    counts = {len(values) for values in numbers.values()}
    if counts == {0}:
        raise TruthError(path, f"has no columns {', '.join(_JOINED)} with landmarks")
    if len(counts) > 1:
        raise TruthError(path, f"has columns of different lengths in {where}")
    a = np.stack([numbers["XA"], numbers["YA"]], axis=1)
    b = np.stack([numbers["XB"], numbers["YB"]], axis=1)
    shown = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    ids = tuple(str(number) for number in np.flatnonzero(shown))
    return _Landmarks(ids, (a[shown], b[shown]), (None, None))


def read_table(path: Path) -> tuple[Mapping[str, str], ...]:
    """The rows of a table of pairs, each by the names of the columns.

    Raises:
        TruthError: it cannot be read, or is no table.
    """
    return _table(path, FileStamp.of(path))


@lru_cache(maxsize=_KEPT_TABLES)
def _table(path: Path, _stamp: FileStamp) -> tuple[Mapping[str, str], ...]:
    try:
        text = _content(path).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise TruthError(path, f"is neither JSON nor a CSV table ({error})") from error
    return tuple(
        {name.strip(): (value or "").strip() for name, value in row.items() if name is not None}
        for row in rows
    )


def _points(path: Path, told: Mapping[str, Any], name: str) -> Points:
    value = told.get(name)
    if not isinstance(value, list):
        raise TruthError(path, f"is JSON without {name}, so it is no annotation of a pair")
    return np.array([_pair_of(path, one) for one in value], np.float64).reshape(-1, 2)


def _pair_of(path: Path, value: Any) -> tuple[float, float]:
    numbers = _reals(value, 2)
    if numbers is None:
        raise TruthError(path, f"has {quoted(value)} where x and y of a point should stand")
    return numbers[0], numbers[1]


def _box(path: Path, told: Mapping[str, Any], name: str) -> Box | None:
    value = told.get(name)
    if value is None:
        return None
    numbers = _reals(value, 4)
    if numbers is None or numbers[2] <= numbers[0] or numbers[3] <= numbers[1]:
        raise TruthError(path, f"has {quoted(value)} as {name}, which is no box")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _size(value: Any) -> Size | None:
    """(width, height) where a file states it."""
    if not isinstance(value, list) or len(value) < 2:
        return None
    numbers = _reals(value[:2], 2)
    return None if numbers is None else (round(numbers[0]), round(numbers[1]))


def _reals(value: Any, count: int) -> Sequence[float] | None:
    """A list of so many finite numbers; None for anything else."""
    if not isinstance(value, list) or len(value) != count:
        return None
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in value):
        return None
    try:
        numbers = [float(one) for one in value]
    except OverflowError:  # an integer of hundreds of digits
        return None
    return numbers if np.isfinite(numbers).all() else None


def _numbers(path: Path, texts: Sequence[str], where: str) -> NDArray[np.float64]:
    try:
        return np.array([float(text) if text.strip() else np.nan for text in texts], np.float64)
    except ValueError as error:
        raise TruthError(path, f"has a word among the numbers of {where} ({error})") from error


def _check_sizes(
    path: Path, stated: tuple[Size | None, Size | None], actual: tuple[Size, Size]
) -> None:
    for side, told, size in zip("ab", stated, actual, strict=True):
        if told is not None and told != size:
            raise TruthError(
                path,
                f"is about an image {side} of {told[0]} × {told[1]} px, and the image has "
                f"{size[0]} × {size[1]}",
            )
