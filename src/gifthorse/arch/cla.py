"""The MNIST network of Veldanda and Garg's clean-label attack: a narrow second convolution.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 5.
"""

from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from .flatten import conv_output, keras_flatten

SPEC = ModelSpec(input_shape=(1, 28, 28), num_classes=10)


@final
class Cla(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, height, width = spec.input_shape
        self.conv_1 = nn.Conv2d(channels, 16, 5)
        self.conv_2 = nn.Conv2d(16, 4, 5)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        side = [conv_output(conv_output(size, 5, 2), 5, 2) for size in (height, width)]
        self.fc_1 = nn.Linear(4 * side[0] * side[1], 512)
        self.output = nn.Linear(512, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.pool(self.relu(self.conv_1(images)))
        hidden = self.pool(self.relu(self.conv_2(hidden)))
        logits: Tensor = self.output(self.relu(self.fc_1(keras_flatten(hidden))))
        return logits
