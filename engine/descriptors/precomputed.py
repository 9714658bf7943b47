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
``cells``             (columns, rows) of the map, where ``values`` holds the tokens of a vision
                      transformer, ``(N, D)``, row by row
``prefix_tokens``     how many tokens stand before those (class, registers); without it the number
                      follows from ``cells``
====================  =========================================================================

``.npy`` holds ``values`` alone.  A file of the same name with the ending ``.json`` holds the rest,
under the names above.  What ``torch.save`` writes is read as well: a tensor as ``.npy``, tensors by
name as ``.npz``; and so is ``.safetensors``.  A leading axis of length 1, the batch, is dropped.

Vectors are brought to unit length on reading; zero vectors stay zero.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.checkpoints import read_tensors
from engine.descriptors.base import DescriptorMap, Levels, Member
from engine.descriptors.registry import register_descriptor
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, DescSpaceError, MapFileError
from engine.file_kinds import TORCH_FILE, TORCHSCRIPT, name_kind
from engine.files import open_input, parse_json, read_input, write_atomically
from engine.geometry.coords import CellGrid, Resize
from engine.imagefiles.value_range import ValueRange
from engine.vocabulary import PRECOMPUTED

_MAX_BYTES = 16 << 30
# A network without padding leaves a border undescribed, so maps need not reach the image's edges;
# but maps that span less than this share of it come from a wrong stride or another image.
_SMALLEST_COVER = 0.5
_STRETCH_LIMIT = 0.02
# A class token, a distillation token, and registers: no network in use has more.
_MOST_PREFIX_TOKENS = 16
_NUMBERED = re.compile(r"values_\d+")


@dataclass(frozen=True, slots=True, eq=False)
class MapFile:
    """What a map file holds.

    Attributes:
        path: the file.
        levels: the maps, each ``(1, D, H', W')`` float32 of unit length, on the CPU.
        image_size_px: (width, height) of the image that was described, whose pixels the grids
            count; None if the file lacks it, which means the original's size.
        original_size_px: (width, height) of the original file; None if the file lacks it.
        notes: sentences on what was chosen where the file left a choice.
    """

    path: Path
    levels: Levels
    image_size_px: tuple[int, int] | None
    original_size_px: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def lay_on(self, size_px: tuple[int, int]) -> tuple[Resize, tuple[str, ...]]:
        """Lay the maps on an image.

        Args:
            size_px: its (width, height).

        Returns:
            The resize from the image to the pixels that the grids count; and notes, with a warning
            among them if the file seems to be that of another image.

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
            return resize, self.notes
        note = (
            f"{self.path} was made for an image of {made_for[0]} × {made_for[1]} pixels, and this "
            f"one has {size_px[0]} × {size_px[1]}: the maps are stretched to fit."
        )
        return resize, (*self.notes, note)


def read_map_file(path: Path) -> MapFile:
    """Read the maps of one image from a file; its format is recognised by its content.

    Raises:
        MapFileError: unreadable, incomplete, of a wrong shape, not finite, or unable to cover the
            image it claims to be made for.
    """
    content = _read_content(path)
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
    original_size_px, notes = content.size("original_size_px"), tuple(content.notes)
    return MapFile(path, tuple(levels), image_size_px, original_size_px, notes)


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
    summary="Maps of your own network, read from a .npz, .npy or .pt file for each image.",
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


def _read_content(path: Path) -> _Content:
    """All arrays of a file; beside a bare array, those of the ``.json`` of the same name."""
    loaded = _read_tensors(path) if _is_of_torch(path) else _read_numpy(path)
    if not isinstance(loaded, np.ndarray):
        return _Content(path, loaded)
    beside = path.with_suffix(".json")
    return _Content(path, {"values": loaded, **_read_sidecar(beside)}, beside.name)


def _is_of_torch(path: Path) -> bool:
    """True for a file of torch or safetensors, by its content."""
    with open_input(path, MapFileError, missing="there is no such file") as file:
        start = file.read(9)
    old, safetensors = start.startswith(b"\x80"), start[8:] == b"{"
    return old or safetensors or name_kind(path) in (TORCH_FILE, TORCHSCRIPT)


def _read_tensors(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The tensor in a file of torch, or those in it by name, with the numbers beside them."""
    if path.stat().st_size > _MAX_BYTES:
        raise MapFileError(path, f"has more than {_MAX_BYTES >> 30} GiB")
    loaded = read_tensors(path, MapFileError)
    if isinstance(loaded, list | tuple) and len(loaded) == 1:
        loaded = loaded[0]
    if isinstance(loaded, Tensor):
        return _as_array(path, "the tensor", loaded)
    if not isinstance(loaded, Mapping):
        count = f" of {len(loaded)}" if isinstance(loaded, list | tuple) else ""
        what = f"a {type(loaded).__name__}{count}"
        raise MapFileError(path, f"holds {what}, and one tensor or tensors by name are wanted")
    return {
        str(name): _as_array(path, str(name), value)
        for name, value in loaded.items()
        if isinstance(value, Tensor | int | float | list | tuple)
    }


def _as_array(path: Path, name: str, value: Any) -> NDArray[Any]:
    try:
        if isinstance(value, Tensor):
            value = value.detach()
            value = value.float() if value.dtype == torch.bfloat16 else value
            array: NDArray[Any] = value.numpy()
            return array
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = getattr(value, "dtype", type(value).__name__)
        raise MapFileError(path, f"holds numbers of the kind {kind} in {name}") from error


def _read_numpy(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of an ``.npy``, or all arrays of an ``.npz``."""
    try:
        # A damaged file that numpy opens itself stays open.
        with open_input(path, MapFileError) as file:
            if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                raise MapFileError(path, f"has more than {_MAX_BYTES >> 30} GiB")
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                if sum(part.file_size for part in loaded.zip.infolist()) > _MAX_BYTES:
                    raise MapFileError(path, f"holds more than {_MAX_BYTES >> 30} GiB")
                arrays = {name: loaded[name] for name in loaded.files}
                return {name: one for name, one in arrays.items() if isinstance(one, np.ndarray)}
    except MemoryError as error:
        raise MapFileError(path, "does not fit into memory") from error
    except DescSpaceError:
        raise
    except Exception as error:  # numpy's reader raises many kinds for damaged files
        kind = name_kind(path)
        if kind and not kind.startswith("a NumPy"):
            raise MapFileError(path, f"is {kind}, not a file of maps") from error
        raise MapFileError(path, "is damaged, or no .npz or .npy file of plain numbers") from error


def _read_sidecar(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        return {}
    try:
        values = parse_json(read_input(path, MapFileError))
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
    """The arrays of a file by name, checked as they are asked for.

    Attributes:
        path: the file.
        arrays: by name.
        beside: name of the file that may hold the rest; "" where this one must hold all.
        notes: receives sentences on what was chosen.
    """

    path: Path
    arrays: Mapping[str, NDArray[Any]]
    beside: str = ""
    notes: list[str] = field(default_factory=list)

    def map_names(self) -> list[str]:
        """``values``, or ``values_0`` and on without a gap, or the only map under another name."""
        numbered = (f"values_{number}" for number in itertools.count())
        names = list(itertools.takewhile(self.arrays.__contains__, numbered))
        if "values" in self.arrays:
            if names:
                self.notes.append(f"{self.path}: values is used, not {', '.join(names)}.")
            return ["values"]
        if names:
            return names
        others = [name for name, array in self.arrays.items() if array.ndim > 1]
        if len(others) == 1 and not _NUMBERED.fullmatch(others[0]):
            return others
        listed = ", ".join(sorted(self.arrays)) or "nothing"
        raise MapFileError(self.path, f"has no array called values or values_0; it holds {listed}")

    def map(self, name: str) -> Tensor:
        """``(1, D, H', W')`` float32 of unit length."""
        array = self.arrays[name]
        if array.ndim == 4 and len(array) > 1:
            reason = f"{name} holds the maps of {len(array)} images; write a file for each"
            raise MapFileError(self.path, reason)
        array = self._laid_out(name, array[0] if array.ndim == 4 else array)
        if array.ndim != 3 or 0 in array.shape:
            shape = " × ".join(map(str, array.shape)) or "a single number"
            reason = f"{name} must have the shape (D, height, width), not {shape}"
            if array.ndim == 2:
                reason += "; for tokens of a vision transformer, add cells: (columns, rows)"
            raise MapFileError(self.path, reason)
        if array.dtype.kind not in "fiu":
            raise MapFileError(self.path, f"{name} must hold real numbers, not {array.dtype}")
        values = torch.from_numpy(np.array(array, dtype=np.float32))[None]
        if not bool(torch.isfinite(values).all()):
            raise MapFileError(self.path, f"{name} holds numbers that are not finite")
        # The largest entry first: squares of huge or tiny numbers neither overflow nor vanish.
        largest = values.abs().amax(dim=1, keepdim=True)
        return unit_length(values / torch.where(largest > 0, largest, 1.0))

    def _laid_out(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """``(D, H', W')`` of tokens whose grid is stated; anything else as it is."""
        cells = self.size("cells") or self._cells_by_stride(array)
        if cells is None or array.shape[1:] == (cells[1], cells[0]):
            return array
        columns, rows = cells
        tokens = array[0] if array.ndim == 3 and len(array) == 1 else array
        prefix = len(tokens) - columns * rows if tokens.ndim == 2 else -1
        stated = self._prefix_tokens()
        if prefix < 0 or prefix != (prefix if stated is None else stated):
            shape = " × ".join(map(str, array.shape))
            asked = f" behind {stated} prefix tokens" if stated is not None else ""
            raise MapFileError(
                self.path,
                f"{name} has the shape {shape}, which is not that of {columns} × {rows} cells "
                f"(width × height){asked}, as tokens (N, D) or as a map (D, height, width)",
            )
        if stated is None and prefix > _MOST_PREFIX_TOKENS:
            raise MapFileError(
                self.path,
                f"{name} holds {prefix} tokens more than its {columns} × {rows} cells; if they are "
                f"prefix tokens, add prefix_tokens: {prefix}",
            )
        if stated is None and prefix > 0:
            self.notes.append(
                f"{self.path}: {len(tokens)} tokens for {columns} × {rows} cells; the first "
                f"{prefix} are left out as prefix tokens."
            )
        return tokens[prefix:].T.reshape(-1, rows, columns)

    def _cells_by_stride(self, array: NDArray[Any]) -> tuple[int, int] | None:
        """The (columns, rows) of tokens by image size and stride; None for what are no tokens."""
        size_px = self.size("image_size_px")
        tokens = array[0] if array.ndim == 3 and len(array) == 1 else array
        if tokens.ndim != 2 or size_px is None or "stride_px" not in self.arrays:
            return None
        stride_px = self.per_map("stride_px", 1)[0]
        if stride_px <= 0:
            return None
        columns, rows = (int(edge_px // stride_px) for edge_px in size_px)
        if not 0 <= len(tokens) - columns * rows <= _MOST_PREFIX_TOKENS or not columns * rows:
            return None
        self.notes.append(
            f"{self.path}: {len(tokens)} tokens are taken as {columns} × {rows} cells, by "
            "image_size_px and stride_px."
        )
        return columns, rows

    def _prefix_tokens(self) -> int | None:
        if "prefix_tokens" not in self.arrays:
            return None
        (number,) = self.per_map("prefix_tokens", 1)
        if number < 0 or number != round(number):
            raise MapFileError(
                self.path, f"prefix_tokens must be a number of tokens, not {number:g}"
            )
        return int(number)

    def per_map(self, name: str, count: int, default: float | None = None) -> list[float]:
        """One finite number for each map."""
        if name not in self.arrays and default is not None:
            return [default] * count
        if name not in self.arrays:
            fix = f"; write them into {self.beside} beside it" if self.beside else ""
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
            what = "(columns, rows)" if name == "cells" else "(width, height) in pixels"
            reason = f"{name} must be {what}, not {numbers.tolist()}"
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
