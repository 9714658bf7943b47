"""Small tensor functions that describing, matching and mining share."""

from __future__ import annotations

import torch
from torch import Tensor

# ITU-R BT.601, as in OpenCV's and Pillow's grey conversions, which published weights saw.
_LUMINANCE = (0.299, 0.587, 0.114)
_SMALLEST = 1e-12

GROUP = 64
"""Neighbouring values of a row or column whose largest is taken first, see :func:`largest_of_rows`
and :func:`raise_to_columns`."""


def to_luminance(images: Tensor) -> Tensor:
    """Grey values ``(B, H, W)`` of RGB images ``(B, 3, H, W)``."""
    red, green, blue = images.unbind(1)
    return _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue


def unit_length(values: Tensor, *, dim: int = 1, smallest: float = _SMALLEST) -> Tensor:
    """Float32 vectors along ``dim`` brought to length 1; ones below ``smallest`` become zero.

    Differentiable everywhere: a zero vector has a zero gradient.
    """
    return values * _to_unit_length(values, dim, smallest)


def made_unit_length(values: Tensor, *, dim: int = 1) -> Tensor:
    """:func:`unit_length` of values that nothing else holds: overwrites them, unless they learn.

    Memory that comes fresh from the system can take longer than all of the arithmetic.
    """
    if values.requires_grad:
        return unit_length(values, dim=dim)
    return values.mul_(_to_unit_length(values, dim, _SMALLEST))


def lengths_across(values: Tensor) -> Tensor:
    """``(B, ...)`` lengths of the vectors along axis 1 of ``(B, D, ...)`` values.

    Where a vector's numbers do not lie together, ``vector_norm`` takes a processor up to ten times
    as long as to add up squares plane by plane, which needs no memory for these either.
    """
    if values.stride(1) == 1 or values.device.type != "cpu":  # a GPU would start D kernels
        lengths: Tensor = torch.linalg.vector_norm(values, dim=1)
        return lengths
    squared = values.new_zeros(values[:, 0].shape)
    for plane in values.unbind(1):
        squared.addcmul_(plane, plane)
    return squared.sqrt_()


def _to_unit_length(values: Tensor, dim: int, smallest: float) -> Tensor:
    """What vectors are multiplied by, of the shape of ``values`` with 1 along ``dim``."""
    if values.stride(dim) == 1:
        lengths: Tensor = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
        return (lengths >= smallest) / lengths.clamp_min(smallest)
    # Where a vector's numbers do not lie together, vector_norm takes ten times as long as this;
    # where they do, a fifth.
    squared = values.square().sum(dim=dim, keepdim=True)
    least = smallest**2
    return (squared >= least) * squared.clamp_min(least).rsqrt()


def largest_of_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """``(N,)`` the largest of each row of ``(N, M)`` values, and the first place that has it.

    A maximum alone is found by vector instructions, several times as fast as one with its place.
    So the place is looked for in the best group only, and among what follows the last whole group.
    """
    total = values.shape[1]
    whole = total - total % GROUP
    if whole <= GROUP:
        best, place = values.max(dim=1)
        return best, place
    grouped = values[:, :whole].view(len(values), -1, GROUP)
    best, group = grouped.amax(dim=2).max(dim=1)
    within = grouped[torch.arange(len(values), device=values.device), group].argmax(dim=1)
    place = group * GROUP + within
    if whole < total:
        last, there = values[:, whole:].max(dim=1)
        larger = ~(last <= best) & ~best.isnan()  # a value that is no number counts as the largest
        best, place = torch.where(larger, last, best), torch.where(larger, there + whole, place)
    return best, place


def raise_to_columns(best: Tensor, place: Tensor, values: Tensor, first: int) -> None:
    """Raise what is known of columns to the largest of each column of ``(N, M)`` values.

    Places are looked for only where a column has a larger value than was known, and there in the
    first group of rows that has it.

    Args:
        best: ``(M,)`` the largest until now; overwritten.
        place: ``(M,)`` int64, the first row that had it; overwritten.
        values: ``(N, M)`` those of further rows.
        first: number of the first of these rows.
    """
    count, total = values.shape
    whole = count % GROUP == 0
    grouped = values.view(-1, GROUP, total) if whole else values[None]
    by_group = grouped.amax(dim=1)
    better = (by_group.amax(dim=0) > best).nonzero()[:, 0]  # strictly: the first one stays
    if not len(better):
        return
    found, group = by_group[:, better].max(dim=0)
    within = grouped[group, :, better].argmax(dim=1)
    best[better] = found
    place[better] = group * grouped.shape[1] + within + first
