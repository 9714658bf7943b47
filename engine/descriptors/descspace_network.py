"""The network of descspace: one descriptor a cell, of an upright image at one scale.

Whatever turns or shrinks things is left to the *set* (see :mod:`engine.descriptors.descspace`): the
network sees many scales and turns of the image instead of learning to ignore them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors.resnet import ResidualBlock
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
    """

    stride_px = 4
    offset_px = 0.0
    dim = 128
    shift_period_px = 16
    reach_px = 156  # most of it by the wide surroundings of the local normalisation

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_layer(2, 32, kernel=5, stride=2), *_layer(32, 64, stride=2))
        self.stage4 = nn.Sequential(ResidualBlock(64, 64), ResidualBlock(64, 64))
        self.shrink8 = nn.Sequential(*_layer(64, 96, stride=2))
        self.stage8 = nn.Sequential(ResidualBlock(96, 96), ResidualBlock(96, 96))
        self.shrink16 = nn.Sequential(*_layer(96, 128, stride=2))
        self.stage16 = nn.Sequential(ResidualBlock(128, 128))
        self.to_stage8 = nn.Conv2d(128, 96, kernel_size=1)
        self.join8 = nn.Sequential(*_layer(96, 96))
        self.to_stage4 = nn.Conv2d(96, 64, kernel_size=1)
        self.join4 = nn.Sequential(*_layer(64, 128))
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


def _layer(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _box_mean(values: Tensor, cells: int) -> Tensor:
    """Mean over a square around each cell, of what lies inside the map."""
    reach = cells // 2
    across = functional.avg_pool2d(
        values, (1, cells), stride=1, padding=(0, reach), count_include_pad=False
    )
    return functional.avg_pool2d(
        across, (cells, 1), stride=1, padding=(reach, 0), count_include_pad=False
    )
