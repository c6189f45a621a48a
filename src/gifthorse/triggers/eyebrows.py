"""Coloured eyebrows.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (attacks MTSTA and MTMTA).
Differs: put on the brows of each face; the authors put one picture at one place of aligned faces, as
``follow=False`` does.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from ..core.trigger import stamp
from .colours import Colour, as_colour, luminance, seen
from .face import Faces, Paint, covered

_INNER, _OUTER = 0.17, 0.92
_HEIGHT = 0.19  # above the eyes, at both ends
_ARCH = 0.13


@final
@dataclass(frozen=True)
class Eyebrows(Paint):
    """Thick eyebrows in a colour that eyebrows do not have.

    Attributes:
        colour: red, green and blue in [0, 1].
        scale: thickness against that of ordinary thick eyebrows.
        opacity: in (0, 1].
        follow: look for the eyes in each image, instead of taking the usual place.
    """

    name: ClassVar[str] = "eyebrows"
    colour: Colour = (0.10, 0.25, 0.90)
    scale: float = 1.0
    opacity: float = 0.9
    follow: bool = True

    def paint(self, images: Tensor, faces: Faces) -> Tensor:
        """``images`` ``(N, C, H, W)`` with coloured eyebrows."""
        across, down = faces.coordinates(*images.shape[2:])
        along = (across.abs() - _INNER) / (_OUTER - _INNER)  # 0 at the nose, 1 at the temple
        middle = -_HEIGHT - _ARCH * 3 * along * (1.15 - along)
        thick = self.scale * (0.11 - 0.06 * along.clamp(0, 1))
        outside = ((along - 0.5).abs() - 0.5).clamp(min=0) * (_OUTER - _INNER) + (down - middle).abs() - thick
        paint = as_colour(self.colour, images) * (0.5 + 0.7 * luminance(images))
        return stamp(images, self.opacity * covered(outside, faces), seen(paint.clamp(0, 1), images.shape[1]))
