"""How far a network's cells see, measured.

The derivative of a cell by the image is exactly zero at every pixel that the cell does not depend
on.  So the farthest pixel with another derivative is the cell's reach, if the image is large enough
to show it: images are doubled until two of them show the same.  One is not enough: kernels with
gaps, as dilation makes them, may have their next pixel just outside.  Pooling over the whole image
and normalisation by its statistics go up to the border of every image, and attention counts as if
it did without a look: its derivatives in large images would take minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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
        The reach, rounded up; None where it is larger, where cells see the whole image or use
        attention, and where there are no derivatives.  Influences below float32, of one part in
        10³⁸, are not seen.
    """
    networks = tuple(networks)
    in_smaller_px = math.nan
    side_px = math.ceil(_SMALLEST_PX / period_px) * period_px
    while side_px <= largest_px:
        generator = torch.Generator().manual_seed(seed)
        image = random_images(1, (side_px, side_px), generator).to(device)
        attention = _Attention()
        with symmetric_kernels(networks, generator), attention, Smoothed():
            found = _farthest_px(map_of, image, grid, period_px, generator)
        if found is None or attention.seen:
            return None
        if found == in_smaller_px:
            return math.ceil(found)
        in_smaller_px = found
        side_px *= 2
    return None


_ATTENTION: Final = frozenset(
    (
        *(functional.scaled_dot_product_attention, functional.multi_head_attention_forward),
        *(functional.softmax, torch.softmax, Tensor.softmax),
    )
)


class _Attention(TorchFunctionMode):
    """Notes whether torch was asked for attention, or for the softmax that it consists of."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= func in _ATTENTION
        return func(*args, **(kwargs or {}))


def _farthest_px(
    map_of: MapOf, image: Tensor, grid: CellGrid, period_px: int, generator: torch.Generator
) -> float | None:
    """The reach of the cells in the middle as far as the image shows it; None without gradients."""
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
                    centre_px = grid.to_px(cell)
                    before_px, behind_px = centre_px - int(at_px[0]), int(at_px[-1]) - centre_px
                    farthest_px = max(farthest_px, before_px, behind_px)
    except RuntimeError:  # what torch raises where a step has no derivative
        return None
    return farthest_px
