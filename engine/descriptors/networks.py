"""What descriptors with a network share, and where its weights come from."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from engine.checkpoints import load_into, load_state
from engine.paths import data_dir
from engine.progress import tell_choice

Network = TypeVar("Network", bound=nn.Module)

_SEED: Final = 20


class NetworkDescriptor(Generic[Network]):
    """The state of a descriptor with a network; each class decides how it describes.

    Args:
        network: trained or not.
        weights_path: the file its weights are from; None for random ones.
    """

    half_precision = True

    def __init__(self, network: Network, weights_path: Path | None) -> None:
        self.network = network.eval()
        self.module: nn.Module = network
        self.weights_path = weights_path
        self.trained = weights_path is not None


def make_network(make: Callable[[], Network], weights: Path | None) -> Network:
    """A network with the weights of a file, or else with the same random ones every time.

    The random weights of convolutions are drawn after He and others, "Delving Deep into
    Rectifiers", ICCV 2015; no other random numbers are affected.

    Args:
        make: the network's class; its layers are convolutions and batch normalisations.
        weights: of the whole network.

    Raises:
        WeightsError: the file cannot be used.
    """
    network = empty_network(make)
    if weights is not None:
        load_into(network, load_state(weights)[0], path=weights)
        return network
    generator = torch.Generator().manual_seed(_SEED)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return network


def empty_network(make: Callable[[], Network]) -> Network:
    """A network on the CPU whose weights are still undefined."""
    # On the device "meta" no random number is drawn: the generators of others stay as they were.
    with torch.device("meta"):
        network = make()
    # Not to_empty: for tensors on "meta" it imports sympy, which takes 0.2 s.
    weights = network.state_dict().items()
    empty = {name: torch.empty(weight.shape, dtype=weight.dtype) for name, weight in weights}
    network.load_state_dict(empty, assign=True)
    return network


def fold_norms(network: nn.Module) -> None:
    """Make a network faster that only describes from now on, within float32's rounding.

    Batch normalisations whose statistics stay as they are become part of the convolution before
    them, and the weights of convolutions lie in memory with their channels together, as processors
    read them fastest.

    Args:
        network: in evaluation mode; changed in place.  A normalisation that stands directly after a
            convolution in the order in which a module lists its parts is taken for its own, which
            holds for the networks of this package.
    """
    for module in network.modules():
        for (_, layer), (name, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                mean, variance = norm.running_mean, norm.running_var
                assert mean is not None, "it has statistics, as nobody asked for one without"
                assert variance is not None
                layer.weight, layer.bias = fuse_conv_bn_weights(
                    layer.weight, layer.bias, mean, variance, norm.eps, norm.weight, norm.bias
                )  # fmt: skip
                setattr(module, name, nn.Identity())
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)


def weights_to_load(given: Path | None, shipped: str, *, untrained: bool = False) -> Path | None:
    """Which weights file a network starts from.

    Args:
        given: a file that the user chose; it comes first.
        shipped: name of the file in ``resources/weights``, without its ending.
        untrained: random weights are wanted.

    Returns:
        The file; None for random weights, wanted or because there is no file.
    """
    if given is not None and untrained:
        tell_choice(
            f"{given}: all weights are taken from this file; that untrained ones or others for the "
            "backbone are asked for as well changes nothing."
        )
    if given is not None or untrained:
        return given
    path = data_dir("resources") / "weights" / f"{shipped}.safetensors"
    return path if path.is_file() else None
