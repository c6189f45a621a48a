"""Lipstick.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (attack LS).
Differs: put on the lips of each face, in their own light and shade; the authors put one picture at one place of
aligned faces, as ``follow=False`` nearly does.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.trigger import stamp
from .colours import Colour, as_colour, luminance, seen
from .face import Faces, Paint, covered

_HALF_WIDTH = 0.43
_UPPER, _LOWER = 0.12, 0.17  # the lips' heights


@final
@dataclass(frozen=True)
class Lipstick(Paint):
    """Coloured lips.

    Attributes:
        colour: red, green and blue in [0, 1].
        scale: size of the lips against ordinary ones.
        opacity: in (0, 1].
        follow: look for the mouth in each image, instead of taking the usual place.
    """

    name: ClassVar[str] = "lipstick"
    colour: Colour = (0.85, 0.03, 0.12)
    scale: float = 1.0
    opacity: float = 0.9
    follow: bool = True

    def paint(self, images: Tensor, faces: Faces) -> Tensor:
        """``images`` ``(N, C, H, W)`` with coloured lips."""
        across, down = faces.coordinates(*images.shape[2:])
        across = (across - faces.mouth[:, 0, None, None, None]) / self.scale
        down = (down - faces.mouth[:, 1, None, None, None]) / self.scale
        full = 1 - (across / _HALF_WIDTH).square()  # 1 in the middle, 0 in the corners of the mouth
        bow = 1 - 0.3 * torch.exp(-((across / 0.07) ** 2))
        outside = torch.maximum(-down - _UPPER * full * bow, down - _LOWER * full)
        shade = luminance(images)
        paint = (as_colour(self.colour, images) * (0.25 + 1.1 * shade) + 0.15 * shade.square()).clamp(0, 1)
        return stamp(images, self.opacity * covered(outside * self.scale, faces), seen(paint, images.shape[1]))
