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
import itertools
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Levels, Member
from engine.descriptors.registry import register_descriptor
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, MapFileError, file_errors
from engine.files import write_atomically
from engine.geometry.coords import CellGrid, Resize
from engine.imagefiles.value_range import ValueRange
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
    content = _Content(path, _read_arrays(path))
    names = content.map_names()
    placements = zip(
        content.per_map("stride_px", len(names)),
        content.per_map("offset_px", len(names)),
        content.per_map("member_scale", len(names), default=1.0),
        content.per_map("member_angle_deg", len(names), default=0.0),
        strict=True,
    )
    levels = []
    for name, (stride_px, offset_px, scale, angle_deg) in zip(names, placements, strict=True):
        if stride_px <= 0:
            raise MapFileError(path, f"stride_px must be above 0, not {stride_px:g}")
        grid, member = CellGrid(stride_px, offset_px), Member(scale=scale, angle_deg=angle_deg)
        levels.append(DescriptorMap(content.map(name), grid, member))
    lengths = {int(level.values.shape[1]) for level in levels}
    if len(lengths) > 1:
        listed = " and ".join(map(str, sorted(lengths)))
        raise MapFileError(path, f"its maps hold descriptors of different lengths ({listed})")
    image_size_px = content.size("image_size_px")
    if image_size_px is not None:
        _check_coverage(path, tuple(levels), image_size_px)
    return MapFile(path, tuple(levels), image_size_px, content.size("original_size_px"))


def write_map_file(
    path: Path,
    levels: Levels,
    *,
    working_size_px: tuple[int, int],
    original_size_px: tuple[int, int],
    descriptor: str = "",
    settings: Mapping[str, Any] | None = None,
    value_range: ValueRange | None = None,
) -> None:
    """Write the maps of one image as ``.npz``, completely or not at all.

    Args:
        path: the file to write; its folder must exist.
        levels: maps of a batch of one image.
        working_size_px: (width, height) of the image that was described.
        original_size_px: (width, height) of the original file.
        descriptor: name of what made the maps, kept for the reader.
        settings: its settings, kept as JSON.
        value_range: which values of the image's file were black and white, kept for the reader.

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
    if value_range is not None:
        content["value_range"] = np.array([value_range.black, value_range.white], np.float64)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **content)
    write_atomically(path, buffer.getvalue())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecomputedConfig:
    """Precomputed maps have no settings: their files contain everything."""


@register_descriptor(
    PRECOMPUTED,
    title="Precomputed maps",
    config=PrecomputedConfig,
    summary="Maps of your own network, read from a .npz or .npy file for each image.",
)
def build_precomputed(config: PrecomputedConfig) -> NoReturn:  # noqa: ARG001 - no settings
    """Refuse: there is nothing to compute.

    Raises:
        ConfigError: always, with what to do.
    """
    raise ConfigError(
        PRECOMPUTED, "maps are read from files, not computed; give a map file for each image"
    )


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
        # A damaged file that numpy opens itself stays open.
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


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """The arrays of a file by name, checked as they are asked for."""

    path: Path
    arrays: Mapping[str, NDArray[Any]]

    def map_names(self) -> list[str]:
        """``values``, or ``values_0`` and on without a gap."""
        if "values" in self.arrays:
            return ["values"]
        numbered = (f"values_{number}" for number in itertools.count())
        names = list(itertools.takewhile(self.arrays.__contains__, numbered))
        if not names:
            listed = ", ".join(sorted(self.arrays)) or "nothing"
            raise MapFileError(
                self.path, f"has no array called values or values_0; it holds {listed}"
            )
        return names

    def map(self, name: str) -> Tensor:
        """``(1, D, H', W')`` float32 of unit length."""
        array = self.arrays[name]
        if array.ndim != 3 or 0 in array.shape:
            shape = " × ".join(map(str, array.shape)) or "a single number"
            reason = f"{name} must have the shape (D, height, width), not {shape}"
            raise MapFileError(self.path, reason)
        if array.dtype.kind not in "fiu":
            raise MapFileError(self.path, f"{name} must hold real numbers, not {array.dtype}")
        values = torch.from_numpy(np.array(array, dtype=np.float32))[None]
        if not bool(torch.isfinite(values).all()):
            raise MapFileError(self.path, f"{name} holds numbers that are not finite")
        # The largest entry first: squares of huge or tiny numbers neither overflow nor vanish.
        largest = values.abs().amax(dim=1, keepdim=True)
        return unit_length(values / torch.where(largest > 0, largest, 1.0))

    def per_map(self, name: str, count: int, default: float | None = None) -> list[float]:
        """One finite number for each map."""
        if name not in self.arrays and default is not None:
            return [default] * count
        if name not in self.arrays:
            sidecar = f"; write them into {self.path.with_suffix('.json').name} beside it"
            fix = sidecar if self.path.suffix.lower() == ".npy" else ""
            raise MapFileError(self.path, f"does not contain {name}{fix}")
        numbers = self._numbers(name)
        if numbers.size not in (1, count):
            raise MapFileError(self.path, f"{name} has {numbers.size} numbers for {count} maps")
        return [float(number) for number in np.broadcast_to(numbers, (count,))]

    def size(self, name: str) -> tuple[int, int] | None:
        """A (width, height); None if the file lacks it."""
        if name not in self.arrays:
            return None
        numbers = self._numbers(name)
        if numbers.size != 2 or (numbers < 1).any() or (numbers != numbers.round()).any():
            reason = f"{name} must be (width, height) in pixels, not {numbers.tolist()}"
            raise MapFileError(self.path, reason)
        return int(numbers[0]), int(numbers[1])

    def _numbers(self, name: str) -> NDArray[np.float64]:
        array = self.arrays[name]
        if array.dtype.kind not in "fiu" or array.ndim > 1:
            raise MapFileError(self.path, f"{name} must be a number or a list of numbers")
        numbers = np.atleast_1d(array).astype(np.float64)
        if not np.isfinite(numbers).all():
            raise MapFileError(self.path, f"{name} holds a number that is not finite")
        return numbers


def _column(numbers: list[float]) -> NDArray[np.float64]:
    """A single number for a single map, as one would write it by hand."""
    return np.array(numbers[0] if len(numbers) == 1 else numbers, np.float64)
