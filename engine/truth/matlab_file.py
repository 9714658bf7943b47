"""Arrays of numbers in MATLAB files of version 5, as ``save -v6`` and ``-v7`` write them.

By the published description "MAT-File Format", Level 5 (MathWorks): after a head of 128 bytes come
elements of a type, a length and content, perhaps compressed, and an array is an element made of
further ones.  SciPy reads these files, too, but ends the process on some damaged ones.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

MATLAB_HEAD: Final = b"MATLAB 5.0"
_HEAD_BYTES: Final = 128
_ORDERS: Final = {b"IM": "<", b"MI": ">"}  # how this computer's other order writes "MI"
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8",
                   12: "i8", 13: "u8"}  # fmt: skip
_NUMERIC_CLASSES: Final = range(6, 16)
_COMPLEX_FLAG: Final = 0x0800
_MOST_BYTES: Final = 16 << 20
_MOST_AXES: Final = 32


def read_matlab(data: bytes) -> dict[str, NDArray[np.float64]]:
    """The real arrays of numbers by their names; what else the file holds is passed over.

    Args:
        data: the whole file.

    Returns:
        Arrays of two or more axes, as MATLAB has them.

    Raises:
        ValueError: the file is damaged, or its arrays unpack to more than 16 MiB.
    """
    order = _ORDERS.get(data[126:128])
    if order is None or not data.startswith(MATLAB_HEAD):
        raise ValueError("it has no head of MATLAB 5")
    found: dict[str, NDArray[np.float64]] = {}
    left = _MOST_BYTES
    for kind, content in _elements(data[_HEAD_BYTES:], order):
        if kind == _COMPRESSED:
            unpacked = _unpacked(content, left)
            left -= len(unpacked)
            inner = list(_elements(unpacked, order))
        else:
            inner = [(kind, content)]
        for inner_kind, inner_content in inner:
            array = _array(inner_content, order) if inner_kind == _MATRIX else None
            if array is not None:
                found[array[0]] = array[1]
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; one of up to four bytes has both in eight."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}2I", data, at)
        if kind >> 16:
            kind, size, begin = kind & 0xFFFF, kind >> 16, at + 4
            end = at + 8
            if size > 4:
                raise ValueError("an element of up to four bytes has more")
        else:
            begin = at + 8
            # Elements end at multiples of eight, but for compressed ones.
            end = begin + size + (0 if kind == _COMPRESSED else -size % 8)
        if begin + size > len(data):
            raise ValueError("it ends within an element")
        yield kind, data[begin : begin + size]
        at = end


def _unpacked(content: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"an element cannot be unpacked: {error}") from error
    if len(unpacked) > most_bytes:
        raise ValueError(f"its elements unpack to more than {_MOST_BYTES >> 20} MiB")
    return unpacked


def _array(content: bytes, order: str) -> tuple[str, NDArray[np.float64]] | None:
    """Name and numbers of an array; None for one of complex numbers, texts, cells and the like."""
    parts = _elements(content, order)
    flags = np.frombuffer(_next(parts, (6,)), f"{order}u4")
    if len(flags) != 2:
        raise ValueError("an array has no flags")
    shape = np.frombuffer(_next(parts, (5,)), f"{order}i4").tolist()
    name = _next(parts, (1, 2)).decode("ascii", "replace")
    if int(flags[0]) & 0xFF not in _NUMERIC_CLASSES or int(flags[0]) & _COMPLEX_FLAG:
        return None
    if not 2 <= len(shape) <= _MOST_AXES or min(shape) < 0:
        raise ValueError(f"the shape of {name} is none")
    kind, stored = next(parts, (0, b""))
    if kind not in _NUMBERS:
        raise ValueError(f"{name} has no numbers")
    numbers = np.frombuffer(stored, order + _NUMBERS[kind])
    if len(numbers) != math.prod(shape):
        raise ValueError(f"{name} holds {len(numbers)} numbers, which is not its shape")
    return name, numbers.astype(np.float64).reshape(shape, order="F")


def _next(parts: Iterator[tuple[int, bytes]], kinds: tuple[int, ...]) -> bytes:
    kind, content = next(parts, (0, b""))
    if kind not in kinds:
        raise ValueError("an array lacks a part")
    return content
