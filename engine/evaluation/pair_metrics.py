"""What is measured of a pair beyond the PCK of its queries: the field's metrics, by their names.

A metric that the truth cannot tell is absent; one that is undefined, or failed, such as the error
of a homography that could not be estimated, is None.  All is in working pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.descriptors.base import Levels
from engine.evaluation.match_confidence import match_with_evidence
from engine.evaluation.match_field import Matches, grid_shape, match_both_ways, match_places
from engine.evaluation.metrics import calibration, dense_error, found_matches, stability
from engine.evaluation.metrics.estimators import homography_from, pose_from
from engine.evaluation.metrics.found_matches import FoundMatches
from engine.evaluation.metrics.homography_auc import corner_error_px
from engine.evaluation.metrics.pck_box import count_in_box, longest_side_px
from engine.evaluation.metrics.pose_auc import RelativePose, pose_error_deg
from engine.evaluation.pck import errors_px
from engine.evaluation.points import PairPoints, Points
from engine.evaluation.protocols import WorkingImage, grid_places
from engine.evaluation.switches import MetricSwitches
from engine.matching.confidence import WITHIN_PX, Calibration, weigh_evidence
from engine.matching.query_points import find_keypoints
from engine.matching.texture import texture_at
from engine.metrics import (
    BOX_ALPHAS,
    DENSE_THRESHOLDS_PX,
    EDGE_BANDS_PX,
    MMA_THRESHOLDS_PX,
    RETURN_THRESHOLDS_PX,
    MetricFamily,
    metric_name,
)
from engine.progress import CancelToken
from engine.truth.base import Truth, box_in, cameras_of, undistorted

Values = dict[str, float | None]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MeasuredMaps:
    """A pair, described and with its truth, and the matches of its grid, made when needed.

    Attributes:
        switches: what is measured, and how.
        images: both.
        levels: maps of both, a batch of one each.
        truth: between the working images.
        seed: of the estimators.
        cancel: checked once per block.
        calibration: what makes confidences of the evidence; None where the descriptor has none.
        vote_right: probability that the pair's vote is right; None where no pair votes.
    """

    switches: MetricSwitches
    images: tuple[WorkingImage, WorkingImage]
    levels: tuple[Levels, Levels]
    truth: Truth
    seed: int
    cancel: CancelToken
    calibration: Calibration | None = None
    vote_right: float | None = None

    def match(self, query_px: Points) -> Matches:
        """Match points of image a to the grid over image b."""
        return self._match(0, query_px)

    def match_back(self, query_px: Points) -> Matches:
        """Match points of image b to the grid over image a."""
        return self._match(1, query_px)

    @cached_property
    def field(self) -> Matches:
        """The matches of the grid over image a."""
        both_ways = self.switches.found_on == "grid" and self.switches.finds_matches
        return self._grids[0] if both_ways else self.match(self._grid(0))

    @cached_property
    def found(self) -> tuple[Points, FoundMatches]:
        """The points of image a that took part, and the mutual matches."""
        if self.switches.found_on == "grid":
            points_a, (there, back) = self._grid(0), self._grids
        else:
            points_a, points_b = (
                find_keypoints(image.pixels, self.switches.keypoint_limit) for image in self.images
            )
            if not (len(points_a) and len(points_b)):
                nothing = np.empty((0, 2))
                return points_a, FoundMatches(nothing, nothing, np.empty(0, np.float32))
            # A keypoint is where its detector says: there is nothing to refine.
            there, back = self._both_ways(points_a, points_b, refine_px=None)
        mutual = found_matches.mutual_pairs(there.index, back)[:, 0]
        ends, similarity = there.match_px[mutual], there.similarity[mutual]
        return points_a, FoundMatches(points_a[mutual], ends, similarity)

    @cached_property
    def found_errors(self) -> tuple[NDArray[np.float64], int]:
        """``(N,)`` errors of the mutual matches, and how many points have a place in image b."""
        points_a, found = self.found
        errors = found_matches.match_errors_px(
            found.points_b, self.truth.locate("a", found.points_a)
        )
        return errors, int(np.count_nonzero(self.truth.locate("a", points_a).seen))

    @cached_property
    def _grids(self) -> tuple[Matches, NDArray[np.int64]]:
        return self._both_ways(self._grid(0), self._grid(1), refine_px=self._refine_px)

    @property
    def _refine_px(self) -> float | None:
        return self.switches.grid_stride_px if self.switches.refined else None

    def _grid(self, side: int) -> Points:
        return grid_places(self.images[side].size_px, self.switches.grid_stride_px)

    def _both_ways(
        self, points_a: Points, points_b: Points, *, refine_px: float | None
    ) -> tuple[Matches, NDArray[np.int64]]:
        return match_both_ways(
            self.levels[0],
            points_a,
            self.levels[1],
            points_b,
            refine_px=refine_px,
            cancel=self.cancel,
        )

    def _match(self, side: int, query_px: Points) -> Matches:
        return match_places(
            self.levels[side],
            query_px,
            self.levels[1 - side],
            self._grid(1 - side),
            refine_px=self._refine_px,
            cancel=self.cancel,
        )


def measure_pair(maps: MeasuredMaps) -> Values:
    """The metrics that do not depend on queries."""
    chosen, values = maps.switches.chosen, Values()
    for family, measure in _OF_PAIRS.items():
        if family in chosen:
            values |= measure(maps)
    return values


def precision_curve(maps: MeasuredMaps) -> tuple[float, ...]:
    """The precision of the matches as found at each of :data:`~.found_matches.RECALLS`.

    Empty where these were not asked for, or where the truth does not tell.
    """
    if "found" not in maps.switches.chosen or maps.truth.listed_px is not None:
        return ()
    errors, partners = maps.found_errors
    limit, similarity = found_matches.AP_THRESHOLD_PX, maps.found[1].similarity
    return found_matches.precision_at_recalls(errors, similarity, limit, partners)


def count_confidences(maps: MeasuredMaps, points: PairPoints) -> Counts | None:
    """How many queries with texture have which confidence, and how many of these are right.

    Returns:
        ``(101, 2)``, see :mod:`engine.evaluation.metrics.calibration`; None where confidences were
        not asked for, or where there are none.
    """
    if "confidence" not in maps.switches.chosen or maps.calibration is None:
        return None
    textured = texture_at(maps.images[0].texture, points.query_px)
    found = match_with_evidence(
        maps.levels[0],
        points.query_px,
        maps.levels[1],
        textured,
        vote_right=maps.vote_right,
        cancel=maps.cancel,
    )
    sure = weigh_evidence(maps.calibration, found.evidence, textured)
    right = errors_px(found.match_px, points.true_px) <= WITHIN_PX
    return calibration.count_by_percent(sure, right)


def confidence_values(counts: Counts | None) -> Values:
    """What is measured of counts from :func:`count_confidences`."""
    if counts is None:
        return {}
    values = {name: float(one) for name, one in calibration.measure_counts(counts).items()}
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def measure_queries(maps: MeasuredMaps, points: PairPoints) -> Values:
    """The metrics of a list of queries; where the truth has a box, PCK of boxes is one of them."""
    chosen = maps.switches.chosen
    values = Values(_pck_of_box(maps, points, asked="box" in chosen))
    if "round_trip" in chosen:
        values |= _round_trip(maps, points)
    if "stability" in chosen:
        values |= _stability(maps, points)
    return values


# ---- of a list of queries ----------------------------------------------------------------------


def _pck_of_box(
    maps: MeasuredMaps, points: PairPoints, *, asked: bool
) -> Iterator[tuple[str, float]]:
    box = box_in(maps.truth, "b")
    errors, count = points.errors_px, len(points.query_px)
    if box is not None:
        for alpha in BOX_ALPHAS:
            right = count_in_box(errors, longest_side_px(box), alpha)
            yield metric_name("pck_box", alpha), right / count
    if asked:
        side = float(max(maps.images[1].size_px))
        for alpha in BOX_ALPHAS:
            yield metric_name("pck_image", alpha), count_in_box(errors, side, alpha) / count


def _round_trip(maps: MeasuredMaps, points: PairPoints) -> Values:
    there = maps.match(points.query_px)
    back = maps.match_back(there.match_px)
    distances = stability.round_trip_px(points.query_px, back.match_px)
    return _gaps("round_trip", "returned", distances)


def _stability(maps: MeasuredMaps, points: PairPoints) -> Values:
    if maps.truth.listed_px is not None:
        return {}
    query = points.query_px
    moved = query + stability.STEPS_PX[:, None]
    match = maps.match(query).match_px
    moved_match = maps.match(moved.reshape(-1, 2)).match_px.reshape(moved.shape)
    true = maps.truth.locate("a", query).seen_px
    moved_true = maps.truth.locate("a", moved.reshape(-1, 2)).seen_px.reshape(moved.shape)
    return _gaps(
        "stability", "steady", stability.stability_px(match, moved_match, true, moved_true)
    )


def _gaps(median: str, share: str, distances_px: NDArray[np.float64]) -> Values:
    values: Values = {median: stability.median_known(distances_px)}
    for limit in RETURN_THRESHOLDS_PX:
        values[metric_name(share, limit)] = stability.share_within(distances_px, limit)
    return values


# ---- of a pair ---------------------------------------------------------------------------------


def _dense(maps: MeasuredMaps) -> Values:
    if maps.truth.listed_px is not None:
        return {}
    width, height = size_px = maps.images[0].size_px
    stride_px = maps.switches.grid_stride_px
    shape = (*grid_shape(size_px, stride_px), 2)
    spread = dense_error.spread_matches(maps.field.match_px.reshape(shape), stride_px, size_px)
    match_px, true = spread.reshape(-1, 2), maps.truth.locate("a", grid_places(size_px, 1))
    values = _dense_values("", dense_error.pixel_errors_px(match_px, true, occluded=False))
    if maps.truth.matrix_from("a") is not None:  # a plane hides nothing and has no depth edges
        return values
    values |= _dense_values("_all", dense_error.pixel_errors_px(match_px, true, occluded=True))
    distances = dense_error.edge_distances_px(true.points_px.reshape(height, width, 2))
    bands = list(zip(EDGE_BANDS_PX, (*EDGE_BANDS_PX[1:], np.inf), strict=True))
    errors = np.where(true.seen, dense_error.all_errors_px(match_px, true), np.nan)
    means = dense_error.error_by_band(errors, distances.ravel(), bands)
    for start, mean in zip(EDGE_BANDS_PX, means, strict=True):
        values[metric_name("edge_error", start)] = mean
    return values


def _dense_values(suffix: str, errors_px: NDArray[np.float64]) -> Values:
    summed = dense_error.sum_up(errors_px, DENSE_THRESHOLDS_PX)
    shares = summed.pck or (None,) * len(DENSE_THRESHOLDS_PX)
    values: Values = {f"aepe{suffix}": summed.aepe_px}
    for limit, share in zip(DENSE_THRESHOLDS_PX, shares, strict=True):
        values[metric_name(f"dense_pck{suffix}", limit)] = share
    return values


def _found(maps: MeasuredMaps) -> Values:
    if maps.truth.listed_px is not None:
        return {}
    _, found = maps.found
    errors, partners = maps.found_errors
    limit = found_matches.AP_THRESHOLD_PX
    places = grid_places(maps.images[0].size_px, maps.switches.grid_stride_px)
    area = places[maps.truth.locate("a", places).seen]
    right_px, radius_px = found.points_a[errors <= limit], found_matches.COVERAGE_RADIUS_PX
    accuracy = found_matches.matching_accuracy(errors, MMA_THRESHOLDS_PX)
    return {
        "matches": float(len(found.points_a)),
        **{
            metric_name("mma", at): one for at, one in zip(MMA_THRESHOLDS_PX, accuracy, strict=True)
        },
        "ap": found_matches.average_precision(errors, found.similarity, limit, partners),
        "coverage": found_matches.coverage(right_px, area, radius_px),
    }


def _homography(maps: MeasuredMaps) -> Values:
    h_b_from_a = maps.truth.matrix_from("a")
    if h_b_from_a is None:
        return {}
    _, found = maps.found
    estimated = homography_from(
        maps.switches.estimator,
        found.points_a,
        found.points_b,
        inlier_px=maps.switches.inlier_px,
        seed=maps.seed,
    )
    error = corner_error_px(estimated, h_b_from_a, maps.images[0].size_px)
    return {metric_name("corner_error", settings=maps.switches.estimator_words): error}


def _pose(maps: MeasuredMaps) -> Values:
    cameras = cameras_of(maps.truth)
    if cameras is None:
        return {}
    (matrix_a, a_from_world), (matrix_b, b_from_world) = cameras
    _, found = maps.found
    straight_a = undistorted(maps.truth, "a", found.points_a)
    straight_b = undistorted(maps.truth, "b", found.points_b)
    shown = np.isfinite(straight_a).all(axis=1) & np.isfinite(straight_b).all(axis=1)
    estimated = pose_from(
        maps.switches.estimator,
        straight_a[shown],
        straight_b[shown],
        (matrix_a, matrix_b),
        inlier_px=maps.switches.inlier_px,
        seed=maps.seed,
    )
    error = pose_error_deg(estimated, RelativePose.between(a_from_world, b_from_world))
    return {metric_name("pose_error", settings=maps.switches.estimator_words): error}


_OF_PAIRS: Mapping[MetricFamily, Any] = {
    "dense": _dense,
    "found": _found,
    "homography": _homography,
    "pose": _pose,
}
