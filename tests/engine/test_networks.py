"""Networks made without weights: they use no random number and import nothing slow."""

import sys

import pytest
import torch

from engine.descriptors.networks import empty_network
from engine.descriptors.superpoint import SuperPointNetwork


def test_random_numbers_of_others_stay_as_they_were() -> None:
    before = torch.random.get_rng_state()
    network = empty_network(SuperPointNetwork)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert {weight.device.type for weight in network.state_dict().values()} == {"cpu"}


def test_making_a_network_does_not_import_symbolic_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.symbolic_shapes", None)
    empty_network(SuperPointNetwork)
