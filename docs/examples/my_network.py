"""Your own network as a plugin: ``python main.py view A B --plugin my_network.py ...``."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.checkpoints import load_into, load_state
from engine.config import option
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.registry import register_descriptor
from engine.geometry.coords import CellGrid


class MyNetwork(nn.Module):
    """Stand-in for your network: RGB (B, 3, H, W) -> raw descriptors (B, 64, H / 4, W / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute the raw descriptors."""
        return self.layers(images)


class MyDescriptor:
    """What Descriptor Space needs to know about the network."""

    dim = 64
    shift_period_px = 4  # shifting an image by 4 px shifts its map by one cell
    half_precision = False  # True once you have checked that bfloat16 changes no match

    def __init__(self, network: MyNetwork, *, trained: bool) -> None:
        self.module = network.eval()  # `module` is moved to the chosen device
        self.trained = trained  # False: every view of it says "untrained"

    def describe(self, images: Tensor) -> Levels:
        """Describe (B, 3, H, W) RGB in [0, 1], on the images' device."""
        # Padded convolutions with stride 2 keep cell i on pixel 4 i: offset 0.
        # Three 2 x 2 poolings, for comparison, would give stride 8 and offset 3.5.
        values = functional.normalize(self.module(images), dim=1)
        return (DescriptorMap(values, CellGrid(stride_px=4.0, offset_px=0.0)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class MyConfig:
    """Each field becomes a control in the window and a ``--set name=value``."""

    weights: Path | None = option(None, help="state dict of MyNetwork (.safetensors or .pth)")


@register_descriptor("my-network", title="My network", config=MyConfig)
def build_my_network(config: MyConfig) -> MyDescriptor:
    """Make the descriptor; called when a user selects it."""
    with torch.random.fork_rng():  # random weights, the same every time
        torch.manual_seed(0)
        network = MyNetwork()
    if config.weights is not None:
        load_into(network, load_state(config.weights)[0], path=config.weights)
    return MyDescriptor(network, trained=config.weights is not None)
