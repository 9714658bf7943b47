"""All kinds of picture files but TIFF, by Pillow, and what Pillow reads wrongly in its stead."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import JpegImagePlugin
from PIL.ImageFile import ImageFile

from engine.imagefiles.samples import (
    FULL_8,
    FULL_16,
    Decoded,
    SampleError,
    Samples,
    over_white,
    turn_upright,
)
from engine.imagefiles.value_range import ValueRange

_ORIENTATION_TAG = 0x0112
_EXIF_LIMIT_BYTES = 1 << 20
_PNG_START: Final = 8
_PNG_UNUSED: Final = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
"""Chunks that say nothing about the pixels; Pillow unpacks them, and refuses large ones."""

_EIGHT_BIT: Final = frozenset(
    {*("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")}
)
_SRGB, _GREY = 16, 17

PLUG_INS: Final = {
    "HEIC": ("pillow-heif", "pillow_heif.as_plugin", "HeifImageFile"),
    "JPEG XL": ("pillow-jxl-plugin", "pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}
"""Kinds that a package of one's own adds to Pillow: its name, its module and its reader."""

_BUILT_IN: Final = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "JPEG 2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
}


class Source(Protocol):
    """An open picture file whose header has been read."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Upright (width, height)."""

    @property
    def sample_bytes(self) -> int:
        """Memory that a pixel takes while it is decoded."""

    def draft(self, long_edge_px: int) -> None:
        """Allow decoding at a smaller size that is still at least this long."""

    def decode(self) -> Decoded:
        """The samples, upright."""


class PillowSource:
    """A file that Pillow reads.

    Args:
        stream: the file.
        name: of the file.
        kind: as :func:`engine.imagefiles.kinds.recognise` calls it.
        allow_cut: show a JPEG that lacks its end, with a note, instead of refusing it.

    Raises:
        SampleError: the kind needs a package that is not installed.
    """

    def __init__(self, stream: BinaryIO, name: str, kind: str, *, allow_cut: bool = False) -> None:
        self._kind = kind
        self._name = name
        self._allow_cut = allow_cut
        self._exif: bytes | None = None
        if kind == "PNG":
            stream, self._exif = _bare_png(stream)
        self._stream = stream
        self._open = _opener(kind)
        self._picture = self._open(stream, name)

    @property
    def size_px(self) -> tuple[int, int]:
        """Upright (width, height)."""
        width, height = self._picture.size
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def sample_bytes(self) -> int:
        """Memory that a pixel takes while it is decoded."""
        return 3

    @property
    def orientation(self) -> int:
        """EXIF's orientation, 1 (upright) to 8; 1 where none or nonsense is given."""
        value: Any = 1
        block = self._exif if self._kind == "PNG" else self._picture.info.get("exif")
        # The plug-ins turn a picture themselves, except a JPEG inside JPEG XL.
        if block and (self._kind not in PLUG_INS or getattr(self._picture, "jpeg", False)):
            exif = PIL.Image.Exif()
            with contextlib.suppress(Exception):  # a broken EXIF block hides no picture
                exif.load(block)
                value = exif.get(_ORIENTATION_TAG, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    def draft(self, long_edge_px: int) -> None:
        """Decode a JPEG at a fraction of its size, which is some ten times faster."""
        self._picture.draft(None, (long_edge_px, long_edge_px))

    def decode(self) -> Decoded:
        """The samples, upright.

        Raises:
            SampleError: they are of a kind that is not read.
        """
        picture = self._picture
        decoder, _, offset, arguments = picture.tile[0] if picture.tile else ("", None, 0, ())
        words = (arguments,) if isinstance(arguments, str) else tuple(arguments or ())
        if self._kind == "PPM":
            maximum = _netpbm_maximum(self._stream, offset)
            if maximum > 255:
                plain = decoder == "ppm_plain"
                deep = _decode_netpbm_16(self._stream, picture.size, offset, maximum, plain=plain)
                # Stretched to all of 16 bit, except where 16 bit is only the container.
                return Decoded(deep, FULL_16 if maximum < 65535 else None)
        if self._kind == "JPEG 2000":
            deep_bits = _jpeg_2000_bits(self._stream)
            if deep_bits > 8:
                return self._decode_jpeg_2000(deep_bits)
        orientation, notes = self.orientation, self._load()
        cut_short = bool(notes)
        if self._kind == "PNG" and words and ";16" in str(words[0]):
            decoded = self._decode_png_16()
        elif self._picture.mode.startswith(("I;16", "F")):  # JPEG XL
            decoded = Decoded(np.array(self._picture))
        else:
            decoded = Decoded(self._decode_8(), FULL_8, notes=notes)
        return Decoded(
            turn_upright(decoded.values, orientation),
            decoded.stated,
            None if decoded.alpha is None else turn_upright(decoded.alpha, orientation),
            notes=decoded.notes,
            cut_short=cut_short,
        )

    def _load(self) -> tuple[str, ...]:
        """Decode; of a JPEG that lacks its end, what is there, as browsers do."""
        try:
            self._picture.load()  # refuses a cut file, where OpenCV would fill up with grey
        except OSError as error:
            if self._kind != "JPEG" or not self._allow_cut or error.errno is not None:
                raise
            self._stream.seek(0)
            ended = io.BytesIO(self._stream.read() + b"\xff\xd9")
            draft = self._picture.size
            self._picture = self._open(ended, self._name)
            if self._picture.size != draft:
                self._picture.draft(None, draft)
            self._picture.load()
            return ("is cut short: its last bytes are missing, and what they held is grey.",)
        return ()

    def _decode_png_16(self) -> Decoded:
        """A loaded PNG at its full 16 bit."""
        picture = self._picture
        clear = picture.info.get("transparency")
        if picture.mode.startswith("I;16"):
            grey = np.asarray(picture).astype(np.uint16)
            alpha = None
            if isinstance(clear, int):
                alpha = np.where(grey == clear, 0, 65535).astype(np.uint16)[..., None]
            return _sixteen(grey, alpha)
        import imagecodecs  # late, as for JPEG 2000

        # Pillow has no colour mode of 16 bit.  OpenCV does, but makes room for as many bytes as a
        # damaged file announces, up to 4 GB.
        self._stream.seek(0)
        decoded = np.asarray(imagecodecs.png_decode(self._stream.read()))
        if decoded.dtype != np.uint16 or decoded.ndim != 3:
            raise SampleError("holds 16-bit samples in a way that cannot be read")
        if decoded.shape[2] == 3:
            return _sixteen(decoded, None)
        colour, alpha = decoded[..., :-1], decoded[..., -1:]
        return _sixteen(colour[..., 0] if colour.shape[2] == 1 else colour, alpha)

    def _decode_8(self) -> NDArray[np.uint8]:
        """A loaded picture with samples of at most 8 bit."""
        picture = self._picture
        if picture.mode not in _EIGHT_BIT:
            raise SampleError(
                f"is a {self._kind} with samples of the kind {picture.mode!r}, which are not read"
            )
        if picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
            straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)
            rgba = np.asarray((picture.convert(straight) if straight else picture).convert("RGBA"))
            laid = over_white(rgba[..., :3], rgba[..., 3:], FULL_8)
            return np.asarray(laid, np.uint8)
        if picture.mode == "CMYK" and isinstance(picture, JpegImagePlugin.JpegImageFile):
            inks = np.asarray(picture)
            if "adobe" not in picture.info:  # Pillow inverts as if Adobe had written every one
                inks = 255 - inks
            return np.array(PIL.Image.fromarray(inks, "CMYK").convert("RGB"))
        return np.array(picture.convert("RGB"))

    def _decode_jpeg_2000(self, bits: int) -> Decoded:
        """JPEG 2000 of more than 8 bit, which Pillow would cut to 8 in colour."""
        import imagecodecs  # late: only few files need it

        self._stream.seek(0)
        data = self._stream.read()
        place = data.find(b"colr", 0, 4096)
        space = int.from_bytes(data[place + 7 : place + 11], "big") if place >= 0 else _SRGB
        values = np.asarray(imagecodecs.jpeg2k_decode(data))
        if data[place + 4 : place + 5] == b"\1" and space not in (_SRGB, _GREY):
            raise SampleError("is a JPEG 2000 with other colours than grey and RGB")
        if (
            values.dtype.kind != "u"
            or values.ndim not in (2, 3)
            or (values.ndim == 3 and values.shape[2] != 3)
        ):
            raise SampleError("is a JPEG 2000 of more than 8 bit that is neither grey nor RGB")
        return Decoded(values, ValueRange(0, 2**bits - 1), bits=bits)


class PfmSource:
    """PFM: floats, from the bottom row up (P. Debevec's format)."""

    def __init__(self, stream: BinaryIO) -> None:
        words: list[bytes] = []
        while len(words) < 4:
            line = stream.readline(256)
            if not line:
                raise ValueError("its header is incomplete")
            words += line.partition(b"#")[0].split()
        self._channels = 3 if words[0] == b"PF" else 1
        self._size_px = int(words[1]), int(words[2])
        self._order = "<" if float(words[3]) < 0 else ">"
        self._stream = stream

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self._size_px

    @property
    def sample_bytes(self) -> int:
        """Memory that a pixel takes while it is decoded."""
        return 4 * self._channels

    def draft(self, _long_edge_px: int) -> None:
        """Nothing is gained by decoding it smaller."""

    def decode(self) -> Decoded:
        """The samples, the top row first."""
        width, height = self._size_px
        count = width * height * self._channels
        values = np.frombuffer(self._stream.read(4 * count), f"{self._order}f4")
        if values.size < count:
            raise ValueError(f"{count - values.size} of {count} samples are missing")
        shape = (height, width) if self._channels == 1 else (height, width, 3)
        return Decoded(np.ascontiguousarray(values.reshape(shape)[::-1]).astype(np.float32))


def _sixteen(colour: Samples, alpha: Samples | None) -> Decoded:
    """16-bit samples; where some are transparent they surely fill their 16 bits."""
    see_through = alpha is not None and alpha.min() < 65535
    return Decoded(colour, FULL_16 if see_through else None, alpha)


def _opener(kind: str) -> Callable[[BinaryIO, str], ImageFile]:
    if kind in PLUG_INS:
        package, module, reader = PLUG_INS[kind]
        try:
            return getattr(importlib.import_module(module), reader)  # type: ignore[no-any-return]
        except ImportError as error:
            raise SampleError(
                f"is {kind}; the package {package} reads it: pip install {package}"
            ) from error
    module, reader = _BUILT_IN[kind]
    try:
        found = importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise SampleError(f"is {kind}, which this version of Pillow does not read") from error
    # Pillow's own Image.open would warn about or refuse large pictures at a limit of its own, and
    # without telling their size.
    return getattr(found, reader)  # type: ignore[no-any-return]


def _bare_png(stream: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """A PNG without profiles and texts, and its EXIF block, which may stand after the pixels."""
    kept: list[tuple[int, int]] = []
    exif, unused = None, False
    stream.seek(_PNG_START)
    while len(head := stream.read(8)) == 8:
        start, length = stream.tell() - 8, int.from_bytes(head[:4], "big")
        if head[4:] in _PNG_UNUSED:
            unused = True
        else:
            kept.append((start, start + length + 12))
        if head[4:] == b"eXIf" and length <= _EXIF_LIMIT_BYTES and exif is None:
            exif = stream.read(length)
        if head[4:] == b"IEND":
            break
        stream.seek(start + length + 12)
    stream.seek(0)
    if not unused:
        return stream, exif
    data = memoryview(stream.read())
    stream.seek(0)
    parts = [data[:_PNG_START], *(data[start:end] for start, end in kept)]
    return io.BytesIO(b"".join(parts)), exif


def _jpeg_2000_bits(stream: BinaryIO) -> int:
    """The most bits of a component, from the main header of the code stream; 8 if none is found."""
    stream.seek(0)
    head = stream.read(1 << 16)
    stream.seek(0)
    place = head.find(b"\xff\x4f\xff\x51")
    if place < 0:
        return 8
    count = int.from_bytes(head[place + 40 : place + 42], "big")
    sizes = head[place + 42 : place + 42 + 3 * count : 3]
    return max((1 + (size & 0x7F) for size in sizes), default=8)


def _netpbm_maximum(stream: BinaryIO, offset: int) -> int:
    """The greatest sample value a PPM or PGM may hold, from the header before ``offset``."""
    stream.seek(0)
    lines = stream.read(offset).splitlines()
    words = [word for line in lines for word in line.partition(b"#")[0].split()]
    return int(words[3]) if words[0] not in (b"P1", b"P4") else 1


def _decode_netpbm_16(
    stream: BinaryIO, size_px: tuple[int, int], offset: int, maximum: int, *, plain: bool
) -> NDArray[np.uint16]:
    """PPM or PGM of more than 8 bit, stretched to 0..65535, which both libraries get wrong."""
    width, height = size_px
    stream.seek(0)
    channels = 3 if stream.read(2) in (b"P3", b"P6") else 1
    count = width * height * channels
    stream.seek(offset)
    if plain:
        lines = (line.partition(b"#")[0] for line in stream)
        values = np.array([word for line in lines for word in line.split()][:count], np.uint32)
    else:
        values = np.frombuffer(stream.read(2 * count), ">u2").astype(np.uint32)
    if values.size < count:
        raise ValueError(f"{count - values.size} of {count} samples are missing")
    stretched = (np.minimum(values, maximum) * 65535 + maximum // 2) // maximum
    grey_or_rgb = stretched.astype(np.uint16).reshape(height, width, channels)
    return grey_or_rgb[..., 0] if channels == 1 else grey_or_rgb
