"""How far a network's cells see, measured.

The derivative of a cell by the image is exactly zero at every pixel that the cell does not depend
on.  So the farthest pixel with another derivative is the cell's reach, if the image is large enough
to show it: images are doubled until two of them show the same.  One is not enough: kernels with
gaps, as dilation makes them, may have their next pixel just outside.  Attention, pooling over the
whole image and normalisation by its statistics go up to the border of every image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from engine.descriptors.grid_measure import MapOf, Smoothed, random_images, symmetric_kernels
from engine.geometry.coords import CellGrid

_SMALLEST_PX: Final = 128


def measured_reach_px(
    map_of: MapOf,
    *,
    grid: CellGrid,
    period_px: int,
    networks: Iterable[nn.Module] = (),
    largest_px: int = 1024,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> int | None:
    """The distance beyond which no pixel changes a cell, along either axis.

    Rectifiers pass everything meanwhile and poolings take the mean, so what is found does not
    depend on what they let through of one image.  Weights that are zero lead nowhere: a branch that
    starts from zero seems not to be there, unless kernels are replaced.

    The reach says nothing of places: a network to whose features a code of the place is added may
    reach no farther than any other, but does not give the same map in tiles.

    Args:
        map_of: ``(B, 3, H, W)`` in [0, 1] -> ``(B, D, H', W')``, of unit length or not.
        grid: where its cells lie.
        period_px: an image moved by so many pixels gives the same map, moved.  Cells of a map that
            was enlarged see differently far; all places within a period are measured.
        networks: what to put random kernels into meanwhile, for the reach of the architecture
            whatever its weights.  Nothing else may use them.
        largest_px: side of the largest image that is tried; a reach is found up to a quarter of it.
        seed: of images, kernels and directions.
        device: where ``map_of`` computes.

    Returns:
        The reach, rounded up; None where it is larger, where cells see the whole image, and where
        there are no derivatives.
    """
    networks = tuple(networks)
    smaller_px = math.inf
    side_px = math.ceil(_SMALLEST_PX / period_px) * period_px
    while side_px <= largest_px:
        generator = torch.Generator().manual_seed(seed)
        image = random_images(1, (side_px, side_px), generator).to(device)
        with symmetric_kernels(networks, generator), Smoothed():
            found = _farthest_px(map_of, image, grid, period_px, generator)
        if found is None:
            return None
        if found == smaller_px < math.inf:
            return math.ceil(found)
        smaller_px = found
        side_px *= 2
    return None


def _farthest_px(
    map_of: MapOf, image: Tensor, grid: CellGrid, period_px: int, generator: torch.Generator
) -> float | None:
    """The reach of the cells in the middle; infinite up to a border, None without derivatives."""
    farthest_px = 0.0
    try:
        with torch.inference_mode(False), torch.enable_grad():
            image = image.clone().requires_grad_()
            values = map_of(image)
            if not values.requires_grad:
                return None
            places = max(1, round(period_px / grid.stride_px))
            row, column = ((count - places) // 2 for count in values.shape[2:])
            for place in range(places):
                direction = torch.randn(values.shape[1], generator=generator).to(values)
                total = (values[0, :, row + place, column + place] * direction).sum()
                (gradient,) = torch.autograd.grad(total, image, retain_graph=True)
                seen = gradient[0].ne(0).any(dim=0)  # and what is not a number
                for axis, cell in ((1, row + place), (0, column + place)):
                    (at_px,) = seen.any(dim=axis).nonzero(as_tuple=True)
                    if len(at_px) == 0:
                        continue
                    first_px, last_px = int(at_px[0]), int(at_px[-1])
                    if first_px == 0 or last_px == image.shape[3 - axis] - 1:
                        return math.inf
                    centre_px = grid.to_px(cell)
                    farthest_px = max(farthest_px, centre_px - first_px, last_px - centre_px)
    except RuntimeError:  # what torch raises where a step has no derivative
        return None
    return farthest_px
