"""What the program says about weights is what is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.checkpoints import save_safetensors
from engine.cli.commands.descriptors import as_text
from engine.descriptors.registry import (
    build_descriptor,
    get_descriptor,
    list_descriptors,
    make_spec,
    weights_in_use,
)
from engine.weight_titles import NO_WEIGHTS, RANDOM_WEIGHTS, SHIPPED_WEIGHTS, weights_title


@pytest.mark.parametrize(
    ("values", "words"),
    [({}, SHIPPED_WEIGHTS), ({"untrained": True}, RANDOM_WEIGHTS)],
)
@pytest.mark.parametrize("name", ["descspace", "descspace-fast", "msnet_v0", "msnet_v2_estimated"])
def test_what_is_said_of_weights_is_what_the_built_network_has(name, values, words):
    get_descriptor(name)
    built = build_descriptor(make_spec(name, values))
    assert weights_in_use(name, values) == words
    assert built.trained == (words == SHIPPED_WEIGHTS)


def test_a_file_a_start_of_the_backbone_and_a_missing_file_are_told(tmp_path: Path):
    list_descriptors()
    assert weights_in_use("descspace", {"weights": str(tmp_path / "mine.pt")}) == "mine.pt"
    start = {"imagenet_weights": str(tmp_path / "resnet18.pth")}
    assert weights_in_use("msnet_v0", start) == RANDOM_WEIGHTS
    assert weights_in_use("superpoint") == NO_WEIGHTS
    assert weights_in_use("daisy") == ""
    assert weights_in_use("not there") == ""
    for name, words in (("descspace", SHIPPED_WEIGHTS), ("superpoint", NO_WEIGHTS)):
        assert f"default {words}" in " ".join(as_text(get_descriptor(name)).split())


def test_weights_of_a_training_run_are_named_by_run_and_step(tmp_path: Path):
    folder = tmp_path / "quick-3" / "weights"
    folder.mkdir(parents=True)
    best = folder / "best.safetensors"
    save_safetensors(best, {"a": torch.zeros(2)}, {"step": "600"})
    assert weights_title(best) == "quick-3, step 600 (best)"
    assert weights_title(folder / "step-00000500.safetensors") == "quick-3, step 500"
    (folder / "last.safetensors").write_bytes(b"\xff" * 40)
    assert weights_title(folder / "last.safetensors") == "quick-3, last"
    assert weights_title(tmp_path / "elsewhere" / "mine.pth") == "mine.pth"
    save_safetensors(best, {"a": torch.zeros(3)}, {"step": "700"})
    assert weights_title(best) == "quick-3, step 700 (best)"
