"""The members of a set: an image changed, described, and its map laid back onto the image.

Works with whatever describes upright images: a network, or anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import DescriptorMap, Member, Part
from engine.descriptors.tensors import made_unit_length
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import cell_places, sample_map, warp_images

_SMALLEST_EDGE_PX: Final = 16
# Pixels are taken for Gaussians of this deviation: before an image shrinks, it is blurred so
# that this still holds afterwards (Lowe 2004 assumes the same of cameras).
_PIXEL_DEVIATION: Final = 0.5
_KERNEL_REACH: Final = 2.5
_SAME: Final = 1e-6
_LEAST_DEPTH: Final = 0.1  # nearer things are taken for things behind

Describe = Callable[[Tensor], DescriptorMap]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One member's image and the way to it.

    Attributes:
        images: ``(B, C, h, w)`` the changed image; beyond the image its border continues.
        view_from_image: ``(3, 3)`` float64 on the CPU; affine, unless a part is in perspective.
        is_part: whether it may show less than the whole image.
    """

    images: Tensor
    view_from_image: Tensor
    is_part: bool = False


def member_matrix(member: Member, size_px: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Where a member's image shows what.

    Args:
        member: how the image is changed.
        size_px: (width, height) of the image.

    Returns:
        ``(3, 3)`` float64 ``view_from_image``, and the (width, height) that hold all of it, or its
        part.
    """
    linear = _linear_of(member)
    if member.part is not None:
        return _part_matrix(linear, member.scale, member.part)
    edges = [CellGrid(1.0, 0.0).span_px(edge) for edge in size_px]
    corners = torch.tensor([[x, y] for x in edges[0] for y in edges[1]], dtype=torch.float64)
    moved = corners @ linear.T
    low, high = moved.amin(dim=0), moved.amax(dim=0)
    extent = (high - low).tolist()
    width, height = (max(_SMALLEST_EDGE_PX, math.ceil(edge - 1e-6)) for edge in extent)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2] = linear
    matrix[:2, 2] = CellGrid(1.0, 0.0).span_px(1)[0] - low  # the outer edges meet
    return matrix, (width, height)


def _linear_of(member: Member) -> Tensor:
    """``(2, 2)`` how lengths change, float64; in perspective, in the middle of the part."""
    turn, way = math.radians(member.angle_deg), math.radians(member.tilt_deg)
    # y points down: counter-clockwise on the screen takes +x towards -y.
    along = torch.tensor([math.cos(way), -math.sin(way)], dtype=torch.float64)
    squeeze = torch.eye(2, dtype=torch.float64) + (1 / member.tilt - 1) * torch.outer(along, along)
    rotation = torch.tensor(
        [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]], dtype=torch.float64
    )
    return member.scale * rotation @ squeeze


def _part_matrix(linear: Tensor, scale: float, part: Part) -> tuple[Tensor, tuple[int, int]]:
    from_middle, seen, to_view = torch.eye(3, dtype=torch.float64).repeat(3, 1, 1)
    from_middle[:2, 2] = -torch.tensor(part.middle_px, dtype=torch.float64)
    seen[:2, :2] = linear
    seen[2, :2] = torch.tensor(part.perspective, dtype=torch.float64)
    extent = [scale * edge for edge in part.size]
    # The outer edges meet, as above.
    to_view[:2, 2] = (
        torch.tensor(extent, dtype=torch.float64) / 2 + CellGrid(1.0, 0.0).span_px(1)[0]
    )
    width, height = (max(_SMALLEST_EDGE_PX, math.ceil(edge - 1e-6)) for edge in extent)
    return to_view @ seen @ from_middle, (width, height)


def view_growth(member: Member, size_px: tuple[int, int]) -> float:
    """Square root of the area of a member's view, in areas of its image of (width, height)."""
    if member.part is None:
        return member.growth
    return member.scale * math.sqrt(math.prod(member.part.size) / math.prod(size_px))


def make_view(images: Tensor, member: Member) -> View:
    """Change a batch of images by a member.

    Args:
        images: ``(B, C, H, W)`` float32.
        member: how.
    """
    size_px = (images.shape[3], images.shape[2])
    matrix, view_size_px = member_matrix(member, size_px)
    if member == Member():
        return View(images, matrix)
    placed = matrix.to(images.device).expand(len(images), 3, 3)
    # Autocast would have the blur round the image, and then the places that the view is drawn from:
    # 8 bits of 640 pixels are 2 px.
    with torch.autocast(images.device.type, enabled=False):
        smooth = _blur_for(images, _linear_of(member))
        drawn = warp_images(smooth, placed, view_size_px, outside="edge")
    return View(drawn, matrix, is_part=member.part is not None)


def describe_member(images: Tensor, member: Member, describe: Describe) -> DescriptorMap:
    """Describe a changed image and lay the map back onto the image as it was.

    Args:
        images: ``(B, C, H, W)``, as ``describe`` wants them.
        member: how they are changed.
        describe: makes one map of upright images.

    Returns:
        A map whose cells are as far apart as the member's own, in pixels of the image; unit length.
    """
    view = make_view(images, member)
    made = describe(view.images)
    if member.angle_deg % 360 == 0 and member.tilt == 1.0 and member.part is None:
        # Shrinking alone keeps rows rows: the cells stay as they are.
        moved_px = float(view.view_from_image[0, 2])
        grid = CellGrid(
            made.grid.stride_px / member.scale,
            (made.grid.offset_px - moved_px) / member.scale,
        )
        return DescriptorMap(made.values, grid, member)
    grid = CellGrid(made.grid.stride_px / member.scale, 0.0)
    rows, columns = (grid.count(edge) for edge in images.shape[2:])
    return DescriptorMap(lay_on(grid, (rows, columns), view, made), grid, member)


def read_view(view: View, made: DescriptorMap, points_px: Tensor) -> Tensor:
    """Read the map of a view at points of the image as it was.

    Args:
        view: the changed image.
        made: its map.
        points_px: ``(B, N, 2)`` float64 in the image as it was.

    Returns:
        ``(B, N, D)``, not of unit length.
    """
    return sample_map(made.values, made.grid, to_view(view, points_px).float())


def lay_on(grid: CellGrid, cells: tuple[int, int], view: View, made: DescriptorMap) -> Tensor:
    """Read the map of a view at cells of the image as it was.

    Args:
        grid: where those cells are.
        cells: (rows, columns), how many they are.
        view: the changed image.
        made: its map.

    Returns:
        ``(B, D, rows, columns)`` of unit length; 0 at cells that the view does not show.
    """
    places = cell_places(grid, cells, device=made.values.device)
    batch = len(made.values)
    read = made_unit_length(read_view(view, made, places.expand(batch, -1, 2)), dim=2)
    if view.is_part:
        read *= _shown(view, places)[:, None]
    return read.view(batch, *cells, -1).permute(0, 3, 1, 2)  # channels stay together


def to_view(view: View, points_px: Tensor) -> Tensor:
    """``(..., 2)`` points of the image as it was -> points of the view, float64.

    Points that lie behind the view, in perspective, are anywhere.
    """
    matrix = view.view_from_image.to(points_px.device)
    moved = points_px.double() @ matrix[:2, :2].T + matrix[:2, 2]
    return moved / _depths(view, points_px)[..., None] if view.is_part else moved


def _depths(view: View, points_px: Tensor) -> Tensor:
    """``(...)`` depths of points of the image as it was, at least a small one."""
    row = view.view_from_image[2].to(points_px.device)
    return (points_px.double() @ row[:2] + row[2]).clamp_min(_LEAST_DEPTH)


def _shown(view: View, points_px: Tensor) -> Tensor:
    """``(...)`` which points of the image as it was a view shows."""
    places = to_view(view, points_px)
    size_px = places.new_tensor([view.images.shape[3], view.images.shape[2]])
    in_front = _depths(view, points_px) > _LEAST_DEPTH
    return in_front & ((places >= -0.5) & (places <= size_px - 0.5)).all(dim=-1)


def _blur_for(images: Tensor, linear: Tensor) -> Tensor:
    """Blur images as far as a linear map will shrink them, along whatever direction that is."""
    inverse = torch.linalg.inv(linear)
    wanted = inverse @ inverse.T - torch.eye(2, dtype=torch.float64)
    values, directions = torch.linalg.eigh(wanted)
    variances = values.clamp_min(0) * _PIXEL_DEVIATION**2
    largest = float(variances.max()) ** 0.5
    if largest < 0.1:
        return images
    reach = math.ceil(_KERNEL_REACH * largest)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    channels = images.shape[1]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    if float(variances.min()) ** 0.5 > largest * (1 - _SAME):  # along x and then along y
        line = torch.exp(-0.5 * (axis / largest).square())
        weights = (line / line.sum()).tolist()
        return _sum_along(_sum_along(padded, weights, dim=3), weights, dim=2)
    ys, xs = torch.meshgrid(axis, axis, indexing="ij")
    offsets = torch.stack([xs, ys], dim=-1) @ directions
    # A direction that does not shrink is left sharp: far narrower than a pixel.
    kernel = torch.exp(-0.5 * (offsets.square() / variances.clamp_min(0.01)).sum(dim=-1))
    kernel = (kernel / kernel.sum()).to(images)
    return functional.conv2d(padded, kernel.expand(channels, 1, *kernel.shape), groups=channels)


def _sum_along(images: Tensor, weights: Sequence[float], *, dim: int) -> Tensor:
    """Weighted sums of neighbouring pixels along one dimension, where all neighbours are there.

    A convolution of so few channels takes the processor five to ten times as long.
    """
    count = images.shape[dim] - len(weights) + 1
    total = images.narrow(dim, 0, count) * weights[0]
    for start, weight in enumerate(weights[1:], start=1):
        total.add_(images.narrow(dim, start, count), alpha=weight)
    return total
