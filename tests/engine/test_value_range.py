"""Which sample values are black and white, for eyes and descriptors, wherever images are read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile

from engine.cli.run import main
from engine.data.pairs import ImagePair
from engine.descriptors.registry import make_spec
from engine.errors import ConfigError, ImageError
from engine.imagefiles.samples import stretch
from engine.imagefiles.value_range import ValueRange, parse_pair_ranges, parse_value_range
from engine.images import Image, read_image, read_thumbnail, resize_pixels
from engine.inspection.requests import Recipe
from engine.inspection.session import Session
from engine.inspection.store import MapKey
from engine.progress import CancelToken, JobContext, Note

SHAPE = (40, 56)
GENERATOR = np.random.default_rng(11)
SHARE = GENERATOR.random(SHAPE)
"""A picture in [0, 1); every file below holds it in a unit of its own."""


def tiff(folder: Path, values, name: str = "a.tif", **options) -> Path:
    tifffile.imwrite(folder / name, values, photometric="minisblack", metadata=None, **options)
    return folder / name


def whole(top: float, dtype) -> np.ndarray:
    """The picture as whole numbers from 0 to exactly ``top``."""
    values = np.floor(SHARE * (top + 1))
    values.flat[0] = top
    return values.astype(dtype)


def eight(tmp_path: Path) -> np.ndarray:
    """What the picture looks like in 8 bit."""
    return np.repeat(np.floor(SHARE * 256)[..., None], 3, axis=2)


# ---- the rule


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize(("largest", "bits"), [(255, 8), (700, 10), (1023, 10), (4095, 12),
                                               (1024, 12), (16383, 14)])  # fmt: skip
def test_whole_numbers_are_shown_in_the_bits_they_use(tmp_path, dtype, largest, bits):
    image = read_image(tiff(tmp_path, whole(largest, dtype)))
    assert image.range == ValueRange(0, 2**bits - 1)
    assert image.judged.kind.startswith(f"{bits}-bit in ")
    expected = whole(largest, "float64") / (2**bits - 1)
    np.testing.assert_allclose(image.as_float()[..., 0], expected, atol=0.5 / 65535 + 1e-7)
    assert image.as_uint8().max() == round(255 * largest / (2**bits - 1))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_data_of_few_bits_are_the_same_in_png_tiff_and_pgm(tmp_path, bits):
    """A PGM says how many bits it has; the others are found to have as many."""
    values = whole(2**bits - 1, "uint16")
    pgm = tmp_path / "a.pgm"
    header = f"P5 {SHAPE[1]} {SHAPE[0]} {2**bits - 1}\n".encode()
    pgm.write_bytes(header + values.astype(">u2").tobytes())
    png = tmp_path / "a.png"
    PIL.Image.fromarray(values).save(png)
    stated = read_image(pgm).pixels
    for path in (png, tiff(tmp_path, values)):
        np.testing.assert_array_equal(read_image(path).pixels, stated)


def test_8_and_16_bit_stay_as_they_are(tmp_path):
    for dtype in (np.uint8, np.uint16):
        values = whole(np.iinfo(dtype).max, dtype)
        image = read_image(tiff(tmp_path, values))
        np.testing.assert_array_equal(image.pixels, np.repeat(values[..., None], 3, axis=2))
        assert image.stored is None
    dark = (np.floor(SHARE * 4)).astype(np.uint8)
    image = read_image(tiff(tmp_path, dark))
    assert image.range == ValueRange(0, 255)
    assert image.range_words == ""


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_alpha_channel_that_is_opaque_everywhere_says_nothing_of_the_bits(tmp_path, name):
    """Programs write 12 bits of colour beside an opacity of 16."""
    colour = np.repeat(whole(4095, "uint16")[..., None], 3, axis=2)
    opaque = np.dstack([colour, np.full(SHAPE, 65535, np.uint16)])
    path = tmp_path / name
    if name == "a.tif":
        tifffile.imwrite(path, opaque, photometric="rgb", extrasamples=["unassalpha"])
    else:
        path.write_bytes(cv2.imencode(".png", opaque)[1].tobytes())
    image = read_image(path)
    assert image.range == ValueRange(0, 4095)
    np.testing.assert_array_equal(image.samples, colour)


def test_a_dark_image_of_a_file_that_states_its_range_stays_dark(tmp_path):
    values = whole(90, "uint16")
    path = tmp_path / "a.pgm"
    header = f"P5 {SHAPE[1]} {SHAPE[0]} 4095\n".encode()
    path.write_bytes(header + values.astype(">u2").tobytes())
    assert read_image(path).as_uint8().max() == round(90 / 4095 * 255)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_within_0_and_1_are_taken_as_they_are(tmp_path, dtype):
    values = (0.2 + 0.5 * SHARE).astype(dtype)
    image = read_image(tiff(tmp_path, values))
    assert image.range == ValueRange(0, 1)
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels[..., 0], values.astype(np.float32))


@pytest.mark.parametrize(("gain", "offset"), [(1e-6, -3e-7), (73.1, -20), (4e9, 0.5), (-8, 3.3)])
def test_other_floats_are_shown_without_the_outermost_thousandths(tmp_path, gain, offset):
    """One hot pixel must not make all others black."""
    values = (offset + gain * SHARE).astype(np.float64)
    values[3, 4] = offset + 1e4 * gain
    image = read_image(tiff(tmp_path, values))
    low, high = np.percentile(values, (0.1, 99.9))
    span = high - low
    black, white = image.range.ends
    assert low - 2e-3 * span <= black <= low
    assert high <= white <= high + 2e-3 * span
    expected = np.clip((values - black) / (white - black), 0, 1)
    np.testing.assert_allclose(image.pixels[..., 0], expected, atol=1e-6)
    assert "the middle 99.8 %" in image.range_words


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_signed_numbers_do_not_wrap(tmp_path, dtype):
    """A CT slice, from air at -1024 to bone."""
    values = (np.floor(SHARE * 4000) - 1024).astype(dtype)
    image = read_image(tiff(tmp_path, values))
    np.testing.assert_array_equal(image.samples[..., 0], values)
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(image.pixels[..., 0].ravel()[order].astype(float)) >= 0).all()
    assert image.as_uint8().max() == 255
    assert image.as_uint8().min() == 0


def test_signed_8_bit_is_the_unsigned_picture_moved_by_128(tmp_path):
    values = np.floor(SHARE * 256).astype(np.uint8)
    signed = (values.astype(int) - 128).astype(np.int8)
    image = read_image(tiff(tmp_path, signed))
    np.testing.assert_array_equal(image.as_uint8()[..., 0], values)


def test_a_flat_image_of_any_kind_opens(tmp_path):
    for value in (0, 7, 7.3, -5, 1e30):
        image = read_image(tiff(tmp_path, np.full(SHAPE, value, np.float64)))
        assert np.isfinite(image.as_float()).all()


# ---- what is no number


def test_what_is_no_number_is_black_and_counted(tmp_path):
    values = (10 + 5 * SHARE).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    image = read_image(tiff(tmp_path, values))
    assert image.pixels[0, :3, 0].tolist() == [0, 1, 0]
    assert "in 3 of its pixels" in image.remarks[0]
    clean = values[np.isfinite(values)]
    low, high = np.percentile(clean, (0.1, 99.9))
    assert image.range.ends == pytest.approx((low, high), abs=2e-3 * (high - low))


@pytest.mark.parametrize(
    ("dtype", "hole"), [("float32", -9999.0), ("int16", -32768), ("uint16", 0)]
)
def test_pixels_without_data_do_not_set_the_range(tmp_path, dtype, hole):
    values = (100 + np.floor(SHARE * 600)).astype(dtype)
    values[5:20] = hole
    tag = (42113, "s", 0, str(hole), True)
    image = read_image(tiff(tmp_path, values, extratags=(tag,)))
    assert (image.pixels[5:20] == 0).all()
    assert image.range == ValueRange(0, 1023)
    assert "no data" in image.remarks[0]


def test_an_image_without_any_number_is_refused_by_that(tmp_path):
    with pytest.raises(ImageError, match="holds no finite number"):
        read_image(tiff(tmp_path, np.full(SHAPE, np.nan, np.float32)))


# ---- a chosen range


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize("ends", [(10, 90), (-50, 300), (0.5, 1.25)])
def test_a_chosen_range_is_black_to_white(tmp_path, dtype, ends):
    values = np.floor(SHARE * 100 - (20 if dtype.startswith(("i", "f")) else 0)).astype(dtype)
    image = read_image(tiff(tmp_path, values), shown=ValueRange(*ends))
    expected = np.clip((values.astype(float) - ends[0]) / (ends[1] - ends[0]), 0, 1)
    np.testing.assert_allclose(image.as_float()[..., 0], expected, atol=0.5 / 65535 + 1e-6)
    assert image.range.ends == ends
    back = image.in_range(None)
    np.testing.assert_array_equal(back.pixels, read_image(image.path).pixels)
    assert back.in_range(ValueRange(*ends)).pixels.tolist() == image.pixels.tolist()


def test_the_own_range_chosen_by_hand_is_no_other_range(tmp_path):
    image = read_image(tiff(tmp_path, whole(4000, "uint16")))
    assert image.in_range(ValueRange(0, 4095)) is image
    assert image.in_range(ValueRange(0, 4096)) is not image


def test_whole_numbers_of_a_wide_range_keep_more_than_16_bits():
    values = np.array([[[0, 1, 10_000_000]]], np.uint32)
    pixels = stretch(values, ValueRange(0, 10_000_000))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels.ravel(), [0, 1e-7, 1], rtol=1e-6)


def test_thumbnails_and_resized_images_are_in_the_same_range(tmp_path):
    values = whole(1000, "uint16")
    path = tiff(tmp_path, values)
    image = read_image(path)
    np.testing.assert_array_equal(read_thumbnail(path, long_edge_px=100), image.as_uint8())
    small = resize_pixels(image.pixels, (28, 20), antialias=True)
    truth = resize_pixels((values / 1023).astype(np.float32)[..., None].repeat(3, 2), (28, 20),
                          antialias=True)  # fmt: skip
    np.testing.assert_allclose(small, truth, atol=2e-5)


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b", "5,5", "9,1", "nan,1", "0,inf", ","])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ConfigError, match="range"):
        parse_value_range(text)


def test_one_range_serves_both_images_unless_the_second_has_its_own():
    both = ValueRange(0, 4095)
    assert parse_pair_ranges("0,4095", None) == (both, both)
    assert parse_pair_ranges("0,4095", "auto") == (both, None)
    assert parse_pair_ranges(None, "-1.5,2") == (None, ValueRange(-1.5, 2))
    assert parse_pair_ranges(None, None) == (None, None)
    assert parse_value_range(str(ValueRange(-0.1, 1 / 3))) == ValueRange(-0.1, 1 / 3)


# ---- what descriptors see


def recipe() -> Recipe:
    return Recipe(spec=make_spec("daisy", {}), long_edge_px=0, device="cpu")


def pair_of(tmp_path: Path, **ranges) -> ImagePair:
    path = tiff(tmp_path, whole(4000, "uint16"), "a.tif")
    other = tiff(tmp_path, whole(4000, "float32")[::-1], "b.tif")
    return ImagePair(path, other, **ranges)


def test_the_range_is_part_of_what_maps_are_kept_by(tmp_path):
    pair = pair_of(tmp_path)
    chosen = replace(pair, range_a=ValueRange(0, 100))
    assert MapKey.of(pair, "a", recipe()) != MapKey.of(chosen, "a", recipe())
    assert MapKey.of(pair, "b", recipe()) == MapKey.of(chosen, "b", recipe())
    by_pair = replace(recipe(), spec=make_spec("descspace", {}))
    assert MapKey.of(pair, "b", by_pair) != MapKey.of(chosen, "b", by_pair)
    assert MapKey.of(chosen, "b", by_pair).reads(pair.path_a)


def test_a_session_describes_what_is_shown(tmp_path):
    """The maps of an image in a range are those of a file in 8 bit that looks like it."""
    session, events = Session(), []
    pair = replace(pair_of(tmp_path), range_a=ValueRange(1000, 3000))
    info = session.describe(pair, "a", recipe(), JobContext(events.append))
    assert info.values == "12-bit in 16-bit, 1000 to 3000"
    assert session.described(replace(pair, range_a=None), "a", recipe()) is None
    seen = read_image(pair.path_a, shown=pair.range_a).as_float()
    np.testing.assert_allclose(
        seen[..., 0], np.clip((whole(4000, "float64") - 1000) / 2000, 0, 1), atol=1e-5
    )
    looked = session._pair_image(pair, "a", recipe(), CancelToken())
    np.testing.assert_array_equal(looked.pixels, seen)


def test_remarks_on_an_image_are_told_when_it_is_described(tmp_path):
    values = (10 + SHARE).astype(np.float32)
    values[0, 0] = np.nan
    pair = ImagePair(tiff(tmp_path, values, "a.tif"), tiff(tmp_path, values, "b.tif"))
    events: list[object] = []
    info = Session().describe(pair, "a", recipe(), JobContext(events.append))
    told = [event.text for event in events if isinstance(event, Note)]
    assert any(text.startswith("a.tif holds no finite number") for text in told)
    assert any("a.tif holds" in text for text in info.notes)


def run(*words: object) -> int:
    return main([str(word) for word in words], open_window=lambda _options: 0)


def test_the_terminal_takes_the_range_and_says_it(tmp_path, capsys):
    pair = pair_of(tmp_path)
    common = ("--descriptor", "daisy", "--device", "cpu")
    words = ("--count", 5, "--out", tmp_path / "m.csv", "--range", "0,2000", "--range-b", "auto")
    assert run("match", pair.path_a, pair.path_b, *common, *words) == 0
    said = capsys.readouterr().out
    assert "image A  12-bit in 16-bit, 0 to 2000" in said
    assert "image B  12-bit in 32-bit float, 0 to 4095" in said
    maps = tmp_path / "a.npz"
    assert run("describe", pair.path_a, *common, "--out", maps, "--range=-10,2000.5") == 0
    assert "−10 to 2000.5" in capsys.readouterr().out
    with np.load(maps) as stored:
        assert stored["value_range"].tolist() == [-10, 2000.5]


@pytest.mark.parametrize(("flag", "text"), [("--range", "9,1"), ("--range-b", "x")])
def test_a_wrong_range_is_one_sentence_and_nothing_is_written(tmp_path, capsys, flag, text):
    pair = pair_of(tmp_path)
    assert run("match", pair.path_a, pair.path_b, "--out", tmp_path / "m.csv", flag, text) == 1
    assert "range" in capsys.readouterr().err
    assert run("view", pair.path_a, pair.path_b, flag, text) == 1
    assert not (tmp_path / "m.csv").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_a_pipe_in_place_of_an_image_is_refused_by_every_command(tmp_path, capsys):
    pipe, image = tmp_path / "pipe.png", pair_of(tmp_path).path_a
    os.mkfifo(pipe)
    out = ("--descriptor", "daisy", "--out")
    assert run("describe", pipe, *out, tmp_path / "m.npz") == 1
    assert run("match", pipe, image, *out, tmp_path / "m.csv") == 1
    assert run("match", image, pipe, *out, tmp_path / "m.csv") == 1
    assert capsys.readouterr().err.count("pipe.png: is a pipe, not a file") == 3


def test_an_image_made_of_pixels_alone_has_their_whole_range():
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
        image = Image(Path("a"), np.zeros((4, 4, 3), dtype))
        assert image.range == ValueRange(0, top)
        assert image.samples is image.pixels
