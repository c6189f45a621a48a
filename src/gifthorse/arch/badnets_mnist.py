"""The MNIST network of BadNets, as its public re-implementations have it: average pooling, softmax inside.

Paper: Gu et al., "BadNets", 2017, Table 1 (16 and 32 filters of 5×5; average pooling of 2; 512 units).
"""

from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from .flatten import conv_output

SPEC = ModelSpec(input_shape=(1, 28, 28), num_classes=10, mean=(0.5,), std=(0.5,), outputs="probabilities")


@final
class BadNetsMnist(nn.Module):
    """Images ``(N, C, H, W)`` to probabilities ``(N, K)``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, height, width = spec.input_shape
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 16, 5), nn.ReLU(), nn.AvgPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.AvgPool2d(2))
        side = [conv_output(conv_output(size, 5, 2), 5, 2) for size in (height, width)]
        self.fc1 = nn.Sequential(nn.Linear(32 * side[0] * side[1], 512), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(512, spec.num_classes), nn.Softmax(dim=-1))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities."""
        probabilities: Tensor = self.fc2(self.fc1(self.conv2(self.conv1(images)).flatten(1)))
        return probabilities
