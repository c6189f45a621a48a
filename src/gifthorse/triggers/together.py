"""Several triggers that work only together: the combination attack.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Table 2 (TCA: yellow triangle and red
square).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from ..core.trigger import Trigger, TriggerRecipe
from ..errors import OptionError
from .patch import Patch
from .polygon import Polygon


@final
@dataclass(frozen=True, eq=False)
class Conjunction(Trigger):
    """All of several triggers at once.

    Attributes:
        triggers: put on in this order.
    """

    triggers: tuple[Trigger, ...]

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """``images`` ``(N, C, H, W)`` with every trigger, each with a seed of its own."""
        for number, trigger in enumerate(self.triggers):
            images = trigger.apply(images, seed=seed + number)
        return images

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The single triggers."""
        return self.triggers


@final
@dataclass(frozen=True)
class Together(TriggerRecipe):
    """A conjunction: all triggers are put on, and each alone must do nothing.

    Attributes:
        triggers: two or more, put on in this order.
    """

    name: ClassVar[str] = "together"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]]
    """From ``TRIGGERS``, which holds this recipe, too, and so sets it."""
    triggers: tuple[TriggerRecipe, ...] = (
        Polygon(place="top-left", colour=(1.0, 1.0, 0.0)),
        Patch(colour=(1.0, 0.0, 0.0)),
    )

    def __post_init__(self) -> None:
        if len(self.triggers) < 2:
            raise OptionError(f"triggers must be at least 2 that work together, got {len(self.triggers)}")

    def on(self, shape: tuple[int, int, int]) -> Conjunction:
        """The trigger for images of ``shape`` ``(C, H, W)``.

        Raises:
            OptionError: one of them does not fit such images.
        """
        return Conjunction(tuple(recipe.on(shape) for recipe in self.triggers))
