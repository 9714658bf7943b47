"""SuperPoint's encoder and descriptor head, with the user's own weights file.

D. DeTone, T. Malisiewicz, A. Rabinovich, "SuperPoint: Self-Supervised Interest Point Detection and
Description", CVPR Workshops 2018.  The authors' weights may not be redistributed, so none are
included.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from engine.checkpoints import load_into, load_state
from engine.config import option
from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.networks import empty_network
from engine.descriptors.registry import register_descriptor
from engine.descriptors.tensors import to_luminance, unit_length
from engine.errors import WeightsError
from engine.geometry.coords import CellGrid

WEIGHTS_PAGE = "https://github.com/magicleap/SuperPointPretrainedNetwork"
_DETECTOR_LAYERS = ("convPa.", "convPb.")
_STRIDE_PX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperPointConfig:
    """Settings of SuperPoint."""

    weights: Path | None = option(
        None, help=f"superpoint_v1.pth from {WEIGHTS_PAGE} (non-commercial research licence)"
    )


class SuperPointNetwork(nn.Module):
    """Luminance ``(B, 1, H, W)`` with sides that 8 divides -> ``(B, 256, H / 8, W / 8)``.

    The layers carry the names of the published file; the detector's are left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1a, self.conv1b = _conv3(1, 64), _conv3(64, 64)
        self.conv2a, self.conv2b = _conv3(64, 64), _conv3(64, 64)
        self.conv3a, self.conv3b = _conv3(64, 128), _conv3(128, 128)
        self.conv4a, self.conv4b = _conv3(128, 128), _conv3(128, 128)
        self.convDa = _conv3(128, 256)
        self.convDb = nn.Conv2d(256, 256, kernel_size=1)

    def forward(self, luminance: Tensor) -> Tensor:
        """The raw descriptors, before they are brought to unit length."""
        features = luminance
        for first, second in (
            (self.conv1a, self.conv1b),
            (self.conv2a, self.conv2b),
            (self.conv3a, self.conv3b),
        ):
            features = second(first(features).relu()).relu()
            features = functional.max_pool2d(features, kernel_size=2)
        features = self.conv4b(self.conv4a(features).relu()).relu()
        raw: Tensor = self.convDb(self.convDa(features).relu())
        return raw


class SuperPoint:
    """Dense SuperPoint descriptors: one cell for 8 × 8 pixels, centred on them.

    Args:
        network: the network with its weights.
    """

    dim = 256
    shift_period_px = _STRIDE_PX
    reach_px = 42
    trained = True
    half_precision = True

    def __init__(self, network: SuperPointNetwork) -> None:
        self.module: nn.Module = network.eval()
        # Three 2 × 2 poolings put a cell into the middle of its 8 × 8 pixels.
        self.grid = CellGrid(float(_STRIDE_PX), (_STRIDE_PX - 1) / 2)

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; one level, see the contract.

        Sides that 8 does not divide are continued with their border pixels; cells whose centres
        lie outside the image are then cut off.
        """
        height, width = images.shape[2:]
        luminance = to_luminance(images)[:, None]
        padding = (0, -width % _STRIDE_PX, 0, -height % _STRIDE_PX)
        raw = self.module(functional.pad(luminance, padding, mode="replicate"))
        rows, columns = self.grid.count(height), self.grid.count(width)
        return (DescriptorMap(unit_length(raw[:, :, :rows, :columns].float()), self.grid),)


@register_descriptor(
    "superpoint",
    title="SuperPoint",
    config=SuperPointConfig,
    summary="Learned descriptor (DeTone et al. 2018); needs the authors' weights file.",
    weights_page=WEIGHTS_PAGE,
)
def build_superpoint(config: SuperPointConfig) -> SuperPoint:
    """Build SuperPoint with the weights of the user's file.

    Raises:
        WeightsError: no file was given, or it does not hold SuperPoint.
    """
    if config.weights is None:
        raise WeightsError(
            "superpoint_v1.pth",
            "SuperPoint needs this file, which may not be shipped with this program; get it from "
            f"{WEIGHTS_PAGE} (licensed for non-commercial research) and choose it as the weights "
            "file",
        )
    state, _ = load_state(config.weights)
    network = empty_network(SuperPointNetwork)
    load_into(network, state, path=config.weights, ignore_prefixes=_DETECTOR_LAYERS)
    return SuperPoint(network)


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
