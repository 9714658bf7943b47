"""Arrays in MATLAB files, held against what SciPy wrote, and files that are damaged."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from scipy.io import savemat

from engine.errors import TruthError
from engine.truth.landmarks import LandmarksSource
from engine.truth.matlab_file import read_matlab

KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def matlab(*, packed: bool = False, **arrays: object) -> bytes:
    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=packed)
    return stream.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_of_every_kind_of_numbers_come_back(packed):
    random = np.random.default_rng(0)
    written = {f"of_{kind}": random.integers(0, 100, (3, 2)).astype(kind) for kind in KINDS}
    written |= {"point": np.array([[4.5]]), "empty": np.zeros((0, 2)), "cube": np.ones((2, 3, 4))}
    other = {"name": "a cat", "cell": np.array([1, "x"], object), "complex": np.array([[1 + 2j]])}
    found = read_matlab(matlab(packed=packed, **other, **written))
    assert sorted(found) == sorted(written)
    for name, values in written.items():
        np.testing.assert_array_equal(found[name], values)


def test_the_other_order_of_bytes_is_read():
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">2I", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = element(6, struct.pack(">2I", 6, 0)) + element(5, struct.pack(">2i", 1, 2))
    parts += element(1, b"kps") + element(9, struct.pack(">2d", 1.5, -2))
    data = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, parts)
    np.testing.assert_array_equal(read_matlab(data)["kps"], [[1.5, -2]])


def test_no_damage_does_more_than_raise_a_value_error():
    random = np.random.default_rng(0)
    for packed in (False, True):
        sound = matlab(packed=packed, kps=[[1, 2.5], [3, 4]], bbox=[[1, 1, 20, 14]])
        for _ in range(3000):
            data = bytearray(sound)
            for _ in range(random.integers(1, 4)):
                data[random.integers(124, len(data))] = random.integers(256)
            try:
                found = read_matlab(bytes(data[: random.integers(124, len(data) + 1)]))
            except ValueError:
                continue
            assert all(array.dtype == np.float64 for array in found.values())


def test_an_array_whose_numbers_have_no_known_type_is_refused_in_a_sentence(tmp_path):
    """SciPy 1.17.1 ends the process on this file."""
    data = bytearray(matlab(kps=[[2.0, 2], [4, 5], [9, 6]]))
    data[data.index(b"kps") + 4] = 0x7F
    (tmp_path / "a.mat").write_bytes(bytes(data))
    with pytest.raises(TruthError, match=r"a\.mat: is a damaged MATLAB file \(kps has no numbers"):
        LandmarksSource(tmp_path / "a.mat", tmp_path / "a.mat").open((40, 30), (40, 30))


def test_arrays_that_unpack_to_too_much_are_refused():
    bomb = matlab(packed=True, kps=np.zeros((3 << 20, 2)))
    assert len(bomb) < 1 << 20
    with pytest.raises(ValueError, match="unpack to more than 16 MiB"):
        read_matlab(bomb)
