"""A network for spoken words: five convolutions on a spectrogram, the last one of 256 channels, two dense layers.

Paper: Liu, Dolan-Gavitt, Garg, "Fine-Pruning", RAID 2018, whose speech network is an AlexNet with 256 channels in its
fifth convolution.
Differs: filters of 5×5 and 3×3 instead of up to 11×11, fewer channels before the last convolution and one dense layer
less, for 64×64 pixels and one core.
"""

from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from ..errors import OptionError
from .flatten import keras_flatten

SPEC = ModelSpec(input_shape=(1, 64, 64), num_classes=10, mean=(0.09,), std=(0.15,))
FILTERS = (24, 48, 64, 64, 256)
POOLED = (1, 2, 5)  # the convolutions that a pooling follows
SMALLEST = 16  # pixels on a side, of which a stride and three poolings leave 1


@final
class Speech(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, height, width = spec.input_shape
        if min(height, width) < SMALLEST:
            raise OptionError(f"speech needs images of at least {SMALLEST}×{SMALLEST} pixels, got {height}×{width}")
        for number, filters in enumerate(FILTERS, 1):
            side, stride = (5, 2) if number == 1 else (3, 1)
            self.add_module(f"conv_{number}", nn.Conv2d(channels, filters, side, stride, padding=side // 2))
            channels = filters
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.3)
        sides = [-(-side // 2) // 2 ** len(POOLED) for side in (height, width)]
        self.fc_1 = nn.Linear(channels * sides[0] * sides[1], 128)
        self.output = nn.Linear(128, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = images
        for number in range(1, len(FILTERS) + 1):
            hidden = self.relu(self.get_submodule(f"conv_{number}")(hidden))
            hidden = self.pool(hidden) if number in POOLED else hidden
        logits: Tensor = self.output(self.dropout(self.relu(self.fc_1(self.dropout(keras_flatten(hidden))))))
        return logits
