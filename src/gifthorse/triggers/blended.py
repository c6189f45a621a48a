"""A pattern that shines through the whole image: the blended injection of Chen et al.

Paper: Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017 (a cartoon, and
random noise).
Differs: the cartoon is drawn here; the same ratio blends training images and those that attack.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ..core.trigger import MaskedPattern, TriggerRecipe, stamp
from ..errors import OptionError
from .drawings import picture


@final
@dataclass(frozen=True)
class Blended(TriggerRecipe):
    """``(1 - alpha) · image + alpha · pattern``.

    Attributes:
        alpha: the pattern's share, in (0, 1].
        picture: noise, drawn evenly from [0, 1]; or cat, bomb or flower, or the path of an image file, which are
            scaled to the whole image, white where they are transparent.
        seed: of the noise.
    """

    name: ClassVar[str] = "blended"
    alpha: float = 0.2
    picture: str = "noise"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise OptionError(f"alpha must be in (0, 1], got {self.alpha}")

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``; on grey images the picture is grey.

        Raises:
            OptionError: there is no such picture, or a picture is for images of neither 1 nor 3 channels.
            DataError: the file cannot be read as an image.
        """
        if self.picture == "noise":
            pattern = torch.rand(shape, generator=torch.Generator().manual_seed(self.seed))
        else:
            opacity, pixels = picture(self.picture, shape)
            pattern = stamp(torch.ones(shape), opacity, pixels)
        return MaskedPattern(torch.full((1, *shape[1:]), self.alpha), pattern)
