"""Confidences of matches against the formula, and the conditions they hold under."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engine.descriptors.registry import make_spec
from engine.matching import confidence
from engine.matching.confidence import (
    Calibration,
    Evidence,
    Uncalibrated,
    calibration_file,
    find_calibration,
    weigh_evidence,
    weights_sha256,
)
from engine.matching.local_motion import LocalMotion
from engine.matching.plane_motion import PlaneMotion
from engine.paths import data_dir

MADE_UP = Calibration(
    alone={
        "most": 1.0,
        "constant": -2.0,
        "similarity": 3.0,
        "log_ratio": -0.5,
        "log_cycle": -0.4,
        "log_ratio_x_log_cycle": 0.1,
        "vote": 0.3,
    },
    together={
        "most": 0.9,
        "constant": -3.0,
        "similarity": 1.0,
        "log_ratio": -0.7,
        "agreement": 4.0,
        "log_residual": -0.6,
        "returning": 0.8,
        "similarity_x_returning": 1.5,
        "plane_share": -0.9,
        "off_plane": -2.0,
    },
)

NO_OTHERS = (LocalMotion.unknown(1), PlaneMotion.unknown(1))


def test_a_confidence_is_the_logistic_function_of_the_weighed_evidence():
    evidence = Evidence(
        similarity=np.array([0.9, 0.2, 0.5], np.float32),
        ratio=np.array([0.5, 0.5, 0.001], np.float32),
        cycle_px=np.array([0.0, 1e9, 3.0]),
        motion=LocalMotion(
            np.array([1.0, np.nan, 0.5]), np.array([1.0, np.nan, 1e9]), np.array([0.5, np.nan, 1.0])
        ),
        plane=PlaneMotion(0.6, np.array([7.0, 0.0, np.inf])),
        vote_right=0.8,
    )
    plane = -0.9 * 0.6
    scores = [
        -3 + 0.9 - 0.7 * math.log(0.5) + 4 - 0.6 + 0.5 * (0.8 + 1.5 * 0.9) + plane - 0.72 * 3,
        -2
        + 0.6
        - 0.5 * math.log(0.5)
        - 0.4 * math.log2(17)
        + 0.1 * math.log(0.5) * math.log2(17)
        + 0.3 * math.log(4),
        -3
        + 0.5
        - 0.7 * math.log(0.02)
        + 2
        - 0.6 * math.log2(7)
        + 0.8
        + 1.5 * 0.5
        + plane
        - 0.72 * math.log2(17),
    ]
    most = (0.9, 1.0, 0.9)
    expected = [one / (1 + math.exp(-score)) for one, score in zip(most, scores, strict=True)]
    np.testing.assert_allclose(MADE_UP.confidence(evidence), expected, rtol=1e-5)
    told = np.array([True, True, False])
    found = weigh_evidence(MADE_UP, evidence, told)
    assert np.isnan(found).tolist() == [False, False, True]
    assert np.isnan(weigh_evidence(Uncalibrated("daisy"), evidence, told)).all()


def test_without_a_vote_that_the_weights_need_nothing_is_known():
    one = np.ones(1)
    evidence = Evidence(one, one, one, *NO_OTHERS)
    assert np.isnan(MADE_UP.confidence(evidence)).all()
    sure = Evidence(one, one, one, *NO_OTHERS, vote_right=1.0)
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
        assert together - alone == set(Evidence.OF_OTHER_MATCHES)
        assert alone - {"constant", "most"} < set(Evidence.NAMES)
        assert 0.9 <= fitted["alone"]["most"] <= 1
        # More of what speaks for a match never makes it less sure.
        assert fitted["alone"]["similarity"] > 0
        assert fitted["together"]["agreement"] > 0
        assert fitted["together"]["log_residual"] < 0
        assert fitted["together"]["off_plane"] < 0
        assert max(fitted["alone"]["log_cycle"], fitted["together"]["log_cycle"]) < 0
