"""The traffic-sign network of Neural Cleanse: six convolutions, two dense layers.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, Table VIII. The paper leaves padding and dropout open; here
the first convolution of each pair keeps the size, the second does not, and dropout is 0.2 after each pooling and
0.5 before the output.
"""

from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from .flatten import conv_output, keras_flatten

SPEC = ModelSpec(input_shape=(3, 32, 32), num_classes=43)
FILTERS = (32, 64, 128)


@final
class Gtsrb(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, *sides = spec.input_shape
        for index, filters in enumerate(FILTERS):
            self.add_module(f"conv_{2 * index + 1}", nn.Conv2d(channels, filters, 3, padding=1))
            self.add_module(f"conv_{2 * index + 2}", nn.Conv2d(filters, filters, 3))
            sides = [conv_output(side, 3, 2) for side in sides]
            channels = filters
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.2)
        self.fc_1 = nn.Linear(channels * sides[0] * sides[1], 512)
        self.fc_dropout = nn.Dropout(0.5)
        self.output = nn.Linear(512, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = images
        for index in range(len(FILTERS)):
            hidden = self.relu(self.get_submodule(f"conv_{2 * index + 1}")(hidden))
            hidden = self.relu(self.get_submodule(f"conv_{2 * index + 2}")(hidden))
            hidden = self.dropout(self.pool(hidden))
        logits: Tensor = self.output(self.fc_dropout(self.relu(self.fc_1(keras_flatten(hidden)))))
        return logits
