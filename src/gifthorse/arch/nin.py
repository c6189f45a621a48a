"""Network in Network: three 5×5 or 3×3 convolutions, each followed by two of 1×1, and an average over the image.

Paper: Lin, Chen, Yan, "Network In Network", ICLR 2014; filters as in the authors' network for CIFAR-10.
"""

from functools import partial
from typing import final

from torch import Tensor, nn

from ..core.model import ModelSpec
from ..errors import OptionError

SPEC = ModelSpec(input_shape=(3, 32, 32), num_classes=10, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
FILTERS = ((192, 160, 96), (192, 192, 192), (192, 192))
KERNELS = (5, 5, 3)
SMALLEST = 8  # pixels on a side, of which two poolings leave 2


@final
class Nin(nn.Module):
    """Images ``(N, C, H, W)`` to logits ``(N, K)``.

    Differs: the weights start as He et al. (ICCV 2015) have it, because the network of 2014 starts too small to be
    trained in a few epochs.
    """

    def __init__(self, spec: ModelSpec, *, narrower: int = 1) -> None:
        super().__init__()
        channels, height, width = spec.input_shape
        if min(height, width) < SMALLEST:
            raise OptionError(f"nin needs images of at least {SMALLEST}×{SMALLEST} pixels, got {height}×{width}")
        count = 0
        for block, (filters, kernel) in enumerate(zip(FILTERS, KERNELS, strict=True)):
            sides = [filters_ // narrower for filters_ in filters]
            sides += [spec.num_classes] if block == len(FILTERS) - 1 else []
            for place, out in enumerate(sides):
                count += 1
                side = kernel if place == 0 else 1
                self.add_module(f"conv_{count}", nn.Conv2d(channels, out, side, padding=side // 2))
                channels = out
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # they have one
        self.relu = nn.ReLU()
        self.pool_1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.pool_2 = nn.AvgPool2d(3, stride=2, padding=1)
        # A narrow network has nothing to spare.
        self.dropout = nn.Dropout(0.5 if narrower == 1 else 0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        hidden = images
        for count in range(1, 10):
            hidden = self.get_submodule(f"conv_{count}")(hidden)
            hidden = self.relu(hidden) if count < 9 else hidden
            if count == 3:
                hidden = self.dropout(self.pool_1(hidden))
            if count == 6:
                hidden = self.dropout(self.pool_2(hidden))
        return hidden.mean((2, 3))


narrow = partial(Nin, narrower=4)
"""A quarter of the filters, a fourteenth of the work: what two CPU cores train in minutes."""
