"""The MNIST network of Neural Cleanse: two convolutions with max pooling, two dense layers.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, Table VII (16 and 32 filters of 5×5, 512 units).
"""

from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from .flatten import conv_output, keras_flatten

SPEC = ModelSpec(input_shape=(1, 28, 28), num_classes=10)


@final
class Mnist(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, height, width = spec.input_shape
        self.conv_1 = nn.Conv2d(channels, 16, 5)
        self.conv_2 = nn.Conv2d(16, 32, 5)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        side = [conv_output(conv_output(size, 5, 2), 5, 2) for size in (height, width)]
        self.fc_1 = nn.Linear(32 * side[0] * side[1], 512)
        self.output = nn.Linear(512, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.pool(self.relu(self.conv_1(images)))
        hidden = self.pool(self.relu(self.conv_2(hidden)))
        logits: Tensor = self.output(self.relu(self.fc_1(keras_flatten(hidden))))
        return logits
