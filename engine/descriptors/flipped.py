"""Descriptors of an image and of its mirror image in one vector of the same length.

A network that nobody taught symmetry describes a mirrored image by other features, which are wrong
at other places.  Two places are as similar as they are on average in both, and that errs less
(multi-view testing is the idea's usual name: Krizhevsky and others, NeurIPS 2012).

Features of the two images depend on each other, so nearly all of both, side by side, lies within as
many directions as one of them has (.97 of the squared length, for descspace on photos).  Which ones
these are depends on the network and hardly on what it is shown, so noise tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.tensors import unit_length

DescribeGrey = Callable[[Tensor], Tensor]
"""``(B, 1, H, W)`` -> ``(B, D, h, w)`` of unit length; cell ``i`` lies on pixel ``stride i``."""

_NOISES: Final = 2
_NOISE_PX: Final = (181, 241)
_CONTRAST: Final = 0.2
_SEED: Final = 20


def find_directions(describe: DescribeGrey, *, stride_px: int) -> Tensor:
    """Along which directions most of both descriptors lies.

    Args:
        describe: as it is used afterwards.
        stride_px: of its maps.

    Returns:
        ``(2 D, D)`` columns at right angles and of unit length, on the CPU.
    """
    with torch.inference_mode():
        images = _noises()
        both = torch.cat([describe(images), _describe_flipped(describe, images, stride_px)], dim=1)
        samples = both.movedim(1, -1).flatten(0, -2).double().cpu()
        moments = samples.mT @ samples
        # What is left and what is right must not matter.
        moments += moments.roll((len(moments) // 2,) * 2, dims=(0, 1))
        directions: Tensor = torch.linalg.eigh(moments).eigenvectors[:, -(len(moments) // 2) :]
    return directions.float().clone()


def join_flipped(
    describe: DescribeGrey, grey: Tensor, made: Tensor, directions: Tensor, *, stride_px: int
) -> Tensor:
    """Descriptors of images and of their mirror images, in one.

    Args:
        describe: as for :func:`find_directions`.
        grey: ``(B, 1, H, W)``.
        made: ``(B, D, h, w)`` what ``describe`` makes of them.
        directions: what :func:`find_directions` found.
        stride_px: of the maps.

    Returns:
        ``(B, D, h, w)`` of unit length.
    """
    flipped = _describe_flipped(describe, grey, stride_px)
    both = torch.cat([made, flipped], dim=1).movedim(1, -1)  # channels lie together
    with torch.autocast(both.device.type, enabled=False):
        return unit_length(both @ directions.to(both), dim=-1).movedim(-1, 1)


def _describe_flipped(describe: DescribeGrey, grey: Tensor, stride_px: int) -> Tensor:
    """Mirrored images, described and mirrored back, with cells where they were."""
    rows, columns = (-(-edge // stride_px) for edge in grey.shape[2:])
    missing_px = (1 - grey.shape[3]) % stride_px  # the last column becomes the first cell's
    padded = functional.pad(grey, (0, missing_px, 0, 0), mode="replicate")
    return describe(padded.flip(3)).flip(3)[:, :, :rows, :columns]


def _noises() -> Tensor:
    """``(N, 1, H, W)`` grey images whose amplitudes fall with the frequency, as those of photos do.

    D. J. Field, "Relations between the statistics of natural images and the response properties of
    cortical cells", JOSA A, 1987.
    """
    rows, columns = _NOISE_PX
    generator = torch.Generator().manual_seed(_SEED)
    waves = torch.fft.rfft2(torch.randn(_NOISES, 1, rows, columns, generator=generator))
    down, right = torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(columns)
    noises = torch.fft.irfft2(waves / torch.hypot(down, right).clamp_min(1 / columns), s=_NOISE_PX)
    images: Tensor = 0.5 + _CONTRAST * noises / noises.std()
    return images.clamp(0, 1)
