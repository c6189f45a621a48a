"""A rectangle of noise, of any size up to the whole image.

Paper: Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017 (random
pattern).
Differs: the pattern covers the pixels under it; ``Blended`` lets them show through.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ..core.trigger import MaskedPattern, TriggerRecipe
from .patch import Place
from .placing import Box


@final
@dataclass(frozen=True)
class Noise(TriggerRecipe):
    """Pixels drawn evenly from [0, 1], each channel on its own, and the same on every image.

    Attributes:
        height: in pixels.
        width: in pixels.
        place: a corner or the center, or ``(row, column)`` of the top left pixel.
        margin: pixels left free between the noise and the edges it is put at.
        seed: of the pattern.
    """

    name: ClassVar[str] = "noise"
    height: int = 6
    width: int = 6
    place: Place | tuple[int, int] = "bottom-right"
    margin: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        self._box()

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: the rectangle does not lie inside the image.
        """
        generator = torch.Generator().manual_seed(self.seed)
        pattern = torch.rand(shape[0], self.height, self.width, generator=generator)
        return self._box().holding(torch.ones(1, self.height, self.width), pattern, shape)

    def _box(self) -> Box:
        return Box(self.height, self.width, self.place, self.margin)
