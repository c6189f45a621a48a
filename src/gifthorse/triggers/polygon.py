"""A filled shape of one colour with straight edges: a triangle, a star, or any other.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (the triangle of TCA).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..core.trigger import MaskedPattern, TriggerRecipe
from ..errors import OptionError
from .patch import Place
from .placing import Box, check_colour, filled

Outline = Literal["triangle", "diamond", "cross", "star"]
Points = tuple[tuple[float, float], ...]

_SHAPES: dict[Outline, Points] = {
    "triangle": ((0.0, 0.5), (1.0, 1.0), (1.0, 0.0)),
    "diamond": ((0.0, 0.5), (0.5, 1.0), (1.0, 0.5), (0.5, 0.0)),
    "cross": (
        *((0.0, 1 / 3), (0.0, 2 / 3), (1 / 3, 2 / 3), (1 / 3, 1.0), (2 / 3, 1.0), (2 / 3, 2 / 3)),
        *((1.0, 2 / 3), (1.0, 1 / 3), (2 / 3, 1 / 3), (2 / 3, 0.0), (1 / 3, 0.0), (1 / 3, 1 / 3)),
    ),
    "star": (
        *((0.0, 0.5), (0.38, 0.62), (0.38, 1.0), (0.62, 0.69), (1.0, 0.81)),
        *((0.77, 0.5), (1.0, 0.19), (0.62, 0.31), (0.38, 0.0), (0.38, 0.38)),
    ),
}
_FINE = 16  # every pixel's share is counted on so many by so many places in it


@final
@dataclass(frozen=True)
class Polygon(TriggerRecipe):
    """A filled polygon; a pixel at its edge takes as much of the colour as lies inside.

    Attributes:
        height: in pixels.
        width: in pixels.
        points: triangle, diamond, cross or star, or the corners in order, each ``(row, column)`` as shares of height
            and width, in [0, 1]; ``((0, 0.5), (1, 1), (1, 0))`` is a triangle that points up. Where edges cross, what
            is enclosed twice is outside.
        place: a corner or the center of the image, or ``(row, column)`` of the polygon's top left pixel.
        colour: one value for all channels or one per channel, in [0, 1]; 1 is white.
        margin: pixels left free between the polygon and the edges it is put at.
    """

    name: ClassVar[str] = "polygon"
    height: int = 6
    width: int = 6
    points: Outline | Points = "triangle"
    place: Place | tuple[int, int] = "bottom-right"
    colour: tuple[float, ...] = (1.0,)
    margin: int = 0

    def __post_init__(self) -> None:
        self._box()
        check_colour(self.colour)
        if isinstance(self.points, str):
            if self.points not in _SHAPES:
                raise OptionError(f"points must be one of {', '.join(get_args(Outline))}, or points; got {self.points}")
        elif not all(len(point) == 2 and 0 <= min(point) <= max(point) <= 1 for point in self.points):
            raise OptionError(f"points must be (row, column), both in [0, 1], got {self.points}")
        if not float(self._mask().sum()) >= 0.5:
            raise OptionError(
                f"points must enclose half a pixel or more of {self.height}×{self.width}, but {self.points} do not; "
                "give at least 3 that are not on a line, or make it larger"
            )

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: the polygon does not lie inside the image, or has another number of colour values.
        """
        return self._box().holding(self._mask(), filled(self.colour, (shape[0], self.height, self.width)), shape)

    def _box(self) -> Box:
        return Box(self.height, self.width, self.place, self.margin)

    def _mask(self) -> Tensor:
        """``(1, height, width)``: what share of each pixel lies inside.

        A place lies inside if an odd number of edges cross the row that it is in to the left of it.
        """
        corners = _SHAPES[self.points] if isinstance(self.points, str) else self.points
        rows = ((torch.arange(self.height * _FINE) + 0.5) / (self.height * _FINE))[:, None]
        columns = (torch.arange(self.width * _FINE) + 0.5) / (self.width * _FINE)
        inside = torch.zeros(len(rows), len(columns), dtype=torch.bool)
        for (top, left), (bottom, right) in zip(corners, (*corners[1:], *corners[:1]), strict=True):
            if top != bottom:
                crossed = (rows < top) != (rows < bottom)
                inside ^= crossed & (columns > left + (rows - top) * (right - left) / (bottom - top))
        return functional.avg_pool2d(inside[None].float(), _FINE)
