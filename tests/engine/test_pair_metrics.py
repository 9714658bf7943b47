"""A pair's metrics against plain loops over the same maps, for planted maps and truths."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.descriptors.base import DescriptorMap, Levels
from engine.evaluation import match_field
from engine.evaluation.match_field import match_places
from engine.evaluation.metrics.found_matches import FoundMatches
from engine.evaluation.pair_metrics import (
    MeasuredMaps,
    confidence_values,
    count_confidences,
    measure_pair,
    measure_queries,
    precision_curve,
)
from engine.evaluation.points import PairPoints
from engine.evaluation.protocols import WorkingImage
from engine.evaluation.switches import NO_METRICS, MetricSwitches
from engine.geometry.coords import CellGrid, Resize
from engine.geometry.homography import warp_points
from engine.matching.confidence import Calibration
from engine.matching.neighbours import Neighbours
from engine.matching.subcell import refine_places
from engine.matching.texture import find_texture
from engine.metrics import METRIC_FAMILIES
from engine.progress import CancelToken
from engine.truth.base import Box, TruePoints, Visibility, exact_points
from engine.truth.cameras import Camera
from engine.truth.depth import DepthSource
from engine.truth.homography import HomographyTruth
from engine.truth.points import PointsTruth
from engine.vocabulary import Side

SIZE_A, SIZE_B = (46, 37), (50, 41)
STRIDE = 4
H = np.array([[1.05, 0.04, 2.3], [-0.03, 0.98, 1.6], [1e-4, 0, 1]])
ALL = replace(NO_METRICS, chosen=METRIC_FAMILIES)


def smooth_vectors(points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N, 24)`` unit vectors that change smoothly and differ everywhere."""
    random = np.random.default_rng(7)
    waves, phases = random.normal(0, 0.09, (2, 24)), random.uniform(0, 6, 24)
    vectors = np.cos(points_px @ waves + phases)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def pixels_of(size_px: tuple[int, int]) -> NDArray[np.float64]:
    ys, xs = np.mgrid[0 : size_px[1], 0 : size_px[0]].astype(float)
    return np.stack([xs.ravel(), ys.ravel()], axis=1)


def grid_of(size_px: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = range(0, size_px[1], STRIDE), range(0, size_px[0], STRIDE)
    return np.array([[x, y] for y, x in itertools.product(rows, columns)], float)


def levels_of(vectors: NDArray[np.float64], size_px: tuple[int, int]) -> Levels:
    width, height = size_px
    values = torch.from_numpy(vectors.T.reshape(1, -1, height, width)).float()
    return (DescriptorMap(values, CellGrid(1, 0)),)


# What the two maps hold: image b shows what a homography carries there, and a patch of noise.
VECTORS_A = smooth_vectors(pixels_of(SIZE_A))
VECTORS_B = smooth_vectors(warp_points(np.linalg.inv(H), pixels_of(SIZE_B)))
NOISE = np.random.default_rng(0).normal(size=VECTORS_B.shape)
PATCH = (np.abs(pixels_of(SIZE_B) - (30, 12)) < (9, 7)).all(axis=1)
VECTORS_B[PATCH] = (NOISE / np.linalg.norm(NOISE, axis=1, keepdims=True))[PATCH]


def image_of(size_px: tuple[int, int]) -> WorkingImage:
    pixels = np.random.default_rng(1).random((*size_px[::-1], 3)).astype(np.float32)
    return WorkingImage(pixels, Resize(size_px, size_px))


def maps_of(switches: MetricSwitches = ALL, truth: object = None) -> MeasuredMaps:
    return MeasuredMaps(
        switches=switches,
        images=(image_of(SIZE_A), image_of(SIZE_B)),
        levels=(levels_of(VECTORS_A, SIZE_A), levels_of(VECTORS_B, SIZE_B)),
        truth=truth or HomographyTruth(H, (SIZE_A, SIZE_B)),  # type: ignore[arg-type]
        seed=0,
        cancel=CancelToken(),
    )


def at(vectors: NDArray[np.float64], size_px: tuple[int, int], points: NDArray[np.float64]):
    """Vectors at whole pixels."""
    return vectors[(points[:, 1] * size_px[0] + points[:, 0]).astype(int)]


GRID_A, GRID_B = grid_of(SIZE_A), grid_of(SIZE_B)
SIMILARITY = at(VECTORS_A, SIZE_A, GRID_A) @ at(VECTORS_B, SIZE_B, GRID_B).T
FORWARD, BACKWARD = SIMILARITY.argmax(axis=1), SIMILARITY.argmax(axis=0)
TRUE = warp_points(H, GRID_A)


def is_shown(x: float, y: float) -> bool:
    return 0 <= x <= SIZE_B[0] - 1 and 0 <= y <= SIZE_B[1] - 1


def test_found_matches_are_those_of_a_double_loop():
    values = measure_pair(maps_of(replace(ALL, chosen=("found",))))
    matches = [(i, int(j)) for i, j in enumerate(FORWARD) if BACKWARD[j] == i]
    errors = [math.dist(GRID_B[j], TRUE[i]) for i, j in matches]
    assert values["matches"] == len(matches)
    for limit in range(1, 11):
        right = sum(error <= limit for error in errors)
        assert values[f"mma@{limit}"] == pytest.approx(right / len(matches), abs=1e-6)
    shown = [GRID_A[i] for i in range(len(GRID_A)) if is_shown(*TRUE[i])]
    ranked = sorted(zip((-SIMILARITY[i, j] for i, j in matches), errors, strict=True))
    area, right, reached = 0.0, 0, {0: 0.0}
    for rank, (_, error) in enumerate(ranked, start=1):
        right += error <= 3
        area += (error <= 3) * right / rank
        reached.setdefault(right, right / rank)
    assert values["ap"] == pytest.approx(area / len(shown), abs=1e-6)
    wanted = [max(1, -(-step * len(shown) // 50)) for step in range(51)]
    expected = [reached.get(count, 0.0) for count in wanted]
    curve = precision_curve(maps_of(replace(ALL, chosen=("found",))))
    assert curve == pytest.approx(expected, abs=1e-6)
    assert set(curve) == {1.0, 0.0}  # no match is wrong, and some are missing
    assert precision_curve(maps_of(replace(ALL, chosen=("dense",)))) == ()
    good = [GRID_A[i] for (i, _), error in zip(matches, errors, strict=True) if error <= 3]
    near = sum(any(math.dist(place, one) <= 16 for one in good) for place in shown)
    assert values["coverage"] == pytest.approx(near / len(shown), abs=1e-6)


def test_dense_error_is_that_of_a_loop_over_all_pixels():
    values = measure_pair(maps_of(replace(ALL, chosen=("dense",))))
    rows, columns = -(-SIZE_A[1] // STRIDE), -(-SIZE_A[0] // STRIDE)
    moves = (GRID_B[FORWARD] - GRID_A).reshape(rows, columns, 2)
    errors = []
    for y, x in itertools.product(range(SIZE_A[1]), range(SIZE_A[0])):
        true = warp_points(H, np.array([x, y], float))
        if not is_shown(*true):
            continue
        v, u = min(y / STRIDE, rows - 1), min(x / STRIDE, columns - 1)
        move = np.zeros(2)
        for r, c in itertools.product(range(rows), range(columns)):
            move += max(0, 1 - abs(r - v)) * max(0, 1 - abs(c - u)) * moves[r, c]
        errors.append(math.dist(np.array([x, y]) + move, true))
    assert values["aepe"] == pytest.approx(sum(errors) / len(errors), abs=1e-6)
    for limit in (1, 3, 5):
        share = sum(error <= limit for error in errors) / len(errors)
        assert values[f"dense_pck@{limit}"] == pytest.approx(share, abs=1e-6)
    assert len(values) == 4  # nothing is hidden on a plane, which has no depth edges


def test_a_planted_homography_and_only_one_that_is_true_is_judged():
    values = measure_pair(maps_of(replace(ALL, chosen=("homography", "pose"), refined=True)))
    assert list(values) == ["corner_error[MAGSAC++ 3 px]"]  # no camera is known
    assert values["corner_error[MAGSAC++ 3 px]"] < 0.5
    wrong = maps_of(truth=HomographyTruth(np.diag([2.0, 2, 1]), (SIZE_A, SIZE_B)))
    assert (measure_pair(wrong)["corner_error[MAGSAC++ 3 px]"] or 0) > 20


@pytest.mark.parametrize("bent", [False, True])
def test_the_pose_is_that_of_the_cameras_also_through_their_lenses(bent: bool):
    sizes = ((640, 480), (600, 500))
    turn = np.array([[0.96, 0, 0.28], [0, 1, 0], [-0.28, 0, 0.96]])
    poses = (np.eye(3, 4), np.column_stack([turn, [-1.0, 0.2, 0.1]]))
    plain = [
        Camera.pinhole(np.array([[f, 0, 310.0], [0, f, 240], [0, 0, 1]]), pose, size_px)
        for f, pose, size_px in zip((420.0, 390.0), poses, sizes, strict=True)
    ]
    lens = {"model": "RADIAL", "distortion": (-0.25, 0.06)} if bent else {}
    cameras = tuple(replace(camera, **lens) for camera in plain)
    truth = DepthSource(None, None, *cameras).open(*sizes)
    world = np.random.default_rng(3).uniform([-3, -2, 5], [3, 2, 9], (400, 3))
    places = [camera.project(world @ camera.world_to_camera[:, :3].T + camera.world_to_camera[:, 3])
              for camera in cameras]  # fmt: skip
    shown = np.isfinite(np.hstack(places)).all(axis=1)
    assert shown.sum() > 100
    found = FoundMatches(places[0][shown], places[1][shown], np.ones(shown.sum(), np.float32))
    halves = [Resize(size_px, (size_px[0] // 2, size_px[1] // 2)) for size_px in sizes]
    for known in (truth, truth.resized(*halves)):
        maps = maps_of(replace(ALL, chosen=("pose",)), known)
        scaled = found
        if known is not truth:
            scaled = replace(found, points_a=halves[0].forward(found.points_a),
                             points_b=halves[1].forward(found.points_b))  # fmt: skip
        maps.__dict__["found"] = (scaled.points_a, scaled)
        (error,) = measure_pair(maps).values()
        assert error is not None
        assert error < 0.1


def test_refined_matches_lie_between_the_places_near_where_the_map_is_most_similar():
    query = GRID_A[[is_shown(*point) for point in TRUE]]
    true = warp_points(H, query)
    maps = maps_of()
    plain, refined = (
        match_places(
            maps.levels[0], query, maps.levels[1], GRID_B,
            refine_px=reach, cancel=CancelToken(),
        )
        for reach in (None, STRIDE)
    )  # fmt: skip
    assert np.array_equal(plain.index, refined.index)
    clear = (np.abs(true - (30, 12)) > (14, 12)).any(axis=1)  # far from the patch of noise
    errors = [np.linalg.norm(found.match_px - true, axis=1)[clear] for found in (plain, refined)]
    assert np.median(errors[0]) > 0.8
    # Hills of this map lean to one side, and so does the mean of what lies around their tops.
    assert np.median(errors[1]) < 0.25
    # The map is read at a place as at a query: no place a pixel away is more similar.
    for number in np.flatnonzero(clear)[::9]:
        x, y = refined.match_px[number]
        best = float(smooth_vectors(query[number][None])[0] @ smooth_b(np.array([[x, y]]))[0])
        steps = np.array([[dx, dy] for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
        others = smooth_b(np.array([x, y]) + steps) @ smooth_vectors(query[number][None])[0]
        assert best >= others.max() - 1e-3


def smooth_b(points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    return smooth_vectors(warp_points(np.linalg.inv(H), points_px))


QUERY = np.array([[8.0, 8], [20, 30], [33, 12], [5, 33], [41, 20]])


def points_of(query: NDArray[np.float64] = QUERY) -> PairPoints:
    true = warp_points(H, query)
    match = true + np.arange(len(query))[:, None]
    return PairPoints(query, true, match, np.ones(len(query), np.float32))


def best_of(point: NDArray[np.float64]) -> NDArray[np.float64]:
    vector = at(VECTORS_A, SIZE_A, point[None])[0]
    return GRID_B[np.argmax(at(VECTORS_B, SIZE_B, GRID_B) @ vector)]


def test_round_trips_and_steps_are_those_of_loops():
    values = measure_queries(maps_of(replace(ALL, chosen=("round_trip", "stability"))), points_of())
    trips, steps = [], []
    for point in QUERY:
        match = best_of(point)
        vector = at(VECTORS_B, SIZE_B, match[None])[0]
        home = GRID_A[np.argmax(at(VECTORS_A, SIZE_A, GRID_A) @ vector)]
        trips.append(math.dist(point, home))
        for step in ((1.0, 0.0), (0.0, 1.0)):
            moved = point + step
            went = best_of(moved) - match
            should = warp_points(H, moved) - warp_points(H, point)
            steps.append(math.dist(went, should))
    assert values["round_trip"] == pytest.approx(sorted(trips)[2], abs=1e-6)
    assert values["returned@3"] == pytest.approx(sum(one <= 3 for one in trips) / 5, abs=1e-6)
    assert values["stability"] == pytest.approx((sorted(steps)[4] + sorted(steps)[5]) / 2, abs=1e-6)
    assert values["steady@1"] == pytest.approx(sum(one <= 1 for one in steps) / 10, abs=1e-6)


SURE = Calibration(
    alone={"most": 1.0, "constant": -3.0, "similarity": 4.0, "log_ratio": -1.0, "log_cycle": -0.5},
    together={
        "most": 1.0, "constant": -4.0, "similarity": 3.0, "log_ratio": -1.0, "log_cycle": -0.5,
        "agreement": 3.0,
    },
)  # fmt: skip


def test_confidences_are_those_of_plain_loops_over_all_cells_there_and_back():
    """The maps have a cell at every pixel, and matches stay within one of the best."""
    switches = replace(ALL, chosen=("confidence",))
    true = warp_points(H, QUERY)
    points = PairPoints(QUERY, true, true, np.ones(len(QUERY), np.float32))
    pixels = np.random.default_rng(3).random((*SIZE_A[::-1], 3)).astype(np.float32).round()
    pixels[:, 17:] = 0.5
    texture = find_texture(pixels)
    textured = np.array([texture[int(y), int(x)] for x, y in QUERY])
    assert 0 < textured.sum() < len(QUERY)
    images = (WorkingImage(pixels, Resize(SIZE_A, SIZE_A)), image_of(SIZE_B))
    maps = replace(maps_of(switches), calibration=SURE, images=images)
    counts = count_confidences(maps, points)
    assert counts is not None
    expected: dict[int, list[bool]] = {}
    cells_a, cells_b = pixels_of(SIZE_A), pixels_of(SIZE_B)
    for point, truth, has_any in zip(QUERY, true, textured, strict=True):
        if not has_any:
            continue
        likes = VECTORS_B @ at(VECTORS_A, SIZE_A, point[None])[0]
        best = cells_b[likes.argmax()]
        apart = max(
            like for like, cell in zip(likes, cells_b, strict=True) if math.dist(cell, best) >= 16
        )
        match = refined_of(VECTORS_B, SIZE_B, at(VECTORS_A, SIZE_A, point[None])[0], best)
        back = read_at(VECTORS_B, SIZE_B, match)
        start = cells_a[(VECTORS_A @ back).argmax()]
        home = refined_of(VECTORS_A, SIZE_A, back, start)
        ratio = math.sqrt(max(1e-6, 2 - 2 * likes.max()) / max(1e-6, 2 - 2 * apart))
        score = (
            -3.0 + 4.0 * likes.max() - math.log(max(0.02, ratio))
            - 0.5 * math.log2(1 + math.dist(home, point))
        )  # fmt: skip
        percent = round(100 / (1 + math.exp(-score)))
        expected.setdefault(percent, []).append(math.dist(match, truth) <= 3)
    found = {p: (int(n), int(r)) for p, (n, r) in enumerate(counts) if n}
    assert found == {percent: (len(one), sum(one)) for percent, one in expected.items()}
    values = confidence_values(counts)
    assert set(values) == {
        "calibration_error", *(f"precision_at_recall@{one}" for one in (50, 80, 95))
    }  # fmt: skip


def read_at(vectors: NDArray[np.float64], size_px: tuple[int, int], place: NDArray[np.float64]):
    """The map between its cells, bilinearly, of unit length."""
    x0, y0 = (min(int(one), size - 2) for one, size in zip(place, size_px, strict=True))
    x, y = place[0] - x0, place[1] - y0
    total = sum(
        weight * vectors[(y0 + dy) * size_px[0] + x0 + dx]
        for dx, dy, weight in (
            (0, 0, (1 - x) * (1 - y)), (1, 0, x * (1 - y)), (0, 1, (1 - x) * y), (1, 1, x * y)
        )
    )  # fmt: skip
    return total / np.linalg.norm(total)


def refined_of(
    vectors: NDArray[np.float64], size_px: tuple[int, int], query: NDArray[np.float64], start
):
    there = levels_of(vectors, size_px)[0].values[0].permute(1, 2, 0)
    asked = query[None].astype(np.float32)
    return refine_places(
        Neighbours(there), CellGrid(1, 0), asked, start[None], reach_px=1.0
    ).places_px[0]


def test_confidences_are_counted_only_where_they_are_asked_for_and_calibrated():
    with_one = replace(maps_of(replace(ALL, chosen=("confidence",))), calibration=SURE)
    assert count_confidences(with_one, points_of()) is not None
    assert count_confidences(replace(with_one, calibration=None), points_of()) is None
    assert count_confidences(replace(with_one, switches=NO_METRICS), points_of()) is None
    assert confidence_values(None) == {}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Two planes, one before the other: the near one moves by 6 px more, and hides a strip."""

    sizes_px: tuple[tuple[int, int], tuple[int, int]] = (SIZE_A, SIZE_B)
    kind = "depth"
    listed_px = None
    boxes_px: tuple[Box | None, Box | None] = (None, (0.0, 0.0, 20.0, 10.0))

    def locate(self, side: Side, points_px: NDArray[np.float64]) -> TruePoints:
        near, hidden = points_px[:, 0] < 20, np.abs(points_px[:, 0] - 23) <= 3
        found = exact_points(points_px + np.where(near[:, None], (6.0, 0), (0.0, 0)), SIZE_B)
        visibility = np.where(hidden, Visibility.OCCLUDED, found.visibility).astype(np.uint8)
        return TruePoints(found.points_px, visibility, found.uncertainty_px)

    def matrix_from(self, side: Side) -> None:
        return None


def test_depth_edges_hidden_pixels_and_boxes_of_a_scene_count():
    maps = maps_of(truth=Scene())
    values = measure_pair(maps) | measure_queries(maps, points_of())
    assert "corner_error[MAGSAC++ 3 px]" not in values
    assert values["aepe_all"] != values["aepe"]
    assert None not in [values[f"edge_error@{start}"] for start in (0, 4, 16)]
    errors = points_of().errors_px
    for alpha in (0.1, 0.05, 0.01):
        right = sum(error <= alpha * 20 for error in errors.tolist())
        assert values[f"pck_box@{alpha:g}"] == pytest.approx(right / 5)
        right = sum(error <= alpha * 50 for error in errors.tolist())
        assert values[f"pck_image@{alpha:g}"] == pytest.approx(right / 5)


def test_boxes_are_measured_without_being_asked_for_and_nothing_else_is():
    maps = maps_of(NO_METRICS, Scene())
    assert measure_pair(maps) == {}
    assert list(measure_queries(maps, points_of())) == [
        "pck_box@0.1", "pck_box@0.05", "pck_box@0.01"
    ]  # fmt: skip
    assert measure_queries(maps_of(NO_METRICS), points_of()) == {}


def test_a_list_of_points_tells_no_dense_metric():
    truth = PointsTruth.of(QUERY, warp_points(H, QUERY), (SIZE_A, SIZE_B))
    maps = maps_of(truth=truth)
    assert measure_pair(maps) == {}
    names = {name.partition("@")[0] for name in measure_queries(maps, points_of())}
    assert names == {"pck_image", "round_trip", "returned"}


def test_keypoints_of_both_images_are_matched_and_blank_images_have_none():
    switches = replace(ALL, chosen=("found",), found_on="keypoints", keypoint_limit=30)
    values = measure_pair(maps_of(switches))
    assert 0 < (values["matches"] or 0) <= 30
    maps = maps_of(switches)
    blank = np.zeros((*SIZE_B[::-1], 3), np.float32)
    maps = replace(maps, images=(maps.images[0], WorkingImage(blank, maps.images[1].resize)))
    values = measure_pair(maps)
    assert (values["matches"], values["mma@3"], values["ap"]) == (0, 0, 0)


def test_each_two_places_are_compared_once_for_both_ways(monkeypatch: pytest.MonkeyPatch):
    """Also in many blocks, with several members, and where similarities are equal."""
    random = np.random.default_rng(5)
    sides = []
    for size in (SIZE_A, SIZE_B):
        vectors = [random.normal(size=(size[0] * size[1], 24)) for _ in range(2)]
        vectors = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in vectors]
        vectors[1][: 8 * size[0]] = vectors[0][: 8 * size[0]] = 0  # nothing to describe: all alike
        sides.append((vectors, tuple(levels_of(one, size)[0] for one in vectors)))
    (vectors_a, levels_a), (vectors_b, levels_b) = sides
    similarity = np.max(
        [at(a, SIZE_A, GRID_A) @ at(b, SIZE_B, GRID_B).T for a in vectors_a for b in vectors_b],
        axis=0,
    )
    monkeypatch.setattr(match_field, "SEARCH_BUDGET_BYTES", 8000)
    there, back = match_field.match_both_ways(
        levels_a, GRID_A, levels_b, GRID_B, refine_px=None, cancel=CancelToken()
    )
    assert there.index.tolist() == similarity.argmax(axis=1).tolist()
    assert back.tolist() == similarity.argmax(axis=0).tolist()
    assert there.similarity == pytest.approx(similarity.max(axis=1), abs=1e-6)
    assert np.array_equal(there.match_px, GRID_B[there.index])
