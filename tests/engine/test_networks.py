"""Networks made without weights use no random number and import nothing slow; folded ones agree."""

import copy
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from engine.descriptors.compute import get_built
from engine.descriptors.descspace_network import DescSpaceNetwork
from engine.descriptors.msnet import MSNetNetwork
from engine.descriptors.networks import empty_network, fold_norms, make_network
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.superpoint import SuperPointNetwork


def test_random_numbers_of_others_stay_as_they_were() -> None:
    before = torch.random.get_rng_state()
    network = empty_network(SuperPointNetwork)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert {weight.device.type for weight in network.state_dict().values()} == {"cpu"}


def test_making_a_network_does_not_import_symbolic_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.symbolic_shapes", None)
    empty_network(SuperPointNetwork)


@pytest.mark.parametrize("make", [DescSpaceNetwork, MSNetNetwork])
def test_a_folded_network_computes_the_same_without_any_normalisation(
    make: Callable[[], nn.Module],
) -> None:
    generator = torch.Generator().manual_seed(3)
    plain = make_network(make, None).eval()
    for layer in plain.modules():
        if isinstance(layer, nn.BatchNorm2d):  # random ones, as those of no training change nothing
            for values in (layer.running_mean, layer.bias):
                values.data.normal_(0.0, 0.5, generator=generator)
            for values in (layer.running_var, layer.weight):
                values.data.uniform_(0.5, 2.0, generator=generator)
    folded = copy.deepcopy(plain)
    fold_norms(folded)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    channels = 1 if make is DescSpaceNetwork else 3
    images = torch.rand(2, channels, 90, 70, generator=generator)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), plain(images), rtol=0.0, atol=2e-6)


def test_what_describes_is_folded_and_what_is_trained_is_not() -> None:
    spec = make_spec("descspace-fast", {"untrained": True})
    for descriptor, has_norms in ((build_descriptor(spec), True), (get_built(spec), False)):
        layers = descriptor.module.modules()
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in layers) is has_norms
