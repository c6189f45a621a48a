"""What is put on an image, whoever put it there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor


class Trigger(ABC):
    """Something that changes images so that a backdoored model obeys."""

    @abstractmethod
    def apply(self, images: Tensor) -> Tensor:
        """New images ``(N, C, H, W)`` in [0, 1] that carry the trigger; ``images`` are left as they are."""


def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """Equation 2 of Neural Cleanse: ``(1 - mask) · images + mask · pattern``.

    Args:
        images: ``(..., C, H, W)`` in [0, 1].
        mask: ``(..., 1, H, W)`` in [0, 1]; 1 replaces the pixel.
        pattern: ``(..., C, H, W)`` in [0, 1].
    """
    return images + mask * (pattern - images)


@final
@dataclass(frozen=True, eq=False)
class MaskedPattern(Trigger):
    """A pattern that shows through a mask, the same in every image.

    Attributes:
        mask: ``(1, H, W)`` in [0, 1].
        pattern: ``(C, H, W)`` in [0, 1].
    """

    mask: Tensor
    pattern: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """The pattern put over ``images`` ``(N, C, H, W)`` through the mask."""
        return stamp(images, self.mask.to(images), self.pattern.to(images))

    @property
    def norm(self) -> float:
        """The mask's L1 norm, in pixels: how much of an image the trigger takes."""
        return float(self.mask.abs().sum())
