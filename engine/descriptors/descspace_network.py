"""The network of descspace: one descriptor a cell, of an upright image at one scale.

Whatever turns or shrinks things is left to the *set* (see :mod:`engine.descriptors.descspace`): the
network sees many scales and turns of the image instead of learning to ignore them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors.tensors import made_unit_length

_NARROW_CELLS = 5
_WIDE_CELLS = 17
_CELL_PX = 4
# Deviation of grey values that is taken for noise, two shades of 255: flat places are not blown up
# to full contrast, and what lies in the dark is.
_NOISE = 0.008


class DescSpaceNetwork(nn.Module):
    """Residual stages at strides 4, 8 and 16, joined at stride 4.

    All convolutions that shrink have odd kernels and are padded by half of them, so cell ``i`` of a
    map of stride ``s`` is centred on pixel ``s i``, at every stride.

    Every layer gives 0 for a blank wall, so the zeros that maps are padded with look like more of
    that wall: the border of an image tells no place.
    """

    stride_px = 4
    offset_px = 0.0
    dim = 128
    shift_period_px = 16
    reach_px = 220  # by the wide block at stride 16, and what it sees is normalised locally

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Layer(2, 32, kernel=5, stride=2), _Layer(32, 64, stride=2))
        self.stage4 = nn.Sequential(_Block(64), _Block(64))
        self.shrink8 = _Layer(64, 96, stride=2)
        self.stage8 = nn.Sequential(_Block(96), _Block(96))
        self.shrink16 = _Layer(96, 128, stride=2)
        self.stage16 = nn.Sequential(_Block(128), _Block(128, dilation=2))
        self.to_stage8 = nn.Conv2d(128, 96, kernel_size=1, bias=False)
        self.join8 = _Layer(96, 96)
        self.to_stage4 = nn.Conv2d(96, 64, kernel_size=1, bias=False)
        self.join4 = _Layer(64, 128)
        self.head = nn.Conv2d(128, self.dim, kernel_size=1)

    def forward(self, grey: Tensor) -> Tensor:
        """``(B, 1, H, W)`` in [0, 1] -> ``(B, 128, ceil(H / 4), ceil(W / 4))``, unit length."""
        # Some processors convolve pixels whose channels lie together up to twice as fast.
        shown = normalise_locally(grey).contiguous(memory_format=torch.channels_last)
        fine = self.stage4(self.stem(shown))
        middle = self.stage8(self.shrink8(fine))
        coarse = self.stage16(self.shrink16(middle))
        middle = self.join8(middle + enlarge_twice(self.to_stage8(coarse), middle.shape[2:]))
        fine = self.join4(fine + enlarge_twice(self.to_stage4(middle), fine.shape[2:]))
        return made_unit_length(self.head(fine).float())


class _Layer(nn.Module):
    """A convolution, its normalisation, and what is positive, less that of a blank wall."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor, beside: Tensor | None = None) -> Tensor:
        """Apply the layer, and add what is beside it before the positive part is taken."""
        changed = self.bn(self.conv(features))
        shown: Tensor = (changed if beside is None else changed + beside).relu_()
        hidden = self._blank().relu().to(shown.dtype)
        return shown - hidden if shown.requires_grad else shown.sub_(hidden)

    def _blank(self) -> Tensor:
        """``(C, 1, 1)``, what the normalised convolution makes of zeros.

        While statistics are learned, those so far stand for the batch's: nearly the same, and the
        map need not be read once more.
        """
        norm: nn.Module = self.bn
        if isinstance(norm, nn.BatchNorm2d):
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None, "it has statistics, as nobody asked for one without"
            assert variance is not None
            made = norm.bias - norm.weight * mean * (variance + norm.eps).rsqrt()
        else:
            assert self.conv.bias is not None, "the normalisation was folded into it"
            made = self.conv.bias
        return made.view(-1, 1, 1)


class _Block(nn.Module):
    """Two layers of 3 × 3 beside a short cut."""

    def __init__(self, channels: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.first = _Layer(channels, channels, dilation=dilation)
        self.second = _Layer(channels, channels, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block."""
        changed: Tensor = self.second(self.first(features), beside=features)
        return changed


def normalise_locally(grey: Tensor) -> Tensor:
    """Grey values less their surroundings' mean, over their surroundings' deviation.

    What light does to a whole region, be it brighter, flatter or darker, is gone.  Once for narrow
    surroundings and once for wide ones: narrow ones follow the light's edges, wide ones keep what
    distinguishes places.

    Args:
        grey: ``(B, 1, H, W)`` in [0, 1].

    Returns:
        ``(B, 2, H, W)``.
    """
    rows, columns = grey.shape[2:]
    padded = functional.pad(
        grey, (0, -columns % _CELL_PX, 0, -rows % _CELL_PX), mode="replicate"
    ).float()
    small = functional.avg_pool2d(torch.cat([padded, padded.square()], dim=1), _CELL_PX)
    shown = []
    for cells in (_NARROW_CELLS, _WIDE_CELLS):
        enlarged = functional.interpolate(
            _box_mean(small, cells),
            scale_factor=float(_CELL_PX),
            mode="bilinear",
            align_corners=False,
        )
        mean, square = enlarged.chunk(2, dim=1)
        deviation = (square - mean.square()).clamp_min(0).add(_NOISE**2).sqrt()
        shown.append((padded - mean) / deviation)
    return torch.cat(shown, dim=1)[:, :, :rows, :columns]


def enlarge_twice(features: Tensor, size: tuple[int, int]) -> Tensor:
    """A map at half the stride, bilinearly; cell ``i`` becomes cell ``2 i`` exactly.

    Args:
        features: ``(B, C, H', W')``.
        size: (height, width) wanted, each ``2 H' - 1`` or ``2 H'``.
    """
    rows, columns = features.shape[2:]
    more = (0, size[1] - 2 * columns + 1, 0, size[0] - 2 * rows + 1)
    # Autocast would have the processor pad in float32, and go on in it up to the next convolution.
    with torch.autocast(features.device.type, enabled=False):
        between = functional.interpolate(
            features,
            size=(2 * rows - 1, 2 * columns - 1),
            mode="bilinear",
            align_corners=True,
        )
        return functional.pad(between, more, mode="replicate") if any(more) else between


def _box_mean(values: Tensor, cells: int) -> Tensor:
    """Mean over a square around each cell; beyond the border the map goes on as it ends."""
    reach = cells // 2
    beyond = functional.pad(values, (reach,) * 4, mode="replicate")
    across = functional.avg_pool2d(beyond, (1, cells), stride=1)
    return functional.avg_pool2d(across, (cells, 1), stride=1)
