"""Where an image has texture: without any, similarity says nothing about places.

Near an image's border, descriptors of a blank wall tell how far away the border is, so two blank
walls match well.  Such queries are marked, by the contrast of the image that was described.

Nothing here imports torch.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_CONTRAST: Final = 0.008
"""Less than this is no texture: two shades of 255.  docs/PROTOCOLS.md has what was measured."""

_SMOOTH_PX: Final = 9
_WINDOW_PX: Final = 25


def local_contrast(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much an image varies around each pixel.

    The root mean square, over 25 × 25 pixels, of the mean of 9 × 9 less the mean of 25 × 25: white
    noise is averaged down to a ninth, and even slopes cancel.  Closer than 12 px to the border the
    nearest window counts that does not need what lies outside the image.

    Args:
        pixels: ``(H, W, 3)`` float32 RGB in [0, 1], as the descriptor sees it.

    Returns:
        ``(H, W)`` float32 in the unit of the luminance.
    """
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)
    detail = np.asarray(_mean(grey, _SMOOTH_PX) - _mean(grey, _WINDOW_PX))
    # Mirrored at the border a slope would have a ridge there, and noise count twice.
    reach_px = min(_WINDOW_PX // 2, (min(grey.shape) - 1) // 2)
    known = detail[reach_px : len(detail) - reach_px, reach_px : detail.shape[1] - reach_px]
    contrast = np.sqrt(_mean(known * known, _WINDOW_PX).clip(0))
    return np.pad(contrast, reach_px, mode="edge")


def find_texture(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``(H, W)`` True where an image ``(H, W, 3)`` has texture, see :func:`local_contrast`."""
    textured: NDArray[np.bool_] = local_contrast(pixels) >= LEAST_CONTRAST
    return textured


def texture_at(texture: NDArray[np.bool_], points_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """``(N,)`` the texture ``(H, W)`` of an image at points ``(N, 2)``, or nearest to them."""
    height, width = texture.shape
    columns, rows = np.rint(points_px).astype(np.intp).T
    found: NDArray[np.bool_] = texture[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return found


def _mean(values: NDArray[np.float32], edge_px: int) -> NDArray[np.float32]:
    return np.asarray(
        cv2.blur(values, (edge_px, edge_px), borderType=cv2.BORDER_REFLECT_101), np.float32
    )
