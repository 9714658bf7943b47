"""The shipped recipes of MSNet, and one network's weights in all three variants."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.checkpoints import load_state
from engine.config import read_yaml
from engine.descriptors.registry import build_descriptor, make_spec
from engine.jobs.export import ExportJob
from engine.jobs.settings import TrainConfig, differing, resolve_settings
from engine.jobs.train import TrainJob
from engine.paths import data_dir
from engine.progress import JobContext

COCO_TRAINING_PHOTOS = 118_287
TINY = (
    *("train.steps=2", "train.width=48", "train.height=32", "train.points=30"),
    *("train.validation.every_steps=0", "train.saving.preview_every_steps=0", "device=cpu"),
)


def read_recipe(name: str, *overrides: str, photos: Path | None = None) -> TrainConfig:
    file = data_dir("resources") / "configs" / f"{name}.yaml"
    flags = {"train": {"photos": {"folder": photos}}}
    return resolve_settings(
        TrainConfig, from_file=read_yaml(file), overrides=overrides, flags=flags
    )[0]


@pytest.mark.parametrize("name", ["msnet_v0", "msnet_v1", "msnet_v2"])
def test_the_originals_recipe_is_followed_in_every_figure(name: str):
    """Against the facts known of the published code."""
    config = read_recipe(name)
    train = config.train
    assert config.descriptor == name
    assert train.steps == 3 * COCO_TRAINING_PHOTOS  # epochs, at one pair a step
    assert (train.batch, train.size_px, train.points) == (1, (320, 240), 3000)
    assert train.photo_size_px == (320, 240)
    warp = train.warp
    assert (warp.scale_low, warp.scale_high) == (0.9, 1.0)
    assert (warp.rotation_deg, warp.perspective) == (7.5, 0.6)
    assert (warp.relative_octaves, warp.relative_rotation_deg) == (0, 0)
    light = train.light  # JPEG, blur, noise, motion blur and jitter, and nothing else
    assert min(light.jpeg_share, light.blur_share, light.noise_share, light.motion_share) > 0
    assert min(light.brightness, light.contrast, light.saturation, light.hue_deg) > 0
    assert (light.gamma_octaves, light.local_light_share, light.shadow_share) == (0, 0, 0)
    mining, loss = train.mining, train.loss
    # Four cells of the map; every cell a candidate, where the original saw one in sixteen.
    assert (mining.kind, mining.radius_px, mining.interval) == ("hard", 16, 1)
    assert (loss.kind, loss.margin, loss.levels) == ("contrastive", 0.5, "first")
    optimiser = train.optimiser
    assert (optimiser.kind, optimiser.rate, optimiser.weight_decay) == ("adam", 1e-4, 5e-4)
    assert (optimiser.schedule, optimiser.warmup_steps) == ("constant", 0)
    assert (optimiser.clip_norm, optimiser.ema) == (0, 0)
    assert train.validation.every_steps == 1000
    assert train.validation.sequences is None  # never pairs of the test set


@pytest.mark.parametrize("name", ["msnet_v1", "msnet_v2"])
def test_the_three_recipes_differ_in_the_descriptor_alone(name: str):
    assert differing(read_recipe("msnet_v0"), read_recipe(name)) == ("descriptor",)


def test_v1_with_both_scales_differs_from_v1_in_the_loss_alone_and_an_override_does_the_same():
    both = read_recipe("msnet_v1_both")
    assert differing(read_recipe("msnet_v1"), both) == ("train.loss.levels",)
    assert both == read_recipe("msnet_v1", "train.loss.levels=all")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(4):
        noise = generator.uniform(0, 255, (40, 56, 3)).astype(np.float32)
        picture = np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 127) * 5 + 127, 0, 255)
        encoded = cv2.imencode(".png", picture.astype(np.uint8))[1]
        (folder / f"{number}.png").write_bytes(encoded.tobytes())
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported weights, two steps by each recipe."""
    files = {}
    folder = tmp_path_factory.mktemp("trained")
    for name in ("msnet_v0", "msnet_v1", "msnet_v1_both"):
        config = read_recipe(name, *TINY, photos=photos)
        TrainJob(config=config, run_dir=folder / name).run(JobContext())
        files[name] = folder / f"{name}.safetensors"
        ExportJob(source=folder / name, out=files[name], which="last").run(JobContext())
    return files


def largest_difference(one: Path, other: Path) -> float:
    weights, others = load_state(one)[0], load_state(other)[0]
    assert set(weights) == set(others)
    return max(float((weights[k].double() - others[k].double()).abs().max()) for k in weights)


def test_the_originals_v1_learns_the_weights_of_v0_and_both_scales_teach_others(
    trained: dict[str, Path],
):
    assert largest_difference(trained["msnet_v0"], trained["msnet_v1"]) == 0
    assert largest_difference(trained["msnet_v1"], trained["msnet_v1_both"]) > 1e-5


def describe(name: str, weights: Path, **own: object) -> list[Tensor]:
    descriptor = build_descriptor(make_spec(name, {"weights": str(weights), **own}))
    assert descriptor.trained
    images = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return [level.values for level in descriptor.describe(images)]


def test_exported_weights_of_v0_serve_v1_and_v2_although_their_card_names_v0(
    trained: dict[str, Path],
):
    weights = trained["msnet_v0"]
    assert load_state(weights)[1]["descriptor"] == "msnet_v0"
    (v0,) = describe("msnet_v0", weights)
    full, half = describe("msnet_v1", weights)
    assert torch.equal(full, v0)
    assert not torch.allclose(half, v0, atol=1e-2)
    (at_one,) = describe("msnet_v2", weights)
    torch.testing.assert_close(at_one, v0)
    (at_two,) = describe("msnet_v2", weights, scale=2.0)
    torch.testing.assert_close(at_two, half)


def test_weights_of_both_scales_serve_v0_too(trained: dict[str, Path]):
    (v0,) = describe("msnet_v0", trained["msnet_v1_both"])
    assert torch.equal(v0, describe("msnet_v1", trained["msnet_v1_both"])[0])
