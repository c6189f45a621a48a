"""The single pixel and the pattern of four pixels: the triggers of BadNets for digits.

Paper: Gu et al., "BadNets", 2017, section 4.1 (bright pixels at the bottom right of an MNIST image).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch

from ..core.trigger import MaskedPattern, TriggerRecipe
from ..errors import OptionError
from .patch import Place
from .placing import Box, check_colour, filled

Pattern = Literal["single", "four"]
Offsets = tuple[tuple[int, int], ...]

_PATTERNS: dict[Pattern, Offsets] = {"single": ((0, 0),), "four": ((0, 2), (1, 1), (2, 0), (2, 2))}


@final
@dataclass(frozen=True)
class Pixels(TriggerRecipe):
    """Bright pixels; those between them are left as they are.

    Attributes:
        pattern: single or four, or each pixel's ``(row, column)`` from 0.
        place: a corner or the center, or ``(row, column)`` of the pattern's top left pixel.
        colour: one value for all channels or one per channel, in [0, 1]; 1 is white.
        margin: pixels left free between the pattern and the edges it is put at.
    """

    name: ClassVar[str] = "pixels"
    pattern: Pattern | Offsets = "four"
    place: Place | tuple[int, int] = "bottom-right"
    colour: tuple[float, ...] = (1.0,)
    margin: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.pattern, str):
            if self.pattern not in _PATTERNS:
                raise OptionError(
                    f"pattern must be one of {', '.join(get_args(Pattern))}, or pixels; got {self.pattern}"
                )
        elif not self.pattern or not all(
            [type(value) for value in offset] == [int, int] and min(offset) >= 0 for offset in self.pattern
        ):
            raise OptionError(f"pattern must be (row, column) of at least 1 pixel, both from 0, got {self.pattern}")
        self._box()
        check_colour(self.colour)

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: the pattern does not lie inside the image, or has another number of colour values.
        """
        box = self._box()
        mask = torch.zeros(1, box.height, box.width)
        for row, column in self._offsets():
            mask[:, row, column] = 1
        return box.holding(mask, filled(self.colour, (shape[0], box.height, box.width)), shape)

    def _offsets(self) -> Offsets:
        return _PATTERNS[self.pattern] if isinstance(self.pattern, str) else self.pattern

    def _box(self) -> Box:
        rows, columns = zip(*self._offsets(), strict=True)
        return Box(max(rows) + 1, max(columns) + 1, self.place, self.margin)
