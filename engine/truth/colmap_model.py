"""A COLMAP model: its cameras, and which points its images show, as text or binary.

The format is documented in COLMAP's ``doc/format.rst``.  ``cameras`` and ``images`` are read; where
points lie in the world, rigs and frames are not needed.  COLMAP's own library would do as well, but
takes 130 MB, and refuses a model without points, which data sets often leave out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from os import SEEK_CUR, SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.files import open_input, read_number
from engine.geometry.coords import CORNER_PX
from engine.paths import FileStamp
from engine.truth.base import Matrix, Points, Size
from engine.truth.cameras import Camera, pose_matrix

MODEL_FILES: Final = (("cameras.bin", "images.bin"), ("cameras.txt", "images.txt"))
"""What a model consists of, as far as it is read; binary comes first, as COLMAP prefers it."""

_MODELS: Final = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    ("SIMPLE_DIVISION", 4),
    ("DIVISION", 5),
    ("SIMPLE_FISHEYE", 3),
    ("FISHEYE", 4),
    ("EUCM", 6),
)
"""Names and numbers of parameters of lenses by their numbers in binary files."""

_Record = TypeVar("_Record")
_MOST_NAME_BYTES: Final = 4096
_POINT: Final = np.dtype([("place", "<f8", 2), ("number", "<i8")])
_KEPT_MODELS: Final = 1  # the observations of a large one take a gigabyte


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """The points of the scene that an image shows.

    Attributes:
        numbers: ``(N,)`` the points, ascending.
        places_px: ``(N, 2)`` where the image shows them.
    """

    numbers: NDArray[np.int64]
    places_px: Points


@dataclass(frozen=True, slots=True)
class _Lens:
    model: str
    size_px: Size
    parameters: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _View:
    name: str
    lens: int
    world_to_camera: Matrix
    points: NDArray[np.void] | None = None


def model_files(folder: Path) -> tuple[Path, Path] | None:
    """The files of a model's cameras and images in a folder; None where it holds no model."""
    for names in MODEL_FILES:
        cameras, images = (folder / name for name in names)
        if cameras.is_file() and images.is_file():
            return cameras, images
    return None


def read_colmap_model(folder: Path) -> dict[str, Camera]:
    """The cameras of a model by the names of their images, which may contain slashes.

    Args:
        folder: with ``cameras`` and ``images``, both ``.bin`` or both ``.txt``.

    Raises:
        TruthError: there is no model, a file is damaged, or a camera is of a model that is not
            read.
    """
    cameras, images = _files(folder)
    binary = cameras.suffix == ".bin"
    lenses = dict(_parsed(cameras, _binary_cameras if binary else _text_cameras))
    views = _parsed(images, _binary_images if binary else _text_images)
    found: dict[str, Camera] = {}
    for view in views:
        lens = lenses.get(view.lens)
        if lens is None:
            raise TruthError(images, f"names camera {view.lens}, which {cameras.name} lacks")
        if view.name in found:
            raise TruthError(images, f"holds the image {view.name} twice")
        try:
            found[view.name] = Camera.of_colmap(
                lens.model, lens.size_px, lens.parameters, view.world_to_camera
            )
        except ValueError as error:
            raise TruthError(cameras, f"camera {view.lens} of {view.name}: {error}") from error
    return found


def read_observations(folder: Path) -> dict[str, Observations]:
    """Which points each image of a model shows, by the images' names.

    Of a point that an image shows several times, the first place counts.

    Args:
        folder: as for :func:`read_colmap_model`.

    Raises:
        TruthError: there is no model, or the file of its images is damaged.
    """
    _, images = _files(folder)
    return _observations(images, FileStamp.of(images))


@lru_cache(maxsize=_KEPT_MODELS)
def _observations(images: Path, _stamp: FileStamp) -> dict[str, Observations]:
    parse = _binary_images if images.suffix == ".bin" else _text_images
    found: dict[str, Observations] = {}
    for view in _parsed(images, partial(parse, with_points=True)):
        assert view.points is not None
        points = view.points[view.points["number"] >= 0]
        numbers, first = np.unique(points["number"], return_index=True)
        found[view.name] = Observations(numbers, points["place"][first] - CORNER_PX)
    return found


def _files(folder: Path) -> tuple[Path, Path]:
    files = model_files(folder)
    if files is None:
        raise TruthError(
            folder, "holds no COLMAP model, that is, cameras and images as .bin or .txt"
        )
    return files


def _parsed(path: Path, parse: Callable[[BinaryIO], Iterator[_Record]]) -> list[_Record]:
    with open_input(path, TruthError, missing="does not exist") as stream:
        try:
            return list(parse(stream))
        except OSError:
            raise
        except Exception as error:  # of a damaged file
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise TruthError(path, f"is a damaged file of a COLMAP model ({detail})") from error


def _text_cameras(stream: BinaryIO) -> Iterator[tuple[int, _Lens]]:
    for line in stream:
        words = line.decode().split()
        if words and not words[0].startswith("#"):
            number, model, width, height, *parameters = words
            size_px = (int(width), int(height))
            yield int(number), _Lens(model, size_px, tuple(map(float, parameters)))


def _text_images(stream: BinaryIO, *, with_points: bool = False) -> Iterator[_View]:
    """Two lines for each image; the second one lists points, and is empty where there are none."""
    for line in stream:
        text = line.decode().strip()
        if not text or text.startswith("#"):
            continue
        words = text.split(maxsplit=9)
        if len(words) != 10:
            raise ValueError(f"{len(words)} words in the line of an image, not 10")
        numbers = [read_number(word) for word in words[1:8]]
        listed = stream.readline()
        points = _text_points(listed) if with_points else None
        yield _View(words[9], int(words[8]), pose_matrix(numbers[:4], numbers[4:]), points)


def _text_points(line: bytes) -> NDArray[np.void]:
    words = np.array(line.split()).reshape(-1, 3)
    points = np.empty(len(words), _POINT)
    points["place"] = words[:, :2].astype(np.float64)
    points["number"] = words[:, 2].astype(np.int64)
    return points


def _binary_cameras(stream: BinaryIO) -> Iterator[tuple[int, _Lens]]:
    (count,) = _unpack(stream, "<Q")
    for _ in range(count):
        number, kind, width, height = _unpack(stream, "<IiQQ")
        if not 0 <= kind < len(_MODELS):
            raise ValueError(f"the number {kind} of a camera's model is not known")
        model, parameters = _MODELS[kind]
        yield number, _Lens(model, (width, height), _unpack(stream, f"<{parameters}d"))


def _binary_images(stream: BinaryIO, *, with_points: bool = False) -> Iterator[_View]:
    (count,) = _unpack(stream, "<Q")
    for _ in range(count):
        _number, *pose, lens = _unpack(stream, "<I7dI")
        name = _read_name(stream)
        (count_of_points,) = _unpack(stream, "<Q")
        points = None
        if with_points:
            size_bytes = min(count_of_points * _POINT.itemsize, _left_bytes(stream))
            points = np.frombuffer(stream.read(size_bytes - size_bytes % _POINT.itemsize), _POINT)
            if len(points) != count_of_points:
                raise ValueError(f"it ends within the points of {name}")
        else:
            stream.seek(count_of_points * _POINT.itemsize, SEEK_CUR)
        yield _View(name, lens, pose_matrix(pose[:4], pose[4:]), points)


def _left_bytes(stream: BinaryIO) -> int:
    """How much of a file is left; a damaged one may announce more than there is memory."""
    at = stream.tell()
    left = stream.seek(0, SEEK_END) - at
    stream.seek(at)
    return left


def _read_name(stream: BinaryIO) -> str:
    name = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte or len(name) == _MOST_NAME_BYTES:
            raise ValueError("an image's name has no end")
        name += byte
    return name.decode()


def _unpack(stream: BinaryIO, form: str) -> tuple[Any, ...]:
    data = stream.read(struct.calcsize(form))
    return struct.unpack(form, data)
