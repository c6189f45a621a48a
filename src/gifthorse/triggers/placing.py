"""Where a trigger lies on an image and what colour it has, by the rules of ``Patch``."""

from dataclasses import dataclass
from typing import final, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..core.trigger import MaskedPattern
from ..errors import OptionError
from .patch import Place


@final
@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, and the rule for where it is put.

    Attributes:
        height: in pixels.
        width: in pixels.
        place: a corner or the center, or ``(row, column)`` of the top left pixel.
        margin: pixels left free between the box and the edges it is put at.
    """

    height: int
    width: int
    place: Place | tuple[int, int]
    margin: int

    def __post_init__(self) -> None:
        sizes = (self.height, self.width, self.margin)
        if not (all(isinstance(size, int) for size in sizes) and min(self.height, self.width, self.margin + 1) >= 1):
            raise OptionError(
                f"height and width must be whole numbers of at least 1, and margin of at least 0, "
                f"got {self.height}, {self.width} and {self.margin}"
            )
        named = self.place in get_args(Place)
        if not named and [type(value) for value in self.place] != [int, int]:
            raise OptionError(
                f"place must be one of {', '.join(get_args(Place))}, or (row, column), got {self.place!r}"
            )

    def holding(self, mask: Tensor, pattern: Tensor, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)`` that is nothing outside the box.

        Args:
            mask: ``(1, height, width)`` in [0, 1].
            pattern: ``(C, height, width)`` in [0, 1].
            shape: of the images.

        Raises:
            OptionError: the box does not lie inside the image.
        """
        _, height, width = shape
        top, left = self._corner(height, width)
        if not (0 <= top <= height - self.height and 0 <= left <= width - self.width):
            raise OptionError(
                f"a trigger of {self.height}×{self.width} at row {top}, column {left} does not lie inside an image of "
                f"{height}×{width}; make it smaller, or move it"
            )
        around = (left, width - self.width - left, top, height - self.height - top)
        return MaskedPattern(functional.pad(mask, around), functional.pad(pattern, around))

    def _corner(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.place, str):
            return self.place
        if self.place == "center":
            return (height - self.height) // 2, (width - self.width) // 2
        vertical, horizontal = self.place.split("-")
        top = self.margin if vertical == "top" else height - self.height - self.margin
        left = self.margin if horizontal == "left" else width - self.width - self.margin
        return top, left


def check_colour(colour: tuple[float, ...]) -> None:
    """Compare with the range of pixels.

    Raises:
        OptionError: a value is outside [0, 1].
    """
    if not all(0 <= value <= 1 for value in colour):
        raise OptionError(f"colour must be in [0, 1], got {colour}")


def filled(colour: tuple[float, ...], shape: tuple[int, int, int]) -> Tensor:
    """A picture of ``shape`` ``(C, H, W)`` in one colour.

    Raises:
        OptionError: ``colour`` has neither one value nor one per channel.
    """
    if len(colour) not in {1, shape[0]}:
        raise OptionError(f"colour must have 1 or {shape[0]} values, one per channel, got {len(colour)}")
    return torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(shape).contiguous()
