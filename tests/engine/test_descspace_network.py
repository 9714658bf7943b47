"""The network of descspace: borders of images tell no place."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from engine.descriptors.descspace_network import DescSpaceNetwork
from engine.descriptors.networks import fold_norms, make_network, weights_to_load


def random_network() -> DescSpaceNetwork:
    """As after a training, in which statistics and shifts have become anything."""
    network = make_network(DescSpaceNetwork, None).eval()
    generator = torch.Generator().manual_seed(3)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.bias):
                values.data.normal_(0.0, 0.5, generator=generator)
            for values in (layer.running_var, layer.weight):
                values.data.uniform_(0.5, 2.0, generator=generator)
    network.head.bias.data.normal_(0.0, 0.5, generator=generator)  # else a wall has no descriptor
    return network


def trained_network() -> DescSpaceNetwork:
    return make_network(DescSpaceNetwork, weights_to_load(None, "descspace")).eval()


def folded_network() -> DescSpaceNetwork:
    network = copy.deepcopy(random_network())
    fold_norms(network)
    return network


NETWORKS = pytest.mark.parametrize("make", [random_network, folded_network, trained_network])


def describe(network: DescSpaceNetwork, grey: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(grey)


@NETWORKS
@pytest.mark.parametrize("size", [(96, 128), (61, 83), (16, 16)])
@pytest.mark.parametrize("shade", [0.0, 0.4, 1.0])
def test_all_cells_of_a_blank_wall_are_the_same(make, size, shade) -> None:
    found = describe(make(), torch.full((1, 1, *size), shade))
    # Random layers enlarge what rounding leaves of a blank wall; zeros for padding would give .5.
    assert (found - found[:, :, :1, :1]).abs().max() < 2e-3


@NETWORKS
@pytest.mark.parametrize("place", [(112, 112), (112, 176), (144, 112)])
def test_a_thing_on_a_white_wall_looks_the_same_wherever_it_stands(make, place) -> None:
    there, alone = things(make(), place)
    assert (there - alone).abs().max() < 1e-4


@pytest.mark.parametrize("place", [(48, 48), (48, 240), (208, 240)])
def test_and_nearly_so_where_the_border_cuts_off_what_the_network_sees_of_it(place) -> None:
    there, alone = things(trained_network(), place)
    assert (there * alone).sum(dim=1).min() > 0.99  # zeros for padding gave .83


def things(network: DescSpaceNetwork, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The cells of a thing at a place of a wall, and in the middle of one that is far larger."""
    thing = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(1))

    def cells_of_thing(size: tuple[int, int], at: tuple[int, int]) -> Tensor:
        wall = torch.ones(1, 1, *size)
        wall[:, :, at[0] : at[0] + 48, at[1] : at[1] + 48] = thing
        row, column = at[0] // 4, at[1] // 4
        return describe(network, wall)[:, :, row : row + 12, column : column + 12]

    return cells_of_thing((304, 336), place), cells_of_thing((768, 768), (352, 352))


def test_what_stands_beside_a_thing_still_counts() -> None:
    images = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(2))
    images[1, :, :, :48] = images[0, :, :, :48]
    found = describe(trained_network(), images)
    assert (found[0, :, :, 11] - found[1, :, :, 11]).abs().max() > 0.01
