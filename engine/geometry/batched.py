"""Homographies of a batch, in torch: the twin of :mod:`engine.geometry.homography`.

Matrices stay float64 on every device: composed and inverted in float32 they would be off by
hundredths of a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def warp_points(h_b_from_a: Tensor, points_a: Tensor) -> tuple[Tensor, Tensor]:
    """Carry points of images a to images b.

    Args:
        h_b_from_a: ``(B, 3, 3)``.
        points_a: ``(B, N, 2)`` points (x, y).

    Returns:
        ``(B, N, 2)`` points of the dtype of ``points_a``, of no meaning for points on or behind
        the horizon, and ``(B, N)`` True for the points in front of it.
    """
    matrix = h_b_from_a.to(points_a.dtype)
    ahead = points_a @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    depth = ahead[..., 2:]
    front = depth > 0
    return ahead[..., :2] / torch.where(front, depth, 1.0), front[..., 0]


def inside(points_px: Tensor, size_px: tuple[int, int]) -> Tensor:
    """``(...)`` True for points ``(..., 2)`` between the centres of an image's border pixels."""
    high = points_px.new_tensor([size_px[0] - 1, size_px[1] - 1])
    return ((points_px >= 0) & (points_px <= high)).all(dim=-1)


def homography_from_corners(corners_a: Tensor, corners_b: Tensor) -> Tensor:
    """The homographies that carry four points each to four others.

    Args:
        corners_a: ``(B, 4, 2)``, no three on a line.
        corners_b: ``(B, 4, 2)``, likewise.

    Returns:
        ``(B, 3, 3)`` float64 ``h_b_from_a`` with ``[2, 2]`` = ±1 and the points in front.
    """
    a, b = corners_a.double(), corners_b.double()
    one, zero = torch.ones_like(a[..., :1]), torch.zeros_like(a)
    row_x = torch.cat([a, one, zero, zero[..., :1], -a * b[..., :1]], dim=-1)
    row_y = torch.cat([zero, zero[..., :1], a, one, -a * b[..., 1:]], dim=-1)
    system = torch.cat([row_x, row_y], dim=1)
    wanted = torch.cat([b[..., 0], b[..., 1]], dim=1)
    solved = torch.linalg.solve(system, wanted)
    last = torch.ones_like(solved[:, :1])
    matrices = torch.cat([solved, last], dim=1).view(-1, 3, 3)
    depth = (a[:, 0] * matrices[:, 2, :2]).sum(dim=-1) + 1
    return torch.where((depth > 0)[:, None, None], matrices, -matrices)
