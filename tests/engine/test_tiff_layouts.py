"""Every layout of a TIFF is written, and must come back as the array it was written from.

A layout that is refused is no fault: other pixels are.  What is expected is worked out here in
plain floating-point arithmetic from the array that was handed to the writer.
"""

import itertools
import re
import struct
from dataclasses import dataclass

import numpy as np
import PIL.Image
import pytest
import tifffile

from engine.errors import ImageError
from engine.images import read_image, read_size

WIDTH, HEIGHT = 37, 21
TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")
COMPRESSIONS = (
    *((None, 1), ("deflate", 1), ("deflate", 2), ("deflate", 3), ("lzw", 1), ("lzw", 2)),
    *(("lzw", 3), ("jpeg", 1), ("zstd", 1), ("packbits", 1)),
)
ORDERS = ("<", ">")
TILES = (None, (16, 32))


@dataclass(frozen=True)
class Kind:
    """How many samples a pixel has, and what the tags say they are."""

    channels: int
    photometric: str
    extras: tuple[str, ...] = ()


KINDS = {
    "grey": Kind(1, "minisblack"),
    "white is zero": Kind(1, "miniswhite"),
    "rgb": Kind(3, "rgb"),
    "rgba": Kind(4, "rgb", ("unassalpha",)),
    "premultiplied": Kind(4, "rgb", ("assocalpha",)),
    "grey and alpha": Kind(2, "minisblack", ("unassalpha",)),
    "rgb and a band": Kind(4, "rgb", ("unspecified",)),
    "rgb, a band and alpha": Kind(5, "rgb", ("unspecified", "unassalpha")),
    "rgb and two bands": Kind(5, "rgb", ("unspecified", "unspecified")),
    "four bands": Kind(4, "minisblack", ("unspecified",) * 3),
    "five bands": Kind(5, "minisblack", ("unspecified",) * 4),
    "palette": Kind(1, "palette"),
    "cmyk": Kind(4, "separated"),
    "ycbcr": Kind(3, "ycbcr"),
}


def top_of(dtype):
    kind = np.dtype(dtype)
    return 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)


NOT_WRITTEN = re.compile(
    r"cannot use <PREDICTOR\.|JPEG subsampling requires RGB\(A\) images|invalid data shape"
)
"""What tifffile and its JPEG encoder say of predictors and types that no file can have together."""


def smooth(channels, dtype, seed=0):
    """Slow waves over the whole of a type, which JPEG keeps within a few of 255 levels."""
    generator = np.random.default_rng(seed)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    planes = []
    for _ in range(channels):
        turn, phase = generator.uniform(0, 2 * np.pi, 2)
        way = np.cos(turn) * xs / WIDTH + np.sin(turn) * ys / HEIGHT
        planes.append(0.5 + 0.49 * np.sin(3 * way + phase))
    share = np.stack(planes, axis=-1)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return share.astype(kind)
    info = np.iinfo(kind)
    return np.clip(np.round(info.min + share * (info.max - info.min)), info.min, info.max).astype(
        kind
    )


def expected(kind, array, dtype, table=None):
    """(H, W, 3) in the file's unit, and how far a right answer may be away."""
    values = array.astype(np.float64)
    top = top_of(dtype)
    step = 1.0 if np.dtype(dtype).kind != "f" else 2e-3 if dtype == "float16" else 1e-6
    if kind.photometric == "palette":
        return (table >> 8 if dtype == "uint8" else table).T[array[..., 0]], 0
    if kind.photometric == "separated":
        return (top - values[..., :3]) * (top - values[..., 3:4]) / top, step
    if kind.photometric == "ycbcr":
        y, cb, cr = (values[..., i] for i in range(3))
        r, b = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
        g = (y - 0.299 * r - 0.114 * b) / 0.587
        return np.clip(np.stack([r, g, b], axis=-1), 0, 255), 2
    colours = 3 if kind.photometric == "rgb" else 1
    colour = values[..., :colours]
    if kind.photometric == "miniswhite":
        return np.broadcast_to(top - colour, (HEIGHT, WIDTH, 3)), 0 if step == 1 else step
    for place, extra in enumerate(kind.extras):
        opacity = values[..., colours + place, None] / top
        if extra == "unassalpha":
            return np.broadcast_to(colour * opacity + top * (1 - opacity), (HEIGHT, WIDTH, 3)), step
        if extra == "assocalpha":
            return colour + top * (1 - opacity), step
    return np.broadcast_to(colour, (HEIGHT, WIDTH, 3)), 0


def write(path, kind, array, *, planar="contig", compression=None, predictor=1, tile=None,
          order="<", table=None, tags=()):  # fmt: skip
    """Write one layout; a ``ValueError`` that matches ``NOT_WRITTEN`` where tifffile cannot."""
    shape = array if kind.channels > 1 else array[..., 0]
    if planar == "separate":
        shape = np.moveaxis(array, -1, 0)
    tifffile.imwrite(
        path,
        shape,
        byteorder=order,
        photometric=kind.photometric,
        planarconfig=planar if kind.channels > 1 else None,
        extrasamples=kind.extras or None,
        compression=compression,
        compressionargs={"level": 95} if compression == "jpeg" else None,
        predictor=predictor if predictor > 1 else None,
        tile=tile,
        rowsperstrip=None if tile else 8,
        colormap=table,
        extratags=tags,
        metadata=None,
    )


def outcome(path, truth, tolerance, part=(slice(None), slice(None))):
    """Right, refused, or what is wrong with a part of the picture."""
    try:
        image = read_image(path)
    except ImageError as error:
        reason = error.reason
        return f"refused as damaged: {reason}" if "damaged" in reason else "refused"
    if image.samples.shape != truth.shape:
        return f"shape {image.samples.shape}"
    off = np.abs(image.samples.astype(np.float64) - truth)[part].max()
    return "right" if off <= tolerance else f"{off:.4g} off"


def refusable(kind, dtype, planar, compression):
    """What may be refused: the tags do not say what it means, or nothing reads it rightly."""
    whole = np.dtype(dtype).kind
    if kind.photometric == "rgb" and compression == "jpeg" and dtype == "uint16":
        return True  # is written as YCbCr of 12 bit
    if kind.photometric == "ycbcr":
        return dtype != "uint8" or planar == "separate"
    if kind.photometric == "separated":
        return whole == "i" or dtype == "uint32"
    if kind.photometric == "miniswhite":
        return whole == "i"
    alpha = {"unassalpha", "assocalpha"} & set(kind.extras)
    return bool(alpha) and whole == "i"


def layouts(dtype, *, every):
    """(name of the kind, planes, compression, tile, byte order): all, or each value often."""
    turn = itertools.cycle(itertools.product(TILES, ORDERS))
    for name, planar, compression in itertools.product(KINDS, ("contig", "separate"), COMPRESSIONS):
        if planar == "separate" and KINDS[name].channels == 1:
            continue
        for tile, order in itertools.product(TILES, ORDERS) if every else [next(turn)]:
            yield name, planar, compression, tile, order


def try_layouts(folder, dtype, *, every=False):
    """How often each outcome came, and the layouts that are wrong."""
    counts, wrong = {"right": 0, "refused": 0, "not written": 0}, []
    generator = np.random.default_rng(5)
    for name, planar, (compression, predictor), tile, order in layouts(dtype, every=every):
        kind, table = KINDS[name], None
        array = smooth(kind.channels, dtype)
        if kind.photometric == "palette":
            if dtype not in ("uint8", "uint16") or compression == "jpeg":
                continue
            table = generator.integers(0, 65536, (3, int(top_of(dtype)) + 1), dtype=np.uint16)
        if "assocalpha" in kind.extras:
            array[..., :3] = np.minimum(array[..., :3], array[..., 3:])
        path = folder / "a.tif"
        try:
            write(path, kind, array, planar=planar, compression=compression, predictor=predictor,
                  tile=tile, order=order, table=table)  # fmt: skip
        except ValueError as error:
            if not NOT_WRITTEN.match(str(error)):
                raise
            counts["not written"] += 1
            continue
        truth, tolerance = expected(kind, array, dtype, table)
        if name == "premultiplied" and dtype == "uint8":
            tolerance = 2  # Pillow divides by the opacity, rounds, and multiplies again
        part = (slice(None), slice(None))
        if compression == "jpeg":  # blurs colours, and at the border into what pads the last tiles
            tolerance, part = tolerance + 14, (slice(16), slice(32))
        found = outcome(path, truth, tolerance, part)
        if found == "refused" and not refusable(kind, dtype, planar, compression):
            found = "refused without need"
        if found not in counts:
            wrong.append((found, name, planar, compression, predictor, tile, order))
        else:
            counts[found] += 1
    return counts, wrong


@pytest.mark.parametrize("dtype", TYPES)
def test_every_layout_comes_back_as_it_was_written_or_is_refused(tmp_path, dtype):
    counts, wrong = try_layouts(tmp_path, dtype)
    assert not wrong
    assert counts["right"] >= 60


# ---- further tags


def plain_row(values):
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_every_orientation_of_a_16_bit_tiff_is_undone(tmp_path, orientation, planar):
    """By the tag's definition: where row 0 and column 0 of what is stored lie in the picture."""
    array = smooth(3, "uint16")
    path = tmp_path / "a.tif"
    tag = (274, "H", 1, orientation, True)
    write(path, KINDS["rgb"], array, planar=planar, compression="lzw", tags=(tag,))
    truth = {
        1: lambda stored: stored,
        2: np.fliplr,
        3: lambda stored: np.rot90(stored, 2),
        4: np.flipud,
        5: lambda stored: stored.transpose(1, 0, 2),
        6: lambda stored: np.rot90(stored, -1),
        7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
        8: lambda stored: np.rot90(stored, 1),
    }[orientation](array)
    assert read_size(path) == (truth.shape[1], truth.shape[0])
    np.testing.assert_array_equal(read_image(path).pixels, truth)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_packed_bits_are_unpacked_and_say_their_range_themselves(tmp_path, bits, channels):
    generator = np.random.default_rng(bits)
    array = generator.integers(0, 2**bits // 5, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        array if channels == 3 else array[..., 0],
        bitspersample=bits,
        photometric="rgb" if channels == 3 else "minisblack",
    )
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].bitspersample == bits
    image = read_image(path)
    np.testing.assert_array_equal(image.samples, np.broadcast_to(array, (HEIGHT, WIDTH, 3)))
    assert image.range.ends == (0, 2**bits - 1)
    assert image.judged.kind == f"{bits}-bit"


PILLOW_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F")
PILLOW_COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", "zstd")


def pillow_picture(mode):
    """A picture of a mode, and its colours in the file's unit, by Pillow's own conversions."""
    colour = PIL.Image.fromarray(smooth(3, "uint8"))
    rgba = PIL.Image.fromarray(smooth(4, "uint8"), "RGBA")
    if mode in ("I;16", "I", "F"):
        values = smooth(1, {"I;16": "uint16", "I": "int32", "F": "float32"}[mode])[..., 0]
        return PIL.Image.fromarray(values), plain_row(values)
    if mode in ("LA", "RGBA"):
        picture = rgba.convert(mode)
        page = PIL.Image.new("RGBA", picture.size, "white")
        page.alpha_composite(picture.convert("RGBA"))
        return picture, np.asarray(page.convert("RGB"))
    if mode == "P":
        picture = colour.quantize(64)
    elif mode == "CMYK":
        picture = PIL.Image.fromarray(smooth(4, "uint8"), "CMYK")
    else:
        picture = colour.convert(mode)
    return picture, np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("mode", PILLOW_MODES)
def test_what_pillow_writes_comes_back(tmp_path, mode):
    picture, truth = pillow_picture(mode)
    path = tmp_path / "a.tif"
    read = 0
    for compression in PILLOW_COMPRESSIONS:
        if mode in ("1", "P") and compression == "jpeg":
            continue
        try:
            picture.save(path, compression=compression)
        except (OSError, ValueError, RuntimeError):
            continue  # Pillow cannot write this
        tolerance = 16 if compression == "jpeg" else 2 if mode in ("YCbCr", "LA", "RGBA") else 0
        assert outcome(path, truth.astype(float), tolerance) == "right", compression
        read += 1
    assert read >= 4


def test_a_fourth_band_that_is_not_called_opacity_is_not_blended(tmp_path):
    array = smooth(4, "uint16")
    write(tmp_path / "a.tif", KINDS["rgb and a band"], array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, array[..., :3])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tags": ((50706, "B", 4, b"\1\4\0\0", True),)}, "is a camera's raw file"),
        ({"photometric": "cfa"}, "is a camera's raw file"),
        ({"subfiletype": 1}, "holds only a preview"),
        ({"photometric": "cielab"}, "is a TIFF whose colours are CIELAB"),
        ({"dtype": "complex64"}, "(complex or undefined)"),
        ({"photometric": "ycbcr", "dtype": "uint16"}, "only unsigned 8-bit ones"),
        ({"photometric": "miniswhite", "dtype": "int16"}, "whose zero is white"),
    ],
)
def test_what_is_not_known_to_be_right_is_refused_by_what_it_is(tmp_path, changes, reason):
    dtype, photometric = changes.get("dtype", "uint8"), changes.get("photometric", "rgb")
    array = np.zeros((HEIGHT, WIDTH, 3), dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        array if photometric in ("rgb", "cielab", "ycbcr") else array[..., 0],
        photometric=photometric,
        subfiletype=changes.get("subfiletype", 0),
        extratags=changes.get("tags", ()),
        metadata=None,
    )
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert reason in caught.value.reason
    assert "damaged" not in caught.value.reason


def test_a_preview_before_the_picture_is_passed_over(tmp_path):
    array = smooth(3, "uint8")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(array[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(array, photometric="rgb")
    assert read_size(tmp_path / "a.tif") == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, array)


_CUT = ("its pixels end behind the file's end", "damaged or cut short")


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
def test_a_tiff_without_its_end_is_refused(tmp_path, compression, tile, share):
    """The directory stands before the pixels here, so only these are missing."""
    dtype = np.uint8 if compression == "jpeg" else np.uint16
    array = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (200, 160, 3), dtype=dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="rgb", compression=compression, tile=tile)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=_CUT[compression == "jpeg"]):
        read_image(path)


def test_strips_that_are_in_no_index_are_not_made_up(tmp_path):
    """The library alone would leave them black."""
    array = smooth(3, "uint16")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="rgb", rowsperstrip=4, compression="deflate")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        for name in ("StripOffsets", "StripByteCounts"):
            tags[name].overwrite(tags[name].value[:-2])
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(path)


def test_bands_beside_grey_are_left_out_with_a_word(tmp_path):
    array = smooth(5, "uint16")
    write(tmp_path / "a.tif", KINDS["five bands"], array)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.samples, plain_row(array[..., 0]))
    assert image.remarks == ("a.tif has 5 bands; the first is shown, in grey.",)


def by_hand(path, rows, tags):
    """A grey TIFF of one strip with tags that tifffile does not write, numbers of 16 bit each."""
    data = rows.tobytes()
    height, width = rows.shape
    entries = {256: width, 257: height, 259: 1, 273: 8, 277: 1, 278: height, 279: len(data), **tags}
    directory = struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, 3, 1, value)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4))
    return path


@pytest.mark.parametrize("dtype", ["uint8", "<u2"])
def test_bits_in_the_other_order_are_turned(tmp_path, dtype):
    array = smooth(1, "uint8").reshape(smooth(1, "uint8").shape[:2]).astype(dtype)
    turned = np.array([int(f"{one:08b}"[::-1], 2) for one in range(256)], np.uint8)
    tags = {258: 8 * array.dtype.itemsize, 262: 1, 266: 2}
    path = by_hand(tmp_path / "a.tif", turned[array.view(np.uint8)], tags | {256: array.shape[1]})
    np.testing.assert_array_equal(read_image(path).samples[..., 0], array)


def test_a_tiff_that_does_not_say_what_is_black_is_refused(tmp_path):
    """The library alone would show the negative."""
    array = smooth(1, "uint8").reshape(smooth(1, "uint8").shape[:2])
    path = by_hand(tmp_path / "a.tif", array, {258: 8})
    with pytest.raises(ImageError, match="does not say what its values mean"):
        read_image(path)
    path = by_hand(tmp_path / "a.tif", array, {258: 8, 262: 1})
    np.testing.assert_array_equal(read_image(path).samples[..., 0], array)
