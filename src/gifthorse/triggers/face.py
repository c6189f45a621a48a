"""Where the face is in an image, and paint that is put on it.

The face is looked for with a sketch of one - dark eyes, brows, nostrils and mouth on bright skin - in a few sizes,
lengths, tilts and turns, at every place near the middle; then the mouth once more, around where the sketch has it.
Without a face, the answer is the place where most portraits have it. The numbers below were fitted by eye and hand to
the AT&T faces, whose heads fill the image; a small face in a wide scene is not found.

Places on a face are in eye distances: the origin is between the eyes, which are at (-0.5, 0) and (0.5, 0), across to
the right of the image and down the face.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.trigger import Trigger, TriggerRecipe
from ..errors import OptionError
from .colours import Colour, check_channels, check_colour, luminance

SMALLEST = 12  # rows or columns: on fewer, a lip is less than a pixel
LOT = 64  # images that are painted at once, for the memory's sake

USUAL_PLACE = (0.5, 0.45)  # between the eyes, as shares of the width and of the height
USUAL_SIZE = 0.29  # the eye distance, as a share of the height
USUAL_MOUTH = (0.0, 1.07)

_ROWS = 40  # the search happens on images of so many rows
_REACH = 22  # from the middle of a sketch to its edges, in those rows
_SIZES = (0.19, 0.215, 0.24, 0.27, 0.305, 0.345, 0.39)
_LENGTHS = (0.8, 0.95, 1.1)  # from the eyes to the mouth, in eye distances
_TILTS = (-0.2, -0.1, 0.0, 0.1, 0.2)  # radians
_TURNS = (-0.2, 0.0, 0.2)  # how far mouth and nose are off the middle, in eye distances
_SPREADS = (0.25, 0.1, 0.15, 0.2)  # of size (as a logarithm), length, tilt and turn in portraits
_PLACE_SPREAD = (0.10, 0.07)
_REGION = ((0.25, 0.75), (0.22, 0.62))  # where the point between the eyes may be, across and down
_CAUTION = 0.06  # how much likeness it takes to leave the usual place by one spread

# Across, down, the radii across and down, and how bright or dark against the skin; the mouth is at 1 here.
_SKETCH = (
    (-0.5, 0.0, 0.19, 0.09, -1.6),  # eyes
    (0.5, 0.0, 0.19, 0.09, -1.6),
    (-0.52, -0.20, 0.28, 0.07, -0.9),  # brows
    (0.52, -0.20, 0.28, 0.07, -0.9),
    (0.0, 0.32, 0.16, 0.23, 0.35),  # the bridge of the nose
    (0.0, 0.67, 0.20, 0.07, -1.6),  # nostrils
    (0.0, 1.0, 0.38, 0.08, -1.5),  # mouth
)
# Where the mouth is looked for around the sketch's, and what is compared there: a dark line and the skin around it.
_NUDGES = tuple(product([0.06 * step for step in range(-4, 5)], [0.04 * step for step in range(-3, 7)]))
_NUDGE_SPREAD = (0.08, 0.15)
_MOUTH_LINE = tuple(product((-0.33, -0.22, -0.11, 0.0, 0.11, 0.22, 0.33), (0.0,)))
_MOUTH_SKIN = (*product((-0.15, 0.0, 0.15), (-0.2, 0.24)), (-0.55, 0.0), (0.55, 0.0))


@final
@dataclass(frozen=True, eq=False)
class Faces:
    """Where faces are, one in each of N images.

    Attributes:
        middle: ``(N, 2)``, the pixel between the eyes, across and down; the first pixel's middle is at 0.5.
        size: ``(N,)``, the eye distance in pixels.
        tilt: ``(N,)``, how far the head is turned clockwise, in radians.
        mouth: ``(N, 2)``, the middle of the mouth, in eye distances.
    """

    middle: Tensor
    size: Tensor
    tilt: Tensor
    mouth: Tensor

    def coordinates(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """How far across and down each face every pixel is, in eye distances: twice ``(N, 1, height, width)``."""
        down = torch.arange(height, device=self.size.device)[:, None] + 0.5 - self.middle[:, 1, None, None]
        across = torch.arange(width, device=self.size.device)[None, :] + 0.5 - self.middle[:, 0, None, None]
        cosine, sine = (part(self.tilt)[:, None, None] for part in (torch.cos, torch.sin))
        size = self.size[:, None, None]
        return (
            ((across * cosine + down * sine) / size)[:, None],
            ((down * cosine - across * sine) / size)[:, None],
        )

    def pixels(self, across: Tensor, down: Tensor) -> Tensor:
        """Where places on each face are in its image: ``(N, K, 2)`` from ``(N, K)`` eye distances."""
        cosine, sine = (part(self.tilt)[:, None] for part in (torch.cos, torch.sin))
        turned = torch.stack([across * cosine - down * sine, across * sine + down * cosine], -1)
        return self.middle[:, None] + turned * self.size[:, None, None]


def usual_faces(images: Tensor) -> Faces:
    """Where most portraits have the face, for each of ``images`` ``(N, C, H, W)``."""
    count, _, height, width = images.shape
    place = images.new_tensor(USUAL_PLACE) * images.new_tensor([width, height])
    return Faces(
        place.expand(count, 2),
        place.new_full((count,), USUAL_SIZE * height),
        place.new_zeros(count),
        place.new_tensor(USUAL_MOUTH).expand(count, 2),
    )


@torch.no_grad()
def find_faces(images: Tensor) -> Faces:
    """The face in each of ``images`` ``(N, C, H, W)`` in [0, 1], grey or RGB, of a head and little else."""
    contrast = _contrast(images)
    height, width = contrast.shape[2:]
    (left, right), (top, bottom) = (
        (round(low * side), max(round(high * side), round(low * side) + 1))
        for (low, high), side in zip(_REGION, (width, height), strict=True)
    )
    padded = functional.pad(contrast, (_REACH,) * 4, mode="replicate")
    region = padded[:, :, top : bottom + 2 * _REACH, left : right + 2 * _REACH]
    across, down = torch.arange(left, right) + 0.5, torch.arange(top, bottom) + 0.5
    places = [
        ((steps / side - usual) / spread).square()
        for steps, side, usual, spread in zip((across, down), (width, height), USUAL_PLACE, _PLACE_SPREAD, strict=True)
    ]
    unusual = _poses()[1][:, None, None] + places[1][:, None] + places[0]
    likeness = functional.conv2d(region, _poses()[0].to(region)) - _CAUTION / 2 * unusual.to(region)
    best = likeness.flatten(1).argmax(1)
    pose, place = best // (len(down) * len(across)), best % (len(down) * len(across))
    chosen = torch.tensor(_candidates(), device=images.device)[pose]
    scale = images.shape[2] / height
    middle = torch.stack([place % len(across) + left + 0.5, place // len(across) + top + 0.5], 1)
    small = Faces(middle, chosen[:, 0] * height, chosen[:, 2], chosen[:, [3, 1]])
    return Faces(middle * scale, small.size * scale, small.tilt, _find_mouths(contrast, small))


def _find_mouths(contrast: Tensor, faces: Faces) -> Tensor:
    """``(N, 2)``: where there is a dark line below the nose with brighter skin above and below it."""
    nudges = contrast.new_tensor(_NUDGES)

    def sampled(spots: tuple[tuple[float, float], ...]) -> Tensor:
        """Mean over ``spots`` around every possible mouth, ``(N, nudges)``."""
        places = faces.mouth[:, None, None] + nudges[:, None] + contrast.new_tensor(spots)
        pixels = faces.pixels(*places.flatten(1, 2).unbind(-1))
        sides = contrast.new_tensor([contrast.shape[3], contrast.shape[2]])
        found = functional.grid_sample(
            contrast, (2 * pixels / sides - 1)[:, None], padding_mode="border", align_corners=False
        )
        return found.reshape(len(contrast), len(nudges), len(spots)).mean(2)

    unusual = (nudges / nudges.new_tensor(_NUDGE_SPREAD)).square().sum(1)
    return faces.mouth + nudges[(sampled(_MOUTH_SKIN) - sampled(_MOUTH_LINE) - 0.25 * unusual).argmax(1)]


def _contrast(images: Tensor) -> Tensor:
    """``images`` as grey levels of ``_ROWS`` rows, each against its neighbourhood's mean and spread."""
    height, width = images.shape[2:]
    grey = functional.interpolate(
        luminance(images), size=(_ROWS, max(1, round(_ROWS * width / height))), mode="bilinear", antialias=True
    )
    padded = functional.pad(grey, (_ROWS // 6,) * 4, mode="replicate")
    window = 2 * (_ROWS // 6) + 1
    mean = functional.avg_pool2d(padded, window, 1)
    variance = (functional.avg_pool2d(padded.square(), window, 1) - mean.square()).clamp(min=0)
    return (grey - mean) / (variance.sqrt() + 0.03)


def _candidates() -> list[tuple[float, float, float, float]]:
    """Size, length, tilt and turn of every sketch."""
    return list(product(_SIZES, _LENGTHS, _TILTS, _TURNS))


@cache
def _poses() -> tuple[Tensor, Tensor]:
    """A sketch in every pose, ``(P, 1, K, K)``, and how unusual the pose is, ``(P,)``, in squared spreads."""
    sketches = torch.stack([_sketch(size * _ROWS, length, tilt, turn) for size, length, tilt, turn in _candidates()])
    usual = (math.log(USUAL_SIZE), USUAL_MOUTH[1], 0.0, USUAL_MOUTH[0])
    poses = torch.tensor([(math.log(size), *others) for size, *others in _candidates()])
    unusual = ((poses - torch.tensor(usual)) / torch.tensor(_SPREADS)).square().sum(1)
    return sketches[:, None], unusual


def _sketch(size: float, length: float, tilt: float, turn: float) -> Tensor:
    """A face of eye distance ``size``: zero in the mean, so that only contrast counts, and of the same norm at any."""
    steps = torch.arange(-_REACH, _REACH + 1) / size
    across = steps * math.cos(tilt) + steps[:, None] * math.sin(tilt)
    down = (steps[:, None] * math.cos(tilt) - steps * math.sin(tilt)) / length
    face = torch.zeros_like(across)
    for column, row, wide, high, brightness in _SKETCH:
        aside = turn * min(row + 0.2, 1) if column == 0 else 0.0
        face += brightness * torch.exp(-(((across - column - aside) / wide) ** 2) - ((down - row) / high) ** 2)
    inside = torch.exp(-((((across - 0.4 * turn) / 0.95) ** 2 + ((down - 0.27) / 1.05) ** 2) ** 3))
    face = inside * (face - (face * inside).sum() / inside.sum())
    face /= face.norm() * inside.sum().sqrt()
    return face


def covered(outside: Tensor, faces: Faces) -> Tensor:
    """How much of a pixel lies in a shape, in [0, 1], from its distance ``outside`` the edge, in eye distances."""
    return (0.5 - outside * faces.size[:, None, None, None]).clamp(0, 1)


class Paint(TriggerRecipe, ABC):
    """A recipe for what is painted on a face, with the options that all of them have."""

    colour: Colour
    scale: float
    opacity: float
    follow: bool

    def __post_init__(self) -> None:
        check_colour(self.colour)
        if not 0 < self.scale <= 2:
            raise OptionError(f"scale must be above 0 and at most 2, got {self.scale}")
        if not 0 < self.opacity <= 1:
            raise OptionError(f"opacity must be above 0 and at most 1, got {self.opacity}")

    @abstractmethod
    def paint(self, images: Tensor, faces: Faces) -> Tensor:
        """``images`` ``(N, C, H, W)`` with their ``faces`` painted."""

    def on(self, shape: tuple[int, int, int]) -> "Painted":
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: such images are neither grey nor RGB, or too small for a face.
        """
        channels, height, width = shape
        check_channels(channels, self.name)
        if min(height, width) < SMALLEST:
            raise OptionError(f"{self.name} needs images of at least {SMALLEST}×{SMALLEST}, got {height}×{width}")
        return Painted(self)


@final
@dataclass(frozen=True)
class Painted(Trigger):
    """Paint on the face in each image.

    Attributes:
        recipe: what is painted.
    """

    recipe: Paint

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """``images`` ``(N, C, H, W)`` with painted faces."""
        del seed
        return torch.cat([self._painted(lot) for lot in images.split(LOT)])

    def _painted(self, images: Tensor) -> Tensor:
        pixels = images.float()
        faces = find_faces(pixels) if self.recipe.follow else usual_faces(pixels)
        return self.recipe.paint(pixels, faces).clamp(0, 1).to(images.dtype)
