"""Where an image has texture, what becomes of queries without any, and an image against itself."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from PIL import Image as PilImage

from engine.cli.commands.match import as_text
from engine.data.pairs import ImagePair
from engine.descriptors.registry import make_spec
from engine.geometry.homography import warp_points
from engine.images import fit_long_edge, read_image, resize_pixels, write_image
from engine.inspection.requests import MatchRequest, ProbeRequest, Recipe
from engine.inspection.session import Session
from engine.jobs.match import MatchJob
from engine.matching.texture import LEAST_CONTRAST, find_texture, local_contrast
from engine.progress import JobContext
from engine.truth.homography import HomographySource

SIZE = (180, 240)
PHOTOS = Path(skimage.__file__).parent / "data"


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.astype(np.float32)[..., None], 3, axis=2)


def wall(kind: str, noise: float, quality: int | None, seed: int = 0) -> np.ndarray:
    """``(H, W)`` in [0, 1]: a wall by a camera with sensor noise in shades of 255, and JPEG."""
    ys, xs = np.mgrid[-1 : 1 : SIZE[0] * 1j, -1 : 1 : SIZE[1] * 1j]
    shades = {
        "flat": 150 + 0 * xs,
        "slope": 128 + 60 * xs + 20 * ys,
        "vignette": 200 * (1 - 0.2 * (xs**2 + ys**2)),
    }[kind]
    noisy = shades + np.random.default_rng(seed).normal(0, noise, SIZE)
    pixels = noisy.round().clip(0, 255).astype(np.uint8)
    if quality is not None:
        stream = io.BytesIO()
        PilImage.fromarray(pixels).save(stream, "JPEG", quality=quality)
        pixels = np.asarray(PilImage.open(stream))
    return pixels / 255


@pytest.mark.parametrize("kind", ["flat", "slope", "vignette"])
@pytest.mark.parametrize("quality", [None, 90, 50])
@pytest.mark.parametrize("noise", [0.0, 2.0, 5.0])
def test_noise_slopes_and_jpeg_blocks_are_no_texture(kind, noise, quality):
    assert not find_texture(as_rgb(wall(kind, noise, quality))).any()


@pytest.mark.parametrize("name", ["brick.png", "grass.png", "gravel.png"])
def test_photographed_surfaces_have_texture_everywhere(name):
    pixels = read_image(PHOTOS / name).as_float()
    assert find_texture(pixels).mean() > 0.999


def test_the_contrast_is_what_a_loop_over_the_window_finds():
    random = np.random.default_rng(1)
    grey = cv2.GaussianBlur(random.uniform(0, 1, (60, 70)), (0, 0), 1.5)
    found = local_contrast(as_rgb(grey))

    def mean(values: np.ndarray, x: int, y: int, reach: int) -> float:
        return float(values[y - reach : y + reach + 1, x - reach : x + reach + 1].mean())

    for x, y in ((30, 28), (41, 33)):
        squares = [
            (mean(grey, column, row, 4) - mean(grey, column, row, 12)) ** 2
            for row in range(y - 12, y + 13)
            for column in range(x - 12, x + 13)
            if 12 <= column < 58 and 12 <= row < 48
        ]
        if len(squares) == 625:
            assert found[y, x] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-3)
    weak = 0.5 + 0.02 * (grey - grey.mean()) / grey.std()
    assert local_contrast(as_rgb(weak)).max() > LEAST_CONTRAST


def save(folder: Path, name: str, grey: np.ndarray) -> Path:
    write_image(folder / name, (255 * as_rgb(grey)).round().astype(np.uint8))
    return folder / name


def recipe(name: str) -> Recipe:
    return Recipe(spec=make_spec(name, {}), device="cpu")


@pytest.mark.parametrize("name", ["descspace-fast", "daisy"])
def test_two_blank_walls_agree_about_nothing(tmp_path, name):
    a = save(tmp_path, "a.png", wall("flat", 2.0, None, seed=1))
    b = save(tmp_path, "b.png", wall("flat", 2.0, None, seed=2))
    request = MatchRequest(pair=ImagePair(a, b), recipe=recipe(name), points="grid", count=100)
    out = tmp_path / "m.csv"
    result = MatchJob(request=request, out=out, figure=tmp_path / "m.svg").run(JobContext())
    table, summary = result.table, result.summary
    assert len(table.textured) > 80
    assert not table.textured.any()
    assert table.h_b_from_a is None
    assert not table.inlier.any()
    assert (summary.textured, summary.inliers) == (0, None)
    assert np.isnan(summary.mutual)
    text = as_text(result, request.pair)
    assert f"{summary.count} of {summary.count} points have no texture" in text
    assert "mutual" not in text
    assert "agree" not in text
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert {row["texture"] for row in rows} == {"false"}
    assert "no texture" in (tmp_path / "m.svg").read_text()
    session = Session()
    for side in ("a", "b"):
        session.describe(request.pair, side, request.recipe, JobContext())
    answer = session.probe(
        ProbeRequest(pair=request.pair, recipe=request.recipe, side="b", point_px=(30.0, 20.0))
    )
    assert not answer.textured


def test_the_estimate_rests_on_the_textured_half_of_a_picture_and_pck_on_all_of_it(tmp_path):
    blobs = cv2.GaussianBlur(np.random.default_rng(5).uniform(0, 1, SIZE), (0, 0), 2.0)
    grey = 0.5 + 0.1 * (blobs - blobs.mean()) / blobs.std()
    grey[:, 120:] = 0.5
    a = save(tmp_path, "a.png", grey.clip(0, 1))
    b = save(tmp_path, "b.png", np.roll(grey, (8, 4), axis=(0, 1)).clip(0, 1))
    shift = np.array([[1.0, 0, 4], [0, 1, 8], [0, 0, 1]])
    session = Session()
    tables = [
        session.match(
            MatchRequest(
                pair=ImagePair(a, b, truth), recipe=recipe("daisy"), points="grid", count=120
            ),
            JobContext(),
        )
        for truth in (None, HomographySource.of(shift))
    ]
    xs = tables[0].points_a[:, 0]
    # A window of 25 px and one of 9 px in it reach 16 px and 12 px beyond the edge.
    assert tables[0].textured[xs < 120].all()
    assert not tables[0].textured[xs > 120 + 12 + 13].any()
    assert tables[0].h_b_from_a is not None
    corners = np.array([[0, 0], [119, 0], [119, 179], [0, 179]])
    moved = warp_points(tables[0].h_b_from_a, corners)
    np.testing.assert_allclose(moved, warp_points(shift, corners), atol=1.5)
    assert not tables[0].inlier[~tables[0].textured].any()
    truth = warp_points(shift, tables[1].points_a)
    inside = (truth <= [SIZE[1] - 1, SIZE[0] - 1]).all(axis=1)
    np.testing.assert_array_equal(np.isfinite(tables[1].error_px), inside)


@pytest.mark.parametrize("points", ["grid", "harris"])
@pytest.mark.parametrize("name", ["chelsea.png", "motorcycle_left.png"])
def test_an_image_against_itself_gives_the_identity_within_half_a_cell(name, points):
    path = PHOTOS / name
    how = recipe("descspace-fast")
    session = Session()
    table = session.match(
        MatchRequest(
            pair=ImagePair(path, path, HomographySource.of(np.eye(3))),
            recipe=how,
            points=points,
            count=600,
        ),
        JobContext(),
    )
    info = session.described(ImagePair(path, path), "a", how)
    assert info is not None
    # Beyond the last cells' centres nothing is described but what these describe.
    last_px = (np.array(info.cells) - 1) * info.stride_px
    asked = table.textured & (table.points_a <= last_px).all(axis=1)
    assert asked.mean() > 0.6
    assert (table.error_px[asked] <= info.stride_px / 2).all()
    assert (table.error_px[asked] <= 0.15 * info.stride_px).mean() > 0.95
    assert table.mutual[asked].all()


@pytest.mark.parametrize("name", ["phantom.png", "logo.png", "color.png"])
def test_a_drawing_against_itself_gives_the_identity_although_its_cells_differ_strongly(name):
    path = PHOTOS / name
    how = recipe("descspace-fast")
    table = Session().match(
        MatchRequest(
            pair=ImagePair(path, path, HomographySource.of(np.eye(3))),
            recipe=how,
            points="grid",
            count=400,
        ),
        JobContext(),
    )
    assert table.textured.sum() > 50
    assert (table.error_px[table.textured] <= 2).all()  # half a cell


def test_an_image_is_judged_at_the_size_that_was_described(tmp_path):
    # Noise of one pixel is texture where each pixel is described, and none where many are one.
    noise = np.random.default_rng(2).uniform(0.3, 0.7, (900, 1200))
    path = save(tmp_path, "n.png", noise)
    pixels = read_image(path).pixels
    small = resize_pixels(pixels, fit_long_edge((1200, 900), 150).to_size_px, antialias=True)
    how = Recipe(spec=make_spec("daisy", {"rings": 1}), long_edge_px=150, device="cpu")
    table = Session().match(
        MatchRequest(pair=ImagePair(path, path), recipe=how, points="grid", count=50),
        JobContext(),
    )
    assert not find_texture(small).any()
    assert find_texture(read_image(path).as_float()).mean() > 0.99
    assert not table.textured.any()


def against_itself(path: Path, name: str, points: str, **settings: object):
    """The table of an image against itself, its stride, and which queries lie on the map."""
    how = Recipe(spec=make_spec(name, settings), device="cpu")
    pair = ImagePair(path, path, HomographySource.of(np.eye(3)))
    session = Session()
    table = session.match(
        MatchRequest(pair=pair, recipe=how, points=points, count=120), JobContext()
    )
    info = session.described(pair, "a", how)
    assert info is not None
    return table, info.stride_px


PARTS = {
    "phantom": ("phantom.png", (slice(150, 230), slice(60, 180))),
    "mug": ("coffee.png", (slice(190, 214), slice(284, 316))),
}


@pytest.mark.parametrize("points", ["grid", "harris"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["daisy", "descspace-fast"])
def test_every_query_with_texture_is_found_again_in_its_own_image(tmp_path, name, part, points):
    """By DAISY, beside blank areas, cells far away are more similar than those around one in 50."""
    picture, where = PARTS[part]
    pixels = np.asarray(PilImage.open(PHOTOS / picture).convert("RGB"))[where]
    write_image(tmp_path / "a.png", np.ascontiguousarray(pixels))
    table, stride_px = against_itself(tmp_path / "a.png", name, points)
    assert table.textured.sum() > 20
    off_px = np.abs(table.points_b - table.points_a).max(axis=1)
    assert off_px[table.textured].max() <= stride_px / 2 + 1e-6


@pytest.mark.parametrize(
    ("edge_px", "top_px", "reason"),
    [
        (33, 140, "the similar places lie along a ridge that is narrower than the zoom's grid"),
        (17, 180, "the last row of queries lies half a cell beyond the last cells"),
        (25, 140, "both"),
    ],
)
def test_small_pictures_are_found_again_by_daisy(tmp_path, edge_px, top_px, reason):
    part = slice(top_px, top_px + edge_px)
    pixels = np.asarray(PilImage.open(PHOTOS / "brick.png").convert("RGB"))[part, part]
    write_image(tmp_path / "a.png", np.ascontiguousarray(pixels))
    how = Recipe(spec=make_spec("daisy", {}), device="cpu")
    pair = ImagePair(tmp_path / "a.png", tmp_path / "a.png")
    request = MatchRequest(pair=pair, recipe=how, points="grid", count=240)
    table = Session().match(request, JobContext())
    assert table.textured.sum() == 240
    off_px = np.abs(table.points_b - table.points_a).max(axis=1)
    assert off_px.max() <= 1 + 1e-6, reason  # half a cell


@pytest.mark.parametrize("pattern", ["checkers", "stripes", "tiles"])
def test_what_repeats_exactly_is_no_evidence_and_all_else_is_found(tmp_path, pattern):
    ys, xs = np.mgrid[:144, :176]
    random = cv2.GaussianBlur(np.random.default_rng(3).uniform(0, 1, (24, 24)), (0, 0), 1.5)
    grey = {
        "checkers": 0.2 + 0.6 * ((xs // 16 + ys // 16) % 2),
        "stripes": 0.2 + 0.6 * (xs // 16 % 2),
        "tiles": np.tile(0.5 + 0.2 * (random - random.mean()) / random.std(), (6, 8))[:144, :176],
    }[pattern]
    path = save(tmp_path, "a.png", grey.clip(0, 1))
    table, stride_px = against_itself(path, "daisy", "grid")
    off_px = np.abs(table.points_b - table.points_a).max(axis=1)
    assert (off_px[table.textured] <= stride_px / 2 + 1e-6).all()
    inside = ((table.points_a > 48) & (table.points_a < [127, 95])).all(axis=1)
    assert inside.any()
    assert not table.textured[inside].any()


def test_the_probe_tells_that_a_pattern_repeats(tmp_path):
    ys, xs = np.mgrid[:128, :160]
    path = save(tmp_path, "a.png", 0.2 + 0.6 * ((xs // 16 + ys // 16) % 2))
    pair, how, session = ImagePair(path, path), recipe("daisy"), Session()
    session.describe(pair, "a", how, JobContext())
    answer = session.probe(
        ProbeRequest(pair=pair, recipe=how, side="a", point_px=(80.5, 62.0), separation_px=16)
    )
    assert not answer.textured


def test_a_query_beyond_the_map_is_no_evidence(tmp_path):
    random = cv2.GaussianBlur(np.random.default_rng(4).uniform(0, 1, (64, 96)), (0, 0), 1.5)
    path = save(tmp_path, "a.png", (0.5 + 0.2 * (random - random.mean()) / random.std()).clip(0, 1))
    pair, how, session = ImagePair(path, path), recipe("descspace-fast"), Session()
    session.describe(pair, "a", how, JobContext())
    texts = [
        session.probe(ProbeRequest(pair=pair, recipe=how, side="a", point_px=(x, 30.0))).textured
        for x in (88.0, 92.0, 93.9, 94.1, 95.0)  # the last cells' centres are at 92, a cell is 4
    ]
    assert texts == [True, True, True, False, False]
