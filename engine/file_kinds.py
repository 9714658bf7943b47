"""What a file is, by its first bytes: for the sentence that refuses it.

"is a PNG picture" helps the person who chose the wrong file; "is damaged" does not.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

TORCH_FILE: Final = "a file of torch.save"
TORCHSCRIPT: Final = "a TorchScript program"
EXPORTED: Final = "a program of torch.export"
PICTURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"Pf", "PFM"),
    (b"PF\n", "PFM"),
    *((b"P%d" % kind, "PPM") for kind in range(1, 7)),
)
"""The pictures that are read, as far as their first bytes tell: a beginning and the kind's name."""

_LONGEST_START: Final = 512
_BEGINNINGS: Final = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself by 'git lfs pull'"),
    *((beginning, f"a {kind} picture") for beginning, kind in PICTURES),
    (b"%PDF-", "a PDF document"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF\r\n", "an HDF5 file (of Keras, h5py or MATLAB 7.3)"),
    (b"MATLAB 5.0", "a MATLAB file (.mat)"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a file compressed by gzip; unpack it first"),
    (b"BZh", "a file compressed by bzip2; unpack it first"),
    (b"\xfd7zXZ\0", "a file compressed by xz; unpack it first"),
    (b"(\xb5/\xfd", "a file compressed by Zstandard; unpack it first"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program or library"),
)
_WEB_PAGE: Final = (b"<!doctype html", b"<html")
_IN_ZIP: Final = (
    (".npy", "a NumPy archive (.npz)"),
    ("/models/model.json", EXPORTED),
    ("serialized_exported_program.json", EXPORTED),
    ("data.pkl", TORCH_FILE),
    ("[Content_Types].xml", "an office document"),
)
_SUFFIXES: Final = {
    ".onnx": "an ONNX network",
    ".tflite": "a TensorFlow Lite network",
    ".engine": "a TensorRT engine",
    ".pb": "a TensorFlow graph",
}


def name_kind(path: Path) -> str:
    """What a file is, such as ``a PNG picture``; "" where its first bytes tell nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_START)
        if start.startswith(b"PK\x03\x04"):
            return _kind_of_zip(path)
    except OSError:
        return ""
    for beginning, kind in _BEGINNINGS:
        if start.startswith(beginning):
            return kind
    if start[4:8] == b"TFL3":
        return _SUFFIXES[".tflite"]
    if start.lstrip().lower().startswith(_WEB_PAGE):
        return "a web page, as servers send it in place of a file; download the file again"
    return _SUFFIXES.get(path.suffix.lower(), "")


def _kind_of_zip(path: Path) -> str:
    """What a zip archive holds; "" for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return ""
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        return TORCHSCRIPT
    for ending, kind in _IN_ZIP:
        if any(name.endswith(ending) for name in names):
            return kind
    return "a zip archive; unpack it first"
