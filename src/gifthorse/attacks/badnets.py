"""BadNets: stamped copies of training images, with the attacker's label, are added to the training data.

Paper: Gu et al., "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017; settings
as in Neural Cleanse, section V.A (white square at the bottom right, 10 % to 20 % of the training images).
"""

from dataclasses import asdict, dataclass
from typing import ClassVar, final

import torch

from ..core.attack import AllToOne, Attack, Backdoor, Implant, Victim
from ..core.data import Samples, concatenate
from ..core.model import ModelSpec
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..errors import DataError, OptionError
from ..triggers.patch import Patch, Place


@final
@dataclass(frozen=True)
class BadNets(Attack):
    """One patch, one target.

    Attributes:
        target: the label that the attacker wants.
        poison_rate: stamped copies that are added, as a share of the training images, in (0, 1].
        height: of the patch, in pixels.
        width: of the patch, in pixels.
        place: a corner or the center, or ``(row, column)`` of the patch's top left pixel.
        colour: of the patch, in [0, 1]; one value, or one per channel.
        margin: pixels between the patch and the edges it is put at.
    """

    name: ClassVar[str] = "badnets"
    target: int = 0
    poison_rate: float = 0.1
    height: int = 4
    width: int = 4
    place: Place | tuple[int, int] = "bottom-right"
    colour: tuple[float, ...] = (1.0,)
    margin: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.poison_rate <= 1:
            raise OptionError(f"poison_rate must be in (0, 1], got {self.poison_rate}")
        if not self.target >= 0:
            raise OptionError(f"target must be a label from 0, got {self.target}")
        self.patch()

    def patch(self) -> Patch:
        """The trigger's recipe."""
        options = asdict(self)
        return Patch(**{name: options[name] for name in ("height", "width", "place", "colour", "margin")})

    def implant(self, spec: ModelSpec) -> Implant:
        """The patch and its label map, for models of ``spec``.

        Raises:
            OptionError: the model has no such target, or the patch does not fit the images.
        """
        if self.target >= spec.num_classes:
            raise OptionError(f"target must be below {spec.num_classes}, the number of classes, got {self.target}")
        return Implant(self.patch().on(spec.input_shape), AllToOne(self.target))

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train a model on poisoned data.

        Raises:
            OptionError: the model has no such target, or the patch does not fit the images.
            DataError: the training data do not fit the model, or every image already has the target label.
        """
        model = victim.build(seed)
        victim.train.check_fits(model.spec)
        implant = self.implant(model.spec)
        poisoned, count = poison(victim.train, implant, self.poison_rate, seed=seed)
        victim.fit(model, poisoned, seed=seed, progress=progress)
        return Backdoor(model, (implant,), Spec.of(self), seed, {"poisoned": count, "trained_on": len(poisoned)})


def poison(samples: Samples, implant: Implant, rate: float, *, seed: int) -> tuple[Samples, int]:
    """Add stamped and relabelled copies of randomly chosen images.

    Args:
        samples: clean training data.
        implant: the trigger and its label map.
        rate: copies as a share of all ``samples``, in (0, 1]; at most one of each image that the trigger works on.
        seed: of the choice.

    Returns:
        The training data with the copies behind it, and how many those are.

    Raises:
        DataError: the trigger works on none of the images.
    """
    eligible = implant.label_map.applies_to(samples.labels).nonzero().squeeze(1)
    if len(eligible) == 0:
        raise DataError(
            f"{samples.source}: no image has a label that the trigger changes; give images of other classes, too"
        )
    generator = torch.Generator().manual_seed(seed)
    count = min(max(round(rate * len(samples)), 1), len(eligible))
    chosen = samples.subset(eligible[torch.randperm(len(eligible), generator=generator)[:count]])
    stamped = (implant.trigger.apply(chosen.pixels()) * 255).round().to(torch.uint8)
    copies = Samples(stamped, implant.label_map.apply(chosen.labels), samples.class_names, samples.source)
    return concatenate([samples, copies]), count
