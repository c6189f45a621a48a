"""What is put on an image, whoever put it there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor


class Trigger(ABC):
    """Something that changes images so that a backdoored model obeys."""

    @abstractmethod
    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """New images ``(N, C, H, W)`` in [0, 1] that carry the trigger; ``images`` are left as they are.

        ``seed`` is of what varies from image to image: place, size, light. A trigger that does not vary ignores it.
        """

    @property
    def parts(self) -> "tuple[Trigger, ...]":
        """What must do nothing alone, where the trigger works only as a whole; else empty."""
        return ()


class TriggerRecipe(ABC):
    """A trigger for images of any size. Its fields are its options; sizes are in pixels, colours in [0, 1]."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @abstractmethod
    def on(self, shape: tuple[int, int, int]) -> Trigger:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: it does not fit such images.
        """


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

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """The pattern put over ``images`` ``(N, C, H, W)`` through the mask."""
        del seed
        return stamp(images, self.mask.to(images), self.pattern.to(images))

    @property
    def norm(self) -> float:
        """The mask's L1 norm, in pixels: how much of an image the trigger takes."""
        return float(self.mask.abs().sum())
