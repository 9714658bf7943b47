"""DAISY: histograms of gradient orientation, laid out on rings around every cell.

E. Tola, V. Lepetit, P. Fua, "DAISY: An Efficient Dense Descriptor Applied to Wide-Baseline Stereo",
PAMI 32(5), 2010.

A histogram at a ring position is the image's gradient, split by orientation and averaged under a
Gaussian about that position.  Gaussians are separable, so the histograms of all cells at one ring
position are two matrix products, ``rows @ gradients @ columns.T``.  The matrices hold the Gaussian
evaluated at the exact, fractional position; the border pixels stand for everything outside the
image.  This is exact, has no border to cut away, and is what processors are fastest at.  Cells are
evenly spaced, so every row of such a matrix is the one before, moved on: a block of cells only
needs the pixels in its reach, and one small matrix serves all blocks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from engine.config import option
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.registry import register_descriptor
from engine.descriptors.tensors import to_luminance, unit_length
from engine.geometry.coords import CellGrid

Normalisation = Literal["none", "partial", "full", "sift"]

_TRUNCATE_SIGMAS = 4.0
# A Gaussian may be applied in two parts, the first followed by subsampling, if both parts are wide
# for the coarse spacing: at this many spacings the error is below a thousandth.
_SPACINGS_PER_SIGMA = 1.25
_PRESMOOTHING_PART = 0.8
# Gradients are at least 1/255 per pixel where an 8-bit image changes at all; what is this far
# below is rounding noise and gets no direction.
_SMALLEST_NORM = 1e-5
# Large entries are clipped at this multiple of what each would be if all were equal, so that one
# strong edge does not decide alone; Lowe's 0.2 for 128 entries is 2.26.
_CLIP_OVER_EVEN = 1.7
_CLIP_ROUNDS = 3
_TILE_PX = 768
_LARGEST_OFFSET_PX = 7.5
_CACHED_NUMBERS = 1 << 19
_ROWS = 32  # of a block of cells: wide enough for products, narrow enough to multiply few zeros


@dataclass(frozen=True, slots=True, kw_only=True)
class DaisyConfig:
    """Settings of DAISY."""

    radius_px: float = option(
        15.0, help="distance of the outermost ring from the cell", unit="px", low=1.0, high=200.0
    )
    rings: int = option(3, help="rings of histograms about the centre", low=1, high=8)
    histograms: int = option(8, help="histograms on each ring", low=1, high=16)
    orientations: int = option(8, help="bins of each histogram", low=2, high=16)
    normalisation: Normalisation = option(
        "sift",
        help="none; partial: each histogram to unit length; full: the whole; "
        "sift: the whole with large entries clipped",
    )
    presmooth_px: float = option(
        0.5,
        help="Gaussian applied to the image before its gradient is taken, 0 for none",
        unit="px",
        low=0.0,
        high=10.0,
    )
    stride_px: int = option(2, help="distance of neighbouring cells", unit="px", low=1, high=64)


@register_descriptor(
    "daisy",
    title="DAISY",
    config=DaisyConfig,
    summary="Histograms of gradient orientation on rings (Tola et al. 2010); needs no weights.",
)
class Daisy:
    """Dense DAISY on luminance, in torch.

    Entry ``(n * orientations) + o`` of a descriptor is bin ``o`` of histogram ``n``: first the
    centre, then ring after ring from the inside, each ring from the direction +x towards +y.  Bin
    ``o`` points into direction ``2 pi o / orientations``, again from +x towards +y.

    Gradients are shared out among the bins by the circular normal distribution with concentration
    ``orientations / pi``, as scikit-image does; the paper's half-rectified projection matches
    slightly worse.

    Args:
        config: its settings.
        tile_px: large images are described in blocks of about this edge, to bound memory.
    """

    trained = True
    # Neighbouring cells are too similar: bfloat16 loses 3 of 100 matches of a real pair.
    half_precision = False

    def __init__(self, config: DaisyConfig, *, tile_px: int = _TILE_PX) -> None:
        self.config = config
        self.tile_px = tile_px
        rings, stride_px = config.rings, config.stride_px
        self.dim = (1 + rings * config.histograms) * config.orientations
        self.shift_period_px = stride_px
        # Cells in the middle of their stride cover the image evenly; the smallest image gets one.
        self.grid = CellGrid(float(stride_px), min((stride_px - 1) / 2, _LARGEST_OFFSET_PX))
        self._sigmas_px = [config.radius_px * (ring + 1) / (2 * rings) for ring in range(rings)]
        self._coarse_px = _coarse_spacing(stride_px, self._sigmas_px[0])

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; one level, see the contract."""
        return self.describe_stoppable(images, lambda: None)

    def describe_stoppable(self, images: Tensor, check: Callable[[], None]) -> Levels:
        """As :meth:`describe`; ``check`` is called between tiles and may raise to stop."""
        luminance = to_luminance(images)
        down, across = (self._blocks(self.grid.count(size)) for size in luminance.shape[1:])
        if len(down) == len(across) == 1:
            values = self._describe_tile(luminance, down[0], across[0])
        else:
            values = images.new_empty(len(images), self.dim, down[-1].stop, across[-1].stop)
            for rows, columns in itertools.product(down, across):
                check()
                values[:, :, rows, columns] = self._describe_tile(luminance, rows, columns)
        return (DescriptorMap(values, self.grid),)

    def _blocks(self, cells: int) -> list[slice]:
        """The cells along one axis in blocks, to bound memory."""
        step = max(1, self.tile_px // self.config.stride_px)
        return [slice(first, min(first + step, cells)) for first in range(0, cells, step)]

    def _describe_tile(self, luminance: Tensor, cell_rows: slice, cell_columns: slice) -> Tensor:
        """Descriptors ``(B, D, h', w')`` of one block of cells, normalised."""
        config = self.config
        reach_px = config.radius_px + _TRUNCATE_SIGMAS * self._sigmas_px[-1]
        ys, xs = self._centres(cell_rows), self._centres(cell_columns)
        smoothing_px = _TRUNCATE_SIGMAS * (config.presmooth_px + self._coarse_px)
        window_px = reach_px + self._coarse_px + smoothing_px
        top, bottom = _window(ys, window_px, luminance.shape[1])
        left, right = _window(xs, window_px, luminance.shape[2])
        gradients = self._oriented_gradients(luminance[:, top:bottom, left:right])
        # Gradients are at the corners between pixels, half a pixel before the first one.
        rows = _Samples(top - 0.5, 1.0, gradients.shape[0])
        columns = _Samples(left - 0.5, 1.0, gradients.shape[3])
        if self._coarse_px > 1:
            thinned = self._thin(ys, reach_px), self._thin(xs, reach_px)
            gradients = _average_across(gradients, columns, thinned[1], self._thinning_px)
            gradients = _average_down(gradients, rows, thinned[0], self._thinning_px)
            rows, columns = thinned
        cells_down = _Samples(float(ys[0]), float(config.stride_px), len(ys))
        cells_across = _Samples(float(xs[0]), float(config.stride_px), len(xs))
        return self._histograms(gradients, (rows, columns), (cells_down, cells_across))

    @property
    def _thinning_px(self) -> float:
        """Deviation of the Gaussian under which gradients are brought to the coarse spacing."""
        return _PRESMOOTHING_PART * self._coarse_px

    def _thin(self, centres_px: Tensor, reach_px: float) -> _Samples:
        """The coarse samples that the descriptors of some cells read along an axis."""
        spacing_px = self._coarse_px
        before = math.ceil(reach_px / spacing_px)
        first_px = float(centres_px[0]) - before * spacing_px
        length = float(centres_px[-1] - centres_px[0]) / spacing_px
        return _Samples(first_px, float(spacing_px), math.ceil(length) + 2 * before + 1)

    def _centres(self, cells: slice) -> Tensor:
        """Centres of a range of cells in pixels, float64: matrices are built exactly."""
        return self.grid.to_px(torch.arange(cells.start, cells.stop, dtype=torch.float64))

    def _oriented_gradients(self, image: Tensor) -> Tensor:
        """Gradient magnitude by orientation, at the corners between pixels.

        There the differences of 2 × 2 pixels along x and along y have the same centre.

        Args:
            image: ``(B, H, W)`` luminance.

        Returns:
            ``(H + 1, B, orientations, W + 1)``; entry 0 is half a pixel before pixel 0.
        """
        image = self._presmooth(image)
        padded = functional.pad(image[:, None], (1, 1, 1, 1), mode="replicate").permute(2, 0, 1, 3)
        step_x, step_y = padded.diff(dim=3), padded.diff(dim=0)
        gradient_x = (step_x[1:] + step_x[:-1]) / 2
        gradient_y = (step_y[..., 1:] + step_y[..., :-1]) / 2
        angles = torch.arange(self.config.orientations) * (2 * math.pi / self.config.orientations)
        cosines = angles.cos().to(image)[:, None]
        sines = angles.sin().to(image)[:, None]
        magnitude = (gradient_x.square() + gradient_y.square() + 1e-24).sqrt()
        concentration = self.config.orientations / math.pi
        towards = (gradient_x * cosines + gradient_y * sines) * (concentration / magnitude)
        return magnitude * (towards - concentration).exp()

    def _presmooth(self, image: Tensor) -> Tensor:
        """The image ``(B, H, W)`` under the Gaussian that comes before the gradient."""
        sigma_px = self.config.presmooth_px
        if sigma_px == 0:
            return image
        down, across = (_Samples(0.0, 1.0, size) for size in image.shape[1:])
        smooth = _average_across(image, across, across, sigma_px)
        return _average_down(smooth.transpose(0, 1), down, down, sigma_px).transpose(0, 1)

    def _places(self) -> list[tuple[float, float, float]]:
        """Where the histograms lie beside a cell, in x and y, and their Gaussians' deviation."""
        config = self.config
        # What thinning did is discounted.
        thinning_px = self._thinning_px if self._coarse_px > 1 else 0.0
        sigmas_px = [math.sqrt(sigma_px**2 - thinning_px**2) for sigma_px in self._sigmas_px]
        places = [(0.0, 0.0, sigmas_px[0])]
        for ring, sigma_px in enumerate(sigmas_px):
            radius_px = config.radius_px * (ring + 1) / config.rings
            for index in range(config.histograms):
                angle = 2 * math.pi * index / config.histograms
                # Rounded so that places of one ring share columns: a and -a have the same cosine.
                shift_x, shift_y = radius_px * math.cos(angle), radius_px * math.sin(angle)
                places.append((round(shift_x, 9), round(shift_y, 9), sigma_px))
        return places

    def _histograms(
        self,
        gradients: Tensor,
        samples: tuple[_Samples, _Samples],
        cells: tuple[_Samples, _Samples],
    ) -> Tensor:
        """Descriptors ``(B, D, h', w')``, normalised.

        Args:
            gradients: ``(H, B, orientations, W)``.
            samples: where they are, along y and along x.
            cells: where the cells are.
        """
        places = self._places()
        averaged = {
            (shift_x, sigma_px): _average_across(
                gradients, samples[1], cells[1].moved(shift_x), sigma_px
            )
            for shift_x, _, sigma_px in places
        }
        batch, width = gradients.shape[1], cells[1].count
        values = gradients.new_empty(batch, self.dim, cells[0].count, width)
        # Normalising passes over the numbers many times; a few rows at a time stay in the cache.
        few = max(1, _CACHED_NUMBERS // (batch * self.dim * width))
        by_place = [
            _blocks_down(
                averaged[shift_x, sigma_px], samples[0], cells[0].moved(shift_y), sigma_px, _ROWS
            )
            for shift_x, shift_y, sigma_px in places
        ]
        top = 0
        for parts in zip(*by_place, strict=True):
            for block in torch.split(torch.stack(parts, dim=2), few):
                normal = self._normalise(block)
                values[:, :, top : top + len(normal)] = normal.permute(1, 2, 0, 3)
                top += len(normal)
        return values

    def _normalise(self, histograms: Tensor) -> Tensor:
        """``(h', B, N, orientations, w')`` histograms -> ``(h', B, D, w')`` of unit length."""
        if self.config.normalisation == "partial":
            smallest = _SMALLEST_NORM / math.sqrt(histograms.shape[2])
            histograms = unit_length(histograms, dim=3, smallest=smallest)
        values = histograms.flatten(2, 3)
        if self.config.normalisation != "sift":
            return unit_length(values, dim=2, smallest=_SMALLEST_NORM)
        values = unit_length(values, dim=2, smallest=_SMALLEST_NORM)
        largest = _CLIP_OVER_EVEN / math.sqrt(self.dim)
        for _ in range(_CLIP_ROUNDS):
            values = unit_length(values.clamp(max=largest), dim=2)
        return values


@dataclass(frozen=True, slots=True)
class _Samples:
    """Evenly spaced samples along an axis; the outermost stand for everything beyond them."""

    first_px: float
    spacing_px: float
    count: int

    def moved(self, shift_px: float) -> _Samples:
        """As many, beside these."""
        return replace(self, first_px=self.first_px + shift_px)


def _average_across(
    values: Tensor, samples: _Samples, centres: _Samples, sigma_px: float
) -> Tensor:
    """Average ``(..., w)`` samples under a Gaussian about each of ``n`` centres: ``(..., n)``."""
    flat = values.reshape(-1, samples.count)
    blocks = [
        _taken(flat, first, last, dim=1) @ weights.T
        for first, last, weights in _blocks(samples, centres, sigma_px, like=values)
    ]
    return torch.cat(blocks, dim=1).reshape(*values.shape[:-1], centres.count)


def _average_down(values: Tensor, samples: _Samples, centres: _Samples, sigma_px: float) -> Tensor:
    """Average ``(h, ...)`` samples under a Gaussian about each of ``n`` centres: ``(n, ...)``."""
    return torch.cat(list(_blocks_down(values, samples, centres, sigma_px)))


def _blocks_down(
    values: Tensor,
    samples: _Samples,
    centres: _Samples,
    sigma_px: float,
    rows: int | None = None,
) -> Iterator[Tensor]:
    """The same in blocks ``(rows, ...)``, of a size that suits the Gaussian if none is given."""
    flat = values.reshape(samples.count, -1)
    for first, last, weights in _blocks(samples, centres, sigma_px, rows, like=values):
        block = weights @ _taken(flat, first, last, dim=0)
        yield block.reshape(len(weights), *values.shape[1:])


def _blocks(
    samples: _Samples,
    centres: _Samples,
    sigma_px: float,
    rows: int | None = None,
    *,
    like: Tensor,
) -> Iterator[tuple[int, int, Tensor]]:
    """The matrix of Gaussians about evenly spaced centres, in blocks along its diagonal.

    Yields:
        The first of the samples that a block reads and the one after its last, which may lie
        beyond the ends, and their weights ``(m, last - first)``, each row with sum 1.
    """
    step = round(centres.spacing_px / samples.spacing_px)
    first, bell = _gaussian(centres.first_px, sigma_px, samples)
    rows = min(centres.count, rows or max(_ROWS, len(bell) // step))
    weights = torch.zeros(rows, (rows - 1) * step + len(bell), dtype=torch.float64)
    row_stride, column_stride = weights.stride()
    diagonal = weights.as_strided((rows, len(bell)), (row_stride + step, column_stride))
    diagonal[:] = bell
    weights = weights.to(like)
    for begin in range(0, centres.count, rows):
        here = min(rows, centres.count - begin)
        width = (here - 1) * step + len(bell)
        start = first + begin * step
        yield start, start + width, weights[:here, :width]


def _gaussian(centre_px: float, sigma_px: float, samples: _Samples) -> tuple[int, Tensor]:
    """A Gaussian about a centre: the index of its first sample, and float64 weights of sum 1."""
    half_width = math.ceil(_TRUNCATE_SIGMAS * sigma_px / samples.spacing_px) + 1
    nearest = round((centre_px - samples.first_px) / samples.spacing_px)
    taps = nearest + torch.arange(-half_width, half_width + 1, dtype=torch.float64)
    distance_sigmas = (samples.first_px + samples.spacing_px * taps - centre_px) / sigma_px
    bell = (-0.5 * distance_sigmas.square()).exp()
    weights = torch.where(distance_sigmas.abs() <= _TRUNCATE_SIGMAS, bell, 0.0)
    # A Gaussian far narrower than the spacing may miss every sample: it then reads the nearest.
    weights[half_width] += 1e-30
    return nearest - half_width, weights / weights.sum()


def _taken(values: Tensor, first: int, last: int, *, dim: int) -> Tensor:
    """A range of samples along an axis; the outermost ones stand for those beyond the ends."""
    count = values.shape[dim]
    if first >= 0 and last <= count:
        return values.narrow(dim, first, last - first)
    index = torch.arange(first, last, device=values.device).clamp(0, count - 1)
    return values.index_select(dim, index)


def _coarse_spacing(stride_px: int, sigma_px: float) -> int:
    """The widest spacing that divides the stride and that the narrowest Gaussian allows."""
    fitting = [
        spacing
        for spacing in range(2, stride_px + 1)
        if stride_px % spacing == 0 and sigma_px >= _SPACINGS_PER_SIGMA * spacing
    ]
    return max(fitting, default=1)


def _window(centres: Tensor, reach_px: float, size_px: int) -> tuple[int, int]:
    """Range of pixels within reach of sorted centres, with two to spare for the gradient."""
    first = math.floor(float(centres[0]) - reach_px) - 2
    last = math.ceil(float(centres[-1]) + reach_px) + 2
    return max(0, first), min(size_px, last + 1)
