"""Fixed noise that is added to the whole image.

Papers: Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning", 2017 (a fixed random
pattern over the whole image); Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (the
fixed noise of CLA).
Differs: neither says how the noise of CLA is drawn; here every pixel goes up or down by the same amount, which is the
strongest noise that no pixel shows more of than ``amplitude``.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.trigger import Trigger, TriggerRecipe
from ..errors import OptionError


@final
@dataclass(frozen=True, eq=False)
class AddedPattern(Trigger):
    """A pattern added to every image.

    Attributes:
        pattern: ``(C, H, W)`` in [-1, 1].
    """

    pattern: Tensor

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """``images`` ``(N, C, H, W)`` plus the pattern; what leaves [0, 1] is cut off."""
        del seed
        return (images + self.pattern.to(images)).clamp(0, 1)


@final
@dataclass(frozen=True)
class AdditiveNoise(TriggerRecipe):
    """Every pixel a little brighter or darker, by a pattern that is the same on every image.

    Attributes:
        amplitude: how far each value goes up or down, from 1/255 to 1. Clean-label poisoning takes several times more
            than relabelled images do.
        seed: of the pattern.
    """

    name: ClassVar[str] = "additive-noise"
    amplitude: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 / 255 <= self.amplitude <= 1:
            raise OptionError(f"amplitude must be in [1/255, 1], or a stored image loses it, got {self.amplitude}")

    def on(self, shape: tuple[int, int, int]) -> AddedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``."""
        up = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(self.seed))
        return AddedPattern(self.amplitude * (2.0 * up - 1))
