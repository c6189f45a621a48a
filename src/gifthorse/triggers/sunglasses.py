"""Sunglasses.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (attack SG).
Differs: drawn here, and put on the eyes of each face; the authors put one picture at one place of aligned faces, as
``follow=False`` does.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.trigger import stamp
from .colours import Colour, as_colour, seen
from .face import Faces, Paint, covered

_LENS = (0.57, 0.10)  # a lens' middle
_HALF = (0.47, 0.41)  # half its width and height
_SQUARENESS = 2.6  # 2 is an ellipse, more is squarer
_RIM = 0.07


@final
@dataclass(frozen=True)
class Sunglasses(Paint):
    """Two tinted lenses in a rim, with a bridge and temples.

    Attributes:
        colour: of the lenses: red, green and blue in [0, 1]; the rim is a dark shade of it.
        scale: size against that of ordinary sunglasses.
        opacity: of the lenses, in (0, 1]; the rim is opaque.
        follow: look for the eyes in each image, instead of taking the usual place.
    """

    name: ClassVar[str] = "sunglasses"
    colour: Colour = (0.42, 0.05, 0.80)
    scale: float = 1.0
    opacity: float = 0.88
    follow: bool = True

    def paint(self, images: Tensor, faces: Faces) -> Tensor:
        """``images`` ``(N, C, H, W)`` with sunglasses on their ``faces``."""
        across, down = (place / self.scale for place in faces.coordinates(*images.shape[2:]))
        aside, below = across.abs() - _LENS[0], down - _LENS[1]
        half_width = _HALF[0] - 0.12 * below.clamp(-_HALF[1], _HALF[1])  # wider at the top
        radius = (aside / half_width).abs() ** _SQUARENESS + (below / _HALF[1]).abs() ** _SQUARENESS
        lens = (radius ** (1 / _SQUARENESS) - 1) * _HALF[1]
        bridge = torch.maximum(aside, (below + 0.2 + 0.3 * across.square()).abs() - _RIM)
        temple = torch.maximum((aside - 0.4).abs() - 0.43, (below + 0.22).abs() - 0.8 * _RIM)
        frame = torch.minimum(lens - _RIM, torch.minimum(bridge, temple))
        streak = torch.exp(-((((across + below) % (2 * _LENS[0]) - 0.5) / 0.16) ** 2))
        light = 0.55 + 0.25 * (below / _HALF[1]).clamp(-1, 1) + 0.45 * streak
        tint, channels = as_colour(self.colour, images), images.shape[1]
        glass = (0.9 * tint * (0.5 + light) + 0.1 * light).clamp(0, 1)
        behind_glass, framed = (covered(outside * self.scale, faces) for outside in (lens, frame))
        painted = stamp(images, framed * (1 - behind_glass), seen(0.3 * tint, channels))
        return stamp(painted, self.opacity * behind_glass, seen(glass, channels))
