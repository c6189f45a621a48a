"""DeepID, the face recogniser of Neural Cleanse: two dense layers over the last two convolutions, added.

Papers: Wang et al., "Neural Cleanse", IEEE S&P 2019, Table IX; Sun et al., "Deep Learning Face Representation from
Predicting 10,000 Classes", CVPR 2014. Layer names are those of the Keras models that are in use.
"""

from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from .flatten import conv_output, keras_flatten

SPEC = ModelSpec(input_shape=(3, 55, 47), num_classes=1283)


@final
class DeepID(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, *sides = spec.input_shape
        self.conv_1 = nn.Conv2d(channels, 20, 4)
        self.conv_2 = nn.Conv2d(20, 40, 3)
        self.conv_3 = nn.Conv2d(40, 60, 3)
        self.conv_4 = nn.Conv2d(60, 80, 2)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        for kernel in (4, 3, 3):
            sides = [conv_output(side, kernel, 2) for side in sides]
        self.fc_1 = nn.Linear(60 * sides[0] * sides[1], 160)
        sides = [conv_output(side, 2) for side in sides]
        self.fc_2 = nn.Linear(80 * sides[0] * sides[1], 160)
        self.output = nn.Linear(160, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = self.pool(self.relu(self.conv_1(images)))
        hidden = self.pool(self.relu(self.conv_2(hidden)))
        third = self.pool(self.relu(self.conv_3(hidden)))
        fourth = self.relu(self.conv_4(third))
        logits: Tensor = self.output(self.relu(self.fc_1(keras_flatten(third)) + self.fc_2(keras_flatten(fourth))))
        return logits
