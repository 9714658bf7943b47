"""Maps that another program computed, read from files.

A map file holds the descriptors of one image.  ``.npz``:

====================  =========================================================================
``values``            ``(D, H', W')`` the descriptors, any real type; for a set of maps instead
                      ``values_0``, ``values_1``, …
``stride_px``         distance of cells, in pixels of the image that was described: one number, or
                      one a map
``offset_px``         centre of cell 0 in those pixels, the centre of the top left pixel being 0:
                      one number, or one a map
``image_size_px``     (width, height) of the image that was described; may be left out if that is
                      the original file's size
``original_size_px``  (width, height) of the original file; may be left out
``member_scale``,     for a set of maps: how the image was resized and turned before each; may be
``member_angle_deg``  left out
====================  =========================================================================

``.npy`` holds ``values`` alone.  A file of the same name with the ending ``.json`` holds the rest,
under the names above.

Vectors are brought to unit length on reading; zero vectors stay zero.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Levels, Member
from engine.descriptors.registry import register_descriptor
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, MapFileError, file_errors
from engine.geometry.coords import CellGrid, Resize
from engine.paths import write_atomically
from engine.vocabulary import PRECOMPUTED

_MAX_BYTES = 16 << 30
# A network without padding leaves a border undescribed, so maps need not reach the image's edges;
# but maps that span less than this share of it come from a wrong stride or another image.
_SMALLEST_COVER = 0.5
_STRETCH_LIMIT = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class MapFile:
    """What a map file holds.

    Attributes:
        path: the file.
        levels: the maps, each ``(1, D, H', W')`` float32 of unit length, on the CPU.
        image_size_px: (width, height) of the image that was described, whose pixels the grids
            count; None if the file lacks it, which means the original's size.
        original_size_px: (width, height) of the original file; None if the file lacks it.
    """

    path: Path
    levels: Levels
    image_size_px: tuple[int, int] | None
    original_size_px: tuple[int, int] | None = None

    def lay_on(self, size_px: tuple[int, int]) -> tuple[Resize, tuple[str, ...]]:
        """Lay the maps on an image.

        Args:
            size_px: its (width, height).

        Returns:
            The resize from the image to the pixels that the grids count, and a warning if the file
            seems to be that of another image.

        Raises:
            MapFileError: they cannot cover an image of this size.
        """
        if self.image_size_px is None:
            _check_coverage(self.path, self.levels, size_px)
        resize = Resize(size_px, self.image_size_px or size_px)
        made_for = self.original_size_px
        scale_x, scale_y = resize.scale_xy
        if made_for is None and abs(math.log(scale_x / scale_y)) > _STRETCH_LIMIT:
            made_for = resize.to_size_px
        if made_for in (None, size_px):
            return resize, ()
        note = (
            f"{self.path} was made for an image of {made_for[0]} × {made_for[1]} pixels, and this "
            f"one has {size_px[0]} × {size_px[1]}: the maps are stretched to fit."
        )
        return resize, (note,)


def read_map_file(path: Path) -> MapFile:
    """Read the maps of one image from an ``.npz`` or ``.npy`` file.

    Raises:
        MapFileError: unreadable, incomplete, of a wrong shape, not finite, or unable to cover the
            image it claims to be made for.
    """
    content = _read_arrays(path)
    arrays = _values_of(path, content)
    count = len(arrays)
    strides_px = _placement(path, content, "stride_px", None, count)
    offsets_px = _placement(path, content, "offset_px", None, count)
    scales = _placement(path, content, "member_scale", 1.0, count)
    angles_deg = _placement(path, content, "member_angle_deg", 0.0, count)
    levels = []
    for index, (name, array) in enumerate(arrays.items()):
        if strides_px[index] <= 0:
            raise MapFileError(path, f"stride_px must be above 0, not {strides_px[index]:g}")
        levels.append(
            DescriptorMap(
                _to_tensor(path, name, array),
                CellGrid(strides_px[index], offsets_px[index]),
                Member(scale=scales[index], angle_deg=angles_deg[index]),
            )
        )
    lengths = {int(level.values.shape[1]) for level in levels}
    if len(lengths) > 1:
        listed = " and ".join(map(str, sorted(lengths)))
        raise MapFileError(path, f"its maps hold descriptors of different lengths ({listed})")
    image_size_px = _size(path, content, "image_size_px")
    if image_size_px is not None:
        _check_coverage(path, tuple(levels), image_size_px)
    return MapFile(path, tuple(levels), image_size_px, _size(path, content, "original_size_px"))


def write_map_file(
    path: Path,
    levels: Levels,
    *,
    working_size_px: tuple[int, int],
    original_size_px: tuple[int, int],
    descriptor: str = "",
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the maps of one image as ``.npz``, completely or not at all.

    Args:
        path: the file to write; its folder must exist.
        levels: maps of a batch of one image.
        working_size_px: (width, height) of the image that was described.
        original_size_px: (width, height) of the original file.
        descriptor: name of what made the maps, kept for the reader.
        settings: its settings, kept as JSON.

    Raises:
        OutputError: the file cannot be written; an older file of this name is left as it was.
    """
    content: dict[str, NDArray[Any]] = {}
    for index, level in enumerate(levels):
        batch = level.values.shape[0]
        if batch != 1:
            raise ValueError(f"a map file holds one image, not a batch of {batch}")
        name = "values" if len(levels) == 1 else f"values_{index}"
        content[name] = level.values[0].detach().float().cpu().numpy()
    content["stride_px"] = _column([level.grid.stride_px for level in levels])
    content["offset_px"] = _column([level.grid.offset_px for level in levels])
    content["image_size_px"] = np.array(working_size_px, np.int64)
    content["original_size_px"] = np.array(original_size_px, np.int64)
    content["member_scale"] = _column([level.member.scale for level in levels])
    content["member_angle_deg"] = _column([level.member.angle_deg for level in levels])
    content["descriptor"] = np.array(descriptor)
    content["settings"] = np.array(json.dumps(dict(settings or {}), default=str))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **content)
    write_atomically(path, buffer.getvalue())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecomputedConfig:
    """Precomputed maps have no settings: their files contain everything."""


class Precomputed:
    """Stands in the list of descriptors for maps that are read, and never describes an image."""

    dim = 0
    shift_period_px = 1
    trained = True
    half_precision = False

    def describe(self, images: Tensor) -> Levels:  # noqa: ARG002 - the contract names it
        """Refuse: there is nothing to compute.

        Raises:
            ConfigError: always, with what to do.
        """
        raise ConfigError(
            PRECOMPUTED, "maps are read from files, not computed; give a map file for each image"
        )


@register_descriptor(
    PRECOMPUTED,
    title="Precomputed maps",
    config=PrecomputedConfig,
    summary="Maps of your own network, read from a .npz or .npy file for each image.",
)
def build_precomputed(config: PrecomputedConfig) -> Precomputed:  # noqa: ARG001 - no settings
    """Build the stand-in."""
    return Precomputed()


def _check_coverage(path: Path, levels: Levels, image_size_px: tuple[int, int]) -> None:
    """Refuse maps that cannot belong to an image of this (width, height).

    Raises:
        MapFileError: cells lie more than a stride outside the image, or span less than half of it.
    """
    for level in levels:
        rows, columns = level.values.shape[2:]
        for cells, size_px in ((columns, image_size_px[0]), (rows, image_size_px[1])):
            first_px, last_px = level.grid.span_px(cells)
            slack_px = 1.5 * level.grid.stride_px
            inside = first_px >= -slack_px - 0.5 and last_px <= size_px - 0.5 + slack_px
            if inside and last_px - first_px >= _SMALLEST_COVER * size_px:
                continue
            stride_px = level.grid.stride_px
            width, height = image_size_px
            raise MapFileError(
                path,
                f"its {columns} × {rows} cells (width × height), {stride_px:g} px apart from "
                f"{level.grid.offset_px:g} px on, cannot cover an image of {width} × {height} px; "
                "check the stride, the offset and the order of the axes (D, height, width)",
            )


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz``; of an ``.npy`` its array and the contents of its ``.json``."""
    reading = file_errors(MapFileError, path, "cannot be read", missing="there is no such file")
    try:
        # numpy leaves a damaged file open if it has to open it itself.
        with reading, path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                raise MapFileError(path, f"has more than {_MAX_BYTES >> 30} GiB")
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"values": loaded, **_read_sidecar(path.with_suffix(".json"))}
            with loaded:
                if sum(part.file_size for part in loaded.zip.infolist()) > _MAX_BYTES:
                    raise MapFileError(path, f"holds more than {_MAX_BYTES >> 30} GiB")
                return {name: loaded[name] for name in loaded.files}
    except MemoryError as error:
        raise MapFileError(path, "does not fit into memory") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise MapFileError(path, "is damaged, or no .npz or .npy file of plain numbers") from error


def _read_sidecar(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        return {}
    try:
        with file_errors(MapFileError, path, "cannot be read"):
            values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MapFileError(path, f"is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise MapFileError(path, "must hold names and values, such as stride_px and offset_px")
    try:
        return {name: np.asarray(value) for name, value in values.items() if name != "values"}
    except ValueError as error:
        raise MapFileError(path, f"holds a value that is no list of numbers ({error})") from error


def _values_of(path: Path, content: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The maps by name: ``values``, or ``values_0`` and on without a gap."""
    if "values" in content:
        return {"values": content["values"]}
    found: dict[str, NDArray[Any]] = {}
    while (name := f"values_{len(found)}") in content:
        found[name] = content[name]
    if not found:
        names = ", ".join(sorted(content)) or "nothing"
        raise MapFileError(path, f"has no array called values or values_0; it holds {names}")
    return found


def _to_tensor(path: Path, name: str, array: NDArray[Any]) -> Tensor:
    """``(1, D, H', W')`` float32 of unit length."""
    if array.ndim != 3 or 0 in array.shape:
        shape = " × ".join(map(str, array.shape)) or "a single number"
        raise MapFileError(path, f"{name} must have the shape (D, height, width), not {shape}")
    if array.dtype.kind not in "fiu":
        raise MapFileError(path, f"{name} must hold real numbers, not {array.dtype}")
    values = torch.from_numpy(np.array(array, dtype=np.float32))[None]
    if not bool(torch.isfinite(values).all()):
        raise MapFileError(path, f"{name} holds numbers that are not finite")
    # The largest entry first, so that squares of huge or tiny numbers neither overflow nor vanish.
    largest = values.abs().amax(dim=1, keepdim=True)
    return unit_length(values / torch.where(largest > 0, largest, 1.0))


def _placement(
    path: Path, content: Mapping[str, NDArray[Any]], name: str, default: float | None, count: int
) -> list[float]:
    """One finite number for each map."""
    if name not in content:
        if default is None:
            fix = (
                f"; write them into {path.with_suffix('.json').name} beside it"
                if path.suffix.lower() == ".npy"
                else ""
            )
            raise MapFileError(path, f"does not contain {name}{fix}")
        return [float(default)] * count
    numbers = _numbers(path, content, name)
    if numbers.size not in (1, count):
        raise MapFileError(path, f"{name} has {numbers.size} numbers for {count} maps")
    return [float(number) for number in np.broadcast_to(numbers, (count,))]


def _size(path: Path, content: Mapping[str, NDArray[Any]], name: str) -> tuple[int, int] | None:
    if name not in content:
        return None
    numbers = _numbers(path, content, name)
    if numbers.size != 2 or bool((numbers < 1).any()) or bool((numbers != numbers.round()).any()):
        raise MapFileError(
            path, f"{name} must be (width, height) in pixels, not {numbers.tolist()}"
        )
    return int(numbers[0]), int(numbers[1])


def _numbers(path: Path, content: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    array = content[name]
    if array.dtype.kind not in "fiu" or array.ndim > 1:
        raise MapFileError(path, f"{name} must be a number or a list of numbers")
    numbers = np.atleast_1d(array).astype(np.float64)
    if not all(map(math.isfinite, numbers)):
        raise MapFileError(path, f"{name} holds a number that is not finite")
    return numbers


def _column(numbers: list[float]) -> NDArray[np.float64]:
    """A single number for a single map, as a person would write it."""
    return np.array(numbers[0] if len(numbers) == 1 else numbers, np.float64)
