"""Confidences of matches against plain loops, planted matches, and conditions they hold under."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.descriptors.registry import make_spec
from engine.matching import confidence
from engine.matching.confidence import (
    Calibration,
    Evidence,
    Uncalibrated,
    calibration_file,
    find_calibration,
    neighbours_agree,
    weigh_evidence,
    weights_sha256,
)
from engine.paths import data_dir

Points = NDArray[np.float64]


def loop_over_neighbours(points_a: Points, points_b: Points, trusted: NDArray[np.bool_]) -> list:
    """The definition, one query and one pair of neighbours at a time."""
    found = []
    asked = [j for j in range(len(points_a)) if trusted[j] and np.isfinite(points_b[j]).all()]
    for i in range(len(points_a)):
        far = {j: math.dist(points_a[i], points_a[j]) for j in asked}
        near = sorted((j for j in asked if far[j] >= 8), key=lambda j: far[j])[:8]
        if len(near) < 3:
            found.append(math.nan)
            continue
        best = 0
        for one in near:
            gap_a, gap_b = points_a[one] - points_a[i], points_b[one] - points_b[i]
            growth = math.hypot(*gap_b) / math.hypot(*gap_a)
            if not 1 / 8 <= growth <= 8:
                continue
            turn = math.atan2(gap_b[1], gap_b[0]) - math.atan2(gap_a[1], gap_a[0])
            rotated = growth * np.array(
                [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
            )
            count = 0
            for other in near:
                expected = rotated @ (points_a[other] - points_a[i])
                off = math.dist(points_b[other] - points_b[i], expected)
                count += other != one and off <= max(3, 0.3 * math.hypot(*expected))
            best = max(best, count)
        found.append(best / (len(near) - 1))
    return found


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9, 80])
def test_the_agreement_of_neighbours_is_that_of_a_loop(count: int):
    random = np.random.default_rng(count)
    points_a = random.uniform(0, 200, (count, 2))
    points_b = bent(points_a)
    wrong = random.random(count) < 0.3
    points_b[wrong] = random.uniform(0, 200, (int(wrong.sum()), 2))
    points_b[random.random(count) < 0.05] = np.nan
    trusted = random.random(count) < 0.9
    twice = count // 20
    points_a[:twice] = points_a[twice : 2 * twice]
    trusted[:twice] = False  # or ties would make the choice of the nearest arbitrary
    expected = loop_over_neighbours(points_a, points_b, trusted)
    found = neighbours_agree(points_a, points_b, trusted, at_once=7)
    known = np.isfinite(points_b).all(axis=1)
    np.testing.assert_allclose(found[known], np.array(expected)[known] if count else [])


def bent(points: Points) -> Points:
    """A smooth movement that no plane makes, turned by 50° and half as large again."""
    x, y = points.T
    waves = np.stack([6 * np.sin(y / 40) + 2e-4 * x * y, 5 * np.cos(x / 50)], axis=1)
    turn = 1.5 * np.array([[0.643, -0.766], [0.766, 0.643]])
    return points @ turn.T + waves


def test_neighbours_agree_about_right_matches_on_a_bent_surface_and_not_about_wrong_ones():
    random = np.random.default_rng(0)
    points_a = random.uniform(0, 400, (500, 2))
    points_b = bent(points_a) + random.normal(0, 0.7, (500, 2))
    wrong = random.random(500) < 0.2
    points_b[wrong] = random.uniform(-300, 500, (int(wrong.sum()), 2))
    found = neighbours_agree(points_a, points_b, np.ones(500, np.bool_))
    assert np.median(found[~wrong]) > 0.6
    assert np.median(found[wrong]) < 0.2
    assert (found[~wrong].mean() - found[wrong].mean()) > 0.4


def test_matches_that_collapse_onto_one_place_do_not_agree():
    random = np.random.default_rng(0)
    points_a = random.uniform(0, 400, (200, 2))
    points_b = np.full((200, 2), 55.0) + random.normal(0, 0.1, (200, 2))
    assert neighbours_agree(points_a, points_b, np.ones(200, np.bool_)).max() == 0


def test_many_queries_have_no_more_witnesses_than_few():
    random = np.random.default_rng(0)
    few = random.uniform(0, 640, (1000, 2))
    many = np.concatenate([few, few + random.uniform(-3, 3, (1000, 2))])
    found = neighbours_agree(many, bent(many), np.ones(2000, np.bool_))
    assert np.isfinite(found).all()
    assert found.mean() > 0.9


# ---- weights -----------------------------------------------------------------------------------

MADE_UP = Calibration(
    alone={
        "most": 1.0,
        "constant": -2.0,
        "similarity": 3.0,
        "log_ratio": -0.5,
        "log_cycle": -0.4,
        "vote": 0.3,
    },
    together={
        "most": 0.9,
        "constant": -3.0,
        "similarity": 1.0,
        "log_ratio": -0.7,
        "agreement": 4.0,
    },
)


def test_a_confidence_is_the_logistic_function_of_the_weighed_evidence():
    evidence = Evidence(
        similarity=np.array([0.9, 0.2, 0.5], np.float32),
        ratio=np.array([0.5, 1.0, 0.001], np.float32),
        cycle_px=np.array([0.0, 1e9, 3.0]),
        agreement=np.array([1.0, np.nan, np.nan]),
        vote_right=0.8,
    )
    scores = [
        -3 + 0.9 - 0.7 * math.log(0.5) + 4,
        -2 + 0.6 - 0.4 * math.log2(257) + 0.3 * math.log(4),
        -2 + 1.5 - 0.5 * math.log(0.02) - 0.8 + 0.3 * math.log(4),
    ]
    most = (0.9, 1.0, 1.0)
    expected = [one / (1 + math.exp(-score)) for one, score in zip(most, scores, strict=True)]
    np.testing.assert_allclose(MADE_UP.confidence(evidence), expected, rtol=1e-5)
    told = np.array([True, True, False])
    found = weigh_evidence(MADE_UP, evidence, told)
    assert np.isnan(found).tolist() == [False, False, True]
    assert np.isnan(weigh_evidence(Uncalibrated("daisy"), evidence, told)).all()


def test_without_a_vote_that_the_weights_need_nothing_is_known():
    one = np.ones(1)
    evidence = Evidence(one, one, one, np.array([np.nan]))
    assert np.isnan(MADE_UP.confidence(evidence)).all()
    sure = Evidence(one, one, one, np.array([np.nan]), vote_right=1.0)
    assert np.isfinite(MADE_UP.confidence(sure)).all()


@pytest.fixture
def calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights for two descriptors, and nothing else."""
    path = tmp_path / "confidence.json"
    weights = {"alone": dict(MADE_UP.alone), "together": dict(MADE_UP.together)}
    one = {"weights_sha256": weights_sha256(make_spec("descspace-fast"))} | weights
    two = {"weights_sha256": None} | weights
    path.write_text(json.dumps({"descriptors": {"descspace-fast": one, "daisy": two}}))
    monkeypatch.setattr(confidence, "calibration_file", lambda: path)
    return path


@pytest.mark.parametrize("name", ["descspace-fast", "daisy"])
def test_weights_hold_for_the_descriptor_they_were_fitted_to(calibrated: Path, name: str):
    found = find_calibration(make_spec(name), separation_px=16.0)
    assert isinstance(found, Calibration)
    assert (found.alone, found.together) == (MADE_UP.alone, MADE_UP.together)
    assert len(found.sha256) == 64


def test_the_shipped_weights_may_be_named(calibrated: Path):
    shipped = data_dir("resources") / "weights" / "descspace.safetensors"
    found = find_calibration(make_spec("descspace-fast", {"weights": shipped}), separation_px=16.0)
    assert isinstance(found, Calibration)


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("msnet_v0", {}, "msnet_v0"),
        ("daisy", {"rings": 2}, "daisy with these settings"),
    ],
)
def test_other_descriptors_and_settings_are_not_calibrated(
    calibrated: Path, name: str, settings: dict, reason: str
):
    found = find_calibration(make_spec(name, settings), separation_px=16.0)
    assert found == Uncalibrated(reason)


def test_matches_at_centres_of_cells_are_not_calibrated(calibrated: Path):
    found = find_calibration(make_spec("daisy"), separation_px=16.0, refined=False)
    assert found == Uncalibrated("matches that are not refined")


def test_matches_that_neighbours_chose_are_not_calibrated(calibrated: Path):
    found = find_calibration(make_spec("daisy"), separation_px=16.0, matcher="consensus")
    assert found == Uncalibrated("matches by consensus")


@pytest.mark.parametrize("separation_px", [15.5, 17.0, 64.0])
def test_ratios_to_second_matches_at_another_distance_are_not_calibrated(
    calibrated: Path, separation_px: float
):
    found = find_calibration(make_spec("daisy"), separation_px=separation_px)
    expected = f"second best matches at least {separation_px:g} px away instead of 16 px"
    assert found == Uncalibrated(expected)


def test_other_weights_of_the_network_are_not_calibrated(calibrated: Path, tmp_path: Path):
    other = tmp_path / "other.safetensors"
    shipped = data_dir("resources") / "weights" / "descspace.safetensors"
    other.write_bytes(shipped.read_bytes()[:-1] + b"\x00")
    found = find_calibration(make_spec("descspace-fast", {"weights": other}), separation_px=16.0)
    assert found == Uncalibrated("descspace-fast with these weights")


def test_shipped_calibrations_have_a_card_and_weights_of_known_evidence():
    values = json.loads(calibration_file().read_text(encoding="utf-8"))
    assert {"what", "command", "seed", "pairs"} <= set(values["card"])
    assert "descspace" in values["descriptors"]
    for fitted in values["descriptors"].values():
        assert fitted["pairs"] > 10
        alone, together = set(fitted["alone"]), set(fitted["together"])
        assert together - alone == {"agreement"}
        assert alone - {"constant", "most"} < set(Evidence.NAMES)
        assert 0.9 <= fitted["alone"]["most"] <= 1
        # More of what speaks for a match never makes it less sure.
        assert fitted["alone"]["similarity"] > 0
        assert fitted["together"]["agreement"] > 0
        assert max(fitted["alone"]["log_cycle"], fitted["together"]["log_cycle"]) < 0
