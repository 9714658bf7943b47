"""Networks as they are before any training: the same random weights every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)

_SEED: Final = 20


def untrained(make: Callable[[], Network]) -> Network:
    """Make a network with random weights; nobody else's random numbers are touched.

    Convolutions are drawn after He and others, "Delving Deep into Rectifiers", ICCV 2015.

    Args:
        make: the network's class; its layers are convolutions and batch normalisations.
    """
    # On the device "meta" no random number is drawn: the generators of others stay as they were.
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(_SEED)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return network
