"""Reads a 3×3 matrix from a file of any common format; each format is a line in one table.

A file may hold other things beside the matrix, under names; then the names that people give to
homographies decide, and whether that left a choice is said in a sentence.

Nothing here imports torch.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import HomographyError
from engine.file_kinds import name_kind
from engine.files import open_input, parse_json, parse_yaml, read_number
from engine.progress import Tell, tell_choice

MATRIX_SUFFIXES: Final = frozenset(
    {"", ".txt", ".csv", ".dat", ".mat", ".h", ".json", ".npy", ".npz", ".xml", ".yml", ".yaml"}
    | {".gz"}
)
"""Endings that files with a homography have; the reader goes by content, not by these."""

_TEXT_LIMIT_BYTES: Final = 1 << 16
_ARCHIVE_LIMIT_BYTES: Final = 64 << 20
_TOO_LARGE: Final = "is too large to hold just the nine numbers of a homography"
_NOT_TEXT: Final = "is not a text file with the numbers of a homography"
_EMPTY_STORAGE: Final = "is an OpenCV FileStorage without a matrix"
_DEEPEST_TAG: Final = 32
_PLACES: Final = 9
_SHOWN_NAMES: Final = 6
# In the order in which they are preferred; compared without case, "_" and "-".
_USUAL_NAMES: Final = (
    *("hbfroma", "h", "homography", "homographymatrix", "hmat", "hmatrix", "h12", "hab", "h1to2"),
    *("hgt", "gth", "matrix", "mat", "m", "transform", "arr0", "data", ""),
)
Found = dict[str, NDArray[Any]]
"""What a file holds, by name; "" where it has none."""


@dataclass(frozen=True, slots=True)
class _Format:
    """A format of files.

    Attributes:
        name: as messages say it.
        recognises: by the file's content.
        read: all its arrays that may be matrices; raises anything for a damaged file.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes], Found]


def read_matrix(path: Path, tell: Tell = tell_choice) -> NDArray[Any]:
    """Read the matrix in a file.

    Args:
        path: nine numbers as text (UTF-8 or UTF-16; white space, commas, semicolons or brackets
            between them, comments behind ``#``), JSON, YAML, OpenCV's FileStorage as XML, YAML or
            JSON, ``.npy`` or ``.npz``; recognised by content.
        tell: receives a sentence where several matrices left a choice.

    Returns:
        ``(3, 3)`` real numbers; further axes of length 1 are dropped, nine numbers in a row count
        as three rows.

    Raises:
        HomographyError: missing, unreadable, or without such a matrix; the sentence says what the
            file holds instead.
    """
    data = _content(path)
    form = next(form for form in _FORMATS if form.recognises(data))
    try:
        found = form.read(data)
    except HomographyError:
        raise
    except _Refusal as refusal:
        kind = name_kind(path)
        reason = f"is {kind}, not a file with a homography" if kind else str(refusal)
        raise HomographyError(path, reason) from refusal
    except Exception as error:  # a parser of foreign files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise HomographyError(path, f"is a damaged {form.name} ({detail})") from error
    name, matrix = _choose(path, found, tell)
    if matrix.dtype.kind not in "fiu":
        where = f" in {name}" if name else ""
        raise HomographyError(path, f"holds {matrix.dtype} values{where}, not real numbers")
    return matrix


class _Refusal(Exception):  # noqa: N818 - becomes a HomographyError, which needs the path
    """Why a readable file holds no matrix."""


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked if it is compressed by gzip, as OpenCV can do."""
    with open_input(path, HomographyError, missing="does not exist") as stream:
        data = stream.read(_ARCHIVE_LIMIT_BYTES + 1)
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(_TEXT_LIMIT_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise HomographyError(path, f"is a damaged gzip file ({error})") from error
    limit = _ARCHIVE_LIMIT_BYTES if _is_zip(data) else _TEXT_LIMIT_BYTES
    if len(data) > limit:
        kind = name_kind(path)
        raise HomographyError(path, f"is {kind}, not a homography" if kind else _TOO_LARGE)
    return data


def _choose(path: Path, found: Found, tell: Tell) -> tuple[str, NDArray[Any]]:
    """The matrix among the arrays of a file; what is not one by its size is passed over."""
    fitting = {name: _squared(array) for name, array in found.items() if array.size == _PLACES}
    if not fitting:
        raise HomographyError(path, _about_misfits(found))
    ranks = {name: _rank(name) for name in fitting}
    best = min(ranks.values())
    name, *others = (name for name, rank in ranks.items() if rank == best)
    if len(fitting) == 1 or all(
        np.array_equal(fitting[name], matrix) for matrix in fitting.values()
    ):
        return name, fitting[name]
    listed = ", ".join(list(fitting)[:_SHOWN_NAMES])
    if others:
        reason = f"holds several 3 × 3 matrices ({listed}); call one of them H, or save it alone"
        raise HomographyError(path, reason)
    tell(f"{path}: holds several 3 × 3 matrices ({listed}); {name} is used.")
    return name, fitting[name]


def _rank(name: str) -> int:
    """How likely a name is that of the homography; 0 is the likeliest."""
    plain = re.sub(r"[\W_]", "", name.rpartition(".")[2]).lower()
    return _USUAL_NAMES.index(plain) if plain in _USUAL_NAMES else len(_USUAL_NAMES)


def _squared(array: NDArray[Any]) -> NDArray[Any]:
    """``(3, 3)`` where the shape leaves no doubt, else as it is, for the message."""
    return array.reshape(3, 3) if sorted(array.shape)[-2:] in ([3, 3], [1, 9], [9]) else array


def _about_misfits(found: Found) -> str:
    shapes = {name: " × ".join(map(str, array.shape)) for name, array in found.items()}
    if list(shapes) == [""]:
        array = found[""]
        if array.ndim == 1:
            return f"holds {array.size} numbers, and a homography has 9 (3 rows of 3)"
        if array.ndim == 3 and array.shape[1:] == (3, 3):
            return f"holds {len(array)} matrices, and one homography is wanted"
        return f"is not a 3 × 3 matrix but has the shape {array.shape}"
    listed = ", ".join(f"{name}: {shapes[name]}" for name in list(shapes)[:_SHOWN_NAMES])
    return f"holds no 3 × 3 matrix ({listed or 'it holds nothing'})"


# ---- formats ---------------------------------------------------------------------------------


def _read_npy(data: bytes) -> Found:
    return {"": np.load(io.BytesIO(data), allow_pickle=False)}


def _read_npz(data: bytes) -> Found:
    """The small arrays of an archive, which may hold images and cameras beside the homography."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        small = [
            member.filename
            for member in archive.infolist()
            if member.filename.endswith(".npy") and member.file_size <= _TEXT_LIMIT_BYTES
        ]
        if not any(name.endswith(".npy") for name in archive.namelist()):
            raise _Refusal("is a zip archive without a NumPy array")
        found = {}
        for name in small:
            array = _read_npy(archive.read(name))[""]
            found[name.removesuffix(".npy")] = array
    return {name: array for name, array in found.items() if array.dtype.kind in "fiuc"}


def _read_storage_yaml(data: bytes) -> Found:
    """The matrices of OpenCV's FileStorage as YAML.

    OpenCV's own reader overflows the stack where lists are nested deeply, and takes down the
    program; without OpenCV's tags and its old header the text is plain YAML.
    """
    text = re.sub(r"\A%YAML:[^\n]*\n", "", re.sub(r"!!opencv-[\w-]+", "", _text(data)))
    found = dict(_arrays_in(parse_yaml(text)))
    if not found:
        raise _Refusal(_EMPTY_STORAGE)
    return found


def _read_storage_xml(data: bytes) -> Found:
    """The matrices of OpenCV's FileStorage as XML."""
    import cv2  # late: it takes 0.2 s to load, and most files are plain text

    text = _text(data)
    depth = 0
    for tag in re.finditer(r"<(/?)[^!?>][^>]*?(/?)>", text):
        depth += -1 if tag[1] else not tag[2]
        if depth > _DEEPEST_TAG:
            raise _Refusal("is nested too deeply for an OpenCV FileStorage")
    flags = cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
    try:
        storage = cv2.FileStorage(text, flags)
    except SystemError as error:  # OpenCV's own error, with the place, is its cause
        detail = str(error.__cause__ or error.__context__ or "no FileStorage").splitlines()[0]
        raise ValueError(detail.rpartition("error: ")[2]) from error
    found = dict(_matrices_below(storage.root(), ""))
    if not found:
        raise _Refusal(_EMPTY_STORAGE)
    return found


def _matrices_below(node: Any, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """The matrices and the lists of nine numbers in a node of a FileStorage."""
    if node.isSeq() and node.size() == _PLACES:
        yield name, np.array([node.at(place).real() for place in range(_PLACES)])
    if not node.isMap():
        return
    names = node.keys()
    if {"rows", "cols", "data"} <= set(names):
        # Announced sizes are looked at first: OpenCV would make room for any.
        rows, columns = (int(node.getNode(side).real()) for side in ("rows", "cols"))
        fits = rows * columns == _PLACES
        yield name, node.mat() if fits else np.empty((max(rows, 0), max(columns, 0), 0))
        return
    for inner in names:
        yield from _matrices_below(node.getNode(inner), f"{name}.{inner}" if name else inner)


def _read_json(data: bytes) -> Found:
    try:
        value = parse_json(data)
    except ValueError:
        return _read_text(data)  # "[1 2 3; 4 5 6; 7 8 9]" begins as JSON does
    return dict(_arrays_in(value))


def _read_yaml(data: bytes) -> Found:
    try:
        value = parse_yaml(_text(data))
    except ValueError:
        return _read_text(data)
    found = dict(_arrays_in(value)) if isinstance(value, dict) else {}
    return found or _read_text(data)


def _arrays_in(value: Any, name: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Lists of numbers in the mappings of JSON or YAML, by their names.

    A mapping with rows, columns and data is a matrix as OpenCV's JSON and ROS have it.
    """
    if not isinstance(value, Mapping):
        if isinstance(value, list):
            try:
                yield name, np.array(value, np.float64)
            except (TypeError, ValueError):
                if not name:
                    raise _Refusal("holds a list, but not one of 3 × 3 numbers") from None
        return
    if "data" in value and "rows" in value:
        yield from _arrays_in(value["data"], name)
        return
    for inner, content in value.items():
        yield from _arrays_in(content, f"{name}.{inner}" if name else str(inner))


_ARRAY_CALL: Final = re.compile(r"^(?:(?:np|numpy|torch)\.)?(?:array|matrix|asarray|tensor|mat)\(")
_LABEL: Final = re.compile(r"^[A-Za-z_]\w*\s*[=:]\s*")
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?")
_SEPARATORS: Final = str.maketrans(dict.fromkeys(",;[](){}\"'", " "))


def _read_text(data: bytes) -> Found:
    """Nine numbers, however they are laid out."""
    lines = [line.partition("#")[0].strip() for line in _text(data).splitlines()]
    text = "\n".join(filter(None, lines))
    if text.startswith("<"):
        raise _Refusal("holds XML, but not of OpenCV's FileStorage")
    numbers = text.replace(";", " ").split()
    if len(numbers) == _PLACES and all(map(_DECIMAL_COMMA.fullmatch, numbers)):
        return {"": np.array([float(one.replace(",", ".")) for one in numbers])}
    text = _LABEL.sub("", text, count=1)
    if _ARRAY_CALL.match(text):
        # numpy prints dtypes and torch devices behind the numbers.
        text = re.sub(r",\s*(?:dtype|device|requires_grad)=[^,)]*", "", _ARRAY_CALL.sub("", text))
    rows = [line.translate(_SEPARATORS).split() for line in text.splitlines()]
    if len(rows) > 1 and len(rows[0]) == _PLACES and not any(map(_is_number, rows[0])):
        del rows[0]  # the names of a table's columns
    words = [word for row in rows for word in row]
    for word in words[: _PLACES + 1]:
        if not _is_number(word):
            raise _Refusal(f"holds {word[:20]!r} where a number of the homography should stand")
    if len(words) != _PLACES:
        raise _Refusal(f"holds {len(words)} numbers, and a homography has 9 (3 rows of 3)")
    return {"": np.array([read_number(word) for word in words], np.float64)}


def _is_number(word: str) -> bool:
    try:
        read_number(word)
    except ValueError:
        return False
    return True


def _text(data: bytes) -> str:
    """The text in a file, in whichever Unicode its editor wrote it."""
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or b"\0" in data:
            raise _Refusal(_NOT_TEXT) from error
        text = data.decode("latin-1")  # a comment of an old editor
    if (
        encoding != "utf-8"
        and encoding != "utf-8-sig"
        and not text.removeprefix("\ufeff").isascii()
    ):
        raise _Refusal(_NOT_TEXT)
    if any(not one.isprintable() and not one.isspace() and one != "\ufeff" for one in text):
        raise _Refusal(_NOT_TEXT)
    return text.removeprefix("\ufeff")


def _is_zip(data: bytes) -> bool:
    return data.startswith(b"PK\x03\x04")


def _begins(*beginnings: str) -> Callable[[bytes], bool]:
    """Recognises a text by how it begins, in any Unicode."""

    def recognises(data: bytes) -> bool:
        plain = data.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
        return plain.startswith(tuple(word.encode() for word in beginnings))

    return recognises


def _holds(pattern: bytes) -> Callable[[bytes], bool]:
    """Recognises a text by what stands in it, in any Unicode."""
    return lambda data: re.search(pattern, data.replace(b"\0", b""), re.MULTILINE) is not None


_FORMATS: Final = (
    _Format(".npy file", lambda data: data.startswith(b"\x93NUMPY"), _read_npy),
    _Format(".npz file", _is_zip, _read_npz),
    _Format("OpenCV FileStorage", _holds(rb"<opencv_storage"), _read_storage_xml),
    _Format("OpenCV FileStorage", _holds(rb"!!opencv-matrix|\A%YAML:"), _read_storage_yaml),
    _Format("JSON file", _begins("{", "["), _read_json),
    _Format("YAML file", _holds(rb"^[ \t]*[A-Za-z_][\w -]*:(?:\s|$)"), _read_yaml),
    _Format("text file", lambda _data: True, _read_text),
)
"""All formats in the order in which they are tried; the last one takes what is left."""
