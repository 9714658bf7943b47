"""Where the cells of map files lie, measured with a network that runs elsewhere.

A map file declares its stride and offset, and a wrong one shifts every match without a word.  Here
this program writes images, the network describes them wherever it runs, and the maps tell where
their cells lie: each copy of an image has a few columns or rows changed, and a cell lies at the
centroid of the changes it noticed; see :mod:`engine.descriptors.grid_measure`.  These strips begin
elsewhere in each image, so that they lean to neither side.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.check import CheckReport, compare_grid, numbered
from engine.descriptors.findings import Finding
from engine.descriptors.grid_measure import (
    MeasuredGrid,
    NoInfluenceError,
    changed_strips,
    fitting_size,
    grid_from_changes,
    random_images,
    strips_of,
)
from engine.descriptors.precomputed import MapFile, read_map_file
from engine.errors import MapFileError, OutputError
from engine.files import make_folder
from engine.geometry.coords import CellGrid, Resize
from engine.images import read_size, write_image
from engine.progress import JobContext, Progress, Stage
from engine.vocabulary import PRECOMPUTED

_ROUNDS: Final = 3
_FINE_PX: Final = 4.0  # so fine a map is measured by single columns and rows
_AXES: Final = ("columns", "rows")
_MAP_ENDINGS: Final = (".npz", ".npy", ".pt", ".pth", ".safetensors")
_NAME: Final = re.compile(r"image(\d)_(columns|rows)_(\d{4})_(\d{1,3})")


def write_probe_images(folder: Path, *, about_px: float, context: JobContext) -> int:
    """Write the images that a network has to describe, so that its maps can be checked.

    Args:
        folder: where to, made if it is missing.
        about_px: about the stride of the maps; half or twice as much will do.
        context: receives progress; checked for cancelling at each image.

    Returns:
        How many images were written.

    Raises:
        OutputError: they cannot be written, or the folder holds other files.
        JobCancelled: ``context.cancel`` was raised.
    """
    make_folder(folder)
    try:
        if any(folder.iterdir()):
            raise OutputError(folder, "is not empty; name a new folder")
    except OSError as error:
        raise OutputError(folder, f"cannot be read ({error.strerror})") from error
    width, height = size_px = fitting_size(about_px)
    strip_px = _strip_px(about_px)
    generator = torch.Generator().manual_seed(0)
    shifts_px = [number * strip_px // _ROUNDS for number in range(_ROUNDS)]
    total = _ROUNDS + sum(
        len(list(strips_of(side, strip_px, shift_px)))
        for side in (width, height)
        for shift_px in shifts_px
    )
    written = 0
    for number, image in enumerate(random_images(_ROUNDS, size_px, generator)):
        base = (image * 255).round() / 255  # what a file holds
        pictures = {f"image{number}": base}
        for axis, name in enumerate(_AXES):
            copies = changed_strips(base, axis, strip_px, shifts_px[number], generator)
            strips = strips_of(size_px[axis], strip_px, shifts_px[number])
            pictures |= {
                f"image{number}_{name}_{start:04d}_{strip_px}": copy
                for (start, _), copy in zip(strips, copies, strict=True)
            }
        for stem, picture in pictures.items():
            context.cancel.check()
            write_image(folder / f"{stem}.png", _as_bytes(picture))
            written += 1
            context.emit(Progress(Stage.WRITING_IMAGES, written, total))
    return written


def _strip_px(about_px: float) -> int:
    """How wide strips are: about half a cell, and as many pixels as they begin at places."""
    if about_px < _FINE_PX:
        return 1
    return _ROUNDS * max(1, int(about_px / 2 / _ROUNDS))


def check_map_files(folder: Path, context: JobContext) -> CheckReport:
    """Hold the grid that map files declare against where their cells lie.

    Args:
        folder: what :func:`write_probe_images` wrote, and beside each image its map file.
        context: receives progress; checked for cancelling at each file.

    Raises:
        MapFileError: an image lacks its map, a map cannot be used, or they do not fit one another.
        JobCancelled: ``context.cancel`` was raised.
    """
    started_s = time.perf_counter()
    probes = _find_probes(folder)
    size_px = read_size(probes.bases[0])
    first = read_map_file(_map_beside(probes.bases[0]))
    resize, notes = first.lay_on(size_px)
    findings = [
        Finding("file", "", first.path.name, "differs", one.removesuffix(".")) for one in notes
    ]
    rounds = _read_rounds(probes, first, context)
    dim, rows, columns = first.levels[0].values.shape[1:]
    findings.append(Finding("dim", "–", str(dim)))
    findings.append(Finding("cells", "–", f"{columns} × {rows}"))
    for number, level in enumerate(first.levels):
        findings += _grid_findings(level, number, first.levels, rounds[number], probes, resize)
        if any(one.verdict == "refused" for one in findings):
            break
    return CheckReport(PRECOMPUTED, tuple(findings), time.perf_counter() - started_s)


class _Probes(NamedTuple):
    """The images that are to be described; see :func:`write_probe_images`."""

    bases: list[Path]
    columns: list[list[Path]]
    rows: list[list[Path]]
    strip_px: int
    shifts_px: list[int]


def _find_probes(folder: Path) -> _Probes:
    try:
        files = sorted(one for one in folder.iterdir() if one.suffix == ".png")
    except OSError as error:
        raise MapFileError(folder, f"cannot be read ({error.strerror})") from error
    parts = {one: _NAME.fullmatch(one.stem) for one in files}
    bases = [one for one in files if re.fullmatch(r"image\d", one.stem)]
    strips = {int(match[4]) for match in parts.values() if match}
    changed: dict[str, list[list[Path]]] = {
        axis: [
            [one for one, match in parts.items()
             if match and match[1] == base.stem[-1] and match[2] == axis]
            for base in bases
        ]
        for axis in _AXES
    }  # fmt: skip
    strip_px = next(iter(strips), 0)
    starts = {
        axis: [[int(one.stem.split("_")[2]) for one in images] for images in changed[axis]]
        for axis in _AXES
    }
    shifts_px = [one[1] % strip_px if strip_px and len(one) > 1 else 0 for one in starts[_AXES[0]]]
    found = _Probes(bases, changed["columns"], changed["rows"], strip_px, shifts_px)
    complete = bool(bases) and len(strips) == 1
    if complete:
        sides = dict(zip(_AXES, read_size(bases[0]), strict=True))
        complete = all(
            begun == [start for start, _ in strips_of(sides[axis], strip_px, shift_px)]
            for axis in _AXES
            for begun, shift_px in zip(starts[axis], shifts_px, strict=True)
        )
    if not complete:
        raise MapFileError(
            folder,
            "does not hold all the images that a check needs; write them with "
            "descriptors --write-probes",
        )
    return found


def _map_beside(image: Path) -> Path:
    for ending in _MAP_ENDINGS:
        if image.with_suffix(ending).exists():
            return image.with_suffix(ending)
    raise MapFileError(image, f"has no map beside it ({image.stem}.npz or the like)")


def _read_rounds(
    probes: _Probes, first: MapFile, context: JobContext
) -> list[list[tuple[Tensor, Tensor, Tensor]]]:
    """Of each level, the maps of all images; float32, as in their files but for their length."""
    total = sum(1 + len(x) + len(y) for x, y in zip(probes.columns, probes.rows, strict=True))
    read = 0

    def levels_of(image: Path) -> list[Tensor]:
        nonlocal read
        context.cancel.check()
        found = read_map_file(_map_beside(image))
        if _grids(found.levels) != _grids(first.levels):
            raise MapFileError(
                found.path, f"differs from {first.path.name} in stride, offset or shape"
            )
        read += 1
        context.emit(Progress(Stage.CHECKING, read, total))
        return [level.values[0] for level in found.levels]

    rounds: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in first.levels]
    for base, columns, rows in zip(probes.bases, probes.columns, probes.rows, strict=True):
        alone = levels_of(base)
        along_x, along_y = ([levels_of(one) for one in images] for images in (columns, rows))
        for number in range(len(first.levels)):
            rounds[number].append(
                (
                    alone[number],
                    torch.stack([one[number] for one in along_x]),
                    torch.stack([one[number] for one in along_y]),
                )
            )
    return rounds


def _grids(levels: Levels) -> list[tuple[CellGrid, torch.Size]]:
    return [(level.grid, level.values.shape) for level in levels]


def _grid_findings(
    level: DescriptorMap,
    number: int,
    levels: Levels,
    rounds: list[tuple[Tensor, Tensor, Tensor]],
    probes: _Probes,
    resize: Resize,
) -> Iterator[Finding]:
    declared = level.grid
    name = numbered("stride", number, levels)
    if min(level.values.shape[2:]) < 2:
        text = "a map of a single column or row has no stride"
        yield Finding(name, f"{declared.stride_px:g} px", "–", "unknown", text)
        return
    scale_x, scale_y = resize.scale_xy
    try:
        found = grid_from_changes(
            rounds,
            size_px=resize.from_size_px,
            strip_px=probes.strip_px,
            shifts_px=probes.shifts_px,
            expected_px=declared.stride_px / min(scale_x, scale_y),
        )
    except NoInfluenceError:
        text = "all maps are the same, although their images differ"
        yield Finding(name, f"{declared.stride_px:g} px", "–", "refused", text)
        return
    yield from compare_grid(level, _in_pixels_of_maps(found, resize), number, levels)


def _in_pixels_of_maps(found: MeasuredGrid, resize: Resize) -> MeasuredGrid:
    """A grid that was measured in an image, in the pixels of what the network was given."""
    (scale_x, scale_y), largest = resize.scale_xy, max(resize.scale_xy)
    moved = resize.forward(np.array([found.offset_px]))[0]
    return MeasuredGrid(
        stride_px=(found.stride_px[0] * scale_x, found.stride_px[1] * scale_y),
        offset_px=(float(moved[0]), float(moved[1])),
        stride_error_px=found.stride_error_px * largest,
        error_px=found.error_px * largest,
        spread_px=found.spread_px * largest,
        crossed_px=found.crossed_px * largest,
        crossed=found.crossed,
        method=found.method,
    )


def _as_bytes(image: Tensor) -> NDArray[np.uint8]:
    """``(H, W, 3)`` of ``(3, H, W)`` in [0, 1]."""
    pixels: NDArray[np.uint8] = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels)
