"""Picture files in and out, and resizing with its exact point transform.

A picture is read as a person sees it: upright (EXIF orientation applied), RGB, and at the depth of
the file: 8 bit stays 8 bit, 16 bit stays 16 bit.  What has no single true answer is settled here:

* Transparent pixels are laid over white, as on a page.  Dropping the alpha channel would let the
  invisible colours below it show, and descriptors would see what is invisible otherwise.
* Colour profiles are ignored, as OpenCV and every training set do; CMYK becomes RGB by the plain
  formula.  Adobe's inverted CMYK is recognised by Adobe's marker.
* Of a file with several pages or frames the first one is read.

Nothing here imports torch, so that the window can show a picture before torch is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import math
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from engine.errors import ImageError, OutputError
from engine.files import write_atomically
from engine.geometry.coords import Resize

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
"""Endings, in lower case, of the files :func:`read_image` is meant for."""

MAX_PIXELS: Final = 150_000_000
"""Larger pictures are refused before they are decoded: 450 MB in 8 bit."""

MIN_EDGE_PX: Final = 16
"""No descriptor describes an image with a shorter edge."""

_KNOWN = "PNG, JPEG, WebP, TIFF, BMP, PPM and PGM"
_ORIENTATION_TAG = 0x0112
_EXIF_LIMIT_BYTES = 1 << 20
_JPEG_QUALITY = 95

_Opener = Callable[[BinaryIO, str], ImageFile]
_OPENERS: Final[tuple[tuple[bytes, _Opener], ...]] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    *((b"P%d" % kind, PpmImagePlugin.PpmImageFile) for kind in range(1, 7)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture as it was read.

    Attributes:
        path: its file.
        pixels: ``(H, W, 3)`` RGB, upright; uint8 in 0..255 or uint16 in 0..65535.
    """

    path: Path
    pixels: Pixels

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def as_float(self) -> NDArray[np.float32]:
        """A copy ``(H, W, 3)`` with values in [0, 1]."""
        return _to_unit(self.pixels)

    def as_uint8(self) -> NDArray[np.uint8]:
        """``(H, W, 3)`` in 8 bit, rounded, for the screen; the same array if it is 8 bit."""
        return as_uint8(self.pixels)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture: PNG, JPEG, WebP, TIFF, BMP, PPM, PGM; known by content, not by ending.

    Args:
        path: the file; any characters.
        max_pixels: a larger picture is refused after reading its header alone.

    Raises:
        ImageError: missing, a folder, not permitted, empty, not a picture, damaged or cut short,
            too large, or of samples that are neither 8 nor 16 bit.
    """
    with _opened(path, max_pixels=max_pixels) as source:
        return Image(Path(path), source.decode())


def read_size(path: Path) -> tuple[int, int]:
    """The upright (width, height) of a picture, from its header alone.

    Raises:
        ImageError: as :func:`read_image`, as far as the header shows it.
    """
    with _opened(path, max_pixels=None) as source:
        return source.size_px


def read_thumbnail(path: Path, *, long_edge_px: int) -> NDArray[np.uint8]:
    """A small upright copy ``(h, w, 3)`` RGB for a list of pictures; never enlarged.

    A JPEG is decoded at a fraction of its size, which makes large photos some ten times faster.

    Raises:
        ImageError: as :func:`read_image`.
    """
    with _opened(path, max_pixels=MAX_PIXELS) as source:
        width, height = source.size_px
        source.picture.draft(None, (long_edge_px, long_edge_px))
        pixels = as_uint8(source.decode())
    scale = min(1.0, long_edge_px / max(width, height))
    size_px = (max(1, _round(width * scale)), max(1, _round(height * scale)))
    if size_px == (pixels.shape[1], pixels.shape[0]):
        return pixels
    small = PIL.Image.fromarray(pixels).resize(size_px, PIL.Image.Resampling.BOX)
    return np.asarray(small, np.uint8)


def write_image(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write ``(H, W, 3)`` RGB as PNG or JPEG, by the ending; never leaves a half-written file.

    Raises:
        OutputError: another ending, or the file cannot be written.
    """
    import cv2  # late: it takes 0.2 s to load, and the window paints first

    suffix = path.suffix.lower()
    if suffix == ".png":
        settings: list[int] = []
    elif suffix in (".jpg", ".jpeg"):
        settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    else:
        raise OutputError(path, "pictures are written as .png, .jpg or .jpeg")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise OutputError(path, f"{rgb.dtype} values of shape {rgb.shape} are not a picture")
    try:
        done, encoded = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]), settings)
    except cv2.error as error:
        raise OutputError(path, f"cannot be encoded ({error.err})") from error
    if not done:
        raise OutputError(path, "cannot be encoded")
    write_atomically(path, encoded.tobytes())


def fit_long_edge(image_size_px: tuple[int, int], long_edge_px: int) -> Resize:
    """The resize that brings an image's long edge down to a limit.

    Sides are rounded to the nearest pixel, halves upwards.  An image is never enlarged, with one
    exception: a side below :data:`MIN_EDGE_PX` is raised to it (the other side stays), so that a
    narrow strip or a tiny picture can be described; the transform stays exact.

    Args:
        image_size_px: (width, height).
        long_edge_px: the limit; 0 keeps the size.
    """
    width, height = image_size_px
    scale = min(1.0, long_edge_px / max(width, height)) if long_edge_px else 1.0
    to_size_px = (
        max(MIN_EDGE_PX, _round(width * scale)),
        max(MIN_EDGE_PX, _round(height * scale)),
    )
    return Resize(from_size_px=(width, height), to_size_px=to_size_px)


def resize_pixels(
    pixels: NDArray[Any], size_px: tuple[int, int], *, antialias: bool
) -> NDArray[np.float32]:
    """Resize as :class:`~engine.geometry.coords.Resize` does, exact to the pixel's centre.

    Args:
        pixels: ``(H, W, 3)``; uint8, uint16, or float in [0, 1].
        size_px: (width, height) to make.
        antialias: average over all pixels below an output pixel where an axis shrinks (a triangle
            filter, as torch's and Pillow's antialiased bilinear; its few weights put single pixels
            up to 0.1 px off, on average none); otherwise only the four nearest pixels count, as in
            the original evaluation.

    Returns:
        ``(h, w, 3)`` in [0, 1].
    """
    if (pixels.shape[1], pixels.shape[0]) == size_px:
        return _to_unit(pixels)
    if not antialias:
        import cv2  # late, as in write_image

        unit = _to_unit(pixels)
        return np.asarray(cv2.resize(unit, size_px, interpolation=cv2.INTER_LINEAR), np.float32)
    resized = np.empty((size_px[1], size_px[0], pixels.shape[2]), np.float32)
    for channel in range(pixels.shape[2]):  # one by one: a large photo as float is larger still
        plane = PIL.Image.fromarray(_to_unit(np.ascontiguousarray(pixels[..., channel])))
        resized[..., channel] = np.asarray(plane.resize(size_px, PIL.Image.Resampling.BILINEAR))
    return resized


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def _to_unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    if pixels.dtype == np.uint16:
        return pixels.astype(np.float32) / np.float32(65535)
    return pixels.astype(np.float32)


def as_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels in 8 bit: 16-bit ones rounded to the nearest level, 8-bit ones as they are."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 * 255


@contextlib.contextmanager
def _opened(path: Path, *, max_pixels: int | None) -> Iterator[_Source]:
    """Open a picture and read its header; whatever fails inside becomes an ImageError."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(path, "is a folder, not a picture")
        if not stat.S_ISREG(mode):
            raise ImageError(path, "is not a file")
        with path.open("rb") as stream:
            start = stream.read(16)
            if not start:
                raise ImageError(path, "is empty")
            openers = [opener for magic, opener in _OPENERS if start.startswith(magic)]
            if not openers:
                raise ImageError(path, f"is not a picture of a known kind ({_KNOWN})")
            stream.seek(0)
            # Pillow's own Image.open would warn about or refuse large pictures at a limit of its
            # own, and without telling their size.
            source = _Source(path, stream, openers[0](stream, str(path)))
            width, height = source.size_px
            if max_pixels is not None and width * height > max_pixels:
                raise ImageError(
                    path,
                    f"has {width} × {height} pixels, more than the limit of "
                    f"{max_pixels / 1e6:g} million pixels",
                )
            yield source
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(path, "needs more memory than there is") from error
    except OSError as error:
        if error.errno is None:  # Pillow's own complaint about the content
            raise ImageError(path, f"is damaged or cut short ({error})") from error
        reasons = {errno.ENOENT: "does not exist", errno.EACCES: "may not be read: no permission"}
        reason = reasons.get(error.errno, f"cannot be read ({error.strerror})")
        raise ImageError(path, reason) from error
    except Exception as error:  # a parser of foreign files raises whatever it trips over
        raise ImageError(path, f"is damaged or cut short ({error})") from error


@dataclass(frozen=True, slots=True)
class _Source:
    """An open picture file whose header has been read."""

    path: Path
    stream: BinaryIO
    picture: ImageFile

    @property
    def size_px(self) -> tuple[int, int]:
        """Upright (width, height)."""
        width, height = self.picture.size
        if isinstance(self.picture, TiffImagePlugin.TiffImageFile):
            # Pillow turns TIFF's size by itself, but not in every version.
            tags = self.picture.tag_v2
            width, height = int(tags[256]), int(tags[257])
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def orientation(self) -> int:
        """EXIF's orientation, 1 (upright) to 8; 1 where none or nonsense is given."""
        value: Any = 1
        if isinstance(self.picture, TiffImagePlugin.TiffImageFile):
            value = self.picture.tag_v2.get(_ORIENTATION_TAG, 1)
        else:
            png = isinstance(self.picture, PngImagePlugin.PngImageFile)
            block = _find_png_exif(self.stream) if png else self.picture.info.get("exif")
            if block:
                exif = PIL.Image.Exif()
                with contextlib.suppress(Exception):  # a broken EXIF block hides no picture
                    exif.load(block)
                    value = exif.get(_ORIENTATION_TAG, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    def decode(self) -> Pixels:
        """The pixels, upright: ``(H, W, 3)`` RGB."""
        picture = self.picture
        orientation = self.orientation
        decoder, _, offset, arguments = picture.tile[0] if picture.tile else ("", None, 0, ())
        words = (arguments,) if isinstance(arguments, str) else tuple(arguments or ())
        if isinstance(picture, PpmImagePlugin.PpmImageFile):
            maximum = _netpbm_maximum(self.stream, offset)
            if maximum > 255:
                plain = decoder == "ppm_plain"
                return _decode_netpbm_16(self.stream, picture.size, offset, maximum, plain=plain)
        is_tiff = isinstance(picture, TiffImagePlugin.TiffImageFile)
        is_png = isinstance(picture, PngImagePlugin.PngImageFile)
        picture.load()  # refuses a cut file, where OpenCV would fill up with grey
        if (is_tiff or is_png) and words and ";16" in str(words[0]):
            pixels: Pixels = self._decode_16()
        else:
            pixels = self._decode_8()
        # Pillow and OpenCV turn TIFF upright by themselves.
        return pixels if is_tiff else _turn_upright(pixels, orientation)

    def _decode_16(self) -> NDArray[np.uint16]:
        """A loaded PNG or TIFF at its full 16 bit."""
        picture = self.picture
        if picture.mode.startswith("I;16"):
            grey = np.asarray(picture).astype(np.uint16)
            tags = getattr(picture, "tag_v2", {})
            if tags.get(262) == 0:  # "white is zero"; neither library inverts it in 16 bit
                grey = 65535 - grey
            values = np.repeat(grey[..., None], 3, axis=2)
            clear = picture.info.get("transparency")
            if isinstance(clear, int):
                values[grey == clear] = 65535
            return values
        import cv2  # late, as in write_image

        # Pillow has no colour mode of 16 bit; OpenCV does.
        self.stream.seek(0)
        data = np.frombuffer(self.stream.read(), np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
            raise ImageError(self.path, "holds 16-bit samples in a way that cannot be read")
        rgb = decoded[..., 2::-1].astype(np.uint16)
        if decoded.shape[2] == 4:
            rgb = _over_white(rgb, decoded[..., 3:], np.uint16)
        return np.ascontiguousarray(rgb)

    def _decode_8(self) -> NDArray[np.uint8]:
        """A loaded picture with samples of at most 8 bit."""
        picture = self.picture
        if picture.mode not in {
            *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"),
        }:
            raise ImageError(
                self.path,
                f"has samples of the kind {picture.mode!r}, and only grey and colour of 8 or "
                "16 bit are read",
            )
        if picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
            straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)
            rgba = np.asarray((picture.convert(straight) if straight else picture).convert("RGBA"))
            return _over_white(rgba[..., :3], rgba[..., 3:], np.uint8)
        if picture.mode == "CMYK" and isinstance(picture, JpegImagePlugin.JpegImageFile):
            inks = np.asarray(picture)
            if "adobe" not in picture.info:  # Pillow inverts as if Adobe had written every one
                inks = 255 - inks
            return np.array(PIL.Image.fromarray(inks, "CMYK").convert("RGB"))
        return np.array(picture.convert("RGB"))


def _over_white(
    colour: NDArray[Any], alpha: NDArray[Any], dtype: type[np.unsignedinteger[Any]]
) -> NDArray[Any]:
    """Lay ``(H, W, 3)`` colours with ``(H, W, 1)`` straight alpha over white, rounded."""
    top = np.iinfo(dtype).max
    if (alpha == top).all():
        return np.ascontiguousarray(colour)
    clear = top - alpha.astype(np.uint64)
    mixed = (colour * alpha.astype(np.uint64) + top * clear + top // 2) // top
    return mixed.astype(dtype)


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation; 2, 4, 5 and 7 are mirrored, 5 to 8 lie on their side."""
    upright: Any = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    return np.ascontiguousarray(upright)


def _find_png_exif(stream: BinaryIO) -> bytes | None:
    """The EXIF block of a PNG, which may stand after the pixels; nothing is decoded."""
    place = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf" and length <= _EXIF_LIMIT_BYTES:
                return stream.read(length)
            if head[4:] == b"IEND":
                break
            stream.seek(length + 4, 1)
        return None
    finally:
        stream.seek(place)


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
    return np.repeat(grey_or_rgb, 3, axis=2) if channels == 1 else grey_or_rgb
