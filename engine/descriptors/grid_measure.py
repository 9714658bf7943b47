"""Where the cells of a map lie in the image, measured instead of believed.

A map says nothing of its place: it is a block of numbers, and what made it declares a stride and
an offset.  A wrong one shifts every match without a word.  Here a map is asked itself:

1. **What a cell reads.**  The influence of a pixel on a cell is the square of the cell's
   derivative by that pixel, summed over the channels of both.  Its centroid is where the cell lies:
   layers read symmetrically about their centres, and the centres of layers that follow each other
   add up.
2. **Derivatives** come from the gradient of a random direction of the cell's vector; squared, and
   averaged over images, that is the sum over all numbers of the vector.  Where there is no gradient
   (numpy, another framework, rounding to bytes), all pixels of one column of the image are changed
   by random signs, then of the next one, then of every row.  The squared change of a cell is then,
   on average, the sum of the influences along that column, which is what the centroid needs; and
   one look at an image serves all cells.  Where several columns are changed at once, it is not
   known which of them a cell noticed, and a narrow one would be drawn to the middle of its strip:
   so strips begin elsewhere for every image, which takes that off the mean.
3. **The window.**  Attention, normalisation over a whole image and the like give every pixel some
   influence on every cell, which would draw all centroids to the middle of the image.  So their
   median is taken off influences, and they are weighted by a bell curve that is moved until it is
   centred on the centroid under it.  A curve that is symmetric and at least as wide as what the
   cell reads does not move the centroid of anything symmetric.
4. **The fit.**  Positions are fitted by a line over cells, along either axis; rows are paired with
   columns at random, so that a map with its axes swapped shows itself.  Strides are nearly always
   a simple fraction, or the image's size by the map's.  The fit is brought to the nearest of those
   if that is as good as certain: an error of a hundredth, over 20 cells, is a fifth of a pixel of
   the offset.

Weights lean: a filter with its weight on its left side reads left of its centre, and so does a cell
on it, by a fraction of the network's field of view.  That belongs to the weights, not to the place
of the cells, and matching is not harmed by what all images share.  :func:`symmetric_kernels` puts
random symmetric kernels into a network's convolutions for as long as it is measured.

What a rectifier lets through depends on the image and is not symmetric, nor is which number of a
pooling is the largest.  Where torch is asked for them while a map is measured, the first pass all
and the second take the mean.  What remains of chance is averaged over images and cells, and
``error_px`` tells how well that worked.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from engine.progress import check_stop

MapOf = Callable[[Tensor], Tensor]
Method = Literal["gradient", "differences", "mirror", "enlarging"]

_CONTRAST: Final = (0.25, 0.75)  # images keep off black and white, where a step would be cut off
_STEP: Final = 0.1  # beyond the rounding to bytes, and to half precision
_AT_ONCE: Final = 32
_STRIPS: Final = 64  # so many passes for a side can be had; in small images no strip is wide
_LARGEST_DENOMINATOR: Final = 4
_NEAR_STRIDE: Final = 0.005
_WINDOW_SIGMAS: Final = 2.0
_MOVES: Final = 40
_SETTLED_PX: Final = 1e-3
_CELLS: Final = 8
# Where cells lie within the period of a map that was enlarged: both halves lean the same way.
_PHASES: Final = {
    8: (0, 7, 3, 4, 1, 6, 2, 5),
    4: (0, 3, 1, 2, 0, 3, 1, 2),
    2: (0, 1, 0, 1, 0, 1, 0, 1),
    1: (0,) * 8,
}
_FINE_PX: Final = ((2.0, 64), (4.0, 32))  # so fine a map is measured over so many cells
_FEWEST_ROUNDS: Final = 3
_MOST_ROUNDS: Final = 24
_CERTAIN_SHARE: Final = 0.05
_CROSSED_SHARE: Final = 0.25
_BY_CHANCE: Final = 3.0  # times its standard error, a figure is zero by chance
_FEW: Final = 2.0  # an error that a round or two gave may be so many times as large
_MARGIN_PX: Final = 48
_FRAME: Final = 32
_SEEN_SHARE: Final = 1e-4
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class MeasuredGrid:
    """Where the cells of a map were found; pairs are (x, y).

    Attributes:
        stride_px: distance of neighbouring cells.
        offset_px: position of cell 0, extended from the cells that were measured.
        stride_error_px: standard error of the stride before it was brought to a simple number, the
            larger of both axes.
        error_px: standard error of the offset, the larger of both axes.
        spread_px: standard deviation of single cells about the fit: those of a map that was
            enlarged lie between the cells they were made from, and spread.
        crossed_px: by how much x changes from row to row, or y from column to column, at most.
        crossed: whether that is more than chance: the axes of the map are swapped, or its cells are
            out of order.
        method: how it was found: by derivatives, see above, by mirroring, see
            :mod:`engine.descriptors.mirrored`, or by hand, by matching enlarged images.
    """

    stride_px: tuple[float, float]
    offset_px: tuple[float, float]
    stride_error_px: float
    error_px: float
    spread_px: float
    crossed_px: float
    crossed: bool
    method: Method


class NoInfluenceError(ValueError):
    """No pixel has any influence on the map, so its cells have no place."""


def measure_grid(
    map_of: MapOf,
    *,
    size_px: tuple[int, int],
    networks: Iterable[nn.Module] = (),
    expected_px: float | None = None,
    certain_px: float = 0.03,
    budget_s: float = math.inf,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> MeasuredGrid:
    """Find stride and offset of a map.

    Rounds with fresh images, kernels and cells are added up until the offset is certain, or the
    time is up.

    Args:
        map_of: ``(B, 3, H, W)`` in [0, 1] -> ``(B, D, H', W')``.
        size_px: (width, height) of the random images to measure with, see :func:`fitting_size`.
        networks: what to put symmetric kernels into meanwhile.  Nothing else may use them.
        expected_px: a stride that is taken unless the measure speaks against it.
        certain_px: how small the standard error of the offset has to be.
        budget_s: no round is begun after so much time of the processor; the first always is.
        seed: of images, kernels and directions.
        device: where ``map_of`` computes.

    Raises:
        NoInfluenceError: nothing in the image changes the map.
        ValueError: the map has less than two cells along an axis.
        JobCancelled: the work on this thread was asked to stop.
    """
    clocks = (time.monotonic, time.process_time)
    started_s = [clock() for clock in clocks]
    networks = tuple(networks)
    map_of = _stoppable(map_of)
    generator = torch.Generator().manual_seed(seed)
    rounds: list[tuple[_Positions, _Positions]] = []
    method: Method = "gradient"
    # Cells of a map that a coarser one was added to lean to either side by as much as a direction
    # reads of that one: with the same direction for all, this adds up to nothing.  Where that does
    # not settle it at once, directions of their own leave less to chance.
    shared = True
    while True:
        image = random_images(1, size_px, generator).to(device)
        found = None
        if method == "gradient":
            with symmetric_kernels(networks, generator), Smoothed():
                found = _by_gradient(map_of, image, generator, shared=shared)
        if found is None:
            if method == "gradient":
                method, rounds = "differences", []
            with symmetric_kernels(networks, generator), Smoothed():
                found = _by_differences(map_of, image, generator, len(rounds))
        rounds.append(found)
        measured = _fit(rounds, size_px, expected_px, method)
        # Whichever is less: a computer that is busy with other things leaves it as exact.
        spent_s = min(clock() - start for clock, start in zip(clocks, started_s, strict=True))
        if len(rounds) >= _most_rounds(found) or spent_s > budget_s:
            return measured
        if len(rounds) < _FEWEST_ROUNDS:
            continue
        if shared:
            measured = _fit(rounds, size_px, expected_px, method, shared=method == "gradient")
        settled = measured.crossed or (
            measured.error_px <= certain_px
            and measured.stride_error_px <= _CERTAIN_SHARE * min(measured.stride_px)
        )
        if settled:
            return measured
        if shared and method == "gradient":
            shared, rounds = False, []


def _most_rounds(found: tuple[_Positions, _Positions]) -> int:
    """How many rounds are made at most: more where a round finds the places of a few cells."""
    fewest = min(len(set(one.cells.tolist())) for one in found)
    return math.ceil(_MOST_ROUNDS * _CELLS / fewest)


def _stoppable(map_of: MapOf) -> MapOf:
    def map_unless_stopped(images: Tensor) -> Tensor:
        check_stop()
        return map_of(images)

    return map_unless_stopped


def without_pull(
    found: MeasuredGrid, *, size_px: tuple[int, int], stride_px: float
) -> MeasuredGrid:
    """What was found where the image's border cut off what cells read, if the stride is known.

    What is cut off on one side draws a cell's centroid toward the middle of the image, the farther
    the cell is from there.  To first order all places shrink about the middle, so they are
    stretched again until the stride is right.

    Args:
        found: the measured places.
        size_px: (width, height) of the images they were measured with.
        stride_px: the true one.
    """
    offsets, errors = [], [found.error_px]
    for offset_px, shrunk_px, side_px in zip(
        found.offset_px, found.stride_px, size_px, strict=True
    ):
        middle_px = (side_px - 1) / 2
        offsets.append(middle_px + (offset_px - middle_px) * stride_px / shrunk_px)
        last = side_px / stride_px - 1
        off_px = abs(offset_px + shrunk_px * last / 2 - middle_px)
        errors.append(off_px * found.stride_error_px / shrunk_px)
    return replace(
        found,
        stride_px=(stride_px, stride_px),
        offset_px=(offsets[0], offsets[1]),
        error_px=math.hypot(found.error_px, max(errors[1:])),
    )


def sees_border(map_of: MapOf, *, size_px: tuple[int, int], device: torch.device | str) -> bool:
    """Whether the outermost cells that are measured read pixels at the border of the image.

    Args:
        map_of: as for :func:`measure_grid`.
        size_px: (width, height) of the image to try.
        device: where ``map_of`` computes.
    """
    generator = torch.Generator().manual_seed(0)
    image = random_images(1, size_px, generator)
    everywhere = _STEP * (2 * torch.randint(0, 2, image.shape, generator=generator) - 1.0)
    frame = everywhere.clone()
    inset = max(1, min(size_px) // _FRAME)
    frame[:, :, inset:-inset, inset:-inset] = 0
    with torch.inference_mode():
        base, framed, whole = (
            one[0, :, one.shape[2] // 6, one.shape[3] // 6].double()
            for one in (
                map_of((image + change).to(device)) for change in (0 * frame, frame, everywhere)
            )
        )
    return bool((framed - base).norm() > _SEEN_SHARE * (whole - base).norm())


def fitting_size(stride_px: float) -> tuple[int, int]:
    """(width, height) of images that leave room on all sides of the cells that are measured.

    Args:
        stride_px: of the map, about.
    """
    margin_px = max(_MARGIN_PX, 4 * stride_px)
    height = round(_CELLS * stride_px + 2 * margin_px)
    for fine_px, cells in _FINE_PX:
        if stride_px <= fine_px:
            height = max(height, round(1.5 * cells * stride_px))
            break
    step = max(1, round(stride_px))
    height += -height % step
    return height + 2 * step, height


def random_images(count: int, size_px: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Images with structure of several sizes, as photos have: ``(count, 3, H, W)`` in [0.25, 0.75].

    Args:
        count: how many.
        size_px: (width, height).
        generator: what they are drawn from.
    """
    width, height = size_px
    total = torch.zeros(count, 3, height, width)
    for cell_px in (1, 3, 8):
        coarse = torch.rand(
            count, 3, height // cell_px + 2, width // cell_px + 2, generator=generator
        )
        total += functional.interpolate(
            coarse, scale_factor=float(cell_px), mode="bilinear", align_corners=False
        )[:, :, :height, :width]
    low, high = _CONTRAST
    return low + (high - low) * total / 3


@runtime_checkable
class DrawsKernels(Protocol):
    """A network whose convolutions are no layers of torch."""

    def draw_kernels(self, generator: torch.Generator) -> None:
        """Put random symmetric kernels into it, if it was made for being measured."""
        ...


@runtime_checkable
class Steers(Protocol):
    """A network some of whose layers say where others read, as in deformable convolutions.

    Attributes:
        steering_layers: these layers.  Where they say depends on the picture by chance, so they
            say nothing while the network is measured.
    """

    steering_layers: tuple[nn.Module, ...]


@contextlib.contextmanager
def symmetric_kernels(networks: Iterable[nn.Module], generator: torch.Generator) -> Iterator[None]:
    """Inside the block convolutions read symmetrically; afterwards all is as before.

    Kernels are random, without a bias, and keep signals as large as they are; batch normalisation
    passes on what it gets, and layers that steer others give zero.

    Args:
        networks: whose layers they are; nothing else may use them meanwhile.
        generator: what kernels are drawn from.
    """
    networks = tuple(networks)
    for network in networks:
        if isinstance(network, DrawsKernels):
            network.draw_kernels(generator)
    silent = {
        layer
        for network in networks
        if isinstance(network, Steers)
        for layer in network.steering_layers
    }
    layers = dict.fromkeys(layer for network in networks for layer in network.modules())
    changed = [layer for layer in layers if isinstance(layer, (*_CONVOLUTIONS, *_BATCH_NORMS))]
    before = [(value, value.detach().clone()) for layer in changed for value in _own_state(layer)]
    try:
        with torch.no_grad():
            for layer in changed:
                if isinstance(layer, _BATCH_NORMS):
                    layer.reset_parameters()
                else:
                    transposed = isinstance(layer, _TRANSPOSED)
                    kernel = symmetric_kernel(layer.weight, generator, transposed=transposed)
                    layer.weight.copy_(0 * kernel if layer in silent else kernel)
                    if layer.bias is not None:
                        layer.bias.zero_()
        yield
    finally:
        with torch.no_grad():
            for value, kept in before:
                value.copy_(kept)


_ACTIVATIONS: Final = frozenset(
    (
        *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu, functional.relu6),
        *(functional.leaky_relu, functional.elu, functional.gelu, functional.silu),
        *(functional.mish, functional.hardswish, functional.softplus),
    )
)


class Smoothed(TorchFunctionMode):
    """Inside the block gradients flow where the caller of torch had stopped them.

    Where descriptors are made, derivatives are usually switched off.  And what depends on the
    picture by chance is left out: rectifiers and their like pass everything, a pooling takes the
    mean instead of the largest number, and a layer normalisation divides all cells by the same
    number.  They read the same places as before.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        if func in (Tensor.detach, torch.detach):
            return args[0]
        if func in _ACTIVATIONS:
            return args[0]
        if func in (functional.max_pool2d, torch.max_pool2d):
            return _mean_pool(*args, **(kwargs or {}))
        if func is functional.layer_norm:
            return _even_layer_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _mean_pool(
    values: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """As ``max_pool2d``, which it is where there is no mean of this kind."""
    if dilation not in (1, (1, 1), [1, 1]) or return_indices:
        largest: Any = functional.max_pool2d
        return largest(values, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return functional.avg_pool2d(
        values, kernel_size, stride or kernel_size, padding, ceil_mode, count_include_pad=False
    )


def _even_layer_norm(
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As ``layer_norm``, with one deviation for all cells: a small one makes gradients large."""
    if len(normalized_shape) != 1:  # over places too
        return functional.layer_norm(values, normalized_shape, weight, bias, eps)
    centred = values - values.mean(dim=-1, keepdim=True)
    scale = (centred.detach().square().mean() + eps).rsqrt()
    scaled = centred * scale if weight is None else centred * scale * weight
    return scaled if bias is None else scaled + bias


_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _own_state(layer: nn.Module) -> Iterator[Tensor]:
    yield from layer.parameters(recurse=False)
    yield from layer.buffers(recurse=False)


def symmetric_kernel(weight: Tensor, generator: torch.Generator, *, transposed: bool) -> Tensor:
    """A random kernel of this shape, equal to itself flipped along every axis.

    Args:
        weight: of a convolution.
        generator: what it is drawn from.
        transposed: it is a transposed convolution, whose second axis is that of its outputs.
    """
    drawn = torch.randn(weight.shape, generator=generator)
    for axis in range(2, weight.ndim):
        drawn = drawn + drawn.flip(axis)
    inputs = [axis for axis in range(weight.ndim) if axis != int(transposed)]
    return (drawn / drawn.square().sum(dim=inputs, keepdim=True).sqrt()).to(weight)


@dataclass(frozen=True, slots=True, eq=False)
class _Positions:
    """Where cells were found along one axis.

    Attributes:
        cells: ``(N,)`` their index along it.
        across: ``(N,)`` their index along the other axis.
        found_px: ``(N,)``.
        count: how many cells the map has along it.
    """

    cells: Tensor
    across: Tensor
    found_px: Tensor
    count: int


def _by_gradient(
    map_of: MapOf, images: Tensor, generator: torch.Generator, *, shared: bool
) -> tuple[_Positions, _Positions] | None:
    """Positions along x and y by gradients; None where there are none.

    Args:
        map_of: as for :func:`measure_grid`.
        images: ``(B, 3, H, W)``.
        generator: what directions are drawn from.
        shared: all cells get the same direction.
    """
    along_x, along_y = [], []
    try:
        with torch.inference_mode(False), torch.enable_grad():
            images = images.clone().requires_grad_()
            values = map_of(images)
            if not values.requires_grad:
                return None
            batch, dim, height, width = values.shape
            columns, rows = _chosen(width), _chosen(height)
            size = min(len(columns), len(rows))
            columns = columns[:size][torch.randperm(size, generator=generator)]
            rows = rows[:size]
            direction = torch.randn(batch, dim, generator=generator).to(values)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                if not shared:
                    direction = torch.randn(batch, dim, generator=generator).to(values)
                total = (values[:, :, row, column] * direction).sum()
                (gradient,) = torch.autograd.grad(total, images, retain_graph=True)
                energy = gradient.detach().cpu().double().square().sum(dim=1)
                sums = energy.sum(dim=(1, 2), keepdim=True)
                if not bool((sums > 0).all() and sums.isfinite().all()):
                    return None
                # Each image counts the same, however strong its gradients are.
                share = (energy / sums).sum(dim=0)
                along_x.append(share.sum(dim=0))
                along_y.append(share.sum(dim=1))
    except RuntimeError:  # what torch raises where a step has no derivative
        return None
    return _positions(torch.stack(along_x), columns, rows, width), _positions(
        torch.stack(along_y), rows, columns, height
    )


def _by_differences(
    map_of: MapOf, images: Tensor, generator: torch.Generator, number: int
) -> tuple[_Positions, _Positions]:
    """Positions along x and y by changing one strip of the images after the other.

    Args:
        map_of: as for :func:`measure_grid`.
        images: ``(B, 3, H, W)``.
        generator: what changes are drawn from.
        number: of the round, on which it depends where strips begin.
    """
    with torch.inference_mode():
        height, width = map_of(images[:1]).shape[2:]
        rows, columns = _chosen(height), _chosen(width)
        cell_px = min(images.shape[3] // width, images.shape[2] // height)
        strip_px = max(1, min(cell_px // 4, min(images.shape[2:]) // _STRIPS))

        def cells_of(pictures: Tensor) -> Tensor:
            """Numbers ``(B, D, cells)`` of the cells that are measured."""
            return map_of(pictures)[:, :, rows[:, None], columns].flatten(2).double()

        base = cells_of(images)
        influences = []
        for axis in (3, 2):
            size = images.shape[axis]
            total = torch.zeros(base.shape[2], size, dtype=torch.float64)
            strips = list(strips_of(size, strip_px, _shift_px(number, strip_px)))
            for place, image in enumerate(images):
                energy = torch.zeros_like(total)
                for at in range(0, len(strips), _AT_ONCE):
                    some = strips[at : at + _AT_ONCE]
                    changed = image.expand(len(some), -1, -1, -1).clone()
                    for one, (first, wide) in zip(changed, some, strict=True):
                        part = one.narrow(axis - 1, first, wide)
                        draw = torch.randint(0, 2, part.shape, generator=generator)
                        part += _STEP * (2 * draw - 1).to(part)
                    change = cells_of(changed) - base[place]
                    found = change.square().sum(dim=1).cpu().T  # (cells, strips)
                    for strip, (first, wide) in zip(found.T, some, strict=True):
                        energy[:, first : first + wide] = strip[:, None] / wide
                total += energy / energy.sum(dim=1, keepdim=True).clamp_min(_TINY)
            influences.append(total)
    return _from_influences(influences[0], influences[1], rows, columns, (width, height))


def _from_influences(
    along_x: Tensor, along_y: Tensor, rows: Tensor, columns: Tensor, cells: tuple[int, int]
) -> tuple[_Positions, _Positions]:
    """Positions of some cells, by rows, from the influence of each column and row of pixels.

    Args:
        along_x: ``(R * C, width)`` of the image's columns on the cells.
        along_y: ``(R * C, height)`` of its rows.
        rows: ``(R,)`` of the cells.
        columns: ``(C,)``.
        cells: (width, height) of the map.

    Raises:
        NoInfluenceError: nothing has any.
    """
    if not bool((along_x.sum(dim=1) > 0).any()):
        raise NoInfluenceError("no pixel has any influence on the map")
    both = torch.cartesian_prod(rows, columns)
    return (
        _positions(along_x, both[:, 1], both[:, 0], cells[0]),
        _positions(along_y, both[:, 0], both[:, 1], cells[1]),
    )


def strips_of(size_px: int, strip_px: int, shift_px: int) -> Iterator[tuple[int, int]]:
    """Beginning and width of the strips that a side of an image is cut into, in pixels.

    Args:
        size_px: of the side.
        strip_px: of a strip; the first and the last one may be narrower.
        shift_px: where the second one begins; 0 for a whole first one.
    """
    first = 0
    while first < size_px:
        wide = (shift_px if first == 0 else 0) or strip_px
        yield first, min(wide, size_px - first)
        first += wide


def _shift_px(number: int, strip_px: int) -> int:
    """Where strips begin in a round: the beginnings of any few rounds are spread evenly."""
    share, step = 0.0, 0.5
    while number:
        share, number, step = share + step * (number % 2), number // 2, step / 2
    return int(share * strip_px)


def changed_strips(
    image: Tensor, axis: int, strip_px: int, shift_px: int, generator: torch.Generator
) -> Tensor:
    """Copies of an image, in each of which some columns or rows are changed by random signs.

    Args:
        image: ``(3, H, W)`` in [0.25, 0.75].
        axis: 0 for columns, 1 for rows.
        strip_px: how many are changed in each copy; all are, once.
        shift_px: see :func:`strips_of`.
        generator: what the signs are drawn from.

    Returns:
        ``(N, 3, H, W)``, from left to right or from above.
    """
    side = 2 - axis
    size = image.shape[side]
    copies = []
    for first, wide in strips_of(size, strip_px, shift_px):
        changed = image.clone()
        part = changed.narrow(side, first, wide)
        part += _STEP * (2 * torch.randint(0, 2, part.shape, generator=generator) - 1).to(part)
        copies.append(changed)
    return torch.stack(copies)


def grid_from_changes(
    rounds: Sequence[tuple[Tensor, Tensor, Tensor]],
    *,
    size_px: tuple[int, int],
    strip_px: int,
    shifts_px: Sequence[int],
    expected_px: float | None,
) -> MeasuredGrid:
    """Find stride and offset from maps that were made elsewhere.

    Which of a strip's pixels a cell noticed is not known.  Over images whose strips begin at all
    places alike, what is not known is the same to the left and to the right.

    Args:
        rounds: for each image its map ``(D, H', W')``, and those of the copies that
            :func:`changed_strips` made along columns and along rows, ``(N, D, H', W')``.
        size_px: (width, height) of the images.
        strip_px: how many columns or rows were changed in each copy.
        shifts_px: of each image, see :func:`strips_of`.
        expected_px: a stride that is taken unless the measure speaks against it.

    Raises:
        NoInfluenceError: no change changed the map.
        ValueError: the map has less than two cells along an axis.
    """
    height, width = rounds[0][0].shape[1:]
    rows, columns = _chosen(height), _chosen(width)
    totals: list[Tensor | float] = [0.0, 0.0]
    for (base, *changed), shift_px in zip(rounds, shifts_px, strict=True):
        for axis, (maps, size) in enumerate(zip(changed, size_px, strict=True)):
            change = (maps.double() - base.double())[:, :, rows[:, None], columns].flatten(2)
            wide = torch.tensor([wide for _, wide in strips_of(size, strip_px, shift_px)])
            energy = change.square().sum(dim=1) / wide[:, None]  # (strips, cells)
            energy = energy.repeat_interleave(wide, dim=0).T
            totals[axis] += energy / energy.sum(dim=1, keepdim=True).clamp_min(_TINY)
    along_x, along_y = map(torch.as_tensor, totals)
    found = _from_influences(along_x, along_y, rows, columns, (width, height))
    return _fit([found], size_px, expected_px, "differences", images=len(rounds))


def _chosen(count: int) -> Tensor:
    """The indices of up to eight cells about the middle, within two thirds of all.

    They are as far apart as there is room for, at all places within the period of a map that was
    enlarged, up to eightfold: its cells lean to those they were made from.
    """
    if count < 2:
        raise ValueError("a map of less than two cells along an axis has no stride")
    room = math.ceil(count * 2 / 3)
    if room >= 2 * _CELLS:
        period = max(one for one in _PHASES if room >= _CELLS * one)
        apart = (room - period) // ((_CELLS - 1) * period) * period
        taken = apart * torch.arange(_CELLS) + torch.tensor(_PHASES[period])
    else:
        taken = torch.arange(max(2, min(_CELLS, room) // 2 * 2))  # as many of either parity
    return taken + (count - 1 - int(taken.max())) // 2


def _positions(influence: Tensor, cells: Tensor, across: Tensor, count: int) -> _Positions:
    """Positions of cells from ``(N, size)`` influences along one axis."""
    centres = _centres(influence, cell_px=influence.shape[1] / count)
    return _Positions(cells, across, centres, count)


def _centres(influence: Tensor, *, cell_px: float) -> Tensor:
    """The centroid of each row of ``(N, size)`` influences, under a window centred on it.

    Args:
        influence: none negative.
        cell_px: about the distance of cells; the strongest influence is first looked for at this
            resolution.
    """
    places = torch.arange(influence.shape[1], dtype=torch.float64)
    influence = (influence - influence.median(dim=1, keepdim=True).values).clamp_min(0)
    sigma_px = max(cell_px / 2, 0.5)
    blur = torch.exp(-0.5 * ((places[:, None] - places) / sigma_px).square())
    centre = (influence @ blur).argmax(dim=1).double()[:, None]
    window_px = torch.full_like(centre, max(2 * cell_px, 2.0))
    for _ in range(_MOVES):
        weight = influence * torch.exp(-0.5 * ((places - centre) / window_px).square())
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(_TINY)
        moved = (weight * places).sum(dim=1, keepdim=True)
        spread = (weight * (places - moved).square()).sum(dim=1, keepdim=True).sqrt()
        window_px = (_WINDOW_SIGMAS * spread).clamp_min(cell_px)
        settled = bool(((moved - centre).abs() < _SETTLED_PX).all())
        centre = moved
        if settled:
            break
    return centre[:, 0]


def _fit(
    rounds: list[tuple[_Positions, _Positions]],
    size_px: tuple[int, int],
    expected_px: float | None,
    method: Method,
    *,
    images: int = 0,
    shared: bool = False,
) -> MeasuredGrid:
    """Lines through the positions of all rounds, which were found in so many images or one each.

    ``shared`` says that the cells of a round were asked by one direction, so that what they do adds
    up to nothing: they are no chances of their own.
    """
    looks = images or len(rounds)
    x, y = (
        _fit_axis([one[axis] for one in rounds], size_px[axis], expected_px, looks, shared)
        for axis in (0, 1)
    )
    least_px = min(x.stride, y.stride)
    return MeasuredGrid(
        stride_px=(x.stride, y.stride),
        offset_px=(x.offset, y.offset),
        stride_error_px=max(x.stride_error, y.stride_error),
        error_px=max(x.error, y.error),
        spread_px=max(x.spread, y.spread),
        crossed_px=max(x.crossed, y.crossed),
        crossed=any(
            one.crossed > _CROSSED_SHARE * abs(least_px) + _BY_CHANCE * one.crossed_error
            for one in (x, y)
        ),
        method=method,
    )


class _Line(NamedTuple):
    """What was fitted along one axis, in pixels; see :class:`MeasuredGrid`."""

    stride: float
    offset: float
    stride_error: float
    error: float
    spread: float
    crossed: float
    crossed_error: float


def _fit_axis(
    rounds: list[_Positions], size_px: int, expected_px: float | None, looks: int, shared: bool
) -> _Line:
    """The line through the positions of cells along one axis."""
    cells = torch.cat([one.cells for one in rounds]).double()
    across = torch.cat([one.across for one in rounds]).double()
    found = torch.cat([one.found_px for one in rounds])
    design = torch.stack([torch.ones_like(cells), cells, across], dim=1)
    solved = torch.linalg.lstsq(design, found[:, None]).solution[:, 0]
    residual = found - design @ solved
    spread = float((residual.square().sum() / max(1, len(cells) - 3)).sqrt())
    count = len(set(rounds[0].cells.tolist()))
    # Cells of a column, or of a row, may be no chances of their own: they may read the same.
    mean_error = max(_error_by(residual, one) for one in (cells, across))
    strides = torch.stack([_stride(one) for one in rounds])
    stride = float(strides.mean())
    stride_error = max(_error(strides, 0.0), 4 * mean_error / count)
    if len(rounds) < _FEWEST_ROUNDS:
        stride_error *= _FEW
    tolerance_px = max(_NEAR_STRIDE * abs(stride), _BY_CHANCE * stride_error)
    near = _simple_stride(stride, size_px, rounds[0].count, expected_px, tolerance_px)
    stride = stride if near is None else near
    middle = float(cells.mean())
    offset = float(found.mean()) - stride * middle
    means = torch.stack([(one.found_px - stride * one.cells).mean() for one in rounds])
    error = _error(means, mean_error * (_FEW if looks < _FEWEST_ROUNDS else 1.0))
    if len(rounds) >= _FEWEST_ROUNDS:
        if not shared:
            # The means of a few rounds may agree by chance; what their cells do is seen more often.
            ordered = [one.found_px[one.cells.argsort(stable=True)] for one in rounds]
            error = max(error, _error_within(torch.stack(ordered)))
        error *= math.sqrt(len(rounds) / (len(rounds) - 2))  # and a few may all be off
    if near is None:
        error = math.hypot(error, stride_error * middle)
    crossed_error = mean_error / float(across.std(correction=0))
    return _Line(stride, offset, stride_error, error, spread, abs(float(solved[2])), crossed_error)


def _stride(one: _Positions) -> Tensor:
    """The distance of cells: of the mean of the second half of them from that of the first.

    Cells of a map that was enlarged lean to those it was made from, in a pattern that repeats; in
    both halves it adds up to the same, but a line through all cells would be turned by it.
    """
    second = one.cells >= one.cells.double().mean()
    apart = one.cells[second].double().mean() - one.cells[~second].double().mean()
    return (one.found_px[second].mean() - one.found_px[~second].mean()) / apart


def _error_by(residual: Tensor, group: Tensor) -> float:
    """The standard error of the mean of cells, if those of a group count as one."""
    means = torch.stack([residual[group == one].mean() for one in sorted(set(group.tolist()))])
    return float(means.std() / math.sqrt(len(means)))


def _error_within(found_px: Tensor) -> float:
    """The standard error of the mean of cells, by what each does from round to round.

    What a cell does in every round, as those of a map that was enlarged, does not count.

    Args:
        found_px: ``(rounds, cells)``, at least two rounds.
    """
    changes = found_px - found_px.mean(dim=0)
    variance = changes.square().sum() / (found_px.shape[1] * (found_px.shape[0] - 1))
    return float((variance / found_px.numel()).sqrt())


def _error(by_round: Tensor, by_chance: float) -> float:
    """The standard error of the mean of some rounds; ``by_chance`` for too few of them."""
    if len(by_round) < _FEWEST_ROUNDS:
        return by_chance
    return float(by_round.std()) / math.sqrt(len(by_round))


def _simple_stride(
    stride_px: float, size_px: int, count: int, expected_px: float | None, tolerance_px: float
) -> float | None:
    """The expected or else the simplest number within the tolerance; None if there is none.

    Whole numbers are simplest, then the size of the image by that of the map, then fractions.
    """
    fractions = [
        float(Fraction(stride_px).limit_denominator(denominator))
        for denominator in range(1, _LARGEST_DENOMINATOR + 1)
    ]
    quotients = [size_px / count, (size_px - 1) / (count - 1)]
    simple = fractions[0], quotients[0], *fractions[1:], quotients[1]
    for candidate in simple if expected_px is None else (expected_px, *simple):
        if candidate > 0 and abs(candidate - stride_px) <= tolerance_px:
            return candidate
    return None
