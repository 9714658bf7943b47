"""Weights that come with the program: who uses them, and who does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.checkpoints import load_state
from engine.descriptors import networks
from engine.descriptors.networks import weights_to_load
from engine.descriptors.registry import build_descriptor, make_spec
from engine.errors import WeightsError
from engine.jobs.settings import TrainConfig, resolve_settings
from engine.jobs.train import TrainJob
from engine.progress import JobContext

NAMES = {"descspace-fast": "descspace", "descspace": "descspace", "msnet_v0": "msnet"}


@pytest.fixture
def resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of resources with broken weights: opening them raises an error."""
    weights = tmp_path / "resources" / "weights"
    weights.mkdir(parents=True)
    for name in set(NAMES.values()):
        (weights / f"{name}.safetensors").write_bytes(b"broken")
    monkeypatch.setattr(networks, "data_dir", lambda name: tmp_path / name)
    return tmp_path / "resources"


def test_a_persons_file_goes_before_the_shipped_one_and_random_weights_before_that(
    resources: Path, tmp_path: Path
):
    path = resources / "weights" / "msnet.safetensors"
    assert weights_to_load(None, "msnet") == path
    assert weights_to_load(tmp_path / "mine", "msnet") == tmp_path / "mine"
    assert weights_to_load(None, "msnet", untrained=True) is None
    assert weights_to_load(None, "other") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_descriptor_takes_the_shipped_weights_unless_it_is_to_be_untrained(
    resources: Path, name: str
):
    with pytest.raises(WeightsError, match=NAMES[name]):
        build_descriptor(make_spec(name))
    assert not build_descriptor(make_spec(name, {"untrained": True})).trained


def test_a_start_for_the_backbone_is_not_pushed_out_by_shipped_weights(
    resources: Path, tmp_path: Path
):
    (tmp_path / "resnet.pth").write_bytes(b"broken, too")
    with pytest.raises(WeightsError, match="resnet"):
        build_descriptor(make_spec("msnet_v0", {"imagenet_weights": tmp_path / "resnet.pth"}))


def test_training_begins_with_random_weights(resources: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    generator = np.random.default_rng(0)
    for number in range(4):
        picture = generator.integers(0, 255, (40, 56, 3), dtype=np.uint8)
        photos.joinpath(f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    config, own = resolve_settings(
        TrainConfig,
        overrides=[
            *("descriptor=descspace-fast", "train.steps=1", "train.batch=1", "train.width=64"),
            *("train.height=48", "train.points=20", "train.validation.every_steps=0"),
            *("train.saving.preview_every_steps=0",),
        ],
        flags={"device": "cpu", "train": {"photos": {"folder": photos}}},
    )
    run_dir = tmp_path / "run"
    TrainJob(config=config, own=own, run_dir=run_dir).run(JobContext())
    header = load_state(run_dir / "weights" / "last.safetensors")[1]
    assert header["descriptor"] == "descspace-fast"
    assert header["descriptor_settings"] == '{"half_share": 0.3, "quarter_share": 0.2}'
