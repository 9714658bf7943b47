"""Pairs made from photos: the truth they claim against what the pictures show."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.data.photos import read_covering
from engine.data.synthetic import TrainingPairs, change_light, make_pairs, through_jpeg
from engine.data.synthetic_recipe import LightRecipe, WarpRecipe
from engine.geometry import batched, homography
from engine.geometry.coords import CellGrid, inside
from engine.geometry.sampling import sample_map, warp_images
from engine.seeding import Draws, hash_next, hash_numbers, in_unsigned_order, to_bits

PLAIN = LightRecipe(
    brightness=0, contrast=0, saturation=0, hue_deg=0, blur_share=0, motion_share=0, noise_share=0,
    jpeg_share=0,
)  # fmt: skip
STRONG = WarpRecipe(
    scale_low=0.6, scale_high=1.0, rotation_deg=5, perspective=0.5, relative_octaves=1,
    relative_rotation_deg=45, detail=1.25, supersampling=2,
)  # fmt: skip
FULL = LightRecipe(
    gamma_octaves=1, local_light=0.5, local_light_share=0.5, shadow=0.7, shadow_share=0.5
)
SIZE_PX = (80, 60)


def ramps(batch: int, size_px: tuple[int, int]) -> Tensor:
    """Photos whose red is x, green is y and blue is 1: a colour says where on the photo it is."""
    width, height = size_px
    xs, ys = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    photo = torch.stack([xs / (width - 1), ys / (height - 1), torch.ones(height, width)])
    return photo.expand(batch, 3, height, width)


def make(photos: Tensor, keys: list[int], warp: WarpRecipe, light: LightRecipe) -> TrainingPairs:
    return make_pairs(photos, keys, size_px=SIZE_PX, points=300, warp=warp, light=light)


@pytest.mark.parametrize("warp", [WarpRecipe(), STRONG])
def test_both_points_of_a_pair_show_the_same_place_of_the_photo(warp: WarpRecipe):
    photo_size_px = (round(80 * warp.detail), round(60 * warp.detail))
    pairs = make(ramps(6, photo_size_px), list(range(6)), warp, PLAIN)
    shown = [
        sample_map(images, CellGrid(1.0, 0.0), points)
        for images, points in ((pairs.images_a, pairs.points_a), (pairs.images_b, pairs.points_b))
    ]
    # Beside the photo's edge pixels mix with the black outside: blue says how much.
    whole = pairs.seen & (shown[0][..., 2] > 0.999) & (shown[1][..., 2] > 0.999)
    assert float(whole.float().mean()) > 0.5
    scale_px = torch.tensor([photo_size_px[0] - 1, photo_size_px[1] - 1])
    gap_px = ((shown[0] - shown[1])[..., :2] * scale_px).norm(dim=-1)[whole]
    assert float(gap_px.max()) < 0.3  # ramps bend a little under perspective
    assert float(gap_px.median()) < 0.03


@pytest.mark.parametrize("warp", [WarpRecipe(), STRONG])
def test_points_are_carried_by_the_homography_and_seen_where_both_sides_see_them(warp: WarpRecipe):
    pairs = make(ramps(4, (80, 60)), [11, 12, 13, 14], warp, PLAIN)
    for n in range(4):
        h_b_from_a = pairs.h_b_from_a[n].numpy()
        truth = homography.warp_points(h_b_from_a, pairs.points_a[n].numpy())
        seen = pairs.seen[n].numpy()
        assert seen.sum() > 100
        np.testing.assert_allclose(pairs.points_b[n].numpy()[seen], truth[seen], atol=1e-4)
        assert inside(pairs.points_a[n].numpy(), SIZE_PX).all()
        assert inside(truth[seen], SIZE_PX).all()
        # Within the picture no point was called unseen that the photo covers on both sides.
        blue = sample_map(pairs.images_a, CellGrid(1.0, 0.0), pairs.points_a)[n, :, 2].numpy()
        assert (blue[seen] > 0.49).all()
        assert not (inside(truth, SIZE_PX) & (blue > 0.999) & ~seen).any()
    assert not torch.equal(pairs.points_a, pairs.points_a.round())


def test_points_are_spread_over_all_that_both_sides_show():
    pairs = make(ramps(1, (80, 60)), [5], STRONG, PLAIN)
    many = make_pairs(
        ramps(1, (80, 60)), [5], size_px=SIZE_PX, points=4000, warp=STRONG, light=PLAIN
    )
    ys, xs = np.mgrid[0:60, 0:80]
    grid = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(float)
    carried = homography.warp_points(pairs.h_b_from_a[0].numpy(), grid)
    blue = pairs.images_a[0, 2].numpy().ravel()
    covisible = grid[inside(carried, SIZE_PX) & (blue > 0.5)]
    drawn = many.points_a[0][many.seen[0]].numpy()
    np.testing.assert_allclose(drawn.mean(axis=0), covisible.mean(axis=0), atol=1.5)
    np.testing.assert_allclose(drawn.std(axis=0), covisible.std(axis=0), rtol=0.06)


def test_what_is_drawn_depends_on_the_key_alone():
    photos = torch.rand(3, 3, 60, 80, generator=torch.Generator().manual_seed(0))
    whole = make(photos, [7, 8, 9], STRONG, FULL)
    alone = make(photos[1:2], [8], STRONG, FULL)
    torch.testing.assert_close(alone.images_a, whole.images_a[1:2], atol=2e-6, rtol=0)
    torch.testing.assert_close(alone.images_b, whole.images_b[1:2], atol=2e-6, rtol=0)
    assert torch.equal(alone.points_a, whole.points_a[1:2])
    assert torch.equal(alone.seen, whole.seen[1:2])
    other = make(photos[1:2], [8 + (1 << 32)], STRONG, FULL)
    assert not torch.equal(other.points_a, alone.points_a)


def test_recipes_keep_within_their_limits():
    keys = list(range(400))
    photos = torch.zeros(400, 3, 16, 16)
    for warp, scale, turn_deg in ((WarpRecipe(perspective=0), (0.9, 1 / 0.9), 15), (
        WarpRecipe(scale_low=1, scale_high=1, rotation_deg=0, perspective=0, relative_octaves=1,
                   relative_rotation_deg=45), (0.5, 2), 45,
    )):  # fmt: skip
        pairs = make(photos, keys, warp, PLAIN)
        linear = pairs.h_b_from_a[:, :2, :2]
        assert float((pairs.h_b_from_a[:, 2, :2]).abs().max()) < 1e-9  # no perspective
        # Photos are 16 × 16 and shown 80 × 60: x and y are stretched alike on both sides.
        stretch = torch.diag(torch.tensor([16 / 80, 16 / 60], dtype=torch.float64))
        linear = stretch @ linear @ torch.linalg.inv(stretch)
        found = torch.linalg.det(linear).sqrt()
        turns = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0])).abs()
        assert scale[0] - 1e-6 <= float(found.min()) < 1 < float(found.max()) <= scale[1] + 1e-6
        assert float(found.max()) > 1 + 0.8 * (scale[1] - 1)
        assert 0.8 * turn_deg < float(turns.max()) <= turn_deg + 1e-6


def test_sides_are_tilted_against_each_other_along_any_line_and_keep_their_areas():
    warp = WarpRecipe(
        scale_low=1, scale_high=1, rotation_deg=0, perspective=0, relative_tilt_octaves=1.5
    )
    pairs = make_pairs(
        torch.zeros(400, 3, 60, 60), list(range(400)), size_px=(60, 60), points=4, warp=warp,
        light=PLAIN,
    )  # fmt: skip
    _, stretches, lines = torch.linalg.svd(pairs.h_b_from_a[:, :2, :2])
    tilts = stretches[:, 0] / stretches[:, 1]
    assert torch.allclose(stretches.prod(dim=1), torch.ones(400, dtype=torch.float64))
    assert 1 <= float(tilts.min()) < 1.1
    assert 2.6 < float(tilts.max()) <= 2**1.5 + 1e-6
    along_deg = torch.rad2deg(torch.atan2(lines[:, 0, 1], lines[:, 0, 0])) % 180
    counts = torch.histc(along_deg, bins=6, min=0, max=180)
    assert float(counts.min()) > 40  # of 67


def test_light_moves_no_pixel_and_stays_within_the_range():
    """The brightest pixel of a smooth spot stays where it was under every change of light."""
    width, height = SIZE_PX
    xs, ys = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    spot = 0.2 + 0.6 * torch.exp(-((xs - 41) ** 2 + (ys - 23) ** 2) / 60.0)
    photos = spot.expand(40, 3, height, width)
    still = WarpRecipe(scale_low=1, scale_high=1, rotation_deg=0, perspective=0)
    light = LightRecipe(gamma_octaves=1, noise=0.01, motion_share=1, blur_share=1, jpeg_share=1)
    pairs = make(photos, list(range(40)), still, light)
    for images in (pairs.images_a, pairs.images_b):
        assert float(images.min()) >= 0
        assert float(images.max()) <= 1
        weight = (images.mean(dim=1) - images.mean(dim=1).amin(dim=(1, 2), keepdim=True)) ** 4
        centre_x = (weight * xs).sum(dim=(1, 2)) / weight.sum(dim=(1, 2))
        centre_y = (weight * ys).sum(dim=(1, 2)) / weight.sum(dim=(1, 2))
        assert float((centre_x - 41).abs().median()) < 0.3
        assert float((centre_y - 23).abs().median()) < 0.3
    assert float((pairs.images_a - pairs.images_b).abs().mean()) > 0.02


def test_every_change_of_light_does_something_and_none_does_nothing():
    photos = torch.rand(8, 3, 60, 80, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
    still = WarpRecipe(scale_low=1, scale_high=1, rotation_deg=0, perspective=0)
    keys = list(range(8))
    untouched = make(photos, keys, still, PLAIN)
    torch.testing.assert_close(untouched.images_a, photos, atol=2e-5, rtol=0)
    off = dict.fromkeys(("brightness", "contrast", "saturation", "hue_deg"), 0)
    off |= {f"{name}_share": 0 for name in ("blur", "motion", "noise", "jpeg")}
    for on in (
        {"brightness": 0.5}, {"contrast": 0.5}, {"saturation": 0.5}, {"hue_deg": 40},
        {"gamma_octaves": 1}, {"blur_share": 1}, {"motion_share": 1}, {"noise_share": 1},
        {"jpeg_share": 1}, {"local_light": 1, "local_light_share": 1},
        {"shadow": 0.9, "shadow_share": 1}, {"night_octaves": 8, "night_share": 1},
        {"cover": 1, "cover_share": 1}, {"curve": 0.2, "curve_share": 1}, {"inverted_share": 0.5},
    ):  # fmt: skip
        changed = make(photos, keys, still, LightRecipe(**{**off, **on}))
        assert float((changed.images_a - photos).abs().mean()) > 0.003, on
        assert not torch.equal(changed.images_a, changed.images_b), on


def test_textures_come_from_another_photo_and_things_stay_where_they_are():
    chance = torch.Generator().manual_seed(1)
    photos, others = torch.zeros(8, 3, 60, 80), torch.rand(8, 3, 90, 70, generator=chance)
    photos[:, :, 20:40, 30:50] = 1
    draws = Draws(list(range(8)), device=torch.device("cpu"))
    light = replace(PLAIN, style=1.0, style_share=0.5)
    alone = change_light(draws, "a", photos, light)
    torch.testing.assert_close(alone, photos)  # without another photo there is none to take from
    mixed = change_light(draws, "a", photos, light, others)
    changed = (mixed - photos).abs().amax(dim=(1, 2, 3)) > 0.01
    assert 0 < int(changed.sum()) < 8
    assert torch.equal(mixed[~changed], photos[~changed])
    assert float(mixed.min()) >= 0
    assert float(mixed.max()) <= 1
    # Phases say where things are: the square is still the most like the square where it was.
    for one in mixed[changed][:, 0] - mixed[changed][:, 0].mean():
        found = torch.fft.irfft2(torch.fft.rfft2(one) * torch.fft.rfft2(photos[0, 0]).conj())
        assert int(found.argmax()) == 0
    # What is drawn depends on the key, not on which other pairs are made.
    again = change_light(
        Draws([5], device=torch.device("cpu")), "a", photos[5:6], light, others[5:6]
    )
    torch.testing.assert_close(again, mixed[5:6])


def test_at_night_most_is_dark_and_what_is_left_has_8_bits():
    photos = torch.rand(16, 3, 60, 80, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
    still = WarpRecipe(scale_low=1, scale_high=1, rotation_deg=0, perspective=0)
    night = replace(PLAIN, night_octaves=10, night_share=0.5)
    seen = make(photos, list(range(16)), still, night).images_b
    brightness = seen.mean(dim=(1, 2, 3)) / photos.mean(dim=(1, 2, 3))
    dark = brightness < 0.9
    torch.testing.assert_close(seen[~dark], photos[~dark], atol=2e-5, rtol=0)
    assert 4 <= int(dark.sum()) <= 12
    assert float(brightness[dark].median()) < 0.4
    shades = seen[dark] * 255
    torch.testing.assert_close(shades, shades.round(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_jpeg_is_what_a_real_encoder_leaves(quality: int):
    """Against OpenCV's, with the same colour resolution; odd sizes are filled up."""
    noise = np.random.default_rng(2).uniform(0, 255, (45, 71, 3)).astype(np.float32)
    picture = cv2.GaussianBlur(noise, (0, 0), 2.5)
    picture = ((picture - picture.min()) / np.ptp(picture) * 255).astype(np.uint8)
    settings = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    ]
    real = cv2.imdecode(cv2.imencode(".jpg", picture[..., ::-1], settings)[1], cv2.IMREAD_COLOR)
    tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    ours = through_jpeg(tensor, torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy() * 255
    real = real[..., ::-1].astype(np.float32)
    lost = np.abs(real - picture).mean()
    assert np.abs(ours - real).mean() < 0.35 * lost + 1.0
    assert np.abs(ours - picture).mean() == pytest.approx(lost, rel=0.25, abs=1.0)


def test_warped_images_are_those_of_opencv():
    image = np.random.default_rng(3).uniform(0, 1, (31, 44, 3)).astype(np.float32)
    matrices = [
        np.array([[1.2, 0.1, -3.5], [-0.2, 0.9, 4.25], [1e-3, -2e-3, 1]]),
        np.array([[0.5, 0, 30], [0, 0.5, 0], [-0.03, 0, 1]]),  # its horizon crosses the image
    ]
    drawn = warp_images(
        torch.from_numpy(image).permute(2, 0, 1).expand(2, 3, 31, 44),
        torch.from_numpy(np.stack(matrices)),
        (50, 37),
    )
    for matrix, ours in zip(matrices, drawn, strict=True):
        theirs = homography.warp_image(image, matrix, (50, 37))
        # OpenCV rounds places to 1/32 px.
        assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).mean() < 0.01


def test_batched_points_and_corners_agree_with_single_ones(generator: torch.Generator):
    corners = torch.rand(5, 4, 2, generator=generator) * 20
    corners += torch.tensor([[0, 0], [90, 0], [90, 70], [0, 70]])
    square = torch.tensor([[0.0, 0], [60, 0], [60, 50], [0, 50]]).expand(5, 4, 2)
    matrices = batched.homography_from_corners(square, corners)
    points = torch.rand(5, 9, 2, generator=generator, dtype=torch.float64) * 50
    moved, front = batched.warp_points(matrices, points)
    assert front.all()
    for n in range(5):
        expected = cv2.getPerspectiveTransform(square[n].numpy(), corners[n].numpy())
        np.testing.assert_allclose(matrices[n].numpy(), expected, atol=1e-9)
        single = homography.warp_points(expected, points[n].numpy())
        np.testing.assert_allclose(moved[n].numpy(), single, atol=1e-8)
    behind = torch.tensor([[[-1.0, 0, 0], [0, 1, 0], [-1, 0, 0]]])
    assert batched.warp_points(behind, torch.ones(1, 1, 2))[1].tolist() == [[False]]


def murmur(h: int) -> int:
    """The finaliser as its author wrote it."""
    h ^= h >> 16
    h = h * 0x85EBCA6B & 0xFFFFFFFF
    h ^= h >> 13
    h = h * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


def test_hashes_of_tensors_are_those_of_whole_numbers():
    numbers = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 123456789]
    before = hash_numbers(5)
    assert before == murmur(0x9E3779B9 ^ 5)
    bits = hash_next(to_bits(before), to_bits(numbers))
    expected = [murmur(before ^ number) for number in numbers]
    assert [int(b) & 0xFFFFFFFF for b in bits] == expected
    assert in_unsigned_order(bits).argsort().tolist() == np.argsort(expected).tolist()
    assert [hash_numbers(5, number) for number in numbers] == expected
    assert hash_numbers(-1) == hash_numbers(0xFFFFFFFF)


def test_draws_are_even_normal_and_independent():
    draws = Draws([1, 2], device=torch.device("cpu"))
    even = draws.uniform("even", 20_000, low=-2, high=4)
    assert float(even.min()) >= -2
    assert float(even.max()) < 4
    assert even.mean(dim=1).tolist() == pytest.approx([1, 1], abs=0.05)
    assert even.std(dim=1).tolist() == pytest.approx([6 / math.sqrt(12)] * 2, abs=0.03)
    normal = draws.normal("normal", 3, 6_667)
    assert normal.mean(dim=(1, 2)).tolist() == pytest.approx([0, 0], abs=0.03)
    assert normal.std(dim=(1, 2)).tolist() == pytest.approx([1, 1], abs=0.02)
    assert float((normal.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=0.01)
    columns = torch.stack([even[0], even[1], draws.uniform("other", 20_000)[0]])
    assert torch.corrcoef(columns).fill_diagonal_(0).abs().max() < 0.03
    assert abs(float(torch.corrcoef(torch.stack([even[0, 1:], even[0, :-1]]))[0, 1])) < 0.03
    assert draws.happens("rare", 0.0).any() == draws.happens("sure", 1.0).logical_not().any()
    assert torch.equal(draws.part(torch.tensor([1])).uniform("x", 3), draws.uniform("x", 3)[1:])


def test_a_real_photo_shows_the_same_thing_at_both_points(shared_data: Path):
    """Patches around the two points of a pair look alike, and those around others do not."""
    path = sorted((shared_data / "photos" / "kodak").iterdir())[3]
    photo = torch.from_numpy(read_covering(path, (320, 240))[:240, :320].copy()).permute(2, 0, 1)
    mild = WarpRecipe(perspective=0.1, rotation_deg=2)
    pairs = make_pairs(photo[None], [3], size_px=(320, 240), points=400, warp=mild, light=PLAIN)
    patch = torch.stack(torch.meshgrid(torch.arange(-6.0, 7), torch.arange(-6.0, 7), indexing="xy"))
    offsets = patch.flatten(1).T
    seen = pairs.seen[0]
    patches = []
    for images, points in ((pairs.images_a, pairs.points_a), (pairs.images_b, pairs.points_b)):
        places = (points[0, seen][:, None] + offsets).reshape(1, -1, 2)
        grey = sample_map(images.mean(dim=1, keepdim=True), CellGrid(1.0, 0.0), places)
        grey = grey.view(-1, len(offsets))
        grey = grey - grey.mean(dim=1, keepdim=True)
        patches.append(grey / grey.norm(dim=1, keepdim=True).clamp_min(1e-6))
    alike = (patches[0] * patches[1]).sum(dim=1)
    crossed = (patches[0] * patches[1].roll(1, 0)).sum(dim=1)
    assert float(alike.median()) > 0.8
    assert float(crossed.median()) < 0.3
