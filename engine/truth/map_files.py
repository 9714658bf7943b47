"""Files with a number, or several, for every pixel: flow, disparity, depth.

Known by their content, never by their ending: PFM, PNG, TIFF, ``.flo``, COLMAP's dense maps,
``.npy``, ``.npz``, HDF5 and OpenEXR.  What a number means, and which of them say "unknown", is
settled by the kind of truth that asks; here nothing is scaled or left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageError, TruthError
from engine.extras import install_command
from engine.file_kinds import name_kind
from engine.files import open_input, read_npz
from engine.imagefiles.kinds import HEAD_BYTES, recognise
from engine.images import MAX_PIXELS, read_samples

Map = NDArray[Any]
"""``(H, W)`` or ``(H, W, C)``, the top row first."""

_LOSSLESS: Final = ("PFM", "PNG", "TIFF")
_MOST_BYTES: Final = 16 * MAX_PIXELS
_MOST_CHANNELS: Final = 4
_SHOWN_NAMES: Final = 6
_FLO_HEADER_BYTES: Final = 12
_COLMAP_HEAD: Final = re.compile(rb"(\d{1,6})&(\d{1,6})&(\d)&")


def read_map(
    path: Path,
    names: tuple[str, ...],
    *,
    size_px: tuple[int, int] | None = None,
    channels: bool = False,
) -> Map:
    """Read the map in a file, as it is stored.

    Args:
        path: the file; links are followed.
        names: what the map may be called in an archive, most likely first: the first name that is
            there is read, else the only array that can be a map.
        size_px: (width, height) that it must have; None for any.
        channels: keep all channels, also where they are equal, which else count as one number.

    Returns:
        Integers or floats, one for each pixel, or up to four of them along a last axis; the colours
        of a picture in the order red, green, blue.

    Raises:
        TruthError: missing, damaged, of another kind or size, or it holds no map.
    """
    with open_input(path, TruthError, missing="does not exist") as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        form = next((form for form in _FORMATS if form.recognises(head)), None)
        if form is None:
            kind = name_kind(path)
            found = f"is {kind}" if kind else "is of an unknown kind" if head else "is empty"
            raise TruthError(path, f"{found}, not a map of numbers ({_READ})")
        try:
            values = form.read(stream, path, names)
        except (OSError, TruthError):
            raise
        except MemoryError as error:
            raise TruthError(path, "needs more memory than there is") from error
        except Exception as error:  # a parser of foreign files
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise TruthError(path, f"is a damaged {form.name} ({detail})") from error
    checked = _checked(path, values, size_px)
    return checked if channels else _one_number(checked)


def _checked(path: Path, values: Map, size_px: tuple[int, int] | None) -> Map:
    if values.dtype.kind not in "iuf":
        raise TruthError(path, f"holds {values.dtype} values, not real numbers")
    if not _is_map(values.shape):
        shape = " × ".join(map(str, values.shape)) or "one number"
        raise TruthError(path, f"holds no map but an array of {shape}")
    found = (values.shape[1], values.shape[0])
    if size_px is not None and found != size_px:
        raise TruthError(
            path,
            f"has {found[0]} × {found[1]} pixels, and its image has {size_px[0]} × {size_px[1]}",
        )
    return values


def _is_map(shape: tuple[int, ...]) -> bool:
    return (
        len(shape) in (2, 3) and min(shape) > 0 and (len(shape) == 2 or shape[2] <= _MOST_CHANNELS)
    )


def chosen_array(path: Path, shapes: Mapping[str, tuple[int, ...]], names: tuple[str, ...]) -> str:
    """Which array of an archive is the map.

    Raises:
        TruthError: none can be one, or several can and none has a likely name.
    """
    fitting = [name for name, shape in shapes.items() if _is_map(shape)]
    for wanted in names:
        named = [name for name in fitting if name.rpartition("/")[2].lower() == wanted]
        if len(named) == 1:
            return named[0]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join((fitting or list(shapes))[:_SHOWN_NAMES]) or "it is empty"
    if fitting:
        raise TruthError(path, f"holds several maps ({listed}); call one of them {names[0]}")
    raise TruthError(path, f"holds no map ({listed})")


# ---- formats ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Format:
    """A format of files.

    Attributes:
        name: as messages say it.
        recognises: by the file's first bytes.
        read: the array in an open file; raises anything for a damaged one.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[BinaryIO, Path, tuple[str, ...]], Map]


def _read_picture(_stream: BinaryIO, path: Path, _names: tuple[str, ...]) -> Map:
    try:
        values: Map = read_samples(path)
    except ImageError as error:
        raise TruthError(path, error.reason) from error
    return values


def _read_flo(stream: BinaryIO, path: Path, _names: tuple[str, ...]) -> Map:
    """Middlebury's flow: width and height as int32, and u and v of each pixel, little-endian."""
    header = stream.read(_FLO_HEADER_BYTES)
    width, height = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8))
    _refuse_large(path, (width, height))
    count = 2 * width * height
    values = np.frombuffer(stream.read(4 * count + 1), np.uint8)
    if values.size != 4 * count:
        raise ValueError(f"{width} × {height} pixels take {4 * count} bytes, not {values.size}")
    return values.view("<f4").reshape(height, width, 2).astype(np.float32)


def _read_colmap(stream: BinaryIO, path: Path, _names: tuple[str, ...]) -> Map:
    """COLMAP's dense maps: ``width&height&channels&`` as text, and little-endian floats by rows."""
    head = _COLMAP_HEAD.match(stream.read(HEAD_BYTES))
    assert head is not None
    width, height, channels = map(int, head.groups())
    _refuse_large(path, (width, height))
    stream.seek(head.end())
    values = np.frombuffer(stream.read(4 * width * height * channels), "<f4")
    return values.reshape((height, width) if channels == 1 else (height, width, channels))


def _read_npy(stream: BinaryIO, path: Path, _names: tuple[str, ...]) -> Map:
    data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise TruthError(path, f"is larger than {_MOST_BYTES / 1e9:.1f} GB")
    values: Map = np.load(io.BytesIO(data), allow_pickle=False)
    return values


def _read_archive(_stream: BinaryIO, path: Path, names: tuple[str, ...]) -> Map:
    arrays = read_npz(path, TruthError, most_bytes=_MOST_BYTES)
    return arrays[chosen_array(path, {name: one.shape for name, one in arrays.items()}, names)]


def _read_hdf5(stream: BinaryIO, path: Path, names: tuple[str, ...]) -> Map:
    try:
        import h5py  # optional
    except ImportError as error:
        reason = f"is an HDF5 file, which h5py reads; install it with: {install_command('hdf5')}"
        raise TruthError(path, reason) from error
    with h5py.File(stream, "r") as file:
        found: dict[str, tuple[int, ...]] = {}

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                found[name] = item.shape

        file.visititems(note)
        name = chosen_array(path, found, names)
        _refuse_large(path, (found[name][1], found[name][0]))
        return np.asarray(file[name][()])


def _read_exr(stream: BinaryIO, path: Path, _names: tuple[str, ...]) -> Map:
    import cv2  # late: it takes 0.2 s to load

    data = np.frombuffer(stream.read(_MOST_BYTES), np.uint8)
    try:
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:  # the codec is there, and turned off
        values = None
    if values is None:
        raise TruthError(path, f"is OpenEXR, which this OpenCV cannot read ({_exr_remedy()})")
    return np.asarray(values[..., 2::-1] if values.ndim == 3 else values)


def _one_number(values: Map) -> Map:
    """``(H, W)`` of a map with one channel, or with three equal colours."""
    grey = (
        values.ndim == 3
        and values.shape[2] != 2
        and bool((values[..., 1:] == values[..., :1]).all())
    )
    return values[..., 0] if grey else values


def _exr_remedy() -> str:
    import cv2

    built = re.search(r"OpenEXR:\s*(\S+)", cv2.getBuildInformation())
    if built is None or built[1] == "NO":
        return "it was built without it; convert the file to .npy or .pfm"
    return "set OPENCV_IO_ENABLE_OPENEXR=1 before the start, or convert the file to .npy or .pfm"


def _refuse_large(path: Path, size_px: tuple[int, int]) -> None:
    width, height = size_px
    if min(size_px) < 1:
        raise ValueError(f"a size of {width} × {height}")
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS / 1e6:g} million pixels"
        raise TruthError(path, f"has {width} × {height} pixels, more than the limit of {limit}")


def _begins(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


_FORMATS: Final = (
    _Format("picture", lambda head: recognise(head) in _LOSSLESS, _read_picture),
    _Format(".flo file", _begins(b"PIEH"), _read_flo),
    _Format("COLMAP map", lambda head: _COLMAP_HEAD.match(head) is not None, _read_colmap),
    _Format(".npy file", _begins(b"\x93NUMPY"), _read_npy),
    _Format(".npz file", _begins(b"PK\x03\x04"), _read_archive),
    _Format("HDF5 file", _begins(b"\x89HDF\r\n\x1a\n"), _read_hdf5),
    _Format("OpenEXR file", _begins(b"\x76\x2f\x31\x01"), _read_exr),
)
_READ: Final = "PFM, PNG, TIFF, .flo, COLMAP's maps, .npy, .npz, HDF5 and OpenEXR are read"
