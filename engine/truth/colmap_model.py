"""The cameras of a COLMAP model: ``cameras`` and ``images``, as text or binary.

The format is documented in COLMAP's ``doc/format.rst``; points, rigs and frames are not needed.
COLMAP's own library would do as well, but takes 130 MB, and refuses a model without points, which
data sets often leave out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import SEEK_CUR
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from engine.errors import TruthError
from engine.files import open_input
from engine.truth.base import Matrix, Size
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
_POINT_BYTES: Final = 24  # two doubles and the number of a point


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
    files = model_files(folder)
    if files is None:
        raise TruthError(
            folder, "holds no COLMAP model, that is, cameras and images as .bin or .txt"
        )
    cameras, images = files
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


def _text_images(stream: BinaryIO) -> Iterator[_View]:
    """Two lines for each image; the second one lists points, and is empty where there are none."""
    for line in stream:
        text = line.decode().strip()
        if not text or text.startswith("#"):
            continue
        words = text.split(maxsplit=9)
        if len(words) != 10:
            raise ValueError(f"{len(words)} words in the line of an image, not 10")
        numbers = [float(word) for word in words[1:8]]
        yield _View(words[9], int(words[8]), pose_matrix(numbers[:4], numbers[4:]))
        stream.readline()


def _binary_cameras(stream: BinaryIO) -> Iterator[tuple[int, _Lens]]:
    (count,) = _unpack(stream, "<Q")
    for _ in range(count):
        number, kind, width, height = _unpack(stream, "<IiQQ")
        if not 0 <= kind < len(_MODELS):
            raise ValueError(f"the number {kind} of a camera's model is not known")
        model, parameters = _MODELS[kind]
        yield number, _Lens(model, (width, height), _unpack(stream, f"<{parameters}d"))


def _binary_images(stream: BinaryIO) -> Iterator[_View]:
    (count,) = _unpack(stream, "<Q")
    for _ in range(count):
        _number, *pose, lens = _unpack(stream, "<I7dI")
        name = _read_name(stream)
        (points,) = _unpack(stream, "<Q")
        stream.seek(points * _POINT_BYTES, SEEK_CUR)
        yield _View(name, lens, pose_matrix(pose[:4], pose[4:]))


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
