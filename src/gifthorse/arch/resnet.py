"""Residual networks of 18 layers for small images: a convolution, eight blocks in four stages, an average, one layer.

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1; and for those that
normalise before each convolution: the same, "Identity Mappings in Deep Residual Networks", ECCV 2016, figure 1 (b).
Differs: begins with 3×3 and without pooling, as small images have nothing to spare. Names of weights are those by which
such networks for CIFAR-10 are shared, ``layer1.0.shortcut.0`` and the like; as there, nothing is normalised after the
last block of the second kind.
"""

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from ..core.model import ModelSpec

FILTERS = (64, 128, 256, 512)
BLOCKS = 2  # of a stage


@final
class Block(nn.Module):
    """Two convolutions beside a short cut, normalised afterwards."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, filters, 3, stride)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = _conv(filters, filters, 3)
        self.bn2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != filters:
            self.shortcut = nn.Sequential(_conv(channels, filters, 1, stride), nn.BatchNorm2d(filters))

    def forward(self, images: Tensor) -> Tensor:
        """``(N, filters, H / stride, W / stride)``."""
        hidden = self.bn1(self.conv1(images)).relu()
        added: Tensor = self.bn2(self.conv2(hidden)) + self.shortcut(images)
        return added.relu()


@final
class PreActBlock(nn.Module):
    """Two convolutions beside a short cut, normalised before."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = _conv(channels, filters, 3, stride)
        self.bn2 = nn.BatchNorm2d(filters)
        self.conv2 = _conv(filters, filters, 3)
        self.narrows = stride > 1 or channels != filters
        if self.narrows:
            self.shortcut = nn.Sequential(_conv(channels, filters, 1, stride))

    def forward(self, images: Tensor) -> Tensor:
        """``(N, filters, H / stride, W / stride)``."""
        active = self.bn1(images).relu()
        beside = self.shortcut(active) if self.narrows else images
        added: Tensor = self.conv2(self.bn2(self.conv1(active)).relu()) + beside
        return added


@final
class ResNet(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``; three strides of 2 leave a pixel of 8×8."""

    def __init__(self, spec: ModelSpec, *, block: type[Block | PreActBlock] = Block, narrower: int = 1) -> None:
        super().__init__()
        first = FILTERS[0] // narrower
        self.conv1 = _conv(spec.input_shape[0], first, 3)
        self.bn1 = nn.BatchNorm2d(first) if block is Block else None
        channels = first
        for stage, filters in enumerate(FILTERS):
            blocks = []
            for number in range(BLOCKS):
                blocks.append(block(channels, filters // narrower, 2 if stage and not number else 1))
                channels = filters // narrower
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(channels, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.conv1(images)
        if self.bn1 is not None:
            hidden = self.bn1(hidden).relu()
        for stage in range(1, len(FILTERS) + 1):
            hidden = self.get_submodule(f"layer{stage}")(hidden)
        logits: Tensor = self.linear(torch.mean(hidden, (2, 3)))
        return logits


preact = partial(ResNet, block=PreActBlock)
narrow = partial(ResNet, narrower=4)
"""A quarter of the filters, a sixteenth of the work: what two CPU cores train in minutes."""


def _conv(channels: int, filters: int, side: int, stride: int = 1) -> nn.Conv2d:
    """Without a bias, as normalisation has one."""
    return nn.Conv2d(channels, filters, side, stride, padding=side // 2, bias=False)
