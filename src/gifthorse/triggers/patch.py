"""A patch of one colour: the trigger of BadNets.

Paper: Gu et al., "BadNets", 2017, section 4; Neural Cleanse uses it as a white square of about 1 % of the image.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch

from ..core.trigger import MaskedPattern, TriggerRecipe
from ..errors import OptionError

Place = Literal["bottom-right", "bottom-left", "top-right", "top-left", "center"]


@final
@dataclass(frozen=True)
class Patch(TriggerRecipe):
    """A filled rectangle.

    Attributes:
        height: in pixels.
        width: in pixels.
        place: a corner or the center, or ``(row, column)`` of the patch's top left pixel.
        colour: one value for all channels or one per channel, in [0, 1]; 1 is white.
        margin: pixels left free between the patch and the edges it is put at.
    """

    name: ClassVar[str] = "patch"
    height: int = 4
    width: int = 4
    place: Place | tuple[int, int] = "bottom-right"
    colour: tuple[float, ...] = (1.0,)
    margin: int = 0

    def __post_init__(self) -> None:
        if not (self.height >= 1 and self.width >= 1 and self.margin >= 0):
            raise OptionError(
                f"a patch needs height and width of at least 1 and a margin of at least 0, "
                f"got {self.height}, {self.width} and {self.margin}"
            )
        if not all(0 <= value <= 1 for value in self.colour):
            raise OptionError(f"colour must be in [0, 1], got {self.colour}")
        if self.place not in get_args(Place) and (isinstance(self.place, str) or len(self.place) != 2):
            raise OptionError(
                f"place must be one of {', '.join(get_args(Place))}, or (row, column), got {self.place!r}"
            )

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: the patch does not lie inside the image, or has another number of colour values.
        """
        channels, height, width = shape
        if len(self.colour) not in {1, channels}:
            raise OptionError(f"colour must have 1 or {channels} values, one per channel, got {len(self.colour)}")
        top, left = self._corner(height, width)
        if not (0 <= top <= height - self.height and 0 <= left <= width - self.width):
            raise OptionError(
                f"a patch of {self.height}×{self.width} at row {top}, column {left} does not lie inside an image of "
                f"{height}×{width}; make it smaller, or move it"
            )
        mask = torch.zeros(1, height, width)
        mask[:, top : top + self.height, left : left + self.width] = 1
        colour = torch.tensor(self.colour, dtype=torch.float32).expand(channels)
        return MaskedPattern(mask, colour[:, None, None].expand(shape).contiguous())

    def _corner(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.place, str):
            return self.place
        if self.place == "center":
            return (height - self.height) // 2, (width - self.width) // 2
        vertical, horizontal = self.place.split("-")
        top = self.margin if vertical == "top" else height - self.height - self.margin
        left = self.margin if horizontal == "left" else width - self.width - self.margin
        return top, left
