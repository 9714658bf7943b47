"""Reading a dense map at image points: the only call of ``grid_sample``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.geometry.coords import CellGrid


def sample_map(values: Tensor, grid: CellGrid, points_px: Tensor) -> Tensor:
    """Read a dense map at image points, bilinearly.

    Args:
        values: ``(B, D, H', W')`` map, any float dtype.
        grid: placement of the map's cells in the image.
        points_px: ``(B, N, 2)`` image points (x, y).

    Returns:
        ``(B, N, D)`` values of the map's dtype, not re-normalised; points outside are clamped to
        the border cells.
    """
    batch, dim, height, width = values.shape
    cells = grid.to_cells(points_px)
    # align_corners=False: -1 and 1 are the outer edges of the border cells, so cell i is at
    # (2 i + 1) / size - 1.
    size = cells.new_tensor([width, height])
    normalised = (2 * cells + 1) / size - 1
    # Half precision would round the places themselves, by a whole cell on large maps.
    exact = values if values.dtype == torch.float64 else values.float()
    sampled = functional.grid_sample(
        exact,
        normalised[:, None].to(exact.dtype),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled.reshape(batch, dim, -1).transpose(1, 2).to(values.dtype)
