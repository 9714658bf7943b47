"""Files with numbers for all pixels, each written by another library than the one that reads it."""

from __future__ import annotations

import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.truth.map_files import read_map

NAMES = ("depth",)
SIZE_PX = (7, 5)


@pytest.fixture
def floats() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0.5, 90, SIZE_PX[::-1]).astype(np.float32)


@pytest.fixture
def whole() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 65536, SIZE_PX[::-1]).astype(np.uint16)


def test_a_pfm_is_read_from_its_top_row_down(tmp_path: Path, floats: NDArray[np.float32]):
    path = tmp_path / "map.pfm"
    assert cv2.imwrite(str(path), floats)
    assert np.array_equal(read_map(path, NAMES), floats)


def test_a_pfm_of_the_other_byte_order_holds_the_same(tmp_path: Path, floats: NDArray[np.float32]):
    path = tmp_path / "map.pfm"
    path.write_bytes(b"Pf\n7 5\n1.0\n" + floats[::-1].astype(">f4").tobytes())
    assert np.array_equal(read_map(path, NAMES), floats)


def test_a_tiff_keeps_its_floats(tmp_path: Path, floats: NDArray[np.float32]):
    path = tmp_path / "map.tif"
    assert cv2.imwrite(str(path), floats)
    assert np.array_equal(read_map(path, NAMES), floats)


def test_a_png_keeps_all_its_16_bits(tmp_path: Path, whole: NDArray[np.uint16]):
    path = tmp_path / "map.png"
    assert cv2.imwrite(str(path), whole)
    read = read_map(path, NAMES)
    assert read.dtype == np.uint16
    assert np.array_equal(read, whole)


def test_a_png_in_colour_begins_with_red(tmp_path: Path, whole: NDArray[np.uint16]):
    path = tmp_path / "map.png"
    blue, green, red = whole, whole // 2, whole // 3
    assert cv2.imwrite(str(path), np.stack([blue, green, red], axis=-1))  # OpenCV begins with blue
    assert np.array_equal(read_map(path, NAMES), np.stack([red, green, blue], axis=-1))


@pytest.mark.parametrize("colour", [False, True])
def test_a_png_of_8_bit_in_equal_colours_is_one_number_a_pixel(tmp_path: Path, colour: bool):
    path, grey = tmp_path / "map.png", np.arange(35, dtype=np.uint8).reshape(5, 7)
    assert cv2.imwrite(str(path), np.stack([grey] * 3, axis=-1) if colour else grey)
    assert np.array_equal(read_map(path, NAMES), grey)


def test_a_dense_map_of_colmap_is_read_by_rows(tmp_path: Path):
    """These bytes were written by pycolmap 4.2.1, from [[1, 2, 3], [4, 5, 6]]."""
    path = tmp_path / "image.jpg.geometric.bin"
    path.write_bytes(b"3&2&1&\0\0\x80?\0\0\0@\0\0@@\0\0\x80@\0\0\xa0@\0\0\xc0@")
    assert read_map(path, NAMES).tolist() == [[1, 2, 3], [4, 5, 6]]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TruthError, match="is a damaged COLMAP map"):
        read_map(path, NAMES)


def test_a_map_with_one_channel_is_one_number_a_pixel(tmp_path: Path, floats: NDArray[np.float32]):
    path = tmp_path / "map.npy"
    np.save(path, floats[..., None])
    assert np.array_equal(read_map(path, NAMES), floats)


def test_a_damaged_hdf5_file_is_named(tmp_path: Path, floats: NDArray[np.float32]):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "map.h5"
    with h5py.File(path, "w") as file:
        file["depth"] = floats
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(TruthError) as caught:
        read_map(path, NAMES)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["depth", "arr_0", "Depth", "z"])
def test_the_only_map_of_an_archive_may_have_any_name(
    tmp_path: Path, floats: NDArray[np.float32], name: str
):
    path = tmp_path / "map.npz"
    np.savez(path, **{name: floats, "intrinsics": np.eye(3).ravel()})
    assert np.array_equal(read_map(path, NAMES), floats)


def test_of_several_maps_the_one_with_the_right_name_is_read(
    tmp_path: Path, floats: NDArray[np.float32]
):
    path = tmp_path / "map.npz"
    np.savez(path, confidence=floats + 1, depth=floats)
    assert np.array_equal(read_map(path, NAMES), floats)
    np.savez(path, confidence=floats + 1, z=floats)
    with pytest.raises(TruthError, match=r"holds several maps \(confidence, z\); call one of them"):
        read_map(path, NAMES)


def test_an_hdf5_file_holds_its_map_at_any_depth(tmp_path: Path, floats: NDArray[np.float32]):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "map.h5"
    with h5py.File(path, "w") as file:
        file["view/depth"] = floats
        file["view/mask"] = np.ones(floats.shape, np.uint8)
        file["title"] = "a scene"
    assert np.array_equal(read_map(path, NAMES), floats)


def test_without_h5py_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "map.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(TruthError, match=r"which h5py reads; install it with: .*hdf5"):
        read_map(path, NAMES)


def test_openexr_is_read_where_opencv_can_and_explained_where_it_cannot(
    tmp_path: Path, floats: NDArray[np.float32]
):
    path = tmp_path / "map.exr"
    try:
        written = cv2.imwrite(str(path), floats)
    except cv2.error:
        written = False
    if written:
        assert np.array_equal(read_map(path, NAMES), floats)
    else:
        path.write_bytes(b"\x76\x2f\x31\x01" + bytes(64))
        with pytest.raises(TruthError, match=r"OpenEXR, which this OpenCV cannot read .*\.pfm"):
            read_map(path, NAMES)


def test_a_map_of_another_size_than_its_image_is_refused(
    tmp_path: Path, floats: NDArray[np.float32]
):
    path = tmp_path / "map.npy"
    np.save(path, floats)
    assert read_map(path, NAMES, size_px=SIZE_PX).shape == (5, 7)
    with pytest.raises(TruthError, match="has 7 × 5 pixels, and its image has 5 × 7"):
        read_map(path, NAMES, size_px=(5, 7))


@pytest.mark.parametrize("array", [np.zeros(7), np.zeros((2, 3, 5, 7)), np.zeros((3, 5, 7))])
def test_an_array_that_is_no_map_is_refused(tmp_path: Path, array: NDArray[Any]):
    path = tmp_path / "map.npy"
    np.save(path, array)
    with pytest.raises(TruthError, match="holds no map but an array of"):
        read_map(path, NAMES)


def cut_png(path: Path) -> None:
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 65536, (40, 60)).astype(np.uint16))
    path.write_bytes(path.read_bytes()[:-2000])


def endless_png(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint16))
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


def objects(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)


def no_maps(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"1 0 0"), "not a map of numbers"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(64)), "is .*JPEG.*, not a map"),
        (lambda path: path.write_bytes(b"Pf\n7 5\n-1.0\n" + bytes(8)), "damaged or cut short"),
        (lambda path: path.write_bytes(b"Pf\n-7 -5\n-1.0\n" + bytes(140)), "damaged or cut short"),
        (lambda path: path.mkdir(), "is a folder"),
        (cut_png, "damaged or cut short"),
        (endless_png, "more than the limit of 150 million pixels"),
        (objects, "damaged .npy file"),
        (no_maps, "not a NumPy archive"),
    ],
)
def test_what_cannot_be_read_is_named_in_a_sentence(tmp_path: Path, make: Any, said: str):
    path = tmp_path / "map.png"
    make(path)
    with pytest.raises(TruthError, match=said) as caught:
        read_map(path, NAMES)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(TruthError, match="does not exist"):
        read_map(tmp_path / "map.png", NAMES)
