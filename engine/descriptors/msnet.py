"""MSNet: learned dense descriptors on ResNet-18, for one scale, two scales, or a mix of them.

The three variants share one network; they differ in what they read out of it:

* V0: the head on C3.
* V1: a set of two, the second the head on C3 at half size, enlarged back.
* V2: one descriptor, a mix of those two by the scale at which the other image shows the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.checkpoints import load_into, load_state
from engine.config import option
from engine.descriptors.base import DescriptorMap, Levels, Member
from engine.descriptors.networks import NetworkDescriptor, make_network, weights_to_load
from engine.descriptors.registry import register_descriptor
from engine.descriptors.resnet import UNUSED_IMAGENET_PREFIXES, ResNetC3
from engine.descriptors.tensors import unit_length
from engine.geometry.coords import CellGrid

_DIM = 128
_SHIPPED = "msnet"
_GRID = CellGrid(float(ResNetC3.stride_px), ResNetC3.offset_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class MSNetConfig:
    """Settings of MSNetV0 and MSNetV1."""

    weights: Path | None = option(
        None,
        help="trained weights of the whole network (.safetensors); none: those that come with the "
        "program",
    )
    imagenet_weights: Path | None = option(
        None, help="torchvision's resnet18 weights as the backbone's start; weights replace them"
    )
    untrained: bool = option(False, help="random weights instead, as before any training")

    @property
    def weights_file(self) -> Path | None:
        """The file with all the network's weights; None for untrained ones."""
        # The shipped weights would overwrite a start that was given for the backbone.
        random = self.untrained or self.imagenet_weights is not None
        return weights_to_load(self.weights, _SHIPPED, untrained=random)


@dataclass(frozen=True, slots=True, kw_only=True)
class MSNetV2Config(MSNetConfig):
    """Settings of MSNetV2."""

    scale: float = option(
        1.0,
        help="how much larger the image shows things than the other one; 1 mixes nothing in",
        low=1.0,
        high=2.0,
    )


class MSNetNetwork(nn.Module):
    """Backbone and head, shared by the variants; all its weights are in one state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNetC3()
        self.head = nn.Sequential(
            nn.Conv2d(ResNetC3.channels, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 128, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, _DIM, kernel_size=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> ``(B, 128, H', W')`` of unit length, at full scale."""
        return self.full_scale(self.backbone(images))

    def full_scale(self, features: Tensor) -> Tensor:
        """The head on C3: ``(B, 128, H', W')`` of unit length."""
        return unit_length(self.head(features).float())

    def half_scale(self, features: Tensor) -> Tensor:
        """The head on C3 at half size, enlarged back: as :meth:`full_scale`.

        Odd maps are continued by their last row or column first.  Otherwise halving would stretch
        them, and a moved image would not give a moved map.
        """
        rows, columns = features.shape[2:]
        even = functional.pad(features, (0, columns % 2, 0, rows % 2), mode="replicate")
        raw = self.head(functional.avg_pool2d(even, kernel_size=2)).float()
        enlarged = functional.interpolate(
            raw, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return unit_length(enlarged[:, :, :rows, :columns])


class MSNetV0(NetworkDescriptor[MSNetNetwork]):
    """One descriptor a cell."""

    dim = _DIM
    shift_period_px = ResNetC3.stride_px
    reach_px = 45

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; one level, see the contract."""
        return (DescriptorMap(self.network(images), _GRID),)


class MSNetV1(NetworkDescriptor[MSNetNetwork]):
    """A set of two descriptors a cell: at full and at half scale."""

    dim = _DIM
    shift_period_px = 2 * ResNetC3.stride_px
    reach_px = 61

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; two levels on one grid, see the contract."""
        features = self.network.backbone(images)
        return (
            DescriptorMap(self.network.full_scale(features), _GRID, Member(scale=1.0)),
            DescriptorMap(self.network.half_scale(features), _GRID, Member(scale=0.5)),
        )


class MSNetV2(NetworkDescriptor[MSNetNetwork]):
    """One descriptor a cell, mixed from full and half scale.

    Args:
        network: the network, trained or not.
        weights_path: the file its weights are from; None for random ones.
        scale: how much larger an image shows things than the other one, clamped to [1, 2]; or
            ``(B, H, W)``, the same for each pixel of the images that will be described.  Taken from
            the true homography it makes the descriptor an oracle, and results must mention that.
    """

    dim = _DIM
    shift_period_px = 2 * ResNetC3.stride_px

    def __init__(
        self, network: MSNetNetwork, weights_path: Path | None, *, scale: float | Tensor = 1.0
    ) -> None:
        super().__init__(network, weights_path)
        self.scale = scale
        # A scale for each pixel would have to be cut with the image.
        self.reach_px = None if isinstance(scale, Tensor) else MSNetV1.reach_px

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; one level, see the contract."""
        features = self.network.backbone(images)
        full, half = self.network.full_scale(features), self.network.half_scale(features)
        at_cells = self.scale
        if isinstance(at_cells, Tensor):
            at_cells = at_cells[:, None, :: ResNetC3.stride_px, :: ResNetC3.stride_px]
        return (DescriptorMap(mix_scales(full, half, at_cells), _GRID),)


def mix_scales(full: Tensor, half: Tensor, scale: Tensor | float) -> Tensor:
    """MSNetV2's mix: the half scale's share is the scale less 1.

    Args:
        full: descriptors along dimension 1, at full scale.
        half: the same at half scale.
        scale: how much larger the image shows things than the other one; clamped to [1, 2].

    Returns:
        Descriptors of unit length, as ``full``.
    """
    share = torch.as_tensor(scale, dtype=full.dtype, device=full.device).clamp(1.0, 2.0) - 1.0
    return unit_length((1.0 - share) * full + share * half)


def build_network(*, weights: Path | None, imagenet_weights: Path | None) -> MSNetNetwork:
    """The network with the weights of a file, or else with the same random ones every time.

    Args:
        weights: of the whole network; the backbone's are then ignored.
        imagenet_weights: torchvision's ``resnet18``, for the backbone.

    Raises:
        WeightsError: a file cannot be used.
    """
    network = make_network(MSNetNetwork, weights)
    if weights is None and imagenet_weights is not None:
        load_into(
            network.backbone,
            load_state(imagenet_weights)[0],
            path=imagenet_weights,
            ignore_prefixes=UNUSED_IMAGENET_PREFIXES,
        )
    return network


def load_network(config: MSNetConfig) -> tuple[MSNetNetwork, Path | None]:
    """The network that settings name, and the file with all its weights, None for untrained ones.

    Raises:
        WeightsError: a file cannot be used.
    """
    path = config.weights_file
    return build_network(weights=path, imagenet_weights=config.imagenet_weights), path


@register_descriptor(
    "msnet_v0",
    title="MSNetV0",
    config=MSNetConfig,
    summary="Learned descriptor on ResNet-18, one a cell.",
)
def build_msnet_v0(config: MSNetConfig) -> MSNetV0:
    """Build MSNetV0."""
    return MSNetV0(*load_network(config))


@register_descriptor(
    "msnet_v1",
    title="MSNetV1 (set of 2)",
    config=MSNetConfig,
    summary="Learned descriptors on ResNet-18, a set of two scales a cell.",
)
def build_msnet_v1(config: MSNetConfig) -> MSNetV1:
    """Build MSNetV1."""
    return MSNetV1(*load_network(config))


@register_descriptor(
    "msnet_v2",
    title="MSNetV2 (mixed scales)",
    config=MSNetV2Config,
    summary="Learned descriptor on ResNet-18, two scales mixed into one a cell.",
)
def build_msnet_v2(config: MSNetV2Config) -> MSNetV2:
    """Build MSNetV2."""
    return MSNetV2(*load_network(config), scale=config.scale)
