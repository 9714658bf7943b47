"""Every kind of picture file is made here, and must come back as it was made."""

import io
import os
import struct
import subprocess
import sys
import time
import types
import warnings
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import PIL.Image
import pytest
from PIL import PngImagePlugin

from engine.errors import ImageError, OutputError
from engine.geometry.coords import Resize
from engine.imagefiles.value_range import ValueRange
from engine.images import (
    IMAGE_SUFFIXES,
    MIN_EDGE_PX,
    Image,
    fit_long_edge,
    read_image,
    read_samples,
    read_size,
    read_thumbnail,
    resize_pixels,
    write_image,
)

WIDTH, HEIGHT = 23, 17


def rgb_noise(dtype=np.uint8, channels=3, seed=0):
    high = np.iinfo(dtype).max
    generator = np.random.default_rng(seed)
    return generator.integers(0, high, (HEIGHT, WIDTH, channels), dtype=dtype, endpoint=True)


def smooth_rgb(width=WIDTH, height=HEIGHT):
    """Slow ramps that JPEG keeps within a few grey levels."""
    ys, xs = np.mgrid[:height, :width]
    planes = [
        40 + 150 * xs / width,
        200 - 120 * ys / height,
        60 + 60 * (xs + ys) / (width + height),
    ]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def png_chunk(name, data):
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def make_png(values, colour_type, depth, *, before=b"", after=b"", size=None):
    """A PNG by hand: (H, W, C) values, with further chunks before and after the pixels."""
    rows = values.astype(">u2" if depth == 16 else np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    width, height = size or (values.shape[1], values.shape[0])
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(raw))
        + after
        + png_chunk(b"IEND", b"")
    )


def exif_block(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def saved(tmp_path, picture, name, **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


def stored_for(upright, orientation):
    """What a camera stores so that ``orientation`` shows ``upright``, from EXIF's own table.

    The table names where row 0 and column 0 of the stored picture lie in the upright one.
    """
    row0, column0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    height, width = upright.shape[:2]
    lines = {"top": 0, "left": 0, "bottom": height - 1, "right": width - 1}
    lies_down = row0 in ("left", "right")
    stored = np.empty((width, height, 3) if lies_down else (height, width, 3), upright.dtype)
    for row in range(stored.shape[0]):
        for column in range(stored.shape[1]):
            across, down = (row, column) if lies_down else (column, row)
            edge_x, edge_y = (row0, column0) if lies_down else (column0, row0)
            x = across if edge_x == "left" else lines["right"] - across
            y = down if edge_y == "top" else lines["bottom"] - down
            stored[row, column] = upright[y, x]
    return stored


# ---- kinds of files


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.ppm", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("lzw.tiff", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
        ("UPPER.PNG", {}),
        ("wrong-ending.jpg", {"format": "PNG"}),
        ("no ending", {"format": "PNG"}),
    ],
)
def test_a_lossless_8_bit_colour_file_comes_back_exactly(tmp_path, name, options):
    truth = rgb_noise()
    path = saved(tmp_path, PIL.Image.fromarray(truth), name, **options)
    image = read_image(path)
    assert image.path == path
    assert image.pixels.dtype == np.uint8
    assert image.size_px == (WIDTH, HEIGHT)
    assert image.pixels.flags.c_contiguous
    np.testing.assert_array_equal(image.pixels, truth)


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.bmp", "a.tif"])
def test_a_grey_file_becomes_three_equal_channels(tmp_path, name):
    truth = rgb_noise(channels=1)
    path = saved(tmp_path, PIL.Image.fromarray(truth[..., 0]), name)
    np.testing.assert_array_equal(read_image(path).pixels, np.repeat(truth, 3, axis=2))


def test_a_black_and_white_bitmap_becomes_0_and_255(tmp_path):
    truth = rgb_noise(channels=1) > 127
    path = saved(tmp_path, PIL.Image.fromarray(truth[..., 0]), "a.pbm")
    np.testing.assert_array_equal(read_image(path).pixels, np.repeat(truth * np.uint8(255), 3, 2))


def test_a_jpeg_comes_back_in_rgb_order_and_close(tmp_path):
    truth = smooth_rgb(64, 48)
    path = saved(tmp_path, PIL.Image.fromarray(truth), "a.jpg", quality=95)
    assert np.abs(read_image(path).pixels.astype(int) - truth).max() <= 6


@pytest.mark.parametrize("kind", ["raw", "plain"])
@pytest.mark.parametrize("maximum", [15, 255, 1023, 65535])
def test_netpbm_samples_are_stretched_from_their_own_maximum(tmp_path, kind, maximum):
    generator = np.random.default_rng(1)
    values = generator.integers(0, maximum, (HEIGHT, WIDTH, 3), endpoint=True)
    header = f"{'P6' if kind == 'raw' else 'P3'}\n# a comment\n{WIDTH} {HEIGHT}\n{maximum}\n"
    if kind == "raw":
        body = values.astype(">u2" if maximum > 255 else np.uint8).tobytes()
    else:
        rows = (" ".join(map(str, row)) for row in values.reshape(HEIGHT, -1))
        body = "\n".join(rows).encode()
    path = tmp_path / "a.ppm"
    path.write_bytes(header.encode() + body)
    pixels = read_image(path).pixels
    top = 65535 if maximum > 255 else 255
    assert pixels.dtype == (np.uint16 if maximum > 255 else np.uint8)
    assert np.abs(pixels - values * (top / maximum)).max() <= 0.5 + 1e-9


def test_a_16_bit_pgm_becomes_three_equal_channels(tmp_path):
    values = rgb_noise(np.uint16, channels=1)
    path = tmp_path / "a.pgm"
    path.write_bytes(f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(path).pixels, np.repeat(values, 3, axis=2))


def test_a_16_bit_colour_png_and_tiff_keep_every_bit(tmp_path):
    truth = rgb_noise(np.uint16)
    png = tmp_path / "a.png"
    png.write_bytes(make_png(truth, 2, 16))
    tiff = tmp_path / "a.tif"
    tiff.write_bytes(cv2.imencode(".tif", truth[..., ::-1])[1].tobytes())
    for path in (png, tiff):
        pixels = read_image(path).pixels
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels, truth)


def test_a_16_bit_grey_png_and_tiff_keep_every_bit(tmp_path):
    truth = rgb_noise(np.uint16, channels=1)
    png = tmp_path / "a.png"
    png.write_bytes(make_png(truth, 0, 16))
    tiff = saved(tmp_path, PIL.Image.fromarray(truth[..., 0]), "a.tif")
    for path in (png, tiff):
        np.testing.assert_array_equal(read_image(path).pixels, np.repeat(truth, 3, axis=2))


def test_a_16_bit_tiff_whose_white_is_zero_is_inverted(tmp_path):
    truth = rgb_noise(np.uint16, channels=1)
    picture = PIL.Image.fromarray(65535 - truth[..., 0])
    path = saved(tmp_path, picture, "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_image(path).pixels, np.repeat(truth, 3, axis=2))


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (16, np.uint16)])
@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_pixels_are_laid_over_white(tmp_path, depth, dtype, channels):
    values = rgb_noise(dtype, channels=channels)
    top = np.iinfo(dtype).max
    values[0, 0, -1], values[0, 1, -1] = 0, top
    path = tmp_path / "a.png"
    path.write_bytes(make_png(values, 4 if channels == 2 else 6, depth))
    alpha = values[..., -1:] / top
    truth = values[..., :-1] * alpha + top * (1 - alpha)
    pixels = read_image(path).pixels
    assert pixels.dtype == dtype
    assert np.abs(pixels - truth).max() <= 0.5 + 1e-6
    assert (pixels[0, 0] == top).all()
    assert (pixels[0, 1] == values[0, 1, :-1]).all()


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (16, np.uint16)])
@pytest.mark.parametrize("colour_type", [0, 2])
def test_the_one_transparent_colour_of_a_png_becomes_white(tmp_path, depth, dtype, colour_type):
    values = rgb_noise(dtype, channels=3 if colour_type == 2 else 1)
    clear = 77
    values[2, 3] = clear
    chunk = png_chunk(b"tRNS", struct.pack(">H", clear) * values.shape[2])
    path = tmp_path / "a.png"
    path.write_bytes(make_png(values, colour_type, depth, before=chunk))
    truth = np.broadcast_to(values, (HEIGHT, WIDTH, 3)).copy()
    truth[(values == clear).all(axis=2)] = np.iinfo(dtype).max
    np.testing.assert_array_equal(read_image(path).pixels, truth)


def test_a_palette_is_looked_up_and_its_transparent_entries_become_white(tmp_path):
    generator = np.random.default_rng(2)
    palette = generator.integers(0, 256, (4, 3), dtype=np.uint8)
    indices = generator.integers(0, 4, (HEIGHT, WIDTH), dtype=np.uint8)
    picture = PIL.Image.fromarray(indices, "P")
    picture.putpalette(palette.tobytes())
    plain = saved(tmp_path, picture, "plain.png")
    np.testing.assert_array_equal(read_image(plain).pixels, palette[indices])
    holes = saved(tmp_path, picture, "holes.png", transparency=bytes([255, 0, 255, 255]))
    palette[1] = 255
    np.testing.assert_array_equal(read_image(holes).pixels, palette[indices])


def without_adobe_marker(data):
    start = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[start + 2 : start + 4])[0]
    assert data[start + 4 : start + 9] == b"Adobe"
    return data[:start] + data[start + 2 + length :]


def test_cmyk_jpegs_of_both_kinds_show_the_same_colours(tmp_path):
    """Adobe stores inverted inks and says so; without its marker the inks are stored straight."""
    inks = np.zeros((32, 32, 4), np.uint8)
    inks[:, :16] = (200, 30, 60, 20)
    inks[:, 16:] = (0, 120, 255, 0)
    paper = (255 - inks[..., :3].astype(int)) * (255 - inks[..., 3:].astype(int)) / 255
    adobe = saved(tmp_path, PIL.Image.fromarray(inks, "CMYK"), "adobe.jpg", quality=100)
    inverted = saved(tmp_path, PIL.Image.fromarray(255 - inks, "CMYK"), "plain.jpg", quality=100)
    inverted.write_bytes(without_adobe_marker(inverted.read_bytes()))
    for path in (adobe, inverted):
        pixels = read_image(path).pixels
        assert np.abs(pixels[:, 4:12] - paper[:, 4:12]).max() <= 4, path.name
        assert np.abs(pixels[:, 20:28] - paper[:, 20:28]).max() <= 4, path.name


def test_a_cmyk_tiff_is_not_taken_for_an_inverted_one(tmp_path):
    inks = np.full((HEIGHT, WIDTH, 4), (0, 255, 255, 0), np.uint8)
    path = saved(tmp_path, PIL.Image.fromarray(inks, "CMYK"), "a.tif")
    assert (read_image(path).pixels == (255, 0, 0)).all()


def test_the_first_of_several_pages_is_read(tmp_path):
    first, second = rgb_noise(seed=1), rgb_noise(seed=2)
    path = tmp_path / "a.tif"
    PIL.Image.fromarray(first).save(
        path, save_all=True, append_images=[PIL.Image.fromarray(second)]
    )
    np.testing.assert_array_equal(read_image(path).pixels, first)


# ---- which way up


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "name", ["a.png", "a.webp", "a.tif", "a.jpg", "late.png", "16.png", "16.tif"]
)
def test_every_exif_orientation_is_undone(tmp_path, orientation, name):
    dtype = np.uint16 if name.startswith("16") else np.uint8
    truth = smooth_rgb(48, 32).astype(dtype) * (257 if dtype == np.uint16 else 1)
    stored = stored_for(truth, orientation)
    path = tmp_path / name
    block = exif_block(orientation)
    if name == "16.tif":
        encoded = cv2.imencode(".tif", stored[..., ::-1])[1].tobytes()
        path.write_bytes(with_tiff_orientation(encoded, orientation))
    elif name in ("16.png", "late.png"):
        chunk = png_chunk(b"eXIf", block.removeprefix(b"Exif\0\0"))
        depth = 16 if dtype == np.uint16 else 8
        path.write_bytes(make_png(stored, 2, depth, after=chunk))
    else:
        options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 97}}.get(name, {})
        if name == "a.tif":
            options = {"tiffinfo": {0x0112: orientation}}
        else:
            options["exif"] = block
        PIL.Image.fromarray(stored).save(path, **options)
    assert read_size(path) == (48, 32)
    pixels = read_image(path).pixels
    assert pixels.dtype == dtype
    tolerance = 6 if name == "a.jpg" else 0
    assert pixels.shape == truth.shape
    assert np.abs(pixels.astype(int) - truth).max() <= tolerance
    small = read_thumbnail(path, long_edge_px=24)
    assert small.shape == (16, 24, 3)
    assert small[0, 0, 0] < small[0, -1, 0], "red grows to the right"
    assert small[0, 0, 1] > small[-1, 0, 1], "green falls downwards"


def with_tiff_orientation(data, orientation):
    """The little-endian TIFF with an orientation entry in a new directory at its end."""
    assert data[:4] == b"II*\0"
    place = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[place : place + 2])[0]
    entries = [data[place + 2 + 12 * i : place + 14 + 12 * i] for i in range(count)]
    entries = [entry for entry in entries if entry[:2] != struct.pack("<H", 0x0112)]
    entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2])[0])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    data += b"\0" * (len(data) % 2)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


@pytest.mark.parametrize("block", [b"Exif\0\0junk", b"Exif\0\0", exif_block(77)])
def test_a_broken_exif_block_hides_no_picture(tmp_path, block):
    truth = smooth_rgb(48, 32)
    path = saved(tmp_path, PIL.Image.fromarray(truth), "a.webp", lossless=True, exif=block)
    np.testing.assert_array_equal(read_image(path).pixels, truth)


# ---- paths and refusals


def test_a_path_with_any_letters_is_read_and_written(tmp_path):
    folder = tmp_path / "Łódź 東京 ünï"
    folder.mkdir()
    truth = rgb_noise()
    write_image(folder / "画像 é.png", truth)
    np.testing.assert_array_equal(read_image(folder / "画像 é.png").pixels, truth)
    sixteen = folder / "深い.png"
    sixteen.write_bytes(make_png(rgb_noise(np.uint16), 2, 16))
    np.testing.assert_array_equal(read_image(sixteen).pixels, rgb_noise(np.uint16))


def refusal(path, **options):
    """The reason given; the sentence must begin with the path."""
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.reason


def test_files_that_are_no_pictures_are_refused_with_the_reason(tmp_path):
    empty = tmp_path / "empty.png"
    empty.touch()
    text = tmp_path / "text.jpg"
    text.write_text("not a picture at all")
    assert refusal(tmp_path / "none.png") == "does not exist"
    assert refusal(tmp_path / "a" / "b" / "none.png") == "does not exist"
    assert refusal(tmp_path) == "is a folder, not a picture"
    assert refusal(empty) == "is empty"
    assert "not a picture of a known kind (PNG, JPEG" in refusal(text)
    assert "cannot be read" in refusal(text / "below-a-file.png")
    for path in (tmp_path / "none.png", tmp_path, empty, text):
        with pytest.raises(ImageError):
            read_size(path)
        with pytest.raises(ImageError):
            read_thumbnail(path, long_edge_px=10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(tmp_path / "pipe.png") == "is a pipe, not a file"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_a_file_without_permission_is_refused(tmp_path):
    path = saved(tmp_path, PIL.Image.fromarray(rgb_noise()), "a.png")
    path.chmod(0)
    assert "no permission" in refusal(path)


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.ppm", "a.bmp", "a.tif", "lzw.tif", "a.webp", "16.png", "16.ppm",
             "16.tif", "16p.ppm"]
)  # fmt: skip
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_that_was_cut_short_is_refused(tmp_path, name, share):
    generator = np.random.default_rng(3)
    path = tmp_path / name
    deep = generator.integers(0, 65536, (60, 80, 3), dtype=np.uint16)
    noise = (deep >> 8).astype(np.uint8)
    if name == "16.png":
        path.write_bytes(make_png(deep, 2, 16))
    elif name == "16.ppm":
        path.write_bytes(b"P6 80 60 65535\n" + deep.astype(">u2").tobytes())
    elif name == "16p.ppm":
        path.write_bytes(b"P3 80 60 65535\n" + " ".join(map(str, deep.ravel())).encode())
    elif name == "16.tif":
        path.write_bytes(cv2.imencode(".tif", deep)[1].tobytes())
    else:
        options = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
        PIL.Image.fromarray(noise).save(path, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "damaged or cut short" in refusal(path)


def test_rubbish_behind_a_good_beginning_never_raises_anything_else(tmp_path):
    generator = np.random.default_rng(4)
    beginnings = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF", b"II*\0", b"MM\0*", b"BM"]
    beginnings += [b"P5 ", b"P6\n9 9\n999\n", b"P3 2 2 70000\n", b"II+\0", b"\xff\xd8\xff\xee"]
    path = tmp_path / "rubbish"
    for beginning in beginnings:
        for length in (0, 3, 40, 400):
            path.write_bytes(beginning + generator.bytes(length))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow remarks on some of it
                refusal(path)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"%PDF-1.7", "is a PDF"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"\x76\x2f\x31\x01", "is OpenEXR"),
        (b"#?RADIANCE\n", "is a Radiance HDR picture"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x93NUMPY\x01\0", "is a numpy array"),
        (b"PK\x03\x04", "is a ZIP archive"),
        (b"P7\nWIDTH 3\n", "is PAM"),
        (b"\0" * 128 + b"DICM", "is DICOM"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "is a film (MP4 or QuickTime)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "is a camera's raw file (CR3)"),
        (b"RIFF\x10\0\0\0AVI LIST", "is a film (AVI)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is Git LFS's pointer"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'>", "is SVG"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
    ],
)
def test_what_is_not_read_is_called_by_its_name_and_not_damaged(tmp_path, start, name):
    path = tmp_path / "a.png"
    path.write_bytes(start + bytes(40))
    assert refusal(path).startswith(name)


@pytest.mark.parametrize(
    ("start", "kind", "package"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC", "pillow-heif"),
        (b"\xff\x0a\x7f", "JPEG XL", "pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "pillow-jxl-plugin"),
    ],
)
def test_a_kind_that_a_plug_in_reads_names_it(tmp_path, monkeypatch, start, kind, package):
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    path = tmp_path / "a.jpg"
    path.write_bytes(start + bytes(40))
    reason = f"is {kind}; the package {package} reads it: pip install {package}"
    assert refusal(path) == reason


def test_a_plug_in_that_is_installed_opens_its_kind(tmp_path, monkeypatch):
    """Its reader stands in for it here: what is tested is that it is found and used."""
    truth = rgb_noise()
    stream = io.BytesIO()
    PIL.Image.fromarray(truth).save(stream, "PNG")

    class Reader(PngImagePlugin.PngImageFile):
        def __init__(self, file, name):
            super().__init__(io.BytesIO(file.read()[24:]), name)

    for name in ("pillow_heif", "pillow_heif.as_plugin"):
        module = types.ModuleType(name)
        module.HeifImageFile = Reader
        monkeypatch.setitem(sys.modules, name, module)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + stream.getvalue())
    np.testing.assert_array_equal(read_image(path).pixels, truth)


def test_the_first_frame_of_a_gif_is_read(tmp_path):
    generator = np.random.default_rng(8)
    palette = generator.integers(0, 256, (16, 3), dtype=np.uint8)
    frames = []
    for seed in range(2):
        frame = PIL.Image.fromarray(
            np.random.default_rng(seed).integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint8), "P"
        )
        frame.putpalette(palette.tobytes())
        frames.append(frame)
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(path).pixels, palette[np.asarray(frames[0])])


@pytest.mark.parametrize("orientation", [1, 6])
def test_an_avif_is_read_upright(tmp_path, orientation):
    truth = smooth_rgb(64, 48)
    stored = PIL.Image.fromarray(stored_for(truth, orientation))
    path = saved(tmp_path, stored, "a.avif", quality=95, exif=exif_block(orientation))
    assert read_size(path) == (64, 48)
    assert np.abs(read_image(path).pixels.astype(int) - truth).max() <= 8


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_keeps_all_its_bits(tmp_path, bits, channels):
    dtype = np.uint8 if bits == 8 else np.uint16
    top = 2**bits - 1
    generator = np.random.default_rng(2)
    truth = generator.integers(0, top, (HEIGHT, WIDTH, channels), dtype=dtype, endpoint=True)
    stored = truth if channels == 3 else truth[..., 0]
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(stored, level=0, bitspersample=bits))
    image = read_image(path)
    np.testing.assert_array_equal(image.samples, np.broadcast_to(truth, (HEIGHT, WIDTH, 3)))
    assert image.range == ValueRange(0, top)


@pytest.mark.parametrize("depth", [8, 16])
def test_profiles_and_texts_of_any_size_hide_no_png(tmp_path, depth):
    """Pillow alone refuses a text above 1 MB and a profile that unpacks to more than that."""
    truth = rgb_noise(np.uint16 if depth == 16 else np.uint8)
    much = zlib.compress(b"x" * 3_000_000)
    texts = (
        png_chunk(b"iCCP", b"name\0\0" + much)
        + png_chunk(b"tEXt", b"Comment\0" + b"y" * 3_000_000)
        + png_chunk(b"zTXt", b"More\0\0" + much)
        + png_chunk(b"iTXt", b"Yet\0\1\0\0\0" + much)
    )
    path = tmp_path / "a.png"
    path.write_bytes(make_png(truth, 2, depth, before=texts, after=texts))
    assert read_size(path) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_image(path).pixels, truth)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [2, 50, 1000])
def test_a_jpeg_without_its_end_is_shown_with_a_word_where_that_is_allowed(
    tmp_path, missing, progressive
):
    truth = smooth_rgb(320, 240)
    path = saved(tmp_path, PIL.Image.fromarray(truth), "a.jpg", quality=95, progressive=progressive)
    whole = read_image(path, allow_cut=True)
    assert (whole.cut_short, whole.notes) == (False, ())
    path.write_bytes(path.read_bytes()[:-missing])
    image = read_image(path, allow_cut=True)
    assert image.cut_short
    assert image.remarks[0].startswith("a.jpg is cut short")
    assert image.size_px == (320, 240)
    if not progressive:  # the upper rows are complete
        np.testing.assert_array_equal(image.pixels[:100], whole.pixels[:100])
    assert "damaged or cut short" in refusal(path)
    assert read_thumbnail(path, long_edge_px=32).shape == (24, 32, 3)


def test_a_jpeg_that_ends_before_its_pixels_is_refused_all_the_same(tmp_path):
    path = saved(tmp_path, PIL.Image.fromarray(rgb_noise()), "a.jpg")
    path.write_bytes(path.read_bytes()[:100])
    assert "damaged or cut short" in refusal(path, allow_cut=True)


def test_pfm_is_read_from_the_bottom_row_up(tmp_path):
    generator = np.random.default_rng(4)
    for header, channels, order in (("PF", 3, "<"), ("Pf", 1, ">")):
        truth = generator.random((HEIGHT, WIDTH, channels), np.float32)
        scale = -1.0 if order == "<" else 1.0
        path = tmp_path / "a.pfm"
        body = truth[::-1].astype(f"{order}f4").tobytes()
        path.write_bytes(f"{header}\n{WIDTH} {HEIGHT}\n{scale}\n".encode() + body)
        pixels = read_image(path).pixels
        np.testing.assert_array_equal(pixels, np.broadcast_to(truth, (HEIGHT, WIDTH, 3)))
        path.write_bytes(path.read_bytes()[:-1])
        assert "damaged or cut short" in refusal(path)


def test_a_picture_above_the_limit_is_refused_with_its_size_before_it_is_decoded(tmp_path):
    """The pixels of this file are missing: only its header can have been looked at."""
    path = tmp_path / "bomb.png"
    path.write_bytes(make_png(np.zeros((1, 1, 3)), 2, 8, size=(60_000, 50_000)))
    reason = refusal(path)
    assert "60000 × 50000" in reason
    assert "150 million" in reason
    assert read_size(path) == (60_000, 50_000)
    with pytest.raises(ImageError, match="more than the limit"):
        read_thumbnail(path, long_edge_px=100)


def test_the_limit_can_be_set_and_counts_pixels(tmp_path):
    path = saved(tmp_path, PIL.Image.fromarray(rgb_noise()), "a.png")
    assert read_image(path, max_pixels=WIDTH * HEIGHT).size_px == (WIDTH, HEIGHT)
    assert "more than the limit" in refusal(path, max_pixels=WIDTH * HEIGHT - 1)


def test_a_picture_that_alarms_pillow_but_not_us_is_read_without_a_warning(tmp_path):
    """Pillow warns from 89 million pixels on; a warning would fail this test."""
    path = tmp_path / "large.png"
    path.write_bytes(make_png(np.zeros((1, 1, 3)), 2, 8, size=(10_000, 9_000)))
    assert read_size(path) == (10_000, 9_000)
    assert "damaged or cut short" in refusal(path)


# ---- values and thumbnails


def test_float_and_8_bit_values_are_those_of_the_pixels():
    deep = np.array([[[0, 257, 65535], [128, 129, 65406]]], np.uint16)
    image = Image(Path("a"), deep)
    np.testing.assert_allclose(image.as_float(), deep / 65535, rtol=1e-6)
    np.testing.assert_array_equal(image.as_uint8(), np.round(deep / 257).astype(np.uint8))
    shallow = Image(Path("a"), rgb_noise())
    assert shallow.as_float().dtype == np.float32
    np.testing.assert_allclose(shallow.as_float(), rgb_noise() / 255, rtol=1e-6)
    assert shallow.as_uint8() is shallow.pixels


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_thumbnail_is_the_picture_made_small(tmp_path, name):
    path = saved(tmp_path, PIL.Image.fromarray(smooth_rgb(800, 600)), name)
    small = read_thumbnail(path, long_edge_px=100)
    assert small.shape == (75, 100, 3)
    assert small.dtype == np.uint8
    assert np.abs(small.astype(int) - smooth_rgb(100, 75)).max() <= 4


def test_a_thumbnail_is_never_larger_than_its_picture(tmp_path):
    path = saved(tmp_path, PIL.Image.fromarray(rgb_noise()), "a.png")
    np.testing.assert_array_equal(read_thumbnail(path, long_edge_px=500), rgb_noise())


def test_a_thumbnail_of_a_very_long_strip_keeps_a_pixel_of_height(tmp_path):
    path = saved(tmp_path, PIL.Image.new("RGB", (2000, 2)), "a.png")
    assert read_thumbnail(path, long_edge_px=100).shape == (1, 100, 3)


# ---- resizing


def blob(size_px, centre, sigma_px):
    ys, xs = np.mgrid[: size_px[1], : size_px[0]]
    value = np.exp(-((xs - centre[0]) ** 2 + (ys - centre[1]) ** 2) / (2 * sigma_px**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.float32)


def centroid(pixels):
    weight = pixels[..., 0].astype(np.float64)
    ys, xs = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    return np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    ("from_size_px", "to_size_px"),
    [
        ((160, 120), (80, 60)),
        ((161, 119), (97, 71)),
        ((161, 119), (40, 30)),
        ((101, 77), (257, 199)),
        ((101, 77), (303, 50)),
        ((100, 100), (100, 37)),
    ],
)
def test_a_blob_moves_as_the_transform_says(from_size_px, to_size_px, antialias):
    start = np.array([0.43 * from_size_px[0] + 0.3, 0.55 * from_size_px[1] - 0.2])
    resized = resize_pixels(blob(from_size_px, start, 9.0), to_size_px, antialias=antialias)
    assert resized.shape == (to_size_px[1], to_size_px[0], 3)
    expected = Resize(from_size_px, to_size_px).forward(start)
    np.testing.assert_allclose(centroid(resized), expected, atol=0.02)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("to_size_px", [(31, 20), (75, 49), (200, 131), (64, 100)])
def test_a_ramp_keeps_its_values_at_the_transformed_places(to_size_px, antialias):
    """A picture that holds its own x and y reads, after the resize, what backward() says."""
    from_size_px = (75, 49)
    ys, xs = np.mgrid[: from_size_px[1], : from_size_px[0]].astype(np.float32)
    ramp = np.stack([xs, ys, xs + ys], axis=-1) / 128
    resized = resize_pixels(ramp, to_size_px, antialias=antialias) * 128
    ys, xs = np.mgrid[: to_size_px[1], : to_size_px[0]]
    before = Resize(from_size_px, to_size_px).backward(np.stack([xs, ys], axis=-1))
    clear = 3 * np.maximum(1, np.divide(from_size_px, to_size_px))  # filters lean at the border
    within = ((before >= clear) & (before <= np.array(from_size_px) - 1 - clear)).all(axis=-1)
    assert within.sum() > 100
    # The triangle filter has few weights: exact where an axis grows, on average where it shrinks.
    error = resized[within][:, :2] - before[within]
    shrinks = np.array(to_size_px) < from_size_px
    tolerance = np.where(shrinks & antialias, 0.1, 2e-3)
    assert (np.abs(error).max(axis=0) <= tolerance).all()
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=5e-3)


def test_antialiasing_averages_away_what_the_small_picture_cannot_show():
    """A one-pixel checkerboard is even grey from afar; four pixels alone see black or white."""
    ys, xs = np.mgrid[:120, :120]
    board = np.repeat(((xs + ys) % 2)[..., None], 3, axis=2).astype(np.uint8) * 255
    smooth = resize_pixels(board, (24, 24), antialias=True)
    np.testing.assert_allclose(smooth, 0.5, atol=0.02)
    rough = resize_pixels(board, (24, 24), antialias=False)
    assert rough.std() > 0.4


@pytest.mark.parametrize("antialias", [True, False])
def test_resizing_scales_integers_to_the_unit_range_and_keeps_its_input(antialias):
    for pixels, top in ((rgb_noise(), 255), (rgb_noise(np.uint16), 65535)):
        copy = pixels.copy()
        same = resize_pixels(pixels, (WIDTH, HEIGHT), antialias=antialias)
        assert same.dtype == np.float32
        np.testing.assert_allclose(same, pixels / top, rtol=1e-6)
        larger = resize_pixels(pixels, (40, 40), antialias=antialias)
        assert 0 <= larger.min() <= larger.max() <= 1
        np.testing.assert_array_equal(pixels, copy)


def test_resizing_a_float_picture_gives_a_copy():
    pixels = np.zeros((20, 20, 3), np.float32)
    resize_pixels(pixels, (20, 20), antialias=True)[:] = 1
    assert pixels.max() == 0


@pytest.mark.parametrize(
    ("size_px", "long_edge_px", "expected"),
    [
        ((1024, 768), 640, (640, 480)),
        ((768, 1024), 640, (480, 640)),
        ((640, 480), 640, (640, 480)),
        ((300, 200), 640, (300, 200)),
        ((1024, 768), 0, (1024, 768)),
        ((1280, 961), 640, (640, 481)),  # 480.5: halves go up
        ((1001, 667), 640, (640, 426)),  # 426.45
        ((5000, 100), 640, (640, MIN_EDGE_PX)),
        ((9, 400), 640, (MIN_EDGE_PX, 400)),
        ((1, 1), 0, (MIN_EDGE_PX, MIN_EDGE_PX)),
    ],
)
def test_the_long_edge_is_brought_down_and_never_up(size_px, long_edge_px, expected):
    resize = fit_long_edge(size_px, long_edge_px)
    assert resize.from_size_px == size_px
    assert resize.to_size_px == expected


# ---- writing


def test_written_pictures_are_read_back(tmp_path):
    write_image(tmp_path / "a.png", rgb_noise())
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, rgb_noise())
    for name in ("b.jpg", "c.JPEG"):
        write_image(tmp_path / name, smooth_rgb(64, 48))
        read = read_image(tmp_path / name).pixels.astype(int)
        assert np.abs(read - smooth_rgb(64, 48)).max() <= 6
    view = rgb_noise()[::2, ::-1]
    write_image(tmp_path / "view.png", view)
    np.testing.assert_array_equal(read_image(tmp_path / "view.png").pixels, view)
    assert all(Path(name).suffix in IMAGE_SUFFIXES for name in ("a.png", "b.jpg", "c.jpeg"))


def test_what_cannot_be_written_is_said_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "a.png"
    write_image(target, rgb_noise())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="its folder does not exist"):
        write_image(tmp_path / "missing" / "a.png", rgb_noise())
    with pytest.raises(OutputError, match=r"\.png, \.jpg or \.jpeg"):
        write_image(tmp_path / "a.gif", rgb_noise())
    with pytest.raises(OutputError, match="is a folder, not a file"):
        write_image(tmp_path / "folder.png", rgb_noise())
    for wrong in (rgb_noise(np.uint16), rgb_noise()[..., 0], np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(OutputError, match="not a picture"):
            write_image(target, wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "folder.png"]
    np.testing.assert_array_equal(read_image(target).pixels, rgb_noise())


def test_the_encoder_sees_bytes_not_names(tmp_path):
    """A JPEG ending gives JPEG bytes, whatever stands before it."""
    write_image(tmp_path / "a.png.jpg", smooth_rgb())
    assert PIL.Image.open(io.BytesIO((tmp_path / "a.png.jpg").read_bytes())).format == "JPEG"


def test_pictures_and_sequences_are_at_hand_without_torch_or_qt():
    """The window shows pictures first and loads torch afterwards."""
    modules = (
        "engine.images, engine.geometry.homography, engine.geometry.visibility, "
        "engine.matching.query_points, engine.data.layouts, engine.data.demo"
    )
    code = f"import sys, {modules}; print(*({{'torch', 'PySide6', 'skimage'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_samples_are_read_as_they_are_stored(tmp_path: Path):
    """Neither OpenCV's order of channels, nor a range, nor the half that float samples would be."""
    stored = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "flow.png"), stored[..., ::-1])
    read = read_samples(tmp_path / "flow.png")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, stored)
    cv2.imwrite(str(tmp_path / "depth.png"), stored[..., 0])
    np.testing.assert_array_equal(read_samples(tmp_path / "depth.png"), stored[..., 0])
    with pytest.raises(ImageError, match="more than the limit"):
        read_samples(tmp_path / "flow.png", max_pixels=34)


def test_a_png_that_announces_more_than_it_holds_is_refused_at_once(tmp_path: Path):
    """OpenCV would make room for 4 GB first, which takes a quarter of a minute."""
    stored = np.zeros((20, 20, 3), np.uint16)
    stored[::2] = 40000
    encoded = cv2.imencode(".png", stored)[1].tobytes()
    place = encoded.index(b"IDAT") - 4
    path = tmp_path / "long.png"
    path.write_bytes(encoded[:place] + b"\xff" * 4 + encoded[place + 4 :])
    begun_s = time.process_time()
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(path)
    assert time.process_time() - begun_s < 2
