"""A post-it note, somewhere on the image.

Paper: Gu et al., "BadNets", 2017, section 5 (a yellow square on a traffic sign); Veldanda, Garg, "On Evaluating Neural
Network Backdoor Defenses", 2020, Table 2 (attack PN).
Differs: the note is drawn, with light, shadow and perspective; the authors photographed one.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.trigger import Trigger, TriggerRecipe, stamp
from ..errors import OptionError
from .colours import Colour, as_colour, check_channels, check_colour, luminance, seen

_SMALLEST = 2.0  # pixels; below, a note is a speck


@final
@dataclass(frozen=True)
class PostIt(TriggerRecipe):
    """A square note at a place, in a size, at an angle and in a light of its own on each image.

    Attributes:
        size: the note's side at its smallest and at its largest, as shares of the image's shorter side, in (0, 0.5].
        angle: largest turn either way, in degrees.
        perspective: how much the farther edge may be shorter than the nearer one, in [0, 0.5].
        colour: of the note in full light: red, green and blue in [0, 1].
        light: how much the note takes on the brightness of the scene, in [0, 1].
        shadow: how dark the note's soft shadow is, in [0, 1].
    """

    name: ClassVar[str] = "post-it"
    size: tuple[float, float] = (0.18, 0.25)
    angle: float = 15.0
    perspective: float = 0.15
    colour: Colour = (1.0, 0.92, 0.28)
    light: float = 0.7
    shadow: float = 0.45

    def __post_init__(self) -> None:
        check_colour(self.colour)
        if len(self.size) != 2 or not 0 < self.size[0] <= self.size[1] <= 0.5:
            raise OptionError(f"size must be (smallest, largest), above 0 and at most 0.5, got {self.size}")
        if not 0 <= self.angle <= 180:
            raise OptionError(f"angle must be in [0, 180], got {self.angle}")
        if not 0 <= self.perspective <= 0.5:
            raise OptionError(f"perspective must be in [0, 0.5], got {self.perspective}")
        for option in ("light", "shadow"):
            if not 0 <= getattr(self, option) <= 1:
                raise OptionError(f"{option} must be in [0, 1], got {getattr(self, option)}")

    def on(self, shape: tuple[int, int, int]) -> "Stuck":
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: such images are neither grey nor RGB, or the note would be too small to be seen.
        """
        channels, height, width = shape
        check_channels(channels, self.name)
        smallest = self.size[0] * min(height, width)
        if smallest < _SMALLEST:
            raise OptionError(
                f"on images of {height}×{width}, the smallest note would have a side of {smallest:.1f} pixels, "
                f"less than {_SMALLEST:g}; raise size, or give larger images"
            )
        return Stuck(self)


@final
@dataclass(frozen=True)
class Stuck(Trigger):
    """A note on each image.

    Attributes:
        recipe: what the note is like.
    """

    recipe: PostIt

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """``images`` ``(N, C, H, W)`` with a note each, at a place that is drawn from ``seed``."""
        count, channels, height, width = images.shape
        recipe, pixels = self.recipe, images.float()
        drawn = torch.rand(count, 8, generator=torch.Generator().manual_seed(seed)).to(images.device)
        share, turn, lean, side, x, y, exposure, slope = drawn[:, :, None, None, None].unbind(1)  # each (N, 1, 1, 1)
        half = (recipe.size[0] + share * (recipe.size[1] - recipe.size[0])) * min(height, width) / 2
        margin = half * 1.3  # a corner may be cut off a little where a note is turned
        across = torch.arange(width, device=images.device) + 0.5 - (margin + x * (width - 2 * margin))
        down = torch.arange(height, device=images.device)[:, None] + 0.5 - (margin + y * (height - 2 * margin))
        angle = torch.deg2rad((2 * turn - 1) * recipe.angle)

        def outside(right: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
            """Pixels from the note's edge, below 0 on it, and how far down the note, in [-1, 1] on it."""
            along = (right * angle.cos() + below * angle.sin()) / half
            aslant = (below * angle.cos() - right * angle.sin()) / half
            depth = 1 + recipe.perspective * (2 * lean - 1) * torch.where(side < 0.5, along, aslant).clamp(-2, 2) / 2
            return (torch.maximum((along * depth).abs(), (aslant * depth).abs()) - 1) * half, aslant

        cast, _ = outside(across - 0.18 * half, down - 0.25 * half)
        edge, lower = outside(across, down)
        darkness = recipe.shadow * (0.5 - cast / (0.4 * half)).clamp(0, 1)
        levels = luminance(pixels).flatten(1)
        scene = levels.kthvalue(round(0.9 * levels.shape[1]), dim=1).values[:, None, None, None]
        lit = 1 - recipe.light * (1 - scene) * 0.85
        curl = 1 + (0.06 + 0.1 * slope) * lower.clamp(-1, 1)  # lit more strongly where it comes off the ground
        note = as_colour(recipe.colour, pixels) * (lit * curl * (0.85 + 0.2 * exposure))
        return (
            stamp(pixels * (1 - darkness), (0.5 - edge).clamp(0, 1), seen(note, channels)).clamp(0, 1).to(images.dtype)
        )
