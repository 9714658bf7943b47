"""Which side of a horizon counts: pairs whose horizon crosses each corner, wherever it matters.

The truth is a loop over pixels with the depth that the homographies were built from.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.layouts import open_pair_set
from engine.descriptors.registry import make_spec
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.stress import choose_stress
from engine.geometry.homography import read_homography, warp_image
from engine.geometry.visibility import covisible, facing
from engine.images import read_size
from engine.inspection.requests import MatchRequest, ProbeRequest, Recipe
from engine.inspection.session import Session
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext
from engine.truth.homography import HomographySource

SIZE_PX = (96, 72)
CORNERS = ((0, 0), (95, 0), (0, 71), (95, 71))
CENTRE = np.array([47.5, 35.5])
DAISY = {"stride_px": 4, "rings": 1, "radius_px": 6.0}


def depth_of(corner: tuple[int, int]) -> np.ndarray:
    """``(3,)`` the depth: 1 at the centre, 0 a fifth of the way from the corner to it."""
    away = np.array(corner) - CENTRE
    slope = -away / (0.8 * away @ away)
    return np.array([*slope, 1 - slope @ CENTRE])


def crossed(corner: tuple[int, int], *, mirrored: bool) -> np.ndarray:
    """``h_b_from_a`` that leaves the centre in place, by the depth of the corner."""
    depth = depth_of(corner)
    numerators = np.array([[1.0, 0, -CENTRE[0]], [0, 1.0, -CENTRE[1]]])
    if mirrored:
        numerators[0] *= -1
    return np.stack([*(row + place * depth for row, place in
                       zip(numerators, CENTRE, strict=True)), depth])  # fmt: skip


def seen_by_a_loop(h_b_from_a: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """``(H, W)`` True for pixels of image a before the horizon that land inside image b."""
    width, height = SIZE_PX
    seen = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            u, v, w = h_b_from_a @ [x, y, 1]
            inside = 0 <= u / w <= width - 1 and 0 <= v / w <= height - 1
            seen[y, x] = depth @ [x, y, 1] > 0 and inside
    return seen


def all_pixels() -> np.ndarray:
    xs, ys = np.meshgrid(np.arange(SIZE_PX[0]), np.arange(SIZE_PX[1]))
    return np.stack([xs, ys], axis=-1).astype(np.float64)


def write_sequence(folder: Path, matrices: list[np.ndarray]) -> None:
    """Soft noise, drawn again through each homography; files as ``[2, 2]`` = 1 or ±."""
    folder.mkdir(parents=True)
    noise = cv2.GaussianBlur(
        np.random.default_rng(3).uniform(-1, 1, (SIZE_PX[1], SIZE_PX[0], 3)), (0, 0), 2.0
    )
    first = (255 * (0.5 + noise / (4 * noise.std())).clip(0, 1)).astype(np.uint8)
    cv2.imwrite(str(folder / "1.png"), first)
    for number, matrix in enumerate(matrices, start=2):
        cv2.imwrite(str(folder / f"{number}.png"), warp_image(first, matrix, SIZE_PX))
        np.savetxt(folder / f"H_1_{number}", matrix / matrix[2, 2])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("factor", [1.0, -3.0])
def test_the_side_of_the_horizon_that_both_images_show_is_in_front(corner, mirrored, factor):
    truth = crossed(corner, mirrored=mirrored)
    expected = seen_by_a_loop(truth, depth_of(corner))
    assert 0.5 < expected.mean() < 1
    found = facing(factor * truth, SIZE_PX, SIZE_PX)
    np.testing.assert_allclose(found, abs(factor) * truth)
    np.testing.assert_array_equal(covisible(all_pixels(), found, SIZE_PX), expected)


def test_a_horizon_outside_the_image_leaves_all_of_it_in_front_mirrored_or_not():
    tilted = np.array([[1.0, 0.1, 3], [0, 1.2, 1], [1e-3, -2e-3, 1]])
    flip = np.diag([-1.0, 1, 1])
    flip[0, 2] = 95
    for matrix in (tilted, flip @ tilted):
        for factor in (2.0, -0.5):
            np.testing.assert_array_equal(
                facing(factor * matrix, SIZE_PX, SIZE_PX), abs(factor) * matrix
            )


def test_where_both_sides_of_the_horizon_share_the_unmirrored_one_counts():
    # A floor before a low camera, seen by one ahead of it that sees its own horizon, too: what lies
    # behind the second camera is carried into its sky, and is the larger part of image a.
    lens = np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])

    def camera(height: float, ahead: float, pitch_deg: float) -> np.ndarray:
        """``image_from_floor`` (sideways, ahead), y down."""
        turn = np.radians(pitch_deg)
        axes = np.array(
            [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
        )
        return lens @ axes @ np.array([[1, 0, 0], [0, 0, height], [0, 1, -ahead]])

    h_b_from_a = camera(1.5, 4.0, 5.0) @ np.linalg.inv(camera(1.5, 0.0, 20.0))
    assert np.linalg.det(h_b_from_a) > 0
    size_px = (640, 480)
    assert (np.sign([h_b_from_a[2] @ [320, y, 1] for y in (0, 479)]) == [1, -1]).all()
    np.testing.assert_array_equal(facing(-h_b_from_a, size_px, size_px), h_b_from_a)


@pytest.mark.parametrize("mirrored", [False, True])
def test_every_corner_is_evaluated_also_under_stress(tmp_path, mirrored):
    matrices = [crossed(corner, mirrored=mirrored) for corner in CORNERS]
    write_sequence(tmp_path / "set" / "v_crossed", matrices)
    config = EvaluateConfig(
        dataset=str(tmp_path / "set"), descriptor=("daisy",), device="cpu", long_edge_px=96,
        query_limit=5000, protocol="closed",
    )  # fmt: skip
    choices = choose_descriptors(config, DAISY)
    result = EvaluateJob(config=config, choices=choices, out=tmp_path / "run").run(JobContext())
    assert result.left_out == ()
    rows = {row.index: row for row in result.pairs}
    # A tenth of the pixels are Harris queries, and most of them are seen.
    assert all(rows[number].count > 300 for number in (2, 3, 4, 5))
    rotated = open_evaluation_set(f"rotated:{tmp_path / 'set'}")
    for one, matrix in zip(rotated.groups[0], matrices, strict=True):
        turn = choose_stress("rotated", "v_crossed", one.pair.index).matrix(SIZE_PX)
        found = one.open_truth(SIZE_PX, SIZE_PX).matrix_from("a")
        scale = np.linalg.norm(found) / np.linalg.norm(turn @ matrix)
        np.testing.assert_allclose(found, scale * turn @ matrix, atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_matches_and_probes_know_the_truth_behind_every_corner(tmp_path, number, mirrored):
    corner = CORNERS[number]
    matrix = crossed(corner, mirrored=mirrored)
    write_sequence(tmp_path / "v_crossed", [matrix])
    (pair,) = open_pair_set(tmp_path / "v_crossed").pairs()
    how = Recipe(spec=make_spec("daisy", DAISY), long_edge_px=96, device="cpu")
    session = Session()
    table = session.match(
        MatchRequest(pair=pair, recipe=how, points="grid", count=400), JobContext()
    )
    depth = np.column_stack([table.points_a, np.ones(len(table.points_a))]) @ depth_of(corner)
    moved = np.column_stack([table.points_a, np.ones(len(table.points_a))]) @ matrix.T
    places = moved[:, :2] / moved[:, 2:]
    seen = (depth > 0) & ((places >= 0) & (places <= np.array(SIZE_PX) - 1)).all(axis=1)
    assert 0.5 < seen.mean() < 1
    np.testing.assert_array_equal(np.isfinite(table.error_px), seen)
    for side in ("a", "b"):
        answer = session.probe(
            ProbeRequest(pair=pair, recipe=how, side=side, point_px=(47.5, 35.5))
        )
        assert answer.truth_px == pytest.approx((47.5, 35.5))
    winners = session.winners(pair, how, "a")
    assert winners.true_scale is not None
    assert np.isfinite(winners.true_scale.values).mean() > 0.8


def test_the_planar_pairs_open_whole(shared_data):
    folder = shared_data / "homogr"
    if not folder.is_dir():
        pytest.skip("the planar pairs are not there")
    files = sorted(folder.glob("*_H_A_to_B.txt"))
    assert files
    for path in files:
        image_a, image_b = (path.with_name(path.name.split("_H_")[0] + f"{s}.jpg") for s in "AB")
        size_a_px, size_b_px = read_size(image_a), read_size(image_b)
        for factor in (1, -1):
            truth = HomographySource.of(factor * read_homography(path))
            h_b_from_a = truth.open(size_a_px, size_b_px).h_b_from_a
            xs, ys = np.meshgrid(np.arange(0, size_a_px[0], 8), np.arange(0, size_a_px[1], 8))
            seen = covisible(np.stack([xs, ys], axis=-1), h_b_from_a, size_b_px)
            assert seen.mean() > 0.1, path.name
            assert np.linalg.det(h_b_from_a) > 0
