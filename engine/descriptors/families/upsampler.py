"""Makes the maps of any network finer by an upsampler of feature maps in a file of its own.

An upsampler looks at the image and at a coarse map of it, and gives a finer map of the same kind of
vectors.  T. Wimmer et al., "AnyUp: Universal Feature Upsampling", ICLR 2026, is one for maps of any
network; joint bilateral upsampling (J. Kopf et al., SIGGRAPH 2007) is another.  The file holds a
program of ``torch.export`` or TorchScript that takes an image and a map and gives a map;
``docs/OWN_NETWORK.md`` tells how to write one.

Most upsamplers take the image to be cut into as many equal cells as the map has, each in the middle
of its part.  Many networks place their cells elsewhere, and nothing in a file tells what its
upsampler takes for granted.  So it is measured where the finer cells lie among the coarse ones:
vectors that grow from cell to cell along an axis are added to the map, and what the finer map gains
by them, divided by what it gains by equal vectors, is a place.  For weighted means that is the mean
of the places of the cells, with the same weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from engine.descriptors.families.exported_programs import ProgramInput, load_program, run_program
from engine.descriptors.families.network_files import reason_of, sha256_of
from engine.descriptors.grid_measure import MeasuredGrid, random_images
from engine.errors import DescSpaceError, WeightsError
from engine.geometry.coords import CellGrid

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_COLOURS: Final = 3
_ROUNDS: Final = 4
_STEP: Final = 0.05  # of the map's own numbers; smaller ones drown in rounding
_INSIDE: Final = 0.5  # about the middle: near borders cells lean inwards
_FEWEST_INSIDE: Final = 2  # coarse cells
_NEAR_CELLS: Final = 0.02
_UNEVEN_CELLS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Where the finer cells lie among the coarse ones, in coarse cells; pairs are (x, y).

    Attributes:
        step: from one to the next.
        first: the place of finer cell 0; 0 is the centre of coarse cell 0.
        error: standard error of ``first``.
        spread: standard deviation of single finer cells about the fit.
    """

    step: tuple[float, float]
    first: tuple[float, float]
    error: float
    spread: float


class Upsampler(nn.Module):
    """An upsampler from a file.

    Args:
        file: the program.

    Attributes:
        file_sha256: of the file, part of what decides the maps.

    Raises:
        WeightsError: the file cannot be read, or holds no program that takes an image and a map.
    """

    file_sha256: Tensor

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        program = load_program(file)
        _check_inputs(file, program.inputs)
        self.program = program.module
        digest = torch.frombuffer(bytearray(sha256_of(file)), dtype=torch.uint8)
        self.register_buffer("file_sha256", digest, persistent=False)

    def train(self, mode: bool = True) -> Upsampler:  # noqa: ARG002
        """Nothing: a program keeps the mode in which it was saved."""
        return self

    def forward(self, images: Tensor, coarse: Tensor) -> Tensor:
        """The finer map.

        Args:
            images: ``(B, 3, H, W)`` RGB in [0, 1]; the program gets them one by one, less the mean
                of ImageNet and divided by its deviation.
            coarse: ``(B, D, H', W')``, a map of all of them.

        Returns:
            ``(B, D, H'', W'')``, float32.

        Raises:
            DescSpaceError: the program does not run on these sizes, or gives no finer map of them.
        """
        mean, std = (images.new_tensor(one).view(-1, 1, 1) for one in (_MEAN, _STD))
        self.program.to(images.device)
        return torch.cat(
            [
                self._one((image[None] - mean) / std, cells[None])
                for image, cells in zip(images, coarse, strict=True)
            ]
        )

    def _one(self, image: Tensor, coarse: Tensor) -> Tensor:
        height, width = image.shape[2:]
        sizes = f"a map of {_shown(coarse)} of an image of {width} × {height} px"
        try:
            found: Any = run_program(self.program, image, coarse)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of whatever a program computes
            raise DescSpaceError(
                f"{self.file} cannot enlarge {sizes}: {reason_of(error)}. Export it for this "
                "number of channels, and for sizes that may vary."
            ) from error
        if isinstance(found, list | tuple) and len(found) == 1:
            (found,) = found
        if not isinstance(found, Tensor) or found.ndim != 4 or not found.is_floating_point():
            raise DescSpaceError(f"{self.file} gives no map of four axes for {sizes}.")
        wanted = found.shape[:2] == coarse.shape[:2]
        if not wanted or any(
            fine < few for fine, few in zip(found.shape[2:], coarse.shape[2:], strict=True)
        ):
            raise DescSpaceError(
                f"{self.file} makes {_shown(found)} of {sizes}; as many channels and at least as "
                "many cells are needed."
            )
        if not bool(found.isfinite().all()):
            raise DescSpaceError(f"{self.file} gives numbers that are not finite for {sizes}.")
        return found.float()

    def measure(self, coarse: Tensor, size_px: tuple[int, int]) -> Place:
        """Where the finer cells lie among the coarse ones.

        Args:
            coarse: ``(1, D, H', W')``, a map as the network makes it.
            size_px: (width, height) of the image that it is of.

        Raises:
            DescSpaceError: they lie in no rows and columns, or the program cannot be used.
        """
        generator = torch.Generator().manual_seed(0)
        rows, columns = coarse.shape[2:]
        rounds = []
        with torch.inference_mode():
            for number in range(_ROUNDS):
                image = random_images(1, size_px, generator).to(coarse.device)
                signs = torch.randn(coarse.shape[1], generator=generator).sign()
                # Other vectors in other rounds: an upsampler may look at them, too.
                rounds.append(self._places(image, coarse.roll(number, dims=3), signs))
        places = [torch.stack(axis) for axis in zip(*rounds, strict=True)]
        x = _fit(places[0], columns)
        y = _fit(places[1].transpose(1, 2), rows)
        uneven = max(x.spread, y.spread)
        if not (x.known and y.known and uneven <= _UNEVEN_CELLS):
            raise DescSpaceError(
                f"{self.file} does not place its cells in rows and columns that are the same for "
                "images of all sizes."
            )
        return Place((x.step, y.step), (x.first, y.first), max(x.error, y.error), uneven)

    def _places(self, image: Tensor, coarse: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        """``(H'', W'')`` places of the finer cells along x and y, float64."""
        rows, columns = coarse.shape[2:]
        step = _STEP * (float(coarse.std()) or 1.0)
        direction = (signs * step)[:, None, None].to(coarse)
        before = self(image, coarse)

        def gain(amounts: Tensor) -> Tensor:
            after = self(image, coarse + direction * amounts.to(coarse))
            gained: Tensor = ((after - before) * direction).sum(dim=1)[0]
            return gained.double().cpu()

        even = gain(torch.ones(rows, columns))
        ramps = torch.linspace(0, 1, columns).expand(rows, -1), torch.linspace(0, 1, rows)[:, None]
        x, y = (gain(ramp.expand(rows, columns)) / even for ramp in ramps)
        return x * (columns - 1), y * (rows - 1)


def placed(place: Place, coarse: MeasuredGrid) -> MeasuredGrid:
    """Where the finer cells lie in the image.

    Args:
        place: among the coarse cells.
        coarse: where those lie.
    """
    (stride_x, stride_y), (x, y) = coarse.stride_px, coarse.offset_px
    largest_px = max(stride_x, stride_y)
    return MeasuredGrid(
        stride_px=(place.step[0] * stride_x, place.step[1] * stride_y),
        offset_px=(x + place.first[0] * stride_x, y + place.first[1] * stride_y),
        stride_error_px=coarse.stride_error_px * max(place.step),
        error_px=math.hypot(coarse.error_px, place.error * largest_px),
        spread_px=math.hypot(coarse.spread_px, place.spread * largest_px),
        crossed_px=coarse.crossed_px,
        crossed=coarse.crossed,
        method=coarse.method,
    )


def cells_before(grid: CellGrid) -> int:
    """How many of a grid's first cells lie before the image."""
    return max(0, math.ceil((-0.5 - grid.offset_px) / grid.stride_px))


class _Axis(NamedTuple):
    """What was fitted along one axis, in coarse cells; see :class:`Place`."""

    step: float
    first: float
    error: float
    spread: float
    known: bool  # whether finer cells follow each other as in images of any size


def _fit(places: Tensor, count: int) -> _Axis:
    """The line through the places of finer cells along one axis.

    Args:
        places: ``(rounds, across, N)`` of N finer cells.
        count: how many coarse cells there are along the axis.
    """
    across, fine = places.shape[1:]
    # Whole coarse cells: finer ones lean to those they were made from, in a pattern that repeats.
    period = max(1, round(fine / count))
    inside = max(_FEWEST_INSIDE, round(_INSIDE * fine / period)) * period
    first = max(0, (fine - inside) // 2)
    rows = max(1, round(_INSIDE * across))
    top = (across - rows) // 2
    chosen = places[:, top : top + rows, first : first + inside]
    cells = torch.arange(first, first + chosen.shape[2], dtype=torch.float64)
    means = chosen.mean(dim=(0, 1))
    design = torch.stack([torch.ones_like(cells), cells], dim=1)
    solved = torch.linalg.lstsq(design, means[:, None]).solution[:, 0]
    step = float(solved[1])
    spread = float((chosen - design @ solved).square().mean().sqrt())
    # Any other step would be another one in an image of another size.
    known = bool(chosen.isfinite().all())
    fitting = [
        one
        for one in (count / fine, 1 / period)
        if known and abs(step - one) * inside <= max(_NEAR_CELLS, spread)
    ]
    step = fitting[0] if fitting else step
    offsets = (chosen - step * cells).mean(dim=(1, 2))
    offset, even = float(offsets.mean()), (step - 1) / 2
    # An upsampler that takes the image to be cut evenly can place its cells nowhere else; one that
    # weighs coarse cells by what the image shows is off by a part of its spread.
    if fitting and abs(offset - even) <= max(_NEAR_CELLS, spread * math.sqrt(period / inside)):
        offset = even
    error = float(offsets.std()) / math.sqrt(len(offsets))
    return _Axis(step, offset, error, spread, bool(fitting))


def _check_inputs(file: Path, inputs: tuple[ProgramInput | None, ...] | None) -> None:
    if inputs is None:
        return
    if len(inputs) != 2:
        raise WeightsError(
            file, f"takes {len(inputs)} inputs; an upsampler takes two, an image and a map"
        )
    for one, what in zip(inputs, ("an image (1, 3, H, W)", "a map (1, D, H, W)"), strict=True):
        if one is None or len(one.shape) != 4 or not one.dtype.is_floating_point:
            raise WeightsError(file, f"takes something else than {what}, as an upsampler does")
    image = inputs[0]
    if image is not None and image.shape[1] not in (_COLOURS, None):
        raise WeightsError(file, f"takes an image of {image.shape[1]} colours, not {_COLOURS}")


def _shown(values: Tensor) -> str:
    return f"{values.shape[1]} × {values.shape[2]} × {values.shape[3]}"
