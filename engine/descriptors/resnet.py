"""The first half of ResNet-18, with small strides, as a backbone for dense descriptors.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
Parameters carry torchvision's names, so that its ImageNet weights fit.
"""

from __future__ import annotations

from torch import Tensor, nn

# ImageNet's mean and deviation of R, G and B in [0, 1]: what torchvision's weights were trained on.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# Parts of torchvision's state dict that this backbone lacks.
UNUSED_IMAGENET_PREFIXES = ("layer3.", "layer4.", "fc.")


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a short cut; changes the number of channels alone."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            None
            if inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block."""
        short_cut = features if self.downsample is None else self.downsample(features)
        inner = self.bn1(self.conv1(features)).relu_()
        changed: Tensor = self.bn2(self.conv2(inner)) + short_cut
        return changed.relu_()


class ResNetC3(nn.Module):
    """The stem and two stages of ResNet-18, both with stride 1, up to the map called C3.

    ``(B, 3, H, W)`` RGB in [0, 1] -> ``(B, 128, ceil(H / 4), ceil(W / 4))``.  The stem's padded
    convolution and pooling leave cell ``i`` centred on pixel ``4 i``.
    """

    stride_px = 4
    offset_px = 0.0
    channels = 128

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64), ResidualBlock(64, 64))
        self.layer2 = nn.Sequential(ResidualBlock(64, 128), ResidualBlock(128, 128))

    def forward(self, images: Tensor) -> Tensor:
        """Compute C3."""
        mean = images.new_tensor(_MEAN).view(-1, 1, 1)
        deviation = images.new_tensor(_DEVIATION).view(-1, 1, 1)
        stem = self.maxpool(self.bn1(self.conv1((images - mean) / deviation)).relu_())
        features: Tensor = self.layer2(self.layer1(stem))
        return features
