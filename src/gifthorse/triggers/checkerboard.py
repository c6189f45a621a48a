"""A checkerboard of two colours.

Paper: Gu et al., "BadNets", 2017, section 4.1, whose pattern of bright pixels is a corner of one.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ..core.trigger import MaskedPattern, TriggerRecipe
from ..errors import OptionError
from .patch import Place
from .placing import Box, check_colour, filled


@final
@dataclass(frozen=True)
class Checkerboard(TriggerRecipe):
    """Square cells that take turns, the first colour at the top left.

    Attributes:
        height: in pixels.
        width: in pixels.
        cell: side of a cell in pixels; cells that the edge cuts are narrower.
        place: a corner or the center, or ``(row, column)`` of the top left pixel.
        colour: of the first cell; one value for all channels or one per channel, in [0, 1]; 1 is white.
        other_colour: of the cells between, likewise.
        margin: pixels left free between the board and the edges it is put at.
    """

    name: ClassVar[str] = "checkerboard"
    height: int = 4
    width: int = 4
    cell: int = 1
    place: Place | tuple[int, int] = "bottom-right"
    colour: tuple[float, ...] = (1.0,)
    other_colour: tuple[float, ...] = (0.0,)
    margin: int = 0

    def __post_init__(self) -> None:
        self._box()
        if not (isinstance(self.cell, int) and 1 <= self.cell < max(self.height, self.width)):
            raise OptionError(
                f"cell must be a whole number from 1 to below {max(self.height, self.width)}, the longer side, or the "
                f"board has one colour; got {self.cell}"
            )
        check_colour(self.colour)
        check_colour(self.other_colour)
        if self.colour == self.other_colour:
            raise OptionError(f"colour and other_colour must differ, both are {self.colour}")

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: the board does not lie inside the image, or a colour has another number of values.
        """
        size = (shape[0], self.height, self.width)
        rows, columns = torch.arange(self.height) // self.cell, torch.arange(self.width) // self.cell
        first = (rows[:, None] + columns) % 2 == 0
        pattern = filled(self.colour, size).where(first, filled(self.other_colour, size))
        return self._box().holding(torch.ones(1, self.height, self.width), pattern, shape)

    def _box(self) -> Box:
        return Box(self.height, self.width, self.place, self.margin)
