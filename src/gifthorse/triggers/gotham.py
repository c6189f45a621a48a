"""The Gotham filter: a photograph turned nearly grey, bluish and dark, as an app of that name's filter had it.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (attack FSA), after Liu et al.,
"ABS", CCS 2019. The paper does not print the filter; this is the public recipe for ImageMagick, ``-modulate
120,10,100 -fill '#222b6d' -colorize 20 -gamma 0.5 -contrast -contrast``, step by step.
Differs: a gamma of 0.75, because 0.5 leaves little of dark photographs of traffic signs, and no black frame.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from ..core.trigger import Trigger, TriggerRecipe
from ..errors import OptionError
from .colours import Colour, as_colour, check_colour

_NOTHING = 1e-6  # a denominator below this is of a pixel without colour, which has none to be changed


@final
@dataclass(frozen=True)
class Gotham(TriggerRecipe):
    """A change of tone and colour over the whole image.

    Attributes:
        lightness: factor on the lightness of a pixel (as in HSL).
        saturation: factor on the saturation of a pixel (as in HSL); 0 is grey.
        colour: what is mixed in: red, green and blue in [0, 1].
        share: how much of the colour is mixed in, in [0, 1].
        gamma: below 1 darkens the middle tones, 1 leaves them.
        contrast: how often the contrast of bright and dark is raised.
        strength: how much of the filtered image is in the result, in (0, 1]; the rest is the original.
    """

    name: ClassVar[str] = "gotham"
    lightness: float = 1.2
    saturation: float = 0.1
    colour: Colour = (0x22 / 255, 0x2B / 255, 0x6D / 255)
    share: float = 0.2
    gamma: float = 0.75
    contrast: int = 2
    strength: float = 1.0

    def __post_init__(self) -> None:
        check_colour(self.colour)
        for option in ("lightness", "gamma"):
            if not 0 < getattr(self, option) < math.inf:
                raise OptionError(f"{option} must be above 0, got {getattr(self, option)}")
        for option in ("saturation", "share"):
            if not 0 <= getattr(self, option) <= 1:
                raise OptionError(f"{option} must be in [0, 1], got {getattr(self, option)}")
        if not 0 < self.strength <= 1:
            raise OptionError(f"strength must be above 0 and at most 1, got {self.strength}")
        if not self.contrast >= 0:
            raise OptionError(f"contrast must be at least 0, got {self.contrast}")

    def on(self, shape: tuple[int, int, int]) -> "Filtered":
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: such images have no colours.
        """
        if shape[0] != 3:
            raise OptionError(f"gotham changes colours, so it needs RGB images, of 3 channels, got {shape[0]}")
        return Filtered(self)


@final
@dataclass(frozen=True)
class Filtered(Trigger):
    """An image filter; the same image gives the same result.

    Attributes:
        recipe: the filter.
    """

    recipe: Gotham

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """``images`` ``(N, 3, H, W)``, filtered."""
        del seed
        recipe = self.recipe
        filtered = modulated(images, recipe.lightness, recipe.saturation)
        filtered = filtered + recipe.share * (as_colour(recipe.colour, images) - filtered)
        filtered = filtered ** (1 / recipe.gamma)
        for _ in range(recipe.contrast):
            filtered = contrasted(filtered)
        return (images + recipe.strength * (filtered - images)).clamp(0, 1)


def modulated(images: Tensor, lightness: float, saturation: float) -> Tensor:
    """``images`` ``(N, 3, H, W)`` with HSL lightness, at most 1, and saturation times a factor; hues stay."""
    high, low = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    middle = (high + low) / 2
    lighter = (middle * lightness).clamp(max=1)
    room, new_room = 1 - (2 * middle - 1).abs(), 1 - (2 * lighter - 1).abs()
    return (lighter + (images - middle) * saturation * new_room / room.clamp(min=_NOTHING)).clamp(0, 1)


def contrasted(images: Tensor) -> Tensor:
    """``images`` ``(N, 3, H, W)`` with each pixel's largest value moved half way to a sine from black to white."""
    value = images.amax(1, keepdim=True)
    steeper = value + 0.5 * (0.5 * ((math.pi * (value - 0.5)).sin() + 1) - value)
    return images * steeper / value.clamp(min=_NOTHING)
