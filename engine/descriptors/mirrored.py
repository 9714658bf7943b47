"""Where the cells of a convolutional network lie, found by mirroring images.

With kernels that are equal to themselves flipped, a convolutional network makes of a mirrored image
the mirrored map, provided that the mirror puts cells onto cells.  So content in the middle of an
image is mirrored and moved to and fro, and the place where its map is the mirrored one tells twice
the place of the cells.  No derivative is needed, a dozen passes through the network do, and where
cells see no border the result is exact.

The content is surrounded by the colour that the network takes for zero.  Padding continues that, so
the border of the image changes next to nothing even where cells see beyond it: this works for
networks of one size of images, whose borders draw all that is measured by derivatives to the
middle.

Networks that are told places, or that mix all of an image, are not mirrored with their images;
for them nothing is found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from engine.descriptors.grid_measure import (
    MapOf,
    MeasuredGrid,
    random_images,
    symmetric_kernels,
)

_ROUNDS: Final = 4
_ROUNDS_IF_EXACT: Final = 2
_CONTENT_SHARE: Final = 0.57  # of the shorter side
_CONTENT_CELLS: Final = 12  # at most: more tell no more
_FARTHEST: Final = 1.25  # strides to either side: a cell more than the image has room for
_STEPS: Final = 8  # a stride is tried at so many places
_BOWL_SHARE: Final = 0.25  # of a stride: so near its lowest point the difference is a parabola
_ALIKE: Final = 0.05  # of the largest difference; what is left where mirrored maps are the same
_EXACT: Final = 1e-6
_AT_ONCE: Final = 8


def mirrored_grid(
    map_of: MapOf,
    *,
    size_px: tuple[int, int],
    stride_px: float,
    blank: Sequence[float],
    period_px: int | None = None,
    networks: Iterable[nn.Module] = (),
    device: torch.device | str = "cpu",
) -> MeasuredGrid | None:
    """Find the offset of a map of known stride.

    Args:
        map_of: ``(B, 3, H, W)`` in [0, 1] -> ``(B, D, H', W')``.
        size_px: (width, height) of the images to measure with.
        stride_px: of the map.
        blank: RGB in [0, 1] that the network takes for zero.
        period_px: a multiple of the stride that images may be moved by where a stride changes more
            than the place of the map, as in a map that coarser ones are added to.
        networks: what to put symmetric kernels into meanwhile.  Nothing else may use them.
        device: where ``map_of`` computes.

    Returns:
        The grid; None where maps are not mirrored with their images, or not moved with images that
        are moved by a stride or a period.
    """
    networks = tuple(networks)
    if stride_px != round(stride_px):
        return None
    stride = round(stride_px)
    room = min(size_px) - 2 * math.ceil(_FARTHEST * stride)
    side = min(round(_CONTENT_SHARE * min(size_px)), _CONTENT_CELLS * stride, room - 2)
    if side < 2 * stride:
        return None
    generator = torch.Generator().manual_seed(0)
    found: list[tuple[float, float]] = []
    exact_steps: set[int] = set()
    around = torch.tensor(tuple(blank)).view(1, -1, 1, 1).to(device)

    def placed(content: Tensor, rights: Sequence[int], downs: Sequence[int]) -> Tensor:
        width, height = size_px
        images = around.repeat(len(rights), 1, height, width)
        for image, right, down in zip(images, rights, downs, strict=True):
            x, y = (width - side) // 2 + right, (height - side) // 2 + down
            image[:, y : y + side, x : x + side] += content.to(device)
        return images

    for _ in range(_ROUNDS):
        content = _content(side, generator)
        with symmetric_kernels(networks, generator), torch.inference_mode():
            period = period_px or stride
            offsets = _offsets(map_of, content, placed, size_px, stride, period, exact_steps)
        if offsets is None:
            return None
        found.append(offsets)
        if len(found) == _ROUNDS_IF_EXACT and len(set(found)) == 1:
            break
    offsets_px = torch.tensor(found, dtype=torch.float64)
    x_px, y_px = (float(one) for one in offsets_px.mean(dim=0))
    error_px = float((offsets_px.std(dim=0) / math.sqrt(len(found))).max())
    return MeasuredGrid(
        stride_px=(float(stride), float(stride)),
        offset_px=(x_px, y_px),
        stride_error_px=0.0,
        error_px=error_px,
        spread_px=0.0,
        crossed_px=0.0,
        crossed=False,
        method="mirror",
    )


_Placed = Callable[[Tensor, Sequence[int], Sequence[int]], Tensor]


def _offsets(
    map_of: MapOf,
    content: Tensor,
    placed: _Placed,
    size_px: tuple[int, int],
    stride: int,
    period_px: int,
    exact_steps: set[int],
) -> tuple[float, float] | None:
    """The place of cell 0 along x and y; None where it is not to be had.

    Steps that make maps the same are added to ``exact_steps``, and those in it are tried first.
    """
    upright = _maps(map_of, placed(content, (0,), (0,)))[0]
    rows, columns = upright.shape[1:]
    if min(rows, columns) < 3:
        return None
    zero = _maps(map_of, placed(0 * content, (0,), (0,)))[0]
    scale = float((upright - zero).square().sum())
    if not scale > 0:
        return None
    found = []
    for axis in (2, 1):
        size, side = size_px[0 if axis == 2 else 1], content.shape[-1]
        begin = (size - side) // 2
        # An image moved by a stride gives the same map, moved: the stride is what it is taken for.
        for step_px in dict.fromkeys((stride, period_px)):
            if begin + step_px + side > size:
                continue  # a period may be longer than there is room for
            moves = ((step_px,), (0,)) if axis == 2 else ((0,), (step_px,))
            moved = _maps(map_of, placed(content, *moves))[0]
            expected = upright.roll(step_px // stride, dims=axis)
            if _difference(expected, moved) <= _ALIKE * scale:
                break
        else:
            return None
        flipped = content.flip(axis)

        def differences(
            tried: Sequence[int], axis: int = axis, flipped: Tensor = flipped
        ) -> list[float]:
            still = [0] * len(tried)
            images = placed(flipped, *((tried, still) if axis == 2 else (still, tried)))
            return [_difference(upright, one.flip(axis)) / scale for one in _maps(map_of, images)]

        count = columns if axis == 2 else rows
        step = _best_step(differences, stride, odd=(size - side) % 2, exact_steps=exact_steps)
        if step is None:
            return None
        # Twice the middle of the content, less twice that of the map without its offset.
        found.append((2 * begin + step + side - 1 - stride * (count - 1)) / 2)
    return found[0], found[1]


def _best_step(
    differences: Callable[[Sequence[int]], Sequence[float]],
    stride: int,
    *,
    odd: int,
    exact_steps: set[int],
) -> float | None:
    """By how much mirrored content is moved where its map is the mirrored one; None if nowhere."""
    known: dict[int, float] = {}

    def look(steps: Iterable[int]) -> int:
        new = [one for one in dict.fromkeys(steps) if one not in known]
        known.update(zip(new, differences(new) if new else (), strict=True))
        return min(known, key=known.__getitem__)

    # Cells that lie alike on both sides, on the first pixel or on the last one, or a pixel off.
    usual = [one + odd for one in (0, 1 - stride, stride - 1, -1, 1)]
    for steps in filter(None, (exact_steps, usual)):
        best = look(steps)
        if known[best] <= _EXACT:
            exact_steps.add(best)
            return best
    farthest = round(_FARTHEST * _STEPS)
    best = look(round(one * stride / _STEPS) for one in range(-farthest, farthest + 1))
    apart = math.ceil(stride / _STEPS)
    look(range(best - apart, best + apart + 1))
    return _lowest(known, stride)


def _maps(map_of: MapOf, images: Tensor) -> list[Tensor]:
    """``(D, H', W')`` of each image, float64."""
    maps = [map_of(some).double().cpu() for some in torch.split(images, _AT_ONCE)]
    return list(torch.cat(maps))


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().sum())


def _content(side: int, generator: torch.Generator) -> Tensor:
    """``(3, side, side)`` in [-0.25, 0.25] that fades out to all sides."""
    fading = torch.hann_window(side, periodic=False)
    noise: Tensor = (random_images(1, (side, side), generator)[0] - 0.5) * fading * fading[:, None]
    return noise


def _lowest(known: Mapping[int, float], stride: int) -> float | None:
    """The step of the least difference; None if even there the maps are not the same."""
    steps = torch.tensor(list(known), dtype=torch.float64)
    differences = torch.tensor(list(known.values()), dtype=torch.float64)
    lowest = int(differences.argmin())
    least, most = float(differences[lowest]), float(differences.max())
    if not least <= _ALIKE * most:
        return None
    if least <= _EXACT * most:
        return float(steps[lowest])
    near = (steps - steps[lowest]).abs() <= max(1.0, _BOWL_SHARE * stride)
    if int(near.sum()) < 3:
        return None
    x, y = steps[near] - steps[lowest], differences[near]
    design = torch.stack([torch.ones_like(x), x, x.square()], dim=1)
    _, slope, bend = torch.linalg.lstsq(design, y[:, None]).solution[:, 0].tolist()
    return float(steps[lowest]) - slope / (2 * bend) if bend > 0 else None
