"""The field's metrics against plain loops written from their definitions, and planted answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.evaluation.metrics.calibration import (
    calibration_error,
    count_by_percent,
    precision_at_recall,
)
from engine.evaluation.metrics.dense_error import (
    all_errors_px,
    edge_distances_px,
    error_by_band,
    pixel_errors_px,
    spread_matches,
    sum_up,
)
from engine.evaluation.metrics.estimators import check_estimator, homography_from, pose_from
from engine.evaluation.metrics.found_matches import (
    average_precision,
    coverage,
    match_errors_px,
    matching_accuracy,
    mutual_pairs,
    precision_at_recalls,
)
from engine.evaluation.metrics.homography_auc import corner_error_px
from engine.evaluation.metrics.pck_box import average_shares, count_in_box, longest_side_px
from engine.evaluation.metrics.pose_auc import (
    RelativePose,
    direction_error_deg,
    pose_error_deg,
    rotation_error_deg,
)
from engine.evaluation.metrics.recall_auc import recall_auc
from engine.evaluation.metrics.stability import (
    STEPS_PX,
    median_known,
    round_trip_px,
    share_within,
    stability_px,
)
from engine.evaluation.switches import Estimator
from engine.geometry.homography import warp_points
from engine.truth.base import TruePoints, Visibility

H = np.array([[1.1, 0.1, 5.0], [-0.05, 0.95, 8.0], [2e-4, -1e-4, 1.0]])
SEEDS = range(4)


def truth_of(points_px: NDArray[np.float64], visibility: NDArray[np.int64]) -> TruePoints:
    return TruePoints(points_px, visibility.astype(np.uint8), np.zeros(len(points_px)))


def some_truth(seed: int, count: int = 300) -> tuple[NDArray[np.float64], TruePoints]:
    """Matches, a few missing, and truth of all four kinds; what is unknown has no place."""
    random = np.random.default_rng(seed)
    true = random.uniform(0, 100, (count, 2))
    visibility = random.integers(0, 4, count)
    true[visibility == Visibility.UNKNOWN] = np.nan
    true[(visibility == Visibility.OCCLUDED) & (random.random(count) < 0.5)] = np.nan
    found = np.nan_to_num(true, nan=50.0) + random.exponential(3, (count, 2))
    found[random.random(count) < 0.1] = np.nan
    return found, truth_of(true, visibility)


# ---- PCK of boxes ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_pck_of_boxes_per_image_and_per_point_is_what_loops_count(seed: int):
    random = np.random.default_rng(seed)
    counts, shares, right_points, points = [], [], 0, 0
    for _ in range(12):
        box = (10.0, 20.0, 10.0 + random.uniform(5, 90), 20.0 + random.uniform(5, 90))
        errors = random.exponential(6, random.integers(0, 20))
        errors[::7] = np.nan
        counts.append((count_in_box(errors, longest_side_px(box), 0.1), len(errors)))
        right = 0
        for error in errors.tolist():
            right += error <= 0.1 * max(box[2] - box[0], box[3] - box[1])
        shares += [right / len(errors)] if len(errors) else []
        right_points, points = right_points + right, points + len(errors)
    found = average_shares(counts)
    assert found.per_image == pytest.approx(math.fsum(shares) / len(shares), abs=1e-9)
    assert found.per_point == pytest.approx(right_points / points, abs=1e-9)
    assert found.per_image != found.per_point


def test_an_error_of_just_alpha_times_the_side_counts_and_no_points_have_no_pck():
    assert longest_side_px((0, 0, 30, 40)) == 40
    assert count_in_box(np.array([4.0, 4.000001, np.nan]), 40, 0.1) == 1
    assert average_shares([]) == average_shares([(0, 0)])
    assert average_shares([(0, 0)]).per_image is None
    assert average_shares([(0, 0), (0, 5)]).per_image == 0.0


# ---- dense error -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("occluded", [False, True])
def test_dense_error_is_what_loops_sum_up(seed: int, occluded: bool):
    found, true = some_truth(seed)
    total, matched, pixels, right = 0.0, 0, 0, [0, 0, 0]
    for (x, y), (u, v), kind in zip(
        found.tolist(), true.points_px.tolist(), true.visibility.tolist(), strict=True
    ):
        counts = kind == 1 or (occluded and kind == 2 and not math.isnan(u))
        if not counts:
            continue
        pixels += 1
        if math.isnan(x):
            continue
        error = math.sqrt((x - u) ** 2 + (y - v) ** 2)
        total, matched = total + error, matched + 1
        for place, limit in enumerate((1, 3, 5)):
            right[place] += error <= limit
    summed = sum_up(pixel_errors_px(found, true, occluded=occluded), (1, 3, 5))
    assert summed.pixels == pixels
    assert summed.aepe_px == pytest.approx(total / matched, abs=1e-6)
    assert summed.pck == pytest.approx([count / pixels for count in right], abs=1e-6)


def test_dense_error_without_pixels_or_without_matches():
    nothing = truth_of(np.full((4, 2), np.nan), np.zeros(4, np.int64))
    assert sum_up(pixel_errors_px(np.ones((4, 2)), nothing, occluded=True), (1,)).pck == ()
    known = truth_of(np.ones((4, 2)), np.ones(4, np.int64))
    summed = sum_up(pixel_errors_px(np.full((4, 2), np.nan), known, occluded=False), (1,))
    assert (summed.pixels, summed.aepe_px, summed.pck) == (4, None, (0.0,))


@pytest.mark.parametrize(
    ("size", "stride"), [((13, 9), 4), ((16, 17), 4), ((6, 5), 1), ((3, 3), 4)]
)
def test_matches_of_a_grid_are_spread_as_a_loop_interpolates(size: tuple[int, int], stride: int):
    random = np.random.default_rng(5)
    columns, rows = (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1
    match = random.uniform(0, 50, (rows, columns, 2))
    match[0, 0] = np.nan
    spread = spread_matches(match, stride, size)
    for y, x in itertools.product(range(size[1]), range(size[0])):
        row, column = min(y / stride, rows - 1), min(x / stride, columns - 1)
        expected = np.array([float(x), float(y)])
        for r, c in itertools.product(range(rows), range(columns)):
            share = max(0, 1 - abs(r - row)) * max(0, 1 - abs(c - column))
            if share:
                expected += share * (match[r, c] - [c * stride, r * stride])
        assert spread[y, x] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_an_affine_field_is_spread_without_any_error():
    ys, xs = np.mgrid[0:41:4, 0:61:4].astype(float)
    grid = warp_points(np.array([[2.0, 0.3, 4], [-0.5, 1.5, 9], [0, 0, 1]]), np.dstack([xs, ys]))
    spread = spread_matches(grid, 4, (61, 41))
    ys, xs = np.mgrid[0:41, 0:61].astype(float)
    assert np.allclose(spread[..., 0], 2 * xs + 0.3 * ys + 4, atol=1e-9)
    assert np.allclose(spread[..., 1], -0.5 * xs + 1.5 * ys + 9, atol=1e-9)


def test_depth_edges_are_where_the_truth_breaks_and_distances_are_those_of_a_loop():
    ys, xs = np.mgrid[0:24, 0:32].astype(float)
    true = np.dstack([3 * xs + ys, 2 * ys])  # strongly affine: no edge
    assert np.isinf(edge_distances_px(true)).all()
    true[8:16, 10:20, 0] += 9
    true[20:, :4] = np.nan
    distances = edge_distances_px(true)
    edges = []
    for y, x in itertools.product(range(24), range(32)):
        for dy, dx in ((0, 1), (1, 0)):
            if not (y - dy >= 0 and y + dy < 24 and x - dx >= 0 and x + dx < 32):
                continue
            middle = (true[y - dy, x - dx] + true[y + dy, x + dx]) / 2
            if math.dist(middle, true[y, x]) > 2:
                edges.append((y, x))
                break
    assert edges
    for y, x in itertools.product(range(24), range(32)):
        assert distances[y, x] == pytest.approx(
            min(math.dist((y, x), edge) for edge in edges), abs=1e-4
        )


def test_error_by_band_is_what_a_loop_averages():
    random = np.random.default_rng(1)
    errors, distances = random.exponential(3, 200), random.uniform(0, 40, 200)
    errors[::9], errors[1::9], distances[2::9] = np.nan, np.inf, np.inf
    bands = ((0.0, 4.0), (4.0, 16.0), (16.0, np.inf), (-2.0, -1.0))
    for (low, high), mean in zip(bands, error_by_band(errors, distances, bands), strict=True):
        mine = [
            error
            for error, distance in zip(errors, distances, strict=True)
            if math.isfinite(error) and distance >= low and (distance < high or high == np.inf)
        ]
        assert mean == (pytest.approx(sum(mine) / len(mine), abs=1e-9) if mine else None)


def test_errors_of_all_pixels_tell_missing_matches_from_missing_truth():
    true = truth_of(np.array([[1.0, 1], [np.nan, np.nan], [4, 5]]), np.array([1, 0, 2]))
    found = np.array([[np.nan, np.nan], [3, 3], [1, 1]])
    assert all_errors_px(found, true) == pytest.approx([np.inf, np.nan, 5], nan_ok=True)


# ---- matches as found --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_mutual_pairs_are_those_a_double_loop_finds(seed: int):
    random = np.random.default_rng(seed)
    similarity = random.random((15, 22))
    forward, backward = similarity.argmax(axis=1), similarity.argmax(axis=0)
    forward[3] = -1
    expected = [
        [i, j]
        for i, j in itertools.product(range(15), range(22))
        if i != 3
        and similarity[i, j] == max(similarity[i])
        and similarity[i, j] == max(similarity[:, j])
    ]
    assert mutual_pairs(forward, backward).tolist() == expected
    assert mutual_pairs(np.full(4, -1), np.full(3, -1)).shape == (0, 2)
    assert mutual_pairs(np.empty(0, np.int64), np.empty(0, np.int64)).shape == (0, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_matching_accuracy_is_what_a_loop_counts(seed: int):
    found, true = some_truth(seed)
    accuracy = matching_accuracy(match_errors_px(found, true), range(1, 11))
    for limit, share in zip(range(1, 11), accuracy, strict=True):
        right, judged = 0, 0
        for point, place, kind in zip(found, true.points_px, true.visibility, strict=True):
            if kind == 0 and not np.isnan(point).any():
                continue  # nobody knows
            judged += 1
            right += kind != 2 and math.dist(point, place) <= limit
        assert share == pytest.approx(right / judged, abs=1e-9)


def test_no_matches_have_no_accuracy_and_unknown_truth_gives_none():
    assert matching_accuracy(np.empty(0), (1, 2)) == (0.0, 0.0)
    assert matching_accuracy(np.full(3, np.nan), (1,)) == (None,)
    assert matching_accuracy(np.full(3, np.inf), (1e9,)) == (0.0,)


def plain_average_precision(right: list[bool], similarity: list[float], partners: int) -> float:
    """The sum of precision × gain of recall over all thresholds of similarity."""
    area, before = 0.0, 0.0
    for limit in sorted(set(similarity), reverse=True):
        taken = [one for one, value in zip(right, similarity, strict=True) if value >= limit]
        recall = sum(taken) / partners
        area += (recall - before) * sum(taken) / len(taken)
        before = recall
    return area


@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_is_the_area_that_a_loop_adds_up(seed: int):
    random = np.random.default_rng(seed)
    errors = random.exponential(4, 120)
    errors[::10] = np.inf
    similarity = (random.integers(0, 40, 120) / 40).astype(np.float32)  # with many ties
    right = [error <= 3 for error in errors.tolist()]
    expected = plain_average_precision(right, similarity.tolist(), 150)
    assert average_precision(errors, similarity, 3.0, 150) == pytest.approx(expected, abs=1e-6)
    errors[1::10] = np.nan
    known = ~np.isnan(errors)
    right = [error <= 3 for error in errors[known].tolist()]
    expected = plain_average_precision(right, similarity[known].tolist(), 150)
    assert average_precision(errors, similarity, 3.0, 150) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_at_a_recall_is_that_of_the_fewest_matches_that_reach_it(seed: int):
    random = np.random.default_rng(seed)
    errors = random.exponential(4, 120)
    errors[::10], errors[1::10] = np.inf, np.nan
    similarity = (random.integers(0, 40, 120) / 40).astype(np.float32)  # with many ties
    expected = []
    for step in range(51):
        shares = [0.0]
        for limit in sorted(set(similarity.tolist())):  # the last one is the shortest list
            kept = [e for e, s in zip(errors, similarity, strict=True) if s >= limit and e == e]
            right = sum(error <= 3 for error in kept)
            if right and 50 * right >= step * 75:
                shares.append(right / len(kept))
        expected.append(shares[-1])
    found = precision_at_recalls(errors, similarity, 3.0, 75)
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < sum(share > 0 for share in found) < 51


def test_the_area_under_the_precision_recall_curve_is_the_average_precision():
    random = np.random.default_rng(7)
    errors, similarity = random.exponential(4, 90), random.random(90).astype(np.float32)
    middles = [(step + 0.5) / 200 for step in range(200)]  # of the steps of a curve with 100 points
    curve = precision_at_recalls(errors, similarity, 3.0, 100, middles)
    assert sum(curve) / 200 == pytest.approx(average_precision(errors, similarity, 3.0, 100))
    assert precision_at_recalls(errors, similarity, 3.0, 0) == ()
    assert set(precision_at_recalls(np.empty(0), np.empty(0, np.float32), 3.0, 9)) == {0.0}


def test_average_precision_of_nothing_and_of_all_right():
    nothing, similarity = np.empty(0), np.empty(0, np.float32)
    assert average_precision(nothing, similarity, 3.0, 0) is None
    assert average_precision(nothing, similarity, 3.0, 10) == 0.0
    assert average_precision(np.zeros(5), np.arange(5, dtype=np.float32), 3.0, 5) == 1.0
    assert average_precision(np.full(5, np.inf), np.arange(5, dtype=np.float32), 3.0, 5) == 0.0
    assert average_precision(np.full(5, np.nan), np.arange(5, dtype=np.float32), 3.0, 5) == 0.0


def test_coverage_is_the_share_that_a_loop_counts():
    random = np.random.default_rng(2)
    right, shown = random.uniform(0, 100, (9, 2)), random.uniform(0, 100, (1500, 2))
    near = sum(any(math.dist(p, q) <= 16 for q in right.tolist()) for p in shown.tolist())
    assert coverage(right, shown, 16.0) == pytest.approx(near / 1500, abs=1e-9)
    assert coverage(np.empty((0, 2)), shown, 16.0) == 0.0
    assert coverage(right, np.empty((0, 2)), 16.0) is None


# ---- areas under curves ------------------------------------------------------------------------


def plain_auc(errors: list[float], threshold: float) -> float:
    """Integrate the curve through (0, 0) and (error, share of pairs up to it), step by step."""
    ordered = sorted(error for error in errors if error < threshold)
    area, x, y = 0.0, 0.0, 0.0
    for number, error in enumerate(ordered, start=1):
        share = number / len(errors)
        area += (error - x) * (y + share) / 2
        x, y = error, share
    return (area + (threshold - x) * y) / threshold


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("threshold", [1, 3, 5, 10, 20])
def test_auc_is_the_area_that_a_loop_adds_up(seed: int, threshold: float):
    random = np.random.default_rng(seed)
    errors = [*random.exponential(4, 40).tolist(), math.inf, 0.0, 3.0]
    expected = plain_auc(errors, threshold)
    assert recall_auc(errors, threshold) == pytest.approx(expected, abs=1e-9)
    failed = [None if error == math.inf else error for error in errors]
    assert recall_auc(failed, threshold) == pytest.approx(expected, abs=1e-9)
    assert recall_auc([*errors[:-3], 0.0, 3.0, math.nan], threshold) == pytest.approx(expected)


def test_auc_of_nothing_of_failures_and_of_perfect_pairs():
    assert recall_auc([], 5) is None
    assert recall_auc([None, math.nan, math.inf], 5) == 0.0
    assert recall_auc([0.0, 0.0], 5) == 1.0
    assert recall_auc([9.0], 5) == 0.0
    # By hand: from (0, 0) to (1, 1), then level up to 5.
    assert recall_auc([1.0], 5) == pytest.approx((0.5 + 4) / 5)


# ---- homography and pose -----------------------------------------------------------------------


def test_the_corner_error_is_that_of_four_corners_carried_one_by_one():
    other = H + np.array([[0.01, 0, 1], [0, 0.02, -2], [1e-5, 0, 0]])
    total = 0.0
    for x, y in ((0, 0), (639, 0), (639, 479), (0, 479)):
        places = []
        for m in (H, other):
            w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
            places.append(
                (
                    (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / w,
                    (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / w,
                )
            )
        total += math.dist(*places)
    assert corner_error_px(other, H, (640, 480)) == pytest.approx(total / 4, abs=1e-6)
    assert corner_error_px(-3 * other, H, (640, 480)) == pytest.approx(total / 4, abs=1e-6)
    assert corner_error_px(H, H, (640, 480)) == pytest.approx(0, abs=1e-9)
    assert corner_error_px(None, H, (640, 480)) is None
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])  # through the first corner
    assert corner_error_px(horizon, H, (640, 480)) is None


def turn(axis: NDArray[np.float64], angle_deg: float) -> NDArray[np.float64]:
    """Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(angle_deg)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.5, 30.0, 90.0, 179.9, 180.0])
def test_the_angle_of_a_rotation_is_the_one_it_was_made_with(angle: float):
    base = turn(np.array([1.0, 2, 3]), 40)
    turned = base @ turn(np.array([-3.0, 1, 0.5]), angle)
    assert rotation_error_deg(turned, base) == pytest.approx(angle, abs=1e-6)


def test_directions_of_translations_have_no_sign_and_no_length():
    right = np.array([2.0, 0, 0])
    assert direction_error_deg(np.array([-1.0, 0, 0]), right) == 0
    assert direction_error_deg(np.array([0.0, 3, 0]), right) == pytest.approx(90)
    angle = math.degrees(math.acos(1 / math.sqrt(2)))
    assert direction_error_deg(np.array([1.0, 1, 0]), right) == pytest.approx(angle, abs=1e-6)
    assert math.isnan(direction_error_deg(np.zeros(3), right))


def test_the_pose_error_is_the_larger_angle_and_fails_where_there_is_none():
    true = RelativePose(np.eye(3), np.array([1.0, 0, 0]))
    turned = RelativePose(turn(np.array([0.0, 0, 1]), 7), np.array([1.0, math.tan(0.2), 0]))
    assert pose_error_deg(turned, true) == pytest.approx(math.degrees(0.2), abs=1e-6)
    moved = RelativePose(turn(np.array([0.0, 0, 1]), 20), np.array([1.0, math.tan(0.2), 0]))
    assert pose_error_deg(moved, true) == pytest.approx(20, abs=1e-6)
    assert pose_error_deg(None, true) is None
    assert pose_error_deg(turned, RelativePose(np.eye(3), np.zeros(3))) is None
    assert pose_error_deg(RelativePose(np.eye(3), np.zeros(3)), true) is None


def test_the_pose_between_two_cameras_carries_points_of_one_into_the_other():
    random = np.random.default_rng(0)
    a, b = (
        np.column_stack([turn(random.normal(size=3), 50), random.normal(size=3)]) for _ in range(2)
    )
    world = np.append(random.normal(size=3), 1)
    pose = RelativePose.between(a, b)
    assert pose.rotation @ (a @ world) + pose.translation == pytest.approx(b @ world)


ESTIMATORS: tuple[Estimator, ...] = ("opencv", "poselib")


@pytest.fixture(params=ESTIMATORS)
def estimator(request: pytest.FixtureRequest) -> Estimator:
    if request.param == "poselib":
        pytest.importorskip("poselib")
    found: Estimator = request.param
    return found


def test_estimators_find_a_planted_homography_among_wrong_matches(estimator: Estimator):
    random = np.random.default_rng(0)
    check_estimator(estimator)
    a = random.uniform(0, 400, (300, 2))
    b = warp_points(H, a)
    b[:120] = random.uniform(0, 400, (120, 2))
    found = homography_from(estimator, a, b, inlier_px=1.0, seed=3)
    error = corner_error_px(found, H, (400, 400))
    assert error == pytest.approx(0, abs=1e-3)
    again = homography_from(estimator, a, b, inlier_px=1.0, seed=3)
    assert again is not None
    assert np.array_equal(found, again)


def test_estimators_find_none_where_there_is_none(estimator: Estimator):
    a = np.array([[0.0, 0], [10, 0], [0, 10]])
    assert homography_from(estimator, a, a, inlier_px=1.0, seed=0) is None
    same = np.full((20, 2), 5.0)
    assert homography_from(estimator, same, same, inlier_px=1.0, seed=0) is None
    eyes = (np.eye(3), np.eye(3))
    assert pose_from(estimator, a, a, eyes, inlier_px=1.0, seed=0) is None


def test_estimators_find_a_planted_pose_of_two_unlike_cameras(estimator: Estimator):
    random = np.random.default_rng(1)
    intrinsics = (
        np.array([[500.0, 0, 310], [0, 510, 240], [0, 0, 1]]),
        np.array([[800.0, 0, 300], [0, 790, 250], [0, 0, 1]]),
    )
    true = RelativePose(turn(np.array([0.2, 1, 0.1]), 12), np.array([1.0, 0.1, 0.3]))
    points = random.uniform(-1, 1, (300, 3)) * (2, 1.5, 1) + (0, 0, 5)
    pixels = []
    for matrix, seen in zip(
        intrinsics, (points, points @ true.rotation.T + true.translation), strict=True
    ):
        homogeneous = seen @ matrix.T
        pixels.append(homogeneous[:, :2] / homogeneous[:, 2:])
    pixels[1][:100] = random.uniform(0, 600, (100, 2))
    found = pose_from(estimator, *pixels, intrinsics, inlier_px=1.0, seed=0)
    assert pose_error_deg(found, true) == pytest.approx(0, abs=0.05)


# ---- what matches say of themselves ------------------------------------------------------------


def test_round_trips_and_stability_are_what_loops_measure():
    random = np.random.default_rng(4)
    query, returned = random.uniform(0, 90, (30, 2)), random.uniform(0, 90, (30, 2))
    returned[4] = np.nan
    for place, distance in enumerate(round_trip_px(query, returned).tolist()):
        expected = math.dist(query[place], returned[place])
        assert distance == pytest.approx(expected, abs=1e-6, nan_ok=True)
    match, moved = random.uniform(0, 90, (30, 2)), random.uniform(0, 90, (2, 30, 2))
    true = warp_points(H, query)
    moved_true = np.stack([warp_points(H, query + step) for step in STEPS_PX])
    moved[1, 5] = np.nan
    unsteady = stability_px(match, moved, true, moved_true)
    for step, place in itertools.product(range(2), range(30)):
        went = moved[step, place] - match[place]
        should = moved_true[step, place] - true[place]
        expected = math.sqrt(
            sum((one - other) ** 2 for one, other in zip(went, should, strict=True))
        )
        assert unsteady[step, place] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    known = [value for value in unsteady.ravel().tolist() if not math.isnan(value)]
    assert median_known(unsteady) == sorted(known)[29]  # of 59
    assert share_within(unsteady, 40) == sum(value <= 40 for value in known) / 59


def some_confidences(seed: int, count: int = 340) -> tuple[list[int], list[bool]]:
    """Confidences in whole percent, many of them equal, and a few that are too sure."""
    random = np.random.default_rng(seed)
    percents = [int(one) for one in random.choice([0, 3, 40, 41, 77, 90, 98, 99, 100], count)]
    return percents, [bool(random.random() < 0.9 * one / 100) for one in percents]


def counts_of(percents: list[int], right: list[bool]) -> NDArray[np.int64]:
    return count_by_percent(np.array(percents) / 100, np.array(right, np.bool_))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_calibration_error_is_that_of_a_loop_over_bins_of_equal_mass(seed: int):
    percents, right = some_confidences(seed, count=337 + seed)
    mean_right = {
        one: sum(r for p, r in zip(percents, right, strict=True) if p == one) / percents.count(one)
        for one in percents
    }
    # Every match in 15 parts: then bins of equal mass hold whole parts, N of them each.
    parts = [one for one in sorted(percents) for _ in range(15)]
    total = 0.0
    for number in range(15):
        own = parts[number * len(percents) : (number + 1) * len(percents)]
        sure = math.fsum(one / 100 for one in own) / len(own)
        came_true = math.fsum(mean_right[one] for one in own) / len(own)
        total += abs(sure - came_true) / 15
    assert calibration_error(counts_of(percents, right)) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("recall", [0.5, 0.8, 0.95, 1.0])
def test_precision_at_recall_is_that_of_a_loop_over_falling_confidence(seed: int, recall: float):
    percents, right = some_confidences(seed)
    for least in range(100, -1, -1):
        kept = [r for p, r in zip(percents, right, strict=True) if p >= least]
        if sum(kept) >= recall * sum(right):
            break
    found = precision_at_recall(counts_of(percents, right), recall)
    assert found == pytest.approx(sum(kept) / len(kept), abs=1e-9)


def test_confidences_that_come_true_have_no_error_and_others_theirs():
    sure, true = [0] * 40 + [50] * 40 + [100] * 40, [False] * 60 + [True] * 60
    assert calibration_error(counts_of(sure, true)) == pytest.approx(0)
    boasting = counts_of([90] * 50, [True] * 20 + [False] * 30)
    assert calibration_error(boasting) == pytest.approx(0.5)
    # Errors of either sign do not cancel out between bins, but do within one.
    both = [20] * 70 + [80] * 80, [True] * 70 + [False] * 80
    assert calibration_error(counts_of(*both)) == pytest.approx(0.8)
    assert math.isnan(float(calibration_error(counts_of([], []))))
    assert math.isnan(float(precision_at_recall(counts_of([70], [False]), 0.5)))
    draws = np.stack([counts_of(sure, true), boasting])
    np.testing.assert_allclose(calibration_error(draws), [0, 0.5], atol=1e-9)
    np.testing.assert_allclose(precision_at_recall(draws, 0.5), [1.0, 0.4])


def test_a_confidence_that_is_not_known_is_not_counted():
    counts = count_by_percent(np.array([0.994, np.nan, 0.986, 0.0]), np.ones(4, np.bool_))
    assert counts.sum(axis=0).tolist() == [3, 3]
    assert counts[99].tolist() == [2, 2]


def test_a_perfect_matcher_is_steady_and_nothing_has_no_median():
    query = np.random.default_rng(4).uniform(0, 90, (30, 2))
    true = warp_points(H, query)
    moved = np.stack([warp_points(H, query + step) for step in STEPS_PX])
    assert median_known(stability_px(true, moved, true, moved)) == 0.0
    assert median_known(np.full(3, np.nan)) is None
    assert median_known(np.array([1.0, 2.0, np.nan])) == 1.5
    assert share_within(np.empty(0), 1.0) is None
