"""TIFF, decided by the file's own tags: planes, sample format, bits, extra samples, photometry.

tifffile with imagecodecs reads the samples, whatever their layout; what they mean is decided here.
Only YCbCr is left to Pillow, whose libtiff defines how its subsampled colours are read.  What the
tags leave open is refused: a sentence is better than other pixels.
"""

from __future__ import annotations

import io
import logging
from typing import Any, BinaryIO, Final

import numpy as np
import PIL.Image
import tifffile
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from engine.imagefiles.samples import (
    FULL_8,
    FULL_16,
    UNIT,
    Decoded,
    SampleError,
    Samples,
    turn_upright,
)
from engine.imagefiles.value_range import ValueRange

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS: Final = {
    _WHITE_IS_ZERO: 1,
    _BLACK_IS_ZERO: 1,
    _RGB: 3,
    _PALETTE: 1,
    _INKS: 4,
    _YCBCR: 3,
}
"""How many samples a pixel's colour takes, by photometric interpretation."""

_RAW_PHOTOMETRY: Final = {32803: "a colour filter's", 34892: "linear raw"}
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT, _COREL = 0, 1, 2, 999
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_DNG_VERSION, _NODATA, _INK_SET, _SUBSAMPLING = 50706, 42113, 332, 530
_COEFFICIENTS, _REFERENCE = 529, 532
_REC_601: Final = (0.299, 0.587, 0.114)
_FULL_SWING: Final = (0, 255, 128, 255, 128, 255)
_MOST_SAMPLES: Final = 512


# What the library remarks on is for the log; without a handler it would stand in the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class TiffSource:
    """An open TIFF whose tags have been read: the first of its pages that is no preview.

    Args:
        stream: the file.
        name: for messages of the library.

    Raises:
        SampleError: it holds a camera's raw data, or nothing but previews.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._file = tifffile.TiffFile(stream, name=name)
        self._page = self._first_page()

    @property
    def size_px(self) -> tuple[int, int]:
        """Upright (width, height)."""
        width, height = int(self._page.imagewidth), int(self._page.imagelength)
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def orientation(self) -> int:
        """1 (upright) to 8; 1 where none or nonsense is given."""
        value = self._page.tags.valueof(274, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    @property
    def sample_bytes(self) -> int:
        """Memory that a pixel takes while it is decoded."""
        bits = self._page.bitspersample
        return int(self._page.samplesperpixel) * (1 if bits <= 8 else 8 * -(-int(bits) // 64) or 1)

    def draft(self, _long_edge_px: int) -> None:
        """Nothing is gained by decoding a TIFF smaller."""

    def decode(self) -> Decoded:
        """The samples, upright.

        Raises:
            SampleError: the tags leave open what they mean, or nothing here reads such ones.
        """
        page = self._page
        photometric = int(page.photometric)
        self._refuse_unknown(photometric)
        if photometric == _YCBCR:
            return Decoded(self._by_pillow(), FULL_8)
        self._refuse_cut()
        return self._interpret(self._bands(), photometric)

    # ---- what cannot be known

    def _first_page(self) -> Any:
        pages = self._file.pages
        first = _whole_page(pages[0])
        camera = _DNG_VERSION in first.tags or self._is_canon_raw()
        for page in map(_whole_page, pages):
            if camera or int(page.photometric or 0) in _RAW_PHOTOMETRY:
                raise SampleError("is a camera's raw file; develop it first, to TIFF, PNG or JPEG")
            if not page.is_reduced and not page.is_mask:
                return page
        raise SampleError(
            "holds only a preview, as cameras' raw files do; develop it first, to TIFF, PNG or JPEG"
        )

    def _is_canon_raw(self) -> bool:
        place = self._stream.tell()
        self._stream.seek(8)
        mark = self._stream.read(2)
        self._stream.seek(place)
        return mark == b"CR"

    def _refuse_unknown(self, photometric: int) -> None:
        page = self._page
        if 262 not in page.tags:  # the library would take the greatest value for black
            raise SampleError(
                "is a TIFF that does not say what its values mean (it lacks the tag "
                "PhotometricInterpretation); save it again"
            )
        if photometric not in _COLOURS:
            name = getattr(page.photometric, "name", str(page.photometric))
            raise SampleError(
                f"is a TIFF whose colours are {name}; grey, RGB, palettes, CMYK and YCbCr are read"
            )
        if page.imagedepth != 1 or page.tiledepth not in (None, 1):
            raise SampleError(
                f"is a TIFF volume of {page.imagedepth} slices; write out one of them"
            )
        formats = page.tags.valueof(339, (_UNSIGNED,))
        formats = set(formats) if isinstance(formats, tuple) else {formats}
        bits = page.bitspersample
        counts = set(bits) if isinstance(bits, tuple) else {bits}
        if len(formats) > 1 or len(counts) > 1:
            raise SampleError("is a TIFF whose samples have different types")
        known = {_UNSIGNED: 64, _SIGNED: 64, _FLOAT: 64}
        if not formats <= set(known) or page.dtype is None:
            raise SampleError(
                f"is a TIFF with {bits}-bit samples of format {formats.pop()} "
                "(complex or undefined); whole numbers and floats are read"
            )
        compression = int(page.compression)
        if photometric != _YCBCR and not (_knows(compression) and _unpredicts(int(page.predictor))):
            name = getattr(page.compression, "name", compression)
            raise SampleError(
                f"is a TIFF with the compression {name} (predictor {int(page.predictor)}), "
                "which is not read"
            )
        count, colours = int(page.samplesperpixel), _COLOURS[photometric]
        stated = len(page.extrasamples)
        unstated_alpha = photometric == _RGB and count == 4 and stated == 0
        if count > _MOST_SAMPLES or (count - stated != colours and not unstated_alpha):
            raise SampleError(
                f"is a TIFF with {count} samples a pixel and does not say what "
                f"{count - colours} of them are"
            )

    def _refuse_cut(self) -> None:
        """A strip or tile that ends behind the file's end would be read short."""
        self._stream.seek(0, io.SEEK_END)
        end = self._stream.tell()
        page = self._page
        if len(page.dataoffsets) != self._segments() or len(page.databytecounts) < self._segments():
            raise SampleError("is damaged or cut short (parts of its pixels are not in its index)")
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if offset + count > end:
                raise SampleError("is damaged or cut short (its pixels end behind the file's end)")

    def _segments(self) -> int:
        """How many strips or tiles there have to be."""
        page = self._page
        width, height = int(page.imagewidth), int(page.imagelength)
        if page.is_tiled:
            count = -(-width // int(page.tilewidth)) * -(-height // int(page.tilelength))
        else:
            count = -(-height // max(1, int(page.rowsperstrip)))
        return count * (int(page.samplesperpixel) if int(page.planarconfig) == 2 else 1)

    # ---- samples

    def _bands(self) -> Samples:
        """``(H, W, S)`` samples as stored, in this machine's byte order."""
        page = self._page
        values = np.asarray(page.asarray())
        axes = str(page.axes)
        if "S" in axes:
            values = np.moveaxis(values, axes.index("S"), -1)
        shape = (int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel))
        values = values.reshape(shape)
        if values.dtype == np.bool_:
            return values.astype(np.uint8)
        return np.asarray(values, values.dtype.newbyteorder("="))

    def _interpret(self, bands: Samples, photometric: int) -> Decoded:
        page, bits = self._page, int(self._page.bitspersample)
        floats = bands.dtype.kind == "f"
        colours = _COLOURS[photometric]
        colour, extra = bands[..., :colours], tuple(int(one) for one in page.extrasamples)
        if photometric == _RGB and bands.shape[2] == 4 and not extra:
            extra = (_STRAIGHT,)
        which = next((i for i, one in enumerate(extra) if one != _UNSPECIFIED), None)
        alpha = None if which is None else bands[..., colours + which, None]
        premultiplied = which is not None and extra[which] == _PREMULTIPLIED
        notes: tuple[str, ...] = ()
        if colours == 1 and photometric != _PALETTE and extra.count(_UNSPECIFIED) > 1:
            notes = (f"has {1 + len(extra)} bands; the first is shown, in grey.",)
        stated: ValueRange | None = None
        inverted = photometric == _WHITE_IS_ZERO
        if inverted and bands.dtype.kind == "i":
            raise SampleError("is a TIFF whose zero is white, but whose values may be negative")
        if photometric == _PALETTE:
            colour, stated = self._look_up(colour[..., 0], bits)
            alpha = None if alpha is None else _to_bits(alpha, bits, colour.dtype)
        elif photometric == _INKS:
            colour, stated = self._print(colour)
        elif bands.dtype == np.uint8:
            colour, stated = _to_bits(colour, bits, np.dtype(np.uint8)), FULL_8
            alpha = None if alpha is None else _to_bits(alpha, bits, np.dtype(np.uint8))
        elif not floats and bits not in (8, 16, 32, 64) and bands.dtype.kind == "u":
            stated = ValueRange(0, 2**bits - 1)
        if inverted and bands.dtype in (np.uint32, np.uint64):
            # Their range is judged by the values, which may use any part of the type.
            colour, inverted = np.iinfo(bands.dtype).max - colour, False
        orientation = self.orientation
        grey = colour.ndim == 3 and colour.shape[2] == 1
        return Decoded(
            turn_upright(colour[..., 0] if grey else colour, orientation),
            stated,
            None if alpha is None else turn_upright(alpha, orientation),
            premultiplied=premultiplied,
            white_is_zero=inverted,
            nodata=self._nodata(),
            bits=bits if stated is not None and bits > 8 else 0,
            notes=notes,
        )

    def _look_up(self, index: Samples, bits: int) -> tuple[Samples, ValueRange]:
        table = self._page.colormap
        if index.dtype.kind != "u" or table is None or table.shape != (3, 2**bits):
            raise SampleError("is a TIFF with a palette that does not fit its samples")
        entries = table.T.astype(np.uint16)
        if bits > 8:
            return entries[index], FULL_16
        # Some programs wrote 8-bit entries where 16-bit ones belong; libtiff looks for that, too.
        eight = entries if entries.max() < 256 else entries >> 8
        return eight.astype(np.uint8)[index], FULL_8

    def _print(self, inks: Samples) -> tuple[Samples, ValueRange]:
        if self._page.tags.valueof(_INK_SET, 1) != 1:
            raise SampleError("is a TIFF with inks other than CMYK")
        if inks.dtype == np.uint8 and int(self._page.bitspersample) == 8:
            paper = PIL.Image.fromarray(np.ascontiguousarray(inks), "CMYK").convert("RGB")
            return np.array(paper), FULL_8
        if inks.dtype == np.uint16 and int(self._page.bitspersample) == 16:
            light = 65535 - inks.astype(np.uint64)
            mixed = (light[..., :3] * light[..., 3:] + 32767) // 65535
            return mixed.astype(np.uint16), FULL_16
        if (
            inks.dtype.kind == "f"
            and np.isfinite(inks).all()
            and inks.min() >= 0
            and (inks.max() <= 1)
        ):
            return (1 - inks[..., :3]) * (1 - inks[..., 3:]), UNIT
        raise SampleError("is a CMYK TIFF; inks are read in 8 and 16 bit, and as floats in 0 to 1")

    def _nodata(self) -> float | None:
        text = self._page.tags.valueof(_NODATA)
        try:
            return None if text is None else float(str(text).strip("\0 "))
        except ValueError:
            return None

    def _by_pillow(self) -> NDArray[np.uint8]:
        """YCbCr as RGB, upright."""
        page = self._page
        bits, format_ = page.bitspersample, page.tags.valueof(339, (_UNSIGNED,))
        plain = set(format_ if isinstance(format_, tuple) else (format_,)) == {_UNSIGNED}
        if bits != 8 or not plain or int(page.samplesperpixel) != 3:
            raise SampleError(
                "is a YCbCr TIFF; only unsigned 8-bit ones without extra samples are read"
            )
        compression = int(page.compression)
        if int(page.planarconfig) != 1 and compression in (1, 6, 7):
            raise SampleError("is a YCbCr TIFF with separate planes, which are not read")
        subsampling = tuple(page.tags.valueof(_SUBSAMPLING, (2, 2)))
        if compression == 1 and subsampling != (1, 1):
            raise SampleError("is an uncompressed YCbCr TIFF with subsampled colours")
        for tag, usual in ((_COEFFICIENTS, _REC_601), (_REFERENCE, _FULL_SWING)):
            stored = page.tags.valueof(tag)
            if stored is not None and not np.allclose(_numbers(stored), usual, atol=1e-3):
                raise SampleError("is a YCbCr TIFF with other coefficients than the usual ones")
        if page.index != 0:
            raise SampleError("is a YCbCr TIFF whose first page is a preview")
        self._stream.seek(0)
        picture = TiffImagePlugin.TiffImageFile(self._stream)
        picture.load()  # refuses a cut file, and turns it upright
        return np.array(picture.convert("RGB"))


def _whole_page(page: Any) -> Any:
    """A page with all of its tags."""
    return page.aspage()


def _knows(compression: int) -> bool:
    """Whether tifffile decompresses it; JPEG and no compression are in none of its tables."""
    try:
        return compression in (1, 7) or bool(tifffile.TIFF.DECOMPRESSORS[compression])
    except KeyError:
        return False


def _unpredicts(predictor: int) -> bool:
    try:
        return predictor == 1 or bool(tifffile.TIFF.UNPREDICTORS[predictor])
    except KeyError:
        return False


def _to_bits(values: Samples, bits: int, dtype: np.dtype[Any]) -> Samples:
    """Samples of fewer bits, stretched to the whole of a type; others as they are."""
    top, full = 2**bits - 1, int(np.iinfo(dtype).max)
    if top == full:
        return np.asarray(values, dtype)
    return np.asarray((values.astype(np.uint32) * full + top // 2) // top, dtype)


def _numbers(stored: Any) -> list[float]:
    """Numbers of a tag; tifffile gives rationals as numerator and denominator in turn."""
    flat = [float(number) for number in np.ravel(stored)]
    if len(flat) in (6, 12) and len(flat) % 2 == 0:
        return [flat[i] / (flat[i + 1] or 1.0) for i in range(0, len(flat), 2)]
    return flat
