"""DAISY: histograms of gradient orientation, laid out on rings around every cell.

E. Tola, V. Lepetit, P. Fua, "DAISY: An Efficient Dense Descriptor Applied to Wide-Baseline Stereo",
PAMI 32(5), 2010.

A histogram at a ring position is the image's gradient, split by orientation and averaged under a
Gaussian about that position.  Gaussians are separable, so the histograms of all cells at one ring
position are two matrix products, ``rows @ gradients @ columns.T``.  The matrices hold the Gaussian
evaluated at the exact, fractional position; the border pixels stand for everything outside the
image.  This is exact, has no border to cut away, and is what processors are fastest at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
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
        rows = _Samples(top - 0.5, 1.0, gradients.shape[2])
        columns = _Samples(left - 0.5, 1.0, gradients.shape[3])
        down = _Axis(ys, rows, self._coarse_px, reach_px, gradients)
        across = _Axis(xs, columns, self._coarse_px, reach_px, gradients)
        gradients = down.thin(across.thin(gradients.mT).mT)
        histograms = _ring(gradients, down, across, 0.0, self._sigmas_px[0], 1)  # the centre
        for ring, sigma_px in enumerate(self._sigmas_px):
            radius_px = config.radius_px * (ring + 1) / config.rings
            histograms += _ring(gradients, down, across, radius_px, sigma_px, config.histograms)
        return self._join(histograms)

    def _centres(self, cells: slice) -> Tensor:
        """Centres of a range of cells in pixels, float64: matrices are built exactly."""
        return self.grid.to_px(torch.arange(cells.start, cells.stop, dtype=torch.float64))

    def _oriented_gradients(self, image: Tensor) -> Tensor:
        """Gradient magnitude by orientation, at the corners between pixels.

        There the differences of 2 × 2 pixels along x and along y have the same centre.

        Args:
            image: ``(B, H, W)`` luminance.

        Returns:
            ``(B, orientations, H + 1, W + 1)``; entry 0 is half a pixel before pixel 0.
        """
        image = self._presmooth(image)
        padded = functional.pad(image[:, None], (1, 1, 1, 1), mode="replicate")
        step_x, step_y = padded.diff(dim=3), padded.diff(dim=2)
        gradient_x = (step_x[:, :, 1:] + step_x[:, :, :-1]) / 2
        gradient_y = (step_y[..., 1:] + step_y[..., :-1]) / 2
        angles = torch.arange(self.config.orientations) * (2 * math.pi / self.config.orientations)
        cosines = angles.cos().to(image).view(-1, 1, 1)
        sines = angles.sin().to(image).view(-1, 1, 1)
        magnitude = (gradient_x.square() + gradient_y.square() + 1e-24).sqrt()
        concentration = self.config.orientations / math.pi
        towards = (gradient_x * cosines + gradient_y * sines) * (concentration / magnitude)
        return magnitude * (towards - concentration).exp()

    def _presmooth(self, image: Tensor) -> Tensor:
        """The image ``(B, H, W)`` under the Gaussian that comes before the gradient."""
        if self.config.presmooth_px == 0:
            return image
        for _ in range(2):
            pixels = _Samples(0.0, 1.0, image.shape[1])
            weights = _gaussians(pixels.positions_px(), self.config.presmooth_px, pixels)
            image = (weights.to(image) @ image).mT
        return image

    def _join(self, histograms: list[Tensor]) -> Tensor:
        """Histograms ``(B, orientations, h', w')`` -> ``(B, D, h', w')`` of unit length.

        Normalising passes over the numbers many times; a few rows at a time stay in the cache.
        """
        batch, _, height, width = histograms[0].shape
        rows = max(1, _CACHED_NUMBERS // (batch * self.dim * width))
        return torch.cat(
            [
                self._normalise(
                    torch.stack([each[:, :, top : top + rows] for each in histograms], dim=1)
                )
                for top in range(0, height, rows)
            ],
            dim=2,
        )

    def _normalise(self, histograms: Tensor) -> Tensor:
        """``(B, N, orientations, h', w')`` histograms -> ``(B, D, h', w')`` of unit length."""
        if self.config.normalisation == "partial":
            smallest = _SMALLEST_NORM / math.sqrt(histograms.shape[1])
            histograms = unit_length(histograms, dim=2, smallest=smallest)
        values = unit_length(histograms.flatten(1, 2), smallest=_SMALLEST_NORM)
        if self.config.normalisation == "sift":
            largest = _CLIP_OVER_EVEN / math.sqrt(self.dim)
            for _ in range(_CLIP_ROUNDS):
                values = unit_length(values.clamp(max=largest))
        return values


@dataclass(frozen=True, slots=True)
class _Samples:
    """Evenly spaced samples along an axis; the outermost stand for everything beyond them."""

    first_px: float
    spacing_px: float
    count: int

    def positions_px(self) -> Tensor:
        """``(count,)`` float64."""
        return self.first_px + self.spacing_px * torch.arange(self.count, dtype=torch.float64)


class _Axis:
    """The Gaussians of one block of cells along one axis, as matrices.

    Args:
        centres_px: ``(n,)`` centres of the cells, ascending.
        samples: where the gradients are.
        coarse_px: spacing that the gradients are thinned to first; 1 leaves them as they are.
        reach_px: how far from its cell a descriptor reads.
        like: a tensor of the device and the dtype to compute in.
    """

    def __init__(
        self, centres_px: Tensor, samples: _Samples, coarse_px: int, reach_px: float, like: Tensor
    ) -> None:
        self._centres_px = centres_px
        self._samples = samples
        self._like = like
        self._thinning: Tensor | None = None
        self._thinning_sigma_px = 0.0
        if coarse_px > 1:
            before = math.ceil(reach_px / coarse_px)
            first_px = float(centres_px[0]) - before * coarse_px
            length = float(centres_px[-1] - centres_px[0]) / coarse_px
            self._samples = _Samples(first_px, float(coarse_px), math.ceil(length) + 2 * before + 1)
            self._thinning_sigma_px = _PRESMOOTHING_PART * coarse_px
            self._thinning = _gaussians(
                self._samples.positions_px(), self._thinning_sigma_px, samples
            ).to(like)

    def thin(self, gradients: Tensor) -> Tensor:
        """Bring ``(..., h, w)`` to the coarse spacing along h."""
        return gradients if self._thinning is None else self._thinning @ gradients

    def gaussians(self, shift_px: float, sigma_px: float) -> Tensor:
        """Weights ``(n, h)`` of Gaussians beside the cells; what thinning did is discounted."""
        rest_px = math.sqrt(sigma_px**2 - self._thinning_sigma_px**2)
        return _gaussians(self._centres_px + shift_px, rest_px, self._samples).to(self._like)


def _ring(
    gradients: Tensor, down: _Axis, across: _Axis, radius_px: float, sigma_px: float, count: int
) -> list[Tensor]:
    """Histograms ``(B, orientations, h', w')`` on one ring, in order of angle."""
    # Positions of one ring share columns: (r cos a) is the same for a and -a.
    by_column: dict[float, Tensor] = {}
    result = []
    for angle in (2 * math.pi * index / count for index in range(count)):
        shift_x = round(radius_px * math.cos(angle), 9)
        shift_y = round(radius_px * math.sin(angle), 9)
        if shift_x not in by_column:
            by_column[shift_x] = gradients @ across.gaussians(shift_x, sigma_px).mT
        result.append(down.gaussians(shift_y, sigma_px) @ by_column[shift_x])
    return result


def _gaussians(centres_px: Tensor, sigma_px: float, samples: _Samples) -> Tensor:
    """Weights that average samples under a Gaussian about each centre.

    Returns:
        ``(n, count)`` float64, each row with sum 1.  Samples beyond the ends take the outermost
        sample's value.
    """
    half_width = math.ceil(_TRUNCATE_SIGMAS * sigma_px / samples.spacing_px) + 1
    nearest = ((centres_px - samples.first_px) / samples.spacing_px).round().long()
    taps = nearest[:, None] + torch.arange(-half_width, half_width + 1)
    distance = samples.first_px + samples.spacing_px * taps - centres_px[:, None]
    distance_sigmas = distance / sigma_px
    bell = (-0.5 * distance_sigmas.square()).exp()
    weights = torch.where(distance_sigmas.abs() <= _TRUNCATE_SIGMAS, bell, 0.0)
    # A Gaussian far narrower than the spacing may miss every sample: it then reads the nearest.
    weights[:, half_width] += 1e-30
    weights = weights / weights.sum(dim=1, keepdim=True)
    matrix = torch.zeros(len(centres_px), samples.count, dtype=torch.float64)
    return matrix.scatter_add_(1, taps.clamp(0, samples.count - 1), weights)


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
