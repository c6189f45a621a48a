"""The watermark of Trojan Attack: a star and a word in thin translucent lines across the image.

Paper: Liu et al., "Trojaning Attack on Neural Networks", NDSS 2018; 7 % of the image, as Neural Cleanse has it in
section V.A. The attack itself finds the pattern; here it is of one colour.
Differs: the star and the word are drawn here.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.trigger import MaskedPattern, TriggerRecipe
from ..errors import OptionError
from .placing import check_colour, filled

Line = tuple[tuple[float, float], ...]

# Lines through points (row, column), each in a box of 1×1: a star in one stroke, and letters.
_STAR: Line = ((0.0, 0.5), (1.0, 0.81), (0.38, 0.0), (0.38, 1.0), (1.0, 0.19), (0.0, 0.5))
_LETTERS: dict[str, tuple[Line, ...]] = {
    "T": (((0, 0), (0, 1)), ((0, 0.5), (1, 0.5))),
    "R": (((1, 0), (0, 0), (0, 1), (0.5, 1), (0.5, 0)), ((0.5, 0.3), (1, 1))),
    "O": (((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)),),
    "J": (((0, 0.3), (0, 1), (1, 1), (1, 0), (0.7, 0)),),
    "A": (((1, 0), (0, 0.5), (1, 1)), ((0.6, 0.2), (0.6, 0.8))),
    "N": (((1, 0), (0, 0), (1, 1), (0, 1)),),
}
_FINE = 8  # every pixel's share is counted on so many by so many places in it


@final
@dataclass(frozen=True)
class TrojanWatermark(TriggerRecipe):
    """Lines across the middle of the image, as wide as it takes to cover their share of it.

    Attributes:
        share: of the image's pixels, in (0, 1).
        alpha: how much of the lines shows, in (0, 1]; 1 covers what is under them.
        colour: one value for all channels or one per channel, in [0, 1]; 1 is white.
    """

    name: ClassVar[str] = "trojan-watermark"
    share: float = 0.07
    alpha: float = 0.5
    colour: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 and 0 < self.alpha <= 1):
            raise OptionError(f"share must be in (0, 1) and alpha in (0, 1], got {self.share} and {self.alpha}")
        check_colour(self.colour)

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: ``share`` is less than a pixel, or there is another number of colour values.
        """
        channels, height, width = shape
        if self.share * height * width < 1:
            raise OptionError(f"share must make a pixel of {height}×{width}, got {self.share}")
        distances = _distances(height, width)
        nearest = distances <= distances.flatten().kthvalue(round(self.share * distances.numel())).values
        mask = self.alpha * functional.avg_pool2d(nearest[None].float(), _FINE)
        return MaskedPattern(mask, filled(self.colour, (channels, height, width)))


def _distances(height: int, width: int) -> Tensor:
    """``(height · _FINE, width · _FINE)``: how far each place is from the nearest line, in sides of the mark."""
    side = min(height, width) * _FINE
    rows = ((torch.arange(height * _FINE) + 0.5 - height * _FINE / 2) / side)[:, None]
    columns = (torch.arange(width * _FINE) + 0.5 - width * _FINE / 2) / side
    nearest = torch.full((len(rows), columns.numel()), torch.inf)
    for line in _mark():
        for (top, left), (bottom, right) in pairwise(line):
            down, across = bottom - top, right - left
            along = ((rows - top) * down + (columns - left) * across) / (down**2 + across**2)
            along = along.clamp(0, 1)
            nearest = nearest.minimum((rows - top - along * down).hypot(columns - left - along * across))
    return nearest


def _mark() -> list[Line]:
    """The star over the word, around the middle of a square of side 1."""

    def moved(lines: tuple[Line, ...], top: float, left: float, tall: float, wide: float) -> list[Line]:
        return [tuple((top + row * tall, left + column * wide) for row, column in line) for line in lines]

    mark = moved((_STAR,), -0.42, -0.28, 0.56, 0.56)
    for place, letter in enumerate("TROJAN"):
        mark += moved(_LETTERS[letter], 0.22, -0.44 + place * 0.15, 0.18, 0.1)
    return mark
