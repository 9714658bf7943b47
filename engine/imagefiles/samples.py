"""Decoded samples of any type, and the one rule that says which of them are black and white.

The rule, where a file does not state its range and none is given
(:doc:`ADR 10 </docs/adr/0010-one-range-for-eyes-and-descriptors>`):

* 8 bit: 0 to 255.
* Whole numbers from 0 upwards, also if they are stored as floats: the least usual number of bits
  that holds the largest of them (1, 8, 10, 12, 14, 16): 0 to 4095 for data of 12 bit.
* Signed 8 bit with negative values: -128 to 127.
* Floats within 0 to 1: 0 to 1.
* Everything else: the 0.1th to the 99.9th percentile of what is finite, rounded outwards to a
  thousandth, and what lies beyond is clipped; if these are equal, the least to the greatest value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from engine.imagefiles.value_range import ValueRange

Samples = NDArray[Any]
Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

FULL_8: Final = ValueRange(0, 255)
FULL_16: Final = ValueRange(0, 65535)
UNIT: Final = ValueRange(0, 1)

PERCENTILES: Final = (0.1, 99.9)
_USUAL_BITS: Final = (1, 8, 10, 12, 14, 16)
_LOOKED_AT: Final = 4_000_000


class SampleError(ValueError):
    """Samples that cannot be shown; the text follows a file's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What a file holds, upright, before its range is known.

    Attributes:
        values: ``(H, W)`` grey or ``(H, W, 3)`` RGB, as they are stored.
        stated: the range that the file states; None where its values decide.
        alpha: ``(H, W, 1)`` opacity in the values' unit; None where all is opaque.
        premultiplied: the colours are multiplied by the opacity already.
        white_is_zero: the least value is white.
        nodata: the value of pixels that hold none.
        bits: how many of a sample are used, where the file states it; 0 where it does not.
        notes: what is said of the file behind its name, such as "is cut short."
        cut_short: the file lacks its end, and a part of the picture is made up.
    """

    values: Samples
    stated: ValueRange | None = None
    alpha: Samples | None = None
    premultiplied: bool = False
    white_is_zero: bool = False
    nodata: float | None = None
    bits: int = 0
    notes: tuple[str, ...] = ()
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The range of a file's samples.

    Attributes:
        range: which of them are black and white.
        kind: what they are, such as ``12-bit in 16-bit``.
        how: how the range was found where that is not plain; "" elsewhere.
    """

    range: ValueRange
    kind: str
    how: str = ""


def settle(decoded: Decoded) -> tuple[Samples, Judged, tuple[str, ...]]:
    """What a file holds once its range is known: samples as they are kept, and what is said of it.

    Returns:
        The samples ``(H, W, 3)``, opaque and black to white upwards; their range by the rule above;
        and the notes.

    Raises:
        SampleError: no value is finite, or the opacity is no opacity.
    """
    alpha = decoded.alpha
    if alpha is not None and alpha.dtype.kind == "u" and alpha.min() == np.iinfo(alpha.dtype).max:
        # All is opaque: it says nothing about the colours, which may use fewer bits.
        decoded = replace(decoded, alpha=None)
    judged = _judge(decoded)
    samples, notes = _finish(decoded, judged)
    return samples, judged, notes


def _judge(decoded: Decoded) -> Judged:
    """The range in which a file is shown and described, by the rule above.

    Raises:
        SampleError: no value is finite.
    """
    values, stated = decoded.values, decoded.stated
    if stated is not None:
        bits = decoded.bits or 8 * values.dtype.itemsize
        return Judged(stated, f"{values.dtype}" if values.dtype.kind == "f" else f"{bits}-bit")
    kind = values.dtype.kind
    low, high, finite = _extremes(values, decoded.nodata)
    if decoded.alpha is not None and kind in "iu":
        high = max(high, float(decoded.alpha.max()))
    name = _TYPES.get(str(values.dtype), str(values.dtype))
    if values.dtype == np.int8:
        return Judged(ValueRange(-128, 127) if low < 0 else ValueRange(0, 127), name)
    if low >= 0 and (kind in "iu" or (high > 1 and _whole(finite))):
        top = 64 if kind == "f" else top_bits(values.dtype)
        usual = [bits for bits in (*_USUAL_BITS, top) if bits <= min(top, 16)]
        for bits in sorted(set(usual)):
            if high < 2**bits:
                if high == 0:
                    bits = usual[-1]
                return Judged(ValueRange(0, 2**bits - 1), _kind_of(bits, name, kind))
    if decoded.alpha is not None and kind == "u":  # opacity has no other full value than the type's
        return Judged(ValueRange(0, 2 ** top_bits(values.dtype) - 1), name)
    if kind == "f" and low >= 0 and high <= 1:
        return Judged(UNIT, name)
    ends = np.percentile(finite.astype(np.float64), PERCENTILES)
    if ends[0] < ends[1]:
        words = f"the middle {PERCENTILES[1] - PERCENTILES[0]:g} %"
        return Judged(_rounded(*ends.tolist()), name, words)
    if low < high:
        return Judged(ValueRange(low, high), name)
    return Judged(ValueRange(low, low + max(1.0, abs(low))), name)


_TYPES: Final = {
    "uint16": "16-bit",
    "uint32": "32-bit",
    "uint64": "64-bit",
    "int8": "signed 8-bit",
    "int16": "signed 16-bit",
    "int32": "signed 32-bit",
    "int64": "signed 64-bit",
    "float16": "16-bit float",
    "float32": "32-bit float",
    "float64": "64-bit float",
}


def top_bits(dtype: np.dtype[Any]) -> int:
    """How many bits the largest value of a type of whole numbers has."""
    return int(np.iinfo(dtype).max).bit_length()


def _finish(decoded: Decoded, judged: Judged) -> tuple[Samples, tuple[str, ...]]:
    """The samples as they are kept: ``(H, W, 3)``, black to white upwards, opaque.

    Transparent pixels are laid over white.  What is not a number, or has no data, becomes black.

    Returns:
        The samples, and a sentence for what had to be replaced.

    Raises:
        SampleError: the opacity is no opacity.
    """
    values, full, notes = decoded.values, judged.range, decoded.notes
    if values.dtype.kind == "f":
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        empty = ~np.isfinite(values)
        missing = np.isnan(values)
        if decoded.nodata is not None:
            missing |= values == decoded.nodata
        if empty.any() or missing.any():
            notes = (*notes, _say_missing(empty | missing, values.ndim))
            black, white = _beyond(values.dtype, full)
            if decoded.white_is_zero:
                black, white = white, black
            values = np.nan_to_num(values, nan=black, posinf=white, neginf=black)
            values[missing] = black
    elif decoded.nodata is not None and (missing := values == decoded.nodata).any():
        notes = (*notes, _say_missing(missing, values.ndim))
        values = np.where(missing, _as(values.dtype, full.black), values)
    if decoded.white_is_zero:
        values = _invert(values, full)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    if decoded.alpha is not None:
        values = over_white(values, decoded.alpha, full, premultiplied=decoded.premultiplied)
    return np.ascontiguousarray(values), notes


def full_range(pixels: Pixels) -> ValueRange:
    """The whole range of pixels of this type."""
    return {"uint8": FULL_8, "uint16": FULL_16}.get(str(pixels.dtype), UNIT)


def stretch(samples: Samples, shown: ValueRange) -> Pixels:
    """Samples as pixels: 8 bit, 16 bit, or float in [0, 1]; black and below is 0, white is the top.

    The same array if it is in its full range already, whole numbers in 16 bit, rounded, as long as
    their range has no more steps, and everything else as float.
    """
    if samples.dtype == np.uint8 and shown == FULL_8:
        return samples.astype(np.uint8, copy=False)
    if samples.dtype == np.uint16 and shown == FULL_16:
        return samples.astype(np.uint16, copy=False)
    span = shown.white - shown.black
    if samples.dtype.kind in "iu" and span <= 65535:
        if samples.dtype.itemsize <= 2:  # by a table: a fraction of the time
            info = np.iinfo(samples.dtype)
            table = _to_16(np.arange(info.min, info.max + 1), shown)
            index = samples.view(f"u{samples.dtype.itemsize}")
            return np.asarray(np.roll(table, int(info.min))[index], np.uint16)
        return _to_16(samples, shown)
    result = np.empty(samples.shape, np.float32)
    for row in range(0, len(samples), 64):  # in parts: float64 would take four times the memory
        part = (samples[row : row + 64].astype(np.float64) - shown.black) / span
        result[row : row + 64] = np.clip(part, 0, 1)
    return result


def as_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels in 8 bit: others rounded to the nearest level, 8-bit ones as they are."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)  # 65535 = 257 * 255
    return np.asarray(np.rint(pixels * np.float32(255)), np.uint8)


def as_unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """A copy of pixels as float in [0, 1]."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    if pixels.dtype == np.uint16:
        return pixels.astype(np.float32) / np.float32(65535)
    return pixels.astype(np.float32)


def over_white(
    colour: Samples, alpha: Samples, full: ValueRange, *, premultiplied: bool = False
) -> Samples:
    """Lay ``(H, W, 3)`` colours with ``(H, W, 1)`` opacity over white, rounded where whole.

    Raises:
        SampleError: the opacity of floats leaves 0 to 1.
    """
    dtype = colour.dtype
    if dtype.kind == "f":
        if not (alpha.min() >= 0 and alpha.max() <= 1):
            raise SampleError("has an opacity (alpha) outside 0 to 1")
        through = 1 - alpha.astype(np.float64)
        inked = colour if premultiplied else colour * (1 - through)
        return np.asarray(inked + full.white * through, dtype)
    top = int(full.white)
    if full.black != 0 or alpha.min() < 0:
        raise SampleError("has an opacity (alpha) beside negative values")
    if (alpha >= top).all():
        return np.ascontiguousarray(colour)
    opaque = np.minimum(alpha, top).astype(np.uint64)
    clear = top - opaque
    if premultiplied:
        if dtype == np.uint8:
            return over_white(*_unmultiply(colour, alpha), full)
        return np.asarray(np.minimum(colour + clear, top), dtype)
    mixed = (colour * opaque + top * clear + top // 2) // top
    return mixed.astype(dtype)


def turn_upright(values: Samples, orientation: int) -> Samples:
    """Undo an EXIF orientation; 2, 4, 5 and 7 are mirrored, 5 to 8 lie on their side."""
    upright: Any = values.swapaxes(0, 1) if orientation >= 5 else values
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return np.ascontiguousarray(upright)


def _unmultiply(colour: Samples, alpha: Samples) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """8-bit colours as they were before they were multiplied by their opacity, by Pillow."""
    both = PIL.Image.fromarray(np.concatenate([colour, alpha], axis=2), "RGBa").convert("RGBA")
    straight = np.asarray(both)
    return straight[..., :3], straight[..., 3:]


def _to_16(values: Samples, shown: ValueRange) -> NDArray[np.uint16]:
    share = (values.astype(np.float64) - shown.black) / (shown.white - shown.black)
    return np.floor(np.clip(share, 0, 1) * 65535 + 0.5).astype(np.uint16)


def _extremes(values: Samples, nodata: float | None) -> tuple[float, float, Samples]:
    """The least and the greatest value that counts, and a part of those that count."""
    flat = values.reshape(-1)
    if values.dtype.kind != "f" and nodata is None:
        some = flat[:: max(1, flat.size // _LOOKED_AT)]
        return float(flat.min()), float(flat.max()), some
    counts = np.isfinite(flat)
    if nodata is not None:
        counts &= flat != nodata
    finite = flat[counts]
    if not finite.size:
        raise SampleError("holds no finite number, only NaN, infinities or pixels without data")
    some = finite[:: max(1, finite.size // _LOOKED_AT)]
    return float(finite.min()), float(finite.max()), some


def _rounded(black: float, white: float) -> ValueRange:
    """A range that holds another one, of numbers that can be read: four digits of its span."""
    digits = 3 - math.floor(math.log10(white - black))
    step = 10.0**-digits
    low, high = math.floor(black / step), math.ceil(white / step)
    return ValueRange(round(low * step, max(digits, 0)), round(high * step, max(digits, 0)))


def _whole(values: Samples) -> bool:
    return bool((values == np.floor(values)).all())


def _kind_of(bits: int, name: str, kind: str) -> str:
    return f"{bits}-bit in {name}" if name != f"{bits}-bit" or kind == "f" else name


def _say_missing(missing: NDArray[np.bool_], ndim: int) -> str:
    pixels = missing if ndim == 2 else missing.any(axis=2)
    count = int(pixels.sum())
    share = 100 * count / pixels.size
    return (
        f"holds no finite number or no data in {count:,} of its pixels ({share:.2g} %); "
        "they are black, or white where they are plus infinity."
    )


def _invert(values: Samples, full: ValueRange) -> Samples:
    if values.dtype.kind == "f":
        return np.asarray((full.black + full.white) - values, values.dtype)
    total = round(full.black + full.white)
    if values.dtype.kind == "u":
        return np.asarray(np.maximum(total - values.astype(np.int64), 0), values.dtype)
    return total - values.astype(np.int64)


def _beyond(dtype: np.dtype[Any], full: ValueRange) -> tuple[float, float]:
    """Floats of a type that are surely black and white, although it rounds the range's ends."""
    black, white = dtype.type(full.black), dtype.type(full.white)
    if float(black) > full.black:
        black = np.nextafter(black, dtype.type(-np.inf))
    if float(white) < full.white:
        white = np.nextafter(white, dtype.type(np.inf))
    return float(black), float(white)


def _as(dtype: np.dtype[Any], value: float) -> Any:
    info = np.iinfo(dtype)
    return dtype.type(min(max(round(value), info.min), info.max))
