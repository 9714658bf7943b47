"""Descriptors that are given the ground truth before they describe, for rows marked as such.

The original's MSNetV2 reads how much larger each image shows a place from the true homography, at
test time too.  Such a row shows what a perfect estimate of the scale would be worth, not what
a user gets: it is called an *oracle* wherever it appears.  It exists in evaluations alone,
where the truth is known; no registered descriptor does this, so no window and no match can.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.descriptors.base import DenseDescriptor, Levels
from engine.descriptors.compute import describe_image
from engine.errors import ConfigError
from engine.geometry.homography import local_scale
from engine.progress import JobContext
from engine.vocabulary import Precision

ScaleMap = NDArray[np.float32]


def check_oracle(name: str, descriptor: DenseDescriptor) -> None:
    """Refuse a descriptor that has no use for true scales.

    Raises:
        ConfigError: it is not MSNetV2.
    """
    from engine.descriptors.msnet import MSNetV2  # imported earlier, it would head the registry

    if not isinstance(descriptor, MSNetV2):
        raise ConfigError("descriptor", f"{name!r} has no use for true scales; only msnet_v2 has")


def true_scales(
    h_b_from_a: NDArray[Any], size_a_px: tuple[int, int], size_b_px: tuple[int, int]
) -> tuple[ScaleMap, ScaleMap]:
    """How much larger either image shows each of its pixels' places than the other does.

    Args:
        h_b_from_a: ``(3, 3)`` between the images as they are described.
        size_a_px: (width, height) of image a.
        size_b_px: (width, height) of image b.

    Returns:
        ``(H, W)`` of image a, and of image b; 1 where a place has no image in the other.
    """
    h_a_from_b = np.linalg.inv(h_b_from_a)
    return _scales(h_b_from_a, size_a_px), _scales(h_a_from_b, size_b_px)


def describe_knowing(
    descriptor: DenseDescriptor,
    pixels: tuple[NDArray[np.float32], NDArray[np.float32]],
    h_b_from_a: NDArray[Any],
    *,
    device: str,
    precision: Precision,
    context: JobContext | None = None,
) -> tuple[Levels, Levels]:
    """Describe both images of a pair, given their true scales.

    Args:
        descriptor: passed :func:`check_oracle`.
        pixels: both images, ``(H, W, 3)`` RGB in [0, 1].
        h_b_from_a: ``(3, 3)`` between them.
        device: torch device name or "auto".
        precision: arithmetic.
        context: see :func:`~engine.descriptors.compute.describe_image`.

    Raises:
        DeviceError, DescSpaceError, JobCancelled: as ``describe_image``.
    """
    from engine.descriptors.msnet import MSNetV2

    assert isinstance(descriptor, MSNetV2), "check_oracle refuses others"
    (height_a, width_a), (height_b, width_b) = (image.shape[:2] for image in pixels)
    scales = true_scales(h_b_from_a, (width_a, height_a), (width_b, height_b))
    levels_a, levels_b = (
        describe_image(
            MSNetV2(
                descriptor.network, descriptor.weights_path, scale=torch.from_numpy(scale)[None]
            ),
            image,
            device=device,
            precision=precision,
            context=context,
        )[0]
        for image, scale in zip(pixels, scales, strict=True)
    )
    return levels_a, levels_b


def _scales(h_other_from_this: NDArray[Any], size_px: tuple[int, int]) -> ScaleMap:
    width, height = size_px
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    growth = local_scale(h_other_from_this, np.stack([xs, ys], axis=-1))
    with np.errstate(divide="ignore"):
        scales = np.where(growth > 0, 1.0 / growth, np.nan)
    return np.nan_to_num(scales, nan=1.0, posinf=1.0).astype(np.float32)
