"""Small tensor functions that several descriptors share."""

from __future__ import annotations

from torch import Tensor

# ITU-R BT.601, as in OpenCV's and Pillow's grey conversions, which published weights saw.
_LUMINANCE = (0.299, 0.587, 0.114)


def to_luminance(images: Tensor) -> Tensor:
    """Grey values ``(B, H, W)`` of RGB images ``(B, 3, H, W)``."""
    red, green, blue = images.unbind(1)
    return _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue


def unit_length(values: Tensor, *, dim: int = 1, smallest: float = 1e-12) -> Tensor:
    """Float32 vectors along ``dim`` brought to length 1; ones below ``smallest`` become zero.

    Differentiable everywhere: a zero vector has a zero gradient.
    """
    # Across channels, torch's vector_norm takes ten times as long.
    squared = values.square().sum(dim=dim, keepdim=True)
    least = smallest**2
    return values * ((squared >= least) * squared.clamp_min(least).rsqrt())
