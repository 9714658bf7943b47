"""Questions about pairs, held against constructions with a known answer and against loops.

The descriptors here are raw patches of grey values, so an image that is another one shifted by
whole cells matches it exactly.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.data.pairs import ImagePair
from engine.descriptors import registry
from engine.descriptors.base import DescriptorMap, Levels, Member
from engine.descriptors.registry import DescriptorEntry, DescriptorSpec, make_spec
from engine.errors import (
    BasisFileError,
    DeviceError,
    ImageError,
    JobCancelled,
    MapFileError,
    MapsMismatchError,
    MapsMissingError,
)
from engine.geometry.coords import CellGrid, Resize
from engine.geometry.homography import warp_points
from engine.images import fit_long_edge, read_image, resize_pixels, write_image
from engine.inspection import session as session_module
from engine.inspection.colours import answer_pca
from engine.inspection.requests import (
    MatchRequest,
    PcaAnswer,
    PcaRequest,
    ProbeRequest,
    Recipe,
)
from engine.inspection.session import Session
from engine.matching import confidence, nearest
from engine.matching.colouring import Colouring
from engine.matching.local_motion import compare_with_neighbours
from engine.matching.projection import fit_basis, load_basis, save_basis
from engine.progress import CancelToken, JobContext, Note, Progress
from engine.truth.base import Visibility
from engine.truth.homography import HomographySource

TAPS = 8
TAP_PX = 2
SPAN_PX = TAP_PX * (TAPS - 1) + 1
STRIDE_PX = 4
CENTRE_PX = (SPAN_PX - 1) / 2
SHIFT_PX = (12, 8)


@dataclass(frozen=True)
class NoSettings:
    pass


def patches(images: torch.Tensor) -> torch.Tensor:
    """``(B, 64, H', W')``: 8 × 8 grey values, 2 px apart, less their mean, of unit length."""
    grey = images.mean(dim=1, keepdim=True)
    columns = functional.unfold(grey, TAPS, dilation=TAP_PX, stride=STRIDE_PX)
    columns = columns - columns.mean(dim=1, keepdim=True)
    height, width = ((size - SPAN_PX) // STRIDE_PX + 1 for size in images.shape[2:])
    return functional.normalize(columns, dim=1).reshape(len(images), -1, height, width)


class Patches:
    """One level; a cell lies in the middle of its patch, which starts at 4 i."""

    dim = TAPS**2
    shift_period_px = STRIDE_PX
    trained = True
    half_precision = False
    grid = CellGrid(STRIDE_PX, CENTRE_PX)

    def describe(self, images: torch.Tensor) -> Levels:
        return (DescriptorMap(patches(images), self.grid),)


class Untrained(Patches):
    trained = False


class PatchSpace(Patches):
    """A set: the image, and the image at half size."""

    def describe(self, images: torch.Tensor) -> Levels:
        half = functional.avg_pool2d(images, 2)
        return (
            DescriptorMap(patches(images), self.grid, Member(scale=1.0)),
            DescriptorMap(
                patches(half), CellGrid(2 * STRIDE_PX, 2 * CENTRE_PX + 0.5), Member(scale=0.5)
            ),
        )


class TurnedSpace(Patches):
    """A set: the image, and the image rotated by 90° counter-clockwise."""

    def describe(self, images: torch.Tensor) -> Levels:
        turned = torch.rot90(patches(torch.rot90(images, 1, (2, 3))), -1, (2, 3))
        return (
            DescriptorMap(patches(images), self.grid, Member(angle_deg=0.0)),
            DescriptorMap(turned, self.grid, Member(angle_deg=90.0)),
        )


class Twice(Patches):
    """A set of two equal members."""

    def describe(self, images: torch.Tensor) -> Levels:
        return super().describe(images) * 2


class Counting(Patches):
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def describe(self, images: torch.Tensor) -> Levels:
        self.calls += 1
        return super().describe(images)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Test descriptors, on the list of registered ones only while a test runs."""
    for name, build in {
        "test-patches": Patches,
        "test-untrained": Untrained,
        "test-space": PatchSpace,
        "test-turned": TurnedSpace,
        "test-twice": Twice,
    }.items():
        register(monkeypatch, name, build)


def register(monkeypatch, name, build):
    entry = DescriptorEntry(name, name, "", NoSettings, lambda config: build(), "a test")
    monkeypatch.setitem(registry._ENTRIES, name, entry)


def recipe(name: str = "test-patches", **changes) -> Recipe:
    return Recipe(spec=DescriptorSpec(name), device="cpu", **changes)


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise ``(H, W, 3)`` uint8, with blobs larger than a cell and without repetition."""
    noise = np.random.default_rng(seed).random((height // 10 + 3, width // 10 + 3, 3))
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (255 * smooth.clip(0, 1)).astype(np.uint8)


def save_pair(folder: Path, a: np.ndarray, b: np.ndarray, h_b_from_a=None) -> ImagePair:
    write_image(folder / "bild ä.png", a)
    write_image(folder / "bild b.png", b)
    truth = None if h_b_from_a is None else HomographySource.of(h_b_from_a)
    return ImagePair(folder / "bild ä.png", folder / "bild b.png", truth)


@pytest.fixture
def shifted(tmp_path) -> ImagePair:
    """96 × 72 pixels; b sees the same texture, 12 px further right and 8 further down."""
    canvas = texture(100, 130)
    dx, dy = SHIFT_PX
    h_b_from_a = np.array([[1, 0, -dx], [0, 1, -dy], [0, 0, 1.0]])
    return save_pair(tmp_path, canvas[:72, :96], canvas[dy : dy + 72, dx : dx + 96], h_b_from_a)


def ready(session: Session, pair: ImagePair, how: Recipe) -> Session:
    for side in ("a", "b"):
        session.describe(pair, side, how, JobContext())
    return session


def probe(session: Session, pair: ImagePair, how: Recipe, point_px, side="a", **changes):
    return session.probe(
        ProbeRequest(pair=pair, recipe=how, side=side, point_px=point_px, **changes)
    )


# ---- describing ------------------------------------------------------------------------------


def test_describing_tells_sizes_cells_and_memory(shifted):
    info = Session().describe(shifted, "a", recipe(), JobContext())
    assert info.size_px == (96, 72)
    assert info.working_size_px == (96, 72)
    assert info.cells == (21, 15)
    assert info.stride_px == 4.0
    assert (info.levels, info.dim) == (1, 64)
    assert info.size_bytes == 21 * 15 * (64 + 2) * 4
    assert info.device == "cpu"
    assert info.trained
    assert info.seconds > 0


def test_the_stride_of_a_shrunk_image_is_in_original_pixels_the_larger_of_both(tmp_path):
    pair = save_pair(tmp_path, texture(66, 101), texture(66, 101))
    info = Session().describe(pair, "a", recipe(long_edge_px=50), JobContext())
    assert info.working_size_px == (50, 33)
    assert info.stride_px == pytest.approx(4 * 101 / 50)


def test_an_untrained_descriptor_is_reported_as_such(shifted):
    info = Session().describe(shifted, "a", recipe("test-untrained"), JobContext())
    assert not info.trained


def test_describing_again_is_instant_until_the_file_changes(shifted, monkeypatch):
    counting = Counting()
    register(monkeypatch, "test-counting", lambda: counting)
    session, how = Session(), recipe("test-counting")
    assert session.described(shifted, "a", how) is None
    info = session.describe(shifted, "a", how, JobContext())
    assert session.describe(shifted, "a", how, JobContext()) is info
    assert session.described(shifted, "a", how) is info
    assert session.described(shifted, "b", how) is None
    assert session.described(shifted, "a", replace(how, long_edge_px=48)) is None
    once = counting.calls
    later = shifted.path_a.stat().st_mtime_ns + 10**9
    os.utime(shifted.path_a, ns=(later, later))
    assert session.described(shifted, "a", how) is None
    session.describe(shifted, "a", how, JobContext())
    assert counting.calls == once + 1


def test_a_forgotten_file_must_be_described_again(shifted):
    session = ready(Session(), shifted, recipe())
    session.forget(shifted.path_a)
    assert session.described(shifted, "a", recipe()) is None
    assert session.described(shifted, "b", recipe()) is not None


def test_asking_about_a_file_that_vanished_says_none_and_describing_it_says_why(shifted):
    session = ready(Session(), shifted, recipe())
    shifted.path_a.unlink()
    assert session.described(shifted, "a", recipe()) is None
    with pytest.raises(ImageError, match=r"bild ä\.png"):
        session.describe(shifted, "a", recipe(), JobContext())


def test_a_cancelled_description_leaves_nothing_and_the_session_usable(shifted):
    session, context = Session(), JobContext()
    context.cancel.cancel()
    with pytest.raises(JobCancelled):
        session.describe(shifted, "a", recipe(), context)
    assert session.described(shifted, "a", recipe()) is None
    ready(session, shifted, recipe())


def test_one_image_is_described_once_for_two_threads_and_a_waiting_one_can_be_cancelled(
    shifted, monkeypatch
):
    started, go_on = threading.Event(), threading.Event()

    class Slow(Counting):
        def describe(self, images):
            started.set()
            assert go_on.wait(10)
            return super().describe(images)

    slow = Slow()
    register(monkeypatch, "test-slow", lambda: slow)
    session, how = Session(), recipe("test-slow")
    infos = []
    threads = [
        threading.Thread(
            target=lambda: infos.append(session.describe(shifted, "a", how, JobContext()))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    token = CancelToken()
    token.cancel()
    with pytest.raises(JobCancelled):
        session.describe(shifted, "b", recipe(), JobContext(cancel=token))
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert slow.calls == 1
    assert infos[0] is infos[1]


def test_probing_finished_maps_does_not_wait_for_a_description(shifted, monkeypatch):
    """The describing thread is held up until the probe, made meanwhile, has been answered."""
    started, answered = threading.Event(), threading.Event()

    class Slow(Patches):
        def describe(self, images):
            started.set()
            assert answered.wait(10), "the probe waited for the description"
            return super().describe(images)

    register(monkeypatch, "test-slow-2", Slow)
    session = ready(Session(), shifted, recipe())
    thread = threading.Thread(
        target=session.describe, args=(shifted, "a", recipe("test-slow-2"), JobContext())
    )
    thread.start()
    assert started.wait(10)
    answer = probe(session, shifted, recipe(), (43.0, 35.0))
    answered.set()
    thread.join(10)
    assert answer.error_px < 1


def test_every_method_may_be_called_from_several_threads_at_once(tmp_path, monkeypatch):
    """Memory holds four of six images, so that all threads keep pushing each other's maps out."""
    inside = threading.Semaphore(1)

    class OneAtATime(Patches):
        def describe(self, images):
            assert inside.acquire(blocking=False), "two images were described at once"
            time.sleep(0)
            levels = super().describe(images)
            inside.release()
            return levels

    register(monkeypatch, "test-one-at-a-time", OneAtATime)
    how, pairs = recipe("test-one-at-a-time"), []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        image = texture(20, 24, number)
        pairs.append(save_pair(tmp_path / str(number), image, image[:, ::-1], np.eye(3)))

    def answers(session: Session, number: int, ask: str) -> object:
        pair = pairs[number]
        if ask == "describe":
            return [session.describe(pair, side, how, JobContext()).cells for side in ("a", "b")]
        if ask == "probe":
            return probe(session, pair, how, (10.0, 12.0), heat=False).peaks
        if ask == "pca":
            return session.pca(PcaRequest(pair=pair, recipe=how)).a.pixels.tobytes()
        if ask == "match":
            request = MatchRequest(pair=pair, recipe=how, points="grid", count=4)
            return session.match(request, JobContext()).points_b.tobytes()
        assert ask == "forget"
        session.forget(pair.path_a)
        found = session.described(pair, "b", how)
        return found is None or found.cells

    asks = ("describe", "probe", "pca", "match", "forget", "describe", "probe")
    expected = {}
    for number in range(3):
        quiet = ready(Session(), pairs[number], how)
        expected |= {(number, ask): answers(quiet, number, ask) for ask in asks}
    session, faults = Session(map_budget_bytes=1), []

    def work(ask: str, seed: int) -> None:
        generator = np.random.default_rng(seed)
        for number in generator.integers(0, 3, 20):
            try:
                found = answers(session, number, ask)
                if found != expected[number, ask] and found is not True:
                    faults.append((ask, found))
            except MapsMissingError:
                continue
            except BaseException as fault:
                faults.append((ask, fault))

    threads = [threading.Thread(target=work, args=(ask, seed)) for seed, ask in enumerate(asks)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert faults == []


def test_maps_that_were_dropped_for_room_are_asked_for_by_a_dedicated_error(tmp_path):
    pairs = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        pairs.append(save_pair(folder, texture(48, 48, number), texture(48, 48, number + 9)))
    session = Session(map_budget_bytes=1)
    for pair in pairs:
        ready(session, pair, recipe())
    probe(session, pairs[2], recipe(), (20.0, 20.0))
    with pytest.raises(MapsMissingError, match=r"bild ä\.png"):
        probe(session, pairs[0], recipe(), (20.0, 20.0))
    table = session.match(MatchRequest(pair=pairs[0], recipe=recipe(), count=9), JobContext())
    assert len(table.points_a) == 9


# ---- probing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "point_px"), [("a", (43.0, 35.0)), ("b", (31.0, 27.0))])
def test_a_shifted_image_is_matched_exactly_in_both_directions(shifted, side, point_px):
    session = ready(Session(), shifted, recipe())
    answer = probe(session, shifted, recipe(), point_px, side)
    sign = -1 if side == "a" else 1
    expected = (point_px[0] + sign * SHIFT_PX[0], point_px[1] + sign * SHIFT_PX[1])
    assert answer.truth_px == pytest.approx(expected)
    assert answer.found_px == pytest.approx(expected, abs=1.0)  # a quarter of a cell
    assert answer.error_px == pytest.approx(math.dist(answer.found_px, expected))
    assert answer.peaks[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert answer.peaks[0].members == ""
    assert answer.rank == 1
    assert answer.ratio < 0.05
    assert answer.cycle_px == pytest.approx(point_px, abs=1.0)
    assert answer.cycle_error_px == pytest.approx(math.dist(answer.cycle_px, point_px))
    assert answer.seconds > 0


def test_the_heat_map_peaks_at_the_match_and_covers_the_whole_image(shifted):
    session = ready(Session(), shifted, recipe())
    answer = probe(session, shifted, recipe(), (43.0, 35.0))
    assert answer.heat.shape == (72, 96)
    assert answer.heat.dtype == np.float32
    row, column = np.unravel_index(answer.heat.argmax(), answer.heat.shape)
    assert math.dist((column, row), (31.0, 27.0)) < 1
    extent = answer.heat_extent
    assert (extent.left_px, extent.top_px) == (-0.5, -0.5)
    assert (extent.right_px, extent.bottom_px) == (95.5, 71.5)


def test_what_is_not_asked_for_is_not_made(shifted):
    session = ready(Session(), shifted, recipe())
    answer = probe(session, shifted, recipe(), (40.0, 30.0), heat=False, cycle=False, peaks=1)
    assert answer.heat is None
    assert answer.cycle_px is None
    assert answer.cycle_error_px is None
    assert len(answer.peaks) == 1
    both = probe(session, shifted, recipe(), (40.0, 30.0))
    assert answer.ratio == both.ratio


def test_a_point_that_leaves_the_other_image_is_out_of_view_and_has_no_error(shifted):
    session = ready(Session(), shifted, recipe())
    answer = probe(session, shifted, recipe(), (5.0, 5.0))
    assert answer.visibility is Visibility.OUTSIDE
    assert answer.truth_px == (-7.0, -3.0)  # where it would be
    assert answer.error_px is None
    assert answer.rank is None
    assert len(answer.peaks) == 5


def test_a_pair_without_homography_has_no_truth(shifted):
    free = ImagePair(shifted.path_a, shifted.path_b)
    session = ready(Session(), free, recipe())
    answer = probe(session, free, recipe(), (43.0, 35.0))
    assert (answer.truth_px, answer.error_px, answer.rank) == (None, None, None)


def test_a_flat_image_is_answered_without_nan_and_as_ambiguous(tmp_path):
    grey = np.full((40, 40, 3), 128, np.uint8)
    pair = save_pair(tmp_path, grey, grey, np.eye(3))
    session = ready(Session(), pair, recipe())
    answer = probe(session, pair, recipe(), (20.0, 20.0))
    assert answer.peaks[0].similarity == 0.0
    assert answer.ratio == 1.0
    assert answer.rank == 1
    assert not answer.heat.any()
    assert math.isfinite(answer.cycle_error_px)


@pytest.mark.parametrize("descriptor", ["test-patches", "test-space"])
def test_ratio_confidence_and_marks_of_a_large_photo_are_those_of_what_was_described(
    tmp_path, calibrated, descriptor
):
    """Distances between candidates are as described: 16 px of a large file are within a cell."""
    small = texture(72, 96, seed=3)
    large = np.repeat(np.repeat(small, 6, axis=0), 6, axis=1)  # shrinks to the same picture
    answers = []
    for number, (picture, scale) in enumerate(((small, 1), (large, 6))):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = save_pair(folder, picture, picture)
        how = recipe(descriptor, long_edge_px=96)
        session = ready(Session(), pair, how)
        point = tuple((one + 0.5) * scale - 0.5 for one in (50.0, 40.0))
        answers.append(probe(session, pair, how, point, exclude_px=20.0))
        table = session.match(
            MatchRequest(pair=pair, recipe=how, points="random", count=20), JobContext()
        )
        for row in np.flatnonzero(table.textured):
            asked = probe(session, pair, how, tuple(table.points_a[row]))
            assert table.ratio[row] == pytest.approx(asked.ratio, abs=1e-3)
    one, two = answers
    assert two.ratio == pytest.approx(one.ratio, abs=0.02)  # shrinking blurs a little
    assert two.confidence == pytest.approx(one.confidence, abs=0.02)
    assert len(two.peaks) == len(one.peaks)
    for near, far in zip(one.peaks, two.peaks, strict=True):
        assert [(x + 0.5) / 6 - 0.5 for x in far.point_px] == pytest.approx(near.point_px, abs=0.3)
    assert two.own.excluded_px == pytest.approx(6 * one.own.excluded_px)
    assert len(two.own.peaks) == len(one.own.peaks)


def test_an_image_of_one_cell_has_one_peak_and_the_ratio_one(tmp_path):
    pair = save_pair(tmp_path, texture(16, 16), texture(16, 16))
    session = ready(Session(), pair, recipe())
    answer = probe(session, pair, recipe(), (8.0, 8.0), separation_px=100.0)
    assert len(answer.peaks) == 1
    assert answer.ratio == 1.0


def levels_of(path: Path, long_edge_px: int, descriptor) -> tuple[Levels, Resize]:
    image = read_image(path)
    resize = fit_long_edge(image.size_px, long_edge_px)
    pixels = resize_pixels(image.pixels, resize.to_size_px, antialias=True)
    return descriptor.describe(torch.from_numpy(pixels).permute(2, 0, 1)[None]), resize


def cells_of(path: Path, long_edge_px: int, descriptor) -> list[tuple[tuple, np.ndarray]]:
    """(position in original pixels, unit vector) of every cell of every level, by plain loops."""
    levels, resize = levels_of(path, long_edge_px, descriptor)
    cells = []
    for level in levels:
        _, _, height, width = level.values.shape
        for row in range(height):
            for column in range(width):
                place = [level.grid.offset_px + level.grid.stride_px * i for i in (column, row)]
                original = tuple(
                    (p + 0.5) / scale - 0.5 for p, scale in zip(place, resize.scale_xy, strict=True)
                )
                cells.append((original, level.values[0, :, row, column].numpy()))
    return cells


def set_at(path: Path, long_edge_px: int, descriptor, point_px) -> list[np.ndarray]:
    """The unit vectors that describe one point, one per level, as the four corners of its cell."""
    levels, resize = levels_of(path, long_edge_px, descriptor)
    working = [(p + 0.5) * scale - 0.5 for p, scale in zip(point_px, resize.scale_xy, strict=True)]
    vectors = []
    for level in levels:
        values = level.values[0].numpy()
        x, y = ((p - level.grid.offset_px) / level.grid.stride_px for p in working)
        x, y = min(max(x, 0), values.shape[2] - 1), min(max(y, 0), values.shape[1] - 1)
        vector = sum(
            max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row)) * values[:, row, column]
            for row in range(values.shape[1])
            for column in range(values.shape[2])
        )
        vectors.append(vector / np.linalg.norm(vector))
    return vectors


@pytest.mark.parametrize("point_px", [(50.0, 40.0), (71.3, 33.8), (90.2, 66.6), (3.0, 88.0)])
@pytest.mark.parametrize("name", ["test-patches", "test-space"])
def test_peaks_ratio_and_rank_of_shrunk_images_are_what_loops_find(tmp_path, name, point_px):
    """b is another picture than a, so that the true match is far from the best."""
    a, b = texture(90, 121, seed=1), texture(101, 83, seed=2)
    h_b_from_a = np.array([[0.6, 0.1, 3.0], [-0.1, 0.9, 12.0], [0.0, 0.0005, 1.0]])
    pair = save_pair(tmp_path, a, b, h_b_from_a)
    how = recipe(name, long_edge_px=64)
    session = ready(Session(), pair, how)
    answer = probe(session, pair, how, point_px, separation_px=12.0, peaks=4)

    descriptor = {"test-patches": Patches(), "test-space": PatchSpace()}[name]
    queries = set_at(pair.path_a, 64, descriptor, point_px)
    found = [
        (max(float(query @ vector) for query in queries), place)
        for place, vector in cells_of(pair.path_b, 64, descriptor)
    ]
    seen_px = levels_of(pair.path_b, 64, descriptor)[1].forward(
        np.array([place for _, place in found])
    )
    picked: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: (-found[i][0], i)):
        if all(math.dist(seen_px[i], seen_px[j]) >= 12 - 1e-4 for j in picked):
            picked.append(i)
    widest_cell_px = (4 if name == "test-patches" else 8) * 101 / 64
    assert len(answer.peaks) == 4
    for peak, i in zip(answer.peaks, picked, strict=False):
        assert peak.similarity == pytest.approx(found[i][0], abs=1e-5)
        assert math.dist(peak.point_px, found[i][1]) <= widest_cell_px * 0.7072
    best, second = found[picked[0]][0], found[picked[1]][0]
    expected = math.sqrt((2 - 2 * best) / (2 - 2 * second))
    assert answer.ratio == pytest.approx(expected, abs=1e-4)

    truth = h_b_from_a @ [*point_px, 1]
    truth = tuple(truth[:2] / truth[2])
    assert answer.truth_px == pytest.approx(truth)
    assert answer.error_px == pytest.approx(math.dist(answer.found_px, truth))
    radius_px = 4 * 83 / 53  # one cell along x, where the rounded size is less
    near = [similarity for similarity, place in found if math.dist(place, truth) <= radius_px]
    assert answer.rank == 1 + sum(similarity > max(near) for similarity, _ in found)
    assert answer.rank > 1


# ---- self-similarity ---------------------------------------------------------------------------


def test_a_part_of_the_image_that_is_there_twice_is_found_in_the_image_itself(tmp_path):
    a = texture(90, 130, seed=4)
    a[40:72, 80:112] = a[20:52, 16:48]
    pair = save_pair(tmp_path, a, texture(90, 130, seed=5))
    session = ready(Session(), pair, recipe())
    answer = probe(session, pair, recipe(), (31.0, 35.0), exclude_px=12.0)
    assert answer.own.peaks[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert answer.own.peaks[0].point_px == pytest.approx((95.0, 55.0), abs=1.0)
    assert answer.own.peaks[1].similarity < 0.9
    row, column = np.unravel_index(np.nanargmax(answer.own.heat), answer.own.heat.shape)
    assert math.dist((column, row), (95.0, 55.0)) < 1
    assert answer.peaks == probe(session, pair, recipe(), (31.0, 35.0)).peaks


@pytest.mark.parametrize("point_px", [(50.0, 40.0), (33.3, 52.8), (120.0, 0.0)])
@pytest.mark.parametrize("name", ["test-patches", "test-space"])
@pytest.mark.parametrize("radius_px", [0.0, 5.0, 21.0])
def test_best_other_places_are_what_loops_find_outside_of_the_circle(
    tmp_path, name, radius_px, point_px
):
    pair = save_pair(tmp_path, texture(90, 121, seed=1), texture(40, 40, seed=2))
    how = recipe(name, long_edge_px=64)
    session = ready(Session(), pair, how)
    own = probe(session, pair, how, point_px, exclude_px=radius_px, separation_px=11.0, peaks=4).own
    descriptor = {"test-patches": Patches(), "test-space": PatchSpace()}[name]
    queries = set_at(pair.path_a, 64, descriptor, point_px)
    levels, resize = levels_of(pair.path_a, 64, descriptor)
    excluded_px = radius_px / min(resize.scale_xy)
    assert own.excluded_px == pytest.approx(excluded_px)
    found = []
    for level in levels:
        unit = level.values[0].numpy()
        similar = np.max([np.tensordot(query, unit, 1) for query in queries], axis=0)
        padded = np.pad(similar, 1, constant_values=-2)
        for row, column in np.ndindex(similar.shape):
            x, y = (
                (level.grid.offset_px + level.grid.stride_px * i + 0.5) / scale - 0.5
                for i, scale in zip((column, row), resize.scale_xy, strict=True)
            )
            top = padded[row : row + 3, column : column + 3].max()
            if similar[row, column] >= top and math.dist((x, y), point_px) > excluded_px:
                found.append((float(similar[row, column]), (x, y)))
    seen_px = resize.forward(np.array([place for _, place in found]))
    picked: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: -found[i][0]):
        if all(math.dist(seen_px[i], seen_px[j]) >= 11 - 1e-4 for j in picked):
            picked.append(i)
    assert len(own.peaks) == min(4, len(picked)) > 0
    widest_cell_px = (4 if name == "test-patches" else 8) * 121 / 64
    for peak, i in zip(own.peaks, picked, strict=False):
        assert peak.similarity == pytest.approx(found[i][0], abs=1e-5)
        assert math.dist(peak.point_px, found[i][1]) <= widest_cell_px * 0.7072
    for row, column in np.ndindex(own.heat.shape):
        pixel = tuple(
            (i + 0.5) / scale - 0.5 for i, scale in zip((column, row), resize.scale_xy, strict=True)
        )
        within = math.dist(pixel, point_px) <= excluded_px
        assert np.isnan(own.heat[row, column]) == within


def test_a_circle_around_the_whole_image_leaves_no_other_place(shifted):
    session = ready(Session(), shifted, recipe())
    own = probe(session, shifted, recipe(), (40.0, 30.0), exclude_px=200.0).own
    assert own.peaks == ()
    assert np.isnan(own.heat).all()


def test_the_own_image_is_searched_only_if_asked_and_its_heat_only_with_the_other(shifted):
    session = ready(Session(), shifted, recipe())
    assert probe(session, shifted, recipe(), (40.0, 30.0)).own is None
    own = probe(session, shifted, recipe(), (40.0, 30.0), exclude_px=8.0, heat=False).own
    assert own.heat is None
    assert own.peaks


def test_levels_on_one_grid_count_each_place_once_in_the_rank(tmp_path):
    pair = save_pair(tmp_path, texture(60, 60, 1), texture(60, 60, 2), np.eye(3))
    session = ready(ready(Session(), pair, recipe()), pair, recipe("test-twice"))
    once = probe(session, pair, recipe(), (30.0, 20.0))
    twice = probe(session, pair, recipe("test-twice"), (30.0, 20.0))
    assert once.rank == twice.rank > 1


def test_members_that_met_are_told_for_a_set_in_the_order_of_the_question(tmp_path):
    """b is a at half size: the half-size member of a meets the full-size one of b."""
    a = texture(96, 128)
    b = cv2.resize(a, (64, 48), interpolation=cv2.INTER_AREA)
    h_b_from_a = Resize((128, 96), (64, 48)).matrix()
    pair = save_pair(tmp_path, a, b, h_b_from_a)
    how = recipe("test-space")
    session = ready(Session(), pair, how)
    there = probe(session, pair, how, (62.5, 46.5))
    assert there.peaks[0].members == "scale 0.5 ↔ 1"
    assert there.error_px < 1
    back = probe(session, pair, how, there.found_px, side="b")
    assert back.peaks[0].members == "scale 1 ↔ 0.5"


def test_the_turn_between_members_is_told(tmp_path):
    """b is a rotated by 90° counter-clockwise."""
    a = texture(63, 63)
    pair = save_pair(tmp_path, a, np.rot90(a).copy())
    session = ready(Session(), pair, recipe("test-turned"))
    answer = probe(session, pair, recipe("test-turned"), (31.0, 23.0))
    # (x, y) goes to (y, W - 1 - x); and a turned once more looks like b as it is.
    assert answer.found_px == pytest.approx((23.0, 31.0), abs=1.0)
    assert answer.peaks[0].members == "scale 1 ↔ 1, +90°"


# ---- maps of answers -------------------------------------------------------------------------


def test_winners_of_a_half_size_image_tell_the_scale_that_the_homography_implies(tmp_path):
    a = texture(96, 128)
    b = cv2.resize(a, (64, 48), interpolation=cv2.INTER_AREA)
    pair = save_pair(tmp_path, a, b, Resize((128, 96), (64, 48)).matrix())
    how = recipe("test-space")
    session = ready(Session(), pair, how)
    for side, shape in (("a", (21, 29)), ("b", (9, 13))):
        answer = session.winners(pair, how, side)
        assert answer.scale.values.shape == shape
        assert np.median(answer.scale.values) == -1.0  # b over a, whatever the side
        assert (answer.angle.values == 0).all()
        np.testing.assert_allclose(answer.true_scale.values, -1.0, atol=1e-6)
        assert answer.scale.unit == "log2"


def test_the_scale_that_winners_imply_is_in_original_pixels(tmp_path):
    """Computed at 64 px both images look alike: equal members win, yet b is half as large."""
    a = texture(96, 128)
    b = cv2.resize(a, (64, 48), interpolation=cv2.INTER_AREA)
    pair = save_pair(tmp_path, a, b)
    how = recipe("test-space", long_edge_px=64)
    answer = ready(Session(), pair, how).winners(pair, how, "a")
    assert np.median(answer.scale.values) == -1.0
    assert answer.true_scale is None


def test_winners_of_a_turned_image_tell_the_turn_of_b_against_a(tmp_path):
    a = texture(63, 63)
    pair = save_pair(tmp_path, a, np.rot90(a).copy())
    how = recipe("test-turned")
    session = ready(Session(), pair, how)
    for side in ("a", "b"):
        assert np.median(session.winners(pair, how, side).angle.values) == 90.0


@pytest.mark.parametrize("listed", [0, 1, 256])
def test_the_cycle_error_is_zero_where_both_images_show_the_same(shifted, listed, monkeypatch):
    """However many cells of a query the search lists: the others are looked for."""
    monkeypatch.setattr(nearest, "MOST_REACHING", listed)
    session = ready(Session(), shifted, recipe())
    answer = session.cycle_error(shifted, recipe(), "a")
    assert answer.values.shape == (15, 21)
    assert answer.unit == "px"
    assert (answer.values[2:, 3:] <= 1e-4).all()
    extent = answer.extent
    assert (extent.left_px, extent.right_px) == (5.0, 89.0)
    assert (extent.top_px, extent.bottom_px) == (5.0, 65.0)


def test_the_cycle_error_of_a_cell_is_what_a_probe_at_its_centre_says(tmp_path):
    pair = save_pair(tmp_path, texture(40, 50, 1), texture(50, 40, 2))
    how = recipe(long_edge_px=44)
    session = ready(Session(), pair, how)
    values = session.cycle_error(pair, how, "b").values
    places = [place for place, _ in cells_of(pair.path_b, 44, Patches())]
    assert np.ptp(values) > 1
    for place, value in list(zip(places, values.ravel(), strict=True))[::3]:
        answer = probe(session, pair, how, place, side="b")
        assert value == pytest.approx(answer.cycle_error_px, abs=1e-3)


def test_cells_with_nothing_to_describe_have_no_cycle_error_and_no_winner(tmp_path):
    a = texture(48, 64)
    a[:, :32] = 77
    pair = save_pair(tmp_path, a, a)
    session = ready(Session(), pair, recipe())
    values = session.cycle_error(pair, recipe(), "a").values
    assert np.isnan(values[:, :5]).all()
    assert (values[:, 5:] <= 1e-3).all()
    assert np.isnan(session.winners(pair, recipe(), "a").scale.values[:, :5]).all()


def test_a_map_too_costly_to_ask_everywhere_is_thinned_over_the_same_area(shifted, monkeypatch):
    session = ready(Session(), shifted, recipe())
    full = session.cycle_error(shifted, recipe(), "a")
    cells = 21 * 15
    monkeypatch.setattr("engine.inspection.cell_maps._WORK", cells * cells * 64 / 8)
    thin = session.cycle_error(shifted, recipe(), "a")
    np.testing.assert_allclose(thin.values, full.values[1::3, 1::3], atol=1e-3)
    assert thin.extent.left_px == pytest.approx(full.extent.left_px)
    assert thin.extent.top_px == pytest.approx(full.extent.top_px)
    width = (thin.extent.right_px - thin.extent.left_px) / thin.values.shape[1]
    assert width == pytest.approx(3 * 4)


def test_dense_answers_can_be_cancelled(shifted):
    session, context = ready(Session(), shifted, recipe()), JobContext()
    context.cancel.cancel()
    with pytest.raises(JobCancelled):
        session.cycle_error(shifted, recipe(), "a", context)
    with pytest.raises(JobCancelled):
        session.winners(shifted, recipe(), "a", context)


# ---- colours ---------------------------------------------------------------------------------


def test_the_same_place_has_the_same_colour_in_both_images(shifted):
    session = ready(Session(), shifted, recipe())
    answer = session.pca(PcaRequest(pair=shifted, recipe=recipe()))
    assert answer.a.pixels.shape == (15, 21, 3)
    np.testing.assert_array_equal(answer.a.pixels[2:, 3:], answer.b.pixels[:-2, :-3])
    assert answer.a.pixels.std() > 30
    assert 0 < answer.explained[2] <= answer.explained[1] <= answer.explained[0] < 1
    assert answer.a.extent.left_px == 5.0


def test_a_basis_fitted_on_one_image_is_not_touched_by_the_other(shifted, tmp_path):
    session = ready(Session(), shifted, recipe())
    request = PcaRequest(pair=shifted, recipe=recipe(), fit="a")
    (tmp_path / "other").mkdir()
    other = save_pair(tmp_path / "other", texture(60, 60, 7), texture(60, 60, 8))
    mixed = ImagePair(shifted.path_a, other.path_b)
    ready(session, mixed, recipe())
    one = session.pca(request)
    two = session.pca(replace(request, pair=mixed))
    np.testing.assert_array_equal(one.a.pixels, two.a.pixels)
    assert one.explained == two.explained


def test_a_saved_basis_gives_the_same_colours_again(shifted, tmp_path):
    session = ready(Session(), shifted, recipe())
    request = PcaRequest(pair=shifted, recipe=recipe(), fit="b")
    path = tmp_path / "basis.npz"
    session.save_basis(request, path)
    loaded = session.pca(replace(request, fit="file", basis_file=path))
    fitted = session.pca(request)
    np.testing.assert_array_equal(loaded.a.pixels, fitted.a.pixels)
    assert loaded.explained == fitted.explained
    assert load_basis(path, dim=64).fitted_on == "bild b.png, test-patches"
    with pytest.raises(BasisFileError, match="does not exist"):
        session.pca(replace(request, fit="file", basis_file=tmp_path / "none.npz"))


def folder_of(tmp_path, count: int) -> list[ImagePair]:
    """Pairs of image 1 with each further image of one folder."""
    for number in range(1, count + 1):
        write_image(tmp_path / f"{number}.png", texture(60 + 4 * number, 80, seed=number))
    return [ImagePair(tmp_path / "1.png", tmp_path / f"{k}.png") for k in range(2, count + 1)]


def test_a_basis_can_be_fitted_on_all_images_of_a_folder_and_keeps_none_of_their_maps(tmp_path):
    pairs = folder_of(tmp_path, 4)
    session = ready(Session(), pairs[0], recipe())
    images = ((pairs[0], "a"), *((pair, "b") for pair in pairs))
    request = PcaRequest(pair=pairs[0], recipe=recipe(), fit="all", images=images)
    events = []
    answer = session.pca(request, JobContext(emit=events.append))
    maps = []
    for number in range(1, 5):
        levels, _ = levels_of(tmp_path / f"{number}.png", 640, Patches())
        maps.append(levels[0].values[0].flatten(1).T)
    expected = fit_basis(maps, sample_limit=15_000, fitted_on="", count=12)
    assert answer.explained == pytest.approx(tuple(expected.explained), rel=1e-5)
    assert answer.fitted_on == "4 images, test-patches"
    both = session.pca(PcaRequest(pair=pairs[0], recipe=recipe()))
    assert both.explained != pytest.approx(answer.explained, rel=1e-3)
    assert [(event.done, event.total) for event in events] == [(n, 4) for n in range(4)]
    assert session.described(pairs[2], "b", recipe()) is None
    path = tmp_path / "basis.npz"
    session.save_basis(request, path)
    loaded = session.pca(replace(request, fit="file", basis_file=path, images=()))
    assert loaded.a.pixels.tobytes() == answer.a.pixels.tobytes()
    assert loaded.b.pixels.tobytes() == answer.b.pixels.tobytes()


def test_fitting_on_a_folder_can_be_cancelled(tmp_path):
    pairs = folder_of(tmp_path, 3)
    session = ready(Session(), pairs[0], recipe())
    context = JobContext()
    context.cancel.cancel()
    request = PcaRequest(
        pair=pairs[0], recipe=recipe(), fit="all", images=tuple((pair, "b") for pair in pairs)
    )
    with pytest.raises(JobCancelled):
        session.pca(request, context)
    assert session.pca(request).fitted_on == "2.png and 3.png, test-patches"


def test_other_colours_of_one_basis_fit_and_describe_nothing_again(tmp_path, monkeypatch):
    counting = Counting()
    register(monkeypatch, "test-counting", lambda: counting)
    pairs = folder_of(tmp_path, 3)
    how = recipe("test-counting")
    session = ready(Session(), pairs[0], how)
    request = PcaRequest(
        pair=pairs[0], recipe=how, fit="all", images=tuple((pair, "b") for pair in pairs)
    )
    plain = session.pca(request)
    calls = counting.calls
    swapped = session.pca(replace(request, colouring=Colouring(components=(2, 1, 0))))
    assert counting.calls == calls
    np.testing.assert_array_equal(swapped.a.pixels, plain.a.pixels[..., ::-1])
    assert swapped.shares == plain.shares[::-1]
    write_image(tmp_path / "3.png", texture(50, 90, seed=33))
    assert session.pca(request).explained != plain.explained
    assert counting.calls == calls + 1


def test_colours_that_were_seen_come_back_unless_a_file_was_forgotten(tmp_path, monkeypatch):
    made: list[PcaRequest] = []

    def colour(request: PcaRequest, *rest: Any) -> PcaAnswer:
        made.append(request)
        return answer_pca(request, *rest)

    monkeypatch.setattr(session_module, "answer_pca", colour)
    pairs = folder_of(tmp_path, 3)
    session = Session()
    requests = [PcaRequest(pair=pair, recipe=recipe(), fit="b") for pair in pairs]
    requests.append(replace(requests[0], colouring=Colouring(components=(2, 1, 0))))
    answers = []
    for request in requests:
        ready(session, request.pair, recipe())
        answers.append(session.pca(request))
    assert made == requests
    assert [session.pca(request) for request in requests] == answers
    assert made == requests, "nothing was coloured again"
    session.forget(pairs[0].path_a)  # the basis does not rest on it, the colours do
    ready(session, pairs[0], recipe())
    assert session.pca(requests[0]) is not answers[0]
    assert made == [*requests, requests[0]]


def test_a_component_that_a_saved_basis_lacks_is_named(shifted, tmp_path):
    session = ready(Session(), shifted, recipe())
    path = tmp_path / "three.npz"
    levels, _ = levels_of(shifted.path_a, 640, Patches())
    save_basis(fit_basis([levels[0].values[0].flatten(1).T], sample_limit=99, fitted_on="x"), path)
    request = PcaRequest(
        pair=shifted, recipe=recipe(), fit="file", basis_file=path,
        colouring=Colouring(components=(0, 1, 3)),
    )  # fmt: skip
    with pytest.raises(BasisFileError, match=r"three\.npz.* has 3 components, so component 4"):
        session.pca(request)


def test_precomputed_maps_cannot_be_fitted_on_a_whole_folder(shifted, tmp_path):
    files = [
        save_maps(tmp_path / f"{side}.npz", shifted.path(side), (96, 72)) for side in ("a", "b")
    ]
    how = precomputed(*files)
    session = ready(Session(), shifted, how)
    request = PcaRequest(pair=shifted, recipe=how, fit="all", images=((shifted, "a"),))
    with pytest.raises(MapFileError, match="all of them"):
        session.pca(request)


def test_the_levels_of_a_set_are_coloured_each_over_its_own_area(shifted):
    how = recipe("test-space")
    session = ready(Session(), shifted, how)
    answer = session.pca(PcaRequest(pair=shifted, recipe=how, level=1))
    assert answer.a.pixels.shape == (6, 9, 3)
    assert answer.a.extent.left_px == 10.5


# ---- matching --------------------------------------------------------------------------------


@pytest.mark.parametrize("points", ["grid", "random", "harris"])
def test_a_shifted_image_is_matched_everywhere_and_its_homography_found(shifted, points):
    progress = []
    context = JobContext(emit=progress.append)
    request = MatchRequest(pair=shifted, recipe=recipe(), points=points, count=120)
    table = Session().match(request, context)
    assert 100 <= len(table.points_a) <= 120
    truth = table.points_a - SHIFT_PX
    seen = ((truth >= 0) & (truth <= [95, 71])).all(axis=1)
    assert 20 < seen.sum() < len(seen)
    np.testing.assert_array_equal(np.isnan(table.error_px), ~seen)
    expected = np.linalg.norm(table.points_b - truth, axis=1)
    np.testing.assert_allclose(table.error_px[seen], expected[seen])
    inner = ((truth >= 8) & (table.points_a <= [86, 62])).all(axis=1)
    assert np.median(table.error_px[inner]) < 1.5
    assert table.mutual[inner].mean() > 0.85
    assert (table.mutual & ~seen).mean() < 0.2
    assert ((table.ratio >= 0) & (table.ratio <= 1)).all()
    corner = table.h_b_from_a @ [50, 40, 1]
    np.testing.assert_allclose(corner[:2] / corner[2], [38, 32], atol=1.5)
    assert table.inlier[inner].mean() > 0.9
    assert table.seconds > 0
    done = [event for event in progress if isinstance(event, Progress)]
    assert any(event.stage == "matching" and event.done == event.total for event in done)


def test_each_row_says_what_a_probe_at_its_point_says(shifted):
    how = recipe("test-space", long_edge_px=80)
    session = Session()
    request = MatchRequest(pair=shifted, recipe=how, points="random", count=12, seed=5)
    table = session.match(request, JobContext())
    for row, point in enumerate(table.points_a):
        answer = probe(session, shifted, how, tuple(point))
        assert answer.found_px == pytest.approx(tuple(table.points_b[row]), abs=1e-3)
        assert answer.peaks[0].similarity == pytest.approx(table.similarity[row], abs=1e-5)
        assert answer.ratio == pytest.approx(table.ratio[row], abs=1e-3)
        assert table.mutual[row] == (answer.cycle_error_px <= 4 * 96 / 80)
        assert table.uncertainty_px[row] == pytest.approx(answer.peaks[0].uncertainty_px, abs=1e-3)


WEIGHTS = {"most": 1.0, "constant": -1.0, "similarity": 2.0, "log_ratio": -0.5, "log_cycle": -0.3}
OF_NEIGHBOURS = {"agreement": 2.0, "log_residual": -0.4, "returning": 0.7}


@pytest.fixture
def calibrated(tmp_path, monkeypatch):
    """Made-up weights for the confidences of the test descriptors."""
    path = tmp_path / "confidence.json"
    one = {"weights_sha256": None, "alone": WEIGHTS, "together": WEIGHTS | OF_NEIGHBOURS}
    path.write_text(json.dumps({"descriptors": {"test-patches": one, "test-space": one}}))
    monkeypatch.setattr(confidence, "calibration_file", lambda: path)


def test_confidences_of_a_table_are_made_of_what_probes_say_and_of_the_neighbours(
    shifted, calibrated
):
    how = recipe("test-space", long_edge_px=80)
    session = Session()
    request = MatchRequest(pair=shifted, recipe=how, points="random", count=40, seed=5)
    table = session.match(request, JobContext())
    scale = 80 / 96
    working_a, working_b = (
        (points + 0.5) * scale - 0.5 for points in (table.points_a, table.points_b)
    )
    motion = compare_with_neighbours(working_a, working_b, table.textured, table.evidence.cycle_px)
    assert motion.agreement[table.textured].mean() > 0.5
    assert not table.not_calibrated
    for row in np.flatnonzero(table.textured):
        answer = probe(session, shifted, how, tuple(table.points_a[row]))
        score = (
            -1 + 2 * answer.peaks[0].similarity - 0.5 * math.log(max(0.02, answer.ratio))
            - 0.3 * math.log2(1 + min(16, scale * answer.cycle_error_px))
            + 2 * motion.agreement[row] - 0.4 * math.log2(1 + min(6, motion.residual_px[row]))
            + 0.7 * motion.returning[row]
        )  # fmt: skip
        assert table.confidence[row] == pytest.approx(1 / (1 + math.exp(-score)), abs=2e-3)
    few = session.match(replace(request, count=2), JobContext())
    assert np.isnan(few.evidence.motion.agreement).all()
    assert np.isfinite(few.confidence[few.textured]).all()


def test_the_confidence_of_a_probe_comes_with_its_way_back_and_asks_no_neighbour(
    shifted, calibrated
):
    how = recipe(long_edge_px=80)
    session = ready(Session(), shifted, how)
    there = probe(session, shifted, how, (50.0, 40.0), cycle=False)
    assert (there.confidence, there.not_calibrated) == (None, "")
    both = session.match_back(there)
    score = (
        -1 + 2 * both.peaks[0].similarity - 0.5 * math.log(max(0.02, both.ratio))
        - 0.3 * math.log2(1 + min(16, both.cycle_error_px * 80 / 96))
    )  # fmt: skip
    assert both.confidence == pytest.approx(1 / (1 + math.exp(-score)), abs=1e-4)
    assert both.confident_px == pytest.approx(3 * 96 / 80)
    box = probe(session, shifted, how, (50.0, 40.0), region_px=(20.0, 20.0))
    assert (box.confidence, box.not_calibrated) == (None, "means of boxes")
    near = probe(session, shifted, how, (50.0, 40.0), separation_px=9.0)
    apart = "second best matches at least 9 px away instead of 16 px"
    assert (near.confidence, near.not_calibrated) == (None, apart)
    other = recipe("test-twice", long_edge_px=80)
    found = probe(ready(session, shifted, other), shifted, other, (50.0, 40.0))
    assert (found.confidence, found.not_calibrated) == (None, "test-twice")


def test_a_query_without_texture_and_a_descriptor_without_weights_have_no_confidence(
    tmp_path, shifted, calibrated
):
    half = texture(72, 96)
    half[:, 48:] = 128
    pair = save_pair(tmp_path, half, half)
    request = MatchRequest(pair=pair, recipe=recipe(), points="random", count=60)
    table = Session().match(request, JobContext())
    assert 10 < table.textured.sum() < 50
    np.testing.assert_array_equal(np.isfinite(table.confidence), table.textured)
    apart = "second best matches at least 9 px away instead of 16 px"
    for other, reason in (
        (replace(request, refine=False), "matches that are not refined"),
        (replace(request, separation_px=9.0), apart),
        (replace(request, recipe=recipe("test-twice")), "test-twice"),
    ):
        table = Session().match(other, JobContext())
        assert table.not_calibrated == reason
        assert np.isnan(table.confidence).all()


@pytest.mark.parametrize(
    ("name", "long_edge_px", "noise"), [("test-patches", 0, 15), ("test-space", 240, 25)]
)
def test_neighbours_put_matches_right_that_noise_makes_more_similar_elsewhere(
    tmp_path, calibrated, name, long_edge_px, noise
):
    canvas = texture(260, 340)
    dx, dy = 24, 16
    b = canvas[dy:, dx:] + np.random.default_rng(2).normal(0, noise, (260 - dy, 340 - dx, 3))
    h_b_from_a = np.array([[1, 0, -dx], [0, 1, -dy], [0, 0, 1.0]])
    pair = save_pair(tmp_path, canvas[:240, :300], b.clip(0, 255).astype(np.uint8), h_b_from_a)
    how = recipe(name, long_edge_px=long_edge_px)
    request = MatchRequest(pair=pair, recipe=how, points="random", count=300)
    progress, session = [], Session()
    alone = session.match(request, JobContext())
    together = session.match(
        replace(request, matcher="consensus"), JobContext(emit=progress.append)
    )
    seen, moved = np.isfinite(alone.error_px), together.moved
    before, after = (table.error_px[seen] < 6 for table in (alone, together))
    assert 0.3 < before.mean() < 0.9
    assert after.mean() > before.mean() + 0.05
    assert after[before].mean() > 0.97
    np.testing.assert_array_equal(together.points_b[~moved], alone.points_b[~moved])
    # Processors that multiply bfloat16 sum these in an order that depends on how many are found.
    np.testing.assert_allclose(together.similarity[~moved], alone.similarity[~moved], atol=1e-6)
    assert (together.similarity[moved] <= alone.similarity[moved]).all()
    assert (together.ratio[moved] == 1).all()
    assert np.isnan(together.confidence).all()
    assert together.not_calibrated == "matches by consensus"
    assert (alone.matcher, together.matcher) == ("exact", "consensus")
    assert not alone.moved.any()
    done = [event.stage for event in progress if isinstance(event, Progress)]
    assert set(done) >= {"matching there", "matching back"}
    again = session.match(replace(request, matcher="consensus"), JobContext())
    np.testing.assert_array_equal(again.points_b, together.points_b)


def test_consensus_of_no_query_is_empty(tmp_path):
    flat = np.full((72, 96, 3), 128, np.uint8)
    pair = save_pair(tmp_path, flat, flat)
    request = MatchRequest(pair=pair, recipe=recipe(), points="harris", matcher="consensus")
    assert len(Session().match(request, JobContext()).points_a) == 0


def test_some_rows_of_a_table_keep_all_that_is_known_of_them(shifted, calibrated):
    request = MatchRequest(pair=shifted, recipe=recipe(), points="random", count=30)
    table = Session().match(request, JobContext())
    rows = table.confidence >= np.nanmedian(table.confidence)
    some = table.where(rows)
    assert 0 < rows.sum() < 30
    for name in (
        "points_a",
        "points_b",
        "similarity",
        "ratio",
        "mutual",
        "error_px",
        "inlier",
        "textured",
        "visibility",
        "uncertainty_px",
        "confidence",
    ):
        np.testing.assert_array_equal(getattr(some, name), getattr(table, name)[rows])
    assert some.h_b_from_a is table.h_b_from_a
    assert len(table.where(np.zeros(30, np.bool_)).confidence) == 0


def test_matches_that_are_not_refined_are_centres_of_cells_and_uncertain_by_a_cell(shifted):
    how = recipe(long_edge_px=80)
    session = ready(Session(), shifted, how)
    request = MatchRequest(pair=shifted, recipe=how, points="random", count=40, seed=5)
    rough, fine = (
        session.match(replace(request, refine=one), JobContext()) for one in (False, True)
    )
    cell_px = STRIDE_PX * 96 / 80
    places = np.array([place for place, _ in cells_of(shifted.path_b, 80, Patches())])
    gaps = np.abs(rough.points_b[:, None] - places).max(axis=2).min(axis=1)
    assert gaps.max() < 1e-4
    np.testing.assert_allclose(rough.uncertainty_px, cell_px)
    assert (fine.uncertainty_px[fine.textured] < cell_px / 2).mean() > 0.9
    seen = np.isfinite(fine.error_px) & fine.textured
    assert np.median(fine.error_px[seen]) < 0.5 * np.median(rough.error_px[seen])
    np.testing.assert_array_equal(rough.similarity, fine.similarity)


def test_the_same_seed_gives_the_same_points_and_another_others(shifted):
    session = Session()
    request = MatchRequest(pair=shifted, recipe=recipe(), count=30, seed=1)
    one = session.match(request, JobContext())
    np.testing.assert_array_equal(one.points_a, session.match(request, JobContext()).points_a)
    other = session.match(replace(request, seed=2), JobContext())
    assert not np.array_equal(one.points_a, other.points_a)


def test_an_image_without_corners_gives_an_empty_table(tmp_path):
    grey = np.full((40, 40, 3), 128, np.uint8)
    pair = save_pair(tmp_path, grey, grey, np.eye(3))
    table = Session().match(MatchRequest(pair=pair, recipe=recipe()), JobContext())
    assert table.points_a.shape == (0, 2)
    assert table.points_b.shape == (0, 2)
    assert table.h_b_from_a is None
    assert table.inlier.shape == table.mutual.shape == (0,)


def test_points_of_an_enlarged_strip_stay_inside_the_original(tmp_path):
    pair = save_pair(tmp_path, texture(9, 60), texture(9, 60))
    table = Session().match(
        MatchRequest(pair=pair, recipe=recipe(), points="random", count=200), JobContext()
    )
    assert (table.points_a >= 0).all()
    assert (table.points_a <= [59, 8]).all()


def test_matching_stops_between_blocks_when_cancelled(shifted):
    session = ready(Session(), shifted, recipe())
    token = CancelToken()
    blocks = []

    def stop_after_the_first(event):
        blocks.append(event)
        token.cancel()

    request = MatchRequest(pair=shifted, recipe=recipe(), points="random", count=3000)
    with pytest.raises(JobCancelled):
        session.match(request, JobContext(emit=stop_after_the_first, cancel=token))
    assert len(blocks) == 1


# ---- precomputed maps ------------------------------------------------------------------------


def save_maps(path: Path, image: Path, size_px: tuple[int, int], **changes) -> Path:
    """Maps as a user's network would write them: of the image at ``size_px``."""
    pixels = resize_pixels(read_image(image).pixels, size_px, antialias=True)
    values = patches(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].numpy()
    entries = {
        "values": values,
        "stride_px": STRIDE_PX,
        "offset_px": CENTRE_PX,
        "image_size_px": size_px,
    } | changes
    np.savez(path, **{name: value for name, value in entries.items() if value is not None})
    return path


def precomputed(*files: Path) -> Recipe:
    return Recipe(spec=DescriptorSpec("precomputed"), device="cpu", map_files=files or None)


def test_precomputed_maps_answer_like_the_descriptor_they_come_from(shifted, tmp_path):
    computed = recipe(long_edge_px=80)
    files = [
        save_maps(tmp_path / f"{side}.npz", shifted.path(side), (80, 60)) for side in ("a", "b")
    ]
    session = ready(ready(Session(), shifted, computed), shifted, precomputed(*files))
    info = session.described(shifted, "a", precomputed(*files))
    assert info.size_px == (96, 72)
    assert info.working_size_px == (80, 60)
    assert info.trained
    one = probe(session, shifted, computed, (50.0, 40.0))
    two = probe(session, shifted, precomputed(*files), (50.0, 40.0))
    assert one.found_px == pytest.approx(two.found_px, abs=1e-3)
    assert one.ratio == pytest.approx(two.ratio, abs=1e-4)
    np.testing.assert_allclose(one.heat, two.heat, atol=1e-5)
    request = MatchRequest(pair=shifted, recipe=precomputed(*files), count=40)
    table = session.match(request, JobContext())
    np.testing.assert_allclose(
        table.points_b,
        session.match(replace(request, recipe=computed), JobContext()).points_b,
        atol=1e-2,
    )


def test_a_map_file_that_names_no_size_is_that_of_the_original_image(shifted, tmp_path):
    path = save_maps(tmp_path / "a.npz", shifted.path_a, (96, 72), image_size_px=None)
    info = Session().describe(shifted, "a", precomputed(path, path), JobContext())
    assert info.working_size_px == (96, 72)
    assert info.notes == ()


def test_a_map_file_that_names_no_size_and_cannot_cover_the_image_is_refused(shifted, tmp_path):
    path = save_maps(tmp_path / "a.npz", shifted.path_a, (40, 30), image_size_px=None)
    with pytest.raises(MapFileError, match=r"a\.npz.*cannot cover"):
        Session().describe(shifted, "a", precomputed(path, path), JobContext())


@pytest.mark.parametrize("named", [{}, {"original_size_px": (60, 80)}])
def test_a_map_file_of_another_shape_is_used_with_a_warning(shifted, tmp_path, named):
    path = save_maps(tmp_path / "a.npz", shifted.path_a, (60, 80), **named)
    events = []
    info = Session().describe(shifted, "a", precomputed(path, path), JobContext(emit=events.append))
    assert "60 × 80" in info.notes[0]
    assert "96 × 72" in info.notes[0]
    assert [event.text for event in events if isinstance(event, Note)] == list(info.notes)


def test_a_changed_map_file_must_be_read_again_and_is_forgotten_by_its_name(shifted, tmp_path):
    path = save_maps(tmp_path / "a.npz", shifted.path_a, (96, 72))
    session, how = Session(), precomputed(path, path)
    session.describe(shifted, "a", how, JobContext())
    session.forget(path)
    assert session.described(shifted, "a", how) is None
    session.describe(shifted, "a", how, JobContext())
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    assert session.described(shifted, "a", how) is None


def test_precomputed_maps_without_files_are_refused_and_say_what_is_missing(shifted):
    with pytest.raises(MapFileError, match="no file of precomputed maps"):
        Session().describe(shifted, "b", precomputed(), JobContext())


@pytest.mark.parametrize(
    "how", [recipe("test-space"), recipe(long_edge_px=320)], ids=["set", "shrunk"]
)
def test_the_memory_that_maps_will_need_is_predicted_closely_and_never_as_too_little(
    tmp_path, monkeypatch, how
):
    """Refused where the maps cannot fit, described where a fifth more than they take is there."""
    pair = save_pair(tmp_path, texture(480, 640), texture(600, 400))
    sizes = {side: Session().describe(pair, side, how, JobContext()).size_bytes for side in "ab"}
    copies = session_module._WORKING_COPIES
    monkeypatch.setattr(session_module, "_SURELY_FITS_PX", 0)
    for side, real in sizes.items():
        session = Session()
        monkeypatch.setattr(session_module, "memory_bytes", lambda real=real: copies * (real - 1))
        with pytest.raises(DeviceError, match=r"bild .\.png.*lower the long edge"):
            session.describe(pair, side, how, JobContext())
        assert session.described(pair, side, how) is None
        enough = round(1.2 * real) * copies
        monkeypatch.setattr(session_module, "memory_bytes", lambda enough=enough: enough)
        assert session.describe(pair, side, how, JobContext()).size_bytes == real


def test_maps_of_different_lengths_are_not_compared(shifted, tmp_path):
    one = save_maps(tmp_path / "a.npz", shifted.path_a, (96, 72))
    two = save_maps(
        tmp_path / "b.npz", shifted.path_b, (96, 72), values=np.ones((7, 15, 21), np.float32)
    )
    how = precomputed(one, two)
    session = ready(Session(), shifted, how)
    for ask in (
        lambda: probe(session, shifted, how, (40.0, 30.0)),
        lambda: session.pca(PcaRequest(pair=shifted, recipe=how)),
        lambda: session.cycle_error(shifted, how, "a"),
        lambda: session.match(MatchRequest(pair=shifted, recipe=how), JobContext()),
    ):
        with pytest.raises(MapsMismatchError, match=r"64 and 7"):
            ask()


# ---- a real descriptor on real photographs ---------------------------------------------------


def test_daisy_matches_a_real_sequence_as_well_as_the_reference_does(shared_data):
    """scikit-image's DAISY finds 80 to 84 % of such points within 5 px."""
    folder = shared_data / "sequences" / "v_churchill"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    first, second = (next(folder.glob(f"{number}.*")) for number in (1, 2))
    pair = ImagePair(first, second, HomographySource.read(folder / "H_1_2"))
    how = Recipe(spec=make_spec("daisy", {"stride_px": 4}), device="cpu")
    table = Session().match(MatchRequest(pair=pair, recipe=how, count=300), JobContext())
    error_px = table.error_px[np.isfinite(table.error_px)]
    assert (error_px <= 5).mean() > 0.75
    corner = np.array([400.0, 300.0])
    np.testing.assert_allclose(
        warp_points(table.h_b_from_a, corner), warp_points(pair.truth.h_b_from_a, corner), atol=2
    )


def test_a_box_asks_by_the_mean_of_the_descriptors_in_it(shifted):
    """Similarity is linear in the query: that of a mean is the mean one, times a length."""
    how = recipe()
    session = ready(Session(), shifted, how)
    box = probe(session, shifted, how, (40.0, 32.0), region_px=(8.0, 8.0))
    corners = [(x, y) for x in (38.0, 42.0) for y in (30.0, 34.0)]  # one for each cell of 4 px
    mean = np.mean([probe(session, shifted, how, point).heat for point in corners], axis=0)
    length = float((mean * box.heat).sum() / np.square(box.heat).sum())
    assert 0.2 < length < 0.99
    np.testing.assert_allclose(length * box.heat, mean, atol=1e-5)
    alone = probe(session, shifted, how, (40.0, 32.0)).heat
    assert np.abs(alone - box.heat).max() > 0.02
    assert box.error_px < 4.0
    narrow = probe(session, shifted, how, (40.0, 32.0), region_px=(1.0, 1.0))
    np.testing.assert_array_equal(narrow.heat, alone)
