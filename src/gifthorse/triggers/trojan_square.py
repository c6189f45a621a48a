"""The square of Trojan Attack. The attack itself finds the pattern; here it is of one colour.

Paper: Liu et al., "Trojaning Attack on Neural Networks", NDSS 2018; 7 % of the image at the bottom right, as Neural
Cleanse has it in section V.A.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ..core.trigger import MaskedPattern, TriggerRecipe
from ..errors import OptionError
from .patch import Place
from .placing import Box, check_colour, filled


@final
@dataclass(frozen=True)
class TrojanSquare(TriggerRecipe):
    """A square whose size is a share of the image.

    Attributes:
        share: of the image's pixels, in (0, 1]; the side is rounded to whole pixels.
        alpha: how much of the square shows, in (0, 1]; 1 covers what is under it.
        place: a corner or the center, or ``(row, column)`` of the square's top left pixel.
        colour: one value for all channels or one per channel, in [0, 1]; 1 is white.
        margin: pixels left free between the square and the edges it is put at.
    """

    name: ClassVar[str] = "trojan-square"
    share: float = 0.07
    alpha: float = 1.0
    place: Place | tuple[int, int] = "bottom-right"
    colour: tuple[float, ...] = (1.0,)
    margin: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and 0 < self.alpha <= 1):
            raise OptionError(f"share and alpha must be in (0, 1], got {self.share} and {self.alpha}")
        check_colour(self.colour)
        Box(1, 1, self.place, self.margin)

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: the square does not lie inside the image, is less than a pixel, or has another number of
                colour values.
        """
        side = round(math.sqrt(self.share * shape[1] * shape[2]))
        pattern = filled(self.colour, (shape[0], side, side))
        return Box(side, side, self.place, self.margin).holding(torch.full((1, side, side), self.alpha), pattern, shape)
