"""Arrays to pictures: exact colours, clear gaps, true means, and nothing that overflows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QColor, QImage, qAlpha, qBlue, qGreen, qRed

from descgui.views.pixels import (
    block_means,
    color_stops,
    color_table,
    heat_indices,
    indexed_image,
    keyed_image,
    muted_image,
    prepare_display,
    rgb_image,
    value_range,
)
from engine.api import COLORMAPS, Image, as_uint8


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def pixels_of(picture: QImage) -> np.ndarray:
    rows = picture.convertToFormat(QImage.Format.Format_RGBA8888)
    raw = np.array(rows.constBits(), np.uint8).reshape(rows.height(), rows.bytesPerLine())
    return raw[:, : 4 * rows.width()].reshape(rows.height(), rows.width(), 4)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 13, 3), (16, 5, 3)])
def test_eight_bit_pixels_are_shown_as_they_are(rng, shape):
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    found = pixels_of(rgb_image(pixels))
    np.testing.assert_array_equal(found[..., :3], pixels)
    assert (found[..., 3] == 255).all()


def test_parts_of_an_array_that_are_not_contiguous_are_shown_right(rng):
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)[3:17:2, 5:25]
    np.testing.assert_array_equal(pixels_of(rgb_image(pixels))[..., :3], pixels)


def test_sixteen_bit_pixels_are_rounded_to_the_nearest_of_256_levels():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.floor(np.arange(65536) / 257 + 0.5).reshape(256, 256)
    np.testing.assert_array_equal(as_uint8(every), expected)


def test_a_picture_outlives_the_array_it_was_made_from(rng):
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kept = pixels.copy()
    picture = rgb_image(pixels)
    pixels[:] = 0
    np.testing.assert_array_equal(pixels_of(picture)[..., :3], kept)


@pytest.mark.parametrize(("height", "width", "factor"), [(12, 9, 3), (13, 7, 4), (5, 5, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_block_means_equal_a_loop_over_blocks(rng, height, width, factor, dtype):
    top = np.iinfo(dtype).max
    pixels = rng.integers(0, top + 1, (height, width, 3)).astype(dtype)
    found = block_means(pixels, factor)
    for row in range(-(-height // factor)):
        for column in range(-(-width // factor)):
            block = pixels[
                row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
            ]
            mean = block.reshape(-1, 3).astype(np.float64).mean(axis=0)
            np.testing.assert_allclose(found[row, column], mean, atol=0.5 + 1e-9)
    assert found.dtype == dtype


def test_display_copies_respect_their_limit_and_small_images_are_not_copied(rng):
    image = Image(Path("ä.png"), rng.integers(0, 256, (50, 90, 3), dtype=np.uint8))
    assert prepare_display(image) is image.pixels
    assert prepare_display(image, long_edge_px=40).shape == (17, 30, 3)


def test_display_copies_of_sixteen_bit_images_are_eight_bit(rng):
    image = Image(Path("a.png"), rng.integers(0, 65536, (40, 30, 3)).astype(np.uint16))
    assert prepare_display(image, long_edge_px=20).dtype == np.uint8


@pytest.mark.parametrize("name", COLORMAPS)
def test_colour_maps_are_the_published_ones_within_seven_steps(name):
    from pyqtgraph import colormap

    published = colormap.get(name).map(np.linspace(0, 1, 255), mode="byte")[:, :3]
    error = np.abs(color_stops(name).astype(int) - published.astype(int))
    assert error.max() <= 7


@pytest.mark.parametrize("name", [name for name in COLORMAPS if name != "turbo"])
def test_colour_maps_grow_lighter_from_low_to_high(name):
    light = [QColor(*(int(c) for c in colour)).toHsl().lightness() for colour in color_stops(name)]
    luma = color_stops(name) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) > -0.5).all()
    assert light[-1] > light[0]


def test_unknown_colour_maps_are_refused():
    with pytest.raises(KeyError):
        color_stops("jet")


def test_the_first_colour_is_clear_and_the_others_carry_the_alpha():
    table = color_table("viridis", 120)
    assert len(table) == 256
    assert table[0] == 0
    assert {qAlpha(colour) for colour in table[1:]} == {120}
    assert (qRed(table[1]), qGreen(table[1]), qBlue(table[1])) == tuple(color_stops("viridis")[0])


def test_heat_indices_place_each_value_by_a_plain_formula(rng):
    values = rng.uniform(-1, 1, (9, 11)).astype(np.float32)
    values[2, 3] = np.nan
    values[0, 0] = np.inf
    values[0, 1] = -np.inf
    found = heat_indices(values, -0.5, 0.75)
    for row in range(9):
        for column in range(11):
            value = float(values[row, column])
            if np.isnan(value):
                assert found[row, column] == 0
                continue
            share = min(max((value + 0.5) / 1.25, 0.0), 1.0)
            assert abs(int(found[row, column]) - (1 + 254 * share)) <= 0.5 + 1e-3


def test_the_ends_of_the_range_take_the_end_colours():
    found = heat_indices(np.array([[0.2, 0.8]], np.float32), 0.2, 0.8)
    assert found.tolist() == [[1, 255]]


@pytest.mark.parametrize("values", [np.zeros((0, 0)), np.zeros((3, 0)), np.full((4, 4), np.nan)])
def test_empty_and_undefined_maps_have_no_range_and_no_colour(values):
    assert value_range(values) is None
    assert not heat_indices(values, 0.0, 1.0).any()


def test_one_valued_maps_take_end_colours_without_a_warning():
    values = np.full((3, 3), 0.5, np.float32)
    assert (heat_indices(values, 0.5, 0.5) == 1).all()
    assert (heat_indices(values, 0.4, 0.4) == 255).all()
    assert value_range(values) == (0.5, 0.5)


def test_the_range_ends_at_the_exact_maximum_and_ignores_the_least_fifth(rng):
    values = rng.uniform(0.4, 0.6, (60, 60)).astype(np.float32)
    values[:5] = -1.0
    values[30, 31] = 0.93
    low, high = value_range(values)
    assert high == np.float32(0.93)
    assert 0.4 <= low <= 0.46


def test_indexed_pictures_show_gaps_clear_and_values_in_their_colour():
    indices = np.array([[0, 1, 255]], np.uint8)
    found = pixels_of(indexed_image(indices, color_table("viridis")))
    assert found[0, 0, 3] == 0
    assert tuple(found[0, 1, :3]) == tuple(color_stops("viridis")[0])
    assert tuple(found[0, 2, :3]) == tuple(color_stops("viridis")[-1])


def test_muted_pictures_are_grey_dimmer_and_keep_the_order_of_brightness():
    ramp = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, axis=2)
    found = pixels_of(muted_image(rgb_image(ramp)))[0].astype(int)
    assert (found[:, 0] == found[:, 1]).all()
    assert (np.diff(found[:, 0]) >= 0).all()
    assert found[:, 0].max() <= 160


def test_black_is_clear_in_keyed_pictures_and_nothing_else_is():
    pixels = np.array([[[0, 0, 0], [0, 0, 1], [255, 255, 255]]], np.uint8)
    assert pixels_of(keyed_image(pixels))[0, :, 3].tolist() == [0, 255, 255]
