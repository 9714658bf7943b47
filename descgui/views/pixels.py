"""From numpy arrays to Qt pictures: photographs, colour pictures and scalar maps.

The numpy halves (:func:`prepare_display`, :func:`heat_indices`, :func:`value_range`) touch no Qt
and may run on any thread; the Qt halves return QImages that own their pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from engine import api
from engine.api import OCCLUDED, OUTSIDE

Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

DISPLAY_EDGE_PX: Final = 4096
"""Longest edge of a prepared display picture; deeper zoom reads the original pixels."""

# Eighteen colours at multiples of 15 of the 256 published ones, joined linearly: each channel is
# within 7 of 255 of the original map, which no eye can tell.
_STOPS: Final = {
    "viridis": (
        "440154 481769 472a7a 433d84 3d4e8a 355e8d 2e6d8e 297b8e 23898e "
        "1f978b 21a585 2eb37c 46c06f 65cb5e 89d548 b0dd2f d8e219 fde725"
    ),
    "cividis": (
        "00204d 002b67 00356e 28406c 3d4a6b 4d556c 5b606e 696b71 767676 "
        "848179 928d78 a19976 b1a573 c1b26d d1bf66 e2cd5c f3db4f ffea46"
    ),
    "magma": (
        "000004 090720 1a1042 311165 4a1079 621980 792282 912b81 aa337d "
        "c23b75 d9466b ec5860 f7725c fc8e64 feaa74 fec68a fde2a3 fcfdbf"
    ),
    "inferno": (
        "000004 0a0722 1e0c45 380962 510e6c 69166e 801f6c 982766 b0315b "
        "c63d4d d94d3d e9612b f47918 fa9407 fcb014 f8cd37 f2ea69 fcffa4"
    ),
    "turbo": (
        "30123b 3f3e9c 4666dd 458cfd 2fb2f4 1ad4d0 22ebaa 52fa7a 8bff4b "
        "b7f735 dbe236 f5c53a fea130 f9751d e84b0c ce2d04 a91601 7a0403"
    ),
}


def prepare_display(image: api.Image, *, long_edge_px: int = DISPLAY_EDGE_PX) -> NDArray[np.uint8]:
    """Make the 8-bit picture that is shown while zoomed out; pure numpy, for a worker thread.

    Args:
        image: as read from its file.
        long_edge_px: limit of the result's long edge.

    Returns:
        ``(H', W', 3)`` uint8 RGB over the same area as the image: the image itself, or the means
        of blocks of k × k pixels with the least k that respects the limit.
    """
    pixels = image.pixels
    factor = _block_edge(pixels, long_edge_px)
    if factor <= 1:
        return api.as_uint8(pixels)
    return api.as_uint8(block_means(pixels, factor))


def block_means(pixels: Pixels, factor: int) -> Pixels:
    """Means of blocks of ``factor`` × ``factor`` pixels; border blocks may be smaller.

    Args:
        pixels: ``(H, W, 3)`` uint8, uint16 or float32.
        factor: edge of a block.

    Returns:
        ``(ceil(H / factor), ceil(W / factor), 3)`` of the same type, whole numbers rounded.
    """
    height, width = pixels.shape[:2]
    tops = np.arange(0, height, factor)
    lefts = np.arange(0, width, factor)
    counts = np.diff(np.append(lefts, width)).astype(np.uint32)[:, None]
    result = np.empty((len(tops), len(lefts), pixels.shape[2]), pixels.dtype)
    # Row by row: a 100-megapixel photo must not be held a second time as 32-bit integers.
    for row, top in enumerate(tops):
        strip = pixels[top : top + factor]
        if pixels.dtype == np.float32:
            means = np.add.reduceat(strip.mean(axis=0, dtype=np.float64), lefts, axis=0) / counts
            result[row] = means
            continue
        sums = np.add.reduceat(strip.sum(axis=0, dtype=np.uint32), lefts, axis=0)
        area = counts * np.uint32(len(strip))
        result[row] = (sums + area // 2) // area
    return result


def _block_edge(pixels: Pixels, long_edge_px: int) -> int:
    height, width = pixels.shape[:2]
    return -(-max(int(height), int(width)) // long_edge_px)


def rgb_image(pixels: Pixels) -> QImage:
    """``(H, W, 3)`` RGB or ``(H, W)`` grey pixels, 8 bit, 16 bit or float, as an opaque QImage."""
    eight = np.ascontiguousarray(api.as_uint8(pixels))
    height, width = eight.shape[:2]
    if eight.ndim == 2:
        layout = QImage.Format.Format_Grayscale8
        view = QImage(eight.data, width, height, width, layout)
    else:
        layout = QImage.Format.Format_RGB888
        view = QImage(eight.data, width, height, 3 * width, layout)
    # The conversion owns its pixels, and 32 bit is what Qt's raster engine paints fastest.
    return view.convertToFormat(QImage.Format.Format_RGB32)


def muted_image(picture: QImage) -> QImage:
    """The same picture in dimmed grey, so that colours laid over it can be read off a scale."""
    grey = picture.convertToFormat(QImage.Format.Format_Grayscale8)
    height, width = grey.height(), grey.width()
    if height == 0 or width == 0:
        return picture
    rows = np.frombuffer(grey.constBits(), np.uint8).reshape(height, grey.bytesPerLine())
    ramp = np.round(np.linspace(10.0, 150.0, 256)).astype(np.uint8)
    muted = rgb_image(ramp[rows[:, :width]])
    muted.setDevicePixelRatio(picture.devicePixelRatio())
    return muted


def keyed_image(pixels: NDArray[np.uint8]) -> QImage:
    """``(H, W, 3)`` RGB in which pure black is transparent, as left outside a warped image."""
    height, width = pixels.shape[:2]
    rgba = np.empty((height, width, 4), np.uint8)
    rgba[..., :3] = pixels
    rgba[..., 3] = 255 * pixels.any(axis=2)
    view = QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return view.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)


@lru_cache(maxsize=8)
def color_stops(name: str) -> NDArray[np.uint8]:
    """``(255, 3)`` RGB of a colour map, from its low to its high end.

    Raises:
        KeyError: no map of that name; those of :data:`engine.api.COLORMAPS` are known.
    """
    stops = np.array([list(bytes.fromhex(stop)) for stop in _STOPS[name].split()], np.float64)
    places = np.linspace(0.0, 1.0, 255)
    knots = np.linspace(0.0, 1.0, len(stops))
    channels = [np.interp(places, knots, stops[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


@lru_cache(maxsize=64)
def color_table(name: str, alpha: int = 255) -> tuple[int, ...]:
    """The 256 colours (QRgb) of an indexed picture: entry 0 is clear, 1 to 255 run low to high."""
    rgb = color_stops(name).astype(np.uint32)
    colours = (np.uint32(alpha) << 24) | (rgb[:, 0] << 16) | (rgb[:, 1] << 8) | rgb[:, 2]
    return (0, *(int(colour) for colour in colours))


def heat_indices(values: NDArray[np.floating[Any]], low: float, high: float) -> NDArray[np.uint8]:
    """Turn a scalar map into indices of a :func:`color_table`; any thread.

    Args:
        values: ``(H, W)`` of any float type.
        low: value of the first colour, also of all that lies below.
        high: value of the last colour, also of all that lies above.

    Returns:
        ``(H, W)`` uint8: 0 where the value is NaN, else 1 to 255.  Where ``high`` is not above
        ``low``, values above ``low`` take the last colour and the others the first.
    """
    single = np.asarray(values, np.float32)
    if not high > low:
        steps = np.where(single > low, np.float32(255), np.float32(1))
    else:
        gain = 254.0 / (high - low)
        steps = single * np.float32(gain)
        steps += np.float32(1.5 - low * gain)
        np.clip(steps, 1.0, 255.0, out=steps)
    missing = np.isnan(single)
    if missing.any():
        steps[missing] = 0.0
    return steps.astype(np.uint8)


def error_image(
    errors_px: NDArray[np.floating[Any]],
    states: NDArray[np.uint8],
    low: float,
    high: float,
    name: str,
) -> QImage:
    """Errors on a logarithmic scale, and why there is none where there is none.

    Args:
        errors_px: ``(H, W)``, NaN where the true point is not seen.
        states: ``(H, W)`` values of :class:`engine.api.Visibility`; what is unknown is clear.
        low: error of the first colour, also of all smaller ones.
        high: error of the last colour, also of all larger ones.
        name: of the colour map.
    """
    with np.errstate(divide="ignore"):
        steps = heat_indices(np.log10(errors_px), math.log10(low), math.log10(high))
    hidden, gone = (np.uint32(int(f"FF{color.lstrip('#')}", 16)) for color in (OCCLUDED, OUTSIDE))
    colours = np.array(color_table(name), np.uint32)[steps]
    colours[states == api.Visibility.OCCLUDED] = hidden
    colours[states == api.Visibility.OUTSIDE] = gone
    height, width = colours.shape
    view = QImage(colours.data, width, height, 4 * width, QImage.Format.Format_ARGB32)
    return view.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)


def value_range(
    values: NDArray[np.floating[Any]], low_percent: float = 20.0, high_percent: float = 100.0
) -> tuple[float, float] | None:
    """(low, high) of a map: two of its percentiles on a subsample, the 100th exactly.

    By default, the least similar fifth, which says nothing, shares one colour, and a few odd border
    cells do not take half of the colours.  The maximum is exact, since it is what users look for.
    None where no value is finite.
    """
    high = float(np.fmax.reduce(values, axis=None)) if values.size else float("nan")
    step = max(1, int((values.size / 4096) ** 0.5))
    sample = values[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if not np.isfinite(high) or sample.size == 0:
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if finite.size else None
    place = int(low_percent / 100 * (sample.size - 1))
    if high_percent < 100.0:
        last = int(high_percent / 100 * (sample.size - 1))
        parted = np.partition(sample, (place, last))
        return float(parted[place]), float(parted[last])
    return min(float(np.partition(sample, place)[place]), high), high


def indexed_image(indices: NDArray[np.uint8], table: tuple[int, ...]) -> QImage:
    """A picture of :func:`heat_indices` in the colours of :func:`color_table`."""
    packed = np.ascontiguousarray(indices)
    height, width = packed.shape
    view = QImage(packed.data, width, height, width, QImage.Format.Format_Indexed8)
    view.setColorTable(table)
    # Converted once here: painting an indexed picture smoothly converts it far more slowly.
    return view.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
