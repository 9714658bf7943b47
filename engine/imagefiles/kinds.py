"""Which kind of file a picture is, by its first bytes, and what is said of kinds that are not read.

A kind is known by its content, never by its ending.  What is no picture, or one that nothing here
reads, is called by its name: such a file is not damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.file_kinds import PICTURES

KNOWN: Final = (
    "PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PPM, PGM, PFM, and with plug-ins HEIC and "
    "JPEG XL"
)

HEAD_BYTES: Final = 512
"""How much of a file :func:`recognise` looks at."""

_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIC_BRANDS: Final = (
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    *(b"mif1", b"msf1", b"mif2"),
)

_UNREAD: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF", "a PDF; export its page as PNG"),
    (b"%!PS", "PostScript; export it as PNG"),
    (b"8BPS", "a Photoshop file; export it as PNG or TIFF"),
    (b"8BPB", "a Photoshop file; export it as PNG or TIFF"),
    (b"\x76\x2f\x31\x01", "OpenEXR; convert it to TIFF with floats, which are read"),
    (b"#?RADIANCE", "a Radiance HDR picture; convert it to TIFF with floats, which are read"),
    (b"#?RGBE", "a Radiance HDR picture; convert it to TIFF with floats, which are read"),
    (b"SIMPLE  =", "FITS; convert it to TIFF with floats, which are read"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; write the picture out as TIFF"),
    (b"CDF\x01", "a NetCDF file; write the picture out as TIFF"),
    (b"\x93NUMPY", "a numpy array; precomputed maps are opened as such, pictures as TIFF"),
    (b"PK\x03\x04", "a ZIP archive (or numpy's .npz); unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"DDS ", "a DDS texture; convert it to PNG"),
    (b"\0\0\1\0", "a Windows icon; convert it to PNG"),
    (b"P7\n", "PAM; convert it to PNG or PPM"),
    (b"gimp xcf", "a GIMP picture; export it as PNG or TIFF"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file; develop it first, to TIFF, PNG or JPEG"),
    (b"IIRO", "a camera's raw file; develop it first, to TIFF, PNG or JPEG"),
    (b"IIU\0", "a camera's raw file; develop it first, to TIFF, PNG or JPEG"),
    (b"\x1aE\xdf\xa3", "a film (Matroska or WebM); save one of its frames as PNG"),
    (b"version https://git-lfs", "Git LFS's pointer to a picture; run 'git lfs pull' to get it"),
    (b"<svg", "SVG, which is made of lines; export it as PNG"),
)


@dataclass(frozen=True, slots=True)
class Unread:
    """A kind that is not read: what the file is, as the end of "…: is "."""

    what: str


def recognise(head: bytes) -> str | Unread:
    """The kind of a picture file, or what else it is.

    Args:
        head: its first :data:`HEAD_BYTES` bytes, or all of a shorter one.

    Returns:
        One of the names in :data:`~engine.file_kinds.PICTURES`, WebP, AVIF or HEIC.
    """
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head.startswith(b"RIFF"):
        if head[8:12] == b"WEBP" or len(head) < 12:
            return "WebP"
        film = head[8:12] == b"AVI "
        return Unread("a film (AVI); save one of its frames as PNG" if film else "a RIFF file")
    for start, kind in PICTURES:
        if head.startswith(start):
            return kind
    for start, what in _UNREAD:
        if head.startswith(start):
            return Unread(what)
    if head[128:132] == b"DICM":
        return Unread("DICOM; convert it to TIFF or 16-bit PNG")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<?xml", b"<!doctype svg")) and b"<svg" in text:
        return Unread("SVG, which is made of lines; export it as PNG")
    if text.startswith((b"<!doctype html", b"<html")):
        return Unread("a web page, not a picture: the link led to a page")
    return Unread(f"not a picture of a known kind ({KNOWN})")


def _of_brands(head: bytes) -> str | Unread:
    """A file of the family of MP4, by the brands at its start."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, size - 3, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "AVIF"
    for brand in brands:
        if brand in _HEIC_BRANDS:
            return "HEIC"
    if brands[0] == b"crx ":
        return Unread("a camera's raw file (CR3); develop it first, to TIFF, PNG or JPEG")
    return Unread("a film (MP4 or QuickTime); save one of its frames as PNG")
