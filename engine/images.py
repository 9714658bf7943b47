"""Picture files in and out, and resizing with its exact point transform.

A picture is read as the user sees it: upright (EXIF orientation applied) and RGB.  What has no
single true answer is settled here and in :mod:`engine.imagefiles`:

* Which sample value is black and which is white: :mod:`engine.imagefiles.samples`.  Descriptors see
  the same range as eyes do.
* Transparent pixels are laid over white, as on a page.  Dropping the alpha channel would let the
  invisible colours below it show, and descriptors would see what is invisible otherwise.
* Colour profiles are ignored, as OpenCV and every training set do; CMYK becomes RGB by the plain
  formula.  Adobe's inverted CMYK is recognised by Adobe's marker.
* Of a file with several pages or frames the first one is read that is no preview of another.

Nothing here imports torch, so that the window can show a picture before torch is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from engine.errors import ImageError, OutputError
from engine.files import write_atomically
from engine.geometry.coords import Resize
from engine.imagefiles.kinds import HEAD_BYTES, Unread, recognise
from engine.imagefiles.pillow_files import PfmSource, PillowSource, Source
from engine.imagefiles.samples import (
    FULL_8,
    Judged,
    Pixels,
    SampleError,
    Samples,
    as_unit,
    full_range,
    settle,
    stretch,
)
from engine.imagefiles.samples import as_uint8 as as_uint8
from engine.imagefiles.value_range import ValueRange

IMAGE_SUFFIXES: Final = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        *(".gif", ".avif", ".jp2", ".j2k", ".heic", ".heif", ".jxl"),
    }
)
"""Endings, in lower case, of the files :func:`read_image` is meant for."""

MAX_PIXELS: Final = 150_000_000
"""Larger pictures are refused before they are decoded: 450 MB in 8 bit."""

MAX_SAMPLE_BYTES: Final = 12 * MAX_PIXELS
"""What samples may take once they are decoded: as many bytes as floats of so many pixels."""

MIN_EDGE_PX: Final = 16
"""No descriptor describes an image with a shorter edge."""

_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture as it was read.

    Attributes:
        path: its file.
        pixels: ``(H, W, 3)`` RGB, upright, from black to white: uint8 in 0..255, uint16 in
            0..65535, or float32 in [0, 1]; what descriptors and eyes see.
        stored: ``(H, W, 3)`` the file's own values; None where these are the pixels.
        judged: what the values are, and the range that the file states or they suggest; None for
            the whole range of the pixels.
        shown: the range that was chosen instead; None for that one.
        notes: what is remarkable in the file, behind its name: "is cut short: …".
        cut_short: the file lacks its end, and a part of the picture is made up.
    """

    path: Path
    pixels: Pixels
    stored: Samples | None = None
    judged: Judged | None = None
    shown: ValueRange | None = None
    notes: tuple[str, ...] = ()
    cut_short: bool = False

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def samples(self) -> Samples:
        """``(H, W, 3)`` the file's own values; the pixels where these are the same."""
        return self.pixels if self.stored is None else self.stored

    @property
    def size_bytes(self) -> int:
        """Memory of all that is held."""
        return self.pixels.nbytes + (0 if self.stored is None else self.stored.nbytes)

    @property
    def own_range(self) -> ValueRange:
        """The range of the samples that the file states or its values suggest."""
        return full_range(self.pixels) if self.judged is None else self.judged.range

    @property
    def range(self) -> ValueRange:
        """The samples that are black and white in the pixels."""
        return self.shown or self.own_range

    @property
    def range_words(self) -> str:
        """What the samples are and which of them are shown; "" for plain 8 bit."""
        if self.samples.dtype == np.uint8 and self.range == FULL_8:
            return ""
        kind = str(self.samples.dtype) if self.judged is None else self.judged.kind
        if self.shown is None and self.judged is not None and self.judged.how:
            kind += f", {self.judged.how}"
        return f"{kind}, {self.range.words}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about what is remarkable in the file."""
        return tuple(f"{self.path.name} {note}" for note in self.notes)

    @property
    def value_ends(self) -> tuple[float, float]:
        """The least and the greatest sample."""
        return float(self.samples.min()), float(self.samples.max())

    def in_range(self, shown: ValueRange | None) -> Image:
        """The same picture with another black and white; None for the file's own range."""
        if shown == self.own_range:
            shown = None
        if shown == self.shown:
            return self
        pixels = stretch(self.samples, shown or self.own_range)
        stored = None if pixels is self.samples else self.samples
        return replace(self, pixels=pixels, stored=stored, shown=shown)

    def as_float(self) -> NDArray[np.float32]:
        """A copy ``(H, W, 3)`` with values in [0, 1]."""
        return as_unit(self.pixels)

    def as_uint8(self) -> NDArray[np.uint8]:
        """``(H, W, 3)`` in 8 bit, rounded, for the screen; the same array if it is 8 bit."""
        return as_uint8(self.pixels)


def read_image(
    path: Path,
    *,
    shown: ValueRange | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_cut: bool = False,
) -> Image:
    """Read a picture, known by content, not by ending; :mod:`engine.imagefiles.kinds` has the list.

    Args:
        path: the file; any characters.
        shown: which of its values are black and white; None for the file's own range.
        max_pixels: a larger picture is refused after reading its header alone.
        allow_cut: read a JPEG that lacks its end, and say so in ``notes`` and ``cut_short``.

    Raises:
        ImageError: missing, a folder, not permitted, empty, not a picture, damaged or cut short,
            too large, or of samples whose meaning is not known.
    """
    with _opened(path, max_pixels=max_pixels, allow_cut=allow_cut) as source:
        decoded = source.decode()
        samples, judged, notes = settle(decoded)
        pixels = stretch(samples, judged.range)
        image = Image(
            path=Path(path),
            pixels=pixels,
            stored=None if pixels is samples else samples,
            judged=judged,
            notes=notes,
            cut_short=decoded.cut_short,
        )
        return image.in_range(shown)


def read_samples(path: Path, *, max_pixels: int = MAX_PIXELS) -> Samples:
    """The values that a picture file stores, for files whose pixels are no colours.

    Args:
        path: the file; any kind that :func:`read_image` reads.
        max_pixels: a larger picture is refused after reading its header alone.

    Returns:
        ``(H, W)``, or ``(H, W, 3)`` with the channels in the order of the file (R, G, B), upright,
        neither scaled nor clipped.  What has at most 8 bit comes as three channels of uint8.

    Raises:
        ImageError: as :func:`read_image`.
    """
    with _opened(path, max_pixels=max_pixels) as source:
        return source.decode().values


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
    with _opened(path, max_pixels=MAX_PIXELS, allow_cut=True) as source:
        width, height = source.size_px
        source.draft(long_edge_px)
        samples, judged, _ = settle(source.decode())
        pixels = as_uint8(stretch(samples, judged.range))
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
        return as_unit(pixels)
    if not antialias:
        import cv2  # late, as in write_image

        unit = as_unit(pixels)
        return np.asarray(cv2.resize(unit, size_px, interpolation=cv2.INTER_LINEAR), np.float32)
    resized = np.empty((size_px[1], size_px[0], pixels.shape[2]), np.float32)
    for channel in range(pixels.shape[2]):  # one by one: a large photo as float is larger still
        plane = PIL.Image.fromarray(as_unit(np.ascontiguousarray(pixels[..., channel])))
        resized[..., channel] = np.asarray(plane.resize(size_px, PIL.Image.Resampling.BILINEAR))
    return resized


def _round(value: float) -> int:
    return math.floor(value + 0.5)


@contextlib.contextmanager
def _opened(path: Path, *, max_pixels: int | None, allow_cut: bool = False) -> Iterator[Source]:
    """Open a picture and read its header; whatever fails inside becomes an ImageError."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(path, "is a folder, not a picture")
        if not stat.S_ISREG(mode):
            raise ImageError(
                path, f"is {'a pipe' if stat.S_ISFIFO(mode) else 'a device'}, not a file"
            )
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            if not head:
                raise ImageError(path, "is empty")
            stream.seek(0)
            source = _source(path, stream, head, allow_cut=allow_cut)
            width, height = source.size_px
            if max_pixels is not None:
                _refuse_large(path, width, height, source.sample_bytes, max_pixels)
            yield source
    except ImageError:
        raise
    except SampleError as error:
        raise ImageError(path, str(error)) from error
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


def _source(path: Path, stream: BinaryIO, head: bytes, *, allow_cut: bool) -> Source:
    kind = recognise(head)
    if isinstance(kind, Unread):
        raise ImageError(path, f"is {kind.what}")
    if kind == "TIFF":
        from engine.imagefiles.tiff_files import TiffSource  # late: tifffile takes 0.1 s to load

        return TiffSource(stream, str(path))
    if kind == "PFM":
        return PfmSource(stream)
    return PillowSource(stream, str(path), kind, allow_cut=allow_cut)


def _refuse_large(path: Path, width: int, height: int, sample_bytes: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            path,
            f"has {width} × {height} pixels, more than the limit of "
            f"{max_pixels / 1e6:g} million pixels",
        )
    if width * height * sample_bytes > MAX_SAMPLE_BYTES:
        raise ImageError(
            path,
            f"has {width} × {height} pixels of {sample_bytes} bytes, more than the limit of "
            f"{MAX_SAMPLE_BYTES / 1e9:.2g} GB",
        )
