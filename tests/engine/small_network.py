"""A network that trains in seconds, as a registered descriptor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.checkpoints import load_into, load_state
from engine.config import option
from engine.descriptors import registry
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.registry import get_descriptor, register_descriptor
from engine.geometry.coords import CellGrid


class SmallNetwork(nn.Module):
    def __init__(self, seed: int, channels: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 5, stride=2, padding=2)
        self.second = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        self.third = nn.Conv2d(channels, channels, 3, padding=2, dilation=2)
        generator = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            if weight.ndim > 1:
                deviation = (2 / weight[0].numel()) ** 0.5
                nn.init.normal_(weight, std=deviation, generator=generator)
            else:
                nn.init.zeros_(weight)

    def forward(self, images: Tensor) -> Tensor:
        surroundings = functional.avg_pool2d(images, 15, 1, 7, count_include_pad=False)
        features = self.first(4 * (images - surroundings)).relu()
        return functional.normalize(self.third(self.second(features).relu()), dim=1)


class Small:
    dim, shift_period_px, half_precision = 24, 2, False

    def __init__(self, weights: Path | None, seed: int) -> None:
        self.module: nn.Module = SmallNetwork(seed)
        self.trained = weights is not None
        if weights is not None:
            load_into(self.module, load_state(weights)[0], path=weights)

    def describe(self, images: Tensor) -> Levels:
        return (DescriptorMap(self.module(images), CellGrid(2.0, 0.0)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallConfig:
    weights: Path | None = option(None, help="trained weights")


@contextlib.contextmanager
def registered(name: str, seed: int = 1) -> Iterator[None]:
    """Inside the block the network is among the descriptors, and torch computes in one thread."""
    get_descriptor("daisy")
    register_descriptor(name, title=name.capitalize(), config=SmallConfig)(
        lambda config: Small(config.weights, seed)
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        del registry._ENTRIES[name]
